//! Values marked across a chart of lines, and where their labels find room.

use super::axis::Axis;
use super::lines::{Plot, dashes, points};
use super::palette;
use super::scene::{Anchor, Point, Scene, Type, millimetres, size, tidy};
use crate::record::{Direction, LineChart, SeriesStyle};

/// Width of the lines.
const WIDTH: f64 = 0.2;
/// Lengths of dashes and of gaps: finer than those of theories.
const DASHES: (f64, f64) = (0.55, 0.55);
/// Space between a label and the frame.
const SPACE: f64 = 0.8;
/// Space between labels beside each other.
const BETWEEN: f64 = 1.8;
/// Height of a label over the frame.
const ROW: f64 = 2.8;
/// Height of the oblique pieces that lead from a line to its label where neighbours push that aside.
const LEADER: f64 = 1.2;
/// Length of the labels' letters over the base line and under it, in sizes of letters.
const LETTERS: (f64, f64) = (0.76, 0.24);
/// How far from their line the letters of a label beside a horizontal line stay.
const BESIDE: f64 = 0.35;
/// How far on their left and right other things stay.
const CLEAR: f64 = 0.5;
/// Steps in which a label looks for room along its line.
const STEP: f64 = 1.0;

/// One line inside the axes.
struct Line {
    /// Place along its axis, 0 to 1.
    place: f64,
    label: String,
}

/// The lines that the axes show.
pub(super) struct References {
    vertical: Vec<Line>,
    horizontal: Vec<Line>,
    /// Labels of vertical lines, which stand over the frame, where no value is.
    over: Vec<Over>,
}

/// A label over the frame.
struct Over {
    /// Where its line ends.
    line: f64,
    middle: f64,
    width: f64,
    label: String,
}

/// Upper left and lower right corner.
type Area = (Point, Point);

impl References {
    /// `floor` is the coordinate of the floor where it is shown: nothing below it is a value. The axes reach
    /// from `left` to `right`, and over them is room from `free` on.
    pub fn new(
        chart: &LineChart,
        x_axis: &Axis,
        y_axis: &Axis,
        floor: Option<f64>,
        font: &Type,
        (left, free, right): (f64, f64, f64),
    ) -> Self {
        const SLACK: f64 = 1e-9;
        let lines = |direction: Direction, axis: &Axis, lowest: f64| {
            let wanted = chart.references.iter().filter(|line| line.direction == direction);
            let shown = wanted.filter_map(|line| {
                let place = axis.place(axis.coordinate(line.value)?);
                let inside = (lowest - SLACK..=1.0 + SLACK).contains(&place);
                inside.then(|| Line { place, label: tidy(&line.label) })
            });
            let mut lines: Vec<Line> = shown.collect();
            lines.sort_by(|a, b| a.place.total_cmp(&b.place));
            lines
        };
        let ground = floor.map_or(0.0, |floor| y_axis.place(floor));
        let vertical = lines(Direction::X, x_axis, 0.0);
        let over = labels_over(&vertical, font, (left, right), (free, right + SPACE));
        References { vertical, horizontal: lines(Direction::Y, y_axis, ground), over }
    }

    /// Height over the frame that the labels take.
    pub fn room_above(&self) -> f64 {
        if self.over.is_empty() { 0.0 } else { ROW + self.rise() }
    }

    /// How far labels over the frame stand away from it, so that leaders have room where there are any.
    fn rise(&self) -> f64 {
        let led = self.over.iter().any(|label| (label.line - label.middle).abs() > label.width / 2.0);
        if led { LEADER } else { 0.0 }
    }

    /// Draws the lines, which lie behind all values.
    pub fn draw_lines(&self, scene: &mut Scene, plot: &Plot) {
        let vertical = self.vertical.iter().map(|line| {
            let x = plot.x(line.place);
            [(x, plot.top), (x, plot.ground_level())]
        });
        let horizontal = self.horizontal.iter().map(|line| {
            let y = plot.y(line.place);
            [(plot.left, y), (plot.right, y)]
        });
        for ends in vertical.chain(horizontal) {
            for dash in dashes(&ends, DASHES) {
                scene.line(dash, WIDTH, palette::NOTE);
            }
        }
    }

