//! What the claims about ResNet-50 on ImageNet share: the records that they are judged on, how far these reach, and what seeds say
//! of an order.

use super::case::{Case, NeededExperiment, Run, Source};
use super::finding::{Control, Finding, Hypothesis};
use super::statistics::Median;
use super::verdict::Verdict;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const fn file(name: &'static str) -> NeededExperiment {
    NeededExperiment { name, source: Source::File, quick: &[], full: &[] }
}

/// The paper's setting: the rows of the tables, and DirectCLR with other d0.
pub(super) const IMAGE_NET: NeededExperiment = file("resnet50_imagenet");

/// The rows of the tables on digits.
pub(super) const DIGITS: NeededExperiment = file("resnet_mnist");

/// DirectCLR over d0 on digits.
pub(super) const DIGITS_OVER_D0: NeededExperiment = file("resnet_mnist_d0");

/// The runs of the first of `experiments` of which all records are there.
///
/// # Errors
/// Where there are none, says how to get them, or what those that are there lack.
pub(super) fn recorded<'a>(case: &'a Case, experiments: &[NeededExperiment]) -> Result<&'a [Run], String> {
    let names: Vec<&str> = experiments.iter().map(|experiment| experiment.name).collect();
    let missing = format!(
        "needs the record of a real network ({}): contraflow reproduce {}, of a build with the feature resnet",
        names.join(" or "),
        names.last().unwrap_or(&"NAME")
    );
    let present = names.iter().filter(|name| case.runs.contains_key(**name)).map(|name| case.runs(name));
    present.reduce(|first, other| first.or(other)).unwrap_or(Err(missing))
}

/// Runs by method, in the words of experiment files (the kind of projector for SimCLR), each by seed. DirectCLR is that of the
/// fixed low-rank diagonal projector's d0, where there is one.
pub(super) fn by_method(runs: &[Run]) -> BTreeMap<&str, Vec<&Run>> {
    let mut methods: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let method = run.plan.settings.table("method");
        let name = if method.kind() == "simclr" { method.table("projector").kind() } else { method.kind() };
        methods.entry(name).or_default().push(run);
    }
    let diagonal = methods.get("low-rank-diagonal").and_then(|runs| runs.first());
    let of_tables = diagonal.map(|run| run.plan.settings.table("method").table("projector").integer("d0"));
    if let (Some(d0), Some(runs)) = (of_tables, methods.get_mut("directclr")) {
        runs.retain(|run| run.plan.settings.table("method").integer("d0") == d0);
    }
    methods.values_mut().for_each(|runs| runs.sort_by_key(|run| run.plan.seed.repeat));
    methods
}

/// The runs of a method.
///
/// # Errors
/// Where there are none, or their seeds are not those of the other methods.
pub(super) fn of<'a>(methods: &BTreeMap<&str, Vec<&'a Run>>, name: &str) -> Result<Vec<&'a Run>, String> {
    let seeds = |runs: &[&Run]| runs.iter().map(|run| run.plan.seed.repeat).collect::<BTreeSet<u64>>();
    let runs = methods.get(name).ok_or_else(|| format!("there are no runs of the method {name}"))?;
    let others = methods.values().all(|other| seeds(other) == seeds(runs));
    if others { Ok(runs.clone()) } else { Err("methods have different seeds".to_string()) }
}

/// The last value of a scalar array, one a seed.
pub(super) fn last(runs: &[&Run], array: &str) -> Result<Vec<f64>, String> {
    runs.iter().map(|run| Ok(run.last(array)?[0])).collect()
}

/// How many values are below `mark` of the largest.
pub(super) fn below(values: &[f64], mark: f64) -> f64 {
    let largest = values.iter().copied().fold(0.0, f64::max);
    values.iter().filter(|value| **value < mark * largest).count() as f64
}

/// How many values of the last row of a spectrum are below `mark` of the largest, one number a seed.
pub(super) fn collapsed(runs: &[&Run], spectrum: &str, mark: f64) -> Result<Vec<f64>, String> {
    runs.iter().map(|run| Ok(below(run.last(spectrum)?, mark))).collect()
}

/// Coordinates of a spectrum, which are the same in all runs.
pub(super) fn dim_of(runs: &[&Run], spectrum: &str) -> Result<usize, String> {
    runs.first().map_or(Ok(0), |run| run.last(spectrum).map(<[f64]>::len))
}

/// Values by name and seed under names that mean nothing: with every seed they move on by one name.
pub(super) fn moved_on<'a>(values: &BTreeMap<&'a str, Vec<f64>>) -> BTreeMap<&'a str, Vec<f64>> {
    let rows: Vec<&Vec<f64>> = values.values().collect();
    let of = |row: usize| (0..rows[row].len()).map(|seed| rows[(row + seed) % rows.len()][seed]).collect();
    values.keys().enumerate().map(|(row, name)| (*name, of(row))).collect()
}

