//! InfoNCE with squared Euclidean distances (Eq. 2), the loss of the paper's theory.

use super::pairwise::{
    CANCELLATION, ColumnSum, Pairwise, Row, kernel_row, resize, subtract_own, sum_differences,
};
use super::tile::{Instructions, Pairs};
use super::{Evaluation, REDUCTION, Reduction, Workspace, dot, reference_row, square_distance};
use crate::matrix::{Destination, Matrix, View, product};
use crate::real::Real;
use crate::settings::Kind;

pub(super) const KIND: Kind = Kind {
    name: "infonce-euclidean",
    keys: &[REDUCTION],
    about: "-Σ_i log [ exp(-|z_i - z'_i|²/2) / (Σ_{j≠i} exp(-|z_i - z_j|²/2) + exp(-|z_i - z'_i|²/2)) ]; not normalised, the negatives are first views",
    source: "Jing et al. 2022, Eq. 2",
};

/// Eq. 2: logits -|z_i - z_j|²/2 among first views, -|z_i - z'_i|²/2 for the positive pair; temperature 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfonceEuclidean;

/// The two weighted covariances of Lemma 2 and the weights of the positive pairs. They follow the reduction.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCovariances {
    /// Σ̂0 = Σ_{i,j} α_ij (x_i - x_j)(x_i - x_j)ᵀ, the weighted data covariance.
    pub data: Matrix,
    /// Σ̂1 = Σ_i (1 - α_ii)(x'_i - x_i)(x'_i - x_i)ᵀ, the weighted augmentation covariance.
    pub augmentation: Matrix,
    /// 1 - α_ii, one a sample, as the sum of the other weights of its row.
    pub negative_weight: Vec<f64>,
}

impl WeightedCovariances {
    /// X = Σ̂0 - Σ̂1 (Lemma 2).
    pub fn x(&self) -> Matrix {
        &self.data - &self.augmentation
    }

    /// α_ii, one a sample.
    pub fn positive_weight(&self) -> Vec<f64> {
        self.negative_weight.iter().map(|weight| 1.0 - weight).collect()
    }
}

/// Copies `columns` (d x 2N) less the mean of its first N columns, on which no difference depends.
fn centre(columns: &[f64], dim: usize, mean: &mut Vec<f64>, out: &mut Vec<f64>) {
    out.clear();
    out.extend_from_slice(columns);
    let first = &columns[..columns.len() / 2];
    let per_sample = 1.0 / (first.len() / dim) as f64;
    mean.clear();
    mean.resize(dim, 0.0);
    for column in first.chunks_exact(dim) {
        mean.iter_mut().zip(column).for_each(|(mean, value)| *mean += value * per_sample);
    }
    for column in out.chunks_exact_mut(dim) {
        column.iter_mut().zip(&*mean).for_each(|(value, mean)| *value -= mean);
    }
}

/// Largest |logit|, from below: the farthest sample is at least as far from some other one as it is from the mean.
fn largest_logit(key_bias: &[f64]) -> f64 {
    key_bias.iter().fold(0.0, |largest, bias| largest.max(-bias))
}

/// A normaliser must not be smaller than this for the fast kernel: weights below 2^-1000 count as 0 there.
const SMALLEST_TOTAL: f64 = 1e-250;

/// Terms of a sum that are looked at before all of them are summed again.
const SAMPLED: usize = 64;

/// Writes Σ_j w_j |r_j - r| over as many points r_j as there are weights, coordinate by coordinate.
fn absolute_differences(payload: &[f64], own: &[f64], weights: &[f64], sums: &mut Vec<f64>) {
    sums.clear();
    sums.resize(own.len(), 0.0);
    for (other, weight) in payload.chunks_exact(own.len()).zip(weights) {
        for ((sum, r), o) in sums.iter_mut().zip(other).zip(own) {
            *sum += weight * (r - o).abs();
        }
    }
}

/// Whether a coordinate's absolute terms, of which `differences` sums some, may be too small against the numbers that were
/// subtracted to form `pull`.
fn are_small(pull: &[f64], own: &[f64], weight: f64, differences: &[f64], tolerated: f64) -> bool {
    pull.iter().zip(own).zip(differences).any(|((pull, own), differences)| {
        let subtracted = weight * own;
        let terms = (pull + subtracted).abs().max(subtracted.abs());
        pull.abs().max(*differences) * tolerated < terms
    })
}

