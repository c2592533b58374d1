//! Predictions from matrices handed to it: what training does in the limit of infinitely many samples, and exact solutions
//! of simpler flows.
//!
//! The theory only predicts; it never trains. Everything here is derived in `paper_notes.md`, section "Beyond the paper".

mod convex;
mod covariances;
mod curvature;
mod decoupling;
mod frozen;
mod lifetime;
mod limit;
mod mode;
mod population;
mod quadrature;
mod rank;
mod separability;

pub use convex::{Minimum, minimise};
pub use covariances::ViewCovariances;
pub use curvature::Curvature;
pub use decoupling::{Direction, decoupled, directions};
pub use frozen::frozen_x;
pub use lifetime::{imbalanced_lifetime, lifetime};
pub use limit::limit;
pub use mode::{Mode, Rate};
pub use population::{NoLimit, Population};
pub use rank::limit_rank;
pub use separability::{Separability, separability};
