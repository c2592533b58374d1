//! The cells of a sweep: as a heat map whose cells open the run behind them, and as a table.

use super::page::{Budget, Reported};
use super::runs;
use crate::experiment::Plan;
use crate::figure::{Labels, axis_title, value_label};
use crate::page::number;
use crate::page::{axes, colour_bar, embedded, level, painted};
use crate::record::Scale;
use crate::run::CellSummary;
use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Cells that the page shows.
const SHOWN_CELLS: usize = 2000;

/// A colour scale is logarithmic where the largest value is so many times the smallest.
const WIDE: f64 = 100.0;

/// The first plan of each cell of an experiment.
pub(super) fn first_plans(plans: &[Plan]) -> Vec<&Plan> {
    let mut first: Vec<&Plan> = Vec::new();
    for plan in plans {
        if first.last().is_none_or(|last| last.cell != plan.cell) {
            first.push(plan);
        }
    }
    first
}

/// The swept values of a cell in a few words; empty where nothing is swept.
pub(super) fn label(labels: &Labels<'_>, plan: &Plan) -> String {
    let keys: Vec<&str> = plan.assignments.iter().map(|assignment| &*assignment.key).collect();
    labels.named(plan, &keys)
}

/// Heat map and table of the cells of `reported`; `opens` tells which runs, by their directories, are on the page.
pub(super) fn cells(
    reported: &Reported<'_>,
    id: &str,
    summaries: &[CellSummary],
    opens: &dyn Fn(usize) -> Option<String>,
    budget: &mut Budget,
) -> Markup {
    let experiment = reported.experiment;
    let first = first_plans(&experiment.plans);
    if first.len() < 2 {
        return html! {};
    }
    if first.len() > SHOWN_CELLS {
        return too_large();
    }
    let labels = Labels::new(first.clone());
    let found: BTreeMap<usize, &CellSummary> =
        summaries.iter().map(|summary| (summary.cell, summary)).collect();
    let quantities = quantities(summaries);
    let view = View { labels: &labels, first: &first, found: &found, opens };
    let markup = html! {
        h4 { "Sweep" }
        @if let Some(quantity) = quantities.first() { (view.maps(id, quantity, &quantities)) }
        (view.table(id, &quantities))
    };
    if budget.takes(markup.0.len()) { markup } else { too_large() }
}

fn too_large() -> Markup {
    html! { p { "The sweep is too large for this page: see summary.csv and aggregates.csv." } }
}

/// Scalars that finished runs end with, effective ranks and the loss first.
fn quantities(summaries: &[CellSummary]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in summaries.iter().flat_map(|summary| summary.medians.keys()) {
        let scalar = !name.contains('[') && !name.starts_with("floor_") && name != "time" && name != "step";
        if scalar && !names.contains(name) {
            names.push(name.clone());
        }
    }
    const FIRST: [&str; 3] = ["effective_rank_end_to_end", "effective_rank_embedding", "loss"];
    names.sort_by_key(|name| {
        (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), name.clone())
    });
    names
}

struct View<'a> {
    labels: &'a Labels<'a>,
    first: &'a [&'a Plan],
    found: &'a BTreeMap<usize, &'a CellSummary>,
    opens: &'a dyn Fn(usize) -> Option<String>,
}

