//! InfoNCE with dot products, the loss of the authors' released toy code.

use super::directed::Queries;
use super::pairwise::{ColumnSum, Pairwise, resize};
use super::vectors::Instructions;
use super::{Evaluation, REDUCTION, TEMPERATURE, Workspace, dot, reference_dot, reference_row};
use crate::matrix::{Destination, View, product};
use crate::real::Real;
use crate::settings::Kind;

pub(super) const KIND: Kind = Kind {
    name: "infonce-dot",
    keys: &[TEMPERATURE, REDUCTION],
    about: "Cross-entropy of the logits z_i·z'_j / τ with the matching pair as label, first view against second only; not normalised",
    source: "released code of Jing et al. 2022 (facebookresearch/directclr)",
};

/// Cross-entropy with the matching pair as label, one direction:
///
/// ```text
/// L = -Σ_i log [ exp(z_i·z'_i/τ) / Σ_j exp(z_i·z'_j/τ) ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfonceDot {
    /// τ.
    pub temperature: f64,
}

impl InfonceDot {
    pub(super) fn combine(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        factor: f64,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Evaluation {
        let (queries, keys) = embeddings.split_at(embeddings.len() / 2);
        let problem = Queries {
            dim,
            payload_dim: payload.map_or(dim, |(_, p)| p),
            queries,
            keys,
            scale: 1.0 / self.temperature,
            payloads: payload.map(|(columns, _)| columns.split_at(columns.len() / 2)),
        };
        let (of_queries, of_keys) = out.split_at_mut(out.len() / 2);
        Evaluation { loss: directed(&problem, factor, workspace, of_queries, of_keys), shorter_than_floor: 0 }
    }

    /// See [`super::Loss::half_of_x`]: S = -Σ_i (Σ_{j≠i} α_ij (x'_j - x'_i)) x_iᵀ / τ.
    pub(super) fn half_of_x(
        &self,
        embeddings: &[f64],
        dim: usize,
        (inputs, p): (&[f64], usize),
        factor: f64,
        workspace: &mut Workspace,
        half: &mut [f64],
    ) -> Option<Evaluation> {
        let instructions = Instructions::detect(dim.max(p))?;
        let Workspace { directed, pulls, .. } = workspace;
        let (queries, keys) = embeddings.split_at(embeddings.len() / 2);
        let (first, second) = inputs.split_at(inputs.len() / 2);
        let scale = 1.0 / self.temperature;
        let problem = Queries { dim, payload_dim: p, queries, keys, scale, payloads: Some((first, second)) };
        resize(pulls, first.len());
        let loss = directed.compute(instructions, &problem, factor * scale, pulls, None)?;
        let count = first.len() / p;
        let inputs = View::new(first, p, count).transpose();
        let (half, of_one) = half.split_at_mut(p * p);
        product(half, Destination::Replace, -1.0, View::new(pulls, p, count), inputs);
        if !of_one.is_empty() {
            of_one.fill(0.0);
            for pull in pulls.chunks_exact(p) {
                of_one.iter_mut().zip(pull).for_each(|(sum, pull)| *sum -= pull);
            }
        }
        Some(Evaluation { loss, shorter_than_floor: 0 })
    }

    pub(super) fn reference<R: Real>(&self, first: &[Vec<R>], second: &[Vec<R>]) -> R {
        let temperature = R::from(self.temperature);
        let mut total = R::from(0.0);
        for (i, own) in first.iter().enumerate() {
            let logits: Vec<R> =
                second.iter().map(|other| reference_dot(own, other) / temperature.clone()).collect();
            total = total + reference_row(&logits, i);
        }
        total
    }
}

/// The loss Σ_i log Σ_j exp(l_ij) - l_ii of queries against keys; writes `factor` times its combinations for both.
pub(super) fn directed(
    problem: &Queries<'_>,
    factor: f64,
    workspace: &mut Workspace,
    of_queries: &mut [f64],
    of_keys: &mut [f64],
) -> f64 {
    let factor = factor * problem.scale;
    Instructions::detect(problem.dim.max(problem.payload_dim))
        .and_then(|instructions| {
            workspace.directed.compute(instructions, problem, factor, of_queries, Some(&mut *of_keys))
        })
        .unwrap_or_else(|| directed_of_any_size(problem, factor, workspace, of_queries, of_keys))
}

/// The same by the kernel for logits of any size.
pub(super) fn directed_of_any_size(
    problem: &Queries<'_>,
    factor: f64,
    workspace: &mut Workspace,
    of_queries: &mut [f64],
    of_keys: &mut [f64],
) -> f64 {
    let Workspace { sums, positive_logits, .. } = workspace;
    let (dim, payload_dim) = (problem.dim, problem.payload_dim);
    let (query_payload, key_payload) = problem.payloads();
    let pairs = problem.queries.chunks_exact(dim).zip(problem.keys.chunks_exact(dim));
    positive_logits.clear();
    positive_logits.extend(pairs.map(|(q, k)| dot(q, k) * problem.scale));
    let loss = sums.compute(&Pairwise {
        dim,
        payload_dim,
        count: positive_logits.len(),
        queries: problem.queries,
        keys: problem.keys,
        scale: problem.scale,
        key_bias: None,
        largest_logit: positive_logits.iter().fold(0.0, |largest, logit| largest.max(logit.abs())),
        positive_logits,
        row_payload: key_payload,
        column_payload: query_payload,
        original_payload: key_payload,
        column_sum: ColumnSum::Plain,
    });
    for (out, sum) in of_queries.iter_mut().zip(&sums.rows) {
        *out = factor * sum;
    }
    let columns = of_keys.chunks_exact_mut(payload_dim).zip(sums.columns.chunks_exact(payload_dim));
    let own = query_payload.chunks_exact(payload_dim).zip(&sums.negative_weight);
    for ((out, sum), (own, weight)) in columns.zip(own) {
        for ((out, sum), own) in out.iter_mut().zip(sum).zip(own) {
            *out = factor * (sum - weight * own);
        }
    }
    loss
}
