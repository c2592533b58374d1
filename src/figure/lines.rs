//! Line charts.

use super::axis::{self, Axis, DECADES, HAIRLINE, Tick};
use super::page::{self, CHART_HEIGHT, MARGIN, WIDTH};
use super::palette;
use super::scene::{Anchor, Colour, LINE_HEIGHT, Point, Scene, millimetres, size, tidy};
use crate::record::{LineChart, Scale, Series};

/// More labelled series than this share a strip of colours instead of a line each in the legend.
const MOST_LABELS: usize = 9;
/// From this many series on, lines that are not ranks carry a few marks each: their colours alone are too close in
/// grey print.
const FEWEST_MARKED: usize = 4;
/// Marks on a line that is not a row of ranks.
const SPARSE_MARKS: usize = 5;
/// How much of the ground a band covers.
const BAND: f64 = 0.2;
/// Highest reach of a band above the largest median on a logarithmic axis, in decades: beyond it, the band is cut.
const BAND_DECADES: f64 = 3.0;
/// Part of the range left free at its ends.
const PADDING: f64 = 0.04;
/// Height of the area under the floor over that of the range above it: room for its name.
const UNDER_FLOOR: f64 = 0.1;
/// The floor is shown where the smallest value lies within this part of the range above it.
const NEAR_FLOOR: f64 = 0.35;
/// Width of lines in millimetres, with few and with many series.
const LINE: (f64, f64) = (0.32, 0.24);
/// Width of a line with a dashed one over it, in widths of lines.
const BROAD: f64 = 2.8;
/// Beyond this many series, dashes are not used.
const MOST_STYLED: usize = 200;
/// Radius of marks in millimetres.
const MARK: f64 = 0.62;
/// Space between chart and legend.
const LEGEND_GAP: f64 = 2.0;
/// Widest words of the legend.
const LEGEND_WORDS: f64 = 19.0;
/// Length of the pieces of line in the legend.
const SAMPLE: f64 = 4.6;
/// Width of the strip of colours.
const STRIP: f64 = 2.6;
/// Height of a line of the legend.
const ROW: f64 = 3.3;

/// Draws the chart from height `top` on and returns where it ends.
pub(super) fn draw(scene: &mut Scene, chart: &LineChart, top: f64) -> f64 {
    let (y_axis, floor) = ordinate(chart);
    let x_axis = abscissa(chart, &y_axis);
    let legend = Legend::new(scene, chart);
    let top = top + if y_axis.factor().is_some() { 2.8 } else { 0.6 };
    let bottom = top + CHART_HEIGHT.max(legend.height());

    let most = if chart.y_scale == Scale::Log { 6 } else { 8 };
    let y_ticks: Vec<Tick> = y_axis.ticks(most).into_iter().filter(inside).collect();
    let y_title = page::upward_title(scene, &chart.y_label, bottom - top);
    let left = MARGIN + page::upward_width(&y_title) + axis::width_left(&y_ticks, &scene.font);
    let right = WIDTH - MARGIN - if legend.width > 0.0 { legend.width + LEGEND_GAP } else { 2.0 };
    let x_ticks = if chart.ranks && chart.x_scale == Scale::Linear {
        let (low, high) = x_axis.ends();
        axis::apart(axis::whole_ticks(low, high, low, high), &scene.font, right - left)
    } else {
        axis::ticks_for_width(&x_axis, &scene.font, right - left)
    };
    let x_ticks: Vec<Tick> = x_ticks.into_iter().filter(inside).collect();

    let plot = Plot { x_axis, y_axis, left, right, top, bottom, floor };
    plot.ground(scene, &x_ticks, &y_ticks);
    plot.series(scene, chart);
    scene.frame((left, top), (right, bottom), HAIRLINE, palette::INK);
    plot.notes(scene, chart);
    let minor = |axis: &Axis, ticks: &[Tick]| {
        let mut places = axis.minor();
        places.retain(|place| ticks.iter().all(|tick| (tick.place - place).abs() > 1e-6));
        places
    };
    axis::draw_below(scene, &x_ticks, &minor(&plot.x_axis, &x_ticks), (left, right), bottom);
    let mut y_minor = minor(&plot.y_axis, &y_ticks);
    if let Some(floor) = plot.floor {
        y_minor.retain(|place| *place >= plot.y_axis.place(floor));
    }
    axis::draw_left(scene, &y_ticks, &y_minor, (bottom, top), left);
    page::draw_upward(scene, &y_title, MARGIN, (top + bottom) / 2.0);
    if let Some(label) = plot.y_axis.factor() {
        let border = left + label.widths(&scene.font, size::TICK).0;
        label.draw(scene, (border, top - 0.8), size::TICK, palette::INK);
    }
    let mut title = bottom + axis::height_below();
    if let Some(label) = plot.x_axis.factor() {
        let (base, exponent) = label.widths(&scene.font, size::TICK);
        let em = millimetres(size::LABEL);
        label.draw(scene, (right - exponent, title + 0.9 * em), size::TICK, palette::INK);
        let half = scene.font.width(&tidy(&chart.x_label), size::LABEL) / 2.0;
        if (left + right) / 2.0 + half > right - exponent - base - 1.0 {
            // The title has no room beside the power of ten.
            title += LINE_HEIGHT * em;
        }
    }
    let end = page::draw_level_title(scene, &chart.x_label, (left, right), title);
    legend.draw(scene, chart, right + LEGEND_GAP, top);
    end
}

