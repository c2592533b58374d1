//! `contraflow run FILE`: every cell of an experiment file.

use super::progress::Progress;
use super::submit::submit;
use super::verify::check_claims;
use super::{DONE, FAILED, INTERRUPTED, Run, Shard, counted, duration, interrupted, print_line, refuse};
use crate::experiment::Experiment;
use crate::files::FileError;
use crate::run::{self, Estimate, Event, PlannedRuns, State, Store, Tally, Task};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;

/// What an interrupted call says.
pub(super) const KEPT: &str = "interrupted; finished runs are kept, and the same command does the others";

pub(super) fn run(arguments: &Run) -> u8 {
    let read = if arguments.yes || arguments.dry_run { Experiment::read_large } else { Experiment::read };
    let mut experiment = match read(&arguments.file, &arguments.overrides) {
        Ok(experiment) => experiment,
        Err(problem) => return refuse(&problem),
    };
    if let Err(problem) = check_claims(&experiment) {
        return refuse(&problem);
    }
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("results").join(&experiment.name));
    let store = Store::new(out);
    // All of its runs, whatever part this call does.
    let planned = PlannedRuns::of(&experiment);
    if arguments.submit.is_some() {
        return submit(arguments, &experiment, &store, &planned);
    }
    if let Err(message) = keep_part(&mut experiment, arguments) {
        return refuse(&message);
    }
    if arguments.dry_run {
        return match experiment.check_files() {
            Ok(()) => dry_run(&experiment, &store, arguments.parallel.jobs()),
            Err(problem) => refuse(&problem),
        };
    }
    let before = store.planned().ok().filter(|before| before.experiment() != planned.experiment());
    if let Some(before) = before {
        eprintln!(
            "{}: so far for `{}`, whose results stay; what `contraflow status` and `export` tell is from now on of `{}`; \
             a folder of its own, by --out, would keep both apart",
            store.root().display(),
            before.experiment(),
            planned.experiment()
        );
    }
    let work = [Work { experiment: &experiment, store: &store, planned: Some(&planned) }];
    let results = run_missing(&work, arguments.parallel.jobs(), arguments.retry, &|_, _| ());
    let tally = match &results[0] {
        Ok(tally) => tally,
        Err(status) => return *status,
    };
    if interrupted() {
        eprintln!("{KEPT}");
    }
    for plan in &experiment.plans {
        let state = match store.state(plan) {
            State::Finished => "finished".to_string(),
            State::Failed(message) => format!("failed: {message}"),
            State::Damaged(message) => format!("damaged: {message}"),
            State::Unreadable(message) => format!("unreadable: {message}"),
            State::Missing => "missing".to_string(),
        };
        print_line(&format!("{}  {state}", store.directory(plan).display()));
    }
    if tally.failed > 0 && !arguments.retry {
        let (failed, planned) = (tally.failed, experiment.plans.len());
        eprintln!("failed: {failed} of {planned}; --retry runs what failed again");
    }
    status(tally)
}

/// Leaves of the plans those that were asked for: by a list, as a shard, or as a task of a Slurm array.
fn keep_part(experiment: &mut Experiment, arguments: &Run) -> Result<(), String> {
    if let Some(list) = &arguments.only {
        let names = run::names_in(list).map_err(|error| format!("error: {error}"))?;
        let mut names: HashSet<String> = names.into_iter().collect();
        experiment.plans.retain(|plan| names.remove(&plan.directory_name()));
        let Some(unknown) = names.iter().min() else { return Ok(()) };
        return Err(format!(
            "error: {}: {unknown} is not a run of {}; allowed: names of its runs, as --dry-run prints them; if the \
             experiment, the overrides or the program have changed since the list was written, write it anew",
            list.display(),
            arguments.file.display()
        ));
    }
    let shard = arguments.shard.or_else(|| Shard::of_slurm(|name| std::env::var(name).ok()));
    let Some(Shard { index, count }) = shard else { return Ok(()) };
    let mut number = 0;
    experiment.plans.retain(|_| {
        number += 1;
        (number - 1) % count == index
    });
    Ok(())
}

/// Prints the runs and what they may take.
fn dry_run(experiment: &Experiment, store: &Store, jobs: usize) -> u8 {
    for plan in &experiment.plans {
        print_line(&store.directory(plan).display().to_string());
    }
    let estimate = store.estimate(experiment);
    let Estimate { present, left, bytes, .. } = estimate;
    let workers = jobs.min(left).max(1);
    let (time, sure) = estimated(&estimate, workers);
    print_line(&format!(
        "{}, {present} done; {left} to do: {time} on {}, {sure}; about {:.1} MB",
        counted(experiment.plans.len(), "run"),
        counted(workers, "core"),
        1e-6 * bytes
    ));
    DONE
}

/// How long what is left may take so many cores, and how far that can be trusted.
pub(super) fn estimated(estimate: &Estimate, workers: usize) -> (String, &'static str) {
    let sure = if estimate.is_measured {
        "by the runs that are there"
    } else {
        "which may be wrong by a factor of ten"
    };
    (duration(estimate.core_seconds / workers.max(1) as f64), sure)
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

/// An experiment, and the store that keeps its results.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) store: &'a Store,
    /// Where people look at the results: what is kept beside them for `contraflow status`. They get a summary as well.
    pub(super) planned: Option<&'a PlannedRuns>,
}

/// Runs what is missing of all `work`, as one queue. For each experiment what it came to, or an exit status where it could
/// not be run; `done` is told the same by the thread that finished it, as soon as it is known.
pub(super) fn run_missing(
    work: &[Work<'_>],
    jobs: usize,
    retry: bool,
    done: &(dyn Fn(usize, &Progress) + Sync),
) -> Vec<Result<Tally, u8>> {
    let mut indices = Vec::new();
    let mut tasks = Vec::new();
    let mut results = vec![Ok(Tally::default()); work.len()];
    for (index, Work { experiment, store, planned }) in work.iter().enumerate() {
        let task = match experiment.check_files() {
            Ok(()) => {
                let task = Task::new(experiment, store, retry);
                let task = task
                    .and_then(|task| planned.map_or(Ok(()), |all| store.write_planned(all)).map(|()| task));
                task.map_err(|error| {
                    eprintln!("error: {error}");
                    FAILED
                })
            }
            Err(problem) => Err(refuse(&problem)),
        };
        match task {
            Ok(task) => {
                indices.push(index);
                tasks.push(task);
            }
            Err(status) => results[index] = Err(status),
        }
    }
    let progress = Progress::new(&tasks);
    // What cannot be run has results of earlier calls at most.
    (0..work.len()).filter(|&index| results[index].is_err()).for_each(|index| done(index, &progress));
    let results = Mutex::new(results);
    let report = |task: usize, event: Event<'_>| progress.report(tasks[task].experiment(), &event);
    let ended = |task: usize, ended: Result<Tally, FileError>| {
        let (index, Work { store, planned, .. }) = (indices[task], work[indices[task]]);
        let ended = ended.and_then(|tally| {
            if let Some(planned) = planned {
                for problem in run::write_tables(store, planned)? {
                    progress.aside(|| eprintln!("left out of summary.csv: {problem}"));
                }
            }
            Ok(tally)
        });
        let ended = ended.map_err(|error| {
            progress.aside(|| eprintln!("error: {error}"));
            FAILED
        });
        if let Ok(mut results) = results.lock() {
            results[index] = ended;
        }
        done(index, &progress);
    };
    run::run_all(&tasks, jobs, &interrupted, &report, &ended);
    progress.finish();
    results.into_inner().unwrap_or_else(|_| vec![Err(FAILED); work.len()])
}
