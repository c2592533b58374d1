//! Cost grows as the arithmetic says: measured exponents in N, d and L, and the part of the machine's peak that each reaches.
//!
//! `cargo bench --bench scaling`, in about two minutes: on one thread, then on all. An exponent is the slope of the least-squares line through log seconds over
//! log size. Beside it stands the slope of the flop counts below at the same sizes, which is what the arithmetic says there, and
//! the exponent of their leading term. The peak is that of a large matrix product in this process, on as many threads.
//!
//! Flops:
//! - loss and gradient: those of the kernels of tiles, `common::kernel_flops`;
//! - gradient of L layers of d x d without the loss, 2 N columns; the time of the loss on the same embeddings is subtracted. With
//!   ReLU 4 N d² (3 L - 1): forwards, weights and inputs, except the gradient of the inputs of the first layer. Linear layers are
//!   multiplied first: 8 N d² + 6 d³ (L - 1);
//! - right-hand side of the population flow: 2 d³ (3 L + 1), as in the bench `population`.

mod common;

use common::{exponent, kernel_flops, median, normals, on_threads, peak};
use contraflow::augment::Sides;
use contraflow::encoder::{Activation, Network};
use contraflow::gradient::{GivenXFlow, Objective};
use contraflow::loss::{InfonceEuclidean, Loss, Reduction, Workspace};
use contraflow::matrix::Matrix;
use contraflow::theory::{Population, ViewCovariances};
use std::hint::black_box;

/// One size: the size, its seconds and its flops.
struct Point {
    size: usize,
    seconds: f64,
    flops: f64,
}

/// Prints the exponents of `points` and the part of `peak` that each of them reaches.
fn report(name: &str, leading: u32, points: &[Point], peak: f64) {
    let slope = |of: &dyn Fn(&Point) -> f64| {
        exponent(&points.iter().map(|point| (point.size as f64, of(point))).collect::<Vec<_>>())
    };
    let measured = slope(&|point| point.seconds);
    let counted = slope(&|point| point.flops);
    let shares: Vec<String> = points
        .iter()
        .map(|point| format!("{}: {:.2}", point.size, point.flops / point.seconds / peak))
        .collect();
    println!("{name:<52} {measured:>8.2} {counted:>8.2} {leading:>8}   {}", shares.join(", "));
}

/// Repeats for a measurement of about this many seconds.
fn repeats(seconds: f64) -> usize {
    ((1.0 / seconds) as usize).clamp(5, 51)
}

/// Loss and gradient with respect to `count` pairs of embeddings.
fn kernel(loss: &Loss, count: usize, dim: usize, size: usize) -> Point {
    let z = normals(2 * count * dim);
    let mut gradient = vec![0.0; z.len()];
    let mut workspace = Workspace::default();
    let flops = kernel_flops(loss, count, dim);
    let seconds = median(repeats(flops / 2e10), || {
        black_box(loss.evaluate(&z, dim, Reduction::Mean, &mut workspace, &mut gradient));
    });
    Point { size, seconds, flops }
}

fn layers(depth: usize, dim: usize) -> Vec<Matrix> {
    let scale = 1.0 / (dim as f64).sqrt();
    let layer = |l: usize| Matrix::from_fn(dim, dim, |i, j| ((i * 7 + j * 3 + l) as f64).sin() * scale);
    (0..depth).map(layer).collect()
}

/// The gradient of `depth` layers, less the time of the loss.
fn gradient(activation: Activation, depth: usize, dim: usize, count: usize) -> Point {
    let (network, parameters) = Network::of_layers(&layers(depth, dim), activation);
    let views = normals(2 * count * dim);
    let loss = Loss::Euclidean(InfonceEuclidean);
    let mut objective = Objective::new(network, loss, Reduction::Mean);
    let mut out = vec![0.0; parameters.len()];
    let whole = median(21, || {
        black_box(objective.evaluate(&parameters, &views, &mut out));
    });
    let embeddings = objective.embeddings().to_vec();
    let mut workspace = Workspace::default();
    let mut upstream = vec![0.0; embeddings.len()];
    let of_loss = median(21, || {
        black_box(loss.evaluate(&embeddings, dim, Reduction::Mean, &mut workspace, &mut upstream));
    });
    let (columns, d, l) = (2.0 * count as f64, dim as f64, depth as f64);
    let flops = match activation {
        Activation::Linear => 4.0 * columns * d * d + 6.0 * d.powi(3) * (l - 1.0),
        _ => 2.0 * columns * d * d * (3.0 * l - 1.0),
    };
    Point { size: depth, seconds: whole - of_loss, flops }
}

/// The right-hand side of the population flow.
fn population(depth: usize, dim: usize, size: usize) -> Point {
    let identity = Matrix::identity(dim, dim);
    let views = ViewCovariances::new(&identity, &(&identity * 0.1f64.sqrt()), Sides::One);
    let mut population =
        Population::new(&Loss::Euclidean(InfonceEuclidean), views).expect("Eq. 2 has a limit");
    let (network, parameters) = Network::of_layers(&layers(depth, dim), Activation::Linear);
    let mut flow = GivenXFlow::new(&network);
    let mut out = vec![0.0; parameters.len()];
    let seconds = median(21, || {
        flow.derivative_by(&parameters, |w, image| population.times_x(w, image), &mut out);
        black_box(&out);
    });
    Point { size, seconds, flops: 2.0 * (dim as f64).powi(3) * (3.0 * depth as f64 + 1.0) }
}

fn main() {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    on_threads(1, || measure("1 thread"));
    if all > 1 {
        on_threads(all, || measure(&format!("{all} threads")));
    }
}

fn measure(threads: &str) {
    let peak = peak();
    println!("\n{threads}; peak, a large matrix product: {:.1} Gflop/s", 1e-9 * peak);
    println!("{:<52} {:>8} {:>8} {:>8}   part of the peak by size", "", "measured", "counted", "leading");
    for loss in Loss::examples() {
        let direction = match loss {
            Loss::Cosine(cosine) if cosine.symmetric => ", both directions",
            _ => "",
        };
        let name = format!("{}{direction}", loss.name());
        let points: Vec<Point> =
            [1024, 2048, 4096, 8192, 16384].map(|count| kernel(&loss, count, 16, count)).into();
        report(&format!("{name}, d = 16, over N"), 2, &points, peak);
        let points: Vec<Point> = [64, 128, 256, 512].map(|dim| kernel(&loss, 2048, dim, dim)).into();
        report(&format!("{name}, N = 2048, over d"), 1, &points, peak);
    }
    for activation in [Activation::Relu, Activation::Linear] {
        let points: Vec<Point> =
            [1, 2, 4, 8, 16, 32].map(|depth| gradient(activation, depth, 128, 256)).into();
        report(&format!("gradient of {activation:?} layers, d = 128, N = 256, over L"), 1, &points, peak);
    }
    let points: Vec<Point> = [16, 32, 64, 128, 256].map(|dim| population(2, dim, dim)).into();
    report("population flow, L = 2, over d", 3, &points, peak);
    report("population flow, L = 2, over d from 64", 3, &points[2..], peak);
    let points: Vec<Point> = [1, 2, 4, 8, 16, 32].map(|depth| population(depth, 128, depth)).into();
    report("population flow, d = 128, over L", 1, &points, peak);
}
