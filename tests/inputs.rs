//! What runs start from: samples, noise, batches, weights. And the one exact expectation of X.

use contraflow::augment::{Augmentation, Noise, Sides};
use contraflow::encoder::Network;
use contraflow::experiment::{Experiment, Plan, Prepared};
use contraflow::matrix::{Matrix, singular_values, svd};
use contraflow::observe::imbalance;
use contraflow::stream::{BatchStream, full_batch};
use std::collections::HashSet;
use std::path::Path;

const BASE: &str = r#"
seed     = 11
data     = { kind = "gaussian", dim = 4, samples = 20000, covariance = { kind = "diagonal", variances = [1.0, 4.0, 0.25, 0.0] } }
augment  = { kind = "block", block = 2, variance = 2.25, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "sgd", rate = 0.1, steps = 10, batch = 128 }
observe  = { times = { kind = "linear", every = 5 }, quantities = ["loss"] }
"#;

fn plans(overrides: &[&str]) -> Vec<Plan> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    match Experiment::parse("test.toml", Path::new("."), BASE, &overrides) {
        Ok(experiment) => experiment.plans,
        Err(problem) => panic!("{problem}"),
    }
}

fn prepared(overrides: &[&str]) -> (Plan, Prepared) {
    let plan = plans(overrides).remove(0);
    let prepared = plan.prepare().unwrap_or_else(|problem| panic!("{problem}"));
    (plan, prepared)
}

/// The samples of a plan that has some.
fn samples(prepared: &Prepared) -> &[f64] {
    &prepared.source.samples().unwrap().0.samples
}
/// Mean of products of coordinates j and k of columns.
fn moment(columns: &[f64], dim: usize, j: usize, k: usize) -> f64 {
    let n = (columns.len() / dim) as f64;
    columns.chunks(dim).map(|c| c[j] * c[k]).sum::<f64>() / n
}

/// Five standard deviations of a mean of n squares of normals.
fn five_sigma(variance: f64, n: usize) -> f64 {
    5.0 * variance * (2.0 / n as f64).sqrt()
}

#[test]
fn samples_and_noise_have_the_variances_of_the_plan() {
    for (sides, first_noise) in [("one", 0.0), ("two", 2.25)] {
        let (plan, prepared) = prepared(&[&format!("augment.sides=\"{sides}\"")]);
        let (data, augmentation) = prepared.source.samples().unwrap();
        let n = data.count();
        for (k, variance) in [1.0, 4.0, 0.25, 0.0].into_iter().enumerate() {
            let found = moment(&data.samples, 4, k, k);
            assert!((found - variance).abs() <= five_sigma(variance, n), "coordinate {k}: {found}");
        }
        let views = full_batch(data, augmentation, plan.seed);
        let (first, second) = views.split_at(4 * n);
        let noise =
            |view: &[f64]| -> Vec<f64> { view.iter().zip(&data.samples).map(|(v, x)| v - x).collect() };
        let (first, second) = (noise(first), noise(second));
        for k in 0..4 {
            let (one, two) = if k < 2 { (0.0, 0.0) } else { (first_noise, 2.25) };
            assert!((moment(&first, 4, k, k) - one).abs() <= five_sigma(one, n), "{sides}, first view, {k}");
            assert!(
                (moment(&second, 4, k, k) - two).abs() <= five_sigma(two, n),
                "{sides}, second view, {k}"
            );
        }
        // Independent of each other, of the samples, and from coordinate to coordinate.
        let product: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a * b).collect();
        let correlation = product.iter().sum::<f64>() / (2 * n) as f64;
        assert!(correlation.abs() <= 5.0 * 2.25 / (2.0 * n as f64).sqrt());
        assert!(moment(&second, 4, 2, 3).abs() <= 5.0 * 2.25 / (n as f64).sqrt());
    }
}

