//! What the fast kernels share: points in tiles of 32, and logits of a tile of 4 rows x 8 or 32 columns that never leave its
//! registers.

use super::pairwise::{add, resize, subtract_own};
use super::vectors::{
    Instructions, Kernel, SIDE, Vectors, load, load_all, store, store_all, transpose_block,
};
use std::ops::Range;

/// Rows of a tile: with four vectors a row its sixteen accumulators leave half of 32 registers to constants and operands.
pub(super) const ROWS: usize = 4;

/// Columns that lie together in memory.
pub(super) const CHUNK: usize = 32;

/// Values of a cache line, which no vector should straddle.
const LINE: usize = 8;

/// N points of some dimension, padded with zeros to whole chunks: chunk by chunk, coordinate by coordinate, 32 points
/// side by side.
#[derive(Debug, Default)]
pub(super) struct Tiled {
    memory: Vec<f64>,
    /// Where the first cache line begins.
    start: usize,
    dim: usize,
    count: usize,
}

impl Tiled {
    /// Makes room for `count` points of `dim` coordinates. Allocates only when the shape changes.
    pub fn reserve(&mut self, dim: usize, count: usize) {
        (self.dim, self.count) = (dim, count);
        let length = count.div_ceil(CHUNK) * CHUNK * dim + LINE;
        resize(&mut self.memory, length);
        self.start = self.memory.as_ptr().align_offset(LINE * size_of::<f64>());
    }

    /// The same, all zero.
    pub fn clear(&mut self, dim: usize, count: usize) {
        self.reserve(dim, count);
        self.memory.fill(0.0);
    }

    /// Lets padding not count: these are the biases of points, and `bias` is that of padding.
    pub fn exclude_padding(&mut self, bias: f64) {
        let count = self.count;
        self.values_mut()[count..].fill(bias);
    }

    /// Takes over `factor` times the columns of a column-major matrix with `dim` rows.
    pub fn load(&mut self, dim: usize, columns: &[f64], factor: f64) {
        self.reserve(dim, columns.len() / dim);
        let tiles = self.values_mut().chunks_exact_mut(dim * CHUNK);
        for (tile, columns) in tiles.zip(columns.chunks(dim * CHUNK)) {
            if columns.len() < tile.len() {
                tile.fill(0.0);
            }
            transpose(columns, dim, tile, CHUNK, factor);
        }
    }

    /// Adds the points to those of another matrix of the same shape.
    pub fn add_to(&self, other: &mut Tiled) {
        debug_assert_eq!((self.dim, self.count), (other.dim, other.count));
        add(other.values_mut(), self.values());
    }

    /// Writes `factor` times the points to the columns of a column-major matrix.
    pub fn write_to(&self, columns: &mut [f64], factor: f64) {
        let dim = self.dim;
        for (tile, columns) in self.values().chunks_exact(dim * CHUNK).zip(columns.chunks_mut(dim * CHUNK)) {
            if columns.len() == tile.len() {
                transpose(tile, CHUNK, columns, dim, factor);
            } else {
                for (l, column) in columns.chunks_exact_mut(dim).enumerate() {
                    for (to, from) in column.iter_mut().zip(tile[l..].iter().step_by(CHUNK)) {
                        *to = factor * from;
                    }
                }
            }
        }
    }

    /// Chunks, the last of which may be padded.
    pub fn chunks(&self) -> usize {
        self.count.div_ceil(CHUNK)
    }

    /// Points without padding.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values; those of padding are zero.
    pub fn values(&self) -> &[f64] {
        &self.memory[self.start..self.start + self.chunks() * CHUNK * self.dim]
    }

    /// The values of points with one coordinate.
    pub fn points(&self) -> &[f64] {
        &self.values()[..self.count]
    }

    /// All values, to be written.
    pub fn values_mut(&mut self) -> &mut [f64] {
        let length = self.chunks() * CHUNK * self.dim;
        &mut self.memory[self.start..self.start + length]
    }

    /// The values of a chunk.
    #[inline(always)]
    pub fn chunk(&self, index: usize) -> &[f64] {
        let size = CHUNK * self.dim;
        &self.values()[index * size..(index + 1) * size]
    }
}

/// Sums over many rows, of which [`TERMS_IN_TURN`](super::pairwise::TERMS_IN_TURN) at a time are summed by themselves.
#[derive(Debug, Default)]
pub(super) struct LongSums {
    /// Of the last rows; of all of them at the end.
    recent: Tiled,
    /// Of the rows before them, where there are any.
    earlier: Tiled,
    has_earlier: bool,
}

