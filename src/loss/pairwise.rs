//! The pairwise kernel that all losses share: a softmax over every row of an N x N matrix of logits that is
//! never stored as a whole, and the sums that its weights form.
//!
//! With logits l_ij = s q_i·k_j + b_j for j ≠ i and a logit l_ii of its own for the positive pair, the weights are
//! α_ij = exp(l_ij) / Σ_j exp(l_ij). One pass over blocks of rows computes each exponential once and uses it for
//! its row and for its column. Cost: N² exponentials and about N² (2 d + 4 p) flops for d dimensions and a payload
//! of p; memory: N x [`ROWS`] values.

use super::square_distance;
use crate::matrix::{Destination, View, product};

/// Terms that are summed in turn. The roundings of n equal terms may add up to n ε/4 of their sum.
pub(super) const TERMS_IN_TURN: usize = 512;

/// Rows of logits held at a time: enough for the matrix products to run near their peak, few enough for the block
/// to stay in the second-level cache up to N of about two thousand.
const ROWS: usize = 64;

/// A row with a weighted difference smaller, in any coordinate, than 1 / (this (1 + largest logit)) of the terms it
/// was formed from is summed again, term by term. The weights themselves carry relative errors of about ε times the
/// largest logit, so that a loss of digits by up to that factor changes nothing; the rest is five bits.
pub(super) const CANCELLATION: f64 = 32.0;

/// What the columns of weights are to be summed into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnSum {
    /// Σ_{i≠j} α_ij (c_i - c_j). Row and column sums of a sample are then to be added: whether digits were lost shows in both
    /// together, so that looking for it, and summing again, is left to the caller.
    Differences,
    /// Σ_{i≠j} α_ij c_i. Rows of which digits were lost are summed again.
    Plain,
}

/// One softmax problem over N rows. Matrices are column-major with one sample a column.
pub(super) struct Pairwise<'a> {
    /// Dimension d of queries and keys.
    pub dim: usize,
    /// Dimension p of the payloads.
    pub payload_dim: usize,
    /// Number of samples N.
    pub count: usize,
    /// q, d x N.
    pub queries: &'a [f64],
    /// k, d x N.
    pub keys: &'a [f64],
    /// s.
    pub scale: f64,
    /// b, one a key.
    pub key_bias: Option<&'a [f64]>,
    /// A lower bound on the largest |l_ij|.
    pub largest_logit: f64,
    /// l_ii, one a row.
    pub positive_logits: &'a [f64],
    /// r, p x N: summed over rows as Σ_{j≠i} α_ij (r_j - r_i).
    pub row_payload: &'a [f64],
    /// c, p x N: summed over columns.
    pub column_payload: &'a [f64],
    /// r before anything was subtracted from it: what sums that cancel are formed from.
    pub original_payload: &'a [f64],
    /// How columns are summed.
    pub column_sum: ColumnSum,
}

/// What the kernel computes, and the memory it needs for it.
#[derive(Debug, Default)]
pub(super) struct PairwiseSums {
    /// Σ_{j≠i} α_ij (r_j - r_i), p x N.
    pub rows: Vec<f64>,
    /// The column sums, p x N.
    pub columns: Vec<f64>,
    /// 1 - α_ii as the sum of the other weights, one a row.
    pub negative_weight: Vec<f64>,
    /// Σ_{i≠j} α_ij, one a column, where differences are summed.
    pub column_weight: Vec<f64>,
    /// Logits, then weights up to their row's normaliser, of [`ROWS`] rows.
    block: Vec<f64>,
    /// 1 / Σ_j exp(l_ij - largest), one a row of the block.
    normaliser: Vec<f64>,
    /// Column payload of the block's rows times their normalisers.
    scaled: Vec<f64>,
    /// log Σ_j exp(l_ij), one a row.
    pub log_totals: Vec<f64>,
}

/// Gives `buffer` this length, without a promise of what it holds.
pub(super) fn resize(buffer: &mut Vec<f64>, length: usize) {
    if buffer.len() != length {
        buffer.resize(length, 0.0);
    }
}

impl PairwiseSums {
    /// Makes room for the results of a problem with N rows and payloads of p.
    pub fn reset(&mut self, p: usize, n: usize) {
        resize(&mut self.rows, p * n);
        resize(&mut self.columns, p * n);
        resize(&mut self.negative_weight, n);
    }

