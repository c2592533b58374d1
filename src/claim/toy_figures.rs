//! What the claims about the toy figures share: their experiments, and what counts as a collapsed dimension.

use super::case::{NeededExperiment, Run, Source};
use super::statistics::Median;
use std::collections::BTreeMap;

/// A direction has collapsed where it is shorter than this part of the longest one: two decades below the top
/// of a logarithmic axis, one ten-thousandth of the variance. A linear map is measured by its singular
/// values, which are lengths.
pub(super) const COLLAPSED: f64 = 0.01;

/// The same for the values of C, which are squares of lengths.
pub(super) const COLLAPSED_VARIANCE: f64 = COLLAPSED * COLLAPSED;

// At the quick level: fewer samples or smaller batches, six seeds, of which the smallest number lets the
// range of the seeds hold the median with 97 %. At the full level the files as they are.

pub(super) const FIGURE_3_PAPER: NeededExperiment = NeededExperiment {
    name: "figure_3_paper",
    source: Source::File,
    quick: &["data.samples=512", "repeats=6", "sweep.augment.variance=[0.1, 1.0, 5.0]"],
    full: &[],
};

pub(super) const FIGURE_3_RELEASED_CODE: NeededExperiment = NeededExperiment {
    name: "figure_3_released_code",
    source: Source::File,
    quick: &[
        "dynamics.batch=64",
        "dynamics.steps=5000",
        "repeats=6",
        "sweep.augment.variance=[0.0001, 1.0, 9.0]",
    ],
    full: &[],
};

pub(super) const FIGURES_5_6_PAPER: NeededExperiment = NeededExperiment {
    name: "figures_5_6_paper",
    source: Source::File,
    quick: &["data.samples=256", "repeats=6"],
    full: &[],
};

pub(super) const FIGURES_5_6_RELEASED_CODE: NeededExperiment = NeededExperiment {
    name: "figures_5_6_released_code",
    source: Source::File,
    quick: &["dynamics.batch=64", "repeats=6"],
    full: &[],
};

pub(super) const FIGURE_11A_PAPER: NeededExperiment = NeededExperiment {
    name: "figure_11a_paper",
    source: Source::File,
    quick: &["data.samples=256", "repeats=6"],
    full: &[],
};

pub(super) const FIGURE_11A_RELEASED_CODE: NeededExperiment = NeededExperiment {
    name: "figure_11a_released_code",
    source: Source::File,
    quick: &["dynamics.batch=32", "dynamics.steps=5000", "repeats=6"],
    full: &[],
};

pub(super) const FIGURE_11B_PAPER: NeededExperiment = NeededExperiment {
    name: "figure_11b_paper",
    source: Source::File,
    quick: &["data.samples=256", "repeats=6"],
    full: &[],
};

pub(super) const FIGURE_11B_RELEASED_CODE: NeededExperiment = NeededExperiment {
    name: "figure_11b_released_code",
    source: Source::File,
    quick: &["dynamics.batch=32", "dynamics.steps=5000", "repeats=6"],
    full: &[],
};

/// The two layers of Figure 5, as in the theory, on a fixed batch and for long: everything that can still
/// change has had the time to. Tolerances are so tight that all singular vectors are resolved.
pub(super) const FIXED_BATCH_LONG: NeededExperiment = NeededExperiment {
    name: "figure_5_fixed_batch_long",
    source: Source::Text(
        r#"
title    = "Two layers on a fixed batch, for long"
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 16, samples = 256 }
augment  = { kind = "isotropic", variance = 0.01, sides = "one" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "dop853", rtol = 1e-8, atol = 1e-13, time_end = 10000.0 }
observe  = { times = { kind = "log", first = 1e-2, count = 25 }, quantities = ["loss", "spectra", "x", "alignment", "imbalance"] }
"#,
    ),
    quick: &[],
    full: &["data.samples=1024", "repeats=8"],
};

/// The same network, data and augmentation in the limit of infinitely many samples.
pub(super) const POPULATION: NeededExperiment = NeededExperiment {
    name: "figure_5_population",
    source: Source::Text(
        r#"
title    = "Two layers, infinitely many samples"
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 16, samples = 1024 }   # of no effect: there are infinitely many
augment  = { kind = "isotropic", variance = 0.01, sides = "one" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "tsit5", rtol = 1e-6, atol = 1e-10, time_end = 20000.0 }
observe  = { times = { kind = "log", first = 1e-2, count = 31 }, quantities = ["loss", "spectra", "x", "alignment", "imbalance"] }
"#,
    ),
    quick: &[],
    full: &["dynamics.rtol=1e-8", "repeats=8"],
};

