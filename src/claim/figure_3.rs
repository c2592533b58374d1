//! Figure 3: the spectrum of one layer under strong augmentation of half of the coordinates.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding};
use super::statistics::{Median, number};
use super::toy_figures::{
    COLLAPSED, FIGURE_3_PAPER, FIGURE_3_RELEASED_CODE, below, by_seed, over_time, time_at, told,
};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::loss::Loss;
use crate::matrix::{self, Matrix};
use serde_json::{Map, Value, json};

const STATEMENT: &str =
    "With growing augmentation on 8 of 16 coordinates, 8 of the 16 singular values of one layer vanish.";

/// Augmented coordinates, the last ones.
const AUGMENTED: usize = 8;

/// Variance of the data in both experiment files.
const VARIANCE: f64 = 1.0;

/// Beyond this variance of the augmentation all of the augmented directions shrink in the limit of infinitely
/// many samples (`threshold-one-sided`); below, none does.
const THRESHOLD: f64 = 2.0 * VARIANCE;

pub(super) const PAPER: Claim = Claim {
    id: "figure-3",
    source: "Figure 3, loss and noise of the theory",
    statement: STATEMENT,
    formula: "",
    evidence: Evidence::Limit,
    experiments: &[FIGURE_3_PAPER, SAMPLES],
    judge: paper,
};

pub(super) const RELEASED_CODE: Claim = Claim {
    id: "figure-3-released-code",
    source: "Figure 3, loss, noise and bias of the released code",
    statement: STATEMENT,
    formula: "",
    evidence: Evidence::Limit,
    experiments: &[FIGURE_3_RELEASED_CODE, FIGURE_3_PAPER],
    judge: released_code,
};

pub(super) const RELEASED_CODE_CORRECTED: Claim = Claim {
    id: "figure-3-released-code-corrected",
    source: "Figure 3, loss, noise and bias of the released code; derived here",
    statement: "No augmentation makes the directions that it acts on vanish: they shrink as a power of the \
                noise, and the one direction that is lost is that of the bias.",
    formula: "singular value on the augmented coordinates: √(τσ)/(σ + k)",
    evidence: Evidence::Limit,
    experiments: &[FIGURE_3_RELEASED_CODE],
    judge: released_code_corrected,
};

/// Strong augmentation on batches of growing size, for long.
const SAMPLES: NeededExperiment = NeededExperiment {
    name: "figure_3_samples",
    source: Source::Text(
        r#"
title    = "Figure 3 at its strongest augmentation, over samples and time"
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 16, samples = 256 }
augment  = { kind = "block", block = 8, variance = 5.0, sides = "one" }
encoder  = { kind = "linear", widths = [16, 16], init = { kind = "gaussian", std = 0.25 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 3000.0 }
observe  = { times = { kind = "log", first = 3e-1, count = 13 }, quantities = ["loss", "spectra"] }
sweep    = { "data.samples" = [64, 128, 256] }
"#,
    ),
    quick: &[],
    full: &["sweep.data.samples=[64, 128, 256, 512]"],
};

/// What a seed shows over the strengths of augmentation.
#[derive(Clone, Debug)]
struct Collapse {
    /// Number of singular values that have vanished, by growing strength.
    lost: Vec<usize>,
    /// The ninth singular value over the first at the largest strength, at half the time and at the end.
    ninth: (f64, f64),
}

/// Nothing where eight values vanish with growing augmentation in every seed; otherwise what stands against
/// it.
///
/// None has vanished at the smallest strength and exactly eight have at the largest, the number never falls
/// from one strength to the next, and the largest of the eight is still falling at the end.
fn eight_vanish(seeds: &[Collapse]) -> Option<String> {
    let failing = |wrong: fn(&Collapse) -> bool| seeds.iter().filter(|seed| wrong(seed)).count();
    let against = [
        (failing(|seed| seed.lost.first() != Some(&0)), "some have vanished at the weakest augmentation"),
        (failing(|seed| seed.lost.last() != Some(&AUGMENTED)), "not 8 have vanished at the strongest"),
        (
            failing(|seed| seed.lost.windows(2).any(|pair| pair[0] > pair[1])),
            "with stronger augmentation fewer have",
        ),
        (failing(|seed| seed.ninth.1 >= seed.ninth.0), "the ninth value has stopped falling"),
    ];
    told(seeds.len(), &against)
}

fn strength(run: &Run) -> Result<f64, String> {
    run.swept_number("augment.variance")
}

