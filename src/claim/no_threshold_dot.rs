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
    let finding = trial
        .finding(summary, &[DECOUPLES, RESTS], control)
        .with("table", Value::Array(table))
        .with("nearness", nearness.to_json());
    Ok(if nearness.grows() {
        finding
    } else {
        finding.undecided("runs on samples do not come nearer with N")
    })
}
