//! The direction of the bias under the dot product.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Finding};
use super::modes::ModeRun;
use super::statistics::{Median, number};
use super::trial::{Said, Trial};
use super::{Claim, Evidence};
use crate::augment::Sides;
use crate::loss::Loss;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const CLAIM: Claim = Claim {
    id: "bias-collapse",
    source: "derived here: paper_notes.md, The bias",
    statement: "Dot product, one layer with a bias b, two-sided noise, small W, SGD: the direction b of W shrinks if and only if |b|² exceeds a threshold. Under SGD the loss is a transient.",
    formula: "d log|Wᵀb|/dt = 2σ/τ - |b|² (σ + k)/τ² at small W: lost if and only if |b|² > 2τσ/(σ + k)",
    evidence: Evidence::Trajectory,
    experiments: &[WEAK, STRONG, LONG],
    judge,
};

const WEAK: NeededExperiment = NeededExperiment {
    name: "bias",
    source: Source::File,
    quick: &[
        "repeats=6",
        "dynamics.steps=300",
        "observe.times.times=[0.1, 0.3]",
        "sweep.encoder.bias_norm=[0.2, 0.36, 0.42, 0.47, 0.5]",
    ],
    full: &["repeats=8", "dynamics.steps=1000", "observe.times.times=[0.1, 0.3, 1.0]"],
};

const STRONG: NeededExperiment = NeededExperiment {
    name: "bias_strong",
    source: Source::File,
    quick: &[
        "repeats=6",
        "dynamics.steps=300",
        "observe.times.times=[0.1, 0.3]",
        "sweep.encoder.bias_norm=[0.2, 0.25, 0.29, 0.34, 0.38]",
    ],
    full: &["repeats=8", "dynamics.steps=1000", "observe.times.times=[0.1, 0.3, 1.0]"],
};

/// Few coordinates and small batches, whose noise releases the direction soon.
const LONG: NeededExperiment = NeededExperiment {
    name: "bias_transient",
    source: Source::Text(
        r#"
title    = "The direction lost to the bias is released"
seed     = 20
repeats  = 4
data     = { kind = "gaussian", dim = 4, samples = 10000 }
augment  = { kind = "isotropic", variance = 1.0, sides = "two" }
encoder  = { kind = "linear", widths = [4, 4], bias = true, bias_norm = 0.36, init = { kind = "orthogonal", scale = 0.003 } }
loss     = { kind = "infonce-dot", temperature = 0.1 }
dynamics = { kind = "sgd", rate = 0.001, steps = 15000, batch = 16 }
observe  = { times = { kind = "list", times = [0.1, 1.0, 3.0, 10.0, 15.0] }, quantities = ["spectra", "bias"] }
"#,
    ),
    quick: &[],
    full: &["repeats=12"],
};

const SMALL: &str = "small W: at the first recorded time every m is at most a tenth of its limit τσ/(σ + k)²";
const RESOLVED: &str = "|b|² differs from the threshold by more than samples and the size of W resolve";
const DOT: &str = "dot product, one layer with a bias, two-sided noise, SGD";

/// Standard errors by which |b|² must differ from the threshold.
const ERRORS: f64 = 4.0;
/// Part of its limit that m may have reached at the first recorded time.
const SMALL_PART: f64 = 0.1;

/// A run's bias against the threshold, and what becomes of its direction.
struct Direction {
    /// |b|² at the start.
    square: f64,
    /// 2τσ/(σ + k).
    threshold: f64,
    /// Mean of d log|Wᵀb|/dt until the first recorded time.
    rate: f64,
    /// 2σ/τ - |b|² (σ + k)/τ².
    predicted: f64,
    /// How far samples let the two terms of the rate differ from their means, relatively.
    resolution: f64,
    /// The largest m over its limit τσ/(σ + k)² at the first recorded time.
    part: f64,
}

