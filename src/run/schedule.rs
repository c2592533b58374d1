//! Many plans on several cores, of one or of many experiments: what is missing runs, what is there stays.

use super::checkpoint::RunCheckpoint;
use super::cost::cost;
use super::hold::{HEARTBEAT, Holds, WORKING};
use super::simulate::{Pause, simulate_from};
use super::store::{Completed, State, Store};
use crate::experiment::{Experiment, Plan};
use crate::files::{self, FileError};
use crate::record::Ending;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A plan that takes longer says how far it is, so that a stiff one can be told from a dead one.
const SECONDS_BETWEEN_REPORTS: f64 = 10.0;

/// Results are on disk at most so long after they have got their name: one flush serves all of this time.
const SECONDS_BETWEEN_FLUSHES: f64 = 0.3;

/// How long a thread waits that has found all that is left in the hands of others.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// A run that is killed has lost at most so much work, and one step.
const SECONDS_BETWEEN_CHECKPOINTS: f64 = 4.0;

/// What a run that is stopped has done since its last checkpoint is worth another one from here on.
const SECONDS_WORTH_KEEPING: f64 = 0.5;

/// What happens while plans run.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Something about a plan's run that changes nothing in its results.
    Note {
        /// The plan.
        plan: &'a Plan,
        /// What.
        message: String,
    },
    /// A plan has been running for a while.
    Running {
        /// The plan.
        plan: &'a Plan,
        /// Training time that it has reached.
        time: f64,
        /// How long it has taken.
        wall_seconds: f64,
        /// What else its engine says; may be empty.
        details: String,
    },
    /// A plan's results are in the store.
    Done {
        /// The plan.
        plan: &'a Plan,
        /// Why it ended.
        ending: Ending,
        /// How long it took.
        wall_seconds: f64,
        /// What the reader should know.
        warnings: Vec<String>,
    },
    /// Another process has done a plan.
    Elsewhere {
        /// The plan.
        plan: &'a Plan,
    },
    /// A plan could not be run.
    Broken {
        /// The plan.
        plan: &'a Plan,
        /// Why.
        message: String,
    },
}

/// How the plans of an experiment stand after a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Finished now.
    pub finished: usize,
    /// Finished earlier, or by another process.
    pub present: usize,
    /// Ended early, now or earlier.
    pub failed: usize,
    /// Left unfinished by an interruption.
    pub interrupted: usize,
}

impl Tally {
    /// Whether every plan has finished.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.interrupted == 0
    }
}

/// An experiment, the store that keeps its results, and what of it is still to be run.
pub struct Task<'a> {
    engine: &'a dyn Engine,
    experiment: &'a Experiment,
    store: &'a Store,
    waiting: Vec<&'a Plan>,
    damage: Vec<String>,
    unreadable: Vec<String>,
    tally: Tally,
    retry: bool,
}

impl fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("store", self.store).field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl<'a> Task<'a> {
    /// The same, run by another engine than that of linear networks.
    pub fn with_engine(mut self, engine: &'a dyn Engine) -> Task<'a> {
        self.engine = engine;
        self
    }

    /// Looks at what `store` holds, and makes its folder where there is none; with `retry`, failed plans are to run again.
    /// Cost: reads all files of the store.
    pub fn new(experiment: &'a Experiment, store: &'a Store, retry: bool) -> Result<Task<'a>, FileError> {
        store.create()?;
        let (waiting, damage, unreadable, tally) = (Vec::new(), Vec::new(), Vec::new(), Tally::default());
        let mut task = Task { engine: &Layers, experiment, store, waiting, damage, unreadable, tally, retry };
        for plan in &experiment.plans {
            match store.state(plan) {
                State::Finished => task.tally.present += 1,
                State::Failed(_) if !retry => task.tally.failed += 1,
                State::Failed(_) | State::Missing => task.waiting.push(plan),
                State::Unreadable(message) => {
                    task.unreadable.push(message);
                    task.tally.failed += 1;
                }
                State::Damaged(message) => {
                    task.damage.push(message);
                    task.waiting.push(plan);
                }
            }
        }
        Ok(task)
    }

