//! Theorem 3: the singular values of two aligned layers.

use super::case::{Case, Level};
use super::finding::{Counterexample, Finding};
use super::identity::{Against, Checked, Formula, Instance, judge, tally};
use super::instances::{Batch, orthogonal, rounds};
use super::moving::Moving;
use super::persistence::{ALIGNED_STARTS, persistence};
use super::spectra::{Kind, with_singular_values};
use super::statistics::log_log_slope;
use super::verdict::Verdict;
use super::{Claim, Evidence, lemma_2};
use crate::matrix::Matrix;
use crate::seed::{Seed, Stream};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde_json::json;

const PRINTED: &str = "if V2 = U1ᵀ: σ̇1_k = σ1_k σ2_k² (v1_kᵀ X v1_k), σ̇2_k = σ2_k σ1_k² (v1_kᵀ X v1_k)";
const CORRECTED_TEXT: &str = "if V2 = U1, up to signs of columns: σ̇1_k = σ1_k σ2_k² χ_k = σ1_k (σ1_k² - C_k) χ_k, σ̇2_k = σ2_k σ1_k² χ_k, \
     χ_k = v1_kᵀ X v1_k, C_k = σ1_k² - σ2_k²";
const OTHER_SIGN: &str = "the corrected one with σ̇1_k = σ1_k (σ1_k² + C_k) χ_k";
const NO_SQUARE: &str = "the corrected one with σ2_k in place of σ2_k²";

const ALIGNED: &str =
    "the layers are aligned: V2 = U1 up to the signs of columns; their singular values are distinct";

pub(super) const AS_PRINTED: Claim = Claim {
    id: "theorem-3",
    source: "Theorem 3",
    statement: "Where V2 = U1ᵀ, singular values of two layers grow mode by mode, each at a rate proportional to itself and the square of its partner.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        let pairs = instances(case.level);
        let assumed = "V2 = U1ᵀ as matrices, and distinct singular values";
        let printed = Formula::new(PRINTED, &|pair: &Factored| on(pair.is_transposed(), pair, Law::Squares));
        let corrected =
            Formula::new(CORRECTED_TEXT, &|pair: &Factored| on(pair.is_aligned(), pair, Law::Squares));
        let wrong = Formula::new(NO_SQUARE, &|pair: &Factored| on(pair.is_aligned(), pair, Law::NoSquare));
        judge(&pairs, &printed, &Against::CorrectedAndWrong(corrected, wrong), Some(assumed))
    },
};

pub(super) const CORRECTED: Claim = Claim {
    id: "theorem-3-corrected",
    source: "Theorem 3 with V2 = U1, and with the sign of C that follows",
    statement: "Where V2 = U1, singular values of two layers grow mode by mode, each at a rate proportional to itself and the square of its partner. Balanced layers that start aligned stay aligned, so that the law holds at all times; others leave at once unless X is diagonal in the same vectors.",
    formula: CORRECTED_TEXT,
    evidence: Evidence::Identity,
    experiments: &[ALIGNED_STARTS],
    judge: corrected,
};

fn corrected(case: &Case) -> Result<Finding, String> {
    let pairs = instances(case.level);
    let corrected =
        Formula::new(CORRECTED_TEXT, &|pair: &Factored| on(pair.is_aligned(), pair, Law::Squares));
    let wrong = Formula::new(NO_SQUARE, &|pair: &Factored| on(pair.is_aligned(), pair, Law::NoSquare));
    let sign = Formula::new(OTHER_SIGN, &|pair: &Factored| on(pair.is_aligned(), pair, Law::OtherSignOfC));
    let sign = tally(&pairs, &sign)?;
    let mut finding = judge(&pairs, &corrected, &Against::Wrong(wrong), Some(ALIGNED))?;
    let (slope, error) = log_log_slope(&errors_of_misaligned(case.level)?);
    let persistence = persistence(case)?;
    let (kept, balanced) = (persistence.kept, persistence.balanced);
    if let Some(lost) = &persistence.lost {
        finding.verdict = Verdict::Refuted;
        finding.counterexample = Some(Counterexample::Plan(lost.clone()));
    }
    finding.summary += &format!("; balanced starts stay aligned in {kept} of {balanced} runs");
    let (left, unbalanced) = (persistence.left, persistence.unbalanced);
    finding.control.what += &format!("; unbalanced starts leave alignment in {left} of {unbalanced} runs");
    finding.control.rejected = finding.control.rejected.map(|rejected| rejected && left == unbalanced);
    Ok(finding
        .with("persistence of alignment", persistence.evidence)
        .with("with_the_other_sign_of_c", sign)
        .with(
            "error_of_the_law_over_the_angle_of_misalignment",
            json!({ "exponent": slope, "standard_error": error }),
        ))
}

