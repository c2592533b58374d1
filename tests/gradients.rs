//! Gradients against dual numbers and extended precision, and X against its definition.

use contraflow::encoder::{Activation, Map, Network};
use contraflow::gradient::{Objective, referee};
use contraflow::loss::{InfonceCosine, InfonceDot, InfonceEuclidean, Loss, Reduction, Workspace};
use contraflow::matrix::{Destination, Matrix, View, product, symmetric_eigenvalues};
use contraflow::real::{Dual, Real};
use dashu_float::FBig;
use dashu_float::ops::SquareRoot;
use dashu_float::round::mode::HalfEven;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng as ChaCha;
use rand_distr::StandardNormal;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The promise: errors of at most this times ε (1 + max |logit|), relative to the sum of the absolute terms.
const PROMISE: f64 = 100.0 * f64::EPSILON;

fn normals(generator: &mut ChaCha, count: usize, scale: f64) -> Vec<f64> {
    (0..count).map(|_| scale * generator.sample::<f64, _>(StandardNormal)).collect()
}

/// The largest value; a NaN counts as infinite, so that no bound holds for it.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| if value.is_nan() { f64::INFINITY } else { value }).fold(0.0, f64::max)
}

fn column(columns: &[f64], dim: usize, i: usize) -> &[f64] {
    &columns[i * dim..(i + 1) * dim]
}

fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Largest |logit| and the sums of the absolute terms of the gradient with respect to each embedding, by plain loops.
fn absolute_terms(loss: &Loss, z: &[f64], dim: usize, reduction: Reduction) -> (f64, Vec<f64>) {
    let n = z.len() / (2 * dim);
    let mut terms = vec![0.0; z.len()];
    let mut add = |at: usize, a: &[f64], b: &[f64], weight: f64| {
        for k in 0..dim {
            terms[at * dim + k] += weight * (a[k].abs() + b[k].abs());
        }
    };
    let zero = vec![0.0; dim];
    let softmax = |logits: &[f64]| -> Vec<f64> {
        let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.iter().map(|l| (l - peak).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|w| w / total).collect()
    };
    let mut largest: f64 = 0.0;
    match loss {
        Loss::Euclidean(_) => {
            for i in 0..n {
                let zi = column(z, dim, i);
                let logits: Vec<f64> = (0..n)
                    .map(|j| -0.5 * square_distance(zi, column(z, dim, if j == i { n + i } else { j })))
                    .collect();
                largest = logits.iter().fold(largest, |m, l| m.max(l.abs()));
                let alpha = softmax(&logits);
                for j in (0..n).filter(|&j| j != i) {
                    let zj = column(z, dim, j);
                    let difference: Vec<f64> = zi.iter().zip(zj).map(|(a, b)| a - b).collect();
                    let positive: Vec<f64> =
                        zi.iter().zip(column(z, dim, n + i)).map(|(a, b)| a - b).collect();
                    add(i, &difference, &positive, alpha[j]);
                    add(j, &difference, &zero, alpha[j]);
                    add(n + i, &positive, &zero, alpha[j]);
                }
            }
        }
        Loss::Dot(InfonceDot { temperature }) => {
            for i in 0..n {
                let zi = column(z, dim, i);
                let logits: Vec<f64> = (0..n).map(|j| dot(zi, column(z, dim, n + j)) / temperature).collect();
                largest = logits.iter().fold(largest, |m, l| m.max(l.abs()));
                let alpha = softmax(&logits);
                for j in (0..n).filter(|&j| j != i) {
                    let weight = alpha[j] / temperature;
                    add(i, column(z, dim, n + j), column(z, dim, n + i), weight);
                    add(n + j, zi, &zero, weight);
                    add(n + i, zi, &zero, weight);
                }
            }
        }
        Loss::Cosine(InfonceCosine { temperature, symmetric }) => {
            let norms: Vec<f64> = z.chunks(dim).map(|z| dot(z, z).sqrt().max(1e-12)).collect();
            let units: Vec<f64> =
                z.chunks(dim).zip(&norms).flat_map(|(z, norm)| z.iter().map(move |v| v / norm)).collect();
            let of_dot = |units: &[f64]| {
                absolute_terms(
                    &Loss::Dot(InfonceDot { temperature: *temperature }),
                    units,
                    dim,
                    Reduction::Sum,
                )
            };
            let (mut peak, mut of_units) = of_dot(&units);
            if *symmetric {
                let swap = |v: &[f64]| [&v[v.len() / 2..], &v[..v.len() / 2]].concat();
                let (other_peak, other) = of_dot(&swap(&units));
                peak = peak.max(other_peak);
                of_units.iter_mut().zip(swap(&other)).for_each(|(a, b)| *a = 0.5 * (*a + b));
            }
            largest = peak;
            for (i, norm) in norms.iter().enumerate() {
                let along: f64 = column(&units, dim, i)
                    .iter()
                    .zip(column(&of_units, dim, i))
                    .map(|(u, g)| u.abs() * g)
                    .sum();
                for k in i * dim..(i + 1) * dim {
                    terms[k] = (of_units[k] + units[k].abs() * along) / norm;
                }
            }
        }
    }
    let factor = if reduction == Reduction::Mean { 1.0 / n as f64 } else { 1.0 };
    terms.iter_mut().for_each(|t| *t *= factor);
    (largest, terms)
}

