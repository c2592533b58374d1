//! Alignment of adjacent layers, and its reduction to one number.

use crate::matrix::{Matrix, Svd};

/// Singular vectors turn by about (perturbation / gap): within a gap of this many floors of each other, two singular
/// values are treated as equal, so that vectors which count as distinct are known to about one part in a hundred.
const GAP_IN_FLOORS: f64 = 100.0;

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

/// The part of Σ A_jk² that lies in the diagonal blocks of equal singular values, between 0 and 1.
///
/// 1 means that each singular space of one layer is one of the other's. Blocks join indices whose singular values
/// cannot be told apart in either layer (`inner_floor`, `outer_floor` are the floors of their spectra): within them the
/// vectors are defined up to a rotation only, so a rotation there counts as aligned. Signs do not matter.
pub fn alignment_score(
    alignment: &Matrix,
    inner_values: &[f64],
    inner_floor: f64,
    outer_values: &[f64],
    outer_floor: f64,
) -> f64 {
    let total = alignment.norm_squared();
    if total == 0.0 {
        return 0.0;
    }
    let joined = |values: &[f64], floor: f64, k: usize| {
        k + 1 >= values.len() || values[k] - values[k + 1] <= GAP_IN_FLOORS * floor
    };
    let ranks = alignment.nrows().max(alignment.ncols());
    let mut block = vec![0; ranks];
    for k in 1..ranks {
        let same = joined(inner_values, inner_floor, k - 1) || joined(outer_values, outer_floor, k - 1);
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
    inside / total
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

    #[test]
    fn a_signed_identity_scores_1() {
        let values = [3.0, 2.0, 1.0];
        let signed = Matrix::from_diagonal(&nalgebra::DVector::from_vec(vec![1.0, -1.0, 1.0]));
        assert_eq!(alignment_score(&signed, &values, 1e-9, &values, 1e-9), 1.0);
    }

    #[test]
    fn a_rotation_among_equal_singular_values_scores_1_and_among_distinct_ones_less() {
        let equal = [2.0, 2.0, 1.0];
        let distinct = [2.0, 1.9, 1.0];
        assert!((alignment_score(&rotation(0.7), &equal, 1e-9, &distinct, 1e-9) - 1.0).abs() < 1e-15);
        let score = alignment_score(&rotation(0.7), &distinct, 1e-9, &distinct, 1e-9);
        assert!((score - (2.0 * 0.7f64.cos().powi(2) + 1.0) / 3.0).abs() < 1e-15);
    }
}
