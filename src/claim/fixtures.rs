//! Runs for tests of claims: what a claim names, smaller.

use super::case::{Case, Level, NeededExperiment, Run, Source};
use crate::experiment::Experiment;
use crate::run::{self, Store};
use std::collections::BTreeMap;
use std::path::Path;

/// The finished runs of `wanted` at the quick level, with more overrides.
pub fn simulated(wanted: &NeededExperiment, overrides: &[&str]) -> Vec<Run> {
    let root = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut all = wanted.overrides(Level::Quick);
    all.extend(overrides.iter().map(|text| (*text).to_string()));
    let experiment = match wanted.source {
        Source::File => Experiment::read(&folder.join(format!("{}.toml", wanted.name)), &all),
        Source::Text(text) => Experiment::parse(wanted.name, &folder, text, &all),
    };
    let experiment = experiment.unwrap_or_else(|problem| panic!("{problem}"));
    let store = Store::new(root.path());
    run::run(&experiment, &store, 2, false, &|| false, &|_| {}).unwrap();
    let load = |plan: &crate::experiment::Plan| {
        let stored = store.load(plan).unwrap();
        assert!(stored.is_finished(), "{}", stored.outcome);
        Run { plan: plan.clone(), stored, state: store.load_state(plan).unwrap() }
    };
    experiment.plans.iter().map(load).collect()
}

/// A case at the quick level of these runs.
pub fn case(runs: Vec<(&'static str, Vec<Run>)>) -> Case {
    Case { level: Level::Quick, runs: BTreeMap::from_iter(runs) }
}
