//! DirectCLR and SimCLR with a fixed low-rank diagonal projector.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Counterexample, Finding};
use super::identity::{Checked, Discrepancy, Formula, Instance, required, tally};
use super::instances::{rounding_of_loss, rounds};
use super::statistics::{Median, number};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::loss::{Loss, NORM_FLOOR, Reduction, Workspace};
use crate::matrix::{Matrix, relative_difference};
use crate::seed::{Seed, Stream};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde_json::Map;

const PRINTED: &str =
    "L(r[0:d0]) = L(P r) for P = diag(1, …, 1, 0, …, 0) with d0 ones, and so all gradients and trajectories";
const SECOND_VALUE: &str = "P = diag(1, …, 1, ½, 0, …, 0) with d0 ones";

/// Encoders whose flow is smooth.
const SMOOTH: NeededExperiment = NeededExperiment {
    name: "directclr_and_its_projector",
    source: Source::Text(
        r#"
title    = "The loss on r[0:4] against a fixed diagonal projector with four ones"
seed     = 20
repeats  = 1
data     = { kind = "gaussian", dim = 6, samples = 64 }
augment  = { kind = "isotropic", variance = 0.3, sides = "two" }
encoder  = { kind = "linear", widths = [6, 8, 6], init = { kind = "gaussian", std = 0.5 }, projector = { kind = "subvector", dims = 4 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.05, steps = 100 }
observe  = { times = { kind = "linear", count = 1 }, quantities = ["loss"], samples = 32 }

[sweep]
"encoder.projector" = [
    { kind = "subvector", dims = 4 },
    { kind = "low-rank-diagonal", rank = 4 },
    { kind = "subvector", dims = 5 },
]
"encoder.kind" = ["linear", "tanh"]
"loss" = [
    { kind = "infonce-euclidean" },
    { kind = "infonce-dot", temperature = 0.5 },
    { kind = "infonce-cosine", temperature = 0.5, symmetric = true },
]
"dynamics" = [
    { kind = "flow", method = "tsit5", rtol = 1e-8, atol = 1e-10, time_end = 3.0, max_steps = 20000 },
    { kind = "sgd", rate = 0.05, steps = 100, batch = 16 },
]
"#,
    ),
    quick: &[],
    full: &["repeats=6"],
};

/// The same with ReLU, by descent: its flow slides along the kinks of the loss, where an adaptive method takes steps without end.
const RELU: NeededExperiment = NeededExperiment {
    name: "directclr_and_its_projector_relu",
    source: Source::Text(
        r#"
title    = "The loss on r[0:4] against a fixed diagonal projector with four ones, behind ReLU layers"
seed     = 20
repeats  = 1
data     = { kind = "gaussian", dim = 6, samples = 64 }
augment  = { kind = "isotropic", variance = 0.3, sides = "two" }
encoder  = { kind = "relu", widths = [6, 8, 6], init = { kind = "gaussian", std = 0.5 }, projector = { kind = "subvector", dims = 4 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.05, steps = 100 }
observe  = { times = { kind = "linear", count = 1 }, quantities = ["loss"], samples = 32 }

[sweep]
"encoder.projector" = [
    { kind = "subvector", dims = 4 },
    { kind = "low-rank-diagonal", rank = 4 },
    { kind = "subvector", dims = 5 },
]
"loss" = [
    { kind = "infonce-euclidean" },
    { kind = "infonce-dot", temperature = 0.5 },
    { kind = "infonce-cosine", temperature = 0.5, symmetric = true },
]
"dynamics" = [
    { kind = "gd", rate = 0.05, steps = 100 },
    { kind = "sgd", rate = 0.05, steps = 100, batch = 16 },
]
"#,
    ),
    quick: &[],
    full: &["repeats=6"],
};

pub(super) const CLAIM: Claim = Claim {
    id: "directclr-equivalence",
    source: "Section 6 and Table 2",
    statement: "InfoNCE on the sub-vector r[0:d0] trains as InfoNCE behind a fixed low-rank diagonal projector does.",
    formula: PRINTED,
    // Its proof is the identity of the loss; what it claims is that training is the same.
    evidence: Evidence::Trajectory,
    experiments: &[SMOOTH, RELU],
    judge: judge_all,
};

/// How far the weights of two runs may be apart, relative to them. The runs differ in the order of rounding alone, by some ε a
/// step; a few hundred steps and an amplification of 10³ by the dynamics give 10⁻¹⁰.
const SAME_RUN: f64 = 1e-10;

fn judge_all(case: &Case) -> Result<Finding, String> {
    let instances = instances(case);
    let same = Formula::new(PRINTED, &|r: &Representations| check(r, 0.0));
    let other = Formula::new(SECOND_VALUE, &|r: &Representations| check(r, 0.5));
    let identity = required(&instances, &same)?;
    let control = tally(&instances, &other)?;
    let failed = control["failed"].as_u64().unwrap_or(0);

    let runs: Vec<&Run> = case.runs(SMOOTH.name)?.iter().chain(case.runs(RELU.name)?).collect();
    let with = |projector: &str| -> Vec<&Run> {
        runs.iter().copied().filter(|run| projector_of(run) == projector).collect()
    };
    let (sub, diagonal, larger) = (with("subvector 4"), with("low-rank-diagonal 4"), with("subvector 5"));
    let (distance, run) = farthest(&sub, &diagonal)?;
    let others = distances(&sub, &larger)?;
    let nearest = others.iter().copied().fold(f64::INFINITY, f64::min);
    let verdict = if distance <= SAME_RUN { Verdict::Holds } else { Verdict::Refuted };
    let rejected = failed > 0 && nearest > SAME_RUN;
    Ok(Finding {
        verdict,
        summary: format!(
            "final weights of {} pairs of runs {}; loss and gradients on {} batches agree to rounding",
            sub.len(),
            match distance {
                0.0 => "are equal bit for bit".to_string(),
                _ => format!("agree to {} of themselves", number(distance)),
            },
            instances.len()
        ),
        evidence: Map::new(),
        hypotheses: Vec::new(),
        control: Control::new(
            format!(
                "{SECOND_VALUE}: fails on {failed} of {} batches; runs on r[0:5] instead of r[0:4] end {} away and farther",
                instances.len(),
                number(nearest)
            ),
            rejected,
        ),
        counterexample: (distance > SAME_RUN).then(|| Counterexample::Plan(run.to_toml())),
    }
    .with("formula", PRINTED)
    .with("identity", identity)
    .with("with_a_second_singular_value", control)
    .with("largest_relative_distance_of_weights", distance)
    .with("relative_distance_with_another_subset", Median::of(others).to_string()))
}

/// Kind and size of a run's projector.
fn projector_of(run: &Run) -> String {
    let projector = run.plan.settings.table("encoder").table("projector");
    let size = if projector.kind() == "subvector" { "dims" } else { "rank" };
    format!("{} {}", projector.kind(), projector.integer(size))
}

/// The relative distance of the final weights of runs that differ in the projector alone.
fn distances(some: &[&Run], others: &[&Run]) -> Result<Vec<f64>, String> {
    if some.is_empty() || some.len() != others.len() {
        return Err(format!("{} runs against {}", some.len(), others.len()));
    }
    some.iter().map(|run| distance(run, partner(run, others)?)).collect()
}

/// The largest of these distances, and where it is.
fn farthest<'a>(some: &[&'a Run], others: &[&Run]) -> Result<(f64, &'a Run), String> {
    let distances = distances(some, others)?;
    let pairs = distances.into_iter().zip(some.iter().copied());
    pairs.reduce(|a, b| if b.0 <= a.0 { a } else { b }).ok_or_else(|| "no runs".to_string())
}

