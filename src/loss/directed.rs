//! The fast kernel where weights are normalised by their row alone and logits are bounded: the dot and the one-directional
//! cosine loss.
//!
//! The weights of some rows at a time are kept until their normalisers are known, so that each exponential is computed once.
//! Cost a pair: 2 d + 4 p + 20 flops in multiply-adds, d the dimension of points and p that of the payload; memory: a
//! few times N (d + p), and [`KEPT`] weights a part.

use super::mutual::{panels, parts_of};
use super::pairwise::{CANCELLATION, Pairwise, PairwiseSums, Row, resize, subtract_own, sum_differences};
use super::tile::{
    CHUNK, Instructions, Kernel, LARGEST_LOGIT, Pairs, ROWS, Side, SquaredLengths, Tiled, Vectors,
    add_to_columns, add_to_rows, exp2, for_rows, load, load_all, logits, store_all,
};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::ops::Range;

/// Weights that are kept at a time: 2 MiB, more than which would be slower to read again than to compute.
const KEPT: usize = 1 << 18;

/// Rows whose weights are kept at a time at most.
const KEPT_ROWS: usize = 64;

/// The memory that the kernel needs.
#[derive(Debug, Default)]
pub(super) struct Directed {
    queries: Tiled,
    keys: Tiled,
    bias: Tiled,
    row_payload: Tiled,
    parts: Vec<Part>,
}

/// What one of several independent parts of the work, a range of rows, accumulates; see `mutual`.
#[derive(Debug, Default)]
struct Part {
    columns: Tiled,
    block: Block,
}

/// Some rows whose weights are kept.
#[derive(Debug, Default)]
struct Block {
    /// Weights up to their normaliser, in tiles of 4 x 32.
    kept: Tiled,
    /// Their sums and the sums of weighted payloads, one a row.
    totals: Vec<f64>,
    sums: Vec<f64>,
    /// The latter, lane by lane.
    lanes: Tiled,
    /// Column payloads of the rows times their normalisers, 4 rows side by side.
    scaled: Vec<f64>,
    row: Vec<f64>,
}

/// The length of the longest point; NaN where a value is.
fn largest_length(instructions: Instructions, points: &Tiled, squares: &mut Tiled) -> f64 {
    squares.reserve(1, points.count());
    instructions.run(SquaredLengths { points, squares: squares.values_mut() });
    let larger = |largest: f64, square: f64| {
        if largest.is_nan() || square <= largest { largest } else { square }
    };
    squares.values().iter().copied().fold(0.0, larger).sqrt()
}

impl Directed {
    /// Solves `problem` and writes the sums to `out`; returns the sum over rows of log Σ_j exp(l_ij) - l_ii, or nothing where
    /// logits may be too large for this kernel.
    pub fn compute(
        &mut self,
        instructions: Instructions,
        problem: &Pairwise<'_>,
        out: &mut PairwiseSums,
    ) -> Option<f64> {
        let (d, p, n) = (problem.dim, problem.payload_dim, problem.count);
        let scale = problem.scale * std::f64::consts::LOG2_E;
        self.queries.load(d, problem.queries, scale);
        self.keys.load(d, problem.keys, 1.0);
        let squares = &mut self.bias;
        let bound = largest_length(instructions, &self.queries, squares)
            * largest_length(instructions, &self.keys, squares);
        if bound.is_nan() || bound > LARGEST_LOGIT {
            return None;
        }
        self.bias.exclude_padding(n);
        let separate = !std::ptr::eq(problem.row_payload, problem.keys);
        if separate {
            self.row_payload.load(p, problem.row_payload, 1.0);
        }
        let Directed { queries, keys, bias, row_payload, parts } = self;
        let task = Task {
            queries: Side { points: queries, bias },
            keys: Side { points: keys, bias },
            row_payload: if separate { row_payload } else { keys },
            problem,
            kept_rows: (KEPT / (keys.chunks() * CHUNK)).clamp(ROWS, KEPT_ROWS) / ROWS * ROWS,
        };
        out.reset(p, n);
        let shares = parts_of(n);
        parts.resize_with(shares, Part::default);
        let length = n.div_ceil(shares * ROWS) * ROWS;
        let losses: f64 = match parts.as_mut_slice() {
            [part] => part.work(instructions, &task, 0, &mut out.rows, &mut out.negative_weight),
            parts => {
                let results =
                    out.rows.par_chunks_mut(length * p).zip(out.negative_weight.par_chunks_mut(length));
                let losses: Vec<f64> = parts
                    .par_iter_mut()
                    .zip(results)
                    .enumerate()
                    .map(|(index, (part, (rows, weights)))| {
                        part.work(instructions, &task, index * length, rows, weights)
                    })
                    .collect();
                losses.iter().sum()
            }
        };
        let (first, others) = self.parts.split_first_mut().expect("at least one part");
        others.iter().for_each(|part| part.columns.add_to(&mut first.columns));
        first.columns.write_to(&mut out.columns, 1.0);
        Some(losses)
    }
}

