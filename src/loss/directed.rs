//! The fast kernel where weights are normalised by their row alone and logits are bounded: the dot and the one-directional
//! cosine loss.
//!
//! Where sums of keys are wanted, too, queries are the rows of tiles, and the weights of some rows at a time are kept until their
//! normalisers are known, so that each exponential is computed once. Where sums of queries are all that is wanted, these are the
//! columns of tiles, whose sums no vector has to be added up for.
//!
//! Cost of a pair, in flops of multiply-adds, with d the dimension of points and p that of the payload: 2 d + 4 p + 14 with AVX-512, 6 more
//! with AVX2; 2 p less without sums of keys. A row of which digits cancelled costs that of eight more. Memory: a few times N (d + p),
//! and [`KEPT`] weights a part.

use super::mutual::{Sums, panels};
use super::pairwise::{CANCELLATION, TERMS_IN_TURN, parts_of, resize, sum_differences};
use super::softmax::Softmax;
use super::tile::{
    AddMultiples, CHUNK, LARGEST_LOGIT, LongSums, OwnProducts, Pairs, ROWS, Side, SubtractOwn, Tiled,
    add_to_columns, add_to_rows, exclude, for_rows, logits,
};
use super::vectors::{Instructions, Kernel, Vectors, add_all, load, load_all, store_all};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::ops::Range;

/// Weights that are kept at a time: 2 MiB, more than which would be slower to read again than to compute.
const KEPT: usize = 1 << 18;

/// Queries that are worked on at a time at most where sums of keys are wanted, too. Parts begin at multiples of it, and so with a
/// whole chunk, where they are not.
const ROWS_AT_A_TIME: usize = 2 * CHUNK;

/// Keys that are summed in turn where sums of queries are all that is wanted: a result is the ratio of two such sums, of payloads and
/// of weights.
const KEYS_IN_TURN: usize = TERMS_IN_TURN / 2;

/// What the logits of padding are lowered by: its weights are less than what rounding leaves of any sum.
const PADDING: f64 = 2.0 * LARGEST_LOGIT;

/// Logits l_ij = s q_i·k_j of N queries and keys, of which the pairs i = j are positive, and what their softmax weights
/// α_ij = exp(l_ij) / Σ_j exp(l_ij) multiply. Matrices are column-major with one sample a column.
pub(super) struct Queries<'a> {
    /// Dimension d of queries and keys.
    pub dim: usize,
    /// Dimension p of the payloads.
    pub payload_dim: usize,
    /// q, d x N.
    pub queries: &'a [f64],
    /// k, d x N.
    pub keys: &'a [f64],
    /// s.
    pub scale: f64,
    /// c and r, p x N, where they are not queries and keys.
    pub payloads: Option<(&'a [f64], &'a [f64])>,
}

impl<'a> Queries<'a> {
    /// c and r.
    pub fn payloads(&self) -> (&'a [f64], &'a [f64]) {
        self.payloads.unwrap_or((self.queries, self.keys))
    }
}

/// The memory that the kernel needs.
#[derive(Debug, Default)]
pub(super) struct Directed {
    queries: Tiled,
    keys: Tiled,
    bias: Tiled,
    query_payload: Tiled,
    key_payload: Tiled,
    positive_logits: Tiled,
    negative_weights: Vec<f64>,
    parts: Vec<Part>,
}

/// What one of several independent parts of the work, a range of rows, accumulates; see `mutual`.
#[derive(Debug, Default)]
struct Part {
    columns: LongSums,
    block: Block,
}

/// Some rows.
#[derive(Debug, Default)]
struct Block {
    /// Weights up to their normaliser, in tiles of 4 x 32, where sums of columns are wanted.
    kept: Tiled,
    /// Their sums, one a row.
    totals: Vec<f64>,
    /// Sums of weighted payloads, lane by lane, or of a chunk of columns.
    lanes: Tiled,
    /// Sums of weighted payloads of whole chunks of columns, where sums of queries are all that is wanted.
    sums: Tiled,
    softmax: Softmax,
    /// Rows of which too many digits were lost.
    cancelled: Vec<u32>,
    /// Query payloads of the rows times their normalisers.
    scaled: Tiled,
    factors: Tiled,
    /// Weights of one row.
    row: Tiled,
}

