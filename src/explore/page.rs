//! The page: controls, panels, and what moves them.

use super::choices::{CHOICES, Choice, Values};
use crate::page::{alignment, document, effective_ranks, eigenvalues, loss, panel, spectra};
use maud::{Markup, html};

const SCRIPT: &str = include_str!("explore.js");

/// Positions of a slider.
const POSITIONS: u32 = 1000;

/// The page with this content security policy.
pub(super) fn page(policy: &str) -> Markup {
    let header = html! {
        p {
            "A run while it is computed. Move a slider and it starts anew; the address of the page keeps the setting, and "
            "the file repeats the run exactly: " code { "contraflow run explored.toml" } "."
        }
    };
    let content = html! {
        noscript { p { "This page needs JavaScript: it shows what the program computes while it does. " code { "contraflow report" } " makes pages that can be read without." } }
        form id="choices" class="choices" aria-label="Setting" {
            @for choice in CHOICES { (control(choice)) }
        }
        section class="explorer live-run" aria-label="The run" {
            div class="toolbar" role="group" aria-label="Run and time" {
                button type="button" class="again" { "Run again" }
                a class="save" download="explored.toml" href="experiment.toml" { "Save as TOML" }
                label class="time" { "Time " input type="range" class="slider" min="0" max="0" value="0" step="1"; }
                output class="now" { "t = 0" }
                label { input type="checkbox" class="fixed" checked; " axes for all times" }
            }
            p class="state" role="status" { "Starting." }
            p class="not-understood warning" role="status" {}
            div class="panels" {
                (panel("spectra", "Singular values", &spectra(Vec::new())))
                (panel("eigenvalues", "Eigenvalues of X", &eigenvalues(Vec::new())))
                (alignment(&[], (0, 0), &[]))
                (panel("loss", "Loss", &loss(Vec::new())))
                (panel("ranks", "Effective ranks", &effective_ranks(Vec::new())))
            }
            details class="now-values" {
                summary { "Values at this time" }
                div class="scroll" { table class="now-table" {} }
            }
        }
    };
    document("Explore", policy, &header, &content, SCRIPT)
}

/// A slider with a field for the exact value, or a list to choose from.
fn control(choice: &Choice) -> Markup {
    let only_with = choice.only_with.first().map(|(other, values)| format!("{other}={}", values.join("|")));
    let (low, high, log, whole) = match choice.values {
        Values::OneOf(words) => {
            return html! {
                label class="choice" data-only-with=[only_with] {
                    span { (choice.label) }
                    select name=(choice.name) data-label=(choice.label) data-allowed=(choice.allowed()) {
                        @for word in words { option value=(word) selected[*word == choice.default] { (word) } }
                    }
                }
            };
        }
        Values::Integer { min, max, log } => (min.to_string(), max.to_string(), log, true),
        Values::Number { min, max, log } => (min.to_string(), max.to_string(), log, false),
    };
    // The places of a slider are whole numbers themselves, or many between the ends.
    let (scale, first, last) = match (whole, log) {
        (true, false) => ("whole", low.clone(), high.clone()),
        (_, true) => ("log", "0".to_string(), POSITIONS.to_string()),
        (false, false) => ("linear", "0".to_string(), POSITIONS.to_string()),
    };
    html! {
        div class="choice" data-only-with=[only_with] {
            label for={ "choice-" (choice.name) } { (choice.label) }
            input type="range" min=(first) max=(last) value=(first) step="1" data-scale=(scale) aria-label={ (choice.label) ", slider" };
            input type="number" id={ "choice-" (choice.name) } name=(choice.name) data-label=(choice.label) data-allowed=(choice.allowed())
                min=(low) max=(high) step=(if whole { "1" } else { "any" }) value=(choice.default) required;
        }
    }
}