/// What all parts work on.
struct Task<'a> {
    queries: Side<'a>,
    keys: Side<'a>,
    row_payload: &'a Tiled,
    problem: &'a Pairwise<'a>,
    kept_rows: usize,
}

impl Part {
    /// Works on the rows from `first` on, one for each of `negative_weights`; returns their loss.
    fn work(
        &mut self,
        instructions: Instructions,
        task: &Task<'_>,
        first: usize,
        rows: &mut [f64],
        negative_weights: &mut [f64],
    ) -> f64 {
        let problem = task.problem;
        let p = problem.payload_dim;
        let Part { columns, block } = self;
        columns.clear(p, problem.count);
        let tolerated = CANCELLATION * (1.0 + problem.largest_logit);
        let mut loss = 0.0;
        let blocks = rows.chunks_mut(task.kept_rows * p).zip(negative_weights.chunks_mut(task.kept_rows));
        for (index, (rows, negative_weights)) in blocks.enumerate() {
            let first = first + index * task.kept_rows;
            let count = negative_weights.len();
            block.reset(count.div_ceil(ROWS), p, task.keys.points.chunks());
            instructions.run(FillBlock { task, rows: first..first + count, block });
            for (row, (sum, negative_weight)) in
                rows.chunks_exact_mut(p).zip(negative_weights.iter_mut()).enumerate()
            {
                let i = first + row;
                let result = Row::new(block.totals[row], problem.positive_logits[i]);
                loss += result.loss;
                *negative_weight = result.negative_weight;
                let sums = &block.sums[row * p..(row + 1) * p];
                let own = &problem.row_payload[i * p..(i + 1) * p];
                if finish_row(sums, own, &result, tolerated, sum) {
                    block.row.clear();
                    block.row.extend(kept_row(&block.kept, row, problem.count));
                    let weights = &block.row;
                    sum_differences(problem.original_payload, p, i, weights, result.normaliser, sum);
                }
                let scaled = &mut block.scaled[row / ROWS * ROWS * p..];
                let own = &problem.column_payload[i * p..(i + 1) * p];
                for (to, from) in scaled.iter_mut().skip(row % ROWS).step_by(ROWS).zip(own) {
                    *to = result.normaliser * from;
                }
            }
            instructions.run(AddColumns { task, tiles: count.div_ceil(ROWS), block, columns });
        }
        loss
    }
}

/// Writes the sums of a row times its normaliser, less its own payload; says whether too many digits were lost.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn finish_row(sums: &[f64], own: &[f64], row: &Row, tolerated: f64, out: &mut [f64]) -> bool {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = row.normaliser * sum;
    }
    subtract_own(out, own, row.negative_weight, tolerated)
}

impl Block {
    /// Makes room for the tiles of some rows; sums are zero, and rows that are not there are scaled by it.
    fn reset(&mut self, tiles: usize, p: usize, chunks: usize) {
        self.kept.reserve(tiles * ROWS, chunks * CHUNK);
        self.lanes.reserve(p, CHUNK);
        resize(&mut self.totals, tiles * ROWS);
        resize(&mut self.sums, tiles * ROWS * p);
        resize(&mut self.scaled, tiles * ROWS * p);
        self.totals.fill(0.0);
        self.sums.fill(0.0);
        // Rows of the last tile that are not there have weights of zero, which whatever was left here must not spoil.
        self.scaled[(tiles - 1) * ROWS * p..].fill(0.0);
    }
}