/// The largest |value|; NaN where one is.
fn largest(values: &[f64]) -> f64 {
    let larger = |largest: f64, value: f64| {
        if largest.is_nan() || value.abs() <= largest { largest } else { value.abs() }
    };
    values.iter().copied().fold(0.0, larger)
}

impl Directed {
    /// Solves `problem`: writes `factor` times Σ_{j≠i} α_ij (r_j - r_i) to `of_queries` and, where they are wanted, `factor` times
    /// Σ_{i≠j} α_ij c_i - (1 - α_jj) c_j to `of_keys` (p x N), and returns Σ_i log Σ_j exp(l_ij) - l_ii; or nothing where logits may be
    /// too large, or those of a row too small, for this kernel.
    pub fn compute(
        &mut self,
        instructions: Instructions,
        problem: &Queries<'_>,
        factor: f64,
        of_queries: &mut [f64],
        of_keys: Option<&mut [f64]>,
    ) -> Option<f64> {
        let (d, p) = (problem.dim, problem.payload_dim);
        let n = problem.queries.len() / d;
        let scale = problem.scale * std::f64::consts::LOG2_E;
        self.queries.load(d, problem.queries, scale);
        self.keys.load(d, problem.keys, 1.0);
        let mut longest = |points: &Tiled| {
            let products = &mut self.positive_logits;
            instructions.run(OwnProducts { sides: (points, points), factor: 1.0, products });
            largest(products.points()).sqrt()
        };
        let bound = longest(&self.queries) * longest(&self.keys);
        if bound.is_nan() || bound > LARGEST_LOGIT {
            return None;
        }
        instructions.run(OwnProducts {
            sides: (&self.queries, &self.keys),
            factor: std::f64::consts::LN_2,
            products: &mut self.positive_logits,
        });
        self.bias.clear(1, n);
        self.bias.exclude_padding(PADDING);
        if let Some((queries, keys)) = problem.payloads {
            if of_keys.is_some() {
                self.query_payload.load(p, queries, 1.0);
            }
            self.key_payload.load(p, keys, 1.0);
        }
        let Directed { queries, keys, bias, query_payload, key_payload, positive_logits, .. } = self;
        let (query_payload, key_payload, unscale) = match problem.payloads {
            Some(_) => (&*query_payload, &*key_payload, 1.0),
            None => (&*queries, &*keys, scale.recip()),
        };
        let task = Task {
            queries: Side { points: queries, bias: None },
            keys: Side { points: keys, bias: Some(bias) },
            query_payload,
            key_payload,
            unscale,
            positive_logits: positive_logits.points(),
            tolerated: CANCELLATION * (1.0 + largest(positive_logits.points())),
            factor,
            problem,
            has_columns: of_keys.is_some(),
        };
        let kept_rows = if task.has_columns { KEPT / (keys.chunks() * CHUNK) } else { ROWS_AT_A_TIME };
        let block_rows = kept_rows.clamp(ROWS, ROWS_AT_A_TIME) / ROWS * ROWS;
        // Without sums of keys parts have nothing that would have to be added up. Twice as many end more nearly together, where each
        // still takes long against waking a thread.
        let shares = parts_of(n) * if task.has_columns || n < 2048 { 1 } else { 2 };
        let length = n.div_ceil(shares * block_rows) * block_rows;
        let weights = &mut self.negative_weights;
        resize(weights, n);
        if self.parts.len() < shares {
            self.parts.resize_with(shares, Part::default);
        }
        let parts = &mut self.parts[..shares];
        let losses: f64 = match &mut *parts {
            [part] => part.work(instructions, &task, block_rows, 0, of_queries, weights),
            parts => {
                let results = of_queries.par_chunks_mut(length * p).zip(weights.par_chunks_mut(length));
                let losses: Vec<f64> = parts
                    .par_iter_mut()
                    .zip(results)
                    .enumerate()
                    .map(|(index, (part, (rows, weights)))| {
                        part.work(instructions, &task, block_rows, index * length, rows, weights)
                    })
                    .collect();
                losses.iter().sum()
            }
        };
        if losses.is_nan() {
            return None;
        }
        let Some(of_keys) = of_keys else { return Some(losses) };
        let (first, others) = parts.split_first_mut().expect("at least one part");
        let columns = first.columns.finish();
        others.iter_mut().for_each(|part| part.columns.finish().add_to(columns));
        // What is no longer needed of the logits makes room.
        let factors = &mut self.positive_logits;
        factors.load(1, &self.negative_weights, -unscale);
        instructions.run(AddMultiples {
            sums: columns.values_mut(),
            factors: factors.values(),
            points: query_payload.values(),
        });
        columns.write_to(of_keys, factor);
        Some(losses)
    }
}

