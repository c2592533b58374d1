//! What the exact theory says beside what a run measures.

use crate::augment::Augmentation;
use crate::data::Dataset;
use crate::encoder::{Network, Output};
use crate::experiment::{Dynamics, Plan};
use crate::loss::{InfonceEuclidean, Loss, Workspace};
use crate::matrix::{Matrix, singular_values};
use crate::observe::{Landscape, Quantity};
use crate::record::{Column, Trajectory};
use crate::theory::{
    Direction, Mode, Population, ViewCovariances, decoupled, frozen_x, lifetime, limit, limit_rank,
    separability,
};

/// Evaluations after which the question of separability is left open.
const SEPARABILITY_EVALUATIONS: usize = 4000;

/// An X that a run holds fixed or prescribes.
#[derive(Clone, Debug)]
pub(super) struct GivenX {
    /// X at the start.
    pub(super) start: Matrix,
    /// Rate at which it decays.
    pub(super) decay: f64,
}

/// The theory of one run.
#[derive(Debug)]
pub(super) struct Prediction {
    quantities: Vec<Quantity>,
    loss: Loss,
    views: Option<ViewCovariances>,
    population: Option<Population>,
    /// The layers at the start, where the network consists of linear ones.
    layers: Option<Vec<Matrix>>,
    workspace: Workspace,
    dim: usize,
    /// Samples that the loss sees at a time; none in the limit itself.
    samples: Option<f64>,
    /// Whether it was said that they are too few for the limit.
    said: bool,
    /// What a reader should know.
    pub(super) warnings: Vec<String>,
}

/// The covariances of `data` under `augmentation`, where both have them.
pub(super) fn covariances(data: &Dataset, augmentation: &Augmentation) -> Option<ViewCovariances> {
    let (noise, sides) = augmentation.noise_factor()?;
    Some(ViewCovariances::new(&data.covariance_factor()?, &noise, sides))
}

impl Prediction {
    pub(super) fn new(
        plan: &Plan,
        views: Option<ViewCovariances>,
        network: &Network,
        parameters: &[f64],
        samples: Option<usize>,
    ) -> Prediction {
        let loss = plan.loss().0;
        let population = views.as_ref().and_then(|views| Population::new(&loss, views.clone()).ok());
        let plain = network.is_linear() && network.dense_layers().count() == network.stages().len();
        let layers = plain.then(|| {
            network
                .dense_layers()
                .map(|(_, shape, offset)| Network::weights(shape, offset, parameters))
                .collect()
        });
        let quantities = plan.quantities();
        let samples = match plan.dynamics() {
            Dynamics::Sgd { batch, .. } => Some(batch as f64),
            Dynamics::Population { batch, .. } => batch.map(|batch| batch as f64),
            // Neither has a loss whose samples matter after the start.
            Dynamics::FrozenX(_) | Dynamics::PrescribedX { .. } => None,
            Dynamics::Flow(_) | Dynamics::Gd { .. } => samples.map(|samples| samples as f64),
        };
        let (workspace, warnings, dim) = (Workspace::default(), Vec::new(), network.input_dim());
        Prediction {
            quantities,
            loss,
            views,
            population,
            layers,
            workspace,
            dim,
            samples,
            said: false,
            warnings,
        }
    }

    /// Whether it was said that the samples leave the limit, and all that was said.
    pub(super) fn said(&self) -> (bool, Vec<String>) {
        (self.said, self.warnings.clone())
    }

    /// Goes on after this was said.
    pub(super) fn set_said(&mut self, left_limit: bool, warnings: Vec<String>) {
        (self.said, self.warnings) = (left_limit, warnings);
    }

    fn wants(&self, quantity: Quantity) -> bool {
        self.quantities.contains(&quantity)
    }

    /// Records how far a batch is from the population limit at these weights; `views` are the batch (d x 2N), none in the limit
    /// itself.
    pub(super) fn record(
        &mut self,
        landscape: &mut dyn Landscape,
        parameters: &[f64],
        views: Option<&[f64]>,
        trajectory: &mut Trajectory,
    ) {
        let wants_population = self.wants(Quantity::Population);
        let watched =
            self.samples.filter(|_| !self.said && (wants_population || self.wants(Quantity::Theory)));
        if !wants_population && watched.is_none() {
            return;
        }
        let Some(population) = &mut self.population else { return };
        let w = landscape.network().end_to_end(parameters, Output::Embedding);
        let needed = population.samples_needed(&w);
        if let Some(samples) = watched.filter(|samples| needed * FEWEST_SAMPLES > *samples) {
            self.said = true;
            let time = trajectory.time.last().copied().unwrap_or(0.0);
            self.warnings.push(format!(
                "{samples} samples leave the population limit by t = {time:.3e}: it needs many more than max(g, h) = {needed:.3e}"
            ));
        }
        if !wants_population {
            return;
        }
        trajectory.put_number("population_pair_weight", population.pair_weight(&w));
        trajectory.put_number("population_samples", needed);
        let Some(views) = views else { return };
        let dim = w.ncols();
        let count = (views.len() / (2 * dim)) as f64;
        let (x, evaluation) = landscape.x_matrix(parameters);
        // The limit is that of the mean over samples.
        let per_sample = landscape.per_sample(count);
        let (limit, limit_loss) = (population.x(&w), population.loss(&w));
        let distance = (x * per_sample - &limit).norm() / limit.norm();
        trajectory.put_number("population_loss", limit_loss);
        trajectory.put_number("population_x_distance", distance);
        let distance = (evaluation.loss * per_sample - count.ln() - limit_loss).abs();
        trajectory.put_number("population_loss_distance", distance);
        if let Loss::Euclidean(_) = self.loss {
            let images = landscape.embeddings();
            let weights = InfonceEuclidean.weighted_covariances(
                images,
                w.nrows(),
                views,
                crate::loss::Reduction::Mean,
                &mut self.workspace,
            );
            trajectory.put_number("pair_weight", weights.positive_weight().iter().sum());
        }
    }

