//! Theorem 1: what a fixed X with negative eigenvalues does to one layer, and what is left of it when X moves with W.

use super::case::{Case, NeededExperiment, Run, Source};
use super::corollary_1;
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::statistics::{log_log_slope, number};
use super::vanishing::{fates, vanishing};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::encoder::Output;
use crate::experiment::Dynamics;
use crate::gradient::Objective;
use crate::matrix::{Matrix, singular_values, symmetric_eigen};
use crate::stream::full_batch;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// X as strong noise makes it at the start, held fixed: layers of every shape.
const FROZEN: NeededExperiment = NeededExperiment {
    name: "theorem_1_frozen",
    source: Source::Text(
        r#"
title    = "Theorem 1: X held at its value at the start, layers of every shape"
claims   = ["theorem-1", "theorem-1-corrected"]
seed     = 20
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 1024 }
augment  = { kind = "block", block = 2, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.2 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "frozen-x", method = "dop853", rtol = 1e-12, atol = 1e-18, time_end = 4.0 }
observe  = { times = { kind = "list", times = [0.5, 1.0, 2.0] }, quantities = ["spectra", "x", "theory"] }

[sweep.zip]
"data.dim"       = [2, 4, 4, 4, 4, 4]
"augment.block"  = [1, 2, 2, 2, 2, 2]
"encoder.widths" = [[2, 1], [4, 4], [4, 6], [4, 3], [4, 2], [4, 1]]
"#,
    ),
    quick: &[],
    full: &["repeats=12"],
};

/// An X with eigenvalues of both signs and a zero, given.
const PRESCRIBED: NeededExperiment = NeededExperiment {
    name: "theorem_1_prescribed",
    source: Source::Text(
        r#"
title    = "Theorem 1: X = diag(0.8, 0, -0.5, -1), layers of every shape"
claims   = ["theorem-1", "theorem-1-corrected"]
seed     = 20
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 2 }
augment  = { kind = "isotropic", variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "prescribed-x", eigenvalues = [0.8, 0.0, -0.5, -1.0], decay = 0.0, method = "dop853", rtol = 1e-12, atol = 1e-18, time_end = 8.0 }
observe  = { times = { kind = "list", times = [1.0, 2.0, 4.0] }, quantities = ["spectra", "x", "theory"] }
sweep    = { "encoder.widths" = [[4, 4], [4, 6], [4, 3], [4, 2], [4, 1]] }
"#,
    ),
    quick: &[],
    full: &["repeats=12"],
};

/// Fixed batches under strong noise, of which the clean coordinates tell all samples apart.
pub(super) const FADING: NeededExperiment = NeededExperiment {
    name: "theorem_1_fading",
    source: Source::Text(
        r#"
title    = "X fades on a separable batch: one layer and two"
claims   = ["theorem-1-corrected", "corollary-1"]
seed     = 20
repeats  = 3
data     = { kind = "gaussian", dim = 4, samples = 16 }
augment  = { kind = "block", block = 2, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-7, atol = 1e-10, time_end = 1000.0 }
observe  = { times = { kind = "list", times = [10.0, 31.6, 100.0, 316.0] }, quantities = ["loss", "spectra", "x", "separability"] }
sweep    = { "data.samples" = [16, 64], "encoder.widths" = [[4, 4], [4, 4, 4]] }
"#,
    ),
    quick: &["sweep.data.samples=[16, 32]"],
    full: &["repeats=6"],
};

pub(super) const AS_PRINTED: Claim = Claim {
    id: "theorem-1",
    source: "Theorem 1",
    statement: "With X fixed, and augmentation so strong that X has a negative eigenvalue, W (d_out x d) gets vanishing singular values.",
    formula: "W(t) = W(0) exp(X t),  λ_min(X) < 0  ⇒  some σ_k(W(t)) → 0",
    evidence: Evidence::Trajectory,
    experiments: &[FROZEN, PRESCRIBED],
    judge: printed,
};

