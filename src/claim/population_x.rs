//! X of a batch in the limit of infinitely many samples, and the samples that the limit needs.

use super::case::{Case, Level, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::instances::EQ_2;
use super::landscape::{normals, of_batch, views};
use super::statistics::{log_log_slope, median_interval, number};
use super::{Claim, Evidence, Verdict};
use crate::augment::Sides;
use crate::encoder::Output;
use crate::experiment::Source as Origin;
use crate::matrix::Matrix;
use crate::seed::{Seed, Stream};
use crate::theory::{Population, ViewCovariances};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const CLAIM: Claim = Claim {
    id: "population-x",
    source: "derived here: paper_notes.md, The population limit",
    statement: "For Gaussian samples and noise, fixed W and N much larger than g, X/N of Eq. 2 tends to X∞ at the rate N^(-1/2).",
    formula: "X∞ = P + P Σ_v⁻¹ P - Σ_δ, P = (Σ_v⁻¹ + M)⁻¹; N E α_ii → g = det(I + Σ_v M)/det(I + Σ_a M)^q, q = ½ or 1",
    evidence: Evidence::Limit,
    experiments: &[NeededExperiment {
        name: "population_limit",
        source: Source::File,
        quick: &["repeats=16", "encoder.init.scale=0.5", "sweep.data.samples=[256, 1024, 4096]"],
        full: &["sweep.data.samples=[256, 1024, 4096]"],
    }],
    judge,
};

/// Samples that N must have of each that the limit needs at least, max(g, h): as many as the engine asks for before it warns.
const SAMPLES_FOR_EACH: f64 = 10.0;
/// Part of the mean squared distance that the bias of order 1/N may be at the smallest N: its own slope is -1, and more of it
/// would hide that of the spread.
const MOST_BIAS: f64 = 0.1;
/// Sizes of batches without which there is no trend.
const FEWEST_COUNTS: usize = 3;
/// Probability with which an interval holds the median slope.
const PROBABILITY: f64 = 0.999;
/// What the distances from a limit fall as.
const SLOPE: f64 = -0.5;

/// Distances from a limit over batches of growing size.
struct Approach {
    /// N ascending.
    counts: Vec<f64>,
    /// |X/N - limit| at each N, one row a draw.
    distances: Vec<Vec<f64>>,
}

/// What the distances over N show.
#[derive(Clone, Copy)]
struct Slope {
    low: f64,
    high: f64,
    coverage: f64,
    /// By how much the bias of order 1/N may lower it.
    bias: f64,
}

impl Approach {
    /// The slope of the logarithms, draw by draw: its distribution is symmetric around -1/2 where √N (X/N - X∞) has one
    /// distribution for all N, also where smaller batches are parts of larger ones (time reversal of the random walk).
    fn slope(&self, bias: f64) -> Slope {
        let slopes: Vec<f64> = self
            .distances
            .iter()
            .map(|row| {
                log_log_slope(&self.counts.iter().copied().zip(row.iter().copied()).collect::<Vec<_>>()).0
            })
            .collect();
        let (low, high, coverage) = median_interval(&slopes, PROBABILITY);
        Slope { low, high, coverage, bias }
    }

    /// Root mean square over draws at each N.
    fn sizes(&self) -> Vec<f64> {
        let draws = self.distances.len() as f64;
        let square = |k: usize| self.distances.iter().map(|row| row[k] * row[k]).sum::<f64>();
        (0..self.counts.len()).map(|k| (square(k) / draws).sqrt()).collect()
    }
}

impl Slope {
    /// Whether the distances do not fall as N^(-1/2): the interval leaves that slope out, lowered by the bias at most.
    fn is_another(&self) -> bool {
        !(self.low <= SLOPE && self.high >= SLOPE - self.bias)
    }

    /// Whether they fall as N^(-1/2), and the interval leaves out slopes of half of that and less.
    fn is_that_of_a_limit(&self) -> bool {
        !self.is_another() && self.high < 0.5 * SLOPE
    }

    fn words(&self) -> String {
        format!("slope {} to {}", number(self.low), number(self.high))
    }
}

/// Distances of one W and one pair of covariances, with what the hypotheses say of them.
struct Instance {
    label: String,
    needed: f64,
    approach: Approach,
    slope: Slope,
    /// Why the hypotheses fail, where they do.
    outside: Option<String>,
}

impl Instance {
    /// `bias` is the norm of the coefficient of 1/N, in the unit of the distances. N that the hypotheses leave out are not
    /// used, unless too few remain.
    fn new(label: String, needed: f64, bias: f64, all: Approach) -> Instance {
        let share = |n: f64, size: f64| (bias / (n * size)).powi(2);
        let kept: Vec<usize> = all
            .sizes()
            .iter()
            .zip(&all.counts)
            .enumerate()
            .filter(|(_, (size, n))| **n >= SAMPLES_FOR_EACH * needed && share(**n, **size) <= MOST_BIAS)
            .map(|(k, _)| k)
            .collect();
        if kept.len() < FEWEST_COUNTS {
            // What keeps the smallest of the sizes that a trend needs at least.
            let index = all.counts.len().saturating_sub(FEWEST_COUNTS);
            let (n, size) = (all.counts[index], all.sizes()[index]);
            let why = format!(
                "max(g, h) = {} for N = {n}, the bias {} of the mean square",
                number(needed),
                number(share(n, size))
            );
            return Instance { label, needed, slope: all.slope(0.0), approach: all, outside: Some(why) };
        }
        let pick = |row: &[f64]| kept.iter().map(|&k| row[k]).collect::<Vec<f64>>();
        let approach = Approach {
            counts: pick(&all.counts),
            distances: all.distances.iter().map(|row| pick(row)).collect(),
        };
        let (counts, sizes) = (&approach.counts, approach.sizes());
        let (first, last) = (counts[0], counts[counts.len() - 1]);
        // A quantity that falls by Δ over a range of length l has a least-squares slope of at most 3/2 Δ/l.
        let fall = -0.5 * (-share(first, sizes[0])).ln_1p();
        let slope = approach.slope(1.5 * fall / (last / first).ln());
        Instance { label, needed, approach, slope, outside: None }
    }

    fn to_json(&self) -> Value {
        json!({
            "N": self.approach.counts, "distance": self.approach.sizes(), "draws": self.approach.distances.len(),
            "slope": [self.slope.low, self.slope.high], "coverage": self.slope.coverage,
            "bias_of_slope": self.slope.bias, "samples_needed": self.needed, "outside": self.outside,
        })
    }
}

/// The limit with the factor `second` of P Σ_v⁻¹ P and `noise` of Σ_δ; the right one has 1 and 1.
fn limit(covariances: &ViewCovariances, w: &Matrix, second: f64, noise: f64) -> Result<Matrix, String> {
    let inverse = |m: Matrix| m.try_inverse().ok_or("a covariance is singular");
    let inverse_view = inverse(covariances.first().clone())?;
    let p = inverse(&inverse_view + w.transpose() * w)?;
    Ok(&p + &p * inverse_view * &p * second - covariances.difference() * noise)
}

/// Batches of Gaussian samples under one W.
struct Setting {
    label: String,
    data: Matrix,
    covariances: ViewCovariances,
    w: Matrix,
    counts: Vec<f64>,
    draws: u64,
}

impl Setting {
    /// Distances of X/N from each of `limits`.
    fn approaches(&self, limits: &[Matrix]) -> Vec<Approach> {
        // One row a draw: for each N the distances from all limits.
        let rows: Vec<Vec<Vec<f64>>> = (0..self.draws)
            .into_par_iter()
            .map(|draw| {
                let at = |n: &f64| {
                    let mut generator = Seed { seed: *n as u64, repeat: draw }.generator(Stream::Data, 0);
                    let batch = views(&self.covariances, &self.data, *n as usize, &mut generator);
                    let (_, x) = of_batch(&EQ_2, &self.w, &batch);
                    limits.iter().map(|limit| (&x - limit).norm()).collect::<Vec<f64>>()
                };
                self.counts.iter().map(at).collect()
            })
            .collect();
        let of = |k: usize| Approach {
            counts: self.counts.clone(),
            distances: rows.iter().map(|row| row.iter().map(|distances| distances[k]).collect()).collect(),
        };
        (0..limits.len()).map(of).collect()
    }

    /// max(g, h), and the norm of the coefficient of 1/N.
    fn needs(&self) -> Result<(f64, f64), String> {
        needs(&self.covariances, &self.w)
    }
}

fn needs(covariances: &ViewCovariances, w: &Matrix) -> Result<(f64, f64), String> {
    let population = Population::new(&EQ_2, covariances.clone()).map_err(|error| error.to_string())?;
    let bias = population.first_correction(w).map_or(f64::NAN, |(_, x)| x.norm());
    Ok((population.samples_needed(w), bias))
}

/// Covariances that do not commute, with one- and two-sided noise.
fn settings(level: Level) -> Vec<Setting> {
    let mut generator = Seed { seed: 3, repeat: 0 }.generator(Stream::Init, 0);
    let dim = 4;
    let data = Matrix::identity(dim, dim) + normals(&mut generator, dim, dim, 0.2);
    let noise = normals(&mut generator, dim, dim, 0.4);
    let w = normals(&mut generator, dim, dim, 0.25);
    let (counts, draws) = match level {
        Level::Quick => (vec![128.0, 512.0, 2048.0], 32),
        Level::Full => (vec![128.0, 512.0, 2048.0, 8192.0], 32),
    };
    [(Sides::One, "one-sided"), (Sides::Two, "two-sided")]
        .into_iter()
        .map(|(sides, label)| Setting {
            label: format!("{label} noise, covariances that do not commute, d = {dim}"),
            data: data.clone(),
            covariances: ViewCovariances::new(&data, &noise, sides),
            w: w.clone(),
            counts: counts.clone(),
            draws,
        })
        .collect()
}

/// Σ = M = I in 16 dimensions, noise of variance 0.1: g = 2^16/1.1^8 = 30,573.
fn far_from_the_limit(level: Level) -> Setting {
    let identity = Matrix::identity(16, 16);
    let (counts, draws) = match level {
        Level::Quick => (vec![256.0, 512.0, 1024.0], 8),
        Level::Full => (vec![256.0, 512.0, 1024.0, 2048.0, 4096.0], 12),
    };
    Setting {
        label: "16 dimensions, Σ = M = I, k = 0.1".to_string(),
        covariances: ViewCovariances::new(&identity, &(&identity * 0.1f64.sqrt()), Sides::One),
        data: identity.clone(),
        w: identity,
        counts,
        draws,
    }
}

/// The distances that runs recorded at their start, those that differ in N alone together.
fn recorded(runs: &[Run]) -> Result<Vec<(Instance, &Run)>, String> {
    let mut groups: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let others = run.plan.assignments.iter().filter(|a| &*a.key != "data.samples");
        let key = others.map(|a| format!("{} = {}", a.key, a.value)).collect::<Vec<_>>().join(", ");
        groups.entry(key).or_default().push(run);
    }
    groups.into_iter().map(|(key, runs)| Ok((group(&key, &runs)?, runs[0]))).collect()
}

