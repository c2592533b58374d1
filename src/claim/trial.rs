//! Statements about runs: a check says of each run whether it agrees, contradicts, or lies outside the hypotheses.

use super::case::Run;
use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::verdict::Verdict;
use serde_json::{Map, Value, json};

/// What a check says of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The run is as stated.
    Agrees,
    /// The run is not as stated, and why.
    Contradicts(String),
    /// A hypothesis of the statement fails in the run.
    Outside {
        /// Which one.
        hypothesis: &'static str,
        /// When, and by what number.
        why: String,
    },
}

/// What a check came to over runs.
#[derive(Debug)]
pub struct Trial<'a> {
    agreed: usize,
    contradicted: Vec<(&'a Run, String)>,
    outside: Vec<(&'static str, &'a Run, String)>,
}

impl<'a> Trial<'a> {
    /// The check on each of `runs`.
    ///
    /// # Errors
    /// The first error of the check.
    pub fn of(
        runs: impl IntoIterator<Item = &'a Run>,
        check: &dyn Fn(&'a Run) -> Result<Said, String>,
    ) -> Result<Self, String> {
        let mut trial = Trial { agreed: 0, contradicted: Vec::new(), outside: Vec::new() };
        for run in runs {
            match check(run)? {
                Said::Agrees => trial.agreed += 1,
                Said::Contradicts(why) => trial.contradicted.push((run, why)),
                Said::Outside { hypothesis, why } => trial.outside.push((hypothesis, run, why)),
            }
        }
        Ok(trial)
    }

    /// Runs in which the hypotheses held.
    pub fn judged(&self) -> usize {
        self.agreed + self.contradicted.len()
    }

    /// Runs that are as stated.
    pub fn agreed(&self) -> usize {
        self.agreed
    }

    /// Whether any run contradicts the statement.
    pub fn rejects(&self) -> bool {
        !self.contradicted.is_empty()
    }

    /// Whether every run that was judged contradicts the statement, and one was.
    pub fn rejects_all(&self) -> bool {
        self.rejects() && self.agreed == 0
    }

    /// How many contradict, and how the first one does.
    pub fn words(&self) -> String {
        match self.contradicted.first() {
            _ if self.judged() == 0 => "judged on no run".to_string(),
            None => format!("{} of {} runs agree", self.agreed, self.judged()),
            Some((run, why)) => format!(
                "contradicted by {} of {} runs, first {}: {why}",
                self.contradicted.len(),
                self.judged(),
                label(run)
            ),
        }
    }

    /// The statement as a consistent one, a refuted one with the first run that contradicts it, or one whose hypotheses failed
    /// everywhere.
    pub fn finding(&self, summary: String, hypotheses: &[&'static str], control: Control) -> Finding {
        let verdict = match (self.judged(), self.rejects()) {
            (0, _) => Verdict::OutsideHypotheses,
            (_, true) => Verdict::Refuted,
            _ => Verdict::Consistent,
        };
        let counterexample = self.contradicted.first().map(|(run, _)| Counterexample::Plan(run.to_toml()));
        let summary = if verdict == Verdict::Consistent { summary } else { self.words() };
        let hypotheses = hypotheses.iter().map(|name| self.hypothesis(name)).collect();
        let mut evidence = Map::new();
        evidence.insert("runs".to_string(), self.to_json());
        Finding { verdict, summary, evidence, hypotheses, control, counterexample }
    }

    /// A hypothesis: it held wherever the claim was judged; where it fails is told, and is not judged.
    fn hypothesis(&self, name: &'static str) -> Hypothesis {
        let failing: Vec<_> = self.outside.iter().filter(|(other, ..)| *other == name).collect();
        match failing.first() {
            None => Hypothesis::held(name),
            Some((_, run, why)) if self.judged() == 0 => {
                Hypothesis::unless(name, Some(format!("{}: {why}", label(run))))
            }
            Some((_, run, why)) => Hypothesis::held(format!(
                "{name} (not judged where it fails: {}, first {}: {why})",
                failing.len(),
                label(run)
            )),
        }
    }

    /// Counts, and what the runs that contradict or lie outside were like.
    pub fn to_json(&self) -> Value {
        let contradicted: Vec<Value> =
            self.contradicted.iter().map(|(run, why)| json!({ "run": label(run), "why": why })).collect();
        let outside: Vec<Value> = self
            .outside
            .iter()
            .map(|(hypothesis, run, why)| json!({ "run": label(run), "fails": hypothesis, "why": why }))
            .collect();
        json!({ "judged": self.judged(), "agree": self.agreed, "contradict": contradicted, "outside": outside })
    }
}

/// A run in a few words: its swept values, of tables their kind alone, and its repeat.
pub fn label(run: &Run) -> String {
    let short = |value: &str| match value.strip_prefix('{').and_then(|table| table.split('"').nth(1)) {
        Some(kind) => kind.to_string(),
        None => value.to_string(),
    };
    let values = run.plan.assignments.iter().map(|a| format!("{} = {}", a.key, short(&a.value)));
    values.chain([format!("repeat {}", run.plan.seed.repeat)]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;
    use crate::run::StoredRun;
    use std::collections::BTreeMap;
    use std::path::Path;

    const TEXT: &str = r#"
seed     = 1
data     = { kind = "gaussian", dim = 2, samples = 4 }
augment  = { kind = "isotropic", variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [2, 2], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 1 }
observe  = { times = { kind = "linear", every = 1 }, quantities = ["loss"] }
sweep    = { "augment.variance" = [1.0, 2.0, 3.0] }
"#;

    fn runs() -> Vec<Run> {
        let experiment = Experiment::parse("test.toml", Path::new("."), TEXT, &[]).unwrap();
        let stored = || StoredRun { outcome: Value::Null, arrays: BTreeMap::new() };
        let run = |plan| Run { plan, stored: stored(), state: BTreeMap::new() };
        experiment.plans.into_iter().map(run).collect()
    }

    fn below(limit: f64) -> impl Fn(&Run) -> Result<Said, String> {
        move |run| {
            Ok(match run.swept_number("augment.variance")? {
                3.0 => Said::Outside { hypothesis: "k < 3", why: "k = 3".to_string() },
                k if k < limit => Said::Agrees,
                k => Said::Contradicts(format!("{k} is no less than {limit}")),
            })
        }
    }

    #[test]
    fn runs_outside_the_hypotheses_are_told_and_not_judged() {
        let runs = runs();
        let control = || Control::new("", true);
        let trial = Trial::of(&runs, &below(2.5)).unwrap();
        assert_eq!((trial.judged(), trial.agreed(), trial.rejects()), (2, 2, false));
        let finding = trial.finding("fine".to_string(), &["k < 3"], control());
        assert_eq!((finding.verdict, finding.summary.as_str()), (Verdict::Consistent, "fine"));
        assert!(
            finding.hypotheses[0].held && finding.hypotheses[0].name.contains("not judged where it fails: 1")
        );
        let finding =
            Trial::of(&runs[2..], &below(2.5)).unwrap().finding(String::new(), &["k < 3"], control());
        assert_eq!(finding.verdict, Verdict::OutsideHypotheses);
        assert!(!finding.hypotheses[0].held && finding.hypotheses[0].first_violation.is_some());
    }

    #[test]
    fn a_run_that_contradicts_refutes_and_can_be_repeated() {
        let runs = runs();
        let trial = Trial::of(&runs, &below(1.5)).unwrap();
        assert!(trial.rejects() && !trial.rejects_all());
        assert!(Trial::of(&runs[1..], &below(1.5)).unwrap().rejects_all());
        let finding = trial.finding(String::new(), &[], Control::new("", true));
        assert_eq!(finding.verdict, Verdict::Refuted);
        assert!(finding.summary.contains("1 of 2 runs") && finding.summary.contains("augment.variance = 2"));
        let Some(Counterexample::Plan(plan)) = finding.counterexample else { panic!() };
        assert!(Experiment::parse("plan.toml", Path::new("."), &plan, &[]).is_ok());
    }

    #[test]
    fn labels_name_swept_values_and_the_kind_of_tables() {
        let swept =
            r#"sweep={ "loss" = [{ kind = "infonce-dot", temperature = 0.5 }], "data.samples" = [9] }"#;
        let experiment = Experiment::parse("test.toml", Path::new("."), TEXT, &[swept.to_string()]).unwrap();
        let stored = StoredRun { outcome: Value::Null, arrays: BTreeMap::new() };
        let run = Run { plan: experiment.plans[0].clone(), stored, state: BTreeMap::new() };
        assert_eq!(label(&run), "loss = infonce-dot, data.samples = 9, repeat 0");
    }

    #[test]
    fn an_error_of_the_check_is_passed_on() {
        let runs = runs();
        assert!(Trial::of(&runs, &|run| run.last("loss").map(|_| Said::Agrees)).is_err());
    }
}
