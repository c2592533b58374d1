//! Eq. 10: what the flow of two layers conserves.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding};
use super::identity::{Against, Checked, Discrepancy, Formula, judge, required};
use super::instances::{Batch, batches};
use super::statistics::{Median, log_log_slope, number};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::experiment::Dynamics;
use crate::matrix::Matrix;
use crate::observe::imbalance;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PRINTED: &str = "d/dt (W1 W1ᵀ - W2ᵀ W2) = 0";
const WRONG: &str = "d/dt (W1 W1ᵀ + W2ᵀ W2) = 0";

const FLOW_AND_DESCENT: NeededExperiment = NeededExperiment {
    name: "imbalance_under_flow_and_descent",
    source: Source::Text(
        r#"
title    = "Imbalance of two layers under flow and under descent at finite rates"
seed     = 20
repeats  = 3
data     = { kind = "gaussian", dim = 4, samples = 64 }
augment  = { kind = "isotropic", variance = 0.3, sides = "one" }
encoder  = { kind = "linear", widths = [4, 5, 3], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 40 }
observe  = { times = { kind = "linear", count = 20 }, quantities = ["spectra", "imbalance"] }

[sweep]
"dynamics" = [
    { kind = "flow", method = "tsit5", rtol = 1e-10, atol = 1e-12, time_end = 4.0, max_steps = 20000 },
    { kind = "flow", method = "dop853", rtol = 1e-8, atol = 1e-10, time_end = 4.0, max_steps = 20000 },
    { kind = "gd", rate = 0.1, steps = 40 },
    { kind = "gd", rate = 0.05, steps = 80 },
    { kind = "gd", rate = 0.025, steps = 160 },
    { kind = "gd", rate = 0.0125, steps = 320 },
    { kind = "sgd", rate = 0.1, steps = 40, batch = 16 },
    { kind = "sgd", rate = 0.0125, steps = 320, batch = 16 },
]
"#,
    ),
    quick: &[],
    full: &["repeats=8"],
};

pub(super) const CLAIM: Claim = Claim {
    id: "eq-10",
    source: "Eq. 10 and Appendix B.5",
    statement: "The flow of two layers conserves W1 W1ᵀ - W2ᵀ W2.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[FLOW_AND_DESCENT],
    judge: judge_all,
};

fn judge_all(case: &Case) -> Result<Finding, String> {
    let batches = batches(case.level, 2);
    let engine = required(&batches, &Formula::new("the engine's imbalance is W1 W1ᵀ - W2ᵀ W2", &engine))?;
    let finding = judge(
        &batches,
        &Formula::new(PRINTED, &|batch| check(batch, -1.0)),
        &Against::Wrong(Formula::new(WRONG, &|batch| check(batch, 1.0))),
        None,
    )?;
    along_runs(finding.with("engine", engine), case.runs(FLOW_AND_DESCENT.name)?)
}

/// The derivative of W1 W1ᵀ + sign · W2ᵀ W2 along the flow, with velocities by dual numbers, against 0.
pub fn check(batch: &Batch, sign: f64) -> Checked {
    let [w1, w2] = &batch.layers[..] else { return Ok(None) };
    let velocities = batch.velocities();
    let (first, second) = (&velocities[0] * w1.transpose(), velocities[1].transpose() * w2);
    let rate = &first + first.transpose() + sign * (&second + second.transpose());
    let rounding = batch.rounding_of_layers();
    let rows = w1.abs().column_sum().amax();
    let columns = w2.abs().row_sum().amax();
    let allowed = 2.0 * (rounding[0] * rows + rounding[1] * columns);
    Ok(Some(Discrepancy::between(&rate, &Matrix::zeros(rate.nrows(), rate.ncols()), allowed)))
}

/// The engine's imbalance against sums over entries.
pub fn engine(batch: &Batch) -> Checked {
    let [w1, w2] = &batch.layers[..] else { return Ok(None) };
    let entry = |i: usize, j: usize| {
        let inner: f64 = (0..w1.ncols()).map(|k| w1[(i, k)] * w1[(j, k)]).sum();
        let outer: f64 = (0..w2.nrows()).map(|k| w2[(k, i)] * w2[(k, j)]).sum();
        inner - outer
    };
    let expected = Matrix::from_fn(w1.nrows(), w1.nrows(), entry);
    // A sum of n products rounds by n ε of the sum of their sizes, in either order.
    let allowed =
        2.0 * f64::EPSILON * (w1.norm_squared() + w2.norm_squared()) * (w1.ncols() + w2.nrows()) as f64;
    Ok(Some(Discrepancy::between(&imbalance(w1, w2), &expected, allowed)))
}

