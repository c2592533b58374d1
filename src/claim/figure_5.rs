//! Figure 5: the alignment matrix of two layers under weak augmentation.
//!
//! What decides is D = W1 W1ᵀ - W2ᵀ W2, which a flow conserves (Eq. 10). In the layers' singular vectors,
//! A_kk' = v2_kᵀ u1_k' obeys (σ1_k'² - σ2_k²) A_kk' = v2_kᵀ D u1_k' exactly.

use super::alignment::{gap, imbalance_error, imbalance_moved, imbalance_norm};
use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::statistics::{Median, number};
use super::toy_figures::{
    COLLAPSED, FIGURES_5_6_PAPER, FIGURES_5_6_RELEASED_CODE, FIXED_BATCH_LONG, POPULATION, POPULATION_DOT,
    below, by_seed, over_time, time_at,
};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::matrix::{self, Matrix};
use serde_json::{Map, Value, json};

const STATEMENT: &str = "The absolute alignment matrix of two layers becomes the identity.";
const PRINTED: &str = "|A| → I, A = V2ᵀ U1";
const BOUND: &str = "1 - A_kk² ≤ (|D|/gap_k)², gap_k = min_{k'≠k} |σ1_k'² - σ2_k²|, D = W1 W1ᵀ - W2ᵀ W2";

pub(super) const PAPER: Claim = Claim {
    id: "figure-5",
    source: "Figure 5, loss and noise of the theory",
    statement: STATEMENT,
    formula: PRINTED,
    evidence: Evidence::Limit,
    experiments: &[FIGURES_5_6_PAPER, FIXED_BATCH_LONG, POPULATION],
    judge: paper,
};

pub(super) const PAPER_CORRECTED: Claim = Claim {
    id: "figure-5-corrected",
    source: "Figure 5, loss and noise of the theory; derived here",
    statement: "A mode aligns as far as the gaps between its squared singular value and those of the other \
                modes exceed the conserved imbalance. On a fixed batch the space of the modes that grow \
                aligns, and modes that stay small do not.",
    formula: BOUND,
    evidence: Evidence::Trajectory,
    experiments: &[FIGURES_5_6_PAPER, FIXED_BATCH_LONG],
    judge: paper_corrected,
};

pub(super) const RELEASED_CODE: Claim = Claim {
    id: "figure-5-released-code",
    source: "Figure 5, loss and noise of the released code",
    statement: STATEMENT,
    formula: PRINTED,
    evidence: Evidence::Trajectory,
    experiments: &[FIGURES_5_6_RELEASED_CODE, POPULATION_DOT],
    judge: released_code,
};

pub(super) const RELEASED_CODE_CORRECTED: Claim = Claim {
    id: "figure-5-released-code-corrected",
    source: "Figure 5, loss and noise of the released code; derived here",
    statement: "Isotropic data make W2 W1 a multiple c of an orthogonal matrix on what has grown. Then W2ᵀ \
                W2 = c² (W1 W1ᵀ)⁻¹ there: the layers are aligned in reverse, and |A| tends to the reversed \
                identity, the more so the larger the batch, for the noise of SGD wears the imbalance away.",
    formula: "σ1_k σ2_{m+1-k} = c, σ1_k² = (d_k + √(d_k² + 4c²))/2 with the eigenvalues d_k of D",
    evidence: Evidence::Limit,
    experiments: &[FIGURES_5_6_RELEASED_CODE, BATCHES, POPULATION_DOT, FIGURES_5_6_PAPER],
    judge: released_code_corrected,
};

/// Smaller batches. Their noise leaves W2 W1 less isotropic, and it wears D away: a step of rate η with the
/// gradient g of its batch conserves D to first order and changes it by η² (W2ᵀ g gᵀ W2 - W1 gᵀ g W1ᵀ), which
/// for isotropic g is a multiple of -D.
const BATCHES: NeededExperiment = NeededExperiment {
    name: "figure_5_batches",
    source: Source::Text(
        r#"
title    = "Two layers under the released code's loss, small batches"
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 16, samples = 10000 }
augment  = { kind = "isotropic", variance = 1e-6, sides = "two" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-dot", temperature = 0.1 }
dynamics = { kind = "sgd", rate = 0.01, steps = 10000, batch = 32 }
observe  = { times = { kind = "log", first = 1.0, count = 9 }, quantities = ["spectra", "alignment"] }
sweep    = { "dynamics.batch" = [8, 16, 32] }
"#,
    ),
    quick: &[],
    full: &["sweep.dynamics.batch=[8, 16, 32, 64]", "repeats=8"],
};

