//! The gradient of a loss with respect to all parameters: the chain rule from embeddings to layers.
//!
//! It knows the loss and the network and nothing of the theory: the same code differentiates every combination. One thing it makes
//! use of: losses are functions of inner products, so that the gradient at an end-to-end matrix W is -W X, and X costs less than the
//! gradient at all embeddings. Biases are columns of W, for an input of 1. [`referee`] does not know it.

use crate::encoder::{Activations, Map, Network, Output, add_to_columns};
use crate::loss::{Evaluation, Loss, Reduction, Workspace};
use crate::matrix::{Destination, Matrix, View, product};

pub mod referee;

/// A loss of a network, and the memory to differentiate it without allocation.
#[derive(Debug)]
pub struct Objective {
    /// The network.
    pub network: Network,
    /// The loss.
    pub loss: Loss,
    /// Its reduction.
    pub reduction: Reduction,
    activations: Activations,
    workspace: Workspace,
    upstream: Vec<f64>,
    downstream: Vec<f64>,
    /// Whether the last call left its gradient: at the embeddings in `upstream`, or as half of X in `layers`.
    has_gradient: bool,
    /// For linear layers: their products, through which a batch goes in one step.
    layers: Option<LinearLayers>,
    /// Embeddings that came that way.
    embeddings: Vec<f64>,
    /// Whether the last ones did.
    went_at_once: bool,
    /// Whether the gradient that the last call left is half of X.
    knows_x: bool,
}

impl Objective {
    /// The loss `loss` of the embeddings of `network`.
    pub fn new(network: Network, loss: Loss, reduction: Reduction) -> Self {
        let layers = LinearLayers::are_all_of(&network).then(|| LinearLayers::new(&network));
        Objective {
            network,
            layers,
            embeddings: Vec::new(),
            went_at_once: false,
            knows_x: false,
            loss,
            reduction,
            activations: Activations::default(),
            workspace: Workspace::default(),
            upstream: Vec::new(),
            downstream: Vec::new(),
            has_gradient: false,
        }
    }

    /// Loss and gradient at `parameters` for `views` (d x 2N, first views then second); writes the gradient.
    ///
    /// Cost: the loss's, and 6 n Σ d_l d_{l-1} flops for n = 2N columns; 4 n d_L d_0 flops and products of layers where these are
    /// linear and nowhere wider than n, and the loss's is that of [`Loss::half_of_x`] where d_0 < 2 d_L. Allocates
    /// only when the shape changes.
    ///
    /// Errors of -W X are relative to |W| |X|, as is what rounding W x does to the gradient: where W x is much smaller than |W| |x| both
    /// exceed what [`Loss::evaluate`] promises for embeddings that are given.
    pub fn evaluate(&mut self, parameters: &[f64], views: &[f64], gradient: &mut [f64]) -> Evaluation {
        let evaluation = self.value(parameters, views);
        self.pull_back(parameters, views, gradient);
        evaluation
    }

    /// The gradient at the parameters and views that the last call was given, where that was [`Objective::value`]: what
    /// [`Objective::evaluate`] would write, for a third of its cost or less. Elsewhere it writes nothing and returns false.
    pub fn gradient_of_value(&mut self, parameters: &[f64], views: &[f64], gradient: &mut [f64]) -> bool {
        let has_gradient = self.has_gradient;
        if has_gradient {
            self.pull_back(parameters, views, gradient);
        }
        has_gradient
    }