    /// The experiment.
    pub fn experiment(&self) -> &'a Experiment {
        self.experiment
    }

    /// Plans that are to run.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Why results cannot be read that may be whole: they are left alone, and count as failed.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// What is wrong with results that have to be written again.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }
}

/// Runs the plans of `experiment` that `store` lacks, on `jobs` threads; with `retry`, failed ones again.
///
/// Results do not depend on `jobs`. A plan that fails fails alone; a store that cannot be written ends the call.
/// [`Experiment::check_files`] comes first where bad input files are to be refused before anything is written.
pub fn run(
    experiment: &Experiment,
    store: &Store,
    jobs: usize,
    retry: bool,
    interrupted: &(dyn Fn() -> bool + Sync),
    report: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Tally, FileError> {
    let task = Task::new(experiment, store, retry)?;
    let result = Mutex::new(Ok(Tally::default()));
    let done = |_: usize, ended: Result<Tally, FileError>| {
        if let Ok(mut result) = result.lock() {
            *result = ended;
        }
    };
    run_all(&[task], jobs, interrupted, &|_, event| report(event), &done);
    result.into_inner().unwrap_or_else(|_| Ok(Tally::default()))
}

/// Runs what waits of all `tasks`, on `jobs` threads: one queue, the plans that take longest first, whatever experiment they
/// belong to. Several processes can do this at once: what another one works on is waited for, and taken over where it dies.
///
/// `report` and `done` are called with the index of the task, by the threads that do the work. `done` comes once for each
/// task, as soon as none of its plans is left; an error says why its store could not be written, which ends this task alone.
/// What `done` does takes the place of a plan: it is the right place for work on the results.
pub fn run_all(
    tasks: &[Task<'_>],
    jobs: usize,
    interrupted: &(dyn Fn() -> bool + Sync),
    report: &(dyn Fn(usize, Event<'_>) + Sync),
    done: &(dyn Fn(usize, Result<Tally, FileError>) + Sync),
) {
    let shares: Vec<Share<'_>> = tasks.iter().map(Share::new).collect();
    let queue = queue(tasks);
    let next = AtomicUsize::new(0);
    let elsewhere: Mutex<Vec<(usize, &Plan)>> = Mutex::default();
    let count = |task: usize, ended: Option<Result<End, FileError>>| {
        if let Some(result) = shares[task].count(ended) {
            done(task, result);
        }
    };
    // False where another process holds the plan.
    let attempt = |task: usize, plan: &Plan| {
        let ended = if interrupted() || shares[task].is_broken() {
            Ok(Some(End::Interrupted))
        } else {
            shares[task].attempt(plan, interrupted, &|event| report(task, event))
        };
        let Some(ended) = ended.transpose() else { return false };
        count(task, Some(ended));
        true
    };
    let work = || {
        while let Some(entry) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
            match *entry {
                Entry::Nothing { task } => count(task, None),
                Entry::Plan { task, plan, .. } => {
                    if !attempt(task, plan) {
                        locked(&elsewhere).push((task, plan));
                    }
                }
            }
        }
        // What others hold: it is done when they are, or falls to us when they die.
        let mut held_in_turn = 0;
        loop {
            let (plan, left) = {
                let mut elsewhere = locked(&elsewhere);
                // From the front, so that all have their turn.
                ((!elsewhere.is_empty()).then(|| elsewhere.remove(0)), elsewhere.len())
            };
            let Some((task, plan)) = plan else { break };
            if attempt(task, plan) {
                held_in_turn = 0;
                continue;
            }
            locked(&elsewhere).push((task, plan));
            held_in_turn += 1;
            if held_in_turn > left {
                held_in_turn = 0;
                std::thread::sleep(BETWEEN_LOOKS);
            }
        }
    };
    let ended = Ended::default();
    std::thread::scope(|scope| {
        scope.spawn(|| ended.keep_house(&shares));
        let _told_at_the_end = Tells(&ended);
        // The pool's threads take plans by themselves, one at a time: plans differ in cost. Only the pieces of a product
        // inside a plan are left for the pool to hand out, so that no thread helps with them before the queue is empty, and
        // none that waits for a piece begins with another plan.
        match rayon::ThreadPoolBuilder::new().num_threads(jobs).build() {
            Ok(pool) => {
                pool.broadcast(|_| work());
            }
            Err(_) => work(),
        }
    });
    shares.iter().for_each(|share| drop(share.flush()));
}

/// What a mutex guards, also after a thread has panicked: counters and lists here are whole at all times.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the thread that keeps house that the work has ended.
#[derive(Default)]
struct Ended {
    ended: Mutex<bool>,
    changed: Condvar,
}

/// Tells it whatever happens: the scope of the threads waits for them also where it is left by a panic.
struct Tells<'a>(&'a Ended);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        *locked(&self.0.ended) = true;
        self.0.changed.notify_all();
    }
}

