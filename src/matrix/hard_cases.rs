//! Matrices that break decompositions, an extended-precision referee, and the tests of the Jacobi method on them.

use dashu_float::FBig;
use dashu_float::ops::SquareRoot;
use dashu_float::round::mode::HalfEven;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::jacobi::svd_by_faer;
use super::*;

/// Independent standard normal entries.
pub(super) fn gaussian(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    Matrix::from_fn(rows, columns, |_, _| StandardNormal.sample(&mut random))
}

/// ‖QᵀQ - 1‖ in the Frobenius norm.
pub(super) fn orthogonality_error(q: &Matrix) -> f64 {
    (q.transpose() * q - Matrix::identity(q.ncols(), q.ncols())).norm()
}

fn grading(n: usize) -> Matrix {
    Matrix::from_diagonal(&nalgebra::DVector::from_fn(n, |k, _| 10f64.powi(-4 * k as i32)))
}

/// B·D with Gaussian B and D = diag(10^-4k): singular values down to 1e-60 for n = 16.
pub(super) fn graded_columns(n: usize, seed: u64) -> Matrix {
    gaussian(n, n, seed) * grading(n)
}

fn graded_rows(n: usize, seed: u64) -> Matrix {
    grading(n) * gaussian(n, n, seed)
}

/// A fixed order that mixes large and small: multiplication by a number coprime to n.
fn permuted(n: usize, k: usize) -> usize {
    (7 * k + 3) % n
}

pub(super) fn permuted_columns(a: &Matrix) -> Matrix {
    let n = a.ncols();
    Matrix::from_fn(a.nrows(), n, |i, j| a[(i, permuted(n, j))])
}

fn with_spectrum(rows: usize, columns: usize, seed: u64, value: impl Fn(usize) -> f64) -> Matrix {
    let count = rows.min(columns);
    let mut left = random_orthogonal(gaussian(rows, count, seed));
    let right = random_orthogonal(gaussian(columns, count, seed + 1000));
    for k in 0..count {
        left.column_mut(k).scale_mut(value(k));
    }
    left * right.transpose()
}

/// Named matrices of every hard kind.
pub(super) fn families() -> Vec<(String, Matrix)> {
    let mut found = Vec::new();
    let shapes =
        [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (5, 3), (16, 16), (8, 40), (40, 8), (33, 32), (3, 300)];
    for (index, (m, n)) in shapes.into_iter().enumerate() {
        let seed = 10 * index as u64;
        let count: usize = m.min(n);
        let rank = count.div_ceil(3);
        let integers = |rows, columns, seed| gaussian(rows, columns, seed).map(|x: f64| (3.0 * x).round());
        let kinds = [
            ("zero", Matrix::zeros(m, n)),
            ("all ones", Matrix::from_element(m, n, 1.0)),
            ("one entry", Matrix::from_fn(m, n, |i, j| f64::from(i == m / 2 && j == n / 2))),
            ("identity", Matrix::identity(m, n)),
            ("gaussian", gaussian(m, n, seed)),
            ("integer low rank", integers(m, rank, seed) * integers(rank, n, seed + 1)),
            ("gaussian low rank", gaussian(m, rank, seed + 2) * gaussian(rank, n, seed + 3)),
            (
                "nearly low rank",
                gaussian(m, rank, seed + 2) * gaussian(rank, n, seed + 3) + gaussian(m, n, seed + 4) * 1e-14,
            ),
            ("decaying", with_spectrum(m, n, seed + 5, |k| 10f64.powi(-(k as i32)))),
            ("nearly equal", with_spectrum(m, n, seed + 6, |k| 1.0 + 1e-13 * k as f64)),
            ("equal pairs", with_spectrum(m, n, seed + 7, |k| 2f64.powi(-((k / 2) as i32)))),
            (
                "graded columns",
                Matrix::from_fn(m, n, |i, j| {
                    gaussian(m, n, seed)[(i, j)] * 10f64.powi(-((3 * j % 60) as i32))
                }),
            ),
            (
                "graded rows",
                Matrix::from_fn(m, n, |i, j| {
                    gaussian(m, n, seed)[(i, j)] * 10f64.powi(-((3 * i % 60) as i32))
                }),
            ),
            (
                "zero columns and rows",
                Matrix::from_fn(m, n, |i, j| {
                    f64::from(i % 2 == 0 && j % 3 == 0) * gaussian(m, n, seed)[(i, j)]
                }),
            ),
        ];
        found.extend(kinds.into_iter().map(|(kind, a)| (format!("{kind} {m} x {n}"), a)));
    }
    found
}

