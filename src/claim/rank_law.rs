//! How many directions survive one layer under Eq. 2.

use super::case::{Case, Level, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding};
use super::instances::EQ_2;
use super::landscape::{minimum_in_population, normals};
use super::modes::nearest;
use super::statistics::number;
use super::trial::{Said, Trial};
use super::{Claim, Evidence, Verdict};
use crate::augment::Sides;
use crate::experiment::Source as Origin;
use crate::matrix::{Matrix, symmetric_eigen, symmetric_eigenvalues};
use crate::seed::{Seed, Stream};
use crate::theory::ViewCovariances;
use serde_json::{Value, json};

pub(super) const CLAIM: Claim = Claim {
    id: "rank-law",
    source: "derived here: paper_notes.md, Rank and convexity",
    statement: "One layer with d_out ≥ d, W(0) of full column rank, Eq. 2, infinitely many samples: the rank of the limit is the number of generalised eigenvalues of (Σ_δ, Σ_v) below 2, whether they commute or not.",
    formula: "rank W(∞) = #{λ : det(Σ_δ - λ Σ_v) = 0, λ < 2}",
    evidence: Evidence::Limit,
    experiments: &[COVARIANCES, DIAGONAL, NARROW],
    judge,
};

/// Covariances that do not commute, from files.
pub(super) const COVARIANCES: NeededExperiment =
    NeededExperiment { name: "rank_law", source: Source::File, quick: &[], full: &["repeats=8"] };

/// Others on which the rank takes all values, one of them at the threshold, which need no files.
const DIAGONAL: NeededExperiment = NeededExperiment {
    name: "rank_law_diagonal",
    source: Source::Text(
        r#"
title    = "The rank of the limit under covariances that commute"
seed     = 20
data     = { kind = "gaussian", dim = 4, samples = 2, covariance = { kind = "diagonal", variances = [4.0, 2.0, 1.0, 0.5] } }
augment  = { kind = "diagonal", variances = [1.0, 1.0, 1.0, 1.0], sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "rodas5p", rtol = 1e-9, atol = 1e-14, time_end = 100000.0 }
observe  = { times = { kind = "log", first = 0.1, count = 61 }, quantities = ["spectra"] }

[sweep]
"augment.variances" = [
    [0.5, 0.5, 0.5, 0.5],
    [1.5, 1.5, 1.5, 1.5],
    [1.5, 1.5, 1.95, 1.5],
    [1.5, 1.5, 2.0, 1.5],
    [3.0, 3.0, 3.0, 3.0],
    [7.0, 5.0, 5.0, 5.0],
    [9.0, 9.0, 9.0, 9.0],
]
"#,
    ),
    quick: &[],
    full: &["repeats=8"],
};

/// A layer of fewer outputs than there are directions that survive.
const NARROW: NeededExperiment = NeededExperiment {
    name: "rank_law_narrow",
    source: Source::Text(
        r#"
title    = "One output"
seed     = 20
data     = { kind = "gaussian", dim = 4, samples = 2, covariance = { kind = "diagonal", variances = [4.0, 2.0, 1.0, 0.5] } }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 1], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "rodas5p", rtol = 1e-9, atol = 1e-14, time_end = 100000.0 }
observe  = { times = { kind = "log", first = 0.1, count = 61 }, quantities = ["spectra"] }
"#,
    ),
    quick: &[],
    full: &[],
};

const WIDE: &str = "infinitely many samples, one layer, d_out ≥ d, W(0) of full column rank";
const SETTLED: &str =
    "T is long enough: each singular value lasts, or falls by half and more in the last decade";

/// Which eigenvalues are counted.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Generalised eigenvalues of (Σ_δ, Σ_v) below this.
    Pencil(f64),
    /// Eigenvalues of Σ_δ alone below this.
    Noise(f64),
}

