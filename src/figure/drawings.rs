//! From the records of an experiment to its drawings: which arrays become which lines, and the words around them.

use super::labels::{Labels, depth, label, layer_name, short, swept_keys, value_label};
use super::parameters;
use crate::experiment::{Dynamics, Experiment, Plan, Subject, slug};
use crate::files::sha256_hex;
use crate::loss::Loss;
use crate::record::{Chart, Drawing, HeatMap, LineChart, PageWidth, Scale, Series, SeriesStyle};
use crate::run::{Band, Store, StoredRun, figure_array, finding, spectrum_name};
use crate::settings::Settings;
use std::collections::HashSet;

/// A figure ready to be drawn.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its files, without extension.
    pub name: String,
    /// What is drawn.
    pub drawing: Drawing,
    /// What it shows, one row a cell: the cell's swept values and the finding.
    pub findings: Vec<(String, String)>,
}

/// The finished repeats of one cell.
pub(super) struct Cell<'a> {
    pub plan: &'a Plan,
    pub label: String,
    pub runs: Vec<StoredRun>,
    pub planned: usize,
}

/// The drawings of `experiment` from what `store` holds, and complaints about what it lacks.
pub fn drawings(experiment: &Experiment, store: &Store) -> (Vec<Figure>, Vec<String>) {
    let mut complaints = Vec::new();
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for plan in &experiment.plans {
        if cells.last().is_none_or(|cell| cell.plan.cell != plan.cell) {
            cells.push(Cell { plan, label: label(plan), runs: Vec::new(), planned: 0 });
        }
        let Some(cell) = cells.last_mut() else { continue };
        cell.planned += 1;
        match store.load(plan) {
            Ok(run) if run.is_finished() => cell.runs.push(run),
            Ok(_) => {}
            Err(error) => complaints.push(error.to_string()),
        }
    }
    let labels = Labels::new(cells.iter().map(|cell| cell.plan).collect());
    let mut composed: Vec<Figure> = Vec::new();
    for figure in &experiment.figures {
        let name = experiment.figure_name(figure);
        match figure.kind() {
            "spectrum" => composed.push(spectrum(experiment, figure, &cells, &labels, name)),
            "against" | "map" | "over-time" => {
                let drawn = parameters::compose(experiment, figure, &cells, &labels, &name);
                composed.extend(drawn.figures);
                complaints.extend(drawn.complaints);
            }
            kind => {
                // One chart a cell: a heat map or a bundle of lines has no room for another one.
                for cell in &cells {
                    let suffix: String =
                        cell.plan.assignments.iter().map(|a| format!("-{}", slug(&a.value))).collect();
                    let name = format!("{name}{suffix}");
                    composed.extend(if kind == "alignment" {
                        alignment(experiment, figure, cell, name)
                    } else {
                        over_time(experiment, figure, cell, name)
                    });
                }
            }
        }
    }
    let mut names = HashSet::new();
    composed.retain(|figure| {
        let new = names.insert(figure.name.clone());
        if !new {
            complaints.push(format!(
                "a second figure would write {0}.svg; give its kind another name",
                figure.name
            ));
        }
        new
    });
    (composed, complaints)
}

fn last_rows<'a>(runs: &'a [StoredRun], array: &str) -> Vec<&'a [f64]> {
    runs.iter().filter_map(|run| run.last(array)).collect()
}

/// The highest floor that the repeats have at their end.
fn floor(runs: &[StoredRun], spectrum: &str) -> f64 {
    last_rows(runs, &format!("floor_{spectrum}")).iter().map(|row| row[0]).fold(0.0, f64::max)
}

fn findings<'a>(figure: &Settings, cells: impl Iterator<Item = &'a Cell<'a>>) -> Vec<(String, String)> {
    cells.map(|cell| (cell.label.clone(), finding(figure, cell.plan, &cell.runs, &[None]))).collect()
}

