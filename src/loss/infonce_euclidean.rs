//! InfoNCE with squared Euclidean distances (Eq. 2), the loss of the paper's theory.

use super::mutual::{MutualSide, Sums};
use super::pairwise::{
    CANCELLATION, ColumnSum, Pairwise, half_square_distances, kernel_row, resize, sum_differences,
};
use super::tile::{Pairs, SubtractOwn};
use super::vectors::Instructions;
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

/// Eq. 2, with logits among first views and for the positive pair, temperature 1:
///
/// ```text
/// L = -Σ_i log [ exp(-|z_i - z'_i|²/2) / (Σ_{j≠i} exp(-|z_i - z_j|²/2) + exp(-|z_i - z'_i|²/2)) ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfonceEuclidean;

/// The two weighted covariances of Lemma 2 and the weights of the positive pairs. They follow the reduction.
///
/// ```text
/// X = Σ̂0 - Σ̂1,  Σ̂0 = Σ_{i,j} α_ij (x_i - x_j)(x_i - x_j)ᵀ,  Σ̂1 = Σ_i (1 - α_ii)(x'_i - x_i)(x'_i - x_i)ᵀ
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCovariances {
    /// Σ̂0, the weighted data covariance.
    pub data: Matrix,
    /// Σ̂1, the weighted augmentation covariance.
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

/// Copies `columns` (d x N) less their mean, on which no difference depends.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn centre(columns: &[f64], dim: usize, mean: &mut Vec<f64>, out: &mut Vec<f64>) {
    resize(out, columns.len());
    let per_sample = 1.0 / (columns.len() / dim) as f64;
    mean.clear();
    mean.resize(dim, 0.0);
    for column in columns.chunks_exact(dim) {
        mean.iter_mut().zip(column).for_each(|(mean, value)| *mean += value * per_sample);
    }
    for (out, column) in out.chunks_exact_mut(dim).zip(columns.chunks_exact(dim)) {
        for ((out, value), mean) in out.iter_mut().zip(column).zip(&*mean) {
            *out = value - mean;
        }
    }
}

/// `columns` (d x 2N) less the mean of its first N columns.
pub(super) fn less_mean_of_first(columns: &[f64], dim: usize) -> Vec<f64> {
    let (mut mean, mut centred) = (Vec::new(), Vec::new());
    centre(&columns[..columns.len() / 2], dim, &mut mean, &mut centred);
    let second = columns[columns.len() / 2..].chunks_exact(dim);
    centred.extend(second.flat_map(|column| column.iter().zip(&mean).map(|(value, mean)| value - mean)));
    centred
}

/// Writes the logits -|z_i - z'_i|²/2 of the positive pairs.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn logits_of_pairs(first: &[f64], second: &[f64], dim: usize, logits: &mut [f64]) {
    let pairs = first.chunks_exact(dim).zip(second.chunks_exact(dim));
    for (logit, (z, z2)) in logits.iter_mut().zip(pairs) {
        *logit = -0.5 * square_distance(z, z2);
    }
}

/// Writes `factor` times what the sums over negative pairs and the positive pair give to both views.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn add_positive_pairs(
    pulls: &[f64],
    weights: &[f64],
    (first, second): (&[f64], &[f64]),
    (p, factor): (usize, f64),
    out: &mut [f64],
) {
    let (out_first, out_second) = out.split_at_mut(pulls.len());
    let outputs = out_first.chunks_exact_mut(p).zip(out_second.chunks_exact_mut(p));
    let views = first.chunks_exact(p).zip(second.chunks_exact(p));
    let samples = outputs.zip(views).zip(pulls.chunks_exact(p)).zip(weights);
    for ((((out_first, out_second), (first, second)), pulls), weight) in samples {
        for k in 0..p {
            let pull = weight * (first[k] - second[k]);
            out_first[k] = factor * (pulls[k] + pull);
            out_second[k] = -factor * pull;
        }
    }
}

