//! How long small modes of deep networks stay collapsed.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Finding};
use super::identity::largest;
use super::modes::ModeRun;
use super::statistics::number;
use super::trial::{Said, Trial};
use super::{Claim, Evidence};
use crate::augment::Sides;
use crate::observe::imbalance;
use crate::theory::{Rate, lifetime};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const CLAIM: Claim = Claim {
    id: "lifetime-law",
    source: "derived here: paper_notes.md, Lifetimes",
    statement: "Infinitely many samples, L ≥ 2 balanced layers aligned with data and noise, χ(0) > 0: as s0 → 0 a mode that starts at s0 takes a time T_L until half of its limit; one layer takes ln(1/s0)/χ(0) + O(1).",
    formula: "T_L / [s0^(-2(L-1)/L) / (2 (L-1) χ(0))] → 1 as s0 → 0",
    evidence: Evidence::Limit,
    experiments: &[LIFETIMES, IMBALANCED],
    judge,
};

const LIFETIMES: NeededExperiment = NeededExperiment {
    name: "lifetime",
    source: Source::File,
    quick: &[
        "repeats=1",
        r#"sweep.dynamics=[{ kind = "population", method = "rodas5p", rtol = 1e-8, atol = 1e-12, time_end = 30000.0 }]"#,
        "sweep.encoder.widths=[[4, 4], [4, 4, 4], [4, 4, 4, 4], [4, 4, 4, 4, 4]]",
        "sweep.encoder.init.scale=[0.001, 0.03, 0.3]",
    ],
    full: &["repeats=1"],
};

/// Two layers of a wide hidden space: nearly orthogonal there, so that their product is far smaller than either, and than
/// their imbalance.
const IMBALANCED: NeededExperiment = NeededExperiment {
    name: "lifetime_imbalanced",
    source: Source::Text(
        r#"
title    = "Small modes of two layers that are not balanced"
seed     = 20
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 2 }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 32, 4], init = { kind = "gaussian", std = 0.03 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "tsit5", rtol = 1e-8, atol = 1e-12, time_end = 300.0 }
observe  = { times = { kind = "log", first = 0.02, count = 400 }, quantities = ["spectra", "theory", "lifetime"] }
"#,
    ),
    quick: &[],
    full: &[],
};

const IN_POPULATION: &str = "infinitely many samples, one variance of data and noise, χ(0) > 0";
const BALANCED: &str = "layers balanced: |W_l W_lᵀ - W_{l+1}ᵀ W_{l+1}| at most a hundredth of s0^(2/L)";
const SMALL: &str = "s0 at most a quarter of the limit";

/// Part of s0^(2/L), the square of the smallest layer value, that an imbalance may be: it changes a rate by as much.
const MOST_IMBALANCE: f64 = 0.01;
/// Part of the limit from which on a start is not small.
const SMALL_START: f64 = 0.25;
/// Part of the limit that counts as recovered in the records.
const RECOVERED: f64 = 0.5;

/// The smallest mode of a run, its measured lifetime and the law's.
struct Life {
    depth: usize,
    start: f64,
    /// Start over limit.
    part: f64,
    /// Nothing where the mode has not recovered by the end.
    measured: Option<f64>,
    law: f64,
    end: f64,
    /// How far the law may be from the time, relatively, below and above.
    allowed: (f64, f64),
    /// How far apart the recorded times around it are, relatively.
    resolution: f64,
}

impl Life {
    /// Of a run of one variance of data and noise, with the law of `deeper` layers more; nothing for other runs.
    ///
    /// T = ∫ ds/(L s^(3-2/L) χ(s²)) from s0 to the level l. With χ ≤ χ(0) it is at least the law times 1 - ρ, ρ = (s0/l)^(2-2/L).
    /// χ is convex, so that χ(0) - χ(m) ≤ 3σ² m and 1/χ(m) - 1/χ(0) ≤ 3σ² m/(χ(0) χ(l²)): it is at most the law times
    /// 1 + 3σ² (L-1) l²/χ(l²) ρ. What the recorded times resolve is added.
    fn of(run: &Run, deeper: usize) -> Result<Option<Life>, String> {
        let Some(mode) = ModeRun::of(run).filter(|mode| mode.samples().is_none()) else { return Ok(None) };
        let Some(rate) = Rate::of(&mode.loss(), mode.sigma, mode.noise, mode.sides) else { return Ok(None) };
        let (at_zero, limit) = (rate.at(0.0), rate.limit().sqrt());
        let Rate::Euclidean { first: view, .. } = rate else { return Ok(None) };
        let spread_of_noise = run.plan.settings.table("augment").kind() == "isotropic";
        if at_zero <= 0.0 || !limit.is_finite() || !spread_of_noise {
            return Ok(None);
        }
        let smallest = |array: &str| -> Result<f64, String> {
            run.row(array, 0)?.last().copied().ok_or_else(|| format!("{array} is empty"))
        };
        let (start, measured) = (smallest("sigma_end_to_end")?, smallest("lifetime")?);
        let measured = (!measured.is_nan()).then_some(measured);
        let resolution = if measured.is_some() { smallest("lifetime_resolution")? } else { 0.0 };
        let (depth, level) = (mode.depth, RECOVERED * limit);
        let layers = depth as f64;
        let (below, above) = if depth == 1 {
            // One layer: between ln(l/s0)/χ(0) and that plus 3σ² l²/(2 χ(0) χ(l²)), relative to ln(1/s0)/χ(0).
            let bend = 1.5 * view * view * level * level / rate.at(level * level);
            let unit = -start.ln();
            ((-level.ln() / unit).max(0.0), ((bend + level.ln()) / unit).max(0.0))
        } else {
            let part = (start / level).powf(2.0 - 2.0 / layers);
            let bend = 3.0 * view * view * (layers - 1.0) * level * level / rate.at(level * level);
            (part, bend * part)
        };
        Ok(Some(Life {
            depth,
            start,
            part: start / limit,
            measured,
            law: lifetime(depth + deeper, start, at_zero),
            end: run.times().last().copied().unwrap_or(0.0),
            allowed: (below + resolution, above + resolution),
            resolution,
        }))
    }

