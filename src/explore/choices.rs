//! What can be set on the page, within which bounds, and the experiment file that it stands for.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The values that a choice can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// A number between bounds; `log`: a slider of equal ratios.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Whether equal lengths on the slider are equal ratios.
        log: bool,
    },
    /// A whole number between bounds.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// Whether equal lengths on the slider are equal ratios.
        log: bool,
    },
    /// One of a few words.
    OneOf(&'static [&'static str]),
}

/// One thing that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its name in the address of the page.
    pub name: &'static str,
    /// Its name on the page.
    pub label: &'static str,
    /// What it can be.
    pub values: Values,
    /// What it is at first.
    pub default: &'static str,
    /// Where it has an effect: another choice, and the values of it; everywhere where this is empty.
    pub only_with: &'static [(&'static str, &'static [&'static str])],
}

const ON_SAMPLES: &[(&str, &[&str])] = &[("dynamics", &["flow", "gd", "sgd"])];
const IN_STEPS: &[(&str, &[&str])] = &[("dynamics", &["gd", "sgd"])];
const IN_TIME: &[(&str, &[&str])] = &[("dynamics", &["population", "flow"])];

/// Everything that can be set, in the order of the page. The bounds keep runs to seconds as
/// a rule; a run that takes longer than a minute is stopped.
pub const CHOICES: &[Choice] = &[
    Choice {
        name: "dynamics",
        label: "dynamics",
        values: Values::OneOf(&["population", "flow", "gd", "sgd"]),
        default: "population",
        only_with: &[],
    },
    Choice {
        name: "loss",
        label: "loss",
        values: Values::OneOf(&["infonce-euclidean", "infonce-dot", "infonce-cosine"]),
        default: "infonce-euclidean",
        only_with: &[],
    },
    Choice {
        name: "temperature",
        label: "temperature τ",
        values: Values::Number { min: 0.05, max: 10.0, log: true },
        default: "0.5",
        only_with: &[("loss", &["infonce-dot", "infonce-cosine"])],
    },
    Choice {
        name: "depth",
        label: "layers L",
        values: Values::Integer { min: 1, max: 6, log: false },
        default: "2",
        only_with: &[],
    },
    Choice {
        name: "dim",
        label: "dimension d",
        values: Values::Integer { min: 2, max: 32, log: false },
        default: "16",
        only_with: &[],
    },
    Choice {
        name: "samples",
        label: "samples N",
        values: Values::Integer { min: 8, max: 2048, log: true },
        default: "512",
        only_with: ON_SAMPLES,
    },
    Choice {
        name: "noise",
        label: "noise on",
        values: Values::OneOf(&["all coordinates", "half the coordinates"]),
        default: "half the coordinates",
        only_with: &[],
    },
    Choice {
        name: "variance",
        label: "variance of one noise draw k",
        values: Values::Number { min: 0.0, max: 10.0, log: false },
        default: "1.5",
        only_with: &[],
    },
    Choice {
        name: "sides",
        label: "noise on views",
        values: Values::OneOf(&["one", "two"]),
        default: "one",
        only_with: &[],
    },
    Choice {
        name: "start",
        label: "start",
        values: Values::OneOf(&["gaussian", "balanced", "spectrum"]),
        default: "gaussian",
        only_with: &[],
    },
    Choice {
        name: "scale",
        label: "scale of the start",
        values: Values::Number { min: 0.001, max: 2.0, log: true },
        default: "0.2",
        only_with: &[("start", &["gaussian", "balanced"])],
    },
    Choice {
        name: "decay",
        label: "decay of its spectrum",
        values: Values::Number { min: 0.0, max: 1.0, log: false },
        default: "0.2",
        only_with: &[("start", &["balanced", "spectrum"])],
    },
    Choice {
        name: "time_end",
        label: "training time",
        values: Values::Number { min: 0.1, max: 1000.0, log: true },
        default: "30.0",
        only_with: IN_TIME,
    },
    Choice {
        name: "rate",
        label: "learning rate η",
        values: Values::Number { min: 0.001, max: 2.0, log: true },
        default: "0.1",
        only_with: IN_STEPS,
    },
    Choice {
        name: "steps",
        label: "steps",
        values: Values::Integer { min: 10, max: 20_000, log: true },
        default: "1000",
        only_with: IN_STEPS,
    },
    Choice {
        name: "batch",
        label: "batch B",
        values: Values::Integer { min: 2, max: 1024, log: true },
        default: "128",
        only_with: &[("dynamics", &["sgd"])],
    },
    Choice {
        name: "seed",
        label: "seed",
        values: Values::Integer { min: 0, max: 1_000_000, log: false },
        default: "20",
        only_with: &[],
    },
];

