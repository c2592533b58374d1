//! The paper's algebraic identities on batches and layers that are drawn to be hard: nearly equal singular values, layers
//! of low rank, wide and tall layers, X with eigenvalues on both sides of 0, duplicate samples, equal views, N = 2, d = 1.
//! Checks are those of the claims. Each accepts what is right, and rejects something wrong.

use contraflow::claim::residual_argument::{Block, ResidualBlock};
use contraflow::claim::{
    Batch, Checked, directclr_equivalence, eq_4, eq_5, eq_6, eq_10, lemma_1, lemma_2, lemma_3, lemma_4,
    lemma_5, lemma_6, lemma_7, residual_argument, theorem_3,
};
use contraflow::loss::{Loss, NORM_FLOOR};
use contraflow::matrix::{Matrix, random_orthogonal, svd, symmetric_eigenvalues};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::FileFailurePersistence;

/// Four times the usual number of cases, which PROPTEST_CASES sets; found failures are kept beside this file.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let persistence = FileFailurePersistence::Direct("tests/identities.proptest-regressions");
    ProptestConfig {
        cases: 4 * usual.cases,
        // Two layers of which one is no wider than its neighbours, and whose singular values are apart, are one pair in three.
        max_global_rejects: 16 * usual.cases,
        failure_persistence: Some(Box::new(persistence)),
        ..usual
    }
}

/// Fails where the two sides are farther apart than rounding allows; a case in which nothing was judged does not count.
fn accepts(checked: Checked) -> Result<(), TestCaseError> {
    let discrepancy = checked.map_err(TestCaseError::fail)?;
    let discrepancy = discrepancy.ok_or_else(|| TestCaseError::reject("not judged"))?;
    prop_assert!(discrepancy.ratio() <= 1.0, "{discrepancy:?}");
    Ok(())
}

fn rejects(checked: Checked) -> Result<(), TestCaseError> {
    let discrepancy = checked.map_err(TestCaseError::fail)?;
    let discrepancy = discrepancy.ok_or_else(|| TestCaseError::reject("not judged"))?;
    prop_assert!(discrepancy.ratio() > 1.0, "{discrepancy:?}");
    Ok(())
}

fn matrix(rows: usize, columns: usize, size: f64) -> impl Strategy<Value = Matrix> {
    vec(-size..size, rows * columns).prop_map(move |values| Matrix::from_column_slice(rows, columns, &values))
}

/// An orthogonal matrix.
fn rotation(dim: usize) -> impl Strategy<Value = Matrix> {
    // The diagonal keeps what is shrunk to zeros from being singular.
    matrix(dim, dim, 1.0).prop_map(move |m| random_orthogonal(m + 0.1 * Matrix::identity(dim, dim)))
}

/// U S Vᵀ.
fn product(u: &Matrix, values: &[f64], v: &Matrix) -> Matrix {
    let s = Matrix::from_fn(u.nrows(), v.nrows(), |i, j| if i == j { values[i] } else { 0.0 });
    u * s * v.transpose()
}

/// Singular values that descend by relative gaps between 1e-1 and 1e-6.
fn near_values(count: usize) -> impl Strategy<Value = Vec<f64>> {
    (0.4..1.3f64, vec(1.0..6.0f64, count)).prop_map(|(first, exponents)| {
        let mut value = first;
        exponents
            .into_iter()
            .map(|exponent| {
                value *= 1.0 - 10f64.powf(-exponent);
                value
            })
            .collect()
    })
}

/// A layer with nearly equal singular values.
fn near_layer(rows: usize, columns: usize) -> BoxedStrategy<Matrix> {
    (rotation(rows), near_values(rows.min(columns)), rotation(columns))
        .prop_map(|(u, values, v)| product(&u, &values, &v))
        .boxed()
}

