//! Results on disk: one directory a cell and repeat, whole or not there.

use super::hold;
use super::simulate::Simulation;
use crate::experiment::Plan;
use crate::files::{self, Array, FileError, NpzArray};
use crate::record::{Effort, Ending, Trajectory, declared_array, follows_time};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PLAN: &str = "plan.toml";
const OUTCOME: &str = "outcome.json";
const RECORD: &str = "record.npz";
const STATE: &str = "state.npz";
const CHECKPOINT: &str = "checkpoint-";

/// A directory of results.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What the store says of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nothing usable is there.
    Missing,
    /// The run did what its plan asked for.
    Finished,
    /// The run ended early, for this reason.
    Failed(String),
    /// A file is not the one that was written, for this reason; it has to be written again.
    Damaged(String),
    /// A file cannot be read, for this reason, and may be as it should be.
    Unreadable(String),
}

/// What the outcome of a run says by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Glance {
    Missing,
    Finished { wall_seconds: f64 },
    Failed { message: String },
    Damaged { message: String },
    Unreadable { message: String },
}

/// What is wrong with a file.
enum Flaw {
    Damaged(String),
    Unreadable(String),
}

impl Flaw {
    /// What is not there, or is not a file, was lost or changed; whatever else the system says may pass.
    fn of(path: &Path, kind: io::ErrorKind, message: String) -> Flaw {
        use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
        match kind {
            NotFound => Flaw::Damaged(format!("{} is missing", path.display())),
            IsADirectory | NotADirectory | InvalidData | UnexpectedEof => Flaw::Damaged(message),
            _ => Flaw::Unreadable(message),
        }
    }

    fn message(self) -> String {
        match self {
            Flaw::Damaged(message) | Flaw::Unreadable(message) => message,
        }
    }
}

/// What is kept of a run that has ended.
#[derive(Clone, Debug)]
pub struct Completed {
    /// What was measured.
    pub trajectory: Trajectory,
    /// Why the run ended.
    pub ending: Ending,
    /// What it cost.
    pub effort: Effort,
    /// What the reader of the results should know.
    pub warnings: Vec<String>,
    /// The file that holds the final weights: its name and its bytes.
    pub state: Option<(&'static str, Vec<u8>)>,
}

impl Completed {
    /// What is kept of a simulation.
    pub fn of(simulation: Simulation) -> Result<Completed, FileError> {
        let state = simulation.ending.is_finished().then(|| state_bytes(&simulation)).transpose()?;
        let Simulation { trajectory, ending, effort, warnings, .. } = simulation;
        Ok(Completed { trajectory, ending, effort, warnings, state: state.map(|bytes| (STATE, bytes)) })
    }
}

/// The outcome and the arrays of one stored run.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// The content of `outcome.json`.
    pub outcome: Value,
    /// The content of `record.npz`.
    pub arrays: BTreeMap<String, Array>,
}

impl StoredRun {
    /// The last row of the array of this name.
    pub fn last(&self, name: &str) -> Option<&[f64]> {
        let array = self.arrays.get(name)?;
        let rows = *array.shape.first()?;
        let length: usize = array.shape[1..].iter().product();
        Some(&array.values[(rows.checked_sub(1)?) * length..])
    }

    /// The recorded times.
    pub fn times(&self) -> &[f64] {
        self.arrays.get("time").map_or(&[], |array| &array.values)
    }

    /// Whether the array of this name has a row for each recorded time: what it is declared to be, unless its length
    /// says otherwise, as of a prediction that does not change.
    pub fn has_time_axis(&self, name: &str) -> bool {
        let declared = declared_array(name).is_some_and(|(_, shape, _)| follows_time(shape));
        let rows = self.arrays.get(name).and_then(|array| array.shape.first());
        declared && rows == Some(&self.times().len())
    }

