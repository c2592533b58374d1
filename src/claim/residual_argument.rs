//! The residual argument: which rank a gradient of rank d0 has below the last residual block.

use super::case::Level;
use super::identity::{Against, Checked, Discrepancy, Formula, Instance, judge, required, tally};
use super::instances::{rounding_of_loss, rounds};
use super::statistics::{Median, number};
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::loss::{Loss, Reduction, Workspace};
use crate::matrix::{Matrix, singular_values};
use crate::real::{Dual, Real};
use crate::seed::{Seed, Stream};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

const PRINTED: &str = "r = h + f(h), ∂L/∂r of rank ≤ d0: ∂L/∂h has rank ≤ d0 for a linear f, and full rank for f(h) = W2 relu(W1 h)";
const WRONG: &str = "∂L/∂h has full rank for the linear f(h) = W2 W1 h";

const ASSUMED: &str = "the block is able to: its activation patterns let the rank be full (samples of one pattern span at most d0 \
     directions, samples of several at most d0 and one more for every hidden unit in which these differ), the rows of W2 that the \
     loss sees are not 0, and the loss is felt by every sample";

pub(super) const CLAIM: Claim = Claim {
    id: "residual-argument",
    source: "Section 6, Figure 10",
    statement: "The gradient that enters the last residual block has rank at most d0; a linear block keeps that rank, and a nonlinear one raises it to full rank.",
    formula: PRINTED,
    evidence: Evidence::Identity,
    experiments: &[],
    judge: |case| {
        let blocks = instances(case.level);
        let small: Vec<ResidualBlock> = blocks.iter().filter(|block| block.size() < 100).cloned().collect();
        let chain = required(&small, &Formula::new("∂L/∂h is that of dual numbers", &chain_rule))?;
        let bounded = Formula::new("rank below a ReLU block within what its patterns allow", &bounded);
        let bounded = required(&blocks, &bounded)?;
        let full = Formula::new("full rank below a ReLU block", &|block| full_rank(block, Block::Relu));
        let unable: Vec<ResidualBlock> =
            blocks.iter().filter(|block| matches!(block.is_able(), Ok(false))).cloned().collect();
        let where_unable = tally(&unable, &full)?;
        let stepped: Vec<ResidualBlock> =
            blocks.iter().filter(|block| block.w2.amax() == 0.0).map(ResidualBlock::after_a_step).collect();
        let after_a_step = tally(&stepped, &full)?;
        let mut finding = judge(
            &blocks,
            &Formula::new(PRINTED, &check),
            &Against::Wrong(Formula::new(WRONG, &|block| {
                able(block, &|block| full_rank(block, Block::Linear))
            })),
            Some(ASSUMED),
        )?;
        let shares = shares(&blocks)?;
        let all = Median::of(shares.iter().flat_map(|(_, shares)| shares.iter().copied()));
        if finding.verdict == Verdict::Holds {
            finding.summary = format!(
                "on {} blocks rank ≤ d0 below the linear block and full rank below the ReLU block, its smallest singular value \
                 {} of the largest or more (median {})",
                all.seeds,
                number(all.low),
                number(all.median)
            );
        }
        let shares: Map<String, Value> = shares
            .into_iter()
            .map(|(kind, shares)| (kind.to_string(), json!(Median::of(shares).to_string())))
            .collect();
        Ok(finding
            .with("chain_rule", chain)
            .with("rank_below_a_relu_block_is_bounded", bounded)
            .with("full_rank_where_the_block_is_not_able_to", where_unable)
            .with("full_rank_one_step_after_a_start_with_w2_at_0", after_a_step)
            .with("smallest_singular_value_over_largest", shares)
            .with("not_shown", "that r[d0:] is of use, which needs a real network"))
    },
};

/// A residual block on a batch of pairs of views, under a loss that sees the first d0 components of r = h + f(h).
#[derive(Clone, Debug)]
pub struct ResidualBlock {
    /// What it is.
    pub label: String,
    /// The block's inputs (d x 2N), first views, then second.
    pub h: Matrix,
    /// First layer (m x d).
    pub w1: Matrix,
    /// Second layer (d x m).
    pub w2: Matrix,
    /// Components of r that the loss sees.
    pub d0: usize,
    /// The loss.
    pub loss: Loss,
}

/// What stands between the layers of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// f(h) = W2 W1 h.
    Linear,
    /// f(h) = W2 relu(W1 h).
    Relu,
}

