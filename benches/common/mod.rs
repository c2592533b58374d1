//! What the benches share: how a time is taken, and what the machine can do at most.

#![allow(dead_code)] // each bench uses a part of it

use contraflow::loss::Loss;
use contraflow::matrix::{Destination, View, product};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::hint::black_box;
use std::time::Instant;

/// A measurement lasts at least this long: as many calls as that takes are timed together.
const SHORTEST: f64 = 1e-3;

/// Median seconds of a call over `repeats` measurements, after one call to warm up.
pub fn median(repeats: usize, call: impl FnMut()) -> f64 {
    measurements(repeats, call)[repeats / 2]
}

/// Seconds of a call in `repeats` measurements, ascending, after one call to warm up.
pub fn measurements(repeats: usize, mut call: impl FnMut()) -> Vec<f64> {
    call();
    let start = Instant::now();
    call();
    let calls = (SHORTEST / start.elapsed().as_secs_f64().max(1e-9)).ceil().max(1.0) as u32;
    let mut seconds: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed().as_secs_f64() / f64::from(calls)
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// Runs `work` on a pool of this many threads, which all parallel code below it then uses.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("threads for a bench").install(work)
}

/// Flops a second that a large matrix product reaches on the threads of the pool, at best: the machine's limit in
/// practice.
pub fn peak() -> f64 {
    let n = 512;
    let a: Vec<f64> = (0..n * n).map(|k| (k as f64).sin()).collect();
    let mut out = vec![0.0; n * n];
    let seconds = measurements(51, || {
        product(&mut out, Destination::Replace, 1.0, View::new(&a, n, n), View::new(&a, n, n));
        black_box(&out);
    });
    2.0 * (n * n * n) as f64 / seconds[0]
}

/// The slope of the least-squares line through log y over log x: the exponent of a power law.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (mut x_mean, mut y_mean) = (0.0, 0.0);
    for (x, y) in points {
        x_mean += x.ln() / count;
        y_mean += y.ln() / count;
    }
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in points {
        covariance += (x.ln() - x_mean) * (y.ln() - y_mean);
        variance += (x.ln() - x_mean).powi(2);
    }
    covariance / variance
}

/// Standard normal values, the same at every call.
pub fn normals(count: usize) -> Vec<f64> {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    (0..count).map(|_| generator.sample(StandardNormal)).collect()
}

/// Flops, two a multiply-add or product, that the kernels of tiles need for a loss of `count` pairs of views of dimension `dim` and its
/// gradient. Additions and integer operations are not counted, although vectors take them in the same units. The exponential is
/// counted as with AVX-512: a polynomial of degree 5, a product and one more.
///
/// - Eq. 2, for each i < j and so for two pairs: the logit and the exponential twice, d + 7 each, a weight, and d for each of
///   the two rows: 4 d + 15 multiply-adds;
/// - the cosine loss of both directions the same for each pair, which serves a row and a column;
/// - the dot and the one-directional cosine loss: the logit and the exponential once, d for the row and d for the column.
pub fn kernel_flops(loss: &Loss, count: usize, dim: usize) -> f64 {
    let (pairs, d) = ((count * count) as f64, dim as f64);
    match loss {
        Loss::Euclidean(_) => pairs * (4.0 * d + 15.0),
        Loss::Cosine(cosine) if cosine.symmetric => pairs * 2.0 * (4.0 * d + 15.0),
        Loss::Dot(_) | Loss::Cosine(_) => pairs * 2.0 * (3.0 * d + 7.0),
    }
}

/// The same for the loss and X of inputs of the same dimension, where the loss has a kernel for it: d less, as one side of each
/// pair is enough.
pub fn kernel_flops_of_x(loss: &Loss, count: usize, dim: usize) -> Option<f64> {
    let saved = (count * count * dim) as f64;
    let side = match loss {
        Loss::Euclidean(_) => saved,
        Loss::Dot(_) => 2.0 * saved,
        Loss::Cosine(_) => return None,
    };
    Some(kernel_flops(loss, count, dim) - side)
}
