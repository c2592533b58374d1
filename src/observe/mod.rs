//! What is measured on a state: spectra with their floors, ranks, X, alignment, imbalance, uniformity.

mod alignment;
mod ranks;
mod uniformity;

pub use alignment::{KnownValues, alignment_matrix, alignment_score, resolved_part};
pub use ranks::{effective_rank, numerical_rank, participation_ratio, stable_rank};
pub use uniformity::view_distance_and_uniformity;

use crate::encoder::{Activations, Network, Output};
use crate::gradient::Objective;
use crate::loss::{Evaluation, Loss};
use crate::matrix::{self, DecompositionError, Matrix, Svd, triangular_factor};
use crate::record::Trajectory;

/// A group of measurements that an experiment file can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The loss.
    Loss,
    /// Singular values of layers, end-to-end matrix, embeddings and representations, with their floors.
    Spectra,
    /// Eigenvalues of X.
    X,
    /// Alignment matrices of adjacent layers and their scores.
    Alignment,
    /// Effective ranks of all spectra.
    Ranks,
    /// Imbalance of adjacent layers.
    Imbalance,
    /// Alignment and uniformity of Wang and Isola.
    Uniformity,
    /// The spectrum of the end-to-end matrix on the directions that carry noise.
    Augmented,
    /// The length of W along the direction of the bias.
    Bias,
    /// Exact solutions and limits beside what they predict.
    Theory,
    /// Distance from the population limit, and what it needs.
    Population,
    /// When small singular values recover.
    Lifetime,
    /// Whether the fixed batch is separable.
    Separability,
}

impl Quantity {
    /// The names that an experiment file uses.
    pub const NAMES: &'static [&'static str] = &[
        "loss",
        "spectra",
        "x",
        "alignment",
        "ranks",
        "imbalance",
        "uniformity",
        "augmented",
        "bias",
        "theory",
        "population",
        "lifetime",
        "separability",
    ];

    /// What each of [`Quantity::NAMES`] records.
    pub const ABOUT: &'static [&'static str] = &[
        "the loss, with the plan's reduction",
        "singular values of layers, end-to-end matrix, embeddings and representations, with their floors",
        "eigenvalues of X, the matrix with G = -W X",
        "alignment matrices of adjacent layers, and their scores",
        "effective, stable and numerical rank and participation ratio of every spectrum",
        "W_l W_lᵀ - W_{l+1}ᵀ W_{l+1} of adjacent layers",
        "alignment and uniformity of Wang and Isola 2020",
        "singular values of the end-to-end matrix on the directions that carry noise",
        "the length of the end-to-end matrix along the direction of the bias of the last layer",
        "what the exact theory predicts of the end-to-end matrix: its path where modes decouple, its limit, its rank",
        "loss and X of the population limit at the same weights, their distance, and the samples that the limit needs",
        "the times at which singular values of the end-to-end matrix reach half of their limit, measured and predicted",
        "bounds on the margin of the fixed batch, and whether it is separable",
    ];

    /// The quantity of this name.
    pub fn named(name: &str) -> Option<Quantity> {
        Some(match name {
            "loss" => Quantity::Loss,
            "spectra" => Quantity::Spectra,
            "x" => Quantity::X,
            "alignment" => Quantity::Alignment,
            "ranks" => Quantity::Ranks,
            "imbalance" => Quantity::Imbalance,
            "uniformity" => Quantity::Uniformity,
            "augmented" => Quantity::Augmented,
            "bias" => Quantity::Bias,
            "theory" => Quantity::Theory,
            "population" => Quantity::Population,
            "lifetime" => Quantity::Lifetime,
            "separability" => Quantity::Separability,
            _ => return None,
        })
    }
}

/// A loss as the observer sees it: a function of the parameters of a network.
pub trait Landscape {
    /// The network.
    fn network(&self) -> &Network;
    /// The loss.
    fn value(&mut self, parameters: &[f64]) -> Evaluation;
    /// X (d x d) with G = -W X, and the loss.
    fn x_matrix(&mut self, parameters: &[f64]) -> (Matrix, Evaluation);
    /// The size of the terms that X is summed from.
    fn x_terms(&self) -> f64;
    /// The embeddings (d x 2N) of the last call; empty where there are no samples.
    fn embeddings(&self) -> &[f64];
    /// The factor that makes the loss of N samples a mean.
    fn per_sample(&self, samples: f64) -> f64;
}

