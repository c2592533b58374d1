//! Words for what is swept and for what is measured, as short as legends and axes need them.

use super::shades;
use crate::experiment::{Assignment, NETWORK_ROOT, Plan, ROOT, Subject, slug};
use crate::settings::{Key, Kind, Settings, ValueType};
use std::collections::BTreeSet;

/// Keys of a table that tell tables of one kind apart, in this order before all others; `steps` follows from the rate
/// as a rule and comes last.
const TELLING_KEYS: [&str; 2] = ["batch", "rate"];

/// A number stands in a legend as it is written in the file, unless it is longer than this.
const LONGEST_NUMBER: usize = 6;

/// Words for the swept values of an experiment, the same in legends, tables and file names.
#[derive(Debug)]
pub struct Labels<'a> {
    plans: Vec<&'a Plan>,
    by_depth: bool,
}

impl<'a> Labels<'a> {
    /// For cells with these plans, one a cell: what is said of one depends on the others.
    pub fn new(plans: Vec<&'a Plan>) -> Self {
        let by_depth = depth_tells(&plans);
        Labels { plans, by_depth }
    }

    /// The values of these keys, as short as a legend needs them: alone a value, together each with its symbol.
    pub fn joined(&self, plan: &Plan, keys: &[&str]) -> String {
        match keys {
            [key] => self.value(plan, key).unwrap_or_default(),
            _ => self.named(plan, keys),
        }
    }

    /// The values of these keys, each with its symbol where it does not speak for itself.
    pub fn named(&self, plan: &Plan, keys: &[&str]) -> String {
        let parts: Vec<String> = keys.iter().filter_map(|key| self.part(plan, key)).collect();
        parts.join(", ")
    }

    /// What the labels of [`Labels::joined`] are values of; empty where they say so themselves.
    pub fn title(&self, keys: &[&str]) -> String {
        match keys {
            ["encoder.widths"] if self.by_depth => "layers L".to_string(),
            ["data.samples"] => "samples N".to_string(),
            [key] => last_segment(key),
            _ => String::new(),
        }
    }

    /// The shades of all cells where `keys` tell them apart, in their order: the same thing has the same colour in all figures
    /// where [`Labels::fixed_shades`] has one for it; otherwise shades follow the order.
    pub(super) fn shades(&self, keys: &[&str]) -> Vec<f64> {
        let last = self.plans.len().saturating_sub(1).max(1) as f64;
        self.fixed_shades(keys)
            .unwrap_or_else(|| (0..self.plans.len()).map(|index| index as f64 / last).collect())
    }

    /// The shades of noise, depth, samples and dynamics, which are those of all figures; none for other keys, and where they do
    /// not tell these cells apart.
    pub(super) fn fixed_shades(&self, keys: &[&str]) -> Option<Vec<f64>> {
        let each = |shade: fn(&Plan) -> Option<f64>| self.plans.iter().map(|plan| shade(plan)).collect();
        let shades: Option<Vec<f64>> = match keys {
            ["augment.variance"] => each(|plan| number(plan, "augment.variance").map(shades::of_variance)),
            ["encoder.widths"] if self.by_depth => each(|plan| Some(shades::of_depth(plan))),
            ["data.samples"] => {
                each(|plan| number(plan, "data.samples").map(|n| shades::of_samples(n as u64)))
            }
            // The number of samples may move together with the dynamics.
            _ if keys.contains(&"dynamics")
                && keys.iter().all(|key| matches!(*key, "dynamics" | "data.samples")) =>
            {
                Some(shades::of_dynamics(&self.plans))
            }
            _ => None,
        };
        shades.filter(|shades| shades::apart(shades))
    }

    /// The values of these keys as part of a file's name, each after a dash.
    pub fn suffix(&self, plan: &Plan, keys: &[&str]) -> String {
        let one = |key: &&str| {
            // A whole table is too long, and depth is enough where it tells all widths apart.
            let short = kinds(key).is_some() || (*key == "encoder.widths" && self.by_depth);
            let text = if short { self.part(plan, key) } else { self.value(plan, key).and(raw(plan, key)) };
            text.map(|text| format!("-{}", slug(&text)))
        };
        keys.iter().filter_map(one).collect()
    }

