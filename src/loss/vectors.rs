//! Vectors of the machine's widest instructions, and kernels over them.
//!
//! Kernels are written once, over [`Vectors`], and compiled for AVX-512 and for AVX2 with FMA; which of them runs is decided
//! when the program runs. Where neither is there, [`Instructions::detect`] says so and general code does the work.

use pulp::Simd;
use pulp::bytemuck::{cast_slice, cast_slice_mut, from_bytes, from_bytes_mut};

/// Dimension of points or payload beyond which large matrix products are faster than tiles.
const LARGEST_DIM: usize = 64;

/// Side of the blocks that are transposed at once: values one by one would wait for their cache lines.
pub(super) const SIDE: usize = 8;

/// Writes `factor` times the transpose of a block of 8 x 8, whose columns begin every `dim` values, to rows that begin every `stride`
/// values.
#[inline(always)]
pub(super) fn transpose_block(columns: &[f64], dim: usize, out: &mut [f64], stride: usize, factor: f64) {
    for k in 0..SIDE {
        let mut row = [0.0; SIDE];
        for l in 0..SIDE {
            row[l] = factor * columns[l * dim + k];
        }
        out[k * stride..k * stride + SIDE].copy_from_slice(&row);
    }
}

/// A width of vectors that the machine has.
pub(super) trait Vectors: Simd {
    /// 2^t for t from -1000 to 1000, within 3 units in the last place.
    fn exp2(self, t: Self::f64s) -> Self::f64s;

    /// See the function of this name.
    #[inline(always)]
    fn transpose_block(self, columns: &[f64], dim: usize, out: &mut [f64], stride: usize, factor: f64) {
        transpose_block(columns, dim, out, stride, factor);
    }
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
    use super::{Instructions, Kernel, LARGEST_DIM, SIDE, Vectors, load, store};
    use pulp::bytemuck::cast;
    use pulp::x86::{V3, V4};
    use pulp::{NullaryFnOnce, Simd};
    use std::arch::x86_64::__m512d;

    /// Adding 1.5 2^52 leaves the nearest integer in the low bits of the sum.
    const ROUNDER: f64 = 6755399441055744.0;

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

    /// Coefficients of the polynomial of degree 5 that interpolates q(f) = (2^f - 1)/f at the Chebyshev points of [-1/32, 1/32]. The
    /// relative error of 1 + f q(f) is below 1.5e-17 there.
    #[allow(clippy::approx_constant)]
    const QUOTIENT: [f64; 6] = [
        0.6931471805599457,
        0.24022650695910075,
        0.0555041086566393,
        0.009618129106919537,
        0.0013333781576784268,
        0.00015403723980749256,
    ];

