//! Figure 6: singular values of two layers and of C over training, under weak augmentation.

use super::case::{Case, NeededExperiment, Run};
use super::finding::{Control, Counterexample, Finding};
use super::statistics::{Median, number};
use super::toy_figures::{
    COLLAPSED_VARIANCE, FIGURE_11A_PAPER, FIGURE_11A_RELEASED_CODE, FIGURES_5_6_PAPER,
    FIGURES_5_6_RELEASED_CODE, FIXED_BATCH_LONG, POPULATION, POPULATION_DOT, below, by_seed, over_time,
    time_at,
};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use serde_json::{Map, Value};

const STATEMENT: &str =
    "Over training the lowest few singular values of both layers and of C stay much smaller than the others.";

/// "Much smaller" for a layer: a decade below the largest. Two layers make a hundredth of it in length and a
/// ten-thousandth in C, which is [`COLLAPSED_VARIANCE`].
const LAYER: f64 = 0.1;

/// "The lowest few".
const FEW: usize = 3;

pub(super) const PAPER: Claim = Claim {
    id: "figure-6",
    source: "Figure 6, loss and noise of the theory",
    statement: STATEMENT,
    formula: "",
    evidence: Evidence::Trajectory,
    experiments: &[FIGURES_5_6_PAPER, FIXED_BATCH_LONG, POPULATION, FIGURE_11A_PAPER],
    judge: |case| {
        judge(
            case,
            FIGURES_5_6_PAPER,
            &[(FIXED_BATCH_LONG, "on a fixed batch"), (POPULATION, "in the population limit")],
            FIGURE_11A_PAPER,
        )
    },
};

pub(super) const RELEASED_CODE: Claim = Claim {
    id: "figure-6-released-code",
    source: "Figure 6, loss and noise of the released code",
    statement: STATEMENT,
    formula: "",
    evidence: Evidence::Trajectory,
    experiments: &[FIGURES_5_6_RELEASED_CODE, POPULATION_DOT, FIGURE_11A_RELEASED_CODE],
    judge: |case| {
        judge(
            case,
            FIGURES_5_6_RELEASED_CODE,
            &[(POPULATION_DOT, "in the population limit")],
            FIGURE_11A_RELEASED_CODE,
        )
    },
};

/// The spectra of the figure that a run has, and what counts as small in each.
fn spectra(run: &Run) -> Vec<(&'static str, f64)> {
    let all = [("w1", LAYER), ("w2", LAYER), ("embedding", COLLAPSED_VARIANCE)];
    all.into_iter().filter(|(name, _)| run.stored.arrays.contains_key(&format!("sigma_{name}"))).collect()
}

/// The smallest number of small values that any of its spectra has at any recorded time, and where that is.
#[derive(Clone, Debug, PartialEq)]
struct Fewest {
    count: usize,
    place: String,
}

fn fewest(run: &Run) -> Result<Fewest, String> {
    let mut found: Option<Fewest> = None;
    for (name, part) in spectra(run) {
        for (time, t) in run.times().iter().enumerate() {
            let count = below(run, name, part, time)?;
            if found.as_ref().is_none_or(|fewest| count < fewest.count) {
                let place = format!("{name} of {} at t = {}", run.plan.directory_name(), number(*t));
                found = Some(Fewest { count, place });
            }
        }
    }
    found.ok_or_else(|| "no spectrum was recorded".to_string())
}

/// Nothing where at least a few values are small in every spectrum, at every time, in every seed.
fn few_stay_small(seeds: &[Fewest]) -> Option<String> {
    let failing: Vec<&Fewest> = seeds.iter().filter(|seed| seed.count < FEW).collect();
    let first = failing.first()?;
    Some(format!(
        "fewer than {FEW} small values in {} of {} seeds: {} in {}",
        failing.len(),
        seeds.len(),
        first.count,
        first.place
    ))
}

fn judge(
    case: &Case,
    figure: NeededExperiment,
    further: &[(NeededExperiment, &str)],
    one_layer: NeededExperiment,
) -> Result<Finding, String> {
    let runs = case.runs(figure.name)?;
    let seeds: Vec<Fewest> = runs.iter().map(fewest).collect::<Result<_, _>>()?;
    let against = few_stay_small(&seeds);
    let single: Vec<&Run> =
        by_seed(case.runs(one_layer.name)?).into_iter().filter_map(|cells| cells.first().copied()).collect();
    let rejected = few_stay_small(&single.into_iter().map(fewest).collect::<Result<Vec<Fewest>, String>>()?);
    let collapsed = |run: &Run, time| below(run, "embedding", COLLAPSED_VARIANCE, time).map(|n| n as f64);
    let told = |runs: &[Run], part: f64| -> Result<String, String> {
        let counts: Result<Vec<f64>, String> =
            runs.iter().map(|run| collapsed(run, time_at(run, part))).collect();
        let time = runs.first().map_or(f64::NAN, |run| run.times()[time_at(run, part)]);
        Ok(format!("{} at t = {}", Median::of(counts?), number(time)))
    };
    let mut summary =
        format!("collapsed values of C: {}, {}, {}", told(runs, 0.1)?, told(runs, 0.5)?, told(runs, 1.0)?);
    let mut evidence = Map::new();
    let parts = [0.001, 0.01, 0.1, 0.25, 0.5, 1.0];
    let mut shown = vec![(figure.name, runs)];
    for (experiment, which) in further {
        let runs = case.runs(experiment.name)?;
        summary = format!("{summary}; {which} {}", told(runs, 1.0)?);
        shown.push((experiment.name, runs));
    }
    for (name, runs) in shown {
        let mut table = Map::new();
        for (spectrum, part) in runs.first().map_or_else(Vec::new, spectra) {
            let counts: Value =
                over_time(runs, &parts, |run, time| below(run, spectrum, part, time).map(|n| n as f64))?;
            table.insert(format!("{spectrum}_below_{part}_of_the_largest"), counts);
        }
        evidence.insert(name.to_string(), Value::Object(table));
    }
    if let Some(problem) = &against {
        summary = format!("{summary}; {problem}");
    }
    let verdict = if against.is_some() { Verdict::Refuted } else { Verdict::Consistent };
    Ok(Finding {
        verdict,
        summary,
        evidence,
        hypotheses: Vec::new(),
        control: Control::new(
            format!("the same check on one layer: {}", rejected.as_deref().unwrap_or("accepted")),
            rejected.is_some(),
        ),
        counterexample: against.and_then(|_| runs.first().map(|run| Counterexample::Plan(run.to_toml()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figure_6_check_rejects_a_single_seed_with_too_few_small_values() {
        let seed = |count| Fewest { count, place: String::new() };
        assert_eq!(few_stay_small(&[seed(3), seed(11)]), None);
        assert!(few_stay_small(&[seed(3), seed(2)]).is_some());
    }
}
