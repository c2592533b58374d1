//! What repeats say together: medians, quantiles, and how sure a median is.

/// Median and range over repeats, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The median.
    pub median: Vec<f64>,
    /// The smallest.
    pub low: Vec<f64>,
    /// The largest.
    pub high: Vec<f64>,
}

impl Band {
    /// Of rows of equal length, one a repeat; elements that are not finite do not count.
    pub fn of(rows: &[&[f64]]) -> Band {
        let length = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        let mut band = Band { median: Vec::new(), low: Vec::new(), high: Vec::new() };
        for k in 0..length {
            let values = sorted_finite(rows.iter().map(|row| row[k]));
            band.median.push(quantile(&values, 0.5));
            band.low.push(values.first().copied().unwrap_or(f64::NAN));
            band.high.push(values.last().copied().unwrap_or(f64::NAN));
        }
        band
    }
}

/// What is finite of `values`, the smallest first.
pub(super) fn sorted_finite(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The quantile of sorted values for `part` in [0, 1], linear between two of them (type 7 of Hyndman and Fan 1996, which NumPy and
/// pandas have too); not a number where there are none.
pub(super) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = part * last as f64;
    let below = (position as usize).min(last);
    let weight = position - below as f64;
    // Each with a weight of its own, so that no difference of two huge numbers overflows.
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    if weight == 0.0 {
        return low;
    }
    // Rounding may lead out of the two, most of all where they are equal.
    (low * (1.0 - weight) + high * weight).clamp(low, high)
}

/// Fewest values of which a median has an interval: that of five lies outside their whole range with probability 2⁻⁴ > 5 %.
const FEWEST: usize = 6;

/// What a tail of a 95 % interval holds.
const TAIL: f64 = 0.025;

/// The distribution of the median of a bootstrap sample of `n` values, in closed form: what drawing ever more of them tends to.
///
/// Of n draws with replacement out of sorted values, let i and j be the ranks of the m-th and the (m+1)-th smallest, m = n/2. For
/// i < j, exactly m draws are at most i, one of them i, and the others at least j, one of them j, so that their probability is
/// C(n, m) (iᵐ - (i-1)ᵐ) ((n-j+1)ⁿ⁻ᵐ - (n-j)ⁿ⁻ᵐ) / nⁿ; and the rank of the m-th alone is at most i with the probability that a
/// binomial variable of n draws and chance i/n is m or more, which leaves that of i = j. For odd n that is all.
pub(super) struct BootstrapMedian {
    /// Of each pair of ranks, counted from 0, whose mean can be the median, the probability.
    atoms: Vec<(usize, usize, f64)>,
}

impl BootstrapMedian {
    /// For samples of `n` values; none where they are too few to bound their median. Cost: O(n) numbers, of which some √n matter.
    pub(super) fn of(n: usize) -> Option<BootstrapMedian> {
        if n < FEWEST {
            return None;
        }
        let middle = n.div_ceil(2);
        // The rank has a standard deviation of √n / 2.
        let reach = 6 * n.isqrt() + 1;
        let ranks = middle.saturating_sub(reach).max(1)..=(middle + reach).min(n);
        let factorials = log_factorials(n);
        let at_most = |rank: usize| binomial_at_least(n, rank, middle, &factorials);
        let mut atoms = Vec::new();
        for i in ranks {
            let mut alone = (at_most(i) - at_most(i - 1)).max(0.0);
            if n.is_multiple_of(2) {
                // Ranks in a row are all missed with a probability that falls e-fold with each.
                for j in i + 1..=(i + 40).min(n) {
                    let both = pair_probability(n, i, j, &factorials);
                    atoms.push((i - 1, j - 1, both));
                    alone -= both;
                }
            }
            atoms.push((i - 1, i - 1, alone.max(0.0)));
        }
        Some(BootstrapMedian { atoms })
    }

    /// The 95 % percentile interval of the median of these sorted values, as many as the distribution is for: the smallest and
    /// the largest that medians of bootstrap samples do not pass with a probability above 2.5 %.
    pub(super) fn interval(&self, sorted: &[f64]) -> (f64, f64) {
        let middle = |i: usize, j: usize| (0.5 * sorted[i] + 0.5 * sorted[j]).clamp(sorted[i], sorted[j]);
        let mut medians: Vec<(f64, f64)> =
            self.atoms.iter().map(|&(i, j, part)| (middle(i, j), part)).collect();
        medians.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first_beyond = |mut medians: &mut dyn Iterator<Item = &(f64, f64)>| {
            let mut below = 0.0;
            let beyond = |(_, part): &&(f64, f64)| {
                below += part;
                below >= TAIL
            };
            (&mut medians).find(beyond).map_or(f64::NAN, |(median, _)| *median)
        };
        (first_beyond(&mut medians.iter()), first_beyond(&mut medians.iter().rev()))
    }
}

/// ln k! for k up to n.
fn log_factorials(n: usize) -> Vec<f64> {
    let mut logarithms = vec![0.0; n + 1];
    for k in 1..=n {
        logarithms[k] = logarithms[k - 1] + (k as f64).ln();
    }
    logarithms
}

fn log_choose(n: usize, k: usize, factorials: &[f64]) -> f64 {
    factorials[n] - factorials[k] - factorials[n - k]
}

/// The probability that of n draws, each of chance `rank` / n, `least` or more succeed.
fn binomial_at_least(n: usize, rank: usize, least: usize, factorials: &[f64]) -> f64 {
    if rank == 0 || rank == n {
        return if rank == 0 { 0.0 } else { 1.0 };
    }
    let chance = rank as f64 / n as f64;
    let term = |k: usize| {
        let (successes, others) = (k as f64, (n - k) as f64);
        (log_choose(n, k, factorials) + successes * chance.ln() + others * (-chance).ln_1p()).exp()
    };
    // The smaller tail, from its largest term on.
    let sum = |terms: &mut dyn Iterator<Item = usize>| {
        let mut sum = 0.0;
        for k in terms {
            let next = term(k);
            sum += next;
            if next < 1e-17 * sum {
                break;
            }
        }
        sum
    };
    if least > rank { sum(&mut (least..=n)) } else { 1.0 - sum(&mut (0..least).rev()) }
}

/// The probability that the two middle ones of n draws, n even, have the ranks i < j, counted from 1.
fn pair_probability(n: usize, i: usize, j: usize, factorials: &[f64]) -> f64 {
    let half = n / 2;
    // (kʰ - (k-1)ʰ) / nʰ
    let difference = |k: usize| {
        let (k, half) = (k as f64, half as f64);
        half * (k / n as f64).ln() + (-((k - 1.0) / k).powf(half)).ln_1p()
    };
    (log_choose(n, half, factorials) + difference(i) + difference(n - j + 1)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Exp1, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn a_band_is_the_median_between_the_extremes_and_passes_over_what_is_not_finite() {
        let band = Band::of(&[&[3.0, 1.0], &[1.0, f64::NAN], &[2.0, 5.0]]);
        assert_eq!(band, Band { median: vec![2.0, 3.0], low: vec![1.0, 1.0], high: vec![3.0, 5.0] });
    }

    #[test]
    fn quantiles_are_linear_between_the_values() {
        let values = [1.0, 2.0, 4.0, 8.0];
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| quantile(&values, part));
        assert_eq!(found, [1.0, 1.75, 3.0, 5.0, 8.0]);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
        assert_eq!(quantile(&[-1.7e308, 1.7e308], 0.5), 0.0);
        assert_eq!(quantile(&[1.0, f64::INFINITY], 0.0), 1.0);
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(quantile(&[5e-324; 3], 0.3), 5e-324);
        let near = [0.1, 0.1_f64.next_up()];
        assert!((0..1000).all(|part| (near[0]..=near[1]).contains(&quantile(&near, f64::from(part) * 1e-3))));
    }

    /// Probabilities of twice the median's rank, by a walk over all nⁿ samples.
    fn enumerated(n: usize) -> Vec<f64> {
        let mut counts = vec![0_u64; 2 * n];
        let mut draws = vec![0; n];
        loop {
            let mut sorted = draws.clone();
            sorted.sort_unstable();
            counts[sorted[(n - 1) / 2] + sorted[n / 2]] += 1;
            let Some(next) = draws.iter().position(|&draw| draw + 1 < n) else { break };
            draws[next] += 1;
            draws[..next].fill(0);
        }
        let all = (n as f64).powi(n as i32);
        counts.into_iter().map(|count| count as f64 / all).collect()
    }

    #[test]
    fn the_distribution_of_the_bootstrap_median_is_that_of_all_samples() {
        for n in [6, 7, 8] {
            let expected = enumerated(n);
            let mut found = vec![0.0; 2 * n];
            for (i, j, part) in BootstrapMedian::of(n).unwrap().atoms {
                found[i + j] += part;
            }
            for (rank, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < 1e-13, "n = {n}, {rank}: {found} and {expected}");
            }
        }
        for n in [51, 100, 1001, 20_000] {
            let total: f64 = BootstrapMedian::of(n).unwrap().atoms.iter().map(|(_, _, part)| part).sum();
            assert!((total - 1.0).abs() < 1e-9, "n = {n}: {total}");
        }
    }

    #[test]
    fn the_interval_grows_with_the_spread_and_turns_with_the_sign() {
        let sorted = [1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0];
        let bootstrap = BootstrapMedian::of(7).unwrap();
        let (low, high) = bootstrap.interval(&sorted);
        assert!(low < 7.0 && high > 7.0, "{low} {high}");
        let mirrored: Vec<f64> = sorted.iter().rev().map(|value| -2.0 * value).collect();
        assert_eq!(bootstrap.interval(&mirrored), (-2.0 * high, -2.0 * low));
        for value in [3.0, 5e-324, 1.5e-323, f64::MAX] {
            assert_eq!(bootstrap.interval(&[value; 7]), (value, value));
        }
    }

    /// Of how many of `trials` samples of `n` values the interval holds the median of their distribution.
    fn coverage<D: Distribution<f64>>(n: usize, distribution: &D, median: f64, shift: f64) -> f64 {
        let bootstrap = BootstrapMedian::of(n).unwrap();
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(n as u64);
        let trials = 4000;
        let hits = (0..trials).filter(|_| {
            let draws = (0..n).map(|_| distribution.sample(&mut generator) + shift);
            let (low, high) = bootstrap.interval(&sorted_finite(draws));
            low <= median && median <= high
        });
        hits.count() as f64 / f64::from(trials)
    }

    /// Bounds of that part, the same for all continuous distributions. An end of the interval lies between the 2.5 % points of the
    /// two middle ones of a bootstrap sample, and these are values of fixed ranks a and b, counted from 1: their interval holds
    /// the median if at least a and fewer than b values lie below it.
    fn coverage_bounds(n: usize) -> (f64, f64) {
        let factorials = log_factorials(n);
        let end = |middle: usize| {
            let at_most = |rank: usize| binomial_at_least(n, rank, middle, &factorials);
            let low = (1..=n).find(|&rank| at_most(rank) >= TAIL).unwrap();
            let high = (1..=n).rev().find(|&rank| 1.0 - at_most(rank - 1) >= TAIL).unwrap();
            (low, high)
        };
        let (lower, upper) = (end(n.div_ceil(2)), end(n / 2 + 1));
        let part = |ranks: std::ops::Range<usize>| {
            ranks
                .map(|k| (log_choose(n, k, &factorials) - n as f64 * std::f64::consts::LN_2).exp())
                .sum::<f64>()
        };
        (part(upper.0..lower.1), part(lower.0..upper.1))
    }

    #[test]
    fn the_interval_holds_the_true_median_as_often_as_its_ranks_say() {
        for n in [6, 7, 8, 12, 15, 16, 31, 32, 101] {
            let (least, most) = coverage_bounds(n);
            // What a count of 4,000 trials strays with a probability of 6e-5.
            let error = 4.0 * (least * (1.0 - least) / 4000.0).sqrt();
            let normal = coverage(n, &StandardNormal, 0.0, 0.0);
            let skewed = coverage(n, &Exp1, std::f64::consts::LN_2, 0.0);
            for found in [normal, skewed] {
                let holds = least - error <= found && found <= most + error;
                assert!(holds, "n = {n}: {found}, not in {least} to {most}");
            }
            assert!(n % 2 == 0 || least == most, "odd numbers have one median");
            // Few values are held to less than 95 %, many to about that.
            assert!(least > if n < 101 { 0.75 } else { 0.94 } && most < 0.99, "n = {n}: {least} to {most}");
        }
        // Control: of samples that are shifted by a standard deviation it seldom does.
        let shifted = coverage(32, &StandardNormal, 0.0, 1.0);
        assert!(shifted < 0.2, "{shifted}");
        assert!(BootstrapMedian::of(5).is_none());
    }
}
