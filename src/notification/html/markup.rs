//! HTML in the making. Markup comes from the program only: whatever is not a literal is escaped.

use crate::neutralize::is_invisible;

/// A value is shown up to this many characters: a key of S3 and its bucket. What strangers write is cut
/// long before, at 160 bytes.
const MAX_VALUE_CHARS: usize = 1100;

/// Marks upon one letter: more than any language stacks, few enough to stay within the line.
const MAX_MARKS: usize = 3;

/// A piece of a page. Only [`Markup::raw`] writes markup, and it takes nothing but literals; everything
/// else is escaped on its way in.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup of this program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text: a sentence of a diagnosis, a number with its unit. Also inside of a quoted attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.0);
        self
    }

    /// A value that a stranger or AWS wrote: cut, and its direction of writing stays its own.
    pub(super) fn value(&mut self, value: &str) -> &mut Self {
        self.0.push_str("<bdi>");
        match value.char_indices().nth(MAX_VALUE_CHARS) {
            None => escape(value, &mut self.0),
            Some((end, _)) => {
                escape(value.get(..end).unwrap_or_default(), &mut self.0);
                self.0.push('…');
            }
        }
        self.0.push_str("</bdi>");
        self
    }

    /// A whole number, in the text or in an attribute.
    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// A length of a drawing, in pixels or percent, with as many digits as the eye can tell.
    pub(super) fn length(&mut self, length: f64) -> &mut Self {
        let length = if length.is_finite() { length } else { 0.0 };
        let text = format!("{length:.2}");
        let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
        self.0.push_str(text.trim_end_matches('.'));
        self
    }

    /// A command: one click selects all of it, and nothing else.
    pub(super) fn command(&mut self, command: &str) -> &mut Self {
        self.0.push_str("<pre tabindex=\"0\"><code>");
        for (index, line) in command.lines().enumerate() {
            if 0 < index {
                self.0.push('\n');
            }
            escape(line, &mut self.0);
        }
        self.0.push_str("</code></pre>\n");
        self
    }

    /// The page so far.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Escapes for text and for quoted attributes. What cannot be seen (control characters, marks that change
/// the direction, characters without width) is shown as a question mark, and so are more marks upon a
/// letter than any language needs: they would be drawn over the lines around.
fn escape(text: &str, out: &mut String) {
    let mut marks = 0;
    for c in text.chars() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if is_invisible(c) || MAX_MARKS < marks => out.push('?'),
            c => out.push(c),
        }
    }
}

/// Marks that stand upon the letter before them.
/// Source: the blocks of combining marks of Unicode 16.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{6d6}'..='\u{6ed}' | '\u{e31}'..='\u{e4e}' | '\u{f71}'..='\u{fbc}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{302a}'..='\u{302f}' | '\u{a66f}'..='\u{a67d}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let mut markup = Markup::default();
        markup.text(text);
        markup.into_string()
    }

    #[test]
    fn strangers_text_is_text() {
        for (text, expected) in [
            ("/cart?a=1&b", "/cart?a=1&amp;b"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x'", "&quot; onload=&#39;x&#39;"),
            ("a\u{202e}b\u{200b}c\u{1b}[31m", "a?b?c?[31m"),
            ("e\u{301}", "e\u{301}"),
            ("z\u{300}\u{301}\u{302}\u{303}\u{304}", "z\u{300}\u{301}\u{302}??"),
            ("a\r\nb", "a? b"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
        let mut markup = Markup::default();
        markup.value(&"x".repeat(1200)).command("a <b>\n  c");
        let page = markup.into_string();
        assert!(page.contains(&format!("{}…</bdi>", "x".repeat(1100))), "{page}");
        assert!(page.ends_with("<code>a &lt;b&gt;\n  c</code></pre>\n"), "{page}");
    }

    #[test]
    fn lengths_are_numbers_whatever_comes() {
        let mut markup = Markup::default();
        for length in [0.0, 12.5, 33.333_33, 100.0, f64::NAN, f64::INFINITY, -0.001] {
            markup.length(length).raw(" ");
        }
        assert_eq!(markup.into_string(), "0 12.5 33.33 100 0 0 -0 ");
    }

    proptest! {
        #[test]
        fn nothing_that_means_something_is_left(text in "(?s).*") {
            let shown = shown(&text);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
            prop_assert!(!shown.chars().any(is_invisible));
            for part in shown.split('&').skip(1) {
                let (name, _) = part.split_once(';').unwrap_or_default();
                prop_assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "{part}");
            }
        }
    }
}
