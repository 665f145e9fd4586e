//! What differs when the output is a terminal: colour, and how to do without. A pseudo-terminal of Python
//! stands for the terminal.

use std::process::Command;

use crate::{command_line::alb502, library::library};

/// What appears on a terminal, where both streams end up.
fn on_terminal(environment: &[(&str, &str)], arguments: &[&str]) -> String {
    const SPAWN: &str =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let output = Command::new("python3")
        .args(["-c", SPAWN, env!("CARGO_BIN_EXE_alb502")])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env_remove("CLICOLOR_FORCE")
        // A CI service is believed to show colour whatever its TERM says.
        .env_remove("CI")
        // Of the tests themselves; it is no setting.
        .env_remove("ALB502_SEEDS")
        .envs(environment.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

fn piped(arguments: &[&str]) -> String {
    String::from_utf8(alb502(arguments).stdout).unwrap()
}

fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').unwrap().1)
}

fn logs(scenario: &str) -> String {
    library().join(scenario).join("logs").to_str().unwrap().to_owned()
}

#[test]
fn a_terminal_gets_colour_and_a_pipe_the_same_words_without() {
    let logs = logs("connect-refused-all");
    for command in ["diagnose", "rehearse"] {
        let (painted, plain) = (on_terminal(&[], &[command, &logs]), piped(&[command, &logs]));
        assert!(painted.contains("\x1b[1;31mcritical\x1b[0m"), "{painted}");
        assert!(!plain.contains('\x1b'), "{plain}");
        assert_eq!(without_escapes(&painted), plain);
    }
}

#[test]
fn every_way_to_switch_colour_on_and_off() {
    let logs = logs("connect-refused-all");
    for (environment, flags, is_painted) in [
        (&[][..], &[][..], true),
        (&[("NO_COLOR", "1")], &[], false),
        (&[("CLICOLOR", "0")], &[], false),
        (&[("TERM", "dumb")], &[], false),
        (&[], &["--color", "never"], false),
        (&[("NO_COLOR", "1")], &["--color=always"], true),
        (&[], &["--format", "json"], false),
    ] {
        let said = on_terminal(environment, &[&["diagnose", &*logs], flags].concat());
        assert_eq!(said.contains('\x1b'), is_painted, "{environment:?} {flags:?}: {said}");
    }
    // In a pipe only --color=always paints, and never what is for machines or in a file.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message.txt");
    let file = file.to_str().unwrap();
    for (flags, is_painted) in [
        (&["--color=always"][..], true),
        (&["--color=always", "--format", "json"], false),
        (&["--color=always", "--format", "html"], false),
        (&["--color=always", "--output", file], false),
    ] {
        let said = piped(&[&["diagnose", &*logs], flags].concat());
        assert_eq!(said.contains('\x1b'), is_painted, "{flags:?}");
    }
    assert!(!std::fs::read_to_string(file).unwrap().contains('\x1b'));
}

#[test]
fn an_error_stands_out_on_a_terminal() {
    let said = on_terminal(&[], &["diagnose", "/no/such"]);
    assert!(said.starts_with("\x1b[1;31merror:\x1b[0m /no/such: no such file"), "{said}");
    let plain = on_terminal(&[("NO_COLOR", "1")], &["diagnose", "/no/such"]);
    assert_eq!(without_escapes(&said), plain);
}

#[test]
fn quiet_leaves_the_output_and_the_errors() {
    let logs = logs("idle-timeout");
    let (loud, quiet) = (alb502(&["diagnose", &logs]), alb502(&["diagnose", &logs, "--quiet"]));
    assert!(String::from_utf8_lossy(&loud.stderr).starts_with("note: 504s"));
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), "");
    assert_eq!(loud.stdout, quiet.stdout);
    let failed = alb502(&["-q", "diagnose", "/no/such"]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&failed.stderr).starts_with("error: /no/such"));
}

#[test]
fn completions_know_the_commands_and_flags_of_each_shell() {
    for (shell, begins) in [
        ("bash", "_alb502()"),
        ("zsh", "#compdef alb502"),
        ("fish", "# Print an optspec"),
        ("powershell", "\nusing namespace System.Management.Automation"),
    ] {
        let script = piped(&["completions", shell]);
        assert!(script.starts_with(begins), "{shell}: {script}");
        for word in ["diagnose", "rehearse", "min-errors", "snapshot"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // The shell that every machine of the tests has takes it.
    let script = piped(&["completions", "bash"]);
    let complete = "\nCOMP_WORDS=(alb502 rehearse --trickle-e) COMP_CWORD=2\n\
                    _alb502 alb502 --trickle-e rehearse\necho \"${COMPREPLY[*]}\"\n";
    let output = Command::new("bash").arg("-c").arg(script + complete).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--trickle-errors\n", "{output:?}");
    let unknown = alb502(&["completions", "tcsh"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("bash, zsh, fish, powershell"));
}

#[test]
fn the_help_of_every_command_teaches_with_an_example() {
    let help = piped(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<&str> =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<&str> =
        commands.into_iter().filter(|it| !["", "help"].contains(it)).collect();
    assert!(commands.contains(&"rehearse") && 6 <= commands.len(), "{commands:?}");
    for command in commands {
        let help = piped(&[command, "--help"]);
        let (_, examples) = help.split_once("\nExample").unwrap_or_else(|| panic!("{help}"));
        assert!(examples.contains(&format!("\n  alb502 {command} ")), "{help}");
    }
}
