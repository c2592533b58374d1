//! What a claim can come to.

use std::fmt;

/// The outcome of examining a claim. Computed from evidence, never typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An identity, to a stated tolerance, on random instances and their hard cases; or a theorem on every run whose
    /// hypotheses held.
    Holds,
    /// A statement about a limit or about trained networks: what was seen agrees with it, as far as T and N reach.
    Consistent,
    /// Nothing was seen of it, because a hypothesis failed wherever it was looked for.
    OutsideHypotheses,
    /// There is a counterexample.
    Refuted,
    /// It could not be judged, for a stated reason.
    Inconclusive,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 5] = [
        Verdict::Holds,
        Verdict::Consistent,
        Verdict::OutsideHypotheses,
        Verdict::Refuted,
        Verdict::Inconclusive,
    ];

    /// The word that tables and JSON use.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Consistent => "consistent",
            Verdict::OutsideHypotheses => "outside-hypotheses",
            Verdict::Refuted => "refuted",
            Verdict::Inconclusive => "inconclusive",
        }
    }

    /// The verdict of this name.
    pub fn named(name: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| verdict.name() == name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
