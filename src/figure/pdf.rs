//! The page as PDF: its SVG converted, with the built-in font embedded, and told what it is.

use super::FigureError;
use super::scene::tidy;
use crate::record::Drawing;
use std::sync::Arc;
use svg2pdf::usvg::fontdb::{Database, Source};
use svg2pdf::usvg::{Options, Tree};
use svg2pdf::{ConversionOptions, PageOptions};

/// Units of an inch in CSS, in which the converter measures lengths.
const CSS_UNITS: f32 = 96.0;

/// The document `svg` as PDF; title, caption and provenance of `drawing` go into its information.
pub(super) fn pdf(svg: &str, drawing: &Drawing) -> Result<Vec<u8>, FigureError> {
    let words = |error: &dyn std::fmt::Display| FigureError::Encoding(error.to_string());
    let mut fonts = Database::new();
    fonts.load_font_source(Source::Binary(Arc::new(dejavu::sans::regular())));
    let options = Options { dpi: CSS_UNITS, fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| words(&error))?;
    let page = PageOptions { dpi: CSS_UNITS };
    let bytes = svg2pdf::to_pdf(&tree, ConversionOptions::default(), page).map_err(|error| words(&error))?;
    informed(ordered(&bytes), drawing)
        .ok_or_else(|| FigureError::Encoding("a PDF without a trailer".to_string()))
}

/// The document with the entries of its resource dictionaries, a line each, in the order of their names: the converter writes them in
/// any order, and equal drawings are to give equal bytes.
fn ordered(bytes: &[u8]) -> Vec<u8> {
    // A name with a number, and a reference: `/gs0 9 0 R`.
    let key = |line: &[u8]| -> Option<(String, u32)> {
        let line = std::str::from_utf8(line).ok()?.trim_start().strip_prefix('/')?;
        let (name, reference) = line.split_once(' ')?;
        let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let (object, generation) = reference.strip_suffix(" R")?.split_once(' ')?;
        object.parse::<u32>().ok().zip(generation.parse::<u32>().ok())?;
        Some((letters.to_string(), name[letters.len()..].parse().ok()?))
    };
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for entries in lines.chunk_by_mut(|a, b| key(a).is_some() && key(b).is_some()) {
        entries.sort_by_key(|line| key(line));
    }
    lines.join(&b'\n')
}

/// The document with an information dictionary, as an update after its end (ISO 32000-1, 7.5.6); none if it has no trailer.
fn informed(mut bytes: Vec<u8>, drawing: &Drawing) -> Option<Vec<u8>> {
    let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2048)..]).into_owned();
    let after = |key: &str| tail.rsplit_once(key).map(|(_, rest)| rest.trim_start());
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok();
    let (size, root, before) =
        (number(after("/Size")?)?, number(after("/Root")?)?, number(after("startxref")?)?);
    let at = bytes.len() + 1;
    let producer = format!("contraflow {}", env!("CARGO_PKG_VERSION"));
    let object = format!(
        "\n{size} 0 obj\n<</Title {} /Subject {} /Keywords {} /Producer {}>>\nendobj\n",
        text(&drawing.title),
        text(&drawing.caption),
        text(&drawing.provenance),
        text(&producer)
    );
    let table = bytes.len() + object.len();
    bytes.extend(object.as_bytes());
    let trailer = format!("<</Size {} /Root {root} 0 R /Info {size} 0 R /Prev {before}>>", size + 1);
    bytes.extend(
        format!("xref\n{size} 1\n{at:010} 00000 n \ntrailer\n{trailer}\nstartxref\n{table}\n%%EOF\n")
            .as_bytes(),
    );
    Some(bytes)
}

/// A text as PDF has it: UTF-16 in hexadecimal digits.
fn text(text: &str) -> String {
    let digits: String = tidy(text).encode_utf16().map(|unit| format!("{unit:04X}")).collect();
    format!("<FEFF{digits}>")
}
