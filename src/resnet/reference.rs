//! Networks against torchvision's, and files against PyTorch's: the numbers come from `tests/resnet/reference.py`.

use super::architecture::{Architecture, Role};
use super::contrastive::infonce_cosine;
use super::example;
use super::forward::{Mode, Pass};
use super::operations::Tracked;
use super::weights::{self, Weights};
use crate::loss::{InfonceCosine, Loss, Reduction, Workspace};
use burn::backend::Flex;
use burn::tensor::{FloatDType, Tensor, TensorData};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/resnet")
}

/// The formula of the weights: numbers of [-1/2, 1/2).
fn pattern(count: usize, salt: u64) -> Vec<f64> {
    let number = |k: u64| ((k * 7919 + salt * 104_729 + (k * k) % 613) % 1000) as f64 / 1000.0 - 0.5;
    (0..count as u64).map(number).collect()
}

fn patterned(architecture: &Architecture) -> Weights<Flex> {
    let value = |(index, parameter): (usize, &super::architecture::Parameter)| {
        let count = parameter.shape.iter().product();
        let u = pattern(count, index as u64 + 1);
        let of = |u: f64| match parameter.role {
            Role::Convolution => u * (24.0 / parameter.shape[1..].iter().product::<usize>() as f64).sqrt(),
            Role::Variance | Role::Scale | Role::LastScale => 1.0 + 0.5 * u,
            _ => 0.2 * u,
        };
        let values: Vec<f32> = u.into_iter().map(|u| of(u) as f32).collect();
        Tensor::from_data(TensorData::new(values, [count]), &Default::default())
    };
    Weights { values: architecture.parameters.iter().enumerate().map(value).collect() }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// The largest difference over the root mean square of what is expected.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / size
}

fn values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().to_vec().unwrap()
}

/// Fifty layers of floats of 32 bits, each sum of thousands of terms: some hundred roundings, as in `measure`.
const TOLERANCE: f64 = 1e-4;

/// `of_training` bounds the error where BatchNorm divides by deviations of few values.
fn check(network: &str, of_training: f64) {
    let reference: Value =
        serde_json::from_str(&std::fs::read_to_string(folder().join("reference.json")).unwrap()).unwrap();
    let reference = &reference[network];
    let plan = example::plan(&[
        &format!("network={{ kind = \"{network}\" }}"),
        "method={ kind = \"simclr\", projector = { kind = \"none\" } }",
        "observe={}",
    ]);
    let architecture =
        Architecture::from_settings(plan.settings.table("network"), plan.settings.table("method"), 3);
    let mut weights = patterned(&architecture);
    let size = reference["size"].as_u64().unwrap() as usize;
    let input: Vec<f32> = pattern(4 * 3 * size * size, 1000).into_iter().map(|u| (2.0 * u) as f32).collect();
    let input: Tensor<Flex, 4> =
        Tensor::from_data(TensorData::new(input, [4, 3, size, size]), &Default::default());

    let mut pass = Pass::new(&architecture, &weights, Mode::Evaluation, FloatDType::F32, false);
    let evaluation = values(pass.network(input.clone()).representation.inner());
    let dim = architecture.dim;
    let error = difference(&evaluation[..dim], &numbers(&reference["evaluation"]));
    assert!(error < TOLERANCE, "{network}, evaluation: {error}");

    let mut pass = Pass::new(&architecture, &weights, Mode::Training, FloatDType::F32, true);
    let representation = pass.network(input).representation;
    let training = values(representation.clone().inner());
    let error = difference(&training[..dim], &numbers(&reference["training"]));
    assert!(error < of_training, "{network}, training: {error}");
    // The control: the two modes give different numbers.
    assert!(difference(&training, &evaluation) > 100.0 * of_training);

    let pull: Vec<f32> = pattern(4 * dim, 2000).into_iter().map(|u| u as f32).collect();
    let pull: Tensor<Tracked<Flex>, 2> =
        Tensor::from_data(TensorData::new(pull, [4, dim]), &Default::default());
    let gradients = (representation * pull).sum().backward();
    let mut count = 0;
    for (parameter, leaf) in architecture.parameters.iter().zip(&pass.leaves) {
        if !parameter.role.is_trained() {
            continue;
        }
        let gradient = values(leaf.grad(&gradients).unwrap());
        let expected = numbers(&reference["gradients"][&parameter.name]);
        let product: f64 =
            gradient.iter().zip(pattern(gradient.len(), 3000 + count)).map(|(g, p)| g * p).sum();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        // Backwards through as many layers once more.
        let slack = 20.0 * of_training * expected[1];
        assert!(
            (norm - expected[1]).abs() < slack && (product - expected[0]).abs() < slack,
            "{network}, gradient of {}: {norm} and {product}, expected {expected:?}",
            parameter.name
        );
        count += 1;
    }
    assert_eq!(count as usize, reference["gradients"].as_object().unwrap().len());

    pass.keep_statistics(&mut weights);
    for (parameter, value) in architecture.parameters.iter().zip(&weights.values) {
        if let Some(moved) = reference["moved"].get(&parameter.name) {
            let error = difference(&values(value.clone())[..4], &numbers(moved));
            assert!(error < of_training, "{network}, {}: {error}", parameter.name);
        }
    }
}

