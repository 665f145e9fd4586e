//! Where the fields of a row stand: the part of reading that touches every byte.
//!
//! A row is looked at 64 bytes a step, as bits: which bytes are spaces, which are quotes, and which lie
//! between quotes. What is written in a rarer way (an escape, a quote inside a text, two spaces) is read
//! byte by byte; a test holds both ways to the same fields. Of most rows nobody asks for more than the
//! first fields, so the others are looked for when somebody does.

use memchr::{memchr, memchr2};
use wide::u8x32;

use super::parse::{Field, KNOWN_FIELDS};

/// Where the fields of a line stand. A line has at most a mebibyte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    starts: [u32; KNOWN_FIELDS],
    /// Behind the known fields anything may stand.
    ends: [u32; KNOWN_FIELDS + STEP - 1],
    /// Texts are told with their quotes.
    with_quotes: bool,
    /// How many of the known fields are found; the line may have more while not all were looked for.
    pub(super) known: usize,
    /// All fields were looked for.
    is_whole: bool,
    /// Where the rest begins that no field is known for.
    extra: usize,
}

/// So many ends are written at once, whether there are so many or not: how many there are differs from
/// block to block, and a processor that guesses wrong loses more than it takes to write them.
const STEP: usize = 4;

/// So many fields are looked for at first: what is counted of a request that went well.
const FIRST_FIELDS: usize = Field::RequestCreationTime as usize + 1;

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// A bare quote ends the text.
    Strict,
    /// A quote ends the text only before a space or at the end of the line.
    Lenient,
}

impl Fields {
    /// Reads the first fields of a line as the load balancer writes it.
    #[inline]
    pub(super) fn read_first(&mut self, line: &[u8]) {
        self.read(line, FIRST_FIELDS);
    }

    /// All fields of the line.
    #[cold]
    pub(super) fn whole(&self, line: &[u8]) -> Self {
        if self.is_whole {
            return *self;
        }
        let mut fields = Self::none_of(line);
        fields.read(line, KNOWN_FIELDS);
        fields
    }

    /// Reads at least so many fields, if the line has them.
    #[inline]
    fn read(&mut self, line: &[u8], wanted: usize) {
        if !self.find(line, wanted) {
            *self = Self::one_by_one(line, Quotes::Strict);
        }
    }

