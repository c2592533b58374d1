//! Small modes on a fixed batch that is separable.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Finding};
use super::identity::largest;
use super::modes::nearest;
use super::statistics::number;
use super::trial::{Said, Trial, label};
use super::{Claim, Evidence};
use crate::observe::imbalance;
use serde_json::{Value, json};

pub(super) const CLAIM: Claim = Claim {
    id: "finite-n-freeze",
    source: "derived here: paper_notes.md, Fixed batches",
    statement: "On a fixed batch that is separable, and that training has separated while a mode of L ≥ 2 balanced layers is still small, the mode stops where it is, for ever; on batches that are not separable, on fresh ones and in one layer it goes on, to its value at the minimum or to 0.",
    formula: "d(s^-q)/d(S^-q) = χ_s/χ_S, q = 2 - 2/L, S → ∞: s^-q → s(t)^-q - ∫ (χ_s/χ_S) d(S^-q) > 0",
    evidence: Evidence::Limit,
    experiments: &[FIXED, FRESH],
    judge,
};

const FIXED: NeededExperiment = NeededExperiment {
    name: "freeze",
    source: Source::File,
    quick: &["repeats=2", "sweep.augment.variance=[0.003, 0.03, 1.0]", "sweep.data.samples=[16, 48]"],
    full: &["sweep.augment.variance=[0.003, 0.03, 1.0]"],
};

const FRESH: NeededExperiment = NeededExperiment {
    name: "freeze_fresh",
    source: Source::File,
    quick: &[
        "repeats=1",
        "sweep.encoder.widths=[[6, 6, 6]]",
        r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "rodas5p", rtol = 1e-8, atol = 1e-12, time_end = 1000.0 },
            { kind = "sgd", rate = 0.05, steps = 20000, batch = 32 },
        ], "data.samples" = [10000, 10000] }"#,
    ],
    full: &[r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "rodas5p", rtol = 1e-8, atol = 1e-12, time_end = 1000.0 },
            { kind = "sgd", rate = 0.05, steps = 20000, batch = 64 },
        ], "data.samples" = [10000, 10000] }"#],
};

const SEPARABLE: &str = "the batch is separable, by a certificate";
const BALANCED: &str =
    "L ≥ 2 layers, balanced: |W_l W_lᵀ - W_{l+1}ᵀ W_{l+1}| at most a hundredth of s0^(2/L)";
const SEPARATED: &str =
    "training has separated the batch a decade before the end (N times the loss below ln 2)";

/// Part of s0^(2/L), the square of the smallest layer value, that an imbalance may be: it changes a rate by as much.
const MOST_IMBALANCE: f64 = 0.01;
/// A frozen mode has at most this factor to go, up or down, for ever. One that recovers has S/s to go, a hundred and more.
const FROZEN: f64 = 2.0;

/// The smallest and the largest mode at three times: the end, and one and two decades before it.
#[derive(Debug)]
struct Tail {
    depth: usize,
    /// s and S.
    values: [(f64, f64); 3],
    /// s at the start.
    start: f64,
}

impl Tail {
    fn of(run: &Run) -> Result<Tail, String> {
        let times = run.times();
        let end = times[times.len() - 1];
        let at = |time: f64| -> Result<(f64, f64), String> {
            let row = run.row("sigma_end_to_end", nearest(times, time))?;
            Ok((row[row.len() - 1], row[0]))
        };
        let start = run.row("sigma_end_to_end", 0)?;
        Ok(Tail {
            depth: run.plan.settings.table("encoder").integers("widths").len() - 1,
            values: [at(0.01 * end)?, at(0.1 * end)?, at(end)?],
            start: start[start.len() - 1],
        })
    }

    fn growth(&self) -> f64 {
        self.values[2].0 / self.start
    }

    /// ln s(∞)/s(T), if S grows for ever and χ_s/χ_S stays what it was over each of the last two decades; infinite where s
    /// then grows without bound.
    ///
    /// Layers are balanced: ṡ = L s^(3-2/L) χ_s for every mode, so that s^-q and S^-q fall at rates in the ratio c = χ_s/χ_S.
    /// For one layer these are logarithms: d log s = c d log S without end.
    fn still_to_go(&self) -> [f64; 2] {
        let q = 2.0 - 2.0 / self.depth as f64;
        let power = |value: f64| if self.depth == 1 { -value.ln() } else { value.powf(-q) };
        let [before, between, end] = self.values.map(|(s, large)| (power(s), power(large)));
        [(before, between), (between, end)].map(|((y, x), (later_y, later_x))| {
            let ratio = (y - later_y) / (x - later_x);
            if self.depth == 1 {
                return ratio.signum() * f64::INFINITY;
            }
            let limit = end.0 - ratio * end.1;
            if limit > 0.0 { -(limit / end.0).ln() / q } else { f64::INFINITY }
        })
    }