/// The same sums carried back to the parameters: the chain rule with every number replaced by its absolute value.
fn absolute_parameter_terms(
    network: &Network,
    parameters: &[f64],
    views: &[f64],
    upstream: &[f64],
) -> Vec<f64> {
    let columns = views.len() / network.input_dim();
    // Outputs between stages, and for each the sum of absolute terms that it was computed from.
    let mut outputs = vec![views.to_vec()];
    for stage in network.stages() {
        let input = outputs.last().unwrap();
        let width = input.len() / columns;
        let mut next: Vec<f64> = Vec::new();
        for c in 0..columns {
            let input = column(input, width, c);
            match &stage.map {
                Map::Dense { shape, offset } => {
                    for i in 0..shape.rows {
                        let bias = if shape.bias {
                            parameters[offset + shape.rows * shape.columns + i]
                        } else {
                            0.0
                        };
                        let sum: f64 =
                            (0..width).map(|j| parameters[offset + j * shape.rows + i] * input[j]).sum();
                        next.push(sum + bias);
                    }
                }
                _ => panic!("dense layers only in this test"),
            }
        }
        if stage.activation == Activation::Relu {
            next.iter_mut().for_each(|v| *v = v.max(0.0));
        } else if stage.activation == Activation::Tanh {
            next.iter_mut().for_each(|v| *v = v.tanh());
        }
        outputs.push(next);
    }
    let mut terms = vec![0.0; parameters.len()];
    let mut delta = upstream.to_vec();
    for (index, stage) in network.stages().iter().enumerate().rev() {
        let Map::Dense { shape, offset } = &stage.map else { panic!("dense layers only in this test") };
        if stage.activation == Activation::Relu {
            delta.iter_mut().zip(&outputs[index + 1]).for_each(|(d, o)| *d = if *o > 0.0 { *d } else { 0.0 });
        }
        let mut back = vec![0.0; shape.columns * columns];
        for c in 0..columns {
            for i in 0..shape.rows {
                let d = delta[c * shape.rows + i];
                for j in 0..shape.columns {
                    terms[offset + j * shape.rows + i] += d * outputs[index][c * shape.columns + j].abs();
                    back[c * shape.columns + j] += d * parameters[offset + j * shape.rows + i].abs();
                }
                if shape.bias {
                    terms[offset + shape.rows * shape.columns + i] += d;
                }
            }
        }
        delta = back;
    }
    terms
}

/// One random instance; returns the worst error of the gradient in units of the promise.
fn worst_error(loss: &Loss, judged_by: &Loss, generator: &mut ChaCha) -> f64 {
    let depth = generator.random_range(1..=3);
    let widths: Vec<usize> = (0..=depth).map(|_| generator.random_range(1..=5)).collect();
    let layers: Vec<Matrix> = widths
        .windows(2)
        .map(|w| Matrix::from_vec(w[1], w[0], normals(generator, w[0] * w[1], 1.0)))
        .collect();
    let activation = [Activation::Linear, Activation::Relu, Activation::Tanh][generator.random_range(0..3)];
    let (network, parameters) = Network::of_layers(&layers, activation);
    let n = generator.random_range(2..=8);
    let spread = [0.1, 1.0, 3.0][generator.random_range(0..3)];
    let mut views = normals(generator, 2 * n * widths[0], spread);
    if generator.random_range(0..4) == 0 {
        // Duplicate samples, and a view that equals its sample.
        let d = widths[0];
        views.copy_within(0..d, d);
        views.copy_within(0..d, n * d);
    }
    let reduction = if generator.random() { Reduction::Mean } else { Reduction::Sum };
    let mut objective = Objective::new(network, *loss, reduction);
    let mut gradient = vec![0.0; parameters.len()];
    objective.evaluate(&parameters, &views, &mut gradient);
    let dim = objective.network.embedding_dim();
    let z = objective.embeddings().to_vec();
    let short = z.chunks(dim).any(|z| dot(z, z).sqrt() < 1e-6);
    if short && matches!(loss, Loss::Cosine(_)) {
        // A dead ReLU leaves z = 0, where the norm has no derivative; dividing by the floor has a test of its own.
        return 0.0;
    }
    let (peak, upstream) = absolute_terms(loss, &z, dim, reduction);
    let terms = absolute_parameter_terms(&objective.network, &parameters, &views, &upstream);
    let bound = PROMISE * (1.0 + peak);
    largest((0..parameters.len()).map(|k| {
        let exact: f64 =
            referee::derivative(&objective.network, judged_by, reduction, &parameters, &views, k);
        let error = (gradient[k] - exact).abs();
        if error == 0.0 { 0.0 } else { error / (bound * terms[k]) }
    }))
}

#[test]
fn gradients_agree_with_dual_numbers_on_a_thousand_random_instances() {
    let mut generator = ChaCha::seed_from_u64(7);
    let losses = Loss::examples();
    let mut worst: f64 = 0.0;
    for instance in 0..1000 {
        let loss = losses[instance % losses.len()];
        let error = worst_error(&loss, &loss, &mut generator);
        assert!(error <= 1.0, "instance {instance}, {loss:?}: {error} times the promise");
        worst = worst.max(error);
    }
    println!("worst error: {worst:.3} of the promise");
}

#[test]
fn losses_are_those_of_their_definition_reduced_as_they_say() {
    let mut generator = ChaCha::seed_from_u64(16);
    for loss in Loss::examples() {
        for (n, dim, scale) in [(2, 1, 1.0), (8, 5, 3.0), (130, 9, 1.0)] {
            let z = normals(&mut generator, 2 * n * dim, scale);
            let rows: Vec<Vec<f64>> = z.chunks(dim).map(<[f64]>::to_vec).collect();
            let mut gradient = vec![0.0; z.len()];
            for reduction in [Reduction::Mean, Reduction::Sum] {
                let value = loss.evaluate(&z, dim, reduction, &mut Workspace::default(), &mut gradient).loss;
                let expected = loss.reference(&rows[..n], &rows[n..], reduction);
                // An error of a logit moves the loss of its row by as much.
                let (largest, _) = absolute_terms(&loss, &z, dim, reduction);
                let rows = if reduction == Reduction::Sum { n as f64 } else { 1.0 };
                let error = (value - expected).abs() / (PROMISE * (1.0 + largest) * rows);
                assert!(error <= 1.0, "{loss:?}, N = {n}, {reduction:?}: {value} and {expected}");
            }
        }
    }
}

#[test]
fn the_gradient_check_rejects_a_temperature_that_is_wrong_in_the_tenth_digit() {
    let mut generator = ChaCha::seed_from_u64(8);
    let right = Loss::Dot(InfonceDot { temperature: 0.7 });
    let wrong = Loss::Dot(InfonceDot { temperature: 0.7 * (1.0 + 1e-10) });
    let rejected = (0..100).filter(|_| worst_error(&wrong, &right, &mut generator) > 1.0).count();
    assert!(rejected > 90, "{rejected} of 100");
}

