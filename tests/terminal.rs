//! What a person sees in a terminal, and what a script reads elsewhere.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const SWEEP: &str = r#"
seed     = 3
repeats  = 2
claims   = ["eq-4"]
data     = { kind = "gaussian", dim = 4, samples = 32 }
augment  = { kind = "block", block = 2, variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 8 }
observe  = { times = { kind = "linear", every = 2 }, quantities = ["loss", "spectra", "ranks"] }
sweep    = { "augment.variance" = [0.1, 1.0] }
"#;

const PROGRAM: &str = env!("CARGO_BIN_EXE_contraflow");

fn place() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("experiments")).unwrap();
    fs::write(folder.path().join("experiments/sweep.toml"), SWEEP).unwrap();
    folder
}

/// What a call prints to standard output, in a terminal of 100 columns or piped; nothing where no terminal can be had.
fn said(folder: &Path, terminal: bool, no_color: bool, arguments: &str) -> Option<String> {
    // Progress goes elsewhere, so that only results are seen.
    let call = format!("{PROGRAM} {arguments} 2>/dev/null");
    let mut command = if terminal {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("stty rows 40 cols 100; {call}"), "/dev/null"]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", &call]);
        command
    };
    command.current_dir(folder).env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CLICOLOR");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let Ok(output) = command.stdin(Stdio::null()).output() else {
        println!("there is no command `script` here: what a terminal shows is not tested");
        return None;
    };
    assert!(output.status.success(), "{arguments}");
    Some(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"))
}

#[test]
fn a_run_ends_with_a_table_in_a_terminal_and_with_a_line_a_run_elsewhere() {
    let folder = place();
    let run = "run experiments/sweep.toml --out out";
    let piped = said(folder.path(), false, false, run).unwrap();
    assert_eq!(piped.lines().count(), 4);
    assert!(
        piped.lines().all(|line| line.starts_with("out/augment.variance=") && line.ends_with("  finished"))
    );
    let Some(shown) = said(folder.path(), true, false, run) else { return };
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    let heading = ["augment.variance", "finished", "loss", "effective rank", "singular values of W"];
    assert!(heading.iter().all(|words| lines[0].contains(words)), "{shown}");
    for (line, variance) in lines[1..3].iter().zip(["0.1", "1.0"]) {
        assert!(line.trim_start().starts_with(variance) && line.contains("2 of 2"), "{line}");
        let spectrum = line.rsplit("  ").next().unwrap();
        assert!(
            spectrum.chars().count() == 4 && spectrum.chars().all(|c| ('▁'..='█').contains(&c)),
            "{line}"
        );
    }
    assert!(lines[3].contains("on a logarithmic scale from"), "{shown}");
}

#[test]
fn a_plot_is_drawn_where_it_is_asked_for() {
    let folder = place();
    let plot = said(folder.path(), false, false, "run experiments/sweep.toml --out out --plot").unwrap();
    assert!(plot.contains("singular values of W, at the end, medians over repeats\n"), "{plot}");
    assert!(plot.contains("● augment.variance = 0.1  (2 repeats)"), "{plot}");
    // Of each spectrum four marks, of which those in one place hide each other, and one in the legend.
    let marks = |mark: char| plot.chars().filter(|c| *c == mark).count();
    assert_eq!(marks('○'), 5, "{plot}");
    assert!((2..=5).contains(&marks('●')), "{plot}");
}

#[test]
fn colour_and_wrapping_are_for_terminals_and_no_color_is_honoured() {
    let folder = place();
    let reproduce = "reproduce sweep --out figures";
    let piped = said(folder.path(), false, false, reproduce).unwrap();
    let row = piped.lines().find(|line| line.starts_with("eq-4")).unwrap();
    assert!(!piped.contains('\u{1b}') && row.len() > 100, "{piped}");
    let Some(coloured) = said(folder.path(), true, false, reproduce) else { return };
    assert!(coloured.contains("\u{1b}[34mholds"), "{coloured}");
    let plain = said(folder.path(), true, true, reproduce).unwrap();
    assert!(plain.contains("eq-4") && plain.contains("holds") && !plain.contains('\u{1b}'), "{plain}");
    let table: Vec<&str> = plain.lines().skip_while(|line| !line.starts_with("eq-4")).collect();
    assert!(table.iter().all(|line| line.chars().count() <= 100), "{plain}");
    // What is wrapped has all its words.
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
    let whole: Vec<&str> = piped.lines().skip_while(|line| !line.starts_with("eq-4")).collect();
    assert_eq!(words(&table.join(" ")), words(&whole.join(" ")));
}
