//! Linear systems with a symmetric matrix, on memory that is used again.

use std::mem::MaybeUninit;

use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::linalg::lu::partial_pivoting as lu;
use faer::perm::PermRef;
use faer::{MatMut, MatRef, Par};

use super::DecompositionError;
use super::scale::largest_magnitude;

/// How a symmetric matrix was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factorisation {
    /// A = L Lᵀ with a lower triangular L: the matrix is positive definite. Cost: n³/3.
    Cholesky,
    /// P A = L U with partial pivoting: the matrix is not, to rounding, positive definite. Cost: 2 n³/3, after a Cholesky
    /// factorisation that broke off.
    Lu,
}

/// Factors of a symmetric n x n matrix, to solve A x = b for one right-hand side after the other.
///
/// Memory: one n x n matrix and some vectors, all allocated at construction; factorising and solving allocate nothing. One
/// thread, the same bits on every call.
#[derive(Clone, Debug)]
pub struct SymmetricFactors {
    size: usize,
    /// L in the lower triangle, or L and U together; column-major.
    factors: Vec<f64>,
    /// Row exchanges of the LU factorisation, and their inverse.
    permutation: Vec<usize>,
    inverse: Vec<usize>,
    scratch: Vec<MaybeUninit<u8>>,
    factorisation: Option<Factorisation>,
}

impl SymmetricFactors {
    /// Memory for matrices of `size` rows; there are no factors yet.
    pub fn new(size: usize) -> Self {
        let needs = [
            llt::factor::cholesky_in_place_scratch::<f64>(size, Par::Seq, Default::default()),
            llt::solve::solve_in_place_scratch::<f64>(size, 1, Par::Seq),
            lu::factor::lu_in_place_scratch::<usize, f64>(size, size, Par::Seq, Default::default()),
            lu::solve::solve_in_place_scratch::<usize, f64>(size, 1, Par::Seq),
        ];
        SymmetricFactors {
            size,
            factors: vec![0.0; size * size],
            permutation: (0..size).collect(),
            inverse: (0..size).collect(),
            scratch: vec![MaybeUninit::uninit(); StackReq::any_of(&needs).unaligned_bytes_required()],
            factorisation: None,
        }
    }

    /// Factorises the symmetric matrix whose lower triangle (`row >= column`) is `entry(row, column)`.
    ///
    /// By Cholesky's method where that succeeds, otherwise by LU. `entry` is a function and no slice because Cholesky's method
    /// overwrites what LU then needs again. Factors found earlier are forgotten, also by an error.
    ///
    /// Errors where an entry is not finite, or where LU meets a pivot that is zero or no number: the matrix is singular, or its
    /// factors overflow. A matrix that is singular up to rounding only is not noticed: its solutions are large.
    pub fn factorise(
        &mut self,
        entry: impl Fn(usize, usize) -> f64,
    ) -> Result<Factorisation, DecompositionError> {
        let factorisation = if self.cholesky(&entry)? {
            Factorisation::Cholesky
        } else {
            let size = self.size;
            self.fill(&entry);
            let matrix = MatMut::from_column_major_slice_mut(&mut self.factors, size, size);
            lu::factor::lu_in_place(
                matrix,
                &mut self.permutation,
                &mut self.inverse,
                Par::Seq,
                MemStack::new(&mut self.scratch),
                Default::default(),
            );
            if !self.pivots_are_numbers() {
                return Err(DecompositionError::Singular { size });
            }
            Factorisation::Lu
        };
        self.factorisation = Some(factorisation);
        Ok(factorisation)
    }

    /// Whether the symmetric matrix with this lower triangle is positive definite, up to some n·ε·‖A‖ in its smallest eigenvalue.
    ///
    /// Cost: at most n³/3. Factors found earlier are forgotten. Errors where an entry is not finite.
    pub fn is_positive_definite(
        &mut self,
        entry: impl Fn(usize, usize) -> f64,
    ) -> Result<bool, DecompositionError> {
        self.cholesky(&entry)
    }

    /// Overwrites the right-hand side b with the solution of A x = b. Cost: 2 n².
    ///
    /// Backward stable: x solves a system whose matrix differs from A by some n·ε·‖A‖. Values of b that are not finite make x not
    /// finite. Panics where the length is another than that of the matrix, or where there are no factors.
    pub fn solve(&mut self, right_hand_side: &mut [f64]) {
        let size = self.size;
        assert_eq!(right_hand_side.len(), size, "a right-hand side for a matrix of {size} rows");
        let factorisation = self.factorisation.expect("a matrix is factorised before a system is solved");
        let factors = MatRef::from_column_major_slice(&self.factors, size, size);
        let x = MatMut::from_column_major_slice_mut(right_hand_side, size, 1);
        let stack = MemStack::new(&mut self.scratch);
        match factorisation {
            Factorisation::Cholesky => llt::solve::solve_in_place(factors, x, Par::Seq, stack),
            Factorisation::Lu => {
                let rows = PermRef::new_checked(&self.permutation, &self.inverse, size);
                lu::solve::solve_in_place(factors, factors, rows, x, Par::Seq, stack);
            }
        }
    }