type Big = FBig<HalfEven, 2>;

/// 130 decimal digits.
const BITS: usize = 432;

fn big(x: f64) -> Big {
    Big::try_from(x).unwrap().with_precision(BITS).value()
}

fn big_columns(a: &Matrix) -> Vec<Vec<Big>> {
    a.column_iter().map(|column| column.iter().map(|x| big(*x)).collect()).collect()
}

fn big_dot(x: &[Big], y: &[Big]) -> Big {
    x.iter().zip(y).fold(big(0.0), |sum, (x, y)| sum + x * y)
}

/// Singular values of a square matrix by one-sided Jacobi in 130 digits, none of the tricks: descending.
fn reference_values(a: &Matrix) -> Vec<f64> {
    let mut columns = big_columns(a);
    let n = columns.len();
    let (one, two) = (big(1.0), big(2.0));
    let tolerance = big(1e-20);
    let mut rotated = true;
    while rotated {
        rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (pp, qq) = (big_dot(&columns[p], &columns[p]), big_dot(&columns[q], &columns[q]));
                let pq = big_dot(&columns[p], &columns[q]);
                let product = &pp * &qq;
                if &pq * &pq <= &tolerance * &tolerance * product {
                    continue;
                }
                rotated = true;
                let cotangent = (qq - pp) / (&two * &pq);
                let root = (&one + &cotangent * &cotangent).sqrt();
                let tangent = if cotangent < big(0.0) {
                    -(&one / (root - cotangent))
                } else {
                    &one / (root + cotangent)
                };
                let cos = &one / (&one + &tangent * &tangent).sqrt();
                let sin = &cos * &tangent;
                for i in 0..n {
                    let (x, y) = (columns[p][i].clone(), columns[q][i].clone());
                    columns[p][i] = &cos * &x - &sin * &y;
                    columns[q][i] = &sin * &x + &cos * &y;
                }
            }
        }
    }
    let mut values: Vec<f64> = columns.iter().map(|c| big_dot(c, c).sqrt().to_f64().value()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// |det A| by Gaussian elimination with row exchanges, in 130 digits.
fn reference_determinant(a: &Matrix) -> Big {
    let mut rows = big_columns(&a.transpose());
    let n = rows.len();
    let size = |x: &Big| if *x < big(0.0) { -x.clone() } else { x.clone() };
    let mut product = big(1.0);
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| size(&rows[i][k]).cmp(&size(&rows[j][k]))).unwrap();
        rows.swap(k, pivot);
        product *= rows[k][k].clone();
        for i in k + 1..n {
            let factor = &rows[i][k] / &rows[k][k];
            for j in k..n {
                let change = &factor * &rows[k][j];
                rows[i][j] = &rows[i][j] - change;
            }
        }
    }
    size(&product)
}

/// Correct decimal digits of the worst value; negative where it is wrong altogether.
fn digits(found: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(found.len(), reference.len());
    found.iter().zip(reference).map(|(x, y)| -((x / y - 1.0).abs().max(1e-17)).log10()).fold(17.0, f64::min)
}

