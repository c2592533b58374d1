//! Corollary 2: collapse of small modes by depth under weak augmentation, and how long it lasts.
//!
//! Two different mechanisms decide. Small modes wait for a time that explodes with depth, and on a batch that the larger modes
//! separate they wait for ever, because X fades: that freezes them. An imbalance of the layers, or noise that is drawn
//! afresh, releases them.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::statistics::{Median, number};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::augment::Sides;
use crate::theory::{Rate, imbalanced_lifetime, lifetime};
use serde_json::{Map, Value, json};

/// Infinitely many samples: balanced layers, spectra that start over two decades, starts over three.
const POPULATION: NeededExperiment = NeededExperiment {
    name: "corollary_2_population",
    source: Source::Text(
        r#"
title    = "Corollary 2: infinitely many samples, weak augmentation, one to four layers"
claims   = ["corollary-2", "corollary-2-corrected"]
seed     = 20
repeats  = 1
data     = { kind = "gaussian", dim = 4, samples = 1000 }
augment  = { kind = "isotropic", variance = 0.1, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "balanced", scale = 0.5, decay = 2.5, of = "product" } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "rodas5p", rtol = 1e-8, atol = 1e-12, time_end = 1e7 }
observe  = { times = { kind = "log", first = 0.1, count = 800 }, quantities = ["spectra", "theory", "lifetime"] }

[sweep]
"encoder.widths"     = [[4, 4], [4, 4, 4], [4, 4, 4, 4], [4, 4, 4, 4, 4]]
"encoder.init.scale" = [0.5, 0.1, 0.02]
"#,
    ),
    quick: &[],
    full: &["repeats=4", "observe.times.count=3000"],
};

/// Fixed batches of growing size.
const BATCHES: NeededExperiment = NeededExperiment {
    name: "corollary_2_batches",
    source: Source::Text(
        r#"
title    = "Corollary 2: fixed batches of growing size, one layer and two"
claims   = ["corollary-2", "corollary-2-corrected"]
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 4, samples = 16 }
augment  = { kind = "isotropic", variance = 0.1, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "balanced", scale = 0.5, decay = 1.5, of = "product" } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 1000.0 }
observe  = { times = { kind = "list", times = [10.0, 31.6, 100.0, 316.0] }, quantities = ["loss", "spectra", "separability"] }
sweep    = { "data.samples" = [8, 16, 32, 64], "encoder.widths" = [[4, 4], [4, 4, 4]] }
"#,
    ),
    quick: &[],
    full: &[
        "sweep.data.samples=[8, 16, 32, 64, 256]",
        "repeats=8",
        "dynamics.time_end=10000.0",
        "observe.times.times=[10.0, 31.6, 100.0, 316.0, 1000.0, 3160.0]",
    ],
};

/// Fresh batches.
const FRESH: NeededExperiment = NeededExperiment {
    name: "corollary_2_fresh",
    source: Source::Text(
        r#"
title    = "Corollary 2: fresh batches, two layers"
claims   = ["corollary-2", "corollary-2-corrected"]
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 4, samples = 10000 }
augment  = { kind = "isotropic", variance = 0.1, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4, 4], init = { kind = "balanced", scale = 0.5, decay = 1.5, of = "product" } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "sgd", rate = 0.1, steps = 4000, batch = 64 }
observe  = { times = { kind = "list", times = [10.0, 31.0, 100.0] }, quantities = ["loss", "spectra"] }
"#,
    ),
    quick: &[],
    full: &["repeats=12", "dynamics.rate=0.05", "dynamics.steps=20000"],
};

