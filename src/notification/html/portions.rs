//! Requests and failures by target, path and whatever else rows have in common: tables with bars in them.

use super::markup::Markup;
use crate::{
    diagnosis::{Diagnosis, rows::Portion},
    numbers::{count, percent, plural},
};

/// One row.
struct Row<'a> {
    name: &'a str,
    zone: Option<&'a str>,
    portion: Portion,
}

/// Targets and paths, then what else the failed requests have in common.
pub(super) fn portions(diagnosis: &Diagnosis, markup: &mut Markup) {
    let facts = &diagnosis.facts;
    let of = |name, zone, portion| Row { name, zone, portion };
    let targets: Vec<Row<'_>> =
        facts.targets.iter().map(|it| of(&*it.target, it.zone.as_deref(), it.portion)).collect();
    table("Targets", "Target", "By target, most failures first.", &targets, markup);
    let paths: Vec<Row<'_>> =
        facts.paths_by_failures.iter().map(|it| of(&*it.path, None, it.portion)).collect();
    table(
        "Paths",
        "Path",
        "Paths with failures, most failures first. Queries are left out, {id} is a part that differs, \
         and paths are written by whoever sends requests.",
        &paths,
        markup,
    );
    let nodes: Vec<Row<'_>> =
        facts.nodes.iter().map(|it| of(&*it.node, it.zone.as_deref(), it.portion)).collect();
    let methods: Vec<Row<'_>> =
        facts.methods.iter().map(|it| of(&*it.method, None, it.portion)).collect();
    let types: Vec<Row<'_>> =
        facts.types.iter().map(|it| of(&*it.kind, None, it.portion)).collect();
    table("Load-balancer nodes", "Node", "", &nodes, markup);
    table("Methods", "Method", "", &methods, markup);
    table("Protocols", "Type", "", &types, markup);
    reasons(diagnosis, markup);
    exits(diagnosis, markup);
}

fn table(
    title: &'static str,
    name: &'static str,
    about: &'static str,
    rows: &[Row<'_>],
    markup: &mut Markup,
) {
    if rows.is_empty() {
        return;
    }
    let has_zones = rows.iter().any(|row| row.zone.is_some());
    let most = |of: fn(&Portion) -> u64| rows.iter().map(|row| of(&row.portion)).max().unwrap_or(0);
    let (requests, failures) = (most(|it| it.requests), most(|it| it.failures));
    markup.raw("<section><h3>").raw(title).raw("</h3>\n");
    if !about.is_empty() {
        markup.raw("<p class=\"note\">").text(about).raw("</p>\n");
    }
    // A narrow screen lays rows out as blocks; the roles keep them a table for a screen reader.
    markup.raw("<table class=\"shares\" role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">");
    for head in [
        Some(name),
        has_zones.then_some("Zone"),
        Some("Requests"),
        Some("Failures"),
        Some("Failed"),
    ]
    .into_iter()
    .flatten()
    {
        markup.raw("<th role=\"columnheader\" scope=\"col\">").raw(head).raw("</th>");
    }
    markup.raw("</tr></thead><tbody role=\"rowgroup\">\n");
    for row in rows {
        let Portion { requests: of, failures: failed, .. } = row.portion;
        markup
            .raw("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">")
            .value(row.name)
            .raw("</th>");
        if has_zones {
            markup
                .raw("<td role=\"cell\" class=\"zone\">")
                .value(row.zone.unwrap_or(""))
                .raw("</td>");
        }
        markup.raw("<td role=\"cell\" class=\"bar\">");
        bar("plain", of, requests, markup);
        markup.raw("<span>").text(&count(of));
        markup
            .raw(if of == 1 { "<i> request</i>" } else { "<i> requests</i>" })
            .raw("</span></td>");
        markup.raw("<td role=\"cell\" class=\"bar\">");
        bar("bad", failed, failures, markup);
        markup.raw("<span>").text(&count(failed)).raw("<i> failed</i></span></td>");
        let rate = if of == 0 { 0.0 } else { failed as f64 / of as f64 };
        markup.raw("<td role=\"cell\" class=\"n\">").text(&percent(rate)).raw("</td></tr>\n");
    }
    markup.raw("</tbody></table></section>\n");
}

/// A bar in a cell; its number stands beside it.
fn bar(class: &'static str, value: u64, most: u64, markup: &mut Markup) {
    let share = if most == 0 { 0.0 } else { value as f64 / most as f64 };
    let width = if value == 0 { 0.0 } else { (share * 100.0).max(1.0) };
    markup.raw("<svg aria-hidden=\"true\" width=\"100%\" height=\"10\"><rect class=\"track\" ");
    markup.raw("width=\"100%\" height=\"10\"/><rect class=\"").raw(class).raw("\" width=\"");
    markup.length(width).raw("%\" height=\"10\"/></svg>");
}

fn reasons(diagnosis: &Diagnosis, markup: &mut Markup) {
    let reasons = &diagnosis.facts.error_reasons;
    if reasons.is_empty() {
        return;
    }
    markup.raw("<section><h3>Error reasons</h3>\n<p class=\"note\"><code>error_reason</code> of the failed rows, as AWS writes it.</p>\n<ul>");
    for reason in reasons {
        markup.raw("<li>").value(&reason.error_reason).raw(": ").text(&count(reason.failures));
        markup.raw("</li>\n");
    }
    markup.raw("</ul></section>\n");
}

fn exits(diagnosis: &Diagnosis, markup: &mut Markup) {
    let exits = &diagnosis.facts.exits;
    if exits.is_empty() {
        return;
    }
    markup.raw("<section><h3>Requests of one target that ended together</h3>\n<p class=\"note\">As when a process dies, or a deploy replaces it.</p>\n<ul>");
    for exit in exits {
        let time = exit.time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        markup.raw("<li>").text(&time).raw(" UTC, ").value(&exit.target).raw(": ");
        let closed = plural(exit.closed, "request");
        markup.text(&format!("{closed} closed, {} refused after", count(exit.refused_after)));
        markup.raw("</li>\n");
    }
    markup.raw("</ul></section>\n");
}
