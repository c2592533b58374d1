//! Effective ranks of a spectrum: four numbers that answer "how many dimensions" differently.

/// The exponential of the entropy of the normalised values (Roy and Vetterli 2007); 0 for a zero spectrum.
pub fn effective_rank(values: &[f64]) -> f64 {
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let entropy: f64 = values
        .iter()
        .map(|value| value / total)
        .filter(|part| *part > 0.0)
        .map(|part| -part * part.ln())
        .sum();
    entropy.exp()
}

/// Σσ² / max σ², the squared ratio of Frobenius to spectral norm (Rudelson and Vershynin 2007); 0 for a zero spectrum.
pub fn stable_rank(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return 0.0;
    }
    values.iter().map(|value| (value / largest) * (value / largest)).sum()
}

/// (Σσ)² / Σσ²; 0 for a zero spectrum.
pub fn participation_ratio(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return 0.0;
    }
    let sum: f64 = values.iter().map(|value| value / largest).sum();
    sum * sum / stable_rank(values)
}

/// Number of values above the numerical floor.
pub fn numerical_rank(values: &[f64], floor: f64) -> usize {
    values.iter().filter(|value| **value > floor).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_of_k_equal_values_are_k_at_any_scale() {
        for scale in [1e-160, 1.0, 1e160] {
            let values = [scale, scale, scale, 0.0, 0.0];
            assert!((effective_rank(&values) - 3.0).abs() < 1e-12);
            assert!((stable_rank(&values) - 3.0).abs() < 1e-12);
            assert!((participation_ratio(&values) - 3.0).abs() < 1e-12);
            assert_eq!(numerical_rank(&values, 1e-8 * scale), 3);
        }
    }

    #[test]
    fn the_definitions_differ_on_an_unequal_spectrum() {
        let values = [4.0, 2.0, 1.0, 1.0];
        assert!((effective_rank(&values) - 2f64.powf(1.75)).abs() < 1e-12);
        assert!((stable_rank(&values) - 22.0 / 16.0).abs() < 1e-12);
        assert!((participation_ratio(&values) - 64.0 / 22.0).abs() < 1e-12);
        assert_eq!(numerical_rank(&values, 1.5), 2);
    }

    #[test]
    fn a_zero_spectrum_has_rank_0() {
        assert_eq!(effective_rank(&[0.0; 3]), 0.0);
        assert_eq!(stable_rank(&[0.0; 3]), 0.0);
        assert_eq!(participation_ratio(&[0.0; 3]), 0.0);
        assert_eq!(numerical_rank(&[0.0; 3], 0.0), 0);
    }
}
