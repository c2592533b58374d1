//! One mode of a linear network: where all covariances share eigenvectors and the layers are balanced and aligned with them,
//! the flow falls apart into scalar equations.

use super::quadrature::integral;
use crate::augment::Sides;
use crate::loss::Loss;

/// Relative accuracy of the quadrature behind times and values.
const ACCURACY: f64 = 1e-12;

/// The growth rate f(m) of a mode of W with m = s²: the eigenvalue of X on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Eq. 2:
    ///
    /// ```text
    /// χ(m) = p + p²/σ - δ,  p = 1/(1/σ + m)
    /// ```
    Euclidean {
        /// σ, the variance of the first view.
        first: f64,
        /// δ, the variance of the difference of the views.
        difference: f64,
    },
    /// Dot product: 2 (σ/τ - σ_1 σ_2 m/τ²), the logistic equation for one layer.
    Dot {
        /// σ, the variance of the samples.
        data: f64,
        /// σ_1, that of the first view.
        first: f64,
        /// σ_2, that of the second view.
        second: f64,
        /// τ.
        temperature: f64,
    },
    /// X held fixed.
    Constant(f64),
}

impl Rate {
    /// The rate along a direction with these variances of samples and of one noise draw; nothing for the cosine loss.
    pub fn of(loss: &Loss, data: f64, noise: f64, sides: Sides) -> Option<Rate> {
        let (first, draws) = match sides {
            Sides::One => (data, 1.0),
            Sides::Two => (data + noise, 2.0),
        };
        match loss {
            Loss::Euclidean(_) => Some(Rate::Euclidean { first, difference: draws * noise }),
            Loss::Dot(loss) => {
                Some(Rate::Dot { data, first, second: data + noise, temperature: loss.temperature })
            }
            Loss::Cosine(_) => None,
        }
    }

    /// f(m).
    pub fn at(&self, m: f64) -> f64 {
        match *self {
            Rate::Euclidean { first, difference } => {
                let (u, rest) = (1.0 / (1.0 + first * m), first * m / (1.0 + first * m));
                // u + u² = 2 - (1 - u)(2 + u): near the threshold, for small m, the second form keeps its digits.
                if u < 0.5 {
                    first * u * (1.0 + u) - difference
                } else {
                    (2.0 * first - difference) - first * rest * (2.0 + u)
                }
            }
            Rate::Dot { data, first, second, temperature } => {
                2.0 * (data / temperature - first * second * m / (temperature * temperature))
            }
            Rate::Constant(rate) => rate,
        }
    }

    /// The m that the mode tends to: 0 where it vanishes, infinity where it grows without bound.
    ///
    /// Eq. 2: with u = p/σ the fixed point is u + u² = δ/σ, m = (1/u - 1)/σ; it is 0 from δ = 2σ on.
    pub fn limit(&self) -> f64 {
        match *self {
            Rate::Euclidean { first, difference } => {
                let ratio = difference / first;
                if first == 0.0 || ratio >= 2.0 {
                    return 0.0;
                }
                let u = 2.0 * ratio / (1.0 + (1.0 + 4.0 * ratio).sqrt());
                // 1 - u = (2 - ratio)/(2 + u), which keeps its digits next to the threshold.
                (2.0 - ratio) / ((2.0 + u) * u * first)
            }
            Rate::Dot { data, first, second, temperature } => {
                if data == 0.0 {
                    0.0
                } else {
                    temperature * data / (first * second)
                }
            }
            Rate::Constant(rate) => match rate {
                rate if rate > 0.0 => f64::INFINITY,
                _ => 0.0,
            },
        }
    }

    /// f(limit · exp(-2 distance)), accurate also where distance is tiny.
    fn near_limit(&self, limit: f64, distance: f64) -> f64 {
        let m = limit * (-2.0 * distance).exp();
        let missing = -limit * (-2.0 * distance).exp_m1();
        match *self {
            Rate::Euclidean { first, .. } => {
                let (u, end) = (1.0 / (1.0 + first * m), 1.0 / (1.0 + first * limit));
                first * (first * missing * u * end) * (u + end + 1.0)
            }
            Rate::Dot { first, second, temperature, .. } => {
                2.0 * first * second * missing / (temperature * temperature)
            }
            Rate::Constant(rate) => rate,
        }
    }
}

/// A mode of `depth` balanced layers: ṡ = L s^{3-2/L} f(s²) for the singular value s of the end-to-end matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    /// Number of layers L.
    pub depth: usize,
    /// Growth rate.
    pub rate: Rate,
}

