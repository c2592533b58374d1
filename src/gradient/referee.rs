//! The same loss written once more, sample by sample in any arithmetic, to judge [`super::Objective`] by.

use crate::encoder::{Activation, Map, Network};
use crate::loss::{Loss, Reduction};
use crate::real::{Dual, Real};

/// The loss of `network` at `parameters` for `views` (d x 2N), by definition. Cost: O(N² d) operations of `R`.
pub fn loss<R: Real>(
    network: &Network,
    loss: &Loss,
    reduction: Reduction,
    parameters: &[R],
    views: &[f64],
) -> R {
    let dim = network.input_dim();
    let images: Vec<Vec<R>> =
        views.chunks_exact(dim).map(|column| embed(network, parameters, column)).collect();
    let (first, second) = images.split_at(images.len() / 2);
    loss.reference(first, second, reduction)
}

/// The derivative of the loss with respect to the parameter of this index, by a dual number.
pub fn derivative<R: Real>(
    network: &Network,
    contrastive: &Loss,
    reduction: Reduction,
    parameters: &[f64],
    views: &[f64],
    index: usize,
) -> R {
    let direction = |k: usize| R::from(if k == index { 1.0 } else { 0.0 });
    let dual: Vec<Dual<R>> = parameters
        .iter()
        .enumerate()
        .map(|(k, &value)| Dual { value: R::from(value), derivative: direction(k) })
        .collect();
    loss(network, contrastive, reduction, &dual, views).derivative
}

fn embed<R: Real>(network: &Network, parameters: &[R], column: &[f64]) -> Vec<R> {
    let mut values: Vec<R> = column.iter().map(|&value| R::from(value)).collect();
    for stage in network.stages() {
        values = match &stage.map {
            Map::Dense { shape, offset } => (0..shape.rows)
                .map(|i| {
                    let end = offset + shape.rows * shape.columns;
                    let bias = if shape.bias { parameters[end + i].clone() } else { R::from(0.0) };
                    values.iter().enumerate().fold(bias, |sum, (j, value)| {
                        sum + parameters[offset + j * shape.rows + i].clone() * value.clone()
                    })
                })
                .collect(),
            Map::Fixed(matrix) => (0..matrix.nrows())
                .map(|i| {
                    values
                        .iter()
                        .enumerate()
                        .fold(R::from(0.0), |sum, (j, value)| sum + R::from(matrix[(i, j)]) * value.clone())
                })
                .collect(),
            Map::Diagonal { offset, .. } => values
                .iter()
                .enumerate()
                .map(|(k, value)| parameters[offset + k].clone() * value.clone())
                .collect(),
            Map::Keep { kept, width } => {
                let mut next = values[..*kept].to_vec();
                next.resize(*width, R::from(0.0));
                next
            }
        };
        for value in &mut values {
            *value = activate(stage.activation, value.clone());
        }
    }
    values
}

fn activate<R: Real>(activation: Activation, value: R) -> R {
    match activation {
        Activation::Linear => value,
        Activation::Relu if value.value() > 0.0 => value,
        Activation::Relu => R::from(0.0),
        Activation::Tanh => {
            let square = (value.clone() + value).exp();
            (square.clone() - R::from(1.0)) / (square + R::from(1.0))
        }
    }
}
