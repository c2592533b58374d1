//! When a run is recorded.

use std::fmt;

/// Recording times of a run from 0 to its end. Start and end always belong to them.
#[derive(Clone, Debug, PartialEq)]
pub enum Recording {
    /// Times in equal ratios.
    Log {
        /// The first time after 0.
        first: f64,
        /// Number of times from `first` to the end, both included; the start at 0 is one more.
        count: u64,
    },
    /// Times in equal distances.
    Linear {
        /// Number of times after 0, the end included; the start at 0 is one more.
        count: u64,
    },
    /// Every so many steps of a descent. The end is recorded even where `every` does not divide the number of steps.
    Every {
        /// Distance in steps.
        every: u64,
    },
    /// Given times.
    List {
        /// Positive and ascending, none beyond the end. The end is one more where it is not the last of them.
        times: Vec<f64>,
    },
}

/// Recording times that do not exist.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordingError {
    /// No time was asked for: `count` or `every` is 0.
    Zero,
    /// The first time does not lie between 0 and the end.
    First {
        /// The first time.
        first: f64,
        /// The end.
        end: f64,
    },
    /// The end is not a positive number.
    End {
        /// The end.
        end: f64,
    },
    /// So many times that neighbours coincide.
    TooDense {
        /// The number asked for.
        count: u64,
    },
    /// A flow has no steps to count.
    StepsOfFlow,
    /// A time of a list is not later than the one before it.
    Order {
        /// The time.
        time: f64,
        /// The time before it; 0 where it is the first of the list.
        before: f64,
    },
    /// A time of a list lies beyond the end.
    Beyond {
        /// The time.
        time: f64,
        /// The end.
        end: f64,
    },
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingError::Zero => write!(f, "count and every must be at least 1"),
            RecordingError::First { first, end } => {
                write!(f, "first = {first} does not lie between 0 and the end, {end}; lower it")
            }
            RecordingError::End { end } => write!(f, "the end, {end}, must be a positive number"),
            RecordingError::TooDense { count } => {
                write!(f, "count = {count} times are closer than numbers can be told apart; lower it")
            }
            RecordingError::StepsOfFlow => {
                write!(f, "every counts steps, which only gd and sgd have; give a flow a count")
            }
            RecordingError::Order { time, before } if *before == 0.0 => {
                write!(
                    f,
                    "the time {time} is not positive; allowed: times after the start at 0, in ascending order"
                )
            }
            RecordingError::Order { time, before } => {
                write!(
                    f,
                    "the time {time} stands after {before}; allowed: each time once, in ascending order"
                )
            }
            RecordingError::Beyond { time, end } => {
                write!(
                    f,
                    "the time {time} lies beyond the end, {end}; allowed: times up to the end; leave it out, or run longer"
                )
            }
        }
    }
}

impl std::error::Error for RecordingError {}

impl Recording {
    /// The recording times of a flow from 0 to `end`, ascending: 0 and then exactly `count` times, the last of them `end`.
    ///
    /// With a `count` of 1, a `log` recording has no place for `first` and records the end. Where a list does not end
    /// with `end`, that follows. Errors: see [`RecordingError`].
    pub fn times(&self, end: f64) -> Result<Vec<f64>, RecordingError> {
        check_end(end)?;
        let count = match *self {
            Recording::List { ref times } => {
                check_list(times, end, |time| time > end)?;
                let mut all = vec![0.0];
                all.extend(times);
                all.push(end);
                all.dedup();
                return Ok(all);
            }
            Recording::Every { .. } => return Err(RecordingError::StepsOfFlow),
            Recording::Log { count: 0, .. } | Recording::Linear { count: 0 } => {
                return Err(RecordingError::Zero);
            }
            Recording::Log { first, count } => {
                if !(first > 0.0 && first < end) {
                    return Err(RecordingError::First { first, end });
                }
                count
            }
            Recording::Linear { count } => count,
        };
        let mut times = Vec::with_capacity(count as usize + 1);
        times.push(0.0);
        for i in 1..=count {
            times.push(match *self {
                _ if i == count => end,
                Recording::Log { first, .. } if i == 1 => first,
                Recording::Log { first, .. } => {
                    let part = (i - 1) as f64 / (count - 1) as f64;
                    (first.ln() + part * (end.ln() - first.ln())).exp()
                }
                _ => end * (i as f64 / count as f64),
            });
        }
        if times.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(RecordingError::TooDense { count });
        }
        Ok(times)
    }

    /// The recording steps of a descent of `steps` steps of size `rate`, ascending and without duplicates.
    ///
    /// Times round up to whole steps, so that fewer than `count` may remain; a `first` below one step is allowed. The first is
    /// step 0, the last is `steps`. Errors: see [`RecordingError`].
    pub fn steps(&self, rate: f64, steps: u64) -> Result<Vec<u64>, RecordingError> {
        let mut found: Vec<u64> = match *self {
            Recording::Every { every: 0 } => return Err(RecordingError::Zero),
            Recording::Every { every } => (0..=steps / every).map(|i| i * every).collect(),
            Recording::List { ref times } => {
                let end = rate * steps as f64;
                check_end(end)?;
                // What lies beyond the end by rounding alone, as 57 does after 100 steps of 0.57, is the end.
                check_list(times, end, |time| whole_steps(time / rate) > steps)?;
                std::iter::once(0).chain(times.iter().map(|time| whole_steps(time / rate))).collect()
            }
            _ => {
                let times = self.times(rate * steps as f64)?;
                times.into_iter().map(|time| whole_steps(time / rate).min(steps)).collect()
            }
        };
        found.push(steps);
        found.dedup();
        Ok(found)
    }
}