/// The run among `others` with the same swept values and the same repeat but for the projector.
fn partner<'a>(run: &Run, others: &[&'a Run]) -> Result<&'a Run, String> {
    let key = |run: &Run| {
        let swept = run.plan.assignments.iter().filter(|a| *a.key != *"encoder.projector");
        let values: Vec<String> = swept.map(|a| format!("{}={}", a.key, a.value)).collect();
        (run.plan.settings.table("encoder").kind().to_string(), values, run.plan.seed.repeat)
    };
    let found = others.iter().find(|other| key(other) == key(run));
    found.copied().ok_or_else(|| format!("{} has no partner", run.plan.directory_name()))
}

fn distance(run: &Run, other: &Run) -> Result<f64, String> {
    let (layers, others) = (run.layers()?, other.layers()?);
    Ok(layers.iter().zip(&others).map(|(a, b)| relative_difference(a, b)).fold(0.0, f64::max))
}

/// Representations of a batch of pairs of views, and a loss that sees the first d0 components of each.
#[derive(Clone, Debug)]
pub struct Representations {
    /// What they are.
    pub label: String,
    /// r of first and second views (d x 2N).
    pub r: Matrix,
    /// d0.
    pub kept: usize,
    /// The loss.
    pub loss: Loss,
}

impl Instance for Representations {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn matrices(&self) -> Vec<(String, Matrix)> {
        vec![("r".to_string(), self.r.clone())]
    }
}