impl Direction {
    /// Nothing where the run is of another kind.
    ///
    /// Along b the rate is the mean of 2 x x'/τ - |b|² x²/τ² over the pairs of the steps, drawn from the samples. At the threshold
    /// both terms are 2σ/τ, and their difference, relative to that, has the variance ((σ + k)/σ)² - 1 a pair.
    fn of(run: &Run) -> Result<Option<Direction>, String> {
        let Some(mode) = ModeRun::of(run).filter(|mode| mode.sides == Sides::Two && mode.depth == 1) else {
            return Ok(None);
        };
        let (Loss::Dot(loss), Ok(along)) = (mode.loss(), run.column("sigma_along_bias")) else {
            return Ok(None);
        };
        let dynamics = run.plan.settings.table("dynamics");
        if dynamics.kind() != "sgd" || run.times().len() < 2 {
            return Ok(None);
        }
        let (tau, sigma, view) = (loss.temperature, mode.sigma, mode.sigma + mode.noise);
        let square = run.column("bias_norm")?[0].powi(2);
        let time = run.times()[1];
        let steps = run.row("step", 1)?[0];
        let samples = run.plan.settings.table("data").integer("samples") as f64;
        let pairs = 1.0 / (1.0 / samples + 1.0 / (steps * dynamics.integer("batch") as f64));
        let largest = run.row("sigma_end_to_end", 1)?[0];
        Ok(Some(Direction {
            square,
            threshold: 2.0 * tau * sigma / view,
            rate: (along[1] / along[0]).ln() / time,
            predicted: 2.0 * sigma / tau - square * view / (tau * tau),
            resolution: (((view / sigma).powi(2) - 1.0) / pairs).sqrt(),
            part: largest * largest / (tau * sigma / (view * view)),
        }))
    }
}

/// Whether the direction b shrinks exactly where |b|² exceeds `factor` times the threshold.
fn check(run: &Run, factor: f64) -> Result<Said, String> {
    let outside = |hypothesis, why: String| Ok(Said::Outside { hypothesis, why });
    let Some(found) = Direction::of(run)? else { return outside(DOT, "another kind of run".to_string()) };
    if found.part > SMALL_PART {
        return outside(SMALL, format!("m/m∞ = {}", number(found.part)));
    }
    let relative = found.square / found.threshold - 1.0;
    // The size of W lowers the rate by 2σ/τ times m/m∞, at the threshold as much as a larger |b|² would.
    if relative.abs() <= ERRORS * found.resolution + found.part {
        return outside(RESOLVED, format!("|b|² is {} of it", number(relative + 1.0)));
    }
    let lost = found.square > factor * found.threshold;
    Ok(if lost == (found.rate < 0.0) {
        Said::Agrees
    } else {
        Said::Contradicts(format!(
            "|b|² = {}, rate {}, where the direction should {}",
            number(found.square),
            number(found.rate),
            if lost { "shrink" } else { "grow" }
        ))
    })
}

/// |b|² at which the measured rate changes its sign, one a repeat, between the two values around it.
fn crossings(runs: &[Run]) -> Result<Vec<f64>, String> {
    let mut by_repeat: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for run in runs {
        if let Some(found) = Direction::of(run)? {
            by_repeat.entry(run.plan.seed.repeat).or_default().push((found.square, found.rate));
        }
    }
    let mut found = Vec::new();
    for points in by_repeat.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let pair = points.windows(2).find(|pair| pair[0].1 > 0.0 && pair[1].1 <= 0.0);
        found.extend(pair.map(|p| p[0].0 + (p[1].0 - p[0].0) * p[0].1 / (p[0].1 - p[1].1)));
    }
    Ok(found)
}

/// Whether a run has lost the direction at the recorded time of this index: |Wᵀb|/|b| is below a tenth of the largest singular
/// value.
fn is_lost(run: &Run, time: usize) -> Result<bool, String> {
    Ok(run.row("sigma_along_bias", time)?[0] < 0.1 * run.row("sigma_end_to_end", time)?[0])
}