/// The loss of a batch.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Network and loss.
    pub objective: &'a mut Objective,
    /// What the loss sees, d x 2N.
    pub views: &'a [f64],
}

impl Landscape for Batch<'_> {
    fn network(&self) -> &Network {
        &self.objective.network
    }

    fn value(&mut self, parameters: &[f64]) -> Evaluation {
        self.objective.value(parameters, self.views)
    }

    fn x_matrix(&mut self, parameters: &[f64]) -> (Matrix, Evaluation) {
        self.objective.x_matrix(parameters, self.views)
    }

    /// Twice the mean squared distance of views from their mean.
    fn x_terms(&self) -> f64 {
        let dim = self.objective.network.input_dim();
        let factor = covariance_factor(self.views, dim, true);
        let samples = (self.views.len() / (2 * dim)) as f64;
        let reduced = self.objective.reduction.factor(1.0, samples);
        2.0 * factor.norm_squared() * reduced / temperature(&self.objective.loss)
    }

    fn embeddings(&self) -> &[f64] {
        self.objective.embeddings()
    }

    fn per_sample(&self, samples: f64) -> f64 {
        self.objective.reduction.factor(1.0, 1.0 / samples)
    }
}

/// What limits the accuracy of a state: the tolerances of the flow that led to it; 0 for gd and sgd, whose steps are exact
/// up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// Relative tolerance of a step.
    pub rtol: f64,
    /// Absolute tolerance of a step.
    pub atol: f64,
}

/// The inputs over which spectra of embeddings are taken.
///
/// For an affine network only their covariance matters: N columns shrink to d once and for all, and small singular
/// values come from a product of factors instead of N rounded embeddings.
#[derive(Debug)]
pub struct SpectrumInputs {
    inputs: Vec<f64>,
    /// R with RᵀR the covariance of the inputs, for an affine network.
    factor: Option<Matrix>,
    /// Spectral norm of the inputs' factor, by which errors of weights reach embeddings.
    scale: f64,
    activations: Activations,
}

/// R with RᵀR the covariance (divided by n) of the columns (d x n), from the factor itself.
fn covariance_factor(columns: &[f64], dim: usize, centred: bool) -> Matrix {
    let n = columns.len() / dim;
    let mut rows = Matrix::from_column_slice(dim, n, columns).transpose();
    for mut column in rows.column_iter_mut() {
        if centred {
            let mean = column.mean();
            column.add_scalar_mut(-mean);
        }
        column /= (n as f64).sqrt();
    }
    triangular_factor(&rows)
}

impl SpectrumInputs {
    /// `inputs` is d x n.
    pub fn new(network: &Network, inputs: Vec<f64>) -> Result<Self, DecompositionError> {
        let affine = network.is_affine();
        let factor = covariance_factor(&inputs, network.input_dim(), affine);
        let scale = matrix::spectral_norm(&factor)?;
        let (inputs, factor) = if affine { (Vec::new(), Some(factor)) } else { (inputs, None) };
        Ok(SpectrumInputs { inputs, factor, scale, activations: Activations::default() })
    }

    /// Of inputs of which only the covariance RᵀR is known, for an affine network.
    pub fn of_covariance(factor: Matrix) -> Result<Self, DecompositionError> {
        let scale = matrix::spectral_norm(&factor)?;
        Ok(SpectrumInputs {
            inputs: Vec::new(),
            factor: Some(factor),
            scale,
            activations: Activations::default(),
        })
    }

    /// Singular values of the covariance of representations or embeddings, descending.
    fn spectrum(&mut self, network: &Network, parameters: &[f64], which: Output) -> Vec<f64> {
        let factor = match &self.factor {
            Some(factor) => factor * network.end_to_end(parameters, which).transpose(),
            None => {
                network.forward(parameters, &self.inputs, &mut self.activations);
                let dim = match which {
                    Output::Representation => network.representation_dim(),
                    Output::Embedding => network.embedding_dim(),
                };
                covariance_factor(network.output(&self.activations, which), dim, true)
            }
        };
        let (rows, dim) = factor.shape();
        let roots = or_nan(matrix::singular_values(&factor), rows.min(dim));
        let mut values: Vec<f64> = roots.iter().map(|s| s * s).collect();
        // C is d x d whatever the number of inputs.
        values.resize(dim, 0.0);
        values
    }
}

