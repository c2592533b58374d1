use super::drawings::{Cell, Figure};
use super::labels::{Labels, label, value_label};
use super::parameters::{Drawn, compose};
use crate::experiment::{Experiment, Plan};
use crate::files::Array;
use crate::record::{Chart, HeatMap, LineChart, Scale, Series, SeriesStyle};
use crate::run::StoredRun;
use serde_json::json;
use std::path::Path;

const FLOW: &str = "{ kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 10.0 }";
const VARIANCES: &str = "\"augment.variance\" = [3.0, 0.5, 1.0]";

fn experiment(sweep: &str, figure: &str) -> Experiment {
    let text = format!(
        r#"title    = "Made up"
seed     = 1
repeats  = 3
data     = {{ kind = "gaussian", dim = 4, samples = 32 }}
augment  = {{ kind = "block", block = 2, variance = 0.5, sides = "one" }}
encoder  = {{ kind = "linear", widths = [4, 4], init = {{ kind = "gaussian", std = 0.5 }} }}
loss     = {{ kind = "infonce-euclidean", reduction = "mean" }}
dynamics = {FLOW}
observe  = {{ times = {{ kind = "list", times = [1.0] }}, quantities = ["loss", "spectra", "ranks"] }}
sweep    = {{ {sweep} }}
figure   = {{ {figure} }}
"#
    );
    Experiment::parse("made_up.toml", Path::new("/"), &text, &[])
        .unwrap_or_else(|problem| panic!("{problem}"))
}

fn variance(plan: &Plan) -> f64 {
    plan.settings.table("augment").number("variance")
}

/// A finished run with these recorded times and arrays.
fn run(times: &[f64], arrays: &[(&str, Vec<usize>, Vec<f64>)]) -> StoredRun {
    let mut run = StoredRun {
        outcome: json!({ "finished": true, "ending": "time-reached", "hash": "made up" }),
        arrays: arrays
            .iter()
            .map(|(name, shape, values)| {
                (name.to_string(), Array { shape: shape.clone(), values: values.clone() })
            })
            .collect(),
    };
    run.arrays.insert("time".into(), Array { shape: vec![times.len()], values: times.to_vec() });
    run
}

/// Recorded at 0, 1 and 10: singular values k + t and (k + t) / 10 times the number of the repeat, with a floor of k / 1000,
/// a prediction of k + t + 1 over the layer, and a constant of k and 2 k.
fn usual(plan: &Plan) -> Option<StoredRun> {
    let (times, k) = ([0.0, 1.0, 10.0], variance(plan));
    let repeat = plan.seed.repeat as f64 + 1.0;
    let spectrum = times.iter().flat_map(|t| [k + t, (k + t) / 10.0 * repeat]).collect();
    let prediction = times.iter().flat_map(|t| [9.0, k + t + 1.0]).collect();
    Some(run(
        &times,
        &[
            ("sigma_end_to_end", vec![3, 2], spectrum),
            ("floor_end_to_end", vec![3], vec![k / 1000.0; 3]),
            ("sigma_w1", vec![3, 2], prediction),
            ("loss", vec![3], times.iter().map(|t| k * (t + 1.0)).collect()),
            ("numerical_rank_end_to_end", vec![3], vec![if k > 2.0 { 1.0 } else { 2.0 }; 3]),
            ("pca_variances", vec![2], vec![k, 2.0 * k]),
        ],
    ))
}

fn drawn(experiment: &Experiment, fill: impl Fn(&Plan) -> Option<StoredRun>) -> Drawn {
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for plan in &experiment.plans {
        if cells.last().is_none_or(|cell| cell.plan.cell != plan.cell) {
            cells.push(Cell { plan, label: label(plan), runs: Vec::new(), planned: 0 });
        }
        let cell = cells.last_mut().unwrap();
        cell.planned += 1;
        cell.runs.extend(fill(plan));
    }
    let labels = Labels::new(cells.iter().map(|cell| cell.plan).collect());
    compose(experiment, &experiment.figures[0], &cells, &labels, "name")
}

