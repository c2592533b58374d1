//! Drives dynamics, calls observe between steps, schedules cells, and keeps their results.

mod finding;
mod population;
mod prediction;
mod schedule;
mod shown;
mod simulate;
mod store;
mod summary;

pub use finding::{figure_array, finding, spectrum_name};
pub use schedule::{Event, Tally, run};
pub use shown::{Shown, recorded, shown_times};
pub use simulate::{Simulation, simulate};
pub use store::{State, Store, StoredRun};
pub use summary::{Band, write_summary};