#[test]
fn resnet_18_is_torchvision_s_forwards_and_backwards() {
    check("resnet-18", TOLERANCE);
}

#[test]
fn resnet_50_is_torchvision_s_forwards_and_backwards() {
    // PyTorch itself is 1.7e-4 away from double precision here, and 8e-6 for ResNet-18.
    check("resnet-50", 1e-3);
}

#[test]
fn pytorch_checkpoints_are_read_plain_and_nested_and_other_files_are_refused() {
    for name in ["plain.pth", "nested.pth"] {
        let named = weights::read(&folder().join(name)).unwrap();
        let (shape, values) = &named["conv1.weight"];
        assert_eq!((&shape[..], values[7]), (&[2, 6][..], 7.0), "{name}");
        assert_eq!(named["half"].1, [1.0, 1.0], "{name}");
        assert!(!named.contains_key("bn1.num_batches_tracked"), "{name}");
    }
    let message = weights::read(&folder().join("reference.json")).unwrap_err();
    assert!(message.contains("not a PyTorch checkpoint"), "{message}");
    let message = weights::read(&folder().join("nothing.pth")).unwrap_err();
    assert!(message.contains("no such file"), "{message}");
}

#[test]
fn weights_written_to_safetensors_come_back_and_those_of_another_network_are_refused() {
    let architecture = |width: usize| {
        let plan = example::plan(&[&format!("network.width={width}")]);
        Architecture::from_settings(plan.settings.table("network"), plan.settings.table("method"), 3)
    };
    let (own, other) = (architecture(4), architecture(8));
    let seed = example::plan(&[]).seed;
    let drawn = Weights::<Flex>::draw(&own, seed, &Default::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let written = || weights::safetensors_bytes(&drawn.named(&own), "a test").unwrap();
    // Two orders of anything in it would be told apart by 20 files in all but one of a million cases.
    assert!((0..20).all(|_| written() == written()), "files of the same weights differ");
    std::fs::write(&path, written()).unwrap();
    let mut read = patterned(&own);
    read.set(&own, &weights::read(&path).unwrap()).unwrap();
    assert_eq!(read.named(&own), drawn.named(&own));
    let mut wider = patterned(&other);
    let message = wider.set(&other, &weights::read(&path).unwrap()).unwrap_err();
    assert!(message.contains("conv1.weight has the shape [4, 3, 3, 3]"), "{message}");
    // Half precision, as checkpoints have it: 1.5 and -2, and integers beside it.
    let tensors = [
        ("a", safetensors::Dtype::F16, vec![0x00u8, 0x3e, 0x00, 0xc0]),
        ("b", safetensors::Dtype::I32, vec![0; 8]),
    ];
    let views = tensors.iter().map(|(name, dtype, bytes)| {
        (*name, safetensors::tensor::TensorView::new(*dtype, vec![2], bytes).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let half = weights::read(&path).unwrap();
    assert_eq!((half.len(), &half["a"].1[..]), (1, &[1.5, -2.0][..]));
    std::fs::write(&path, b"short").unwrap();
    assert!(weights::read(&path).unwrap_err().contains("safetensors"));
}

/// Loss and gradient on one batch, against the engine of linear networks.
#[test]
fn the_loss_is_that_of_linear_networks_with_its_gradient() {
    let (count, dim) = (9, 5);
    let z: Vec<f64> = pattern(2 * count * dim, 7);
    for loss in [true, false].map(|symmetric| InfonceCosine { temperature: 0.2, symmetric }) {
        let mut gradient = vec![0.0; z.len()];
        let evaluation =
            Loss::Cosine(loss).evaluate(&z, dim, Reduction::Mean, &mut Workspace::default(), &mut gradient);
        let side = |part: &[f64]| -> Tensor<Tracked<Flex>, 2> {
            let part: Vec<f32> = part.iter().map(|value| *value as f32).collect();
            Tensor::from_data(TensorData::new(part, [count, dim]), &Default::default()).require_grad()
        };
        let (first, second) = (side(&z[..count * dim]), side(&z[count * dim..]));
        let own = infonce_cosine(loss, first.clone(), second.clone());
        let found = values(own.clone().inner())[0];
        assert!((found - evaluation.loss).abs() < 1e-5 * evaluation.loss, "{found} and {}", evaluation.loss);
        let gradients = own.backward();
        let both = [first, second].map(|leaf| values(leaf.grad(&gradients).unwrap())).concat();
        let error = difference(&both, &gradient);
        assert!(error < 1e-4, "{loss:?}: {error}");
    }
    let zero = Tensor::<Flex, 2>::zeros([2, 3], &Default::default());
    let loss = InfonceCosine { temperature: 0.5, symmetric: true };
    let found = values(infonce_cosine(loss, zero.clone(), zero))[0];
    assert!((found - 2f64.ln()).abs() < 1e-6, "of vectors of length 0: {found}");
}
