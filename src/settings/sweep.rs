//! Turns the `sweep` table into cells: one document for each combination of swept values.

use super::document::Document;
use super::keys::{Key, ValueType};
use super::paths::{Target, assign, find};
use super::place::Place;
use super::problem::{Problem, shortened};
use super::resolved::Settings;
use super::tree::{Entries, Node, Value, get};
use super::validate::joined;
use super::write::value_text;
use std::collections::HashMap;
use std::sync::Arc;

/// Most cells that a sweep may have.
pub const CELL_LIMIT: usize = 100_000;

/// Keys of the root that describe the experiment as a whole, and so are the same in all its cells.
const NOT_SWEPT: [&str; 5] = ["title", "claims", "reproduce", "repeats", "figure"];

/// A swept key and the value that one cell has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The key path, such as `augment.variance`.
    pub key: Arc<str>,
    /// The value as text: strings without quotes, the rest as inline TOML.
    pub value: Arc<str>,
}

/// One cell of a sweep, not yet validated.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The swept keys in the order of the file, with this cell's values; empty where nothing is swept.
    pub assignments: Vec<Assignment>,
    /// The file without `sweep`, with the values put in.
    pub document: Document,
}

/// One cell of a sweep, validated.
#[derive(Clone, Debug)]
pub struct ResolvedCell {
    /// As in [`Cell::assignments`].
    pub assignments: Vec<Assignment>,
    /// Everything that defines the cell.
    pub settings: Settings,
}

/// One line of the sweep table.
struct Axis<'a> {
    key: String,
    key_place: &'a Place,
    values: &'a [Node],
    texts: Vec<Arc<str>>,
}

impl Document {
    /// The cells of the sweep: every combination of the swept values, the first key outermost, in the order of the
    /// file. A file without a sweep has one cell.
    pub fn expand(&self, root: &'static [Key]) -> Result<Vec<Cell>, Problem> {
        let mut axes = Vec::new();
        if let Some(entry) = sweep_name(root).and_then(|name| get(&self.root, name)) {
            let Value::Table(entries) = &entry.node.value else {
                let message =
                    format!("`{}` cannot be {}; allowed: {FORM}", entry.key, entry.node.described());
                return Err(Problem::at(&entry.node.place, message));
            };
            read_axes(root, "", entries, &mut axes)?;
        }
        let mut count = 1_usize;
        for axis in &axes {
            count = count.saturating_mul(axis.values.len());
            if count > CELL_LIMIT {
                let message = format!("with `{}` the sweep has more than {CELL_LIMIT} cells", axis.key);
                return Err(Problem::at(axis.key_place, message)
                    .help("sweep fewer keys or values, or split the file"));
            }
        }

        let mut base = self.clone();
        base.root.retain(|entry| Some(entry.key.as_str()) != sweep_name(root));
        let keys: Vec<Arc<str>> = axes.iter().map(|axis| axis.key.as_str().into()).collect();
        let mut cells = Vec::with_capacity(count);
        for cell in 0..count {
            // Mixed-radix digits of the cell's number: the last key varies fastest.
            let mut chosen = vec![0; axes.len()];
            let mut rest = cell;
            for (digit, axis) in chosen.iter_mut().zip(&axes).rev() {
                *digit = rest % axis.values.len();
                rest /= axis.values.len();
            }
            let mut document = base.clone();
            for ((axis, key), &at) in axes.iter().zip(&keys).zip(&chosen) {
                let segments: Vec<&str> = axis.key.split('.').collect();
                let value = axis.values[at].clone();
                document.cell.push(Assignment { key: Arc::clone(key), value: Arc::clone(&axis.texts[at]) });
                assign(root, &mut document.root, &segments, value, axis.key_place)
                    .map_err(|problem| document.in_cell(problem))?;
            }
            cells.push(Cell { assignments: document.cell.clone(), document });
        }
        Ok(cells)
    }

    /// Expands the sweep and validates every cell, so that nothing runs unless everything can.
    pub fn resolve(&self, root: &'static [Key]) -> Result<Vec<ResolvedCell>, Problem> {
        let validated = |cell: Cell| {
            let settings = cell.document.validate(root)?;
            Ok(ResolvedCell { assignments: cell.assignments, settings })
        };
        self.expand(root)?.into_iter().map(validated).collect()
    }
}