/// Differences, seed by seed.
pub(super) fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Something that is so in a seed where its margin is positive, and not so where it is negative.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub what: String,
    /// One a seed.
    pub margins: Vec<f64>,
}

impl Statement {
    pub(super) fn new(what: impl Into<String>, margins: Vec<f64>) -> Statement {
        Statement { what: what.into(), margins }
    }

    /// Whether it is so in all seeds, or in none; nothing where seeds differ.
    fn says(&self) -> Option<bool> {
        let all = |holds: fn(f64) -> bool| {
            !self.margins.is_empty() && self.margins.iter().all(|margin| holds(*margin))
        };
        match (all(|margin| margin > 0.0), all(|margin| margin < 0.0)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    fn to_json(&self) -> Value {
        let word = match self.says() {
            Some(true) => "in all seeds",
            Some(false) => "in no seed",
            None => "seeds differ",
        };
        json!({ "statement": self.what, "margin_by_seed": self.margins, "seen": word })
    }
}

/// Whether all statements are so in all seeds, or one is so in none; nothing where seeds leave it open.
pub(super) fn seen(statements: &[Statement]) -> Option<bool> {
    let says: Vec<Option<bool>> = statements.iter().map(Statement::says).collect();
    match () {
        () if says.contains(&Some(false)) => Some(false),
        () if says.contains(&None) || says.is_empty() => None,
        () => Some(true),
    }
}

/// What the paper trained. The files of a folder say not whether they are ImageNet's.
const SETTING: &str = "the paper's setting: ResNet-50, all pictures of ImageNet's folder at 224 x 224, LARS, batch 4096, 100 epochs";

/// Where a run is not in the paper's setting: the first thing that differs, and what it is instead.
fn elsewhere(run: &Run) -> Option<String> {
    let settings = &run.plan.settings;
    let [network, data, training] = ["network", "data", "training"].map(|name| settings.table(name));
    let optimiser = training.table("optimiser");
    let differs = [
        ("the network", network.kind() != "resnet-50" || network.text("stem") != "imagenet"),
        ("the start (network.weights)", network.optional_path("weights").is_some()),
        ("the pictures", data.kind() != "folder" || data.optional_integer("images").is_some()),
        ("their size", data.optional_integer("size") != Some(224)),
        ("the optimiser", optimiser.kind() != "lars" || optimiser.number("rate") != 4.8),
        ("the batch", training.integer("batch") != 4096),
        ("the number of epochs", training.integer("epochs") != 100),
    ];
    let (what, _) = differs.into_iter().find(|(_, differs)| *differs)?;
    Some(format!("{what}: {}, {} in batches of {}", scope(run), optimiser.kind(), training.integer("batch")))
}

/// How far a run reaches: "resnet-8 of width 16, 2000 pictures (idx, 16 x 16), 6 epochs".
fn scope(run: &Run) -> String {
    let settings = &run.plan.settings;
    let [network, data, training] = ["network", "data", "training"].map(|name| settings.table(name));
    let width = match network.kind() {
        kind @ ("resnet-8" | "resnet-20") => format!("{kind} of width {}", network.integer("width")),
        kind => kind.to_string(),
    };
    let pictures = match data.optional_integer("images") {
        Some(count) => format!("{count} pictures"),
        None => "all pictures".to_string(),
    };
    let size = data.optional_integer("size").map_or(String::new(), |size| format!(", {size} x {size}"));
    format!("{width}, {pictures} ({}{size}), {} epochs", data.kind(), training.integer("epochs"))
}

/// Seeds that decide: fewer agree on an order by chance with more than 5 %.
const FEWEST_SEEDS: usize = 6;

/// The verdict of statements about `runs`: decided in the paper's setting alone. Elsewhere it is told whether the same is seen.
/// `numbers` are the deciding figures in words; `control` is what the same check was given, in words, and as statements.
pub(super) fn conclude(
    runs: &[&Run],
    statements: &[Statement],
    numbers: &str,
    control: (&str, &[Statement]),
) -> Finding {
    let setting = Hypothesis::unless(SETTING, runs.iter().find_map(|run| elsewhere(run)));
    let seen_here = seen(statements);
    let seeds = runs.iter().map(|run| run.plan.seed.repeat).collect::<BTreeSet<_>>().len();
    let verdict = match seen_here {
        _ if !setting.held => Verdict::OutsideHypotheses,
        _ if seeds < FEWEST_SEEDS => Verdict::Inconclusive,
        Some(true) => Verdict::Consistent,
        Some(false) => Verdict::Refuted,
        None => Verdict::Inconclusive,
    };
    let says = |wanted: Option<bool>| {
        let told = statements.iter().filter(|statement| statement.says() == wanted);
        told.map(|statement| statement.what.as_str()).collect::<Vec<_>>().join("; ")
    };
    let words = match seen_here {
        Some(true) => "as stated".to_string(),
        Some(false) => format!("not so in any seed: {}", says(Some(false))),
        None => format!("seeds differ: {}", says(None)),
    };
    let scope = runs.first().map_or(String::new(), |run| scope(run));
    let (what, against) = control;
    let accepted = seen(against) == Some(true);
    Finding {
        verdict,
        summary: format!("on {scope}, {seeds} seeds: {words}; {numbers}"),
        evidence: serde_json::Map::new(),
        hypotheses: vec![setting],
        control: Control::new(
            format!("{what}: {}", if accepted { "accepted" } else { "not accepted" }),
            !accepted,
        ),
        // It is about several runs: the experiment and its records are what anyone can run again.
        counterexample: None,
    }
    .with("scope", scope)
    .with("statements", statements.iter().map(Statement::to_json).collect::<Value>())
    .with("chance_that_seeds_agree_on_one_order", 2f64.powi(1 - seeds as i32))
}

/// "name median [lowest, highest]" of each, in this order.
pub(super) fn told<'a>(values: impl IntoIterator<Item = (&'a str, &'a [f64])>) -> String {
    let each = |(name, values): (&str, &[f64])| format!("{name} {}", Median::of(values.iter().copied()));
    values.into_iter().map(each).collect::<Vec<_>>().join(", ")
}

/// Marks below which a value of a spectrum, relative to the largest, may count as collapsed.
const MARKS: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-6];

