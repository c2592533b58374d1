//! `contraflow reproduce [NAME…]`: the main job.

use super::run::{run_missing, status};
use super::verify::{self, check_claims};
use super::{DONE, FAILED, INTERRUPTED, Reproduce, embedded, interrupted, print_line, refuse};
use crate::experiment::Experiment;
use crate::figure;
use crate::files::{FileError, write_atomically};
use crate::run::Store;
use std::collections::HashSet;
use std::path::Path;

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
    let mut worst = DONE;
    let records = arguments.out.join("records");
    for experiment in &experiments {
        if let Some(path) = experiment.missing_files().first() {
            eprintln!(
                "{}: skipped, for {} is not there; the README says how to get it",
                experiment.name,
                path.display()
            );
            continue;
        }
        let store = Store::new(records.join(&experiment.name));
        let status = match run_missing(experiment, &store, arguments.parallel.jobs(), false) {
            Ok(tally) => status(&tally),
            Err(status) => status,
        };
        if status == INTERRUPTED || interrupted() {
            return INTERRUPTED;
        }
        worst = worst.max(status);
        worst = worst.max(draw(experiment, &store, &arguments.out));
    }
    let claims: Vec<String> = experiments.iter().flat_map(|experiment| experiment.claims.clone()).collect();
    worst.max(verify::judge(&claims, &experiments, &records, arguments.parallel.jobs()))
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

/// Draws the figures of an experiment and prints what they show.
fn draw(experiment: &Experiment, store: &Store, out: &Path) -> u8 {
    let (figures, complaints) = figure::drawings(experiment, store);
    for complaint in &complaints {
        eprintln!("{}: {complaint}", experiment.name);
    }
    for figure in &figures {
        let written = write_figure(figure, out);
        if let Err(message) = written {
            eprintln!("error: {message}");
            return FAILED;
        }
        print_line(&format!("\n{}  ({})", figure.name, figure.drawing.title));
        for (cell, finding) in &figure.findings {
            let cell = if cell.is_empty() { String::new() } else { format!("{cell}: ") };
            print_line(&format!("  {cell}{finding}"));
        }
    }
    if complaints.is_empty() { DONE } else { FAILED }
}

fn write_figure(figure: &figure::Figure, out: &Path) -> Result<(), String> {
    let path = |extension: &str| out.join(format!("{}.{extension}", figure.name));
    let text = |error: FileError| error.to_string();
    let svg = figure::svg(&figure.drawing).map_err(|error| error.to_string())?;
    write_atomically(path("svg"), svg.as_bytes()).map_err(text)?;
    let png = figure::png(&figure.drawing).map_err(|error| error.to_string())?;
    write_atomically(path("png"), &png).map_err(text)
}