fn inside(tick: &Tick) -> bool {
    (-1e-6..=1.0 + 1e-6).contains(&tick.place)
}

/// Points of a series: abscissa, median, lower and upper edge of the band.
fn points(series: &Series) -> impl Iterator<Item = (f64, f64, f64, f64)> + '_ {
    let edges = series.low.iter().zip(&series.high);
    series.x.iter().zip(&series.median).zip(edges).map(|((x, y), (low, high))| (*x, *y, *low, *high))
}

/// The vertical axis, and the coordinate of the floor where it is shown.
fn ordinate(chart: &LineChart) -> (Axis, Option<f64>) {
    let values =
        || chart.series.iter().flat_map(|series| points(series).map(|(_, y, low, high)| [y, low, high]));
    let finite = values().flatten().filter(|value| value.is_finite());
    let axis = Axis::new(chart.y_scale, finite.fold(0.0, |largest, value| largest.max(value.abs())));
    let floor = chart.floor.and_then(|floor| axis.coordinate(floor));
    let log = chart.y_scale == Scale::Log;

    let coordinates =
        |which: usize| values().filter_map(|point| axis.coordinate(point[which])).collect::<Vec<_>>();
    let [medians, lows, highs] = [0, 1, 2].map(coordinates);
    let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut high = largest(&medians);
    let reach = if log && high.is_finite() { high + BAND_DECADES } else { f64::INFINITY };
    high = high.max(largest(&highs).min(reach));
    let limit = match floor {
        Some(floor) => floor,
        None if log => high - DECADES,
        None => f64::NEG_INFINITY,
    };
    let shown = medians.iter().chain(&lows).copied().filter(|value| *value >= limit);
    let mut low = shown.fold(f64::INFINITY, f64::min).min(high);
    if lows.iter().chain(&medians).any(|value| *value < limit) && limit.is_finite() && low > limit {
        // Lines that leave through the lower edge show it.
        low = limit.min(high);
    }

    let Some(floor) = floor else {
        return if low.is_finite() && high.is_finite() {
            let axis = axis.span(low, high);
            let (low, high) = axis.ends();
            let padding = PADDING * (high - low);
            (axis.span(low - padding, high + padding), None)
        } else {
            (axis.span(0.0, 1.0), None)
        };
    };
    let under = chart.floor.is_some_and(|floor| values().any(|[median, ..]| median < floor));
    let least = if log { 1.0 } else { floor.abs().max(1e-3) };
    if !high.is_finite() || high < floor {
        // Nothing above the floor: an empty stretch above it says so.
        (axis.span(floor - UNDER_FLOOR * least, floor + least), Some(floor))
    } else if under || low - floor <= NEAR_FLOOR * (high - floor).max(least) {
        let range = (high - floor).max(least);
        (axis.span(floor - UNDER_FLOOR * range, floor + (1.0 + PADDING) * range), Some(floor))
    } else {
        let axis = axis.span(low, high);
        let (low, high) = axis.ends();
        let padding = PADDING * (high - low);
        (axis.span((low - padding).max(floor), high + padding), None)
    }
}

