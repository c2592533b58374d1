//! The inverse and the determinant of a positive definite matrix, again and again in the same memory.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::{MatMut, MatRef, Par};

/// Inverts positive definite n x n matrices through their Cholesky factor. Nothing is allocated while n stays the same.
pub struct PositiveInverse {
    dim: usize,
    memory: MemBuffer,
}

impl std::fmt::Debug for PositiveInverse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PositiveInverse {{ dim: {} }}", self.dim)
    }
}

impl PositiveInverse {
    /// For n x n matrices.
    pub fn new(dim: usize) -> Self {
        let factor = llt::factor::cholesky_in_place_scratch::<f64>(dim, Par::Seq, Default::default());
        let inverse = llt::inverse::inverse_scratch::<f64>(dim, Par::Seq);
        PositiveInverse { dim, memory: MemBuffer::new(StackReq::any_of(&[factor, inverse])) }
    }

    /// Writes the inverse of the column-major `matrix` to `inverse` and returns the logarithm of its determinant; nothing where
    /// the matrix is not positive definite to working precision, or not finite.
    ///
    /// Reads the lower triangle and leaves the Cholesky factor there. Cost: n³. Relative error of some n·ε·κ.
    /// Panics where a length is not n².
    pub fn invert(&mut self, matrix: &mut [f64], inverse: &mut [f64]) -> Option<f64> {
        let n = self.dim;
        let mut factor = MatMut::from_column_major_slice_mut(matrix, n, n);
        let stack = MemStack::new(&mut self.memory);
        let none = llt::factor::LltRegularization::default();
        llt::factor::cholesky_in_place(factor.as_mut(), none, Par::Seq, stack, Default::default()).ok()?;
        let out = MatMut::from_column_major_slice_mut(inverse, n, n);
        llt::inverse::inverse(out, factor.as_ref(), Par::Seq, stack);
        // Only the lower triangle is written.
        for column in 0..n {
            for row in 0..column {
                inverse[column * n + row] = inverse[row * n + column];
            }
        }
        let factor = MatRef::from_column_major_slice(matrix, n, n);
        let log_determinant = 2.0 * (0..n).map(|k| factor[(k, k)].ln()).sum::<f64>();
        log_determinant.is_finite().then_some(log_determinant)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Matrix;
    use super::super::hard_cases::gaussian;
    use super::*;

    fn inverted(matrix: &Matrix) -> Option<(Matrix, f64)> {
        let n = matrix.nrows();
        let mut inverse = Matrix::zeros(n, n);
        let log = PositiveInverse::new(n).invert(matrix.clone().as_mut_slice(), inverse.as_mut_slice())?;
        Some((inverse, log))
    }

    #[test]
    fn inverse_and_determinant_are_those_of_the_matrix() {
        for n in [1, 2, 3, 16, 65, 130] {
            let a = gaussian(n, n, n as u64);
            let matrix = Matrix::identity(n, n) + &a * a.transpose();
            let (inverse, log) = inverted(&matrix).unwrap();
            let limit = 1e-15 * n as f64 * matrix.norm();
            assert!((&matrix * &inverse - Matrix::identity(n, n)).norm() < limit, "n = {n}");
            assert_eq!(inverse, inverse.transpose());
            let expected = super::super::symmetric_eigenvalues(&matrix).unwrap();
            let expected = expected.iter().map(|value| value.ln()).sum::<f64>();
            assert!((log - expected).abs() < limit, "n = {n}: {log} and {expected}");
        }
    }

    #[test]
    fn what_is_not_positive_definite_or_not_finite_has_no_inverse_here() {
        assert!(inverted(&Matrix::from_row_slice(2, 2, &[1.0, 2.0, 2.0, 1.0])).is_none());
        assert!(inverted(&Matrix::zeros(3, 3)).is_none());
        assert!(inverted(&Matrix::from_element(1, 1, -1.0)).is_none());
        for bad in [f64::NAN, f64::INFINITY] {
            let mut matrix = Matrix::identity(3, 3);
            matrix[(1, 1)] = bad;
            assert!(inverted(&matrix).is_none(), "{bad}");
        }
    }

    #[test]
    fn memory_can_be_used_again() {
        let mut solver = PositiveInverse::new(4);
        let mut inverse = Matrix::zeros(4, 4);
        let mut broken = Matrix::from_element(4, 4, f64::NAN);
        assert!(solver.invert(broken.as_mut_slice(), inverse.as_mut_slice()).is_none());
        let mut matrix = Matrix::identity(4, 4) * 2.0;
        let log = solver.invert(matrix.as_mut_slice(), inverse.as_mut_slice()).unwrap();
        assert!((log - 4.0 * 2.0f64.ln()).abs() < 1e-15);
        assert!((inverse - Matrix::identity(4, 4) * 0.5).norm() < 1e-15);
    }
}
