//! One plan from its start to its end: connects loss, dynamics and observation.

use super::checkpoint::{Remarks, RunCheckpoint, Standing};
use super::population::{PopulationField, PopulationLandscape};
use super::prediction::{GivenX, Prediction, covariances, measured_lifetimes};
use crate::augment::Augmentation;
use crate::data::Dataset;
use crate::dynamics::{
    Descent, Integrator, JacobianField, Position, Scheme, Snapshot, Tolerances, integrate,
};
use crate::encoder::Network;
use crate::experiment::{Dynamics, Flow, FlowMethod, Plan, Prepared, Source};
use crate::gradient::{GivenXFlow, Objective};
use crate::loss::NORM_FLOOR;
use crate::matrix::{DecompositionError, Matrix, symmetric_eigen, triangular_factor};
use crate::observe::{Accuracy, Batch, Landscape, Observer, Quantity, SpectrumInputs};
use crate::record::{Effort, Ending, Trajectory};
use crate::seed::Stream;
use crate::stream::{BatchStream, full_batch};
use crate::theory::{Population, ViewCovariances};
use std::cell::{Cell, RefCell};

/// What a run leaves.
#[derive(Debug)]
pub struct Simulation {
    /// What was measured.
    pub trajectory: Trajectory,
    /// The network.
    pub network: Network,
    /// Its last finite parameters.
    pub parameters: Vec<f64>,
    /// Why the run ended.
    pub ending: Ending,
    /// What it cost.
    pub effort: Effort,
    /// What the reader of the results should know.
    pub warnings: Vec<String>,
}

/// Measures states as they come, and remembers the first failure.
struct Recorder {
    observer: Observer,
    prediction: Prediction,
    trajectory: Trajectory,
    failure: Option<String>,
    short: Option<(usize, f64)>,
}

impl Recorder {
    fn new(
        plan: &Plan,
        network: &Network,
        parameters: &[f64],
        views: Option<ViewCovariances>,
        inputs: SpectrumInputs,
        samples: Option<usize>,
    ) -> Result<Recorder, DecompositionError> {
        let accuracy = match plan.dynamics() {
            Dynamics::Flow(flow)
            | Dynamics::FrozenX(flow)
            | Dynamics::PrescribedX { flow, .. }
            | Dynamics::Population { flow, .. } => Accuracy { rtol: flow.rtol, atol: flow.atol },
            Dynamics::Gd { .. } | Dynamics::Sgd { .. } => Accuracy::default(),
        };
        let noisy_directions = views.as_ref().map(noisy_directions).transpose()?;
        Ok(Recorder {
            observer: Observer { quantities: plan.quantities(), accuracy, inputs, noisy_directions },
            prediction: Prediction::new(plan, views, network, parameters, samples),
            trajectory: Trajectory::default(),
            failure: None,
            short: None,
        })
    }

    /// Measures a state of `landscape`; `batch` is what the loss sees, d x 2N, where it sees samples.
    fn record(
        &mut self,
        snapshot: Snapshot<'_>,
        landscape: &mut dyn Landscape,
        batch: Option<&[f64]>,
        given_x: Option<&Matrix>,
    ) {
        let at = (snapshot.time, snapshot.step);
        let measured = self.observer.measure(landscape, snapshot.state, given_x, at, &mut self.trajectory);
        match measured {
            Ok(count) => {
                if count > 0 {
                    self.short = self.short.or(Some((count, snapshot.time)));
                }
                self.prediction.record(landscape, snapshot.state, batch, &mut self.trajectory);
            }
            Err(error) if self.failure.is_none() => {
                self.failure = Some(format!("not recorded at t = {}: {error}", snapshot.time));
            }
            Err(_) => {}
        }
    }

    /// What was said of the records so far.
    fn remarks(&self) -> Remarks {
        let (left_limit, warnings) = self.prediction.said();
        Remarks { failure: self.failure.clone(), short: self.short, left_limit, warnings }
    }

