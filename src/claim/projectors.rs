//! Representation spectra under every kind of projector, in two toys: what Propositions 1 and 2 are judged on.

use super::case::{NeededExperiment, Run, Source};
use super::statistics::Median;
use serde_json::{Map, Value, json};

/// Two toys on fresh batches, with a representation wider than the input, so that any three of its directions that a projector
/// hides still span the noisy ones. *Strong noise* on half of the coordinates, one layer that starts with equal singular
/// values: without projector those coordinates collapse. *Weak noise*, two layers that start with small modes: they stay
/// small for some time.
pub(super) const PROJECTORS: NeededExperiment = NeededExperiment {
    name: "projectors",
    source: Source::Text(
        r#"
title    = "Representation spectra under every kind of projector"
claims   = ["proposition-1", "proposition-1-corrected", "proposition-2", "proposition-2-corrected"]
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 6, samples = 10000 }
augment  = { kind = "block", block = 3, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [6, 8], init = { kind = "orthogonal", scale = 1.2 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "sgd", rate = 0.05, steps = 1600, batch = 64 }
observe  = { times = { kind = "list", times = [10.0, 20.0, 40.0] }, quantities = ["loss", "spectra", "imbalance"] }

[sweep]
"encoder.projector" = [
    { kind = "none" },
    { kind = "trainable" },
    { kind = "trainable", init = { kind = "orthogonal", scale = 1.0 } },
    { kind = "trainable", widths = [8, 8], activation = "relu" },
    { kind = "orthogonal" },
    { kind = "diagonal" },
    { kind = "low-rank", rank = 3 },
    { kind = "low-rank-diagonal", rank = 2 },
    { kind = "low-rank-diagonal", rank = 3 },
    { kind = "low-rank-diagonal", rank = 7 },
    { kind = "subvector", dims = 3 },
]

[sweep.zip]
"augment" = [
    { kind = "block", block = 3, variance = 3.0, sides = "one" },
    { kind = "isotropic", variance = 0.3, sides = "one" },
]
"encoder.widths" = [[6, 8], [6, 6, 8]]
"encoder.init" = [
    { kind = "orthogonal", scale = 1.2 },
    { kind = "balanced", scale = 1.0, decay = 0.8, of = "product" },
]
"#,
    ),
    quick: &[],
    full: &["repeats=12", "dynamics.steps=3200", "observe.times.times=[20.0, 40.0, 80.0]"],
};

/// The toy with strong noise, from a smaller start than the projector's.
pub(super) const SMALL_START: NeededExperiment = NeededExperiment {
    name: "projectors_small_start",
    source: Source::Text(
        r#"
title    = "Trainable projectors that start larger than the encoder"
claims   = ["proposition-1", "proposition-1-corrected"]
seed     = 20
repeats  = 6
data     = { kind = "gaussian", dim = 6, samples = 10000 }
augment  = { kind = "block", block = 3, variance = 3.0, sides = "one" }
encoder  = { kind = "linear", widths = [6, 8], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "sgd", rate = 0.05, steps = 1600, batch = 64 }
observe  = { times = { kind = "list", times = [10.0, 20.0, 40.0] }, quantities = ["loss", "spectra", "imbalance"] }

[sweep]
"encoder.projector" = [
    { kind = "trainable", init = { kind = "orthogonal", scale = 1.0 } },
    { kind = "diagonal" },
]
"#,
    ),
    quick: &[],
    full: &["repeats=12", "dynamics.steps=3200", "observe.times.times=[20.0, 40.0, 80.0]"],
};

/// What counts as small: two decades below, as in Figures 9 and 11.
const SMALL: f64 = 0.01;

/// The two toys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toy {
    /// Strong noise, equal singular values at the start: collapsed is what has lost 99 % of it.
    Strong,
    /// Weak noise, small modes: collapsed is what lies below 1 % of the largest.
    Weak,
}

impl Toy {
    pub(super) const BOTH: [Toy; 2] = [Toy::Strong, Toy::Weak];

    pub(super) fn of(run: &Run) -> Toy {
        if run.plan.settings.table("augment").kind() == "block" { Toy::Strong } else { Toy::Weak }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Toy::Strong => "strong noise",
            Toy::Weak => "weak noise, small modes",
        }
    }
}