    /// Carries the gradient that the last call left back to the parameters.
    fn pull_back(&mut self, parameters: &[f64], views: &[f64], gradient: &mut [f64]) {
        self.has_gradient = false;
        let n = views.len() / self.network.input_dim();
        if let Some(layers) = self.layers.as_mut().filter(|_| self.knows_x) {
            layers.begin_with_half_of_x();
            layers.pull_back(parameters, gradient);
            return;
        }
        if let Some(layers) = self.layers.as_mut().filter(|_| self.went_at_once) {
            layers.begin_with(&self.upstream, View::new(views, self.network.input_dim(), n));
            layers.pull_back(parameters, gradient);
            return;
        }
        for (index, stage) in self.network.stages().iter().enumerate().rev() {
            let outputs = &self.activations.outputs[index];
            stage.activation.pull_back(outputs, &mut self.upstream);
            let inputs = if index == 0 { views } else { &self.activations.outputs[index - 1] };
            let width = self.network.width_before(index);
            let upstream = View::new(&self.upstream, outputs.len() / n, n);
            match &stage.map {
                Map::Dense { shape, offset } => {
                    let end = offset + shape.rows * shape.columns;
                    let transposed = View::new(inputs, width, n).transpose();
                    product(&mut gradient[*offset..end], Destination::Replace, 1.0, upstream, transposed);
                    if shape.bias {
                        add_up_columns(&self.upstream, &mut gradient[end..end + shape.rows]);
                    }
                    if index > 0 {
                        let weights = View::new(&parameters[*offset..end], shape.rows, shape.columns);
                        self.downstream.resize(width * n, 0.0);
                        product(
                            &mut self.downstream,
                            Destination::Replace,
                            1.0,
                            weights.transpose(),
                            upstream,
                        );
                        std::mem::swap(&mut self.upstream, &mut self.downstream);
                    }
                }
                Map::Fixed(matrix) => {
                    self.downstream.resize(width * n, 0.0);
                    product(
                        &mut self.downstream,
                        Destination::Replace,
                        1.0,
                        View::from(matrix).transpose(),
                        upstream,
                    );
                    std::mem::swap(&mut self.upstream, &mut self.downstream);
                }
                Map::Diagonal { offset, dim } => {
                    let diagonal = &parameters[*offset..offset + dim];
                    let sums = &mut gradient[*offset..offset + dim];
                    sums.fill(0.0);
                    for (column, input) in self.upstream.chunks_exact_mut(*dim).zip(inputs.chunks_exact(*dim))
                    {
                        for k in 0..*dim {
                            sums[k] += column[k] * input[k];
                            column[k] *= diagonal[k];
                        }
                    }
                }
                Map::Keep { kept, width: kept_width } => {
                    self.downstream.resize(width * n, 0.0);
                    let columns = self.downstream.chunks_exact_mut(width);
                    for (to, from) in columns.zip(self.upstream.chunks_exact(*kept_width)) {
                        to[..*kept].copy_from_slice(&from[..*kept]);
                        to[*kept..].fill(0.0);
                    }
                    std::mem::swap(&mut self.upstream, &mut self.downstream);
                }
            }
        }
    }

    /// Computes the embeddings of `views`.
    fn forward(&mut self, parameters: &[f64], views: &[f64]) {
        let d = self.network.input_dim();
        let n = views.len() / d;
        self.went_at_once = self.layers.as_ref().is_some_and(|layers| layers.largest_width() <= n);
        if let Some(layers) = self.layers.as_mut().filter(|_| self.went_at_once) {
            layers.multiply(parameters);
            let (matrix, shift) = layers.total();
            self.embeddings.resize(self.network.embedding_dim() * n, 0.0);
            let views = View::new(views, d, n);
            product(&mut self.embeddings, Destination::Replace, 1.0, matrix, views);
            if let Some(shift) = shift {
                add_to_columns(&mut self.embeddings, shift);
            }
        } else {
            self.network.forward(parameters, views, &mut self.activations);
        }
    }

    /// The loss alone; leaves the embeddings for [`Objective::embeddings`].
    pub fn value(&mut self, parameters: &[f64], views: &[f64]) -> Evaluation {
        self.forward(parameters, views);
        self.has_gradient = true;
        self.knows_x = false;
        let Objective { network, activations, embeddings, workspace, upstream, loss, reduction, .. } = self;
        let (d, dim) = (network.input_dim(), network.embedding_dim());
        // A pair of embeddings costs 2 `dim` sums of weighted values, or `d` of inputs on one side.
        if let Some(layers) = self.layers.as_mut().filter(|_| self.went_at_once && d < 2 * dim) {
            let half = &mut layers.half_of_x;
            if let Some(evaluation) = loss.half_of_x(embeddings, dim, views, *reduction, workspace, half) {
                self.knows_x = true;
                return evaluation;
            }
        }
        let embeddings =
            if self.went_at_once { embeddings } else { network.output(activations, Output::Embedding) };
        upstream.resize(embeddings.len(), 0.0);
        loss.evaluate(embeddings, dim, *reduction, workspace, upstream)
    }

