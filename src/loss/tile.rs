//! What the fast kernels share: points in tiles of 32, vectors of the machine's widest instructions, and exponentials of a
//! tile of 4 rows x 8 or 32 columns that never leave its registers.
//!
//! Kernels here are written once, over [`Vectors`], and compiled for AVX-512 and for AVX2 with FMA; which of them runs is decided
//! when the program runs. Where neither is there, [`Instructions::detect`] says so and the general kernel does the work.

use super::pairwise::{resize, subtract_own};
use pulp::Simd;
use pulp::bytemuck::{cast_slice, cast_slice_mut, from_bytes, from_bytes_mut};
use std::ops::Range;

/// Rows of a tile: with four vectors a row its sixteen accumulators leave half of 32 registers to constants and operands.
pub(super) const ROWS: usize = 4;

/// Columns that lie together in memory.
pub(super) const CHUNK: usize = 32;

/// Dimension of points or payload beyond which large matrix products are faster than tiles.
const LARGEST_DIM: usize = 64;

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

    /// Lets padding not count: these are the biases of points.
    pub fn exclude_padding(&mut self) {
        let count = self.count;
        self.values_mut()[count..].fill(f64::INFINITY);
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

/// sums += values.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Writes `factor` times the transpose of columns of `dim` values, each column with one value in every `stride` of `out`.
///
/// Blocks of 8 x 8 go through registers: values one by one would wait for their cache lines.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn transpose(columns: &[f64], dim: usize, out: &mut [f64], stride: usize, factor: f64) {
    const SIDE: usize = 8;
    let mut blocks = columns.chunks_exact(dim * SIDE);
    let whole = dim / SIDE * SIDE;
    for (index, columns) in (&mut blocks).enumerate() {
        let at = index * SIDE;
        for k in (0..whole).step_by(SIDE) {
            let mut block = [[0.0; SIDE]; SIDE];
            for l in 0..SIDE {
                block[l].copy_from_slice(&columns[l * dim + k..l * dim + k + SIDE]);
            }
            for i in 0..SIDE {
                let mut line = [0.0; SIDE];
                for l in 0..SIDE {
                    line[l] = factor * block[l][i];
                }
                out[(k + i) * stride + at..(k + i) * stride + at + SIDE].copy_from_slice(&line);
            }
        }
        for k in whole..dim {
            for l in 0..SIDE {
                out[k * stride + at + l] = factor * columns[l * dim + k];
            }
        }
    }
    let at = columns.len() / dim / SIDE * SIDE;
    for (l, column) in blocks.remainder().chunks_exact(dim).enumerate() {
        for (k, x) in column.iter().enumerate() {
            out[k * stride + at + l] = factor * x;
        }
    }
}

/// A width of vectors that the machine has.
pub(super) trait Vectors: Simd {
    /// `value` times 2 to the power of the integer that the low bits of `shifted` hold; both products and factor are normal
    /// numbers.
    fn times_power_of_two(self, value: Self::f64s, shifted: Self::f64s) -> Self::f64s;
}

/// Work that is compiled for each width of vectors.
pub(super) trait Kernel {
    /// The work, with `V` vectors a row of a tile.
    fn run<S: Vectors, const V: usize>(self, simd: S);
}

/// Instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instructions {
    /// 8 numbers a vector, 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// 4 numbers a vector, 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Instructions, Kernel, LARGEST_DIM, Vectors};
    use pulp::bytemuck::cast;
    use pulp::x86::{V3, V4};
    use pulp::{NullaryFnOnce, Simd};

    impl Vectors for V4 {
        #[inline(always)]
        fn times_power_of_two(self, value: Self::f64s, shifted: Self::f64s) -> Self::f64s {
            cast(self.add_u64s(cast(value), self.shl_const_u64x8::<52>(cast(shifted))))
        }
    }

    impl Vectors for V3 {
        #[inline(always)]
        fn times_power_of_two(self, value: Self::f64s, shifted: Self::f64s) -> Self::f64s {
            cast(self.add_u64s(cast(value), self.shl_const_u64x4::<52>(cast(shifted))))
        }
    }

    struct Call<S, K, const V: usize>(S, K);

    impl<S: Vectors, K: Kernel, const V: usize> NullaryFnOnce for Call<S, K, V> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            self.1.run::<S, V>(self.0);
        }
    }

    impl Instructions {
        /// The widest that this machine has, where tiles are worth it for points and payloads of at most `dim` coordinates.
        pub fn detect(dim: usize) -> Option<Instructions> {
            if dim > LARGEST_DIM {
                return None;
            }
            V4::try_new().map(Instructions::Avx512).or_else(|| V3::try_new().map(Instructions::Avx2))
        }

        /// All that this machine has.
        #[cfg(test)]
        pub fn all() -> Vec<Instructions> {
            let wide = V4::try_new().map(Instructions::Avx512);
            wide.into_iter().chain(V3::try_new().map(Instructions::Avx2)).collect()
        }

        /// Runs `kernel` with these instructions.
        pub fn run(self, kernel: impl Kernel) {
            match self {
                Instructions::Avx512(simd) => simd.vectorize(Call::<_, _, 4>(simd, kernel)),
                Instructions::Avx2(simd) => simd.vectorize(Call::<_, _, 2>(simd, kernel)),
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Instructions {
    /// None: kernels are not compiled for this machine.
    pub fn detect(_: usize) -> Option<Instructions> {
        None
    }

    /// Runs `kernel` with these instructions.
    pub fn run(self, _: impl Kernel) {
        match self {}
    }
}

/// The vector at `at`.
#[inline(always)]
pub(super) fn load<S: Simd>(_: S, values: &[f64], at: usize) -> S::f64s {
    *from_bytes(cast_slice(&values[at..at + S::F64_LANES]))
}

/// Writes a vector to `at`.
#[inline(always)]
pub(super) fn store<S: Simd>(_: S, values: &mut [f64], at: usize, vector: S::f64s) {
    *from_bytes_mut(cast_slice_mut(&mut values[at..at + S::F64_LANES])) = vector;
}

/// The vectors that begin at `at`.
#[inline(always)]
pub(super) fn load_all<S: Simd, const V: usize>(simd: S, values: &[f64], at: usize) -> [S::f64s; V] {
    let mut vectors = [simd.splat_f64s(0.0); V];
    for v in 0..V {
        vectors[v] = load(simd, values, at + v * S::F64_LANES);
    }
    vectors
}

/// Writes vectors from `at` on.
#[inline(always)]
pub(super) fn store_all<S: Simd, const V: usize>(
    simd: S,
    values: &mut [f64],
    at: usize,
    vectors: &[S::f64s; V],
) {
    for v in 0..V {
        store(simd, values, at + v * S::F64_LANES, vectors[v]);
    }
}

/// Adds vectors to the values from `at` on.
#[inline(always)]
pub(super) fn add_all<S: Simd, const V: usize>(
    simd: S,
    values: &mut [f64],
    at: usize,
    vectors: &[S::f64s; V],
) {
    let mut sums: [S::f64s; V] = load_all(simd, values, at);
    for v in 0..V {
        sums[v] = simd.add_f64s(sums[v], vectors[v]);
    }
    store_all(simd, values, at, &sums);
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
    /// One a point; infinite for padding.
    pub bias: &'a Tiled,
}

/// Logits x_i·y_j - a_i - b_j in base 2 of the tile that begins at (`row`, `column`), -∞ for pairs that do not count.
#[inline(always)]
pub(super) fn logits<S: Vectors, const V: usize>(
    simd: S,
    (rows, columns): (Side<'_>, Side<'_>),
    pairs: Pairs,
    (row, column): (usize, usize),
) -> [[S::f64s; V]; ROWS] {
    let lanes = S::F64_LANES;
    let (row_at, column_at) = (row % CHUNK, column % CHUNK);
    let row_points = rows.points.chunk(row / CHUNK);
    let column_points = columns.points.chunk(column / CHUNK);
    let row_bias = &rows.bias.chunk(row / CHUNK)[row_at..row_at + ROWS];
    let column_bias = columns.bias.chunk(column / CHUNK);
    let mut tile = [[simd.splat_f64s(0.0); V]; ROWS];
    let column_bias: [S::f64s; V] = load_all(simd, column_bias, column_at);
    for_rows!(R, {
        let bias = simd.splat_f64s(-row_bias[R]);
        for v in 0..V {
            tile[R][v] = simd.sub_f64s(bias, column_bias[v]);
        }
    });
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
    if column < row + ROWS && row < column + V * lanes {
        static LANE: [f64; LINE] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let lane = load(simd, &LANE, 0);
        let excluded = simd.splat_f64s(f64::NEG_INFINITY);
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
    tile
}

/// Largest |logit| in base 2 with which neither weights nor their sums and normalisers leave the range of normal numbers.
pub(super) const LARGEST_LOGIT: f64 = 450.0;

/// Logits in base 2 below which a weight counts as 0: products with what is left of them are normal numbers.
const SMALLEST: f64 = -1000.0;

/// Coefficients of the polynomial of degree 10 that interpolates 2^f at the Chebyshev points of [-1/2, 1/2]. Its relative
/// error is below 3.2e-16 there.
#[allow(clippy::approx_constant)] // the interpolant's slope at 0 is not quite ln 2
const POLYNOMIAL: [f64; 11] = [
    1.0,
    0.69314718055995,
    0.24022650695910097,
    0.05550410866444772,
    0.009618129107606888,
    0.0013333558230164974,
    0.0001540353044173605,
    1.5252657260200837e-05,
    1.321544258792169e-06,
    1.0208690299958306e-07,
    7.072585949269223e-09,
];

/// 2^t for t below 1000, within 3 units in the last place; 0 for t below -1000 and for -∞. Not for NaN.
///
/// 2^t = 2^n 2^f with n the integer nearest to t. Cost: ten multiply-adds; the rest are additions and integer operations.
#[inline(always)]
pub(super) fn exp2<S: Vectors>(simd: S, t: S::f64s) -> S::f64s {
    /// Adding 1.5 2^52 leaves the nearest integer in the low bits of the sum.
    const ROUNDER: f64 = 6755399441055744.0;
    let rounder = simd.splat_f64s(ROUNDER);
    let shifted = simd.add_f64s(t, rounder);
    let f = simd.sub_f64s(t, simd.sub_f64s(shifted, rounder));
    let mut polynomial = simd.splat_f64s(POLYNOMIAL[10]);
    let mut k = 10;
    while k > 0 {
        k -= 1;
        polynomial = simd.mul_add_f64s(polynomial, f, simd.splat_f64s(POLYNOMIAL[k]));
    }
    let value = simd.times_power_of_two(polynomial, shifted);
    simd.select_f64s(simd.less_than_f64s(t, simd.splat_f64s(SMALLEST)), simd.splat_f64s(0.0), value)
}

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

    struct Exponentials<'a>(&'a [f64], &'a mut [f64]);

    impl Kernel for Exponentials<'_> {
        #[inline(always)]
        fn run<S: Vectors, const V: usize>(self, simd: S) {
            for at in (0..self.0.len()).step_by(S::F64_LANES) {
                store(simd, self.1, at, exp2(simd, load(simd, self.0, at)));
            }
        }
    }

    #[test]
    fn powers_of_two_are_within_three_units_in_the_last_place_and_vanish_below_the_smallest() {
        let steps = 1 << 16;
        for instructions in Instructions::all() {
            let t: Vec<f64> = (0..steps).map(|k| 2000.0 * (k as f64 / steps as f64 - 0.5)).collect();
            let mut values = vec![0.0; steps];
            instructions.run(Exponentials(&t, &mut values));
            let errors = t.iter().zip(&values).map(|(t, value)| (value - t.exp2()).abs() / t.exp2());
            let worst = errors.fold(0.0, f64::max);
            assert!(worst < 3.0 * f64::EPSILON, "{instructions:?}: {worst:e}");
            let t = [f64::NEG_INFINITY, -1e300, -1000.5, -1e17, 0.0, 1.0, -1.0, -1022.0];
            let mut values = [1.0; 8];
            instructions.run(Exponentials(&t, &mut values));
            assert_eq!(values, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.5, 0.0], "{instructions:?}");
        }
    }

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
