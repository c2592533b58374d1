//! What the loss sees at each step: one fixed batch, or fresh indices and fresh noise.

use crate::augment::Augmentation;
use crate::data::Dataset;
use crate::seed::{Seed, Stream};
use rand::{Rng, RngExt};

/// A fresh batch at every step, a pure function of the step's number.
#[derive(Debug)]
pub struct BatchStream<'a> {
    data: &'a Dataset,
    augmentation: &'a Augmentation,
    seed: Seed,
    /// A permutation of the sample indices; every draw undoes its swaps.
    indices: Vec<u32>,
    swaps: Vec<u32>,
}

/// The two views (d x 2N) of all samples, with the noise of step 0.
pub fn full_batch(data: &Dataset, augmentation: &Augmentation, seed: Seed) -> Vec<f64> {
    let mut views = vec![0.0; 2 * data.samples.len()];
    views[..data.samples.len()].copy_from_slice(&data.samples);
    augmentation.views(data.dim, &mut seed.generator(Stream::Views, 0), &mut views);
    views
}

impl<'a> BatchStream<'a> {
    /// Batches of `size` of the samples of `data`, at most all of them.
    pub fn new(data: &'a Dataset, augmentation: &'a Augmentation, seed: Seed, size: usize) -> Self {
        let count = data.count();
        assert!(size <= count, "a batch of {size} of {count} samples");
        BatchStream { data, augmentation, seed, indices: (0..count as u32).collect(), swaps: vec![0; size] }
    }

    /// Writes the views (d x 2 size) of the batch of this step.
    pub fn views(&mut self, step: u64, out: &mut [f64]) {
        let (mut indices, mut noise) =
            (self.seed.generator(Stream::Batches, step), self.seed.generator(Stream::Views, step));
        self.fill(&mut indices, &mut noise, out);
    }

    /// Writes the views of one more batch from a stream of its own, on which the end of a run is observed.
    pub fn probe_views(&mut self, out: &mut [f64]) {
        let (mut indices, mut noise) =
            (self.seed.generator(Stream::Probe, 1), self.seed.generator(Stream::Probe, 2));
        self.fill(&mut indices, &mut noise, out);
    }

    /// Draws indices without replacement by the first steps of a Fisher-Yates shuffle, then noise.
    fn fill(&mut self, generator: &mut impl Rng, noise: &mut (impl Rng + Clone), out: &mut [f64]) {
        let dim = self.data.dim;
        let count = self.indices.len() as u32;
        for (k, swap) in self.swaps.iter_mut().enumerate() {
            let other = generator.random_range(k as u32..count);
            self.indices.swap(k, other as usize);
            *swap = other;
        }
        // In a loop of its own, so that the processor fetches many samples at a time.
        for (column, &sample) in out.chunks_exact_mut(dim).zip(&self.indices[..self.swaps.len()]) {
            let first = sample as usize * dim;
            column.copy_from_slice(&self.data.samples[first..first + dim]);
        }
        for (k, &other) in self.swaps.iter().enumerate().rev() {
            self.indices.swap(k, other as usize);
        }
        self.augmentation.views(dim, noise, out);
    }
}
