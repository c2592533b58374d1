//! Tables 1 and 2: linear-probe accuracies by method.

use super::case::{Case, Run};
use super::finding::Finding;
use super::real_network::{
    DIGITS, IMAGE_NET, Statement, by_method, conclude, last, minus, moved_on, of, recorded, told,
};
use super::statistics::Median;
use super::{Claim, Evidence};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(super) const TABLE_1: Claim = Claim {
    id: "table-1",
    source: "Table 1",
    statement: "Linear-probe accuracies: DirectCLR (62.7 %) lies above a linear projector (61.1 %) and none (51.5 %), below a nonlinear one (66.5 %).",
    formula: "",
    evidence: Evidence::RealNetwork,
    experiments: &[IMAGE_NET, DIGITS],
    judge: |case| judge(case, &["nonlinear", "directclr", "linear", "none"], table_1),
};

pub(super) const TABLE_2: Claim = Claim {
    id: "table-2",
    source: "Table 2",
    statement: "Trainable or fixed, diagonal or low-rank linear projectors reach 60 to 63 %; an orthogonal one (52.2 %) is no better than none (51.5 %).",
    formula: "",
    evidence: Evidence::RealNetwork,
    experiments: &[IMAGE_NET, DIGITS],
    judge: |case| {
        let rows = ["linear", "diagonal", "low-rank", "low-rank-diagonal", "orthogonal", "none"];
        judge(case, &rows, table_2)
    },
};

/// Accuracies by method, one a seed.
type Accuracies<'a> = BTreeMap<&'a str, Vec<f64>>;

fn above(accuracies: &Accuracies<'_>, higher: &str, lower: &str) -> Statement {
    Statement::new(format!("{higher} above {lower}"), minus(&accuracies[higher], &accuracies[lower]))
}

fn table_1(accuracies: &Accuracies<'_>) -> Vec<Statement> {
    [("nonlinear", "directclr"), ("directclr", "linear"), ("directclr", "none")]
        .map(|(higher, lower)| above(accuracies, higher, lower))
        .to_vec()
}

/// That projectors help, and that an orthogonal one is nearer to none than to each of them.
fn table_2(accuracies: &Accuracies<'_>) -> Vec<Statement> {
    const HELPFUL: [&str; 4] = ["linear", "diagonal", "low-rank", "low-rank-diagonal"];
    let mut statements: Vec<Statement> =
        HELPFUL.iter().map(|projector| above(accuracies, projector, "none")).collect();
    let distance = |a: &str, b: &str| -> Vec<f64> {
        minus(&accuracies[a], &accuracies[b]).into_iter().map(f64::abs).collect()
    };
    let of_none = distance("orthogonal", "none");
    for projector in HELPFUL {
        let margins = minus(&distance("orthogonal", projector), &of_none);
        statements.push(Statement::new(format!("orthogonal nearer to none than to {projector}"), margins));
    }
    statements
}

fn judge(
    case: &Case,
    rows: &[&'static str],
    statements: fn(&Accuracies<'_>) -> Vec<Statement>,
) -> Result<Finding, String> {
    let runs = recorded(case, &[IMAGE_NET, DIGITS])?;
    let methods = by_method(runs);
    let mut accuracies = Accuracies::new();
    let mut judged: Vec<&Run> = Vec::new();
    for row in rows {
        let runs = of(&methods, row)?;
        accuracies.insert(row, last(&runs, "probe_accuracy")?);
        judged.extend(runs);
    }
    let numbers = format!("accuracies: {}", told(rows.iter().map(|row| (*row, accuracies[row].as_slice()))));
    let control = ("names that move on with every seed", &*statements(&moved_on(&accuracies)));
    let evidence: Map<String, Value> = rows
        .iter()
        .map(|row| ((*row).to_string(), Median::of(accuracies[row].iter().copied()).to_json()))
        .collect();
    Ok(conclude(&judged, &statements(&accuracies), &numbers, control).with("accuracies", evidence))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Control;
    use super::super::fixtures::case;
    use super::super::real_network::fixtures::{method, runs};
    use super::super::verdict::Verdict;
    use super::*;

    /// The finding on runs whose accuracies are these, and a little more for later seeds.
    fn found(claim: &Claim, experiment: &'static str, accuracies: &[(&str, f64)]) -> Finding {
        let record = |run: &Run| {
            let name = method(run);
            let accuracy =
                accuracies.iter().find(|(other, _)| *other == name).map_or(0.3, |(_, value)| *value);
            vec![("probe_accuracy", vec![accuracy + 1e-3 * run.plan.seed.repeat as f64])]
        };
        claim.examine(&case(vec![(experiment, runs(experiment, &["repeats=6"], record))]))
    }

    const PRINTED: [(&str, f64); 8] = [
        ("nonlinear", 0.665),
        ("linear", 0.611),
        ("none", 0.515),
        ("directclr", 0.627),
        ("orthogonal", 0.522),
        ("diagonal", 0.602),
        ("low-rank", 0.623),
        ("low-rank-diagonal", 0.627),
    ];

    #[test]
    fn the_printed_tables_agree_with_themselves_and_decide_in_the_papers_setting_alone() {
        for claim in [&TABLE_1, &TABLE_2] {
            assert_eq!(found(claim, "resnet50_imagenet", &PRINTED).verdict, Verdict::Consistent);
            let small = found(claim, "resnet_mnist", &PRINTED);
            assert_eq!(small.verdict, Verdict::OutsideHypotheses);
            assert!(small.summary.contains("6 seeds: as stated"), "{}", small.summary);
            assert!(matches!(small.control, Control { rejected: Some(true), .. }));
        }
    }

    #[test]
    fn a_table_is_refuted_where_one_row_is_elsewhere() {
        let elsewhere = |claim: &Claim, row: &str, accuracy: f64| {
            let mut accuracies = PRINTED;
            accuracies.iter_mut().filter(|(name, _)| *name == row).for_each(|(_, value)| *value = accuracy);
            found(claim, "resnet50_imagenet", &accuracies).verdict
        };
        for (row, accuracy) in
            [("nonlinear", 0.62), ("directclr", 0.60), ("directclr", 0.50), ("linear", 0.64)]
        {
            assert_eq!(elsewhere(&TABLE_1, row, accuracy), Verdict::Refuted, "{row} {accuracy}");
        }
        for (row, accuracy) in [
            ("linear", 0.51),
            ("diagonal", 0.51),
            ("low-rank", 0.51),
            ("low-rank-diagonal", 0.51),
            ("orthogonal", 0.61),
            ("orthogonal", 0.58),
        ] {
            assert_eq!(elsewhere(&TABLE_2, row, accuracy), Verdict::Refuted, "{row} {accuracy}");
        }
    }

    #[test]
    fn equal_rows_are_not_told_apart() {
        for claim in [&TABLE_1, &TABLE_2] {
            let finding = found(claim, "resnet_mnist", &[]);
            let others = found(claim, "resnet_mnist", &PRINTED.map(|(name, _)| (name, 0.3)));
            assert!(finding.summary.contains("seeds differ"), "{}", finding.summary);
            assert_eq!(finding.summary, others.summary);
        }
    }

    #[test]
    fn records_of_the_papers_setting_come_before_those_of_a_smaller_network() {
        let record = |_: &Run| vec![("probe_accuracy", vec![0.5])];
        let both = ["resnet_mnist", "resnet50_imagenet"].map(|name| (name, runs(name, &[], record)));
        let finding = TABLE_1.examine(&case(both.into()));
        assert!(finding.summary.contains("resnet-50"), "{}", finding.summary);
    }
}
