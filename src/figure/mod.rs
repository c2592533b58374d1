//! Figures for a paper's column: line charts and heat maps as SVG and as PNG, from numbers that are already there.
//!
//! A drawing becomes a page of simple shapes first, in millimetres, and the shapes become SVG or pixels afterwards, so
//! that both files show the same figure. Nothing is computed here that a reader could take for a result. The font
//! (DejaVu Sans) is built in, and equal drawings give equal bytes.

mod axis;
mod drawings;
mod heat;
mod labels;
mod lines;
mod page;
mod palette;
mod parameters;
#[cfg(test)]
mod parameters_tests;
#[cfg(feature = "pdf")]
mod pdf;
mod raster;
mod references;
mod scene;
mod shades;
#[cfg(test)]
mod tests;
mod vector;

pub use drawings::{Figure, drawings};
pub use labels::{Labels, axis_title, value_label};
pub use palette::{hex_colour, ink_on};
use std::error::Error;
use std::fmt;

use crate::record::Drawing;

/// Why a figure could not be drawn.
#[derive(Debug)]
pub enum FigureError {
    /// The font inside the program could not be read.
    Font,
    /// The drawing library refused a shape; its own words.
    Shape(String),
    /// The figure could not be encoded as PNG or PDF; the encoder's own words.
    Encoding(String),
}

impl fmt::Display for FigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FigureError::Font => write!(f, "the built-in font cannot be read; rebuild the program"),
            FigureError::Shape(words) => write!(f, "a shape of the figure could not be drawn: {words}"),
            FigureError::Encoding(words) => write!(f, "the figure could not be encoded: {words}"),
        }
    }
}

impl Error for FigureError {}

/// The drawing as one SVG document of its width, without XML declaration, so that it also stands inside HTML.
///
/// Values that the axes cannot show (not finite; zero or negative on a logarithmic axis; below the floor) are gaps. The
/// provenance is printed small and repeated in `<metadata>`.
///
/// # Errors
/// [`FigureError`] where the drawing library or the built-in font fails; no drawing, however odd, is refused.
pub fn svg(drawing: &Drawing) -> Result<String, FigureError> {
    vector::svg(&page::compose(drawing)?, drawing)
}

/// The drawing as the bytes of a PNG file, at 300 dots per inch: 1004 pixels wide for one column.
///
/// It shows what [`svg`] shows. The provenance is also in the text chunk `Description`.
///
/// # Errors
/// As [`svg`], and where the encoder fails.
pub fn png(drawing: &Drawing) -> Result<Vec<u8>, FigureError> {
    raster::png(&page::compose(drawing)?, drawing)
}

/// The drawing as the bytes of a PDF file of one page, with lines as vectors and text as text in the embedded font.
///
/// It shows what [`svg`] shows; title, caption and provenance are also in the document's information.
///
/// # Errors
/// As [`svg`], and where the conversion fails.
#[cfg(feature = "pdf")]
pub fn pdf(drawing: &Drawing) -> Result<Vec<u8>, FigureError> {
    pdf::pdf(&svg(drawing)?, drawing)
}
