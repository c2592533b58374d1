//! Eq. 5: the gradient with respect to the end-to-end matrix is -W X.

use super::identity::{Against, Checked, Discrepancy, Formula, judge, required};
use super::instances::{Batch, batches};
use super::{Claim, Evidence, lemma_2};
use crate::matrix::Matrix;

const PRINTED: &str = "G = -W X";
const WRONG: &str = "G = -X W";

pub(super) const CLAIM: Claim = Claim {
    id: "eq-5",
    source: "Eq. 5",
    statement: "The gradient of Eq. 2 with respect to the end-to-end matrix W is -W X with a matrix X that multiplies from the right.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        let batches = batches(case.level, 1);
        let engine = required(&batches, &Formula::new("the engine's G is that of dual numbers", &engine))?;
        let finding = judge(
            &batches,
            &Formula::new(PRINTED, &|batch| check(batch, |w, x| Some(-(w * x)))),
            &Against::Wrong(Formula::new(WRONG, &|batch| {
                check(batch, |w, x| w.is_square().then(|| -(x * w)))
            })),
            None,
        )?;
        Ok(finding.with("engine", engine))
    },
};

/// G by dual numbers against what `formula` makes of W and of the X of Lemma 2, where its shapes fit.
pub fn check(batch: &Batch, formula: impl Fn(&Matrix, &Matrix) -> Option<Matrix>) -> Checked {
    let x = lemma_2::x(batch, lemma_2::Form::Printed);
    let sides = formula(&batch.end_to_end(), &x);
    Ok(sides.map(|side| Discrepancy::between(&batch.end_to_end_gradient(), &side, batch.rounding())))
}

/// The engine's gradient of one layer, and -W X with the engine's X, against dual numbers.
pub fn engine(batch: &Batch) -> Checked {
    let engine = batch.engine();
    let product = -batch.end_to_end() * &engine.x;
    let definition = &batch.layer_gradients()[0];
    let of = |engine: &Matrix| Discrepancy::between(engine, definition, batch.rounding());
    Ok(Some(of(&engine.gradients[0]).or(of(&product))))
}
