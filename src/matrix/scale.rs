//! Scaling by powers of two, which is exact, and norms that cannot overflow on the way.

use super::{DecompositionError, Matrix};

/// The exponent e of a positive finite x with 2^e ≤ x < 2^(e+1), subnormal numbers included.
pub(super) fn binary_exponent(x: f64) -> i32 {
    let (x, offset) = if x < f64::MIN_POSITIVE { (x * power_of_two(54), 54) } else { (x, 0) };
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023 - offset
}

/// 2^exponent, for an exponent from -1022 to 1023.
pub(super) fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The two factors whose product is 2^exponent. Applied one after the other they reach exponents (up to ±2044) that no
/// single factor has, and round at most once, where the result is subnormal.
pub(super) fn two_factors(exponent: i32) -> (f64, f64) {
    let half = exponent / 2;
    (power_of_two(half), power_of_two(exponent - half))
}

/// The largest absolute entry of column-major values with `rows` rows; 0 where there are none.
pub(super) fn largest_magnitude(values: &[f64], rows: usize) -> Result<f64, DecompositionError> {
    // The sum is finite or NaN exactly as the entries are finite or not: 0 * x is NaN for infinite x.
    let mut largest = 0.0f64;
    let mut poison = 0.0f64;
    for &x in values {
        largest = largest.max(x.abs());
        poison += 0.0 * x;
    }
    if poison == 0.0 {
        return Ok(largest);
    }
    let at = values.iter().position(|x| !x.is_finite()).unwrap_or(0);
    Err(DecompositionError::NotFinite { row: at % rows, column: at / rows, value: values[at] })
}

/// The largest absolute entry; 0 for a matrix without entries. Errors where an entry is not finite.
pub fn largest_entry(matrix: &Matrix) -> Result<f64, DecompositionError> {
    largest_magnitude(matrix.as_slice(), matrix.nrows())
}

/// The power of two s that brings the largest absolute entry of s·A into [1, 2); 1 for a zero matrix.
///
/// Multiplying by s is exact for every entry down to 2^-1022 of the largest. Where s or 1/s would leave
/// the normal numbers (a largest entry below 2^-1023, or from 2^1023 on) the nearest power that does not is taken. Errors where an entry is not finite. Cost: one pass.
pub fn power_of_two_scale(matrix: &Matrix) -> Result<f64, DecompositionError> {
    let largest = largest_entry(matrix)?;
    if largest == 0.0 {
        return Ok(1.0);
    }
    Ok(power_of_two((-binary_exponent(largest)).clamp(-1022, 1023)))
}

/// The Frobenius norm, computed on a scaled copy so that entries of 1e300 or 1e-300 neither overflow nor vanish.
///
/// NaN where an entry is NaN, infinite where one is infinite. Cost: two passes.
pub fn frobenius_norm(matrix: &Matrix) -> f64 {
    match power_of_two_scale(matrix) {
        Ok(scale) => matrix.iter().map(|x| (x * scale) * (x * scale)).sum::<f64>().sqrt() / scale,
        Err(_) => matrix.iter().map(|x| x.abs()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_brings_the_largest_entry_into_one_to_two_from_subnormal_to_huge() {
        for x in [1e-310, 1e-300, 0.75, 1.0, 2.0, 3.0, 1e300] {
            let scale = power_of_two_scale(&Matrix::from_element(1, 2, -x)).unwrap();
            if x > 1e-307 {
                assert!((1.0..2.0).contains(&(x * scale)), "{x} times {scale}");
            }
            assert_eq!((x * scale) / scale, x, "scaling {x} was not exact");
        }
        assert_eq!(power_of_two_scale(&Matrix::zeros(2, 2)), Ok(1.0));
        assert_eq!(power_of_two_scale(&Matrix::zeros(0, 3)), Ok(1.0));
    }

    #[test]
    fn the_first_entry_that_is_not_finite_is_named() {
        let mut a = Matrix::zeros(3, 4);
        a[(1, 2)] = f64::INFINITY;
        a[(0, 3)] = f64::NAN;
        assert_eq!(
            largest_entry(&a),
            Err(DecompositionError::NotFinite { row: 1, column: 2, value: f64::INFINITY })
        );
    }

    #[test]
    fn the_frobenius_norm_survives_entries_whose_squares_do_not() {
        for x in [1e-300, 1.0, 1e300] {
            let norm = frobenius_norm(&Matrix::from_element(3, 3, x));
            assert!((norm / (3.0 * x) - 1.0).abs() < 1e-15);
        }
        // The plain sum of squares does lose them.
        assert_eq!(Matrix::from_element(3, 3, 1e-300).norm(), 0.0);
        assert!(frobenius_norm(&Matrix::from_element(1, 2, f64::NAN)).is_nan());
        assert_eq!(frobenius_norm(&Matrix::from_element(1, 2, f64::NEG_INFINITY)), f64::INFINITY);
    }
}
