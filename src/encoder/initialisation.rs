//! How the layers of a network start.

use super::Shape;
use crate::files;
use crate::matrix::{self, Matrix};
use crate::seed::{Seed, Stream};
use crate::settings::{Constant, Key, Kind, Presence, Problem, Settings, ValueType};
use rand::RngExt;
use rand_distr::StandardNormal;
use std::path::{Path, PathBuf};

/// The kinds of initialisation that an experiment file can name.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "gaussian",
        keys: &[Key {
            name: "std",
            value: ValueType::POSITIVE,
            presence: Presence::Required,
            about: "Standard deviation of every weight",
        }],
        about: "Independent normal weights; biases 0",
        source: "",
    },
    Kind {
        name: "uniform-fan-in",
        keys: &[],
        about: "Weights and biases uniform in ±1/√(inputs of the layer), the default of the released code's framework",
        source: "released code of Jing et al. 2022 (PyTorch's nn.Linear)",
    },
    Kind {
        name: "orthogonal",
        keys: &[Key {
            name: "scale",
            value: ValueType::POSITIVE,
            presence: Presence::Required,
            about: "All singular values of every layer",
        }],
        about: "A random orthogonal matrix times a scale; biases 0",
        source: "Saxe et al. 2014",
    },
    Kind {
        name: "spectrum",
        keys: &[Key {
            name: "decay",
            value: ValueType::ANY,
            presence: Presence::Required,
            about: "Singular values exp(-decay k), k = 0, 1, …",
        }],
        about: "U diag(exp(-decay k)) Vᵀ with U, V the singular vectors of a matrix uniform in [0, 1); biases 0",
        source: "released code of Jing et al. 2022, Case 2",
    },
    Kind {
        name: "balanced",
        keys: &[
            Key {
                name: "scale",
                value: ValueType::POSITIVE,
                presence: Presence::Default(Constant::Number(1.0)),
                about: "Largest singular value",
            },
            Key {
                name: "decay",
                value: ValueType::ANY,
                presence: Presence::Default(Constant::Number(0.0)),
                about: "Singular values scale exp(-decay k), k = 0, 1, …",
            },
            Key {
                name: "of",
                value: ValueType::Choice(&["layer", "product"]),
                presence: Presence::Default(Constant::Text("layer")),
                about: "layer: these are the singular values of every layer; product: of the product of all layers, each of which has their L-th roots",
            },
        ],
        about: "W_l = Q_l diag(scale exp(-decay k)) Q_{l-1}ᵀ with random orthonormal Q: aligned, and W_l W_lᵀ = W_{l+1}ᵀ W_{l+1}; biases 0",
        source: "Arora et al. 2018",
    },
    Kind {
        name: "aligned",
        keys: &[
            Key {
                name: "scales",
                value: ValueType::POSITIVE_NUMBERS,
                presence: Presence::Required,
                about: "Largest singular value of each layer",
            },
            Key {
                name: "decays",
                value: ValueType::ANY_NUMBERS,
                presence: Presence::Required,
                about: "One a layer: singular values scale exp(-decay k), k = 0, 1, …",
            },
        ],
        about: "As balanced, with a spectrum of its own for each layer: aligned, V_{l+1} = U_l, and not balanced; biases 0",
        source: "Jing et al. 2022, Theorem 3",
    },
    Kind {
        name: "file",
        keys: &[Key {
            name: "path",
            value: ValueType::Path,
            presence: Presence::Required,
            about: "An .npz with W1 … WL (d_l x d_{l-1}), and b1 … bL where there are biases",
        }],
        about: "Weights as given",
        source: "",
    },
];

/// Weights and, where the layer has one, its bias.
pub(super) type LayerStart = (Matrix, Option<Vec<f64>>);

/// How a chain of dense layers starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Initialisation {
    Gaussian { std: f64 },
    UniformFanIn,
    Orthogonal { scale: f64 },
    Spectrum { decay: f64 },
    Balanced { scale: f64, decay: f64, of_product: bool },
    Aligned { scales: Vec<f64>, decays: Vec<f64> },
    File { path: PathBuf },
}

impl Initialisation {
    pub(super) fn from_settings(settings: &Settings) -> Initialisation {
        match settings.kind() {
            "gaussian" => Initialisation::Gaussian { std: settings.number("std") },
            "uniform-fan-in" => Initialisation::UniformFanIn,
            "orthogonal" => Initialisation::Orthogonal { scale: settings.number("scale") },
            "spectrum" => Initialisation::Spectrum { decay: settings.number("decay") },
            "balanced" => Initialisation::Balanced {
                scale: settings.number("scale"),
                decay: settings.number("decay"),
                of_product: settings.text("of") == "product",
            },
            "aligned" => Initialisation::Aligned {
                scales: settings.numbers("scales").to_vec(),
                decays: settings.numbers("decays").to_vec(),
            },
            _ => Initialisation::File { path: settings.path("path").to_path_buf() },
        }
    }

    /// Whether these keys describe a start of this many layers.
    pub(super) fn check(settings: &Settings, layers: usize) -> Result<(), Problem> {
        if settings.kind() != "aligned" {
            return Ok(());
        }
        for key in ["scales", "decays"] {
            let given = settings.numbers(key).len();
            if given != layers {
                let message = format!("{given} values for {layers} layers; allowed: one a layer");
                return Err(settings.problem(key, message));
            }
        }
        Ok(())
    }