impl Ended {
    /// Flushes results to disk and shows that this process lives, until the work has ended.
    fn keep_house(&self, shares: &[Share<'_>]) {
        let mut beaten = Instant::now();
        let mut ended = locked(&self.ended);
        while !*ended {
            let pause = Duration::from_secs_f64(SECONDS_BETWEEN_FLUSHES);
            ended = self.changed.wait_timeout(ended, pause).unwrap_or_else(PoisonError::into_inner).0;
            let beat = beaten.elapsed() >= HEARTBEAT;
            for share in shares {
                let kept = share.flush().and_then(|()| if beat { share.beat() } else { Ok(()) });
                if let Err(error) = kept {
                    share.is_broken_by(error);
                }
            }
            if beat {
                beaten = Instant::now();
            }
        }
    }
}

/// One task while it is worked on.
struct Share<'a> {
    task: &'a Task<'a>,
    /// The part of this process; nothing where nothing waits.
    holds: Option<Holds>,
    /// Whether there are results that may not be on disk yet.
    unflushed: AtomicBool,
    progress: Mutex<Progress>,
}

impl<'a> Share<'a> {
    fn new(task: &'a Task<'a>) -> Share<'a> {
        let mut progress = Progress { left: task.waiting.len(), tally: task.tally.clone(), broken: None };
        let root = task.store.root();
        let holds = (!task.waiting.is_empty()).then(|| Holds::join(root)).transpose();
        if task.waiting.is_empty() && root.join(WORKING).exists() {
            // A process that died with its last run done has left things; nothing depends on their removal.
            drop(Holds::join(root));
        }
        let holds = holds.unwrap_or_else(|error| {
            progress.broken = Some(error);
            None
        });
        Share { task, holds, unflushed: AtomicBool::new(false), progress: Mutex::new(progress) }
    }

    fn is_broken(&self) -> bool {
        locked(&self.progress).broken.is_some()
    }

    fn is_broken_by(&self, error: FileError) {
        locked(&self.progress).broken.get_or_insert(error);
    }

    fn flush(&self) -> Result<(), FileError> {
        if self.unflushed.swap(false, Ordering::Relaxed) {
            files::flush_file_system(self.task.store.root())?;
        }
        Ok(())
    }

    fn beat(&self) -> Result<(), FileError> {
        self.holds.as_ref().map_or(Ok(()), Holds::beat)
    }

    /// Runs and stores a plan, unless that has happened meanwhile; nothing where another process holds it.
    fn attempt(
        &self,
        plan: &Plan,
        interrupted: &(dyn Fn() -> bool + Sync),
        report: &dyn Fn(Event<'_>),
    ) -> Result<Option<End>, FileError> {
        let Some(holds) = &self.holds else { return Ok(Some(End::Interrupted)) };
        let Some(held) = holds.take(&plan.hash)? else { return Ok(None) };
        let ended = match self.task.store.state(plan) {
            State::Finished => {
                report(Event::Elsewhere { plan });
                End::Present
            }
            State::Failed(_) if !self.task.retry => {
                report(Event::Elsewhere { plan });
                End::Failed
            }
            State::Unreadable(message) => {
                report(Event::Broken { plan, message });
                End::Failed
            }
            _ => run_plan(plan, self.task.store, self.task.engine, interrupted, report)?,
        };
        self.unflushed.store(true, Ordering::Relaxed);
        drop(held);
        Ok(Some(ended))
    }

    /// Counts a plan that has ended, if one has; what the task has come to, where nothing of it is left.
    fn count(&self, ended: Option<Result<End, FileError>>) -> Option<Result<Tally, FileError>> {
        let mut progress = locked(&self.progress);
        if let Some(ended) = ended {
            progress.count(ended);
        }
        progress.result()
    }
}

