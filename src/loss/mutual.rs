//! The fast kernel where each weight is normalised by its row and by its column: Eq. 2, whose kernel is symmetric, and the
//! symmetric cosine loss.
//!
//! With kernel values K_ij = 2^t_ij and normalisers n_i of rows and m_j of columns, all sums are formed with the weights
//! w_ij = K_ij (n_i + m_j). The normalisers need the sums of K first, so that there are two passes; of K the second keeps what fits
//! a buffer of fixed size and computes the rest again. Where K is symmetric each pair i < j serves both of its rows.
//!
//! Cost for a pair that is computed, in flops of multiply-adds, with d the dimension of points and p that of the payload: 4 d + 4 p + 30 with
//! AVX-512, 12 more with AVX2; 2 d + 14 (20) less where it is kept, 2 p less where payloads are summed over columns alone. Memory: a few
//! times N (d + p), and [`KEPT`] values.

use super::pairwise::{TERMS_IN_TURN, parts_of};
use super::tile::{
    CHUNK, LongSums, OwnProducts, Pairs, ROWS, Side, Tiled, add_to_columns, add_to_rows, exclude, for_rows,
    logits,
};
use super::vectors::{Instructions, Kernel, Vectors, add_all, exp2_or_zero, load, load_all, store_all};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use std::ops::Range;

/// One side of a problem: rows or columns.
#[derive(Debug, Default)]
pub(super) struct MutualSide {
    points: Tiled,
    bias: Tiled,
    payload: Tiled,
    separate_payload: bool,
    normaliser: Tiled,
}

impl MutualSide {
    /// Takes over `factor` times `points` (d x N) without biases, and what the weights multiply: a payload (p x N), or the
    /// points themselves, times `factor` as they are kept.
    pub fn load(&mut self, dim: usize, points: &[f64], factor: f64, payload: Option<(&[f64], usize)>) {
        self.points.load(dim, points, factor);
        self.bias.clear(1, points.len() / dim);
        self.bias.exclude_padding(f64::INFINITY);
        self.separate_payload = payload.is_some();
        if let Some((payload, p)) = payload {
            self.payload.load(p, payload, 1.0);
        }
    }

    /// Lets half the square of each point be its bias, so that kernel values are 2^(-|x_i - x_j|²/2).
    pub fn set_half_squares(&mut self, instructions: Instructions) {
        let MutualSide { points, bias, .. } = self;
        instructions.run(OwnProducts { sides: (points, points), factor: 0.5, products: bias });
        bias.exclude_padding(f64::INFINITY);
    }

    /// Sets the normalisers, one a point.
    pub fn set_normalisers(&mut self, normalisers: &[f64]) {
        self.normaliser.load(1, normalisers, 1.0);
    }

    /// The points times their factor.
    pub fn points(&self) -> &Tiled {
        &self.points
    }

    /// The largest half square of a point.
    pub fn largest_half_square(&self) -> f64 {
        self.bias.points().iter().copied().fold(0.0, f64::max)
    }

    fn largest_dim(&self) -> usize {
        self.points.dim().max(self.payload().dim())
    }

    fn side(&self) -> Side<'_> {
        Side { points: &self.points, bias: Some(&self.bias) }
    }

    fn payload(&self) -> &Tiled {
        if self.separate_payload { &self.payload } else { &self.points }
    }
}

/// Sums over rows and over columns.
#[derive(Debug, Default)]
pub(super) struct MutualSums {
    parts: Vec<Part>,
    of_payloads: Sums,
}

/// Which sums of payloads are formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sums {
    /// Over rows and over columns.
    #[default]
    Both,
    /// Over the rows of each column.
    OfColumns,
}

impl Sums {
    /// How many of `chunks` of columns are worked on at a time, with points and payloads of at most `dim` coordinates: the sums of
    /// columns stay in the first-level cache; where sums of rows have to be added up after each panel, points and sums stay in the
    /// second. Rows are never summed over more panels than terms are in turn.
    pub fn panel_width(self, chunks: usize, dim: usize) -> usize {
        let width = match self {
            Sums::Both => 256 / dim,
            Sums::OfColumns => 64 / dim,
        };
        width.clamp(1, 16).max(chunks.div_ceil(TERMS_IN_TURN))
    }
}

