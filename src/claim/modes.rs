//! Runs whose flow falls into single modes: what a mode tends to, and how runs on samples approach the population.

use super::case::{NeededExperiment, Run, Source};
use super::finding::Finding;
use super::statistics::number;
use super::trial::Said;
use crate::augment::Sides;
use crate::loss::Loss;
use serde_json::json;
use std::collections::BTreeMap;

/// Infinitely many samples to long times: every mode has come to rest, or vanishes. Variances next to the threshold of both
/// variances of the data, and far above it.
pub const AT_REST: NeededExperiment = NeededExperiment {
    name: "modes_at_rest",
    source: Source::Text(
        r#"
title    = "Modes of infinitely many samples at rest"
seed     = 20
data     = { kind = "gaussian", dim = 2, samples = 2 }
augment  = { kind = "isotropic", variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [2, 2], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "population", method = "rodas5p", rtol = 1e-9, atol = 1e-14, time_end = 10000.0 }
observe  = { times = { kind = "log", first = 0.1, count = 101 }, quantities = ["spectra", "augmented", "theory"] }

[sweep]
"encoder.widths"           = [[2, 2], [2, 2, 2]]
"augment.sides"            = ["one", "two"]
"data.covariance.variance" = [1.0, 2.5]
"augment.variance"         = [0.1, 0.5, 1.0, 1.5, 1.9, 1.99, 2.0, 2.01, 2.5, 3.0, 4.975, 5.0, 5.025, 10.0, 100.0, 1000.0]
"#,
    ),
    quick: &[],
    full: &[],
};

/// The same modes on fresh and on fixed batches.
pub const ON_SAMPLES: NeededExperiment = NeededExperiment {
    name: "threshold",
    source: Source::File,
    quick: &[
        "sweep.augment.variance=[1.0, 3.0]",
        "observe.times.times=[1.0, 3.0, 10.0]",
        r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "tsit5", rtol = 1e-8, atol = 1e-12, time_end = 10.0 },
            { kind = "sgd", rate = 0.02, steps = 500, batch = 32 },
            { kind = "sgd", rate = 0.02, steps = 500, batch = 256 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 10.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 10.0 },
        ], "data.samples" = [10000, 10000, 10000, 32, 256] }"#,
    ],
    full: &[
        "sweep.augment.variance=[0.5, 1.5, 2.0, 3.0]",
        "observe.times.times=[1.0, 3.0, 10.0]",
        r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "tsit5", rtol = 1e-8, atol = 1e-12, time_end = 10.0 },
            { kind = "sgd", rate = 0.02, steps = 500, batch = 32 },
            { kind = "sgd", rate = 0.02, steps = 500, batch = 128 },
            { kind = "sgd", rate = 0.02, steps = 500, batch = 512 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 10.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 10.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 10.0 },
        ], "data.samples" = [10000, 10000, 10000, 10000, 32, 256, 1024] }"#,
    ],
};

/// The modes of the dot product, in the population, on fresh and on fixed batches.
pub const UNDER_DOT: NeededExperiment = NeededExperiment {
    name: "threshold_dot",
    source: Source::File,
    quick: &[
        r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "tsit5", rtol = 1e-8, atol = 1e-12, time_end = 30.0 },
            { kind = "sgd", rate = 0.02, steps = 1500, batch = 32 },
            { kind = "sgd", rate = 0.02, steps = 1500, batch = 128 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 30.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 30.0 },
        ], "data.samples" = [10000, 10000, 10000, 64, 256] }"#,
        "sweep.augment.variance=[0.3, 1.0, 4.0, 30.0]",
    ],
    full: &[
        r#"sweep.zip={ "dynamics" = [
            { kind = "population", method = "tsit5", rtol = 1e-8, atol = 1e-12, time_end = 30.0 },
            { kind = "sgd", rate = 0.02, steps = 1500, batch = 32 },
            { kind = "sgd", rate = 0.02, steps = 1500, batch = 128 },
            { kind = "sgd", rate = 0.02, steps = 1500, batch = 512 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 30.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 30.0 },
            { kind = "flow", method = "tsit5", rtol = 1e-5, atol = 1e-8, time_end = 30.0 },
        ], "data.samples" = [10000, 10000, 10000, 10000, 64, 256, 512] }"#,
        "sweep.augment.variance=[0.1, 0.3, 1.0, 4.0, 30.0]",
    ],
};

