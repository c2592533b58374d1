//! Random batches and networks for the algebraic identities, and their hard cases: N = 2, d = 1, duplicate samples, equal
//! views, X with eigenvalues on both sides of 0, singular, wide and tall layers, saturated softmax rows.

use super::case::Level;
use super::identity::Instance;
use crate::encoder::{Activation, Network};
use crate::gradient::{Objective, referee};
use crate::loss::{InfonceCosine, InfonceDot, InfonceEuclidean, Loss, NORM_FLOOR, Reduction};
use crate::matrix::Matrix;
use crate::seed::{Seed, Stream};
use rand::Rng;
use rand::RngExt;
use rand_distr::StandardNormal;

/// Eq. 2, the loss of the paper's lemmas.
pub const EQ_2: Loss = Loss::Euclidean(InfonceEuclidean);

/// Instances of every kind at each level.
const ROUNDS: (u64, u64) = (3, 30);

/// A linear network and a batch of pairs of views.
#[derive(Clone, Debug)]
pub struct Batch {
    label: String,
    /// W_1 … W_L.
    pub layers: Vec<Matrix>,
    /// First views x_1 … x_N, one a column (d x N).
    pub x: Matrix,
    /// Second views x'_1 … x'_N (d x N).
    pub x2: Matrix,
}

impl Instance for Batch {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn matrices(&self) -> Vec<(String, Matrix)> {
        let layers = self.layers.iter().enumerate().map(|(l, w)| (format!("W{}", l + 1), w.clone()));
        layers.chain([("x".to_string(), self.x.clone()), ("x'".to_string(), self.x2.clone())]).collect()
    }
}

/// What Eq. 2 makes of a batch, by plain loops and in the paper's terms.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// z_i = W x_i (d_out x N).
    pub z: Matrix,
    /// z'_i = W x'_i (d_out x N).
    pub z2: Matrix,
    /// α_ij; α_ii is the weight of the own pair.
    pub alpha: Matrix,
    /// 1 - α_ii, as the sum of the other weights of its row.
    pub negative: Vec<f64>,
    /// The largest |logit|.
    pub largest_logit: f64,
}

