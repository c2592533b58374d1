//! The inner loops of BatchNorm, of convolutions and of their gradients: by operations on tensors where a GPU fuses them, and
//! in loops of our own on the CPU, where broadcasting element by element takes ten times as long as the memory needs.

use super::operations::EPSILON;
use crate::matrix::{Rows, product_of_rows};
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{ActivationOps, ConvOptions, ModuleOps};
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use rayon::prelude::*;
use std::ops::Range;

/// What BatchNorm leaves.
pub struct Normalised<P> {
    /// scale (x - μ) / √(σ² + ε) + shift, n x c x m.
    pub out: P,
    /// (x - μ) / √(σ² + ε), n x c x m.
    pub normalised: P,
    /// scale / √(σ² + ε), c.
    pub factor: P,
    /// μ, c.
    pub mean: P,
    /// σ², c.
    pub variance: P,
}

type Float<B> = <B as burn::tensor::backend::BackendTypes>::FloatTensorPrimitive;

/// A backend with these loops.
pub trait Kernels: Backend {
    /// BatchNorm of x (n x c x m) over n and m.
    fn normalise(x: Float<Self>, scale: Float<Self>, shift: Float<Self>) -> Normalised<Float<Self>> {
        by_operations::normalise::<Self>(x, scale, shift)
    }

    /// The gradients of BatchNorm with respect to x (n x c x m), scale and shift.
    fn normalise_backward(
        grad: Float<Self>,
        normalised: Float<Self>,
        factor: Float<Self>,
    ) -> [Float<Self>; 3] {
        by_operations::normalise_backward::<Self>(grad, normalised, factor)
    }

    /// factor x + offset for every channel of x (n x c x m).
    fn affine(x: Float<Self>, factor: Float<Self>, offset: Float<Self>) -> Float<Self> {
        by_operations::affine::<Self>(x, factor, offset)
    }

    /// The convolution of x (n x c x h x w) with weights (o x c x k x k).
    fn convolve(x: Float<Self>, weight: Float<Self>, options: ConvOptions<2>) -> Float<Self> {
        Self::conv2d(x, weight, None, options)
    }

    /// max(x, 0).
    fn rectify(x: Float<Self>) -> Float<Self> {
        Self::relu(x)
    }

    /// The gradient of [`Kernels::rectify`] by its output.
    fn rectify_backward(out: Float<Self>, grad: Float<Self>) -> Float<Self> {
        Self::relu_backward(out, grad)
    }

    /// The gradient of a convolution with respect to x, which gives the shape.
    fn input_gradient(
        x: Float<Self>,
        weight: Float<Self>,
        grad: Float<Self>,
        options: ConvOptions<2>,
    ) -> Float<Self> {
        Self::conv2d_x_backward(x, weight, grad, options)
    }

    /// The gradient of a convolution with respect to its weights (o x c x k x k), of which `weight` gives the shape.
    fn weight_gradient(
        x: Float<Self>,
        weight: Float<Self>,
        grad: Float<Self>,
        options: ConvOptions<2>,
    ) -> Float<Self> {
        Self::conv2d_weight_backward(x, weight, grad, options)
    }
}

#[cfg(feature = "cuda")]
impl Kernels for burn::backend::Cuda {}

