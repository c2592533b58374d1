//! The table of verdicts, and the evidence for each.

use super::math;
use crate::claim::{Claim, Counterexample, Finding, Source, Verdict};
use crate::matrix::Matrix;
use crate::page::number;
use maud::{Markup, html};
use serde_json::Value;

/// Rows of a table of evidence that the page shows.
const SHOWN_ROWS: usize = 24;

/// Nesting of evidence that is shown as tables; what lies deeper is shown as text.
const SHOWN_DEPTH: usize = 3;

/// The anchor of a claim.
pub(super) fn anchor(id: &str) -> String {
    format!("claim-{id}")
}

/// A sign beside each verdict's word, so that colour is not needed.
fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "✓",
        Verdict::Consistent => "≈",
        Verdict::OutsideHypotheses => "∅",
        Verdict::Refuted => "✗",
        Verdict::Inconclusive => "?",
    }
}

fn badge(verdict: Verdict) -> Markup {
    html! { span class={ "badge " (verdict.name()) } { span aria-hidden="true" { (sign(verdict)) } " " (verdict.name()) } }
}

/// The table that opens the page, with controls to sort and filter it.
pub(super) fn table(verdicts: &[(Claim, Finding)]) -> Markup {
    let count = |verdict: Verdict| verdicts.iter().filter(|(_, finding)| finding.verdict == verdict).count();
    html! {
        div class="toolbar filters" role="group" aria-label="Filter the claims" {
            label { "Search " input type="search" id="claim-search" placeholder="claim, figure, assumption"; }
            @for verdict in Verdict::ALL {
                @if count(verdict) > 0 {
                    label class="filter" {
                        input type="checkbox" checked value=(verdict.name());
                        (badge(verdict)) " " (count(verdict))
                    }
                }
            }
            p id="claim-count" role="status" { (verdicts.len()) " of " (verdicts.len()) " claims" }
        }
        div class="scroll" {
            table id="claims" {
                caption class="hidden" { "Claims with verdict, deciding figure and assumptions" }
                thead { tr {
                    @for (key, name) in [("order", "Claim"), ("verdict", "Verdict"), ("text", "Deciding figure"), ("failed", "Assumed")] {
                        th scope="col" aria-sort=(if key == "order" { "ascending" } else { "none" }) {
                            button type="button" data-key=(key) { (name) }
                        }
                    }
                } }
                tbody {
                    @for (order, (claim, finding)) in verdicts.iter().enumerate() {
                        @let failed = finding.hypotheses.iter().filter(|hypothesis| !hypothesis.held).count();
                        @let rank = Verdict::ALL.iter().position(|verdict| *verdict == finding.verdict).unwrap_or(0);
                        tr data-order=(order) data-verdict=(rank) data-failed=(failed) data-name=(finding.verdict.name()) {
                            th scope="row" { a href={ "#" (anchor(claim.id)) } { (claim.id) } }
                            td { (badge(finding.verdict)) (departure(claim, finding)) }
                            td class="deciding" { (finding.summary) }
                            td { (assumed(finding)) }
                        }
                    }
                }
            }
        }
    }
}

/// Said where the verdict is not the recorded one.
fn departure(claim: &Claim, finding: &Finding) -> Markup {
    html! {
        @if claim.recorded() != Some(finding.verdict) {
            br;
            strong class="warning" { "recorded: " (claim.recorded().map_or("nothing", Verdict::name)) }
        }
        @if finding.control.rejected == Some(false) { br; strong class="warning" { "control not rejected" } }
    }
}

fn assumed(finding: &Finding) -> Markup {
    html! {
        @if finding.hypotheses.is_empty() { span class="small" { "nothing" } }
        ul class="assumed" {
            @for hypothesis in &finding.hypotheses {
                @if hypothesis.held {
                    li { span class="held" { "held" } ": " (hypothesis.name) }
                } @else {
                    li {
                        strong class="warning" { "failed" } ": " (hypothesis.name)
                        @if let Some(first) = &hypothesis.first_violation { " (first: " (first) ")" }
                    }
                }
            }
        }
    }
}

/// What a claim rests on in this page.
pub(super) struct Links<'a> {
    /// Anchors and titles of figures of the experiments that it is judged on.
    pub figures: Vec<(String, &'a str)>,
    /// Names of the experiments on this page, and their anchors.
    pub experiments: Vec<(&'a str, &'a str)>,
}

