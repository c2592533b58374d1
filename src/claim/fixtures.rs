//! Runs for tests of claims: what a claim names, smaller.

use super::case::{Case, Level, NeededExperiment, Run, Source};
use crate::experiment::{Experiment, Plan};
use crate::run::{self, Store};
use std::collections::BTreeMap;
use std::path::Path;

/// The finished runs of `wanted` at the quick level, with more overrides.
pub(super) fn simulated(wanted: &NeededExperiment, overrides: &[&str]) -> Vec<Run> {
    let quick = wanted.overrides(Level::Quick);
    let all: Vec<&str> = quick.iter().map(String::as_str).chain(overrides.iter().copied()).collect();
    runs(wanted, &all)
}

/// The runs of a claim's experiment with `overrides`, each `key=value`, in place of those of a level.
pub(super) fn runs(wanted: &NeededExperiment, overrides: &[&str]) -> Vec<Run> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    match wanted.source {
        Source::File => {
            let text = std::fs::read_to_string(folder.join(format!("{}.toml", wanted.name))).unwrap();
            runs_of(&text, &folder, overrides)
        }
        Source::Text(text) => runs_of(text, &folder, overrides),
    }
}

/// The finished runs of this text, relative paths from `folder`.
pub(super) fn runs_of(text: &str, folder: &Path, overrides: &[&str]) -> Vec<Run> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let experiment = Experiment::parse("test.toml", folder, text, &overrides);
    let experiment = experiment.unwrap_or_else(|problem| panic!("{problem}"));
    let records = tempfile::tempdir().unwrap();
    let store = Store::new(records.path());
    run::run(&experiment, &store, 2, false, &|| false, &|_| ()).unwrap();
    let load = |plan: &Plan| {
        let stored = store.load(plan).unwrap();
        assert!(stored.is_finished(), "{}", stored.outcome);
        Run { plan: plan.clone(), stored, state: store.load_state(plan).unwrap() }
    };
    experiment.plans.iter().map(load).collect()
}

/// A case at the quick level of these runs.
pub(super) fn case(runs: Vec<(&'static str, Vec<Run>)>) -> Case {
    Case { level: Level::Quick, runs: BTreeMap::from_iter(runs) }
}
