//! Named, counter-based random streams: the same seed gives the same run on any number of threads.
//!
//! A stream is keyed by seed, repeat and name alone, never by a swept value, so that the cells of a sweep
//! share their data and their initialisation. Within a stream every step has a substream of its own, so that
//! what is drawn at a step does not depend on what was drawn before it.
//!
//! ChaCha, a counter-based generator, maps key and counter to the seed of a fast generator for one substream: thousands
//! of normals are drawn from each, and ChaCha itself would take twice as long for them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

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
}
