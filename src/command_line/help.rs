//! What the help of every command must hold: it fits a terminal, and its examples can be copied.

use std::{fs, process::Command as Process};

use clap::{Command, CommandFactory as _};

use super::CommandLine;

/// Names and helps of all commands, as they are printed in a terminal of some width.
fn helps(width: usize) -> Vec<(String, String)> {
    fn add(command: &Command, before: &str, helps: &mut Vec<(String, String)>) {
        let name = format!("{before}{}", command.get_name());
        helps.push((name.clone(), command.clone().render_long_help().to_string()));
        for command in command.get_subcommands().filter(|it| it.get_name() != "help") {
            add(command, &format!("{name} "), helps);
        }
    }
    let mut command = CommandLine::command().term_width(width);
    command.build();
    let mut helps = Vec::new();
    add(&command, "", &mut helps);
    assert!(9 <= helps.len(), "{helps:?}");
    helps
}

/// The examples at the end of a help.
fn examples(help: &str) -> &str {
    let (_, examples) = help.rsplit_once("\nExample").unwrap_or_else(|| panic!("{help}"));
    examples.split_once('\n').unwrap().1
}

#[test]
fn every_help_fits_and_no_line_of_it_is_left_with_a_scrap() {
    for (name, help) in helps(78) {
        for line in help.lines() {
            assert!(line.chars().count() <= 78, "{name}: {line}");
            assert!(!line.ends_with("[default:"), "{name}: {line}");
        }
        // Prose that is broken by hand and then once more: a short line between two long ones.
        let prose = help.split("\n\n").filter(|it| !it.contains("\n ") && !it.starts_with(' '));
        for paragraph in prose {
            let lines: Vec<&str> = paragraph.lines().collect();
            for pair in lines.windows(2) {
                let word = pair[1].split(' ').next().unwrap_or_default();
                let would_fit = pair[0].len() + 1 + word.len() <= 78;
                assert!(!would_fit, "{name}: {paragraph}");
            }
        }
    }
}

#[test]
fn every_example_can_be_copied_and_is_a_command_that_is_taken() {
    let home = tempfile::tempdir().unwrap();
    for folder in [".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"]
    {
        fs::create_dir_all(home.path().join(folder)).unwrap();
    }
    // A shell reads them as a person would paste them; what they call is noted. Programs of others that
    // stand in examples do nothing.
    let shell = "set -eu -o pipefail\n\
                 alb502() { printf '%s\\0' alb502 \"$@\" > \"$(mktemp -p \"$NOTED\")\"; }\n\
                 mkdir -p config\n\
                 for other in aws jq sort head Out-String Invoke-Expression; do\n\
                 eval \"$other() { cat; }\"\ndone\n";
    for (name, help) in helps(78) {
        let examples = examples(&help);
        let noted = tempfile::tempdir().unwrap();
        let output = Process::new("bash")
            .args(["-c", &format!("{shell}{examples}")])
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("NOTED", noted.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}\n{examples}");
        let mut number = 0;
        for file in fs::read_dir(noted.path()).unwrap() {
            let words = fs::read_to_string(file.unwrap().path()).unwrap();
            let words: Vec<&str> = words.trim_end_matches('\0').split('\0').collect();
            let taken = CommandLine::command().try_get_matches_from(&words);
            assert!(taken.is_ok(), "{name}: {words:?}: {}", taken.unwrap_err());
            number += 1;
        }
        assert_eq!(number, examples.matches(" alb502 ").count(), "{name}:\n{examples}");
        // A line that goes on says so.
        let mut goes_on = false;
        for line in examples.lines().filter(|line| !line.is_empty()) {
            let is_set_in = line.starts_with("    ");
            assert_eq!(is_set_in, goes_on, "{name}: {line}");
            goes_on = line.ends_with(['\\', '|']);
        }
    }
}
