//! `contraflow run FILE`: every cell of an experiment file.

use super::progress::Progress;
use super::verify::check_claims;
use super::{DONE, FAILED, INTERRUPTED, Run, interrupted, print_line, refuse};
use crate::experiment::Experiment;
use crate::run::{self, State, Store, Tally};
use std::path::PathBuf;

pub(super) fn run(arguments: &Run) -> u8 {
    let experiment = match Experiment::read(&arguments.file, &arguments.overrides) {
        Ok(experiment) => experiment,
        Err(problem) => return refuse(&problem),
    };
    if let Err(problem) = check_claims(&experiment) {
        return refuse(&problem);
    }
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("results").join(&experiment.name));
    let store = Store::new(out);
    let tally = match run_missing(&experiment, &store, arguments.parallel.jobs(), arguments.retry) {
        Ok(tally) => tally,
        Err(status) => return status,
    };
    for plan in &experiment.plans {
        let state = match store.state(plan) {
            State::Finished => "finished".to_string(),
            State::Failed(message) => format!("failed: {message}"),
            State::Damaged(message) => format!("damaged: {message}"),
            State::Missing => "missing".to_string(),
        };
        print_line(&format!("{}  {state}", store.directory(plan).display()));
    }
    if tally.failed > 0 && !arguments.retry {
        let (failed, planned) = (tally.failed, experiment.plans.len());
        eprintln!("failed: {failed} of {planned}; --retry runs what failed again");
    }
    status(&tally)
}

/// The exit status of a call that ran plans.
pub(super) fn status(tally: &Tally) -> u8 {
    if interrupted() {
        INTERRUPTED
    } else if tally.is_complete() {
        DONE
    } else {
        FAILED
    }
}

/// Runs what is missing and writes the summary; an exit status where that was not possible.
pub(super) fn run_missing(
    experiment: &Experiment,
    store: &Store,
    jobs: usize,
    retry: bool,
) -> Result<Tally, u8> {
    let tally = run_plans(experiment, store, jobs, retry)?;
    if let Err(error) = run::write_summary(experiment, store) {
        eprintln!("error: {error}");
        return Err(FAILED);
    }
    if interrupted() {
        eprintln!("interrupted; finished runs are kept, and the same command does the others");
    }
    Ok(tally)
}

/// Runs what is missing; an exit status where that was not possible.
pub(super) fn run_plans(
    experiment: &Experiment,
    store: &Store,
    jobs: usize,
    retry: bool,
) -> Result<Tally, u8> {
    experiment.check_files().map_err(|problem| refuse(&problem))?;
    let mut waiting = 0;
    for plan in &experiment.plans {
        waiting += usize::from(match store.state(plan) {
            State::Finished => false,
            State::Failed(_) => retry,
            State::Missing => true,
            State::Damaged(message) => {
                eprintln!("{message}; this run is done again");
                true
            }
        });
    }
    let progress = Progress::new(&experiment.name, waiting, experiment.plans.len());
    let tally = run::run(experiment, store, jobs, retry, &interrupted, &|event| progress.report(&event));
    progress.finish();
    tally.map_err(|error| {
        eprintln!("error: {error}");
        FAILED
    })
}