    /// Leaves Cholesky's factor, if there is one.
    fn cholesky(&mut self, entry: &impl Fn(usize, usize) -> f64) -> Result<bool, DecompositionError> {
        self.factorisation = None;
        let size = self.size;
        self.fill(entry);
        largest_magnitude(&self.factors, size)?;
        let stack = MemStack::new(&mut self.scratch);
        let matrix = MatMut::from_column_major_slice_mut(&mut self.factors, size, size);
        let none = llt::factor::LltRegularization::default();
        let done = llt::factor::cholesky_in_place(matrix, none, Par::Seq, stack, Default::default());
        // An overflow on the way leaves a pivot that is no number, and what follows from it.
        Ok(done.is_ok() && self.pivots_are_numbers())
    }

    /// Writes both triangles.
    fn fill(&mut self, entry: &impl Fn(usize, usize) -> f64) {
        let size = self.size;
        for column in 0..size {
            for row in column..size {
                let value = entry(row, column);
                self.factors[row + column * size] = value;
                self.factors[column + row * size] = value;
            }
        }
    }

    fn pivots_are_numbers(&self) -> bool {
        self.factors.iter().step_by(self.size + 1).all(|pivot| pivot.is_finite() && *pivot != 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Matrix;
    use super::super::hard_cases::gaussian;
    use super::*;

    fn factorise(a: &Matrix) -> (SymmetricFactors, Result<Factorisation, DecompositionError>) {
        let mut factors = SymmetricFactors::new(a.nrows());
        let found = factors.factorise(|i, j| a[(i, j)]);
        (factors, found)
    }

    /// ‖A x - b‖ / (‖A‖ ‖x‖) for a fixed b: what backward stability bounds.
    fn residual(factors: &mut SymmetricFactors, a: &Matrix) -> f64 {
        let b = gaussian(a.nrows(), 1, 77);
        let mut x = b.clone();
        factors.solve(x.as_mut_slice());
        (a * &x - &b).norm() / (a.norm() * x.norm())
    }

    fn indefinite(n: usize, seed: u64) -> Matrix {
        let g = gaussian(n, n, seed);
        &g + g.transpose()
    }

    #[test]
    fn positive_definite_systems_of_every_size_are_solved_by_cholesky() {
        for n in [1, 2, 3, 8, 17, 64, 65, 200] {
            let g = gaussian(n, n, n as u64);
            let a = &g * g.transpose() + Matrix::identity(n, n);
            let (mut factors, found) = factorise(&a);
            assert_eq!(found, Ok(Factorisation::Cholesky));
            assert!(residual(&mut factors, &a) < 1e-15 * n.max(4) as f64, "n = {n}");
        }
    }

    #[test]
    fn indefinite_systems_of_every_size_are_solved_by_lu() {
        for n in [2, 3, 8, 17, 64, 65, 200] {
            let a = indefinite(n, n as u64);
            let (mut factors, found) = factorise(&a);
            assert_eq!(found, Ok(Factorisation::Lu));
            assert!(residual(&mut factors, &a) < 1e-15 * n.max(4) as f64, "n = {n}");
        }
        // Pivots in the order of the rows would be zero.
        let a = Matrix::from_row_slice(2, 2, &[0.0, 1.0, 1.0, 0.0]);
        let (mut factors, _) = factorise(&a);
        let mut x = [3.0, 5.0];
        factors.solve(&mut x);
        assert_eq!(x, [5.0, 3.0]);
    }

    #[test]
    fn a_single_equation_of_either_sign_is_a_division() {
        for (a, by) in [(4.0, Factorisation::Cholesky), (-4.0, Factorisation::Lu)] {
            let (mut factors, found) = factorise(&Matrix::from_element(1, 1, a));
            assert_eq!(found, Ok(by));
            let mut x = [2.0];
            factors.solve(&mut x);
            assert_eq!(x, [2.0 / a]);
        }
        let (mut factors, found) = factorise(&Matrix::zeros(0, 0));
        assert_eq!(found, Ok(Factorisation::Cholesky));
        factors.solve(&mut []);
    }

    #[test]
    fn the_error_of_an_ill_conditioned_system_shows_in_the_solution_and_not_in_the_residual() {
        let n = 12;
        let hilbert = Matrix::from_fn(n, n, |i, j| 1.0 / (i + j + 1) as f64);
        let (mut factors, found) = factorise(&hilbert);
        assert_eq!(found, Ok(Factorisation::Cholesky));
        assert!(residual(&mut factors, &hilbert) < 1e-14);
        let mut x = (&hilbert * Matrix::from_element(n, 1, 1.0)).as_slice().to_vec();
        factors.solve(&mut x);
        assert!(x.iter().any(|x| (x - 1.0).abs() > 1e-4), "a condition of 1e16 did not show: {x:?}");
    }

    #[test]
    fn a_matrix_is_positive_definite_if_its_smallest_eigenvalue_is() {
        for n in [1, 2, 7, 40, 130] {
            let a = indefinite(n, n as u64);
            let smallest = super::super::symmetric_eigenvalues(&a).unwrap()[0];
            let mut factors = SymmetricFactors::new(n);
            for (part, expected) in [(1e-9, true), (-1e-9, false)] {
                let shift = part * a.norm() - smallest;
                let shifted = |i: usize, j: usize| a[(i, j)] + if i == j { shift } else { 0.0 };
                assert_eq!(factors.is_positive_definite(shifted), Ok(expected), "n = {n}");
            }
            assert!(factors.is_positive_definite(|_, _| f64::NAN).is_err());
        }
    }

    #[test]
    fn singular_matrices_are_refused_where_a_pivot_is_exactly_zero() {
        for a in [Matrix::zeros(1, 1), Matrix::zeros(5, 5), Matrix::from_element(4, 4, 1.0)] {
            let (_, found) = factorise(&a);
            assert_eq!(found, Err(DecompositionError::Singular { size: a.nrows() }));
        }
    }

    #[test]
    fn entries_that_are_not_finite_are_refused_with_their_place() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut a = Matrix::identity(3, 3);
            a[(2, 1)] = value;
            let (_, found) = factorise(&a);
            let Err(DecompositionError::NotFinite { row, column, .. }) = found else { panic!("{found:?}") };
            assert_eq!((row, column), (2, 1));
        }
    }

