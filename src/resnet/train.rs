//! Training: from a plan to its record and its final weights.

use super::architecture::{Architecture, Projector};
use super::checkpoint::{self, Standing};
use super::contrastive::infonce_cosine;
use super::forward::{Mode, Pass};
use super::images::{ImageSet, Images};
use super::kernels::Kernels;
use super::measure;
use super::operations::Tracked;
use super::optimiser::{Optimiser, schedule};
use super::prefetch::Prefetch;
use super::probe::Labelled;
use super::views::Augmentations;
use super::weights::{self, Weights};
use crate::experiment::Plan;
use crate::loss::{InfonceCosine, Loss};
use crate::matrix::{DecompositionError, Matrix};
use crate::record::{Effort, Ending};
use crate::run::{Completed, Conduct, Pause};
use crate::seed::{Seed, Stream};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{FloatDType, Tensor, TensorData};
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::Instant;

/// Writing checkpoints takes at most this part of the time of a run.
const SHARE_OF_CHECKPOINTS: f64 = 0.05;

/// Training pictures of which a linear probe learns at most: its time grows with their number, its accuracy hardly.
const PROBED: usize = 50_000;

/// Pictures of which features are computed at a time.
const AT_ONCE: usize = 1024;

/// Numbers of the views of one side for which gradients are measured at most: activations take some hundred times as many.
const MEASURED_NUMBERS: usize = 1 << 22;

/// Substreams of views beyond all steps: for what is measured.
const MEASURED: u64 = 1 << 40;

/// A run while it goes on.
struct Trainer<'a, B: Kernels> {
    plan: &'a Plan,
    images: Arc<Images>,
    augmentations: Arc<Augmentations>,
    architecture: Architecture,
    loss: InfonceCosine,
    optimiser: Optimiser,
    precision: FloatDType,
    batch: usize,
    pieces: usize,
    epochs: u64,
    warmup: u64,
    device: B::Device,
    weights: Weights<B>,
    velocities: Vec<Tensor<B, 1>>,
}

/// Trains the network of a plan on a device.
///
/// # Errors
/// Pictures or weights that cannot be read, in words.
pub fn train<B: Kernels>(plan: &Plan, conduct: &Conduct<'_>, device: B::Device) -> Result<Completed, String> {
    Trainer::<B>::new(plan, device)?.run(conduct)
}

/// The training pictures of an epoch in their order.
fn order(seed: Seed, epoch: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut seed.generator(Stream::Batches, epoch));
    order
}

impl<'a, B: Kernels> Trainer<'a, B> {
    fn new(plan: &'a Plan, device: B::Device) -> Result<Self, String> {
        let settings = &plan.settings;
        let images = Images::from_settings(settings.table("data"), plan.seed)
            .map_err(|problem| problem.to_string())?;
        let augmentations = Augmentations::from_settings(settings.table("views"));
        let architecture = Architecture::from_settings(
            settings.table("network"),
            settings.table("method"),
            images.train.channels(),
        );
        let mut weights = Weights::draw(&architecture, plan.seed, &device);
        if let Some(path) = settings.table("network").optional_path("weights") {
            weights
                .set(&architecture, &weights::read(path)?)
                .map_err(|what| format!("{}: {what}", path.display()))?;
        }
        let (Loss::Cosine(loss), _) = Loss::from_settings(settings.table("loss")) else {
            return Err("a real network is trained with infonce-cosine".to_string());
        };
        let training = settings.table("training");
        let batch = training.integer("batch");
        if batch > images.train.count() {
            let message =
                format!("batch = {batch} is larger than the {} training pictures", images.train.count());
            return Err(training.problem("batch", message).to_string());
        }
        let velocities = weights.values.iter().map(|value| value.zeros_like()).collect();
        Ok(Trainer {
            plan,
            images: Arc::new(images),
            augmentations: Arc::new(augmentations),
            architecture,
            loss,
            optimiser: Optimiser::from_settings(training.table("optimiser")),
            precision: if training.text("precision") == "bfloat16" {
                FloatDType::BF16
            } else {
                FloatDType::F32
            },
            batch,
            pieces: training.integer("pieces"),
            epochs: training.integer_u64("epochs"),
            warmup: training.integer_u64("warmup_epochs"),
            device,
            weights,
            velocities,
        })
    }