/// The horizontal axis, over the points that have something to show.
fn abscissa(chart: &LineChart, y_axis: &Axis) -> Axis {
    let drawn = |value: f64| y_axis.coordinate(value).is_some();
    let all = || chart.series.iter().flat_map(points);
    let shown = all().filter(|(_, y, low, high)| drawn(*y) || (drawn(*low) && drawn(*high)));
    let mut places: Vec<f64> = shown.map(|(x, ..)| x).collect();
    if places.is_empty() {
        places = all().map(|(x, ..)| x).collect();
    }
    places.retain(|x| x.is_finite());
    let whole = chart.ranks && chart.x_scale == Scale::Linear;
    let largest = if whole { 1.0 } else { places.iter().fold(0.0, |largest: f64, x| largest.max(x.abs())) };
    let axis = Axis::new(chart.x_scale, largest);
    let coordinates = places.into_iter().filter_map(|x| axis.coordinate(x));
    let (low, high) =
        coordinates.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x: f64| (low.min(x), high.max(x)));
    if low > high {
        return axis.span(0.0, 1.0);
    }
    let padding = if whole { 0.5 } else { 0.0 };
    axis.span(low - padding, high + padding)
}

/// How a series is told from the others.
#[derive(Clone, Copy)]
struct Style {
    colour: Colour,
    width: f64,
    /// Which pattern of dashes; 0 is an unbroken line.
    dashes: usize,
    /// Which mark.
    mark: usize,
}

/// Lengths of ink and gap in millimetres, in turn.
const DASHES: [&[f64]; 4] = [&[], &[1.5, 0.7], &[0.4, 0.5], &[1.5, 0.5, 0.4, 0.5]];

/// Styles in the order of the series. Lines of one shade, such as a prediction beside its measurement, are told apart
/// by dashes, and the first of them is broad and pale, so that it is seen under a line that covers it.
fn styles(chart: &LineChart) -> Vec<Style> {
    let few = chart.series.len() <= MOST_LABELS;
    let width = if few { LINE.0 } else { LINE.1 };
    let same = |a: &Series, b: &Series| (a.shade - b.shade).abs() < 1e-9;
    let style = |(k, series): (usize, &Series)| {
        // With hundreds of lines nobody tells dashes apart.
        let others = if chart.series.len() <= MOST_STYLED { &chart.series[..] } else { &[] };
        let (earlier, later) = others.split_at(k.min(others.len()));
        let dashes = earlier.iter().filter(|other| same(other, series)).count() % DASHES.len();
        let covered = dashes == 0 && later.iter().skip(1).any(|other| same(other, series));
        let colour = palette::line(series.shade);
        let (colour, width) = if covered { (palette::pale(colour), BROAD * width) } else { (colour, width) };
        Style { colour, width, dashes, mark: if few { k } else { 0 } }
    };
    chart.series.iter().enumerate().map(style).collect()
}

/// Whether lines that are not ranks carry a few marks each; dashes tell them apart without.
fn sparsely_marked(styles: &[Style]) -> bool {
    (FEWEST_MARKED..=MOST_LABELS).contains(&styles.len()) && styles.iter().all(|style| style.dashes == 0)
}

/// Axes with their place on the page.
struct Plot {
    x_axis: Axis,
    y_axis: Axis,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Coordinate of the floor, where it is shown.
    floor: Option<f64>,
}

impl Plot {
    fn x(&self, place: f64) -> f64 {
        self.left + place * (self.right - self.left)
    }

    fn y(&self, place: f64) -> f64 {
        self.bottom - place * (self.bottom - self.top)
    }

    /// Height of the lower edge of what is drawn: the floor, or the axis.
    fn ground_level(&self) -> f64 {
        self.floor.map_or(self.bottom, |floor| self.y(self.y_axis.place(floor)))
    }

