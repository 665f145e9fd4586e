//! The ports on folders and the screen: the embedded default.

pub mod copies;
pub mod files;
pub mod folder;
pub mod ledger;
pub mod read_ahead;
pub mod snapshot;