/// Number of singular values below `part` of the largest that are smaller than their like at the start. A random start has
/// small ones of its own, and one that grows has not vanished, however small it still is.
fn vanished(run: &Run, part: f64, time: usize) -> Result<usize, String> {
    let (start, now) = (run.row("sigma_end_to_end", 0)?, run.row("sigma_end_to_end", time)?);
    let small = below(run, "end_to_end", part, time)?;
    Ok(start.iter().zip(now).rev().take(small).filter(|(start, now)| now < start).count())
}

fn ninth(run: &Run, time: usize) -> Result<f64, String> {
    let values = run.row("sigma_end_to_end", time)?;
    match values.len().checked_sub(AUGMENTED).and_then(|index| values.get(index)) {
        Some(ninth) => Ok(ninth / values[0]),
        None => Err(format!("a spectrum of {} values has no {AUGMENTED} lowest", values.len())),
    }
}

/// The runs of each seed whose strength `keep` keeps.
fn collapses(runs: &[Run], keep: impl Fn(f64) -> bool) -> Result<Vec<Collapse>, String> {
    let seed = |cells: Vec<&Run>| {
        let mut lost = Vec::new();
        let mut last = None;
        for run in cells {
            if keep(strength(run)?) {
                lost.push(vanished(run, COLLAPSED, time_at(run, 1.0))?);
                last = Some(run);
            }
        }
        let last = last.ok_or("no strength is left")?;
        let ninth = (ninth(last, time_at(last, 0.5))?, ninth(last, time_at(last, 1.0))?);
        Ok(Collapse { lost, ninth })
    };
    by_seed(runs).into_iter().map(seed).collect()
}

/// Vanished values by strength, at three marks: what the verdict does not depend on is shown beside it.
fn lost_by_strength(runs: &[Run]) -> Result<Value, String> {
    let seeds = by_seed(runs);
    let mut rows = Vec::new();
    for cell in 0..seeds.first().map_or(0, Vec::len) {
        let mut row = Map::new();
        for part in [0.1, COLLAPSED, 0.001] {
            let mut lost = Vec::new();
            for run in seeds.iter().filter_map(|cells| cells.get(cell)) {
                row.insert("variance".to_string(), json!(strength(run)?));
                lost.push(vanished(run, part, time_at(run, 1.0))? as f64);
            }
            row.insert(format!("below_{part}_of_the_largest"), Median::of(lost).to_json());
        }
        rows.push(Value::Object(row));
    }
    Ok(rows.into())
}

fn at_strongest(runs: &[Run]) -> Vec<&Run> {
    by_seed(runs).into_iter().filter_map(|cells| cells.last().copied()).collect()
}

fn describe(seeds: &[Collapse]) -> String {
    let at = |pick: fn(&Collapse) -> Option<f64>| Median::of(seeds.iter().filter_map(pick));
    format!(
        "vanished values: {} at the weakest, {} at the strongest augmentation, where σ_9/σ_1 = {}",
        at(|seed| seed.lost.first().map(|lost| *lost as f64)),
        at(|seed| seed.lost.last().map(|lost| *lost as f64)),
        at(|seed| Some(seed.ninth.1)),
    )
}

fn paper(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(FIGURE_3_PAPER.name)?;
    let seeds = collapses(runs, |_| true)?;
    let against = eight_vanish(&seeds);
    let weak = collapses(runs, |k| k < THRESHOLD)?;
    let rejected = eight_vanish(&weak);
    let (samples, trend) = over_samples(case.runs(SAMPLES.name)?)?;
    let verdict = match (&against, &trend) {
        (Some(_), _) => Verdict::Refuted,
        (None, Some(_)) => Verdict::Inconclusive,
        (None, None) => Verdict::Consistent,
    };
    let mut summary = describe(&seeds);
    for problem in [&against, &trend].into_iter().flatten() {
        summary = format!("{summary}; {problem}");
    }
    let strongest = at_strongest(runs);
    let counterexample =
        against.and_then(|_| strongest.first().map(|run| Counterexample::Plan(run.to_toml())));
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "the same runs without those beyond the threshold k = {THRESHOLD}: {}",
                rejected.as_deref().unwrap_or("accepted")
            ),
            rejected.is_some(),
        ),
        counterexample,
    }
    .with("vanished_by_strength", lost_by_strength(runs)?)
    .with(
        "ninth_over_first_at_the_strongest",
        over_time(strongest.iter().copied(), &[0.1, 0.25, 0.5, 1.0], ninth)?,
    )
    .with("samples_and_time_at_variance_5", samples))
}