/// The way of log s from a start: towards a limit at an exponential pace, or at an even pace where there is none.
#[derive(Clone, Copy)]
enum Way {
    /// log s = end - span exp(-z).
    Limit { end: f64, span: f64 },
    /// log s = start + sign z.
    Open { start: f64, sign: f64 },
}

impl Mode {
    /// The singular value that the mode tends to.
    pub fn limit(&self) -> f64 {
        self.rate.limit().sqrt()
    }

    fn exponent(&self) -> f64 {
        2.0 - 2.0 / self.depth as f64
    }

    fn way(&self, start: f64) -> Way {
        let limit = self.rate.limit();
        if limit > 0.0 && limit.is_finite() {
            let end = 0.5 * limit.ln();
            Way::Limit { end, span: end - start.ln() }
        } else {
            Way::Open { start: start.ln(), sign: self.rate.at(start * start).signum() }
        }
    }

    /// dt/dz on the way, and log s.
    fn pace(&self, way: Way, z: f64) -> (f64, f64) {
        let depth = self.depth as f64;
        match way {
            Way::Limit { end, span } => {
                let distance = span * (-z).exp();
                let log = end - distance;
                let rate = self.rate.near_limit((2.0 * end).exp(), distance);
                (distance / (depth * (self.exponent() * log).exp() * rate), log)
            }
            Way::Open { start, sign } => {
                let log = start + sign * z;
                let rate = self.rate.at((2.0 * log).exp());
                (sign / (depth * (self.exponent() * log).exp() * rate), log)
            }
        }
    }

    fn elapsed(&self, way: Way, from: f64, to: f64) -> f64 {
        integral(&|z| self.pace(way, z).0, from, to, ACCURACY)
    }

    /// The time from singular value `from` > 0 until it first equals `to`; infinite where it never does.
    ///
    /// By quadrature of dt = ds / (L s^{3-2/L} f(s²)), which knows nothing of time steps.
    pub fn time(&self, from: f64, to: f64) -> f64 {
        let way = self.way(from);
        if from == to {
            return 0.0;
        }
        let z = match way {
            Way::Limit { end, span } => {
                let left = end - to.ln();
                if left * span <= 0.0 || left.abs() >= span.abs() {
                    return f64::INFINITY;
                }
                (span / left).ln()
            }
            Way::Open { start, sign } => sign * (to.ln() - start),
        };
        if z > 0.0 { self.elapsed(way, 0.0, z) } else { f64::INFINITY }
    }

    /// The singular values at ascending `times`, from `start` ≥ 0 at time 0.
    ///
    /// Cost: some hundred evaluations of f a time.
    pub fn path(&self, start: f64, times: &[f64]) -> Vec<f64> {
        let way = self.way(start);
        let still = match way {
            Way::Limit { span, .. } => span == 0.0,
            Way::Open { sign, start } => sign == 0.0 || self.rate.at((2.0 * start).exp()) == 0.0,
        };
        if start == 0.0 || still {
            return vec![start; times.len()];
        }
        let (mut z, mut reached) = (0.0, 0.0);
        times
            .iter()
            .map(|&time| {
                (z, reached) = self.advance(way, z, reached, time);
                self.pace(way, z).1.exp()
            })
            .collect()
    }

    /// The place on the way at `time`, from an earlier place and its time.
    fn advance(&self, way: Way, mut z: f64, mut reached: f64, time: f64) -> (f64, f64) {
        // Beyond this the distance from the limit is below e^-60 of what it was, or s leaves the range of numbers.
        let farthest = match way {
            Way::Limit { .. } => 60.0,
            Way::Open { .. } => 650.0,
        };
        if time <= reached {
            return (z, reached);
        }
        let mut step = 0.25;
        // Strides until the next one would go too far.
        let mut next = loop {
            if z >= farthest {
                return (z, time);
            }
            let later = reached + self.elapsed(way, z, z + step);
            // Where the pace is not finite any more the mode has arrived.
            if !later.is_finite() || later >= time {
                break z + step;
            }
            z += step;
            reached = later;
            step *= 2.0;
        };
        // Newton's method on the time passed, held between what is too early and what is too late.
        let (mut low, mut at) = (z, z);
        for _ in 0..100 {
            let missing = time - reached;
            if missing >= 0.0 {
                low = at;
            } else {
                next = at;
            }
            let newton = at + missing / self.pace(way, at).0;
            let to = if (low..=next).contains(&newton) { newton } else { 0.5 * (low + next) };
            if (to - at).abs() <= 4.0 * f64::EPSILON * at.abs() {
                break;
            }
            reached += self.elapsed(way, at, to);
            at = to;
        }
        (at, reached)
    }
}
