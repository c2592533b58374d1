//! From the start of a flow to its end, with an observer at the recording times.

use super::integrator::{Integrator, Scheme, StepResult};
use super::vector::euclidean_norm;
use crate::record::Ending;

/// What the observer of a run sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot<'a> {
    /// Training time.
    pub time: f64,
    /// Number of accepted steps up to and including the one that contains or ends at this time; 0 at the start.
    pub step: u64,
    /// The state at this time.
    pub state: &'a [f64],
    /// Whether the state is one of the trajectory itself, not an interpolated one.
    pub exact: bool,
}

/// Integrates to the end of `integrator`, or to an earlier [`Ending`], and shows the recorded states to `observer`.
///
/// - The observer sees the start, each of `recording_times` (sorted; duplicates and times outside the run are passed over) by
///   dense output, and the state with which the run ends, exactly as the trajectory has it. No time comes twice.
/// - `stop` is a Euclidean norm of the field at or below which the run has converged. It is checked after accepted steps only.
/// - `interrupted` is asked after each accepted step. An interrupted run is not over: its last state is not shown, and a second
///   call, on this integrator or on one restored from its [`Checkpoint`](super::Checkpoint), goes on, shows only what was not
///   yet shown, and reaches the same end bit for bit. This is also how to write checkpoints at intervals.
/// - Should an extra stage of dense output not be finite, the run ends as [`Ending::NonFinite`] at the last accepted state: the
///   field has a hole in the middle of a step.
///
/// Cost: that of the steps and of the dense output; one buffer of the length of the state is allocated. Panics where the recording
/// times are not sorted or one is not a number.
pub fn integrate<F, S>(
    integrator: &mut Integrator<S>,
    field: &mut F,
    recording_times: &[f64],
    stop: Option<f64>,
    interrupted: &dyn Fn() -> bool,
    observer: &mut dyn FnMut(Snapshot<'_>),
) -> Ending
where
    S: Scheme<F>,
{
    assert!(recording_times.is_sorted() && !recording_times.iter().any(|time| time.is_nan()));
    let mut buffer = vec![0.0; integrator.state().len()];
    // Recording at the end coincides with the end.
    let inside = recording_times.partition_point(|&time| time < integrator.time_end());
    let mut waiting = recording_times[..inside].iter().copied().peekable();
    // The time shown last: at the start, or where an earlier call stopped exactly on a recording time.
    let mut shown = None;
    if integrator.effort().steps == 0 {
        show_last_state(integrator, observer);
        shown = Some(integrator.time());
    } else if recording_times[..inside].contains(&integrator.time()) {
        shown = Some(integrator.time());
    }
    while waiting.next_if(|&time| time <= integrator.time()).is_some() {}
    let ending = loop {
        if let StepResult::Ended(ending) = integrator.step(field) {
            break ending;
        }
        let step = integrator.effort().steps;
        let mut broken = false;
        while let Some(time) = waiting.next_if(|&time| time <= integrator.time()) {
            if shown == Some(time) {
                continue;
            }
            if !integrator.interpolate(field, time, &mut buffer) {
                broken = true;
                break;
            }
            observer(Snapshot { time, step, state: &buffer, exact: time == integrator.time() });
            shown = Some(time);
        }
        if broken {
            break Ending::NonFinite { time: integrator.time(), step };
        }
        if let Some(threshold) = stop {
            let gradient_norm = euclidean_norm(integrator.derivative());
            if gradient_norm <= threshold {
                break Ending::Converged { time: integrator.time(), gradient_norm };
            }
        }
        if integrator.time() < integrator.time_end() && interrupted() {
            return Ending::Interrupted { time: integrator.time() };
        }
    };
    if shown != Some(integrator.time()) {
        show_last_state(integrator, observer);
    }
    ending
}

fn show_last_state<S>(integrator: &Integrator<S>, observer: &mut dyn FnMut(Snapshot<'_>)) {
    observer(Snapshot {
        time: integrator.time(),
        step: integrator.effort().steps,
        state: integrator.state(),
        exact: true,
    });
}