    /// `N = 512`, `flow`, `one-sided`.
    fn part(&self, plan: &Plan, key: &str) -> Option<String> {
        let value = self.value(plan, key)?;
        let symbol = match key {
            "encoder.widths" if self.by_depth => "L".to_string(),
            "data.samples" => "N".to_string(),
            "augment.variance" => "k".to_string(),
            _ => match (last_segment(key).as_str(), value.parse::<f64>().is_ok()) {
                ("batch", _) => "B".to_string(),
                ("rate", _) => "η".to_string(),
                ("temperature", _) => "τ".to_string(),
                (name, true) => name.to_string(),
                (_, false) => return Some(value),
            },
        };
        // No line ends inside an equation.
        Some(format!("{symbol}\u{a0}=\u{a0}{value}"))
    }

    /// The value of a swept key in the cell of `plan`; none where it has no effect there.
    fn value(&self, plan: &Plan, key: &str) -> Option<String> {
        let text = raw(plan, key)?;
        if key == "encoder.widths" && self.by_depth {
            return Some(depth(plan).to_string());
        }
        if key == "data.samples"
            && plan.subject == Subject::Layers
            && plan.settings.table("dynamics").kind() == "population"
        {
            return None;
        }
        if let Some(kinds) = kinds(key) {
            return Some(self.table(plan, key, kinds));
        }
        if last_segment(key) == "sides" {
            return Some(format!("{text}-sided"));
        }
        if let (Ok(number), true) = (text.parse::<f64>(), text.len() > LONGEST_NUMBER) {
            return Some(short(number));
        }
        Some(text.replace(['{', '}', '"', '[', ']'], "").replace("kind = ", "").trim().to_string())
    }

    /// A table by its kind and by as many of its keys as tell it from the others of that kind.
    fn table(&self, plan: &Plan, key: &str, kinds: &'static [Kind]) -> String {
        let table = plan.settings.table(key);
        let kind = table.kind();
        let Some(declared) = kinds.iter().find(|declared| declared.name == kind) else {
            return kind.to_string();
        };
        let mut peers: Vec<&Settings> = Vec::new();
        for peer in self.plans.iter().map(|plan| plan.settings.table(key)).filter(|peer| peer.kind() == kind)
        {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        let mut keys: Vec<&Key> = declared.keys.iter().collect();
        keys.sort_by_key(|key| match TELLING_KEYS.iter().position(|telling| *telling == key.name) {
            Some(place) => place,
            None => TELLING_KEYS.len() + usize::from(key.name == "steps"),
        });
        let mut words = kind.to_string();
        let mut alike: Vec<&Settings> = peers.clone();
        alike.retain(|peer| *peer != table);
        for key in keys {
            // The batch of SGD is what sets it apart from a flow.
            let wanted =
                key.name == "batch" || alike.iter().any(|peer| text_of(peer, key) != text_of(table, key));
            if let (true, Some(text)) = (wanted, text_of(table, key)) {
                let symbol = match key.name {
                    "batch" => "B",
                    "rate" => "η",
                    "temperature" => "τ",
                    name => name,
                };
                // A legend breaks before a second key, and not inside of one.
                let space = if words == kind { '\u{a0}' } else { ' ' };
                words += &match key.value {
                    // A table inside is told by its kind alone.
                    ValueType::OneOf(_) => format!(" {text}"),
                    _ => format!("{space}{}={text}", symbol.replace('_', "\u{a0}")),
                };
                alike.retain(|peer| text_of(peer, key).as_ref() == Some(&text));
            }
        }
        words
    }
}

/// The kinds of a table of the file.
fn kinds(key: &str) -> Option<&'static [Kind]> {
    let roots = ROOT.iter().chain(NETWORK_ROOT);
    // Kinds of data and of loss stand in both, and those of linear networks are meant: the others have no telling keys.
    roots.filter(|declared| declared.name == key).find_map(|declared| match declared.value {
        ValueType::OneOf(kinds) => Some(kinds),
        _ => None,
    })
}

/// A value of a table in words; none for what is absent and for tables inside it.
fn text_of(table: &Settings, key: &Key) -> Option<String> {
    match key.value {
        ValueType::Number { .. } => table.optional_number(key.name).map(short),
        ValueType::Integer { .. } => table.optional_integer_u64(key.name).map(|value| value.to_string()),
        ValueType::Flag => table.optional_flag(key.name).map(|value| value.to_string()),
        ValueType::Text | ValueType::Choice(_) => table.optional_text(key.name).map(str::to_string),
        ValueType::Numbers { .. } => {
            let text = |values: &[f64]| values.iter().copied().map(short).collect::<Vec<_>>().join("\u{a0}");
            table.optional_numbers(key.name).map(text)
        }
        ValueType::OneOf(_) => table.optional_table(key.name).map(|table| table.kind().to_string()),
        _ => None,
    }
}

