//! Time of loss and gradient per ordered pair, against what the arithmetic of the kernels needs.
//!
//! `cargo bench --bench pairwise`, in about a minute. First on one thread, with the ratio to the floor: the flops that the
//! kernel of the loss cannot do without (`common::kernel_flops`) at the rate of a large matrix product in this process. Then
//! the same gradients on two threads, and one of 65,536 pairs of views on all.

mod common;

use common::{kernel_flops, measurements, normals, on_threads, peak};
use contraflow::loss::{InfonceEuclidean, Loss, Reduction, Workspace};
use std::hint::black_box;

const DIM: usize = 16;

/// Best and median seconds of a loss with its gradient.
fn gradient(loss: &Loss, count: usize, repeats: usize) -> (f64, f64) {
    let z = normals(2 * count * DIM);
    let mut gradient = vec![0.0; z.len()];
    let mut workspace = Workspace::default();
    let seconds = measurements(repeats, || {
        black_box(loss.evaluate(&z, DIM, Reduction::Mean, &mut workspace, &mut gradient));
    });
    (seconds[0], seconds[seconds.len() / 2])
}

fn main() {
    let repeats = |count: usize| (200_000_000 / (count * count)).clamp(5, 101);
    let limit = on_threads(1, peak);
    println!("matrix product on one thread: {:.1} Gflop/s", 1e-9 * limit);
    for loss in Loss::examples() {
        let floor = kernel_flops(&loss, 1, DIM) / limit;
        println!("{loss:?}: floor {:.2} ns a pair at d = {DIM}", 1e9 * floor);
        for count in [128, 1024, 2048, 4096, 8192, 16384] {
            let (best, median) = on_threads(1, || gradient(&loss, count, repeats(count)));
            let pairs = (count * count) as f64;
            print!(
                "  N = {count}: {:.2} ns (best {:.2}), {:.2} times the floor",
                1e9 * median / pairs,
                1e9 * best / pairs,
                median / pairs / floor
            );
            if count >= 1024 {
                let (_, shared) = on_threads(2, || gradient(&loss, count, repeats(count)));
                print!("; two threads are {:.2} times faster", median / shared);
            }
            println!();
        }
    }
    let (best, _) = gradient(&Loss::Euclidean(InfonceEuclidean), 65_536, 1);
    println!("Eq. 2, N = 65536: {best:.2} s on all threads");
}
