//! `contraflow run FILE`: every cell of an experiment file.

use super::progress::Progress;
use super::resnet::engine;
use super::submit::submit;
use super::terminal;
use super::verify::check_claims;
use super::{DONE, FAILED, INTERRUPTED, Run, Shard, counted, duration, interrupted, print_line, refuse};
use crate::experiment::Experiment;
use crate::files::FileError;
use crate::run::{self, CellSummary, Engine, Estimate, Event, PlannedRuns, State, Store, Tally, Task};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;

/// What an interrupted call says.
pub(super) const KEPT: &str = "interrupted; finished runs are kept, and the same command does the others";

/// `device` is where real networks are trained.
pub(super) fn run(arguments: &Run, device: &str) -> u8 {
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
    let results = run_missing(&work, (arguments.parallel.jobs(), device), arguments.retry, &|_, _| ());
    let tally = match &results[0] {
        Ok(tally) => tally,
        Err(status) => return *status,
    };
    if interrupted() {
        eprintln!("{KEPT}");
    }
    let people = terminal::width();
    if people.is_none() {
        print_states(&experiment, &store);
    }
    if people.is_some() || arguments.plot {
        match run::cell_summaries(&store, &planned) {
            Ok(cells) => {
                if people.is_some() {
                    cell_table(&cells).iter().for_each(|line| print_line(line));
                }
                if arguments.plot {
                    print_line("");
                    spectra(&cells, people.unwrap_or(80)).iter().for_each(|line| print_line(line));
                }
            }
            Err(error) => eprintln!("error: {error}"),
        }
    }
    if tally.failed > 0 && !arguments.retry {
        let (failed, planned) = (tally.failed, experiment.plans.len());
        eprintln!("failed: {failed} of {planned}; --retry runs what failed again");
    }
    status(tally)
}

/// A line for each run: where its results are, and how it ended.
fn print_states(experiment: &Experiment, store: &Store) {
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
}

/// Spectra that a run may record, with their names in words: the first that is there is the main one.
const SPECTRA: [(&str, &str); 4] = [
    ("end_to_end", "singular values of W"),
    ("embedding", "singular values of C"),
    ("representation", "singular values of the covariance of representations"),
    ("w1", "singular values of W1"),
];

/// The main spectrum of these cells, and its name in words.
fn main_spectrum(cells: &[CellSummary]) -> Option<(&'static str, &'static str)> {
    SPECTRA.into_iter().find(|(name, _)| cells.iter().any(|cell| !cell.spectrum(name).0.is_empty()))
}

/// Cells that a table shows.
const SHOWN_CELLS: usize = 40;

/// The cells of a sweep, a row each: what is swept, how many repeats have finished, and medians over these of what they ended with.
fn cell_table(cells: &[CellSummary]) -> Vec<String> {
    let Some(first) = cells.first() else { return Vec::new() };
    let spectrum = main_spectrum(cells);
    let ranks = spectrum.map(|(name, _)| format!("effective_rank_{name}"));
    let recorded = |name: &str| cells.iter().any(|cell| cell.medians.contains_key(name));
    let mut heading: Vec<String> = first.swept.iter().map(|(key, _)| key.clone()).collect();
    heading.push("finished".to_string());
    let columns: Vec<(String, String)> = [("loss".to_string(), "loss".to_string())]
        .into_iter()
        .chain(ranks.map(|rank| (rank, "effective rank".to_string())))
        .filter(|(name, _)| recorded(name))
        .collect();
    heading.extend(columns.iter().map(|(_, words)| words.clone()));
    let spectra: Vec<(Vec<f64>, f64)> =
        spectrum.iter().flat_map(|(name, _)| cells.iter().map(|cell| cell.spectrum(name))).collect();
    let range = terminal::range(spectra.iter().map(|(values, floor)| (values.as_slice(), *floor)));
    let mut notes = Vec::new();
    if let (Some((_, words)), Some((low, high))) = (spectrum, range) {
        heading.push(words.to_string());
        notes.push(format!(
            "medians over repeats; {words} on a logarithmic scale from {} to {}, · for what is not above the numerical floor",
            terminal::short(low),
            terminal::short(high)
        ));
    }
    let row = |(index, cell): (usize, &CellSummary)| {
        let mut row: Vec<String> = cell.swept.iter().map(|(_, value)| value.clone()).collect();
        row.resize(first.swept.len(), String::new());
        row.push(format!("{} of {}", cell.finished, cell.planned));
        row.extend(
            columns
                .iter()
                .map(|(name, _)| terminal::short(cell.medians.get(name).copied().unwrap_or(f64::NAN))),
        );
        if let (Some((values, floor)), Some(range)) = (spectra.get(index), range) {
            row.push(terminal::sparkline(values, *floor, range));
        }
        row
    };
    let rows: Vec<Vec<String>> = cells.iter().enumerate().take(SHOWN_CELLS).map(row).collect();
    let mut lines = terminal::aligned(&heading, &rows);
    if cells.len() > SHOWN_CELLS {
        lines.push(format!("and {}, in aggregates.csv", counted(cells.len() - SHOWN_CELLS, "more cell")));
    }
    lines.extend(notes);
    lines
}

/// The main spectra of the cells, of as many as a plot tells apart, from the first to the last.
fn spectra(cells: &[CellSummary], width: usize) -> Vec<String> {
    let Some((name, words)) = main_spectrum(cells) else {
        return vec!["no spectrum was recorded; allowed: \"spectra\" in observe.quantities".to_string()];
    };
    let most = terminal::MARKS.len().min(cells.len());
    let chosen: Vec<&CellSummary> =
        (0..most).map(|index| &cells[index * (cells.len() - 1) / (most - 1).max(1)]).collect();
    let values: Vec<(Vec<f64>, f64)> = chosen.iter().map(|cell| cell.spectrum(name)).collect();
    let label = |cell: &CellSummary| {
        let swept: Vec<String> = cell.swept.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let repeats = counted(cell.finished, "repeat");
        if swept.is_empty() { repeats } else { format!("{}  ({repeats})", swept.join(", ")) }
    };
    let curves: Vec<terminal::Curve<'_>> = chosen
        .iter()
        .zip(&values)
        .map(|(cell, (values, floor))| terminal::Curve { label: label(cell), values, floor: *floor })
        .collect();
    let mut lines = terminal::plot(&format!("{words}, at the end, medians over repeats"), &curves, width);
    if cells.len() > most {
        lines.push(format!("{most} of {} cells are shown; aggregates.csv has all", cells.len()));
    }
    lines
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
    (jobs, device): (usize, &str),
    retry: bool,
    done: &(dyn Fn(usize, &Progress) + Sync),
) -> Vec<Result<Tally, u8>> {
    let mut indices = Vec::new();
    let mut tasks = Vec::new();
    let mut results = vec![Ok(Tally::default()); work.len()];
    let engines: Vec<Result<Box<dyn Engine>, u8>> =
        work.iter().map(|work| engine(work.experiment, device)).collect();
    for (index, (Work { experiment, store, planned }, engine)) in work.iter().zip(&engines).enumerate() {
        let engine = match engine {
            Ok(engine) => engine,
            Err(status) => {
                results[index] = Err(*status);
                continue;
            }
        };
        let task = match experiment.check_files() {
            Ok(()) => {
                let task = Task::new(experiment, store, retry).map(|task| task.with_engine(engine.as_ref()));
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
