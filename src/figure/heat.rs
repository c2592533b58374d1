//! Matrices as coloured cells.

use super::axis::{self, Axis, HAIRLINE};
use super::page::{self, CHART_HEIGHT, MARGIN, WIDTH};
use super::palette;
use super::scene::{Anchor, Scene, millimetres, size};
use crate::record::{HeatMap, Scale};

/// Width of the colour bar.
const BAR: f64 = 3.0;
/// Space between the cells and the colour bar.
const BAR_GAP: f64 = 2.5;
/// Shades that the colour bar is drawn in.
const SHADES: usize = 128;
/// Each cell reaches this far under its right and lower neighbours: viewers leave light seams between areas that only
/// touch.
const OVERLAP: f64 = 0.08;
/// A matrix wider than this many times its height is drawn with cells that are not square, so that axis and colour bar
/// keep room for their numbers.
const WIDEST: f64 = 4.0;
/// The same for a matrix taller than this many times its width.
const TALLEST: f64 = 8.0;
/// Space along the colour bar for one number.
const BAR_STEP: f64 = 7.0;

/// Draws the map from height `top` on and returns where it ends.
pub(super) fn draw(scene: &mut Scene, map: &HeatMap, top: f64) -> f64 {
    let scale = Levels::new(map);
    let factor = scale.axis.factor();
    let top = if factor.is_some() { top + 2.8 } else { top };

    let rows = axis::whole_ticks(1.0, map.rows as f64, 0.5, map.rows as f64 + 0.5);
    let columns = axis::whole_ticks(1.0, map.columns as f64, 0.5, map.columns as f64 + 0.5);
    // The titles may take two lines and the numbers are those of the full height, until the height is known.
    let two_lines = page::upward_width(&[String::new(), String::new()]);
    let bar_numbers = |ticks: &[axis::Tick]| {
        let width = |tick: &axis::Tick| {
            let (base, exponent) = tick.label.widths(&scene.font, size::TICK);
            base + exponent
        };
        BAR + axis::TICK + 0.5 + ticks.iter().map(width).fold(0.0, f64::max)
    };
    let numbers = axis::width_left(&rows, &scene.font) + bar_numbers(&scale.axis.ticks(6));
    let (_, height) = extent(map, WIDTH - 2.0 * MARGIN - BAR_GAP - numbers - 2.0 * two_lines);
    let bar_ticks = scale.axis.ticks((height / BAR_STEP) as usize);
    let bar_width = bar_numbers(&bar_ticks);
    let y_title = page::upward_title(scene, &map.y_label, height);
    let bar_title = page::upward_title(scene, &map.value_label, height);
    let left = MARGIN + page::upward_width(&y_title) + axis::width_left(&rows, &scene.font);
    let room = WIDTH - MARGIN - left - BAR_GAP - bar_width - page::upward_width(&bar_title);

    let (width, height) = extent(map, room);
    let columns = axis::apart(columns, &scene.font, width);
    // What is left over goes to both sides.
    let shift = (room - width).max(0.0) / 2.0;
    let left = left + shift;
    let (right, bottom) = (left + width, top + height);
    cells(scene, map, &scale, (left, top), (right, bottom));
    scene.frame((left, top), (right, bottom), HAIRLINE, palette::INK);
    axis::draw_below(scene, &columns, &[], (left, right), bottom);
    axis::draw_left(scene, &rows, &[], (top, bottom), left);
    page::draw_upward(scene, &y_title, MARGIN + shift, (top + bottom) / 2.0);
    let end = page::draw_level_title(scene, &map.x_label, (left, right), bottom + axis::height_below());

    let bar = right + BAR_GAP;
    for k in 0..SHADES {
        let place = |k: usize| bottom - (bottom - top) * k as f64 / SHADES as f64;
        let reach = if k == 0 { 0.0 } else { OVERLAP };
        let colour = palette::cell((k as f64 + 0.5) / SHADES as f64);
        scene.rectangle((bar, place(k + 1)), (bar + BAR, place(k) + reach.min(bottom - place(k))), colour);
    }
    scene.frame((bar, top), (bar + BAR, bottom), HAIRLINE, palette::INK);
    axis::draw_right(scene, &bar_ticks, (bottom, top), bar + BAR);
    if let Some(label) = factor {
        let border = bar + label.widths(&scene.font, size::TICK).0;
        label.draw(scene, (border, top - 0.9), size::TICK, palette::INK);
    }
    page::draw_upward(scene, &bar_title, bar + bar_width + 0.8, (top + bottom) / 2.0);
    end
}

