//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    alb502::command_line::main()
}