/// A layer of any kind: free entries, nearly equal singular values, rank 1, or zeros.
fn hard_layer(rows: usize, columns: usize) -> BoxedStrategy<Matrix> {
    prop_oneof![
        4 => matrix(rows, columns, 1.2),
        2 => near_layer(rows, columns),
        1 => (matrix(rows, 1, 1.0), matrix(1, columns, 1.0)).prop_map(|(a, b)| a * b),
        1 => Just(Matrix::zeros(rows, columns)),
    ]
    .boxed()
}

/// A layer whose singular vectors have derivatives: free entries, nearly equal singular values, or one that is 0.
fn moving_layer(rows: usize, columns: usize) -> BoxedStrategy<Matrix> {
    let singular =
        (rotation(rows), near_values(rows.min(columns)), rotation(columns)).prop_map(|(u, mut values, v)| {
            if u.nrows() == v.nrows() && values.len() > 1 {
                let last = values.len() - 1;
                values[last] = 0.0;
            }
            product(&u, &values, &v)
        });
    prop_oneof![3 => matrix(rows, columns, 1.2), 3 => near_layer(rows, columns), 1 => singular].boxed()
}

/// Both views (d x N each): free, equal, with strong noise on all or on one coordinate, with duplicates.
fn hard_views(d: usize, n: usize) -> impl Strategy<Value = (Matrix, Matrix)> {
    let noise = select(vec![0.0, 0.5, 3.0]);
    (matrix(d, n, 2.0), matrix(d, n, 1.0), noise, any::<bool>(), any::<bool>()).prop_map(
        |(mut x, noise, size, on_one, duplicates)| {
            if duplicates {
                let copy = x.column(0).into_owned();
                x.set_column(1, &copy);
            }
            let last = x.nrows() - 1;
            let shift =
                noise.map_with_location(|i, _, value| if on_one && i < last { 0.0 } else { size * value });
            let x2 = &x + shift;
            (x, x2)
        },
    )
}

/// Batches under layers of these kinds, of widths 1 to 4.
fn batches(depth: usize, layer: fn(usize, usize) -> BoxedStrategy<Matrix>) -> impl Strategy<Value = Batch> {
    (vec(1..=4usize, depth + 1), 2..=5usize)
        .prop_flat_map(move |(widths, n)| {
            let layers: Vec<_> = widths.windows(2).map(|w| layer(w[1], w[0])).collect();
            (layers, hard_views(widths[0], n))
        })
        .prop_map(|(layers, (x, x2))| Batch::new("drawn", layers, x, x2))
}

fn hard(depth: usize) -> impl Strategy<Value = Batch> {
    batches(depth, hard_layer)
}

fn moving(depth: usize) -> impl Strategy<Value = Batch> {
    batches(depth, moving_layer)
}

