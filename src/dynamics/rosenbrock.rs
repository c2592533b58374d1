//! Rosenbrock methods for stiff fields: implicit in the linear part of the field, with no equations to iterate on.

use super::RODAS5P;
use super::integrator::{Attempt, Course, Integrator, Scheme, Tolerances};
use super::method::Control;
use super::vector::{all_finite, combine, error_norms, scaled_sum};
use crate::matrix::SymmetricFactors;

/// A field whose Jacobian is known and symmetric, as it is for gradient flows: minus the Hessian of what is descended.
///
/// The states passed in are finite, and every value asked for has to be written.
pub trait JacobianField {
    /// Writes the derivative of the state at `(time, state)` to `out`, of the length of the state.
    fn evaluate(&mut self, time: f64, state: &[f64], out: &mut [f64]);

    /// Writes the symmetric Jacobian `d evaluate_i / d state_j` at `(time, state)` to `out`, `n x n` and column-major. Only the lower
    /// triangle (`i >= j`) is read.
    ///
    /// It has to be exact: with a Jacobian that is only nearly right the method is still consistent, but of a low order, and its
    /// stability is not that of the method.
    fn jacobian(&mut self, time: f64, state: &[f64], out: &mut [f64]);

    /// Writes the partial derivative of the field by time at `(time, state)` to `out`. That of an autonomous field, the default, is
    /// zero; for any other field the order needs it.
    fn time_derivative(&mut self, _time: f64, _state: &[f64], out: &mut [f64]) {
        out.fill(0.0);
    }
}

/// A stiffly accurate Rosenbrock method with an embedded error estimate and dense output, as constant data.
///
/// With `W = I / (h gamma) - J` the stages of a step of size `h` from `(t, y)` solve
/// `W k_i = f(t + c_i h, y + sum_j a[i][j] k_j) + sum_j coupling[i][j] k_j / h + h d_i df/dt`. The input of the last stage is the
/// embedded solution, the last stage is the estimate of its error, and their sum is the solution that is carried on. (In the
/// notation of Hairer and Wanner, II, IV.7, these are the transformed coefficients, which need no product with `J`.)
///
/// The number of steps does not depend on how stiff a field is, as long as its fast directions stay where they are. Where they turn
/// along the trajectory, as in a bent valley, the order falls and the number grows, if far more slowly than for an explicit method.
#[derive(Clone, Debug, PartialEq)]
pub struct RosenbrockMethod {
    /// The name under which experiment files ask for it.
    pub name: &'static str,
    /// Order of the solution that is carried on.
    pub order: u32,
    /// The parameter of the matrix `W`, the same for all stages.
    pub gamma: f64,
    /// Nodes: stage `i` is evaluated at `t + c[i] h`. The first is 0.
    pub c: &'static [f64],
    /// Weights of the derivative of the field by time.
    pub d: &'static [f64],
    /// Row `i` has `i` entries: stage `i` is evaluated at `y + sum_j a[i][j] k_j`.
    pub a: &'static [&'static [f64]],
    /// Row `i` has `i` entries: the earlier stages in the equation of stage `i`, the `C` of the literature.
    pub coupling: &'static [&'static [f64]],
    /// The largest `h lambda` of a growing mode `lambda > 0` at which a step still follows its growth. Beyond it lies a pole of the
    /// stability function, and beyond that growing modes are damped. Where such a mode is smaller than the absolute tolerance the
    /// error estimate is small all the same: so a saddle that attracts along some directions would hold the trajectory. A step
    /// with a larger `h lambda` is refused, whatever its error.
    pub growth_limit: f64,
    /// Order of the interpolant: its local error is of order `dense_order + 1` in `h`.
    pub dense_order: u32,
    /// Dense output: with `x` from 0 to 1 in the step, `z = 1 - x` and `D_r = sum_j dense[r][j] k_j`, the value is
    /// `z y0 + x (y1 + z (D_0 + x (D_1 + x D_2)))`. It is continuous; its slope is not.
    pub dense: [&'static [f64]; 3],
    /// How the next step size follows from the estimate.
    pub control: Control,
}

impl RosenbrockMethod {
    /// The method of this name: `rodas5p`.
    pub fn named(name: &str) -> Option<&'static RosenbrockMethod> {
        Self::all().into_iter().find(|method| method.name == name)
    }

    /// Every method.
    pub fn all() -> [&'static RosenbrockMethod; 1] {
        [&RODAS5P]
    }

    /// Number of stages of a step.
    pub fn stages(&self) -> usize {
        self.c.len()
    }
}

/// Rows `F0, F1, F2, F3` of dense output in the nested form that all methods share.
const DENSE_ROWS: usize = 4;

/// A [`RosenbrockMethod`] at work: the [`Scheme`] of a [`JacobianField`].
#[derive(Clone, Debug)]
pub struct Rosenbrock {
    method: &'static RosenbrockMethod,
    /// One row a stage.
    stages: Vec<f64>,
    /// At the state from which steps are attempted; column-major.
    jacobian: Vec<f64>,
    time_derivative: Vec<f64>,
    /// Of `I - h gamma J`.
    factors: SymmetricFactors,
    /// What earlier stages contribute to the equation of a stage; then the derivative at the new state.
    buffer: Vec<f64>,
}

