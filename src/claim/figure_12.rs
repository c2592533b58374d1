//! Figure 12: the accuracy of DirectCLR over d0.

use super::case::{Case, Run};
use super::finding::Finding;
use super::real_network::{DIGITS_OVER_D0, IMAGE_NET, Statement, conclude, dim_of, recorded};
use super::statistics::Median;
use super::{Claim, Evidence};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const CLAIM: Claim = Claim {
    id: "figure-12",
    source: "Figure 12",
    statement: "The accuracy of DirectCLR drops for d0 to 0 and for d0 to 2048.",
    formula: "",
    evidence: Evidence::RealNetwork,
    experiments: &[IMAGE_NET, DIGITS_OVER_D0],
    judge,
};

/// The smallest d0 is at most one of so many coordinates.
const SMALL: usize = 16;

/// Accuracies by d0, ascending; one a seed.
type Curve = Vec<(usize, Vec<f64>)>;

/// That both ends of the curve lie below its best d0 between them. For each seed the best is chosen by the other seeds, so that it
/// is not best by its own luck; by itself where there is but one.
fn drops_at_both_ends(curve: &Curve) -> Vec<Statement> {
    let [(smallest, at_smallest), inner @ .., (largest, at_largest)] = curve.as_slice() else {
        return Vec::new();
    };
    let best = |seed: usize| {
        let by_others = |accuracies: &[f64]| -> f64 {
            let others =
                accuracies.iter().enumerate().filter(|(other, _)| *other != seed || accuracies.len() == 1);
            others.map(|(_, accuracy)| accuracy).sum()
        };
        let chosen = inner.iter().max_by(|a, b| by_others(&a.1).total_cmp(&by_others(&b.1)));
        chosen.map_or(f64::NAN, |(_, accuracies)| accuracies[seed])
    };
    let below = |d0: &usize, accuracies: &[f64]| {
        let margins = accuracies.iter().enumerate().map(|(seed, accuracy)| best(seed) - accuracy);
        Statement::new(format!("d0 = {d0} below the best d0"), margins.collect())
    };
    vec![below(smallest, at_smallest), below(largest, at_largest)]
}

fn judge(case: &Case) -> Result<Finding, String> {
    let runs = recorded(case, &[IMAGE_NET, DIGITS_OVER_D0])?;
    let is_directclr = |run: &&Run| run.plan.settings.table("method").kind() == "directclr";
    let mut judged: Vec<&Run> = runs.iter().filter(is_directclr).collect();
    judged.sort_by_key(|run| run.plan.seed.repeat);
    let mut by_d0: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut seeds: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for run in &judged {
        let d0 = run.plan.settings.table("method").integer("d0");
        by_d0.entry(d0).or_default().push(run.last("probe_accuracy")?[0]);
        seeds.entry(d0).or_default().push(run.plan.seed.repeat);
    }
    let curve: Curve = by_d0.into_iter().collect();
    let dim = dim_of(&judged, "sigma_representation")?;
    let ends = curve.first().zip(curve.last()).map(|((smallest, _), (largest, _))| (*smallest, *largest));
    let reaches = ends.is_some_and(|(smallest, largest)| SMALL * smallest <= dim && largest == dim);
    if curve.len() < 3 || !reaches || seeds.values().any(|other| Some(other) != seeds.values().next()) {
        let d0: Vec<usize> = seeds.keys().copied().collect();
        return Err(format!(
            "wants three d0 or more with the same seeds, from at most 1/{SMALL} of the {dim} coordinates to all of them; there are {d0:?}"
        ));
    }
    let medians: Vec<(usize, Median)> =
        curve.iter().map(|(d0, accuracies)| (*d0, Median::of(accuracies.iter().copied()))).collect();
    let numbers: Vec<String> = medians.iter().map(|(d0, median)| format!("{d0}: {median}")).collect();
    let evidence: Value =
        medians.iter().map(|(d0, median)| json!({ "d0": d0, "accuracy": median.to_json() })).collect();
    let control = ("the same accuracies in ascending order", &*drops_at_both_ends(&ascending(&curve)));
    let numbers = format!("accuracy over d0: {}", numbers.join(", "));
    Ok(conclude(&judged, &drops_at_both_ends(&curve), &numbers, control).with("accuracy_over_d0", evidence))
}

