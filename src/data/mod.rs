//! Samples x: drawn from a distribution, or read from a file.

mod covariance;
mod principal_components;

use crate::files;
use crate::matrix::{Matrix, triangular_factor};
use crate::seed::{Seed, Stream};
use crate::settings::{Constant, Key, Kind, Presence, Problem, Settings, ValueType};
use covariance::Factor;
pub use covariance::{KINDS as COVARIANCES, VARIANCES, covariance_factor};
pub use principal_components::PrincipalComponents;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

const DIM: Key = Key {
    name: "dim",
    value: ValueType::Integer { min: 1, max: 1_000_000 },
    presence: Presence::Required,
    about: "Number of coordinates d",
};

const SAMPLES: Key = Key {
    name: "samples",
    value: ValueType::Integer { min: 2, max: 1_000_000_000 },
    presence: Presence::Required,
    about: "Number of samples N; a contrastive loss needs at least 2",
};

const COVARIANCE: Key = Key {
    name: "covariance",
    value: ValueType::OneOf(covariance::KINDS),
    presence: Presence::Default(Constant::Table(&[
        ("kind", Constant::Text("isotropic")),
        ("variance", Constant::Number(1.0)),
    ])),
    about: "Covariance Σ of the samples",
};

/// The kinds of data that an experiment file can name.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "gaussian",
        keys: &[DIM, SAMPLES, COVARIANCE],
        about: "x ~ N(0, Σ)",
        source: "Jing et al. 2022, sections 4 and 5",
    },
    Kind {
        name: "mixture",
        keys: &[
            DIM,
            SAMPLES,
            Key {
                name: "components",
                value: ValueType::Integer { min: 1, max: 1_000_000 },
                presence: Presence::Required,
                about: "Number of components, of equal probability",
            },
            Key {
                name: "centre_std",
                value: ValueType::NON_NEGATIVE,
                presence: Presence::Required,
                about: "The components' centres are drawn from N(0, centre_std² I)",
            },
            COVARIANCE,
        ],
        about: "x ~ a mixture of N(c_k, Σ) with random centres c_k",
        source: "",
    },
    Kind {
        name: "file",
        keys: &[
            Key {
                name: "path",
                value: ValueType::Path,
                presence: Presence::Required,
                about: "An .npy, .csv or MNIST IDX file, one row a sample",
            },
            Key {
                name: "standardise",
                value: ValueType::Flag,
                presence: Presence::Default(Constant::Flag(false)),
                about: "Shift every coordinate to mean 0 and scale it to variance 1; constant coordinates become 0",
            },
            Key {
                name: "pca",
                value: ValueType::Integer { min: 1, max: 1_000_000 },
                presence: Presence::Optional,
                about: "Keep this many principal components (after standardising)",
            },
        ],
        about: "Samples as given",
        source: "",
    },
];

/// Where samples come from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    Gaussian(Factor),
    Mixture { centres: Vec<f64>, factor: Factor },
    File,
}

/// Samples, and where more of them come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Number of coordinates d.
    pub dim: usize,
    /// d x N, one sample a column.
    pub samples: Vec<f64>,
    /// The directions kept of a file's samples, where it asked for them.
    pub components: Option<PrincipalComponents>,
    source: Source,
}

impl Dataset {
    /// Checks the table `data` without reading files or drawing.
    pub fn check(settings: &Settings) -> Result<(), Problem> {
        if settings.kind() == "file" {
            return Ok(());
        }
        Factor::check(settings.table("covariance"), settings.integer("dim"))
    }

    /// Reads the table `data`: draws the samples, or reads them.
    pub fn from_settings(settings: &Settings, seed: Seed) -> Result<Dataset, Problem> {
        Dataset::check(settings)?;
        if settings.kind() == "file" {
            return Dataset::from_file(settings);
        }
        let dim = settings.integer("dim");
        let factor = Factor::from_settings(settings.table("covariance"), dim)?;
        let source = if settings.kind() == "gaussian" {
            Source::Gaussian(factor)
        } else {
            let std = settings.number("centre_std");
            let mut generator = seed.generator(Stream::Data, 1);
            let centres = (0..dim * settings.integer("components"))
                .map(|_| std * generator.sample::<f64, _>(StandardNormal))
                .collect();
            Source::Mixture { centres, factor }
        };
        let mut data = Dataset { dim, samples: Vec::new(), components: None, source };
        data.samples = data.draw(settings.integer("samples"), &mut seed.generator(Stream::Data, 0));
        Ok(data)
    }

