//! The parts that pages for a browser are made of: the frame of a page, charts and heat maps, and the script that moves them.
//!
//! A page is one HTML file with style and script inside, and asks for nothing from outside of it.

mod charts;
mod panels;

pub use charts::{axes, colour_bar, embedded, heat_map, level, live, painted, settings, values};
pub use panels::{alignment, effective_ranks, eigenvalues, in_legend, loss, panel, spectra};

use crate::figure::hex_colour;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
const CHARTS: &str = include_str!("charts.js");

/// A whole page. `policy` is its content security policy, `script` runs after that of the charts, `header` and `content` are
/// what it shows.
pub fn document(title: &str, policy: &str, header: &Markup, content: &Markup, script: &str) -> Markup {
    let palette: Vec<String> = (0..=64).map(|k| hex_colour(Some(f64::from(k) / 64.0))).collect();
    html! {
        (DOCTYPE)
        html lang="en" class="no-script" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy);
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
                    (header)
                    div class="toolbar" { label { "Colours "
                        select id="theme" { option value="" { "as the system" } option value="light" { "light" } option value="dark" { "dark" } }
                    } }
                }
                main id="content" { (content) }
                script type="application/json" id="palette" { (PreEscaped(serde_json::json!(palette).to_string())) }
                script { (PreEscaped(format!("\"use strict\";\n(() => {{\n{CHARTS}\n{script}}})();\n"))) }
            }
        }
    }
}

/// A number in so many significant digits; a dash for what is not finite.
pub fn number(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "–".to_string();
    }
    let magnitude = value.abs();
    if value == value.round() && magnitude < 1e5 {
        return format!("{value}");
    }
    if (1e-3..1e5).contains(&magnitude) {
        let places = digits - 1 - magnitude.log10().floor() as i32;
        format!("{value:.*}", places.clamp(0, digits + 2) as usize)
    } else {
        format!("{value:.*e}", (digits - 2).max(0) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_asked_for() {
        for (value, short, long) in [
            (0.0, "0", "0"),
            (0.0123456, "0.01235", "0.0123456"),
            (1.0 / 3.0, "0.3333", "0.333333"),
            (8.0, "8", "8"),
            (1234.5678, "1235", "1234.57"),
            (-2.5e-7, "-2.50e-7", "-2.5000e-7"),
            (f64::NAN, "–", "–"),
        ] {
            assert_eq!((number(value, 4), number(value, 6)), (short.to_string(), long.to_string()));
        }
    }
}
