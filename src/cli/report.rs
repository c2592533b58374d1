//! `contraflow report DIR`: results as one page.

use super::export::regular_file;
use super::run::Work;
use super::verify::{self, Evidence};
use super::{DONE, FAILED, MakeReport, counted, embedded, print_line, refuse};
use crate::claim::{self, Claim, Finding, Level, NeededExperiment, Source};
use crate::experiment::Experiment;
use crate::files::{FileError, write_atomically};
use crate::report::{self, Report, Reported};
use crate::run::{PlannedRuns, State, Store};
use std::path::{Path, PathBuf};

/// The name of the page in a folder of results.
const PAGE: &str = "report.html";

/// The folder in which `contraflow reproduce` keeps its stores.
const RECORDS: &str = "records";

/// A store that was found, with the experiment that it is for.
struct Found {
    store: Store,
    planned: PlannedRuns,
    /// With those of its runs that are there and whole.
    experiment: Experiment,
}

pub(super) fn report(arguments: &MakeReport) -> u8 {
    let stores = match stores_in(&arguments.dir) {
        Ok(stores) => stores,
        Err(message) => return refuse(&format!("error: {message}")),
    };
    let out = arguments.out.clone().unwrap_or_else(|| arguments.dir.join(PAGE));
    let path = match regular_file(&out) {
        Ok(path) => path,
        Err(message) => return refuse(&format!("error: --out: {message}")),
    };
    let mut unreadable = Vec::new();
    let mut found: Vec<Found> =
        stores.into_iter().filter_map(|store| Found::read(store, &mut unreadable)).collect();
    // What is drawn comes first; the other experiments are evidence.
    found.sort_by_key(|found| found.experiment.figures.is_empty());
    if found.is_empty() {
        eprintln!("error: {}", unreadable.join("\n       "));
        return FAILED;
    }
    let (verdicts, unjudged) = judge(&found, arguments.parallel.jobs());
    let reported: Vec<Reported<'_>> = found
        .iter()
        .map(|Found { store, planned, experiment }| Reported { experiment, store, planned })
        .collect();
    let report =
        Report { experiments: &reported, verdicts: &verdicts, unjudged: &unjudged, unreadable: &unreadable };
    let lacks = match write(&path, &report) {
        Ok(lacks) => lacks,
        Err(error) => {
            eprintln!("error: {error}");
            return FAILED;
        }
    };
    for message in unreadable.iter().chain(&lacks) {
        eprintln!("left out: {message}");
    }
    let (experiments, claims) = (counted(reported.len(), "experiment"), counted(verdicts.len(), "claim"));
    print_line(&format!("{}: {experiments}, {claims}, to open in a browser", path.display()));
    if unreadable.is_empty() && lacks.is_empty() { DONE } else { FAILED }
}

impl Found {
    /// The experiment of a store, without the runs that are not there; what cannot be read is told of.
    fn read(store: Store, unreadable: &mut Vec<String>) -> Option<Found> {
        let read = store.planned().map_err(|error| error.to_string());
        let (planned, mut experiment) =
            match read.and_then(|planned| planned.to_experiment().map(|experiment| (planned, experiment))) {
                Ok(read) => read,
                Err(message) => {
                    unreadable.push(format!("{}: {message}", store.root().display()));
                    return None;
                }
            };
        experiment.plans.retain(|plan| match store.state(plan) {
            State::Finished | State::Failed(_) => true,
            State::Missing => false,
            State::Damaged(message) | State::Unreadable(message) => {
                unreadable.push(format!("{}: {message}", store.directory(plan).display()));
                false
            }
        });
        Some(Found { store, planned, experiment })
    }

    fn is_complete(&self) -> bool {
        self.experiment.plans.len() == self.planned.len()
    }

    /// Whether this is what a claim wants to see, at this level or as `reproduce` has it, and whole.
    fn is(&self, wanted: &NeededExperiment, level: Level) -> bool {
        let origin = &self.experiment.origin;
        let (text, whole) = match wanted.source {
            Source::Text(text) => (origin.text == text, false),
            Source::File => (embedded::is_text_of(wanted.name, &origin.text), origin.overrides.is_empty()),
        };
        let settings = whole || origin.overrides == wanted.overrides(level);
        self.experiment.name == wanted.name && text && settings && self.is_complete()
    }
}