impl Instance for ResidualBlock {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn matrices(&self) -> Vec<(String, Matrix)> {
        [("h", &self.h), ("W1", &self.w1), ("W2", &self.w2)]
            .map(|(name, matrix)| (name.to_string(), matrix.clone()))
            .to_vec()
    }
}

impl ResidualBlock {
    /// 1 where a hidden unit passes its input on (m x 2N).
    fn passes(&self, block: Block) -> Matrix {
        (&self.w1 * &self.h).map(|value| f64::from(block == Block::Linear || value > 0.0))
    }

    /// r[0:d0] (d0 x 2N).
    fn seen(&self, block: Block) -> Matrix {
        let hidden = (&self.w1 * &self.h).component_mul(&self.passes(block));
        (&self.h + &self.w2 * hidden).rows(0, self.d0).into_owned()
    }

    /// ∂L/∂r (d x 2N): its rows behind d0 are 0.
    pub fn upstream(&self, block: Block) -> Matrix {
        let seen = self.seen(block);
        let mut gradient = vec![0.0; seen.len()];
        self.loss.evaluate(
            seen.as_slice(),
            self.d0,
            Reduction::Sum,
            &mut Workspace::default(),
            &mut gradient,
        );
        let mut upstream = Matrix::zeros(self.h.nrows(), self.h.ncols());
        upstream.rows_mut(0, self.d0).copy_from_slice(&gradient);
        upstream
    }

    /// ∂L/∂h (d x 2N): ∂L/∂r, and what passes back through the block.
    pub fn downstream(&self, block: Block) -> Matrix {
        let upstream = self.upstream(block);
        let back = (self.w2.transpose() * &upstream).component_mul(&self.passes(block));
        upstream + self.w1.transpose() * back
    }

    /// The block after a step of gradient descent on W2, which leaves its rows behind d0 as they are.
    fn after_a_step(&self) -> ResidualBlock {
        let hidden = (&self.w1 * &self.h).component_mul(&self.passes(Block::Relu));
        let gradient = self.upstream(Block::Relu) * hidden.transpose();
        ResidualBlock { w2: &self.w2 - RATE * gradient, ..self.clone() }
    }

    /// The largest rank that a gradient of this many rows and columns can have.
    fn full(&self) -> usize {
        self.h.nrows().min(self.h.ncols())
    }

    /// What rounding can make of a singular value of ∂L/∂h that is 0: products of sums of d and m terms, and the
    /// decomposition.
    fn floor(&self, block: Block) -> f64 {
        let terms = self.h.nrows().max(self.h.ncols()).max(self.w1.nrows()) as f64;
        16.0 * terms * f64::EPSILON * (1.0 + self.w1.norm() * self.w2.norm()) * self.upstream(block).norm()
    }

    /// The largest rank of ∂L/∂h below a ReLU block that its activation patterns allow.
    ///
    /// Samples of one pattern see one linear map and span at most d0 directions. The maps of several patterns differ by one
    /// direction for every hidden unit in which these differ. So any set of patterns bounds the rank, and what the others
    /// span is added.
    fn bound(&self) -> usize {
        let passes = self.passes(Block::Relu);
        let mut samples: HashMap<Vec<bool>, usize> = HashMap::new();
        for column in passes.column_iter() {
            *samples.entry(column.iter().map(|value| *value > 0.0).collect()).or_default() += 1;
        }
        let patterns: Vec<(Vec<bool>, usize)> =
            samples.into_iter().map(|(pattern, samples)| (pattern, self.d0.min(samples))).collect();
        let of_set = |belongs: &dyn Fn(usize) -> bool| {
            let inside =
                || patterns.iter().enumerate().filter(|(p, _)| belongs(*p)).map(|(_, pattern)| pattern);
            let by_pattern: usize = inside().map(|(_, span)| span).sum();
            let outside = patterns.iter().map(|(_, span)| span).sum::<usize>() - by_pattern;
            let differs = |unit: usize| {
                let first = inside().next().map(|(pattern, _)| pattern[unit]);
                inside().any(|(pattern, _)| Some(pattern[unit]) != first)
            };
            let differing = (0..self.w1.nrows()).filter(|unit| differs(*unit)).count();
            by_pattern.min(self.d0 + differing) + outside
        };
        let mut bound = self.full().min(of_set(&|_| true));
        if patterns.len() <= MOST_PATTERNS {
            for set in 0..1usize << patterns.len() {
                bound = bound.min(of_set(&|p| set >> p & 1 == 1));
            }
        }
        bound
    }

