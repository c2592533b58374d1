//! The field of the population flow: time an evaluation against the arithmetic of its products.
//!
//! `cargo bench --bench population` prints, for layers of d x d, microseconds an evaluation, its flops and their rate, and the
//! cost of the Jacobian that the stiff method needs.

mod common;

use common::median;
use contraflow::augment::Sides;
use contraflow::encoder::{Activation, Network};
use contraflow::gradient::GivenXFlow;
use contraflow::loss::{InfonceEuclidean, Loss};
use contraflow::matrix::Matrix;
use contraflow::theory::{Population, ViewCovariances};
use std::hint::black_box;

const MEASUREMENTS: usize = 51;

fn main() {
    println!(
        "{:>5} {:>3} {:>12} {:>10} {:>8} {:>14}",
        "d", "L", "µs a field", "Mflop", "Gflop/s", "µs a Jacobian"
    );
    for (dim, depth) in [(16, 1), (16, 2), (16, 4), (32, 2), (64, 2), (128, 2), (128, 4)] {
        let identity = Matrix::identity(dim, dim);
        let views = ViewCovariances::new(&identity, &(&identity * 0.1f64.sqrt()), Sides::One);
        let mut population =
            Population::new(&Loss::Euclidean(InfonceEuclidean), views).expect("Eq. 2 has a limit");
        let layer = |l: usize| {
            Matrix::from_fn(dim, dim, |i, j| ((i * 7 + j * 3 + l) as f64).sin() / (dim as f64).sqrt())
        };
        let layers: Vec<Matrix> = (0..depth).map(layer).collect();
        let (network, parameters) = Network::of_layers(&layers, Activation::Linear);
        let mut flow = GivenXFlow::new(&network);
        let mut out = vec![0.0; parameters.len()];
        let field = median(MEASUREMENTS, || {
            flow.derivative_by(&parameters, |w, image| population.times_x(w, image), &mut out);
            black_box(&out);
        });
        // Products of d x d matrices: L - 1 forwards, 2 (L - 1) backwards, K Kᵀ, two by the inverse, and one for the inverse.
        let products = 3 * (depth - 1) + 4;
        let flops = products as f64 * 2.0 * (dim as f64).powi(3);
        let n = parameters.len();
        let jacobian = (n <= 4096).then(|| {
            let total = layers.iter().skip(1).fold(layers[0].clone(), |product, layer| layer * product);
            let mut times_x = total.clone();
            population.times_x(&total, times_x.as_mut_slice());
            let mut out = vec![0.0; n * n];
            median(MEASUREMENTS, || {
                if let Some(curvature) = population.curvature(&total) {
                    curvature.of_layers(&layers, &times_x, &mut out);
                }
                black_box(&out);
            })
        });
        println!(
            "{dim:>5} {depth:>3} {:>12.2} {:>10.3} {:>8.1} {:>14}",
            field * 1e6,
            flops * 1e-6,
            flops / field * 1e-9,
            jacobian.map_or("-".into(), |seconds| format!("{:.0}", seconds * 1e6))
        );
    }
}
