//! The figures of an experiment: as they are printed, and to be explored.

use super::charts::{embedded, heat_map, live, settings, values};
use super::page::Budget;
use crate::figure::{self, Figure};
use crate::record::{Chart, LineChart, SeriesStyle};
use maud::{Markup, PreEscaped, html};

/// Findings beyond which their list is folded.
const MOST_FINDINGS: usize = 8;

/// The anchor of a figure.
pub(super) fn anchor(name: &str) -> String {
    format!("figure-{name}")
}

/// All figures, as far as the budget goes; the others are named.
pub(super) fn figures(figures: &[Figure], budget: &mut Budget) -> Markup {
    let mut left_out = Vec::new();
    let mut shown = Vec::new();
    for figure in figures {
        let markup = one(figure);
        if budget.takes(markup.0.len()) { shown.push(markup) } else { left_out.push(figure.name.as_str()) }
    }
    html! {
        @for figure in shown { (figure) }
        @if !left_out.is_empty() {
            p { "Too large for this page: " (left_out.join(", ")) "; they are files of `contraflow reproduce`." }
        }
    }
}

fn one(figure: &Figure) -> Markup {
    let drawing = &figure.drawing;
    let paper = figure::svg(drawing).unwrap_or_else(|error| error.to_string());
    html! {
        figure class="chart" id=(anchor(&figure.name)) {
            figcaption { strong { (drawing.title) } " " (drawing.caption) "." }
            div class="paper" { (PreEscaped(paper)) }
            @match &drawing.chart {
                Chart::Lines(chart) => {
                    script type="application/json" class="settings" { (PreEscaped(embedded(&settings(chart)))) }
                    (live(&figure.name, chart))
                    @if let Some(theory) = chart.theory_label.as_deref().filter(|_| has_theory(chart)) {
                        p class="small" { "Dashed: " (theory) "." }
                    }
                    details class="values" { summary { "Values" } div class="scroll" { (values(chart)) } }
                }
                Chart::HeatMap(map) => (heat_map(&figure.name, map)),
            }
            @match figure.findings.len() {
                0 => {},
                1..=MOST_FINDINGS => (findings(figure)),
                _ => details { summary { "Findings" } (findings(figure)) },
            }
            p class="small" { (drawing.provenance) }
        }
    }
}

fn findings(figure: &Figure) -> Markup {
    html! {
        ul class="findings" {
            @for (cell, finding) in &figure.findings { li { @if !cell.is_empty() { (cell) ": " } (finding) } }
        }
    }
}

fn has_theory(chart: &LineChart) -> bool {
    chart.series.iter().any(|series| series.style == SeriesStyle::Theory)
}