/// What all parts work on.
struct Task<'a> {
    queries: Side<'a>,
    keys: Side<'a>,
    /// c, and what it must be multiplied by.
    query_payload: &'a Tiled,
    unscale: f64,
    /// r.
    key_payload: &'a Tiled,
    positive_logits: &'a [f64],
    /// By how much a sum may be smaller than its terms.
    tolerated: f64,
    factor: f64,
    problem: &'a Queries<'a>,
    /// Whether sums of columns are wanted.
    has_columns: bool,
}

impl Part {
    /// Works on the rows from `first` on, one for each of `negative_weights`; returns their loss.
    fn work(
        &mut self,
        instructions: Instructions,
        task: &Task<'_>,
        block_rows: usize,
        first: usize,
        rows: &mut [f64],
        negative_weights: &mut [f64],
    ) -> f64 {
        let p = task.problem.payload_dim;
        let Part { columns, block } = self;
        if !task.has_columns {
            return block.sum_over_keys(instructions, task, first, rows, negative_weights);
        }
        columns.clear(p, task.positive_logits.len());
        let (mut loss, mut in_turn) = (0.0, 0);
        let blocks = rows.chunks_mut(block_rows * p).zip(negative_weights.chunks_mut(block_rows));
        for (index, (rows, negative_weights)) in blocks.enumerate() {
            let first = first + index * block_rows;
            let range = first..first + negative_weights.len();
            block.reset(range.len().div_ceil(ROWS), task);
            rows.fill(0.0);
            instructions.run(FillBlock { task, rows: range.clone(), block, sums: rows });
            loss += block.softmax.compute(&block.totals[..range.len()], &task.positive_logits[range.clone()]);
            negative_weights.copy_from_slice(&block.softmax.negative_weights);
            block.finish_rows(instructions, task, first, rows);
            block.scale_payload(instructions, task, range.clone());
            if in_turn + range.len() > TERMS_IN_TURN {
                columns.begin_anew(0..task.keys.points.chunks());
                in_turn = 0;
            }
            in_turn += range.len();
            instructions.run(AddColumns { task, rows: range, block, columns: columns.recent() });
        }
        loss
    }
}

impl Block {
    /// Makes room for the tiles of some rows; sums are zero.
    fn reset(&mut self, tiles: usize, task: &Task<'_>) {
        self.kept.reserve(tiles * ROWS, task.keys.points.chunks() * CHUNK);
        self.lanes.reserve(task.problem.payload_dim, CHUNK);
        resize(&mut self.totals, tiles * ROWS);
        self.totals.fill(0.0);
    }

