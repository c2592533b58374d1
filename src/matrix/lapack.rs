//! Singular values from LAPACK, as a referee that shares no code with ours. Feature `lapack`; needs libopenblas-dev.

use ndarray::{Array2, ShapeBuilder};
use ndarray_linalg::SVD;

use super::{DecompositionError, Matrix, power_of_two_scale};

/// The singular values of an m x n matrix by LAPACK's `gesvd`, descending, min(m, n) of them.
///
/// Absolute error of some ε·σ_max: small values of graded matrices lose their digits, depending on the order of rows and
/// columns. Errors where an entry is not finite or the iteration does not converge.
pub fn singular_values(matrix: &Matrix) -> Result<Vec<f64>, DecompositionError> {
    let (rows, columns) = matrix.shape();
    let failed = DecompositionError::NotConverged { rows, columns };
    let scale = power_of_two_scale(matrix)?;
    if rows.min(columns) == 0 {
        return Ok(Vec::new());
    }
    let values = matrix.iter().map(|x| x * scale).collect();
    let scaled = Array2::from_shape_vec((rows, columns).f(), values).map_err(|_| failed)?;
    let (_, values, _) = scaled.svd(false, false).map_err(|_| failed)?;
    Ok(values.iter().map(|x| x / scale).collect())
}

#[cfg(test)]
mod tests {
    use super::super::hard_cases::{families, graded_columns, permuted_columns};
    use super::*;

    #[test]
    fn lapack_and_jacobi_agree_to_rounding_of_the_largest_value() {
        for (name, a) in families() {
            let ours = super::super::singular_values(&a).unwrap();
            let theirs = singular_values(&a).unwrap();
            assert_eq!(ours.len(), theirs.len());
            for (x, y) in ours.iter().zip(&theirs) {
                let bound = 4.0 * f64::EPSILON * a.nrows().max(a.ncols()) as f64 * ours[0];
                assert!((x - y).abs() <= bound, "{name}: {x:e} against {y:e}");
            }
        }
    }

    #[test]
    fn lapack_and_jacobi_agree_digit_by_digit_on_graded_columns() {
        let a = graded_columns(16, 1);
        let ours = super::super::singular_values(&a).unwrap();
        for (x, y) in ours.iter().zip(singular_values(&a).unwrap()) {
            assert!((x / y - 1.0).abs() < 1e-10, "{x:e} against {y:e}");
        }
    }

    #[test]
    fn lapack_loses_digits_that_jacobi_keeps_when_the_columns_are_permuted() {
        let sorted = graded_columns(16, 1);
        let permuted = permuted_columns(&sorted);
        let reference = super::super::singular_values(&sorted).unwrap();
        let worst = |found: Vec<f64>| {
            found.iter().zip(&reference).map(|(x, y)| (x / y - 1.0).abs()).fold(0.0, f64::max)
        };
        assert!(worst(super::super::singular_values(&permuted).unwrap()) < 1e-12);
        let lost = worst(singular_values(&permuted).unwrap());
        assert!(lost > 1e-8, "LAPACK kept all but {lost:e}");
    }
}
