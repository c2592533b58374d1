//! The page as a whole.

use super::{cells, figures, runs, verdicts};
use crate::claim::{Claim, Finding};
use crate::experiment::Experiment;
use crate::figure::{self, Figure, hex_colour};
use crate::run::{self, PlannedRuns, Store};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// The page is never larger than this, in bytes: what does not fit is left out, and the page says so.
pub const LARGEST: usize = 5_000_000;

/// What of it figures, and what sweeps, may take.
const FIGURES: usize = 1_800_000;
const SWEEPS: usize = 500_000;

/// What evidence may take before it is left to `verify --json`.
const EVIDENCE: usize = 1_500_000;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// An experiment, and the store that holds its results.
#[derive(Clone, Copy, Debug)]
pub struct Reported<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its results.
    pub store: &'a Store,
    /// All runs that were asked for.
    pub planned: &'a PlannedRuns,
}

/// A finished page.
#[derive(Clone, Debug)]
pub struct Report {
    /// The page: one HTML document, of at most [`LARGEST`] bytes.
    pub html: String,
    /// What could not be read, in words.
    pub complaints: Vec<String>,
}

/// Bytes that are left for something.
pub(super) struct Budget(usize);

impl Budget {
    /// Takes so many bytes, if they are there.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.0;
        if fits {
            self.0 -= bytes;
        }
        fits
    }
}

/// An experiment with what is drawn of it.
struct Section<'a> {
    reported: &'a Reported<'a>,
    drawn: Vec<Figure>,
}

