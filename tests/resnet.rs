//! Real networks from the command line and through the store.

use std::process::{Command, Output};

fn contraflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_contraflow")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SHAPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/resnet_shapes.toml");
const LAYERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/frozen_x.toml");

#[test]
fn a_file_about_linear_networks_is_sent_to_run() {
    let output = contraflow(&["resnet", LAYERS]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("contraflow run"), "{}", stderr(&output));
}

#[test]
fn a_file_about_a_real_network_is_checked_in_every_build() {
    assert_eq!(contraflow(&["check", SHAPES]).status.code(), Some(0));
    for (override_, told) in [
        ("sweep.method=[{ kind = \"directclr\", d0 = 65 }]", "the representation has 64 coordinates"),
        ("training.pieces=3", "pieces = 3"),
        ("training.warmup_epochs=6", "leave nothing of 6 epochs"),
        ("network.kind=resnet-9", "resnet-8"),
        ("loss.reduction=sum", "\"mean\""),
        ("views.flip=2", "from 0 to 1"),
        ("figure={ kind = \"spectrum\", of = \"end-to-end\" }", "embedding, representation"),
    ] {
        let output = contraflow(&["check", SHAPES, "--set", override_]);
        assert_eq!(output.status.code(), Some(2), "{override_}");
        assert!(stderr(&output).contains(told), "{override_}: {}", stderr(&output));
    }
}

/// Another folder of pictures is another plan, wherever it lies.
#[test]
fn plans_depend_on_what_a_folder_holds_and_not_on_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let of = |place: &str, content: &[u8]| {
        let path = folder.path().join(place);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("data_batch_1.bin"), content).unwrap();
        let text = std::fs::read_to_string(SHAPES).unwrap();
        let overrides = [format!("data={{ kind = \"cifar10\", path = {path:?} }}")];
        let experiment =
            contraflow::experiment::Experiment::parse("test.toml", folder.path(), &text, &overrides);
        experiment.unwrap_or_else(|problem| panic!("{problem}")).plans[0].hash.clone()
    };
    let first = of("a", b"as long");
    assert_eq!(of("b", b"as long"), first);
    assert_ne!(of("c", b"as lang"), first);
}