/// What a sweep looks like, for errors.
const FORM: &str = "a table that maps key paths to lists, such as { \"augment.variance\" = [0.5, 1.0] }";

fn sweep_name(root: &'static [Key]) -> Option<&'static str> {
    root.iter().find(|key| matches!(key.value, ValueType::Sweep)).map(|key| key.name)
}

/// Reads the sweep table. An unquoted dotted key, which TOML reads as a table in a table, is as good as a quoted one.
fn read_axes<'a>(
    root: &'static [Key],
    path: &str,
    entries: &'a Entries,
    axes: &mut Vec<Axis<'a>>,
) -> Result<(), Problem> {
    for entry in entries {
        let key = joined(path, &entry.key);
        let segments: Vec<&str> = key.split('.').collect();
        let target = find(root, &segments, &entry.key_place)?;
        if target == Target::Sweep || NOT_SWEPT.contains(&segments[0]) {
            let allowed: Vec<&str> = root
                .iter()
                .filter(|key| !NOT_SWEPT.contains(&key.name) && !matches!(key.value, ValueType::Sweep))
                .map(|key| key.name)
                .collect();
            let message = format!(
                "`{}` is the same in all cells and cannot be swept; allowed: keys of {}",
                shortened(segments[0]),
                allowed.join(", ")
            );
            return Err(Problem::at(&entry.key_place, message));
        }
        let values = match &entry.node.value {
            Value::List(values) => values,
            Value::Table(inner) if target == Target::Table => {
                read_axes(root, &key, inner, axes)?;
                continue;
            }
            _ => {
                let message =
                    format!("the sweep of `{key}` cannot be {}; allowed: a list", entry.node.described());
                return Err(Problem::at(&entry.node.place, message));
            }
        };
        if values.is_empty() {
            let message = format!("the sweep of `{key}` is empty; allowed: a list of at least one value");
            return Err(Problem::at(&entry.node.place, message).help("leave the key out to sweep nothing"));
        }
        for other in axes.iter() {
            let inside = |one: &str, of: &str| one == of || one.starts_with(&format!("{of}."));
            if inside(&key, &other.key) || inside(&other.key, &key) {
                let message = if key == other.key {
                    format!("the file sweeps `{key}` twice; allowed: each key once")
                } else {
                    format!("the file sweeps both `{}` and `{key}`, one inside the other", other.key)
                };
                return Err(Problem::at(&entry.key_place, message));
            }
        }
        let mut texts: Vec<Arc<str>> = Vec::with_capacity(values.len());
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (at, value) in values.iter().enumerate() {
            let text = value_text(value);
            // 1 and 1.0 are the same value, and would make the same cell twice.
            let identity = match value.value {
                Value::Integer(integer) => format!("{:?}", integer as f64),
                Value::Text(_) => format!("\"{text}\""),
                _ => text.clone(),
            };
            if seen.insert(identity, at).is_some() {
                let message = format!(
                    "{} stands twice in the sweep of `{key}`; allowed: distinct values",
                    shortened(&text)
                );
                return Err(
                    Problem::at(&value.place, message).help("use `repeats` for several runs of a cell")
                );
            }
            texts.push(text.into());
        }
        axes.push(Axis { key, key_place: &entry.key_place, values, texts });
    }
    Ok(())
}

/// Takes a key, and all keys inside it, out of the sweep, in whichever form they are written there.
pub(super) fn forget_swept(root: &'static [Key], entries: &mut Entries, path: &str) {
    let Some(name) = sweep_name(root) else { return };
    let Some(at) = entries.iter().position(|entry| entry.key == name) else { return };
    let entry = Arc::make_mut(&mut entries[at]);
    if let Value::Table(swept) = &mut entry.node.value {
        forget_in("", swept, path);
    }
}