    /// 2^(i/16), their bits less those of i where a multiple of 16 would be added to the exponent with i in its last bits.
    const SIXTEENTHS: [u64; 16] = {
        let bits: [f64; 16] = [
            1.0,
            1.0442737824274138,
            1.0905077326652577,
            1.1387886347566916,
            1.189207115002721,
            1.241857812073484,
            1.2968395546510096,
            1.3542555469368927,
            std::f64::consts::SQRT_2,
            1.4768261459394993,
            1.5422108254079407,
            1.6104903319492543,
            1.681792830507429,
            1.7562521603732995,
            1.8340080864093424,
            1.9152065613971474,
        ];
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            table[i] = bits[i].to_bits() - ((i as u64) << 48);
            i += 1;
        }
        table
    };

    impl Vectors for V4 {
        /// With m the integer nearest to 16 t, i the last four bits of m and f = t - m/16: 2^((m - i)/16) 2^(i/16) (1 + f q(f)). Cost:
        /// six multiply-adds, a product and six other operations.
        #[inline(always)]
        fn exp2(self, t: Self::f64s) -> Self::f64s {
            let avx = self.avx512f;
            let rounder = self.splat_f64s(ROUNDER / 16.0);
            let shifted = self.add_f64s(t, rounder);
            let f = self.sub_f64s(t, self.sub_f64s(shifted, rounder));
            let [low, high]: [__m512d; 2] = cast(SIXTEENTHS);
            let root = avx._mm512_permutex2var_pd(low, cast(shifted), high);
            let root = cast(self.add_u64s(cast(root), self.shl_const_u64x8::<48>(cast(shifted))));
            let mut quotient = self.splat_f64s(QUOTIENT[5]);
            let mut k = 5;
            while k > 0 {
                k -= 1;
                quotient = self.mul_add_f64s(quotient, f, self.splat_f64s(QUOTIENT[k]));
            }
            self.mul_add_f64s(self.mul_f64s(root, f), quotient, root)
        }

        #[inline(always)]
        fn transpose_block(self, columns: &[f64], dim: usize, out: &mut [f64], stride: usize, factor: f64) {
            let avx = self.avx512f;
            let mut block = [avx._mm512_setzero_pd(); SIDE];
            for l in 0..SIDE {
                block[l] = cast(self.mul_f64s(self.splat_f64s(factor), load(self, columns, l * dim)));
            }
            // Pairs of values of neighbouring columns, and then pairs of pairs.
            for l in (0..SIDE).step_by(2) {
                let (a, b) = (block[l], block[l + 1]);
                (block[l], block[l + 1]) = (avx._mm512_unpacklo_pd(a, b), avx._mm512_unpackhi_pd(a, b));
            }
            let quarters = |a: __m512d, b: __m512d| {
                (avx._mm512_shuffle_f64x2::<0x88>(a, b), avx._mm512_shuffle_f64x2::<0xdd>(a, b))
            };
            for odd in 0..2 {
                let (first, second) = quarters(block[odd], block[2 + odd]);
                let (third, fourth) = quarters(block[4 + odd], block[6 + odd]);
                let ((zero, four), (two, six)) = (quarters(first, third), quarters(second, fourth));
                for (k, row) in [(0, zero), (2, two), (4, four), (6, six)] {
                    store(self, out, (k + odd) * stride, cast(row));
                }
            }
        }
    }

    impl Vectors for V3 {
        /// With n the integer nearest to t and f = t - n: 2^n 2^f. Cost: ten multiply-adds and five other operations.
        #[inline(always)]
        fn exp2(self, t: Self::f64s) -> Self::f64s {
            let rounder = self.splat_f64s(ROUNDER);
            let shifted = self.add_f64s(t, rounder);
            let f = self.sub_f64s(t, self.sub_f64s(shifted, rounder));
            let mut polynomial = self.splat_f64s(POLYNOMIAL[10]);
            let mut k = 10;
            while k > 0 {
                k -= 1;
                polynomial = self.mul_add_f64s(polynomial, f, self.splat_f64s(POLYNOMIAL[k]));
            }
            cast(self.add_u64s(cast(polynomial), self.shl_const_u64x4::<52>(cast(shifted))))
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

/// Logits in base 2 below which a weight counts as 0: products with what is left of them are normal numbers.
const SMALLEST: f64 = -1000.0;

/// [`Vectors::exp2`], and 0 for t below -1000 and for -∞. NaN becomes 0, too: callers know it by the logit of its positive pair.
#[inline(always)]
pub(super) fn exp2_or_zero<S: Vectors>(simd: S, t: S::f64s) -> S::f64s {
    let counts = simd.less_than_or_equal_f64s(simd.splat_f64s(SMALLEST), t);
    simd.select_f64s(counts, simd.exp2(t), simd.splat_f64s(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exponentials<'a>(&'a [f64], &'a mut [f64]);

    impl Kernel for Exponentials<'_> {
        #[inline(always)]
        fn run<S: Vectors, const V: usize>(self, simd: S) {
            for at in (0..self.0.len()).step_by(S::F64_LANES) {
                store(simd, self.1, at, exp2_or_zero(simd, load(simd, self.0, at)));
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
}
