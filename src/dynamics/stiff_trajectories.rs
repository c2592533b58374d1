//! What the methods for stiff fields owe: their order, their tolerances, steps that stability does not limit, and the same bits.

use super::trajectories::*;
use super::*;
use crate::matrix::Matrix;
use crate::record::Ending;

type Complex = nalgebra::Complex<f64>;

/// The stability function at `z`: a step of size 1 of `y' = z y` from 1.
fn stability_function(method: &RosenbrockMethod, z: Complex) -> Complex {
    let mut stages: Vec<Complex> = Vec::new();
    let sum = |weights: &[f64], stages: &[Complex]| -> Complex {
        weights.iter().zip(stages).map(|(weight, stage)| stage * *weight).sum()
    };
    let mut input = Complex::ONE;
    for (a, coupling) in method.a.iter().zip(method.coupling) {
        input = sum(a, &stages) + 1.0;
        let right = z * input + sum(coupling, &stages);
        stages.push(right / (Complex::from(1.0 / method.gamma) - z));
    }
    input + stages[stages.len() - 1]
}

/// Independent logistic growth `u_i' = r_i u_i (1 - u_i)` in rotated coordinates `y = Q u`: a gradient flow with a full Jacobian
/// and a known solution. Where a rate is negative 0 is the stable point.
struct RotatedLogistic {
    rates: Vec<f64>,
    rotation: Matrix,
    start: Vec<f64>,
    /// The Jacobian that is stated is this many times the right one.
    claim: f64,
    jacobians: u64,
    /// Largest slow coordinate from which on the Jacobian is no number.
    wall: f64,
}

impl RotatedLogistic {
    fn new(rates: &[f64], start: &[f64]) -> Self {
        let rotation = cosines(rates.len());
        let (rates, start) = (rates.to_vec(), start.to_vec());
        RotatedLogistic { rates, rotation, start, claim: 1.0, jacobians: 0, wall: f64::INFINITY }
    }

    fn rotate(&self, u: &[f64]) -> Vec<f64> {
        (&self.rotation * Matrix::from_column_slice(u.len(), 1, u)).as_slice().to_vec()
    }

    fn unrotate(&self, y: &[f64]) -> Vec<f64> {
        (self.rotation.transpose() * Matrix::from_column_slice(y.len(), 1, y)).as_slice().to_vec()
    }

    fn solution(&self, time: f64) -> Vec<f64> {
        let grown = |(r, u): (&f64, &f64)| u / (u + (1.0 - u) * (-r * time).exp());
        self.rotate(&self.rates.iter().zip(&self.start).map(grown).collect::<Vec<_>>())
    }

    fn integrator(&self, rtol: f64, time_end: f64) -> Integrator<Rosenbrock> {
        self.integrator_of(&RODAS5P, rtol, time_end)
    }

    fn integrator_of(
        &self,
        method: &'static RosenbrockMethod,
        rtol: f64,
        time_end: f64,
    ) -> Integrator<Rosenbrock> {
        let tolerances = Tolerances::new(rtol, rtol);
        Integrator::rosenbrock(method, tolerances, 0.0, &self.rotate(&self.start), time_end, NO_LIMIT)
    }
}

impl JacobianField for RotatedLogistic {
    fn evaluate(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        let u = self.unrotate(y);
        let slopes: Vec<f64> = u.iter().zip(&self.rates).map(|(u, r)| r * u * (1.0 - u)).collect();
        out.copy_from_slice(&self.rotate(&slopes));
    }

    fn jacobian(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        self.jacobians += 1;
        let u = self.unrotate(y);
        let slope = |(u, r): (&f64, &f64)| self.claim * r * (1.0 - 2.0 * u);
        let slopes: Vec<f64> = u.iter().zip(&self.rates).map(slope).collect();
        let jacobian = &self.rotation * Matrix::from_diagonal(&slopes.into()) * self.rotation.transpose();
        out.copy_from_slice(jacobian.as_slice());
        if u[0] > self.wall {
            out[1] = f64::NAN;
        }
    }
}

