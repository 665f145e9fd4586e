//! The HTML report: one file for a browser, a colleague or a printer.
//!
//! It loads nothing and runs nothing; its content-security-policy says so. Everything that is not a
//! literal of this program is escaped by the one type that writes it.

mod answer;
mod checks;
mod idle_gaps;
mod markup;
mod panels;
mod policy;
mod portions;
mod probes;
mod reading;
mod target_seconds;
mod timeline;

use crate::{
    diagnosis::{Diagnosis, Pictures, Reading},
    numbers::plural,
};
use markup::Markup;

/// The only style sheet.
const STYLE: &str = include_str!("style.css");

/// What a page tells.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The incidents with the values of their pictures, in the order in which they are told.
    pub incidents: &'a [(Diagnosis, Pictures)],
    /// What is said when there is no incident: the first line is the answer, lines that begin with two
    /// spaces are a list.
    pub quiet: &'a str,
    /// What was read.
    pub reading: &'a Reading,
    /// What else is to be known, a sentence each: rows that were not judged, files that nobody knew.
    pub notes: &'a [String],
}

/// The page, from the first byte to the last.
pub fn html(report: &Report<'_>) -> String {
    let mut markup = Markup::default();
    let title = match report.incidents {
        [] => report.quiet.lines().next().unwrap_or("No incident").to_owned(),
        [(diagnosis, _)] => diagnosis.summary.clone(),
        several => format!("{} incidents", several.len()),
    };
    head(&title, &mut markup);
    markup.raw("<body>\n<header><h1>alb502 report</h1></header>\n<main>\n");
    match report.incidents {
        [] => quiet(report.quiet, &mut markup),
        [only] => incident(1, only, &mut markup),
        several => {
            list(several, &mut markup);
            for (index, it) in several.iter().enumerate() {
                incident(index + 1, it, &mut markup);
            }
        }
    }
    reading::reading(report.reading, report.notes, &mut markup);
    markup.raw("</main>\n<footer><p>");
    let schema = crate::diagnosis::SCHEMA_VERSION;
    markup.text(&format!("Told by alb502 {}, schema {schema}. ", env!("CARGO_PKG_VERSION")));
    markup.raw("All times are UTC. This file loads nothing and runs nothing.</p></footer>\n</body>\n</html>\n");
    markup.into_string()
}

fn head(title: &str, markup: &mut Markup) {
    markup.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // First of all, so that nothing stands before it that it would not hold for.
    markup.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"");
    markup.text(&policy::policy(STYLE)).raw("\">\n");
    markup.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    markup.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    markup.raw("<meta name=\"referrer\" content=\"no-referrer\">\n");
    // Phones make links of what looks like a number or an address.
    markup.raw("<meta name=\"format-detection\" content=\"telephone=no, date=no, address=no, email=no, url=no\">\n");
    markup
        .raw("<title>")
        .text(title)
        .raw("</title>\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n");
}

fn quiet(said: &str, markup: &mut Markup) {
    let mut lines = said.lines().peekable();
    markup.raw("<article class=\"quiet\"><h2>").text(lines.next().unwrap_or("No incident."));
    markup.raw("</h2>\n");
    while let Some(line) = lines.next() {
        let is_item = |line: &str| line.starts_with("  ");
        if is_item(line) {
            markup.raw("<ul><li>").text(line.trim()).raw("</li>\n");
            while let Some(line) = lines.next_if(|line| is_item(line)) {
                markup.raw("<li>").text(line.trim()).raw("</li>\n");
            }
            markup.raw("</ul>\n");
        } else {
            markup.raw("<p>").text(line);
            while let Some(line) = lines.next_if(|line| !is_item(line)) {
                markup.raw(" ").text(line);
            }
            markup.raw("</p>\n");
        }
    }
    markup.raw("</article>\n");
}

fn list(incidents: &[(Diagnosis, Pictures)], markup: &mut Markup) {
    markup.raw("<nav aria-label=\"Incidents\"><h2>");
    markup.text(&plural(incidents.len() as u64, "incident")).raw("</h2>\n<ol>");
    for (index, (diagnosis, _)) in incidents.iter().enumerate() {
        let severity = answer::severity(diagnosis);
        markup.raw("<li><span class=\"badge ").raw(severity).raw("\">").raw(severity);
        markup.raw("</span> <a href=\"#incident-").number(index + 1).raw("\">");
        markup.value(answer::who(diagnosis)).raw(": ").text(&answer::headline(diagnosis));
        markup.raw("</a><br><small>").text(&answer::failed(diagnosis)).raw(", ");
        markup.text(&super::text::time_span(diagnosis)).raw("</small></li>\n");
    }
    markup.raw("</ol></nav>\n");
}

fn incident(number: usize, (diagnosis, pictures): &(Diagnosis, Pictures), markup: &mut Markup) {
    markup.raw("<article id=\"incident-").number(number).raw("\">\n");
    answer::answer(diagnosis, markup);
    timeline::timeline(number, diagnosis, &pictures.minutes, markup);
    idle_gaps::idle_gaps(number, diagnosis, &pictures.gaps, markup);
    probes::probes(diagnosis, markup);
    if 0 < diagnosis.failures {
        target_seconds::target_seconds(number, diagnosis, pictures, markup);
    }
    portions::portions(diagnosis, markup);
    checks::checks(&diagnosis.checks, markup);
    checks::gaps(&diagnosis.gaps, markup);
    reading::samples(&diagnosis.samples, markup);
    markup.raw("<p class=\"note\">Incident <code>").text(&diagnosis.incident_id);
    markup.raw("</code></p>\n</article>\n");
}

#[cfg(test)]
mod tests;
