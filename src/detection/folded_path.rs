//! A path with its ids folded, so that `/orders/17` and `/orders/18` count as one.

/// More segments than this are cut: they only tell strangers' paths apart.
const MAX_SEGMENTS: usize = 8;

/// A segment at least this long that holds letters and digits is a token, not a word.
const TOKEN_BYTES: usize = 16;

/// Hexadecimal segments at least this long are ids (a short git hash has 7, a word such as `feed`
/// or `decade` has no digit).
const HEX_BYTES: usize = 7;

/// Writes the folded form of `path` (query already cut) into `out`.
pub(super) fn fold(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for (index, segment) in path.split(|&byte| byte == b'/').enumerate() {
        if index == 0 && segment.is_empty() {
            continue;
        }
        if MAX_SEGMENTS < index {
            out.extend_from_slice(b"/...");
            return;
        }
        out.push(b'/');
        // `17.csv` is an id as well, and its ending says what it is.
        let dot = memchr::memrchr(b'.', segment).filter(|dot| 0 < *dot).unwrap_or(segment.len());
        let (name, ending) = segment.split_at(dot);
        if is_id(name) {
            out.extend_from_slice(b"{id}");
            out.extend_from_slice(ending);
        } else {
            out.extend_from_slice(segment);
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
}

/// What a byte may be part of, as bits.
const DIGITS: u8 = 1;
const HEXADECIMAL: u8 = 2;
const TOKEN: u8 = 4;

/// The classes of every byte. A table: each path of each row goes through it.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let digit = if byte.is_ascii_digit() { DIGITS } else { 0 };
        let hexadecimal = if byte.is_ascii_hexdigit() || byte == b'-' { HEXADECIMAL } else { 0 };
        let is_token = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        classes[byte as usize] = digit | hexadecimal | if is_token { TOKEN } else { 0 };
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

fn is_id(segment: &[u8]) -> bool {
    let (mut any, mut all) = (0, u8::MAX);
    for byte in segment {
        let class = CLASSES.get(usize::from(*byte)).copied().unwrap_or(0);
        any |= class;
        all &= class;
    }
    let is = |class: u8| all & class != 0;
    any & DIGITS != 0
        && (is(DIGITS)
            || (is(HEXADECIMAL) && HEX_BYTES <= segment.len())
            || (is(TOKEN) && TOKEN_BYTES <= segment.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_ids_and_keeps_words() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("/api/v1/orders/123", "/api/v1/orders/{id}"),
            ("/u/6f9619ff-8b86-d011-b42d-00cf4fc964ff/cart", "/u/{id}/cart"),
            ("/commit/3fce3b5", "/commit/{id}"),
            ("/feed/decade", "/feed/decade"),
            ("/static/app.3fce3b5a.js", "/static/app.3fce3b5a.js"),
            ("/export/4435.csv", "/export/{id}.csv"),
            ("/v1.2/.well-known/x", "/v1.2/.well-known/x"),
            ("/t/Zm9vYmFyYmF6cXV4MQ", "/t/{id}"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/..."),
            ("/a//b/", "/a//b/"),
        ] {
            let mut out = Vec::new();
            fold(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path}");
        }
    }
}
