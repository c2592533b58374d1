//! Eigenvalues and eigenvectors of symmetric matrices.

use faer::{MatRef, Side};

use super::scale::power_of_two_scale;
use super::{DecompositionError, Matrix};

/// Eigenvalues and orthonormal eigenvectors of a symmetric n x n matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct SymmetricEigen {
    /// Eigenvalues, ascending.
    pub values: Vec<f64>,
    /// Column k belongs to value k; n x n. Defined up to sign, and in a group of equal values up to a rotation.
    pub vectors: Matrix,
}

impl SymmetricEigen {
    /// V diag(f(values)) Vᵀ: the matrix function that f defines.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Matrix {
        let mut scaled = self.vectors.clone();
        for (mut column, value) in scaled.column_iter_mut().zip(&self.values) {
            column *= f(*value);
        }
        let product = scaled * self.vectors.transpose();
        // Rounding in the product is not symmetric by itself.
        (&product + product.transpose()) * 0.5
    }
}

/// The eigenvalues of (A + Aᵀ)/2, ascending.
///
/// Each carries an absolute error of some ε·‖A‖: for small eigenvalues of C = ZZᵀ take the singular values of Z.
/// Cost: some 4/3 n³. Entries of any size are handled, on a copy scaled by a power of two.
/// Panics where A is not square. Errors where an entry is not finite, or the iteration does not converge.
pub fn symmetric_eigenvalues(matrix: &Matrix) -> Result<Vec<f64>, DecompositionError> {
    let (scaled, scale) = scaled_symmetric_part(matrix)?;
    let n = matrix.nrows();
    let values = MatRef::from_column_major_slice(scaled.as_slice(), n, n)
        .self_adjoint_eigenvalues(Side::Lower)
        .map_err(|_| DecompositionError::NotConverged { rows: n, columns: n })?;
    Ok(values.into_iter().map(|x| x / scale).collect())
}

/// Eigenvalues, ascending, and eigenvectors of (A + Aᵀ)/2.
///
/// Accuracy, panics and errors as [`symmetric_eigenvalues`]. Cost: some 9 n³.
pub fn symmetric_eigen(matrix: &Matrix) -> Result<SymmetricEigen, DecompositionError> {
    let (scaled, scale) = scaled_symmetric_part(matrix)?;
    let n = matrix.nrows();
    let found = MatRef::from_column_major_slice(scaled.as_slice(), n, n)
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| DecompositionError::NotConverged { rows: n, columns: n })?;
    let (vectors, values) = (found.U(), found.S().column_vector());
    Ok(SymmetricEigen {
        values: (0..n).map(|k| values[k] / scale).collect(),
        vectors: Matrix::from_fn(n, n, |i, j| vectors[(i, j)]),
    })
}

fn scaled_symmetric_part(matrix: &Matrix) -> Result<(Matrix, f64), DecompositionError> {
    assert_eq!(matrix.nrows(), matrix.ncols(), "a symmetric matrix is square");
    let scale = power_of_two_scale(matrix)?;
    // Scaled before the sum, which could overflow.
    let n = matrix.nrows();
    Ok((Matrix::from_fn(n, n, |i, j| 0.5 * (matrix[(i, j)] * scale + matrix[(j, i)] * scale)), scale))
}

#[cfg(test)]
mod tests {
    use super::super::hard_cases::{gaussian, orthogonality_error};
    use super::super::relative_difference;
    use super::*;

    fn symmetric(n: usize, seed: u64) -> Matrix {
        let a = gaussian(n, n, seed);
        &a + a.transpose()
    }

    #[test]
    fn eigenvalues_are_ascending_and_rebuild_the_matrix() {
        for n in [1, 2, 3, 8, 16, 40, 150] {
            let a = symmetric(n, n as u64);
            let found = symmetric_eigen(&a).unwrap();
            assert!(found.values.is_sorted(), "{:?}", found.values);
            assert!(orthogonality_error(&found.vectors) < 1e-14 * n as f64);
            assert!(relative_difference(&found.map(|x| x), &a) < 1e-14 * n as f64);
            let values = symmetric_eigenvalues(&a).unwrap();
            for (x, y) in values.iter().zip(&found.values) {
                assert!((x - y).abs() < 1e-14 * n as f64 * a.norm());
            }
        }
    }

    #[test]
    fn eigenvalues_of_a_path_graph_match_the_closed_form() {
        // The Laplacian 2 on the diagonal, -1 beside it, has eigenvalues 2 - 2 cos(kπ/(n + 1)).
        let n = 12;
        let a = Matrix::from_fn(n, n, |i, j| match i.abs_diff(j) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        });
        for (k, value) in symmetric_eigenvalues(&a).unwrap().iter().enumerate() {
            let angle = (k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64;
            assert!((value - (2.0 - 2.0 * angle.cos())).abs() < 1e-14);
        }
    }

    #[test]
    fn entries_near_the_ends_of_the_range_do_not_fail() {
        let a = symmetric(16, 3);
        let reference = symmetric_eigen(&a).unwrap();
        for exponent in [-1000, -680, 680, 1000] {
            let scale = 2f64.powi(exponent);
            let found = symmetric_eigen(&(&a * scale)).unwrap();
            let restored: Vec<f64> = found.values.iter().map(|x| x / scale).collect();
            assert_eq!(restored, reference.values, "scaled by 2^{exponent}");
            assert_eq!(found.vectors, reference.vectors);
        }
    }

    #[test]
    fn only_the_symmetric_part_counts() {
        let a = symmetric(9, 5);
        let g = gaussian(9, 9, 6);
        let skew = &g - g.transpose();
        let (with, without) =
            (symmetric_eigenvalues(&(&a + skew)).unwrap(), symmetric_eigenvalues(&a).unwrap());
        for (x, y) in with.iter().zip(&without) {
            assert!((x - y).abs() < 1e-13 * a.norm());
        }
    }

    #[test]
    fn zero_empty_and_low_rank_matrices_are_decomposed() {
        assert_eq!(symmetric_eigenvalues(&Matrix::zeros(4, 4)).unwrap(), [0.0; 4]);
        assert!(symmetric_eigenvalues(&Matrix::zeros(0, 0)).unwrap().is_empty());
        let found = symmetric_eigen(&Matrix::from_element(6, 6, 1.0)).unwrap();
        assert!((found.values[5] - 6.0).abs() < 1e-14);
        assert!(found.values[..5].iter().all(|x| x.abs() < 1e-14));
        assert!(orthogonality_error(&found.vectors) < 1e-14);
    }

    #[test]
    fn an_entry_that_is_not_finite_is_refused() {
        let a = Matrix::from_row_slice(2, 2, &[1.0, f64::NAN, 0.0, 1.0]);
        assert!(matches!(symmetric_eigen(&a), Err(DecompositionError::NotFinite { row: 0, column: 1, .. })));
    }
}