impl Rule {
    /// The rank that it predicts. Σ_δ must be positive definite: the generalised eigenvalues of the pair are then the inverses
    /// of the eigenvalues of Σ_δ^(-1/2) Σ_v Σ_δ^(-1/2), infinite in directions without data.
    fn rank(self, views: &ViewCovariances) -> Result<usize, String> {
        let decomposed = |error: crate::matrix::DecompositionError| error.to_string();
        let noise = symmetric_eigen(&views.difference()).map_err(decomposed)?;
        match self {
            Rule::Noise(limit) => Ok(noise.values.iter().filter(|value| **value < limit).count()),
            Rule::Pencil(limit) => {
                if noise.values[0] <= 0.0 {
                    return Err("the noise leaves a direction out".to_string());
                }
                let root = noise.map(|value| value.sqrt().recip());
                let values = symmetric_eigenvalues(&(&root * views.first() * &root)).map_err(decomposed)?;
                // An eigenvalue at the threshold vanishes, as t^(-1/2): rounding must not let it pass.
                let rounding = f64::EPSILON * values.len() as f64 * values[values.len() - 1];
                Ok(values.iter().filter(|value| **value > 1.0 / limit + rounding).count())
            }
        }
    }
}

/// The rank of the end-to-end matrix that a run tends to: a value lasts where it is above its floor and has not halved in the
/// last decade of time. At the threshold it falls as t^(-1/2), to a third.
fn rank(run: &Run) -> Result<usize, String> {
    let times = run.times();
    let (last, earlier) = (times.len() - 1, nearest(times, 0.1 * times[times.len() - 1]));
    let floor = run.last("floor_end_to_end")?[0];
    let (end, before) = (run.row("sigma_end_to_end", last)?, run.row("sigma_end_to_end", earlier)?);
    Ok(end.iter().zip(before).filter(|(end, before)| **end > floor && **end > 0.5 * **before).count())
}

/// Whether the last two decades show one rank.
fn is_settled(run: &Run) -> Result<bool, String> {
    let times = run.times();
    let last = times.len() - 1;
    let earlier = nearest(times, 0.1 * times[last]);
    let floor = run.last("floor_end_to_end")?[0];
    let (end, before) = (run.row("sigma_end_to_end", last)?, run.row("sigma_end_to_end", earlier)?);
    Ok(end.iter().zip(before).all(|(end, before)| {
        let lasts = (end - before).abs() <= LASTING * end + floor;
        *end <= floor || lasts || *end < 0.5 * before
    }))
}

/// Relative change over the last decade below which a value has come to rest.
const LASTING: f64 = 1e-3;

/// Whether the rank of a run's limit is what `rule` counts, where the hypotheses hold or `broken` lets them fail.
fn check(run: &Run, rule: Rule, broken: bool) -> Result<Said, String> {
    let outside = |hypothesis, why: String| Ok(Said::Outside { hypothesis, why });
    let prepared = run.plan.prepare().map_err(|problem| problem.to_string())?;
    let Origin::Population(views) = prepared.source else {
        return outside(WIDE, "finitely many samples".to_string());
    };
    let widths = run.plan.settings.table("encoder").integers("widths");
    let (start, floor) = (run.row("sigma_end_to_end", 0)?, run.row("floor_end_to_end", 0)?[0]);
    let full = start.len() == views.dim() && start.iter().all(|value| *value > floor);
    if (widths.len() != 2 || !full) && !broken {
        return outside(WIDE, format!("widths {widths:?}, W(0) of rank {} at most", start.len()));
    }
    if !is_settled(run)? {
        return outside(SETTLED, "a singular value still moves at the end".to_string());
    }
    let (found, expected) = (rank(run)?, rule.rank(&views)?);
    Ok(if found == expected {
        Said::Agrees
    } else {
        Said::Contradicts(format!("rank {found}, where {expected} is predicted"))
    })
}

/// Covariances whose minimum over M is sought directly.
struct Instance {
    views: ViewCovariances,
    /// The rank of the minimum M*.
    rank: usize,
}

/// Gap of the loss (nats) to which a minimum is sought.
const GAP: f64 = 1e-9;
/// Generalised eigenvalues nearer to 2 than this, relatively, leave an M* that a search to [`GAP`] cannot tell from 0.
const NEAR_THRESHOLD: f64 = 0.02;