impl View<'_> {
    fn value(&self, cell: usize, quantity: &str) -> f64 {
        self.found.get(&cell).and_then(|summary| summary.medians.get(quantity)).copied().unwrap_or(f64::NAN)
    }

    /// Values of a swept key, in the order of the sweep.
    fn values(&self, key: &str) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for plan in self.first {
            let value = self.labels.joined(plan, &[key]);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// One map over the last two swept keys for every combination of the others.
    fn maps(&self, name: &str, quantity: &str, quantities: &[String]) -> Markup {
        let keys: Vec<&str> = self.first[0].assignments.iter().map(|assignment| &*assignment.key).collect();
        let (others, along) = keys.split_at(keys.len().saturating_sub(2));
        let (rows, columns) = match along {
            [y, x] => (self.values(y), self.values(x)),
            [x] => (vec![String::new()], self.values(x)),
            _ => return html! {},
        };
        // The cells of a zip lie on a diagonal of the grid: a row of them is easier to read.
        let panels: Vec<String> = {
            let mut panels = Vec::new();
            for plan in self.first {
                let panel = self.labels.named(plan, others);
                if !panels.contains(&panel) {
                    panels.push(panel);
                }
            }
            panels
        };
        let is_sparse = rows.len() * columns.len() * panels.len() > self.first.len();
        let all: Vec<f64> =
            self.first.iter().map(|plan| self.value(plan.cell, quantity)).filter(|v| v.is_finite()).collect();
        let range = (
            all.iter().copied().fold(f64::INFINITY, f64::min),
            all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        let scale = if range.0 > 0.0 && range.1 > WIDE * range.0 { Scale::Log } else { Scale::Linear };
        let numbers: Map<String, Value> = quantities
            .iter()
            .map(|quantity| {
                let values = self.first.iter().map(|plan| json!(self.value(plan.cell, quantity)));
                (quantity.clone(), values.collect())
            })
            .collect();
        let cell = |plan: Option<&Plan>| self.cell(plan, quantity, range, scale);
        let at = |plan: &Plan| {
            let value =
                |key: Option<&&str>| key.map_or_else(String::new, |key| self.labels.joined(plan, &[key]));
            let row = if along.len() == 2 { value(along.first()) } else { String::new() };
            (self.labels.named(plan, others), row, value(along.last()))
        };
        let places: BTreeMap<(String, String, String), &Plan> =
            self.first.iter().map(|plan| (at(plan), *plan)).collect();
        html! {
            div class="heat-map sweep" data-experiment=(name) {
                script type="application/json" class="quantities" { (PreEscaped(embedded(&Value::Object(numbers)))) }
                div class="toolbar" role="group" aria-label={ "Sweep of " (name) } {
                    label { "Show "
                        select class="quantity" {
                            @for quantity in quantities { option value=(quantity) { (value_label(quantity)) } }
                        }
                    }
                    label { input type="checkbox" class="log-colour" checked[scale == Scale::Log]; " log colours" }
                }
                @if is_sparse {
                    div class="scroll" { table class="heat" tabindex="0" aria-label={ "Cells of " (name) } {
                        tbody { @for plan in self.first { tr {
                            th scope="row" { (label(self.labels, plan)) }
                            (cell(Some(plan)))
                        } } }
                    } }
                } @else {
                    @for panel in &panels {
                        div class="scroll" { table class="heat" tabindex="0" aria-label={ "Cells of " (name) " " (panel) } {
                            caption {
                                @if !panel.is_empty() { span class="panel-name" { (panel) } "; " }
                                @match along {
                                    [y, x] => (axes(&axis_title(y), &axis_title(x))),
                                    [x] => (axes("", &axis_title(x))),
                                    _ => {},
                                }
                            }
                            thead { tr {
                                td {}
                                @for column in &columns { th scope="col" { (column) } }
                            } }
                            tbody { @for row in rows.iter().rev() { tr {
                                th scope="row" { (row) }
                                @for column in &columns {
                                    (cell(places.get(&(panel.clone(), row.clone(), column.clone())).copied()))
                                }
                            } } }
                        } }
                    }
                }
                (colour_bar(&format!("{}, at the end, median over repeats", value_label(quantity)), range, scale))
                p class="readout" role="status" { "A cell shows the median over repeats, and opens the first of them." }
            }
        }
    }

    fn cell(&self, plan: Option<&Plan>, quantity: &str, range: (f64, f64), scale: Scale) -> Markup {
        let Some(plan) = plan else { return html! { td {} } };
        let value = self.value(plan.cell, quantity);
        let failed = self.found.get(&plan.cell).is_some_and(|summary| summary.finished == 0);
        let text = if failed { "failed".to_string() } else { number(value, 3) };
        html! {
            td data-cell=(plan.cell) style=(painted(level(value, range, scale))) {
                @match (self.opens)(plan.cell) {
                    Some(anchor) => a href={ "#" (anchor) } { (text) },
                    None => (text),
                }
            }
        }
    }

    /// A row a cell.
    fn table(&self, name: &str, quantities: &[String]) -> Markup {
        let shown: Vec<&String> = quantities.iter().take(4).collect();
        html! {
            details {
                summary { "Cells as a table" }
                div class="scroll" { table {
                    thead { tr {
                        th scope="col" { "cell" } th scope="col" { "repeats finished" }
                        @for quantity in &shown { th scope="col" { (value_label(quantity)) } }
                        th scope="col" { "first run" }
                    } }
                    tbody {
                        @for plan in self.first {
                            tr id=(runs::anchor(name, plan.cell)) {
                                th scope="row" { (label(self.labels, plan)) }
                                td { @match self.found.get(&plan.cell) {
                                    Some(summary) => { (summary.finished) " of " (summary.planned) },
                                    None => "none",
                                } }
                                @for quantity in &shown { td { (number(self.value(plan.cell, quantity), 5)) } }
                                td { code { (plan.directory_name()) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}
