//! Why a run ended, and what it cost.

use std::fmt;

/// The stated reason for which a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The flow reached its end time.
    TimeReached,
    /// Gradient descent took all its steps.
    StepsDone,
    /// The norm of the gradient fell to the requested threshold.
    Converged {
        /// Training time at which it was seen.
        time: f64,
        /// Euclidean norm of the gradient over all parameters.
        gradient_norm: f64,
    },
    /// The error control asked for a step below the resolution of the time axis.
    StepTooSmall {
        /// Training time of the last accepted state.
        time: f64,
    },
    /// A weight, a gradient or the loss was infinite or not a number.
    NonFinite {
        /// Training time of the last finite state.
        time: f64,
        /// Number of the step that failed, counted from 1.
        step: u64,
    },
    /// The limit on the number of steps was reached before the end time.
    StepLimit {
        /// Training time of the last accepted state.
        time: f64,
        /// The limit.
        limit: u64,
    },
    /// The user interrupted the run.
    Interrupted {
        /// Training time of the last accepted state.
        time: f64,
    },
}

impl Ending {
    /// Whether the run did what its plan asked for.
    pub fn is_finished(&self) -> bool {
        matches!(self, Ending::TimeReached | Ending::StepsDone | Ending::Converged { .. })
    }

    /// The name under which `outcome.json` and `summary.csv` hold this ending.
    pub fn name(&self) -> &'static str {
        match self {
            Ending::TimeReached => "time-reached",
            Ending::StepsDone => "steps-done",
            Ending::Converged { .. } => "converged",
            Ending::StepTooSmall { .. } => "step-too-small",
            Ending::NonFinite { .. } => "non-finite",
            Ending::StepLimit { .. } => "step-limit",
            Ending::Interrupted { .. } => "interrupted",
        }
    }
}

/// A training time as a reader wants it: not with hundreds of digits.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0 == 0.0 || (1e-5..1e15).contains(&self.0.abs());
        if plain { write!(f, "{}", self.0) } else { write!(f, "{:e}", self.0) }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::TimeReached => write!(f, "time reached"),
            Ending::StepsDone => write!(f, "steps done"),
            Ending::Converged { time, gradient_norm } => {
                write!(f, "converged at t = {} (gradient norm {gradient_norm:.3e})", Time(*time))
            }
            Ending::StepTooSmall { time } => write!(
                f,
                "step too small at t = {}: either the weights grow without bound (then lower time_end) or the gradient is not smooth enough for these tolerances (then raise rtol and atol, or use gd)",
                Time(*time)
            ),
            Ending::NonFinite { time, step } => {
                write!(
                    f,
                    "non-finite at step {step} (t = {}); lower the rate, or the end time of a flow, or the initial scale",
                    Time(*time)
                )
            }
            Ending::StepLimit { time, limit } => {
                write!(
                    f,
                    "step limit {limit} reached at t = {}; raise max_steps, or lower time_end",
                    Time(*time)
                )
            }
            Ending::Interrupted { time } => write!(f, "interrupted at t = {}", Time(*time)),
        }
    }
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Accepted steps.
    pub steps: u64,
    /// Steps that the error control rejected.
    pub rejected: u64,
    /// Evaluations of the gradient that the trajectory needed.
    pub evaluations: u64,
    /// Further evaluations that only dense output at recording times needed.
    pub dense_evaluations: u64,
    /// Evaluations of the Jacobian of the gradient, by a method for stiff problems.
    pub jacobians: u64,
    /// Steps of an explicit method whose size stability limited, not the tolerance.
    pub stiff_steps: u64,
}
