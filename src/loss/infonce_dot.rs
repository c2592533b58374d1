//! InfoNCE with dot products, the loss of the authors' released toy code.

use super::pairwise::{ColumnSum, Pairwise};
use super::tile::Instructions;
use super::{Evaluation, REDUCTION, TEMPERATURE, Workspace, dot, reference_dot, reference_row};
use crate::real::Real;
use crate::settings::Kind;

pub(super) const KIND: Kind = Kind {
    name: "infonce-dot",
    keys: &[TEMPERATURE, REDUCTION],
    about: "Cross-entropy of the logits z_i·z'_j / τ with the matching pair as label, first view against second only; not normalised",
    source: "released code of Jing et al. 2022 (facebookresearch/directclr)",
};

/// Logits z_i·z'_j / τ, the matching pair as label, one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfonceDot {
    /// τ.
    pub temperature: f64,
}

/// Both views of one problem, or the parts of a matrix that belong to them, queries first.
pub(super) type Halves<'a> = (&'a [f64], &'a [f64]);

impl InfonceDot {
    pub(super) fn combine(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Evaluation {
        let (columns, payload_dim) = payload.unwrap_or((embeddings, dim));
        let views = embeddings.split_at(embeddings.len() / 2);
        let payloads = columns.split_at(columns.len() / 2);
        let (out_first, out_second) = out.split_at_mut(columns.len() / 2);
        let loss = self.directed(views, dim, payloads, payload_dim, workspace, out_first, out_second);
        Evaluation { loss, shorter_than_floor: 0 }
    }

    /// The loss of queries against keys, and its combinations for both.
    #[allow(clippy::too_many_arguments)] // one place where both directions of the cosine loss meet
    pub(super) fn directed(
        &self,
        (queries, keys): Halves<'_>,
        dim: usize,
        (query_payload, key_payload): Halves<'_>,
        payload_dim: usize,
        workspace: &mut Workspace,
        out_queries: &mut [f64],
        out_keys: &mut [f64],
    ) -> f64 {
        let Workspace { sums, directed, positive_logits, .. } = workspace;
        let inverse = 1.0 / self.temperature;
        positive_logits.clear();
        positive_logits
            .extend(queries.chunks_exact(dim).zip(keys.chunks_exact(dim)).map(|(q, k)| dot(q, k) * inverse));
        let problem = Pairwise {
            dim,
            payload_dim,
            count: queries.len() / dim,
            queries,
            keys,
            scale: inverse,
            key_bias: None,
            largest_logit: positive_logits.iter().fold(0.0, |largest, logit| largest.max(logit.abs())),
            positive_logits,
            row_payload: key_payload,
            column_payload: query_payload,
            original_payload: key_payload,
            column_sum: ColumnSum::Plain,
        };
        let instructions = Instructions::detect(dim.max(payload_dim));
        let loss = instructions
            .and_then(|instructions| directed.compute(instructions, &problem, sums))
            .unwrap_or_else(|| sums.compute(&problem));
        for (out, sum) in out_queries.iter_mut().zip(&sums.rows) {
            *out = sum * inverse;
        }
        let columns = out_keys.chunks_exact_mut(payload_dim).zip(sums.columns.chunks_exact(payload_dim));
        let own = query_payload.chunks_exact(payload_dim).zip(&sums.negative_weight);
        for ((out, sum), (own, weight)) in columns.zip(own) {
            for ((out, sum), own) in out.iter_mut().zip(sum).zip(own) {
                *out = (sum - weight * own) * inverse;
            }
        }
        loss
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