    /// Goes on after these.
    fn set_remarks(&mut self, remarks: Remarks) {
        self.failure = remarks.failure;
        self.short = remarks.short;
        self.prediction.set_said(remarks.left_limit, remarks.warnings);
    }

    /// The results, with what is known only once the run is over.
    fn finish(
        mut self,
        (network, parameters): (Network, Vec<f64>),
        (ending, effort): (Ending, Effort),
        given: Option<&GivenX>,
        batch: Option<&[f64]>,
        is_population: bool,
    ) -> Simulation {
        self.prediction.finish(given, batch, &mut self.trajectory);
        if self.observer.quantities.contains(&Quantity::Lifetime) {
            measured_lifetimes(&mut self.trajectory);
        }
        let mut warnings: Vec<String> = self.failure.into_iter().collect();
        if let Some((count, time)) = self.short {
            warnings.push(format!(
                "embeddings shorter than {NORM_FLOOR:e} were divided by it instead of their norm, {count} at t = {time} first"
            ));
        }
        warnings.append(&mut self.prediction.warnings);
        warnings.extend(stiffness_advice(&effort, is_population));
        Simulation { trajectory: self.trajectory, network, parameters, ending, effort, warnings }
    }
}

/// Steps limited by stability from which on a run is called stiff: fewer cost less than a change of the method.
const STIFF_STEPS: u64 = 1000;

/// The batch of one step and the loss on it. A record takes the batch of the step that follows, so that the gradient of that
/// step finds batch, embeddings and loss as the record left them.
struct DrawnBatch<'a> {
    stream: BatchStream<'a>,
    objective: Objective,
    /// d x 2N.
    views: Vec<f64>,
    /// The step whose batch `views` are, where a record was taken of the state that this step starts from.
    recorded: Option<u64>,
}

impl<'a> DrawnBatch<'a> {
    fn new(stream: BatchStream<'a>, objective: Objective, length: usize) -> Self {
        DrawnBatch { stream, objective, views: vec![0.0; length], recorded: None }
    }

    /// Writes the gradient of this step, which starts from `theta`.
    fn gradient(&mut self, step: u64, theta: &[f64], out: &mut [f64]) {
        if self.recorded.take() == Some(step) {
            // Records of X leave other embeddings behind.
            if !self.objective.gradient_of_value(theta, &self.views, out) {
                self.objective.evaluate(theta, &self.views, out);
            }
        } else {
            self.stream.views(step, &mut self.views);
            self.objective.evaluate(theta, &self.views, out);
        }
    }

    /// Records the state before the step of this number, of `steps`; after the last one on a batch of its own.
    fn record(&mut self, snapshot: Snapshot<'_>, steps: u64, recorder: &mut Recorder) {
        self.recorded = Some(snapshot.step);
        if snapshot.step == steps {
            self.stream.probe_views(&mut self.views);
        } else {
            self.stream.views(snapshot.step, &mut self.views);
        }
        let mut batch = Batch { objective: &mut self.objective, views: &self.views };
        recorder.record(snapshot, &mut batch, Some(&self.views), None);
    }
}

/// What to do where stability and not accuracy limited most steps of an explicit method.
fn stiffness_advice(effort: &Effort, is_population: bool) -> Option<String> {
    if effort.stiff_steps < STIFF_STEPS || 2 * effort.stiff_steps < effort.steps {
        return None;
    }
    let remedy = if is_population {
        "method = \"rodas5p\" is not limited so; it pays where it saves more than a factorisation of all weights costs a step"
    } else {
        "gradient_norm ends a run that has come to rest; only dynamics = \"population\" has a stiff method"
    };
    Some(format!(
        "the flow is stiff: stability, not accuracy, limited {} of {} steps; {remedy}",
        effort.stiff_steps, effort.steps
    ))
}

