//! Comparisons that respect what singular vectors leave open: a joint sign, and a rotation inside a group of equal values.

use std::ops::Range;

use super::{DecompositionError, Matrix, Svd, frobenius_norm, singular_values};

/// ‖a - b‖ / ‖b‖ in the Frobenius norm; 0 where both are zero, infinite where only b is.
///
/// Entries of any size; NaN where an entry is NaN. Panics where the shapes differ.
pub fn relative_difference(a: &Matrix, b: &Matrix) -> f64 {
    assert_eq!(a.shape(), b.shape(), "compared matrices have one shape");
    // Halves, for the difference of two finite numbers may overflow. Exact unless subnormal.
    let difference = frobenius_norm(&a.zip_map(b, |x, y| 0.5 * x - 0.5 * y));
    let size = frobenius_norm(b);
    if difference == 0.0 && size == 0.0 { 0.0 } else { difference / (0.5 * size) }
}

/// Splits descending, non-negative values into groups that count as equal.
///
/// Neighbours belong together where (larger - smaller) < gap · larger; zeros belong together. Membership chains: the ends of a
/// long group may differ by more than `gap`. The ranges are in order and cover all indices.
/// Panics where the values are not descending (or not numbers).
pub fn groups_by_relative_gap(values_descending: &[f64], gap: f64) -> Vec<Range<usize>> {
    let values = values_descending;
    let mut groups = Vec::new();
    let mut start = 0;
    for k in 1..=values.len() {
        if let (Some(&smaller), Some(&larger)) = (values.get(k), values.get(k - 1)) {
            assert!(larger >= smaller, "values descend, but {larger} stands before {smaller}");
            if larger - smaller < gap * larger || larger == smaller {
                continue;
            }
        }
        groups.push(start..k);
        start = k;
    }
    groups
}

/// Flips the joint sign of each pair of singular vectors that points away from its counterpart in `reference`.
///
/// After it u_k·u'_k + v_k·v'_k ≥ 0 for every k, and the decomposition is still one of the same matrix. Meant for values that
/// are apart and change little; where values cross or coincide compare groups instead. Panics where the shapes differ.
pub fn align_signs(svd: &mut Svd, reference: &Svd) {
    assert_eq!(svd.u.shape(), reference.u.shape(), "left vectors of one shape");
    assert_eq!(svd.v.shape(), reference.v.shape(), "right vectors of one shape");
    for k in 0..svd.u.ncols() {
        let agreement =
            svd.u.column(k).dot(&reference.u.column(k)) + svd.v.column(k).dot(&reference.v.column(k));
        if agreement < 0.0 {
            svd.u.column_mut(k).neg_mut();
            svd.v.column_mut(k).neg_mut();
        }
    }
}

/// The principal angles between the spans of two n x k matrices with orthonormal columns, ascending, in radians, k of them.
///
/// From sines and cosines together (after Björck & Golub, Numerical methods for computing angles between linear subspaces, 1973),
/// so that both angles near 0 and near π/2 are accurate to some ε. Cost: a few n k². Panics where the shapes differ.
/// Errors where an entry is not finite.
pub fn principal_angles(a: &Matrix, b: &Matrix) -> Result<Vec<f64>, DecompositionError> {
    assert_eq!(a.shape(), b.shape(), "compared bases have one shape");
    let overlaps = a.transpose() * b;
    let outside = b - a * &overlaps;
    let cosines = singular_values(&overlaps)?;
    // min(n, k) sines are there, and k angles: a basis of orthonormal columns has k ≤ n.
    let sines = singular_values(&outside)?;
    Ok(sines.iter().rev().zip(&cosines).map(|(sin, cos)| sin.atan2(*cos)).collect())
}

/// The spectral norm of P_a - P_b for the projectors on the spans of two n x k matrices with orthonormal columns: the sine of
/// the largest principal angle; 0 for the same span, 1 where a direction of one is orthogonal to the other.
///
/// Does not depend on the choice of basis. Cost, panics and errors as [`principal_angles`].
pub fn subspace_difference(a: &Matrix, b: &Matrix) -> Result<f64, DecompositionError> {
    Ok(principal_angles(a, b)?.last().map_or(0.0, |angle| angle.sin()))
}