impl LongSums {
    /// Makes room for `count` sums of `dim` coordinates, all zero.
    pub fn clear(&mut self, dim: usize, count: usize) {
        self.recent.clear(dim, count);
        self.has_earlier = false;
    }

    /// What the next rows are added to.
    pub fn recent(&mut self) -> &mut [f64] {
        self.recent.values_mut()
    }

    /// Lets these sums begin anew: to be called when as many rows have been added to them as are summed in turn.
    pub fn begin_anew(&mut self, chunks: Range<usize>) {
        if !self.has_earlier {
            self.earlier.clear(self.recent.dim, self.recent.count);
            self.has_earlier = true;
        }
        let size = CHUNK * self.recent.dim;
        let range = chunks.start * size..chunks.end * size;
        let recent = &mut self.recent.values_mut()[range.clone()];
        add(&mut self.earlier.values_mut()[range], recent);
        recent.fill(0.0);
    }

    /// The sums over all rows.
    pub fn finish(&mut self) -> &mut Tiled {
        if self.has_earlier {
            self.recent.add_to(&mut self.earlier);
            std::mem::swap(&mut self.recent, &mut self.earlier);
            self.has_earlier = false;
        }
        &mut self.recent
    }

    /// The sums, after [`LongSums::finish`].
    pub fn finished(&self) -> &Tiled {
        debug_assert!(!self.has_earlier);
        &self.recent
    }
}

/// Writes `factor` times the transpose of columns of `dim` values, each column with one value in every `stride` of `out`.
fn transpose(columns: &[f64], dim: usize, out: &mut [f64], stride: usize, factor: f64) {
    let transpose = Transpose { columns, dim, out, stride, factor };
    match Instructions::detect(0) {
        Some(instructions) => instructions.run(transpose),
        None => transpose.by_blocks(transpose_block),
    }
}

/// See [`transpose`].
struct Transpose<'a> {
    columns: &'a [f64],
    dim: usize,
    out: &'a mut [f64],
    stride: usize,
    factor: f64,
}

impl Transpose<'_> {
    /// Transposes blocks of 8 x 8 by `block`, see [`transpose_block`], and what is left value by value.
    #[inline(always)]
    fn by_blocks(self, block: impl Fn(&[f64], usize, &mut [f64], usize, f64)) {
        let Transpose { columns, dim, out, stride, factor } = self;
        let whole = dim / SIDE * SIDE;
        for (index, columns) in columns.chunks(dim * SIDE).enumerate() {
            let at = index * SIDE;
            let blocks = if columns.len() == dim * SIDE { whole } else { 0 };
            for k in (0..blocks).step_by(SIDE) {
                block(&columns[k..], dim, &mut out[k * stride + at..], stride, factor);
            }
            for (l, column) in columns.chunks_exact(dim).enumerate() {
                for (k, x) in column.iter().enumerate().skip(blocks) {
                    out[k * stride + at + l] = factor * x;
                }
            }
        }
    }
}

impl Kernel for Transpose<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        self.by_blocks(
            #[inline(always)]
            |columns, dim, out, stride, factor| simd.transpose_block(columns, dim, out, stride, factor),
        );
    }
}

/// Repeats a block for each row of a tile. A loop that the compiler leaves standing would move the tile to memory.
macro_rules! for_rows {
    ($row:ident, $body:block) => {{
        {
            const $row: usize = 0;
            $body
        }
        {
            const $row: usize = 1;
            $body
        }
        {
            const $row: usize = 2;
            $body
        }
        {
            const $row: usize = 3;
            $body
        }
    }};
}
pub(super) use for_rows;

/// Which pairs of a problem whose rows and columns are the same samples count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    /// Every pair i < j once.
    Unordered,
    /// All i ≠ j.
    Ordered,
}

/// Points and what is subtracted from the logits of each.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    /// The points.
    pub points: &'a Tiled,
    /// One a point, larger for padding; where there is none, nothing is subtracted and padding counts.
    pub bias: Option<&'a Tiled>,
}

