//! Drives dynamics, calls observe between steps, schedules cells, and keeps their results.

mod checkpoint;
mod cost;
mod export;
mod finding;
mod hold;
mod overview;
mod population;
mod prediction;
mod schedule;
mod shown;
mod simulate;
mod slurm;
mod statistics;
mod store;
mod submission;
mod summary;

pub use checkpoint::{Remarks, RunCheckpoint, Standing};
pub use cost::cost;
pub use export::{ExportFormat, Exported, ExportedTable, export};
pub use finding::{figure_array, finding, spectrum_name};
pub use hold::Holder;
pub use overview::{Estimate, Overview, PlannedRuns};
pub use schedule::{Conduct, Engine, Event, Layers, Tally, Task, run, run_all};
pub use shown::{Shown, recorded, shown_times};
pub use simulate::{Pause, Simulation, simulate, simulate_from};
pub use slurm::SlurmError;
pub use statistics::Band;
pub use store::{Completed, State, Store, StoredRun};
pub use submission::{QueuedJob, SlurmJob, Submission, SubmitError, names_in};
pub use summary::{CellSummary, cell_summaries, write_tables};

/// For tests: a run of a few steps.
#[cfg(test)]
const SMALL_EXPERIMENT: &str = r#"
seed     = 1
data     = { kind = "gaussian", dim = 3, samples = 8 }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [3, 3], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 4 }
observe  = { times = { kind = "linear", count = 2 }, quantities = ["loss"] }
"#;
