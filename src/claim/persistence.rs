//! For how long layers that start aligned stay aligned: what Theorem 3 needs for its law to be more than a statement about
//! one moment.
//!
//! At an aligned state Lemma 6, corrected, gives Ȧ_kk' = (1/(σ1_k'² - σ1_k²) - 1/(σ2_k'² - σ2_k²)) times a symmetric matrix:
//! balanced layers stay aligned whatever X does, and others leave at once unless X is diagonal in the same vectors.

use super::alignment::{distance, imbalance_norm, vectors_error};
use super::case::{Case, NeededExperiment, Run, Source};
use super::statistics::Median;
use serde_json::{Value, json};

/// Aligned starts with the same spectrum in both layers, and with different ones.
pub(super) const ALIGNED_STARTS: NeededExperiment = NeededExperiment {
    name: "aligned_starts",
    source: Source::Text(
        r#"
title    = "Layers that start aligned, balanced and not"
claims   = ["theorem-3-corrected"]
seed     = 5
repeats  = 6
data     = { kind = "gaussian", dim = 3, samples = 64 }
augment  = { kind = "isotropic", variance = 0.1, sides = "one" }
encoder  = { kind = "linear", widths = [3, 3, 3], init = { kind = "aligned", scales = [0.5, 0.5], decays = [0.4, 0.4] } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "dop853", rtol = 1e-10, atol = 1e-13, time_end = 10.0 }
observe  = { times = { kind = "log", first = 0.01, count = 40 }, quantities = ["loss", "spectra", "x", "alignment", "imbalance"] }
sweep    = { "encoder.init.decays" = [[0.4, 0.4], [0.4, 0.5], [0.4, 1.0]] }
"#,
    ),
    quick: &[],
    full: &["data.samples=256", "repeats=12"],
};

/// A sine from which on directions count as no longer aligned: 6 degrees.
const DEPARTED: f64 = 0.1;

/// What the aligned starts have come to.
pub(super) struct Persistence {
    /// Balanced runs that leave A = I at no recorded time by more than the floors explain.
    pub kept: usize,
    /// Balanced runs.
    pub balanced: usize,
    /// The plan of a balanced run that does leave it.
    pub lost: Option<String>,
    /// Unbalanced runs that leave it.
    pub left: usize,
    /// Unbalanced runs.
    pub unbalanced: usize,
    /// Everything measured.
    pub evidence: Value,
}

/// Judges the runs of [`ALIGNED_STARTS`].
pub(super) fn persistence(case: &Case) -> Result<Persistence, String> {
    let runs = case.runs(ALIGNED_STARTS.name)?;
    let is_balanced = |run: &&Run| run.swept("encoder.init.decays") == Some("[0.4, 0.4]");
    let balanced: Vec<&Run> = runs.iter().filter(is_balanced).collect();
    let unbalanced: Vec<&Run> = runs.iter().filter(|run| !is_balanced(run)).collect();
    let (mut kept, mut lost) = (0, None);
    for run in &balanced {
        if stays(run)? {
            kept += 1;
        } else {
            lost.get_or_insert_with(|| run.to_toml());
        }
    }
    let mut left = 0;
    let mut table = serde_json::Map::new();
    for spectra in ["[0.4, 0.5]", "[0.4, 1.0]"] {
        let runs: Vec<&&Run> =
            unbalanced.iter().filter(|run| run.swept("encoder.init.decays") == Some(spectra)).collect();
        let mut departures = Vec::new();
        let (mut rates, mut imbalances) = (Vec::new(), Vec::new());
        for run in &runs {
            left += usize::from(!stays(run)?);
            departures.push(departure(run)?);
            rates.push(distance(run, 1)? / run.times()[1]);
            imbalances.push(imbalance_norm(run, 0)?);
        }
        let time = |t: &Option<f64>| t.map_or(Value::Null, Value::from);
        table.insert(
            format!("decays {spectra}"),
            json!({
                "|D|": Median::of(imbalances).to_json(),
                "rate at which sines leave 0": Median::of(rates).to_json(),
                "times at which a sine exceeds 0.1": departures.iter().map(time).collect::<Vec<_>>(),
            }),
        );
    }
    table.insert(
        "balanced runs that stay aligned".to_string(),
        json!(format!("{kept} of {}", balanced.len())),
    );
    table.insert("unbalanced runs that leave".to_string(), json!(format!("{left} of {}", unbalanced.len())));
    let (balanced, unbalanced) = (balanced.len(), unbalanced.len());
    Ok(Persistence { kept, balanced, lost, left, unbalanced, evidence: Value::Object(table) })
}

/// Vectors that the floors do not determine to one part in a hundred are not known to be aligned.
const RESOLVED: f64 = 0.01;

/// Whether the directions are aligned at all recorded times, to what the floors explain.
fn stays(run: &Run) -> Result<bool, String> {
    for time in 0..run.times().len() {
        let allowed = vectors_error(run, time)?;
        if allowed > RESOLVED || distance(run, time)? > allowed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first recorded time at which a direction has departed.
fn departure(run: &Run) -> Result<Option<f64>, String> {
    for (index, time) in run.times().iter().enumerate() {
        if distance(run, index)? > DEPARTED {
            return Ok(Some(*time));
        }
    }
    Ok(None)
}
