//! What is recorded of a network, by the same spectra, floors and ranks as of linear layers.

use super::architecture::{Architecture, Projector};
use super::contrastive::infonce_cosine;
use super::forward::{Mode, Pass};
use super::kernels::Kernels;
use super::operations::Tracked;
use super::probe::{Labelled, linear_accuracy, neighbour_accuracy};
use super::weights::Weights;
use crate::loss::{InfonceCosine, NORM_FLOOR};
use crate::matrix::{
    DecompositionError, Matrix, singular_values, svd, symmetric_eigenvalues, triangular_factor,
};
use crate::observe::{effective_rank, numerical_rank, participation_ratio, stable_rank};
use crate::record::Trajectory;
use burn::tensor::{FloatDType, Tensor, TensorData};

/// Rounding of a float of 32 bits, in which networks compute.
const ROUNDING: f64 = f32::EPSILON as f64;

/// Roundings that a representation has gone through at most, as independent ones: two in each of some fifty layers, and the sum
/// over a layer's inputs, of which a kernel adds some hundred.
const ROUNDINGS: f64 = 100.0;

/// Rows of an alignment matrix that are recorded.
const ALIGNED: usize = 64;

/// A rectangle of numbers from a device, one row a sample: as a matrix with one column a sample.
pub fn columns<B: Kernels>(tensor: Tensor<B, 2>) -> Matrix {
    let [rows, dim] = tensor.dims();
    let values: Vec<f32> = tensor.into_data().convert::<f32>().to_vec().expect("converted to f32");
    Matrix::from_iterator(dim, rows, values.into_iter().map(f64::from))
}

/// Representations of pictures (n x c x h x w, row by row) as columns, by running statistics.
pub fn representations<B: Kernels>(
    architecture: &Architecture,
    weights: &Weights<B>,
    (pictures, shape): (&[f32], [usize; 4]),
    device: &B::Device,
) -> (Matrix, Matrix) {
    /// Pictures at a time.
    const PIECE: usize = 256;
    let [count, channels, height, width] = shape;
    let length = channels * height * width;
    let mut parts = Vec::new();
    for start in (0..count).step_by(PIECE) {
        let end = count.min(start + PIECE);
        let data = TensorData::new(
            pictures[start * length..end * length].to_vec(),
            [end - start, channels, height, width],
        );
        let mut pass = Pass::new(architecture, weights, Mode::Evaluation, FloatDType::F32, false);
        let representation = pass.network(Tensor::from_data(data, device)).representation;
        let embedding = pass.projector(representation.clone(), None);
        parts.push((columns(representation.inner()), columns(embedding.inner())));
    }
    let joined = |part: fn(&(Matrix, Matrix)) -> &Matrix| {
        let dim = part(&parts[0]).nrows();
        let values = parts.iter().flat_map(|parts| part(parts).iter().copied());
        Matrix::from_iterator(dim, count, values)
    };
    (joined(|parts| &parts.0), joined(|parts| &parts.1))
}

/// Records the spectrum of C of vectors (d x n) that are scaled to length 1 first, as the paper does, with its floor and ranks.
///
/// The floor: a relative error of [`ROUNDING`] √[`ROUNDINGS`] in every unit vector, independent ones, changes singular values of
/// the factor, which are the roots of those of C, by that times √n / √n at most.
pub fn put_spectrum(
    trajectory: &mut Trajectory,
    name: &str,
    vectors: &Matrix,
) -> Result<(), DecompositionError> {
    let (dim, count) = vectors.shape();
    let mut rows = vectors.transpose();
    for mut row in rows.row_iter_mut() {
        let norm = row.norm().max(NORM_FLOOR);
        row /= norm;
    }
    for mut column in rows.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
        column /= (count as f64).sqrt();
    }
    let mut values: Vec<f64> =
        singular_values(&triangular_factor(&rows))?.iter().map(|value| value * value).collect();
    values.resize(dim, 0.0);
    let floor = (ROUNDING * ROUNDINGS.sqrt()).powi(2);
    trajectory.put(&format!("sigma_{name}"), &[dim], &values);
    trajectory.put_number(&format!("floor_{name}"), floor);
    trajectory.put_number(&format!("effective_rank_{name}"), effective_rank(&values));
    trajectory.put_number(&format!("stable_rank_{name}"), stable_rank(&values));
    trajectory.put_number(&format!("participation_ratio_{name}"), participation_ratio(&values));
    trajectory.put_number(&format!("numerical_rank_{name}"), numerical_rank(&values, floor));
    Ok(())
}

/// Records what linear theory says of a linear map of these representations of augmented pairs (d x n each): the eigenvalues of X
/// for W → 0 a sample, 2 Cov(r) - E (r' - r)(r' - r)ᵀ (Lemma 2 with all α equal), and how many of them are positive, which is the
/// rank of the limit of one layer under Eq. 2 for Gaussian r.
pub fn put_theory(
    trajectory: &mut Trajectory,
    first: &Matrix,
    second: &Matrix,
) -> Result<(), DecompositionError> {
    let (dim, count) = first.shape();
    let mut centred = first.clone();
    let mean = first.column_mean();
    for mut column in centred.column_iter_mut() {
        column -= &mean;
    }
    let difference = second - first;
    let spread = &centred * centred.transpose() * (2.0 / count as f64);
    let noise = &difference * difference.transpose() / count as f64;
    let values = symmetric_eigenvalues(&(&spread - &noise))?;
    let floor = (ROUNDING * ROUNDINGS.sqrt()) * (spread.norm() + noise.norm());
    trajectory.put("eig_x_pairs", &[dim], &values);
    trajectory.put_number("floor_eig_x_pairs", floor);
    let positive = values.iter().filter(|value| **value > floor).count();
    trajectory.put_number("theory_rank_pairs", positive as f64);
    Ok(())
}

