//! A page on which runs are tried out live: sliders for the setting, and spectra, alignment, eigenvalues of X and loss while
//! the program computes them.
//!
//! A small server gives the page to a browser on this machine and nobody else: it listens on 127.0.0.1 alone, on a port that
//! the system chooses, and refuses what is asked for under another name, from another page, or beyond the bounds of a setting.
//! What it shows is the run of an experiment file, which can be saved: `contraflow run` repeats it bit for bit.

mod choices;
mod frames;
mod page;
mod server;
mod work;

pub use choices::{CHOICES, Choice, Choices, Values};
pub use server::serve;
