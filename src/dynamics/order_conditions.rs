//! Order conditions over rooted trees, the referee of every tableau (Hairer, Nørsett and Wanner, I, II.2, theorem 2.13; for
//! Rosenbrock methods Hairer and Wanner, II, IV.7, theorem 7.4).

use super::method::{Dense, Estimate, Method};
use super::rosenbrock::RosenbrockMethod;
use crate::matrix::Matrix;

/// Rounding in a condition: coefficients up to 500 in 16 digits, cancelling to values of order one.
const RESIDUAL: f64 = 1e-12;
/// A wrong digit that the conditions must notice; well above the rounding, far below what a trajectory shows.
const PERTURBATION: f64 = 1e-7;

/// A rooted tree: its branches.
#[derive(Clone)]
struct Tree(Vec<Tree>);

impl Tree {
    fn size(&self) -> usize {
        1 + self.0.iter().map(Tree::size).sum::<usize>()
    }

    fn density(&self) -> f64 {
        self.0.iter().map(Tree::density).product::<f64>() * self.size() as f64
    }

    /// Elementary weights of the stages: `phi_i = prod_branches sum_j a_ij phi_j(branch)`, with the coefficients `single` in place
    /// of `a` at a vertex with one branch. There the field acts linearly, and that part of a Rosenbrock method is implicit.
    fn weights(&self, a: &[&[f64]], single: &[&[f64]]) -> Vec<f64> {
        let mut weights = vec![1.0; a.len()];
        for branch in &self.0 {
            let inner = branch.weights(a, single);
            let a = if self.0.len() == 1 { single } else { a };
            for (i, weight) in weights.iter_mut().enumerate() {
                *weight *= a[i].iter().zip(&inner).map(|(a, w)| a * w).sum::<f64>();
            }
        }
        weights
    }
}

/// The larger of two errors; one that is not a number is worse than any.
fn worse(worst: f64, error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { worst.max(error) }
}

/// All rooted trees with up to `size` vertices.
fn trees(size: usize) -> Vec<Tree> {
    // Forests of a given total size whose trees come in the order of the list, so that each is met once.
    fn forests(total: usize, trees: &[Tree], from: usize) -> Vec<Vec<Tree>> {
        if total == 0 {
            return vec![Vec::new()];
        }
        let mut found = Vec::new();
        for (i, tree) in trees.iter().enumerate().skip(from).filter(|(_, tree)| tree.size() <= total) {
            for mut rest in forests(total - tree.size(), trees, i) {
                rest.push(tree.clone());
                found.push(rest);
            }
        }
        found
    }
    let mut found: Vec<Tree> = Vec::new();
    for size in 1..=size {
        let next: Vec<Tree> = forests(size - 1, &found, 0).into_iter().map(Tree).collect();
        found.extend(next);
    }
    found
}

/// Largest residual of the conditions up to `order` for solution weights `b` at `x` of the step (1 is its end).
fn residual(a: &[&[f64]], b: &[f64], x: f64, order: u32) -> f64 {
    linearly_implicit_residual(a, a, b, x, order)
}

/// The same for a Rosenbrock method with the coefficients `single` where the field acts linearly.
fn linearly_implicit_residual(a: &[&[f64]], single: &[&[f64]], b: &[f64], x: f64, order: u32) -> f64 {
    let condition = |tree: &Tree| {
        let sum: f64 = tree.weights(a, single).iter().zip(b).map(|(w, b)| w * b).sum();
        (sum - x.powi(tree.size() as i32) / tree.density()).abs()
    };
    trees(order as usize).iter().map(condition).fold(0.0, worse)
}

/// Weights of the stages in the dense output at `x`, from the nested form.
pub(super) fn dense_weights(method: &Method, x: f64) -> Vec<f64> {
    let stages = method.stages();
    let all = stages + method.dense_stages();
    let unit = |j: usize| f64::from(u8::from(j == 0));
    let last = |j: usize| f64::from(u8::from(j == stages - 1));
    (0..all)
        .map(|j| {
            let b = method.a[stages - 1].get(j).copied().unwrap_or(0.0);
            let mut terms = vec![b, unit(j) - b, 2.0 * b - last(j) - unit(j)];
            terms.extend(method.dense.d.iter().map(|row| row[j]));
            terms
                .iter()
                .enumerate()
                .rev()
                .fold(0.0, |inner, (i, term)| (term + inner) * if i % 2 == 0 { x } else { 1.0 - x })
        })
        .collect()
}