/// What a thread takes from the queue.
enum Entry<'a> {
    /// A plan to be run, and what it may cost.
    Plan { task: usize, plan: &'a Plan, cost: f64 },
    /// A task that has nothing to run.
    Nothing { task: usize },
}

impl Entry<'_> {
    fn cost(&self) -> f64 {
        match *self {
            Entry::Plan { cost, .. } => cost,
            // Its results can be worked on at once.
            Entry::Nothing { .. } => f64::INFINITY,
        }
    }
}

/// All there is to do, the longest first: what is started last is short, and no thread waits long for another one at the end.
fn queue<'a>(tasks: &[Task<'a>]) -> Vec<Entry<'a>> {
    let mut queue = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        if task.waiting.is_empty() {
            queue.push(Entry::Nothing { task: index });
        }
        queue.extend(task.waiting.iter().map(|plan| Entry::Plan { task: index, plan, cost: cost(plan) }));
    }
    queue.sort_by(|a, b| b.cost().total_cmp(&a.cost()));
    queue
}

/// How far a task is.
struct Progress {
    left: usize,
    tally: Tally,
    broken: Option<FileError>,
}

impl Progress {
    fn count(&mut self, ended: Result<End, FileError>) {
        self.left -= 1;
        match ended {
            Ok(End::Finished) => self.tally.finished += 1,
            Ok(End::Present) => self.tally.present += 1,
            Ok(End::Failed) => self.tally.failed += 1,
            Ok(End::Interrupted) => self.tally.interrupted += 1,
            Err(error) => {
                self.tally.interrupted += 1;
                self.broken.get_or_insert(error);
            }
        }
    }

    /// What the task has come to, where nothing of it is left.
    fn result(&mut self) -> Option<Result<Tally, FileError>> {
        (self.left == 0).then(|| self.broken.take().map_or_else(|| Ok(self.tally.clone()), Err))
    }
}

/// How one plan ended.
enum End {
    Finished,
    /// Another process has done it.
    Present,
    Failed,
    Interrupted,
}

/// What runs plans of one kind.
pub trait Engine: Sync {
    /// Runs a plan from its start, or from the checkpoint that an interrupted run has left; an error says why that was not possible.
    fn run(&self, plan: &Plan, conduct: &Conduct<'_>) -> Result<Completed, String>;
}

/// The engine of linear networks and their like.
#[derive(Clone, Copy, Debug)]
pub struct Layers;

impl Engine for Layers {
    fn run(&self, plan: &Plan, conduct: &Conduct<'_>) -> Result<Completed, String> {
        let checkpoint = conduct
            .resume(|path| RunCheckpoint::read(path, plan), |checkpoint| checkpoint.standing.progress());
        let watch = |time: f64| conduct.watch(time);
        let mut keep = |checkpoint: &RunCheckpoint| {
            conduct.keep(|path, seconds| checkpoint.write(path, plan, seconds));
        };
        let prepared = plan.prepare().map_err(|problem| problem.to_string())?;
        Completed::of(simulate_from(checkpoint, plan, prepared, &watch, &mut keep))
            .map_err(|error| error.to_string())
    }
}

/// How a run is watched, and where it keeps what it needs to go on after an interruption.
pub struct Conduct<'a> {
    plan: &'a Plan,
    checkpoint: PathBuf,
    start: Instant,
    /// Seconds that the run had taken before an interruption.
    earlier: Cell<f64>,
    /// When a checkpoint was written last.
    kept: Cell<Instant>,
    reports: Cell<u64>,
    interrupted: &'a (dyn Fn() -> bool + Sync),
    report: &'a dyn Fn(Event<'_>),
}

