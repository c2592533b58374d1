//! What people read in a terminal: tables, text that fits its width, spectra in Unicode. Colour only where a terminal shows it and
//! NO_COLOR does not forbid it.

use super::print_line;
use crate::page::number;
use console::{Style, Term, measure_text_width};

/// Columns of the terminal that standard output is, if it is one.
pub(super) fn width() -> Option<usize> {
    let terminal = Term::stdout();
    // Some do not tell; where they are narrower than 60, wrapping does more harm than good.
    let columns = terminal.size_checked().map_or(80, |(_, columns)| usize::from(columns).max(60));
    terminal.is_term().then_some(columns)
}

/// The lines of a text of words, none longer than `width` unless a word is.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map(|line| (measure_text_width(line), line));
        match line {
            Some((0, line)) => line.push_str(word),
            Some((used, line)) if used + 1 + measure_text_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Prints a text behind what is left of it, its further lines below the first; in one line where there is no terminal.
pub(super) fn print_beside(left: &str, text: &str) {
    let indent = measure_text_width(left);
    match width() {
        Some(width) if width > indent + 20 => {
            for (index, line) in wrapped(text, width - indent).iter().enumerate() {
                let before = if index == 0 { left.to_string() } else { " ".repeat(indent) };
                print_line(&format!("{before}{line}"));
            }
        }
        _ => print_line(&format!("{left}{text}")),
    }
}

/// A text in a colour, padded to a number of columns.
pub(super) fn painted(text: &str, colour: &Style, columns: usize) -> String {
    let space = " ".repeat(columns.saturating_sub(measure_text_width(text)));
    format!("{}{space}", colour.apply_to(text))
}

/// Rows below a heading in aligned columns, numbers to the right, everything else to the left.
pub(super) fn aligned(heading: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let all = || std::iter::once(heading).chain(rows.iter().map(Vec::as_slice));
    let is_number = |text: &str| text.is_empty() || text.parse::<f64>().is_ok() || text == "–";
    let columns: Vec<(usize, bool)> = (0..heading.len())
        .map(|column| {
            let width = all().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
            (width, rows.iter().all(|row| is_number(&row[column])))
        })
        .collect();
    let line = |row: &[String]| {
        let mut line = String::new();
        for (text, &(width, right)) in row.iter().zip(&columns) {
            let space = " ".repeat(width - measure_text_width(text));
            line += &if right { format!("{space}{text}") } else { format!("{text}{space}") };
            line += "  ";
        }
        line.trim_end().to_string()
    };
    all().map(line).collect()
}

/// A number in four digits.
pub(super) fn short(value: f64) -> String {
    number(value, 4)
}

/// The range of the values of several spectra that lie above their floors: the smallest and the largest.
pub(super) fn range<'a>(spectra: impl Iterator<Item = (&'a [f64], f64)>) -> Option<(f64, f64)> {
    let mut range: Option<(f64, f64)> = None;
    for (values, floor) in spectra {
        for &value in values.iter().filter(|value| is_shown(**value, floor)) {
            let (low, high) = range.unwrap_or((value, value));
            range = Some((low.min(value), high.max(value)));
        }
    }
    range
}

/// Whether a singular value is one: a positive number above its floor.
fn is_shown(value: f64, floor: f64) -> bool {
    value.is_finite() && value > 0.0 && (value > floor || floor.is_nan())
}

/// Position of a value on the logarithmic scale from `low` to `high`, from 0 to 1; in the middle where these are equal.
fn position(value: f64, (low, high): (f64, f64)) -> f64 {
    if high <= low { 0.5 } else { ((value / low).ln() / (high / low).ln()).clamp(0.0, 1.0) }
}

/// A spectrum in one line: eight heights on the logarithmic scale of `range`, a dot for what is not above the floor.
pub(super) fn sparkline(values: &[f64], floor: f64, range: (f64, f64)) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let block = |&value: &f64| match is_shown(value, floor) {
        true => BLOCKS[(position(value, range) * 7.0).round() as usize],
        false => '·',
    };
    values.iter().map(block).collect()
}

/// One spectrum of a plot.
pub(super) struct Curve<'a> {
    /// What the legend calls it.
    pub(super) label: String,
    /// The values, the largest first.
    pub(super) values: &'a [f64],
    /// Their numerical floor.
    pub(super) floor: f64,
}

/// Marks of the curves of a plot, told apart by their shape.
pub(super) const MARKS: [char; 8] = ['●', '○', '■', '□', '▲', '△', '◆', '◇'];

/// Rows of a plot besides axis and legend.
const HEIGHT: usize = 16;