/// `dW/dt = W X`; the Jacobian is the Kronecker product of `X` and the identity.
impl JacobianField for Linear {
    fn evaluate(&mut self, time: f64, w: &[f64], out: &mut [f64]) {
        self.field()(time, w, out);
    }

    fn jacobian(&mut self, _: f64, _: &[f64], out: &mut [f64]) {
        let identity = Matrix::identity(self.x.nrows(), self.x.nrows());
        out.copy_from_slice(self.x.kronecker(&identity).as_slice());
    }
}

/// Prothero and Robinson's `y' = lambda (y - cos t) - sin t` with the solution `cos t`: the field depends on time.
struct ProtheroRobinson {
    lambda: f64,
    states_time_derivative: bool,
}

impl JacobianField for ProtheroRobinson {
    fn evaluate(&mut self, time: f64, y: &[f64], out: &mut [f64]) {
        out[0] = self.lambda * (y[0] - time.cos()) - time.sin();
    }

    fn jacobian(&mut self, _: f64, _: &[f64], out: &mut [f64]) {
        out[0] = self.lambda;
    }

    fn time_derivative(&mut self, time: f64, _: &[f64], out: &mut [f64]) {
        out[0] = if self.states_time_derivative { self.lambda * time.sin() - time.cos() } else { 0.0 };
    }
}

/// Descent of `stiffness (u - v^2 / 2)^2 / 2 + v^2 / 2`: a bent valley with steep walls, along which the state creeps.
struct Valley {
    stiffness: f64,
}

impl Valley {
    fn integrator(&self, rtol: f64) -> Integrator<Rosenbrock> {
        Integrator::rosenbrock(&RODAS5P, Tolerances::new(rtol, rtol), 0.0, &VALLEY_START, 2.0, NO_LIMIT)
    }
}

const VALLEY_START: [f64; 2] = [1.0, 1.0];

impl JacobianField for Valley {
    fn evaluate(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        let off = self.stiffness * (y[0] - 0.5 * y[1] * y[1]);
        out[0] = -off;
        out[1] = off * y[1] - y[1];
    }

    fn jacobian(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        out[0] = -self.stiffness;
        out[1] = self.stiffness * y[1];
        // Only the lower triangle counts.
        out[2] = f64::NAN;
        out[3] = self.stiffness * (y[0] - 1.5 * y[1] * y[1]) - 1.0;
    }
}

/// Takes every step to the end and gives the ending.
fn to_the_end<F: JacobianField>(integrator: &mut Integrator<Rosenbrock>, field: &mut F) -> Ending {
    loop {
        if let StepResult::Ended(ending) = integrator.step(field) {
            return ending;
        }
    }
}

/// A method with a wrong digit in two weights of its solution, whose sum is still right.
fn spoilt() -> &'static RosenbrockMethod {
    let mut rows: Vec<&'static [f64]> = RODAS5P.a.to_vec();
    let mut row = rows[7].to_vec();
    row[0] += 1e-3;
    rows[7] = row.leak();
    Box::leak(Box::new(RosenbrockMethod { a: rows.leak(), ..RODAS5P.clone() }))
}

/// The order by which the end error of equal steps falls. The tolerances are wide, so that no step is refused.
fn order_over<F: JacobianField>(
    method: &'static RosenbrockMethod,
    field: &mut F,
    start: &[f64],
    exact: &[f64],
    time: f64,
) -> f64 {
    let errors: Vec<f64> = (0..9)
        .map(|halvings| {
            let steps = 4 << halvings;
            let tolerances = Tolerances::new(1.0, 1.0);
            let mut integrator = Integrator::rosenbrock(method, tolerances, 0.0, start, 100.0, NO_LIMIT);
            (0..steps).for_each(|_| integrator.force_step(field, time / f64::from(steps)));
            distance(integrator.state(), exact) / norm(exact)
        })
        .collect();
    measured_order(|halvings| errors.get(halvings as usize).copied().unwrap_or(0.0))
}