/// Writes the page; what its figures lack, in words.
fn write(path: &Path, report: &Report<'_>) -> Result<Vec<String>, FileError> {
    let page = report::compose(report);
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
    let verdicts: Vec<(Claim, Finding)> = claims.iter().copied().zip(findings.iter().cloned()).collect();
    let report = Report { experiments: reported, verdicts: &verdicts, unjudged: &[], unreadable: &[] };
    let made = std::fs::create_dir_all(folder).map_err(|error| FileError::io(folder, "create", &error));
    match made.and_then(|()| write(&path, &report)) {
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

/// The claims that were judged, and those that were not, with the reason.
type Judged = (Vec<(Claim, Finding)>, Vec<(Claim, String)>);

/// Judges the claims that belong to these experiments, on the records that are there; nothing is run. They are those that an
/// experiment names, and those for which all is there (about a real network: the records of one); a claim is judged on the
/// experiments that it wants as it wants them, not on those of the same name with other settings.
fn judge(found: &[Found], jobs: usize) -> Judged {
    let experiments = || found.iter().map(|found| &found.experiment);
    let named: Vec<&str> = verify::claims_of(experiments()).iter().map(|claim| claim.id).collect();
    let levels = [Level::Quick, Level::Full];
    let there = |claim: &Claim, level: Level| {
        let mut is_there =
            claim.experiments.iter().map(|wanted| found.iter().any(|found| found.is(wanted, level)));
        match claim.evidence {
            claim::Evidence::RealNetwork => is_there.any(|there| there),
            _ => is_there.all(|there| there),
        }
    };
    let mut of_level: [Vec<Claim>; 2] = Default::default();
    let mut unjudged = Vec::new();
    for claim in claim::all() {
        let level = levels.iter().position(|level| there(&claim, *level));
        let belongs = named.contains(&claim.id) || level.is_some() && !claim.experiments.is_empty();
        match level {
            _ if !belongs => {}
            Some(level) => of_level[level].push(claim),
            None => unjudged.push((claim, lacking(&claim, found))),
        }
    }
    let mut verdicts: Vec<(Claim, Finding)> = Vec::new();
    for (claims, level) in of_level.iter().zip(levels) {
        let wanted = |other: &Found| {
            claims.iter().flat_map(|claim| claim.experiments).any(|wanted| other.is(wanted, level))
        };
        let mut work: Vec<Work<'_>> = Vec::new();
        for Found { store, experiment, .. } in found.iter().filter(|found| wanted(found)) {
            // Of two stores of the same runs one is enough.
            if work.iter().all(|other| other.experiment.name != experiment.name) {
                work.push(Work { experiment, store, planned: None });
            }
        }
        let evidence = Evidence::new(&work);
        (0..work.len()).for_each(|index| evidence.load(index));
        verdicts.extend(claims.iter().copied().zip(verify::judge_on(claims, evidence, level, jobs)));
    }
    let order = claim::all();
    verdicts.sort_by_key(|(claim, _)| order.iter().position(|other| other.id == claim.id));
    (verdicts, unjudged)
}

/// What a claim wants to see and does not.
fn lacking(claim: &Claim, found: &[Found]) -> String {
    let lacks =
        claim.experiments.iter().filter(|wanted| !found.iter().any(|found| found.is(wanted, Level::Quick)));
    let words = lacks.map(|wanted| {
        let same = found.iter().find(|found| found.experiment.name == wanted.name);
        match same {
            Some(found) if !found.is_complete() => format!("{}, of which runs are missing", wanted.name),
            Some(_) => format!("{}, here with other settings", wanted.name),
            None => wanted.name.to_string(),
        }
    });
    let (words, separator) = (words.collect::<Vec<_>>(), "; ");
    if claim.evidence == claim::Evidence::RealNetwork {
        return format!("it wants one of {}; `contraflow reproduce NAME` runs it", words.join(separator));
    }
    let words = words.join(separator);
    format!("it wants {words}; `contraflow verify {} --out DIR` runs what it needs", claim.id)
}
