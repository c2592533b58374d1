//! contraflow's side of `benches/peers/run.py`, which compares it with PyTorch and JAX on the same inputs.
//!
//! `cargo bench --bench peers -- inputs DIR` draws the inputs of every workload and writes them to DIR as `.npz` files.
//! `cargo bench --bench peers -- WORKLOAD DIR THREADS` measures one workload, prints a line of JSON, and leaves what it computed in
//! DIR, so that the runner can hold it against what the others computed. Runs are timed whole: data and weights are drawn,
//! and runs of a sweep are written to disk, inside the measured time.

mod common;

use common::{median, normals, on_threads};
use contraflow::encoder::Network;
use contraflow::experiment::{Experiment, Plan, Prepared};
use contraflow::files::{NpzArray, write_npz};
use contraflow::loss::{InfonceCosine, InfonceDot, InfonceEuclidean, Loss, Reduction, Workspace};
use contraflow::run::{Store, run, simulate};
use contraflow::seed::Stream;
use contraflow::stream::{BatchStream, full_batch};
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::Path;

/// Dimension of samples and embeddings.
const DIM: usize = 16;
/// Numbers of embeddings that losses are measured at.
const COUNTS: [usize; 2] = [1024, 8192];
/// Standard deviation of the difference of two views of an embedding.
const NOISE: f64 = 0.5;
/// τ of the dot and cosine losses.
const TEMPERATURE: f64 = 0.1;
/// Steps of one run of SGD, and the steps after which all programs are compared on the same batches.
const SGD_STEPS: u64 = 2000;
const COMPARED_STEPS: u64 = 20;
const SGD_BATCH: usize = 128;

/// The released toy: two layers under SGD, spectra every ten steps.
fn sgd(seeds: &str, variances: &str, steps: u64) -> Experiment {
    parse(&format!(
        r#"
        data     = {{ kind = "gaussian", dim = {DIM}, samples = 10000 }}
        augment  = {{ kind = "isotropic", variance = 1e-6, sides = "two" }}
        encoder  = {{ kind = "linear", widths = [{DIM}, {DIM}, {DIM}], init = {{ kind = "spectrum", decay = 0.35 }} }}
        loss     = {{ kind = "infonce-dot", temperature = {TEMPERATURE} }}
        dynamics = {{ kind = "sgd", rate = 0.01, steps = {steps}, batch = {SGD_BATCH} }}
        observe  = {{ times = {{ kind = "linear", every = 10 }}, quantities = ["spectra"] }}
        sweep    = {{ seed = {seeds}, "augment.variance" = {variances} }}
        "#
    ))
}

/// Gradient flow of two layers under Eq. 2 on a fixed batch.
fn flow(samples: usize, seeds: &str, variances: &str) -> Experiment {
    parse(&format!(
        r#"
        data     = {{ kind = "gaussian", dim = {DIM}, samples = {samples} }}
        augment  = {{ kind = "block", block = 8, variance = 1.0, sides = "one" }}
        encoder  = {{ kind = "linear", widths = [{DIM}, {DIM}, {DIM}], init = {{ kind = "gaussian", std = 0.25 }} }}
        loss     = {{ kind = "infonce-euclidean" }}
        dynamics = {{ kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-8, time_end = 10.0 }}
        observe  = {{ times = {{ kind = "linear", count = 1 }}, quantities = ["spectra"] }}
        sweep    = {{ seed = {seeds}, "augment.variance" = {variances} }}
        "#
    ))
}

const ONE_SEED: &str = "[1]";
const EIGHT_SEEDS: &str = "[1, 2, 3, 4, 5, 6, 7, 8]";
const SGD_VARIANCES: &str = "[1e-6, 1e-4, 1e-2, 0.1]";
const FLOW_VARIANCES: &str = "[0.1, 0.5, 1.0, 2.0]";

fn single_sgd(steps: u64) -> Experiment {
    sgd(ONE_SEED, "[1e-6]", steps)
}

fn single_flow() -> Experiment {
    flow(1024, ONE_SEED, "[1.0]")
}

fn sgd_sweep() -> Experiment {
    sgd(EIGHT_SEEDS, SGD_VARIANCES, SGD_STEPS / 2)
}

fn flow_sweep() -> Experiment {
    flow(512, EIGHT_SEEDS, FLOW_VARIANCES)
}

fn parse(text: &str) -> Experiment {
    Experiment::parse("peers.toml", ".".as_ref(), text, &[]).unwrap_or_else(|problem| panic!("{problem}"))
}

fn prepare(plan: &Plan) -> Prepared {
    plan.prepare().unwrap_or_else(|problem| panic!("{problem}"))
}