    /// Weights and biases of each layer of `chain`; `settings` locates what a file gets wrong.
    pub(super) fn draw(
        &self,
        chain: &[Shape],
        stream: Stream,
        seed: Seed,
        settings: &Settings,
    ) -> Result<Vec<LayerStart>, Problem> {
        if let Initialisation::File { path } = self {
            return read(path, chain, settings);
        }
        let narrowest = chain.iter().map(|shape| shape.rows.min(shape.columns)).min().unwrap_or(0);
        let orthonormal = |rows: usize, index: usize| {
            // Level 0 is the input; the streams of levels lie apart from those of layers.
            let mut generator = seed.generator(stream, (1 << 32) + index as u64);
            let gaussian = Matrix::from_fn(rows, narrowest, |_, _| generator.sample(StandardNormal));
            matrix::random_orthogonal(gaussian)
        };
        let mut layers = Vec::with_capacity(chain.len());
        for (index, shape) in chain.iter().enumerate() {
            // One substream a layer, so that networks of different depth share their first layers.
            let mut generator = seed.generator(stream, index as u64);
            let (rows, columns) = (shape.rows, shape.columns);
            let mut bias = shape.bias.then(|| vec![0.0; rows]);
            let weights = match *self {
                Initialisation::Gaussian { std } => Matrix::from_fn(rows, columns, |_, _| {
                    let draw: f64 = generator.sample(StandardNormal);
                    std * draw
                }),
                Initialisation::UniformFanIn => {
                    let bound = 1.0 / (columns as f64).sqrt();
                    let weights =
                        Matrix::from_fn(rows, columns, |_, _| generator.random_range(-bound..bound));
                    if let Some(bias) = &mut bias {
                        bias.iter_mut().for_each(|value| *value = generator.random_range(-bound..bound));
                    }
                    weights
                }
                Initialisation::Orthogonal { scale } => {
                    let gaussian = Matrix::from_fn(rows, columns, |_, _| generator.sample(StandardNormal));
                    matrix::random_orthogonal(gaussian) * scale
                }
                Initialisation::Spectrum { decay } => {
                    let uniform = Matrix::from_fn(rows, columns, |_, _| generator.random::<f64>());
                    let svd =
                        matrix::svd(&uniform).map_err(|error| settings.problem("kind", error.to_string()))?;
                    with_spectrum(&svd.u, 1.0, decay, &svd.v)
                }
                Initialisation::Balanced { scale, decay, of_product } => {
                    let root = if of_product { 1.0 / chain.len() as f64 } else { 1.0 };
                    let (scale, decay) = (scale.powf(root), decay * root);
                    with_spectrum(&orthonormal(rows, index + 1), scale, decay, &orthonormal(columns, index))
                }
                Initialisation::Aligned { ref scales, ref decays } => with_spectrum(
                    &orthonormal(rows, index + 1),
                    scales[index],
                    decays[index],
                    &orthonormal(columns, index),
                ),
                Initialisation::File { .. } => unreachable!("read above"),
            };
            layers.push((weights, bias));
        }
        Ok(layers)
    }
}

/// U diag(scale exp(-decay k)) Vᵀ.
fn with_spectrum(u: &Matrix, scale: f64, decay: f64, v: &Matrix) -> Matrix {
    let mut scaled = u.clone();
    for (k, mut column) in scaled.column_iter_mut().enumerate() {
        column *= scale * (-decay * k as f64).exp();
    }
    scaled * v.transpose()
}

fn read(path: &Path, chain: &[Shape], settings: &Settings) -> Result<Vec<LayerStart>, Problem> {
    let arrays = files::read_npz(path).map_err(|error| settings.problem("path", error.to_string()))?;
    let take = |name: &str, wanted: &[usize]| {
        let array = arrays.get(name).ok_or_else(|| {
            let names: Vec<&str> = arrays.keys().map(String::as_str).collect();
            settings.problem(
                "path",
                format!(
                    "{} has no array {name}, only {}; allowed: a file with one array a layer",
                    path.display(),
                    names.join(", ")
                ),
            )
        })?;
        if array.shape != wanted {
            return Err(settings.problem(
                "path",
                format!(
                    "{name} in {} has shape {:?}; allowed: {wanted:?}, as the widths ask",
                    path.display(),
                    array.shape
                ),
            ));
        }
        if array.values.iter().any(|value| !value.is_finite()) {
            let message = format!("{name} in {} holds a value that is not finite", path.display());
            return Err(settings.problem("path", message));
        }
        Ok(array.values.clone())
    };
    // What the file has and the network has not would change what is trained without a word.
    let letters: Vec<char> = chain.iter().filter_map(|shape| shape.name.chars().next()).collect();
    let expected =
        |name: &str| chain.iter().any(|shape| name == shape.name || shape.bias && name == shape.bias_name());
    let ours = |name: &str| {
        letters.iter().any(|l| name.starts_with(*l)) || letters.contains(&'W') && name.starts_with('b')
    };
    if let Some(name) = arrays.keys().find(|name| ours(name) && !expected(name)) {
        let message = format!(
            "{} has an array {name}, for which this encoder has no place; change widths or bias, or leave it out of the file",
            path.display()
        );
        return Err(settings.problem("path", message));
    }
    let mut layers = Vec::with_capacity(chain.len());
    for shape in chain {
        let weights = take(&shape.name, &[shape.rows, shape.columns])?;
        let bias = if shape.bias { Some(take(&shape.bias_name(), &[shape.rows])?) } else { None };
        layers.push((Matrix::from_row_slice(shape.rows, shape.columns, &weights), bias));
    }
    Ok(layers)
}