/// An orthonormal basis of the range of the noise covariance (d x r).
fn noisy_directions(views: &ViewCovariances) -> Result<Matrix, DecompositionError> {
    let eigen = symmetric_eigen(views.noise())?;
    let largest = eigen.values.last().copied().unwrap_or(0.0);
    let rounding = f64::EPSILON * eigen.values.len() as f64 * largest;
    let noisy = eigen.values.iter().filter(|value| **value > rounding).count();
    // Ascending: the noisy ones are the last.
    Ok(eigen.vectors.columns(eigen.values.len() - noisy, noisy).into_owned())
}

/// A run that could not start.
fn unstarted(network: Network, parameters: Vec<f64>, error: DecompositionError) -> Simulation {
    Simulation {
        trajectory: Trajectory::default(),
        network,
        parameters,
        ending: Ending::NonFinite { time: 0.0, step: 0 },
        effort: Effort::default(),
        warnings: vec![format!("the inputs have no spectrum: {error}")],
    }
}

/// Runs `plan` on what it was prepared with. `interrupted` is told the training time and asked after every step.
pub fn simulate(plan: &Plan, prepared: Prepared, interrupted: &dyn Fn(f64) -> bool) -> Simulation {
    let watch = |time: f64| if interrupted(time) { Pause::Stop } else { Pause::GoOn };
    simulate_from(None, plan, prepared, &watch, &mut |_| ())
}

/// What is to happen after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The next one.
    GoOn,
    /// A checkpoint, and then the next one.
    Keep,
    /// A checkpoint, and no further step.
    Stop,
}

/// As [`simulate`], from a checkpoint of the same plan if there is one: the results are those of a run that was never
/// interrupted, bit for bit. `watch` is told the training time after every step; checkpoints that it asks for go to `keep`.
pub fn simulate_from(
    checkpoint: Option<RunCheckpoint>,
    plan: &Plan,
    prepared: Prepared,
    watch: &dyn Fn(f64) -> Pause,
    keep: &mut dyn FnMut(&RunCheckpoint),
) -> Simulation {
    let Prepared { source, network, parameters } = prepared;
    let clock = Cell::new(0.0);
    let supervisor = Supervisor { checkpoint, clock: &clock, watch, keep };
    match source {
        Source::Samples { data, augmentation } => {
            on_samples(plan, (data, augmentation), network, parameters, supervisor)
        }
        Source::Population(views) => in_population(plan, views, network, parameters, supervisor),
    }
}

/// Where a run begins, and who watches it.
struct Supervisor<'a> {
    checkpoint: Option<RunCheckpoint>,
    /// The training time, set by whatever is evaluated.
    clock: &'a Cell<f64>,
    watch: &'a dyn Fn(f64) -> Pause,
    keep: &'a mut dyn FnMut(&RunCheckpoint),
}

impl Supervisor<'_> {
    /// Gives the recorder what the checkpoint has recorded, and tells where the dynamics stood then; nothing happens where that
    /// is not of the kind that `of_kind` looks for.
    fn resume<T>(&mut self, recorder: &mut Recorder, of_kind: fn(Standing) -> Option<T>) -> Option<T> {
        let RunCheckpoint { standing, trajectory, remarks } = self.checkpoint.take()?;
        let standing = of_kind(standing)?;
        recorder.trajectory = trajectory;
        recorder.set_remarks(remarks);
        Some(standing)
    }

    /// The position from which a descent begins.
    fn begin_descent(&mut self, recorder: &mut Recorder, parameters: Vec<f64>) -> Position {
        let descent = |standing| match standing {
            Standing::Descent(position) => Some(position),
            Standing::Flow(_) => None,
        };
        self.resume(recorder, descent).unwrap_or_else(|| Position::new(parameters))
    }

    /// Lets `advance` go on, until the run is over or is to stop; where it was only held up, with a checkpoint in between.
    /// `advance` is given what to ask after each step.
    fn follow(
        &mut self,
        recorder: &mut Recorder,
        mut advance: impl FnMut(&mut Recorder, &dyn Fn() -> bool) -> (Ending, Standing),
    ) -> Ending {
        let (watch, clock) = (self.watch, self.clock);
        loop {
            let pause = Cell::new(Pause::GoOn);
            let (ending, standing) = advance(recorder, &|| {
                pause.set(watch(clock.get()));
                pause.get() != Pause::GoOn
            });
            if !matches!(ending, Ending::Interrupted { .. }) {
                return ending;
            }
            let (trajectory, remarks) = (recorder.trajectory.clone(), recorder.remarks());
            (self.keep)(&RunCheckpoint { standing, trajectory, remarks });
            if pause.get() == Pause::Stop {
                return ending;
            }
        }
    }
}