/// The figures of usual runs, without a complaint.
fn figures(sweep: &str, figure: &str) -> Vec<Figure> {
    let drawn = drawn(&experiment(sweep, figure), usual);
    assert_eq!(drawn.complaints, Vec::<String>::new());
    drawn.figures
}

fn lines(figure: &Figure) -> &LineChart {
    match &figure.drawing.chart {
        Chart::Lines(chart) => chart,
        Chart::HeatMap(_) => panic!("a map"),
    }
}

fn map(figure: &Figure) -> &HeatMap {
    match &figure.drawing.chart {
        Chart::HeatMap(map) => map,
        Chart::Lines(_) => panic!("lines"),
    }
}

fn of(chart: &LineChart, style: SeriesStyle) -> Vec<&Series> {
    chart.series.iter().filter(|series| series.style == style).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    let near = |a: &f64, b: &f64| (a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan());
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| near(a, b)),
        "{found:?} is not {expected:?}"
    );
}

fn names(figures: &[Figure]) -> Vec<&str> {
    figures.iter().map(|figure| figure.name.as_str()).collect()
}

#[test]
fn points_stand_at_their_parameter_in_ascending_order_with_the_range_over_repeats() {
    let all =
        figures(VARIANCES, "kind = \"against\", value = \"sigma_end_to_end\", x = \"augment.variance\"");
    assert_eq!(names(&all), ["name"]);
    let chart = lines(&all[0]);
    let [points] = &chart.series[..] else { panic!("{} series", chart.series.len()) };
    assert_eq!((points.style, points.label.as_str()), (SeriesStyle::Points, ""));
    assert_close(&points.x, &[0.5, 1.0, 3.0]);
    // The last entry, at the end: the repeats count 1, 2 and 3.
    assert_close(&points.median, &[2.1, 2.2, 2.6]);
    assert_close(&points.low, &[1.05, 1.1, 1.3]);
    assert_close(&points.high, &[3.15, 3.3, 3.9]);
    assert_eq!((chart.x_scale, chart.y_scale), (Scale::Log, Scale::Log));
    assert_eq!(chart.x_label, "variance of one noise draw k");
    assert_eq!(chart.y_label, "smallest singular value of W");
    assert_eq!(chart.floor, Some(0.003));
    assert!(all[0].drawing.caption.contains("at the end; median and range over 3 seeds"));
}

#[test]
fn a_rank_chooses_the_entry_and_a_scalar_has_one() {
    let with = |value: &str| {
        let figure = format!("kind = \"against\", {value}, x = \"augment.variance\"");
        let all = figures(VARIANCES, &figure);
        (lines(&all[0]).series[0].median.clone(), lines(&all[0]).y_label.clone())
    };
    let (median, label) = with("value = \"sigma_end_to_end\", rank = 1");
    assert_close(&median, &[10.5, 11.0, 13.0]);
    assert_eq!(label, "largest singular value of W");
    assert_close(&with("value = \"sigma_end_to_end\", rank = 2").0, &[2.1, 2.2, 2.6]);
    assert_close(&with("value = \"loss\"").0, &[5.5, 11.0, 33.0]);
    let (median, label) = with("value = \"pca_variances\", rank = 1, y_label = \"words\"");
    assert_close(&median, &[0.5, 1.0, 3.0]);
    assert_eq!(label, "words");
}

