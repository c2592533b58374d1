//! Contrastive losses: values, gradients with respect to the embeddings, and the matrix X with G = -W X.
//!
//! All three are InfoNCE, one row i of logits at a time: -log(exp(l_ii) / Σ_j exp(l_ij)). Embeddings of the first
//! and the second view stand side by side in one column-major matrix of 2 N columns, z_1 … z_N z'_1 … z'_N.
//!
//! To add a loss: write its file (keys, value and gradient, plain reference), give it a variant of [`Loss`], and the
//! conformance suite in `tests/gradients.rs` picks it up through [`Loss::examples`].

mod directed;
mod infonce_cosine;
mod infonce_dot;
mod infonce_euclidean;
mod mutual;
mod pairwise;
mod softmax;
mod tile;
mod vectors;

use crate::matrix::{Destination, Matrix, View, product};
use crate::real::Real;
use crate::settings::{Key, Kind, Presence, Settings, ValueType};
pub use infonce_cosine::{InfonceCosine, NORM_FLOOR, norm};
pub use infonce_dot::InfonceDot;
pub use infonce_euclidean::{InfonceEuclidean, WeightedCovariances};

/// How the losses of the samples are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Divided by N, so that time does not depend on N.
    Mean,
    /// Summed, as Eq. 2 is printed.
    Sum,
}

impl Reduction {
    /// A mean over this many samples, as this reduction counts it.
    pub fn factor(self, of_mean: f64, samples: f64) -> f64 {
        match self {
            Reduction::Mean => of_mean,
            Reduction::Sum => of_mean * samples,
        }
    }

    /// What a sum over N samples is multiplied by.
    fn of_sum(self, samples: usize) -> f64 {
        match self {
            Reduction::Mean => 1.0 / samples as f64,
            Reduction::Sum => 1.0,
        }
    }
}

/// A contrastive loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Eq. 2.
    Euclidean(InfonceEuclidean),
    /// The released code's.
    Dot(InfonceDot),
    /// Of unit vectors.
    Cosine(InfonceCosine),
}

/// The temperature, as every loss that has one declares it.
const TEMPERATURE: Key = Key {
    name: "temperature",
    value: ValueType::POSITIVE,
    presence: Presence::Required,
    about: "Divides the logits",
};

const REDUCTION: Key = Key {
    name: "reduction",
    value: ValueType::Choice(&["mean", "sum"]),
    presence: Presence::Default(crate::settings::Constant::Text("mean")),
    about: "mean: per sample, so that time does not depend on N; sum: as Eq. 2 is printed",
};

/// The loss that real networks are trained with.
pub const COSINE: Kind = infonce_cosine::KIND;

/// The kinds of loss that an experiment file can name.
pub const KINDS: &[Kind] = &[infonce_euclidean::KIND, infonce_dot::KIND, infonce_cosine::KIND];

/// Value of a loss at one pair of views.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The loss, reduced.
    pub loss: f64,
    /// Embeddings shorter than [`NORM_FLOOR`] that were divided by it instead of their norm (cosine only).
    pub shorter_than_floor: usize,
}

/// Memory that evaluations share. While the shapes stay the same nothing is allocated but, from N = 1,024 on, a number a part of the work.
#[derive(Debug, Default)]
pub struct Workspace {
    sums: pairwise::PairwiseSums,
    directed: directed::Directed,
    mutual: mutual::MutualSums,
    sides: (mutual::MutualSide, mutual::MutualSide),
    softmax: softmax::Softmax,
    pulls: Vec<f64>,
    negative_weight: Vec<f64>,
    own_products: tile::Tiled,
    embeddings: Vec<f64>,
    payload: Vec<f64>,
    key_bias: Vec<f64>,
    positive_logits: Vec<f64>,
    norms: Vec<f64>,
    gradient: Vec<f64>,
    back: Vec<f64>,
    row: Vec<f64>,
    differences: Vec<f64>,
    cancelled: Vec<u32>,
}

impl Loss {
    /// Reads the table `loss` of an experiment file.
    pub fn from_settings(settings: &Settings) -> (Loss, Reduction) {
        let loss = match settings.kind() {
            "infonce-euclidean" => Loss::Euclidean(InfonceEuclidean),
            "infonce-dot" => Loss::Dot(InfonceDot { temperature: settings.number("temperature") }),
            _ => Loss::Cosine(InfonceCosine {
                temperature: settings.number("temperature"),
                symmetric: settings.flag("symmetric"),
            }),
        };
        let reduction = if settings.text("reduction") == "sum" { Reduction::Sum } else { Reduction::Mean };
        (loss, reduction)
    }

