//! How long a plan may take, as far as it can be told beforehand.

use crate::experiment::{Dynamics, Flow, Plan, Subject};

/// Evaluations of the gradient that a flow takes a layer and a factor e of training time. Those of the figures take between
/// half of it and three times as much; a stiff one takes many more.
const EVALUATIONS: f64 = 60.0;

/// Multiplications that the exponential of a pair of samples, its sums and their gradient are worth.
const PAIR: f64 = 16.0;

/// Multiplications that an evaluation is worth however small it is: control of the step, noise, factorisations.
const EVALUATION: f64 = 1e5;

/// A rough number of multiplications, by which the longest plans are run first. It is good for an order and for nothing else:
/// results do not depend on it.
pub fn cost(plan: &Plan) -> f64 {
    if plan.subject == Subject::RealNetwork {
        // Of one file as a rule, whose runs differ by little else.
        return plan.settings.table("training").integer("epochs") as f64;
    }
    let data = plan.settings.table("data");
    // A file has a number of samples that its plan does not say.
    let samples = if data.kind() == "file" { 1024 } else { data.integer("samples") };
    let widths: Vec<f64> =
        plan.settings.table("encoder").integers("widths").iter().map(|&width| width as f64).collect();
    let layers = widths.len() as f64 - 1.0;
    // Forwards once, backwards twice.
    let weights = 3.0 * widths.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
    let pairwise = |count: usize| {
        let (count, embedding) = (count as f64, widths.last().copied().unwrap_or(1.0));
        EVALUATION + count * count * (PAIR + embedding) + 2.0 * count * weights
    };
    // Products of square matrices instead.
    let given_x = || EVALUATION + widths.iter().copied().fold(1.0, f64::max) * weights;
    let evaluations = |flow: &Flow| EVALUATIONS * layers * (2.0 + flow.time_end).ln();
    match plan.dynamics() {
        Dynamics::Flow(flow) => evaluations(&flow) * pairwise(samples),
        Dynamics::Gd { steps, .. } => steps as f64 * pairwise(samples),
        Dynamics::Sgd { steps, batch, .. } => steps as f64 * pairwise(batch),
        Dynamics::FrozenX(flow) | Dynamics::PrescribedX { flow, .. } | Dynamics::Population { flow, .. } => {
            evaluations(&flow) * given_x()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;
    use std::path::Path;

    const TEXT: &str = r#"
seed     = 1
data     = { kind = "gaussian", dim = 4, samples = 64 }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 10.0 }
observe  = { times = { kind = "linear", count = 2 }, quantities = ["loss"] }
"#;

    fn of(overrides: &[&str]) -> f64 {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        cost(&Experiment::parse("test.toml", Path::new("."), TEXT, &overrides).unwrap().plans[0])
    }

    #[test]
    fn more_samples_steps_time_layers_and_width_cost_more() {
        let gd = "dynamics={ kind = \"gd\", rate = 0.1, steps = 100 }";
        let sgd = |steps: usize, batch: usize| {
            of(&[&format!("dynamics={{ kind = \"sgd\", rate = 0.1, steps = {steps}, batch = {batch} }}")])
        };
        assert!(of(&["data.samples=256"]) > of(&[]));
        assert!(of(&["dynamics.time_end=1000.0"]) > of(&[]));
        assert!(of(&["encoder.widths=[4, 4, 4]"]) > of(&[]));
        assert!(of(&["encoder.widths=[4, 8]"]) > of(&[]));
        assert!(of(&[gd, "dynamics.steps=200"]) > of(&[gd]));
        assert!(of(&[gd, "data.samples=256"]) > of(&[gd]));
        assert!(sgd(200, 16) > sgd(100, 16) && sgd(100, 32) > sgd(100, 16));
        // A batch is what a step of SGD sees, all samples are what one of gradient descent sees.
        assert!(sgd(100, 64) == of(&[gd]));
    }

    #[test]
    fn every_experiment_of_the_repository_has_a_cost() {
        let mut count = 0;
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let experiment = Experiment::read(&path, &[]).unwrap_or_else(|problem| panic!("{problem}"));
                assert!(experiment.plans.iter().map(cost).all(|cost| cost.is_finite() && cost > 0.0));
                count += 1;
            }
        }
        assert!(count > 20);
    }
}
