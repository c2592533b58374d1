//! The pairwise kernel that all losses share: a softmax over every row of an N x N matrix of logits that is
//! never stored as a whole, and the sums that its weights form.
//!
//! With logits l_ij = s q_i·k_j + b_j for j ≠ i and a logit l_ii of its own for the positive pair, the weights are
//! α_ij = exp(l_ij) / Σ_j exp(l_ij). One pass over blocks of rows computes each exponential once and uses it for
//! its row and for its column. Cost: N² exponentials and about N² (2 d + 4 p) flops for d dimensions and a payload
//! of p; memory: N ([`ROWS`] + p) values a part, of which there are one for N < 1,024 and
//! eight at most.

use super::square_distance;
use crate::matrix::{Destination, View, product};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Terms that are summed in turn. The roundings of n equal terms may add up to n ε/4 of their sum.
pub(super) const TERMS_IN_TURN: usize = 512;

/// Independent parts of the work on N points: enough for two threads where a gradient takes long enough to tell them, more
/// where it takes long.
pub(super) fn parts_of(count: usize) -> usize {
    match count {
        0..1024 => 1,
        1024..4096 => 2,
        4096..16384 => 4,
        _ => 8,
    }
}

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
    /// log Σ_j exp(l_ij), one a row.
    pub log_totals: Vec<f64>,
    parts: Vec<Part>,
}

/// What one of several independent parts of the work, a range of rows, accumulates and needs room for. Parts depend on N alone and are
/// added in their order, so that the bits do not depend on the number of threads.
#[derive(Debug, Default)]
struct Part {
    columns: Vec<f64>,
    column_weight: Vec<f64>,
    /// Logits, then weights up to their row's normaliser, of [`ROWS`] rows.
    block: Vec<f64>,
    /// 1 / Σ_j exp(l_ij - largest), one a row of the block.
    normaliser: Vec<f64>,
    /// Column payload of the block's rows times their normalisers.
    scaled: Vec<f64>,
    /// Sums over a block or a piece of a row.
    recent: Vec<f64>,
}

