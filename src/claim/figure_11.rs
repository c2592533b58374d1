//! Figure 11: collapsed dimensions of C over the depth of linear and of ReLU networks.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding};
use super::statistics::{Median, number};
use super::toy_figures::{
    COLLAPSED_VARIANCE, FIGURE_11A_PAPER, FIGURE_11A_RELEASED_CODE, FIGURE_11B_PAPER,
    FIGURE_11B_RELEASED_CODE, below, by_seed, time_at, told,
};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use serde_json::{Map, Value, json};

const LINEAR: &str =
    "More layers collapse more dimensions of C under weak augmentation; a single layer collapses none.";
const RELU: &str = "With ReLU between the layers, too, more layers collapse more dimensions of C; a single \
                layer collapses none.";

macro_rules! claim {
    ($name:ident, $id:literal, $source:literal, $statement:expr, $experiment:expr $(, $same:expr)?) => {
        pub(super) const $name: Claim = Claim {
            id: $id,
            source: $source,
            statement: $statement,
            formula: "",
            evidence: Evidence::Trajectory,
            experiments: &[$experiment $(, $same)?],
            judge: |case| judge(case, $experiment, &[$($same)?]),
        };
    };
}

claim!(
    LINEAR_PAPER,
    "figure-11a",
    "Figure 11a, loss and noise of the theory",
    LINEAR,
    FIGURE_11A_PAPER,
    SAME_START
);
claim!(
    LINEAR_RELEASED_CODE,
    "figure-11a-released-code",
    "Figure 11a, loss and noise of the released code",
    LINEAR,
    FIGURE_11A_RELEASED_CODE
);
claim!(RELU_PAPER, "figure-11b", "Figure 11b, loss and noise of the theory", RELU, FIGURE_11B_PAPER);
claim!(
    RELU_RELEASED_CODE,
    "figure-11b-released-code",
    "Figure 11b, loss and noise of the released code",
    RELU,
    FIGURE_11B_RELEASED_CODE
);

/// The product of all layers starts with the same spectrum whatever their number. In the figure every layer
/// starts with the same one, so that the product of more of them is closer to collapse before training.
const SAME_START: NeededExperiment = NeededExperiment {
    name: "figure_11a_same_start",
    source: Source::Text(
        r#"
title    = "Linear networks of growing depth that start from products of the same spectrum"
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 16, samples = 128 }
augment  = { kind = "isotropic", variance = 0.01, sides = "one" }
encoder  = { kind = "linear", widths = [16, 16], init = { kind = "balanced", scale = 1.0, decay = 0.5, of = "product" } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 20.0 }
observe  = { times = { kind = "log", first = 1e-1, count = 20 }, quantities = ["spectra"] }
sweep    = { "encoder.widths" = [[16, 16], [16, 16, 16], [16, 16, 16, 16], [16, 16, 16, 16, 16]] }
"#,
    ),
    quick: &[],
    full: &["data.samples=1024", "repeats=8"],
};

/// Collapsed dimensions of the networks of each seed, by growing depth.
type Counts = Vec<Vec<usize>>;

/// Nothing where one layer collapses nothing, no deeper network collapses less than a shallower one, and the
/// deepest more than the shallowest, in every seed.
fn grows_with_depth(seeds: &Counts) -> Option<String> {
    let failing = |wrong: fn(&[usize]) -> bool| seeds.iter().filter(|counts| wrong(counts)).count();
    let against = [
        (failing(|counts| counts.first() != Some(&0)), "one layer collapses some"),
        (
            failing(|counts| counts.windows(2).any(|pair| pair[0] > pair[1])),
            "a deeper network collapses fewer",
        ),
        (
            failing(|counts| counts.first() >= counts.last()),
            "the deepest collapses no more than the shallowest",
        ),
    ];
    told(seeds.len(), &against)
}

/// The probability of counts that never fall with depth in any seed, were every order of a seed's counts as
/// likely. Seeds are independent; the networks of one share data and layers, which an exchange of their
/// labels takes into account.
fn probability_of_order(seeds: &Counts) -> f64 {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let of_seed = |counts: &Vec<usize>| {
        let mut distinct = counts.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let ties =
            distinct.iter().map(|value| factorial(counts.iter().filter(|count| *count == value).count()));
        ties.product::<f64>() / factorial(counts.len())
    };
    seeds.iter().map(of_seed).product()
}

/// Counts at this part of the whole time, of values of C below `mark` of the largest.
fn counts(runs: &[Run], part: f64, mark: f64) -> Result<Counts, String> {
    let seed = |cells: Vec<&Run>| {
        cells.into_iter().map(|run| below(run, "embedding", mark, time_at(run, part))).collect()
    };
    by_seed(runs).into_iter().map(seed).collect()
}