impl Conduct<'_> {
    /// Seconds that the run has taken, also before an interruption.
    pub fn elapsed(&self) -> f64 {
        self.earlier.get() + self.start.elapsed().as_secs_f64()
    }

    /// Says something that changes nothing in the results.
    pub fn note(&self, message: String) {
        (self.report)(Event::Note { plan: self.plan, message });
    }

    /// What `read` finds in the checkpoint, with the seconds that it took; `progress` says how far that is.
    pub fn resume<T>(
        &self,
        read: impl FnOnce(&Path) -> Result<(T, f64), FileError>,
        progress: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match read(&self.checkpoint) {
            Ok((checkpoint, seconds)) => {
                self.earlier.set(seconds);
                self.note(format!("goes on from {}", progress(&checkpoint)));
                Some(checkpoint)
            }
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => None,
            Err(error) => {
                self.note(format!("begins anew: {error}"));
                None
            }
        }
    }

    /// To be asked after every step, with the training time that it has reached.
    pub fn watch(&self, time: f64) -> Pause {
        self.watch_telling(time, &String::new)
    }

    /// The same; `details` says more where the time has come for a report.
    pub fn watch_telling(&self, time: f64, details: &dyn Fn() -> String) -> Pause {
        let wall_seconds = self.start.elapsed().as_secs_f64();
        if wall_seconds >= SECONDS_BETWEEN_REPORTS * (self.reports.get() + 1) as f64 {
            self.reports.set(self.reports.get() + 1);
            (self.report)(Event::Running {
                plan: self.plan,
                time,
                wall_seconds: self.elapsed(),
                details: details(),
            });
        }
        let unkept = self.kept.get().elapsed().as_secs_f64();
        match (self.interrupted)() {
            true => Pause::Stop,
            false if unkept >= SECONDS_BETWEEN_CHECKPOINTS => Pause::Keep,
            false => Pause::GoOn,
        }
    }

    /// Writes a checkpoint by `write`, which is given its path and the seconds so far, where enough was done since the last one.
    pub fn keep(&self, write: impl FnOnce(&Path, f64) -> Result<(), FileError>) {
        if self.kept.get().elapsed().as_secs_f64() >= SECONDS_WORTH_KEEPING {
            // The run itself can go on without.
            if let Err(error) = write(&self.checkpoint, self.elapsed()) {
                self.note(format!("no checkpoint: {error}"));
            }
            self.kept.set(Instant::now());
        }
    }
}

/// Runs and stores one plan; an error where the store cannot be written.
fn run_plan(
    plan: &Plan,
    store: &Store,
    engine: &dyn Engine,
    interrupted: &(dyn Fn() -> bool + Sync),
    report: &dyn Fn(Event<'_>),
) -> Result<End, FileError> {
    let start = Instant::now();
    let conduct = Conduct {
        plan,
        checkpoint: store.checkpoint(plan),
        start,
        earlier: Cell::new(0.0),
        kept: Cell::new(start),
        reports: Cell::new(0),
        interrupted,
        report,
    };
    let completed = catch_unwind(AssertUnwindSafe(|| engine.run(plan, &conduct)));
    let failed = |message: String| {
        store.save_failure(plan, &message, conduct.elapsed())?;
        report(Event::Broken { plan, message });
        Ok(End::Failed)
    };
    let completed = match completed {
        Ok(Ok(completed)) => completed,
        Ok(Err(message)) => return failed(message),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            return failed(format!("internal error: {}", text.unwrap_or_default()));
        }
    };
    if let Ending::Interrupted { .. } = completed.ending {
        return Ok(End::Interrupted);
    }
    let wall_seconds = conduct.elapsed();
    store.save_completed(plan, &completed, wall_seconds)?;
    let finished = completed.ending.is_finished();
    let (ending, warnings) = (completed.ending, completed.warnings);
    report(Event::Done { plan, ending, wall_seconds, warnings });
    Ok(if finished { End::Finished } else { End::Failed })
}

#[cfg(test)]
mod tests {
    use super::super::PlannedRuns;
    use super::*;
    use std::collections::HashSet;
    use std::path::Path;
    use std::thread::{self, ThreadId};

