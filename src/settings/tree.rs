//! The parsed file: keys and values, each with its place, before anything is known about what is allowed.

use super::keys::Constant;
use super::place::{Place, Source};
use super::problem::shortened;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    /// An integer that no machine type holds.
    Huge,
    Float(f64),
    Flag(bool),
    Moment,
    List(Vec<Node>),
    Table(Entries),
}

/// The entries of a table in the order of the file. Cells of a sweep share all that they do not change.
pub(super) type Entries = Vec<Arc<Entry>>;

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
    /// Whether it stems from a default, not from the user; it then gives way to a choice of another `kind`.
    pub assumed: bool,
}

impl Node {
    pub fn from_toml(source: &Arc<Source>, shift: usize, value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let place = Place::new(source, span.start + shift..span.end + shift);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => {
                i128::from_str_radix(integer.as_str(), integer.radix()).map_or(Value::Huge, Value::Integer)
            }
            // The parser has checked the form, so whatever Rust cannot read is no number.
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Moment,
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| Node::from_toml(source, shift, item)).collect())
            }
            DeValue::Table(table) => Value::Table(entries_from_toml(source, shift, table)),
        };
        Node { place, value }
    }

    pub fn from_constant(place: &Place, constant: &Constant) -> Node {
        let text = |text: &str| Value::Text(text.to_string());
        let value = match constant {
            Constant::Number(number) => Value::Float(*number),
            Constant::Integer(integer) => Value::Integer(i128::from(*integer)),
            Constant::Flag(flag) => Value::Flag(*flag),
            Constant::Text(given) => text(given),
            Constant::Texts(items) => Value::List(
                items.iter().map(|item| Node { place: place.clone(), value: text(item) }).collect(),
            ),
            Constant::Table(items) => {
                let entry = |(key, constant): &(&str, Constant)| {
                    Arc::new(Entry {
                        key: key.to_string(),
                        key_place: place.clone(),
                        node: Node::from_constant(place, constant),
                        assumed: true,
                    })
                };
                Value::Table(items.iter().map(entry).collect())
            }
        };
        Node { place: place.clone(), value }
    }

    /// A number as it is written; as it came out, where it stands for one of a range.
    pub fn given(&self) -> String {
        let text = self.place.text();
        match self.value {
            Value::Integer(integer) if text.starts_with(['{', '[']) => integer.to_string(),
            Value::Float(float) if text.starts_with(['{', '[']) => format!("{float:?}"),
            _ => shortened(text),
        }
    }

    /// What it is, in TOML's words and with the value where it is short: `the string "abc"`.
    pub fn described(&self) -> String {
        match &self.value {
            Value::Text(text) => format!("the string \"{}\"", shortened(text)),
            Value::Integer(_) | Value::Huge => format!("the integer {}", self.given()),
            Value::Float(_) => format!("the float {}", self.given()),
            Value::Flag(flag) => format!("the boolean {flag}"),
            Value::Moment => format!("the date or time {}", shortened(self.place.text())),
            Value::List(items) => format!("an array of {}", items.len()),
            Value::Table(_) => "a table".into(),
        }
    }
}

/// The entries of a TOML table, sorted by where they stand: the parser sorts them by name.
pub(super) fn entries_from_toml(source: &Arc<Source>, shift: usize, table: &DeTable<'_>) -> Entries {
    let mut entries: Entries = table
        .iter()
        .map(|(key, value)| {
            let span = key.span();
            Arc::new(Entry {
                key: key.get_ref().to_string(),
                key_place: Place::new(source, span.start + shift..span.end + shift),
                node: Node::from_toml(source, shift, value),
                assumed: false,
            })
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_place.start());
    entries
}

/// The value of a key.
pub(super) fn get<'a>(entries: &'a Entries, key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &**entry)
}
