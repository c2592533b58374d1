//! What is recorded of a state, against its definition computed another way.

use contraflow::encoder::{Activations, Output};
use contraflow::experiment::{Experiment, Plan};
use contraflow::loss::{InfonceEuclidean, Workspace};
use contraflow::matrix::{Matrix, symmetric_eigenvalues};
use contraflow::record::Trajectory;
use contraflow::run::{Simulation, simulate};
use contraflow::stream::full_batch;
use std::path::Path;

const BASE: &str = r#"
seed     = 4
data     = { kind = "gaussian", dim = 5, samples = 60 }
augment  = { kind = "block", block = 2, variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [5, 6, 4], init = { kind = "gaussian", std = 0.5 }, projector = { kind = "low-rank", rank = 3 } }
loss     = { kind = "infonce-euclidean", reduction = "sum" }
dynamics = { kind = "flow", method = "dop853", rtol = 1e-10, atol = 1e-12, time_end = 0.05 }
observe  = { times = { kind = "linear", count = 3 }, quantities = ["loss", "spectra", "x", "alignment", "ranks", "imbalance", "uniformity"] }
"#;

fn trained(overrides: &[&str]) -> (Plan, Simulation) {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let experiment = Experiment::parse("test.toml", Path::new("."), BASE, &overrides)
        .unwrap_or_else(|problem| panic!("{problem}"));
    let plan = experiment.plans[0].clone();
    let prepared = plan.prepare().unwrap_or_else(|problem| panic!("{problem}"));
    let simulation = simulate(&plan, prepared, &|_| false);
    assert!(simulation.ending.is_finished(), "{}", simulation.ending);
    (plan, simulation)
}

/// Images of both views under the final network, one a column.
fn images(plan: &Plan, simulation: &Simulation, which: Output) -> Matrix {
    let prepared = plan.prepare().unwrap();
    let (data, augmentation) = prepared.source.samples().unwrap();
    let views = full_batch(data, augmentation, plan.seed);
    let mut activations = Activations::default();
    simulation.network.forward(&simulation.parameters, &views, &mut activations);
    let values = simulation.network.output(&activations, which);
    Matrix::from_column_slice(values.len() / 120, 120, values)
}

/// Eq. 1 as it is printed, and its eigenvalues, descending.
fn covariance_spectrum(images: &Matrix) -> Vec<f64> {
    let mean = images.column_mean();
    let mut covariance = Matrix::zeros(images.nrows(), images.nrows());
    for column in images.column_iter() {
        let centred = column - &mean;
        covariance += &centred * centred.transpose() / images.ncols() as f64;
    }
    let mut values = symmetric_eigenvalues(&covariance).unwrap();
    values.reverse();
    values
}

fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (f, w) in found.iter().zip(wanted) {
        assert!((f - w).abs() <= tolerance, "{what}: {found:?} against {wanted:?}");
    }
}

#[test]
fn spectra_of_embeddings_and_representations_are_those_of_their_covariances() {
    for kind in ["linear", "relu", "tanh"] {
        let kind_set = format!("encoder.kind=\"{kind}\"");
        let mut overrides = vec![kind_set.as_str()];
        if kind != "linear" {
            overrides.push("observe.quantities=[\"spectra\"]");
            overrides.push("dynamics={ kind = \"gd\", rate = 0.001, steps = 20 }");
        }
        let (plan, simulation) = trained(&overrides);
        for (name, which) in [("embedding", Output::Embedding), ("representation", Output::Representation)] {
            let wanted = covariance_spectrum(&images(&plan, &simulation, which));
            let found = simulation.trajectory.last(&format!("sigma_{name}")).unwrap();
            assert_close(found, &wanted, 1e-13 * wanted[0], name);
        }
    }
}

#[test]
fn a_rank_deficient_embedding_has_values_below_its_floor_and_no_others() {
    let (_, simulation) = trained(&[]);
    let values = simulation.trajectory.last("sigma_embedding").unwrap();
    let floor = simulation.trajectory.last("floor_embedding").unwrap()[0];
    assert_eq!(values.iter().filter(|value| **value > floor).count(), 3);
    assert_eq!(simulation.trajectory.last("numerical_rank_embedding").unwrap(), [3.0]);
    assert!(floor > 0.0 && floor < 1e-15 * values[0], "of squares: {floor:e}");
}