impl Integrator<Rosenbrock> {
    /// An integration of a stiff field, which has to be a [`JacobianField`], from `(start, state)` to `time_end`; `step_limit`
    /// bounds the attempted steps, rejected ones included.
    ///
    /// The Jacobian is evaluated once an accepted step. Each attempt factorises two symmetric `n x n` matrices, one to see whether
    /// the step is short enough for the modes that grow and one to solve with once a stage: `2 n^3 / 3 + 16 n^2` operations.
    /// Nothing is evaluated yet. Memory: two `n x n` matrices and `stages + 11` vectors of the length `n` of the state. Panics as
    /// [`Integrator::new`].
    pub fn rosenbrock(
        method: &'static RosenbrockMethod,
        tolerances: Tolerances,
        start: f64,
        state: &[f64],
        time_end: f64,
        step_limit: u64,
    ) -> Self {
        let (length, control) = (state.len(), (method.order, method.control));
        Integrator {
            course: Course::new(control, DENSE_ROWS, tolerances, start, state, time_end, step_limit),
            scheme: Rosenbrock {
                method,
                stages: vec![0.0; method.stages() * length],
                jacobian: vec![0.0; length * length],
                time_derivative: vec![0.0; length],
                factors: SymmetricFactors::new(length),
                buffer: vec![0.0; length],
            },
        }
    }
}

impl Rosenbrock {
    /// The lower triangle, which is all that is ever read.
    fn jacobian_is_finite(&self) -> bool {
        let length = self.time_derivative.len();
        self.jacobian.chunks_exact(length).enumerate().all(|(j, column)| all_finite(&column[j..]))
    }
}

impl<F: JacobianField> Scheme<F> for Rosenbrock {
    fn evaluate(field: &mut F, time: f64, state: &[f64], out: &mut [f64]) {
        field.evaluate(time, state, out);
    }

    fn euler_node(&self) -> Option<f64> {
        None
    }

    fn prepare(&mut self, course: &mut Course, field: &mut F) -> bool {
        field.jacobian(course.time, &course.state, &mut self.jacobian);
        field.time_derivative(course.time, &course.state, &mut self.time_derivative);
        course.effort.jacobians += 1;
        self.jacobian_is_finite() && all_finite(&self.time_derivative)
    }

    fn attempt(&mut self, course: &mut Course, field: &mut F, h: f64, next_time: f64) -> Attempt {
        let length = course.state.len();
        let method = self.method;
        // The equations of the stages times h gamma: no number overflows because h is tiny or huge.
        let factor = h * method.gamma;
        let jacobian = &self.jacobian;
        let identity = |i, j| if i == j { 1.0 } else { 0.0 };
        let longest = h / method.growth_limit;
        match self.factors.is_positive_definite(|i, j| identity(i, j) - longest * jacobian[i + j * length]) {
            Ok(true) => {}
            Ok(false) => return Attempt::TooLong,
            Err(_) => return Attempt::NonFinite,
        }
        if self.factors.factorise(|i, j| identity(i, j) - factor * jacobian[i + j * length]).is_err() {
            return Attempt::NonFinite;
        }
        for i in 0..method.stages() {
            let (done, next) = self.stages.split_at_mut(i * length);
            let stage = &mut next[..length];
            if i == 0 {
                stage.copy_from_slice(&course.derivative);
            } else {
                if !combine(&mut course.trial, &course.state, 1.0, method.a[i], done) {
                    return Attempt::NonFinite;
                }
                let node = method.c[i];
                let time = if node == 1.0 { next_time } else { course.time + node * h };
                field.evaluate(time, &course.trial, stage);
                course.effort.evaluations += 1;
                if !all_finite(stage) {
                    return Attempt::NonFinite;
                }
            }
            scaled_sum(&mut self.buffer, method.gamma, method.coupling[i], done);
            let drift = h * method.d[i];
            for ((stage, coupled), by_time) in stage.iter_mut().zip(&self.buffer).zip(&self.time_derivative) {
                *stage = factor * (*stage + drift * by_time) + coupled;
            }
            self.factors.solve(stage);
            if !all_finite(stage) {
                return Attempt::NonFinite;
            }
        }
        let last = &self.stages[(method.stages() - 1) * length..];
        for (trial, last) in course.trial.iter_mut().zip(last) {
            *trial += last;
        }
        if !all_finite(&course.trial) {
            return Attempt::NonFinite;
        }
        let (norm, tolerances) = (course.tolerances.norm, course.tolerances.pair());
        let [error] = error_norms(norm, tolerances, [&[1.0]], last, &course.state, &course.trial);
        Attempt::of_error(error)
    }

    fn complete(&mut self, course: &mut Course, field: &mut F, _: f64, next_time: f64) -> bool {
        field.evaluate(next_time, &course.trial, &mut self.buffer);
        course.effort.evaluations += 1;
        let finite = all_finite(&self.buffer);
        if finite {
            std::mem::swap(&mut course.derivative, &mut self.buffer);
        }
        finite
    }

    fn prepare_dense(&mut self, course: &mut Course, _: &mut F) -> bool {
        let length = course.state.len();
        let (differences, corrections) = course.dense.split_at_mut(length);
        for ((out, state), previous) in differences.iter_mut().zip(&course.state).zip(&course.previous) {
            *out = state - previous;
        }
        for (out, weights) in corrections.chunks_exact_mut(length).zip(self.method.dense) {
            scaled_sum(out, 1.0, weights, &self.stages);
        }
        // D_1 + x D_2 = (D_1 + D_2) - z D_2, in the nested form.
        let (_, last) = corrections.split_at_mut(length);
        let (second, third) = last.split_at_mut(length);
        for (second, third) in second.iter_mut().zip(third) {
            *second += *third;
            *third = -*third;
        }
        true
    }
}
