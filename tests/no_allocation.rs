//! A step allocates nothing, whether it is accepted, rejected or recorded.
#![allow(unsafe_code)] // A global allocator is an unsafe trait.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use contraflow::dynamics::{Integrator, Method, StepResult, Tolerances};

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