/// The first layer far larger than the second: W_l W_lᵀ - W_{l+1}ᵀ W_{l+1} = C I with C ≫ s0.
const IMBALANCED: NeededExperiment = NeededExperiment {
    name: "corollary_2_imbalanced",
    source: Source::Text(
        r#"
title    = "Corollary 2: two layers that are not balanced, infinitely many samples"
claims   = ["corollary-2-corrected"]
seed     = 20
repeats  = 1
data     = { kind = "gaussian", dim = 4, samples = 1000 }
augment  = { kind = "isotropic", variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4, 4], init = { kind = "aligned", scales = [0.3, 0.001], decays = [0.0, 0.0] } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "tsit5", rtol = 1e-9, atol = 1e-13, time_end = 1000.0 }
observe  = { times = { kind = "log", first = 1.0, count = 400 }, quantities = ["spectra", "imbalance"] }
sweep    = { "encoder.init.scales" = [[0.3, 1e-2], [0.3, 1e-3], [0.3, 1e-4], [0.3, 1e-6]] }
"#,
    ),
    quick: &[],
    full: &["repeats=4", "observe.times.count=1600"],
};

const EXPERIMENTS: &[NeededExperiment] = &[POPULATION, BATCHES, FRESH, IMBALANCED];

pub(super) const AS_PRINTED: Claim = Claim {
    id: "corollary-2",
    source: "Corollary 2",
    statement: "With small augmentation and at least two linear layers the covariance C of the embeddings becomes low-rank: small singular values grow at a rate proportional to themselves and stay small.",
    formula: "X ≻ 0 at small W, L ≥ 2  ⇒  some singular values of C stay far below the largest",
    evidence: Evidence::Limit,
    experiments: EXPERIMENTS,
    judge: printed,
};

pub(super) const CORRECTED: Claim = Claim {
    id: "corollary-2-corrected",
    source: "Corollary 2, with its time and its number of samples",
    statement: "With small augmentation, balanced layers and a mode that starts at s0, C is low-rank until T_L(s0) (until ln(1/s0)/χ(0) for one layer, of which the printed reason is as true); then, with infinitely many samples, fresh batches or a batch that is not separable, it returns to full rank. Only on separable batches, so at small N, may small modes of L ≥ 2 layers stay frozen. Imbalance C ≫ s0 ends it after ln(C/s0)/(C χ(0)).",
    formula: "T_L ≈ s0^{-2(L-1)/L} / (2 (L-1) χ(0)),  L ≥ 2;  T_1 ≈ ln(1/s0)/χ(0)",
    evidence: Evidence::Limit,
    experiments: EXPERIMENTS,
    judge: corrected,
};

/// A value of C below this part of the largest counts as small, as a value two decades down does in Figures 6c and 11.
const SMALL: f64 = 0.01;

/// Times nearer than this factor to the predicted end of a mode's collapse are not judged: the laws are leading orders, and a
/// mode at its end takes some time to pass from s0 to its limit.
const NEAR: f64 = 3.0;

/// Singular values of C below [`SMALL`] of the largest, at a recorded time.
fn small(run: &Run, time: usize) -> Result<usize, String> {
    let row = run.row("sigma_embedding", time)?;
    Ok(row.iter().filter(|value| **value < SMALL * row[0]).count())
}

fn small_at_end(run: &Run) -> Result<usize, String> {
    small(run, run.times().len() - 1)
}

fn depth(run: &Run) -> usize {
    run.plan.settings.table("encoder").integers("widths").len() - 1
}

fn samples(run: &Run) -> usize {
    run.plan.settings.table("data").integer("samples")
}

/// χ(0) of a run with unit variance and isotropic noise on one side.
fn initial_rate(run: &Run) -> Result<f64, String> {
    let noise = run.plan.settings.table("augment").number("variance");
    let rate = Rate::of(&run.plan.loss().0, 1.0, noise, Sides::One).ok_or("this loss has no modes")?;
    Ok(rate.at(0.0))
}

/// How long a mode stays small, from its depth, its start and χ(0).
type Law<'a> = &'a dyn Fn(usize, f64, f64) -> f64;

/// The recorded times at which the number of small values of C is another than `law` says, over those that are judged.
#[derive(Default)]
struct Kept {
    judged: usize,
    /// Of these: small values are predicted.
    low_rank: usize,
    wrong: usize,
    first: Option<String>,
}

