//! The matrix exponential, by two independent routes.

use super::{DecompositionError, Matrix, largest_entry, symmetric_eigen};

/// Largest 1-norm at which the Padé approximant of degree 13 has a backward error below the unit roundoff
/// (Higham, The scaling and squaring method for the matrix exponential revisited, 2005, table 2.3).
const PADE_RADIUS: f64 = 5.371920351148152;

/// Coefficients of the numerator of that approximant, lowest power first; the denominator has alternating signs.
const PADE: [f64; 14] = [
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
];

/// exp(A) of any square matrix, by scaling and squaring of the Padé approximant of degree 13 (Higham 2005).
///
/// The trace's mean is taken out first, so that a large multiple of the identity costs no squarings.
/// Relative error of some ε·‖A‖ for normal A; more for A far from normal. Cost: 6 + s products and one solve, with s the
/// number of squarings, about log2(‖A‖₁/5.4); several n² of memory.
///
/// Panics where A is not square. Errors where an entry of A, or of exp(A), is not finite.
pub fn exponential(matrix: &Matrix) -> Result<Matrix, DecompositionError> {
    assert_eq!(matrix.nrows(), matrix.ncols(), "only a square matrix has an exponential");
    largest_entry(matrix)?;
    let n = matrix.nrows();
    if n == 0 {
        return Ok(matrix.clone());
    }
    // Each term is divided before the sum, which could overflow.
    let shift: f64 = matrix.diagonal().iter().map(|x| x / n as f64).sum();
    let mut a = matrix.clone();
    for k in 0..n {
        a[(k, k)] -= shift;
    }
    let norm = a.column_iter().map(|column| column.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let mut squarings = 0;
    if norm > PADE_RADIUS {
        // A norm that overflowed has an exponential that overflows, or an entry no method finds: 1024 is enough to see that.
        squarings = (norm / PADE_RADIUS).log2().ceil().clamp(1.0, 1024.0) as i32;
        let half = squarings / 2;
        a *= 0.5f64.powi(half);
        a *= 0.5f64.powi(squarings - half);
    }
    let (numerator, denominator) = pade(&a);
    let singular = DecompositionError::NotConverged { rows: n, columns: n };
    let mut result = denominator.lu().solve(&numerator).ok_or(singular)?;
    // exp(shift) shares the squarings, lest it overflow or vanish before the other factor makes up for it.
    result *= (shift * 0.5f64.powi(squarings)).exp();
    for _ in 0..squarings {
        result = &result * &result;
    }
    largest_entry(&result)?;
    Ok(result)
}

/// Numerator and denominator of the Padé approximant of degree 13, in 6 products.
fn pade(a: &Matrix) -> (Matrix, Matrix) {
    let identity = Matrix::identity(a.nrows(), a.nrows());
    let a2 = a * a;
    let a4 = &a2 * &a2;
    let a6 = &a4 * &a2;
    let high = |first: usize| &a6 * PADE[first + 12] + &a4 * PADE[first + 10] + &a2 * PADE[first + 8];
    let low = |first: usize| {
        &a6 * PADE[first + 6] + &a4 * PADE[first + 4] + &a2 * PADE[first + 2] + &identity * PADE[first]
    };
    let odd = a * (&a6 * high(1) + low(1));
    let even = &a6 * high(0) + low(0);
    (&even + &odd, even - odd)
}

/// exp((A + Aᵀ)/2) from eigenvalues and eigenvectors.
///
/// Relative error of some ε·‖A‖ in norm; small entries of a widely spread spectrum carry the error of the large ones.
/// Cost: some 11 n³. Panics where A is not square. Errors where an entry of A, or of the exponential, is not finite.
pub fn symmetric_exponential(matrix: &Matrix) -> Result<Matrix, DecompositionError> {
    let result = symmetric_eigen(matrix)?.map(f64::exp);
    largest_entry(&result)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::super::hard_cases::gaussian;
    use super::super::relative_difference;
    use super::*;

    #[test]
    fn a_rotation_generator_gives_cosine_and_sine() {
        for angle in [1e-8, 0.3, 2.0, 40.0, 1000.0] {
            let a = Matrix::from_row_slice(2, 2, &[0.0, -angle, angle, 0.0]);
            let (sin, cos) = f64::sin_cos(angle);
            let expected = Matrix::from_row_slice(2, 2, &[cos, -sin, sin, cos]);
            let error = relative_difference(&exponential(&a).unwrap(), &expected);
            assert!(error < 4.0 * f64::EPSILON * (1.0 + angle), "error {error:e} at {angle}");
        }
    }

    #[test]
    fn a_nilpotent_matrix_gives_its_short_series() {
        let a = Matrix::from_row_slice(3, 3, &[0.0, 2.0, 5.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0]);
        let expected = Matrix::identity(3, 3) + &a + &a * &a * 0.5;
        assert!(relative_difference(&exponential(&a).unwrap(), &expected) < 1e-15);
    }

    #[test]
    fn a_jordan_block_gives_exp_and_its_derivative() {
        for lambda in [-700.0, -3.0, 0.0, 1.0, 700.0] {
            let a = Matrix::from_row_slice(2, 2, &[lambda, 1.0, 0.0, lambda]);
            let expected = Matrix::from_row_slice(2, 2, &[1.0, 1.0, 0.0, 1.0]) * lambda.exp();
            assert!(relative_difference(&exponential(&a).unwrap(), &expected) < 1e-15, "at {lambda}");
        }
    }

    #[test]
    fn both_routes_agree_on_symmetric_matrices() {
        for (n, size) in [(1, 1.0), (2, 1e-6), (5, 1.0), (16, 1.0), (16, 10.0), (40, 1.0)] {
            let g = gaussian(n, n, n as u64);
            let a = (&g + g.transpose()) * (0.5 * size);
            let (by_pade, by_eigen) = (exponential(&a).unwrap(), symmetric_exponential(&a).unwrap());
            let bound = 20.0 * f64::EPSILON * (1.0 + a.norm());
            let difference = relative_difference(&by_pade, &by_eigen);
            assert!(difference < bound, "{difference:e} at n = {n}, size {size}");
        }
    }

    #[test]
    fn the_exponential_of_a_negative_is_the_inverse() {
        let a = gaussian(10, 10, 3);
        let product = exponential(&a).unwrap() * exponential(&-&a).unwrap();
        let condition = exponential(&a).unwrap().norm() * exponential(&-&a).unwrap().norm();
        assert!((product - Matrix::identity(10, 10)).norm() < 100.0 * f64::EPSILON * condition);
    }

    #[test]
    fn halving_the_time_and_squaring_gives_the_same_but_a_wrong_time_does_not() {
        let a = gaussian(7, 7, 8) * 3.0;
        let whole = exponential(&a).unwrap();
        let half = exponential(&(&a * 0.5)).unwrap();
        assert!(relative_difference(&(&half * &half), &whole) < 1e-12);
        assert!(relative_difference(&exponential(&(&a * 1.000001)).unwrap(), &whole) > 1e-7);
    }

    #[test]
    fn overflow_and_entries_that_are_not_finite_are_errors() {
        for a in [Matrix::from_element(1, 1, 1000.0), Matrix::from_element(3, 3, 1e300)] {
            assert!(matches!(exponential(&a), Err(DecompositionError::NotFinite { .. })), "{a}");
            assert!(matches!(symmetric_exponential(&a), Err(DecompositionError::NotFinite { .. })), "{a}");
        }
        assert!(exponential(&Matrix::from_element(2, 2, f64::NAN)).is_err());
        assert_eq!(exponential(&Matrix::from_element(1, 1, -1e300)).unwrap()[(0, 0)], 0.0);
        assert_eq!(exponential(&Matrix::zeros(4, 4)).unwrap(), Matrix::identity(4, 4));
        assert_eq!(exponential(&Matrix::zeros(0, 0)).unwrap().shape(), (0, 0));
    }
}