#[test]
fn a_full_covariance_gives_correlated_noise() {
    let factor = Matrix::from_row_slice(2, 2, &[2.0, 0.0, 1.0, 0.5]);
    let augmentation = Augmentation::Additive { noise: Noise::Full(factor), sides: Sides::One };
    let mut views = vec![0.0; 80_000];
    let seed = contraflow::seed::Seed { seed: 1, repeat: 0 };
    let mut generator = seed.generator(contraflow::seed::Stream::Views, 0);
    augmentation.views(2, &mut generator, &mut views);
    let noise = &views[40_000..];
    for (j, k, wanted) in [(0, 0, 4.0), (1, 1, 1.25), (0, 1, 2.0)] {
        let found = moment(noise, 2, j, k);
        assert!((found - wanted).abs() <= five_sigma(4.0, 20_000), "{j}{k}: {found}");
    }
}

#[test]
fn batches_are_drawn_without_replacement_uniformly_and_afresh() {
    let (plan, prepared) = prepared(&["data.samples=50", "dynamics.batch=20", "augment.variance=0"]);
    let (data, augmentation) = prepared.source.samples().unwrap();
    let mut stream = BatchStream::new(data, augmentation, plan.seed, 20);
    let mut views = vec![0.0; 2 * 20 * 4];
    let mut counts = vec![0u32; 50];
    let position = |column: &[f64]| {
        data.samples.chunks(4).position(|sample| sample == column).expect("a sample of the data")
    };
    let mut batches = HashSet::new();
    for step in 0..2000 {
        stream.views(step, &mut views);
        let batch: Vec<usize> = views[..80].chunks(4).map(position).collect();
        assert_eq!(batch.iter().collect::<HashSet<_>>().len(), 20, "no sample twice");
        batch.iter().for_each(|&i| counts[i] += 1);
        batches.insert(batch);
    }
    assert_eq!(batches.len(), 2000);
    // Each sample is drawn 2000 times with probability 0.4.
    let sigma = (2000.0f64 * 0.4 * 0.6).sqrt();
    assert!(counts.iter().all(|&count| (f64::from(count) - 800.0).abs() < 5.0 * sigma), "{counts:?}");
    // Steps in any order give the same batches.
    let mut again = vec![0.0; views.len()];
    stream.views(7, &mut again);
    let mut fresh = BatchStream::new(data, augmentation, plan.seed, 20);
    fresh.views(7, &mut views);
    assert_eq!(views, again);
}

#[test]
fn cells_of_a_sweep_share_data_and_initialisation_and_repeats_do_not() {
    let cells: Vec<Prepared> = plans(&["sweep={ \"augment.variance\" = [0.5, 2.0] }"])
        .iter()
        .map(|p| p.prepare().unwrap())
        .collect();
    assert_eq!(samples(&cells[0]), samples(&cells[1]));
    assert_eq!(cells[0].parameters, cells[1].parameters);
    let repeats: Vec<Prepared> = plans(&["repeats=2"]).iter().map(|p| p.prepare().unwrap()).collect();
    assert_ne!(samples(&repeats[0]), samples(&repeats[1]));
    assert_ne!(repeats[0].parameters, repeats[1].parameters);
    // A deeper network starts with the same first layer.
    let deeper = prepared(&["encoder.widths=[4, 4, 4]"]).1;
    assert_eq!(deeper.parameters[..16], cells[0].parameters[..]);
}

fn layers(encoder: &str) -> Vec<Matrix> {
    let (_, prepared) = prepared(&[&format!("encoder={encoder}"), "data.samples=200"]);
    prepared.network.named_parameters(&prepared.parameters).into_iter().map(|(_, matrix)| matrix).collect()
}

