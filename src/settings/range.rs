//! Ranges in a sweep: `{ from = 0.1, to = 10.0, count = 5, scale = "log" }` stands for a list of numbers.

use super::keys::{Constant, Key, Presence, ValueType};
use super::paths::Target;
use super::place::Place;
use super::problem::Problem;
use super::tree::{Entries, Node, Value};
use super::validate::table;

/// What a range looks like, for errors.
pub(super) const RANGE_FORM: &str = "{ from = 0.1, to = 10.0, count = 5, scale = \"log\" }";

/// The keys of a range.
const RANGE: &[Key] = &[
    Key { name: "from", value: ValueType::ANY, presence: Presence::Required, about: "First value" },
    Key { name: "to", value: ValueType::ANY, presence: Presence::Required, about: "Last value" },
    Key {
        name: "count",
        value: ValueType::Integer { min: 2, max: 1_000_000 },
        presence: Presence::Required,
        about: "Number of values, both ends included",
    },
    Key {
        name: "scale",
        value: ValueType::Choice(&["linear", "log"]),
        presence: Presence::Default(Constant::Text("linear")),
        about: "Equal distances, or equal ratios between values greater than 0",
    },
];

/// The values of a range for `key`, both ends as they are given, those between rounded to 12 digits, on a linear scale of the end
/// that is further from 0: the same on every machine, and the same where a finer range meets a coarser one. Where the key takes
/// whole numbers, they are rounded to such.
pub(super) fn values(
    key: &str,
    entries: &Entries,
    place: &Place,
    target: Target,
) -> Result<Vec<Node>, Problem> {
    if !matches!(target, Target::Number | Target::Integer) {
        let message = format!(
            "the sweep of `{key}` cannot be a range, which gives numbers, and `{key}` takes something else; allowed: a list"
        );
        return Err(Problem::at(place, message));
    }
    let range = table(key, entries, place, RANGE)?;
    let (from, to, count) = (range.number("from"), range.number("to"), range.integer("count"));
    let log = range.text("scale") == "log";
    for (end, value) in [("from", from), ("to", to)] {
        let refused = |allowed: &str| {
            let message = format!("`{key}.{end}` = {value:?} is refused; allowed: {allowed}");
            Err(range.problem(end, message))
        };
        if log && value <= 0.0 {
            return refused("a number greater than 0, as the scale is \"log\"");
        }
        if target == Target::Integer && value.fract() != 0.0 {
            return refused(&format!("a whole number, as for `{key}`"));
        }
    }
    let between = |at: usize| {
        let part = at as f64 / (count - 1) as f64;
        // Each end with its own weight, so that no ratio or difference of the two overflows.
        let value = if log {
            rounded(from.powf(1.0 - part) * to.powf(part), 0)
        } else {
            let value = from * (1.0 - part) + to * part;
            rounded(value, exponent(from.abs().max(to.abs())) - exponent(value))
        };
        value.clamp(from.min(to), from.max(to))
    };
    let ends = [whole(entries, "from"), whole(entries, "to")];
    let value = |at: usize| match ends {
        [Some(first), Some(last)] if target == Target::Integer => Value::Integer(match at {
            0 => first,
            _ if at == count - 1 => last,
            _ if log => (between(at).round() as i128).clamp(first.min(last), first.max(last)),
            _ => {
                let (steps, at) = (count as i128 - 1, at as i128);
                // Rounded to the nearest, halves away from the first.
                first + (2 * (last - first).abs() * at + steps) / (2 * steps) * (last - first).signum()
            }
        }),
        _ if at == 0 => Value::Float(from),
        _ if at == count - 1 => Value::Float(to),
        _ => Value::Float(between(at)),
    };
    let values: Vec<Value> = (0..count).map(value).collect();
    let twice = values.windows(2).find_map(|pair| match pair {
        [Value::Integer(a), Value::Integer(b)] if a == b => Some(a.to_string()),
        [Value::Float(a), Value::Float(b)] if a == b => Some(format!("{a:?}")),
        _ => None,
    });
    if let Some(twice) = twice {
        let message = format!("this range has {twice} twice; allowed: distinct values");
        let remedy = if from == to { "let its ends differ" } else { "lower `count`" };
        return Err(range.problem("count", message).help(remedy));
    }
    Ok(values.into_iter().map(|value| Node { place: place.clone(), value }).collect())
}

/// The end of this name as a whole number, exact also where no floating-point number is.
fn whole(entries: &Entries, end: &str) -> Option<i128> {
    match entries.iter().find(|entry| entry.key == end)?.node.value {
        Value::Integer(integer) => Some(integer),
        // Of a number that is whole, as was checked.
        Value::Float(number) => Some(number as i128),
        _ => None,
    }
}