    /// The bytes of a field, without quotes.
    #[inline(always)]
    pub(super) fn get<'a>(&self, line: &'a [u8], field: Field) -> Option<&'a [u8]> {
        if self.known <= field as usize {
            return self.later(line, field);
        }
        self.at(line, field as usize)
    }

    /// A field that was not looked for, or is not there.
    #[cold]
    fn later<'a>(&self, line: &'a [u8], field: Field) -> Option<&'a [u8]> {
        if self.is_whole {
            return None;
        }
        self.whole(line).at(line, field as usize)
    }

    /// What follows the last known field.
    pub(super) fn extra<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        if !self.is_whole && self.has_no_more_than_known(line) {
            return &[];
        }
        line.get(self.whole(line).extra..).unwrap_or_default()
    }

    /// Behind the fields that are found stand too few spaces for a field that is not known: each divides
    /// two fields, or stands inside a text. Texts that touch each other, which no load balancer writes, count
    /// as one here.
    fn has_no_more_than_known(&self, line: &[u8]) -> bool {
        let last = self.known.checked_sub(1).and_then(|last| self.ends.get(last));
        let rest = last.and_then(|end| line.get(*end as usize..)).unwrap_or(line);
        self.known + count_spaces(rest) <= KNOWN_FIELDS
    }

    #[inline(always)]
    fn at<'a>(&self, line: &'a [u8], index: usize) -> Option<&'a [u8]> {
        if self.known <= index {
            return None;
        }
        let text = line.get(*self.starts.get(index)? as usize..*self.ends.get(index)? as usize)?;
        match text {
            [b'"', inner @ .., b'"'] if self.with_quotes => Some(inner),
            _ => Some(text),
        }
    }

    /// The first two fields stand at the very beginning, without quotes, one space between them.
    pub(super) fn begin_bare(&self, line: &[u8]) -> bool {
        let ([first, second, ..], [end, ..]) = (&self.starts, &self.ends);
        let is_quote = |at: u32| line.get(at as usize) == Some(&b'"');
        *first == 0 && *second == *end + 1 && !is_quote(*first) && !is_quote(*second)
    }

    /// Byte by byte.
    pub(super) fn one_by_one(line: &[u8], quotes: Quotes) -> Self {
        let mut fields = Self::none_of(line);
        fields.is_whole = true;
        let mut at = 0;
        for (start, end) in fields.starts.iter_mut().zip(&mut fields.ends) {
            let Some(token) = next_token(line, at, quotes) else {
                return fields;
            };
            (*start, *end) = (short(token.from), short(token.to));
            at = token.next;
            fields.known += 1;
        }
        fields.extra = at;
        fields
    }

    /// Before anything is found.
    #[inline]
    pub(super) fn none_of(line: &[u8]) -> Self {
        let (starts, ends) = ([0; KNOWN_FIELDS], [0; KNOWN_FIELDS + STEP - 1]);
        let extra = line.len();
        Self { starts, ends, with_quotes: false, known: 0, is_whole: false, extra }
    }

    /// Looks for the first `wanted` fields, 64 bytes a step. False when the line has to be read byte by
    /// byte: then what was found is of no use.
    #[inline]
    fn find(&mut self, line: &[u8], wanted: usize) -> bool {
        self.with_quotes = true;
        let mut carry = Carry::default();
        let (blocks, tail) = line.as_chunks::<BLOCK>();
        let (mut known, mut start) = (0, 0);
        for block in blocks {
            let Some(divides) = carry.divides(block, u64::MAX) else { return false };
            known = self.take(divides, start, known);
            if wanted <= known && (wanted < KNOWN_FIELDS || KNOWN_FIELDS < known) {
                return self.found(known, &carry);
            }
            start += BLOCK as u32;
        }
        // What fills the last block up is neither space nor quote.
        let mut last = [0; BLOCK];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let Some(divides) = carry.divides(&last, (1 << tail.len()) - 1) else { return false };
        known = self.take(divides, start, known);
        if known <= KNOWN_FIELDS {
            if carry.within != 0 || line.last().is_none_or(|last| *last == b' ') {
                return false;
            }
            // The end of the line ends a field as well.
            if known == KNOWN_FIELDS {
                self.extra_follows();
            } else if let Some(end) = self.ends.get_mut(known) {
                *end = short(line.len());
                known += 1;
            }
            self.is_whole = true;
        }
        self.found(known, &carry)
    }

    /// Ends a field at each of the spaces, given as bits, and tells how many are ended then. What follows the
    /// last known field is none.
    #[inline]
    fn take(&mut self, mut divides: u64, start: u32, known: usize) -> usize {
        let mut at = known;
        let known = known + divides.count_ones() as usize;
        while at < known
            && let Some(ends) = self.ends.get_mut(at..).and_then(<[u32]>::first_chunk_mut::<STEP>)
        {
            for end in ends {
                *end = start + divides.trailing_zeros();
                divides &= divides.wrapping_sub(1);
            }
            at += STEP;
        }
        known
    }

    /// The ends of so many fields are found. False when one may be wrong.
    #[inline]
    fn found(&mut self, known: usize, carry: &Carry) -> bool {
        self.known = known.min(KNOWN_FIELDS);
        if KNOWN_FIELDS < known {
            self.extra_follows();
            self.is_whole = true;
        }
        self.start_behind_ends();
        !carry.has_backslash()
    }

    fn extra_follows(&mut self) {
        if let Some(last) = self.ends.get(KNOWN_FIELDS - 1) {
            self.extra = *last as usize;
        }
    }

    /// Each field starts one space behind the end of the one before.
    #[inline]
    fn start_behind_ends(&mut self) {
        for (start, end) in self.starts.iter_mut().skip(1).zip(&self.ends) {
            *start = end.wrapping_add(1);
        }
    }
}

