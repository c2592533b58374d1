//! Matrices as coloured cells.

use super::axis::{self, Axis, DECADES, HAIRLINE, Tick};
use super::page::{self, MARGIN, chart_height};
use super::palette;
use super::scene::{Anchor, LINE_HEIGHT, Point, Scene, millimetres, size, tidy};
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
/// Lowest map over parameters: axis and colour bar need room for their numbers and titles.
const LOWEST: f64 = 28.0;
/// Shortest power of ten on a colour bar that is divided into nine.
const DECADE: f64 = 4.5;
/// Widest label of a column and of a row.
const WIDEST_LABEL: f64 = 14.0;
/// Radius of dots, with its largest part of a cell's shorter side.
const DOT: (f64, f64) = (0.55, 0.22);
/// Radius of the ring of paper around a dot, in radii of dots.
const RING: f64 = 1.6;
/// Side of the cell that explains the dots.
const SAMPLE: f64 = 3.0;
/// Most lines of the words that explain the dots.
const MARK_LINES: usize = 2;

/// Draws the map from height `top` on and returns where it ends.
pub(super) fn draw(scene: &mut Scene, map: &HeatMap, top: f64) -> f64 {
    let scale = Levels::new(map);
    let factor = scale.axis.factor();
    let top = if factor.is_some() { top + 2.8 } else { top };

    let row_ticks = |scene: &Scene, height: f64| ticks(&map.y_ticks, map.rows, scene, height, true);
    let column_ticks = |scene: &Scene, width: f64| ticks(&map.x_ticks, map.columns, scene, width, false);
    // With room for all labels: which of them are left out depends on the height.
    let rows = row_ticks(scene, f64::INFINITY);
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
    let (_, height) =
        extent(map, scene.width - 2.0 * MARGIN - BAR_GAP - numbers - 2.0 * two_lines, chart_height(scene));
    let bar_ticks = scale.axis.ticks((height / BAR_STEP) as usize);
    let bar_width = bar_numbers(&bar_ticks);
    let y_title = page::upward_title(scene, &map.y_label, height);
    let bar_title = page::upward_title(scene, &map.value_label, height);
    let left = MARGIN + page::upward_width(&y_title) + axis::width_left(&rows, &scene.font);
    let room = scene.width - MARGIN - left - BAR_GAP - bar_width - page::upward_width(&bar_title);

    let (width, height) = extent(map, room, chart_height(scene));
    let columns = axis::apart(column_ticks(scene, width), &scene.font, width);
    let rows = row_ticks(scene, height);
    // What is left over goes to both sides.
    let shift = (room - width).max(0.0) / 2.0;
    let left = left + shift;
    let (right, bottom) = (left + width, top + height);
    cells(scene, map, &scale, (left, top), (right, bottom));
    scene.frame((left, top), (right, bottom), HAIRLINE, palette::INK);
    axis::draw_below(scene, &columns, &[], (left, right), bottom);
    let (first, last) = if map.first_row_at_bottom { (bottom, top) } else { (top, bottom) };
    axis::draw_left(scene, &rows, &[], (first, last), left);
    page::draw_upward(scene, &y_title, MARGIN + shift, (top + bottom) / 2.0);
    let mut end = page::draw_level_title(scene, &map.x_label, (left, right), bottom + axis::height_below());
    if let Some(label) = &map.mark_label {
        end = explain_dots(scene, label, end);
    }

    let bar = right + BAR_GAP;
    for k in 0..SHADES {
        let place = |k: usize| bottom - (bottom - top) * k as f64 / SHADES as f64;
        let reach = if k == 0 { 0.0 } else { OVERLAP };
        let colour = palette::cell((k as f64 + 0.5) / SHADES as f64);
        scene.rectangle((bar, place(k + 1)), (bar + BAR, place(k) + reach.min(bottom - place(k))), colour);
    }
    scene.frame((bar, top), (bar + BAR, bottom), HAIRLINE, palette::INK);
    let mut minor = scale.axis.minor();
    let (lowest, highest) = scale.axis.ends();
    minor.retain(|place| {
        let coordinate = lowest + place * (highest - lowest);
        let whole = (coordinate - coordinate.round()).abs() < 1e-6;
        let fine = height / (highest - lowest) >= DECADE;
        (fine || whole) && bar_ticks.iter().all(|tick| (tick.place - place).abs() > 1e-6)
    });
    axis::draw_right(scene, &bar_ticks, &minor, (bottom, top), bar + BAR);
    if let Some(label) = factor {
        let border = bar + label.widths(&scene.font, size::TICK).0;
        label.draw(scene, (border, top - 0.9), size::TICK, palette::INK);
    }
    page::draw_upward(scene, &bar_title, bar + bar_width + 0.8, (top + bottom) / 2.0);
    end
}

