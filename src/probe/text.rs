//! The report for people: the answer first, 78 columns.

use super::report::{CertificateReport, KeptReport, Report, ResponseReport, TlsReport};
use crate::{
    neutralize,
    notification::wrap::wrap,
    numbers::{count, plural, seconds},
};

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    wrap("", &neutral_path(report), &mut out);
    out.push('\n');
    let target = &report.target;
    let host = match target.host == target.address {
        true => String::new(),
        false => format!(" ({})", neutralize::plain(&target.host)),
    };
    wrap("Target      ", &format!("{}{host}, {}", report.place(), target.scheme), &mut out);
    let time = report.time.strftime("%Y-%m-%d %H:%M:%S UTC");
    let requests = plural(report.requests_sent.into(), "request");
    wrap("Time        ", &format!("{time}, {requests} sent"), &mut out);
    wrap("Connect     ", &connect(report), &mut out);
    if let Some(it) = &report.tls {
        tls(it, &mut out);
    }
    if let Some(it) = &report.response {
        response(it, &mut out);
        keep_alive(report, &mut out);
    }
    for (index, finding) in report.findings.iter().enumerate() {
        out.push('\n');
        let would_be = match finding.would_be.as_str() {
            "none" => "no 502".to_owned(),
            status => format!("would be {status}"),
        };
        let certainty = finding.certainty.as_str();
        let first = format!("FINDING {}  ", index + 1);
        wrap(&first, &format!("{}, {would_be} ({certainty})", finding.cause), &mut out);
        wrap("  ", &finding.why, &mut out);
        wrap("  Do: ", &finding.fix, &mut out);
    }
    if !report.notes.is_empty() {
        out.push_str("\nNOTES\n");
        for note in &report.notes {
            wrap("  - ", note, &mut out);
        }
    }
    out
}

/// The summary, whose path a person typed.
fn neutral_path(report: &Report) -> String {
    let path = &report.target.path;
    report.summary.replacen(
        &format!(" {path} on "),
        &format!(" {} on ", neutralize::plain(path)),
        1,
    )
}

fn connect(report: &Report) -> String {
    let after =
        report.connect.seconds.map(|it| format!(" after {}", seconds(it))).unwrap_or_default();
    match report.connect.outcome {
        "connected" => match report.connect.seconds {
            Some(it) if 0.001 <= it => format!("in {}", seconds(it)),
            _ => "in less than 1 ms".to_owned(),
        },
        "timed-out" => "no answer in 10 s".to_owned(),
        outcome => format!("{outcome}{after}"),
    }
}

fn tls(tls: &TlsReport, out: &mut String) {
    let said = match &tls.error {
        Some(error) => {
            format!("failed after {}: {}", seconds(tls.seconds), neutralize::plain(error))
        }
        None => format!(
            "{}, {}, in {}",
            tls.protocol.as_deref().unwrap_or("unknown version"),
            tls.cipher.as_deref().unwrap_or("unknown cipher"),
            seconds(tls.seconds)
        ),
    };
    wrap("TLS         ", &said, out);
    if let Some(it) = &tls.certificate {
        wrap("            ", &certificate(it), out);
    }
}

fn certificate(it: &CertificateReport) -> String {
    if let Some(reason) = &it.unreadable {
        return format!(
            "The certificate cannot be read ({}); a load balancer does not check it.",
            neutralize::plain(reason)
        );
    }
    let names = match it.names.as_slice() {
        [] => "no name".to_owned(),
        names => {
            names.iter().take(3).map(|it| neutralize::plain(it)).collect::<Vec<_>>().join(", ")
        }
    };
    let mut said = format!("certificate for {names}");
    if it.self_signed {
        said.push_str(", self-signed");
    }
    if !it.covers_host {
        said.push_str(", not for the name that was asked");
    }
    let end = it.not_after.map(|time| time.strftime("%Y-%m-%d").to_string());
    match (it.expired, it.not_yet_valid, end) {
        (true, _, Some(end)) => said.push_str(&format!(", expired on {end}")),
        (true, _, None) => said.push_str(", expired"),
        (_, true, _) => said.push_str(", not yet valid"),
        (_, _, Some(end)) => said.push_str(&format!(", valid until {end}")),
        _ => {}
    }
    said.push_str("; a load balancer does not check it");
    said
}