/// The layers one after the other, each row-major as NumPy has them.
fn layers(network: &Network, parameters: &[f64]) -> Vec<f64> {
    let arrays = network.named_parameters(parameters);
    arrays.iter().flat_map(|(_, w)| w.transpose().as_slice().to_vec()).collect()
}

fn save(folder: &Path, name: &str, entries: &[(&str, &[usize], &[f64])]) {
    let entries: Vec<_> =
        entries.iter().map(|(name, shape, values)| (*name, NpzArray::f64(shape, values))).collect();
    write_npz(folder.join(format!("{name}.npz")), &entries).unwrap_or_else(|error| panic!("{error}"));
}

/// Embeddings of both views, side by side: `count` first ones, then as many second ones.
fn embeddings(count: usize) -> Vec<f64> {
    let drawn = normals(2 * count * DIM);
    let (first, noise) = drawn.split_at(count * DIM);
    let second = first.iter().zip(noise).map(|(z, n)| z + NOISE * n);
    first.iter().copied().chain(second).collect()
}

/// What the peers need of the plans of an SGD experiment.
fn save_sgd(folder: &Path, name: &str, experiment: &Experiment) {
    let (mut samples, mut observed, mut weights, mut variances) = (vec![], vec![], vec![], vec![]);
    for plan in &experiment.plans {
        let prepared = prepare(plan);
        let (data, _) = prepared.source.samples().expect("SGD has samples");
        samples.extend_from_slice(&data.samples);
        observed.extend(data.draw(plan.observe_samples(), &mut plan.seed.generator(Stream::Probe, 0)));
        weights.extend(layers(&prepared.network, &prepared.parameters));
        variances.push(plan.settings.table("augment").number("variance"));
    }
    let runs = experiment.plans.len();
    let probes = observed.len() / (runs * DIM);
    let plan = &experiment.plans[0];
    let prepared = prepare(plan);
    let (data, augmentation) = prepared.source.samples().expect("SGD has samples");
    let mut stream = BatchStream::new(data, augmentation, plan.seed, SGD_BATCH);
    let mut views = vec![0.0; 2 * SGD_BATCH * DIM];
    let mut batches = Vec::new();
    for step in 0..COMPARED_STEPS {
        stream.views(step, &mut views);
        batches.extend_from_slice(&views);
    }
    save(
        folder,
        name,
        &[
            ("samples", &[runs, samples.len() / (runs * DIM), DIM], &samples),
            ("observed", &[runs, probes, DIM], &observed),
            ("weights", &[runs, 2, DIM, DIM], &weights),
            ("variances", &[runs], &variances),
            ("batches", &[COMPARED_STEPS as usize, 2, SGD_BATCH, DIM], &batches),
        ],
    );
}

/// What the peers need of the plans of a flow.
fn save_flow(folder: &Path, name: &str, experiment: &Experiment) {
    let (mut views, mut weights) = (vec![], vec![]);
    for plan in &experiment.plans {
        let prepared = prepare(plan);
        let (data, augmentation) = prepared.source.samples().expect("a flow has samples");
        views.extend(full_batch(data, augmentation, plan.seed));
        weights.extend(layers(&prepared.network, &prepared.parameters));
    }
    let runs = experiment.plans.len();
    let count = views.len() / (runs * 2 * DIM);
    save(
        folder,
        name,
        &[("views", &[runs, 2, count, DIM], &views), ("weights", &[runs, 2, DIM, DIM], &weights)],
    );
}

fn save_inputs(folder: &Path) {
    for count in COUNTS {
        save(folder, &format!("inputs_loss_{count}"), &[("z", &[2, count, DIM], &embeddings(count))]);
    }
    save_sgd(folder, "inputs_sgd", &single_sgd(SGD_STEPS));
    save_sgd(folder, "inputs_sgd_sweep", &sgd_sweep());
    save_flow(folder, "inputs_flow", &single_flow());
    save_flow(folder, "inputs_flow_sweep", &flow_sweep());
}

/// Loss and gradient with respect to the embeddings.
fn measure_loss(loss: &Loss, count: usize, folder: &Path, workload: &str) -> Value {
    let z = embeddings(count);
    let mut gradient = vec![0.0; z.len()];
    let mut workspace = Workspace::default();
    let mut value = 0.0;
    let seconds = median(if count > 4096 { 9 } else { 31 }, || {
        value = black_box(loss.evaluate(&z, DIM, Reduction::Mean, &mut workspace, &mut gradient)).loss;
    });
    save(
        folder,
        &format!("contraflow_{workload}"),
        &[("loss", &[], &[value]), ("gradient", &[2, count, DIM], &gradient)],
    );
    json!({ "seconds": seconds })
}

