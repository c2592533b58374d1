//! Singular value decomposition that keeps the digits of small singular values.
//!
//! One-sided Jacobi rotates pairs of columns until all are orthogonal; the norms of the columns are then the singular
//! values. For A = B·D with any diagonal D its relative error in *every* singular value is about ε·κ(B), whatever the
//! grading in D (Demmel & Veselić, Jacobi's method is more accurate than QR, SIAM J. Matrix Anal. Appl. 13, 1992).
//! Bidiagonalisation has an error of ε·σ_max in each, so that values below 1e-16 of the largest are noise.
//!
//! The rotations do not act on A but on Rᵀ, where R comes from a column-pivoted Householder QR of A with its rows sorted
//! by size (Drmač & Veselić, New fast and accurate Jacobi SVD algorithm, ibid. 29, 2008). This
//! - makes a tall matrix square, and (after transposition) a wide one;
//! - carries grading of rows, of columns, or of both, in any order, over to the columns of Rᵀ: with sorted rows and pivoted
//!   columns Householder QR is stable row by row (Cox & Higham, Stability of Householder QR factorization for weighted
//!   least squares problems, 1998);
//! - saves sweeps, for Rᵀ is closer to having orthogonal columns than A.
//!
//! A sweep goes by rounds in which every column meets one other (Brent & Luk, The solution of singular-value and symmetric
//! eigenvalue problems on multiprocessor arrays, SIAM J. Sci. Stat. Comput. 6, 1985): rotations of one round do not wait
//! for each other, and the angles of eight are computed at once.
//!
//! Everything happens on a copy scaled by a power of two that puts the largest entry near 2^480: its square is still
//! finite, and so is, without loss, that of a column 1e-280 times smaller.

use faer::MatRef;
use multiversion::multiversion;

use super::scale::{binary_exponent, largest_magnitude, power_of_two, two_factors};
use super::{DecompositionError, Matrix, View};

/// Largest min(m, n) that the Jacobi method takes; above it faer's bidiagonal divide and conquer does the work.
///
/// There Jacobi costs five to ten times more, while a matrix of that size with meaningful singular values below
/// 1e-14 of the largest is better kept in factors. Above this limit a singular value carries an absolute error of about ε·σ_max.
pub const JACOBI_LIMIT: usize = 128;

/// The exponent to which the largest entry is brought.
const TOP_EXPONENT: i32 = 480;

/// Columns whose squared norm is below this may have lost digits to underflow and count as zero. Their norm is below
/// 2^-459, that is 2^-939 or 1e-283 of the largest entry.
const SMALLEST_SQUARE: f64 = f64::MIN_POSITIVE / f64::EPSILON / f64::EPSILON;

/// Sweeps after which the method gives up. Some 6 are usual, and convergence is quadratic in the end.
const SWEEP_LIMIT: usize = 60;

/// Columns are padded with zeros to a multiple of this, so that inner loops have no remainder.
const LANES: usize = 8;

/// A thin singular value decomposition A = U diag(values) Vᵀ of an m x n matrix, with k = min(m, n).
///
/// Each pair of vectors is defined up to a joint sign, and inside a group of equal values up to a rotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Svd {
    /// Left singular vectors, m x k, orthonormal columns also where the singular value is zero.
    pub u: Matrix,
    /// Singular values, descending, k of them, none negative.
    pub values: Vec<f64>,
    /// Right singular vectors (not transposed), n x k, orthonormal columns also where the singular value is zero.
    pub v: Matrix,
}

impl Svd {
    /// U diag(values) Vᵀ, m x n.
    pub fn product(&self) -> Matrix {
        let mut scaled = self.u.clone();
        for (mut column, value) in scaled.column_iter_mut().zip(&self.values) {
            column *= *value;
        }
        scaled * self.v.transpose()
    }
}

