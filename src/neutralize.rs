//! Strangers' text, made harmless to show.
//!
//! Paths, methods, reasons and trace ids of a log are written by whoever sends requests. The rule has
//! two halves:
//!
//! 1. Who puts such a value into a sentence calls [`plain`] on it, in the diagnosis as in the messages.
//!    The sentences of a diagnosis are therefore ours, with harmless values in them.
//! 2. Who shows a sentence does not trust that: everything printed goes through [`line`](fn@line), and
//!    everything that goes to a chat through [`chat`] or [`code`], our own words included.
//!
//! After both: no control character, no terminal escape, no text direction override, no link, no
//! mention, no markup. Both halves leave what is harmless as it is, so applying them twice changes
//! nothing. The machine form keeps the values: JSON escapes what cannot be shown, and what it would let
//! through, [`json`] does.

use std::io;

/// A value of a log is shown up to this many characters.
const MAX_CHARS: usize = 120;

/// Endings of file names that no mail program takes for a domain.
const FILE_ENDINGS: [&str; 19] = [
    "csv", "html", "htm", "php", "js", "css", "json", "xml", "png", "jpg", "gif", "svg", "ico",
    "txt", "map", "gz", "asp", "aspx", "jsp",
];

/// A value for plain text and email: visible, on one line, bounded, and nothing in it becomes a link.
pub fn plain(value: &str) -> String {
    let mut shown = String::with_capacity(value.len().min(MAX_CHARS) + 8);
    let mut chars = value.char_indices();
    for (at, c) in chars.by_ref().take(MAX_CHARS) {
        let rest = value.get(at + c.len_utf8()..).unwrap_or_default();
        match c {
            '@' => shown.push_str("[at]"),
            '`' => shown.push('\''),
            ':' if rest.starts_with("//") || ends_with_scheme(&shown) => shown.push_str("[:]"),
            ':' if is_emoji_name(rest) => shown.push_str("[:]"),
            '.' if begins_domain_part(rest) || ends_with_www(&shown) => shown.push_str("[.]"),
            c if is_invisible(c) || is_right_to_left(c) => shown.push('?'),
            c => shown.push(c),
        }
    }
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// The name of an object or file, to be found again: verbatim and whole when it is made of what the keys
/// of AWS are made of, else like [`plain`]. `s3://` is no scheme that a mail program opens.
pub fn object_name(name: &str) -> String {
    let rest = name.strip_prefix("s3://").unwrap_or(name);
    let is_key = rest.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'=')
    });
    if is_key && !rest.contains("//") && !rest.to_ascii_lowercase().contains("www.") {
        return name.to_owned();
    }
    plain(name)
}

/// A composed sentence, on its way to a screen or an email: the net below [`plain`]. It keeps line
/// breaks out, shows no invisible character, and breaks what mail programs turn into links.
pub fn line(sentence: &str) -> String {
    let mut shown = String::with_capacity(sentence.len() + 8);
    let mut before = ' ';
    for (at, c) in sentence.char_indices() {
        let rest = sentence.get(at + c.len_utf8()..).unwrap_or_default();
        let next_is_word =
            |after: &str| rest.strip_prefix(after).is_some_and(|rest| rest.starts_with(is_word));
        match c {
            ':' if next_is_word("//") && !shown.ends_with("s3") => shown.push_str("[:]"),
            ':' if next_is_word("") && ends_with_scheme(&shown) => shown.push_str("[:]"),
            '@' if is_word(before) && next_is_word("") => shown.push_str("[at]"),
            '.' if ends_with_www(&shown) && next_is_word("") => shown.push_str("[.]"),
            '\n' | '\t' => shown.push(' '),
            c if is_invisible(c) => shown.push('?'),
            c => shown.push(c),
        }
        before = c;
    }
    shown
}

/// Schemes that mail programs make links of without two slashes.
const SCHEMES: [&str; 5] = ["mailto", "tel", "sms", "javascript", "data"];