/// Width and height of the cells together: square cells that fill the room.
fn extent(map: &HeatMap, room: f64) -> (f64, f64) {
    let room = room.max(10.0);
    let ratio = map.columns.max(1) as f64 / map.rows.max(1) as f64;
    let ratio = ratio.clamp(1.0 / TALLEST, WIDEST);
    if ratio * CHART_HEIGHT > room { (room, room / ratio) } else { (ratio * CHART_HEIGHT, CHART_HEIGHT) }
}

fn cells(
    scene: &mut Scene,
    map: &HeatMap,
    scale: &Levels,
    (left, top): (f64, f64),
    (right, bottom): (f64, f64),
) {
    // Cells without a value show the ground.
    scene.rectangle((left, top), (right, bottom), palette::MISSING);
    let x = |column: usize| left + (right - left) * column as f64 / map.columns as f64;
    let y = |row: usize| top + (bottom - top) * row as f64 / map.rows as f64;
    let mut missing = map.rows == 0 || map.columns == 0;
    for row in 0..map.rows {
        // An empty row needs no walk over its columns, however many it claims to have.
        let Some(values) = row.checked_mul(map.columns).and_then(|start| map.values.get(start..)) else {
            missing = true;
            break;
        };
        let values = &values[..values.len().min(map.columns)];
        missing |= values.len() < map.columns;
        let mut column = 0;
        while column < values.len() {
            let colour = scale.level(values[column]).map(palette::cell);
            let mut next = column + 1;
            // Neighbours of one colour are one rectangle: large maps stay small files.
            while next < values.len() && scale.level(values[next]).map(palette::cell) == colour {
                next += 1;
            }
            // The neighbours cover the overlap, except where they have no value.
            let covered = |row: usize, from: usize, to: usize| {
                row < map.rows
                    && (from..to).all(|column| {
                        let value = map.values.get(row * map.columns + column);
                        value.is_some_and(|value| scale.level(*value).is_some())
                    })
            };
            if let Some(colour) = colour {
                let across = if next < map.columns && covered(row, next, next + 1) { OVERLAP } else { 0.0 };
                let down = if covered(row + 1, column, next) { OVERLAP } else { 0.0 };
                // Only so far that the neighbour covers it.
                let across = across.min(x(1) - x(0));
                let down = down.min(y(1) - y(0));
                scene.rectangle((x(column), y(row)), (x(next) + across, y(row + 1) + down), colour);
            } else {
                missing = true;
                for column in column..next {
                    scene.line(
                        vec![(x(column), y(row + 1)), (x(column + 1), y(row))],
                        HAIRLINE,
                        palette::NOTE,
                    );
                }
            }
            column = next;
        }
    }
    if missing && map.values.iter().all(|value| !value.is_finite()) {
        let middle = ((left + right) / 2.0, (top + bottom) / 2.0 + 0.35 * millimetres(size::TICK));
        if scene.font.width("no values", size::TICK) < right - left {
            scene.text("no values", middle, size::TICK, Anchor::Middle, palette::INK);
        }
    }
}

/// The colour scale.
struct Levels {
    axis: Axis,
}

impl Levels {
    fn new(map: &HeatMap) -> Self {
        let (low, high) = map.range;
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let axis = Axis::new(Scale::Linear, low.abs().max(high.abs()));
        let ends = (axis.coordinate(low).unwrap_or(0.0), axis.coordinate(high).unwrap_or(1.0));
        Levels { axis: axis.span(ends.0, ends.1) }
    }

    /// Place of a value on the scale, 0 to 1; the ends stand for all beyond them.
    fn level(&self, value: f64) -> Option<f64> {
        if value.is_nan() {
            return None;
        }
        let coordinate = self.axis.coordinate(value);
        let place = coordinate.map(|coordinate| self.axis.place(coordinate));
        place.filter(|place| !place.is_nan()).map(|place| place.clamp(0.0, 1.0))
    }
}
