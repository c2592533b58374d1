//! The parameters of a network as tensors, by name: drawn, read from files and written to them.

use super::architecture::{Architecture, Parameter, Role};
use crate::matrix::{Matrix, random_orthogonal};
use crate::seed::{Normals, Seed, Stream};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_store::pytorch::PytorchReader;
use rand::RngExt;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Parameters, each in one dimension, in the order of the architecture.
#[derive(Clone, Debug)]
pub struct Weights<B: Backend> {
    /// The values.
    pub values: Vec<Tensor<B, 1>>,
}

/// Values by name, row by row, with their shapes.
pub type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Key of the header of our safetensors files under which everything but numbers stands.
pub const NOTE: &str = "contraflow";

impl<B: Backend> Weights<B> {
    /// Draws the parameters; those of the projector come from a stream of their own, so that methods share their network.
    pub fn draw(architecture: &Architecture, seed: Seed, device: &B::Device) -> Weights<B> {
        let mut init = seed.generator(Stream::Init, 0);
        let mut projector = seed.generator(Stream::Projector, 0);
        let values = architecture.parameters.iter().map(|parameter| {
            let generator = if parameter.name.starts_with("projector") { &mut projector } else { &mut init };
            let count = parameter.shape.iter().product::<usize>();
            let values: Vec<f32> = match parameter.role {
                Role::Convolution => {
                    // He et al. 2015: variance 2 / (outputs k²).
                    let outputs = parameter.shape[0] * parameter.shape[2] * parameter.shape[3];
                    let std = (2.0 / outputs as f64).sqrt();
                    let mut normals = Normals::new(generator.clone());
                    let values = (0..count).map(|_| (std * normals.draw()) as f32).collect();
                    *generator = normals.into_generator();
                    values
                }
                Role::Linear => {
                    let bound = 1.0 / (parameter.shape[1] as f64).sqrt();
                    (0..count).map(|_| generator.random_range(-bound..bound) as f32).collect()
                }
                Role::Scale | Role::Variance | Role::Diagonal => vec![1.0; count],
                Role::LastScale | Role::Shift | Role::Mean => vec![0.0; count],
                Role::Fixed { rank } => {
                    let dim = parameter.shape[0];
                    let mut rotation = || -> Matrix {
                        let mut normals = Normals::new(generator.clone());
                        let square = Matrix::from_fn(dim, dim, |_, _| normals.draw());
                        *generator = normals.into_generator();
                        random_orthogonal(square)
                    };
                    let left = rotation();
                    let fixed =
                        if rank == dim { left } else { left.columns(0, rank) * rotation().rows(0, rank) };
                    fixed.transpose().iter().map(|value| *value as f32).collect()
                }
            };
            Tensor::from_data(TensorData::new(values, [count]), device)
        });
        Weights { values: values.collect() }
    }

    /// All parameters by name.
    pub fn named(&self, architecture: &Architecture) -> Named {
        let one = |(parameter, value): (&Parameter, &Tensor<B, 1>)| {
            let data = value.to_data().convert::<f32>();
            (parameter.name.clone(), (parameter.shape.clone(), data.to_vec().expect("converted to f32")))
        };
        architecture.parameters.iter().zip(&self.values).map(one).collect()
    }

    /// Replaces all parameters, in the order of the architecture.
    ///
    /// # Errors
    /// Another number of parameters, or of values.
    pub fn set_values(&mut self, values: &[Vec<f32>]) -> Result<(), String> {
        let fits = |(own, given): (&Tensor<B, 1>, &Vec<f32>)| own.dims()[0] == given.len();
        if values.len() != self.values.len() || !self.values.iter().zip(values).all(fits) {
            return Err("the checkpoint is of another network".to_string());
        }
        for (own, given) in self.values.iter_mut().zip(values) {
            let device = own.device();
            *own = Tensor::from_data(TensorData::new(given.clone(), [given.len()]), &device);
        }
        Ok(())
    }

