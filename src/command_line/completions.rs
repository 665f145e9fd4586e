//! `alb502 completions`: the shell completes commands and flags.

use std::io;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::{CommandLine, Stop, paint};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
                        alb502 completions bash > ~/.local/share/bash-completion/completions/alb502\n  \
                        alb502 completions zsh > ~/.zfunc/_alb502     # a folder of your $fpath\n  \
                        alb502 completions fish > ~/.config/fish/completions/alb502.fish\n  \
                        alb502 completions powershell | Out-String | Invoke-Expression")]
pub(super) struct Arguments {
    /// The shell that is to complete
    #[arg(value_enum, value_name = "SHELL")]
    shell: For,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let shell = match arguments.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
        For::Powershell => Shell::PowerShell,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "alb502", &mut script);
    let script = String::from_utf8(script).map_err(io::Error::other)?;
    paint::print_plain(&script)?;
    Ok(0)
}
