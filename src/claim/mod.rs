//! The audit: every statement of the paper as a claim that a computation upholds, qualifies or refutes.
//!
//! A claim owns its statement as printed, its source, the experiments whose records it wants to see, the check and its
//! negative control. It starts nothing: the command line runs what it names, and the claim judges the records. Where a statement as printed is
//! refuted, a claim of its own, called `<id>-corrected` and kept in the same file, holds the repaired one.
//!
//! Three kinds of evidence are kept apart ([`Evidence`]): algebraic identities on random instances, statements about
//! trajectories of trained networks, and limit statements, which are judged over growing T and N.

mod alignment;
mod bias_collapse;
mod case;
mod conditions;
mod convexity_in_m;
mod corollary_1;
mod corollary_2;
pub mod directclr_equivalence;
pub mod eq_10;
pub mod eq_4;
pub mod eq_5;
pub mod eq_6;
mod figure_11;
mod figure_12;
mod figure_3;
mod figure_5;
mod figure_6;
mod finding;
mod finite_n_freeze;
#[cfg(test)]
mod fixtures;
mod identity;
mod instances;
mod landscape;
pub mod lemma_1;
pub mod lemma_2;
pub mod lemma_3;
pub mod lemma_4;
pub mod lemma_5;
pub mod lemma_6;
pub mod lemma_7;
mod lifetime_law;
mod modes;
mod moving;
mod no_threshold_dot;
mod no_threshold_two_sided;
mod persistence;
mod population_x;
mod projectors;
mod proposition_1;
mod proposition_2;
mod rank_law;
mod real_network;
mod real_spectra;
pub mod residual_argument;
mod spectra;
mod statistics;
mod tables;
mod theorem_1;
mod theorem_2;
pub mod theorem_3;
mod threshold_one_sided;
mod toy_figures;
mod trial;
mod vanishing;
mod verdict;

pub use case::{Case, Level, NeededExperiment, Run, Source};
pub use conditions::{CONDITIONS, Condition, Held, Strip, strips};
pub use finding::{Control, Counterexample, Finding, Hypothesis};
pub use identity::{Checked, Discrepancy};
pub use instances::Batch;
pub use statistics::{Median, number};
pub use verdict::Verdict;

/// What a claim is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Algebra on random instances and their hard cases.
    Identity,
    /// Runs of trained networks.
    Trajectory,
    /// Runs over growing T and N, by their trend.
    Limit,
    /// The record of a real network.
    RealNetwork,
}

impl Evidence {
    /// In words.
    pub fn about(self) -> &'static str {
        match self {
            Evidence::Identity => "an identity, on random instances and their hard cases",
            Evidence::Trajectory => "trajectories of trained networks",
            Evidence::Limit => "a limit, over growing T and N",
            Evidence::RealNetwork => "the record of a real network",
        }
    }
}

/// A statement on trial.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Its name, as experiment files and the notes mark it.
    pub id: &'static str,
    /// Where the paper, or this project, says so.
    pub source: &'static str,
    /// What is stated, in our words.
    pub statement: &'static str,
    /// The formula as printed; empty where there is none.
    pub formula: &'static str,
    /// What it is judged by.
    pub evidence: Evidence,
    /// The experiments whose records it is judged on.
    pub experiments: &'static [NeededExperiment],
    /// Judges it; an error says why that was not possible.
    pub judge: fn(&Case) -> Result<Finding, String>,
}

impl Claim {
    /// Examines the claim. What could not be judged is inconclusive, and says why.
    pub fn examine(&self, case: &Case) -> Finding {
        (self.judge)(case).unwrap_or_else(Finding::inconclusive)
    }

    /// The verdict that the repository records, or nothing where it records none.
    pub fn recorded(&self) -> Option<Verdict> {
        recorded()
            .into_iter()
            .find(|(id, _)| *id == self.id)
            .and_then(|(_, verdict)| Verdict::named(&verdict))
    }
}

/// The verdicts as the repository records them.
const RECORDED: &str = include_str!("recorded.toml");