    /// Whether both decades say that the mode has come to its end. A NaN, of a mode whose partner does not move, says no.
    fn is_frozen(&self) -> bool {
        self.still_to_go().iter().all(|left| left.abs() < FROZEN.ln())
    }

    fn words(&self) -> String {
        let [before, after] = self.still_to_go().map(|left| number(left.exp()));
        format!("grown by {}, and by {before} and {after} still to come", number(self.growth()))
    }

    fn said(&self) -> Said {
        if self.is_frozen() { Said::Agrees } else { Said::Contradicts(self.words()) }
    }
}

/// Whether the batch of a run is separable; nothing for runs without a fixed batch, or where it is not decided.
fn separable(run: &Run) -> Option<bool> {
    match run.row("separable", 0).ok()?[0] {
        1.0 => Some(true),
        0.0 => Some(false),
        _ => None,
    }
}

/// The first recorded time at which every sample has its own second view nearest: N times the mean loss is below ln 2, so that
/// every α_ii exceeds one half.
fn separated(run: &Run) -> Result<Option<f64>, String> {
    let samples = run.plan.settings.table("data").integer("samples") as f64;
    let loss = run.column("loss")?;
    Ok(loss.iter().position(|loss| samples * loss < std::f64::consts::LN_2).map(|time| run.times()[time]))
}

fn check(run: &Run) -> Result<Said, String> {
    let outside = |hypothesis, why: String| Ok(Said::Outside { hypothesis, why });
    if separable(run) != Some(true) {
        let bound = run.row("margin_upper", 0).map_or(f64::NAN, |bound| bound[0]);
        return outside(SEPARABLE, format!("margin at most {}", number(bound)));
    }
    let tail = Tail::of(run)?;
    let layers = run.layers()?;
    let found = largest(layers.windows(2).map(|pair| imbalance(&pair[0], &pair[1]).amax()));
    let allowed = MOST_IMBALANCE * tail.start.powf(2.0 / tail.depth as f64);
    if tail.depth < 2 || found > allowed {
        return outside(BALANCED, format!("L = {}, imbalance {}", tail.depth, number(found)));
    }
    let end = run.times()[run.times().len() - 1];
    let at = separated(run)?;
    if at.is_none_or(|time| time > 0.1 * end) {
        let when = at.map_or("not by the end".to_string(), |time| format!("at t = {}", number(time)));
        let margin = run.row("margin_lower", 0)?[0];
        return outside(
            SEPARATED,
            format!("separated {when}, margin {}; the mode has {}", number(margin), tail.words()),
        );
    }
    Ok(tail.said())
}

/// The same check without its hypotheses.
fn unconditional(run: &Run) -> Result<Said, String> {
    Ok(Tail::of(run)?.said())
}

