//! contraflow simulates the training of linear networks under contrastive losses, as gradient flow and as SGD, and puts a
//! published theory of dimensional collapse on trial (Jing, Vincent, LeCun, Tian, ICLR 2022).
//!
//! The program's verbs are thin; everything they do is here. Data flows one way, and a room imports rooms of a lower rank
//! only, never a sibling of its own rank (`tests/house_rules.rs` checks it):
//!
//! | rank | room | what it is for |
//! |---|---|---|
//! | 0 | `matrix` | the only home of the decomposition crates: products, SVD, symmetric eigen and systems, exponentials |
//! | 0 | `files` | npy, npz, csv, IDX: read with limits and checks, written whole or not at all |
//! | 0 | `seed` | named, counter-based random streams |
//! | 0 | `real` | arithmetic that referees are written in: dual numbers and their like |
//! | 0 | `settings` | strict TOML tables from declared keys: errors with places, defaults, JSON Schema |
//! | 1 | `record` | plain data: trajectories, endings, drawings |
//! | 1 | `data` | where samples come from |
//! | 2 | `augment` | how the second view comes from a sample |
//! | 2 | `encoder` | deep linear and nonlinear stacks, projectors, initialisations |
//! | 2 | `loss` | the losses, their gradients and X, and the pairwise kernel |
//! | 3 | `gradient` | the chain rule from embeddings to layers, and its referees |
//! | 3 | `stream` | what the loss sees at each step |
//! | 4 | `dynamics` | Runge-Kutta and Rosenbrock methods as data, step control, dense output, gradient descent |
//! | 4 | `observe` | what is measured on a state |
//! | 4 | `theory` | predictions: the population limit, modes, frozen X, lifetimes, global minima |
//! | 5 | `experiment` | experiment files to validated plans, and these to objects |
//! | 6 | `run` | drives dynamics, schedules cells, keeps results |
//! | 7 | `claim` | the paper's statements on trial: hypotheses, checks, negative controls, verdicts |
//! | 7 | `resnet` | the same questions asked of a real network, with the feature `resnet`, or `cuda` on a GPU |
//! | 8 | `figure` | draws what is recorded; computes nothing |
//! | 9 | `page` | the parts of pages for a browser: charts, heat maps, and the script that moves them |
//! | 10 | `report` | results as one page |
//! | 10 | `explore` | a page on which runs are tried out live, with the feature `explore` |
//! | 11 | `cli` | thin verbs |
//!
//! A plan is run by [`run::simulate`]:
//!
//! ```
//! use contraflow::experiment::Experiment;
//!
//! let text = r#"
//! seed     = 1
//! data     = { kind = "gaussian", dim = 4, samples = 32 }
//! augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
//! encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
//! loss     = { kind = "infonce-euclidean" }
//! dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 1.0 }
//! observe  = { times = { kind = "linear", count = 10 }, quantities = ["loss", "spectra"] }
//! "#;
//! let experiment = Experiment::parse("example.toml", ".".as_ref(), text, &[])?;
//! let plan = &experiment.plans[0];
//! let result = contraflow::run::simulate(plan, plan.prepare()?, &|_| false);
//! assert!(result.ending.is_finished());
//! let loss = &result.trajectory.columns["loss"].values;
//! assert!(loss[10] < loss[0]);
//! # Ok::<(), contraflow::settings::Problem>(())
//! ```

pub mod augment;
pub mod claim;
pub mod cli;
pub mod data;
pub mod dynamics;
pub mod encoder;
pub mod experiment;
#[cfg(feature = "explore")]
pub mod explore;
pub mod figure;
pub mod files;
pub mod gradient;
pub mod loss;
pub mod matrix;
pub mod observe;
pub mod page;
pub mod real;
pub mod record;
pub mod report;
#[cfg(feature = "resnet")]
pub mod resnet;
pub mod run;
pub mod seed;
pub mod settings;
pub mod stream;
pub mod theory;