    /// Writes the labels.
    pub fn draw_labels(&self, scene: &mut Scene, plot: &Plot, chart: &LineChart) {
        let rise = self.rise();
        for Over { line, middle, width, label } in &self.over {
            if rise > 0.0 {
                let nearest = line.clamp(middle - width / 2.0, middle + width / 2.0);
                scene.line(vec![(*line, plot.top), (nearest, plot.top - rise)], WIDTH, palette::NOTE);
            }
            scene.text(label, (*middle, plot.top - 0.8 - rise), size::CAPTION, Anchor::Middle, palette::INK);
        }
        self.label_horizontal(scene, plot, chart);
    }

    /// Labels of horizontal lines stand on them or hang under them, where nothing else is: as far to the
    /// right as they can.
    fn label_horizontal(&self, scene: &mut Scene, plot: &Plot, chart: &LineChart) {
        let em = millimetres(size::CAPTION);
        let mut obstacles = Obstacles::of(self, plot, chart);
        for line in &self.horizontal {
            let label = scene.font.shorten(&line.label, size::CAPTION, 0.7 * (plot.right - plot.left));
            if label.is_empty() {
                continue;
            }
            let width = scene.font.width(&label, size::CAPTION);
            let y = plot.y(line.place);
            let bases = [y - BESIDE - LETTERS.1 * em, y + BESIDE + LETTERS.0 * em];
            let steps = ((plot.right - plot.left - 2.0 * SPACE - width).max(0.0) / STEP) as usize;
            let mut best: Option<(usize, Area, f64)> = None;
            for step in 0..=steps {
                let right = plot.right - SPACE - step as f64 * STEP;
                for base in bases {
                    let area = ((right - width, base - LETTERS.0 * em), (right, base + LETTERS.1 * em));
                    if area.0.1 < plot.top || area.1.1 > plot.ground_level() {
                        continue;
                    }
                    let clear = ((area.0.0 - CLEAR, area.0.1), (area.1.0 + CLEAR, area.1.1));
                    // Two labels on one place are worth nothing: rather none.
                    if obstacles.labels.iter().any(|label| meet(*label, clear)) {
                        continue;
                    }
                    let hits = obstacles.hits(clear);
                    if best.is_none_or(|(fewest, ..)| hits < fewest) {
                        best = Some((hits, area, base));
                    }
                }
            }
            let Some((hits, area, base)) = best else { continue };
            if hits > 0 {
                // Without room, the label stays readable on what it covers.
                scene.rectangle(area.0, area.1, palette::PAPER.translucent(0.7));
            }
            scene.text(&label, (area.0.0, base), size::CAPTION, Anchor::Start, palette::INK);
            obstacles.labels.push(area);
        }
    }
}

/// Labels of vertical lines between `ends` with places inside `room`, each as near to its line as may be.
fn labels_over(lines: &[Line], font: &Type, ends: (f64, f64), room: (f64, f64)) -> Vec<Over> {
    let labelled = || lines.iter().filter(|line| !line.label.is_empty());
    // The longest labels are shortened until all have room.
    let wide: Vec<f64> = labelled().map(|line| font.width(&line.label, size::CAPTION)).collect();
    let mut most = room.1 - room.0 - BETWEEN;
    while most > 1.0 && wide.iter().map(|width| width.min(most) + BETWEEN).sum::<f64>() > room.1 - room.0 {
        most -= 0.5;
    }
    if most <= 1.0 {
        return Vec::new();
    }
    let mut over = Vec::new();
    for line in labelled() {
        let label = font.shorten(&line.label, size::CAPTION, most);
        let width = font.width(&label, size::CAPTION);
        let line = ends.0 + line.place * (ends.1 - ends.0);
        over.push(Over { line, middle: line, width, label });
    }
    let wishes: Vec<(f64, f64)> = over.iter().map(|label| (label.line, label.width)).collect();
    for (label, middle) in over.iter_mut().zip(beside_each_other(&wishes, room)) {
        label.middle = middle;
    }
    over
}

