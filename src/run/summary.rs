//! Results for people: a table of all runs, and one of what the repeats of each cell say together.

use super::overview::PlannedRuns;
use super::statistics::{BootstrapMedian, quantile, sorted_finite};
use super::store::{Store, StoredRun, is_there};
use crate::files::{self, Column, FileError, Table};
use crate::record::declared_array;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Writes `summary.csv` (a row a run) and `aggregates.csv` (a row a cell and quantity) in the store. Tells why runs are not in them.
///
/// # Errors
/// They cannot be written.
pub fn write_tables(store: &Store, planned: &PlannedRuns) -> Result<Vec<String>, FileError> {
    loop {
        let directories = directories(store, planned);
        let (all, unreadable) = read(store, &directories, &|| false)?;
        files::update(store.root().join("summary.csv"), &summary_of(&all, planned).csv_bytes())?;
        files::update(store.root().join("aggregates.csv"), &aggregates_of(&all, planned).csv_bytes())?;
        // Another process may have added runs, and written its tables before this one: the last to write leaves none out.
        if self::directories(store, planned) == directories {
            return Ok(unreadable);
        }
    }
}

/// One row a run in the store: its directory, the swept keys, seed and repeat, why it ended, whether it is one of the planned runs,
/// when it ended, and the final scalars. With the table comes how many runs are in it, and why others cannot be read.
///
/// The planned runs come first, in their order; what other experiments have left in the store follows. Cost: reads all records.
///
/// # Errors
/// `stop` says so.
pub(super) fn summary(
    store: &Store,
    planned: &PlannedRuns,
    stop: &dyn Fn() -> bool,
) -> Result<(Table, usize, Vec<String>), FileError> {
    let (all, unreadable) = read(store, &directories(store, planned), stop)?;
    Ok((summary_of(&all, planned), all.runs.len(), unreadable))
}

/// One row a planned cell and final value, of scalars and of each number in a spectrum: the swept keys, the name, how many repeats
/// have finished with a finite value, how many ended early and how many are planned; the smallest value, quartiles and the largest,
/// and a 95 % bootstrap interval of the median where there are six or more. With the table comes how many runs are in it, and why
/// others cannot be read. Cost: reads all records.
///
/// The interval is that of the percentile method over all samples of the repeats with replacement, in closed form.
///
/// # Errors
/// `stop` says so.
pub(super) fn aggregates(
    store: &Store,
    planned: &PlannedRuns,
    stop: &dyn Fn() -> bool,
) -> Result<(Table, usize, Vec<String>), FileError> {
    let directories: Vec<PathBuf> = planned_directories(store, planned).collect();
    let (all, unreadable) = read(store, &directories, stop)?;
    Ok((aggregates_of(&all, planned), all.runs.len(), unreadable))
}

/// The cell of each planned run, by its directory.
fn cells(planned: &PlannedRuns) -> HashMap<&str, usize> {
    planned.runs.iter().map(|run| (run.directory.as_str(), run.cell)).collect()
}

/// Where the results of the planned runs are, of those that have any.
pub(super) fn planned_directories(store: &Store, planned: &PlannedRuns) -> impl Iterator<Item = PathBuf> {
    planned.runs.iter().map(|run| store.root().join(&run.directory)).filter(|directory| is_there(directory))
}

/// The directories of the runs that are there, planned ones first.
fn directories(store: &Store, planned: &PlannedRuns) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = planned_directories(store, planned).collect();
    let own: HashSet<PathBuf> = directories.iter().cloned().collect();
    directories.extend(store.directories().into_iter().filter(|directory| !own.contains(directory)));
    directories
}

/// The results in a directory.
pub(super) fn load(store: &Store, directory: &Path) -> Result<StoredRun, FileError> {
    once_more(|| store.load_directory(directory))
}

/// What is wrong with results, without what a reader could do about a file of his own.
pub(super) fn flaw(error: &FileError) -> String {
    format!("{}: {}", error.file().display(), error.found())
}

/// Tries to read results again that another process may just have been about to replace.
fn once_more<T, E>(read: impl Fn() -> Result<T, E>) -> Result<T, E> {
    read().or_else(|_| {
        std::thread::sleep(Duration::from_millis(20));
        read()
    })
}

