//! Which values of a spectrum vanish, as far as a run's time reaches.

use super::case::Run;

/// Squared singular values that fall at least as fast as this power of the time vanish. One that tends to a positive limit has
/// an exponent that tends to 0, and the slowest that vanishes here, exactly at a threshold, falls as 1/t: half of that
/// tells them apart.
const SLOWEST: f64 = 0.5;

/// What vanishes does not slow down on a logarithmic clock: the exponent of a power law stays, that of an exponential grows. The
/// exponent of what tends to a positive limit falls, by half with every doubling of the time even if the rest goes as 1/t and
/// once it is small beside the limit: three quarters lie between. A limit that a record is still far from is not told from 0.
const KEPT: f64 = 0.75;

/// What becomes of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    /// -d log(squared singular value)/d log(time) over the last two intervals between recordings; infinite where the value
    /// ends below its numerical floor.
    pub(super) exponent: f64,
    /// The same over each of the two.
    halves: [f64; 2],
}

impl Fate {
    /// Of a value at these ascending times, the last of them in something like a geometric progression, with these numerical
    /// floors; `power` makes squared singular values of them.
    fn of(times: &[f64], values: &[f64], floors: &[f64], power: f64) -> Fate {
        let last = times.len() - 1;
        let exponent = |from: usize, to: usize| {
            // Nothing below a floor is a value: it is not told from 0.
            if values[to] <= floors[to] {
                return f64::INFINITY;
            }
            -power * (values[to] / values[from]).ln() / (times[to] / times[from]).ln()
        };
        Fate {
            exponent: exponent(last - 2, last),
            halves: [exponent(last - 2, last - 1), exponent(last - 1, last)],
        }
    }

    /// Whether it tends to 0: fast enough, and without slowing down.
    pub(super) fn vanishes(&self) -> bool {
        let [before, after] = self.halves;
        self.exponent.is_infinite() || self.exponent >= SLOWEST && after >= KEPT * before
    }
}

/// The fates of the values of a spectrum (`end_to_end`, `embedding`, `representation`) that start above their floor,
/// largest first.
pub(super) fn fates(run: &Run, spectrum: &str) -> Result<Vec<Fate>, String> {
    let (array, floors) = (format!("sigma_{spectrum}"), run.column(&format!("floor_{spectrum}"))?);
    let power = if spectrum == "end_to_end" { 2.0 } else { 1.0 };
    let rows: Vec<&[f64]> =
        (0..run.times().len()).map(|time| run.row(&array, time)).collect::<Result<_, _>>()?;
    if rows.len() < 4 {
        return Err(format!("{} has too few recordings for a trend", run.plan.directory_name()));
    }
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
        assert!(!fate(|t| 0.03 + 1.0 / (1.0 + t)).vanishes());
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