fn judge(case: &Case) -> Result<Finding, String> {
    let fixed = case.runs(FIXED.name)?;
    let trial = Trial::of(fixed, &check)?;
    let depth = |run: &Run| run.plan.settings.table("encoder").integers("widths").len() - 1;
    let inseparable = |run: &&Run| separable(run) == Some(false) && depth(run) > 1;
    let inseparable = Trial::of(fixed.iter().filter(inseparable), &unconditional)?;
    let single = |run: &&Run| separable(run) == Some(true) && depth(run) == 1;
    let single = Trial::of(fixed.iter().filter(single), &unconditional)?;
    let is_fresh = |run: &&Run| run.plan.settings.table("dynamics").kind() != "flow";
    let fresh = Trial::of(case.runs(FRESH.name)?.iter().filter(is_fresh), &unconditional)?;
    let control = Control::new(
        format!(
            "batches that are not separable: {}; fresh batches and the population: {}; one layer: {}",
            inseparable.words(),
            fresh.words(),
            single.words()
        ),
        inseparable.rejects_all() && fresh.rejects_all() && single.rejects_all(),
    );

    let (mut most_growth, mut most_to_go) = (0.0f64, 0.0f64);
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for run in fixed.iter().filter(|run| separable(run) == Some(true) && depth(run) > 1) {
        let tail = Tail::of(run)?;
        let at = separated(run)?;
        let row = json!({
            "run": label(run), "growth": tail.growth(), "still_to_come": tail.still_to_go().map(f64::exp),
            "separated_at": at, "margin": run.row("margin_lower", 0)?[0], "frozen": tail.is_frozen(),
        });
        match check(run)? {
            Said::Outside { .. } => late.push((tail, row)),
            _ => {
                most_growth = most_growth.max(tail.growth());
                most_to_go = largest([most_to_go, tail.still_to_go()[1].exp()]);
                rows.push(row);
            }
        }
    }
    let moving: Vec<f64> =
        late.iter().filter(|(tail, _)| !tail.is_frozen()).map(|(t, _)| t.growth()).collect();
    let exceptions = match moving.iter().copied().fold(0.0f64, f64::max) {
        _ if late.is_empty() => "none was separated later".to_string(),
        _ if moving.is_empty() => format!("{} separated later or not yet are frozen too", late.len()),
        most => format!(
            "of {} separable ones separated later or not yet, {} are not frozen, grown by up to {}",
            late.len(),
            moving.len(),
            number(most)
        ),
    };
    let summary = format!(
        "the smallest mode has grown by at most {} and has at most {} to come in {} runs on batches that training separated by T/10; {exceptions}",
        number(most_growth),
        number(most_to_go),
        trial.agreed()
    );
    let late: Vec<Value> = late.into_iter().map(|(_, row)| row).collect();
    Ok(trial
        .finding(summary, &[SEPARABLE, BALANCED, SEPARATED], control)
        .with("separated_in_time", rows)
        .with("separated_late", late))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(depth: usize, values: [(f64, f64); 3]) -> Tail {
        Tail { depth, start: values[0].0, values }
    }

    #[test]
    fn a_mode_whose_partner_grows_for_ever_is_frozen_for_two_layers_and_creeps_for_one() {
        // L = 2: 1/s = 100 + 10/S, the rates in the ratio 10.
        let mode = |large: f64| (1.0 / (100.0 + 10.0 / large), large);
        let frozen = tail(2, [mode(2.0), mode(4.0), mode(6.0)]);
        assert!(frozen.is_frozen());
        for left in frozen.still_to_go() {
            assert!((left - (1.0 + 10.0 / 600.0f64).ln()).abs() < 1e-9, "{left}");
        }
        assert!(!tail(1, [mode(2.0), mode(4.0), mode(6.0)]).is_frozen());
    }

    #[test]
    fn a_mode_that_recovers_or_dies_is_not_frozen() {
        // The largest mode is at rest.
        assert!(!tail(2, [(0.01, 2.0), (0.02, 2.0), (0.5, 2.0)]).is_frozen());
        assert!(!tail(2, [(0.01, 1.9), (0.02, 1.999), (0.5, 2.0)]).is_frozen());
        assert!(!tail(2, [(0.01, 1.9), (0.005, 1.999), (0.0001, 2.0)]).is_frozen());
        // Both grow alike.
        assert!(!tail(3, [(0.1, 1.0), (0.5, 5.0), (2.0, 20.0)]).is_frozen());
    }

    #[test]
    fn small_modes_freeze_on_separable_batches_of_two_layers_and_nowhere_else() {
        use super::super::fixtures::{case, simulated};
        use super::super::verdict::Verdict;
        let fixed = simulated(
            &FIXED,
            &["repeats=1", "sweep.data.samples=[16]", "sweep.augment.variance=[0.003, 1.0]"],
        );
        let fresh = simulated(
            &FRESH,
            &[
                "data.samples=9",
                "dynamics={ kind = \"population\", method = \"rodas5p\", rtol = 1e-8, atol = 1e-12, time_end = 1000.0 }",
            ],
        );
        let separable = |run: &&Run| separable(run) == Some(true);
        let trial = Trial::of(fixed.iter().filter(separable), &check).unwrap();
        assert_eq!((trial.agreed(), trial.judged()), (2, 2), "{}", trial.words());
        assert!(Trial::of(fixed.iter().filter(|run| !separable(run)), &unconditional).unwrap().rejects_all());
        assert!(Trial::of(&fresh, &unconditional).unwrap().rejects_all());
        let finding = judge(&case(vec![(FIXED.name, fixed), (FRESH.name, fresh)])).unwrap();
        assert_eq!((finding.verdict, finding.control.rejected), (Verdict::Consistent, Some(true)));
    }
}