type Family = (&'static str, fn(u64) -> Matrix);

/// What ours must do: n = 16, singular values spread over 60 decades.
const GRADED: [Family; 5] = [
    ("B D", |seed| graded_columns(16, seed)),
    ("D B", |seed| graded_rows(16, seed)),
    ("B D, columns permuted", |seed| permuted_columns(&graded_columns(16, seed))),
    ("D B, rows permuted", |seed| permuted_columns(&graded_rows(16, seed).transpose()).transpose()),
    ("D B D, both permuted", |seed| {
        let a = permuted_columns(&(graded_rows(16, seed) * grading(16)));
        permuted_columns(&a.transpose()).transpose()
    }),
];

#[test]
fn the_reference_values_multiply_to_the_determinant() {
    // Two extended-precision methods that share no step.
    for (name, make) in GRADED {
        let a = make(1);
        let product = reference_values(&a).iter().fold(big(1.0), |p, x| p * big(*x));
        let ratio = (product / reference_determinant(&a)).to_f64().value();
        assert!((ratio - 1.0).abs() < 1e-14, "{name}: {ratio}");
    }
}

#[test]
fn small_singular_values_of_graded_matrices_keep_twelve_digits() {
    for (name, make) in GRADED {
        let mut worst = (f64::MAX, f64::MAX);
        for seed in 0..5 {
            let a = make(seed);
            let reference = reference_values(&a);
            assert!(reference[15] < 1e-57 * reference[0]);
            worst.0 = worst.0.min(digits(&singular_values(&a).unwrap(), &reference));
            worst.1 = worst.1.min(digits(&svd(&a).unwrap().values, &reference));
        }
        println!("{name}: {:.1} digits, with vectors {:.1}", worst.0, worst.1);
        assert!(worst.0 > 12.0 && worst.1 > 12.0, "{name}: {worst:?} digits");
    }
}

#[test]
fn bidiagonal_methods_lose_the_small_singular_values_that_ours_keep() {
    let a = permuted_columns(&graded_columns(16, 0));
    let reference = reference_values(&a);
    let ours = singular_values(&a).unwrap();
    let by_nalgebra = a.singular_values();
    let by_faer = faer::MatRef::from_column_major_slice(a.as_slice(), 16, 16).singular_values().unwrap();
    let digits_of_last = |x: &[f64]| digits(&x[15..], &reference[15..]);
    assert!(digits_of_last(&ours) > 12.0);
    assert!(digits_of_last(by_nalgebra.as_slice()) < 1.0, "{by_nalgebra}");
    assert!(digits_of_last(&by_faer) < 1.0, "{by_faer:?}");
}

fn assert_is_svd_of(name: &str, a: &Matrix, found: &Svd) {
    let (m, n) = a.shape();
    let bound = 4.0 * f64::EPSILON * m.max(n) as f64;
    assert_eq!((found.u.shape(), found.v.shape()), ((m, m.min(n)), (n, m.min(n))), "{name}");
    assert_eq!(found.values.len(), m.min(n), "{name}");
    assert!(found.values.is_sorted_by(|x, y| x >= y), "{name}: {:?}", found.values);
    assert!(found.values.iter().all(|x| *x >= 0.0 && x.is_sign_positive()), "{name}: {:?}", found.values);
    let error = relative_difference(&found.product(), a);
    assert!(error <= bound, "{name}: rebuilt with an error of {error:e}");
    for (side, vectors) in [("left", &found.u), ("right", &found.v)] {
        let error = orthogonality_error(vectors);
        assert!(error <= bound, "{name}: {side} vectors are orthonormal to {error:e}");
    }
}

#[test]
fn every_hard_family_is_rebuilt_from_orthonormal_vectors() {
    for (name, a) in families() {
        let found = svd(&a).unwrap();
        assert_is_svd_of(&name, &a, &found);
        let values = singular_values(&a).unwrap();
        let scale = values.first().copied().unwrap_or(0.0);
        for (x, y) in values.iter().zip(&found.values) {
            assert!((x - y).abs() <= 1e-15 * scale, "{name}: {x:e} without and {y:e} with vectors");
        }
    }
}

#[test]
fn nalgebra_with_vectors_fails_the_check_that_ours_passes() {
    // Upstream issue 1172: this is what the check above is for.
    let failed = families()
        .iter()
        .filter(|(_, a)| {
            let found = a.clone().svd(true, true);
            let rebuilt = found.recompose().unwrap();
            relative_difference(&rebuilt, a) > 1e-10
        })
        .count();
    println!("nalgebra fails on {failed} of {}", families().len());
    assert!(failed > 0);
}

#[test]
fn exact_low_rank_shows_as_values_at_rounding_level() {
    let a = Matrix::from_element(16, 16, 1.0);
    let values = singular_values(&a).unwrap();
    assert!((values[0] - 16.0).abs() < 1e-14);
    assert!(values[1] < 1e-14);
    let mut sparse = Matrix::zeros(5, 4);
    sparse[(3, 1)] = -2.0;
    assert_eq!(singular_values(&sparse).unwrap(), [2.0, 0.0, 0.0, 0.0]);
}

#[test]
fn scaling_by_a_power_of_two_changes_no_bit() {
    for (name, a) in families() {
        // Entries of 1e-60 beside 1 become subnormal at 1e-290: not the method's loss.
        let small: i32 = if name.starts_with("graded") { -700 } else { -960 };
        let reference = svd(&a).unwrap();
        for exponent in [small, -500, 500, 1000] {
            let scale = 2f64.powi(exponent);
            let found = svd(&(&a * scale)).unwrap();
            let expected: Vec<f64> = reference.values.iter().map(|x| x * scale).collect();
            assert_eq!(found.values, expected, "{name} times 2^{exponent}");
            assert_eq!((&found.u, &found.v), (&reference.u, &reference.v), "{name} times 2^{exponent}");
        }
    }
}

#[test]
fn values_are_found_over_more_than_two_hundred_decades() {
    // Columns of size 1, 1e-70, 1e-140, 1e-210, 1e-270: the smallest squares would underflow without the scaling.
    let exponents = [0, -210, -70, -270, -140];
    let q = random_orthogonal(gaussian(5, 5, 1));
    let a = Matrix::from_fn(5, 5, |i, j| q[(i, j)] * 10f64.powi(exponents[j]));
    for (found, exponent) in singular_values(&a).unwrap().iter().zip([0, -70, -140, -210, -270]) {
        assert!((found / 10f64.powi(exponent) - 1.0).abs() < 1e-13, "{found:e} for 1e{exponent}");
    }
}

#[test]
fn an_upper_bidiagonal_with_a_huge_condition_number_matches_its_closed_form() {
    // [1 1; 0 δ]: σ₁σ₂ = δ and σ₁² + σ₂² = 2 + δ².
    for delta in [1e-3, 1e-10, 1e-50, 1e-200] {
        let values = singular_values(&Matrix::from_row_slice(2, 2, &[1.0, 1.0, 0.0, delta])).unwrap();
        assert!((values[0] * values[1] / delta - 1.0).abs() < 1e-15, "at {delta:e}");
        assert!((values[0].hypot(values[1]) / (2.0 + delta * delta).sqrt() - 1.0).abs() < 1e-15);
    }
}

#[test]
fn above_the_limit_faer_takes_over_and_passes_the_same_checks() {
    for (m, n) in [(129, 129), (400, 130), (131, 300)] {
        for (kind, a) in [
            ("gaussian", gaussian(m, n, 1)),
            ("all ones", Matrix::from_element(m, n, 1.0)),
            ("low rank", gaussian(m, 5, 2) * gaussian(5, n, 3)),
            ("zero", Matrix::zeros(m, n)),
        ] {
            for scale in [2f64.powi(-800), 1.0, 2f64.powi(800)] {
                let a = &a * scale;
                assert_is_svd_of(kind, &a, &svd(&a).unwrap());
            }
            let (values, with) = (singular_values(&a).unwrap(), svd(&a).unwrap().values);
            assert!(values.iter().zip(&with).all(|(x, y)| (x - y).abs() <= 1e-13 * with[0]));
        }
    }
}

#[test]
fn jacobi_and_faer_agree_on_either_side_of_the_limit() {
    let a = gaussian(128, 128, 3);
    let ours = singular_values(&a).unwrap();
    let theirs = faer::MatRef::from_column_major_slice(a.as_slice(), 128, 128).singular_values().unwrap();
    assert!(ours.iter().zip(&theirs).all(|(x, y)| (x - y).abs() < 1e-13 * ours[0]));
}

#[test]
fn matrices_without_entries_have_no_singular_values() {
    for (m, n) in [(0, 0), (0, 3), (3, 0)] {
        let a = Matrix::zeros(m, n);
        assert!(singular_values(&a).unwrap().is_empty());
        assert_eq!(spectral_norm(&a), Ok(0.0));
        let found = svd(&a).unwrap();
        assert_eq!((found.u.shape(), found.v.shape()), ((m, 0), (n, 0)));
    }
}

#[test]
fn an_entry_that_is_not_finite_is_refused_with_its_place() {
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        let mut a = gaussian(4, 3, 1);
        a[(2, 1)] = value;
        let expected = DecompositionError::NotFinite { row: 2, column: 1, value };
        assert_eq!(singular_values(&a), Err(expected));
        assert_eq!(svd(&a), Err(expected));
        assert!(expected.to_string().contains("(2, 1)"));
    }
    assert!(svd(&Matrix::from_element(2, 2, f64::NAN)).is_err());
}