fn forget_in(prefix: &str, swept: &mut Entries, path: &str) {
    swept.retain(|entry| joined(prefix, &entry.key) != path);
    for entry in swept {
        let prefix = joined(prefix, &entry.key);
        if let Value::Table(inner) = &mut Arc::make_mut(entry).node.value {
            forget_in(&prefix, inner, path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example::{GOOD, ROOT, parse, refused};

    fn with(sweep: &str) -> String {
        format!("{GOOD}sweep = {sweep}\n")
    }

    fn resolved(text: &str) -> Vec<ResolvedCell> {
        parse(text).and_then(|document| document.resolve(ROOT)).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn names(cells: &[ResolvedCell]) -> Vec<String> {
        let name = |a: &Assignment| format!("{}={}", a.key, a.value);
        cells.iter().map(|cell| cell.assignments.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
    }

    #[track_caller]
    fn assert_refused(sweep: &str, column: usize, parts: &[&str]) {
        let shown = refused(&with(sweep));
        assert!(
            shown.starts_with(&format!("a.toml:6:{column}: error: ")),
            "expected column {column}:\n{shown}"
        );
        for part in parts {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
    }

    #[test]
    fn a_file_without_a_sweep_is_one_cell() {
        for text in [GOOD.to_string(), with("{}")] {
            let cells = resolved(&text);
            assert_eq!(cells.len(), 1);
            assert!(cells[0].assignments.is_empty());
        }
    }

    #[test]
    fn several_keys_make_a_grid_with_the_first_key_outermost_in_the_order_of_the_file() {
        let cells = resolved(&with("{ seed = [2, 1], \"augment.variance\" = [0.50, 1, 1e-2] }"));
        assert_eq!(
            names(&cells),
            [
                "seed=2 augment.variance=0.5",
                "seed=2 augment.variance=1",
                "seed=2 augment.variance=0.01",
                "seed=1 augment.variance=0.5",
                "seed=1 augment.variance=1",
                "seed=1 augment.variance=0.01",
            ]
        );
        assert_eq!(cells[2].settings.table("augment").number("variance"), 0.01);
        assert_eq!(cells[5].settings.integer("seed"), 1);
    }

    #[test]
    fn dotted_keys_and_sections_sweep_as_quoted_keys_do() {
        let quoted = names(&resolved(&with("{ \"augment.variance\" = [1.0, 2.0] }")));
        assert_eq!(names(&resolved(&with("{ augment.variance = [1.0, 2.0] }"))), quoted);
        assert_eq!(names(&resolved(&format!("{GOOD}[sweep]\naugment.variance = [1.0, 2.0]\n"))), quoted);
        assert_eq!(names(&resolved(&format!("{GOOD}[sweep.augment]\nvariance = [1.0, 2.0]\n"))), quoted);
    }

    #[test]
    fn a_cell_written_as_a_plan_has_no_sweep_and_is_the_same_cell() {
        let cells = resolved(&with(
            "{ \"data.covariance.variance\" = [1.0, 2.0], \"encoder.widths\" = [[16, 16], [16, 4]] }",
        ));
        assert_eq!(cells.len(), 4);
        let plan = cells[3].settings.to_toml();
        let again = resolved(&plan);
        assert_eq!((again.len(), &again[0].settings), (1, &cells[3].settings));
        assert!(plan.contains("variance = 2.0") && plan.contains("widths = [16, 4]"), "{plan}");
        assert_eq!(&*cells[3].assignments[1].value, "[16, 4]");
    }

    #[test]
    fn whole_tables_and_kinds_can_be_swept() {
        let cells = resolved(&with(
            "{ augment = [{ kind = \"isotropic\", variance = 1.0, sides = \"one\" }, { kind = \"block\", block = 2, variance = 1.0, sides = \"one\" }] }",
        ));
        assert_eq!(cells[0].settings.table("augment").kind(), "isotropic");
        assert_eq!(cells[1].settings.table("augment").kind(), "block");
        let shown = refused(&with("{ \"augment.kind\" = [\"block\", \"isotropic\"] }"));
        assert!(
            shown.contains("unknown key `block`") && shown.contains("augment.kind = isotropic"),
            "{shown}"
        );
    }

    #[test]
    fn an_error_in_a_swept_value_points_at_the_value_in_the_list_and_names_the_cell() {
        assert_refused(
            "{ \"augment.variance\" = [1.0, -2.0] }",
            38,
            &[
                "`augment.variance` = -2.0 is refused; allowed: a number greater than 0",
                "in the cell of the sweep where augment.variance = -2.0",
            ],
        );
        assert_refused("{ \"augment.sides\" = [\"one\", \"tow\"] }", 37, &["did you mean `two`?"]);
    }

    #[test]
    fn an_unknown_key_path_is_refused_at_the_key() {
        assert_refused(
            "{ \"augment.varaince\" = [1.0] }",
            11,
            &["unknown key `varaince` in `augment`", "did you mean `variance`?"],
        );
        assert_refused("{ \"data.exponent\" = [1.0] }", 11, &["unknown key `exponent` in `data`"]);
        assert_refused(
            "{ \"data.covariance.exponent\" = [1.0] }",
            11,
            &["unknown key `exponent`", "power-law"],
        );
    }

    #[test]
    fn what_is_no_list_of_distinct_values_is_refused() {
        assert_refused("3", 9, &["`sweep` cannot be the integer 3"]);
        assert_refused("{ seed = 3 }", 18, &["the sweep of `seed` cannot be the integer 3; allowed: a list"]);
        assert_refused("{ seed = [] }", 18, &["the sweep of `seed` is empty"]);
        assert_refused("{ \"augment.variance\" = [1, 1.0] }", 36, &["1.0 stands twice"]);
        assert_refused(
            "{ \"augment.variance\" = { from = 1, to = 2 } }",
            32,
            &["cannot be a table; allowed: a list"],
        );
    }

    #[test]
    fn keys_of_the_whole_experiment_cannot_be_swept() {
        for key in ["title", "claims", "repeats", "sweep", "figure"] {
            assert_refused(
                &format!("{{ {key} = [1] }}"),
                11,
                &[&format!(
                    "`{key}` is the same in all cells and cannot be swept; allowed: keys of seed, data"
                )],
            );
        }
    }

    #[test]
    fn a_key_swept_twice_is_refused() {
        assert_refused(
            "{ \"augment.variance\" = [1.0], augment.variance = [2.0] }",
            47,
            &["sweeps `augment.variance` twice"],
        );
        assert_refused("{ \"data.covariance.variance\" = [1.0], data = [1] }", 47, &["one inside the other"]);
    }

    #[test]
    fn more_cells_than_the_limit_are_refused_before_any_is_made() {
        let list = format!("{:?}", (1..=317).collect::<Vec<_>>());
        let shown = refused(&with(&format!("{{ seed = {list}, \"augment.block\" = {list} }}")));
        assert!(shown.contains("with `augment.block` the sweep has more than 100000 cells"), "{shown}");
        let keys = [
            "seed",
            "data.dim",
            "data.samples",
            "augment.block",
            "augment.variance",
            "data.covariance.variance",
        ];
        let many: Vec<String> =
            keys.iter().map(|key| format!("\"{key}\" = {:?}", (1..=9000).collect::<Vec<_>>())).collect();
        assert!(refused(&with(&format!("{{ {} }}", many.join(", ")))).contains("more than 100000 cells"));
    }

    #[test]
    fn a_sweep_of_the_largest_size_is_expanded() -> Result<(), Problem> {
        let list = format!("{:?}", (1..=10).collect::<Vec<_>>());
        let keys = ["seed", "data.dim", "data.samples", "augment.block", "augment.variance"];
        let lines: Vec<String> = keys.iter().map(|key| format!("\"{key}\" = {list}")).collect();
        let cells = parse(&with(&format!("{{ {} }}", lines.join(", "))))?.expand(ROOT)?;
        assert_eq!(cells.len(), CELL_LIMIT);
        let last = cells[CELL_LIMIT - 1].document.validate(ROOT)?;
        assert_eq!((last.integer("seed"), last.table("augment").number("variance")), (10, 10.0));
        Ok(())
    }

    #[test]
    fn set_takes_a_key_out_of_the_sweep_and_can_change_the_sweep() -> Result<(), Problem> {
        for form in [
            "{ seed = [1, 2], \"augment.variance\" = [1.0, 2.0] }",
            "{ seed = [1, 2], augment.variance = [1.0, 2.0] }",
        ] {
            let mut document = parse(&with(form))?;
            document.set(ROOT, "augment.variance=5")?;
            let cells = document.resolve(ROOT)?;
            assert_eq!(names(&cells), ["seed=1", "seed=2"]);
            assert_eq!(cells[0].settings.table("augment").number("variance"), 5.0);
            document.set(ROOT, "sweep.seed=[7]")?;
            assert_eq!(names(&document.resolve(ROOT)?), ["seed=7"]);
            document.set(ROOT, "sweep={}")?;
            assert_eq!(names(&document.resolve(ROOT)?), [""]);
        }
        Ok(())
    }

    #[test]
    fn a_required_key_may_come_from_the_sweep_alone() {
        let text = with("{ \"augment.variance\" = [1.0, 2.0] }").replace("variance = 1.5, ", "");
        assert_eq!(resolved(&text).len(), 2);
    }
}