    /// One or more instances of every loss, for conformance suites.
    pub fn examples() -> Vec<Loss> {
        vec![
            Loss::Euclidean(InfonceEuclidean),
            Loss::Dot(InfonceDot { temperature: 0.7 }),
            Loss::Cosine(InfonceCosine { temperature: 0.5, symmetric: false }),
            Loss::Cosine(InfonceCosine { temperature: 0.5, symmetric: true }),
        ]
    }

    /// The name of this loss in experiment files.
    pub fn name(&self) -> &'static str {
        match self {
            Loss::Euclidean(_) => infonce_euclidean::KIND.name,
            Loss::Dot(_) => infonce_dot::KIND.name,
            Loss::Cosine(_) => infonce_cosine::KIND.name,
        }
    }

    /// The loss of `embeddings` (d x 2N) and its gradient with respect to them, written to `gradient` (d x 2N).
    ///
    /// The error of each element is at most 100 ε (1 + L) times the sum of its absolute terms, with L the largest Σ_k |q_k k_k| / τ
    /// of a logit q·k / τ, and of Eq. 2 the largest |logit|; terms whose weight is below 1e-200 may count as 0.
    ///
    /// Cost: N² exponentials and about 6 d N² flops; memory O(N). Panics unless N ≥ 2 and the lengths agree.
    pub fn evaluate(
        &self,
        embeddings: &[f64],
        dim: usize,
        reduction: Reduction,
        workspace: &mut Workspace,
        gradient: &mut [f64],
    ) -> Evaluation {
        self.combine(embeddings, dim, None, reduction, workspace, gradient)
    }

    /// The gradient's linear combinations of embeddings, applied to other columns instead.
    ///
    /// Each column of a loss's gradient is a combination of the embeddings with coefficients that depend on them.
    /// With z = W x these coefficients, applied to the inputs (`payload`, p x 2N), give H with G = W Σ h xᵀ.
    fn combine(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        reduction: Reduction,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Evaluation {
        let count = pairs_of_views(embeddings, dim);
        assert_eq!(out.len(), 2 * count * payload.map_or(dim, |(_, p)| p), "one output column an embedding");
        let factor = reduction.of_sum(count);
        let mut evaluation = match self {
            Loss::Euclidean(loss) => loss.combine(embeddings, dim, payload, factor, workspace, out),
            Loss::Dot(loss) => loss.combine(embeddings, dim, payload, factor, workspace, out),
            Loss::Cosine(loss) => loss.combine(embeddings, dim, payload, factor, workspace, out),
        };
        evaluation.loss *= factor;
        evaluation
    }

    /// Half of X: writes S (p x p) with X = S + Sᵀ, for `embeddings` and `inputs` as in [`Loss::x_matrix`], and returns the loss. With
    /// one column more (p x (p + 1)) it is that of inputs with a 1 behind them, of which the last row is zero: for encoders with biases.
    ///
    /// A pair of samples is summed on one side only, which is enough as X is symmetric: with dot products d + p multiply-adds a pair,
    /// where [`Loss::evaluate`] needs 3 d; under Eq. 2 half of 2 d + p, where it needs half of 4 d.
    ///
    /// Nothing is returned where no kernel does so: for the cosine loss, more than 64 coordinates, logits beyond the range of the
    /// fast kernels, and under Eq. 2 where inputs lie so much nearer to each other than to their mean that sums would cancel by
    /// more than 32 (1 + max |logit|). Rounding costs as many digits at most, of Σ w (x_i - x_j)² in each coordinate.
    pub fn half_of_x(
        &self,
        embeddings: &[f64],
        dim: usize,
        inputs: &[f64],
        reduction: Reduction,
        workspace: &mut Workspace,
        half: &mut Matrix,
    ) -> Option<Evaluation> {
        let count = pairs_of_views(embeddings, dim);
        let p = inputs.len() / (2 * count);
        assert_eq!((inputs.len(), half.nrows()), (2 * count * p, p), "one input an embedding");
        assert!(
            [p, p + 1].contains(&half.ncols()),
            "a column for each coordinate of the inputs, and for a 1"
        );
        let factor = reduction.of_sum(count);
        let (inputs, half) = ((inputs, p), half.as_mut_slice());
        let evaluation = match self {
            Loss::Euclidean(loss) => loss.half_of_x(embeddings, dim, inputs, factor, workspace, half),
            Loss::Dot(loss) => loss.half_of_x(embeddings, dim, inputs, factor, workspace, half),
            Loss::Cosine(_) => None,
        };
        evaluation.map(|evaluation| Evaluation { loss: factor * evaluation.loss, ..evaluation })
    }

    /// The symmetric matrix X (p x p) with G = -W X for a linear encoder without bias, and the loss.
    ///
    /// `inputs` are the views, p x 2N, and `embeddings` their images, d x 2N. Every loss here depends on the
    /// embeddings through inner products alone, hence on W through M = WᵀW, and X = -2 ∂L/∂M.
    ///
    /// Errors are relative to the sum of |x|² of the inputs, of Eq. 2 less their mean: where clusters are much tighter than they are far
    /// apart, X has fewer digits than the gradient.
    pub fn x_matrix(
        &self,
        embeddings: &[f64],
        dim: usize,
        inputs: &[f64],
        reduction: Reduction,
        workspace: &mut Workspace,
    ) -> (Matrix, Evaluation) {
        let columns = embeddings.len() / dim;
        let p = inputs.len() / columns;
        let mut x = Matrix::zeros(p, p);
        if let Some(evaluation) = self.half_of_x(embeddings, dim, inputs, reduction, workspace, &mut x) {
            return (&x + x.transpose(), evaluation);
        }
        let mut combined = vec![0.0; inputs.len()];
        let evaluation =
            self.combine(embeddings, dim, Some((inputs, p)), reduction, workspace, &mut combined);
        // Where the loss sees differences only, X is one of differences too: from far-off inputs it would lose digits.
        let centred = match self {
            Loss::Euclidean(_) => infonce_euclidean::less_mean_of_first(inputs, p),
            Loss::Dot(_) | Loss::Cosine(_) => inputs.to_vec(),
        };
        let inputs = View::new(&centred, p, columns);
        product(
            x.as_mut_slice(),
            Destination::Replace,
            -0.5,
            View::new(&combined, p, columns),
            inputs.transpose(),
        );
        (&x + x.transpose(), evaluation)
    }

    /// The loss by its definition, pair by pair, in any arithmetic: the referee of [`Loss::evaluate`].
    ///
    /// `first` and `second` hold N embeddings of d components each.
    pub fn reference<R: Real>(&self, first: &[Vec<R>], second: &[Vec<R>], reduction: Reduction) -> R {
        let sum = match self {
            Loss::Euclidean(loss) => loss.reference(first, second),
            Loss::Dot(loss) => loss.reference(first, second),
            Loss::Cosine(loss) => loss.reference(first, second),
        };
        match reduction {
            Reduction::Sum => sum,
            Reduction::Mean => sum * R::from(1.0 / first.len() as f64),
        }
    }
}