/// Kernel values that are kept from the first pass to the second, 4 MiB: those of the first tiles. The others are computed again.
const KEPT: usize = 1 << 19;

/// Tiles whose columns are summed in turn.
const TILES_IN_TURN: usize = TERMS_IN_TURN / ROWS;

/// What one of several independent parts of the work accumulates. Parts depend on N alone and are added in their order, so
/// that the bits do not depend on the number of threads.
#[derive(Debug, Default)]
struct Part {
    /// Sums of values or weights over the columns of a row, and over the rows of a column.
    row_weights: Tiled,
    column_weights: LongSums,
    /// Sums of weighted payloads.
    rows: Tiled,
    columns: LongSums,
    /// Sums of the rows of a tile, lane by lane.
    lanes: Tiled,
    /// Kernel values of the first tiles, one tile after the other.
    kept: Tiled,
}

/// Columns that are worked on at a time, `width` chunks of them.
pub(super) fn panels(chunks: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..chunks).step_by(width).map(move |first| first..(first + width).min(chunks))
}

/// Lets each part do its share, on as many threads as are idle.
fn share(parts: &mut [Part], work: impl Fn(usize, &mut Part) + Sync) {
    match parts {
        [part] => work(0, part),
        parts => parts.par_iter_mut().enumerate().for_each(|(index, part)| work(index, part)),
    }
}

impl MutualSums {
    /// Forms Σ_j K_ij and Σ_i K_ij, for [`MutualSums::row_weights`] and [`MutualSums::column_weights`], in an order that suits the sums of
    /// payloads that [`MutualSums::weighted_sums`] is to form.
    pub fn kernel_sums(
        &mut self,
        instructions: Instructions,
        (rows, columns): (&MutualSide, &MutualSide),
        pairs: Pairs,
        of_payloads: Sums,
    ) {
        self.of_payloads = of_payloads;
        let count = rows.points.count();
        let shares = parts_of(count);
        self.parts.resize_with(shares, Part::default);
        share(&mut self.parts, |index, part| {
            part.row_weights.clear(1, count);
            part.column_weights.clear(1, count);
            // Padding counts: whole tiles are kept.
            let padded = rows.points.chunks() * CHUNK;
            part.kept.reserve(1, (KEPT / shares).min(padded * padded));
            let share = (index, shares);
            instructions.run(KernelSums { share, sides: (rows, columns), pairs, of_payloads, part });
        });
        self.unite(pairs, |part| [&mut part.row_weights, part.column_weights.finish()]);
    }

    /// With r and c the payloads of rows and columns: forms Σ_j w_ij c_j and Σ_j w_ij for each row, Σ_i w_ij r_i and Σ_i w_ij for
    /// each column. Of unordered pairs rows get what both get. Where payloads are summed over columns alone rows have no such sums, and
    /// columns keep theirs.
    pub fn weighted_sums(
        &mut self,
        instructions: Instructions,
        (rows, columns): (&MutualSide, &MutualSide),
        pairs: Pairs,
    ) {
        let of_payloads = self.of_payloads;
        let count = rows.points.count();
        let shares = parts_of(count);
        share(&mut self.parts, |index, part| {
            part.row_weights.clear(1, count);
            part.column_weights.clear(1, count);
            part.columns.clear(rows.payload().dim(), count);
            if of_payloads == Sums::Both {
                part.rows.clear(columns.payload().dim(), count);
                part.lanes.reserve(columns.payload().dim(), CHUNK);
            }
            let share = (index, shares);
            instructions.run(WeightedSums { share, sides: (rows, columns), pairs, of_payloads, part });
        });
        self.unite(pairs, |part| [&mut part.row_weights, part.column_weights.finish()]);
        match self.of_payloads {
            Sums::Both => self.unite(pairs, |part| [&mut part.rows, part.columns.finish()]),
            Sums::OfColumns => {
                let (first, others) = self.parts.split_first_mut().expect("at least one part");
                let columns = first.columns.finish();
                others.iter_mut().for_each(|part| part.columns.finish().add_to(columns));
            }
        }
    }

