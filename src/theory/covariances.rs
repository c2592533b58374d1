//! Covariances of two views of a sample under additive noise.

use crate::augment::Sides;
use crate::matrix::{Matrix, triangular_factor};

/// Covariances of the views of a sample:
///
/// ```text
/// x_1 = x (+ n_1),  x_2 = x + n_2,  x ~ N(0, Σ),  n_1, n_2 ~ N(0, Σ_a), independent
/// ```
///
/// With one-sided noise the first view is x itself. All matrices are d x d.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewCovariances {
    data: Matrix,
    noise: Matrix,
    noise_factor: Matrix,
    first: Matrix,
    first_factor: Matrix,
    sides: Sides,
}

impl ViewCovariances {
    /// From factors F, F_a with Σ = F Fᵀ and Σ_a = F_a F_aᵀ (d rows each, any number of columns); singular ones are fine.
    ///
    /// Panics where the rows do not agree.
    pub fn new(data_factor: &Matrix, noise_factor: &Matrix, sides: Sides) -> Self {
        let dim = data_factor.nrows();
        assert_eq!(dim, noise_factor.nrows(), "data and noise have as many coordinates");
        let data = gram(data_factor);
        let noise = gram(noise_factor);
        let (first, first_factor) = match sides {
            Sides::One => (data.clone(), data_factor.clone()),
            Sides::Two => {
                let (left, right) = (data_factor.ncols(), noise_factor.ncols());
                let mut both = Matrix::zeros(dim, left + right);
                both.columns_mut(0, left).copy_from(data_factor);
                both.columns_mut(left, right).copy_from(noise_factor);
                (&data + &noise, triangular_factor(&both.transpose()).transpose())
            }
        };
        ViewCovariances { data, noise, noise_factor: noise_factor.clone(), first, first_factor, sides }
    }

    /// Number of coordinates d.
    pub fn dim(&self) -> usize {
        self.data.nrows()
    }

    /// Which views carry noise.
    pub fn sides(&self) -> Sides {
        self.sides
    }

    /// Σ, the covariance of the samples and of the two views with each other.
    pub fn data(&self) -> &Matrix {
        &self.data
    }

    /// Σ_a, the covariance of one noise draw.
    pub fn noise(&self) -> &Matrix {
        &self.noise
    }

    /// F_a with Σ_a = F_a F_aᵀ.
    pub fn noise_factor(&self) -> &Matrix {
        &self.noise_factor
    }

    /// Σ_v, the covariance of the first view.
    pub fn first(&self) -> &Matrix {
        &self.first
    }

    /// F with Σ_v = F Fᵀ.
    pub fn first_factor(&self) -> &Matrix {
        &self.first_factor
    }

    /// The covariance of the second view.
    pub fn second(&self) -> Matrix {
        &self.data + &self.noise
    }

    /// Σ_δ, the covariance of the difference of the views: Σ_a or 2 Σ_a.
    pub fn difference(&self) -> Matrix {
        &self.noise * self.draws()
    }

    /// Noise draws in the difference of the views: 1 or 2.
    pub fn draws(&self) -> f64 {
        match self.sides {
            Sides::One => 1.0,
            Sides::Two => 2.0,
        }
    }

    /// 2 Σ_v - Σ_δ: N/(N-1) times the expectation of X/N at W = 0 under Eq. 2, for every N ≥ 2 and every distribution with these
    /// covariances.
    pub fn x_at_zero(&self) -> Matrix {
        &self.first * 2.0 - self.difference()
    }

    /// The mean of the covariances of both views.
    pub fn pooled(&self) -> Matrix {
        (&self.first + self.second()) * 0.5
    }
}

/// F Fᵀ, symmetric to the last bit.
fn gram(factor: &Matrix) -> Matrix {
    let product = factor * factor.transpose();
    (&product + product.transpose()) * 0.5
}