/// Middles of labels as near as may be to where they want to stand, from left to right and inside `room`. A
/// label is its wish and its width.
fn beside_each_other(labels: &[(f64, f64)], room: (f64, f64)) -> Vec<f64> {
    // Labels that touch become one block, whose start is the mean of the starts that its labels wish for it.
    struct Block {
        first: usize,
        count: f64,
        starts: f64,
        width: f64,
    }
    let start = |block: &Block| {
        let start = block.starts / block.count;
        start.min(room.1 - block.width).max(room.0)
    };
    let mut blocks: Vec<Block> = Vec::new();
    for (k, (wish, width)) in labels.iter().enumerate() {
        let width = width + BETWEEN;
        let mut block = Block { first: k, count: 1.0, starts: wish - width / 2.0, width };
        while let Some(before) = blocks.pop_if(|before| start(before) + before.width > start(&block)) {
            block = Block {
                first: before.first,
                count: before.count + block.count,
                starts: before.starts + block.starts - block.count * before.width,
                width: before.width + block.width,
            };
        }
        blocks.push(block);
    }
    let mut middles = vec![0.0; labels.len()];
    for (k, block) in blocks.iter().enumerate() {
        let end = blocks.get(k + 1).map_or(labels.len(), |next| next.first);
        let mut x = start(block);
        for (middle, (_, width)) in middles[block.first..end].iter_mut().zip(&labels[block.first..end]) {
            *middle = x + (width + BETWEEN) / 2.0;
            x += width + BETWEEN;
        }
    }
    middles
}

/// What a label should not stand on.
struct Obstacles {
    pieces: Vec<[Point; 2]>,
    areas: Vec<Area>,
    /// Labels that have their place.
    labels: Vec<Area>,
}

impl Obstacles {
    fn of(references: &References, plot: &Plot, chart: &LineChart) -> Self {
        /// Reach of a mark.
        const MARK: f64 = 0.9;
        let mut pieces: Vec<[Point; 2]> = Vec::new();
        let mut areas = Vec::new();
        for series in &chart.series {
            match series.style {
                SeriesStyle::Points => {
                    pieces.extend(plot.bars(series));
                    let marks = plot.runs(series).into_iter().flatten();
                    areas.extend(marks.map(|(x, y)| ((x - MARK, y - MARK), (x + MARK, y + MARK))));
                }
                SeriesStyle::Line | SeriesStyle::Theory => {
                    for run in plot.runs(series) {
                        pieces.extend(
                            plot.clip(&run).iter().flat_map(|line| line.windows(2)).map(|w| [w[0], w[1]]),
                        );
                    }
                    if chart.ranks || series.x.len() == 1 {
                        let marks = points(series).filter_map(|(x, y, ..)| plot.point(x, y));
                        areas.extend(marks.map(|(x, y)| ((x - MARK, y - MARK), (x + MARK, y + MARK))));
                    }
                }
            }
        }
        for line in &references.vertical {
            pieces.push([(plot.x(line.place), plot.top), (plot.x(line.place), plot.bottom)]);
        }
        for line in &references.horizontal {
            pieces.push([(plot.left, plot.y(line.place)), (plot.right, plot.y(line.place))]);
        }
        Obstacles { pieces, areas, labels: Vec::new() }
    }

    /// How many obstacles reach into an area.
    fn hits(&self, area: Area) -> usize {
        let areas = self.areas.iter().filter(|other| meet(**other, area)).count();
        areas + self.pieces.iter().filter(|piece| crosses(piece, area)).count()
    }
}

fn meet(a: Area, b: Area) -> bool {
    a.0.0 < b.1.0 && a.1.0 > b.0.0 && a.0.1 < b.1.1 && a.1.1 > b.0.1
}

/// Whether a straight piece has a part inside an area.
fn crosses([(ax, ay), (bx, by)]: &[Point; 2], ((x0, y0), (x1, y1)): Area) -> bool {
    // The part of the piece, from 0 to 1, between each pair of sides.
    let mut part = (0.0f64, 1.0f64);
    for (from, to, low, high) in [(ax, bx, x0, x1), (ay, by, y0, y1)] {
        let length = to - from;
        if length == 0.0 {
            if *from <= low || *from >= high {
                return false;
            }
            continue;
        }
        let ends = ((low - from) / length, (high - from) / length);
        part = (part.0.max(ends.0.min(ends.1)), part.1.min(ends.0.max(ends.1)));
    }
    part.0 < part.1
}
