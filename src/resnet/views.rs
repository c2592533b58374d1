//! Two random views of a picture: the operations of torchvision and of the paper's recipe, and additive noise.

use super::images::Images;
use super::picture::{Picture, Region};
use crate::seed::{Normals, Seed, Stream};
use crate::settings::Settings;
use rand::{Rng, RngExt};
use rayon::prelude::*;

/// How views come about; see the table `views`.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentations {
    crop_min: f64,
    flip: f64,
    jitter: f64,
    brightness: f32,
    contrast: f32,
    saturation: f32,
    hue: f32,
    grayscale: f64,
    /// Of the first and of the second view.
    blur: [f64; 2],
    solarise: [f64; 2],
    /// Standard deviation of the noise of the first and of the second view.
    noise: [f64; 2],
}

/// Shares of red, green and blue in the brightness (ITU-R BT.601, as torchvision).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Steps of the random streams that belong to one step of training: more than pictures in a batch.
const POSITIONS: u64 = 1 << 20;

impl Augmentations {
    /// Reads the table `views`.
    pub fn from_settings(settings: &Settings) -> Augmentations {
        let number = |key: &str| settings.number(key);
        let std = number("noise_variance").sqrt();
        Augmentations {
            crop_min: number("crop_min"),
            flip: number("flip"),
            jitter: number("jitter"),
            brightness: number("brightness") as f32,
            contrast: number("contrast") as f32,
            saturation: number("saturation") as f32,
            hue: number("hue") as f32,
            grayscale: number("grayscale"),
            blur: [number("blur_first"), number("blur_second")],
            solarise: [number("solarise_first"), number("solarise_second")],
            noise: [if settings.text("noise_sides") == "two" { std } else { 0.0 }, std],
        }
    }

    /// Writes the views of training pictures, normalised: 2 n x c x s x s, all first views before the second ones. What is drawn
    /// depends on the seed, the step and the place in the batch alone.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn views(
        &self,
        images: &Images,
        indices: &[usize],
        seed: Seed,
        step: u64,
        out: &mut [f32],
    ) -> Result<(), String> {
        let length = out.len() / (2 * indices.len()).max(1);
        let (first, second) = out.split_at_mut(length * indices.len());
        let pairs = first.par_chunks_exact_mut(length).zip(second.par_chunks_exact_mut(length));
        pairs.zip(indices).enumerate().try_for_each(|(place, ((first, second), &index))| {
            let picture = images.train.picture(index)?;
            let mut generator =
                seed.generator(Stream::Views, step.wrapping_mul(POSITIONS).wrapping_add(place as u64));
            for (side, out) in [first, second].into_iter().enumerate() {
                let view = self.view(&picture, images.train.size(), side, &mut generator);
                images.normalise(&view, out);
            }
            Ok(())
        })
    }

    /// One view.
    fn view(
        &self,
        picture: &Picture,
        size: usize,
        side: usize,
        generator: &mut (impl Rng + Clone),
    ) -> Picture {
        let region = if self.crop_min < 1.0 { self.crop(picture, generator) } else { square(picture) };
        let mut view = picture.resampled(region, (size, size));
        if generator.random_bool(self.flip) {
            flip(&mut view);
        }
        if generator.random_bool(self.jitter) {
            self.jitter(&mut view, generator);
        }
        if generator.random_bool(self.grayscale) {
            saturate(&mut view, 0.0);
        }
        if generator.random_bool(self.blur[side]) {
            blur(&mut view, generator.random_range(0.1..2.0));
        }
        if generator.random_bool(self.solarise[side]) {
            solarise(&mut view);
        }
        if self.noise[side] > 0.0 {
            let mut normals = Normals::new(generator.clone());
            for value in &mut view.values {
                *value += (self.noise[side] * normals.draw()) as f32;
            }
            *generator = normals.into_generator();
        }
        view
    }

    /// A region of random area and shape: area from [`Augmentations::crop_min`] to 1, ratio of the sides from 3/4 to 4/3, the
    /// middle where ten draws do not fit.
    fn crop(&self, picture: &Picture, generator: &mut impl Rng) -> Region {
        let (height, width) = (picture.height as f64, picture.width as f64);
        for _ in 0..10 {
            let area = height * width * generator.random_range(self.crop_min..=1.0);
            let ratio = generator.random_range((3.0f64 / 4.0).ln()..=(4.0f64 / 3.0).ln()).exp();
            let (w, h) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
            if w >= 1.0 && h >= 1.0 && w <= width && h <= height {
                let (h, w) = (h as usize, w as usize);
                let top = generator.random_range(0..=picture.height - h);
                let left = generator.random_range(0..=picture.width - w);
                return Region { top, left, height: h, width: w };
            }
        }
        square(picture)
    }

    /// Brightness, contrast, saturation and hue by random factors, in random order.
    fn jitter(&self, view: &mut Picture, generator: &mut impl Rng) {
        let factor =
            |strength: f32, generator: &mut dyn FnMut() -> f32| 1.0 + strength * (2.0 * generator() - 1.0);
        let mut unit = || generator.random::<f32>();
        let brightness = factor(self.brightness, &mut unit);
        let contrast = factor(self.contrast, &mut unit);
        let saturation = factor(self.saturation, &mut unit);
        let hue = factor(self.hue, &mut unit) - 1.0;
        let mut order = [0, 1, 2, 3];
        rand::seq::SliceRandom::shuffle(&mut order[..], generator);
        for operation in order {
            match operation {
                0 => blend(view, brightness, |_| 0.0),
                1 => contrasted(view, contrast),
                2 => saturate(view, saturation),
                _ => turn_hue(view, hue),
            }
        }
    }
}

