use super::{png, svg};
use crate::record::{Chart, Drawing, HeatMap, LineChart, Scale, Series};

fn drawing(chart: Chart) -> Drawing {
    Drawing {
        title: "Weight spectrum under strong augmentation".to_owned(),
        caption:
            "InfoNCE (Eq. 2, mean), one-sided augmentation of 8 of 16 coordinates, gradient flow to t = 30; \
                  median and range of 8 seeds."
                .to_owned(),
        provenance: "contraflow 0.1.0, plan 3f9a2c41d07be655, seeds 20 to 27".to_owned(),
        chart,
    }
}

fn series(label: &str, shade: f64, x: Vec<f64>, median: Vec<f64>, spread: f64) -> Series {
    let low = median.iter().map(|y| y / spread).collect();
    let high = median.iter().map(|y| y * spread).collect();
    Series { label: label.to_owned(), shade, x, median, low, high }
}

fn chart(series: Vec<Series>) -> LineChart {
    LineChart {
        x_label: "time (rate × steps)".to_owned(),
        y_label: "singular value σₖ".to_owned(),
        x_scale: Scale::Log,
        y_scale: Scale::Log,
        ranks: false,
        legend_title: "k".to_owned(),
        series,
        floor: None,
    }
}

/// Final spectra for eight strengths of augmentation: half of each collapses where the augmentation is strong.
fn spectrum() -> Drawing {
    let strengths = [0.1, 0.5, 1.0, 1.5, 1.9, 2.1, 3.0, 5.0];
    let curve = |(k, strength): (usize, &f64)| {
        let value = |rank: usize| {
            let collapse = if rank > 8 { 1.6 * strength * (rank - 8) as f64 } else { 0.0 };
            2.5 * (-0.05 * rank as f64 - collapse).exp() / (1.0 + 0.1 * strength)
        };
        let ranks = (1..=16).map(|rank| rank as f64).collect();
        series(&strength.to_string(), k as f64 / 7.0, ranks, (1..=16).map(value).collect(), 1.8)
    };
    let series = strengths.iter().enumerate().map(curve).collect();
    drawing(Chart::Lines(LineChart {
        x_label: "rank k of the singular value".to_owned(),
        y_label: "singular values of W₂W₁".to_owned(),
        x_scale: Scale::Linear,
        ranks: true,
        legend_title: "noise variance".to_owned(),
        floor: Some(1e-13),
        ..chart(series)
    }))
}

/// Sixteen singular values over time.
fn evolution() -> Drawing {
    let times: Vec<f64> = (0..200).map(|k| 10f64.powf(-2.0 + 3.5 * f64::from(k) / 199.0)).collect();
    let curve = |k: usize| {
        let rate = 1.0 - 0.13 * k as f64;
        let values = times
            .iter()
            .map(|t| (0.25 * (1.0 - 0.04 * k as f64) * (rate * t).exp()).min(2.0 - 0.05 * k as f64));
        series(&(k + 1).to_string(), k as f64 / 15.0, times.clone(), values.collect(), 1.15)
    };
    let mut drawing = drawing(Chart::Lines(chart((0..16).map(curve).collect())));
    drawing.title = "Singular values of the end-to-end matrix over time".to_owned();
    drawing
}

fn alignment(rows: usize, columns: usize) -> Drawing {
    let value = |k: usize| {
        let (row, column) = (k / columns, k % columns);
        let distance = row.abs_diff(column) as f64;
        (-distance * distance / 3.0).exp() * 0.95 + 0.04 * ((7 * row + 3 * column) % 5) as f64 / 5.0
    };
    let mut drawing = drawing(Chart::HeatMap(HeatMap {
        x_label: "left singular vector of W₁".to_owned(),
        y_label: "right singular vector of W₂".to_owned(),
        value_label: "|A|".to_owned(),
        rows,
        columns,
        values: (0..rows * columns).map(value).collect(),
        range: (0.0, 1.0),
    }));
    drawing.title = "Alignment of adjacent layers, |A| = |V₂ᵀU₁|".to_owned();
    drawing
}

