//! Results for people: a table of all runs, and one of what the repeats of each cell say together.

use super::overview::PlannedRuns;
use super::statistics::{BootstrapMedian, quantile, sorted_finite};
use super::store::{Store, StoredRun};
use crate::files::{self, Column, FileError, Table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Writes [`summary`] to `summary.csv` and [`aggregates`] to `aggregates.csv` in the store.
///
/// # Errors
/// They cannot be written.
pub fn write_tables(store: &Store, planned: &PlannedRuns) -> Result<(), FileError> {
    loop {
        let directories = directories(store, planned);
        let (runs, _) = read(store, &directories);
        files::update(store.root().join("summary.csv"), &summary_of(&runs, planned).csv_bytes())?;
        files::update(store.root().join("aggregates.csv"), &aggregates_of(&runs, planned).csv_bytes())?;
        // Another process may have added runs, and written its tables before this one: the last to write leaves none out.
        if self::directories(store, planned) == directories {
            return Ok(());
        }
    }
}

/// One row a run in the store: its directory, the swept keys, seed and repeat, why it ended, whether it is one of the planned runs, when
/// it ended, and the final scalars. With the table comes how many runs are in it, and why others cannot be read.
///
/// The planned runs come first, in their order; what other experiments have left in the store follows. Cost: reads all records.
pub(super) fn summary(store: &Store, planned: &PlannedRuns) -> (Table, usize, Vec<String>) {
    let (runs, unreadable) = read(store, &directories(store, planned));
    (summary_of(&runs, planned), runs.len(), unreadable)
}

/// One row a planned cell and scalar: the swept keys, the scalar's name, how many repeats have finished with a finite value, their
/// smallest, quartiles and largest, and a 95 % bootstrap interval of the median where there are six or more. Cost: reads all
/// records. With the table comes how many runs are in it, and why others cannot be read.
///
/// The interval is that of the percentile method over all samples of the repeats with replacement, in closed form.
pub(super) fn aggregates(store: &Store, planned: &PlannedRuns) -> (Table, usize, Vec<String>) {
    let (mut runs, unreadable) = read(store, &directories(store, planned));
    let cells = cells(planned);
    runs.retain(|run| run.told.is_finished() && cells.contains_key(run.told.directory.as_str()));
    (aggregates_of(&runs, planned), runs.len(), unreadable)
}

/// The cell of each planned run, by its directory.
fn cells(planned: &PlannedRuns) -> HashMap<&str, usize> {
    planned.runs.iter().map(|run| (run.directory.as_str(), run.cell)).collect()
}

/// The directories of the runs that are there, planned ones first.
pub(super) fn directories(store: &Store, planned: &PlannedRuns) -> Vec<PathBuf> {
    let all = store.directories();
    let there: HashSet<&Path> = all.iter().map(PathBuf::as_path).collect();
    let mut directories: Vec<PathBuf> =
        planned.runs.iter().map(|run| store.root().join(&run.directory)).collect();
    directories.retain(|directory| there.contains(directory.as_path()));
    let own: HashSet<PathBuf> = directories.iter().cloned().collect();
    directories.extend(all.into_iter().filter(|directory| !own.contains(directory)));
    directories
}

/// The runs in these directories, and what is wrong with those that cannot be read.
fn read(store: &Store, directories: &[PathBuf]) -> (Vec<Summarised>, Vec<String>) {
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for directory in directories {
        match Summarised::read(store, directory) {
            Ok(run) => runs.push(run),
            Err(problem) => unreadable.push(problem),
        }
    }
    (runs, unreadable)
}

/// What the tables need of a run: a sweep may record more than fits into memory.
struct Summarised {
    told: Told,
    /// The last values of the arrays that have one number a recorded time.
    scalars: BTreeMap<String, f64>,
}

impl Summarised {
    /// Of the run in this directory; one that never began has no scalars.
    fn read(store: &Store, directory: &Path) -> Result<Summarised, String> {
        let told = Told::read(store, directory)?;
        if told.has_no_record() {
            return Ok(Summarised { told, scalars: BTreeMap::new() });
        }
        let run = store.load_directory(directory).map_err(|error| error.to_string())?;
        let last = |name: &str| Some((name.to_string(), *run.last(name)?.first()?));
        let scalars = scalar_names(&run).filter_map(last).collect();
        Ok(Summarised { told, scalars })
    }
}

/// What the tables need of the outcome of a run.
pub(super) struct Told {
    pub(super) directory: String,
    outcome: Value,
}

impl Told {
    /// Of the run in this directory, or what is wrong with it.
    pub(super) fn read(store: &Store, directory: &Path) -> Result<Told, String> {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut outcome = store.outcome_in(directory)?;
        if let Some(outcome) = outcome.as_object_mut() {
            outcome.retain(|key, _| {
                matches!(
                    &**key,
                    "swept" | "seed" | "repeat" | "ending" | "finished" | "effort" | "wall_seconds"
                )
            });
        }
        Ok(Told { directory: name, outcome })
    }

    /// Whether it never began.
    pub(super) fn has_no_record(&self) -> bool {
        self.outcome["ending"] == "error"
    }

    fn is_finished(&self) -> bool {
        self.outcome["finished"] == Value::Bool(true)
    }

    fn text(&self, key: &str) -> String {
        self.outcome[key].as_str().unwrap_or_default().to_string()
    }

    fn swept(&self, key: &str) -> String {
        self.outcome["swept"][key].as_str().unwrap_or_default().to_string()
    }
}

/// The swept keys of all runs, in the order in which they come up.
fn swept_keys<'a>(runs: impl Iterator<Item = &'a Told>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = Vec::new();
    for key in runs.filter_map(|run| run.outcome["swept"].as_object()).flat_map(|swept| swept.keys()) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys
}

