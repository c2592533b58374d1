//! Proposition 2: whether a fixed low-rank projector does what a trainable one does.
//!
//! Exact is that no gradient reaches what lies in the kernel of a fixed projector: those directions of the last layer keep their
//! start. That they do not collapse is the initial spectrum kept, and nothing learnt.

use super::case::{Case, Run};
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::projectors::{LINEAR, PROJECTORS, Toy, apart, collapsed, label, over_seeds, table, with};
use super::statistics::number;
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::matrix::Matrix;
use serde_json::{Map, json};

pub(super) const AS_PRINTED: Claim = Claim {
    id: "proposition-2",
    source: "Proposition 2",
    statement: "A linear projector needs only to be low-rank: a fixed low-rank one keeps the representation from collapsing as a trainable linear one does.",
    formula: "P = U diag(1, …, 1, 0, …, 0) Vᵀ suffices",
    evidence: Evidence::Trajectory,
    experiments: &[PROJECTORS],
    judge: printed,
};

pub(super) const CORRECTED: Claim = Claim {
    id: "proposition-2-corrected",
    source: "Proposition 2, of what is exact and what is learnt",
    statement: "Behind a fixed projector P of rank r no gradient reaches the kernel of P: that part of the last layer keeps its start exactly, be it full or collapsed. What is left trains as a layer of r outputs, of which min(r, n₊) survive strong noise (n₊ the number of positive eigenvalues of 2 Σ_v - Σ_δ).",
    formula: "(I - P⁺P) ∂L/∂W_L = 0;  rank of the representation under strong noise = min(d, min(r, n₊) + d_out - r)",
    evidence: Evidence::Trajectory,
    experiments: &[PROJECTORS],
    judge: corrected,
};

/// Fixed projectors whose rank is the number of directions that survive the strong noise.
const LOW_RANK: [&str; 3] = ["low-rank 3", "low-rank-diagonal 3", "subvector 3"];

fn printed(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(PROJECTORS.name)?;
    let of = |toy: Toy, projector: &str| over_seeds(&with(runs, toy, projector));
    let mut against = Vec::new();
    let mut words = Vec::new();
    for toy in Toy::BOTH {
        let (linear, default) = (of(toy, LINEAR)?, of(toy, "trainable linear, default start")?);
        let mut counts = Vec::new();
        for projector in LOW_RANK {
            let count = of(toy, projector)?;
            // It has to differ from trainable projectors whichever way they start.
            if apart(&count, &linear) && apart(&count, &default) {
                against.push((toy, projector));
            }
            counts.push(count.to_string());
        }
        words.push(format!("{} against {linear} in \"{}\"", counts.join(", "), toy.name()));
    }
    let summary = format!(
        "in the toys; collapsed directions of the representation, {} against trainable linear: {}",
        LOW_RANK.join(", "),
        words.join("; "),
    );
    let strong = |projector: &str| of(Toy::Strong, projector);
    let (full, linear) = (strong("orthogonal")?, strong(LINEAR)?);
    let (diagonal, sub) = (strong("low-rank-diagonal 3")?, strong("subvector 3")?);
    let control = Control::new(
        format!(
            "the same comparison of low-rank-diagonal 3 with subvector 3, equal by the exact symmetry, says {diagonal} and {sub}; of a fixed projector of full rank with a trainable one, wrong to call equal, {full} and {linear}"
        ),
        !apart(&diagonal, &sub) && apart(&full, &linear),
    );
    let first = against.first().and_then(|(toy, projector)| with(runs, *toy, projector).first().copied());
    Ok(Finding {
        verdict: if against.is_empty() { Verdict::Consistent } else { Verdict::Refuted },
        summary,
        evidence: Map::new(),
        hypotheses: vec![Hypothesis::held(
            "encoders of a comparison start alike and see the same samples (by construction)",
        )],
        control,
        counterexample: first.map(|run| Counterexample::Plan(run.to_toml())),
    }
    .with("representation spectra", table(runs)?))
}

/// How the last layer of an encoder has moved.
struct Moved {
    /// |(I - P⁺P) ΔW| / |W(0)|.
    in_kernel: f64,
    /// |P⁺P ΔW| / |W(0)|.
    elsewhere: f64,
}

impl Moved {
    fn of(run: &Run) -> Result<Moved, String> {
        let prepared = run.plan.prepare().map_err(|problem| problem.to_string())?;
        let at_start = prepared.network.named_parameters(&prepared.parameters);
        let layers = run.layers()?;
        let end = layers.last().ok_or("no layers")?;
        let name = format!("W{}", layers.len());
        let start = at_start.iter().find(|(n, _)| *n == name).map(|(_, w)| w).ok_or("no start")?;
        let change = end - start;
        let kept = projection(run, end.nrows())?;
        let elsewhere = &kept * &change;
        Ok(Moved {
            in_kernel: (&change - &elsewhere).norm() / start.norm(),
            elsewhere: elsewhere.norm() / start.norm(),
        })
    }
}