    fn experiment(steps: &str) -> Experiment {
        let text = format!(
            r#"
seed     = 1
data     = {{ kind = "gaussian", dim = 3, samples = 8 }}
augment  = {{ kind = "isotropic", variance = 0.5, sides = "one" }}
encoder  = {{ kind = "linear", widths = [3, 3], init = {{ kind = "gaussian", std = 0.5 }} }}
loss     = {{ kind = "infonce-euclidean" }}
dynamics = {{ kind = "gd", rate = 0.01, steps = 1 }}
observe  = {{ times = {{ kind = "linear", count = 1 }}, quantities = ["loss"] }}
sweep    = {{ "dynamics.steps" = {steps} }}
"#
        );
        Experiment::parse("test.toml", Path::new("."), &text, &[])
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Runs all tasks and returns what they came to, in the order in which they were done.
    fn ended(tasks: &[Task<'_>], jobs: usize) -> Vec<(usize, Result<Tally, FileError>)> {
        let all = Mutex::new(Vec::new());
        run_all(tasks, jobs, &|| false, &|_, _| (), &|task, ended| all.lock().unwrap().push((task, ended)));
        all.into_inner().unwrap()
    }

    #[test]
    fn the_longest_plans_come_first_and_what_has_none_is_done_before() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (experiment("[10, 1000, 20]"), experiment("[15, 2000]"));
        let stores = ["a", "b", "c"].map(|name| Store::new(folder.path().join(name)));
        ended(&[Task::new(&b, &stores[2], false).unwrap()], 1);
        let tasks = [(&a, &stores[0]), (&b, &stores[1]), (&b, &stores[2])]
            .map(|(experiment, store)| Task::new(experiment, store, false).unwrap());
        let order: Vec<(usize, String)> = queue(&tasks)
            .iter()
            .map(|entry| match entry {
                Entry::Plan { task, plan, .. } => (*task, plan.assignments[0].value.to_string()),
                Entry::Nothing { task } => (*task, String::new()),
            })
            .collect();
        let expected = [(2, ""), (1, "2000"), (0, "1000"), (0, "20"), (1, "15"), (0, "10")];
        assert_eq!(order, expected.map(|(task, steps)| (task, steps.to_string())));
    }

    #[test]
    fn every_task_is_done_once_with_what_it_came_to() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (experiment("[1, 2, 3]"), experiment("[4, 5]"));
        let stores = ["a", "b"].map(|name| Store::new(folder.path().join(name)));
        let tasks = || [(&a, &stores[0]), (&b, &stores[1])].map(|(e, s)| Task::new(e, s, false).unwrap());
        for jobs in [1, 3] {
            let mut all = ended(&tasks(), jobs);
            all.sort_by_key(|(task, _)| *task);
            let tallies: Vec<Tally> = all.into_iter().map(|(_, ended)| ended.unwrap()).collect();
            let (finished, present) = if jobs == 1 { ([3, 2], [0, 0]) } else { ([0, 0], [3, 2]) };
            for task in 0..2 {
                assert_eq!((tallies[task].finished, tallies[task].present), (finished[task], present[task]));
                assert!(tallies[task].is_complete());
            }
        }
    }

    #[test]
    fn a_store_that_cannot_be_written_ends_its_own_task_only() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (experiment("[1, 2]"), experiment("[3, 4]"));
        let stores = ["a", "b"].map(|name| Store::new(folder.path().join(name)));
        let tasks = [(&a, &stores[0]), (&b, &stores[1])].map(|(e, s)| Task::new(e, s, false).unwrap());
        std::fs::remove_dir(stores[0].root()).unwrap();
        std::fs::write(stores[0].root(), "in the way").unwrap();
        let mut all = ended(&tasks, 1);
        all.sort_by_key(|(task, _)| *task);
        assert!(all[0].1.is_err());
        assert_eq!(all[1].1.as_ref().unwrap().finished, 2);
    }

    #[test]
    fn a_run_that_cannot_begin_fails_alone_is_kept_as_failed_and_is_done_again_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let csv = "1,2\n3,5\n-1,0.5\n2,-2\n";
        for name in ["a.csv", "b.csv"] {
            std::fs::write(folder.path().join(name), csv).unwrap();
        }
        let text = r#"
