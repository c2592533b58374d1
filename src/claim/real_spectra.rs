//! Figures 2, 7b and 9: which spectra of a real network collapse.

use super::case::{Case, Run};
use super::finding::Finding;
use super::real_network::{
    DIGITS, IMAGE_NET, Statement, below, by_mark, by_method, collapsed, conclude, counted, dim_of, last,
    moved_on, of, recorded, told,
};
use super::toy_figures::COLLAPSED_VARIANCE;
use super::{Claim, Evidence};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(super) const FIGURE_2: Claim = Claim {
    id: "figure-2",
    source: "Figure 2",
    statement: "SimCLR with ResNet-50 and a 2-layer projector: about 30 of the 128 singular values of the embedding covariance collapse.",
    formula: "",
    evidence: Evidence::RealNetwork,
    experiments: &[IMAGE_NET, DIGITS],
    judge: embedding,
};

pub(super) const FIGURE_7B: Claim = Claim {
    id: "figure-7b",
    source: "Figure 7b",
    statement: "Without a projector the spectrum of the 2048-dimensional representation collapses; with one it does not.",
    formula: "",
    evidence: Evidence::RealNetwork,
    experiments: &[IMAGE_NET, DIGITS],
    judge: |case| representation(case, &["nonlinear"]),
};

pub(super) const FIGURE_9: Claim = Claim {
    id: "figure-9",
    source: "Figure 9",
    statement: "Of DirectCLR and SimCLR with a nonlinear, a linear and no projector, only the last collapses the representation.",
    formula: "",
    evidence: Evidence::RealNetwork,
    experiments: &[IMAGE_NET, DIGITS],
    judge: |case| representation(case, &["directclr", "nonlinear", "linear"]),
};

/// The share of the embedding that collapses in Figure 2.
const SHARE: f64 = 30.0 / 128.0;

/// "About 30 of 128": between half and twice that share.
fn about(shares: &[f64]) -> Vec<Statement> {
    let margins = |of: fn(f64) -> f64| shares.iter().map(|share| of(*share)).collect();
    vec![
        Statement::new("more than 12 % have collapsed", margins(|share| share - 0.5 * SHARE)),
        Statement::new("less than 47 % have collapsed", margins(|share| 2.0 * SHARE - share)),
    ]
}

fn embedding(case: &Case) -> Result<Finding, String> {
    const SPECTRUM: &str = "sigma_embedding";
    let runs = of(&by_method(recorded(case, &[IMAGE_NET, DIGITS])?), "nonlinear")?;
    let counts = collapsed(&runs, SPECTRUM, COLLAPSED_VARIANCE)?;
    let dims: Result<Vec<f64>, String> =
        runs.iter().map(|run| Ok(run.last(SPECTRUM)?.len() as f64)).collect();
    let dims = dims?;
    let shares: Vec<f64> = counts.iter().zip(&dims).map(|(count, dim)| count / dim).collect();
    let numbers = counted("collapsed", &counts, &runs, SPECTRUM)?;
    let equal = |dim: &f64| below(&vec![1.0; *dim as usize], COLLAPSED_VARIANCE) / dim;
    let none = about(&dims.iter().map(equal).collect::<Vec<f64>>());
    let control = ("spectra of equal values", none.as_slice());
    Ok(conclude(&runs, &about(&shares), &numbers, control).with("by_mark", by_mark(&runs, SPECTRUM)?))
}

/// A spectrum collapses where more than this part of its values have.
const PART: f64 = 0.01;

/// That spectra of `dim` values collapse without a projector, and not with the other methods, by the number of collapsed values.
fn only_without(counts: &BTreeMap<&str, Vec<f64>>, dim: usize) -> Vec<Statement> {
    let beyond = |counts: &[f64], sign: f64| -> Vec<f64> {
        counts.iter().map(|count| sign * (count - PART * dim as f64)).collect()
    };
    let statement = |(name, counts): (&&str, &Vec<f64>)| match *name {
        "none" => Statement::new("a collapse without a projector", beyond(counts, 1.0)),
        name => Statement::new(format!("no collapse with {name}"), beyond(counts, -1.0)),
    };
    counts.iter().map(statement).collect()
}