pub(super) fn tensor<B: Backend, const D: usize>(primitive: Float<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

pub(super) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Float<B> {
    tensor.into_primitive().tensor()
}

/// BatchNorm by operations on tensors, for any backend.
mod by_operations {
    use super::{EPSILON, Float, Normalised, primitive, tensor};
    use burn::tensor::Tensor;
    use burn::tensor::backend::Backend;

    /// Sums over all but the channels: n x c x m to 1 x c x 1.
    fn channel_sum<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
        x.sum_dim(2).sum_dim(0)
    }

    /// c to 1 x c x 1.
    fn wide<B: Backend>(value: Float<B>) -> Tensor<B, 3> {
        let value = tensor::<B, 1>(value);
        let channels = value.dims()[0];
        value.reshape([1, channels, 1])
    }

    /// 1 x c x 1 to c.
    fn flat<B: Backend>(value: Tensor<B, 3>) -> Float<B> {
        let channels = value.dims()[1];
        primitive(value.reshape([channels]))
    }

    pub(super) fn normalise<B: Backend>(
        x: Float<B>,
        scale: Float<B>,
        shift: Float<B>,
    ) -> Normalised<Float<B>> {
        let x = tensor::<B, 3>(x);
        let [count, _, length] = x.dims();
        let share = 1.0 / (count * length) as f64;
        let mean = channel_sum(x.clone()).mul_scalar(share);
        let centred = x - mean.clone();
        let variance = channel_sum(centred.clone() * centred.clone()).mul_scalar(share);
        let deviation = variance.clone().add_scalar(EPSILON).sqrt();
        let normalised = centred / deviation.clone();
        let scale = wide::<B>(scale);
        let out = normalised.clone() * scale.clone() + wide::<B>(shift);
        Normalised {
            out: primitive(out),
            normalised: primitive(normalised),
            factor: flat(scale / deviation),
            mean: flat(mean),
            variance: flat(variance),
        }
    }

    pub(super) fn normalise_backward<B: Backend>(
        grad: Float<B>,
        normalised: Float<B>,
        factor: Float<B>,
    ) -> [Float<B>; 3] {
        let (grad, normalised) = (tensor::<B, 3>(grad), tensor::<B, 3>(normalised));
        let [count, _, length] = grad.dims();
        let of_shift = channel_sum(grad.clone());
        let of_scale = channel_sum(grad.clone() * normalised.clone());
        let share = 1.0 / (count * length) as f64;
        let pulled =
            grad - normalised * of_scale.clone().mul_scalar(share) - of_shift.clone().mul_scalar(share);
        [primitive(pulled * wide::<B>(factor)), flat(of_scale), flat(of_shift)]
    }

    pub(super) fn affine<B: Backend>(x: Float<B>, factor: Float<B>, offset: Float<B>) -> Float<B> {
        primitive(tensor::<B, 3>(x) * wide::<B>(factor) + wide::<B>(offset))
    }
}

/// Sum of a plane: eight sums beside each other, so that the compiler makes vectors of them.
fn plane_sum(plane: &[f32], value: impl Fn(usize, f32) -> f32) -> f64 {
    let mut sums = [0.0f32; 8];
    let chunks = plane.chunks_exact(8);
    let rest = plane.len() - chunks.remainder().len();
    for (k, chunk) in chunks.enumerate() {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += value(8 * k + lane, chunk[lane]);
        }
    }
    let tail: f64 = (rest..plane.len()).map(|k| f64::from(value(k, plane[k]))).sum();
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + tail
}

/// For every channel the sum of what `of` gives for its planes; planes come one after the other, c of them a sample.
fn by_channel(planes: usize, channels: usize, of: impl Fn(usize) -> f64 + Sync + Send) -> Vec<f64> {
    let each: Vec<f64> = (0..planes).into_par_iter().with_min_len(channels).map(of).collect();
    let mut sums = vec![0.0; channels];
    each.iter().enumerate().for_each(|(plane, value)| sums[plane % channels] += value);
    sums
}

