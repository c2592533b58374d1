//! A run between two of its steps: what it needs to go on to the same results.

use super::weights::NOTE;
use crate::experiment::Plan;
use crate::files::{self, FileError};
use crate::record::{Column, Trajectory};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Steps done.
    pub step: u64,
    /// Sum of the losses of the steps of this epoch.
    pub loss: f64,
    /// What was recorded.
    pub trajectory: Trajectory,
    /// Parameters, in the order of the architecture.
    pub weights: Vec<Vec<f32>>,
    /// Their velocities.
    pub velocities: Vec<Vec<f32>>,
}

/// Writes the checkpoint of `plan` whole or not at all, with the seconds that the run has taken so far.
pub fn write(path: &Path, plan: &Plan, standing: &Standing, seconds: f64) -> Result<(), FileError> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, lists) in [("weights", &standing.weights), ("velocities", &standing.velocities)] {
        for (index, values) in lists.iter().enumerate() {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((format!("{name} {index:05}"), Dtype::F32, vec![values.len()], bytes));
        }
    }
    let trajectory = &standing.trajectory;
    let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    tensors.push(("time".to_string(), Dtype::F64, vec![trajectory.time.len()], bytes(&trajectory.time)));
    for (name, column) in &trajectory.columns {
        let shape: Vec<usize> =
            [trajectory.time.len()].into_iter().chain(column.row_shape.iter().copied()).collect();
        tensors.push((format!("column {name}"), Dtype::F64, shape, bytes(&column.values)));
    }
    let notes = json!({
        "plan": plan.hash,
        "engine": plan.subject.engine_revision(),
        "step": standing.step,
        "loss": standing.loss.to_bits(),
        "steps": trajectory.step,
        "seconds": seconds,
    });
    let invalid =
        |message: String| FileError::io(path, "write", &io::Error::new(io::ErrorKind::InvalidInput, message));
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &tensors {
        let view =
            TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| invalid(error.to_string()))?;
        views.push((name.as_str(), view));
    }
    let notes = HashMap::from([(NOTE.to_string(), notes.to_string())]);
    let bytes = safetensors::serialize(views, Some(notes)).map_err(|error| invalid(error.to_string()))?;
    files::write_atomically(path, &bytes)
}

/// Reads the checkpoint of `plan`, and the seconds that the run had taken.
pub fn read(path: &Path, plan: &Plan) -> Result<(Standing, f64), FileError> {
    let bytes = std::fs::read(path).map_err(|error| FileError::io(path, "read", &error))?;
    parse(&bytes, plan)
        .map_err(|message| FileError::io(path, "read", &io::Error::new(io::ErrorKind::InvalidData, message)))
}

fn parse(bytes: &[u8], plan: &Plan) -> Result<(Standing, f64), String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let notes =
        metadata.metadata().as_ref().and_then(|notes| notes.get(NOTE)).ok_or("it is not a checkpoint")?;
    let notes: Value = serde_json::from_str(notes).map_err(|error| error.to_string())?;
    if notes["plan"] != plan.hash.as_str() || notes["engine"] != plan.subject.engine_revision() {
        return Err("it is of another plan, or of another version of the program".to_string());
    }
    let number = |name: &str| notes[name].as_u64().ok_or(format!("{name} is missing"));
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut standing =
        Standing { step: number("step")?, loss: f64::from_bits(number("loss")?), ..Standing::default() };
    let steps = notes["steps"].as_array().ok_or("steps are missing")?;
    standing.trajectory.step = steps.iter().filter_map(Value::as_u64).collect();
    let mut names = tensors.names();
    names.sort_unstable();
    for name in names {
        let view = tensors.tensor(name).map_err(|error| error.to_string())?;
        let long = || -> Vec<f64> {
            let chunks = view.data().chunks_exact(8);
            chunks.map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect()
        };
        let short = || -> Vec<f32> {
            let chunks = view.data().chunks_exact(4);
            chunks.map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default())).collect()
        };
        match name.split_once(' ') {
            Some(("weights", _)) => standing.weights.push(short()),
            Some(("velocities", _)) => standing.velocities.push(short()),
            Some(("column", name)) => {
                let column = Column { row_shape: view.shape()[1..].to_vec(), values: long() };
                standing.trajectory.columns.insert(name.to_string(), column);
            }
            _ => standing.trajectory.time = long(),
        }
    }
    let seconds = notes["seconds"].as_f64().unwrap_or(0.0);
    Ok((standing, seconds))
}
