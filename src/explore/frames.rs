//! A run as lines of JSON: each recorded time as soon as it is there.

use super::choices::Choices;
use crate::experiment::Experiment;
use crate::page::in_legend;
use crate::record::Trajectory;
use crate::run::{Pause, simulate_from};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

/// New frames leave at least so often.
const OFTEN: Duration = Duration::from_millis(20);

/// Runs `choices`, and gives each line to `send` until that says that nobody listens. Lines are objects: `words` (names of the
/// arrays) first, then a `frame` for each recorded time, and `end` or `error` last. Numbers are those of the record, to the
/// last bit.
pub(super) fn stream(choices: &Choices, stop: &dyn Fn() -> bool, send: &dyn Fn(String) -> bool) {
    let line = |value: Value| send(format!("{value}\n"));
    let text = choices.to_toml();
    let experiment = match Experiment::parse("explored.toml", Path::new("."), &text, &[]) {
        Ok(experiment) => experiment,
        Err(problem) => {
            line(json!({ "error": problem.message() }));
            return;
        }
    };
    let plan = &experiment.plans[0];
    let prepared = match plan.prepare() {
        Ok(prepared) => prepared,
        Err(problem) => {
            line(json!({ "error": problem.message() }));
            return;
        }
    };
    let sent = RefCell::new(Sent { frames: 0, since: Instant::now(), gone: false });
    let watch = |_: f64| {
        let sent = sent.borrow();
        match (sent.gone || stop(), sent.since.elapsed() >= OFTEN) {
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
    if !sent.gone {
        let effort = simulation.effort;
        line(json!({ "end": {
            "ending": simulation.ending.to_string(),
            "finished": simulation.ending.is_finished(),
            "steps": effort.steps,
            "evaluations": effort.evaluations,
            "warnings": simulation.warnings,
        } }));
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
                trajectory.columns.keys().map(|name| (name.clone(), json!(in_legend(name)))).collect();
            self.gone |= !line(json!({ "words": words }));
        }
        while !self.gone && self.frames < trajectory.time.len() {
            let at = self.frames;
            let arrays: Map<String, Value> = trajectory
                .columns
                .iter()
                .filter(|(name, _)| is_shown(name))
                .map(|(name, column)| (name.clone(), json!([column.row_shape, column.row(at)])))
                .collect();
            let frame = json!({ "time": trajectory.time[at], "step": trajectory.step[at], "arrays": arrays });
            self.gone |= !line(json!({ "frame": frame }));
            self.frames += 1;
        }
    }
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

    fn lines(pairs: &[(&str, &str)], most: usize) -> Vec<Value> {
        let given: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        let seen = RefCell::new(Vec::new());
        stream(&Choices::of(&given).unwrap(), &|| false, &|line| {
            seen.borrow_mut().push(serde_json::from_str(&line).unwrap());
            seen.borrow().len() < most
        });
        seen.into_inner()
    }

    #[test]
    fn a_run_is_words_then_frames_then_its_end() {
        let lines = lines(&[("dim", "4"), ("time_end", "3")], usize::MAX);
        assert_eq!(lines[0]["words"]["sigma_w1"], "W₁");
        let frames: Vec<&Value> =
            lines.iter().filter(|line| line["frame"].is_object()).map(|line| &line["frame"]).collect();
        assert_eq!(frames.len(), 151);
        assert_eq!((frames[0]["time"].as_f64(), frames[150]["time"].as_f64()), (Some(0.0), Some(3.0)));
        assert_eq!(frames[0]["arrays"]["alignment_1_2"][0], json!([4, 4]));
        assert_eq!(lines.last().unwrap()["end"]["finished"], true);
    }

    #[test]
    fn a_run_that_nobody_listens_to_stops_and_an_impossible_one_says_why() {
        assert_eq!(lines(&[("dynamics", "gd"), ("steps", "20000"), ("samples", "256")], 3).len(), 3);
        let refused = lines(&[("loss", "infonce-cosine")], usize::MAX);
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0]["error"].as_str().is_some_and(|message| message.contains("cosine")),
            "{refused:?}"
        );
        let refused = lines(&[("dynamics", "sgd"), ("samples", "64")], usize::MAX);
        assert!(refused[0]["error"].as_str().is_some_and(|message| message.contains("128")), "{refused:?}");
    }
}
