//! A run as lines of JSON: each recorded time as soon as it is there.

use super::choices::Choices;
use super::work::{Listener, Stop};
use crate::experiment::Experiment;
use crate::page::in_legend;
use crate::record::{Column, Ending, Trajectory};
use crate::run::{Pause, simulate_from};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

/// New frames leave at least so often.
const OFTEN: Duration = Duration::from_millis(20);

/// Runs `choices` and tells `listener`. Lines are objects: `words` (names of the arrays) first, then a `frame` for each recorded
/// time, and `end` or `error` last. Numbers are those of the record, to the last bit.
pub(super) fn stream(choices: &Choices, listener: &dyn Listener) {
    let last = |value: Value| listener.send_last(format!("{value}\n"));
    let text = choices.to_toml();
    let experiment = match Experiment::parse("explored.toml", Path::new("."), &text, &[]) {
        Ok(experiment) => experiment,
        Err(problem) => return last(json!({ "error": problem.message() })),
    };
    let plan = &experiment.plans[0];
    let prepared = match plan.prepare() {
        Ok(prepared) => prepared,
        Err(problem) => return last(json!({ "error": problem.message() })),
    };
    let line = |value: Value| listener.send(format!("{value}\n"));
    let sent = RefCell::new(Sent { frames: 0, since: Instant::now(), gone: false });
    let stopped = Cell::new(None);
    let watch = |_: f64| {
        let sent = sent.borrow();
        // A stiff run may have no new line to send for long: it is asked here whether it is to stop.
        stopped.set(listener.stop());
        match (sent.gone || stopped.get().is_some(), sent.since.elapsed() >= OFTEN) {
            (true, _) => Pause::Stop,
            (false, true) => Pause::Keep,
            (false, false) => Pause::GoOn,
        }
    };
    let simulation = simulate_from(None, plan, prepared, &watch, &mut |checkpoint| {
        let mut sent = sent.borrow_mut();
        sent.since = Instant::now();
        sent.frames_of(&checkpoint.trajectory, &line);
    });
    let mut sent = sent.into_inner();
    sent.frames_of(&simulation.trajectory, &line);
    let effort = simulation.effort;
    let stop = if sent.gone { listener.stop() } else { stopped.get() };
    last(json!({ "end": {
        "ending": ending(&simulation.ending, stop, sent.gone),
        "finished": simulation.ending.is_finished() && !sent.gone,
        "steps": effort.steps,
        "evaluations": effort.evaluations,
        "warnings": simulation.warnings,
    } }));
}

/// How the run ended, and why it was stopped if it was. `cut`: not all of it could be sent.
fn ending(ending: &Ending, stop: Option<Stop>, cut: bool) -> String {
    let stopped = matches!(ending, Ending::Interrupted { .. });
    let text = ending.to_string().replacen("interrupted", "stopped", 1);
    match stop {
        Some(Stop::Superseded) if stopped || cut => {
            format!("{text}: another run has begun, and one is at work at a time")
        }
        Some(Stop::TooLong(limit)) if stopped => format!(
            "{text} after {} s, the most that a run has here; `contraflow run` gives the saved file all the time that it needs",
            limit.as_secs()
        ),
        Some(Stop::TooLong(limit)) if cut => {
            format!("{text}, but the page has not read all of it within {} s", limit.as_secs())
        }
        _ => text,
    }
}

/// What has left.
struct Sent {
    frames: usize,
    since: Instant,
    /// Whether nobody listens any more.
    gone: bool,
}

impl Sent {
    /// Sends the frames that are new.
    fn frames_of(&mut self, trajectory: &Trajectory, line: &dyn Fn(Value) -> bool) {
        if self.frames == 0 && !trajectory.time.is_empty() {
            let words: Map<String, Value> =
                shown(trajectory).map(|(name, _)| (name.clone(), json!(in_legend(name)))).collect();
            self.gone |= !line(json!({ "words": words }));
        }
        while !self.gone && self.frames < trajectory.time.len() {
            let at = self.frames;
            let arrays: Map<String, Value> = shown(trajectory)
                .map(|(name, column)| (name.clone(), json!([column.row_shape, column.row(at)])))
                .collect();
            let frame = json!({ "time": trajectory.time[at], "step": trajectory.step[at], "arrays": arrays });
            self.gone |= !line(json!({ "frame": frame }));
            self.frames += 1;
        }
    }
}