/// The results of some rows, in the order of [`PairwiseSums`]: sums, negative weights, log totals.
type RowResults<'a> = (&'a mut [f64], (&'a mut [f64], &'a mut [f64]));

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
    /// Where the shape is that of the last call it allocates no more than a number a part.
    pub fn compute(&mut self, problem: &Pairwise<'_>) -> f64 {
        let (p, n) = (problem.payload_dim, problem.count);
        self.reset(p, n);
        resize(&mut self.log_totals, n);
        resize(&mut self.column_weight, n);
        let length = n.div_ceil(parts_of(n) * ROWS) * ROWS;
        let shares = n.div_ceil(length);
        if self.parts.len() < shares {
            self.parts.resize_with(shares, Part::default);
        }
        let parts = &mut self.parts[..shares];
        // The first part adds to the results themselves.
        std::mem::swap(&mut self.columns, &mut parts[0].columns);
        std::mem::swap(&mut self.column_weight, &mut parts[0].column_weight);
        let loss = match &mut *parts {
            [part] => {
                part.work(problem, 0, (&mut self.rows, (&mut self.negative_weight, &mut self.log_totals)))
            }
            parts => {
                let weights =
                    self.negative_weight.par_chunks_mut(length).zip(self.log_totals.par_chunks_mut(length));
                let results = self.rows.par_chunks_mut(length * p).zip(weights);
                let losses: Vec<f64> = parts
                    .par_iter_mut()
                    .zip(results)
                    .enumerate()
                    .map(|(index, (part, results))| part.work(problem, index * length, results))
                    .collect();
                losses.iter().sum()
            }
        };
        let (first, others) = parts.split_first_mut().expect("at least one part");
        std::mem::swap(&mut self.columns, &mut first.columns);
        std::mem::swap(&mut self.column_weight, &mut first.column_weight);
        for part in others {
            add(&mut self.columns, &part.columns);
            add(&mut self.column_weight, &part.column_weight);
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

impl Part {
    /// Works on the rows from `first_row` on, as many as there are results; returns their loss.
    fn work(&mut self, problem: &Pairwise<'_>, first_row: usize, results: RowResults<'_>) -> f64 {
        let (d, p, n) = (problem.dim, problem.payload_dim, problem.count);
        let (sums, (negative_weight, log_totals)) = results;
        resize(&mut self.columns, p * n);
        resize(&mut self.column_weight, n);
        resize(&mut self.block, n * ROWS.min(n));
        resize(&mut self.normaliser, ROWS.min(n));
        resize(&mut self.scaled, p * ROWS.min(n));
        resize(&mut self.recent, p.max(n));
        self.columns.fill(0.0);
        self.column_weight.fill(0.0);

        let keys = View::new(problem.keys, d, n).transpose();
        let payload = View::new(problem.row_payload, p, n);
        let tolerated = CANCELLATION * (1.0 + problem.largest_logit);
        let mut loss = 0.0;
        let results = sums.chunks_mut(ROWS * p).zip(negative_weight.chunks_mut(ROWS));
        for (index, ((sums, negative_weight), log_totals)) in
            results.zip(log_totals.chunks_mut(ROWS)).enumerate()
        {
            let (first, rows) = (first_row + index * ROWS, negative_weight.len());
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
                log_totals[row] = peak + total.ln();
                negative_weight[row] = negatives / total;
                self.normaliser[row] = total.recip();
            }
            loss += loss_of_block;
            // The block holds weights up to the normaliser of their row, which is applied to sums instead.
            if rows > 1 {
                product(sums, Destination::Replace, 1.0, payload, View::new(block, n, rows));
            } else {
                // A product with one column adds all its terms in turn.
                sums.fill(0.0);
                let pieces = problem.row_payload.chunks(p * TERMS_IN_TURN).zip(block.chunks(TERMS_IN_TURN));
                for (payload, weights) in pieces {
                    let payload = View::new(payload, p, weights.len());
                    let of_piece = &mut self.recent[..p];
                    product(
                        of_piece,
                        Destination::Replace,
                        1.0,
                        payload,
                        View::new(weights, weights.len(), 1),
                    );
                    add(sums, of_piece);
                }
            }
            for row in 0..rows {
                let i = first + row;
                let (weight, normaliser) = (negative_weight[row], self.normaliser[row]);
                let own = &problem.row_payload[i * p..(i + 1) * p];
                let sum = &mut sums[row * p..(row + 1) * p];
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
            if p > 1 {
                let columns = View::new(&self.scaled[..p * rows], p, rows);
                let block = View::new(block, n, rows);
                product(&mut self.columns, Destination::Add, 1.0, columns, block.transpose());
            } else {
                add_weighted(&mut self.columns, block, &self.scaled[..rows], &mut self.recent[..n]);
            }
            if problem.column_sum == ColumnSum::Differences {
                add_weighted(&mut self.column_weight, block, &self.normaliser[..rows], &mut self.recent[..n]);
            }
        }
        loss
    }
}

/// Adds the columns of `block`, as many as there are factors, times these to `sums`, by way of `recent`: a product with one row would
/// add the terms of all blocks in turn.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn add_weighted(sums: &mut [f64], block: &[f64], factors: &[f64], recent: &mut [f64]) {
    recent.fill(0.0);
    for (column, factor) in block.chunks_exact(sums.len()).zip(factors) {
        recent.iter_mut().zip(column).for_each(|(recent, value)| *recent += factor * value);
    }
    add(sums, recent);
}

/// sums += values.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
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
    let mut total = 0.0;
    for values in values.chunks_mut(LANES * TERMS_IN_TURN / 2) {
        let mut lanes = [0.0; LANES];
        let mut chunks = values.chunks_exact_mut(LANES);
        for chunk in &mut chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *value = exp(*value - peak);
                *lane += *value;
            }
        }
        let mut sum: f64 = lanes.iter().sum();
        for value in chunks.into_remainder() {
            *value = exp(*value - peak);
            sum += *value;
        }
        total += sum;
    }
    total
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
    use super::super::hard_case_points;
    use super::*;

    #[test]
    fn sums_are_those_of_plain_loops_and_their_bits_do_not_depend_on_the_number_of_threads() {
        let mut used = PairwiseSums::default();
        // The last has fewer parts than the one before.
        for (n, d, p) in [(5, 2, 1), (65, 3, 2), (1100, 2, 3), (4097, 1, 2), (1025, 2, 1)] {
            let (queries, keys) = (hard_case_points(d, n, 1), hard_case_points(d, n, 2));
            let (rows, columns) = (hard_case_points(p, n, 3), hard_case_points(p, n, 4));
            let logit =
                |i: usize, j: usize| -> f64 { (0..d).map(|k| queries[i * d + k] * keys[j * d + k]).sum() };
            let positive_logits: Vec<f64> = (0..n).map(|i| logit(i, i)).collect();
            let largest_logit =
                positive_logits.iter().fold(0.0, |largest: f64, logit| largest.max(logit.abs()));
            for column_sum in [ColumnSum::Differences, ColumnSum::Plain] {
                let problem = Pairwise {
                    dim: d,
                    payload_dim: p,
                    count: n,
                    queries: &queries,
                    keys: &keys,
                    scale: 1.0,
                    key_bias: None,
                    largest_logit,
                    positive_logits: &positive_logits,
                    row_payload: &rows,
                    column_payload: &columns,
                    original_payload: &rows,
                    column_sum,
                };
                let mut run = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let loss = pool.install(|| used.compute(&problem));
                    let sums =
                        [&used.rows, &used.columns, &used.log_totals, &used.negative_weight].map(Vec::clone);
                    (loss, sums)
                };
                let found = run(1);
                assert_eq!(found, run(3), "{n} points: bits depend on threads");
                let (loss, [of_rows, of_columns, log_totals, negative_weight]) = found;

                let (mut expected_loss, mut largest) = (0.0, 0.0_f64);
                let (mut expected_rows, mut expected_columns) = (vec![0.0; n * p], vec![0.0; n * p]);
                let mut terms = [vec![0.0; n * p], vec![0.0; n * p]];
                for i in 0..n {
                    let logits: Vec<f64> = (0..n).map(|j| logit(i, j)).collect();
                    largest = logits.iter().fold(largest, |largest, logit| largest.max(logit.abs()));
                    let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let log_total = peak + logits.iter().map(|logit| (logit - peak).exp()).sum::<f64>().ln();
                    assert!((log_totals[i] - log_total).abs() <= 1e-12 * (1.0 + log_total.abs()));
                    let others = (0..n).filter(|&j| j != i);
                    let negative: f64 = others.map(|j| (logits[j] - log_total).exp()).sum();
                    assert!((negative_weight[i] - negative).abs() <= 1e-11 * negative);
                    expected_loss += log_total - positive_logits[i];
                    for j in (0..n).filter(|&j| j != i) {
                        let weight = (logits[j] - log_total).exp();
                        for k in 0..p {
                            let (row, column) = (i * p + k, j * p + k);
                            expected_rows[row] += weight * (rows[column] - rows[row]);
                            terms[0][row] += weight * (rows[column].abs() + rows[row].abs());
                            let own = if column_sum == ColumnSum::Plain { 0.0 } else { columns[column] };
                            expected_columns[column] += weight * (columns[row] - own);
                            terms[1][column] += weight * (columns[row].abs() + own.abs());
                        }
                    }
                }
                let relative = 100.0 * f64::EPSILON * (1.0 + largest);
                assert!((loss - expected_loss).abs() <= relative * n as f64, "{n} points");
                let sums = [(&of_rows, &expected_rows), (&of_columns, &expected_columns)];
                for ((found, expected), terms) in sums.into_iter().zip(&terms) {
                    for ((found, expected), terms) in found.iter().zip(expected).zip(terms) {
                        let error = (found - expected).abs();
                        assert!(error <= relative * terms, "{n} points, {column_sum:?}: {error:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn many_equal_terms_keep_their_digits() {
        // One more than whole blocks; all logits are -c against a positive pair of 0, so that every sum is of equal terms.
        for (n, p, column_sum) in [(16385, 1, ColumnSum::Plain), (16385, 2, ColumnSum::Differences)] {
            let (c, payload) = (0.1, vec![1.0 / 3.0; n * p]);
            let (points, key_bias) = (vec![0.0; n], vec![-c; n]);
            let mut sums = PairwiseSums::default();
            sums.compute(&Pairwise {
                dim: 1,
                payload_dim: p,
                count: n,
                queries: &points,
                keys: &points,
                scale: 1.0,
                key_bias: Some(&key_bias),
                largest_logit: c,
                positive_logits: &points,
                row_payload: &payload,
                column_payload: &payload,
                original_payload: &payload,
                column_sum,
            });
            let negative = (n - 1) as f64 * (-c).exp();
            let weight = negative / (1.0 + negative);
            let allowed = 100.0 * f64::EPSILON * (1.0 + c);
            let near = |found: &f64, expected: f64| (found / expected - 1.0).abs() <= allowed;
            assert!(sums.negative_weight.iter().all(|found| near(found, weight)));
            // The terms of differences are equal, too: what is left of them is rounding.
            let vanishes = |found: &f64| found.abs() <= allowed * weight / 3.0;
            assert!(sums.rows.iter().all(vanishes));
            match column_sum {
                ColumnSum::Plain => assert!(sums.columns.iter().all(|found| near(found, weight / 3.0))),
                ColumnSum::Differences => {
                    assert!(sums.columns.iter().all(vanishes));
                    assert!(sums.column_weight.iter().all(|found| near(found, weight)));
                }
            }
        }
    }

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