    /// Solves `problem`; returns the sum over rows of log Σ_j exp(l_ij) - l_ii.
    ///
    /// Allocates only when the shape differs from that of the last call.
    pub fn compute(&mut self, problem: &Pairwise<'_>) -> f64 {
        let (d, p, n) = (problem.dim, problem.payload_dim, problem.count);
        self.reset(p, n);
        resize(&mut self.log_totals, n);
        resize(&mut self.column_weight, n);
        resize(&mut self.block, n * ROWS.min(n));
        resize(&mut self.normaliser, ROWS.min(n));
        resize(&mut self.scaled, p * ROWS.min(n));
        self.columns.fill(0.0);
        self.column_weight.fill(0.0);

        let keys = View::new(problem.keys, d, n).transpose();
        let payload = View::new(problem.row_payload, p, n);
        let tolerated = CANCELLATION * (1.0 + problem.largest_logit);
        let mut loss = 0.0;
        for first in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - first);
            let range = first * p..(first + rows) * p;
            let block = &mut self.block[..n * rows];
            let queries = View::new(&problem.queries[first * d..(first + rows) * d], d, rows);
            product(block, Destination::Replace, problem.scale, keys, queries);
            // Block by block: a sum over all rows in turn would gather as many roundings.
            let mut loss_of_block = 0.0;
            for (row, weights) in block.chunks_exact_mut(n).enumerate() {
                let i = first + row;
                let positive = problem.positive_logits[i];
                weights[i] = f64::NEG_INFINITY;
                let peak = match problem.key_bias {
                    Some(bias) => maximum_of_sum(weights, bias),
                    None => maximum(weights),
                };
                let peak = peak.max(positive);
                let negatives = exponentiate(weights, peak);
                let total = negatives + (positive - peak).exp();
                loss_of_block += if !peak.is_finite() {
                    // An overflow of the logits, which the differences below could hide.
                    f64::NAN
                } else if peak == positive {
                    negatives.ln_1p()
                } else {
                    total.ln() + (peak - positive)
                };
                self.log_totals[i] = peak + total.ln();
                self.negative_weight[i] = negatives / total;
                self.normaliser[row] = total.recip();
            }
            loss += loss_of_block;
            // The block holds weights up to the normaliser of their row, which is applied to sums instead.
            product(
                &mut self.rows[range.clone()],
                Destination::Replace,
                1.0,
                payload,
                View::new(block, n, rows),
            );
            for row in 0..rows {
                let i = first + row;
                let (weight, normaliser) = (self.negative_weight[i], self.normaliser[row]);
                let own = &problem.row_payload[i * p..(i + 1) * p];
                let sum = &mut self.rows[i * p..(i + 1) * p];
                sum.iter_mut().for_each(|sum| *sum *= normaliser);
                let weights = &block[row * n..(row + 1) * n];
                let cancelled = subtract_own(sum, own, weight, tolerated);
                if cancelled && problem.column_sum == ColumnSum::Plain {
                    sum_differences(problem.original_payload, p, i, weights, normaliser, sum);
                }
                let scaled = &mut self.scaled[row * p..(row + 1) * p];
                for (to, from) in scaled.iter_mut().zip(&problem.column_payload[i * p..(i + 1) * p]) {
                    *to = normaliser * from;
                }
            }
            let columns = View::new(&self.scaled[..p * rows], p, rows);
            let block = View::new(&self.block[..n * rows], n, rows);
            product(&mut self.columns, Destination::Add, 1.0, columns, block.transpose());
            if problem.column_sum == ColumnSum::Differences {
                let normalisers = View::new(&self.normaliser[..rows], 1, rows);
                product(&mut self.column_weight, Destination::Add, 1.0, normalisers, block.transpose());
            }
        }
        if problem.column_sum == ColumnSum::Differences {
            for j in 0..n {
                for k in j * p..(j + 1) * p {
                    self.columns[k] -= self.column_weight[j] * problem.column_payload[k];
                }
            }
        }
        loss
    }
}

/// Subtracts `weight` times `own`; says whether a coordinate lost more digits than the weights have, where `tolerated` is the
/// factor by which a sum may be smaller than its terms.
#[inline(always)]
pub(super) fn subtract_own(sum: &mut [f64], own: &[f64], weight: f64, tolerated: f64) -> bool {
    let mut cancelled = false;
    for (s, o) in sum.iter_mut().zip(own) {
        let (before, own) = (s.abs(), (weight * o).abs());
        *s -= weight * o;
        let left = s.abs() * tolerated;
        cancelled |= (left < before) | (left < own);
    }
    cancelled
}

/// Writes Σ_j α_ij (r_j - r_i) to `sum`, difference by difference, so that nothing cancels but what the mathematics cancels.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn sum_differences(
    payload: &[f64],
    p: usize,
    i: usize,
    weights: &[f64],
    normaliser: f64,
    sum: &mut [f64],
) {
    const LANES: usize = 16;
    let own = &payload[i * p..(i + 1) * p];
    sum.fill(0.0);
    for (first, sum) in (0..).step_by(LANES).zip(sum.chunks_mut(LANES)) {
        let coordinates = first..first + sum.len();
        let own = &own[coordinates.clone()];
        // Block by block: a sum over all samples in turn would gather as many roundings.
        for (payload, weights) in payload.chunks(p * TERMS_IN_TURN).zip(weights.chunks(TERMS_IN_TURN)) {
            let mut of_block = [0.0; LANES];
            for (other, weight) in payload.chunks_exact(p).zip(weights) {
                let weight = normaliser * weight;
                for ((s, r), o) in of_block.iter_mut().zip(&other[coordinates.clone()]).zip(own) {
                    *s += weight * (r - o);
                }
            }
            sum.iter_mut().zip(&of_block).for_each(|(sum, of_block)| *sum += of_block);
        }
    }
}

