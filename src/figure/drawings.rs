//! From the records of an experiment to its drawings: which arrays become which lines, and the words around them.

use crate::experiment::{Assignment, Dynamics, Experiment, Plan, slug};
use crate::files::sha256_hex;
use crate::loss::Loss;
use crate::record::{Chart, Drawing, HeatMap, LineChart, Scale, Series, SeriesStyle};
use crate::run::{Band, Store, StoredRun, figure_array, finding, spectrum_name};
use crate::settings::Settings;

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
struct Cell<'a> {
    plan: &'a Plan,
    label: String,
    runs: Vec<StoredRun>,
    planned: usize,
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
    let mut composed = Vec::new();
    for figure in &experiment.figures {
        let name = experiment.figure_name(figure);
        if figure.kind() == "spectrum" {
            composed.push(spectrum(experiment, figure, &cells, name));
        } else {
            // One chart a cell: a heat map or a bundle of lines has no room for another one.
            for cell in &cells {
                let suffix: String =
                    cell.plan.assignments.iter().map(|a| format!("-{}", slug(&a.value))).collect();
                let name = format!("{name}{suffix}");
                composed.extend(if figure.kind() == "alignment" {
                    alignment(experiment, figure, cell, name)
                } else {
                    over_time(experiment, figure, cell, name)
                });
            }
        }
    }
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
    cells.map(|cell| (cell.label.clone(), finding(figure, &cell.runs.iter().collect::<Vec<_>>()))).collect()
}

fn spectrum(experiment: &Experiment, figure: &Settings, cells: &[Cell<'_>], name: String) -> Figure {
    let array = figure_array(figure);
    let of = spectrum_name(figure.text("of"));
    let last = cells.len().saturating_sub(1).max(1) as f64;
    let by_depth = depth_tells(cells);
    let series = cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| !cell.runs.is_empty())
        .map(|(index, cell)| {
            let band = Band::of(&last_rows(&cell.runs, &array));
            Series {
                label: short_label(cell.plan, by_depth),
                style: SeriesStyle::Line,
                shade: index as f64 / last,
                x: (1..=band.median.len()).map(|rank| rank as f64).collect(),
                median: band.median,
                low: band.low,
                high: band.high,
            }
        })
        .collect();
    let floor = cells.iter().map(|cell| floor(&cell.runs, &of)).fold(0.0, f64::max);
    let legend_title = cells.first().map_or_else(String::new, |cell| legend_title(cell.plan, by_depth));
    let chart = Chart::Lines(LineChart {
        x_label: "rank of the singular value".into(),
        y_label: value_label(figure.text("of")),
        x_scale: Scale::Linear,
        y_scale: Scale::Log,
        ranks: true,
        legend_title,
        series,
        theory_label: None,
        references: Vec::new(),
        floor: (floor > 0.0).then_some(floor),
    });
    let drawing = drawing(experiment, figure, cells.iter().collect(), chart, "at the end");
    Figure { name, drawing, findings: findings(figure, cells.iter()) }
}

