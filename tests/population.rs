//! Runs in the population limit, and what the exact theory records beside runs.

use contraflow::experiment::Experiment;
use contraflow::run::{Simulation, simulate};
use contraflow::theory::{Mode, Rate};
use std::path::Path;

const BASE: &str = r#"
seed     = 4
data     = { kind = "gaussian", dim = 4, samples = 1000000000 }
augment  = { kind = "block", block = 2, variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4, 4], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "dop853", rtol = 1e-10, atol = 1e-13, time_end = 3.0 }
observe  = { times = { kind = "linear", count = 6 }, quantities = ["loss", "spectra", "x", "ranks", "imbalance", "augmented", "theory", "population"] }
"#;

fn parsed(text: &str, overrides: &[&str]) -> Result<Experiment, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Experiment::parse("test.toml", Path::new("."), text, &overrides).map_err(|problem| problem.to_string())
}

fn run(overrides: &[&str]) -> Simulation {
    let experiment = parsed(BASE, overrides).unwrap_or_else(|problem| panic!("{problem}"));
    let plan = &experiment.plans[0];
    let prepared = plan.prepare().unwrap_or_else(|problem| panic!("{problem}"));
    let simulation = simulate(plan, prepared, &|_| false);
    assert!(simulation.ending.is_finished(), "{}", simulation.ending);
    simulation
}

fn values<'a>(simulation: &'a Simulation, name: &str) -> &'a [f64] {
    let columns = &simulation.trajectory.columns;
    &columns.get(name).unwrap_or_else(|| panic!("{name} is not recorded")).values
}

fn constant<'a>(simulation: &'a Simulation, name: &str) -> &'a [f64] {
    let constants = &simulation.trajectory.constants;
    &constants.get(name).unwrap_or_else(|| panic!("{name} is not recorded")).1
}

#[test]
fn a_population_run_follows_its_modes_and_draws_no_samples() {
    // A billion samples would not fit the memory.
    for method in ["tsit5", "dop853", "rodas5p"] {
        for sides in ["one", "two"] {
            let simulation =
                run(&[&format!("dynamics.method=\"{method}\""), &format!("augment.sides=\"{sides}\"")]);
            for (measured, exact) in
                [("sigma_end_to_end", "theory_end_to_end"), ("sigma_augmented", "theory_augmented")]
            {
                for (s, exact) in values(&simulation, measured).iter().zip(values(&simulation, exact)) {
                    assert!((s - exact).abs() < 1e-8, "{method} {sides} {measured}: {s} and {exact}");
                }
            }
            assert_eq!(values(&simulation, "sigma_augmented").len(), 7 * 2);
            let loss = values(&simulation, "loss");
            assert!(loss.windows(2).all(|pair| pair[1] < pair[0]), "{loss:?}");
        }
    }
}

#[test]
fn the_methods_agree_where_no_mode_decouples() {
    let ends: Vec<Vec<f64>> = ["dop853", "rodas5p"]
        .iter()
        .map(|method| {
            let simulation = run(&[
                &format!("dynamics.method=\"{method}\""),
                "encoder.init={ kind = \"gaussian\", std = 0.4 }",
            ]);
            assert!(!simulation.trajectory.columns.contains_key("theory_end_to_end"));
            assert!(simulation.warnings.iter().any(|warning| warning.contains("not balanced")));
            values(&simulation, "sigma_end_to_end").to_vec()
        })
        .collect();
    for (a, b) in ends[0].iter().zip(&ends[1]) {
        assert!((a - b).abs() < 1e-8, "{a} and {b}");
    }
}

#[test]
fn a_large_batch_follows_the_population_and_says_how_far_it_is() {
    let simulation = run(&[
        "data.samples=4096",
        "dynamics={ kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 0.5 }",
        "loss.reduction=\"sum\"",
        "observe.quantities=[\"population\"]",
        "dynamics.time_end=1e-4",
    ]);
    // The reduction rescales the loss and not its distance from the limit.
    let distance = values(&simulation, "population_x_distance");
    assert!(distance.iter().all(|d| (1e-4..0.1).contains(d)), "{distance:?}");
    let of_loss = values(&simulation, "population_loss_distance");
    assert!(of_loss.iter().all(|d| *d < 0.05), "{of_loss:?}");
    let (g, measured) = (values(&simulation, "population_pair_weight"), values(&simulation, "pair_weight"));
    for (g, measured) in g.iter().zip(measured) {
        assert!((measured / g - 1.0).abs() < 0.1, "{measured} and {g}");
    }
    // Small batches are farther away.
    let small = run(&[
        "data.samples=64",
        "dynamics={ kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1e-4 }",
    ]);
    assert!(values(&small, "population_x_distance")[0] > 3.0 * distance[0]);
}

