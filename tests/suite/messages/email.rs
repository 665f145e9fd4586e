//! The email: the answer first, and prose that no mail program breaks.

use unicode_width::UnicodeWidthStr as _;

use super::SENT;

/// Columns that every mail program shows without a break.
const WIDTH: usize = 78;

/// `Load balancer  `, and the bullets and numbers of lists.
const LONGEST_LABEL: usize = 15;

/// A command, or a line of one that was broken between its arguments: it is copied, not read.
fn is_command(lines: &[&str], at: usize) -> bool {
    const PROGRAMS: [&str; 7] =
        ["aws ", "curl ", "openssl ", "ss ", "alb502 ", "dig ", "journalctl "];
    let begins = |line: &str| PROGRAMS.iter().any(|it| line.trim_start().starts_with(it));
    let continues = |at: usize| at.checked_sub(1).is_some_and(|it| lines[it].ends_with('\\'));
    let mut first = at;
    while continues(first) {
        first -= 1;
    }
    begins(lines[first])
}

/// Nothing but a label and one word that cannot be broken: an ARN, the name of an object.
fn is_one_word(line: &str) -> bool {
    let word_begins = line.trim_end().rfind(' ').map_or(0, |space| space + 1);
    line[..word_begins].width() <= LONGEST_LABEL
}

fn too_wide(email: &str) -> Vec<&str> {
    let lines: Vec<&str> = email.lines().collect();
    (0..lines.len())
        .filter(|at| WIDTH < lines[*at].width() && !is_one_word(lines[*at]))
        .filter(|at| !is_command(&lines, *at))
        .map(|at| lines[at])
        .collect()
}

#[test]
fn the_prose_of_every_email_fits_78_columns() {
    let mut wide = Vec::new();
    for sent in SENT.iter() {
        wide.extend(too_wide(&sent.message.text).iter().map(|it| format!("{}: {it}", sent.from)));
    }
    assert!(wide.is_empty(), "\n{}\n", wide.join("\n"));
}

#[test]
fn a_line_is_measured_in_columns() {
    let columns = |words: &str| too_wide(words).len();
    assert_eq!(columns(&format!("{}de", "ab ".repeat(25) + "f")), 0, "78");
    assert_eq!(columns(&format!("{}def", "ab ".repeat(25) + "f")), 1, "79");
    assert_eq!(columns(&format!("{}\u{65e5}", "ab ".repeat(25) + "f")), 0, "78 of 77 characters");
    assert_eq!(columns(&format!("{}\u{65e5}a", "ab ".repeat(25) + "f")), 1, "79 of 78 characters");
    assert_eq!(columns(&format!("Target group   {}", "a".repeat(100))), 0);
    assert_eq!(columns(&format!("  aws elbv2 \\\n    --arn {} --x y", "a".repeat(100))), 0);
    assert_eq!(columns(&format!("  see elbv2 \\\n    --arn {} --x y", "a".repeat(100))), 1);
}

#[test]
fn every_email_begins_with_the_answer_and_says_what_to_do() {
    for sent in SENT.iter() {
        let (email, it) = (&sent.message.text, &sent.diagnosis);
        let words = email.split_whitespace().collect::<Vec<_>>().join(" ");
        let summary = it.summary.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.starts_with(&summary), "{}: {email}", sent.from);
        assert!(email.contains(&format!("CAUSE 1  {}", it.causes[0].id)), "{}", sent.from);
        assert!(it.causes[0].fixes.is_empty() || email.contains("\n  Do\n"), "{}", sent.from);
        assert!(
            email.is_ascii() || sent.from.ends_with("words of Slack"),
            "{}: {email}",
            sent.from
        );
    }
}
