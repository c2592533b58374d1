//! Charts of lines and points.

use super::axis::{self, Axis, DECADES, HAIRLINE, Tick};
use super::page::{self, MARGIN, chart_height};
use super::palette;
use super::references::References;
use super::scene::{Anchor, Colour, LINE_HEIGHT, Point, Scene, millimetres, size, tidy};
use crate::record::{Direction, LineChart, Scale, Series, SeriesStyle};

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
/// Width of a line with a theory over it, in widths of lines.
const BROAD: f64 = 2.8;
/// Widths of the inside of a theory's dashes and of the dashes with their edges.
const THEORY: (f64, f64) = (0.22, 0.44);
/// Lengths of a theory's dashes and of the gaps between them.
const THEORY_DASHES: (f64, f64) = (1.5, 0.8);
/// Width of the bars of points.
const POINT_BAR: f64 = 0.3;
/// Width of the rim of paper around points.
const RIM: f64 = 0.16;
/// Radius of marks in millimetres.
const MARK: f64 = 0.62;
/// Space between chart and legend.
const LEGEND_GAP: f64 = 2.0;
/// Widest words of the legend.
const LEGEND_WORDS: f64 = 19.0;
/// Most lines of the label of a series.
const LABEL_LINES: usize = 2;
/// Most lines of the words that explain all theories together.
const THEORY_LINES: usize = 3;
/// Most theories with a label beside a strip of colours.
const MOST_BESIDE_STRIP: usize = 3;
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
    let height = chart_height(scene).max(legend.height());

    let most = if chart.y_scale == Scale::Log { 6 } else { 8 };
    let y_ticks: Vec<Tick> = y_axis.ticks(most).into_iter().filter(inside).collect();
    let y_title = page::upward_title(scene, &chart.y_label, height);
    let left = MARGIN + page::upward_width(&y_title) + axis::width_left(&y_ticks, &scene.font);
    let right = scene.width - MARGIN - if legend.width > 0.0 { legend.width + LEGEND_GAP } else { 2.0 };
    let x_ticks = if chart.ranks && chart.x_scale == Scale::Linear {
        let (low, high) = x_axis.ends();
        axis::apart(axis::whole_ticks(low, high, low, high), &scene.font, right - left)
    } else {
        axis::ticks_for_width(&x_axis, &scene.font, right - left)
    };
    let x_ticks: Vec<Tick> = x_ticks.into_iter().filter(inside).collect();

    // The power of ten of the ordinate and labels of references stand over the frame.
    let factor = y_axis.factor();
    let factor_end = factor.as_ref().map_or(left, |label| {
        let (base, exponent) = label.widths(&scene.font, size::TICK);
        left + base + exponent + 1.0
    });
    let references = References::new(chart, &x_axis, &y_axis, floor, &scene.font, (left, factor_end, right));
    let above = if factor.is_some() { 2.8 } else { 0.6 };
    let top = top + references.room_above().max(above);
    let bottom = top + height;

    let plot = Plot { x_axis, y_axis, left, right, top, bottom, floor };
    plot.ground(scene, &x_ticks, &y_ticks);
    references.draw_lines(scene, &plot);
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
    if let Some(label) = factor {
        let border = left + label.widths(&scene.font, size::TICK).0;
        label.draw(scene, (border, top - 0.8), size::TICK, palette::INK);
    }
    references.draw_labels(scene, &plot, chart);
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

/// Points of a series: abscissa, median, lower and upper edge of the band, which a theory has not.
pub(super) fn points(series: &Series) -> impl Iterator<Item = (f64, f64, f64, f64)> + '_ {
    let theory = is_theory(series);
    let length = if theory { series.x.len() } else { series.low.len().min(series.high.len()) };
    let edge = move |edge: &[f64], k: usize| if theory { f64::NAN } else { edge[k] };
    let values = series.x.iter().zip(&series.median).take(length).enumerate();
    values.map(move |(k, (x, y))| (*x, *y, edge(&series.low, k), edge(&series.high, k)))
}

