//! Trained networks: the flow against closed forms, conserved quantities, convergence orders and itself.

use contraflow::experiment::{Experiment, Plan};
use contraflow::matrix::{Matrix, exponential, spectral_norm, symmetric_exponential};
use contraflow::run::{Simulation, simulate};
use std::path::Path;

fn plan(text: &str, overrides: &[&str]) -> Plan {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    match Experiment::parse("test.toml", Path::new("."), text, &overrides) {
        Ok(experiment) => experiment.plans.into_iter().next().unwrap(),
        Err(problem) => panic!("{problem}"),
    }
}

fn train(text: &str, overrides: &[&str]) -> Simulation {
    let plan = plan(text, overrides);
    let prepared = plan.prepare().unwrap_or_else(|problem| panic!("{problem}"));
    simulate(&plan, prepared, &|_| false)
}

fn layers(simulation: &Simulation) -> Vec<Matrix> {
    simulation
        .network
        .named_parameters(&simulation.parameters)
        .into_iter()
        .map(|(_, matrix)| matrix)
        .collect()
}

fn initial_layers(plan: &Plan) -> Vec<Matrix> {
    let prepared = plan.prepare().unwrap_or_else(|problem| panic!("{problem}"));
    prepared.network.named_parameters(&prepared.parameters).into_iter().map(|(_, matrix)| matrix).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

const ONE_LAYER: &str = r#"
seed     = 3
data     = { kind = "gaussian", dim = 16, samples = 64 }
augment  = { kind = "block", block = 8, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [16, 16], init = { kind = "gaussian", std = 0.25 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "frozen-x", method = "tsit5", rtol = 1e-6, atol = 1e-20, time_end = 4.0 }
observe  = { times = { kind = "linear", count = 4 }, quantities = ["loss", "spectra", "x"] }
"#;

#[test]
fn frozen_x_follows_the_matrix_exponential_within_twenty_tolerances() {
    let plan = plan(ONE_LAYER, &[]);
    let start = initial_layers(&plan).remove(0);
    // The X of the run, from its record; and the time for which |X| t = 20.
    let recorded = train(ONE_LAYER, &[]);
    let largest = recorded.trajectory.last("eig_x").unwrap().iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let time = 20.0 / largest;
    let prepared = plan.prepare().unwrap();
    let (data, augmentation) = prepared.source.samples().unwrap();
    let views = contraflow::stream::full_batch(data, augmentation, plan.seed);
    let (loss, reduction) = plan.loss();
    let mut objective = contraflow::gradient::Objective::new(prepared.network, loss, reduction);
    let (x, _) = objective.x_matrix(&prepared.parameters, &views);
    assert!((spectral_norm(&x).unwrap() - largest).abs() < 1e-12 * largest);
    let exact = &start * exponential(&(&x * time)).unwrap();
    let by_eigen = &start * symmetric_exponential(&(&x * time)).unwrap();
    assert!((&exact - by_eigen).norm() < 1e-12 * exact.norm(), "two exponentials agree");
    for method in ["tsit5", "dopri5", "dop853"] {
        for rtol in [1e-6, 1e-8, 1e-10] {
            let found = train(
                ONE_LAYER,
                &[
                    &format!("dynamics.method={method}"),
                    &format!("dynamics.rtol={rtol:e}"),
                    &format!("dynamics.time_end={time}"),
                ],
            );
            let error = (&layers(&found)[0] - &exact).norm() / exact.norm();
            println!("{method}, rtol {rtol:e}: error {:.2} rtol", error / rtol);
            assert!(error <= 20.0 * rtol, "{method}, rtol {rtol:e}: {error:e}");
        }
    }
    let wrong = &start * exponential(&(&x * (-time))).unwrap();
    assert!((wrong - &exact).norm() > 0.1 * exact.norm(), "the other sign is far away");
}

#[test]
fn prescribed_x_integrates_its_decay_in_closed_form() {
    // Ẇ = W X exp(-a t): W(t) = W(0) exp(X (1 - exp(-a t)) / a), column by column.
    let overrides = [
        "dynamics={ kind = \"prescribed-x\", eigenvalues = [3.0, -2.0], decay = 0.5, method = \"dop853\", rtol = 1e-11, atol = 1e-20, time_end = 3.0 }",
        "data.dim=2",
        "augment.block=1",
        "encoder.widths=[2, 3]",
    ];
    let start = initial_layers(&plan(ONE_LAYER, &overrides)).remove(0);
    let found = layers(&train(ONE_LAYER, &overrides)).remove(0);
    let elapsed = (1.0 - (-1.5f64).exp()) / 0.5;
    for (column, eigenvalue) in [3.0f64, -2.0].into_iter().enumerate() {
        let exact = start.column(column) * (eigenvalue * elapsed).exp();
        assert!((found.column(column) - &exact).norm() < 2e-10 * exact.norm());
    }
}

const TWO_LAYERS: &str = r#"
seed     = 5
data     = { kind = "gaussian", dim = 16, samples = 256 }
augment  = { kind = "isotropic", variance = 0.1, sides = "one" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-12, time_end = 30.0 }
observe  = { times = { kind = "linear", count = 30 }, quantities = ["loss", "imbalance"] }
"#;

#[test]
fn the_flow_conserves_the_imbalance_within_two_tolerances() {
    for rtol in [1e-6, 1e-8] {
        let found = train(TWO_LAYERS, &[&format!("dynamics.rtol={rtol:e}")]);
        let imbalance = &found.trajectory.columns["imbalance_1_2"];
        let rows = found.trajectory.time.len();
        let drifts: Vec<f64> = (1..rows).map(|t| distance(imbalance.row(t), imbalance.row(0))).collect();
        assert!(drifts.iter().all(|drift| drift.is_finite()));
        let drift = drifts.iter().copied().fold(0.0, f64::max);
        let size = layers(&found).iter().map(|w| spectral_norm(w).unwrap()).fold(0.0, f64::max);
        println!("rtol {rtol:e}: drift {:.3} rtol max|W|²", drift / (rtol * size * size));
        assert!(drift < 2.0 * rtol * size * size, "rtol {rtol:e}: {drift:e}");
        assert!(drift > 0.0, "a drift of exactly 0 would mean that nothing moved");
    }
    // Gradient descent does not conserve it: each step adds η² (G1 G1ᵀ - G2ᵀ G2), Frobenius norm far above.
    let descent = train(TWO_LAYERS, &["dynamics={ kind = \"gd\", rate = 0.05, steps = 600 }"]);
    let imbalance = &descent.trajectory.columns["imbalance_1_2"];
    let drift = distance(imbalance.row(descent.trajectory.time.len() - 1), imbalance.row(0));
    assert!(drift > 1e-3, "{drift:e}");
}

#[test]
fn the_error_of_the_final_weights_falls_five_fold_with_each_decade_of_tolerance() {
    let reference =
        train(TWO_LAYERS, &["dynamics.method=dop853", "dynamics.rtol=1e-12", "dynamics.atol=1e-16"]);
    let again = train(TWO_LAYERS, &["dynamics.method=tsit5", "dynamics.rtol=1e-12", "dynamics.atol=1e-16"]);
    let floor = distance(&again.parameters, &reference.parameters);
    println!("two methods at rtol 1e-12 differ by {floor:.2e}");
    let mut last = f64::INFINITY;
    for exponent in 4..=9 {
        let found = train(TWO_LAYERS, &[&format!("dynamics.rtol=1e-{exponent}"), "dynamics.atol=1e-16"]);
        let error = distance(&found.parameters, &reference.parameters);
        println!("rtol 1e-{exponent}: error {error:.3e}, {:.1} times less", last / error);
        assert!(error <= last / 5.0, "rtol 1e-{exponent}: {error:e} after {last:e}");
        assert!(error > 10.0 * floor, "the window lies above what the reference knows");
        last = error;
    }
}

#[test]
fn recording_at_20_or_2000_times_gives_bit_identical_final_weights() {
    let few = train(TWO_LAYERS, &["observe.times={ kind = \"linear\", count = 20 }"]);
    let many = train(
        TWO_LAYERS,
        &[
            "observe.times={ kind = \"log\", first = 1e-3, count = 2000 }",
            "observe.quantities=[\"imbalance\"]",
        ],
    );
    assert_eq!(few.trajectory.time.len(), 21);
    assert_eq!(many.trajectory.time.len(), 2001);
    assert_eq!(few.parameters, many.parameters);
    assert_eq!(few.effort.steps, many.effort.steps);
}

#[test]
fn the_times_of_a_list_are_recorded_with_start_and_end_by_flows_and_in_whole_steps_by_descents() {
    let list = "observe.times={ kind = \"list\", times = [0.25, 0.28, 0.75] }";
    let flow = train(TWO_LAYERS, &[list, "dynamics.time_end=1.0"]);
    assert_eq!(flow.trajectory.time, [0.0, 0.25, 0.28, 0.75, 1.0]);
    let every =
        train(TWO_LAYERS, &["observe.times={ kind = \"linear\", count = 4 }", "dynamics.time_end=1.0"]);
    assert_eq!(flow.parameters, every.parameters);
    let loss = |found: &Simulation, at: usize| found.trajectory.columns["loss"].values[at];
    assert_eq!((loss(&flow, 1), loss(&flow, 3)), (loss(&every, 1), loss(&every, 3)));
    assert_ne!(loss(&flow, 1), loss(&flow, 2));
    for kind in ["gd", "sgd"] {
        let batch = if kind == "sgd" { ", batch = 16" } else { "" };
        let descent = format!("dynamics={{ kind = \"{kind}\", rate = 0.1, steps = 10{batch} }}");
        assert_eq!(train(TWO_LAYERS, &[list, &descent]).trajectory.step, [0, 3, 8, 10], "{kind}");
    }
}

#[test]
fn gradient_descent_approaches_the_flow_at_first_order() {
    let flow = train(TWO_LAYERS, &["dynamics.rtol=1e-11", "dynamics.time_end=1.0"]);
    let errors: Vec<f64> = [(0.1, 10), (0.05, 20), (0.025, 40)]
        .into_iter()
        .map(|(rate, steps)| {
            let descent = format!("dynamics={{ kind = \"gd\", rate = {rate}, steps = {steps} }}");
            distance(&train(TWO_LAYERS, &[&descent]).parameters, &flow.parameters)
        })
        .collect();
    for pair in errors.windows(2) {
        let ratio = pair[0] / pair[1];
        println!("error ratio {ratio:.3}");
        assert!((ratio - 2.0).abs() <= 0.2, "{ratio}");
    }
}

#[test]
fn a_flow_converges_where_its_gradient_vanishes_and_says_so() {
    let text = ONE_LAYER.replace("frozen-x", "flow");
    let found = train(
        &text,
        &[
            "augment={ kind = \"isotropic\", variance = 5.0, sides = \"one\" }",
            "dynamics.time_end=1000.0",
            "dynamics.gradient_norm=1e-6",
        ],
    );
    let contraflow::record::Ending::Converged { gradient_norm, time } = found.ending else {
        panic!("{}", found.ending)
    };
    assert!(gradient_norm <= 1e-6 && time < 1000.0);
}

#[test]
fn a_rate_that_diverges_ends_as_non_finite_with_the_record_up_to_there() {
    let text = ONE_LAYER.replace("frozen-x", "flow");
    let found = train(
        &text,
        &[
            "loss={ kind = \"infonce-dot\", temperature = 0.1 }",
            "dynamics={ kind = \"gd\", rate = 1e6, steps = 1000 }",
            "observe.times={ kind = \"linear\", every = 1 }",
        ],
    );
    let contraflow::record::Ending::NonFinite { step, .. } = found.ending else { panic!("{}", found.ending) };
    assert!(step > 1 && step < 1000, "{step}");
    assert_eq!(found.trajectory.step, (0..step).collect::<Vec<u64>>());
    assert!(found.parameters.iter().all(|value| value.is_finite()));
}

#[test]
fn sgd_records_batches_that_are_fresh_and_ends_on_a_batch_of_its_own() {
    let text = ONE_LAYER.replace("frozen-x", "flow");
    let run = |steps: u64| {
        let sgd = format!("dynamics={{ kind = \"sgd\", rate = 1e-9, steps = {steps}, batch = 16 }}");
        train(&text, &[&sgd, "observe.times={ kind = \"linear\", every = 1 }"])
    };
    let found = run(4);
    let loss = &found.trajectory.columns["loss"].values;
    // The weights hardly move, so what changes is the batch.
    assert!(loss.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-4), "{loss:?}");
    let longer = run(5);
    let longer = &longer.trajectory.columns["loss"].values;
    assert_eq!(loss[..4], longer[..4], "batches depend on the step alone");
    assert!((loss[4] - longer[5]).abs() < 1e-6, "the end is observed on the same batch");
    assert!((loss[4] - longer[4]).abs() > 1e-4, "which is not that of any step");
}

#[test]
fn a_fixed_projector_and_a_subvector_train_and_record_both_spectra() {
    for projector in [
        "{ kind = \"orthogonal\" }",
        "{ kind = \"diagonal\" }",
        "{ kind = \"low-rank\", rank = 4 }",
        "{ kind = \"low-rank-diagonal\", rank = 4 }",
        "{ kind = \"subvector\", dims = 4 }",
        "{ kind = \"trainable\" }",
        "{ kind = \"trainable\", widths = [8, 4], activation = \"tanh\" }",
    ] {
        let text = ONE_LAYER.replace("frozen-x", "flow");
        let found = train(
            &text,
            &[
                &format!("encoder.projector={projector}"),
                "observe.quantities=[\"loss\", \"spectra\", \"ranks\"]",
            ],
        );
        assert!(found.ending.is_finished(), "{projector}: {}", found.ending);
        let representation = found.trajectory.last("sigma_representation").unwrap();
        let embedding = found.trajectory.last("sigma_embedding").unwrap();
        assert_eq!(representation.len(), 16);
        assert!(embedding.iter().all(|value| *value >= 0.0));
        let loss = &found.trajectory.columns["loss"].values;
        assert!(loss[loss.len() - 1] < loss[0], "{projector}: the loss falls");
    }
}

#[test]
fn the_subvector_and_the_low_rank_diagonal_projector_train_the_same_network() {
    // DirectCLR: z = r[0:d0] and z = diag(1, …, 1, 0, …, 0) r differ by zeros, which no inner product sees.
    let text = ONE_LAYER.replace("frozen-x", "flow");
    let run = |projector: &str| train(&text, &[&format!("encoder.projector={projector}")]).parameters;
    let subvector = run("{ kind = \"subvector\", dims = 5 }");
    let diagonal = run("{ kind = \"low-rank-diagonal\", rank = 5 }");
    let other = run("{ kind = \"subvector\", dims = 6 }");
    let size = distance(&subvector, &vec![0.0; subvector.len()]);
    assert!(distance(&subvector, &diagonal) < 1e-10 * size);
    assert!(distance(&subvector, &other) > 1e-3 * size);
}

const FRESH_BATCHES: &str = r#"
seed     = 20
data     = { kind = "gaussian", dim = 6, samples = 50 }
augment  = { kind = "isotropic", variance = 0.1, sides = "two" }
encoder  = { kind = "relu", widths = [6, 5, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-cosine", temperature = 0.3 }
dynamics = { kind = "sgd", rate = 0.1, steps = 21, batch = 8 }
observe  = { times = { kind = "linear", every = 1 }, quantities = ["loss", "spectra"] }
"#;

#[test]
fn records_take_the_batch_and_the_loss_of_the_step_that_follows_and_change_no_bit_of_it() {
    use contraflow::stream::BatchStream;

    // The run by hand, which shares nothing between records and steps.
    let plan = plan(FRESH_BATCHES, &[]);
    let prepared = plan.prepare().unwrap();
    let (data, augmentation) = prepared.source.samples().unwrap();
    let (loss, reduction) = plan.loss();
    let mut objective = contraflow::gradient::Objective::new(prepared.network.clone(), loss, reduction);
    let mut stream = BatchStream::new(data, augmentation, plan.seed, 8);
    let (mut views, mut theta) = (vec![0.0; 2 * 8 * 6], prepared.parameters.clone());
    let mut gradient = vec![0.0; theta.len()];
    let mut losses = Vec::new();
    for step in 0..21 {
        stream.views(step, &mut views);
        losses.push(objective.evaluate(&theta, &views, &mut gradient).loss);
        theta.iter_mut().zip(&gradient).for_each(|(theta, slope)| *theta -= 0.1 * slope);
    }
    stream.probe_views(&mut views);
    losses.push(objective.value(&theta, &views).loss);

    for (every, quantities) in [
        (1, r#"["loss", "spectra"]"#),
        (1, r#"["uniformity", "loss"]"#),
        (1, r#"["spectra"]"#),
        (4, r#"["loss"]"#),
        (21, r#"["loss"]"#),
    ] {
        let overrides = [format!("observe.times.every={every}"), format!("observe.quantities={quantities}")];
        let found = train(FRESH_BATCHES, &overrides.each_ref().map(String::as_str));
        assert_eq!(found.parameters, theta, "every {every}, {quantities}");
        if let Some(column) = found.trajectory.columns.get("loss") {
            let wanted: Vec<f64> = found.trajectory.step.iter().map(|&step| losses[step as usize]).collect();
            assert_eq!(column.values, wanted, "every {every}, {quantities}");
        }
    }
}

#[test]
fn records_of_x_leave_the_gradient_of_the_step_as_it_is() {
    let linear = ["encoder.kind=linear", "loss={ kind = \"infonce-dot\", temperature = 0.5 }"];
    let with = |quantities: &str| {
        let quantities = format!("observe.quantities={quantities}");
        train(FRESH_BATCHES, &[linear[0], linear[1], &quantities]).parameters
    };
    let plain = with(r#"["spectra"]"#);
    assert_eq!(with(r#"["loss", "x"]"#), plain);
    assert_eq!(with(r#"["loss", "population"]"#), plain);
}

#[test]
fn spectra_have_the_same_bits_whether_or_not_singular_vectors_are_recorded_too() {
    let short = ["dynamics.time_end=3.0", "observe.times.count=3"];
    let with = |quantities: &str| {
        let quantities = format!("observe.quantities={quantities}");
        train(TWO_LAYERS, &[short[0], short[1], &quantities]).trajectory.columns
    };
    let (plain, aligned) = (with(r#"["spectra"]"#), with(r#"["spectra", "alignment"]"#));
    assert!(plain.len() < aligned.len());
    for (name, column) in &plain {
        assert_eq!(column, &aligned[name], "{name}");
    }
}
