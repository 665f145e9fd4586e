//! A message that fits into SNS, whatever the incident.
//!
//! What is larger than the budget is rendered from less, in fixed steps, so that the same diagnosis
//! always gives the same message: rows and objects go first, then evidence and what passed, then long
//! words. The answer, the numbers and the first fix stay. A gap says that something was left out.

use std::io::{self, Write};

use super::Notification;
use crate::diagnosis::{CheckOutcome, Diagnosis, Fix, Gap, Statement};
use crate::neutralize::{cut, line};

/// Bytes of document, attributes and subject together. SNS takes 262,144; what is left over is for what
/// SNS adds on the way.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
pub(super) const MAX_BYTES: usize = 200_000;

/// The machine form stands in the document four or five times. One beyond this cannot fit and is not
/// rendered at all.
const MAX_MACHINE_BYTES: usize = MAX_BYTES / 4;

/// How much of a diagnosis is kept.
struct Limits {
    samples: usize,
    objects: usize,
    causes: usize,
    /// Of each list of evidence, of fixes, of paths.
    statements: usize,
    gaps: usize,
    /// Of each list of figures, besides the row of the others.
    figures: usize,
    checks: usize,
    /// The checks that are kept: all up to this outcome.
    outcomes: CheckOutcome,
    /// Characters of a text, and of a command: half a command is worse than none.
    chars: usize,
}

/// From nearly all to the bare answer. The last fits even if every character takes the most bytes that
/// a character can take in a string within a string: see the test.
const LIMITS: [Limits; 4] = [
    Limits {
        samples: 1,
        objects: 10,
        causes: 20,
        statements: 20,
        gaps: 40,
        figures: 10,
        checks: 40,
        outcomes: CheckOutcome::Skipped,
        chars: 1000,
    },
    Limits {
        samples: 0,
        objects: 3,
        causes: 8,
        statements: 8,
        gaps: 20,
        figures: 4,
        checks: 40,
        outcomes: CheckOutcome::Skipped,
        chars: 500,
    },
    Limits {
        samples: 0,
        objects: 0,
        causes: 4,
        statements: 4,
        gaps: 8,
        figures: 2,
        checks: 20,
        outcomes: CheckOutcome::Unknown,
        chars: 250,
    },
    Limits {
        samples: 0,
        objects: 0,
        causes: 2,
        statements: 2,
        gaps: 3,
        figures: 0,
        checks: 3,
        outcomes: CheckOutcome::Fail,
        chars: 100,
    },
];

/// Renders, and renders less until it fits.
pub(super) fn fit(
    diagnosis: &Diagnosis,
    render: impl Fn(&Diagnosis) -> Notification,
) -> Notification {
    if is_small(diagnosis) {
        let whole = render(diagnosis);
        if fits(&whole) {
            return whole;
        }
    }
    let mut short = diagnosis.clone();
    let said = Gap {
        fact: "parts of this message".to_owned(),
        reason: "left out, because the whole is larger than SNS takes".to_owned(),
        permission: None,
    };
    for limits in &LIMITS {
        short.gaps.retain(|gap| *gap != said);
        shorten(&mut short, limits);
        short.gaps.push(said.clone());
        if is_small(&short) {
            let message = render(&short);
            if fits(&message) {
                return message;
            }
        }
    }
    render(&short)
}

fn fits(message: &Notification) -> bool {
    let attributes: usize = message
        .attributes
        .iter()
        .map(|(name, value)| name.len() + "String".len() + value.len())
        .sum();
    message.message.len() + attributes + message.subject.len() <= MAX_BYTES
}

/// Whether it is worth rendering: counts the bytes of the machine form, but never more than matter.
fn is_small(diagnosis: &Diagnosis) -> bool {
    struct Room(usize);
    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(MAX_MACHINE_BYTES), diagnosis).is_ok()
}

