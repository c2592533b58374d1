//! Which numbers of a record a figure over parameters or over time shows.

use super::store::StoredRun;
use crate::experiment::{Dynamics, Plan, Subject};
use crate::record::{declared_array, follows_time};
use crate::settings::Settings;

/// Two recording times of a flow are the same where they differ by less than this part.
const SAME_TIME: f64 = 1e-9;

/// One number of a record at a time: an entry of an array, perhaps in units of the figure's value at the start.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    array: &'a str,
    rank: Option<usize>,
    /// The array whose entry at the start is the unit.
    unit: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// What a figure shows by its keys `value`, `rank` and `relative`.
    pub fn of(figure: &'a Settings) -> Shown<'a> {
        let array = figure.text("value");
        let unit = figure.flag("relative").then_some(array);
        Shown { array, rank: figure.optional_integer("rank"), unit }
    }

    /// The same entry of another array in the same unit, such as that of a prediction: a prediction is divided by the
    /// start of what it predicts, also where it has no start of its own.
    pub fn from(self, array: &'a str) -> Shown<'a> {
        Shown { array, ..self }
    }

    /// The first entry of another array as it is, such as that of a mark or a floor.
    pub fn plain(array: &'a str) -> Shown<'a> {
        Shown { array, rank: Some(1), unit: None }
    }

    /// The same number in its own unit.
    pub fn absolute(self) -> Shown<'a> {
        Shown { unit: None, ..self }
    }

    /// Name of the array.
    pub fn array(&self) -> &'a str {
        self.array
    }

    /// Whether the array is declared to have a row for each recorded time.
    pub fn follows_time(&self) -> bool {
        declared_array(self.array).is_some_and(|(_, shape, _)| follows_time(shape))
    }

    /// Array of the numerical floor under the values, where they are a spectrum.
    pub fn floor_array(&self) -> Option<String> {
        self.array.strip_prefix("sigma_").map(|spectrum| format!("floor_{spectrum}"))
    }

    /// The number at the recorded time of this index, or none where the record does not hold it.
    pub fn at(&self, run: &StoredRun, time: usize) -> Option<f64> {
        self.in_units(run, entry(run, self.array, time, self.rank)?)
    }

    /// The floor under [`Shown::at`], in its unit.
    pub fn floor_at(&self, run: &StoredRun, time: usize) -> Option<f64> {
        self.in_units(run, entry(run, &self.floor_array()?, time, Some(1))?)
    }

    fn in_units(&self, run: &StoredRun, value: f64) -> Option<f64> {
        let unit = self.unit.map_or(Some(1.0), |unit| entry(run, unit, 0, self.rank))?;
        Some(value / unit)
    }
}

/// The entry of this rank, counted from 1, or the last one. A scalar has one entry, whatever the rank.
fn entry(run: &StoredRun, array: &str, time: usize, rank: Option<usize>) -> Option<f64> {
    let row = run.row(array, time)?;
    let scalar = run.arrays.get(array)?.shape.len() == usize::from(run.has_time_axis(array));
    match rank {
        Some(rank) if !scalar => row.get(rank.checked_sub(1)?).copied(),
        _ => row.last().copied(),
    }
}

/// The times at which a figure shows its values: those of its key `at`, or the end.
pub fn shown_times(figure: &Settings) -> Vec<Option<f64>> {
    figure
        .optional_numbers("at")
        .map_or_else(|| vec![None], |times| times.iter().copied().map(Some).collect())
}

/// The index of the recorded time that stands for `at`; absent: of the last one. gd and sgd record whole steps, so that
/// a time within one step is meant; what has converged stays as it is.
///
/// # Errors
/// The nearest recorded times on both sides, in words.
pub fn recorded(run: &StoredRun, plan: &Plan, at: Option<f64>) -> Result<usize, String> {
    let times = run.times();
    let last = times.len().checked_sub(1).ok_or("no time is recorded")?;
    let Some(at) = at else { return Ok(last) };
    let step = match plan.subject {
        // Its time counts epochs.
        Subject::RealNetwork => 0.0,
        Subject::Layers => match plan.dynamics() {
            Dynamics::Gd { rate, .. } | Dynamics::Sgd { rate, .. } => rate,
            _ => 0.0,
        },
    };
    let slack = step.max(at.abs()) * SAME_TIME + step;
    let distance = |index: &usize| (times[*index] - at).abs();
    let nearest = (0..=last).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(last);
    if distance(&nearest) <= slack {
        return Ok(nearest);
    }
    if at > times[last] && run.outcome["ending"] == "converged" {
        return Ok(last);
    }
    let below = times.iter().rev().find(|time| **time < at);
    let above = times.iter().find(|time| **time > at);
    Err(match (below, above) {
        (Some(below), Some(above)) => format!("the recorded times beside it are {below} and {above}"),
        (Some(last), None) => format!("the last recorded time is {last}"),
        (None, Some(first)) => format!("the first recorded time is {first}"),
        (None, None) => "no time is recorded".to_string(),
    })
}
