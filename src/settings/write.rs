//! Values as TOML text.

use super::resolved::{Setting, Settings};
use super::tree::{Node, Value};
use std::borrow::Cow;
use std::fmt::Write;

impl Settings {
    /// The table as TOML: every key, also those that were filled in; one key of this table a line, tables inside
    /// it inline, paths absolute. Floats are written with the fewest digits that give the same number again.
    /// Reading the text gives the same settings.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for (key, value) in self.lines() {
            let _ = write!(out, "{} = ", toml_key(key));
            write_setting(&mut out, &value);
            out.push('\n');
        }
        out
    }

    /// Keys in declared order, `kind` first, each with its value.
    fn lines(&self) -> Vec<(&'static str, Cow<'_, Setting>)> {
        let kind = self.chosen_kind().map(|kind| ("kind", Cow::Owned(Setting::Text(kind.to_string()))));
        kind.into_iter().chain(self.given().map(|(name, value)| (name, Cow::Borrowed(value)))).collect()
    }
}

fn write_setting(out: &mut String, setting: &Setting) {
    match setting {
        Setting::Number(number) => write_number(out, *number),
        Setting::Integer(integer) => {
            let _ = write!(out, "{integer}");
        }
        Setting::Flag(flag) => {
            let _ = write!(out, "{flag}");
        }
        Setting::Text(text) => write_text(out, text),
        // Validation has refused paths that are not Unicode.
        Setting::Path(path) => write_text(out, &path.to_string_lossy()),
        Setting::Numbers(numbers) => write_list(out, numbers, |out, number| write_number(out, *number)),
        Setting::Integers(integers) => write_list(out, integers, |out, integer| {
            let _ = write!(out, "{integer}");
        }),
        Setting::Texts(texts) => write_list(out, texts, |out, text| write_text(out, text)),
        Setting::Table(settings) => write_table(out, settings),
        Setting::Tables(tables) if tables.len() == 1 => write_table(out, &tables[0]),
        Setting::Tables(tables) => write_list(out, tables, write_table),
    }
}

fn write_list<T>(out: &mut String, items: &[T], write_item: impl Fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_item(out, item);
    }
    out.push(']');
}

fn write_table(out: &mut String, settings: &Settings) {
    let lines = settings.lines();
    if lines.is_empty() {
        out.push_str("{}");
        return;
    }
    for (at, (key, value)) in lines.iter().enumerate() {
        out.push_str(if at == 0 { "{ " } else { ", " });
        let _ = write!(out, "{} = ", toml_key(key));
        write_setting(out, value);
    }
    out.push_str(" }");
}

fn write_number(out: &mut String, number: f64) {
    // Rust's debug form is the shortest that reads back, and always has a point or an exponent, as TOML wants it.
    let _ = write!(out, "{number:?}");
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn toml_key(key: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    if !key.is_empty() && key.chars().all(bare) {
        return key.to_string();
    }
    let mut quoted = String::new();
    write_text(&mut quoted, key);
    quoted
}

/// A value of a sweep as text: strings without quotes, numbers in their shortest form, the rest as inline TOML.
pub(super) fn value_text(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        _ => {
            let mut out = String::new();
            write_node(&mut out, node);
            out
        }
    }
}

fn write_node(out: &mut String, node: &Node) {
    match &node.value {
        Value::Text(text) => write_text(out, text),
        Value::Integer(integer) => {
            let _ = write!(out, "{integer}");
        }
        Value::Float(number) => write_number(out, *number),
        Value::Flag(flag) => {
            let _ = write!(out, "{flag}");
        }
        Value::Huge | Value::Moment => out.push_str(node.place.text()),
        Value::List(items) => write_list(out, items, write_node),
        Value::Table(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Table(entries) => {
            for (at, entry) in entries.iter().enumerate() {
                out.push_str(if at == 0 { "{ " } else { ", " });
                let _ = write!(out, "{} = ", toml_key(&entry.key));
                write_node(out, &entry.node);
            }
            out.push_str(" }");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::example::{GOOD, accepted, good_but};

    #[test]
    fn the_written_plan_reads_back_as_the_same_settings() {
        let rich = good_but("\"An example\"", r#""Quote \" backslash \\ tab \t bell \u0007 del \u007F é""#)
            + "claims = [\"a\", \"b\"]\nobserve = { quantities = [\"x\", \"loss\"] }\n\
               figure = [{ kind = \"loss\" }, { kind = \"spectrum\", of = \"end\" }]\n";
        let file = good_but(
            "{ kind = \"gaussian\", dim = 16, samples = 1024 }",
            "{ kind = \"file\", path = \"x y.npy\" }",
        );
        for text in [GOOD, &rich, &file] {
            let settings = accepted(text);
            let written = settings.to_toml();
            assert_eq!(accepted(&written), settings, "{written}");
            assert_eq!(accepted(&written).to_toml(), written);
        }
        let written = accepted(&file).to_toml();
        assert!(written.contains("data = { kind = \"file\", path = \"/base/x y.npy\" }\n"), "{written}");
    }

    #[test]
    fn settings_that_differ_in_one_value_are_not_equal() {
        assert_ne!(accepted(&good_but("variance = 1.5", "variance = 1.25")), accepted(GOOD));
        assert_ne!(accepted(&good_but("title = \"An example\"\n", "")), accepted(GOOD));
    }

    #[test]
    fn numbers_are_written_exactly_and_minus_zero_as_zero() {
        for number in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, 1e-10, 1e16, 123_456_789.0, 1.0] {
            let text = good_but("variance = 1.5", &format!("variance = {number:e}"));
            let written = accepted(&text).to_toml();
            assert_eq!(accepted(&written).table("augment").number("variance").to_bits(), number.to_bits());
        }
        let zero = |zero: &str| {
            good_but(
                "samples = 1024",
                &format!("samples = 4, covariance = {{ kind = \"power-law\", exponent = {zero} }}"),
            )
        };
        assert_eq!(accepted(&zero("-0.0")).to_toml(), accepted(&zero("0")).to_toml());
    }

    #[test]
    fn the_plan_has_one_root_key_a_line_in_declared_order_with_the_kind_first() {
        let written = accepted(&format!("repeats = 3\n{GOOD}")).to_toml();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[2], "repeats = 3");
        assert_eq!(lines[4], "augment = { kind = \"block\", block = 8, variance = 1.5, sides = \"one\" }");
        assert_eq!(lines.len(), 6);
    }
}