impl Batch {
    /// A batch under a network of `layers`, with the first views `x` and the second views `x2`, one a column.
    pub fn new(label: impl Into<String>, layers: Vec<Matrix>, x: Matrix, x2: Matrix) -> Self {
        Batch { label: label.into(), layers, x, x2 }
    }

    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.x.ncols()
    }

    /// The end-to-end matrix W_L … W_1.
    pub fn end_to_end(&self) -> Matrix {
        self.layers.iter().skip(1).fold(self.layers[0].clone(), |product, layer| layer * product)
    }

    /// The weights of Eq. 2.
    pub fn softmax(&self) -> Softmax {
        let w = self.end_to_end();
        let (z, z2) = (&w * &self.x, &w * &self.x2);
        let n = self.count();
        let mut largest_logit = 0.0f64;
        let mut alpha = Matrix::zeros(n, n);
        let mut negative = Vec::with_capacity(n);
        for i in 0..n {
            let logits: Vec<f64> = (0..n)
                .map(|j| {
                    let other = if j == i { z2.column(i) } else { z.column(j) };
                    -0.5 * (z.column(i) - other).norm_squared()
                })
                .collect();
            let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            largest_logit = largest_logit.max(-logits.iter().copied().fold(f64::INFINITY, f64::min));
            let total: f64 = logits.iter().map(|logit| (logit - peak).exp()).sum();
            for j in 0..n {
                alpha[(i, j)] = (logits[j] - peak).exp() / total;
            }
            negative.push((0..n).filter(|&j| j != i).map(|j| alpha[(i, j)]).sum());
        }
        Softmax { z, z2, alpha, negative, largest_logit }
    }

    /// What rounding can make of Σ_i g_i x_iᵀ and of all that is summed from the same terms: 100 ε (1 + max |logit|) times
    /// the sum of the absolute terms. An exponential of a logit l has a relative error of about |l| ε, and the sums are
    /// short; 100 is what the engine's kernel promises as well.
    pub fn rounding(&self) -> f64 {
        self.rounding_through(&self.end_to_end())
    }

    /// The same, of the gradient of each layer: all products with layers round relative to the products of their absolute
    /// entries.
    pub fn rounding_of_layers(&self) -> Vec<f64> {
        let absolute: Vec<Matrix> = self.layers.iter().map(Matrix::abs).collect();
        let product = |layers: &[Matrix], dim: usize| {
            layers.iter().fold(Matrix::identity(dim, dim), |product, layer| layer * product)
        };
        let d = self.x.nrows();
        let rounding = self.rounding_through(&product(&absolute, d));
        (0..absolute.len())
            .map(|l| {
                let (before, after) = (product(&absolute[..l], d), &absolute[l + 1..]);
                let after = product(after, absolute[l].nrows());
                let columns = after.row_sum().amax();
                rounding * columns * before.column_sum().amax()
            })
            .collect()
    }

    /// [`Batch::rounding`], where what cancels in the product of the layers is as large as `w`.
    fn rounding_through(&self, w: &Matrix) -> f64 {
        let softmax = self.softmax();
        let (z, z2) = (&softmax.z, &softmax.z2);
        let spread = |a: &Matrix, i: usize, b: &Matrix, j: usize| (a.column(i) - b.column(j)).amax();
        let mut terms = 0.0;
        for i in 0..self.count() {
            let (x, x2) = (self.x.column(i).amax(), self.x2.column(i).amax());
            terms += softmax.negative[i] * spread(z, i, z2, i) * (x + x2);
            for j in (0..self.count()).filter(|&j| j != i) {
                terms += softmax.alpha[(i, j)] * spread(z, i, z, j) * (x + self.x.column(j).amax());
            }
        }
        // Products with W round relative to |W| |x|, whatever they cancel to.
        let products = w.amax() * w.ncols() as f64 * self.x.amax().max(self.x2.amax());
        let through_products: f64 =
            softmax.negative.iter().sum::<f64>() * products * self.x.amax().max(self.x2.amax());
        100.0 * f64::EPSILON * (1.0 + softmax.largest_logit) * (terms + through_products)
    }

    /// The same for the d x d matrix X, which has no factor W.
    pub fn rounding_of_x(&self) -> f64 {
        let softmax = self.softmax();
        let size = self.x.amax().max(self.x2.amax());
        let terms = 4.0 * softmax.negative.iter().sum::<f64>() * size * size;
        100.0 * f64::EPSILON * (1.0 + softmax.largest_logit) * terms
    }

    /// What the engine makes of the batch, summed over samples.
    pub fn engine(&self) -> Engine {
        let (network, parameters) = self.network();
        let views = self.views();
        let mut objective = Objective::new(network, EQ_2, Reduction::Sum);
        let mut gradient = vec![0.0; parameters.len()];
        objective.evaluate(&parameters, &views, &mut gradient);
        let (x, _) = objective.x_matrix(&parameters, &views);
        let layers = objective.network.dense_layers();
        let gradients = layers.map(|(_, shape, offset)| Network::weights(shape, offset, &gradient)).collect();
        Engine { gradients, x }
    }

    /// The network with these layers and its parameters.
    pub fn network(&self) -> (Network, Vec<f64>) {
        Network::of_layers(&self.layers, Activation::Linear)
    }

    /// Both views side by side (d x 2N).
    pub fn views(&self) -> Vec<f64> {
        [self.x.as_slice(), self.x2.as_slice()].concat()
    }

    /// The gradient of Eq. 2, summed over samples, with respect to every layer: dual numbers through the definition of the
    /// loss, which know nothing of the formulas on trial. Cost: O(N² d) for each parameter.
    pub fn layer_gradients(&self) -> Vec<Matrix> {
        let (network, parameters) = self.network();
        let views = self.views();
        let gradient: Vec<f64> = (0..parameters.len())
            .map(|index| {
                referee::derivative::<f64>(&network, &EQ_2, Reduction::Sum, &parameters, &views, index)
            })
            .collect();
        network.dense_layers().map(|(_, shape, offset)| Network::weights(shape, offset, &gradient)).collect()
    }

    /// Ẇ_l of gradient flow: the negative gradient of each layer.
    pub fn velocities(&self) -> Vec<Matrix> {
        self.layer_gradients().into_iter().map(|gradient| -gradient).collect()
    }

    /// G, the same with respect to the end-to-end matrix.
    pub fn end_to_end_gradient(&self) -> Matrix {
        let one_layer = Batch { layers: vec![self.end_to_end()], ..self.clone() };
        one_layer.layer_gradients().remove(0)
    }
}

/// Instances of every kind at this level.
pub fn rounds(level: Level) -> u64 {
    match level {
        Level::Quick => ROUNDS.0,
        Level::Full => ROUNDS.1,
    }
}