    /// [`Part::work`] where sums of queries are all that is wanted; `first` begins a chunk.
    fn sum_over_keys(
        &mut self,
        instructions: Instructions,
        task: &Task<'_>,
        first: usize,
        rows: &mut [f64],
        negative_weights: &mut [f64],
    ) -> f64 {
        let (p, count) = (task.problem.payload_dim, negative_weights.len());
        self.sums.clear(p, count);
        self.lanes.reserve(p, CHUNK);
        self.totals.clear();
        self.totals.resize(self.sums.chunks() * CHUNK, 0.0);
        let Block { sums, lanes, totals, .. } = self;
        instructions.run(SumOverKeys { task, first, sums, recent: lanes, totals });
        self.sums.write_to(rows, 1.0);
        let loss = self.softmax.compute(&self.totals[..count], &task.positive_logits[first..first + count]);
        negative_weights.copy_from_slice(&self.softmax.negative_weights);
        self.finish_rows(instructions, task, first, rows);
        loss
    }

    /// Lets the sums of the rows from `first` on be their results.
    fn finish_rows(&mut self, instructions: Instructions, task: &Task<'_>, first: usize, rows: &mut [f64]) {
        let p = task.problem.payload_dim;
        let (_, payload) = task.problem.payloads();
        let own = &payload[first * p..first * p + rows.len()];
        instructions.run(SubtractOwn {
            sums: rows,
            normalisers: Some(&self.softmax.normalisers),
            weights: &self.softmax.negative_weights,
            own,
            tolerated: task.tolerated,
            cancelled: &mut self.cancelled,
        });
        for &row in &self.cancelled {
            let row = row as usize;
            let weights = &mut self.row;
            instructions.run(WeightsOfRow { task, row: first + row, weights });
            let weights = weights.points();
            let sum = &mut rows[row * p..(row + 1) * p];
            sum_differences(payload, p, first + row, weights, self.softmax.normalisers[row], sum);
        }
        rows.iter_mut().for_each(|value| *value *= task.factor);
    }

    /// Multiplies the query payloads of `rows` by normalisers; those of rows that are not there are zero.
    fn scale_payload(&mut self, instructions: Instructions, task: &Task<'_>, rows: Range<usize>) {
        let p = task.problem.payload_dim;
        let chunks = rows.start / CHUNK..rows.end.div_ceil(CHUNK);
        let padded = chunks.len() * CHUNK;
        self.factors.clear(1, padded);
        let factors = &mut self.factors.values_mut()[rows.start % CHUNK..];
        for (factor, normaliser) in factors.iter_mut().zip(&self.softmax.normalisers) {
            *factor = task.unscale * normaliser;
        }
        self.scaled.clear(p, padded);
        instructions.run(AddMultiples {
            sums: self.scaled.values_mut(),
            factors: self.factors.values(),
            points: &task.query_payload.values()[chunks.start * CHUNK * p..chunks.end * CHUNK * p],
        });
    }
}

/// Writes the weights of a row up to their normaliser.
struct WeightsOfRow<'a> {
    task: &'a Task<'a>,
    row: usize,
    weights: &'a mut Tiled,
}

impl Kernel for WeightsOfRow<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let WeightsOfRow { task, row, weights } = self;
        weights.reserve(1, task.positive_logits.len());
        let weights = weights.values_mut();
        let first = row / ROWS * ROWS;
        for column in (0..weights.len()).step_by(V * S::F64_LANES) {
            let mut tile = logits::<S, V>(simd, (task.queries, task.keys), (first, column));
            for_rows!(R, {
                if first + R == row {
                    for v in 0..V {
                        tile[R][v] = simd.exp2(tile[R][v]);
                    }
                    store_all(simd, weights, column, &tile[R]);
                }
            });
        }
    }
}

/// Weights up to their normaliser of the tile that begins at (`row`, `column`).
#[inline(always)]
fn weights_of_tile<S: Vectors, const V: usize>(
    simd: S,
    sides: (Side<'_>, Side<'_>),
    (row, column): (usize, usize),
) -> [[S::f64s; V]; ROWS] {
    let mut tile = logits::<S, V>(simd, sides, (row, column));
    for_rows!(R, {
        for v in 0..V {
            tile[R][v] = simd.exp2(tile[R][v]);
        }
    });
    exclude(simd, Pairs::Ordered, (row, column), 0.0, &mut tile);
    tile
}