    /// The point of the page for a pair of values.
    fn point(&self, x: f64, y: f64) -> Option<Point> {
        let x = self.x(self.x_axis.place(self.x_axis.coordinate(x)?));
        let y = self.y(self.y_axis.place(self.y_axis.coordinate(y)?));
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    fn ground(&self, scene: &mut Scene, x_ticks: &[Tick], y_ticks: &[Tick]) {
        let ground = self.ground_level();
        for tick in x_ticks {
            scene.line(
                vec![(self.x(tick.place), self.top), (self.x(tick.place), self.bottom)],
                HAIRLINE,
                palette::GRID,
            );
        }
        for tick in y_ticks {
            scene.line(
                vec![(self.left, self.y(tick.place)), (self.right, self.y(tick.place))],
                HAIRLINE,
                palette::GRID,
            );
        }
        if self.floor.is_some() {
            scene.rectangle((self.left, ground), (self.right, self.bottom), palette::FLOOR);
            scene.line(vec![(self.left, ground), (self.right, ground)], HAIRLINE, palette::NOTE);
        }
    }

    fn notes(&self, scene: &mut Scene, chart: &LineChart) {
        let em = millimetres(size::CAPTION);
        if self.floor.is_some() {
            let middle = (self.ground_level() + self.bottom) / 2.0;
            let at = (self.left + 1.0, middle + 0.36 * em);
            scene.text("numerical floor", at, size::CAPTION, Anchor::Start, palette::NOTE);
        }
        let mut drawn = chart.series.iter().flat_map(points).filter_map(|(x, y, ..)| self.point(x, y));
        if !drawn.any(|(_, y)| y <= self.ground_level() + 1e-9) {
            let words = if chart.series.iter().all(|series| series.median.iter().all(|y| !y.is_finite())) {
                "no values"
            } else if self.floor.is_some() {
                "no value above the floor"
            } else {
                "no value that the axes can show"
            };
            let at = ((self.left + self.right) / 2.0, (self.top + self.ground_level()) / 2.0);
            scene.text(words, at, size::TICK, Anchor::Middle, palette::NOTE);
        }
    }

    fn series(&self, scene: &mut Scene, chart: &LineChart) {
        let styles = styles(chart);
        for (series, style) in chart.series.iter().zip(&styles) {
            self.band(scene, series, style.colour.translucent(BAND));
        }
        for (series, style) in chart.series.iter().zip(&styles) {
            for run in runs(points(series).map(|(x, y, ..)| self.point(x, y))) {
                for line in self.clip(&run) {
                    dashed(scene, &line, style);
                }
            }
        }
        let radius = if chart.ranks { self.mark_radius(chart) } else { MARK };
        let sparse = sparsely_marked(&styles);
        for (k, (series, style)) in chart.series.iter().zip(&styles).enumerate() {
            let mut next = if sparse { self.sparse_start(k, chart.series.len()) } else { f64::INFINITY };
            let stride = (self.right - self.left) / SPARSE_MARKS as f64;
            for run in runs(points(series).map(|(x, y, ..)| self.point(x, y))) {
                for &at in &run {
                    // A value between gaps has no line, only its mark.
                    let due = at.0 >= next;
                    if self.holds(at) && (chart.ranks || due || run.len() == 1) {
                        mark(scene, at, radius, style);
                    }
                    while at.0 >= next {
                        next += stride;
                    }
                }
            }
        }
    }

    /// Where the first mark of line `k` of `count` goes: the marks of different lines are staggered.
    fn sparse_start(&self, k: usize, count: usize) -> f64 {
        let stride = (self.right - self.left) / SPARSE_MARKS as f64;
        self.left + stride * (k as f64 + 0.5) / count as f64
    }

    /// Marks of neighbouring ranks do not touch.
    fn mark_radius(&self, chart: &LineChart) -> f64 {
        let most = chart.series.iter().map(|series| series.x.len()).max().unwrap_or(1).max(1);
        (0.4 * (self.right - self.left) / most as f64).clamp(0.2, MARK)
    }

    /// Whether a point lies in the part of the plot where values are drawn.
    fn holds(&self, (x, y): Point) -> bool {
        const SLACK: f64 = 1e-6;
        (self.left - SLACK..=self.right + SLACK).contains(&x)
            && (self.top - SLACK..=self.ground_level() + SLACK).contains(&y)
    }

    fn band(&self, scene: &mut Scene, series: &Series, colour: Colour) {
        let edges = points(series).map(|(x, _, low, high)| {
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            let high = self.point(x, high)?;
            // A band down to zero reaches the lower edge of a logarithmic axis.
            let low = if low.is_nan() { None } else { self.point(x, low).or(Some((high.0, self.bottom))) };
            low.map(|low| (low, high))
        });
        for run in runs(edges) {
            if let [(low, high)] = run[..] {
                let (top, bottom) = (high.1.max(self.top), low.1.min(self.ground_level()));
                let half = MARK / 2.0;
                if top < bottom && self.holds((high.0, top)) {
                    scene.rectangle((high.0 - half, top), (high.0 + half, bottom), colour);
                }
                continue;
            }
            if run.iter().all(|(low, high)| low == high) {
                continue;
            }
            let outline = run.iter().map(|edge| edge.1).chain(run.iter().rev().map(|edge| edge.0)).collect();
            let outline = cut(outline, self.ground_level(), 1.0);
            scene.polygon(cut(outline, self.top, -1.0), colour);
        }
    }

    /// The parts of a line that lie in the part of the plot where values are drawn.
    fn clip(&self, line: &[Point]) -> Vec<Vec<Point>> {
        let mut parts: Vec<Vec<Point>> = Vec::new();
        for pair in line.windows(2) {
            let Some((from, to)) = self.clip_segment(pair[0], pair[1]) else { continue };
            match parts.last_mut() {
                Some(part) if part.last() == Some(&from) => part.push(to),
                _ => parts.push(vec![from, to]),
            }
        }
        parts
    }

    /// The part of a segment between the upper edge and the ground; segments never leave the sides.
    fn clip_segment(&self, a: Point, b: Point) -> Option<(Point, Point)> {
        let (low, high) = (self.top, self.ground_level());
        if (a.1 < low && b.1 < low) || (a.1 > high && b.1 > high) {
            return None;
        }
        let bound = |from: Point, to: Point| {
            let edge = from.1.clamp(low, high);
            if edge == from.1 {
                return from;
            }
            (from.0 + (to.0 - from.0) * (edge - from.1) / (to.1 - from.1), edge)
        };
        Some((bound(a, b), bound(b, a)))
    }
}

/// Stretches without gaps.
fn runs<T>(items: impl Iterator<Item = Option<T>>) -> Vec<Vec<T>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    for item in items {
        match item {
            Some(item) => run.push(item),
            None if run.is_empty() => {}
            None => runs.push(std::mem::take(&mut run)),
        }
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// The part of a polygon above (`side` 1) or below (`side` -1) a horizontal line of the page.
fn cut(polygon: Vec<Point>, edge: f64, side: f64) -> Vec<Point> {
    let out = |point: &Point| side * (point.1 - edge) > 0.0;
    if !polygon.iter().any(out) {
        return polygon;
    }
    let mut kept = Vec::with_capacity(polygon.len());
    for (k, &from) in polygon.iter().enumerate() {
        let to = polygon[(k + 1) % polygon.len()];
        if !out(&from) {
            kept.push(from);
        }
        if out(&from) != out(&to) {
            kept.push((from.0 + (to.0 - from.0) * (edge - from.1) / (to.1 - from.1), edge));
        }
    }
    kept
}

/// Draws a line with the dashes of its style.
fn dashed(scene: &mut Scene, line: &[Point], style: &Style) {
    let pattern = DASHES[style.dashes];
    if pattern.is_empty() {
        scene.line(line.to_vec(), style.width, style.colour);
        return;
    }
    let mut dash: Vec<Point> = line.first().copied().into_iter().collect();
    let (mut phase, mut left) = (0, pattern[0]);
    for pair in line.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length);
            if phase % 2 == 0 {
                dash.push(at);
                scene.line(std::mem::take(&mut dash), style.width, style.colour);
            } else {
                dash = vec![at];
            }
            phase = (phase + 1) % pattern.len();
            left = pattern[phase];
        }
        left -= length - done;
        if phase % 2 == 0 {
            dash.push((x1, y1));
        }
    }
    if phase % 2 == 0 {
        scene.line(dash, style.width, style.colour);
    }
}