fn group(key: &str, runs: &[&Run]) -> Result<Instance, String> {
    let count = |run: &Run| run.plan.settings.table("data").integer("samples");
    let mut rows: BTreeMap<u64, BTreeMap<usize, f64>> = BTreeMap::new();
    for run in runs {
        let distance = run.row("population_x_distance", 0)?[0];
        rows.entry(run.plan.seed.repeat).or_default().insert(count(run), distance);
    }
    let counts: Vec<f64> =
        rows.values().next().into_iter().flat_map(BTreeMap::keys).map(|n| *n as f64).collect();
    let distances: Vec<Vec<f64>> = rows.into_values().map(|row| row.into_values().collect()).collect();
    if distances.iter().any(|row| row.len() != counts.len()) {
        return Err(format!("{key}: not every repeat has every N"));
    }
    // The distances are relative to |X∞|, and so must the bias be.
    let smallest = runs.iter().min_by_key(|run| count(run)).ok_or("there are no runs")?;
    let prepared = smallest.plan.prepare().map_err(|problem| problem.to_string())?;
    let (Origin::Samples { data, augmentation }, w) =
        (&prepared.source, prepared.network.end_to_end(&prepared.parameters, Output::Embedding))
    else {
        return Err(format!("{key}: the run has no samples"));
    };
    let (Some(factor), Some((noise, sides))) = (data.covariance_factor(), augmentation.noise_factor()) else {
        return Err(format!("{key}: samples and noise are not Gaussian"));
    };
    let covariances = ViewCovariances::new(&factor, &noise, sides);
    let (needed, bias) = needs(&covariances, &w)?;
    let size = limit(&covariances, &w, 1.0, 1.0)?.norm();
    let label = if key.is_empty() { "recorded runs".to_string() } else { format!("recorded runs, {key}") };
    Ok(Instance::new(label, needed, bias / size, Approach { counts, distances }))
}