    /// Whether [`ASSUMED`] holds.
    fn is_able(&self) -> Result<bool, String> {
        let (_, rounding) = rounding_of_loss(&self.loss, &self.seen(Block::Relu));
        let upstream = self.upstream(Block::Relu);
        let felt = upstream.column_iter().zip(&rounding).all(|(column, rounding)| column.amax() > *rounding);
        Ok(felt && self.bound() == self.full() && self.w2.rows(0, self.d0).norm() > 0.0)
    }
}

/// Patterns of which all sets are looked at: more of them leave room for any rank.
const MOST_PATTERNS: usize = 8;

/// The rate of a single step: small against 1 over the number of samples that the loss sums over.
const RATE: f64 = 1e-3;

/// `check` where [`ASSUMED`] holds, and nothing elsewhere.
fn able(block: &ResidualBlock, check: &dyn Fn(&ResidualBlock) -> Checked) -> Checked {
    if block.is_able()? { check(block) } else { Ok(None) }
}

/// The printed statement where its assumption holds: low rank above both blocks and below the linear one, full rank below the
/// ReLU one.
pub fn check(block: &ResidualBlock) -> Checked {
    able(block, &|block| {
        let low = low_rank(block)?;
        Ok(full_rank(block, Block::Relu)?.map(|full| low.map_or(full, |low| low.or(full))))
    })
}

/// The singular values behind the first d0 ones, above both blocks and below the linear one, against what rounding explains.
pub fn low_rank(block: &ResidualBlock) -> Checked {
    let above = rank_at_most(&block.upstream(Block::Relu), block.d0, block.floor(Block::Relu))?;
    let floor = block.floor(Block::Linear);
    let above_linear = rank_at_most(&block.upstream(Block::Linear), block.d0, floor)?;
    let below_linear = rank_at_most(&block.downstream(Block::Linear), block.d0, floor)?;
    Ok(Some(above.or(above_linear).or(below_linear)))
}

/// The singular value behind the first `rank` ones against what rounding explains.
fn rank_at_most(gradient: &Matrix, rank: usize, floor: f64) -> Result<Discrepancy, String> {
    let values = singular_values(gradient).map_err(|error| error.to_string())?;
    Ok(Discrepancy { error: values.get(rank).copied().unwrap_or(0.0), allowed: floor })
}

/// What rounding explains against the smallest singular value of ∂L/∂h: it has full rank where that is larger. Nothing where
/// d0 is as large as the full rank, which says nothing.
pub fn full_rank(block: &ResidualBlock, of: Block) -> Checked {
    if block.d0 >= block.full() {
        return Ok(None);
    }
    // No gradient at all has no rank.
    let floor = block.floor(of).max(f64::MIN_POSITIVE);
    let values = singular_values(&block.downstream(of)).map_err(|error| error.to_string())?;
    Ok(Some(Discrepancy { error: floor, allowed: values[block.full() - 1] }))
}

/// The rank below a ReLU block against its bound by patterns and widths.
pub fn bounded(block: &ResidualBlock) -> Checked {
    let floor = block.floor(Block::Relu);
    Ok(Some(rank_at_most(&block.downstream(Block::Relu), block.bound(), floor)?))
}

/// ∂L/∂h below a ReLU block against dual numbers through the definition of the loss.
pub fn chain_rule(block: &ResidualBlock) -> Checked {
    let (d, columns) = block.h.shape();
    let by_definition = Matrix::from_fn(d, columns, |row, column| {
        let images: Vec<Vec<Dual<f64>>> = (0..columns)
            .map(|c| {
                let entry = |i: usize| Dual {
                    value: block.h[(i, c)],
                    derivative: f64::from((i, c) == (row, column)),
                };
                seen(block, &(0..d).map(entry).collect::<Vec<_>>())
            })
            .collect();
        let (first, second) = images.split_at(columns / 2);
        block.loss.reference(first, second, Reduction::Sum).derivative
    });
    let gradient = block.downstream(Block::Relu);
    let (_, rounding) = rounding_of_loss(&block.loss, &block.seen(Block::Relu));
    let upstream = rounding.into_iter().fold(0.0, f64::max) * (block.d0 as f64).sqrt();
    let allowed = upstream * (1.0 + block.w1.norm() * block.w2.norm());
    Ok(Some(Discrepancy::between(&gradient, &by_definition, allowed)))
}