/// Numbers of 60 decimal digits.
#[derive(Clone)]
struct Big(FBig<HalfEven, 2>);

const BITS: usize = 200;

impl From<f64> for Big {
    fn from(value: f64) -> Self {
        Big(FBig::try_from(value).unwrap().with_precision(BITS).value())
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait for Big {
            type Output = Big;
            fn $method(self, other: Big) -> Big {
                Big($trait::$method(self.0, other.0))
            }
        }
    )*};
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl Neg for Big {
    type Output = Big;
    fn neg(self) -> Big {
        Big(-self.0)
    }
}

impl Real for Big {
    fn exp(self) -> Self {
        Big(self.0.exp())
    }
    fn ln(self) -> Self {
        Big(self.0.ln())
    }
    fn sqrt(self) -> Self {
        Big(self.0.sqrt())
    }
    fn value(&self) -> f64 {
        self.0.to_f64().value()
    }
}

/// The gradient of `loss` with respect to the embeddings in extended precision.
fn exact_gradient(loss: &Loss, z: &[f64], dim: usize, reduction: Reduction) -> Vec<f64> {
    (0..z.len())
        .map(|index| {
            let dual: Vec<Vec<Dual<Big>>> = z
                .chunks(dim)
                .enumerate()
                .map(|(i, z)| {
                    let is = |k: usize| if i * dim + k == index { 1.0 } else { 0.0 };
                    z.iter()
                        .enumerate()
                        .map(|(k, &v)| Dual { value: Big::from(v), derivative: Big::from(is(k)) })
                        .collect()
                })
                .collect();
            let (first, second) = dual.split_at(dual.len() / 2);
            loss.reference(first, second, reduction).derivative.value()
        })
        .collect()
}

/// Embeddings of norm about 1000 whose first positive pair is saturated: 1 - α_ii = 1e-12.
fn saturated(loss: &Loss, generator: &mut ChaCha) -> (Vec<f64>, usize) {
    let gap = 12.0 * std::f64::consts::LN_10;
    let unit = |generator: &mut ChaCha, dim: usize| {
        let z = normals(generator, dim, 1.0);
        let norm = dot(&z, &z).sqrt();
        z.iter().map(|v| v / norm).collect::<Vec<f64>>()
    };
    match loss {
        Loss::Euclidean(_) => {
            let (n, dim) = (4, 3);
            let first: Vec<f64> = (0..n).flat_map(|_| unit(generator, dim)).map(|v| 1e3 * v).collect();
            let second: Vec<f64> = (0..n)
                .flat_map(|i| {
                    let own = column(&first, dim, i).to_vec();
                    let nearest = (0..n)
                        .filter(|&j| j != i)
                        .map(|j| square_distance(&own, column(&first, dim, j)))
                        .fold(f64::INFINITY, f64::min);
                    let length = (nearest - 2.0 * gap).max(0.0).sqrt();
                    let direction = unit(generator, dim);
                    own.iter().zip(direction).map(|(z, u)| z + length * u).collect::<Vec<f64>>()
                })
                .collect();
            ([first, second].concat(), dim)
        }
        Loss::Dot(InfonceDot { temperature }) => {
            // Two pairs: z_i·(z'_i - z'_j) = gap τ, the rest of z_i across that difference.
            let dim = 3;
            let keys: Vec<Vec<f64>> =
                (0..2).map(|_| unit(generator, dim).iter().map(|v| 1e3 * v).collect()).collect();
            let queries = (0..2).flat_map(|i| {
                let difference: Vec<f64> = keys[i].iter().zip(&keys[1 - i]).map(|(a, b)| a - b).collect();
                let square = dot(&difference, &difference);
                let free: Vec<f64> = normals(generator, dim, 600.0);
                let along = (dot(&free, &difference) - gap * temperature) / square;
                free.iter().zip(&difference).map(|(f, d)| f - along * d).collect::<Vec<f64>>()
            });
            (queries.chain(keys.concat()).collect(), dim)
        }
        Loss::Cosine(InfonceCosine { temperature, .. }) => {
            let angle = (1.0 - gap * temperature).acos();
            let turn = generator.random_range(0.0..std::f64::consts::TAU);
            let at = |angle: f64| [1e3 * (turn + angle).cos(), 1e3 * (turn + angle).sin()];
            ([at(0.0), at(angle), at(0.0), at(angle)].concat(), 2)
        }
    }
}

#[test]
fn saturated_gradients_agree_with_extended_precision_on_fifty_cases() {
    let mut generator = ChaCha::seed_from_u64(9);
    let losses = [
        Loss::Euclidean(InfonceEuclidean),
        Loss::Dot(InfonceDot { temperature: 1.0 }),
        Loss::Cosine(InfonceCosine { temperature: 0.02, symmetric: false }),
        Loss::Cosine(InfonceCosine { temperature: 0.02, symmetric: true }),
    ];
    let mut workspace = Workspace::default();
    let mut worst: f64 = 0.0;
    for case in 0..52 {
        let loss = losses[case % losses.len()];
        let (z, dim) = saturated(&loss, &mut generator);
        let mut gradient = vec![0.0; z.len()];
        let evaluation = loss.evaluate(&z, dim, Reduction::Sum, &mut workspace, &mut gradient);
        assert!(evaluation.loss.is_finite() && evaluation.loss > 0.0);
        let exact = exact_gradient(&loss, &z, dim, Reduction::Sum);
        let (largest, terms) = absolute_terms(&loss, &z, dim, Reduction::Sum);
        for k in 0..z.len() {
            let error = (gradient[k] - exact[k]).abs();
            let relative = if error == 0.0 { 0.0 } else { error / (PROMISE * (1.0 + largest) * terms[k]) };
            assert!(relative <= 1.0, "case {case}, {loss:?}, entry {k}: {relative} times the promise");
            worst = worst.max(relative);
        }
    }
    println!("worst error: {worst:.3} of the promise");
}

