//! The stages of explicit Runge-Kutta methods.

use super::integrator::{Attempt, Course, Integrator, Scheme, Tolerances};
use super::method::{Estimate, Method};
use super::vector::{all_finite, combine, error_norms, scaled_sum};

/// An explicit Runge-Kutta [`Method`] at work: the [`Scheme`] of fields that are closures.
#[derive(Clone, Debug)]
pub struct RungeKutta {
    method: &'static Method,
    /// One row a stage, those of dense output last.
    stages: Vec<f64>,
    /// Input of the last stage but one: a second point near the end of the step, to see how fast the field varies.
    penultimate: Vec<f64>,
}

impl Integrator<RungeKutta> {
    /// An integration from `(start, state)` to `time_end`; `step_limit` bounds the attempted steps, rejected ones included.
    ///
    /// Nothing is evaluated yet. Memory: `stages + dense stages + dense rows + 8` vectors of the length of the state. Panics where
    /// the state is empty, `start > time_end`, a time is not finite, or the tolerances are negative, not finite or both zero: plans
    /// are checked before they get here.
    pub fn new(
        method: &'static Method,
        tolerances: Tolerances,
        start: f64,
        state: &[f64],
        time_end: f64,
        step_limit: u64,
    ) -> Self {
        let (length, control) = (state.len(), (method.order, method.control));
        let dense_rows = 3 + method.dense.d.len();
        Integrator {
            course: Course::new(control, dense_rows, tolerances, start, state, time_end, step_limit),
            scheme: RungeKutta {
                method,
                stages: vec![0.0; (method.stages() + method.dense_stages()) * length],
                penultimate: vec![0.0; length],
            },
        }
    }
}

impl<F> Scheme<F> for RungeKutta
where
    F: FnMut(f64, &[f64], &mut [f64]),
{
    fn evaluate(field: &mut F, time: f64, state: &[f64], out: &mut [f64]) {
        field(time, state, out);
    }

    fn euler_node(&self) -> Option<f64> {
        Some(self.method.c[1])
    }

    fn prepare(&mut self, course: &mut Course, _: &mut F) -> bool {
        self.stages[..course.state.len()].copy_from_slice(&course.derivative);
        true
    }

    fn attempt(&mut self, course: &mut Course, field: &mut F, h: f64, next_time: f64) -> Attempt {
        let length = course.state.len();
        let stages = self.method.stages();
        for i in 1..stages {
            if i == stages - 1 {
                std::mem::swap(&mut course.trial, &mut self.penultimate);
            }
            let (done, next) = self.stages.split_at_mut(i * length);
            if let Some(probe) = (i == 1).then(|| course.take_probe(h)).flatten() {
                next[..length].copy_from_slice(probe);
                continue;
            }
            if !combine(&mut course.trial, &course.state, h, self.method.a[i], done) {
                return Attempt::NonFinite;
            }
            let node = self.method.c[i];
            let time = if node == 1.0 { next_time } else { course.time + node * h };
            let stage = &mut next[..length];
            field(time, &course.trial, stage);
            course.effort.evaluations += 1;
            if !all_finite(stage) {
                return Attempt::NonFinite;
            }
        }
        let (norm, tolerances) = (course.tolerances.norm, course.tolerances.pair());
        let error = match self.method.estimate {
            Estimate::Single { weights } => {
                let [single] =
                    error_norms(norm, tolerances, [weights], &self.stages, &course.state, &course.trial);
                h * single
            }
            Estimate::Combined { fifth, third } => {
                let estimates = [fifth, third];
                let [fifth, third] =
                    error_norms(norm, tolerances, estimates, &self.stages, &course.state, &course.trial);
                if fifth == 0.0 { 0.0 } else { h * fifth * (fifth / fifth.hypot(0.1 * third)) }
            }
        };
        Attempt::of_error(error)
    }

    /// The last stage of a step is the derivative at the new state, and was found finite.
    fn complete(&mut self, course: &mut Course, _: &mut F, h: f64, _: f64) -> bool {
        let length = course.state.len();
        let last = (self.method.stages() - 1) * length;
        let (before, derivative) = self.stages[last - length..last + length].split_at(length);
        course.derivative.copy_from_slice(derivative);
        let (slopes, points) = ((before, derivative), (&*self.penultimate, &*course.trial));
        course.effort.stiff_steps +=
            course.stiffness.record(h, slopes, points, self.method.stability_interval);
        true
    }

    fn prepare_dense(&mut self, course: &mut Course, field: &mut F) -> bool {
        let length = course.state.len();
        let h = course.time - course.previous_time;
        let dense = &self.method.dense;
        for (i, (row, node)) in dense.a.iter().zip(dense.c).enumerate() {
            let (done, next) = self.stages.split_at_mut((self.method.stages() + i) * length);
            if !combine(&mut course.trial, &course.previous, h, row, done) {
                return false;
            }
            let stage = &mut next[..length];
            field(course.previous_time + node * h, &course.trial, stage);
            course.effort.dense_evaluations += 1;
            if !all_finite(stage) {
                return false;
            }
        }
        let (hermite, corrections) = course.dense.split_at_mut(3 * length);
        let (f0, rest) = hermite.split_at_mut(length);
        let (f1, f2) = rest.split_at_mut(length);
        let first = &self.stages[..length];
        for i in 0..length {
            f0[i] = course.state[i] - course.previous[i];
            f1[i] = h * first[i] - f0[i];
            f2[i] = f0[i] - h * course.derivative[i] - f1[i];
        }
        for (out, weights) in corrections.chunks_exact_mut(length).zip(dense.d) {
            scaled_sum(out, h, weights, &self.stages);
        }
        true
    }
}
