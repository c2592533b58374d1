//! Lemma 7: how the singular values of two layers move.

use super::identity::{Against, Checked, Formula, judge};
use super::instances::Batch;
use super::moving::{DISTINCT, Moving};
use super::spectra::{TRAINED, instances, tally_of_trained};
use super::{Claim, Evidence};

const PRINTED: &str =
    "σ̇1_k = -Σ_k' (v2_k'ᵀ u1_k) σ2_k' (u2_k'ᵀ G v1_k), σ̇2_k = -Σ_k' (u1_k'ᵀ v2_k) σ1_k' (u2_kᵀ G v1_k')";
const WRONG: &str = "with the indices of A exchanged: v2_kᵀ u1_k' and u1_kᵀ v2_k'";

pub(super) const CLAIM: Claim = Claim {
    id: "lemma-7",
    source: "Lemma 7",
    statement: "The singular values of two layers move by the gradient between singular vectors, through the alignment matrix.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[TRAINED],
    judge: |case| {
        let printed = Formula::new(PRINTED, &|batch| check(batch, Form::Printed));
        let wrong = Formula::new(WRONG, &|batch| check(batch, Form::IndicesExchanged));
        let trained = tally_of_trained(case, &printed)?;
        let finding = judge(&instances(case)?, &printed, &Against::Wrong(wrong), Some(DISTINCT))?;
        Ok(finding.with("trained_states", trained))
    },
};

/// A way to write the derivatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With v2_k'ᵀ u1_k and u1_k'ᵀ v2_k.
    Printed,
    /// With v2_kᵀ u1_k' and u1_kᵀ v2_k': wrong, and defined only where both layers have equally many singular values.
    IndicesExchanged,
}

/// The derivatives of the singular values of both layers along the flow against the formula.
pub fn check(batch: &Batch, form: Form) -> Checked {
    let [w1, w2] = &batch.layers[..] else { return Ok(None) };
    let velocities = batch.velocities();
    let Some(inner) = Moving::of(w1, &velocities[0])? else { return Ok(None) };
    let Some(outer) = Moving::of(w2, &velocities[1])? else { return Ok(None) };
    let (ranks1, ranks2) = (inner.values.len(), outer.values.len());
    if form == Form::IndicesExchanged && ranks1 != ranks2 {
        return Ok(None);
    }
    let between = outer.u.transpose() * batch.end_to_end_gradient() * &inner.v;
    let alignment = outer.v.transpose() * &inner.u;
    let a = |outer: usize, inner: usize| match form {
        Form::Printed => alignment[(outer, inner)],
        Form::IndicesExchanged => alignment[(inner, outer)],
    };
    let first =
        (0..ranks1).map(|k| -(0..ranks2).map(|l| a(l, k) * outer.values[l] * between[(l, k)]).sum::<f64>());
    let second =
        (0..ranks2).map(|k| -(0..ranks1).map(|l| a(k, l) * inner.values[l] * between[(k, l)]).sum::<f64>());
    // Velocities and G are two sums of the same terms.
    let rounding = batch.rounding_of_layers();
    Ok(Some(inner.value_discrepancy(first, rounding[0]).or(outer.value_discrepancy(second, rounding[1]))))
}
