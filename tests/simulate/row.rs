//! One access-log row, written as the load balancer writes it.
use std::io::Write as _;

use crate::clients::Client;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";

/// What a row says beyond its client. Times are microseconds; a missing time is written `-1`.
pub(crate) struct Row<'a> {
    pub time: i64,
    pub created: i64,
    pub elb: &'a str,
    pub client: &'a Client,
    pub target: Option<&'a str>,
    pub times: [Option<i64>; 3],
    pub elb_status: u16,
    pub target_status: Option<u16>,
    pub received: u64,
    pub sent: u64,
    /// Method, URL and protocol, as the client sent them.
    pub request: &'a str,
    pub plain: bool,
    pub malformed: bool,
    pub group_arn: Option<&'a str>,
    pub trace: Option<[u64; 2]>,
    pub certificate: &'a str,
    pub host: &'a str,
    pub priority: &'a str,
    pub actions: &'a str,
    pub redirect: &'a str,
    pub error_reason: &'a str,
    pub classification: (&'a str, &'a str),
    pub fields: usize,
}

/// Days since 1970 to year, month, day.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

pub(crate) fn timestamp(micros: i64) -> String {
    let (seconds, sub) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (y, m, d) = civil(day);
    let (hh, mm, ss) = (second / 3600, second / 60 % 60, second % 60);
    format!("{y:04}-{m:02}-{d:02}T{hh:02}:{mm:02}:{ss:02}.{sub:06}Z")
}

fn seconds(out: &mut Vec<u8>, time: Option<i64>) -> std::io::Result<()> {
    match time {
        None => write!(out, "-1 "),
        Some(micros) => {
            let ms = (micros.max(0) + 500) / 1000;
            write!(out, "{}.{:03} ", ms / 1000, ms % 1000)
        }
    }
}

/// The end of a row, without the space behind its last field.
fn end(out: &mut Vec<u8>) -> std::io::Result<()> {
    out.truncate(out.trim_ascii_end().len());
    out.push(b'\n');
    Ok(())
}

impl Row<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let c = self.client;
        let kind = if self.plain { "http" } else { c.kind };
        write!(out, "{kind} {} {} {}:{} ", timestamp(self.time), self.elb, c.ip, c.port)?;
        write!(out, "{} ", self.target.unwrap_or("-"))?;
        for time in self.times {
            seconds(out, time)?;
        }
        let status = |s: Option<u16>| s.map_or_else(|| "-".to_owned(), |s| s.to_string());
        write!(out, "{} {} ", self.elb_status, status(self.target_status))?;
        let agent = if self.malformed { "-" } else { c.agent };
        write!(out, "{} {} \"{}\" \"{agent}\" ", self.received, self.sent, self.request)?;
        if self.plain {
            write!(out, "- - ")?;
        } else {
            write!(out, "{} {} ", c.cipher, c.tls)?;
        }
        write!(out, "{} ", self.group_arn.unwrap_or("-"))?;
        match self.trace {
            None => write!(out, "\"-\" ")?,
            Some([a, b]) => {
                let second = self.created / 1_000_000;
                write!(out, "\"Root=1-{second:08x}-{a:016x}{:08x}\" ", b >> 32)?;
            }
        }
        // What the load balancer wrote over the years: 18 fields in 2016, then more at the end.
        if self.fields < 20 {
            return end(out);
        }
        if self.plain {
            write!(out, "\"-\" \"-\" ")?;
        } else {
            let certificate = if c.resumed { "session-reused" } else { self.certificate };
            write!(out, "\"{}\" \"{certificate}\" ", self.host)?;
        }
        if self.fields < 23 {
            return end(out);
        }
        let created = self.created - self.created.rem_euclid(1000);
        write!(out, "{} {} ", self.priority, timestamp(created))?;
        write!(out, "\"{}\" \"{}\" \"{}\" ", self.actions, self.redirect, self.error_reason)?;
        if self.fields < 27 {
            return end(out);
        }
        let target_status = self.target.and(self.target_status);
        write!(out, "\"{}\" \"{}\" ", self.target.unwrap_or("-"), status(target_status))?;
        if self.fields < 29 {
            return end(out);
        }
        write!(out, "\"{}\" \"{}\"", self.classification.0, self.classification.1)?;
        if self.fields >= 30 {
            write!(out, " TID_{:016x}{:016x}", c.tid[0], c.tid[1])?;
        }
        if self.fields >= 33 {
            write!(out, " \"-\" \"-\" \"-\"")?;
        }
        // The column that comes before its name is announced.
        if self.fields >= 34 {
            write!(out, " -")?;
        }
        end(out)
    }
}
