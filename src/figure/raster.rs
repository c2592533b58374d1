//! The page as pixels.

use ab_glyph::{Font, Glyph, point};
use plotters::prelude::{BitMapBackend, DrawingBackend};
use plotters::style::RGBAColor;

use super::FigureError;
use super::scene::{Anchor, Colour, Point, Scene, Shape, Text, tidy};
use crate::record::Drawing;

/// Dots in an inch, the usual demand of journals.
const RESOLUTION: f64 = 300.0;
/// Dots in a millimetre.
const DOTS: f64 = RESOLUTION / 25.4;
/// Fine dots along each side of a dot: edges are smoothed by averaging them.
const FINE: usize = 4;
/// Fine dots in a millimetre.
const SCALE: f64 = DOTS * FINE as f64;
/// Corners of the discs that join the parts of a line.
const DISC: usize = 16;

/// The bytes of the file; provenance goes into a text chunk.
pub(super) fn png(scene: &Scene, drawing: &Drawing) -> Result<Vec<u8>, FigureError> {
    let width = (scene.width * DOTS).round().max(1.0) as usize;
    let height = (scene.height * DOTS).round().max(1.0) as usize;
    let mut fine = vec![255; 3 * width * height * FINE * FINE];
    {
        let size = ((width * FINE) as u32, (height * FINE) as u32);
        let mut canvas = Canvas { backend: BitMapBackend::with_buffer(&mut fine, size), rows: size.1 as i32 };
        for shape in &scene.shapes {
            canvas.paint(shape, scene)?;
        }
        canvas.backend.present().map_err(|error| FigureError::Shape(error.to_string()))?;
    }
    encode(&average(&fine, width, height), width, height, drawing)
        .map_err(|error| FigureError::Encoding(error.to_string()))
}

struct Canvas<'a> {
    backend: BitMapBackend<'a>,
    rows: i32,
}