/// Line charts that no run should produce, and some that one may.
fn odd_drawings() -> Vec<(&'static str, Drawing)> {
    let one = |x: Vec<f64>, y: Vec<f64>| {
        drawing(Chart::Lines(LineChart { floor: None, ..chart(vec![series("a", 0.3, x, y, 1.5)]) }))
    };
    let mut odd = vec![
        ("no-series", drawing(Chart::Lines(chart(Vec::new())))),
        ("no-points", one(Vec::new(), Vec::new())),
        ("nothing-finite", one(vec![1.0, f64::NAN, 3.0], vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
        ("all-equal", one(vec![1.0, 2.0, 3.0], vec![0.5; 3])),
        ("negative-on-log", one(vec![-1.0, 0.0, 3.0], vec![-1.0, 0.0, -3.0])),
        ("one-point", one(vec![2.0], vec![3.0])),
        ("decades", one(vec![1e-300, 1.0, 1e300], vec![1e-300, 1.0, 1e300])),
        ("subnormal", one(vec![5e-324, 1e-310], vec![5e-324, 1e-310])),
        ("gaps", one(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![1.0, 2.0, f64::NAN, 4.0, 0.0, 3.0])),
        ("narrow", one(vec![1.0, 1.1, 1.2], vec![0.31, 0.34, 0.37])),
        ("narrower", one(vec![7.01e-7, 7.02e-7, 7.03e-7], vec![0.3001, 0.3002, 0.3004])),
    ];
    for (name, values) in [
        ("linear-huge", vec![-1.7e308, 1.7e308, f64::NAN]),
        ("linear-tiny", vec![5e-324, 0.0, 1e-320]),
        ("linear-zero", vec![0.0; 3]),
        ("linear-offset", vec![1.0, 1.0 + 1e-12, 1.0 + 2e-12]),
        ("linear-large", vec![-12.0e6, 15.0e6, 3.0e6]),
        ("linear-small", vec![-0.00001, 0.00004, 0.00002]),
    ] {
        let x = vec![0.0, 4e5, 8e5];
        let line = LineChart { x_scale: Scale::Linear, y_scale: Scale::Linear, ..chart(Vec::new()) };
        let lines = vec![
            series("measured", 0.1, x.clone(), values.clone(), 1.1),
            series("predicted", 0.1, x, values, 1.0),
        ];
        odd.push((name, drawing(Chart::Lines(LineChart { series: lines, ..line }))));
    }
    let low = chart(vec![series("a", 0.5, vec![1.0, 2.0, 3.0], vec![1e-18, 1e-17, 1e-16], 2.0)]);
    odd.push(("under-the-floor", drawing(Chart::Lines(LineChart { floor: Some(1e-12), ..low.clone() }))));
    odd.push(("floor-of-zero", drawing(Chart::Lines(LineChart { floor: Some(0.0), ..low.clone() }))));
    odd.push(("floor-not-a-number", drawing(Chart::Lines(LineChart { floor: Some(f64::NAN), ..low }))));

    let words = "a label that goes on and on, ".repeat(40);
    let mut long = spectrum();
    (long.title, long.caption, long.provenance) = (words.clone(), words.clone(), words.clone());
    if let Chart::Lines(lines) = &mut long.chart {
        (lines.x_label, lines.y_label, lines.legend_title) = (words.clone(), words.clone(), words.clone());
        for series in &mut lines.series {
            series.label = "W".repeat(3000);
            series.shade = f64::NAN;
        }
    }
    odd.push(("long-words", long));

    let mut ragged = spectrum();
    if let Chart::Lines(lines) = &mut ragged.chart {
        lines.series[0].x.truncate(3);
        lines.series[1].low.clear();
        lines.series[2].high[4] = f64::NAN;
        lines.series[3].median[4] = f64::INFINITY;
    }
    odd.push(("ragged", ragged));

    for (name, rows, columns) in
        [("cell", 1, 1), ("row", 1, 40), ("column", 300, 1), ("flat", 5, 12), ("empty", 0, 0)]
    {
        odd.push((name, alignment(rows, columns.max(1))));
    }
    let mut holes = alignment(4, 4);
    if let Chart::HeatMap(map) = &mut holes.chart {
        map.values[5] = f64::NAN;
        map.values[6] = f64::INFINITY;
        map.values.truncate(12);
        map.range = (3e7, 3e7);
    }
    odd.push(("holes", holes));
    let mut nothing = alignment(4, 4);
    if let Chart::HeatMap(map) = &mut nothing.chart {
        map.values.clear();
        (map.rows, map.columns, map.range) = (usize::MAX, 3, (f64::NAN, 1.0));
    }
    odd.push(("nothing", nothing));
    odd
}

/// Three measurements, each with its prediction in the same shade.
fn pairs() -> Drawing {
    let times: Vec<f64> = (0..120).map(|k| f64::from(k) / 4.0).collect();
    let mut lines = Vec::new();
    for (k, rate) in [0.05f64, 0.1, 0.2].iter().enumerate() {
        let decay: Vec<f64> = times.iter().map(|t| (-rate * t).exp()).collect();
        let bent = times.iter().map(|t| (-rate * t).exp() * (1.0 + 0.002 * t)).collect();
        lines.push(series(&format!("measured, {rate}"), k as f64 / 2.0, times.clone(), decay, 1.02));
        lines.push(series(&format!("predicted, {rate}"), k as f64 / 2.0, times.clone(), bent, 1.0));
    }
    let axes = LineChart { x_scale: Scale::Linear, y_scale: Scale::Linear, ..chart(lines) };
    drawing(Chart::Lines(LineChart { legend_title: "decay rate".to_owned(), ..axes }))
}

/// Five curves that cross in time.
fn five() -> Drawing {
    let times: Vec<f64> = (0..200).map(|k| 10f64.powf(-2.0 + 3.5 * f64::from(k) / 199.0)).collect();
    let curve = |k: usize| {
        let rise = |t: &f64| 1.0 + 2.0 * k as f64 + (5.0 - 2.5 * k as f64) * (1.0 - (-0.3 * t).exp());
        series(&(1 << k).to_string(), k as f64 / 4.0, times.clone(), times.iter().map(rise).collect(), 1.05)
    };
    let axes = LineChart { y_scale: Scale::Linear, ..chart((0..5).map(curve).collect()) };
    drawing(Chart::Lines(LineChart { legend_title: "batch size".to_owned(), ..axes }))
}

fn dimensions(bytes: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// Whether tags are balanced, attributes quoted and entities known.
fn well_formed(document: &str) -> bool {
    let mut open = Vec::new();
    let mut rest = document;
    while let Some(start) = rest.find('<') {
        let words = &rest[..start];
        let known =
            |tail: &str| ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|name| tail.starts_with(name));
        if words.contains('>') || words.chars().any(|c| c.is_control() && c != '\n') {
            return false;
        }
        if words.split('&').skip(1).any(|tail| !known(tail)) {
            return false;
        }
        let Some((tag, tail)) = rest[start + 1..].split_once('>') else { return false };
        rest = tail;
        if tag.matches('"').count() % 2 != 0 {
            return false;
        }
        let name = tag.split([' ', '/']).next().unwrap_or("");
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.is_empty() && rest.trim().is_empty()
}

/// Ordinates of the points of all lines of a colour, in hundredths of a millimetre.
fn heights(document: &str, colour: &str) -> Vec<i32> {
    let lines = document.lines().filter(|line| line.starts_with("<polyline") && line.contains(colour));
    let points =
        lines.flat_map(|line| line.split("points=\"").nth(1).unwrap().split('"').next().unwrap().split(' '));
    points.filter_map(|point| point.split(',').nth(1)).map(|y| y.parse().unwrap()).collect()
}

#[test]
fn equal_drawings_give_equal_bytes() {
    for drawing in [spectrum(), evolution(), five(), alignment(16, 16)] {
        assert_eq!(svg(&drawing).unwrap(), svg(&drawing.clone()).unwrap());
    }
    assert_eq!(png(&spectrum()).unwrap(), png(&spectrum()).unwrap());
}

#[test]
fn text_with_the_letters_of_markup_stays_well_formed() {
    let mut drawing = spectrum();
    drawing.title = "a < b & \"c\" > 'd' \u{1}\n</svg>".to_owned();
    drawing.caption = drawing.title.clone();
    drawing.provenance = "<!-- & ]]>".to_owned();
    if let Chart::Lines(lines) = &mut drawing.chart {
        lines.y_label = drawing.title.clone();
        lines.series[0].label = "<&>".to_owned();
    }
    let document = svg(&drawing).unwrap();
    assert!(well_formed(&document), "{document}");
    assert!(document.contains("<title>a &lt; b &amp; "));
    assert!(document.contains("<metadata>&lt;!-- &amp; ]]&gt;</metadata>"));
}

#[test]
fn odd_values_and_words_are_drawn_without_a_panic() {
    for (name, drawing) in odd_drawings() {
        let document = svg(&drawing).unwrap();
        assert!(well_formed(&document), "{name}");
        assert!(!document.contains("NaN") && !document.contains("inf"), "{name}");
        assert!(document.len() < 400_000, "{name}: {} bytes", document.len());
        assert_eq!(dimensions(&png(&drawing).unwrap()).0, 1004, "{name}");
    }
}

#[test]
fn nothing_is_drawn_below_the_floor() {
    let document = svg(&spectrum()).unwrap();
    let floor = document.lines().find(|line| line.contains("#ECECEC")).expect("the floor is shaded");
    let attribute = |name: &str| -> i32 {
        floor.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    let edge = attribute("y");
    let last = super::palette::line(1.0).rgb;
    let heights = heights(&document, &format!("#{:02X}{:02X}{:02X}", last.0, last.1, last.2));
    assert!(heights.iter().all(|y| *y <= edge), "{heights:?} against {edge}");
    // The steepest line ends at the edge of the floor, in the middle of the ranks.
    assert!(heights.contains(&edge));
    assert!(document.contains("numerical floor"));
}

#[test]
fn a_floor_far_below_all_values_is_not_shown() {
    let mut drawing = evolution();
    if let Chart::Lines(lines) = &mut drawing.chart {
        lines.floor = Some(1e-40);
    }
    assert!(!svg(&drawing).unwrap().contains("numerical floor"));
}

#[test]
fn a_stray_value_does_not_stretch_the_axis_over_hundreds_of_decades() {
    let values = vec![1.0, 0.1, 1e-200, 0.01];
    let line = series("a", 0.0, vec![1.0, 2.0, 3.0, 4.0], values, 1.0);
    let document = svg(&drawing(Chart::Lines(chart(vec![line])))).unwrap();
    let exponents: Vec<i32> =
        document.lines().filter_map(|line| line.replace('−', "-").parse().ok()).collect();
    assert!(exponents.len() > 4 && exponents.iter().all(|exponent| *exponent >= -16), "{exponents:?}");
}

#[test]
fn a_png_has_the_width_of_a_column_at_300_dots_per_inch() {
    for drawing in [spectrum(), evolution(), alignment(16, 16)] {
        let bytes = png(&drawing).unwrap();
        let (width, height) = dimensions(&bytes);
        assert_eq!(width, 1004);
        assert!((700..850).contains(&height), "{height}");
        let provenance = drawing.provenance.as_bytes();
        assert!(bytes.windows(provenance.len()).any(|window| window == provenance));
    }
}

#[test]
fn a_prediction_of_the_same_shade_is_dashed() {
    let document = svg(&pairs()).unwrap();
    let colour = super::palette::line(0.5).rgb;
    let colour = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let pieces =
        document.lines().filter(|line| line.starts_with("<polyline") && line.contains(&colour)).count();
    assert!(pieces > 20, "{pieces}");
}

#[test]
fn a_long_legend_names_the_first_and_the_last_series() {
    let document = svg(&evolution()).unwrap();
    let labels: Vec<&str> = document.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert!(labels.contains(&"16") && labels.contains(&"4") && !labels.contains(&"5"), "{labels:?}");
}

#[test]
fn samples_are_written_where_the_environment_asks() {
    let Some(folder) = std::env::var_os("CONTRAFLOW_SAMPLES").map(std::path::PathBuf::from) else { return };
    let mut all = odd_drawings();
    all.extend([
        ("spectrum", spectrum()),
        ("evolution", evolution()),
        ("alignment", alignment(16, 16)),
        ("pairs", pairs()),
        ("five", five()),
    ]);
    for (name, drawing) in all {
        std::fs::write(folder.join(format!("{name}.svg")), svg(&drawing).unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png(&drawing).unwrap()).unwrap();
    }
}
