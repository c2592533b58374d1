//! Settings: a table in which nothing is missing and nothing is unknown.

use super::keys::{Key, Presence};
use super::place::Place;
use super::problem::Problem;
use std::path::{Path, PathBuf};

/// A validated table with its defaults filled in.
///
/// The getters cannot fail: validation has seen to it that what is declared is there, and of its type. Asking for
/// a key that is not declared, or by the getter of another type, is a mistake in the program and panics.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) place: Place,
    pub(super) kind: Option<(&'static str, Place)>,
    pub(super) keys: &'static [Key],
    /// In declared order.
    pub(super) values: Vec<(&'static str, Setting, Place)>,
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    Number(f64),
    Integer(u64),
    Flag(bool),
    Text(String),
    Path(PathBuf),
    Numbers(Vec<f64>),
    Integers(Vec<usize>),
    Texts(Vec<String>),
    Table(Box<Settings>),
    Tables(Vec<Settings>),
}

/// Equal kinds and equal values; where they were written does not matter.
impl PartialEq for Settings {
    fn eq(&self, other: &Settings) -> bool {
        let kind = |settings: &Settings| settings.kind.as_ref().map(|(name, _)| *name);
        kind(self) == kind(other) && self.given().eq(other.given())
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident, $optional:ident, $variant:ident($value:ident) -> $type:ty { $result:expr };)*) => {
        impl Settings {
            $(
                $(#[$doc])*
                pub fn $name(&self, key: &str) -> $type {
                    match self.$optional(key) {
                        Some(value) => value,
                        None => panic!("`{key}` may be absent: ask for it with {}", stringify!($optional)),
                    }
                }

                #[doc = concat!("As [`Settings::", stringify!($name), "`], for a key that may be absent.")]
                pub fn $optional(&self, key: &str) -> Option<$type> {
                    match self.value(key) {
                        Some(Setting::$variant($value)) => Some($result),
                        Some(_) => panic!("`{key}` is not declared as what `{}` gives", stringify!($name)),
                        None => None,
                    }
                }
            )*
        }
    };
}

getters! {
    /// A number.
    number, optional_number, Number(value) -> f64 { *value };
    /// A whole number.
    integer, optional_integer, Integer(value) -> usize { usize::try_from(*value).unwrap_or(usize::MAX) };
    /// A whole number in 64 bits, such as a seed.
    integer_u64, optional_integer_u64, Integer(value) -> u64 { *value };
    /// True or false.
    flag, optional_flag, Flag(value) -> bool { *value };
    /// A string or a choice.
    text, optional_text, Text(value) -> &str { value };
    /// An absolute path; what was relative is taken from the folder of the TOML file.
    path, optional_path, Path(value) -> &Path { value };
    /// A list of numbers.
    numbers, optional_numbers, Numbers(value) -> &[f64] { value };
    /// A list of whole numbers.
    integers, optional_integers, Integers(value) -> &[usize] { value };
    /// A list of strings or choices.
    texts, optional_texts, Texts(value) -> &[String] { value };
    /// A table inside this one.
    table, optional_table, Table(value) -> &Settings { value };
}

impl Settings {
    /// The kind of this table. Panics where the table was declared without kinds.
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Some((name, _)) => name,
            None => panic!("this table was declared without kinds"),
        }
    }

    /// The tables of a key that takes one or more; none where it is absent.
    pub fn tables(&self, key: &str) -> &[Settings] {
        match self.value(key) {
            Some(Setting::Tables(tables)) => tables,
            Some(_) => panic!("`{key}` is not declared as one or more tables"),
            None => &[],
        }
    }

    /// Whether a declared key has a value, given or filled in.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A problem with the value of `key`, for what only several keys together can show. `key` may be a path such
    /// as `covariance.variance`. Where the value was filled in or is absent, the problem points at the table.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::at(self.place_of(key), message)
    }

    /// The same settings with another whole number for `key`, which must have one already.
    pub fn with_integer(&self, key: &str, value: u64) -> Settings {
        let mut changed = self.clone();
        match changed.values.iter_mut().find(|(name, _, _)| *name == key) {
            Some((_, setting @ Setting::Integer(_), _)) => *setting = Setting::Integer(value),
            _ => panic!("`{key}` is not a whole number here"),
        }
        changed
    }

    /// The same settings with nothing for `key`, which must be one that may be absent.
    pub fn without(&self, key: &str) -> Settings {
        let optional =
            |declared: &Key| declared.name == key && matches!(declared.presence, Presence::Optional);
        assert!(self.keys.iter().any(optional), "`{key}` is not a key that may be absent");
        let mut changed = self.clone();
        changed.values.retain(|(name, _, _)| *name != key);
        changed
    }

    /// The same settings with every path, also in tables within, replaced by what `replace` makes of it.
    pub fn with_paths(&self, replace: &mut dyn FnMut(&Path) -> PathBuf) -> Settings {
        let mut changed = self.clone();
        for (_, setting, _) in &mut changed.values {
            match setting {
                Setting::Path(path) => *path = replace(path),
                Setting::Table(table) => **table = table.with_paths(replace),
                Setting::Tables(tables) => {
                    for table in tables {
                        *table = table.with_paths(replace);
                    }
                }
                _ => {}
            }
        }
        changed
    }

    fn place_of(&self, path: &str) -> &Place {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        if let (None, "kind", Some((_, place))) = (rest, first, &self.kind) {
            return place;
        }
        match (self.values.iter().find(|(name, _, _)| *name == first), rest) {
            (Some((_, Setting::Table(table), _)), Some(rest)) => table.place_of(rest),
            (Some((_, _, place)), _) => place,
            (None, _) => &self.place,
        }
    }

    pub(super) fn chosen_kind(&self) -> Option<&'static str> {
        self.kind.as_ref().map(|(name, _)| *name)
    }

    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &Setting)> {
        self.values.iter().map(|(name, value, _)| (*name, value))
    }

    fn value(&self, key: &str) -> Option<&Setting> {
        let found = self.values.iter().find(|(name, _, _)| *name == key);
        // An undeclared key must not pass for an absent one.
        assert!(
            found.is_some() || self.keys.iter().any(|declared| declared.name == key),
            "`{key}` is not a declared key of this table"
        );
        found.map(|(_, value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::example::{GOOD, accepted, good_but};

    #[test]
    fn a_problem_of_several_keys_points_at_the_value_that_is_named() {
        let settings = accepted(&good_but("block = 8", "block = 20"));
        let shown = settings
            .table("augment")
            .problem("block", "block = 20 is larger than dim = 16; allowed: 1 to 16")
            .to_string();
        assert!(shown.starts_with("a.toml:4:37: error: block = 20 is larger"), "{shown}");
        assert!(settings.problem("augment.sides", "x").to_string().starts_with("a.toml:4:"));
        assert_eq!(settings.problem("augment.kind", "x").line_and_column(), Some((4, 20)));
    }

    #[test]
    fn a_problem_with_a_default_or_an_absent_key_points_at_the_table() {
        let settings = accepted(GOOD);
        assert_eq!(settings.problem("data.covariance.variance", "x").line_and_column(), Some((3, 8)));
        assert_eq!(settings.problem("observe", "x").line_and_column(), Some((1, 1)));
    }

    #[test]
    fn absent_and_given_optional_keys_are_told_apart() {
        let settings = accepted(&good_but("title = \"An example\"\n", ""));
        assert_eq!(settings.optional_text("title"), None);
        assert_eq!(accepted(GOOD).optional_text("title"), Some("An example"));
        assert!(settings.optional_table("observe").is_none());
    }

    #[test]
    fn a_whole_number_can_be_replaced_without_touching_the_rest() {
        let settings = accepted(GOOD).with_integer("seed", 7);
        assert_eq!(settings, accepted(&good_but("seed = 20", "seed = 7")));
    }

    #[test]
    fn a_key_that_may_be_absent_can_be_taken_out() {
        let settings = accepted(GOOD).without("title");
        assert_eq!(settings, accepted(&good_but("title = \"An example\"\n", "")));
    }

    #[test]
    #[should_panic(expected = "not a key that may be absent")]
    fn a_required_key_cannot_be_taken_out() {
        accepted(GOOD).without("seed");
    }

    #[test]
    #[should_panic(expected = "not a declared key")]
    fn asking_for_an_undeclared_key_is_a_mistake_in_the_program() {
        accepted(GOOD).has("sede");
    }

    #[test]
    #[should_panic(expected = "not declared as what `number` gives")]
    fn asking_for_another_type_is_a_mistake_in_the_program() {
        accepted(GOOD).number("seed");
    }
}
