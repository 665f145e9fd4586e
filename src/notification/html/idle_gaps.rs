//! How long a target had been quiet before requests that were closed early, beside healthy ones.

use super::{
    markup::Markup,
    panels::{Chart, Mark, Panel, Tone, numbers},
};
use crate::{
    diagnosis::{Diagnosis, KeepAliveTimer, pictures::Gaps},
    numbers::{count, plural, seconds},
};

/// Fewer gaps make no picture: as many as a timeout needs to be inferred at all.
const MIN_GAPS: usize = 4;

/// A timeout of the axis: seconds from and to, and what it is.
type Timeout = (f64, f64, String);

/// Columns of the chart, the last one for everything longer.
const COLUMNS: usize = 60;

/// Draws the gaps; a sentence when there are too few; nothing when no request was closed early.
pub(super) fn idle_gaps(number: usize, diagnosis: &Diagnosis, gaps: &Gaps, markup: &mut Markup) {
    let all = gaps.closed_requests + gaps.unknown;
    if all == 0 {
        return;
    }
    markup.raw("<section><h3>Idle time before closed requests</h3>\n<p class=\"note\">");
    if gaps.closed.len() < MIN_GAPS {
        let closed = match all {
            1 => "1 request was closed at once".to_owned(),
            many => format!("{} requests were closed at once", count(many)),
        };
        let known = count(gaps.closed_requests);
        markup.text(&format!(
            "{closed}; how long the connection was idle before is known of {known}: "
        ));
        markup.raw("too few for a picture.</p></section>\n");
        return;
    }
    markup.text(match gaps.is_latest {
        true => "How long ago the same target had last answered through the same load-balancer node \
                 when a request was sent that it closed at once; below, the same for successful \
                 requests of the same targets at about the same times.",
        false => "How long ago the same target had answered through the same load-balancer node, each \
                  earlier answer counted, when a request was sent that it closed at once; below, the \
                  same for successful requests of the same targets at about the same times.",
    });
    let timers = &diagnosis.facts.keep_alive_timers;
    let inferred: Vec<String> = timers
        .iter()
        .map(|timer| {
            let it = timer.estimate;
            format!(
                " Inferred timeout of {}: about {} ({} to {}, {}).",
                plural(timer.targets.len() as u64, "target"),
                seconds(it.best),
                short(it.low),
                short(it.high),
                plural(it.gaps, "gap")
            )
        })
        .collect();
    markup.text(&inferred.concat());
    if timers.is_empty() {
        markup.raw(" No timeout shows in these gaps.");
    }
    if let Some((low, high)) = measured(diagnosis) {
        let range =
            if low < high { format!("{} to {}", short(low), short(high)) } else { short(low) };
        markup.text(&format!(" A probe measured a timeout of {range}."));
    }
    if let Some(idle) = diagnosis.facts.idle_timeout_seconds {
        markup.text(&format!(" The load balancer keeps idle connections for {idle} s."));
    }
    if 0 < gaps.unknown {
        let unknown = plural(gaps.unknown, "closed request");
        markup.text(&format!(" {unknown} had no known answer before, and are not in the picture."));
    }
    markup.raw("</p>\n");
    draw(number, diagnosis, gaps, markup);
    markup.raw("</section>\n");
}

fn draw(number: usize, diagnosis: &Diagnosis, gaps: &Gaps, markup: &mut Markup) {
    let timers = &diagnosis.facts.keep_alive_timers;
    let measured = measured(diagnosis);
    let longest_timer =
        timers.iter().map(|it| it.estimate.high).chain(measured.map(|it| it.1)).fold(0.0, f64::max);
    let usual =
        [&gaps.closed, &gaps.healthy].map(|list| most(list)).into_iter().fold(0.0, f64::max);
    // A target that closes right away would leave no room for the gaps.
    let reach =
        if timers.is_empty() { usual.max(longest_timer * 2.0) } else { longest_timer * 2.0 };
    let width = column_width(reach);
    let closed = counted(&gaps.closed, width);
    let healthy = counted(&gaps.healthy, width);
    let ranges: Vec<String> = (0..COLUMNS)
        .map(|index| {
            let from = index as f64 * width;
            match index + 1 {
                COLUMNS => format!("{} or longer", short(from)),
                _ => format!("{} to {}", short(from), short(from + width)),
            }
        })
        .collect();
    let tips: Vec<String> = ranges
        .iter()
        .zip(closed.iter().zip(&healthy))
        .map(|(range, (closed, healthy))| {
            format!("{range}: {} before closed, {} before healthy", count(*closed), count(*healthy))
        })
        .collect();
    let panel = |what: &str, requests: u64, tone, values: Vec<u64>| {
        let most = values.iter().zip(&ranges).max_by_key(|(value, _)| **value);
        let (most, range) = most.map_or((0, ""), |(most, range)| (*most, range.as_str()));
        let all: u64 = values.iter().sum();
        let of = match all == requests {
            true => plural(requests, "request"),
            false => format!("{} before {}", plural(all, "gap"), plural(requests, "request")),
        };
        Panel {
            caption: format!("{what}: {of}"),
            detail: String::new(),
            description: format!("{of}; most gaps, {}, are {range}.", count(most)),
            tone,
            top: values.iter().max().copied().unwrap_or(1).max(1),
            values,
            tips: &tips,
        }
    };
    let end = COLUMNS as f64 * width;
    let place = |seconds: f64| (seconds / end).clamp(0.0, 1.0);
    let tick = nice(end / 6.0);
    markup.raw("<figure>\n");
    Chart {
        id: ("gaps", number),
        columns: (0..COLUMNS)
            .map(|index| (place(index as f64 * width), place((index + 1) as f64 * width)))
            .collect(),
        panels: vec![
            panel("Before closed requests", gaps.closed_requests, Tone::Bad, closed.clone()),
            panel(
                "Before successful requests",
                gaps.healthy_requests,
                Tone::Plain,
                healthy.clone(),
            ),
        ],
        ticks: (0..)
            .map(|index| f64::from(index) * tick)
            .take_while(|at| *at < end * 0.78)
            .map(|at| (place(at), short(at)))
            .chain([(1.0, "longer".to_owned())])
            .collect(),
        axis: "Time since the answer before; the last column holds all that are longer",
        marks: timeouts(timers, measured)
            .into_iter()
            .map(|(low, high, label)| Mark {
                from: place(low),
                to: place(high),
                label,
                is_line: true,
            })
            .collect(),
    }
    .draw(markup);
    let heads = ["Idle time", "Before closed requests", "Before successful requests"];
    let rows = ranges.iter().zip(closed.iter().zip(&healthy));
    let rows = rows.map(|(range, (a, b))| vec![range.clone(), count(*a), count(*b)]);
    numbers(&heads.map(str::to_owned), rows, markup);
    markup.raw("</figure>\n");
}