/// The values, or as many NaN where there are none.
fn or_nan(values: Result<Vec<f64>, DecompositionError>, count: usize) -> Vec<f64> {
    values.unwrap_or_else(|_| vec![f64::NAN; count])
}

/// The layers of one network, decomposed.
struct Layer {
    label: String,
    stage: usize,
    weights: Matrix,
    values: Vec<f64>,
    /// Where singular vectors are wanted.
    svd: Option<Svd>,
    rounding: f64,
    floor: f64,
}

impl Layer {
    fn known(&self) -> KnownValues<'_> {
        KnownValues { values: &self.values, rounding: self.rounding, floor: self.floor }
    }
}

/// Relative growth of all layers by which the sensitivity of X is measured: small for a derivative, and large against
/// the rounding of X.
const GROWTH: f64 = 1.0 / 1024.0;

/// What is to be measured, and how accurately the states are known.
#[derive(Debug)]
pub struct Observer {
    /// The groups of measurements.
    pub quantities: Vec<Quantity>,
    /// What limits the accuracy of the states.
    pub accuracy: Accuracy,
    /// The inputs over which spectra of embeddings are taken.
    pub inputs: SpectrumInputs,
    /// An orthonormal basis (d x r) of the directions that carry noise.
    pub noisy_directions: Option<Matrix>,
}

impl Observer {
    fn wants(&self, quantity: Quantity) -> bool {
        self.quantities.contains(&quantity)
    }

    /// Measures the state `parameters` and adds a row to `trajectory`.
    ///
    /// `given_x` replaces the loss's X where a run prescribes one. Returns the number of embeddings shorter than the cosine loss's floor. What overflows although the weights are finite, such as
    /// the end-to-end matrix of huge layers, is recorded as NaN. Errors where a layer itself cannot be decomposed.
    pub fn measure(
        &mut self,
        landscape: &mut dyn Landscape,
        parameters: &[f64],
        given_x: Option<&Matrix>,
        (time, step): (f64, u64),
        trajectory: &mut Trajectory,
    ) -> Result<usize, DecompositionError> {
        let network = landscape.network().clone();
        let layers = self.layers(&network, parameters, step)?;
        // Everything that can fail is computed before the first row is written, so that columns keep one length.
        let spectra = self.spectra(&network, parameters, &layers, step);
        let mut shorter_than_floor = 0;
        let mut loss = None;
        let mut eig_x = None;
        let own_x = self.wants(Quantity::X) && given_x.is_none();
        if own_x {
            let grown: Vec<f64> = parameters.iter().map(|value| value * (1.0 + GROWTH)).collect();
            let (grown_x, _) = landscape.x_matrix(&grown);
            let (x, evaluation) = landscape.x_matrix(parameters);
            loss = Some(evaluation.loss);
            shorter_than_floor = evaluation.shorter_than_floor;
            let floor = self.x_floor(&x, &grown_x, landscape.x_terms(), parameters, step);
            eig_x = Some((or_nan(matrix::symmetric_eigenvalues(&x), x.nrows()), floor));
        } else if let (true, Some(x)) = (self.wants(Quantity::X), given_x) {
            let values = or_nan(matrix::symmetric_eigenvalues(x), x.nrows());
            let floor = f64::EPSILON * x.nrows() as f64 * x.amax();
            eig_x = Some((values, floor));
        }
        if loss.is_none() && (self.wants(Quantity::Loss) || self.wants(Quantity::Uniformity)) {
            let evaluation = landscape.value(parameters);
            loss = Some(evaluation.loss);
            shorter_than_floor = evaluation.shorter_than_floor;
        }

        trajectory.begin(time, step);
        if let (true, Some(loss)) = (self.wants(Quantity::Loss), loss) {
            trajectory.put_number("loss", loss);
        }
        if let Some((values, floor)) = eig_x {
            trajectory.put("eig_x", &[values.len()], &values);
            trajectory.put_number("floor_eig_x", floor);
        }
        for (name, values, floor) in &spectra {
            if self.wants(Quantity::Spectra) {
                trajectory.put(&format!("sigma_{name}"), &[values.len()], values);
                trajectory.put_number(&format!("floor_{name}"), *floor);
            }
            if self.wants(Quantity::Ranks) {
                trajectory.put_number(&format!("effective_rank_{name}"), effective_rank(values));
                trajectory.put_number(&format!("stable_rank_{name}"), stable_rank(values));
                trajectory.put_number(&format!("participation_ratio_{name}"), participation_ratio(values));
                trajectory.put_number(&format!("numerical_rank_{name}"), numerical_rank(values, *floor));
            }
        }
        if let (true, Some(noisy)) = (self.wants(Quantity::Augmented), &self.noisy_directions) {
            let total = network.end_to_end(parameters, Output::Embedding);
            let (rows, columns) = (total.nrows(), noisy.ncols());
            let values = or_nan(matrix::singular_values(&(total * noisy)), rows.min(columns));
            trajectory.put("sigma_augmented", &[values.len()], &values);
            trajectory
                .put_number("floor_augmented", through(&self.norms(&network, parameters, &layers, step)));
        }
        if let (true, Some(bias)) = (self.wants(Quantity::Bias), last_bias(&network, parameters)) {
            let total = network.end_to_end(parameters, Output::Embedding);
            let norm = bias.norm();
            trajectory.put_number("bias_norm", norm);
            trajectory.put_number("sigma_along_bias", (total.transpose() * bias).norm() / norm);
        }
        for pair in layers.windows(2).filter(|pair| pair[1].stage == pair[0].stage + 1) {
            let (inner, outer) = (&pair[0], &pair[1]);
            let labels = format!("{}_{}", inner.label, outer.label);
            if let (Some(inner_svd), Some(outer_svd)) = (&inner.svd, &outer.svd) {
                let alignment = alignment_matrix(inner_svd, outer_svd);
                let score = alignment_score(&alignment, inner.known(), outer.known());
                let resolved = resolved_part(inner.known(), outer.known());
                put_matrix(trajectory, &format!("alignment_{labels}"), &alignment);
                trajectory.put_number(&format!("alignment_score_{labels}"), score);
                trajectory.put_number(&format!("alignment_resolved_{labels}"), resolved);
            }
            if self.wants(Quantity::Imbalance) {
                put_matrix(
                    trajectory,
                    &format!("imbalance_{labels}"),
                    &imbalance(&inner.weights, &outer.weights),
                );
            }
        }
        if self.wants(Quantity::Uniformity) {
            let (distance, uniformity) =
                view_distance_and_uniformity(landscape.embeddings(), network.embedding_dim());
            trajectory.put_number("view_distance", distance);
            trajectory.put_number("uniformity", uniformity);
        }
        Ok(shorter_than_floor)
    }

