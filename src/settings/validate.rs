//! Checks a parsed table against its declaration and fills in the defaults.

use super::document::Document;
use super::keys::{Key, Kind, Presence, ValueType};
use super::place::{Place, Source};
use super::problem::{Problem, meant, shortened};
use super::resolved::{Setting, Settings};
use super::sweep::ZIP;
use super::tree::{Entries, Entry, Node, Value, get};
use std::path::Path;
use std::sync::Arc;

impl Document {
    /// Checks everything against the declaration and fills in the defaults. A `sweep` is no part of the settings:
    /// [`Document::expand`] turns it into documents without one.
    pub fn validate(&self, root: &'static [Key]) -> Result<Settings, Problem> {
        let reader = Reader { folder: &self.folder };
        reader.table("", &self.root, &self.place, root, None).map_err(|problem| self.in_cell(problem))
    }
}

/// Checks one table without paths against its declaration and fills in the defaults. `path` names it in errors.
pub(super) fn table(
    path: &str,
    entries: &Entries,
    place: &Place,
    keys: &'static [Key],
) -> Result<Settings, Problem> {
    Reader { folder: Path::new("/") }.table(path, entries, place, keys, None)
}

/// Mistakes in a declaration itself: names that occur twice, defaults that the declared type refuses. Empty where
/// there are none; for a test of the declarations.
pub fn declaration_faults(root: &'static [Key]) -> Vec<String> {
    let mut faults = Vec::new();
    faults_of_keys("", root, &mut faults);
    let sweeps = root.iter().any(|key| matches!(key.value, ValueType::Sweep));
    if sweeps && root.iter().any(|key| key.name == ZIP) {
        faults.push(format!("`{ZIP}` is declared, but in a sweep this name is taken"));
    }
    faults
}

fn faults_of_keys(path: &str, keys: &'static [Key], faults: &mut Vec<String>) {
    let source = Arc::new(Source { name: String::new(), text: String::new(), is_file: true });
    let place = Place::new(&source, 0..0);
    let reader = Reader { folder: Path::new("/") };
    for (at, key) in keys.iter().enumerate() {
        let name = joined(path, key.name);
        if keys[..at].iter().any(|other| other.name == key.name) || key.name == "kind" {
            faults.push(format!("`{name}` is declared twice, or is `kind`, which is implied"));
        }
        if key.about.is_empty() {
            faults.push(format!("`{name}` has no description"));
        }
        if let Presence::Default(constant) = &key.presence {
            let node = Node::from_constant(&place, constant);
            if let Err(problem) = reader.value(&name, &node, &key.value) {
                faults.push(format!("default of `{name}`: {}", problem.message()));
            }
        }
        match key.value {
            ValueType::Keys(inner) => faults_of_keys(&name, inner, faults),
            ValueType::OneOf(kinds) | ValueType::OneOrMoreOf(kinds) => {
                for (at, kind) in kinds.iter().enumerate() {
                    if kinds[..at].iter().any(|other| other.name == kind.name) {
                        faults.push(format!("`{name}` has the kind `{}` twice", kind.name));
                    }
                    faults_of_keys(&format!("{name}[{}]", kind.name), kind.keys, faults);
                }
            }
            _ => {}
        }
    }
}

/// `path.key`, or `key` at the root.
pub(super) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

struct Reader<'a> {
    /// Where relative paths start.
    folder: &'a Path,
}