fn order_on_logistic(method: &'static RosenbrockMethod, claim: f64) -> f64 {
    let mut problem = RotatedLogistic::new(&[1.0, 0.7, -1.5], &[0.1, 0.3, 0.6]);
    problem.claim = claim;
    let (start, exact) = (problem.rotate(&problem.start), problem.solution(5.0));
    order_over(method, &mut problem, &start, &exact, 5.0)
}

fn order_on_forced(states_time_derivative: bool) -> f64 {
    let mut problem = ProtheroRobinson { lambda: -1.0, states_time_derivative };
    order_over(&RODAS5P, &mut problem, &[1.0], &[f64::cos(4.0)], 4.0)
}

#[test]
fn the_method_has_its_order_on_linear_nonlinear_and_forced_problems() {
    let mut linear = Linear::new(vec![1.0, 0.3, -0.4, -1.5]);
    let (start, exact) = (linear.start.clone(), linear.solution(3.0));
    let on_linear = order_over(&RODAS5P, &mut linear, start.as_slice(), exact.as_slice(), 3.0);
    let orders = [on_linear, order_on_logistic(&RODAS5P, 1.0), order_on_forced(true)];
    println!("rodas5p: measured orders {orders:.3?}");
    // For linear fields the method happens to be of order 6.
    for (order, expected) in orders.iter().zip([6.0, 5.0, 5.0]) {
        assert!((order - expected).abs() < 0.2, "{orders:?}");
    }
}

#[test]
fn a_wrong_digit_a_wrong_jacobian_and_a_forgotten_time_derivative_lower_the_order() {
    let orders =
        [order_on_logistic(spoilt(), 1.0), order_on_logistic(&RODAS5P, 1.01), order_on_forced(false)];
    println!("rodas5p: lowered orders {orders:.3?}");
    for order in orders {
        assert!(order < 4.5, "{order}");
    }
}

#[test]
fn the_method_is_found_by_its_name_and_no_explicit_one_is() {
    for method in RosenbrockMethod::all() {
        assert!(std::ptr::eq(RosenbrockMethod::named(method.name).unwrap(), method));
        assert!(Method::named(method.name).is_none());
    }
    assert!(RosenbrockMethod::named("tsit5").is_none());
}

#[test]
fn the_stability_function_is_at_most_one_in_the_left_half_plane_and_vanishes_at_infinity() {
    // The largest magnitude in the half plane is on its edge; the negative axis is what gradient flows meet.
    let points = || {
        (-30..=80).flat_map(|tenths| {
            let size = 10f64.powf(0.1 * f64::from(tenths));
            [Complex::new(0.0, size), Complex::new(-size, 0.0), Complex::new(-size, size)]
        })
    };
    let largest =
        |method| points().map(|z| stability_function(method, z).norm()).fold(0.0, |a: f64, b| worse(a, b));
    let excess = largest(&RODAS5P) - 1.0;
    println!("rodas5p: |R| - 1 is at most {excess:.1e}");
    assert!(excess < 1e-13, "{excess:e}");
    let gamma = 0.9 * RODAS5P.gamma;
    assert!(largest(&RosenbrockMethod { gamma, ..RODAS5P.clone() }) > 1.01);
    // R is a ratio of polynomials with a numerator of lower degree.
    for z in points().filter(|z| z.norm() > 100.0) {
        let value = stability_function(&RODAS5P, z).norm();
        assert!(value * z.norm() < 20.0, "|R({z})| = {value}");
    }
}

#[test]
fn the_stability_function_follows_growth_up_to_the_limit_and_is_wrong_beyond() {
    let ratio = |z: f64| stability_function(&RODAS5P, z.into()).re / z.exp();
    for tenth in 1..=10 {
        let z = 0.1 * f64::from(tenth) * RODAS5P.growth_limit;
        assert!((ratio(z) - 1.0).abs() < 0.03, "{z}: {}", ratio(z));
    }
    assert!(ratio(3.0) < 0.0 && ratio(20.0) < 1e-6);
}

