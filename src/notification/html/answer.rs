//! The answer: what it is, how bad, what to do first, and why the targets show Healthy all the same.

use super::markup::Markup;
use crate::{
    diagnosis::{Confidence, Diagnosis, Fix, Kind, RankedCause, Severity, Statement},
    notification::{course, text},
    numbers::{count, percent, plural},
};

/// The word for how bad it is.
pub(super) fn severity(diagnosis: &Diagnosis) -> &'static str {
    match diagnosis.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// What failed: the target group, or the load balancer where no target was asked.
pub(super) fn who(diagnosis: &Diagnosis) -> &str {
    diagnosis.target_group.as_ref().map_or(&diagnosis.load_balancer.name, |group| &group.name)
}

fn confidence(cause: &RankedCause) -> &'static str {
    match cause.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    }
}

/// The first cause in words; "Perhaps" where it is a guess.
pub(super) fn headline(diagnosis: &Diagnosis) -> String {
    match diagnosis.causes.first() {
        None => "The cause is unknown".to_owned(),
        Some(cause) if cause.confidence == Confidence::Low && cause.id != "undetermined" => {
            format!("Perhaps: {}", cause.title)
        }
        Some(cause) => cause.title.clone(),
    }
}

/// What failed of what, in words.
pub(super) fn failed(diagnosis: &Diagnosis) -> String {
    if diagnosis.failures == 0 {
        return format!(
            "{} answers of 502 on purpose, no failure among {}",
            count(diagnosis.intentional_502),
            plural(diagnosis.requests, "request")
        );
    }
    format!(
        "{} of {} failed ({})",
        count(diagnosis.failures),
        plural(diagnosis.requests, "request"),
        percent(diagnosis.rate)
    )
}

/// Everything above the pictures.
pub(super) fn answer(diagnosis: &Diagnosis, markup: &mut Markup) {
    let kind = match diagnosis.kind {
        Kind::Spike => "",
        Kind::Trickle => ", a trickle",
    };
    let severity = severity(diagnosis);
    markup.raw("<p class=\"kicker\"><span class=\"badge ").raw(severity).raw("\">").raw(severity);
    markup.raw(kind).raw("</span> ").value(who(diagnosis)).raw("</p>\n<h2>");
    markup.text(&headline(diagnosis)).raw("</h2>\n<p class=\"lead\">");
    markup.text(&format!("{}.", failed(diagnosis)));
    for cause in diagnosis.causes.iter().skip(1).filter(|it| 0.1 <= it.share) {
        markup.text(&format!(" Also {}, {}.", cause.id, percent(cause.share)));
    }
    markup.raw("</p>\n");
    if let Some(partial) = &diagnosis.partial {
        markup.raw("<p class=\"warn\"><b>Partial.</b> ").text(partial).raw(".</p>\n");
    }
    facts(diagnosis, markup);
    if let Some(first) = diagnosis.causes.first().filter(|cause| !cause.fixes.is_empty()) {
        markup.raw("<section class=\"do\"><h3>What to do</h3>\n");
        fixes(&first.fixes, markup);
        markup.raw("</section>\n");
    }
    if let Some(why) = &diagnosis.why_healthy {
        markup.raw("<section><h3>").raw(text::why_healthy_title(why)).raw("</h3>\n<p>").text(why);
        markup.raw("</p></section>\n");
    }
    causes(diagnosis, markup);
}

fn facts(diagnosis: &Diagnosis, markup: &mut Markup) {
    markup.raw("<dl class=\"facts\">\n");
    if let Some(cause) = diagnosis.causes.first() {
        markup.raw("<div><dt>Cause</dt><dd><b>").text(&cause.id).raw("</b><br>");
        let of = if diagnosis.failures == 0 { "answers of 502" } else { "failures" };
        let share = percent(cause.share);
        markup.text(&format!("{} confidence, {share} of the {of}", confidence(cause)));
        markup.raw("</dd></div>\n");
    }
    markup.raw("<div><dt>Time</dt><dd><b>").text(&text::time_span(diagnosis)).raw("</b><br>");
    if let Some(onset) = &diagnosis.facts.onset {
        markup.text(&course::course(onset, diagnosis.kind));
    }
    markup.raw("</dd></div>\n<div><dt>Failures</dt><dd><b>");
    markup.text(&count(diagnosis.failures)).raw("</b>");
    for (number, what) in text::split(diagnosis) {
        markup.raw("<br>").text(&format!("{} × {what}", count(number)));
    }
    markup.raw("</dd></div>\n<div><dt>Target group</dt><dd><b>");
    match &diagnosis.target_group {
        Some(group) => {
            markup.value(&group.name).raw("</b><br><small>").value(&group.arn).raw("</small>")
        }
        None => markup.raw("none</b><br>No target was asked"),
    };
    let load_balancer = &diagnosis.load_balancer;
    markup.raw("</dd></div>\n<div><dt>Load balancer</dt><dd><b>").value(&load_balancer.name);
    markup.raw("</b><br><small>").value(&load_balancer.id).raw("</small>");
    if let Some(account) = &load_balancer.account {
        markup.raw("<br>account ").value(account);
    }
    if let Some(region) = &load_balancer.region {
        markup.raw(", ").value(region);
    }
    markup.raw("</dd></div>\n");
    if let Some(status) = &diagnosis.status {
        markup.raw("<div><dt>Status</dt><dd>").text(status).raw("</dd></div>\n");
    }
    markup.raw("</dl>\n");
}

fn causes(diagnosis: &Diagnosis, markup: &mut Markup) {
    let of = if diagnosis.failures == 0 { "answers of 502" } else { "failures" };
    markup.raw("<section><h3>Why</h3>\n");
    for (index, cause) in diagnosis.causes.iter().enumerate() {
        markup
            .raw("<div class=\"cause\"><h4>")
            .text(&cause.title)
            .raw("</h4>\n<p class=\"note\"><b>");
        markup.text(&cause.id).raw("</b>, ");
        let share = percent(cause.share);
        markup.text(&format!("{} confidence, {share} of the {of}", confidence(cause)));
        markup.raw("</p>\n");
        statements("For", "for", &cause.evidence, markup);
        statements("Against", "against", &cause.against, markup);
        // Those of the first cause stand at the top.
        if 0 < index && !cause.fixes.is_empty() {
            markup.raw("<h5>What to do</h5>\n");
            fixes(&cause.fixes, markup);
        }
        markup.raw("</div>\n");
    }
    markup.raw("</section>\n");
}

fn statements(title: &'static str, class: &'static str, list: &[Statement], markup: &mut Markup) {
    if list.is_empty() {
        return;
    }
    markup.raw("<h5>").raw(title).raw("</h5>\n<ul class=\"").raw(class).raw("\">");
    for statement in list {
        markup.raw("<li>").text(&statement.text).raw("</li>\n");
    }
    markup.raw("</ul>\n");
}

fn fixes(fixes: &[Fix], markup: &mut Markup) {
    markup.raw("<ol class=\"fixes\">");
    for fix in fixes {
        markup.raw("<li><p>").text(&fix.text).raw("</p>");
        if let Some(command) = &fix.command {
            markup.command(command);
        }
        markup.raw("</li>\n");
    }
    markup.raw("</ol>\n");
}
