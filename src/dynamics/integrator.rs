//! One accepted step after another, with nothing allocated on the way.

use super::method::{Estimate, Method};
use super::vector::{ErrorNorm, all_finite, combine, error_norms, scaled_norm, scaled_sum};
use crate::record::{Effort, Ending};

/// A step is given up below this many units in the last place of the time: its nodes would coincide.
const RESOLUTION_ULPS: f64 = 16.0;

/// The last step may be longer than the control asks for by this factor, so that no sliver is left for another one.
const LANDING_STRETCH: f64 = 1.01;

/// The smallest previous error that the step control remembers: below it, one lucky step would say nothing about the next.
const REMEMBERED_ERROR: f64 = 1e-4;

/// How exact a step has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Relative tolerance of each element of the state, per step.
    pub rtol: f64,
    /// Absolute tolerance of each element of the state, per step, in the unit of the state.
    pub atol: f64,
    /// How the errors of the elements become one number.
    pub norm: ErrorNorm,
}

impl Tolerances {
    /// Tolerances in the default norm (root mean square).
    pub fn new(rtol: f64, atol: f64) -> Self {
        Tolerances { rtol, atol, norm: ErrorNorm::default() }
    }

    fn pair(self) -> (f64, f64) {
        (self.rtol, self.atol)
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepResult {
    /// A step was accepted: time and state have advanced.
    Accepted,
    /// There is no further step, for this reason; time and state are those of the last accepted step.
    Ended(Ending),
}

/// Everything that a run needs to go on as if it had never been interrupted, bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Time at which the integration began.
    pub start: f64,
    /// Time of the last accepted step.
    pub time: f64,
    /// The state then.
    pub state: Vec<f64>,
    /// The field at that state.
    pub derivative: Vec<f64>,
    /// Size that the step control proposes next; none before the first step.
    pub step_size: Option<f64>,
    /// Error of the last accepted step, the memory of the step control.
    pub previous_error: f64,
    /// What the run has cost so far.
    pub effort: Effort,
}

/// What dense output has to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DenseState {
    /// The stages are not those of the last accepted step.
    Absent,
    /// The stages are there, the coefficients are not.
    Stages,
    /// The coefficients are there.
    Ready,
    /// A stage that only dense output needs was not finite.
    Failed,
}

/// Integrates `dy/dt = field(t, y)` by an adaptive Runge-Kutta [`Method`], forwards in time.
///
/// The field is a closure that writes the derivative of a flat state; it is only ever called with finite states, and every value
/// of its output has to be written. Memory: `stages + dense stages + dense rows + 7` vectors of the length of the state, all
/// allocated at construction; a step allocates nothing.
///
/// Recording never changes the trajectory: values between steps come from [`Integrator::interpolate`].
#[derive(Clone, Debug)]
pub struct Integrator {
    method: &'static Method,
    tolerances: Tolerances,
    start: f64,
    time_end: f64,
    step_limit: u64,
    time: f64,
    state: Vec<f64>,
    derivative: Vec<f64>,
    previous_time: f64,
    previous: Vec<f64>,
    /// Input of a stage, and at last the new state.
    trial: Vec<f64>,
    /// One row a stage, those of dense output last.
    stages: Vec<f64>,
    /// Coefficients `F0, F1, F2, F3...` of dense output, one row each.
    dense: Vec<f64>,
    dense_state: DenseState,
    step_size: Option<f64>,
    previous_error: f64,
    effort: Effort,
}

impl Integrator {
    /// An integration from `(start, state)` to `time_end`; `step_limit` bounds the attempted steps, rejected ones included.
    ///
    /// Nothing is evaluated yet. Panics where the state is empty, `start > time_end`, a time is not finite, or the tolerances are
    /// negative, not finite or both zero: plans are checked before they get here.
    pub fn new(
        method: &'static Method,
        tolerances: Tolerances,
        start: f64,
        state: &[f64],
        time_end: f64,
        step_limit: u64,
    ) -> Self {
        let Tolerances { rtol, atol, .. } = tolerances;
        assert!(!state.is_empty(), "an empty state");
        assert!(
            start.is_finite() && time_end.is_finite() && start <= time_end,
            "times from {start} to {time_end}"
        );
        assert!(
            rtol >= 0.0 && atol >= 0.0 && rtol.is_finite() && atol.is_finite() && rtol + atol > 0.0,
            "tolerances rtol {rtol}, atol {atol}"
        );
        let length = state.len();
        let zeros = || vec![0.0; length];
        Integrator {
            method,
            tolerances,
            start,
            time_end,
            step_limit,
            time: start,
            state: state.to_vec(),
            derivative: vec![f64::NAN; length],
            previous_time: start,
            previous: zeros(),
            trial: zeros(),
            stages: vec![0.0; (method.stages() + method.dense_stages()) * length],
            dense: vec![0.0; (3 + method.dense.d.len()) * length],
            dense_state: DenseState::Absent,
            step_size: None,
            previous_error: REMEMBERED_ERROR,
            effort: Effort::default(),
        }
    }