/// Batches without any special structure, on which no term of a formula happens to vanish. Three rows: the alignment matrix
/// of two, where it is a reflection, is symmetric.
fn generic(depth: usize) -> impl Strategy<Value = Batch> {
    (3..=5usize)
        .prop_flat_map(move |n| (vec(matrix(3, 3, 0.8), depth), matrix(3, n, 1.0), matrix(3, n, 0.7)))
        .prop_map(|(layers, x, noise)| {
            let x2 = &x + noise;
            Batch::new("generic", layers, x, x2)
        })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn eq_4_gives_the_gradients_of_the_embeddings_of_any_batch(batch in hard(1)) {
        accepts(Ok(Some(eq_4::against_definition(&batch, true))))?;
    }

    #[test]
    fn eq_4_check_rejects_forgotten_weights_of_the_columns(batch in generic(1)) {
        rejects(Ok(Some(eq_4::against_definition(&batch, false))))?;
    }

    #[test]
    fn eq_5_gradient_is_minus_w_x_for_any_batch(batch in hard(1)) {
        accepts(eq_5::check(&batch, |w, x| Some(-(w * x))))?;
    }

    #[test]
    fn eq_5_check_rejects_x_on_the_other_side_and_the_other_sign(batch in generic(1)) {
        rejects(eq_5::check(&batch, |w, x| Some(-(x * w))))?;
        rejects(eq_5::check(&batch, |w, x| Some(w * x)))?;
    }

    #[test]
    fn the_engines_gradient_and_x_are_those_of_the_definition_for_any_batch(batch in hard(1)) {
        accepts(eq_5::engine(&batch))?;
        accepts(lemma_2::engine(&batch))?;
    }

    #[test]
    fn eq_6_without_its_leading_minus_sign_holds_for_any_batch(batch in hard(1)) {
        accepts(eq_6::gradient_is(&batch, 1.0, -1.0))?;
    }

    #[test]
    fn eq_6_check_rejects_the_printed_sign_and_the_sign_of_the_last_sum(batch in generic(1)) {
        rejects(eq_6::gradient_is(&batch, -1.0, -1.0))?;
        rejects(eq_6::gradient_is(&batch, 1.0, 1.0))?;
    }

    #[test]
    fn lemma_1_sums_outer_products_to_the_gradient_of_any_batch(batch in hard(1)) {
        accepts(lemma_1::check(&batch, true))?;
    }

    #[test]
    fn lemma_1_check_rejects_a_sum_without_the_second_views(batch in generic(1)) {
        rejects(lemma_1::check(&batch, false))?;
    }

    #[test]
    fn lemma_2_gradient_equals_minus_w_x_for_any_batch(batch in hard(1)) {
        accepts(lemma_2::check(&batch, lemma_2::Form::Printed))?;
    }

    #[test]
    fn lemma_2_check_rejects_the_other_sign_and_a_forgotten_weight(batch in generic(1)) {
        rejects(lemma_2::check(&batch, lemma_2::Form::PlusSign))?;
        rejects(lemma_2::check(&batch, lemma_2::Form::UnitWeight))?;
    }

    #[test]
    fn lemma_3_moves_two_layers_of_any_shape_as_dual_numbers_do(batch in hard(2)) {
        accepts(lemma_3::check(&batch, lemma_3::Form::Printed))?;
        accepts(lemma_3::engine(&batch))?;
    }

    #[test]
    fn lemma_3_check_rejects_a_forgotten_transpose(batch in generic(2)) {
        rejects(lemma_3::check(&batch, lemma_3::Form::TransposeForgotten))?;
    }

    #[test]
    fn eq_10_imbalance_of_two_layers_of_any_shape_stands_still(batch in hard(2)) {
        accepts(eq_10::check(&batch, -1.0))?;
        accepts(eq_10::engine(&batch))?;
    }

    #[test]
    fn eq_10_check_rejects_the_sum_in_place_of_the_difference(batch in generic(2)) {
        rejects(eq_10::check(&batch, 1.0))?;
    }

    #[test]
    fn lemma_4_singular_values_move_as_the_decomposition_does(batch in moving(1)) {
        accepts(lemma_4::check(&batch, lemma_4::Form::Printed))?;
    }

    #[test]
    fn lemma_4_check_rejects_the_vector_of_another_value(batch in generic(1)) {
        rejects(lemma_4::check(&batch, lemma_4::Form::NextVector))?;
    }

    #[test]
    fn lemma_5_corrected_singular_vectors_turn_as_those_of_the_decomposition(batch in moving(1)) {
        accepts(lemma_5::check(&batch, lemma_5::CORRECTED_H, lemma_5::Basis::Square))?;
        accepts(lemma_5::check(&batch, lemma_5::CORRECTED_H, lemma_5::Basis::InsideThin))?;
    }

    #[test]
    fn lemma_5_check_rejects_the_printed_sign_and_a_weight_without_squares(batch in generic(1)) {
        rejects(lemma_5::check(&batch, lemma_5::PRINTED_H, lemma_5::Basis::Square))?;
        rejects(lemma_5::check(&batch, lemma_5::WITHOUT_SQUARES, lemma_5::Basis::Square))?;
    }

    #[test]
    fn lemma_6_corrected_alignment_moves_as_that_of_the_decompositions(batch in moving(2)) {
        accepts(lemma_6::check(&batch, lemma_5::CORRECTED_H, -1.0))?;
    }

    #[test]
    fn lemma_6_check_rejects_the_printed_sign_and_another_one(batch in generic(2)) {
        rejects(lemma_6::check(&batch, lemma_5::PRINTED_H, -1.0))?;
        rejects(lemma_6::check(&batch, lemma_5::CORRECTED_H, 1.0))?;
    }

    #[test]
    fn lemma_7_singular_values_of_two_layers_move_as_those_of_the_decompositions(batch in moving(2)) {
        accepts(lemma_7::check(&batch, lemma_7::Form::Printed))?;
    }

    #[test]
    fn lemma_7_check_rejects_exchanged_indices(batch in generic(2)) {
        rejects(lemma_7::check(&batch, lemma_7::Form::IndicesExchanged))?;
    }
}

