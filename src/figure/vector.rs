//! The page as SVG.

use plotters::prelude::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, TextStyle};

use super::FigureError;
use super::scene::{Anchor, Colour, Point, Scene, Shape, Text, tidy};
use crate::record::Drawing;

/// Units of the document in a millimetre. The drawing library knows whole units only, and a hundredth of a millimetre
/// is too small for the eye to see as a stair.
const UNITS: f64 = 100.0;
/// Fonts to try in turn: Verdana has nearly DejaVu's widths, so that texts keep their places.
const FONTS: &str = "DejaVu Sans, Verdana, Arial, sans-serif";
/// The drawing library divides the size of letters by this in SVG.
const LIBRARY_SIZE: f64 = 1.24;
/// The drawing library puts the base line this much of a letter's size under the top of the text.
const LIBRARY_BASE: f64 = 0.76;

/// The document; title and provenance of `drawing` go into its metadata.
pub(super) fn svg(scene: &Scene, drawing: &Drawing) -> Result<String, FigureError> {
    let (width, height) = (whole(scene.width), whole(scene.height));
    let mut body = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut body, (width as u32, height as u32));
        for shape in &scene.shapes {
            paint(&mut backend, shape).map_err(FigureError::Shape)?;
        }
        backend.present().map_err(|error| FigureError::Shape(error.to_string()))?;
    }
    // The root element is replaced: it has to give a size on paper, and to say what the figure is.
    let inside = body.split_once('>').map_or("", |(_, rest)| rest).trim_start();
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}mm\" height=\"{}mm\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" stroke-linejoin=\"round\">\n<title>{}</title>\n<desc>{}</desc>\n<metadata>{}</metadata>\n{inside}",
        f64::from(width) / UNITS,
        f64::from(height) / UNITS,
        escape(&drawing.title),
        escape(&drawing.caption),
        escape(&drawing.provenance),
    ))
}

fn paint(backend: &mut SVGBackend<'_>, shape: &Shape) -> Result<(), String> {
    match shape {
        Shape::Rectangle(upper_left, lower_right, colour) => {
            backend.draw_rect(units(*upper_left), units(*lower_right), &rgba(*colour), true)
        }
        Shape::Polygon(points, colour) => backend.fill_polygon(distinct(points), &rgba(*colour)),
        Shape::Line(points, width, colour) => {
            let style = rgba(*colour).stroke_width(whole(*width).max(1) as u32);
            backend.draw_path(distinct(points), &style)
        }
        Shape::Text(text) => backend.draw_text(&text.words, &style(text), top(text)),
    }
    .map_err(|error| error.to_string())
}

fn style(text: &Text) -> TextStyle<'static> {
    let em = (text.size * UNITS).round();
    let font = FontDesc::new(FontFamily::Name(FONTS), em * LIBRARY_SIZE, FontStyle::Normal);
    let font = if text.upwards { font.transform(FontTransform::Rotate270) } else { font };
    let side = match text.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    TextStyle { font, color: rgba(text.colour).to_backend_color(), pos: Pos::new(side, VPos::Top) }
}

/// Where the library wants the text so that its base line lies where the page says.
fn top(text: &Text) -> (i32, i32) {
    let rise = LIBRARY_BASE * text.size;
    let (x, y) = text.at;
    units(if text.upwards { (x - rise, y) } else { (x, y - rise) })
}

/// The points in units, without repetitions.
fn distinct(points: &[Point]) -> Vec<(i32, i32)> {
    let mut points: Vec<_> = points.iter().map(|point| units(*point)).collect();
    let first = points.first().copied();
    points.dedup();
    // Something so short is still a dot.
    if let (1, Some(first)) = (points.len(), first) {
        points.push(first);
    }
    points
}

fn units((x, y): Point) -> (i32, i32) {
    (whole(x), whole(y))
}

fn whole(length: f64) -> i32 {
    (length * UNITS).round() as i32
}

fn rgba(colour: Colour) -> RGBAColor {
    let (red, green, blue) = colour.rgb;
    RGBAColor(red, green, blue, colour.alpha)
}

fn escape(text: &str) -> String {
    tidy(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
