//! One accepted step after another, with nothing allocated on the way: all that adaptive one-step methods have in common.

use super::method::Control;
use super::runge_kutta::RungeKutta;
use super::stiffness::StiffnessTest;
use super::vector::{ErrorNorm, all_finite, combine, scaled_norm};
use crate::record::{Effort, Ending};

/// A step is given up below this many units in the last place of the time: its nodes would coincide.
const RESOLUTION_ULPS: f64 = 16.0;

/// The last step may be longer than the control asks for by this factor, so that no sliver is left for another one.
const LANDING_STRETCH: f64 = 1.01;

/// Error, in units of the tolerance, that is asked of the first step.
const FIRST_ERROR: f64 = 0.01;

/// Expected error up to which a first step is taken that has a stage already: a tenth, as the estimate knows two derivatives only.
const FIRST_ERROR_LIMIT: f64 = 0.1;

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

    pub(super) fn pair(self) -> (f64, f64) {
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
    /// Memory of the search for steps that stability limits.
    pub stiffness: StiffnessTest,
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

/// Where an integration is: what it has whatever the method.
#[derive(Clone, Debug)]
pub struct Course {
    pub(super) tolerances: Tolerances,
    order: u32,
    control: Control,
    start: f64,
    time_end: f64,
    step_limit: u64,
    pub(super) time: f64,
    pub(super) state: Vec<f64>,
    pub(super) derivative: Vec<f64>,
    pub(super) previous_time: f64,
    pub(super) previous: Vec<f64>,
    /// Input of a stage, and at last the new state.
    pub(super) trial: Vec<f64>,
    /// Coefficients `F0, F1, F2...` of dense output, one row each; see [`Dense`](super::Dense).
    pub(super) dense: Vec<f64>,
    dense_state: DenseState,
    /// Whether the scheme has what it needs for steps from the present state.
    prepared: bool,
    step_size: Option<f64>,
    /// Size of the first step, where its second stage is in the first row of `dense`.
    probed: Option<f64>,
    previous_error: f64,
    pub(super) stiffness: StiffnessTest,
    pub(super) effort: Effort,
}

/// What the stages of a step say of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attempt {
    /// The error relative to the tolerance, a finite number; 1 is the tolerance.
    Error(f64),
    /// The step is too long for the fastest growing mode of the field, and its error estimate means nothing.
    TooLong,
    /// A value is not finite.
    NonFinite,
}

impl Attempt {
    /// An error that may not be finite.
    pub(super) fn of_error(error: f64) -> Self {
        if error.is_finite() { Attempt::Error(error) } else { Attempt::NonFinite }
    }
}

/// The part in which one adaptive one-step method differs from another, for fields of type `F`; [`Integrator`] does the rest.
///
/// [`RungeKutta`] is one for closures, [`Rosenbrock`](super::Rosenbrock) for fields that know their Jacobian.
pub trait Scheme<F> {
    /// Writes the field at `(time, state)` to `out`.
    fn evaluate(field: &mut F, time: f64, state: &[f64], out: &mut [f64]);

    /// Node of the second stage, where this is the field at the end of an Euler step.
    fn euler_node(&self) -> Option<f64>;

    /// Gets ready for attempts from the present state; false where something that all of them need is not finite.
    fn prepare(&mut self, course: &mut Course, field: &mut F) -> bool;

    /// Evaluates the stages of a step from the present state, and leaves the new state in `trial`.
    fn attempt(&mut self, course: &mut Course, field: &mut F, h: f64, next_time: f64) -> Attempt;

    /// Replaces the derivative by that at the new state, which is about to be accepted; false, and nothing is replaced, where it is
    /// not finite.
    fn complete(&mut self, course: &mut Course, field: &mut F, h: f64, next_time: f64) -> bool;

    /// Computes the coefficients of dense output; false where an extra stage is not finite.
    fn prepare_dense(&mut self, course: &mut Course, field: &mut F) -> bool;
}