/// What the page has a panel for.
fn shown(trajectory: &Trajectory) -> impl Iterator<Item = (&String, &Column)> {
    trajectory.columns.iter().filter(|(name, _)| is_shown(name))
}

fn is_shown(name: &str) -> bool {
    !name.starts_with("alignment_score_")
        && !name.starts_with("alignment_resolved_")
        && ["sigma_", "floor_", "eig_x", "alignment_", "effective_rank_", "loss"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Listens to so many lines, and has the run stopped when there are so many.
    struct Test {
        seen: RefCell<Vec<Value>>,
        most: usize,
        stop: Option<(usize, Stop)>,
    }

    impl Listener for Test {
        fn stop(&self) -> Option<Stop> {
            let seen = self.seen.borrow().len();
            self.stop.filter(|(after, _)| seen >= *after).map(|(_, stop)| stop)
        }

        fn send(&self, line: String) -> bool {
            self.send_last(line);
            self.seen.borrow().len() < self.most
        }

        fn send_last(&self, line: String) {
            self.seen.borrow_mut().push(serde_json::from_str(&line).unwrap());
        }
    }

    fn heard(pairs: &[(&str, &str)], most: usize, stop: Option<(usize, Stop)>) -> Vec<Value> {
        let given: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        let test = Test { seen: RefCell::new(Vec::new()), most, stop };
        stream(&Choices::of(&given).unwrap(), &test);
        test.seen.into_inner()
    }

    fn lines(pairs: &[(&str, &str)]) -> Vec<Value> {
        heard(pairs, usize::MAX, None)
    }

    #[test]
    fn a_run_is_words_then_frames_then_its_end() {
        let lines = lines(&[("dim", "4"), ("time_end", "3")]);
        assert_eq!(lines[0]["words"]["sigma_w1"], "W₁");
        let frames: Vec<&Value> =
            lines.iter().filter(|line| line["frame"].is_object()).map(|line| &line["frame"]).collect();
        assert_eq!(frames.len(), 151);
        assert_eq!((frames[0]["time"].as_f64(), frames[150]["time"].as_f64()), (Some(0.0), Some(3.0)));
        assert_eq!(frames[0]["arrays"]["alignment_1_2"][0], json!([4, 4]));
        assert_eq!(lines.last().unwrap()["end"]["finished"], true);
        // There is a word for each array of a frame, and no other.
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&lines[0]["words"]), names(&frames[0]["arrays"]));
    }

    #[test]
    fn a_run_that_is_stopped_says_why() {
        let long = [("dynamics", "gd"), ("steps", "20000"), ("samples", "256")];
        for (stop, words) in [
            (Stop::Superseded, "stopped at t = "),
            (Stop::Superseded, "another run has begun"),
            (Stop::TooLong(Duration::from_secs(60)), "after 60 s, the most"),
        ] {
            let lines = heard(&long, usize::MAX, Some((3, stop)));
            let end = &lines.last().unwrap()["end"];
            assert_eq!(end["finished"], false);
            assert!(end["ending"].as_str().unwrap().contains(words), "{end}");
        }
        // What ends by itself says nothing of the kind.
        let lines = lines(&[("dim", "4"), ("time_end", "3")]);
        assert_eq!(lines.last().unwrap()["end"]["ending"], "time reached");
    }

    #[test]
    fn a_run_that_nobody_listens_to_stops_and_an_impossible_one_says_why() {
        let long = [("dynamics", "gd"), ("steps", "20000"), ("samples", "256")];
        assert_eq!(heard(&long, 3, None).len(), 4, "and its end");
        let refused = lines(&[("loss", "infonce-cosine")]);
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0]["error"].as_str().is_some_and(|message| message.contains("cosine")),
            "{refused:?}"
        );
        let refused = lines(&[("dynamics", "sgd"), ("samples", "64")]);
        assert!(refused[0]["error"].as_str().is_some_and(|message| message.contains("128")), "{refused:?}");
    }
}