/// Spectra over their ranks on a logarithmic scale, as many as there are [`MARKS`], at most `width` columns wide; nothing where no
/// value lies above its floor.
pub(super) fn plot(title: &str, curves: &[Curve<'_>], width: usize) -> Vec<String> {
    let Some(range) = range(curves.iter().map(|curve| (curve.values, curve.floor))) else {
        return vec![format!("{title}: no value is above its floor")];
    };
    const GUTTER: usize = 10;
    let ranks = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0);
    let step = (width.saturating_sub(GUTTER + 1) / ranks.max(1)).clamp(1, 5);
    let shown = ranks.min(width.saturating_sub(GUTTER + 1).max(1));
    let mut cells = vec![vec![' '; shown * step]; HEIGHT];
    let row_of = |value: f64| HEIGHT - 1 - (position(value, range) * (HEIGHT - 1) as f64).round() as usize;
    for (curve, mark) in curves.iter().zip(MARKS) {
        for (rank, &value) in curve.values.iter().enumerate().take(shown) {
            if is_shown(value, curve.floor) {
                cells[row_of(value)][rank * step] = mark;
            }
        }
    }
    let mut lines = vec![title.to_string()];
    for (index, row) in cells.iter().enumerate() {
        let part = 1.0 - index as f64 / (HEIGHT - 1) as f64;
        let label = match index % 5 {
            0 => format!("{:.1e}", range.0 * (range.1 / range.0).powf(part)),
            _ => String::new(),
        };
        let row: String = row.iter().collect();
        lines.push(format!("{label:>8} │{}", row.trim_end()));
    }
    lines.push(format!("{:>8} └{}", "", "─".repeat(shown * step)));
    let mut axis = vec![' '; shown * step + 4];
    for rank in (0..shown).filter(|rank| rank == &0 || (rank + 1).is_multiple_of(4.max(8 / step))) {
        for (offset, digit) in (rank + 1).to_string().chars().enumerate() {
            axis[rank * step + offset] = digit;
        }
    }
    lines.push(format!("{:>8}  {}  rank", "", axis.iter().collect::<String>().trim_end()));
    let below = |curve: &Curve<'_>| match curve.values.iter().filter(|v| !is_shown(**v, curve.floor)).count()
    {
        0 => String::new(),
        count => format!("  ({count} not above the floor {})", short(curve.floor)),
    };
    for (curve, mark) in curves.iter().zip(MARKS) {
        lines.push(format!("{:>8}  {mark} {}{}", "", curve.label, below(curve)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        let text = "one two  three σσσσ five averyverylongword six";
        let lines = wrapped(text, 10);
        assert_eq!(lines, ["one two", "three σσσσ", "five", "averyverylongword", "six"]);
        assert_eq!(wrapped("", 10), [""]);
        assert_eq!(wrapped(text, 1000).len(), 1);
    }

    #[test]
    fn columns_are_aligned_numbers_to_the_right() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lines = aligned(&texts(&["key", "σ"]), &[texts(&["a", "1.5"]), texts(&["long one", "–"])]);
        assert_eq!(lines, ["key         σ", "a         1.5", "long one    –"]);
    }

    #[test]
    fn numbers_are_short() {
        let values = [0.0, 1.0, 12.3456, 99999.4, 0.00123456, 1.5e-9, -3.0e7, f64::NAN];
        let shown = ["0", "1", "12.35", "99999", "0.001235", "1.50e-9", "-3.00e7", "–"];
        assert_eq!(values.map(short), shown);
    }

    #[test]
    fn a_sparkline_is_logarithmic_and_shows_no_value_below_the_floor() {
        let values = [1e4, 1e2, 1.0, 1e-2, 1e-9, f64::NAN];
        let range = range([(&values[..], 1e-4)].into_iter()).unwrap();
        assert_eq!(range, (1e-2, 1e4));
        assert_eq!(sparkline(&values, 1e-4, range), "█▆▃▁··");
        assert_eq!(sparkline(&[2.0, 2.0], f64::NAN, (2.0, 2.0)), "▅▅");
        assert!(super::range([(&[1e-9][..], 1e-4)].into_iter()).is_none());
    }

    #[test]
    fn a_plot_puts_each_value_in_its_row_and_column() {
        let curves = [
            Curve { label: "k = 1".into(), values: &[1e3, 1.0], floor: 1e-6 },
            Curve { label: "k = 2".into(), values: &[1e2, 1e-12], floor: 1e-6 },
        ];
        let lines = plot("singular values of W", &curves, 40);
        assert_eq!(lines[0], "singular values of W");
        assert_eq!(lines[1], "   1.0e3 │●");
        // A third of three decades from the top, and at the bottom right.
        assert_eq!(lines[6], "   1.0e2 │○");
        assert_eq!(lines[16], "   1.0e0 │     ●");
        assert_eq!(lines[17], "         └──────────");
        assert_eq!(lines[18], "          1  rank");
        assert_eq!(lines[19], "          ● k = 1");
        assert_eq!(lines[20], "          ○ k = 2  (1 not above the floor 1.00e-6)");
        assert_eq!(lines.len(), 21);
        for width in [0, 1, 12, 13, 200] {
            assert!(plot("", &curves, width).len() == 21, "{width}");
        }
        let nothing = [Curve { label: String::new(), values: &[0.0], floor: 1e-6 }];
        assert_eq!(plot("W", &nothing, 40), ["W: no value is above its floor"]);
    }
}
