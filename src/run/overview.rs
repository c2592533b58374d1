//! How the runs that a store is for stand, at a glance: their outcomes, without reading what they recorded.

use super::cost::cost;
use super::hold::{Holder, holders};
use super::store::{Glance, Store};
use crate::experiment::{Experiment, Origin, Plan};
use crate::files::{self, FileError, Place};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What the last `contraflow run` on a store asked for.
const PLANNED: &str = "planned.json";

/// How the planned runs of a store stand. Runs are named by their directories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    /// The experiment's name.
    pub experiment: String,
    /// Runs that were asked for.
    pub planned: usize,
    /// Those that did what they were asked for.
    pub finished: usize,
    /// Those that ended early, and why.
    pub failed: Vec<(String, String)>,
    /// Those that a process works on. One of another machine may have died: only time tells.
    pub running: Vec<(String, Holder)>,
    /// Those of which nothing usable is there, and what is wrong with them if something is.
    pub missing: Vec<(String, Option<String>)>,
    /// Runs in the store that are not among them: of other experiments, or of this one before it was changed.
    pub others: usize,
    /// Checkpoints of interrupted runs that are not among them, such as those of an experiment file before it was changed.
    pub stray_checkpoints: usize,
    /// Seconds that what is left will take the processes that work on it, or one, by the time that finished runs took; nothing
    /// where none has finished.
    pub seconds_left: Option<f64>,
}

/// The list of all runs that an experiment asks for, whatever part of them is done at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRuns {
    /// The experiment's name.
    pub(super) experiment: String,
    /// What the experiment was read from; lists of earlier versions do not say so.
    origin: Option<Origin>,
    pub(super) runs: Vec<Planned>,
}

/// One run in that list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) directory: String,
    hash: String,
    cost: f64,
    /// Index of its cell in the sweep: repeats of a cell belong together.
    pub(super) cell: usize,
}

impl PlannedRuns {
    /// Those of `experiment`.
    pub fn of(experiment: &Experiment) -> PlannedRuns {
        let planned = |plan: &Plan| Planned {
            directory: plan.directory_name(),
            hash: plan.hash.clone(),
            cost: cost(plan),
            cell: plan.cell,
        };
        PlannedRuns {
            experiment: experiment.name.clone(),
            origin: Some(experiment.origin.clone()),
            runs: experiment.plans.iter().map(planned).collect(),
        }
    }

    /// The experiment's name.
    pub fn experiment(&self) -> &str {
        &self.experiment
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The experiment that was asked for, with the hashes that name its runs. The files that it names need not be there.
    ///
    /// # Errors
    /// Says why it cannot be had, and the remedy.
    pub fn to_experiment(&self) -> Result<Experiment, String> {
        const REMEDY: &str = "`contraflow run FILE` with this folder as --out writes the list anew; what is there is not run again";
        let Some(origin) = &self.origin else {
            return Err(format!(
                "{PLANNED} is of an earlier version and does not hold the experiment file; {REMEDY}"
            ));
        };
        let mut experiment = Experiment::again(origin).map_err(|problem| problem.to_string())?;
        if experiment.plans.len() != self.runs.len() {
            let (then, now) = (self.runs.len(), experiment.plans.len());
            return Err(format!(
                "{PLANNED} lists {then} runs, and its experiment file asks for {now}; {REMEDY}"
            ));
        }
        for (plan, planned) in experiment.plans.iter_mut().zip(&self.runs) {
            plan.hash.clone_from(&planned.hash);
            if plan.directory_name() != planned.directory {
                let (then, now) = (&planned.directory, plan.directory_name());
                return Err(format!(
                    "{PLANNED} lists {then} where its experiment file asks for {now}; {REMEDY}"
                ));
            }
        }
        Ok(experiment)
    }

    fn to_text(&self) -> String {
        let plan = |Planned { directory, hash, cost, cell }: &Planned| json!([directory, hash, cost, cell]);
        let plans: Vec<Value> = self.runs.iter().map(plan).collect();
        let origin = self.origin.as_ref().map(
            |Origin { file, text, overrides }| json!({ "file": file, "text": text, "overrides": overrides }),
        );
        format!("{}\n", json!({ "experiment": self.experiment, "origin": origin, "plans": plans }))
    }

    fn parse(text: &str) -> Option<PlannedRuns> {
        let planned: Value = serde_json::from_str(text).ok()?;
        let text = |value: &Value| value.as_str().map(String::from);
        let plan = |plan: &Value| {
            Some(Planned {
                directory: text(&plan[0])?,
                hash: text(&plan[1])?,
                cost: plan[2].as_f64()?,
                cell: usize::try_from(plan[3].as_u64()?).ok()?,
            })
        };
        let runs = planned["plans"].as_array()?.iter().map(plan).collect::<Option<_>>()?;
        let origin = &planned["origin"];
        let overrides = || origin["overrides"].as_array()?.iter().map(text).collect::<Option<Vec<_>>>();
        let origin = || {
            Some(Origin {
                file: text(&origin["file"])?,
                text: text(&origin["text"])?,
                overrides: overrides()?,
            })
        };
        Some(PlannedRuns { experiment: text(&planned["experiment"])?, origin: origin(), runs })
    }
}

impl Store {
    /// Keeps this list for [`Store::overview`].
    pub fn write_planned(&self, planned: &PlannedRuns) -> Result<(), FileError> {
        files::update(self.root().join(PLANNED), planned.to_text().as_bytes())
    }

