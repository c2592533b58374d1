//! Encoders: stacks of dense layers, linear or not, and the projector behind them.
//!
//! A network maps inputs x to representations r = f(x) and these to embeddings z. All trainable numbers lie in one
//! flat vector, so that a network is a point that dynamics can move.

mod activation;
mod initialisation;
mod projector;

use crate::matrix::{self, Destination, Matrix, View, product};
use crate::seed::{Seed, Stream};
use crate::settings::{Constant, Key, Kind, Presence, Problem, Settings, ValueType};
pub use activation::Activation;
pub use initialisation::KINDS as INITIALISATIONS;
use initialisation::{Initialisation, LayerStart};
pub use projector::KINDS as PROJECTORS;
use rand::RngExt;
use rand_distr::StandardNormal;

/// Layers of an encoder: each takes several arrays in a record, of which an archive holds 65,535.
const MOST_LAYERS: usize = 1000;

const KEYS: &[Key] = &[
    Key {
        name: "widths",
        value: ValueType::Integers { min: 1, max: 1_000_000, at_least: 2 },
        presence: Presence::Required,
        about: "d_0, d_1, …, d_L: input width, then the output width of each layer",
    },
    Key {
        name: "bias",
        value: ValueType::Flag,
        presence: Presence::Default(Constant::Flag(false)),
        about: "Whether layers have biases",
    },
    Key {
        name: "bias_norm",
        value: ValueType::NON_NEGATIVE,
        presence: Presence::Optional,
        about: "Euclidean norm to which every bias is scaled at the start; a bias that starts at 0 gets a random direction",
    },
    Key {
        name: "init",
        value: ValueType::OneOf(initialisation::KINDS),
        presence: Presence::Required,
        about: "How the layers start",
    },
    Key {
        name: "projector",
        value: ValueType::OneOf(projector::KINDS),
        presence: Presence::Default(Constant::Table(&[("kind", Constant::Text("none"))])),
        about: "What stands between representation and embedding",
    },
];

/// The kinds of encoder that an experiment file can name.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "linear",
        keys: KEYS,
        about: "f(x) = W_L … W_1 x",
        source: "Jing et al. 2022, sections 4 and 5",
    },
    Kind {
        name: "relu",
        keys: KEYS,
        about: "Layers with max(0, h) between them, none after the last",
        source: "Jing et al. 2022, Figure 11b",
    },
    Kind {
        name: "tanh",
        keys: KEYS,
        about: "Layers with tanh(h) between them, none after the last",
        source: "",
    },
];

/// Shape and name of one dense trainable layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// W1 … WL in the encoder, P1 … in the projector.
    pub name: String,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Whether the layer has a bias.
    pub bias: bool,
}

impl Shape {
    /// The name of the layer's bias: b1 for W1.
    pub fn bias_name(&self) -> String {
        format!("b{}", &self.name[1..])
    }

    fn parameters(&self) -> usize {
        self.rows * self.columns + if self.bias { self.rows } else { 0 }
    }
}

/// One map of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Map {
    /// A trainable matrix (column-major at `offset` of the parameters), its bias behind it.
    Dense {
        /// Shape and name.
        shape: Shape,
        /// First parameter.
        offset: usize,
    },
    /// A fixed matrix.
    Fixed(Matrix),
    /// A trainable diagonal matrix at `offset` of the parameters.
    Diagonal {
        /// First parameter.
        offset: usize,
        /// Width.
        dim: usize,
    },
    /// The first `kept` of the inputs; with `width` outputs, the rest of which are 0.
    Keep {
        /// Components that pass.
        kept: usize,
        /// Width of the output.
        width: usize,
    },
}

/// A map and the activation behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The map.
    pub map: Map,
    /// Applied to its outputs.
    pub activation: Activation,
}

impl Stage {
    /// Width of the output, given that of the input.
    fn output(&self, input: usize) -> usize {
        match &self.map {
            Map::Dense { shape, .. } => shape.rows,
            Map::Fixed(matrix) => matrix.nrows(),
            Map::Diagonal { .. } => input,
            Map::Keep { width, .. } => *width,
        }
    }
}

/// An encoder with its projector.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    stages: Vec<Stage>,
    /// Widths before the first stage and after every stage.
    widths: Vec<usize>,
    /// Stages of the encoder; the others are the projector's.
    encoder_stages: usize,
    parameter_count: usize,
}

/// Scales `bias` to `norm`; a bias of zero takes its direction from `generator`.
fn scale_bias(bias: &mut [f64], norm: f64, generator: &mut impl rand::Rng) {
    if bias.iter().all(|value| *value == 0.0) {
        bias.iter_mut().for_each(|value| *value = generator.sample(StandardNormal));
    }
    let length = bias.iter().map(|value| value * value).sum::<f64>().sqrt();
    bias.iter_mut().for_each(|value| *value *= norm / length);
}

