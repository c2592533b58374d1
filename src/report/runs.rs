//! Runs that a slider moves through training: spectra, alignment, eigenvalues of X and hypotheses at each recorded time.

use super::cells::{first_plans, label};
use super::page::Reported;
use crate::claim::{self, Held, Run, Strip};
use crate::experiment::Plan;
use crate::figure::{Labels, value_label};
use crate::files::Array;
use crate::page::{self, embedded, in_legend, number, panel};
use crate::record::{LineChart, Series, SeriesStyle};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Recorded times that a run on the page has at most, largest choice first.
const FRAMES: [usize; 11] = [61, 46, 31, 23, 16, 12, 8, 6, 4, 3, 2];

/// What a run takes on the page besides its arrays, about.
const BESIDE: usize = 2000;

/// Entries of a matrix that is shown as a table of cells.
const LARGEST_MATRIX: usize = 64 * 64;

/// The runs of an experiment that are on the page.
pub(super) struct Shown {
    pub markup: Markup,
    /// The cells of which a run is there.
    pub cells: BTreeSet<usize>,
}

/// The anchor of the run of a cell.
pub(super) fn anchor(id: &str, cell: usize) -> String {
    format!("run-{id}-{cell}")
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
    /// At all recorded times, not at the frames alone.
    strips: Vec<Strip>,
    /// Whether matrices were recorded that have no room here.
    lacks_matrices: bool,
}

/// The explorer of an experiment's runs: one of each cell, then further repeats, as far as `bytes` go. `id` is the experiment's on
/// this page.
pub(super) fn explorer(reported: &Reported<'_>, id: &str, bytes: usize) -> Shown {
    let plans = in_rounds(&reported.experiment.plans);
    let firsts = first_plans(&reported.experiment.plans);
    let labels = Labels::new(firsts.clone());
    let mut left: Option<usize> = None;
    let mut share = 0;
    let mut runs: Vec<Recorded> = Vec::new();
    let mut entries: Vec<String> = Vec::new();
    let mut left_out = 0;
    for plan in &plans {
        // What is wrong with a run that cannot be read is said where it was looked for first.
        let Ok(stored) = reported.store.load(plan) else { continue };
        let run = Run { plan: (*plan).clone(), stored, state: BTreeMap::new() };
        if run.times().is_empty() {
            continue;
        }
        // Panels and tables take their part before the runs do.
        let room = *left.get_or_insert_with(|| {
            let first = Recorded::of(&run, &labels, FRAMES[FRAMES.len() - 1], true);
            let around = section(id, reported, std::slice::from_ref(&first), &[], 0).0.len();
            let room = bytes.saturating_sub(around);
            share = room / firsts.len().max(1);
            room
        });
        let (frames, matrices) = room_for(&run, share);
        let recorded = Recorded::of(&run, &labels, frames, matrices);
        let entry = embedded(&recorded.to_json());
        let size = entry.len() + recorded.label.len() + 40;
        if size > room {
            left_out += 1;
            continue;
        }
        left = Some(room - size);
        runs.push(recorded);
        entries.push(entry);
    }
    if runs.is_empty() {
        let markup = html! { @if left_out > 0 { p { "The runs are too large for this page." } } };
        return Shown { markup, cells: BTreeSet::new() };
    }
    Shown {
        cells: runs.iter().map(|run| run.cell).collect(),
        markup: section(id, reported, &runs, &entries, left_out),
    }
}

/// The explorer with these runs, of which `entries` are what the script reads.
fn section(
    id: &str,
    reported: &Reported<'_>,
    runs: &[Recorded],
    entries: &[String],
    left_out: usize,
) -> Markup {
    let first = &runs[0];
    // What only some runs have recorded is there for them.
    let eigenvalues = runs.iter().find_map(Recorded::eigenvalues);
    let curve = |kind: &str| {
        runs.iter().find_map(|run| run.curves().into_iter().find(|(panel_kind, ..)| *panel_kind == kind))
    };
    let without_matrices = runs.iter().filter(|run| run.lacks_matrices).count();
    html! {
        section class="explorer" id={ "runs-" (id) } data-experiment=(id) aria-label={ "Runs of " (reported.experiment.name) } {
            h4 { "Through training" }
            script type="application/json" class="runs" { (PreEscaped(format!("[{}]", entries.join(",")))) }
            script type="application/json" class="words" { (PreEscaped(embedded(&words(runs)))) }
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
                label { input type="checkbox" class="fixed" checked; " axes for all times" }
            }
            p class="small" {
                "Shown: " span class="label" { (first.label) } " at " span class="now" { "t = " (number(first.time(first.last()), 4)) }
                "; ended: " span class="message" { (first.message) } "; record: " code class="directory" { (first.directory) } "."
            }
            @if runs.iter().any(|run| !run.strips.is_empty()) { (hypotheses(first)) }
            div class="panels" {
                (panel("spectra", "Singular values", &first.spectra()))
                @if let Some(chart) = eigenvalues { (panel("eigenvalues", "Eigenvalues of X", &chart)) }
                @if let Some(markup) = runs.iter().find_map(Recorded::alignment) { (markup) }
                @for kind in ["loss", "ranks"] {
                    @if let Some((kind, title, chart)) = curve(kind) { (panel(kind, title, &chart)) }
                }
            }
            p class="small" { (LEGEND) }
            details class="now-values" {
                summary { "Values at this time" }
                div class="scroll" { (first.table()) }
            }
            p class="small" {
                (runs.len()) " of " (reported.planned.len()) " runs are on this page, each at up to "
                (runs.iter().map(|run| run.frames.len()).max().unwrap_or(0)) " of its recorded times."
                @if left_out > 0 { " " (left_out) " had no room." }
                @if without_matrices > 0 { " Of " (without_matrices) " the alignment of layers is too large." }
            }
        }
    }
}