    /// Time of the last accepted step; before the first, the start.
    pub fn time(&self) -> f64 {
        self.time
    }

    /// Time at which the integration ends; the last step lands on it exactly.
    pub fn time_end(&self) -> f64 {
        self.time_end
    }

    /// Time before the last accepted step: interpolation reaches from here to [`Integrator::time`].
    pub fn previous_time(&self) -> f64 {
        self.previous_time
    }

    /// State at [`Integrator::time`].
    pub fn state(&self) -> &[f64] {
        &self.state
    }

    /// The field at [`Integrator::time`], which the last stage of a step provides for nothing; before the first step, not a number.
    pub fn derivative(&self) -> &[f64] {
        &self.derivative
    }

    /// What the integration has cost so far.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Everything needed to go on later. Cost: two copies of the state.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            start: self.start,
            time: self.time,
            state: self.state.clone(),
            derivative: self.derivative.clone(),
            step_size: self.step_size,
            previous_error: self.previous_error,
            effort: self.effort,
        }
    }

    /// Goes back, or forward, to a checkpoint of an integration of the same method, tolerances and end.
    ///
    /// The steps that follow are bit-identical to those after the checkpoint was taken. Interpolation is possible again after the
    /// next accepted step. Panics where the state has another length.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        self.start = checkpoint.start;
        self.time = checkpoint.time;
        self.previous_time = checkpoint.time;
        self.state.copy_from_slice(&checkpoint.state);
        self.derivative.copy_from_slice(&checkpoint.derivative);
        self.step_size = checkpoint.step_size;
        self.previous_error = checkpoint.previous_error;
        self.effort = checkpoint.effort;
        self.dense_state = DenseState::Absent;
    }

    /// Takes one accepted step, or says why there is none.
    ///
    /// Cost: `stages - 1` evaluations an attempt, and two more before the first step (the field at the start, and a probe for the
    /// first step size). No allocation. Where a stage is not finite the step is halved; where that leads to the resolution of time,
    /// the ending is [`Ending::NonFinite`]. An ending may be asked for again: it does not change the state.
    pub fn step<F>(&mut self, field: &mut F) -> StepResult
    where
        F: FnMut(f64, &[f64], &mut [f64]),
    {
        if self.time >= self.time_end {
            return StepResult::Ended(Ending::TimeReached);
        }
        let mut size = match self.step_size {
            Some(size) => size,
            None => match self.first_step_size(field) {
                Ok(size) => size,
                Err(ending) => return StepResult::Ended(ending),
            },
        };
        self.dense_state = DenseState::Absent;
        self.stages[..self.state.len()].copy_from_slice(&self.derivative);
        let (mut rejected, mut broken) = (false, false);
        loop {
            if self.effort.steps + self.effort.rejected >= self.step_limit {
                return StepResult::Ended(Ending::StepLimit { time: self.time, limit: self.step_limit });
            }
            if size < self.resolution() {
                return StepResult::Ended(if broken {
                    self.non_finite()
                } else {
                    Ending::StepTooSmall { time: self.time }
                });
            }
            let lands = self.time + LANDING_STRETCH * size >= self.time_end;
            let next_time = if lands { self.time_end } else { self.time + size };
            // The distance of the two times as they are stored, not the size that was asked for.
            let h = next_time - self.time;
            match self.attempt(field, h, next_time) {
                Some(error) if error <= 1.0 => {
                    self.accept(h, next_time, error, rejected);
                    return StepResult::Accepted;
                }
                Some(error) => {
                    broken = false;
                    size = h * self.shrinking(error);
                }
                None => {
                    broken = true;
                    size = 0.5 * h;
                }
            }
            rejected = true;
            self.effort.rejected += 1;
        }
    }

    /// State at a time inside the last accepted step, by the dense output of the method; false where it is not finite.
    ///
    /// At the ends of the step it is exactly the stored state. The stages that only dense output needs are evaluated at most once
    /// a step and counted apart. The trajectory is not touched. No allocation. Panics where `time` lies outside
    /// the last accepted step, or where there is none (before the first step, after a failed one or a restore).
    #[must_use]
    pub fn interpolate<F>(&mut self, field: &mut F, time: f64, out: &mut [f64]) -> bool
    where
        F: FnMut(f64, &[f64], &mut [f64]),
    {
        if time == self.time {
            out.copy_from_slice(&self.state);
            return true;
        }
        assert!(
            self.dense_state != DenseState::Absent && self.previous_time <= time && time < self.time,
            "t = {time} is not in the last accepted step, from {} to {}",
            self.previous_time,
            self.time
        );
        if time == self.previous_time {
            out.copy_from_slice(&self.previous);
            return true;
        }
        if self.dense_state == DenseState::Stages {
            let finite = self.prepare_dense(field);
            self.dense_state = if finite { DenseState::Ready } else { DenseState::Failed };
        }
        if self.dense_state == DenseState::Failed {
            return false;
        }
        let x = (time - self.previous_time) / (self.time - self.previous_time);
        out.fill(0.0);
        for (i, row) in self.dense.chunks_exact(out.len()).enumerate().rev() {
            let factor = if i % 2 == 0 { x } else { 1.0 - x };
            for (out, row) in out.iter_mut().zip(row) {
                *out = (*out + row) * factor;
            }
        }
        for (out, previous) in out.iter_mut().zip(&self.previous) {
            *out += previous;
        }
        all_finite(out)
    }

    /// The smallest step worth taking from here.
    fn resolution(&self) -> f64 {
        // At t = 0 a unit in the last place is denormal; the span of the integration sets a scale there instead.
        let span = f64::EPSILON * (self.time_end - self.start);
        let magnitude = self.time.abs().max(span).max(f64::MIN_POSITIVE);
        RESOLUTION_ULPS * (magnitude.next_up() - magnitude)
    }

    fn non_finite(&self) -> Ending {
        Ending::NonFinite { time: self.time, step: self.effort.steps + 1 }
    }

    /// First step size of Hairer, Nørsett and Wanner, II.4; also evaluates the field at the start.
    fn first_step_size<F>(&mut self, field: &mut F) -> Result<f64, Ending>
    where
        F: FnMut(f64, &[f64], &mut [f64]),
    {
        if !all_finite(&self.state) {
            return Err(self.non_finite());
        }
        field(self.time, &self.state, &mut self.derivative);
        self.effort.evaluations += 1;
        if !all_finite(&self.derivative) {
            return Err(self.non_finite());
        }
        let (norm, tolerances) = (self.tolerances.norm, self.tolerances.pair());
        let span = self.time_end - self.time;
        let d0 = scaled_norm(norm, tolerances, &self.state, None, &self.state);
        let d1 = scaled_norm(norm, tolerances, &self.derivative, None, &self.state);
        let mut h0 = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 };
        // A derivative beyond all scales gives a norm that overflows, and no step.
        h0 = if h0 > 0.0 { h0.min(span) } else { 1e-6_f64.min(span) };
        let length = self.state.len();
        let d2 = loop {
            let probe = &mut self.stages[..length];
            let mut finite = combine(&mut self.trial, &self.state, h0, &[1.0], &self.derivative);
            if finite {
                field(self.time + h0, &self.trial, probe);
                self.effort.evaluations += 1;
                finite = all_finite(probe);
            }
            let difference = if finite {
                scaled_norm(norm, tolerances, probe, Some(&self.derivative), &self.state) / h0
            } else {
                f64::NAN
            };
            if difference.is_finite() {
                break difference;
            }
            h0 *= 0.5;
            if h0 < self.resolution() {
                // The steps themselves will find out whether there is a way on.
                break f64::INFINITY;
            }
        };
        let slope = d1.max(d2);
        let h1 = if slope <= 1e-15 {
            1e-6_f64.max(h0 * 1e-3)
        } else {
            (0.01 / slope).powf(1.0 / f64::from(self.method.order))
        };
        let size = (100.0 * h0).min(h1).min(span).max(self.resolution());
        self.step_size = Some(size);
        Ok(size)
    }

    /// Evaluates the stages of a step; its error relative to the tolerance, or nothing where a stage is not finite.
    ///
    /// Expects the derivative at the present state in the first stage, and leaves the new state in `trial`.
    fn attempt<F>(&mut self, field: &mut F, h: f64, next_time: f64) -> Option<f64>
    where
        F: FnMut(f64, &[f64], &mut [f64]),
    {
        let length = self.state.len();
        for i in 1..self.method.stages() {
            let (done, next) = self.stages.split_at_mut(i * length);
            if !combine(&mut self.trial, &self.state, h, self.method.a[i], done) {
                return None;
            }
            let node = self.method.c[i];
            let time = if node == 1.0 { next_time } else { self.time + node * h };
            let stage = &mut next[..length];
            field(time, &self.trial, stage);
            self.effort.evaluations += 1;
            if !all_finite(stage) {
                return None;
            }
        }
        let (norm, tolerances) = (self.tolerances.norm, self.tolerances.pair());
        let error = match self.method.estimate {
            Estimate::Single { weights } => {
                let [single] =
                    error_norms(norm, tolerances, [weights], &self.stages, &self.state, &self.trial);
                h * single
            }
            Estimate::Combined { fifth, third } => {
                let estimates = [fifth, third];
                let [fifth, third] =
                    error_norms(norm, tolerances, estimates, &self.stages, &self.state, &self.trial);
                if fifth == 0.0 { 0.0 } else { h * fifth * (fifth / fifth.hypot(0.1 * third)) }
            }
        };
        error.is_finite().then_some(error)
    }

    fn accept(&mut self, h: f64, next_time: f64, error: f64, rejected: bool) {
        std::mem::swap(&mut self.previous, &mut self.state);
        std::mem::swap(&mut self.state, &mut self.trial);
        let length = self.state.len();
        let last = (self.method.stages() - 1) * length;
        self.derivative.copy_from_slice(&self.stages[last..last + length]);
        self.previous_time = self.time;
        self.time = next_time;
        self.dense_state = DenseState::Stages;
        self.effort.steps += 1;
        let control = &self.method.control;
        let factor = control.safety * error.powf(-control.exponent) * self.previous_error.powf(control.beta);
        let factor = factor.clamp(control.shrink, control.grow);
        // No growth straight after a rejection.
        self.step_size = Some(h * if rejected { factor.min(1.0) } else { factor });
        self.previous_error = error.max(REMEMBERED_ERROR);
    }

    /// Factor of the step after an error above the tolerance.
    fn shrinking(&self, error: f64) -> f64 {
        let control = &self.method.control;
        (control.safety * error.powf(-control.exponent)).max(control.shrink)
    }

    /// Computes the coefficients of dense output; false where an extra stage is not finite.
    fn prepare_dense<F>(&mut self, field: &mut F) -> bool
    where
        F: FnMut(f64, &[f64], &mut [f64]),
    {
        let length = self.state.len();
        let h = self.time - self.previous_time;
        let dense = &self.method.dense;
        for (i, (row, node)) in dense.a.iter().zip(dense.c).enumerate() {
            let (done, next) = self.stages.split_at_mut((self.method.stages() + i) * length);
            if !combine(&mut self.trial, &self.previous, h, row, done) {
                return false;
            }
            let stage = &mut next[..length];
            field(self.previous_time + node * h, &self.trial, stage);
            self.effort.dense_evaluations += 1;
            if !all_finite(stage) {
                return false;
            }
        }
        let (hermite, corrections) = self.dense.split_at_mut(3 * length);
        let (f0, rest) = hermite.split_at_mut(length);
        let (f1, f2) = rest.split_at_mut(length);
        let first = &self.stages[..length];
        for i in 0..length {
            f0[i] = self.state[i] - self.previous[i];
            f1[i] = h * first[i] - f0[i];
            f2[i] = f0[i] - h * self.derivative[i] - f1[i];
        }
        for (out, weights) in corrections.chunks_exact_mut(length).zip(dense.d) {
            scaled_sum(out, h, weights, &self.stages);
        }
        true
    }
}

#[cfg(test)]
impl Integrator {
    /// Ends the integration elsewhere.
    pub(super) fn time_end_for_tests(&mut self, time_end: f64) {
        self.time_end = time_end;
    }

    /// A step of size `h` whatever its error, for the measurement of orders.
    pub(super) fn force_step<F>(&mut self, field: &mut F, h: f64)
    where
        F: FnMut(f64, &[f64], &mut [f64]),
    {
        if self.step_size.is_none() {
            self.first_step_size(field).unwrap();
        }
        self.stages[..self.state.len()].copy_from_slice(&self.derivative);
        let next_time = self.time + h;
        self.attempt(field, h, next_time).unwrap();
        self.accept(h, next_time, 1.0, false);
    }
}
