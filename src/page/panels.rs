//! The panels that show one time of a run: spectra, eigenvalues of X, alignment, and curves over time.

use super::charts::{axes, colour_bar, embedded, level, live, painted, settings};
use super::number;
use crate::figure::value_label;
use crate::record::{Direction, LineChart, Reference, Scale, Series};
use maud::{Markup, PreEscaped, html};

/// An array in a legend whose title says the rest.
pub fn in_legend(name: &str) -> String {
    match name.strip_prefix("alignment_").and_then(|layers| layers.split_once('_')) {
        Some((inner, outer)) if !matches!(inner, "score" | "resolved") => {
            format!("layers {inner} and {outer}")
        }
        _ => value_label(name).replace("singular value of ", "").replace("effective rank of ", ""),
    }
}

/// Singular values over their rank.
pub fn spectra(series: Vec<Series>) -> LineChart {
    LineChart {
        x_label: "rank".to_string(),
        y_label: "singular value".to_string(),
        y_scale: Scale::Log,
        ranks: true,
        legend_title: "spectrum of".to_string(),
        ..plain(series)
    }
}

/// Eigenvalues of X in ascending order.
pub fn eigenvalues(series: Vec<Series>) -> LineChart {
    let zero = Reference { direction: Direction::Y, value: 0.0, label: String::new(), widens_axis: true };
    LineChart {
        x_label: "index, ascending".to_string(),
        y_label: "eigenvalue of X".to_string(),
        ranks: true,
        references: vec![zero],
        ..plain(series)
    }
}

/// The loss over training time.
pub fn loss(series: Vec<Series>) -> LineChart {
    LineChart {
        x_label: "training time t".to_string(),
        y_label: "loss".to_string(),
        x_scale: Scale::Log,
        ..plain(series)
    }
}

/// Effective ranks over training time.
pub fn effective_ranks(series: Vec<Series>) -> LineChart {
    LineChart {
        y_label: "effective rank".to_string(),
        legend_title: "effective rank of".to_string(),
        ..loss(series)
    }
}

fn plain(series: Vec<Series>) -> LineChart {
    LineChart {
        x_label: String::new(),
        y_label: String::new(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        ranks: false,
        legend_title: String::new(),
        series,
        theory_label: None,
        references: Vec::new(),
        floor: None,
    }
}

/// A chart that the script draws and moves. `kind` is `spectra`, `eigenvalues`, `loss` or `ranks`.
pub fn panel(kind: &str, title: &str, chart: &LineChart) -> Markup {
    html! {
        figure class="chart panel" data-panel=(kind) {
            figcaption { strong { (title) } }
            script type="application/json" class="settings" { (PreEscaped(embedded(&settings(chart)))) }
            (live(title, chart))
        }
    }
}

/// |A| of two adjacent layers: `values` of this shape, row by row; `names` are the arrays to choose from.
pub fn alignment(names: &[&str], (rows, columns): (usize, usize), values: &[f64]) -> Markup {
    html! {
        figure class="panel heat-map" data-panel="alignment" {
            figcaption { strong { "Alignment |A| of adjacent layers" } }
            div class="toolbar" {
                label { "of " select class="layers" { @for name in names { option value=(name) { (in_legend(name)) } } } }
            }
            div class="scroll" {
                table class="heat square" tabindex="0" aria-label="|A|" data-low="0" data-high="1" data-scale="linear" {
                    caption { (axes("right singular vector of the outer layer", "left one of the inner")) }
                    tbody {
                        @for i in 0..rows {
                            tr {
                                @for j in 0..columns {
                                    @let value = values[i * columns + j].abs();
                                    td style=(painted(level(value, (0.0, 1.0), Scale::Linear))) { (number(value, 2)) }
                                }
                            }
                        }
                    }
                }
            }
            (colour_bar("|A|", (0.0, 1.0), Scale::Linear))
            p class="readout" role="status" { "Point at a cell." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_alignment_itself_is_named_by_its_layers() {
        assert_eq!(in_legend("alignment_1_2"), "layers 1 and 2");
        assert_eq!(in_legend("alignment_w2_p1"), "layers w2 and p1");
        assert_eq!(in_legend("alignment_score_1_2"), "alignment score of W₁ and W₂");
        assert_eq!(in_legend("alignment_resolved_1_2"), "resolved directions of W₁ and W₂");
    }
}
