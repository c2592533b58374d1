//! What the sums of a softmax give once they are known: normalisers, weights and losses of many rows at a time.

use super::pairwise::{exp, resize};

/// Results of some rows of logits, one value a row.
#[derive(Debug, Default)]
pub(super) struct Softmax {
    /// 1 / Σ_j exp(l_ij).
    pub normalisers: Vec<f64>,
    /// 1 - α_ii.
    pub negative_weights: Vec<f64>,
    /// Σ_{j≠i} exp(l_ij - l_ii).
    ratios: Vec<f64>,
}

/// A sum of exponentials must not be smaller than this: the kernels let exponentials below 2^-1000 count as 0, which are then
/// weights below 1e-200.
const SMALLEST_TOTAL: f64 = 1e-100;

impl Softmax {
    /// From Σ_{j≠i} exp(l_ij) and l_ii of each row; returns Σ_i log Σ_j exp(l_ij) - l_ii, or NaN where a sum is not a number or
    /// leaves the range from 1e-100 to infinity. Logits l_ii are at most 700.
    pub fn compute(&mut self, negatives: &[f64], positives: &[f64]) -> f64 {
        let count = negatives.len();
        resize(&mut self.normalisers, count);
        resize(&mut self.negative_weights, count);
        resize(&mut self.ratios, count);
        let Softmax { normalisers, negative_weights, ratios } = self;
        if !normalise(negatives, positives, normalisers, negative_weights, ratios) {
            return f64::NAN;
        }
        let mut loss = 0.0;
        for (first, ratios) in (0..).step_by(BLOCK).zip(ratios.chunks(BLOCK)) {
            loss += sum_of_logarithms(ratios).unwrap_or_else(|| {
                let rows = ratios.iter().zip(&normalisers[first..]).zip(&positives[first..]);
                // Saturated rows keep their digits.
                let loss = |ratio: f64, normaliser: f64, positive: f64| {
                    if ratio < 1.0 { ratio.ln_1p() } else { -normaliser.ln() - positive }
                };
                rows.map(|((ratio, normaliser), positive)| loss(*ratio, *normaliser, *positive)).sum()
            });
        }
        loss
    }
}

/// Writes the results of rows; says whether all sums are in range.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn normalise(
    negatives: &[f64],
    positives: &[f64],
    normalisers: &mut [f64],
    negative_weights: &mut [f64],
    ratios: &mut [f64],
) -> bool {
    let count = negatives.len();
    let (positives, ratios) = (&positives[..count], &mut ratios[..count]);
    let (normalisers, negative_weights) = (&mut normalisers[..count], &mut negative_weights[..count]);
    let mut in_range = true;
    for i in 0..count {
        let own = exp(positives[i]);
        let total = negatives[i] + own;
        normalisers[i] = 1.0 / total;
        negative_weights[i] = negatives[i] / total;
        ratios[i] = negatives[i] / own;
        in_range &= (SMALLEST_TOTAL..f64::INFINITY).contains(&total);
    }
    in_range
}

/// Rows whose ratios are multiplied before a logarithm is taken.
const BLOCK: usize = 256;

/// Products that are formed side by side.
const LANES: usize = 8;

/// Products of this many factors 1 + x, no larger than 2^31, stay below 2^1024.
const LARGEST_RATIO: f64 = (1u64 << 31) as f64 - 1.0;

/// Σ log(1 + x) of at most [`BLOCK`] values, to their last digits also where they are small: Π (1 + x) - 1 grows by x + x Π, of
/// which all terms are positive. Nothing where a product may leave the range of numbers.
#[multiversion::multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn sum_of_logarithms(ratios: &[f64]) -> Option<f64> {
    let mut products = [0.0; LANES];
    let mut largest = [0.0f64; LANES];
    let mut chunks = ratios.chunks_exact(LANES);
    for chunk in &mut chunks {
        for l in 0..LANES {
            products[l] += chunk[l] + chunk[l] * products[l];
            largest[l] = if chunk[l] > largest[l] { chunk[l] } else { largest[l] };
        }
    }
    for (l, x) in chunks.remainder().iter().enumerate() {
        products[l] += x + x * products[l];
        largest[l] = largest[l].max(*x);
    }
    let in_range = largest.iter().all(|largest| *largest <= LARGEST_RATIO);
    in_range.then(|| products.iter().map(|product| product.ln_1p()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative_error(value: f64, expected: f64) -> f64 {
        (value - expected).abs() / expected.abs()
    }

    #[test]
    fn losses_of_saturated_ordinary_and_hopeless_rows_keep_their_digits() {
        // Differences of logits from -100, where log(1 + x) is x, to 100, where it is the difference; and blocks of all sizes.
        for spread in [1.0, 10.0, 100.0] {
            for count in [1, 7, 8, 64, 255, 256, 257, 1000] {
                let positives: Vec<f64> = (0..count).map(|i| 0.3 * (i as f64).sin()).collect();
                let differences: Vec<f64> =
                    (0..count).map(|i| spread * (0.7 * i as f64 + 1.0).cos()).collect();
                let negatives: Vec<f64> = positives
                    .iter()
                    .zip(&differences)
                    .map(|(p, difference)| (p + difference).exp())
                    .collect();
                let mut softmax = Softmax::default();
                let loss = softmax.compute(&negatives, &positives);
                let expected: f64 = differences.iter().map(|difference| difference.exp().ln_1p()).sum();
                assert!(relative_error(loss, expected) < 1e-14, "{count} rows, {spread}: {loss} {expected}");
                for i in 0..count {
                    let total = negatives[i] + positives[i].exp();
                    assert!(relative_error(softmax.normalisers[i], 1.0 / total) < 1e-15);
                    assert!(relative_error(softmax.negative_weights[i], negatives[i] / total) < 1e-15);
                }
            }
        }
    }

    #[test]
    fn saturated_rows_alone_lose_nothing_to_the_one_beside_them() {
        let (negatives, positives) = ([1e-20; 300], [0.0; 300]);
        assert!(relative_error(Softmax::default().compute(&negatives, &positives), 3e-18) < 1e-14);
    }

    #[test]
    fn products_of_many_hopeless_rows_do_not_overflow() {
        let (negatives, positives) = ([40.0f64.exp(); 300], [0.0; 300]);
        let expected = 300.0 * 40.0f64.exp().ln_1p();
        assert!(relative_error(Softmax::default().compute(&negatives, &positives), expected) < 1e-14);
    }

    #[test]
    fn a_positive_pair_of_weight_zero_costs_its_distance_and_sums_out_of_range_are_told() {
        // exp(-800) counts as 0.
        let loss = Softmax::default().compute(&[1.0, 1.0], &[-800.0, 0.0]);
        assert!(relative_error(loss, 800.0 + 2.0f64.ln()) < 1e-15);
        for negatives in [0.0, 1e-101, f64::NAN, f64::INFINITY] {
            assert!(Softmax::default().compute(&[negatives], &[-800.0]).is_nan(), "{negatives}");
        }
    }
}