/// The singular values of an m x n matrix, descending, min(m, n) of them.
///
/// Relative accuracy of each value about ε·κ(B) for A = D·B, B·D or D·B·D' (rows and columns in any order), down to
/// 1e-280 of the largest entry; below that they count as zero. Above [`JACOBI_LIMIT`] the error is about ε·σ_max instead.
/// Cost: 2 m n² (n ≤ m) for the QR, then some 20 n³; no scale of entries overflows.
///
/// Errors where an entry is not finite.
pub fn singular_values(matrix: &Matrix) -> Result<Vec<f64>, DecompositionError> {
    let mut workspace = SvdWorkspace::default();
    workspace.singular_values(matrix)?;
    Ok(workspace.values)
}

/// The thin singular value decomposition of an m x n matrix.
///
/// Values as accurate as those of [`singular_values`]; vectors orthonormal to some n·ε, also for low rank.
/// Cost: 6 m n² (n ≤ m) and some 40 n³. Errors where an entry is not finite.
pub fn svd(matrix: &Matrix) -> Result<Svd, DecompositionError> {
    SvdWorkspace::default().svd(matrix)
}

/// The spectral norm, which is the largest singular value; 0 for a matrix without entries. Cost of [`singular_values`].
pub fn spectral_norm(matrix: &Matrix) -> Result<f64, DecompositionError> {
    Ok(singular_values(matrix)?.first().copied().unwrap_or(0.0))
}

/// Memory for decompositions one after the other: after the first of a shape, singular values allocate nothing.
#[derive(Clone, Debug, Default)]
pub struct SvdWorkspace {
    /// The scaled tall matrix, m x n; after the QR its Householder vectors, leading 1 included.
    tall: Vec<f64>,
    row_order: Vec<usize>,
    column_order: Vec<usize>,
    row_sizes: Vec<f64>,
    /// Factors of the Householder reflections I - factor·v·vᵀ.
    factors: Vec<f64>,
    diagonal: Vec<f64>,
    /// Squared norms of what is left of each column during the QR.
    squares: Vec<f64>,
    /// Rᵀ, and below it the accumulated rotations where vectors are wanted; columns padded.
    columns: Vec<f64>,
    norms: Vec<f64>,
    order: Vec<usize>,
    values: Vec<f64>,
}