/// The shortest and the longest timeout that probes measured.
fn measured(diagnosis: &Diagnosis) -> Option<(f64, f64)> {
    let all = || diagnosis.facts.probes.iter().filter_map(|probe| probe.keep_alive_seconds);
    Some((all().reduce(f64::min)?, all().reduce(f64::max)?))
}

/// The inferred timeouts and the measured one, the shortest first.
fn timeouts(timers: &[KeepAliveTimer], measured: Option<(f64, f64)>) -> Vec<Timeout> {
    let inferred = timers.iter().map(|it| {
        let best = seconds(it.estimate.best);
        let label = match (timers.len(), measured) {
            (1, None) => format!("timeout, about {best}"),
            (1, Some(_)) => format!("inferred {best}"),
            _ => best,
        };
        (it.estimate.low, it.estimate.high, label)
    });
    let measured = measured.map(|(low, high)| {
        let label = match seconds(low) {
            first if first == seconds(high) => format!("measured {first}"),
            first => format!("measured {first} to {}", seconds(high)),
        };
        (low, high, label)
    });
    let mut all: Vec<Timeout> = inferred.chain(measured).collect();
    all.sort_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
    all
}

/// Nineteen of twenty gaps are at most this long.
fn most(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() * 19 / 20).copied().unwrap_or(0.0)
}

/// A round width with which the columns reach so far.
fn column_width(reach: f64) -> f64 {
    let least = (reach / (COLUMNS - 1) as f64).clamp(0.01, 1e6);
    let power = 10.0_f64.powf(least.log10().floor());
    [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|width| least <= width * 1.000_001)
        .unwrap_or(10.0 * power)
}

/// The next rounder number.
fn nice(number: f64) -> f64 {
    let power = 10.0_f64.powf(number.max(1e-3).log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power);
    digits.into_iter().find(|it| number <= it * 1.000_001).unwrap_or(10.0 * power)
}

fn counted(sorted: &[f64], width: f64) -> Vec<u64> {
    let mut counts = vec![0; COLUMNS];
    for gap in sorted {
        let index = (gap / width).floor().clamp(0.0, (COLUMNS - 1) as f64);
        if let Some(count) = counts.get_mut(index as usize) {
            *count += 1;
        }
    }
    counts
}

/// Seconds of the axis: as many digits as its columns have.
fn short(seconds: f64) -> String {
    let text = format!("{seconds:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_round_and_reach_far_enough() {
        for (reach, expected) in
            [(12.0, 0.25), (9.0, 0.2), (150.0, 3.0), (0.0, 0.01), (4000.0, 80.0)]
        {
            let width = column_width(reach);
            assert!((width - expected).abs() < 1e-9, "{reach}: {width}");
            assert!(reach <= width * COLUMNS as f64);
        }
        assert_eq!([0.0, 2.5, 0.05, 60.0].map(short), ["0 s", "2.5 s", "0.05 s", "60 s"]);
        assert_eq!([0.1, 2.4, 5.0, 70.0].map(nice), [0.1, 5.0, 5.0, 100.0]);
    }

    #[test]
    fn every_gap_has_its_column_and_long_ones_the_last() {
        let counts = counted(&[0.0, 0.49, 0.5, 1e9], 0.5);
        assert_eq!((counts[0], counts[1], counts[COLUMNS - 1]), (2, 1, 1));
    }
}