/// Figure 5 of the released code in the limit of infinitely large batches and small rates.
pub(super) const POPULATION_DOT: NeededExperiment = NeededExperiment {
    name: "figure_5_population_dot",
    source: Source::Text(
        r#"
title    = "Two layers, dot product, infinitely many samples"
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 16, samples = 1024 }   # of no effect: there are infinitely many
augment  = { kind = "isotropic", variance = 1e-6, sides = "two" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-dot", temperature = 0.1 }
dynamics = { kind = "population", method = "tsit5", rtol = 1e-6, atol = 1e-10, time_end = 600.0 }
observe  = { times = { kind = "log", first = 1e-2, count = 31 }, quantities = ["loss", "spectra", "alignment", "imbalance"] }
"#,
    ),
    quick: &[],
    full: &["dynamics.time_end=2000.0", "dynamics.rtol=1e-8", "repeats=8"],
};

/// The runs of each seed, in the order of the sweep.
pub(super) fn by_seed(runs: &[Run]) -> Vec<Vec<&Run>> {
    let mut seeds: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        seeds.entry(run.plan.seed.repeat).or_default().push(run);
    }
    let mut seeds: Vec<Vec<&Run>> = seeds.into_values().collect();
    for cells in &mut seeds {
        cells.sort_by_key(|run| run.plan.cell);
    }
    seeds
}

/// Number of values of the descending spectrum of this name that lie below `part` of the largest, at a
/// recorded time.
///
/// # Errors
/// Where the numerical floor lies above that mark: then nothing can be said.
pub(super) fn below(run: &Run, spectrum: &str, part: f64, time: usize) -> Result<usize, String> {
    let values = run.row(&format!("sigma_{spectrum}"), time)?;
    let floor = run.row(&format!("floor_{spectrum}"), time)?[0];
    count_below(values, floor, part).map_err(|e| format!("{}, {spectrum}: {e}", run.plan.directory_name()))
}

fn count_below(values: &[f64], floor: f64, part: f64) -> Result<usize, String> {
    let mark = part * values.first().copied().unwrap_or(f64::NAN);
    if mark > floor {
        Ok(values.iter().filter(|value| **value < mark).count())
    } else {
        Err(format!("the numerical floor {floor:e} lies above {part} of the largest value"))
    }
}

/// In words, in how many of the seeds what speaks against a claim was seen; nothing where it was in none.
pub(super) fn told(seeds: usize, against: &[(usize, &str)]) -> Option<String> {
    let told: Vec<String> = against
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{what} (in {count} of {seeds} seeds)"))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The last recorded time at or before this part of the whole one.
pub(super) fn time_at(run: &Run, part: f64) -> usize {
    let times = run.times();
    let until = times.last().map_or(0.0, |end| part * end);
    // A time that is a product of rate and steps may lie a rounding beside the one that is meant.
    times.iter().rposition(|time| *time <= until * (1.0 + 1e-9)).unwrap_or(0)
}

/// One number a seed at each of several recorded times, given as parts of the whole time: their medians, by
/// the time.
pub(super) fn over_time<'a>(
    runs: impl IntoIterator<Item = &'a Run> + Clone,
    parts: &[f64],
    measure: impl Fn(&Run, usize) -> Result<f64, String>,
) -> Result<serde_json::Value, String> {
    let mut rows = Vec::new();
    for &part in parts {
        let mut values = Vec::new();
        let mut when = 0.0;
        for run in runs.clone() {
            let time = time_at(run, part);
            when = run.times()[time];
            values.push(measure(run, time)?);
        }
        rows.push(serde_json::json!({ "time": when, "over_seeds": Median::of(values).to_json() }));
    }
    Ok(rows.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_in_no_seed_is_not_told() {
        assert_eq!(told(6, &[(0, "a"), (0, "b")]), None);
        assert_eq!(
            told(6, &[(0, "a"), (2, "b"), (6, "c")]).unwrap(),
            "b (in 2 of 6 seeds), c (in 6 of 6 seeds)"
        );
    }

    #[test]
    fn values_below_the_mark_are_counted_and_a_floor_above_it_is_told() {
        assert_eq!(count_below(&[2.0, 1.0, 0.021, 0.019, 0.0], 1e-9, COLLAPSED), Ok(2));
        assert!(count_below(&[2.0, 0.0], 0.03, COLLAPSED).is_err());
        assert!(count_below(&[], 0.0, COLLAPSED).is_err());
        assert!(count_below(&[f64::NAN], 0.0, COLLAPSED).is_err());
    }
}