/// Collapsed values by mark, after and before training, so that a reader sees what the choice of the mark decides.
pub(super) fn by_mark(runs: &[&Run], spectrum: &str) -> Result<Value, String> {
    let row = |mark: f64| {
        let counts = collapsed(runs, spectrum, mark)?;
        let start: Result<Vec<f64>, String> =
            runs.iter().map(|run| Ok(below(run.row(spectrum, 0)?, mark))).collect();
        let told = |counts: Vec<f64>| Median::of(counts).to_json();
        Ok(json!({ "below": mark, "collapsed": told(counts), "before_training": told(start?) }))
    };
    Ok(MARKS.into_iter().map(row).collect::<Result<Vec<Value>, String>>()?.into())
}

/// "n of d values" of the coordinates of a spectrum.
pub(super) fn counted(name: &str, counts: &[f64], runs: &[&Run], spectrum: &str) -> Result<String, String> {
    let dim = dim_of(runs, spectrum)?;
    Ok(format!("{name} {} of {dim}", Median::of(counts.iter().copied())))
}

/// Runs for tests: plans of real networks, with records that a test gives.
#[cfg(test)]
pub(super) mod fixtures {
    use super::*;
    use crate::experiment::Experiment;
    use crate::files::Array;
    use crate::run::StoredRun;
    use std::path::Path;

    /// Finished runs of experiments/`name`.toml with overrides, with the scalars and rows that `record` gives for a run.
    pub(in crate::claim) fn runs(
        name: &str,
        overrides: &[&str],
        record: impl Fn(&Run) -> Vec<(&'static str, Vec<f64>)>,
    ) -> Vec<Run> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let experiment = Experiment::parse("test.toml", &folder, &text, &overrides);
        let experiment = experiment.unwrap_or_else(|problem| panic!("{problem}"));
        let with_record = |plan: crate::experiment::Plan| {
            let outcome = json!({ "finished": true });
            let stored = StoredRun { outcome, arrays: BTreeMap::new() };
            let mut run = Run { plan, stored, state: BTreeMap::new() };
            for (name, values) in record(&run) {
                let shape = if values.len() == 1 { vec![1] } else { vec![1, values.len()] };
                run.stored.arrays.insert(name.to_string(), Array { shape, values });
            }
            run
        };
        experiment.plans.into_iter().map(with_record).collect()
    }