    /// Adds what is known once the run is over: exact paths and limits, lifetimes, separability.
    pub(super) fn finish(
        &mut self,
        given: Option<&GivenX>,
        batch: Option<&[f64]>,
        trajectory: &mut Trajectory,
    ) {
        if let (true, Some(layers)) = (self.wants(Quantity::Theory), self.layers.clone()) {
            match given {
                Some(given) => self.frozen(given, &layers, trajectory),
                None => self.population_path(&layers, trajectory),
            }
        }
        if let (true, Some(views)) = (self.wants(Quantity::Separability), batch) {
            self.separability(views, self.dim, trajectory);
        }
    }

    /// W(0) exp(X t) for one layer.
    fn frozen(&mut self, given: &GivenX, layers: &[Matrix], trajectory: &mut Trajectory) {
        let [start] = layers else {
            self.warnings.push(
                "the exact solution under a given X is that of one layer; this network has more, and no theory is recorded".into(),
            );
            return;
        };
        let rank = start.nrows().min(start.ncols());
        let mut values = Vec::with_capacity(rank * trajectory.time.len());
        for &time in &trajectory.time {
            let elapsed =
                if given.decay == 0.0 { time } else { -(-given.decay * time).exp_m1() / given.decay };
            let row = frozen_x(start, &given.start, elapsed).and_then(|w| singular_values(&w));
            values.extend(row.unwrap_or_else(|_| vec![f64::NAN; rank]));
        }
        trajectory.columns.insert("theory_end_to_end".into(), Column { row_shape: vec![rank], values });
    }

    /// Limit and rank in the population, and the exact path where the flow decouples.
    fn population_path(&mut self, layers: &[Matrix], trajectory: &mut Trajectory) {
        let Some(views) = self.views.clone() else { return };
        let dim = views.dim();
        let narrow = layers.iter().any(|layer| layer.nrows() < dim);
        if narrow {
            self.warnings.push(format!(
                "a layer is narrower than the {dim} coordinates: which modes survive is not known, and no limit is recorded"
            ));
        } else {
            match limit(&self.loss, &views) {
                Ok(Some(values)) => {
                    trajectory.constants.insert("theory_limit".into(), (vec![dim], values));
                }
                _ => self.warnings.push(
                    "data and noise do not commute and the search for the limit did not end; no limit is recorded".into(),
                ),
            }
            if let (Loss::Euclidean(_), Ok(rank), 1) = (&self.loss, limit_rank(&views), layers.len()) {
                trajectory.constants.insert("theory_rank".into(), (vec![], vec![rank as f64]));
            }
        }
        let depth = layers.len();
        let Some(directions) = decoupled(&views, layers) else {
            self.warnings.push(
                "the start is not balanced, or not aligned with data and noise: the flow does not fall into modes, and no exact path is recorded".into(),
            );
            return;
        };
        if directions.iter().any(|direction| direction.start == 0.0) {
            self.warnings.push("the start has no full rank: modes that start at 0 stay there, and the recorded limit is not theirs".into());
        }
        let rank = layers[depth - 1].nrows().min(dim);
        let path = |directions: &[Direction]| -> Vec<Vec<f64>> {
            directions
                .iter()
                .filter_map(|direction| {
                    direction.mode(&self.loss, &views, depth).map(|mode| (mode, direction.start))
                })
                .map(|(mode, start)| mode.path(start, &trajectory.time))
                .collect()
        };
        let columns = |paths: &[Vec<f64>], kept: usize| Column {
            row_shape: vec![kept],
            values: (0..trajectory.time.len())
                .flat_map(|t| {
                    let mut row: Vec<f64> = paths.iter().map(|path| path[t]).collect();
                    row.sort_by(|a, b| b.total_cmp(a));
                    row.truncate(kept);
                    row
                })
                .collect(),
        };
        let noisy: Vec<Direction> = directions.iter().copied().filter(|d| d.noise > 0.0).collect();
        let all = columns(&path(&directions), rank);
        let augmented = columns(&path(&noisy), rank.min(noisy.len()));
        trajectory.columns.insert("theory_end_to_end".into(), all);
        if self.wants(Quantity::Augmented) {
            trajectory.columns.insert("theory_augmented".into(), augmented);
            let mut ends: Vec<f64> =
                noisy.iter().filter_map(|d| Some(d.mode(&self.loss, &views, depth)?.limit())).collect();
            ends.sort_by(|a, b| b.total_cmp(a));
            trajectory.constants.insert("theory_limit_augmented".into(), (vec![ends.len()], ends));
        }
        if self.wants(Quantity::Lifetime) {
            self.predicted_lifetimes(&directions, &views, depth, trajectory);
        }
    }