impl Reader<'_> {
    fn table(
        &self,
        path: &str,
        entries: &Entries,
        place: &Place,
        keys: &'static [Key],
        kind: Option<(&'static Kind, &Place, &'static [Kind])>,
    ) -> Result<Settings, Problem> {
        for entry in entries {
            let known = keys.iter().any(|key| key.name == entry.key) || kind.is_some() && entry.key == "kind";
            if !known {
                return Err(unknown_key(path, entry, keys, kind));
            }
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            if matches!(key.value, ValueType::Sweep) {
                continue;
            }
            let name = joined(path, key.name);
            match (get(entries, key.name), &key.presence) {
                (Some(entry), _) => {
                    let value = self.value(&name, &entry.node, &key.value)?;
                    values.push((key.name, value, entry.node.place.clone()));
                }
                (None, Presence::Optional) => {}
                (None, Presence::Default(constant)) => {
                    let node = Node::from_constant(place, constant);
                    values.push((key.name, self.value(&name, &node, &key.value)?, place.clone()));
                }
                (None, Presence::Required) => {
                    return Err(missing_key(path, key, entries, place, keys, kind));
                }
            }
        }
        let kind = kind.map(|(kind, place, _)| (kind.name, place.clone()));
        Ok(Settings { place: place.clone(), kind, keys, values })
    }

    fn value(&self, name: &str, node: &Node, declared: &ValueType) -> Result<Setting, Problem> {
        let refused = || wrong_type(name, node, declared);
        match *declared {
            ValueType::Number { min, min_allowed, max } => {
                number(name, node, declared, (min, min_allowed, max)).map(Setting::Number)
            }
            ValueType::Integer { min, max } => integer(name, node, declared, min, max).map(Setting::Integer),
            ValueType::Flag => match node.value {
                Value::Flag(flag) => Ok(Setting::Flag(flag)),
                _ => Err(refused()),
            },
            ValueType::Text => match &node.value {
                Value::Text(text) => Ok(Setting::Text(text.clone())),
                _ => Err(refused()),
            },
            ValueType::Path => match &node.value {
                Value::Text(text) => self.path(name, node, text),
                _ => Err(refused()),
            },
            ValueType::Choice(names) => {
                choice(name, node, declared, names).map(|text| Setting::Text(text.to_string()))
            }
            ValueType::Numbers { min, min_allowed, max } => {
                let items = list(name, node, declared, 1)?;
                let one = ValueType::Number { min, min_allowed, max };
                let read = |item| number(&format!("a value of {name}"), item, &one, (min, min_allowed, max));
                Ok(Setting::Numbers(items.iter().map(read).collect::<Result<_, _>>()?))
            }
            ValueType::Integers { min, max, at_least } => {
                let items = list(name, node, declared, at_least)?;
                // A list of sizes must fit the machine's own integers.
                let max = max.min(usize::MAX as u64);
                let one = ValueType::Integer { min, max };
                let read = |item| {
                    let read = integer(&format!("a value of {name}"), item, &one, min, max)?;
                    Ok(usize::try_from(read).unwrap_or(usize::MAX))
                };
                Ok(Setting::Integers(items.iter().map(read).collect::<Result<_, Problem>>()?))
            }
            ValueType::Choices(names) => {
                let mut chosen: Vec<String> = Vec::new();
                for item in list(name, node, declared, 0)? {
                    let text = choice(&format!("a value of {name}"), item, &ValueType::Choice(names), names)?;
                    if chosen.iter().any(|other| other == text) {
                        return Err(Problem::at(
                            &item.place,
                            format!("\"{text}\" stands twice in `{name}`; allowed: each name once"),
                        ));
                    }
                    chosen.push(text.to_string());
                }
                Ok(Setting::Texts(chosen))
            }
            ValueType::Texts => {
                let read = |item: &Node| match &item.value {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(wrong_type(&format!("a value of {name}"), item, &ValueType::Text)),
                };
                let items = list(name, node, declared, 0)?;
                Ok(Setting::Texts(items.iter().map(read).collect::<Result<_, _>>()?))
            }
            ValueType::Keys(keys) => match &node.value {
                Value::Table(entries) => {
                    let table = self.table(name, entries, &node.place, keys, None)?;
                    Ok(Setting::Table(Box::new(table)))
                }
                _ => Err(refused()),
            },
            ValueType::OneOf(kinds) => {
                Ok(Setting::Table(Box::new(self.kinded(name, node, kinds, declared)?)))
            }
            ValueType::OneOrMoreOf(kinds) => {
                let one = ValueType::OneOf(kinds);
                match &node.value {
                    Value::List(items) if items.is_empty() => Err(Problem::at(
                        &node.place,
                        format!("`{name}` is empty; allowed: {}", declared.allowed()),
                    )
                    .help("leave the key out where there is none")),
                    Value::List(items) => {
                        let read = |item| self.kinded(name, item, kinds, &one);
                        Ok(Setting::Tables(items.iter().map(read).collect::<Result<_, _>>()?))
                    }
                    _ => Ok(Setting::Tables(vec![self.kinded(name, node, kinds, declared)?])),
                }
            }
            // Left out of the settings by the caller; a sweep cannot stand anywhere else.
            ValueType::Sweep => Err(refused()),
        }
    }

    fn kinded(
        &self,
        name: &str,
        node: &Node,
        kinds: &'static [Kind],
        declared: &ValueType,
    ) -> Result<Settings, Problem> {
        let Value::Table(entries) = &node.value else { return Err(wrong_type(name, node, declared)) };
        let names: Vec<&'static str> = kinds.iter().map(|kind| kind.name).collect();
        let Some(chosen) = get(entries, "kind") else {
            let message = format!("`{name}` has no `kind`; allowed: {}", kinds_text(kinds));
            return Err(Problem::at(&node.place, message));
        };
        let place = &chosen.node.place;
        let Value::Text(text) = &chosen.node.value else {
            let found = chosen.node.described();
            let message = format!("`{name}.kind` cannot be {found}; allowed: {}", kinds_text(kinds));
            return Err(Problem::at(place, message));
        };
        let Some(kind) = kinds.iter().find(|kind| kind.name == text) else {
            let message =
                format!("`{name}` has no kind \"{}\"; allowed: {}", shortened(text), kinds_text(kinds));
            return Err(suggest(Problem::at(place, message), text, names.iter().copied()));
        };
        self.table(name, entries, &node.place, kind.keys, Some((kind, place, kinds)))
    }

    fn path(&self, name: &str, node: &Node, text: &str) -> Result<Setting, Problem> {
        let refused =
            |why: &str| Problem::at(&node.place, format!("`{name}` {why}; allowed: the path of a file"));
        if text.is_empty() {
            return Err(refused("is empty"));
        }
        if text.contains('\0') {
            return Err(refused("contains a zero character"));
        }
        let path = std::path::absolute(self.folder.join(text))
            .map_err(|error| refused(&format!("cannot be made absolute ({error})")))?;
        // The resolved plan is a text file, and must be able to name it.
        if path.to_str().is_none() {
            return Err(refused("lies in a folder whose name is not Unicode"));
        }
        Ok(Setting::Path(path))
    }
}

