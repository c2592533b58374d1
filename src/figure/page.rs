//! The page: title over the chart, caption and provenance under it.

use super::scene::{Anchor, Colour, LINE_HEIGHT, Scene, Shape, millimetres, size};
use super::{FigureError, heat, lines, palette};
use crate::record::{Chart, Drawing, PageWidth};

/// Space at the edges of the page.
pub(super) const MARGIN: f64 = 1.2;
/// Height of the area in which values are drawn: of a figure over both columns half as much again, not twice.
pub(super) fn chart_height(scene: &Scene) -> f64 {
    if scene.width > PageWidth::SingleColumn.millimetres() { 66.0 } else { 44.0 }
}

/// Space between chart and caption.
const CAPTION_GAP: f64 = 1.4;
/// A longer title is cut: the caption is the place for more.
const TITLE_LINES: usize = 3;
/// A longer caption is cut, so that no text makes a page without end.
const CAPTION_LINES: usize = 12;
const PROVENANCE_LINES: usize = 4;

/// Puts the whole drawing on a page.
pub(super) fn compose(drawing: &Drawing) -> Result<Scene, FigureError> {
    let mut scene = Scene::new(drawing.width.millimetres())?;
    let mut y = MARGIN;
    y = paragraph(&mut scene, &drawing.title, y, size::TITLE, TITLE_LINES, palette::INK);
    if y > MARGIN {
        y += 1.0;
    }
    y = match &drawing.chart {
        Chart::Lines(chart) => lines::draw(&mut scene, chart, y),
        Chart::HeatMap(map) => heat::draw(&mut scene, map, y),
    };
    y += CAPTION_GAP;
    y = paragraph(&mut scene, &drawing.caption, y, size::CAPTION, CAPTION_LINES, palette::INK);
    if !drawing.provenance.trim().is_empty() {
        y += 0.5;
        y = paragraph(
            &mut scene,
            &drawing.provenance,
            y,
            size::SMALL,
            PROVENANCE_LINES,
            palette::SMALL_PRINT,
        );
    }
    scene.height = y + 0.8;
    let corner = (scene.width, scene.height);
    scene.shapes.insert(0, Shape::Rectangle((0.0, 0.0), corner, palette::PAPER));
    Ok(scene)
}

/// Sets text over the full width from height `y` on, and returns where it ends.
fn paragraph(scene: &mut Scene, text: &str, y: f64, points: f64, most: usize, colour: Colour) -> f64 {
    let lines = scene.font.wrap(text, points, scene.width - 2.0 * MARGIN, most);
    let height = LINE_HEIGHT * millimetres(points);
    for (k, line) in lines.iter().enumerate() {
        let base_line = y + k as f64 * height + 0.9 * millimetres(points);
        scene.text(line, (MARGIN, base_line), points, Anchor::Start, colour);
    }
    y + lines.len() as f64 * height
}

/// Lines of the title of an upward axis that is `length` millimetres long.
pub(super) fn upward_title(scene: &Scene, text: &str, length: f64) -> Vec<String> {
    const STEP: f64 = 0.5;
    let mut lines = scene.font.wrap(text, size::LABEL, length, 2);
    if lines.len() == 2 {
        // Two lines of about one length, not a long one and a word.
        let mut width = length - STEP;
        while width > 0.0 {
            let narrower = scene.font.wrap(text, size::LABEL, width, 3);
            if narrower.len() > 2 {
                break;
            }
            lines = narrower;
            width -= STEP;
        }
    }
    lines
}

/// Width of the lines of an upward title with the space after it.
pub(super) fn upward_width(lines: &[String]) -> f64 {
    const SPACE: f64 = 0.8;
    if lines.is_empty() { 0.0 } else { lines.len() as f64 * LINE_HEIGHT * millimetres(size::LABEL) + SPACE }
}

/// Draws an upward title with its left edge at `left`, centred at height `middle`.
pub(super) fn draw_upward(scene: &mut Scene, lines: &[String], left: f64, middle: f64) {
    let em = millimetres(size::LABEL);
    for (k, line) in lines.iter().enumerate() {
        let base_line = left + (k as f64 * LINE_HEIGHT + 0.9) * em;
        scene.upward_text(line, (base_line, middle), size::LABEL, palette::INK);
    }
}

/// Draws the title of a horizontal axis from height `y` on, centred between two places but inside the page, and
/// returns where it ends.
pub(super) fn draw_level_title(scene: &mut Scene, text: &str, (left, right): (f64, f64), y: f64) -> f64 {
    let em = millimetres(size::LABEL);
    let lines = scene.font.wrap(text, size::LABEL, scene.width - 2.0 * MARGIN, 2);
    for (k, line) in lines.iter().enumerate() {
        let half = scene.font.width(line, size::LABEL) / 2.0;
        let middle = ((left + right) / 2.0).min(scene.width - MARGIN - half).max(MARGIN + half);
        let base_line = y + (k as f64 * LINE_HEIGHT + 0.9) * em;
        scene.text(line, (middle, base_line), size::LABEL, Anchor::Middle, palette::INK);
    }
    y + lines.len() as f64 * LINE_HEIGHT * em
}
