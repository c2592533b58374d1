//! Matrix products on borrowed memory: no allocation, the same bits on every call and for any number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// A borrowed matrix, column-major unless transposed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f64],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> View<'a> {
    /// The `rows x columns` matrix whose columns lie one after the other in `data`.
    pub fn new(data: &'a [f64], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} x {columns} view of {} values", data.len());
        View { data, rows, columns, transposed: false }
    }

    /// The transpose, on the same memory.
    pub fn transpose(self) -> Self {
        View { transposed: !self.transposed, ..self }
    }

    /// The stored values, the rows and columns they are stored with, and whether the view is the transpose of that.
    pub(super) fn parts(self) -> (&'a [f64], usize, usize, bool) {
        (self.data, self.rows, self.columns, self.transposed)
    }

    fn as_faer(self) -> MatRef<'a, f64> {
        let stored = MatRef::from_column_major_slice(self.data, self.rows, self.columns);
        if self.transposed { stored.transpose() } else { stored }
    }
}

impl<'a> From<&'a nalgebra::DMatrix<f64>> for View<'a> {
    fn from(matrix: &'a nalgebra::DMatrix<f64>) -> Self {
        View::new(matrix.as_slice(), matrix.nrows(), matrix.ncols())
    }
}

/// What a product does to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Overwrites what was there.
    Replace,
    /// Adds to what is there.
    Add,
}

/// Multiplications from which on a product is worth two threads: some 35 µs each.
const SPLIT_FROM: usize = 1 << 21;

/// Products with fewer rows or columns are not split: pieces too thin are slower.
const SPLIT_SIDES: usize = 96;

/// Writes `scale * a * b` to the column-major `out`, or adds it. Cost: 2 m n k flops, those of large products shared by an idle
/// thread of the pool, where there is one.
///
/// Panics where the shapes do not agree.
pub fn product(out: &mut [f64], destination: Destination, scale: f64, a: View<'_>, b: View<'_>) {
    let (a, b) = (a.as_faer(), b.as_faer());
    let (rows, columns) = (a.nrows(), b.ncols());
    let out = MatMut::from_column_major_slice_mut(out, rows, columns);
    let accumulation = match destination {
        Destination::Replace => Accum::Replace,
        Destination::Add => Accum::Add,
    };
    // The same halves whether or not a second thread is there to take one: the bits do not depend on it.
    if rows.min(columns) >= SPLIT_SIDES && rows * columns * a.ncols() >= SPLIT_FROM {
        let half = columns / 2;
        let (left, right) = out.split_at_col_mut(half);
        let (b_left, b_right) = b.split_at_col(half);
        rayon::join(
            || matmul(left, accumulation, a, b_left, scale, Par::Seq),
            || matmul(right, accumulation, a, b_right, scale, Par::Seq),
        );
    } else {
        matmul(out, accumulation, a, b, scale, Par::Seq);
    }
}

/// A matrix in single precision, one row after the other, each beginning so many numbers after the one before.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The first row and all that follows; what is beyond the last row is not looked at.
    pub values: &'a [f32],
    /// From the begin of a row to that of the next, at least its length.
    pub stride: usize,
    /// Whether its transpose is meant.
    pub is_transposed: bool,
}

/// In single precision and row by row: out (m x n) becomes lhs (m x k) times rhs, or grows by it where `is_added`; rhs is k x n, or n x k
/// where it is transposed. One thread. Panics where the lengths do not agree.
pub fn product_of_rows(
    out: &mut [f32],
    is_added: bool,
    lhs: &[f32],
    rhs: Rows<'_>,
    (m, k, n): (usize, usize, usize),
) {
    let out = faer::MatMut::from_row_major_slice_mut(out, m, n);
    let lhs = faer::MatRef::from_row_major_slice(lhs, m, k);
    let (rows, length) = if rhs.is_transposed { (n, k) } else { (k, n) };
    let values = &rhs.values[..rows.saturating_sub(1) * rhs.stride + length];
    // Columns of the transpose: what faer 0.24 calls rows with a stride takes them for columns.
    let columns = faer::MatRef::from_column_major_slice_with_stride(values, length, rows, rhs.stride);
    let rhs = if rhs.is_transposed { columns } else { columns.transpose() };
    let accumulate = if is_added { faer::Accum::Add } else { faer::Accum::Replace };
    faer::linalg::matmul::matmul(out, accumulate, lhs, rhs, 1.0f32, faer::Par::Seq);
}

#[cfg(test)]
mod tests {
    use super::super::hard_cases::gaussian;
    use super::super::{Matrix, relative_difference};
    use super::*;

    /// All sixteen combinations of a transposed or plain factor, a destination and a scale against nalgebra.
    #[test]
    fn products_match_nalgebra_for_every_shape_and_transposition() {
        for (m, k, n) in
            [(1, 1, 1), (3, 4, 5), (17, 2, 9), (1, 30, 1), (30, 1, 30), (65, 66, 67), (130, 127, 131)]
        {
            let (a, b, c) = (gaussian(m, k, 1), gaussian(k, n, 2), gaussian(m, n, 3));
            let (a_stored, b_stored) = (a.transpose(), b.transpose());
            let a_views = [View::from(&a), View::from(&a_stored).transpose()];
            let b_views = [View::from(&b), View::from(&b_stored).transpose()];
            for (x, y) in a_views.iter().flat_map(|x| b_views.iter().map(move |y| (*x, *y))) {
                for scale in [1.0, -0.5] {
                    let expected = &a * &b * scale;
                    let mut out = c.clone();
                    product(out.as_mut_slice(), Destination::Replace, scale, x, y);
                    assert!(relative_difference(&out, &expected) < 1e-14);
                    let mut out = c.clone();
                    product(out.as_mut_slice(), Destination::Add, scale, x, y);
                    assert!((out - (&expected + &c)).norm() < 1e-14 * (expected.norm() + c.norm()));
                }
            }
        }
    }

    #[test]
    fn replacing_forgets_what_was_there_even_if_it_is_not_a_number() {
        let (a, b) = (gaussian(4, 3, 1), gaussian(3, 2, 2));
        let mut out = [f64::NAN; 8];
        product(&mut out, Destination::Replace, 1.0, View::from(&a), View::from(&b));
        assert!(out.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn factors_without_rows_columns_or_inner_size_are_allowed() {
        let empty = Matrix::zeros(0, 3);
        let full = gaussian(3, 2, 1);
        product(&mut [], Destination::Replace, 1.0, View::from(&empty), View::from(&full));
        product(
            &mut [],
            Destination::Add,
            1.0,
            View::from(&full).transpose(),
            View::from(&empty).transpose(),
        );
        // An inner size of zero is a sum of nothing: zero when replacing, no change when adding.
        let (thin, flat) = (Matrix::zeros(2, 0), Matrix::zeros(0, 3));
        let mut out = [7.0; 6];
        product(&mut out, Destination::Add, 1.0, View::from(&thin), View::from(&flat));
        assert_eq!(out, [7.0; 6]);
        product(&mut out, Destination::Replace, 1.0, View::from(&thin), View::from(&flat));
        assert_eq!(out, [0.0; 6]);
    }

    #[test]
    fn a_product_gives_the_same_bits_every_time() {
        let (a, b) = (gaussian(40, 50, 1), gaussian(50, 60, 2));
        let run = || {
            let mut out = vec![0.0; 40 * 60];
            product(&mut out, Destination::Replace, 1.0, View::from(&a), View::from(&b));
            out
        };
        assert_eq!(run(), run());
    }
}