pub(super) fn is_theory(series: &Series) -> bool {
    series.style == SeriesStyle::Theory
}

/// Values of references that an axis is widened for.
fn widening(chart: &LineChart, direction: Direction) -> impl Iterator<Item = f64> + '_ {
    let wanted = chart.references.iter().filter(move |line| line.widens_axis && line.direction == direction);
    wanted.map(|line| line.value).filter(|value| value.is_finite())
}

/// The vertical axis, and the coordinate of the floor where it is shown.
fn ordinate(chart: &LineChart) -> (Axis, Option<f64>) {
    let values =
        || chart.series.iter().flat_map(|series| points(series).map(|(_, y, low, high)| [y, low, high]));
    let finite = values().flatten().filter(|value| value.is_finite()).chain(widening(chart, Direction::Y));
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
    for coordinate in widening(chart, Direction::Y).filter_map(|value| axis.coordinate(value)) {
        high = high.max(coordinate);
        if coordinate >= limit {
            low = low.min(coordinate);
        }
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
    places.extend(widening(chart, Direction::X));
    let whole = chart.ranks && chart.x_scale == Scale::Linear;
    let largest = if whole { 1.0 } else { places.iter().fold(0.0, |largest: f64, x| largest.max(x.abs())) };
    let axis = Axis::new(chart.x_scale, largest);
    let coordinates = places.into_iter().filter_map(|x| axis.coordinate(x));
    let (low, high) =
        coordinates.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x: f64| (low.min(x), high.max(x)));
    if low > high {
        return axis.span(0.0, 1.0);
    }
    if chart.series.iter().any(|series| series.style == SeriesStyle::Points) && !whole {
        // The first and the last mark stay clear of the frame.
        let axis = axis.span(low, high);
        let (low, high) = axis.ends();
        let padding = PADDING * (high - low);
        return axis.span(low - padding, high + padding);
    }
    let padding = if whole { 0.5 } else { 0.0 };
    axis.span(low - padding, high + padding)
}

/// How a series is told from the others.
#[derive(Clone, Copy)]
struct Style {
    kind: SeriesStyle,
    colour: Colour,
    width: f64,
    /// Which mark.
    mark: usize,
    /// Where among all series that are no theory.
    place: usize,
}

/// Styles in the order of the series. A line with a theory of its shade is broad and pale, so that it is seen
/// under dashes that cover it.
fn styles(chart: &LineChart) -> Vec<Style> {
    let measured = chart.series.iter().filter(|series| !is_theory(series)).count();
    let few = measured <= MOST_LABELS;
    let width = if few { LINE.0 } else { LINE.1 };
    let theories: Vec<f64> =
        chart.series.iter().filter(|series| is_theory(series)).map(|series| series.shade).collect();
    let mut place = 0;
    let style = |series: &Series| {
        let colour = palette::line(series.shade);
        let covered = series.style == SeriesStyle::Line
            && theories.iter().any(|shade| (shade - series.shade).abs() < 1e-9);
        let (colour, width) = if covered { (palette::pale(colour), BROAD * width) } else { (colour, width) };
        let style = Style { kind: series.style, colour, width, mark: if few { place } else { 0 }, place };
        place += usize::from(!is_theory(series));
        style
    };
    chart.series.iter().map(style).collect()
}

/// Number of series that are no theory, where their lines carry a few marks each although they are not ranks.
fn sparsely_marked(styles: &[Style]) -> Option<usize> {
    let lines = styles.iter().filter(|style| style.kind == SeriesStyle::Line).count();
    let measured = styles.iter().filter(|style| style.kind != SeriesStyle::Theory).count();
    (lines >= FEWEST_MARKED && measured <= MOST_LABELS).then_some(measured)
}

/// Axes with their place on the page.
pub(super) struct Plot {
    pub x_axis: Axis,
    pub y_axis: Axis,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    /// Coordinate of the floor, where it is shown.
    floor: Option<f64>,
}

impl Plot {
    pub fn x(&self, place: f64) -> f64 {
        self.left + place * (self.right - self.left)
    }

