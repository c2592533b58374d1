//! Dense matrices: products, decompositions, the matrix exponential, comparisons.
//!
//! This room is the only home of the decomposition crates. Rank collapse is what the project studies, so small singular
//! values are computed by a one-sided Jacobi method that keeps their digits, not by bidiagonalisation, which does not.
//!
//! | need | function | method |
//! |---|---|---|
//! | singular values, vectors | [`singular_values`], [`svd`], [`SvdWorkspace`] | preconditioned one-sided Jacobi; faer above [`JACOBI_LIMIT`] |
//! | symmetric eigenvalues | [`symmetric_eigenvalues`], [`symmetric_eigen`] | faer, on a scaled, symmetrised copy |
//! | R of a QR, random rotations | [`triangular_factor`], [`random_orthogonal`] | Householder (faer) |
//! | inverse, determinant of a positive definite matrix | [`PositiveInverse`] | Cholesky (faer) |
//! | A x = b, symmetric | [`SymmetricFactors`] | Cholesky, or LU where A is not positive definite (faer) |
//! | exp(A) | [`exponential`], [`symmetric_exponential`] | Padé 13 with squaring; eigenvalues |
//! | comparisons | [`relative_difference`], [`groups_by_relative_gap`], [`align_signs`], [`principal_angles`] | |

mod comparison;
mod eigen;
mod exponential;
mod jacobi;
#[cfg(feature = "lapack")]
pub mod lapack;
mod positive;
mod product;
mod qr;
mod scale;
mod solve;

pub use comparison::{
    align_signs, group_differences, groups_by_relative_gap, principal_angles, relative_difference,
    subspace_difference,
};
pub use eigen::{SymmetricEigen, symmetric_eigen, symmetric_eigenvalues};
pub use exponential::{exponential, symmetric_exponential};
pub use jacobi::{JACOBI_LIMIT, Svd, SvdWorkspace, singular_values, spectral_norm, svd};
pub use positive::PositiveInverse;
pub use product::{Destination, Rows, View, product, product_of_rows};
pub use qr::{random_orthogonal, triangular_factor};
pub use scale::{frobenius_norm, largest_entry, power_of_two_scale};
pub use solve::{Factorisation, SymmetricFactors};

/// A dense column-major matrix.
pub type Matrix = nalgebra::DMatrix<f64>;

/// Why a decomposition or a matrix function has no answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecompositionError {
    /// An entry is infinite or not a number. Position as stored, counted from 0.
    NotFinite {
        /// Row of the first such entry, column by column.
        row: usize,
        /// Its column.
        column: usize,
        /// Its value.
        value: f64,
    },
    /// The iteration did not settle on a `rows x columns` matrix.
    NotConverged {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// A linear system with a `size x size` matrix has no solution, or none within the range of the numbers.
    Singular {
        /// Rows and columns of the matrix.
        size: usize,
    },
}

impl std::fmt::Display for DecompositionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            DecompositionError::NotFinite { row, column, value } => {
                write!(
                    f,
                    "entry ({row}, {column}) of the matrix is {value}, and only finite entries can be decomposed"
                )
            }
            DecompositionError::NotConverged { rows, columns } => {
                write!(f, "the decomposition of a {rows} x {columns} matrix did not converge")
            }
            DecompositionError::Singular { size } => {
                write!(f, "the {size} x {size} matrix is singular")
            }
        }
    }
}

impl std::error::Error for DecompositionError {}

#[cfg(test)]
mod hard_cases;