/// Part of the squares of A's rows and columns that lies on a diagonal: 1 where |A| is the identity there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Diagonal {
    Plain,
    Reversed,
}

impl Diagonal {
    /// Over the modes of this range.
    fn part(self, alignment: &Matrix, modes: std::ops::Range<usize>) -> f64 {
        let (first, last) = (modes.start, modes.end);
        let other = |k: usize| match self {
            Diagonal::Plain => k,
            Diagonal::Reversed => first + last - 1 - k,
        };
        modes.clone().map(|k| alignment[(k, other(k))].powi(2)).sum::<f64>() / modes.len() as f64
    }
}

/// Nothing where a part of the squares of A comes to lie where it is looked for, as on a diagonal: in every
/// seed more lies there than elsewhere at the end, and more than at the start.
fn settles(seeds: &[(f64, f64)]) -> Option<String> {
    let off = seeds.iter().filter(|(_, end)| *end <= 0.5).count();
    let falling = seeds.iter().filter(|(start, end)| end <= start).count();
    let end = Median::of(seeds.iter().map(|(_, end)| *end));
    (off + falling > 0 || end.median.is_nan()).then(|| {
        format!(
            "{end} at the end (at most half in {off}, not more than at the start in {falling} of {} seeds)",
            seeds.len()
        )
    })
}

fn words(against: &Option<String>) -> &str {
    against.as_deref().unwrap_or("accepted")
}

fn alignment(run: &Run, time: usize) -> Result<Matrix, String> {
    run.square("alignment_1_2", time)
}

/// Number of leading modes of the end-to-end matrix that are longer than `part` of the longest.
fn grown(run: &Run, time: usize, part: f64) -> Result<usize, String> {
    let values = run.row("sigma_end_to_end", time)?;
    Ok(values.len() - below(run, "end_to_end", part, time)?)
}

/// At the start and at the end: the alignment score, the part of the squares of A within blocks of equal
/// singular values.
fn scores(runs: &[Run]) -> Result<Vec<(f64, f64)>, String> {
    let score = |run: &Run, time| Ok::<f64, String>(run.row("alignment_score_1_2", time)?[0]);
    runs.iter().map(|run| Ok((score(run, 0)?, score(run, time_at(run, 1.0))?))).collect()
}

/// At the start and at the end: the part on `diagonal` over the modes that `modes` picks for a run.
fn parts(
    runs: &[Run],
    diagonal: Diagonal,
    modes: impl Fn(&Run) -> Result<std::ops::Range<usize>, String>,
) -> Result<Vec<(f64, f64)>, String> {
    let part = |run: &Run| {
        let modes = modes(run)?;
        let at = |time| Ok::<f64, String>(diagonal.part(&alignment(run, time)?, modes.clone()));
        Ok((at(0)?, at(time_at(run, 1.0))?))
    };
    runs.iter().map(part).collect()
}

/// The modes that have grown by the end, or those that have not.
fn by_growth(run: &Run, has_grown: bool) -> Result<std::ops::Range<usize>, String> {
    let m = grown(run, time_at(run, 1.0), COLLAPSED)?;
    let all = run.row("sigma_end_to_end", 0)?.len();
    Ok(if has_grown { 0..m } else { m..all })
}

fn all_modes(run: &Run) -> Result<std::ops::Range<usize>, String> {
    Ok(0..run.row("sigma_end_to_end", 0)?.len())
}

/// At the start and at the end: the part of the squares of A in the rows of the modes that grow which lies in
/// their columns. It is 1 where both layers have the same space for them, whatever the order within.
fn grown_blocks(runs: &[Run]) -> Result<Vec<(f64, f64)>, String> {
    let part = |run: &Run| {
        let m = by_growth(run, true)?.len();
        let at =
            |time| Ok::<f64, String>(alignment(run, time)?.view((0, 0), (m, m)).norm_squared() / m as f64);
        Ok((at(0)?, at(time_at(run, 1.0))?))
    };
    runs.iter().map(part).collect()
}

