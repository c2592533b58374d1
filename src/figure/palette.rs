//! Colours that keep their order for every kind of colour vision and in grey print.

use plotters::style::RGBColor;
use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

use super::scene::Colour;

/// Lines stop here on the scale: the yellows beyond are too light on white paper.
const LIGHTEST_LINE: f64 = 0.88;

/// Axes, ticks and letters.
pub(super) const INK: Colour = Colour::opaque(0x22, 0x22, 0x22);
/// Lines behind the data at labelled ticks.
pub(super) const GRID: Colour = Colour::opaque(0xE4, 0xE4, 0xE4);
/// Where rounding makes values meaningless.
pub(super) const FLOOR: Colour = Colour::opaque(0xEC, 0xEC, 0xEC);
/// Letters that stand back: notes inside the chart.
pub(super) const NOTE: Colour = Colour::opaque(0x66, 0x66, 0x66);
/// The smallest print.
pub(super) const SMALL_PRINT: Colour = Colour::opaque(0x80, 0x80, 0x80);
/// Paper.
pub(super) const PAPER: Colour = Colour::opaque(0xFF, 0xFF, 0xFF);
/// Inside of the dashes that stand for all theories in the legend.
pub(super) const NEUTRAL: Colour = Colour::opaque(0xA8, 0xA8, 0xA8);
/// A cell without a value: no colour of the scale is grey.
pub(super) const MISSING: Colour = Colour::opaque(0xD8, 0xD8, 0xD8);

/// Colour of a line at `shade` in the order of the series, 0 to 1.
pub(super) fn line(shade: f64) -> Colour {
    cell(clean(shade) * LIGHTEST_LINE)
}

/// Colour of a cell at `level` between the ends of the colour scale, 0 to 1.
pub(super) fn cell(level: f64) -> Colour {
    let RGBColor(red, green, blue) = ViridisRGB.get_color_normalized(clean(level), 0.0, 1.0);
    Colour::opaque(red, green, blue)
}

/// Colour of a cell at `level` between the ends of the colour scale, 0 to 1, as CSS writes it; no level, no value: grey.
pub fn hex_colour(level: Option<f64>) -> String {
    let (red, green, blue) = level.map_or(MISSING, cell).rgb;
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Black or white, whichever can be read better on [`hex_colour`]: the contrast is at least 4.5 on any colour (WCAG 2).
pub fn ink_on(level: Option<f64>) -> &'static str {
    let (red, green, blue) = level.map_or(MISSING, cell).rgb;
    let linear = |channel: u8| {
        let part = f64::from(channel) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    // Where (1 + 0.05) / (l + 0.05) = (l + 0.05) / 0.05.
    if luminance < 0.179 { "#fff" } else { "#000" }
}

/// The colour, halfway to paper.
pub(super) fn pale(colour: Colour) -> Colour {
    let half = |channel: u8| 255 - (255 - channel) / 2;
    let (red, green, blue) = colour.rgb;
    Colour::opaque(half(red), half(green), half(blue))
}

fn clean(level: f64) -> f64 {
    if level.is_nan() { 0.0 } else { level.clamp(0.0, 1.0) }
}