#[test]
fn saturated_cases_are_saturated_and_the_subtraction_from_one_would_fail_them() {
    let mut generator = ChaCha::seed_from_u64(10);
    let loss = Loss::Euclidean(InfonceEuclidean);
    let (z, dim) = saturated(&loss, &mut generator);
    let mut workspace = Workspace::default();
    let found = InfonceEuclidean.weighted_covariances(&z, dim, &z, Reduction::Sum, &mut workspace);
    let weight = found.negative_weight.iter().copied().fold(1.0, f64::min);
    assert!(weight > 0.3e-12 && weight < 3e-12, "{weight:e}");
    let subtracted = 1.0 - (1.0 - weight);
    assert!((subtracted - weight).abs() > 1e-6 * weight, "1 - α_ii loses digits that the sum keeps");
}

#[test]
fn values_are_finite_for_embeddings_of_any_scale() {
    let mut generator = ChaCha::seed_from_u64(11);
    let mut workspace = Workspace::default();
    for loss in Loss::examples() {
        for scale in [0.0, 1e-300, 1e-12, 1.0, 1e3, 1e6] {
            let z = normals(&mut generator, 2 * 9 * 4, scale);
            let mut gradient = vec![f64::NAN; z.len()];
            let evaluation = loss.evaluate(&z, 4, Reduction::Mean, &mut workspace, &mut gradient);
            assert!(evaluation.loss.is_finite() && evaluation.loss >= 0.0, "{loss:?} at scale {scale}");
            assert!(gradient.iter().all(|g| g.is_finite()), "{loss:?} at scale {scale}");
            let short = z.chunks(4).filter(|z| dot(z, z).sqrt() < 1e-12).count();
            let counted = if matches!(loss, Loss::Cosine(_)) { short } else { 0 };
            assert_eq!(evaluation.shorter_than_floor, counted);
        }
    }
}

#[test]
fn a_short_embedding_is_divided_by_the_floor_and_its_gradient_is_that_of_a_linear_map() {
    let loss = Loss::Cosine(InfonceCosine { temperature: 0.5, symmetric: true });
    let z = [1e-13, -2e-13, 0.4, 0.3, -0.7, 0.2, 0.5, 1.0];
    let mut gradient = [0.0; 8];
    let evaluation = loss.evaluate(&z, 2, Reduction::Mean, &mut Workspace::default(), &mut gradient);
    assert_eq!(evaluation.shorter_than_floor, 1);
    let exact = exact_gradient(&loss, &z, 2, Reduction::Mean);
    for k in 0..8 {
        assert!(
            (gradient[k] - exact[k]).abs() <= 1e-13 * exact[k].abs(),
            "{k}: {} {}",
            gradient[k],
            exact[k]
        );
    }
}

/// A linear network on random views, and its end-to-end matrix.
fn linear_instance(generator: &mut ChaCha, loss: Loss) -> (Objective, Vec<f64>, Vec<f64>, Matrix) {
    let w1 = Matrix::from_vec(3, 4, normals(generator, 12, 0.8));
    let w2 = Matrix::from_vec(5, 3, normals(generator, 15, 0.8));
    let total = &w2 * &w1;
    let (network, parameters) = Network::of_layers(&[w1, w2], Activation::Linear);
    let views = normals(generator, 2 * 20 * 4, 1.0);
    (Objective::new(network, loss, Reduction::Sum), parameters, views, total)
}

#[test]
fn x_is_symmetric_and_gives_the_gradient_of_the_end_to_end_matrix() {
    let mut generator = ChaCha::seed_from_u64(12);
    for loss in Loss::examples() {
        for _ in 0..20 {
            let (mut objective, parameters, views, total) = linear_instance(&mut generator, loss);
            let (x, evaluation) = objective.x_matrix(&parameters, &views);
            assert_eq!(x, x.transpose());
            // From the gradient with respect to the embeddings, which knows nothing of X.
            let views = Matrix::from_column_slice(total.ncols(), views.len() / total.ncols(), &views);
            let z = &total * &views;
            let mut upstream = Matrix::zeros(z.nrows(), z.ncols());
            let (values, out) = (z.as_slice(), upstream.as_mut_slice());
            let value = loss.evaluate(values, z.nrows(), Reduction::Sum, &mut Workspace::default(), out);
            let gradient = &upstream * views.transpose();
            // Both are sums over 40 columns of terms of size |x|, so they agree to a few hundred ε of |W| |X|.
            let scale = total.norm() * x.norm() + gradient.norm();
            assert!((&gradient + &total * &x).norm() < 400.0 * f64::EPSILON * scale, "{loss:?}");
            assert!((&gradient - &total * &x).norm() > 0.1 * gradient.norm(), "the other sign is rejected");
            assert!((value.loss - evaluation.loss).abs() < 1e-12 * value.loss.abs());
        }
    }
}

#[test]
fn half_of_x_gives_the_gradient_of_a_linear_encoder_for_batches_of_every_size() {
    let mut generator = ChaCha::seed_from_u64(19);
    for loss in [Loss::Euclidean(InfonceEuclidean), Loss::Dot(InfonceDot { temperature: 0.7 })] {
        // Embeddings of d coordinates from inputs of p.
        for (n, d, p) in [
            (2, 1, 1),
            (3, 5, 2),
            (31, 16, 16),
            (33, 3, 7),
            (64, 2, 64),
            (130, 16, 16),
            (1100, 4, 5),
            (4100, 2, 1),
        ] {
            for biased in [false, true] {
                // With biases, inputs have a 1 behind them.
                let width = p + usize::from(biased);
                let w =
                    Matrix::from_vec(d, width, normals(&mut generator, d * width, 1.0 / (p as f64).sqrt()));
                let mut views = Matrix::from_vec(p, 2 * n, normals(&mut generator, 2 * n * p, 1.0));
                let first = views.column(0).into_owned();
                views.set_column(n / 2, &first);
                let inputs = views.clone().insert_rows(p, width - p, 1.0);
                let z = &w * &inputs;
                let mut workspace = Workspace::default();
                let mut half = Matrix::from_element(p, width, f64::NAN);
                let (columns, values) = (z.as_slice(), views.as_slice());
                let found = loss.half_of_x(columns, d, values, Reduction::Mean, &mut workspace, &mut half);
                assert_eq!(found.is_some(), has_kernels(), "{loss:?}, N = {n}");
                let Some(found) = found else { continue };
                let half = half.insert_rows(p, width - p, 0.0);
                let mut upstream = Matrix::zeros(d, 2 * n);
                let out = upstream.as_mut_slice();
                let value = loss.evaluate(columns, d, Reduction::Mean, &mut workspace, out);
                assert!((found.loss - value.loss).abs() <= PROMISE * value.loss.abs(), "{loss:?}, N = {n}");
                let expected = &upstream * inputs.transpose();
                let (peak, terms) = absolute_terms(&loss, columns, d, Reduction::Mean);
                let terms = Matrix::from_vec(d, 2 * n, terms) * inputs.transpose().abs();
                let worst = |gradient: &Matrix| {
                    let errors = (gradient - &expected).abs().component_div(&terms);
                    largest(errors.iter().copied()) / (PROMISE * (1.0 + peak))
                };
                // Both ways make errors.
                let error = worst(&-(&w * (&half + half.transpose())));
                assert!(error <= 2.0, "{loss:?}, N = {n}: {error} times the promise");
                // Where inputs have more than one direction, half of X is not symmetric.
                let lopsided = worst(&-(&w * &half * 2.0));
                assert!(
                    n < 4 || p == 1 || lopsided > 1e6,
                    "{loss:?}, N = {n}: half of X is as good as all of it"
                );
            }
        }
    }
}

