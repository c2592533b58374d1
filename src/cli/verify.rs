//! `contraflow verify [CLAIM…]`: the audit.

use super::progress::Progress;
use super::run::{Work, run_missing};
use super::terminal;
use super::{DONE, FAILED, INTERRUPTED, Verify, embedded, interrupted, print_line, refuse};
use crate::claim::{
    self, Case, Claim, Counterexample, Finding, Level, NeededExperiment, Run, Source, Verdict,
};
use crate::experiment::{Experiment, Plan, Subject};
use crate::files::FileError;
use crate::report::Reported;
use crate::run::{PlannedRuns, State, Store};
use crate::settings::{Problem, meant};
use console::Style;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub(super) fn verify(arguments: &Verify) -> u8 {
    let claims = match chosen(&arguments.claims) {
        Ok(claims) => claims,
        Err(message) => return refuse(&message),
    };
    // Records of an earlier engine would hide what the present one does, so that nothing is kept unless asked for.
    let temporary = std::env::temp_dir().join(format!("contraflow-verify-{}", std::process::id()));
    let records = arguments.out.clone().unwrap_or_else(|| {
        // What a killed process of the same number has left is not ours.
        let _ = std::fs::remove_dir_all(&temporary);
        temporary.clone()
    });
    let level = if arguments.level == "full" { Level::Full } else { Level::Quick };
    let status = judge(&claims, level, &records, arguments).unwrap_or_else(|status| status);
    if arguments.out.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    status
}

/// Runs what `claims` name, judges them and prints what was found. Where records are kept, a page on them is kept beside them.
fn judge(claims: &[Claim], level: Level, records: &Path, arguments: &Verify) -> Result<u8, u8> {
    let jobs = arguments.parallel.jobs();
    let needed = needed(claims, level, &[]).map_err(|problem| refuse(&problem))?;
    let runs_here = |experiment: &&Experiment| {
        is_started_for_claims(experiment) && has_files(experiment)
            || is_whole(experiment, &store(records, experiment))
    };
    let needed: Vec<&Experiment> = needed.iter().filter(runs_here).collect();
    let stores: Vec<Store> = needed.iter().map(|experiment| store(records, experiment)).collect();
    let kept = arguments.out.is_some();
    let planned: Vec<PlannedRuns> =
        if kept { needed.iter().map(|experiment| PlannedRuns::of(experiment)).collect() } else { Vec::new() };
    let work: Vec<Work<'_>> = needed
        .iter()
        .zip(&stores)
        .enumerate()
        .map(|(index, (experiment, store))| Work { experiment, store, planned: planned.get(index) })
        .collect();
    let evidence = Evidence::new(&work);
    let results = run_missing(&work, (jobs, "cpu"), false, &|index, _: &Progress| evidence.load(index));
    if interrupted() {
        eprintln!("interrupted; nothing was judged");
        return Err(INTERRUPTED);
    }
    // A run that ends early ends for a reason that its claim reads.
    results.into_iter().collect::<Result<Vec<_>, u8>>()?;
    let findings = judge_on(claims, evidence, level, jobs);
    let status = report(claims, &findings, arguments.json, !arguments.claims.is_empty());
    if !kept {
        return Ok(status);
    }
    let reported: Vec<Reported<'_>> = work
        .iter()
        .zip(&planned)
        .map(|(Work { experiment, store, .. }, planned)| Reported { experiment, store, planned })
        .collect();
    Ok(status.max(super::report::write_beside(records, &reported, claims, &findings)))
}

/// Judges `claims` on the records in `evidence`.
pub(super) fn judge_on(claims: &[Claim], evidence: Evidence<'_>, level: Level, jobs: usize) -> Vec<Finding> {
    examine(claims, &evidence.case(claims, level), jobs)
}

/// Prints the table of `claims`; the exit status says whether they are what the repository records.
pub(super) fn table(claims: &[Claim], findings: &[Finding]) -> u8 {
    print_line("");
    report(claims, findings, false, false)
}

/// The claims that `experiments` are evidence for, with their corrections.
pub(super) fn claims_of<'a>(experiments: impl IntoIterator<Item = &'a Experiment>) -> Vec<Claim> {
    let claims: HashSet<&str> =
        experiments.into_iter().flat_map(|experiment| &experiment.claims).map(String::as_str).collect();
    let named = |id: &str| claims.contains(id);
    claim::all()
        .into_iter()
        .filter(|claim| named(claim.id) || claim.id.strip_suffix("-corrected").is_some_and(named))
        .collect()
}