    /// The row of the array of this name at the recorded time of this index. An array without a time axis is one row,
    /// the same at all times.
    pub fn row(&self, name: &str, time: usize) -> Option<&[f64]> {
        let array = self.arrays.get(name)?;
        if !self.has_time_axis(name) {
            return Some(&array.values);
        }
        let length: usize = array.shape[1..].iter().product();
        array.values.get(time * length..(time + 1) * length)
    }

    /// Whether the run did what its plan asked for.
    pub fn is_finished(&self) -> bool {
        self.outcome["finished"] == Value::Bool(true)
    }
}

impl Store {
    /// The store at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Store { root: root.into() }
    }

    /// Where the store lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the store's folder where there is none.
    pub fn create(&self) -> Result<(), FileError> {
        fs::create_dir_all(&self.root).map_err(|error| FileError::io(&self.root, "create the folder", &error))
    }

    /// The directory of a plan's results.
    pub fn directory(&self, plan: &Plan) -> PathBuf {
        self.root.join(plan.directory_name())
    }

    /// What the outcome in a directory of the store says, without a look at the other files.
    pub(super) fn glance(&self, directory: &str) -> Glance {
        match self.outcome(&self.root.join(directory)) {
            None => Glance::Missing,
            Some(Err(Flaw::Damaged(message))) => Glance::Damaged { message },
            Some(Err(Flaw::Unreadable(message))) => Glance::Unreadable { message },
            Some(Ok(outcome)) if outcome["finished"] == Value::Bool(true) => {
                Glance::Finished { wall_seconds: outcome["wall_seconds"].as_f64().unwrap_or(0.0) }
            }
            Some(Ok(outcome)) => Glance::Failed { message: message_of(&outcome) },
        }
    }

    /// The outcome in a directory of results, of a run that never began too, or what is wrong with it.
    pub(super) fn outcome_in(&self, directory: &Path) -> Result<Value, String> {
        match self.outcome(directory) {
            Some(outcome) => outcome.map_err(Flaw::message),
            None => Err(format!("{} is missing", directory.display())),
        }
    }

    /// The outcome in a directory, or what is wrong with it; nothing where there is no such directory.
    fn outcome(&self, directory: &Path) -> Option<Result<Value, Flaw>> {
        let path = directory.join(OUTCOME);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let outcome = serde_json::from_str::<Value>(&text);
                Some(outcome.map_err(|_| Flaw::Damaged(format!("{} is not JSON", path.display()))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(directory) => None,
            Err(error) => {
                Some(Err(Flaw::of(&path, error.kind(), FileError::io(&path, "read", &error).to_string())))
            }
        }
    }

    /// Where a plan's run keeps what it needs to go on after an interruption, until it has ended.
    pub(super) fn checkpoint(&self, plan: &Plan) -> PathBuf {
        self.root.join(hold::WORKING).join(format!("{CHECKPOINT}{}.npz", plan.hash))
    }

    /// Hashes of the plans whose runs have left a checkpoint.
    pub(super) fn checkpoints(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(hold::WORKING)) else { return Vec::new() };
        let hash = |name: &str| Some(name.strip_prefix(CHECKPOINT)?.strip_suffix(".npz")?.to_string());
        entries.flatten().filter_map(|entry| hash(&entry.file_name().to_string_lossy())).collect()
    }

    /// Whether a plan's results are there, by the checksums of their files. Cost: reads all files of the cell.
    pub fn state(&self, plan: &Plan) -> State {
        let directory = self.directory(plan);
        let path = directory.join(OUTCOME);
        let outcome = match self.outcome(&directory) {
            None => return State::Missing,
            Some(Err(Flaw::Damaged(message))) => return State::Damaged(message),
            Some(Err(Flaw::Unreadable(message))) => return State::Unreadable(message),
            Some(Ok(outcome)) => outcome,
        };
        let Some(checksums) = outcome["checksums"].as_object().filter(|sums| sums.contains_key(PLAN)) else {
            return State::Damaged(format!("{} has no checksums", path.display()));
        };
        for (name, checksum) in checksums {
            let path = directory.join(name);
            match files::checksum(&path) {
                Ok(found) if Some(found.as_str()) == checksum.as_str() => {}
                Ok(_) => return State::Damaged(format!("{} has another checksum", path.display())),
                Err(error) => {
                    let kind = error.io_kind().unwrap_or(io::ErrorKind::InvalidData);
                    return match Flaw::of(&path, kind, error.to_string()) {
                        Flaw::Damaged(message) => State::Damaged(message),
                        Flaw::Unreadable(message) => State::Unreadable(message),
                    };
                }
            }
        }
        if outcome["finished"] == Value::Bool(true) {
            State::Finished
        } else {
            State::Failed(message_of(&outcome))
        }
    }

    /// Reads a plan's results.
    pub fn load(&self, plan: &Plan) -> Result<StoredRun, FileError> {
        self.load_directory(&self.directory(plan))
    }

    /// Reads the final parameters of a plan whose run has finished, by name.
    pub fn load_state(&self, plan: &Plan) -> Result<BTreeMap<String, Array>, FileError> {
        files::read_npz(self.directory(plan).join(STATE))
    }

    /// Reads the results in a directory of the store.
    pub(super) fn load_directory(&self, directory: &Path) -> Result<StoredRun, FileError> {
        let path = directory.join(OUTCOME);
        let text = fs::read_to_string(&path).map_err(|error| FileError::io(&path, "read", &error))?;
        let outcome = serde_json::from_str(&text).map_err(|error| {
            FileError::io(&path, "read", &io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        let arrays = files::read_npz(directory.join(RECORD))?;
        Ok(StoredRun { outcome, arrays })
    }

    /// Directories of the store that hold results, by name.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let hidden =
            |path: &Path| path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| !hidden(path) && path.join(OUTCOME).exists());
        found.sort();
        found
    }

    /// As [`Store::save_completed`], of a simulation.
    pub fn save(&self, plan: &Plan, simulation: Simulation, wall_seconds: f64) -> Result<(), FileError> {
        self.save_completed(plan, &Completed::of(simulation)?, wall_seconds)
    }

    /// Writes a run's results under a temporary name and renames them. They are not flushed to disk, which takes as long as a
    /// short run: see [`files::flush_file_system`]. After a power failure the checksums tell what is lost, and it is done again.
    pub fn save_completed(&self, plan: &Plan, run: &Completed, wall_seconds: f64) -> Result<(), FileError> {
        let mut arrays = vec![(RECORD, record_bytes(&run.trajectory)?)];
        if run.ending.is_finished() {
            arrays.extend(run.state.iter().map(|(name, bytes)| (*name, bytes.clone())));
        }
        self.put(plan, arrays, outcome(plan, run, wall_seconds))
    }

    /// Keeps that a plan could not be run, and why.
    pub fn save_failure(&self, plan: &Plan, message: &str, wall_seconds: f64) -> Result<(), FileError> {
        let mut outcome = described(plan, wall_seconds);
        outcome["finished"] = json!(false);
        outcome["ending"] = json!("error");
        outcome["message"] = json!(message);
        self.put(plan, Vec::new(), outcome)
    }

    /// Fills a folder with the plan, these files and the outcome, and gives it the plan's name when it is whole.
    fn put(&self, plan: &Plan, files: Vec<(&str, Vec<u8>)>, outcome: Value) -> Result<(), FileError> {
        let target = self.directory(plan);
        let temporary = hold::unfinished(&self.root, &plan.hash);
        let io = |path: &Path, action: &str| {
            let (path, action) = (path.to_path_buf(), action.to_string());
            move |error: io::Error| FileError::io(path, &action, &error)
        };
        fs::create_dir_all(&temporary).map_err(io(&temporary, "create"))?;
        let written = write_files(&temporary, plan, files, outcome).and_then(|()| {
            // What is replaced steps aside, so that readers miss it for no longer than two renames take.
            let aside = hold::unfinished(&self.root, &format!("{}.replaced", plan.hash));
            if is_there(&target) {
                let _ = remove(&aside);
                fs::rename(&target, &aside).map_err(io(&target, "replace"))?;
            }
            let renamed = fs::rename(&temporary, &target).map_err(io(&target, "create"));
            let _ = remove(&aside);
            renamed
        });
        if written.is_ok() {
            let _ = fs::remove_file(self.checkpoint(plan));
        } else {
            let _ = fs::remove_dir_all(&temporary);
            // Only what is empty goes: a store that nobody else works on.
            let _ = fs::remove_dir(self.root.join(hold::WORKING));
        }
        written
    }
}

