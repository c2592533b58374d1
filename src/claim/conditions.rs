//! Hypotheses of the paper's statements that the record of a run shows at each of its times.

use super::alignment::{distance, imbalance_error, imbalance_moved, imbalance_norm, vectors_error};
use super::case::Run;

/// What a record says of a hypothesis at one of its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It holds, by more than the numerical floor.
    Yes,
    /// It fails, by more than the numerical floor.
    No,
    /// The numerical floor is too high to tell.
    Unresolved,
}

/// A hypothesis as a measurable predicate of a recorded time.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// What is assumed.
    pub name: &'static str,
    /// The statements that assume it.
    pub of: &'static str,
    test: fn(&Run, usize) -> Result<Held, String>,
}

/// All of them; each wants some arrays to have been recorded.
pub const CONDITIONS: &[Condition] = &[
    Condition { name: "X(t) ≻ 0", of: "Theorem 2, Corollary 2", test: positive_definite },
    Condition {
        name: "X(t) has a negative eigenvalue",
        of: "Theorem 1, Corollary 1",
        test: |run, time| {
            Ok(match positive_definite(run, time)? {
                Held::Yes => Held::No,
                Held::No => Held::Yes,
                Held::Unresolved => Held::Unresolved,
            })
        },
    },
    Condition { name: "X(t) has the eigenvalues of X(0)", of: "Theorem 1", test: x_is_fixed },
    Condition { name: "W2(t) W1(t) ≠ 0", of: "Theorem 2", test: product_is_not_zero },
    Condition {
        name: "W1(t) and W2(t) have distinct singular values",
        of: "Theorem 2, in the limit",
        test: |run, time| Ok(if distinct(run, time)? > 2.0 { Held::Yes } else { Held::Unresolved }),
    },
    Condition {
        name: "W1 W1ᵀ - W2ᵀ W2 is what it was at the start",
        of: "Eq. 10",
        test: |run, time| {
            at_most(imbalance_moved(run, time)?, imbalance_error(run, time)? + imbalance_error(run, 0)?)
        },
    },
    Condition {
        name: "W1 W1ᵀ = W2ᵀ W2 (balanced layers)",
        of: "the corrected Theorem 2 and Corollary 2",
        test: |run, time| at_most(imbalance_norm(run, time)?, imbalance_error(run, time)?),
    },
    Condition {
        name: "V2 = U1 up to signs (aligned layers)",
        of: "Theorem 3",
        test: |run, time| {
            let error = vectors_error(run, time)?;
            // Directions that are not known at all are aligned with anything.
            Ok(if error >= 1.0 { Held::Unresolved } else { at_most(distance(run, time)?, error)? })
        },
    },
];

/// A hypothesis along a run.
#[derive(Clone, Debug)]
pub struct Strip {
    /// The hypothesis.
    pub condition: Condition,
    /// What the record says of it at each of its times.
    pub held: Vec<Held>,
}

/// The hypotheses that the record of `run` can tell of. Cost: a decomposition of a d x d matrix a time, where alignment and
/// imbalance were recorded.
pub fn strips(run: &Run) -> Vec<Strip> {
    let strip = |condition: &Condition| {
        let held: Result<Vec<Held>, String> =
            (0..run.times().len()).map(|time| (condition.test)(run, time)).collect();
        // Without the arrays that it wants there is nothing to tell.
        held.ok().map(|held| Strip { condition: *condition, held })
    };
    CONDITIONS.iter().filter_map(strip).collect()
}

fn at_most(value: f64, limit: f64) -> Result<Held, String> {
    Ok(if value <= limit { Held::Yes } else { Held::No })
}

/// Whether the smallest eigenvalue of X is above its floor.
pub(super) fn positive_definite(run: &Run, time: usize) -> Result<Held, String> {
    let (smallest, floor) = (run.row("eig_x", time)?[0], run.row("floor_eig_x", time)?[0]);
    Ok(if smallest.is_nan() || smallest < -floor {
        Held::No
    } else if smallest <= floor {
        Held::Unresolved
    } else {
        Held::Yes
    })
}

fn x_is_fixed(run: &Run, time: usize) -> Result<Held, String> {
    let pairs = run.row("eig_x", time)?.iter().zip(run.row("eig_x", 0)?);
    let moved = pairs.map(|(now, then)| (now - then).abs()).fold(0.0, f64::max);
    at_most(moved, run.row("floor_eig_x", time)?[0] + run.row("floor_eig_x", 0)?[0])
}