/// Random covariances that do not commute, some with directions without data, and the ranks of their minima.
fn instances(level: Level) -> Result<Vec<Instance>, String> {
    let count = if level == Level::Quick { 12 } else { 60 };
    let strengths = [0.3, 0.8, 1.1, 1.5, 2.2, 5.0];
    let mut found = Vec::new();
    for index in 0..count {
        let mut generator = Seed { seed: 5, repeat: index as u64 }.generator(Stream::Data, 0);
        let dim = 3 + index % 2;
        let columns = if index % 4 == 2 { dim - 1 } else { dim };
        let sides = if index % 5 == 4 { Sides::Two } else { Sides::One };
        let mut factor = |columns: usize, strength: f64| {
            (Matrix::identity(dim, columns) + normals(&mut generator, dim, columns, 0.4)) * strength
        };
        let (data, noise) = (factor(columns, 1.0), factor(dim, strengths[index % strengths.len()]));
        let views = ViewCovariances::new(&data, &noise, sides);
        let near = |factor: f64| Rule::Pencil(2.0 * factor).rank(&views);
        if near(1.0 + NEAR_THRESHOLD)? != near(1.0 - NEAR_THRESHOLD)? {
            continue;
        }
        let best = minimum_in_population(&EQ_2, &views, GAP)?;
        if !best.converged {
            return Err(format!("the search for the minimum of covariances {index} did not end"));
        }
        // M* X* = 0, M* ⪰ 0, X* ⪯ 0: the positive eigenvalues of the sum are those of M*.
        let values = symmetric_eigenvalues(&(&best.m + &best.x)).map_err(|error| error.to_string())?;
        found.push(Instance { views, rank: values.iter().filter(|value| **value > 0.0).count() });
    }
    Ok(found)
}

/// Instances whose minimum has another rank than `rule` counts.
fn failing(instances: &[Instance], rule: Rule) -> Result<Vec<&Instance>, String> {
    let mut failing = Vec::new();
    for instance in instances {
        if rule.rank(&instance.views)? != instance.rank {
            failing.push(instance);
        }
    }
    Ok(failing)
}