impl SvdWorkspace {
    /// As the function [`singular_values`], of a matrix or of a view of flat memory.
    pub fn singular_values<'a>(&mut self, matrix: impl Into<View<'a>>) -> Result<&[f64], DecompositionError> {
        let (data, rows, columns, _) = matrix.into().parts();
        let largest = largest_magnitude(data, rows)?;
        let count = rows.min(columns);
        if largest == 0.0 {
            self.values.clear();
            self.values.resize(count, 0.0);
        } else if count > JACOBI_LIMIT {
            let (scaled, scale) = scaled_to_one(data, largest);
            let scaled = MatRef::from_column_major_slice(&scaled, rows, columns);
            match scaled.singular_values() {
                // faer leaves values at rounding level out of order, some of them negative.
                Ok(values) => {
                    self.values = values.into_iter().map(|x| x.abs() / scale).collect();
                    self.values.sort_by(|a, b| b.total_cmp(a));
                }
                Err(_) => self.jacobi(data, rows, columns, largest, false)?,
            }
        } else {
            self.jacobi(data, rows, columns, largest, false)?;
        }
        Ok(&self.values)
    }

    /// As the function [`svd`], of a matrix or of a view of flat memory.
    pub fn svd<'a>(&mut self, matrix: impl Into<View<'a>>) -> Result<Svd, DecompositionError> {
        let (data, rows, columns, transposed) = matrix.into().parts();
        let largest = largest_magnitude(data, rows)?;
        let count = rows.min(columns);
        let found = if largest == 0.0 {
            Svd {
                u: Matrix::identity(rows, count),
                values: vec![0.0; count],
                v: Matrix::identity(columns, count),
            }
        } else if count > JACOBI_LIMIT {
            match svd_by_faer(data, rows, columns, largest) {
                Some(found) => found,
                None => self.svd_by_jacobi(data, rows, columns, largest)?,
            }
        } else {
            self.svd_by_jacobi(data, rows, columns, largest)?
        };
        Ok(if transposed { Svd { u: found.v, values: found.values, v: found.u } } else { found })
    }

    /// Leaves the values in `self.values`, their columns' places in `self.order`, and the rotated columns in `self.columns`.
    fn jacobi(
        &mut self,
        data: &[f64],
        rows: usize,
        columns: usize,
        largest: f64,
        vectors: bool,
    ) -> Result<(), DecompositionError> {
        let (m, n) = (rows.max(columns), rows.min(columns));
        let exponent = TOP_EXPONENT - binary_exponent(largest);
        self.load_tall(data, rows, columns, exponent);
        self.column_order.clear();
        self.column_order.extend(0..n);
        for buffer in [&mut self.factors, &mut self.diagonal, &mut self.squares] {
            buffer.clear();
            buffer.resize(n, 0.0);
        }
        pivoted_qr(
            &mut self.tall,
            m,
            &mut self.column_order,
            &mut self.factors,
            &mut self.diagonal,
            &mut self.squares,
        );

        let height = n.next_multiple_of(LANES);
        let stride = stride(height, vectors);
        self.columns.clear();
        self.columns.resize(stride * n, 0.0);
        for (k, column) in self.columns.chunks_exact_mut(stride).enumerate() {
            column[k] = self.diagonal[k];
            for j in k + 1..n {
                column[j] = self.tall[j * m + k];
            }
            if vectors {
                column[height + k] = 1.0;
            }
        }
        self.norms.clear();
        self.norms.resize(n, 0.0);
        if !orthogonalise(&mut self.columns, height, stride, vectors, &mut self.norms) {
            return Err(DecompositionError::NotConverged { rows, columns });
        }

        self.order.clear();
        self.order.extend(0..n);
        let norms = &self.norms;
        self.order.sort_unstable_by(|&a, &b| norms[b].total_cmp(&norms[a]).then(a.cmp(&b)));
        let (first, second) = two_factors(-exponent);
        self.values.clear();
        self.values.extend(self.order.iter().map(|&k| norms[k] * first * second));
        Ok(())
    }

    /// Copies the matrix, transposed where it is wide, scaled, with its rows in descending order of their largest entry.
    fn load_tall(&mut self, data: &[f64], rows: usize, columns: usize, exponent: i32) {
        let (m, n) = (rows.max(columns), rows.min(columns));
        let (row_step, column_step) = if rows >= columns { (1, rows) } else { (rows, 1) };
        self.row_sizes.clear();
        self.row_sizes.resize(m, 0.0);
        for j in 0..n {
            for i in 0..m {
                self.row_sizes[i] = self.row_sizes[i].max(data[i * row_step + j * column_step].abs());
            }
        }
        self.row_order.clear();
        self.row_order.extend(0..m);
        let sizes = &self.row_sizes;
        self.row_order.sort_unstable_by(|&a, &b| sizes[b].total_cmp(&sizes[a]).then(a.cmp(&b)));
        let (first, second) = two_factors(exponent);
        self.tall.clear();
        self.tall.reserve(m * n);
        for j in 0..n {
            let column =
                self.row_order.iter().map(|&i| data[i * row_step + j * column_step] * first * second);
            self.tall.extend(column);
        }
    }

    fn svd_by_jacobi(
        &mut self,
        data: &[f64],
        rows: usize,
        columns: usize,
        largest: f64,
    ) -> Result<Svd, DecompositionError> {
        self.jacobi(data, rows, columns, largest, true)?;
        let (m, n) = (rows.max(columns), rows.min(columns));
        let height = n.next_multiple_of(LANES);
        let stride = stride(height, true);

        // Rᵀ·J = L with orthogonal columns and the permuted A = Q·R, so A = (Q·J)·diag(norms)·(L/norms)ᵀ.
        let mut left = Matrix::zeros(m, n);
        let mut right = Matrix::zeros(n, n);
        for (place, &k) in self.order.iter().enumerate() {
            let column = &self.columns[k * stride..(k + 1) * stride];
            left.column_mut(place).as_mut_slice()[..n].copy_from_slice(&column[height..height + n]);
            if self.norms[k] > 0.0 {
                for (j, &original) in self.column_order.iter().enumerate() {
                    right[(original, place)] = column[j] / self.norms[k];
                }
            }
        }
        let rank = self.values.iter().zip(&self.order).take_while(|(_, k)| self.norms[**k] > 0.0).count();
        complete_basis(&mut right, rank);
        apply_reflections(&self.tall, m, &self.factors, left.as_mut_slice());
        let mut unsorted = Matrix::zeros(m, n);
        for (sorted, mut target) in left.column_iter().zip(unsorted.column_iter_mut()) {
            for (x, &original) in sorted.iter().zip(&self.row_order) {
                target[original] = *x;
            }
        }
        let values = self.values.clone();
        Ok(if rows >= columns {
            Svd { u: unsorted, values, v: right }
        } else {
            Svd { u: right, values, v: unsorted }
        })
    }
}

