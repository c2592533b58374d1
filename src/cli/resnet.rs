//! `contraflow resnet FILE`: real networks, and which engine runs an experiment.

use super::{Resnet, refuse, run};
use crate::experiment::{Experiment, Subject};
use crate::run::{Engine, Layers};

pub(super) fn resnet(arguments: &Resnet) -> u8 {
    // What cannot be read is refused by `run`, with its place.
    let experiment = Experiment::read_large(&arguments.run.file, &arguments.run.overrides);
    if experiment.is_ok_and(|experiment| experiment.subject == Subject::Layers) {
        let file = arguments.run.file.display();
        return refuse(&format!(
            "error: {file} has no table `network`, so that it is not about a real network; run it with: contraflow run {file}"
        ));
    }
    run::run(&arguments.run, &arguments.device)
}

/// What runs an experiment, on `device` where that is a question; an exit status where nothing can, which has been told then.
pub(super) fn engine(experiment: &Experiment, device: &str) -> Result<Box<dyn Engine>, u8> {
    match experiment.subject {
        Subject::Layers => Ok(Box::new(Layers)),
        Subject::RealNetwork => real_networks(device),
    }
}

#[cfg(feature = "resnet")]
fn real_networks(device: &str) -> Result<Box<dyn Engine>, u8> {
    use crate::resnet::{Device, RealNetworks};
    let device = match device {
        #[cfg(feature = "cuda")]
        "cuda" => Device::Cuda,
        #[cfg(not(feature = "cuda"))]
        "cuda" => {
            refuse(
                &"error: this build has no CUDA; build it with the feature: cargo run --release --features cuda -- resnet …",
            );
            return Err(super::WRONG_REQUEST);
        }
        _ => Device::Cpu,
    };
    match RealNetworks::new(device) {
        Ok(engine) => Ok(Box::new(engine)),
        Err(message) => {
            eprintln!("error: {message}");
            Err(super::FAILED)
        }
    }
}

#[cfg(not(feature = "resnet"))]
fn real_networks(_device: &str) -> Result<Box<dyn Engine>, u8> {
    refuse(
        &"error: this build has no real networks; build it with the feature: cargo run --release --features resnet -- resnet …",
    );
    Err(super::WRONG_REQUEST)
}