#[test]
fn each_time_is_a_series_with_its_prediction_in_its_shade() {
    let all = figures(
        VARIANCES,
        "kind = \"against\", value = \"sigma_end_to_end\", x = \"augment.variance\", at = [1.0, 10.0], \
         theory = \"sigma_w1\"",
    );
    let chart = lines(&all[0]);
    let (points, theory) = (of(chart, SeriesStyle::Points), of(chart, SeriesStyle::Theory));
    assert_eq!(points.iter().map(|series| series.label.as_str()).collect::<Vec<_>>(), ["1", "10"]);
    assert_eq!((chart.legend_title.as_str(), chart.theory_label.as_deref()), ("time t", Some("theory")));
    assert_close(&points[0].median, &[0.3, 0.4, 0.8]);
    assert_close(&theory[0].median, &[2.5, 3.0, 5.0]);
    assert_close(&theory[1].median, &[11.5, 12.0, 14.0]);
    assert_close(&theory[0].x, &points[0].x);
    assert_eq!([theory[0].shade, theory[1].shade], [points[0].shade, points[1].shade]);
    assert_ne!(points[0].shade, points[1].shade);
    assert!(theory.iter().all(|series| series.label.is_empty()));
    assert!(all[0].drawing.caption.contains("at t\u{a0}=\u{a0}1 and 10;"), "{}", all[0].drawing.caption);
    assert_eq!(all[0].findings[0].0, "k = 3.0");
    assert_eq!(
        all[0].findings[0].1,
        "at t = 1: 0.8 [0.4, 1.2], theory 5; at t = 10: 2.6 [1.3, 3.9], theory 14"
    );
}

#[test]
fn a_limit_has_a_shade_of_its_own_beside_several_times_and_that_of_its_points_beside_one() {
    let with = |more: &str| {
        let figure = format!(
            "kind = \"against\", value = \"sigma_end_to_end\", x = \"augment.variance\", limit = \"pca_variances\"{more}"
        );
        let all = figures(VARIANCES, &figure);
        lines(&all[0]).clone()
    };
    let one = with("");
    let (points, limit) = (of(&one, SeriesStyle::Points), of(&one, SeriesStyle::Theory));
    assert_close(&limit[0].median, &[1.0, 2.0, 6.0]);
    assert_eq!(limit[0].shade, points[0].shade);
    assert_eq!((limit[0].label.as_str(), one.theory_label.as_deref()), ("", Some("t → ∞")));
    let two = with(", at = [1.0, 10.0]");
    let (points, limit) = (of(&two, SeriesStyle::Points), of(&two, SeriesStyle::Theory));
    assert_eq!((limit.len(), limit[0].label.as_str()), (1, "t → ∞"));
    assert!(points.iter().all(|series| series.shade != limit[0].shade));
    let both = with(", theory = \"sigma_w1\"");
    let labels: Vec<&str> = of(&both, SeriesStyle::Theory).iter().map(|s| s.label.as_str()).collect();
    assert_eq!(labels, ["theory", "t → ∞"]);
}

#[test]
fn relative_values_and_predictions_are_divided_by_the_value_at_the_start() {
    let all = figures(
        VARIANCES,
        "kind = \"against\", value = \"sigma_end_to_end\", rank = 1, x = \"augment.variance\", relative = true, \
         theory = \"pca_variances\"",
    );
    let chart = lines(&all[0]);
    assert_close(&chart.series[0].median, &[21.0, 11.0, 13.0 / 3.0]);
    // A prediction without times is divided by what it predicts, not by itself.
    assert_close(&chart.series[1].median, &[1.0, 1.0, 1.0]);
    assert_eq!(chart.floor, Some(0.001));
    assert_eq!(chart.y_label, "largest singular value of W over its start");
}

