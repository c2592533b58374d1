//! The derivative of an actual singular value decomposition along a velocity of its matrix, by difference quotients.

use super::identity::{Discrepancy, largest};
use crate::matrix::{DecompositionError, Matrix, svd};

/// The hypothesis under which singular vectors have a derivative, as [`Moving::of`] measures it.
pub const DISTINCT: &str = "the singular values of each layer are distinct (of a layer that is not square, also from 0), by a gap \
     that lets rounding have at most 1 % of the difference quotients";

/// The unit of the difference quotients: the velocity moves the matrix by this part of its smallest gap. The nearest
/// singularity of the decomposition, as a function of complex time, is half a gap away or farther.
const STEP: f64 = 1.0 / 256.0;

/// Weights of the central difference quotients of orders 8 and 6, at distances of 1 to 4 units.
const EIGHTH_ORDER: [f64; 4] = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];
const SIXTH_ORDER: [f64; 4] = [3.0 / 4.0, -3.0 / 20.0, 1.0 / 60.0, 0.0];

/// Backward error of a decomposition of a matrix of this many rows or columns, in units of ε times its norm: some n ε is
/// what the decomposition promises, and a matrix moved along its velocity is rounded as well.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// The part of a difference quotient of singular vectors that rounding may have.
const LARGEST_PART: f64 = 0.01;

/// A singular value decomposition, and how it moves.
#[derive(Clone, Debug)]
pub struct Moving {
    /// Left singular vectors (m x m): those that belong to no singular value stand last.
    pub u: Matrix,
    /// Singular values, descending, min(m, n) of them.
    pub values: Vec<f64>,
    /// Right singular vectors (n x n), in the same way.
    pub v: Matrix,
    /// The smallest distance between values, of a matrix that is not square also from 0.
    pub gap: f64,
    /// By how much rounding can turn the vectors.
    pub tilt: f64,
    /// Derivatives of the values, of each with the sign of its two vectors: through 0 it goes on.
    pub value_rates: Matrix,
    /// Derivatives of the left vectors that belong to singular values (m x min(m, n)).
    pub u_rates: Matrix,
    /// Derivatives of the right ones (n x min(m, n)).
    pub v_rates: Matrix,
    /// What rounding and the difference quotients can make of the derivative of a value.
    pub value_error: f64,
    /// The same of an entry of the derivatives of vectors.
    pub vector_error: f64,
}

/// Values and vectors at one point of the path, or sums of them.
struct Point {
    values: Matrix,
    u: Matrix,
    v: Matrix,
}

impl Point {
    /// The decomposition whose vectors have the signs of those of `reference`, left and right ones for themselves: it is
    /// analytic in time, also where a value passes through 0 and changes its sign.
    fn near(matrix: &Matrix, reference: &Point) -> Result<Point, DecompositionError> {
        let mut point = Point::of(matrix)?;
        for k in 0..point.values.nrows() {
            for (vectors, reference) in [(&mut point.u, &reference.u), (&mut point.v, &reference.v)] {
                if vectors.column(k).dot(&reference.column(k)) < 0.0 {
                    vectors.column_mut(k).neg_mut();
                    point.values[k] = -point.values[k];
                }
            }
        }
        Ok(point)
    }

    fn of(matrix: &Matrix) -> Result<Point, DecompositionError> {
        let svd = svd(matrix)?;
        Ok(Point { values: Matrix::from_column_slice(svd.values.len(), 1, &svd.values), u: svd.u, v: svd.v })
    }

    fn zero_like(&self) -> Point {
        let zero = |m: &Matrix| Matrix::zeros(m.nrows(), m.ncols());
        Point { values: zero(&self.values), u: zero(&self.u), v: zero(&self.v) }
    }

    fn add(&mut self, factor: f64, other: &Point) {
        self.values += factor * &other.values;
        self.u += factor * &other.u;
        self.v += factor * &other.v;
    }
}

impl Moving {
    /// The decomposition of `matrix` and its derivative along `velocity`; nothing where [`DISTINCT`] does not hold.
    ///
    /// The difference quotients see the matrix on the tangent of its path, which has the same derivative. Cost: 9
    /// decompositions.
    pub fn of(matrix: &Matrix, velocity: &Matrix) -> Result<Option<Moving>, String> {
        Moving::compute(matrix, velocity).map_err(|error| error.to_string())
    }

    fn compute(matrix: &Matrix, velocity: &Matrix) -> Result<Option<Moving>, DecompositionError> {
        let start = Point::of(matrix)?;
        let values: Vec<f64> = start.values.iter().copied().collect();
        let gap = smallest_gap(&values, matrix.is_square());
        let rounding = ROUNDING * matrix.nrows().max(matrix.ncols()) as f64 * values[0];
        let weights: f64 = EIGHTH_ORDER.iter().map(|weight| 2.0 * weight.abs()).sum();
        if weights * rounding / (STEP * gap) > LARGEST_PART || gap == 0.0 {
            return Ok(None);
        }
        let speed = velocity.norm();
        let unit = if speed == 0.0 { 1.0 } else { STEP * gap / speed };
        let (mut high, mut low) = (start.zero_like(), start.zero_like());
        for j in 0..4 {
            let distance = (j + 1) as f64 * unit;
            for sign in [1.0, -1.0] {
                let point = Point::near(&(matrix + sign * distance * velocity), &start)?;
                high.add(sign * EIGHTH_ORDER[j] / unit, &point);
                low.add(sign * SIXTH_ORDER[j] / unit, &point);
            }
        }
        // The sixth order is less accurate than the eighth: their distance bounds the error of the latter.
        let apart = |high: &Matrix, low: &Matrix| (high - low).norm();
        Ok(Some(Moving {
            gap,
            tilt: rounding / gap,
            value_error: weights * rounding / unit + apart(&high.values, &low.values),
            vector_error: weights * rounding / (gap * unit)
                + apart(&high.u, &low.u).max(apart(&high.v, &low.v)),
            u: complete(start.u)?,
            v: complete(start.v)?,
            values,
            value_rates: high.values,
            u_rates: high.u,
            v_rates: high.v,
        }))
    }

