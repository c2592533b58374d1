//! Losses in the limit of infinitely many samples: loss, gradient and X as functions of the end-to-end matrix alone.
//!
//! x is Gaussian and the noise is; W is fixed while N → ∞. A Gaussian tilted by a Gaussian kernel is Gaussian, hence closed
//! forms. Everything is per sample (X/N, L/N). Derived in `paper_notes.md`, "Beyond the paper".

use super::ViewCovariances;
use super::curvature::Curvature;
use crate::loss::Loss;
use crate::matrix::{Destination, Matrix, PositiveInverse, View, product};
use crate::real::Real;

/// Why a loss has no population limit here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLimit {
    /// The cosine loss: the expectation over angles of a Gaussian has no closed form.
    Cosine,
    /// The 1/N term of the dot product exists only for small weights.
    CorrectionOfDot,
}

impl std::fmt::Display for NoLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoLimit::Cosine => write!(f, "the cosine loss of Gaussian samples has no closed form"),
            NoLimit::CorrectionOfDot => {
                write!(f, "the 1/N term of the dot product is infinite unless the weights are small")
            }
        }
    }
}

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Eq. 2.
    Euclidean,
    /// The released code's, with its temperature.
    Dot { temperature: f64 },
}

/// A loss of infinitely many Gaussian samples, and the memory to differentiate it.
///
/// With M = WᵀW, Σ_v = F Fᵀ the covariance of the first view, K = W F and S = (I + KᵀK)⁻¹:
///
/// ```text
/// Eq. 2:        P = (Σ_v⁻¹ + M)⁻¹ = F S Fᵀ
///               X = P + P Σ_v⁻¹ P - Σ_δ = F (S + S²) Fᵀ - Σ_δ
///               L = lim (L_N/N - log N) = ½ tr(M Σ_δ) - ½ log det(I + KᵀK) - ½ tr(KᵀK S)
///
/// Dot product:  X = 2 Σ/τ - (Σ_2 M Σ_1 + Σ_1 M Σ_2)/τ²
///               L = -tr(M Σ)/τ + tr(M Σ_1 M Σ_2)/(2 τ²)
/// ```
///
/// The gradient with respect to W is -W X. No inverse of a covariance is taken: singular ones are fine.
#[derive(Debug)]
pub struct Population {
    kind: Kind,
    views: ViewCovariances,
    difference: Matrix,
    second: Matrix,
    times_factor: RightFactor,
    times_difference: RightFactor,
    /// Batch size whose 1/B term is added; none in the limit itself.
    batch: Option<f64>,
    buffers: Buffers,
}

/// A d x r matrix to multiply by from the right, which costs nothing where it is diagonal.
#[derive(Debug)]
enum RightFactor {
    Diagonal(Vec<f64>),
    Full(Matrix),
}

impl RightFactor {
    fn new(matrix: &Matrix) -> Self {
        let off_diagonal = || (0..matrix.ncols()).flat_map(|j| (0..matrix.nrows()).map(move |i| (i, j)));
        if matrix.is_square() && off_diagonal().all(|(i, j)| i == j || matrix[(i, j)] == 0.0) {
            RightFactor::Diagonal((0..matrix.nrows()).map(|k| matrix[(k, k)]).collect())
        } else {
            RightFactor::Full(matrix.clone())
        }
    }

    /// Writes `scale` times `from` (p rows) times the matrix, or its transpose, to `out`, or adds it.
    fn apply(
        &self,
        out: &mut [f64],
        how: Destination,
        scale: f64,
        from: &[f64],
        rows: usize,
        transposed: bool,
    ) {
        match self {
            RightFactor::Diagonal(diagonal) => {
                for ((out, from), factor) in
                    out.chunks_exact_mut(rows).zip(from.chunks_exact(rows)).zip(diagonal)
                {
                    let factor = scale * factor;
                    match how {
                        Destination::Replace => out.iter_mut().zip(from).for_each(|(o, x)| *o = factor * x),
                        Destination::Add => out.iter_mut().zip(from).for_each(|(o, x)| *o += factor * x),
                    }
                }
            }
            RightFactor::Full(matrix) => {
                let view = View::from(matrix);
                let view = if transposed { view.transpose() } else { view };
                product(out, how, scale, View::new(from, rows, from.len() / rows), view);
            }
        }
    }
}