fn short(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Bytes of one step, a bit of a word each.
const BLOCK: usize = 64;

/// What one block has to know of the block before it, in the lowest bit but for the first.
struct Carry {
    /// All bits when the block begins inside a text.
    within: u64,
    /// The byte before the block divided two fields, or the line begins.
    divided: u64,
    /// The byte before the block ended a text.
    closed: u64,
    /// Not 0 where a backslash stood in a block.
    backslashes: u8x32,
}

impl Default for Carry {
    fn default() -> Self {
        Self { within: 0, divided: 1, closed: 0, backslashes: u8x32::ZERO }
    }
}

impl Carry {
    /// The spaces that divide fields. `None` when a quote stands elsewhere than at both ends of a field,
    /// or a field is empty. `in_line` are the bytes of the line.
    #[inline]
    fn divides(&mut self, block: &[u8; BLOCK], in_line: u64) -> Option<u64> {
        let halves = halves(block);
        let [first, second] = halves.map(|half| half.simd_eq(u8x32::splat(b'\\')));
        self.backslashes = self.backslashes | first | second;
        let (spaces, quotes) = (equal(halves, b' '), equal(halves, b'"'));
        if quotes == 0 {
            return self.divides_without_quotes(spaces, in_line);
        }
        // From each opening quote to before its closing one.
        let within = running_xor(quotes) ^ self.within;
        let divides = spaces & !within;
        let (opening, closing) = (quotes & within, quotes & !within);
        let after_division = divides << 1 | self.divided;
        let after_closing = closing << 1 | self.closed;
        let is_odd = (opening & !after_division)
            | (divides & after_division)
            | (after_closing & !divides & in_line);
        self.within = 0_u64.wrapping_sub(within >> 63);
        self.divided = divides >> 63;
        self.closed = closing >> 63;
        (is_odd == 0).then_some(divides)
    }

    /// The same of a block that lies inside a text, or between texts.
    #[inline]
    fn divides_without_quotes(&mut self, spaces: u64, in_line: u64) -> Option<u64> {
        let divides = spaces & !self.within;
        let after_division = divides << 1 | self.divided;
        let is_odd = (divides & after_division) | (self.closed & !divides & in_line);
        self.divided = divides >> 63;
        self.closed = 0;
        (is_odd == 0).then_some(divides)
    }

    /// A backslash may make a quote one of the text: such rows are few.
    #[inline]
    fn has_backslash(&self) -> bool {
        self.backslashes.to_bitmask() != 0
    }
}

#[inline]
fn halves(block: &[u8; BLOCK]) -> [u8x32; 2] {
    match block.as_chunks::<32>() {
        ([first, second], _) => [u8x32::new(*first), u8x32::new(*second)],
        _ => [u8x32::ZERO; 2],
    }
}

/// A bit for each byte that is `byte`.
#[inline]
fn equal([first, second]: [u8x32; 2], byte: u8) -> u64 {
    let wanted = u8x32::splat(byte);
    let bits = |half: u8x32| u64::from(half.simd_eq(wanted).to_bitmask());
    bits(second) << 32 | bits(first)
}

/// Each row is asked how many stand behind its first fields.
fn count_spaces(text: &[u8]) -> usize {
    let (blocks, tail) = text.as_chunks::<BLOCK>();
    let spaces = |block| equal(halves(block), b' ').count_ones() as usize;
    let in_tail = match text.last_chunk::<BLOCK>() {
        Some(last) if !tail.is_empty() => {
            (equal(halves(last), b' ') >> (BLOCK - tail.len())).count_ones() as usize
        }
        _ => tail.iter().filter(|byte| **byte == b' ').count(),
    };
    blocks.iter().map(spaces).sum::<usize>() + in_tail
}

/// Each bit is the xor of all bits up to it.
#[inline]
fn running_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The words of a text that may hold quotes, read as the fields of a row are.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let token = next_token(text, at, Quotes::Strict)?;
        at = token.next;
        text.get(token.from..token.to)
    })
}

/// A field in its line: where it starts and ends without its quotes, and where the next may start.
struct Token {
    from: usize,
    to: usize,
    next: usize,
}

/// The next field from `at` on.
fn next_token(line: &[u8], mut at: usize, quotes: Quotes) -> Option<Token> {
    while line.get(at) == Some(&b' ') {
        at += 1;
    }
    let text = line.get(at..).filter(|text| !text.is_empty())?;
    Some(match text {
        [b'"', inner @ ..] => {
            let to = at + 1 + closing_quote(inner, quotes);
            Token { from: at + 1, to, next: (to + 1).min(line.len()) }
        }
        _ => {
            let to = at + memchr(b' ', text).unwrap_or(text.len());
            Token { from: at, to, next: to }
        }
    })
}