fn score_over_time(runs: &[Run]) -> Result<Value, String> {
    over_time(runs, &[0.001, 0.01, 0.1, 1.0], |run, time| Ok(run.row("alignment_score_1_2", time)?[0]))
}

fn start(seeds: &[(f64, f64)]) -> Median {
    Median::of(seeds.iter().map(|(start, _)| *start))
}

fn end(seeds: &[(f64, f64)]) -> Median {
    Median::of(seeds.iter().map(|(_, end)| *end))
}

fn first_plan(runs: &[Run], refuted: bool) -> Option<Counterexample> {
    runs.first().filter(|_| refuted).map(|run| Counterexample::Plan(run.to_toml()))
}

/// Refuted where every one of `against` speaks against it, consistent where none does.
fn verdict<const N: usize>(against: [&Option<String>; N]) -> Verdict {
    match against.iter().filter(|problem| problem.is_some()).count() {
        0 => Verdict::Consistent,
        all if all == N => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    }
}

fn paper(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(FIGURES_5_6_PAPER.name)?;
    let (long, population) = (case.runs(FIXED_BATCH_LONG.name)?, case.runs(POPULATION.name)?);
    let (figure, on_batch, in_limit) = (scores(runs)?, scores(long)?, scores(population)?);
    let against = [settles(&figure), settles(&on_batch), settles(&in_limit)];
    let verdict = verdict([&against[0], &against[1], &against[2]]);
    let accepted = settles(&parts(runs, Diagonal::Plain, |run| by_growth(run, true))?);
    let rejected = settles(&parts(runs, Diagonal::Plain, |run| by_growth(run, false))?);
    let reversed = parts(population, Diagonal::Reversed, all_modes)?;
    let time = |runs: &[Run]| number(runs[0].times().last().copied().unwrap_or(f64::NAN));
    Ok(Finding {
        verdict,
        summary: format!(
            "alignment score, 1 where |A| = I: {} at t = {}, {} on a fixed batch at t = {}, {} in the \
             population limit at t = {}, where {} lies on the reversed diagonal",
            end(&figure),
            time(runs),
            end(&on_batch),
            time(long),
            end(&in_limit),
            time(population),
            end(&reversed),
        ),
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "corrected, the modes that have grown alone: {}; wrong, the modes that have not: {}",
                words(&accepted),
                words(&rejected)
            ),
            accepted.is_none() && rejected.is_some(),
        ),
        counterexample: first_plan(long, verdict == Verdict::Refuted),
    }
    .with("score_over_time", score_over_time(runs)?)
    .with("score_over_time_on_a_fixed_batch_for_long", score_over_time(long)?)
    .with("score_over_time_in_the_population_limit", score_over_time(population)?)
    .with("resolved_part_on_a_fixed_batch_for_long", end(&resolved(long)?).to_json())
    .with(
        "smallest_eigenvalue_of_x",
        smallest_of_x(&[("figure", runs), ("long", long), ("population", population)])?,
    ))
}

/// At the start and at the end: the part of the singular vectors that the integrator's tolerance determines.
fn resolved(runs: &[Run]) -> Result<Vec<(f64, f64)>, String> {
    let at = |run: &Run, time| Ok::<f64, String>(run.row("alignment_resolved_1_2", time)?[0]);
    runs.iter().map(|run| Ok((at(run, 0)?, at(run, time_at(run, 1.0))?))).collect()
}

/// The smallest eigenvalue of X over all times and seeds, against its numerical floor there: Theorem 2 wants
/// it positive.
fn smallest_of_x(sets: &[(&str, &[Run])]) -> Result<Value, String> {
    let mut shown = Map::new();
    for (name, runs) in sets {
        let mut smallest = (f64::INFINITY, f64::NAN);
        for run in *runs {
            for time in 0..run.times().len() {
                let (value, floor) = (run.row("eig_x", time)?[0], run.row("floor_eig_x", time)?[0]);
                if value < smallest.0 {
                    smallest = (value, floor);
                }
            }
        }
        shown.insert((*name).to_string(), json!({ "eigenvalue": smallest.0, "floor": smallest.1 }));
    }
    Ok(Value::Object(shown))
}

