//! Whether the figures over parameters and over time show what there is.

use crate::record::{ARRAYS, declared_array, follows_time};
use crate::settings::{Assignment, Problem, Settings, meant, shortened};

/// Which of the observed quantities records arrays of a declared name. What is not here is not checked beforehand.
const RECORDED_BY: &[(&str, &str)] = &[
    ("loss", "loss"),
    ("sigma_w*", "spectra"),
    ("sigma_p*", "spectra"),
    ("sigma_end_to_end", "spectra"),
    ("sigma_embedding", "spectra"),
    ("sigma_representation", "spectra"),
    ("eig_x", "x"),
    ("alignment_*", "alignment"),
    ("alignment_score_*", "alignment"),
    ("alignment_resolved_*", "alignment"),
    ("imbalance_*", "imbalance"),
    ("effective_rank_*", "ranks"),
    ("stable_rank_*", "ranks"),
    ("participation_ratio_*", "ranks"),
    ("numerical_rank_*", "ranks"),
    ("view_distance", "uniformity"),
    ("uniformity", "uniformity"),
    ("sigma_augmented", "augmented"),
    ("sigma_along_bias", "bias"),
    ("bias_norm", "bias"),
    ("theory_end_to_end", "theory"),
    ("theory_augmented", "augmented"),
    ("theory_limit", "theory"),
    ("theory_limit_augmented", "augmented"),
    ("theory_rank", "theory"),
    ("lifetime", "lifetime"),
    ("lifetime_resolution", "lifetime"),
    ("theory_lifetime", "lifetime"),
    ("theory_lifetime_law", "lifetime"),
    ("population_loss", "population"),
    ("population_loss_distance", "population"),
    ("population_x_distance", "population"),
    ("population_pair_weight", "population"),
    ("population_samples", "population"),
    ("pair_weight", "population"),
    ("separable", "separability"),
    ("margin_lower", "separability"),
    ("margin_upper", "separability"),
    ("sigma_gradient_*", "network"),
    ("eig_x_pairs", "network"),
    ("theory_rank_pairs", "network"),
    ("probe_accuracy", "network"),
    ("probe_accuracy_first", "network"),
    ("neighbour_accuracy", "network"),
];

/// Whether the name can be that of a file.
pub(super) fn check_name(figure: &Settings) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match figure.optional_text("name") {
        Some(name) if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) => {
            let message = format!(
                "name = \"{name}\" must consist of letters, digits, - _ and . and not start with a dot"
            );
            Err(figure.problem("name", message))
        }
        _ => Ok(()),
    }
}

/// Checks a figure of the kind against, map or over-time. `swept` are the swept keys with the values of one cell, and
/// `quantities` what is observed.
pub(super) fn check(
    figure: &Settings,
    swept: &[Assignment],
    quantities: &[impl AsRef<str>],
) -> Result<(), Problem> {
    let shape = check_array(figure, "value", quantities)?;
    let others: &[&str] = match figure.kind() {
        "against" => &["theory", "limit"],
        "map" => &["marks"],
        _ => &["theory"],
    };
    for key in others.iter().filter(|key| figure.has(key)) {
        check_array(figure, key, quantities)?;
    }
    let value = figure.text("value");
    let single = matches!(shape, "T" | "scalar");
    if let Some(rank) = figure.optional_integer("rank").filter(|rank| single && *rank > 1) {
        let message = format!("rank = {rank}, but {value} is a single number; allowed: 1, or no rank");
        return Err(figure.problem("rank", message));
    }
    let over_time = figure.kind() == "over-time";
    if !follows_time(shape) {
        let refused = [
            ("kind", over_time, "a figure over time"),
            ("relative", figure.flag("relative"), "relative"),
            ("at", !over_time && figure.has("at"), "at"),
            ("x", !over_time && figure.text("x") == "start", "x = \"start\""),
        ];
        if let Some((key, _, what)) = refused.iter().find(|(_, asked, _)| *asked) {
            let message = format!(
                "{what} needs a value that is recorded over time, but {value} is one for the whole run; \
                 allowed: arrays whose shape starts with T, see `contraflow list arrays`"
            );
            return Err(figure.problem(key, message));
        }
    }
    match figure.kind() {
        "against" => {
            if figure.text("x") != "start" {
                check_axis(figure, "x", swept)?;
            }
            if figure.has("threshold_label") && !figure.has("threshold") {
                let message = "threshold_label names a line that is not there; allowed: with threshold";
                return Err(figure.problem("threshold_label", message));
            }
            if figure.text("x_scale") == "log"
                && figure.optional_number("threshold").is_some_and(|x| x <= 0.0)
            {
                let message = "threshold must be greater than 0 on a logarithmic axis; raise it, or set x_scale = \"linear\"";
                return Err(figure.problem("threshold", message));
            }
            check_each(figure, swept, Some(figure.text("x")))
        }
        "map" => check_map(figure, swept),
        _ => check_each(figure, swept, None),
    }
}