/// The index of the quote that ends `text`, or its length when none does.
fn closing_quote(text: &[u8], quotes: Quotes) -> usize {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|tail| memchr2(b'"', b'\\', tail)) {
        let at = from + found;
        let next = text.get(at + 1);
        match text.get(at) {
            Some(b'\\') => {
                from = if matches!(next, Some(b'"' | b'\\')) { at + 2 } else { at + 1 };
            }
            _ if quotes == Quotes::Strict || matches!(next, None | Some(b' ')) => return at,
            _ => from = at + 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access_log::parse::FIELD_NAMES;

    fn read(line: &[u8]) -> Fields {
        let mut fields = Fields::none_of(line);
        fields.read_first(line);
        fields
    }

    /// Every field and the rest of a line.
    fn told<'a>(fields: &Fields, line: &'a [u8]) -> (Vec<&'a [u8]>, &'a [u8]) {
        let first: Vec<_> = Field::ALL.iter().map_while(|field| fields.get(line, *field)).collect();
        let fields = fields.whole(line);
        let of = |index: usize| fields.at(line, index).unwrap();
        assert!(fields.known <= FIELD_NAMES.len());
        let all: Vec<_> = (0..fields.known).map(of).collect();
        assert_eq!(all, first);
        (all, fields.extra(line))
    }

    #[test]
    fn a_row_is_read_in_steps() {
        let text = "\"GET http://example.com:80/a b?c=d HTTP/1.1\"";
        for count in [1, 2, 17, 32, 33, 34, 40] {
            for last in ["x", "\"y z\"", "\"\"", text] {
                let row: Vec<&str> = [text, "-", "\"-\"", "0.001"]
                    .into_iter()
                    .cycle()
                    .take(count - 1)
                    .chain([last])
                    .collect();
                let line = row.join(" ");
                let line = line.as_bytes();
                let expected = Fields::one_by_one(line, Quotes::Strict);
                for wanted in [1, FIRST_FIELDS, KNOWN_FIELDS] {
                    let mut fields = Fields::none_of(line);
                    assert!(fields.find(line, wanted));
                    assert!(wanted.min(count) <= fields.known && fields.known <= KNOWN_FIELDS);
                    assert_eq!(told(&fields, line), told(&expected, line));
                }
            }
        }
    }

    #[test]
    fn what_is_odd_is_read_byte_by_byte() {
        let far = "x".repeat(63);
        for odd in [
            "",
            " ",
            "a ",
            " a",
            "a  b",
            "\"a",
            "a\"b",
            "a\"",
            "\"a\"b",
            "\"a\"\"b\"",
            "\"a \\\" b\"",
            "\"a \\\\\"",
            &format!("\"{}\\\\\" b", &far[3..]),
            &format!("\"{}\\\"\" b", &far[2..]),
            &format!("\"{}\\\"\" b", &far[1..]),
            "\"a\" ",
            &format!("{far}  b"),
            &format!("{far} \"b\"c"),
            &format!("\"{far}\"b"),
            &format!("\"{far} b"),
            &format!("{far}\"b\""),
            &format!("{far} "),
        ] {
            let line = odd.as_bytes();
            assert!(!Fields::none_of(line).find(line, KNOWN_FIELDS), "{odd}");
            let strict = Fields::one_by_one(line, Quotes::Strict);
            assert_eq!(told(&read(line), line), told(&strict, line));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn both_ways_read_the_same(
            line in prop_oneof![
                "([ax\"\\\\ ]|\"-\"|\"[a ]{0,70}\"|[a-]{1,70} ){0,60}",
                "((\"[a ]{0,40}\"|[a:.-]{1,40}) ){0,45}[a\"]{1,2}",
                "([a:.-]{1,20} ){11,12}((\"[a\\\\ ]{0,40}\"|[a:\".-]{1,40}) ){9,24}[a\"]{1,2}",
                "([a:.-]{1,20} ){11}[a\" ]{1,3} (\"[a]{0,9}[ \\\\\"]{0,2}\" ){9,24}a",
            ]
        ) {
            let line = line.as_bytes();
            let strict = Fields::one_by_one(line, Quotes::Strict);
            prop_assert_eq!(told(&read(line), line), told(&strict, line));
        }
    }
}
