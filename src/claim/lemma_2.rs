//! Lemma 2: X as the difference of two weighted covariances.

use super::identity::{Against, Checked, Discrepancy, Formula, judge, required, tally};
use super::instances::{Batch, batches};
use super::{Claim, Evidence};
use crate::loss::{InfonceEuclidean, Reduction, Workspace};
use crate::matrix::{Matrix, symmetric_eigenvalues};

const PRINTED: &str = "X = Σ̂0 - Σ̂1, Σ̂0 = Σ_ij α_ij (x_i - x_j)(x_i - x_j)ᵀ ⪰ 0, Σ̂1 = Σ_i (1 - α_ii)(x'_i - x_i)(x'_i - x_i)ᵀ ⪰ 0";
const UNIT_WEIGHT: &str = "Σ̂1 = Σ_i (x'_i - x_i)(x'_i - x_i)ᵀ, the weight 1 - α_ii forgotten";
const PLUS: &str = "X = Σ̂0 + Σ̂1";

pub(super) const CLAIM: Claim = Claim {
    id: "lemma-2",
    source: "Lemma 2",
    statement: "X is the weighted data covariance less the weighted augmentation covariance, both positive semidefinite, for every batch.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        let batches = batches(case.level, 1);
        let engine =
            required(&batches, &Formula::new("the engine's X and covariances are those of loops", &engine))?;
        let plus = tally(&batches, &Formula::new(PLUS, &|batch| check(batch, Form::PlusSign)))?;
        let finding = judge(
            &batches,
            &Formula::new(PRINTED, &|batch| check(batch, Form::Printed)),
            &Against::Wrong(Formula::new(UNIT_WEIGHT, &|batch| check(batch, Form::UnitWeight))),
            None,
        )?;
        Ok(finding.with("engine", engine).with("with_the_other_sign", plus))
    },
};

/// A way to write X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Σ̂0 - Σ̂1.
    Printed,
    /// Σ̂0 + Σ̂1: wrong.
    PlusSign,
    /// Σ̂0 - Σ̂1 with 1 in place of 1 - α_ii: wrong.
    UnitWeight,
}

/// Σ̂0 and Σ̂1 (d x d) by plain loops.
pub fn covariances(batch: &Batch, form: Form) -> (Matrix, Matrix) {
    let softmax = batch.softmax();
    let (x, x2) = (&batch.x, &batch.x2);
    let d = x.nrows();
    let (mut data, mut augmentation) = (Matrix::zeros(d, d), Matrix::zeros(d, d));
    for i in 0..batch.count() {
        for j in (0..batch.count()).filter(|&j| j != i) {
            let difference = x.column(i) - x.column(j);
            data += softmax.alpha[(i, j)] * &difference * difference.transpose();
        }
        let difference = x2.column(i) - x.column(i);
        let weight = if form == Form::UnitWeight { 1.0 } else { softmax.negative[i] };
        augmentation += weight * &difference * difference.transpose();
    }
    (data, augmentation)
}

/// X (d x d) by plain loops.
pub fn x(batch: &Batch, form: Form) -> Matrix {
    let (data, augmentation) = covariances(batch, form);
    if form == Form::PlusSign { data + augmentation } else { data - augmentation }
}

/// G by dual numbers against -W X, and the smallest eigenvalues of both covariances against 0.
pub fn check(batch: &Batch, form: Form) -> Checked {
    let product = -batch.end_to_end() * x(batch, form);
    let gradient = Discrepancy::between(&batch.end_to_end_gradient(), &product, batch.rounding());
    let (data, augmentation) = covariances(batch, form);
    Ok(Some(gradient.or(negative_part(batch, &data)?).or(negative_part(batch, &augmentation)?)))
}

/// By how much the smallest eigenvalue lies below 0. A sum of N² positive multiples of squares rounds by N² ε of itself,
/// and eigenvalues by d ε.
fn negative_part(batch: &Batch, covariance: &Matrix) -> Result<Discrepancy, String> {
    let smallest = symmetric_eigenvalues(covariance).map_err(|error| error.to_string())?[0];
    let terms = (batch.count() * batch.count() + covariance.nrows()) as f64;
    Ok(Discrepancy { error: (-smallest).max(0.0), allowed: terms * f64::EPSILON * covariance.trace() })
}

/// The engine's X and weighted covariances against those of plain loops.
pub fn engine(batch: &Batch) -> Checked {
    let allowed = batch.rounding_of_x();
    let softmax = batch.softmax();
    let embeddings = [softmax.z.as_slice(), softmax.z2.as_slice()].concat();
    let computed = InfonceEuclidean.weighted_covariances(
        &embeddings,
        softmax.z.nrows(),
        &batch.views(),
        Reduction::Sum,
        &mut Workspace::default(),
    );
    let (data, augmentation) = covariances(batch, Form::Printed);
    let expected = x(batch, Form::Printed);
    Ok(Some(
        Discrepancy::between(&batch.engine().x, &expected, allowed)
            .or(Discrepancy::between(&computed.x(), &expected, allowed))
            .or(Discrepancy::between(&computed.data, &data, allowed))
            .or(Discrepancy::between(&computed.augmentation, &augmentation, allowed)),
    ))
}