/// Name and verdict of every line of [`RECORDED`].
fn recorded() -> Vec<(String, String)> {
    let Ok(table) = toml::de::DeTable::parse(RECORDED) else { return Vec::new() };
    let entry = |verdict: &toml::de::DeValue<'_>| verdict.as_str().unwrap_or_default().to_string();
    table.get_ref().iter().map(|(id, verdict)| (id.get_ref().to_string(), entry(verdict.get_ref()))).collect()
}

/// All claims, in the order of the paper, those beyond it after them.
pub fn all() -> Vec<Claim> {
    vec![
        eq_4::CLAIM,
        eq_5::CLAIM,
        eq_6::AS_PRINTED,
        eq_6::CORRECTED,
        lemma_1::CLAIM,
        lemma_2::CLAIM,
        theorem_1::AS_PRINTED,
        theorem_1::CORRECTED,
        corollary_1::AS_PRINTED,
        corollary_1::CORRECTED,
        lemma_3::CLAIM,
        eq_10::CLAIM,
        lemma_4::CLAIM,
        lemma_5::AS_PRINTED,
        lemma_5::CORRECTED,
        lemma_6::AS_PRINTED,
        lemma_6::CORRECTED,
        lemma_7::CLAIM,
        theorem_2::AS_PRINTED,
        theorem_2::CORRECTED,
        theorem_3::AS_PRINTED,
        theorem_3::CORRECTED,
        corollary_2::AS_PRINTED,
        corollary_2::CORRECTED,
        proposition_1::AS_PRINTED,
        proposition_1::CORRECTED,
        proposition_2::AS_PRINTED,
        proposition_2::CORRECTED,
        directclr_equivalence::CLAIM,
        residual_argument::CLAIM,
        figure_3::PAPER,
        figure_3::RELEASED_CODE,
        figure_3::RELEASED_CODE_CORRECTED,
        figure_5::PAPER,
        figure_5::PAPER_CORRECTED,
        figure_5::RELEASED_CODE,
        figure_5::RELEASED_CODE_CORRECTED,
        figure_6::PAPER,
        figure_6::RELEASED_CODE,
        figure_11::LINEAR_PAPER,
        figure_11::LINEAR_RELEASED_CODE,
        figure_11::RELU_PAPER,
        figure_11::RELU_RELEASED_CODE,
        real_spectra::FIGURE_2,
        real_spectra::FIGURE_7B,
        real_spectra::FIGURE_9,
        figure_12::CLAIM,
        tables::TABLE_1,
        tables::TABLE_2,
        population_x::CLAIM,
        threshold_one_sided::CLAIM,
        no_threshold_two_sided::CLAIM,
        no_threshold_dot::CLAIM,
        rank_law::CLAIM,
        convexity_in_m::CLAIM,
        lifetime_law::CLAIM,
        finite_n_freeze::CLAIM,
        bias_collapse::CLAIM,
    ]
}

/// The claim of this name.
pub fn named(id: &str) -> Option<Claim> {
    all().into_iter().find(|claim| claim.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_every_recorded_verdict_belongs_to_a_claim() {
        let ids: Vec<&str> = all().iter().map(|claim| claim.id).collect();
        let unique: HashSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len());
        let recorded = recorded();
        let recorded: HashSet<&str> = recorded.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(recorded, unique);
        assert!(all().iter().all(|claim| claim.recorded().is_some()), "a word that is no verdict");
    }

    #[test]
    fn a_corrected_claim_exists_exactly_where_the_printed_one_is_refuted() {
        for claim in all() {
            let corrected = named(&format!("{}-corrected", claim.id));
            let refuted = claim.recorded() == Some(Verdict::Refuted);
            assert_eq!(corrected.is_some(), refuted, "{}", claim.id);
        }
    }

    #[test]
    fn statements_about_runs_name_experiments() {
        for claim in all() {
            let runs = claim.evidence != Evidence::Identity;
            assert!(!runs || !claim.experiments.is_empty(), "{}", claim.id);
        }
    }
}
