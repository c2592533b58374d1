//! The inner loops: weighted sums of stages and norms, in blocks that stay in the first-level cache.

/// Values a block: four kilobytes, so that the sum and one stage of a block fit the first-level cache.
const BLOCK: usize = 512;

/// Writes `base + h sum_j weights[j] stages[j]` to `out` and says whether every value is finite.
///
/// `stages` holds rows of the length of `out`; the order of summation is fixed. No allocation.
pub(super) fn combine(out: &mut [f64], base: &[f64], h: f64, weights: &[f64], stages: &[f64]) -> bool {
    let length = out.len();
    let mut finite = true;
    for start in (0..length).step_by(BLOCK) {
        let end = (start + BLOCK).min(length);
        let out = &mut out[start..end];
        weighted_sum(out, weights, stages, length, start);
        for (out, base) in out.iter_mut().zip(&base[start..end]) {
            *out = base + h * *out;
        }
        finite &= all_finite(out);
    }
    finite
}

/// Writes `h sum_j weights[j] stages[j]` to `out`.
pub(super) fn scaled_sum(out: &mut [f64], h: f64, weights: &[f64], stages: &[f64]) {
    let length = out.len();
    for start in (0..length).step_by(BLOCK) {
        let end = (start + BLOCK).min(length);
        let out = &mut out[start..end];
        weighted_sum(out, weights, stages, length, start);
        for out in out {
            *out *= h;
        }
    }
}