/// How the law is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// σ̇1 = σ1 σ2² χ, σ̇2 = σ2 σ1² χ, and the first with σ1² - C for σ2².
    Squares,
    /// σ1² + C for σ2²: wrong.
    OtherSignOfC,
    /// σ2 for σ2²: wrong.
    NoSquare,
}

/// The check where the hypothesis holds, and nothing elsewhere.
fn on(holds: bool, pair: &Factored, law: Law) -> Checked {
    if holds { check(&pair.batch, law) } else { Ok(None) }
}

/// The derivatives of the singular values of both layers along the flow against the law, whether or not they are aligned.
pub fn check(batch: &Batch, law: Law) -> Checked {
    let [w1, w2] = &batch.layers[..] else { return Ok(None) };
    let velocities = batch.velocities();
    let Some(inner) = Moving::of(w1, &velocities[0])? else { return Ok(None) };
    let Some(outer) = Moving::of(w2, &velocities[1])? else { return Ok(None) };
    let x = lemma_2::x(batch, lemma_2::Form::Printed);
    let modes = inner.values.len().min(outer.values.len());
    let rate = |k: usize| (inner.v.column(k).transpose() * &x * inner.v.column(k))[(0, 0)];
    let first = |k: usize| {
        let (s1, s2) = (inner.values[k], outer.values[k]);
        let c = s1 * s1 - s2 * s2;
        match law {
            Law::Squares => s1 * (s1 * s1 - c) * rate(k),
            Law::OtherSignOfC => s1 * (s1 * s1 + c) * rate(k),
            Law::NoSquare => s1 * s2 * rate(k),
        }
    };
    let second = |k: usize| outer.values[k] * inner.values[k] * inner.values[k] * rate(k);
    // Velocities and X are two sums of the same terms; and layers that are aligned before they are rounded are so up to the
    // tilt of their vectors.
    let rounding = batch.rounding_of_layers();
    let (s1, s2) = (inner.values[0], outer.values[0]);
    let tilted = 2.0 * (inner.tilt + outer.tilt) * s1 * s2 * s1.max(s2) * x.norm();
    let first = inner.value_discrepancy((0..modes).map(first), rounding[0] + tilted);
    Ok(Some(first.or(outer.value_discrepancy((0..modes).map(second), rounding[1] + tilted))))
}

/// Two layers with known factors.
#[derive(Clone, Debug)]
struct Factored {
    batch: Batch,
    /// U1, left factor of the first layer (h x h).
    u1: Matrix,
    /// V2, right factor of the second layer (h x h).
    v2: Matrix,
}

impl Factored {
    /// Whether V2 = U1ᵀ as matrices, to rounding.
    fn is_transposed(&self) -> bool {
        (&self.v2 - self.u1.transpose()).amax() <= ORTHOGONAL
    }

    /// Whether V2ᵀ U1 is the identity up to signs, to rounding.
    fn is_aligned(&self) -> bool {
        let a = (self.v2.transpose() * &self.u1).abs();
        (&a - Matrix::identity(a.nrows(), a.ncols())).amax() <= ORTHOGONAL
    }
}

/// Orthogonal matrices of a few rows, as a QR makes them, agree to some ε.
const ORTHOGONAL: f64 = 64.0 * f64::EPSILON;