/// What the bound by the imbalance is evaluated with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Denominator {
    /// The gap between a mode's squared singular value and the closest one of another mode of the other
    /// layer.
    Gap,
    /// The square of the first layer's largest singular value: what the printed proof divides by.
    Norm,
}

/// Where the bound came closest to failing: what it bounds over the bound, and where that was.
#[derive(Clone, Debug)]
struct Closest {
    ratio: f64,
    place: String,
}

impl Closest {
    fn nothing() -> Self {
        Closest { ratio: 0.0, place: String::new() }
    }

    fn or(self, ratio: f64, place: impl FnOnce() -> String) -> Self {
        // A ratio that is no number counts as failing.
        if ratio <= self.ratio { self } else { Closest { ratio, place: place() } }
    }
}

/// 1 - A_kk² over (imbalance/denominator)², the largest over all modes; and the modes whose bound is below ½.
fn mode_bound(
    alignment: &Matrix,
    sigma: (&[f64], &[f64]),
    imbalance: f64,
    denominator: Denominator,
) -> (f64, usize) {
    let (inner, outer) = sigma;
    let (mut worst, mut informed) = (0.0f64, 0);
    for k in 0..outer.len() {
        let denominator = match denominator {
            Denominator::Gap => gap(inner, outer, k),
            Denominator::Norm => inner[0] * inner[0],
        };
        let bound = (imbalance / denominator).powi(2);
        let ratio = (1.0 - alignment[(k, k)].powi(2)) / bound;
        worst = if ratio.is_nan() { f64::INFINITY } else { worst.max(ratio) };
        informed += usize::from(bound < 0.5);
    }
    (worst, informed)
}

/// |A_{K, rest}| over imbalance/(σ2_m² - σ1_{m+1}²) for the m leading modes K, the largest over every m whose
/// gap is positive.
fn block_bound(alignment: &Matrix, sigma: (&[f64], &[f64]), imbalance: f64) -> Result<f64, String> {
    let (inner, outer) = sigma;
    let mut worst = 0.0f64;
    for m in 1..outer.len() {
        let gap = outer[m - 1].powi(2) - inner[m].powi(2);
        if gap > 0.0 {
            let corner = alignment.view((0, m), (m, inner.len() - m)).into_owned();
            let norm = matrix::spectral_norm(&corner).map_err(|e| e.to_string())?;
            worst = worst.max(norm * gap / imbalance);
        }
    }
    Ok(worst)
}

/// What the bounds came to over all times of `runs`.
struct Bounds {
    mode: Closest,
    block: Closest,
    /// The mode's bound with the printed proof's denominator.
    norm: Closest,
    /// Where the imbalance left its start by more than the errors of the layers explain.
    not_conserved: Option<String>,
    /// Modes whose bound says something at the end, for each seed.
    informed: Vec<f64>,
}

impl Bounds {
    /// Beside the bounds: what they bound, and what of it the modes that have not grown show.
    fn to_json(&self, runs: &[Run], grown: &[(f64, f64)]) -> Result<Value, String> {
        let closest = |it: &Closest| json!({ "largest_part_of_the_bound": it.ratio, "where": it.place });
        let squares = |has_grown: bool| {
            over_time(runs, &[0.001, 0.01, 0.1, 1.0], |run, time| {
                Ok(Diagonal::Plain.part(&alignment(run, time)?, by_growth(run, has_grown)?))
            })
        };
        Ok(json!({
            "modes": closest(&self.mode),
            "leading_blocks": closest(&self.block),
            "modes_whose_bound_is_below_one_half_at_the_end": Median::of(self.informed.clone()).to_json(),
            "squares_in_the_block_of_the_grown_modes_at_the_start": start(grown).to_json(),
            "squares_in_the_block_of_the_grown_modes_at_the_end": end(grown).to_json(),
            "squares_on_the_diagonal_of_the_grown_modes": squares(true)?,
            "squares_on_the_diagonal_of_the_others": squares(false)?,
        }))
    }
}