    fn ratio(&self) -> Option<f64> {
        self.measured.map(|time| time / self.law)
    }

    /// Whether the time is that of the law, as far as s0 > 0 lets it be. A mode that has not recovered by the end must be one
    /// that has until later.
    fn said(&self) -> Said {
        let (below, above) = self.allowed;
        let start = number(self.start);
        match self.ratio() {
            Some(ratio) if (1.0 - below..=1.0 + above).contains(&ratio) => Said::Agrees,
            Some(ratio) => Said::Contradicts(format!(
                "T/law = {} for s0 = {start} and L = {}, where {} to {} is allowed",
                number(ratio),
                self.depth,
                number(1.0 - below),
                number(1.0 + above)
            )),
            None if self.law * (1.0 + above) >= self.end => Said::Outside {
                hypothesis: "T reaches the law's time",
                why: format!("T = {}, law {}", self.end, number(self.law)),
            },
            None => Said::Contradicts(format!("not recovered by {}, law {}", self.end, number(self.law))),
        }
    }
}

/// The largest imbalance of adjacent layers at the end, which the flow conserves.
fn largest_imbalance(run: &Run) -> Result<f64, String> {
    let layers = run.layers()?;
    Ok(largest(layers.windows(2).map(|pair| imbalance(&pair[0], &pair[1]).amax())))
}

/// Whether the lifetime of a run's smallest mode is that of the law for `deeper` more layers; `broken` lets layers be imbalanced.
fn check(run: &Run, deeper: usize, broken: bool) -> Result<Said, String> {
    let outside = |hypothesis, why: String| Ok(Said::Outside { hypothesis, why });
    let Some(life) = Life::of(run, deeper)? else {
        return outside(IN_POPULATION, "fresh batches, or nothing to recover to".to_string());
    };
    if life.part > SMALL_START {
        return outside(SMALL, format!("s0 is {} of it", number(life.part)));
    }
    let found = largest_imbalance(run)?;
    let allowed = MOST_IMBALANCE * life.start.powf(2.0 / life.depth as f64);
    if found > allowed && !broken {
        return outside(BALANCED, format!("{} against {}", number(found), number(allowed)));
    }
    Ok(life.said())
}