/// Memory for one shape of W.
#[derive(Debug)]
struct Buffers {
    rows: usize,
    image: Vec<f64>,
    gram: Vec<f64>,
    inverse: Vec<f64>,
    once: Vec<f64>,
    twice: Vec<f64>,
    solver: PositiveInverse,
}

impl Buffers {
    fn new(rows: usize, columns: usize) -> Self {
        let side = rows.min(columns);
        let images = vec![0.0; rows * columns];
        Buffers {
            rows,
            image: images.clone(),
            gram: vec![0.0; side * side],
            inverse: vec![0.0; side * side],
            once: images.clone(),
            twice: images,
            solver: PositiveInverse::new(side),
        }
    }
}

impl Population {
    /// The limit of `loss` for these covariances.
    pub fn new(loss: &Loss, views: ViewCovariances) -> Result<Self, NoLimit> {
        let kind = match loss {
            Loss::Euclidean(_) => Kind::Euclidean,
            Loss::Dot(loss) => Kind::Dot { temperature: loss.temperature },
            Loss::Cosine(_) => return Err(NoLimit::Cosine),
        };
        let (difference, second) = (views.difference(), views.second());
        let buffers = Buffers::new(1, views.first_factor().ncols());
        let times_factor = RightFactor::new(views.first_factor());
        let times_difference = RightFactor::new(&difference);
        Ok(Population {
            kind,
            views,
            difference,
            second,
            times_factor,
            times_difference,
            batch: None,
            buffers,
        })
    }

    /// The expected loss of a fresh batch of `batch` samples to order 1/B, instead of the limit B → ∞ (Eq. 2 only).
    ///
    /// The term is (g - ½ - ½ h)/B with g as [`Population::pair_weight`] and h = E k₂/Z² =
    /// det(I + Σ_v M)^{3/2} / det(I + 3 Σ_v M)^{1/2}; it is a small correction only where B ≫ g and B ≫ h.
    pub fn with_batch(mut self, batch: f64) -> Result<Self, NoLimit> {
        match self.kind {
            Kind::Euclidean => {
                self.batch = Some(batch);
                Ok(self)
            }
            Kind::Dot { .. } => Err(NoLimit::CorrectionOfDot),
        }
    }

    /// The covariances.
    pub fn views(&self) -> &ViewCovariances {
        &self.views
    }

