//! What the integrator owes: its order, its tolerances, the same bits, and a stated end.

use super::*;
use crate::matrix::{Destination, Matrix, View, product};
use crate::record::Ending;

pub(super) const NEVER: &dyn Fn() -> bool = &|| false;
pub(super) const NO_LIMIT: u64 = 1_000_000;

/// The larger of two errors; one that is not a number is worse than any.
pub(super) fn worse(worst: f64, error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { worst.max(error) }
}

/// Numbers in [-1, 1) from a counter (the finaliser of SplitMix64): the same on every machine.
pub(super) fn noise(stream: u64, length: usize) -> Vec<f64> {
    (0..length as u64)
        .map(|i| {
            let mut z = (stream << 32).wrapping_add(i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

/// The orthogonal matrix of the discrete cosine transform.
pub(super) fn cosines(n: usize) -> Matrix {
    Matrix::from_fn(n, n, |i, j| {
        let scale = if j == 0 { 1.0 } else { 2.0 };
        (f64::sqrt(scale / n as f64)) * (std::f64::consts::PI * (i as f64 + 0.5) * j as f64 / n as f64).cos()
    })
}

/// `dW/dt = W X` with symmetric `X` of known eigenvalues, and its solution.
pub(super) struct Linear {
    pub(super) x: Matrix,
    vectors: Matrix,
    values: Vec<f64>,
    pub(super) start: Matrix,
}

impl Linear {
    pub(super) fn new(values: Vec<f64>) -> Self {
        let n = values.len();
        let vectors = cosines(n);
        let x = &vectors * Matrix::from_diagonal(&values.clone().into()) * vectors.transpose();
        Linear { x, vectors, values, start: Matrix::from_vec(n, n, noise(1, n * n)) }
    }

    pub(super) fn field(&self) -> impl FnMut(f64, &[f64], &mut [f64]) + '_ {
        let n = self.values.len();
        move |_, w, out| product(out, Destination::Replace, 1.0, View::new(w, n, n), View::from(&self.x))
    }

    pub(super) fn solution(&self, time: f64) -> Matrix {
        let growth: Vec<f64> = self.values.iter().map(|value| (value * time).exp()).collect();
        &self.start * &self.vectors * Matrix::from_diagonal(&growth.into()) * self.vectors.transpose()
    }
}

/// Two-layer linear regression: `E = (A - W2 W1) S`, `dW1/dt = W2' E`, `dW2/dt = E W1'`.
///
/// A gradient flow, cubic in the weights, with a bounded solution; it conserves `W1 W1' - W2' W2`.
pub(super) struct Regression {
    target: Matrix,
    covariance: Matrix,
    pub(super) start: Vec<f64>,
}

const WIDTH: usize = 8;

impl Regression {
    pub(super) fn new() -> Self {
        let n = WIDTH * WIDTH;
        let target = Matrix::from_vec(WIDTH, WIDTH, noise(2, n));
        let vectors = cosines(WIDTH);
        let values: Vec<f64> = (1..=WIDTH).map(|i| 2.0 / i as f64).collect();
        let covariance = &vectors * Matrix::from_diagonal(&values.into()) * vectors.transpose();
        let start = noise(3, 2 * n).iter().map(|value| 0.5 * value).collect();
        Regression { target, covariance, start }
    }

    pub(super) fn field(&self) -> impl FnMut(f64, &[f64], &mut [f64]) + '_ {
        let n = WIDTH * WIDTH;
        let mut residual = vec![0.0; n];
        let mut error = vec![0.0; n];
        move |_, state, out| {
            let view = |data| View::new(data, WIDTH, WIDTH);
            let (w1, w2) = state.split_at(n);
            let (out1, out2) = out.split_at_mut(n);
            residual.copy_from_slice(self.target.as_slice());
            product(&mut residual, Destination::Add, -1.0, view(w2), view(w1));
            product(&mut error, Destination::Replace, 1.0, view(&residual), View::from(&self.covariance));
            product(out1, Destination::Replace, 1.0, view(w2).transpose(), view(&error));
            product(out2, Destination::Replace, 1.0, view(&error), view(w1).transpose());
        }
    }

    pub(super) fn integrator(&self, method: &'static Method, rtol: f64, norm: ErrorNorm) -> Integrator {
        let tolerances = Tolerances { rtol, atol: 1e-2 * rtol, norm };
        Integrator::new(method, tolerances, 0.0, &self.start, 30.0, NO_LIMIT)
    }

    /// The conserved matrix, and the largest square of a spectral norm of the two layers.
    fn invariant(state: &[f64]) -> (Matrix, f64) {
        let w1 = Matrix::from_column_slice(WIDTH, WIDTH, &state[..WIDTH * WIDTH]);
        let w2 = Matrix::from_column_slice(WIDTH, WIDTH, &state[WIDTH * WIDTH..]);
        let size = w1.singular_values().max().max(w2.singular_values().max());
        (&w1 * w1.transpose() - w2.transpose() * &w2, size * size)
    }
}

/// Takes every step to the end and gives the ending.
pub(super) fn finish(integrator: &mut Integrator, field: &mut impl FnMut(f64, &[f64], &mut [f64])) -> Ending {
    loop {
        if let StepResult::Ended(ending) = integrator.step(field) {
            return ending;
        }
    }
}

pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

pub(super) fn norm(a: &[f64]) -> f64 {
    distance(a, &vec![0.0; a.len()])
}

pub(super) fn logistic(_: f64, y: &[f64], out: &mut [f64]) {
    out[0] = y[0] * (1.0 - y[0]);
}

/// The order that errors `e(h)`, `e(h/2)`, ... show, from the last pair that is above rounding.
pub(super) fn measured_order(error: impl Fn(u32) -> f64) -> f64 {
    const ROUNDING: f64 = 3e-14; // relative, after some hundred steps
    let errors: Vec<f64> = (0..10).map(error).collect();
    let pair = errors.windows(2).rev().find(|pair| pair[1] > ROUNDING).expect("no error above rounding");
    (pair[0] / pair[1]).log2()
}

/// A method with a wrong digit in two weights of its solution, whose sum is still 1.
fn spoilt(method: &'static Method) -> &'static Method {
    let mut rows: Vec<&'static [f64]> = method.a.to_vec();
    let last = rows.len() - 1;
    let mut row = rows[last].to_vec();
    row[0] += 1e-3;
    row[last - 1] -= 1e-3;
    rows[last] = row.leak();
    Box::leak(Box::new(Method { a: rows.leak(), ..method.clone() }))
}

fn order_on_linear(method: &'static Method) -> f64 {
    let linear = Linear::new(vec![1.0, 0.3, -0.4, -1.5]);
    measured_order(|halvings| {
        let steps = 3 << halvings;
        let start = linear.start.as_slice();
        let mut integrator = Integrator::new(method, Tolerances::new(1.0, 1.0), 0.0, start, 100.0, NO_LIMIT);
        let h = 3.0 / f64::from(steps);
        (0..steps).for_each(|_| integrator.force_step(&mut linear.field(), h));
        let exact = linear.solution(3.0);
        distance(integrator.state(), exact.as_slice()) / exact.norm()
    })
}

fn order_on_logistic(method: &'static Method) -> f64 {
    measured_order(|halvings| {
        let steps = 4 << halvings;
        let mut integrator = Integrator::new(method, Tolerances::new(1.0, 1.0), 0.0, &[0.1], 100.0, NO_LIMIT);
        let h = 6.0 / f64::from(steps);
        (0..steps).for_each(|_| integrator.force_step(&mut logistic, h));
        (integrator.state()[0] - 1.0 / (1.0 + 9.0 * f64::exp(-6.0))).abs()
    })
}

#[test]
fn every_method_has_its_order_on_a_linear_and_on_a_nonlinear_problem() {
    for method in Method::all() {
        let orders = [order_on_linear(method), order_on_logistic(method)];
        println!("{}: measured orders {orders:.3?}", method.name);
        for order in orders {
            assert!((order - f64::from(method.order)).abs() < 0.2, "{}: {order}", method.name);
        }
    }
}

#[test]
fn a_wrong_digit_in_the_tableau_lowers_the_measured_order() {
    for method in Method::all() {
        let order = order_on_logistic(spoilt(method));
        assert!(order < f64::from(method.order) - 0.5, "{}: {order}", method.name);
    }
}

/// One step from a point of the logistic curve: the largest error inside it.
fn dense_order(method: &'static Method) -> f64 {
    let curve = |t: f64| 1.0 / (1.0 + f64::exp(-t));
    measured_order(|halvings| {
        let h = 2.0 * 0.5f64.powi(halvings as i32);
        let start = curve(-1.0);
        let mut integrator =
            Integrator::new(method, Tolerances::new(1.0, 1.0), -1.0, &[start], 100.0, NO_LIMIT);
        integrator.force_step(&mut logistic, h);
        let mut out = [0.0];
        let error = |part: f64| {
            let time = -1.0 + part * h;
            assert!(integrator.interpolate(&mut logistic, time, &mut out));
            (out[0] - curve(time)).abs()
        };
        [0.2, 0.35, 0.5, 0.65, 0.8].map(error).into_iter().fold(0.0, worse)
    })
}

#[test]
fn dense_output_has_its_order() {
    for method in Method::all() {
        // The error inside one step is one order above that of the interpolant.
        let order = dense_order(method) - 1.0;
        println!("{}: measured order of dense output {order:.3}", method.name);
        assert!((order - f64::from(method.dense.order)).abs() < 0.3, "{}: {order}", method.name);
        let mut d: Vec<&'static [f64]> = method.dense.d.to_vec();
        let mut row = d[0].to_vec();
        row[0] += 1e-3;
        d[0] = row.leak();
        let dense = Dense { d: d.leak(), ..method.dense };
        let wrong = dense_order(Box::leak(Box::new(Method { dense, ..method.clone() }))) - 1.0;
        assert!(wrong < f64::from(method.dense.order) - 0.5, "{}: {wrong}", method.name);
    }
}

#[test]
fn dense_output_joins_with_value_and_slope_at_both_ends_of_a_step() {
    let regression = Regression::new();
    for method in Method::all() {
        let mut field = regression.field();
        let mut integrator = regression.integrator(method, 1e-8, ErrorNorm::default());
        let before = integrator.state().to_vec();
        assert_eq!(integrator.step(&mut field), StepResult::Accepted);
        let (t0, t1) = (integrator.previous_time(), integrator.time());
        let (after, slope) = (integrator.state().to_vec(), integrator.derivative().to_vec());
        let mut out = vec![0.0; before.len()];
        assert!(integrator.interpolate(&mut field, t0, &mut out));
        assert_eq!(out, before);
        assert!(integrator.interpolate(&mut field, t1, &mut out));
        assert_eq!(out, after);
        let gap = 1e-6 * (t1 - t0);
        assert!(integrator.interpolate(&mut field, t1 - gap, &mut out));
        let linear: Vec<f64> = after.iter().zip(&slope).map(|(y, f)| y - gap * f).collect();
        // A difference in slope of 1e-3 would show as 1e-3 gap.
        assert!(distance(&out, &linear) < 1e-3 * gap * norm(&slope), "{}", method.name);
    }
}

#[test]
fn a_linear_flow_with_growing_and_decaying_modes_ends_within_twenty_tolerances() {
    // ||X|| t = 20, eigenvalues of both signs.
    let linear = Linear::new((0..16).map(|i| 1.0 - f64::from(i) / 7.5).collect());
    let exact = linear.solution(20.0);
    for method in Method::all() {
        for rtol in [1e-6, 1e-8, 1e-10] {
            let tolerances = Tolerances::new(rtol, 1e-6 * rtol);
            let mut integrator =
                Integrator::new(method, tolerances, 0.0, linear.start.as_slice(), 20.0, NO_LIMIT);
            assert_eq!(finish(&mut integrator, &mut linear.field()), Ending::TimeReached);
            assert_eq!(integrator.time(), 20.0);
            let error = distance(integrator.state(), exact.as_slice()) / exact.norm();
            println!(
                "{} rtol {rtol:e}: error / rtol {:.3}, {:?}",
                method.name,
                error / rtol,
                integrator.effort()
            );
            assert!(error < 20.0 * rtol, "{} at {rtol:e}: {error:e}", method.name);
        }
    }
}

/// Largest relative error of the steps up to t = 4, as geometric mean over eight starts, at rtol = 1e-4 ... 1e-10.
///
/// Largest and mean, because `dop853` takes ten to forty steps here: in a single run the errors of so few steps add up or cancel by
/// chance, and the end error of one run may even rise from one decade to the next.
fn errors_by_decade(method: &'static Method) -> Vec<f64> {
    const STARTS: u64 = 8;
    let mut regression = Regression::new();
    let mut logarithms = vec![0.0; 7];
    for stream in 0..STARTS {
        regression.start = noise(100 + stream, 2 * WIDTH * WIDTH).iter().map(|value| 0.5 * value).collect();
        for (i, logarithm) in logarithms.iter_mut().enumerate() {
            let mut integrator =
                regression.integrator(method, 10f64.powi(-4 - i as i32), ErrorNorm::default());
            integrator.time_end_for_tests(4.0);
            let (mut times, mut states) = (vec![0.0], vec![regression.start.clone()]);
            while integrator.step(&mut regression.field()) == StepResult::Accepted {
                times.push(integrator.time());
                states.push(integrator.state().to_vec());
            }
            // Four decades beyond the finest tolerance that is judged.
            let mut reference = regression.integrator(&DOP853, 1e-14, ErrorNorm::default());
            reference.time_end_for_tests(4.0);
            let (_, exact) = drive(&mut reference, &mut regression.field(), &times, None);
            assert_eq!(exact.len(), states.len());
            let error = states
                .iter()
                .zip(&exact)
                .map(|(state, exact)| distance(state, &exact.2) / norm(&exact.2))
                .fold(0.0, worse);
            *logarithm += error.ln() / STARTS as f64;
        }
    }
    logarithms.into_iter().map(f64::exp).collect()
}

#[test]
fn the_error_follows_the_tolerance_on_a_nonlinear_matrix_flow() {
    for method in Method::all() {
        let errors = errors_by_decade(method);
        let falls: Vec<f64> = errors.windows(2).map(|pair| pair[0] / pair[1]).collect();
        println!("{}: errors {errors:?}, falls {falls:?}", method.name);
        assert!(falls.iter().all(|fall| *fall > 5.0), "{}: {falls:?}", method.name);
    }
}

#[test]
fn the_error_of_a_tableau_with_a_wrong_digit_does_not_follow_the_tolerance() {
    for method in Method::all() {
        let errors = errors_by_decade(spoilt(method));
        assert!(errors.windows(2).any(|pair| pair[0] < 5.0 * pair[1]), "{}: {errors:?}", method.name);
    }
}

#[test]
fn the_invariant_of_a_two_layer_flow_drifts_less_than_two_tolerances() {
    let regression = Regression::new();
    let (invariant, _) = Regression::invariant(&regression.start);
    for norm in [ErrorNorm::RootMeanSquare, ErrorNorm::Maximum] {
        for method in Method::all() {
            for rtol in [1e-6, 1e-8, 1e-10] {
                let mut integrator = regression.integrator(method, rtol, norm);
                let mut field = regression.field();
                let (mut drift, mut size) = (0.0f64, 0.0f64);
                while integrator.step(&mut field) == StepResult::Accepted {
                    let (now, square) = Regression::invariant(integrator.state());
                    drift = drift.max((now - &invariant).norm());
                    size = size.max(square);
                }
                assert_eq!(integrator.time(), 30.0);
                println!(
                    "{} {norm:?} rtol {rtol:e}: drift / (rtol max|W|^2) {:.3}, {:?}",
                    method.name,
                    drift / (rtol * size),
                    integrator.effort()
                );
                assert!(drift < 2.0 * rtol * size, "{} at {rtol:e}: {drift:e}", method.name);
            }
        }
    }
}

#[test]
fn the_invariant_of_a_two_layer_flow_drifts_more_than_two_tolerances_without_error_control() {
    let regression = Regression::new();
    let (invariant, size) = Regression::invariant(&regression.start);
    for method in Method::all() {
        let mut integrator = regression.integrator(method, 1e-8, ErrorNorm::default());
        (0..10).for_each(|_| integrator.force_step(&mut regression.field(), 0.25));
        let (now, _) = Regression::invariant(integrator.state());
        assert!((now - &invariant).norm() > 2e-8 * size, "{}", method.name);
    }
}

/// Times, steps, states and ending of a driven run.
pub(super) type Seen = Vec<(f64, u64, Vec<f64>)>;

pub(super) fn drive(
    integrator: &mut Integrator,
    field: &mut impl FnMut(f64, &[f64], &mut [f64]),
    times: &[f64],
    stop: Option<f64>,
) -> (Ending, Seen) {
    let mut seen = Vec::new();
    let ending = integrate(integrator, field, times, stop, NEVER, &mut |snapshot| {
        seen.push((snapshot.time, snapshot.step, snapshot.state.to_vec()));
    });
    (ending, seen)
}

#[test]
fn the_end_state_is_the_same_however_often_the_run_is_recorded() {
    let regression = Regression::new();
    for method in Method::all() {
        let run = |count: u64| {
            let times = Recording::Log { first: 1e-3, count }.times(30.0).unwrap();
            let mut integrator = regression.integrator(method, 1e-8, ErrorNorm::default());
            let (ending, seen) = drive(&mut integrator, &mut regression.field(), &times, None);
            assert_eq!(ending, Ending::TimeReached);
            assert_eq!(seen.iter().map(|(time, ..)| *time).collect::<Vec<_>>(), times);
            assert_eq!(seen.last().unwrap().2, integrator.state());
            (seen.last().unwrap().2.clone(), integrator.effort())
        };
        let ((few, effort), (many, more)) = (run(20), run(2000));
        assert_eq!(few, many);
        assert_eq!(
            (effort.steps, effort.rejected, effort.evaluations),
            (more.steps, more.rejected, more.evaluations)
        );
        // Extra stages are paid once a step, and only in steps in which a time lies.
        let extra = method.dense_stages() as u64;
        assert!(effort.dense_evaluations <= extra * effort.steps.min(20));
        assert!(more.dense_evaluations <= extra * more.steps);
        assert!(extra == 0 || more.dense_evaluations > effort.dense_evaluations);
    }
}

#[test]
fn what_is_recorded_between_steps_is_as_exact_as_the_steps() {
    let linear = Linear::new(vec![0.5, 0.2, -0.5, -1.0]);
    let times = Recording::Linear { count: 500 }.times(5.0).unwrap();
    for method in Method::all() {
        let tolerances = Tolerances::new(1e-8, 1e-10);
        let mut integrator = Integrator::new(method, tolerances, 0.0, linear.start.as_slice(), 5.0, NO_LIMIT);
        let (_, seen) = drive(&mut integrator, &mut linear.field(), &times, None);
        let worst = seen
            .iter()
            .map(|(time, _, state)| {
                let exact = linear.solution(*time);
                distance(state, exact.as_slice()) / exact.norm()
            })
            .fold(0.0, worse);
        println!("{}: worst recorded error / rtol {:.3}", method.name, worst / 1e-8);
        assert!(worst < 1e-7, "{}: {worst:e}", method.name);
    }
}

#[test]
fn duplicate_and_outlying_recording_times_are_passed_over() {
    let times = [-1.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 7.0];
    let mut integrator = Integrator::new(&TSIT5, Tolerances::new(1e-6, 1e-8), 0.0, &[0.1], 1.0, NO_LIMIT);
    let (_, seen) = drive(&mut integrator, &mut logistic, &times, None);
    assert_eq!(seen.iter().map(|(time, ..)| *time).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
}

#[test]
fn a_run_of_no_length_shows_its_only_state_once() {
    let mut integrator = Integrator::new(&TSIT5, Tolerances::new(1e-6, 1e-8), 2.0, &[0.1], 2.0, NO_LIMIT);
    let (ending, seen) = drive(&mut integrator, &mut logistic, &[2.0], None);
    assert_eq!((ending, seen), (Ending::TimeReached, vec![(2.0, 0, vec![0.1])]));
}

#[test]
fn a_run_interrupted_and_restored_after_every_step_is_the_same_bit_for_bit() {
    let regression = Regression::new();
    let times = Recording::Log { first: 1e-3, count: 50 }.times(30.0).unwrap();
    for method in Method::all() {
        let fresh = || regression.integrator(method, 1e-7, ErrorNorm::default());
        let mut whole = fresh();
        let (ending, seen) = drive(&mut whole, &mut regression.field(), &times, None);
        let mut parts = Vec::new();
        let mut checkpoint = fresh().checkpoint();
        let mut calls = 0;
        let last = loop {
            let mut resumed = fresh();
            resumed.restore(&checkpoint);
            let ending =
                integrate(&mut resumed, &mut regression.field(), &times, None, &|| true, &mut |snapshot| {
                    parts.push((snapshot.time, snapshot.step, snapshot.state.to_vec()))
                });
            calls += 1;
            checkpoint = resumed.checkpoint();
            if !matches!(ending, Ending::Interrupted { .. }) {
                break ending;
            }
        };
        assert_eq!(calls, whole.effort().steps);
        assert_eq!((last, checkpoint), (ending, whole.checkpoint()));
        assert!(parts == seen);
    }
}

#[test]
fn a_checkpoint_without_the_memory_of_the_step_control_would_not_do() {
    // The control remembers the last error where stability limits the step, as it does here.
    let mut field = |t: f64, y: &[f64], out: &mut [f64]| out[0] = -1e4 * (y[0] - t.cos());
    let fresh = || Integrator::new(&TSIT5, Tolerances::new(1e-5, 1e-5), 0.0, &[1.1], 1.0, NO_LIMIT);
    let mut integrator = fresh();
    (0..100).for_each(|_| assert_eq!(integrator.step(&mut field), StepResult::Accepted));
    let mut checkpoint = integrator.checkpoint();
    checkpoint.previous_error *= 0.5;
    (0..5).for_each(|_| assert_eq!(integrator.step(&mut field), StepResult::Accepted));
    let mut forgetful = fresh();
    forgetful.restore(&checkpoint);
    (0..5).for_each(|_| assert_eq!(forgetful.step(&mut field), StepResult::Accepted));
    assert_ne!(integrator.time(), forgetful.time());
}

#[test]
fn the_effort_of_a_standard_problem_is_known() {
    // Predator and prey, by additions and multiplications alone, so that no processor sees it differently.
    let mut efforts = Vec::new();
    for method in Method::all() {
        let mut calls = 0;
        let mut field = |_: f64, y: &[f64], out: &mut [f64]| {
            calls += 1;
            out[0] = 1.5 * y[0] - y[0] * y[1];
            out[1] = y[0] * y[1] - 3.0 * y[1];
        };
        let tolerances = Tolerances::new(1e-8, 1e-10);
        let mut integrator = Integrator::new(method, tolerances, 0.0, &[10.0, 5.0], 10.0, NO_LIMIT);
        finish(&mut integrator, &mut field);
        let effort = integrator.effort();
        assert_eq!(effort.evaluations, calls);
        // The derivative at the start, then one evaluation less than stages an attempt: the probe was the first of them.
        assert_eq!(calls, 1 + (method.stages() as u64 - 1) * (effort.steps + effort.rejected));
        efforts.push((method.name, effort.steps, effort.rejected));
    }
    assert_eq!(efforts, [("tsit5", 324, 18), ("dopri5", 336, 10), ("dop853", 89, 24)]);
}

#[test]
fn a_first_step_that_its_second_stage_shows_to_be_too_long_is_not_taken() {
    // The field alone says nothing of how fast it will vary: it asks for a step of 0.01 (order 5) or 0.06 (order 8).
    for method in Method::all() {
        for (frequency, wasted) in [(1.0, 0), (1e4, 1)] {
            let mut field = |time: f64, _: &[f64], out: &mut [f64]| out[0] = (frequency * time).cos();
            let tolerances = Tolerances::new(1e-8, 1e-10);
            let mut integrator = Integrator::new(method, tolerances, 0.0, &[1.0], 1.0, NO_LIMIT);
            assert_eq!(integrator.step(&mut field), StepResult::Accepted);
            let effort = integrator.effort();
            let attempts = effort.steps + effort.rejected;
            let stages = method.stages() as u64 - 1;
            assert_eq!(effort.evaluations, 1 + wasted + stages * attempts, "{}, {frequency}", method.name);
            let error = integrator.state()[0] - 1.0 - (frequency * integrator.time()).sin() / frequency;
            assert!(error.abs() <= 1e-8, "{}, {frequency}: {error:e}", method.name);
        }
    }
}

#[test]
fn a_small_gradient_ends_the_flow_at_an_accepted_step() {
    let mut field = |_: f64, y: &[f64], out: &mut [f64]| out[0] = -y[0];
    for method in Method::all() {
        let mut integrator =
            Integrator::new(method, Tolerances::new(1e-8, 1e-10), 0.0, &[1.0], 100.0, NO_LIMIT);
        let (ending, seen) = drive(&mut integrator, &mut field, &[], Some(1e-3));
        let Ending::Converged { time, gradient_norm } = ending else { panic!("{ending:?}") };
        assert_eq!((time, gradient_norm), (integrator.time(), integrator.state()[0]));
        assert!(gradient_norm <= 1e-3 && time > 6.9 && time < 10.0);
        assert_eq!(seen.last().unwrap().0, time);
        // At the start nothing is checked: a saddle point would end every run there.
        let mut integrator =
            Integrator::new(method, Tolerances::new(1e-8, 1e-10), 0.0, &[1e-6], 100.0, NO_LIMIT);
        let (_, seen) = drive(&mut integrator, &mut field, &[], Some(1e-3));
        assert_eq!((seen.len(), seen[1].1), (2, 1));
    }
}

#[test]
fn a_solution_that_blows_up_ends_where_it_does_with_its_last_good_state() {
    for method in Method::all() {
        let mut field = |_: f64, y: &[f64], out: &mut [f64]| out[0] = y[0] * y[0];
        let mut integrator =
            Integrator::new(method, Tolerances::new(1e-8, 1e-10), 0.0, &[2.0], 3.0, NO_LIMIT);
        let (ending, seen) = drive(&mut integrator, &mut field, &[0.1, 0.4, 0.6, 2.0], None);
        let (Ending::NonFinite { time, .. } | Ending::StepTooSmall { time }) = ending else {
            panic!("{}: {ending:?}", method.name)
        };
        println!("{}: {ending:?}, {:?}", method.name, integrator.effort());
        assert!((time - 0.5).abs() < 1e-6, "{}: {time}", method.name);
        assert_eq!(seen.iter().map(|(time, ..)| *time).collect::<Vec<_>>(), [0.0, 0.1, 0.4, time]);
        assert!(seen[3].2[0].is_finite() && seen[3].2[0] > 1e6);
    }
}

#[test]
fn a_field_that_stops_being_a_number_ends_the_run_just_before() {
    for method in Method::all() {
        // The square root of a negative number from t = 1 on.
        let mut field = |t: f64, _: &[f64], out: &mut [f64]| out[0] = (1.0 - t).sqrt();
        let mut integrator = Integrator::new(method, Tolerances::new(1e-6, 1e-8), 0.0, &[0.0], 2.0, NO_LIMIT);
        let (ending, seen) = drive(&mut integrator, &mut field, &[], None);
        let Ending::NonFinite { time, step } = ending else { panic!("{}: {ending:?}", method.name) };
        println!("{}: {ending:?}, {:?}", method.name, integrator.effort());
        assert!(time <= 1.0 && time > 1.0 - 1e-12, "{}: {time}", method.name);
        assert_eq!(step, integrator.effort().steps + 1);
        assert_eq!(seen.last().unwrap().0, time);
        // Asked again, it says the same of the same state.
        let state = integrator.state().to_vec();
        assert_eq!(integrator.step(&mut field), StepResult::Ended(Ending::NonFinite { time, step }));
        assert_eq!(integrator.state(), state);
    }
}

#[test]
fn a_field_broken_at_the_start_takes_no_step() {
    let mut field = |_: f64, _: &[f64], out: &mut [f64]| out[0] = f64::INFINITY;
    let start = |y: f64| Integrator::new(&TSIT5, Tolerances::new(1e-6, 1e-8), 0.0, &[y], 1.0, NO_LIMIT);
    let ending = Ending::NonFinite { time: 0.0, step: 1 };
    assert_eq!(start(1.0).step(&mut field), StepResult::Ended(ending.clone()));
    let mut unasked = |_: f64, _: &[f64], _: &mut [f64]| panic!("the field of a broken state was asked for");
    assert_eq!(start(f64::NAN).step(&mut unasked), StepResult::Ended(ending));
}

#[test]
fn a_field_beyond_a_wall_of_infinities_is_followed_although_the_first_probe_meets_the_wall() {
    for method in Method::all() {
        let mut probes = Vec::new();
        let mut field = |_: f64, y: &[f64], out: &mut [f64]| {
            out[0] = if y[0] > 0.96 { -1e5 * (y[0] - 0.97) } else { f64::INFINITY };
            probes.push((1.0 - y[0], out[0].is_finite()));
        };
        let tolerances = Tolerances::new(1e-6, 1e-8);
        let mut integrator = Integrator::new(method, tolerances, 0.0, &[1.0], 1e-3, NO_LIMIT);
        assert_eq!(finish(&mut integrator, &mut field), Ending::TimeReached);
        assert!((integrator.state()[0] - 0.97).abs() < 1e-5, "{}", method.name);
        // After the start, probes go half as far until one does not meet the wall.
        let crossed = probes[1..].iter().take_while(|(_, finite)| !finite).count();
        assert!(crossed > 0, "{}", method.name);
        for pair in probes[1..crossed + 2].windows(2) {
            assert!((pair[0].0 / pair[1].0 - 2.0).abs() < 1e-12, "{}: {pair:?}", method.name);
        }
    }
}

#[test]
fn the_shortest_and_the_latest_of_spans_are_crossed() {
    let latest = 1e12_f64;
    for method in Method::all() {
        // Eight units in the last place, fewer than a step is allowed to be unless it lands; and a field that asks for no step.
        for (start, end, state) in [(1.0, 1.0 + 8.0 * f64::EPSILON, 0.1), (latest, latest + 1.0, 0.0)] {
            let mut field = |_: f64, y: &[f64], out: &mut [f64]| out[0] = y[0] * (1.0 - y[0]);
            let tolerances = Tolerances::new(1e-8, 1e-10);
            let mut integrator = Integrator::new(method, tolerances, start, &[state], end, NO_LIMIT);
            assert_eq!(finish(&mut integrator, &mut field), Ending::TimeReached, "{}", method.name);
        }
    }
}

#[test]
fn fields_with_kinks_and_jumps_do_not_hang() {
    type Field = fn(f64, &[f64], &mut [f64]);
    let fields: [Field; 3] = [
        // A square-root kink that the solution crosses, a sliding mode, and a jump in time.
        |_, y, out| out[0] = 0.1 - (y[0] - 0.5).abs().sqrt(),
        |_, y, out| out[0] = -(y[0] - 0.25).signum(),
        |t, _, out| out[0] = if t < 0.3 { 1.0 } else { -2.0 },
    ];
    for method in Method::all() {
        for (i, mut field) in fields.into_iter().enumerate() {
            let limit = 100_000;
            let mut integrator =
                Integrator::new(method, Tolerances::new(1e-8, 1e-10), 0.0, &[1.0], 3.0, limit);
            let ending = finish(&mut integrator, &mut field);
            println!("{} kink {i}: {ending:?}, {:?}", method.name, integrator.effort());
            assert!(integrator.effort().steps + integrator.effort().rejected <= limit);
            if i != 1 {
                assert_eq!(ending, Ending::TimeReached);
            }
        }
    }
}

#[test]
fn the_step_limit_counts_attempts_and_states_the_time_reached() {
    let regression = Regression::new();
    for method in Method::all() {
        let mut integrator =
            Integrator::new(method, Tolerances::new(1e-8, 1e-10), 0.0, &regression.start, 30.0, 7);
        let (ending, seen) = drive(&mut integrator, &mut regression.field(), &[], None);
        assert_eq!(ending, Ending::StepLimit { time: integrator.time(), limit: 7 });
        assert_eq!(integrator.effort().steps + integrator.effort().rejected, 7);
        assert_eq!(seen.last().unwrap().0, integrator.time());
    }
}

#[test]
fn a_recording_time_in_a_step_with_a_hole_ends_the_run_after_that_step() {
    let tolerances = Tolerances::new(1e-6, 1e-8);
    let fresh = || Integrator::new(&DOP853, tolerances, 0.0, &[0.1], 10.0, NO_LIMIT);
    let mut smooth = fresh();
    (0..3).for_each(|_| assert_eq!(smooth.step(&mut logistic), StepResult::Accepted));
    let (from, to) = (smooth.previous_time(), smooth.time());
    // Only an extra stage of dense output is evaluated at a tenth of the step.
    let hole = from + 0.1 * (to - from);
    let mut field = |t: f64, y: &[f64], out: &mut [f64]| {
        logistic(t, y, out);
        if (t - hole).abs() < 1e-9 * (to - from) {
            out[0] = f64::NAN;
        }
    };
    let inside = 0.5 * (from + to);
    let (ending, seen) = drive(&mut fresh(), &mut field, &[inside, 9.0], None);
    assert_eq!(ending, Ending::NonFinite { time: to, step: 3 });
    assert_eq!(seen[1..], [(to, 3, smooth.state().to_vec())]);
    let (ending, _) = drive(&mut fresh(), &mut field, &[9.0], None);
    assert_eq!(ending, Ending::TimeReached);
}

#[test]
fn an_unusual_unit_of_time_costs_no_more_than_a_few_attempts() {
    let attempts = |scale: f64| {
        let mut field = |_: f64, y: &[f64], out: &mut [f64]| out[0] = scale * y[0] * (1.0 - y[0]);
        let tolerances = Tolerances::new(1e-8, 1e-10);
        let mut integrator = Integrator::new(&TSIT5, tolerances, 0.0, &[0.1], 8.0 / scale, NO_LIMIT);
        assert_eq!(finish(&mut integrator, &mut field), Ending::TimeReached);
        integrator.effort().steps + integrator.effort().rejected
    };
    let usual = attempts(1.0);
    // Steps grow tenfold at most: from 2.6 it takes eleven to reach the scale of a field of size 1e-12.
    for (scale, more) in [(1e18, 6), (1e-12, 14)] {
        assert!(attempts(scale) <= usual + more, "{scale:e}: {} and {usual}", attempts(scale));
    }
}