/// A tensor of these values.
fn of_values(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

fn of_numbers(values: &[f64]) -> FlexTensor {
    of_values(values.iter().map(|value| *value as f32).collect(), &[values.len()])
}

fn dims(tensor: &FlexTensor) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

impl Kernels for Flex {
    fn normalise(x: FlexTensor, scale: FlexTensor, shift: FlexTensor) -> Normalised<FlexTensor> {
        let (x, scale, shift) = (x.to_contiguous(), scale.to_contiguous(), shift.to_contiguous());
        let shape = dims(&x);
        let [count, channels, length] = shape[..] else { unreachable!("BatchNorm is of n x c x m") };
        let (input, scale, shift) = (x.storage::<f32>(), scale.storage::<f32>(), shift.storage::<f32>());
        let plane = |index: usize| &input[index * length..(index + 1) * length];
        let (planes, values) = (count * channels, (count * length) as f64);
        let mean: Vec<f64> = by_channel(planes, channels, |index| plane_sum(plane(index), |_, value| value));
        let mean: Vec<f64> = mean.into_iter().map(|sum| sum / values).collect();
        let variance = by_channel(planes, channels, |index| {
            let mean = mean[index % channels] as f32;
            plane_sum(plane(index), |_, value| (value - mean) * (value - mean))
        });
        let variance: Vec<f64> = variance.into_iter().map(|sum| sum / values).collect();
        let inverse: Vec<f64> = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
        let (mut out, mut normalised) = (vec![0.0f32; input.len()], vec![0.0f32; input.len()]);
        let outputs = out.par_chunks_exact_mut(length).zip(normalised.par_chunks_exact_mut(length));
        outputs.enumerate().with_min_len(channels).for_each(|(index, (out, normalised))| {
            let channel = index % channels;
            let (mean, inverse) = (mean[channel] as f32, inverse[channel] as f32);
            let (scale, shift) = (scale[channel], shift[channel]);
            for ((out, normalised), value) in out.iter_mut().zip(normalised).zip(plane(index)) {
                *normalised = (value - mean) * inverse;
                *out = scale * *normalised + shift;
            }
        });
        let factor: Vec<f64> =
            inverse.iter().zip(scale).map(|(inverse, scale)| inverse * f64::from(*scale)).collect();
        Normalised {
            out: of_values(out, &shape),
            normalised: of_values(normalised, &shape),
            factor: of_numbers(&factor),
            mean: of_numbers(&mean),
            variance: of_numbers(&variance),
        }
    }

    fn normalise_backward(grad: FlexTensor, normalised: FlexTensor, factor: FlexTensor) -> [FlexTensor; 3] {
        let (grad, normalised, factor) =
            (grad.to_contiguous(), normalised.to_contiguous(), factor.to_contiguous());
        let shape = dims(&grad);
        let [count, channels, length] = shape[..] else { unreachable!("BatchNorm is of n x c x m") };
        let (pulls, normal, factor) =
            (grad.storage::<f32>(), normalised.storage::<f32>(), factor.storage::<f32>());
        let part = |index: usize| index * length..(index + 1) * length;
        let of_shift =
            by_channel(count * channels, channels, |index| plane_sum(&pulls[part(index)], |_, value| value));
        let of_scale = by_channel(count * channels, channels, |index| {
            let normal = &normal[part(index)];
            plane_sum(&pulls[part(index)], |k, value| value * normal[k])
        });
        let mut out = vec![0.0f32; pulls.len()];
        let values = (count * length) as f64;
        out.par_chunks_exact_mut(length).enumerate().with_min_len(channels).for_each(|(index, out)| {
            let channel = index % channels;
            let (along, level) = ((of_scale[channel] / values) as f32, (of_shift[channel] / values) as f32);
            let sources = pulls[part(index)].iter().zip(&normal[part(index)]);
            for (out, (pull, normal)) in out.iter_mut().zip(sources) {
                *out = factor[channel] * (pull - normal * along - level);
            }
        });
        [of_values(out, &shape), of_numbers(&of_scale), of_numbers(&of_shift)]
    }

    fn affine(x: FlexTensor, factor: FlexTensor, offset: FlexTensor) -> FlexTensor {
        let (x, factor, offset) = (x.to_contiguous(), factor.to_contiguous(), offset.to_contiguous());
        let shape = dims(&x);
        let [_, channels, length] = shape[..] else { unreachable!("BatchNorm is of n x c x m") };
        let (input, factor, offset) = (x.storage::<f32>(), factor.storage::<f32>(), offset.storage::<f32>());
        let mut out = vec![0.0f32; input.len()];
        let planes = out.par_chunks_exact_mut(length).zip(input.par_chunks_exact(length));
        planes.enumerate().with_min_len(channels).for_each(|(index, (out, plane))| {
            let (factor, offset) = (factor[index % channels], offset[index % channels]);
            out.iter_mut().zip(plane).for_each(|(out, value)| *out = factor * value + offset);
        });
        of_values(out, &shape)
    }

    fn rectify(x: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return Flex::relu(x);
        }
        let x = x.to_contiguous();
        let input = x.storage::<f32>();
        let mut out = vec![0.0f32; input.len()];
        out.par_chunks_mut(PIECE).zip(input.par_chunks(PIECE)).for_each(|(out, input)| {
            out.iter_mut().zip(input).for_each(|(out, value)| *out = value.max(0.0));
        });
        of_values(out, &dims(&x))
    }

    fn rectify_backward(out: FlexTensor, grad: FlexTensor) -> FlexTensor {
        if out.dtype() != DType::F32 {
            return Flex::relu_backward(out, grad);
        }
        let (out, grad) = (out.to_contiguous(), grad.to_contiguous());
        let (out, pulls) = (out.storage::<f32>(), grad.storage::<f32>());
        let mut pulled = vec![0.0f32; pulls.len()];
        let pieces = pulled.par_chunks_mut(PIECE).zip(pulls.par_chunks(PIECE)).zip(out.par_chunks(PIECE));
        pieces.for_each(|((pulled, pulls), out)| {
            // Both values by copy: a load that is only sometimes needed would be a branch, and signs are hard to predict.
            for ((pulled, &pull), &out) in pulled.iter_mut().zip(pulls).zip(out) {
                *pulled = if out > 0.0 { pull } else { 0.0 };
            }
        });
        of_values(pulled, &dims(&grad))
    }

    /// A product for every picture: weights times what each place of the kernel meets.
    fn convolve(x: FlexTensor, weight: FlexTensor, options: ConvOptions<2>) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return Flex::conv2d(x, weight, None, options);
        }
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let Sizes { count, inputs, outputs, window, size, places } = Sizes::of(&x, &weight, &options);
        let (input, weights) = (x.storage::<f32>(), weight.storage::<f32>());
        let mut out = vec![0.0f32; count * outputs * places];
        let shape = [count, outputs, window.outputs.0, window.outputs.1];
        let each =
            out.par_chunks_exact_mut(outputs * places).zip(input.par_chunks_exact(inputs * window.area()));
        if window.keeps_the_size() {
            let by_line = lines_of_kernels(weights);
            each.for_each_init(Vec::new, |met, (out, picture)| {
                meet_lines(met, picture, window.picture);
                for (line, weights) in by_line.iter().enumerate() {
                    let met = of_line(met, line, window.picture, false);
                    product_of_rows(out, line > 0, weights, met, (outputs, 3 * inputs, places));
                }
            });
            return of_values(out, &shape);
        }
        each.for_each_init(Vec::new, |met, (out, picture)| {
            let met = if window.kernel == 1 && window.stride == 1 {
                picture
            } else {
                met.resize(size * places, 0.0);
                window.meet(met, picture);
                &*met
            };
            let met = Rows { values: met, stride: places, is_transposed: false };
            product_of_rows(out, false, weights, met, (outputs, size, places));
        });
        of_values(out, &shape)
    }

    /// A product for every picture: what each place of the kernel gives back to the input that it met.
    fn input_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        options: ConvOptions<2>,
    ) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return Flex::conv2d_x_backward(x, weight, grad, options);
        }
        let (weight, grad) = (weight.to_contiguous(), grad.to_contiguous());
        let Sizes { count, inputs, outputs, window, size, places } = Sizes::of(&x, &weight, &options);
        let (weights, pulls) = (weight.storage::<f32>(), grad.storage::<f32>());
        let by_place: Vec<f32> = (0..size).flat_map(|k| weights[k..].iter().step_by(size).copied()).collect();
        let mut out = vec![0.0f32; count * inputs * window.area()];
        let each =
            out.par_chunks_exact_mut(inputs * window.area()).zip(pulls.par_chunks_exact(outputs * places));
        each.for_each_init(Vec::new, |met, (out, pulls)| {
            met.resize(size * places, 0.0);
            let pulls = Rows { values: pulls, stride: places, is_transposed: false };
            product_of_rows(met, false, &by_place, pulls, (size, outputs, places));
            window.give_back(met, out);
        });
        of_values(out, &dims(&x))
    }

    /// One row of every product is a kernel's place: the input that it meets, times the gradient, summed over pictures and places.
    fn weight_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        options: ConvOptions<2>,
    ) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return Flex::conv2d_weight_backward(x, weight, grad, options);
        }
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let Sizes { count, inputs, outputs, window, size, places } = Sizes::of(&x, &weight, &options);
        let (input, pulls) = (x.storage::<f32>(), grad.storage::<f32>());
        let by_lines = window.keeps_the_size();
        let of_picture = |(mut met, mut sum): (Vec<f32>, Vec<f32>), picture: usize| {
            let length = inputs * window.area();
            let of = &input[picture * length..(picture + 1) * length];
            let pulls = &pulls[picture * outputs * places..(picture + 1) * outputs * places];
            if by_lines {
                meet_lines(&mut met, of, window.picture);
                for (line, sum) in sum.chunks_exact_mut(outputs * 3 * inputs).enumerate() {
                    let met = of_line(&met, line, window.picture, true);
                    product_of_rows(sum, true, pulls, met, (outputs, places, 3 * inputs));
                }
            } else {
                met.resize(size * places, 0.0);
                window.meet(&mut met, of);
                let met = Rows { values: &met, stride: places, is_transposed: true };
                product_of_rows(&mut sum, true, pulls, met, (outputs, places, size));
            }
            (met, sum)
        };
        // Sums over a fixed number of parts, whatever the number of threads, so that results do not depend on it.
        const PARTS: usize = 8;
        let part = count.div_ceil(PARTS);
        let sums: Vec<Vec<f32>> = (0..PARTS)
            .into_par_iter()
            .map(|index| {
                let pictures = (index * part).min(count)..((index + 1) * part).min(count);
                pictures.fold((Vec::new(), vec![0.0; outputs * size]), of_picture).1
            })
            .collect();
        let mut total = vec![0.0f32; outputs * size];
        for sum in sums {
            total.iter_mut().zip(sum).for_each(|(total, part)| *total += part);
        }
        of_values(if by_lines { kernels_of_lines(&total) } else { total }, &dims(&weight))
    }
}

