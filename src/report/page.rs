//! The page as a whole.

use super::{cells, figures, runs, verdicts};
use crate::claim::{Claim, Finding};
use crate::experiment::{Experiment, slug};
use crate::figure::{self, Figure};
use crate::page::document;
use crate::run::{self, PlannedRuns, Store};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// The page is never larger than this, in bytes: what does not fit is left out, and the page says so.
pub const LARGEST: usize = 5_000_000;

/// What of it figures, and what sweeps, may take.
const FIGURES: usize = 1_800_000;
const SWEEPS: usize = 500_000;

/// What evidence may take before it is left to `verify --json`.
const EVIDENCE: usize = 1_500_000;

const SCRIPT: &str = include_str!("report.js");

/// What style, scripts and the frame of the page take, at most.
const FRAME: usize = 90_000;

/// What a title, a list of links and an experiment file take, about.
const AROUND: usize = 3_000;

/// Complaints that the page shows.
const SHOWN_LACKS: usize = 20;

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

/// What a page is about.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Experiments, in the order of the page.
    pub experiments: &'a [Reported<'a>],
    /// Claims that were judged, and what was found.
    pub verdicts: &'a [(Claim, Finding)],
    /// Claims that these experiments belong to and that were not judged, and why, in words.
    pub unjudged: &'a [(Claim, String)],
    /// What could not be read, in words.
    pub unreadable: &'a [String],
}

/// A finished page.
#[derive(Clone, Debug)]
pub struct Page {
    /// One HTML document, of at most [`LARGEST`] bytes.
    pub html: String,
    /// What the figures lack, in words; it stands on the page too.
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
    /// Its name in anchors, different from all others on the page.
    id: String,
    drawn: Vec<Figure>,
}

/// Names of experiments as anchors, each different.
fn ids(experiments: &[Reported<'_>]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for reported in experiments {
        let plain = slug(&reported.experiment.name);
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let new = std::iter::once(plain.clone()).chain(numbered).find(|id| !ids.contains(id));
        ids.extend(new);
    }
    ids
}

/// Text of an experiment file that the page shows.
const SHOWN_TEXT: usize = 20_000;

/// Text of a title that the page shows.
const SHOWN_TITLE: usize = 300;

fn shortened(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Parts of the room for runs that are tried until the page is small enough.
const PARTS: [f64; 4] = [1.0, 0.6, 0.3, 0.0];

/// Composes the page. Equal results give equal bytes. Cost: reads all records of the experiments twice or three times.
pub fn compose(report: &Report<'_>) -> Page {
    let mut complaints = Vec::new();
    let sections: Vec<Section<'_>> = report
        .experiments
        .iter()
        .zip(ids(report.experiments))
        .map(|(reported, id)| {
            let (drawn, lacks) = figure::drawings(reported.experiment, reported.store);
            complaints.extend(lacks.iter().map(|lack| format!("{}: {lack}", reported.experiment.name)));
            Section { reported, id, drawn }
        })
        .collect();
    let lacks: Vec<String> = report.unreadable.iter().chain(&complaints).cloned().collect();
    let mut shown = sections.len();
    for attempt in 0.. {
        let part = PARTS.get(attempt).copied().unwrap_or(0.0);
        // Without any runs only fewer experiments make it smaller.
        if attempt >= PARTS.len() {
            shown /= 2;
        }
        let html = page(report, &sections[..shown], &lacks, part).into_string();
        if html.len() <= LARGEST || shown == 0 {
            return Page { html, complaints };
        }
    }
    unreachable!("the loop ends where nothing is shown")
}

/// The page with this part of the room that there is for runs.
fn page(report: &Report<'_>, sections: &[Section<'_>], lacks: &[String], part: f64) -> Markup {
    let mut evidence = Budget(EVIDENCE);
    let articles: Vec<Markup> = report
        .verdicts
        .iter()
        .map(|(claim, finding)| {
            let links = links(claim, sections);
            let markup = verdicts::article(claim, finding, &links);
            if evidence.takes(markup.0.len()) {
                return markup;
            }
            // The measurements are what is long.
            let note = "too many for this page; `contraflow verify --json` prints them".into();
            let brief = Finding {
                evidence: serde_json::Map::from_iter([("measurements".to_string(), note)]),
                ..finding.clone()
            };
            verdicts::article(claim, &brief, &links)
        })
        .collect();
    let mut for_figures = Budget(FIGURES);
    let figures: Vec<Markup> = sections
        .iter()
        .map(|section| {
            figures::figures(&section.drawn, &|name| figure_anchor(section, name), &mut for_figures)
        })
        .collect();

    let table = verdicts::table(report.verdicts);
    let written: usize = articles.iter().chain(&figures).map(|markup| markup.0.len()).sum();
    let around = FRAME + SWEEPS + written + table.0.len() + AROUND * sections.len();
    let mut rest = (part * LARGEST.saturating_sub(around) as f64) as usize;
    let mut for_sweeps = Budget(SWEEPS);
    let judged = |id: &str| report.verdicts.iter().any(|(claim, _)| claim.id == id);
    let bodies: Vec<Markup> = sections
        .iter()
        .zip(figures)
        .enumerate()
        .map(|(index, (section, figures))| {
            // What one does not need is left for those after it.
            let weights: usize = sections[index..].iter().map(weight).sum();
            let share = rest * weight(section) / weights;
            let shown = runs::explorer(section.reported, &section.id, share);
            rest = rest.saturating_sub(shown.markup.0.len());
            body(section, figures, &shown, &judged, &mut for_sweeps)
        })
        .collect();
    whole(report, sections, lacks, &table, &articles, &bodies)
}

