//! The parts that all charts and heat maps of the page are made of.

use super::number;
use crate::figure::{hex_colour, ink_on};
use crate::record::{Direction, HeatMap, LineChart, Scale, Series, SeriesStyle};
use maud::{Markup, html};
use serde_json::{Value, json};
use std::collections::HashMap;

/// JSON for a script element: nothing in it can end the element.
pub fn embedded(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// What the script must know of a chart besides its values.
pub fn settings(chart: &LineChart) -> Value {
    let series = chart.series.iter().map(|series| {
        let style = match series.style {
            SeriesStyle::Line => "line",
            SeriesStyle::Points => "points",
            SeriesStyle::Theory => "theory",
        };
        json!({ "label": series.label, "style": style, "shade": series.shade })
    });
    let references = chart.references.iter().map(|reference| {
        let axis = if reference.direction == Direction::X { "x" } else { "y" };
        json!({ "axis": axis, "value": reference.value, "label": reference.label, "widens": reference.widens_axis })
    });
    json!({
        "x": { "label": chart.x_label, "log": chart.x_scale == Scale::Log },
        "y": { "label": chart.y_label, "log": chart.y_scale == Scale::Log },
        "ranks": chart.ranks,
        "floor": chart.floor,
        "series": series.collect::<Vec<_>>(),
        "references": references.collect::<Vec<_>>(),
    })
}

/// The live chart, for the script to fill, with its controls. `name` tells it from the others for readers who do not see it.
pub fn live(name: &str, chart: &LineChart) -> Markup {
    let theory = chart.theory_label.as_deref().unwrap_or("theory");
    html! {
        div class="live" {
            div class="toolbar" role="group" aria-label={ "View of " (name) } {
                label { input type="checkbox" class="log-x" checked[chart.x_scale == Scale::Log]; " log x" }
                label { input type="checkbox" class="log-y" checked[chart.y_scale == Scale::Log]; " log y" }
                button type="button" class="zoom-in" aria-label="Zoom in" { "+" }
                button type="button" class="zoom-out" aria-label="Zoom out" { "−" }
                button type="button" class="reset" { "Reset" }
            }
            svg class="plot" viewBox="0 0 640 400" tabindex="0" role="img" aria-label={
                (name) ". Arrow keys move along the values, plus and minus zoom, 0 resets."
            } {}
            p class="readout" role="status" { "Point at a value, or drag to zoom." }
            div class="legend" role="group" aria-label={ "Series of " (name) } {
                @if !chart.legend_title.is_empty() { span class="legend-title" { (chart.legend_title) } }
                @for (index, series) in chart.series.iter().enumerate() {
                    @let label = match (series.label.as_str(), series.style) {
                        // A prediction is named as what it predicts, which has the same shade.
                        ("", SeriesStyle::Theory) => {
                            let of = |other: &&Series| other.style != SeriesStyle::Theory && other.shade == series.shade;
                            chart.series.iter().find(of).map_or("", |other| other.label.as_str())
                        }
                        ("", _) => "values",
                        (label, _) => label,
                    };
                    label class="key" {
                        input type="checkbox" checked data-series=(index);
                        span class="swatch" aria-hidden="true" {}
                        (label)
                        @if series.style == SeriesStyle::Theory { " (" (theory) ")" }
                    }
                }
            }
        }
    }
}

/// All values of a chart, as a table; the script reads them from here.
pub fn values(chart: &LineChart) -> Markup {
    let mut abscissae: Vec<f64> =
        chart.series.iter().flat_map(|series| series.x.iter().copied()).filter(|x| x.is_finite()).collect();
    abscissae.sort_by(f64::total_cmp);
    abscissae.dedup();
    let theory = chart.theory_label.as_deref().unwrap_or("theory");
    let places: Vec<HashMap<u64, usize>> =
        chart.series.iter().map(|series| series.x.iter().map(|x| x.to_bits()).zip(0..).collect()).collect();
    html! {
        table class="values" {
            thead { tr {
                th scope="col" { (chart.x_label) }
                @for series in &chart.series {
                    th scope="col" {
                        @if !chart.legend_title.is_empty() && !series.label.is_empty() { (chart.legend_title) " " }
                        (series.label)
                        @if series.style == SeriesStyle::Theory { " " (theory) }
                    }
                }
            } }
            tbody {
                @for x in &abscissae {
                    tr {
                        th scope="row" { (number(*x, 6)) }
                        @for (series, places) in chart.series.iter().zip(&places) {
                            td {
                                @if let Some(&at) = places.get(&x.to_bits()) {
                                    (value(series.median[at], series.low.get(at), series.high.get(at)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A median and, where they differ from it, the edges of its band.
fn value(median: f64, low: Option<&f64>, high: Option<&f64>) -> String {
    let text = number(median, 5);
    match (low, high) {
        (Some(&low), Some(&high)) if low < median || high > median => {
            format!("{text} ({} to {})", number(low, 5), number(high, 5))
        }
        _ => text,
    }
}

/// A cell of a heat map: its colour, and ink that can be read on it.
pub fn painted(level: Option<f64>) -> String {
    format!("background:{};color:{}", hex_colour(level), ink_on(level))
}

/// Where a value stands between the ends of a colour scale, from 0 to 1; none for what has no place there.
pub fn level(value: f64, (low, high): (f64, f64), scale: Scale) -> Option<f64> {
    let position = match scale {
        Scale::Linear => (value - low) / (high - low),
        Scale::Log if value > 0.0 => (value / low).ln() / (high / low).ln(),
        Scale::Log => f64::NAN,
    };
    match (value.is_finite(), high > low) {
        (false, _) => None,
        (true, false) => Some(0.5),
        (true, true) => (!position.is_nan()).then(|| position.clamp(0.0, 1.0)),
    }
}

/// What a heat map's colours stand for.
pub fn colour_bar(label: &str, (low, high): (f64, f64), scale: Scale) -> Markup {
    let stops: Vec<String> = (0..=8).map(|k| hex_colour(Some(f64::from(k) / 8.0))).collect();
    html! {
        div class="colour-bar" {
            span class="bar-low" { (number(low, 3)) }
            span class="bar" style={ "background:linear-gradient(to right," (stops.join(",")) ")" } aria-hidden="true" {}
            span class="bar-high" { (number(high, 3)) }
            span class="bar-label" { (label) }
            span class="bar-scale" { @if scale == Scale::Log { "logarithmic" } }
        }
    }
}

/// Columns beyond which the numbers in the cells of a heat map are told, and not shown.
const MOST_NUMBERED: usize = 12;

/// What the rows and the columns of a heat map are.
pub fn axes(rows: &str, columns: &str) -> String {
    match (rows, columns) {
        ("", columns) => format!("{columns} →"),
        (rows, columns) => format!("{rows} ↓, {columns} →"),
    }
}

/// A matrix as a table of coloured cells, with a place where the script tells what is pointed at.
pub fn heat_map(name: &str, map: &HeatMap) -> Markup {
    let tick =
        |ticks: &[String], index: usize| ticks.get(index).cloned().unwrap_or_else(|| (index + 1).to_string());
    let mut rows: Vec<usize> = (0..map.rows).collect();
    if map.first_row_at_bottom {
        rows.reverse();
    }
    let scale = if map.value_scale == Scale::Log { "log" } else { "linear" };
    html! {
        div class="heat-map" {
            div class="toolbar" role="group" aria-label={ "Colours of " (name) } {
                label { input type="checkbox" class="log-colour" checked[map.value_scale == Scale::Log]; " log colours" }
            }
            div class="scroll" {
                table class=(if map.columns > MOST_NUMBERED { "heat square" } else { "heat" }) tabindex="0" aria-label=(name) data-low=(map.range.0) data-high=(map.range.1) data-scale=(scale) {
                    caption { (axes(&map.y_label, &map.x_label)) }
                    thead { tr {
                        td {}
                        @for column in 0..map.columns { th scope="col" { (tick(&map.x_ticks, column)) } }
                    } }
                    tbody {
                        @for row in rows {
                            tr {
                                th scope="row" { (tick(&map.y_ticks, row)) }
                                @for column in 0..map.columns {
                                    @let index = row * map.columns + column;
                                    @let value = map.values[index];
                                    td style=(painted(level(value, map.range, map.value_scale))) {
                                        (number(value, 3))
                                        @if map.marks.get(index) == Some(&true) { " •" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (colour_bar(&map.value_label, map.range, map.value_scale))
            @if let Some(label) = &map.mark_label { p class="small" { "• " (label) } }
            p class="readout" role="status" { "Point at a cell." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_their_scale_and_have_no_place_for_what_is_no_value() {
        assert_eq!(level(2.0, (1.0, 5.0), Scale::Linear), Some(0.25));
        assert!((level(10.0, (1.0, 100.0), Scale::Log).unwrap() - 0.5).abs() < 1e-15);
        assert_eq!(level(7.0, (1.0, 5.0), Scale::Linear), Some(1.0));
        assert_eq!(level(3.0, (3.0, 3.0), Scale::Linear), Some(0.5));
        assert_eq!(level(0.0, (1.0, 100.0), Scale::Log), None);
        assert_eq!(level(f64::NAN, (0.0, 1.0), Scale::Linear), None);
    }

    #[test]
    fn embedded_json_cannot_end_its_element() {
        let text = embedded(&json!({ "title": "</script><b>" }));
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["title"], "</script><b>");
    }

    #[test]
    fn a_value_shows_its_band_where_it_has_one() {
        assert_eq!(value(1.0, Some(&0.5), Some(&2.0)), "1 (0.50000 to 2)");
        assert_eq!(value(1.0, Some(&1.0), Some(&1.0)), "1");
        assert_eq!(value(1.0, None, None), "1");
    }
}