/// A number to 12 digits, of which `fewer` are left out as they are smaller than what counts.
fn rounded(value: f64, fewer: i32) -> f64 {
    match usize::try_from(11 - fewer) {
        Ok(digits) => format!("{value:.digits$e}").parse().unwrap_or(value),
        Err(_) => 0.0,
    }
}

/// The decimal exponent of a number.
fn exponent(value: f64) -> i32 {
    format!("{value:e}").rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::example::{GOOD, ROOT, parse, refused};
    use super::super::problem::Problem;
    use super::super::sweep::CELL_LIMIT;

    fn with(sweep: &str) -> String {
        format!("{GOOD}sweep = {sweep}\n")
    }

    fn swept(text: &str) -> Vec<String> {
        let cells = parse(text).and_then(|document| document.resolve(ROOT, CELL_LIMIT));
        let cells = cells.unwrap_or_else(|problem| panic!("{problem}"));
        cells.iter().map(|cell| cell.assignments[0].value.to_string()).collect()
    }

    #[test]
    fn a_range_is_the_list_of_its_values() {
        let variance = |range: &str| swept(&with(&format!("{{ \"augment.variance\" = {range} }}")));
        assert_eq!(variance("{ from = 0.1, to = 0.5, count = 5 }"), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(variance("{ from = 3, to = 1, count = 3, scale = \"linear\" }"), ["3.0", "2.0", "1.0"]);
        let log = variance("{ from = 1e-2, to = 100, count = 9, scale = \"log\" }");
        assert_eq!(
            log,
            [
                "0.01",
                "0.0316227766017",
                "0.1",
                "0.316227766017",
                "1.0",
                "3.16227766017",
                "10.0",
                "31.6227766017",
                "100.0"
            ]
        );
        let huge = variance("{ from = 1e308, to = 1.7e308, count = 3 }");
        assert_eq!(huge, ["1e308", "1.35e308", "1.7e308"]);
        let extreme = variance("{ from = 1e-300, to = 1e300, count = 3, scale = \"log\" }");
        assert_eq!(extreme, ["1e-300", "1.0", "1e300"]);
    }

    /// What makes the extension of a sweep find the runs that are there.
    #[test]
    fn a_finer_range_holds_the_values_of_a_coarser_one() {
        for (ends, scale) in [("from = 0.1, to = 1.3", "linear"), ("from = 0.03, to = 7.7", "log")] {
            let range = |count: usize| {
                swept(&with(&format!(
                    "{{ \"augment.variance\" = {{ {ends}, count = {count}, scale = \"{scale}\" }} }}"
                )))
            };
            let coarse = range(8);
            for times in 2..20 {
                let fine = range(7 * times + 1);
                assert!(coarse.iter().all(|value| fine.contains(value)), "{scale} {times}");
            }
        }
    }

    #[test]
    fn a_range_of_whole_numbers_stays_whole() {
        let samples = |range: &str| swept(&with(&format!("{{ \"data.samples\" = {range} }}")));
        assert_eq!(
            samples("{ from = 64, to = 4096, count = 7, scale = \"log\" }"),
            ["64", "128", "256", "512", "1024", "2048", "4096"]
        );
        assert_eq!(samples("{ from = 1, to = 10, count = 4 }"), ["1", "4", "7", "10"]);
        let shown = refused(&with("{ \"data.samples\" = { from = 1, to = 4, count = 9 } }"));
        assert!(shown.contains("has 1 twice") && shown.contains("lower `count`"), "{shown}");
        let shown = refused(&with("{ \"data.samples\" = { from = 1.5, to = 4, count = 2 } }"));
        assert!(shown.contains("`data.samples.from` = 1.5 is refused; allowed: a whole number"), "{shown}");
    }

    #[test]
    fn whole_numbers_are_exact_where_no_floating_point_number_is() {
        let seeds = |range: &str| swept(&with(&format!("{{ seed = {range} }}")));
        assert_eq!(
            seeds("{ from = 20261128000001, to = 20261128000009, count = 3 }"),
            ["20261128000001", "20261128000005", "20261128000009"]
        );
        let ends = ["9007199254740993", "9007199254740996", "9007199254740999"];
        assert_eq!(seeds("{ from = 9007199254740993, to = 9007199254740999, count = 3 }"), ends);
        let down = seeds("{ from = 9007199254740999, to = 9007199254740993, count = 3 }");
        assert_eq!(down, [ends[2], ends[1], ends[0]]);
    }

    #[test]
    fn a_range_across_zero_meets_it_and_none_leaves_its_ends() {
        let variance = |range: &str| swept(&with(&format!("{{ \"augment.variance\" = {range} }}")));
        let law = GOOD.replace(
            "samples = 1024",
            "samples = 1024, covariance = { kind = \"power-law\", exponent = 1.0 }",
        );
        let across = |from: f64, to: f64, count: usize| {
            let range = format!("{{ from = {from:?}, to = {to:?}, count = {count} }}");
            swept(&format!("{law}sweep = {{ \"data.covariance.exponent\" = {range} }}\n"))
        };
        assert_eq!(across(-0.1, 0.2, 4), ["-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(across(1.0, -0.5, 4), ["1.0", "0.5", "0.0", "-0.5"]);
        let shown = refused(&with(
            "{ \"augment.variance\" = { from = 1.000000000004, to = 1.000000000007, count = 30 } }",
        ));
        assert!(shown.contains("twice"), "{shown}");
        let narrow = variance("{ from = 1.000000000004, to = 1.000000000007, count = 2 }");
        assert_eq!(narrow, ["1.000000000004", "1.000000000007"]);
    }

    #[test]
    fn ranges_stand_in_any_notation_and_in_a_zip() {
        let list = swept(&with("{ \"augment.variance\" = [1.0, 1.5, 2.0] }"));
        for text in [
            with("{ augment.variance = { from = 1, to = 2, count = 3 } }"),
            format!("{GOOD}[sweep.\"augment.variance\"]\nfrom = 1\nto = 2\ncount = 3\n"),
            format!("{GOOD}[sweep.augment.variance]\nfrom = 1\nto = 2\ncount = 3\n"),
            with("{ zip = { augment.variance = { from = 1, to = 2, count = 3 }, seed = [4, 5, 6] } }"),
        ] {
            assert_eq!(swept(&text), list, "{text}");
        }
        let shown = refused(&with("{ zip = { seed = [4, 5], data.dim = { from = 1, to = 3, count = 3 } } }"));
        assert!(shown.contains("`seed` has 2 values and `data.dim` has 3 values"), "{shown}");
    }

    #[test]
    fn set_replaces_a_range_and_can_give_one() -> Result<(), Problem> {
        let ranged = "{ from = 1, to = 2, count = 3 }";
        for form in [
            format!("{{ augment.variance = {ranged}, seed = [7] }}"),
            format!("{{ zip = {{ augment.variance = {ranged} }}, seed = [7] }}"),
        ] {
            let mut document = parse(&with(&form))?;
            document.set(ROOT, "augment.variance=5")?;
            assert_eq!(document.resolve(ROOT, CELL_LIMIT)?.len(), 1, "{form}");
            let mut document = parse(&with(&form))?;
            document.set(ROOT, "sweep.zip={ augment.variance = { from = 1, to = 4, count = 4 } }")?;
            assert_eq!(document.resolve(ROOT, CELL_LIMIT)?.len(), 4, "{form}");
            document.set(ROOT, "sweep.augment.variance={ from = 1, to = 9, count = 9 }")?;
            assert_eq!(document.resolve(ROOT, CELL_LIMIT)?.len(), 9, "{form}");
        }
        Ok(())
    }

    #[test]
    fn a_range_that_makes_no_sense_is_refused_where_it_is_wrong() {
        for (range, said) in [
            ("{ from = 1, to = 2 }", "lacks `count`"),
            ("{ from = 1, to = 2, count = 1 }", "allowed: an integer from 2 to"),
            ("{ from = 1, to = 1, count = 2 }", "let its ends differ"),
            ("{ from = 1, to = 2, count = 3, scale = \"log10\" }", "allowed: \"linear\", \"log\""),
            ("{ from = 0, to = 2, count = 3, scale = \"log\" }", "allowed: a number greater than 0"),
            ("{ form = 1, to = 2, count = 3 }", "did you mean `from`?"),
            ("{ from = 1, to = 2, count = 10_000_000 }", "allowed: an integer from 2 to"),
            (
                "{ from = -1, to = 2, count = 3 }",
                "`augment.variance` = -1.0 is refused; allowed: a number greater than 0",
            ),
            ("{}", "lacks `from`, `to`, `count`"),
        ] {
            let shown = refused(&with(&format!("{{ \"augment.variance\" = {range} }}")));
            assert!(shown.starts_with("a.toml:6:") && shown.contains(said), "{said:?} is not in:\n{shown}");
        }
        let shown = refused(&with("{ \"augment.sides\" = { from = 1, to = 2, count = 3 } }"));
        assert!(shown.contains("cannot be a range, which gives numbers"), "{shown}");
        let shown = refused(&with("{ \"encoder.widths\" = { from = 1, to = 2, count = 3 } }"));
        assert!(shown.contains("cannot be a range"), "{shown}");
    }
}
