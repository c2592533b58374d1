//! `contraflow report DIR`: results as one page.

use super::run::Work;
use super::verify::{self, Evidence};
use super::{DONE, FAILED, MakeReport, counted, embedded, print_line, refuse};
use crate::claim::{Claim, Finding, Level};
use crate::experiment::Experiment;
use crate::files::{FileError, write_atomically};
use crate::report::{self, Reported};
use crate::run::{PlannedRuns, Store};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The name of the page in a folder of results.
const PAGE: &str = "report.html";

/// The folder in which `contraflow reproduce` keeps its stores.
const RECORDS: &str = "records";

pub(super) fn report(arguments: &MakeReport) -> u8 {
    let stores = match stores_in(&arguments.dir) {
        Ok(stores) => stores,
        Err(message) => return refuse(&format!("error: {message}")),
    };
    let mut unreadable = Vec::new();
    let mut found: Vec<(Store, PlannedRuns, Experiment)> = Vec::new();
    for store in stores {
        let read = store.planned().map_err(|error| error.to_string());
        match read.and_then(|planned| Ok((planned.to_experiment()?, planned))) {
            Ok((experiment, planned)) => found.push((store, planned, experiment)),
            Err(message) => unreadable.push(format!("{}: {message}", store.root().display())),
        }
    }
    if found.is_empty() {
        return refuse(&format!("error: {}", unreadable.join("\n       ")));
    }
    let claims = claims_on(&found);
    let findings = match judge(&claims, &found, arguments.parallel.jobs()) {
        Ok(findings) => findings,
        Err(message) => return refuse(&message),
    };
    let reported: Vec<Reported<'_>> =
        found.iter().map(|(store, planned, experiment)| Reported { experiment, store, planned }).collect();
    let path = arguments.out.clone().unwrap_or_else(|| arguments.dir.join(PAGE));
    match write(&path, &reported, &claims, &findings) {
        Ok(lacks) => unreadable.extend(lacks),
        Err(error) => {
            eprintln!("error: {error}");
            return FAILED;
        }
    }
    for message in &unreadable {
        eprintln!("left out: {message}");
    }
    let (experiments, claims) = (counted(reported.len(), "experiment"), counted(claims.len(), "claim"));
    print_line(&format!("{}: {experiments}, {claims}, to open in a browser", path.display()));
    if unreadable.is_empty() { DONE } else { FAILED }
}

/// Writes the page; what it lacks, in words.
pub(super) fn write(
    path: &Path,
    reported: &[Reported<'_>],
    claims: &[Claim],
    findings: &[Finding],
) -> Result<Vec<String>, FileError> {
    let verdicts: Vec<(Claim, Finding)> = claims.iter().copied().zip(findings.iter().cloned()).collect();
    let page = report::compose(reported, &verdicts);
    write_atomically(path, page.html.as_bytes())?;
    Ok(page.complaints)
}

/// Writes the page beside results that have been told of already; the exit status says whether it is there.
pub(super) fn write_beside(
    folder: &Path,
    reported: &[Reported<'_>],
    claims: &[Claim],
    findings: &[Finding],
) -> u8 {
    let path = folder.join(PAGE);
    match write(&path, reported, claims, findings) {
        Ok(_) => {
            eprintln!("{}: all of this as a page, to open in a browser", path.display());
            DONE
        }
        Err(error) => {
            eprintln!("error: {error}");
            FAILED
        }
    }
}

/// The stores in a folder: itself, or those that `reproduce` or `verify --out` has left in it.
fn stores_in(dir: &Path) -> Result<Vec<Store>, String> {
    let is_store = |path: &Path| Store::new(path).is_planned();
    if is_store(dir) {
        return Ok(vec![Store::new(dir)]);
    }
    for folder in [dir.join(RECORDS), dir.to_path_buf()] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| is_store(path));
        found.sort();
        if !found.is_empty() {
            return Ok(found.into_iter().map(Store::new).collect());
        }
    }
    Err(format!(
        "{}: no results; allowed: a folder that `contraflow run FILE --out DIR`, `reproduce --out DIR` or `verify --out DIR` has filled",
        dir.display()
    ))
}

/// The claims that these experiments are evidence for: those that they name, and those that want to see nothing else.
fn claims_on(found: &[(Store, PlannedRuns, Experiment)]) -> Vec<Claim> {
    let present: HashSet<&str> = found.iter().map(|(_, _, experiment)| experiment.name.as_str()).collect();
    let named: HashSet<&str> = verify::claims_of(found.iter().map(|(_, _, experiment)| experiment))
        .iter()
        .map(|claim| claim.id)
        .collect();
    let judged = |claim: &Claim| {
        named.contains(claim.id)
            || !claim.experiments.is_empty()
                && claim.experiments.iter().all(|wanted| present.contains(wanted.name))
    };
    crate::claim::all().into_iter().filter(judged).collect()
}

/// Judges claims on the records that are there; nothing is run. A claim is judged on the experiments that it names as it names
/// them: on those of the same name with other settings it is not.
fn judge(
    claims: &[Claim],
    found: &[(Store, PlannedRuns, Experiment)],
    jobs: usize,
) -> Result<Vec<Finding>, String> {
    // As `reproduce` does: an experiment file as it stands is evidence with all its runs.
    let stands = |experiment: &&Experiment| {
        let file = embedded::named(&experiment.name, &[]);
        file.is_ok_and(|file| {
            file.origin.text == experiment.origin.text && experiment.origin.overrides.is_empty()
        })
    };
    let whole: Vec<Experiment> = found
        .iter()
        .map(|(_, _, experiment)| experiment)
        .filter(stands)
        .filter_map(|experiment| embedded::named(&experiment.name, &[]).ok())
        .collect();
    let others = verify::needed(claims, Level::Quick, &whole).map_err(|problem| problem.to_string())?;
    let mut experiments: Vec<(&Experiment, Store)> = Vec::new();
    for experiment in whole.iter().chain(&others) {
        let beside = found.iter().filter_map(|(store, _, _)| store.root().parent());
        let own = found
            .iter()
            .find(|(_, _, other)| other.name == experiment.name)
            .map(|(store, _, _)| store.clone());
        let store = own.into_iter().chain(beside.map(|folder| verify::store(folder, experiment)));
        if let Some(store) = store.into_iter().find(|store| store.holds(experiment)) {
            experiments.push((experiment, store));
        }
    }
    let work: Vec<Work<'_>> =
        experiments.iter().map(|(experiment, store)| Work { experiment, store, planned: None }).collect();
    let evidence = Evidence::new(&work);
    (0..work.len()).for_each(|index| evidence.load(index));
    Ok(verify::judge_on(claims, evidence, jobs))
}
