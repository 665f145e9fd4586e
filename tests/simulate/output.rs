//! The objects as the load balancer delivers them: one per node and five minutes.
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use crate::{
    engine::Sink,
    fleet::Fleet,
    rng::hash,
    row::{ACCOUNT, REGION, civil, timestamp},
};

const WINDOW: i64 = 300_000_000;

enum Writer {
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Plain(BufWriter<File>),
}

impl Writer {
    fn create(path: &Path, plain: bool, level: u32) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        Ok(if plain {
            Self::Plain(file)
        } else {
            Self::Gzip(Box::new(GzEncoder::new(file, Compression::new(level))))
        })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(w) => w.write_all(bytes),
            Self::Plain(w) => w.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Gzip(w) => w.finish()?.flush(),
            Self::Plain(mut w) => w.flush(),
        }
    }
}

/// What goes wrong on the way to the bucket.
#[derive(Default, Clone, Copy)]
pub(crate) struct Delivery {
    /// The objects of this node never come.
    pub missing_node: Option<usize>,
    /// The objects of this node end too early.
    pub cut_node: Option<usize>,
}

/// One object per node and window, under the key that AWS uses.
pub(crate) struct Objects {
    out: PathBuf,
    plain: bool,
    lb: String,
    nodes: Vec<String>,
    seed: u64,
    open: Vec<Option<(i64, Writer)>>,
    pub delivery: Delivery,
    pub keys: Vec<String>,
}

impl Objects {
    pub(crate) fn new(out: &Path, fleet: &Fleet, seed: u64, plain: bool) -> Self {
        Self {
            out: out.to_owned(),
            plain,
            lb: format!("app.{}.{}", fleet.lb, fleet.lb_id),
            nodes: fleet.nodes.clone(),
            seed,
            open: fleet.nodes.iter().map(|_| None).collect(),
            delivery: Delivery::default(),
            keys: Vec::new(),
        }
    }

    fn key(&self, kind: &str, node: usize, window: i64) -> String {
        let end = (window + 1) * WINDOW / 1_000_000;
        let (y, m, d) = civil(end.div_euclid(86_400));
        let second = end.rem_euclid(86_400);
        let stamp = format!("{y:04}{m:02}{d:02}T{:02}{:02}Z", second / 3600, second / 60 % 60);
        let mut bits = hash(&format!("{} {} {node} {window}", self.seed, self.lb));
        let mut random = String::new();
        for _ in 0..8 {
            let at = (bits % 36) as usize;
            bits /= 36;
            random.push(char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[at]));
        }
        let (lb, ip) = (&self.lb, &self.nodes[node]);
        let suffix = if self.plain { "log" } else { "log.gz" };
        format!(
            "AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/{y:04}/{m:02}/{d:02}/\
             {kind}{ACCOUNT}_elasticloadbalancing_{REGION}_{lb}_{stamp}_{ip}_{random}.{suffix}"
        )
    }

    /// What else AWS puts into the same folder: its test file, connection logs, health-check logs.
    pub(crate) fn other_logs(&mut self, fleet: &Fleet) -> io::Result<()> {
        let window = fleet.start.div_euclid(WINDOW);
        let time = timestamp(fleet.start + WINDOW / 2);
        let test = format!("Enable AccessLog for ELB: {} at {time}\n", fleet.elb());
        let connection = format!(
            "{time} 198.51.100.7 40186 443 TLSv1.3 TLS_AES_128_GCM_SHA256 0.012 - - - - \
             TID_0123456789abcdef0123456789abcdef\n"
        );
        let checks: String = (fleet.targets.iter())
            .map(|target| {
                let (to, group) = (&target.endpoint, fleet.groups[target.group].name);
                format!("http {time} 0.002 {to} {group} PASS 200 - {} {}\n", fleet.elb(), target.ip)
            })
            .collect();
        let mut files = vec![(format!("AWSLogs/{ACCOUNT}/ELBAccessLogTestFile"), test)];
        for node in 0..fleet.nodes.len() {
            files.push((self.key("conn_log_", node, window), connection.clone()));
            files.push((self.key("health_check_log_", node, window), checks.clone()));
        }
        for (key, text) in files {
            let mut writer = Writer::create(&self.out.join(&key), !key.ends_with(".gz"), 9)?;
            writer.put(text.as_bytes())?;
            writer.finish()?;
            self.keys.push(key);
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        for open in &mut self.open {
            if let Some((_, writer)) = open.take() {
                writer.finish()?;
            }
        }
        self.keys.sort();
        if let Some(node) = self.delivery.cut_node {
            let ip = format!("_{}_", self.nodes[node]);
            for key in self.keys.iter().filter(|key| key.contains(&ip)) {
                let path = self.out.join(key);
                let length = fs::metadata(&path)?.len();
                File::options().write(true).open(path)?.set_len(length * 3 / 5)?;
            }
        }
        Ok(())
    }
}

impl Sink for Objects {
    fn row(&mut self, node: usize, time: i64, row: &[u8]) -> io::Result<()> {
        if self.delivery.missing_node == Some(node) {
            return Ok(());
        }
        let window = time.div_euclid(WINDOW);
        if self.open[node].as_ref().is_none_or(|(open, _)| *open != window) {
            if let Some((_, writer)) = self.open[node].take() {
                writer.finish()?;
            }
            let key = self.key("", node, window);
            let writer = Writer::create(&self.out.join(&key), self.plain, 9)?;
            self.open[node] = Some((window, writer));
            self.keys.push(key);
        }
        self.open[node].as_mut().map_or(Ok(()), |(_, writer)| writer.put(row))
    }
}

/// Everything into one file. With more than one group each row goes to the next of so many target groups.
pub(crate) struct OneFile {
    writer: Option<Writer>,
    groups: u64,
    rows: u64,
    row: Vec<u8>,
}

impl OneFile {
    pub(crate) fn create(path: &Path, groups: u64) -> io::Result<Self> {
        let plain = path.extension().is_none_or(|e| e != "gz");
        let writer = Some(Writer::create(path, plain, 6)?);
        Ok(Self { writer, groups, rows: 0, row: Vec::new() })
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), Writer::finish)
    }
}

impl Sink for OneFile {
    fn row(&mut self, _: usize, _: i64, row: &[u8]) -> io::Result<()> {
        const NAME: &[u8] = b":targetgroup/";
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let at = row.windows(NAME.len()).position(|part| part == NAME);
        let (1.., Some(at)) = (self.groups.saturating_sub(1), at) else { return writer.put(row) };
        let (before, after) = row.split_at(at + NAME.len());
        self.row.clear();
        self.row.extend_from_slice(before);
        self.row.extend_from_slice(format!("{}-", self.rows % self.groups).as_bytes());
        self.row.extend_from_slice(after);
        self.rows += 1;
        writer.put(&self.row)
    }
}

/// Rows in memory, or nowhere.
#[derive(Default)]
pub(crate) struct Memory {
    pub keep: bool,
    pub rows: Vec<(usize, i64, Vec<u8>)>,
}

impl Sink for Memory {
    fn row(&mut self, node: usize, time: i64, row: &[u8]) -> io::Result<()> {
        if self.keep {
            self.rows.push((node, time, row.to_vec()));
        }
        Ok(())
    }
}
