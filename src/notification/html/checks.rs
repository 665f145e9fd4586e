//! Every check with its resource and its commands, and what could not be seen.

use std::collections::BTreeMap;

use super::markup::Markup;
use crate::{
    diagnosis::{CheckOutcome, CheckResult, Gap, checks::CHECKS},
    notification::text,
};

/// Outcomes in the order in which they matter: the word, its sign, and whether the checks are shown at
/// once.
const OUTCOMES: [(CheckOutcome, &str, &str, bool); 5] = [
    (CheckOutcome::Fail, "fail", "✕", true),
    (CheckOutcome::Advice, "advice", "!", true),
    (CheckOutcome::Unknown, "unknown", "?", true),
    (CheckOutcome::Pass, "pass", "✓", false),
    (CheckOutcome::Skipped, "skipped", "–", false),
];

/// The checks, those that say something first.
pub(super) fn checks(checks: &[CheckResult], markup: &mut Markup) {
    if checks.is_empty() {
        return;
    }
    markup.raw("<section><h3>Checks</h3>\n<p class=\"note\">");
    markup.raw("<b>fail</b> explains failures, <b>advice</b> is unwise but no cause, <b>unknown</b> lacks a fact, <b>pass</b> does not explain them, <b>skipped</b> does not apply.</p>\n");
    for (outcome, word, sign, is_open) in OUTCOMES {
        let list: Vec<&CheckResult> = checks.iter().filter(|it| it.outcome == outcome).collect();
        if list.is_empty() {
            continue;
        }
        if !is_open {
            // On paper they stay folded: the names say what was asked.
            let ids = list.iter().map(|check| check.id).collect::<Vec<_>>().join(", ");
            markup.raw("<details><summary>").number(list.len()).raw(" × ").raw(word).raw(": ");
            markup.text(&ids).raw("</summary>\n");
        }
        markup.raw("<ul class=\"checks\">");
        for check in list {
            let title = CHECKS.iter().find(|it| it.id == check.id).map_or("", |it| it.title);
            markup.raw("<li><p class=\"check\"><span class=\"badge ").raw(word).raw("\">");
            markup.raw("<span aria-hidden=\"true\">").raw(sign).raw(" </span>").raw(word);
            markup.raw("</span> <b>").text(title).raw("</b> <code>").text(check.id);
            markup.raw("</code></p>\n<p>").text(&check.summary).raw("</p>\n");
            if let Some(resource) = &check.resource {
                markup.raw("<p class=\"note\">Looked at: <code>").value(resource);
                markup.raw("</code></p>\n");
            }
            if let Some(command) = &check.command {
                markup.raw("<p class=\"note\">See it:</p>").command(command);
            }
            if let Some(command) = &check.fix_command {
                markup.raw("<p class=\"note\">Fix it:</p>").command(command);
            }
            markup.raw("</li>\n");
        }
        markup.raw("</ul>\n");
        if !is_open {
            markup.raw("</details>\n");
        }
    }
    markup.raw("</section>\n");
}

/// What could not be seen, and what would show it.
pub(super) fn gaps(gaps: &[Gap], markup: &mut Markup) {
    if gaps.is_empty() {
        return;
    }
    markup.raw("<section><h3>What could not be seen</h3>\n<ul>");
    // One reason for many facts is said once.
    let mut by_reason: BTreeMap<&str, Vec<&Gap>> = BTreeMap::new();
    for gap in gaps {
        by_reason.entry(&gap.reason).or_default().push(gap);
    }
    for (reason, gaps) in by_reason {
        let facts = gaps.iter().map(|gap| gap.fact.as_str()).collect::<Vec<_>>().join(", ");
        markup.raw("<li>").text(&facts).raw(": ").text(reason);
        let needed = text::permissions(&gaps);
        if !needed.is_empty() {
            markup.raw("<br><small>Needs ").text(&needed).raw("</small>");
        }
        markup.raw("</li>\n");
    }
    markup.raw("</ul></section>\n");
}