pub(super) const CORRECTED: Claim = Claim {
    id: "theorem-1-corrected",
    source: "Theorem 1, with the shape of W and its start in the hypotheses",
    statement: "With X fixed, eigenvalues λ_1 ≥ … ≥ λ_d with eigenvectors U, r = min(d_out, d) and W(0) U_r of rank r (U_r the first r columns), log σ_k(t)/t → λ_k for k = 1 … r: of r singular values those vanish that have λ_k < 0, max(0, r - number of λ ≥ 0). For d_out ≥ d that is the number of negative eigenvalues; a wide layer that the others fill loses nothing.",
    formula: "σ_min(W(0) U_r) e^{λ_k t} ≤ σ_k(W(t)) ≤ σ_max(W(0)) e^{λ_k t}",
    evidence: Evidence::Trajectory,
    experiments: &[FROZEN, PRESCRIBED, FADING, corollary_1::POPULATION],
    judge: corrected,
};

/// A run under a given X.
struct Given<'a> {
    run: &'a Run,
    /// d_out and d.
    shape: (usize, usize),
    /// Eigenvalues of X, descending, those within rounding of 0 as 0.
    eigenvalues: Vec<f64>,
    /// σ_min(W(0) U_r) and σ_max(W(0)).
    bounds: (f64, f64),
    /// How many singular values vanish.
    vanishing: usize,
    /// Where X was seen to change first.
    moved: Option<String>,
}

impl<'a> Given<'a> {
    fn of(run: &'a Run) -> Result<Self, String> {
        let (start, x) = start(run)?;
        let eigen = symmetric_eigen(&x).map_err(|error| error.to_string())?;
        let (shape, d) = (start.shape(), start.ncols());
        let rank = shape.0.min(d);
        let leading = Matrix::from_fn(d, rank, |i, k| eigen.vectors[(i, d - 1 - k)]);
        let values = |matrix: &Matrix| singular_values(matrix).map_err(|error| error.to_string());
        let bounds = (values(&(&start * leading))?[rank - 1], values(&start)?[0]);
        let floor = run.row("floor_eig_x", 0)?[0];
        let clean = |value: &f64| if value.abs() <= floor { 0.0 } else { *value };
        let eigenvalues: Vec<f64> = eigen.values.iter().rev().map(clean).collect();
        let mut moved = None;
        for (time, t) in run.times().iter().enumerate() {
            let recorded = run.row("eig_x", time)?.iter().rev();
            let change = recorded.zip(&eigenvalues).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // What was drawn again and decomposed here may round differently from what was recorded.
            if change > 100.0 * floor && moved.is_none() {
                moved = Some(format!("{}, t = {t}: {change:e}", run.plan.directory_name()));
            }
        }
        Ok(Given { run, shape, eigenvalues, bounds, vanishing: vanishing(run, "end_to_end")?, moved })
    }

    fn rank(&self) -> usize {
        self.shape.0.min(self.shape.1)
    }

    fn negative(&self) -> usize {
        self.eigenvalues.iter().filter(|value| **value < 0.0).count()
    }

    fn is_wide(&self) -> bool {
        self.shape.0 < self.shape.1
    }

    fn describe(&self) -> String {
        let (rows, columns) = self.shape;
        format!("{rows} x {columns}, {} eigenvalues of {columns} negative", self.negative())
    }

    /// The worst of (σ_k outside its bounds) over what the numerical floor admits, at all times; above 1 a bound fails. `of`
    /// is the eigenvalue that belongs to singular value k.
    fn excess(&self, of: &dyn Fn(usize) -> f64) -> Result<f64, String> {
        let mut worst = 0.0f64;
        for (time, t) in self.run.times().iter().enumerate() {
            let floor = self.run.row("floor_end_to_end", time)?[0];
            for (k, sigma) in self.run.row("sigma_end_to_end", time)?.iter().enumerate() {
                let growth = (of(k) * t).exp();
                let (low, high) = (self.bounds.0 * growth, self.bounds.1 * growth);
                let allowed = floor + 100.0 * f64::EPSILON * high;
                worst = worst.max((low - sigma).max(sigma - high) / allowed);
            }
        }
        Ok(worst)
    }
}

