//! The figures of an experiment: as they are printed, and to be explored.

use super::page::Budget;
use crate::figure::{self, Figure};
use crate::page::{embedded, heat_map, live, settings, values};
use crate::record::{Chart, LineChart, SeriesStyle};
use maud::{Markup, PreEscaped, html};

/// Findings beyond which their list is folded.
const MOST_FINDINGS: usize = 8;

/// Names of figures that have no room.
const SHOWN_NAMES: usize = 20;

/// All figures, as far as the budget goes; the others are named.
pub(super) fn figures(figures: &[Figure], anchor: &dyn Fn(&str) -> String, budget: &mut Budget) -> Markup {
    let mut left_out = Vec::new();
    let mut shown = Vec::new();
    for figure in figures {
        let markup = one(figure, &anchor(&figure.name));
        if budget.takes(markup.0.len()) { shown.push(markup) } else { left_out.push(figure.name.as_str()) }
    }
    html! {
        @for figure in shown { (figure) }
        @if !left_out.is_empty() {
            p {
                (left_out.len()) " of " (figures.len()) " figures have no room on this page: "
                (left_out.iter().take(SHOWN_NAMES).copied().collect::<Vec<_>>().join(", "))
                @if left_out.len() > SHOWN_NAMES { ", …" }
            }
        }
    }
}

fn one(figure: &Figure, anchor: &str) -> Markup {
    let drawing = &figure.drawing;
    let paper = figure::svg(drawing).unwrap_or_else(|error| error.to_string());
    html! {
        figure class="chart" id=(anchor) {
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
