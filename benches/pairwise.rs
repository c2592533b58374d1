//! Time of a loss with its gradient, or with X, per ordered pair, against what the arithmetic of the kernels needs.
//!
//! `cargo bench --bench pairwise`, in about two minutes. First on one thread, with the ratio to the floor: the flops that the
//! kernel of the loss cannot do without (`common::kernel_flops`) at the rate of a large matrix product in this process. Then
//! the same on two threads, and one gradient of 65,536 pairs of views on all.

mod common;

use common::{kernel_flops, kernel_flops_of_x, measurements, normals, on_threads, peak};
use contraflow::loss::{InfonceEuclidean, Loss, Reduction, Workspace};
use contraflow::matrix::Matrix;
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

/// Whether there is a kernel for half of X of this loss.
fn has_kernel_of_x(loss: &Loss) -> bool {
    let (z, mut half) = (normals(2 * 8 * DIM), Matrix::zeros(DIM, DIM));
    loss.half_of_x(&z, DIM, &z, Reduction::Mean, &mut Workspace::default(), &mut half).is_some()
}

/// The same of a loss with half of X.
fn x(loss: &Loss, count: usize, repeats: usize) -> (f64, f64) {
    let (z, inputs) = (normals(2 * count * DIM), normals(2 * count * DIM));
    let mut half = Matrix::zeros(DIM, DIM);
    let mut workspace = Workspace::default();
    let seconds = measurements(repeats, || {
        let evaluation = loss.half_of_x(&z, DIM, &inputs, Reduction::Mean, &mut workspace, &mut half);
        black_box(evaluation.expect("a kernel for X"));
    });
    (seconds[0], seconds[seconds.len() / 2])
}

/// Prints the times of `work`, a function of N and of the number of repeats, for all N.
fn report(name: &str, flops_of_a_pair: f64, limit: f64, work: impl Fn(usize, usize) -> (f64, f64) + Sync) {
    let repeats = |count: usize| (200_000_000 / (count * count)).clamp(5, 101);
    let floor = flops_of_a_pair / limit;
    println!("{name}: floor {:.2} ns a pair at d = {DIM}", 1e9 * floor);
    for count in [128, 1024, 2048, 4096, 8192, 16384] {
        let (best, median) = on_threads(1, || work(count, repeats(count)));
        let pairs = (count * count) as f64;
        print!(
            "  N = {count}: {:.2} ns (best {:.2}), {:.2} times the floor",
            1e9 * median / pairs,
            1e9 * best / pairs,
            median / pairs / floor
        );
        if count >= 1024 {
            let (_, shared) = on_threads(2, || work(count, repeats(count)));
            print!("; two threads are {:.2} times faster", median / shared);
        }
        println!();
    }
}

fn main() {
    let limit = on_threads(1, peak);
    println!("matrix product on one thread: {:.1} Gflop/s", 1e-9 * limit);
    for loss in Loss::examples() {
        let of_gradient = |count, repeats| gradient(&loss, count, repeats);
        report(&format!("{loss:?}, gradient"), kernel_flops(&loss, 1, DIM), limit, of_gradient);
        // Not every machine has the kernels.
        let flops = kernel_flops_of_x(&loss, 1, DIM).filter(|_| has_kernel_of_x(&loss));
        if let Some(flops) = flops {
            report(&format!("{loss:?}, X"), flops, limit, |count, repeats| x(&loss, count, repeats));
        }
    }
    let (best, _) = gradient(&Loss::Euclidean(InfonceEuclidean), 65_536, 1);
    println!("Eq. 2, N = 65536: {best:.2} s on all threads");
}
