//! Augmentation: how the second view x' comes from a sample x.

use crate::data::{VARIANCES, covariance_factor};
use crate::files;
use crate::matrix::Matrix;
use crate::seed::Normals;
use crate::settings::{Key, Kind, Presence, Problem, Settings, ValueType};
use rand::Rng;

const SIDES: Key = Key {
    name: "sides",
    value: ValueType::Choice(&["one", "two"]),
    presence: Presence::Required,
    about: "one: x' = x + n, the first view is x itself; two: both views carry independent draws",
};

const VARIANCE: Key = Key {
    name: "variance",
    value: ValueType::NON_NEGATIVE,
    presence: Presence::Required,
    about: "Variance of one coordinate of one noise draw n",
};

/// The kinds of augmentation that an experiment file can name.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "isotropic",
        keys: &[VARIANCE, SIDES],
        about: "Additive noise n ~ N(0, variance I)",
        source: "Jing et al. 2022, section 5",
    },
    Kind {
        name: "block",
        keys: &[
            Key {
                name: "block",
                value: ValueType::Integer { min: 1, max: 1_000_000 },
                presence: Presence::Required,
                about: "Number of noisy coordinates, the last ones",
            },
            VARIANCE,
            SIDES,
        ],
        about: "Additive noise n ~ N(0, block_diag(0, variance I)) on the last coordinates",
        source: "Jing et al. 2022, Figure 3",
    },
    Kind {
        name: "diagonal",
        keys: &[VARIANCES, SIDES],
        about: "Additive noise n ~ N(0, diag(variances))",
        source: "",
    },
    Kind {
        name: "full",
        keys: &[
            Key {
                name: "path",
                value: ValueType::Path,
                presence: Presence::Required,
                about: "An .npy or .csv with the d x d covariance of one noise draw",
            },
            SIDES,
        ],
        about: "Additive noise n ~ N(0, Σ_a)",
        source: "",
    },
    Kind {
        name: "file",
        keys: &[Key {
            name: "path",
            value: ValueType::Path,
            presence: Presence::Required,
            about: "An .npy, .csv or IDX file with the second views, one row a sample",
        }],
        about: "The second view as given, so that a run is a pure function of files",
        source: "",
    },
];

/// Which views carry noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// x' = x + n.
    One,
    /// Both views carry independent draws.
    Two,
}

/// The noise of one draw.
#[derive(Clone, Debug, PartialEq)]
pub enum Noise {
    /// Standard deviation of each coordinate.
    Diagonal(Vec<f64>),
    /// A factor F of the covariance F Fᵀ.
    Full(Matrix),
}

/// How the second view comes about.
#[derive(Clone, Debug, PartialEq)]
pub enum Augmentation {
    /// Additive Gaussian noise.
    Additive {
        /// Its distribution.
        noise: Noise,
        /// Which views carry it.
        sides: Sides,
    },
    /// Second views as given, d x N.
    Given(Vec<f64>),
}

impl Augmentation {
    /// Checks the table `augment` against `dim` coordinates without reading files.
    pub fn check(settings: &Settings, dim: usize) -> Result<(), Problem> {
        match settings.kind() {
            "block" if settings.integer("block") > dim => Err(settings.problem(
                "block",
                format!(
                    "block = {} is larger than dim = {dim}; allowed: 1 to {dim}",
                    settings.integer("block")
                ),
            )),
            "diagonal" if settings.numbers("variances").len() != dim => Err(settings.problem(
                "variances",
                format!(
                    "{} variances for {dim} coordinates; allowed: one a coordinate",
                    settings.numbers("variances").len()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Reads the table `augment` for samples of `dim` coordinates, `count` of them.
    pub fn from_settings(settings: &Settings, dim: usize, count: usize) -> Result<Augmentation, Problem> {
        Augmentation::check(settings, dim)?;
        let noise = match settings.kind() {
            "isotropic" => Noise::Diagonal(vec![settings.number("variance").sqrt(); dim]),
            "block" => {
                let clean = dim - settings.integer("block");
                let std = settings.number("variance").sqrt();
                Noise::Diagonal((0..dim).map(|k| if k < clean { 0.0 } else { std }).collect())
            }
            "diagonal" => Noise::Diagonal(settings.numbers("variances").iter().map(|v| v.sqrt()).collect()),
            "full" => Noise::Full(covariance_factor(settings.path("path"), dim, settings)?),
            _ => {
                let path = settings.path("path");
                let array =
                    files::read_samples(path).map_err(|error| settings.problem("path", error.to_string()))?;
                if array.shape != [count, dim] {
                    let message = format!(
                        "{} holds {} views of {} coordinates; allowed: {count} of {dim}, as the data has",
                        path.display(),
                        array.shape[0],
                        array.shape[1]
                    );
                    return Err(settings.problem("path", message));
                }
                // Rows of the file are columns here: the memory is the same.
                return Ok(Augmentation::Given(array.values));
            }
        };
        let sides = if settings.text("sides") == "one" { Sides::One } else { Sides::Two };
        Ok(Augmentation::Additive { noise, sides })
    }

    /// F_a with F_a F_aᵀ the covariance of one noise draw (d x d), and which views carry it; nothing where views are given.
    pub fn noise_factor(&self) -> Option<(Matrix, Sides)> {
        match self {
            Augmentation::Given(_) => None,
            Augmentation::Additive { noise, sides } => {
                let factor = match noise {
                    Noise::Diagonal(stds) => {
                        Matrix::from_diagonal(&nalgebra::DVector::from_column_slice(stds))
                    }
                    Noise::Full(factor) => factor.clone(),
                };
                Some((factor, *sides))
            }
        }
    }

    /// Makes two views (d x 2N) of the samples (d x N) that their first half holds, with fresh noise from `generator`.
    pub fn views(&self, dim: usize, generator: &mut (impl Rng + Clone), views: &mut [f64]) {
        let (first, second) = views.split_at_mut(views.len() / 2);
        match self {
            Augmentation::Given(views) => second.copy_from_slice(views),
            Augmentation::Additive { noise, sides } => {
                second.copy_from_slice(first);
                let mut normals = Normals::new(generator.clone());
                if *sides == Sides::Two {
                    add_noise(noise, dim, &mut normals, first);
                }
                add_noise(noise, dim, &mut normals, second);
                *generator = normals.into_generator();
            }
        }
    }
}

fn add_noise<R: Rng + Clone>(noise: &Noise, dim: usize, normals: &mut Normals<R>, columns: &mut [f64]) {
    // Of its own, so that its state stays in registers.
    let mut own = normals.clone();
    match noise {
        Noise::Diagonal(stds) => {
            for column in columns.chunks_exact_mut(dim) {
                for (value, std) in column.iter_mut().zip(stds) {
                    if *std > 0.0 {
                        *value += std * own.draw();
                    }
                }
            }
        }
        Noise::Full(factor) => {
            for column in columns.chunks_exact_mut(dim) {
                for source in factor.column_iter() {
                    let draw = own.draw();
                    column.iter_mut().zip(source.iter()).for_each(|(value, f)| *value += draw * f);
                }
            }
        }
    }
    *normals = own;
}