/// Writes exp(-|x - x_j|²/2) of a point x and all `points` (d x N), from their differences.
pub(super) fn kernel_row(points: &[f64], own: &[f64], values: &mut [f64]) {
    half_square_distances(points, own, values);
    exponentiate(values, 0.0);
}

#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn half_square_distances(points: &[f64], own: &[f64], values: &mut [f64]) {
    for (value, other) in values.iter_mut().zip(points.chunks_exact(own.len())) {
        *value = -0.5 * square_distance(own, other);
    }
}

/// The larger of two; a NaN takes over, and so does any value after it: the exponentials then carry the NaN into the loss.
#[inline(always)]
fn larger(value: f64, other: f64) -> f64 {
    if value <= other { other } else { value }
}

/// The largest value.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn maximum(values: &[f64]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [f64::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(value, *lane);
        }
    }
    let tail = chunks.remainder().iter().copied();
    lanes.into_iter().chain(tail).fold(f64::NEG_INFINITY, |peak, value| larger(value, peak))
}

/// Adds `addend` to `values` and returns the largest sum.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn maximum_of_sum(values: &mut [f64], addend: &[f64]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [f64::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact_mut(LANES);
    let mut addends = addend.chunks_exact(LANES);
    for (chunk, addends) in (&mut chunks).zip(&mut addends) {
        for ((lane, value), a) in lanes.iter_mut().zip(chunk).zip(addends) {
            *value += a;
            *lane = larger(*value, *lane);
        }
    }
    let mut peak = lanes.into_iter().fold(f64::NEG_INFINITY, |peak, value| larger(value, peak));
    for (value, a) in chunks.into_remainder().iter_mut().zip(addends.remainder()) {
        *value += a;
        peak = larger(*value, peak);
    }
    peak
}

/// Replaces each value x ≤ `peak` by exp(x - peak) and returns the sum of these.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn exponentiate(values: &mut [f64], peak: f64) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let mut chunks = values.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = exp(*value - peak);
            *lane += *value;
        }
    }
    let mut sum = lanes.iter().sum();
    for value in chunks.into_remainder() {
        *value = exp(*value - peak);
        sum += *value;
    }
    sum
}

/// exp(y) for y ≤ 700, in a form that loops over many y are vectorised with.
///
/// exp(y) = 2^n exp(r) with n the integer nearest to y / ln 2, and exp(r), |r| ≤ ln 2 / 2, by its Taylor polynomial of
/// degree 12, whose remainder is below 1.8e-16 of the value. Results below e^-690 become 0: products with what is left
/// of them stay clear of subnormal numbers, which are slow.
#[inline(always)]
pub(super) fn exp(y: f64) -> f64 {
    const SMALLEST: f64 = -690.0;
    /// Adding 1.5 2^52 leaves the nearest integer in the low bits of the sum.
    const ROUNDER: f64 = 6755399441055744.0;
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const INVERSE_FACTORIALS: [f64; 13] = [
        1.0,
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
    ];
    // A NaN fails the comparison and passes through.
    let clamped = if y < SMALLEST { SMALLEST } else { y };
    let shifted = clamped.mul_add(std::f64::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, clamped));
    let mut polynomial = INVERSE_FACTORIALS[12];
    let mut k = 12;
    while k > 0 {
        k -= 1;
        polynomial = polynomial.mul_add(r, INVERSE_FACTORIALS[k]);
    }
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    let value = polynomial * power;
    if y < SMALLEST { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_within_two_units_in_the_last_place_down_to_underflow() {
        let mut worst: f64 = 0.0;
        for step in 0..200_000 {
            let y = -689.9 * (step as f64 / 200_000.0).powi(3);
            let mut values = [y; 3];
            exponentiate(&mut values, 0.0);
            worst = worst.max((values[0] - y.exp()).abs() / y.exp());
        }
        assert!(worst < 2.0 * f64::EPSILON, "{worst:e}");
    }

    #[test]
    fn the_exponential_of_minus_infinity_is_zero_and_of_nan_is_nan() {
        let mut values = [f64::NEG_INFINITY, -1e300, f64::NAN, 0.0, -800.0];
        exponentiate(&mut values, 0.0);
        assert_eq!(values[0], 0.0);
        assert_eq!(values[1], 0.0);
        assert!(values[2].is_nan());
        assert_eq!(values[3], 1.0);
        assert_eq!(values[4], 0.0);
    }

    #[test]
    fn differences_of_thousands_of_samples_are_summed_without_gathering_roundings() {
        let (count, p) = (8190, 17);
        for x in [1.0 / 3.0, 0.1, 0.9] {
            // All but the first sample are x times the number of the coordinate.
            let payload: Vec<f64> =
                (0..count * p).map(|k| if k < p { 0.0 } else { x * (k % p) as f64 }).collect();
            let mut sums = vec![f64::NAN; p];
            sum_differences(&payload, p, 0, &vec![0.5; count], 2.0 / count as f64, &mut sums);
            for (k, sum) in sums.into_iter().enumerate() {
                let expected = x * k as f64 * (count - 1) as f64 / count as f64;
                assert!((sum - expected).abs() <= 100.0 * f64::EPSILON * expected, "{x}, {k}: {sum}");
            }
        }
    }
}