/// The weights of a row of a block up to their normaliser, in the order of the columns.
fn kept_row(kept: &Tiled, row: usize, count: usize) -> impl Iterator<Item = f64> {
    let chunks = count.div_ceil(CHUNK);
    let values = kept.values();
    (0..count).map(move |j| {
        let tile = row / ROWS * chunks + j / CHUNK;
        values[(tile * ROWS + row % ROWS) * CHUNK + j % CHUNK]
    })
}

/// Fills the block of `rows` with weights, and sums over its rows.
struct FillBlock<'a> {
    task: &'a Task<'a>,
    rows: Range<usize>,
    block: &'a mut Block,
}

impl Kernel for FillBlock<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let FillBlock { task, rows, block } = self;
        let (lanes, chunks, p) = (S::F64_LANES, task.keys.points.chunks(), task.row_payload.dim());
        let width = V * lanes;
        let Block { kept, totals, sums, lanes: lanes_of_rows, .. } = block;
        let kept = kept.values_mut();
        let lanes_of_rows = &mut lanes_of_rows.values_mut()[..p * ROWS * lanes];
        for panel in panels(chunks, p.max(task.keys.points.dim())) {
            for (tile_row, row) in rows.clone().step_by(ROWS).enumerate() {
                let mut of_rows = [simd.splat_f64s(0.0); ROWS];
                let first_column = panel.start * CHUNK;
                for column in (first_column..panel.end * CHUNK).step_by(width) {
                    let mut tile =
                        logits::<S, V>(simd, (task.queries, task.keys), Pairs::Ordered, (row, column));
                    let (chunk, at) = (column / CHUNK, column % CHUNK);
                    let first = (tile_row * chunks + chunk) * ROWS * CHUNK;
                    let kept = &mut kept[first..first + ROWS * CHUNK];
                    for_rows!(R, {
                        for v in 0..V {
                            tile[R][v] = exp2(simd, tile[R][v]);
                            of_rows[R] = simd.add_f64s(of_rows[R], tile[R][v]);
                        }
                        store_all(simd, kept, R * CHUNK + at, &tile[R]);
                    });
                    let others = task.row_payload.chunk(chunk).chunks_exact(CHUNK);
                    for (sums, others) in lanes_of_rows.chunks_exact_mut(ROWS * lanes).zip(others) {
                        add_to_rows(simd, &tile, others, (at, column == first_column), sums);
                    }
                }
                for (r, of_row) in of_rows.into_iter().enumerate() {
                    totals[tile_row * ROWS + r] += simd.reduce_sum_f64s(of_row);
                }
                for (k, of_lanes) in lanes_of_rows.chunks_exact(ROWS * lanes).enumerate() {
                    for r in 0..ROWS {
                        let sum = simd.reduce_sum_f64s(load(simd, of_lanes, r * lanes));
                        sums[(tile_row * ROWS + r) * p + k] += sum;
                    }
                }
            }
        }
    }
}

/// Adds what the rows of a block give to the columns.
struct AddColumns<'a> {
    task: &'a Task<'a>,
    tiles: usize,
    block: &'a Block,
    columns: &'a mut Tiled,
}