/// Copies the first views less their mean, and what their payload is, to the workspace, and the logits of the positive pairs.
fn prepare(embeddings: &[f64], dim: usize, payload: Option<(&[f64], usize)>, workspace: &mut Workspace) {
    let Workspace { row: mean, embeddings: centred, payload: centred_payload, positive_logits, .. } =
        workspace;
    let (first, second) = embeddings.split_at(embeddings.len() / 2);
    centre(first, dim, mean, centred);
    if let Some((columns, p)) = payload {
        centre(&columns[..columns.len() / 2], p, mean, centred_payload);
    }
    resize(positive_logits, first.len() / dim);
    logits_of_pairs(first, second, dim, positive_logits);
}

/// Subtracts half of `weights`, one a point, times the points (p x N) from `sums`; writes Σ w x² of each coordinate to `terms`.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn subtract_half_of_own(sums: &mut [f64], points: &[f64], weights: &[f64], terms: &mut Vec<f64>) {
    let p = points.len() / weights.len();
    terms.clear();
    terms.resize(p, 0.0);
    for ((sums, point), weight) in sums.chunks_exact_mut(p).zip(points.chunks_exact(p)).zip(weights) {
        for ((sum, x), term) in sums.iter_mut().zip(point).zip(terms.iter_mut()) {
            let weighted = weight * x;
            *sum -= 0.5 * weighted;
            *term += weighted * x;
        }
    }
}

/// Writes the differences of both views (p x N) of each sample, and these times `weights`, one a sample.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn weigh_differences(
    views: &[f64],
    p: usize,
    weights: &[f64],
    differences: &mut [f64],
    weighted: &mut [f64],
) {
    let (first, second) = views.split_at(views.len() / 2);
    let outputs = differences.chunks_exact_mut(p).zip(weighted.chunks_exact_mut(p));
    let views = first.chunks_exact(p).zip(second.chunks_exact(p));
    for (((differences, weighted), (first, second)), weight) in outputs.zip(views).zip(weights) {
        for k in 0..p {
            differences[k] = second[k] - first[k];
            weighted[k] = weight * differences[k];
        }
    }
}

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

/// Whether a coordinate's absolute terms, of which `differences` sums some if any are known, may be too small against the numbers
/// that were subtracted to form `pull`.
fn are_small(pull: &[f64], own: &[f64], weight: f64, differences: &[f64], tolerated: f64) -> bool {
    pull.iter().zip(own).enumerate().any(|(k, (pull, own))| {
        let subtracted = weight * own;
        let terms = (pull + subtracted).abs().max(subtracted.abs());
        pull.abs().max(differences.get(k).copied().unwrap_or(0.0)) * tolerated < terms
    })
}

/// Half a square beyond which rounding could make a logit of the fast kernel positive by more than a hundredth.
const LARGEST_HALF_SQUARE: f64 = 1e12;

/// Logits in base 2: distances are those of points longer by this factor, the root of log2 e.
fn lengthening() -> f64 {
    std::f64::consts::LOG2_E.sqrt()
}

/// The weights of the kernel that computes each exponential of the symmetric matrix for both of its rows, in the workspace, the
/// weighted sums that are asked for, and the loss; nothing where a sample has all others, its own pair too, so far away that its
/// weights leave the range of numbers, or where logits overflow.
fn symmetric_weights(
    instructions: Instructions,
    dim: usize,
    payload_dim: Option<usize>,
    of_payloads: Sums,
    workspace: &mut Workspace,
) -> Option<f64> {
    let Workspace { mutual, sides, embeddings, payload, positive_logits, softmax, .. } = workspace;
    let side = &mut sides.0;
    side.load(dim, embeddings, lengthening(), payload_dim.map(|p| (payload.as_slice(), p)));
    side.set_half_squares(instructions);
    if side.largest_half_square() > LARGEST_HALF_SQUARE {
        return None;
    }
    mutual.kernel_sums(instructions, (side, side), Pairs::Unordered, of_payloads);
    let loss = softmax.compute(mutual.row_weights(), positive_logits);
    if loss.is_nan() {
        return None;
    }
    side.set_normalisers(&softmax.normalisers);
    mutual.weighted_sums(instructions, (side, side), Pairs::Unordered);
    Some(loss)
}