/// The worst violation over the solution, the embedded solutions and the dense output, relative to [`RESIDUAL`].
fn violation(method: &Method, embedded: &[u32]) -> f64 {
    let stages = method.stages();
    let a: Vec<&[f64]> = method.a.iter().chain(method.dense.a).copied().collect();
    let c: Vec<f64> = method.c.iter().chain(method.dense.c).copied().collect();
    let rows = a.iter().zip(&c).map(|(row, c)| (row.iter().sum::<f64>() - c).abs()).fold(0.0, worse);
    let mut b = method.a[stages - 1].to_vec();
    b.push(0.0);
    let mut worst = rows.max(residual(&a[..stages], &b, 1.0, method.order));
    for (estimate, &order) in estimates(method).iter().zip(embedded) {
        let other: Vec<f64> = b.iter().zip(*estimate).map(|(b, e)| b - e).collect();
        worst = worst.max(residual(&a[..stages], &other, 1.0, order));
    }
    for x in [0.2, 0.55, 0.9] {
        worst = worst.max(residual(&a, &dense_weights(method, x), x, method.dense.order));
    }
    worst / RESIDUAL
}

fn estimates(method: &Method) -> Vec<&'static [f64]> {
    match method.estimate {
        Estimate::Single { weights } => vec![weights],
        Estimate::Combined { fifth, third } => vec![fifth, third],
    }
}

fn leak(rows: Vec<Vec<f64>>) -> &'static [&'static [f64]] {
    let rows: Vec<&'static [f64]> = rows.into_iter().map(|row| &*row.leak()).collect();
    rows.leak()
}

/// Every method that differs from this one in one digit of one coefficient.
fn perturbed(method: &'static Method) -> Vec<Method> {
    let mut found = Vec::new();
    let mut vary = |rows: &[&[f64]], build: &dyn Fn(&'static [&'static [f64]]) -> Method| {
        for i in 0..rows.len() {
            for j in 0..rows[i].len() {
                let mut changed: Vec<Vec<f64>> = rows.iter().map(|row| row.to_vec()).collect();
                changed[i][j] += PERTURBATION;
                found.push(build(leak(changed)));
            }
        }
    };
    vary(method.a, &|a| Method { a, ..method.clone() });
    vary(&[method.c], &|c| Method { c: c[0], ..method.clone() });
    vary(method.dense.a, &|a| Method { dense: Dense { a, ..method.dense }, ..method.clone() });
    vary(&[method.dense.c], &|c| Method { dense: Dense { c: c[0], ..method.dense }, ..method.clone() });
    vary(method.dense.d, &|d| Method { dense: Dense { d, ..method.dense }, ..method.clone() });
    vary(&estimates(method), &|rows| Method {
        estimate: match method.estimate {
            Estimate::Single { .. } => Estimate::Single { weights: rows[0] },
            Estimate::Combined { .. } => Estimate::Combined { fifth: rows[0], third: rows[1] },
        },
        ..method.clone()
    });
    found
}

/// Asserts that the tableau has exactly its orders, and that a wrong digit in any coefficient would be noticed.
///
/// `embedded` are the orders of the solutions behind the error estimates.
pub(super) fn check_method(method: &'static Method, embedded: &[u32]) {
    let worst = violation(method, embedded);
    println!("{}: worst residual {:.1e}", method.name, worst * RESIDUAL);
    assert!(worst < 1.0, "{}: residual {:e}", method.name, worst * RESIDUAL);
    // No more than its order: neither a residual that is always small nor an estimate that is always zero would pass here.
    let stages = method.stages();
    let mut b = method.a[stages - 1].to_vec();
    b.push(0.0);
    assert!(residual(method.a, &b, 1.0, method.order + 1) > 1e-6);
    for (estimate, order) in estimates(method).iter().zip(embedded) {
        let other: Vec<f64> = b.iter().zip(*estimate).map(|(b, e)| b - e).collect();
        assert!(
            residual(method.a, &other, 1.0, order + 1) > 1e-6,
            "{}: estimate of order {order}",
            method.name
        );
    }
    for changed in perturbed(method) {
        assert!(violation(&changed, embedded) > 1.0, "unnoticed: {changed:?}");
    }
}

/// The coefficients of a Rosenbrock method before the transformation that does away with products with the Jacobian:
/// rows of `alpha` and of `beta = alpha + gamma`.
struct Untransformed {
    alpha: Vec<Vec<f64>>,
    beta: Vec<Vec<f64>>,
    gamma: Matrix,
}

impl Untransformed {
    fn new(method: &RosenbrockMethod) -> Self {
        let stages = method.stages();
        let inverse = Matrix::from_fn(stages, stages, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 1.0 / method.gamma,
            std::cmp::Ordering::Greater => -method.coupling[i][j],
        });
        let gamma = inverse.solve_lower_triangular(&Matrix::identity(stages, stages)).unwrap();
        let a = Matrix::from_fn(stages, stages, |i, j| method.a[i].get(j).copied().unwrap_or(0.0));
        let alpha = a * &gamma;
        let rows = |m: &Matrix| m.row_iter().map(|row| row.iter().copied().collect()).collect();
        Untransformed { alpha: rows(&alpha), beta: rows(&(&alpha + &gamma)), gamma }
    }

    fn weights(&self, transformed: &[f64]) -> Vec<f64> {
        let row = Matrix::from_row_slice(1, transformed.len(), transformed);
        (row * &self.gamma).as_slice().to_vec()
    }

    fn residual(&self, transformed: &[f64], x: f64, order: u32) -> f64 {
        let alpha: Vec<&[f64]> = self.alpha.iter().map(Vec::as_slice).collect();
        let beta: Vec<&[f64]> = self.beta.iter().map(Vec::as_slice).collect();
        linearly_implicit_residual(&alpha, &beta, &self.weights(transformed), x, order)
    }
}

