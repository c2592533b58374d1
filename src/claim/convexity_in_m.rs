//! The loss is convex in M = WᵀW, and what follows for one layer.

use super::case::{Case, Level, NeededExperiment, Run, Source};
use super::finding::{Control, Finding};
use super::identity::{Against, Discrepancy, Formula, Instance, judge as judge_identity};
use super::instances::{EQ_2, orthogonal};
use super::landscape::{minimum, minimum_in_population, normals, of_batch, root};
use super::rank_law::COVARIANCES;
use super::statistics::number;
use super::trial::{Said, Trial, label};
use super::{Claim, Evidence, Verdict};
use crate::experiment::Source as Origin;
use crate::loss::{InfonceCosine, InfonceDot, Loss, Reduction};
use crate::matrix::{Matrix, symmetric_eigenvalues};
use crate::seed::{Seed, Stream};
use crate::stream::full_batch;
use crate::theory::{Minimum, Population};
use rand::RngExt;
use rayon::prelude::*;
use serde_json::{Value, json};

const FORMULA: &str = "L((M + M')/2) ≤ (L(M) + L(M'))/2 for M, M' ⪰ 0; at the end of a flow M X = 0, X ⪯ 0";

pub(super) const CLAIM: Claim = Claim {
    id: "convexity-in-m",
    source: "derived here: paper_notes.md, Rank and convexity",
    statement: "For every N the loss of Eq. 2 and of the dot product is convex in M = WᵀW, so that a bounded flow of one layer with d_out ≥ d and W(0) of full column rank ends in the global minimum, from every start.",
    formula: FORMULA,
    evidence: Evidence::Identity,
    experiments: &[FLOWS, COVARIANCES],
    judge,
};

/// Flows on batches that are not separable, from several starts on each, with enough outputs and with too few.
const FLOWS: NeededExperiment = NeededExperiment {
    name: "global_minimum",
    source: Source::Text(
        r#"
title    = "One layer ends in the global minimum"
seed     = 20
repeats  = 2
data     = { kind = "gaussian", dim = 3, samples = 48 }
augment  = { kind = "isotropic", variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [3, 3], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-10, atol = 1e-13, time_end = 1000.0, gradient_norm = 1e-10 }
observe  = { times = { kind = "log", first = 1.0, count = 4 }, quantities = ["loss", "spectra"] }

[sweep]
"loss"           = [{ kind = "infonce-euclidean" }, { kind = "infonce-dot", temperature = 1.0 }]
"encoder.widths" = [[3, 3], [3, 5], [3, 1]]
"encoder.init"   = [{ kind = "gaussian", std = 0.2 }, { kind = "gaussian", std = 1.5 }, { kind = "orthogonal", scale = 0.5 }]
"#,
    ),
    quick: &[],
    full: &["repeats=6"],
};

/// A batch and two matrices M.
#[derive(Clone)]
struct Pair {
    label: String,
    loss: Loss,
    /// d x N each.
    views: [Matrix; 2],
    m: [Matrix; 2],
    /// A rotation of outputs, which M does not see.
    rotation: Matrix,
}

impl Instance for Pair {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn matrices(&self) -> Vec<(String, Matrix)> {
        let [x, x2] = self.views.clone();
        let [m, m2] = self.m.clone();
        [("x", x), ("x'", x2), ("M", m), ("M'", m2)].map(|(name, m)| (name.to_string(), m)).to_vec()
    }
}

impl Pair {
    /// The loss at W by its definition, pair by pair.
    fn at(&self, w: &Matrix) -> f64 {
        let columns = |view: &Matrix| -> Vec<Vec<f64>> {
            (w * view).column_iter().map(|column| column.iter().copied().collect()).collect()
        };
        let [first, second] = &self.views;
        self.loss.reference(&columns(first), &columns(second), Reduction::Mean)
    }

