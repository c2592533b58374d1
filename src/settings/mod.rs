//! The strict reader of experiment files.
//!
//! Every concept of the crate (a loss, an encoder, a kind of data) declares its TOML keys once, as constant data:
//! [`Key`] and [`Kind`]. That one declaration drives everything here: what is accepted, what an error says is
//! allowed, which defaults are filled in, how the resolved plan is written back, the JSON Schema that editors use
//! and the text of `contraflow list`.
//!
//! The way of a file: [`Document::read`] parses it and keeps the place of every key and value;
//! [`Document::set`] applies `--set key=value`; [`Document::expand`] turns the `sweep` table into cells; and
//! [`Document::validate`] checks a cell against the declaration and gives [`Settings`], in which nothing is
//! missing and nothing is unknown. [`Document::resolve`] does the last two for every cell. Whatever is wrong is a
//! [`Problem`], which shows the line and says what would be right.

mod document;
mod keys;
mod listing;
mod paths;
mod place;
mod problem;
mod range;
mod resolved;
mod schema;
mod sweep;
mod tree;
mod validate;
mod write;

#[cfg(test)]
mod example;

pub use document::{Document, SIZE_LIMIT};
pub use keys::{Constant, Key, Kind, Presence, ValueType};
pub use listing::describe;
pub use problem::{Problem, meant, shortened};
pub use resolved::Settings;
pub use schema::json_schema;
pub use sweep::{Assignment, CELL_LIMIT, Cell, ResolvedCell, UTMOST_CELL_LIMIT, beyond};
pub use validate::declaration_faults;
