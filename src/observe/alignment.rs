//! Alignment of adjacent layers, and its reduction to one number.

use crate::matrix::{Matrix, Svd};

/// Singular vectors turn by about (perturbation / gap): a gap of this many perturbations leaves them known to about one
/// part in a hundred.
const RESOLVING_GAP: f64 = 100.0;

/// A layer's singular values, and by how much they may be off.
#[derive(Clone, Copy, Debug)]
pub struct KnownValues<'a> {
    /// Descending.
    pub values: &'a [f64],
    /// What the rounding of an SVD can produce: closer values are equal as far as a matrix of doubles can say.
    pub rounding: f64,
    /// What rounding and the integrator's tolerance can produce.
    pub floor: f64,
}

impl KnownValues<'_> {
    /// Whether value k and the next one lie within so many `perturbations` that their vectors are not known.
    fn joined(&self, k: usize, perturbation: f64) -> bool {
        k + 1 >= self.values.len() || self.values[k] - self.values[k + 1] <= RESOLVING_GAP * perturbation
    }
}

/// A = V_{l+1}ᵀ U_l (rank x rank), of the layer `inner` = W_l and the layer `outer` = W_{l+1} behind it.
///
/// A singular pair (u, v) has a joint sign of its own: rows of A take the sign that makes the diagonal not negative.
pub fn alignment_matrix(inner: &Svd, outer: &Svd) -> Matrix {
    let mut alignment = outer.v.transpose() * &inner.u;
    for k in 0..alignment.nrows().min(alignment.ncols()) {
        if alignment[(k, k)] < 0.0 {
            alignment.row_mut(k).neg_mut();
        }
    }
    alignment
}

/// Σ A_jk² over the diagonal blocks of equal singular values, over the number of directions that both layers have:
/// between 0 and 1, and 1 where each singular space of one layer is one of the other's.
///
/// A block joins neighbours whose singular values are equal to rounding in either layer: within it vectors are defined up
/// to a rotation only, so a rotation there counts as aligned. Signs do not matter. Values that differ, but by less than
/// the integrator's tolerance resolves, are not joined: see [`resolved_part`].
pub fn alignment_score(alignment: &Matrix, inner: KnownValues<'_>, outer: KnownValues<'_>) -> f64 {
    let directions = alignment.nrows().min(alignment.ncols());
    let ranks = alignment.nrows().max(alignment.ncols());
    let mut block = vec![0; ranks];
    for k in 1..ranks {
        let same = inner.joined(k - 1, inner.rounding) || outer.joined(k - 1, outer.rounding);
        block[k] = block[k - 1] + usize::from(!same);
    }
    let mut inside = 0.0;
    for column in 0..alignment.ncols() {
        for row in 0..alignment.nrows() {
            if block[row] == block[column] {
                inside += alignment[(row, column)] * alignment[(row, column)];
            }
        }
    }
    inside / directions as f64
}

/// The part of the directions that both layers have whose singular vectors the floors let be known to one part in a
/// hundred: where it is below 1, the score speaks of vectors that the run's tolerance does not determine.
pub fn resolved_part(inner: KnownValues<'_>, outer: KnownValues<'_>) -> f64 {
    let directions = inner.values.len().min(outer.values.len());
    let blurred = |known: KnownValues<'_>, k: usize| {
        let next = k + 1 < known.values.len() && known.joined(k, known.floor);
        let previous = k > 0 && known.joined(k - 1, known.floor);
        next || previous || known.values[k] <= known.floor
    };
    let resolved = (0..directions).filter(|&k| !blurred(inner, k) && !blurred(outer, k)).count();
    resolved as f64 / directions as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(angle: f64) -> Matrix {
        Matrix::from_row_slice(
            3,
            3,
            &[angle.cos(), -angle.sin(), 0.0, angle.sin(), angle.cos(), 0.0, 0.0, 0.0, 1.0],
        )
    }

    fn known(values: &[f64]) -> KnownValues<'_> {
        KnownValues { values, rounding: 1e-12, floor: 1e-6 }
    }

    #[test]
    fn a_signed_identity_scores_1() {
        let values = known(&[3.0, 2.0, 1.0]);
        let signed = Matrix::from_diagonal(&nalgebra::DVector::from_vec(vec![1.0, -1.0, 1.0]));
        assert_eq!(alignment_score(&signed, values, values), 1.0);
        assert_eq!(resolved_part(values, values), 1.0);
    }

    #[test]
    fn a_rotation_among_equal_singular_values_scores_1_and_among_distinct_ones_less() {
        let (equal, distinct) = (known(&[2.0, 2.0, 1.0]), known(&[2.0, 1.9, 1.0]));
        assert!((alignment_score(&rotation(0.7), equal, distinct) - 1.0).abs() < 1e-15);
        let score = alignment_score(&rotation(0.7), distinct, distinct);
        assert!((score - (2.0 * 0.7f64.cos().powi(2) + 1.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn values_that_the_tolerance_cannot_tell_apart_win_no_score_and_count_as_unresolved() {
        let close = known(&[2.0, 2.0 - 1e-5, 1.0]);
        let score = alignment_score(&rotation(0.7), close, close);
        assert!((score - (2.0 * 0.7f64.cos().powi(2) + 1.0) / 3.0).abs() < 1e-15);
        assert!((resolved_part(close, close) - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn spaces_that_are_nearly_orthogonal_score_nearly_0() {
        let values = known(&[2.0, 1.0]);
        assert_eq!(alignment_score(&(Matrix::identity(2, 2) * 1e-3), values, values), 1e-6);
    }
}