#[test]
fn initial_weights_have_the_spectra_and_the_balance_that_they_promise() {
    for w in layers("{ kind = \"linear\", widths = [4, 6, 3], init = { kind = \"spectrum\", decay = 0.35 } }")
    {
        for (k, value) in singular_values(&w).unwrap().iter().enumerate() {
            assert!((value - (-0.35 * k as f64).exp()).abs() < 1e-14, "{k}: {value}");
        }
    }
    for w in
        layers("{ kind = \"linear\", widths = [4, 6, 3], init = { kind = \"orthogonal\", scale = 0.3 } }")
    {
        assert!(singular_values(&w).unwrap().iter().all(|value| (value - 0.3).abs() < 1e-15));
    }
    let balanced = layers(
        "{ kind = \"linear\", widths = [4, 6, 3, 5], init = { kind = \"balanced\", scale = 0.7, decay = 0.5 } }",
    );
    for pair in balanced.windows(2) {
        assert!(imbalance(&pair[0], &pair[1]).amax() < 1e-15);
    }
    for (k, value) in singular_values(&balanced[1]).unwrap().iter().enumerate() {
        let wanted = if k < 3 { 0.7 * (-0.5 * k as f64).exp() } else { 0.0 };
        assert!((value - wanted).abs() < 1e-14);
    }
    let of_product = layers(
        "{ kind = \"linear\", widths = [4, 6, 5, 4], init = { kind = \"balanced\", scale = 0.01, decay = 0.5, of = \"product\" } }",
    );
    assert!(imbalance(&of_product[0], &of_product[1]).amax() < 1e-15);
    let total = &of_product[2] * &of_product[1] * &of_product[0];
    for (k, value) in singular_values(&total).unwrap().iter().enumerate() {
        assert!((value / (0.01 * (-0.5 * k as f64).exp()) - 1.0).abs() < 1e-13);
    }
    let aligned = layers(
        "{ kind = \"linear\", widths = [4, 4, 4], init = { kind = \"aligned\", scales = [1.0, 0.5], decays = [0.3, 0.6] } }",
    );
    let (inner, outer) = (svd(&aligned[0]).unwrap(), svd(&aligned[1]).unwrap());
    let product = outer.v.transpose() * &inner.u;
    for k in 0..4 {
        assert!((product[(k, k)].abs() - 1.0).abs() < 1e-13, "aligned");
        assert!((inner.values[k] - (-0.3 * k as f64).exp()).abs() < 1e-14);
        assert!((outer.values[k] - 0.5 * (-0.6 * k as f64).exp()).abs() < 1e-14);
    }
    assert!(imbalance(&aligned[0], &aligned[1]).amax() > 0.1, "and not balanced");
    let spread =
        layers("{ kind = \"linear\", widths = [4, 6, 3], init = { kind = \"gaussian\", std = 0.3 } }");
    assert!(imbalance(&spread[0], &spread[1]).amax() > 1e-3, "other starts are not balanced");
    let uniform =
        layers("{ kind = \"linear\", widths = [4, 400], bias = true, init = { kind = \"uniform-fan-in\" } }");
    for values in &uniform {
        assert!(values.amax() <= 0.5 && values.amax() > 0.49);
    }
    // A variance of (2 · 0.5)² / 12, measured on 1600 weights whose squares vary by 4/45 · 0.5⁴.
    let variance = uniform[0].norm_squared() / 1600.0;
    assert!((variance - 1.0 / 12.0).abs() < 5.0 * (4.0 / 45.0 * 0.0625f64 / 1600.0).sqrt());
}

#[test]
fn at_zero_weights_x_has_the_expectation_of_the_theory_for_every_n() {
    // E X(0)/N = (1 - 1/N)(2 Σ_v - Σ_δ): derived in the project's population theory, exact for N ≥ 2.
    for (sides, view_noise, difference_noise) in [("one", 0.0, 1.5), ("two", 1.5, 3.0)] {
        let n = 6;
        let repeats = 4000;
        let plans = plans(&[
            "data={ kind = \"gaussian\", dim = 2, samples = 6 }",
            &format!("augment={{ kind = \"isotropic\", variance = 1.5, sides = \"{sides}\" }}"),
            "encoder.widths=[2, 2]",
            "dynamics.batch=6",
            &format!("repeats={repeats}"),
        ]);
        let (mut mean, mut square) = (0.0, 0.0);
        for plan in &plans {
            let prepared = plan.prepare().unwrap();
            let (data, augmentation) = prepared.source.samples().unwrap();
            let views = full_batch(data, augmentation, plan.seed);
            let (network, _) =
                Network::of_layers(&[Matrix::zeros(2, 2)], contraflow::encoder::Activation::Linear);
            let (loss, reduction) = plan.loss();
            let mut objective = contraflow::gradient::Objective::new(network, loss, reduction);
            let (x, _) = objective.x_matrix(&[0.0; 4], &views);
            mean += x[(0, 0)] / f64::from(repeats);
            square += x[(0, 0)] * x[(0, 0)] / f64::from(repeats);
        }
        let exact = (1.0 - 1.0 / f64::from(n)) * (2.0 * (1.0 + view_noise) - difference_noise);
        let sigma = ((square - mean * mean) / f64::from(repeats)).sqrt();
        assert!((mean - exact).abs() < 5.0 * sigma, "{sides}: {mean} ± {sigma} against {exact}");
        assert!(sigma < 0.05, "the mean is known well enough to reject (1 - 2/N) and the other sides");
    }
}