/// Values between the stages of a network, for one batch of columns.
#[derive(Debug, Default)]
pub struct Activations {
    /// Outputs of each stage, column-major.
    pub(crate) outputs: Vec<Vec<f64>>,
}

impl Network {
    /// Reads the table `encoder`, and draws the initial parameters and the projector's fixed factors.
    ///
    /// Errors are located in the experiment file.
    pub fn from_settings(settings: &Settings, seed: Seed) -> Result<(Network, Vec<f64>), Problem> {
        Network::check(settings)?;
        let widths = settings.integers("widths");
        let bias = settings.flag("bias");
        let activation = Activation::named(settings.kind());
        let chain: Vec<Shape> = widths
            .windows(2)
            .enumerate()
            .map(|(l, w)| Shape { name: format!("W{}", l + 1), rows: w[1], columns: w[0], bias })
            .collect();
        let init = settings.table("init");
        let mut layers = Initialisation::from_settings(init).draw(&chain, Stream::Init, seed, init)?;
        if let Some(norm) = settings.optional_number("bias_norm") {
            for (index, (_, bias)) in layers.iter_mut().enumerate() {
                let Some(bias) = bias else { continue };
                scale_bias(bias, norm, &mut seed.generator(Stream::Init, (1 << 33) + index as u64));
            }
        }
        let mut network =
            Network { stages: Vec::new(), widths: vec![widths[0]], encoder_stages: 0, parameter_count: 0 };
        let mut parameters = Vec::new();
        network.append_dense(chain, activation, layers, &mut parameters);
        network.encoder_stages = network.stages.len();
        let projector = settings.table("projector");
        let width = network.representation_dim();
        let gaussian = |counter: u64| {
            let mut generator = seed.generator(Stream::Projector, counter);
            Matrix::from_fn(width, width, |_, _| generator.sample(StandardNormal))
        };
        match projector.kind() {
            "none" => {}
            "trainable" => {
                let outputs =
                    projector.optional_integers("widths").map_or_else(|| vec![width], <[usize]>::to_vec);
                let inputs = std::iter::once(width).chain(outputs.iter().copied());
                let chain: Vec<Shape> = inputs
                    .zip(&outputs)
                    .enumerate()
                    .map(|(l, (columns, &rows))| Shape {
                        name: format!("P{}", l + 1),
                        rows,
                        columns,
                        bias: false,
                    })
                    .collect();
                let init = projector.table("init");
                let layers =
                    Initialisation::from_settings(init).draw(&chain, Stream::Projector, seed, init)?;
                let activation = Activation::named(projector.text("activation"));
                network.append_dense(chain, activation, layers, &mut parameters);
            }
            "orthogonal" => network.append(Map::Fixed(matrix::random_orthogonal(gaussian(0)))),
            "diagonal" => {
                network.append(Map::Diagonal { offset: parameters.len(), dim: width });
                parameters.extend(std::iter::repeat_n(1.0, width));
            }
            "low-rank" => {
                let rank = projector.integer("rank");
                let u = matrix::random_orthogonal(gaussian(0));
                let v = matrix::random_orthogonal(gaussian(1));
                network.append(Map::Fixed(u.columns(0, rank) * v.columns(0, rank).transpose()));
            }
            "low-rank-diagonal" => network.append(Map::Keep { kept: projector.integer("rank"), width }),
            _ => {
                let kept = projector.integer("dims");
                network.append(Map::Keep { kept, width: kept });
            }
        }
        network.parameter_count = parameters.len();
        Ok((network, parameters))
    }

    /// Whether the table `encoder` describes a network, without drawing it.
    pub fn check(settings: &Settings) -> Result<(), Problem> {
        let widths = settings.integers("widths");
        if widths.len() > MOST_LAYERS + 1 {
            let message = format!("{} layers; allowed: at most {MOST_LAYERS}", widths.len() - 1);
            return Err(settings.problem("widths", message));
        }
        Initialisation::check(settings.table("init"), widths.len() - 1)?;
        if settings.has("bias_norm") && !settings.flag("bias") {
            let message =
                "bias_norm scales biases, and this encoder has none; allowed: bias_norm with bias = true";
            return Err(settings.problem("bias_norm", message));
        }
        let width = widths[widths.len() - 1];
        let projector = settings.table("projector");
        let key = match projector.kind() {
            "trainable" => {
                let layers = projector.optional_integers("widths").map_or(1, <[usize]>::len);
                return Initialisation::check(projector.table("init"), layers);
            }
            "low-rank" | "low-rank-diagonal" => "rank",
            "subvector" => "dims",
            _ => return Ok(()),
        };
        let value = projector.integer(key);
        if value > width {
            let message = format!(
                "{key} = {value} is larger than the representation's width {width}; allowed: 1 to {width}"
            );
            return Err(projector.problem(key, message));
        }
        Ok(())
    }