    /// Adds what all parts hold of rows and of columns to what the first holds; for unordered pairs, then the columns to the rows.
    fn unite(&mut self, pairs: Pairs, of: impl Fn(&mut Part) -> [&mut Tiled; 2]) {
        let (first, others) = self.parts.split_first_mut().expect("at least one part");
        let [rows, columns] = of(first);
        for part in others {
            let [other_rows, other_columns] = of(part);
            other_rows.add_to(rows);
            other_columns.add_to(columns);
        }
        if pairs == Pairs::Unordered {
            columns.add_to(rows);
        }
    }

    /// The last sums of kernel values or weights over the columns, one a row.
    pub fn row_weights(&self) -> &[f64] {
        self.parts[0].row_weights.points()
    }

    /// The same over the rows, one a column.
    pub fn column_weights(&self) -> &[f64] {
        self.parts[0].column_weights.finished().points()
    }

    /// Writes `factor` times the weighted sums of the rows to `sums` (p x N).
    pub fn write_rows(&self, factor: f64, sums: &mut [f64]) {
        self.parts[0].rows.write_to(sums, factor);
    }

    /// The same for columns.
    pub fn write_columns(&self, factor: f64, sums: &mut [f64]) {
        self.parts[0].columns.finished().write_to(sums, factor);
    }
}

/// Rows and columns of the tiles of one share: every so many chunks of rows, and of the columns those that count.
fn tiles(
    (index, shares): (usize, usize),
    panel: &Range<usize>,
    chunks: usize,
    pairs: Pairs,
    width: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let last = match pairs {
        Pairs::Unordered => panel.end,
        Pairs::Ordered => chunks,
    };
    let (first, end) = (panel.start * CHUNK, panel.end * CHUNK);
    (index..last).step_by(shares).flat_map(move |chunk| {
        (chunk * CHUNK..(chunk + 1) * CHUNK).step_by(ROWS).map(move |row| {
            let first = match pairs {
                Pairs::Unordered => first.max(row / width * width),
                Pairs::Ordered => first,
            };
            (row, first..end)
        })
    })
}

/// Adds what the lanes of each row hold to the sums of the rows from `row` on.
#[inline(always)]
fn add_reduced<S: Vectors>(simd: S, sums: &mut [f64], row: usize, of_rows: [S::f64s; ROWS]) {
    for (sum, of_row) in sums[row..row + ROWS].iter_mut().zip(of_rows) {
        *sum += simd.reduce_sum_f64s(of_row);
    }
}

/// Kernel values of the tile that begins at (`row`, `column`), 0 for pairs that do not count.
#[inline(always)]
fn values_of_tile<S: Vectors, const V: usize>(
    simd: S,
    sides: (Side<'_>, Side<'_>),
    pairs: Pairs,
    (row, column): (usize, usize),
) -> [[S::f64s; V]; ROWS] {
    let mut tile = logits::<S, V>(simd, sides, (row, column));
    exclude(simd, pairs, (row, column), f64::NEG_INFINITY, &mut tile);
    for_rows!(R, {
        for v in 0..V {
            tile[R][v] = exp2_or_zero(simd, tile[R][v]);
        }
    });
    tile
}

struct KernelSums<'a> {
    share: (usize, usize),
    sides: (&'a MutualSide, &'a MutualSide),
    pairs: Pairs,
    of_payloads: Sums,
    part: &'a mut Part,
}

