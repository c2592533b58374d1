//! The flow of one layer with X held fixed or prescribed.

use crate::matrix::{DecompositionError, Matrix, symmetric_exponential};

/// W(t) = W(0) exp(X t), the solution of Ẇ = W X for a symmetric X (the proof of Theorem 1, Jing et al. 2022).
///
/// `start` is p x d, `x` d x d. With X(t) = X(0) exp(-c t), which commutes with itself at all times, give
/// (1 - exp(-c t))/c in the place of t. Cost: that of [`symmetric_exponential`]. Errors where an entry overflows.
pub fn frozen_x(start: &Matrix, x: &Matrix, time: f64) -> Result<Matrix, DecompositionError> {
    Ok(start * symmetric_exponential(&(x * time))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mode_grows_and_another_shrinks_exponentially() {
        let start = Matrix::from_row_slice(2, 2, &[1.0, 2.0, 3.0, 4.0]);
        let x = Matrix::from_diagonal(&nalgebra::DVector::from_vec(vec![1.0, -2.0]));
        let end = frozen_x(&start, &x, 1.5).unwrap();
        let expected = Matrix::from_row_slice(
            2,
            2,
            &[1.5f64.exp(), 2.0 * (-3.0f64).exp(), 3.0 * 1.5f64.exp(), 4.0 * (-3.0f64).exp()],
        );
        assert!((end - expected).norm() < 1e-13);
    }

    #[test]
    fn the_derivative_at_the_start_is_w_x_and_not_its_negative() {
        let start = Matrix::from_row_slice(1, 2, &[1.0, -0.5]);
        let x = Matrix::from_row_slice(2, 2, &[0.3, 0.2, 0.2, -0.7]);
        let h = 1e-6;
        let slope = (frozen_x(&start, &x, h).unwrap() - frozen_x(&start, &x, -h).unwrap()) / (2.0 * h);
        assert!((&slope - &start * &x).norm() < 1e-9);
        assert!((&slope + &start * &x).norm() > 0.1);
    }
}