fn raw(plan: &Plan, key: &str) -> Option<String> {
    plan.assignments.iter().find(|a| &*a.key == key).map(|a| a.value.to_string())
}

fn number(plan: &Plan, key: &str) -> Option<f64> {
    raw(plan, key)?.parse().ok()
}

/// The swept keys of a cell.
pub(super) fn swept_keys(plan: &Plan) -> Vec<&str> {
    plan.assignments.iter().map(|a| &*a.key).collect()
}

/// The swept values of a cell, with their keys, in full.
pub(super) fn label(plan: &Plan) -> String {
    let one = |a: &Assignment| format!("{} = {}", a.key, a.value);
    plan.assignments.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Whether depth alone tells the widths of the cells apart: all layers of all cells are equally wide, and no two lists
/// of widths equally long.
fn depth_tells(plans: &[&Plan]) -> bool {
    if plans.iter().any(|plan| plan.subject == Subject::RealNetwork) {
        return false;
    }
    let widths: BTreeSet<&[usize]> =
        plans.iter().map(|plan| plan.settings.table("encoder").integers("widths")).collect();
    let first = widths.first().and_then(|widths| widths.first());
    let even = widths.iter().flat_map(|widths| widths.iter()).all(|width| Some(width) == first);
    let depths: BTreeSet<usize> = widths.iter().map(|widths| widths.len()).collect();
    even && depths.len() == widths.len()
}

pub(super) fn depth(plan: &Plan) -> usize {
    plan.settings.table("encoder").integers("widths").len() - 1
}

/// 0.01 and 1e-6, not 0.000001; 1e20, not a row of zeros.
pub(super) fn short(value: f64) -> String {
    let plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    if plain { value.to_string() } else { format!("{value:e}") }
}

/// Title of an axis along which a swept key varies.
pub fn axis_title(key: &str) -> String {
    match key {
        "augment.variance" => "variance of one noise draw k".to_string(),
        "data.samples" => "samples N".to_string(),
        "encoder.widths" => "layers L".to_string(),
        key => last_segment(key),
    }
}

fn last_segment(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).replace('_', " ")
}

/// W₁ for "1" and for "w1", P₁ for "p1".
pub(super) fn layer_name(label: &str) -> String {
    let subscript = |index: &str| -> String {
        let digit = |c: char| c.to_digit(10).and_then(|d| char::from_u32(0x2080 + d)).unwrap_or(c);
        index.chars().map(digit).collect()
    };
    match label.strip_prefix('p') {
        Some(index) => format!("P{}", subscript(index)),
        None => format!("W{}", subscript(label.strip_prefix('w').unwrap_or(label))),
    }
}

/// What an array holds, in words.
pub fn value_label(array: &str) -> String {
    let of_spectrum = [
        ("sigma_", "singular value"),
        ("effective_rank_", "effective rank"),
        ("stable_rank_", "stable rank"),
        ("participation_ratio_", "participation ratio"),
        ("numerical_rank_", "numerical rank"),
        ("floor_", "numerical floor"),
    ];
    if let Some((words, of)) =
        of_spectrum.iter().find_map(|(prefix, words)| array.strip_prefix(prefix).map(|of| (words, of)))
    {
        return format!("{words} of {}", spectrum_words(of));
    }
    let pair = |layers: &str| match layers.split_once('_') {
        Some((inner, outer)) => format!("{} and {}", layer_name(inner), layer_name(outer)),
        None => layers.to_string(),
    };
    if let Some(layers) = array.strip_prefix("alignment_score_") {
        return format!("alignment score of {}", pair(layers));
    }
    if let Some(layers) = array.strip_prefix("alignment_resolved_") {
        return format!("resolved directions of {}", pair(layers));
    }
    match array {
        "eig_x" => "eigenvalue of X".to_string(),
        "view_distance" => "mean squared distance of views".to_string(),
        "population_x_distance" => "distance of X from the population's".to_string(),
        name => name.replace('_', " "),
    }
}