/// A hypothesis of every claim about modes.
pub const DECOUPLES: &str = "infinitely many samples; Σ_v, Σ_δ and M(0) share eigenvectors and layers are balanced: the record has exact modes";
/// Another one.
pub const RESTS: &str = "T is long enough: the mode is at rest, or falls at least as t^(-1/4)";

/// A run of infinitely many samples, or of finitely many, as one mode.
#[derive(Clone, Copy, Debug)]
pub struct ModeRun<'a> {
    /// The run.
    pub run: &'a Run,
    /// σ, the variance of the samples.
    pub sigma: f64,
    /// k, the variance of a noise draw.
    pub noise: f64,
    /// Which views carry noise.
    pub sides: Sides,
    /// L.
    pub depth: usize,
}

impl<'a> ModeRun<'a> {
    /// The mode of `run`; nothing where data or noise are of another kind.
    pub fn of(run: &'a Run) -> Option<ModeRun<'a>> {
        let settings = &run.plan.settings;
        let (data, augment) = (settings.table("data"), settings.table("augment"));
        let isotropic = data.kind() == "gaussian" && data.table("covariance").kind() == "isotropic";
        if !isotropic || !matches!(augment.kind(), "isotropic" | "block") {
            return None;
        }
        Some(ModeRun {
            run,
            sigma: data.table("covariance").number("variance"),
            noise: augment.number("variance"),
            sides: if augment.text("sides") == "one" { Sides::One } else { Sides::Two },
            depth: settings.table("encoder").integers("widths").len() - 1,
        })
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.run.plan.loss().0
    }

    /// Samples that the loss sees at a time; nothing for infinitely many.
    pub fn samples(&self) -> Option<usize> {
        let settings = &self.run.plan.settings;
        let dynamics = settings.table("dynamics");
        match dynamics.kind() {
            "population" => None,
            "sgd" => Some(dynamics.integer("batch")),
            _ => Some(settings.table("data").integer("samples")),
        }
    }

    fn is_in_population(&self) -> bool {
        self.samples().is_none()
    }

    /// The singular values on noisy directions at the recorded time of this index, their mean.
    pub fn value(&self, time: usize) -> Result<f64, String> {
        let row = self.run.row("sigma_augmented", time)?;
        Ok(row.iter().sum::<f64>() / row.len() as f64)
    }

    fn floor(&self, time: usize) -> Result<f64, String> {
        Ok(self.run.row("floor_augmented", time)?[0])
    }

    /// What the record shows of the mode's end.
    pub fn fate(&self) -> Result<Fate, String> {
        let times = self.run.times();
        let last = times.len() - 1;
        let (value, floor) = (self.value(last)?, self.floor(last)?);
        if value <= floor {
            return Ok(Fate::Vanishes { below: floor });
        }
        let earlier = nearest(times, 0.1 * times[last]);
        let exponent = (value / self.value(earlier)?).ln() / (times[last] / times[earlier]).ln();
        // Recorded times grow by a factor: what is left of any approach faster than 1/log t is less than the last change.
        let change = (value - self.value(last - 1)?).abs();
        Ok(if exponent <= FALLS {
            Fate::Vanishes { below: value }
        } else if change <= RESTING * value {
            Fate::Rests { value, known_to: floor + change }
        } else {
            Fate::Moves { exponent }
        })
    }
}

/// A mode that vanishes falls as t^(-1/2) for one layer and t^(-1/(4 - 2/L)) for L at the threshold, and faster above it: at
/// least as t^(-1/4). One that tends to a positive limit has the exponent 0 in the end.
const FALLS: f64 = -0.25;
/// Relative change between the last two recorded times below which a mode is at rest.
const RESTING: f64 = 1e-3;

/// Where a mode is at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It falls without end.
    Vanishes {
        /// The value that it has fallen to, or the floor that it is below.
        below: f64,
    },
    /// It rests at a positive value.
    Rests {
        /// The value.
        value: f64,
        /// How far from its limit it may be, by the numerical floor and the last change.
        known_to: f64,
    },
    /// Neither by the end of the run.
    Moves {
        /// d log s / d log t over the last decade.
        exponent: f64,
    },
}

