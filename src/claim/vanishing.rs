//! Which values of a spectrum vanish, as far as a run's time reaches.

use super::case::Run;
use super::statistics::log_log_slope;

/// The end of a record that a trend is read from: the last two doublings of the time.
const WINDOW: f64 = 4.0;

/// Squared singular values that fall at least as fast as this power of the time vanish. One that tends to a positive limit has
/// an exponent that tends to 0, and the slowest that vanishes here, exactly at a threshold, falls as 1/t: half of that
/// tells them apart.
const SLOWEST: f64 = 0.5;

/// What becomes of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    /// Its value at the end.
    pub(super) last: f64,
    /// -d log(squared singular value)/d log(time) over the last two doublings of the time; infinite where it is below its
    /// numerical floor there.
    pub(super) exponent: f64,
}

impl Fate {
    /// Of a value at these ascending times with these numerical floors; `power` makes squared singular values of them.
    fn of(times: &[f64], values: &[f64], floors: &[f64], power: f64) -> Fate {
        let last = values[values.len() - 1];
        let from = times[times.len() - 1] / WINDOW * (1.0 - 1e-9);
        let window = || (0..times.len()).filter(|&i| times[i] >= from);
        // Nothing below a floor is a value: from there on it is not told from 0.
        if window().any(|i| values[i] <= floors[i]) {
            return Fate { last, exponent: f64::INFINITY };
        }
        let points: Vec<(f64, f64)> = window().map(|i| (times[i], values[i].powf(power))).collect();
        Fate { last, exponent: -log_log_slope(&points).0 }
    }

    /// Whether it tends to 0.
    pub(super) fn vanishes(&self) -> bool {
        self.exponent >= SLOWEST
    }
}

/// The fates of the values of a spectrum (`end_to_end`, `embedding`, `representation`) that start above their floor,
/// largest first.
pub(super) fn fates(run: &Run, spectrum: &str) -> Result<Vec<Fate>, String> {
    let (array, floors) = (format!("sigma_{spectrum}"), run.column(&format!("floor_{spectrum}"))?);
    let power = if spectrum == "end_to_end" { 2.0 } else { 1.0 };
    let rows: Vec<&[f64]> =
        (0..run.times().len()).map(|time| run.row(&array, time)).collect::<Result<_, _>>()?;
    let there = rows[0].iter().take_while(|value| **value > floors[0]).count();
    Ok((0..there)
        .map(|k| {
            let values: Vec<f64> = rows.iter().map(|row| row[k]).collect();
            Fate::of(run.times(), &values, &floors, power)
        })
        .collect())
}

/// How many of them vanish.
pub(super) fn vanishing(run: &Run, spectrum: &str) -> Result<usize, String> {
    Ok(fates(run, spectrum)?.iter().filter(|fate| fate.vanishes()).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: [f64; 5] = [0.0, 10.0, 20.0, 40.0, 80.0];

    fn fate(value: impl Fn(f64) -> f64) -> Fate {
        Fate::of(&TIMES, &TIMES.map(value), &[1e-12; 5], 1.0)
    }

    #[test]
    fn exponential_decay_and_the_power_law_at_a_threshold_vanish() {
        assert!(fate(|t| (-0.1 * t).exp()).vanishes());
        let threshold = fate(|t| 1.0 / (1.0 + 6.0 * t));
        assert!(threshold.vanishes() && (threshold.exponent - 1.0).abs() < 0.02, "{threshold:?}");
        assert!(fate(|t| (-t).exp()).exponent.is_infinite(), "below the floor");
    }

    #[test]
    fn a_positive_limit_a_logarithmic_creep_and_growth_do_not_vanish() {
        assert!(!fate(|t| 0.01 + (-0.1 * t).exp()).vanishes());
        assert!(!fate(|t| 1.0 / (2.0 + t.max(1.0).ln())).vanishes());
        assert!(!fate(|t| 1.0 + t).vanishes());
    }

    #[test]
    fn the_squares_of_singular_values_count() {
        let values = TIMES.map(|t| (1.0 + t).powf(-0.3));
        assert!(Fate::of(&TIMES, &values, &[0.0; 5], 2.0).vanishes());
        assert!(!Fate::of(&TIMES, &values, &[0.0; 5], 1.0).vanishes());
    }
}
