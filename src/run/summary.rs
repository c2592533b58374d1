//! Results for people: one table over all cells, and medians over repeats.

use super::store::{Store, StoredRun};
use crate::experiment::Experiment;
use crate::files::{self, FileError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// Writes `summary.csv`: one row a cell and repeat in the store, with the swept keys, why it ended, and the final scalars.
///
/// The plans of `experiment` come first, in its order; what other experiments have left in the store follows.
pub fn write_summary(experiment: &Experiment, store: &Store) -> Result<(), FileError> {
    let mut directories: Vec<_> = experiment.plans.iter().map(|plan| store.directory(plan)).collect();
    let own: HashSet<_> = directories.iter().cloned().collect();
    directories.extend(store.directories().into_iter().filter(|directory| !own.contains(directory)));
    // Of each run its scalars only: a sweep may record more than fits into memory.
    let runs: Vec<_> = directories
        .into_iter()
        .filter_map(|directory| Some((Row::read(store, &directory)?, directory)))
        .collect();
    let scalars: BTreeSet<&str> = runs
        .iter()
        .flat_map(|(run, _)| run.scalars.keys().map(String::as_str))
        .filter(|name| !matches!(*name, "time" | "step"))
        .collect();
    // The seed has a column of its own, swept or not.
    let mut swept: Vec<&str> = Vec::new();
    for key in
        runs.iter().filter_map(|(run, _)| run.outcome["swept"].as_object()).flat_map(|swept| swept.keys())
    {
        if key != "seed" && !swept.contains(&key.as_str()) {
            swept.push(key);
        }
    }
    let mut header: Vec<String> = vec!["directory".into()];
    header.extend(swept.iter().map(ToString::to_string));
    header.extend(["seed", "repeat", "ending", "time", "steps", "wall_seconds"].map(String::from));
    header.extend(scalars.iter().map(ToString::to_string));
    let mut rows = vec![header];
    for (run, directory) in &runs {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:?}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let mut row =
            vec![directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())];
        row.extend(swept.iter().map(|key| text(&run.outcome["swept"][*key])));
        row.push(run.outcome["seed"].to_string());
        row.push(run.outcome["repeat"].to_string());
        row.push(text(&run.outcome["ending"]));
        row.push(number(run.scalars.get("time").copied()));
        row.push(run.outcome["effort"]["steps"].as_u64().map_or_else(String::new, |steps| steps.to_string()));
        row.push(number(run.outcome["wall_seconds"].as_f64()));
        row.extend(scalars.iter().map(|name| number(run.scalars.get(*name).copied())));
        rows.push(row);
    }
    files::update(store.root().join("summary.csv"), &files::csv_bytes(rows))
}

/// What the summary needs of a run.
struct Row {
    outcome: Value,
    /// The last values of the arrays that have one number a recorded time.
    scalars: BTreeMap<String, f64>,
}

impl Row {
    /// Of the run in this directory; one that never began has no scalars.
    fn read(store: &Store, directory: &Path) -> Option<Row> {
        let outcome = store.outcome_in(directory)?;
        if outcome["ending"] == "error" {
            return Some(Row { outcome, scalars: BTreeMap::new() });
        }
        let run = store.load_directory(directory).ok()?;
        let last = |name: &str| Some((name.to_string(), *run.last(name)?.first()?));
        let scalars = scalar_names(&run).filter_map(last).collect();
        Some(Row { outcome, scalars })
    }
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

/// Median and range over repeats, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The median.
    pub median: Vec<f64>,
    /// The smallest.
    pub low: Vec<f64>,
    /// The largest.
    pub high: Vec<f64>,
}

impl Band {
    /// Of rows of equal length, one a repeat; elements that are not finite do not count.
    pub fn of(rows: &[&[f64]]) -> Band {
        let length = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        let mut band = Band { median: Vec::new(), low: Vec::new(), high: Vec::new() };
        for k in 0..length {
            let mut values: Vec<f64> =
                rows.iter().map(|row| row[k]).filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let n = values.len();
            let (median, low, high) = match n {
                0 => (f64::NAN, f64::NAN, f64::NAN),
                _ => (0.5 * (values[(n - 1) / 2] + values[n / 2]), values[0], values[n - 1]),
            };
            band.median.push(median);
            band.low.push(low);
            band.high.push(high);
        }
        band
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_the_median_between_the_extremes_and_passes_over_what_is_not_finite() {
        let band = Band::of(&[&[3.0, 1.0], &[1.0, f64::NAN], &[2.0, 5.0]]);
        assert_eq!(band, Band { median: vec![2.0, 3.0], low: vec![1.0, 1.0], high: vec![3.0, 5.0] });
    }
}