/// Numbers that a thread takes at a time.
const PIECE: usize = 1 << 14;

/// Where a square kernel goes over a picture, and what each of its places meets there.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Height and width of the picture.
    picture: (usize, usize),
    /// Rows and columns of the output.
    outputs: (usize, usize),
    kernel: usize,
    stride: usize,
    padding: usize,
}

/// Sizes of a convolution of x (n x c x h x w) with weights (o x c x k x k).
struct Sizes {
    /// n.
    count: usize,
    /// c.
    inputs: usize,
    /// o.
    outputs: usize,
    window: Window,
    /// c k².
    size: usize,
    /// Outputs of a channel.
    places: usize,
}

impl Sizes {
    fn of(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Self {
        let [outputs, inputs, kernel, _] = dims(weight)[..] else {
            unreachable!("weights are o x c x k x k")
        };
        let [count, _, height, width] = dims(x)[..] else { unreachable!("pictures are n x c x h x w") };
        let window = Window::new((height, width), kernel, options);
        let places = window.outputs.0 * window.outputs.1;
        Sizes { count, inputs, outputs, window, size: inputs * kernel * kernel, places }
    }
}

impl Window {
    fn new(picture: (usize, usize), kernel: usize, options: &ConvOptions<2>) -> Self {
        let (stride, padding) = (options.stride[0], options.padding[0]);
        let out_of = |length: usize| (length + 2 * padding - kernel) / stride + 1;
        Window { picture, outputs: (out_of(picture.0), out_of(picture.1)), kernel, stride, padding }
    }

