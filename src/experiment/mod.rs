//! Experiment files: TOML to validated plans, one a cell and repeat, and these to the objects that a run needs.

mod figures;
mod keys;
mod plan;
mod slurm;

pub use keys::{DYNAMICS, FIGURES, ROOT, TIMES};
pub use plan::{
    Assignment, Dynamics, ENGINE_REVISION, Experiment, Flow, FlowMethod, Origin, Plan, Prepared, Source, slug,
};
pub use slurm::{SlurmRequest, slurm_word};