fn bounds(runs: &[Run]) -> Result<Bounds, String> {
    let mut bounds = Bounds {
        mode: Closest::nothing(),
        block: Closest::nothing(),
        norm: Closest::nothing(),
        not_conserved: None,
        informed: Vec::new(),
    };
    for run in runs {
        let size = imbalance_norm(run, 0)?;
        for (time, t) in run.times().iter().enumerate() {
            let place = || format!("{} at t = {}", run.plan.directory_name(), number(*t));
            let (drift, moved) = (imbalance_error(run, time)?, imbalance_moved(run, time)?);
            if (moved.is_nan() || moved > drift) && bounds.not_conserved.is_none() {
                bounds.not_conserved =
                    Some(format!("{}: moved by {moved:e}, errors explain {drift:e}", place()));
            }
            let alignment = alignment(run, time)?;
            let sigma = (run.row("sigma_w1", time)?, run.row("sigma_w2", time)?);
            let (mode, informed) = mode_bound(&alignment, sigma, size + drift, Denominator::Gap);
            let (norm, _) = mode_bound(&alignment, sigma, size + drift, Denominator::Norm);
            bounds.mode = bounds.mode.or(mode, place);
            bounds.norm = bounds.norm.or(norm, place);
            bounds.block = bounds.block.or(block_bound(&alignment, sigma, size + drift)?, place);
            if time + 1 == run.times().len() {
                bounds.informed.push(informed as f64);
            }
        }
    }
    Ok(bounds)
}

fn paper_corrected(case: &Case) -> Result<Finding, String> {
    let mut against = Vec::new();
    let mut shown = Map::new();
    let mut hypotheses = Vec::new();
    let mut control = (Vec::new(), true);
    let mut told = Vec::new();
    for name in [FIGURES_5_6_PAPER.name, FIXED_BATCH_LONG.name] {
        let runs = case.runs(name)?;
        let bounds = bounds(runs)?;
        for (what, closest) in [("mode", &bounds.mode), ("block", &bounds.block)] {
            if closest.ratio > 1.0 {
                against.push(format!("the bound of a {what} fails: {}", closest.place));
            }
        }
        let large = grown_blocks(runs)?;
        let small = parts(runs, Diagonal::Plain, |run| by_growth(run, false))?;
        against.extend(settles(&large).map(|problem| format!("{name}, block of the grown modes: {problem}")));
        if settles(&small).is_none() {
            against.push(format!("{name}: the modes that have not grown align too"));
        }
        told.push(format!("{} and {}", end(&large), end(&small)));
        control.0.push(number(bounds.norm.ratio));
        control.1 &= bounds.norm.ratio > 1.0;
        shown.insert(name.to_string(), bounds.to_json(runs, &large)?);
        hypotheses.push(Hypothesis::unless(
            format!("{name}: D is conserved as far as the errors of the layers go"),
            bounds.not_conserved,
        ));
    }
    let broken = hypotheses.iter().any(|hypothesis| !hypothesis.held);
    let verdict = match (against.is_empty(), broken) {
        (true, false) => Verdict::Consistent,
        (false, false) => Verdict::Refuted,
        (_, true) => Verdict::OutsideHypotheses,
    };
    let mut summary = format!(
        "the bound holds in every mode at every time; squares of A within the block of the modes that have \
         grown, and on the diagonal of the others: {} at the figure's end, {} for long",
        told[0], told[1]
    );
    if !against.is_empty() {
        summary = against.join("; ");
    }
    let runs = case.runs(FIGURES_5_6_PAPER.name)?;
    Ok(Finding {
        verdict,
        summary,
        evidence: shown,
        hypotheses,
        control: Control::new(
            format!(
                "the bound with the norm |W1|², which the printed proof lets grow, in place of the gap: \
                 violated by a factor of {}",
                control.0.join(" and ")
            ),
            control.1,
        ),
        counterexample: first_plan(runs, verdict == Verdict::Refuted),
    })
}

