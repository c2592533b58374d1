//! Records for tests of claims.

use super::case::{NeededExperiment, Run, Source};
use crate::experiment::Experiment;
use crate::run::{self, Store};
use std::path::Path;

/// The runs of a claim's own experiment with `overrides`, each `key=value`, in place of those of a level.
pub(super) fn runs(wanted: &NeededExperiment, overrides: &[&str]) -> Vec<Run> {
    let Source::Text(text) = wanted.source else { panic!("{} is a file", wanted.name) };
    runs_of(text, Path::new("."), overrides)
}

/// The runs of this text, relative paths from `folder`.
pub(super) fn runs_of(text: &str, folder: &Path, overrides: &[&str]) -> Vec<Run> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let experiment = Experiment::parse("test.toml", folder, text, &overrides).unwrap();
    let records = tempfile::tempdir().unwrap();
    let store = Store::new(records.path());
    run::run(&experiment, &store, 1, false, &|| false, &|_| ()).unwrap();
    let load = |plan: &crate::experiment::Plan| Run {
        plan: plan.clone(),
        stored: store.load(plan).unwrap(),
        state: store.load_state(plan).unwrap(),
    };
    experiment.plans.iter().map(load).collect()
}
