//! A small declaration that resembles the real one, and helpers, for the tests of this room.

use super::keys::{Constant, Key, Kind, Presence, ValueType};
use super::{Document, Problem, Settings};
use Presence::{Default, Optional, Required};
use std::path::Path;

const fn key(name: &'static str, value: ValueType, presence: Presence) -> Key {
    Key { name, value, presence, about: "A key of the example." }
}

const fn kind(name: &'static str, keys: &'static [Key]) -> Kind {
    Kind { name, keys, about: "A kind of the example, with its formula.", source: "" }
}

const COUNT: ValueType = ValueType::at_least(1);
const SIDES: Key = key("sides", ValueType::Choice(&["one", "two"]), Required);

const COVARIANCES: &[Kind] = &[
    kind("isotropic", &[key("variance", ValueType::POSITIVE, Required)]),
    kind("diagonal", &[key("variances", ValueType::NON_NEGATIVE_NUMBERS, Required)]),
    kind("power-law", &[key("exponent", ValueType::ANY, Required)]),
];

const COVARIANCE: Key = key(
    "covariance",
    ValueType::OneOf(COVARIANCES),
    Default(Constant::Table(&[("kind", Constant::Text("isotropic")), ("variance", Constant::Number(1.0))])),
);

pub(super) const DATA: &[Kind] = &[
    kind("gaussian", &[key("dim", COUNT, Required), key("samples", COUNT, Required), COVARIANCE]),
    kind("file", &[key("path", ValueType::Path, Required)]),
];

pub(super) const AUGMENTS: &[Kind] = &[
    kind("isotropic", &[key("variance", ValueType::POSITIVE, Required), SIDES]),
    Kind {
        name: "block",
        keys: &[key("block", COUNT, Required), key("variance", ValueType::POSITIVE, Required), SIDES],
        about: "Noise on the last coordinates: x' = x + n, and n = 0 in the others, in a sentence that is long \
                enough to need more than one line.",
        source: "Jing et al., Section 4",
    },
];

const ENCODERS: &[Kind] = &[kind(
    "linear",
    &[
        key("widths", ValueType::Integers { min: 1, max: 1 << 20, at_least: 2 }, Required),
        key("bias", ValueType::Flag, Default(Constant::Flag(false))),
        key("projector", ValueType::Keys(&[key("width", COUNT, Required)]), Optional),
    ],
)];

const FIGURES: &[Kind] = &[kind("spectrum", &[key("of", ValueType::Text, Required)]), kind("loss", &[])];

const OBSERVE: &[Key] = &[
    key("quantities", ValueType::Choices(&["loss", "spectra", "x"]), Default(Constant::Texts(&["loss"]))),
    key("samples", COUNT, Default(Constant::Integer(1000))),
];

/// The keys of an experiment file, nearly.
pub(super) const ROOT: &[Key] = &[
    key("title", ValueType::Text, Optional),
    key("claims", ValueType::Texts, Optional),
    key("seed", ValueType::Integer { min: 0, max: u64::MAX }, Required),
    key("repeats", ValueType::Integer { min: 1, max: 10_000 }, Default(Constant::Integer(1))),
    key("data", ValueType::OneOf(DATA), Required),
    key("augment", ValueType::OneOf(AUGMENTS), Required),
    key("encoder", ValueType::OneOf(ENCODERS), Required),
    key("observe", ValueType::Keys(OBSERVE), Optional),
    key("sweep", ValueType::Sweep, Optional),
    key("figure", ValueType::OneOrMoreOf(FIGURES), Optional),
];

/// A file that the declaration accepts.
pub(super) const GOOD: &str = r#"title = "An example"
seed = 20
data = { kind = "gaussian", dim = 16, samples = 1024 }
augment = { kind = "block", block = 8, variance = 1.5, sides = "one" }
encoder = { kind = "linear", widths = [16, 16] }
"#;

/// Parses a text as the file `a.toml` in `/base`.
pub(super) fn parse(text: &str) -> Result<Document, Problem> {
    Document::parse("a.toml", Path::new("/base"), text)
}

/// The settings of a text that should be accepted.
pub(super) fn accepted(text: &str) -> Settings {
    parse(text).and_then(|document| document.validate(ROOT)).unwrap_or_else(|problem| panic!("{problem}"))
}

/// What is displayed for a text that should be refused, sweep included.
pub(super) fn refused(text: &str) -> String {
    match parse(text).and_then(|document| document.resolve(ROOT, super::CELL_LIMIT)) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(problem) => problem.to_string(),
    }
}

/// [`GOOD`] with one part replaced.
pub(super) fn good_but(part: &str, replacement: &str) -> String {
    assert!(GOOD.contains(part), "{part} is not in the example");
    GOOD.replacen(part, replacement, 1)
}
