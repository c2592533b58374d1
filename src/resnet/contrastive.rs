//! The loss of real networks: cosine InfoNCE, the same as `loss::InfonceCosine`, on tensors.

use crate::loss::{InfonceCosine, NORM_FLOOR};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The mean over n of -log softmax of the logits u_i·u'_j / τ at the matching pair, for embeddings n x d of both views; where
/// the loss is symmetric, the mean of both directions. Memory: n² logits.
pub fn infonce_cosine<B: Backend>(
    loss: InfonceCosine,
    first: Tensor<B, 2>,
    second: Tensor<B, 2>,
) -> Tensor<B, 1> {
    let (first, second) = (units(first), units(second));
    let matching = (first.clone() * second.clone()).sum_dim(1).div_scalar(loss.temperature);
    let logits = first.matmul(second.transpose()).div_scalar(loss.temperature);
    let forward = (log_sum_exp(logits.clone(), 1) - matching.clone()).mean();
    if !loss.symmetric {
        return forward;
    }
    let backward = (log_sum_exp(logits, 0).transpose() - matching).mean();
    (forward + backward).mul_scalar(0.5)
}

/// Vectors of length 1, but for those that are shorter than the floor.
fn units<B: Backend>(z: Tensor<B, 2>) -> Tensor<B, 2> {
    let squares = (z.clone() * z.clone()).sum_dim(1);
    // The square of the floor is below what a float of 32 bits holds apart from 0, in steps of 1e-45.
    z / squares.clamp_min(NORM_FLOOR * NORM_FLOOR).sqrt()
}

fn log_sum_exp<B: Backend>(logits: Tensor<B, 2>, dim: usize) -> Tensor<B, 2> {
    let largest = logits.clone().detach().max_dim(dim);
    (logits - largest.clone()).exp().sum_dim(dim).log() + largest
}