/// What the panels' names stand for.
const LEGEND: &str = "C is the covariance of the embeddings z, W the product of all layers, X the matrix of G = -W X. Nothing below its numerical floor is a value.";

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

/// How many frames of such a run have room in so many bytes, and whether matrices have.
fn room_for(run: &Run, bytes: usize) -> (usize, bool) {
    let numbers = |matrices: bool| -> usize {
        let shown = run.stored.arrays.iter().filter(|(name, array)| {
            is_shown(name) && has_its_shape(name, array) && (matrices || !is_alignment(name))
        });
        shown.map(|(_, array)| array.shape[1..].iter().product::<usize>()).sum::<usize>() + 1
    };
    // Four bytes a number, four letters for three bytes.
    let cost =
        |frames: usize, matrices: bool| numbers(matrices) * frames.min(run.times().len()) * 16 / 3 + BESIDE;
    for matrices in [true, false] {
        if let Some(frames) = FRAMES.into_iter().find(|&frames| cost(frames, matrices) <= bytes) {
            return (frames, matrices);
        }
    }
    (FRAMES[FRAMES.len() - 1], false)
}

/// Whether an array has as many dimensions as its name says, and something in each.
fn has_its_shape(name: &str, array: &Array) -> bool {
    let dimensions = match name {
        name if is_alignment(name) => 3,
        name if name.starts_with("sigma_") || name == "eig_x" => 2,
        _ => 1,
    };
    array.shape.len() == dimensions && array.shape.iter().all(|length| *length > 0)
}

