//! Experiment files: TOML to validated plans, one a cell and repeat, and these to the objects that a run needs.

mod figures;
mod keys;
mod plan;

pub use keys::{DYNAMICS, FIGURES, ROOT, TIMES};
pub use plan::{
    Assignment, Dynamics, ENGINE_REVISION, Experiment, Flow, FlowMethod, Plan, Prepared, Source, slug,
};
