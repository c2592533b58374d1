//! The Jacobian of the layer flow under a population loss, by structure.

use crate::matrix::Matrix;

/// The derivative of T = W X(W) (p x d) with respect to W as a sum of products of small matrices, over `direct` pairs (c, b) and
/// `exchange` pairs (a, a'):
///
/// ```text
/// ∂T_ij/∂W_kl = Σ c_ik b_jl + Σ a_il a'_kj
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curvature {
    /// Pairs of p x p and d x d matrices.
    pub direct: Vec<(Matrix, Matrix)>,
    /// Pairs of p x d matrices.
    pub exchange: Vec<(Matrix, Matrix)>,
}

impl Curvature {
    /// Writes the n x n Jacobian of the flow, column-major, over all entries of W_1 … W_L, each layer column by column:
    ///
    /// ```text
    /// Ẇ_l = (W_L … W_{l+1})ᵀ T (W_{l-1} … W_1)ᵀ
    /// ```
    ///
    /// It is minus the Hessian of the loss, and symmetric. `times_x` is T at the layers' product.
    /// Cost: some 10 n² flops for n = Σ d_l d_{l-1}. Panics where the shapes do not chain or `out` has not n² entries.
    pub fn of_layers(&self, layers: &[Matrix], times_x: &Matrix, out: &mut [f64]) {
        let depth = layers.len();
        let sizes: Vec<usize> = layers.iter().map(|w| w.len()).collect();
        let offsets: Vec<usize> =
            sizes.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size))).collect();
        let n: usize = sizes.iter().sum();
        assert_eq!(out.len(), n * n, "a Jacobian of {n} x {n} entries");
        // W = after[l] W_l before[l].
        let mut before = vec![Matrix::identity(layers[0].ncols(), layers[0].ncols())];
        for w in &layers[..depth - 1] {
            before.push(w * &before[before.len() - 1]);
        }
        let last = layers[depth - 1].nrows();
        let mut after = vec![Matrix::identity(last, last)];
        for w in layers[1..].iter().rev() {
            after.push(&after[after.len() - 1] * w);
        }
        after.reverse();
        for l in 0..depth {
            let mut between: Option<Matrix> = None;
            for m in l..depth {
                let mut block = Block::new(&layers[l], &layers[m]);
                for (c, b) in &self.direct {
                    let left = after[l].transpose() * c * &after[m];
                    let right = &before[l] * b * before[m].transpose();
                    block.add_direct(&left, &right);
                }
                for (a, other) in &self.exchange {
                    let left = after[l].transpose() * a * before[m].transpose();
                    let right = after[m].transpose() * other * before[l].transpose();
                    block.add_exchange(&left, &right);
                }
                if m > l {
                    // T held, the factors of the chain rule themselves move.
                    let middle = between.take().unwrap_or_else(|| {
                        let width = layers[l].nrows();
                        Matrix::identity(width, width)
                    });
                    let right = after[m].transpose() * times_x * before[l].transpose();
                    block.add_exchange(&middle.transpose(), &right);
                    between = Some(&layers[m] * middle);
                }
                for column in 0..sizes[m] {
                    for row in 0..sizes[l] {
                        let value = block.values[column * sizes[l] + row];
                        out[(offsets[m] + column) * n + offsets[l] + row] = value;
                        out[(offsets[l] + row) * n + offsets[m] + column] = value;
                    }
                }
            }
        }
    }
}

/// Derivatives of the entries (a, b) of one layer's Ẇ with respect to the entries (p, q) of another layer.
struct Block {
    rows: (usize, usize),
    columns: (usize, usize),
    values: Vec<f64>,
}

impl Block {
    fn new(of: &Matrix, with_respect_to: &Matrix) -> Self {
        let (rows, columns) = (of.shape(), with_respect_to.shape());
        Block { rows, columns, values: vec![0.0; of.len() * with_respect_to.len()] }
    }

    /// Adds left_ap right_bq.
    fn add_direct(&mut self, left: &Matrix, right: &Matrix) {
        self.add(|a, b, p, q| left[(a, p)] * right[(b, q)]);
    }

    /// Adds left_aq right_pb.
    fn add_exchange(&mut self, left: &Matrix, right: &Matrix) {
        self.add(|a, b, p, q| left[(a, q)] * right[(p, b)]);
    }

    #[inline]
    fn add(&mut self, term: impl Fn(usize, usize, usize, usize) -> f64) {
        let mut values = self.values.iter_mut();
        for q in 0..self.columns.1 {
            for p in 0..self.columns.0 {
                for b in 0..self.rows.1 {
                    for (a, value) in (0..self.rows.0).zip(&mut values) {
                        *value += term(a, b, p, q);
                    }
                }
            }
        }
    }
}