/// Weights of the transformed stages in the embedded solution (0) or the solution (1).
fn rosenbrock_solution(method: &RosenbrockMethod, last: f64) -> Vec<f64> {
    let mut weights = method.a[method.stages() - 1].to_vec();
    weights.push(last);
    weights
}

/// The worst violation over the row sums, the solution, the embedded solution and the dense output, relative to [`RESIDUAL`].
fn rosenbrock_violation(method: &RosenbrockMethod, embedded: u32) -> f64 {
    let plain = Untransformed::new(method);
    let mut worst = 0.0;
    for i in 0..method.stages() {
        let alpha: f64 = plain.alpha[i].iter().sum();
        worst = worse(worst, (alpha - method.c[i]).abs());
        worst = worse(worst, (plain.gamma.row(i).sum() - method.d[i]).abs());
    }
    let solution = rosenbrock_solution(method, 1.0);
    worst = worse(worst, plain.residual(&solution, 1.0, method.order));
    worst = worse(worst, plain.residual(&rosenbrock_solution(method, 0.0), 1.0, embedded));
    for x in [0.2, 0.55, 0.9] {
        let inside: Vec<f64> = (0..method.stages())
            .map(|j| {
                let [d0, d1, d2] = method.dense.map(|row| row[j]);
                x * (solution[j] + (1.0 - x) * (d0 + x * (d1 + x * d2)))
            })
            .collect();
        worst = worse(worst, plain.residual(&inside, x, method.dense_order));
    }
    worst / RESIDUAL
}

/// Every Rosenbrock method that differs from this one in one digit of one coefficient that the conditions see.
///
/// They do not see the weight of the last stage in dense output: that stage is the error of the embedded solution, and so of
/// higher order than the interpolant.
fn perturbed_rosenbrock(method: &'static RosenbrockMethod) -> Vec<RosenbrockMethod> {
    let mut found = vec![RosenbrockMethod { gamma: method.gamma + PERTURBATION, ..method.clone() }];
    let mut vary = |rows: &[&[f64]], build: &dyn Fn(&'static [&'static [f64]]) -> RosenbrockMethod| {
        for i in 0..rows.len() {
            for j in 0..rows[i].len() {
                let mut changed: Vec<Vec<f64>> = rows.iter().map(|row| row.to_vec()).collect();
                changed[i][j] += PERTURBATION;
                found.push(build(leak(changed)));
            }
        }
    };
    vary(method.a, &|a| RosenbrockMethod { a, ..method.clone() });
    vary(method.coupling, &|coupling| RosenbrockMethod { coupling, ..method.clone() });
    vary(&[method.c], &|c| RosenbrockMethod { c: c[0], ..method.clone() });
    vary(&[method.d], &|d| RosenbrockMethod { d: d[0], ..method.clone() });
    let last = method.stages() - 1;
    vary(&method.dense.map(|row| &row[..last]), &|rows| {
        let whole = |r: usize| &*[rows[r], &method.dense[r][last..]].concat().leak();
        RosenbrockMethod { dense: [whole(0), whole(1), whole(2)], ..method.clone() }
    });
    found
}

/// As [`check_method`], for a Rosenbrock method.
pub(super) fn check_rosenbrock(method: &'static RosenbrockMethod, embedded: u32) {
    let worst = rosenbrock_violation(method, embedded);
    println!("{}: worst residual {:.1e}", method.name, worst * RESIDUAL);
    assert!(worst < 1.0, "{}: residual {:e}", method.name, worst * RESIDUAL);
    let plain = Untransformed::new(method);
    for (last, order) in [(1.0, method.order), (0.0, embedded)] {
        let next = plain.residual(&rosenbrock_solution(method, last), 1.0, order + 1);
        assert!(next > 1e-6, "{}: {next:e} beyond order {order}", method.name);
    }
    for changed in perturbed_rosenbrock(method) {
        assert!(rosenbrock_violation(&changed, embedded) > 1.0, "unnoticed: {changed:?}");
    }
}

#[test]
fn the_trees_are_counted_as_in_the_literature() {
    let counts: Vec<usize> =
        (1..=8).map(|n| trees(n).iter().filter(|tree| tree.size() == n).count()).collect();
    assert_eq!(counts, [1, 1, 2, 4, 9, 20, 48, 115]);
}
