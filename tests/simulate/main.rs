//! Simulates a load balancer fleet and writes its access logs; the cause of every failure is known.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod clients;
mod engine;
mod fleet;
mod output;
mod rng;
mod row;
mod scenarios;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};

use engine::{Engine, Truth};
use fleet::{Fleet, Speaks};
use output::{Delivery, Memory, Objects, OneFile};
use row::{ACCOUNT, REGION, timestamp};

const USAGE: &str = "usage:
  simulate SCENARIO --out DIR [--seed N] [--plain] [--requests-per-second X] [--minutes M]
                    [--start YYYY-MM-DDTHH:MMZ] [--fields 18..34] [--nodes N]
  simulate SCENARIO --scenario DIR [as above] [--without-snapshot] [--deny FACT] [--close-port]
                    [--tag KEY=VALUE] [--metrics] [--other-logs] [--missing-node N] [--cut-node N]
                                  DIR/logs and DIR/snapshot, the configuration as the AWS CLI prints it
  simulate --again DIR...         the same once more, as each DIR/scenario.json says
  simulate SCENARIO --describe    what a run would contain, as JSON, without writing logs
  simulate big --rows N --out FILE[.gz] [--requests-per-second X] [--fields 18..34] [--groups N]
  simulate --list";

#[derive(Default)]
struct Arguments {
    scenario: Option<String>,
    out: Option<PathBuf>,
    seed: u64,
    plain: bool,
    rate: Option<f64>,
    minutes: Option<f64>,
    start: Option<i64>,
    nodes: Option<usize>,
    fields: usize,
    rows: Option<u64>,
    groups: u64,
    list: bool,
    describe: bool,
    scenario_folder: Option<PathBuf>,
    without_snapshot: bool,
    other_logs: bool,
    options: snapshot::Options,
    delivery: Delivery,
    again: Vec<PathBuf>,
    quiet: bool,
}