    /// Whether [`Store::write_planned`] has named runs here.
    pub fn is_planned(&self) -> bool {
        self.root().join(PLANNED).is_file()
    }

    /// The runs that the last [`Store::write_planned`] named.
    ///
    /// # Errors
    /// Nothing was planned here, or the list cannot be read.
    pub fn planned(&self) -> Result<PlannedRuns, FileError> {
        let path = self.root().join(PLANNED);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => FileError::new(
                self.root(),
                Place::Whole,
                "no results of `contraflow run`",
                "a folder that `contraflow run FILE --out DIR` has filled",
                "name that folder",
            ),
            _ => FileError::io(&path, "read", &error),
        })?;
        PlannedRuns::parse(&text).ok_or_else(|| {
            let remedy = "remove it; the next `contraflow run` writes it anew";
            FileError::new(path, Place::Whole, "damaged", "the list of planned runs", remedy)
        })
    }

    /// How many runs in the store are not in this list. Cost: lists the store's folder.
    pub fn others(&self, planned: &PlannedRuns) -> usize {
        let own: HashSet<&str> = planned.runs.iter().map(|run| run.directory.as_str()).collect();
        let is_other = |path: &PathBuf| {
            path.file_name().is_some_and(|name| !own.contains(name.to_string_lossy().as_ref()))
        };
        self.directories().iter().filter(|path| is_other(path)).count()
    }

    /// How the runs of [`Store::planned`] stand. Cost: reads one small file a run.
    ///
    /// # Errors
    /// Those of [`Store::planned`].
    pub fn overview(&self) -> Result<Overview, FileError> {
        let planned = self.planned()?;
        let others = self.others(&planned);
        let PlannedRuns { experiment, runs: plans, .. } = planned;
        let holders = holders(self.root());
        let hashes: HashSet<String> = plans.iter().map(|planned| planned.hash.clone()).collect();
        let mut overview = Overview { experiment, planned: plans.len(), others, ..Overview::default() };
        let (mut seconds, mut cost_done, mut cost_left) = (0.0, 0.0, 0.0);
        for Planned { directory, hash, cost, .. } in plans {
            let glance = self.glance(&directory);
            if let Glance::Finished { wall_seconds } = glance {
                overview.finished += 1;
                seconds += wall_seconds;
                cost_done += cost;
                continue;
            }
            let holder = holders.get(&hash).filter(|holder| holder.lives != Some(false));
            match (glance, holder) {
                (_, Some(holder)) => overview.running.push((directory, holder.clone())),
                (Glance::Failed { message }, None) => {
                    overview.failed.push((directory, message));
                    continue;
                }
                (Glance::Unreadable { message }, None) => {
                    overview.failed.push((directory, message));
                    continue;
                }
                (Glance::Damaged { message }, None) => overview.missing.push((directory, Some(message))),
                (_, None) => overview.missing.push((directory, None)),
            }
            cost_left += cost;
        }
        let of_checkpoints = self.checkpoints();
        overview.stray_checkpoints = of_checkpoints.iter().filter(|hash| !hashes.contains(*hash)).count();
        let workers = overview.running.len().max(1) as f64;
        overview.seconds_left = (cost_done > 0.0).then(|| seconds / cost_done * cost_left / workers);
        Ok(overview)
    }
}

