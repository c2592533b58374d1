//! The figures of the repository are those that its experiments give now, as far as an eye can tell.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A colour of which one channel differs by more than this, of 255, is another colour.
const COLOUR: i16 = 48;

/// What may differ: a rounding that another processor makes otherwise can move a value across the numerical floor.
const MOST: f64 = 0.002;

struct Image {
    width: usize,
    rows: Vec<[i16; 3]>,
}

impl Image {
    fn read(path: &Path) -> Image {
        let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        let rows = bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(i16::from)).collect();
        Image { width: info.width as usize, rows }
    }

    fn height(&self) -> usize {
        self.rows.len() / self.width
    }

    /// Whether this colour lies at a place or beside it: what has moved by a dot, of which 300 make an inch, looks the same.
    fn has_near(&self, colour: [i16; 3], x: usize, y: usize) -> bool {
        let near = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
        near(y, self.height()).any(|y| {
            near(x, self.width).any(|x| {
                let other = self.rows[y * self.width + x];
                (0..3).all(|channel| (other[channel] - colour[channel]).abs() <= COLOUR)
            })
        })
    }

    /// The part of the dots of one of them that the other does not have near their place.
    fn difference(&self, other: &Image) -> f64 {
        if (self.width, self.height()) != (other.width, other.height()) {
            return 1.0;
        }
        let missing = |from: &Image, to: &Image| {
            let has =
                |(at, colour): &(usize, &[i16; 3])| to.has_near(**colour, at % from.width, at / from.width);
            from.rows.iter().enumerate().filter(|dot| !has(dot)).count()
        };
        missing(self, other).max(missing(other, self)) as f64 / self.rows.len() as f64
    }

    /// Moved to the right.
    fn moved(&self, dots: usize) -> Image {
        let mut rows = self.rows.clone();
        rows.rotate_right(dots);
        Image { width: self.width, rows }
    }
}

/// Draws experiments of a folder into another one.
fn reproduce(folder: &Path, names: &[&str], out: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contraflow"));
    let output =
        command.current_dir(folder).arg("reproduce").args(names).arg("--out").arg(out).output().unwrap();
    // A verdict may ask for records of other experiments; here the figures count.
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
}

fn drawn(out: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    found
}

#[test]
fn the_figures_of_the_repository_are_those_that_its_experiments_give() {
    let folder = TempDir::new().unwrap();
    reproduce(Path::new(ROOT), &["figure_3_paper", "figures_5_6_paper", "frozen_x"], folder.path());
    let figures = drawn(folder.path());
    assert!(figures.len() >= 6, "{figures:?}");
    for path in &figures {
        let committed = Path::new(ROOT).join("figures").join(path.file_name().unwrap());
        let difference = Image::read(path).difference(&Image::read(&committed));
        assert!(
            difference <= MOST,
            "{}: {:.2} % of its dots differ; if that is meant, draw the figures anew with `contraflow reproduce`",
            committed.display(),
            100.0 * difference
        );
    }
    // Controls: the same figure moved by two dots, and that of other seeds.
    let committed = Image::read(&Path::new(ROOT).join("figures/frozen-x.png"));
    assert!(committed.difference(&committed.moved(1)) <= MOST);
    assert!(committed.difference(&committed.moved(3)) > 5.0 * MOST);
    let other = folder.path().join("experiments");
    fs::create_dir(&other).unwrap();
    let text = fs::read_to_string(Path::new(ROOT).join("experiments/frozen_x.toml")).unwrap();
    let seed = text.lines().find(|line| line.starts_with("seed")).unwrap();
    fs::write(other.join("frozen_x.toml"), text.replace(seed, "seed = 1234")).unwrap();
    reproduce(folder.path(), &["frozen_x"], &folder.path().join("other"));
    let difference = Image::read(&folder.path().join("other/frozen-x.png")).difference(&committed);
    assert!(difference > 2.0 * MOST, "other seeds change {difference} of the dots");
}

#[cfg(feature = "pdf")]
#[test]
fn a_pdf_has_the_size_and_the_words_of_the_figure_and_equal_drawings_give_equal_bytes() {
    use contraflow::figure::pdf;
    use contraflow::record::{Chart, Drawing, HeatMap, PageWidth, Scale};
    let map = HeatMap {
        x_label: "k".to_string(),
        y_label: "layers".to_string(),
        x_ticks: vec!["0.1".to_string(), "1".to_string()],
        y_ticks: vec!["1".to_string()],
        first_row_at_bottom: true,
        value_label: "effective rank".to_string(),
        rows: 1,
        columns: 2,
        values: vec![4.0, 2.0],
        value_scale: Scale::Linear,
        range: (1.0, 4.0),
        marks: vec![true, false],
        mark_label: Some("half".to_string()),
    };
    for width in [PageWidth::SingleColumn, PageWidth::DoubleColumn] {
        let drawing = Drawing {
            width,
            title: "Spectrum of W (σ₁ ≥ σ₂)".to_string(),
            caption: "one seed".to_string(),
            provenance: "contraflow, plans 1234".to_string(),
            chart: Chart::HeatMap(map.clone()),
        };
        let bytes = pdf(&drawing).unwrap();
        // Several times, as the order in which the converter writes is another one each time.
        assert!((0..5).all(|_| pdf(&drawing).unwrap() == bytes));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("%PDF-1.") && text.ends_with("%%EOF\n"));
        // In points, of which 72 make an inch.
        let wide = text.split("/MediaBox").nth(1).unwrap().split(']').next().unwrap();
        let wide: f64 = wide.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert!((wide - width.millimetres() * 72.0 / 25.4).abs() < 0.01, "{wide}");
        let title: String = "Spectrum of W (σ₁".encode_utf16().map(|unit| format!("{unit:04X}")).collect();
        assert!(text.contains(&format!("/Title <FEFF{title}")) && text.contains("/Info "));
        assert!(text.contains("/FontFile") && !text.contains("/Subtype /Image"), "letters, and no pixels");
    }
}