#[test]
fn a_time_that_is_not_recorded_is_complained_of_with_its_neighbours() {
    let at = |dynamics: &str, at: &str| {
        let figure = format!("kind = \"against\", value = \"loss\", x = \"augment.variance\", at = [{at}]");
        drawn(&experiment(&format!("{VARIANCES}, dynamics = [{dynamics}]"), &figure), usual)
    };
    let points = |drawn: &Drawn| lines(&drawn.figures[0]).series[0].median.clone();
    let missing = at(FLOW, "0.95");
    assert_eq!(
        missing.complaints,
        [
            "figure name: at = 0.95 is no recorded time; the recorded times beside it are 0 and 1; change `at`, or record it by observe.times"
        ]
    );
    assert_close(&points(&missing), &[]);
    let near = at(FLOW, "1.0000000001");
    assert!(near.complaints.is_empty() && points(&near).len() == 3);
    assert!(at(FLOW, "11.0").complaints[0].contains("the last recorded time is 10"));
    // Descents record whole steps.
    let sgd = "{ kind = \"sgd\", rate = 0.1, steps = 100, batch = 8 }";
    let within = at(sgd, "0.95");
    assert_close(&points(&within), &[1.0, 2.0, 6.0]);
    assert!(within.complaints.is_empty());
    assert_eq!(at(sgd, "0.8").complaints.len(), 1);
}

#[test]
fn what_has_converged_stays_where_it_is() {
    let experiment =
        experiment(VARIANCES, "kind = \"against\", value = \"loss\", x = \"augment.variance\", at = [50.0]");
    let converged = |plan: &Plan| {
        let mut run = usual(plan)?;
        run.outcome["ending"] = json!("converged");
        Some(run)
    };
    let found = drawn(&experiment, converged);
    assert!(found.complaints.is_empty());
    assert_close(&lines(&found.figures[0]).series[0].median, &[5.5, 11.0, 33.0]);
    assert_eq!(drawn(&experiment, usual).complaints.len(), 1);
}

#[test]
fn an_array_that_no_run_has_is_complained_of_and_a_cell_without_runs_is_not() {
    let text = experiment(
        VARIANCES,
        "kind = \"against\", value = \"loss\", x = \"augment.variance\", theory = \"pca_retained\"",
    );
    let found = drawn(&text, |plan| if variance(plan) == 1.0 { None } else { usual(plan) });
    assert_eq!(found.complaints.len(), 1, "{:?}", found.complaints);
    assert!(found.complaints[0].contains("no run has recorded theory = \"pca_retained\""));
    let chart = lines(&found.figures[0]);
    assert_close(&chart.series[0].x, &[0.5, 3.0]);
    assert_eq!(chart.series.len(), 1);
    assert!(found.figures[0].drawing.caption.contains("3 of 9 runs ended early"));
    let deep = experiment(
        VARIANCES,
        "kind = \"against\", value = \"sigma_end_to_end\", rank = 3, x = \"augment.variance\"",
    );
    let found = drawn(&deep, usual);
    assert!(found.complaints[0].contains("no entry 3 in any run; lower the rank"), "{:?}", found.complaints);
}

#[test]
fn other_swept_keys_make_series_and_those_in_each_figures() {
    let sweep = format!("\"data.samples\" = [16, 32], {VARIANCES}, \"augment.sides\" = [\"one\", \"two\"]");
    let against = "kind = \"against\", value = \"loss\", x = \"augment.variance\"";
    let all = figures(&sweep, against);
    let labels = |figure: &Figure| -> Vec<String> {
        lines(figure).series.iter().map(|series| series.label.replace('\u{a0}', " ")).collect()
    };
    assert_eq!(
        labels(&all[0]),
        ["N = 16, one-sided", "N = 16, two-sided", "N = 32, one-sided", "N = 32, two-sided"]
    );
    assert_eq!(lines(&all[0]).legend_title, "");
    let split = figures(&sweep, &format!("{against}, each = [\"augment.sides\"]"));
    assert_eq!(names(&split), ["name-one", "name-two"]);
    assert_eq!(labels(&split[0]), ["16", "32"]);
    assert_eq!(lines(&split[0]).legend_title, "samples N");
    assert_eq!(split[1].drawing.title, "Made up (two-sided)");
    assert_eq!(split[1].findings.len(), 6);
    assert!(all[0].drawing.caption.contains("noise as in the legend"), "{}", all[0].drawing.caption);
    assert!(!split[0].drawing.caption.contains("noise as in the legend"));
}