fn released_code(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(FIGURES_5_6_RELEASED_CODE.name)?;
    let population = case.runs(POPULATION_DOT.name)?;
    let (figure, in_limit) = (scores(runs)?, scores(population)?);
    let against = [settles(&figure), settles(&in_limit)];
    let verdict = verdict([&against[0], &against[1]]);
    let reversed = parts(population, Diagonal::Reversed, all_modes)?;
    let plain = parts(population, Diagonal::Plain, all_modes)?;
    let (accepted, rejected) = (settles(&reversed), settles(&plain));
    Ok(Finding {
        verdict,
        summary: format!(
            "alignment score, 1 where |A| = I: {} after all steps, {} in the population limit, where {} \
             lies on the reversed diagonal",
            end(&figure),
            end(&in_limit),
            end(&reversed),
        ),
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "corrected, the reversed diagonal in the population limit: {}; wrong, its plain diagonal: {}",
                words(&accepted),
                words(&rejected)
            ),
            accepted.is_none() && rejected.is_some(),
        ),
        counterexample: first_plan(runs, verdict == Verdict::Refuted),
    }
    .with("score_over_time", score_over_time(runs)?)
    .with("score_over_time_in_the_population_limit", score_over_time(population)?))
}

/// A mode has grown where it is longer than this part of the longest: on the way up it belongs to neither
/// side. The lifetimes of modes are measured at the same mark.
const HALF_GROWN: f64 = 0.5;

/// How the two layers share the modes that have grown.
#[derive(Clone, Copy, Debug)]
struct Sharing {
    /// Modes.
    modes: usize,
    /// Correlation of log W1 W1ᵀ and log W2ᵀ W2 on them: -1 where one is a multiple of the other's inverse, 1
    /// where one is a multiple of the other.
    correlation: f64,
    /// Relative spread (standard deviation over mean) of σ1_k σ2_{m+1-k}, of σ1_k σ2_k and of the singular
    /// values of W2 W1.
    spreads: [f64; 3],
}

fn sharing(run: &Run, time: usize) -> Result<Sharing, String> {
    let modes = grown(run, time, HALF_GROWN)?;
    let (inner, outer) = (run.row("sigma_w1", time)?, run.row("sigma_w2", time)?);
    let total = run.row("sigma_end_to_end", time)?;
    let pairs = |of: fn(usize, usize) -> usize| (0..modes).map(move |k| inner[k] * outer[of(k, modes)]);
    Ok(Sharing {
        modes,
        correlation: correlation(&alignment(run, time)?, &inner[..modes], &outer[..modes]),
        spreads: [
            spread(pairs(|k, modes| modes - 1 - k)),
            spread(pairs(|k, _| k)),
            spread(total[..modes].iter().copied()),
        ],
    })
}

/// ⟨P, Q⟩/(|P||Q|) of the traceless parts P of log W1 W1ᵀ and Q of log W2ᵀ W2, on the leading modes.
fn correlation(alignment: &Matrix, inner: &[f64], outer: &[f64]) -> f64 {
    let centred = |values: &[f64]| {
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        logs.into_iter().map(|log| log - mean).collect::<Vec<f64>>()
    };
    let (p, q) = (centred(inner), centred(outer));
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let mut product = 0.0;
    for (k, outer) in q.iter().enumerate() {
        for (other, inner) in p.iter().enumerate() {
            product += alignment[(k, other)].powi(2) * outer * inner;
        }
    }
    product / (norm(&p) * norm(&q))
}

fn spread(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt() / mean
}

/// Nothing where the layers share what has grown in reverse, in every seed: the correlation is negative.
///
/// Were either sign as likely, n seeds would all be negative with probability 2⁻ⁿ.
fn reversed(seeds: &[Sharing]) -> Option<String> {
    let positive = seeds.iter().filter(|seed| seed.correlation.is_nan() || seed.correlation >= 0.0).count();
    (positive > 0).then(|| {
        let correlation = Median::of(seeds.iter().map(|seed| seed.correlation));
        format!("correlation {correlation}, not negative in {positive} of {} seeds", seeds.len())
    })
}

fn sharings(runs: &[Run]) -> Result<Vec<Sharing>, String> {
    runs.iter().map(|run| sharing(run, time_at(run, 1.0))).collect()
}

fn correlation_over_time<'a>(runs: impl IntoIterator<Item = &'a Run> + Clone) -> Result<Value, String> {
    over_time(runs, &[0.03, 0.1, 0.25, 0.5, 1.0], |run, time| Ok(sharing(run, time)?.correlation))
}

fn correlations(seeds: &[Sharing]) -> Median {
    Median::of(seeds.iter().map(|seed| seed.correlation))
}