    /// A network without projector from layers W1 … WL, first to last, and its parameters.
    ///
    /// Panics unless the widths chain.
    pub fn of_layers(layers: &[Matrix], activation: Activation) -> (Network, Vec<f64>) {
        let chain = layers
            .iter()
            .enumerate()
            .map(|(l, w)| Shape {
                name: format!("W{}", l + 1),
                rows: w.nrows(),
                columns: w.ncols(),
                bias: false,
            })
            .collect();
        let mut network = Network {
            stages: Vec::new(),
            widths: vec![layers[0].ncols()],
            encoder_stages: layers.len(),
            parameter_count: 0,
        };
        let mut parameters = Vec::new();
        let layers = layers.iter().map(|w| (w.clone(), None)).collect();
        network.append_dense(chain, activation, layers, &mut parameters);
        network.parameter_count = parameters.len();
        (network, parameters)
    }

    fn append(&mut self, map: Map) {
        let stage = Stage { map, activation: Activation::Linear };
        self.widths.push(stage.output(self.widths[self.widths.len() - 1]));
        self.stages.push(stage);
    }

    fn append_dense(
        &mut self,
        chain: Vec<Shape>,
        activation: Activation,
        layers: Vec<LayerStart>,
        parameters: &mut Vec<f64>,
    ) {
        let last = chain.len() - 1;
        for (l, (shape, (weights, bias))) in chain.into_iter().zip(layers).enumerate() {
            assert_eq!(self.widths[self.widths.len() - 1], shape.columns, "the widths of layers chain");
            self.append(Map::Dense { shape, offset: parameters.len() });
            if l < last {
                self.stages.last_mut().expect("just appended").activation = activation;
            }
            parameters.extend_from_slice(weights.as_slice());
            parameters.extend(bias.into_iter().flatten());
        }
    }

    /// The stages, first to last.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Number of trainable parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    /// Width of the input.
    pub fn input_dim(&self) -> usize {
        self.widths[0]
    }

    /// Width of the representation r.
    pub fn representation_dim(&self) -> usize {
        self.widths[self.encoder_stages]
    }