#[test]
fn keys_that_move_along_the_axis_make_no_series_and_independent_ones_do() {
    let along = "zip = { \"augment.variance\" = [3.0, 0.5, 1.0], \"data.samples\" = [16, 32, 64] }";
    let against = "kind = \"against\", value = \"loss\", x = \"augment.variance\"";
    assert_eq!(lines(&figures(along, against)[0]).series.len(), 1);
    let grid = format!("{VARIANCES}, \"data.samples\" = [16, 32, 64]");
    assert_eq!(lines(&figures(&grid, against)[0]).series.len(), 3);
}

#[test]
fn dynamics_are_named_by_their_kind_and_what_differs_together_with_what_is_zipped() {
    let sgd = |batch: usize, rate: f64| {
        format!("{{ kind = \"sgd\", rate = {rate}, steps = 100, batch = {batch} }}")
    };
    let labels = |dynamics: &str, samples: &str| -> Vec<String> {
        let sweep =
            format!("{VARIANCES}, zip = {{ dynamics = [{dynamics}], \"data.samples\" = [{samples}] }}");
        let all = figures(&sweep, "kind = \"against\", value = \"loss\", x = \"augment.variance\"");
        lines(&all[0]).series.iter().map(|series| series.label.replace('\u{a0}', " ")).collect()
    };
    assert_eq!(
        labels(&format!("{FLOW}, {FLOW}, {}", sgd(8, 0.1)), "64, 512, 64"),
        ["flow, N = 64", "flow, N = 512", "sgd B=8, N = 64"]
    );
    let several = format!("{}, {}, {}", sgd(8, 0.1), sgd(16, 0.1), sgd(8, 0.05));
    assert_eq!(labels(&several, "64, 64, 64"), ["sgd B=8 η=0.1", "sgd B=16", "sgd B=8 η=0.05"]);
    let each = figures(
        &format!("{VARIANCES}, dynamics = [{FLOW}, {}]", sgd(8, 0.1)),
        "kind = \"over-time\", value = \"loss\", each = [\"dynamics\"]",
    );
    assert_eq!(names(&each), ["name-flow", "name-sgd-B-8"]);
}

#[test]
fn depth_is_a_number_of_layers_on_an_axis_and_in_a_legend() {
    let widths = "\"encoder.widths\" = [[4, 4, 4], [4, 4]]";
    let sweep = format!("{widths}, {VARIANCES}");
    let all = figures(
        &sweep,
        "kind = \"against\", value = \"loss\", x = \"encoder.widths\", x_scale = \"linear\", at = [0.0, 1.0]",
    );
    let chart = lines(&all[0]);
    assert_close(&chart.series[0].x, &[1.0, 2.0]);
    assert_eq!((chart.x_label.as_str(), chart.ranks), ("layers L", true));
    assert_eq!(chart.series[1].label, "k\u{a0}=\u{a0}3.0, t\u{a0}=\u{a0}1");
    let over = figures(&sweep, "kind = \"over-time\", value = \"loss\"");
    assert_eq!(lines(&over[0]).series[0].label, "L\u{a0}=\u{a0}2, k\u{a0}=\u{a0}3.0");
    let alone = figures(widths, "kind = \"over-time\", value = \"loss\"");
    assert_eq!(
        (lines(&alone[0]).legend_title.as_str(), &*lines(&alone[0]).series[1].label),
        ("layers L", "1")
    );
}

#[test]
fn the_value_at_the_start_can_be_the_axis() {
    let sweep = format!("\"encoder.init.std\" = [0.2, 0.1], {VARIANCES}");
    let experiment = experiment(&sweep, "kind = \"against\", value = \"loss\", x = \"start\"");
    let found = drawn(&experiment, |plan| {
        let std = plan.settings.table("encoder").table("init").number("std");
        Some(run(&[0.0, 1.0], &[("loss", vec![2], vec![10.0 * std, variance(plan)])]))
    });
    let chart = lines(&found.figures[0]);
    assert_eq!(chart.series.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(), ["3.0", "0.5", "1.0"]);
    assert_close(&chart.series[0].x, &[1.0, 2.0]);
    assert_close(&chart.series[1].median, &[0.5, 0.5]);
    assert_eq!(chart.x_label, "loss at the start");
}