/// The flow on infinitely many samples.
fn in_population(
    plan: &Plan,
    views: ViewCovariances,
    network: Network,
    mut parameters: Vec<f64>,
    mut supervisor: Supervisor<'_>,
) -> Simulation {
    let Dynamics::Population { flow, batch } = plan.dynamics() else {
        unreachable!("only this kind of dynamics is prepared without samples")
    };
    let population = || {
        // Plans are checked when they are read, so the limit exists; see `experiment`.
        let limit = Population::new(&plan.loss().0, views.clone()).expect("a checked plan");
        match batch {
            Some(batch) => limit.with_batch(batch as f64).expect("a checked plan"),
            None => limit,
        }
    };
    let factor = symmetric_eigen(&views.pooled())
        .map(|eigen| triangular_factor(&eigen.map(|value| value.max(0.0).sqrt())));
    let recorder = factor
        .and_then(SpectrumInputs::of_covariance)
        .and_then(|inputs| Recorder::new(plan, &network, &parameters, Some(views.clone()), inputs, None));
    let mut recorder = match recorder {
        Ok(recorder) => recorder,
        Err(error) => return unstarted(network, parameters, error),
    };
    let mut landscape = PopulationLandscape { network: network.clone(), population: population() };
    let mut field = PopulationField::new(&network, population(), supervisor.clock);
    let record = |snapshot: Snapshot<'_>, recorder: &mut Recorder| {
        recorder.record(snapshot, &mut landscape, None, None);
    };
    let result = match flow.method {
        FlowMethod::Explicit(_) => {
            let mut explicit = |time: f64, theta: &[f64], out: &mut [f64]| field.evaluate(time, theta, out);
            run_flow(&flow, &mut parameters, &mut explicit, plan, &mut recorder, record, &mut supervisor)
        }
        FlowMethod::Rosenbrock(method) => {
            let tolerances = Tolerances::new(flow.rtol, flow.atol);
            let integrator =
                Integrator::rosenbrock(method, tolerances, 0.0, &parameters, flow.time_end, flow.max_steps);
            drive(
                integrator,
                &flow,
                &mut parameters,
                &mut field,
                plan,
                &mut recorder,
                record,
                &mut supervisor,
            )
        }
    };
    drop(field);
    recorder.finish((network, parameters), result, None, None, true)
}

