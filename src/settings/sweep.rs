//! Turns the `sweep` table into cells: one document for each combination of swept values.

use super::document::Document;
use super::keys::{Key, ValueType};
use super::paths::{Target, assign, find};
use super::place::Place;
use super::problem::{Problem, shortened};
use super::range::{self, RANGE_FORM};
use super::resolved::Settings;
use super::tree::{Entries, Entry, Node, Value, get};
use super::validate::{joined, suggest};
use super::write::value_text;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Most cells that a sweep may have, and most runs of a file, where nobody has said that so many are meant.
pub const CELL_LIMIT: usize = 100_000;

/// Most cells that a sweep may have, and most runs of a file, at all: their plans take 4 GB.
pub const UTMOST_CELL_LIMIT: usize = 1_000_000;

/// The key of the sweep whose lists move together. No key of the root may have this name.
pub(super) const ZIP: &str = "zip";

/// Keys of the root that describe the experiment as a whole, and so are the same in all its cells.
const NOT_SWEPT: [&str; 6] = ["title", "claims", "reproduce", "repeats", "figure", "slurm"];

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

/// A swept key and its list.
struct Column<'a> {
    key: Arc<str>,
    key_place: &'a Place,
    list: &'a Node,
    values: Cow<'a, [Node]>,
    texts: Vec<Arc<str>>,
    /// The axis of the grid along which it varies: one of its own, or that of the zip.
    axis: usize,
}

/// An axis of the grid: a swept key, or the zip with all its keys.
struct Axis<'a> {
    name: &'a str,
    place: &'a Place,
    length: usize,
}

impl Document {
    /// The cells of the sweep, at most `limit`: every combination of the swept values, the first key outermost, in the order
    /// of the file. The lists of `zip` move together, and count as one key. A file without a sweep has one cell.
    pub fn expand(&self, root: &'static [Key], limit: usize) -> Result<Vec<Cell>, Problem> {
        let mut columns = Vec::new();
        if let Some(entry) = sweep_name(root).and_then(|name| get(&self.root, name)) {
            let Value::Table(entries) = &entry.node.value else {
                let message =
                    format!("`{}` cannot be {}; allowed: {FORM}", entry.key, entry.node.described());
                return Err(Problem::at(&entry.node.place, message));
            };
            read_columns(root, "", entries, None, &mut columns)?;
        }
        let axes = axes(&columns);
        let mut count = 1_usize;
        for axis in &axes {
            count = count.saturating_mul(axis.length);
            if count > limit {
                let message = format!("with `{}` the sweep has more than {limit} cells", axis.name);
                return Err(Problem::at(axis.place, message)
                    .help(beyond(limit, "sweep fewer keys or values, or split the file")));
            }
        }

        let mut base = self.clone();
        base.root.retain(|entry| Some(entry.key.as_str()) != sweep_name(root));
        let mut cells = Vec::with_capacity(count);
        for cell in 0..count {
            // Mixed-radix digits of the cell's number: the last axis varies fastest.
            let mut chosen = vec![0; axes.len()];
            let mut rest = cell;
            for (digit, axis) in chosen.iter_mut().zip(&axes).rev() {
                *digit = rest % axis.length;
                rest /= axis.length;
            }
            let mut document = base.clone();
            for column in &columns {
                let at = chosen[column.axis];
                let segments: Vec<&str> = column.key.split('.').collect();
                let value = column.values[at].clone();
                let assignment =
                    Assignment { key: Arc::clone(&column.key), value: Arc::clone(&column.texts[at]) };
                document.cell.push(assignment);
                assign(root, &mut document.root, &segments, value, column.key_place)
                    .map_err(|problem| document.in_cell(problem))?;
            }
            cells.push(Cell { assignments: document.cell.clone(), document });
        }
        Ok(cells)
    }

    /// Expands the sweep to at most `limit` cells and validates every one, so that nothing runs unless everything can.
    pub fn resolve(&self, root: &'static [Key], limit: usize) -> Result<Vec<ResolvedCell>, Problem> {
        let validated = |cell: Cell| {
            let settings = cell.document.validate(root)?;
            Ok(ResolvedCell { assignments: cell.assignments, settings })
        };
        self.expand(root, limit)?.into_iter().map(validated).collect()
    }
}

