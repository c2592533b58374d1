//! Where the time of one step of SGD goes, in the authors' released toy: two linear layers of 16 x 16, InfoNCE with dot
//! products, batches of 128, records of loss and spectra every ten steps.
//!
//! `cargo bench --bench step` prints microseconds a step of every part on one thread, their sum, and the time of a whole run
//! over its steps. Parts that belong to a record are divided by the steps between records. All are the best of many rounds:
//! what another process takes of the machine only adds. Beside the pairwise kernel, whose X ends in a product of 16 x 128 with
//! 128 x 16 values, a step needs one product of 16 x 16 with 16 x 256 values and 4096 normals; "forward" goes layer by layer.

use contraflow::dynamics::{Descent, Position};
use contraflow::encoder::{Activations, Network, Output};
use contraflow::experiment::{Experiment, Plan};
use contraflow::gradient::Objective;
use contraflow::loss::Workspace;
use contraflow::matrix::Matrix;
use contraflow::matrix::SvdWorkspace;
use contraflow::observe::{Accuracy, Batch, Observer, SpectrumInputs};
use contraflow::record::Trajectory;
use contraflow::run::simulate;
use contraflow::seed::Stream;
use contraflow::stream::BatchStream;
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

const STEPS: u64 = 2000;
const BETWEEN_RECORDS: u64 = 10;
const BATCH: usize = 128;

