//! Results as one page that people open in a browser: verdicts with their evidence, figures that can be explored, sweeps
//! as heat maps, and runs that a slider moves through training.
//!
//! The page is one HTML file with style and script inside. It asks for nothing from a network, and says so to the browser
//! (its content security policy). What there is to know stands in the HTML; the script makes it move.

mod cells;
mod figures;
mod math;
mod page;
mod runs;
mod verdicts;

pub use page::{LARGEST, Page, Report, Reported, compose};