    /// Writes W X (p x d) for W = `w` (p x d).
    ///
    /// Cost: O(p d²). Where W is so large that the Gram matrix overflows, the result is not finite.
    pub fn times_x(&mut self, w: &Matrix, out: &mut [f64]) {
        let rows = w.nrows();
        match self.kind {
            Kind::Euclidean => {
                let columns = self.views.first_factor().ncols();
                if self.buffers.rows != rows {
                    self.buffers = Buffers::new(rows, columns);
                }
                let buffers = &mut self.buffers;
                self.times_factor.apply(
                    &mut buffers.image,
                    Destination::Replace,
                    1.0,
                    w.as_slice(),
                    rows,
                    false,
                );
                let image = View::new(&buffers.image, rows, columns);
                // (I + K Kᵀ)⁻¹ K = K (I + Kᵀ K)⁻¹: the smaller of the two is inverted.
                let wide = rows <= columns;
                let (a, b) = if wide { (image, image.transpose()) } else { (image.transpose(), image) };
                product(&mut buffers.gram, Destination::Replace, 1.0, a, b);
                let side = rows.min(columns);
                for k in 0..side {
                    buffers.gram[k * side + k] += 1.0;
                }
                if buffers.solver.invert(&mut buffers.gram, &mut buffers.inverse).is_none() {
                    out.fill(f64::NAN);
                    return;
                }
                let inverse = View::new(&buffers.inverse, side, side);
                let shrink = |from: View<'_>, to: &mut [f64]| {
                    let (a, b) = if wide { (inverse, from) } else { (from, inverse) };
                    product(to, Destination::Replace, 1.0, a, b);
                };
                shrink(image, &mut buffers.once);
                shrink(View::new(&buffers.once, rows, columns), &mut buffers.twice);
                buffers.twice.iter_mut().zip(&buffers.once).for_each(|(sum, term)| *sum += term);
                self.times_factor.apply(out, Destination::Replace, 1.0, &buffers.twice, rows, true);
                self.times_difference.apply(out, Destination::Add, -1.0, w.as_slice(), rows, false);
                if let Some(batch) = self.batch {
                    let correction = self.correction(w).1;
                    product(out, Destination::Add, 1.0 / batch, View::from(w), View::from(&correction));
                }
            }
            Kind::Dot { temperature } => {
                let x = dot_x(&(w.transpose() * w), &self.views, &self.second, temperature);
                product(out, Destination::Replace, 1.0, View::from(w), View::from(&x));
            }
        }
    }

    /// X (d x d) with gradient -W X at W = `w` (p x d).
    pub fn x(&mut self, w: &Matrix) -> Matrix {
        match self.kind {
            Kind::Euclidean => {
                let (p, p_squared) = self.neighbours(w);
                let mut x = p + p_squared - &self.difference;
                if let Some(batch) = self.batch {
                    x += self.correction(w).1 / batch;
                }
                x
            }
            Kind::Dot { temperature } => dot_x(&(w.transpose() * w), &self.views, &self.second, temperature),
        }
    }

    /// P = F S Fᵀ, the covariance of a sample's softmax-weighted neighbours, and P Σ_v⁻¹ P = F S² Fᵀ (both d x d).
    fn neighbours(&self, w: &Matrix) -> (Matrix, Matrix) {
        let factor = self.views.first_factor();
        let Some((s, _)) = inverse_of_gram(&(w * factor), 1.0) else {
            let nan = Matrix::from_element(w.ncols(), w.ncols(), f64::NAN);
            return (nan.clone(), nan);
        };
        let half = factor * s;
        (&half * factor.transpose(), &half * half.transpose())
    }

    /// The loss at W = `w` (p x d): L_N/N - log N as N → ∞, in nats.
    pub fn loss(&self, w: &Matrix) -> f64 {
        match self.kind {
            Kind::Euclidean => {
                let image = w * self.views.first_factor();
                let Some((s, log_determinant)) = inverse_of_gram(&image, 1.0) else { return f64::NAN };
                let noise = (w * &self.difference).dot(w);
                // tr(KᵀK S), without the cancellation of tr(I - S) for small K.
                let shrunk = (&image * s).dot(&image);
                let limit = 0.5 * (noise - log_determinant - shrunk);
                limit + self.batch.map_or(0.0, |batch| self.correction(w).0 / batch)
            }
            Kind::Dot { temperature } => {
                let data = (w * self.views.data()).dot(w);
                let (first, second) =
                    (w * self.views.first() * w.transpose(), w * &self.second * w.transpose());
                -data / temperature + first.dot(&second) / (2.0 * temperature * temperature)
            }
        }
    }

    /// How many samples a batch needs at least for the limit to describe it: max(g, h), with g as
    /// [`Population::pair_weight`] and h = E k₂/Z², the mean square of the softmax kernel over the square of its mean.
    ///
    /// ```text
    /// Eq. 2:        h = det(I + Σ_v M)^{3/2} / det(I + 3 Σ_v M)^{1/2}
    /// Dot product:  h = det(I - 2 S_1 S_2/τ²)^{-1/2},  S = W Σ Wᵀ of both views
    /// ```
    ///
    /// The latter is infinite from 2 S_1 S_2 = τ² on in any direction.
    pub fn samples_needed(&self, w: &Matrix) -> f64 {
        let spread = match self.kind {
            Kind::Euclidean => {
                let image = w * self.views.first_factor();
                match (inverse_of_gram(&image, 1.0), inverse_of_gram(&image, 3.0)) {
                    (Some((_, once)), Some((_, thrice))) => (1.5 * once - 0.5 * thrice).exp(),
                    _ => f64::NAN,
                }
            }
            Kind::Dot { temperature } => {
                let first = w * self.views.first() * w.transpose();
                let second = w * &self.second * w.transpose();
                gaussian_integral(&first, &(second * (2.0 / (temperature * temperature))))
            }
        };
        self.pair_weight(w).max(spread)
    }

    /// g = lim N E α_ii, how much more a sample weighs its own second view than a stranger; 1 at W = 0.
    ///
    /// ```text
    /// Eq. 2:        g = det(I + Σ_v M) / det(I + Σ_a M)^q,  q = ½ for one-sided noise and 1 for two-sided
    /// Dot product:  the Gaussian integral of exp(z·z'/τ)/Z over both views; infinite where that diverges
    /// ```
    ///
    /// The limit describes N samples only where N ≫ g. Cost: O(d³).
    pub fn pair_weight(&self, w: &Matrix) -> f64 {
        match self.kind {
            Kind::Euclidean => {
                let data = inverse_of_gram(&(w * self.views.first_factor()), 1.0);
                let noise = inverse_of_gram(&(w * self.views.noise_factor()), 1.0);
                match (data, noise) {
                    (Some((_, data)), Some((_, noise))) => (data - 0.5 * self.views.draws() * noise).exp(),
                    _ => f64::NAN,
                }
            }
            Kind::Dot { temperature } => self.dot_pair_weight(w, temperature),
        }
    }

    /// E exp(z·z'/τ - ½ zᵀ S_2 z/τ²) over z = W x_1, z' = W x_2 with Cov z' = S_2: given z, z' is normal.
    fn dot_pair_weight(&self, w: &Matrix, temperature: f64) -> f64 {
        let rows = w.nrows();
        let sandwich = |middle: &Matrix| w * middle * w.transpose();
        let (first, second) = (sandwich(self.views.first()), sandwich(&self.second));
        let cross = sandwich(self.views.data());
        // E = det(I - C Q)^{-1/2} for a joint normal of covariance C and exponent ½ (z, z')ᵀ Q (z, z').
        let mut joint = Matrix::zeros(2 * rows, 2 * rows);
        joint.view_mut((0, 0), (rows, rows)).copy_from(&first);
        joint.view_mut((0, rows), (rows, rows)).copy_from(&cross);
        joint.view_mut((rows, 0), (rows, rows)).copy_from(&cross.transpose());
        joint.view_mut((rows, rows), (rows, rows)).copy_from(&second);
        let mut exponent = Matrix::zeros(2 * rows, 2 * rows);
        exponent.view_mut((0, 0), (rows, rows)).copy_from(&(second / -(temperature * temperature)));
        for k in 0..rows {
            exponent[(k, rows + k)] = 1.0 / temperature;
            exponent[(rows + k, k)] = 1.0 / temperature;
        }
        gaussian_integral(&joint, &exponent)
    }

    /// The coefficients of 1/N in E L_N/N and in E X_N/N (Eq. 2).
    ///
    /// L: g - ½ - ½ h. X: -2 g (P - q Q) + (3/2) h (P - P₃) with Q = (Σ_a⁻¹ + M)⁻¹ and P₃ = (Σ_v⁻¹ + 3 M)⁻¹.
    fn correction(&self, w: &Matrix) -> (f64, Matrix) {
        let dim = self.views.dim();
        let nan = || (f64::NAN, Matrix::from_element(dim, dim, f64::NAN));
        let sandwich = |factor: &Matrix, scale: f64| {
            let (s, log) = inverse_of_gram(&(w * factor), scale)?;
            Some((factor * s * factor.transpose(), log))
        };
        let (Some((p, log_data)), Some((thrice, log_thrice)), Some((noise, log_noise))) = (
            sandwich(self.views.first_factor(), 1.0),
            sandwich(self.views.first_factor(), 3.0),
            sandwich(self.views.noise_factor(), 1.0),
        ) else {
            return nan();
        };
        let q = 0.5 * self.views.draws();
        let g = (log_data - q * log_noise).exp();
        let h = (1.5 * log_data - 0.5 * log_thrice).exp();
        let x = (&p - noise * q) * (-2.0 * g) + (&p - thrice) * (1.5 * h);
        (g - 0.5 - 0.5 * h, x)
    }

    /// The coefficients of 1/N in E L_N/N - log N and in E X_N/N, nothing for the dot product.
    pub fn first_correction(&self, w: &Matrix) -> Option<(f64, Matrix)> {
        matches!(self.kind, Kind::Euclidean).then(|| self.correction(w))
    }

    /// The derivative of W X with respect to W, in factors; nothing with a 1/B term.
    pub fn curvature(&mut self, w: &Matrix) -> Option<Curvature> {
        if self.batch.is_some() {
            return None;
        }
        let mut curvature = Curvature::default();
        let identity = Matrix::identity(w.nrows(), w.nrows());
        curvature.direct.push((identity, self.x(w)));
        match self.kind {
            Kind::Euclidean => {
                let factor = self.views.first_factor();
                let image = w * factor;
                let (s, _) = inverse_of_gram(&image, 1.0)?;
                let (ks, fs) = (&image * &s, factor * &s);
                // K S Fᵀ, K S Kᵀ and F S Fᵀ, then the same with S² in the place of S.
                let (a1, c1, b1) =
                    (&ks * factor.transpose(), &ks * image.transpose(), &fs * factor.transpose());
                let (a2, c2, b2) = (&ks * fs.transpose(), &ks * ks.transpose(), &fs * fs.transpose());
                curvature.exchange.push((-&a1, &a1 + &a2));
                curvature.exchange.push((-a2, a1));
                curvature.direct.push((-c1, &b1 + b2));
                curvature.direct.push((-c2, b1));
            }
            Kind::Dot { temperature } => {
                let scale = -1.0 / (temperature * temperature);
                let (first, second) = (self.views.first(), &self.second);
                let (w1, w2) = (w * first, w * second);
                curvature.exchange.push((&w2 * scale, w1.clone()));
                curvature.exchange.push((&w1 * scale, w2.clone()));
                curvature.direct.push((&w2 * w.transpose() * scale, first.clone()));
                curvature.direct.push((&w1 * w.transpose() * scale, second.clone()));
            }
        }
        Some(curvature)
    }

    /// The loss by its definition in any arithmetic: the referee of the gradient. `w` is p x d, row by row.
    pub fn reference<R: Real>(&self, w: &[Vec<R>]) -> R {
        let lift = |m: &Matrix| -> Vec<Vec<R>> {
            (0..m.nrows()).map(|i| (0..m.ncols()).map(|j| R::from(m[(i, j)])).collect()).collect()
        };
        let m = multiply(&transpose(w), w);
        match self.kind {
            Kind::Euclidean => {
                let image = multiply(w, &lift(self.views.first_factor()));
                let gram = multiply(&transpose(&image), &image);
                let shifted = plus_identity(&gram, 1.0);
                // tr(KᵀK S) = r - tr S.
                let (determinant, inverse) = determinant_and_inverse(shifted.clone());
                let noise = trace(&multiply(&m, &lift(&self.difference)));
                let shrunk = R::from(gram.len() as f64) - trace(&inverse);
                let limit = (noise - determinant.clone().ln() - shrunk) * R::from(0.5);
                let Some(batch) = self.batch else { return limit };
                let (thrice, _) = determinant_and_inverse(plus_identity(&gram, 3.0));
                let noise_image = multiply(w, &lift(self.views.noise_factor()));
                let (noise, _) = determinant_and_inverse(plus_identity(
                    &multiply(&transpose(&noise_image), &noise_image),
                    1.0,
                ));
                let noise = if self.views.draws() == 1.0 { noise.sqrt() } else { noise };
                let g = determinant.clone() / noise;
                let h = determinant.clone() * determinant.sqrt() / thrice.sqrt();
                limit + (g - R::from(0.5) - h * R::from(0.5)) * R::from(1.0 / batch)
            }
            Kind::Dot { temperature } => {
                let (first, second) = (lift(self.views.first()), lift(&self.second));
                let data = trace(&multiply(&m, &lift(self.views.data())));
                let square = trace(&multiply(&multiply(&m, &first), &multiply(&m, &second)));
                square * R::from(0.5 / (temperature * temperature)) - data * R::from(1.0 / temperature)
            }
        }
    }
}

