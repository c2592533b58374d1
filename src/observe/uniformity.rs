//! Alignment and uniformity of normalised embeddings (Wang and Isola 2020).

use crate::loss::{NORM_FLOOR, norm};

/// Mean |u_i - u'_i|² of positive pairs and log mean_{i≠j} exp(-2 |u_i - u_j|²) of first views, u = z/|z|.
///
/// `embeddings` is d x 2N. Cost: O(N² d).
pub fn view_distance_and_uniformity(embeddings: &[f64], dim: usize) -> (f64, f64) {
    let units: Vec<f64> = embeddings
        .chunks_exact(dim)
        .flat_map(|z| {
            let length = norm(z).max(NORM_FLOOR);
            z.iter().map(move |v| v / length)
        })
        .collect();
    let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let (first, second) = units.split_at(units.len() / 2);
    let count = first.len() / dim;
    let pairs = first.chunks_exact(dim).zip(second.chunks_exact(dim));
    let distance = pairs.map(|(u, u2)| square(u, u2)).sum::<f64>() / count as f64;
    let mut sum = 0.0;
    for i in 1..count {
        let own = &first[i * dim..(i + 1) * dim];
        sum += first[..i * dim].chunks_exact(dim).map(|other| (-2.0 * square(own, other)).exp()).sum::<f64>();
    }
    (distance, (2.0 * sum / (count as f64 * (count as f64 - 1.0))).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposite_points_have_uniformity_minus_8_and_equal_views_distance_0() {
        let (distance, uniformity) = view_distance_and_uniformity(&[1.0, -2.0, 3.0, -0.5], 1);
        assert_eq!(distance, 0.0);
        assert!((uniformity + 8.0).abs() < 1e-14);
        let (distance, _) = view_distance_and_uniformity(&[1.0, -2.0, -3.0, -0.5], 1);
        assert_eq!(distance, 2.0);
    }
}
