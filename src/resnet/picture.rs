//! A picture, and how it is resampled.

/// Channels one after the other, each row by row; values between 0 and 1 unless noise was added.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// channels x height x width.
    pub values: Vec<f32>,
}

/// A rectangle of pixels of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Picture {
    /// The whole picture.
    pub fn whole(&self) -> Region {
        Region { top: 0, left: 0, height: self.height, width: self.width }
    }

    /// The region as a picture of this size, by linear interpolation; where it shrinks, each new pixel is the mean over those it
    /// covers, weighted by a triangle, so that nothing is aliased (as Pillow and torchvision with antialias do).
    pub fn resampled(&self, region: Region, (height, width): (usize, usize)) -> Picture {
        if region == self.whole() && (height, width) == (self.height, self.width) {
            return self.clone();
        }
        let (rows, columns) = (weights(region.height, height), weights(region.width, width));
        let mut values = Vec::with_capacity(self.channels * height * width);
        let mut narrow = vec![0.0f32; region.height * width];
        for channel in self.values.chunks_exact(self.height * self.width) {
            for (row, out) in narrow.chunks_exact_mut(width).enumerate() {
                let line = &channel[(region.top + row) * self.width + region.left..][..region.width];
                for (value, (start, weights)) in out.iter_mut().zip(&columns) {
                    *value = line[*start..].iter().zip(weights).map(|(pixel, weight)| pixel * weight).sum();
                }
            }
            for (start, weights) in &rows {
                for column in 0..width {
                    let pixels = weights
                        .iter()
                        .enumerate()
                        .map(|(k, weight)| weight * narrow[(start + k) * width + column]);
                    values.push(pixels.sum());
                }
            }
        }
        Picture { channels: self.channels, height, width, values }
    }
}

/// For each of `to` pixels the first of `from` that it is made of, and their weights, of sum 1.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to)
        .map(|index| {
            let centre = (index as f64 + 0.5) * scale;
            let start = (centre - reach + 0.5).floor().max(0.0) as usize;
            let end = ((centre + reach + 0.5).floor() as usize).min(from);
            let weight = |k: usize| (1.0 - ((k as f64 + 0.5 - centre) / reach).abs()).max(0.0);
            let raw: Vec<f64> = (start..end).map(weight).collect();
            let sum: f64 = raw.iter().sum();
            (start, raw.iter().map(|weight| (weight / sum) as f32).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Picture {
        let values = (0..height * width).map(|k| (k % width) as f32 / width as f32).collect();
        Picture { channels: 1, height, width, values }
    }

    /// Halved, a pixel weighs its four nearest columns by 1/8, 3/8, 3/8 and 1/8: Pillow's triangle.
    #[test]
    fn a_picture_that_shrinks_is_averaged_by_a_triangle() {
        let picture =
            Picture { channels: 1, height: 1, width: 8, values: vec![0., 0., 8., 0., 0., 0., 0., 16.] };
        let half = picture.resampled(picture.whole(), (1, 4));
        // The first and the last pixel have no outer neighbour: weights 3/7, 3/7 and 1/7 from the edge.
        let expected = [8.0 / 7.0, 3.0, 0.0, 16.0 * 3.0 / 7.0];
        for (value, expected) in half.values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{half:?}");
        }
    }

    #[test]
    fn a_picture_that_grows_is_interpolated_and_a_constant_one_stays_constant() {
        let picture = ramp(6, 6);
        let twice = picture.resampled(picture.whole(), (12, 12));
        // Half a pixel in from the left: a quarter and three quarters.
        assert!(
            (twice.values[1] - 0.25 / 6.0).abs() < 1e-6 && twice.values[0] == 0.0,
            "{:?}",
            &twice.values[..3]
        );
        let constant = Picture { channels: 3, height: 7, width: 5, values: vec![0.25; 105] };
        for size in [(3, 2), (11, 13)] {
            let other = constant.resampled(constant.whole(), size);
            assert!(other.values.iter().all(|value| (value - 0.25).abs() < 1e-6));
        }
    }

    #[test]
    fn a_region_of_its_own_size_is_a_copy() {
        let picture = ramp(5, 5);
        let region = Region { top: 1, left: 2, height: 2, width: 3 };
        let cut = picture.resampled(region, (2, 3));
        assert_eq!(cut.values, [0.4, 0.6, 0.8, 0.4, 0.6, 0.8]);
    }
}
