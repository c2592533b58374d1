//! Effective ranks of a spectrum: four numbers that answer "how many dimensions" differently.

/// The values over the largest one: NaN where one is not finite, nothing for a zero spectrum.
fn relative(values: &[f64]) -> Vec<f64> {
    if values.iter().any(|value| !value.is_finite()) {
        return vec![f64::NAN];
    }
    let largest = values.iter().copied().fold(0.0, f64::max);
    if largest > 0.0 { values.iter().map(|value| value / largest).collect() } else { Vec::new() }
}

/// The exponential of the entropy of the normalised values (Roy and Vetterli 2007); 0 for a zero spectrum.
pub fn effective_rank(values: &[f64]) -> f64 {
    let relative = relative(values);
    let total: f64 = relative.iter().sum();
    if relative.is_empty() || total.is_nan() {
        return total;
    }
    let parts = relative.iter().map(|value| value / total).filter(|part| *part > 0.0);
    parts.map(|part| -part * part.ln()).sum::<f64>().exp()
}

/// Σσ² / max σ², the squared ratio of Frobenius to spectral norm (Rudelson and Vershynin 2007); 0 for a zero spectrum.
pub fn stable_rank(values: &[f64]) -> f64 {
    relative(values).iter().map(|value| value * value).sum()
}

/// (Σσ)² / Σσ²; 0 for a zero spectrum.
pub fn participation_ratio(values: &[f64]) -> f64 {
    let relative = relative(values);
    if relative.is_empty() {
        return 0.0;
    }
    let sum: f64 = relative.iter().sum();
    sum * sum / relative.iter().map(|value| value * value).sum::<f64>()
}

/// Number of values above the numerical floor; NaN where one is NaN.
pub fn numerical_rank(values: &[f64], floor: f64) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    values.iter().filter(|value| **value > floor).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_of_k_equal_values_are_k_at_any_scale() {
        for scale in [1e-300, 1.0, 1e308] {
            let values = [scale, scale, scale, 0.0, 0.0];
            assert!((effective_rank(&values) - 3.0).abs() < 1e-12);
            assert!((stable_rank(&values) - 3.0).abs() < 1e-12);
            assert!((participation_ratio(&values) - 3.0).abs() < 1e-12);
            assert_eq!(numerical_rank(&values, 1e-8 * scale), 3.0);
        }
    }

    #[test]
    fn the_definitions_differ_on_an_unequal_spectrum() {
        let values = [4.0, 2.0, 1.0, 1.0];
        assert!((effective_rank(&values) - 2f64.powf(1.75)).abs() < 1e-12);
        assert!((stable_rank(&values) - 22.0 / 16.0).abs() < 1e-12);
        assert!((participation_ratio(&values) - 64.0 / 22.0).abs() < 1e-12);
        assert_eq!(numerical_rank(&values, 1.5), 2.0);
    }

    #[test]
    fn a_zero_spectrum_has_rank_0() {
        assert_eq!(effective_rank(&[0.0; 3]), 0.0);
        assert_eq!(stable_rank(&[0.0; 3]), 0.0);
        assert_eq!(participation_ratio(&[0.0; 3]), 0.0);
        assert_eq!(numerical_rank(&[0.0; 3], 0.0), 0.0);
    }

    #[test]
    fn a_spectrum_that_is_not_known_has_no_rank() {
        let values = [1.0, f64::NAN];
        for rank in [effective_rank(&values), stable_rank(&values), participation_ratio(&values)] {
            assert!(rank.is_nan());
        }
        assert!(numerical_rank(&values, 0.0).is_nan());
    }
}
