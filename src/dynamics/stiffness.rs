//! Whether stability, not the tolerance, limits the steps of an explicit method.

/// A step is suspected above this part of the stability interval.
///
/// Where stability limits the steps `h |lambda|` stays near the end of the interval: below it errors die out and steps grow, above
/// it errors grow and steps shrink. On linear problems it keeps within a per cent. The estimate can only fall short of
/// `h |lambda|`, where the points differ in slower directions too. Hairer and Wanner's programs take 3.25 of 3.31 for `dopri5` and
/// 6.1 of 6.39 for `dop853`, that is 0.98 and 0.95.
const THRESHOLD: f64 = 0.95;

/// Suspected steps, with no long break, from which on they count.
const CONFIRMING: u32 = 15;

/// Steps in a row without suspicion after which all suspicion is forgotten.
const CLEARING: u32 = 6;

/// The search for steps that stability limits, after Hairer and Wanner, "Solving Ordinary Differential Equations II", IV.2.
///
/// The last two stages of a step are evaluated at one time and at two points that are close to each other. There the field is nearly
/// linear, and the points differ, where the problem is stiff, in the direction of the fastest mode `lambda`: so the ratio
/// of the differences of field and point estimates `|lambda|`, for nothing but `O(n)` additions. A step whose
/// `h |lambda|` reaches the end of the stability interval is suspected; one such step can be chance, fifteen without six others in a
/// row in between are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StiffnessTest {
    suspected: u32,
    clean: u32,
}

impl StiffnessTest {
    /// Its memory as two numbers, for a checkpoint on disk.
    pub fn to_counts(self) -> [u32; 2] {
        [self.suspected, self.clean]
    }

    /// The test with this memory.
    pub fn from_counts([suspected, clean]: [u32; 2]) -> Self {
        StiffnessTest { suspected, clean }
    }

    /// Whether one of the last few steps came near the end of the stability interval.
    pub(super) fn suspects(&self) -> bool {
        self.suspected > 0
    }

