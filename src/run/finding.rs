//! What a figure shows, in numbers: the rows of the table that `reproduce` prints.

use super::shown::{Shown, recorded};
use super::statistics::Band;
use super::store::StoredRun;
use crate::experiment::Plan;
use crate::settings::Settings;

/// The name under which records hold the spectrum that an experiment file calls `of`.
pub fn spectrum_name(of: &str) -> String {
    of.replace('-', "_")
}

/// The array that a figure draws.
pub fn figure_array(figure: &Settings) -> String {
    match figure.kind() {
        "alignment" => format!("alignment_{}", figure.text("layers")),
        _ => format!("sigma_{}", spectrum_name(figure.text("of"))),
    }
}

/// What `runs`, the finished repeats of one cell with the plan `plan`, show of `figure`, in words and numbers: over
/// parameters at these times, all others at the end.
pub fn finding(figure: &Settings, plan: &Plan, runs: &[StoredRun], times: &[Option<f64>]) -> String {
    let numbers = |name: &str| -> Vec<f64> {
        runs.iter().filter_map(|run| run.last(name)).filter_map(|row| row.first().copied()).collect()
    };
    if runs.is_empty() {
        return "no finished runs".to_string();
    }
    if matches!(figure.kind(), "against" | "map" | "over-time") {
        return values(figure, plan, runs, times);
    }
    if figure.kind() == "alignment" {
        let array = figure_array(figure);
        let diagonal: Vec<f64> = runs
            .iter()
            .filter_map(|run| {
                let shape = &run.arrays.get(&array)?.shape;
                let (rows, columns) = (shape[1], shape[2]);
                let rank = rows.min(columns);
                let last = run.last(&array)?;
                Some((0..rank).map(|k| last[k * columns + k].abs()).sum::<f64>() / rank as f64)
            })
            .collect();
        let layers = figure.text("layers");
        let score = numbers(&format!("alignment_score_{layers}"));
        let resolved = numbers(&format!("alignment_resolved_{layers}"));
        return format!(
            "mean |A_kk| {}; alignment score {} ({} of the directions resolved)",
            spread(&diagonal, 0.0),
            spread(&score, 0.0),
            spread(&resolved, 0.0)
        );
    }
    let spectrum = spectrum_name(figure.text("of"));
    let array = figure_array(figure);
    let extremes = |pick: fn(&[f64]) -> f64| -> Vec<f64> {
        runs.iter().filter_map(|run| run.last(&array)).map(pick).collect()
    };
    let largest = extremes(|row| row.first().copied().unwrap_or(f64::NAN));
    let smallest = extremes(|row| row.last().copied().unwrap_or(f64::NAN));
    let floor = numbers(&format!("floor_{spectrum}"));
    let highest_floor = floor.iter().copied().fold(0.0, f64::max);
    let rank: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.last(&array))
        .zip(&floor)
        .map(|(row, floor)| row.iter().filter(|value| *value > floor).count() as f64)
        .collect();
    // A hundredth of the largest is where a plot of spectra shows a cliff.
    let tall: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.last(&array))
        .map(|row| row.iter().filter(|value| **value > 0.01 * row[0]).count() as f64)
        .collect();
    format!(
        "largest {}; smallest {}; {} above 1 % of the largest; {} above the floor {highest_floor:.1e}",
        spread(&largest, highest_floor),
        spread(&smallest, highest_floor),
        spread(&tall, 0.0),
        spread(&rank, 0.0),
    )
}

/// The value of a figure over parameters or over time with all that stands beside it, at each of its times.
fn values(figure: &Settings, plan: &Plan, runs: &[StoredRun], times: &[Option<f64>]) -> String {
    let value = Shown::of(figure);
    let spread_at = |shown: &Shown<'_>, at: Option<f64>| {
        let index = |run: &StoredRun| recorded(run, plan, at).ok();
        let numbers: Vec<f64> =
            runs.iter().filter_map(|run| index(run).and_then(|index| shown.at(run, index))).collect();
        let floors = runs.iter().filter_map(|run| index(run).and_then(|index| shown.floor_at(run, index)));
        spread(&numbers, floors.fold(0.0, f64::max))
    };
    let beside = |key: &str, words: &str, at: Option<f64>| {
        let shown = figure.optional_text(key).map(|array| match key {
            "marks" => Shown::plain(array),
            _ => value.from(array),
        });
        shown.map_or_else(String::new, |shown| format!(", {words} {}", spread_at(&shown, at)))
    };
    let with_beside = |at: Option<f64>| {
        let beside = match figure.kind() {
            "map" => beside("marks", "mark", at),
            _ => beside("theory", "theory", at),
        };
        format!("{}{beside}", spread_at(&value, at))
    };
    if figure.kind() == "over-time" {
        return format!("at the start {}; at the end {}", with_beside(Some(0.0)), with_beside(None));
    }
    let times = times.iter().map(|at| match at {
        Some(time) => format!("at t = {time}: {}", with_beside(*at)),
        None => with_beside(*at),
    });
    let limit = if figure.kind() == "against" { beside("limit", "t → ∞", None) } else { String::new() };
    format!("{}{limit}", times.collect::<Vec<_>>().join("; "))
}

/// Median and range; what lies below the floor is not a value, and only that is said of it.
fn spread(values: &[f64], floor: f64) -> String {
    let rows: Vec<&[f64]> = values.chunks(1).collect();
    let band = Band::of(&rows);
    let show = |value: f64| {
        if value < floor {
            format!("< {floor:.1e}")
        } else if value == 0.0 || (1e-2..1e4).contains(&value.abs()) {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        } else {
            format!("{value:.2e}")
        }
    };
    match (band.median.first(), band.low.first(), band.high.first()) {
        // A range that the digits do not show is none to a reader.
        (Some(&median), Some(&low), Some(&high)) if show(low) == show(high) => show(median),
        (Some(&median), Some(&low), Some(&high)) => {
            format!("{} [{}, {}]", show(median), show(low), show(high))
        }
        _ => "none".to_string(),
    }
}
