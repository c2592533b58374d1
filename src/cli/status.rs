//! `contraflow status DIR`: how the runs of a store stand.

use super::{DONE, Status, counted, duration, print_line, refuse};
use crate::run::{Holder, Overview, Store};
use std::collections::{BTreeMap, HashSet};

/// Runs that are named of each kind; the rest is counted.
const NAMED: usize = 10;

pub(super) fn status(arguments: &Status) -> u8 {
    let store = Store::new(&arguments.dir);
    match store.overview() {
        Ok(overview) => {
            lines(&overview).iter().for_each(|line| print_line(line));
            queue_lines(&store, &overview).iter().for_each(|line| print_line(line));
            DONE
        }
        Err(error) => refuse(&format!("error: {error}")),
    }
}

fn lines(overview: &Overview) -> Vec<String> {
    let Overview { experiment, planned, finished, failed, running, missing, .. } = overview;
    let mut lines = vec![format!(
        "{experiment}: {planned} planned, {finished} done, {} running, {} failed, {} missing",
        running.len(),
        failed.len(),
        missing.len()
    )];
    if !running.is_empty() || !missing.is_empty() {
        let left = |workers: &str| match overview.seconds_left {
            Some(seconds) => format!("{} {workers}", duration(seconds)),
            None => "unknown until a run has finished".to_string(),
        };
        lines.push(match running.len() {
            0 => {
                format!("time left: {}; nothing is running: `contraflow run` goes on", left("for one core"))
            }
            workers => format!("time left: {}", left(&format!("with {workers} at work"))),
        });
    }
    list(&mut lines, "running", running.iter().map(|(name, holder)| format!("{name}  {}", named(holder))));
    let wrong = missing.iter().filter_map(|(name, wrong)| Some(format!("{name}  {}", wrong.as_ref()?)));
    list(&mut lines, "to be done again", wrong);
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, reason) in failed {
        reasons.entry(reason).or_default().push(name);
    }
    let failures = reasons.iter().map(|(reason, names)| match names.as_slice() {
        [name] => format!("{name}  {reason}"),
        names => format!("{} and {} more  {reason}", names[0], names.len() - 1),
    });
    list(&mut lines, "failed", failures);
    if !failed.is_empty() {
        lines.push("failed runs are done again with `contraflow run --retry`".to_string());
    }
    if overview.others > 0 {
        lines.push(others(overview.others));
    }
    if overview.stray_checkpoints > 0 {
        lines.push(format!(
            "{} of runs that are not planned now, in the folder .working: they go on if they are planned again, and may be removed",
            counted(overview.stray_checkpoints, "checkpoint")
        ));
    }
    lines
}

/// That a folder holds more than what is planned.
fn others(count: usize) -> String {
    format!(
        "besides: {} that the last `contraflow run` did not ask for, of another experiment or of an earlier version of this \
         one; summary.csv has {}, and calls {} not planned",
        counted(count, "run"),
        if count == 1 { "it" } else { "them" },
        if count == 1 { "it" } else { "them" }
    )
}

/// What a cluster's queue holds for the store; nothing where nothing was ever submitted.
fn queue_lines(store: &Store, overview: &Overview) -> Vec<String> {
    let left = overview.running.len() + overview.missing.len();
    let queue = match store.slurm_queue() {
        Ok(queue) => queue,
        Err(error) => return vec![format!("Slurm: unknown: {error}")],
    };
    if !store.has_submissions() || (queue.is_empty() && left == 0) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    list(
        &mut lines,
        "Slurm",
        queue.iter().map(|queued| {
            let states: Vec<_> =
                queued.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
            format!("job {}: of {} tasks {}", queued.job.id, queued.job.tasks, states.join(", "))
        }),
    );
    let runs: HashSet<&str> = queue.iter().flat_map(|queued| &queued.runs).map(String::as_str).collect();
    let forgotten = overview.missing.iter().filter(|(name, _)| !runs.contains(name.as_str())).count();
    lines.push(match forgotten {
        0 => "Slurm: tasks in the queue are for all missing runs".to_string(),
        _ => format!(
            "Slurm: no task in the queue is for {forgotten} of the missing runs; `contraflow run … --submit slurm` submits them"
        ),
    });
    lines
}

fn list(lines: &mut Vec<String>, what: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    lines.extend(items.iter().take(NAMED).map(|item| format!("{what}: {item}")));
    if items.len() > NAMED {
        lines.push(format!("{what}: and {} more", items.len() - NAMED));
    }
}

fn named(holder: &Holder) -> String {
    let unsure =
        if holder.lives.is_none() { " (another machine: whether it lives is not known here)" } else { "" };
    format!("on {}, process {}{unsure}", holder.host, holder.process)
}