impl Kept {
    fn over(runs: &[Run], law: Law<'_>) -> Result<Kept, String> {
        let mut kept = Kept::default();
        for run in runs {
            let (depth, rate) = (depth(run), initial_rate(run)?);
            let starts = run.row("sigma_end_to_end", 0)?;
            let ends: Vec<f64> = starts.iter().map(|s0| law(depth, *s0, rate)).collect();
            for (time, t) in run.times().iter().enumerate() {
                // Before the largest mode has grown there is nothing beside which the others could be small.
                let near = ends.iter().any(|end| *t < end * NEAR && *t > end / NEAR);
                if near || *t < ends[0] {
                    continue;
                }
                let predicted = ends.iter().filter(|end| **end > *t).count();
                let seen = small(run, time)?;
                kept.judged += 1;
                kept.low_rank += usize::from(predicted > 0);
                if seen != predicted {
                    kept.wrong += 1;
                    kept.first.get_or_insert_with(|| {
                        format!(
                            "{depth} layers, t = {}: {predicted} small values predicted, {seen} seen",
                            number(*t)
                        )
                    });
                }
            }
        }
        Ok(kept)
    }
}

fn printed(case: &Case) -> Result<Finding, String> {
    let population = case.runs(POPULATION.name)?;
    let deep = |run: &&Run| depth(run) >= 2;
    let is = |run: &Run, answer: f64| run.row("separable", 0).is_ok_and(|row| row[0] == answer);
    let batches = case.runs(BATCHES.name)?;
    let fresh = case.runs(FRESH.name)?;
    let judged: Vec<&Run> =
        population.iter().filter(deep).chain(batches.iter().filter(deep)).chain(fresh).collect();
    let ends = judged.iter().map(|run| small_at_end(run)).collect::<Result<Vec<_>, _>>()?;
    let recovered = ends.iter().filter(|count| **count == 0).count();
    let full = |run: &&Run| small_at_end(run).is_ok_and(|count| count == 0);
    let groups = [
        ("infinitely many samples", population.iter().filter(deep).collect::<Vec<_>>()),
        ("fresh batches", fresh.iter().collect()),
        (
            "fixed batches that are not separable",
            batches.iter().filter(deep).filter(|run| is(run, 0.0)).collect(),
        ),
    ];
    let separable: Vec<_> = batches.iter().filter(deep).filter(|run| is(run, 1.0)).collect();
    let words = groups.iter().map(|(name, runs)| {
        format!("{} of {} with {name}", runs.iter().filter(|run| full(run)).count(), runs.len())
    });
    let summary = format!(
        "low-rank for a time, not for ever: C ends with no value below 1 % of the largest in {}; it stays low-rank in {} of {} on separable fixed batches",
        words.collect::<Vec<_>>().join(", "),
        separable.iter().filter(|run| !full(run)).count(),
        separable.len(),
    );
    let (right, wrong) = (Kept::over(population, &lifetime)?, Kept::over(population, &one_layer)?);
    let control = Control::new(
        format!(
            "corrected, small until T_L: right at {} of {} recorded times; wrong, until ln(1/s0)/χ(0) whatever the depth: fails at {} of {} ({})",
            right.judged - right.wrong,
            right.judged,
            wrong.wrong,
            wrong.judged,
            wrong.first.clone().unwrap_or_default(),
        ),
        right.wrong == 0 && right.low_rank > 0 && wrong.wrong > 0,
    );
    let mut hypotheses = Vec::new();
    let weak = judged.iter().map(|run| initial_rate(run)).collect::<Result<Vec<_>, _>>()?;
    let first = weak.iter().find(|rate| **rate <= 0.0);
    hypotheses.push(Hypothesis::unless(
        "χ(0) > 0 on all directions, in the population of the run's data",
        first.map(|rate| format!("{rate}")),
    ));
    hypotheses.push(Hypothesis::held("at least two layers (runs with one are not judged)"));
    let counterexample = population.iter().filter(deep).find(full);
    Ok(Finding {
        verdict: if recovered == 0 { Verdict::Consistent } else { Verdict::Refuted },
        summary,
        evidence: Map::new(),
        hypotheses,
        control,
        counterexample: counterexample.map(|run| Counterexample::Plan(run.to_toml())),
    }
    .with("values of C below 1 % of the largest over time, infinitely many samples", over_time(population)?)
    .with("the same on fixed batches", batch_table(batches)?)
    .with("the same on fresh batches", over_time(fresh)?))
}

