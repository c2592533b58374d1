//! Lemma 5: how singular vectors move.

use super::case::Case;
use super::finding::Finding;
use super::identity::{Against, Checked, Discrepancy, Formula, judge, required, tally};
use super::instances::Batch;
use super::moving::{DISTINCT, Moving};
use super::spectra::{TRAINED, instances, tally_of_trained};
use super::{Claim, Evidence};
use crate::matrix::Matrix;

const PRINTED: &str =
    "U̇ = U (H ⊙ (Uᵀ Ẇ V S + S Vᵀ Ẇᵀ U)), V̇ = V (H ⊙ (Vᵀ Ẇᵀ U S + S Uᵀ Ẇ V)), H_{k,k'} = 1/(σ_k² - σ_k'²)";
const CORRECTED_TEXT: &str =
    "the same with H_{k,k'} = 1/(σ_k'² - σ_k²), and with U and V square (S padded with zeros) where W is not";
const WRONG: &str = "the corrected one with H_{k,k'} = 1/(σ_k' - σ_k)";
const THIN: &str = "the corrected one with the thin U of a tall and the thin V of a wide W";
const INSIDE: &str = "the same, for the parts of U̇ and V̇ inside the spans of U and V";

pub(super) const AS_PRINTED: Claim = Claim {
    id: "lemma-5",
    source: "Lemma 5",
    statement: "Singular vectors turn by the velocity of their matrix, weighted with H = 1/(σ_k² - σ_k'²).",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[TRAINED],
    judge: |case| {
        let printed = Formula::new(PRINTED, &|batch| check(batch, PRINTED_H, Basis::Square));
        let corrected = Formula::new(CORRECTED_TEXT, &|batch| check(batch, CORRECTED_H, Basis::Square));
        let wrong = Formula::new(WRONG, &|batch| check(batch, WITHOUT_SQUARES, Basis::Square));
        let against = Against::CorrectedAndWrong(corrected, wrong);
        let trained = tally_of_trained(case, &printed)?;
        Ok(judge(&instances(case)?, &printed, &against, Some(DISTINCT))?.with("trained_states", trained))
    },
};

pub(super) const CORRECTED: Claim = Claim {
    id: "lemma-5-corrected",
    source: "Lemma 5 with the other sign of H",
    statement: "Singular vectors turn by the velocity of their matrix, weighted with H = 1/(σ_k'² - σ_k²).",
    formula: CORRECTED_TEXT,
    evidence: Evidence::Identity,
    experiments: &[TRAINED],
    judge: corrected,
};

fn corrected(case: &Case) -> Result<Finding, String> {
    let instances = instances(case)?;
    let corrected = Formula::new(CORRECTED_TEXT, &|batch| check(batch, CORRECTED_H, Basis::Square));
    let wrong = Formula::new(WRONG, &|batch| check(batch, WITHOUT_SQUARES, Basis::Square));
    let thin = tally(&instances, &Formula::new(THIN, &|batch| check(batch, CORRECTED_H, Basis::Thin)))?;
    let inside = Formula::new(INSIDE, &|batch| check(batch, CORRECTED_H, Basis::InsideThin));
    let inside = required(&instances, &inside)?;
    let trained = tally_of_trained(case, &corrected)?;
    let finding = judge(&instances, &corrected, &Against::Wrong(wrong), Some(DISTINCT))?;
    let finding = finding.with("trained_states", trained).with("with_thin_vectors", thin);
    Ok(finding.with("with_thin_vectors_inside_their_span", inside))
}

/// H_{k,k'} as a function of σ_k and σ_k'.
pub type Weight = fn(f64, f64) -> f64;

/// 1/(σ_k² - σ_k'²), as printed.
pub const PRINTED_H: Weight = |own, other| 1.0 / (own * own - other * other);
/// 1/(σ_k'² - σ_k²), the right one.
pub const CORRECTED_H: Weight = |own, other| 1.0 / (other * other - own * own);
/// 1/(σ_k' - σ_k): wrong.
pub const WITHOUT_SQUARES: Weight = |own, other| 1.0 / (other - own);

/// Which vectors U and V hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Those that belong to singular values.
    Thin,
    /// The same, and only the part of their derivatives inside their span is compared.
    InsideThin,
    /// A whole basis: those that belong to none as well.
    Square,
}

/// H ⊙ `matrix` for these values, 0 on the diagonal.
pub(super) fn weighted(matrix: &Matrix, values: &[f64], h: Weight) -> Matrix {
    Matrix::from_fn(matrix.nrows(), matrix.ncols(), |k, other| {
        if k == other { 0.0 } else { h(values[k], values[other]) * matrix[(k, other)] }
    })
}

/// The derivatives of the singular vectors of every layer along the flow against the formula.
pub fn check(batch: &Batch, h: Weight, basis: Basis) -> Checked {
    let mut worst: Option<Discrepancy> = None;
    for (w, velocity) in batch.layers.iter().zip(batch.velocities()) {
        let Some(moving) = Moving::of(w, &velocity)? else { return Ok(None) };
        let rank = moving.values.len();
        let (u, v, s) = match basis {
            Basis::Square => (moving.u.clone(), moving.v.clone(), moving.padded_values()),
            Basis::Thin | Basis::InsideThin => {
                let thin = |m: &Matrix| m.columns(0, rank).into_owned();
                (thin(&moving.u), thin(&moving.v), moving.padded_values().view((0, 0), (rank, rank)).into())
            }
        };
        let p = u.transpose() * &velocity * &v;
        let left = turning(&u, &(&p * s.transpose()), &moving.values, h);
        let right = turning(&v, &(p.transpose() * &s), &moving.values, h);
        let part = |vectors: &Matrix, rates: &Matrix| match basis {
            Basis::InsideThin => vectors * (vectors.transpose() * rates),
            _ => rates.clone(),
        };
        // A projection does not enlarge the error of a column, but may bring it into one entry.
        let allowed = (w.nrows().max(w.ncols()) as f64).sqrt() * moving.vector_error;
        let found = Discrepancy::between(&part(&u, &moving.u_rates), &left, allowed)
            .or(Discrepancy::between(&part(&v, &moving.v_rates), &right, allowed));
        worst = Some(worst.map_or(found, |worst| worst.or(found)));
    }
    Ok(worst)
}

/// Columns of `vectors` (H ⊙ (Q + Qᵀ)) that belong to singular values.
fn turning(vectors: &Matrix, q: &Matrix, values: &[f64], h: Weight) -> Matrix {
    let mut padded = values.to_vec();
    padded.resize(q.nrows(), 0.0);
    // Weights between two vectors that belong to no singular value do not enter.
    let symmetric = (q + q.transpose()).columns(0, values.len()).into_owned();
    vectors * weighted(&symmetric, &padded, h)
}