fn ends_with_scheme(shown: &str) -> bool {
    let word = shown.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

fn ends_with_www(shown: &str) -> bool {
    shown.as_bytes().last_chunk::<3>().is_some_and(|end| end.eq_ignore_ascii_case(b"www"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '['
}

/// A command between the fences of a chat: as it is, but for the three characters that Slack reads as
/// the beginning of a link or a mention even there.
/// Source: <https://docs.slack.dev/messaging/formatting-message-text#escaping>
pub fn code(command: &str) -> String {
    let mut shown = String::with_capacity(command.len() + 16);
    for c in command.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '\n' => shown.push('\n'),
            c if is_invisible(c) => shown.push('?'),
            c => shown.push(c),
        }
    }
    shown.replace("```", "'''")
}

/// Text for a chat that reads Slack markdown: no markup, link or mention is left, and it is one line.
pub fn chat(text: &str) -> String {
    let text = line(text);
    let mut shown = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let inside_word =
            before.is_alphanumeric() && chars.peek().is_some_and(|c| c.is_alphanumeric());
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            // There is no escape for these: the full-width forms look alike and mean nothing.
            '*' => shown.push('\u{ff0a}'),
            '~' => shown.push('\u{ff5e}'),
            '`' => shown.push('\''),
            '_' if !inside_word => shown.push('\u{ff3f}'),
            '[' => shown.push('('),
            ']' => shown.push(')'),
            '@' => shown.push_str("(at)"),
            c => shown.push(c),
        }
        before = c;
    }
    shown
}

/// JSON that means the same and holds no invisible character: `\u009b`, which a terminal takes for the
/// beginning of an escape, and marks that turn text round, may stand in JSON as they are. Only texts of it
/// can hold them.
pub fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        // Below these are the line breaks of a form for people; those in texts are escaped already.
        if '\u{7f}' <= c && is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Writes JSON as [`json`] makes it. What is written at once must be whole characters, as the writers of
