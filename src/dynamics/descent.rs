//! Gradient descent with a fixed step, for full-batch and stochastic gradients alike.

use super::drive::Snapshot;
use super::vector::{all_finite, euclidean_norm};
use crate::record::{Effort, Ending};

/// Gradient descent `theta <- theta - rate * gradient`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// Learning rate: the training time that one step takes.
    pub rate: f64,
    /// Number of steps.
    pub steps: u64,
}

/// Where a descent stands; with the plan, all that it needs to go on bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Steps taken.
    pub step: u64,
    /// The parameters after them.
    pub theta: Vec<f64>,
}

impl Position {
    /// The beginning of a descent.
    pub fn new(theta: Vec<f64>) -> Self {
        Position { step: 0, theta }
    }

    /// What the steps taken have cost: one gradient each.
    pub fn effort(&self) -> Effort {
        Effort { steps: self.step, evaluations: self.step, ..Effort::default() }
    }
}

impl Descent {
    /// Training time after `step` steps: `rate * step`.
    pub fn time(&self, step: u64) -> f64 {
        self.rate * step as f64
    }

    /// Descends from `position` to the last step, or to an earlier [`Ending`], and shows the recorded states to `observer`.
    ///
    /// - `gradient(step, theta, out)` writes the gradient for step number `step`, counted from 0: the step from `theta` as it is
    ///   after `step` steps. Under SGD the number names the batch.
    /// - The observer sees the state after 0 steps, after each of `recording_steps` (sorted; duplicates and numbers beyond the
    ///   last are passed over) and at the end, once each. A state that is not finite is never shown: the run ends as
    ///   [`Ending::NonFinite`] at the last finite one, where `position` stays.
    /// - `stop` is a Euclidean norm of the gradient at or below which the run has converged; for full batches only, as the norm
    ///   of a stochastic gradient says little. It is checked after the first step and later, as in a flow.
    /// - `interrupted` is asked after each step. An interrupted run is not over: its last state is not shown, and a second call
    ///   goes on from `position` to the same end, bit for bit.
    ///
    /// Cost: one gradient a step; two buffers of the length of the parameters are allocated. Panics where the recording steps are not sorted.
    pub fn run<G>(
        &self,
        position: &mut Position,
        gradient: &mut G,
        recording_steps: &[u64],
        stop: Option<f64>,
        interrupted: &dyn Fn() -> bool,
        observer: &mut dyn FnMut(Snapshot<'_>),
    ) -> Ending
    where
        G: FnMut(u64, &[f64], &mut [f64]),
    {
        assert!(recording_steps.is_sorted(), "recording steps are not sorted");
        let mut slope = vec![0.0; position.theta.len()];
        let mut next = vec![0.0; position.theta.len()];
        let mut waiting = recording_steps.iter().copied().peekable();
        let mut shown = None;
        let mut show = |position: &Position, shown: &mut Option<u64>| {
            if *shown != Some(position.step) {
                let (time, step) = (self.time(position.step), position.step);
                observer(Snapshot { time, step, state: &position.theta, exact: true });
                *shown = Some(step);
            }
        };
        if position.step > 0 {
            // What an interrupted call has shown is not shown again.
            shown = recording_steps.contains(&position.step).then_some(position.step);
        } else if all_finite(&position.theta) {
            show(position, &mut shown);
        } else {
            return Ending::NonFinite { time: 0.0, step: 1 };
        }
        while waiting.next_if(|&step| step <= position.step).is_some() {}
        let ending = loop {
            if position.step >= self.steps {
                break Ending::StepsDone;
            }
            gradient(position.step, &position.theta, &mut slope);
            if let Some(threshold) = stop.filter(|_| position.step > 0) {
                let gradient_norm = euclidean_norm(&slope);
                if gradient_norm <= threshold {
                    break Ending::Converged { time: self.time(position.step), gradient_norm };
                }
            }
            for ((next, theta), slope) in next.iter_mut().zip(&position.theta).zip(&slope) {
                *next = theta - self.rate * slope;
            }
            if !all_finite(&next) {
                break Ending::NonFinite { time: self.time(position.step), step: position.step + 1 };
            }
            std::mem::swap(&mut position.theta, &mut next);
            position.step += 1;
            while waiting.next_if(|&step| step <= position.step).is_some() {
                show(position, &mut shown);
            }
            if position.step < self.steps && interrupted() {
                return Ending::Interrupted { time: self.time(position.step) };
            }
        };
        show(position, &mut shown);
        ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: &dyn Fn() -> bool = &|| false;

    /// Times, steps and parameters that an observer saw.
    type Seen = Vec<(f64, u64, Vec<f64>)>;

    /// Gradient of `sum_i (i + 1) theta_i^2 / 2`.
    fn quadratic(_: u64, theta: &[f64], out: &mut [f64]) {
        for (i, (out, theta)) in out.iter_mut().zip(theta).enumerate() {
            *out = (i + 1) as f64 * theta;
        }
    }

    fn observed(
        descent: Descent,
        gradient: &mut impl FnMut(u64, &[f64], &mut [f64]),
        recording: &[u64],
        stop: Option<f64>,
    ) -> (Ending, Seen, Position) {
        let mut position = Position::new(vec![1.0, -2.0]);
        let mut seen = Vec::new();
        let ending = descent.run(&mut position, gradient, recording, stop, NEVER, &mut |snapshot| {
            seen.push((snapshot.time, snapshot.step, snapshot.state.to_vec()));
        });
        (ending, seen, position)
    }

    #[test]
    fn descent_on_a_quadratic_is_the_power_of_its_contraction() {
        let (ending, seen, position) =
            observed(Descent { rate: 0.25, steps: 8 }, &mut quadratic, &[3, 3, 5], None);
        assert_eq!(ending, Ending::StepsDone);
        assert_eq!(seen.iter().map(|(_, step, _)| *step).collect::<Vec<_>>(), [0, 3, 5, 8]);
        for (time, step, theta) in seen {
            assert_eq!(time, 0.25 * step as f64);
            // 1 - 0.25 and 1 - 0.5 are exact, and so are their powers here.
            assert_eq!(theta, [0.75f64.powi(step as i32), -2.0 * 0.5f64.powi(step as i32)]);
        }
        assert_eq!(position.effort(), Effort { steps: 8, evaluations: 8, ..Effort::default() });
    }

    #[test]
    fn a_descent_that_diverges_ends_at_its_last_finite_state() {
        let (ending, seen, position) =
            observed(Descent { rate: 1e10, steps: 1000 }, &mut quadratic, &[5], None);
        let Ending::NonFinite { time, step } = ending else { panic!("{ending:?}") };
        assert_eq!((time, step), (1e10 * position.step as f64, position.step + 1));
        let (_, last, theta) = seen.last().unwrap();
        assert_eq!((*last, theta), (position.step, &position.theta));
        assert!(theta.iter().all(|value| value.is_finite()) && theta[1].abs() > 1e290);
        assert_eq!(seen.iter().map(|(_, step, _)| *step).collect::<Vec<_>>(), [0, 5, position.step]);
    }

    #[test]
    fn a_gradient_that_is_not_a_number_ends_the_descent_before_its_step() {
        let mut gradient = |step: u64, theta: &[f64], out: &mut [f64]| {
            quadratic(step, theta, out);
            if step == 4 {
                out[1] = f64::NAN;
            }
        };
        let (ending, seen, _) = observed(Descent { rate: 0.5, steps: 9 }, &mut gradient, &[4, 5], Some(0.0));
        assert_eq!(ending, Ending::NonFinite { time: 2.0, step: 5 });
        assert_eq!(seen.iter().map(|(_, step, _)| *step).collect::<Vec<_>>(), [0, 4]);
    }

    #[test]
    fn a_descent_starting_from_a_broken_state_shows_nothing() {
        let mut position = Position::new(vec![f64::NAN]);
        let ending = Descent { rate: 0.1, steps: 3 }.run(
            &mut position,
            &mut |_, _, _| panic!("the gradient of a broken state was asked for"),
            &[],
            None,
            NEVER,
            &mut |_| panic!("a broken state was shown"),
        );
        assert_eq!(ending, Ending::NonFinite { time: 0.0, step: 1 });
    }

    #[test]
    fn a_small_gradient_ends_the_descent_and_the_norm_is_that_of_the_state_shown() {
        let (ending, seen, position) =
            observed(Descent { rate: 0.25, steps: 1000 }, &mut quadratic, &[], Some(1e-3));
        let Ending::Converged { time, gradient_norm } = ending else { panic!("{ending:?}") };
        assert_eq!(time, 0.25 * position.step as f64);
        let theta = &seen.last().unwrap().2;
        assert_eq!(gradient_norm, (theta[0].powi(2) + (2.0 * theta[1]).powi(2)).sqrt());
        assert!(gradient_norm <= 1e-3 && gradient_norm > 0.7e-3);
    }

    #[test]
    fn a_descent_interrupted_after_every_step_shows_and_reaches_the_same() {
        let descent = Descent { rate: 0.1, steps: 20 };
        let noisy = |step: u64, theta: &[f64], out: &mut [f64]| {
            quadratic(step, theta, out);
            out[0] += (step as f64).sin();
        };
        let recording = [0, 1, 7, 7, 19, 20, 40];
        let (ending, seen, position) = observed(descent, &mut noisy.clone(), &recording, None);
        let mut parts = Vec::new();
        let mut stored = Position::new(vec![1.0, -2.0]);
        let mut calls = 0;
        let last = loop {
            let mut resumed = stored.clone();
            let ending =
                descent.run(&mut resumed, &mut noisy.clone(), &recording, None, &|| true, &mut |s| {
                    parts.push((s.time, s.step, s.state.to_vec()));
                });
            stored = resumed;
            calls += 1;
            if !matches!(ending, Ending::Interrupted { .. }) {
                break ending;
            }
        };
        assert_eq!((calls, last, &parts, &stored), (20, ending, &seen, &position));
        assert_eq!(seen.iter().map(|(_, step, _)| *step).collect::<Vec<_>>(), [0, 1, 7, 19, 20]);
    }
}
