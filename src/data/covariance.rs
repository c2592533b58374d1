//! Covariances of data and of noise.

use crate::files;
use crate::matrix::{self, Matrix};
use crate::settings::{Key, Kind, Presence, Problem, Settings, ValueType};
use std::path::Path;

/// Variances of independent coordinates, of samples or of noise.
pub const VARIANCES: Key = Key {
    name: "variances",
    value: ValueType::NON_NEGATIVE_NUMBERS,
    presence: Presence::Required,
    about: "Variance of every coordinate",
};

/// The kinds of covariance that an experiment file can name.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "isotropic",
        keys: &[Key {
            name: "variance",
            value: ValueType::POSITIVE,
            presence: Presence::Required,
            about: "Variance of every coordinate",
        }],
        about: "variance I",
        source: "",
    },
    Kind { name: "diagonal", keys: &[VARIANCES], about: "diag(variances)", source: "" },
    Kind {
        name: "power-law",
        keys: &[Key {
            name: "exponent",
            value: ValueType::NON_NEGATIVE,
            presence: Presence::Required,
            about: "Variance of coordinate k is k^(-exponent), k = 1, 2, …",
        }],
        about: "diag(1, 2^-exponent, 3^-exponent, …)",
        source: "",
    },
    Kind {
        name: "file",
        keys: &[Key {
            name: "path",
            value: ValueType::Path,
            presence: Presence::Required,
            about: "An .npy or .csv with the d x d covariance",
        }],
        about: "The covariance as given; singular ones are fine",
        source: "",
    },
];

/// A factor F with F Fᵀ the covariance.
#[derive(Clone, Debug, PartialEq)]
pub enum Factor {
    /// Standard deviations of independent coordinates.
    Diagonal(Vec<f64>),
    /// A dense factor.
    Full(Matrix),
}

impl Factor {
    /// F as a matrix.
    pub(super) fn matrix(&self) -> Matrix {
        match self {
            Factor::Diagonal(stds) => Matrix::from_diagonal(&nalgebra::DVector::from_column_slice(stds)),
            Factor::Full(factor) => factor.clone(),
        }
    }

    /// Checks the table `covariance` against `dim` coordinates without reading files.
    pub(super) fn check(settings: &Settings, dim: usize) -> Result<(), Problem> {
        if settings.kind() == "diagonal" && settings.numbers("variances").len() != dim {
            let given = settings.numbers("variances").len();
            let message = format!("{given} variances for {dim} coordinates; allowed: one a coordinate");
            return Err(settings.problem("variances", message));
        }
        Ok(())
    }

    /// Reads the table `covariance`.
    pub(super) fn from_settings(settings: &Settings, dim: usize) -> Result<Factor, Problem> {
        Ok(match settings.kind() {
            "isotropic" => Factor::Diagonal(vec![settings.number("variance").sqrt(); dim]),
            "diagonal" => Factor::Diagonal(settings.numbers("variances").iter().map(|v| v.sqrt()).collect()),
            "power-law" => {
                let exponent = settings.number("exponent");
                Factor::Diagonal((1..=dim).map(|k| (k as f64).powf(-0.5 * exponent)).collect())
            }
            _ => Factor::Full(covariance_factor(settings.path("path"), dim, settings)?),
        })
    }
}

/// Reads a d x d covariance from a file and returns F with F Fᵀ equal to it; errors are located at `path`.
pub fn covariance_factor(path: &Path, dim: usize, settings: &Settings) -> Result<Matrix, Problem> {
    let wrong = |message: String| settings.problem("path", message);
    let array = files::read_samples(path).map_err(|error| wrong(error.to_string()))?;
    if array.shape != [dim, dim] {
        return Err(wrong(format!("{} has shape {:?}; allowed: {dim} x {dim}", path.display(), array.shape)));
    }
    let covariance = Matrix::from_row_slice(dim, dim, &array.values);
    let size = covariance.amax();
    let asymmetry = (&covariance - covariance.transpose()).amax();
    // Written with 12 digits or more, a covariance is symmetric to within this.
    const ROUNDING: f64 = 1e-12;
    if asymmetry > ROUNDING * size {
        return Err(wrong(format!(
            "{} is not symmetric: entries differ by {asymmetry:.3e}; allowed: a symmetric matrix",
            path.display()
        )));
    }
    let eigen = matrix::symmetric_eigen(&covariance).map_err(|error| wrong(error.to_string()))?;
    let smallest = eigen.values[0];
    if smallest < -ROUNDING * size * dim as f64 {
        return Err(wrong(format!(
            "{} has the negative eigenvalue {smallest:.3e}; allowed: a covariance, whose eigenvalues are not negative",
            path.display()
        )));
    }
    let mut factor = eigen.vectors;
    for (mut column, value) in factor.column_iter_mut().zip(&eigen.values) {
        column *= value.max(0.0).sqrt();
    }
    Ok(factor)
}