seed     = 1
data     = { kind = "file", path = "a.csv" }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [2, 2], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.01, steps = 3 }
observe  = { times = { kind = "linear", count = 1 }, quantities = ["loss"] }
sweep    = { "data.path" = ["a.csv", "b.csv"] }
"#;
        let experiment = Experiment::parse("test.toml", folder.path(), text, &[]).unwrap();
        let store = Store::new(folder.path().join("records"));
        std::fs::remove_file(folder.path().join("b.csv")).unwrap();
        let run = |retry| run(&experiment, &store, 1, retry, &|| false, &|_| ()).unwrap();
        let tally = run(true);
        assert_eq!((tally.finished, tally.failed), (1, 1));
        let State::Failed(message) = store.state(&experiment.plans[1]) else { panic!("not kept as failed") };
        assert!(message.contains("b.csv"), "{message}");
        // It has a row in the summary, and no records to be taken for results.
        super::super::write_tables(&store, &PlannedRuns::of(&experiment)).unwrap();
        let summary = std::fs::read_to_string(store.root().join("summary.csv")).unwrap();
        assert!(
            summary.lines().count() == 3 && summary.lines().any(|line| line.contains(",error,")),
            "{summary}"
        );
        assert!(store.load(&experiment.plans[1]).is_err());
        std::fs::write(folder.path().join("b.csv"), csv).unwrap();
        assert_eq!((run(false).failed, run(true).finished), (1, 1));
        assert!(run(false).is_complete());
    }

    #[test]
    fn a_run_that_panics_fails_alone_and_is_kept_as_failed() {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, store) = (experiment("[300, 200]"), Store::new(folder.path().join("a")));
        // Asked before the first run, and then after each of its steps.
        let asked = AtomicUsize::new(0);
        let interrupted = || match asked.fetch_add(1, Ordering::Relaxed) {
            5 => panic!("on purpose"),
            _ => false,
        };
        let tally = run(&experiment, &store, 1, false, &interrupted, &|_| ()).unwrap();
        assert_eq!((tally.finished, tally.failed), (1, 1));
        let State::Failed(message) = store.state(&experiment.plans[0]) else { panic!("not kept as failed") };
        assert_eq!(message, "internal error: on purpose");
    }

    #[test]
    fn a_panic_of_the_caller_s_own_ends_the_call_and_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, store) = (experiment("[1, 2]"), Store::new(folder.path().join("a")));
        let report = |_: Event<'_>| panic!("on purpose");
        let ended = catch_unwind(AssertUnwindSafe(|| run(&experiment, &store, 1, false, &|| false, &report)));
        assert!(ended.is_err());
    }

    #[test]
    fn an_interruption_leaves_what_has_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let experiment = experiment("[1, 2, 3, 4]");
        let store = Store::new(folder.path().join("a"));
        let stop = std::sync::atomic::AtomicBool::new(false);
        let report = |_: Event<'_>| stop.store(true, Ordering::Relaxed);
        let tally = run(&experiment, &store, 1, false, &|| stop.load(Ordering::Relaxed), &report).unwrap();
        assert_eq!((tally.finished, tally.interrupted, tally.is_complete()), (1, 3, false));
    }

    #[test]
    fn no_more_threads_work_than_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let experiment = experiment("[400, 401, 402, 403, 404, 405, 406, 407]");
        for jobs in [1, 3] {
            let store = Store::new(folder.path().join(jobs.to_string()));
            let threads = Mutex::new(HashSet::<ThreadId>::new());
            let seen = || {
                threads.lock().unwrap().insert(thread::current().id());
                false
            };
            run(&experiment, &store, jobs, false, &seen, &|_| ()).unwrap();
            let threads = threads.into_inner().unwrap();
            assert!(
                threads.len() <= jobs && !threads.contains(&thread::current().id()),
                "{jobs}: {threads:?}"
            );
        }
    }
}
