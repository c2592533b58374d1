//! Handing the missing runs of a store to a Slurm cluster: lists of runs, one a task, a script, and what became of the tasks.
//!
//! A submission is a folder `slurm/N` in the store, with `submit.sh`, the lists `0.txt`, `1.txt`, … and `jobs.json`.

use super::cost::cost;
use super::overview::PlannedRuns;
use super::slurm::{SlurmError, longest_array, queued_tasks, submit_array};
use super::store::{Glance, Store};
use crate::experiment::{Experiment, SlurmRequest};
use crate::files::{self, FileError, Place};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder of submissions in a store.
const SUBMISSIONS: &str = "slurm";
const SCRIPT: &str = "submit.sh";
const JOBS: &str = "jobs.json";

/// Tasks where nobody says how many: enough for a cluster to be of use, few enough for its queue.
const USUAL_TASKS: usize = 32;

/// Why nothing, or not everything, was submitted.
#[derive(Debug)]
pub enum SubmitError {
    /// A command of Slurm failed.
    Slurm(SlurmError),
    /// A file cannot be read or written.
    File(FileError),
    /// A path or an override that a script cannot hold.
    Unwritable(String),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Slurm(error) => error.fmt(f),
            SubmitError::File(error) => error.fmt(f),
            SubmitError::Unwritable(text) => {
                let shown = crate::settings::shortened(text);
                write!(
                    f,
                    "{shown:?} cannot stand in a script; allowed: text in UTF-8 and in one line, of folders without a backslash; name it otherwise"
                )
            }
        }
    }
}

impl std::error::Error for SubmitError {}

impl From<SlurmError> for SubmitError {
    fn from(error: SlurmError) -> Self {
        SubmitError::Slurm(error)
    }
}

impl From<FileError> for SubmitError {
    fn from(error: FileError) -> Self {
        SubmitError::File(error)
    }
}

/// An array of tasks that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmJob {
    /// The number that Slurm gave it.
    pub id: u64,
    /// The list of its first task; the others follow.
    pub first: usize,
    /// How many tasks it has.
    pub tasks: usize,
}

/// What is to be submitted, and what need not be.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The names of the runs of each task.
    pub lists: Vec<Vec<String>>,
    /// Runs that are done.
    pub finished: usize,
    /// Runs that failed and are left alone.
    pub failed: usize,
    /// Runs that tasks in the queue will do.
    pub queued: usize,
    script: Script,
    longest_array: usize,
}

/// The parts of a script that do not depend on where it lies.
#[derive(Clone, Debug)]
struct Script {
    name: String,
    request: SlurmRequest,
    /// The program and its arguments.
    command: Vec<String>,
}

impl Submission {
    /// Deals the runs of `experiment` that `store` lacks, and that no task in the queue is for, to tasks: failed ones only
    /// with `retry`. `command` is the program and the arguments that do them all; each task adds its number of cores and its
    /// list.
    ///
    /// # Errors
    /// The queue cannot be asked, an earlier submission cannot be read, or an argument has no place in a script.
    pub fn new(
        experiment: &Experiment,
        store: &Store,
        request: &SlurmRequest,
        retry: bool,
        command: Vec<String>,
    ) -> Result<Submission, SubmitError> {
        for text in command.iter().chain([&experiment.name]) {
            if text.chars().any(char::is_control) {
                return Err(SubmitError::Unwritable(text.clone()));
            }
        }
        let queued: HashSet<String> = store.slurm_queue()?.into_iter().flat_map(|job| job.runs).collect();
        let (mut left, mut finished, mut failed, mut waiting) = (Vec::new(), 0, 0, 0);
        for plan in &experiment.plans {
            let name = plan.directory_name();
            match store.glance(&name) {
                Glance::Finished { .. } => finished += 1,
                Glance::Failed { .. } if !retry => failed += 1,
                Glance::Unreadable { .. } => failed += 1,
                _ if queued.contains(&name) => waiting += 1,
                _ => left.push((name, cost(plan))),
            }
        }
        let of_use = left.len().div_ceil(request.cpus.unwrap_or(1));
        let tasks = request.tasks.unwrap_or(USUAL_TASKS).min(of_use);
        Ok(Submission {
            lists: deal(left, tasks),
            finished,
            failed,
            queued: waiting,
            script: Script { name: experiment.name.clone(), request: request.clone(), command },
            longest_array: longest_array(),
        })
    }

