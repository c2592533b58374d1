//! One plan from its start to its end: connects loss, dynamics and observation.

use crate::dynamics::{Descent, Integrator, Position, Snapshot, Tolerances, integrate};
use crate::encoder::Network;
use crate::experiment::{Dynamics, Flow, Plan, Prepared};
use crate::gradient::{GivenXFlow, Objective};
use crate::loss::NORM_FLOOR;
use crate::matrix::Matrix;
use crate::observe::{Accuracy, Observer, SpectrumInputs};
use crate::record::{Effort, Ending, Trajectory};
use crate::seed::Stream;
use crate::stream::{BatchStream, full_batch};
use std::cell::Cell;

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
    objective: Objective,
    observer: Observer,
    trajectory: Trajectory,
    failure: Option<String>,
    short: Option<(usize, f64)>,
}

impl Recorder {
    fn record(&mut self, snapshot: Snapshot<'_>, views: &[f64], given_x: Option<&Matrix>) {
        let at = (snapshot.time, snapshot.step);
        let measured = self.observer.measure(
            &mut self.objective,
            snapshot.state,
            views,
            given_x,
            at,
            &mut self.trajectory,
        );
        match measured {
            Ok(0) => {}
            Ok(count) => self.short = self.short.or(Some((count, snapshot.time))),
            Err(error) if self.failure.is_none() => {
                self.failure = Some(format!("not recorded at t = {}: {error}", snapshot.time));
            }
            Err(_) => {}
        }
    }
}

