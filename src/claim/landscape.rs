//! Losses of batches and of infinitely many samples as functions of W, or of M = WᵀW.

use crate::augment::Sides;
use crate::encoder::{Activation, Network};
use crate::gradient::Objective;
use crate::loss::{Loss, Reduction};
use crate::matrix::{DecompositionError, Matrix, symmetric_eigen};
use crate::theory::{Minimum, Population, ViewCovariances, minimise};
use rand::Rng;
use rand::RngExt;
use rand_distr::StandardNormal;

/// Independent normal entries of this standard deviation.
pub fn normals(generator: &mut impl Rng, rows: usize, columns: usize, std: f64) -> Matrix {
    Matrix::from_fn(rows, columns, |_, _| std * generator.sample::<f64, _>(StandardNormal))
}

/// Views of `count` Gaussian samples with covariance F Fᵀ under the noise of `covariances` (d x 2N, first views then second).
pub fn views(
    covariances: &ViewCovariances,
    data_factor: &Matrix,
    count: usize,
    generator: &mut impl Rng,
) -> Vec<f64> {
    let x = data_factor * normals(generator, data_factor.ncols(), count, 1.0);
    let factor = covariances.noise_factor();
    let mut noise = || factor * normals(generator, factor.ncols(), count, 1.0);
    let first = if covariances.sides() == Sides::One { x.clone() } else { &x + noise() };
    let second = x + noise();
    [first.as_slice(), second.as_slice()].concat()
}

/// The mean loss and X/N of a batch at W = `w`.
pub fn of_batch(loss: &Loss, w: &Matrix, views: &[f64]) -> (f64, Matrix) {
    let (network, parameters) = Network::of_layers(std::slice::from_ref(w), Activation::Linear);
    let (x, evaluation) = Objective::new(network, *loss, Reduction::Mean).x_matrix(&parameters, views);
    (evaluation.loss, x)
}

/// The symmetric square root of M ⪰ 0, a W with M = WᵀW.
///
/// # Errors
/// Where M cannot be decomposed.
pub fn root(m: &Matrix) -> Result<Matrix, DecompositionError> {
    Ok(symmetric_eigen(m)?.map(|value| value.max(0.0).sqrt()))
}

/// Evaluations after which a search for a minimum is given up.
const EVALUATIONS: usize = 20_000;

/// The minimum over M ⪰ 0 of `evaluate`, which returns loss and X at a root of M, to within `gap`, from the identity.
///
/// # Errors
/// Where a matrix cannot be decomposed.
pub fn minimum(
    dim: usize,
    gap: f64,
    evaluate: &mut dyn FnMut(&Matrix) -> (f64, Matrix),
) -> Result<Minimum, String> {
    let mut failure = None;
    let mut of_m = |m: &Matrix| match root(m) {
        Ok(w) => evaluate(&w),
        Err(error) => {
            failure = Some(error);
            (f64::NAN, m * f64::NAN)
        }
    };
    let found = minimise(&Matrix::identity(dim, dim), gap, EVALUATIONS, &mut of_m, &mut |_| false);
    match failure {
        Some(error) => Err(error.to_string()),
        None => found.map_err(|error| error.to_string()),
    }
}

/// The same of a loss of infinitely many samples.
///
/// # Errors
/// Where the loss has no such limit, or a matrix cannot be decomposed.
pub fn minimum_in_population(loss: &Loss, views: &ViewCovariances, gap: f64) -> Result<Minimum, String> {
    let mut population = Population::new(loss, views.clone()).map_err(|error| error.to_string())?;
    minimum(views.dim(), gap, &mut |w| (population.loss(w), population.x(w)))
}