/// Medians by depth.
fn medians(seeds: &Counts) -> Vec<Median> {
    let depths = seeds.first().map_or(0, Vec::len);
    (0..depths).map(|depth| Median::of(seeds.iter().map(|counts| counts[depth] as f64))).collect()
}

fn listed(seeds: &Counts) -> String {
    let told: Vec<String> = medians(seeds).iter().map(Median::to_string).collect();
    told.join(", ")
}

/// Counts by depth and time, and whether the check accepts each time, so that a reader sees of which times it
/// speaks.
fn over_times(runs: &[Run], mark: f64) -> Result<Value, String> {
    let mut rows = Vec::new();
    for part in [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0] {
        let counts = counts(runs, part, mark)?;
        let against = grows_with_depth(&counts);
        let by_depth: Vec<Value> = medians(&counts).iter().map(Median::to_json).collect();
        let time = runs.first().map_or(f64::NAN, |run| run.times()[time_at(run, part)]);
        rows.push(json!({ "time": time, "collapsed_by_depth": by_depth, "against": against }));
    }
    Ok(rows.into())
}

fn judge(case: &Case, figure: NeededExperiment, further: &[NeededExperiment]) -> Result<Finding, String> {
    let runs = case.runs(figure.name)?;
    let (start, seen) = (counts(runs, 0.0, COLLAPSED_VARIANCE)?, counts(runs, 1.0, COLLAPSED_VARIANCE)?);
    let against = grows_with_depth(&seen);
    let reversed: Counts = seen.iter().map(|counts| counts.iter().rev().copied().collect()).collect();
    let alone: Counts = seen.iter().map(|counts| vec![counts[0]; counts.len()]).collect();
    let rejected = [grows_with_depth(&reversed), grows_with_depth(&alone)];
    let probability = probability_of_order(&seen);
    let depths = seen.first().map_or(0, Vec::len);
    let end = runs.first().and_then(|run| run.times().last().copied()).unwrap_or(f64::NAN);
    let mut summary = format!(
        "collapsed dimensions of {depths} depths: {} at t = {}, {} before training; probability of the \
         order by chance {}",
        listed(&seen),
        number(end),
        listed(&start),
        number(probability),
    );
    let mut evidence = Map::new();
    evidence.insert("collapsed_over_time".to_string(), over_times(runs, COLLAPSED_VARIANCE)?);
    let mut marks = Vec::new();
    for mark in [1e-2, 1e-3, COLLAPSED_VARIANCE, 1e-6] {
        let counts = counts(runs, 1.0, mark)?;
        let by_depth: Vec<Value> = medians(&counts).iter().map(Median::to_json).collect();
        marks.push(
            json!({ "below": mark, "collapsed_by_depth": by_depth, "against": grows_with_depth(&counts) }),
        );
    }
    evidence.insert("collapsed_by_mark".to_string(), marks.into());
    for experiment in further {
        let runs = case.runs(experiment.name)?;
        summary = format!(
            "{summary}; {} where all depths start with the same end-to-end spectrum",
            listed(&counts(runs, 1.0, COLLAPSED_VARIANCE)?)
        );
        evidence.insert(experiment.name.to_string(), over_times(runs, COLLAPSED_VARIANCE)?);
    }
    if let Some(problem) = &against {
        summary = format!("{summary}; {problem}");
    }
    Ok(Finding {
        verdict: if against.is_some() { Verdict::Refuted } else { Verdict::Consistent },
        summary,
        evidence,
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "depths in reverse order: {}; one layer under the names of all depths: {}",
                rejected[0].as_deref().unwrap_or("accepted"),
                rejected[1].as_deref().unwrap_or("accepted"),
            ),
            rejected.iter().all(Option::is_some),
        ),
        counterexample: against.and_then(|_| runs.last().map(|run| Counterexample::Plan(run.to_toml()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figure_11_check_rejects_reversed_depths_equal_depths_and_a_collapse_of_one_layer() {
        assert_eq!(grows_with_depth(&vec![vec![0, 3, 3, 9], vec![0, 1, 2, 3]]), None);
        for wrong in [vec![9, 3, 3, 0], vec![0, 0, 0, 0], vec![1, 3, 4, 9], vec![0, 4, 3, 9]] {
            assert!(grows_with_depth(&vec![vec![0, 3, 3, 9], wrong]).is_some());
        }
    }

    #[test]
    fn an_order_by_chance_has_the_probability_of_its_permutations() {
        assert_eq!(probability_of_order(&vec![vec![0, 1, 2, 3]]), 1.0 / 24.0);
        assert_eq!(probability_of_order(&vec![vec![0, 1, 1, 3], vec![0, 1, 2, 3]]), 2.0 / 24.0 / 24.0);
        assert_eq!(probability_of_order(&vec![vec![2, 2]]), 1.0);
    }
}
