use super::page::compose;
use super::scene::{Anchor, Colour, Shape, Text};
use super::{palette, png, svg};
use crate::record::{
    Chart, Direction, Drawing, HeatMap, LineChart, PageWidth, Reference, Scale, Series, SeriesStyle,
};

fn drawing(chart: Chart) -> Drawing {
    Drawing {
        width: PageWidth::SingleColumn,
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
    Series { label: label.to_owned(), style: SeriesStyle::Line, shade, x, median, low, high }
}

fn points(label: &str, shade: f64, x: Vec<f64>, median: Vec<f64>, spread: f64) -> Series {
    Series { style: SeriesStyle::Points, ..series(label, shade, x, median, spread) }
}

fn theory(label: &str, shade: f64, x: Vec<f64>, median: Vec<f64>) -> Series {
    let line = series(label, shade, x, median, 1.0);
    Series { style: SeriesStyle::Theory, low: Vec::new(), high: Vec::new(), ..line }
}

fn reference(direction: Direction, value: f64, label: &str) -> Reference {
    Reference { direction, value, label: label.to_owned(), widens_axis: false }
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
        theory_label: None,
        references: Vec::new(),
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
        x_ticks: Vec::new(),
        y_ticks: Vec::new(),
        first_row_at_bottom: false,
        value_label: "|A|".to_owned(),
        rows,
        columns,
        values: (0..rows * columns).map(value).collect(),
        value_scale: Scale::Linear,
        range: (0.0, 1.0),
        marks: Vec::new(),
        mark_label: None,
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
            theory("predicted", 0.1, x, values),
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
    let values = [f64::NAN, 0.0, -1.0, f64::INFINITY, 1e300, 5e-324];
    let mut bare = swept();
    if let Chart::Lines(lines) = &mut bare.chart {
        for series in &mut lines.series {
            for (k, value) in values.iter().enumerate() {
                (series.x[k], series.median[k + 1]) = (*value, *value);
            }
        }
        for value in values {
            for direction in [Direction::X, Direction::Y] {
                lines.references.push(Reference { widens_axis: true, ..reference(direction, value, &words) });
            }
        }
        lines.theory_label = Some(words.clone());
    }
    odd.push(("odd-points", bare));
    let mut full = swept();
    if let Chart::Lines(lines) = &mut full.chart {
        lines.series.clear();
        lines.references = (1..300).map(|k| reference(Direction::X, f64::from(k) / 300.0, "many")).collect();
    }
    odd.push(("references-alone", full));
    let mut colours = phases(6, 9);
    if let Chart::HeatMap(map) = &mut colours.chart {
        map.values[..6].copy_from_slice(&values);
        map.values.truncate(50);
        map.range = (-1.0, f64::NAN);
        (map.x_ticks[2], map.y_ticks[1]) = (words.clone(), words.clone());
        map.x_ticks.truncate(5);
        map.y_ticks.extend((0..90).map(|k| k.to_string()));
        (map.marks, map.mark_label) = (vec![true; 1000], Some(words.clone()));
    }
    odd.push(("odd-colours", colours));
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
        lines.push(theory(&format!("predicted, {rate}"), k as f64 / 2.0, times.clone(), bent));
    }
    let axes = LineChart { x_scale: Scale::Linear, y_scale: Scale::Linear, ..chart(lines) };
    drawing(Chart::Lines(LineChart { legend_title: "decay rate".to_owned(), ..axes }))
}

/// Simulations against a swept parameter, with gaps, and a theory of each.
fn swept() -> Drawing {
    let strengths: Vec<f64> = (0..13).map(|k| 10f64.powf(-1.0 + f64::from(k) / 6.0)).collect();
    let mut lines = Vec::new();
    for (k, depth) in [1.0, 2.0, 4.0].iter().enumerate() {
        let law = |x: &f64| 0.8 * (x / (1.0 + x)).powf(*depth);
        let mut values: Vec<f64> = strengths.iter().map(|x| law(x) * (1.0 + 0.1 * (7.0 * x).sin())).collect();
        values[3] = f64::NAN;
        let shade = k as f64 / 2.0;
        lines.push(points(&depth.to_string(), shade, strengths.clone(), values, 1.3));
        let fine: Vec<f64> = (0..121).map(|k| 10f64.powf(-1.0 + f64::from(k) / 60.0)).collect();
        lines.push(theory("", shade, fine.clone(), fine.iter().map(law).collect()));
    }
    drawing(Chart::Lines(LineChart {
        x_label: "strength of augmentation k".to_owned(),
        y_label: "effective rank over width".to_owned(),
        legend_title: "layers L".to_owned(),
        theory_label: Some("theory".to_owned()),
        references: vec![
            reference(Direction::X, 2.0, "k = 2σ"),
            reference(Direction::X, 1.5, "k = 1.5σ"),
            reference(Direction::Y, 0.1, "one tenth"),
            reference(Direction::Y, 0.8, "full rank"),
            reference(Direction::X, 1e4, "not shown"),
        ],
        ..chart(lines)
    }))
}

