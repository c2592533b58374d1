//! Many plans on several cores: what is missing runs, what is there stays.

use super::simulate::simulate;
use super::store::{State, Store};
use crate::experiment::{Experiment, Plan};
use crate::files::FileError;
use crate::record::Ending;
use rayon::prelude::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// A plan that takes longer says how far it is, so that a stiff one can be told from a dead one.
const SECONDS_BETWEEN_REPORTS: f64 = 10.0;

/// What happens while plans run.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A plan has been running for a while.
    Running {
        /// The plan.
        plan: &'a Plan,
        /// Training time that it has reached.
        time: f64,
        /// How long it has taken.
        wall_seconds: f64,
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
    /// A plan could not be run or stored.
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
    /// Finished earlier.
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
    std::fs::create_dir_all(store.root())
        .map_err(|error| FileError::io(store.root(), "create the folder", &error))?;
    store.sweep_leftovers();
    let mut tally = Tally::default();
    let mut waiting = Vec::new();
    for plan in &experiment.plans {
        match store.state(plan) {
            State::Finished => tally.present += 1,
            State::Failed(_) if !retry => tally.failed += 1,
            State::Failed(_) | State::Damaged(_) | State::Missing => waiting.push(plan),
        }
    }
    let tally = Mutex::new(tally);
    let broken_store = Mutex::new(None);
    let work = |plan: &&Plan| {
        if interrupted() || broken_store.lock().is_ok_and(|broken| broken.is_some()) {
            count(&tally, |tally| tally.interrupted += 1);
            return;
        }
        let start = Instant::now();
        let simulated = catch_unwind(AssertUnwindSafe(|| {
            let reports = Cell::new(0u64);
            let watched = |time: f64| {
                let wall_seconds = start.elapsed().as_secs_f64();
                if wall_seconds >= SECONDS_BETWEEN_REPORTS * (reports.get() + 1) as f64 {
                    reports.set(reports.get() + 1);
                    report(Event::Running { plan, time, wall_seconds });
                }
                interrupted()
            };
            plan.prepare().map(|prepared| simulate(plan, prepared, &watched))
        }));
        let simulation = match simulated {
            Ok(Ok(simulation)) => simulation,
            Ok(Err(problem)) => {
                count(&tally, |tally| tally.failed += 1);
                report(Event::Broken { plan, message: problem.to_string() });
                return;
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                let message = format!("internal error: {}", text.unwrap_or_default());
                count(&tally, |tally| tally.failed += 1);
                report(Event::Broken { plan, message });
                return;
            }
        };
        if let Ending::Interrupted { .. } = simulation.ending {
            count(&tally, |tally| tally.interrupted += 1);
            return;
        }
        let wall_seconds = start.elapsed().as_secs_f64();
        if let Err(error) = store.save(plan, &simulation, wall_seconds) {
            count(&tally, |tally| tally.interrupted += 1);
            if let Ok(mut broken) = broken_store.lock() {
                broken.get_or_insert(error);
            }
            return;
        }
        let finished = simulation.ending.is_finished();
        count(&tally, |tally| if finished { tally.finished += 1 } else { tally.failed += 1 });
        let (ending, warnings) = (simulation.ending, simulation.warnings);
        report(Event::Done { plan, ending, wall_seconds, warnings });
    };
    // One plan at a time a thread: plans differ in cost, and an idle core costs more than a lock.
    match rayon::ThreadPoolBuilder::new().num_threads(jobs).build() {
        Ok(pool) => pool.install(|| waiting.par_iter().with_max_len(1).for_each(work)),
        Err(_) => waiting.iter().for_each(work),
    }
    if let Ok(Some(error)) = broken_store.into_inner() {
        return Err(error);
    }
    Ok(tally.into_inner().unwrap_or_default())
}

fn count(tally: &Mutex<Tally>, change: impl FnOnce(&mut Tally)) {
    if let Ok(mut tally) = tally.lock() {
        change(&mut tally);
    }
}