    /// The derivatives of the values against those that a formula gives with this error of its own.
    pub fn value_discrepancy(&self, formula: impl Iterator<Item = f64>, error: f64) -> Discrepancy {
        let apart = largest(self.value_rates.iter().zip(formula).map(|(rate, formula)| rate - formula));
        Discrepancy { error: apart, allowed: self.value_error + error }
    }

    /// The singular values padded with zeros (m x n).
    pub fn padded_values(&self) -> Matrix {
        let diagonal = |i: usize, j: usize| if i == j { self.values[i] } else { 0.0 };
        Matrix::from_fn(self.u.nrows(), self.v.nrows(), diagonal)
    }
}

/// The smallest distance between values, for a matrix that is not square also from 0; the value itself where it is the
/// only one.
fn smallest_gap(values: &[f64], square: bool) -> f64 {
    let between = values.windows(2).map(|pair| pair[0] - pair[1]).fold(f64::INFINITY, f64::min);
    let smallest = values[values.len() - 1];
    if square && values.len() > 1 { between } else { between.min(smallest) }
}

/// The columns of `basis` and as many more as make it square, orthonormal.
fn complete(basis: Matrix) -> Result<Matrix, DecompositionError> {
    let (rows, columns) = basis.shape();
    if rows == columns {
        return Ok(basis);
    }
    let rest = svd(&(Matrix::identity(rows, rows) - &basis * basis.transpose()))?;
    let mut square = Matrix::zeros(rows, rows);
    square.columns_mut(0, columns).copy_from(&basis);
    square.columns_mut(columns, rows - columns).copy_from(&rest.u.columns(0, rows - columns));
    Ok(square)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The derivative of a rotation at angle 0.
    fn spin() -> Matrix {
        Matrix::from_row_slice(2, 2, &[0.0, -1.0, 1.0, 0.0])
    }

    fn diagonal(a: f64, b: f64) -> Matrix {
        Matrix::from_row_slice(2, 2, &[a, 0.0, 0.0, b])
    }

    /// The derivative of R(3t) diag(2 + t, b - t) R(5t)ᵀ at t = 0.
    fn known(b: f64) -> (Matrix, Matrix) {
        let values = diagonal(2.0, b);
        let velocity = 3.0 * spin() * &values + diagonal(1.0, -1.0) + 5.0 * &values * spin().transpose();
        (values, velocity)
    }

    #[test]
    fn derivatives_of_a_decomposition_that_is_known_are_found() {
        for b in [1.0, 1.99, 2.0 - 1e-5, 0.0] {
            let (matrix, velocity) = known(b);
            let moving = Moving::of(&matrix, &velocity).unwrap().unwrap();
            let values = moving.value_discrepancy([1.0, -1.0].into_iter(), 0.0);
            // A value that passes through 0 has the sign of its two vectors, each of which is arbitrary there.
            let flip = moving.u[(1, 1)] * moving.v[(1, 1)];
            let values =
                if flip < 0.0 { moving.value_discrepancy([1.0, 1.0].into_iter(), 0.0) } else { values };
            assert!(values.ratio() <= 1.0, "{b}: {values:?}");
            let u = 3.0 * spin() * &moving.u;
            let u = Discrepancy::between(&moving.u_rates, &u, moving.vector_error);
            assert!(u.ratio() <= 1.0, "{b}: {u:?}");
            let v = 5.0 * spin() * &moving.v;
            let v = Discrepancy::between(&moving.v_rates, &v, moving.vector_error);
            assert!(v.ratio() <= 1.0, "{b}: {v:?}");
            // Errors are small against what the velocity can do.
            let speed = velocity.norm();
            assert!(moving.vector_error < 1e-6 * speed / moving.gap, "{b}: {moving:?}");
            assert!(moving.value_error < 1e-6 * speed, "{b}: {moving:?}");
        }
    }

    #[test]
    fn equal_values_and_zeros_of_a_layer_that_is_not_square_have_no_derivative() {
        let (matrix, velocity) = known(2.0);
        assert!(Moving::of(&matrix, &velocity).unwrap().is_none());
        let tall = Matrix::from_row_slice(3, 2, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(Moving::of(&tall, &tall).unwrap().is_none());
        assert!(Moving::of(&Matrix::zeros(1, 1), &Matrix::zeros(1, 1)).unwrap().is_none());
    }

    #[test]
    fn bases_are_completed_to_orthogonal_matrices() {
        let tall = Matrix::from_row_slice(4, 2, &[1.0, 0.2, 0.0, 1.0, 0.5, 0.0, -1.0, 2.0]);
        let moving = Moving::of(&tall, &tall).unwrap().unwrap();
        assert!((moving.u.transpose() * &moving.u - Matrix::identity(4, 4)).amax() < 1e-14);
        assert!((&moving.u * moving.padded_values() * moving.v.transpose() - &tall).amax() < 1e-14);
    }
}
