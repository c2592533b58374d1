//! Lemma 1: the gradient of one layer from those of the embeddings.

use super::eq_4::printed_sums;
use super::identity::{Against, Checked, Discrepancy, Formula, judge};
use super::instances::{Batch, batches};
use super::{Claim, Evidence};

const PRINTED: &str = "Ẇ = -G, G = Σ_i (g_{z_i} x_iᵀ + g_{z'_i} x'_iᵀ)";
const WRONG: &str = "without the part g_{z'_i} x'_iᵀ of the second views";

pub(super) const CLAIM: Claim = Claim {
    id: "lemma-1",
    source: "Lemma 1",
    statement: "Gradient flow moves one layer by minus the sum of outer products of embedding gradients and inputs, over both views.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        judge(
            &batches(case.level, 1),
            &Formula::new(PRINTED, &|batch| check(batch, true)),
            &Against::Wrong(Formula::new(WRONG, &|batch| check(batch, false))),
            None,
        )
    },
};

/// The printed sum of outer products, with Eq. 4's gradients, against dual numbers with respect to the entries of W.
pub fn check(batch: &Batch, with_second_views: bool) -> Checked {
    let (first, second) = printed_sums(&batch.softmax(), true);
    let mut gradient = first * batch.x.transpose();
    if with_second_views {
        gradient += second * batch.x2.transpose();
    }
    Ok(Some(Discrepancy::between(&gradient, &batch.end_to_end_gradient(), batch.rounding())))
}
