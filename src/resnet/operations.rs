//! Convolution and BatchNorm with gradients of their own, of which the automatic ones would take several times as long.

use super::kernels::{Kernels, primitive, tensor};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

/// The backend that keeps track of what is computed.
pub type Tracked<B> = burn::backend::Autodiff<B>;

/// What a variance is raised by before its root is taken, as the usual frameworks do.
pub const EPSILON: f64 = 1e-5;

#[derive(Clone, Copy, Debug)]
struct Convolve;

#[derive(Clone, Copy, Debug)]
struct Geometry {
    stride: usize,
    padding: usize,
}

impl Geometry {
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1)
    }
}

impl<B: Kernels> Backward<B, 2> for Convolve {
    type State = (NodeId, NodeId, Geometry);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [input, weight] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (x, w, geometry) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
        let w = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(w);
        if let Some(node) = weight {
            let of_weight = B::weight_gradient(x.clone(), w.clone(), grad.clone(), geometry.options());
            grads.register::<B>(node.id, of_weight);
        }
        if let Some(node) = input {
            let kernel = tensor::<B, 4>(w.clone()).dims()[2];
            let of_input = if geometry.stride == 1 && 2 * geometry.padding + 1 == kernel {
                // The transpose of a convolution that keeps the size is one with the kernel turned around.
                let turned = tensor::<B, 4>(w).flip([2, 3]).swap_dims(0, 1);
                B::convolve(grad, primitive(turned), geometry.options())
            } else {
                B::input_gradient(x, w, grad, geometry.options())
            };
            grads.register::<B>(node.id, of_input);
        }
    }
}

/// The convolution of pictures (n x c x h x w) with weights (o x c x k x k), without bias. Cost: 2 n o c k² h w / stride² flops,
/// and twice as many for its gradients.
pub fn convolution<B: Kernels>(
    x: Tensor<Tracked<B>, 4>,
    weight: Tensor<Tracked<B>, 4>,
    stride: usize,
    padding: usize,
) -> Tensor<Tracked<B>, 4> {
    let geometry = Geometry { stride, padding };
    let (x, weight) = (primitive(x), primitive(weight));
    let out = |x: B::FloatTensorPrimitive, w: B::FloatTensorPrimitive| B::convolve(x, w, geometry.options());
    let prepared =
        Backward::<B, 2>::prepare::<NoCheckpointing>(Convolve, [x.node.clone(), weight.node.clone()]);
    tensor(match prepared.compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            let state = (prepared.checkpoint(&x), prepared.checkpoint(&weight), geometry);
            prepared.finish(state, out(x.primitive, weight.primitive))
        }
        OpsKind::UnTracked(prepared) => prepared.finish(out(x.primitive, weight.primitive)),
    })
}

#[derive(Clone, Copy, Debug)]
struct Normalise;

impl<B: Kernels> Backward<B, 3> for Normalise {
    /// The normalised input (n x c x hw), and scale / σ (c).
    type State = (B::FloatTensorPrimitive, B::FloatTensorPrimitive);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = tensor::<B, 4>(grads.consume::<B>(&ops.node));
        let shape = grad.dims();
        let [count, channels, height, width] = shape;
        let grad = primitive(grad.reshape([count, channels, height * width]));
        let (normalised, factor) = ops.state;
        let [of_x, of_scale, of_shift] = B::normalise_backward(grad, normalised, factor);
        let of_x = primitive(tensor::<B, 3>(of_x).reshape(shape));
        for (node, gradient) in ops.parents.into_iter().zip([of_x, of_scale, of_shift]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rectify;

impl<B: Kernels> Backward<B, 1> for Rectify {
    /// The output.
    type State = B::FloatTensorPrimitive;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [input] = ops.parents;
        if let Some(node) = input {
            grads.register::<B>(node.id, B::rectify_backward(ops.state, grad));
        }
    }
}

/// max(x, 0).
pub fn rectify<B: Kernels, const D: usize>(x: Tensor<Tracked<B>, D>) -> Tensor<Tracked<B>, D> {
    let x = primitive(x);
    let prepared = Backward::<B, 1>::prepare::<NoCheckpointing>(Rectify, [x.node.clone()]);
    let out = B::rectify(x.primitive);
    tensor(match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(out.clone(), out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    })
}

/// Means and variances (divided by the number of values) of the channels of what was normalised.
#[derive(Clone, Debug)]
pub struct Moments<B: Kernels> {
    /// Mean, c.
    pub mean: Tensor<B, 1>,
    /// Variance, c.
    pub variance: Tensor<B, 1>,
    /// Values a channel.
    pub count: usize,
}

/// BatchNorm with the statistics of the batch itself: scale (x - μ) / √(σ² + [`EPSILON`]) + shift for every channel of
/// n x c x h x w.
pub fn batch_norm<B: Kernels>(
    x: Tensor<Tracked<B>, 4>,
    scale: Tensor<Tracked<B>, 1>,
    shift: Tensor<Tracked<B>, 1>,
) -> (Tensor<Tracked<B>, 4>, Moments<B>) {
    let shape = x.dims();
    let [count, channels, height, width] = shape;
    let (x, scale, shift) = (primitive(x), primitive(scale), primitive(shift));
    let flat = B::float_reshape(x.primitive, [count, channels, height * width].into());
    let of = B::normalise(flat, scale.primitive, shift.primitive);
    let out = primitive(tensor::<B, 3>(of.out).reshape(shape));
    let prepared = Backward::<B, 3>::prepare::<NoCheckpointing>(
        Normalise,
        [x.node.clone(), scale.node.clone(), shift.node.clone()],
    );
    let out = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((of.normalised, of.factor), out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    };
    let moments =
        Moments { mean: tensor(of.mean), variance: tensor(of.variance), count: count * height * width };
    (tensor(out), moments)
}

/// factor x + offset for every channel of n x c x h x w: BatchNorm with given statistics. Nothing is tracked.
pub fn affine<B: Kernels>(x: Tensor<B, 4>, factor: Tensor<B, 1>, offset: Tensor<B, 1>) -> Tensor<B, 4> {
    let shape = x.dims();
    let [count, channels, height, width] = shape;
    let flat = primitive(x.reshape([count, channels, height * width]));
    tensor::<B, 3>(B::affine(flat, primitive(factor), primitive(offset))).reshape(shape)
}