/// Distance of columns of the given padded height, with room for the vectors below: an odd number of cache lines, since stores
/// and loads a multiple of 4096 bytes apart wait for each other.
fn stride(height: usize, vectors: bool) -> usize {
    let used = if vectors { 2 * height } else { height };
    ((used / LANES) | 1) * LANES
}

/// A copy scaled so that its largest entry is in [1, 2), and the power of two that did it.
fn scaled_to_one(data: &[f64], largest: f64) -> (Vec<f64>, f64) {
    let scale = power_of_two((-binary_exponent(largest)).clamp(-1022, 1023));
    (data.iter().map(|x| x * scale).collect(), scale)
}

/// `None` where faer's iteration fails.
pub(super) fn svd_by_faer(data: &[f64], rows: usize, columns: usize, largest: f64) -> Option<Svd> {
    let (scaled, scale) = scaled_to_one(data, largest);
    let found = MatRef::from_column_major_slice(&scaled, rows, columns).thin_svd().ok()?;
    let (u, s, v) = (found.U(), found.S().column_vector(), found.V());
    let count = rows.min(columns);
    // faer leaves values at rounding level out of order, some of them negative: the sign goes to the left vector.
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| s[b].abs().total_cmp(&s[a].abs()));
    Some(Svd {
        u: Matrix::from_fn(rows, count, |i, j| u[(i, order[j])] * 1f64.copysign(s[order[j]])),
        values: order.iter().map(|&k| s[k].abs() / scale).collect(),
        v: Matrix::from_fn(columns, count, |i, j| v[(i, order[j])]),
    })
}

/// Fills the columns from `rank` on so that all are orthonormal, given that those before are.
fn complete_basis(basis: &mut Matrix, rank: usize) {
    let rows = basis.nrows();
    for place in rank..basis.ncols() {
        // The unit vector furthest from the span: at least 1/rows of its square lies outside, so nothing cancels badly.
        let square = |i: usize| (0..place).map(|k| basis[(i, k)] * basis[(i, k)]).sum::<f64>();
        let furthest = (0..rows).min_by(|&a, &b| square(a).total_cmp(&square(b))).unwrap_or(0);
        let mut column = nalgebra::DVector::zeros(rows);
        column[furthest] = 1.0;
        // The second pass removes what rounding left of the first.
        for _ in 0..2 {
            for k in 0..place {
                let overlap = basis.column(k).dot(&column);
                column.axpy(-overlap, &basis.column(k), 1.0);
            }
        }
        column /= column.norm();
        basis.set_column(place, &column);
    }
}

