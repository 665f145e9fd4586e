//! A path with its ids folded, so that `/orders/17` and `/orders/18` count as one.

/// More segments than this are cut: they only tell strangers' paths apart.
const MAX_SEGMENTS: u8 = 8;

/// A segment at least this long that holds letters and digits is a token, not a word.
const TOKEN_BYTES: usize = 16;

/// Hexadecimal segments at least this long are ids (a short git hash has 7, a word such as `feed`
/// or `decade` has no digit).
const HEX_BYTES: usize = 7;

/// The folded form of `path` (from its first slash, query already cut). It is the path itself where nothing
/// is to fold, and is written into `room` otherwise.
#[inline]
pub(super) fn fold<'a>(path: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
    if path.is_empty() {
        return b"/";
    }
    // Without a digit there is no id: of most paths that is all to be looked for.
    let (mut any, mut slashes) = (0, 0);
    for byte in path {
        let class = class_of(*byte);
        any |= class;
        slashes += usize::from(class / SLASH);
    }
    if any & DIGITS != 0 || usize::from(MAX_SEGMENTS) < slashes {
        return fold_segments(path, room);
    }
    path
}

fn fold_segments<'a>(path: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
    room.clear();
    // What stands in `room` is the path up to here.
    let mut written = 0;
    let mut segments = 0;
    let mut segment = Segment::from(1);
    let mut end_segment = |segment: &Segment, at: usize| {
        if let Some(id) = segment.id(at) {
            room.extend_from_slice(path.get(written..id.start).unwrap_or_default());
            room.extend_from_slice(b"{id}");
            written = id.end;
        }
        segments += 1;
        if segments == MAX_SEGMENTS && at < path.len() {
            room.extend_from_slice(path.get(written..at).unwrap_or_default());
            room.extend_from_slice(b"/...");
            written = path.len();
        }
        segments == MAX_SEGMENTS
    };
    for (at, byte) in path.iter().enumerate().skip(1) {
        if *byte != b'/' {
            segment.add(*byte, at);
        } else if end_segment(&segment, at) {
            return room;
        } else {
            segment = Segment::from(at + 1);
        }
    }
    end_segment(&segment, path.len());
    if written == 0 {
        return path;
    }
    room.extend_from_slice(path.get(written..).unwrap_or_default());
    room
}

/// A part of a path between two slashes, while its bytes are looked at.
struct Segment {
    start: usize,
    classes: Classes,
    /// Where its last point stands, and the classes before it: `17.csv` is an id as well, and its ending
    /// says what it is.
    name: Option<(usize, Classes)>,
}

impl Segment {
    fn from(start: usize) -> Self {
        Self { start, classes: Classes { any: 0, all: u8::MAX }, name: None }
    }

    #[inline]
    fn add(&mut self, byte: u8, at: usize) {
        if byte == b'.' && self.start < at {
            self.name = Some((at, self.classes));
        }
        let class = class_of(byte);
        self.classes.any |= class;
        self.classes.all &= class;
    }

    /// Where an id stands in the segment, which ends at `end`.
    #[inline]
    fn id(&self, end: usize) -> Option<std::ops::Range<usize>> {
        let (end, classes) = self.name.unwrap_or((end, self.classes));
        classes.is_id(end - self.start).then_some(self.start..end)
    }
}

/// Of some bytes: what any of them is, and what all of them are.
#[derive(Clone, Copy)]
struct Classes {
    any: u8,
    all: u8,
}

impl Classes {
    #[inline]
    fn is_id(self, bytes: usize) -> bool {
        let is = |class: u8| self.all & class != 0;
        self.any & DIGITS != 0
            && (is(DIGITS)
                || (is(HEXADECIMAL) && HEX_BYTES <= bytes)
                || (is(TOKEN) && TOKEN_BYTES <= bytes))
    }
}

/// What a byte may be part of, as bits.
const DIGITS: u8 = 1;
const HEXADECIMAL: u8 = 2;
const TOKEN: u8 = 4;
/// The highest bit: dividing by it tells whether it is there.
const SLASH: u8 = 128;

/// The classes of every byte. A table: each path of each row goes through it.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let digit = if byte.is_ascii_digit() { DIGITS } else { 0 };
        let hexadecimal = if byte.is_ascii_hexdigit() || byte == b'-' { HEXADECIMAL } else { 0 };
        let is_token = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let token = if is_token { TOKEN } else { 0 };
        let slash = if byte == b'/' { SLASH } else { 0 };
        classes[byte as usize] = digit | hexadecimal | token | slash;
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

fn class_of(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
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
            ("/.1", "/.1"),
            ("/a.1.7/7", "/a.1.7/{id}"),
            ("/12/a/b/c/d/e/f/34.7", "/{id}/a/b/c/d/e/f/{id}.7"),
            ("/12/a/b/c/d/e/f/34.7/", "/{id}/a/b/c/d/e/f/{id}.7/..."),
            ("//", "//"),
        ] {
            let mut room = b"of the path before".to_vec();
            let folded = fold(path.as_bytes(), &mut room);
            assert_eq!(std::str::from_utf8(folded).unwrap(), expected, "{path}");
        }
    }
}