/// The claims of these names, or all.
fn chosen(ids: &[String]) -> Result<Vec<Claim>, String> {
    if ids.is_empty() {
        return Ok(claim::all());
    }
    ids.iter().map(|id| claim::named(id).ok_or_else(|| unknown(id))).collect()
}

fn unknown(id: &str) -> String {
    let ids: Vec<&str> = claim::all().iter().map(|claim| claim.id).collect();
    let hint = match meant(id, ids.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? "),
        None => String::new(),
    };
    format!("error: there is no claim `{id}`; {hint}`contraflow list claims` shows all {}", ids.len())
}

/// Refuses an experiment that names a claim which does not exist.
pub(super) fn check_claims(experiment: &Experiment) -> Result<(), Problem> {
    let ids: Vec<&str> = claim::all().iter().map(|claim| claim.id).collect();
    let Some(id) = experiment.claims.iter().find(|id| !ids.contains(&id.as_str())) else { return Ok(()) };
    let problem = experiment.plans[0].settings.problem("claims", format!("there is no claim `{id}`"));
    Err(match meant(id, ids.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("`contraflow list claims` shows all"),
    })
}

/// The experiments that `claims` want to see the records of, without those that are `present` already.
pub(super) fn needed(
    claims: &[Claim],
    level: Level,
    present: &[Experiment],
) -> Result<Vec<Experiment>, Problem> {
    let mut needed: Vec<Experiment> = Vec::new();
    for wanted in claims.iter().flat_map(|claim| claim.experiments) {
        if present.iter().chain(&needed).all(|other| other.name != wanted.name) {
            needed.push(parse(wanted, level)?);
        }
    }
    Ok(needed)
}

/// Whether an experiment is run because a claim wants it. A real network takes hours or weeks, so that it is trained only where its
/// experiment is asked for by name.
pub(super) fn is_started_for_claims(experiment: &Experiment) -> bool {
    experiment.subject != Subject::RealNetwork
}

/// Whether the records of all runs are there.
fn is_whole(experiment: &Experiment, store: &Store) -> bool {
    experiment.plans.iter().all(|plan| matches!(store.state(plan), State::Finished | State::Failed(_)))
}

/// Whether the files that an experiment names are there; says which one is not.
fn has_files(experiment: &Experiment) -> bool {
    let missing = experiment.missing_files();
    if let Some(path) = missing.first() {
        eprintln!("{}: skipped, for {} is not there", experiment.name, path.display());
    }
    missing.is_empty()
}

/// Where the results of an experiment are among `records`.
pub(super) fn store(records: &Path, experiment: &Experiment) -> Store {
    Store::new(records.join(&experiment.name))
}

/// The records of experiments, read as they become complete.
pub(super) struct Evidence<'a> {
    work: &'a [Work<'a>],
    runs: Mutex<BTreeMap<String, Result<Vec<Run>, FileError>>>,
}

impl<'a> Evidence<'a> {
    /// Nothing yet of what `work` will leave.
    pub(super) fn new(work: &'a [Work<'a>]) -> Self {
        Evidence { work, runs: Mutex::default() }
    }

    /// Reads the records of the experiment of this index, which is as complete as it will be.
    pub(super) fn load(&self, index: usize) {
        let Work { experiment, store, .. } = self.work[index];
        let loaded = load(experiment, store);
        if let Ok(mut runs) = self.runs.lock() {
            runs.insert(experiment.name.clone(), loaded);
        }
    }

    /// What `claims` are judged on. Says what could not be read.
    fn case(self, claims: &[Claim], level: Level) -> Case {
        let mut all = self.runs.into_inner().unwrap_or_default();
        let mut runs = BTreeMap::new();
        for wanted in claims.iter().flat_map(|claim| claim.experiments) {
            match all.remove(wanted.name) {
                Some(Ok(loaded)) => {
                    runs.insert(wanted.name, loaded);
                }
                Some(Err(error)) => eprintln!("{}: not judged: {error}", wanted.name),
                None => {}
            }
        }
        Case { level, runs }
    }
}