/// What stands behind the encoder of a run, in a few words.
pub(super) fn label(run: &Run) -> String {
    let projector = run.plan.settings.table("encoder").table("projector");
    match projector.kind() {
        "trainable" => {
            let start = match projector.table("init").kind() {
                "orthogonal" => "orthogonal start",
                _ => "default start",
            };
            format!("trainable {}, {start}", projector.text("activation"))
        }
        kind @ ("low-rank" | "low-rank-diagonal") => format!("{kind} {}", projector.integer("rank")),
        "subvector" => format!("subvector {}", projector.integer("dims")),
        kind => kind.to_string(),
    }
}

/// The trainable linear projector that starts, up to an orthogonal factor, as the diagonal one does: as the identity.
pub(super) const LINEAR: &str = "trainable linear, orthogonal start";

/// The runs of one toy with this projector, by repeat.
pub(super) fn with<'a>(runs: &'a [Run], toy: Toy, projector: &str) -> Vec<&'a Run> {
    runs.iter().filter(|run| Toy::of(run) == toy && label(run) == projector).collect()
}

/// The name of the representation's spectrum in the record: without a projector it is the embedding's.
fn spectrum(run: &Run) -> &'static str {
    let projector = run.plan.settings.table("encoder").table("projector");
    if projector.kind() == "none" { "embedding" } else { "representation" }
}

/// Singular values of the covariance of the representation at a recorded time, descending: as many as the input has
/// directions.
fn representation(run: &Run, time: usize) -> Result<&[f64], String> {
    let row = run.row(&format!("sigma_{}", spectrum(run)), time)?;
    let inputs = run.plan.settings.table("encoder").integers("widths")[0];
    Ok(&row[..inputs.min(row.len())])
}

/// How many directions of the representation are collapsed at a recorded time.
fn collapsed_at(run: &Run, time: usize) -> Result<usize, String> {
    let (start, row) = (representation(run, 0)?, representation(run, time)?);
    let reference = |k: usize| match Toy::of(run) {
        Toy::Strong => start[k],
        Toy::Weak => row[0],
    };
    Ok((0..row.len()).filter(|&k| row[k] < SMALL * reference(k)).count())
}

/// The same at the end.
pub(super) fn collapsed(run: &Run) -> Result<usize, String> {
    collapsed_at(run, run.times().len() - 1)
}

/// The same over seeds.
pub(super) fn over_seeds(runs: &[&Run]) -> Result<Median, String> {
    let counts = runs.iter().map(|run| Ok(collapsed(run)? as f64)).collect::<Result<Vec<_>, String>>()?;
    Ok(Median::of(counts))
}

/// Whether two intervals have no point in common.
pub(super) fn apart(a: &Median, b: &Median) -> bool {
    a.high < b.low || b.high < a.low
}

/// The table of both propositions: for each toy and projector the collapsed directions over seeds, and the median spectrum.
pub(super) fn table(runs: &[Run]) -> Result<Value, String> {
    let mut toys = Map::new();
    for toy in Toy::BOTH {
        let mut rows = Map::new();
        for run in runs.iter().filter(|run| Toy::of(run) == toy) {
            let name = label(run);
            if rows.contains_key(&name) {
                continue;
            }
            let those = with(runs, toy, &name);
            let last = run.times().len() - 1;
            let value = |k: usize| {
                let of = those.iter().map(|run| Ok(representation(run, last)?[k]));
                Ok(Median::of(of.collect::<Result<Vec<_>, String>>()?).median)
            };
            let width = representation(run, last)?.len();
            let spectrum = (0..width).map(value).collect::<Result<Vec<_>, String>>()?;
            let mut over_time = Vec::new();
            for (time, t) in run.times().iter().enumerate() {
                let counts = those.iter().map(|run| Ok(collapsed_at(run, time)? as f64));
                let counts = Median::of(counts.collect::<Result<Vec<_>, String>>()?);
                over_time.push(json!([t, counts.to_string()]));
            }
            let count = over_seeds(&those)?;
            rows.insert(
                name,
                json!({
                    "collapsed directions": count.to_json(), "over time": over_time,
                    "median spectrum": spectrum,
                }),
            );
        }
        toys.insert(toy.name().to_string(), Value::Object(rows));
    }
    Ok(Value::Object(toys))
}
