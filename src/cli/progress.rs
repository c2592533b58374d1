//! Progress: a bar on a terminal, plain lines elsewhere; always on standard error.

use crate::run::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    done: AtomicUsize,
}

impl Progress {
    /// For `total` runs under this title, out of `planned`.
    pub(super) fn new(title: &str, total: usize, planned: usize) -> Self {
        if total == 0 {
            eprintln!("{title}: nothing to run, all {planned} are there");
        } else if !std::io::stderr().is_terminal() {
            eprintln!("{title}: {total} {}", if total == 1 { "run" } else { "runs" });
        }
        let bar = (total > 0 && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta} {wide_msg}");
            let bar = ProgressBar::new(total as u64).with_prefix(title.to_string());
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Progress { bar, total, done: AtomicUsize::new(0) }
    }

    pub(super) fn report(&self, event: &Event<'_>) {
        let (line, matters) = match event {
            Event::Running { plan, time, wall_seconds } => {
                let line = format!("{}: at t = {time:.4e} after {wall_seconds:.0} s", plan.directory_name());
                match &self.bar {
                    Some(bar) => bar.set_message(line),
                    None => eprintln!("{line}"),
                }
                return;
            }
            Event::Done { plan, ending, wall_seconds, warnings } => {
                let mut line = format!("{}: {ending} ({wall_seconds:.2} s)", plan.directory_name());
                for warning in warnings {
                    line += &format!("; warning: {warning}");
                }
                (line, !ending.is_finished() || !warnings.is_empty())
            }
            Event::Broken { plan, message } => (format!("{}: {message}", plan.directory_name()), true),
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

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
