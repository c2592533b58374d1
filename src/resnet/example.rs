//! A small plan for tests.

use crate::experiment::{Experiment, Plan};
use std::path::Path;

const TEXT: &str = r#"
seed     = 5
data     = { kind = "shapes", images = 40, test_images = 20, size = 16 }
views    = {}
network  = { kind = "resnet-8", width = 4 }
method   = { kind = "simclr", projector = { kind = "linear", out = 8 } }
training = { optimiser = { kind = "sgd", rate = 0.05 }, epochs = 2, batch = 10 }
observe  = { images = 20, neighbours = 5, first = [2, 16] }
"#;

/// The plan with these overrides.
pub(super) fn plan(overrides: &[&str]) -> Plan {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let experiment = Experiment::parse("example.toml", Path::new("."), TEXT, &overrides);
    experiment.unwrap_or_else(|problem| panic!("{problem}")).plans.remove(0)
}