    pub fn y(&self, place: f64) -> f64 {
        self.bottom - place * (self.bottom - self.top)
    }

    /// Height of the lower edge of what is drawn: the floor, or the axis.
    pub fn ground_level(&self) -> f64 {
        self.floor.map_or(self.bottom, |floor| self.y(self.y_axis.place(floor)))
    }

    /// The point of the page for a pair of values.
    pub fn point(&self, x: f64, y: f64) -> Option<Point> {
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
        let of = |kind: SeriesStyle| {
            let all = chart.series.iter().zip(&styles);
            all.filter(move |(_, style)| style.kind == kind)
        };
        for (series, style) in of(SeriesStyle::Line) {
            self.band(scene, series, style.colour.translucent(BAND));
        }
        for (series, style) in of(SeriesStyle::Line) {
            for run in self.runs(series) {
                for line in self.clip(&run) {
                    scene.line(line, style.width, style.colour);
                }
            }
        }
        for (series, style) in of(SeriesStyle::Theory) {
            for run in self.runs(series) {
                for line in self.clip(&run) {
                    theory(scene, &line, style.colour);
                }
                // A value between gaps has no line, only one dash.
                if let ([at], half) = (&run[..], THEORY_DASHES.0 / 2.0)
                    && self.holds(*at)
                {
                    theory(scene, &[(at.0 - half, at.1), (at.0 + half, at.1)], style.colour);
                }
            }
        }
        let radius = if chart.ranks { self.mark_radius(chart) } else { MARK };
        let sparse = sparsely_marked(&styles);
        for (series, style) in of(SeriesStyle::Line) {
            let mut next = sparse.map_or(f64::INFINITY, |count| self.sparse_start(style.place, count));
            let stride = (self.right - self.left) / SPARSE_MARKS as f64;
            for run in self.runs(series) {
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
        let radius = self.mark_radius(chart);
        for (series, style) in of(SeriesStyle::Points) {
            let marks: Vec<Point> =
                self.runs(series).into_iter().flatten().filter(|at| self.holds(*at)).collect();
            // Rims set marks off from what is under them, but not from their own bars.
            let rim = Style { colour: palette::PAPER, ..*style };
            for &at in &marks {
                mark(scene, at, radius + RIM, &rim);
            }
            for bar in self.bars(series) {
                scene.line(bar.to_vec(), POINT_BAR, style.colour);
            }
            for at in marks {
                mark(scene, at, radius, style);
            }
        }
    }

    /// The points of a series on the page, between its gaps.
    pub fn runs(&self, series: &Series) -> Vec<Vec<Point>> {
        runs(points(series).map(|(x, y, ..)| self.point(x, y)))
    }

    /// The bars of a series of points, as far as they lie in the part of the plot where values are drawn.
    pub fn bars(&self, series: &Series) -> Vec<[Point; 2]> {
        let bar = |(x, y, low, high): (f64, f64, f64, f64)| {
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            if y.is_nan() || low.is_nan() || low == high {
                return None;
            }
            let high = self.point(x, high)?;
            // A bar down to zero reaches the lower edge of a logarithmic axis.
            let low = self.point(x, low).map_or(self.bottom, |low| low.1);
            let (top, bottom) = (high.1.max(self.top), low.min(self.ground_level()));
            (top < bottom).then_some([(high.0, top), (high.0, bottom)])
        };
        points(series).filter_map(bar).collect()
    }

    /// Where the first mark of line `k` of `count` goes: the marks of different lines are staggered.
    fn sparse_start(&self, k: usize, count: usize) -> f64 {
        let stride = (self.right - self.left) / SPARSE_MARKS as f64;
        self.left + stride * (k as f64 + 0.5) / count as f64
    }

    /// Marks of neighbouring ranks do not touch.
    fn mark_radius(&self, chart: &LineChart) -> f64 {
        let measured = chart.series.iter().filter(|series| !is_theory(series));
        let most = measured.map(|series| series.x.len()).max().unwrap_or(1).max(1);
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
    pub fn clip(&self, line: &[Point]) -> Vec<Vec<Point>> {
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

/// Draws a theory: dashes with dark edges, which are seen on a line of the same colour and in grey print.
fn theory(scene: &mut Scene, line: &[Point], colour: Colour) {
    for dash in dashes(line, THEORY_DASHES) {
        scene.line(dash.clone(), THEORY.1, palette::INK);
        scene.line(dash, THEORY.0, colour);
    }
}

/// Cuts a line into dashes of one length with gaps of another.
pub(super) fn dashes(line: &[Point], (ink, gap): (f64, f64)) -> Vec<Vec<Point>> {
    let mut dashes = Vec::new();
    let mut dash: Vec<Point> = line.first().copied().into_iter().collect();
    let (mut drawn, mut left) = (true, ink);
    for pair in line.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length);
            if drawn {
                dash.push(at);
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash = vec![at];
            }
            drawn = !drawn;
            left = if drawn { ink } else { gap };
        }
        left -= length - done;
        if drawn {
            dash.push((x1, y1));
        }
    }
    if drawn {
        dashes.push(dash);
    }
    dashes
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

/// What a line of the legend stands for.
#[derive(Clone, Copy)]
enum Sample {
    /// The series of this index.
    Series(usize),
    /// All theories together.
    Theories,
}

/// What the lines mean, on the right of the chart.
struct Legend {
    /// Series as a strip of colours, with their labels: where there are too many for a sample each.
    strip: Vec<(usize, String)>,
    /// Samples with the lines of their words, under the strip if there is one.
    rows: Vec<(Sample, Vec<String>)>,
    title: Vec<String>,
    /// Zero where there is nothing to explain.
    width: f64,
}

impl Legend {
    fn new(scene: &Scene, chart: &LineChart) -> Self {
        let font = &scene.font;
        let shorten = |k: usize| font.shorten(&chart.series[k].label, size::TICK, LEGEND_WORDS);
        let labelled: Vec<(usize, String)> =
            (0..chart.series.len()).map(|k| (k, shorten(k))).filter(|(_, label)| !label.is_empty()).collect();
        let named = |(k, _): &(usize, String)| is_theory(&chart.series[*k]);
        let (strip, mut single) = if labelled.len() <= MOST_LABELS {
            (Vec::new(), labelled.clone())
        } else if labelled.iter().all(named) {
            (labelled.clone(), Vec::new())
        } else {
            labelled.iter().cloned().partition(|entry| !named(entry))
        };
        if !strip.is_empty() {
            single.truncate(MOST_BESIDE_STRIP);
        }
        let wrapped = |k: usize| font.wrap(&chart.series[k].label, size::TICK, LEGEND_WORDS, LABEL_LINES);
        let mut rows: Vec<_> = single.into_iter().map(|(k, _)| (Sample::Series(k), wrapped(k))).collect();
        if let Some(label) = &chart.theory_label
            && chart.series.iter().any(is_theory)
            && !labelled.iter().any(named)
        {
            let lines = font.wrap(label, size::TICK, LEGEND_WORDS, THEORY_LINES);
            if !lines.is_empty() {
                rows.push((Sample::Theories, lines));
            }
        }
        if strip.is_empty() && rows.is_empty() {
            return Legend { strip, rows, title: Vec::new(), width: 0.0 };
        }
        let title = font.wrap(&chart.legend_title, size::TICK, LEGEND_WORDS, 3);
        let width = |text: &String| font.width(text, size::TICK);
        let beside_strip = strip.iter().map(|(_, label)| STRIP + 1.0 + width(label));
        let beside_samples = rows.iter().flat_map(|(_, lines)| lines).map(|line| SAMPLE + 1.0 + width(line));
        let widest = beside_strip.chain(beside_samples).chain(title.iter().map(width)).fold(0.0, f64::max);
        Legend { strip, rows, title, width: widest }
    }

    fn title_height(&self) -> f64 {
        if self.title.is_empty() {
            0.0
        } else {
            self.title.len() as f64 * LINE_HEIGHT * millimetres(size::TICK) + 0.8
        }
    }

    fn rows_height(&self) -> f64 {
        self.rows.iter().map(|(_, lines)| row_height(lines)).sum()
    }

    /// Height that the legend needs; a strip takes what it gets.
    fn height(&self) -> f64 {
        let strip = if self.strip.is_empty() { 0.0 } else { MOST_LABELS as f64 * ROW };
        self.title_height() + strip + self.rows_height()
    }

    fn draw(&self, scene: &mut Scene, chart: &LineChart, left: f64, top: f64) {
        let em = millimetres(size::TICK);
        for (k, line) in self.title.iter().enumerate() {
            let base_line = top + (k as f64 * LINE_HEIGHT + 0.8) * em;
            scene.text(line, (left, base_line), size::TICK, Anchor::Start, palette::INK);
        }
        let mut top = top + self.title_height();
        if !self.strip.is_empty() {
            top = self.draw_strip(scene, chart, left, top);
        }
        let styles = styles(chart);
        let marked = chart.ranks || sparsely_marked(&styles).is_some();
        for (sample, lines) in &self.rows {
            let middle = top + ROW / 2.0;
            let ends = [(left, middle), (left + SAMPLE, middle)];
            match *sample {
                Sample::Theories => theory(scene, &ends, palette::NEUTRAL),
                Sample::Series(k) => draw_sample(scene, &chart.series[k], &styles[k], ends, marked),
            }
            for (k, line) in lines.iter().enumerate() {
                let at = (left + SAMPLE + 1.0, middle + (k as f64 * LINE_HEIGHT + 0.36) * em);
                scene.text(line, at, size::TICK, Anchor::Start, palette::INK);
            }
            top += row_height(lines);
        }
    }

    /// One slab of colour a series in their order, with as many labels as have room, the first and the last among
    /// them. Returns where it ends.
    fn draw_strip(&self, scene: &mut Scene, chart: &LineChart, left: f64, top: f64) -> f64 {
        const TALLEST: f64 = 2.3;
        let count = self.strip.len();
        // The words of the last slab are taller than a thin slab.
        let gap = if self.rows.is_empty() { 0.0 } else { 0.8 };
        let room = chart_height(scene) - self.title_height() - self.rows_height() - gap;
        let slab = (room / count as f64).min(TALLEST);
        let y = |k: usize| top + k as f64 * slab;
        for (k, (index, _)) in self.strip.iter().enumerate() {
            let reach = if k + 1 < count { slab.min(0.08) } else { 0.0 };
            let colour = palette::line(chart.series[*index].shade);
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
            scene.text(&self.strip[k].1, at, size::TICK, Anchor::Start, palette::INK);
        }
        y(count) + gap
    }
}

fn row_height(lines: &[String]) -> f64 {
    ROW + lines.len().saturating_sub(1) as f64 * LINE_HEIGHT * millimetres(size::TICK)
}

/// Draws a piece of a series for the legend; `marked` is for lines.
fn draw_sample(scene: &mut Scene, series: &Series, style: &Style, ends: [Point; 2], marked: bool) {
    let [(left, middle), (right, _)] = ends;
    let centre = ((left + right) / 2.0, middle);
    let spread = points(series).any(|(_, _, low, high)| low != high && !low.is_nan() && !high.is_nan());
    match style.kind {
        SeriesStyle::Line => {
            if spread {
                let corner = (right, middle + 0.9);
                scene.rectangle((left, middle - 0.9), corner, style.colour.translucent(BAND));
            }
            scene.line(ends.to_vec(), style.width, style.colour);
            if marked {
                mark(scene, centre, MARK, style);
            }
        }
        SeriesStyle::Points => {
            if spread {
                let bar = vec![(centre.0, middle - 1.3), (centre.0, middle + 1.3)];
                scene.line(bar, POINT_BAR, style.colour);
            }
            mark(scene, centre, MARK, style);
        }
        SeriesStyle::Theory => theory(scene, &ends, style.colour),
    }
}