#[test]
fn a_workspace_gives_the_same_bits_whatever_it_did_before() {
    let mut workspace = SvdWorkspace::default();
    for (name, a) in families() {
        assert_eq!(workspace.svd(&a).unwrap(), svd(&a).unwrap(), "{name}");
        assert_eq!(workspace.singular_values(&a).unwrap(), singular_values(&a).unwrap(), "{name}");
    }
}

#[test]
fn a_transposed_view_swaps_the_sides() {
    let a = gaussian(7, 4, 5);
    let found = SvdWorkspace::default().svd(View::from(&a).transpose()).unwrap();
    assert_is_svd_of("transposed", &a.transpose(), &found);
}

/// Small integers, so that low rank and equal values are common.
fn integer_matrix() -> impl Strategy<Value = Matrix> {
    (1usize..9, 1usize..9).prop_flat_map(|(m, n)| {
        prop::collection::vec(-2i32..3, m * n)
            .prop_map(move |entries| Matrix::from_iterator(m, n, entries.into_iter().map(f64::from)))
    })
}

proptest! {
    #[test]
    fn small_integer_matrices_are_decomposed(a in integer_matrix()) {
        assert_is_svd_of("integers", &a, &svd(&a).unwrap());
    }

    #[test]
    fn squared_values_add_to_the_squared_frobenius_norm(a in integer_matrix()) {
        let values = singular_values(&a).unwrap();
        let sum: f64 = values.iter().map(|x| x * x).sum();
        prop_assert!((sum - a.norm_squared()).abs() <= 1e-13 * a.norm_squared());
    }

    #[test]
    fn a_product_with_a_diagonal_on_either_side_keeps_all_digits(
        exponents in prop::collection::vec(-200i32..1, 6), seed in 0u64..1000, left in any::<bool>(),
    ) {
        // Orthogonal times diagonal: the values are the diagonal.
        let mut a = random_orthogonal(gaussian(6, 6, seed));
        for (k, exponent) in exponents.iter().enumerate() {
            let scale = 10f64.powi(*exponent);
            if left { a.row_mut(k).scale_mut(scale) } else { a.column_mut(k).scale_mut(scale) }
        }
        let mut expected: Vec<f64> = exponents.iter().map(|e| 10f64.powi(*e)).collect();
        expected.sort_by(|x, y| y.total_cmp(x));
        prop_assert!(digits(&singular_values(&a).unwrap(), &expected) > 13.0);
    }
}