/// Any dynamics on a fixed batch or on fresh ones.
fn on_samples(
    plan: &Plan,
    (data, augmentation): (Dataset, Augmentation),
    network: Network,
    mut parameters: Vec<f64>,
    mut supervisor: Supervisor<'_>,
) -> Simulation {
    let clock = supervisor.clock;
    let (loss, reduction) = plan.loss();
    let dynamics = plan.dynamics();
    let sgd = matches!(dynamics, Dynamics::Sgd { .. });
    let views = if sgd { Vec::new() } else { full_batch(&data, &augmentation, plan.seed) };
    let spectrum_inputs = if sgd {
        data.draw(plan.observe_samples(), &mut plan.seed.generator(Stream::Probe, 0))
    } else {
        views.clone()
    };
    let recorder = SpectrumInputs::new(&network, spectrum_inputs).and_then(|inputs| {
        Recorder::new(
            plan,
            &network,
            &parameters,
            covariances(&data, &augmentation),
            inputs,
            Some(data.count()),
        )
    });
    let mut recorder = match recorder {
        Ok(recorder) => recorder,
        Err(error) => return unstarted(network, parameters, error),
    };
    if let Some(components) = &data.components {
        let constants = &mut recorder.trajectory.constants;
        let (rows, columns) = components.directions.shape();
        let directions = components.directions.transpose().as_slice().to_vec();
        constants.insert("pca_directions".into(), (vec![rows, columns], directions));
        constants.insert("pca_variances".into(), (vec![columns], components.variances.clone()));
        constants.insert("pca_retained".into(), (vec![], vec![components.retained]));
    }

    let mut observed_objective = Objective::new(network.clone(), loss, reduction);
    let mut measure = |snapshot: Snapshot<'_>, recorder: &mut Recorder, views: &[f64], x: Option<&Matrix>| {
        let mut batch = Batch { objective: &mut observed_objective, views };
        recorder.record(snapshot, &mut batch, Some(views), x);
    };
    let mut given_x = None;
    let mut objective = Objective::new(network.clone(), loss, reduction);
    // Plans are checked when they are read, so recording times exist; see `experiment`.
    let recording = plan.recording();
    let result = match &dynamics {
        Dynamics::Flow(flow) => {
            let mut field = |time: f64, theta: &[f64], out: &mut [f64]| {
                clock.set(time);
                objective.evaluate(theta, &views, out);
                out.iter_mut().for_each(|value| *value = -*value);
            };
            let record =
                |snapshot: Snapshot<'_>, recorder: &mut Recorder| measure(snapshot, recorder, &views, None);
            run_flow(flow, &mut parameters, &mut field, plan, &mut recorder, record, &mut supervisor)
        }
        Dynamics::FrozenX(flow) => {
            let (x, _) = objective.x_matrix(&parameters, &views);
            let mut given = GivenXFlow::new(&network);
            let mut field = |time: f64, theta: &[f64], out: &mut [f64]| {
                clock.set(time);
                given.derivative(theta, &x, out);
            };
            let record = |snapshot: Snapshot<'_>, recorder: &mut Recorder| {
                measure(snapshot, recorder, &views, Some(&x));
            };
            let result =
                run_flow(flow, &mut parameters, &mut field, plan, &mut recorder, record, &mut supervisor);
            given_x = Some(GivenX { start: x, decay: 0.0 });
            result
        }
        Dynamics::PrescribedX { eigenvalues, decay, flow } => {
            let start = nalgebra::DVector::from_column_slice(eigenvalues);
            let x = |time: f64| Matrix::from_diagonal(&(&start * (-decay * time).exp()));
            let mut current = x(0.0);
            let mut given = GivenXFlow::new(&network);
            let mut field = |time: f64, theta: &[f64], out: &mut [f64]| {
                clock.set(time);
                let factor = (-decay * time).exp();
                for (k, value) in eigenvalues.iter().enumerate() {
                    current[(k, k)] = value * factor;
                }
                given.derivative(theta, &current, out);
            };
            let record = |snapshot: Snapshot<'_>, recorder: &mut Recorder| {
                measure(snapshot, recorder, &views, Some(&x(snapshot.time)));
            };
            given_x = Some(GivenX { start: x(0.0), decay: *decay });
            run_flow(flow, &mut parameters, &mut field, plan, &mut recorder, record, &mut supervisor)
        }
        Dynamics::Gd { rate, steps, gradient_norm } => {
            let descent = Descent { rate: *rate, steps: *steps };
            let recorded = recording.steps(*rate, *steps).unwrap_or_default();
            let mut position = supervisor.begin_descent(&mut recorder, parameters);
            let mut gradient = |step: u64, theta: &[f64], out: &mut [f64]| {
                clock.set(rate * step as f64);
                objective.evaluate(theta, &views, out);
            };
            let ending = supervisor.follow(&mut recorder, |recorder, paused| {
                let mut show = |snapshot: Snapshot<'_>| measure(snapshot, recorder, &views, None);
                let ending =
                    descent.run(&mut position, &mut gradient, &recorded, *gradient_norm, paused, &mut show);
                (ending, Standing::Descent(position.clone()))
            });
            parameters = position.theta.clone();
            (ending, position.effort())
        }
        Dynamics::Sgd { rate, steps, batch } => {
            let descent = Descent { rate: *rate, steps: *steps };
            let recorded = recording.steps(*rate, *steps).unwrap_or_default();
            let mut position = supervisor.begin_descent(&mut recorder, parameters);
            let batches = BatchStream::new(&data, &augmentation, plan.seed, *batch);
            // A record and the gradient that follows it are closures over one memory.
            let drawn = RefCell::new(DrawnBatch::new(batches, objective, 2 * batch * data.dim));
            let mut gradient = |step: u64, theta: &[f64], out: &mut [f64]| {
                clock.set(rate * step as f64);
                drawn.borrow_mut().gradient(step, theta, out);
            };
            let ending = supervisor.follow(&mut recorder, |recorder, paused| {
                let mut show = |snapshot: Snapshot<'_>| drawn.borrow_mut().record(snapshot, *steps, recorder);
                let ending = descent.run(&mut position, &mut gradient, &recorded, None, paused, &mut show);
                (ending, Standing::Descent(position.clone()))
            });
            parameters = position.theta.clone();
            (ending, position.effort())
        }
        Dynamics::Population { .. } => unreachable!("the population has no samples"),
    };
    let batch = (!sgd).then_some(views.as_slice());
    recorder.finish((network, parameters), result, given_x.as_ref(), batch, false)
}

