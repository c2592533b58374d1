//! Figures over parameters and over time: a value against a swept key, as a map over two, and over training.

use super::drawings::{Cell, Figure, curve, drawing, scale};
use super::labels::{Labels, axis_title, depth, short, swept_keys, value_label};
use super::shades::apart;
use crate::experiment::Experiment;
use crate::record::{Chart, Direction, HeatMap, LineChart, Reference, Scale, Series, SeriesStyle};
use crate::run::{Band, Shown, StoredRun, finding, recorded, shown_times};
use crate::settings::Settings;
use std::collections::BTreeSet;

/// What the legend calls the predictions of the key `theory`.
const THEORY: &str = "theory";
/// What the legend calls the array of the key `limit`.
const LIMIT: &str = "t → ∞";

/// The figures of one entry of the file, and complaints about what the records lack.
#[derive(Default)]
pub(super) struct Drawn {
    pub figures: Vec<Figure>,
    pub complaints: Vec<String>,
}

/// Composes a figure of the kind against, map or over-time.
pub(super) fn compose(
    experiment: &Experiment,
    figure: &Settings,
    cells: &[Cell<'_>],
    labels: &Labels<'_>,
    name: &str,
) -> Drawn {
    let entry = Entry { experiment, figure, labels, value: Shown::of(figure) };
    let cells: Vec<&Cell<'_>> = cells.iter().collect();
    let mut drawn = Drawn::default();
    match figure.kind() {
        "map" => entry.maps(&cells, name, &mut drawn),
        kind => {
            let each: Vec<&str> =
                figure.optional_texts("each").unwrap_or_default().iter().map(String::as_str).collect();
            for panel in entry.panels(&cells, &each, name) {
                if kind == "against" {
                    entry.against(panel, &mut drawn);
                } else {
                    entry.over_time(panel, &mut drawn);
                }
            }
        }
    }
    entry.complain_of_absent_arrays(&cells, &mut drawn);
    // The same time is missing in many runs as a rule: once is enough.
    let mut said = BTreeSet::new();
    drawn.complaints.retain(|complaint| said.insert(complaint.clone()));
    for complaint in &mut drawn.complaints {
        *complaint = format!("figure {name}: {complaint}");
    }
    drawn
}

/// An entry of the file with what is needed to compose its figures.
struct Entry<'a> {
    experiment: &'a Experiment,
    figure: &'a Settings,
    labels: &'a Labels<'a>,
    value: Shown<'a>,
}

/// The cells that share a figure.
struct Panel<'a> {
    cells: Vec<&'a Cell<'a>>,
    name: String,
    /// What sets the panel apart from the others, for the title; empty where there is one only.
    apart: String,
}

/// Whether all these lines are one and the same, to the digits that a record shares between runs; then only the first stays.
pub(super) fn keep_one_of_equal(lines: &mut Vec<Series>) -> bool {
    let close = |a: &f64, b: &f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) || a.is_nan() && b.is_nan();
    let equal = |a: &Series, b: &Series| {
        a.x == b.x
            && a.median.len() == b.median.len()
            && a.median.iter().zip(&b.median).all(|(a, b)| close(a, b))
    };
    let one = lines.len() > 1 && lines.windows(2).all(|pair| equal(&pair[0], &pair[1]));
    if one {
        lines.truncate(1);
    }
    one
}

