//! Prose that fits a terminal and an email. All that is printed passes here, so here is the net under
//! everything that comes from outside.

use unicode_width::UnicodeWidthStr as _;

use crate::neutralize;

/// The width of prose, in columns of a screen: a letter of Chinese takes two.
pub(crate) const WIDTH: usize = 78;

/// Breaks prose into lines: the first begins with `first`, the others with as many spaces. A word longer
/// than a line stays whole.
pub(crate) fn wrap(first: &str, prose: &str, out: &mut String) {
    let prose = neutralize::line(prose);
    let words = prose.split_whitespace().map(ToOwned::to_owned);
    fill(first, &" ".repeat(first.width()), words, out);
}

/// Fills lines with harmless words: the first begins with `first`, the others with `rest`. A word longer
/// than a line stays whole.
pub(crate) fn fill(
    first: &str,
    rest: &str,
    words: impl IntoIterator<Item = String>,
    out: &mut String,
) {
    out.push_str(first);
    let mut column = first.width();
    let mut is_first = true;
    let mut words = words.into_iter().peekable();
    while let Some(mut word) = words.next() {
        // A number stays with its unit.
        if ends_in_digit(&word)
            && let Some(unit) = words.next_if(|next| is_unit(next))
        {
            word.push(' ');
            word.push_str(&unit);
        }
        let length = word.width();
        if !is_first && WIDTH < column + 1 + length {
            out.push('\n');
            out.push_str(rest);
            column = rest.width();
            is_first = true;
        }
        if !is_first {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += length;
        is_first = false;
    }
    out.push('\n');
}

fn ends_in_digit(word: &str) -> bool {
    word.ends_with(|last: char| last.is_ascii_digit())
}

/// A unit, with the punctuation that follows it.
fn is_unit(word: &str) -> bool {
    let unit = word.trim_end_matches(|last: char| last.is_ascii_punctuation() && last != '%');
    matches!(unit, "%" | "s" | "ms")
}

/// A command, as it is, alone on its lines and without a prompt: it can be copied as a whole.
pub(super) fn command(indent: &str, command: &str, out: &mut String) {
    for line in command.lines() {
        out.push_str(indent);
        out.extend(line.chars().map(|c| if neutralize::is_invisible(c) { '?' } else { c }));
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_fit_or_are_one_word(prose in "[a-z <>:.\u{65e5}\u{1f600}]{0,400}", indent in 0_usize..12) {
            let mut out = String::new();
            wrap(&" ".repeat(indent), &prose, &mut out);
            for line in out.lines() {
                let fits = line.width() <= WIDTH;
                prop_assert!(fits || line.split_whitespace().count() == 1, "{line:?}");
            }
            let words = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&out), words(&prose));
        }
    }
}
