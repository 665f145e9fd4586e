//! One test binary: what a user sees.
