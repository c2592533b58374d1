//! Declarations: what keys a table may have, as constant data.

/// One of several forms that a table can take, chosen by its key `kind`.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The value of `kind` that selects it.
    pub name: &'static str,
    /// Its keys, without `kind` itself.
    pub keys: &'static [Key],
    /// What it is, in a sentence or two, with the formula.
    pub about: &'static str,
    /// Where it comes from (a citation), or empty.
    pub source: &'static str,
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key as it is written in the file.
    pub name: &'static str,
    /// What values it takes.
    pub value: ValueType,
    /// Whether it must be given, and what holds where it is not.
    pub presence: Presence,
    /// What it means, in a sentence, with its unit or convention.
    pub about: &'static str,
}

/// Whether a key must be given.
#[derive(Clone, Copy, Debug)]
pub enum Presence {
    /// The key must be given.
    Required,
    /// The key may be absent, and then stays absent.
    Optional,
    /// Where the key is absent, this value is filled in.
    Default(Constant),
}

/// A default value, as constant data.
#[derive(Clone, Copy, Debug)]
pub enum Constant {
    /// A finite number.
    Number(f64),
    /// A whole number.
    Integer(u64),
    /// True or false.
    Flag(bool),
    /// A string, which is also a choice or a path.
    Text(&'static str),
    /// A list of strings.
    Texts(&'static [&'static str]),
    /// A table, such as `{ kind = "isotropic", variance = 1.0 }`.
    Table(&'static [(&'static str, Constant)]),
}

/// What values a key takes.
#[derive(Clone, Copy, Debug)]
pub enum ValueType {
    /// A finite number; TOML integers count as numbers.
    Number {
        /// Lower end of the range.
        min: f64,
        /// Whether the lower end itself is allowed.
        min_allowed: bool,
        /// Upper end of the range, allowed itself; infinity for none.
        max: f64,
    },
    /// A whole number, both ends allowed.
    Integer {
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// Any string.
    Text,
    /// A path of a file, relative to the folder of the TOML file.
    Path,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of at least one finite number.
    Numbers {
        /// Lower end of the range of each.
        min: f64,
        /// Whether the lower end itself is allowed.
        min_allowed: bool,
        /// Upper end of the range of each, allowed itself; infinity for none.
        max: f64,
    },
    /// A list of whole numbers, both ends allowed.
    Integers {
        /// Smallest allowed value of each.
        min: u64,
        /// Largest allowed value of each.
        max: u64,
        /// How many there must be at least.
        at_least: usize,
    },
    /// A list of distinct strings out of these.
    Choices(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A table with these keys.
    Keys(&'static [Key]),
    /// A table whose `kind` selects one of these.
    OneOf(&'static [Kind]),
    /// Such a table, or an array of at least one such table.
    OneOrMoreOf(&'static [Kind]),
    /// The sweep: a table that maps key paths of this same file to lists of values. Lists that move together
    /// stand in its table `zip`, so no key of the file may have that name.
    Sweep,
}

impl ValueType {
    /// Any finite number.
    pub const ANY: ValueType =
        ValueType::Number { min: f64::NEG_INFINITY, min_allowed: false, max: f64::INFINITY };
    /// A finite number greater than 0.
    pub const POSITIVE: ValueType = ValueType::Number { min: 0.0, min_allowed: false, max: f64::INFINITY };
    /// A finite number of at least 0.
    pub const NON_NEGATIVE: ValueType = ValueType::Number { min: 0.0, min_allowed: true, max: f64::INFINITY };
    /// A list of finite numbers.
    pub const ANY_NUMBERS: ValueType =
        ValueType::Numbers { min: f64::NEG_INFINITY, min_allowed: false, max: f64::INFINITY };
    /// A list of finite numbers greater than 0.
    pub const POSITIVE_NUMBERS: ValueType =
        ValueType::Numbers { min: 0.0, min_allowed: false, max: f64::INFINITY };
    /// A list of finite numbers of at least 0.
    pub const NON_NEGATIVE_NUMBERS: ValueType =
        ValueType::Numbers { min: 0.0, min_allowed: true, max: f64::INFINITY };

    /// A whole number of at least `min`, up to the largest that TOML guarantees (2^63 - 1).
    pub const fn at_least(min: u64) -> ValueType {
        ValueType::Integer { min, max: i64::MAX as u64 }
    }

    /// What is allowed, for error messages and listings: "a number greater than 0".
    pub fn allowed(&self) -> String {
        match self {
            ValueType::Number { min, min_allowed, max } => {
                format!("a number{}", number_range(*min, *min_allowed, *max))
            }
            ValueType::Integer { min, max } => format!("an integer{}", integer_range(*min, *max)),
            ValueType::Flag => "true or false".into(),
            ValueType::Text => "a string".into(),
            ValueType::Path => "the path of a file".into(),
            ValueType::Choice(names) => quoted_list(names),
            ValueType::Numbers { min, min_allowed, max } => {
                format!("a list of one or more numbers{}", number_range(*min, *min_allowed, *max))
            }
            ValueType::Integers { min, max, at_least } => {
                let how_many = if *at_least > 0 { format!("{at_least} or more ") } else { String::new() };
                format!("a list of {how_many}integers{}", integer_range(*min, *max))
            }
            ValueType::Choices(names) => format!("a list of distinct names out of {}", quoted_list(names)),
            ValueType::Texts => "a list of strings".into(),
            ValueType::Keys(_) => "a table".into(),
            ValueType::OneOf(kinds) => format!("a table of the kind {}", kind_list(kinds)),
            ValueType::OneOrMoreOf(kinds) => {
                format!("a table, or an array of tables, of the kind {}", kind_list(kinds))
            }
            ValueType::Sweep => "a table of key paths and lists or ranges, and a `zip` of such".into(),
        }
    }
}

fn number_range(min: f64, min_allowed: bool, max: f64) -> String {
    let has_max = max < f64::INFINITY;
    let (min_text, max_text) = (short_number(min), short_number(max));
    match (min > f64::NEG_INFINITY, min_allowed, has_max) {
        (false, _, false) => String::new(),
        (false, _, true) => format!(" of at most {max_text}"),
        (true, false, false) => format!(" greater than {min_text}"),
        (true, true, false) => format!(" of at least {min_text}"),
        (true, false, true) => format!(" greater than {min_text} and at most {max_text}"),
        (true, true, true) => format!(" from {min_text} to {max_text}"),
    }
}

/// 0.1 and 1e-14, not 0.00000000000001.
fn short_number(value: f64) -> String {
    let (plain, scientific) = (value.to_string(), format!("{value:e}"));
    if plain.len() > 8 && scientific.len() < plain.len() { scientific } else { plain }
}

fn integer_range(min: u64, max: u64) -> String {
    // The ends of the machine types are no bounds that a reader of the message could want to know.
    if max >= i64::MAX as u64 { format!(" of at least {min}") } else { format!(" from {min} to {max}") }
}

fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn kind_list(kinds: &[Kind]) -> String {
    quoted_list(&kinds.iter().map(|kind| kind.name).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_a_person_would_say_them() {
        let half_open = ValueType::Number { min: 0.0, min_allowed: false, max: 1.0 };
        assert_eq!(half_open.allowed(), "a number greater than 0 and at most 1");
        assert_eq!(ValueType::ANY.allowed(), "a number");
        assert_eq!(ValueType::NON_NEGATIVE.allowed(), "a number of at least 0");
        assert_eq!(ValueType::at_least(2).allowed(), "an integer of at least 2");
        assert_eq!(ValueType::Integer { min: 1, max: 9 }.allowed(), "an integer from 1 to 9");
    }
}
