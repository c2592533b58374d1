//! Eq. 4: the gradient with respect to the embeddings.

use super::identity::{Against, Discrepancy, Formula, judge};
use super::instances::{Batch, EQ_2, Softmax, batches};
use super::{Claim, Evidence};
use crate::loss::Reduction;
use crate::matrix::Matrix;
use crate::real::Dual;

const PRINTED: &str =
    "g_{z_i} = Σ_{j≠i} α_ij (z_j - z'_i) + Σ_{j≠i} α_ji (z_j - z_i), g_{z'_i} = Σ_{j≠i} α_ij (z'_i - z_i)";

pub(super) const CLAIM: Claim = Claim {
    id: "eq-4",
    source: "Eq. 4",
    statement: "The gradients of Eq. 2 with respect to the embeddings of both views are softmax-weighted sums of their differences.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        judge(
            &batches(case.level, 1),
            &Formula { text: PRINTED, check: &|batch| Ok(Some(against_definition(batch, true))) },
            &Against::Wrong(Formula {
                text: "Eq. 4 without the weights α_ji with which z_i occurs among the negatives of others",
                check: &|batch| Ok(Some(against_definition(batch, false))),
            }),
            None,
        )
    },
};

/// g_z and g_{z'} (d x N each) as printed, or without the weights with which a sample occurs among the negatives of others.
pub(super) fn printed_sums(softmax: &Softmax, as_negative: bool) -> (Matrix, Matrix) {
    let Softmax { z, z2, alpha, .. } = softmax;
    let n = z.ncols();
    let (mut first, mut second) = (Matrix::zeros(z.nrows(), n), Matrix::zeros(z.nrows(), n));
    for i in 0..n {
        for j in (0..n).filter(|&j| j != i) {
            let mut column = first.column_mut(i);
            column += alpha[(i, j)] * (z.column(j) - z2.column(i));
            if as_negative {
                column += alpha[(j, i)] * (z.column(j) - z.column(i));
            }
            let mut column = second.column_mut(i);
            column += alpha[(i, j)] * (z2.column(i) - z.column(i));
        }
    }
    (first, second)
}

/// The printed sums against dual numbers through Eq. 2.
pub fn against_definition(batch: &Batch, as_negative: bool) -> Discrepancy {
    let softmax = batch.softmax();
    let (z, z2) = (&softmax.z, &softmax.z2);
    let (first, second) = printed_sums(&softmax, as_negative);
    // Embeddings stand for inputs: with W = I, what Batch::rounding sums are the terms of this gradient times |z|.
    let size = 2.0 * (z.amax().max(z2.amax()));
    let allowed = 100.0 * f64::EPSILON * (1.0 + softmax.largest_logit) * 3.0 * batch.count() as f64 * size;
    Discrepancy::between(&first, &derivatives(z, z2, 0), allowed).or(Discrepancy::between(
        &second,
        &derivatives(z, z2, 1),
        allowed,
    ))
}

/// The derivative of Eq. 2 with respect to every component of the embeddings of one view.
fn derivatives(z: &Matrix, z2: &Matrix, view: usize) -> Matrix {
    Matrix::from_fn(z.nrows(), z.ncols(), |k, i| {
        let columns = |matrix: &Matrix, own: bool| -> Vec<Vec<Dual<f64>>> {
            let entry = |row: usize, column: usize| {
                let derivative = f64::from(own && row == k && column == i);
                Dual { value: matrix[(row, column)], derivative }
            };
            (0..z.ncols()).map(|column| (0..z.nrows()).map(|row| entry(row, column)).collect()).collect()
        };
        EQ_2.reference(&columns(z, view == 0), &columns(z2, view == 1), Reduction::Sum).derivative
    })
}