/// [`subspace_difference`] of the columns of two bases within each group, as from [`groups_by_relative_gap`].
///
/// For a group of one column it is the sine of the angle between the two vectors, whatever their signs.
/// Panics where the shapes differ or a group reaches beyond the last column. Errors where an entry is not finite.
pub fn group_differences(
    a: &Matrix,
    b: &Matrix,
    groups: &[Range<usize>],
) -> Result<Vec<f64>, DecompositionError> {
    assert_eq!(a.shape(), b.shape(), "compared bases have one shape");
    let columns = |m: &Matrix, group: &Range<usize>| m.columns(group.start, group.len()).into_owned();
    groups.iter().map(|group| subspace_difference(&columns(a, group), &columns(b, group))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::hard_cases::gaussian;
    use super::super::{random_orthogonal, svd};
    use super::*;

    #[test]
    fn relative_difference_is_relative_to_the_second_and_survives_extremes() {
        let a = Matrix::from_element(2, 2, 3.0);
        assert_eq!(relative_difference(&a, &Matrix::from_element(2, 2, 2.0)), 0.5);
        assert_eq!(relative_difference(&(&a * 1e300), &(&a * -1e300)), 2.0);
        assert!((relative_difference(&(&a * 1e-300), &(&a * 2e-300)) - 0.5).abs() < 1e-15);
        assert_eq!(relative_difference(&Matrix::zeros(2, 2), &Matrix::zeros(2, 2)), 0.0);
        assert_eq!(relative_difference(&a, &Matrix::zeros(2, 2)), f64::INFINITY);
        assert!(relative_difference(&Matrix::from_element(2, 2, f64::NAN), &a).is_nan());
    }

    #[test]
    fn groups_join_neighbours_below_the_gap_and_zeros() {
        let values = [3.0, 2.9999, 2.0, 1e-20, 0.99999e-20, 1e-30, 0.0, 0.0];
        assert_eq!(groups_by_relative_gap(&values, 1e-3), [0..2, 2..3, 3..5, 5..6, 6..8]);
        assert_eq!(groups_by_relative_gap(&values[..3], 0.0), [0..1, 1..2, 2..3]);
        assert_eq!(groups_by_relative_gap(&[1.0, 1.0, 0.5], 0.0), [0..2, 2..3]);
        assert!(groups_by_relative_gap(&[], 0.1).is_empty());
        // An absolute gap would have put 1e-20 and 1e-30 together.
        assert_ne!(groups_by_relative_gap(&values, 1e-3)[3], 5..8);
    }

    #[test]
    #[should_panic(expected = "values descend")]
    fn groups_refuse_ascending_values() {
        groups_by_relative_gap(&[1.0, 2.0], 0.1);
    }

    #[test]
    fn aligned_signs_undo_any_joint_flip_and_keep_the_matrix() {
        let a = gaussian(6, 4, 1);
        let reference = svd(&a).unwrap();
        let mut flipped = reference.clone();
        for k in [0, 2] {
            flipped.u.column_mut(k).neg_mut();
            flipped.v.column_mut(k).neg_mut();
        }
        assert_ne!(flipped, reference);
        align_signs(&mut flipped, &reference);
        assert_eq!(flipped, reference);
    }

    #[test]
    fn principal_angles_recover_known_angles_from_tiny_to_right() {
        let frame = random_orthogonal(gaussian(9, 9, 2));
        let angles = [1e-12, 1e-3, 0.7, std::f64::consts::FRAC_PI_2 - 1e-9];
        let a = frame.columns(0, 4).into_owned();
        let turned = Matrix::from_fn(9, 4, |i, k| {
            angles[k].cos() * frame[(i, k)] + angles[k].sin() * frame[(i, k + 4)]
        });
        // Another basis of the same span.
        let b = turned * random_orthogonal(gaussian(4, 4, 3));
        for (found, expected) in principal_angles(&a, &b).unwrap().iter().zip(angles) {
            assert!((found - expected).abs() < 1e-14, "{found} against {expected}");
        }
        assert!((subspace_difference(&a, &b).unwrap() - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_rotation_inside_a_group_does_not_count_and_one_across_groups_does() {
        let basis = random_orthogonal(gaussian(8, 5, 4));
        let mut rotation = Matrix::identity(5, 5);
        rotation.view_mut((1, 1), (3, 3)).copy_from(&random_orthogonal(gaussian(3, 3, 5)));
        let rotated = &basis * rotation;
        let right = group_differences(&basis, &rotated, &[0..1, 1..4, 4..5]).unwrap();
        assert!(right.iter().all(|x| *x < 1e-14), "{right:?}");
        let wrong = group_differences(&basis, &rotated, &[0..2, 2..4, 4..5]).unwrap();
        assert!(wrong[0] > 0.01 && wrong[2] < 1e-14, "{wrong:?}");
        let flipped = group_differences(&basis, &-&basis, &[0..1, 1..2, 2..5]).unwrap();
        assert!(flipped.iter().all(|x| *x < 1e-14), "{flipped:?}");
    }
}