/// What an export says that was asked to stop.
pub(super) fn stopped(store: &Store) -> FileError {
    FileError::io(store.root(), "read all of it", &std::io::Error::from(std::io::ErrorKind::Interrupted))
}

/// What the tables need of runs: a sweep may record more than fits into memory.
#[derive(Default)]
struct Summarised {
    runs: Vec<Ended>,
    /// Where each number lies among those of a run.
    scalars: BTreeMap<String, usize>,
}

/// A run that has ended.
struct Ended {
    told: Told,
    /// The last values of the arrays that have one number a recorded time, or a row of them; those of a run that never began are
    /// missing.
    scalars: Vec<f64>,
}

impl Ended {
    fn scalar(&self, at: usize) -> f64 {
        self.scalars.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// The runs in these directories, and what is wrong with those that cannot be read; an error where `stop` says so.
fn read(
    store: &Store,
    directories: &[PathBuf],
    stop: &dyn Fn() -> bool,
) -> Result<(Summarised, Vec<String>), FileError> {
    let (mut all, mut unreadable) = (Summarised::default(), Vec::new());
    for directory in directories {
        if stop() {
            return Err(stopped(store));
        }
        if let Err(problem) = all.read(store, directory) {
            unreadable.push(problem);
        }
    }
    Ok((all, unreadable))
}

impl Summarised {
    /// Adds the run in this directory.
    fn read(&mut self, store: &Store, directory: &Path) -> Result<(), String> {
        let told = Told::read(store, directory)?;
        let mut scalars = Vec::new();
        if !told.has_no_record() {
            let run = load(store, directory).map_err(|error| flaw(&error))?;
            for (name, array) in &run.arrays {
                let row_shape = array.shape.get(1..).unwrap_or_default();
                let Some(row) = run.last(name).filter(|_| row_shape.len() < 2 && run.has_time_axis(name))
                else {
                    continue;
                };
                for (label, value) in labels(name, row_shape).into_iter().zip(row) {
                    let next = self.scalars.len();
                    let at = *self.scalars.entry(label).or_insert(next);
                    scalars.resize(scalars.len().max(at + 1), f64::NAN);
                    scalars[at] = *value;
                }
            }
        }
        self.runs.push(Ended { told, scalars });
        Ok(())
    }

    /// What was recorded besides when, and where it lies.
    fn recorded(&self) -> impl Iterator<Item = (&str, usize)> {
        let named = self.scalars.iter().map(|(name, at)| (name.as_str(), *at));
        named.filter(|(name, _)| !matches!(*name, "time" | "step"))
    }
}

/// What the tables need of the outcome of a run.
pub(super) struct Told {
    pub(super) directory: String,
    /// Swept keys and their values.
    swept: Vec<(String, String)>,
    seed: Option<i64>,
    repeat: Option<i64>,
    ending: String,
    finished: bool,
    steps: Option<i64>,
    wall_seconds: f64,
}

impl Told {
    /// Of the run in this directory, or what is wrong with it.
    pub(super) fn read(store: &Store, directory: &Path) -> Result<Told, String> {
        let outcome = once_more(|| store.outcome_in(directory))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let swept = outcome["swept"].as_object().into_iter().flatten();
        Ok(Told {
            directory: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            swept: swept.map(|(key, value)| (key.clone(), text(value))).collect(),
            seed: outcome["seed"].as_i64(),
            repeat: outcome["repeat"].as_i64(),
            ending: text(&outcome["ending"]),
            finished: outcome["finished"] == Value::Bool(true),
            steps: outcome["effort"]["steps"].as_i64(),
            wall_seconds: outcome["wall_seconds"].as_f64().unwrap_or(f64::NAN),
        })
    }

    /// Whether it never began.
    pub(super) fn has_no_record(&self) -> bool {
        self.ending == "error"
    }

    /// The value of a swept key; empty where it was not swept.
    fn swept(&self, key: &str) -> String {
        self.swept.iter().find(|(swept, _)| swept == key).map_or_else(String::new, |(_, value)| value.clone())
    }
}

/// The swept keys of all runs, in the order in which they come up.
fn swept_keys<'a>(runs: impl Iterator<Item = &'a Told>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in runs.flat_map(|run| &run.swept) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys
}

/// The name of the column of a swept key: a table that is swept may be called like an array.
fn swept_name(key: &str) -> String {
    if declared_array(key).is_some() { format!("{key} (swept)") } else { key.to_string() }
}

/// The columns that say which run a row is: directory, swept keys, seed, repeat, why it ended, whether it did
/// what was asked for.
pub(super) fn identity(runs: &[&Told]) -> Table {
    let integers =
        |of: &dyn Fn(&Told) -> Option<i64>| Column::Integers(runs.iter().map(|run| of(run)).collect());
    let texts = |of: &dyn Fn(&Told) -> String| runs.iter().map(|run| of(run)).collect::<Vec<_>>();
    let mut table = Table::default();
    table.push("directory", Column::Texts(texts(&|run| run.directory.clone())));
    for key in swept_keys(runs.iter().copied()) {
        // The seed has a column of its own, swept or not.
        if key != "seed" {
            table.push(swept_name(key), Column::of_texts(texts(&|run| run.swept(key))));
        }
    }
    table.push("seed", integers(&|run| run.seed));
    table.push("repeat", integers(&|run| run.repeat));
    table.push("ending", Column::Texts(texts(&|run| run.ending.clone())));
    table.push("finished", Column::Flags(runs.iter().map(|run| run.finished).collect()));
    table
}

fn summary_of(all: &Summarised, planned: &PlannedRuns) -> Table {
    let runs = &all.runs;
    let mut table = identity(&runs.iter().map(|run| &run.told).collect::<Vec<_>>());
    let cells = cells(planned);
    let is_planned = runs.iter().map(|run| cells.contains_key(run.told.directory.as_str()));
    table.push("planned", Column::Flags(is_planned.collect()));
    let scalar = |at: usize| Column::Numbers(runs.iter().map(|run| run.scalar(at)).collect());
    table.push("time", scalar(all.scalars.get("time").copied().unwrap_or(usize::MAX)));
    table.push("steps", Column::Integers(runs.iter().map(|run| run.told.steps).collect()));
    table.push("wall_seconds", Column::Numbers(runs.iter().map(|run| run.told.wall_seconds).collect()));
    for (name, at) in all.recorded().filter(|(name, _)| !name.contains('[')) {
        table.push(name, scalar(at));
    }
    table
}

/// The runs of a cell.
#[derive(Default)]
struct Cell<'a> {
    finished: Vec<&'a Ended>,
    failed: Vec<&'a Ended>,
    planned: i64,
}

