//! Experiment files: TOML to validated plans, one a cell and repeat, and these to the objects that a run needs.

mod figures;
mod keys;
mod network;
mod pictures;
mod plan;
mod slurm;

pub use keys::{DYNAMICS, FIGURES, NETWORK_ROOT, ROOT, TIMES};
pub use network::{METHODS, NETWORKS, OPTIMISERS, PROJECTORS, representation_dim};
pub use pictures::{PICTURES, VIEWS};
pub use plan::{
    Assignment, Dynamics, Experiment, Flow, FlowMethod, Origin, Plan, Prepared, Source, Subject, slug,
};
pub use slurm::{SlurmRequest, slurm_word};