/// N of d x 2N embeddings. Panics unless N ≥ 2.
fn pairs_of_views(embeddings: &[f64], dim: usize) -> usize {
    let count = embeddings.len() / (2 * dim);
    assert!(
        count >= 2 && embeddings.len() == 2 * dim * count,
        "a contrastive loss needs N ≥ 2 pairs of views"
    );
    count
}

/// -log(exp(l_ii) / Σ_j exp(l_ij)) of one row of logits: log(1 + Σ_{j≠i} exp(l_ij - l_ii)) where l_ii is the largest, so
/// that derivatives of saturated rows do not cancel, and shifted by the largest elsewhere.
fn reference_row<R: Real>(logits: &[R], positive: usize) -> R {
    let mut peak = positive;
    for (j, logit) in logits.iter().enumerate() {
        if logit.value() > logits[peak].value() {
            peak = j;
        }
    }
    let others = logits.iter().enumerate().filter(|(j, _)| *j != peak).map(|(_, logit)| logit);
    let sum = others.fold(R::from(0.0), |sum, logit| sum + (logit.clone() - logits[peak].clone()).exp());
    let loss = (sum + R::from(1.0)).ln();
    if peak == positive { loss } else { loss + logits[peak].clone() - logits[positive].clone() }
}

fn reference_dot<R: Real>(a: &[R], b: &[R]) -> R {
    a.iter().zip(b).fold(R::from(0.0), |sum, (a, b)| sum + a.clone() * b.clone())
}

/// Σ_k term(a_k, b_k), in sums of its own for every eighth term, which the processor forms side by side.
#[inline(always)]
fn sum_of(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| term(*a, *b)).sum();
    for (a, b) in a.zip(b) {
        for k in 0..LANES {
            lanes[k] += term(a[k], b[k]);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_of(a, b, |a, b| a * b)
}

#[inline(always)]
fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    sum_of(a, b, |a, b| (a - b) * (a - b))
}

/// Normal points, some of them duplicates, for tests of kernels.
#[cfg(test)]
fn hard_case_points(dim: usize, count: usize, seed: u64) -> Vec<f64> {
    use rand::{RngExt, SeedableRng};
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut points: Vec<f64> =
        (0..dim * count).map(|_| generator.sample::<f64, _>(rand_distr::StandardNormal)).collect();
    let half = count / 2 * dim;
    points.copy_within(..dim.min(half), half);
    points
}