/// P⁺P of a fixed projector, whose singular values are 1 and 0.
fn projection(run: &Run, width: usize) -> Result<Matrix, String> {
    let projector = run.plan.settings.table("encoder").table("projector");
    let ones = match projector.kind() {
        "subvector" => projector.integer("dims"),
        "low-rank-diagonal" => projector.integer("rank"),
        _ => {
            let array = run.state.get("P1").ok_or("no P1")?;
            let p = Matrix::from_row_slice(array.shape[0], array.shape[1], &array.values);
            return Ok(p.transpose() * p);
        }
    };
    Ok(Matrix::from_fn(width, width, |i, j| f64::from(u8::from(i == j && i < ones))))
}

/// What rounding can move a direction that gets no gradient, relative to the layer: a fixed dense projector passes ε of the
/// gradient into its kernel at each of some thousand steps. The audit asks for this digit.
const STILL: f64 = 1e-10;

/// Fixed projectors and their ranks.
const FIXED: [(&str, usize); 6] = [
    ("low-rank 3", 3),
    ("low-rank-diagonal 2", 2),
    ("low-rank-diagonal 3", 3),
    ("low-rank-diagonal 7", 7),
    ("subvector 3", 3),
    ("orthogonal", 8),
];

/// Directions that collapse under strong noise behind a fixed projector of this rank: min(r, n₊) that are learnt and d_out - r
/// that keep their start span the others.
fn predicted(run: &Run, rank: usize) -> usize {
    let settings = &run.plan.settings;
    let widths = settings.table("encoder").integers("widths");
    let (d, outputs) = (widths[0], widths[widths.len() - 1]);
    // The toy's noise, of variance above 2, is on its last coordinates alone.
    let surviving = d - settings.table("augment").integer("block");
    d.min(outputs) - d.min(rank.min(surviving) + outputs - rank)
}

fn corrected(case: &Case) -> Result<Finding, String> {
    let runs = case.runs(PROJECTORS.name)?;
    let (mut in_kernel, mut elsewhere) = (0.0f64, f64::INFINITY);
    let mut first = None;
    let mut rows = Vec::new();
    let mut counted = (0, 0);
    let mut against = None;
    for (projector, rank) in FIXED {
        for toy in Toy::BOTH {
            let those = with(runs, toy, projector);
            for run in &those {
                let moved = Moved::of(run)?;
                if moved.in_kernel > STILL {
                    first.get_or_insert_with(|| format!("{}: {}", label(run), number(moved.in_kernel)));
                    against = against.or(Some(*run));
                }
                in_kernel = in_kernel.max(moved.in_kernel);
                elsewhere = elsewhere.min(moved.elsewhere);
                if toy == Toy::Strong {
                    let right = collapsed(run)? == predicted(run, rank);
                    counted = (counted.0 + usize::from(right), counted.1 + 1);
                    if !right {
                        against = against.or(Some(*run));
                    }
                }
            }
            rows.push(json!({
                "projector": projector, "toy": toy.name(),
                "predicted": those.first().filter(|_| toy == Toy::Strong).map(|run| predicted(run, rank)),
                "collapsed directions": over_seeds(&those)?.to_json(),
            }));
        }
    }
    let holds = in_kernel <= STILL && counted.0 == counted.1;
    let summary = format!(
        "the kernel's part of the last layer moves by at most {} of it, the rest by at least {}; under strong noise as many directions collapse as predicted in {} of {} runs with r = 2, 3, 7, 8",
        number(in_kernel),
        number(elsewhere),
        counted.0,
        counted.1,
    );
    let control = Control::new(
        format!(
            "\"no gradient reaches what the projector keeps\": moved by at least {} of the layer, where {STILL:e} would pass",
            number(elsewhere)
        ),
        elsewhere > STILL,
    );
    Ok(Finding {
        verdict: if holds { Verdict::Holds } else { Verdict::Refuted },
        summary,
        evidence: Map::new(),
        hypotheses: vec![Hypothesis::held("the projector is fixed (by construction)")],
        control,
        counterexample: against.map(|run| Counterexample::Plan(run.to_toml())),
    }
    .with("fixed projectors", rows)
    .with("first movement in a kernel beyond rounding", json!(first)))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::runs;
    use super::*;

    #[test]
    fn the_kernel_of_a_fixed_projector_gets_no_gradient_and_what_it_keeps_does() {
        let all = ["repeats=1", "dynamics.steps=50", "observe.times.times=[2.5]"];
        for run in runs(&PROJECTORS, &all) {
            if !FIXED.iter().any(|(name, _)| *name == label(&run)) {
                continue;
            }
            let moved = Moved::of(&run).unwrap();
            assert!(moved.in_kernel <= STILL, "{}: {}", label(&run), moved.in_kernel);
            assert!(moved.elsewhere > 0.1, "{}: {}", label(&run), moved.elsewhere);
        }
    }
}
