//! The commands of a Slurm cluster: how long its arrays may be, submitting one, and what the queue holds.

use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Slurm's own default of MaxArraySize.
const USUAL_ARRAY: usize = 1001;

/// States of a task that will do no more work, of which squeue shows some for a while.
const ENDED: [&str; 11] = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "COMPLETING",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
];

/// A command of Slurm that did not do what it should: one line with its own words, or the remedy where it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmError {
    message: String,
    after_success: bool,
}

impl SlurmError {
    fn new(message: String) -> SlurmError {
        SlurmError { message, after_success: false }
    }

    /// Whether the command itself succeeded, and only what it printed is not what it should.
    pub(super) fn after_success(&self) -> bool {
        self.after_success
    }
}

impl fmt::Display for SlurmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SlurmError {}

/// A task of an array that waits or runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueuedTask {
    /// The array's job.
    pub(super) job: u64,
    /// Its number in the array.
    pub(super) index: usize,
    /// The state in Slurm's words, such as PENDING.
    pub(super) state: String,
    /// Why it waits, in Slurm's words, such as Resources.
    pub(super) reason: String,
    /// The script and its arguments.
    pub(super) command: String,
}

/// How many tasks an array of this cluster may have: its MaxArraySize, as the first has number 0.
pub(super) fn longest_array() -> usize {
    let told = call("scontrol", ["show", "config"]).ok();
    let told = told.as_deref().and_then(max_array_size);
    told.filter(|&size| size > 0).unwrap_or(USUAL_ARRAY)
}

fn max_array_size(config: &str) -> Option<usize> {
    let mut entries = config.lines().filter_map(|line| line.split_once('='));
    entries.find(|(name, _)| name.trim() == "MaxArraySize")?.1.trim().parse().ok()
}

/// Submits `script` as an array of `tasks` tasks, counted from 0, with `argument`. Its job's number.
pub(super) fn submit_array(script: &Path, tasks: usize, argument: usize) -> Result<u64, SlurmError> {
    let range = format!("--array=0-{}", tasks.saturating_sub(1));
    let argument = argument.to_string();
    let options = ["--parsable", &range].map(OsStr::new);
    let told = call("sbatch", options.into_iter().chain([script.as_os_str(), OsStr::new(&argument)]))?;
    // With several clusters their name follows the number; a site's own words may come before it.
    let last = told.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let number = last.split(';').next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| SlurmError {
        message: format!(
            "sbatch gave no job's number but {:?}; `squeue` tells whether there is a job",
            told.trim()
        ),
        after_success: true,
    })
}

/// The tasks of these jobs that wait or run.
pub(super) fn queued_tasks(jobs: &[u64]) -> Result<Vec<QueuedTask>, SlurmError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let list = jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let jobs = format!("--jobs={list}");
    match call("squeue", ["--noheader", "--array", "--format=%i|%T|%r|%o", &jobs]) {
        Ok(told) => Ok(told.lines().filter_map(queued_task).collect()),
        // All of them ended so long ago that Slurm has forgotten them.
        Err(error) if error.message.contains("Invalid job id") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn queued_task(line: &str) -> Option<QueuedTask> {
    let mut parts = line.trim().splitn(4, '|');
    let (job, index) = parts.next()?.split_once('_')?;
    let (state, reason) = (parts.next()?, parts.next()?);
    let task = QueuedTask {
        job: job.parse().ok()?,
        index: index.parse().ok()?,
        state: state.to_string(),
        reason: reason.to_string(),
        command: parts.next()?.to_string(),
    };
    (!ENDED.contains(&state)).then_some(task)
}

/// What a command prints, if it succeeds.
fn call<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Result<String, SlurmError> {
    let mut command = Command::new(name);
    // What a user's own views of the queue hide is there all the same.
    let views = std::env::vars_os().map(|(variable, _)| variable);
    views.filter(|variable| variable.to_string_lossy().starts_with("SQUEUE_")).for_each(|variable| {
        command.env_remove(variable);
    });
    let output = command.args(arguments).output().map_err(|error| {
        SlurmError::new(if error.kind() == ErrorKind::NotFound {
            format!("there is no `{name}` here; call this where Slurm's commands are, such as a cluster's login node")
        } else {
            format!("`{name}` cannot be started: {error}")
        })
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let told: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(SlurmError::new(format!("`{name}` failed ({}): {}", output.status, told.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_wait_or_run_are_read_and_ended_ones_are_not() {
        let task = |state: &str, reason: &str| {
            let (state, reason) = (state.to_string(), reason.to_string());
            Some(QueuedTask { job: 12, index: 3, state, reason, command: "/a b|c.sh 5".to_string() })
        };
        let line = |start: &str| format!("{start}|/a b|c.sh 5");
        assert_eq!(queued_task(&line("12_3|RUNNING|None")), task("RUNNING", "None"));
        let held = "12_3|PENDING|launch failed requeued held";
        assert_eq!(queued_task(&line(held)), task("PENDING", "launch failed requeued held"));
        for start in
            ["12_3|COMPLETING|None", "12_3|CANCELLED|None", "12|RUNNING|None", "12_[4-7]|PENDING|x", ""]
        {
            assert_eq!(queued_task(&line(start)), None, "{start}");
        }
        assert_eq!(queued_task("12_3|RUNNING|None"), None);
    }

    #[test]
    fn the_longest_array_is_read_of_the_configuration() {
        assert_eq!(max_array_size("MaxArraySizeX = 9\nMaxArraySize            = 8\n"), Some(8));
        assert_eq!(max_array_size("MaxArraySize = many\n"), None);
        assert_eq!(max_array_size("MaxJobCount = 8\n"), None);
    }
}
