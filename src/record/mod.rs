//! Plain data about runs; nothing is computed here.

mod chart;
mod outcome;
mod trajectory;

pub use chart::{Chart, Drawing, HeatMap, LineChart, Scale, Series};
pub use outcome::{Effort, Ending};
pub use trajectory::{ARRAYS, Column, Trajectory};