fn over_time(experiment: &Experiment, figure: &Settings, cell: &Cell<'_>, name: String) -> Option<Figure> {
    let array = figure_array(figure);
    let of = spectrum_name(figure.text("of"));
    let arrays: Vec<_> = cell.runs.iter().filter_map(|run| run.arrays.get(&array)).collect();
    let times = &cell.runs.first()?.arrays.get("time")?.values;
    let count = arrays.iter().map(|array| array.shape[0]).min()?.min(times.len());
    let rank = arrays.first()?.shape[1];
    let log = figure.text("time_scale") == "log";
    // Time 0 has no place on a logarithmic axis.
    let kept: Vec<usize> = (0..count).filter(|&t| !log || times[t] > 0.0).collect();
    let series = (0..rank)
        .map(|k| {
            let rows: Vec<Vec<f64>> = arrays
                .iter()
                .map(|array| kept.iter().map(|t| array.values[t * rank + k]).collect())
                .collect();
            let band = Band::of(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
            Series {
                label: (k + 1).to_string(),
                style: SeriesStyle::Line,
                shade: k as f64 / rank.saturating_sub(1).max(1) as f64,
                x: kept.iter().map(|&t| times[t]).collect(),
                median: band.median,
                low: band.low,
                high: band.high,
            }
        })
        .collect();
    let floor = floor(&cell.runs, &of);
    let chart = Chart::Lines(LineChart {
        x_label: "training time t".into(),
        y_label: value_label(figure.text("of")),
        x_scale: if log { Scale::Log } else { Scale::Linear },
        y_scale: Scale::Log,
        ranks: false,
        legend_title: "rank".into(),
        series,
        theory_label: None,
        references: Vec::new(),
        floor: (floor > 0.0).then_some(floor),
    });
    let drawing = drawing(experiment, figure, vec![cell], chart, "over training");
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
    let drawing = drawing(experiment, figure, vec![cell], chart, "at the end");
    Some(Figure { name, drawing, findings: findings(figure, std::iter::once(cell)) })
}

fn subscript(label: &str) -> String {
    label.chars().map(|c| c.to_digit(10).and_then(|d| char::from_u32(0x2080 + d)).unwrap_or(c)).collect()
}

/// W₁ for "1", P₁ for "p1".
fn layer_name(label: &str) -> String {
    match label.strip_prefix('p') {
        Some(index) => format!("P{}", subscript(index)),
        None => format!("W{}", subscript(label)),
    }
}

fn value_label(of: &str) -> String {
    match of {
        "embedding" => "singular value of C".to_string(),
        "representation" => "singular value of Cov(r)".to_string(),
        "end-to-end" => "singular value of W".to_string(),
        layer => {
            let (letter, index) = layer.split_at(1);
            format!("singular value of {}{}", letter.to_uppercase(), subscript(index))
        }
    }
}

fn depth(plan: &Plan) -> usize {
    plan.settings.table("encoder").integers("widths").len() - 1
}

/// The swept values of a cell, with their keys.
fn label(plan: &Plan) -> String {
    plan.assignments.iter().map(|a| format!("{} = {}", a.key, a.value)).collect::<Vec<_>>().join(", ")
}

/// Whether depth alone tells the cells apart: all layers of all cells are equally wide, and no two cells equally deep.
fn depth_tells(cells: &[Cell<'_>]) -> bool {
    let widths: Vec<&[usize]> =
        cells.iter().map(|cell| cell.plan.settings.table("encoder").integers("widths")).collect();
    let first = widths.first().and_then(|widths| widths.first());
    let even = widths.iter().flat_map(|widths| widths.iter()).all(|width| Some(width) == first);
    let depths: std::collections::BTreeSet<usize> = widths.iter().map(|widths| widths.len()).collect();
    even && depths.len() == widths.len()
}

/// The swept values of a cell, as short as a legend needs them.
fn short_label(plan: &Plan, by_depth: bool) -> String {
    let one = |a: &Assignment| match &*a.key {
        "encoder.widths" if by_depth => depth(plan).to_string(),
        _ => a.value.replace(['{', '}', '"', '[', ']'], "").replace("kind = ", "").trim().to_string(),
    };
    plan.assignments.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What the labels are values of.
fn legend_title(plan: &Plan, by_depth: bool) -> String {
    let one = |a: &Assignment| match &*a.key {
        "encoder.widths" if by_depth => "layers L".to_string(),
        key => key.rsplit('.').next().unwrap_or(key).replace('_', " "),
    };
    plan.assignments.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn drawing(
    experiment: &Experiment,
    figure: &Settings,
    cells: Vec<&Cell<'_>>,
    chart: Chart,
    when: &str,
) -> Drawing {
    let hashes: String =
        cells.iter().flat_map(|cell| &cell.runs).map(|run| run.outcome["hash"].to_string()).collect();
    let (planned, finished) =
        cells.iter().fold((0, 0), |(p, f), cell| (p + cell.planned, f + cell.runs.len()));
    let mut caption = setting(&cells);
    // Of a figure of one cell among several, only the caption says which.
    if let ([cell], false) = (cells.as_slice(), experiment.plans.iter().all(|plan| plan.cell == 0)) {
        caption += &format!("; {}", cell.label);
    }
    let seeds = experiment.repeats;
    caption += &match seeds {
        1 => format!(", {when}; one seed"),
        _ if matches!(chart, Chart::HeatMap(_)) => format!(", {when}; median over {seeds} seeds"),
        _ => format!(", {when}; median and range over {seeds} seeds"),
    };
    if finished < planned {
        caption += &format!("; {} of {planned} runs ended early and are left out", planned - finished);
    }
    Drawing {
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

/// Loss, noise, network, data and dynamics, in words; where the cells differ, that they do.
fn setting(cells: &[&Cell<'_>]) -> String {
    let phrases: Vec<[String; 5]> = cells.iter().map(|cell| phrases(cell.plan)).collect();
    let Some(first) = phrases.first() else { return String::new() };
    let names = ["loss", "noise", "network", "data", "dynamics"];
    let merged = names.iter().enumerate().map(|(k, name)| {
        let same = phrases.iter().all(|phrases| phrases[k] == first[k]);
        if same { first[k].clone() } else { format!("{name} as in the legend") }
    });
    merged.collect::<Vec<_>>().join("; ")
}

/// 0.01 and 1e-6, not 0.000001.
fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:e}") } else { value.to_string() }
}

fn phrases(plan: &Plan) -> [String; 5] {
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
            format!("gradient descent, {steps} steps of {rate} (t = {})", rate * steps as f64)
        }
        Dynamics::Sgd { rate, steps, batch } => {
            format!("SGD, {steps} steps of {rate}, batch {batch} (t = {})", rate * steps as f64)
        }
    };
    [format!("{loss}, {reduction}"), sides, network, samples, dynamics]
}