fn judge(case: &Case) -> Result<Finding, String> {
    let records = recorded(case.runs("population_limit")?)?;
    let mut own = Vec::new();
    let mut rejected = Vec::new();
    for setting in settings(case.level) {
        let wrong = [("without P Σ_v⁻¹ P", 0.0, 1.0), ("with 2 Σ_δ", 1.0, 2.0)];
        let mut limits = vec![limit(&setting.covariances, &setting.w, 1.0, 1.0)?];
        for (_, second, noise) in wrong {
            limits.push(limit(&setting.covariances, &setting.w, second, noise)?);
        }
        let (needed, bias) = setting.needs()?;
        let mut approaches = setting.approaches(&limits).into_iter();
        let mut instance = |approach| Instance::new(setting.label.clone(), needed, bias, approach);
        own.extend(approaches.next().map(&mut instance));
        // A wrong limit is at a distance that does not depend on N, and its bias is not that of the theory.
        for ((name, ..), approach) in wrong.iter().zip(approaches) {
            rejected.push((format!("X∞ {name}, {}", setting.label), approach.slope(0.0)));
        }
    }
    let far = far_from_the_limit(case.level);
    let (needed, bias) = far.needs()?;
    let exact = limit(&far.covariances, &far.w, 1.0, 1.0)?;
    let far = far.approaches(&[exact]).into_iter().map(|a| Instance::new(far.label.clone(), needed, bias, a));
    let far: Vec<Instance> = far.collect();
    for instance in far.iter().filter(|instance| instance.outside.is_some()) {
        let what = format!("N far below g = {}, {}", number(instance.needed), instance.label);
        rejected.push((what, instance.slope));
    }
    let instances = || own.iter().chain(&far).chain(records.iter().map(|(instance, _)| instance));
    let (outside, judged): (Vec<&Instance>, Vec<&Instance>) = instances().partition(|i| i.outside.is_some());

    let failing = judged.iter().find(|instance| instance.slope.is_another());
    let wide = judged.iter().find(|instance| !instance.slope.is_that_of_a_limit());
    let verdict = match (judged.is_empty(), failing, wide) {
        (true, ..) => Verdict::OutsideHypotheses,
        (_, Some(_), _) => Verdict::Refuted,
        (_, _, Some(_)) => Verdict::Inconclusive,
        _ => Verdict::Consistent,
    };
    let summary = match failing.or(wide) {
        Some(instance) => format!("{}: {}", instance.label, instance.slope.words()),
        None => {
            let low = judged.iter().map(|i| i.slope.low).fold(f64::INFINITY, f64::min);
            let high = judged.iter().map(|i| i.slope.high).fold(f64::NEG_INFINITY, f64::max);
            let largest =
                judged.iter().filter_map(|i| i.approach.counts.last()).fold(0.0f64, |a, b| a.max(*b));
            let far: Vec<String> = far.iter().map(|i| i.slope.words()).collect();
            format!(
                "|X/N - X∞| falls over N up to {largest} with median slopes between {} and {} in {} settings with N ≫ g; with N far below g: {}",
                number(low),
                number(high),
                judged.len(),
                far.join(", ")
            )
        }
    };
    let first_outside =
        outside.first().and_then(|i| i.outside.as_ref().map(|why| format!("{}: {why}", i.label)));
    let enough = format!(
        "N ≥ {SAMPLES_FOR_EACH} max(g, h), and the bias of order 1/N is at most {MOST_BIAS} of the mean square"
    );
    let hypotheses = vec![match (judged.is_empty(), first_outside) {
        (true, why) => Hypothesis::unless(enough, why),
        (false, None) => Hypothesis::held(enough),
        (false, Some(why)) => {
            Hypothesis::held(format!("{enough} (not judged where it fails: {}, first {why})", outside.len()))
        }
    }];
    let words: Vec<String> =
        rejected.iter().map(|(what, slope)| format!("{what}: {}", slope.words())).collect();
    let control = Control::new(
        words.join("; "),
        !rejected.is_empty() && rejected.iter().all(|(_, slope)| slope.is_another()),
    );
    let counterexample = failing.and_then(|failing| {
        let run = records.iter().find(|(instance, _)| instance.label == failing.label).map(|(_, run)| run);
        run.map(|run| Counterexample::Plan(run.to_toml()))
    });
    let evidence: Map<String, Value> =
        instances().map(|instance| (instance.label.clone(), instance.to_json())).collect();
    Ok(Finding { verdict, summary, evidence, hypotheses, control, counterexample })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approach(slope: f64) -> Approach {
        let counts = vec![256.0, 1024.0, 4096.0];
        let row =
            |draw: i32| counts.iter().map(|n: &f64| n.powf(slope + 0.01 * f64::from(draw % 5 - 2))).collect();
        Approach { distances: (0..12).map(row).collect(), counts }
    }

    #[test]
    fn only_the_slope_of_one_half_is_that_of_a_limit() {
        assert!(approach(-0.5).slope(0.0).is_that_of_a_limit());
        for slope in [0.0, -0.25, -0.4, -0.6, -1.0] {
            assert!(approach(slope).slope(0.0).is_another(), "{slope}");
        }
        // An interval that is too wide tells neither.
        let wide = Slope { low: -0.8, high: -0.2, coverage: 0.999, bias: 0.0 };
        assert!(!wide.is_another() && !wide.is_that_of_a_limit());
        // The bias may lower it, and never raise it.
        assert!(approach(-0.54).slope(0.05).is_that_of_a_limit());
        assert!(!approach(-0.46).slope(0.05).is_that_of_a_limit());
    }

    #[test]
    fn sizes_of_batches_that_the_limit_leaves_out_are_not_judged() {
        let instance = |needed, bias| Instance::new(String::new(), needed, bias, approach(-0.5));
        assert!(instance(20.0, 0.1).outside.is_none());
        assert!(instance(30.0, 0.1).outside.is_some());
        // At N = 256 the distance is 1/16: a bias of 16/√10 and more leaves two sizes.
        assert!(instance(1.0, 4.0).outside.is_none() && instance(1.0, 6.0).outside.is_some());
    }

    #[test]
    fn the_limit_is_that_of_the_theory_and_each_term_matters() {
        for setting in settings(Level::Quick) {
            let mut population = Population::new(&EQ_2, setting.covariances.clone()).unwrap();
            let x = population.x(&setting.w);
            assert!((limit(&setting.covariances, &setting.w, 1.0, 1.0).unwrap() - &x).norm() < 1e-13);
            assert!((limit(&setting.covariances, &setting.w, 0.0, 1.0).unwrap() - &x).norm() > 0.1);
            assert!((limit(&setting.covariances, &setting.w, 1.0, 2.0).unwrap() - &x).norm() > 0.1);
            assert!(setting.needs().unwrap().0 < 10.0);
        }
    }
}
