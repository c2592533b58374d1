//! Plain data about runs; nothing is computed here.

mod chart;
mod outcome;
mod trajectory;

pub use chart::{
    Chart, Direction, Drawing, HeatMap, LineChart, PageWidth, Reference, Scale, Series, SeriesStyle,
};
pub use outcome::{Effort, Ending};
pub use trajectory::{ARRAYS, Column, Trajectory, declared_array, follows_time};
