//! Colour, for a person at a terminal. What is printed is made plain; here it is painted on its way to the
//! screen, so that files, pipes and messages never hold an escape.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const END: &str = "\x1b[0m";

/// When to paint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// When it is a terminal, and neither NO_COLOR nor CLICOLOR=0 is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl When {
    /// From now on.
    pub(super) fn apply(self) {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::AlwaysAnsi,
            Self::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// Prints a text for people.
pub(super) fn print(text: &str) -> io::Result<()> {
    let output = io::stdout();
    match AutoStream::choice(&output) {
        ColorChoice::Never => print_plain(text),
        choice => {
            let mut output = AutoStream::new(output, choice);
            output.write_all(painted(text).as_bytes())?;
            output.flush()
        }
    }
}

/// Prints what is for machines.
pub(super) fn print_plain(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// A line on standard error; its `error:` or `warning:` stands out on a terminal.
pub(super) fn to_stderr(line: &str) -> io::Result<()> {
    let output = io::stderr();
    let begins = [("error:", RED), ("warning:", YELLOW)];
    let begins =
        begins.into_iter().find_map(|(word, it)| Some((word, it, line.strip_prefix(word)?)));
    match (AutoStream::choice(&output), begins) {
        (ColorChoice::Never, _) | (_, None) => writeln!(output.lock(), "{line}"),
        (choice, Some((word, colour, rest))) => {
            writeln!(AutoStream::new(output, choice), "{colour}{word}{END}{rest}")
        }
    }
}

/// Paints line by line: the answer, headings, what failed and how bad it is.
fn painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut is_answer = true;
    let mut is_after_ruler = false;
    for line in text.split_inclusive('\n') {
        let (line, ending) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        // The first paragraph of a message is its answer; messages are told apart by a ruler. What follows
        // "No incident" and what a rehearsal begins with are figures.
        let is_figures = ["History ", "No target group has "].iter().any(|it| line.starts_with(it));
        is_answer = is_answer && !line.is_empty() && !is_figures;
        if is_answer || is_heading(line) {
            paint(BOLD, line, &mut out);
        } else if let Some((before, word, after, colour)) = word_of(line) {
            out.push_str(before);
            paint(colour, word, &mut out);
            out.push_str(after);
        } else {
            out.push_str(line);
        }
        out.push_str(ending);
        is_after_ruler = is_ruler(line) || (is_after_ruler && line.is_empty());
        is_answer |= is_after_ruler;
    }
    out
}

fn paint(colour: &str, text: &str, out: &mut String) {
    if !text.is_empty() {
        out.push_str(colour);
        out.push_str(text);
        out.push_str(END);
    }
}

/// `CHECKS`, `CAUSE 1  connect-refused, ...`: it begins with a word in capitals at the edge.
fn is_heading(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    3 < word.len() && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_ruler(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte == b'=')
}

/// The word of a line that is painted, with what stands around it: the outcome of a check, the severity.
fn word_of(line: &str) -> Option<(&str, &str, &str, &'static str)> {
    const OUTCOMES: [(&str, &str); 4] =
        [("FAIL", RED), ("advice", YELLOW), ("unknown", YELLOW), ("skipped", DIM)];
    const SEVERITIES: [(&str, &str); 3] = [("critical", RED), ("warning", YELLOW), ("info", DIM)];
    // `  FAIL     keep-alive-...`
    let outcome = OUTCOMES.into_iter().map(|(word, colour)| (2, word, colour));
    // `Severity       critical`, and in a list of messages `2026-11-18 02:36  opened    critical`.
    let severity = SEVERITIES.into_iter();
    let at = if line.starts_with("Severity  ") {
        Some(15)
    } else if line.starts_with(|c: char| c.is_ascii_digit()) {
        Some(28)
    } else {
        None
    };
    let severity = severity.filter_map(|(word, colour)| Some((at?, word, colour)));
    outcome.chain(severity).find_map(|(at, word, colour)| {
        let (before, rest) = line.split_at_checked(at)?;
        let after = rest.strip_prefix(word)?;
        let is_alone = after.is_empty() || after.starts_with([' ', ',']);
        let is_at_edge = before.ends_with(' ') && (at != 2 || before == "  ");
        (is_alone && is_at_edge).then_some((before, word, after, colour))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "shop-web: The targets\nclose connections.\n\nTime           now\n\
                           Severity       critical\n\nCHECKS\n  FAIL     target-health\n           \
                           FAILURE is no outcome\n  unknown  b\n  pass     c\n";

    fn without_escapes(text: &str) -> String {
        [BOLD, RED, YELLOW, DIM, END].iter().fold(text.to_owned(), |it, code| it.replace(code, ""))
    }

    #[test]
    fn the_answer_headings_failures_and_severity_stand_out() {
        let said = painted(MESSAGE);
        for part in [
            "\x1b[1mshop-web: The targets\x1b[0m\n\x1b[1mclose connections.\x1b[0m\n\nTime  ",
            "Severity       \x1b[1;31mcritical\x1b[0m\n",
            "\n\x1b[1mCHECKS\x1b[0m\n  \x1b[1;31mFAIL\x1b[0m     target-health\n",
            "           FAILURE is no outcome\n",
            "  \x1b[33munknown\x1b[0m  b\n  pass     c\n",
        ] {
            assert!(said.contains(part), "{part:?} in {said:?}");
        }
    }

    #[test]
    fn nothing_but_escapes_is_added_and_each_line_ends_without_colour() {
        let two = format!("{MESSAGE}\n{}\n\n{MESSAGE}", "=".repeat(78));
        for text in
            [MESSAGE, &two, "", "no line break", "2026-11-18 02:36  opened    critical  a\n"]
        {
            let said = painted(text);
            assert_eq!(without_escapes(&said), text);
            let answers = said.matches("\x1b[1mshop-web: ").count();
            assert_eq!(answers, text.matches("shop-web: ").count());
            for line in said.lines().filter(|line| line.contains('\x1b')) {
                assert_eq!(line.matches(END).count() * 2, line.matches('\x1b').count(), "{line:?}");
            }
        }
    }

    #[test]
    fn it_changes_no_word_of_any_message_of_the_library() {
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
        let mut number = 0;
        for folder in std::fs::read_dir(library).unwrap() {
            let file = folder.unwrap().path().join("expected.txt");
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let said = painted(&text);
            assert_eq!(without_escapes(&said), text, "{}", file.display());
            let headings = said.lines().filter(|line| line.starts_with(BOLD)).count();
            assert!(2 < headings || text == "quiet\n", "{said}");
            number += 1;
        }
        assert!(100 <= number, "{number}");
    }

    #[test]
    fn in_a_list_of_messages_the_severity_stands_out() {
        let line = "2026-11-18 02:36  opened    critical  critical of shop\n";
        let expected = "2026-11-18 02:36  opened    \x1b[1;31mcritical\x1b[0m  critical of shop\n";
        assert_eq!(
            painted(&format!("History     a\n{line}")),
            format!("History     a\n{expected}")
        );
        assert_eq!(word_of("2026-11-18 02:36  opened    criticality  x"), None);
    }
}
