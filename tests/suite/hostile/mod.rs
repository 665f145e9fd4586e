//! What strangers can write, store and send: none of it ends the program, fills the memory, or comes alive
//! where it is shown.

#[cfg(target_os = "linux")]
mod bounds;
mod fuzzed;
mod lies;
mod names;
mod text;
mod times;

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    thread,
};

/// What the program said.
pub(crate) struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub errors: String,
    /// The most memory that it held at once, in KB, where the system tells.
    pub peak: u64,
}

/// Runs the program on what `feed` writes to its standard input.
pub(crate) fn fed(
    arguments: &[&str],
    feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alb502"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = io::BufWriter::with_capacity(1 << 16, child.stdin.take().unwrap());
    // Whoever has read enough closes the pipe.
    let feeding = thread::spawn(move || feed(&mut input).and_then(|()| input.flush()));
    let (mut out, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let read = |from: &mut dyn io::Read| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let out = thread::spawn(move || read(&mut out));
    let errors = thread::spawn(move || read(&mut errors));
    // It only grows; what it is just before the end is what it was.
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_of(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(std::time::Duration::from_millis(2));
    };
    let _ = feeding.join().unwrap();
    let (out, errors) = (text(out.join().unwrap()), text(errors.join().unwrap()));
    assert!(status.code().is_some(), "ended by a signal: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    Said { code: status.code(), out, errors, peak }
}

fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// A row in which everything can be chosen.
pub(crate) struct Row<'a> {
    pub time: &'a str,
    pub created: &'a str,
    pub load_balancer: &'a str,
    pub target: &'a str,
    pub failed: bool,
    pub method: &'a str,
    pub path: &'a str,
    pub group: &'a str,
    pub reason: &'a str,
}

pub(crate) const TIME: &str = "2026-11-20T12:01:00.020000Z";

impl Default for Row<'_> {
    fn default() -> Self {
        Self {
            time: TIME,
            created: TIME,
            load_balancer: "app/shop/0123456789abcdef",
            target: "10.0.0.1:8080",
            failed: false,
            method: "GET",
            path: "/a",
            group: "shop-web",
            reason: "-",
        }
    }
}

impl Row<'_> {
    pub(crate) fn line(&self) -> String {
        let Self { time, created, load_balancer, target, method, path, group, reason, .. } = self;
        let ending = if self.failed { "-1 -1 -1 502 -" } else { "0.001 0.018 0.000 200 200" };
        format!(
            "http {time} {load_balancer} 198.51.100.7:40000 {target} {ending} 200 300 \
             \"{method} http://shop.example.com:80{path} HTTP/1.1\" \"curl/8\" - - \
             arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{group}/0123 \
             \"Root=1-0-1\" \"-\" \"-\" 0 {created} \"forward\" \"-\" \"{reason}\"\n"
        )
    }
}