/// Whether anything has this name, be it a link to nothing.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a folder with all that is in it, or a file.
fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn write_files(
    directory: &Path,
    plan: &Plan,
    mut contents: Vec<(&str, Vec<u8>)>,
    mut outcome: Value,
) -> Result<(), FileError> {
    contents.insert(0, (PLAN, plan.settings.to_toml().into_bytes()));
    let mut checksums = Map::new();
    for (name, bytes) in &contents {
        checksums.insert((*name).to_string(), files::sha256_hex(bytes).into());
        files::write_directly(directory.join(name), bytes)?;
    }
    outcome["checksums"] = Value::Object(checksums);
    files::write_directly(directory.join(OUTCOME), format!("{outcome:#}\n").as_bytes())
}

fn message_of(outcome: &Value) -> String {
    outcome["message"].as_str().unwrap_or("unknown").to_string()
}

fn outcome(plan: &Plan, run: &Completed, wall_seconds: f64) -> Value {
    let effort = run.effort;
    let mut outcome = described(plan, wall_seconds);
    outcome["finished"] = json!(run.ending.is_finished());
    outcome["ending"] = json!(run.ending.name());
    outcome["message"] = json!(run.ending.to_string());
    outcome["warnings"] = json!(run.warnings);
    outcome["time"] = json!(run.trajectory.time.last());
    outcome["effort"] = json!({
        "steps": effort.steps,
        "rejected": effort.rejected,
        "evaluations": effort.evaluations,
        "dense_evaluations": effort.dense_evaluations,
        "jacobians": effort.jacobians,
        "stiff_steps": effort.stiff_steps,
    });
    if let Ending::NonFinite { step, .. } = run.ending {
        outcome["failed_step"] = json!(step);
    }
    outcome
}