#[cfg(not(feature = "resnet"))]
#[test]
fn a_build_without_the_feature_says_how_to_get_it() {
    let output = contraflow(&["resnet", SHAPES]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--features resnet"), "{}", stderr(&output));
}

#[cfg(all(feature = "resnet", not(feature = "cuda")))]
#[test]
fn a_build_without_cuda_says_how_to_get_it() {
    let output = contraflow(&["resnet", SHAPES, "--device", "cuda"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--features cuda"), "{}", stderr(&output));
}

/// Without a driver; a machine with one is not asked.
#[cfg(feature = "cuda")]
#[test]
fn without_a_driver_cuda_ends_in_a_clear_error() {
    if std::path::Path::new("/proc/driver/nvidia").exists() {
        return;
    }
    let output = contraflow(&["resnet", SHAPES, "--device", "cuda"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("driver") && !told.contains("panicked"), "{told}");
}

#[cfg(feature = "resnet")]
mod runs {
    use contraflow::experiment::Experiment;
    use contraflow::resnet::{Device, RealNetworks};
    use contraflow::run::{State, Store, Tally, Task, run_all};
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn experiment(epochs: u64) -> Experiment {
        let text = format!(
            r#"
seed     = 5
data     = {{ kind = "shapes", images = 60, test_images = 20, size = 16 }}
views    = {{ noise_variance = 0.01 }}
network  = {{ kind = "resnet-8", width = 4 }}
method   = {{ kind = "random-features", d0 = 6 }}
training = {{ optimiser = {{ kind = "lars", rate = 1.0 }}, epochs = {epochs}, batch = 10 }}
observe  = {{ every = 3, images = 20, neighbours = 5, first = [2, 16] }}
"#
        );
        Experiment::parse("test.toml", Path::new("."), &text, &[])
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Runs what is not done yet; where it is to be stopped, after this time and with a rest after every step, so that a fast machine
    /// does not come to the end before.
    fn go(experiment: &Experiment, store: &Store, stop_after: Option<Duration>) -> Tally {
        let engine = RealNetworks::new(Device::Cpu).unwrap();
        let task = Task::new(experiment, store, false).unwrap().with_engine(&engine);
        let tally = std::sync::Mutex::new(None);
        let begun = Instant::now();
        let stop = || {
            stop_after.is_some_and(|stop_after| {
                std::thread::sleep(Duration::from_millis(10));
                begun.elapsed() > stop_after
            })
        };
        run_all(&[task], 1, &stop, &|_, _| (), &|_, ended| *tally.lock().unwrap() = Some(ended.unwrap()));
        tally.into_inner().unwrap().unwrap()
    }

    #[test]
    fn an_interrupted_run_goes_on_to_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let experiment = experiment(30);
        let plan = &experiment.plans[0];
        let (whole, broken) =
            (Store::new(folder.path().join("whole")), Store::new(folder.path().join("broken")));
        let begun = Instant::now();
        assert_eq!(go(&experiment, &whole, None).finished, 1);
        // Long enough for a checkpoint to be worth writing, and for a slow machine to get on; 180 steps rest longer.
        let stop_after = begun.elapsed().mul_f64(0.4).max(Duration::from_millis(700));
        let mut stops = 0;
        while go(&experiment, &broken, Some(stop_after)).finished == 0 {
            stops += 1;
            assert!(stops < 20, "it does not come to an end");
        }
        assert!(stops > 0, "it was never interrupted");
        for name in ["record.npz", "state.safetensors"] {
            let read = |store: &Store| std::fs::read(store.directory(plan).join(name)).unwrap();
            assert!(read(&whole) == read(&broken), "{name} differs after {stops} stops");
        }
    }

    #[test]
    fn the_record_holds_what_is_declared_and_the_weights_can_be_the_start_of_another_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("records"));
        let experiment = experiment(3);
        assert_eq!(go(&experiment, &store, None).finished, 1);
        let plan = &experiment.plans[0];
        let run = store.load(plan).unwrap();
        assert_eq!(run.times(), [0.0, 3.0]);
        for name in run.arrays.keys() {
            assert!(contraflow::record::declared_array(name).is_some(), "{name} is not declared");
        }
        let spectrum = run.last("sigma_representation").unwrap();
        assert!(spectrum.len() == 16 && spectrum.windows(2).all(|pair| pair[0] >= pair[1]));
        // The trace of the covariance of unit vectors is at most 1.
        assert!(spectrum.iter().sum::<f64>() <= 1.0 + 1e-6);
        // The loss sees six coordinates, so that the gradient has no others.
        assert_eq!(run.last("numerical_rank_gradient_representation").unwrap(), [6.0]);

        let weights = store.directory(plan).join("state.safetensors");
        let text = experiment.origin.text.replace("width = 4", &format!("width = 4, weights = {weights:?}"));
        let again =
            Experiment::parse("test.toml", Path::new("."), &text, &[]).unwrap_or_else(|p| panic!("{p}"));
        let other = Store::new(folder.path().join("again"));
        assert_eq!(go(&again, &other, None).finished, 1);
        let start = other.load(&again.plans[0]).unwrap();
        assert_eq!(start.row("sigma_representation", 0).unwrap(), spectrum);
        assert_eq!(other.state(&again.plans[0]), State::Finished);
        let text = text.replace("width = 4, w", "width = 8, w");
        let wrong =
            Experiment::parse("test.toml", Path::new("."), &text, &[]).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(go(&wrong, &other, None).failed, 1);
        let State::Failed(message) = other.state(&wrong.plans[0]) else { panic!("not kept as failed") };
        assert!(message.contains("conv1.weight has the shape"), "{message}");
    }

    /// The claims about ResNet-50 on records of a smaller network: in a folder with an experiment of the name that they want.
    #[test]
    fn claims_read_the_records_of_a_real_network_and_start_none() {
        let folder = tempfile::tempdir().unwrap();
        let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/resnet_mnist.toml");
        let text = std::fs::read_to_string(digits).unwrap();
        let replaced = |text: String, key: &str, value: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap().to_string();
            text.replacen(&line, value, 1)
        };
        let text =
            replaced(text, "data ", r#"data = { kind = "shapes", images = 40, test_images = 40, size = 8 }"#);
        let text = replaced(text, "network ", r#"network = { kind = "resnet-8", width = 4 }"#);
        let text = replaced(text, "repeats ", "repeats = 2");
        let text = text.replace("epochs = 6", "epochs = 2").replace("batch = 100", "batch = 10");
        std::fs::create_dir(folder.path().join("experiments")).unwrap();
        std::fs::write(folder.path().join("experiments/resnet_mnist.toml"), text).unwrap();
        let contraflow = |arguments: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_contraflow"));
            let output = command.args(arguments).current_dir(&folder).output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.code(), format!("{told}{}", String::from_utf8_lossy(&output.stderr)))
        };

        let (status, told) = contraflow(&["verify", "table-1"]);
        assert!(status == Some(0) && told.contains("inconclusive"), "{told}");
        assert!(told.contains("contraflow reproduce resnet_mnist"), "{told}");

        let (status, told) = contraflow(&["reproduce", "resnet_mnist", "--out", "figures"]);
        assert_eq!(status, Some(0), "{told}");
        let scope = "resnet-8 of width 4, 40 pictures (shapes, 8 x 8), 2 epochs, 2 seeds";
        for claim in ["figure-2", "figure-7b", "figure-9", "table-1", "table-2"] {
            let row = told.lines().find(|line| line.starts_with(claim)).unwrap_or_else(|| panic!("{told}"));
            assert!(row.contains("outside-hypotheses"), "{row}");
        }
        assert!(!told.contains("figure-12 "), "{told}");

        let (status, told) =
            contraflow(&["verify", "table-1", "figure-12", "--out", "figures/records", "--json"]);
        assert!(status == Some(0) && told.contains(scope) && told.contains("needs the record"), "{told}");

        let (status, told) = contraflow(&["report", "figures"]);
        assert!(status == Some(0) && told.contains("5 claims"), "{told}");
    }
}