/// Whether a run is one of infinitely many samples and one mode.
pub fn is_in_population(run: &&Run) -> bool {
    ModeRun::of(run).is_some_and(|mode| mode.is_in_population())
}

/// Index of the recorded time nearest to `time` in the logarithm.
pub fn nearest(times: &[f64], time: f64) -> usize {
    let distance = |t: f64| (t.max(f64::MIN_POSITIVE) / time).ln().abs();
    (0..times.len()).min_by(|a, b| distance(times[*a]).total_cmp(&distance(times[*b]))).unwrap_or(0)
}

/// Whether a run of infinitely many samples ends where `predicted` says: at a positive singular value, or vanishing where that
/// is 0.
pub fn ends_as(run: &Run, predicted: &dyn Fn(&ModeRun<'_>) -> f64) -> Result<Said, String> {
    let outside = |hypothesis, why: String| Ok(Said::Outside { hypothesis, why });
    let Some(mode) = ModeRun::of(run).filter(ModeRun::is_in_population) else {
        return outside(DECOUPLES, "finitely many samples".to_string());
    };
    if !run.stored.arrays.contains_key("theory_augmented") {
        return outside(DECOUPLES, "the start is not balanced or not aligned".to_string());
    }
    let expected = predicted(&mode);
    Ok(match mode.fate()? {
        Fate::Moves { exponent } => {
            return outside(RESTS, format!("d log s/d log t = {} over the last decade", number(exponent)));
        }
        Fate::Vanishes { .. } if expected == 0.0 => Said::Agrees,
        Fate::Rests { value, known_to } if (value - expected).abs() <= known_to => Said::Agrees,
        Fate::Vanishes { below } => Said::Contradicts(format!(
            "vanishes, below {}, where {} is predicted",
            number(below),
            number(expected)
        )),
        Fate::Rests { value, .. } => {
            Said::Contradicts(format!("rests at {}, where {} is predicted", number(value), number(expected)))
        }
    })
}

/// The population's fixed point u + u² = δ/σ, s² = (1/u - 1)/σ of Eq. 2 for a view of variance `view` and a difference of
/// variance `difference`; 0 from the difference `threshold` times the view's variance on.
pub fn fixed_point(view: f64, difference: f64, threshold: f64) -> f64 {
    let ratio = difference / view;
    if ratio >= threshold {
        return 0.0;
    }
    // 1 - u = (2 - ratio)/(2 + u) keeps its digits next to ratio = 2.
    let u = 0.5 * ((1.0 + 4.0 * ratio).sqrt() - 1.0);
    ((2.0 - ratio) / ((2.0 + u) * u * view)).max(0.0).sqrt()
}

/// How far runs on N samples are from infinitely many at their last common time, for each kind of training.
#[derive(Debug)]
pub struct Nearness {
    /// Kind of training, and N with the root mean square over runs of |s_N - s|/s(0), N ascending.
    pub by_kind: BTreeMap<&'static str, Vec<(usize, f64)>>,
}

impl Nearness {
    /// Of `runs`, each compared with the run on infinitely many samples of the same settings.
    ///
    /// # Errors
    /// Where a run is unlike all of those, or an array is missing.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Run>) -> Result<Nearness, String> {
        let modes: Vec<ModeRun<'_>> = runs.filter_map(ModeRun::of).collect();
        let end =
            modes.iter().filter_map(|mode| mode.run.times().last().copied()).fold(f64::INFINITY, f64::min);
        let mut squares: BTreeMap<&'static str, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
        for mode in &modes {
            let Some(samples) = mode.samples() else { continue };
            let same = |other: &&ModeRun<'_>| {
                other.is_in_population()
                    && (other.sigma, other.noise, other.sides, other.depth)
                        == (mode.sigma, mode.noise, mode.sides, mode.depth)
            };
            let twin = modes.iter().find(same).ok_or("a run on samples has no like in the population")?;
            let at = |mode: &ModeRun<'_>| mode.value(nearest(mode.run.times(), end));
            let distance = (at(mode)? - at(twin)?) / twin.value(0)?;
            let kind = match mode.run.plan.settings.table("dynamics").kind() {
                "sgd" => "fresh batches",
                _ => "a fixed batch",
            };
            squares.entry(kind).or_default().entry(samples).or_default().push(distance * distance);
        }
        let mean = |values: &[f64]| (values.iter().sum::<f64>() / values.len() as f64).sqrt();
        let by_kind = squares
            .into_iter()
            .map(|(kind, by_count)| (kind, by_count.into_iter().map(|(n, d)| (n, mean(&d))).collect()))
            .collect();
        Ok(Nearness { by_kind })
    }

    /// Whether every kind of training comes nearer with every larger N, and one has more than one N.
    pub fn grows(&self) -> bool {
        let falls = |points: &[(usize, f64)]| points.windows(2).all(|pair| pair[1].1 < pair[0].1);
        self.by_kind.values().any(|points| points.len() > 1)
            && self.by_kind.values().all(|points| falls(points))
    }

    /// First and last distance of each kind.
    pub fn words(&self) -> String {
        let kind = |(kind, points): (&&str, &Vec<(usize, f64)>)| {
            let steps: Vec<String> =
                points.iter().map(|(n, d)| format!("{} at N = {n}", number(*d))).collect();
            format!("{kind}: {}", steps.join(", "))
        };
        self.by_kind.iter().map(kind).collect::<Vec<_>>().join("; ")
    }

    /// A finding with these distances, which is undecided where runs on samples do not come nearer to it as N grows.
    pub fn weigh(&self, finding: Finding) -> Finding {
        let finding = finding.with("nearness", json!(self.by_kind));
        if self.grows() { finding } else { finding.undecided("runs on samples do not come nearer with N") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_point_has_the_published_values() {
        for (k, expected) in
            [(0.1, 3.149), (0.5, 1.316), (1.0, 0.786), (1.5, 0.464), (1.9, 0.187), (2.0, 0.0)]
        {
            assert!((fixed_point(1.0, k, 2.0) - expected).abs() < 6e-4, "{k}");
        }
        assert_eq!((fixed_point(2.5, 5.0, 2.0), fixed_point(1.0, 1.5, 1.0)), (0.0, 0.0));
        // s scales as 1/√σ at one ratio of noise and data.
        assert!((fixed_point(4.0, 2.0, 2.0) * 2.0 - fixed_point(1.0, 0.5, 2.0)).abs() < 1e-15);
    }

    #[test]
    fn the_nearest_time_is_nearest_in_the_logarithm() {
        assert_eq!(nearest(&[0.0, 1.0, 10.0, 100.0], 4.0), 2);
        assert_eq!(nearest(&[0.0, 1.0, 10.0, 100.0], 3.0), 1);
    }

    #[test]
    fn samples_must_come_nearer_at_every_step() {
        let of = |points: &[(usize, f64)]| Nearness { by_kind: BTreeMap::from([("a", points.to_vec())]) };
        assert!(of(&[(64, 0.3), (512, 0.1)]).grows());
        assert!(!of(&[(64, 0.3), (512, 0.1), (1024, 0.2)]).grows());
        assert!(!of(&[(64, 0.3)]).grows() && !of(&[(64, 0.3), (512, f64::NAN)]).grows());
    }
}