/// Two layers W1 = U S1 V1ᵀ and W2 = U2 S2 V2ᵀ with V2 = U, or Uᵀ, and batches of any kind.
fn pairs(transposed: bool) -> impl Strategy<Value = Batch> {
    (2..=4usize, 2..=5usize)
        .prop_flat_map(|(d, n)| {
            let rotations = (rotation(d), rotation(d), rotation(d));
            (rotations, near_values(d), near_values(d), hard_views(d, n))
        })
        .prop_map(move |((u, first, last), s1, s2, (x, x2))| {
            let v2 = if transposed { u.transpose() } else { u.clone() };
            Batch::new("pair", vec![product(&u, &s1, &first), product(&last, &s2, &v2)], x, x2)
        })
}

/// A rotation by an angle that no multiple of a quarter turn is near, as first left and, transposed, as second right factor.
fn turned_pairs() -> impl Strategy<Value = Batch> {
    (0.3..1.2f64, vec(0.5..1.0f64, 2), matrix(2, 4, 1.0), matrix(2, 4, 0.5)).prop_map(
        |(angle, values, x, noise)| {
            let u = Matrix::from_row_slice(2, 2, &[angle.cos(), -angle.sin(), angle.sin(), angle.cos()]);
            let identity = Matrix::identity(2, 2);
            let (s1, s2) = ([1.2, values[0]], [1.1, values[1] - 0.4]);
            let x2 = &x + noise;
            Batch::new(
                "turned",
                vec![product(&u, &s1, &identity), product(&identity, &s2, &u.transpose())],
                x,
                x2,
            )
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn theorem_3_corrected_law_holds_wherever_v2_is_u1(batch in pairs(false)) {
        accepts(theorem_3::check(&batch, theorem_3::Law::Squares))?;
    }

    #[test]
    fn theorem_3_check_rejects_the_printed_condition_on_a_rotation(batch in turned_pairs()) {
        rejects(theorem_3::check(&batch, theorem_3::Law::Squares))?;
    }

    #[test]
    fn theorem_3_check_rejects_a_forgotten_square(batch in generic_pairs()) {
        rejects(theorem_3::check(&batch, theorem_3::Law::NoSquare))?;
        rejects(theorem_3::check(&batch, theorem_3::Law::OtherSignOfC))?;
    }

    #[test]
    fn equal_singular_values_are_not_judged(batch in generic(2), s in 0.5..1.0f64) {
        let layers = batch.layers.iter().map(|w| random_orthogonal(w.clone()) * s).collect();
        let equal = Batch::new("equal", layers, batch.x, batch.x2);
        prop_assert_eq!(lemma_4::check(&equal, lemma_4::Form::Printed), Ok(None));
        prop_assert_eq!(lemma_6::check(&equal, lemma_5::CORRECTED_H, -1.0), Ok(None));
    }
}

/// Aligned layers with singular values that are apart, under batches without special structure.
fn generic_pairs() -> impl Strategy<Value = Batch> {
    let factors = (rotation(3), rotation(3), rotation(3));
    (factors, matrix(3, 5, 1.0), matrix(3, 5, 0.7)).prop_map(|((u, first, last), x, noise)| {
        let (s1, s2) = ([1.2, 0.8, 0.4], [1.1, 0.7, 0.2]);
        let x2 = &x + noise;
        Batch::new("aligned", vec![product(&u, &s1, &first), product(&last, &s2, &u)], x, x2)
    })
}

fn losses() -> impl Strategy<Value = Loss> {
    select(Loss::examples())
}

fn residual_blocks(of: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = ResidualBlock> {
    (of, 1..=8usize, 2..=6usize, losses())
        .prop_flat_map(|(d, m, n, loss)| {
            (matrix(d, 2 * n, 1.0), matrix(m, d, 1.0), matrix(d, m, 1.0), 1..d, Just(loss))
        })
        .prop_map(|(h, w1, w2, d0, loss)| ResidualBlock { label: "drawn".to_string(), h, w1, w2, d0, loss })
}

/// Sizes of a vector: usual, 0, and around the floor of the cosine loss.
const SIZES: [f64; 5] = [1.0, 0.0, 0.5 * NORM_FLOOR, 2.0 * NORM_FLOOR, 1e-6];

/// Representations, the first of one of these sizes, and perhaps twice.
fn representations(sizes: &'static [f64]) -> impl Strategy<Value = directclr_equivalence::Representations> {
    (2..=9usize, 2..=6usize, losses(), select(sizes))
        .prop_flat_map(|(d, n, loss, size)| {
            (matrix(d, 2 * n, 1.5), 1..d, Just(loss), Just(size), any::<bool>())
        })
        .prop_map(|(mut r, kept, loss, size, duplicates)| {
            r.column_mut(0).scale_mut(size);
            if duplicates {
                let copy = r.column(0).into_owned();
                r.set_column(1, &copy);
            }
            directclr_equivalence::Representations { label: "drawn".to_string(), r, kept, loss }
        })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_gradient_below_a_linear_residual_block_has_at_most_the_rank_above_it(block in residual_blocks(2..=6)) {
        accepts(residual_argument::low_rank(&block))?;
    }

    #[test]
    fn the_rank_below_a_relu_block_is_bounded_by_its_activation_patterns(block in residual_blocks(2..=6)) {
        accepts(residual_argument::bounded(&block))?;
    }

    #[test]
    fn the_gradient_below_a_relu_block_is_that_of_dual_numbers(block in residual_blocks(2..=4)) {
        accepts(residual_argument::chain_rule(&block))?;
    }

    #[test]
    fn the_full_rank_check_rejects_a_linear_block(block in residual_blocks(2..=6)) {
        rejects(residual_argument::full_rank(&block, Block::Linear))?;
    }

    #[test]
    fn a_subvector_and_a_diagonal_projector_have_one_loss_and_one_gradient(r in representations(&SIZES)) {
        accepts(directclr_equivalence::check(&r, 0.0))?;
    }

    #[test]
    fn the_subvector_check_rejects_a_second_singular_value(r in representations(&SIZES[..1])) {
        rejects(directclr_equivalence::check(&r, 0.5))?;
    }
}

/// The largest of (σ1_k'² - σ2_k²) A_kk' - v2_kᵀ D u1_k' over what rounding makes of it, with `d` for D.
fn alignment_identity(w1: &Matrix, w2: &Matrix, d: &Matrix) -> f64 {
    let (inner, outer) = (svd(w1).unwrap(), svd(w2).unwrap());
    let a = outer.v.transpose() * &inner.u;
    let through = outer.v.transpose() * d * &inner.u;
    let mut worst = 0.0f64;
    for k in 0..a.nrows() {
        for l in 0..a.ncols() {
            let gap = inner.values[l] * inner.values[l] - outer.values[k] * outer.values[k];
            worst = worst.max((gap * a[(k, l)] - through[(k, l)]).abs());
        }
    }
    // Decompositions and products of this size round by some ε of the squares that are summed.
    worst / (100.0 * f64::EPSILON * (w1.norm_squared() + w2.norm_squared()).max(f64::MIN_POSITIVE))
}

/// The largest factor by which a singular value of W(t) = W(0) exp(X t) leaves the interval σ(W(0)) exp(λ_k t), with the
/// eigenvalues λ of X in this order.
fn outside_of_theorem_1(start: &Matrix, x: &Matrix, time: f64, descending: bool) -> f64 {
    let mut eigenvalues = symmetric_eigenvalues(x).unwrap();
    if descending {
        eigenvalues.reverse();
    }
    let initial = svd(start).unwrap().values;
    let end = svd(&contraflow::theory::frozen_x(start, x, time).unwrap()).unwrap().values;
    let (largest, smallest) = (initial[0], initial[initial.len() - 1]);
    let factors = end.iter().zip(&eigenvalues).map(|(value, lambda)| {
        let growth = (lambda * time).exp();
        (value / (largest * growth)).max(smallest * growth / value)
    });
    factors.fold(0.0, f64::max)
}

/// A square or tall layer whose singular values lie between 1/2 and 1, and a symmetric X with eigenvalues of both signs.
fn frozen() -> impl Strategy<Value = (Matrix, Matrix)> {
    (2..=4usize, 0..=2usize).prop_flat_map(|(d, more)| {
        let start = (rotation(d + more), vec(0.5..1.0f64, d), rotation(d));
        let eigenvalues = (vec(-1.0..1.0f64, d), rotation(d));
        (start, eigenvalues).prop_map(|((u, values, v), (mut eigenvalues, q))| {
            eigenvalues[0] = -1.0;
            eigenvalues[1] = 1.0;
            (product(&u, &values, &v), product(&q, &eigenvalues, &q))
        })
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn theorem_1_singular_values_under_a_fixed_x_go_with_its_eigenvalues((start, x) in frozen()) {
        // Horn: σ_d(A) σ_k(B) ≤ σ_k(AB) ≤ σ_1(A) σ_k(B). Relative rounding of the smallest value is ε times e^{2t}.
        prop_assert!(outside_of_theorem_1(&start, &x, 4.0, true) <= 1.0 + 1e-9);
    }

    #[test]
    fn theorem_1_check_rejects_the_eigenvalues_in_the_other_order((start, x) in frozen()) {
        prop_assert!(outside_of_theorem_1(&start, &x, 4.0, false) > 2.0);
    }

    #[test]
    fn theorem_2_corrected_imbalance_and_gaps_decide_alignment_for_any_two_layers(batch in hard(2)) {
        let [w1, w2] = &batch.layers[..] else { unreachable!() };
        let d = w1 * w1.transpose() - w2.transpose() * w2;
        prop_assert!(alignment_identity(w1, w2, &d) <= 1.0);
    }

    #[test]
    fn theorem_2_check_rejects_the_imbalance_on_the_outer_sides(batch in generic(2)) {
        let [w1, w2] = &batch.layers[..] else { unreachable!() };
        let d = w1.transpose() * w1 - w2 * w2.transpose();
        prop_assert!(alignment_identity(w1, w2, &d) > 1.0);
    }
}

#[test]
fn the_drawn_batches_reach_eigenvalues_of_x_on_both_sides_of_0() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut both, mut drawn) = (0, 0);
    while drawn < 200 {
        let batch = hard(1).new_tree(&mut runner).unwrap().current();
        let values = symmetric_eigenvalues(&lemma_2::x(&batch, lemma_2::Form::Printed)).unwrap();
        both += usize::from(values[0] < -1e-3 && values[values.len() - 1] > 1e-3);
        drawn += 1;
    }
    assert!(both > 20, "{both} of {drawn}");
}
