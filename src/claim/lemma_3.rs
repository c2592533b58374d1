//! Lemma 3: the flow of two layers.

use super::identity::{Against, Checked, Discrepancy, Formula, judge, required};
use super::instances::{Batch, batches};
use super::{Claim, Evidence, lemma_2};

const PRINTED: &str = "Ẇ1 = -W2ᵀ G, Ẇ2 = -G W1ᵀ, G = -W2 W1 X";
const WRONG: &str = "Ẇ1 = -W2 G, the transpose forgotten";

pub(super) const CLAIM: Claim = Claim {
    id: "lemma-3",
    source: "Lemma 3, Eq. 8 and 9",
    statement: "Two layers move by the gradient of the end-to-end matrix through the other layer, with the X of one layer.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        let batches = batches(case.level, 2);
        let engine = required(
            &batches,
            &Formula::new("the engine's layer gradients are those of dual numbers", &engine),
        )?;
        let finding = judge(
            &batches,
            &Formula::new(PRINTED, &|batch| check(batch, Form::Printed)),
            &Against::Wrong(Formula::new(WRONG, &|batch| check(batch, Form::TransposeForgotten))),
            None,
        )?;
        Ok(finding.with("engine", engine))
    },
};

/// A way to write the flow of two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Ẇ1 = -W2ᵀ G, Ẇ2 = -G W1ᵀ.
    Printed,
    /// Ẇ1 = -W2 G: wrong, and of a shape only where W2 is square.
    TransposeForgotten,
}

/// The velocities of both layers by dual numbers against the formula, with the X of Lemma 2.
pub fn check(batch: &Batch, form: Form) -> Checked {
    let [w1, w2] = &batch.layers[..] else { return Ok(None) };
    if form == Form::TransposeForgotten && !w2.is_square() {
        return Ok(None);
    }
    let g = -(w2 * w1) * lemma_2::x(batch, lemma_2::Form::Printed);
    let first = if form == Form::Printed { -w2.transpose() * &g } else { -w2 * &g };
    let second = -&g * w1.transpose();
    let (velocities, allowed) = (batch.velocities(), batch.rounding_of_layers());
    Ok(Some(Discrepancy::between(&velocities[0], &first, allowed[0]).or(Discrepancy::between(
        &velocities[1],
        &second,
        allowed[1],
    ))))
}

/// The engine's gradient of every layer against dual numbers.
pub fn engine(batch: &Batch) -> Checked {
    let (engine, definition) = (batch.engine(), batch.layer_gradients());
    let pairs = engine.gradients.iter().zip(&definition).zip(batch.rounding_of_layers());
    let worst = pairs.map(|((a, b), allowed)| Discrepancy::between(a, b, allowed));
    Ok(worst.reduce(Discrepancy::or))
}