/// Integrates `dy/dt = field(t, y)` by an adaptive one-step method, forwards in time.
///
/// The `scheme` is the method: an explicit [`Method`](super::Method) by [`Integrator::new`], for which the field is a closure that
/// writes the derivative of a flat state, or a [`RosenbrockMethod`](super::RosenbrockMethod) by [`Integrator::rosenbrock`], for
/// stiff fields. A field is only ever called with finite states, and every value of its output has to be written. All memory is
/// allocated at construction; a step allocates nothing.
///
/// Recording never changes the trajectory: values between steps come from [`Integrator::interpolate`].
#[derive(Clone, Debug)]
pub struct Integrator<S = RungeKutta> {
    pub(super) course: Course,
    pub(super) scheme: S,
}

impl Course {
    /// Panics as [`Integrator::new`] says. `dense_rows` are the coefficients of dense output.
    pub(super) fn new(
        (order, control): (u32, Control),
        dense_rows: usize,
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
        Course {
            tolerances,
            order,
            control,
            start,
            time_end,
            step_limit,
            time: start,
            state: state.to_vec(),
            derivative: vec![f64::NAN; length],
            previous_time: start,
            previous: zeros(),
            trial: zeros(),
            dense: vec![0.0; dense_rows * length],
            dense_state: DenseState::Absent,
            prepared: false,
            step_size: None,
            probed: None,
            previous_error: REMEMBERED_ERROR,
            stiffness: StiffnessTest::default(),
            effort: Effort::default(),
        }
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

    /// First step size, after Hairer, Nørsett and Wanner, II.4; also evaluates the field at the start.
    ///
    /// They expect an error of `slope size^order`, where `slope` is the norm of the field, or of its derivative along an Euler step,
    /// the probe, if that is larger. Where the method has a stage at the end of an Euler step, at `node`, the probe is that stage of
    /// the step that the field alone asks for: if that step turns out to be short enough, one of its stages is done.
    fn first_step_size(
        &mut self,
        node: Option<f64>,
        mut field: impl FnMut(f64, &[f64], &mut [f64]),
    ) -> Result<f64, Ending> {
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
        let size_of = |slope: f64| (FIRST_ERROR / slope).powf(1.0 / f64::from(self.order));
        let d0 = scaled_norm(norm, tolerances, &self.state, None, &self.state);
        let d1 = scaled_norm(norm, tolerances, &self.derivative, None, &self.state);
        // Not longer than the state takes to change by its own size; theirs where one of the two is too small to say.
        let mut size = if d0 < 1e-5 || d1 < 1e-5 { 1e-4 } else { (d0 / d1).min(size_of(d1)) };
        // A derivative beyond all scales gives a norm that overflows, and no step.
        size = if size > 0.0 { size } else { 1e-6 };
        let (probe_node, limit) = match node {
            Some(node) => (node, FIRST_ERROR_LIMIT),
            None => (0.1, FIRST_ERROR),
        };
        let d2 = loop {
            // The distance of two times as they are stored: that of the step itself.
            size = if LANDING_STRETCH * size >= span { span } else { (self.time + size) - self.time };
            let way = probe_node * size;
            // Nothing is interpolated before the first step, so the memory for that is free.
            let probe = &mut self.dense[..self.state.len()];
            let mut finite = combine(&mut self.trial, &self.state, size, &[probe_node], &self.derivative);
            if finite {
                field(self.time + way, &self.trial, probe);
                self.effort.evaluations += 1;
                finite = all_finite(probe);
            }
            let difference = if finite {
                scaled_norm(norm, tolerances, probe, Some(&self.derivative), &self.state) / way
            } else {
                f64::NAN
            };
            if difference.is_finite() {
                break difference;
            }
            size *= 0.5;
            if size < self.resolution() {
                // The steps themselves will find out whether there is a way on.
                break f64::INFINITY;
            }
        };
        let slope = d1.max(d2);
        if slope * size.powi(self.order as i32) <= limit {
            self.probed = node.map(|_| size);
        } else {
            size = size_of(slope);
        }
        let size = size.max(self.resolution());
        self.step_size = Some(size);
        Ok(size)
    }

    /// The second stage of a step of size `h` from the present state, where the search for the first step size has left it.
    pub(super) fn take_probe(&mut self, h: f64) -> Option<&[f64]> {
        let probed = self.probed.take();
        (probed == Some(h)).then(|| &self.dense[..self.state.len()])
    }

    /// Makes the trial state the present one and chooses the size of the next step.
    fn advance(&mut self, h: f64, next_time: f64, error: f64, rejected: bool) {
        std::mem::swap(&mut self.previous, &mut self.state);
        std::mem::swap(&mut self.state, &mut self.trial);
        self.previous_time = self.time;
        self.time = next_time;
        self.dense_state = DenseState::Stages;
        self.prepared = false;
        self.effort.steps += 1;
        let control = &self.control;
        // The memory of the last error calms steps that stability limits, and holds others back.
        let memory = if self.stiffness.suspects() { self.previous_error.powf(control.beta) } else { 1.0 };
        let factor = control.safety * error.powf(-control.exponent) * memory;
        let factor = factor.clamp(control.shrink, control.grow);
        // No growth straight after a rejection.
        self.step_size = Some(h * if rejected { factor.min(1.0) } else { factor });
        self.previous_error = error.max(REMEMBERED_ERROR);
    }

    /// Factor of the step after an error above the tolerance.
    fn shrinking(&self, error: f64) -> f64 {
        let control = &self.control;
        (control.safety * error.powf(-control.exponent)).max(control.shrink)
    }
}

impl<S> Integrator<S> {
    /// Time of the last accepted step; before the first, the start.
    pub fn time(&self) -> f64 {
        self.course.time
    }

