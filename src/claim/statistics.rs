//! Medians over seeds with exact intervals, and trends.

use serde_json::{Value, json};
use std::fmt;

/// The median over independent seeds, between the extremes.
///
/// The median of the distribution lies between the smallest and the largest of n independent draws with probability
/// 1 - 2^(1-n), whatever the distribution: 97 % for six seeds, 99 % for eight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The median of the seeds.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// Number of seeds.
    pub seeds: usize,
}

impl Median {
    /// Of one value a seed. NaN where a value is not a number, or where there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Median {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        if n == 0 || values.iter().any(|value| value.is_nan()) {
            return Median { median: f64::NAN, low: f64::NAN, high: f64::NAN, seeds: n };
        }
        let median = 0.5 * (values[(n - 1) / 2] + values[n / 2]);
        Median { median, low: values[0], high: values[n - 1], seeds: n }
    }

    /// The probability with which the interval holds the median of the distribution.
    pub fn coverage(&self) -> f64 {
        1.0 - 2f64.powi(1 - self.seeds as i32)
    }

    /// Median, interval and its coverage.
    pub fn to_json(&self) -> Value {
        json!({
            "median": self.median, "low": self.low, "high": self.high,
            "seeds": self.seeds, "coverage": self.coverage(),
        })
    }
}

impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, low, high] = [self.median, self.low, self.high].map(number);
        if low == high { write!(f, "{median}") } else { write!(f, "{median} [{low}, {high}]") }
    }
}

/// The tightest pair of order statistics of independent draws that holds the median of their distribution with at least
/// this probability, whatever the distribution, and the probability; the extremes where even they do not reach it.
///
/// Fewer than k of n draws lie below the median with probability P(Binomial(n, ½) < k), and as many above it.
pub fn median_interval(values: &[f64], probability: f64) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 || sorted.iter().any(|value| value.is_nan()) {
        return (f64::NAN, f64::NAN, 0.0);
    }
    // P(Binomial(n, ½) = k), and the sum of those below.
    let mut term = 0.5f64.powi(n as i32);
    let mut left_out = 2.0 * term;
    let mut k = 0;
    while k + 1 < n - k {
        term *= (n - k) as f64 / (k + 1) as f64;
        if 1.0 - left_out - 2.0 * term < probability {
            break;
        }
        left_out += 2.0 * term;
        k += 1;
    }
    (sorted[k], sorted[n - 1 - k], 1.0 - left_out)
}

/// A number as a reader wants it: three digits, without an exponent where it is neither huge nor tiny.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == value.round() && size < 1e6 {
        format!("{value}")
    } else if (0.01..1e4).contains(&size) {
        let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.2e}")
    }
}

/// The slope of the least-squares line through the logarithms of positive (x, y), and its standard error.
///
/// With two points the error is 0: it knows nothing of it.
pub fn log_log_slope(points: &[(f64, f64)]) -> (f64, f64) {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let residual: f64 =
        logs.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum::<f64>().max(0.0);
    let degrees = (n - 2.0).max(1.0);
    (slope, (residual / degrees / spread).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_stands_between_the_extremes_and_a_nan_spoils_it() {
        let median = Median::of([3.0, 1.0, 2.0, 10.0]);
        assert_eq!((median.median, median.low, median.high, median.seeds), (2.5, 1.0, 10.0, 4));
        assert_eq!(median.coverage(), 0.875);
        assert!(Median::of([1.0, f64::NAN]).median.is_nan());
        assert!(Median::of([]).median.is_nan());
        assert_eq!(median.to_string(), "2.50 [1, 10]");
    }

    #[test]
    fn the_tightest_interval_keeps_its_probability() {
        let values: Vec<f64> = (1..=16).map(f64::from).collect();
        // P(Binomial(16, ½) ≤ 1) = 17/65536, and ≤ 2: 137/65536.
        assert_eq!(median_interval(&values, 0.999), (2.0, 15.0, 1.0 - 34.0 / 65536.0));
        assert_eq!(median_interval(&values, 0.99), (3.0, 14.0, 1.0 - 274.0 / 65536.0));
        // Four draws never reach it: their extremes, and what they do reach.
        assert_eq!(median_interval(&values[..4], 0.999), (1.0, 4.0, 0.875));
        assert_eq!(median_interval(&[7.0], 0.5), (7.0, 7.0, 0.0));
        assert!(median_interval(&[], 0.9).0.is_nan() && median_interval(&[f64::NAN], 0.9).0.is_nan());
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.39, "0.390"),
            (13.0, "13"),
            (123.4, "123"),
            (1.5e-7, "1.50e-7"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_slope_of_a_power_law_is_its_exponent() {
        let points: Vec<(f64, f64)> = (1..6).map(|x| (f64::from(x), 3.0 * f64::from(x).powf(-0.5))).collect();
        let (slope, error) = log_log_slope(&points);
        assert!((slope + 0.5).abs() < 1e-12 && error < 1e-12, "{slope} {error}");
        let (slope, error) = log_log_slope(&[(1.0, 1.0), (2.0, 3.0), (4.0, 1.0)]);
        assert!(slope.abs() < 1e-12 && error > 0.1);
    }
}
