//! The sharp threshold of one-sided noise under Eq. 2.

use super::case::{Case, Run};
use super::finding::{Control, Finding};
use super::modes::{
    AT_REST, DECOUPLES, ModeRun, Nearness, ON_SAMPLES, RESTS, UNDER_DOT, ends_as, fixed_point,
    is_in_population,
};
use super::statistics::number;
use super::trial::{Said, Trial};
use super::{Claim, Evidence};
use crate::augment::Sides;
use serde_json::{Value, json};

pub(super) const CLAIM: Claim = Claim {
    id: "threshold-one-sided",
    source: "derived here: paper_notes.md, One mode",
    statement: "One-sided noise, Eq. 2, infinitely many samples: a mode vanishes if and only if k ≥ 2σ, exponentially above and as t^(-1/2) at it for one layer, and tends to a positive limit below.",
    formula: "u + u² = k/σ, s∞² = (1/u - 1)/σ for k < 2σ; s ~ exp(-(k - 2σ) t) for k > 2σ, s ~ (6σ² t)^(-1/2) for k = 2σ (L = 1)",
    evidence: Evidence::Limit,
    experiments: &[AT_REST, ON_SAMPLES, UNDER_DOT],
    judge,
};

/// The threshold k*/σ.
const THRESHOLD: f64 = 2.0;

fn is_one_sided(run: &&Run) -> bool {
    ModeRun::of(run).is_some_and(|mode| mode.sides == Sides::One)
}

/// Whether a run ends as the threshold `threshold` σ says, and falls at the rate that the statement gives.
fn check(run: &Run, threshold: f64) -> Result<Said, String> {
    let said = ends_as(run, &|mode| fixed_point(mode.sigma, mode.noise, threshold))?;
    let Some(mode) = ModeRun::of(run).filter(|mode| mode.depth == 1) else { return Ok(said) };
    if said == Said::Agrees && mode.noise >= threshold * mode.sigma {
        return Ok(rate(&mode, threshold)?.map_or(Said::Agrees, Said::Contradicts));
    }
    Ok(said)
}

/// Part of the rate at small s that the mode's size may still change where the exponential fall is measured.
const SMALL: f64 = 0.01;
/// Values this many times above the floor are known to a hundredth.
const ABOVE_FLOOR: f64 = 100.0;

/// What is wrong with the fall of a mode of one layer, if anything.
///
/// χ(m) = σ (u + u²) - k is convex, with the tangent 2σ - k - 3σ² m at m = 0: so 2σ - k - 3σ² m ≤ d log s/dt ≤ 2σ - k. At
/// k = 2σ: d(1/m)/dt = 2σ² u (2 + u), between 6σ² - 8σ³ m and 6σ², so that 1/m lies below 1/m(0) + 6σ² t by (4σ/3) log(1 + 6σ² m(0) t)
/// at most.
fn rate(mode: &ModeRun<'_>, threshold: f64) -> Result<Option<String>, String> {
    let (run, sigma) = (mode.run, mode.sigma);
    let times = run.times();
    let last = times.len() - 1;
    if mode.noise == threshold * sigma {
        let (start, end) = (mode.value(0)?, mode.value(last)?);
        let growth = 6.0 * sigma * sigma * times[last];
        let (m, found) = (start * start, end * growth.sqrt());
        let allowed = (1.0 / m + 4.0 * sigma / 3.0 * (1.0 + growth * m).ln()) / growth;
        return Ok(((found - 1.0).abs() > allowed)
            .then(|| format!("s √(6σ² t) = {}, within {} of 1 expected", number(found), number(allowed))));
    }
    let excess = mode.noise - threshold * sigma;
    let mut known = Vec::new();
    for (time, &t) in times.iter().enumerate() {
        let (value, floor) = (mode.value(time)?, run.row("floor_augmented", time)?[0]);
        let bend = 3.0 * sigma * sigma * value * value;
        if value > ABOVE_FLOOR * floor && bend <= SMALL * excess {
            known.push((t, value, floor / value, bend));
        }
    }
    // A fall that is over before the first times are recorded has no rate to compare.
    let (Some(first), Some(end)) = (known.first(), known.last()) else { return Ok(None) };
    if first.0 == end.0 {
        return Ok(None);
    }
    let found = (end.1 / first.1).ln() / (end.0 - first.0);
    let rounding = (first.2 + end.2) / (end.0 - first.0);
    let inside = (-excess - first.3 - rounding..=-excess + rounding).contains(&found);
    Ok((!inside).then(|| format!("falls at the rate {}, {} expected", number(-found), number(excess))))
}

fn judge(case: &Case) -> Result<Finding, String> {
    let at_rest = case.runs(AT_REST.name)?;
    let one_sided = || at_rest.iter().filter(is_one_sided);
    let trial = Trial::of(one_sided(), &|run| check(run, THRESHOLD))?;
    let wrong = Trial::of(one_sided(), &|run| check(run, 0.5 * THRESHOLD))?;
    let two_sided = Trial::of(at_rest.iter().filter(|run| !is_one_sided(run)), &|run| check(run, THRESHOLD))?;
    let dot = case.runs(UNDER_DOT.name)?.iter().filter(is_in_population);
    let dot = Trial::of(dot, &|run| check(run, THRESHOLD))?;
    let control = Control::new(
        format!(
            "the threshold k = σ: {}; two-sided noise: {}; the dot product: {}",
            wrong.words(),
            two_sided.words(),
            dot.words()
        ),
        wrong.rejects() && two_sided.rejects() && dot.rejects(),
    );
    let nearness = Nearness::of(case.runs(ON_SAMPLES.name)?.iter().filter(is_one_sided))?;
    let (below, above) = (next(at_rest, false)?, next(at_rest, true)?);
    let summary = format!(
        "{} runs agree: s = {} at rest for k = {}σ, below {} and falling for k = {}σ; |s_N - s| over N, {}",
        trial.agreed(),
        number(below.1),
        number(below.0),
        number(above.1),
        number(above.0),
        nearness.words()
    );
    Ok(nearness.weigh(trial.finding(summary, &[DECOUPLES, RESTS], control).with("table", table(at_rest)?)))
}

