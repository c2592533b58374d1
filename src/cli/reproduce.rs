//! `contraflow reproduce [NAME…]`: the main job.

use super::progress::Progress;
use super::report;
use super::run::{KEPT, Work, run_missing, status};
use super::verify::{self, Evidence, check_claims};
use super::{DONE, FAILED, INTERRUPTED, Reproduce, embedded, interrupted, print_line, refuse};
use crate::claim::Level;
use crate::experiment::Experiment;
use crate::figure;
use crate::files::{FileError, write_atomically};
use crate::report::Reported;
use crate::run::{PlannedRuns, Store};
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

pub(super) fn reproduce(arguments: &Reproduce) -> u8 {
    let experiments = match chosen(&arguments.names) {
        Ok(experiments) => experiments,
        Err(message) => return refuse(&message),
    };
    let mut names = HashSet::new();
    for (experiment, figure) in
        experiments.iter().flat_map(|e| e.figures.iter().map(move |figure| (e, figure)))
    {
        let name = experiment.figure_name(figure);
        if !names.insert(name.clone()) {
            let message = format!(
                "another experiment of this call writes {name}.svg too; give this figure another name"
            );
            return refuse(&figure.problem("kind", message));
        }
    }
    if let Some(problem) = experiments.iter().find_map(|experiment| check_claims(experiment).err()) {
        return refuse(&problem);
    }
    let claims = verify::claims_of(&experiments);
    // Claims want the records of other experiments too: all of them are one queue.
    let others = match verify::needed(&claims, Level::Quick, &experiments) {
        Ok(others) => others,
        Err(problem) => return refuse(&problem),
    };
    let there = |experiment: &&Experiment| {
        let missing = experiment.missing_files();
        if let Some(path) = missing.first() {
            let (name, path) = (&experiment.name, path.display());
            eprintln!("{name}: skipped, for {path} is not there; the README says how to get it");
        }
        missing.is_empty()
    };
    let drawn: Vec<&Experiment> = experiments.iter().filter(there).collect();
    let started = |experiment: &&Experiment| verify::is_started_for_claims(experiment) && there(experiment);
    let others: Vec<&Experiment> = others.iter().filter(started).collect();
    let records = arguments.out.join("records");
    let all = || drawn.iter().chain(&others);
    let stores: Vec<Store> = all().map(|experiment| verify::store(&records, experiment)).collect();
    let planned: Vec<PlannedRuns> = all().map(|experiment| PlannedRuns::of(experiment)).collect();
    let work: Vec<Work<'_>> = all()
        .zip(&stores)
        .enumerate()
        .map(|(index, (experiment, store))| Work { experiment, store, planned: planned.get(index) })
        .collect();
    let evidence = Evidence::new(&work);
    let wanted: HashSet<&str> =
        claims.iter().flat_map(|claim| claim.experiments).map(|wanted| wanted.name).collect();
    let pages = Pages::new(drawn.len());
    let done = |index: usize, progress: &Progress| {
        if interrupted() {
            return;
        }
        if index < drawn.len() {
            let page = draw(drawn[index], &stores[index], &arguments.out);
            progress.aside(|| pages.put(index, page, &mut Page::print));
        }
        if wanted.contains(work[index].experiment.name.as_str()) {
            evidence.load(index);
        }
    };
    let jobs = arguments.parallel.jobs();
    let results = run_missing(&work, (jobs, "cpu"), false, &done);
    if interrupted() {
        eprintln!("{KEPT}");
        return INTERRUPTED;
    }
    let worst =
        results[..drawn.len()].iter().map(|result| result.as_ref().map_or_else(|status| *status, status));
    let worst = worst.fold(pages.status(), u8::max);
    let refused = results
        .iter()
        .zip(&work)
        .filter(|(_, work)| wanted.contains(work.experiment.name.as_str()))
        .find_map(|(result, _)| result.as_ref().err());
    let findings = match refused {
        None => verify::judge_on(&claims, evidence, Level::Quick, jobs),
        // What could not be run is no evidence for or against anything.
        Some(_) => Vec::new(),
    };
    let verdicts = match refused {
        Some(status) => *status,
        None if claims.is_empty() => DONE,
        None => verify::table(&claims, &findings),
    };
    let reported: Vec<Reported<'_>> = work
        .iter()
        .zip(&planned)
        .zip(&results)
        .filter(|(_, result)| result.is_ok())
        .map(|((Work { experiment, store, .. }, planned), _)| Reported { experiment, store, planned })
        .collect();
    let written = match reported.as_slice() {
        [] => DONE,
        reported => report::write_beside(&arguments.out, reported, &claims, &findings),
    };
    worst.max(verdicts).max(written)
}