    fn steps_per_epoch(&self) -> u64 {
        (self.images.train.count() / self.batch) as u64
    }

    fn run(&mut self, conduct: &Conduct<'_>) -> Result<Completed, String> {
        let per_epoch = self.steps_per_epoch();
        let steps = self.epochs * per_epoch;
        let mut standing = conduct
            .resume(
                |path| checkpoint::read(path, self.plan),
                |standing| format!("step {} of {steps}", standing.step),
            )
            .unwrap_or_default();
        if standing.step > 0 {
            self.weights.set_values(&standing.weights)?;
            let device = self.device.clone();
            let restored = |values: &Vec<f32>| {
                Tensor::from_data(TensorData::new(values.clone(), [values.len()]), &device)
            };
            self.velocities = standing.velocities.iter().map(restored).collect();
        } else {
            self.record(0, 0.0, &mut standing)?;
        }
        let prefetch = self.prefetch(standing.step, steps);
        let begun = (Instant::now(), standing.step);
        let (mut kept, mut cost_of_keeping) = (Instant::now(), 0.0);
        let mut ending = Ending::StepsDone;
        while standing.step < steps {
            let views = prefetch.next().ok_or("the pictures of a step did not arrive")??;
            let rate = self.optimiser.rate * schedule(standing.step, self.warmup * per_epoch, steps);
            let loss = self.step(&views, standing.step, rate);
            let time = (standing.step + 1) as f64 / per_epoch as f64;
            if !loss.is_finite() {
                ending = Ending::NonFinite {
                    time: standing.step as f64 / per_epoch as f64,
                    step: standing.step + 1,
                };
                break;
            }
            standing.step += 1;
            standing.loss += loss;
            if standing.step.is_multiple_of(per_epoch) {
                let epoch = standing.step / per_epoch;
                let mean = standing.loss / per_epoch as f64;
                standing.loss = 0.0;
                let every = self.plan.settings.table("observe").integer_u64("every");
                if epoch.is_multiple_of(every) || epoch == self.epochs {
                    self.record(epoch, mean, &mut standing)?;
                }
            }
            let (start, first) = begun;
            let pace = start.elapsed().as_secs_f64() / (standing.step - first) as f64;
            let told = || {
                format!(
                    "loss {loss:.4}, rate {rate:.3e}, {:.0} images/s, about {:.0} s left",
                    self.batch as f64 / pace,
                    pace * (steps - standing.step) as f64
                )
            };
            let pause = conduct.watch_telling(time, &told);
            let is_worth_it = kept.elapsed().as_secs_f64() * SHARE_OF_CHECKPOINTS >= cost_of_keeping;
            if pause == Pause::Stop || (pause == Pause::Keep && is_worth_it) {
                let writing = Instant::now();
                self.put_values(&mut standing);
                conduct.keep(|path, seconds| checkpoint::write(path, self.plan, &standing, seconds));
                (kept, cost_of_keeping) = (Instant::now(), writing.elapsed().as_secs_f64());
            }
            if pause == Pause::Stop {
                ending = Ending::Interrupted { time };
                break;
            }
        }
        let effort = Effort { steps: standing.step, evaluations: standing.step, ..Effort::default() };
        let state = match ending.is_finished() {
            true => {
                let architecture = self.plan.settings.table("network").kind();
                let note = serde_json::json!({ "architecture": architecture, "plan": self.plan.hash });
                let named = self.weights.named(&self.architecture);
                Some(("state.safetensors", weights::safetensors_bytes(&named, &note.to_string())?))
            }
            false => None,
        };
        Ok(Completed { trajectory: standing.trajectory, ending, effort, warnings: Vec::new(), state })
    }