/// The labels given for rows or columns, or their numbers, along an axis of `length` millimetres.
fn ticks(labels: &[String], cells: usize, scene: &Scene, length: f64, upright: bool) -> Vec<Tick> {
    if labels.is_empty() {
        return axis::whole_ticks(1.0, cells as f64, 0.5, cells as f64 + 0.5);
    }
    axis::cell_ticks(labels, cells, &scene.font, length, WIDEST_LABEL, upright)
}

/// Width and height of the cells together: square cells that fill the room, or over parameters, whose cells
/// need not be square, the whole room.
fn extent(map: &HeatMap, room: f64, tallest: f64) -> (f64, f64) {
    let room = room.max(10.0);
    let ratio = map.columns.max(1) as f64 / map.rows.max(1) as f64;
    if !map.x_ticks.is_empty() || !map.y_ticks.is_empty() {
        return (room, (room / ratio).clamp(LOWEST, tallest));
    }
    let ratio = ratio.clamp(1.0 / TALLEST, WIDEST);
    if ratio * tallest > room { (room, room / ratio) } else { (ratio * tallest, tallest) }
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
    // Upper edge of a row of the page: rows are numbered downwards.
    let y = |row: usize| top + (bottom - top) * row as f64 / map.rows as f64;
    let on_page = |row: usize| if map.first_row_at_bottom { map.rows - 1 - row } else { row };
    let value = |row: usize, column: usize| map.values.get(row * map.columns + column).copied();
    // Rows without any value need no walk over their columns, however many they claim to be.
    let filled = if map.columns == 0 { 0 } else { map.rows.min(map.values.len().div_ceil(map.columns)) };
    let mut missing = filled < map.rows || filled == 0;
    for k in 0..filled {
        // From the top of the page down, for each row reaches under the next.
        let row = if map.first_row_at_bottom { filled - 1 - k } else { k };
        let below = if map.first_row_at_bottom { row.checked_sub(1) } else { Some(row + 1) };
        let values = &map.values[row * map.columns..];
        let values = &values[..values.len().min(map.columns)];
        missing |= values.len() < map.columns;
        let (upper, lower) = (y(on_page(row)), y(on_page(row) + 1));
        let mut column = 0;
        while column < values.len() {
            let colour = scale.level(values[column]).map(palette::cell);
            let mut next = column + 1;
            // Neighbours of one colour are one rectangle: large maps stay small files.
            while next < values.len() && scale.level(values[next]).map(palette::cell) == colour {
                next += 1;
            }
            // The neighbours cover the overlap, except where they have no value.
            let covered = |row: Option<usize>, from: usize, to: usize| {
                row.filter(|row| *row < map.rows).is_some_and(|row| {
                    (from..to).all(|column| value(row, column).is_some_and(|v| scale.level(v).is_some()))
                })
            };
            if let Some(colour) = colour {
                let across =
                    if next < map.columns && covered(Some(row), next, next + 1) { OVERLAP } else { 0.0 };
                let down = if covered(below, column, next) { OVERLAP } else { 0.0 };
                // Only so far that the neighbour covers it.
                let across = across.min(x(1) - x(0));
                let down = down.min(y(1) - y(0));
                scene.rectangle((x(column), upper), (x(next) + across, lower + down), colour);
            } else {
                missing = true;
                for column in column..next {
                    scene.line(vec![(x(column), lower), (x(column + 1), upper)], HAIRLINE, palette::NOTE);
                }
            }
            column = next;
        }
    }
    let radius = DOT.0.min(DOT.1 * (x(1) - x(0)).min(y(1) - y(0)));
    for k in (0..map.marks.len()).filter(|k| map.marks[*k]) {
        // Without columns there are no cells to mark.
        let Some(row) = k.checked_div(map.columns).filter(|row| *row < map.rows) else { break };
        let column = k % map.columns;
        let middle = (y(on_page(row)) + y(on_page(row) + 1)) / 2.0;
        dot(scene, ((x(column) + x(column + 1)) / 2.0, middle), radius);
    }
    if missing && map.values.iter().all(|value| !value.is_finite()) {
        let middle = ((left + right) / 2.0, (top + bottom) / 2.0 + 0.35 * millimetres(size::TICK));
        if scene.font.width("no values", size::TICK) < right - left {
            scene.text("no values", middle, size::TICK, Anchor::Middle, palette::INK);
        }
    }
}

