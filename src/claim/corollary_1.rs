//! Corollary 1: the covariance of the embeddings under strong augmentation.
//!
//! Augmentation is strong where 2 Σ_v - Σ_δ, which X is at W = 0 with infinitely many samples, has a negative eigenvalue. It is
//! that matrix and not X(0) whose signs decide: X moves with W.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::statistics::{Median, number};
use super::vanishing::{fates, vanishing};
use super::verdict::Verdict;
use super::{Claim, Evidence, theorem_1};
use crate::experiment::Source as Samples;
use crate::theory::{ViewCovariances, limit_rank};
use serde_json::{Map, Value, json};

/// Infinitely many samples: noise on two of four coordinates, layers of every shape, small and large starts.
pub(super) const POPULATION: NeededExperiment = NeededExperiment {
    name: "corollary_1_population",
    source: Source::Text(
        r#"
title    = "Corollary 1: infinitely many samples, layers of every shape"
claims   = ["corollary-1", "corollary-1-corrected", "theorem-1-corrected"]
seed     = 20
repeats  = 1
data     = { kind = "gaussian", dim = 4, samples = 1000 }
augment  = { kind = "block", block = 2, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "tsit5", rtol = 1e-10, atol = 1e-14, time_end = 20.0 }
observe  = { times = { kind = "list", times = [1.25, 2.5, 5.0, 10.0] }, quantities = ["loss", "spectra", "x", "augmented"] }

[sweep]
"encoder.widths"     = [[4, 4], [4, 6], [4, 3], [4, 2]]
"encoder.init.scale" = [0.5, 3.0]

[sweep.zip]
"augment.variance" = [0.5, 1.0, 3.0, 3.0]
"augment.sides"    = ["one", "one", "one", "two"]
"#,
    ),
    quick: &[],
    full: &["repeats=6", "dynamics.time_end=40.0", "observe.times.times=[1.25, 2.5, 5.0, 10.0, 20.0]"],
};

/// Fixed batches of growing size.
const BATCHES: NeededExperiment = NeededExperiment {
    name: "corollary_1_batches",
    source: Source::Text(
        r#"
title    = "Corollary 1: one layer on fixed batches of growing size"
claims   = ["corollary-1", "corollary-1-corrected"]
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 4, samples = 128 }
augment  = { kind = "block", block = 2, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 40.0 }
observe  = { times = { kind = "list", times = [5.0, 10.0, 20.0] }, quantities = ["loss", "spectra", "x"] }
sweep    = { "data.samples" = [32, 128, 512] }
"#,
    ),
    quick: &[],
    full: &["sweep.data.samples=[32, 128, 512, 2048]", "repeats=8"],
};

/// Fresh batches.
const FRESH: NeededExperiment = NeededExperiment {
    name: "corollary_1_fresh",
    source: Source::Text(
        r#"
title    = "Corollary 1: one layer on fresh batches"
claims   = ["corollary-1", "corollary-1-corrected"]
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 4, samples = 10000 }
augment  = { kind = "block", block = 2, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "sgd", rate = 0.05, steps = 800, batch = 64 }
observe  = { times = { kind = "list", times = [5.0, 10.0, 20.0] }, quantities = ["loss", "spectra", "x"] }

[sweep]
"encoder.widths" = [[4, 4], [4, 2]]

[sweep.zip]
"augment.variance" = [0.5, 3.0, 3.0]
"augment.sides"    = ["one", "one", "two"]
"#,
    ),
    quick: &[],
    full: &["repeats=12", "dynamics.steps=3200", "observe.times.times=[20.0, 40.0, 80.0]"],
};

const EXPERIMENTS: &[NeededExperiment] = &[POPULATION, BATCHES, FRESH, theorem_1::FADING];

pub(super) const AS_PRINTED: Claim = Claim {
    id: "corollary-1",
    source: "Corollary 1, after Theorem 1",
    statement: "Under strong augmentation the covariance C of the embeddings of one linear layer becomes low-rank.",
    formula: "2 Σ_v - Σ_δ has a negative eigenvalue  ⇒  some singular value of C (d_out × d_out) → 0",
    evidence: Evidence::Limit,
    experiments: EXPERIMENTS,
    judge: printed,
};

