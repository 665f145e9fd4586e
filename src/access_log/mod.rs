//! Bytes → lines → entries.

pub mod parse;
pub mod time;

pub use parse::{Entry, Field, LineKind, Malformed};