#[test]
fn dense_output_has_its_order() {
    let order = |method: &'static RosenbrockMethod| {
        let errors: Vec<f64> = (0..10)
            .map(|halvings| {
                let h = 2.0 * 0.5f64.powi(halvings);
                let mut problem = RotatedLogistic::new(&[1.0, -0.8], &[0.27, 0.7]);
                let mut integrator = problem.integrator_of(method, 1.0, 100.0);
                integrator.force_step(&mut problem, h);
                let mut out = [0.0; 2];
                let mut error = |part: f64| {
                    assert!(integrator.interpolate(&mut problem, part * h, &mut out));
                    distance(&out, &problem.solution(part * h))
                };
                [0.2, 0.35, 0.5, 0.65, 0.8].map(&mut error).into_iter().fold(0.0, worse)
            })
            .collect();
        // The error inside one step is one order above that of the interpolant.
        measured_order(|halvings| errors[halvings as usize]) - 1.0
    };
    let right = order(&RODAS5P);
    println!("rodas5p: measured order of dense output {right:.3}");
    assert!((right - 4.0).abs() < 0.3, "{right}");
    for r in 0..3 {
        let mut dense = RODAS5P.dense;
        let mut row = dense[r].to_vec();
        row[0] += 1e-3;
        dense[r] = row.leak();
        let wrong = order(Box::leak(Box::new(RosenbrockMethod { dense, ..RODAS5P.clone() })));
        assert!(wrong < 3.5, "row {r}: {wrong}");
    }
}

#[test]
fn dense_output_is_the_stored_states_at_the_ends_of_a_step_and_tends_to_them() {
    let mut problem = RotatedLogistic::new(&[1.0, -1e4], &[0.1, 0.3]);
    let mut integrator = problem.integrator(1e-6, 5.0);
    for _ in 0..20 {
        let before = integrator.state().to_vec();
        assert_eq!(integrator.step(&mut problem), StepResult::Accepted);
        let after = integrator.state().to_vec();
        let (from, to) = (integrator.previous_time(), integrator.time());
        let mut out = [0.0; 2];
        for (end, state, inside) in [
            (from, before.as_slice(), from + 1e-9 * (to - from)),
            (to, after.as_slice(), to - 1e-9 * (to - from)),
        ] {
            assert!(integrator.interpolate(&mut problem, end, &mut out));
            assert_eq!(out, state);
            assert!(integrator.interpolate(&mut problem, inside, &mut out));
            assert!(distance(&out, state) < 1e-6);
        }
    }
    assert_eq!(integrator.effort().dense_evaluations, 0);
}

#[test]
fn what_is_recorded_of_a_stiff_flow_is_as_exact_as_its_steps() {
    for rate in [-10.0, -1e3, -1e6] {
        let mut problem = RotatedLogistic::new(&[1.0, 0.5, rate], &[0.1, 0.2, 0.4]);
        let mut integrator = problem.integrator(1e-7, 10.0);
        let times = Recording::Log { first: 1e-8, count: 500 }.times(10.0).unwrap();
        let mut seen = Vec::new();
        let ending = integrate(&mut integrator, &mut problem, &times, None, NEVER, &mut |snapshot| {
            seen.push((snapshot.time, snapshot.exact, snapshot.state.to_vec()));
        });
        assert_eq!(ending, Ending::TimeReached);
        assert_eq!(seen.iter().map(|(time, ..)| *time).collect::<Vec<_>>(), times);
        let error = |(time, _, state): &(f64, bool, Vec<f64>)| distance(state, &problem.solution(*time));
        let worst = seen.iter().map(error).fold(0.0, worse);
        println!("rate {rate:e}: worst recorded error / rtol {:.3}, {:?}", worst / 1e-7, integrator.effort());
        assert!(worst < 1e-6, "rate {rate:e}: {worst:e}");
        assert!(seen.iter().filter(|(_, exact, _)| !exact).count() > 300);
    }
}

