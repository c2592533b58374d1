//! Eq. 6: X written out.

use super::case::Case;
use super::finding::Finding;
use super::identity::{Against, Checked, Discrepancy, Formula, judge};
use super::instances::{Batch, batches};
use super::{Claim, Evidence};
use crate::matrix::Matrix;

const PRINTED: &str =
    "X = -Σ_i (Σ_{j≠i} α_ij (x'_i - x_j) + Σ_{j≠i} α_ji (x_i - x_j)) x_iᵀ - Σ_i (1 - α_ii)(x'_i - x_i) x'_iᵀ";
const CORRECTED_TEXT: &str =
    "X = Σ_i (Σ_{j≠i} α_ij (x'_i - x_j) + Σ_{j≠i} α_ji (x_i - x_j)) x_iᵀ - Σ_i (1 - α_ii)(x'_i - x_i) x'_iᵀ";
const WRONG: &str = "the corrected one with + before the last sum";

pub(super) const AS_PRINTED: Claim = Claim {
    id: "eq-6",
    source: "Eq. 6, main text",
    statement: "The matrix X of G = -W X is the printed sum, with a minus sign before its first part.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        judge(
            &batches(case.level, 1),
            &Formula::new(PRINTED, &|batch| gradient_is(batch, -1.0, -1.0)),
            &Against::CorrectedAndWrong(
                Formula::new(CORRECTED_TEXT, &|batch| gradient_is(batch, 1.0, -1.0)),
                Formula::new(WRONG, &|batch| gradient_is(batch, 1.0, 1.0)),
            ),
            None,
        )
    },
};

pub(super) const CORRECTED: Claim = Claim {
    id: "eq-6-corrected",
    source: "Eq. 6 without its leading minus sign, as Appendix B.2 starts from it",
    statement: "The matrix X of G = -W X is the printed sum without the minus sign before its first part.",
    formula: CORRECTED_TEXT,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: corrected,
};

fn corrected(case: &Case) -> Result<Finding, String> {
    judge(
        &batches(case.level, 1),
        &Formula::new(CORRECTED_TEXT, &|batch| gradient_is(batch, 1.0, -1.0)),
        &Against::Wrong(Formula::new(WRONG, &|batch| gradient_is(batch, 1.0, 1.0))),
        None,
    )
}

/// G by dual numbers against -W X, with these signs of the two parts of X.
pub fn gradient_is(batch: &Batch, first: f64, second: f64) -> Checked {
    let softmax = batch.softmax();
    let (x, x2, alpha) = (&batch.x, &batch.x2, &softmax.alpha);
    let d = x.nrows();
    let (mut towards_others, mut towards_own) = (Matrix::zeros(d, d), Matrix::zeros(d, d));
    for i in 0..batch.count() {
        for j in (0..batch.count()).filter(|&j| j != i) {
            let row =
                alpha[(i, j)] * (x2.column(i) - x.column(j)) + alpha[(j, i)] * (x.column(i) - x.column(j));
            towards_others += row * x.column(i).transpose();
        }
        towards_own += softmax.negative[i] * (x2.column(i) - x.column(i)) * x2.column(i).transpose();
    }
    let sum = first * towards_others + second * towards_own;
    let gradient = batch.end_to_end_gradient();
    Ok(Some(Discrepancy::between(&gradient, &(-batch.end_to_end() * sum), batch.rounding())))
}