/// Sums over the keys of some queries, whose chunks are the columns of tiles.
struct SumOverKeys<'a> {
    task: &'a Task<'a>,
    /// The first query.
    first: usize,
    /// Of weighted payloads, zero at first.
    sums: &'a mut Tiled,
    /// Of one chunk, over the keys that are summed in turn.
    recent: &'a mut Tiled,
    /// Of weights, zero at first.
    totals: &'a mut [f64],
}

impl Kernel for SumOverKeys<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let SumOverKeys { task, first, sums, recent, totals } = self;
        let keys = task.keys.points.count();
        let (width, size) = (V * S::F64_LANES, sums.dim() * CHUNK);
        let recent = recent.values_mut();
        for in_turn in (0..keys).step_by(KEYS_IN_TURN) {
            let in_turn = in_turn..keys.min(in_turn + KEYS_IN_TURN);
            let chunks = sums.values_mut().chunks_exact_mut(size).zip(totals.chunks_exact_mut(CHUNK));
            for (chunk, (sums, totals)) in chunks.enumerate() {
                recent.fill(0.0);
                for at in (0..CHUNK).step_by(width) {
                    let mut total = [simd.splat_f64s(0.0); V];
                    for key in in_turn.clone().step_by(ROWS) {
                        let tile = (key, first + chunk * CHUNK + at);
                        let tile = weights_of_tile::<S, V>(simd, (task.keys, task.queries), tile);
                        for_rows!(R, {
                            for v in 0..V {
                                total[v] = simd.add_f64s(total[v], tile[R][v]);
                            }
                        });
                        let payload = task.key_payload.chunk(key / CHUNK).chunks_exact(CHUNK);
                        for (recent, payload) in recent.chunks_exact_mut(CHUNK).zip(payload) {
                            let own = &payload[key % CHUNK..key % CHUNK + ROWS];
                            add_to_columns(simd, &tile, own, recent, at);
                        }
                    }
                    add_all(simd, totals, at, &total);
                }
                for at in (0..size).step_by(width) {
                    let recent: [S::f64s; V] = load_all(simd, recent, at);
                    add_all(simd, sums, at, &recent);
                }
            }
        }
    }
}

/// Fills the block of `rows` with weights, and sums over its rows.
struct FillBlock<'a> {
    task: &'a Task<'a>,
    rows: Range<usize>,
    block: &'a mut Block,
    /// Of weighted payloads, p x rows.
    sums: &'a mut [f64],
}

impl Kernel for FillBlock<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let FillBlock { task, rows, block, sums } = self;
        let (lanes, chunks, p) = (S::F64_LANES, task.keys.points.chunks(), task.key_payload.dim());
        let width = V * lanes;
        let Block { kept, totals, lanes: lanes_of_rows, .. } = block;
        let kept = kept.values_mut();
        let lanes_of_rows = &mut lanes_of_rows.values_mut()[..p * ROWS * lanes];
        for panel in panels(chunks, Sums::Both.panel_width(chunks, p.max(task.keys.points.dim()))) {
            for (tile_row, row) in rows.clone().step_by(ROWS).enumerate() {
                let mut of_rows = [simd.splat_f64s(0.0); ROWS];
                let first_column = panel.start * CHUNK;
                for column in (first_column..panel.end * CHUNK).step_by(width) {
                    let tile = weights_of_tile::<S, V>(simd, (task.queries, task.keys), (row, column));
                    let (chunk, at) = (column / CHUNK, column % CHUNK);
                    for_rows!(R, {
                        for v in 0..V {
                            of_rows[R] = simd.add_f64s(of_rows[R], tile[R][v]);
                        }
                    });
                    let first = (tile_row * chunks + chunk) * ROWS * CHUNK;
                    let kept = &mut kept[first..first + ROWS * CHUNK];
                    for_rows!(R, {
                        store_all(simd, kept, R * CHUNK + at, &tile[R]);
                    });
                    let others = task.key_payload.chunk(chunk).chunks_exact(CHUNK);
                    for (sums, others) in lanes_of_rows.chunks_exact_mut(ROWS * lanes).zip(others) {
                        add_to_rows(simd, &tile, others, (at, column == first_column), sums);
                    }
                }
                for (r, of_row) in of_rows.into_iter().enumerate() {
                    totals[tile_row * ROWS + r] += simd.reduce_sum_f64s(of_row);
                }
                // The last tile may have rows that are not there.
                let sums = sums[tile_row * ROWS * p..].chunks_exact_mut(p).take(ROWS);
                for (r, sums) in sums.enumerate() {
                    for (sum, of_lanes) in sums.iter_mut().zip(lanes_of_rows.chunks_exact(ROWS * lanes)) {
                        *sum += simd.reduce_sum_f64s(load(simd, of_lanes, r * lanes));
                    }
                }
            }
        }
    }
}