#[test]
fn the_number_of_steps_does_not_depend_on_the_stiffness_or_weakly_where_it_turns() {
    let logistic = |rate: f64| {
        let mut problem = RotatedLogistic::new(&[1.0, rate], &[0.1, 0.3]);
        let mut integrator = problem.integrator(1e-6, 10.0);
        assert_eq!(to_the_end(&mut integrator, &mut problem), Ending::TimeReached);
        let error = distance(integrator.state(), &problem.solution(10.0));
        assert!(error < 1e-5, "rate {rate:e}: {error:e}");
        integrator.effort().steps + integrator.effort().rejected
    };
    let valley = |stiffness: f64| {
        let mut problem = Valley { stiffness };
        let mut integrator = problem.integrator(1e-6);
        assert_eq!(to_the_end(&mut integrator, &mut problem), Ending::TimeReached);
        integrator.effort().steps + integrator.effort().rejected
    };
    let attempts = [-1e3, -1e4, -1e6, -1e8].map(logistic);
    println!("logistic: attempts {attempts:?} for rates -1e3, -1e4, -1e6, -1e8");
    let (least, most) = (attempts.iter().min().unwrap(), attempts.iter().max().unwrap());
    assert!(*most < 2 * least, "{attempts:?}");
    // Where the stiff direction turns along the trajectory the order falls, and the number does depend, if weakly.
    let attempts = [1e3, 1e4, 1e6, 1e8].map(valley);
    println!("valley: attempts {attempts:?} for stiffness 1e3, 1e4, 1e6, 1e8");
    assert!(attempts[3] < 30 * attempts[0], "{attempts:?}");
    // An explicit method takes as many more steps as the field is stiffer.
    let explicit = |stiffness: f64| {
        let mut problem = Valley { stiffness };
        let tolerances = Tolerances::new(1e-6, 1e-6);
        let mut integrator = Integrator::new(&TSIT5, tolerances, 0.0, &VALLEY_START, 2.0, NO_LIMIT);
        finish(&mut integrator, &mut |time: f64, y: &[f64], out: &mut [f64]| problem.evaluate(time, y, out));
        integrator.effort().steps
    };
    assert!(explicit(1e4) > 5 * explicit(1e3));
}

#[test]
fn the_error_follows_the_tolerance_also_where_the_flow_is_stiff() {
    let error = |method: &'static RosenbrockMethod, rate: f64, rtol: f64| {
        let mut problem = RotatedLogistic::new(&[1.0, 0.7, rate], &[0.1, 0.02, 0.4]);
        let mut integrator = problem.integrator_of(method, rtol, 8.0);
        let mut worst = 0.0;
        while integrator.step(&mut problem) == StepResult::Accepted {
            worst = worse(worst, distance(integrator.state(), &problem.solution(integrator.time())));
        }
        assert_eq!(integrator.time(), 8.0);
        worst
    };
    for rate in [-1.0, -1e6] {
        let errors = [1e-3, 1e-5, 1e-7, 1e-9].map(|rtol| error(&RODAS5P, rate, rtol));
        println!("rate {rate:e}: errors {errors:?} at rtol 1e-3 to 1e-9");
        for (error, rtol) in errors.iter().zip([1e-3, 1e-5, 1e-7, 1e-9]) {
            assert!(*error < 10.0 * rtol, "rate {rate:e}, rtol {rtol:e}: {error:e}");
        }
        assert!(errors.windows(2).all(|pair| pair[0] > 10.0 * pair[1]), "{errors:?}");
    }
    let wrong = [1e-5, 1e-9].map(|rtol| error(spoilt(), -1.0, rtol));
    assert!(wrong[0] < 1e3 * wrong[1], "a wrong digit did not show: {wrong:?}");
}

#[test]
fn a_valley_with_steep_walls_ends_where_an_explicit_method_ends() {
    let mut problem = Valley { stiffness: 1e4 };
    let mut integrator = problem.integrator(1e-8);
    to_the_end(&mut integrator, &mut problem);
    let tolerances = Tolerances::new(1e-11, 1e-11);
    let mut explicit = Integrator::new(&DOP853, tolerances, 0.0, &VALLEY_START, 2.0, NO_LIMIT);
    finish(&mut explicit, &mut |time: f64, y: &[f64], out: &mut [f64]| problem.evaluate(time, y, out));
    let error = distance(integrator.state(), explicit.state());
    println!("valley: difference {error:e}, {:?} against {:?}", integrator.effort(), explicit.effort());
    assert!(error < 1e-6, "{error:e}");
}