    /// The embeddings (d x 2N) of the last call that was given views.
    pub fn embeddings(&self) -> &[f64] {
        if self.went_at_once {
            &self.embeddings
        } else {
            self.network.output(&self.activations, Output::Embedding)
        }
    }

    /// X with G = -W X at `parameters`, for a linear network without bias (X and the loss follow the reduction).
    pub fn x_matrix(&mut self, parameters: &[f64], views: &[f64]) -> (Matrix, Evaluation) {
        self.has_gradient = false;
        self.forward(parameters, views);
        let Objective { network, activations, embeddings, workspace, .. } = self;
        let embeddings =
            if self.went_at_once { embeddings } else { network.output(activations, Output::Embedding) };
        self.loss.x_matrix(embeddings, network.embedding_dim(), views, self.reduction, workspace)
    }
}

/// Writes the sum of `columns`, each as long as `sum`.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn add_up_columns(columns: &[f64], sum: &mut [f64]) {
    sum.fill(0.0);
    for column in columns.chunks_exact(sum.len()) {
        sum.iter_mut().zip(column).for_each(|(sum, value)| *sum += value);
    }
}

/// Dense linear layers: their products, and the chain rule from the end-to-end matrix to each. Where layers have biases all
/// products have one column more, for an input of 1.
#[derive(Debug)]
struct LinearLayers {
    /// Rows, columns and offset of each, and whether a bias is behind it.
    shapes: Vec<(usize, usize, usize, bool)>,
    /// Columns of the products without that for biases.
    inputs: usize,
    /// W_l … W_1.
    products: Vec<Matrix>,
    /// (W_L … W_{l+1})ᵀ times the gradient at the end-to-end matrix; before the chain rule that gradient itself.
    backward: Vec<f64>,
    scratch: Vec<f64>,
    /// S with the gradient -W (S + Sᵀ) at the end-to-end matrix W. The row for biases, which is zero, is left out.
    half_of_x: Matrix,
}

impl LinearLayers {
    /// Whether `network` consists of such layers alone.
    fn are_all_of(network: &Network) -> bool {
        network.is_affine() && network.dense_layers().count() == network.stages().len()
    }

    /// Those of `network`, which has no other stages.
    fn new(network: &Network) -> Self {
        let shapes: Vec<_> =
            network.dense_layers().map(|(_, s, offset)| (s.rows, s.columns, offset, s.bias)).collect();
        let inputs = network.input_dim();
        let columns = inputs + usize::from(!network.is_linear());
        let products = shapes.iter().map(|&(rows, ..)| Matrix::zeros(rows, columns)).collect();
        let half_of_x = Matrix::zeros(inputs, columns);
        LinearLayers { shapes, inputs, products, backward: Vec::new(), scratch: Vec::new(), half_of_x }
    }

    fn largest_width(&self) -> usize {
        self.shapes.iter().map(|&(rows, columns, ..)| rows.max(columns)).max().unwrap_or(0)
    }