/// The experiments of these names, or all that are marked.
fn chosen(names: &[String]) -> Result<Vec<Experiment>, String> {
    let mut available = embedded::available();
    if names.is_empty() {
        let all: Result<Vec<Experiment>, _> =
            available.into_iter().map(|(_, experiment)| experiment).collect();
        let all = all.map_err(|problem| problem.to_string())?;
        return Ok(all.into_iter().filter(|experiment| experiment.reproduce).collect());
    }
    let known: Vec<String> = available.iter().map(|(name, _)| name.clone()).collect();
    let mut chosen = Vec::new();
    for name in names {
        let wanted = name.replace('-', "_");
        let Some(index) = available.iter().position(|(name, _)| *name == wanted) else {
            return Err(format!("error: there is no experiment `{name}`; allowed: {}", known.join(", ")));
        };
        chosen.push(available.swap_remove(index).1.map_err(|problem| problem.to_string())?);
    }
    Ok(chosen)
}

/// What is said about the figures of an experiment.
struct Page {
    complaints: Vec<String>,
    findings: Vec<String>,
    status: u8,
}

impl Page {
    fn print(&self) {
        self.complaints.iter().for_each(|line| eprintln!("{line}"));
        self.findings.iter().for_each(|line| print_line(line));
    }
}

/// Pages that come in any order and leave in theirs.
struct Pages(Mutex<Waiting>);

struct Waiting {
    pages: Vec<Option<Page>>,
    /// Index of the next one to leave.
    next: usize,
    worst: u8,
}

impl Pages {
    fn new(count: usize) -> Self {
        let pages = std::iter::repeat_with(|| None).take(count).collect();
        Pages(Mutex::new(Waiting { pages, next: 0, worst: DONE }))
    }

    /// Takes the page of this index, and shows it as soon as those before it are shown.
    fn put(&self, index: usize, page: Page, show: &mut dyn FnMut(&Page)) {
        // Held while pages are shown, so that two threads keep the order too.
        let Ok(mut waiting) = self.0.lock() else { return };
        waiting.worst = waiting.worst.max(page.status);
        waiting.pages[index] = Some(page);
        let mut next = waiting.next;
        while let Some(page) = waiting.pages.get_mut(next).and_then(Option::take) {
            show(&page);
            next += 1;
        }
        waiting.next = next;
    }

    /// The worst status of all pages.
    fn status(&self) -> u8 {
        self.0.lock().map_or(FAILED, |waiting| waiting.worst)
    }
}

/// Draws the figures of an experiment, and says what they show.
fn draw(experiment: &Experiment, store: &Store, out: &Path) -> Page {
    let (figures, complaints) = figure::drawings(experiment, store);
    let mut page = Page { complaints: Vec::new(), findings: Vec::new(), status: DONE };
    for complaint in &complaints {
        page.complaints.push(format!("{}: {complaint}", experiment.name));
        page.status = FAILED;
    }
    // An idle thread takes some of them.
    let written: Vec<Result<(), String>> =
        figures.par_iter().map(|figure| write_figure(figure, out)).collect();
    for (figure, written) in figures.iter().zip(written) {
        if let Err(message) = written {
            page.complaints.push(format!("error: {message}"));
            page.status = FAILED;
            break;
        }
        page.findings.push(format!("\n{}  ({})", figure.name, figure.drawing.title));
        for (cell, finding) in &figure.findings {
            let cell = if cell.is_empty() { String::new() } else { format!("{cell}: ") };
            page.findings.push(format!("  {cell}{finding}"));
        }
    }
    page
}

fn write_figure(figure: &figure::Figure, out: &Path) -> Result<(), String> {
    let path = |extension: &str| out.join(format!("{}.{extension}", figure.name));
    let text = |error: FileError| error.to_string();
    let svg = figure::svg(&figure.drawing).map_err(|error| error.to_string())?;
    write_atomically(path("svg"), svg.as_bytes()).map_err(text)?;
    let png = figure::png(&figure.drawing).map_err(|error| error.to_string())?;
    write_atomically(path("png"), &png).map_err(text)?;
    #[cfg(feature = "pdf")]
    {
        let pdf = figure::pdf(&figure.drawing).map_err(|error| error.to_string())?;
        write_atomically(path("pdf"), &pdf).map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_leave_in_their_order_and_the_worst_status_counts() {
        let pages = Pages::new(3);
        let mut shown = Vec::new();
        for (index, status, then) in [(2, DONE, ""), (0, FAILED, "0"), (1, DONE, "012")] {
            let page = Page { complaints: Vec::new(), findings: vec![index.to_string()], status };
            pages.put(index, page, &mut |page| shown.push(page.findings[0].clone()));
            assert_eq!(shown.concat(), then);
        }
        assert_eq!(pages.status(), FAILED);
        assert_eq!(Pages::new(0).status(), DONE);
    }
}
