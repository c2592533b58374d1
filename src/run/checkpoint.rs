//! A run between two of its steps: with its plan, all that it needs to go on to the same results, bit for bit.

use crate::dynamics::{Checkpoint, Position, StiffnessTest};
use crate::experiment::Plan;
use crate::files::{self, Array, FileError, NpzArray, Place};
use crate::record::{Column, Effort, Trajectory};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the dynamics stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Of gradient descent, whose batches are functions of the step.
    Descent(Position),
    /// Of a flow.
    Flow(Checkpoint),
}

impl Standing {
    /// The training time, or the number of steps of a descent.
    pub fn progress(&self) -> String {
        match self {
            Standing::Descent(position) => format!("step {}", position.step),
            Standing::Flow(checkpoint) => format!("t = {:.4e}", checkpoint.time),
        }
    }
}

/// What records have left for the warnings of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remarks {
    /// Why a state could not be recorded.
    pub failure: Option<String>,
    /// Embeddings that were shorter than the floor of their norm, how many and when, the first time.
    pub short: Option<(usize, f64)>,
    /// Whether it was said that the samples leave the population limit.
    pub left_limit: bool,
    /// What else was said.
    pub warnings: Vec<String>,
}

/// A run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCheckpoint {
    /// Where the dynamics stand.
    pub standing: Standing,
    /// What was recorded so far.
    pub trajectory: Trajectory,
    /// What is to be said of it.
    pub remarks: Remarks,
}

/// Prefixes of the trajectory's arrays.
const COLUMN: &str = "column ";
const CONSTANT: &str = "constant ";

