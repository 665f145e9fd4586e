//! A few failed rows, and what was read.

use super::markup::Markup;
use crate::{
    diagnosis::{ObjectReport, Reading, Sample},
    numbers::{count, plural},
};

/// Objects that are listed; damaged ones first.
const MAX_OBJECTS: usize = 200;

/// The samples, for a person who looks for a request in the application's own logs.
pub(super) fn samples(samples: &[Sample], markup: &mut Markup) {
    if samples.is_empty() {
        return;
    }
    markup.raw("<section><h3>Some failed requests</h3>\n<p class=\"note\">Times are request, target and response processing time in seconds; -1 means that it never came to that.</p>\n<ul class=\"samples\">");
    for sample in samples {
        let time = sample.time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        markup.raw("<li><p><b>").text(&time).raw(" UTC</b> ");
        markup.value(sample.method.as_deref().unwrap_or("-")).raw(" <code>");
        markup.value(sample.path.as_deref().unwrap_or("-")).raw("</code></p>\n<p class=\"note\">");
        if let Some(target) = &sample.target {
            markup.raw("to ").value(target).raw(", ");
        }
        let times = sample.times.map(|time| match time {
            Some(time) if time < 0.0 => "-1".to_owned(),
            Some(time) => format!("{time:.3}"),
            None => "-".to_owned(),
        });
        markup.raw("times ").text(&times.join(" "));
        if let Some(trace_id) = &sample.trace_id {
            markup.raw("<br>trace <code>").value(trace_id).raw("</code>");
        }
        markup.raw("<br>in <code>").value(&sample.object).raw("</code></p></li>\n");
    }
    markup.raw("</ul></section>\n");
}

/// What was read, and what could not be; then what else is to be known.
pub(super) fn reading(reading: &Reading, notes: &[String], markup: &mut Markup) {
    let parser = &reading.parser;
    markup.raw("<section class=\"read\"><h2>What was read</h2>\n<p>");
    let mut said = format!(
        "{} in {}, {} of them access-log entries, {} malformed.",
        plural(parser.lines, "line"),
        plural(reading.objects.len() as u64, "object"),
        count(parser.entries),
        count(parser.malformed)
    );
    if 0 < parser.unknown_fields {
        said.push_str(&format!(
            " {} have fields that this version does not know.",
            count(parser.unknown_fields)
        ));
    }
    markup.text(&said).raw("</p>\n");
    for note in notes {
        markup.raw("<p class=\"warn\">").text(note).raw("</p>\n");
    }
    let mut objects: Vec<&ObjectReport> = reading.objects.iter().collect();
    objects.sort_by_key(|object| !object.is_damaged());
    for object in objects.iter().filter(|object| object.is_damaged()).take(MAX_OBJECTS) {
        markup.raw("<p class=\"warn\"><b>Could not be read to its end:</b> <code>");
        markup.value(&object.name).raw("</code><br>");
        markup.text(object.error.as_deref().unwrap_or("")).raw("</p>\n");
    }
    if !objects.is_empty() {
        list(&objects, markup);
    }
    markup.raw("</section>\n");
}

fn list(objects: &[&ObjectReport], markup: &mut Markup) {
    markup.raw("<details><summary>The objects</summary>\n<ul class=\"objects\">");
    for object in objects.iter().take(MAX_OBJECTS) {
        markup.raw("<li><code>").value(&object.name).raw("</code><br><small>");
        markup.text(&object.kind).raw(", ").text(&plural(object.lines, "line"));
        if 0 < object.malformed {
            markup.text(&format!(", {} malformed", count(object.malformed)));
        }
        if let Some(node) = &object.node {
            markup.raw(", node ").value(node);
        }
        if let Some(error) = &object.error {
            markup.raw(", ").text(error);
        }
        markup.raw("</small></li>\n");
    }
    markup.raw("</ul>\n");
    let left = objects.len().saturating_sub(MAX_OBJECTS) as u64;
    if 0 < left {
        markup.raw("<p class=\"note\">").text(&format!("And {}.", plural(left, "more object")));
        markup.raw("</p>\n");
    }
    markup.raw("</details>\n");
}
