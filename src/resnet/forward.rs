//! From pictures to representations and embeddings.

use super::architecture::{Architecture, Convolution, Layer, Norm, Projector};
use super::kernels::Kernels;
use super::operations::{EPSILON, Moments, Tracked, affine, batch_norm, convolution, rectify};
use super::weights::Weights;
use burn::tensor::module::max_pool2d;
use burn::tensor::{FloatDType, Int, Tensor};

/// Which statistics a BatchNorm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those of the batch, which also move the running ones.
    Training,
    /// The running ones; gradients do not pass.
    Evaluation,
}

/// Share of the batch's statistics in the running ones, as in the usual frameworks.
const MOMENTUM: f64 = 0.1;

/// One or more passes through a network with the same weights.
pub struct Pass<'a, B: Kernels> {
    architecture: &'a Architecture,
    /// The weights as leaves of what is tracked.
    pub leaves: Vec<Tensor<Tracked<B>, 1>>,
    mode: Mode,
    precision: FloatDType,
    /// The running statistics after all passes, by the index of the parameter.
    moved: Vec<Option<Tensor<B, 1>>>,
}

/// What a pass through the network leaves.
pub struct Taps<B: Kernels> {
    /// r, n x d.
    pub representation: Tensor<Tracked<B>, 2>,
    /// What enters the last residual block, n x c x h x w.
    pub last_block_input: Tensor<Tracked<B>, 4>,
}