fn parse(wanted: &NeededExperiment, level: Level) -> Result<Experiment, Problem> {
    match wanted.source {
        Source::File => embedded::named(wanted.name, &wanted.overrides(level)),
        Source::Text(text) => {
            let folder = PathBuf::from(embedded::FOLDER);
            Experiment::parse(&format!("{}.toml", wanted.name), &folder, text, &wanted.overrides(level))
        }
    }
}

/// All runs of an experiment, or nothing where one is missing: a claim is not judged on what happens to be there.
fn load(experiment: &Experiment, store: &Store) -> Result<Vec<Run>, FileError> {
    let load = |plan: &Plan| {
        let stored = store.load(plan)?;
        // The weights of a real network are not layers W1, W2, ..., and no claim asks for them.
        let has_layers = plan.subject == Subject::Layers && stored.is_finished();
        let state = if has_layers { store.load_state(plan)? } else { BTreeMap::new() };
        Ok(Run { plan: plan.clone(), stored, state })
    };
    experiment.plans.iter().map(load).collect()
}

/// Judges all claims, on `jobs` threads.
fn examine(claims: &[Claim], case: &Case, jobs: usize) -> Vec<Finding> {
    let all = || claims.par_iter().with_max_len(1).map(|claim| claim.examine(case)).collect();
    match rayon::ThreadPoolBuilder::new().num_threads(jobs).build() {
        Ok(pool) => pool.install(all),
        Err(_) => all(),
    }
}

/// Prints what was found; the exit status says whether it is what the repository records.
fn report(claims: &[Claim], findings: &[Finding], as_json: bool, in_depth: bool) -> u8 {
    let pairs = || claims.iter().zip(findings);
    if as_json {
        let claims: Vec<Value> = pairs()
            .map(|(claim, finding)| finding.to_json(claim.id, claim.source, claim.statement))
            .collect();
        print_line(&format!("{:#}", json!({ "claims": claims })));
    } else if in_depth {
        for (claim, finding) in pairs() {
            explain(claim, finding);
        }
    } else {
        for (claim, finding) in pairs() {
            row(claim, finding);
        }
    }
    let departures = departures(claims, findings);
    for departure in &departures {
        eprintln!("error: {departure}");
    }
    if departures.is_empty() { DONE } else { FAILED }
}

/// Verdicts that are not those that the repository records, and controls that were not rejected. A claim about a real network that
/// there is no record of was not judged, and departs from nothing.
fn departures(claims: &[Claim], findings: &[Finding]) -> Vec<String> {
    let mut found = Vec::new();
    for (claim, finding) in claims.iter().zip(findings) {
        let was_judged = finding.control.rejected.is_some();
        if claim.evidence == claim::Evidence::RealNetwork && !was_judged {
            continue;
        }
        if claim.recorded() != Some(finding.verdict) {
            let recorded = claim.recorded().map_or("nothing", Verdict::name);
            let (id, verdict, why) = (claim.id, finding.verdict, &finding.summary);
            found.push(format!("{id} is {verdict}, where the repository records {recorded}: {why}"));
        }
        if finding.control.rejected == Some(false) {
            found.push(format!(
                "{}: the negative control was not rejected: {}",
                claim.id, finding.control.what
            ));
        }
    }
    found
}

/// A claim in the table.
fn row(claim: &Claim, finding: &Finding) {
    let verdict = terminal::painted(finding.verdict.name(), &colour(finding.verdict), 18);
    terminal::print_beside(&format!("{:<33} {verdict} ", claim.id), &finding.summary);
    for line in assumptions(finding).into_iter().chain(control(finding)) {
        terminal::print_beside("    ", &line);
    }
}

/// Blue, yellow and magenta, which most people tell apart, and each beside its word.
fn colour(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Holds | Verdict::Consistent => Style::new().blue(),
        Verdict::Refuted => Style::new().magenta().bold(),
        Verdict::OutsideHypotheses | Verdict::Inconclusive => Style::new().yellow(),
    }
}

fn assumptions(finding: &Finding) -> Vec<String> {
    let words = |h: &claim::Hypothesis| match (&h.first_violation, h.held) {
        (None, true) => format!("assumed, held: {}", h.name),
        (violation, _) => {
            format!("assumed, FAILED: {}; first: {}", h.name, violation.as_deref().unwrap_or("unknown"))
        }
    };
    finding.hypotheses.iter().map(words).collect()
}

