#![no_main]
#[path = "../properties/probe_response.rs"]
mod probe_response;
// Compiled here by itself: with the feature `probe` TLS would be, too, which is minutes and is not fuzzed.
#[path = "../../../src/probe/response/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the target only reads")]
mod response;

/// Where that file looks for it.
mod diagnosis {
    pub(crate) use alb502::diagnosis::probes;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| probe_response::probe_response(bytes));