    /// Takes note of a step of size `h` and gives how many more steps are now known to have been limited by stability.
    ///
    /// `slopes` are the values of the field at `points`. The steps before the confirmation count when it comes.
    pub(super) fn record(
        &mut self,
        h: f64,
        slopes: (&[f64], &[f64]),
        points: (&[f64], &[f64]),
        stability_interval: f64,
    ) -> u64 {
        let square = |(a, b): (&[f64], &[f64])| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        // Equal points say nothing: 0/0 is not above any threshold, and infinity no estimate.
        let estimate = h * (square(slopes) / square(points)).sqrt();
        if estimate.is_finite() && estimate > THRESHOLD * stability_interval {
            self.clean = 0;
            self.suspected = (self.suspected + 1).min(CONFIRMING + 1);
            return match self.suspected {
                CONFIRMING => u64::from(CONFIRMING),
                suspected => u64::from(suspected > CONFIRMING),
            };
        }
        self.clean += 1;
        if self.clean >= CLEARING {
            *self = StiffnessTest::default();
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::trajectories::{Linear, Regression, finish, logistic};
    use super::super::{DOPRI5, Integrator, Method, StepResult, Tolerances};
    use super::*;
    use crate::record::Effort;

    /// The stability function at `z`: a step of size 1 of `y' = z y` from 1.
    fn stability_function(method: &Method, z: f64) -> f64 {
        let mut stages: Vec<f64> = Vec::new();
        let mut value = 1.0;
        for row in method.a {
            value = 1.0 + row.iter().zip(&stages).map(|(a, k)| a * k).sum::<f64>();
            stages.push(z * value);
        }
        value
    }

    /// The end of the stretch of the negative axis, from 0 on, where the stability function is at most 1.
    fn stability_interval(method: &Method) -> f64 {
        let stable = |size: f64| stability_function(method, -size).abs() <= 1.0;
        let beyond = (1..).map(|i| 1e-2 * f64::from(i)).find(|&size| !stable(size)).unwrap();
        let (mut low, mut high) = (beyond - 1e-2, beyond);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if stable(middle) { low = middle } else { high = middle }
        }
        low
    }

    #[test]
    fn the_stability_interval_of_each_method_is_that_of_its_tableau() {
        for method in Method::all() {
            let interval = stability_interval(method);
            println!("{}: {interval:.5}", method.name);
            assert!((interval - method.stability_interval).abs() < 1e-4, "{}: {interval}", method.name);
        }
    }

    #[test]
    fn the_last_two_stages_of_every_method_lie_at_the_end_of_the_step() {
        for method in Method::all() {
            assert!(method.c.ends_with(&[1.0, 1.0]), "{}", method.name);
            assert!(!method.c.ends_with(&[1.0, 1.0, 1.0]), "{}", method.name);
        }
    }

    /// Effort of a fast mode that decays to a slow one, `y_0 = cos t` but for a difference that dies out.
    fn effort(method: &'static Method, rate: f64, rtol: f64) -> Effort {
        let mut field = |t: f64, y: &[f64], out: &mut [f64]| {
            out[0] = -rate * (y[0] - t.cos());
            out[1] = -y[1];
        };
        let tolerances = Tolerances::new(rtol, rtol);
        let mut integrator = Integrator::new(method, tolerances, 0.0, &[1.1, 1.0], 1.0, 1_000_000);
        finish(&mut integrator, &mut field);
        assert_eq!(integrator.time(), 1.0);
        integrator.effort()
    }

    #[test]
    fn a_stiff_problem_is_recognised_by_every_method() {
        for method in Method::all() {
            for rtol in [1e-3, 1e-5] {
                let effort = effort(method, 1e4, rtol);
                println!("{} rtol {rtol:e}: {effort:?}", method.name);
                assert!(10 * effort.stiff_steps > 9 * effort.steps, "{}: {effort:?}", method.name);
                // h |lambda| is the end of the stability interval, on average.
                let average = 1e4 / effort.steps as f64;
                assert!((average / method.stability_interval - 1.0).abs() < 0.05, "{average}");
            }
        }
    }

    #[test]
    fn problems_that_are_not_stiff_are_not_taken_for_stiff() {
        type Field = fn(f64, &[f64], &mut [f64]);
        let problems: [(Field, &[f64], f64); 4] = [
            (logistic, &[0.1], 6.0),
            (
                |_, y, out| (out[0], out[1]) = (1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3.0 * y[1]),
                &[10.0, 5.0],
                10.0,
            ),
            (|_, y, out| (out[0], out[1]) = (y[1], -y[0]), &[1.0, 0.0], 100.0),
            (|_, y, out| out[0] = y[0] * y[0], &[2.0], 0.499),
        ];
        fn stiff_steps(
            (method, rtol): (&'static Method, f64),
            start: &[f64],
            end: f64,
            mut field: impl FnMut(f64, &[f64], &mut [f64]),
        ) -> u64 {
            let tolerances = Tolerances::new(rtol, 1e-2 * rtol);
            let mut integrator = Integrator::new(method, tolerances, 0.0, start, end, 100_000);
            finish(&mut integrator, &mut field);
            integrator.effort().stiff_steps
        }
        let regression = Regression::new();
        let linear = Linear::new((0..16).map(|i| 1.0 - f64::from(i) / 7.5).collect());
        for method in Method::all() {
            for rtol in [1e-4, 1e-6, 1e-8, 1e-10] {
                let how = (method, rtol);
                for (field, start, end) in problems {
                    assert_eq!(stiff_steps(how, start, end, field), 0, "{} {rtol:e}", method.name);
                }
                // Before it has settled: at rest every explicit method is limited by stability alone.
                assert_eq!(stiff_steps(how, &regression.start, 4.0, regression.field()), 0);
                assert_eq!(stiff_steps(how, linear.start.as_slice(), 20.0, linear.field()), 0);
                assert_eq!(effort(method, 1.0, rtol).stiff_steps, 0);
            }
        }
    }

    #[test]
    fn a_flow_at_rest_is_limited_by_stability() {
        for method in Method::all() {
            let regression = Regression::new();
            let tolerances = Tolerances::new(1e-4, 1e-4);
            let mut integrator = Integrator::new(method, tolerances, 0.0, &regression.start, 500.0, 100_000);
            finish(&mut integrator, &mut regression.field());
            let effort = integrator.effort();
            assert!(2 * effort.stiff_steps > effort.steps, "{}: {effort:?}", method.name);
        }
    }

    /// Feeds steps with these values of `h |lambda|` and gives what was counted.
    fn counted(estimates: impl IntoIterator<Item = f64>) -> u64 {
        let mut test = StiffnessTest::default();
        estimates.into_iter().map(|h| test.record(h, (&[2.0], &[1.0]), (&[5.0], &[4.0]), 3.3)).sum()
    }

    #[test]
    fn fifteen_suspected_steps_confirm_each_other_and_six_clean_ones_acquit_them() {
        let run = |length: usize, estimate: f64| std::iter::repeat_n(estimate, length);
        assert_eq!(counted(run(14, 3.3)), 0);
        assert_eq!(counted(run(15, 3.3)), 15);
        assert_eq!(counted(run(1000, 3.3)), 1000);
        assert_eq!(counted(run(1000, 3.1)), 0);
        // Five clean ones in between change nothing, and are not counted; six do.
        assert_eq!(counted(run(10, 3.3).chain(run(5, 1.0)).chain(run(10, 3.3))), 20);
        assert_eq!(counted(run(10, 3.3).chain(run(6, 1.0)).chain(run(10, 3.3))), 0);
        assert_eq!(counted(run(20, 3.3).chain(run(6, 1.0)).chain(run(14, 3.3))), 20);
        // Points that coincide, and numbers that overflow, are no evidence.
        let mut test = StiffnessTest::default();
        for (slopes, points) in
            [([2.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, 1.0]), ([1e200, 0.0], [1.0, 0.0])]
        {
            let [a, b] = slopes.map(|x| [x]);
            let [c, d] = points.map(|x| [x]);
            assert_eq!((0..99).map(|_| test.record(1.0, (&a, &b), (&c, &d), 3.3)).sum::<u64>(), 0);
        }
    }

    #[test]
    fn a_stiff_run_resumed_after_every_step_counts_the_same_and_one_that_forgets_does_not() {
        let mut field = |t: f64, y: &[f64], out: &mut [f64]| out[0] = -1e4 * (y[0] - t.cos());
        let fresh = || Integrator::new(&DOPRI5, Tolerances::new(1e-5, 1e-5), 0.0, &[1.1], 0.1, 1_000_000);
        let mut whole = fresh();
        finish(&mut whole, &mut field);
        assert!(whole.effort().stiff_steps > 100);
        for forgets in [false, true] {
            let mut checkpoint = fresh().checkpoint();
            loop {
                let mut resumed = fresh();
                resumed.restore(&checkpoint);
                if resumed.step(&mut field) != StepResult::Accepted {
                    break;
                }
                checkpoint = resumed.checkpoint();
                if forgets {
                    checkpoint.stiffness = StiffnessTest::default();
                }
            }
            // What it suspects steers the steps too.
            assert_eq!(checkpoint == whole.checkpoint(), !forgets);
        }
    }
}
