//! Whether a fixed batch can be told apart perfectly by some linear map, with certificates both ways.

use super::convex::minimise;
use crate::loss::{InfonceEuclidean, Loss, Reduction, Workspace};
use crate::matrix::{DecompositionError, Destination, Matrix, View, product, symmetric_eigen};

/// Bounds on the largest margin of a batch: the maximum over M ⪰ 0 with tr M = 1 of
/// min over i ≠ j of (x_i - x_j)ᵀ M (x_i - x_j) - δ_iᵀ M δ_i, δ_i = x'_i - x_i.
///
/// Where it is positive the batch is separable: the loss of Eq. 2 has its infimum 0 at infinity. Where it is not, the loss
/// has a minimum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Separability {
    /// The margin of the best M found.
    pub lower: f64,
    /// λ_max(X)/Σ_{i≠j} α_ij at some W: X = Σ_{i≠j} α_ij A_ij with ⟨A_ij, M⟩ the margin of the pair, so that no M of unit
    /// trace has a larger one.
    pub upper: f64,
    /// Evaluations of the loss.
    pub evaluations: usize,
    /// Whether the batch is separable, by these bounds; nothing where they do not decide.
    pub verdict: Option<bool>,
}

/// Upper bounds below this, relative to the mean squared distance of samples, are taken for zero: the minimum that proves
/// inseparability has λ_max(X) = 0 exactly, and rounding hides the sign.
const ZERO: f64 = 1e-9;

impl Separability {
    /// What the bounds say, where samples have the mean squared distance `scale` from their mean.
    fn decide(&self, scale: f64) -> Option<bool> {
        if self.lower > 0.0 {
            Some(true)
        } else if self.upper <= ZERO * scale {
            Some(false)
        } else {
            None
        }
    }
}

/// Bounds the margin of the batch `views` (d x 2N, first views then second) by minimising Eq. 2 over M, which is convex,
/// until the sign is certain or `most` evaluations.
///
/// Cost: an evaluation of the loss, O(N² d), each.
pub fn separability(views: &[f64], dim: usize, most: usize) -> Result<Separability, DecompositionError> {
    let scale = mean_square(views, dim);
    let loss = Loss::Euclidean(InfonceEuclidean);
    let mut workspace = Workspace::default();
    let mut images = vec![0.0; views.len()];
    let mut result =
        Separability { lower: f64::NEG_INFINITY, upper: f64::INFINITY, evaluations: 0, verdict: None };
    let mut since = 0;
    let root = |m: &Matrix| -> Matrix {
        symmetric_eigen(m).map_or_else(|_| m * f64::NAN, |eigen| eigen.map(|value| value.max(0.0).sqrt()))
    };
    let embed = |w: &Matrix, out: &mut [f64]| {
        let columns = views.len() / dim;
        product(out, Destination::Replace, 1.0, View::from(w), View::new(views, dim, columns));
    };
    let mut watched = images.clone();
    let mut other = Workspace::default();
    minimise(
        &(Matrix::identity(dim, dim) / scale.max(f64::MIN_POSITIVE)),
        0.0,
        most,
        &mut |m| {
            let w = root(m);
            embed(&w, &mut images);
            let (x, evaluation) = loss.x_matrix(&images, dim, views, Reduction::Mean, &mut workspace);
            (evaluation.loss, x)
        },
        &mut |point| {
            result.evaluations = point.evaluations;
            since += 1;
            // Margins cost as much as an evaluation: they are taken now and then, and at once where the loss is so small that
            // every sample must have its own second view nearest.
            let few = 8;
            if since % few != 0 && point.loss * (views.len() / (2 * dim)) as f64 >= std::f64::consts::LN_2 {
                return false;
            }
            let w = root(&point.m);
            embed(&w, &mut watched);
            let trace = point.m.trace().max(f64::MIN_POSITIVE);
            result.lower = result.lower.max(margin(&watched, dim) / trace);
            let weighted =
                InfonceEuclidean.weighted_covariances(&watched, dim, views, Reduction::Mean, &mut other);
            let total = weighted.negative_weight.iter().sum::<f64>() / weighted.negative_weight.len() as f64;
            if total > 0.0 && point.largest_eigenvalue.is_finite() {
                result.upper = result.upper.min(point.largest_eigenvalue / total);
            }
            result.verdict = result.decide(scale);
            result.verdict.is_some()
        },
    )?;
    Ok(result)
}

/// Mean squared distance of the first views from their mean.
fn mean_square(views: &[f64], dim: usize) -> f64 {
    let first = &views[..views.len() / 2];
    let count = (first.len() / dim) as f64;
    (0..dim)
        .map(|k| {
            let values = || first.iter().skip(k).step_by(dim);
            let mean = values().sum::<f64>() / count;
            values().map(|value| (value - mean).powi(2)).sum::<f64>() / count
        })
        .sum()
}

/// min over i of (min over j ≠ i of |z_i - z_j|²) - |z_i - z'_i|².
fn margin(embeddings: &[f64], dim: usize) -> f64 {
    let (first, second) = embeddings.split_at(embeddings.len() / 2);
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let samples: Vec<&[f64]> = first.chunks_exact(dim).collect();
    let mut smallest = f64::INFINITY;
    for (i, own) in samples.iter().enumerate() {
        let pair = distance(own, &second[i * dim..(i + 1) * dim]);
        for (j, other) in samples.iter().enumerate() {
            if i != j {
                smallest = smallest.min(distance(own, other) - pair);
            }
        }
    }
    smallest
}
