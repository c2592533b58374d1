//! Triangular factors and random orthogonal matrices.

use faer::MatRef;
use faer::linalg::solvers::Qr;

use super::Matrix;

fn decompose(matrix: &Matrix) -> Qr<f64> {
    let (rows, columns) = matrix.shape();
    MatRef::from_column_major_slice(matrix.as_slice(), rows, columns).qr()
}

/// The upper triangular R, min(n, d) x d with no negative diagonal entry, of A = Q R for an n x d matrix: AᵀA = RᵀR.
///
/// R has the singular values of A up to ε·σ_max, without squaring them as AᵀA does; for A = B·D with diagonal D each is even
/// kept up to about ε·κ(B) of itself. Graded rows are not kept so: for these [`super::svd`] takes A itself.
/// Entries that are not finite make R not finite. Cost: 2 n d² (d ≤ n).
pub fn triangular_factor(matrix: &Matrix) -> Matrix {
    let count = matrix.nrows().min(matrix.ncols());
    if count == 0 {
        return Matrix::zeros(0, matrix.ncols());
    }
    let found = decompose(matrix);
    let r = found.thin_R();
    Matrix::from_fn(count, matrix.ncols(), |i, j| if i > j { 0.0 } else { r[(i, j)] * sign_of(r[(i, i)]) })
}

/// The orthogonal factor of a matrix: m x n with orthonormal columns where m ≥ n, with orthonormal rows where m < n.
///
/// It is the Q of the QR in which R has a positive diagonal (of the transpose for a wide matrix). That choice makes it Haar
/// distributed where the entries are independent standard normal (Mezzadri, How to generate random matrices from the classical
/// compact groups, 2007); the signs that Householder happens to return do not. Cost: 4 m n² (n ≤ m).
pub fn random_orthogonal(gaussian: Matrix) -> Matrix {
    let (rows, columns) = gaussian.shape();
    if rows < columns {
        return random_orthogonal(gaussian.transpose()).transpose();
    }
    if columns == 0 {
        return gaussian;
    }
    let found = decompose(&gaussian);
    let (q, r) = (found.compute_thin_Q(), found.thin_R());
    Matrix::from_fn(rows, columns, |i, j| q[(i, j)] * sign_of(r[(j, j)]))
}

fn sign_of(x: f64) -> f64 {
    if x < 0.0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::super::hard_cases::{gaussian, orthogonality_error};
    use super::super::{relative_difference, singular_values};
    use super::*;

    #[test]
    fn the_triangular_factor_has_the_same_gram_matrix() {
        for (n, d) in [(1, 1), (1, 5), (5, 1), (4, 9), (9, 4), (16, 16), (300, 16), (200, 150)] {
            let a = gaussian(n, d, (31 * n + d) as u64);
            let r = triangular_factor(&a);
            assert_eq!(r.shape(), (n.min(d), d));
            for i in 0..r.nrows() {
                assert!(r[(i, i)] >= 0.0);
                assert!((0..i).all(|j| r[(i, j)] == 0.0));
            }
            assert!(relative_difference(&(r.transpose() * &r), &(a.transpose() * &a)) < 1e-13);
        }
    }

    #[test]
    fn the_triangular_factor_keeps_singular_values_that_the_gram_matrix_loses() {
        // Two nearly parallel columns: the small singular value is about 1e-10/√2 and its square is below ε.
        let a = Matrix::from_fn(50, 2, |i, j| 1.0 + if j == 1 && i == 7 { 1e-10 } else { 0.0 });
        let exact = singular_values(&a).unwrap()[1];
        let by_factor = singular_values(&triangular_factor(&a)).unwrap()[1];
        let by_gram = singular_values(&(a.transpose() * &a)).unwrap()[1].sqrt();
        assert!((by_factor / exact - 1.0).abs() < 1e-4, "{by_factor} against {exact}");
        assert!((by_gram / exact - 1.0).abs() > 0.1, "the Gram matrix kept {by_gram}");
    }

    #[test]
    fn orthogonal_factors_are_orthonormal_for_any_shape() {
        for (m, n) in [(1, 1), (1, 4), (4, 1), (7, 3), (3, 7), (16, 16), (200, 150)] {
            let q = random_orthogonal(gaussian(m, n, (17 * m + n) as u64));
            assert_eq!(q.shape(), (m, n));
            let tall = if m < n { q.transpose() } else { q };
            assert!(orthogonality_error(&tall) < 1e-14 * m.max(n) as f64);
        }
    }

    #[test]
    fn orthogonal_factors_leave_a_triangle_with_positive_diagonal() {
        let a = gaussian(8, 5, 2);
        let r = random_orthogonal(a.clone()).transpose() * a;
        for i in 0..5 {
            assert!(r[(i, i)] > 0.0);
            assert!((0..i).all(|j| r[(i, j)].abs() < 1e-14));
        }
    }

    #[test]
    fn a_rotation_of_the_input_rotates_the_orthogonal_factor() {
        // What makes the distribution invariant from the left, and what a Q with arbitrary signs breaks.
        let (a, p) = (gaussian(6, 6, 4), random_orthogonal(gaussian(6, 6, 5)));
        let rotated = random_orthogonal(&p * &a);
        assert!(relative_difference(&rotated, &(&p * random_orthogonal(a.clone()))) < 1e-12);
        let raw = |m: &Matrix| {
            let q = decompose(m).compute_thin_Q();
            Matrix::from_fn(6, 6, |i, j| q[(i, j)])
        };
        assert!(relative_difference(&raw(&(&p * &a)), &(&p * raw(&a))) > 0.1);
    }

    #[test]
    fn traces_of_random_rotations_have_the_moments_of_the_haar_measure() {
        // For Haar on O(n) the trace has mean 0 and variance 1. Without the sign rule the mean is far from 0.
        let count = 2000;
        let traces: Vec<f64> = (0..count).map(|k| random_orthogonal(gaussian(3, 3, k)).trace()).collect();
        let mean = traces.iter().sum::<f64>() / count as f64;
        let square = traces.iter().map(|x| x * x).sum::<f64>() / count as f64;
        assert!(mean.abs() < 4.0 / (count as f64).sqrt(), "mean {mean}");
        assert!((square - 1.0).abs() < 0.15, "second moment {square}");
    }

    #[test]
    fn extreme_entries_do_not_overflow() {
        let a = gaussian(6, 4, 9);
        let r = triangular_factor(&a);
        for scale in [2f64.powi(-900), 2f64.powi(900)] {
            assert!(relative_difference(&(triangular_factor(&(&a * scale)) / scale), &r) < 1e-14);
        }
    }

    #[test]
    fn matrices_without_rows_or_columns_are_allowed() {
        assert_eq!(triangular_factor(&Matrix::zeros(0, 3)).shape(), (0, 3));
        assert_eq!(triangular_factor(&Matrix::zeros(3, 0)).shape(), (0, 0));
        assert_eq!(random_orthogonal(Matrix::zeros(3, 0)).shape(), (3, 0));
        assert_eq!(random_orthogonal(Matrix::zeros(0, 3)).shape(), (0, 3));
    }
}
