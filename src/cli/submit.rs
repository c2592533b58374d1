//! `contraflow run FILE --submit slurm`: hands the missing runs to a cluster instead of doing them here.

use super::run::estimated;
use super::{DONE, FAILED, Run, counted, print_line, refuse};
use crate::experiment::Experiment;
use crate::run::{PlannedRuns, Store, Submission, SubmitError};
use std::path::Path;

pub(super) fn submit(arguments: &Run, experiment: &Experiment, store: &Store, planned: &PlannedRuns) -> u8 {
    if let Err(problem) = experiment.check_files() {
        return refuse(&problem);
    }
    let asked = arguments.slurm.over(&experiment.slurm);
    let submission = command(arguments, store)
        .and_then(|command| Submission::new(experiment, store, &asked, arguments.retry, command));
    let submission = match submission {
        Ok(submission) => submission,
        Err(error) => return failed(&error),
    };
    let Submission { lists, finished, failed: left_alone, queued, .. } = &submission;
    let runs = submission.runs();
    let (what, tasks) = (counted(runs, "run"), counted(lists.len(), "task"));
    let rest = format!("{finished} done, {left_alone} failed, {queued} in the queue");
    if runs == 0 {
        print_line(&format!("nothing to submit: {rest}"));
    } else if arguments.dry_run {
        let script = match submission.script(store) {
            Ok(script) => script,
            Err(error) => return failed(&error),
        };
        print_line(&script);
        for (first, tasks) in submission.arrays() {
            print_line(&format!("sbatch --array=0-{} submit.sh {first}", tasks - 1));
        }
        let workers = lists.len() * asked.cpus.unwrap_or(1);
        let (time, sure) = estimated(&store.estimate(experiment), workers);
        print_line(&format!("{what} in {tasks} ({rest}): {time} on {}, {sure}", counted(workers, "core")));
    } else {
        let mut jobs = Vec::new();
        let submitted = submission.submit(store, planned, &mut |job| {
            print_line(&format!("job {}: {}", job.id, counted(job.tasks, "task")));
            jobs.push(job.id);
        });
        if let Err(error) = submitted {
            let status = failed(&error);
            if !jobs.is_empty() {
                eprintln!("the jobs above stay submitted; the same command submits what they leave");
            }
            return status;
        }
        let root = store.root().display();
        print_line(&format!("{what} submitted in {tasks} ({rest}); `contraflow status {root}`"));
    }
    if *left_alone > 0 {
        eprintln!("failed runs are submitted with --retry");
    }
    DONE
}

/// The program and the arguments with which a task does its part.
fn command(arguments: &Run, store: &Store) -> Result<Vec<String>, SubmitError> {
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_string()),
        None => Err(SubmitError::Unwritable(path.to_string_lossy().into_owned())),
    };
    let absolute = |path: &Path| text(&std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
    let program = std::env::current_exe().unwrap_or_else(|_| "contraflow".into());
    let mut command = vec![text(&program)?, "run".to_string(), absolute(&arguments.file)?];
    command.extend(["--out".to_string(), absolute(store.root())?]);
    command.extend(arguments.overrides.iter().flat_map(|text| ["--set".to_string(), text.clone()]));
    command.extend(arguments.retry.then(|| "--retry".to_string()));
    command.extend(arguments.yes.then(|| "--yes".to_string()));
    Ok(command)
}

fn failed(error: &SubmitError) -> u8 {
    eprintln!("error: {error}");
    FAILED
}