/// Logits x_i·y_j - a_i - b_j in base 2 of the tile that begins at (`row`, `column`).
#[inline(always)]
pub(super) fn logits<S: Vectors, const V: usize>(
    simd: S,
    (rows, columns): (Side<'_>, Side<'_>),
    (row, column): (usize, usize),
) -> [[S::f64s; V]; ROWS] {
    let (row_at, column_at) = (row % CHUNK, column % CHUNK);
    let row_points = rows.points.chunk(row / CHUNK);
    let column_points = columns.points.chunk(column / CHUNK);
    let mut tile = [[simd.splat_f64s(0.0); V]; ROWS];
    if let Some(bias) = rows.bias {
        let bias = &bias.chunk(row / CHUNK)[row_at..row_at + ROWS];
        for_rows!(R, {
            tile[R] = [simd.splat_f64s(-bias[R]); V];
        });
    }
    if let Some(bias) = columns.bias {
        let bias: [S::f64s; V] = load_all(simd, bias.chunk(column / CHUNK), column_at);
        for_rows!(R, {
            for v in 0..V {
                tile[R][v] = simd.sub_f64s(tile[R][v], bias[v]);
            }
        });
    }
    for (x, y) in row_points.chunks_exact(CHUNK).zip(column_points.chunks_exact(CHUNK)) {
        let x = &x[row_at..row_at + ROWS];
        let others: [S::f64s; V] = load_all(simd, y, column_at);
        for_rows!(R, {
            let own = simd.splat_f64s(x[R]);
            for v in 0..V {
                tile[R][v] = simd.mul_add_f64s(own, others[v], tile[R][v]);
            }
        });
    }
    tile
}

/// Writes `value` to the pairs that do not count of the tile that begins at (`row`, `column`).
#[inline(always)]
pub(super) fn exclude<S: Vectors, const V: usize>(
    simd: S,
    pairs: Pairs,
    (row, column): (usize, usize),
    value: f64,
    tile: &mut [[S::f64s; V]; ROWS],
) {
    let lanes = S::F64_LANES;
    if column < row + ROWS && row < column + V * lanes {
        static LANE: [f64; LINE] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let lane = load(simd, &LANE, 0);
        let excluded = simd.splat_f64s(value);
        for_rows!(R, {
            for v in 0..V {
                let own = simd.splat_f64s((row + R) as f64 - (column + v * lanes) as f64);
                let after = simd.select_f64s(simd.less_than_f64s(own, lane), tile[R][v], excluded);
                tile[R][v] = match pairs {
                    Pairs::Unordered => after,
                    Pairs::Ordered => simd.select_f64s(simd.less_than_f64s(lane, own), tile[R][v], after),
                };
            }
        });
    }
}

/// Largest |logit| in base 2 with which neither weights nor their sums and normalisers leave the range of normal numbers.
pub(super) const LARGEST_LOGIT: f64 = 450.0;

/// Writes `factor` x·y of each two points of the same index.
pub(super) struct OwnProducts<'a> {
    /// x and y.
    pub sides: (&'a Tiled, &'a Tiled),
    /// The factor.
    pub factor: f64,
    /// One value a point; those of padding are zero.
    pub products: &'a mut Tiled,
}

impl Kernel for OwnProducts<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let OwnProducts { sides: (x, y), factor, products } = self;
        products.reserve(1, x.count());
        let factor = simd.splat_f64s(factor);
        for (index, products) in products.values_mut().chunks_exact_mut(CHUNK).enumerate() {
            for at in (0..CHUNK).step_by(S::F64_LANES) {
                let mut sum = simd.splat_f64s(0.0);
                for (x, y) in x.chunk(index).chunks_exact(CHUNK).zip(y.chunk(index).chunks_exact(CHUNK)) {
                    sum = simd.mul_add_f64s(load(simd, x, at), load(simd, y, at), sum);
                }
                store(simd, products, at, simd.mul_f64s(factor, sum));
            }
        }
    }
}

/// Adds multiples of points to other points, all in whole chunks.
pub(super) struct AddMultiples<'a> {
    /// What they are added to.
    pub sums: &'a mut [f64],
    /// What each point is multiplied by; one value a point, padding too.
    pub factors: &'a [f64],
    /// The points.
    pub points: &'a [f64],
}

impl Kernel for AddMultiples<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let AddMultiples { sums, factors, points } = self;
        let size = points.len() / factors.len() * CHUNK;
        let chunks = sums.chunks_exact_mut(size).zip(points.chunks_exact(size));
        for ((sums, points), factors) in chunks.zip(factors.chunks_exact(CHUNK)) {
            for at in (0..CHUNK).step_by(S::F64_LANES) {
                let factor = load(simd, factors, at);
                for (sums, x) in sums.chunks_exact_mut(CHUNK).zip(points.chunks_exact(CHUNK)) {
                    let sum = simd.mul_add_f64s(factor, load(simd, x, at), load(simd, sums, at));
                    store(simd, sums, at, sum);
                }
            }
        }
    }
}