/// What it may take to run what a store lacks of an experiment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Runs that are there already.
    pub present: usize,
    /// Runs that are to be done.
    pub left: usize,
    /// Seconds that these take one core.
    pub core_seconds: f64,
    /// Whether that follows from the time that runs in the store have taken; otherwise it may be wrong by a factor of ten.
    pub is_measured: bool,
    /// Bytes that their results take.
    pub bytes: f64,
}

/// Multiplications a second, as `cost` counts them, where nothing was measured: between 8e9 and 7e10 on a core with AVX-512.
const NOMINAL_SPEED: f64 = 1e10;

impl Store {
    /// Estimates what the runs of `experiment` that are not here will take. Cost: reads one small file a run.
    pub fn estimate(&self, experiment: &Experiment) -> Estimate {
        let mut estimate = Estimate::default();
        let (mut seconds, mut cost_done, mut cost_left) = (0.0, 0.0, 0.0);
        for plan in &experiment.plans {
            match self.glance(&plan.directory_name()) {
                Glance::Finished { wall_seconds } => {
                    estimate.present += 1;
                    seconds += wall_seconds;
                    cost_done += cost(plan);
                }
                _ => {
                    estimate.left += 1;
                    cost_left += cost(plan);
                    estimate.bytes += plan.result_bytes();
                }
            }
        }
        estimate.is_measured = seconds > 0.0;
        estimate.core_seconds =
            if estimate.is_measured { cost_left * seconds / cost_done } else { cost_left / NOMINAL_SPEED };
        estimate
    }
}

#[cfg(test)]
mod tests {
    use super::super::SMALL_EXPERIMENT;
    use super::super::schedule::run;
    use super::*;

    #[test]
    fn every_planned_run_is_finished_failed_running_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("records"));
        assert!(store.overview().unwrap_err().to_string().contains("contraflow run"));
        let text = format!("{SMALL_EXPERIMENT}sweep = {{ \"dynamics.rate\" = [0.1, 0.2, 1e300, 0.4] }}\n");
        let experiment = Experiment::parse("test.toml", folder.path(), &text, &[]).unwrap();
        fs::create_dir(store.root()).unwrap();
        store.write_planned(&PlannedRuns::of(&experiment)).unwrap();
        let before = store.overview().unwrap();
        assert_eq!((before.planned, before.missing.len(), before.seconds_left), (4, 4, None));

        run(&experiment, &store, 1, false, &|| false, &|_| ()).unwrap();
        let after = store.overview().unwrap();
        assert_eq!((after.finished, after.failed.len(), after.missing.len(), after.others), (3, 1, 0, 0));
        let mut fewer = PlannedRuns::of(&experiment);
        fewer.runs.remove(0);
        assert_eq!(store.others(&fewer), 1);
        assert_eq!(after.seconds_left, Some(0.0));

        let [first, second, third, _] = &experiment.plans[..] else { panic!("four plans") };
        fs::remove_dir_all(store.directory(first)).unwrap();
        fs::write(store.directory(second).join("outcome.json"), "").unwrap();
        let holds = super::super::hold::Holds::join(store.root()).unwrap();
        let _held = holds.take(&third.hash).unwrap().unwrap();
        let held = store.overview().unwrap();
        // A failed run that is done again is running.
        assert_eq!((held.finished, held.failed.len(), held.running.len()), (1, 0, 1));
        assert_eq!(held.running[0].0, third.directory_name());
        let names: Vec<_> =
            held.missing.iter().map(|(name, wrong)| (name.clone(), wrong.is_some())).collect();
        assert_eq!(names, [(first.directory_name(), false), (second.directory_name(), true)]);
        assert!(held.seconds_left.is_some_and(|seconds| seconds > 0.0));

        assert_eq!(held.stray_checkpoints, 0);
        fs::write(store.checkpoint(third), "of a planned run").unwrap();
        fs::write(store.checkpoint(third).with_file_name("checkpoint-0123456789abcdef.npz"), "").unwrap();
        assert_eq!(store.overview().unwrap().stray_checkpoints, 1);

        fs::write(store.root().join(PLANNED), "{}").unwrap();
        assert!(store.overview().unwrap_err().to_string().contains("damaged"));
    }
}