impl<'a> Entry<'a> {
    /// One panel for every combination of the values of `keys`.
    fn panels(&self, cells: &[&'a Cell<'a>], keys: &[&str], name: &str) -> Vec<Panel<'a>> {
        grouped(cells, keys)
            .into_iter()
            .map(|cells| {
                let plan = cells[0].plan;
                let name = format!("{name}{}", self.labels.suffix(plan, keys));
                Panel { apart: self.labels.named(plan, keys), cells, name }
            })
            .collect()
    }

    fn against(&self, panel: Panel<'a>, drawn: &mut Drawn) {
        let figure = self.figure;
        let x = figure.text("x");
        let along = self.along(&panel.cells, &[x]);
        let keys = varying(&panel.cells, &along);
        let times = shown_times(figure);
        let theory = figure.optional_text("theory").map(|array| self.value.from(array));
        let limit = figure.optional_text("limit").map(|array| self.value.from(array));
        // One limit for several times, or beside a prediction of the time, needs a shade of its own.
        let limit_apart = limit.is_some() && (times.len() > 1 || theory.is_some());

        let groups = grouped(&panel.cells, &keys);
        let count = groups.len() * (times.len() + usize::from(limit_apart));
        let fixed = Labels::new(groups.iter().map(|group| group[0].plan).collect()).fixed_shades(&keys);
        // Several times of one thing have no common shade.
        let fixed = fixed.filter(|_| times.len() == 1);
        let in_order = (0..count).map(|k| k as f64 / count.saturating_sub(1).max(1) as f64);
        let mut shades = match &fixed {
            Some(fixed) if !limit_apart => fixed.clone().into_iter(),
            _ => in_order.collect::<Vec<_>>().into_iter(),
        };
        let (mut series, mut predictions, mut limits) = (Vec::new(), Vec::new(), Vec::new());
        let mut floor: f64 = 0.0;
        for group in groups {
            let mut places: Vec<(f64, &Cell<'_>)> = group
                .iter()
                .filter(|cell| !cell.runs.is_empty())
                .filter_map(|cell| Some((self.place(cell, x)?, *cell)))
                .collect();
            places.sort_by(|a, b| a.0.total_cmp(&b.0));
            let own = if times.len() > 1 || limit_apart {
                self.labels.named(group[0].plan, &keys)
            } else {
                self.labels.joined(group[0].plan, &keys)
            };
            let mut shade = 0.0;
            for &at in &times {
                shade = shades.next().unwrap_or(1.0);
                let label = match at {
                    Some(time) if times.len() > 1 && keys.is_empty() => short(time),
                    Some(time) if times.len() > 1 => format!("{own}, t\u{a0}=\u{a0}{}", short(time)),
                    _ => own.clone(),
                };
                let measured = self.through(&places, self.value, at, SeriesStyle::Points, drawn);
                series.push(Series { label, shade, ..measured });
                floor = floor.max(self.floor(places.iter().map(|(_, cell)| *cell), &[at]));
                if let Some(theory) = theory {
                    let line = self.through(&places, theory, at, SeriesStyle::Theory, drawn);
                    predictions.push(Series { shade, ..line });
                }
            }
            if let Some(limit) = limit {
                let mut line = self.through(&places, limit, None, SeriesStyle::Theory, drawn);
                line.shade = if limit_apart { shades.next().unwrap_or(1.0) } else { shade };
                if limit_apart {
                    let words = [own.as_str(), LIMIT];
                    line.label =
                        words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ");
                }
                limits.push(line);
            }
        }
        // What is predicted of all series alike is one line.
        if times.len() == 1 {
            keep_one_of_equal(&mut predictions);
        }
        if keep_one_of_equal(&mut limits) && limit_apart {
            limits[0].label = LIMIT.to_string();
            limits[0].shade = 1.0;
            // One limit leaves the scale to the series, as far as they leave its end to it.
            let fixed = fixed.map(|fixed| [fixed, vec![1.0]].concat()).filter(|shades| apart(shades));
            for list in [&mut series, &mut predictions] {
                for (one, shade) in list.iter_mut().zip(fixed.iter().flatten()) {
                    one.shade = *shade;
                }
            }
        }
        // The legend explains all predictions together only where none is named.
        if let (true, Some(theory)) = (limit_apart, predictions.first_mut()) {
            theory.label = THEORY.to_string();
        }
        predictions.append(&mut limits);
        series.extend(predictions.into_iter().filter(has_values));
        let threshold = figure.optional_number("threshold").map(|value| Reference {
            direction: Direction::X,
            value,
            label: figure.optional_text("threshold_label").unwrap_or_default().to_string(),
            widens_axis: true,
        });
        let legend_title = match (times.len() > 1, keys.is_empty()) {
            (true, true) => "time t".to_string(),
            (true, false) => String::new(),
            (false, _) if limit_apart => String::new(),
            (false, _) => self.labels.title(&keys),
        };
        let x_words = if x == "start" { format!("{} at the start", self.words()) } else { axis_title(x) };
        let chart = Chart::Lines(LineChart {
            x_label: self.titled("x_label", x_words),
            y_label: self.titled("y_label", self.value_words()),
            x_scale: scale(figure, "x_scale"),
            y_scale: scale(figure, "y_scale"),
            // Layers are whole numbers.
            ranks: x == "encoder.widths" && scale(figure, "x_scale") == Scale::Linear,
            legend_title,
            series,
            theory_label: theory.or(limit).map(|_| if theory.is_some() { THEORY } else { LIMIT }.to_string()),
            references: threshold.into_iter().collect(),
            floor: (floor > 0.0).then_some(floor),
        });
        let when = self.when(&times);
        self.finish(panel, &along, chart, &when, &times, drawn);
    }

    fn over_time(&self, panel: Panel<'a>, drawn: &mut Drawn) {
        let figure = self.figure;
        let x_scale = scale(figure, "x_scale");
        let keys = varying(&panel.cells, &[]);
        let theory = figure.optional_text("theory").map(|array| self.value.from(array));
        let shades = Labels::new(panel.cells.iter().map(|cell| cell.plan).collect()).shades(&keys);
        let line = |cell: &Cell<'_>, shown: Shown<'_>, style: SeriesStyle, shade: f64, label: String| {
            let (x, band) = curve(cell, x_scale, |run, time| shown.at(run, time))?;
            Some(Series { label, style, shade, x, median: band.median, low: band.low, high: band.high })
        };
        let (mut series, mut predictions) = (Vec::new(), Vec::new());
        for (cell, shade) in panel.cells.iter().zip(shades) {
            let label = self.labels.joined(cell.plan, &keys);
            series.extend(line(cell, self.value, SeriesStyle::Line, shade, label));
            if let Some(theory) = theory {
                predictions.extend(line(cell, theory, SeriesStyle::Theory, shade, String::new()));
            }
        }
        series.extend(predictions.into_iter().filter(has_values));
        let floor = self.floor(panel.cells.iter().copied(), &[None]);
        let chart = Chart::Lines(LineChart {
            x_label: self.titled("x_label", "training time t".to_string()),
            y_label: self.titled("y_label", self.value_words()),
            x_scale,
            y_scale: scale(figure, "y_scale"),
            ranks: false,
            legend_title: self.labels.title(&keys),
            series,
            theory_label: theory.map(|_| THEORY.to_string()),
            references: Vec::new(),
            floor: (floor > 0.0).then_some(floor),
        });
        self.finish(panel, &[], chart, "over training", &[None], drawn);
    }

    fn maps(&self, cells: &[&'a Cell<'a>], name: &str, drawn: &mut Drawn) {
        let figure = self.figure;
        let (x, y) = (figure.text("x"), figure.text("y"));
        let along = self.along(cells, &[x, y]);
        let times = shown_times(figure);
        let marks = figure.optional_text("marks").map(Shown::plain);
        let log = scale(figure, "value_scale");

        let mut maps = Vec::new();
        for panel in self.panels(cells, &varying(cells, &along), name) {
            for &at in &times {
                let (name, mut apart) = (panel.name.clone(), panel.apart.clone());
                let name = at.map_or_else(|| name.clone(), |time| format!("{name}-t{}", short(time)));
                if let (Some(time), true) = (at, times.len() > 1) {
                    let comma = if apart.is_empty() { "" } else { ", " };
                    apart += &format!("{comma}t\u{a0}=\u{a0}{}", short(time));
                }
                let panel = Panel { cells: panel.cells.clone(), name, apart };
                let grid = self.grid(&panel, (x, y), marks, at, drawn);
                maps.push((panel, at, grid));
            }
        }
        // Maps of one entry are compared, and so share their colours.
        let shown = maps.iter().flat_map(|(.., grid)| &grid.values).copied();
        let shown = shown.filter(|value| value.is_finite() && (log == Scale::Linear || *value > 0.0));
        let ends = shown.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let range = match figure.optional_numbers("range") {
            Some(range) => (range[0], range[range.len() - 1]),
            None => ends.unwrap_or((0.0, 1.0)),
        };
        for (panel, at, grid) in maps {
            let chart = Chart::HeatMap(HeatMap {
                x_label: self.titled("x_label", axis_title(x)),
                y_label: self.titled("y_label", axis_title(y)),
                x_ticks: grid.columns.iter().copied().map(short).collect(),
                y_ticks: grid.rows.iter().copied().map(short).collect(),
                first_row_at_bottom: true,
                value_label: self.titled("value_label", self.value_words()),
                rows: grid.rows.len(),
                columns: grid.columns.len(),
                values: grid.values,
                value_scale: log,
                range,
                marks: grid.marks,
                mark_label: marks.and_then(|_| figure.optional_text("mark_label")).map(str::to_string),
            });
            let mut when = self.when(&[at]);
            if let Some(floor) = grid.lifted {
                when += &format!("; values under their numerical floor (up to {floor:.1e}) are drawn at it");
            }
            self.finish(panel, &along, chart, &when, &[at], drawn);
        }
    }

    /// The cells of a panel on the grid of all values of the two keys.
    fn grid(
        &self,
        panel: &Panel<'_>,
        (x, y): (&str, &str),
        marks: Option<Shown<'_>>,
        at: Option<f64>,
        drawn: &mut Drawn,
    ) -> Grid {
        let along = |key: &str| {
            let mut places: Vec<f64> = panel.cells.iter().filter_map(|cell| self.place(cell, key)).collect();
            places.sort_by(f64::total_cmp);
            places.dedup();
            places
        };
        let (columns, rows) = (along(x), along(y));
        let mut values = vec![f64::NAN; rows.len() * columns.len()];
        let mut marked = vec![false; values.len()];
        let mut taken = vec![false; values.len()];
        let mut lifted: Option<f64> = None;
        for cell in &panel.cells {
            let find = |places: &[f64], key| {
                let place = self.place(cell, key)?;
                places.iter().position(|other| *other == place)
            };
            let (Some(column), Some(row)) = (find(&columns, x), find(&rows, y)) else { continue };
            let index = row * columns.len() + column;
            if std::mem::replace(&mut taken[index], true) {
                let place = format!("{x} = {}, {y} = {}", short(columns[column]), short(rows[row]));
                drawn.complaints.push(format!("several cells share {place}; the last one is drawn"));
            }
            values[index] = median(&self.numbers(cell, self.value, at, drawn));
            let floor = self.floor(std::iter::once(*cell), &[at]);
            // Nothing below the floor is a value.
            if values[index] < floor {
                values[index] = floor;
                lifted = Some(lifted.map_or(floor, |other| other.max(floor)));
            }
            if let Some(marks) = marks {
                marked[index] = median(&self.numbers(cell, marks, at, drawn)) == 1.0;
            }
        }
        Grid { columns, rows, values, marks: marked, lifted }
    }

    /// A series through these cells at one time.
    fn through(
        &self,
        places: &[(f64, &Cell<'_>)],
        shown: Shown<'_>,
        at: Option<f64>,
        style: SeriesStyle,
        drawn: &mut Drawn,
    ) -> Series {
        let mut series = Series {
            label: String::new(),
            style,
            shade: 0.0,
            x: Vec::new(),
            median: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
        };
        for (x, cell) in places {
            let numbers = self.numbers(cell, shown, at, drawn);
            let band = Band::of(&numbers.chunks(1).collect::<Vec<_>>());
            if numbers.is_empty() {
                continue;
            }
            series.x.push(*x);
            series.median.extend(band.median);
            series.low.extend(band.low);
            series.high.extend(band.high);
        }
        series
    }

    /// The numbers of the finished runs of a cell at one time.
    fn numbers(&self, cell: &Cell<'_>, shown: Shown<'_>, at: Option<f64>, drawn: &mut Drawn) -> Vec<f64> {
        let mut number = |run: &StoredRun| match recorded(run, cell.plan, at) {
            Ok(index) => shown.at(run, index),
            Err(words) => {
                let at = at.map_or_else(String::new, |time| format!("at = {time} is no recorded time; "));
                drawn.complaints.push(format!("{at}{words}; change `at`, or record it by observe.times"));
                None
            }
        };
        cell.runs.iter().filter_map(&mut number).collect()
    }

    /// The highest floor of these cells at these times.
    fn floor<'c>(&self, cells: impl Iterator<Item = &'c Cell<'c>>, times: &[Option<f64>]) -> f64 {
        let mut highest: f64 = 0.0;
        for cell in cells {
            for (run, at) in cell.runs.iter().flat_map(|run| times.iter().map(move |at| (run, *at))) {
                let floor =
                    recorded(run, cell.plan, at).ok().and_then(|index| self.value.floor_at(run, index));
                highest = highest.max(floor.unwrap_or(0.0));
            }
        }
        highest
    }

    /// Where a cell stands on an axis: the number of its swept key, its depth, or the median of its value at the start.
    fn place(&self, cell: &Cell<'_>, key: &str) -> Option<f64> {
        match key {
            "start" => {
                let starts: Vec<f64> =
                    cell.runs.iter().filter_map(|run| self.value.absolute().at(run, 0)).collect();
                (!starts.is_empty()).then(|| median(&starts))
            }
            "encoder.widths" => Some(depth(cell.plan) as f64),
            _ => cell.plan.assignments.iter().find(|a| &*a.key == key)?.value.parse().ok(),
        }
    }

    /// The keys that vary along the axes: those on them, and those that move with them. Initialisation and seed make the
    /// values at the start.
    fn along<'k>(&self, cells: &[&'k Cell<'k>], axes: &[&'k str]) -> Vec<&'k str> {
        let all = cells.first().map(|cell| swept_keys(cell.plan)).unwrap_or_default();
        let starts =
            |key: &&str| *key == "seed" || *key == "encoder.init" || key.starts_with("encoder.init.");
        let shown: Vec<&str> = if axes.contains(&"start") {
            all.iter().copied().filter(starts).collect()
        } else {
            axes.to_vec()
        };
        let groups = grouped(cells, &shown);
        let moves_along = |key: &&str| groups.iter().all(|group| grouped(group, &[key]).len() == 1);
        let moving = all.iter().copied().filter(|key| shown.contains(key) || moves_along(key));
        if shown.is_empty() { Vec::new() } else { moving.collect() }
    }

    /// The value in words: which entry of which array.
    fn words(&self) -> String {
        let words = value_label(self.value.array());
        let spectrum = words.starts_with("singular value") || words.starts_with("eigenvalue");
        if !spectrum {
            return words;
        }
        let descending = words.starts_with("singular value");
        match (self.figure.optional_integer("rank"), descending) {
            (None, true) | (Some(1), false) => format!("smallest {words}"),
            (None, false) | (Some(1), true) => format!("largest {words}"),
            (Some(rank), _) => words.replacen("value", &format!("value {rank}"), 1),
        }
    }

    fn value_words(&self) -> String {
        let start = if self.figure.flag("relative") { " over its start" } else { "" };
        format!("{}{start}", self.words())
    }

    fn titled(&self, key: &str, words: String) -> String {
        self.figure.optional_text(key).map_or(words, str::to_string)
    }

    /// When the values were, for the caption; empty for what is one for the whole run.
    fn when(&self, times: &[Option<f64>]) -> String {
        let given: Vec<String> = times.iter().flatten().map(|time| short(*time)).collect();
        match &given[..] {
            _ if !self.value.follows_time() => String::new(),
            [] => "at the end".to_string(),
            [one] => format!("at t = {one}"),
            [earlier @ .., last] => format!("at t = {} and {last}", earlier.join(", ")),
        }
    }

    fn finish(
        &self,
        panel: Panel<'_>,
        along: &[&str],
        chart: Chart,
        when: &str,
        times: &[Option<f64>],
        drawn: &mut Drawn,
    ) {
        let mut drawing = drawing(self.experiment, self.figure, &panel.cells, along, chart, when);
        if !panel.apart.is_empty() {
            drawing.title += &format!(" ({})", panel.apart);
        }
        let finding = |cell: &&Cell<'_>| {
            let keys = swept_keys(cell.plan);
            let label = self.labels.named(cell.plan, &keys).replace('\u{a0}', " ");
            (label, finding(self.figure, cell.plan, &cell.runs, times))
        };
        let findings = panel.cells.iter().map(finding).collect();
        drawn.figures.push(Figure { name: panel.name, drawing, findings });
    }

    /// An array that no record holds is a key that was left out of what is observed, or a rank beyond the last.
    fn complain_of_absent_arrays(&self, cells: &[&Cell<'_>], drawn: &mut Drawn) {
        let keys: &[&str] = match self.figure.kind() {
            "against" => &["value", "theory", "limit"],
            "map" => &["value", "marks"],
            _ => &["value", "theory"],
        };
        let runs = || cells.iter().flat_map(|cell| &cell.runs);
        for key in keys {
            let Some(array) = self.figure.optional_text(key) else { continue };
            let shown = if *key == "marks" { Shown::plain(array) } else { self.value.from(array) };
            if runs().next().is_none() || runs().any(|run| shown.at(run, 0).is_some()) {
                continue;
            }
            drawn.complaints.push(if runs().any(|run| run.arrays.contains_key(array)) {
                let rank = self.figure.optional_integer("rank").unwrap_or(1);
                format!("{key} = \"{array}\" has no entry {rank} in any run; lower the rank")
            } else {
                format!("no run has recorded {key} = \"{array}\"; add what records it to observe.quantities")
            });
        }
    }
}

