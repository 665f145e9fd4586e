//! Where in an event something stands, for people: `record 1 of the S3 event in message "…" of the
//! SQS event`.

use std::fmt;

use crate::neutralize;

/// A part of an event, and what it stands in. It lives on the stack of the one who walks through the
/// event, and becomes text only when there is something to tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// What it is a part of: `S3 event`.
    pub(super) shape: &'static str,
    /// Which part.
    pub(super) item: Item<'a>,
    /// What that stands in.
    pub(super) outer: Option<&'a Self>,
}

/// Which part of its surroundings something is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    /// The whole.
    Whole,
    /// A record, counted from 0.
    Record(usize),
    /// A message of SQS with its id.
    Message(&'a str),
}

impl Place<'_> {
    /// How many envelopes are around it.
    pub(super) fn layers(&self) -> usize {
        self.outer.map_or(0, |outer| 1 + outer.layers())
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            Item::Whole => write!(f, "the {}", self.shape)?,
            Item::Record(index) => write!(f, "record {index} of the {}", self.shape)?,
            Item::Message(id) => write!(f, "message {} of the {}", shown(id), self.shape)?,
        }
        self.outer.map_or(Ok(()), |outer| write!(f, " in {outer}"))
    }
}

/// How much of a stranger's text is told.
const MAX_CHARS: usize = 80;

/// A stranger's text for a reason or an error: bounded, and on one line.
pub(super) fn shown(text: &str) -> String {
    neutralize::line(&text.chars().take(MAX_CHARS).collect::<String>())
}