/// Adds what `rows`, those of a block, give to the columns.
struct AddColumns<'a> {
    task: &'a Task<'a>,
    rows: Range<usize>,
    block: &'a Block,
    /// Sums of weighted payloads, in tiles.
    columns: &'a mut [f64],
}

impl Kernel for AddColumns<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let AddColumns { task, rows, block, columns } = self;
        let (lanes, chunks, p) = (S::F64_LANES, task.keys.points.chunks(), task.query_payload.dim());
        let kept = block.kept.values();
        let first_chunk = rows.start / CHUNK;
        for (chunk, sums) in columns.chunks_exact_mut(p * CHUNK).enumerate() {
            for (tile_row, row) in rows.clone().step_by(ROWS).enumerate() {
                let first = (tile_row * chunks + chunk) * ROWS * CHUNK;
                let kept = &kept[first..first + ROWS * CHUNK];
                let (scaled, row_at) = (block.scaled.chunk(row / CHUNK - first_chunk), row % CHUNK);
                for at in (0..CHUNK).step_by(V * lanes) {
                    let mut tile = [[simd.splat_f64s(0.0); V]; ROWS];
                    for_rows!(R, {
                        tile[R] = load_all(simd, kept, R * CHUNK + at);
                    });
                    for (sums, own) in sums.chunks_exact_mut(CHUNK).zip(scaled.chunks_exact(CHUNK)) {
                        add_to_columns(simd, &tile, &own[row_at..row_at + ROWS], sums, at);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Workspace;
    use super::super::hard_case_points;
    use super::super::infonce_dot::directed_of_any_size;
    use super::*;

    #[test]
    fn results_are_those_of_the_general_kernel_on_every_instruction_set_and_number_of_threads() {
        let mut used: Vec<Directed> = Instructions::all().iter().map(|_| Directed::default()).collect();
        for (n, d, p) in [
            (2, 1, 1),
            (3, 5, 2),
            (31, 16, 16),
            (33, 3, 7),
            (70, 16, 16),
            (130, 16, 16),
            (1100, 4, 5),
            (4100, 2, 1),
            (9000, 1, 2),
            // Fewer parts than before.
            (2100, 3, 3),
        ] {
            let (queries, keys) = (hard_case_points(d, n, 1), hard_case_points(d, n, 2));
            let payloads = (hard_case_points(p, n, 4), hard_case_points(p, n, 3));
            let problem = Queries {
                dim: d,
                payload_dim: p,
                queries: &queries,
                keys: &keys,
                scale: 0.8,
                // Where it may be, what is multiplied are queries and keys themselves.
                payloads: (p != d).then_some((&payloads.0, &payloads.1)),
            };
            let empty = || (vec![0.0; p * n], vec![0.0; p * n]);
            let mut expected = empty();
            let expected_loss = directed_of_any_size(
                &problem,
                1.5,
                &mut Workspace::default(),
                &mut expected.0,
                &mut expected.1,
            );
            // Both carry errors of ε (1 + largest logit) times terms of at most about 4 N.
            let largest_logit = 0.8 * queries.iter().chain(&keys).map(|x| x * x).sum::<f64>() / n as f64;
            let tolerance = 100.0 * f64::EPSILON * (1.0 + largest_logit) * 4.0 * n as f64;
            for (instructions, used) in Instructions::all().into_iter().zip(&mut used) {
                let run = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let (mut kernel, mut out) = (Directed::default(), empty());
                    let mut alone = vec![0.0; p * n];
                    let losses = pool.install(|| {
                        let both = kernel.compute(instructions, &problem, 1.5, &mut out.0, Some(&mut out.1));
                        [both, kernel.compute(instructions, &problem, 1.5, &mut alone, None)]
                            .map(Option::unwrap)
                    });
                    (losses, out.0, out.1, alone)
                };
                let result = run(1);
                assert_eq!(result, run(3), "{n} points, {instructions:?}: bits depend on threads");
                let (losses, of_queries, of_keys, alone) = result;
                let mut again = [(); 3].map(|()| vec![f64::NAN; p * n]);
                let [rows, columns, rows_alone] = &mut again;
                used.compute(instructions, &problem, 1.5, rows_alone, None);
                used.compute(instructions, &problem, 1.5, rows, Some(columns));
                let after_others = [&of_queries, &of_keys, &alone];
                assert_eq!(
                    again.each_ref(),
                    after_others,
                    "{n} points, {instructions:?}: after other problems"
                );
                for loss in losses {
                    assert!((loss - expected_loss).abs() <= tolerance, "{n}, {instructions:?}");
                }
                let sums = [(&of_queries, &expected.0), (&of_keys, &expected.1), (&alone, &expected.0)];
                for (values, expected) in sums {
                    let worst = values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(
                        worst <= tolerance,
                        "{n} points, {instructions:?}: {worst:e} against {tolerance:e}"
                    );
                }
            }
        }
    }

    /// What the first `count` of these points give to their keys, with this value as everyone's payload.
    fn of_keys(kernel: &mut Directed, instructions: Instructions, count: usize, payload: f64) -> Vec<f64> {
        let points = [0.5; 8];
        let payload = vec![payload; count];
        let problem = Queries {
            dim: 1,
            payload_dim: 1,
            queries: &points[..count],
            keys: &points[..count],
            scale: 1.0,
            payloads: Some((&payload, &payload)),
        };
        let (mut of_queries, mut of_keys) = (vec![0.0; count], vec![0.0; count]);
        kernel.compute(instructions, &problem, 1.0, &mut of_queries, Some(&mut of_keys)).unwrap();
        of_keys
    }

    #[test]
    fn what_an_earlier_problem_left_behind_does_not_spoil_rows_that_are_not_there() {
        for instructions in Instructions::all() {
            let mut kernel = Directed::default();
            let broken = of_keys(&mut kernel, instructions, 8, f64::INFINITY);
            assert!(broken.iter().all(|value| !value.is_finite()));
            let whole = of_keys(&mut kernel, instructions, 6, 1.0);
            assert_eq!(whole, of_keys(&mut Directed::default(), instructions, 6, 1.0));
        }
    }

    #[test]
    fn logits_that_may_leave_the_range_and_numbers_that_are_none_are_left_to_the_general_kernel() {
        let refused = |queries: [f64; 4], keys: [f64; 4]| {
            let (queries, keys) = (&queries, &keys);
            let problem = Queries { dim: 1, payload_dim: 1, queries, keys, scale: 1.0, payloads: None };
            let mut out = ([0.0; 4], [0.0; 4]);
            Instructions::all().into_iter().all(|instructions| {
                let mut kernel = Directed::default();
                kernel.compute(instructions, &problem, 1.0, &mut out.0, Some(&mut out.1)).is_none()
            })
        };
        let with = |value: f64| [value, 1.0, 1.0, 1.0];
        assert!([18.0, f64::NAN, f64::INFINITY].into_iter().all(|value| refused(with(value), with(value))));
        // All logits of the first row are -289: its weights add up to less than this kernel's numbers.
        assert!(refused(with(-17.0), [17.0; 4]));
        assert!(Instructions::all().is_empty() || !refused(with(17.0), with(17.0)));
    }
}
