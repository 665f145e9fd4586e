//! The objects that could not be read to their end: what is wrong is said once, and of names that differ
//! only at their end the first is whole.

use std::collections::BTreeMap;

use super::wrap::wrap;
use crate::{diagnosis::ObjectReport, neutralize};

/// What ends a part of the name of an object.
const PART_ENDS: [char; 2] = ['/', '_'];

/// Less than this in common is not worth the dots.
const MIN_CUT_CHARS: usize = 20;

/// Lists them, by what is wrong with them.
pub(super) fn damaged(objects: &[ObjectReport], out: &mut String) {
    let mut by_error: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for object in objects.iter().filter(|object| object.is_damaged()) {
        if let Some(error) = &object.error {
            let names = by_error.entry(error.trim_end_matches('.')).or_default();
            names.push(neutralize::object_name(&object.name));
        }
    }
    for (error, names) in by_error {
        wrap("  ", &format!("Damaged, {error}:"), out);
        let mut first: Option<&str> = None;
        for name in &names {
            match first.map(|first| differing(first, name)) {
                Some(end) if end.len() < name.len() => wrap("    ", &format!("...{end}"), out),
                _ => {
                    wrap("    ", name, out);
                    first = Some(name);
                }
            }
        }
    }
}

/// The end of a name, from the part on in which it differs from another.
fn differing<'a>(other: &str, name: &'a str) -> &'a str {
    let mut begin = 0;
    for ((at, c), theirs) in name.char_indices().zip(other.chars()) {
        if c != theirs {
            break;
        }
        if PART_ENDS.contains(&c) {
            begin = at + c.len_utf8();
        }
    }
    if begin < MIN_CUT_CHARS { name } else { name.get(begin..).unwrap_or(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::{ObjectKey, ReadReport};

    fn said(objects: &[(&str, &str)]) -> String {
        let reports: Vec<ObjectReport> = objects
            .iter()
            .map(|(name, error)| {
                let error = Some((*error).to_owned());
                ObjectReport::of((*name).to_owned(), &ObjectKey::parse(name), &cut(), error)
            })
            .collect();
        let mut out = String::new();
        damaged(&reports, &mut out);
        out
    }

    fn cut() -> ReadReport {
        ReadReport { lines: 7, entries: 7, ..ReadReport::default() }
    }

    #[test]
    fn what_is_wrong_is_said_once_and_names_keep_the_end_that_differs() {
        let folder = "logs/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/17";
        let name = |end: &str| {
            format!("{folder}/123456789012_elasticloadbalancing_eu-west-1_app.shop.0a_{end}.log.gz")
        };
        let names = [
            "20261117T0235Z_203.0.113.93_a",
            "20261117T0240Z_203.0.113.93_b",
            "20261117T0240Z_b_c",
        ]
        .map(name);
        let text = said(&[
            (&names[0], "cut off"),
            (&names[1], "cut off."),
            (&names[2], "cut off"),
            ("other.log.gz", "corrupt"),
        ]);
        assert_eq!(
            text,
            format!(
                "  Damaged, corrupt:\n    other.log.gz\n  Damaged, cut off:\n    {}\n    \
                 ...20261117T0240Z_203.0.113.93_b.log.gz\n    ...20261117T0240Z_b_c.log.gz\n",
                names[0]
            )
        );
    }

    #[test]
    fn names_with_little_in_common_stay_whole() {
        let text = said(&[("logs/a_b.log.gz", "cut"), ("logs/a_c.log.gz", "cut")]);
        assert_eq!(text, "  Damaged, cut:\n    logs/a_b.log.gz\n    logs/a_c.log.gz\n");
        assert_eq!(differing("a", "ä"), "ä");
    }
}