fn kinds_text(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| format!("\"{}\"", kind.name)).collect::<Vec<_>>().join(", ")
}

/// `name` in backquotes; a phrase such as "a value of widths" quotes its last word only.
fn quoted(name: &str) -> String {
    match name.rsplit_once(' ') {
        Some((words, key)) => format!("{words} `{key}`"),
        None => format!("`{name}`"),
    }
}

fn wrong_type(name: &str, node: &Node, declared: &ValueType) -> Problem {
    let message = format!("{} cannot be {}; allowed: {}", quoted(name), node.described(), declared.allowed());
    Problem::at(&node.place, message)
}

fn out_of_range(name: &str, node: &Node, declared: &ValueType) -> Problem {
    let given = node.given();
    Problem::at(
        &node.place,
        format!("{} = {given} is refused; allowed: {}", quoted(name), declared.allowed()),
    )
}

fn number(
    name: &str,
    node: &Node,
    declared: &ValueType,
    (min, min_allowed, max): (f64, bool, f64),
) -> Result<f64, Problem> {
    let value = match node.value {
        Value::Float(value) => value,
        // Beyond 2^53 this rounds, as a float written with as many digits would.
        Value::Integer(value) => value as f64,
        Value::Huge => f64::INFINITY,
        _ => return Err(wrong_type(name, node, declared)),
    };
    let inside = value.is_finite() && (value > min || min_allowed && value == min) && value <= max;
    if !inside {
        return Err(out_of_range(name, node, declared));
    }
    // -0 becomes 0: both mean the same, and must give the same plan.
    Ok(value + 0.0)
}