/// Draws a mark: five outlines in turn, first filled, then hollow.
fn mark(scene: &mut Scene, (x, y): Point, radius: f64, style: &Style) {
    const KINDS: usize = 5;
    // Corners, angle of the first one in quarter turns, and a factor that makes the areas look alike.
    let (corners, turn, factor) = match style.mark % KINDS {
        0 => (20, 0.0, 1.0),
        1 => (4, 0.5, 1.22),
        2 => (3, -1.0, 1.42),
        3 => (4, 0.0, 1.3),
        _ => (3, 1.0, 1.42),
    };
    let outline = |radius: f64| -> Vec<Point> {
        let corner = |k: usize| {
            let angle = std::f64::consts::TAU * (k as f64 / corners as f64 + turn / 4.0);
            (x + radius * angle.cos(), y + radius * angle.sin())
        };
        (0..corners).map(corner).collect()
    };
    scene.polygon(outline(radius * factor), style.colour);
    if (style.mark / KINDS) % 2 == 1 {
        scene.polygon(outline(0.55 * radius * factor), palette::PAPER);
    }
}

/// What the lines mean, on the right of the chart.
struct Legend {
    /// Series that have a label.
    entries: Vec<usize>,
    labels: Vec<String>,
    title: Vec<String>,
    /// Zero where there is nothing to explain.
    width: f64,
}