#[test]
fn a_threshold_is_a_vertical_line_that_the_axis_reaches() {
    let all = figures(
        VARIANCES,
        "kind = \"against\", value = \"loss\", x = \"augment.variance\", threshold = 2.0, threshold_label = \"k = 2\"",
    );
    let [line] = &lines(&all[0]).references[..] else { panic!("not one line") };
    assert_eq!((line.value, line.label.as_str(), line.widens_axis), (2.0, "k = 2", true));
    let none = figures(VARIANCES, "kind = \"against\", value = \"loss\", x = \"augment.variance\"");
    assert!(lines(&none[0]).references.is_empty());
}

#[test]
fn a_map_ascends_to_the_right_and_upwards_and_leaves_missing_cells_empty() {
    let sweep = format!("{VARIANCES}, \"data.samples\" = [32, 16]");
    let experiment = experiment(
        &sweep,
        "kind = \"map\", value = \"loss\", x = \"augment.variance\", y = \"data.samples\", at = [0.0, 1.0], \
         marks = \"numerical_rank_end_to_end\", mark_label = \"rank one\"",
    );
    let samples = |plan: &Plan| plan.settings.table("data").integer("samples");
    let found = drawn(&experiment, |plan| {
        let mut run = usual(plan)?;
        let loss = run.arrays.get_mut("loss")?;
        loss.values.iter_mut().for_each(|value| *value *= samples(plan) as f64);
        (variance(plan) != 1.0 || samples(plan) == 16).then_some(run)
    });
    assert!(found.complaints.is_empty(), "{:?}", found.complaints);
    assert_eq!(names(&found.figures), ["name-t0", "name-t1"]);
    assert_eq!(found.figures[1].drawing.title, "Made up (t\u{a0}=\u{a0}1)");
    let first = map(&found.figures[0]);
    assert_eq!((first.x_ticks.join(" "), first.y_ticks.join(" ")), ("0.5 1 3".into(), "16 32".into()));
    assert!(first.first_row_at_bottom);
    assert_eq!((first.rows, first.columns), (2, 3));
    assert_close(&first.values, &[8.0, 16.0, 48.0, 16.0, f64::NAN, 96.0]);
    assert_eq!(first.marks, [false, false, true, false, false, true]);
    assert_eq!(first.mark_label.as_deref(), Some("rank one"));
    // Both maps share the colours of all values.
    assert_eq!((first.range, map(&found.figures[1]).range), ((8.0, 192.0), (8.0, 192.0)));
    assert_eq!(found.figures[1].findings.len(), 6);
    assert!(found.figures[1].findings[0].1.starts_with("at t = 1: 192"), "{:?}", found.figures[1].findings);
    assert_eq!(found.figures[1].findings[5].1, "at t = 1: 32, mark 2");
}

#[test]
fn a_map_for_each_combination_of_the_other_keys_and_a_range_that_is_given() {
    let sweep = format!(
        "{VARIANCES}, \"data.samples\" = [32, 16], \"encoder.init.std\" = [0.1, 0.2], \"augment.sides\" = [\"one\", \"two\"]"
    );
    let figure = "kind = \"map\", value = \"loss\", x = \"augment.variance\", y = \"data.samples\"";
    let all = figures(&sweep, figure);
    assert_eq!(names(&all), ["name-0.1-one", "name-0.1-two", "name-0.2-one", "name-0.2-two"]);
    assert_eq!(map(&all[0]).range, (5.5, 33.0));
    assert_eq!(all[0].drawing.title, "Made up (std\u{a0}=\u{a0}0.1, one-sided)");
    let given = figures(&sweep, &format!("{figure}, range = [1.0, 2.0], value_scale = \"log\""));
    assert_eq!((map(&given[0]).range, map(&given[0]).value_scale), ((1.0, 2.0), Scale::Log));
}

