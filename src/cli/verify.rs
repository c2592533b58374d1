//! `contraflow verify [CLAIM…]`: the audit.

use super::run::run_plans;
use super::{DONE, FAILED, INTERRUPTED, Verify, embedded, interrupted, print_line, refuse};
use crate::claim::{
    self, Case, Claim, Counterexample, Finding, Level, NeededExperiment, Run, Source, Verdict,
};
use crate::experiment::{Experiment, Plan};
use crate::files::FileError;
use crate::run::Store;
use crate::settings::{Problem, meant};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    let status = match case(&claims, level, &records, &[], arguments.parallel.jobs()) {
        Ok(case) => {
            let findings = examine(&claims, &case, arguments.parallel.jobs());
            report(&claims, &findings, arguments.json, !arguments.claims.is_empty())
        }
        Err(status) => status,
    };
    if arguments.out.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    status
}

/// Judges `claims`, on the complete records of the experiments `present` and on what else they need at the quick level, and
/// prints the table.
pub(super) fn judge(claims: &[String], present: &[Experiment], records: &Path, jobs: usize) -> u8 {
    let claims: Vec<Claim> = claim::all()
        .into_iter()
        .filter(|claim| {
            claims.iter().any(|id| claim.id == id || claim.id.strip_suffix("-corrected") == Some(id))
        })
        .collect();
    if claims.is_empty() {
        return DONE;
    }
    match case(&claims, Level::Quick, records, present, jobs) {
        Ok(case) => {
            print_line("");
            report(&claims, &examine(&claims, &case, jobs), false, false)
        }
        Err(status) => status,
    }
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

/// Runs what the claims name; an exit status where that is not possible.
fn case(
    claims: &[Claim],
    level: Level,
    records: &Path,
    present: &[Experiment],
    jobs: usize,
) -> Result<Case, u8> {
    let mut needed: Vec<&NeededExperiment> = Vec::new();
    for wanted in claims.iter().flat_map(|claim| claim.experiments) {
        if needed.iter().all(|other| other.name != wanted.name) {
            needed.push(wanted);
        }
    }
    let mut runs = BTreeMap::new();
    for wanted in needed {
        let store = Store::new(records.join(wanted.name));
        let complete = present.iter().find(|experiment| experiment.name == wanted.name);
        let read;
        let experiment = match complete {
            Some(experiment) => experiment,
            None => {
                read = parse(wanted, level).map_err(|problem| refuse(&problem))?;
                &read
            }
        };
        if let Some(path) = experiment.missing_files().first() {
            eprintln!("{}: skipped, for {} is not there", wanted.name, path.display());
            continue;
        }
        // A run that ends early ends for a reason that its claim reads.
        run_plans(experiment, &store, jobs, false)?;
        if interrupted() {
            eprintln!("interrupted; nothing was judged");
            return Err(INTERRUPTED);
        }
        match load(experiment, &store) {
            Ok(all) => {
                runs.insert(wanted.name, all);
            }
            Err(error) => eprintln!("{}: not judged: {error}", wanted.name),
        }
    }
    Ok(Case { level, runs })
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
        let state = if stored.is_finished() { store.load_state(plan)? } else { BTreeMap::new() };
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

/// Verdicts that are not those that the repository records, and controls that were not rejected.
fn departures(claims: &[Claim], findings: &[Finding]) -> Vec<String> {
    let mut found = Vec::new();
    for (claim, finding) in claims.iter().zip(findings) {
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
    print_line(&format!("{:<33} {:<18} {}", claim.id, finding.verdict, finding.summary));
    for line in assumptions(finding).into_iter().chain(control(finding)) {
        print_line(&format!("    {line}"));
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
    print_line(&format!("  {}", claim.statement));
    if !claim.formula.is_empty() {
        print_line(&format!("  {}", claim.formula));
    }
    print_line(&format!("\n  verdict   {}: {}", finding.verdict, finding.summary));
    print_line(&format!("  judged by {}", claim.evidence.about()));
    for line in assumptions(finding).into_iter().chain(control(finding)) {
        print_line(&format!("  {line}"));
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
    fn a_claim_whose_runs_are_missing_is_inconclusive() {
        let case = Case { level: Level::Quick, runs: BTreeMap::new() };
        let found = claim::named("theorem-2").unwrap().examine(&case);
        assert_eq!(found.verdict, Verdict::Inconclusive);
        assert!(found.summary.contains("was not run"), "{}", found.summary);
    }
}