fn check_map(figure: &Settings, swept: &[Assignment]) -> Result<(), Problem> {
    check_axis(figure, "x", swept)?;
    check_axis(figure, "y", swept)?;
    if figure.text("x") == figure.text("y") {
        let message = format!("x and y are both {}; allowed: two different swept keys", figure.text("y"));
        return Err(figure.problem("y", message));
    }
    if let Some(range) = figure.optional_numbers("range") {
        let log = figure.text("value_scale") == "log";
        let [low, high] = *range else {
            let message = format!("range has {} numbers; allowed: two, the lower end first", range.len());
            return Err(figure.problem("range", message));
        };
        if low >= high || (log && low <= 0.0) {
            let positive = if log { ", both greater than 0 on a logarithmic scale" } else { "" };
            let message =
                format!("range = [{low}, {high}] spans no colours; allowed: the lower end first{positive}");
            return Err(figure.problem("range", message));
        }
    }
    if figure.has("mark_label") && !figure.has("marks") {
        let message = "mark_label says what dots mean, but none are asked for; allowed: with marks";
        return Err(figure.problem("mark_label", message));
    }
    Ok(())
}

/// The declared shape of the array that `key` names.
pub(super) fn check_array(
    figure: &Settings,
    key: &str,
    quantities: &[impl AsRef<str>],
) -> Result<&'static str, Problem> {
    let name = figure.text(key);
    let Some((pattern, shape, _)) = declared_array(name) else {
        let names: Vec<&str> = ARRAYS.iter().map(|(pattern, ..)| *pattern).collect();
        let message = format!("{key} = \"{name}\" is no array of a record; allowed: {}", names.join(", "));
        let problem = figure.problem(key, message);
        return Err(match meant(name, names) {
            Some(name) => problem.help(format!("did you mean `{name}`?")),
            None => problem,
        });
    };
    let quantity = RECORDED_BY.iter().find(|(array, _)| array == pattern).map(|(_, quantity)| *quantity);
    if let Some(quantity) =
        quantity.filter(|quantity| quantities.iter().all(|given| given.as_ref() != *quantity))
    {
        let message = format!("{key} = \"{name}\" needs \"{quantity}\" among observe.quantities");
        return Err(figure.problem(key, message));
    }
    Ok(shape)
}

/// Whether the key that stands on an axis is swept and has a number in this cell.
fn check_axis(figure: &Settings, axis: &str, swept: &[Assignment]) -> Result<(), Problem> {
    let key = figure.text(axis);
    let Some(assignment) = swept.iter().find(|assignment| &*assignment.key == key) else {
        return Err(not_swept(figure, axis, key, swept));
    };
    if key != "encoder.widths" && assignment.value.parse::<f64>().is_err() {
        let message = format!(
            "{axis} = \"{key}\" has the value {} in the sweep, which has no place on an axis; \
             allowed: keys with numbers, and encoder.widths",
            shortened(&assignment.value)
        );
        return Err(figure.problem(axis, message));
    }
    Ok(())
}

fn check_each(figure: &Settings, swept: &[Assignment], axis: Option<&str>) -> Result<(), Problem> {
    for key in figure.optional_texts("each").unwrap_or_default() {
        if swept.iter().all(|assignment| *assignment.key != **key) {
            return Err(not_swept(figure, "each", key, swept));
        }
        if axis == Some(key) {
            let message =
                format!("{key} is on the axis and cannot have figures of its own; take it out of each");
            return Err(figure.problem("each", message));
        }
    }
    Ok(())
}

fn not_swept(figure: &Settings, named_by: &str, key: &str, swept: &[Assignment]) -> Problem {
    let keys: Vec<&str> = swept.iter().map(|assignment| &*assignment.key).collect();
    let allowed = if keys.is_empty() { "none, for nothing is swept".to_string() } else { keys.join(", ") };
    let message = format!("{named_by} names \"{}\", which is not swept; allowed: {allowed}", shortened(key));
    let problem = figure.problem(named_by, message);
    match meant(key, keys) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None => problem.help(format!("sweep = {{ \"{}\" = […] }} would sweep it", shortened(key))),
    }
}