/// The evidence for one claim.
pub(super) fn article(claim: &Claim, finding: &Finding, links: &Links<'_>) -> Markup {
    html! {
        article class="claim" id=(anchor(claim.id)) {
            h3 { (claim.id) " " (badge(finding.verdict)) }
            p class="small" { (claim.source) ". Judged by " (claim.evidence.about()) "." }
            blockquote {
                p { (claim.statement) }
                @if !claim.formula.is_empty() { (math::formula(claim.formula)) }
            }
            p class="deciding" { (finding.summary) "." (departure(claim, finding)) }
            @if !finding.hypotheses.is_empty() { h4 { "Assumed" } (assumed(finding)) }
            @if let Some(rejected) = finding.control.rejected {
                h4 { "Negative control" }
                p {
                    @if rejected { "Rejected, as it must be: " } @else { strong class="warning" { "Not rejected" } ": " }
                    (finding.control.what) "."
                }
            }
            @if !links.figures.is_empty() {
                h4 { "Figures" }
                ul { @for (anchor, title) in &links.figures { li { a href={ "#" (anchor) } { (title) } } } }
            }
            @if !claim.experiments.is_empty() {
                h4 { "Experiments" }
                ul class="inline" {
                    @for wanted in claim.experiments {
                        li {
                            @match links.experiments.iter().find(|(name, _)| *name == wanted.name) {
                                Some((name, id)) => a href={ "#experiment-" (id) } { (name) },
                                None => {
                                    code { (wanted.name) }
                                    @if wanted.source == Source::File { " (experiments/" (wanted.name) ".toml)" }
                                },
                            }
                        }
                    }
                }
            }
            @if !finding.evidence.is_empty() {
                details {
                    summary { "Measurements" }
                    div class="scroll" {
                        dl { @for (name, value) in &finding.evidence { dt { (name) } dd { (evidence(value, 0)) } } }
                    }
                }
            }
            @if let Some(counterexample) = &finding.counterexample { (shown(claim.id, counterexample)) }
            p class="small" { a href="#verdicts" { "↑ verdicts" } }
        }
    }
}

fn shown(id: &str, counterexample: &Counterexample) -> Markup {
    html! {
        details {
            summary { "Counterexample" }
            @match counterexample {
                Counterexample::Plan(plan) => {
                    p { "Save as " code { "counterexample.toml" } " and " code { "contraflow run counterexample.toml" } "." }
                    button type="button" class="copy" { "Copy" }
                    pre tabindex="0" aria-label={ "Counterexample to " (id) } { (plan) }
                }
                Counterexample::Matrices { formula, matrices } => {
                    p { (formula) }
                    @for (name, matrix) in matrices { p { (name) " =" } div class="scroll" { (numbers(matrix)) } }
                }
            }
        }
    }
}

fn numbers(matrix: &Matrix) -> Markup {
    html! {
        table class="matrix" {
            @for row in matrix.row_iter() { tr { @for value in &row { td { (value) } } } }
        }
    }
}

/// A measurement: objects as lists of terms, lists of objects as tables.
fn evidence(value: &Value, depth: usize) -> Markup {
    let scalar = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(entries) if depth < SHOWN_DEPTH => html! {
            @if entries.values().all(scalar) {
                @for (index, (name, value)) in entries.iter().enumerate() {
                    @if index > 0 { "; " }
                    (name) " " (text(value))
                }
            } @else {
                dl { @for (name, value) in entries { dt { (name) } dd { (evidence(value, depth + 1)) } } }
            }
        },
        Value::Array(rows)
            if depth < SHOWN_DEPTH && rows.iter().all(Value::is_object) && !rows.is_empty() =>
        {
            let mut columns: Vec<&str> = Vec::new();
            for name in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
                if !columns.contains(&name.as_str()) {
                    columns.push(name);
                }
            }
            html! {
                table {
                    thead { tr { @for column in &columns { th scope="col" { (column) } } } }
                    tbody {
                        @for row in rows.iter().take(SHOWN_ROWS) {
                            tr { @for column in &columns { td { @if let Some(value) = row.get(column) { (evidence(value, depth + 1)) } } } }
                        }
                    }
                }
                @if rows.len() > SHOWN_ROWS {
                    p class="small" { "and " (rows.len() - SHOWN_ROWS) " more, in `contraflow verify --json`" }
                }
            }
        }
        value => html! { (text(value)) },
    }
}

/// A value in a line: numbers in five digits, lists with commas.
fn text(value: &Value) -> String {
    match value {
        Value::Number(value) if value.is_f64() => {
            value.as_f64().map_or_else(String::new, |value| number(value, 5))
        }
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        Value::Null => "–".to_string(),
        Value::Array(values) => {
            let nested = values.iter().any(Value::is_array);
            let shown: Vec<String> = values
                .iter()
                .take(SHOWN_ROWS)
                .map(text)
                .map(|text| if nested { format!("({text})") } else { text })
                .collect();
            let more = if values.len() > SHOWN_ROWS { ", …" } else { "" };
            format!("{}{more}", shown.join(", "))
        }
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| format!("{name} {}", text(value)))
            .collect::<Vec<_>>()
            .join("; "),
        Value::Number(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn evidence_is_tables_of_numbers_in_five_digits_and_escaped() {
        let markup =
            evidence(&json!([{ "k": 0.123456789, "run": "<a>" }, { "k": 2, "more": [1.5, null] }]), 0);
        let text = markup.into_string();
        for part in ["<th scope=\"col\">more</th>", "0.12346", "&lt;a&gt;", "1.5000, –"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let long: Vec<Value> = (0..100).map(|k| json!({ "k": k })).collect();
        assert!(evidence(&json!(long), 0).into_string().contains("and 76 more"));
    }
}