    /// Width of the embedding z.
    pub fn embedding_dim(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    /// Whether representation and embedding differ.
    pub fn has_projector(&self) -> bool {
        self.stages.len() > self.encoder_stages
    }

    /// Whether z is a linear function of x, up to a constant.
    pub fn is_affine(&self) -> bool {
        self.stages.iter().all(|stage| stage.activation == Activation::Linear)
    }

    /// Whether z = W x.
    pub fn is_linear(&self) -> bool {
        let biased = |stage: &Stage| matches!(&stage.map, Map::Dense { shape, .. } if shape.bias);
        self.is_affine() && !self.stages.iter().any(biased)
    }

    /// The dense trainable layers, first to last, with their position among the stages.
    pub fn dense_layers(&self) -> impl Iterator<Item = (usize, &Shape, usize)> {
        self.stages.iter().enumerate().filter_map(|(index, stage)| match &stage.map {
            Map::Dense { shape, offset } => Some((index, shape, *offset)),
            _ => None,
        })
    }

    /// The weights of a dense layer.
    pub fn weights(shape: &Shape, offset: usize, parameters: &[f64]) -> Matrix {
        let values = &parameters[offset..offset + shape.rows * shape.columns];
        Matrix::from_column_slice(shape.rows, shape.columns, values)
    }

    /// The trainable diagonals.
    pub fn diagonals<'a>(&'a self, parameters: &'a [f64]) -> impl Iterator<Item = &'a [f64]> {
        self.stages.iter().filter_map(|stage| match &stage.map {
            Map::Diagonal { offset, dim } => Some(&parameters[*offset..offset + dim]),
            _ => None,
        })
    }

    /// All trainable arrays by name, matrices as they are and vectors as one column.
    pub fn named_parameters(&self, parameters: &[f64]) -> Vec<(String, Matrix)> {
        let mut arrays = Vec::new();
        for stage in &self.stages {
            match &stage.map {
                Map::Dense { shape, offset } => {
                    arrays.push((shape.name.clone(), Network::weights(shape, *offset, parameters)));
                    if shape.bias {
                        let bias =
                            &parameters[offset + shape.rows * shape.columns..offset + shape.parameters()];
                        arrays.push((shape.bias_name(), Matrix::from_column_slice(shape.rows, 1, bias)));
                    }
                }
                Map::Diagonal { offset, dim } => {
                    let diagonal = &parameters[*offset..offset + dim];
                    arrays.push(("P1".to_string(), Matrix::from_column_slice(*dim, 1, diagonal)));
                }
                Map::Fixed(matrix) => arrays.push(("P1".to_string(), matrix.clone())),
                Map::Keep { .. } => {}
            }
        }
        arrays
    }

    /// The linear part of the map from x to r, or to z.
    ///
    /// Meaningful where [`Network::is_affine`] holds. Cost: O(L d³).
    pub fn end_to_end(&self, parameters: &[f64], to: Output) -> Matrix {
        let stages = match to {
            Output::Representation => &self.stages[..self.encoder_stages],
            Output::Embedding => &self.stages,
        };
        // The first matrix is taken as it is: an identity before it would be as large as the input is wide.
        let mut total: Option<Matrix> = None;
        for stage in stages {
            let (width, before) = (self.widths[0], total.take());
            let product = |matrix: Matrix| match &before {
                Some(before) => matrix * before,
                None => matrix,
            };
            total = Some(match &stage.map {
                Map::Dense { shape, offset } => product(Network::weights(shape, *offset, parameters)),
                Map::Fixed(matrix) => product(matrix.clone()),
                Map::Diagonal { offset, dim } => {
                    let diagonal = &parameters[*offset..offset + dim];
                    product(Matrix::from_diagonal(&nalgebra::DVector::from_column_slice(diagonal)))
                }
                Map::Keep { kept, width: outputs } => {
                    let before = before.unwrap_or_else(|| Matrix::identity(width, width));
                    let mut next = Matrix::zeros(*outputs, before.ncols());
                    next.rows_mut(0, *kept).copy_from(&before.rows(0, *kept));
                    next
                }
            });
        }
        total.unwrap_or_else(|| Matrix::identity(self.widths[0], self.widths[0]))
    }

    /// Runs the network on the columns of `inputs` (d x n), leaving every stage's outputs in `activations`.
    ///
    /// Allocates only when the shape differs from that of the last call. Cost: 2 n Σ d_l d_{l-1} flops.
    pub fn forward(&self, parameters: &[f64], inputs: &[f64], activations: &mut Activations) {
        let n = inputs.len() / self.widths[0];
        activations.outputs.resize_with(self.stages.len(), Vec::new);
        for (index, stage) in self.stages.iter().enumerate() {
            let (input_width, output_width) = (self.widths[index], self.widths[index + 1]);
            let (before, after) = activations.outputs.split_at_mut(index);
            let input = before.last().map_or(inputs, |output| output.as_slice());
            let output = &mut after[0];
            output.resize(output_width * n, 0.0);
            match &stage.map {
                Map::Dense { shape, offset } => {
                    let end = offset + shape.rows * shape.columns;
                    let weights = View::new(&parameters[*offset..end], shape.rows, shape.columns);
                    product(output, Destination::Replace, 1.0, weights, View::new(input, input_width, n));
                    if shape.bias {
                        add_to_columns(output, &parameters[end..end + shape.rows]);
                    }
                }
                Map::Fixed(matrix) => {
                    let input = View::new(input, input_width, n);
                    product(output, Destination::Replace, 1.0, View::from(matrix), input);
                }
                Map::Diagonal { offset, dim } => {
                    let diagonal = &parameters[*offset..offset + dim];
                    for (to, from) in output.chunks_exact_mut(*dim).zip(input.chunks_exact(*dim)) {
                        for k in 0..*dim {
                            to[k] = diagonal[k] * from[k];
                        }
                    }
                }
                Map::Keep { kept, width } => {
                    for (to, from) in output.chunks_exact_mut(*width).zip(input.chunks_exact(input_width)) {
                        to[..*kept].copy_from_slice(&from[..*kept]);
                        to[*kept..].fill(0.0);
                    }
                }
            }
            stage.activation.apply(output);
        }
    }

    /// The representations or embeddings that the last [`Network::forward`] left.
    pub fn output<'a>(&self, activations: &'a Activations, which: Output) -> &'a [f64] {
        let stages = match which {
            Output::Representation => self.encoder_stages,
            Output::Embedding => self.stages.len(),
        };
        &activations.outputs[stages - 1]
    }

    /// Width before the stage of this index.
    pub(crate) fn width_before(&self, stage: usize) -> usize {
        self.widths[stage]
    }
}

/// Adds `shift` to each of `columns`.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
pub(crate) fn add_to_columns(columns: &mut [f64], shift: &[f64]) {
    for column in columns.chunks_exact_mut(shift.len()) {
        column.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift);
    }
}

/// One of the two outputs of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// r, before the projector.
    Representation,
    /// z, behind it.
    Embedding,
}