#[test]
#[ignore = "a measurement, not a check"]
fn report_times() {
    for n in [8, 16, 32, 64, 128, 256] {
        let a = gaussian(n, n, 1);
        let mut workspace = SvdWorkspace::default();
        // Many short batches: the fastest is one that nothing interrupted.
        let repeats = (500_000 / (n * n * n)).clamp(1, 500);
        let time = |f: &mut dyn FnMut()| {
            (0..60)
                .map(|_| {
                    let start = std::time::Instant::now();
                    (0..repeats).for_each(|_| f());
                    start.elapsed().as_secs_f64() / repeats as f64 * 1e6
                })
                .fold(f64::MAX, f64::min)
        };
        let with = time(&mut || drop(workspace.svd(&a)));
        let without = time(&mut || assert!(workspace.singular_values(&a).is_ok()));
        let by_faer = time(&mut || drop(svd_by_faer(a.as_slice(), n, n, 1.0)));
        let eigen = time(&mut || drop(symmetric_eigen(&a)));
        let exp = time(&mut || drop(exponential(&a)));
        println!(
            "n = {n}, µs: svd {with:.1}, values {without:.1}, svd by faer {by_faer:.1}, \
             symmetric eigen {eigen:.1}, exponential {exp:.1}"
        );
    }
}