fn response(response: &ResponseReport, out: &mut String) {
    let mut said = match (response.version, response.status) {
        (Some(version), Some(status)) => format!("{version} {status}"),
        (Some(version), None) => format!("{version} without a valid status"),
        _ => "none".to_owned(),
    };
    match response.ended {
        "closed" => said.push_str(", the target closed the connection"),
        "reset" => said.push_str(", the target reset the connection"),
        "silent" => said.push_str(", the target fell silent"),
        _ => {}
    }
    said.push_str(&match response.first_byte_seconds {
        Some(first) => format!(", first byte after {}", seconds(first)),
        None => format!(" after {}", seconds(response.seconds)),
    });
    wrap("Response    ", &said, out);
    if response.version.is_some() {
        let framing = match response.framing {
            Some("content-length") => ", by Content-Length",
            Some("chunked") => ", in chunks",
            Some("until-close") => ", until the connection closes",
            _ => "",
        };
        let size = format!(
            "{} of headers, {} of body{framing}",
            plural(response.head_bytes, "byte"),
            count(response.body_bytes)
        );
        wrap("            ", &size, out);
    }
    let server = match (&response.server, response.recognised_server) {
        (Some(said), _) => neutralize::plain(said),
        (None, Some(name)) => format!("{name}, by its headers"),
        (None, None) => "does not say which".to_owned(),
    };
    wrap("Server      ", &server, out);
    if response.violations.is_empty() {
        wrap("Format      ", "valid", out);
    }
    for (index, violation) in response.violations.iter().enumerate() {
        let first = if index == 0 { "Format      " } else { "            " };
        wrap(first, &format!("{} at byte {}", violation.id, count(violation.at)), out);
    }
}

fn keep_alive(report: &Report, out: &mut String) {
    let keep_alive = &report.keep_alive;
    let mut said = match (&keep_alive.not_measured, report.keep_alive_seconds) {
        (Some(reason), _) => format!("not measured: {reason}"),
        (None, Some(measured)) => format!(
            "{} measured, below the load balancer's {} s",
            seconds(measured),
            report.idle_timeout_seconds
        ),
        (None, None) => {
            format!("longer than the load balancer's {} s", report.idle_timeout_seconds)
        }
    };
    if report.keep_alive_seconds.is_some_and(|it| report.idle_timeout_seconds as f64 <= it) {
        said = said.replace("below", "at the moment of");
    }
    let held = keep_alive.connections.iter().any(|it| it.outcome == "open");
    if keep_alive.not_measured.is_none() && report.keep_alive_seconds.is_none() && !held {
        said = "not measured: no connection could be held".to_owned();
    }
    if let Some(promised) = keep_alive.promised_seconds {
        said.push_str(&format!("; Keep-Alive promises {}", seconds(promised)));
    }
    wrap("Keep-alive  ", &said, out);
    if let Some(requests) = keep_alive.requests_per_connection.filter(|it| 1 < *it) {
        wrap(
            "            ",
            &format!("a connection takes {}", plural(requests.into(), "request")),
            out,
        );
    }
    for connection in &keep_alive.connections {
        wrap("            ", &kept(connection), out);
    }
}

fn kept(kept: &KeptReport) -> String {
    let after = format!("after {}", plural(kept.requests.into(), "request"));
    let idle = seconds(kept.idle_seconds.unwrap_or_default());
    match kept.outcome {
        "closed" => format!("{after}: closed, {idle} idle"),
        "reset" => format!("{after}: reset, {idle} idle"),
        "open" => format!("{after}: still open, {idle} idle"),
        "said-close" => format!("{after}: the target said Connection: close"),
        "request-lost" => format!("{after}: closed without a word, the next request was lost"),
        _ => format!("{after}: {}", kept.error.as_deref().unwrap_or("failed")),
    }
}