#[test]
fn limits_and_ranks_are_recorded_and_a_narrow_layer_has_none() {
    let simulation = run(&[
        "augment={ kind = \"diagonal\", variances = [0.5, 1.0, 2.0, 3.0], sides = \"one\" }",
        "encoder.widths=[4, 4]",
    ]);
    let limit = constant(&simulation, "theory_limit");
    for (value, expected) in limit.iter().zip([1.316, 0.786, 0.0, 0.0]) {
        assert!((value - expected).abs() < 6e-4, "{limit:?}");
    }
    assert_eq!(constant(&simulation, "theory_rank"), [2.0]);
    let narrow = run(&["encoder.widths=[4, 2, 4]"]);
    assert!(!narrow.trajectory.constants.contains_key("theory_limit"));
    assert!(narrow.warnings.iter().any(|warning| warning.contains("narrower")));
}

#[test]
fn frozen_and_prescribed_flows_of_one_layer_lie_on_their_exact_solution() {
    for dynamics in [
        "{ kind = \"frozen-x\", method = \"dop853\", rtol = 1e-10, atol = 1e-13, time_end = 3.0 }",
        "{ kind = \"prescribed-x\", eigenvalues = [1.0, -2.0, 0.5, 0.0], decay = 0.7, method = \"dop853\", rtol = 1e-10, atol = 1e-13, time_end = 3.0 }",
    ] {
        let one = run(&[
            "data.samples=64",
            &format!("dynamics={dynamics}"),
            "encoder.widths=[4, 4]",
            "encoder.init={ kind = \"gaussian\", std = 0.4 }",
        ]);
        for (s, exact) in values(&one, "sigma_end_to_end").iter().zip(values(&one, "theory_end_to_end")) {
            assert!((s - exact).abs() < 1e-8 * (1.0 + exact), "{s} and {exact}");
        }
        // Two layers under a fixed X reach infinity in finite time: a short run.
        let two = run(&["data.samples=64", &format!("dynamics={dynamics}"), "dynamics.time_end=0.3"]);
        assert!(!two.trajectory.columns.contains_key("theory_end_to_end"));
        assert!(two.warnings.iter().any(|warning| warning.contains("one layer")));
    }
}

#[test]
fn lifetimes_are_measured_within_their_resolution_of_the_exact_time() {
    let simulation = run(&[
        "augment={ kind = \"isotropic\", variance = 0.5, sides = \"one\" }",
        "encoder.init={ kind = \"balanced\", scale = 0.01, of = \"product\" }",
        "dynamics.time_end=100.0",
        "observe.times={ kind = \"log\", first = 1.0, count = 300 }",
        "observe.quantities=[\"spectra\", \"theory\", \"lifetime\"]",
    ]);
    let names = ["lifetime", "lifetime_resolution", "theory_lifetime", "theory_lifetime_law"];
    let [measured, resolution, exact, law] = names.map(|name| constant(&simulation, name));
    // Recovered is half of the limit.
    let mode = Mode { depth: 2, rate: Rate::Euclidean { first: 1.0, difference: 0.5 } };
    assert!((mode.time(0.01, 0.5 * mode.limit()) / exact[0] - 1.0).abs() < 1e-9);
    for k in 0..4 {
        assert!((measured[k] / exact[k] - 1.0).abs() <= resolution[k], "{measured:?} {exact:?}");
        assert!((law[k] / exact[k] - 1.0).abs() < 0.05 && resolution[k] < 0.02);
    }
    let early = run(&[
        "augment={ kind = \"isotropic\", variance = 0.5, sides = \"one\" }",
        "encoder.init={ kind = \"balanced\", scale = 0.01, of = \"product\" }",
        "observe.quantities=[\"spectra\", \"theory\", \"lifetime\"]",
    ]);
    assert!(constant(&early, "lifetime").iter().all(|time| time.is_nan()));
}