/// The numbers of a map.
struct Grid {
    columns: Vec<f64>,
    rows: Vec<f64>,
    values: Vec<f64>,
    marks: Vec<bool>,
    /// The highest floor that a value lay under and was lifted to.
    lifted: Option<f64>,
}

fn has_values(series: &Series) -> bool {
    series.median.iter().any(|value| value.is_finite())
}

fn median(values: &[f64]) -> f64 {
    Band::of(&values.chunks(1).collect::<Vec<_>>()).median.first().copied().unwrap_or(f64::NAN)
}

/// Cells with equal values of all these keys together, in the order in which the first of them come.
fn grouped<'a>(cells: &[&'a Cell<'a>], keys: &[&str]) -> Vec<Vec<&'a Cell<'a>>> {
    let values = |cell: &'a Cell<'a>| -> Vec<&'a str> {
        let swept = cell.plan.assignments.iter().filter(|a| keys.contains(&&*a.key));
        swept.map(|a| &*a.value).collect()
    };
    let mut groups: Vec<Vec<&'a Cell<'a>>> = Vec::new();
    for &cell in cells {
        match groups.iter_mut().find(|group| values(group[0]) == values(cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

/// The swept keys that have several values among these cells, without those along the axes.
fn varying<'a>(cells: &[&'a Cell<'a>], along: &[&str]) -> Vec<&'a str> {
    let all = cells.first().map(|cell| swept_keys(cell.plan)).unwrap_or_default();
    all.into_iter().filter(|key| !along.contains(key) && grouped(cells, &[key]).len() > 1).collect()
}