    /// Numbers of a plane of the picture.
    fn area(&self) -> usize {
        self.picture.0 * self.picture.1
    }

    /// Whether this is a convolution of 3 x 3 whose output is as large as its input.
    fn keeps_the_size(&self) -> bool {
        (self.kernel, self.stride, self.padding) == (3, 1, 1)
    }

    /// The outputs of a line of the picture for which a place of the kernel lies within it.
    fn inside(&self, length: usize, outputs: usize, place: usize) -> Range<usize> {
        let first = self.padding.saturating_sub(place).div_ceil(self.stride).min(outputs);
        let end = (length + self.padding).saturating_sub(place).div_ceil(self.stride);
        first..end.clamp(first, outputs)
    }

    /// For every place of the kernel and row of outputs: where the row begins among what all places meet of a plane, the columns in
    /// which the place lies within the plane, and what it meets in the first of these, every further one a stride behind it.
    fn for_rows(&self, mut of: impl FnMut(usize, Range<usize>, usize)) {
        let ((height, width), (rows, columns)) = (self.picture, self.outputs);
        for place in 0..self.kernel * self.kernel {
            let (down, across) = (place / self.kernel, place % self.kernel);
            let within = (self.inside(height, rows, down), self.inside(width, columns, across));
            for row in 0..rows {
                let inside = if within.0.contains(&row) { within.1.clone() } else { 0..0 };
                let met = |output: usize, place: usize| output * self.stride + place - self.padding;
                let first = match inside.is_empty() {
                    true => 0,
                    false => met(row, down) * width + met(inside.start, across),
                };
                of((place * rows + row) * columns, inside, first);
            }
        }
    }

