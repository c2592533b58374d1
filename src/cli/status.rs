//! `contraflow status DIR`: how the runs of a store stand.

use super::{DONE, Status, duration, print_line, refuse};
use crate::run::{Holder, Overview, Store};
use std::collections::BTreeMap;

/// Runs that are named of each kind; the rest is counted.
const NAMED: usize = 10;

pub(super) fn status(arguments: &Status) -> u8 {
    match Store::new(&arguments.dir).overview() {
        Ok(overview) => {
            lines(&overview).iter().for_each(|line| print_line(line));
            DONE
        }
        Err(error) => refuse(&format!("error: {error}")),
    }
}

fn lines(overview: &Overview) -> Vec<String> {
    let Overview { experiment, planned, finished, failed, running, missing, seconds_left } = overview;
    let mut lines = vec![format!(
        "{experiment}: {planned} planned, {finished} done, {} running, {} failed, {} missing",
        running.len(),
        failed.len(),
        missing.len()
    )];
    if !running.is_empty() || !missing.is_empty() {
        let left = seconds_left.map_or("unknown until a run has finished".to_string(), duration);
        lines.push(match running.len() {
            0 => format!("time left: {left} for one core; nothing is running: `contraflow run` goes on"),
            workers => format!("time left: {left} with {workers} at work"),
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
