//! Shades of what is the same thing in many figures, on the scale from 0 to 1 of the palette.

use super::labels::depth;
use crate::experiment::Plan;

/// Shades that are at least so far apart are seen as two.
const LEAST: f64 = 0.02;

/// The part of the scale that belongs to a kind of dynamics, and its width: as wide as the variants that are shown together
/// need. The end of the scale is left to the limit t → ∞.
const BANDS: [(&str, f64, f64); 6] = [
    ("population", 0.0, 0.04),
    ("frozen-x", 0.08, 0.02),
    ("prescribed-x", 0.14, 0.02),
    ("sgd", 0.2, 0.38),
    ("gd", 0.62, 0.04),
    ("flow", 0.7, 0.22),
];

/// Whether all of these are seen as different.
pub(super) fn apart(shades: &[f64]) -> bool {
    let mut sorted = shades.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Differences of decimal fractions are rounded.
    sorted.windows(2).all(|pair| pair[1] - pair[0] >= LEAST - 1e-9)
}

/// From 0.1 to 10, which are usual.
pub(super) fn of_variance(variance: f64) -> f64 {
    (0.5 * (1.0 + variance.log10())).clamp(0.0, 1.0)
}

/// From 1 to 8 layers.
pub(super) fn of_depth(plan: &Plan) -> f64 {
    ((depth(plan) as f64).log2() / 3.0).clamp(0.0, 1.0)
}

/// From 4 to 65,536 samples.
pub(super) fn of_samples(samples: u64) -> f64 {
    (((samples as f64).log2() - 2.0) / 14.0).clamp(0.0, 1.0)
}

/// Each kind of dynamics in its band. Inside of it the same batch of SGD, and the same number of samples otherwise, are at the
/// same place; where that does not tell the runs of a kind apart, they are spread in their order.
pub(super) fn of_dynamics(plans: &[&Plan]) -> Vec<f64> {
    let kind = |plan: &Plan| plan.settings.table("dynamics").kind();
    let place = |plan: &Plan| match kind(plan) {
        "sgd" => of_samples(plan.settings.table("dynamics").integer("batch") as u64),
        "population" => 0.0,
        _ => plan.settings.table("data").optional_integer_u64("samples").map_or(0.0, of_samples),
    };
    let mut shades = vec![0.0; plans.len()];
    for (name, start, width) in BANDS {
        let own: Vec<usize> = (0..plans.len()).filter(|&index| kind(plans[index]) == name).collect();
        let places: Vec<f64> = own.iter().map(|&index| start + width * place(plans[index])).collect();
        let told = apart(&places);
        let last = own.len().saturating_sub(1).max(1) as f64;
        for (order, &index) in own.iter().enumerate() {
            shades[index] = if told { places[order] } else { start + width * order as f64 / last };
        }
    }
    shades
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Experiment, ROOT};
    use crate::settings::ValueType;
    use std::path::Path;

    const TEXT: &str = r#"
seed     = 1
data     = { kind = "gaussian", dim = 2, samples = 64 }
augment  = { kind = "isotropic", variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [2, 2], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 1 }
observe  = { times = { kind = "linear", count = 1 }, quantities = ["loss"] }
"#;
    const POPULATION: &str =
        "{ kind = \"population\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0 }";
    const FLOW: &str = "{ kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0 }";

    fn sgd(rate: f64, batch: usize) -> String {
        format!("{{ kind = \"sgd\", rate = {rate:?}, steps = 10, batch = {batch} }}")
    }

    fn shades(dynamics: &[&str]) -> Vec<f64> {
        let sweep = format!("sweep={{ dynamics = [{}] }}", dynamics.join(", "));
        let experiment = Experiment::parse("test.toml", Path::new("."), TEXT, &[sweep])
            .unwrap_or_else(|problem| panic!("{problem}"));
        of_dynamics(&experiment.plans.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_same_kind_of_dynamics_has_the_same_shade_wherever_it_stands() {
        let (small, large) = (sgd(0.1, 8), sgd(0.1, 64));
        let first = shades(&[POPULATION, &small, FLOW]);
        assert_eq!(shades(&[FLOW, POPULATION, &small]), [first[2], first[0], first[1]]);
        assert_eq!(shades(&[&small, &large])[0], first[1]);
        assert_eq!(shades(&[FLOW]), [first[2]]);
        // Kinds are further apart than the runs of one kind.
        let batches = shades(&[&small, &large]);
        assert!(
            first[1] > first[0] && first[2] - first[1] > batches[1] - batches[0],
            "{first:?} {batches:?}"
        );
        assert!(apart(&first) && !apart(&[0.1, 0.5, 0.11]));
    }

    #[test]
    fn runs_of_one_kind_that_their_batch_does_not_tell_apart_are_spread_in_its_part_of_the_scale() {
        let several = shades(&[FLOW, &sgd(0.1, 8), &sgd(0.2, 8), &sgd(0.4, 8)]);
        assert!(apart(&several));
        let (_, start, width) = BANDS[3];
        assert_eq!(several[1..], [start, start + width / 2.0, start + width]);
        assert_eq!(several[0], shades(&[FLOW])[0]);
    }

    #[test]
    fn each_kind_of_dynamics_has_a_part_of_its_own_of_the_scale() {
        let declared = ROOT.iter().find(|key| key.name == "dynamics").unwrap();
        let ValueType::OneOf(kinds) = declared.value else { panic!("dynamics has kinds") };
        for kind in kinds {
            assert!(BANDS.iter().any(|(name, ..)| *name == kind.name), "{} has no part", kind.name);
        }
        for pair in BANDS.windows(2) {
            assert!(pair[0].1 + pair[0].2 + LEAST <= pair[1].1, "{pair:?}");
        }
        let (_, start, width) = BANDS[BANDS.len() - 1];
        assert!(start + width + LEAST <= 1.0, "the limit has the end");
    }

    #[test]
    fn scales_reach_from_one_end_of_what_is_usual_to_the_other() {
        assert_eq!([0.1, 1.0, 10.0].map(of_variance), [0.0, 0.5, 1.0]);
        assert_eq!([0.0, 1e-3, 1e3].map(of_variance), [0.0, 0.0, 1.0]);
        assert_eq!([4, 512, 65_536, 1 << 40].map(of_samples), [0.0, 0.5, 1.0, 1.0]);
    }
}