    /// How many runs are to be submitted.
    pub fn runs(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// The first task and the number of tasks of each array.
    pub fn arrays(&self) -> impl Iterator<Item = (usize, usize)> {
        let (tasks, longest) = (self.lists.len(), self.longest_array);
        (0..tasks).step_by(longest).map(move |first| (first, longest.min(tasks - first)))
    }

    /// The script as it would be written.
    pub fn script(&self, store: &Store) -> Result<String, SubmitError> {
        let folder = absolute(&store.root().join(SUBMISSIONS).join("N"))?;
        Ok(self.script.text(&folder))
    }

    /// Writes the script, the lists and the list of planned runs, and submits. `submitted` is told of each array at once, as
    /// those that were submitted stay so if a later one is refused.
    ///
    /// # Errors
    /// A file cannot be written, or Slurm refuses an array.
    pub fn submit(
        &self,
        store: &Store,
        planned: &PlannedRuns,
        submitted: &mut dyn FnMut(&SlurmJob),
    ) -> Result<(), SubmitError> {
        let folder = new_folder(store)?;
        let mut jobs = Vec::new();
        let result = self.fill(store, planned, &folder, &mut |job| {
            submitted(&job);
            jobs.push(job);
            files::write_atomically(folder.join(JOBS), jobs_text(&jobs).as_bytes())
        });
        // A job that was submitted and did not tell its number needs its lists.
        let may_be_queued = matches!(&result, Err(SubmitError::Slurm(error)) if error.after_success());
        if result.is_err() && jobs.is_empty() && !may_be_queued {
            let _ = fs::remove_dir_all(&folder);
        }
        result
    }

    fn fill(
        &self,
        store: &Store,
        planned: &PlannedRuns,
        folder: &Path,
        submitted: &mut dyn FnMut(SlurmJob) -> Result<(), FileError>,
    ) -> Result<(), SubmitError> {
        store.write_planned(planned)?;
        for (index, list) in self.lists.iter().enumerate() {
            files::write_directly(list_path(folder, index), (list.join("\n") + "\n").as_bytes())?;
        }
        // Absolute, so that it is never taken for an option.
        let script = PathBuf::from(absolute(folder)?).join(SCRIPT);
        files::write_directly(&script, self.script.text(&absolute(folder)?).as_bytes())?;
        for (first, tasks) in self.arrays() {
            submitted(SlurmJob { id: submit_array(&script, tasks, first)?, first, tasks })?;
        }
        Ok(())
    }
}

impl Script {
    fn text(&self, folder: &str) -> String {
        let Script { name, request, command } = self;
        let cpus = request.cpus.unwrap_or(1);
        let log = format!("{}/%A_%a.log", folder.replace('%', "%%"));
        let mut options = vec![
            format!("--job-name={}", option_value(name)),
            format!("--output={}", option_value(&log)),
            "--open-mode=append".to_string(),
            "--requeue".to_string(),
            format!("--cpus-per-task={cpus}"),
        ];
        let given = [("partition", &request.partition), ("time", &request.time), ("mem", &request.memory)];
        options.extend(given.iter().filter_map(|(key, value)| Some(format!("--{key}={}", value.as_ref()?))));
        options.extend(request.options.iter().map(|option| match option.split_once('=') {
            Some((key, value)) => format!("{key}={}", option_value(value)),
            None => option.clone(),
        }));
        let options: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        let command: Vec<String> = command.iter().map(|text| shell_word(text)).collect();
        format!(
            "#!/bin/sh\n\
             # Written by `contraflow run --submit slurm`. Each task of the array does the runs that a list beside this file names:\n\
             # `sbatch --array=0-9 submit.sh 20` submits the lists 20.txt to 29.txt. To submit what is missing, call contraflow again.\n\
             {options}\n\
             first=${{1:?the number of the list of task 0}}\n\
             list=$((first + SLURM_ARRAY_TASK_ID)).txt\n\
             exec {} \\\n    --jobs {cpus} --only {}/\"$list\"\n",
            command.join(" "),
            shell_word(folder),
        )
    }
}

/// A value in a line that sbatch reads, which ends at white space unless it stands between quotation marks.
fn option_value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:+/%=@".contains(c);
    if text.chars().all(plain) {
        return text.to_string();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word that a shell reads as it is.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:+/%=@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn absolute(path: &Path) -> Result<String, SubmitError> {
    let absolute = std::path::absolute(path).map_err(|error| FileError::io(path, "find", &error))?;
    match absolute.to_str() {
        // Slurm takes backslashes out of the names of logs.
        Some(text) if !text.chars().any(|c| c.is_control() || c == '\\') => Ok(text.to_string()),
        _ => Err(SubmitError::Unwritable(absolute.to_string_lossy().into_owned())),
    }
}

/// Deals runs with their costs to at most `tasks` tasks, the longest first and each to the task that has least to do.
fn deal(mut runs: Vec<(String, f64)>, tasks: usize) -> Vec<Vec<String>> {
    runs.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut lists = vec![Vec::new(); tasks.min(runs.len())];
    // Loads are not negative, so that their bits are ordered as they are.
    let mut loads: BinaryHeap<Reverse<(u64, usize)>> =
        (0..lists.len()).map(|task| Reverse((0, task))).collect();
    for (name, cost) in runs {
        let Some(Reverse((load, task))) = loads.pop() else { break };
        lists[task].push(name);
        loads.push(Reverse(((f64::from_bits(load) + cost.max(0.0)).to_bits(), task)));
    }
    lists
}

/// Makes the folder of a submission, whose number no other has.
fn new_folder(store: &Store) -> Result<PathBuf, FileError> {
    let all = store.root().join(SUBMISSIONS);
    fs::create_dir_all(&all).map_err(|error| FileError::io(&all, "create the folder", &error))?;
    let mut number = submissions(store)?.iter().filter_map(|path| number_of(path)).max().unwrap_or(0);
    loop {
        number += 1;
        let folder = all.join(number.to_string());
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(FileError::io(folder, "create the folder", &error)),
        }
    }
}

fn number_of(folder: &Path) -> Option<u64> {
    folder.file_name()?.to_str()?.parse().ok()
}

fn list_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{index}.txt"))
}

