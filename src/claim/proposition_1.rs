//! Proposition 1: whether a trainable projector needs more than a diagonal.
//!
//! Exact is a symmetry: with P = U S Vᵀ the pair (P, W) and the pair (S, Vᵀ W) have the same loss, and their flows are carried
//! into each other by the constant maps U and V, for fixed P and for trainable P alike. But a trainable P that starts diagonal
//! does not stay so. It conserves the matrix D = W Wᵀ - Pᵀ P, which keeps W from collapsing where D is positive; a diagonal
//! P conserves the diagonal of D alone.

use super::case::{Case, Run};
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::identity::{Discrepancy, largest};
use super::instances::{Batch, batches};
use super::projectors::{
    LINEAR, PROJECTORS, SMALL_START, Toy, apart, collapsed, label, over_seeds, table, with,
};
use super::statistics::{Median, number};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::encoder::Network;
use crate::gradient::referee;
use crate::loss::{Loss, Reduction};
use crate::matrix::{Matrix, svd, symmetric_eigenvalues};
use serde_json::{Map, Value, json};

pub(super) const AS_PRINTED: Claim = Claim {
    id: "proposition-1",
    source: "Proposition 1",
    statement: "A linear projector needs only to be diagonal: a trainable diagonal one keeps the representation from collapsing as a trainable linear one does.",
    formula: "P = U S Vᵀ: V is absorbed by the layer before it, U changes nothing  ⇒  S suffices",
    evidence: Evidence::Trajectory,
    experiments: &[PROJECTORS, SMALL_START],
    judge: printed,
};

pub(super) const CORRECTED: Claim = Claim {
    id: "proposition-1-corrected",
    source: "Proposition 1, of what its argument proves",
    statement: "Of a linear projector P = U S Vᵀ, fixed or at its start, only the singular values matter: training from (P, W) and from (S, Vᵀ W) differ by the constant orthogonal maps U and V. Trained, P leaves the diagonal; under gradient flow it conserves D = W Wᵀ - Pᵀ P (Eq. 10), so that σ_k(W)² ≥ λ_k(D), which a diagonal P does not.",
    formula: "∂L/∂W(P, W) = V ∂L/∂W(S, Vᵀ W),  ∂L/∂P(P, W) = U ∂L/∂P(S, Vᵀ W) Vᵀ",
    evidence: Evidence::Trajectory,
    experiments: &[PROJECTORS, SMALL_START],
    judge: corrected,
};

/// How far two runs or two gradients that a symmetry makes equal may be apart, relative to their size. They differ in the
/// order of rounding alone; a thousand steps and an amplification of 10³ by the dynamics make 10⁻¹⁰ of ε.
const SAME: f64 = 1e-10;