/// By what factor sums may be smaller than their terms after [`symmetric_weights`].
fn tolerated_cancellation(side: &MutualSide) -> f64 {
    // Largest |logit|, from below: the farthest sample is at least as far from some other one as it is from the mean.
    CANCELLATION * (1.0 + std::f64::consts::LN_2 * side.largest_half_square())
}

/// The sums by the kernel that computes each exponential of the symmetric matrix for both of its rows; nothing where
/// [`symmetric_weights`] gives nothing.
fn symmetric_sums(
    instructions: Instructions,
    dim: usize,
    payload_dim: Option<usize>,
    original: &[f64],
    workspace: &mut Workspace,
) -> Option<f64> {
    let loss = symmetric_weights(instructions, dim, payload_dim, Sums::Both, workspace)?;
    let Workspace { mutual, sides, embeddings, payload, softmax, .. } = workspace;
    let Workspace { pulls, row, differences, cancelled, .. } = workspace;
    let p = payload_dim.unwrap_or(dim);
    let centred = if payload_dim.is_some() { &*payload } else { &*embeddings };
    let normalisers = softmax.normalisers.as_slice();
    let count = normalisers.len();
    resize(pulls, p * count);
    mutual.write_rows(if payload_dim.is_some() { 1.0 } else { lengthening().recip() }, pulls);
    let weights = mutual.row_weights();
    let tolerated = tolerated_cancellation(&sides.0);
    let weights_of = |i: usize, among: usize, row: &mut Vec<f64>| {
        row.resize(among, 0.0);
        kernel_row(&embeddings[..among * dim], &embeddings[i * dim..(i + 1) * dim], row);
        for (weight, normaliser) in row.iter_mut().zip(normalisers) {
            *weight *= normalisers[i] + normaliser;
        }
    };
    instructions.run(SubtractOwn {
        sums: pulls,
        normalisers: None,
        weights,
        own: centred,
        tolerated,
        cancelled,
    });
    for &i in &*cancelled {
        let i = i as usize;
        let of_sample = i * p..(i + 1) * p;
        let (pull, own) = (&mut pulls[of_sample.clone()], &centred[of_sample]);
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
    let Workspace { pulls, softmax, row, .. } = workspace;
    let p = payload_dim.unwrap_or(dim);
    let centred = if payload_dim.is_some() { &*payload } else { &*embeddings };
    key_bias.clear();
    key_bias.extend(embeddings.chunks_exact(dim).map(|z| -0.5 * dot(z, z)));
    let count = key_bias.len();
    // From below: the farthest sample is at least as far from some other one as it is from the mean.
    let largest_logit = key_bias.iter().fold(0.0, |largest: f64, bias| largest.max(-bias));
    // Logits are taken relative to -|z_i|²/2, which is common to a row.
    positive_logits.iter_mut().zip(&*key_bias).for_each(|(logit, bias)| *logit -= bias);
    let loss = sums.compute(&Pairwise {
        dim,
        payload_dim: p,
        count,
        queries: embeddings,
        keys: embeddings,
        scale: 1.0,
        key_bias: Some(key_bias),
        largest_logit,
        positive_logits,
        row_payload: centred,
        column_payload: centred,
        original_payload: original,
        column_sum: ColumnSum::Differences,
    });
    pulls.clear();
    pulls.extend(sums.rows.iter().zip(&sums.columns).map(|(row, column)| row + column));
    let tolerated = CANCELLATION * (1.0 + largest_logit);
    for (i, pull) in pulls.chunks_exact_mut(p).enumerate() {
        let own = &centred[i * p..(i + 1) * p];
        let weight = sums.negative_weight[i] + sums.column_weight[i];
        if are_small(pull, own, weight, &[], tolerated) {
            // The weights, too, from differences: α_ij + α_ji.
            row.resize(count, 0.0);
            half_square_distances(embeddings, &embeddings[i * dim..(i + 1) * dim], row);
            // Totals are kept relative to -|z_i|²/2, as the logits are.
            let log_total = |j: usize| sums.log_totals[j] + key_bias[j];
            let of_row = log_total(i);
            for (j, value) in row.iter_mut().enumerate() {
                *value = (*value - of_row).exp() + (*value - log_total(j)).exp();
            }
            // Of its own difference, which is 0, it may be infinite.
            row[i] = 0.0;
            sum_differences(original, p, i, row, 1.0, pull);
        }
    }
    softmax.negative_weights.clone_from(&sums.negative_weight);
    loss
}

impl InfonceEuclidean {
    pub(super) fn combine(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        factor: f64,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Evaluation {
        let loss = self.sums(embeddings, dim, payload, workspace);
        let (columns, p) = payload.unwrap_or((embeddings, dim));
        let Workspace { pulls, softmax, .. } = workspace;
        let views = columns.split_at(columns.len() / 2);
        add_positive_pairs(pulls, &softmax.negative_weights, views, (p, factor), out);
        Evaluation { loss, shorter_than_floor: 0 }
    }

    /// See [`super::Loss::half_of_x`].
    ///
    /// With w_ij = α_ij + α_ji, and x less their mean: Σ_{i<j} w_ij (x_i - x_j)(x_i - x_j)ᵀ is S + Sᵀ of
    /// S = Σ_j (½ Σ_i w_ij x_j - Σ_{i<j} w_ij x_i) x_jᵀ. Where too many digits of one of its coordinates cancel it gives nothing.
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
        prepare(embeddings, dim, Some((inputs, p)), workspace);
        let loss = symmetric_weights(instructions, dim, Some(p), Sums::OfColumns, workspace)?;
        let Workspace { mutual, sides, payload: centred, softmax, pulls, row: terms, .. } = workspace;
        let count = inputs.len() / (2 * p);
        // No difference has a share in a 1.
        let (half, of_one) = half.split_at_mut(p * p);
        of_one.fill(0.0);
        resize(pulls, p * count);
        mutual.write_columns(1.0, pulls);
        subtract_half_of_own(pulls, centred, mutual.row_weights(), terms);
        let transposed = View::new(centred, p, count).transpose();
        product(half, Destination::Replace, -factor, View::new(pulls, p, count), transposed);
        let tolerated = tolerated_cancellation(&sides.0);
        let keeps_digits = |(k, term): (usize, &f64)| factor * term <= 2.0 * half[k * p + k] * tolerated;
        if !terms.iter().enumerate().all(keeps_digits) {
            return None;
        }
        let differences = centred;
        weigh_differences(inputs, p, &softmax.negative_weights, differences, pulls);
        let transposed = View::new(differences, p, count).transpose();
        product(half, Destination::Add, -0.5 * factor, View::new(pulls, p, count), transposed);
        Some(Evaluation { loss, shorter_than_floor: 0 })
    }

    /// Runs a kernel on centred copies of the first views, which it leaves in the workspace with Σ_j (α_ij + α_ji) (x_j - x_i) and
    /// 1 - α_ii.
    fn sums(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        workspace: &mut Workspace,
    ) -> f64 {
        let (columns, p) = payload.unwrap_or((embeddings, dim));
        let original = &columns[..columns.len() / 2];
        prepare(embeddings, dim, payload, workspace);
        let payload_dim = payload.map(|(_, p)| p);
        Instructions::detect(dim.max(p))
            .and_then(|instructions| symmetric_sums(instructions, dim, payload_dim, original, workspace))
            .unwrap_or_else(|| general_sums(dim, payload_dim, original, workspace))
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
        let Workspace { pulls, softmax, payload: centred, .. } = workspace;
        let negative_weight = &softmax.negative_weights;
        let factor = reduction.of_sum(count);
        // Σ̂0 = -Σ_i pull_i x_iᵀ, symmetric up to rounding.
        let mut data = Matrix::zeros(p, p);
        let transposed = View::new(centred, p, count).transpose();
        product(
            data.as_mut_slice(),
            Destination::Replace,
            -0.5 * factor,
            View::new(pulls, p, count),
            transposed,
        );
        let data = &data + data.transpose();
        let (mut differences, mut weighted) = (vec![0.0; p * count], vec![0.0; p * count]);
        weigh_differences(inputs, p, negative_weight, &mut differences, &mut weighted);
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
