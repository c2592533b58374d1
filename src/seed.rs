//! Named, counter-based random streams: the same seed gives the same run on any number of threads.
//!
//! A stream is keyed by seed, repeat and name alone, never by a swept value, so that the cells of a sweep
//! share their data and their initialisation. Within a stream every step has a substream of its own, so that
//! what is drawn at a step does not depend on what was drawn before it.
//!
//! ChaCha, a counter-based generator, maps key and counter to the seed of a fast generator for one substream: thousands
//! of normals are drawn from each, and ChaCha itself would take twice as long for them.

use rand::rand_core::Infallible;
use rand::{Rng, RngExt, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::sync::LazyLock;

/// The purpose of a random stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Samples x.
    Data,
    /// Augmentation noise.
    Views,
    /// Initial weights of the encoder.
    Init,
    /// Fixed factors and initial weights of the projector.
    Projector,
    /// Which samples form a batch.
    Batches,
    /// Fresh inputs on which the embedding is observed, and the last batch of an SGD run.
    Probe,
}

impl Stream {
    fn name(self) -> &'static [u8] {
        match self {
            Stream::Data => b"data",
            Stream::Views => b"views",
            Stream::Init => b"init",
            Stream::Projector => b"projector",
            Stream::Batches => b"batches",
            Stream::Probe => b"probe",
        }
    }
}

/// The root of all randomness of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The experiment's seed.
    pub seed: u64,
    /// Index of the independent repeat.
    pub repeat: u64,
}

impl Seed {
    /// The generator of `stream` at substream `counter` (a step number, or 0).
    pub fn generator(&self, stream: Stream, counter: u64) -> Xoshiro256PlusPlus {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.repeat.to_le_bytes());
        let name = stream.name();
        key[16..16 + name.len()].copy_from_slice(name);
        let mut counters = ChaCha8Rng::from_seed(key);
        counters.set_stream(counter);
        let mut seed = [0u8; 32];
        counters.fill_bytes(&mut seed);
        Xoshiro256PlusPlus::from_seed(seed)
    }
}

/// Standard normals: bit for bit what [`StandardNormal`] makes of the same generator, in half the time.
///
/// That is the ziggurat of Doornik (An improved ziggurat method to generate normal random samples, 2005): of the 256 layers
/// of equal area one is drawn, and a point across it, which 99 times of 100 lies where the layer is wholly below the
/// density. Only this case is written here, so that the compiler keeps the state of a local generator in registers; every
/// other one, with the words that belong to it, is left to `StandardNormal`. Cost: 2 ns a draw.
#[derive(Clone, Debug)]
pub struct Normals<R> {
    generator: R,
    edges: &'static [f64; LAYERS + 1],
}

/// Layers of the ziggurat.
const LAYERS: usize = 256;

/// Right edges of the layers, from the widest to the last, beyond which there is none.
static EDGES: LazyLock<[f64; LAYERS + 1]> = LazyLock::new(|| {
    let mut edges = [0.0; LAYERS + 1];
    // A word names the layer in its lowest byte and the point across it in its highest bits: here the one halfway to the left
    // edge, which is returned as it is. The last layer has no part wholly below the density, so that its edge is not needed.
    for (layer, edge) in edges.iter_mut().take(LAYERS - 1).enumerate() {
        let word = Words { first: Some(1 << 62 | layer as u64), rest: Xoshiro256PlusPlus::seed_from_u64(0) }
            .sample::<f64, _>(StandardNormal);
        *edge = -2.0 * word;
    }
    edges
});

/// A word that was drawn already, and then those of the generator it came from.
struct Words<R> {
    first: Option<u64>,
    rest: R,
}

impl<R: Rng> TryRng for Words<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| word as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.first.take().unwrap_or_else(|| self.rest.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl<R: Rng> Normals<R> {
    /// Draws from `generator`. Loops run fastest on a value of their own, not behind a reference.
    pub fn new(generator: R) -> Self {
        Normals { generator, edges: &EDGES }
    }

    /// The generator, after all that was drawn from it.
    pub fn into_generator(self) -> R {
        self.generator
    }
}

impl<R: Rng + Clone> Normals<R> {
    /// The next draw.
    #[inline(always)]
    pub fn draw(&mut self) -> f64 {
        let word = self.generator.next_u64();
        let layer = (word & 0xff) as usize;
        // 52 random bits as a number in [2, 4), moved to [-1, 1).
        let across = f64::from_bits(word >> 12 | 1024 << 52) - 3.0;
        let normal = across * self.edges[layer];
        if normal.abs() < self.edges[layer + 1] {
            return normal;
        }
        // The generator goes by value: a reference to it would force its state to memory on every draw.
        let (normal, generator) = rejected(word, self.generator.clone());
        self.generator = generator;
        normal
    }
}

/// The normal that begins with `word`, and the generator after it.
#[cold]
#[inline(never)]
fn rejected<R: Rng>(word: u64, generator: R) -> (f64, R) {
    let mut words = Words { first: Some(word), rest: generator };
    let normal = words.sample(StandardNormal);
    (normal, words.rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_seed_repeat_name_and_counter_alone() {
        let seed = Seed { seed: 20, repeat: 3 };
        let first = |seed: Seed, stream, counter| seed.generator(stream, counter).next_u64();
        let value = first(seed, Stream::Data, 5);
        assert_eq!(value, first(seed, Stream::Data, 5));
        assert_ne!(value, first(Seed { seed: 21, ..seed }, Stream::Data, 5));
        assert_ne!(value, first(Seed { repeat: 4, ..seed }, Stream::Data, 5));
        assert_ne!(value, first(seed, Stream::Views, 5));
        assert_ne!(value, first(seed, Stream::Data, 6));
    }

    #[test]
    fn normals_are_those_of_the_reference_bit_for_bit_and_leave_the_generator_where_it_does() {
        let seed = Seed { seed: 1, repeat: 0 };
        let mut reference = seed.generator(Stream::Views, 0);
        let mut normals = Normals::new(reference.clone());
        // Enough for every layer, for some 10,000 rejections and for hundreds of draws from the tail.
        let mut tail = 0;
        for draw in 0..1_000_000 {
            let expected: f64 = reference.sample(StandardNormal);
            assert_eq!(normals.draw().to_bits(), expected.to_bits(), "draw {draw}");
            tail += u32::from(expected.abs() > 3.66);
        }
        assert!(tail > 100, "{tail} draws from the tail");
        assert_eq!(normals.into_generator(), reference);
    }
}
