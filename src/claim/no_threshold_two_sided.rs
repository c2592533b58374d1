//! Two-sided noise under Eq. 2 has no threshold.

use super::case::{Case, Run};
use super::finding::{Control, Finding};
use super::modes::{AT_REST, DECOUPLES, ModeRun, Nearness, ON_SAMPLES, RESTS, ends_as, fixed_point};
use super::statistics::number;
use super::trial::{Said, Trial};
use super::{Claim, Evidence};
use crate::augment::Sides;
use serde_json::{Value, json};

pub(super) const CLAIM: Claim = Claim {
    id: "no-threshold-two-sided",
    source: "derived here: paper_notes.md, One mode",
    statement: "Two-sided noise, Eq. 2, infinitely many samples: a mode tends to a positive limit for every k, which falls as 1/k for large k and looks like a collapse.",
    formula: "u + u² = 2k/(σ + k), s∞² = (1/u - 1)/(σ + k) > 0; s∞ → √(2σ/3)/k for k ≫ σ",
    evidence: Evidence::Limit,
    experiments: &[AT_REST, ON_SAMPLES],
    judge,
};

fn is_two_sided(run: &&Run) -> bool {
    ModeRun::of(run).is_some_and(|mode| mode.sides == Sides::Two)
}

/// Noise draws in the difference of the views.
const DRAWS: f64 = 2.0;
/// Noise this many times the data's variance counts as large.
const LARGE: f64 = 10.0;

/// Whether a run rests at the fixed point for `draws` noise draws in the difference of the views, and near its asymptote
/// where the noise is large.
///
/// k s∞/√(2σ/3) = √(3/(u (2 + u))) k/(σ + k) with 1 - u ≤ σ/(σ + k): within σ/k of 1.
fn check(run: &Run, draws: f64) -> Result<Said, String> {
    let said = ends_as(run, &|mode| fixed_point(mode.sigma + mode.noise, draws * mode.noise, 2.0))?;
    let Some(mode) = ModeRun::of(run).filter(|mode| mode.noise >= LARGE * mode.sigma) else {
        return Ok(said);
    };
    let ratio = asymptotic_ratio(&mode)?;
    let allowed = mode.sigma / mode.noise;
    Ok(match said {
        Said::Agrees if (ratio - 1.0).abs() > allowed => Said::Contradicts(format!(
            "k s∞/√(2σ/3) = {}, within {} of 1 expected",
            number(ratio),
            number(allowed)
        )),
        other => other,
    })
}

/// k s/√(2σ/3) at the end.
fn asymptotic_ratio(mode: &ModeRun<'_>) -> Result<f64, String> {
    let end = mode.value(mode.run.times().len() - 1)?;
    Ok(mode.noise * end / (2.0 * mode.sigma / 3.0).sqrt())
}

fn judge(case: &Case) -> Result<Finding, String> {
    let at_rest = case.runs(AT_REST.name)?;
    let two_sided = || at_rest.iter().filter(is_two_sided);
    let trial = Trial::of(two_sided(), &|run| check(run, DRAWS))?;
    let wrong = Trial::of(two_sided(), &|run| check(run, 1.0))?;
    let one_sided =
        |run: &&Run| ModeRun::of(run).is_some_and(|m| m.sides == Sides::One && m.noise >= 2.0 * m.sigma);
    let one_sided = Trial::of(at_rest.iter().filter(one_sided), &|run| check(run, DRAWS))?;
    let control = Control::new(
        format!(
            "one-sided noise with k ≥ 2σ: {}; one draw in the difference of the views: {}",
            one_sided.words(),
            wrong.words()
        ),
        one_sided.rejects_all() && wrong.rejects(),
    );
    let nearness = Nearness::of(case.runs(ON_SAMPLES.name)?.iter().filter(is_two_sided))?;
    let mut strongest: Option<(f64, f64, f64)> = None;
    let mut table = Vec::new();
    for mode in two_sided().filter_map(ModeRun::of) {
        let (end, ratio) = (mode.value(mode.run.times().len() - 1)?, asymptotic_ratio(&mode)?);
        if mode.depth == 1 && strongest.is_none_or(|(k, ..)| mode.noise / mode.sigma > k) {
            strongest = Some((mode.noise / mode.sigma, end, ratio));
        }
        table.push(json!({
            "sigma": mode.sigma, "k": mode.noise, "layers": mode.depth, "end": end, "ratio_to_asymptote": ratio,
            "predicted": fixed_point(mode.sigma + mode.noise, DRAWS * mode.noise, 2.0),
        }));
    }
    let (k, end, ratio) = strongest.ok_or("there is no two-sided run of one layer")?;
    let summary = format!(
        "{} runs rest at their positive limit, up to k = {}σ: s = {} there, {} of √(2σ/3)/k; |s_N - s| over N, {}",
        trial.agreed(),
        number(k),
        number(end),
        number(ratio),
        nearness.words()
    );
    Ok(nearness
        .weigh(trial.finding(summary, &[DECOUPLES, RESTS], control).with("table", Value::Array(table))))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::simulated;
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn every_noise_has_its_positive_limit_and_one_draw_is_not_enough() {
        let runs =
            simulated(&AT_REST, &["encoder.widths=[2, 2]", "sweep.augment.variance=[0.1, 3.0, 1000.0]"]);
        let two_sided = || runs.iter().filter(is_two_sided);
        let trial = Trial::of(two_sided(), &|run| check(run, DRAWS)).unwrap();
        assert_eq!((trial.agreed(), trial.judged()), (6, 6), "{}", trial.words());
        assert!(Trial::of(two_sided(), &|run| check(run, 1.0)).unwrap().rejects_all());
        assert!(Trial::of(two_sided(), &|run| check(run, 2.001)).unwrap().rejects_all());
        let one_sided = runs.iter().filter(|run| !is_two_sided(run));
        assert!(Trial::of(one_sided, &|run| check(run, DRAWS)).unwrap().rejects_all());
    }

    #[test]
    fn a_run_that_still_moves_is_not_judged() {
        let runs =
            simulated(&AT_REST, &["encoder.widths=[2, 2]", "augment.variance=0.1", "dynamics.time_end=1.0"]);
        let trial = Trial::of(runs.iter().filter(is_two_sided), &|run| check(run, DRAWS)).unwrap();
        let finding = trial.finding(String::new(), &[DECOUPLES, RESTS], Control::new("", true));
        assert_eq!((trial.judged(), finding.verdict), (0, Verdict::OutsideHypotheses));
        assert!(!finding.hypotheses[1].held);
    }
}
