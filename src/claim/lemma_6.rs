//! Lemma 6: how the alignment matrix moves.

use super::case::Case;
use super::finding::Finding;
use super::identity::{Against, Checked, Discrepancy, Formula, judge};
use super::instances::Batch;
use super::lemma_5::{CORRECTED_H, PRINTED_H, Weight, weighted};
use super::moving::{DISTINCT, Moving};
use super::spectra::{TRAINED, instances, tally_of_trained};
use super::{Claim, Evidence};

const PRINTED: &str =
    "Ȧ = -A (H_1 ⊙ (AᵀF + FᵀA)) + (H_2 ⊙ (AFᵀ + FAᵀ)) A, F = S2 U2ᵀ G V1 S1, H_{k,k'} = 1/(σ_k² - σ_k'²)";
const CORRECTED_TEXT: &str = "the same with H_{k,k'} = 1/(σ_k'² - σ_k²)";
const WRONG: &str = "the corrected one with + before its first part";

pub(super) const AS_PRINTED: Claim = Claim {
    id: "lemma-6",
    source: "Lemma 6",
    statement: "The alignment matrix of two layers moves by the printed sum, with H = 1/(σ_k² - σ_k'²).",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[TRAINED],
    judge: |case| {
        let printed = Formula::new(PRINTED, &|batch| check(batch, PRINTED_H, -1.0));
        let corrected = Formula::new(CORRECTED_TEXT, &|batch| check(batch, CORRECTED_H, -1.0));
        let wrong = Formula::new(WRONG, &|batch| check(batch, CORRECTED_H, 1.0));
        let against = Against::CorrectedAndWrong(corrected, wrong);
        let trained = tally_of_trained(case, &printed)?;
        Ok(judge(&instances(case)?, &printed, &against, Some(&assumed()))?.with("trained_states", trained))
    },
};

pub(super) const CORRECTED: Claim = Claim {
    id: "lemma-6-corrected",
    source: "Lemma 6 with the other sign of H",
    statement: "The alignment matrix of two layers moves by the printed sum, with H = 1/(σ_k'² - σ_k²).",
    formula: CORRECTED_TEXT,
    evidence: Evidence::Identity,
    experiments: &[TRAINED],
    judge: corrected,
};

fn corrected(case: &Case) -> Result<Finding, String> {
    let corrected = Formula::new(CORRECTED_TEXT, &|batch| check(batch, CORRECTED_H, -1.0));
    let wrong = Formula::new(WRONG, &|batch| check(batch, CORRECTED_H, 1.0));
    let trained = tally_of_trained(case, &corrected)?;
    let finding = judge(&instances(case)?, &corrected, &Against::Wrong(wrong), Some(&assumed()))?;
    Ok(finding.with("trained_states", trained))
}

fn assumed() -> String {
    format!(
        "{DISTINCT}, and the hidden layer is no wider than inputs and outputs, so that A is square and orthogonal"
    )
}

/// The derivative of A = V2ᵀ U1 along the flow of both layers against the formula, with this sign before its first part.
pub fn check(batch: &Batch, h: Weight, first_sign: f64) -> Checked {
    let [w1, w2] = &batch.layers[..] else { return Ok(None) };
    if w1.nrows() > w1.ncols().min(w2.nrows()) {
        return Ok(None);
    }
    let velocities = batch.velocities();
    let Some(inner) = Moving::of(w1, &velocities[0])? else { return Ok(None) };
    let Some(outer) = Moving::of(w2, &velocities[1])? else { return Ok(None) };
    let alignment = outer.v.transpose() * &inner.u;
    let rate = outer.v_rates.transpose() * &inner.u + outer.v.transpose() * &inner.u_rates;
    let f = outer.padded_values().transpose()
        * outer.u.transpose()
        * batch.end_to_end_gradient()
        * &inner.v
        * inner.padded_values().transpose();
    let (a_f, f_a) = (alignment.transpose() * &f, &f * alignment.transpose());
    let first = weighted(&(&a_f + a_f.transpose()), &inner.values, h);
    let second = weighted(&(&f_a + f_a.transpose()), &outer.values, h);
    let formula = first_sign * &alignment * first + second * &alignment;
    // An entry of V̇2ᵀU1 is a column of rates with such errors times a unit vector. Velocities and G are two sums of the same
    // terms, and H divides their rounding by the gap.
    let rounding = batch.rounding_of_layers();
    let errors = inner.vector_error + outer.vector_error + rounding[0] / inner.gap + rounding[1] / outer.gap;
    let allowed = (w1.nrows() as f64).sqrt() * errors;
    Ok(Some(Discrepancy::between(&rate, &formula, allowed)))
}