    /// How far the loss at the middle of `ends` exceeds the mean of the losses at both; `to_w` makes W of them.
    fn excess(
        &self,
        ends: &[Matrix; 2],
        to_w: &dyn Fn(&Matrix) -> Result<Matrix, String>,
    ) -> Result<Discrepancy, String> {
        let [a, b] = ends;
        let points = [to_w(a)?, to_w(b)?, to_w(&((a + b) * 0.5))?];
        let [at_a, at_b, middle] = [0, 1, 2].map(|k| self.at(&points[k]));
        let longest = |w: &Matrix| {
            self.views
                .iter()
                .flat_map(|v| (w * v).column_iter().map(|c| c.norm_squared()).collect::<Vec<_>>())
                .fold(0.0f64, f64::max)
        };
        let longest = points.iter().map(longest).fold(0.0f64, f64::max);
        let largest_logit = match self.loss {
            Loss::Euclidean(_) => 2.0 * longest,
            Loss::Dot(loss) => longest / loss.temperature,
            Loss::Cosine(loss) => 1.0 / loss.temperature,
        };
        // A logit l has the rounding |l| ε, also that of the root of M, and a loss that of its largest logits; 100 covers the
        // short sums, as for gradients.
        let allowed = 100.0 * f64::EPSILON * (1.0 + largest_logit);
        Ok(Discrepancy { error: (middle - 0.5 * (at_a + at_b)).max(0.0), allowed })
    }

    fn in_m(&self) -> Result<Discrepancy, String> {
        self.excess(&self.m, &|m| root(m).map_err(|error| error.to_string()))
    }

    /// Between roots of M and M', one of them rotated.
    fn in_w(&self) -> Result<Discrepancy, String> {
        let roots = [0, 1].map(|k| root(&self.m[k]).map_err(|error| error.to_string()));
        let [a, b] = roots;
        self.excess(&[a?, &self.rotation * b?], &|w| Ok(w.clone()))
    }

    fn is_cosine(&self) -> bool {
        matches!(self.loss, Loss::Cosine(_))
    }
}

/// N, d and the number of nonzero eigenvalues of M and of M'.
const SHAPES: &[(usize, usize, usize, usize)] =
    &[(6, 3, 3, 3), (2, 2, 2, 2), (5, 1, 1, 1), (8, 4, 1, 1), (6, 3, 0, 3), (12, 2, 1, 2), (6, 5, 5, 2)];

fn pairs(level: Level) -> Vec<Pair> {
    let rounds = if level == Level::Quick { 8 } else { 100 };
    let losses = [
        EQ_2,
        Loss::Dot(InfonceDot { temperature: 0.5 }),
        Loss::Cosine(InfonceCosine { temperature: 0.5, symmetric: true }),
    ];
    let mut pairs = Vec::new();
    for round in 0..rounds {
        for (shape, &(n, d, rank, other)) in SHAPES.iter().enumerate() {
            let mut generator = Seed { seed: 60 + shape as u64, repeat: round }.generator(Stream::Data, 0);
            // Nearby and far apart, small and saturated.
            let scales = [0.1, 1.0, 3.0];
            let mut gram = |rank: usize| {
                let scale = scales[generator.random_range(0..scales.len())];
                let factor = normals(&mut generator, rank, d, scale);
                factor.transpose() * factor
            };
            let m = [gram(rank), gram(other)];
            let x = normals(&mut generator, d, n, 1.0);
            let x2 = &x + normals(&mut generator, d, n, 0.7);
            let rotation = orthogonal(&mut generator, d);
            for loss in losses {
                let label =
                    format!("{}, N = {n}, d = {d}, ranks {rank} and {other}, round {round}", loss.name());
                let (views, m) = ([x.clone(), x2.clone()], m.clone());
                pairs.push(Pair { label, loss, views, m, rotation: rotation.clone() });
            }
        }
    }
    pairs
}

/// Nats to which a flow must have reached the infimum: eight digits of a loss of order one.
const REACHED: f64 = 1e-8;
/// |W X| of a flow that has come to rest: its end is then known far better than to [`REACHED`].
const AT_REST: f64 = 1e-5;
/// Traces of M', in units of that of M or of 1, up to which the bound on the infimum reaches. A convex function that is not
/// lower nearby is not lower anywhere.
const FARTHER: f64 = 2.0;
const WIDE: &str = "one layer, d_out ≥ d, W(0) of full column rank";
const BOUNDED: &str = "the flow is bounded: at its end |W X| is small";

