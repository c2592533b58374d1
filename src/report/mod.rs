//! Results as one page that people open in a browser: verdicts with their evidence, figures that can be explored, sweeps
//! as heat maps, and runs that a slider moves through training.
//!
//! The page is one HTML file with style and script inside. It asks for nothing from a network, and says so to the browser
//! (its content security policy). What there is to know stands in the HTML; the script makes it move.

mod cells;
mod charts;
mod figures;
mod math;
mod page;
mod runs;
mod verdicts;

pub use page::{LARGEST, Report, Reported, compose};

/// A number in so many significant digits; a dash for what is not finite.
pub fn number(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "–".to_string();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e5).contains(&magnitude) {
        let places = if magnitude == 0.0 { 0 } else { digits - 1 - magnitude.log10().floor() as i32 };
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
            (1234.5678, "1235", "1234.57"),
            (-2.5e-7, "-2.50e-7", "-2.5000e-7"),
            (f64::NAN, "–", "–"),
        ] {
            assert_eq!((number(value, 4), number(value, 6)), (short.to_string(), long.to_string()));
        }
    }
}