#[test]
fn a_saddle_is_left_in_time_though_its_growing_mode_is_far_below_the_tolerance() {
    // Without the limit on growth the fast mode, once decayed, would let steps grow until they damp the slow one as well.
    let end = |method: &'static RosenbrockMethod| {
        let mut problem = RotatedLogistic::new(&[1.0, -1e4], &[1e-12, 0.3]);
        let mut integrator = problem.integrator_of(method, 1e-6, 40.0);
        to_the_end(&mut integrator, &mut problem);
        println!("saddle: {:?}", integrator.effort());
        problem.unrotate(integrator.state())[0]
    };
    // exp(40) 1e-12 is beyond 1e5: the exact value is 1 - 4e-6.
    assert!((end(&RODAS5P) - 1.0).abs() < 1e-4);
    let careless = Box::leak(Box::new(RosenbrockMethod { growth_limit: 1e9, ..RODAS5P.clone() }));
    assert!(end(careless) < 0.1);
}

#[test]
fn a_stiff_run_interrupted_and_restored_after_every_step_is_the_same_bit_for_bit() {
    let problem = || RotatedLogistic::new(&[1.0, 0.7, -1e5], &[0.01, 0.3, 0.4]);
    let times = Recording::Log { first: 1e-6, count: 50 }.times(20.0).unwrap();
    let fresh = || problem().integrator(1e-7, 20.0);
    let (mut whole, mut seen) = (fresh(), Vec::new());
    let ending = integrate(&mut whole, &mut problem(), &times, None, NEVER, &mut |snapshot| {
        seen.push((snapshot.time, snapshot.step, snapshot.state.to_vec()));
    });
    assert!(whole.effort().rejected > 0, "no step was rejected");
    let (mut parts, mut calls) = (Vec::new(), 0);
    let mut checkpoint = fresh().checkpoint();
    let last = loop {
        let mut resumed = fresh();
        resumed.restore(&checkpoint);
        let ending = integrate(&mut resumed, &mut problem(), &times, None, &|| true, &mut |snapshot| {
            parts.push((snapshot.time, snapshot.step, snapshot.state.to_vec()));
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
    // Back to an early point with the same integrator: what it has in memory of a later one must not count.
    let mut again = fresh();
    (0..5).for_each(|_| assert_eq!(again.step(&mut problem()), StepResult::Accepted));
    let early = again.checkpoint();
    to_the_end(&mut again, &mut problem());
    again.restore(&early);
    to_the_end(&mut again, &mut problem());
    assert_eq!(again.checkpoint(), whole.checkpoint());
}

#[test]
fn a_rejected_step_does_not_evaluate_the_jacobian_again() {
    let mut problem = RotatedLogistic::new(&[50.0, 20.0, -1e4], &[1e-4, 1e-3, 0.4]);
    let mut integrator = problem.integrator(1e-6, 3.0);
    assert_eq!(to_the_end(&mut integrator, &mut problem), Ending::TimeReached);
    let effort = integrator.effort();
    println!("{effort:?}");
    assert!(effort.rejected > 5, "{effort:?}");
    assert_eq!((effort.jacobians, problem.jacobians), (effort.steps, effort.steps));
    // At the start and for the first step size; seven stages an attempt but for those refused at once; one at each new state.
    assert!(effort.evaluations <= 2 + 7 * (effort.steps + effort.rejected) + effort.steps, "{effort:?}");
    assert!(effort.evaluations >= 2 + 8 * effort.steps);
    assert_eq!((effort.dense_evaluations, effort.stiff_steps), (0, 0));
}

#[test]
fn a_jacobian_that_is_not_finite_ends_the_run_at_the_state_where_it_is_not() {
    let mut problem = RotatedLogistic::new(&[1.0, -1e3], &[0.1, 0.4]);
    problem.wall = 0.5;
    let mut integrator = problem.integrator(1e-6, 20.0);
    let ending = to_the_end(&mut integrator, &mut problem);
    let Ending::NonFinite { time, step } = ending else { panic!("{ending:?}") };
    assert_eq!((time, step), (integrator.time(), integrator.effort().steps + 1));
    assert!(problem.unrotate(integrator.state())[0] > 0.5);
    let state = integrator.state().to_vec();
    assert_eq!(integrator.step(&mut problem), StepResult::Ended(Ending::NonFinite { time, step }));
    assert_eq!(integrator.state(), state);
}

/// `y' = f(y)` for one variable.
struct Scalar<F: Fn(f64) -> (f64, f64)>(F);

impl<F: Fn(f64) -> (f64, f64)> JacobianField for Scalar<F> {
    fn evaluate(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        out[0] = (self.0)(y[0]).0;
    }

    fn jacobian(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        out[0] = (self.0)(y[0]).1;
    }
}

fn scalar(start: f64, time_end: f64, step_limit: u64) -> Integrator<Rosenbrock> {
    Integrator::rosenbrock(&RODAS5P, Tolerances::new(1e-8, 1e-10), 0.0, &[start], time_end, step_limit)
}

#[test]
fn a_field_that_stops_being_a_number_ends_a_stiff_run_just_before() {
    // The square root of a negative number from y = 1e-3 down; the solution 1e-3 + (1 - t)^2 gets there at t = 1.
    let mut field = Scalar(|y: f64| (-2.0 * (y - 1e-3).sqrt(), -1.0 / (y - 1e-3).sqrt()));
    let mut integrator = scalar(1.001, 2.0, NO_LIMIT);
    let ending = to_the_end(&mut integrator, &mut field);
    println!("{ending:?}, {:?}", integrator.effort());
    let (Ending::NonFinite { time, .. } | Ending::StepTooSmall { time }) = ending else {
        panic!("{ending:?}")
    };
    assert!(time <= 1.0 + 1e-6 && time > 0.99, "{time}");
    assert!(integrator.state()[0].is_finite() && integrator.derivative()[0].is_finite());
}

#[test]
fn a_stiff_solution_that_blows_up_ends_where_it_does_with_its_last_good_state() {
    let mut integrator = scalar(2.0, 3.0, NO_LIMIT);
    let ending = to_the_end(&mut integrator, &mut Scalar(|y| (y * y, 2.0 * y)));
    println!("{ending:?}, {:?}", integrator.effort());
    let (Ending::NonFinite { time, .. } | Ending::StepTooSmall { time }) = ending else {
        panic!("{ending:?}")
    };
    assert!((time - 0.5).abs() < 1e-6, "{time}");
    assert!(integrator.state()[0].is_finite() && integrator.state()[0] > 1e6);
}

#[test]
fn a_stiff_run_ends_on_its_end_time_at_its_step_limit_or_by_a_small_gradient() {
    let field = || Scalar(|y: f64| (-y, -1.0));
    let mut integrator = scalar(1.0, 0.7, NO_LIMIT);
    assert_eq!(to_the_end(&mut integrator, &mut field()), Ending::TimeReached);
    assert_eq!(integrator.time(), 0.7);
    let mut integrator = scalar(1.0, 100.0, 4);
    let ending = to_the_end(&mut integrator, &mut field());
    assert_eq!(ending, Ending::StepLimit { time: integrator.time(), limit: 4 });
    let mut integrator = scalar(1.0, 100.0, NO_LIMIT);
    let ending = integrate(&mut integrator, &mut field(), &[], Some(1e-3), NEVER, &mut |_| ());
    let Ending::Converged { time, gradient_norm } = ending else { panic!("{ending:?}") };
    assert_eq!((time, -gradient_norm), (integrator.time(), integrator.derivative()[0]));
    let mut integrator = scalar(f64::NAN, 1.0, NO_LIMIT);
    assert_eq!(integrator.step(&mut field()), StepResult::Ended(Ending::NonFinite { time: 0.0, step: 1 }));
}