/// The same accuracies, those of each seed ascending with d0.
fn ascending(curve: &Curve) -> Curve {
    let mut seeds: Vec<Vec<f64>> = Vec::new();
    for seed in 0..curve.first().map_or(0, |(_, accuracies)| accuracies.len()) {
        let mut of_seed: Vec<f64> = curve.iter().map(|(_, accuracies)| accuracies[seed]).collect();
        of_seed.sort_by(f64::total_cmp);
        seeds.push(of_seed);
    }
    curve.iter().enumerate().map(|(k, (d0, _))| (*d0, seeds.iter().map(|seed| seed[k]).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::case;
    use super::super::real_network::fixtures::runs;
    use super::super::real_network::seen;
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn figure_12_wants_both_ends_below_the_middle() {
        let curve = |accuracies: &[f64]| -> Curve {
            accuracies.iter().enumerate().map(|(k, value)| (1 << k, vec![*value, value + 0.01])).collect()
        };
        assert_eq!(seen(&drops_at_both_ends(&curve(&[0.2, 0.5, 0.6, 0.4]))), Some(true));
        for not in [[0.2, 0.5, 0.6, 0.7], [0.7, 0.6, 0.5, 0.4]] {
            assert_eq!(seen(&drops_at_both_ends(&curve(&not))), Some(false), "{not:?}");
        }
        assert_eq!(seen(&drops_at_both_ends(&curve(&[0.5; 4]))), None);
        assert!(drops_at_both_ends(&curve(&[0.5])).is_empty());
    }

    #[test]
    fn the_best_d0_of_a_seed_is_chosen_by_the_others() {
        // Each of the inner d0 has one lucky seed, in which it lies above the ends, and three in which it lies below.
        let curve: Curve = vec![
            (1, vec![0.5; 3]),
            (2, vec![0.6, 0.4, 0.4]),
            (4, vec![0.4, 0.6, 0.4]),
            (8, vec![0.4, 0.4, 0.6]),
            (16, vec![0.5; 3]),
        ];
        assert_eq!(seen(&drops_at_both_ends(&curve)), Some(false));
    }

    #[test]
    fn the_records_of_the_papers_setting_decide_and_ascending_accuracies_are_rejected() {
        let found = |accuracy: fn(f64) -> f64, dim: usize| {
            let record = move |run: &Run| {
                let method = run.plan.settings.table("method");
                let d0 = if method.kind() == "directclr" { method.integer("d0") as f64 } else { 1.0 };
                vec![("probe_accuracy", vec![accuracy(d0.log2())]), ("sigma_representation", vec![1.0; dim])]
            };
            CLAIM.examine(&case(vec![(
                "resnet50_imagenet",
                runs("resnet50_imagenet", &["repeats=6"], record),
            )]))
        };
        let arched = found(|x| 0.6 - 0.01 * (x - 8.0).powi(2), 2048);
        assert_eq!(
            (arched.verdict, arched.control.rejected),
            (Verdict::Consistent, Some(true)),
            "{}",
            arched.summary
        );
        let rising = found(|x| 0.05 * x, 2048);
        assert_eq!(
            (rising.verdict, rising.control.rejected),
            (Verdict::Refuted, Some(true)),
            "{}",
            rising.summary
        );
        // Where d0 does not reach the whole representation, nothing is said of its large end.
        let short = found(|x| 0.6 - 0.01 * (x - 8.0).powi(2), 4096);
        assert_eq!(short.verdict, Verdict::Inconclusive);
        assert!(short.summary.contains("4096"), "{}", short.summary);
    }
}