/// The time of one layer, for any depth: what "a rate proportional to itself" alone would give.
fn one_layer(_: usize, start: f64, rate: f64) -> f64 {
    lifetime(1, start, rate)
}

fn corrected(case: &Case) -> Result<Finding, String> {
    let population = case.runs(POPULATION.name)?;
    let kept = Kept::over(population, &lifetime)?;
    let wrong = Kept::over(population, &one_layer)?;
    let laws = population_laws(population)?;
    let converge = !laws.is_empty() && laws.iter().all(Approach::converges);
    let batches = case.runs(BATCHES.name)?;
    let deep: Vec<&Run> = batches.iter().filter(|run| depth(run) >= 2).collect();
    let mut unexplained = None;
    for run in &deep {
        let separable = run.row("separable", 0)?[0];
        if separable == 0.0 && small_at_end(run)? > 0 {
            unexplained.get_or_insert(*run);
        }
    }
    let shares = shares(&deep)?;
    let frozen = |of: &Share| of.low_rank as f64 / of.runs as f64;
    let falls = shares.windows(2).all(|pair| frozen(&pair[0]) >= frozen(&pair[1]))
        && shares.first().is_some_and(|of| of.low_rank == of.runs)
        && shares.last().is_some_and(|of| of.low_rank == 0);
    let still = freezing(&deep)?;
    let fresh = case.runs(FRESH.name)?;
    let released = fresh.iter().filter(|run| small_at_end(run).is_ok_and(|count| count == 0)).count();
    let imbalanced = imbalance(case.runs(IMBALANCED.name)?)?;
    // The law leaves out ln 2-like terms of order 1/(C χ(0)), against a logarithm that grows: the slope in it is exact.
    let escapes = imbalanced.iter().all(|of| (of.measured / of.law - 1.0).abs() < 0.05);
    let summary = format!(
        "small until T_L at {} of {} recorded times (T/T_L = {} at the smallest starts of 2, 3, 4 layers); still low-rank at the end on fixed batches, two layers: {}; released in {released} of {} runs with fresh batches; by imbalance after {} instead of {}",
        kept.judged - kept.wrong,
        kept.judged,
        laws.iter().filter_map(|law| law.ratios.last()).map(|r| number(r.1)).collect::<Vec<_>>().join(", "),
        shares
            .iter()
            .map(|of| format!("{} of {} (N = {})", of.low_rank, of.runs, of.samples))
            .collect::<Vec<_>>()
            .join(", "),
        fresh.len(),
        imbalanced.last().map_or_else(String::new, |of| number(of.measured)),
        imbalanced.last().map_or_else(String::new, |of| number(of.balanced)),
    );
    let holds = kept.wrong == 0 && kept.low_rank > 0 && converge && unexplained.is_none() && falls;
    let verdict = match (holds && released == fresh.len() && escapes && still < 0.05, kept.wrong > 0) {
        (true, _) => Verdict::Consistent,
        (false, true) => Verdict::Refuted,
        (false, false) => Verdict::Inconclusive,
    };
    let control = Control::new(
        format!(
            "the time ln(1/s0)/χ(0) of one layer for any depth: fails at {} of {} recorded times ({})",
            wrong.wrong,
            wrong.judged,
            wrong.first.clone().unwrap_or_default(),
        ),
        wrong.wrong > 0,
    );
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: vec![Hypothesis::unless(
            "with infinitely many samples: balanced layers, modes that share eigenvectors with data and noise (runs that show the release by imbalance aside)",
            population
                .iter()
                .find(|run| !run.stored.arrays.contains_key("theory_end_to_end"))
                .map(|run| run.plan.directory_name()),
        )],
        control,
        counterexample: unexplained.map(|run| Counterexample::Plan(run.to_toml())),
    }
    .with("lifetimes", laws.iter().map(Approach::to_json).collect::<Vec<_>>())
    .with("fixed batches", batch_table(batches)?)
    .with("fixed batches, two layers, by N", shares.iter().map(Share::to_json).collect::<Vec<_>>())
    .with("growth of frozen modes over the last half decade of time, at most", still)
    .with("imbalance", imbalanced.iter().map(Escape::to_json).collect::<Vec<_>>()))
}

