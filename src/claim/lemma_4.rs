//! Lemma 4: how singular values move.

use super::identity::{Against, Checked, Discrepancy, Formula, judge};
use super::instances::Batch;
use super::moving::{DISTINCT, Moving};
use super::spectra::{TRAINED, instances, tally_of_trained};
use super::{Claim, Evidence};

const PRINTED: &str = "σ̇_k = u_kᵀ Ẇ v_k";
const WRONG: &str = "σ̇_k = u_kᵀ Ẇ v_{k+1}, with the right vector of the next singular value";

pub(super) const CLAIM: Claim = Claim {
    id: "lemma-4",
    source: "Lemma 4",
    statement: "A singular value moves by the velocity of its matrix between its two singular vectors.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[TRAINED],
    judge: |case| {
        let instances = instances(case)?;
        let printed = Formula::new(PRINTED, &|batch| check(batch, Form::Printed));
        let wrong = Formula::new(WRONG, &|batch| check(batch, Form::NextVector));
        let trained = tally_of_trained(case, &printed)?;
        let finding = judge(&instances, &printed, &Against::Wrong(wrong), Some(DISTINCT))?;
        Ok(finding.with("trained_states", trained))
    },
};

/// A way to write the derivative of a singular value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// u_kᵀ Ẇ v_k.
    Printed,
    /// u_kᵀ Ẇ v_{k+1}, cyclically: wrong.
    NextVector,
}

/// The derivative of every singular value of every layer along the flow against the formula.
pub fn check(batch: &Batch, form: Form) -> Checked {
    let mut worst: Option<Discrepancy> = None;
    for (w, velocity) in batch.layers.iter().zip(batch.velocities()) {
        let Some(moving) = Moving::of(w, &velocity)? else { return Ok(None) };
        let rank = moving.values.len();
        let shift = usize::from(form == Form::NextVector);
        let formula = (0..rank).map(|k| {
            (moving.u.column(k).transpose() * &velocity * moving.v.column((k + shift) % rank))[(0, 0)]
        });
        let found = moving.value_discrepancy(formula, 0.0);
        worst = Some(worst.map_or(found, |worst| worst.or(found)));
    }
    Ok(worst)
}