/// The sums by the kernel that computes each exponential of the symmetric matrix for both of its rows; nothing where a sample has
/// all others, its own pair too, so far away that its weights leave the range of numbers, or where logits overflow.
fn symmetric_sums(
    instructions: Instructions,
    dim: usize,
    payload_dim: Option<usize>,
    original: &[f64],
    workspace: &mut Workspace,
) -> Option<f64> {
    // Logits in base 2: distances are those of points longer by this factor.
    let factor = std::f64::consts::LOG2_E.sqrt();
    let Workspace { mutual, sides, embeddings, payload, key_bias, positive_logits, .. } = workspace;
    let Workspace { pulls, negative_weight, normalisers, row, differences, .. } = workspace;
    let first = &embeddings[..embeddings.len() / 2];
    let count = key_bias.len();
    let p = payload_dim.unwrap_or(dim);
    let centred = if payload_dim.is_some() { &payload[..p * count] } else { first };
    let side = &mut sides.0;
    side.load(dim, first, factor, payload_dim.map(|p| (centred, p)));
    side.set_half_squares();
    mutual.kernel_sums(instructions, (side, side), Pairs::Unordered);
    negative_weight.clear();
    normalisers.clear();
    let mut loss = 0.0;
    for (negatives, positive) in mutual.row_weights().iter().zip(&*positive_logits) {
        let result = Row::new(*negatives, *positive);
        let total = result.normaliser.recip();
        if !(total >= SMALLEST_TOTAL && total.is_finite()) {
            return None;
        }
        loss += result.loss;
        negative_weight.push(result.negative_weight);
        normalisers.push(result.normaliser);
    }
    side.set_normalisers(normalisers);
    mutual.weighted_sums(instructions, (side, side), Pairs::Unordered);
    resize(pulls, p * count);
    mutual.write_rows(if payload_dim.is_some() { 1.0 } else { factor.recip() }, pulls);
    let weights = mutual.row_weights();
    let tolerated = CANCELLATION * (1.0 + largest_logit(key_bias));
    let weights_of = |i: usize, among: usize, row: &mut Vec<f64>| {
        row.resize(among, 0.0);
        kernel_row(&first[..among * dim], &first[i * dim..(i + 1) * dim], row);
        for (weight, normaliser) in row.iter_mut().zip(&*normalisers) {
            *weight *= normalisers[i] + normaliser;
        }
    };
    for (i, pull) in pulls.chunks_exact_mut(p).enumerate() {
        let own = &centred[i * p..(i + 1) * p];
        if !subtract_own(pull, own, weights[i], tolerated) {
            continue;
        }
        // Digits are lost only where the terms themselves are small, and a few of them may show that they are not.
        weights_of(i, SAMPLED.min(count), row);
        absolute_differences(centred, own, row, differences);
        if are_small(pull, own, weights[i], differences, tolerated) {
            weights_of(i, count, row);
            sum_differences(original, p, i, row, 1.0, pull);
        }
    }
    Some(loss)
}

/// The sums by the kernel for logits of any size.
fn general_sums(dim: usize, payload_dim: Option<usize>, original: &[f64], workspace: &mut Workspace) -> f64 {
    let Workspace { sums, embeddings, payload, key_bias, positive_logits, .. } = workspace;
    let Workspace { pulls, negative_weight, .. } = workspace;
    let first = &embeddings[..embeddings.len() / 2];
    let count = key_bias.len();
    let p = payload_dim.unwrap_or(dim);
    let centred = if payload_dim.is_some() { &payload[..p * count] } else { first };
    // Logits are taken relative to -|z_i|²/2, which is common to a row.
    positive_logits.iter_mut().zip(&*key_bias).for_each(|(logit, bias)| *logit -= bias);
    let loss = sums.compute(&Pairwise {
        dim,
        payload_dim: p,
        count,
        queries: first,
        keys: first,
        scale: 1.0,
        key_bias: Some(key_bias),
        largest_logit: largest_logit(key_bias),
        positive_logits,
        row_payload: centred,
        column_payload: centred,
        original_payload: original,
        column_sum: ColumnSum::Differences,
    });
    pulls.clear();
    pulls.extend(sums.rows.iter().zip(&sums.columns).map(|(row, column)| row + column));
    negative_weight.clone_from(&sums.negative_weight);
    loss
}