/// A map over two parameters with a threshold marked.
fn phases(rows: usize, columns: usize) -> Drawing {
    let value =
        |k: usize| 10f64.powf(-5.0 * ((k / columns) as f64 / rows as f64) - (k % columns) as f64 * 0.1);
    let values: Vec<f64> = (0..rows * columns).map(value).collect();
    let mut drawing = drawing(Chart::HeatMap(HeatMap {
        x_label: "strength of augmentation k".to_owned(),
        y_label: "standard deviation of the initial weights".to_owned(),
        x_ticks: (0..columns).map(|k| format!("{:.2}", 0.05 * 1.5f64.powi(k as i32))).collect(),
        y_ticks: (0..rows).map(|k| format!("{:.3}", 0.001 * 2f64.powi(k as i32))).collect(),
        first_row_at_bottom: true,
        value_label: "smallest singular value of W".to_owned(),
        rows,
        columns,
        marks: values.iter().map(|value| *value < 1e-3).collect(),
        values,
        value_scale: Scale::Log,
        range: (1e-6, 1.0),
        mark_label: Some("collapsed in all repeats".to_owned()),
    }));
    drawing.title = "Collapse against augmentation and initialisation".to_owned();
    drawing
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

/// The simulations of [`swept`] as lines, points or theories, and without what belongs to the theories.
fn swept_as(style: SeriesStyle) -> Drawing {
    let mut drawing = swept();
    if let Chart::Lines(lines) = &mut drawing.chart {
        lines.series.retain(|series| series.style == SeriesStyle::Points);
        lines.series.iter_mut().for_each(|series| series.style = style);
        (lines.theory_label, lines.references) = (None, Vec::new());
    }
    drawing
}

fn lines(drawing: &mut Drawing) -> &mut LineChart {
    let Chart::Lines(lines) = &mut drawing.chart else { panic!("no chart of lines") };
    lines
}

fn map(drawing: &mut Drawing) -> &mut HeatMap {
    let Chart::HeatMap(map) = &mut drawing.chart else { panic!("no map") };
    map
}

fn shapes(drawing: &Drawing) -> Vec<Shape> {
    compose(drawing).unwrap().shapes
}

/// Words on the page.
fn words(drawing: &Drawing) -> Vec<String> {
    let text = |shape| if let Shape::Text(text) = shape { Some(text.words) } else { None };
    shapes(drawing).into_iter().filter_map(text).collect()
}

/// Points of all lines of a colour.
fn lines_of(drawing: &Drawing, colour: Colour) -> Vec<Vec<(f64, f64)>> {
    let line = |shape| match shape {
        Shape::Line(points, _, other) if other == colour => Some(points),
        _ => None,
    };
    shapes(drawing).into_iter().filter_map(line).collect()
}

/// Upper left and lower right corner of each text, with its words.
fn text_areas(drawing: &Drawing) -> Vec<(String, [f64; 4])> {
    let scene = compose(drawing).unwrap();
    let area = |text: &Text| {
        let width = scene.font.width(&text.words, 72.0 / 25.4) * text.size;
        let start = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let (up, down) = (0.7 * text.size, 0.1 * text.size);
        let (x, y) = text.at;
        if text.upwards {
            [x - up, y - start - width, x + down, y - start]
        } else {
            [x + start, y - up, x + start + width, y + down]
        }
    };
    let texts =
        scene.shapes.iter().filter_map(|shape| if let Shape::Text(text) = shape { Some(text) } else { None });
    texts.map(|text| (text.words.clone(), area(text))).collect()
}

/// Pairs of texts that overlap, and texts that leave a page of a height.
fn collisions(areas: &[(String, [f64; 4])], height: f64) -> Vec<String> {
    const TOUCH: f64 = 0.05;
    let mut found = Vec::new();
    for (k, (words, a)) in areas.iter().enumerate() {
        if a[0] < 0.0 || a[1] < 0.0 || a[2] > 85.0 || a[3] > height {
            found.push(format!("{words:?} leaves the page"));
        }
        for (other, b) in &areas[..k] {
            if a[0] + TOUCH < b[2] && b[0] + TOUCH < a[2] && a[1] + TOUCH < b[3] && b[1] + TOUCH < a[3] {
                found.push(format!("{words:?} on {other:?}"));
            }
        }
    }
    found
}

/// Lines, points and theories with references in narrow places.
fn crowded() -> Vec<(&'static str, Drawing)> {
    let mut over_time = evolution();
    let chart = lines(&mut over_time);
    let bent = |line: &Series| {
        theory("", line.shade, line.x.clone(), line.median.iter().map(|value| 1.1 * value).collect())
    };
    let theories: Vec<Series> = chart.series.iter().map(bent).collect();
    chart.series.extend(theories);
    chart.theory_label = Some("theory of two and more layers".to_owned());
    let times = (0..6).map(|k| 2.0 + 0.3 * f64::from(k));
    chart.references = times.map(|t| reference(Direction::X, t, &format!("time {t}"))).collect();
    chart.references.push(reference(Direction::Y, 0.3, "initial scale"));
    chart.references.push(reference(Direction::Y, 0.32, "another scale"));

    let mut large = swept_as(SeriesStyle::Points);
    let chart = lines(&mut large);
    chart.y_scale = Scale::Linear;
    for series in &mut chart.series {
        for values in [&mut series.median, &mut series.low, &mut series.high] {
            values.iter_mut().for_each(|value| *value *= 1e7);
        }
    }
    chart.references = vec![
        reference(Direction::X, 0.11, "start of training"),
        reference(Direction::X, 0.12, "soon after"),
        reference(Direction::Y, 8.4e6, "largest"),
    ];

    let mut spectra = spectrum();
    lines(&mut spectra).references =
        vec![reference(Direction::X, 8.5, "block"), reference(Direction::Y, 1e-6, "single precision")];
    vec![("over-time", over_time), ("large", large), ("spectra", spectra), ("swept", swept())]
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
fn a_figure_over_both_columns_is_as_wide_as_a_page_and_its_letters_stay() {
    for drawing in [spectrum(), evolution(), phases(3, 4), alignment(16, 16)] {
        let wide = Drawing { width: PageWidth::DoubleColumn, ..drawing.clone() };
        assert!(svg(&wide).unwrap().contains("width=\"174mm\""));
        assert_eq!(dimensions(&png(&wide).unwrap()).0, 2055);
        let (narrow, wide) = (compose(&drawing).unwrap(), compose(&wide).unwrap());
        let sizes = |scene: &super::scene::Scene| {
            let sizes = scene.shapes.iter().filter_map(|shape| match shape {
                Shape::Text(Text { size, .. }) => Some((size * 1e6) as u64),
                _ => None,
            });
            sizes.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(sizes(&wide), sizes(&narrow));
        for shape in &wide.shapes {
            let points = match shape {
                Shape::Rectangle(from, to, _) => vec![*from, *to],
                Shape::Polygon(points, _) | Shape::Line(points, ..) => points.clone(),
                Shape::Text(Text { at, .. }) => vec![*at],
            };
            assert!(
                points.iter().all(|(x, y)| (0.0..=wide.width).contains(x) && (0.0..=wide.height).contains(y))
            );
        }
    }
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
fn points_are_not_joined_and_lines_are() {
    let colour = palette::line(0.5);
    let longest = |drawing: &Drawing| lines_of(drawing, colour).iter().map(Vec::len).max();
    assert_eq!(longest(&swept_as(SeriesStyle::Points)), Some(2));
    assert!(longest(&swept_as(SeriesStyle::Line)) > Some(2));
}

#[test]
fn each_point_has_a_bar_and_a_missing_value_has_none() {
    // One bar more is the sample of the legend.
    let bars = |drawing: &Drawing| lines_of(drawing, palette::line(0.5)).len() - 1;
    let mut drawing = swept_as(SeriesStyle::Points);
    assert_eq!(bars(&drawing), 12);
    lines(&mut drawing).series[1].median[6] = f64::NAN;
    assert_eq!(bars(&drawing), 11);
    // A value without spread has no bar.
    lines(&mut drawing).series[1].low[8] = 2.0;
    lines(&mut drawing).series[1].high[8] = 2.0;
    assert_eq!(bars(&drawing), 10);
}

#[test]
fn bars_reach_from_low_to_high() {
    let ends = |spread: f64| {
        let point = points("", 0.5, vec![1.0, 2.0], vec![1.0, 100.0], spread);
        let bars = lines_of(&drawing(Chart::Lines(chart(vec![point]))), palette::line(0.5));
        assert_eq!(bars.len(), 2);
        (
            bars[0].iter().map(|end| end.1).fold(f64::INFINITY, f64::min),
            bars[1].iter().map(|end| end.1).fold(0.0, f64::max),
        )
    };
    // A factor of ten up from 1 and down from 100 is the same height.
    let (upper, lower) = ends(10.0);
    assert!((upper - lower).abs() < 1e-9);
    let (upper, lower) = ends(9.0);
    assert!(upper > lower + 0.5);
}

#[test]
fn points_stay_clear_of_the_frame() {
    let clearance = |style: SeriesStyle| {
        let drawing = swept_as(style);
        let frame = lines_of(&drawing, palette::INK).into_iter().find(|line| line.len() == 6).unwrap();
        let x = lines_of(&drawing, palette::line(0.5)).into_iter().flatten().map(|point| point.0);
        x.fold(f64::INFINITY, f64::min) - frame[0].0
    };
    assert!(clearance(SeriesStyle::Points) > 1.0);
    assert!(clearance(SeriesStyle::Line) < 1e-6);
}

#[test]
fn a_theory_has_dark_edges_and_neither_band_nor_marks() {
    let mut drawing = swept_as(SeriesStyle::Theory);
    let bare = shapes(&drawing);
    let polygons = bare.iter().filter(|shape| matches!(shape, Shape::Polygon(..))).count();
    assert_eq!(polygons, 0);
    let colour = palette::line(0.5);
    let inside = lines_of(&drawing, colour);
    let edges = lines_of(&drawing, palette::INK);
    assert!(inside.len() > 10 && inside.iter().all(|dash| edges.contains(dash)));
    // Whatever its edges say, it looks the same.
    lines(&mut drawing).series[1].low.clear();
    lines(&mut drawing).series[1].high.fill(1e9);
    assert_eq!(shapes(&drawing), bare);
    // The marks that are missing here are there for points.
    assert!(shapes(&swept_as(SeriesStyle::Points)).iter().any(|shape| matches!(shape, Shape::Polygon(..))));
}

#[test]
fn the_legend_explains_theories_once() {
    let count = |drawing: &Drawing, word: &str| words(drawing).iter().filter(|words| *words == word).count();
    let mut drawing = swept();
    assert_eq!(count(&drawing, "theory"), 1);
    lines(&mut drawing).series[1].label = "Theorem 1".to_owned();
    assert_eq!((count(&drawing, "theory"), count(&drawing, "Theorem 1")), (0, 1));
    let mut measured = swept_as(SeriesStyle::Points);
    lines(&mut measured).theory_label = Some("theory".to_owned());
    assert_eq!(count(&measured, "theory"), 0);
    // Beside a strip of colours too.
    let over_time = &crowded()[0].1;
    let explained = words(over_time).iter().filter(|words| words.starts_with("theory of")).count();
    assert_eq!((explained, count(over_time, "16")), (1, 1));
}

#[test]
fn a_line_under_a_theory_of_its_shade_is_pale() {
    let mut drawing = pairs();
    let strong = |drawing: &Drawing| lines_of(drawing, palette::line(0.5)).iter().any(|line| line.len() > 50);
    assert!(!strong(&drawing));
    lines(&mut drawing).series[3].shade = 0.6;
    assert!(strong(&drawing));
}

#[test]
fn a_reference_is_drawn_where_the_axes_show_it() {
    let mut drawing = swept_as(SeriesStyle::Points);
    let lines_and_label = |drawing: &Drawing| {
        let dashes = lines_of(drawing, palette::NOTE).len();
        (dashes > 0, words(drawing).contains(&"mark".to_owned()))
    };
    for (direction, inside, outside) in [(Direction::X, 2.0, 50.0), (Direction::Y, 0.01, 50.0)] {
        let mut with = |value: f64, widens_axis: bool| {
            lines(&mut drawing).references =
                vec![Reference { widens_axis, ..reference(direction, value, "mark") }];
            lines_and_label(&drawing)
        };
        assert_eq!(with(inside, false), (true, true));
        assert_eq!(with(outside, false), (false, false));
        assert_eq!(with(outside, true), (true, true));
        assert_eq!(with(-1.0, true), (false, false));
        assert_eq!(with(f64::NAN, true), (false, false));
    }
}

#[test]
fn a_reference_below_the_floor_is_not_drawn() {
    let mut drawing = spectrum();
    for (value, shown) in [(1e-6, true), (0.7e-13, false)] {
        lines(&mut drawing).references = vec![reference(Direction::Y, value, "mark")];
        assert_eq!(words(&drawing).contains(&"mark".to_owned()), shown, "{value}");
    }
}

#[test]
fn labels_of_references_stand_off_data() {
    let mut drawing = swept();
    // Through the middle of the points, where the right end of the line is taken.
    lines(&mut drawing).references = vec![reference(Direction::Y, 0.6, "through")];
    let (_, [left, upper, right, lower]) =
        text_areas(&drawing).into_iter().find(|(words, _)| words == "through").unwrap();
    let within = |(x, y): &(f64, f64)| (left..right).contains(x) && (upper..lower).contains(y);
    let values = |drawing: &Drawing| {
        let colours = [0.0, 0.5, 1.0].map(palette::line);
        colours.into_iter().flat_map(|colour| lines_of(drawing, colour)).flatten().collect::<Vec<_>>()
    };
    assert!(!values(&drawing).iter().any(within));
    // At the right end it would stand on them.
    let end = values(&drawing).iter().fold(0.0, |end: f64, point| end.max(point.0));
    let moved = end - right;
    let within = |(x, y): &(f64, f64)| within(&(x - moved, *y));
    assert!(values(&drawing).iter().any(within));
}

#[test]
fn texts_do_not_overlap() {
    let mut all = crowded();
    let maps = [(8, 12), (12, 8), (3, 12), (40, 60), (1, 5), (30, 2)];
    all.extend(maps.map(|(rows, columns)| ("map", phases(rows, columns))));
    all.extend([("pairs", pairs()), ("five", five()), ("alignment", alignment(16, 16))]);
    for (name, drawing) in &all {
        let found = collisions(&text_areas(drawing), compose(drawing).unwrap().height);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn texts_that_overlap_are_found() {
    let area = |left: f64, upper: f64| ("word".to_owned(), [left, upper, left + 5.0, upper + 2.0]);
    assert!(collisions(&[area(1.0, 1.0), area(6.5, 1.0), area(1.0, 3.5)], 50.0).is_empty());
    assert_eq!(collisions(&[area(1.0, 1.0), area(5.5, 2.5)], 50.0).len(), 1);
    assert_eq!(collisions(&[area(81.0, 1.0), area(1.0, 49.0)], 50.0).len(), 2);
    // The areas are those of the letters: a wider word has a wider one.
    let areas = text_areas(&alignment(16, 16));
    let width = |name: &str| {
        let (_, area) = areas.iter().find(|(words, _)| words == name).unwrap();
        area[2] - area[0]
    };
    assert!(width("16") > 1.5 * width("4") && width("16") < 4.0);
}

#[test]
fn labels_of_cells_replace_their_numbers_and_are_thinned_in_equal_steps() {
    let shown = |drawing: &mut Drawing| {
        let words = words(drawing);
        let place = |(k, label): (usize, &String)| words.contains(label).then_some(k);
        map(drawing).y_ticks.iter().enumerate().filter_map(place).collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut phases(8, 12)), (0..8).collect::<Vec<_>>());
    let thinned = shown(&mut phases(20, 30));
    assert!(thinned.len() < 20 && thinned.len() > 5, "{thinned:?}");
    assert!(thinned.windows(2).all(|pair| pair[1] - pair[0] == thinned[1] - thinned[0]), "{thinned:?}");
    let mut numbered = phases(8, 12);
    assert!(!words(&numbered).contains(&"8".to_owned()));
    map(&mut numbered).y_ticks.clear();
    assert!(words(&numbered).contains(&"8".to_owned()));
}

#[test]
fn a_map_over_parameters_fills_the_width_and_a_matrix_has_square_cells() {
    let size = |drawing: &Drawing| {
        let frame = lines_of(drawing, palette::INK).into_iter().find(|line| line.len() == 6).unwrap();
        (frame[2].0 - frame[0].0, frame[2].1 - frame[0].1)
    };
    for (rows, columns) in [(8, 12), (12, 8), (3, 12), (8, 8), (12, 1)] {
        let (width, height) = size(&phases(rows, columns));
        assert!((45.0..65.0).contains(&width) && (27.9..44.1).contains(&height), "{width} by {height}");
        let mut matrix = phases(rows, columns);
        (map(&mut matrix).x_ticks, map(&mut matrix).y_ticks) = (Vec::new(), Vec::new());
        let (width, height) = size(&matrix);
        let square = (rows as f64 / height - columns as f64 / width).abs() < 1e-6;
        assert!(square || rows > 8 * columns || columns > 4 * rows, "{width} by {height}");
    }
}

/// Colours of the cells at the left edge of a map, downwards.
fn left_cells(drawing: &Drawing) -> Vec<Colour> {
    let frame = lines_of(drawing, palette::INK).into_iter().find(|line| line.len() == 6).unwrap();
    let cell = |shape| match shape {
        Shape::Rectangle(corner, _, colour) if (corner.0 - frame[0].0).abs() < 1e-9 => {
            Some((corner.1, colour))
        }
        _ => None,
    };
    let mut cells: Vec<_> = shapes(drawing).into_iter().filter_map(cell).collect();
    // The ground lies under the first cell.
    cells.remove(0);
    cells.sort_by(|a, b| a.0.total_cmp(&b.0));
    cells.into_iter().map(|(_, colour)| colour).collect()
}

#[test]
fn the_first_row_can_be_at_the_bottom() {
    let mut drawing = phases(5, 4);
    let height = |drawing: &Drawing, label: &str| {
        text_areas(drawing).into_iter().find(|(words, _)| words == label).unwrap().1[1]
    };
    let upwards = left_cells(&drawing);
    assert_eq!(upwards.len(), 5);
    assert!(height(&drawing, "0.001") > height(&drawing, "0.002"));
    map(&mut drawing).first_row_at_bottom = false;
    let mut downwards = left_cells(&drawing);
    assert!(height(&drawing, "0.001") < height(&drawing, "0.002"));
    assert_ne!(upwards, downwards);
    downwards.reverse();
    assert_eq!(upwards, downwards);
}

#[test]
fn colours_of_a_logarithmic_scale_show_ratios() {
    let mut drawing = phases(4, 1);
    let colours = |drawing: &mut Drawing, values: &[f64]| {
        (map(drawing).values, map(drawing).first_row_at_bottom) = (values.to_vec(), false);
        left_cells(drawing)
    };
    let values = [1e-6, 1e-3, 1.0, 1e3];
    assert_eq!(colours(&mut drawing, &values), [0.0, 0.5, 1.0, 1.0].map(palette::cell));
    assert!(["−6", "0"].iter().all(|exponent| words(&drawing).contains(&(*exponent).to_owned())));
    // Zero lies beyond the low end; a negative value has no place.
    assert_eq!(colours(&mut drawing, &[0.0, -1.0, 1.0, f64::NAN]), [0.0, 1.0].map(palette::cell));
    map(&mut drawing).value_scale = Scale::Linear;
    assert_eq!(colours(&mut drawing, &values), [0.0, 1e-3, 1.0, 1.0].map(palette::cell));
}

#[test]
fn marked_cells_have_a_dot_that_is_seen_on_dark_and_on_light() {
    let dots = |drawing: &Drawing, colour: Colour| {
        let dot = |shape: &Shape| matches!(shape, Shape::Polygon(_, other) if *other == colour);
        shapes(drawing).iter().filter(|shape| dot(shape)).count()
    };
    let mut drawing = phases(8, 12);
    let marked = map(&mut drawing).marks.iter().filter(|mark| **mark).count();
    // One more explains them.
    assert!(marked > 10 && dots(&drawing, palette::INK) == marked + 1);
    assert_eq!(dots(&drawing, palette::PAPER), marked + 1);
    assert!(words(&drawing).contains(&"collapsed in all repeats".to_owned()));
    map(&mut drawing).mark_label = None;
    assert_eq!(dots(&drawing, palette::INK), marked);
    map(&mut drawing).marks.clear();
    assert_eq!(dots(&drawing, palette::INK), 0);
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
