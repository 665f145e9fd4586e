//! What holds for any bytes that a target answers.

use super::response::{End, Response, ResponseReader};

/// Cut anywhere, they are the same response, and what is kept of them is bounded. The first byte chooses
/// the method and the end, the second how it is cut.
pub(crate) fn probe_response(bytes: &[u8]) {
    let [choice, cut, rest @ ..] = bytes else { return };
    let method = if choice & 1 == 0 { "GET" } else { "HEAD" };
    let end = || match choice >> 1 & 3 {
        0 => End::Closed,
        1 => End::Silent,
        _ => End::Stopped,
    };
    let mut reader = ResponseReader::new(method);
    reader.push(rest);
    let whole = reader.end(end());
    let mut reader = ResponseReader::new(method);
    let (mut left, mut size) = (rest, usize::from(*cut));
    while !left.is_empty() {
        size = (size * 7 + 3) % 61;
        let (piece, after) = left.split_at((size + 1).min(left.len()));
        reader.push(piece);
        left = after;
    }
    assert_eq!(reader.end(end()), whole);
    assert_bounded(&whole);
}

fn assert_bounded(response: &Response) {
    let of_headers = |it: &super::response::Header| it.name.len() + it.value.len();
    assert!(response.headers.len() <= 1000);
    assert!(response.headers.iter().all(|it| of_headers(it) <= 80 * 1024));
    assert!(response.reason.len() <= 80 * 1024);
    assert!(response.interim.len() <= 8);
    assert!(response.violations.len() <= 200, "{}", response.violations.len());
    // Three digits, whatever they are.
    assert!(response.status.is_none_or(|it| it < 1000), "{:?}", response.status);
    if let Some(seconds) = response.promised_seconds() {
        assert!(seconds.is_finite() && 0.0 <= seconds, "{seconds}");
    }
    let _ = response.says_close();
}