impl Arguments {
    /// The fleet as the arguments want it.
    fn fleet(&self) -> Result<Fleet, String> {
        let name = self.scenario.as_deref().ok_or(USAGE)?;
        let unknown = || format!("no scenario {name}; see --list");
        let mut fleet = scenarios::named(name).ok_or_else(unknown)?;
        fleet.traffic.rate = self.rate.unwrap_or(fleet.traffic.rate);
        fleet.minutes = self.minutes.unwrap_or(fleet.minutes);
        if let Some(nodes) = self.nodes {
            fleet.set_nodes(nodes);
        }
        fleet.start = self.start.unwrap_or(fleet.start);
        Ok(fleet)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: not a number: {value}"))
}

fn arguments(args: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { seed: 1, fields: 33, ..Arguments::default() };
    let mut args = args;
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--out" => parsed.out = Some(value()?.into()),
            "--seed" => parsed.seed = number(&name, &value()?)?,
            "--plain" => parsed.plain = true,
            "--requests-per-second" => parsed.rate = Some(number(&name, &value()?)?),
            "--minutes" => parsed.minutes = Some(number(&name, &value()?)?),
            "--start" => {
                let text = value()?.replace('Z', ":00Z");
                let start: jiff::Timestamp = text.parse().map_err(|e| format!("--start: {e}"))?;
                parsed.start = Some(start.as_microsecond());
            }
            "--fields" => parsed.fields = number(&name, &value()?)?,
            "--groups" => parsed.groups = number(&name, &value()?)?,
            "--rows" => parsed.rows = Some(number(&name, &value()?)?),
            "--list" => parsed.list = true,
            "--describe" => parsed.describe = true,
            "--scenario" => parsed.scenario_folder = Some(value()?.into()),
            "--without-snapshot" => parsed.without_snapshot = true,
            "--other-logs" => parsed.other_logs = true,
            "--nodes" => parsed.nodes = Some(number(&name, &value()?)?),
            "--metrics" => parsed.options.metrics = true,
            "--missing-node" => parsed.delivery.missing_node = Some(number(&name, &value()?)?),
            "--cut-node" => parsed.delivery.cut_node = Some(number(&name, &value()?)?),
            "--close-port" => parsed.options.close_port = true,
            "--deny" => parsed.options.denied.push(value()?),
            "--tag" => {
                let tag = value()?;
                let (key, value) = tag.split_once('=').ok_or("--tag needs KEY=VALUE")?;
                parsed.options.tags.push((key.to_owned(), value.to_owned()));
            }
            "--again" => parsed.again.extend(args.by_ref().map(PathBuf::from)),
            _ if !name.starts_with('-') && parsed.scenario.is_none() => {
                parsed.scenario = Some(name);
            }
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(parsed)
}

fn describe(fleet: &Fleet, truth: &Truth, keys: &[String], until: i64) -> Value {
    let failures = |group: &str| -> Value {
        let of_group = truth.causes.iter().filter(|((g, _), _)| g == group);
        of_group.map(|((_, cause), count)| ((*cause).to_owned(), json!(count))).collect()
    };
    let groups: Vec<Value> = (fleet.groups.iter().enumerate())
        .map(|(n, g)| {
            let targets: Vec<Value> = (fleet.targets.iter().filter(|t| t.group == n))
                .map(|t| {
                    let tls = t.server.speaks == Speaks::Tls;
                    json!({"ip": t.ip, "port": t.port, "registered_at_end": t.registered, "speaks": if tls { "tls" } else { "http" }})
                })
                .collect();
            json!({
                "name": g.name,
                "arn": g.arn,
                "target_type": if g.lambda.is_some() { "lambda" } else { "instance" },
                "protocol": if g.https { "HTTPS" } else { "HTTP" },
                "port": g.port,
                "health_check_port": g.health_check_port,
                "deregistration_delay_seconds": g.deregistration_delay,
                "targets": targets,
                "failures": failures(g.name),
            })
        })
        .collect();
    let worst = (truth.windows.iter().filter(|(_, (_, bad))| *bad >= 5))
        .map(|(window, (all, bad))| (*bad as f64 / *all as f64, *window, *bad, *all))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    json!({
        "scenario": fleet.name,
        "about": fleet.about,
        "labels": fleet.labels,
        "load_balancer": {
            "id": fleet.elb(),
            "arn": format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/{}", fleet.elb()),
            "nodes": fleet.nodes,
            "host": fleet.host,
            "idle_timeout_seconds": fleet.idle_timeout,
        },
        "target_groups": groups,
        "start": timestamp(fleet.start),
        "end": timestamp(until),
        "rows": truth.rows,
        "statuses": truth.statuses,
        "elb_502": truth.elb_502,
        "target_502": truth.target_502,
        "connect_504": truth.connect_504,
        "idle_504": truth.idle_504,
        "intentional_502": truth.intentional_502,
        "worst_window": worst.map(|(rate, window, failures, requests)| json!({
            "start": timestamp(window * 300_000_000), "failures": failures, "requests": requests, "rate": rate,
        })),
        "objects": keys,
    })
}

/// Inside the incident: four minutes into the window in which most failed. Without one, a minute before
/// the end.
fn taken_at(truth: &Truth, end: i64) -> i64 {
    let worst = truth.windows.iter().max_by_key(|(window, (_, bad))| (*bad, -**window));
    match worst {
        Some((window, (_, bad))) if 0 < *bad => {
            (window * 300_000_000 + 240_000_000).min(end - 1_000_000)
        }
        _ => end - 60_000_000,
    }
}

/// Makes the logs and the snapshot of a folder as its scenario.json says; `null` is made by hand.
fn again(folder: &Path) -> Result<(), String> {
    let path = folder.join("scenario.json");
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read(&path).map_err(|error| failed(&error))?;
    let scenario: Value = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    let Some(line) = scenario["simulate"].as_str() else {
        return Ok(());
    };
    let mut parsed = arguments(line.split_whitespace().skip(1).map(str::to_owned))?;
    parsed.scenario_folder = Some(folder.to_owned());
    parsed.quiet = true;
    run(parsed).map_err(|error| failed(&error))
}

fn run(args: Arguments) -> Result<(), String> {
    if !args.again.is_empty() {
        return args.again.iter().try_for_each(|folder| again(folder));
    }
    if args.list {
        for fleet in scenarios::all().chain([scenarios::big()]) {
            println!("{:31} {}", fleet.name, fleet.about);
        }
        return Ok(());
    }
    let prepared = || args.fleet();
    let fleet = prepared()?;
    let name = fleet.name;
    let limit = args.rows.unwrap_or(if name == "big" { 100_000 } else { u64::MAX });
    let until = |fleet: &Fleet| match fleet.name {
        "big" => fleet.start,
        _ => fleet.start + (fleet.minutes * 60e6) as i64,
    };
    let failed = |error: std::io::Error| error.to_string();
    let report = if args.describe {
        let mut sink = Memory::default();
        let engine = Engine::new(fleet, args.seed, args.fields, limit, &mut sink);
        let (truth, fleet) = engine.run().map_err(failed)?;
        describe(&fleet, &truth, &[], until(&fleet))
    } else if name == "big" {
        let out = args.out.ok_or("big needs --out FILE")?;
        let mut sink = OneFile::create(&out, args.groups).map_err(failed)?;
        let engine = Engine::new(fleet, args.seed, args.fields, limit, &mut sink);
        let (truth, fleet) = engine.run().map_err(failed)?;
        sink.finish().map_err(failed)?;
        describe(&fleet, &truth, &[], until(&fleet))
    } else if let Some(folder) = &args.scenario_folder {
        let (logs, config) = (folder.join("logs"), folder.join("snapshot"));
        for old in [&logs, &config] {
            match std::fs::remove_dir_all(old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("{}: {error}", old.display()));
                }
                _ => {}
            }
        }
        let mut sink = Objects::new(&logs, &fleet, args.seed, args.plain);
        sink.delivery = args.delivery;
        let engine = Engine::new(fleet, args.seed, args.fields, limit, &mut sink);
        let (truth, fleet) = engine.run().map_err(failed)?;
        sink.finish().map_err(failed)?;
        if args.other_logs {
            sink.other_logs(&fleet).map_err(failed)?;
        }
        if !args.without_snapshot {
            let taken_at = taken_at(&truth, until(&fleet));
            let (fleet, metrics) = (prepared()?, &truth.metrics);
            snapshot::write(&config, &fleet, &args.options, taken_at, metrics).map_err(failed)?;
        }
        describe(&fleet, &truth, &sink.keys, until(&fleet))
    } else {
        let out = args.out.ok_or(format!("{name} needs --out DIR"))?;
        let mut sink = Objects::new(&out, &fleet, args.seed, args.plain);
        let engine = Engine::new(fleet, args.seed, args.fields, limit, &mut sink);
        let (truth, fleet) = engine.run().map_err(failed)?;
        sink.finish().map_err(failed)?;
        describe(&fleet, &truth, &sink.keys, until(&fleet))
    };
    if !args.quiet {
        println!("{report:#}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
