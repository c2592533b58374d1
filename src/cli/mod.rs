//! The command line: thin verbs over the library.

mod check;
mod embedded;
mod list;
mod progress;
mod reproduce;
mod run;
mod verify;

use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Simulates linear networks under contrastive losses and puts the theory of dimensional collapse on trial.
#[derive(Debug, Parser)]
#[command(name = "contraflow", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Reproduce the paper's toy figures: run their experiments, draw them, print what they show
    Reproduce(Reproduce),
    /// Put the paper's statements on trial: verdict, deciding figure, what was assumed, negative control
    Verify(Verify),
    /// Run an experiment file: every cell of its sweep, every repeat; what is there already stays
    Run(Run),
    /// Check an experiment file without running it
    Check(Check),
    /// Print the JSON Schema of experiment files, for editors
    Schema,
    /// List what an experiment file can name
    List(List),
}

#[derive(Debug, Args)]
struct Parallel {
    /// Runs at a time; results do not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Parallel {
    fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

#[derive(Debug, Args)]
struct Reproduce {
    /// Experiments by name, such as figure_3_paper [default: all that are marked `reproduce = true`]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Where figures and, in `records`, results go
    #[arg(long, value_name = "DIR", default_value = "figures")]
    out: PathBuf,
    #[command(flatten)]
    parallel: Parallel,
}

#[derive(Debug, Args)]
struct Verify {
    /// Claims to explain in depth, such as lemma-5 [default: a table of all]
    #[arg(value_name = "CLAIM")]
    claims: Vec<String>,
    /// quick: a minute on two cores; full: a quarter of an hour, with more instances, seeds, samples and time
    #[arg(long, value_name = "LEVEL", default_value = "quick", value_parser = ["quick", "full"])]
    level: String,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Keep the records of the runs here, and use those that are there [default: all runs anew, nothing kept]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    parallel: Parallel,
}

#[derive(Debug, Args)]
struct Run {
    /// The experiment file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where results go [default: results/ and the file's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Override a key, such as --set augment.variance=0.5; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Run failed cells again
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    parallel: Parallel,
}

#[derive(Debug, Args)]
struct Check {
    /// The experiment file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Override a key, such as --set augment.variance=0.5; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

#[derive(Debug, Args)]
struct List {
    /// What to list [default: the topics]
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

/// Exit statuses that scripts can rely on.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_REQUEST: u8 = 2;
const INTERRUPTED: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Prints a line of results; a reader that has gone away ends the program quietly.
fn print_line(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(i32::from(DONE));
    }
}

fn refuse(message: &impl std::fmt::Display) -> u8 {
    eprintln!("{message}");
    WRONG_REQUEST
}

/// Runs the program with the arguments it was called with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Without a handler an interruption ends the program at once, which the store survives as well.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    });
    let status = match cli.verb {
        Verb::Reproduce(arguments) => reproduce::reproduce(&arguments),
        Verb::Verify(arguments) => verify::verify(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Check(arguments) => check::check(&arguments),
        Verb::Schema => {
            print_line(&format!("{:#}", crate::settings::json_schema(crate::experiment::ROOT)));
            DONE
        }
        Verb::List(arguments) => list::list(arguments.topic.as_deref()),
    };
    ExitCode::from(status)
}
