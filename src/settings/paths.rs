//! Key paths such as `augment.variance`, in the declaration and in a document.

use super::keys::{Key, Kind, Presence, ValueType};
use super::place::Place;
use super::problem::{Problem, shortened};
use super::tree::{Entries, Entry, Node, Value, get};
use super::validate::{joined, suggest};
use std::sync::Arc;

/// What a key path leads to in the declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// Something else that is written as one value.
    Value,
    /// A table that has keys of its own.
    Table,
    /// The sweep.
    Sweep,
}

/// The keys of one table, as far as the declaration alone can tell.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Keys(&'static [Key]),
    Kinds(&'static [Kind]),
}

impl Level {
    fn of(value: &ValueType) -> Option<Level> {
        match *value {
            ValueType::Keys(keys) => Some(Level::Keys(keys)),
            ValueType::OneOf(kinds) | ValueType::OneOrMoreOf(kinds) => Some(Level::Kinds(kinds)),
            _ => None,
        }
    }

    /// All keys of that name, in any kind.
    fn named(self, name: &str) -> Vec<&'static Key> {
        let mut found = Vec::new();
        match self {
            Level::Keys(keys) => found.extend(keys.iter().filter(|key| key.name == name)),
            Level::Kinds(kinds) => {
                for kind in kinds {
                    found.extend(kind.keys.iter().filter(|key| key.name == name));
                }
            }
        }
        found
    }

    /// The names of all keys, in any kind.
    fn names(self) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut add = |name| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        match self {
            Level::Keys(keys) => keys.iter().for_each(|key| add(key.name)),
            Level::Kinds(kinds) => {
                add("kind");
                kinds.iter().flat_map(|kind| kind.keys).for_each(|key| add(key.name));
            }
        }
        names
    }
}

/// Looks a key path up in the declaration. Where a table has kinds, a key of any of them is accepted: whether it
/// fits the kind that is chosen in the end is for validation to say.
pub(super) fn find(root: &'static [Key], segments: &[&str], place: &Place) -> Result<Target, Problem> {
    let mut levels = vec![Level::Keys(root)];
    let mut target = Target::Table;
    let mut path = String::new();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        if levels.is_empty() {
            let message =
                format!("`{path}` is not a table, so there is no `{}`", shortened(&joined(&path, segment)));
            return Err(Problem::at(place, message));
        }
        if last && *segment == "kind" && levels.iter().any(|level| matches!(level, Level::Kinds(_))) {
            return Ok(Target::Value);
        }
        let keys: Vec<&Key> = levels.iter().flat_map(|level| level.named(segment)).collect();
        if keys.is_empty() {
            let mut allowed: Vec<&str> = Vec::new();
            for name in levels.iter().flat_map(|level| level.names()) {
                if !allowed.contains(&name) {
                    allowed.push(name);
                }
            }
            let table = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            let message =
                format!("unknown key `{}`{table}; allowed: {}", shortened(segment), allowed.join(", "));
            return Err(suggest(Problem::at(place, message), segment, allowed));
        }
        levels = keys.iter().filter_map(|key| Level::of(&key.value)).collect();
        let sweep = keys.iter().any(|key| matches!(key.value, ValueType::Sweep));
        target = match (sweep, levels.is_empty()) {
            (true, _) => return Ok(Target::Sweep),
            (_, false) => Target::Table,
            _ if keys.iter().any(|key| matches!(key.value, ValueType::Number { .. })) => Target::Number,
            _ if keys.iter().any(|key| matches!(key.value, ValueType::Integer { .. })) => Target::Integer,
            _ => Target::Value,
        };
        path = joined(&path, segment);
    }
    Ok(target)
}

/// Puts a value at a key path of the document, replacing what stands there and creating the tables on the way.
/// A table that is absent and has a default starts from it, so that `data.covariance.variance` means what the
/// resolved plan shows under that name.
pub(super) fn assign(
    root: &'static [Key],
    entries: &mut Entries,
    segments: &[&str],
    node: Node,
    key_place: &Place,
) -> Result<(), Problem> {
    assign_in(Some(Level::Keys(root)), "", entries, segments, node, key_place)
}

fn assign_in(
    level: Option<Level>,
    path: &str,
    entries: &mut Entries,
    segments: &[&str],
    node: Node,
    key_place: &Place,
) -> Result<(), Problem> {
    let Some((first, rest)) = segments.split_first() else { return Ok(()) };
    let at = entries.iter().position(|entry| entry.key == *first);
    if rest.is_empty() {
        if *first == "kind" {
            entries.retain(|entry| !entry.assumed || entry.key == "kind");
        }
        let entry =
            Arc::new(Entry { key: first.to_string(), key_place: key_place.clone(), node, assumed: false });
        match entries.iter().position(|entry| entry.key == *first) {
            Some(at) => entries[at] = entry,
            None => entries.push(entry),
        }
        return Ok(());
    }
    let declared = level.and_then(|level| declared_key(level, entries, first));
    let at = match at {
        Some(at) => at,
        None => {
            let node = match declared.map(|key| &key.presence) {
                Some(Presence::Default(constant)) => Node::from_constant(key_place, constant),
                _ => Node { place: key_place.clone(), value: Value::Table(Vec::new()) },
            };
            let key = first.to_string();
            entries.push(Arc::new(Entry { key, key_place: key_place.clone(), node, assumed: false }));
            entries.len() - 1
        }
    };
    let path = joined(path, first);
    let entry = Arc::make_mut(&mut entries[at]);
    let inner = match &mut entry.node.value {
        Value::Table(inner) => inner,
        _ => {
            let found = entry.node.described();
            let message = format!(
                "`{path}` is {found} here, so there is no `{}` to set",
                joined(&path, &rest.join("."))
            );
            return Err(Problem::at(key_place, message).help(format!("give the whole of `{path}` instead")));
        }
    };
    assign_in(declared.and_then(|key| Level::of(&key.value)), &path, inner, rest, node, key_place)
}

/// The declaration of a key: in the kind that the document chooses, else in the first kind that has it.
fn declared_key(level: Level, entries: &Entries, name: &str) -> Option<&'static Key> {
    if let (Level::Kinds(kinds), Some(entry)) = (level, get(entries, "kind"))
        && let Value::Text(chosen) = &entry.node.value
        && let Some(kind) = kinds.iter().find(|kind| kind.name == chosen)
        && let Some(key) = kind.keys.iter().find(|key| key.name == name)
    {
        return Some(key);
    }
    level.named(name).first().copied()
}