/// A number over the recorded times of a cell that the axis can show: median and range over repeats. None where no
/// finished run holds the number.
pub(super) fn curve(
    cell: &Cell<'_>,
    scale: Scale,
    read: impl Fn(&StoredRun, usize) -> Option<f64>,
) -> Option<(Vec<f64>, Band)> {
    let runs: Vec<&StoredRun> = cell.runs.iter().filter(|run| read(run, 0).is_some()).collect();
    // A repeat that has converged ends before the others.
    let times = runs.iter().map(|run| run.times()).min_by_key(|times| times.len())?;
    // Time 0 has no place on a logarithmic axis.
    let kept: Vec<usize> = (0..times.len()).filter(|&t| scale == Scale::Linear || times[t] > 0.0).collect();
    let rows: Vec<Vec<f64>> =
        runs.iter().map(|run| kept.iter().map(|&t| read(run, t).unwrap_or(f64::NAN)).collect()).collect();
    let band = Band::of(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Some((kept.iter().map(|&t| times[t]).collect(), band))
}

/// The scale that a key names.
pub(super) fn scale(figure: &Settings, key: &str) -> Scale {
    if figure.text(key) == "log" { Scale::Log } else { Scale::Linear }
}

fn spectrum(
    experiment: &Experiment,
    figure: &Settings,
    cells: &[Cell<'_>],
    labels: &Labels<'_>,
    name: String,
) -> Figure {
    let array = figure_array(figure);
    let of = spectrum_name(figure.text("of"));
    let keys = cells.first().map(|cell| swept_keys(cell.plan)).unwrap_or_default();
    let shades = labels.shades(&keys);
    let line = |index: usize, rows: &[&[f64]], style: SeriesStyle, label: String| {
        let band = Band::of(rows);
        Series {
            label,
            style,
            shade: shades[index],
            x: (1..=band.median.len()).map(|rank| rank as f64).collect(),
            median: band.median,
            low: band.low,
            high: band.high,
        }
    };
    let shown = || cells.iter().enumerate().filter(|(_, cell)| !cell.runs.is_empty());
    let mut series: Vec<Series> = shown()
        .map(|(index, cell)| {
            let rows = last_rows(&cell.runs, &array);
            line(index, &rows, SeriesStyle::Line, labels.joined(cell.plan, &keys))
        })
        .collect();
    let theory = figure.optional_text("theory");
    if let Some(theory) = theory {
        // A prediction of the limit has no time axis: all of it is the spectrum.
        let whole = |run: &StoredRun| run.arrays.get(theory).is_some_and(|array| array.shape.len() == 1);
        series.extend(shown().map(|(index, cell)| {
            let constants = cell.runs.iter().filter(|run| whole(run)).map(|run| &*run.arrays[theory].values);
            let changing: Vec<StoredRun> = cell.runs.iter().filter(|run| !whole(run)).cloned().collect();
            let rows: Vec<&[f64]> = constants.chain(last_rows(&changing, theory)).collect();
            line(index, &rows, SeriesStyle::Theory, String::new())
        }));
    }
    let floor = cells.iter().map(|cell| floor(&cell.runs, &of)).fold(0.0, f64::max);
    let chart = Chart::Lines(LineChart {
        x_label: "rank of the singular value".into(),
        y_label: value_label(&array),
        x_scale: Scale::Linear,
        y_scale: Scale::Log,
        ranks: true,
        legend_title: labels.title(&keys),
        series,
        theory_label: theory
            .map(|array| if array.contains("limit") { "t → ∞, theory" } else { "theory" }.into()),
        references: Vec::new(),
        floor: (floor > 0.0).then_some(floor),
    });
    let drawing = drawing(experiment, figure, &cells.iter().collect::<Vec<_>>(), &[], chart, "at the end");
    Figure { name, drawing, findings: findings(figure, cells.iter()) }
}

fn over_time(experiment: &Experiment, figure: &Settings, cell: &Cell<'_>, name: String) -> Option<Figure> {
    let array = figure_array(figure);
    let of = spectrum_name(figure.text("of"));
    let rank = cell.runs.iter().find_map(|run| run.arrays.get(&array))?.shape[1];
    let x_scale = scale(figure, "time_scale");
    let series = (0..rank).filter_map(|k| {
        let (x, band) = curve(cell, x_scale, |run, t| run.row(&array, t)?.get(k).copied())?;
        Some(Series {
            label: (k + 1).to_string(),
            style: SeriesStyle::Line,
            shade: k as f64 / rank.saturating_sub(1).max(1) as f64,
            x,
            median: band.median,
            low: band.low,
            high: band.high,
        })
    });
    let series = series.collect();
    let floor = floor(&cell.runs, &of);
    let chart = Chart::Lines(LineChart {
        x_label: "training time t".into(),
        y_label: value_label(&array),
        x_scale,
        y_scale: Scale::Log,
        ranks: false,
        legend_title: "rank".into(),
        series,
        theory_label: None,
        references: Vec::new(),
        floor: (floor > 0.0).then_some(floor),
    });
    let drawing = drawing(experiment, figure, &[cell], &[], chart, "over training");
    Some(Figure { name, drawing, findings: findings(figure, std::iter::once(cell)) })
}

fn alignment(experiment: &Experiment, figure: &Settings, cell: &Cell<'_>, name: String) -> Option<Figure> {
    let array = figure_array(figure);
    let shape = cell.runs.first()?.arrays.get(&array)?.shape.clone();
    let absolute: Vec<Vec<f64>> = last_rows(&cell.runs, &array)
        .iter()
        .map(|row| row.iter().map(|value| value.abs()).collect())
        .collect();
    let band = Band::of(&absolute.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (inner, outer) = figure.text("layers").split_once('_').unwrap_or(("1", "2"));
    let chart = Chart::HeatMap(HeatMap {
        x_label: format!("left singular vector of {}", layer_name(inner)),
        y_label: format!("right singular vector of {}", layer_name(outer)),
        x_ticks: Vec::new(),
        y_ticks: Vec::new(),
        first_row_at_bottom: false,
        value_label: format!("|A|, A = V({})ᵀ U({})", layer_name(outer), layer_name(inner)),
        rows: shape[1],
        columns: shape[2],
        values: band.median,
        value_scale: Scale::Linear,
        range: (0.0, 1.0),
        marks: Vec::new(),
        mark_label: None,
    });
    let drawing = drawing(experiment, figure, &[cell], &[], chart, "at the end");
    Some(Figure { name, drawing, findings: findings(figure, std::iter::once(cell)) })
}

/// The whole figure: `along` are the swept keys that its axes show.
pub(super) fn drawing(
    experiment: &Experiment,
    figure: &Settings,
    cells: &[&Cell<'_>],
    along: &[&str],
    chart: Chart,
    when: &str,
) -> Drawing {
    let hashes: String =
        cells.iter().flat_map(|cell| &cell.runs).map(|run| run.outcome["hash"].to_string()).collect();
    let (planned, finished) =
        cells.iter().fold((0, 0), |(p, f), cell| (p + cell.planned, f + cell.runs.len()));
    let mut caption = setting(cells, along);
    // Of a figure of one cell among several, only the caption says which.
    if let ([cell], false) = (cells, experiment.plans.iter().all(|plan| plan.cell == 0)) {
        caption += &format!("; {}", cell.label);
    }
    let seeds = experiment.repeats;
    if !when.is_empty() {
        caption += &format!(", {when}");
    }
    caption += &match seeds {
        1 => "; one seed".to_string(),
        _ if matches!(chart, Chart::HeatMap(_)) => format!("; median over {seeds} seeds"),
        _ => format!("; median and range over {seeds} seeds"),
    };
    if finished < planned {
        caption += &format!("; {} of {planned} runs ended early and are left out", planned - finished);
    }
    Drawing {
        width: match figure.optional_text("size") {
            Some("double-column") => PageWidth::DoubleColumn,
            _ => PageWidth::SingleColumn,
        },
        title: figure.optional_text("title").unwrap_or(&experiment.title).to_string(),
        // An equation does not break over two lines.
        caption: caption.replace(" = ", "\u{a0}=\u{a0}"),
        provenance: format!(
            "contraflow {} · plans {} · {finished} {}",
            env!("CARGO_PKG_VERSION"),
            &sha256_hex(hashes.as_bytes())[..12],
            if finished == 1 { "run" } else { "runs" },
        ),
        chart,
    }
}

/// Loss, noise, network, data and dynamics, in words; where the cells differ, where it is said how.
fn setting(cells: &[&Cell<'_>], along: &[&str]) -> String {
    let phrases: Vec<[String; 5]> = cells.iter().map(|cell| phrases(cell.plan)).collect();
    let Some(first) = phrases.first() else { return String::new() };
    let names = ["loss", "noise", "network", "data", "dynamics"];
    let sections = match cells[0].plan.subject {
        Subject::Layers => ["loss", "augment", "encoder", "data", "dynamics"],
        Subject::RealNetwork => ["loss", "views", "network", "data", "training"],
    };
    let merged = names.iter().zip(sections).enumerate().map(|(k, (name, section))| {
        if phrases.iter().all(|phrases| phrases[k] == first[k]) {
            return first[k].clone();
        }
        let differ = |key: &str| {
            let value = |cell: &Cell<'_>| cell.plan.assignments.iter().find(|a| &*a.key == key).cloned();
            cells.iter().any(|cell| value(cell) != value(cells[0]))
        };
        let keys = swept_keys(cells[0].plan);
        let of_section = |key: &&&str| key.split('.').next() == Some(section) && differ(key);
        let on_axes = keys.iter().filter(of_section).all(|key| along.contains(key));
        let place = match (on_axes && !along.is_empty(), along.len()) {
            (false, _) => "in the legend",
            (true, 1) => "on the axis",
            (true, _) => "on the axes",
        };
        format!("{name} as {place}")
    });
    merged.collect::<Vec<_>>().join("; ")
}

fn phrases(plan: &Plan) -> [String; 5] {
    if plan.subject == Subject::RealNetwork {
        return phrases_of_network(plan);
    }
    let (loss, reduction) = plan.loss();
    let loss = match loss {
        Loss::Euclidean(_) => "InfoNCE, Euclidean (Eq. 2)".to_string(),
        Loss::Dot(loss) => format!("InfoNCE, dot product (τ = {})", loss.temperature),
        Loss::Cosine(loss) => format!("InfoNCE, cosine (τ = {})", loss.temperature),
    };
    let reduction = match reduction {
        crate::loss::Reduction::Mean => "mean",
        crate::loss::Reduction::Sum => "sum",
    };
    let augment = plan.settings.table("augment");
    let swept = |key: &str| plan.assignments.iter().any(|a| &*a.key == key);
    let strength = match augment.kind() {
        "isotropic" | "block" if !swept("augment.variance") => {
            format!(" of variance {}", short(augment.number("variance")))
        }
        _ => String::new(),
    };
    let sides = match augment.kind() {
        "file" => "views from a file".to_string(),
        "block" => format!(
            "{}-sided noise{strength} on {} coordinates",
            augment.text("sides"),
            augment.integer("block")
        ),
        kind => format!("{}-sided {kind} noise{strength}", augment.text("sides")),
    };
    let data = plan.settings.table("data");
    let samples = match data.kind() {
        "file" => {
            data.path("path").file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        }
        kind if plan.settings.table("dynamics").kind() == "population" => format!("{kind} data, N = ∞"),
        kind if swept("data.samples") => format!("{kind} data"),
        kind => format!("{kind} data, N = {}", data.integer("samples")),
    };
    let encoder = plan.settings.table("encoder");
    let network = match (encoder.kind(), swept("encoder.widths")) {
        (kind, true) => format!("{kind} layers"),
        (kind, false) if depth(plan) == 1 => format!("one {kind} layer"),
        (kind, false) => format!("{} {kind} layers", depth(plan)),
    };
    let dynamics = match plan.dynamics() {
        Dynamics::Flow(flow) => format!("gradient flow to t = {} (rtol {:e})", flow.time_end, flow.rtol),
        Dynamics::Population { flow, batch: None } => {
            format!("population flow to t = {} (rtol {:e})", flow.time_end, flow.rtol)
        }
        Dynamics::Population { flow, batch: Some(batch) } => {
            format!("population flow with the 1/B term of B = {batch} to t = {}", flow.time_end)
        }
        Dynamics::FrozenX(flow) => format!("flow with X frozen to t = {}", flow.time_end),
        Dynamics::PrescribedX { flow, .. } => format!("flow with X prescribed to t = {}", flow.time_end),
        Dynamics::Gd { rate, steps, .. } => {
            let noun = if steps == 1 { "step" } else { "steps" };
            format!(
                "gradient descent, {steps} {noun} of {} (t = {})",
                short(rate),
                short(rate * steps as f64)
            )
        }
        Dynamics::Sgd { rate, steps, batch } => {
            format!("SGD, {steps} steps of {rate}, batch {batch} (t = {})", rate * steps as f64)
        }
    };
    [format!("{loss}, {reduction}"), sides, network, samples, dynamics]
}

fn phrases_of_network(plan: &Plan) -> [String; 5] {
    let table = |name: &str| plan.settings.table(name);
    let (data, network, training) = (table("data"), table("network"), table("training"));
    let noise = table("views").number("noise_variance");
    let views = match noise {
        0.0 => "random views".to_string(),
        noise => format!("random views with noise of variance {}", short(noise)),
    };
    let network = match network.kind() {
        kind @ ("resnet-8" | "resnet-20") => format!("{kind} of width {}", network.integer("width")),
        kind => kind.to_string(),
    };
    let images = data.optional_integer("images").map(|images| format!("{images} ")).unwrap_or_default();
    let optimiser = training.table("optimiser");
    let training = format!(
        "{} epochs of {} with rate {}, batch {}",
        training.integer("epochs"),
        optimiser.kind(),
        short(optimiser.number("rate")),
        training.integer("batch")
    );
    let loss = format!("InfoNCE, cosine (τ = {})", table("loss").number("temperature"));
    [loss, views, network, format!("{images}pictures ({})", data.kind()), training]
}