/// JSON do; bytes that are none go through as they are.
#[derive(Debug)]
pub struct JsonWriter<W>(pub W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.iter().any(|byte| 0x7f <= *byte) => {
                self.0.write_all(json(text).as_bytes())?;
            }
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How long a service that is written in Java or JavaScript finds a text: in units of UTF-16, of which a
/// character has one or two.
pub fn utf16_length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Cuts text after `max` characters, as [`utf16_length`] counts them, with a mark, and not inside of an
/// escape of [`chat`].
pub fn cut(text: &str, max: usize) -> String {
    if utf16_length(text) <= max {
        return text.to_owned();
    }
    let mut room = max.saturating_sub(3);
    let fits = |c: &char| {
        let left = room.checked_sub(c.len_utf16());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let mut short: String = text.chars().take_while(fits).collect();
    if let Some(at) = short.rfind('&')
        && short.len() - at < "&amp;".len()
        && !short.get(at..).unwrap_or_default().contains(';')
    {
        short.truncate(at);
    }
    short.push_str("...");
    short
}

/// Control characters (terminal escapes among them), line and paragraph separators, marks that change
/// the direction of text, and characters without width.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{2800}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Letters that are written from right to left, and turn round the numbers and arrows beside them. A load
/// balancer writes none: it escapes every byte of a request that is not ASCII.
/// Source: <https://www.unicode.org/Public/UCD/latest/ucd/extracted/DerivedBidiClass.txt>, where these are
/// the blocks whose default is R or AL.
fn is_right_to_left(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// `smile:` as in `:smile:`. Digits alone are a time or a port.
fn is_emoji_name(rest: &str) -> bool {
    let Some((name, _)) = rest.split_once(':') else { return false };
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-'))
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// What stands after a dot may be the end of a domain: mail programs make links of it.
fn begins_domain_part(rest: &str) -> bool {
    let part: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    part.chars().any(char::is_alphabetic) && !FILE_ENDINGS.contains(&part.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strangers_values_become_harmless() {
        for (value, expected) in [
            ("/api/orders/{id}", "/api/orders/{id}"),
            ("/index.html", "/index.html"),
            ("/\x1b[31mred\r\nX: y", "/?[31mred??X: y"),
            ("http://evil.test/a", "http[:]//evil[.]test/a"),
            ("//www.evil.com", "//www[.]evil[.]com"),
            ("<!channel> @here", "<!channel> [at]here"),
            ("a@b.test", "a[at]b[.]test"),
            ("\u{202e}gpj.exe", "?gpj[.]exe"),
            (":smile: 10:20:30", "[:]smile: 10:20:30"),
            ("`x`", "'x'"),
            ("v1.2.3", "v1.2.3"),
            ("mailto:x@y.test tel:+1 a:b", "mailto[:]x[at]y[.]test tel[:]+1 a:b"),
            ("/\u{5d0}\u{5d1}\u{2800}\u{1bca0}", "/????"),
        ] {
            assert_eq!(plain(value), expected, "{value:?}");
        }
        assert_eq!(plain(&"a".repeat(200)).len(), MAX_CHARS + 3);
    }

    #[test]
    fn chat_has_no_markup_link_or_mention() {
        for (text, expected) in [
            (
                "<!channel> <@U1> <http://x|y>",
                "&lt;!channel&gt; &lt;(at)U1&gt; &lt;http(:)//x|y&gt;",
            ),
            ("*b* _i_ ~s~ `c`", "\u{ff0a}b\u{ff0a} \u{ff3f}i\u{ff3f} \u{ff5e}s\u{ff5e} 'c'"),
            ("target_processing_time", "target_processing_time"),
            ("[x](y)", "(x)(y)"),
            ("a\x1b[0m", "a?(0m"),
            ("@here a@b.test", "(at)here a(at)b.test"),
            ("see https://x.test now", "see https(:)//x.test now"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(chat(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_name_of_an_object_can_be_pasted() {
        let key = "s3://logs/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/22/\
                   123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef_\
                   20261122T1205Z_10.0.1.5_4kz2vq1x.log.gz";
        assert_eq!(object_name(key), key);
        assert_eq!(line(key), key);
        assert_eq!(object_name("https://evil.test/a"), "https[:]//evil[.]test/a");
        assert_eq!(object_name("a\x1b[31m.log"), "a?[31m[.]log");
    }

    #[test]
    fn the_net_breaks_what_slipped_into_a_sentence() {
        for (sentence, expected) in [
            ("Ask again (https:// with --insecure).", "Ask again (https:// with --insecure)."),
            ("See http://evil.test/a.", "See http[:]//evil.test/a."),
            ("www.evil.test a@b.test", "www[.]evil.test a[at]b.test"),
            ("red\x1b[31m\u{202e}\u{200b}", "red?[31m??"),
            (
                "arn:aws:elasticloadbalancing:eu-west-1:1",
                "arn:aws:elasticloadbalancing:eu-west-1:1",
            ),
        ] {
            assert_eq!(line(sentence), expected, "{sentence:?}");
        }
    }

    #[test]
    fn a_command_in_a_chat_can_be_pasted() {
        assert_eq!(
            code("curl 'http://10.0.1.5:8080<PATH>' && \\\n  x ```"),
            "curl 'http://10.0.1.5:8080&lt;PATH&gt;' &amp;&amp; \\\n  x '''"
        );
    }

    #[test]
    fn a_cut_leaves_no_half_of_an_escape() {
        assert_eq!(cut("abc&lt;def", 9), "abc...");
        assert_eq!(cut("abc&lt;def", 10), "abc&lt;def");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "...");
        assert_eq!(cut("\u{1f600}\u{1f600}", 4), "\u{1f600}\u{1f600}");
        assert_eq!(cut("\u{1f600}\u{1f600}\u{1f600}", 5), "\u{1f600}...");
    }

    #[test]
    fn json_means_the_same_and_is_visible() {
        let value = "a\u{9b}31m\u{202e}\u{7f}\u{e0041}\n\u{e9}\u{1f600}";
        let document = serde_json::to_string_pretty(&[value]).unwrap();
        let expected = "[\n  \"a\\u009b31m\\u202e\\u007f\\udb40\\udc41\\n\u{e9}\u{1f600}\"\n]";
        assert_eq!(json(&document), expected);
        assert_eq!(serde_json::from_str::<[String; 1]>(expected).unwrap(), [value]);
        let mut written = Vec::new();
        serde_json::to_writer_pretty(JsonWriter(&mut written), &[value]).unwrap();
        assert_eq!(written, expected.as_bytes());
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(value in ".*") {
            let shown = plain(&value);
            prop_assert!(!shown.chars().any(is_invisible));
            prop_assert!(!shown.contains("://") && !shown.contains('@') && !shown.contains('`'));
            let chatted = chat(&shown);
            prop_assert!(!chatted.contains(['<', '>', '*', '~', '`', '@']));
            prop_assert_eq!(&line(&shown), &shown, "what is harmless stays");
            let net = line(&value);
            prop_assert!(!net.chars().any(is_invisible));
            prop_assert_eq!(&line(&net), &net);
        }
    }
}