/// 2 Σ/τ - (Σ_2 M Σ_1 + Σ_1 M Σ_2)/τ².
fn dot_x(m: &Matrix, views: &ViewCovariances, second: &Matrix, temperature: f64) -> Matrix {
    let half = second * m * views.first();
    views.data() * (2.0 / temperature) - (&half + half.transpose()) / (temperature * temperature)
}

/// (I + scale KᵀK)⁻¹ and the logarithm of the determinant of I + scale KᵀK, for K of any shape.
fn inverse_of_gram(image: &Matrix, scale: f64) -> Option<(Matrix, f64)> {
    let side = image.ncols();
    let mut gram = image.transpose() * image * scale;
    for k in 0..side {
        gram[(k, k)] += 1.0;
    }
    let mut inverse = Matrix::zeros(side, side);
    let log = PositiveInverse::new(side).invert(gram.as_mut_slice(), inverse.as_mut_slice())?;
    Some((inverse, log))
}

/// E exp(½ yᵀ Q y) over y ~ N(0, C): det(I - C Q)^{-1/2} where C⁻¹ - Q is positive definite, infinite elsewhere.
fn gaussian_integral(covariance: &Matrix, exponent: &Matrix) -> f64 {
    let Ok(eigen) = crate::matrix::symmetric_eigen(covariance) else { return f64::NAN };
    let root = eigen.map(|value| value.max(0.0).sqrt());
    let inner = &root * exponent * &root;
    let Ok(values) = crate::matrix::symmetric_eigenvalues(&inner) else { return f64::NAN };
    if values.iter().any(|value| *value >= 1.0) {
        return f64::INFINITY;
    }
    (-0.5 * values.iter().map(|value| (-value).ln_1p()).sum::<f64>()).exp()
}

