//! Bytes → lines → entries.

mod fields;
pub mod gunzip;
pub mod json;
pub mod line_kind;
pub mod lines;
pub mod object_key;
pub mod parse;
pub mod place;
pub mod read_report;
pub mod reader;
pub mod request_line;
pub mod time;

pub use line_kind::LineKind;
pub use object_key::{ObjectKey, ObjectKind};
pub use parse::{Entry, Field, Malformed};
pub use place::{LogPlace, TimeSpan};
pub use read_report::{MalformedSample, ReadError, ReadOutcome, ReadReport, VendedFormat};
pub use reader::{Reader, RowReader, Unpacker};
pub use request_line::RequestLine;
