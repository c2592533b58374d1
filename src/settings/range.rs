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

/// The values of a range for `key`, both ends as they are given, those between rounded to 12 significant digits: the same
/// on every machine, and the same where a finer range meets a coarser one. Where the key takes whole numbers, they are
/// rounded to such.
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
    let value = |at: usize| {
        let part = at as f64 / (count - 1) as f64;
        let between = match (at, log) {
            (0, _) => from,
            _ if at == count - 1 => to,
            // Each end with its own weight, so that no ratio or difference of the two overflows.
            (_, true) => rounded(from.powf(1.0 - part) * to.powf(part)),
            (_, false) => rounded(from * (1.0 - part) + to * part),
        };
        if target == Target::Integer { between.round() } else { between }
    };
    let values: Vec<f64> = (0..count).map(value).collect();
    if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("this range has {:?} twice; allowed: distinct values", pair[0]);
        let remedy = if from == to { "let its ends differ" } else { "lower `count`" };
        return Err(range.problem("count", message).help(remedy));
    }
    let node = |value: f64| {
        let value =
            if target == Target::Integer { Value::Integer(value as i128) } else { Value::Float(value) };
        Node { place: place.clone(), value }
    };
    Ok(values.into_iter().map(node).collect())
}

fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
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
        assert!(shown.contains("has 1.0 twice") && shown.contains("lower `count`"), "{shown}");
        let shown = refused(&with("{ \"data.samples\" = { from = 1.5, to = 4, count = 2 } }"));
        assert!(shown.contains("`data.samples.from` = 1.5 is refused; allowed: a whole number"), "{shown}");
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