/// The folders of a store's submissions, the first first.
fn submissions(store: &Store) -> Result<Vec<PathBuf>, FileError> {
    let all = store.root().join(SUBMISSIONS);
    let entries = match fs::read_dir(&all) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(FileError::io(all, "read", &error)),
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| number_of(path).is_some());
    found.sort_by_key(|path| number_of(path));
    Ok(found)
}

fn jobs_text(jobs: &[SlurmJob]) -> String {
    let jobs: Vec<Value> =
        jobs.iter().map(|job| json!({ "id": job.id, "first": job.first, "tasks": job.tasks })).collect();
    format!("{:#}\n", json!({ "jobs": jobs }))
}

/// The jobs of a submission; none where it was given up before the first.
fn read_jobs(folder: &Path) -> Result<Vec<SlurmJob>, FileError> {
    let path = folder.join(JOBS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::io(path, "read", &error)),
    };
    let number = |value: &Value| value.as_u64();
    let job = |job: &Value| {
        Some(SlurmJob {
            id: number(&job["id"])?,
            first: u32::try_from(number(&job["first"])?).ok()? as usize,
            tasks: u32::try_from(number(&job["tasks"])?).ok()? as usize,
        })
    };
    let parsed = serde_json::from_str::<Value>(&text).ok();
    let jobs = parsed.and_then(|value| value["jobs"].as_array()?.iter().map(job).collect());
    let remedy = "cancel what tasks it still has in the queue, and remove the folder";
    jobs.ok_or_else(|| FileError::new(path, Place::Whole, "damaged", "the list of submitted jobs", remedy))
}

/// A job of a store that Slurm still has tasks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedJob {
    /// The job.
    pub job: SlurmJob,
    /// How many of its tasks are in each state, in Slurm's words: of those that wait, with the reason.
    pub states: BTreeMap<String, usize>,
    /// The runs that these tasks were given, done or not.
    pub runs: Vec<String>,
}

impl Store {
    /// Whether runs of this store were ever submitted.
    pub fn has_submissions(&self) -> bool {
        self.root().join(SUBMISSIONS).is_dir()
    }

    /// The jobs of this store's submissions that have tasks which wait or run. Where nothing was ever submitted, Slurm is not
    /// asked.
    ///
    /// # Errors
    /// The queue cannot be asked, or what was submitted cannot be read.
    pub fn slurm_queue(&self) -> Result<Vec<QueuedJob>, SubmitError> {
        let mut jobs = Vec::new();
        for folder in submissions(self)? {
            jobs.extend(read_jobs(&folder)?.into_iter().map(|job| (folder.clone(), job)));
        }
        let ids: Vec<u64> = jobs.iter().map(|(_, job)| job.id).collect();
        let mut tasks: HashMap<u64, Vec<_>> = HashMap::new();
        for task in queued_tasks(&ids)? {
            tasks.entry(task.job).or_default().push(task);
        }
        let mut queue = Vec::new();
        for (folder, job) in jobs {
            // A job of another cluster or of long ago may have had the same number.
            let script = format!("/{SUBMISSIONS}/{}/{SCRIPT} ", number_of(&folder).unwrap_or(0));
            let mut tasks = tasks.remove(&job.id).unwrap_or_default();
            tasks.retain(|task| task.index < job.tasks && format!("{} ", task.command).contains(&script));
            if tasks.is_empty() {
                continue;
            }
            let mut queued = QueuedJob { job, states: BTreeMap::new(), runs: Vec::new() };
            for task in tasks {
                let state = match task.state.as_str() {
                    "RUNNING" => "running".to_string(),
                    state if task.reason == "None" => state.to_lowercase(),
                    state => format!("{} ({})", state.to_lowercase(), task.reason),
                };
                *queued.states.entry(state).or_default() += 1;
                queued.runs.extend(names_in(&list_path(&folder, queued.job.first + task.index))?);
            }
            queue.push(queued);
        }
        Ok(queue)
    }
}

/// The names of runs that a file lists, one a line: of a path its last part, which is the name of the run's directory.
pub fn names_in(list: &Path) -> Result<Vec<String>, FileError> {
    let text = fs::read_to_string(list).map_err(|error| FileError::io(list, "read", &error))?;
    let name = |line: &str| line.trim().trim_end_matches('/').rsplit('/').next().map(String::from);
    Ok(text.lines().filter_map(name).filter(|name| !name.is_empty()).collect())
}