/// How the measured lifetimes of modes of one depth approach their law.
struct Approach {
    depth: usize,
    /// s0 and measured lifetime over T_L(s0), largest start first.
    ratios: Vec<(f64, f64)>,
    /// Relative distance of neighbouring recordings.
    resolution: f64,
}

impl Approach {
    /// The smaller the start, the nearer the law: thirds of the starts come nearer, and the last to within the recordings.
    fn converges(&self) -> bool {
        let third = self.ratios.len() / 3;
        if third == 0 {
            return false;
        }
        let off = |part: &[(f64, f64)]| part.iter().map(|(_, ratio)| (ratio - 1.0).abs()).fold(0.0, f64::max);
        let (large, small) = (off(&self.ratios[..third]), off(&self.ratios[self.ratios.len() - third..]));
        small < large && small <= self.resolution
    }

    fn to_json(&self) -> Value {
        json!({
            "layers": self.depth, "s0 and lifetime over T_L": self.ratios,
            "resolution of recordings": self.resolution,
        })
    }
}

/// Of every depth from two on.
fn population_laws(runs: &[Run]) -> Result<Vec<Approach>, String> {
    let mut all: Vec<Approach> = Vec::new();
    for run in runs.iter().filter(|run| depth(run) >= 2) {
        let (depth, rate) = (depth(run), initial_rate(run)?);
        let (measured, starts) = (run.row("lifetime", 0)?, run.row("sigma_end_to_end", 0)?);
        let resolution = run.row("lifetime_resolution", 0)?.iter().copied().fold(0.0, f64::max);
        let ratios = starts.iter().zip(measured).map(|(s0, time)| (*s0, time / lifetime(depth, *s0, rate)));
        match all.iter_mut().find(|of| of.depth == depth) {
            Some(of) => {
                of.ratios.extend(ratios);
                of.resolution = of.resolution.max(resolution);
            }
            None => all.push(Approach { depth, ratios: ratios.collect(), resolution }),
        }
    }
    for of in &mut all {
        of.ratios.sort_by(|a, b| b.0.total_cmp(&a.0));
    }
    all.sort_by_key(|of| of.depth);
    Ok(all)
}

/// Small values of C over time, one row a run.
fn over_time(runs: &[Run]) -> Result<Value, String> {
    let row = |run: &Run| -> Result<Value, String> {
        let mut points: Vec<Value> = Vec::new();
        let mut previous = usize::MAX;
        for (time, t) in run.times().iter().enumerate() {
            let count = small(run, time)?;
            if count != previous {
                points.push(json!([t, count]));
            }
            previous = count;
        }
        Ok(json!({
            "layers": depth(run), "smallest start": run.row("sigma_end_to_end", 0)?.last(),
            "time and number, where it changes": points,
        }))
    };
    runs.iter().map(row).collect()
}

/// Fixed batches one by one.
fn batch_table(runs: &[Run]) -> Result<Value, String> {
    let row = |run: &Run| -> Result<Value, String> {
        let smallest = |time: usize| Ok::<_, String>(run.row("sigma_end_to_end", time)?.last().copied());
        let values: Vec<_> = (0..run.times().len()).map(smallest).collect::<Result<_, _>>()?;
        Ok(json!({
            "samples": samples(run), "layers": depth(run), "repeat": run.plan.seed.repeat,
            "separable": run.row("separable", 0)?[0] == 1.0,
            "smallest singular value": values,
            "small values of C at the end": small_at_end(run)?,
        }))
    };
    runs.iter().map(row).collect()
}

/// Two-layer runs on fixed batches of one size.
struct Share {
    samples: usize,
    runs: usize,
    separable: usize,
    low_rank: usize,
}

