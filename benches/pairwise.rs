//! Time of loss and gradient per ordered pair, on one thread, against what the arithmetic of the kernel needs.
//!
//! `cargo bench --bench pairwise`. A pair costs 2 d flops for its logit, 2 d for its row and 2 d for its column, and one
//! exponential of about 40 flops. The machine's limit is measured by a large matrix product in the same process.

use contraflow::loss::{Loss, Reduction, Workspace};
use contraflow::matrix::{Destination, View, product};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::hint::black_box;
use std::time::Instant;

const DIM: usize = 16;
const EXPONENTIAL_FLOPS: f64 = 40.0;

/// Median seconds of a call over `repeats` calls after one to warm up.
fn median(repeats: usize, mut call: impl FnMut()) -> f64 {
    call();
    let mut seconds: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[repeats / 2]
}

fn main() {
    let n = 512;
    let a: Vec<f64> = (0..n * n).map(|k| (k as f64).sin()).collect();
    let mut out = vec![0.0; n * n];
    let seconds = median(9, || {
        product(&mut out, Destination::Replace, 1.0, View::new(&a, n, n), View::new(&a, n, n));
        black_box(&out);
    });
    let limit = 2.0 * (n * n * n) as f64 / seconds;
    println!("matrix product: {:.1} Gflop/s", 1e-9 * limit);
    let floor = (6.0 * DIM as f64 + EXPONENTIAL_FLOPS) / limit;
    println!("floor at d = {DIM}: {:.2} ns a pair", 1e9 * floor);
    for loss in Loss::examples() {
        for count in [128, 1024, 4096] {
            let mut generator = ChaCha8Rng::seed_from_u64(1);
            let z: Vec<f64> = (0..2 * count * DIM).map(|_| generator.sample(StandardNormal)).collect();
            let mut gradient = vec![0.0; z.len()];
            let mut workspace = Workspace::default();
            let repeats = 5 + 20_000_000 / (count * count);
            let seconds = median(repeats.min(201), || {
                black_box(loss.evaluate(&z, DIM, Reduction::Mean, &mut workspace, &mut gradient));
            });
            let pair = seconds / (count * count) as f64;
            println!(
                "{loss:?}, N = {count}: {:.2} ns a pair, {:.2} times the floor",
                1e9 * pair,
                pair / floor
            );
        }
    }
}
