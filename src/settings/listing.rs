//! The text of `contraflow list`.

use super::keys::{Constant, Key, Kind, Presence};
use std::fmt::Write;

/// Each kind with what it is, its keys with what they allow, and its source.
pub fn describe(kinds: &[Kind]) -> String {
    let mut out = String::new();
    for (at, kind) in kinds.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "{}", kind.name);
        wrapped(&mut out, "  ", kind.about);
        for key in kind.keys {
            let _ = writeln!(out, "  - {}: {}{}", key.name, key.value.allowed(), presence(key));
            wrapped(&mut out, "      ", key.about);
        }
        if !kind.source.is_empty() {
            wrapped(&mut out, "  ", &format!("Source: {}", kind.source));
        }
    }
    out
}

fn presence(key: &Key) -> String {
    match &key.presence {
        Presence::Required => String::new(),
        Presence::Optional => "; optional".into(),
        Presence::Default(constant) => format!("; default {}", constant_text(constant)),
    }
}

fn constant_text(constant: &Constant) -> String {
    match constant {
        Constant::Number(number) => format!("{number:?}"),
        Constant::Integer(integer) => integer.to_string(),
        Constant::Flag(flag) => flag.to_string(),
        Constant::Text(text) => format!("{text:?}"),
        Constant::Texts(texts) => format!("{texts:?}"),
        Constant::Table(items) => {
            let inner: Vec<String> =
                items.iter().map(|(key, value)| format!("{key} = {}", constant_text(value))).collect();
            format!("{{ {} }}", inner.join(", "))
        }
    }
}

/// Adds `text` in lines of at most 100 characters, each after `indent`.
fn wrapped(out: &mut String, indent: &str, text: &str) {
    const WIDTH: usize = 100;
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    if column > 0 {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example::{AUGMENTS, DATA};

    #[test]
    fn the_listing_names_kinds_keys_ranges_defaults_and_sources() {
        let text = describe(AUGMENTS);
        for part in ["block\n", "  - variance: a number greater than 0", "Source: Jing et al."] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(describe(DATA).contains("default { kind = \"isotropic\", variance = 1.0 }"));
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }
}
