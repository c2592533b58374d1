//! Shapes on a page, in millimetres from its upper left corner, and the measuring of text.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId};

use super::FigureError;

static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(dejavu::sans::regular()).ok());

/// A point of the page.
pub(super) type Point = (f64, f64);

/// Millimetres in a typographic point.
const POINT: f64 = 25.4 / 72.0;
/// Height of a line of text over the size of its letters.
pub(super) const LINE_HEIGHT: f64 = 1.22;

/// Sizes of letters, in points.
pub(super) mod size {
    /// Title over the chart.
    pub(in crate::figure) const TITLE: f64 = 8.0;
    /// Titles of the axes and of the legend.
    pub(in crate::figure) const LABEL: f64 = 7.0;
    /// Numbers at ticks, labels of the legend.
    pub(in crate::figure) const TICK: f64 = 6.5;
    /// Caption and notes inside the chart.
    pub(in crate::figure) const CAPTION: f64 = 6.0;
    /// Provenance.
    pub(in crate::figure) const SMALL: f64 = 4.8;
}

/// A colour and how much it covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colour {
    /// Red, green, blue.
    pub rgb: (u8, u8, u8),
    /// 0 leaves the page as it is, 1 covers it.
    pub alpha: f64,
}

impl Colour {
    /// A colour that covers what is under it.
    pub const fn opaque(red: u8, green: u8, blue: u8) -> Self {
        Colour { rgb: (red, green, blue), alpha: 1.0 }
    }

    /// The same colour, covering only a part.
    pub fn translucent(self, alpha: f64) -> Self {
        Colour { alpha, ..self }
    }
}

/// Where a text's given point lies on its base line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One line of text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub words: String,
    /// Point of the base line that `anchor` names.
    pub at: Point,
    /// Size of the letters in millimetres.
    pub size: f64,
    pub anchor: Anchor,
    /// Whether it reads upwards.
    pub upwards: bool,
    pub colour: Colour,
}

/// What painters know how to draw.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Filled, from the upper left to the lower right corner.
    Rectangle(Point, Point, Colour),
    /// Filled.
    Polygon(Vec<Point>, Colour),
    /// Width and colour follow the points.
    Line(Vec<Point>, f64, Colour),
    Text(Text),
}

/// All shapes of a page, those behind first.
#[derive(Debug)]
pub(super) struct Scene {
    pub width: f64,
    pub height: f64,
    pub shapes: Vec<Shape>,
    pub font: Type,
}

impl Scene {
    /// An empty page; its height grows with what is put on it.
    pub fn new(width: f64) -> Result<Self, FigureError> {
        Ok(Scene { width, height: 0.0, shapes: Vec::new(), font: Type::new()? })
    }

    /// Adds a filled rectangle.
    pub fn rectangle(&mut self, upper_left: Point, lower_right: Point, colour: Colour) {
        self.shapes.push(Shape::Rectangle(upper_left, lower_right, colour));
    }

    /// Adds a line, unless it has no length.
    pub fn line(&mut self, points: Vec<Point>, width: f64, colour: Colour) {
        if points.len() > 1 {
            self.shapes.push(Shape::Line(points, width, colour));
        }
    }

    /// Adds a filled polygon, unless it has no area.
    pub fn polygon(&mut self, points: Vec<Point>, colour: Colour) {
        if points.len() > 2 {
            self.shapes.push(Shape::Polygon(points, colour));
        }
    }

    /// Adds the outline of a rectangle.
    pub fn frame(&mut self, (x0, y0): Point, (x1, y1): Point, width: f64, colour: Colour) {
        // The last side overlaps the first, so that all four corners are closed.
        self.line(vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0), (x1, y0)], width, colour);
    }

    /// Adds horizontal text of a size in points.
    pub fn text(&mut self, words: &str, at: Point, points: f64, anchor: Anchor, colour: Colour) {
        self.push_text(words, at, points, anchor, false, colour);
    }

    /// Adds text that reads upwards.
    pub fn upward_text(&mut self, words: &str, at: Point, points: f64, colour: Colour) {
        self.push_text(words, at, points, Anchor::Middle, true, colour);
    }

    fn push_text(
        &mut self,
        words: &str,
        at: Point,
        points: f64,
        anchor: Anchor,
        upwards: bool,
        colour: Colour,
    ) {
        if !words.is_empty() {
            let size = millimetres(points);
            self.shapes.push(Shape::Text(Text {
                words: words.to_owned(),
                at,
                size,
                anchor,
                upwards,
                colour,
            }));
        }
    }
}

