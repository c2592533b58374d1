//! What a claim is judged on: the level of effort, and the records of the experiments that it named.

use crate::experiment::Plan;
use crate::files::Array;
use crate::matrix::Matrix;
use crate::run::StoredRun;
use std::collections::BTreeMap;

/// How much effort an examination takes. Both levels come to the same verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All claims in a minute on two cores.
    Quick,
    /// More instances, larger N, longer T, more seeds: all claims in a quarter of an hour.
    Full,
}

/// An experiment that a claim wants to see the records of. It does not run it.
#[derive(Clone, Copy, Debug)]
pub struct NeededExperiment {
    /// Its name; claims that want the same text under the same name share its records.
    pub name: &'static str,
    /// The experiment file.
    pub source: Source,
    /// Keys that `--set` would override at [`Level::Quick`]; each `key=value`.
    pub quick: &'static [&'static str],
    /// The same at [`Level::Full`].
    pub full: &'static [&'static str],
}

/// Where the text of an experiment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The experiment file of the needed experiment's name, in the folder `experiments`.
    File,
    /// The claim's own.
    Text(&'static str),
}

impl NeededExperiment {
    /// The overrides at `level`.
    pub fn overrides(&self, level: Level) -> Vec<String> {
        let overrides = match level {
            Level::Quick => self.quick,
            Level::Full => self.full,
        };
        overrides.iter().map(|text| (*text).to_string()).collect()
    }
}

/// One run that a claim is judged on.
#[derive(Debug)]
pub struct Run {
    /// Its plan.
    pub plan: Plan,
    /// Its outcome and its record.
    pub stored: StoredRun,
    /// Its final parameters, by name; empty where it did not finish.
    pub state: BTreeMap<String, Array>,
}

impl Run {
    /// The last row of the array of this name.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn last(&self, array: &str) -> Result<&[f64], String> {
        self.stored.last(array).ok_or_else(|| self.lacks(array))
    }

    /// The row of the array of this name at the recorded time of this index.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn row(&self, array: &str, time: usize) -> Result<&[f64], String> {
        self.stored.row(array, time).ok_or_else(|| self.lacks(array))
    }

    /// The number of a scalar array at each recorded time, or of the first column of another one.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn column(&self, array: &str) -> Result<Vec<f64>, String> {
        (0..self.times().len()).map(|time| Ok(self.row(array, time)?[0])).collect()
    }

    /// The recorded times.
    pub fn times(&self) -> &[f64] {
        self.stored.times()
    }

    /// The square matrix recorded under this name at the recorded time of this index.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn square(&self, array: &str, time: usize) -> Result<Matrix, String> {
        let row = self.row(array, time)?;
        match self.stored.arrays.get(array).map(|array| array.shape.as_slice()) {
            Some(&[_, rows, columns]) if rows == columns && rows > 0 => {
                Ok(Matrix::from_row_slice(rows, columns, row))
            }
            _ => Err(format!("{array} of {} is not square", self.plan.directory_name())),
        }
    }

    /// The final weights W1 … WL.
    ///
    /// # Errors
    /// Where the run did not finish.
    pub fn layers(&self) -> Result<Vec<Matrix>, String> {
        let layers: Vec<Matrix> = (1..)
            .map_while(|l| self.state.get(&format!("W{l}")))
            .map(|array| Matrix::from_row_slice(array.shape[0], array.shape[1], &array.values))
            .collect();
        if layers.is_empty() { Err(self.lacks("W1")) } else { Ok(layers) }
    }

    /// The swept value under `key`, as TOML writes it.
    pub fn swept(&self, key: &str) -> Option<&str> {
        self.plan.assignments.iter().find(|a| *a.key == *key).map(|a| &*a.value)
    }

    /// The swept number under `key`.
    ///
    /// # Errors
    /// Where it is not swept, or is no number.
    pub fn swept_number(&self, key: &str) -> Result<f64, String> {
        let value = self.swept(key).ok_or_else(|| format!("{key} is not swept"))?;
        value.parse().map_err(|_| format!("{key} = {value} is no number"))
    }

    /// The plan as an experiment file that repeats the run.
    pub fn to_toml(&self) -> String {
        self.plan.settings.to_toml()
    }

    fn lacks(&self, array: &str) -> String {
        format!("{} has no {array}: {}", self.plan.directory_name(), self.stored.outcome["message"])
    }
}

/// What a claim is judged on.
#[derive(Debug)]
pub struct Case {
    /// The level of effort.
    pub level: Level,
    /// The runs of every experiment that was named, by its name; nothing where it could not be run.
    pub runs: BTreeMap<&'static str, Vec<Run>>,
}

impl Case {
    /// The runs of the experiment of this name, all of which finished.
    ///
    /// # Errors
    /// Says which run is missing or did not finish, and why.
    pub fn runs(&self, experiment: &str) -> Result<&[Run], String> {
        let runs = self.runs.get(experiment).ok_or_else(|| format!("{experiment} was not run"))?;
        if let Some(run) = runs.iter().find(|run| !run.stored.is_finished()) {
            let name = run.plan.directory_name();
            return Err(format!("{experiment}, {name}: {}", run.stored.outcome["message"]));
        }
        if runs.is_empty() { Err(format!("{experiment} has no runs")) } else { Ok(runs) }
    }

    /// One of two values, by the level.
    pub fn by_level<T>(&self, quick: T, full: T) -> T {
        match self.level {
            Level::Quick => quick,
            Level::Full => full,
        }
    }
}