/// The part of the room for runs that an experiment gets, relative to others: what is drawn is looked at more.
fn weight(section: &Section<'_>) -> usize {
    if section.drawn.is_empty() { 1 } else { 4 }
}

/// The anchor of a figure: two stores of one experiment have figures of the same name.
fn figure_anchor(section: &Section<'_>, name: &str) -> String {
    if section.id == slug(&section.reported.experiment.name) {
        format!("figure-{name}")
    } else {
        format!("figure-{}-{name}", section.id)
    }
}

fn links<'a>(claim: &Claim, sections: &'a [Section<'a>]) -> verdicts::Links<'a> {
    let evidence = |section: &&Section<'_>| {
        claim.experiments.iter().any(|wanted| wanted.name == section.reported.experiment.name)
    };
    let figures = sections.iter().filter(evidence).flat_map(|section| {
        section
            .drawn
            .iter()
            .map(|figure| (figure_anchor(section, &figure.name), figure.drawing.title.as_str()))
    });
    verdicts::Links {
        figures: figures.collect(),
        experiments: sections
            .iter()
            .map(|section| (section.reported.experiment.name.as_str(), section.id.as_str()))
            .collect(),
    }
}

/// What an experiment came to.
fn body(
    section: &Section<'_>,
    figures: Markup,
    shown: &runs::Shown,
    judged: &dyn Fn(&str) -> bool,
    for_sweeps: &mut Budget,
) -> Markup {
    let Section { reported, id, .. } = section;
    let experiment = reported.experiment;
    // What cannot be read has been told of.
    let summaries = run::cell_summaries(reported.store, reported.planned).unwrap_or_default();
    let finished: usize = summaries.iter().map(|summary| summary.finished).sum();
    let failed: usize = summaries.iter().map(|summary| summary.failed).sum();
    let planned = reported.planned.len();
    let opens = |cell: usize| shown.cells.contains(&cell).then(|| runs::anchor(id, cell));
    html! {
        section class="experiment" id={ "experiment-" (id) } {
            h3 { (shortened(&experiment.title, SHOWN_TITLE)) }
            p class="small" {
                code { (experiment.name) } ": " (finished) " of " (planned) " runs have finished"
                @if failed > 0 { ", " (failed) " ended early" }
                @if planned > finished + failed { ", " (planned - finished - failed) " are not there" }
                "."
                @if !experiment.claims.is_empty() {
                    " Its file names "
                    @for (index, id) in experiment.claims.iter().enumerate() {
                        @if index > 0 { ", " }
                        @if judged(id) { a href={ "#" (verdicts::anchor(id)) } { (id) } } @else { (id) }
                    }
                    "."
                }
            }
            details {
                summary { "Experiment file" }
                pre tabindex="0" aria-label={ "Experiment file of " (experiment.name) } { (shortened(&experiment.origin.text, SHOWN_TEXT)) }
                @if !experiment.origin.overrides.is_empty() {
                    p { "with " @for set in experiment.origin.overrides.iter().take(50) { code { "--set " (shortened(set, SHOWN_TITLE)) } " " } }
                }
            }
            (figures)
            (cells::cells(reported, id, &summaries, &opens, for_sweeps))
            (shown.markup)
        }
    }
}

fn whole(
    report: &Report<'_>,
    sections: &[Section<'_>],
    lacks: &[String],
    table: &Markup,
    articles: &[Markup],
    bodies: &[Markup],
) -> Markup {
    let verdicts = report.verdicts;
    // No request may leave the page: the browser sees to it.
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
    let title = match sections {
        [one] => shortened(&one.reported.experiment.title, SHOWN_TITLE),
        _ => "Dimensional collapse on trial".to_string(),
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, finding) in verdicts {
        *counts.entry(finding.verdict.name()).or_default() += 1;
    }
    let counted = counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ");
    let unjudged = html! {
        @if !report.unjudged.is_empty() {
            p { "Not judged, for their evidence is not in this folder:" }
            ul { @for (claim, why) in report.unjudged { li { code { (claim.id) } ": " (why) } } }
        }
    };
    let header = html! {
        p {
            (report.experiments.len()) @if report.experiments.len() == 1 { " experiment" } @else { " experiments" }
            @if !verdicts.is_empty() { "; " (verdicts.len()) " claims: " (counted) }
            ". contraflow " (env!("CARGO_PKG_VERSION")) "."
        }
        @if sections.len() < report.experiments.len() {
            p class="warning" { "This page has room for the first " (sections.len()) "; `contraflow report` on the folder of another one shows that." }
        }
        @if !lacks.is_empty() {
            details {
                summary class="warning" { "Left out: " (lacks.len()) @if lacks.len() == 1 { " thing" } @else { " things" } "" }
                ul { @for lack in lacks.iter().take(SHOWN_LACKS) { li { (shortened(lack, SHOWN_TITLE)) } } }
                @if lacks.len() > SHOWN_LACKS { p { "and " (lacks.len() - SHOWN_LACKS) " more" } }
            }
        }
        nav aria-label="Parts of the page" {
            @if !verdicts.is_empty() { a href="#verdicts" { "Verdicts" } " " a href="#evidence" { "Evidence" } " " }
            a href="#experiments" { "Experiments" }
        }
    };
    let content = html! {
        @if verdicts.is_empty() { (unjudged) }
        @if !verdicts.is_empty() {
            section id="verdicts" aria-labelledby="verdicts-title" {
                h2 id="verdicts-title" { "Verdicts" }
                (table)
                (unjudged)
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
                    li { a href={ "#experiment-" (section.id) } { (shortened(&section.reported.experiment.title, SHOWN_TITLE)) } }
                } }
            }
            @for body in bodies { (body) }
        }
    };
    document(&title, POLICY, &header, &content, SCRIPT)
}