/// How many values vanish over samples and time, and what speaks against eight in the limit of both:
/// σ_9/σ_1 has to fall with time on the largest batch, and with samples at the end.
fn over_samples(runs: &[Run]) -> Result<(Value, Option<String>), String> {
    let seeds = by_seed(runs);
    let mut rows = Vec::new();
    let (mut previous, mut problem) = (f64::INFINITY, None);
    for cell in 0..seeds.first().map_or(0, Vec::len) {
        let cells: Vec<&Run> = seeds.iter().filter_map(|cells| cells.get(cell).copied()).collect();
        let at = |part: f64| -> Result<f64, String> {
            let values: Result<Vec<f64>, String> =
                cells.iter().map(|run| ninth(run, time_at(run, part))).collect();
            Ok(Median::of(values?).median)
        };
        let (earlier, end) = (at(0.1)?, at(1.0)?);
        let samples =
            cells.first().map_or(f64::NAN, |run| run.swept_number("data.samples").unwrap_or(f64::NAN));
        let last = cell + 1 == seeds[0].len();
        if end >= previous || last && end >= earlier {
            problem = Some(format!("σ_9/σ_1 = {} on {samples} samples does not fall", number(end)));
        }
        previous = end;
        let parts = [0.01, 0.1, 1.0];
        rows.push(json!({
            "samples": samples,
            "vanished": over_time(cells.iter().copied(), &parts, |run, time| {
                vanished(run, COLLAPSED, time).map(|lost| lost as f64)
            })?,
            "ninth_over_first": over_time(cells.iter().copied(), &parts, ninth)?,
        }));
    }
    Ok((rows.into(), problem))
}

fn released_code(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(FIGURE_3_RELEASED_CODE.name)?;
    let theory = case.runs(FIGURE_3_PAPER.name)?;
    let seeds = collapses(runs, |_| true)?;
    let against = eight_vanish(&seeds);
    let accepted = eight_vanish(&collapses(theory, |_| true)?);
    let rejected = eight_vanish(&collapses(theory, |k| k < THRESHOLD)?);
    let strongest = at_strongest(runs);
    let (verdict, summary) = match &against {
        None => (Verdict::Consistent, describe(&seeds)),
        Some(problem) => (Verdict::Refuted, format!("{}; {problem}", describe(&seeds))),
    };
    let counterexample =
        against.and_then(|_| strongest.first().map(|run| Counterexample::Plan(run.to_toml())));
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "the same check on loss and noise of the theory: {}; on those without the runs beyond the \
                 threshold: {}",
                accepted.as_deref().unwrap_or("accepted"),
                rejected.as_deref().unwrap_or("accepted"),
            ),
            accepted.is_none() && rejected.is_some(),
        ),
        counterexample,
    }
    .with("vanished_by_strength", lost_by_strength(runs)?)
    .with(
        "ninth_over_first_at_the_strongest",
        over_time(strongest.iter().copied(), &[0.1, 0.25, 0.5, 1.0], ninth)?,
    ))
}

/// The final layer of a run of the released code.
struct Final {
    /// Typical singular value on the augmented coordinates: the median of all but the smallest, which the
    /// bias takes.
    typical: f64,
    /// Left singular vector of the smallest singular value.
    smallest: Vec<f64>,
    /// The bias.
    bias: Vec<f64>,
}

impl Final {
    fn of(run: &Run) -> Result<Self, String> {
        let layers = run.layers()?;
        let weights = &layers[0];
        let bias = run.state.get("b1").ok_or("the layer has no bias")?.values.clone();
        let first = weights.ncols().checked_sub(AUGMENTED).ok_or("fewer coordinates than augmented ones")?;
        let augmented: Matrix = weights.columns(first, AUGMENTED).into_owned();
        let values = matrix::singular_values(&augmented).map_err(|e| e.to_string())?;
        let svd = matrix::svd(weights).map_err(|e| e.to_string())?;
        let smallest = svd.u.column(svd.u.ncols() - 1).iter().copied().collect();
        Ok(Final { typical: values[(AUGMENTED - 1) / 2], smallest, bias })
    }

    /// Squared cosine of the angle between the direction of the smallest singular value and `bias`.
    fn along(&self, bias: &[f64]) -> f64 {
        let product: f64 = self.smallest.iter().zip(bias).map(|(u, b)| u * b).sum();
        product * product / bias.iter().map(|b| b * b).sum::<f64>()
    }
}