impl Kernel for KernelSums<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let KernelSums { share, sides: (rows, columns), pairs, of_payloads, part } = self;
        let Part { row_weights, column_weights, kept, .. } = part;
        let row_sums = row_weights.values_mut();
        let (lanes, chunks) = (S::F64_LANES, rows.points.chunks());
        let (width, sides) = (V * lanes, (rows.side(), columns.side()));
        let mut kept = kept.values_mut().chunks_exact_mut(ROWS * width);
        for panel in panels(chunks, of_payloads.panel_width(chunks, rows.largest_dim())) {
            for (index, (row, range)) in tiles(share, &panel, chunks, pairs, width).enumerate() {
                if index > 0 && index.is_multiple_of(TILES_IN_TURN) {
                    column_weights.begin_anew(panel.clone());
                }
                let column_sums = column_weights.recent();
                let mut of_rows = [simd.splat_f64s(0.0); ROWS];
                for column in range.step_by(width) {
                    let tile = values_of_tile::<S, V>(simd, sides, pairs, (row, column));
                    let mut of_columns = [simd.splat_f64s(0.0); V];
                    for_rows!(R, {
                        for v in 0..V {
                            of_columns[v] = simd.add_f64s(of_columns[v], tile[R][v]);
                            of_rows[R] = simd.add_f64s(of_rows[R], tile[R][v]);
                        }
                    });
                    if let Some(kept) = kept.next() {
                        for_rows!(R, {
                            store_all(simd, kept, R * width, &tile[R]);
                        });
                    }
                    add_all(simd, column_sums, column, &of_columns);
                }
                add_reduced(simd, row_sums, row, of_rows);
            }
        }
    }
}

struct WeightedSums<'a> {
    share: (usize, usize),
    sides: (&'a MutualSide, &'a MutualSide),
    pairs: Pairs,
    of_payloads: Sums,
    part: &'a mut Part,
}