fn judge(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(LIFETIMES.name)?;
    let trial = Trial::of(runs, &|run| check(run, 0, false))?;
    let is_deep = |run: &&Run| ModeRun::of(run).is_some_and(|mode| mode.depth > 1);
    let deeper = Trial::of(runs.iter().filter(is_deep), &|run| check(run, 1, false))?;
    let imbalanced = Trial::of(case.runs(IMBALANCED.name)?, &|run| check(run, 0, true))?;
    let control = Control::new(
        format!(
            "the law of L + 1 layers: {}; two layers far from balanced: {}",
            deeper.words(),
            imbalanced.words()
        ),
        deeper.rejects() && imbalanced.rejects_all(),
    );
    // s0 descending, |T/law - 1| and its resolution, by depth: what tends to 0.
    let mut errors: BTreeMap<usize, Vec<(f64, f64, f64)>> = BTreeMap::new();
    let mut sampled: Vec<f64> = Vec::new();
    for run in runs {
        if let Some(life) = Life::of(run, 0)? {
            if let Some(ratio) = life.ratio().filter(|_| life.part <= SMALL_START) {
                let point = (life.start, (ratio - 1.0).abs(), life.resolution);
                errors.entry(life.depth).or_default().push(point);
            }
        } else if let (Some(mode), Ok(measured), Ok(law)) =
            (ModeRun::of(run), run.row("lifetime", 0), run.row("theory_lifetime", 0))
        {
            let ratio = measured[measured.len() - 1] / law[law.len() - 1];
            if mode.sides == Sides::One && mode.depth > 1 && ratio.is_finite() {
                sampled.push(ratio);
            }
        }
    }
    for points in errors.values_mut() {
        points.sort_by(|a, b| b.0.total_cmp(&a.0));
        points.dedup_by(|a, b| (a.0 / b.0 - 1.0).abs() < 1e-9);
    }
    let deep = || errors.iter().filter(|(depth, points)| **depth > 1 && points.len() > 1);
    // Below what the recorded times resolve an error is none.
    let resolved = |(_, error, resolution): (f64, f64, f64)| (error - resolution).max(0.0);
    let ends = |points: &[(f64, f64, f64)]| (resolved(points[0]), resolved(points[points.len() - 1]));
    let falls = deep().all(|(_, points)| ends(points).1 <= ends(points).0)
        && deep().any(|(_, points)| ends(points).1 < ends(points).0);
    let trend: Vec<String> = deep()
        .map(|(depth, points)| {
            let words = |(s0, error, resolution): (f64, f64, f64)| {
                let error = if error <= resolution { "none".to_string() } else { number(error) };
                format!("{error} at s0 = {}", number(s0))
            };
            format!("L = {depth}: {}, {}", words(points[0]), words(points[points.len() - 1]))
        })
        .collect();
    let finest = deep().flat_map(|(_, points)| points).map(|point| point.2).fold(0.0f64, f64::max);
    let summary = format!(
        "{} runs agree; |T/law - 1| beyond what times resolve (at most {}): {}",
        trial.agreed(),
        number(finest),
        trend.join("; ")
    );
    let errors: Vec<Value> = errors
        .iter()
        .flat_map(|(depth, points)| {
            points.iter().map(move |(s0, error, resolution)| {
                json!({ "layers": depth, "s0": s0, "error": error, "resolution": resolution })
            })
        })
        .collect();
    let mut finding =
        trial.finding(summary, &[IN_POPULATION, BALANCED, SMALL], control).with("errors", errors);
    if !sampled.is_empty() {
        sampled.sort_by(f64::total_cmp);
        let range = [sampled[0], sampled[sampled.len() - 1]];
        finding = finding.with("fresh_batches_over_population", range.to_vec());
    }
    Ok(if falls { finding } else { finding.undecided("|T/law - 1| does not fall with s0") })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case, simulated};
    use super::super::verdict::Verdict;
    use super::*;

    const FEW: &[&str] =
        &["sweep.encoder.widths=[[4, 4], [4, 4, 4], [4, 4, 4, 4]]", "sweep.encoder.init.scale=[0.003, 0.3]"];

    #[test]
    fn the_time_follows_the_law_of_its_own_depth_and_no_other() {
        let runs = simulated(&LIFETIMES, FEW);
        let trial = Trial::of(&runs, &|run| check(run, 0, false)).unwrap();
        assert_eq!((trial.agreed(), trial.judged()), (6, 6), "{}", trial.words());
        let deep_and_small = |run: &&Run| {
            let life = Life::of(run, 0).unwrap().unwrap();
            life.depth > 1 && life.start < 0.01
        };
        for deeper in [1, 2] {
            let trial =
                Trial::of(runs.iter().filter(deep_and_small), &|run| check(run, deeper, false)).unwrap();
            assert!(trial.rejects_all(), "{deeper}: {}", trial.words());
        }
    }

    #[test]
    fn layers_that_are_not_balanced_lie_outside_and_do_not_follow_the_law() {
        let runs = simulated(&IMBALANCED, &[]);
        assert_eq!(Trial::of(&runs, &|run| check(run, 0, false)).unwrap().judged(), 0);
        assert!(Trial::of(&runs, &|run| check(run, 0, true)).unwrap().rejects_all());
        let finding =
            judge(&case(vec![(IMBALANCED.name, runs), (LIFETIMES.name, simulated(&LIFETIMES, FEW))]))
                .unwrap();
        assert_eq!(
            (finding.verdict, finding.control.rejected),
            (Verdict::Consistent, Some(true)),
            "{}",
            finding.summary
        );
    }

    #[test]
    fn a_mode_that_has_not_recovered_is_judged_only_where_its_life_was_to_end() {
        let life = |law: f64| Life {
            depth: 2,
            start: 1e-3,
            part: 1e-3,
            measured: None,
            law,
            end: 100.0,
            allowed: (0.01, 0.01),
            resolution: 0.01,
        };
        assert!(matches!(life(200.0).said(), Said::Outside { .. }));
        assert!(matches!(life(50.0).said(), Said::Contradicts(_)));
    }
}
