//! Alignment of two layers, read from records: sines, gaps, and what numerical floors can do to them.
//!
//! With D = W1 W1ᵀ - W2ᵀ W2 and A = V2ᵀ U1, v2_kᵀ D u1_k' = (σ1_k'² - σ2_k²) A_kk': whatever the layers are, D and the gaps
//! decide how far they are aligned.

use super::case::Run;
use super::identity::largest;
use crate::matrix::spectral_norm;

/// What the floors of both layers can turn in the direction of row k of A: to first order, twice the largest singular value
/// times the floor over the gap within W1 W1ᵀ, and the same for W2ᵀ W2.
pub(super) fn vector_error(run: &Run, time: usize, k: usize) -> Result<f64, String> {
    let mut error = 0.0;
    for layer in LAYERS {
        let values = run.row(&format!("sigma_{layer}"), time)?;
        let floor = run.row(&format!("floor_{layer}"), time)?[0];
        error += 2.0 * values[0] * floor / gap_within(values, k);
    }
    Ok(error)
}

/// The largest [`vector_error`] of all directions.
pub(super) fn vectors_error(run: &Run, time: usize) -> Result<f64, String> {
    let rows = run.row("sigma_w1", time)?.len();
    let errors = (0..rows).map(|k| vector_error(run, time, k)).collect::<Result<Vec<_>, _>>()?;
    Ok(largest(errors))
}

const LAYERS: [&str; 2] = ["w1", "w2"];

/// The distance of the k-th squared singular value from the nearest other one of its layer.
fn gap_within(values: &[f64], k: usize) -> f64 {
    others(values, k).map(|v| (v * v - values[k] * values[k]).abs()).fold(f64::INFINITY, f64::min)
}

/// The smaller of these distances in both layers.
pub(super) fn own_gap(run: &Run, time: usize, k: usize) -> Result<f64, String> {
    let within = |layer: &str| Ok::<f64, String>(gap_within(run.row(&format!("sigma_{layer}"), time)?, k));
    Ok(within("w1")?.min(within("w2")?))
}

fn others(values: &[f64], k: usize) -> impl Iterator<Item = f64> + '_ {
    values.iter().enumerate().filter(move |(other, _)| *other != k).map(|(_, value)| *value)
}

/// sin of the angle between row k of A and the k-th axis: (Σ_{k'≠k} A_kk'²)^(1/2).
pub(super) fn sine(run: &Run, time: usize, k: usize) -> Result<f64, String> {
    let alignment = run.square("alignment_1_2", time)?;
    let row: Vec<f64> = alignment.row(k).iter().copied().collect();
    Ok(others(&row, k).map(|a| a * a).sum::<f64>().sqrt())
}

/// The largest sine of all directions: 0 where |A| = I.
pub(super) fn distance(run: &Run, time: usize) -> Result<f64, String> {
    let rows = run.row("sigma_w1", time)?.len();
    let sines = (0..rows).map(|k| sine(run, time, k)).collect::<Result<Vec<_>, _>>()?;
    Ok(largest(sines))
}

/// The largest entry of |A| off the anti-diagonal: 0 where |A| is the reversed identity.
pub(super) fn distance_from_reversal(run: &Run, time: usize) -> Result<f64, String> {
    let alignment = run.square("alignment_1_2", time)?;
    let d = alignment.nrows();
    let off = |(i, j): &(usize, usize)| i + j + 1 != d;
    let entries = (0..d).flat_map(|i| (0..d).map(move |j| (i, j))).filter(off);
    Ok(largest(entries.map(|(i, j)| alignment[(i, j)])))
}

/// |D| of the record, in the spectral norm.
pub(super) fn imbalance_norm(run: &Run, time: usize) -> Result<f64, String> {
    spectral_norm(&run.square("imbalance_1_2", time)?).map_err(|error| error.to_string())
}

/// By how much D may be from its start, from the errors that rounding and tolerance leave in both layers.
pub(super) fn imbalance_error(run: &Run, time: usize) -> Result<f64, String> {
    let of = |layer: &str| {
        let floor = run.row(&format!("floor_{layer}"), time)?[0];
        Ok::<f64, String>((2.0 * run.row(&format!("sigma_{layer}"), time)?[0] + floor) * floor)
    };
    Ok(of("w1")? + of("w2")?)
}

/// By how much D is from its start, in the spectral norm.
pub(super) fn imbalance_moved(run: &Run, time: usize) -> Result<f64, String> {
    let moved = run.square("imbalance_1_2", time)? - run.square("imbalance_1_2", 0)?;
    spectral_norm(&moved).map_err(|error| error.to_string())
}

/// gap_k = min_{k'≠k} |σ1_k'² - σ2_k²| of the squared singular values of both layers.
pub(super) fn gap(inner: &[f64], outer: &[f64], k: usize) -> f64 {
    others(inner, k).map(|v| (v * v - outer[k] * outer[k]).abs()).fold(f64::INFINITY, f64::min)
}