fn integer(name: &str, node: &Node, declared: &ValueType, min: u64, max: u64) -> Result<u64, Problem> {
    match node.value {
        Value::Integer(value) => u64::try_from(value)
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| out_of_range(name, node, declared)),
        Value::Huge => Err(out_of_range(name, node, declared)),
        _ => Err(wrong_type(name, node, declared)),
    }
}

fn choice<'a>(
    name: &str,
    node: &'a Node,
    declared: &ValueType,
    names: &'static [&'static str],
) -> Result<&'a str, Problem> {
    let Value::Text(text) = &node.value else { return Err(wrong_type(name, node, declared)) };
    if names.contains(&text.as_str()) {
        return Ok(text);
    }
    let message =
        format!("{} = \"{}\" is refused; allowed: {}", quoted(name), shortened(text), declared.allowed());
    Err(suggest(Problem::at(&node.place, message), text, names.iter().copied()))
}

fn list<'a>(
    name: &str,
    node: &'a Node,
    declared: &ValueType,
    at_least: usize,
) -> Result<&'a [Node], Problem> {
    let Value::List(items) = &node.value else { return Err(wrong_type(name, node, declared)) };
    if items.len() < at_least {
        let message = format!("`{name}` is a list of {}; allowed: {}", items.len(), declared.allowed());
        return Err(Problem::at(&node.place, message));
    }
    Ok(items)
}

fn unknown_key(
    path: &str,
    entry: &Entry,
    keys: &'static [Key],
    kind: Option<(&'static Kind, &Place, &'static [Kind])>,
) -> Problem {
    let mut allowed: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let mut place = String::new();
    if !path.is_empty() {
        place = format!(" in `{path}`");
    }
    if let Some((kind, _, _)) = kind {
        allowed.insert(0, "kind");
        place.push_str(&format!(" of the kind \"{}\"", kind.name));
    }
    let given = shortened(&entry.key);
    let message = format!("unknown key `{given}`{place}; allowed: {}", allowed.join(", "));
    let mut problem = suggest(Problem::at(&entry.key_place, message), &entry.key, allowed.iter().copied());
    if let Some((_, chosen_at, kinds)) = kind {
        let having = |kind: &&Kind| kind.keys.iter().any(|key| key.name == entry.key);
        let others: Vec<String> =
            kinds.iter().filter(having).map(|kind| format!("\"{}\"", kind.name)).collect();
        if !others.is_empty() {
            problem = problem.note(format!(
                "`{given}` belongs to the kind {}; this kind was chosen at {}",
                others.join(", "),
                chosen_at.label()
            ));
        }
    }
    problem
}

fn missing_key(
    path: &str,
    key: &Key,
    entries: &Entries,
    place: &Place,
    keys: &'static [Key],
    kind: Option<(&'static Kind, &Place, &'static [Kind])>,
) -> Problem {
    let missing: Vec<&str> = keys
        .iter()
        .filter(|key| matches!(key.presence, Presence::Required) && get(entries, key.name).is_none())
        .map(|key| key.name)
        .collect();
    let table = if path.is_empty() { "the file".to_string() } else { format!("`{path}`") };
    let of_kind = kind.map(|(kind, _, _)| format!(" of the kind \"{}\"", kind.name)).unwrap_or_default();
    let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = format!("{table}{of_kind} lacks {names}");
    let help =
        format!("`{}`: {}; allowed: {}", key.name, key.about.trim_end_matches('.'), key.value.allowed());
    Problem::at(place, message).help(help)
}

