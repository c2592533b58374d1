//! What the examination of a claim found: verdict, evidence, hypotheses, control, counterexample.

use super::verdict::Verdict;
use crate::matrix::Matrix;
use serde_json::{Map, Value, json};

/// An assumption of a claim, and whether it held where the claim was examined.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// What was assumed, as a measurable predicate.
    pub name: String,
    /// Whether it held wherever the claim was judged.
    pub held: bool,
    /// Where it failed first, if it did: the instance or the time, and the number.
    pub first_violation: Option<String>,
}

impl Hypothesis {
    /// One that held.
    pub fn held(name: impl Into<String>) -> Self {
        Hypothesis { name: name.into(), held: true, first_violation: None }
    }

    /// One that failed first as told, or held where there is nothing to tell.
    pub fn unless(name: impl Into<String>, first_violation: Option<String>) -> Self {
        Hypothesis { name: name.into(), held: first_violation.is_none(), first_violation }
    }
}

/// A negative control: the same check on something that it must reject.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// What the check was given, and what it said.
    pub what: String,
    /// Whether it was rejected as it should be; nothing where nothing was judged.
    pub rejected: Option<bool>,
}

impl Control {
    /// The same check was given `what` and rejected it, or not.
    pub fn new(what: impl Into<String>, rejected: bool) -> Self {
        Control { what: what.into(), rejected: Some(rejected) }
    }
}

/// Something that anyone can re-run and see the claim fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Counterexample {
    /// An experiment file that `contraflow run` accepts.
    Plan(String),
    /// A few matrices, and the formula that fails on them.
    Matrices {
        /// The formula with both sides' values.
        formula: String,
        /// The matrices by name.
        matrices: Vec<(String, Matrix)>,
    },
}

impl Counterexample {
    fn to_json(&self) -> Value {
        match self {
            Counterexample::Plan(plan) => json!({ "plan": plan }),
            Counterexample::Matrices { formula, matrices } => {
                let matrices: Map<String, Value> =
                    matrices.iter().map(|(name, matrix)| (name.clone(), rows(matrix))).collect();
                json!({ "matrices": matrices, "formula": formula })
            }
        }
    }
}

/// A matrix as a list of its rows.
fn rows(matrix: &Matrix) -> Value {
    matrix.row_iter().map(|row| row.iter().map(|value| json!(value)).collect::<Value>()).collect()
}

/// What the examination of a claim found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The outcome.
    pub verdict: Verdict,
    /// The deciding figure, in a line.
    pub summary: String,
    /// Everything that was measured, by name, in the order in which it is shown.
    pub evidence: Map<String, Value>,
    /// What was assumed, and whether it held.
    pub hypotheses: Vec<Hypothesis>,
    /// The negative control.
    pub control: Control,
    /// Where the claim is refuted: something that shows it.
    pub counterexample: Option<Counterexample>,
}

impl Finding {
    /// A claim that could not be judged.
    pub fn inconclusive(why: impl Into<String>) -> Self {
        Finding {
            verdict: Verdict::Inconclusive,
            summary: why.into(),
            evidence: Map::new(),
            hypotheses: Vec::new(),
            control: Control { what: "none: nothing was judged".to_string(), rejected: None },
            counterexample: None,
        }
    }

    /// Adds a measurement.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.evidence.insert(name.to_string(), value.into());
        self
    }

    /// The same, undecided for this reason where it would be consistent.
    #[must_use]
    pub fn undecided(mut self, why: &str) -> Self {
        if self.verdict == Verdict::Consistent {
            self.verdict = Verdict::Inconclusive;
            self.summary = format!("{why}: {}", self.summary);
        }
        self
    }

    /// The finding on the claim `id` as the object that `verify --json` prints.
    pub fn to_json(&self, id: &str, source: &str, statement: &str) -> Value {
        let hypotheses: Vec<Value> = self
            .hypotheses
            .iter()
            .map(|h| json!({ "name": h.name, "held": h.held, "first_violation": h.first_violation }))
            .collect();
        json!({
            "id": id,
            "source": source,
            "statement": statement,
            "verdict": self.verdict.name(),
            "summary": self.summary,
            "evidence": self.evidence,
            "hypotheses": hypotheses,
            "control": { "what": self.control.what, "rejected": self.control.rejected },
            "counterexample": self.counterexample.as_ref().map(Counterexample::to_json),
        })
    }
}