const TOY: &str = r#"
seed     = 20
data     = { kind = "gaussian", dim = 16, samples = 10000 }
augment  = { kind = "isotropic", variance = 1e-6, sides = "two" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-dot", temperature = 0.1 }
dynamics = { kind = "sgd", rate = 0.01, steps = 2000, batch = 128 }
observe  = { times = { kind = "linear", every = 10 }, quantities = ["loss", "spectra"] }
"#;

/// Microseconds a call: the best of many rounds of about a millisecond.
fn best(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    let calls = (1e-3 / start.elapsed().as_secs_f64().max(1e-7)).ceil() as u32;
    let rounds = if calls > 1 { 300 } else { 12 };
    let round = || {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        1e6 * start.elapsed().as_secs_f64() / f64::from(calls)
    };
    std::iter::repeat_with(round).take(rounds).fold(f64::INFINITY, f64::min)
}

/// The plan of [`TOY`] with these keys overridden.
fn plan(overrides: &[&str]) -> Plan {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let experiment =
        Experiment::parse("step.toml", ".".as_ref(), TOY, &overrides).expect("a valid experiment");
    experiment.plans.into_iter().next().expect("one cell")
}

/// Microseconds to draw the batch of a step.
fn drawing(overrides: &[&str]) -> f64 {
    let plan = plan(overrides);
    let prepared = plan.prepare().expect("samples");
    let (data, augmentation) = prepared.source.samples().expect("samples");
    let mut stream = BatchStream::new(data, augmentation, plan.seed, BATCH);
    let mut views = vec![0.0; 2 * BATCH * data.dim];
    let mut step = 0;
    best(|| {
        stream.views(step % STEPS, &mut views);
        step += 1;
    })
}

/// Microseconds a step of whole runs: the best stretch from one record to the next of several runs.
fn whole(overrides: &[&str]) -> f64 {
    let plan = plan(overrides);
    let mut seconds = f64::INFINITY;
    for _ in 0..8 {
        let prepared = plan.prepare().expect("samples");
        // A run asks after every step whether it is to stop.
        let ticks = RefCell::new(Vec::with_capacity(STEPS as usize));
        let simulation = simulate(&plan, prepared, &|_| {
            ticks.borrow_mut().push(Instant::now());
            false
        });
        assert!(simulation.ending.is_finished());
        let ticks = ticks.into_inner();
        for (first, last) in ticks.iter().zip(&ticks[BETWEEN_RECORDS as usize..]) {
            seconds = seconds.min((*last - *first).as_secs_f64());
        }
    }
    1e6 * seconds / BETWEEN_RECORDS as f64
}

fn main() {
    let toy = plan(&[]);
    let prepared = toy.prepare().expect("samples");
    let (data, augmentation) = prepared.source.samples().expect("samples");
    let (network, parameters) = (&prepared.network, &prepared.parameters);
    let (loss, reduction) = toy.loss();
    let mut views = vec![0.0; 2 * BATCH * data.dim];
    BatchStream::new(data, augmentation, toy.seed, BATCH).views(0, &mut views);

    let drawn = drawing(&[]);
    let selection = drawing(&["augment.variance=0"]);
    let mut activations = Activations::default();
    let forward = best(|| {
        network.forward(parameters, &views, &mut activations);
        black_box(&activations);
    });
    let embeddings = network.output(&activations, Output::Embedding).to_vec();
    let mut workspace = Workspace::default();
    let mut half = Matrix::zeros(data.dim, data.dim);
    let dim = network.embedding_dim();
    let kernel = best(|| {
        black_box(loss.half_of_x(&embeddings, dim, &views, reduction, &mut workspace, &mut half));
    });
    let mut objective = Objective::new(network.clone(), loss, reduction);
    let mut gradient = vec![0.0; parameters.len()];
    let evaluation = best(|| {
        black_box(objective.evaluate(parameters, &views, &mut gradient));
    });
    let value = best(|| {
        black_box(objective.value(parameters, &views));
    });
    let descent = Descent { rate: 1e-9, steps: STEPS };
    let update = best(|| {
        let mut position = Position::new(parameters.clone());
        let mut constant = |_: u64, _: &[f64], out: &mut [f64]| {
            black_box(out);
        };
        descent.run(&mut position, &mut constant, &[], None, &|| false, &mut |_| {});
        black_box(&position);
    }) / STEPS as f64;

    let fresh = data.draw(toy.observe_samples(), &mut toy.seed.generator(Stream::Probe, 0));
    let mut observed = Objective::new(network.clone(), loss, reduction);
    // Microseconds of a record, and of the gradient that follows it at the same state.
    let mut measured = |quantities: &[&str], follows: bool| {
        let names = format!("observe.quantities={quantities:?}");
        let inputs = SpectrumInputs::new(network, fresh.clone()).expect("a spectrum");
        let quantities = plan(&[&names]).quantities();
        let mut observer =
            Observer { quantities, accuracy: Accuracy::default(), inputs, noisy_directions: None };
        best(|| {
            let mut landscape = Batch { objective: &mut observed, views: &views };
            let mut trajectory = Trajectory::default();
            let measured = observer.measure(&mut landscape, parameters, None, (0.0, 0), &mut trajectory);
            black_box((measured.expect("a spectrum"), trajectory));
            if follows {
                assert!(observed.gradient_of_value(parameters, &views, &mut gradient));
            }
        })
    };
    let spectra = measured(&["spectra"], false);
    let shared = measured(&["loss", "spectra"], true) - evaluation;
    let mut workspace = SvdWorkspace::default();
    let total = network.end_to_end(parameters, Output::Embedding);
    let mut matrices: Vec<_> = network
        .dense_layers()
        .map(|(_, shape, offset)| Network::weights(shape, offset, parameters))
        .collect();
    // The inputs are white: the spectrum of the embeddings is that of as large a matrix.
    matrices.extend([total.clone(), total]);
    let decompositions = best(|| {
        for matrix in &matrices {
            black_box(workspace.singular_values(matrix).expect("finite weights"));
        }
    });
    let alignment = measured(&["spectra", "alignment"], false) - spectra;

    let recorded = 1.0 / BETWEEN_RECORDS as f64;
    let parts = [
        ("batch selection", selection),
        ("normals", drawn - selection),
        ("forward", forward),
        ("pairwise kernel", kernel),
        ("backward", evaluation - value),
        ("update", update),
        ("records: SVDs", recorded * decompositions),
        ("records: loss on the batch", recorded * (shared - spectra)),
        ("records: other", recorded * (spectra - decompositions)),
    ];
    let sum: f64 = parts.iter().map(|(_, microseconds)| microseconds).sum();
    println!("{:<28} {:>10} {:>7}", "part", "µs a step", "share");
    for (name, microseconds) in parts {
        println!("{name:<28} {microseconds:>10.2} {:>6.1}%", 100.0 * microseconds / sum);
    }
    println!("{:<28} {sum:>10.2}", "sum of the parts");
    println!("{:<28} {:>10.2}", "whole run", whole(&[]));
    println!("{:<28} {:>10.2}", "alignment, if recorded too", recorded * alignment);
    println!("{:<28} {:>10.2}", "whole run, one record", whole(&["observe.times.every=2000"]));
}