impl RunCheckpoint {
    /// Writes the checkpoint of `plan` whole or not at all, with the seconds that the run has taken so far.
    pub(super) fn write(&self, path: &Path, plan: &Plan, wall_seconds: f64) -> Result<(), FileError> {
        let (numbers, counts, state, derivative) = match &self.standing {
            Standing::Descent(Position { step, theta }) => (vec![], vec![*step], theta, &Vec::new()),
            Standing::Flow(flow) => {
                let [suspected, clean] = flow.stiffness.to_counts();
                let effort = flow.effort;
                let counts = vec![
                    u64::from(suspected),
                    u64::from(clean),
                    effort.steps,
                    effort.rejected,
                    effort.evaluations,
                    effort.dense_evaluations,
                    effort.jacobians,
                    effort.stiff_steps,
                ];
                let size = flow.step_size.unwrap_or(f64::NAN);
                (
                    vec![flow.start, flow.time, size, flow.previous_error],
                    counts,
                    &flow.state,
                    &flow.derivative,
                )
            }
        };
        let Remarks { failure, short, left_limit, warnings } = &self.remarks;
        let (short, short_time) = short.unzip();
        let text = json!({
            "plan": fingerprint(plan),
            "failure": failure,
            "short": short,
            "left_limit": left_limit,
            "warnings": warnings
        });
        let text: Vec<u64> = text.to_string().bytes().map(u64::from).collect();
        let times = self.trajectory.time.len();
        let mut arrays: Vec<(String, Vec<usize>, &[f64])> = vec![
            ("numbers".into(), vec![numbers.len()], &numbers),
            ("state".into(), vec![state.len()], state),
            ("derivative".into(), vec![derivative.len()], derivative),
            ("time".into(), vec![times], &self.trajectory.time),
        ];
        let others = [short_time.unwrap_or(f64::NAN), wall_seconds];
        arrays.push(("others".into(), vec![others.len()], &others));
        for (name, column) in &self.trajectory.columns {
            let shape = std::iter::once(times).chain(column.row_shape.iter().copied()).collect();
            arrays.push((format!("{COLUMN}{name}"), shape, &column.values));
        }
        for (name, (shape, values)) in &self.trajectory.constants {
            arrays.push((format!("{CONSTANT}{name}"), shape.clone(), values));
        }
        let mut entries: Vec<(&str, NpzArray<'_>)> = arrays
            .iter()
            .map(|(name, shape, values)| (name.as_str(), NpzArray::f64(shape, values)))
            .collect();
        let (of_counts, of_text, of_steps) = ([counts.len()], [text.len()], [times]);
        entries.push(("counts", NpzArray::u64(&of_counts, &counts)));
        entries.push(("text", NpzArray::u64(&of_text, &text)));
        entries.push(("step", NpzArray::u64(&of_steps, &self.trajectory.step)));
        files::write_atomically(path, &files::npz_bytes(&entries)?)
    }

    /// Reads a checkpoint of `plan` and the seconds that its run had taken.
    pub(super) fn read(path: &Path, plan: &Plan) -> Result<(RunCheckpoint, f64), FileError> {
        RunCheckpoint::of_arrays(files::read_npz(path)?, plan).ok_or_else(|| {
            let (found, allowed) =
                ("not a checkpoint of this run", "what this run has left when it was interrupted");
            FileError::new(path, Place::Whole, found, allowed, "remove it; the run then begins anew")
        })
    }

    fn of_arrays(mut arrays: BTreeMap<String, Array>, plan: &Plan) -> Option<(RunCheckpoint, f64)> {
        let mut take = |name: &str| arrays.remove(name).map(|array| array.values);
        let (numbers, state, derivative) = (take("numbers")?, take("state")?, take("derivative")?);
        let counts: Vec<u64> = take("counts")?.iter().map(|count| *count as u64).collect();
        let standing = match (numbers.as_slice(), counts.as_slice()) {
            ([], [step]) => Standing::Descent(Position { step: *step, theta: state }),
            (
                [start, time, size, previous_error],
                [suspected, clean, steps, rejected, evaluations, dense_evaluations, jacobians, stiff_steps],
            ) => Standing::Flow(Checkpoint {
                start: *start,
                time: *time,
                state,
                derivative,
                step_size: (!size.is_nan()).then_some(*size),
                previous_error: *previous_error,
                stiffness: StiffnessTest::from_counts([*suspected as u32, *clean as u32]),
                effort: Effort {
                    steps: *steps,
                    rejected: *rejected,
                    evaluations: *evaluations,
                    dense_evaluations: *dense_evaluations,
                    jacobians: *jacobians,
                    stiff_steps: *stiff_steps,
                },
            }),
            _ => return None,
        };
        let [short_time, wall_seconds] = take("others")?[..] else { return None };
        let bytes: Vec<u8> = take("text")?.iter().map(|byte| *byte as u8).collect();
        let text: Value = serde_json::from_slice(&bytes).ok()?;
        if text["plan"] != fingerprint(plan) {
            return None;
        }
        let warnings = text["warnings"].as_array()?.iter().map(|text| text.as_str().map(String::from));
        let remarks = Remarks {
            failure: text["failure"].as_str().map(String::from),
            short: text["short"].as_u64().map(|count| (count as usize, short_time)),
            left_limit: text["left_limit"].as_bool()?,
            warnings: warnings.collect::<Option<_>>()?,
        };
        let mut trajectory = Trajectory {
            time: take("time")?,
            step: take("step")?.iter().map(|step| *step as u64).collect(),
            ..Trajectory::default()
        };
        for (name, array) in arrays {
            if let Some(name) = name.strip_prefix(COLUMN) {
                let row_shape = array.shape.get(1..)?.to_vec();
                trajectory.columns.insert(name.to_string(), Column { row_shape, values: array.values });
            } else {
                let name = name.strip_prefix(CONSTANT)?;
                trajectory.constants.insert(name.to_string(), (array.shape, array.values));
            }
        }
        Some((RunCheckpoint { standing, trajectory, remarks }, wall_seconds))
    }
}

/// What a checkpoint is of: all that a run depends on, longer than the hash in its name.
fn fingerprint(plan: &Plan) -> String {
    let revision = plan.subject.engine_revision();
    files::sha256_hex(format!("{revision}\n{}", plan.settings.to_toml()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::simulate::{Pause, Simulation, simulate, simulate_from};
    use super::*;
    use crate::experiment::Experiment;
    use crate::record::Ending;
    use std::cell::Cell;

    /// An experiment with these dynamics, which records everything that is remembered from record to record.
    fn experiment(dynamics: &str, quantities: &str, times: &str) -> Experiment {
        let text = format!(
            r#"
seed     = 5
data     = {{ kind = "gaussian", dim = 3, samples = 40 }}
augment  = {{ kind = "block", block = 1, variance = 0.5, sides = "one" }}
encoder  = {{ kind = "linear", widths = [3, 3, 3], init = {{ kind = "gaussian", std = 0.6 }} }}
loss     = {{ kind = "infonce-euclidean" }}
dynamics = {{ {dynamics} }}
observe  = {{ times = {{ {times} }}, quantities = [{quantities}] }}
"#
        );
        Experiment::parse("test.toml", Path::new("."), &text, &[])
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Every kind of dynamics, the explicit methods and the stiff one.
    fn examples() -> Vec<Experiment> {
        let all = r#""loss", "spectra", "x", "alignment", "imbalance", "ranks", "population", "theory""#;
        let without_batch = r#""loss", "spectra", "alignment""#;
        let times = r#"kind = "linear", count = 23"#;
        let flow = r#"rtol = 1e-6, atol = 1e-9, time_end = 3.0"#;
        let mut found = vec![
            experiment(r#"kind = "gd", rate = 0.02, steps = 60"#, all, times),
            experiment(r#"kind = "gd", rate = 0.02, steps = 60, gradient_norm = 0.05"#, all, times),
            experiment(r#"kind = "sgd", rate = 0.02, steps = 60, batch = 8"#, all, times),
            experiment(
                r#"kind = "sgd", rate = 0.02, steps = 60, batch = 8"#,
                without_batch,
                r#"kind = "linear", every = 1"#,
            ),
        ];
        for method in ["tsit5", "dopri5", "dop853"] {
            found.push(experiment(&format!(r#"kind = "flow", method = "{method}", {flow}"#), all, times));
        }
        // Two layers under a fixed X grow without bound in finite time, by t = 0.5 here.
        let frozen = r#"kind = "frozen-x", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 0.4"#;
        found.push(experiment(frozen, without_batch, times));
        let prescribed = format!(
            r#"kind = "prescribed-x", eigenvalues = [0.4, -1.0, 0.2], decay = 0.7, method = "dop853", {flow}"#
        );
        found.push(experiment(&prescribed, without_batch, times));
        for method in ["tsit5", "rodas5p"] {
            let dynamics = format!(r#"kind = "population", method = "{method}", {flow}"#);
            found.push(experiment(&dynamics, r#""loss", "spectra", "theory""#, times));
        }
        found
    }

    /// All that a run leaves, with bits for numbers, so that NaN equals itself.
    fn bits(simulation: &Simulation) -> String {
        let trajectory = &simulation.trajectory;
        let of = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let columns: Vec<_> =
            trajectory.columns.iter().map(|(name, c)| (name, &c.row_shape, of(&c.values))).collect();
        let constants: Vec<_> =
            trajectory.constants.iter().map(|(name, (shape, values))| (name, shape, of(values))).collect();
        format!(
            "{:?} {:?} {columns:?} {constants:?} {:?} {:?} {:?} {:?}",
            of(&trajectory.time),
            trajectory.step,
            of(&simulation.parameters),
            simulation.ending,
            simulation.effort,
            simulation.warnings
        )
    }

    #[test]
    fn a_run_that_is_stopped_and_resumed_from_disk_after_every_few_steps_is_that_of_an_undisturbed_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.npz");
        for experiment in examples() {
            let plan = &experiment.plans[0];
            let undisturbed = simulate(plan, plan.prepare().unwrap(), &|_| false);
            assert!(undisturbed.ending.is_finished(), "{:?}", undisturbed.ending);
            for stretch in [1, 2, 5] {
                let mut checkpoint = None;
                let mut stops = 0;
                let resumed = loop {
                    let steps = Cell::new(0);
                    let watch = |_: f64| {
                        steps.set(steps.get() + 1);
                        if steps.get() == stretch { Pause::Stop } else { Pause::GoOn }
                    };
                    let mut keep = |checkpoint: &RunCheckpoint| checkpoint.write(&path, plan, 1.5).unwrap();
                    let prepared = plan.prepare().unwrap();
                    let simulation = simulate_from(checkpoint.take(), plan, prepared, &watch, &mut keep);
                    if !matches!(simulation.ending, Ending::Interrupted { .. }) {
                        break simulation;
                    }
                    stops += 1;
                    let (read, seconds) = RunCheckpoint::read(&path, plan).unwrap();
                    assert_eq!(seconds, 1.5);
                    checkpoint = Some(read);
                };
                assert!(stops > 0, "{:?} was stopped {stops} times", plan.dynamics());
                assert_eq!(bits(&resumed), bits(&undisturbed), "{:?}, {stretch}", plan.dynamics());
            }
        }
    }

    #[test]
    fn checkpoints_on_the_way_change_nothing_and_a_lost_digit_changes_the_end() {
        for experiment in examples() {
            let plan = &experiment.plans[0];
            let undisturbed = simulate(plan, plan.prepare().unwrap(), &|_| false);
            let mut last = None;
            let mut keep = |checkpoint: &RunCheckpoint| last = Some(checkpoint.clone());
            let kept = simulate_from(None, plan, plan.prepare().unwrap(), &|_| Pause::Keep, &mut keep);
            assert_eq!(bits(&kept), bits(&undisturbed), "{:?}", plan.dynamics());
            let mut spoiled = last.expect("checkpoints were taken");
            let state = match &mut spoiled.standing {
                Standing::Descent(position) => &mut position.theta,
                Standing::Flow(flow) => &mut flow.state,
            };
            state[0] *= 1.0 + 1e-12;
            let spoiled =
                simulate_from(Some(spoiled), plan, plan.prepare().unwrap(), &|_| Pause::GoOn, &mut |_| ());
            assert_ne!(bits(&spoiled), bits(&undisturbed), "{:?}", plan.dynamics());
        }
    }

    #[test]
    fn remarks_and_odd_numbers_come_back_from_disk_and_what_is_no_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.npz");
        let examples = examples();
        let (plan, other) = (&examples[0].plans[0], &examples[1].plans[0]);
        let mut trajectory = Trajectory { time: vec![0.0], step: vec![0], ..Trajectory::default() };
        trajectory.put("a", &[2, 1], &[f64::INFINITY, -0.0]);
        trajectory.constants.insert("b c".into(), (vec![], vec![5e-324]));
        let checkpoint = RunCheckpoint {
            standing: Standing::Descent(Position { step: 1 << 52, theta: vec![1.0 / 3.0] }),
            trajectory,
            remarks: Remarks {
                failure: Some("ä \"quoted\"\nline".into()),
                short: Some((3, 0.1)),
                left_limit: true,
                warnings: vec![String::new(), "σ".into()],
            },
        };
        checkpoint.write(&path, plan, 0.25).unwrap();
        assert_eq!(RunCheckpoint::read(&path, plan).unwrap(), (checkpoint.clone(), 0.25));
        for step_size in [None, Some(0.3)] {
            let effort = Effort {
                steps: 1,
                rejected: 2,
                evaluations: 3,
                dense_evaluations: 4,
                jacobians: 5,
                stiff_steps: 6,
            };
            let flow = Checkpoint {
                start: 0.1,
                time: 0.2,
                state: vec![1.0, 2.0],
                derivative: vec![3.0, 4.0],
                step_size,
                previous_error: 0.4,
                stiffness: StiffnessTest::from_counts([7, 8]),
                effort,
            };
            let standing = Standing::Flow(flow);
            let checkpoint = RunCheckpoint { standing, ..checkpoint.clone() };
            checkpoint.write(&path, plan, 0.5).unwrap();
            assert_eq!(RunCheckpoint::read(&path, plan).unwrap(), (checkpoint, 0.5));
        }
        let error = RunCheckpoint::read(&path, other).unwrap_err().to_string();
        assert!(error.contains("not a checkpoint of this run"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(RunCheckpoint::read(&path, plan).is_err(), "{length} bytes");
        }
        files::write_npz(&path, &[("state", NpzArray::f64(&[1], &[1.0]))]).unwrap();
        assert!(RunCheckpoint::read(&path, plan).unwrap_err().to_string().contains("begins anew"));
    }
}