fn control(finding: &Finding) -> Option<String> {
    let rejected = finding.control.rejected?;
    let verb = if rejected { "rejected" } else { "NOT REJECTED" };
    Some(format!("control, {verb}: {}", finding.control.what))
}

/// A claim in depth.
fn explain(claim: &Claim, finding: &Finding) {
    print_line(&format!("{}  ({})\n", claim.id, claim.source));
    terminal::print_beside("  ", claim.statement);
    if !claim.formula.is_empty() {
        print_line(&format!("  {}", claim.formula));
    }
    print_line("");
    let verdict = colour(finding.verdict).apply_to(finding.verdict.name());
    terminal::print_beside("  verdict   ", &format!("{verdict}: {}", finding.summary));
    terminal::print_beside("  judged by ", claim.evidence.about());
    for line in assumptions(finding).into_iter().chain(control(finding)) {
        terminal::print_beside("  ", &line);
    }
    for wanted in claim.experiments {
        let origin = match wanted.source {
            Source::File => format!("experiments/{}.toml", wanted.name),
            Source::Text(_) => "text of the claim".to_string(),
        };
        print_line(&format!("  experiment {}: {origin}", wanted.name));
    }
    if !finding.evidence.is_empty() {
        print_line("\n  evidence");
        let text = format!("{:#}", Value::Object(finding.evidence.clone()));
        text.lines().for_each(|line| print_line(&format!("  {line}")));
    }
    match &finding.counterexample {
        None => {}
        Some(Counterexample::Plan(plan)) => {
            print_line(
                "\n  counterexample: save as counterexample.toml and `contraflow run counterexample.toml`\n",
            );
            plan.lines().for_each(|line| print_line(&format!("  {line}")));
        }
        Some(Counterexample::Matrices { formula, matrices }) => {
            print_line(&format!("\n  counterexample: {formula}"));
            for (name, matrix) in matrices {
                print_line(&format!("  {name} ="));
                for row in matrix.row_iter() {
                    let row: Vec<String> = row.iter().map(|value| format!("{value}")).collect();
                    print_line(&format!("    [{}]", row.join(", ")));
                }
            }
        }
    }
    print_line("");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Control;
    use std::collections::BTreeMap;

    #[test]
    fn another_verdict_and_a_control_that_is_not_rejected_are_departures() {
        let claims = [claim::named("eq-4").unwrap()];
        let case = Case { level: Level::Quick, runs: BTreeMap::new() };
        let found = claims[0].examine(&case);
        assert!(departures(&claims, std::slice::from_ref(&found)).is_empty());
        let other = Finding { verdict: Verdict::Refuted, ..found.clone() };
        assert!(
            departures(&claims, &[other])[0].contains("eq-4 is refuted, where the repository records holds")
        );
        let blind = Finding { control: Control::new("x", false), ..found };
        assert!(departures(&claims, &[blind])[0].contains("control was not rejected"));
    }

    #[test]
    fn a_real_network_without_records_is_no_departure_and_one_with_another_verdict_is() {
        let claims = [claim::named("table-1").unwrap()];
        let case = Case { level: Level::Quick, runs: BTreeMap::new() };
        let found = claims[0].examine(&case);
        assert_eq!(found.verdict, Verdict::Inconclusive);
        assert!(departures(&claims, std::slice::from_ref(&found)).is_empty());
        let judged = Finding { control: Control::new("x", true), ..found };
        assert!(departures(&claims, &[judged])[0].contains("table-1 is inconclusive"));
    }

    #[test]
    fn claims_start_no_real_network() {
        let started = |name: &str| is_started_for_claims(&embedded::named(name, &[]).unwrap());
        assert!(started("figure_3_paper") && !started("resnet_mnist"));
    }

    #[test]
    fn a_claim_whose_runs_are_missing_is_inconclusive() {
        let case = Case { level: Level::Quick, runs: BTreeMap::new() };
        let found = claim::named("theorem-2").unwrap().examine(&case);
        assert_eq!(found.verdict, Verdict::Inconclusive);
        assert!(found.summary.contains("was not run"), "{}", found.summary);
    }
}
