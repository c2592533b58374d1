//! Progress: a bar on a terminal, plain lines elsewhere; always on standard error.

use crate::experiment::{Experiment, Plan};
use crate::run::{Event, Task};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    done: AtomicUsize,
    /// Whether a line has to say which experiment it is about.
    several: bool,
}

impl Progress {
    /// For the runs that `tasks` wait for.
    pub(super) fn new(tasks: &[Task<'_>]) -> Self {
        let terminal = std::io::stderr().is_terminal();
        for task in tasks {
            let (name, waiting, planned) =
                (&task.experiment().name, task.waiting(), task.experiment().plans.len());
            for message in task.unreadable() {
                eprintln!("{message}; this run is left alone");
            }
            for message in task.damage() {
                eprintln!("{message}; this run is done again");
            }
            if waiting == 0 {
                eprintln!("{name}: nothing to run, all {planned} are there");
            } else if !terminal {
                eprintln!("{name}: {waiting} {}", if waiting == 1 { "run" } else { "runs" });
            }
        }
        let total = tasks.iter().map(Task::waiting).sum();
        let mut names = tasks.iter().filter(|task| task.waiting() > 0).map(|task| &task.experiment().name);
        let (first, several) = (names.next(), names.next().is_some());
        let bar = (total > 0 && terminal).then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta} {wide_msg}");
            let title = if several { "runs".to_string() } else { first.cloned().unwrap_or_default() };
            let bar = ProgressBar::new(total as u64).with_prefix(title);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Progress { bar, total, done: AtomicUsize::new(0), several }
    }

    /// Tells what happened to a run of `experiment`.
    pub(super) fn report(&self, experiment: &Experiment, event: &Event<'_>) {
        let name = |plan: &Plan| match self.several {
            true => format!("{}/{}", experiment.name, plan.directory_name()),
            false => plan.directory_name(),
        };
        let (line, matters) = match event {
            Event::Note { plan, message } => {
                self.aside(|| eprintln!("{}: {message}", name(plan)));
                return;
            }
            Event::Running { plan, time, wall_seconds, details } => {
                let mut line = format!("{}: at t = {time:.4e} after {wall_seconds:.0} s", name(plan));
                if !details.is_empty() {
                    line += &format!(", {details}");
                }
                match &self.bar {
                    Some(bar) => bar.set_message(line),
                    None => eprintln!("{line}"),
                }
                return;
            }
            Event::Done { plan, ending, wall_seconds, warnings } => {
                let mut line = format!("{}: {ending} ({wall_seconds:.2} s)", name(plan));
                for warning in warnings {
                    line += &format!("; warning: {warning}");
                }
                (line, !ending.is_finished() || !warnings.is_empty())
            }
            Event::Elsewhere { plan } => (format!("{}: ended in another process", name(plan)), false),
            Event::Broken { plan, message } => (format!("{}: {message}", name(plan)), true),
        };
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                if matters {
                    bar.println(line);
                } else {
                    bar.set_message(line);
                }
            }
            None => eprintln!("[{done}/{}] {line}", self.total),
        }
    }

    /// Prints something else, out of the way of the bar.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