/// W(0) and X of a run under a given X.
fn start(run: &Run) -> Result<(Matrix, Matrix), String> {
    let prepared = run.plan.prepare().map_err(|problem| problem.to_string())?;
    let w = prepared.network.end_to_end(&prepared.parameters, Output::Embedding);
    if let Dynamics::PrescribedX { eigenvalues, .. } = run.plan.dynamics() {
        return Ok((w, Matrix::from_diagonal(&nalgebra::DVector::from_vec(eigenvalues))));
    }
    let (data, augmentation) = prepared.source.samples().ok_or("a given X belongs to a batch")?;
    let views = full_batch(data, augmentation, run.plan.seed);
    let (loss, reduction) = run.plan.loss();
    let mut objective = Objective::new(prepared.network.clone(), loss, reduction);
    let (x, _) = objective.x_matrix(&prepared.parameters, &views);
    Ok((w, x))
}

/// How many singular values vanish, by some statement.
type Law<'a> = &'a dyn Fn(&Given<'_>) -> RangeInclusive<usize>;

fn at_least_one(_: &Given<'_>) -> RangeInclusive<usize> {
    1..=usize::MAX
}

fn beyond_the_others(given: &Given<'_>) -> RangeInclusive<usize> {
    let count = given.rank().saturating_sub(given.shape.1 - given.negative());
    count..=count
}

fn as_many_as_fit(given: &Given<'_>) -> RangeInclusive<usize> {
    let count = given.negative().min(given.rank());
    count..=count
}

/// The runs in which another number vanishes than `law` says.
fn contradictions<'a, 'b>(runs: &'b [Given<'a>], law: Law<'_>) -> Vec<&'b Given<'a>> {
    runs.iter().filter(|given| !law(given).contains(&given.vanishing)).collect()
}

fn given(case: &Case) -> Result<Vec<Given<'_>>, String> {
    let runs = case.runs(FROZEN.name)?.iter().chain(case.runs(PRESCRIBED.name)?);
    runs.map(Given::of).collect()
}

