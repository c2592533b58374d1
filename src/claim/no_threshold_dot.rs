//! The dot product has no threshold.

use super::case::{Case, Run};
use super::finding::{Control, Finding};
use super::modes::{AT_REST, DECOUPLES, ModeRun, Nearness, RESTS, UNDER_DOT, ends_as, is_in_population};
use super::statistics::number;
use super::trial::{Said, Trial};
use super::{Claim, Evidence};
use crate::augment::Sides;
use crate::loss::Loss;
use serde_json::{Value, json};

pub(super) const CLAIM: Claim = Claim {
    id: "no-threshold-dot",
    source: "derived here: paper_notes.md, One mode",
    statement: "The dot product with infinitely many samples: a mode tends to a positive limit for every k.",
    formula: "m∞ = τσ/(σ_1 σ_2) > 0 with the variances of both views, τσ/(σ + k)² for two-sided noise",
    evidence: Evidence::Limit,
    experiments: &[UNDER_DOT, AT_REST],
    judge,
};

/// √(τσ/(σ_1 σ_2)), with this power of the second view's variance; Eq. 2 has τ = 1.
fn limit(mode: &ModeRun<'_>, power: i32) -> f64 {
    let temperature = match mode.loss() {
        Loss::Dot(loss) => loss.temperature,
        _ => 1.0,
    };
    let second = mode.sigma + mode.noise;
    let first = if mode.sides == Sides::One { mode.sigma } else { second };
    (temperature * mode.sigma / (first * second.powi(power))).sqrt()
}

fn check(run: &Run, power: i32) -> Result<Said, String> {
    ends_as(run, &|mode| limit(mode, power))
}

fn judge(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(UNDER_DOT.name)?;
    let in_population = || runs.iter().filter(is_in_population);
    let trial = Trial::of(in_population(), &|run| check(run, 1))?;
    let wrong = Trial::of(in_population(), &|run| check(run, 0))?;
    let above =
        |run: &&Run| ModeRun::of(run).is_some_and(|m| m.sides == Sides::One && m.noise >= 2.0 * m.sigma);
    let euclidean = Trial::of(case.runs(AT_REST.name)?.iter().filter(above), &|run| check(run, 1))?;
    let control = Control::new(
        format!(
            "Eq. 2 with one-sided noise and k ≥ 2σ: {}; m∞ = τσ/(σ + k): {}",
            euclidean.words(),
            wrong.words()
        ),
        euclidean.rejects_all() && wrong.rejects_all(),
    );
    let nearness = Nearness::of(runs.iter())?;
    let mut table = Vec::new();
    let mut strongest: Option<(f64, f64)> = None;
    for mode in in_population().filter_map(ModeRun::of) {
        let end = mode.value(mode.run.times().len() - 1)?;
        if strongest.is_none_or(|(k, _)| mode.noise / mode.sigma > k) {
            strongest = Some((mode.noise / mode.sigma, end / limit(&mode, 1)));
        }
        table.push(json!({ "k": mode.noise, "end": end, "predicted": limit(&mode, 1) }));
    }
    let (k, ratio) = strongest.ok_or("there is no run in the population")?;
    let summary = format!(
        "{} runs rest at √(τσ/(σ_1 σ_2)), up to k = {}σ (ratio {:.9} there); |s_N - s| over N, {}",
        trial.agreed(),
        number(k),
        ratio,
        nearness.words()
    );
    Ok(nearness
        .weigh(trial.finding(summary, &[DECOUPLES, RESTS], control).with("table", Value::Array(table))))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case, simulated};
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn the_limit_falls_with_the_variances_of_both_views() {
        for sides in ["one", "two"] {
            let sides = format!("augment.sides={sides}");
            let population = "dynamics={ kind = \"population\", method = \"tsit5\", rtol = 1e-8, atol = 1e-12, time_end = 30.0 }";
            let runs = simulated(&UNDER_DOT, &["repeats=1", population, "data.samples=9", &sides]);
            let trial = Trial::of(&runs, &|run| check(run, 1)).unwrap();
            assert_eq!((trial.agreed(), trial.judged()), (4, 4), "{sides}: {}", trial.words());
            assert!(Trial::of(&runs, &|run| check(run, 0)).unwrap().rejects_all());
            assert!(Trial::of(&runs, &|run| check(run, 2)).unwrap().rejects());
        }
    }

    #[test]
    fn the_euclidean_loss_above_its_threshold_is_rejected() {
        let runs =
            simulated(&AT_REST, &["encoder.widths=[2, 2]", "augment.sides=one", "augment.variance=5.025"]);
        assert!(Trial::of(&runs, &|run| check(run, 1)).unwrap().rejects_all());
        let finding = Trial::of(&runs, &|run| check(run, 1)).unwrap().finding(
            String::new(),
            &[],
            Control::new("", true),
        );
        assert_eq!(finding.verdict, Verdict::Refuted);
        assert!(case(vec![]).runs(UNDER_DOT.name).is_err());
    }
}