/// The runs of the planned cells.
fn by_cell<'a>(all: &'a Summarised, planned: &PlannedRuns) -> BTreeMap<usize, Cell<'a>> {
    let cell_of = cells(planned);
    let mut cells: BTreeMap<usize, Cell<'_>> = BTreeMap::new();
    for &cell in cell_of.values() {
        cells.entry(cell).or_default().planned += 1;
    }
    for run in &all.runs {
        let cell = cell_of.get(run.told.directory.as_str()).and_then(|cell| cells.get_mut(cell));
        if let Some(Cell { finished, failed, .. }) = cell {
            if run.told.finished { finished.push(run) } else { failed.push(run) }
        }
    }
    cells
}

/// A planned cell at a glance.
#[derive(Clone, Debug, PartialEq)]
pub struct CellSummary {
    /// Index of the cell in the sweep.
    pub cell: usize,
    /// Swept keys and their values.
    pub swept: Vec<(String, String)>,
    /// Repeats that have finished.
    pub finished: usize,
    /// Repeats that ended early.
    pub failed: usize,
    /// Repeats that are asked for.
    pub planned: usize,
    /// The median over the finished repeats of each final value; of floors, the largest. Named as in `aggregates.csv`.
    pub medians: BTreeMap<String, f64>,
}

impl CellSummary {
    /// The final singular values of the spectrum of this name, such as `end_to_end`, and their numerical floor.
    pub fn spectrum(&self, name: &str) -> (Vec<f64>, f64) {
        let value = |rank: usize| self.medians.get(&format!("sigma_{name}[{rank}]")).copied();
        let floor = self.medians.get(&format!("floor_{name}")).copied();
        ((0..).map_while(value).collect(), floor.unwrap_or(f64::NAN))
    }
}