/// What to do where a limit on cells or runs is exceeded.
pub fn beyond(limit: usize, remedy: &str) -> String {
    if limit < UTMOST_CELL_LIMIT {
        format!("{remedy}; up to {UTMOST_CELL_LIMIT} are run with `--yes`")
    } else {
        remedy.to_string()
    }
}

/// What a sweep looks like, for errors.
const FORM: &str = "a table that maps key paths to lists, such as { \"augment.variance\" = [0.5, 1.0] }; \
                    lists that move together stand in a table `zip` inside it";

/// What a zip looks like, for errors.
const ZIP_FORM: &str = "a table that maps key paths to lists of one length, \
                        such as { \"augment.variance\" = [0.5, 1.0], \"data.samples\" = [64, 512] }";

fn sweep_name(root: &'static [Key]) -> Option<&'static str> {
    root.iter().find(|key| matches!(key.value, ValueType::Sweep)).map(|key| key.name)
}

/// The axes of the columns; a zip without lists has none.
fn axes<'a>(columns: &'a [Column<'_>]) -> Vec<Axis<'a>> {
    let mut axes: Vec<Axis<'a>> = Vec::new();
    for column in columns {
        if column.axis == axes.len() {
            axes.push(Axis { name: &column.key, place: column.key_place, length: column.values.len() });
        } else if let Some(axis) = axes.last_mut() {
            axis.name = ZIP;
        }
    }
    axes
}

/// Reads the sweep table, or with `zip` the table of lists that move together, which all vary along that axis. An
/// unquoted dotted key, which TOML reads as a table in a table, is as good as a quoted one.
fn read_columns<'a>(
    root: &'static [Key],
    path: &str,
    entries: &'a Entries,
    zip: Option<usize>,
    columns: &mut Vec<Column<'a>>,
) -> Result<(), Problem> {
    for entry in entries {
        let outermost = path.is_empty() && zip.is_none();
        if outermost && entry.key == ZIP {
            read_zip(root, entry, columns)?;
            continue;
        }
        let key = joined(path, &entry.key);
        let segments: Vec<&str> = key.split('.').collect();
        if segments[0] == ZIP {
            let message = format!(
                "there is no key `{}` to sweep; allowed: keys of the file, and once in the sweep `{ZIP}`, {ZIP_FORM}",
                shortened(&key)
            );
            return Err(Problem::at(&entry.key_place, message));
        }
        let target = find(root, &segments, &entry.key_place)
            .map_err(|problem| if outermost { suggest(problem, &entry.key, [ZIP]) } else { problem })?;
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
            Value::List(values) => Cow::Borrowed(values.as_slice()),
            Value::Table(inner) if target == Target::Table => {
                read_columns(root, &key, inner, zip, columns)?;
                continue;
            }
            Value::Table(range) => Cow::Owned(range::values(&key, range, &entry.node.place, target)?),
            _ => {
                let found = entry.node.described();
                let message = format!(
                    "the sweep of `{key}` cannot be {found}; allowed: a list, or for numbers a range such as {RANGE_FORM}"
                );
                return Err(Problem::at(&entry.node.place, message));
            }
        };
        if values.is_empty() {
            let message = format!("the sweep of `{key}` is empty; allowed: a list of at least one value");
            return Err(Problem::at(&entry.node.place, message).help("leave the key out to sweep nothing"));
        }
        for other in columns.iter() {
            let inside = |one: &str, of: &str| one == of || one.starts_with(&format!("{of}."));
            if inside(&key, &other.key) || inside(&other.key, &key) {
                let message = if *key == *other.key {
                    format!("the file sweeps `{key}` twice; allowed: each key once")
                } else {
                    format!("the file sweeps both `{}` and `{key}`, one inside the other", other.key)
                };
                return Err(Problem::at(&entry.key_place, message));
            }
        }
        let column = Column {
            key: key.as_str().into(),
            key_place: &entry.key_place,
            list: &entry.node,
            texts: values.iter().map(|value| value_text(value).into()).collect(),
            values,
            axis: zip.unwrap_or_else(|| next_axis(columns)),
        };
        // In a zip a single list may repeat a value, as long as not all the others repeat theirs along with it.
        if zip.is_none() {
            check_distinct(std::slice::from_ref(&column), false)?;
        }
        columns.push(column);
    }
    Ok(())
}