fn printed(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(PROJECTORS.name)?;
    let small = case.runs(SMALL_START.name)?;
    let of = |runs: &[Run], toy: Toy, projector: &str| over_seeds(&with(runs, toy, projector));
    let mut rows = Vec::new();
    for (name, runs, toy) in [
        ("strong noise", runs, Toy::Strong),
        ("strong noise, small start", small, Toy::Strong),
        ("weak noise, small modes", runs, Toy::Weak),
    ] {
        rows.push((name, of(runs, toy, "diagonal")?, of(runs, toy, LINEAR)?));
    }
    let against: Vec<_> = rows.iter().filter(|(_, diagonal, linear)| apart(diagonal, linear)).collect();
    let words = rows
        .iter()
        .map(|(name, diagonal, linear)| format!("{diagonal} against {linear} in \"{name}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let summary = format!(
        "in the toys; collapsed directions of the representation, trainable diagonal against trainable linear projector from the same start: {words}"
    );
    // The same comparison on projectors that a symmetry makes equal, and on two that are known to differ.
    let strong = |projector: &str| of(runs, Toy::Strong, projector);
    let (none, orthogonal, linear) = (strong("none")?, strong("orthogonal")?, strong(LINEAR)?);
    let control = Control::new(
        format!(
            "the same comparison of a fixed orthogonal projector with none, equal by the exact symmetry, says {orthogonal} and {none}; of none with a trainable linear one, wrong to call equal, {none} and {linear}"
        ),
        !apart(&orthogonal, &none) && apart(&none, &linear),
    );
    let diagonals = with(runs, Toy::Strong, "diagonal");
    let worst = diagonals.iter().max_by_key(|run| collapsed(run).unwrap_or(0));
    let refuted = !against.is_empty();
    Ok(Finding {
        verdict: if refuted { Verdict::Refuted } else { Verdict::Consistent },
        summary,
        evidence: Map::new(),
        hypotheses: vec![Hypothesis::held(
            "projectors of a comparison start alike, up to an orthogonal factor, and see the same samples (by construction)",
        )],
        control,
        counterexample: worst.filter(|_| refuted).map(|run| Counterexample::Plan(run.to_toml())),
    }
    .with("representation spectra", table(runs)?)
    .with("small start", table(small)?))
}

/// Loss and gradients of (P, W) against those of (S, `absorbed` W) carried back; `absorbed` is Vᵀ in the proposition.
fn equivariance(batch: &Batch, absorbed: impl Fn(&Matrix) -> Matrix) -> Result<Discrepancy, String> {
    let [w, p] = &batch.layers[..] else { return Err("an encoder layer and a projector".to_string()) };
    let parts = svd(p).map_err(|error| error.to_string())?;
    let s = Matrix::from_diagonal(&nalgebra::DVector::from_column_slice(&parts.values));
    let mut turned = batch.clone();
    turned.layers = vec![absorbed(&parts.v) * w, s];
    let (here, there) = (batch.layer_gradients(), turned.layer_gradients());
    // Layers multiply what rounding makes of the end-to-end gradient.
    let sizes = 1.0 + p.nrows() as f64 * (w.amax() + p.amax());
    let allowed = batch.rounding() * sizes * sizes;
    let of_w = Discrepancy::between(&here[0], &(&parts.v * &there[0]), allowed);
    let of_p = Discrepancy::between(&here[1], &(&parts.u * &there[1] * parts.v.transpose()), allowed);
    Ok(of_w.or(of_p))
}

/// The same for every loss, by dual numbers, relative to the largest gradient.
fn equivariance_of_all_losses(batch: &Batch) -> Result<f64, String> {
    let [w, p] = &batch.layers[..] else { return Err("an encoder layer and a projector".to_string()) };
    let parts = svd(p).map_err(|error| error.to_string())?;
    let s = Matrix::from_diagonal(&nalgebra::DVector::from_column_slice(&parts.values));
    let mut turned = batch.clone();
    turned.layers = vec![parts.v.transpose() * w, s];
    let mut worst = 0.0f64;
    for loss in Loss::examples() {
        let (here, there) = (gradients(batch, &loss), gradients(&turned, &loss));
        let carried = [&parts.v * &there[0], &parts.u * &there[1] * parts.v.transpose()];
        for (a, b) in here.iter().zip(&carried) {
            worst = worst.max(largest((a - b).iter().copied()) / largest(a.iter().copied()));
        }
    }
    Ok(worst)
}

fn gradients(batch: &Batch, loss: &Loss) -> Vec<Matrix> {
    let (network, parameters) = batch.network();
    let views = batch.views();
    let derivative = |k| referee::derivative::<f64>(&network, loss, Reduction::Mean, &parameters, &views, k);
    let gradient: Vec<f64> = (0..parameters.len()).map(derivative).collect();
    network.dense_layers().map(|(_, shape, offset)| Network::weights(shape, offset, &gradient)).collect()
}

/// Runs of one toy with a fixed orthogonal projector against those with none, seed by seed: the largest relative difference of
/// final weights.
fn whole_runs(runs: &[Run]) -> Result<f64, String> {
    let mut worst = 0.0f64;
    for toy in Toy::BOTH {
        for (a, b) in with(runs, toy, "orthogonal").iter().zip(with(runs, toy, "none")) {
            for (layer, other) in a.layers()?.iter().zip(&b.layers()?) {
                worst = worst.max((layer - other).norm() / other.norm());
            }
        }
    }
    Ok(worst)
}

/// What a trainable projector conserves, and what that keeps.
struct Conserved {
    name: String,
    /// Largest change of D = W Wᵀ - Pᵀ P, or of its diagonal under a diagonal projector, relative to D at the start.
    drift: f64,
    /// Off-diagonal part of the change of D, the same.
    off_diagonal: f64,
    /// min over k and seeds of σ_k(W)² - λ_k(D(0)), over |D(0)|: negative where W loses what D would keep.
    margin: f64,
    /// Part of Qᵀ P that is off the diagonal at the end, P(0) = Q.
    left: f64,
    collapsed: Median,
}

impl Conserved {
    fn of(runs: &[&Run]) -> Result<Conserved, String> {
        let name = runs.first().map_or_else(String::new, |run| label(run));
        let (mut drift, mut off_diagonal, mut margin, mut left) = (0.0f64, 0.0f64, f64::INFINITY, 0.0f64);
        for run in runs {
            let prepared = run.plan.prepare().map_err(|problem| problem.to_string())?;
            let at_start = prepared.network.named_parameters(&prepared.parameters);
            let start =
                |name: &str| at_start.iter().find(|(n, _)| n == name).map(|(_, matrix)| square(matrix));
            let end = |name: &str| {
                let array = run.state.get(name).ok_or_else(|| format!("no {name}"))?;
                let columns = array.shape.get(1).copied().unwrap_or(1);
                Ok::<_, String>(square(&Matrix::from_row_slice(array.shape[0], columns, &array.values)))
            };
            let (w0, p0) = (start("W1").ok_or("no W1")?, start("P1").ok_or("no P1")?);
            let (w, p) = (end("W1")?, end("P1")?);
            let d = |w: &Matrix, p: &Matrix| w * w.transpose() - p.transpose() * p;
            let (before, after) = (d(&w0, &p0), d(&w, &p));
            let change = &after - &before;
            let diagonal = Matrix::from_diagonal(&change.diagonal());
            let is_diagonal = label(run) == "diagonal";
            drift = drift.max(if is_diagonal { diagonal.norm() } else { change.norm() } / before.norm());
            off_diagonal = off_diagonal.max((&change - &diagonal).norm() / before.norm());
            let eigenvalues = |m: &Matrix| symmetric_eigenvalues(m).map_err(|error| error.to_string());
            for (kept, bound) in eigenvalues(&(&w * w.transpose()))?.iter().zip(eigenvalues(&before)?) {
                margin = margin.min((kept - bound) / before.norm());
            }
            let turned = p0.transpose() * &p;
            let on = Matrix::from_diagonal(&turned.diagonal());
            left = left.max((&turned - on).norm() / turned.norm());
        }
        Ok(Conserved { name, drift, off_diagonal, margin, left, collapsed: over_seeds(runs)? })
    }

    fn to_json(&self) -> Value {
        json!({
            "projector": self.name,
            "change of what is conserved, relative": self.drift,
            "change of D off its diagonal, relative": self.off_diagonal,
            "min (σ_k(W)² - λ_k(D(0)))/|D(0)|": self.margin,
            "part of P off the diagonal at the end": self.left,
            "collapsed directions": self.collapsed.to_json(),
        })
    }
}

/// A projector's parameters as a matrix: a trainable diagonal is stored as one column.
fn square(matrix: &Matrix) -> Matrix {
    if matrix.ncols() == 1 && matrix.nrows() > 1 {
        Matrix::from_diagonal(&matrix.column(0).into_owned())
    } else {
        matrix.clone()
    }
}

fn corrected(case: &Case) -> Result<Finding, String> {
    let instances = batches(case.level, 2);
    let (mut ratio, mut failed, mut wrong) = (0.0f64, None, 0);
    for batch in &instances {
        let found = equivariance(batch, Matrix::transpose)?;
        if found.ratio() > 1.0 {
            failed = failed.or(Some(batch));
        }
        ratio = ratio.max(found.ratio());
        wrong += usize::from(equivariance(batch, Matrix::clone)?.ratio() > 1.0);
    }
    let generic = instances.iter().filter(|batch| is_well_conditioned(batch));
    let losses = generic.map(equivariance_of_all_losses).collect::<Result<Vec<_>, _>>()?;
    let over_losses = largest(losses.iter().copied());
    let runs = case.runs(PROJECTORS.name)?;
    let distance = whole_runs(runs)?;
    let conserved = Conserved::of(&with(runs, Toy::Strong, LINEAR))?;
    let default = Conserved::of(&with(runs, Toy::Strong, "trainable linear, default start"))?;
    let diagonal = Conserved::of(&with(runs, Toy::Strong, "diagonal"))?;
    let small = Conserved::of(&with(case.runs(SMALL_START.name)?, Toy::Strong, LINEAR))?;
    let exact = failed.is_none() && over_losses <= SAME && distance <= SAME;
    let summary = format!(
        "gradients of (P, W) and (S, VᵀW) agree to {} of rounding on {} instances, to {} under all losses, and whole runs with an orthogonal and no projector to {}; trained, P leaves the diagonal ({} of it) and loses {} directions where the diagonal one loses {}",
        number(ratio),
        instances.len(),
        number(over_losses),
        number(distance),
        number(conserved.left),
        conserved.collapsed,
        diagonal.collapsed,
    );
    let control = Control::new(
        format!(
            "V W instead of Vᵀ W: fails on {wrong} of {} instances; the bound σ_k(W)² ≥ λ_k(D(0)) under SGD: below by {} of |D| with a full projector, by {} with a diagonal one",
            instances.len(),
            number(-conserved.margin),
            number(-diagonal.margin),
        ),
        10 * wrong > instances.len() && diagonal.margin < conserved.margin,
    );
    Ok(Finding {
        verdict: if exact { Verdict::Holds } else { Verdict::Refuted },
        summary,
        evidence: Map::new(),
        hypotheses: vec![Hypothesis::held(
            "the loss depends on inner products or distances of embeddings alone (by definition)",
        )],
        control,
        counterexample: failed.map(|batch| {
            use super::identity::Instance;
            Counterexample::Matrices { formula: CORRECTED.formula.to_string(), matrices: batch.matrices() }
        }),
    }
    .with(
        "trainable projectors",
        json!([conserved.to_json(), default.to_json(), small.to_json(), diagonal.to_json()]),
    )
    .with("representation spectra", table(runs)?))
}

/// Instances on which gradients of all losses are of the size of their terms, so that a relative error says something:
/// nothing cancels, no embedding vanishes and no row of the softmax is saturated.
fn is_well_conditioned(batch: &Batch) -> bool {
    use super::identity::Instance;
    ["generic", "wide layers", "tall layers"].iter().any(|kind| batch.label().starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::super::case::Level;
    use super::super::fixtures::{runs, runs_of};
    use super::*;
    use crate::files::{NpzArray, npz_bytes};
    use std::path::Path;

    #[test]
    fn gradients_turn_with_the_orthogonal_factors_and_not_with_their_transposes() {
        let instances = batches(Level::Quick, 2);
        let worst = |absorbed: fn(&Matrix) -> Matrix| {
            let of = |batch| equivariance(batch, absorbed).unwrap().ratio();
            instances.iter().map(of).fold(0.0, f64::max)
        };
        assert!(worst(Matrix::transpose) <= 1.0);
        assert!(worst(Matrix::clone) > 1.0);
    }

    const TEXT: &str = r#"
        seed     = 3
        data     = { kind = "gaussian", dim = 4, samples = 48 }
        augment  = { kind = "block", block = 2, variance = 1.0, sides = "one" }
        loss     = { kind = "infonce-euclidean" }
        dynamics = { kind = "flow", method = "dop853", rtol = 1e-13, atol = 1e-15, time_end = 3.0 }
        observe  = { times = { kind = "linear", count = 3 }, quantities = ["loss", "spectra"] }
        [encoder]
        kind   = "linear"
        widths = [4, 5]
        init   = { kind = "file", path = "start.npz" }
    "#;

    fn write(folder: &Path, arrays: &[(&str, &Matrix)]) {
        let rows: Vec<_> =
            arrays.iter().map(|(name, m)| (*name, [m.nrows(), m.ncols()], m.transpose())).collect();
        let entries: Vec<_> = rows
            .iter()
            .map(|(name, shape, values)| (*name, NpzArray::f64(shape, values.as_slice())))
            .collect();
        std::fs::write(folder.join("start.npz"), npz_bytes(&entries).unwrap()).unwrap();
    }

    /// The final W1 of a run from these arrays behind this projector, and the run.
    fn trained(arrays: &[(&str, &Matrix)], projector: &str) -> (Matrix, Run) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), arrays);
        let run = runs_of(&format!("{TEXT}projector = {projector}"), folder.path(), &[]).remove(0);
        (run.layers().unwrap().remove(0), run)
    }

    fn entries(rows: usize, columns: usize, seed: f64) -> Matrix {
        Matrix::from_fn(rows, columns, |i, j| (seed + 1.7 * i as f64 + 2.9 * (j * j) as f64).sin())
    }

    #[test]
    fn whole_runs_with_a_fixed_low_rank_projector_and_with_its_diagonal_differ_by_a_constant_rotation() {
        let start = entries(5, 4, 0.3);
        let (end, run) = trained(&[("W1", &start)], r#"{ kind = "low-rank", rank = 2 }"#);
        let p = Matrix::from_row_slice(5, 5, &run.state["P1"].values);
        let v = svd(&p).unwrap().v;
        let turned = v.transpose() * &start;
        let (other, _) = trained(&[("W1", &turned)], r#"{ kind = "low-rank-diagonal", rank = 2 }"#);
        assert!((&end - &start).norm() > 0.1 * start.norm(), "nothing was trained");
        assert!((&end - &v * other).norm() <= SAME * end.norm());
    }

    #[test]
    fn whole_runs_with_a_trainable_projector_depend_on_the_singular_values_of_its_start_alone() {
        let (w, p) = (entries(5, 4, 0.3), entries(5, 5, 1.1) * 0.5);
        let kind = r#"{ kind = "trainable", init = { kind = "file", path = "start.npz" } }"#;
        let (end, _) = trained(&[("W1", &w), ("P1", &p)], kind);
        let parts = svd(&p).unwrap();
        let s = Matrix::from_diagonal(&nalgebra::DVector::from_vec(parts.values));
        let turned = parts.v.transpose() * &w;
        let (other, run) = trained(&[("W1", &turned), ("P1", &s)], kind);
        assert!((&end - &parts.v * &other).norm() <= SAME * end.norm());
        // And P, which starts diagonal there, does not stay so.
        let array = &run.state["P1"];
        let p = Matrix::from_row_slice(5, 5, &array.values);
        assert!((&p - Matrix::from_diagonal(&p.diagonal())).norm() > 0.1 * p.norm());
    }

    #[test]
    fn a_full_projector_keeps_the_directions_that_it_conserves_and_a_diagonal_one_does_not() {
        let runs = runs(&PROJECTORS, &["repeats=2"]);
        let of = |projector: &str| Conserved::of(&with(&runs, Toy::Strong, projector)).unwrap();
        let (full, diagonal) = (of(LINEAR), of("diagonal"));
        assert!(full.margin >= -full.drift, "{} {}", full.margin, full.drift);
        assert!(diagonal.margin < -diagonal.drift, "{} {}", diagonal.margin, diagonal.drift);
    }
}