impl Kernel for WeightedSums<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let WeightedSums { share, sides: (rows, columns), pairs, of_payloads, part } = self;
        let Part {
            row_weights,
            column_weights,
            rows: row_sums,
            columns: sums_of_columns,
            lanes: lanes_of_rows,
            kept,
        } = part;
        let (row_weights, row_sums) = (row_weights.values_mut(), row_sums.values_mut());
        let (sides, row_payload, column_payload) =
            ((rows.side(), columns.side()), rows.payload(), columns.payload());
        let (row_normaliser, column_normaliser) = (rows.normaliser.values(), columns.normaliser.values());
        let (row_dim, column_dim) = (row_payload.dim(), column_payload.dim());
        let (lanes, chunks) = (S::F64_LANES, row_payload.chunks());
        let of_rows_too = of_payloads == Sums::Both;
        let held = if of_rows_too { column_dim * ROWS * lanes } else { 0 };
        let lanes_of_rows = &mut lanes_of_rows.values_mut()[..held];
        let width = V * lanes;
        let mut kept = kept.values().chunks_exact(ROWS * width);
        for panel in panels(chunks, of_payloads.panel_width(chunks, rows.largest_dim())) {
            for (index, (row, range)) in tiles(share, &panel, chunks, pairs, width).enumerate() {
                if index > 0 && index.is_multiple_of(TILES_IN_TURN) {
                    column_weights.begin_anew(panel.clone());
                    sums_of_columns.begin_anew(panel.clone());
                }
                let (column_weights, column_sums) = (column_weights.recent(), sums_of_columns.recent());
                let row_at = row % CHUNK;
                let own_payload = row_payload.chunk(row / CHUNK);
                let own_normaliser = &row_normaliser[row..row + ROWS];
                let mut of_rows = [simd.splat_f64s(0.0); ROWS];
                if range.is_empty() {
                    continue;
                }
                let first_column = range.start;
                for column in range.step_by(width) {
                    let mut tile = [[simd.splat_f64s(0.0); V]; ROWS];
                    if let Some(kept) = kept.next() {
                        for_rows!(R, {
                            tile[R] = load_all(simd, kept, R * width);
                        });
                    } else {
                        tile = values_of_tile::<S, V>(simd, sides, pairs, (row, column));
                    }
                    let mut of_columns = [simd.splat_f64s(0.0); V];
                    let normaliser: [S::f64s; V] = load_all(simd, column_normaliser, column);
                    for_rows!(R, {
                        let own = simd.splat_f64s(own_normaliser[R]);
                        for v in 0..V {
                            let both = simd.add_f64s(own, normaliser[v]);
                            tile[R][v] = simd.mul_f64s(tile[R][v], both);
                            of_columns[v] = simd.add_f64s(of_columns[v], tile[R][v]);
                            of_rows[R] = simd.add_f64s(of_rows[R], tile[R][v]);
                        }
                    });
                    add_all(simd, column_weights, column, &of_columns);
                    let (chunk, at) = (column / CHUNK, column % CHUNK);
                    let sums = &mut column_sums[chunk * row_dim * CHUNK..(chunk + 1) * row_dim * CHUNK];
                    for (sums, own) in sums.chunks_exact_mut(CHUNK).zip(own_payload.chunks_exact(CHUNK)) {
                        add_to_columns(simd, &tile, &own[row_at..row_at + ROWS], sums, at);
                    }
                    let others = column_payload.chunk(chunk).chunks_exact(CHUNK);
                    for (sums, others) in lanes_of_rows.chunks_exact_mut(ROWS * lanes).zip(others) {
                        add_to_rows(simd, &tile, others, (at, column == first_column), sums);
                    }
                }
                add_reduced(simd, row_weights, row, of_rows);
                if !of_rows_too {
                    continue;
                }
                let chunk = row / CHUNK;
                let sums = &mut row_sums[chunk * column_dim * CHUNK..(chunk + 1) * column_dim * CHUNK];
                let of_lanes = lanes_of_rows.chunks_exact(ROWS * lanes);
                for (sums, of_lanes) in sums.chunks_exact_mut(CHUNK).zip(of_lanes) {
                    for (r, sum) in sums[row_at..row_at + ROWS].iter_mut().enumerate() {
                        *sum += simd.reduce_sum_f64s(load(simd, of_lanes, r * lanes));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hard_case_points;
    use super::*;

    /// Sums of kernel values, of weights and of payloads, for rows and for columns.
    type AllSums = [Vec<f64>; 6];

    fn by_loops(
        [x, y]: [&[f64]; 2],
        [row_payload, column_payload]: [&[f64]; 2],
        (d, p): (usize, usize),
        pairs: Pairs,
        normalisers: [&[f64]; 2],
    ) -> (AllSums, AllSums) {
        let n = x.len() / d;
        let (points, sums) = (|| vec![0.0; n], || vec![0.0; n * p]);
        let empty = || [points(), points(), points(), points(), sums(), sums()];
        // Beside each sum its absolute terms.
        let (mut sums, mut terms) = (empty(), empty());
        for i in 0..n {
            for j in (0..n).filter(|&j| if pairs == Pairs::Ordered { i != j } else { i < j }) {
                let (a, b) = (&x[i * d..(i + 1) * d], &y[j * d..(j + 1) * d]);
                let logit: f64 = match pairs {
                    Pairs::Ordered => a.iter().zip(b).map(|(a, b)| a * b).sum(),
                    Pairs::Unordered => a.iter().zip(b).map(|(a, b)| -0.5 * (a - b) * (a - b)).sum(),
                };
                let value = logit.exp2();
                let weight = value * (normalisers[0][i] + normalisers[1][j]);
                let mut add = |which: usize, at: usize, value: f64| {
                    sums[which][at] += value;
                    terms[which][at] += value.abs();
                };
                // Rows of unordered pairs get what both get.
                let column = |which: usize| if pairs == Pairs::Ordered { which + 1 } else { which };
                add(0, i, value);
                add(column(0), j, value);
                add(2, i, weight);
                add(column(2), j, weight);
                for k in 0..p {
                    add(4, i * p + k, weight * column_payload[j * p + k]);
                    add(column(4), j * p + k, weight * row_payload[i * p + k]);
                    if pairs == Pairs::Unordered {
                        add(5, j * p + k, weight * row_payload[i * p + k]);
                    }
                }
            }
        }
        (sums, terms)
    }

    #[test]
    fn sums_are_those_of_plain_loops_on_every_instruction_set_and_number_of_threads() {
        // The last but one needs other panels for its payload than for its points.
        for (n, d, p) in
            [(2, 1, 1), (3, 5, 2), (31, 16, 16), (33, 3, 3), (130, 16, 16), (1100, 4, 40), (4100, 1, 1)]
        {
            for pairs in [Pairs::Unordered, Pairs::Ordered] {
                let x = hard_case_points(d, n, 1);
                let y = if pairs == Pairs::Ordered { hard_case_points(d, n, 2) } else { x.clone() };
                let normalisers: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + i as f64)).collect();
                let second: Vec<f64> = normalisers.iter().rev().copied().collect();
                // Without a payload of their own, the points are it.
                let payload = (p != d).then(|| {
                    let rows = hard_case_points(p, n, 3);
                    let columns =
                        if pairs == Pairs::Ordered { hard_case_points(p, n, 4) } else { rows.clone() };
                    [rows, columns]
                });
                let [row_payload, column_payload] =
                    payload.as_ref().map_or([&x, &y], |[rows, columns]| [rows, columns]);
                let (expected, terms) =
                    by_loops([&x, &y], [row_payload, column_payload], (d, p), pairs, [&normalisers, &second]);
                for instructions in Instructions::all() {
                    let run = |threads: usize| -> Vec<(usize, Vec<f64>)> {
                        let (mut rows, mut columns) = (MutualSide::default(), MutualSide::default());
                        rows.load(d, &x, 1.0, payload.as_ref().map(|[rows, _]| (rows.as_slice(), p)));
                        columns.load(
                            d,
                            &y,
                            1.0,
                            payload.as_ref().map(|[_, columns]| (columns.as_slice(), p)),
                        );
                        if pairs == Pairs::Unordered {
                            rows.set_half_squares(instructions);
                            columns.set_half_squares(instructions);
                        }
                        rows.set_normalisers(&normalisers);
                        columns.set_normalisers(&second);
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        pool.install(|| {
                            let mut kernel = MutualSums::default();
                            let sides = (&rows, &columns);
                            let mut found = Vec::new();
                            for of_payloads in [Sums::Both, Sums::OfColumns] {
                                kernel.kernel_sums(instructions, sides, pairs, of_payloads);
                                found.push((0, kernel.row_weights().to_vec()));
                                found.push((1, kernel.column_weights().to_vec()));
                                kernel.weighted_sums(instructions, sides, pairs);
                                found.push((2, kernel.row_weights().to_vec()));
                                found.push((3, kernel.column_weights().to_vec()));
                                let mut sums = vec![0.0; n * p];
                                if of_payloads == Sums::Both {
                                    kernel.write_rows(1.0, &mut sums);
                                    found.push((4, sums.clone()));
                                }
                                if of_payloads == Sums::OfColumns || pairs == Pairs::Ordered {
                                    kernel.write_columns(1.0, &mut sums);
                                    found.push((5, sums));
                                }
                            }
                            found
                        })
                    };
                    let sums = run(1);
                    assert_eq!(sums, run(3), "{n} points, {instructions:?}: bits depend on threads");
                    // Of unordered pairs rows get what both get.
                    let told = |which: usize| pairs == Pairs::Ordered || ![1, 3].contains(&which);
                    for (which, sums) in sums.into_iter().filter(|(which, _)| told(*which)) {
                        for (at, sum) in sums.iter().enumerate() {
                            // Logits are rounded from squares of up to some 40.
                            let tolerance =
                                100.0 * f64::EPSILON * 40.0 * terms[which][at] + f64::MIN_POSITIVE;
                            let error = (sum - expected[which][at]).abs();
                            assert!(
                                error <= tolerance,
                                "{n} points, {pairs:?}, {instructions:?}, sum {which} at {at}: {error:e} against {tolerance:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}
