//! How many directions survive in the population limit.

use super::ViewCovariances;
use crate::matrix::{DecompositionError, symmetric_eigenvalues};

/// The rank of the limit of one layer under Eq. 2 (d_out ≥ d, W(0) of full column rank): the number of generalised eigenvalues
/// of (Σ_δ, Σ_v) below 2.
///
/// By Sylvester's law of inertia that is the number of positive eigenvalues of 2 Σ_v - Σ_δ, which also serves singular
/// covariances; directions without data and without noise do not move and are not counted. Eigenvalues within d ε of 0,
/// relative to the largest entry, count as 0: they vanish, as t^{-1/2}. Cost: O(d³).
pub fn limit_rank(views: &ViewCovariances) -> Result<usize, DecompositionError> {
    let x = views.x_at_zero();
    let scale = views.first().amax().max(views.noise().amax());
    let rounding = f64::EPSILON * x.nrows() as f64 * scale;
    Ok(symmetric_eigenvalues(&x)?.iter().filter(|value| **value > rounding).count())
}
