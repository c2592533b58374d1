//! A step allocates nothing, whether it is accepted, rejected or recorded.
#![allow(unsafe_code)] // A global allocator is an unsafe trait.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use contraflow::dynamics::{Integrator, JacobianField, Method, RosenbrockMethod, StepResult, Tolerances};

thread_local! {
    /// Allocations of this thread; those of the test harness on other threads do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on unchanged to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Coupled pendulums with a kick that makes the error control reject steps.
fn field(t: f64, y: &[f64], out: &mut [f64]) {
    let half = y.len() / 2;
    for i in 0..half {
        out[i] = y[half + i];
        out[half + i] = -y[i].sin() + 0.1 * y[(i + 1) % half] + if t > 3.0 { 5.0 } else { 0.0 };
    }
}

#[test]
fn the_counter_sees_an_allocation() {
    let before = allocations();
    drop(std::hint::black_box(vec![1.0; 100]));
    assert_eq!(allocations() - before, 1);
}

#[test]
fn steps_and_interpolation_allocate_nothing() {
    for method in Method::all() {
        // More than one block of the inner loops.
        let start: Vec<f64> = (0..1400).map(|i| (i as f64).sin()).collect();
        let mut out = vec![0.0; start.len()];
        let mut integrator =
            Integrator::new(method, Tolerances::new(1e-8, 1e-10), 0.0, &start, 6.0, 1_000_000);
        let before = allocations();
        while integrator.step(&mut field) == StepResult::Accepted {
            let middle = 0.5 * (integrator.previous_time() + integrator.time());
            assert!(integrator.interpolate(&mut field, middle, &mut out));
        }
        assert_eq!(allocations() - before, 0, "{}", method.name);
        assert_eq!(integrator.time(), 6.0);
        assert!(integrator.effort().rejected > 0, "no step was rejected");
        assert!(integrator.effort().steps > 20);
    }
}

/// A chain of stiff springs that is let go, and a growing mode at its end, so that some matrices are not definite.
struct Chain;

impl JacobianField for Chain {
    fn evaluate(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        let last = y.len() - 1;
        for i in 0..=last {
            let neighbours = if i > 0 { y[i - 1] } else { 0.0 } + if i < last { y[i + 1] } else { 0.0 };
            out[i] = 1e3 * (neighbours - 2.0 * y[i]) - y[i].powi(3);
        }
        out[last] += 1e4 * y[last];
    }

    fn jacobian(&mut self, _: f64, y: &[f64], out: &mut [f64]) {
        let n = y.len();
        out.fill(0.0);
        for i in 0..n {
            out[i + i * n] = -2e3 - 3.0 * y[i] * y[i];
            if i + 1 < n {
                out[i + 1 + i * n] = 1e3;
            }
        }
        out[n * n - 1] += 1e4;
    }
}

#[test]
fn steps_of_a_stiff_field_and_interpolation_allocate_nothing() {
    for method in RosenbrockMethod::all() {
        // More than one block of the factorisation.
        let start: Vec<f64> = (0..150).map(|i| (i as f64).sin()).collect();
        let mut out = vec![0.0; start.len()];
        let mut integrator =
            Integrator::rosenbrock(method, Tolerances::new(1e-6, 1e-8), 0.0, &start, 1.0, 1_000_000);
        // The first large product of a thread sets up memory for all later ones.
        assert_eq!(integrator.step(&mut Chain), StepResult::Accepted);
        let before = allocations();
        while integrator.step(&mut Chain) == StepResult::Accepted {
            let middle = 0.5 * (integrator.previous_time() + integrator.time());
            assert!(integrator.interpolate(&mut Chain, middle, &mut out));
        }
        assert_eq!(allocations() - before, 0, "{}", method.name);
        assert_eq!(integrator.time(), 1.0);
        assert!(integrator.effort().rejected > 0, "no step was rejected");
        assert!(integrator.effort().steps > 20);
    }
}

#[test]
fn linear_systems_are_solved_in_place() {
    use contraflow::matrix::{Factorisation, SymmetricFactors};

    // The largest first: the first large product of a thread sets up memory for all later ones.
    for (i, n) in [200, 200, 20, 1].into_iter().enumerate() {
        let mut factors = SymmetricFactors::new(n);
        let mut right = vec![1.0; n];
        for (sign, by) in [(1.0, Factorisation::Cholesky), (-1.0, Factorisation::Lu)] {
            let entry = |i: usize, j: usize| sign * if i == j { 2.0 } else { 1.0 / (n + i + j) as f64 };
            let before = allocations();
            assert_eq!(factors.factorise(entry), Ok(by));
            factors.solve(&mut right);
            assert!(i == 0 || allocations() == before, "n = {n}, {by:?}");
        }
    }
}

#[test]
fn gradients_allocate_nothing_once_their_workspaces_have_grown() {
    use contraflow::encoder::{Activation, Network};
    use contraflow::gradient::Objective;
    use contraflow::loss::{Loss, Reduction};
    use contraflow::matrix::Matrix;

    // Linear layers to 16 embeddings follow X, to 8 not.
    for (activation, dim) in [(Activation::Linear, 16), (Activation::Linear, 8), (Activation::Relu, 8)] {
        for loss in Loss::examples() {
            let entry = |scale: f64| move |i: usize, j: usize| ((3 * i + 5 * j) as f64).sin() * scale;
            let layers = [Matrix::from_fn(16, 16, entry(0.3)), Matrix::from_fn(dim, 16, entry(0.2))];
            let (network, parameters) = Network::of_layers(&layers, activation);
            let mut objective = Objective::new(network, loss, Reduction::Mean);
            let views: Vec<f64> = (0..2 * 200 * 16).map(|k| (k as f64 * 1.7).sin()).collect();
            let mut gradient = vec![0.0; parameters.len()];
            for _ in 0..3 {
                objective.evaluate(&parameters, &views, &mut gradient);
            }
            let before = allocations();
            objective.evaluate(&parameters, &views, &mut gradient);
            assert_eq!(allocations() - before, 0, "{loss:?}, {activation:?}");
        }
    }
}

#[test]
fn fresh_batches_allocate_nothing() {
    use contraflow::experiment::Experiment;
    use contraflow::stream::BatchStream;

    let text = r#"
        seed     = 1
        data     = { kind = "gaussian", dim = 16, samples = 1000 }
        augment  = { kind = "isotropic", variance = 0.5, sides = "two" }
        encoder  = { kind = "linear", widths = [16, 16], init = { kind = "gaussian", std = 0.5 } }
        loss     = { kind = "infonce-dot", temperature = 0.1 }
        dynamics = { kind = "sgd", rate = 0.1, steps = 10, batch = 128 }
        observe  = { times = { kind = "linear", every = 5 }, quantities = ["loss"] }
    "#;
    let experiment = Experiment::parse("test.toml", ".".as_ref(), text, &[]).unwrap();
    let plan = &experiment.plans[0];
    let prepared = plan.prepare().unwrap();
    let (data, augmentation) = prepared.source.samples().unwrap();
    let mut stream = BatchStream::new(data, augmentation, plan.seed, 128);
    let mut views = vec![0.0; 2 * 128 * 16];
    let before = allocations();
    for step in 0..10 {
        stream.views(step, &mut views);
    }
    assert_eq!(allocations() - before, 0);
}
