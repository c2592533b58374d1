//! Standardising and principal components of samples that come from files.

use crate::matrix::{self, DecompositionError, Destination, Matrix, View, product};

/// The directions of largest variance of a set of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct PrincipalComponents {
    /// Mean of the samples, d.
    pub mean: Vec<f64>,
    /// Orthonormal directions, one a column, d x k; the largest entry of each is positive.
    pub directions: Matrix,
    /// Variance along each direction (divided by N), descending.
    pub variances: Vec<f64>,
    /// The part of the total variance that the directions hold, between 0 and 1.
    pub retained: f64,
}

fn means(samples: &[f64], dim: usize) -> Vec<f64> {
    let per_sample = dim as f64 / samples.len() as f64;
    let mut mean = vec![0.0; dim];
    for column in samples.chunks_exact(dim) {
        mean.iter_mut().zip(column).for_each(|(mean, value)| *mean += value * per_sample);
    }
    mean
}

/// Shifts every coordinate to mean 0 and scales it to variance 1; a constant coordinate becomes 0.
pub(super) fn standardise(samples: &mut [f64], dim: usize) {
    let mean = means(samples, dim);
    let per_sample = dim as f64 / samples.len() as f64;
    let mut variance = vec![0.0; dim];
    for column in samples.chunks_exact(dim) {
        for k in 0..dim {
            variance[k] += (column[k] - mean[k]) * (column[k] - mean[k]) * per_sample;
        }
    }
    // Rounding of the mean gives a constant coordinate a variance, so constancy is judged by the values themselves.
    let first = samples[..dim].to_vec();
    let constant: Vec<bool> =
        (0..dim).map(|k| samples.iter().skip(k).step_by(dim).all(|value| *value == first[k])).collect();
    for column in samples.chunks_exact_mut(dim) {
        for k in 0..dim {
            column[k] = if constant[k] { 0.0 } else { (column[k] - mean[k]) / variance[k].sqrt() };
        }
    }
}

impl PrincipalComponents {
    /// The `kept` leading components of `samples` (d x N). Cost: N d² + O(d³).
    pub(super) fn of(samples: &[f64], dim: usize, kept: usize) -> Result<Self, DecompositionError> {
        let mean = means(samples, dim);
        let centred = centre(samples, &mean);
        let count = samples.len() / dim;
        let mut covariance = Matrix::zeros(dim, dim);
        let columns = View::new(&centred, dim, count);
        let per_sample = 1.0 / count as f64;
        product(covariance.as_mut_slice(), Destination::Replace, per_sample, columns, columns.transpose());
        let eigen = matrix::symmetric_eigen(&covariance)?;
        let mut directions = Matrix::zeros(dim, kept);
        let mut variances = Vec::with_capacity(kept);
        for k in 0..kept {
            let from = dim - 1 - k;
            let column = eigen.vectors.column(from);
            // An eigenvector has no sign of its own; this choice makes runs repeatable.
            let sign = column[column.icamax()].signum();
            directions.column_mut(k).copy_from(&(column * sign));
            variances.push(eigen.values[from].max(0.0));
        }
        let total = covariance.trace();
        let retained = if total > 0.0 { variances.iter().sum::<f64>() / total } else { 1.0 };
        Ok(PrincipalComponents { mean, directions, variances, retained })
    }

    /// The coordinates of `samples` (d x N) along the directions, k x N.
    pub(super) fn project(&self, samples: &[f64]) -> Vec<f64> {
        let dim = self.mean.len();
        let count = samples.len() / dim;
        let centred = centre(samples, &self.mean);
        let mut projected = vec![0.0; self.directions.ncols() * count];
        let directions = View::from(&self.directions).transpose();
        product(&mut projected, Destination::Replace, 1.0, directions, View::new(&centred, dim, count));
        projected
    }
}

fn centre(samples: &[f64], mean: &[f64]) -> Vec<f64> {
    samples.chunks_exact(mean.len()).flat_map(|column| column.iter().zip(mean).map(|(a, b)| a - b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a line in the plane with a little scatter across it.
    fn line() -> Vec<f64> {
        (0..101)
            .flat_map(|i| {
                let t = f64::from(i) / 50.0 - 1.0;
                let scatter = if i % 2 == 0 { 0.01 } else { -0.01 };
                [3.0 + 2.0 * t - scatter, -1.0 + 2.0 * t + scatter]
            })
            .collect()
    }

    #[test]
    fn the_first_component_of_a_line_is_its_direction_and_holds_its_variance() {
        let components = PrincipalComponents::of(&line(), 2, 1).unwrap();
        let along = std::f64::consts::FRAC_1_SQRT_2;
        for k in 0..2 {
            assert!((components.directions[(k, 0)] - along).abs() < 1e-4);
        }
        assert!(components.retained > 0.999 && components.retained < 1.0);
        let projected = components.project(&line());
        let variance = projected.iter().map(|v| v * v).sum::<f64>() / 101.0;
        assert!((variance - components.variances[0]).abs() < 1e-12 * variance);
    }

    #[test]
    fn standardising_gives_mean_0_and_variance_1_and_leaves_constants_at_0() {
        let mut samples: Vec<f64> = line().chunks(2).flat_map(|c| [c[0], c[1], 0.1]).collect();
        standardise(&mut samples, 3);
        let mean = means(&samples, 3);
        // Summing 101 values around a mean of about 3 standard deviations rounds by up to 101 ε 3.
        assert!(mean.iter().all(|m| m.abs() < 303.0 * f64::EPSILON));
        let square = samples.iter().step_by(3).map(|v| v * v).sum::<f64>() / 101.0;
        assert!((square - 1.0).abs() < 1e-13);
        assert!(samples.iter().skip(2).step_by(3).all(|v| *v == 0.0));
    }
}