    /// The views of all steps from `first` on, prepared beside the training.
    fn prefetch(&self, first: u64, steps: u64) -> Prefetch {
        let (images, augmentations, seed) = (self.images.clone(), self.augmentations.clone(), self.plan.seed);
        let (batch, per_epoch) = (self.batch, self.steps_per_epoch());
        let mut epoch = None;
        let mut shuffled = Vec::new();
        let batches = (first..steps).map(move |step| {
            if epoch != Some(step / per_epoch) {
                epoch = Some(step / per_epoch);
                shuffled = order(seed, step / per_epoch, images.train.count());
            }
            let start = (step % per_epoch) as usize * batch;
            (step, shuffled[start..start + batch].to_vec())
        });
        Prefetch::new(self.images.clone(), augmentations, seed, batches)
    }

    /// The shape of so many pictures.
    fn shape(&self, count: usize) -> [usize; 4] {
        let (channels, size) = (self.images.train.channels(), self.images.train.size());
        [count, channels, size, size]
    }

    fn pictures(&self, values: &[f32]) -> Tensor<B, 4> {
        let [_, channels, height, width] = self.shape(0);
        let count = values.len() / (channels * height * width);
        Tensor::from_data(TensorData::new(values.to_vec(), self.shape(count)), &self.device)
    }

    /// The coordinates that the loss sees in a step, where they are drawn anew.
    fn chosen(&self, step: u64) -> Option<Vec<usize>> {
        let Projector::Random(d0) = self.architecture.projector else { return None };
        let mut generator = self.plan.seed.generator(Stream::Projector, 1 + step);
        Some(rand::seq::index::sample(&mut generator, self.architecture.dim, d0).into_vec())
    }

    /// One step; its loss before it.
    fn step(&mut self, views: &[f32], step: u64, rate: f64) -> f64 {
        let chosen = self.chosen(step);
        let (loss, gradients) = if self.pieces == 1 {
            self.whole_gradient(views, chosen.as_deref())
        } else {
            self.gradient_in_pieces(views, chosen.as_deref())
        };
        for (index, gradient) in gradients.into_iter().enumerate() {
            if let Some(gradient) = gradient {
                let parameter = &self.architecture.parameters[index];
                let (value, velocity) = (&mut self.weights.values[index], &mut self.velocities[index]);
                self.optimiser.step(parameter, rate, gradient, value, velocity);
            }
        }
        loss
    }