// The loops below are compiled for wider vectors too and choose at run time. The order of every sum is fixed by its eight
// partial sums, and no multiply-add is fused: all versions give the same bits.

#[inline(always)]
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (y, y_rest) = y.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    for (lane, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        sums[lane] += x * y;
    }
    total(sums)
}

/// The eight partial sums of a dot product; lengths are multiples of [`LANES`].
#[inline(always)]
fn partial_sums(x: &[f64], y: &[f64]) -> [f64; LANES] {
    let (x, _) = x.as_chunks::<LANES>();
    let (y, _) = y.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums
}

/// The totals of eight partial sums each. A function of its own: inlined, it would pull the loops that fill `sums` apart.
#[inline(never)]
fn totals(sums: &[[f64; LANES]; LANES]) -> [f64; LANES] {
    let mut totals = [0.0; LANES];
    for (out, sums) in totals.iter_mut().zip(sums) {
        *out = total(*sums);
    }
    totals
}

#[inline(always)]
fn total(s: [f64; LANES]) -> f64 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// y - factor·x in place of y; returns the squared norm of the result.
#[inline(always)]
fn subtract_multiple(y: &mut [f64], factor: f64, x: &[f64]) -> f64 {
    let (y, y_rest) = y.as_chunks_mut::<LANES>();
    let (x, x_rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (y, x) in y.iter_mut().zip(x) {
        for lane in 0..LANES {
            y[lane] -= factor * x[lane];
            sums[lane] += y[lane] * y[lane];
        }
    }
    for (lane, (y, x)) in y_rest.iter_mut().zip(x_rest).enumerate() {
        *y -= factor * x;
        sums[lane] += *y * *y;
    }
    total(sums)
}

/// Replaces (x, y) by (cos θ x - sin θ y, sin θ x + cos θ y), for the tangent of θ/2 and the sine of θ; lengths are multiples
/// of [`LANES`].
///
/// The change is added to what was there (Rutishauser, The Jacobi method for real symmetric matrices, Numer. Math. 9, 1966):
/// a rounded cosine would change the lengths of both columns, and that would add up.
#[inline(always)]
fn rotate(x: &mut [f64], y: &mut [f64], half: f64, sin: f64) {
    let (x, _) = x.as_chunks_mut::<LANES>();
    let (y, _) = y.as_chunks_mut::<LANES>();
    for (x, y) in x.iter_mut().zip(y) {
        // A loop for each result: compilers mix the two up in shorter vectors where one loop makes both.
        let (mut turned_x, mut turned_y) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            turned_x[lane] = x[lane] - sin * (y[lane] + half * x[lane]);
        }
        for lane in 0..LANES {
            turned_y[lane] = y[lane] + sin * (x[lane] - half * y[lane]);
        }
        (*x, *y) = (turned_x, turned_y);
    }
}

/// Householder QR with column pivoting of the m x n column-major `a`, m ≥ n.
///
/// The strict upper triangle of R stays in `a`, its diagonal goes to `diagonal`; the reflection vectors, with their
/// leading 1, stand on and below the diagonal of `a`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn pivoted_qr(
    a: &mut [f64],
    m: usize,
    column_order: &mut [usize],
    factors: &mut [f64],
    diagonal: &mut [f64],
    squares: &mut [f64],
) {
    let n = factors.len();
    for (square, column) in squares.iter_mut().zip(a.chunks_exact(m)) {
        *square = dot(column, column);
    }
    for k in 0..n {
        let mut pivot = k;
        for j in k + 1..n {
            if squares[j] > squares[pivot] {
                pivot = j;
            }
        }
        if pivot != k {
            let (before, after) = a.split_at_mut(pivot * m);
            before[k * m..(k + 1) * m].swap_with_slice(&mut after[..m]);
            squares.swap(k, pivot);
            column_order.swap(k, pivot);
        }
        let (done, rest) = a.split_at_mut((k + 1) * m);
        let vector = &mut done[k * m + k..];
        if squares[k] < SMALLEST_SQUARE {
            // This column is the largest of what is left, so nothing is left: R ends here.
            vector.fill(0.0);
            factors[k] = 0.0;
            diagonal[k] = 0.0;
            for column in rest.chunks_exact_mut(m) {
                column[k..].fill(0.0);
            }
            continue;
        }
        // The sign avoids cancellation, on which stability row by row rests.
        let norm = squares[k].sqrt();
        let head = vector[0];
        let signed_norm = norm.copysign(head);
        let pivot_entry = head + signed_norm;
        for x in &mut vector[1..] {
            *x /= pivot_entry;
        }
        vector[0] = 1.0;
        factors[k] = pivot_entry / signed_norm;
        diagonal[k] = -signed_norm;
        let tail = &vector[1..];
        for (column, square) in rest.chunks_exact_mut(m).zip(&mut squares[k + 1..]) {
            let (top, below) = column.split_at_mut(k + 1);
            let factor = factors[k] * (top[k] + dot(tail, below));
            top[k] -= factor;
            *square = subtract_multiple(below, factor, tail);
        }
    }
}