#[test]
fn linear_encoders_follow_half_of_x_except_where_it_would_lose_digits() {
    let mut generator = ChaCha::seed_from_u64(20);
    let loss = Loss::Euclidean(InfonceEuclidean);
    let (n, p) = (6, 3);
    let w = Matrix::from_vec(p, p, normals(&mut generator, p * p, 0.3)) + Matrix::identity(p, p);
    let (network, parameters) = Network::of_layers(std::slice::from_ref(&w), Activation::Linear);
    let mut objective = Objective::new(network.clone(), loss, Reduction::Mean);
    for spread in [1.0, 1e-3, 1e-6] {
        // Two clusters far apart, and far from the origin.
        let mut x = normals(&mut generator, 2 * n * p, spread);
        for (i, x) in x.chunks_mut(p).enumerate() {
            x[0] += 30.0 + if i % 2 == 0 { 6.0 } else { -6.0 };
        }
        let mut gradient = vec![0.0; p * p];
        objective.evaluate(&parameters, &x, &mut gradient);
        let z = objective.embeddings().to_vec();
        let mut half = Matrix::zeros(p, p);
        let mut workspace = Workspace::default();
        let found = loss.half_of_x(&z, p, &x, Reduction::Mean, &mut workspace, &mut half);
        assert_eq!(found.is_some(), has_kernels() && spread == 1.0, "{spread:e}");
        let mut of_x = Matrix::zeros(p, p);
        for (destination, half) in
            [(Destination::Replace, View::from(&half)), (Destination::Add, View::from(&half).transpose())]
        {
            product(of_x.as_mut_slice(), destination, -1.0, View::from(&w), half);
        }
        assert_eq!(gradient == of_x.as_slice(), found.is_some(), "{spread:e}: which way it went");
        let (peak, _) = absolute_terms(&loss, &z, p, Reduction::Mean);
        // Embeddings are rounded relative to what they are sums of, which moves the gradient by this times the differences of inputs
        // of what has weight: those of a cluster.
        let columns = Matrix::from_column_slice(p, 2 * n, &x);
        let rounded = (w.abs() * columns.abs()).amax();
        let difference = largest((0..p).flat_map(|k| {
            let cluster = |i: usize| (i..2 * n).step_by(2).map(move |i| (k, i));
            [0, 1].map(|i| {
                let values = || cluster(i).map(|at| columns[at]);
                values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min)
            })
        }));
        // Weights add up to at most four a sample: in its row, in its column, and of its pair.
        let bound = PROMISE * (1.0 + peak) * 4.0 * rounded * difference;
        let exact: Vec<f64> = (0..p * p)
            .map(|k| {
                let derivative: Big =
                    referee::derivative(&network, &loss, Reduction::Mean, &parameters, &x, k);
                derivative.value()
            })
            .collect();
        let error = |gradient: &[f64]| largest(gradient.iter().zip(&exact).map(|(a, b)| (a - b).abs()));
        assert!(error(&gradient) <= bound, "{spread:e}: {:e} of {bound:e}", error(&gradient));
    }
}

/// Whether this machine has a kernel for half of X at all.
fn has_kernels() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[test]
fn a_value_leaves_its_gradient_until_another_call() {
    let mut generator = ChaCha::seed_from_u64(21);
    for loss in Loss::examples() {
        for activation in [Activation::Linear, Activation::Tanh] {
            // Inputs of as many coordinates as embeddings, for which X is worth it, and of three times as many.
            for d in [4, 12] {
                let layers = [(5, d), (4, 5)].map(|(rows, columns)| {
                    Matrix::from_vec(rows, columns, normals(&mut generator, rows * columns, 0.5))
                });
                let (network, parameters) = Network::of_layers(&layers, activation);
                let views = normals(&mut generator, 2 * 20 * d, 1.0);
                let mut objective = Objective::new(network, loss, Reduction::Sum);
                let mut expected = vec![0.0; parameters.len()];
                objective.evaluate(&parameters, &views, &mut expected);
                let mut gradient = vec![f64::NAN; parameters.len()];
                assert!(!objective.gradient_of_value(&parameters, &views, &mut gradient), "it is used up");
                let value = objective.value(&parameters, &views);
                assert!(objective.gradient_of_value(&parameters, &views, &mut gradient));
                assert_eq!(gradient, expected, "{loss:?}, {activation:?}, {d}");
                assert_eq!(value, objective.evaluate(&parameters, &views, &mut gradient));
                if activation == Activation::Linear {
                    objective.value(&parameters, &views);
                    objective.x_matrix(&parameters, &views);
                    assert!(!objective.gradient_of_value(&parameters, &views, &mut gradient));
                }
            }
        }
    }
}