#[test]
fn a_map_shows_nothing_under_the_floor_and_says_so() {
    let sweep = format!("{VARIANCES}, \"data.samples\" = [32, 16]");
    let text = experiment(
        &sweep,
        "kind = \"map\", value = \"sigma_end_to_end\", x = \"augment.variance\", y = \"data.samples\"",
    );
    let collapsed = |plan: &Plan| {
        let mut run = usual(plan)?;
        if variance(plan) > 2.0 {
            run.arrays.get_mut("sigma_end_to_end")?.values.fill(1e-17);
        }
        Some(run)
    };
    let found = drawn(&text, collapsed);
    assert_close(&map(&found.figures[0]).values[..3], &[2.1, 2.2, 0.003]);
    let caption = &found.figures[0].drawing.caption;
    assert!(caption.contains("under their numerical floor (up to 3.0e-3) are drawn at it"), "{caption}");
    assert!(!drawn(&text, usual).figures[0].drawing.caption.contains("floor"));
}

#[test]
fn two_cells_of_one_place_on_a_map_are_complained_of() {
    let sweep = format!("\"encoder.widths\" = [[4, 4, 4], [4, 2, 4]], {VARIANCES}");
    let figure = "kind = \"map\", value = \"loss\", x = \"augment.variance\", y = \"encoder.widths\"";
    let found = drawn(&experiment(&sweep, figure), usual);
    assert!(
        found.complaints[0].contains("several cells share augment.variance = "),
        "{:?}",
        found.complaints
    );
    let fine = sweep.replace("[4, 2, 4]", "[4, 2]");
    assert!(drawn(&experiment(&fine, figure), usual).complaints.is_empty());
}

#[test]
fn over_time_has_a_line_a_cell_and_drops_the_start_on_a_logarithmic_axis() {
    let figure = "kind = \"over-time\", value = \"sigma_end_to_end\", theory = \"sigma_w1\"";
    let all = figures(VARIANCES, figure);
    let chart = lines(&all[0]);
    let (measured, theory) = (of(chart, SeriesStyle::Line), of(chart, SeriesStyle::Theory));
    assert_eq!((measured.len(), theory.len()), (3, 3));
    assert_eq!(measured.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(), ["3.0", "0.5", "1.0"]);
    assert_eq!(chart.legend_title, "variance");
    assert_close(&measured[1].x, &[1.0, 10.0]);
    assert_close(&measured[1].median, &[0.3, 2.1]);
    assert_close(&measured[1].low, &[0.15, 1.05]);
    assert_close(&theory[1].median, &[2.5, 11.5]);
    assert!(measured.iter().zip(&theory).all(|(line, theory)| line.shade == theory.shade));
    assert_eq!(chart.floor, Some(0.003));
    assert_eq!(
        all[0].findings[1].1,
        "at the start 0.1 [0.05, 0.15], theory 1.5; at the end 2.1 [1.05, 3.15], theory 11.5"
    );
    let linear = figures(VARIANCES, &format!("{figure}, x_scale = \"linear\", y_scale = \"linear\""));
    assert_close(&lines(&linear[0]).series[0].x, &[0.0, 1.0, 10.0]);
    assert_eq!(lines(&linear[0]).y_scale, Scale::Linear);
}

#[test]
fn a_prediction_that_is_constant_in_time_is_level() {
    let all = figures(VARIANCES, "kind = \"over-time\", value = \"loss\", theory = \"pca_variances\"");
    assert_close(&of(lines(&all[0]), SeriesStyle::Theory)[1].median, &[1.0, 1.0]);
}