/// Where a flow has ended, beside the minimum that a search over M finds.
struct End {
    point: Minimum,
    residual: f64,
    best: Minimum,
}

impl End {
    fn of(run: &Run) -> Result<End, String> {
        let layers = run.layers()?;
        let [w] = &layers[..] else { return Err("more than one layer".to_string()) };
        let prepared = run.plan.prepare().map_err(|problem| problem.to_string())?;
        let (loss, _) = run.plan.loss();
        let (value, x, best) = match &prepared.source {
            Origin::Population(views) => {
                let mut population =
                    Population::new(&loss, views.clone()).map_err(|error| error.to_string())?;
                let best = minimum_in_population(&loss, views, 0.1 * REACHED)?;
                (population.loss(w), population.x(w), best)
            }
            Origin::Samples { data, augmentation } => {
                let batch = full_batch(data, augmentation, run.plan.seed);
                let (value, x) = of_batch(&loss, w, &batch);
                let best = minimum(data.dim, 0.1 * REACHED, &mut |w| of_batch(&loss, w, &batch))?;
                (value, x, best)
            }
        };
        let m = w.transpose() * w;
        let values = symmetric_eigenvalues(&x).map_err(|error| error.to_string())?;
        let point = Minimum {
            loss: value,
            largest_eigenvalue: values.last().copied().unwrap_or(f64::NAN),
            complementarity: m.dot(&x),
            evaluations: 0,
            converged: false,
            m,
            x,
        };
        Ok(End { residual: (w * &point.x).norm(), point, best })
    }

    fn to_json(&self, run: &Run) -> Value {
        json!({
            "run": label(run), "loss": self.point.loss, "above_search": self.point.loss - self.best.loss,
            "gap": self.gap(), "largest_eigenvalue_of_x": self.point.largest_eigenvalue,
            "w_times_x": self.residual,
            "distance_of_m": (&self.point.m - &self.best.m).norm(), "size_of_m": self.best.m.norm(),
        })
    }

    /// How far the loss may be above its infimum over M' of this many times the trace, by convexity.
    fn gap(&self) -> f64 {
        self.point.gap(FARTHER * self.point.m.trace().max(self.best.m.trace()).max(1.0))
    }
}

/// Whether `end`, that of `run`, is the global minimum, by the bound of convexity and by the search; `broken` lets the
/// hypotheses on widths fail.
fn ends_in_the_minimum(run: &Run, end: &End, broken: bool) -> Result<Said, String> {
    let outside = |hypothesis, why: String| Ok(Said::Outside { hypothesis, why });
    let widths = run.plan.settings.table("encoder").integers("widths");
    let (start, floor) = (run.row("sigma_end_to_end", 0)?, run.row("floor_end_to_end", 0)?[0]);
    let full = start.len() == widths[0] && start.iter().all(|value| *value > floor);
    if (widths.len() != 2 || !full) && !broken {
        return outside(WIDE, format!("widths {widths:?}"));
    }
    if end.residual > AT_REST {
        return outside(BOUNDED, format!("|W X| = {} at the end", number(end.residual)));
    }
    if !end.best.converged {
        return outside(BOUNDED, "the search over M does not end".to_string());
    }
    let (gap, above) = (end.gap(), end.point.loss - end.best.loss);
    Ok(if gap <= REACHED && above.abs() <= REACHED {
        Said::Agrees
    } else {
        Said::Contradicts(format!(
            "the loss is {} above the minimum of the search, and up to {} above its infimum",
            number(above),
            number(gap)
        ))
    })
}