/// Multiplies the m x n column-major `target` from the left by the Q that [`pivoted_qr`] left in `reflections`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn apply_reflections(reflections: &[f64], m: usize, factors: &[f64], target: &mut [f64]) {
    for column in target.chunks_exact_mut(m) {
        for k in (0..factors.len()).rev() {
            let vector = &reflections[k * m + k..(k + 1) * m];
            let factor = factors[k] * dot(vector, &column[k..]);
            subtract_multiple(&mut column[k..], factor, vector);
        }
    }
}

/// Rotates pairs of columns until the first `height` entries of each are orthogonal to those of all others; the entries
/// that follow take part, as many again where `vectors` is set. Leaves norms in `norms`. False where the sweeps ran out.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn orthogonalise(
    columns: &mut [f64],
    height: usize,
    stride: usize,
    vectors: bool,
    norms: &mut [f64],
) -> bool {
    // Rounding alone leaves cosines of about this size.
    let tolerance = f64::EPSILON * (height as f64).sqrt();
    let n = norms.len();
    let used = if vectors { 2 * height } else { height };
    for (norm, column) in norms.iter_mut().zip(columns.chunks_exact(stride)) {
        *norm = root(dot(&column[..height], &column[..height]));
    }
    let rounds = rounds(n);
    let (mut sums, mut more_sums) = ([[0.0; LANES]; LANES], [[0.0; LANES]; LANES]);
    let mut quiet = 0;
    for round in 0..SWEEP_LIMIT * rounds {
        let mut rotated = false;
        // Pair 0 of an odd number of columns has one member.
        for first in (n % 2..rounds.div_ceil(2)).step_by(LANES) {
            let count = (rounds.div_ceil(2) - first).min(LANES);
            let mut pairs = [(0, 0); LANES];
            for (lane, pair) in pairs[..count].iter_mut().enumerate() {
                *pair = meeting(rounds, round % rounds, first + lane);
            }
            let pairs = &pairs[..count];
            let (mut left, mut right) = ([0.0; LANES], [0.0; LANES]);
            for (lane, &(p, q)) in pairs.iter().enumerate() {
                let (x, y) = (&columns[p * stride..][..height], &columns[q * stride..][..height]);
                sums[lane] = partial_sums(x, y);
                (left[lane], right[lane]) = (norms[p], norms[q]);
            }
            let (mut half, mut sin) = ([0.0; LANES], [0.0; LANES]);
            if !rotations(&totals(&sums), &left, &right, tolerance, &mut half, &mut sin) {
                continue;
            }
            rotated = true;
            for (lane, &(p, q)) in pairs.iter().enumerate() {
                let (before, after) = columns.split_at_mut(q * stride);
                let (x, y) = (&mut before[p * stride..][..used], &mut after[..used]);
                rotate(x, y, half[lane], sin[lane]);
                sums[lane] = partial_sums(&x[..height], &x[..height]);
                more_sums[lane] = partial_sums(&y[..height], &y[..height]);
            }
            let (left, right) = (roots(&totals(&sums)), roots(&totals(&more_sums)));
            for (lane, &(p, q)) in pairs.iter().enumerate() {
                (norms[p], norms[q]) = (left[lane], right[lane]);
            }
        }
        quiet = if rotated { 0 } else { quiet + 1 };
        if quiet == rounds {
            return true;
        }
    }
    false
}

