//! Runs that a slider moves through training: spectra, alignment, eigenvalues of X and hypotheses at each recorded time.

use super::cells::{first_plans, label};
use super::charts::{colour_bar, embedded, level, live, painted, settings};
use super::number;
use super::page::Reported;
use crate::claim::{self, Held, Run, Strip};
use crate::experiment::Plan;
use crate::figure::{Labels, value_label};
use crate::files::Array;
use crate::record::{Direction, LineChart, Reference, Scale, Series, SeriesStyle};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Recorded times that a run on the page has at most, largest choice first.
const FRAMES: [usize; 6] = [61, 31, 16, 8, 4, 2];

/// What a run takes on the page besides its arrays, about.
const BESIDE: usize = 1500;

/// The runs of an experiment that are on the page.
pub(super) struct Shown {
    pub markup: Markup,
    /// The cells of which a run is there.
    pub cells: BTreeSet<usize>,
}

/// The anchor of the run of a cell.
pub(super) fn anchor(experiment: &str, cell: usize) -> String {
    format!("run-{experiment}-{cell}")
}

/// A run, ready for the page.
struct Recorded {
    cell: usize,
    label: String,
    directory: String,
    message: String,
    frames: Vec<usize>,
    times: Vec<f64>,
    arrays: BTreeMap<String, Array>,
    strips: Vec<Strip>,
}

/// The explorer of an experiment's runs: one of each cell, then further repeats, as far as `bytes` go.
pub(super) fn explorer(reported: &Reported<'_>, bytes: usize, complaints: &mut Vec<String>) -> Shown {
    let nothing = || Shown { markup: html! {}, cells: BTreeSet::new() };
    let name = &reported.experiment.name;
    let plans = in_rounds(&reported.experiment.plans);
    let firsts = first_plans(&reported.experiment.plans);
    let labels = Labels::new(firsts.clone());
    let mut room = None;
    let mut used = 0;
    let mut runs: Vec<Recorded> = Vec::new();
    let mut entries: Vec<String> = Vec::new();
    for plan in plans {
        let stored = match reported.store.load(plan) {
            Ok(stored) => stored,
            // A run that failed has no record; what is wrong with others the figures have said.
            Err(_) => continue,
        };
        let run = Run { plan: plan.clone(), stored, state: BTreeMap::new() };
        if run.times().is_empty() {
            continue;
        }
        let (frames, matrices) = *room.get_or_insert_with(|| room_for(&run, firsts.len(), bytes));
        let recorded = Recorded::of(run, &labels, frames, matrices);
        let entry = embedded(&recorded.to_json());
        if used + entry.len() > bytes {
            break;
        }
        used += entry.len();
        runs.push(recorded);
        entries.push(entry);
    }
    let Some(first) = runs.first() else {
        if firsts.iter().any(|plan| reported.store.load(plan).is_ok()) {
            complaints.push(format!("{name}: its runs are too large for the page"));
        }
        return nothing();
    };
    let cells: BTreeSet<usize> = runs.iter().map(|run| run.cell).collect();
    let complete = room.is_none_or(|(_, matrices)| matrices);
    let markup = html! {
        section class="explorer" id={ "runs-" (name) } data-experiment=(name) aria-label={ "Runs of " (name) } {
            h4 { "Through training" }
            script type="application/json" class="runs" { (PreEscaped(format!("[{}]", entries.join(",")))) }
            script type="application/json" class="words" { (PreEscaped(embedded(&words(&runs)))) }
            div class="toolbar" role="group" aria-label="Run and time" {
                label { "Run "
                    select class="run" {
                        @for (index, run) in runs.iter().enumerate() { option value=(index) { (run.label) } }
                    }
                }
                button type="button" class="play" aria-pressed="false" { "▶ Play" }
                label class="time" { "Time "
                    input type="range" class="slider" min="0" max=(first.frames.len() - 1) value=(first.frames.len() - 1) step="1";
                }
                output class="now" { "t = " (number(first.time(first.last()), 4)) }
            }
            (hypotheses(first))
            div class="panels" {
                (panel("spectra", "Singular values", &first.spectra()))
                @if let Some(chart) = first.eigenvalues() { (panel("eigenvalues", "Eigenvalues of X", &chart)) }
                @if let Some(run) = runs.iter().find(|run| run.named("alignment_").next().is_some()) { (alignment(run)) }
                @for (panel_name, title, chart) in first.curves() { (panel(panel_name, title, &chart)) }
            }
            details class="now-values" {
                summary { "Values at this time" }
                div class="scroll" { (first.table()) }
            }
            p class="small" {
                (runs.len()) " of " (reported.experiment.plans.len()) " runs, each at up to "
                (runs.iter().map(|run| run.frames.len()).max().unwrap_or(0)) " of its recorded times"
                @if !complete { ", without the alignment of layers, which is too large for the page" }
                ". Now: " code class="directory" { (first.directory) } ", " span class="message" { (first.message) } "."
            }
        }
    };
    Shown { markup, cells }
}