    fn pass(&self, is_tracked: bool) -> Pass<'_, B> {
        Pass::new(&self.architecture, &self.weights, Mode::Training, self.precision, is_tracked)
    }

    /// Loss and gradients of a batch at once. BatchNorm sees one view at a time.
    fn whole_gradient(
        &mut self,
        views: &[f32],
        chosen: Option<&[usize]>,
    ) -> (f64, Vec<Option<Tensor<B, 1>>>) {
        let (first, second) = views.split_at(views.len() / 2);
        let mut pass = self.pass(true);
        let mut embed = |views: &[f32]| {
            let representation = pass.network(self.pictures(views)).representation;
            pass.projector(representation, chosen)
        };
        let (first, second) = (embed(first), embed(second));
        let loss = infonce_cosine(self.loss, first, second);
        let value = number(&loss);
        let gradients = loss.backward();
        let collected = collect(&pass, &gradients);
        let mut weights = self.weights.clone();
        pass.keep_statistics(&mut weights);
        self.weights = weights;
        (value, collected)
    }

    /// The same gradient of the loss of a whole batch with the memory of a piece: embeddings of all pieces first, then the gradient
    /// with respect to them, and with it back through one piece after the other (Gao et al. 2021). BatchNorm sees one view of a piece.
    fn gradient_in_pieces(
        &mut self,
        views: &[f32],
        chosen: Option<&[usize]>,
    ) -> (f64, Vec<Option<Tensor<B, 1>>>) {
        let (first, second) = views.split_at(views.len() / 2);
        let length = first.len() / self.pieces;
        let pieces: Vec<&[f32]> = first.chunks(length).chain(second.chunks(length)).collect();
        let embedded: Vec<Tensor<B, 2>> = pieces
            .iter()
            .map(|piece| {
                let mut pass = self.pass(false);
                let representation = pass.network(self.pictures(piece)).representation;
                pass.projector(representation, chosen).inner()
            })
            .collect();
        let leaf = |parts: &[Tensor<B, 2>]| -> Tensor<Tracked<B>, 2> {
            Tensor::from_inner(Tensor::cat(parts.to_vec(), 0)).require_grad()
        };
        let (first, second) = (leaf(&embedded[..self.pieces]), leaf(&embedded[self.pieces..]));
        let loss = infonce_cosine(self.loss, first.clone(), second.clone());
        let value = number(&loss);
        let pulls = loss.backward();
        let pulls =
            [first, second].map(|leaf| leaf.grad(&pulls).unwrap_or_else(|| leaf.inner().zeros_like()));
        let rows = self.batch / self.pieces;
        let mut sum: Vec<Option<Tensor<B, 1>>> = vec![None; self.weights.values.len()];
        for (index, piece) in pieces.into_iter().enumerate() {
            let (side, place) = (index / self.pieces, index % self.pieces);
            let pull = pulls[side].clone().narrow(0, place * rows, rows);
            let mut pass = self.pass(true);
            let representation = pass.network(self.pictures(piece)).representation;
            let embedding = pass.projector(representation, chosen);
            let gradients = (embedding * Tensor::from_inner(pull)).sum().backward();
            for (total, part) in sum.iter_mut().zip(collect(&pass, &gradients)) {
                *total = match (total.take(), part) {
                    (Some(total), Some(part)) => Some(total + part),
                    (total, part) => total.or(part),
                };
            }
            let mut weights = self.weights.clone();
            pass.keep_statistics(&mut weights);
            self.weights = weights;
        }
        (value, sum)
    }

    /// Measures the network after an epoch; `loss` is the mean over its steps.
    fn record(&mut self, epoch: u64, loss: f64, standing: &mut Standing) -> Result<(), String> {
        let settings = &self.plan.settings;
        let observe = settings.table("observe");
        let images = self.images.clone();
        let told = |error: DecompositionError| format!("not recorded after epoch {epoch}: {error}");
        let observed = |set: &ImageSet| observe.integer("images").min(set.count());
        let ([test, embeddings], test_labels) = self.features(&images.test, observed(&images.test))?;
        let pairs = observed(&images.train) / 2 * 2;
        let chosen: Vec<usize> = order(self.plan.seed, MEASURED, images.train.count())[..pairs].to_vec();
        let mut views = vec![0.0; self.shape(2 * pairs).iter().product()];
        self.augmentations.views(&images, &chosen, self.plan.seed, MEASURED, &mut views)?;
        let (representations, _) = measure::representations(
            &self.architecture,
            &self.weights,
            (&views, self.shape(2 * pairs)),
            &self.device,
        );
        let trajectory = &mut standing.trajectory;
        trajectory.begin(epoch as f64, standing.step);
        let length: usize = self.shape(1).iter().product();
        let (first, second) = views.split_at(views.len() / 2);
        let some = |count: usize| [&first[..count * length], &second[..count * length]];
        // Before the first step there is no mean over an epoch: the loss of as many pairs as a step takes.
        let loss = if epoch > 0 { loss } else { self.loss_of(some(pairs.min(self.batch))) };
        trajectory.put_number("loss", loss);
        measure::put_spectrum(trajectory, "representation", &test).map_err(told)?;
        measure::put_spectrum(trajectory, "embedding", &embeddings).map_err(told)?;
        let sides = (representations.columns(0, pairs), representations.columns(pairs, pairs));
        measure::put_theory(trajectory, &sides.0.into_owned(), &sides.1.into_owned()).map_err(told)?;
        measure::put_alignment(trajectory, &self.architecture, &self.weights, &test).map_err(told)?;
        let coordinates = self.chosen(standing.step);
        let measured = pairs.min((MEASURED_NUMBERS / length).max(2));
        measure::put_gradients(
            trajectory,
            &self.architecture,
            &self.weights,
            self.loss,
            (some(measured), self.shape(measured)),
            coordinates.as_deref(),
            &self.device,
        )
        .map_err(told)?;
        let ([train, _], train_labels) = self.features(&images.train, images.train.count().min(PROBED))?;
        let (all, all_labels) = if test_labels.len() < images.test.count() {
            let ([all, _], labels) = self.features(&images.test, images.test.count())?;
            (all, labels)
        } else {
            (test, test_labels)
        };
        measure::put_accuracies(
            trajectory,
            (
                &Labelled { features: train, labels: train_labels },
                &Labelled { features: all, labels: all_labels },
            ),
            images.classes,
            observe.integer("neighbours"),
            observe.optional_integers("first").unwrap_or(&[]),
        )
        .map_err(told)
    }

    fn loss_of(&self, sides: [&[f32]; 2]) -> f64 {
        let mut pass = self.pass(false);
        let chosen = self.chosen(0);
        let mut embed = |views: &[f32]| {
            let representation = pass.network(self.pictures(views)).representation;
            pass.projector(representation, chosen.as_deref())
        };
        let [first, second] = sides.map(&mut embed);
        number(&infonce_cosine(self.loss, first, second))
    }

    /// Representations and embeddings of the first `count` pictures of a set, without augmentation, and their classes.
    fn features(&self, set: &ImageSet, count: usize) -> Result<([Matrix; 2], Vec<u32>), String> {
        let mut parts: [Vec<f64>; 2] = Default::default();
        for start in (0..count).step_by(AT_ONCE) {
            let indices: Vec<usize> = (start..count.min(start + AT_ONCE)).collect();
            let shape = self.shape(indices.len());
            let mut pictures = vec![0.0; shape.iter().product()];
            self.images.plain(set, &indices, &mut pictures)?;
            let both =
                measure::representations(&self.architecture, &self.weights, (&pictures, shape), &self.device);
            parts[0].extend(both.0.iter());
            parts[1].extend(both.1.iter());
        }
        let features = parts.map(|values| Matrix::from_vec(values.len() / count, count, values));
        Ok((features, set.labels()[..count].to_vec()))
    }

    fn put_values(&self, standing: &mut Standing) {
        let plain = |tensors: &[Tensor<B, 1>]| -> Vec<Vec<f32>> {
            tensors.iter().map(|t| t.to_data().convert::<f32>().to_vec().expect("converted to f32")).collect()
        };
        standing.weights = plain(&self.weights.values);
        standing.velocities = plain(&self.velocities);
    }
}