fn check_end(end: f64) -> Result<(), RecordingError> {
    if end.is_finite() && end > 0.0 { Ok(()) } else { Err(RecordingError::End { end }) }
}

/// Refuses times that are not positive, not ascending, or beyond the end.
fn check_list(times: &[f64], end: f64, beyond: impl Fn(f64) -> bool) -> Result<(), RecordingError> {
    let mut before = 0.0;
    for &time in times {
        if time.is_nan() || time <= before {
            return Err(RecordingError::Order { time, before });
        }
        if beyond(time) {
            return Err(RecordingError::Beyond { time, end });
        }
        before = time;
    }
    Ok(())
}

/// Rounds up, but takes for whole what is whole up to rounding errors.
fn whole_steps(steps: f64) -> u64 {
    let nearest = steps.round();
    // A quotient of rounded numbers is off by a few units in the last place.
    let exact = (steps - nearest).abs() <= 8.0 * f64::EPSILON * nearest;
    (if exact { nearest } else { steps.ceil() }) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_times_are_as_many_as_asked_for_after_zero_in_equal_ratios_with_exact_ends() {
        let times = Recording::Log { first: 1e-2, count: 200 }.times(30.0).unwrap();
        assert_eq!(times.len(), 201);
        assert_eq!((times[0], times[1], times[200]), (0.0, 1e-2, 30.0));
        let ratio = (30.0f64 / 1e-2).powf(1.0 / 199.0);
        for pair in times[1..].windows(2) {
            assert!((pair[1] / pair[0] / ratio - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn linear_times_are_as_many_as_asked_for_after_zero_with_an_exact_end() {
        let times = Recording::Linear { count: 7 }.times(0.7).unwrap();
        assert_eq!((times.len(), times[0], times[7]), (8, 0.0, 0.7));
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.1).abs() < 1e-15));
        assert_eq!(Recording::Linear { count: 1 }.times(2.5).unwrap(), [0.0, 2.5]);
        assert_eq!(Recording::Log { first: 0.1, count: 1 }.times(2.5).unwrap(), [0.0, 2.5]);
    }

    #[test]
    fn steps_round_up_merge_and_end_with_the_last() {
        let steps = |recording: Recording| recording.steps(0.1, 10).unwrap();
        // Times 0.001, 0.0316, 0.1778..., 1 and steps of 0.1.
        assert_eq!(steps(Recording::Log { first: 1e-3, count: 5 }), [0, 1, 2, 10]);
        assert_eq!(steps(Recording::Linear { count: 4 }), [0, 3, 5, 8, 10]);
        assert_eq!(steps(Recording::Linear { count: 1000 }), (0..=10).collect::<Vec<_>>());
        assert_eq!(steps(Recording::Every { every: 4 }), [0, 4, 8, 10]);
        assert_eq!(steps(Recording::Every { every: 5 }), [0, 5, 10]);
        assert_eq!(steps(Recording::Every { every: 99 }), [0, 10]);
    }

    #[test]
    fn a_list_is_recorded_as_it_stands_between_start_and_end() {
        let times = |times: &[f64]| Recording::List { times: times.to_vec() }.times(30.0).unwrap();
        assert_eq!(times(&[1.0, 10.0]), [0.0, 1.0, 10.0, 30.0]);
        assert_eq!(times(&[1e-300, 10.0, 30.0]), [0.0, 1e-300, 10.0, 30.0], "the end once");
        assert_eq!(times(&[]), [0.0, 30.0]);
    }

    #[test]
    fn times_of_a_list_round_up_to_steps_and_merge() {
        let steps = |times: &[f64]| Recording::List { times: times.to_vec() }.steps(0.1, 10);
        assert_eq!(steps(&[0.3, 0.55, 0.58, 0.6]), Ok(vec![0, 3, 6, 10]));
        assert_eq!(steps(&[1e-9, 0.95, 1.0]), Ok(vec![0, 1, 10]));
        assert_eq!(steps(&[]), Ok(vec![0, 10]));
        assert_eq!(steps(&[0.5, 1.01]), Err(RecordingError::Beyond { time: 1.01, end: 1.0 }));
        assert_eq!(
            steps(&[0.5, f64::INFINITY]),
            Err(RecordingError::Beyond { time: f64::INFINITY, end: 1.0 })
        );
        // In floating point, 100 steps of 0.57 end before 57, which a flow would refuse.
        let end = Recording::List { times: vec![57.0] };
        assert!(matches!(end.times(0.57 * 100.0), Err(RecordingError::Beyond { .. })));
        assert_eq!(end.steps(0.57, 100), Ok(vec![0, 100]));
        assert_eq!(end.steps(0.57, 99), Err(RecordingError::Beyond { time: 57.0, end: 0.57 * 99.0 }));
    }

    #[test]
    fn a_list_that_is_not_positive_not_ascending_or_too_long_is_refused_with_the_time() {
        let list = |times: &[f64]| Recording::List { times: times.to_vec() };
        for (times, time, before) in [
            (&[0.0, 1.0][..], 0.0, 0.0),
            (&[-1.0], -1.0, 0.0),
            (&[1.0, 0.5], 0.5, 1.0),
            (&[1.0, 1.0], 1.0, 1.0),
        ] {
            let refused = RecordingError::Order { time, before };
            assert_eq!(list(times).times(2.0), Err(refused.clone()));
            assert_eq!(list(times).steps(0.1, 20), Err(refused));
        }
        assert!(matches!(list(&[f64::NAN]).times(2.0), Err(RecordingError::Order { .. })));
        assert!(matches!(list(&[f64::NAN]).steps(0.1, 20), Err(RecordingError::Order { .. })));
        assert_eq!(list(&[1.0, 2.5]).times(2.0), Err(RecordingError::Beyond { time: 2.5, end: 2.0 }));
        assert!(matches!(list(&[1.0]).times(0.0), Err(RecordingError::End { .. })));
        assert!(matches!(list(&[1.0]).steps(1e308, 10), Err(RecordingError::End { .. })));
        assert!(RecordingError::Order { time: -1.0, before: 0.0 }.to_string().contains("-1 is not positive"));
        assert!(RecordingError::Order { time: 0.5, before: 1.0 }.to_string().contains("0.5 stands after 1"));
    }

    #[test]
    fn a_time_that_is_a_whole_number_of_steps_is_that_step_in_spite_of_rounding() {
        for rate in [0.1, 0.3, 1e-3, 7e-5] {
            for count in [7, 10, 1000] {
                let steps = Recording::Linear { count }.steps(rate, count).unwrap();
                assert_eq!(steps, (0..=count).collect::<Vec<_>>(), "rate {rate}");
            }
        }
    }

    #[test]
    fn impossible_recordings_are_refused_with_their_numbers() {
        assert_eq!(Recording::Linear { count: 0 }.times(1.0), Err(RecordingError::Zero));
        assert_eq!(Recording::Every { every: 0 }.steps(0.1, 5), Err(RecordingError::Zero));
        assert_eq!(Recording::Every { every: 2 }.times(1.0), Err(RecordingError::StepsOfFlow));
        for first in [0.0, -1.0, 2.0, 3.0, f64::NAN] {
            assert!(matches!(
                Recording::Log { first, count: 3 }.times(2.0),
                Err(RecordingError::First { end: 2.0, .. })
            ));
        }
        assert!(matches!(Recording::Linear { count: 3 }.times(0.0), Err(RecordingError::End { .. })));
        let close = Recording::Log { first: 1.0, count: 100 }.times(1.0 + 4.0 * f64::EPSILON);
        assert_eq!(close, Err(RecordingError::TooDense { count: 100 }));
    }
}