#[test]
fn weighted_covariances_agree_with_their_double_sums_and_x_is_their_difference() {
    let mut generator = ChaCha::seed_from_u64(13);
    let loss = InfonceEuclidean;
    let mut workspace = Workspace::default();
    for scale in [0.1, 1.0, 4.0] {
        let (n, d, p) = (30, 2, 3);
        let z = normals(&mut generator, 2 * n * d, scale);
        let x = normals(&mut generator, 2 * n * p, 1.0);
        let found = loss.weighted_covariances(&z, d, &x, Reduction::Sum, &mut workspace);
        let vector = |i: usize| nalgebra::DVector::from_column_slice(column(&x, p, i));
        let (mut data, mut augmentation) = (Matrix::zeros(p, p), Matrix::zeros(p, p));
        for i in 0..n {
            let alpha = loss.softmax_row(&z, d, i);
            assert!((alpha.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            let others: f64 = (0..n).filter(|&j| j != i).map(|j| alpha[j]).sum();
            assert!((others - found.negative_weight[i]).abs() < 1e-12 * others);
            assert!((alpha[i] - found.positive_weight()[i]).abs() < 1e-13);
            for j in (0..n).filter(|&j| j != i) {
                let difference = vector(i) - vector(j);
                data += &difference * difference.transpose() * alpha[j];
            }
            let difference = vector(n + i) - vector(i);
            augmentation += &difference * difference.transpose() * others;
        }
        let close = |a: &Matrix, b: &Matrix| (a - b).norm() < 1e-13 * b.norm();
        assert!(close(&found.data, &data) && close(&found.augmentation, &augmentation));
        for covariance in [&found.data, &found.augmentation] {
            assert!(symmetric_eigenvalues(covariance).unwrap()[0] > -1e-13 * covariance.norm());
        }
        let (x_matrix, _) = Loss::Euclidean(loss).x_matrix(&z, d, &x, Reduction::Sum, &mut workspace);
        assert!((x_matrix - found.x()).norm() < 1e-13 * (data.norm() + augmentation.norm()));
    }
}

#[test]
fn nearby_samples_far_from_the_mean_keep_their_digits() {
    // Two tight clusters far apart: the weighted differences are a millionth of the embeddings they come from.
    let mut generator = ChaCha::seed_from_u64(14);
    let losses = [Loss::Euclidean(InfonceEuclidean), Loss::Dot(InfonceDot { temperature: 20.0 })];
    // Less than a vector of coordinates, a whole one, and both.
    for (loss, dim) in losses.iter().flat_map(|loss| [3, 8, 9].map(|dim| (loss, dim))) {
        let n = 6;
        let mut z = normals(&mut generator, 2 * n * dim, 1e-6);
        for (i, z) in z.chunks_mut(dim).enumerate() {
            z[0] += if i % 2 == 0 { 6.0 } else { -6.0 };
            // One sample far off in another direction moves the mean, from which the near ones are then far.
            if i == 1 {
                z[1] += 8.0;
            }
        }
        let mut gradient = vec![0.0; z.len()];
        loss.evaluate(&z, dim, Reduction::Sum, &mut Workspace::default(), &mut gradient);
        let exact = exact_gradient(loss, &z, dim, Reduction::Sum);
        let (largest, terms) = absolute_terms(loss, &z, dim, Reduction::Sum);
        for k in 0..z.len() {
            let error = (gradient[k] - exact[k]).abs();
            assert!(
                error <= PROMISE * (1.0 + largest) * terms[k],
                "{loss:?}, {dim}, {k}: {error:e} of {:e}",
                terms[k]
            );
        }
    }
}

/// The worst error of the gradient of Eq. 2, in units of the promise.
fn worst_of_gradient(z: &[f64], dim: usize) -> f64 {
    let loss = Loss::Euclidean(InfonceEuclidean);
    let mut gradient = vec![0.0; z.len()];
    loss.evaluate(z, dim, Reduction::Sum, &mut Workspace::default(), &mut gradient);
    let exact = exact_gradient(&loss, z, dim, Reduction::Sum);
    let (peak, terms) = absolute_terms(&loss, z, dim, Reduction::Sum);
    largest((0..z.len()).map(|k| {
        let error = (gradient[k] - exact[k]).abs();
        if error == 0.0 { 0.0 } else { error / (PROMISE * (1.0 + peak) * terms[k]) }
    }))
}

#[test]
fn samples_far_from_their_pairs_keep_the_digits_of_those_that_are_not() {
    // The weight of one sample in another's row, whose own row is saturated: their common coordinate decides. The last sample is so
    // far from all others, its pair too, that this batch needs the kernel for logits of any size.
    for s in [1e-9, 1e-12] {
        let z = [
            [0.0, 0.0],
            [6.0, s],
            [-6.0, -1.0],
            [90.0, 0.1],
            [30.0, 0.0],
            [6.0, s],
            [-6.0, -1.0],
            [130.0, 0.1],
        ];
        let error = worst_of_gradient(z.as_flattened(), 2);
        assert!(error <= 1.0, "{s}: {error} times the promise");
    }
    // Coordinates that are exactly the same, in a batch whose weights span all magnitudes.
    let z = [
        [58.946714581057705, -29.00495868947415],
        [-28.312450191284093, 0.0],
        [0.0, 0.0],
        [-17.236177093578917, -25.38477845071639],
        [0.0, -21.62780443913626],
        [0.0, -24.878679049794986],
        [0.0, -12.724298817069112],
        [-50.49945835482346, 0.0],
    ];
    let error = worst_of_gradient(z.as_flattened(), 2);
    assert!(error <= 1.0, "{error} times the promise");
    // More coordinates than the fast kernel takes.
    let mut z = vec![0.0; 6 * 65];
    for (i, [x, y]) in
        [[0.0, 0.3], [6.0, 0.3 + 1e-12], [-6.0, -0.7], [30.0, 0.3], [6.0, 0.3 + 1e-12], [-6.0, -0.7]]
            .iter()
            .enumerate()
    {
        (z[i * 65], z[i * 65 + 1]) = (*x, *y);
    }
    let error = worst_of_gradient(&z, 65);
    assert!(error <= 1.0, "{error} times the promise");
}

#[test]
fn x_of_inputs_far_from_the_origin_is_that_of_their_differences() {
    let mut generator = ChaCha::seed_from_u64(17);
    let (n, d) = (40, 3);
    for spread in [1.0, 1e-2] {
        let x: Vec<f64> =
            normals(&mut generator, 2 * n * d, spread).iter().map(|value| 1e6 + value).collect();
        let mut workspace = Workspace::default();
        let loss = InfonceEuclidean;
        let (found, _) = Loss::Euclidean(loss).x_matrix(&x, d, &x, Reduction::Mean, &mut workspace);
        let covariances = loss.weighted_covariances(&x, d, &x, Reduction::Mean, &mut workspace);
        let size = covariances.data.norm() + covariances.augmentation.norm();
        let distance = (found - covariances.x()).norm();
        assert!(distance <= PROMISE * size, "{spread}: {distance:e} of {size:e}");
    }
}

#[test]
fn embeddings_beyond_all_scales_never_give_a_loss_that_looks_right() {
    let s = 1.7e308;
    let view = [s, s, -s, s, 0.3 * s, -s];
    let z = [view, view].concat();
    let mut gradient = vec![0.0; z.len()];
    let cosine = Loss::Cosine(InfonceCosine { temperature: 0.5, symmetric: true });
    let loss = cosine.evaluate(&z, 2, Reduction::Sum, &mut Workspace::default(), &mut gradient).loss;
    assert!(!loss.is_finite(), "{loss}");
    // Distances between clusters at these scales are rounding errors of more than all exponents.
    let mut generator = ChaCha::seed_from_u64(18);
    for scale in [1e5, 1e7, 1e9, 1e12] {
        for _ in 0..300 {
            let centre = normals(&mut generator, 3, scale);
            let mut z = normals(&mut generator, 36, 1.0);
            for (i, z) in z.chunks_mut(3).enumerate() {
                let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
                z.iter_mut().zip(&centre).for_each(|(z, centre)| *z += sign * centre);
            }
            let mut gradient = vec![0.0; z.len()];
            let loss = Loss::Euclidean(InfonceEuclidean);
            let loss = loss.evaluate(&z, 3, Reduction::Sum, &mut Workspace::default(), &mut gradient).loss;
            assert!(loss >= 0.0 && loss.is_finite(), "{scale:e}: {loss}");
        }
    }
}

#[test]
fn the_kernel_agrees_with_dual_numbers_across_its_blocks() {
    let mut generator = ChaCha::seed_from_u64(15);
    let dim = 3;
    for loss in Loss::examples() {
        for n in [63, 64, 65, 129] {
            let mut z = normals(&mut generator, 2 * n * dim, 1.0);
            z.copy_within(0..dim, (n - 1) * dim);
            let mut gradient = vec![0.0; z.len()];
            loss.evaluate(&z, dim, Reduction::Mean, &mut Workspace::default(), &mut gradient);
            let (peak, terms) = absolute_terms(&loss, &z, dim, Reduction::Mean);
            for index in [0, 1, 62 * dim, (n - 1) * dim + 2, n * dim, (2 * n - 1) * dim + 1] {
                let dual: Vec<Vec<Dual<f64>>> = z
                    .iter()
                    .enumerate()
                    .map(|(k, &value)| Dual { value, derivative: if k == index { 1.0 } else { 0.0 } })
                    .collect::<Vec<_>>()
                    .chunks(dim)
                    .map(<[_]>::to_vec)
                    .collect();
                let exact = loss.reference(&dual[..n], &dual[n..], Reduction::Mean).derivative;
                let error = (gradient[index] - exact).abs();
                assert!(
                    error <= PROMISE * (1.0 + peak) * terms[index],
                    "{loss:?}, N = {n}, {index}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn biases_and_every_projector_pass_the_chain_rule() {
    use contraflow::experiment::Experiment;
    for projector in [
        "none\"",
        "orthogonal\"",
        "diagonal\"",
        "low-rank\", rank = 2",
        "low-rank-diagonal\", rank = 2",
        "subvector\", dims = 2",
        "trainable\", widths = [4, 3], activation = \"tanh\"",
        "trainable\", widths = [4, 3]",
    ] {
        for kind in ["linear", "relu", "tanh"] {
            let text = format!(
                r#"
                seed     = 2
                data     = {{ kind = "gaussian", dim = 3, samples = 9 }}
                augment  = {{ kind = "isotropic", variance = 0.5, sides = "two" }}
                encoder  = {{ kind = "{kind}", widths = [3, 5, 4], bias = true, init = {{ kind = "uniform-fan-in" }}, projector = {{ kind = "{projector} }} }}
                loss     = {{ kind = "infonce-euclidean" }}
                dynamics = {{ kind = "gd", rate = 0.1, steps = 1 }}
                observe  = {{ times = {{ kind = "linear", count = 1 }}, quantities = ["loss"] }}
                "#
            );
            let experiment = Experiment::parse("test.toml", ".".as_ref(), &text, &[])
                .unwrap_or_else(|problem| panic!("{problem}"));
            let plan = &experiment.plans[0];
            let prepared = plan.prepare().unwrap();
            let (data, augmentation) = prepared.source.samples().unwrap();
            let views = contraflow::stream::full_batch(data, augmentation, plan.seed);
            let parameters = prepared.parameters;
            for loss in Loss::examples() {
                let mut objective = Objective::new(prepared.network.clone(), loss, Reduction::Mean);
                let mut gradient = vec![0.0; parameters.len()];
                objective.evaluate(&parameters, &views, &mut gradient);
                let size = largest(gradient.iter().map(|g| g.abs()));
                assert!(size > 0.0 && size.is_finite());
                let network = &objective.network;
                let layers = network.dense_layers().count();
                if network.is_affine() && layers == network.stages().len() && has_kernels() {
                    // Eq. 2 does not see what is added to all embeddings; X knows that exactly, sums over pairs do not.
                    let follows_x = matches!(loss, Loss::Euclidean(_));
                    let mut biases = network.dense_layers().filter(|(_, shape, _)| shape.bias);
                    let is_zero = biases.all(|(_, shape, offset)| {
                        gradient[offset + shape.rows * shape.columns..][..shape.rows]
                            .iter()
                            .all(|g| *g == 0.0)
                    });
                    assert_eq!(is_zero, follows_x, "{projector} {loss:?}");
                }
                // Fewer columns than the widest layer go through the layers one by one.
                let few = [&views[..6], &views[27..33]].concat();
                objective.evaluate(&parameters, &few, &mut vec![0.0; parameters.len()]);
                let mut again = vec![f64::NAN; parameters.len()];
                objective.value(&parameters, &views);
                assert!(objective.gradient_of_value(&parameters, &views, &mut again));
                assert_eq!(again, gradient, "{projector} {kind} {loss:?}: after another batch");
                for (k, found) in gradient.iter().enumerate() {
                    let exact: f64 = referee::derivative(
                        &objective.network,
                        &loss,
                        Reduction::Mean,
                        &parameters,
                        &views,
                        k,
                    );
                    // Sums of some hundred terms, each of the size of the largest entry or less.
                    assert!(
                        (found - exact).abs() <= 500.0 * f64::EPSILON * size,
                        "{projector} {kind} {loss:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_in_one_embedding_never_becomes_a_finite_loss() {
    let mut generator = ChaCha::seed_from_u64(16);
    for loss in Loss::examples() {
        for n in [2, 3, 17, 64, 65] {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut z = normals(&mut generator, 2 * n * 3, 1.0);
                let at = generator.random_range(0..z.len());
                z[at] = bad;
                let mut gradient = vec![0.0; z.len()];
                let found = loss.evaluate(&z, 3, Reduction::Mean, &mut Workspace::default(), &mut gradient);
                assert!(!found.loss.is_finite(), "{loss:?}, N = {n}, {bad} at {at}: {}", found.loss);
                assert!(gradient.iter().any(|g| !g.is_finite()), "{loss:?}, N = {n}, {bad} at {at}");
            }
        }
    }
}

/// The worst error of the gradient of `copies` of a few samples, whose sums are then those of the few, in units of the promise.
fn worst_of_copies(loss: &Loss, few: &[f64], dim: usize, copies: usize) -> f64 {
    let exact = exact_gradient(loss, few, dim, Reduction::Sum);
    let (peak, terms) = absolute_terms(loss, few, dim, Reduction::Sum);
    let (first, second) = few.split_at(few.len() / 2);
    let many = [first.repeat(copies), second.repeat(copies)].concat();
    let mut gradient = vec![0.0; many.len()];
    loss.evaluate(&many, dim, Reduction::Sum, &mut Workspace::default(), &mut gradient);
    let (of_first, of_second) = gradient.split_at(gradient.len() / 2);
    let worst = |gradient: &[f64], exact: &[f64], terms: &[f64]| {
        largest(gradient.chunks(exact.len()).flat_map(|copy| {
            let errors = copy.iter().zip(exact).map(|(found, exact)| (found - exact).abs());
            let relative = errors.zip(terms).map(|(error, terms)| match error {
                0.0 => 0.0,
                error => error / (PROMISE * (1.0 + peak) * terms),
            });
            relative.collect::<Vec<_>>()
        }))
    };
    let half = exact.len() / 2;
    worst(of_first, &exact[..half], &terms[..half]).max(worst(of_second, &exact[half..], &terms[half..]))
}

#[test]
fn sums_of_many_equal_terms_keep_their_digits() {
    for x in [1.0 / 3.0, 0.1, 0.9] {
        for loss in Loss::examples() {
            let first = [0.0, x, x, 0.5 * x];
            let second = match loss {
                Loss::Euclidean(_) => first,
                Loss::Dot(_) | Loss::Cosine(_) => [x, 0.0, 0.9 * x, x],
            };
            let few = [first, second].concat();
            let worst = worst_of_copies(&loss, &few, 2, 8190);
            assert!(worst <= 1.0, "{loss:?}, {x}: {worst} times the promise");
            // More coordinates than the fast kernels take.
            let mut wide = vec![0.0; 4 * 65];
            for (wide, few) in wide.chunks_mut(65).zip(few.chunks(2)) {
                wide[..2].copy_from_slice(few);
            }
            let worst = worst_of_copies(&loss, &wide, 65, 1000);
            assert!(worst <= 1.0, "{loss:?}, {x}, 65 coordinates: {worst} times the promise");
        }
        // What the promise excludes: all terms in turn.
        let term = x / 8190.0;
        let in_turn: f64 = (0..8190).map(|_| term).sum();
        assert!((in_turn - x).abs() > PROMISE * x, "{x}: {in_turn}");
    }
}

/// X of one first view a among zeros and second views 0, r … r, N of each, in one dimension: all terms of its only row that counts
/// are equal. The error of -X, in units of the promise.
fn worst_of_equal_terms_of_x(n: usize, a: f64, r: f64) -> Option<f64> {
    let mut views = vec![r; 2 * n];
    views[..=n].fill(0.0);
    views[0] = a;
    let loss = Loss::Dot(InfonceDot { temperature: 1.0 });
    let mut half = Matrix::zeros(1, 1);
    loss.half_of_x(&views, 1, &views, Reduction::Sum, &mut Workspace::default(), &mut half)?;
    let others = (n - 1) as f64 * (a * r).exp();
    let exact = a * r * others / (1.0 + others);
    Some((half[0] + exact).abs() / (PROMISE * (1.0 + a * r) * exact))
}

#[test]
fn sums_of_many_equal_terms_of_x_keep_their_digits() {
    let mut generator = ChaCha::seed_from_u64(22);
    let mut cases = vec![(0.00739419504031092, 1.9508565107181943)];
    cases.extend((0..40).map(|_| (0.01 * generator.random::<f64>(), 1.0 + generator.random::<f64>())));
    for (n, cases) in [(512, &cases[..]), (8192, &cases[..3])] {
        for &(a, r) in cases {
            let worst = worst_of_equal_terms_of_x(n, a, r);
            assert_eq!(worst.is_some(), has_kernels());
            assert!(worst.is_none_or(|worst| worst <= 1.0), "{n}, {a}, {r}: {worst:?} times the promise");
        }
    }
}