    /// Replaces parameters by those of the same name. The projector may be missing; whatever else is in `named` (a classifier,
    /// counters of batches) is not used.
    ///
    /// # Errors
    /// A parameter that is missing or of another shape.
    pub fn set(&mut self, architecture: &Architecture, named: &Named) -> Result<(), String> {
        for (parameter, value) in architecture.parameters.iter().zip(&mut self.values) {
            let Some((shape, values)) = named.get(&parameter.name) else {
                if parameter.name.starts_with("projector") {
                    continue;
                }
                return Err(format!(
                    "there is no {}; expected: torchvision's names, such as conv1.weight and layer1.0.bn1.running_mean",
                    parameter.name
                ));
            };
            if *shape != parameter.shape {
                return Err(format!(
                    "{} has the shape {shape:?}; expected: {:?}; is this the network of the table `network`?",
                    parameter.name, parameter.shape
                ));
            }
            let device = value.device();
            *value = Tensor::from_data(TensorData::new(values.clone(), [values.len()]), &device);
        }
        Ok(())
    }
}

/// Reads tensors by name: a `.safetensors` file, or a PyTorch checkpoint (a state dict, or one under `state_dict` or `model`).
/// A prefix `module.` or `backbone.` of all names of a network, as wrappers add it, is taken off.
///
/// # Errors
/// What cannot be read, in words with the file's name.
pub fn read(path: &Path) -> Result<Named, String> {
    let told = |what: String| format!("{}: {what}", path.display());
    if !path.is_file() {
        return Err(told(
            "no such file; expected: a .safetensors file, or a PyTorch checkpoint (.pth, .pt)".to_string(),
        ));
    }
    let named = if path.extension().is_some_and(|extension| extension == "safetensors") {
        let bytes = std::fs::read(path).map_err(|error| told(error.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| told(format!("not a whole safetensors file: {error}")))?;
        let mut named = Named::new();
        for (name, view) in tensors.iter() {
            if let Some(values) = numbers(&view) {
                named.insert(name.to_string(), (view.shape().to_vec(), values));
            }
        }
        named
    } else {
        read_pytorch(path)
            .map_err(|message| told(format!("not a PyTorch checkpoint that can be read: {message}")))?
    };
    Ok(without_prefix(named))
}

fn read_pytorch(path: &Path) -> Result<Named, String> {
    let plain = PytorchReader::new(path).map_err(|error| error.to_string());
    let nested = |key| PytorchReader::with_top_level_key(path, key).ok().filter(|reader| !reader.is_empty());
    let reader = match nested("state_dict").or_else(|| nested("model")) {
        Some(reader) => reader,
        None => plain?,
    };
    let mut named = Named::new();
    for (name, snapshot) in reader.tensors() {
        if !matches!(snapshot.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
            continue;
        }
        let data = snapshot.to_data().map_err(|error| format!("{name}: {error:?}"))?;
        let values = data.convert::<f32>().to_vec().map_err(|error| format!("{name}: {error:?}"))?;
        named.insert(name.clone(), (snapshot.shape.to_vec(), values));
    }
    Ok(named)
}

/// The values of a tensor of floats; none of integers.
fn numbers(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let dtype = match view.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        _ => return None,
    };
    let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
    data.convert::<f32>().to_vec().ok()
}

fn without_prefix(named: Named) -> Named {
    const PREFIXES: [&str; 4] = ["module.", "backbone.", "module.backbone.", "encoder."];
    let known = |prefix: &str| named.contains_key(&format!("{prefix}conv1.weight"));
    match PREFIXES.into_iter().find(|prefix| !named.contains_key("conv1.weight") && known(prefix)) {
        Some(prefix) => named
            .into_iter()
            .map(|(name, value)| {
                (name.strip_prefix(prefix).map_or_else(|| name.clone(), str::to_string), value)
            })
            .collect(),
        None => named,
    }
}

/// A safetensors file of floats, with a note in its header. One note: the library writes several in an order that changes from call
/// to call, and files of equal runs are equal.
///
/// # Errors
/// Shapes that do not fit their values.
pub fn safetensors_bytes(named: &Named, note: &str) -> Result<Vec<u8>, String> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = named
        .iter()
        .map(|(name, (shape, values))| {
            (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let mut views = Vec::new();
    for (name, shape, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes)
            .map_err(|error| format!("{name}: {error}"))?;
        views.push((name.as_str(), view));
    }
    let notes = HashMap::from([(NOTE.to_string(), note.to_string())]);
    safetensors::serialize(views, Some(notes)).map_err(|error| error.to_string())
}