#[test]
fn small_modes_freeze_on_a_separable_batch_of_two_layers_and_nowhere_else() {
    let growth = |samples: u32, variance: f64, depth: usize| {
        let widths = vec!["4"; depth + 1].join(", ");
        let simulation = run(&[
            &format!("data.samples={samples}"),
            &format!("augment={{ kind = \"isotropic\", variance = {variance}, sides = \"one\" }}"),
            &format!("encoder.widths=[{widths}]"),
            "encoder.init={ kind = \"balanced\", scale = 0.5, decay = 1.0, of = \"product\" }",
            "dynamics={ kind = \"flow\", method = \"tsit5\", rtol = 1e-7, atol = 1e-11, time_end = 300.0, gradient_norm = 1e-6 }",
            "observe.quantities=[\"spectra\", \"separability\"]",
        ]);
        let s = values(&simulation, "sigma_end_to_end");
        (s[s.len() - 1] / s[3], constant(&simulation, "separable")[0])
    };
    let (frozen, separable) = growth(24, 0.001, 2);
    assert!(separable == 1.0 && frozen < 2.0, "{frozen}");
    let (creeping, separable) = growth(24, 0.001, 1);
    assert!(separable == 1.0 && creeping > 5.0, "{creeping}");
    let (recovered, separable) = growth(96, 0.7, 2);
    assert!(separable == 0.0 && recovered > 5.0, "{recovered}");
}

#[test]
fn separability_is_that_of_the_batch_whatever_the_encoder() {
    let verdict = |encoder: &str| {
        let simulation = run(&[
            "data.samples=24",
            "augment={ kind = \"isotropic\", variance = 0.001, sides = \"one\" }",
            encoder,
            "dynamics={ kind = \"gd\", rate = 0.01, steps = 6 }",
            "observe.quantities=[\"separability\"]",
        ]);
        ["separable", "margin_lower", "margin_upper"].map(|name| constant(&simulation, name)[0])
    };
    let plain = verdict("encoder.bias=false");
    assert_eq!(plain[0], 1.0);
    for encoder in
        ["encoder.bias=true", "encoder.kind=\"relu\"", "encoder.projector={ kind = \"subvector\", dims = 2 }"]
    {
        assert_eq!(verdict(encoder), plain, "{encoder}");
    }
}

#[test]
fn a_batch_that_leaves_the_limit_says_when_and_why() {
    let warned = |samples: u32| {
        let simulation = run(&[
            &format!("data.samples={samples}"),
            "augment={ kind = \"isotropic\", variance = 0.1, sides = \"one\" }",
            "dynamics={ kind = \"flow\", method = \"tsit5\", rtol = 1e-4, atol = 1e-7, time_end = 1.0 }",
            "observe.quantities=[\"theory\"]",
        ]);
        simulation.warnings.iter().any(|warning| warning.contains("leave the population limit by t ="))
    };
    assert!(warned(16) && !warned(400));
}

#[test]
fn modes_that_collapse_or_grow_for_ever_have_no_lifetime_and_recovered_ones_have_zero() {
    let lifetimes = |variance: f64, scale: f64| {
        let simulation = run(&[
            &format!("augment={{ kind = \"isotropic\", variance = {variance}, sides = \"one\" }}"),
            &format!("encoder.init.scale={scale}"),
            "observe.quantities=[\"spectra\", \"theory\", \"lifetime\"]",
        ]);
        ["lifetime", "theory_lifetime", "theory_lifetime_law"].map(|name| constant(&simulation, name)[0])
    };
    for variance in [0.0, 2.0, 3.0] {
        assert!(lifetimes(variance, 0.5).iter().all(|time| time.is_nan()), "{variance}");
    }
    let [measured, exact, law] = lifetimes(0.5, 0.9);
    assert!(measured == 0.0 && exact == 0.0 && law.is_nan());
}