/// One run of the released toy; the seconds are those of a step.
fn measure_sgd(folder: &Path) -> Value {
    let run_once = |steps: u64| {
        let experiment = single_sgd(steps);
        let plan = &experiment.plans[0];
        simulate(plan, prepare(plan), &|_| false)
    };
    let mut last = None;
    let seconds = median(9, || last = Some(run_once(SGD_STEPS)));
    let last = last.expect("a run");
    let compared = run_once(COMPARED_STEPS);
    let spectrum = last.trajectory.last("sigma_embedding").expect("a spectrum");
    save(
        folder,
        "contraflow_sgd",
        &[
            ("compared", &[2, DIM, DIM], &layers(&compared.network, &compared.parameters)),
            ("spectrum", &[1, DIM], spectrum),
        ],
    );
    json!({ "seconds": seconds / SGD_STEPS as f64 })
}

/// One flow.
fn measure_flow(folder: &Path) -> Value {
    let experiment = single_flow();
    let plan = &experiment.plans[0];
    let mut last = None;
    let seconds = median(5, || last = Some(simulate(plan, prepare(plan), &|_| false)));
    let last = last.expect("a run");
    save(
        folder,
        "contraflow_flow",
        &[("weights", &[1, 2, DIM, DIM], &layers(&last.network, &last.parameters))],
    );
    json!({ "seconds": seconds, "evaluations": last.effort.evaluations })
}

/// A sweep as `contraflow run` does it, results on disk included, with as many jobs as threads.
fn measure_sweep(experiment: &Experiment, threads: usize, folder: &Path, workload: &str) -> Value {
    let mut last = None;
    let seconds = median(3, || {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let store = Store::new(scratch.path().join("results"));
        let tally = run(experiment, &store, threads, false, &|| false, &|_| {}).expect("a writable store");
        assert!(tally.is_complete(), "{tally:?}");
        last = Some((scratch, store));
    });
    let (_scratch, store) = last.expect("a sweep");
    let (mut weights, mut spectra) = (vec![], vec![]);
    for plan in &experiment.plans {
        let state = store.load_state(plan).expect("a state");
        weights.extend(["W1", "W2"].iter().flat_map(|name| state[*name].values.clone()));
        let stored = store.load(plan).expect("a record");
        spectra.extend_from_slice(stored.last("sigma_embedding").expect("a spectrum"));
    }
    let runs = experiment.plans.len();
    save(
        folder,
        &format!("contraflow_{workload}"),
        &[("weights", &[runs, 2, DIM, DIM], &weights), ("spectrum", &[runs, DIM], &spectra)],
    );
    json!({ "seconds": seconds })
}

/// Steps of a real network: full-batch training of ResNet-8 on pictures as they are, so that no program draws anything.
#[cfg(feature = "resnet")]
mod network {
    use super::{Experiment, Path, Value, json, median, parse, save};
    use contraflow::resnet::{Device, RealNetworks};
    use contraflow::run::{Store, Task, run_all};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use safetensors::SafeTensors;

    /// Pictures a step, of 3 x 32 x 32.
    const BATCH: usize = 100;
    /// Steps after which programs are compared, and steps between the two runs whose times are subtracted.
    const COMPARED: u64 = 5;
    const TIMED: u64 = 10;
    const RATE: f64 = 0.1;
    /// A rate that leaves weights as they are drawn: 0 in single precision, so that zeros stay zeros, where ReLU has its kink.
    const NO_RATE: f64 = 1e-60;

    fn experiment(folder: &Path, rate: f64, steps: u64) -> Experiment {
        parse(&format!(
            r#"
            seed     = 1
            data     = {{ kind = "cifar10", path = {folder:?} }}
            views    = {{ crop_min = 1.0, flip = 0, jitter = 0, grayscale = 0, blur_first = 0, blur_second = 0, solarise_second = 0 }}
            network  = {{ kind = "resnet-8", width = 16 }}
            method   = {{ kind = "simclr", projector = {{ kind = "none" }} }}
            training = {{ optimiser = {{ kind = "sgd", rate = {rate:e}, weight_decay = 1e-4 }}, epochs = {steps}, batch = {BATCH} }}
            observe  = {{ every = {steps}, images = {BATCH}, neighbours = 5 }}
            "#
        ))
    }

    /// Name, shape and values of each, in the order of names.
    type Parameters = Vec<(String, Vec<usize>, Vec<f64>)>;