/// The columns that say which run a row is: directory, swept keys, seed, repeat, why it ended.
pub(super) fn identity(runs: &[&Told]) -> Table {
    let integers = |key: &str| Column::Integers(runs.iter().map(|run| run.outcome[key].as_i64()).collect());
    let texts = |of: &dyn Fn(&Told) -> String| runs.iter().map(|run| of(run)).collect::<Vec<_>>();
    let mut table = Table::default();
    table.push("directory", Column::Texts(texts(&|run| run.directory.clone())));
    for key in swept_keys(runs.iter().copied()) {
        // The seed has a column of its own, swept or not.
        if key != "seed" {
            table.push(key, Column::of_texts(texts(&|run| run.swept(key))));
        }
    }
    table.push("seed", integers("seed"));
    table.push("repeat", integers("repeat"));
    table.push("ending", Column::Texts(texts(&|run| run.text("ending"))));
    table
}

fn summary_of(runs: &[Summarised], planned: &PlannedRuns) -> Table {
    let mut table = identity(&runs.iter().map(|run| &run.told).collect::<Vec<_>>());
    let cells = cells(planned);
    let is_planned = runs.iter().map(|run| cells.contains_key(run.told.directory.as_str()).to_string());
    table.push("planned", Column::Texts(is_planned.collect()));
    let scalar = |name: &str| {
        Column::Numbers(runs.iter().map(|run| run.scalars.get(name).copied().unwrap_or(f64::NAN)).collect())
    };
    table.push("time", scalar("time"));
    let steps = runs.iter().map(|run| run.told.outcome["effort"]["steps"].as_i64());
    table.push("steps", Column::Integers(steps.collect()));
    let seconds = runs.iter().map(|run| run.told.outcome["wall_seconds"].as_f64().unwrap_or(f64::NAN));
    table.push("wall_seconds", Column::Numbers(seconds.collect()));
    for name in recorded_scalars(runs.iter()) {
        table.push(name, scalar(name));
    }
    table
}

fn aggregates_of(runs: &[Summarised], planned: &PlannedRuns) -> Table {
    let cells = cells(planned);
    let mut repeats: BTreeMap<usize, Vec<&Summarised>> = BTreeMap::new();
    for run in runs {
        if let (true, Some(&cell)) = (run.told.is_finished(), cells.get(run.told.directory.as_str())) {
            repeats.entry(cell).or_default().push(run);
        }
    }
    let scalars = recorded_scalars(repeats.values().flatten().copied());
    // The quantities of one cell after the other; each row stands for the cell's first repeat.
    let (mut first, mut quantities, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let mut numbers: [Vec<f64>; 7] = Default::default();
    let mut bootstraps: HashMap<usize, Option<BootstrapMedian>> = HashMap::new();
    for repeats in repeats.values() {
        for &name in &scalars {
            let values = sorted_finite(repeats.iter().filter_map(|run| run.scalars.get(name).copied()));
            if values.is_empty() {
                continue;
            }
            first.push(&repeats[0].told);
            quantities.push(name.to_string());
            counts.push(i64::try_from(values.len()).ok());
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
        table.push(key, Column::of_texts(first.iter().map(|run| run.swept(key)).collect()));
    }
    table.push("quantity", Column::Texts(quantities));
    table.push("repeats", Column::Integers(counts));
    let names = ["min", "q25", "median", "q75", "max", "median_low", "median_high"];
    for (name, column) in names.into_iter().zip(numbers) {
        table.push(name, Column::Numbers(column));
    }
    table
}

/// The scalars that runs recorded, besides those that say when.
fn recorded_scalars<'a>(runs: impl Iterator<Item = &'a Summarised>) -> BTreeSet<&'a str> {
    let names = runs.flat_map(|run| run.scalars.keys().map(String::as_str));
    names.filter(|name| !matches!(*name, "time" | "step")).collect()
}

/// Names of the arrays that have one number a recorded time.
fn scalar_names(run: &StoredRun) -> impl Iterator<Item = &str> {
    run.arrays.iter().filter(|(_, array)| array.shape.len() == 1).map(|(name, _)| name.as_str()).filter(
        |name| {
            let length = |name: &str| run.arrays.get(name).map(|array| array.values.len());
            length(name) == length("time") && !name.starts_with("pca_")
        },
    )
}