#[test]
fn a_bias_is_scaled_and_its_direction_measured() {
    let text = BASE.replace("widths = [4, 4, 4]", "widths = [4, 4], bias = true, bias_norm = 0.7");
    let simulation = {
        let overrides = [
            "data.samples=64",
            "loss={ kind = \"infonce-dot\", temperature = 0.5 }",
            "dynamics={ kind = \"gd\", rate = 0.01, steps = 6 }",
            "observe.quantities=[\"spectra\", \"bias\"]",
        ];
        let experiment = parsed(&text, &overrides).unwrap_or_else(|problem| panic!("{problem}"));
        simulate(&experiment.plans[0], experiment.plans[0].prepare().unwrap(), &|_| false)
    };
    assert!((values(&simulation, "bias_norm")[0] - 0.7).abs() < 1e-15);
    // Every direction of an orthogonal start of scale 0.5 has this length.
    assert!((values(&simulation, "sigma_along_bias")[0] - 0.5).abs() < 1e-14);
    assert!(values(&simulation, "bias_norm")[6] < 0.7);
    let refused = parsed(&BASE.replace("widths = [4, 4, 4]", "widths = [4, 4, 4], bias_norm = 0.7"), &[]);
    assert!(refused.unwrap_err().contains("allowed: bias_norm with bias = true"));
}

#[test]
fn a_stiff_flow_says_so_and_names_the_method() {
    let long = |method: &str| {
        run(&[
            "augment.variance=1.5",
            "encoder.init={ kind = \"gaussian\", std = 0.4 }",
            "observe.quantities=[\"loss\"]",
            &format!(
                "dynamics={{ kind = \"population\", method = \"{method}\", rtol = 1e-6, atol = 1e-9, time_end = 300.0 }}"
            ),
        ])
    };
    let explicit = long("tsit5");
    assert!(
        explicit.warnings.iter().any(|warning| warning.contains("method = \"rodas5p\"")),
        "{:?}",
        explicit.warnings
    );
    let implicit = long("rodas5p");
    assert!(implicit.warnings.is_empty());
    assert!(
        implicit.effort.steps * 20 < explicit.effort.steps,
        "{:?} {:?}",
        implicit.effort,
        explicit.effort
    );
}

#[test]
fn what_has_no_population_limit_is_refused_with_what_is_allowed() {
    let cosine = "loss={ kind = \"infonce-cosine\", temperature = 0.5 }";
    let dot = "loss={ kind = \"infonce-dot\", temperature = 0.5 }";
    let mixture = "data={ kind = \"mixture\", dim = 4, samples = 10, components = 2, centre_std = 1.0 }";
    let plain = "observe.quantities=[\"loss\"]";
    let cases: [(&[&str], &str); 14] = [
        (&[mixture, plain], "allowed: \"gaussian\""),
        (&[cosine, plain], "allowed: \"infonce-euclidean\", \"infonce-dot\""),
        (&["encoder.kind=\"relu\"", plain], "allowed: encoder = \"linear\" without bias"),
        (&["encoder.bias=true", plain], "allowed: encoder = \"linear\" without bias"),
        (&["loss.reduction=\"sum\""], "allowed: \"mean\""),
        (&["augment={ kind = \"file\", path = \"views.npy\" }", plain], "allowed: additive noise"),
        (&["observe.quantities=[\"uniformity\"]"], "leave it out"),
        (&["observe.quantities=[\"separability\"]"], "leave it out"),
        (&["observe.quantities=[\"lifetime\", \"spectra\"]"], "needs spectra and theory"),
        (&[dot, plain, "dynamics.batch=64"], "allowed: batch with loss = \"infonce-euclidean\""),
        (&["dynamics.batch=64"], "batch leaves it"),
        (
            &[
                "dynamics={ kind = \"gd\", rate = 0.1, steps = 6 }",
                "loss.reduction=\"sum\"",
                "data.samples=9",
            ],
            "allowed: reduction = \"mean\"",
        ),
        (&["dynamics.batch=64", plain, "dynamics.method=\"rodas5p\""], "batch has no Jacobian"),
        (&["dynamics.method=\"euler\""], "rodas5p"),
    ];
    for (overrides, said) in cases {
        match parsed(BASE, overrides) {
            Ok(_) => panic!("{overrides:?} was accepted"),
            Err(problem) => assert!(problem.contains(said), "{overrides:?}: {problem}"),
        }
    }
    assert!(parsed(BASE, &[]).is_ok());
}