/// Reads the lists that move together.
fn read_zip<'a>(
    root: &'static [Key],
    entry: &'a Entry,
    columns: &mut Vec<Column<'a>>,
) -> Result<(), Problem> {
    let Value::Table(inner) = &entry.node.value else {
        let message =
            format!("the `{ZIP}` of the sweep cannot be {}; allowed: {ZIP_FORM}", entry.node.described());
        return Err(Problem::at(&entry.node.place, message));
    };
    let from = columns.len();
    let axis = next_axis(columns);
    read_columns(root, "", inner, Some(axis), columns)?;
    let zipped = &columns[from..];
    let Some((first, others)) = zipped.split_first() else { return Ok(()) };
    if let Some(other) = others.iter().find(|other| other.values.len() != first.values.len()) {
        let message = format!(
            "lists of `{ZIP}` move together, but `{}` has {} and `{}` has {}; allowed: lists of one length",
            first.key,
            counted(first.values.len()),
            other.key,
            counted(other.values.len())
        );
        return Err(Problem::at(&other.list.place, message)
            .help("give all of them as many values, or sweep a key outside the zip to make a grid"));
    }
    check_distinct(zipped, true)
}

fn next_axis(columns: &[Column<'_>]) -> usize {
    columns.last().map_or(0, |column| column.axis + 1)
}

fn counted(values: usize) -> String {
    if values == 1 { "1 value".into() } else { format!("{values} values") }
}

/// Refuses an axis that would make the same cell twice. `columns` are all that vary along it, equally long.
fn check_distinct(columns: &[Column<'_>], zipped: bool) -> Result<(), Problem> {
    let [first, others @ ..] = columns else { return Ok(()) };
    let mut seen: HashSet<Vec<String>> = HashSet::new();
    for (at, value) in first.values.iter().enumerate() {
        if seen.insert(columns.iter().map(|column| identity(column, at)).collect()) {
            continue;
        }
        let text = shortened(&first.texts[at]);
        let problem = if others.is_empty() {
            let key = &first.key;
            Problem::at(
                &value.place,
                format!("{text} stands twice in the sweep of `{key}`; allowed: distinct values"),
            )
        } else {
            let one = |column: &Column<'_>| format!("{} = {}", column.key, shortened(&column.texts[at]));
            let values: Vec<String> = columns.iter().map(one).collect();
            Problem::at(
                &value.place,
                format!("{} stands twice in `{ZIP}`; allowed: distinct combinations", values.join(", ")),
            )
        };
        let problem = problem.help("use `repeats` for several runs of a cell");
        return Err(if zipped {
            let key = &first.key;
            problem.help(format!(
                "if --set took a key out of `{ZIP}`, shorten the others, as in sweep.{ZIP}.{key}=[…]"
            ))
        } else {
            problem
        });
    }
    Ok(())
}

/// What tells a value from others: 1 and 1.0 are the same value, and would make the same cell twice.
fn identity(column: &Column<'_>, at: usize) -> String {
    let text = &column.texts[at];
    match column.values[at].value {
        Value::Integer(integer) => format!("{:?}", integer as f64),
        Value::Text(_) => format!("\"{text}\""),
        _ => text.to_string(),
    }
}

/// Takes a key, and all keys inside it, out of the sweep and its zip, in whichever form they are written there. A
/// zip that is left without keys goes too.
pub(super) fn forget_swept(root: &'static [Key], entries: &mut Entries, path: &str) {
    if let Some(swept) = swept_mut(root, entries) {
        forget_in(root, "", swept, path);
        if let Some(zipped) = zipped_mut(swept) {
            forget_in(root, "", zipped, path);
            if key_paths(root, "", zipped).is_empty() {
                swept.retain(|entry| entry.key != ZIP);
            }
        }
    }
}

/// Takes the zip out of the sweep, together with other lists for the keys of `zip`, which is to replace it.
pub(super) fn forget_zip(root: &'static [Key], entries: &mut Entries, zip: &Node) {
    if let Value::Table(zipped) = &zip.value {
        for path in key_paths(root, "", zipped) {
            forget_swept(root, entries, &path);
        }
    }
    if let Some(swept) = swept_mut(root, entries) {
        swept.retain(|entry| entry.key != ZIP);
    }
}

fn swept_mut<'a>(root: &'static [Key], entries: &'a mut Entries) -> Option<&'a mut Entries> {
    let name = sweep_name(root)?;
    let at = entries.iter().position(|entry| entry.key == name)?;
    table_mut(&mut entries[at])
}

fn zipped_mut(swept: &mut Entries) -> Option<&mut Entries> {
    let at = swept.iter().position(|entry| entry.key == ZIP)?;
    table_mut(&mut swept[at])
}

fn table_mut(entry: &mut Arc<Entry>) -> Option<&mut Entries> {
    match &mut Arc::make_mut(entry).node.value {
        Value::Table(entries) => Some(entries),
        _ => None,
    }
}

/// The key paths that have values in a table of the sweep, in whichever form they are written there.
fn key_paths(root: &'static [Key], prefix: &str, swept: &Entries) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in swept {
        let path = joined(prefix, &entry.key);
        match &entry.node.value {
            Value::Table(inner) if !is_range(root, &path, entry) => {
                paths.extend(key_paths(root, &path, inner));
            }
            _ => paths.push(path),
        }
    }
    paths
}

fn forget_in(root: &'static [Key], prefix: &str, swept: &mut Entries, path: &str) {
    swept.retain(|entry| joined(prefix, &entry.key) != path);
    for entry in swept {
        let prefix = joined(prefix, &entry.key);
        if is_range(root, &prefix, entry) {
            continue;
        }
        if let Value::Table(inner) = &mut Arc::make_mut(entry).node.value {
            forget_in(root, &prefix, inner, path);
        }
    }
}

/// Whether a table in the sweep holds the values of one key, and not keys within it.
fn is_range(root: &'static [Key], path: &str, entry: &Entry) -> bool {
    let segments: Vec<&str> = path.split('.').collect();
    find(root, &segments, &entry.key_place).is_ok_and(|target| target != Target::Table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example::{GOOD, ROOT, parse, refused};

    fn with(sweep: &str) -> String {
        format!("{GOOD}sweep = {sweep}\n")
    }

    fn resolved(text: &str) -> Vec<ResolvedCell> {
        parse(text)
            .and_then(|document| document.resolve(ROOT, CELL_LIMIT))
            .unwrap_or_else(|problem| panic!("{problem}"))
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
        let cells = parse(&with(&format!("{{ {} }}", lines.join(", "))))?.expand(ROOT, CELL_LIMIT)?;
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
            let cells = document.resolve(ROOT, CELL_LIMIT)?;
            assert_eq!(names(&cells), ["seed=1", "seed=2"]);
            assert_eq!(cells[0].settings.table("augment").number("variance"), 5.0);
            document.set(ROOT, "sweep.seed=[7]")?;
            assert_eq!(names(&document.resolve(ROOT, CELL_LIMIT)?), ["seed=7"]);
            document.set(ROOT, "sweep={}")?;
            assert_eq!(names(&document.resolve(ROOT, CELL_LIMIT)?), [""]);
        }
        Ok(())
    }

    #[test]
    fn lists_of_a_zip_move_together_and_make_one_axis_in_the_order_of_the_file() {
        let zip = "zip = { \"augment.variance\" = [1.0, 2.0, 3.0], data.samples = [64, 512, 512] }";
        let zipped = [
            "augment.variance=1.0 data.samples=64",
            "augment.variance=2.0 data.samples=512",
            "augment.variance=3.0 data.samples=512",
        ];
        let cells = resolved(&with(&format!("{{ {zip} }}")));
        assert_eq!(names(&cells), zipped);
        let values = |cell: &ResolvedCell| {
            let settings = &cell.settings;
            (settings.table("augment").number("variance"), settings.table("data").integer("samples"))
        };
        assert_eq!(cells.iter().map(values).collect::<Vec<_>>(), [(1.0, 64), (2.0, 512), (3.0, 512)]);

        let inner = names(&resolved(&with(&format!("{{ seed = [1, 2], {zip}, encoder.bias = [true] }}"))));
        let outer = names(&resolved(&with(&format!("{{ {zip}, seed = [1, 2] }}"))));
        assert_eq!((inner.len(), outer.len()), (6, 6));
        for at in 0..6 {
            assert_eq!(inner[at], format!("seed={} {} encoder.bias=true", 1 + at / 3, zipped[at % 3]));
            assert_eq!(outer[at], format!("{} seed={}", zipped[at / 2], 1 + at % 2));
        }
        // The same lists without a zip are a grid, in which 512 would stand twice.
        assert!(refused(&with(&format!("{{ {} }}", &zip[8..zip.len() - 2]))).contains("512 stands twice"));
    }

    #[test]
    fn a_zip_is_the_same_in_every_notation_and_can_hold_whole_tables() {
        let quoted = names(&resolved(&with("{ zip = { \"data.samples\" = [2, 3], \"seed\" = [1, 1] } }")));
        assert_eq!(quoted, ["data.samples=2 seed=1", "data.samples=3 seed=1"]);
        for section in [
            "[sweep.zip]\ndata.samples = [2, 3]\nseed = [1, 1]\n",
            "[sweep]\nzip.data.samples = [2, 3]\nzip.seed = [1, 1]\n",
            "[sweep.zip.data]\nsamples = [2, 3]\n[sweep.zip]\nseed = [1, 1]\n",
        ] {
            assert_eq!(names(&resolved(&format!("{GOOD}{section}"))), quoted, "{section}");
        }
        let cells = resolved(&with(
            "{ zip = { augment = [{ kind = \"isotropic\", variance = 1.0, sides = \"one\" }, \
             { kind = \"block\", block = 2, variance = 1.0, sides = \"one\" }], seed = [4, 4] } }",
        ));
        assert_eq!(cells.len(), 2);
        assert_eq!(cells[1].settings.table("augment").kind(), "block");
        let again = resolved(&cells[1].settings.to_toml());
        assert_eq!((again.len(), &again[0].settings), (1, &cells[1].settings));
        let sections = format!("{GOOD}[sweep.zip]\ndata.samples = [2, 3]\n[sweep]\nseed = [1, 2]\n");
        assert_eq!(names(&resolved(&sections))[1], "data.samples=2 seed=2", "the zip stands first");
    }

    #[test]
    fn a_zip_without_lists_is_no_axis() {
        assert_eq!(names(&resolved(&with("{ zip = {} }"))), [""]);
        assert_eq!(names(&resolved(&with("{ zip = {}, seed = [1, 2] }"))), ["seed=1", "seed=2"]);
        assert_eq!(names(&resolved(&with("{ zip = { seed = [1, 2] } }"))), ["seed=1", "seed=2"]);
    }

    #[test]
    fn lists_of_a_zip_that_differ_in_length_are_refused_at_the_second() {
        assert_refused(
            "{ zip = { seed = [1, 2, 3], data.samples = [64, 512] } }",
            52,
            &[
                "but `seed` has 3 values and `data.samples` has 2 values; allowed: lists of one length",
                "outside the zip to make a grid",
                "^^^^^^^^^",
            ],
        );
        assert_refused(
            "{ zip = { seed = [1, 2], data.dim = [16, 16], data.samples = [64] } }",
            70,
            &["`seed` has 2 values and `data.samples` has 1 value;"],
        );
        // Outside the zip lists may be as long as they like.
        assert_eq!(
            resolved(&with("{ zip = { seed = [1, 2], data.dim = [16, 16] }, data.samples = [64] }")).len(),
            2
        );
    }

    #[test]
    fn a_combination_that_stands_twice_in_a_zip_is_refused() {
        assert_refused(
            "{ zip = { seed = [1, 2, 1], \"augment.variance\" = [1.0, 2.0, 1] } }",
            33,
            &[
                "seed = 1, augment.variance = 1 stands twice in `zip`; allowed: distinct combinations",
                "`repeats`",
            ],
        );
        assert_refused("{ zip = { seed = [1, 2, 1] } }", 33, &["1 stands twice in the sweep of `seed`"]);
        let distinct = "{ zip = { seed = [1, 2, 1], \"augment.variance\" = [1.0, 2.0, 2.0] } }";
        assert_eq!(resolved(&with(distinct)).len(), 3);
    }

    #[test]
    fn an_error_in_a_zipped_value_points_at_the_value_in_its_list_and_names_the_cell() {
        assert_refused(
            "{ zip = { seed = [7, 7], \"augment.variance\" = [1.0, -2.0] } }",
            61,
            &[
                "`augment.variance` = -2.0 is refused; allowed: a number greater than 0",
                "in the cell of the sweep where seed = 7, augment.variance = -2.0",
            ],
        );
        assert_refused("{ zip = { \"augment.varaince\" = [1.0] } }", 19, &["did you mean `variance`?"]);
        assert_refused("{ zip = { seed = [] } }", 26, &["the sweep of `seed` is empty"]);
        assert_refused("{ zip = { seed = 3 } }", 26, &["the sweep of `seed` cannot be the integer 3"]);
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        assert_refused(
            "{ zip = [1, 2] }",
            17,
            &["the `zip` of the sweep cannot be an array of 2; allowed: a table"],
        );
        assert_refused("{ zipp = { seed = [1] } }", 11, &["unknown key `zipp`", "did you mean `zip`?"]);
        for (sweep, column) in [
            ("{ \"zip.seed\" = [1] }", 11),
            ("{ zip = { zip = { seed = [1] } } }", 19),
            ("{ zip = { zip = [1] } }", 19),
        ] {
            assert_refused(
                sweep,
                column,
                &["there is no key `zip", "once in the sweep `zip`, a table that maps"],
            );
        }
        assert_refused("{ augment = { zip = [1] } }", 23, &["unknown key `zip` in `augment`"]);
        assert!(refused(&with("3")).contains("lists that move together stand in a table `zip`"));
    }

    #[test]
    fn keys_of_the_whole_experiment_cannot_be_zipped_and_no_key_is_swept_in_two_places() {
        for key in ["title", "claims", "repeats", "sweep", "figure"] {
            assert_refused(
                &format!("{{ zip = {{ {key} = [1] }} }}"),
                19,
                &[&format!(
                    "`{key}` is the same in all cells and cannot be swept; allowed: keys of seed, data"
                )],
            );
        }
        assert_refused("{ seed = [1, 2], zip = { seed = [1, 2] } }", 34, &["sweeps `seed` twice"]);
        assert_refused("{ zip = { seed = [1, 2] }, seed = [1, 2] }", 36, &["sweeps `seed` twice"]);
        assert_refused(
            "{ zip = { \"data.samples\" = [1, 2], data = [1, 2] } }",
            44,
            &["both `data.samples` and `data`, one inside the other"],
        );
    }

    #[test]
    fn the_limit_on_cells_counts_a_zip_once() -> Result<(), Problem> {
        let list = |count: usize| format!("{:?}", (1..=count).collect::<Vec<_>>());
        let sweep = |zipped: usize, others: usize| {
            let (zipped, others) = (list(zipped), list(others));
            format!(
                "{{ seed = {others}, zip = {{ \"data.samples\" = {zipped}, \"augment.variance\" = {zipped} }} }}"
            )
        };
        assert_eq!(parse(&with(&sweep(1000, 100)))?.expand(ROOT, CELL_LIMIT)?.len(), CELL_LIMIT);
        let shown = refused(&with(&sweep(1001, 100)));
        assert!(shown.contains("with `zip` the sweep has more than 100000 cells"), "{shown}");
        Ok(())
    }

    #[test]
    fn set_takes_a_key_out_of_the_zip_and_can_change_the_zip() -> Result<(), Problem> {
        for form in [
            "{ zip = { seed = [1, 2], \"augment.variance\" = [1.0, 2.0] }, data.samples = [9] }",
            "{ zip = { seed = [1, 2], augment.variance = [1.0, 2.0] }, data.samples = [9] }",
        ] {
            let file = parse(&with(form))?;
            let after = |sets: &[&str]| {
                let mut document = file.clone();
                for text in sets {
                    document.set(ROOT, text)?;
                }
                Ok::<_, Problem>(names(&document.resolve(ROOT, CELL_LIMIT)?))
            };
            assert_eq!(after(&["augment.variance=5"])?, ["seed=1 data.samples=9", "seed=2 data.samples=9"]);
            assert_eq!(after(&["augment.variance=5", "seed=3"])?, ["data.samples=9"], "the zip is gone");
            assert_eq!(after(&["sweep.zip={}"])?, ["data.samples=9"]);
            // A list given anew holds wherever it is put, and the key leaves the other place.
            assert_eq!(
                after(&["sweep.zip.augment.variance=[3, 4]"])?,
                ["seed=1 augment.variance=3 data.samples=9", "seed=2 augment.variance=4 data.samples=9"]
            );
            assert_eq!(
                after(&["sweep.augment.variance=[3]"])?,
                ["seed=1 data.samples=9 augment.variance=3", "seed=2 data.samples=9 augment.variance=3"]
            );
            assert_eq!(
                after(&["sweep.zip.data.samples=[7, 8]"])?,
                ["seed=1 augment.variance=1.0 data.samples=7", "seed=2 augment.variance=2.0 data.samples=8"]
            );
            assert_eq!(
                after(&["sweep.zip={ data.samples = [7], encoder.bias = [true] }"])?,
                ["data.samples=7 encoder.bias=true"]
            );
        }
        // What the other list told apart is not dropped unasked.
        let mut twice =
            parse(&with("{ zip = { seed = [1, 2, 2], \"augment.variance\" = [1.0, 2.0, 3.0] } }"))?;
        twice.set(ROOT, "augment.variance=5")?;
        let shown = twice.resolve(ROOT, CELL_LIMIT).map(|_| ()).expect_err("refused").to_string();
        assert!(shown.starts_with("a.toml:6:33: error: 2 stands twice in the sweep of `seed`"), "{shown}");
        assert!(shown.contains("if --set took a key out of `zip`, shorten the others"), "{shown}");
        twice.set(ROOT, "sweep.zip.seed=[1, 2]")?;
        assert_eq!(names(&twice.resolve(ROOT, CELL_LIMIT)?), ["seed=1", "seed=2"]);
        let mut without = parse(GOOD)?;
        without.set(ROOT, "sweep.zip.seed=[1, 2]")?;
        assert_eq!(names(&without.resolve(ROOT, CELL_LIMIT)?), ["seed=1", "seed=2"]);
        Ok(())
    }

    #[test]
    fn set_of_a_zip_that_does_not_fit_is_refused_with_its_own_text() -> Result<(), Problem> {
        let file = parse(&with("{ zip = { seed = [1, 2], \"augment.variance\" = [1.0, 2.0] } }"))?;
        for (text, said) in [
            ("sweep.zip.data.samples=[7]", "`seed` has 2 values and `data.samples` has 1 value"),
            ("sweep.zip.title=[1, 2]", "`title` is the same in all cells"),
            ("sweep.zip.sede=[1, 2]", "did you mean `seed`?"),
            ("sweep.zip.zip=[1, 2]", "there is no key `zip` to sweep"),
            ("sweep.zip=3", "the `zip` of the sweep cannot be the integer 3"),
            ("zip.seed=[1]", "unknown key `zip`"),
        ] {
            let mut document = file.clone();
            let result = document.set(ROOT, text).and_then(|()| document.resolve(ROOT, CELL_LIMIT));
            let shown = result.map(|_| ()).expect_err("refused").to_string();
            assert!(shown.starts_with(&format!("a.toml: --set {text}: error: ")), "{shown}");
            assert!(shown.contains(said), "{said:?} is not in:\n{shown}");
        }
        let mut document = parse(&with("{ zip = [1] }"))?;
        let shown = document.set(ROOT, "sweep.zip.seed=[1]").expect_err("refused").to_string();
        assert!(shown.contains("give the whole of `sweep.zip` instead"), "{shown}");
        Ok(())
    }

    #[test]
    fn a_required_key_may_come_from_the_sweep_alone() {
        let text = with("{ \"augment.variance\" = [1.0, 2.0] }").replace("variance = 1.5, ", "");
        assert_eq!(resolved(&text).len(), 2);
    }
}