/// Rounds in which each of `n` columns meets each other one once.
fn rounds(n: usize) -> usize {
    (n + n % 2).max(2) - 1
}

/// The columns p < q of a pair of a round: the last column meets one after the other, and around that one pairs lie in a
/// circle of all others.
#[inline(always)]
fn meeting(rounds: usize, round: usize, pair: usize) -> (usize, usize) {
    if pair == 0 {
        return (round, rounds);
    }
    let up = if round + pair < rounds { round + pair } else { round + pair - rounds };
    let down = if round >= pair { round - pair } else { round + rounds - pair };
    (up.min(down), up.max(down))
}

/// Sines, and tangents of the half angles, of the rotations that make pairs of columns with these dot products and norms orthogonal. False where
/// all are: an angle of zero.
#[inline(always)]
fn rotations(
    overlaps: &[f64; LANES],
    left: &[f64; LANES],
    right: &[f64; LANES],
    tolerance: f64,
    half: &mut [f64; LANES],
    sin: &mut [f64; LANES],
) -> bool {
    let mut turning = 0u64;
    for lane in 0..LANES {
        let (overlap, p, q) = (overlaps[lane], left[lane], right[lane]);
        let limit = p * q;
        let turns = overlap.abs() > tolerance * limit && limit > 0.0;
        turning |= u64::from(turns);
        // cot 2θ. Norms are zero or within 2^±490, and the overlap is no smaller than ε of their product: nothing overflows.
        let cotangent = 0.5 * ((q - p) * (q + p)) / overlap;
        let size = cotangent.abs();
        let root = (1.0 + size * size).sqrt();
        let denominator = if size > 1e8 { 2.0 * size } else { size + root };
        let tangent = (1.0 / denominator).copysign(cotangent);
        let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
        let sine = cosine * tangent;
        sin[lane] = if turns { sine } else { 0.0 };
        half[lane] = if turns { sine / (1.0 + cosine) } else { 0.0 };
    }
    turning != 0
}

/// [`root`] of each.
#[inline(always)]
fn roots(squares: &[f64; LANES]) -> [f64; LANES] {
    let mut roots = [0.0; LANES];
    for lane in 0..LANES {
        roots[lane] = root(squares[lane]);
    }
    roots
}

/// The norm of a column with this square; zero where underflow has taken digits.
#[inline(always)]
fn root(square: f64) -> f64 {
    // The root first: a choice between two numbers makes no branch.
    let root = square.sqrt();
    if square < SMALLEST_SQUARE { 0.0 } else { root }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_rounds_of_a_sweep_each_column_meets_each_other_one_once_and_in_a_round_only_one() {
        for n in 1..=33 {
            let mut met = vec![false; n * n];
            for round in 0..rounds(n) {
                let mut busy = vec![false; n];
                for pair in n % 2..rounds(n).div_ceil(2) {
                    let (p, q) = meeting(rounds(n), round, pair);
                    assert!(p < q && q < n, "{p} and {q} of {n}");
                    assert!(!std::mem::replace(&mut met[p * n + q], true), "{p} and {q} of {n} met twice");
                    for column in [p, q] {
                        assert!(!std::mem::replace(&mut busy[column], true), "{column} of {n} in two pairs");
                    }
                }
            }
            assert_eq!(met.iter().filter(|met| **met).count(), n * (n - 1) / 2, "{n}");
        }
    }
}