    /// Time at which the integration ends; the last step lands on it exactly.
    pub fn time_end(&self) -> f64 {
        self.course.time_end
    }

    /// Time before the last accepted step: interpolation reaches from here to [`Integrator::time`].
    pub fn previous_time(&self) -> f64 {
        self.course.previous_time
    }

    /// State at [`Integrator::time`].
    pub fn state(&self) -> &[f64] {
        &self.course.state
    }

    /// The field at [`Integrator::time`]; before the first step, not a number.
    pub fn derivative(&self) -> &[f64] {
        &self.course.derivative
    }

    /// What the integration has cost so far.
    pub fn effort(&self) -> Effort {
        self.course.effort
    }

    /// Everything needed to go on later. Cost: two copies of the state.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            start: self.course.start,
            time: self.course.time,
            state: self.course.state.clone(),
            derivative: self.course.derivative.clone(),
            step_size: self.course.step_size,
            previous_error: self.course.previous_error,
            stiffness: self.course.stiffness,
            effort: self.course.effort,
        }
    }

    /// Goes back, or forward, to a checkpoint of an integration of the same method, tolerances and end.
    ///
    /// The steps that follow are bit-identical to those after the checkpoint was taken. Interpolation is possible again after the
    /// next accepted step. Panics where the state has another length.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        self.course.start = checkpoint.start;
        self.course.time = checkpoint.time;
        self.course.previous_time = checkpoint.time;
        self.course.state.copy_from_slice(&checkpoint.state);
        self.course.derivative.copy_from_slice(&checkpoint.derivative);
        self.course.step_size = checkpoint.step_size;
        self.course.probed = None;
        self.course.previous_error = checkpoint.previous_error;
        self.course.stiffness = checkpoint.stiffness;
        self.course.effort = checkpoint.effort;
        self.course.dense_state = DenseState::Absent;
        self.course.prepared = false;
    }

    /// Takes one accepted step, or says why there is none.
    ///
    /// Cost of an explicit method: `stages - 1` evaluations an attempt; of a Rosenbrock method: one factorisation and `stages - 1`
    /// evaluations an attempt, one more and a Jacobian where it is accepted. Before the first step the field at the start and a probe
    /// for the step size, which an explicit method can use as a stage unless the step has to be shorter than expected. No allocation.
    /// Where a stage is not finite the step is halved; where that leads to the resolution of time, or a Jacobian is not finite, the
    /// ending is [`Ending::NonFinite`]. An ending may be asked for again: it does not change the state.
    pub fn step<F>(&mut self, field: &mut F) -> StepResult
    where
        S: Scheme<F>,
    {
        let Integrator { course, scheme } = self;
        if course.time >= course.time_end {
            return StepResult::Ended(Ending::TimeReached);
        }
        let mut size = match course.step_size {
            Some(size) => size,
            None => {
                let evaluate = |time, state: &[f64], out: &mut [f64]| S::evaluate(field, time, state, out);
                match course.first_step_size(scheme.euler_node(), evaluate) {
                    Ok(size) => size,
                    Err(ending) => return StepResult::Ended(ending),
                }
            }
        };
        course.dense_state = DenseState::Absent;
        let (mut rejected, mut broken) = (false, false);
        loop {
            if course.effort.steps + course.effort.rejected >= course.step_limit {
                return StepResult::Ended(Ending::StepLimit { time: course.time, limit: course.step_limit });
            }
            if size < course.resolution() {
                return StepResult::Ended(if broken {
                    course.non_finite()
                } else {
                    Ending::StepTooSmall { time: course.time }
                });
            }
            if !course.prepared {
                course.prepared = scheme.prepare(course, field);
                if !course.prepared {
                    return StepResult::Ended(course.non_finite());
                }
            }
            let lands = course.time + LANDING_STRETCH * size >= course.time_end;
            let next_time = if lands { course.time_end } else { course.time + size };
            // The distance of the two times as they are stored, not the size that was asked for.
            let h = next_time - course.time;
            match scheme.attempt(course, field, h, next_time) {
                Attempt::Error(error) if error <= 1.0 && scheme.complete(course, field, h, next_time) => {
                    course.advance(h, next_time, error, rejected);
                    return StepResult::Accepted;
                }
                Attempt::Error(error) if error > 1.0 => {
                    broken = false;
                    size = h * course.shrinking(error);
                }
                Attempt::TooLong => {
                    broken = false;
                    size = 0.5 * h;
                }
                Attempt::Error(_) | Attempt::NonFinite => {
                    broken = true;
                    size = 0.5 * h;
                }
            }
            rejected = true;
            course.effort.rejected += 1;
        }
    }

    /// State at a time inside the last accepted step, by the dense output of the method; false where it is not finite.
    ///
    /// At the ends of the step it is exactly the stored state. What only dense output needs is evaluated at most once
    /// a step and counted apart. The trajectory is not touched. No allocation. Panics where `time` lies outside
    /// the last accepted step, or where there is none (before the first step, after a failed one or a restore).
    #[must_use]
    pub fn interpolate<F>(&mut self, field: &mut F, time: f64, out: &mut [f64]) -> bool
    where
        S: Scheme<F>,
    {
        let Integrator { course, scheme } = self;
        if time == course.time {
            out.copy_from_slice(&course.state);
            return true;
        }
        assert!(
            course.dense_state != DenseState::Absent && course.previous_time <= time && time < course.time,
            "t = {time} is not in the last accepted step, from {} to {}",
            course.previous_time,
            course.time
        );
        if time == course.previous_time {
            out.copy_from_slice(&course.previous);
            return true;
        }
        if course.dense_state == DenseState::Stages {
            let finite = scheme.prepare_dense(course, field);
            course.dense_state = if finite { DenseState::Ready } else { DenseState::Failed };
        }
        if course.dense_state == DenseState::Failed {
            return false;
        }
        let x = (time - course.previous_time) / (course.time - course.previous_time);
        out.fill(0.0);
        for (i, row) in course.dense.chunks_exact(out.len()).enumerate().rev() {
            let factor = if i % 2 == 0 { x } else { 1.0 - x };
            for (out, row) in out.iter_mut().zip(row) {
                *out = (*out + row) * factor;
            }
        }
        for (out, previous) in out.iter_mut().zip(&course.previous) {
            *out += previous;
        }
        all_finite(out)
    }
}

#[cfg(test)]
impl<S> Integrator<S> {
    /// Ends the integration elsewhere.
    pub(super) fn time_end_for_tests(&mut self, time_end: f64) {
        self.course.time_end = time_end;
    }

    /// A step of size `h` whatever its error, for the measurement of orders.
    pub(super) fn force_step<F>(&mut self, field: &mut F, h: f64)
    where
        S: Scheme<F>,
    {
        if self.course.step_size.is_none() {
            let evaluate = |time, state: &[f64], out: &mut [f64]| S::evaluate(field, time, state, out);
            self.course.first_step_size(self.scheme.euler_node(), evaluate).unwrap();
        }
        assert!(self.scheme.prepare(&mut self.course, field));
        let next_time = self.course.time + h;
        let attempt = self.scheme.attempt(&mut self.course, field, h, next_time);
        assert!(matches!(attempt, Attempt::Error(_)), "{attempt:?}");
        assert!(self.scheme.complete(&mut self.course, field, h, next_time));
        self.course.advance(h, next_time, 1.0, false);
    }
}