/// [`subtract_own`] for the sums of many rows (p x rows), after they are multiplied by normalisers where there are any.
pub(super) struct SubtractOwn<'a> {
    /// The sums, and what comes of them.
    pub sums: &'a mut [f64],
    /// One a row.
    pub normalisers: Option<&'a [f64]>,
    /// One a row.
    pub weights: &'a [f64],
    /// p x rows.
    pub own: &'a [f64],
    /// As there.
    pub tolerated: f64,
    /// Rows of which too many digits were lost.
    pub cancelled: &'a mut Vec<u32>,
}

impl Kernel for SubtractOwn<'_> {
    #[inline(always)]
    fn run<S: Vectors, const V: usize>(self, simd: S) {
        let SubtractOwn { sums, normalisers, weights, own, tolerated, cancelled } = self;
        let (lanes, p) = (S::F64_LANES, sums.len() / weights.len());
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        let factor = simd.splat_f64s(tolerated);
        let whole = p / lanes * lanes;
        cancelled.clear();
        for (row, (sums, own)) in sums.chunks_exact_mut(p).zip(own.chunks_exact(p)).enumerate() {
            let normaliser = normalisers.map_or(1.0, |normalisers| normalisers[row]);
            let (normalisers, weight) = (simd.splat_f64s(normaliser), simd.splat_f64s(weights[row]));
            let mut lost = zero;
            for at in (0..whole).step_by(lanes) {
                let before = simd.mul_f64s(normalisers, load(simd, sums, at));
                let own = simd.mul_f64s(weight, load(simd, own, at));
                let after = simd.sub_f64s(before, own);
                store(simd, sums, at, after);
                let left = simd.mul_f64s(simd.abs_f64s(after), factor);
                lost = simd.select_f64s(simd.less_than_f64s(left, simd.abs_f64s(before)), one, lost);
                lost = simd.select_f64s(simd.less_than_f64s(left, simd.abs_f64s(own)), one, lost);
            }
            let rest = &mut sums[whole..];
            rest.iter_mut().for_each(|sum| *sum *= normaliser);
            let lost_in_rest = subtract_own(rest, &own[whole..], weights[row], tolerated);
            if lost_in_rest | (simd.reduce_sum_f64s(lost) > 0.0) {
                cancelled.push(row as u32);
            }
        }
    }
}

/// Adds the products of a tile of weights with the payload of its rows to the sums of its columns: for each coordinate
/// Σ_r `own`[r] `weights`[r].
#[inline(always)]
pub(super) fn add_to_columns<S: Vectors, const V: usize>(
    simd: S,
    weights: &[[S::f64s; V]; ROWS],
    own: &[f64],
    sums: &mut [f64],
    at: usize,
) {
    let mut sum: [S::f64s; V] = load_all(simd, sums, at);
    for_rows!(R, {
        let own = simd.splat_f64s(own[R]);
        for v in 0..V {
            sum[v] = simd.mul_add_f64s(own, weights[R][v], sum[v]);
        }
    });
    store_all(simd, sums, at, &sum);
}

/// Adds the products of a tile of weights with one coordinate of the payload of its columns to what each lane holds of the sums
/// of its rows; where the tile is the first of its rows, these begin.
#[inline(always)]
pub(super) fn add_to_rows<S: Vectors, const V: usize>(
    simd: S,
    weights: &[[S::f64s; V]; ROWS],
    others: &[f64],
    (at, begins): (usize, bool),
    lanes_of_rows: &mut [f64],
) {
    let lanes = S::F64_LANES;
    let other: [S::f64s; V] = load_all(simd, others, at);
    for_rows!(R, {
        let mut sum = if begins { simd.splat_f64s(0.0) } else { load(simd, lanes_of_rows, R * lanes) };
        for v in 0..V {
            sum = simd.mul_add_f64s(other[v], weights[R][v], sum);
        }
        store(simd, lanes_of_rows, R * lanes, sum);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back_from_tiles_whatever_their_number() {
        for (dim, count) in [(1, 2), (3, 31), (2, 32), (5, 70), (8, 64), (17, 33), (16, 40)] {
            let columns: Vec<f64> = (0..dim * count).map(|k| k as f64).collect();
            let mut tiled = Tiled::default();
            tiled.load(dim, &columns, 2.0);
            let mut twice = Tiled::default();
            twice.clear(dim, count);
            tiled.add_to(&mut twice);
            tiled.add_to(&mut twice);
            let mut back = vec![f64::NAN; dim * count];
            twice.write_to(&mut back, 0.25);
            assert_eq!(back, columns);
            assert_eq!(tiled.values().len(), dim * count.div_ceil(CHUNK) * CHUNK);
        }
    }
}