    /// What rounding and the errors of the weights can do to the eigenvalues of X: to first order, by the change of X
    /// to `grown_x`, its value when all layers are larger by a relative [`GROWTH`], which scales every logit.
    fn x_floor(&self, x: &Matrix, grown_x: &Matrix, terms: f64, parameters: &[f64], step: u64) -> f64 {
        let sensitivity = (grown_x - x).norm() / GROWTH;
        let norm = parameters.iter().map(|value| value * value).sum::<f64>().sqrt();
        let relative = self.step_error(norm, parameters.len(), step) / norm.max(f64::MIN_POSITIVE);
        let rounding = f64::EPSILON * x.nrows() as f64;
        (rounding + relative) * sensitivity + rounding * terms
    }

    /// The error that steps have left in an array of this Frobenius norm and size: each admits its rounding and the
    /// tolerance, and they are taken as independent. What an unstable trajectory makes of them is not included.
    fn step_error(&self, norm: f64, size: usize, step: u64) -> f64 {
        let each = (f64::EPSILON + self.accuracy.rtol) * norm + self.accuracy.atol * (size as f64).sqrt();
        (step as f64).sqrt() * each
    }

    fn layers(
        &self,
        network: &Network,
        parameters: &[f64],
        step: u64,
    ) -> Result<Vec<Layer>, DecompositionError> {
        network
            .dense_layers()
            .map(|(stage, shape, offset)| {
                let weights = Network::weights(shape, offset, parameters);
                // Vectors cost half as much again, and values are the same without.
                let svd = self.wants(Quantity::Alignment).then(|| matrix::svd(&weights)).transpose()?;
                let values = match &svd {
                    Some(svd) => svd.values.clone(),
                    None => matrix::singular_values(&weights)?,
                };
                let (rows, columns) = weights.shape();
                let rounding = f64::EPSILON * rows.max(columns) as f64 * values[0];
                let floor = rounding + self.step_error(weights.norm(), rows * columns, step);
                let label = shape.name.trim_start_matches('W').to_lowercase();
                Ok(Layer { label, stage, weights, values, svd, rounding, floor })
            })
            .collect()
    }