impl Recorded {
    fn of(run: &Run, labels: &Labels<'_>, frames: usize, matrices: bool) -> Recorded {
        let count = run.times().len();
        let frames = frames.min(count);
        let frames: Vec<usize> = (0..frames).map(|k| k * (count - 1) / (frames - 1).max(1)).collect();
        let strips = claim::strips(run);
        let cell = label(labels, &run.plan);
        let repeat = format!("repeat {}", run.plan.seed.repeat);
        let ended = run.stored.outcome["message"].as_str().unwrap_or_default().to_string();
        let early = if run.stored.is_finished() { "" } else { " (ended early)" };
        let kept = |name: &str, array: &Array| {
            run.stored.has_time_axis(name) && is_shown(name) && has_its_shape(name, array)
        };
        let has_room = |name: &str, array: &Array| {
            !is_alignment(name) || matrices && array.shape[1] * array.shape[2] <= LARGEST_MATRIX
        };
        let all = || run.stored.arrays.iter().filter(|(name, array)| kept(name, array));
        Recorded {
            cell: run.plan.cell,
            label: if cell.is_empty() {
                format!("{repeat}{early}")
            } else {
                format!("{cell}, {repeat}{early}")
            },
            directory: run.plan.directory_name(),
            message: ended,
            times: run.times().to_vec(),
            frames,
            strips,
            lacks_matrices: all().any(|(name, array)| !has_room(name, array)),
            arrays: all()
                .filter(|(name, array)| has_room(name, array))
                .map(|(name, array)| (name.clone(), array.clone()))
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
        let packed = |values: Vec<f64>| {
            // Numbers that are too large or too small for 32 bits are carried in 64.
            let fits =
                |value: &f64| *value == 0.0 || !value.is_finite() || (1e-37..1e38).contains(&value.abs());
            if values.iter().all(fits) {
                let bytes: Vec<u8> = values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
                (STANDARD.encode(bytes), 4)
            } else {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (STANDARD.encode(bytes), 8)
            }
        };
        let arrays: Map<String, Value> = self
            .arrays
            .iter()
            .map(|(name, array)| {
                let values = self.frames.iter().flat_map(|&frame| self.row(name, frame).iter().copied());
                let (data, bytes) = packed(values.collect());
                (name.clone(), json!([array.shape[1..], data, bytes]))
            })
            .collect();
        let strips: Vec<Value> = self
            .strips
            .iter()
            .map(|strip| {
                json!([
                    strip.condition.name,
                    strip.condition.of,
                    letters(&thinned(&strip.held, &self.frames)),
                    told(strip, &self.times)
                ])
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
        page::spectra(series.collect())
    }

    fn eigenvalues(&self) -> Option<LineChart> {
        self.arrays.get("eig_x")?;
        let series = over_ranks(in_legend("eig_x"), 0.0, self.row("eig_x", self.last()));
        Some(page::eigenvalues(vec![series]))
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
        let mut curves = Vec::new();
        if self.arrays.contains_key("loss") {
            curves.push(("loss", "Loss", page::loss(vec![line("loss", in_legend("loss"), 0.0)])));
        }
        let ranks: Vec<&str> = self.named("effective_rank_").collect();
        if !ranks.is_empty() {
            let last = ranks.len().saturating_sub(1).max(1) as f64;
            let series = ranks
                .iter()
                .enumerate()
                .map(|(index, name)| line(name, in_legend(name), index as f64 / last));
            curves.push(("ranks", "Effective ranks", page::effective_ranks(series.collect())));
        }
        curves
    }

    /// |A| at the end, where there are adjacent layers.
    fn alignment(&self) -> Option<Markup> {
        let names: Vec<&str> = self.named("alignment_").collect();
        let shape = &self.arrays[*names.first()?].shape;
        Some(page::alignment(&names, (shape[1], shape[2]), self.row(names[0], self.last())))
    }

    /// A number of a spectrum: nothing below the floor is a value.
    fn shown(&self, name: &str, time: usize, value: f64) -> String {
        let floor = name.strip_prefix("sigma_").and_then(|of| self.row(&format!("floor_{of}"), time).first());
        match floor {
            Some(&floor) if value < floor => format!("< {}", number(floor, 2)),
            _ => number(value, 5),
        }
    }

    /// Spectra and eigenvalues at the end, a row a rank.
    fn table(&self) -> Markup {
        let names: Vec<&str> = self.named("sigma_").chain(self.named("eig_x")).collect();
        let last = self.last();
        let rows = names.iter().map(|name| self.row(name, last).len()).max().unwrap_or(0);
        html! {
            table class="now-table" {
                thead { tr { th scope="col" { "k" } @for name in &names { th scope="col" data-array=(name) { (value_label(name)) } } } }
                tbody {
                    @for rank in 0..rows {
                        tr {
                            th scope="row" { (rank + 1) }
                            @for name in &names { td { @if let Some(value) = self.row(name, last).get(rank) { (self.shown(name, last, *value)) } } }
                        }
                    }
                }
            }
        }
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

/// Words for the arrays of all runs: in legends, and as titles of columns.
fn words(runs: &[Recorded]) -> Value {
    let mut words = Map::new();
    for name in runs.iter().flat_map(|run| run.arrays.keys()) {
        words.insert(name.clone(), json!(in_legend(name)));
        words.insert(format!("title {name}"), json!(value_label(name)));
    }
    Value::Object(words)
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
                    span class="sample u" {} " cannot be told: too close to the numerical floor, or no number. A part stands for all times since the one before, and shows the worst of them."
                }
                @for strip in &run.strips {
                    @let told = told(strip, &run.times);
                    @let held = letters(&thinned(&strip.held, &run.frames));
                    div class="hypothesis" {
                        span class="name" { (strip.condition.name) " " span class="small" { "(" (strip.condition.of) ")" } }
                        span class="strip" role="img" aria-label=(told) {
                            @for (letter, length) in stretches(&held) {
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

/// A strip in words, of all recorded times.
fn told(strip: &Strip, times: &[f64]) -> String {
    let count = |what: Held| strip.held.iter().filter(|held| **held == what).count();
    let (fails, unresolved, all) = (count(Held::No), count(Held::Unresolved), strip.held.len());
    match strip.held.iter().position(|held| *held == Held::No) {
        Some(first) => format!("fails at {fails} of {all} times, first t = {}", number(times[first], 3)),
        None if unresolved > 0 => format!("cannot be told at {unresolved} of {all} times"),
        None => format!("holds at all {all} times"),
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
    fn a_strip_is_told_of_all_times_and_not_of_frames() {
        let condition = claim::CONDITIONS[0];
        let strip = |held: &[Held]| told(&Strip { condition, held: held.to_vec() }, &[0.0, 0.5, 1.0]);
        assert_eq!(strip(&[Yes, No, Yes]), "fails at 1 of 3 times, first t = 0.500");
        assert_eq!(strip(&[Yes, Unresolved, Yes]), "cannot be told at 1 of 3 times");
        assert_eq!(strip(&[Yes, Yes, Yes]), "holds at all 3 times");
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