    fn layer<'a>(&self, l: usize, parameters: &'a [f64]) -> View<'a> {
        let (rows, columns, offset, _) = self.shapes[l];
        View::new(&parameters[offset..offset + rows * columns], rows, columns)
    }

    /// Computes the products of all layers.
    fn multiply(&mut self, parameters: &[f64]) {
        for l in 0..self.shapes.len() {
            let (rows, columns, offset, has_bias) = self.shapes[l];
            let layer = self.layer(l, parameters);
            let (before, after) = self.products.split_at_mut(l);
            let after = after[0].as_mut_slice();
            match before.last() {
                Some(before) => product(after, Destination::Replace, 1.0, layer, View::from(before)),
                None => after[..rows * columns].copy_from_slice(&parameters[offset..offset + rows * columns]),
            }
            if has_bias {
                let bias = &parameters[offset + rows * columns..][..rows];
                let shift = &mut after[rows * self.inputs..];
                if l == 0 {
                    shift.copy_from_slice(bias);
                } else {
                    shift.iter_mut().zip(bias).for_each(|(shift, bias)| *shift += bias);
                }
            }
        }
        let total = &self.products[self.shapes.len() - 1];
        self.backward.resize(total.len(), 0.0);
    }

    /// The end-to-end matrix W_L … W_1, and what biases add to its images.
    fn total(&self) -> (View<'_>, Option<&[f64]>) {
        let total = self.products.last().expect("at least one layer");
        let (matrix, shift) = total.as_slice().split_at(total.nrows() * self.inputs);
        (View::new(matrix, total.nrows(), self.inputs), (!shift.is_empty()).then_some(shift))
    }

    /// Writes the gradient at the end-to-end matrix, from that at its images of `views`.
    fn begin_with(&mut self, upstream: &[f64], views: View<'_>) {
        let rows = self.products.last().expect("at least one layer").nrows();
        let (matrix, shift) = self.backward.split_at_mut(rows * self.inputs);
        let upstream_columns = View::new(upstream, rows, upstream.len() / rows);
        product(matrix, Destination::Replace, 1.0, upstream_columns, views.transpose());
        if !shift.is_empty() {
            add_up_columns(upstream, shift);
        }
    }

    /// The same from half of X.
    fn begin_with_half_of_x(&mut self) {
        let LinearLayers { products, backward, half_of_x, inputs, .. } = self;
        let total = products.last().expect("at least one layer");
        let of_inputs = total.nrows() * *inputs;
        let matrix = View::new(&total.as_slice()[..of_inputs], total.nrows(), *inputs);
        let half = View::from(&*half_of_x);
        product(backward, Destination::Replace, -1.0, matrix, half);
        product(&mut backward[..of_inputs], Destination::Add, -1.0, View::from(total), half.transpose());
    }

    /// Carries that gradient back to all layers.
    fn pull_back(&mut self, parameters: &[f64], out: &mut [f64]) {
        let width = self.products[0].ncols();
        for l in (0..self.shapes.len()).rev() {
            let (rows, columns, offset, has_bias) = self.shapes[l];
            let (target, bias) = out[offset..].split_at_mut(rows * columns);
            if has_bias {
                bias[..rows].copy_from_slice(&self.backward[rows * self.inputs..]);
            }
            if l == 0 {
                target.copy_from_slice(&self.backward[..rows * columns]);
            } else {
                let before = View::from(&self.products[l - 1]).transpose();
                let backward = View::new(&self.backward, rows, width);
                product(target, Destination::Replace, 1.0, backward, before);
                let transposed = self.layer(l, parameters).transpose();
                self.scratch.resize(columns * width, 0.0);
                product(&mut self.scratch, Destination::Replace, 1.0, transposed, backward);
                std::mem::swap(&mut self.backward, &mut self.scratch);
            }
        }
    }
}

/// The flow of a linear network under an X that is given, or known as a function of W (Lemma 3 for L = 2):
///
/// ```text
/// Ẇ_l = (W_L … W_{l+1})ᵀ (W X) (W_{l-1} … W_1)ᵀ
/// ```
///
/// The network has dense layers only and no biases. Workspaces live in the value.
#[derive(Debug)]
pub struct GivenXFlow {
    layers: LinearLayers,
}

impl GivenXFlow {
    /// For the dense layers of `network`.
    pub fn new(network: &Network) -> Self {
        assert!(
            network.is_linear() && LinearLayers::are_all_of(network),
            "a flow under a given X has linear layers without biases only"
        );
        GivenXFlow { layers: LinearLayers::new(network) }
    }

    /// Writes the time derivative of all parameters under a fixed X (d x d).
    pub fn derivative(&mut self, parameters: &[f64], x: &Matrix, out: &mut [f64]) {
        let times_x = |total: &Matrix, image: &mut [f64]| {
            product(image, Destination::Replace, 1.0, View::from(total), View::from(x));
        };
        self.derivative_by(parameters, times_x, out);
    }

    /// Writes the time derivative of all parameters, where `times_x` writes W X (p x d) for the product W of all layers.
    pub fn derivative_by(
        &mut self,
        parameters: &[f64],
        times_x: impl FnOnce(&Matrix, &mut [f64]),
        out: &mut [f64],
    ) {
        self.layers.multiply(parameters);
        let LinearLayers { products, backward, .. } = &mut self.layers;
        times_x(products.last().expect("at least one layer"), backward);
        self.layers.pull_back(parameters, out);
    }
}