/// Records |A|, A = Vᵀ U of the right singular vectors V of a linear projector and the principal directions U of representations
/// (d x n): the alignment of the last linear layer with what enters it, leading directions only.
pub fn put_alignment<B: Kernels>(
    trajectory: &mut Trajectory,
    architecture: &Architecture,
    weights: &Weights<B>,
    representations: &Matrix,
) -> Result<(), DecompositionError> {
    let Projector::Linear(index) = architecture.projector else { return Ok(()) };
    let [out, dim] = architecture.parameters[index].shape[..] else { return Ok(()) };
    let values: Vec<f32> =
        weights.values[index].to_data().convert::<f32>().to_vec().expect("converted to f32");
    let projector = Matrix::from_row_iterator(out, dim, values.into_iter().map(f64::from));
    let mut rows = representations.transpose();
    for mut column in rows.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    // The factor R of the representations has their principal directions as its right singular vectors.
    let (of_projector, of_inputs) = (svd(&projector)?, svd(&triangular_factor(&rows))?);
    let kept = ALIGNED.min(out).min(dim).min(of_inputs.v.ncols());
    let alignment = of_projector.v.columns(0, kept).transpose() * of_inputs.v.columns(0, kept);
    let magnitudes: Vec<f64> = alignment.transpose().iter().map(|value| value.abs()).collect();
    trajectory.put("alignment_representation_projector", &[kept, kept], &magnitudes);
    Ok(())
}

/// Records the singular values of the gradient of the loss on pairs of views (Figure 10): with respect to the representations
/// (2n x d), and to what enters the last residual block (2n h w x c); their numerical ranks by what rounding can produce.
pub fn put_gradients<B: Kernels>(
    trajectory: &mut Trajectory,
    architecture: &Architecture,
    weights: &Weights<B>,
    loss: InfonceCosine,
    (sides, shape): ([&[f32]; 2], [usize; 4]),
    chosen: Option<&[usize]>,
    device: &B::Device,
) -> Result<(), DecompositionError> {
    let mut pass = Pass::new(architecture, weights, Mode::Training, FloatDType::F32, true);
    let mut side = |views: &[f32]| {
        let data = TensorData::new(views.to_vec(), shape);
        let pictures: Tensor<Tracked<B>, 4> = Tensor::from_data(data, device);
        let taps = pass.network_of(pictures, true);
        let leaf = Tensor::from_inner(taps.representation.clone().inner()).require_grad();
        (taps, leaf)
    };
    let [first, second] = sides.map(&mut side);
    let embedded = (pass.projector(first.1.clone(), chosen), pass.projector(second.1.clone(), chosen));
    let gradients = infonce_cosine(loss, embedded.0, embedded.1).backward();
    let (mut at_end, mut below) = (Vec::new(), Vec::new());
    for (taps, leaf) in [first, second] {
        let Some(of_representation) = leaf.grad(&gradients) else { continue };
        at_end.push(of_representation.clone());
        let pulled = (taps.representation * Tensor::from_inner(of_representation)).sum().backward();
        let Some(of_input) = taps.last_block_input.grad(&pulled) else { continue };
        let [count, channels, height, width] = of_input.dims();
        let by_channel = of_input.swap_dims(1, 3).reshape([count * height * width, channels]);
        below.push(by_channel);
    }
    for (name, parts) in [("gradient_representation", at_end), ("gradient_last_block", below)] {
        if parts.is_empty() {
            continue;
        }
        let rows = columns(Tensor::cat(parts, 0)).transpose();
        let norm = rows.norm();
        let values = singular_values(&triangular_factor(&rows))?;
        let floor = ROUNDING * ROUNDINGS.sqrt() * norm;
        trajectory.put(&format!("sigma_{name}"), &[values.len()], &values);
        trajectory.put_number(&format!("floor_{name}"), floor);
        trajectory.put_number(&format!("numerical_rank_{name}"), numerical_rank(&values, floor));
    }
    Ok(())
}

/// Records how well the representations of training and test pictures tell classes apart.
pub fn put_accuracies(
    trajectory: &mut Trajectory,
    (train, test): (&Labelled, &Labelled),
    classes: usize,
    neighbours: usize,
    first: &[usize],
) -> Result<(), DecompositionError> {
    trajectory.put_number("probe_accuracy", linear_accuracy(train, test, classes)?);
    trajectory.put_number("neighbour_accuracy", neighbour_accuracy(train, test, classes, neighbours));
    if !first.is_empty() {
        let accuracies: Result<Vec<f64>, _> = first
            .iter()
            .map(|&count| linear_accuracy(&train.first(count), &test.first(count), classes))
            .collect();
        trajectory.put("probe_accuracy_first", &[first.len()], &accuracies?);
    }
    Ok(())
}