/// Adds the likely meaning of a misspelt name.
pub(super) fn suggest<'a>(
    problem: Problem,
    given: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Problem {
    match meant(given, allowed) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example::{GOOD, ROOT, accepted, good_but, refused};
    use crate::settings::keys::Constant;

    /// The first line of the refusal starts with `place` and contains each part.
    #[track_caller]
    fn assert_refused(text: &str, place: &str, parts: &[&str]) {
        let shown = refused(text);
        let first = shown.lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("a.toml:{place}: error: ")), "expected {place}:\n{shown}");
        for part in parts {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
    }

    #[test]
    fn the_example_is_sound_and_its_defaults_are_filled_in() {
        assert_eq!(declaration_faults(ROOT), Vec::<String>::new());
        let settings = accepted(GOOD);
        assert_eq!(settings.integer("repeats"), 1);
        let covariance = settings.table("data").table("covariance");
        assert_eq!((covariance.kind(), covariance.number("variance")), ("isotropic", 1.0));
        assert!(!settings.table("encoder").flag("bias"));
        assert!(!settings.has("observe"), "an optional table stays absent");
    }

    #[test]
    fn a_faulty_declaration_is_found() {
        const WRONG: Key = Key {
            name: "rate",
            value: ValueType::POSITIVE,
            presence: Presence::Default(Constant::Number(0.0)),
            about: "",
        };
        let faults = declaration_faults(&[WRONG, WRONG]).join("\n");
        for part in ["twice", "no description", "default of `rate`"] {
            assert!(faults.contains(part), "{part} is not in {faults}");
        }
        const fn optional(name: &'static str, value: ValueType) -> Key {
            Key { name, value, presence: Presence::Optional, about: "A key." }
        }
        const FLAG: Key = optional("zip", ValueType::Flag);
        assert!(declaration_faults(&[FLAG]).is_empty());
        const SWEEP: Key = optional("sweep", ValueType::Sweep);
        assert!(declaration_faults(&[FLAG, SWEEP])[0].contains("`zip`"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_what_was_meant_and_what_is_allowed() {
        assert_refused(
            &good_but("variance = 1.5", "varaince = 1.5"),
            "4:40",
            &[
                "unknown key `varaince` in `augment` of the kind \"block\"; allowed: kind, block, variance, sides",
                "did you mean `variance`?",
                "^^^^^^^^",
            ],
        );
        assert_refused(&format!("sede = 1\n{GOOD}"), "1:1", &["unknown key `sede`", "did you mean `seed`?"]);
    }

    #[test]
    fn a_key_of_another_kind_is_refused_and_the_choice_of_kind_is_named() {
        assert_refused(
            &good_but("\"block\", block", "\"isotropic\", block"),
            "4:33",
            &["unknown key `block`", "belongs to the kind \"block\"", "chosen at a.toml:4:20"],
        );
    }

    #[test]
    fn a_missing_key_is_named_at_its_table_or_at_the_first_line() {
        assert_refused(
            &good_but("variance = 1.5, ", ""),
            "4:11",
            &["`augment` of the kind \"block\" lacks `variance`"],
        );
        assert_refused(&good_but("seed = 20\n", ""), "1:1", &["the file lacks `seed`", "an integer"]);
        let section = good_but("augment = {", "other = {")
            .replace("other = { kind = \"block\", block = 8, variance = 1.5, sides = \"one\" }\n", "")
            + "[augment]\nkind = \"block\"\n";
        assert_refused(&section, "5:1", &["lacks `block`, `variance`, `sides`", "[augment]"]);
    }

    #[test]
    fn an_empty_file_is_told_all_that_it_lacks() {
        assert_refused("", "1:1", &["the file lacks `seed`, `data`, `augment`, `encoder`"]);
    }

    #[test]
    fn a_wrong_type_is_refused_with_what_was_found() {
        assert_refused(
            &good_but("variance = 1.5", "variance = \"much\""),
            "4:51",
            &["`augment.variance` cannot be the string \"much\"; allowed: a number greater than 0"],
        );
        assert_refused(
            &good_but("dim = 16,", "dim = 16.0,"),
            "3:35",
            &["`data.dim` cannot be the float 16.0", "an integer"],
        );
        assert_refused(&good_but("seed = 20", "seed = true"), "2:8", &["the boolean true"]);
        assert_refused(&good_but("seed = 20", "seed = 1979-05-27"), "2:8", &["the date or time 1979-05-27"]);
        assert_refused(
            &good_but("\"An example\"", "[]"),
            "1:9",
            &["`title` cannot be an array of 0; allowed: a string"],
        );
        assert_refused(&(GOOD.to_string() + "observe = 3"), "6:11", &["allowed: a table"]);
        assert_refused(
            &good_but("{ kind = \"linear\", widths = [16, 16] }", "\"linear\""),
            "5:11",
            &["`encoder` cannot be the string \"linear\"; allowed: a table of the kind \"linear\""],
        );
        assert_refused(
            &(GOOD.to_string() + "claims = [\"a\", 2]"),
            "6:16",
            &["a value of `claims` cannot be the integer 2"],
        );
        assert_refused(&good_but("[16, 16]", "[16, 16], bias = 1"), "5:56", &["true or false"]);
    }

    #[test]
    fn an_impossible_value_is_refused_with_what_is_allowed() {
        for value in ["0", "-1.5", "0.0", "nan", "inf", "-inf", "1e999", "1e-400"] {
            assert_refused(
                &good_but("variance = 1.5", &format!("variance = {value}")),
                "4:51",
                &[&format!("`augment.variance` = {value} is refused; allowed: a number greater than 0")],
            );
        }
        assert_refused(
            &good_but("dim = 16,", "dim = -3,"),
            "3:35",
            &["`data.dim` = -3 is refused; allowed: an integer of at least 1"],
        );
        assert_refused(&(GOOD.to_string() + "repeats = 10001"), "6:11", &["an integer from 1 to 10000"]);
        assert_refused(
            &good_but("sides = \"one\"", "sides = \"on\""),
            "4:64",
            &["\"one\", \"two\"", "did you mean `one`?"],
        );
    }

    #[test]
    fn integers_beyond_the_machine_are_refused_and_the_largest_is_accepted() {
        let largest = accepted(&good_but("seed = 20", "seed = 18446744073709551615"));
        assert_eq!(largest.integer_u64("seed"), u64::MAX);
        for value in ["18446744073709551616", &"9".repeat(400)] {
            assert_refused(&good_but("seed = 20", &format!("seed = {value}")), "2:8", &["is refused"]);
        }
        let beyond = good_but("variance = 1.5", &format!("variance = {}", "9".repeat(400)));
        assert_refused(&beyond, "4:51", &["a number greater than 0"]);
        assert!(refused(&beyond).lines().all(|line| line.chars().count() < 200));
    }

    #[test]
    fn integers_count_as_numbers_in_any_notation() {
        for value in ["2", "0x2", "2.0", "20e-1", "0b10"] {
            let settings = accepted(&good_but("variance = 1.5", &format!("variance = {value}")));
            assert_eq!(settings.table("augment").number("variance"), 2.0);
        }
        assert_eq!(
            accepted(&good_but("samples = 1024", "samples = 1_024")).table("data").integer("samples"),
            1024
        );
    }

    #[test]
    fn a_wrong_or_missing_kind_is_refused_with_the_kinds_there_are() {
        assert_refused(
            &good_but("kind = \"block\"", "kind = \"blok\""),
            "4:20",
            &["`augment` has no kind \"blok\"; allowed: \"isotropic\", \"block\"", "did you mean `block`?"],
        );
        assert_refused(
            &good_but("kind = \"block\", ", ""),
            "4:11",
            &["`augment` has no `kind`; allowed: \"isotropic\", \"block\""],
        );
        assert_refused(
            &good_but("kind = \"block\"", "kind = 3"),
            "4:20",
            &["`augment.kind`", "\"isotropic\", \"block\""],
        );
    }

    #[test]
    fn lists_are_checked_value_by_value() {
        assert_refused(
            &good_but("[16, 16]", "[16, 0]"),
            "5:44",
            &["a value of `encoder.widths` = 0 is refused"],
        );
        assert_refused(
            &good_but("[16, 16]", "[16]"),
            "5:39",
            &["is a list of 1; allowed: a list of 2 or more integers"],
        );
        let diagonal = |values: &str| {
            good_but(
                "samples = 1024",
                &format!("samples = 4, covariance = {{ kind = \"diagonal\", variances = {values} }}"),
            )
        };
        assert_refused(&diagonal("[]"), "3:98", &["`data.covariance.variances` is a list of 0"]);
        assert_refused(&diagonal("[1.0, -2.0]"), "3:104", &["= -2.0 is refused"]);
        let settings = accepted(&diagonal("[1, 0.5]"));
        assert_eq!(settings.table("data").table("covariance").numbers("variances"), [1.0, 0.5]);
    }

    #[test]
    fn a_name_listed_twice_is_refused() {
        let observe = |list: &str| format!("{GOOD}observe = {{ quantities = {list} }}");
        assert_refused(
            &observe("[\"x\", \"loss\", \"x\"]"),
            "6:40",
            &["\"x\" stands twice in `observe.quantities`"],
        );
        assert_refused(&observe("[\"spectrum\"]"), "6:27", &["did you mean `spectra`?"]);
    }

    #[test]
    fn one_or_more_tables_come_in_three_notations() {
        for figures in [
            "figure = { kind = \"spectrum\", of = \"w1\" }",
            "figure = [{ kind = \"spectrum\", of = \"w1\" }]",
            "[[figure]]\nkind = \"spectrum\"\nof = \"w1\"",
        ] {
            let settings = accepted(&format!("{GOOD}{figures}"));
            assert_eq!(settings.tables("figure")[0].text("of"), "w1");
        }
        assert!(accepted(GOOD).tables("figure").is_empty());
        assert_refused(&(GOOD.to_string() + "figure = []"), "6:10", &["`figure` is empty"]);
        assert_refused(&(GOOD.to_string() + "figure = [{ kind = \"loss\" }, 3]"), "6:30", &["the integer 3"]);
    }

    #[test]
    fn sections_dotted_keys_and_inline_tables_mean_the_same() {
        let dotted = good_but(
            "augment = { kind = \"block\", block = 8, variance = 1.5, sides = \"one\" }",
            "augment.kind = \"block\"\naugment.block = 8\naugment.variance = 1.5\naugment.sides = \"one\"",
        );
        let section = good_but("data = { kind = \"gaussian\", dim = 16, samples = 1024 }\n", "")
            + "[data]\nkind = \"gaussian\"\ndim = 16\nsamples = 1024\n[data.covariance]\nkind = \"isotropic\"\nvariance = 1\n";
        assert_eq!(accepted(&dotted), accepted(GOOD));
        assert_eq!(accepted(&section), accepted(GOOD));
    }

    #[test]
    fn relative_paths_start_at_the_folder_of_the_file() {
        let with = |path: &str| {
            let text = good_but(
                "{ kind = \"gaussian\", dim = 16, samples = 1024 }",
                &format!("{{ kind = \"file\", path = \"{path}\" }}"),
            );
            accepted(&text).table("data").path("path").to_path_buf()
        };
        assert_eq!(with("sub/x.npy"), Path::new("/base/sub/x.npy"));
        assert_eq!(with("/abs/x.npy"), Path::new("/abs/x.npy"));
        let empty =
            good_but("{ kind = \"gaussian\", dim = 16, samples = 1024 }", "{ kind = \"file\", path = \"\" }");
        assert_refused(&empty, "3:32", &["`data.path` is empty"]);
    }
}