fn judge(case: &Case) -> Result<Finding, String> {
    // The files may not be there; the others are always.
    let commuting = case.runs(DIAGONAL.name)?;
    let there = case.runs.contains_key(COVARIANCES.name);
    let from_files = if there { case.runs(COVARIANCES.name)? } else { &[] };
    let runs = || commuting.iter().chain(from_files);
    let right = Rule::Pencil(2.0);
    let trial = Trial::of(runs(), &|run| check(run, right, false))?;
    let instances = instances(case.level)?;
    let failed = failing(&instances, right)?;
    let mut words = Vec::new();
    let mut rejected = true;
    for (name, rule) in [
        ("eigenvalues of (Σ_δ, Σ_v) below 1", Rule::Pencil(1.0)),
        ("eigenvalues of Σ_δ alone below 2", Rule::Noise(2.0)),
    ] {
        let wrong = Trial::of(runs(), &|run| check(run, rule, false))?;
        let minima = failing(&instances, rule)?.len();
        words.push(format!("{name}: {}, and by {minima} of {} minima", wrong.words(), instances.len()));
        rejected &= wrong.rejects() && minima > 0;
    }
    let narrow = Trial::of(case.runs(NARROW.name)?, &|run| check(run, right, true))?;
    words.push(format!("d_out = 1 < d: {}", narrow.words()));
    let control = Control::new(words.join("; "), rejected && narrow.rejects_all());

    let mut ranks: Vec<(String, usize)> = Vec::new();
    for run in runs() {
        let cell = run.plan.assignments.iter().map(|a| a.value.to_string()).collect::<Vec<_>>().join(", ");
        let entry = (cell, rank(run)?);
        if !ranks.contains(&entry) {
            ranks.push(entry);
        }
    }
    let shown: Vec<String> = ranks.iter().map(|(_, rank)| number(*rank as f64)).collect();
    let summary = format!(
        "ranks {} in {} runs, and those of {} minima over M, are as counted",
        shown.join(", "),
        trial.agreed(),
        instances.len()
    );
    let table: Vec<Value> = ranks.iter().map(|(cell, rank)| json!({ "noise": cell, "rank": rank })).collect();
    let mut finding = trial
        .finding(summary, &[WIDE, SETTLED], control)
        .with("ranks", table)
        .with("ranks_of_minima", instances.iter().map(|i| i.rank).collect::<Vec<_>>())
        .with("files_were_there", there);
    if let Some(instance) = failed.first() {
        finding.verdict = Verdict::Refuted;
        finding.summary = format!("the minimum over M has rank {}", instance.rank);
        let named = |name: &str, matrix: &Matrix| (name.to_string(), matrix.clone());
        finding.counterexample = Some(Counterexample::Matrices {
            formula: format!(
                "rank M* = {} of the population loss, where the law counts another",
                instance.rank
            ),
            matrices: vec![named("Σ_v", instance.views.first()), named("Σ_δ", &instance.views.difference())],
        });
    }
    Ok(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn views(data: &[f64], noise: &[f64]) -> ViewCovariances {
        let root = |v: &[f64]| {
            Matrix::from_diagonal(&nalgebra::DVector::from_iterator(
                v.len(),
                v.iter().map(|x: &f64| x.sqrt()),
            ))
        };
        ViewCovariances::new(&root(data), &root(noise), Sides::One)
    }

    #[test]
    fn the_law_counts_ratios_below_two_and_no_others() {
        let covariances = views(&[4.0, 2.0, 1.0, 0.0], &[7.0, 4.0, 0.5, 1.0]);
        let rank = |rule: Rule| rule.rank(&covariances).unwrap();
        // 7/4, 2, 1/2 and no data.
        assert_eq!(rank(Rule::Pencil(2.0)), 2);
        assert_eq!(rank(Rule::Pencil(1.0)), 1);
        assert_eq!(rank(Rule::Noise(2.0)), 2);
        assert!(Rule::Pencil(2.0).rank(&views(&[1.0], &[0.0])).is_err());
    }

    #[test]
    fn minima_of_random_covariances_have_many_ranks_and_wrong_rules_miss_some() {
        let instances = instances(Level::Quick).unwrap();
        let ranks: std::collections::BTreeSet<usize> = instances.iter().map(|i| i.rank).collect();
        assert!(ranks.len() >= 3, "{ranks:?}");
        assert!(failing(&instances, Rule::Pencil(2.0)).unwrap().is_empty());
        assert!(!failing(&instances, Rule::Pencil(1.0)).unwrap().is_empty());
        assert!(!failing(&instances, Rule::Noise(2.0)).unwrap().is_empty());
    }

    #[test]
    fn runs_end_with_the_rank_of_the_law_and_one_output_does_not() {
        use super::super::fixtures::{case, simulated};
        let (runs, narrow) = (simulated(&DIAGONAL, &[]), simulated(&NARROW, &[]));
        let trial = Trial::of(&runs, &|run| check(run, Rule::Pencil(2.0), false)).unwrap();
        assert_eq!((trial.agreed(), trial.judged()), (7, 7), "{}", trial.words());
        for wrong in [Rule::Pencil(1.0), Rule::Pencil(1.9), Rule::Pencil(3.0), Rule::Noise(2.0)] {
            assert!(Trial::of(&runs, &|run| check(run, wrong, false)).unwrap().rejects(), "{wrong:?}");
        }
        assert_eq!(Trial::of(&narrow, &|run| check(run, Rule::Pencil(2.0), false)).unwrap().judged(), 0);
        // Without the files of covariances the others decide.
        let finding = judge(&case(vec![(DIAGONAL.name, runs), (NARROW.name, narrow)])).unwrap();
        assert_eq!((finding.verdict, finding.control.rejected), (Verdict::Consistent, Some(true)));
    }
}
