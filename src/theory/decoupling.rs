//! Whether a flow falls apart into modes, and into which.

use super::ViewCovariances;
use super::mode::{Mode, Rate};
use crate::loss::Loss;
use crate::matrix::{Matrix, svd, symmetric_eigen};

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
    let basis = common_basis([views.data(), views.noise()])?;
    let data = diagonal_in(&basis, views.data())?;
    let noise = diagonal_in(&basis, views.noise())?;
    let direction = |(data, noise): (&f64, &f64)| Direction { data: *data, noise: *noise, start: 0.0 };
    Some(data.iter().zip(&noise).map(direction).collect())
}

/// The same with the start of each, where the flow of `layers` W_1 … W_L decouples: the right singular vectors of the end-to-end
/// matrix are eigenvectors of both covariances, and the layers are balanced, W_l W_lᵀ = W_{l+1}ᵀ W_{l+1}, up to a small part of the
/// smallest mode.
pub fn decoupled(views: &ViewCovariances, layers: &[Matrix]) -> Option<Vec<Direction>> {
    let total = layers.iter().skip(1).fold(layers[0].clone(), |product, layer| layer * product);
    // Small singular values keep their digits in an SVD of W, and lose them in WᵀW.
    let singular = svd(&total).ok()?.v;
    let suits = |basis: &Matrix| {
        basis.is_square()
            && diagonal_in(basis, views.data()).is_some()
            && diagonal_in(basis, views.noise()).is_some()
    };
    let basis = if suits(&singular) {
        singular
    } else {
        // Equal singular values leave their vectors free: the covariances choose.
        common_basis([views.data(), views.noise(), &(total.transpose() * &total)])?
    };
    let (data, noise) = (diagonal_in(&basis, views.data())?, diagonal_in(&basis, views.noise())?);
    let images = &total * &basis;
    let norms: Vec<f64> = images.column_iter().map(|column| column.norm()).collect();
    let largest = norms.iter().copied().fold(0.0, f64::max);
    // What is below the rounding of the largest is 0 in a matrix that has no such direction.
    let starts: Vec<f64> = norms.iter().map(|&s| if s <= f64::EPSILON * largest { 0.0 } else { s }).collect();
    for i in 0..starts.len() {
        for j in 0..i {
            let overlap = images.column(i).dot(&images.column(j)).abs();
            if overlap > ROUNDING.sqrt() * starts[i] * starts[j] + f64::EPSILON * largest * largest {
                return None;
            }
        }
    }
    let root = 2.0 / layers.len() as f64;
    let smallest = starts.iter().copied().filter(|s| *s > 0.0).fold(f64::INFINITY, f64::min).powf(root);
    let balanced = layers.windows(2).all(|pair| {
        let (inner, outer) = (&pair[0] * pair[0].transpose(), pair[1].transpose() * &pair[1]);
        let imbalance = (&inner - &outer).amax();
        imbalance <= ROUNDING * inner.amax().max(outer.amax()) && imbalance <= SMALL * smallest
    });
    let direction = |k: usize| Direction { data: data[k], noise: noise[k], start: starts[k] };
    balanced.then(|| (0..data.len()).map(direction).collect())
}

/// Part of the smallest mode's square that an imbalance may be without changing its path.
const SMALL: f64 = 1e-6;

/// Eigenvectors that these symmetric matrices share, if they do.
fn common_basis<const N: usize>(matrices: [&Matrix; N]) -> Option<Matrix> {
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
    matrices.iter().all(|matrix| diagonal_in(&vectors, matrix).is_some()).then_some(vectors)
}

/// The diagonal of a symmetric matrix in a basis, if it is diagonal there; rounding of a singular matrix is 0.
fn diagonal_in(basis: &Matrix, matrix: &Matrix) -> Option<Vec<f64>> {
    let dim = basis.ncols();
    let rotated = basis.transpose() * matrix * basis;
    let size = matrix.amax();
    for i in 0..dim {
        for j in 0..dim {
            if i != j && rotated[(i, j)].abs() > ROUNDING * size {
                return None;
            }
        }
    }
    let clean = |value: f64| if value.abs() <= f64::EPSILON * dim as f64 * size { 0.0 } else { value };
    Some((0..dim).map(|k| clean(rotated[(k, k)])).collect())
}