/// k/σ and s at the end of the one-sided run of one layer next below, or next above, the threshold.
fn next(runs: &[Run], above: bool) -> Result<(f64, f64), String> {
    let mut nearest: Option<(f64, f64)> = None;
    for run in runs.iter().filter(is_one_sided) {
        let Some(mode) = ModeRun::of(run).filter(|mode| mode.depth == 1) else { continue };
        let ratio = mode.noise / mode.sigma;
        let nearer = nearest.is_none_or(|(other, _)| (ratio - THRESHOLD).abs() < (other - THRESHOLD).abs());
        if ratio != THRESHOLD && (ratio > THRESHOLD) == above && nearer {
            nearest = Some((ratio, mode.value(run.times().len() - 1)?));
        }
    }
    nearest.ok_or_else(|| "there are no runs on both sides of the threshold".to_string())
}

/// σ, k, L, what is predicted and the value at the end of every one-sided run.
fn table(runs: &[Run]) -> Result<Value, String> {
    let row = |run: &Run| {
        let Some(mode) = ModeRun::of(run) else { return Ok(Value::Null) };
        Ok(json!({
            "sigma": mode.sigma, "k": mode.noise, "layers": mode.depth,
            "predicted": fixed_point(mode.sigma, mode.noise, THRESHOLD),
            "end": mode.value(run.times().len() - 1)?,
        }))
    };
    runs.iter().filter(is_one_sided).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case, simulated};
    use super::super::verdict::Verdict;
    use super::*;

    const FEW: &[&str] = &[
        "encoder.widths=[2, 2]",
        "data.covariance.variance=2.5",
        "sweep.augment.variance=[1.0, 4.975, 5.0, 5.025, 10.0]",
    ];

    #[test]
    fn the_threshold_is_twice_the_variance_of_the_data_and_no_other() {
        let runs = simulated(&AT_REST, FEW);
        let one_sided = || runs.iter().filter(is_one_sided);
        let at = |threshold: f64| Trial::of(one_sided(), &|run| check(run, threshold)).unwrap();
        assert_eq!((at(2.0).agreed(), at(2.0).judged()), (5, 5), "{}", at(2.0).words());
        for wrong in [1.0, 1.98, 2.02, 4.0] {
            assert!(at(wrong).rejects(), "{wrong}");
        }
        let two_sided = runs.iter().filter(|run| !is_one_sided(run));
        assert!(Trial::of(two_sided, &|run| check(run, 2.0)).unwrap().rejects_all());
    }

    #[test]
    fn the_fall_above_and_at_the_threshold_is_told_from_another() {
        let runs = simulated(&AT_REST, FEW);
        for run in runs.iter().filter(is_one_sided) {
            let mode = ModeRun::of(run).unwrap();
            if mode.noise >= 5.0 {
                assert_eq!(rate(&mode, 2.0).unwrap(), None, "{}", mode.noise);
                // As if the data had another variance: the law at the threshold, and the rate above it, are others.
                let other = ModeRun { sigma: 2.4, noise: mode.noise * 2.4 / 2.5, ..mode };
                let other = if mode.noise == 5.0 { ModeRun { noise: 4.8, ..other } } else { other };
                assert!(rate(&other, 2.0).unwrap().is_some(), "{}", mode.noise);
            }
        }
    }

    #[test]
    fn runs_on_samples_that_do_not_come_nearer_leave_the_claim_undecided() {
        let dot = simulated(
            &UNDER_DOT,
            &[
                "dynamics={ kind = \"population\", method = \"tsit5\", rtol = 1e-8, atol = 1e-12, time_end = 30.0 }",
                "data.samples=9",
                "sweep.augment.variance=[4.0]",
            ],
        );
        let on_samples = simulated(&ON_SAMPLES, &["repeats=1", "sweep.augment.variance=[3.0]"]);
        let judged = |on_samples: Vec<Run>, dot: Vec<Run>| {
            let runs = vec![
                (AT_REST.name, simulated(&AT_REST, FEW)),
                (ON_SAMPLES.name, on_samples),
                (UNDER_DOT.name, dot),
            ];
            judge(&case(runs)).unwrap()
        };
        let finding = judged(on_samples, dot);
        assert_eq!((finding.verdict, finding.control.rejected), (Verdict::Consistent, Some(true)));
        let dot = simulated(
            &UNDER_DOT,
            &[
                "dynamics={ kind = \"population\", method = \"tsit5\", rtol = 1e-8, atol = 1e-12, time_end = 30.0 }",
                "data.samples=9",
                "sweep.augment.variance=[4.0]",
            ],
        );
        let one_size = simulated(
            &ON_SAMPLES,
            &[
                "repeats=1",
                "sweep.augment.variance=[3.0]",
                r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "tsit5", rtol = 1e-8, atol = 1e-12, time_end = 10.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 10.0 },
        ], "data.samples" = [10000, 32] }"#,
            ],
        );
        assert_eq!(judged(one_size, dot).verdict, Verdict::Inconclusive);
    }
}