#[test]
fn eigenvalues_of_x_are_those_of_the_two_covariances_of_lemma_2() {
    let (plan, simulation) = trained(&[]);
    let prepared = plan.prepare().unwrap();
    let (data, augmentation) = prepared.source.samples().unwrap();
    let views = full_batch(data, augmentation, plan.seed);
    let z = images(&plan, &simulation, Output::Embedding);
    let (_, reduction) = plan.loss();
    let covariances =
        InfonceEuclidean.weighted_covariances(z.as_slice(), 4, &views, reduction, &mut Workspace::default());
    let wanted = symmetric_eigenvalues(&covariances.x()).unwrap();
    let found = simulation.trajectory.last("eig_x").unwrap();
    assert_close(found, &wanted, 1e-12 * covariances.data.norm(), "eig_x");
    assert!(found.is_sorted());
    // Against a mean instead of the sum that the plan asks for, the same numbers are 60 times smaller.
    let (_, mean) = trained(&["loss.reduction=\"mean\"", "dynamics.time_end=3.0"]);
    let mean = mean.trajectory.last("eig_x").unwrap();
    assert_close(
        &mean.iter().map(|value| 60.0 * value).collect::<Vec<_>>(),
        found,
        1e-6 * found[4].abs(),
        "mean",
    );
}

#[test]
fn imbalance_and_alignment_are_those_of_the_final_layers() {
    let (_, simulation) = trained(&[]);
    let layers: Vec<Matrix> = simulation
        .network
        .named_parameters(&simulation.parameters)
        .into_iter()
        .filter(|(name, _)| name.starts_with('W'))
        .map(|(_, matrix)| matrix)
        .collect();
    let imbalance = &layers[0] * layers[0].transpose() - layers[1].transpose() * &layers[1];
    let found = simulation.trajectory.last("imbalance_1_2").unwrap();
    assert_close(found, imbalance.transpose().as_slice(), 1e-14, "row-major");
    // V2ᵀ U1 by the eigenvectors of W2ᵀ W2 and W1 W1ᵀ, up to signs.
    let leading = |gram: &Matrix, count: usize| {
        let eigen = contraflow::matrix::symmetric_eigen(gram).unwrap();
        let last = eigen.values.len() - 1;
        Matrix::from_fn(gram.nrows(), count, |i, k| eigen.vectors[(i, last - k)])
    };
    let v2 = leading(&(layers[1].transpose() * &layers[1]), 4);
    let u1 = leading(&(&layers[0] * layers[0].transpose()), 5);
    let wanted = v2.transpose() * u1;
    let shape = &simulation.trajectory.columns["alignment_1_2"].row_shape;
    assert_eq!(shape, &[4, 5]);
    let found = simulation.trajectory.last("alignment_1_2").unwrap();
    for row in 0..4 {
        for column in 0..5 {
            let value = found[row * 5 + column];
            assert!((value.abs() - wanted[(row, column)].abs()).abs() < 1e-10);
        }
        assert!(found[row * 5 + row] >= 0.0);
    }
}

/// The record of a flow at these tolerances.
fn trained_at(common: &[&str], rtol: &str, atol: &str) -> Trajectory {
    let tolerances = [format!("dynamics.rtol={rtol}"), format!("dynamics.atol={atol}")];
    let overrides: Vec<&str> = common.iter().copied().chain(tolerances.iter().map(String::as_str)).collect();
    trained(&overrides).1.trajectory
}