impl InfonceEuclidean {
    pub(super) fn combine(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Evaluation {
        let (loss, payload_dim) = self.sums(embeddings, dim, payload, workspace);
        let half = out.len() / 2;
        let (first, second) = payload.map_or(embeddings, |(inputs, _)| inputs).split_at(half);
        for (i, weight) in workspace.negative_weight.iter().enumerate() {
            for k in i * payload_dim..(i + 1) * payload_dim {
                let pull = weight * (first[k] - second[k]);
                out[k] = workspace.pulls[k] + pull;
                out[half + k] = -pull;
            }
        }
        Evaluation { loss, shorter_than_floor: 0 }
    }

    /// Runs a kernel on centred copies, which it leaves in the workspace with Σ_j (α_ij + α_ji) (x_j - x_i) and 1 - α_ii.
    fn sums(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        workspace: &mut Workspace,
    ) -> (f64, usize) {
        let count = embeddings.len() / (2 * dim);
        let original = payload.map_or(embeddings, |(inputs, _)| inputs);
        centre(embeddings, dim, &mut workspace.row, &mut workspace.embeddings);
        let payload_dim = payload.map_or(dim, |(_, p)| p);
        if let Some((inputs, p)) = payload {
            centre(inputs, p, &mut workspace.row, &mut workspace.payload);
        }
        let (first, second) = workspace.embeddings.split_at(dim * count);
        let key_bias = &mut workspace.key_bias;
        key_bias.clear();
        key_bias.extend(first.chunks_exact(dim).map(|z| -0.5 * dot(z, z)));
        let positive_logits = &mut workspace.positive_logits;
        positive_logits.clear();
        positive_logits.extend(
            first
                .chunks_exact(dim)
                .zip(second.chunks_exact(dim))
                .map(|(z, z2)| -0.5 * square_distance(z, z2)),
        );
        let original = &original[..payload_dim * count];
        let instructions = Instructions::detect(dim.max(payload_dim));
        let loss = instructions
            .and_then(|instructions| {
                symmetric_sums(instructions, dim, payload.map(|(_, p)| p), original, workspace)
            })
            .unwrap_or_else(|| general_sums(dim, payload.map(|(_, p)| p), original, workspace));
        (loss, payload_dim)
    }

    /// Σ̂0, Σ̂1 and the weights 1 - α_ii at the embeddings (d x 2N) of `inputs` (p x 2N).
    ///
    /// Cost: O(N² (d + p) + N p²); memory O(N).
    pub fn weighted_covariances(
        &self,
        embeddings: &[f64],
        dim: usize,
        inputs: &[f64],
        reduction: Reduction,
        workspace: &mut Workspace,
    ) -> WeightedCovariances {
        let count = embeddings.len() / (2 * dim);
        let p = inputs.len() / (2 * count);
        self.sums(embeddings, dim, Some((inputs, p)), workspace);
        let Workspace { pulls, negative_weight, payload: centred, .. } = workspace;
        let factor = match reduction {
            Reduction::Mean => 1.0 / count as f64,
            Reduction::Sum => 1.0,
        };
        let (first, second) = centred.split_at(p * count);
        // Σ̂0 = -Σ_i pull_i x_iᵀ, symmetric up to rounding.
        let mut data = Matrix::zeros(p, p);
        let transposed = View::new(first, p, count).transpose();
        product(
            data.as_mut_slice(),
            Destination::Replace,
            -0.5 * factor,
            View::new(pulls, p, count),
            transposed,
        );
        let data = &data + data.transpose();
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
        let weighted: Vec<f64> = differences
            .chunks_exact(p)
            .zip(&*negative_weight)
            .flat_map(|(difference, weight)| difference.iter().map(move |value| value * weight))
            .collect();
        let mut augmentation = Matrix::zeros(p, p);
        let transposed = View::new(&differences, p, count).transpose();
        let weighted = View::new(&weighted, p, count);
        product(augmentation.as_mut_slice(), Destination::Replace, factor, weighted, transposed);
        WeightedCovariances { data, augmentation, negative_weight: negative_weight.clone() }
    }

    /// Row i of α at the embeddings (d x 2N): N weights that sum to 1, α_ii that of the positive pair.
    pub fn softmax_row(&self, embeddings: &[f64], dim: usize, i: usize) -> Vec<f64> {
        let count = embeddings.len() / (2 * dim);
        let own = &embeddings[i * dim..(i + 1) * dim];
        let logits: Vec<f64> = (0..count)
            .map(|j| {
                let column = if j == i { count + i } else { j };
                let other = &embeddings[column * dim..(column + 1) * dim];
                -0.5 * own.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
            })
            .collect();
        let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.iter().map(|logit| (logit - peak).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    pub(super) fn reference<R: Real>(&self, first: &[Vec<R>], second: &[Vec<R>]) -> R {
        let logit = |a: &[R], b: &[R]| {
            a.iter().zip(b).fold(R::from(0.0), |sum, (a, b)| {
                let difference = a.clone() - b.clone();
                sum - difference.clone() * difference * R::from(0.5)
            })
        };
        let mut total = R::from(0.0);
        for (i, own) in first.iter().enumerate() {
            let logits: Vec<R> =
                (0..first.len()).map(|j| logit(own, if j == i { &second[i] } else { &first[j] })).collect();
            total = total + reference_row(&logits, i);
        }
        total
    }
}