/// The planned cells of which a run has ended, in their order. Cost: reads all records.
pub fn cell_summaries(store: &Store, planned: &PlannedRuns) -> Result<Vec<CellSummary>, FileError> {
    let directories: Vec<PathBuf> = planned_directories(store, planned).collect();
    let (all, _) = read(store, &directories, &|| false)?;
    let summary = |(cell, Cell { finished, failed, planned }): (&usize, &Cell<'_>)| {
        let median = |(name, at): (&str, usize)| {
            let values = sorted_finite(finished.iter().map(|run| run.scalar(at)));
            let part = if name.starts_with("floor_") { 1.0 } else { 0.5 };
            (!values.is_empty()).then(|| (name.to_string(), quantile(&values, part)))
        };
        Some(CellSummary {
            cell: *cell,
            swept: finished.first().or(failed.first())?.told.swept.clone(),
            finished: finished.len(),
            failed: failed.len(),
            planned: usize::try_from(*planned).unwrap_or(0),
            medians: all.recorded().filter_map(median).collect(),
        })
    };
    Ok(by_cell(&all, planned).iter().filter_map(summary).collect())
}

fn aggregates_of(all: &Summarised, planned: &PlannedRuns) -> Table {
    let cells = by_cell(all, planned);
    // The quantities of one cell after the other; each row stands for the cell's first run.
    let (mut first, mut quantities) = (Vec::new(), Vec::new());
    let mut counts: [Vec<Option<i64>>; 3] = Default::default();
    let mut numbers: [Vec<f64>; 7] = Default::default();
    let mut bootstraps: HashMap<usize, Option<BootstrapMedian>> = HashMap::new();
    for Cell { finished, failed, planned } in cells.values() {
        let Some(one) = finished.first().or(failed.first()) else { continue };
        for (name, at) in all.recorded() {
            let values = sorted_finite(finished.iter().map(|run| run.scalar(at)));
            // What finished runs of the cell do not have is none of theirs; a cell without any is told of by empty rows.
            if values.is_empty() && !finished.is_empty() {
                continue;
            }
            first.push(&one.told);
            quantities.push(name.to_string());
            let failed = failed.len() as i64;
            for (column, count) in counts.iter_mut().zip([values.len() as i64, failed, *planned]) {
                column.push(Some(count));
            }
            let bootstrap =
                bootstraps.entry(values.len()).or_insert_with(|| BootstrapMedian::of(values.len()));
            let (low, high) =
                bootstrap.as_ref().map_or((f64::NAN, f64::NAN), |bootstrap| bootstrap.interval(&values));
            let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| quantile(&values, part));
            for (column, value) in numbers.iter_mut().zip(quantiles.into_iter().chain([low, high])) {
                column.push(value);
            }
        }
    }
    let mut table = Table::default();
    for key in swept_keys(first.iter().copied()) {
        table.push(swept_name(key), Column::of_texts(first.iter().map(|run| run.swept(key)).collect()));
    }
    table.push("quantity", Column::Texts(quantities));
    for (name, column) in ["repeats", "failed", "planned"].into_iter().zip(counts) {
        table.push(name, Column::Integers(column));
    }
    let names = ["min", "q25", "median", "q75", "max", "median_low", "median_high"];
    for (name, column) in names.into_iter().zip(numbers) {
        table.push(name, Column::Numbers(column));
    }
    table
}

/// Names of the numbers in a row of this shape: `loss`, `sigma_w1[0]`, `alignment_1_2[0,3]`.
pub(super) fn labels(name: &str, row: &[usize]) -> Vec<String> {
    let mut indices = vec![String::new()];
    for &length in row {
        let further = |before: &String| {
            let comma = if before.is_empty() { "" } else { "," };
            (0..length).map(|index| format!("{before}{comma}{index}")).collect::<Vec<_>>()
        };
        indices = indices.iter().flat_map(further).collect();
    }
    if row.is_empty() {
        return vec![name.to_string()];
    }
    indices.iter().map(|index| format!("{name}[{index}]")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_by_their_indices() {
        assert_eq!(labels("loss", &[]), ["loss"]);
        assert_eq!(labels("sigma_w1", &[2]), ["sigma_w1[0]", "sigma_w1[1]"]);
        assert_eq!(labels("a", &[2, 2]), ["a[0,0]", "a[0,1]", "a[1,0]", "a[1,1]"]);
        assert!(labels("a", &[2, 0]).is_empty());
    }
}
