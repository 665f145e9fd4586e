//! Inflates files and does nothing else: what `make bench` measures a diagnosis against. It is the same
//! library in the same version, asked in the same way.
#![allow(clippy::print_stdout)]

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    ops::ControlFlow,
    process::ExitCode,
};

use alb502::access_log::gunzip::Gunzip;

fn main() -> ExitCode {
    match env::args_os().skip(1).map(|path| inflate(File::open(path)?)).sum::<io::Result<u64>>() {
        Ok(bytes) => {
            println!("{bytes} bytes");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn inflate(mut file: File) -> io::Result<u64> {
    let mut gunzip = Gunzip::default();
    let mut buffer = vec![0; 128 * 1024];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        let pushed = gunzip.push(buffer.get(..count).unwrap_or_default(), |text| {
            bytes += text.len() as u64;
            ControlFlow::Continue(())
        });
        let _all = pushed.map_err(|damage| io::Error::other(format!("{damage:?}")))?;
    }
}