impl<'a, B: Kernels> Pass<'a, B> {
    /// Passes with `weights`; where `is_tracked`, gradients with respect to them can be asked for.
    pub fn new(
        architecture: &'a Architecture,
        weights: &Weights<B>,
        mode: Mode,
        precision: FloatDType,
        is_tracked: bool,
    ) -> Pass<'a, B> {
        let leaf = |(parameter, value): (&super::architecture::Parameter, &Tensor<B, 1>)| {
            let leaf = Tensor::from_inner(value.clone());
            if is_tracked && parameter.role.is_trained() { leaf.require_grad() } else { leaf }
        };
        let leaves = architecture.parameters.iter().zip(&weights.values).map(leaf).collect();
        let moved = vec![None; architecture.parameters.len()];
        Pass { architecture, leaves, mode, precision, moved }
    }

    /// Gives the running statistics as the passes have moved them to `weights`.
    pub fn keep_statistics(self, weights: &mut Weights<B>) {
        for (value, moved) in weights.values.iter_mut().zip(self.moved) {
            if let Some(moved) = moved {
                *value = moved;
            }
        }
    }

    /// Pictures (n x c x h x w, normalised) to representations.
    pub fn network(&mut self, pictures: Tensor<B, 4>) -> Taps<B> {
        self.network_of(Tensor::from_inner(pictures), false)
    }

    /// The same, where `is_split` with what enters the last block as a leaf of its own, to which a gradient can be asked for.
    pub fn network_of(&mut self, pictures: Tensor<Tracked<B>, 4>, is_split: bool) -> Taps<B> {
        let architecture = self.architecture;
        let mut x = self.layer(pictures.cast(self.precision), architecture.stem);
        x = rectify(x);
        if architecture.pool {
            x = max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], false);
        }
        let mut last_block_input = x.clone();
        for (index, block) in architecture.blocks.iter().enumerate() {
            if index + 1 == architecture.blocks.len() {
                if is_split {
                    x = Tensor::from_inner(x.inner()).require_grad();
                }
                last_block_input = x.clone();
            }
            let around = match block.shortcut {
                Some(shortcut) => self.layer(x.clone(), shortcut),
                None => x.clone(),
            };
            for (step, &layer) in block.branch.iter().enumerate() {
                x = self.layer(x, layer);
                if step + 1 < block.branch.len() {
                    x = rectify(x);
                }
            }
            x = rectify(x + around);
        }
        let [count, channels, height, width] = x.dims();
        let flat = x.cast(FloatDType::F32).reshape([count, channels, height * width]);
        let representation = flat.mean_dim(2).reshape([count, channels]);
        Taps { representation, last_block_input }
    }

    /// Representations (n x d) to embeddings; `chosen` are the coordinates of [`Projector::Random`] in this step.
    pub fn projector(&mut self, r: Tensor<Tracked<B>, 2>, chosen: Option<&[usize]>) -> Tensor<Tracked<B>, 2> {
        let [count, dim] = r.dims();
        match &self.architecture.projector {
            Projector::None => r,
            Projector::Linear(weight) => self.linear(r, *weight),
            Projector::Diagonal(weight) => r * self.leaves[*weight].clone().reshape([1, dim]),
            Projector::First(d0) => r.slice([0..count, 0..*d0]),
            Projector::Masked(d0) => {
                let device = r.device();
                let kept = r.slice([0..count, 0..*d0]);
                Tensor::cat(vec![kept, Tensor::zeros([count, dim - d0], &device)], 1)
            }
            Projector::Random(_) => match chosen {
                Some(chosen) => {
                    let indices: Vec<i32> = chosen.iter().map(|&index| index as i32).collect();
                    let device = r.device();
                    r.select(1, Tensor::<Tracked<B>, 1, Int>::from_ints(indices.as_slice(), &device))
                }
                None => r,
            },
            Projector::Nonlinear([(first, norm), (second, last)]) => {
                let (first, norm, second, last) = (*first, *norm, *second, *last);
                let hidden = self.linear(r, first);
                let hidden = self.norm_of_vectors(hidden, norm);
                let out = self.linear(rectify(hidden), second);
                self.norm_of_vectors(out, last)
            }
        }
    }

    fn weight<const D: usize>(&self, index: usize) -> Tensor<Tracked<B>, D> {
        let shape: [usize; D] =
            self.architecture.parameters[index].shape.clone().try_into().expect("its own shape");
        self.leaves[index].clone().reshape(shape)
    }

    fn linear(&self, x: Tensor<Tracked<B>, 2>, weight: usize) -> Tensor<Tracked<B>, 2> {
        x.matmul(self.weight::<2>(weight).transpose())
    }

    fn layer(&mut self, x: Tensor<Tracked<B>, 4>, (layer, norm): Layer) -> Tensor<Tracked<B>, 4> {
        let Convolution { weight, stride, padding } = layer;
        let weight = self.weight::<4>(weight).cast(self.precision);
        let x = convolution(x, weight, stride, padding);
        self.norm(x.cast(FloatDType::F32), norm).cast(self.precision)
    }

    fn norm_of_vectors(&mut self, x: Tensor<Tracked<B>, 2>, norm: Norm) -> Tensor<Tracked<B>, 2> {
        let [count, dim] = x.dims();
        self.norm(x.reshape([count, dim, 1, 1]), norm).reshape([count, dim])
    }

    fn norm(&mut self, x: Tensor<Tracked<B>, 4>, norm: Norm) -> Tensor<Tracked<B>, 4> {
        let (scale, shift) = (self.leaves[norm.scale].clone(), self.leaves[norm.shift].clone());
        if self.mode == Mode::Training {
            let (out, moments) = batch_norm(x, scale, shift);
            self.move_statistics(norm, moments);
            return out;
        }
        let of = |index: usize| self.leaves[index].clone().inner();
        let factor = scale.inner() / of(norm.variance).add_scalar(EPSILON).sqrt();
        let offset = shift.inner() - of(norm.mean) * factor.clone();
        Tensor::from_inner(affine(x.inner(), factor, offset))
    }

    fn move_statistics(&mut self, norm: Norm, moments: Moments<B>) {
        // The running variance is that of a population of which the batch is a sample.
        let unbiased = moments.count as f64 / (moments.count as f64 - 1.0).max(1.0);
        for (index, value) in
            [(norm.mean, moments.mean), (norm.variance, moments.variance.mul_scalar(unbiased))]
        {
            let before = self.moved[index].take().unwrap_or_else(|| self.leaves[index].clone().inner());
            self.moved[index] = Some(before.mul_scalar(1.0 - MOMENTUM) + value.mul_scalar(MOMENTUM));
        }
    }
}