#[test]
fn floors_cover_the_error_of_the_flow_and_are_not_absurd() {
    // Strong augmentation: some singular values vanish. What a loose run holds above its floor, a tight one confirms.
    let common = [
        "encoder.widths=[5, 5]",
        "encoder.projector={ kind = \"none\" }",
        "loss.reduction=\"mean\"",
        "augment.variance=6.0",
        "dynamics.time_end=8.0",
        "dynamics.method=\"tsit5\"",
    ];
    let run = |rtol, atol| trained_at(&common, rtol, atol);
    let tight = run("1e-12", "1e-15");
    for (rtol, atol) in [("1e-4", "1e-7"), ("1e-6", "1e-9"), ("1e-8", "1e-11")] {
        let loose = run(rtol, atol);
        for (name, sigma) in [("w1", "sigma_w1"), ("end_to_end", "sigma_end_to_end"), ("eig_x", "eig_x")] {
            let floor = loose.last(&format!("floor_{name}")).unwrap()[0];
            let (found, exact) = (loose.last(sigma).unwrap(), tight.last(sigma).unwrap());
            let error = found.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            println!("rtol {rtol}, {name}: error {error:.1e}, floor {floor:.1e}");
            assert!(error <= floor, "rtol {rtol}, {name}: error {error:e}, floor {floor:e}");
            // The estimate overstates the error of a method of order 5 about a hundredfold, the norm sums over 25 entries
            // and the floor over all steps, and the flow forgets its errors where it converges: four to five digits.
            assert!(
                error >= 1e-5 * floor,
                "rtol {rtol}, {name}: a floor of {floor:e} for errors of {error:e}"
            );
        }
    }
}

#[test]
fn uniformity_and_view_distance_are_recorded_from_the_embeddings() {
    let (plan, simulation) = trained(&[]);
    let z = images(&plan, &simulation, Output::Embedding);
    let unit: Vec<_> = z.column_iter().map(|column| column.normalize()).collect();
    let distance: f64 = (0..60).map(|i| (&unit[i] - &unit[60 + i]).norm_squared()).sum::<f64>() / 60.0;
    let mut sum = 0.0;
    for i in 0..60 {
        sum += (0..60)
            .filter(|&j| j != i)
            .map(|j| (-2.0 * (&unit[i] - &unit[j]).norm_squared()).exp())
            .sum::<f64>();
    }
    let uniformity = (sum / (60.0 * 59.0)).ln();
    assert!((simulation.trajectory.last("view_distance").unwrap()[0] - distance).abs() < 1e-13);
    assert!((simulation.trajectory.last("uniformity").unwrap()[0] - uniformity).abs() < 1e-13);
}

#[test]
fn floors_cover_deeper_networks_whose_steps_add_up_and_leave_x_to_be_judged() {
    let common = [
        "encoder={ kind = \"linear\", widths = [5, 5, 5, 5], init = { kind = \"spectrum\", decay = 0.35 } }",
        "loss.reduction=\"mean\"",
        "augment={ kind = \"isotropic\", variance = 0.01, sides = \"one\" }",
        "dynamics.time_end=20.0",
        "dynamics.method=\"tsit5\"",
    ];
    let run = |rtol, atol| trained_at(&common, rtol, atol);
    let tight = run("1e-12", "1e-15");
    let loose = run("1e-6", "1e-9");
    for (name, array) in
        [("w1", "sigma_w1"), ("w2", "sigma_w2"), ("end_to_end", "sigma_end_to_end"), ("eig_x", "eig_x")]
    {
        for time in 0..loose.time.len() {
            let floor = loose.columns[&format!("floor_{name}")].values[time];
            let (found, exact) = (loose.columns[array].row(time), tight.columns[array].row(time));
            let error = found.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            println!(
                "{name}, t = {}: error {error:.1e}, floor {floor:.1e}, largest {:.1e}",
                loose.time[time],
                exact[0].abs().max(exact[exact.len() - 1].abs())
            );
            assert!(error <= floor, "{name} at t = {}: error {error:e}, floor {floor:e}", loose.time[time]);
        }
    }
    let last = loose.time.len() - 1;
    let largest = loose.columns["eig_x"].row(last).iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(loose.columns["floor_eig_x"].values[last] < 0.1 * largest, "X can be judged at the end");
}

#[test]
fn the_alignment_score_of_the_start_does_not_depend_on_the_tolerance() {
    let start = |rtol: &str| {
        let rtol = format!("dynamics.rtol={rtol}");
        let trajectory = trained(&["dynamics.method=\"tsit5\"", &rtol]).1.trajectory;
        (
            trajectory.columns["alignment_score_1_2"].values[0],
            trajectory.columns["alignment_resolved_1_2"].values[0],
        )
    };
    assert_eq!(start("1e-2"), start("1e-8"));
    assert_eq!(start("1e-2").1, 1.0, "the start is exact");
}