/// The largest square in the middle.
fn square(picture: &Picture) -> Region {
    let side = picture.height.min(picture.width);
    Region { top: (picture.height - side) / 2, left: (picture.width - side) / 2, height: side, width: side }
}

/// Left and right exchanged.
fn flip(view: &mut Picture) {
    let width = view.width;
    view.values.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

/// factor x value + (1 - factor) x what `other` gives, between 0 and 1.
fn blend(view: &mut Picture, factor: f32, other: impl Fn(usize) -> f32) {
    for (index, value) in view.values.iter_mut().enumerate() {
        *value = (factor * *value + (1.0 - factor) * other(index)).clamp(0.0, 1.0);
    }
}

/// Brightness of every pixel.
fn luma(view: &Picture) -> Vec<f32> {
    let area = view.height * view.width;
    if view.channels == 1 {
        return view.values.clone();
    }
    (0..area).map(|k| (0..3).map(|c| LUMA[c] * view.values[c * area + k]).sum()).collect()
}

fn contrasted(view: &mut Picture, factor: f32) {
    let grey = luma(view);
    let mean = grey.iter().sum::<f32>() / grey.len() as f32;
    blend(view, factor, |_| mean);
}

/// Colours moved towards grey (0) or away from it (above 1).
fn saturate(view: &mut Picture, factor: f32) {
    if view.channels == 3 {
        let grey = luma(view);
        blend(view, factor, |index| grey[index % grey.len()]);
    }
}

/// The hue of every pixel turned by so many turns.
fn turn_hue(view: &mut Picture, turns: f32) {
    if view.channels != 3 || turns == 0.0 {
        return;
    }
    let area = view.height * view.width;
    for k in 0..area {
        let [r, g, b] = [0, 1, 2].map(|c| view.values[c * area + k]);
        let (high, low) = (r.max(g).max(b), r.min(g).min(b));
        let chroma = high - low;
        if chroma <= 0.0 {
            continue;
        }
        let sector = if high == r {
            (g - b) / chroma
        } else if high == g {
            2.0 + (b - r) / chroma
        } else {
            4.0 + (r - g) / chroma
        };
        let hue = (sector / 6.0 + turns).rem_euclid(1.0) * 6.0;
        for (c, shift) in [5.0, 3.0, 1.0].into_iter().enumerate() {
            let place = (shift + hue) % 6.0;
            view.values[c * area + k] = high - chroma * place.min(4.0 - place).clamp(0.0, 1.0);
        }
    }
}

/// Values above a half inverted.
fn solarise(view: &mut Picture) {
    for value in view.values.iter_mut().filter(|value| **value >= 0.5) {
        *value = 1.0 - *value;
    }
}

/// Gaussian blur of this standard deviation in pixels; the kernel takes a tenth of the size, at least 3, and the picture is
/// mirrored at its edges.
fn blur(view: &mut Picture, sigma: f64) {
    let (height, width) = (view.height, view.width);
    let reach = (height / 20).max(1);
    let weights: Vec<f64> =
        (0..=2 * reach).map(|k| (-(k as f64 - reach as f64).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let weights: Vec<f32> = weights.iter().map(|weight| (weight / sum) as f32).collect();
    let mirrored = |index: isize, length: usize| {
        let last = length as isize - 1;
        let index = index.abs();
        (if index > last { 2 * last - index } else { index }).clamp(0, last) as usize
    };
    let mut line = vec![0.0f32; height.max(width)];
    for channel in view.values.chunks_exact_mut(height * width) {
        for (count, length, step, across) in [(height, width, 1, width), (width, height, width, 1)] {
            for start in (0..count).map(|index| index * across) {
                for (k, value) in line[..length].iter_mut().enumerate() {
                    let pixel = |j: usize| {
                        channel[start + step * mirrored(k as isize + j as isize - reach as isize, length)]
                    };
                    *value = weights.iter().enumerate().map(|(j, weight)| weight * pixel(j)).sum();
                }
                for (k, value) in line[..length].iter().enumerate() {
                    channel[start + step * k] = *value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resnet::example;

    fn of(views: &str) -> (Images, Augmentations, Seed) {
        let plan = example::plan(&[&format!("views={views}")]);
        let images = Images::from_settings(plan.settings.table("data"), plan.seed).unwrap();
        (images, Augmentations::from_settings(plan.settings.table("views")), plan.seed)
    }

    const NOTHING: &str = "crop_min = 1, flip = 0, jitter = 0, grayscale = 0, blur_first = 0, blur_second = 0, solarise_second = 0";

    fn drawn(images: &Images, augmentations: &Augmentations, seed: Seed, step: u64) -> (Vec<f32>, Vec<f32>) {
        let indices: Vec<usize> = (0..images.train.count()).collect();
        let length = images.train.channels() * images.train.size().pow(2);
        let mut out = vec![0.0; 2 * indices.len() * length];
        augmentations.views(images, &indices, seed, step, &mut out).unwrap();
        let second = out.split_off(out.len() / 2);
        (out, second)
    }

    #[test]
    fn without_augmentation_both_views_are_the_picture() {
        let (images, augmentations, seed) = of(&format!("{{ {NOTHING} }}"));
        let (first, second) = drawn(&images, &augmentations, seed, 0);
        let indices: Vec<usize> = (0..images.train.count()).collect();
        let mut plain = vec![0.0; first.len()];
        images.plain(&images.train, &indices, &mut plain).unwrap();
        assert_eq!(first, plain);
        assert_eq!(second, plain);
        let (images, augmentations, seed) = of("{}");
        assert_ne!(drawn(&images, &augmentations, seed, 0).0, plain);
    }

    /// The mean square of n normal draws is within 5 √(2/n) of the variance.
    #[test]
    fn noise_has_its_variance_and_spares_the_first_view_where_it_is_one_sided() {
        let variance = 0.04;
        let (images, augmentations, seed) =
            of(&format!("{{ {NOTHING}, noise_variance = {variance}, noise_sides = \"one\" }}"));
        let (first, second) = drawn(&images, &augmentations, seed, 3);
        let indices: Vec<usize> = (0..images.train.count()).collect();
        let mut plain = vec![0.0; first.len()];
        images.plain(&images.train, &indices, &mut plain).unwrap();
        assert_eq!(first, plain);
        let area = images.train.size().pow(2);
        let squares = second.iter().zip(&plain).enumerate().map(|(k, (noisy, plain))| {
            let std = f64::from(images.std[k / area % images.train.channels()]);
            (f64::from(noisy - plain) * std).powi(2)
        });
        let mean = squares.sum::<f64>() / second.len() as f64;
        assert!((mean / variance - 1.0).abs() < 5.0 * (2.0 / second.len() as f64).sqrt(), "{mean}");
    }

    #[test]
    fn views_depend_on_the_step_and_not_on_the_threads() {
        let (images, augmentations, seed) = of("{ noise_variance = 0.01 }");
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let alone = one.install(|| drawn(&images, &augmentations, seed, 5));
        assert!(alone == three.install(|| drawn(&images, &augmentations, seed, 5)));
        assert!(alone != drawn(&images, &augmentations, seed, 6));
        assert!(alone.0 != alone.1);
    }

    fn picture() -> Picture {
        let values = (0..3 * 64).map(|k| ((k * 37) % 101) as f32 / 101.0).collect();
        Picture { channels: 3, height: 8, width: 8, values }
    }

    fn largest_difference(a: &Picture, b: &Picture) -> f32 {
        a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_full_turn_of_the_hue_is_no_turn_and_a_third_makes_red_green() {
        let (before, mut after) = (picture(), picture());
        turn_hue(&mut after, 1.0);
        assert!(largest_difference(&before, &after) < 1e-5);
        turn_hue(&mut after, 0.25);
        assert!(largest_difference(&before, &after) > 0.1);
        let mut red = Picture { channels: 3, height: 1, width: 1, values: vec![0.8, 0.2, 0.2] };
        turn_hue(&mut red, 1.0 / 3.0);
        let expected = Picture { channels: 3, height: 1, width: 1, values: vec![0.2, 0.8, 0.2] };
        assert!(largest_difference(&red, &expected) < 1e-6, "{red:?}");
    }

    #[test]
    fn a_flip_exchanges_left_and_right_alone_and_two_are_none() {
        let mut view =
            Picture { channels: 2, height: 2, width: 2, values: vec![1., 2., 3., 4., 5., 6., 7., 8.] };
        flip(&mut view);
        assert_eq!(view.values, [2., 1., 4., 3., 6., 5., 8., 7.]);
        flip(&mut view);
        assert_eq!(view.values, [1., 2., 3., 4., 5., 6., 7., 8.]);
    }

    #[test]
    fn grey_has_equal_channels_of_the_same_brightness() {
        let (before, mut after) = (picture(), picture());
        saturate(&mut after, 0.0);
        assert_eq!(after.values[..64], after.values[64..128]);
        for (a, b) in luma(&before).iter().zip(luma(&after)) {
            assert!((a - b).abs() < 1e-6);
        }
        let mut same = picture();
        saturate(&mut same, 1.0);
        assert_eq!(same, before);
    }

    #[test]
    fn blur_keeps_a_constant_picture_and_spreads_a_point_by_its_kernel() {
        let mut constant = Picture { channels: 1, height: 9, width: 9, values: vec![0.3; 81] };
        blur(&mut constant, 1.0);
        assert!(constant.values.iter().all(|value| (value - 0.3).abs() < 1e-6));
        let mut point = Picture { channels: 1, height: 9, width: 9, values: vec![0.0; 81] };
        point.values[40] = 1.0;
        blur(&mut point, 1.0);
        let edge = (-0.5f32).exp();
        let middle = 1.0 / (1.0 + 2.0 * edge);
        assert!((point.values[40] - middle * middle).abs() < 1e-6);
        assert!((point.values[41] - middle * middle * edge).abs() < 1e-6);
    }

    #[test]
    fn contrast_moves_about_the_mean_and_solarising_inverts_what_is_bright() {
        let mut view = Picture { channels: 1, height: 1, width: 4, values: vec![0.2, 0.4, 0.6, 0.8] };
        contrasted(&mut view, 0.5);
        let expected = [0.35, 0.45, 0.55, 0.65];
        assert!(view.values.iter().zip(expected).all(|(value, expected)| (value - expected).abs() < 1e-6));
        solarise(&mut view);
        let expected = [0.35, 0.45, 0.45, 0.35];
        assert!(view.values.iter().zip(expected).all(|(value, expected)| (value - expected).abs() < 1e-6));
    }

    /// Areas are uniform on [0.08, 1] up to rounding, and up to draws that do not fit, which are large ones.
    #[test]
    fn crops_lie_within_the_picture_and_have_the_areas_and_shapes_that_are_asked_for() {
        let (_, augmentations, seed) = of("{}");
        let picture = Picture { channels: 1, height: 200, width: 200, values: vec![0.0; 40_000] };
        let mut generator = seed.generator(Stream::Views, 0);
        let mut areas = Vec::new();
        for _ in 0..2000 {
            let Region { top, left, height, width } = augmentations.crop(&picture, &mut generator);
            assert!(top + height <= 200 && left + width <= 200);
            let ratio = width as f64 / height as f64;
            assert!((0.72..1.4).contains(&ratio), "{ratio}");
            areas.push((height * width) as f64 / 40_000.0);
        }
        let small = areas.iter().filter(|area| **area < 0.31).count() as f64 / 2000.0;
        // A quarter of [0.08, 1] lies below 0.31; large areas fit less often, so it is a little more.
        assert!((0.22..0.36).contains(&small), "{small}");
        assert!(areas.iter().all(|area| (0.075..=1.0).contains(area)));
    }
}