/// The first repeat of every cell, then the second of every cell, and so on.
fn in_rounds(plans: &[Plan]) -> Vec<&Plan> {
    let mut round = 0;
    let mut with_round: Vec<(usize, &Plan)> = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        round = if index > 0 && plans[index - 1].cell == plan.cell { round + 1 } else { 0 };
        with_round.push((round, plan));
    }
    with_round.sort_by_key(|(round, _)| *round);
    with_round.into_iter().map(|(_, plan)| plan).collect()
}

/// Whether the page shows the array of this name.
fn is_shown(name: &str) -> bool {
    let of_spectra = ["sigma_", "floor_", "effective_rank_"].iter().any(|prefix| name.starts_with(prefix));
    (of_spectra && name != "sigma_along_bias") || matches!(name, "loss" | "eig_x") || is_alignment(name)
}

fn is_alignment(name: &str) -> bool {
    name.strip_prefix("alignment_")
        .is_some_and(|layers| layers.starts_with(|c: char| c.is_ascii_digit() || c == 'p' || c == 'w'))
}

/// How many frames of such runs have room, and whether matrices have.
fn room_for(run: &Run, runs: usize, bytes: usize) -> (usize, bool) {
    let numbers = |matrices: bool| -> usize {
        let shown =
            run.stored.arrays.iter().filter(|(name, _)| is_shown(name) && (matrices || !is_alignment(name)));
        shown.map(|(_, array)| array.shape[1..].iter().product::<usize>()).sum::<usize>() + 1
    };
    // Four bytes a number, four letters for three bytes.
    let cost =
        |frames: usize, matrices: bool| numbers(matrices) * frames.min(run.times().len()) * 16 / 3 + BESIDE;
    for matrices in [true, false] {
        if let Some(frames) = FRAMES.into_iter().find(|&frames| runs * cost(frames, matrices) <= bytes) {
            return (frames, matrices);
        }
    }
    // Not all of them, then, and of those that have room a few times.
    (FRAMES[3], cost(FRAMES[3], true) <= bytes)
}

impl Recorded {
    fn of(run: Run, labels: &Labels<'_>, frames: usize, matrices: bool) -> Recorded {
        let count = run.times().len();
        let frames = frames.min(count);
        let frames: Vec<usize> = (0..frames).map(|k| k * (count - 1) / (frames - 1).max(1)).collect();
        let mut strips = claim::strips(&run);
        for strip in &mut strips {
            strip.held = thinned(&strip.held, &frames);
        }
        let cell = label(labels, &run.plan);
        let repeat = format!("repeat {}", run.plan.seed.repeat);
        let follows: BTreeSet<String> =
            run.stored.arrays.keys().filter(|name| run.stored.has_time_axis(name)).cloned().collect();
        Recorded {
            cell: run.plan.cell,
            label: if cell.is_empty() { repeat } else { format!("{cell}, {repeat}") },
            directory: run.plan.directory_name(),
            message: run.stored.outcome["message"].as_str().unwrap_or_default().to_string(),
            times: run.times().to_vec(),
            frames,
            strips,
            arrays: run
                .stored
                .arrays
                .into_iter()
                .filter(|(name, _)| {
                    follows.contains(name) && is_shown(name) && (matrices || !is_alignment(name))
                })
                .collect(),
        }
    }