/// Whether the largest singular value of W2 W1 is above its floor.
pub(super) fn product_is_not_zero(run: &Run, time: usize) -> Result<Held, String> {
    // Of one layer, or of more than two, there is no such product.
    run.row("sigma_w2", time)?;
    if run.row("sigma_w3", time).is_ok() {
        return Err("more than two layers".to_string());
    }
    let above = run.row("sigma_end_to_end", time)?[0] > run.row("floor_end_to_end", time)?[0];
    Ok(if above { Held::Yes } else { Held::No })
}

/// The smallest gap between neighbouring singular values of W1 and of W2, in floors of these.
pub(super) fn distinct(run: &Run, time: usize) -> Result<f64, String> {
    let mut smallest = f64::INFINITY;
    for layer in ["w1", "w2"] {
        let values = run.row(&format!("sigma_{layer}"), time)?;
        let floor = run.row(&format!("floor_{layer}"), time)?[0];
        let gap = values.windows(2).map(|pair| pair[0] - pair[1]).fold(f64::INFINITY, f64::min);
        smallest = smallest.min(gap / floor);
    }
    Ok(smallest)
}

#[cfg(test)]
mod tests {
    use super::super::case::{NeededExperiment, Source};
    use super::super::fixtures::simulated;
    use super::*;

    /// Two layers whose X loses its sign, balanced at the start or not.
    const TWO_LAYERS: NeededExperiment = NeededExperiment {
        name: "two_layers",
        source: Source::Text(
            r#"
seed     = 5
data     = { kind = "gaussian", dim = 3, samples = 64 }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [3, 3, 3], init = { kind = "gaussian", std = 0.3 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "dop853", rtol = 1e-10, atol = 1e-13, time_end = 20.0 }
observe  = { times = { kind = "log", first = 0.1, count = 10 }, quantities = ["spectra", "x", "alignment", "imbalance"] }
sweep    = { "encoder.init" = [{ kind = "balanced", scale = 0.5, decay = 0.5 }, { kind = "gaussian", std = 0.3 }], "augment.variance" = [0.1, 3.0] }
"#,
        ),
        quick: &[],
        full: &[],
    };

    fn held(run: &Run, name: &str) -> Vec<Held> {
        strips(run).into_iter().find(|strip| strip.condition.name.starts_with(name)).unwrap().held
    }

    #[test]
    fn hypotheses_hold_and_fail_where_theory_says_so() {
        let runs = simulated(&TWO_LAYERS, &[]);
        let [balanced_weak, balanced_strong, _, strong] = &runs[..] else { panic!("four runs") };
        for run in &runs {
            assert_eq!(strips(run).len(), CONDITIONS.len());
            assert!(held(run, "W1 W1ᵀ - ").iter().all(|held| *held == Held::Yes));
            assert!(held(run, "W2(t) W1(t)").iter().all(|held| *held == Held::Yes));
            let fixed = held(run, "X(t) has the eigenvalues");
            assert!(fixed[0] == Held::Yes && fixed[1..].iter().all(|held| *held == Held::No));
        }
        for run in [balanced_weak, balanced_strong] {
            assert!(held(run, "W1 W1ᵀ = ").iter().all(|held| *held == Held::Yes));
            assert!(held(run, "V2 = U1").iter().all(|held| *held != Held::No));
        }
        assert!(held(strong, "W1 W1ᵀ = ").iter().all(|held| *held == Held::No));
        assert_eq!(held(strong, "V2 = U1")[0], Held::No);
        // Noise of variance 3 is above the threshold 2 of unit data, noise of 0.1 below.
        assert_eq!((held(balanced_weak, "X(t) ≻ 0")[0], held(strong, "X(t) ≻ 0")[0]), (Held::Yes, Held::No));
        assert_eq!(held(strong, "X(t) has a negative")[0], Held::Yes);
    }

    #[test]
    fn what_was_not_recorded_is_not_told() {
        let one_layer = ["encoder.widths=[3, 3]", "observe.quantities=[\"spectra\", \"x\"]"];
        let runs = simulated(&TWO_LAYERS, &one_layer);
        let names: Vec<&str> = strips(&runs[0]).iter().map(|strip| strip.condition.of).collect();
        assert_eq!(names, ["Theorem 2, Corollary 2", "Theorem 1, Corollary 1", "Theorem 1"]);
    }
}