/// What the engine computes.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The gradient of each layer.
    pub gradients: Vec<Matrix>,
    /// X with G = -W X.
    pub x: Matrix,
}

/// What rounding can make of a loss of these embeddings (d x 2N), summed over samples, and of an entry of its gradient with
/// respect to each of them: 100 ε (1 + max |logit|) of the sum of the absolute terms, as the kernel promises. An embedding
/// occurs in at most 2N logits, each of which has a derivative of the size of an embedding, or of 1/|z| for unit vectors.
pub fn rounding_of_loss(loss: &Loss, embeddings: &Matrix) -> (f64, Vec<f64>) {
    let norms: Vec<f64> = embeddings.column_iter().map(|column| column.norm()).collect();
    let size = norms.iter().copied().fold(0.0, f64::max);
    let slope = |norm: f64| match loss {
        Loss::Euclidean(_) => 4.0 * size,
        Loss::Dot(InfonceDot { temperature }) => 2.0 * size / temperature,
        Loss::Cosine(InfonceCosine { temperature, .. }) => 4.0 / (temperature * norm.max(NORM_FLOOR)),
    };
    let logit = match loss {
        Loss::Euclidean(_) => 2.0 * size * size,
        Loss::Dot(InfonceDot { temperature }) => size * size / temperature,
        Loss::Cosine(InfonceCosine { temperature, .. }) => 1.0 / temperature,
    };
    let unit = 100.0 * f64::EPSILON * (1.0 + logit) * norms.len() as f64;
    (unit * (1.0 + logit), norms.iter().map(|norm| unit * slope(*norm)).collect())
}

/// Batches under networks of `depth` layers, of every kind.
pub fn batches(level: Level, depth: usize) -> Vec<Batch> {
    let rounds = rounds(level);
    (0..rounds).flat_map(|round| (0..KINDS.len()).map(move |kind| batch(kind, round, depth))).collect()
}

/// Kind, d, d_out, N.
const KINDS: &[(&str, usize, usize, usize)] = &[
    ("generic", 3, 3, 6),
    ("N = 2, d = 1", 1, 1, 2),
    ("N = 2", 2, 2, 2),
    ("d = 1", 1, 1, 5),
    ("wide layers", 4, 2, 5),
    ("tall layers", 2, 4, 5),
    ("duplicate samples", 3, 3, 6),
    ("equal views", 3, 3, 5),
    ("strong noise", 3, 3, 6),
    ("noise on one coordinate", 3, 3, 6),
    ("singular layers", 4, 4, 6),
    ("saturated rows", 3, 3, 6),
    ("tiny weights", 3, 3, 6),
];

/// The batch of this kind and round.
fn batch(kind: usize, round: u64, depth: usize) -> Batch {
    let (name, d, d_out, n) = KINDS[kind];
    let mut generator =
        Seed { seed: 1_000 * depth as u64 + kind as u64, repeat: round }.generator(Stream::Data, 0);
    let mut normals =
        |rows: usize, columns: usize| Matrix::from_fn(rows, columns, |_, _| generator.sample(StandardNormal));
    let scale = match name {
        "saturated rows" => 4.0,
        "tiny weights" => 1e-4,
        _ => 0.7,
    };
    let widths: Vec<usize> = std::iter::once(d).chain(std::iter::repeat_n(d_out, depth)).collect();
    let mut layers: Vec<Matrix> = widths.windows(2).map(|w| normals(w[1], w[0]) * scale).collect();
    if name == "singular layers" {
        for layer in &mut layers {
            let copy = layer.column(0).into_owned();
            layer.set_column(1, &copy);
        }
    }
    let mut x = normals(d, n);
    if name == "duplicate samples" {
        let copy = x.column(0).into_owned();
        x.set_column(1, &copy);
    }
    let noise = match name {
        "equal views" => Matrix::zeros(d, n),
        "strong noise" => normals(d, n) * 3.0,
        "noise on one coordinate" => {
            Matrix::from_fn(d, n, |i, _| f64::from(i == d - 1)).component_mul(&(normals(d, n) * 3.0))
        }
        _ => normals(d, n) * 0.5,
    };
    let x2 = &x + noise;
    Batch { label: format!("{name}, {depth} layers, round {round}"), layers, x, x2 }
}

/// An orthogonal matrix, uniform on the group.
pub fn orthogonal(generator: &mut impl Rng, dim: usize) -> Matrix {
    crate::matrix::random_orthogonal(Matrix::from_fn(dim, dim, |_, _| generator.sample(StandardNormal)))
}