impl Canvas<'_> {
    fn paint(&mut self, shape: &Shape, scene: &Scene) -> Result<(), FigureError> {
        match shape {
            Shape::Rectangle(upper_left, lower_right, colour) => {
                let corner = |(x, y): Point| ((x * SCALE).round() as i32, (y * SCALE).round() as i32);
                self.fill(corner(*upper_left), corner(*lower_right), *colour)
            }
            Shape::Polygon(points, colour) => self.polygon(points, *colour),
            Shape::Line(points, width, colour) => self.line(points, *width, *colour),
            Shape::Text(text) => self.text(text, scene),
        }
    }

    fn fill(
        &mut self,
        upper_left: (i32, i32),
        lower_right: (i32, i32),
        colour: Colour,
    ) -> Result<(), FigureError> {
        let (red, green, blue) = colour.rgb;
        self.backend
            .draw_rect(upper_left, lower_right, &RGBAColor(red, green, blue, colour.alpha), true)
            .map_err(|error| FigureError::Shape(error.to_string()))
    }

    /// Fills row by row between the crossings of the outline with the middle of the row, so that no fine dot is
    /// painted twice: a translucent area has one tone.
    fn polygon(&mut self, points: &[Point], colour: Colour) -> Result<(), FigureError> {
        let points: Vec<Point> = points.iter().map(|(x, y)| (x * SCALE, y * SCALE)).collect();
        let low = points.iter().fold(f64::INFINITY, |low, point| low.min(point.1));
        let high = points.iter().fold(f64::NEG_INFINITY, |high, point| high.max(point.1));
        let mut crossings = Vec::new();
        for row in (low.floor().max(0.0) as i32)..(high.ceil().min(f64::from(self.rows)) as i32) {
            let middle = f64::from(row) + 0.5;
            crossings.clear();
            for (k, &(x0, y0)) in points.iter().enumerate() {
                let (x1, y1) = points[(k + 1) % points.len()];
                if (y0 <= middle) != (y1 <= middle) {
                    crossings.push(x0 + (x1 - x0) * (middle - y0) / (y1 - y0));
                }
            }
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                self.fill((pair[0].round() as i32, row), (pair[1].round() as i32, row + 1), colour)?;
            }
        }
        Ok(())
    }

    /// Each part as a rectangle, and a disc on each inner point.
    fn line(&mut self, points: &[Point], width: f64, colour: Colour) -> Result<(), FigureError> {
        let half = width / 2.0;
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            if length > 0.0 {
                let (u, v) = (-(y1 - y0) / length * half, (x1 - x0) / length * half);
                self.polygon(
                    &[(x0 + u, y0 + v), (x1 + u, y1 + v), (x1 - u, y1 - v), (x0 - u, y0 - v)],
                    colour,
                )?;
            }
        }
        for &(x, y) in points.iter().skip(1).take(points.len().saturating_sub(2)) {
            let corner = |k: usize| {
                let (sine, cosine) = (std::f64::consts::TAU * k as f64 / DISC as f64).sin_cos();
                (x + half * cosine, y + half * sine)
            };
            self.polygon(&(0..DISC).map(corner).collect::<Vec<_>>(), colour)?;
        }
        Ok(())
    }

    /// Letters come from their outlines: the drawing library's own text ignores how far a letter starts from its
    /// left edge, and sets uneven words.
    fn text(&mut self, text: &Text, scene: &Scene) -> Result<(), FigureError> {
        let font = &scene.font;
        let size = text.size * SCALE;
        let end = font.set(&text.words).last().map_or(0.0, |(_, end)| end);
        let shift = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -end / 2.0,
            Anchor::End => -end,
        };
        let (x, y) = (text.at.0 * SCALE, text.at.1 * SCALE);
        for (id, start) in font.set(&text.words) {
            let Some(id) = id else { break };
            let scale = (font.outline_size(size) as f32).into();
            let position = point(((shift + start) * size) as f32, 0.0);
            let Some(outline) = font.outlines.outline_glyph(Glyph { id, scale, position }) else { continue };
            let bounds = outline.px_bounds();
            let mut dots = Vec::new();
            outline.draw(|across, down, cover| {
                if cover > 0.0 {
                    dots.push((
                        bounds.min.x as i32 + across as i32,
                        bounds.min.y as i32 + down as i32,
                        cover,
                    ));
                }
            });
            for (across, down, cover) in dots {
                let (dx, dy) = if text.upwards { (down, -across - 1) } else { (across, down) };
                let at = (x.round() as i32 + dx, y.round() as i32 + dy);
                let colour = text.colour.translucent(text.colour.alpha * f64::from(cover.min(1.0)));
                self.fill(at, (at.0 + 1, at.1 + 1), colour)?;
            }
        }
        Ok(())
    }
}

/// The mean of the fine dots of each dot.
fn average(fine: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut sums = vec![0u32; 3 * width];
    let mut pixels = Vec::with_capacity(3 * width * height);
    for rows in fine.chunks_exact(3 * width * FINE * FINE) {
        sums.fill(0);
        for row in rows.chunks_exact(3 * width * FINE) {
            for (sum, dots) in sums.chunks_exact_mut(3).zip(row.chunks_exact(3 * FINE)) {
                for dot in dots.chunks_exact(3) {
                    for (channel, value) in sum.iter_mut().zip(dot) {
                        *channel += u32::from(*value);
                    }
                }
            }
        }
        let count = (FINE * FINE) as u32;
        pixels.extend(sums.iter().map(|sum| ((sum + count / 2) / count) as u8));
    }
    pixels
}

fn encode(
    pixels: &[u8],
    width: usize,
    height: usize,
    drawing: &Drawing,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Default);
    encoder.set_adaptive_filter(png::AdaptiveFilterType::Adaptive);
    let metre = (RESOLUTION / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: metre, yppu: metre, unit: png::Unit::Meter }));
    // International text, for a plain chunk has no letters beyond Latin-1.
    for (key, text) in [("Title", &drawing.title), ("Description", &drawing.provenance)] {
        if !text.trim().is_empty() {
            encoder.add_itxt_chunk(key.to_owned(), tidy(text))?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