/// Recorded times of a run.
const RECORDED: usize = 150;

/// A setting of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices(BTreeMap<&'static str, String>);

impl Default for Choices {
    fn default() -> Self {
        Choices(CHOICES.iter().map(|choice| (choice.name, choice.default.to_string())).collect())
    }
}

impl Choices {
    /// The setting that these names and values stand for; what is not named is as at first.
    ///
    /// # Errors
    /// Says which name or value is not allowed, and what is.
    pub fn of(given: &[(String, String)]) -> Result<Choices, String> {
        let mut choices = Choices::default();
        let mut seen = Vec::new();
        for (name, value) in given {
            let Some(choice) = CHOICES.iter().find(|choice| choice.name == name) else {
                let names: Vec<&str> = CHOICES.iter().map(|choice| choice.name).collect();
                return Err(format!("there is no `{}`; allowed: {}", shortened(name), names.join(", ")));
            };
            if seen.contains(&choice.name) {
                return Err(format!("{} is given twice", choice.label));
            }
            seen.push(choice.name);
            choices.0.insert(choice.name, choice.checked(value)?);
        }
        Ok(choices)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The experiment file of this setting.
    pub fn to_toml(&self) -> String {
        let text = |name: &str| self.text(name);
        let number = |name: &str| format!("{:?}", text(name).parse::<f64>().unwrap_or_default());
        let dim: usize = text("dim").parse().unwrap_or(2);
        let layers: usize = text("depth").parse().unwrap_or(1);
        let augment = match text("noise") {
            "half the coordinates" => format!("kind = \"block\", block = {}", (dim / 2).max(1)),
            _ => "kind = \"isotropic\"".to_string(),
        };
        let init = match text("start") {
            "balanced" => {
                format!("kind = \"balanced\", scale = {}, decay = {}", number("scale"), number("decay"))
            }
            "spectrum" => format!("kind = \"spectrum\", decay = {}", number("decay")),
            _ => format!("kind = \"gaussian\", std = {}", number("scale")),
        };
        let temperature = match text("loss") {
            "infonce-euclidean" => String::new(),
            _ => format!(", temperature = {}", number("temperature")),
        };
        let (dynamics, end) = match text("dynamics") {
            kind @ ("population" | "flow") => (
                // The limit keeps a stiff flow from going on for minutes.
                format!(
                    "kind = \"{kind}\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = {}, max_steps = 100000",
                    number("time_end")
                ),
                text("time_end").parse().unwrap_or(1.0),
            ),
            kind => {
                let (rate, steps) = (number("rate"), text("steps"));
                let batch =
                    if kind == "sgd" { format!(", batch = {}", text("batch")) } else { String::new() };
                let end = rate.parse().unwrap_or(1.0) * steps.parse::<f64>().unwrap_or(1.0);
                (format!("kind = \"{kind}\", rate = {rate}, steps = {steps}{batch}"), end)
            }
        };
        let alignment = if layers > 1 { ", \"alignment\"" } else { "" };
        let widths = vec![dim.to_string(); layers + 1].join(", ");
        let mut toml = String::new();
        let _ = write!(
            toml,
            "title    = \"Explored\"\n\
             seed     = {}\n\
             data     = {{ kind = \"gaussian\", dim = {dim}, samples = {} }}\n\
             augment  = {{ {augment}, variance = {}, sides = \"{}\" }}\n\
             encoder  = {{ kind = \"linear\", widths = [{widths}], init = {{ {init} }} }}\n\
             loss     = {{ kind = \"{}\"{temperature} }}\n\
             dynamics = {{ {dynamics} }}\n\
             observe  = {{ times = {{ kind = \"log\", first = {:?}, count = {RECORDED} }}, quantities = [\"loss\", \"spectra\", \"x\", \"ranks\"{alignment}] }}\n",
            text("seed"),
            text("samples"),
            number("variance"),
            text("sides"),
            text("loss"),
            end * 1e-3,
        );
        toml
    }
}

impl Choice {
    /// The value as it is kept.
    fn checked(&self, value: &str) -> Result<String, String> {
        let wrong = || format!("{} = {}; allowed: {}", self.label, shortened(value), self.allowed());
        match self.values {
            Values::OneOf(words) => words.iter().find(|word| **word == value).map(ToString::to_string),
            Values::Integer { min, max, .. } => value
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .map(|number: u64| number.to_string()),
            Values::Number { min, max, .. } => value
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                // There is no negative zero on the page.
                .map(|number: f64| format!("{:?}", number + 0.0)),
        }
        .ok_or_else(wrong)
    }