impl Instance for Factored {
    fn label(&self) -> String {
        self.batch.label()
    }

    fn matrices(&self) -> Vec<(String, Matrix)> {
        let factors = [("U1".to_string(), self.u1.clone()), ("V2".to_string(), self.v2.clone())];
        self.batch.matrices().into_iter().chain(factors).collect()
    }
}

const KINDS: &[Kind] = &[
    ("2 x 2, N = 2", [2, 2, 2], 2, &[1.0, 0.5], &[0.9, 0.4]),
    ("3 x 3", [3, 3, 3], 5, &[1.2, 0.8, 0.4], &[1.0, 0.7, 0.3]),
    ("balanced", [3, 3, 3], 5, &[1.2, 0.8, 0.4], &[1.2, 0.8, 0.4]),
    ("a singular value of 0", [3, 3, 3], 5, &[1.2, 0.8, 0.0], &[1.0, 0.7, 0.3]),
    ("gaps of 1e-5", [3, 3, 3], 5, &[1.2, 0.8, 0.799992], &[1.0, 0.7, 0.3]),
    ("wide, then tall", [4, 2, 3], 5, &[1.1, 0.6], &[0.8, 0.5]),
    ("d = 1", [1, 1, 1], 4, &[0.9], &[0.7]),
];

/// Pairs of layers with V2 = U1ᵀ, and with V2 = U1 and signs, of every kind.
fn instances(level: Level) -> Vec<Factored> {
    (0..rounds(level))
        .flat_map(|round| {
            (0..KINDS.len()).flat_map(move |kind| [true, false].map(|t| pair(kind, round, t, 0.0)))
        })
        .collect()
}

/// The pair of this kind and round: with V2 = U1ᵀ where `transposed`, or else with V2 = U1 turned by `angle` in its first two
/// directions.
fn pair(kind: usize, round: u64, transposed: bool, angle: f64) -> Factored {
    let (name, [d, hidden, d_out], n, first, second) = KINDS[kind];
    let mut generator = Seed { seed: 50_000 + kind as u64, repeat: round }.generator(Stream::Data, 0);
    let u1 = if name == "2 x 2, N = 2" && round == 0 {
        // A rotation that anyone can multiply by hand.
        Matrix::from_row_slice(2, 2, &[0.6, -0.8, 0.8, 0.6])
    } else {
        orthogonal(&mut generator, hidden)
    };
    let mut v2 = u1.transpose();
    if !transposed {
        v2 = u1.clone();
        v2.column_mut(0).neg_mut();
        if angle != 0.0 {
            let mut turn = Matrix::identity(hidden, hidden);
            turn.view_mut((0, 0), (2, 2)).copy_from_slice(&[
                angle.cos(),
                angle.sin(),
                -angle.sin(),
                angle.cos(),
            ]);
            v2 *= turn;
        }
    }
    let w1 = with_singular_values(&u1, first, &orthogonal(&mut generator, d));
    let w2 = with_singular_values(&orthogonal(&mut generator, d_out), second, &v2);
    let mut normals =
        |rows: usize, columns: usize| Matrix::from_fn(rows, columns, |_, _| generator.sample(StandardNormal));
    let x = normals(d, n);
    let x2 = &x + 0.7 * normals(d, n);
    let how = if transposed { "V2 = U1ᵀ" } else { "V2 = U1" };
    Factored { batch: Batch::new(format!("{name}, {how}, round {round}"), vec![w1, w2], x, x2), u1, v2 }
}

/// Angles of misalignment and the largest error of the law there.
fn errors_of_misaligned(level: Level) -> Result<Vec<(f64, f64)>, String> {
    let angles = [1e-2, 1e-3, 1e-4, 1e-5];
    let error = |angle: f64| {
        let mut largest = 0.0f64;
        for round in 0..rounds(level) {
            largest = largest
                .max(check(&pair(1, round, false, angle).batch, Law::Squares)?.map_or(0.0, |d| d.error));
        }
        Ok((angle, largest))
    };
    angles.into_iter().map(error).collect()
}