impl Kernel for AddColumns<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let AddColumns { task, tiles, block, columns } = self;
        let (lanes, chunks, p) = (S::F64_LANES, task.keys.points.chunks(), columns.dim());
        let kept = block.kept.values();
        let columns = columns.values_mut();
        for (chunk, sums) in columns.chunks_exact_mut(p * CHUNK).enumerate() {
            for tile_row in 0..tiles {
                let first = (tile_row * chunks + chunk) * ROWS * CHUNK;
                let kept = &kept[first..first + ROWS * CHUNK];
                let scaled = &block.scaled[tile_row * ROWS * p..(tile_row + 1) * ROWS * p];
                for at in (0..CHUNK).step_by(V * lanes) {
                    let mut tile = [[simd.splat_f64s(0.0); V]; ROWS];
                    for_rows!(R, {
                        tile[R] = load_all(simd, kept, R * CHUNK + at);
                    });
                    for (sums, own) in sums.chunks_exact_mut(CHUNK).zip(scaled.chunks_exact(ROWS)) {
                        add_to_columns(simd, &tile, own, sums, at);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dot;
    use super::super::hard_case_points;
    use super::super::pairwise::ColumnSum;
    use super::*;

    #[test]
    fn sums_are_those_of_the_general_kernel_on_every_instruction_set_and_number_of_threads() {
        for (n, d, p) in
            [(2, 1, 1), (3, 5, 2), (31, 16, 16), (33, 3, 7), (130, 16, 16), (1100, 4, 5), (4100, 2, 1)]
        {
            let (queries, keys) = (hard_case_points(d, n, 1), hard_case_points(d, n, 2));
            let (rows, columns) = (hard_case_points(p, n, 3), hard_case_points(p, n, 4));
            let positive_logits: Vec<f64> =
                queries.chunks(d).zip(keys.chunks(d)).map(|(q, k)| 0.8 * dot(q, k)).collect();
            let problem = Pairwise {
                dim: d,
                payload_dim: p,
                count: n,
                queries: &queries,
                keys: &keys,
                scale: 0.8,
                key_bias: None,
                largest_logit: positive_logits.iter().fold(0.0, |l, logit| l.max(logit.abs())),
                positive_logits: &positive_logits,
                row_payload: &rows,
                column_payload: &columns,
                original_payload: &rows,
                column_sum: ColumnSum::Plain,
            };
            let mut expected = PairwiseSums::default();
            let expected_loss = expected.compute(&problem);
            // Both carry errors of ε (1 + largest logit) times terms of at most about 4 N.
            let tolerance = 100.0 * f64::EPSILON * (1.0 + problem.largest_logit) * 4.0 * n as f64;
            for instructions in Instructions::all() {
                let run = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let (mut kernel, mut sums) = (Directed::default(), PairwiseSums::default());
                    let loss = pool.install(|| kernel.compute(instructions, &problem, &mut sums)).unwrap();
                    (loss, sums.rows, sums.columns, sums.negative_weight)
                };
                let result = run(1);
                assert_eq!(result, run(3), "{n} points, {instructions:?}: bits depend on threads");
                let (loss, rows, columns, weights) = result;
                assert!((loss - expected_loss).abs() <= tolerance, "{n}, {instructions:?}");
                for (values, expected) in [
                    (&rows, &expected.rows),
                    (&columns, &expected.columns),
                    (&weights, &expected.negative_weight),
                ] {
                    let worst = values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(
                        worst <= tolerance,
                        "{n} points, {instructions:?}: {worst:e} against {tolerance:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_an_earlier_problem_left_behind_does_not_spoil_rows_that_are_not_there() {
        let points = [0.5; 8];
        let solve = |kernel: &mut Directed, instructions, count: usize, payload: f64| {
            let payload = vec![payload; count];
            let problem = Pairwise {
                dim: 1,
                payload_dim: 1,
                count,
                queries: &points[..count],
                keys: &points[..count],
                scale: 1.0,
                key_bias: None,
                largest_logit: 0.25,
                positive_logits: &points[..count],
                row_payload: &payload,
                column_payload: &payload,
                original_payload: &payload,
                column_sum: ColumnSum::Plain,
            };
            let mut sums = PairwiseSums::default();
            kernel.compute(instructions, &problem, &mut sums).unwrap();
            sums.columns
        };
        for instructions in Instructions::all() {
            let mut kernel = Directed::default();
            let broken = solve(&mut kernel, instructions, 8, f64::INFINITY);
            assert!(broken.iter().all(|value| !value.is_finite()));
            let whole = solve(&mut kernel, instructions, 6, 1.0);
            assert_eq!(whole, solve(&mut Directed::default(), instructions, 6, 1.0));
        }
    }

    #[test]
    fn logits_that_may_leave_the_range_and_numbers_that_are_none_are_left_to_the_general_kernel() {
        let refused = |value: f64| {
            let points = [value, 1.0, 1.0, 1.0];
            let problem = Pairwise {
                dim: 1,
                payload_dim: 1,
                count: 4,
                queries: &points,
                keys: &points,
                scale: 1.0,
                key_bias: None,
                largest_logit: 0.0,
                positive_logits: &points,
                row_payload: &points,
                column_payload: &points,
                original_payload: &points,
                column_sum: ColumnSum::Plain,
            };
            Instructions::all().into_iter().all(|instructions| {
                Directed::default().compute(instructions, &problem, &mut PairwiseSums::default()).is_none()
            })
        };
        assert!(refused(18.0) && refused(f64::NAN) && refused(f64::INFINITY));
        assert!(Instructions::all().is_empty() || !refused(17.0));
    }
}
