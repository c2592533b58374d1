//! Many plans on one and on two threads: how much faster two are, and how long a thread has nothing to do at the end.
//!
//! `cargo bench --bench sweep` prints, for 64 equal plans, for plans whose costs differ by a factor of hundreds, and for several
//! experiments with and without a common queue: seconds on one and on two threads, the best of several rounds, their ratio,
//! and the share of the two threads' time after the last plan that each of them ran.

use contraflow::experiment::Experiment;
use contraflow::run::{Event, Store, Task, run_all};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::Instant;

const ROUNDS: usize = 3;

/// An experiment of SGD whose swept keys are given.
fn experiment(name: &str, sweep: &str) -> Experiment {
    let text = format!(
        r#"
seed     = 1
data     = {{ kind = "gaussian", dim = 16, samples = 4096 }}
augment  = {{ kind = "isotropic", variance = 0.5, sides = "one" }}
encoder  = {{ kind = "linear", widths = [16, 16, 16], init = {{ kind = "spectrum", decay = 0.35 }} }}
loss     = {{ kind = "infonce-euclidean" }}
dynamics = {{ kind = "sgd", rate = 0.01, steps = 250, batch = 128 }}
observe  = {{ times = {{ kind = "log", first = 0.01, count = 4 }}, quantities = ["loss", "spectra"] }}
sweep    = {{ {sweep} }}
"#
    );
    Experiment::parse(name, Path::new("."), &text, &[]).expect("a valid experiment")
}

/// Seconds, and the share of time in which threads had nothing to do any more.
fn round(calls: &[&[Experiment]], jobs: usize) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut total = 0.0;
    let mut idle = 0.0;
    for experiments in calls {
        let stores: Vec<Store> =
            experiments.iter().map(|experiment| Store::new(folder.path().join(&experiment.name))).collect();
        let last: Mutex<HashMap<ThreadId, f64>> = Mutex::default();
        let start = Instant::now();
        let tasks: Vec<Task<'_>> = experiments
            .iter()
            .zip(&stores)
            .map(|(experiment, store)| Task::new(experiment, store, false).expect("a folder"))
            .collect();
        let report = |_: usize, event: Event<'_>| {
            if let Event::Done { .. } = event {
                last.lock().expect("no panic").insert(thread::current().id(), start.elapsed().as_secs_f64());
            }
        };
        run_all(&tasks, jobs, &|| false, &report, &|_, ended| assert!(ended.expect("stored").is_complete()));
        let seconds = start.elapsed().as_secs_f64();
        let busy: f64 = last.into_inner().expect("no panic").values().sum();
        total += seconds;
        idle += jobs as f64 * seconds - busy;
    }
    (total, idle / (jobs as f64 * total))
}

fn main() {
    let seeds: Vec<String> = (1..=64).map(|seed| seed.to_string()).collect();
    let equal = [experiment("equal", &format!("seed = [{}]", seeds.join(", ")))];
    // The longest are the last of the file.
    let unequal =
        [experiment("unequal", r#"seed = [1, 2, 3], "dynamics.batch" = [8, 16, 32, 64, 128, 256, 512]"#)];
    // Three experiments of few and long plans, and one of many short ones.
    let long =
        |name: &str, seeds: &str| experiment(name, &format!("seed = [{seeds}], \"dynamics.batch\" = [512]"));
    let several = [
        long("a", "1, 2, 3"),
        long("b", "4, 5, 6"),
        long("c", "7"),
        experiment("d", &format!("seed = [{}], \"dynamics.batch\" = [32]", seeds.join(", "))),
    ];
    let one_by_one: Vec<&[Experiment]> = several.chunks(1).collect();
    println!("{:<32} {:>10} {:>10} {:>9} {:>16}", "", "1 thread", "2 threads", "speed-up", "idle at the end");
    for (name, calls) in [
        ("64 equal plans", &[&equal[..]][..]),
        ("21 unequal plans", &[&unequal[..]][..]),
        ("4 experiments, one queue", &[&several[..]][..]),
        ("4 experiments, one by one", &one_by_one[..]),
    ] {
        let best = |jobs: usize| {
            let rounds = (0..ROUNDS).map(|_| round(calls, jobs));
            rounds.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a round")
        };
        let ((one, _), (two, idle)) = (best(1), best(2));
        println!("{name:<32} {one:>8.2} s {two:>8.2} s {:>9.2} {:>14.1} %", one / two, 100.0 * idle);
    }
}