/// The matrix that a spectrum is of.
fn spectrum_words(of: &str) -> String {
    match of {
        "embedding" => "C".to_string(),
        "representation" => "Cov(r)".to_string(),
        "end_to_end" => "W".to_string(),
        "augmented" => "W on noisy directions".to_string(),
        layer if layer.len() > 1 && layer[1..].bytes().all(|c| c.is_ascii_digit()) => layer_name(layer),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;
    use std::path::Path;

    const TEXT: &str = r#"
seed     = 1
data     = { kind = "gaussian", dim = 2, samples = 4 }
augment  = { kind = "isotropic", variance = 1.0, sides = "one" }
encoder  = { kind = "linear", widths = [2, 2], init = { kind = "orthogonal", scale = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 1 }
observe  = { times = { kind = "linear", every = 1 }, quantities = ["loss"] }
"#;

    fn shades(sweep: &str) -> Vec<f64> {
        let experiment =
            Experiment::parse("test.toml", Path::new("."), TEXT, &[format!("sweep={{ {sweep} }}")]).unwrap();
        let plans: Vec<&Plan> = experiment.plans.iter().collect();
        Labels::new(plans).shades(&swept_keys(&experiment.plans[0]))
    }

    #[test]
    fn the_same_noise_and_the_same_depth_have_the_same_shade_wherever_they_are_swept() {
        let few = shades("\"augment.variance\" = [0.1, 1.0, 10.0]");
        assert_eq!(few, [0.0, 0.5, 1.0]);
        let more = shades("\"augment.variance\" = [0.5, 1.0, 2.0, 5.0]");
        assert_eq!(more[1], few[1]);
        let depths = shades("\"encoder.widths\" = [[2, 2], [2, 2, 2], [2, 2, 2, 2, 2, 2, 2, 2, 2]]");
        assert_eq!(depths, [0.0, 1.0 / 3.0, 1.0]);
        assert_eq!(shades("\"encoder.widths\" = [[2, 2, 2], [2, 2]]"), [1.0 / 3.0, 0.0]);
        let samples = shades("\"data.samples\" = [512, 4, 2048]");
        assert_eq!(samples[..2], [0.5, 0.0]);
        assert_eq!(shades("\"data.samples\" = [64, 2048]")[1], samples[2]);
    }

    #[test]
    fn dynamics_have_their_shades_also_where_samples_move_with_them_and_not_where_anything_else_does() {
        let gd = |rate: f64| format!("{{ kind = \"gd\", rate = {rate:?}, steps = 1 }}");
        let sgd = "{ kind = \"sgd\", rate = 0.1, steps = 1, batch = 4 }";
        let zip = |first: &str, second: &str, more: &str| {
            shades(&format!("zip = {{ dynamics = [{first}, {second}], {more} }}"))
        };
        let alone = shades(&format!("dynamics = [{}, {sgd}]", gd(0.1)));
        let with_samples = zip(sgd, &gd(0.1), "\"data.samples\" = [8, 4]");
        assert_eq!(with_samples, [alone[1], alone[0]]);
        assert_ne!(alone, [0.0, 1.0]);
        assert_eq!(zip(sgd, &gd(0.1), "\"augment.variance\" = [0.5, 1.0]"), [0.0, 1.0]);
    }

    #[test]
    fn values_that_such_a_scale_does_not_tell_apart_are_shaded_in_their_order() {
        for sweep in [
            "\"augment.variance\" = [10.0, 20.0, 30.0]",
            "\"augment.variance\" = [1.0, 1.01, 1.02]",
            "\"augment.variance\" = [0.0, 0.01, 0.1]",
            "\"encoder.init.scale\" = [0.1, 1.0, 10.0]",
            "\"data.samples\" = [10000, 10001, 10002]",
        ] {
            assert_eq!(shades(sweep), [0.0, 0.5, 1.0], "{sweep}");
        }
    }

    #[test]
    fn a_table_inside_of_a_swept_one_is_told_by_its_kind() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let text = std::fs::read_to_string(folder.join("resnet_mnist.toml")).unwrap();
        let experiment = Experiment::parse("test.toml", &folder, &text, &[]).unwrap();
        let labels = Labels::new(experiment.plans.iter().collect());
        let of = |cell: usize| labels.joined(&experiment.plans[cell * experiment.repeats], &["method"]);
        assert_eq!([of(0), of(5), of(7)], ["simclr nonlinear", "simclr low-rank-diagonal", "directclr"]);
    }
}