fn shorten(short: &mut Diagnosis, limits: &Limits) {
    let words = |text: &mut String| *text = cut(&line(&cut(text, limits.chars)), limits.chars);
    let maybe_words = |text: &mut Option<String>| text.iter_mut().for_each(words);
    let command = |command: &mut Option<String>| {
        if command.as_ref().is_some_and(|it| it.chars().nth(limits.chars).is_some()) {
            *command = None;
        }
    };
    let statements = |list: &mut Vec<Statement>| {
        list.truncate(limits.statements);
        list.iter_mut().for_each(|statement| words(&mut statement.text));
    };

    words(&mut short.summary);
    words(&mut short.text);
    maybe_words(&mut short.why_healthy);
    let load_balancer = &mut short.load_balancer;
    words(&mut load_balancer.id);
    words(&mut load_balancer.name);
    for name in [&mut load_balancer.arn, &mut load_balancer.account, &mut load_balancer.region] {
        maybe_words(name);
    }
    if let Some(group) = &mut short.target_group {
        words(&mut group.name);
        words(&mut group.arn);
    }

    short.samples.truncate(limits.samples);
    for sample in &mut short.samples {
        for text in [&mut sample.method, &mut sample.path, &mut sample.target, &mut sample.trace_id]
        {
            maybe_words(text);
        }
        words(&mut sample.object);
    }
    // The damaged ones are the ones to know of.
    short.objects.sort_by_key(|object| object.error.is_none());
    short.objects.truncate(limits.objects);
    for object in &mut short.objects {
        words(&mut object.name);
        words(&mut object.kind);
        maybe_words(&mut object.node);
        maybe_words(&mut object.error);
    }

    short.causes.truncate(limits.causes);
    for cause in &mut short.causes {
        // An id is matched by machines: no mark of a cut in it.
        cause.id = cause.id.chars().take(limits.chars).collect();
        words(&mut cause.title);
        statements(&mut cause.evidence);
        statements(&mut cause.against);
        cause.fixes.truncate(limits.statements);
        for Fix { text, command: how } in &mut cause.fixes {
            words(text);
            command(how);
        }
    }
    short.checks.retain(|check| check.outcome <= limits.outcomes);
    short.checks.truncate(limits.checks);
    for check in &mut short.checks {
        words(&mut check.summary);
        maybe_words(&mut check.resource);
        if CheckOutcome::Pass <= check.outcome {
            check.command = None;
        }
        command(&mut check.command);
        command(&mut check.fix_command);
    }
    let facts = &mut short.facts;
    facts.keep(limits.figures);
    facts.keep_alive_timers.truncate(limits.statements);
    let timers = facts.keep_alive_timers.iter_mut().map(|timer| &mut timer.targets);
    for list in timers.chain([&mut facts.bad_targets, &mut facts.paths]) {
        list.truncate(limits.statements);
    }
    facts.texts().for_each(words);
    short.gaps.truncate(limits.gaps);
    for gap in &mut short.gaps {
        words(&mut gap.fact);
        words(&mut gap.reason);
        maybe_words(&mut gap.permission);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::notification::{HttpsBody, chat, render, tests};

    /// Every text of the diagnosis, long and of one character.
    fn huge(character: char, length: usize, many: usize) -> Diagnosis {
        let words = character.to_string().repeat(length);
        let mut diagnosis = tests::diagnosis(&words, &words, many);
        diagnosis.load_balancer.id.clone_from(&words);
        diagnosis.load_balancer.name.clone_from(&words);
        diagnosis.load_balancer.arn = Some(words.clone());
        diagnosis.load_balancer.account = Some(words.clone());
        diagnosis.load_balancer.region = Some(words.clone());
        if let Some(group) = &mut diagnosis.target_group {
            group.arn.clone_from(&words);
        }
        for fix in diagnosis.causes.iter_mut().flat_map(|cause| &mut cause.fixes) {
            fix.command = Some(words.clone());
        }
        for gap in &mut diagnosis.gaps {
            gap.permission = Some(words.clone());
        }
        for check in &mut diagnosis.checks {
            check.command = Some(words.clone());
            check.fix_command = Some(words.clone());
        }
        let first = diagnosis.causes[0].clone();
        diagnosis.causes.resize(many, first);
        let first = diagnosis.checks[0].clone();
        diagnosis.checks.resize(17, first);
        diagnosis
    }

    #[test]
    fn the_worst_characters_still_fit() {
        for character in ['a', '"', '\\', '\u{1}', '&', '`', '.', '\u{1f600}', '\u{202e}'] {
            // 99: no text is cut, and no command is dropped.
            for (length, many) in [(99, 3), (99, 100), (2_000, 10)] {
                for https_body in [HttpsBody::Chat, HttpsBody::Json] {
                    let message = render(&huge(character, length, many), https_body);
                    let bytes = message.message.len();
                    assert!(fits(&message), "{bytes} with {many} of {length} {character:?}");
                    let machine: Value = serde_json::from_str(&message.json).unwrap();
                    assert!(tests::schema().is_valid(&machine), "{character:?}");
                    tests::check_chat(&message, https_body);
                    let said = machine["gaps"].as_array().unwrap().last().unwrap();
                    assert!(many == 3 || said["fact"] == "parts of this message");
                }
            }
        }
    }

    #[test]
    fn thousands_of_long_strings_are_not_even_rendered() {
        let diagnosis = tests::diagnosis(&"/path".repeat(1000), &"words ".repeat(1000), 2000);
        assert!(!is_small(&diagnosis));
        assert!(fits(&render(&diagnosis, HttpsBody::Json)));
    }

    #[test]
    fn the_answer_survives() {
        let diagnosis = tests::diagnosis("/a", &"words ".repeat(5000), 50);
        let message = render(&diagnosis, HttpsBody::Json);
        for needed in ["keepalive-race", "40 of 2,539 requests", "aws elbv2 x", "left out"] {
            assert!(message.text.contains(needed), "{needed}: {}", message.text);
        }
    }

    #[test]
    fn what_fits_is_whole() {
        let diagnosis = tests::diagnosis("/a", "Words.", 3);
        let machine: Value =
            serde_json::from_str(&render(&diagnosis, HttpsBody::Chat).json).unwrap();
        let text = chat::text(&diagnosis);
        assert_eq!(machine, serde_json::to_value(Diagnosis { text, ..diagnosis }).unwrap());
    }
}