/// Runs `plan` on what it was prepared with. `interrupted` is told the training time and asked after every step.
pub fn simulate(plan: &Plan, prepared: Prepared, interrupted: &dyn Fn(f64) -> bool) -> Simulation {
    let clock = Cell::new(0.0);
    let interrupted = &|| interrupted(clock.get());
    let Prepared { data, augmentation, network, mut parameters } = prepared;
    let (loss, reduction) = plan.loss();
    let dynamics = plan.dynamics();
    let sgd = matches!(dynamics, Dynamics::Sgd { .. });
    let views = if sgd { Vec::new() } else { full_batch(&data, &augmentation, plan.seed) };
    let spectrum_inputs = if sgd {
        data.draw(plan.observe_samples(), &mut plan.seed.generator(Stream::Probe, 0))
    } else {
        views.clone()
    };
    let accuracy = match &dynamics {
        Dynamics::Flow(flow) | Dynamics::FrozenX(flow) | Dynamics::PrescribedX { flow, .. } => {
            Accuracy { rtol: flow.rtol, atol: flow.atol }
        }
        Dynamics::Gd { .. } | Dynamics::Sgd { .. } => Accuracy::default(),
    };
    let inputs = match SpectrumInputs::new(&network, spectrum_inputs) {
        Ok(inputs) => inputs,
        Err(error) => {
            return Simulation {
                trajectory: Trajectory::default(),
                network,
                parameters,
                ending: Ending::NonFinite { time: 0.0, step: 0 },
                effort: Effort::default(),
                warnings: vec![format!("the inputs have no spectrum: {error}")],
            };
        }
    };
    let mut recorder = Recorder {
        objective: Objective::new(network.clone(), loss, reduction),
        observer: Observer { quantities: plan.quantities(), accuracy, inputs },
        trajectory: Trajectory::default(),
        failure: None,
        short: None,
    };
    if let Some(components) = &data.components {
        let constants = &mut recorder.trajectory.constants;
        let (rows, columns) = components.directions.shape();
        let directions = components.directions.transpose().as_slice().to_vec();
        constants.insert("pca_directions".into(), (vec![rows, columns], directions));
        constants.insert("pca_variances".into(), (vec![columns], components.variances.clone()));
        constants.insert("pca_retained".into(), (vec![], vec![components.retained]));
    }

    let mut objective = Objective::new(network.clone(), loss, reduction);
    // Plans are checked when they are read, so recording times exist; see `experiment`.
    let recording = plan.recording();
    let (ending, effort) = match &dynamics {
        Dynamics::Flow(flow) => {
            let mut field = |time: f64, theta: &[f64], out: &mut [f64]| {
                clock.set(time);
                objective.evaluate(theta, &views, out);
                out.iter_mut().for_each(|value| *value = -*value);
            };
            let record =
                |snapshot: Snapshot<'_>, recorder: &mut Recorder| recorder.record(snapshot, &views, None);
            run_flow(flow, &mut parameters, &mut field, plan, &mut recorder, record, interrupted)
        }
        Dynamics::FrozenX(flow) => {
            let (x, _) = objective.x_matrix(&parameters, &views);
            let mut given = GivenXFlow::new(&network);
            let mut field = |time: f64, theta: &[f64], out: &mut [f64]| {
                clock.set(time);
                given.derivative(theta, &x, out);
            };
            let record =
                |snapshot: Snapshot<'_>, recorder: &mut Recorder| recorder.record(snapshot, &views, Some(&x));
            run_flow(flow, &mut parameters, &mut field, plan, &mut recorder, record, interrupted)
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
                let x = x(snapshot.time);
                recorder.record(snapshot, &views, Some(&x));
            };
            run_flow(flow, &mut parameters, &mut field, plan, &mut recorder, record, interrupted)
        }
        Dynamics::Gd { rate, steps, gradient_norm } => {
            let descent = Descent { rate: *rate, steps: *steps };
            let recorded = recording.steps(*rate, *steps).unwrap_or_default();
            let mut position = Position::new(parameters);
            let mut gradient = |step: u64, theta: &[f64], out: &mut [f64]| {
                clock.set(rate * step as f64);
                objective.evaluate(theta, &views, out);
            };
            let ending = descent.run(
                &mut position,
                &mut gradient,
                &recorded,
                *gradient_norm,
                interrupted,
                &mut |snapshot| recorder.record(snapshot, &views, None),
            );
            parameters = position.theta.clone();
            (ending, position.effort())
        }
        Dynamics::Sgd { rate, steps, batch } => {
            let descent = Descent { rate: *rate, steps: *steps };
            let recorded = recording.steps(*rate, *steps).unwrap_or_default();
            let mut position = Position::new(parameters);
            let mut stream = BatchStream::new(&data, &augmentation, plan.seed, *batch);
            let mut observed = BatchStream::new(&data, &augmentation, plan.seed, *batch);
            let mut batch_views = vec![0.0; 2 * batch * data.dim];
            let mut observed_views = batch_views.clone();
            let mut gradient = |step: u64, theta: &[f64], out: &mut [f64]| {
                clock.set(rate * step as f64);
                stream.views(step, &mut batch_views);
                objective.evaluate(theta, &batch_views, out);
            };
            let ending =
                descent.run(&mut position, &mut gradient, &recorded, None, interrupted, &mut |snapshot| {
                    if snapshot.step == *steps {
                        observed.probe_views(&mut observed_views);
                    } else {
                        observed.views(snapshot.step, &mut observed_views);
                    }
                    recorder.record(snapshot, &observed_views, None);
                });
            parameters = position.theta.clone();
            (ending, position.effort())
        }
    };
    let mut warnings: Vec<String> = recorder.failure.into_iter().collect();
    if let Some((count, time)) = recorder.short {
        warnings.push(format!(
            "embeddings shorter than {NORM_FLOOR:e} were divided by it instead of their norm, {count} at t = {time} first"
        ));
    }
    Simulation { trajectory: recorder.trajectory, network, parameters, ending, effort, warnings }
}

fn run_flow(
    flow: &Flow,
    parameters: &mut Vec<f64>,
    field: &mut impl FnMut(f64, &[f64], &mut [f64]),
    plan: &Plan,
    recorder: &mut Recorder,
    mut record: impl FnMut(Snapshot<'_>, &mut Recorder),
    interrupted: &dyn Fn() -> bool,
) -> (Ending, Effort) {
    let times = plan.recording().times(flow.time_end).unwrap_or_default();
    let tolerances = Tolerances::new(flow.rtol, flow.atol);
    let mut integrator =
        Integrator::new(flow.method, tolerances, 0.0, parameters, flow.time_end, flow.max_steps);
    let ending =
        integrate(&mut integrator, field, &times, flow.gradient_norm, interrupted, &mut |snapshot| {
            record(snapshot, recorder);
        });
    *parameters = integrator.state().to_vec();
    (ending, integrator.effort())
}