/// Adds what runs show: flow conserves the imbalance as well as its tolerance allows, and descent at a finite rate, which
/// the same check must reject, does not.
fn along_runs(mut finding: Finding, runs: &[Run]) -> Result<Finding, String> {
    let (mut flow, mut descent) = (Vec::new(), Vec::new());
    let mut counterexample = None;
    // In nanounits of the rate, which orders them.
    let mut by_rate: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let mut by_dynamics: BTreeMap<&str, Vec<Discrepancy>> = BTreeMap::new();
    for run in runs {
        let drift = drift(run)?;
        by_dynamics.entry(run.swept("dynamics").unwrap_or_default()).or_default().push(drift);
        match run.plan.dynamics() {
            Dynamics::Flow(_) => {
                if drift.ratio() > 1.0 {
                    counterexample = counterexample.or(Some(run.to_toml()));
                }
                flow.push(drift.ratio());
            }
            dynamics => {
                if let Dynamics::Gd { rate, .. } = dynamics {
                    by_rate.entry((rate * 1e9).round() as u64).or_default().push(drift.error);
                }
                descent.push(drift.ratio());
            }
        }
    }
    let (flow, descent) = (Median::of(flow), Median::of(descent));
    if flow.seeds == 0 || descent.seeds == 0 {
        return Err(format!("{} runs of the flow, {} of descent", flow.seeds, descent.seeds));
    }
    let medians: Vec<(f64, f64)> =
        by_rate.into_iter().map(|(rate, drifts)| (rate as f64, Median::of(drifts).median)).collect();
    let (slope, error) = log_log_slope(&medians);
    let drifts: Map<String, Value> = by_dynamics
        .into_iter()
        .map(|(dynamics, drifts)| {
            let drift = Median::of(drifts.iter().map(|drift| drift.error));
            let allowed = Median::of(drifts.iter().map(|drift| drift.allowed));
            let shown = json!({ "drift": drift.to_string(), "allowed": allowed.to_string() });
            (dynamics.to_string(), shown)
        })
        .collect();
    finding.summary = format!(
        "{}; drift along {} flows at most {} of what their tolerances allow",
        finding.summary,
        flow.seeds,
        number(flow.high)
    );
    let what = format!(
        "{}; {} runs of gd and sgd drift by {} times that and more, in proportion to the rate (exponent {} ± {})",
        finding.control.what,
        descent.seeds,
        number(descent.low),
        number(slope),
        number(error)
    );
    let rejected = finding.control.rejected == Some(true) && descent.low > 1.0;
    finding.control = Control::new(what, rejected);
    if let Some(plan) = counterexample {
        finding.verdict = Verdict::Refuted;
        finding.counterexample = Some(Counterexample::Plan(plan));
    }
    Ok(finding.with("drift_along_runs", drifts))
}

/// Tolerances that descent is held to, which has none: the tighter ones of the flows beside it.
const DESCENT: (f64, f64) = (1e-10, 1e-12);

/// The largest change of the imbalance over a run, against what tolerances allow.
///
/// The exact flow conserves it from wherever a step ends, so that errors of steps add up and are not amplified. A step errs
/// by at most √n (atol + rtol |θ|) in the root mean square norm over the n parameters θ, and changes a quadratic form with
/// coefficients ±1 by at most 2 |θ| times that.
fn drift(run: &Run) -> Result<Discrepancy, String> {
    let start = run.row("imbalance_1_2", 0)?;
    let (mut error, mut size) = (0.0f64, 0.0f64);
    let mut parameters = 0;
    for time in 0..run.times().len() {
        let now = run.row("imbalance_1_2", time)?;
        let change = now.iter().zip(start).map(|(now, start)| (now - start).powi(2)).sum::<f64>().sqrt();
        error = if change.is_nan() { f64::INFINITY } else { error.max(change) };
        let squares = |array: &str| Ok::<f64, String>(run.row(array, time)?.iter().map(|s| s * s).sum());
        size = size.max((squares("sigma_w1")? + squares("sigma_w2")?).sqrt());
    }
    for layer in run.layers()? {
        parameters += layer.len();
    }
    let steps = run.last("step")?[0];
    let (rtol, atol) = match run.plan.dynamics() {
        Dynamics::Flow(flow) => (flow.rtol, flow.atol),
        _ => DESCENT,
    };
    let step = (parameters as f64).sqrt() * (atol + (rtol + f64::EPSILON) * size);
    Ok(Discrepancy { error, allowed: steps * 2.0 * size * step })
}
