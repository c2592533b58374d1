//! Where training ends in the population limit.

use super::convex::minimise;
use super::decoupling::{Direction, directions};
use super::{Population, ViewCovariances};
use crate::loss::Loss;
use crate::matrix::{DecompositionError, Matrix, symmetric_eigen};

/// Where a mode ends that starts above 0; NaN without data and without noise, where it stays.
fn end(direction: &Direction, loss: &Loss, views: &ViewCovariances) -> Option<f64> {
    let mode = direction.mode(loss, views, 1)?;
    Some(if direction.data == 0.0 && direction.noise == 0.0 { f64::NAN } else { mode.limit() })
}

/// Gap of the loss (nats) at which the search for a limit ends, and evaluations after which it is given up.
const GAP: f64 = 1e-13;
const EVALUATIONS: usize = 20_000;

/// The singular values of the end-to-end matrix, descending, that minimise the loss over all matrices with at least d outputs;
/// infinite ones where a direction has data and no noise, nothing for a loss without limit or where the search does not end.
///
/// Closed forms where Σ and Σ_a commute, the convex problem elsewhere. A flow reaches it where every layer is at least d wide and
/// M(0) has full rank. Cost: O(d³), or a few thousand times that.
pub fn limit(loss: &Loss, views: &ViewCovariances) -> Result<Option<Vec<f64>>, DecompositionError> {
    if let Some(directions) = directions(views) {
        let values: Option<Vec<f64>> =
            directions.iter().map(|direction| end(direction, loss, views)).collect();
        return Ok(values.map(|mut values| {
            values.sort_by(|a, b| b.total_cmp(a));
            values
        }));
    }
    let noise = symmetric_eigen(views.noise())?.values;
    let largest = noise.last().copied().unwrap_or(0.0);
    // Without noise along some direction, which no basis separates from the others, the infimum lies at infinity.
    if noise[0] <= f64::EPSILON * noise.len() as f64 * largest {
        return Ok(None);
    }
    let Ok(mut population) = Population::new(loss, views.clone()) else { return Ok(None) };
    let root = |m: &Matrix| symmetric_eigen(m).map(|eigen| eigen.map(|value| value.max(0.0).sqrt()));
    let start = Matrix::identity(views.dim(), views.dim()) / views.first().trace().max(f64::MIN_POSITIVE);
    let mut failure = None;
    let mut evaluate = |m: &Matrix| match root(m) {
        Ok(w) => (population.loss(&w), population.x(&w)),
        Err(error) => {
            failure = Some(error);
            (f64::NAN, m * f64::NAN)
        }
    };
    let found = minimise(&start, GAP, EVALUATIONS, &mut evaluate, &mut |_| false);
    if let Some(error) = failure {
        return Err(error);
    }
    let found = found?;
    if !found.converged {
        return Ok(None);
    }
    let mut values: Vec<f64> = symmetric_eigen(&found.m)?.values.iter().map(|m| m.max(0.0).sqrt()).collect();
    values.reverse();
    Ok(Some(values))
}