fn judge(case: &Case) -> Result<Finding, String> {
    let pairs = pairs(case.level);
    let convex = |pair: &Pair| if pair.is_cosine() { Ok(None) } else { pair.in_m().map(Some) };
    let in_w = |pair: &Pair| if pair.is_cosine() { Ok(None) } else { pair.in_w().map(Some) };
    let cosine = |pair: &Pair| if pair.is_cosine() { pair.in_m().map(Some) } else { Ok(None) };
    let identity = |wrong: Formula<'_, Pair>| {
        let claimed = Formula { text: "L((M + M')/2) ≤ (L(M) + L(M'))/2", check: &convex };
        judge_identity(&pairs, &claimed, &Against::Wrong(wrong), None)
    };
    let mut finding = identity(Formula { text: "the same in W", check: &in_w })?;
    let other = identity(Formula { text: "the same of the cosine loss in M", check: &cosine })?;

    let flows = case.runs(FLOWS.name)?;
    let there = case.runs.contains_key(COVARIANCES.name);
    let from_files = if there { case.runs(COVARIANCES.name)? } else { &[] };
    let runs = || flows.iter().chain(from_files);
    let ends: Vec<Result<End, String>> = runs().collect::<Vec<_>>().into_par_iter().map(End::of).collect();
    let ends: Vec<End> = ends.into_iter().collect::<Result<_, String>>()?;
    let said = |run: &Run, broken: bool| {
        let index = runs().position(|other| std::ptr::eq(other, run));
        let end = index.and_then(|index| ends.get(index)).ok_or("a run without an end")?;
        ends_in_the_minimum(run, end, broken)
    };
    let trial = Trial::of(runs(), &|run| said(run, false))?;
    let narrow = |run: &&Run| run.plan.settings.table("encoder").integers("widths") == [3, 1];
    let narrow = Trial::of(flows.iter().filter(narrow), &|run| said(run, true))?;
    let control = Control::new(
        format!("{}; {}; d_out = 1 < d: {}", finding.control.what, other.control.what, narrow.words()),
        finding.control.rejected == Some(true)
            && other.control.rejected == Some(true)
            && narrow.rejects_all(),
    );
    if finding.verdict == Verdict::Holds {
        let ends: Vec<Value> = runs().zip(&ends).map(|(run, end)| end.to_json(run)).collect();
        let convexity = finding.evidence;
        let convex = finding.summary;
        let summary = format!(
            "midpoints above the chord: {convex}; {} flows of one layer end within {REACHED:e} nats of the global minimum",
            trial.agreed()
        );
        finding = trial
            .finding(summary, &[WIDE, BOUNDED], control)
            .with("convexity", Value::Object(convexity))
            .with("cosine", other.evidence.get("wrong").cloned().unwrap_or_default())
            .with("ends", ends);
        if finding.verdict == Verdict::Consistent {
            // Convexity is proved (log-sum-exp of linear functions), the ends are exact: both are identities.
            finding.verdict = Verdict::Holds;
        }
    } else {
        finding.control = control;
    }
    Ok(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midpoints_are_below_in_m_and_above_somewhere_in_w_and_for_the_cosine_loss() {
        let pairs = pairs(Level::Quick);
        let worst = |of: &dyn Fn(&Pair) -> Discrepancy, cosine: bool| {
            pairs
                .iter()
                .filter(|pair| pair.is_cosine() == cosine)
                .map(|pair| of(pair).ratio())
                .fold(0.0, f64::max)
        };
        assert!(worst(&|pair| pair.in_m().unwrap(), false) <= 1.0);
        assert!(worst(&|pair| pair.in_w().unwrap(), false) > 1e6);
        assert!(worst(&|pair| pair.in_m().unwrap(), true) > 1e6);
    }

    #[test]
    fn flows_end_in_the_minimum_unless_outputs_are_missing() {
        use super::super::fixtures::{case, simulated};
        let flows = simulated(&FLOWS, &["repeats=1", "sweep.encoder.widths=[[3, 3], [3, 1]]"]);
        let finding = judge(&case(vec![(FLOWS.name, flows)])).unwrap();
        assert_eq!(
            (finding.verdict, finding.control.rejected),
            (Verdict::Holds, Some(true)),
            "{}",
            finding.summary
        );
        // A flow that has just begun is not at rest, and one in its middle is no minimum.
        let early = simulated(
            &FLOWS,
            &[
                "repeats=1",
                "encoder.widths=[3, 3]",
                "encoder.init.std=0.2",
                "encoder.init.kind=gaussian",
                "dynamics.time_end=2.0",
            ],
        );
        for run in &early {
            let end = End::of(run).unwrap();
            assert!(matches!(
                ends_in_the_minimum(run, &end, false),
                Ok(Said::Outside { hypothesis: BOUNDED, .. })
            ));
            assert!(end.gap() > 1e-3);
        }
    }
}