/// Nothing where the ratio of measured to predicted singular values, by growing augmentation and for each
/// seed, tends to 1: with no strength does the whole range of the seeds lie farther from 1 than the median
/// did before, and at the last one the median is closer to 1 than at the first and the range covers 1.
///
/// The law is one of infinitely many samples and wants log B ≫ Σ (m σ_1)²/τ² over all directions, of which a
/// batch of the released code is far. The part of an augmented direction in that sum falls with the noise,
/// and with it what a finite batch does to the direction.
fn tends_to_law(ratios: &[(f64, Vec<f64>)]) -> Option<String> {
    let medians: Vec<Median> = ratios.iter().map(|(_, seeds)| Median::of(seeds.iter().copied())).collect();
    let nearest = |range: &Median| (range.low - 1.0).max(1.0 - range.high).max(0.0);
    let farther = |pair: &[Median]| nearest(&pair[1]) >= (pair[0].median - 1.0).abs();
    if let Some(at) = medians.windows(2).position(farther) {
        let (k, ratio) = (ratios[at + 1].0, &medians[at + 1]);
        return Some(format!("measured over predicted does not come closer to 1 at k = {k}: {ratio}"));
    }
    let (first, last) = (medians.first()?, medians.last()?);
    let closer = (last.median - 1.0).abs() < (first.median - 1.0).abs();
    (!closer || nearest(last) > 0.0).then(|| {
        format!("measured over predicted: {first} at the weakest, {last} at the strongest augmentation")
    })
}

/// Nothing where at most one value has vanished and more than half of its direction is the bias, in every
/// seed.
///
/// The squared cosine of two independent directions in 16 dimensions exceeds ½ with a probability of 0.0015.
fn one_lost_to_bias(seeds: &[(usize, f64)]) -> Option<String> {
    seeds.iter().enumerate().find_map(|(seed, (lost, along))| {
        if *lost > 1 {
            Some(format!("seed {seed}: {lost} values have vanished"))
        } else if *along <= 0.5 {
            Some(format!("seed {seed}: squared cosine between lost direction and bias {}", number(*along)))
        } else {
            None
        }
    })
}

fn released_code_corrected(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(FIGURE_3_RELEASED_CODE.name)?;
    let law = |k: f64, temperature: f64| (temperature * VARIANCE).sqrt() / (VARIANCE + k);
    // A wrong law: the square root of what it should be.
    let wrong_law = |k: f64, temperature: f64| (temperature * VARIANCE / (VARIANCE + k)).sqrt();
    let strongest = at_strongest(runs);
    let finals: Vec<Final> = strongest.iter().map(|run| Final::of(run)).collect::<Result<_, _>>()?;
    let mut lost = Vec::new();
    let mut unrelated = Vec::new();
    for (index, (run, last)) in strongest.iter().zip(&finals).enumerate() {
        let collapsed = vanished(run, COLLAPSED, time_at(run, 1.0))?;
        lost.push((collapsed, last.along(&last.bias)));
        unrelated.push((collapsed, last.along(&finals[(index + 1) % finals.len()].bias)));
    }
    let (ratios, wrong) = (ratios(runs, law)?, ratios(runs, wrong_law)?);
    let against: Vec<String> =
        [tends_to_law(&ratios), one_lost_to_bias(&lost)].into_iter().flatten().collect();
    let rejected = [tends_to_law(&wrong), one_lost_to_bias(&unrelated)];
    let last = Median::of(ratios.last().map_or(&[][..], |(_, seeds)| seeds).iter().copied());
    let along = Median::of(lost.iter().map(|(_, along)| *along));
    let count = Median::of(lost.iter().map(|(lost, _)| *lost as f64));
    let strongest_k = ratios.last().map_or(f64::NAN, |(k, _)| *k);
    let mut summary = format!(
        "at k = {strongest_k} measured over predicted {last}; {count} vanished; squared cosine of the \
         smallest one's direction with the bias {along}"
    );
    for problem in &against {
        summary = format!("{summary}; {problem}");
    }
    let verdict = if against.is_empty() { Verdict::Consistent } else { Verdict::Refuted };
    let counterexample =
        strongest.first().filter(|_| !against.is_empty()).map(|run| Counterexample::Plan(run.to_toml()));
    let shown: Vec<Value> = ratios
        .iter()
        .map(|(k, seeds)| {
            json!({ "variance": k, "measured_over_predicted": Median::of(seeds.iter().copied()).to_json() })
        })
        .collect();
    let collapsed: Vec<Value> = lost
        .iter()
        .map(|(lost, along)| json!({ "vanished": lost, "squared_cosine_with_bias": along }))
        .collect();
    Ok(Finding {
        verdict,
        summary,
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "the wrong law √(τσ/(σ + k)): {}; the bias of another seed: {}",
                rejected[0].as_deref().unwrap_or("accepted"),
                rejected[1].as_deref().unwrap_or("accepted"),
            ),
            rejected.iter().all(Option::is_some),
        ),
        counterexample,
    }
    .with("law_by_strength", shown)
    .with("strongest_by_seed", collapsed)
    .with("vanished_by_strength", lost_by_strength(runs)?)
    .with("bias_by_strength", bias_by_strength(runs)?))
}

