//! Pictures that are drawn, not read: ten classes of coloured shapes, for runs without any file.

use crate::seed::{Seed, Stream};
use rand::RngExt;

/// Classes: one for each of [`inside`]'s shapes.
pub const CLASSES: usize = 10;

/// Points a pixel and axis at which it is decided whether the shape covers it.
const SAMPLES: usize = 3;

/// Draws picture `index`, of class `index` modulo [`CLASSES`]: red, green and blue, size x size each. Colours, place, size and turn
/// are random and tell nothing of the class.
pub fn draw(seed: Seed, index: usize, size: usize) -> Vec<u8> {
    let mut generator = seed.generator(Stream::Data, 1 + index as u64);
    let mut unit = || generator.random::<f64>();
    let class = index % CLASSES;
    let mut colour = || [unit(), unit(), unit()];
    let (mut shape, mut ground, mut second) = (colour(), colour(), colour());
    // What cannot be told from its ground has no class.
    while distance(&shape, &ground) < 0.5 || distance(&shape, &second) < 0.3 {
        (shape, ground, second) = (colour(), colour(), colour());
    }
    let (frequency, phase, slope) = (1.0 + 5.0 * unit(), unit(), std::f64::consts::TAU * unit());
    let radius = 0.22 + 0.2 * unit();
    let free = 1.0 - 2.0 * radius;
    let (x0, y0) = (radius + free * unit(), radius + free * unit());
    // Half a turn at most to both sides of upright, so that a square stays one and not a diamond.
    let turn = 0.25 * (unit() - 0.5);
    let (sin, cos) = turn.sin_cos();
    let mut out = vec![0u8; 3 * size * size];
    for row in 0..size {
        for column in 0..size {
            let mut covered = 0;
            for sample in 0..SAMPLES * SAMPLES {
                let offset = |k: usize| (k as f64 + 0.5) / SAMPLES as f64;
                let x = (column as f64 + offset(sample % SAMPLES)) / size as f64 - x0;
                let y = (row as f64 + offset(sample / SAMPLES)) / size as f64 - y0;
                covered +=
                    usize::from(inside(class, (cos * x + sin * y) / radius, (cos * y - sin * x) / radius));
            }
            let part = covered as f64 / (SAMPLES * SAMPLES) as f64;
            let (x, y) = (column as f64 / size as f64, row as f64 / size as f64);
            let wave =
                (std::f64::consts::TAU * (frequency * (x * slope.cos() + y * slope.sin()) + phase)).sin();
            for channel in 0..3 {
                let behind = ground[channel] + 0.25 * (1.0 + wave) * (second[channel] - ground[channel]);
                let value = part * shape[channel] + (1.0 - part) * behind;
                out[(channel * size + row) * size + column] = (255.0 * value).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    out
}

fn distance(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Whether a point belongs to the shape of a class, which fills a circle of radius 1.
fn inside(class: usize, x: f64, y: f64) -> bool {
    let (r, angle) = (x.hypot(y), y.atan2(x));
    // A polygon with a corner at the top: its edge at this angle.
    let polygon = |corners: f64| {
        let step = std::f64::consts::TAU / corners;
        let within = (angle + std::f64::consts::FRAC_PI_2).rem_euclid(step) - step / 2.0;
        r <= (step / 2.0).cos() / within.cos()
    };
    match class {
        0 => r <= 0.9,
        1 => x.abs().max(y.abs()) <= 0.72,
        2 => polygon(3.0),
        3 => x.abs().min(y.abs()) <= 0.25 && x.abs().max(y.abs()) <= 0.9,
        4 => (0.5..=0.9).contains(&r),
        5 => r <= 0.55 + 0.4 * (5.0 * (angle + std::f64::consts::FRAC_PI_2)).cos(),
        6 => x.abs() + y.abs() <= 0.95,
        7 => r <= 0.9 && y >= 0.0,
        8 => x.abs() <= 0.9 && y.abs() <= 0.28,
        _ => r <= 0.9 && (x + 0.45).hypot(y) > 0.75,
    }
}