/// Loss and gradient with respect to r on `r[0:d0]`, against those of P r with P = diag(1, …, 1, `next`, 0, …, 0).
pub fn check(representations: &Representations, next: f64) -> Checked {
    let Representations { r, kept, loss, .. } = representations;
    let evaluate = |z: &Matrix| {
        let mut gradient = Matrix::zeros(z.nrows(), z.ncols());
        let workspace = &mut Workspace::default();
        let value =
            loss.evaluate(z.as_slice(), z.nrows(), Reduction::Sum, workspace, gradient.as_mut_slice());
        (value.loss, gradient)
    };
    let (value, of_part) = evaluate(&r.rows(0, *kept).into_owned());
    let diagonal = |k: usize| match k {
        k if k < *kept => 1.0,
        k if k == *kept => next,
        _ => 0.0,
    };
    let project = |m: &Matrix| Matrix::from_fn(m.nrows(), m.ncols(), |k, i| diagonal(k) * m[(k, i)]);
    let (projected_value, gradient) = evaluate(&project(r));
    let behind = project(&gradient);
    let mut part = Matrix::zeros(r.nrows(), r.ncols());
    part.rows_mut(0, *kept).copy_from(&of_part);

    let (of_loss, of_columns) = rounding_of_loss(loss, &project(r));
    let mut worst = Discrepancy { error: (value - projected_value).abs(), allowed: of_loss };
    for (i, allowed) in of_columns.into_iter().enumerate() {
        let column = |m: &Matrix| m.columns(i, 1).into_owned();
        worst = worst.or(Discrepancy::between(&column(&part), &column(&behind), allowed));
    }
    Ok(Some(worst))
}

/// Name, d, d0, N.
const KINDS: &[(&str, usize, usize, usize)] = &[
    ("generic", 6, 3, 8),
    ("d0 = 1", 4, 1, 6),
    ("d0 = d - 1", 5, 4, 6),
    ("N = 2", 3, 2, 2),
    ("many", 40, 17, 33),
    ("duplicate samples", 6, 3, 8),
    ("zero vectors", 6, 3, 8),
    ("shorter than the floor", 6, 3, 8),
];

fn instances(case: &Case) -> Vec<Representations> {
    let losses = Loss::examples();
    (0..rounds(case.level))
        .flat_map(|round| (0..KINDS.len()).map(move |kind| (kind, round)))
        .flat_map(|(kind, round)| losses.iter().map(move |loss| representations(kind, round, *loss)))
        .collect()
}

fn representations(kind: usize, round: u64, loss: Loss) -> Representations {
    let (name, d, kept, n) = KINDS[kind];
    let mut generator = Seed { seed: 70_000 + kind as u64, repeat: round }.generator(Stream::Data, 0);
    let mut r = Matrix::from_fn(d, 2 * n, |_, _| generator.sample::<f64, _>(StandardNormal));
    match name {
        "duplicate samples" => {
            let copy = r.column(0).into_owned();
            r.set_column(1, &copy);
        }
        // What a ReLU leaves of an inactive sample.
        "zero vectors" => r.view_mut((0, 0), (kept, 2)).fill(0.0),
        "shorter than the floor" => r.view_mut((0, 0), (kept, 2)).scale_mut(0.1 * NORM_FLOOR),
        _ => {}
    }
    Representations { label: format!("{name}, {}, round {round}", loss.name()), r, kept, loss }
}