/// What an outcome says of any run, with room for how it ended and for the checksums.
fn described(plan: &Plan, wall_seconds: f64) -> Value {
    json!({
        "finished": null,
        "ending": null,
        "message": null,
        "warnings": [],
        "time": null,
        "effort": null,
        "wall_seconds": wall_seconds,
        "swept": plan.assignments.iter().map(|a| (a.key.to_string(), json!(&*a.value))).collect::<Map<_, _>>(),
        "seed": plan.seed.seed,
        "repeat": plan.seed.repeat,
        "hash": plan.hash,
        "version": env!("CARGO_PKG_VERSION"),
        "engine_revision": plan.subject.engine_revision(),
        "host": hold::host(),
        "checksums": null,
    })
}

fn record_bytes(trajectory: &Trajectory) -> Result<Vec<u8>, FileError> {
    let times = trajectory.time.len();
    let mut shapes: Vec<(&str, Vec<usize>, &[f64])> = vec![("time", vec![times], &trajectory.time)];
    for (name, column) in &trajectory.columns {
        let shape = std::iter::once(times).chain(column.row_shape.iter().copied()).collect();
        shapes.push((name, shape, &column.values));
    }
    for (name, (shape, values)) in &trajectory.constants {
        shapes.push((name, shape.clone(), values));
    }
    let step_shape = [times];
    let mut entries: Vec<(&str, NpzArray<'_>)> =
        shapes.iter().map(|(name, shape, values)| (*name, NpzArray::f64(shape, values))).collect();
    entries.push(("step", NpzArray::u64(&step_shape, &trajectory.step)));
    files::npz_bytes(&entries)
}

fn state_bytes(simulation: &Simulation) -> Result<Vec<u8>, FileError> {
    let arrays: Vec<(String, Vec<usize>, Vec<f64>)> = simulation
        .network
        .named_parameters(&simulation.parameters)
        .into_iter()
        .map(|(name, matrix)| {
            let vector = name.starts_with('b');
            let shape = if vector { vec![matrix.nrows()] } else { vec![matrix.nrows(), matrix.ncols()] };
            (name, shape, matrix.transpose().as_slice().to_vec())
        })
        .collect();
    let entries: Vec<(&str, NpzArray<'_>)> =
        arrays.iter().map(|(name, shape, values)| (name.as_str(), NpzArray::f64(shape, values))).collect();
    files::npz_bytes(&entries)
}

#[cfg(test)]
mod tests {
    use super::super::SMALL_EXPERIMENT;
    use super::super::schedule::run;
    use super::super::simulate::simulate;
    use super::*;
    use crate::experiment::Experiment;

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_left_alone_and_what_is_gone_or_no_file_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("records"));
        let experiment = Experiment::parse("test.toml", folder.path(), SMALL_EXPERIMENT, &[]).unwrap();
        let plan = &experiment.plans[0];
        for name in [PLAN, OUTCOME, RECORD, STATE] {
            store.save(plan, simulate(plan, plan.prepare().unwrap(), &|_| false), 0.0).unwrap();
            let path = store.directory(plan).join(name);
            fs::remove_file(&path).unwrap();
            assert!(matches!(store.state(plan), State::Damaged(_)), "{name} is missing");
            // A link to itself: of the errors that say nothing of the file, the one that root meets too.
            std::os::unix::fs::symlink(&path, &path).unwrap();
            assert!(matches!(store.state(plan), State::Unreadable(_)), "{name}: {:?}", store.state(plan));
            let tally = run(&experiment, &store, 1, true, &|| false, &|_| ()).unwrap();
            assert_eq!((tally.failed, tally.finished), (1, 0), "{name}");
            assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "{name} was replaced");
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            assert!(matches!(store.state(plan), State::Damaged(_)), "{name} is a folder");
        }
        // A file where the folder should be gives way, too.
        fs::remove_dir_all(store.directory(plan)).unwrap();
        fs::write(store.directory(plan), "no folder").unwrap();
        assert_eq!(run(&experiment, &store, 1, false, &|| false, &|_| ()).unwrap().finished, 1);
        assert_eq!(store.state(plan), State::Finished);
        assert_eq!(fs::read_dir(store.root()).unwrap().count(), 1, "something was left behind");
    }

    /// What is not flushed can be a name without content after a power failure.
    #[test]
    fn a_run_of_which_a_file_is_empty_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("records"));
        let experiment = Experiment::parse("test.toml", folder.path(), SMALL_EXPERIMENT, &[]).unwrap();
        let plan = &experiment.plans[0];
        assert_eq!(store.state(plan), State::Missing);
        store.save(plan, simulate(plan, plan.prepare().unwrap(), &|_| false), 0.0).unwrap();
        assert_eq!(store.state(plan), State::Finished);
        for name in [PLAN, OUTCOME, RECORD, STATE] {
            let path = store.directory(plan).join(name);
            let content = fs::read(&path).unwrap();
            fs::write(&path, "").unwrap();
            assert!(matches!(store.state(plan), State::Damaged(_)), "{name}");
            fs::write(&path, content).unwrap();
        }
        assert_eq!(store.state(plan), State::Finished);
    }
}
