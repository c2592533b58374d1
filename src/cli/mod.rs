//! The command line: thin verbs over the library.

mod check;
mod embedded;
mod explore;
mod export;
mod list;
mod progress;
mod report;
mod reproduce;
mod resnet;
mod run;
mod status;
mod submit;
mod terminal;
mod verify;

use crate::experiment::{self, SlurmRequest, slurm_word};
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
    /// Run an experiment file about a real network, a ResNet on pictures (in a build with the feature `resnet`, or `cuda`)
    Resnet(Resnet),
    /// Tell how the runs of a folder stand: done, running, failed and why, missing, time left
    Status(Status),
    /// Write the results of a folder to one file for other programs: trajectories, or a table of final values
    Export(Export),
    /// Make one page of the results of a folder, for a browser: verdicts, evidence, figures, sweeps and runs to explore
    Report(MakeReport),
    /// Try out runs live in a browser on this machine, until Ctrl-C (in a build with the feature `explore`)
    Explore,
    /// Check an experiment file without running it
    Check(Check),
    /// Print the JSON Schema of experiment files, for editors
    Schema(Schema),
    /// List what an experiment file can name
    List(List),
}

#[derive(Debug, Args)]
struct Parallel {
    /// Runs, or claims that are judged, at a time; results do not depend on it [default: one a core]
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
    /// Where figures, the page report.html and, in `records`, results go
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
    /// Keep the records of the runs here, with a page on them, and use those that are there [default: all runs anew, nothing kept]
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
    /// Do the I-th of N parts of the runs, counted from 0 [default: from SLURM_ARRAY_TASK_ID, _COUNT, _MIN and _MAX where they are set]
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// Do only the runs that FILE names, one directory of results a line
    #[arg(long, value_name = "FILE", conflicts_with = "shard")]
    only: Option<PathBuf>,
    /// Print the runs and what they may take, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Draw the final spectra, medians over repeats, in the terminal
    #[arg(long, conflicts_with_all = ["dry_run", "submit"])]
    plot: bool,
    /// Run also more than 100,000 runs
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    parallel: Parallel,
    /// Hand the missing runs to a cluster, as arrays of tasks, instead of doing them here; again: what is missing then
    #[arg(long, value_name = "CLUSTER", value_parser = ["slurm"], conflicts_with_all = ["shard", "only", "jobs"])]
    submit: Option<String>,
    #[command(flatten)]
    slurm: SlurmFlags,
}

#[derive(Debug, Args)]
struct Resnet {
    #[command(flatten)]
    run: Run,
    /// Where networks are trained: cpu, or cuda (in a build with the feature `cuda`)
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = ["cpu", "cuda"])]
    device: String,
}

/// What a task asks of the cluster, where the table `slurm` of the experiment file does not say so or something else.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --submit slurm")]
struct SlurmFlags {
    /// Partition [default: `partition` in the file's table `slurm`, or the cluster's]
    #[arg(long, value_name = "NAME", requires = "submit", value_parser = slurm_word)]
    partition: Option<String>,
    /// Time limit of a task, such as 04:00:00 [default: `time` in that table, or the partition's]
    #[arg(long, value_name = "TIME", requires = "submit", value_parser = slurm_word)]
    time: Option<String>,
    /// Memory of a task, such as 4G [default: `memory` in that table, or the cluster's]
    #[arg(long, value_name = "SIZE", requires = "submit", value_parser = slurm_word)]
    memory: Option<String>,
    /// Cores of a task, and its runs at a time [default: `cpus` in that table, or 1]
    #[arg(long, value_name = "N", requires = "submit", value_parser = clap::value_parser!(u16).range(1..=1024))]
    cpus: Option<u16>,
    /// Tasks that share the runs [default: `tasks` in that table, or 32 and no more than are of use]
    #[arg(long, value_name = "N", requires = "submit", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tasks: Option<u32>,
}

impl SlurmFlags {
    /// What is asked for by flags or else by the experiment file.
    fn over(&self, file: &SlurmRequest) -> SlurmRequest {
        SlurmRequest {
            partition: self.partition.clone().or_else(|| file.partition.clone()),
            time: self.time.clone().or_else(|| file.time.clone()),
            memory: self.memory.clone().or_else(|| file.memory.clone()),
            cpus: self.cpus.map(usize::from).or(file.cpus),
            tasks: self.tasks.map(|tasks| tasks as usize).or(file.tasks),
            options: file.options.clone(),
        }
    }
}