fn representation(case: &Case, keep: &[&str]) -> Result<Finding, String> {
    const SPECTRUM: &str = "sigma_representation";
    let methods = by_method(recorded(case, &[IMAGE_NET, DIGITS])?);
    let mut judged: Vec<&Run> = Vec::new();
    let (mut numbers, mut ranks) = (Vec::new(), Vec::new());
    let mut marks = Map::<String, Value>::new();
    let mut counts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for name in ["none"].iter().chain(keep) {
        let runs = of(&methods, name)?;
        let collapsed = collapsed(&runs, SPECTRUM, COLLAPSED_VARIANCE)?;
        numbers.push(counted(name, &collapsed, &runs, SPECTRUM)?);
        counts.insert(name, collapsed);
        ranks.push((*name, last(&runs, "effective_rank_representation")?));
        marks.insert((*name).to_string(), by_mark(&runs, SPECTRUM)?);
        judged.extend(runs);
    }
    let numbers = format!(
        "collapsed: {}; effective rank: {}",
        numbers.join(", "),
        told(ranks.iter().map(|(name, ranks)| (*name, ranks.as_slice())))
    );
    let dim = dim_of(&judged, SPECTRUM)?;
    let exchanged = only_without(&moved_on(&counts), dim);
    let control = ("names that move on with every seed", exchanged.as_slice());
    Ok(conclude(&judged, &only_without(&counts, dim), &numbers, control).with("by_mark", marks))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::case;
    use super::super::real_network::fixtures::{method, runs};
    use super::super::verdict::Verdict;
    use super::*;

    /// A spectrum of so many values, of which so many have collapsed.
    fn spectrum(dim: usize, collapsed: usize) -> Vec<f64> {
        (0..dim).map(|k| if k < dim - collapsed { 0.5 } else { 0.5 * 0.9 * COLLAPSED_VARIANCE }).collect()
    }

    /// The verdict where so many values of each method collapse.
    fn verdict(claim: &Claim, collapsed: impl Fn(&str) -> usize) -> Verdict {
        let record = |run: &Run| {
            let count = collapsed(&method(run));
            vec![
                ("sigma_embedding", spectrum(128, count)),
                ("sigma_representation", spectrum(2048, count)),
                ("effective_rank_representation", vec![1.0]),
            ]
        };
        let finding = claim
            .examine(&case(vec![("resnet50_imagenet", runs("resnet50_imagenet", &["repeats=6"], record))]));
        assert_eq!(finding.control.rejected, Some(true), "{}", finding.control.what);
        finding.verdict
    }

    #[test]
    fn figure_2_wants_about_30_of_128() {
        for (count, expected) in [
            (30, Verdict::Consistent),
            (16, Verdict::Consistent),
            (59, Verdict::Consistent),
            (14, Verdict::Refuted),
            (61, Verdict::Refuted),
            (0, Verdict::Refuted),
        ] {
            assert_eq!(verdict(&FIGURE_2, |_| count), expected, "{count}");
        }
    }

    #[test]
    fn figures_7b_and_9_want_a_collapse_without_a_projector_alone() {
        for claim in [&FIGURE_7B, &FIGURE_9] {
            assert_eq!(verdict(claim, |name| if name == "none" { 100 } else { 20 }), Verdict::Consistent);
            assert_eq!(verdict(claim, |_| 0), Verdict::Refuted);
            assert_eq!(verdict(claim, |_| 21), Verdict::Refuted);
            assert_eq!(
                verdict(claim, |name| 21 * usize::from(["none", "nonlinear"].contains(&name))),
                Verdict::Refuted
            );
        }
        for other in ["directclr", "linear"] {
            let both = |name: &str| 21 * usize::from(name == "none" || name == other);
            assert_eq!(verdict(&FIGURE_9, both), Verdict::Refuted, "{other}");
            assert_eq!(verdict(&FIGURE_7B, both), Verdict::Consistent, "{other}");
        }
    }
}