fn shown(seeds: &[Sharing]) -> Value {
    let of = |pick: fn(&Sharing) -> f64| Median::of(seeds.iter().map(pick)).to_json();
    json!({
        "modes": of(|seed| seed.modes as f64),
        "correlation": of(|seed| seed.correlation),
        "spread_of_reversed_products": of(|seed| seed.spreads[0]),
        "spread_of_plain_products": of(|seed| seed.spreads[1]),
        "spread_of_end_to_end": of(|seed| seed.spreads[2]),
    })
}

/// The largest difference of σ1_k² at the end from what the start predicts, relative to the largest σ1_k²;
/// and what the tolerance explains of it.
fn predicted(run: &Run) -> Result<(f64, f64), String> {
    let time = time_at(run, 1.0);
    let start = run.square("imbalance_1_2", 0)?;
    let mut d = matrix::symmetric_eigenvalues(&start).map_err(|e| e.to_string())?;
    d.reverse();
    let total = run.row("sigma_end_to_end", time)?;
    let c = total.iter().sum::<f64>() / total.len() as f64;
    let inner = run.row("sigma_w1", time)?;
    let largest = inner[0] * inner[0];
    let error = d.iter().zip(inner).map(|(d, sigma)| (0.5 * (d + d.hypot(2.0 * c)) - sigma * sigma).abs());
    Ok((error.fold(0.0, f64::max) / largest, imbalance_error(run, time)? / largest))
}

