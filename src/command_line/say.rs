//! What is said beside the output, on standard error, in lines that fit a terminal.

use std::{
    io::{self, IsTerminal as _},
    sync::atomic::{AtomicBool, Ordering},
};

use unicode_width::UnicodeWidthStr as _;

use super::paint;
use crate::{
    local::files::{self, LogFile},
    neutralize,
    notification::wrap::{WIDTH, fill},
};

/// Whether `--quiet` was given.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Leaves the errors alone, from now on.
pub(super) fn be_quiet(is_quiet: bool) {
    QUIET.store(is_quiet, Ordering::Relaxed);
}

pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Says what a person may want to know beside the output; not with `--quiet`.
pub(super) fn note(text: &str) {
    if !is_quiet() {
        complain(text);
    }
}

/// Says what went wrong, beside the output.
pub(super) fn complain(text: &str) {
    for line in fitting(text).lines() {
        // When nobody can hear it, there is nobody to tell.
        let _ = paint::to_stderr(line);
    }
}

/// Says why nothing happens, when a person is to type the log.
pub(super) fn waiting_for_input(files: &[LogFile]) {
    let is_asked_for = files.iter().any(|file| files::is_standard_input(&file.path));
    if is_asked_for && io::stdin().is_terminal() {
        note("note: reading from the keyboard; pipe a log into it, or end it with Ctrl-D");
    }
}

/// The lines of a text, each broken where it is too long for a terminal, with what follows set in.
/// A line that begins with a space, or with the sign of a difference, is laid out already.
fn fitting(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        // A name of a file or key may be hostile.
        let line = neutralize::line(line);
        if line.starts_with([' ', '+', '-']) || line.width() <= WIDTH {
            out.push_str(&line);
            out.push('\n');
        } else {
            fill("", "  ", words(&line), &mut out);
        }
    }
    out
}

/// The words of a line. What a person copies is one word: a command between backticks, and a path with
/// spaces, which stands in quotes as a shell wants it.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut closing: Option<char> = None;
    for part in line.split_ascii_whitespace() {
        match (closing, words.last_mut()) {
            (Some(_), Some(word)) => {
                word.push(' ');
                word.push_str(part);
            }
            _ => words.push(part.to_owned()),
        }
        let begins = part.trim_start_matches('(').chars().next();
        closing = closing.or(begins.filter(|it| matches!(it, '`' | '\'')));
        let ends = part.trim_end_matches(['.', ',', ':', ';', ')']);
        let is_alone = part.trim_start_matches('(').len() < 2;
        closing = closing.filter(|mark| !ends.ends_with(*mark) || is_alone);
    }
    // A path that fits no line stays beside its `error:`.
    if let [first, second, ..] = words.as_slice()
        && first.ends_with(':')
        && WIDTH < 2 + second.chars().count()
    {
        let joined = format!("{first} {second}");
        words.splice(..2, [joined]);
    }
    match closing {
        // A mark that nothing closes is none: better a command in two than a line without an end.
        Some(_) => line.split_ascii_whitespace().map(ToOwned::to_owned).collect(),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_and_set_in_and_a_short_one_is_as_it_is() {
        let long = "error: /var/log/shop: no such file or folder. Give access-log files (.log, .log.gz) \
                    or folders that hold them.";
        assert_eq!(
            fitting(long),
            "error: /var/log/shop: no such file or folder. Give access-log files (.log,\n  .log.gz) or \
             folders that hold them.\n"
        );
        assert_eq!(fitting("written:  two  spaces"), "written:  two  spaces\n");
        assert_eq!(fitting(&"x".repeat(78)), format!("{}\n", "x".repeat(78)));
        let laid_out = format!("one\n  {}", "word ".repeat(20));
        assert_eq!(fitting(&laid_out), format!("{laid_out}\n"));
    }

    #[test]
    fn a_path_that_fits_no_line_stays_beside_its_error() {
        let path = format!("/logs/{}", "x".repeat(90));
        assert_eq!(fitting(&format!("error: {path}: gone")), format!("error: {path}:\n  gone\n"));
    }

    #[test]
    fn a_command_and_a_path_stay_whole() {
        for whole in ["`aws sts get-caller-identity`", "'/my logs/access log.gz'", "/logs/a_b-c.gz"]
        {
            for before in (20..75).step_by(5) {
                let text = format!("{} {whole}: and so much more", "n".repeat(before));
                let said = fitting(&text);
                assert!(said.contains(whole), "{said}");
                for line in said.lines() {
                    let is_one = line.contains(whole) && line.len() <= 2 + whole.len() + 1;
                    assert!(line.width() <= WIDTH || is_one, "{said}");
                }
            }
        }
        let possessive = "the load balancer's rows and the targets' rows are not the bucket's rows, and \
                          so a line of this kind breaks where it is full";
        assert_eq!(fitting(possessive).lines().count(), 2);
        let never_closed = format!("`{}", "word ".repeat(30));
        assert!(fitting(&never_closed).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        assert_eq!(fitting("error: a\u{1b}[31m\u{202e}b"), "error: a?[31m?b\n");
    }
}
