//! Two layers with given singular values, and two layers at the end of short training: the instances of the lemmas on
//! singular values and vectors.

use super::case::{Case, NeededExperiment, Run, Source};
use super::identity::{Formula, tally};
use super::instances::{Batch, orthogonal, rounds};
use crate::experiment;
use crate::matrix::Matrix;
use crate::seed::{Seed, Stream};
use crate::stream::full_batch;
use rand::RngExt;
use rand_distr::StandardNormal;
use serde_json::Value;

/// Short training of two layers on few samples, so that dual numbers differentiate its end state at once.
pub const TRAINED: NeededExperiment = NeededExperiment {
    name: "two_layers_trained_shortly",
    source: Source::Text(
        r#"
title    = "Two layers after short training, as states on which lemmas are judged"
seed     = 20
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 12 }
augment  = { kind = "isotropic", variance = 0.3, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-8, atol = 1e-10, time_end = 3.0, max_steps = 20000 }
observe  = { times = { kind = "linear", count = 1 }, quantities = ["spectra"] }

[sweep]
"encoder.init" = [
    { kind = "gaussian", std = 0.5 },
    { kind = "spectrum", decay = 0.35 },
    { kind = "balanced", scale = 0.5, decay = 0.5, of = "product" },
]
"#,
    ),
    quick: &[],
    full: &["repeats=8"],
};

/// Name, widths, N, singular values of W1 and of W2.
pub type Kind = (&'static str, [usize; 3], usize, &'static [f64], &'static [f64]);

const KINDS: &[Kind] = &[
    ("distinct singular values", [3, 3, 3], 5, &[1.2, 0.8, 0.4], &[1.0, 0.7, 0.3]),
    ("gaps of 1e-2", [3, 3, 3], 5, &[1.0, 0.99, 0.5], &[0.9, 0.6, 0.594]),
    ("gaps of 1e-4", [3, 3, 3], 5, &[1.0, 0.9999, 0.5], &[0.9, 0.6, 0.59994]),
    ("gaps of 1e-6", [3, 3, 3], 5, &[1.0, 0.999999, 0.5], &[0.9, 0.6, 0.5999994]),
    ("equal singular values", [3, 3, 3], 5, &[1.0, 1.0, 0.5], &[0.9, 0.6, 0.3]),
    ("a singular value of 0", [3, 3, 3], 5, &[1.2, 0.8, 0.0], &[1.0, 0.7, 0.0]),
    ("rank 1", [3, 3, 3], 5, &[1.2, 0.0, 0.0], &[1.0, 0.7, 0.3]),
    ("graded singular values", [3, 3, 3], 5, &[1.0, 1e-2, 1e-4], &[1e-3, 1.0, 1e-1]),
    ("N = 2", [2, 2, 2], 2, &[1.1, 0.6], &[0.8, 0.5]),
    ("d = 1", [1, 1, 1], 4, &[0.9], &[0.7]),
    ("wide, then tall", [4, 2, 3], 5, &[1.1, 0.6], &[0.8, 0.5]),
    ("tall, then wide", [2, 4, 3], 5, &[1.1, 0.6], &[1.2, 0.8, 0.4]),
];

/// Two layers with given singular values under random batches, and the states that short training ends in.
pub fn instances(case: &Case) -> Result<Vec<Batch>, String> {
    let rounds = rounds(case.level);
    let given = (0..rounds).flat_map(|round| (0..KINDS.len()).map(move |kind| batch(kind, round)));
    let mut batches: Vec<Batch> = given.collect();
    batches.extend(trained(case)?);
    Ok(batches)
}

/// What `formula` comes to on those of `instances` that training led to.
pub fn tally_of_trained(case: &Case, formula: &Formula<'_, Batch>) -> Result<Value, String> {
    tally(&trained(case)?, formula)
}

/// The batch of this kind and round.
fn batch(kind: usize, round: u64) -> Batch {
    let (name, [d, hidden, d_out], n, first, second) = KINDS[kind];
    let mut generator = Seed { seed: 40_000 + kind as u64, repeat: round }.generator(Stream::Data, 0);
    let w1 = with_singular_values(&orthogonal(&mut generator, hidden), first, &orthogonal(&mut generator, d));
    let w2 =
        with_singular_values(&orthogonal(&mut generator, d_out), second, &orthogonal(&mut generator, hidden));
    let mut normals =
        |rows: usize, columns: usize| Matrix::from_fn(rows, columns, |_, _| generator.sample(StandardNormal));
    let x = normals(d, n);
    let x2 = &x + 0.7 * normals(d, n);
    Batch::new(format!("{name}, round {round}"), vec![w1, w2], x, x2)
}

/// U S Vᵀ with the singular values `values` in S, padded with zeros; U (m x m), V (n x n).
pub fn with_singular_values(u: &Matrix, values: &[f64], v: &Matrix) -> Matrix {
    let rank = values.len();
    let scaled = Matrix::from_fn(u.nrows(), rank, |i, k| u[(i, k)] * values[k]);
    scaled * v.columns(0, rank).transpose()
}

/// The states in which the runs of [`TRAINED`] ended, with the batch that they were trained on.
fn trained(case: &Case) -> Result<Vec<Batch>, String> {
    case.runs(TRAINED.name)?.iter().map(state).collect()
}

fn state(run: &Run) -> Result<Batch, String> {
    let name = run.plan.directory_name();
    let prepared = run.plan.prepare().map_err(|problem| format!("{name}: {problem}"))?;
    let experiment::Source::Samples { data, augmentation } = &prepared.source else {
        return Err(format!("{name} has no samples"));
    };
    let views = full_batch(data, augmentation, run.plan.seed);
    let (x, x2) = views.split_at(views.len() / 2);
    let view = |values: &[f64]| Matrix::from_column_slice(data.dim, data.count(), values);
    Ok(Batch::new(format!("trained, {name}"), run.layers()?, view(x), view(x2)))
}