    /// Trains on so many threads, and gives the loss of the last step and what was trained.
    fn train(experiment: &Experiment, threads: usize) -> (f64, Parameters) {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let store = Store::new(scratch.path());
        let engine = RealNetworks::new(Device::Cpu).expect("the CPU");
        let task = Task::new(experiment, &store, false).expect("a writable store").with_engine(&engine);
        run_all(&[task], threads, &|| false, &|_, _| (), &|_, ended| assert!(ended.is_ok()));
        let plan = &experiment.plans[0];
        let run = store.load(plan).expect("a record");
        let loss = run.last("loss").unwrap_or_else(|| panic!("{}", run.outcome))[0];
        let bytes = std::fs::read(store.directory(plan).join("state.safetensors")).expect("weights");
        let tensors = SafeTensors::deserialize(&bytes).expect("weights");
        let is_trained = |name: &str| !name.contains("running") && !name.contains("tracked");
        let mut parameters: Parameters = tensors
            .iter()
            .filter(|(name, _)| is_trained(name))
            .map(|(name, tensor)| {
                let number =
                    |four: &[u8]| f64::from(f32::from_le_bytes(four.try_into().expect("four bytes")));
                (
                    name.to_string(),
                    tensor.shape().to_vec(),
                    tensor.data().chunks_exact(4).map(number).collect(),
                )
            })
            .collect();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        (loss, parameters)
    }

    /// Pictures as CIFAR-10 has them, and the weights that training starts from.
    pub fn save_inputs(folder: &Path) {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut file = |name: &str, count: usize| {
            let bytes: Vec<u8> = (0..count)
                .flat_map(|index| {
                    let (slope, level): (f64, f64) = (generator.random(), generator.random());
                    let mut pixel =
                        |k: u32| level + slope * f64::from(k % 32) / 32.0 + 2.0 * generator.random::<f64>();
                    let picture: Vec<u8> = (0..3072).map(|k| (63.0 * pixel(k)) as u8).collect();
                    std::iter::once((index % 10) as u8).chain(picture)
                })
                .collect();
            std::fs::write(folder.join(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        (1..=5).for_each(|k| file(&format!("data_batch_{k}.bin"), BATCH / 5));
        file("test_batch.bin", BATCH);
        let (_, parameters) = train(&experiment(folder, NO_RATE, 1), 1);
        let entries: Vec<(&str, &[usize], &[f64])> =
            parameters.iter().map(|(name, shape, values)| (&**name, &**shape, &**values)).collect();
        save(folder, "inputs_resnet_step", &entries);
    }

    pub fn measure(folder: &Path, threads: usize) -> Value {
        // Views are made beside the steps, by the threads of all.
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads for views");
        let (loss, parameters) = train(&experiment(folder, RATE, COMPARED), threads);
        let parameters: Vec<f64> = parameters.into_iter().flat_map(|(_, _, values)| values).collect();
        let entries: [(&str, &[usize], &[f64]); 2] =
            [("loss", &[], &[loss]), ("parameters", &[parameters.len()], &parameters)];
        save(folder, "contraflow_resnet_step", &entries);
        let seconds = |steps: u64| median(3, || drop(train(&experiment(folder, RATE, steps), threads)));
        json!({ "seconds": (seconds(COMPARED + TIMED) - seconds(COMPARED)) / TIMED as f64 })
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["inputs", folder] => {
            save_inputs(folder.as_ref());
            #[cfg(feature = "resnet")]
            network::save_inputs(folder.as_ref());
        }
        [workload, folder, threads] => {
            let folder: &Path = folder.as_ref();
            let threads: usize = threads.parse().expect("a number of threads");
            let cosine = Loss::Cosine(InfonceCosine { temperature: TEMPERATURE, symmetric: true });
            let dot = Loss::Dot(InfonceDot { temperature: TEMPERATURE });
            let euclidean = Loss::Euclidean(InfonceEuclidean);
            let measured = on_threads(threads, || match *workload {
                "eq2_1024" => measure_loss(&euclidean, 1024, folder, workload),
                "eq2_8192" => measure_loss(&euclidean, 8192, folder, workload),
                "dot_1024" => measure_loss(&dot, 1024, folder, workload),
                "cosine_1024" => measure_loss(&cosine, 1024, folder, workload),
                "sgd" => measure_sgd(folder),
                "flow" => measure_flow(folder),
                "sgd_sweep" => measure_sweep(&sgd_sweep(), threads, folder, workload),
                "flow_sweep" => measure_sweep(&flow_sweep(), threads, folder, workload),
                #[cfg(feature = "resnet")]
                "resnet_step" => network::measure(folder, threads),
                other => panic!("no workload is called {other}"),
            });
            println!("{measured}");
        }
        _ => println!("this bench is started by benches/peers/run.py"),
    }
}