#[test]
fn a_plan_is_told_apart_by_what_its_files_hold_whatever_their_names() {
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["plain.csv", "we\"ird.csv", "back\\slash.csv"] {
        let path = folder.path().join(name);
        let hash = |content: &str| {
            std::fs::write(&path, content).unwrap();
            let literal = format!("'{name}'");
            let data = format!("data={{ kind = \"file\", path = {literal} }}");
            let overrides = [data, "encoder.widths=[2, 2]".into(), "dynamics.batch=2".into()];
            let text = BASE.to_string();
            let experiment = Experiment::parse("test.toml", folder.path(), &text, &overrides).unwrap();
            experiment.plans[0].hash.clone()
        };
        let first = hash("1,2\n3,4\n");
        assert_eq!(first, hash("1,2\n3,4\n"), "{name}");
        assert_ne!(first, hash("1,2\n3,5\n"), "{name}");
        assert_eq!(hash("5,6\n7,8\n"), {
            let other = folder.path().join(format!("other-{name}"));
            std::fs::write(&other, "5,6\n7,8\n").unwrap();
            std::fs::rename(&other, &path).unwrap();
            hash("5,6\n7,8\n")
        });
    }
}

#[test]
fn fresh_inputs_from_a_file_are_drawn_from_all_of_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let rows: String = (0..1000).map(|i| format!("{i},1\n")).collect();
    std::fs::write(folder.path().join("sorted.csv"), rows).unwrap();
    let overrides = [
        "data={ kind = \"file\", path = \"sorted.csv\" }".to_string(),
        "encoder.widths=[2, 2]".to_string(),
        "dynamics.batch=2".to_string(),
    ];
    let experiment = Experiment::parse("test.toml", folder.path(), BASE, &overrides).unwrap();
    let plan = &experiment.plans[0];
    let prepared = plan.prepare().unwrap();
    let (data, _) = prepared.source.samples().unwrap();
    let mut generator = plan.seed.generator(contraflow::seed::Stream::Probe, 0);
    let drawn = data.draw(100, &mut generator);
    let indices: HashSet<u64> = drawn.chunks(2).map(|column| column[0] as u64).collect();
    assert_eq!(indices.len(), 100, "without replacement");
    let mean = indices.iter().sum::<u64>() as f64 / 100.0;
    assert!((mean - 499.5).abs() < 5.0 * 289.0 / 10.0, "{mean}");
    let everything = data.draw(5000, &mut generator);
    assert_eq!(everything.len(), 2000, "no more than the file has");
}

#[test]
fn an_aligned_start_has_one_spectrum_a_layer() {
    for (key, other) in [("scales", "decays"), ("decays", "scales")] {
        let init = format!("encoder.init={{ kind = \"aligned\", {key} = [1.0, 0.5], {other} = [1.0] }}");
        let refused = Experiment::parse("x.toml", Path::new("."), BASE, &[init]).unwrap_err();
        let expected = "2 values for 1 layers; allowed: one a layer";
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(refused.to_string().contains(key), "{refused}");
    }
}