/// Measured over predicted typical singular value on the augmented coordinates: by strength, for each seed.
fn ratios(runs: &[Run], law: impl Fn(f64, f64) -> f64) -> Result<Vec<(f64, Vec<f64>)>, String> {
    let seeds = by_seed(runs);
    let mut ratios = Vec::new();
    for cell in 0..seeds.first().map_or(0, Vec::len) {
        let mut values = Vec::new();
        let mut k = f64::NAN;
        for run in seeds.iter().filter_map(|cells| cells.get(cell)) {
            k = strength(run)?;
            let Loss::Dot(dot) = run.plan.loss().0 else { return Err("not the dot product".to_string()) };
            values.push(Final::of(run)?.typical / law(k, dot.temperature));
        }
        ratios.push((k, values));
    }
    Ok(ratios)
}

/// By strength: in how many seeds the smallest direction is the bias's, and the final length of the bias in
/// these and in the others, where it has shrunk.
fn bias_by_strength(runs: &[Run]) -> Result<Value, String> {
    let seeds = by_seed(runs);
    let mut rows = Vec::new();
    for cell in 0..seeds.first().map_or(0, Vec::len) {
        let (mut lost, mut kept, mut k) = (Vec::new(), Vec::new(), f64::NAN);
        for run in seeds.iter().filter_map(|cells| cells.get(cell)) {
            k = strength(run)?;
            let last = Final::of(run)?;
            let norm = last.bias.iter().map(|b| b * b).sum::<f64>().sqrt();
            if last.along(&last.bias) > 0.5 { &mut lost } else { &mut kept }.push(norm);
        }
        let shown = |norms: &[f64]| match norms {
            [] => Value::Null,
            _ => Median::of(norms.iter().copied()).to_json(),
        };
        rows.push(json!({
            "variance": k,
            "seeds_in_which_the_smallest_direction_is_the_bias": lost.len(),
            "bias_norm_there": shown(&lost),
            "bias_norm_elsewhere": shown(&kept),
        }));
    }
    Ok(rows.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapse(lost: &[usize], ninth: (f64, f64)) -> Collapse {
        Collapse { lost: lost.to_vec(), ninth }
    }

    #[test]
    fn figure_3_check_rejects_smooth_shrinking_a_plateau_and_a_falling_number() {
        let falling = (1e-3, 5e-4);
        assert_eq!(eight_vanish(&[collapse(&[0, 2, 8], falling), collapse(&[0, 0, 8], falling)]), None);
        for wrong in [
            collapse(&[0, 0, 1], falling),
            collapse(&[0, 2, 9], falling),
            collapse(&[1, 2, 8], falling),
            collapse(&[0, 9, 8], falling),
            collapse(&[0, 2, 8], (5e-4, 5e-4)),
        ] {
            assert!(eight_vanish(&[collapse(&[0, 2, 8], falling), wrong]).is_some());
        }
    }

    #[test]
    fn law_check_rejects_a_ratio_that_does_not_come_closer_to_1() {
        let ratios = |last: [f64; 3]| vec![(0.0, vec![1.4; 3]), (1.0, vec![1.1; 3]), (9.0, last.to_vec())];
        assert_eq!(tends_to_law(&ratios([0.97, 1.02, 1.05])), None);
        assert!(tends_to_law(&ratios([1.01, 1.02, 1.05])).is_some());
        assert!(tends_to_law(&ratios([1.2, 1.3, 1.4])).is_some());
        assert!(tends_to_law(&ratios([0.4, 1.5, 1.6])).is_some());
    }

    #[test]
    fn bias_check_rejects_an_unrelated_direction_and_a_second_loss() {
        assert_eq!(one_lost_to_bias(&[(1, 0.9), (0, 0.8)]), None);
        assert!(one_lost_to_bias(&[(1, 0.9), (1, 0.1)]).is_some());
        assert!(one_lost_to_bias(&[(2, 0.9)]).is_some());
    }
}