fn weighted_sum(out: &mut [f64], weights: &[f64], stages: &[f64], length: usize, start: usize) {
    out.fill(0.0);
    let count = out.len();
    let mut terms = weights
        .iter()
        .enumerate()
        .filter(|&(_, &weight)| weight != 0.0)
        .map(|(j, &weight)| (weight, &stages[j * length + start..][..count]));
    // Several stages in one pass: the sum is loaded and stored less often, in the same order of summation.
    while let Some(first) = terms.next() {
        match (terms.next(), terms.next(), terms.next()) {
            (Some(second), Some(third), Some(fourth)) => add_four(out, [first, second, third, fourth]),
            (second, third, fourth) => {
                for (weight, stage) in [Some(first), second, third, fourth].into_iter().flatten() {
                    add_one(out, weight, stage);
                }
            }
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn add_four(out: &mut [f64], terms: [(f64, &[f64]); 4]) {
    let [(a, s0), (b, s1), (c, s2), (d, s3)] = terms;
    for ((((out, s0), s1), s2), s3) in out.iter_mut().zip(s0).zip(s1).zip(s2).zip(s3) {
        *out = *out + a * s0 + b * s1 + c * s2 + d * s3;
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn add_one(out: &mut [f64], weight: f64, stage: &[f64]) {
    for (out, stage) in out.iter_mut().zip(stage) {
        *out += weight * stage;
    }
}

/// Whether no value is infinite or not a number.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
pub(super) fn all_finite(values: &[f64]) -> bool {
    // Without short-circuit: the loop vectorises, and the answer is almost always yes.
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}

/// Euclidean norm.
pub(super) fn euclidean_norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// How the weighted errors `e_i / (atol + rtol max(|y_i|, |y_i'|))` of the elements become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorNorm {
    /// Root of the mean of the squares: the usual choice, and the default. Few bad elements among many may exceed the tolerance.
    #[default]
    RootMeanSquare,
    /// The largest: every element keeps its tolerance, at a cost of smaller steps.
    Maximum,
}

/// Norms of values that come block by block.
#[derive(Clone, Copy)]
pub(super) struct Accumulator {
    norm: ErrorNorm,
    value: f64,
    count: usize,
}

impl Accumulator {
    pub(super) fn new(norm: ErrorNorm) -> Self {
        Accumulator { norm, value: 0.0, count: 0 }
    }

    pub(super) fn add(&mut self, values: &[f64], scales: &[f64]) {
        let ratios = values.iter().zip(scales).map(|(value, scale)| value / scale);
        match self.norm {
            ErrorNorm::RootMeanSquare => self.value += ratios.map(|ratio| ratio * ratio).sum::<f64>(),
            // `f64::max` would drop a ratio that is not a number.
            ErrorNorm::Maximum => {
                self.value = ratios.fold(self.value, |largest, ratio| {
                    if largest >= ratio.abs() || largest.is_nan() { largest } else { ratio.abs() }
                })
            }
        }
        self.count += values.len();
    }

    pub(super) fn finish(self) -> f64 {
        match self.norm {
            ErrorNorm::RootMeanSquare => (self.value / self.count as f64).sqrt(),
            ErrorNorm::Maximum => self.value,
        }
    }
}

/// Norms of `sum_j weights[j] stages[j]`, for each of `estimates`, relative to the tolerances at `before` and `after`.
pub(super) fn error_norms<const N: usize>(
    norm: ErrorNorm,
    tolerances: (f64, f64),
    estimates: [&[f64]; N],
    stages: &[f64],
    before: &[f64],
    after: &[f64],
) -> [f64; N] {
    let length = before.len();
    let mut norms = [Accumulator::new(norm); N];
    let (mut scales, mut errors) = ([0.0; BLOCK], [0.0; BLOCK]);
    for start in (0..length).step_by(BLOCK) {
        let end = (start + BLOCK).min(length);
        let (scales, errors) = (&mut scales[..end - start], &mut errors[..end - start]);
        fill_scales(scales, tolerances, &before[start..end], &after[start..end]);
        for (norm, weights) in norms.iter_mut().zip(estimates) {
            weighted_sum(errors, weights, stages, length, start);
            norm.add(errors, scales);
        }
    }
    norms.map(Accumulator::finish)
}

/// Norm of `values - other` relative to the tolerances at `state`; `other` absent is zero.
pub(super) fn scaled_norm(
    norm: ErrorNorm,
    tolerances: (f64, f64),
    values: &[f64],
    other: Option<&[f64]>,
    state: &[f64],
) -> f64 {
    let mut accumulator = Accumulator::new(norm);
    for (i, (&value, state)) in values.iter().zip(state).enumerate() {
        let mut scale = [0.0];
        fill_scales(&mut scale, tolerances, &[*state], &[*state]);
        accumulator.add(&[value - other.map_or(0.0, |other| other[i])], &scale);
    }
    accumulator.finish()
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn fill_scales(scales: &mut [f64], (rtol, atol): (f64, f64), before: &[f64], after: &[f64]) {
    for (scale, (before, after)) in scales.iter_mut().zip(before.iter().zip(after)) {
        let size = if before.abs() > after.abs() { before.abs() } else { after.abs() };
        // A positive scale also where atol is 0 and the element is 0: such an element must have no error.
        *scale = (atol + rtol * size).max(f64::MIN_POSITIVE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combination_over_several_blocks_is_the_sum_of_its_terms() {
        let length = 2 * BLOCK + 7;
        let stages: Vec<f64> = (0..3 * length).map(|i| (i as f64 * 0.7).sin()).collect();
        let base = vec![2.0; length];
        let mut out = vec![f64::NAN; length];
        assert!(combine(&mut out, &base, 0.5, &[1.0, 0.0, -3.0], &stages));
        for i in 0..length {
            assert_eq!(out[i], 2.0 + 0.5 * (stages[i] + -3.0 * stages[2 * length + i]));
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_seen_wherever_it_stands() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for i in 0..5 {
                let mut values = [1.0; 5];
                values[i] = bad;
                assert!(!all_finite(&values));
            }
        }
        assert!(all_finite(&[0.0, -1.0, f64::MAX]));
    }

    #[test]
    fn the_maximum_norm_does_not_hide_a_value_that_is_not_a_number() {
        for values in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
            let mut norm = Accumulator::new(ErrorNorm::Maximum);
            norm.add(&values, &[1.0, 1.0]);
            assert!(norm.finish().is_nan());
        }
    }

    #[test]
    fn the_norms_are_those_of_their_definitions() {
        let tolerances = (0.5, 1.0);
        // Scales 1 + 0.5 * 2 = 2 and 1 + 0.5 * 6 = 4; weighted errors 3 and 4.
        let (before, after) = ([2.0, 1.0], [-1.0, -6.0]);
        let norms = |norm| error_norms(norm, tolerances, [&[2.0][..], &[-1.0]], &[3.0, 8.0], &before, &after);
        assert_eq!(norms(ErrorNorm::RootMeanSquare), [12.5f64.sqrt(), 3.125f64.sqrt()]);
        assert_eq!(norms(ErrorNorm::Maximum), [4.0, 2.0]);
    }
}