pub(super) const CORRECTED: Claim = Claim {
    id: "corollary-1-corrected",
    source: "Corollary 1, with the shape of W, and the rank law of the population limit",
    statement: "One linear layer under Eq. 2: with n₊ positive eigenvalues of 2 Σ_v - Σ_δ, max(0, min(d_out, d) - n₊) singular values of C vanish with infinitely many samples or fresh batches; a fixed batch may spare some of them by over-fitting, and does so in fewer and fewer draws as N grows.",
    formula: "rank C(∞) = min(d_out, n₊),  n₊ = number of positive eigenvalues of 2 Σ_v - Σ_δ",
    evidence: Evidence::Limit,
    experiments: EXPERIMENTS,
    judge: corrected,
};

/// A run and what counts in it.
struct Trained<'a> {
    run: &'a Run,
    /// min(d_out, d).
    rank: usize,
    /// Positive eigenvalues of 2 Σ_v - Σ_δ, and all.
    surviving: (usize, usize),
    /// Negative eigenvalues of X at the start.
    negative_at_start: usize,
    /// Singular values of C that vanish.
    vanishing: usize,
}

impl<'a> Trained<'a> {
    fn of(run: &'a Run) -> Result<Self, String> {
        let views = covariances(run)?;
        let widths = run.plan.settings.table("encoder").integers("widths");
        let floor = run.row("floor_eig_x", 0)?[0];
        Ok(Trained {
            run,
            rank: widths[0].min(widths[1]),
            surviving: (limit_rank(&views).map_err(|error| error.to_string())?, views.dim()),
            negative_at_start: run.row("eig_x", 0)?.iter().filter(|value| **value < -floor).count(),
            vanishing: vanishing(run, "embedding")?,
        })
    }

    fn is_strong(&self) -> bool {
        self.surviving.0 < self.surviving.1
    }

    fn predicted(&self) -> usize {
        self.rank.saturating_sub(self.surviving.0)
    }

    /// The count by the signs of X(0) instead.
    fn by_start(&self) -> usize {
        self.rank.saturating_sub(self.surviving.1 - self.negative_at_start)
    }

    fn samples(&self) -> usize {
        self.run.plan.settings.table("data").integer("samples")
    }

    fn describe(&self) -> String {
        let settings = &self.run.plan.settings;
        let augment = settings.table("augment");
        format!(
            "{}, W {} x {}, k = {} {}-sided",
            settings.table("dynamics").kind(),
            settings.table("encoder").integers("widths")[1],
            settings.table("encoder").integers("widths")[0],
            augment.number("variance"),
            augment.text("sides"),
        )
    }
}

/// The covariances of a run's views.
fn covariances(run: &Run) -> Result<ViewCovariances, String> {
    let prepared = run.plan.prepare().map_err(|problem| problem.to_string())?;
    match prepared.source {
        Samples::Population(views) => Ok(views),
        Samples::Samples { data, augmentation } => {
            let factor = data.covariance_factor().ok_or("these samples have no covariance")?;
            let (noise, sides) = augmentation.noise_factor().ok_or("this augmentation has no covariance")?;
            Ok(ViewCovariances::new(&factor, &noise, sides))
        }
    }
}

fn trained<'a>(case: &'a Case, experiment: &NeededExperiment) -> Result<Vec<Trained<'a>>, String> {
    case.runs(experiment.name)?.iter().map(Trained::of).collect()
}