fn run_flow(
    flow: &Flow,
    parameters: &mut Vec<f64>,
    field: &mut impl FnMut(f64, &[f64], &mut [f64]),
    plan: &Plan,
    recorder: &mut Recorder,
    record: impl FnMut(Snapshot<'_>, &mut Recorder),
    supervisor: &mut Supervisor<'_>,
) -> (Ending, Effort) {
    let FlowMethod::Explicit(method) = flow.method else { unreachable!("only a population has a Jacobian") };
    let tolerances = Tolerances::new(flow.rtol, flow.atol);
    let integrator = Integrator::new(method, tolerances, 0.0, parameters, flow.time_end, flow.max_steps);
    drive(integrator, flow, parameters, field, plan, recorder, record, supervisor)
}

/// From the start of `integrator` to its end, with records at the plan's times.
#[allow(clippy::too_many_arguments)] // what a run consists of, connected in one place
fn drive<F, S: Scheme<F>>(
    mut integrator: Integrator<S>,
    flow: &Flow,
    parameters: &mut Vec<f64>,
    field: &mut F,
    plan: &Plan,
    recorder: &mut Recorder,
    mut record: impl FnMut(Snapshot<'_>, &mut Recorder),
    supervisor: &mut Supervisor<'_>,
) -> (Ending, Effort) {
    let times = plan.recording().times(flow.time_end).unwrap_or_default();
    let flow_only = |standing| match standing {
        Standing::Flow(checkpoint) => Some(checkpoint),
        Standing::Descent(_) => None,
    };
    if let Some(checkpoint) = supervisor.resume(recorder, flow_only) {
        integrator.restore(&checkpoint);
    }
    let ending = supervisor.follow(recorder, |recorder, paused| {
        let mut show = |snapshot: Snapshot<'_>| record(snapshot, recorder);
        let ending = integrate(&mut integrator, field, &times, flow.gradient_norm, paused, &mut show);
        (ending, Standing::Flow(integrator.checkpoint()))
    });
    *parameters = integrator.state().to_vec();
    (ending, integrator.effort())
}