fn judge(case: &Case) -> Result<Finding, String> {
    let sets = [case.runs(WEAK.name)?, case.runs(STRONG.name)?];
    let runs = || sets.iter().flat_map(|runs| runs.iter());
    let trial = Trial::of(runs(), &|run| check(run, 1.0))?;
    let half = Trial::of(runs(), &|run| check(run, 0.5))?;
    let none = Trial::of(runs(), &|run| check(run, f64::INFINITY))?;
    let control = Control::new(
        format!("the threshold τσ/(σ + k): {}; none at all: {}", half.words(), none.words()),
        half.rejects() && none.rejects(),
    );
    let mut evidence = Map::new();
    let mut edges = Vec::new();
    for (name, runs) in [WEAK.name, STRONG.name].into_iter().zip(sets) {
        let edge = Median::of(crossings(runs)?);
        let threshold = runs.iter().find_map(|run| Direction::of(run).ok().flatten()).map(|d| d.threshold);
        let threshold = threshold.ok_or_else(|| format!("{name} has no run with a bias"))?;
        edges.push(format!("{edge} ({} predicted)", number(threshold)));
        let mut rates = Vec::new();
        for run in runs {
            if let Some(d) = Direction::of(run)? {
                rates.push(json!({ "b_squared": d.square, "rate": d.rate, "predicted": d.predicted }));
            }
        }
        evidence.insert(
            name.to_string(),
            json!({ "edge": edge.to_json(), "threshold": threshold, "rates": Value::Array(rates) }),
        );
    }
    let long = case.runs(LONG.name)?;
    let times = long[0].times().len();
    let mut lost = Vec::new();
    for time in 1..times {
        let mut count = 0;
        for run in long {
            count += usize::from(is_lost(run, time)?);
        }
        lost.push((long[0].times()[time], count));
    }
    let most = lost.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let (end, left) = lost.last().copied().unwrap_or((0.0, most));
    let summary = format!(
        "{} runs agree: the rate changes sign at |b|² = {}; a transient under SGD: of {most} directions lost, {} are released by t = {}",
        trial.agreed(),
        edges.join(" and "),
        most - left,
        number(end)
    );
    let mut finding = trial.finding(summary, &[DOT, SMALL, RESOLVED], control);
    finding.evidence.append(&mut evidence);
    Ok(finding.with("lost_over_time", json!(lost)))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case, simulated};
    use super::super::verdict::Verdict;
    use super::*;

    fn small(wanted: &NeededExperiment) -> Vec<Run> {
        simulated(wanted, &["repeats=2", "dynamics.steps=100", "observe.times.times=[0.1]"])
    }

    #[test]
    fn the_direction_is_lost_above_the_threshold_and_above_no_other() {
        for wanted in [&WEAK, &STRONG] {
            let runs = small(wanted);
            let trial = Trial::of(&runs, &|run| check(run, 1.0)).unwrap();
            assert_eq!((trial.agreed(), trial.judged()), (10, 10), "{}", trial.words());
            for wrong in [0.5, 2.0, f64::INFINITY, 0.0] {
                assert!(Trial::of(&runs, &|run| check(run, wrong)).unwrap().rejects(), "{wrong}");
            }
            let threshold = Direction::of(&runs[0]).unwrap().unwrap().threshold;
            for crossing in crossings(&runs).unwrap() {
                assert!((crossing / threshold - 1.0).abs() < 0.1, "{crossing}");
            }
        }
    }

    #[test]
    fn large_weights_and_a_bias_at_the_threshold_are_not_judged() {
        let judged = |overrides: &[&str]| {
            let mut all = vec!["repeats=1", "dynamics.steps=100", "observe.times.times=[0.1]"];
            all.extend(overrides);
            Trial::of(&simulated(&STRONG, &all), &|run| check(run, 1.0)).unwrap().judged()
        };
        assert_eq!(judged(&["sweep.encoder.bias_norm=[0.29]"]), 1);
        assert_eq!(judged(&["sweep.encoder.bias_norm=[0.32]"]), 0);
        assert_eq!(judged(&["sweep.encoder.bias_norm=[0.29]", "encoder.init.scale=0.1"]), 0);
        assert_eq!(judged(&["sweep.encoder.bias_norm=[0.29]", "augment.sides=one"]), 0);
    }

    #[test]
    fn the_control_of_the_threshold_rejects() {
        let long = simulated(&LONG, &["repeats=1", "dynamics.steps=1000", "observe.times.times=[0.1, 1.0]"]);
        let finding =
            judge(&case(vec![(WEAK.name, small(&WEAK)), (STRONG.name, small(&STRONG)), (LONG.name, long)]))
                .unwrap();
        assert_eq!((finding.verdict, finding.control.rejected), (Verdict::Consistent, Some(true)));
    }
}