fn printed(case: &Case) -> Result<Finding, String> {
    let (population, batches, fresh) =
        (trained(case, &POPULATION)?, trained(case, &BATCHES)?, trained(case, &FRESH)?);
    let all = || population.iter().chain(&batches).chain(&fresh);
    let strong: Vec<_> = all().filter(|t| t.is_strong()).collect();
    let weak: Vec<_> = all().filter(|t| !t.is_strong()).collect();
    let low_rank = |t: &&&Trained<'_>| t.vanishing > 0;
    let against: Vec<_> = strong.iter().filter(|t| t.vanishing == 0).collect();
    let filled: Vec<_> = strong.iter().filter(|t| t.rank == t.surviving.1).collect();
    let kept = filled.iter().filter(|t| t.vanishing > 0).count();
    let verdict = if against.is_empty() { Verdict::Consistent } else { Verdict::Refuted };
    let summary = format!(
        "wide layers with no more outputs than surviving directions refute it: C keeps full rank in {} of {} such runs; for d_out ≥ d it is consistent: {kept} of {} runs lose singular values, at every N",
        against.len(),
        strong.iter().filter(|t| t.predicted() == 0).count(),
        filled.len(),
    );
    let exact = |t: &&Trained<'_>| t.vanishing == t.predicted();
    let without_batches = || population.iter().chain(&fresh);
    let (right, total) = (without_batches().filter(exact).count(), without_batches().count());
    let by_start = without_batches().filter(|t| t.vanishing != t.by_start()).count();
    let called_low = weak.iter().filter(low_rank).count();
    let control = Control::new(
        format!(
            "corrected count max(0, min(d_out, d) - n₊): right in {right} of {total} runs without a fixed batch; wrong count by the signs of X(0): fails in {by_start}; \"low-rank\" is said of {called_low} of {} runs with weak or two-sided noise (k = 0.5, 1; two-sided 3)",
            weak.len(),
        ),
        right == total && by_start > 0 && called_low == 0 && !weak.is_empty(),
    );
    let by_x: Vec<_> = all().filter(|t| t.rank == t.surviving.1 && t.negative_at_start > 0).collect();
    let smallest = against.iter().min_by_key(|t| t.rank);
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: vec![Hypothesis::unless(
            "2 Σ_v - Σ_δ has a negative eigenvalue (other runs are not judged)",
            strong.is_empty().then(|| "no run".to_string()),
        )],
        control,
        counterexample: smallest.map(|t| Counterexample::Plan(t.run.to_toml())),
    }
    .with(
        "\"strong\" read as \"X(0) has a negative eigenvalue\"",
        format!(
            "C keeps full rank in {} of {} runs with d_out ≥ d as well",
            by_x.iter().filter(|t| t.vanishing == 0).count(),
            by_x.len()
        ),
    )
    .with("vanishing singular values of C, by setting", counts(all()))
    .with("smallest over largest singular value of C at the end", relative(all())?)
    .with("fixed batches, one layer and two", theorem_1::fading(case)?))
}

fn corrected(case: &Case) -> Result<Finding, String> {
    let (population, batches, fresh) =
        (trained(case, &POPULATION)?, trained(case, &BATCHES)?, trained(case, &FRESH)?);
    let limit: Vec<_> = population.iter().chain(&fresh).collect();
    let against: Vec<_> = limit.iter().filter(|t| t.vanishing != t.predicted()).collect();
    let shares = shares(&batches);
    let grows = shares.windows(2).all(|pair| pair[0].1 <= pair[1].1)
        && shares.last().is_some_and(|(_, exact, total)| exact == total);
    let by_start: Vec<_> = limit.iter().filter(|t| t.vanishing != t.by_start()).collect();
    let seen = shares.iter().map(|(n, exact, total)| format!("{exact} of {total} (N = {n})"));
    let summary = format!(
        "the predicted number vanishes in {} of {} runs with infinitely many samples or fresh batches, and on fixed batches in {}",
        limit.len() - against.len(),
        limit.len(),
        seen.collect::<Vec<_>>().join(", "),
    );
    let verdict = match (against.is_empty(), grows) {
        (true, true) => Verdict::Consistent,
        (true, false) => Verdict::Inconclusive,
        (false, _) => Verdict::Refuted,
    };
    let control = Control::new(
        format!(
            "the count by the signs of X(0) instead of 2 Σ_v - Σ_δ fails in {} of {} runs: {}",
            by_start.len(),
            limit.len(),
            by_start.first().map_or_else(String::new, |t| format!(
                "{}, {} negative at the start, {} vanish",
                t.describe(),
                t.negative_at_start,
                t.vanishing
            )),
        ),
        !by_start.is_empty(),
    );
    let spared: Vec<Value> = batches
        .iter()
        .filter(|t| t.vanishing != t.predicted())
        .map(|t| {
            Ok(json!({
                "samples": t.samples(), "repeat": t.run.plan.seed.repeat,
                "negative eigenvalues of X(0)": t.negative_at_start, "vanishing": t.vanishing,
                "exponents": fates(t.run, "embedding")?.iter().map(|f| number(f.exponent)).collect::<Vec<_>>(),
            }))
        })
        .collect::<Result<_, String>>()?;
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control,
        counterexample: against.first().map(|t| Counterexample::Plan(t.run.to_toml())),
    }
    .with(
        "vanishing singular values of C, by setting",
        counts(population.iter().chain(&batches).chain(&fresh)),
    )
    .with("fixed batches that spare a direction", spared)
    .with("largest of the values that vanish, fixed batches", over_time(&batches)?))
}

