//! Whether a flow falls apart into modes, and into which.

use super::ViewCovariances;
use super::mode::{Mode, Rate};
use crate::loss::Loss;
use crate::matrix::{Matrix, symmetric_eigen};

/// Largest entry off the diagonal, relative to the largest entry, of matrices that share eigenvectors up to rounding.
const ROUNDING: f64 = 1e-10;

/// One common eigenvector of data and noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction {
    /// σ, the variance of the samples along it.
    pub data: f64,
    /// The variance of one noise draw along it.
    pub noise: f64,
    /// The singular value of the end-to-end matrix on it; 0 where no layers were given.
    pub start: f64,
}

impl Direction {
    /// The mode of `depth` layers along it.
    pub fn mode(&self, loss: &Loss, views: &ViewCovariances, depth: usize) -> Option<Mode> {
        Some(Mode { depth, rate: Rate::of(loss, self.data, self.noise, views.sides())? })
    }
}

/// The common eigenvectors of Σ and Σ_a; nothing where they do not commute.
pub fn directions(views: &ViewCovariances) -> Option<Vec<Direction>> {
    let [data, noise] = diagonals([views.data(), views.noise()])?;
    let direction = |(data, noise): (&f64, &f64)| Direction { data: *data, noise: *noise, start: 0.0 };
    Some(data.iter().zip(&noise).map(direction).collect())
}

/// The same with the start of each, where the flow of `layers` W_1 … W_L decouples: M = WᵀW shares the eigenvectors of both
/// covariances and the layers are balanced, W_l W_lᵀ = W_{l+1}ᵀ W_{l+1}.
pub fn decoupled(views: &ViewCovariances, layers: &[Matrix]) -> Option<Vec<Direction>> {
    let balanced = layers.windows(2).all(|pair| {
        let (inner, outer) = (&pair[0] * pair[0].transpose(), pair[1].transpose() * &pair[1]);
        (&inner - &outer).amax() <= ROUNDING * inner.amax().max(outer.amax())
    });
    if !balanced {
        return None;
    }
    let total = layers.iter().skip(1).fold(layers[0].clone(), |product, layer| layer * product);
    let m = total.transpose() * &total;
    let [data, noise, squares] = diagonals([views.data(), views.noise(), &m])?;
    let direction =
        |k: usize| Direction { data: data[k], noise: noise[k], start: squares[k].max(0.0).sqrt() };
    Some((0..data.len()).map(direction).collect())
}

/// The diagonals of symmetric matrices in a basis that makes all of them diagonal, if there is one.
fn diagonals<const N: usize>(matrices: [&Matrix; N]) -> Option<[Vec<f64>; N]> {
    let dim = matrices[0].nrows();
    // A combination with weights that no accident of the entries undoes has only the common eigenvectors.
    let mut combination = Matrix::zeros(dim, dim);
    let mut weight = 1.0;
    for matrix in matrices {
        let size = matrix.amax();
        if size > 0.0 {
            combination += matrix * (weight / size);
        }
        weight *= std::f64::consts::FRAC_1_PI.sqrt();
    }
    let vectors = symmetric_eigen(&combination).ok()?.vectors;
    let mut found = matrices.map(|_| Vec::new());
    for (values, matrix) in found.iter_mut().zip(matrices) {
        let rotated = vectors.transpose() * matrix * &vectors;
        let size = matrix.amax();
        for i in 0..dim {
            for j in 0..dim {
                if i != j && rotated[(i, j)].abs() > ROUNDING * size {
                    return None;
                }
            }
        }
        // Zeros of a singular matrix come back as rounding.
        let clean = |value: f64| if value.abs() <= f64::EPSILON * dim as f64 * size { 0.0 } else { value };
        *values = (0..dim).map(|k| clean(rotated[(k, k)])).collect();
    }
    Some(found)
}