/// Composes the page on `experiments` and `verdicts`. Equal results give equal bytes. Cost: reads all records of the experiments
/// twice or three times.
pub fn compose(experiments: &[Reported<'_>], verdicts: &[(Claim, Finding)]) -> Report {
    let mut complaints = Vec::new();
    let sections: Vec<Section<'_>> = experiments
        .iter()
        .map(|reported| {
            let (drawn, lacks) = figure::drawings(reported.experiment, reported.store);
            complaints.extend(lacks.iter().map(|lack| format!("{}: {lack}", reported.experiment.name)));
            Section { reported, drawn }
        })
        .collect();

    let mut evidence = Budget(EVIDENCE);
    let articles: Vec<Markup> = verdicts
        .iter()
        .map(|(claim, finding)| {
            let links = links(claim, &sections);
            let markup = verdicts::article(claim, finding, &links);
            if evidence.takes(markup.0.len()) {
                return markup;
            }
            // The measurements are what is long.
            let brief = Finding { evidence: serde_json::Map::new(), ..finding.clone() };
            verdicts::article(claim, &brief, &links)
        })
        .collect();
    let mut for_figures = Budget(FIGURES);
    let figures: Vec<Markup> =
        sections.iter().map(|section| figures::figures(&section.drawn, &mut for_figures)).collect();

    let table = verdicts::table(verdicts);
    let fixed = STYLE.len() + SCRIPT.len() + SWEEPS + 50_000;
    let written: usize = articles.iter().chain(&figures).map(|markup| markup.0.len()).sum();
    let left = LARGEST.saturating_sub(fixed + written + table.0.len());
    let mut for_sweeps = Budget(SWEEPS);
    let mut rest = left;
    let bodies: Vec<Markup> = sections
        .iter()
        .zip(figures)
        .enumerate()
        .map(|(index, (section, figures))| {
            // What one does not need is left for those after it. Panels and tables beside the runs take some of it, too.
            const PANELS: usize = 60_000;
            let share = (rest / (sections.len() - index)).saturating_sub(PANELS);
            let shown = runs::explorer(section.reported, share, &mut complaints);
            rest = rest.saturating_sub(shown.markup.0.len());
            let judged = |id: &str| verdicts.iter().any(|(claim, _)| claim.id == id);
            body(section.reported, figures, &shown, &judged, &mut for_sweeps, &mut complaints)
        })
        .collect();
    let html = whole(&sections, verdicts, &table, &articles, &bodies).into_string();
    Report { html, complaints }
}

fn links<'a>(claim: &Claim, sections: &'a [Section<'a>]) -> verdicts::Links<'a> {
    let evidence = |section: &&Section<'_>| {
        let named = &section.reported.experiment.claims;
        named.iter().any(|id| id == claim.id || claim.id.strip_suffix("-corrected") == Some(id))
            || claim.experiments.iter().any(|wanted| wanted.name == section.reported.experiment.name)
    };
    let figures = sections.iter().filter(evidence).flat_map(|section| &section.drawn);
    verdicts::Links {
        figures: figures.map(|figure| (figure.name.as_str(), figure.drawing.title.as_str())).collect(),
        experiments: sections.iter().map(|section| section.reported.experiment.name.as_str()).collect(),
    }
}

/// What an experiment came to.
fn body(
    reported: &Reported<'_>,
    figures: Markup,
    shown: &runs::Shown,
    judged: &dyn Fn(&str) -> bool,
    for_sweeps: &mut Budget,
    complaints: &mut Vec<String>,
) -> Markup {
    let experiment = reported.experiment;
    let summaries = run::cell_summaries(reported.store, reported.planned).unwrap_or_else(|error| {
        complaints.push(format!("{}: {error}", experiment.name));
        Vec::new()
    });
    let finished: usize = summaries.iter().map(|summary| summary.finished).sum();
    let failed: usize = summaries.iter().map(|summary| summary.failed).sum();
    let opens = |cell: usize| shown.cells.contains(&cell).then(|| runs::anchor(&experiment.name, cell));
    html! {
        section class="experiment" id={ "experiment-" (experiment.name) } {
            h3 { (experiment.title) }
            p class="small" {
                code { (experiment.name) } ": " (finished) " of " (experiment.plans.len()) " runs have finished"
                @if failed > 0 { ", " (failed) " ended early" }
                "."
                @if !experiment.claims.is_empty() {
                    " Evidence for "
                    @for (index, id) in experiment.claims.iter().enumerate() {
                        @if index > 0 { ", " }
                        @if judged(id) { a href={ "#" (verdicts::anchor(id)) } { (id) } } @else { (id) }
                    }
                    "."
                }
            }
            details {
                summary { "Experiment file" }
                pre tabindex="0" aria-label={ "Experiment file of " (experiment.name) } { (experiment.origin.text) }
                @if !experiment.origin.overrides.is_empty() {
                    p { "with " @for set in &experiment.origin.overrides { code { "--set " (set) } " " } }
                }
            }
            (figures)
            (cells::cells(reported, &summaries, &opens, for_sweeps))
            (shown.markup)
        }
    }
}

fn whole(
    sections: &[Section<'_>],
    verdicts: &[(Claim, Finding)],
    table: &Markup,
    articles: &[Markup],
    bodies: &[Markup],
) -> Markup {
    // No request may leave the page: the browser sees to it.
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
    let title = match sections {
        [one] => one.reported.experiment.title.as_str(),
        _ => "Dimensional collapse on trial",
    };
    let palette: Vec<String> = (0..=64).map(|k| hex_colour(Some(f64::from(k) / 64.0))).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, finding) in verdicts {
        *counts.entry(finding.verdict.name()).or_default() += 1;
    }
    let counted = counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ");
    html! {
        (DOCTYPE)
        html lang="en" class="no-script" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="generator" content={ "contraflow " (env!("CARGO_PKG_VERSION")) };
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) " – contraflow" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#content" { "Skip to the content" }
                header {
                    h1 { (title) }
                    p {
                        (sections.len()) @if sections.len() == 1 { " experiment" } @else { " experiments" }
                        @if !verdicts.is_empty() { "; " (verdicts.len()) " claims: " (counted) }
                        ". contraflow " (env!("CARGO_PKG_VERSION")) "."
                    }
                    nav aria-label="Parts of the page" {
                        @if !verdicts.is_empty() { a href="#verdicts" { "Verdicts" } " " a href="#evidence" { "Evidence" } " " }
                        a href="#experiments" { "Experiments" }
                    }
                    div class="toolbar" { label { "Colours "
                        select id="theme" { option value="" { "as the system" } option value="light" { "light" } option value="dark" { "dark" } }
                    } }
                }
                main id="content" {
                    @if !verdicts.is_empty() {
                        section id="verdicts" aria-labelledby="verdicts-title" {
                            h2 id="verdicts-title" { "Verdicts" }
                            (table)
                        }
                        section id="evidence" aria-labelledby="evidence-title" {
                            h2 id="evidence-title" { "Evidence" }
                            @for article in articles { (article) }
                        }
                    }
                    section id="experiments" aria-labelledby="experiments-title" {
                        h2 id="experiments-title" { "Experiments" }
                        @if sections.len() > 1 {
                            ul class="inline" { @for section in sections {
                                li { a href={ "#experiment-" (section.reported.experiment.name) } { (section.reported.experiment.title) } }
                            } }
                        }
                        @for body in bodies { (body) }
                    }
                }
                script type="application/json" id="palette" { (PreEscaped(serde_json::json!(palette).to_string())) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}