/// The number that a tensor of one holds.
fn number<B: burn::tensor::backend::Backend>(tensor: &Tensor<B, 1>) -> f64 {
    tensor.to_data().convert::<f64>().to_vec::<f64>().map_or(f64::NAN, |values| values[0])
}

/// The gradients of the leaves that are trained.
fn collect<B: Kernels>(
    pass: &Pass<'_, B>,
    gradients: &<Tracked<B> as AutodiffBackend>::Gradients,
) -> Vec<Option<Tensor<B, 1>>> {
    pass.leaves.iter().map(|leaf| leaf.grad(gradients)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use burn::backend::Flex;

    fn trainer(plan: &Plan) -> Trainer<'_, Flex> {
        Trainer::new(plan, Default::default()).unwrap()
    }

    fn views(trainer: &Trainer<'_, Flex>) -> Vec<f32> {
        let indices: Vec<usize> = (0..trainer.batch).collect();
        let mut views = vec![0.0; 2 * indices.len() * trainer.shape(1).iter().product::<usize>()];
        trainer.augmentations.views(&trainer.images, &indices, trainer.plan.seed, 0, &mut views).unwrap();
        views
    }

    /// The largest difference of two lists of gradients over the largest entry.
    fn difference(a: &[Option<Tensor<Flex, 1>>], b: &[Option<Tensor<Flex, 1>>]) -> f32 {
        let flat = |list: &[Option<Tensor<Flex, 1>>]| -> Vec<f32> {
            list.iter().flatten().flat_map(|t| t.to_data().to_vec::<f32>().unwrap()).collect()
        };
        let (a, b) = (flat(a), flat(b));
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
    }

    /// With pieces BatchNorm sees pieces: the same loss on embeddings of the pieces, all at once, has the same gradient.
    #[test]
    fn pieces_have_the_gradient_of_the_whole_batch_s_loss() {
        let plan = example::plan(&["training.pieces=5"]);
        let mut trainer = trainer(&plan);
        let views = views(&trainer);
        let (value, gradients) = {
            let (first, second) = views.split_at(views.len() / 2);
            let mut pass = trainer.pass(true);
            let mut embed = |views: &[f32]| {
                let parts = views.chunks(views.len() / 5).map(|piece| {
                    let representation = pass.network(trainer.pictures(piece)).representation;
                    pass.projector(representation, None)
                });
                Tensor::cat(parts.collect(), 0)
            };
            let (first, second) = (embed(first), embed(second));
            let loss = infonce_cosine(trainer.loss, first, second);
            (number(&loss), collect(&pass, &loss.backward()))
        };
        let (in_pieces, found) = trainer.gradient_in_pieces(&views, None);
        assert!((in_pieces - value).abs() < 1e-5 * value, "{in_pieces} and {value}");
        let error = difference(&found, &gradients);
        assert!(error < 1e-4, "{error}");
        // The control: BatchNorm over the whole batch is another function.
        let (_, whole) = trainer.whole_gradient(&views, None);
        assert!(difference(&whole, &gradients) > 1e-2);
    }

    /// Zeros in embeddings change neither cosines nor gradients (Jing et al. 2022, section 6).
    #[test]
    fn directclr_is_simclr_with_a_fixed_low_rank_diagonal_projector() {
        let gradients = |method: &str| {
            let plan = example::plan(&[&format!("method={method}")]);
            let mut trainer = trainer(&plan);
            let views = views(&trainer);
            trainer.whole_gradient(&views, None)
        };
        let (value, direct) = gradients("{ kind = \"directclr\", d0 = 6 }");
        let (other, projected) =
            gradients("{ kind = \"simclr\", projector = { kind = \"low-rank-diagonal\", d0 = 6 } }");
        assert!((value - other).abs() < 1e-5 * value);
        assert!(difference(&direct, &projected) < 1e-4);
        let (_, wider) = gradients("{ kind = \"directclr\", d0 = 7 }");
        assert!(difference(&wider, &direct) > 1e-2);
    }

    #[test]
    fn random_features_are_drawn_anew_in_every_step_and_the_same_for_the_same_step() {
        let plan = example::plan(&["method={ kind = \"random-features\", d0 = 6 }"]);
        let trainer = trainer(&plan);
        let drawn = trainer.chosen(3).unwrap();
        assert_eq!(drawn.len(), 6);
        assert!(drawn.iter().all(|index| *index < 16) && trainer.chosen(3).unwrap() == drawn);
        assert!((4..10).any(|step| trainer.chosen(step).unwrap() != drawn));
    }

    #[test]
    fn bfloat16_changes_the_loss_by_no_more_than_its_rounding() {
        let loss = |precision: &str| {
            let plan = example::plan(&[&format!("training.precision={precision}")]);
            let mut trainer = trainer(&plan);
            let views = views(&trainer);
            trainer.whole_gradient(&views, None)
        };
        let ((exact, gradient), (rounded, other)) = (loss("float32"), loss("bfloat16"));
        // Eight bits, through some ten layers, into logits of at most 1 / τ = 10.
        assert!((exact - rounded).abs() < 10.0 * 10f64.sqrt() / 256.0, "{exact} and {rounded}");
        assert!(exact != rounded && difference(&other, &gradient) < 0.5);
    }
}