fn hypotheses(runs: &[Given<'_>], of_start: bool) -> Vec<Hypothesis> {
    let mut all = vec![
        Hypothesis::unless("X fixed", runs.iter().find_map(|given| given.moved.clone())),
        Hypothesis::unless(
            "X has a negative eigenvalue, beyond its floor",
            runs.iter().find(|given| given.negative() == 0).map(Given::describe),
        ),
    ];
    if of_start {
        let singular = runs.iter().find(|given| given.bounds.0 <= 100.0 * f64::EPSILON * given.bounds.1);
        all.push(Hypothesis::unless("W(0) U_r has rank r", singular.map(Given::describe)));
    }
    all
}

/// Shape by shape: how many eigenvalues are negative, and how many singular values vanish.
fn counts(runs: &[Given<'_>]) -> Value {
    let mut table: Map<String, Value> = Map::new();
    for given in runs {
        let row = table.entry(given.describe()).or_insert_with(|| json!([]));
        if let Some(row) = row.as_array_mut() {
            row.push(json!(given.vanishing));
        }
    }
    json!(table)
}

fn printed(case: &Case) -> Result<Finding, String> {
    let runs = given(case)?;
    let against = contradictions(&runs, &at_least_one);
    let (right, wrong) = (contradictions(&runs, &beyond_the_others), contradictions(&runs, &as_many_as_fit));
    let filled: Vec<_> = runs.iter().filter(|given| !given.is_wide()).collect();
    let exact = filled.iter().filter(|given| given.vanishing == given.negative()).count();
    let verdict = if against.is_empty() { Verdict::Holds } else { Verdict::Refuted };
    let wide = runs.len() - filled.len();
    let summary = format!(
        "wide layers (d_out < d) refute it: nothing vanishes in {} of {wide} runs; for square and tall ones, the toy experiment's case, it is right: as many vanish as X has negative eigenvalues in {exact} of {} runs",
        against.len(),
        filled.len(),
    );
    let first = |found: &[&Given<'_>]| found.first().map_or_else(String::new, |given| given.describe());
    let control = Control::new(
        format!(
            "corrected count max(0, min(d_out, d) - number of λ ≥ 0): right in {} of {} runs; wrong count min(number of λ < 0, d_out): fails in {} ({})",
            runs.len() - right.len(),
            runs.len(),
            wrong.len(),
            first(&wrong),
        ),
        right.is_empty() && !wrong.is_empty(),
    );
    let smallest = against.iter().min_by_key(|given| given.shape.0 * given.shape.1);
    let counterexample = smallest.map(|given| Counterexample::Plan(given.run.to_toml()));
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: hypotheses(&runs, false),
        control,
        counterexample,
    }
    .with("vanishing singular values of each run", counts(&runs))
    .with(
        "smallest counterexample by hand",
        "W(0) = (1 1), X = diag(1, -1): σ(t) = (e^{2t} + e^{-2t})^{1/2} grows",
    ))
}

fn corrected(case: &Case) -> Result<Finding, String> {
    let runs = given(case)?;
    let counted = contradictions(&runs, &beyond_the_others);
    let mut excess = 0.0f64;
    let mut outside = None;
    let mut shifted = 0;
    for given in &runs {
        let of = |k: usize| given.eigenvalues[k];
        let found = given.excess(&of)?;
        if found > 1.0 {
            outside = outside.or(Some(given));
        }
        excess = excess.max(found);
        let last = given.shape.1 - given.rank();
        let smallest = |k: usize| given.eigenvalues[last + k];
        if given.excess(&smallest)? > 1.0 {
            shifted += 1;
        }
    }
    let holds = counted.is_empty() && outside.is_none();
    let wide = runs.iter().filter(|given| given.is_wide()).count();
    let (error, slope) = trend(&runs)?;
    let summary = format!(
        "every σ_k lies between its bounds, and the predicted number vanishes, in {} of {} runs; |log σ_k/t - λ_k| is at most {} at the end and falls as t^{}",
        runs.len() - counted.len(),
        runs.len(),
        number(error),
        number(slope),
    );
    let control = Control::new(
        format!(
            "the bounds with the r smallest eigenvalues of X instead of the r largest: broken in {shifted} of {wide} runs of wide layers"
        ),
        shifted > 0,
    );
    let failed = outside.or(counted.first().copied());
    Ok(Finding {
        verdict: if holds { Verdict::Holds } else { Verdict::Refuted },
        summary,
        evidence: Map::new(),
        hypotheses: hypotheses(&runs, true),
        control,
        counterexample: failed.map(|given| Counterexample::Plan(given.run.to_toml())),
    }
    .with("vanishing singular values of each run", counts(&runs))
    .with("largest excess over a bound, in numerical floors", excess)
    .with("largest difference from W(0) exp(X t), in numerical floors", closed_form(&runs)?)
    .with("X moves with W: infinitely many samples", corollary_1::moving(case)?)
    .with("X moves with W: fixed batches", fading(case)?))
}

/// max over k and runs of |log σ_k/t - λ_k| at the end, and the slope of its logarithm over log t.
fn trend(runs: &[Given<'_>]) -> Result<(f64, f64), String> {
    let mut slopes = Vec::new();
    let mut last = 0.0f64;
    for prescribed in [false, true] {
        let of_kind = |given: &&Given<'_>| {
            matches!(given.run.plan.dynamics(), Dynamics::PrescribedX { .. }) == prescribed
        };
        let group: Vec<_> = runs.iter().filter(of_kind).collect();
        let Some(first) = group.first() else { continue };
        let mut points = Vec::new();
        for (time, &t) in first.run.times().iter().enumerate().skip(1) {
            let mut worst = 0.0f64;
            for given in &group {
                let row = given.run.row("sigma_end_to_end", time)?;
                for (sigma, value) in row.iter().zip(&given.eigenvalues) {
                    worst = worst.max((sigma.ln() / t - value).abs());
                }
            }
            points.push((t, worst));
        }
        last = last.max(points.last().map_or(0.0, |point| point.1));
        slopes.push(log_log_slope(&points).0);
    }
    Ok((last, slopes.into_iter().fold(f64::NEG_INFINITY, f64::max)))
}

/// The largest difference between the integrated spectrum and that of W(0) exp(X t), over its numerical floor.
fn closed_form(runs: &[Given<'_>]) -> Result<f64, String> {
    let mut worst = 0.0f64;
    for given in runs {
        for time in 1..given.run.times().len() {
            let floor = given.run.row("floor_end_to_end", time)?[0];
            let exact = given.run.row("theory_end_to_end", time)?;
            for (sigma, exact) in given.run.row("sigma_end_to_end", time)?.iter().zip(exact) {
                worst = worst.max((sigma - exact).abs() / floor);
            }
        }
    }
    Ok(worst)
}

/// On a separable batch the loss and with it X fade: what the smallest singular value does then, with one layer and two.
pub(super) fn fading(case: &Case) -> Result<Value, String> {
    let row = |run: &Run| -> Result<Value, String> {
        let smallest = fates(run, "end_to_end")?;
        let most_negative: Vec<f64> = (0..run.times().len())
            .map(|time| Ok(run.row("eig_x", time)?[0]))
            .collect::<Result<_, String>>()?;
        let of = |time: usize| Ok::<_, String>(run.row("sigma_end_to_end", time)?.last().copied());
        let sigma: Vec<_> = (0..run.times().len()).map(of).collect::<Result<_, _>>()?;
        Ok(json!({
            "layers": run.plan.settings.table("encoder").integers("widths").len() - 1,
            "samples": run.plan.settings.table("data").integer("samples"),
            "separable": run.row("separable", 0)?[0] == 1.0,
            "times": run.times(),
            "smallest eigenvalue of X": most_negative,
            "smallest singular value": sigma,
            "its floor at the end": run.last("floor_end_to_end")?[0],
            "exponent of its square at the end": smallest.last().map(|fate| fate.exponent),
            "vanishing": vanishing(run, "end_to_end")?,
        }))
    };
    case.runs(FADING.name)?.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::runs;
    use super::*;

    #[test]
    fn wide_layers_refute_the_theorem_and_square_and_tall_ones_do_not() {
        let both = [FROZEN, PRESCRIBED].iter().flat_map(|wanted| runs(wanted, &["repeats=1"]));
        let runs: Vec<Run> = both.collect();
        let given: Vec<Given<'_>> = runs.iter().map(|run| Given::of(run).unwrap()).collect();
        let against = contradictions(&given, &at_least_one);
        assert!(!against.is_empty() && against.iter().all(|given| given.is_wide()));
        assert!(contradictions(&given, &beyond_the_others).is_empty());
        assert!(!contradictions(&given, &as_many_as_fit).is_empty());
    }

    #[test]
    fn the_bounds_hold_and_those_of_other_eigenvalues_are_rejected() {
        for run in &runs(&PRESCRIBED, &["repeats=1"]) {
            let given = Given::of(run).unwrap();
            assert!(given.excess(&|k| given.eigenvalues[k]).unwrap() <= 1.0);
            assert!(given.excess(&|k| given.eigenvalues[k] - 0.9).unwrap() > 1.0);
        }
    }
}