    /// Lifetimes of the modes, those with the largest limit first, by quadrature and by the asymptotic law.
    fn predicted_lifetimes(
        &mut self,
        directions: &[Direction],
        views: &ViewCovariances,
        depth: usize,
        trajectory: &mut Trajectory,
    ) {
        let mut modes: Vec<_> = directions
            .iter()
            .filter_map(|direction| Some((direction.mode(&self.loss, views, depth)?, direction.start)))
            .collect();
        modes.sort_by(|a, b| b.0.limit().total_cmp(&a.0.limit()).then(b.1.total_cmp(&a.1)));
        if modes.windows(2).any(|pair| pair[1].1 > pair[0].1 * (1.0 + SAME)) {
            self.warnings.push(
                "modes with a smaller limit start larger: singular values in descending order change places, and no lifetimes are predicted".into(),
            );
            return;
        }
        let level = |mode: &Mode| RECOVERED * mode.limit();
        let recovers = |mode: &Mode| mode.limit() > 0.0 && mode.limit().is_finite();
        let exact = modes.iter().map(|(mode, start)| match recovers(mode) {
            true if *start >= level(mode) => 0.0,
            true => mode.time(*start, level(mode)),
            false => f64::NAN,
        });
        let law = modes.iter().map(|(mode, start)| {
            let waits = recovers(mode) && *start < level(mode);
            if waits { lifetime(depth, *start, mode.rate.at(0.0)) } else { f64::NAN }
        });
        let (exact, law) = (exact.collect(), law.collect());
        let shape = vec![modes.len()];
        trajectory.constants.insert("theory_lifetime".into(), (shape.clone(), exact));
        trajectory.constants.insert("theory_lifetime_law".into(), (shape, law));
    }

    fn separability(&mut self, views: &[f64], dim: usize, trajectory: &mut Trajectory) {
        match separability(views, dim, SEPARABILITY_EVALUATIONS) {
            Ok(found) => {
                let verdict = found.verdict.map_or(f64::NAN, |separable| f64::from(u8::from(separable)));
                if found.verdict.is_none() {
                    self.warnings.push(format!(
                        "whether the batch is separable is not decided: its margin lies between {:.2e} and {:.2e}",
                        found.lower, found.upper
                    ));
                }
                let mut put = |name: &str, value: f64| {
                    trajectory.constants.insert(name.into(), (vec![], vec![value]));
                };
                put("separable", verdict);
                put("margin_lower", found.lower);
                put("margin_upper", found.upper);
            }
            Err(error) => self.warnings.push(format!("separability: {error}")),
        }
    }
}

/// Times that max(g, h) must fit into a batch for the limit to describe it to some tenths.
const FEWEST_SAMPLES: f64 = 10.0;

/// Relative difference of starts that rounding alone may make.
const SAME: f64 = 1e-9;

/// Part of its limit at which a singular value counts as recovered.
const RECOVERED: f64 = 0.5;

/// The times at which the singular values of the end-to-end matrix first reach half of their limit in the population, one a rank,
/// NaN where they do not; between recordings by straight lines in log time and log value. With them, how far apart the two
/// recordings around each lie, relative to it.
pub(super) fn measured_lifetimes(trajectory: &mut Trajectory) {
    let (Some(column), Some((_, limits))) =
        (trajectory.columns.get("sigma_end_to_end"), trajectory.constants.get("theory_limit"))
    else {
        return;
    };
    let rank = column.row_shape[0].min(limits.len());
    let time = &trajectory.time;
    let mut found = vec![f64::NAN; rank];
    let mut widths = vec![f64::NAN; rank];
    for k in 0..rank {
        let level = RECOVERED * limits[k];
        if !(level > 0.0 && level.is_finite()) {
            continue;
        }
        let Some(after) = (0..time.len()).find(|&t| column.row(t)[k] >= level) else { continue };
        if after == 0 {
            (found[k], widths[k]) = (0.0, 0.0);
            continue;
        }
        let (low, high) = (column.row(after - 1)[k], column.row(after)[k]);
        let part = (level / low).ln() / (high / low).ln();
        let (before, end) = (time[after - 1], time[after]);
        // The start at 0 has no logarithm.
        found[k] = if before > 0.0 { before * (end / before).powf(part) } else { end * part };
        widths[k] = (end - before) / found[k];
    }
    trajectory.constants.insert("lifetime".into(), (vec![rank], found));
    trajectory.constants.insert("lifetime_resolution".into(), (vec![rank], widths));
}