fn transpose<R: Real>(a: &[Vec<R>]) -> Vec<Vec<R>> {
    let columns = a.first().map_or(0, Vec::len);
    (0..columns).map(|j| a.iter().map(|row| row[j].clone()).collect()).collect()
}

fn multiply<R: Real>(a: &[Vec<R>], b: &[Vec<R>]) -> Vec<Vec<R>> {
    let columns = b.first().map_or(0, Vec::len);
    let entry = |row: &[R], j: usize| {
        row.iter().zip(b).fold(R::from(0.0), |sum, (x, line)| sum + x.clone() * line[j].clone())
    };
    a.iter().map(|row| (0..columns).map(|j| entry(row, j)).collect()).collect()
}

fn trace<R: Real>(a: &[Vec<R>]) -> R {
    a.iter().enumerate().fold(R::from(0.0), |sum, (k, row)| sum + row[k].clone())
}

/// I + scale a.
fn plus_identity<R: Real>(a: &[Vec<R>], scale: f64) -> Vec<Vec<R>> {
    let entry = |i: usize, j: usize| {
        let scaled = a[i][j].clone() * R::from(scale);
        if i == j { scaled + R::from(1.0) } else { scaled }
    };
    (0..a.len()).map(|i| (0..a.len()).map(|j| entry(i, j)).collect()).collect()
}

/// Gauss-Jordan without pivoting, which positive definite matrices do not need.
fn determinant_and_inverse<R: Real>(mut a: Vec<Vec<R>>) -> (R, Vec<Vec<R>>) {
    let n = a.len();
    let mut inverse: Vec<Vec<R>> =
        (0..n).map(|i| (0..n).map(|j| R::from(if i == j { 1.0 } else { 0.0 })).collect()).collect();
    let mut determinant = R::from(1.0);
    for k in 0..n {
        let pivot = a[k][k].clone();
        determinant = determinant * pivot.clone();
        for j in 0..n {
            a[k][j] = a[k][j].clone() / pivot.clone();
            inverse[k][j] = inverse[k][j].clone() / pivot.clone();
        }
        for i in (0..n).filter(|&i| i != k) {
            let factor = a[i][k].clone();
            for j in 0..n {
                a[i][j] = a[i][j].clone() - factor.clone() * a[k][j].clone();
                inverse[i][j] = inverse[i][j].clone() - factor.clone() * inverse[k][j].clone();
            }
        }
    }
    (determinant, inverse)
}