/// Draws a dark dot in a ring of paper, which one sees on dark and on light cells.
fn dot(scene: &mut Scene, (x, y): Point, radius: f64) {
    const CORNERS: usize = 24;
    for (radius, colour) in [(RING * radius, palette::PAPER), (radius, palette::INK)] {
        let corner = |k: usize| {
            let (sine, cosine) = (std::f64::consts::TAU * k as f64 / CORNERS as f64).sin_cos();
            (x + radius * cosine, y + radius * sine)
        };
        scene.polygon((0..CORNERS).map(corner).collect(), colour);
    }
}

/// Says what the dots mean from height `y` on, and returns where that ends.
fn explain_dots(scene: &mut Scene, label: &str, y: f64) -> f64 {
    const GAP: f64 = 1.0;
    let em = millimetres(size::TICK);
    let most = scene.width - 2.0 * MARGIN - SAMPLE - GAP;
    let lines = scene.font.wrap(&tidy(label), size::TICK, most, MARK_LINES);
    if lines.is_empty() {
        return y;
    }
    let y = y + 0.8;
    let width = lines.iter().fold(0.0, |widest: f64, line| widest.max(scene.font.width(line, size::TICK)));
    let left = (scene.width - SAMPLE - GAP - width) / 2.0;
    scene.rectangle((left, y), (left + SAMPLE, y + SAMPLE), palette::cell(0.5));
    scene.frame((left, y), (left + SAMPLE, y + SAMPLE), HAIRLINE, palette::INK);
    dot(scene, (left + SAMPLE / 2.0, y + SAMPLE / 2.0), DOT.0);
    for (k, line) in lines.iter().enumerate() {
        let at = (left + SAMPLE + GAP, y + SAMPLE / 2.0 + (k as f64 * LINE_HEIGHT + 0.36) * em);
        scene.text(line, at, size::TICK, Anchor::Start, palette::INK);
    }
    y + SAMPLE.max(SAMPLE / 2.0 + (lines.len() as f64 - 0.5) * LINE_HEIGHT * em)
}

/// The colour scale.
struct Levels {
    axis: Axis,
    logarithmic: bool,
}

impl Levels {
    fn new(map: &HeatMap) -> Self {
        let (low, high) = map.range;
        if map.value_scale == Scale::Log {
            return Levels { axis: logarithmic(map), logarithmic: true };
        }
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let axis = Axis::new(Scale::Linear, low.abs().max(high.abs()));
        let ends = (axis.coordinate(low).unwrap_or(0.0), axis.coordinate(high).unwrap_or(1.0));
        Levels { axis: axis.span(ends.0, ends.1), logarithmic: false }
    }

    /// Place of a value on the scale, 0 to 1; the ends stand for all beyond them.
    fn level(&self, value: f64) -> Option<f64> {
        if value.is_nan() {
            return None;
        }
        if self.logarithmic && value == 0.0 {
            return Some(0.0);
        }
        let coordinate = self.axis.coordinate(value);
        let place = coordinate.map(|coordinate| self.axis.place(coordinate));
        place.filter(|place| !place.is_nan()).map(|place| place.clamp(0.0, 1.0))
    }
}

/// A logarithmic axis for the colours; where the range has no place on one, it spans the values that have.
fn logarithmic(map: &HeatMap) -> Axis {
    let axis = Axis::new(Scale::Log, 0.0);
    let (low, high) = map.range;
    let places = || map.values.iter().filter_map(|value| axis.coordinate(*value));
    let high = axis.coordinate(high).unwrap_or_else(|| places().fold(f64::NEG_INFINITY, f64::max));
    let low = axis.coordinate(low).unwrap_or_else(|| {
        places().filter(|place| *place >= high - DECADES).fold(f64::INFINITY, f64::min).min(high)
    });
    if low.is_finite() && high.is_finite() { axis.span(low, high) } else { axis.span(0.0, 1.0) }
}