    /// Writes what every place of the kernel meets of a picture, zeros beyond its edges, a row for each channel and place:
    /// c k² x outputs.
    fn meet(&self, met: &mut [f32], picture: &[f32]) {
        let (area, columns) = (self.area(), self.outputs.1);
        let of_channel = met.chunks_exact_mut(self.kernel * self.kernel * self.outputs.0 * columns);
        for (met, plane) in of_channel.zip(picture.chunks_exact(area)) {
            self.for_rows(|at, inside, first| {
                let row = &mut met[at..at + columns];
                row[..inside.start].fill(0.0);
                row[inside.end..].fill(0.0);
                let (row, source) = (&mut row[inside], &plane[first..]);
                match self.stride {
                    1 => row.copy_from_slice(&source[..row.len()]),
                    2 => every_second(row, source),
                    stride => row.iter_mut().zip(source.iter().step_by(stride)).for_each(|(to, x)| *to = *x),
                }
            });
        }
    }

    /// Adds to every number of a picture what is given for it wherever it is met: the transpose of [`Window::meet`].
    fn give_back(&self, met: &[f32], picture: &mut [f32]) {
        let (area, columns) = (self.area(), self.outputs.1);
        let of_channel = met.chunks_exact(self.kernel * self.kernel * self.outputs.0 * columns);
        for (met, plane) in of_channel.zip(picture.chunks_exact_mut(area)) {
            self.for_rows(|at, inside, first| {
                let row = &met[at + inside.start..at + inside.end];
                let sums = &mut plane[first..];
                match self.stride {
                    2 => add_to_every_second(sums, row),
                    stride => sums.iter_mut().step_by(stride).zip(row).for_each(|(sum, value)| *sum += value),
                }
            });
        }
    }
}

/// Takes every second value, in pairs, of which the compiler makes vectors.
fn every_second(out: &mut [f32], values: &[f32]) {
    let (pairs, rest) = values.as_chunks::<2>();
    out.iter_mut().zip(pairs).for_each(|(out, pair)| *out = pair[0]);
    if let Some(out) = out.get_mut(pairs.len()) {
        *out = rest[0];
    }
}

/// Adds to every second value, in the same way.
fn add_to_every_second(sums: &mut [f32], values: &[f32]) {
    let (pairs, rest) = sums.as_chunks_mut::<2>();
    let count = pairs.len();
    pairs.iter_mut().zip(values).for_each(|(pair, value)| pair[0] += value);
    if let Some(value) = values.get(count) {
        rest[0] += value;
    }
}

/// Weights (o x c x 3 x 3) by the line of the kernel: three times o x 3c.
fn lines_of_kernels(weights: &[f32]) -> [Vec<f32>; 3] {
    std::array::from_fn(|line| {
        weights.chunks_exact(9).flat_map(|kernel| kernel[3 * line..3 * line + 3].iter().copied()).collect()
    })
}

/// The inverse of [`lines_of_kernels`], the three one after the other.
fn kernels_of_lines(lines: &[f32]) -> Vec<f32> {
    let length = lines.len() / 3;
    let at = |k: usize| lines[(k / 3 % 3) * length + k / 9 * 3 + k % 3];
    (0..lines.len()).map(at).collect()
}

/// What a convolution that keeps the size meets of a picture, for each channel and column of the kernel the plane moved by that column,
/// between two lines of zeros: 3c x (h + 2) w. From its first, second and third line on it is what the lines of the kernel meet,
/// so that a third of what all places meet is copied.
fn meet_lines(met: &mut Vec<f32>, picture: &[f32], (height, width): (usize, usize)) {
    let area = height * width;
    // Lines of zeros stay what they are from picture to picture.
    met.resize(picture.len() / area * 3 * (area + 2 * width), 0.0);
    let planes = picture.chunks_exact(area).flat_map(|plane| [plane; 3]);
    for (k, (met, plane)) in met.chunks_exact_mut(area + 2 * width).zip(planes).enumerate() {
        let met = &mut met[width..width + area];
        match k % 3 {
            0 => {
                met[1..].copy_from_slice(&plane[..area - 1]);
                met.iter_mut().step_by(width).for_each(|value| *value = 0.0);
            }
            1 => met.copy_from_slice(plane),
            _ => {
                met[..area - 1].copy_from_slice(&plane[1..]);
                met.iter_mut().skip(width - 1).step_by(width).for_each(|value| *value = 0.0);
            }
        }
    }
}

/// What a line of the kernel meets: 3c x h w.
fn of_line(met: &[f32], line: usize, (height, width): (usize, usize), is_transposed: bool) -> Rows<'_> {
    Rows { values: &met[line * width..], stride: (height + 2) * width, is_transposed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    /// The largest difference relative to the largest value.
    fn difference(a: FlexTensor, b: FlexTensor) -> f32 {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        assert_eq!(dims(&a), dims(&b));
        let (a, b) = (a.storage::<f32>().to_vec(), b.storage::<f32>().to_vec());
        let largest = b.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
    }

    fn random(shape: [usize; 4]) -> FlexTensor {
        primitive(Tensor::<Flex, 4>::random(shape, Distribution::Normal(0.3, 1.0), &Default::default()))
    }

    /// A sum of n terms in floats of 32 bits is known to a few √n roundings.
    const TOLERANCE: f32 = 2e-5;

    #[test]
    fn convolutions_and_their_gradients_are_those_of_the_library_for_all_kernels_and_strides() {
        for (kernel, stride, height, width) in [
            (3, 1, 7, 7),
            (3, 1, 4, 9),
            (3, 1, 9, 1),
            (3, 1, 1, 1),
            (3, 2, 8, 8),
            (3, 2, 7, 7),
            (3, 2, 5, 8),
            (1, 2, 6, 6),
            (1, 1, 5, 5),
            (7, 2, 16, 16),
        ] {
            let padding = kernel / 2;
            let out = |length: usize| (length + 2 * padding - kernel) / stride + 1;
            let (x, weight, grad) = (
                random([11, 3, height, width]),
                random([5, 3, kernel, kernel]),
                random([11, 5, out(height), out(width)]),
            );
            let options = || ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
            let what = format!("kernel {kernel}, stride {stride}, {height} x {width}");
            let error = difference(
                Flex::convolve(x.clone(), weight.clone(), options()),
                Flex::conv2d(x.clone(), weight.clone(), None, options()),
            );
            assert!(error < TOLERANCE, "forward: {what}: {error}");
            let own = Flex::weight_gradient(x.clone(), weight.clone(), grad.clone(), options());
            let library = Flex::conv2d_weight_backward(x.clone(), weight.clone(), grad.clone(), options());
            let error = difference(own, library);
            assert!(error < TOLERANCE, "weights: {what}: {error}");
            let own = Flex::input_gradient(x.clone(), weight.clone(), grad.clone(), options());
            let library = Flex::conv2d_x_backward(x, weight, grad, options());
            let error = difference(own, library);
            assert!(error < TOLERANCE, "input: {what}: {error}");
        }
    }

    #[test]
    fn batch_norm_in_loops_is_batch_norm_by_operations() {
        for length in [1, 7, 64] {
            let wide = || random([13, 5, length, 1]).reshape([13, 5, length].into());
            let narrow = || random([1, 5, 1, 1]).reshape([5].into());
            let (x, scale, shift, grad) = (wide(), narrow(), narrow(), wide());
            let own = Flex::normalise(x.clone(), scale.clone(), shift.clone());
            let other = by_operations::normalise::<Flex>(x.clone(), scale.clone(), shift.clone());
            let [of_x, of_scale, of_shift] =
                Flex::normalise_backward(grad.clone(), own.normalised.clone(), own.factor.clone());
            let [to_x, to_scale, to_shift] =
                by_operations::normalise_backward::<Flex>(grad, own.normalised.clone(), own.factor.clone());
            let affine = Flex::affine(x.clone(), scale.clone(), shift.clone());
            for (name, own, other) in [
                ("out", own.out, other.out),
                ("normalised", own.normalised, other.normalised),
                ("factor", own.factor, other.factor),
                ("mean", own.mean, other.mean),
                ("variance", own.variance, other.variance),
                ("gradient of x", of_x, to_x),
                ("gradient of the scale", of_scale, to_scale),
                ("gradient of the shift", of_shift, to_shift),
                ("affine", affine, by_operations::affine::<Flex>(x, scale, shift)),
            ] {
                let error = difference(own, other);
                assert!(error < TOLERANCE, "{name} of length {length}: {error}");
            }
        }
    }
}