fn released_code_corrected(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(FIGURES_5_6_RELEASED_CODE.name)?;
    let (batches, population) = (case.runs(BATCHES.name)?, case.runs(POPULATION_DOT.name)?);
    let (figure, limit) = (sharings(runs)?, sharings(population)?);
    let on_reversed = parts(population, Diagonal::Reversed, all_modes)?;
    let mut against: Vec<String> = [
        reversed(&figure).map(|problem| format!("released code: {problem}")),
        reversed(&limit).map(|problem| format!("population limit: {problem}")),
        settles(&on_reversed).map(|problem| format!("reversed diagonal in the population limit: {problem}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut by_batch = Vec::new();
    for cell in by_seed(batches).first().map_or(&[][..], |cells| cells) {
        let size = cell.swept("dynamics.batch").unwrap_or_default().to_string();
        let cells: Vec<Sharing> = batches
            .iter()
            .filter(|run| run.plan.cell == cell.plan.cell)
            .map(|run| sharing(run, time_at(run, 1.0)))
            .collect::<Result<_, _>>()?;
        by_batch.push((size, cells));
    }
    by_batch.push(("the file's".to_string(), figure.clone()));
    by_batch.push(("infinite".to_string(), limit.clone()));
    let medians: Vec<f64> = by_batch.iter().map(|(_, seeds)| correlations(seeds).median).collect();
    if !medians.windows(2).all(|pair| pair[1] < pair[0]) {
        against.push(format!("the correlation does not fall with the batch: {medians:?}"));
    }
    let errors: Vec<(f64, f64)> = population.iter().map(predicted).collect::<Result<_, _>>()?;
    if let Some((error, explained)) = errors.iter().find(|(error, explained)| error > explained) {
        against
            .push(format!("σ1_k² differ from the prediction by {error:e}, tolerance explains {explained:e}"));
    }
    let theory = sharings(case.runs(FIGURES_5_6_PAPER.name)?)?;
    let rejected = [reversed(&theory), settles(&parts(population, Diagonal::Plain, all_modes)?)];
    let verdict = if against.is_empty() { Verdict::Consistent } else { Verdict::Refuted };
    let error = Median::of(errors.iter().map(|(error, _)| *error));
    let mut summary = format!(
        "correlation of log W1 W1ᵀ and log W2ᵀ W2, -1 where one is the other's inverse: {} in the released \
         code, {} in the population limit, where {} of |A|² lies on the reversed diagonal and σ1_k² is \
         predicted to {error}",
        correlations(&figure),
        correlations(&limit),
        end(&on_reversed),
    );
    if !against.is_empty() {
        summary = format!("{summary}; {}", against.join("; "));
    }
    let smallest: Vec<&Run> =
        by_seed(batches).into_iter().filter_map(|cells| cells.first().copied()).collect();
    let table: Vec<Value> =
        by_batch.iter().map(|(batch, seeds)| json!({ "batch": batch, "at_the_end": shown(seeds) })).collect();
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "the leading modes of the theory's run, which are not isotropic: {}; the plain diagonal in \
                 the population limit: {}",
                words(&rejected[0]),
                words(&rejected[1])
            ),
            rejected.iter().all(Option::is_some),
        ),
        counterexample: first_plan(runs, verdict == Verdict::Refuted),
    }
    .with("by_batch", table)
    .with("theory", shown(&theory))
    .with("correlation_over_time", correlation_over_time(runs)?)
    .with("correlation_over_time_smallest_batch", correlation_over_time(smallest.iter().copied())?)
    .with(
        "prediction_in_the_population_limit",
        json!({
            "error": error.to_json(),
            "explained_by_tolerance": Median::of(errors.iter().map(|(_, explained)| *explained)).to_json(),
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharing_of(correlation: f64) -> Sharing {
        Sharing { modes: 12, correlation, spreads: [0.0; 3] }
    }

    #[test]
    fn figure_5_check_rejects_what_stays_off_the_diagonal_or_leaves_it() {
        assert_eq!(settles(&[(0.1, 0.9), (0.2, 0.7)]), None);
        assert!(settles(&[(0.1, 0.9), (0.2, 0.4)]).is_some());
        assert!(settles(&[(0.9, 0.8)]).is_some());
        assert!(settles(&[(0.1, f64::NAN)]).is_some());
    }

    #[test]
    fn the_reversed_identity_lies_on_the_reversed_diagonal_alone() {
        let reversed = Matrix::from_fn(4, 4, |i, j| f64::from(u8::from(i + j == 3)));
        assert_eq!(Diagonal::Reversed.part(&reversed, 0..4), 1.0);
        assert_eq!(Diagonal::Plain.part(&reversed, 0..4), 0.0);
        assert_eq!(Diagonal::Plain.part(&Matrix::identity(4, 4), 1..3), 1.0);
    }

    #[test]
    fn bound_by_the_imbalance_holds_with_the_gap_and_not_with_the_norm() {
        // W1 = diag(3, 0.2, 0.1), W2 with vectors turned by 1 in the plane of the two small modes.
        let (sine, cosine) = 1f64.sin_cos();
        let inner = [3.0, 0.2, 0.1];
        let outer = [2.9, 0.25, 0.05];
        let turned = Matrix::from_row_slice(3, 3, &[1.0, 0.0, 0.0, 0.0, cosine, sine, 0.0, -sine, cosine]);
        let square =
            |values: &[f64]| Matrix::from_fn(3, 3, |i, j| if i == j { values[i].powi(2) } else { 0.0 });
        let difference = square(&inner) - turned.transpose() * square(&outer) * &turned;
        let imbalance = matrix::spectral_norm(&difference).unwrap();
        let (worst, informed) = mode_bound(&turned, (&inner, &outer), imbalance, Denominator::Gap);
        assert!(worst <= 1.0 && informed == 1, "{worst} {informed}");
        assert!(mode_bound(&turned, (&inner, &outer), imbalance, Denominator::Norm).0 > 1.0);
        assert!(block_bound(&turned, (&inner, &outer), imbalance).unwrap() <= 1.0);
    }

    #[test]
    fn layers_that_are_inverse_correlate_with_minus_1_and_equal_ones_with_1() {
        let (inner, outer) = ([2.0, 1.0, 0.7], [1.0 / 0.7, 1.0, 0.5]);
        let reversed_identity = Matrix::from_fn(3, 3, |i, j| f64::from(u8::from(i + j == 2)));
        assert!((correlation(&reversed_identity, &inner, &outer) + 1.0).abs() < 1e-12);
        assert!((correlation(&Matrix::identity(3, 3), &inner, &inner) - 1.0).abs() < 1e-12);
        assert_eq!(reversed(&[sharing_of(-0.7), sharing_of(-0.1)]), None);
        assert!(reversed(&[sharing_of(-0.7), sharing_of(0.1)]).is_some());
        assert!(reversed(&[sharing_of(f64::NAN)]).is_some());
    }
}
