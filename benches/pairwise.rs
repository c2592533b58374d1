//! Time of loss and gradient per ordered pair, on one thread, against what the arithmetic of the kernel needs.
//!
//! `cargo bench --bench pairwise`. A pair costs 2 d flops for its logit, 2 d for its row and 2 d for its column, and one
//! exponential of about 40 flops. The machine's limit is measured by a large matrix product in the same process.

mod common;

use common::{median, normals, on_threads, peak};
use contraflow::loss::{Loss, Reduction, Workspace};
use std::hint::black_box;

const DIM: usize = 16;
const EXPONENTIAL_FLOPS: f64 = 40.0;

fn main() {
    on_threads(1, measure);
}

fn measure() {
    let limit = peak();
    println!("matrix product: {:.1} Gflop/s", 1e-9 * limit);
    let floor = (6.0 * DIM as f64 + EXPONENTIAL_FLOPS) / limit;
    println!("floor at d = {DIM}: {:.2} ns a pair", 1e9 * floor);
    for loss in Loss::examples() {
        for count in [128, 1024, 4096] {
            let z = normals(2 * count * DIM);
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