/// r[0:d0] of one column, in any arithmetic.
fn seen<R: Real>(block: &ResidualBlock, h: &[R]) -> Vec<R> {
    let times = |w: &Matrix, values: &[R], row: usize| {
        values
            .iter()
            .enumerate()
            .fold(R::from(0.0), |sum, (k, value)| sum + R::from(w[(row, k)]) * value.clone())
    };
    let hidden: Vec<R> = (0..block.w1.nrows())
        .map(|row| times(&block.w1, h, row))
        .map(|value| if value.value() > 0.0 { value } else { R::from(0.0) })
        .collect();
    (0..block.d0).map(|row| h[row].clone() + times(&block.w2, &hidden, row)).collect()
}

/// Smallest over largest singular value below a ReLU block that is able to, by the kind of the block.
fn shares(blocks: &[ResidualBlock]) -> Result<Vec<(&'static str, Vec<f64>)>, String> {
    let mut shares: Vec<(&str, Vec<f64>)> = Vec::new();
    for (kind, ..) in KINDS {
        let of_kind = |block: &&ResidualBlock| block.label.split(',').next() == Some(kind);
        let mut own = Vec::new();
        for block in blocks.iter().filter(of_kind) {
            if block.is_able()? {
                let values = singular_values(&block.downstream(Block::Relu)).map_err(|e| e.to_string())?;
                own.push(values[block.full() - 1] / values[0]);
            }
        }
        if !own.is_empty() {
            shares.push((kind, own));
        }
    }
    Ok(shares)
}

/// Name, d, hidden width m, N, d0.
const KINDS: &[(&str, usize, usize, usize, usize)] = &[
    ("d0 = 1", 4, 4, 8, 1),
    ("d0 = 2 of 4", 4, 4, 8, 2),
    ("d0 = 3 of 4", 4, 4, 8, 3),
    ("few samples", 8, 8, 2, 2),
    ("wide block", 8, 16, 32, 2),
    ("d0 = 4 of 16", 16, 16, 32, 4),
    ("d0 = 12 of 16", 16, 16, 32, 12),
    ("d0 = 16 of 64", 64, 64, 128, 16),
    ("hidden units just enough", 8, 6, 32, 2),
    ("too few hidden units", 8, 3, 32, 2),
    ("one pattern", 6, 6, 16, 2),
    ("branch that starts at 0", 6, 6, 16, 2),
];

/// Blocks of every kind under every loss.
fn instances(level: Level) -> Vec<ResidualBlock> {
    let losses = Loss::examples();
    (0..rounds(level))
        .flat_map(|round| (0..KINDS.len()).map(move |kind| (kind, round)))
        .flat_map(|(kind, round)| losses.iter().map(move |loss| block(kind, round, *loss)))
        .collect()
}

fn block(kind: usize, round: u64, loss: Loss) -> ResidualBlock {
    let (name, d, m, n, d0) = KINDS[kind];
    let mut generator = Seed { seed: 60_000 + kind as u64, repeat: round }.generator(Stream::Data, 0);
    let mut normals = |rows: usize, columns: usize, scale: f64| {
        Matrix::from_fn(rows, columns, |_, _| scale * generator.sample::<f64, _>(StandardNormal))
    };
    // Entries of layers as the framework of the paper starts them, with a variance of 1 over the inputs.
    let mut w1 = normals(m, d, (1.0 / d as f64).sqrt());
    let mut w2 = normals(d, m, (1.0 / m as f64).sqrt());
    // Embeddings of unit length: logits of a few units, so that no sample is saturated.
    let scale = (1.0 / d as f64).sqrt();
    let first = normals(d, n, scale);
    let second = &first + normals(d, n, 0.5 * scale);
    let mut h = Matrix::from_column_slice(d, 2 * n, &[first.as_slice(), second.as_slice()].concat());
    match name {
        // Positive inputs and weights: every unit is active on every sample, and the block is linear on the batch.
        "one pattern" => (h, w1) = (h.abs(), w1.abs()),
        "branch that starts at 0" => w2.fill(0.0),
        _ => {}
    }
    ResidualBlock { label: format!("{name}, {}, round {round}", loss.name()), h, w1, w2, d0, loss }
}