#[test]
fn values_have_words() {
    for (array, words) in [
        ("sigma_end_to_end", "singular value of W"),
        ("sigma_augmented", "singular value of W on noisy directions"),
        ("sigma_embedding", "singular value of C"),
        ("sigma_representation", "singular value of Cov(r)"),
        ("sigma_w12", "singular value of W₁₂"),
        ("sigma_p1", "singular value of P₁"),
        ("effective_rank_end_to_end", "effective rank of W"),
        ("numerical_rank_w2", "numerical rank of W₂"),
        ("alignment_score_1_p1", "alignment score of W₁ and P₁"),
        ("eig_x", "eigenvalue of X"),
        ("lifetime", "lifetime"),
    ] {
        assert_eq!(value_label(array), words);
    }
}

#[test]
fn predictions_that_all_series_share_are_one_line_and_others_stay() {
    let line = |median: &[f64]| crate::record::Series {
        label: String::new(),
        style: crate::record::SeriesStyle::Theory,
        shade: 0.0,
        x: (0..median.len()).map(|k| k as f64).collect(),
        median: median.to_vec(),
        low: Vec::new(),
        high: Vec::new(),
    };
    let mut same = vec![line(&[1.0, f64::NAN]), line(&[1.0 + 1e-12, f64::NAN]), line(&[1.0, f64::NAN])];
    assert!(super::parameters::keep_one_of_equal(&mut same) && same.len() == 1);
    let mut different = vec![line(&[1.0, 2.0]), line(&[1.0, 2.001])];
    assert!(!super::parameters::keep_one_of_equal(&mut different) && different.len() == 2);
    let mut shorter = vec![line(&[1.0, 2.0]), line(&[1.0])];
    assert!(!super::parameters::keep_one_of_equal(&mut shorter));
}

#[test]
fn series_of_the_same_noise_or_dynamics_have_the_same_shade_in_every_chart() {
    let points = |sweep: &str, x: &str, more: &str| -> Vec<f64> {
        let figure = format!("kind = \"against\", value = \"sigma_end_to_end\", x = \"{x}\"{more}");
        let all = figures(sweep, &figure);
        of(lines(&all[0]), SeriesStyle::Points).iter().map(|series| series.shade).collect()
    };
    let by_noise = |variances: &str| {
        let sweep = format!("\"augment.variance\" = {variances}, \"data.samples\" = [8, 16]");
        points(&sweep, "data.samples", "")
    };
    let few = by_noise("[1.0, 3.0]");
    assert_eq!((few[0], by_noise("[0.5, 1.0, 3.0]")[1..].to_vec()), (0.5, few.clone()));
    // What has no shade of its own is shaded in its order.
    let scales = "\"encoder.init.std\" = [0.2, 0.5], \"data.samples\" = [8, 16]";
    assert_eq!(points(scales, "data.samples", ""), [0.0, 1.0]);

    let sgd = "{ kind = \"sgd\", rate = 0.1, steps = 100, batch = 16 }";
    let gd = "{ kind = \"gd\", rate = 0.1, steps = 100 }";
    let by_dynamics = |list: &str, more: &str| {
        points(&format!("dynamics = [{list}], {VARIANCES}"), "augment.variance", more)
    };
    let three = by_dynamics(&format!("{FLOW}, {gd}, {sgd}"), "");
    assert_eq!(by_dynamics(&format!("{sgd}, {FLOW}"), ""), [three[2], three[0]]);
    // Beside one limit of all, which is at the end of the scale, they keep them.
    let beside = ", theory = \"sigma_w1\", limit = \"pca_variances\"";
    assert_eq!(by_dynamics(&format!("{sgd}, {FLOW}"), beside), [three[2], three[0]]);
    // Several times of each are told apart by their order alone.
    assert_eq!(by_dynamics(&format!("{sgd}, {FLOW}"), ", at = [1.0, 10.0]")[3], 1.0);
}