/// A size of letters in millimetres.
pub(super) fn millimetres(points: f64) -> f64 {
    points * POINT
}

/// The built-in font.
#[derive(Clone, Debug)]
pub(super) struct Type {
    /// For outlines.
    pub outlines: FontRef<'static>,
    units: f64,
}

impl Type {
    fn new() -> Result<Self, FigureError> {
        let outlines = FONT.clone().ok_or(FigureError::Font)?;
        let units = f64::from(outlines.units_per_em().ok_or(FigureError::Font)?);
        Ok(Type { outlines, units })
    }

    /// Size that the outlines want for letters of size `em`: they count from ascent to descent.
    pub fn outline_size(&self, em: f64) -> f64 {
        em * f64::from(self.outlines.height_unscaled()) / self.units
    }

    /// Each letter with the place where it begins, in sizes of letters, and at last the end of the text.
    pub fn set<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Option<GlyphId>, f64)> + 'a {
        let mut pen = 0.0;
        let mut before: Option<GlyphId> = None;
        let mut letters = text.chars();
        let mut done = false;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            let Some(letter) = letters.next() else {
                done = true;
                return Some((None, pen));
            };
            let glyph = self.outlines.glyph_id(letter);
            if let Some(left) = before {
                pen += f64::from(self.outlines.kern_unscaled(left, glyph)) / self.units;
            }
            before = Some(glyph);
            let start = pen;
            pen += f64::from(self.outlines.h_advance_unscaled(glyph)) / self.units;
            Some((Some(glyph), start))
        })
    }

    /// Width of a text in millimetres at a size in points.
    pub fn width(&self, text: &str, points: f64) -> f64 {
        self.set(text).last().map_or(0.0, |(_, end)| end) * millimetres(points)
    }

    /// Number of letters from the start of `text` that fit in `width` millimetres.
    fn fitting(&self, text: &str, points: f64, width: f64) -> usize {
        let limit = width / millimetres(points);
        // The end of letter k is where letter k + 1 begins, up to kerning.
        self.set(text).skip(1).take_while(|(_, start)| *start <= limit).count()
    }

    /// The text, shortened with an ellipsis where it is wider than `width` millimetres.
    pub fn shorten(&self, text: &str, points: f64, width: f64) -> String {
        let text = tidy(text);
        if self.fitting(&text, points, width) == text.chars().count() {
            return text;
        }
        let letters = self.fitting(&text, points, width - self.width("…", points));
        let mut short: String = text.chars().take(letters).collect::<String>().trim_end().to_owned();
        short.push('…');
        short
    }

    /// The text in lines no wider than `width` millimetres, the last one shortened where `most` lines do not suffice.
    pub fn wrap(&self, text: &str, points: f64, width: f64, most: usize) -> Vec<String> {
        let text = tidy(text);
        let mut rest = text.as_str();
        let mut lines = Vec::new();
        while !rest.is_empty() {
            if lines.len() + 1 >= most {
                lines.push(self.shorten(rest, points, width));
                break;
            }
            let letters = self.fitting(rest, points, width).max(1);
            let end = rest.char_indices().nth(letters).map_or(rest.len(), |(at, _)| at);
            let cut = if end == rest.len() || rest[end..].starts_with(' ') {
                end
            } else {
                // A word wider than the line has to be broken, after a hyphen where it has one.
                let hyphen = rest[..end].rfind('-').map(|at| at + 1);
                rest[..end].rfind(' ').or(hyphen).unwrap_or(end)
            };
            lines.push(rest[..cut].trim().to_owned());
            rest = rest[cut..].trim_start();
        }
        lines
    }
}

/// The text on one line: control characters and what XML forbids become spaces, and runs of spaces one.
pub(super) fn tidy(text: &str) -> String {
    let forbidden = |letter: char| letter.is_control() || matches!(letter, '\u{FFFE}' | '\u{FFFF}');
    let text: String = text.chars().map(|letter| if forbidden(letter) { ' ' } else { letter }).collect();
    // Spaces that do not break stay.
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_too_wide_is_broken_after_its_hyphen_and_a_space_comes_first() {
        let font = Type::new().unwrap();
        let lines = |text: &str, fits: &str| font.wrap(text, 8.0, font.width(fits, 8.0) + 0.1, 3);
        assert_eq!(lines("random-features", "random-fea"), ["random-", "features"]);
        assert_eq!(lines("a random-features", "a random-fea"), ["a", "random-", "features"]);
        assert_eq!(lines("randomfeatures", "randomfea"), ["randomfea", "tures"]);
    }
}
