//! Dynamics: any vector field, integrated with error control by Runge-Kutta or, if stiff, Rosenbrock methods, or descended by
//! fixed steps.
//!
//! A state is a flat slice and a field is a closure, or a [`JacobianField`]; what they mean is not known here. A flow is an
//! [`Integrator`] driven by [`integrate`]; a new method is one file with a tableau ([`Method`], [`RosenbrockMethod`]) and a line in
//! [`Method::all`] or [`RosenbrockMethod::all`]. Gradient descent is a [`Descent`]. Both show what they reach to an observer, at
//! times that a [`Recording`] gives, and can be interrupted and resumed without changing a bit of the result.

mod descent;
mod dop853;
mod dopri5;
mod drive;
mod integrator;
mod method;
mod recording;
mod rodas5p;
mod rosenbrock;
mod runge_kutta;
mod stiffness;
mod tsit5;
mod vector;

#[cfg(test)]
mod order_conditions;
#[cfg(test)]
mod stiff_trajectories;
#[cfg(test)]
mod trajectories;

pub use descent::{Descent, Position};
pub use dop853::DOP853;
pub use dopri5::DOPRI5;
pub use drive::{Snapshot, integrate};
pub use integrator::{Checkpoint, Integrator, Scheme, StepResult, Tolerances};
pub use method::{Control, Dense, Estimate, Method};
pub use recording::{Recording, RecordingError};
pub use rodas5p::RODAS5P;
pub use rosenbrock::{JacobianField, Rosenbrock, RosenbrockMethod};
pub use runge_kutta::RungeKutta;
pub use stiffness::StiffnessTest;
pub use tsit5::TSIT5;
pub use vector::ErrorNorm;