    #[test]
    fn entries_near_the_ends_of_the_range_are_solved_or_refused() {
        let g = gaussian(6, 6, 3);
        let a = &g * g.transpose() + Matrix::identity(6, 6);
        for scale in [2f64.powi(-1000), 2f64.powi(1000)] {
            let scaled = &a * scale;
            let (mut factors, found) = factorise(&scaled);
            assert_eq!(found, Ok(Factorisation::Cholesky));
            let mut x = (&scaled * Matrix::from_element(6, 1, 1.0)).as_slice().to_vec();
            factors.solve(&mut x);
            assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-12), "{x:?}");
        }
        // The complement is -1e450.
        let overflow = Matrix::from_row_slice(2, 2, &[1e-150, 1e150, 1e150, 1e-150]);
        let (mut factors, found) = factorise(&overflow);
        assert!(found.is_err() || residual(&mut factors, &overflow) < 1e-15);
    }

    #[test]
    fn only_the_lower_triangle_is_asked_for() {
        let a = indefinite(9, 4);
        let mut factors = SymmetricFactors::new(9);
        factors
            .factorise(|i, j| {
                assert!(i >= j);
                a[(i, j)]
            })
            .unwrap();
        assert!(residual(&mut factors, &a) < 1e-14);
        // A matrix that is not symmetric is another one to this factorisation.
        let g = gaussian(9, 9, 4);
        let (mut factors, _) = factorise(&g);
        assert!(residual(&mut factors, &g) > 1e-3);
    }

    #[test]
    fn factors_are_the_same_bits_whatever_was_factorised_before() {
        let (a, b) = (indefinite(30, 1), indefinite(30, 2));
        let solve = |factors: &mut SymmetricFactors| {
            let mut x = vec![1.0; 30];
            factors.solve(&mut x);
            x
        };
        let (mut fresh, _) = factorise(&a);
        let (mut used, _) = factorise(&b);
        used.factorise(|i, j| a[(i, j)]).unwrap();
        assert_eq!(solve(&mut fresh), solve(&mut used));
    }

    #[test]
    #[should_panic(expected = "factorised before")]
    fn factors_that_were_refused_solve_nothing() {
        let (mut factors, _) = factorise(&Matrix::identity(2, 2));
        let _ = factors.factorise(|_, _| f64::NAN);
        factors.solve(&mut [1.0, 1.0]);
    }
}
