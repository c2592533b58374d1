//! Global minima of losses that are convex in M = WᵀW, by a method that knows nothing of trajectories.

use crate::matrix::{DecompositionError, Matrix, symmetric_eigen};

/// A point of the cone M ⪰ 0, with what tells how far the loss there is from its infimum.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// M, d x d.
    pub m: Matrix,
    /// The loss there.
    pub loss: f64,
    /// X = -2 ∂L/∂M there.
    pub x: Matrix,
    /// The largest eigenvalue of X; at a minimum X ⪯ 0.
    pub largest_eigenvalue: f64,
    /// tr(M X); at a minimum M X = 0.
    pub complementarity: f64,
    /// Evaluations of the loss.
    pub evaluations: usize,
    /// Whether the gap was reached.
    pub converged: bool,
}

impl Minimum {
    /// A bound on loss(M) - loss(M') for every M' ⪰ 0 with tr M' ≤ `trace`, by convexity:
    ///
    /// ```text
    /// loss(M) - loss(M') ≤ ½ ⟨X, M' - M⟩ ≤ ½ (max(λ_max(X), 0) tr M' - tr(M X))
    /// ```
    pub fn gap(&self, trace: f64) -> f64 {
        0.5 * (self.largest_eigenvalue.max(0.0) * trace - self.complementarity)
    }
}

/// Growth of the step after each success, and its shrinking after a failure of the sufficient decrease.
const GROW: f64 = 1.3;
const SHRINK: f64 = 0.5;

/// Minimises a convex function of M over M ⪰ 0 by accelerated projected gradients with restarts (Beck and Teboulle 2009;
/// O'Donoghue and Candès 2015), until [`Minimum::gap`] for twice the trace of M is at most `gap`, or `most` evaluations.
///
/// `evaluate` returns the loss and X = -2 ∂L/∂M. `watch` sees each iterate and may end the search. Where the infimum lies at
/// infinity M grows, and the gap to matrices of twice its trace may close far out, where there is no minimum. Cost:
/// an evaluation and an eigendecomposition a step.
pub fn minimise(
    start: &Matrix,
    gap: f64,
    most: usize,
    evaluate: &mut dyn FnMut(&Matrix) -> (f64, Matrix),
    watch: &mut dyn FnMut(&Minimum) -> bool,
) -> Result<Minimum, DecompositionError> {
    let at = |m: Matrix, (loss, x): (f64, Matrix), evaluations| -> Result<Minimum, DecompositionError> {
        let values = crate::matrix::symmetric_eigenvalues(&x)?;
        let largest_eigenvalue = values.last().copied().unwrap_or(0.0);
        let complementarity = m.dot(&x);
        Ok(Minimum { m, loss, x, largest_eigenvalue, complementarity, evaluations, converged: false })
    };
    let start = projected(start)?;
    let first = evaluate(&start);
    let mut here = at(start, first, 1)?;
    let mut evaluations = 1;
    let mut momentum = 1.0f64;
    // The extrapolated point, with its X.
    let mut ahead = (here.m.clone(), here.x.clone());
    let mut step = 1.0 / here.x.norm().max(f64::MIN_POSITIVE);
    loop {
        here.converged = here.gap(2.0 * here.m.trace().max(1.0)) <= gap;
        here.evaluations = evaluations;
        if watch(&here) || here.converged || evaluations >= most {
            return Ok(here);
        }
        let (next, (loss, x)) = loop {
            let next = projected(&(&ahead.0 + &ahead.1 * (0.5 * step)))?;
            let moved = &next - &ahead.0;
            let value = evaluate(&next);
            evaluations += 1;
            // By convexity f(next) ≤ f(ahead) + ⟨f'(next), moved⟩: the decrease follows from derivatives, whose rounding is
            // far below that of differences of the loss next to its minimum.
            let bent = 0.5 * (&ahead.1 - &value.1).dot(&moved);
            if bent <= 0.5 * moved.norm_squared() / step || evaluations >= most {
                break (next, value);
            }
            step *= SHRINK;
        };
        // A step against the last one: the momentum has outlived its use.
        let forward = &next - &here.m;
        let restart = (&ahead.0 - &next).dot(&forward) > 0.0;
        let following = if restart { 1.0 } else { 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) };
        let weight = if restart { 0.0 } else { (momentum - 1.0) / following };
        momentum = following;
        here = at(next, (loss, x), evaluations)?;
        ahead = if weight == 0.0 {
            (here.m.clone(), here.x.clone())
        } else {
            let point = projected(&(&here.m + forward * weight))?;
            let (_, x) = evaluate(&point);
            evaluations += 1;
            (point, x)
        };
        step *= GROW;
    }
}

/// The nearest positive semidefinite matrix.
fn projected(matrix: &Matrix) -> Result<Matrix, DecompositionError> {
    Ok(symmetric_eigen(matrix)?.map(|value| value.max(0.0)))
}
