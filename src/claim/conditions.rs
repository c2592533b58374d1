//! Hypotheses of the paper's statements that the record of a run shows at each of its times.

use super::alignment::{distance, imbalance_error, vectors_error};
use super::case::Run;
use crate::experiment::Subject;
use crate::matrix::{Matrix, spectral_norm};

/// What a record says of a hypothesis at one of its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It holds, by more than the numerical floor.
    Yes,
    /// It fails, by more than the numerical floor.
    No,
    /// The numerical floor is too high to tell, or there is no number to tell by.
    Unresolved,
}

/// A hypothesis as a measurable predicate of a recorded time.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// What is assumed.
    pub name: &'static str,
    /// The statements that assume it.
    pub of: &'static str,
    /// Whether it is about two layers, and not about X alone.
    two_layers: bool,
    test: fn(&Run, usize) -> Result<Held, String>,
}

/// All of them; each wants some arrays to have been recorded.
pub const CONDITIONS: &[Condition] = &[
    Condition {
        name: "X(t) ≻ 0", of: "Theorem 2, Corollary 2", two_layers: false, test: positive_definite
    },
    Condition {
        name: "X(t) has a negative eigenvalue",
        of: "Theorem 1, Corollary 1",
        two_layers: false,
        test: |run, time| {
            Ok(match positive_definite(run, time)? {
                Held::Yes => Held::No,
                Held::No => Held::Yes,
                Held::Unresolved => Held::Unresolved,
            })
        },
    },
    Condition {
        name: "X(t) has the eigenvalues of X(0)",
        of: "Theorem 1",
        two_layers: false,
        test: x_is_fixed,
    },
    Condition { name: "W2(t) W1(t) ≠ 0", of: "Theorem 2", two_layers: true, test: product_is_not_zero },
    Condition {
        name: "W1(t) and W2(t) have distinct singular values",
        of: "Theorem 2, in the limit",
        two_layers: true,
        test: |run, time| Ok(if distinct(run, time)? > 2.0 { Held::Yes } else { Held::Unresolved }),
    },
    Condition {
        name: "W1 W1ᵀ - W2ᵀ W2 is what it was at the start",
        of: "Eq. 10",
        two_layers: true,
        test: |run, time| {
            let moved = run.square("imbalance_1_2", time)? - run.square("imbalance_1_2", 0)?;
            vanishes(&moved, imbalance_error(run, time)? + imbalance_error(run, 0)?, run, time)
        },
    },
    Condition {
        name: "W1 W1ᵀ = W2ᵀ W2 (balanced layers)",
        of: "the corrected Theorem 2 and Corollary 2",
        two_layers: true,
        test: |run, time| {
            vanishes(&run.square("imbalance_1_2", time)?, imbalance_error(run, time)?, run, time)
        },
    },
    Condition {
        name: "V2 = U1 up to signs (aligned layers)",
        of: "Theorem 3",
        two_layers: true,
        test: aligned,
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

/// The hypotheses that the record of `run` can tell of: the paper's are about linear layers without biases, and those about two
/// layers about two. Cost: at worst a decomposition of a d x d matrix a time, where alignment and imbalance were recorded.
pub fn strips(run: &Run) -> Vec<Strip> {
    if run.plan.subject == Subject::RealNetwork {
        return Vec::new();
    }
    let encoder = run.plan.settings.table("encoder");
    let is_linear = encoder.kind() == "linear" && !encoder.flag("bias");
    let is_two = encoder.integers("widths").len() == 3 && encoder.table("projector").kind() == "none";
    let strip = |condition: &Condition| {
        let held: Result<Vec<Held>, String> =
            (0..run.times().len()).map(|time| (condition.test)(run, time)).collect();
        // Without the arrays that it wants, or with others of these names, there is nothing to tell.
        held.ok().map(|held| Strip { condition: *condition, held })
    };
    let applies = |condition: &&Condition| is_linear && (is_two || !condition.two_layers);
    CONDITIONS.iter().filter(applies).filter_map(strip).collect()
}

/// A spectrum and its floor at a time.
fn spectrum<'a>(run: &'a Run, name: &str, floor: &str, time: usize) -> Result<(&'a [f64], f64), String> {
    let values = run.row(name, time)?;
    let floor = run.row(floor, time)?;
    match (values, floor) {
        ([_, ..], [floor]) => Ok((values, *floor)),
        _ => Err(format!("{name} is empty")),
    }
}

/// The part of the squared weights that the error of an imbalance may have for the imbalance to be known.
const LARGEST_ERROR: f64 = 0.01;

/// Whether a matrix is 0, known up to this error in the spectral norm.
fn vanishes(matrix: &Matrix, error: f64, run: &Run, time: usize) -> Result<Held, String> {
    let (w1, _) = spectrum(run, "sigma_w1", "floor_w1", time)?;
    let (w2, _) = spectrum(run, "sigma_w2", "floor_w2", time)?;
    let frobenius = matrix.norm();
    if !frobenius.is_finite() || !error.is_finite() {
        return Ok(Held::Unresolved);
    }
    // The spectral norm lies between these two, and costs a decomposition.
    let is_small = if frobenius <= error {
        true
    } else if frobenius > error * (matrix.nrows() as f64).sqrt() {
        false
    } else {
        spectral_norm(matrix).map_err(|problem| problem.to_string())? <= error
    };
    Ok(match is_small {
        false => Held::No,
        true if error <= LARGEST_ERROR * (w1[0] * w1[0]).max(w2[0] * w2[0]) => Held::Yes,
        true => Held::Unresolved,
    })
}

/// Whether the smallest eigenvalue of X is above its floor.
pub(super) fn positive_definite(run: &Run, time: usize) -> Result<Held, String> {
    let (values, floor) = spectrum(run, "eig_x", "floor_eig_x", time)?;
    Ok(if values[0] > floor {
        Held::Yes
    } else if values[0] < -floor {
        Held::No
    } else {
        Held::Unresolved
    })
}

fn x_is_fixed(run: &Run, time: usize) -> Result<Held, String> {
    let (now, floor) = spectrum(run, "eig_x", "floor_eig_x", time)?;
    let (then, floor_then) = spectrum(run, "eig_x", "floor_eig_x", 0)?;
    let moved = now.iter().zip(then).map(|(now, then)| (now - then).abs());
    // Not a number is not less than anything, and so not lost here.
    let moved = moved.fold(0.0, |largest: f64, moved| if moved <= largest { largest } else { moved });
    let allowed = floor + floor_then;
    Ok(if moved.is_nan() || allowed.is_nan() {
        Held::Unresolved
    } else if moved > allowed {
        Held::No
    } else {
        Held::Yes
    })
}

/// Whether the largest singular value of W2 W1 is above its floor. Below it the product may be 0 or not.
pub(super) fn product_is_not_zero(run: &Run, time: usize) -> Result<Held, String> {
    let (values, floor) = spectrum(run, "sigma_end_to_end", "floor_end_to_end", time)?;
    Ok(if values[0] > floor { Held::Yes } else { Held::Unresolved })
}

/// The smallest gap between neighbouring singular values of W1 and of W2, in floors of these; not a number where one is.
pub(super) fn distinct(run: &Run, time: usize) -> Result<f64, String> {
    let mut smallest = f64::INFINITY;
    for layer in ["w1", "w2"] {
        let (values, floor) = spectrum(run, &format!("sigma_{layer}"), &format!("floor_{layer}"), time)?;
        for pair in values.windows(2) {
            let gap = (pair[0] - pair[1]) / floor;
            if gap.is_nan() {
                return Ok(f64::NAN);
            }
            smallest = smallest.min(gap);
        }
    }
    Ok(smallest)
}

/// Whether A = V2ᵀ U1 is the identity up to signs, for layers that are square and of one size: of others the singular vectors
/// do not span the hidden space.
fn aligned(run: &Run, time: usize) -> Result<Held, String> {
    let (w1, _) = spectrum(run, "sigma_w1", "floor_w1", time)?;
    let (w2, _) = spectrum(run, "sigma_w2", "floor_w2", time)?;
    let widths = run.plan.settings.table("encoder").integers("widths");
    let alignment = run.square("alignment_1_2", time)?;
    let side = alignment.nrows();
    if [w1.len(), w2.len()] != [side; 2] || widths.iter().any(|width| *width != side) {
        return Err("layers of different shapes".to_string());
    }
    let (apart, error) = (distance(run, time)?, vectors_error(run, time)?);
    // Directions that are not known at all are aligned with anything.
    Ok(if apart.is_nan() || error.is_nan() || error >= 1.0 {
        Held::Unresolved
    } else if apart <= error {
        Held::Yes
    } else {
        Held::No
    })
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
    fn a_sign_within_its_floor_is_not_known() {
        let mut runs = simulated(&TWO_LAYERS, &[]);
        let signs = ["X(t) ≻ 0", "X(t) has a negative"];
        for run in &mut runs {
            for name in signs {
                assert!(held(run, name).iter().any(|held| *held != Held::Unresolved));
            }
            run.stored.arrays.get_mut("floor_eig_x").unwrap().values.fill(1e3);
            for name in signs {
                assert!(held(run, name).iter().all(|held| *held == Held::Unresolved), "{name}");
            }
        }
    }

    #[test]
    fn singular_values_are_distinct_where_both_their_floors_are_between_them() {
        let mut runs = simulated(&TWO_LAYERS, &[]);
        let run = &mut runs[0];
        for (floor, expected) in [(0.45, Held::Yes), (0.55, Held::Unresolved)] {
            for layer in ["w1", "w2"] {
                let sigma = run.stored.arrays.get_mut(&format!("sigma_{layer}")).unwrap();
                sigma.values = [3.0, 2.0, 1.0].repeat(sigma.shape[0]);
                run.stored.arrays.get_mut(&format!("floor_{layer}")).unwrap().values.fill(floor);
            }
            let told = held(run, "W1(t) and W2(t)");
            assert!(told.iter().all(|held| *held == expected), "{floor}: {told:?}");
        }
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
    fn a_projector_other_layers_and_biases_leave_what_is_about_x_alone_or_nothing() {
        let told = |overrides: &[&str]| -> Vec<&str> {
            let runs = simulated(&TWO_LAYERS, &[&["sweep.augment.variance=[0.5]"], overrides].concat());
            strips(&runs[1]).iter().map(|strip| strip.condition.name).collect()
        };
        let all = told(&[]).len();
        assert_eq!(all, CONDITIONS.len());
        // Layers that are not square have no alignment of all directions; balanced starts want one width.
        let gaussian =
            "sweep.encoder.init=[{ kind = \"gaussian\", std = 0.2 }, { kind = \"gaussian\", std = 0.3 }]";
        for widths in ["[3, 3, 2]", "[3, 5, 3]", "[3, 5, 5]", "[3, 2, 3]"] {
            let told = told(&[gaussian, &format!("encoder.widths={widths}")]);
            assert_eq!(told.len(), all - 1, "{widths}: {told:?}");
            assert!(!told.iter().any(|name| name.starts_with("V2 = U1")));
        }
        assert_eq!(told(&[gaussian, "encoder.widths=[3, 3, 3, 3]"]).len(), 3);
        let projector = "encoder.projector={ kind = \"subvector\", dims = 2 }";
        assert_eq!(told(&[gaussian, projector]).len(), 3);
        let without_x = "observe.quantities=[\"spectra\", \"alignment\", \"imbalance\"]";
        assert_eq!(told(&[gaussian, without_x]).len(), all - 3);
        assert!(told(&[gaussian, without_x, "encoder.bias=true"]).is_empty());
        assert!(told(&[gaussian, without_x, "encoder.kind=tanh"]).is_empty());
    }

    #[test]
    fn what_is_no_number_and_what_the_floor_hides_is_not_known() {
        let mut runs = simulated(&TWO_LAYERS, &[]);
        let run = &mut runs[0];
        for array in run.stored.arrays.values_mut() {
            let rows = array.shape[0];
            let length = array.values.len() / rows;
            array.values[(rows - 1) * length..].fill(f64::NAN);
        }
        for strip in strips(run) {
            assert_eq!(strip.held.last(), Some(&Held::Unresolved), "{}", strip.condition.name);
        }
        // Large errors of both layers make every imbalance possible, and so nothing known.
        let run = &mut runs[1];
        for name in ["floor_w1", "floor_w2"] {
            run.stored.arrays.get_mut(name).unwrap().values.fill(10.0);
        }
        for name in ["W1 W1ᵀ - ", "W1 W1ᵀ = ", "V2 = U1"] {
            assert!(held(run, name).iter().all(|held| *held == Held::Unresolved), "{name}");
        }
        run.stored.arrays.get_mut("floor_end_to_end").unwrap().values.fill(1e3);
        assert!(held(run, "W2(t) W1(t)").iter().all(|held| *held == Held::Unresolved));
    }

    #[test]
    fn arrays_of_other_shapes_are_not_told_of_and_do_no_harm() {
        let mut runs = simulated(&TWO_LAYERS, &[]);
        let run = &mut runs[0];
        let times = run.times().len();
        for (name, array) in &mut run.stored.arrays {
            if name != "time" {
                *array = crate::files::Array { shape: vec![times, 0], values: Vec::new() };
            }
        }
        assert!(strips(run).is_empty());
        for (name, array) in &mut run.stored.arrays {
            if name != "time" {
                *array = crate::files::Array { shape: vec![times, 3, 1], values: vec![1.0; 3 * times] };
            }
        }
        strips(run);
    }

    #[test]
    fn what_was_not_recorded_is_not_told() {
        let one_layer = ["encoder.widths=[3, 3]", "observe.quantities=[\"spectra\", \"x\"]"];
        let runs = simulated(&TWO_LAYERS, &one_layer);
        let names: Vec<&str> = strips(&runs[0]).iter().map(|strip| strip.condition.of).collect();
        assert_eq!(names, ["Theorem 2, Corollary 2", "Theorem 1, Corollary 1", "Theorem 1"]);
    }
}
