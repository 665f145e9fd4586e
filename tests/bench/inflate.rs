//! What `make bench` measures a diagnosis against: inflates a file and does nothing else, with the same
//! library in the same version, asked in the same way. With `lines` it cuts the text into lines as well, with
//! `rows` it takes these apart: so the stages of a diagnosis are told apart.
#![allow(clippy::print_stdout)]

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    ops::ControlFlow,
    process::ExitCode,
};

use alb502::access_log::{gunzip::Gunzip, lines::LineSplitter, reader::RowReader};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let counted = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [path] => text(path),
        ["lines", path] => lines(path),
        ["rows", path] => rows(path),
        _ => Err(io::Error::other("inflate [lines|rows] FILE")),
    };
    match counted {
        Ok(count) => {
            println!("{count}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn text(path: &str) -> io::Result<u64> {
    let mut bytes = 0;
    inflate(path, |text| {
        bytes += text.len() as u64;
        Ok(())
    })?;
    Ok(bytes)
}

fn lines(path: &str) -> io::Result<u64> {
    let mut count = 0;
    let mut splitter = LineSplitter::default();
    inflate(path, |text| {
        let _all = splitter.push::<()>(text, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        Ok(())
    })?;
    Ok(count)
}

fn rows(path: &str) -> io::Result<u64> {
    let mut count = 0;
    let mut rows = RowReader::new(|_| count += 1);
    inflate(path, |text| rows.push(text).map_err(|error| error.to_string()))?;
    // What is wrong with the last line or with the whole is no matter of time.
    let _outcome = rows.finish(None);
    Ok(count)
}

fn inflate(path: &str, mut take: impl FnMut(&[u8]) -> Result<(), String>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut gunzip = Gunzip::default();
    let mut buffer = vec![0; 128 * 1024];
    let mut failed = None;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let pushed = gunzip.push(buffer.get(..count).unwrap_or_default(), |text| {
            failed = take(text).err();
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let _all = pushed.map_err(|damage| io::Error::other(format!("{damage:?}")))?;
        if let Some(reason) = failed.take() {
            return Err(io::Error::other(reason));
        }
    }
}