    fn last(&self) -> usize {
        self.frames[self.frames.len() - 1]
    }

    fn time(&self, frame: usize) -> f64 {
        self.times[frame]
    }

    fn row(&self, name: &str, time: usize) -> &[f64] {
        let Some(array) = self.arrays.get(name) else { return &[] };
        let length: usize = array.shape[1..].iter().product();
        &array.values[time * length..(time + 1) * length]
    }

    fn named(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    fn to_json(&self) -> Value {
        let packed = |values: &mut dyn Iterator<Item = f64>| {
            let bytes: Vec<u8> = values.flat_map(|value| (value as f32).to_le_bytes()).collect();
            STANDARD.encode(bytes)
        };
        let arrays: Map<String, Value> = self
            .arrays
            .iter()
            .map(|(name, array)| {
                let mut values = self.frames.iter().flat_map(|&frame| self.row(name, frame).iter().copied());
                (name.clone(), json!([array.shape[1..], packed(&mut values)]))
            })
            .collect();
        let strips: Vec<Value> = self
            .strips
            .iter()
            .map(|strip| {
                json!([strip.condition.name, strip.condition.of, letters(&strip.held), told(strip, self)])
            })
            .collect();
        json!({
            "cell": self.cell,
            "label": self.label,
            "directory": self.directory,
            "message": self.message,
            "times": self.frames.iter().map(|&frame| self.times[frame]).collect::<Vec<_>>(),
            "arrays": arrays,
            "hypotheses": strips,
        })
    }

    /// The spectra at the end.
    fn spectra(&self) -> LineChart {
        let names: Vec<&str> = self.named("sigma_").collect();
        let last = self.last();
        let series = names.iter().enumerate().map(|(index, name)| {
            let label = in_legend(name);
            let shade = index as f64 / names.len().saturating_sub(1).max(1) as f64;
            over_ranks(label, shade, self.row(name, last))
        });
        LineChart {
            x_label: "rank".to_string(),
            y_label: "singular value".to_string(),
            y_scale: Scale::Log,
            ranks: true,
            legend_title: "spectrum of".to_string(),
            ..chart(series.collect())
        }
    }

    fn eigenvalues(&self) -> Option<LineChart> {
        self.arrays.get("eig_x")?;
        let series = over_ranks(in_legend("eig_x"), 0.0, self.row("eig_x", self.last()));
        Some(LineChart {
            x_label: "index, ascending".to_string(),
            y_label: "eigenvalue of X".to_string(),
            ranks: true,
            references: vec![Reference {
                direction: Direction::Y,
                value: 0.0,
                label: String::new(),
                widens_axis: true,
            }],
            ..chart(vec![series])
        })
    }

    /// Loss and effective ranks over time.
    fn curves(&self) -> Vec<(&'static str, &'static str, LineChart)> {
        let line = |name: &str, label: String, shade: f64| Series {
            label,
            style: SeriesStyle::Line,
            shade,
            x: self.frames.iter().map(|&frame| self.times[frame]).collect(),
            median: self.frames.iter().map(|&frame| self.row(name, frame)[0]).collect(),
            low: Vec::new(),
            high: Vec::new(),
        };
        let over_time = |y_label: &str, series: Vec<Series>| LineChart {
            x_label: "training time t".to_string(),
            y_label: y_label.to_string(),
            x_scale: Scale::Log,
            ..chart(series)
        };
        let mut curves = Vec::new();
        if self.arrays.contains_key("loss") {
            curves.push(("loss", "Loss", over_time("loss", vec![line("loss", in_legend("loss"), 0.0)])));
        }
        let ranks: Vec<&str> = self.named("effective_rank_").collect();
        if !ranks.is_empty() {
            let last = ranks.len().saturating_sub(1).max(1) as f64;
            let series = ranks
                .iter()
                .enumerate()
                .map(|(index, name)| line(name, in_legend(name), index as f64 / last));
            let series = series.collect();
            let chart = LineChart {
                legend_title: "effective rank of".to_string(),
                ..over_time("effective rank", series)
            };
            curves.push(("ranks", "Effective ranks", chart));
        }
        curves
    }

    /// Spectra and eigenvalues at the end, a row a rank.
    fn table(&self) -> Markup {
        let names: Vec<&str> = self.named("sigma_").chain(self.named("eig_x")).collect();
        let last = self.last();
        let rows = names.iter().map(|name| self.row(name, last).len()).max().unwrap_or(0);
        html! {
            table class="now-table" {
                thead { tr { th scope="col" { "rank" } @for name in &names { th scope="col" data-array=(name) { (value_label(name)) } } } }
                tbody {
                    @for rank in 0..rows {
                        tr {
                            th scope="row" { (rank + 1) }
                            @for name in &names { td { @if let Some(value) = self.row(name, last).get(rank) { (number(*value, 5)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn chart(series: Vec<Series>) -> LineChart {
    LineChart {
        x_label: String::new(),
        y_label: String::new(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        ranks: false,
        legend_title: String::new(),
        series,
        theory_label: None,
        references: Vec::new(),
        floor: None,
    }
}

/// A row of an array over its index, from 1.
fn over_ranks(label: String, shade: f64, row: &[f64]) -> Series {
    Series {
        label,
        style: SeriesStyle::Line,
        shade,
        x: (1..=row.len()).map(|rank| rank as f64).collect(),
        median: row.to_vec(),
        low: Vec::new(),
        high: Vec::new(),
    }
}

/// An array in a legend whose title says the rest.
fn in_legend(name: &str) -> String {
    match name.strip_prefix("alignment_") {
        Some(layers) => {
            let (inner, outer) = layers.split_once('_').unwrap_or(("1", "2"));
            format!("layers {inner} and {outer}")
        }
        None => value_label(name).replace("singular value of ", "").replace("effective rank of ", ""),
    }
}

/// Words for the arrays of all runs: in legends, and as titles of columns.
fn words(runs: &[Recorded]) -> Value {
    let mut words = Map::new();
    for name in runs.iter().flat_map(|run| run.arrays.keys()) {
        words.insert(name.clone(), json!(in_legend(name)));
        words.insert(format!("title {name}"), json!(value_label(name)));
    }
    Value::Object(words)
}

/// A chart that the script draws and moves.
fn panel(kind: &str, title: &str, chart: &LineChart) -> Markup {
    html! {
        figure class="chart panel" data-panel=(kind) {
            figcaption { strong { (title) } }
            script type="application/json" class="settings" { (PreEscaped(embedded(&settings(chart)))) }
            (live(title, chart))
        }
    }
}

/// |A| of two adjacent layers at the end.
fn alignment(run: &Recorded) -> Markup {
    let names: Vec<&str> = run.named("alignment_").collect();
    let Some(name) = names.first() else { return html! {} };
    let row = run.row(name, run.last());
    let (rows, columns) = (run.arrays[*name].shape[1], run.arrays[*name].shape[2]);
    html! {
        figure class="panel heat-map" data-panel="alignment" {
            figcaption { strong { "Alignment |A| of adjacent layers" } }
            div class="toolbar" {
                label { "of " select class="layers" { @for name in &names { option value=(name) { (in_legend(name)) } } } }
            }
            div class="scroll" {
                table class="heat square" tabindex="0" aria-label="|A|: right singular vectors of the outer layer down, left ones of the inner layer across" data-low="0" data-high="1" data-scale="linear" {
                    tbody {
                        @for i in 0..rows {
                            tr {
                                @for j in 0..columns {
                                    @let value = row[i * columns + j].abs();
                                    td style=(painted(level(value, (0.0, 1.0), Scale::Linear))) { (number(value, 2)) }
                                }
                            }
                        }
                    }
                }
            }
            (colour_bar("|A|", (0.0, 1.0), Scale::Linear))
            p class="readout" role="status" { "Point at a cell." }
        }
    }
}

/// At each of `frames` the worst of what was said since the one before.
fn thinned(held: &[Held], frames: &[usize]) -> Vec<Held> {
    let mut start = 0;
    frames
        .iter()
        .map(|&frame| {
            let since = &held[start.min(frame)..=frame];
            start = frame + 1;
            let any = |what: Held| since.contains(&what);
            if any(Held::No) {
                Held::No
            } else if any(Held::Unresolved) {
                Held::Unresolved
            } else {
                Held::Yes
            }
        })
        .collect()
}

fn letters(held: &[Held]) -> String {
    held.iter()
        .map(|held| match held {
            Held::Yes => 'y',
            Held::No => 'n',
            Held::Unresolved => 'u',
        })
        .collect()
}

/// The hypotheses over the recorded times, each as a strip under the slider.
fn hypotheses(run: &Recorded) -> Markup {
    html! {
        @if !run.strips.is_empty() {
            div class="hypotheses" {
                p class="small" {
                    "Hypotheses over the recorded times: "
                    span class="sample y" {} " hold, " span class="sample n" {} " fail, "
                    span class="sample u" {} " too close to the numerical floor to tell."
                }
                @for strip in &run.strips {
                    @let told = told(strip, run);
                    div class="hypothesis" {
                        span class="name" { (strip.condition.name) " " span class="small" { "(" (strip.condition.of) ")" } }
                        span class="strip" role="img" aria-label=(told) {
                            @for (letter, length) in stretches(&letters(&strip.held)) {
                                span class=(letter) style={ "flex:" (length) } {}
                            }
                            span class="cursor" aria-hidden="true" {}
                        }
                        span class="told small" { (told) }
                    }
                }
            }
        }
    }
}

/// Equal letters beside each other, with their number.
fn stretches(letters: &str) -> Vec<(char, usize)> {
    let mut found: Vec<(char, usize)> = Vec::new();
    for letter in letters.chars() {
        match found.last_mut() {
            Some((last, length)) if *last == letter => *length += 1,
            _ => found.push((letter, 1)),
        }
    }
    found
}

/// A strip in words; the script says the same of other runs.
fn told(strip: &Strip, run: &Recorded) -> String {
    let count = |what: Held| strip.held.iter().filter(|held| **held == what).count();
    let (fails, unresolved) = (count(Held::No), count(Held::Unresolved));
    match strip.held.iter().position(|held| *held == Held::No) {
        Some(first) => format!(
            "fails at {fails} of {}, first t = {}",
            strip.held.len(),
            number(run.time(run.frames[first]), 3)
        ),
        None if unresolved > 0 => format!("not known at {unresolved} of {}", strip.held.len()),
        None => "holds throughout".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Held::{No, Unresolved, Yes};

    #[test]
    fn a_failure_between_two_frames_is_not_lost() {
        let held = [Yes, Yes, No, Yes, Yes, Unresolved, Yes];
        assert_eq!(thinned(&held, &[0, 3, 6]), [Yes, No, Unresolved]);
        assert_eq!(thinned(&held, &[0, 1, 2, 3, 4, 5, 6]), held);
    }

    #[test]
    fn stretches_are_as_long_as_the_letters_are_equal() {
        assert_eq!(stretches("yynuu"), [('y', 2), ('n', 1), ('u', 2)]);
        assert!(stretches("").is_empty());
    }

    #[test]
    fn only_alignment_matrices_are_matrices() {
        assert!(is_alignment("alignment_1_2") && is_alignment("alignment_2_p1"));
        assert!(!is_alignment("alignment_score_1_2") && !is_alignment("alignment_resolved_1_2"));
        assert!(is_shown("floor_eig_x") && !is_shown("imbalance_1_2"));
    }
}
