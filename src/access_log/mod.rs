//! Bytes → lines → entries.

mod fields;
pub mod gunzip;
pub mod json;
pub mod lines;
pub mod object_key;
pub mod parse;
pub mod place;
pub mod read_report;
pub mod reader;
pub mod time;

pub use object_key::{ObjectKey, ObjectKind};
pub use parse::{Entry, Field, LineKind, Malformed};
pub use place::{LogPlace, TimeSpan};
pub use read_report::{MalformedSample, ReadError, ReadOutcome, ReadReport, VendedFormat};
pub use reader::{Reader, RowReader, Unpacker};