    /// The name of a run's method, as [`by_method`] has it.
    pub(in crate::claim) fn method(run: &Run) -> String {
        let alone = std::slice::from_ref(run);
        by_method(alone).into_keys().next().unwrap().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(margins: &[f64]) -> Statement {
        Statement::new("a above b", margins.to_vec())
    }

    #[test]
    fn an_order_is_seen_where_all_seeds_have_it_and_denied_where_none_has_it() {
        assert_eq!(seen(&[statement(&[0.1, 0.2])]), Some(true));
        assert_eq!(seen(&[statement(&[-0.1, -0.2])]), Some(false));
        for open in [&[0.1, -0.2][..], &[0.1, 0.0], &[0.0, 0.0], &[0.1, f64::NAN], &[]] {
            assert_eq!(seen(&[statement(open)]), None, "{open:?}");
        }
        // One that no seed has decides; one that is open leaves all open.
        assert_eq!(seen(&[statement(&[0.1]), statement(&[0.1, -0.1])]), None);
        assert_eq!(seen(&[statement(&[0.1, -0.1]), statement(&[-0.1])]), Some(false));
        assert_eq!(seen(&[]), None);
    }

    #[test]
    fn only_the_papers_setting_decides() {
        let papers = fixtures::runs("resnet50_imagenet", &["repeats=6"], |_| Vec::new());
        let all: Vec<&Run> = papers.iter().collect();
        let verdict = |runs: &[&Run], margins: &[f64]| {
            conclude(runs, &[statement(margins)], "", ("nothing", &[])).verdict
        };
        assert_eq!(verdict(&all, &[0.1]), Verdict::Consistent);
        assert_eq!(verdict(&all, &[-0.1]), Verdict::Refuted);
        assert_eq!(verdict(&all, &[0.0]), Verdict::Inconclusive);
        // Seeds are too few where one is taken away.
        let five: Vec<&Run> = papers.iter().filter(|run| run.plan.seed.repeat < 5).collect();
        for margins in [0.1, -0.1] {
            assert_eq!(verdict(&five, &[margins]), Verdict::Inconclusive);
        }
        for smaller in [
            "network={kind=\"resnet-18\"}",
            "network.stem=\"cifar\"",
            "network.weights=\"trained.safetensors\"",
            "data.images=1000",
            "data.size=128",
            "data={kind=\"shapes\"}",
            "training.epochs=50",
            "training={optimiser={kind=\"lars\",rate=1.0},epochs=100,batch=1024}",
            "training={optimiser={kind=\"sgd\",rate=1.0},epochs=100,batch=4096}",
        ] {
            let overrides = ["sweep.method=[{kind=\"directclr\",d0=8}]", "repeats=6", smaller];
            let runs = fixtures::runs("resnet50_imagenet", &overrides, |_| Vec::new());
            let runs: Vec<&Run> = runs.iter().collect();
            for margins in [&[0.1][..], &[-0.1], &[0.0]] {
                assert_eq!(verdict(&runs, margins), Verdict::OutsideHypotheses, "{smaller}");
            }
        }
    }

    #[test]
    fn a_control_that_is_accepted_is_not_rejected() {
        let runs = fixtures::runs("resnet_mnist", &[], |_| Vec::new());
        let runs: Vec<&Run> = runs.iter().collect();
        let with = |margins: &[f64]| conclude(&runs, &[], "", ("it", &[statement(margins)])).control.rejected;
        assert_eq!(with(&[0.1]), Some(false));
        assert_eq!([with(&[0.0]), with(&[-0.1])], [Some(true); 2]);
    }

    #[test]
    fn the_scope_is_told_and_directclr_is_that_of_the_tables() {
        let runs = fixtures::runs("resnet_mnist", &[], |_| Vec::new());
        assert_eq!(scope(&runs[0]), "resnet-8 of width 16, 2000 pictures (idx, 16 x 16), 6 epochs");
        assert_eq!(by_method(&runs).values().map(Vec::len).collect::<Vec<_>>(), [6; 9]);
        let papers = fixtures::runs("resnet50_imagenet", &[], |_| Vec::new());
        let directclr = &by_method(&papers)["directclr"];
        assert_eq!(directclr.len(), 1);
        assert_eq!(directclr[0].plan.settings.table("method").integer("d0"), 360);
    }

    #[test]
    fn methods_of_other_seeds_are_not_compared() {
        let mut runs = fixtures::runs("resnet_mnist", &[], |_| Vec::new());
        assert!(of(&by_method(&runs), "none").is_ok());
        runs.pop();
        assert!(of(&by_method(&runs), "none").unwrap_err().contains("seeds"));
        assert!(of(&by_method(&runs), "cubic").unwrap_err().contains("cubic"));
    }

    #[test]
    fn without_records_it_is_told_how_to_get_them() {
        let case = super::super::fixtures::case(Vec::new());
        let message = recorded(&case, &[IMAGE_NET, DIGITS]).unwrap_err();
        assert!(message.contains("contraflow reproduce resnet_mnist,"), "{message}");
    }
}