impl Legend {
    fn new(scene: &Scene, chart: &LineChart) -> Self {
        let labelled = |k: &usize| !tidy(&chart.series[*k].label).is_empty();
        let entries: Vec<usize> = (0..chart.series.len()).filter(labelled).collect();
        if entries.is_empty() {
            return Legend { entries, labels: Vec::new(), title: Vec::new(), width: 0.0 };
        }
        let font = &scene.font;
        let shorten = |k: &usize| font.shorten(&chart.series[*k].label, size::TICK, LEGEND_WORDS);
        let labels: Vec<String> = entries.iter().map(shorten).collect();
        let title = font.wrap(&chart.legend_title, size::TICK, LEGEND_WORDS, 3);
        let widest =
            |texts: &[String]| texts.iter().fold(0.0, |w: f64, text| w.max(font.width(text, size::TICK)));
        let sample = if entries.len() > MOST_LABELS { STRIP } else { SAMPLE };
        let width = (sample + 1.0 + widest(&labels)).max(widest(&title));
        Legend { entries, labels, title, width }
    }

    fn title_height(&self) -> f64 {
        if self.title.is_empty() {
            0.0
        } else {
            self.title.len() as f64 * LINE_HEIGHT * millimetres(size::TICK) + 0.8
        }
    }

    /// Height that the legend needs; a strip takes what it gets.
    fn height(&self) -> f64 {
        self.title_height() + self.entries.len().min(MOST_LABELS) as f64 * ROW
    }

    fn draw(&self, scene: &mut Scene, chart: &LineChart, left: f64, top: f64) {
        let em = millimetres(size::TICK);
        for (k, line) in self.title.iter().enumerate() {
            let base_line = top + (k as f64 * LINE_HEIGHT + 0.8) * em;
            scene.text(line, (left, base_line), size::TICK, Anchor::Start, palette::INK);
        }
        let top = top + self.title_height();
        if self.entries.len() > MOST_LABELS {
            self.strip(scene, chart, left, top);
            return;
        }
        let styles = styles(chart);
        let marked = chart.ranks || sparsely_marked(&styles);
        for (row, (&k, label)) in self.entries.iter().zip(&self.labels).enumerate() {
            let middle = top + (row as f64 + 0.5) * ROW;
            let (series, style) = (&chart.series[k], &styles[k]);
            if points(series).any(|(_, _, low, high)| low != high && !low.is_nan() && !high.is_nan()) {
                let corner = (left + SAMPLE, middle + 0.9);
                scene.rectangle((left, middle - 0.9), corner, style.colour.translucent(BAND));
            }
            dashed(scene, &[(left, middle), (left + SAMPLE, middle)], style);
            if marked {
                mark(scene, (left + SAMPLE / 2.0, middle), MARK, style);
            }
            let at = (left + SAMPLE + 1.0, middle + 0.36 * em);
            scene.text(label, at, size::TICK, Anchor::Start, palette::INK);
        }
    }

    /// One slab of colour a series in their order, with as many labels as have room, the first and the last among
    /// them.
    fn strip(&self, scene: &mut Scene, chart: &LineChart, left: f64, top: f64) {
        const TALLEST: f64 = 2.3;
        let styles = styles(chart);
        // A dashed line has the colour of the unbroken one before it.
        let rows: Vec<usize> =
            (0..self.entries.len()).filter(|row| styles[self.entries[*row]].dashes == 0).collect();
        let count = rows.len();
        if count == 0 {
            return;
        }
        let slab = ((CHART_HEIGHT - self.title_height()) / count as f64).min(TALLEST);
        let y = |k: usize| top + k as f64 * slab;
        for (k, &row) in rows.iter().enumerate() {
            let reach = if k + 1 < count { slab.min(0.08) } else { 0.0 };
            let colour = palette::line(chart.series[self.entries[row]].shade);
            scene.rectangle((left, y(k)), (left + STRIP, y(k + 1) + reach), colour);
        }
        // Equal steps that reach the last label, where there are such; else the last label replaces what is too near.
        let least = (ROW / slab).ceil().max(1.0) as usize;
        let exact = (least..=2 * least).find(|step| (count - 1).is_multiple_of(*step));
        let step = exact.unwrap_or(least);
        let mut shown: Vec<usize> = (0..count).step_by(step).collect();
        if shown.last().is_some_and(|last| count - 1 - last < least && *last > 0 && *last < count - 1) {
            shown.pop();
        }
        if shown.last() != Some(&(count - 1)) {
            shown.push(count - 1);
        }
        for k in shown {
            let at = (left + STRIP + 1.0, y(k) + slab / 2.0 + 0.36 * millimetres(size::TICK));
            scene.text(&self.labels[rows[k]], at, size::TICK, Anchor::Start, palette::INK);
        }
    }
}