    fn from_file(settings: &Settings) -> Result<Dataset, Problem> {
        let path = settings.path("path");
        let array = files::read_samples(path).map_err(|error| settings.problem("path", error.to_string()))?;
        let (count, dim) = (array.shape[0], array.shape[1]);
        if count < 2 {
            let message =
                format!("{} holds {count} sample; a contrastive loss needs at least 2", path.display());
            return Err(settings.problem("path", message));
        }
        // Rows of the file are columns here: the memory is the same.
        let mut data = Dataset { dim, samples: array.values, components: None, source: Source::File };
        if settings.flag("standardise") {
            principal_components::standardise(&mut data.samples, dim);
        }
        if let Some(kept) = settings.optional_integer("pca") {
            let most = dim.min(count - 1);
            if kept > most {
                let message =
                    format!("pca = {kept}, but {count} samples of {dim} coordinates have at most {most}");
                return Err(settings.problem("pca", message));
            }
            let components = PrincipalComponents::of(&data.samples, dim, kept)
                .map_err(|error| settings.problem("pca", error.to_string()))?;
            data.samples = components.project(&data.samples);
            data.dim = kept;
            data.components = Some(components);
        }
        Ok(data)
    }

    /// F with F Fᵀ = Σ for the table `data` of kind `gaussian`, without drawing a sample.
    pub fn gaussian_factor(settings: &Settings) -> Result<Matrix, Problem> {
        Dataset::check(settings)?;
        Ok(Factor::from_settings(settings.table("covariance"), settings.integer("dim"))?.matrix())
    }

    /// F with F Fᵀ the covariance of x: the given one of Gaussian samples, that of the samples themselves (divided by N) of a file,
    /// none of a mixture, which its covariance does not describe.
    pub fn covariance_factor(&self) -> Option<Matrix> {
        match &self.source {
            Source::Gaussian(factor) => Some(factor.matrix()),
            Source::Mixture { .. } => None,
            Source::File => {
                let count = self.count();
                let mut rows = Matrix::from_column_slice(self.dim, count, &self.samples).transpose();
                for mut column in rows.column_iter_mut() {
                    let mean = column.mean();
                    column.add_scalar_mut(-mean);
                    column /= (count as f64).sqrt();
                }
                Some(triangular_factor(&rows).transpose())
            }
        }
    }

    /// Number of samples N.
    pub fn count(&self) -> usize {
        self.samples.len() / self.dim
    }

    /// `count` fresh samples (d x count); of a file, so many of its samples without replacement, and no more than it has.
    pub fn draw(&self, count: usize, generator: &mut impl Rng) -> Vec<f64> {
        let (centres, factor) = match &self.source {
            Source::File => {
                let chosen = rand::seq::index::sample(generator, self.count(), count.min(self.count()));
                let sample = |i: usize| &self.samples[i * self.dim..(i + 1) * self.dim];
                return chosen.into_iter().flat_map(sample).copied().collect();
            }
            Source::Gaussian(factor) => (&[][..], factor),
            Source::Mixture { centres, factor } => (centres.as_slice(), factor),
        };
        let mut samples = vec![0.0; self.dim * count];
        let mut normal = vec![0.0; self.dim];
        for column in samples.chunks_exact_mut(self.dim) {
            if !centres.is_empty() {
                let k = generator.random_range(0..centres.len() / self.dim);
                column.copy_from_slice(&centres[k * self.dim..(k + 1) * self.dim]);
            }
            normal.iter_mut().for_each(|value| *value = generator.sample(StandardNormal));
            match factor {
                Factor::Diagonal(stds) => {
                    for k in 0..self.dim {
                        column[k] += stds[k] * normal[k];
                    }
                }
                Factor::Full(factor) => {
                    for (source, draw) in factor.column_iter().zip(&normal) {
                        column.iter_mut().zip(source.iter()).for_each(|(value, f)| *value += draw * f);
                    }
                }
            }
        }
        samples
    }
}