    /// Spectral norm and floor of every trainable map.
    fn norms(&self, network: &Network, parameters: &[f64], layers: &[Layer], step: u64) -> Vec<(f64, f64)> {
        let mut all: Vec<(f64, f64)> = layers.iter().map(dense_norm).collect();
        for diagonal in network.diagonals(parameters) {
            let largest = diagonal.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            let norm = diagonal.iter().map(|value| value * value).sum::<f64>().sqrt();
            all.push((largest, self.step_error(norm, diagonal.len(), step)));
        }
        all
    }

    /// Name, values and floor of every spectrum.
    fn spectra(
        &mut self,
        network: &Network,
        parameters: &[f64],
        layers: &[Layer],
        step: u64,
    ) -> Vec<(String, Vec<f64>, f64)> {
        if !self.wants(Quantity::Spectra) && !self.wants(Quantity::Ranks) {
            return Vec::new();
        }
        let mut spectra: Vec<(String, Vec<f64>, f64)> = layers
            .iter()
            .map(|layer| {
                let name = if layer.label.starts_with('p') {
                    layer.label.clone()
                } else {
                    format!("w{}", layer.label)
                };
                (name, layer.values.clone(), layer.floor)
            })
            .collect();
        let all = self.norms(network, parameters, layers, step);
        let encoder: Vec<(f64, f64)> =
            layers.iter().filter(|layer| !layer.label.starts_with('p')).map(dense_norm).collect();
        let floor = through(&all);
        if network.is_affine() {
            let total = network.end_to_end(parameters, Output::Embedding);
            let values = or_nan(matrix::singular_values(&total), total.nrows().min(total.ncols()));
            spectra.push(("end_to_end".to_string(), values, floor));
        }
        let squared = |floor: f64, scale: f64| (floor * scale) * (floor * scale);
        let values = self.inputs.spectrum(network, parameters, Output::Embedding);
        spectra.push(("embedding".to_string(), values, squared(floor, self.inputs.scale)));
        if network.has_projector() {
            let floor = through(&encoder);
            let values = self.inputs.spectrum(network, parameters, Output::Representation);
            spectra.push(("representation".to_string(), values, squared(floor, self.inputs.scale)));
        }
        spectra
    }
}

fn dense_norm(layer: &Layer) -> (f64, f64) {
    (layer.values[0], layer.floor)
}

/// The floor of a product of maps with these spectral norms and floors: an error of one reaches it through the norms of
/// all others.
fn through(maps: &[(f64, f64)]) -> f64 {
    (0..maps.len())
        .map(|l| {
            let others = maps.iter().enumerate().filter(|(m, _)| *m != l).map(|(_, (norm, _))| norm);
            maps[l].1 * others.product::<f64>()
        })
        .sum()
}

/// The bias of the last layer, which is added to every embedding.
fn last_bias(network: &Network, parameters: &[f64]) -> Option<Matrix> {
    let (_, shape, _) = network.dense_layers().last()?;
    let name = shape.bias.then(|| shape.bias_name())?;
    network.named_parameters(parameters).into_iter().find(|(other, _)| *other == name).map(|(_, bias)| bias)
}

/// W_l W_lᵀ - W_{l+1}ᵀ W_{l+1}, which the flow of a linear network without biases conserves (Eq. 10).
pub fn imbalance(inner: &Matrix, outer: &Matrix) -> Matrix {
    inner * inner.transpose() - outer.transpose() * outer
}

fn put_matrix(trajectory: &mut Trajectory, name: &str, matrix: &Matrix) {
    // Row-major in files.
    trajectory.put(name, &[matrix.nrows(), matrix.ncols()], matrix.transpose().as_slice());
}

fn temperature(loss: &Loss) -> f64 {
    match loss {
        Loss::Euclidean(_) => 1.0,
        Loss::Dot(loss) => loss.temperature,
        Loss::Cosine(loss) => loss.temperature,
    }
}