impl Share {
    fn to_json(&self) -> Value {
        json!({
            "samples": self.samples, "runs": self.runs, "separable": self.separable,
            "low-rank at the end": self.low_rank,
        })
    }
}

fn shares(runs: &[&Run]) -> Result<Vec<Share>, String> {
    let mut all: Vec<Share> = Vec::new();
    for run in runs {
        let n = samples(run);
        let index = match all.iter().position(|share| share.samples == n) {
            Some(index) => index,
            None => {
                all.push(Share { samples: n, runs: 0, separable: 0, low_rank: 0 });
                all.len() - 1
            }
        };
        let share = &mut all[index];
        share.runs += 1;
        share.separable += usize::from(run.row("separable", 0)?[0] == 1.0);
        share.low_rank += usize::from(small_at_end(run)? > 0);
    }
    all.sort_by_key(|share| share.samples);
    Ok(all)
}

/// By how much the smallest singular value of the batches of the smallest N that are low-rank at the end has grown since the
/// last recording before it: the median over runs.
fn freezing(runs: &[&Run]) -> Result<f64, String> {
    let smallest = runs.iter().map(|run| samples(run)).min().unwrap_or(0);
    let mut growth = Vec::new();
    for run in runs.iter().filter(|run| samples(run) == smallest) {
        let last = run.times().len() - 1;
        let at = |time: usize| {
            Ok::<_, String>(run.row("sigma_end_to_end", time)?.last().copied().unwrap_or(f64::NAN))
        };
        growth.push(at(last)? / at(last - 1)? - 1.0);
    }
    Ok(Median::of(growth).high)
}

/// How a mode escapes by imbalance.
struct Escape {
    start: f64,
    imbalance: f64,
    measured: f64,
    law: f64,
    /// The time that balanced layers of the same product take.
    balanced: f64,
}

impl Escape {
    fn to_json(&self) -> Value {
        json!({
            "s0": self.start, "imbalance": self.imbalance, "time to half of the limit": self.measured,
            "ln(C/s0)/(C χ(0))": self.law, "1/(2 s0 χ(0)) of balanced layers": self.balanced,
        })
    }
}

fn imbalance(runs: &[Run]) -> Result<Vec<Escape>, String> {
    runs.iter()
        .map(|run| {
            let rate = initial_rate(run)?;
            let start = run.row("sigma_end_to_end", 0)?[0];
            let imbalance = run.square("imbalance_1_2", 0)?[(0, 0)];
            let half = 0.5 * run.last("sigma_end_to_end")?[0];
            let values = run.column("sigma_end_to_end")?;
            let reached = values.iter().position(|value| *value >= half).ok_or("no recovery")?;
            Ok(Escape {
                start,
                imbalance,
                measured: run.times()[reached],
                law: imbalanced_lifetime(start, imbalance, rate),
                balanced: lifetime(2, start, rate),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::runs;
    use super::*;

    #[test]
    fn small_values_last_until_the_law_of_their_depth_and_not_until_that_of_one_layer() {
        let one =
            ["sweep.encoder.widths=[[4, 4, 4]]", "sweep.encoder.init.scale=[0.5]", "dynamics.time_end=1e5"];
        let runs = runs(&POPULATION, &one);
        let (right, wrong) = (Kept::over(&runs, &lifetime).unwrap(), Kept::over(&runs, &one_layer).unwrap());
        assert_eq!((right.wrong, right.low_rank > 0), (0, true), "{:?}", right.first);
        assert!(wrong.wrong > 0);
        assert!(population_laws(&runs).unwrap()[0].converges());
    }

    #[test]
    fn imbalance_releases_a_mode_long_before_balanced_layers_would() {
        let found = imbalance(&runs(&IMBALANCED, &["sweep.encoder.init.scales=[[0.3, 1e-4]]"])).unwrap();
        assert!((found[0].measured / found[0].law - 1.0).abs() < 0.05, "{}", found[0].measured);
        assert!(found[0].measured < 0.01 * found[0].balanced);
    }
}