/// N, fixed batches on which the predicted number vanishes, and all.
fn shares(batches: &[Trained<'_>]) -> Vec<(usize, usize, usize)> {
    let mut sizes: Vec<usize> = batches.iter().map(Trained::samples).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of = |n: usize| {
        let those = || batches.iter().filter(move |t| t.samples() == n);
        (n, those().filter(|t| t.vanishing == t.predicted()).count(), those().count())
    };
    sizes.into_iter().map(of).collect()
}

fn counts<'a>(runs: impl Iterator<Item = &'a Trained<'a>>) -> Value {
    let mut table: Map<String, Value> = Map::new();
    for t in runs {
        let fixed = t.run.plan.settings.table("dynamics").kind() == "flow";
        let name = if fixed { format!("{}, N = {}", t.describe(), t.samples()) } else { t.describe() };
        let row = table.entry(name).or_insert_with(|| json!({"predicted": t.predicted(), "seen": []}));
        if let Some(seen) = row["seen"].as_array_mut() {
            seen.push(json!(t.vanishing));
        }
    }
    json!(table)
}

/// Without noise on the clean coordinates C grows along them without bound, so that its other values become small beside
/// them whether or not they vanish.
fn relative<'a>(runs: impl Iterator<Item = &'a Trained<'a>>) -> Result<Value, String> {
    let mut table: Map<String, Value> = Map::new();
    for t in runs.filter(|t| t.rank == t.surviving.1) {
        let row = t.run.last("sigma_embedding")?;
        let value = row[t.rank - 1] / row[0];
        let entry = table.entry(t.describe()).or_insert_with(|| json!([]));
        if let Some(values) = entry.as_array_mut() {
            values.push(json!(value));
        }
    }
    Ok(json!(table))
}

/// N by N: the value of C that is predicted to vanish last, at each recorded time, over seeds.
fn over_time(batches: &[Trained<'_>]) -> Result<Value, String> {
    let mut rows = Vec::new();
    for (n, _, _) in shares(batches) {
        let those: Vec<_> = batches.iter().filter(|t| t.samples() == n).collect();
        for (time, t) in those[0].run.times().iter().enumerate() {
            let values = those.iter().map(|t| Ok(t.run.row("sigma_embedding", time)?[t.surviving.0]));
            let values: Vec<f64> = values.collect::<Result<_, String>>()?;
            rows.push(json!({"samples": n, "time": t, "value": Median::of(values).to_json()}));
        }
    }
    Ok(json!(rows))
}

/// What the signs of X(0) say and what happens, with infinitely many samples and square layers; above the threshold
/// the rate at which values vanish beside χ(0) = 2 - k.
pub(super) fn moving(case: &Case) -> Result<Value, String> {
    let mut rows = Vec::new();
    for run in case.runs(POPULATION.name)? {
        let t = Trained::of(run)?;
        let augment = run.plan.settings.table("augment");
        if t.rank < t.surviving.1 || augment.text("sides") != "one" {
            continue;
        }
        let last = |time: usize| Ok::<_, String>(run.row("sigma_augmented", time)?[0]);
        let resolved = (1..run.times().len())
            .take_while(|&time| {
                let floor = run.row("floor_augmented", time).map_or(f64::INFINITY, |row| row[0]);
                last(time).is_ok_and(|value| value > 100.0 * floor)
            })
            .last();
        let rate = match resolved {
            Some(time) if t.is_strong() && time > 1 => {
                let elapsed = run.times()[time] - run.times()[time - 1];
                Some((last(time)? / last(time - 1)?).ln() / elapsed)
            }
            _ => None,
        };
        rows.push(json!({
            "run": t.describe(),
            "W(0)": run.row("sigma_end_to_end", 0)?[0],
            "negative eigenvalues of X(0)": t.negative_at_start,
            "of 2 Σ_v - Σ_δ": t.surviving.1 - t.surviving.0,
            "vanishing": vanishing(run, "end_to_end")?,
            "noisy directions of W at the end": last(run.times().len() - 1)?,
            "rate at which they vanish": rate,
            "2 - k": 2.0 - augment.number("variance"),
        }));
    }
    Ok(json!(rows))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::runs;
    use super::*;

    #[test]
    fn the_signs_of_twice_the_view_covariance_minus_that_of_the_difference_decide_and_those_of_x_at_the_start_do_not()
     {
        let runs = runs(&POPULATION, &[]);
        let trained: Vec<Trained<'_>> = runs.iter().map(|run| Trained::of(run).unwrap()).collect();
        assert!(trained.iter().all(|t| t.vanishing == t.predicted()));
        assert!(trained.iter().any(|t| t.vanishing != t.by_start()));
        let wide = |t: &&Trained<'_>| t.is_strong() && t.predicted() == 0;
        assert!(trained.iter().filter(wide).all(|t| t.rank < t.surviving.1 && t.vanishing == 0));
        assert!(trained.iter().any(|t| wide(&t)));
    }
}