    /// What it can be, in words.
    pub fn allowed(&self) -> String {
        match self.values {
            Values::OneOf(words) => words.join(", "),
            Values::Integer { min, max, .. } => format!("whole numbers from {min} to {max}"),
            Values::Number { min, max, .. } => format!("numbers from {min} to {max}"),
        }
    }
}

/// The beginning of a text that may be of any length.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;
    use std::path::Path;

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    fn parsed(pairs: &[(&str, &str)]) -> Result<Experiment, String> {
        let text = Choices::of(&given(pairs))?.to_toml();
        Experiment::parse("explored.toml", Path::new("."), &text, &[]).map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_setting_within_the_bounds_is_an_experiment() {
        for dynamics in ["population", "flow", "gd", "sgd"] {
            for loss in ["infonce-euclidean", "infonce-dot", "infonce-cosine"] {
                for start in ["gaussian", "balanced", "spectrum"] {
                    let all = [("dynamics", dynamics), ("loss", loss), ("start", start)];
                    // There is no closed form of this limit, and the error says so.
                    let allowed = (dynamics, loss) != ("population", "infonce-cosine");
                    assert_eq!(parsed(&all).is_ok(), allowed, "{all:?}: {:?}", parsed(&all).err());
                }
            }
        }
        for choice in CHOICES {
            let ends = match choice.values {
                Values::OneOf(words) => words.iter().map(ToString::to_string).collect(),
                Values::Integer { min, max, .. } => vec![min.to_string(), max.to_string()],
                Values::Number { min, max, .. } => vec![min.to_string(), max.to_string()],
            };
            for end in ends {
                let samples = ("samples", "2048");
                let pairs = [("dynamics", "sgd"), samples, (choice.name, &end)];
                let pairs = if choice.name == "samples" {
                    [("dynamics", "flow"), (choice.name, &end), ("seed", "1")]
                } else {
                    pairs
                };
                if choice.name != "dynamics" {
                    assert!(parsed(&pairs).is_ok(), "{pairs:?}: {:?}", parsed(&pairs).err());
                }
            }
            assert_eq!(choice.checked(choice.default).as_deref(), Ok(choice.default), "{}", choice.name);
        }
    }

    #[test]
    fn zero_has_no_sign() {
        for zero in ["0", "-0", "-0.0", "-0e5"] {
            let toml = Choices::of(&given(&[("variance", zero)])).unwrap().to_toml();
            assert!(toml.contains("variance = 0.0,"), "{toml}");
        }
        assert!(Choices::of(&given(&[("variance", "-1e-9")])).is_err());
    }

    #[test]
    fn what_is_beyond_the_bounds_unknown_or_given_twice_is_refused() {
        for (pairs, part) in [
            (&[("samples", "2049")][..], "whole numbers from 8 to 2048"),
            (&[("samples", "1e3")], "whole numbers"),
            (&[("variance", "NaN")], "numbers from 0 to 10"),
            (&[("variance", "inf")], "numbers from 0 to 10"),
            (&[("variance", "-0.1")], "numbers from 0 to 10"),
            (&[("loss", "\" }\nseed = 1")], "allowed: infonce-euclidean"),
            (&[("file", "/etc/passwd")], "there is no `file`; allowed: dynamics"),
            (&[("depth", "2"), ("depth", "3")], "layers L is given twice"),
        ] {
            let refused = Choices::of(&given(pairs)).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
        // Problems are told in the words of the page.
        let refused = Choices::of(&given(&[("dim", "99")])).unwrap_err();
        assert_eq!(refused, "dimension d = 99; allowed: whole numbers from 2 to 32");
        let long = "9".repeat(5000);
        assert!(Choices::of(&given(&[("depth", &long)])).unwrap_err().len() < 200);
    }
}