/// One of several parts of the runs of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    fn parse(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').map(|(index, count)| (index.parse(), count.parse()));
        match parts {
            Some((Ok(index), Ok(count))) if index < count => Ok(Shard { index, count }),
            _ => Err("allowed: I/N with 0 ≤ I < N, such as 0/4, 1/4, 2/4 and 3/4 for four parts".to_string()),
        }
    }

    /// The part of a task of a Slurm array. Where indices have gaps, as when some tasks are submitted again, there is none:
    /// all tasks share all runs.
    fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> Option<Shard> {
        let number = |name: &str| variable(name)?.parse::<usize>().ok();
        let (index, count) = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_COUNT")?);
        let (first, last) = (number("SLURM_ARRAY_TASK_MIN")?, number("SLURM_ARRAY_TASK_MAX")?);
        let without_gaps = last.checked_sub(first)? + 1 == count;
        without_gaps.then(|| index.checked_sub(first)).flatten().map(|index| Shard { index, count })
    }
}

#[derive(Debug, Args)]
struct Status {
    /// The folder that `contraflow run` writes its results to
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Export {
    /// The folder that `contraflow run` writes its results to
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// csv, npz (NumPy), or parquet (in a build with the feature `parquet`) [default: what the name of --out ends in, or csv]
    #[arg(long, value_name = "FORMAT", value_parser = ["csv", "npz", "parquet"])]
    format: Option<String>,
    /// trajectories: a row a planned run and recorded time; summary: a row a run in the folder; aggregates: a row a planned cell
    /// and quantity, over its repeats
    #[arg(long, value_name = "TABLE", default_value = "trajectories", value_parser = ["trajectories", "summary", "aggregates"])]
    table: String,
    /// Of trajectories, an array to export, such as sigma_end_to_end (its floor comes with it); may be given more than once [default: all]
    #[arg(long = "array", value_name = "NAME")]
    arrays: Vec<String>,
    /// The file to write [default: DIR/TABLE.FORMAT]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MakeReport {
    /// A folder that `contraflow run`, `reproduce` or `verify --out` writes its results to
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The file to write [default: DIR/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
struct Schema {
    /// Of files about a real network, which have a table `network`
    #[arg(long)]
    network: bool,
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
        Verb::Run(arguments) => run::run(&arguments, "cpu"),
        Verb::Resnet(arguments) => resnet::resnet(&arguments),
        Verb::Status(arguments) => status::status(&arguments),
        Verb::Export(arguments) => export::export(&arguments),
        Verb::Report(arguments) => report::report(&arguments),
        Verb::Explore => explore::explore(),
        Verb::Check(arguments) => check::check(&arguments),
        Verb::Schema(arguments) => {
            let root = if arguments.network { experiment::NETWORK_ROOT } else { experiment::ROOT };
            print_line(&format!("{:#}", crate::settings::json_schema(root)));
            DONE
        }
        Verb::List(arguments) => list::list(arguments.topic.as_deref()),
    };
    ExitCode::from(status)
}

/// So many of something that has a plural with an s.
fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A time for people, rounded to what an estimate is worth.
fn duration(seconds: f64) -> String {
    match seconds {
        ..1.0 => "less than a second".to_string(),
        ..120.0 => format!("about {seconds:.0} s"),
        ..7200.0 => format!("about {:.0} min", seconds / 60.0),
        _ => format!("about {:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_unit_that_fits() {
        let told = [0.2, 100.4, 125.0, 7300.0].map(duration);
        assert_eq!(told, ["less than a second", "about 100 s", "about 2 min", "about 2.0 h"]);
    }

    #[test]
    fn a_shard_is_one_of_its_number() {
        assert_eq!(Shard::parse("2/3"), Ok(Shard { index: 2, count: 3 }));
        for wrong in ["3/3", "1", "a/2", "-1/2", "0/0", "1/2/3"] {
            assert!(Shard::parse(wrong).unwrap_err().contains("0/4"), "{wrong}");
        }
    }

    #[test]
    fn a_task_of_an_array_is_a_shard_unless_the_array_has_gaps() {
        let shard = |id: &str, count: &str, min: &str, max: &str| {
            let values = [("ID", id), ("COUNT", count), ("MIN", min), ("MAX", max)]
                .map(|(name, value)| (format!("SLURM_ARRAY_TASK_{name}"), value.to_string()));
            Shard::of_slurm(|name| values.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(shard("5", "4", "3", "6"), Some(Shard { index: 2, count: 4 }));
        assert_eq!(shard("7", "2", "3", "7"), None);
        assert_eq!(shard("x", "2", "3", "4"), None);
        assert_eq!(Shard::of_slurm(|_| None), None);
    }
}
