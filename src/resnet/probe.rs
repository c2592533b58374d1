//! What a representation is good for: a linear classifier on it, and its nearest neighbours.

use crate::matrix::DecompositionError;
use crate::matrix::{Matrix, spectral_norm};

/// Representations, one a column (d x n), and the class of each.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// d x n.
    pub features: Matrix,
    /// Classes, counted from 0.
    pub labels: Vec<u32>,
}

/// L2 penalty of the classifier's weights on standardised coordinates: enough for a unique minimum.
const PENALTY: f64 = 1e-4;

/// The classifier is at its minimum where the gradient has fallen to this part of what it was at the start. It is as far from the
/// best loss then as a thousandth of a step; accuracies do not tell it apart.
const REMAINING_GRADIENT: f64 = 1e-3;

/// Iterations at most. Where the spectrum has collapsed, the last directions take longer than they are worth: the loss is then
/// within 2 |w|² curvature / iterations² of its minimum (Nesterov 1983).
const MOST_ITERATIONS: usize = 300;

/// Neighbours weigh exp(cosine / this).
const NEIGHBOUR_TEMPERATURE: f64 = 0.07;

impl Labelled {
    /// The same with the first `count` coordinates only.
    pub fn first(&self, count: usize) -> Labelled {
        Labelled { features: self.features.rows(0, count).into_owned(), labels: self.labels.clone() }
    }
}

/// The part of `test` that multinomial logistic regression on `train` classifies right. Coordinates are standardised by `train`;
/// those that do not vary are left out. The loss is convex: accelerated gradient steps with a restart (Nesterov 1983, O'Donoghue
/// and Candès 2015) at the step that its curvature allows lead towards its minimum from anywhere, so there is nothing to tune.
/// Cost: 4 n d classes flops an iteration, at most 300 of them.
///
/// # Errors
/// Features that have no singular values: not finite.
pub fn linear_accuracy(train: &Labelled, test: &Labelled, classes: usize) -> Result<f64, DecompositionError> {
    let (dim, count) = train.features.shape();
    let mut scaling = Vec::with_capacity(dim);
    for row in train.features.row_iter() {
        let mean = row.mean();
        let std = (row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
        scaling.push((
            mean,
            if std > f64::from(f32::EPSILON) * mean.abs().max(1e-30) { 1.0 / std } else { 0.0 },
        ));
    }
    // The last coordinate is 1, for the bias.
    let standardised = |features: &Matrix| {
        Matrix::from_fn(dim + 1, features.ncols(), |row, column| match scaling.get(row) {
            Some((mean, factor)) => (features[(row, column)] - mean) * factor,
            None => 1.0,
        })
    };
    let inputs = standardised(&train.features);
    // The Hessian of softmax is at most 1/2.
    let curvature = 0.5 * spectral_norm(&inputs)?.powi(2) / count as f64 + PENALTY;
    let gradient = |weights: &Matrix| {
        let mut scores = weights * &inputs;
        softmax(&mut scores);
        for (column, &label) in train.labels.iter().enumerate() {
            scores[(label as usize, column)] -= 1.0;
        }
        scores * inputs.transpose() / count as f64 + weights * PENALTY
    };
    let mut weights = Matrix::zeros(classes, dim + 1);
    let mut ahead = weights.clone();
    let mut momentum = 1.0f64;
    let mut first = None;
    for _ in 0..MOST_ITERATIONS {
        let slope = gradient(&ahead);
        let norm = slope.norm();
        if norm <= REMAINING_GRADIENT * *first.get_or_insert(norm) {
            break;
        }
        let next = &ahead - &slope / curvature;
        let moved = &next - &weights;
        // Where the step and the momentum disagree, the momentum starts anew.
        if slope.dot(&moved) > 0.0 {
            momentum = 1.0;
        }
        let following = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
        ahead = &next + moved * ((momentum - 1.0) / following);
        momentum = following;
        weights = next;
    }
    let scores = weights * standardised(&test.features);
    let right = test.labels.iter().enumerate().filter(|(column, label)| {
        let scores = scores.column(*column);
        scores
            .iter()
            .enumerate()
            .all(|(class, score)| class == **label as usize || *score < scores[**label as usize])
    });
    Ok(right.count() as f64 / test.labels.len() as f64)
}

/// Columns of scores to probabilities.
fn softmax(scores: &mut Matrix) {
    for mut column in scores.column_iter_mut() {
        let largest = column.max();
        column.apply(|score| *score = (*score - largest).exp());
        let sum = column.sum();
        column /= sum;
    }
}

/// The part of `test` that its `neighbours` nearest of `train`, by the cosine, classify right, each voting with
/// exp(cosine / 0.07) (Wu et al. 2018). Cost: 2 d flops a pair.
pub fn neighbour_accuracy(train: &Labelled, test: &Labelled, classes: usize, neighbours: usize) -> f64 {
    let units = |features: &Matrix| {
        let mut units = features.clone();
        for mut column in units.column_iter_mut() {
            let norm = column.norm().max(crate::loss::NORM_FLOOR);
            column /= norm;
        }
        units
    };
    let (train_units, test_units) = (units(&train.features), units(&test.features));
    let neighbours = neighbours.min(train.labels.len());
    // In blocks, so that no matrix of all pairs is needed.
    const BLOCK: usize = 256;
    let mut right = 0;
    for start in (0..test.labels.len()).step_by(BLOCK) {
        let width = BLOCK.min(test.labels.len() - start);
        let cosines = train_units.transpose() * test_units.columns(start, width);
        for column in 0..width {
            let of = cosines.column(column);
            let mut order: Vec<usize> = (0..train.labels.len()).collect();
            order.select_nth_unstable_by(neighbours - 1, |a, b| of[*b].total_cmp(&of[*a]).then(a.cmp(b)));
            let mut votes = vec![0.0; classes];
            for &index in &order[..neighbours] {
                votes[train.labels[index] as usize] += ((of[index] - 1.0) / NEIGHBOUR_TEMPERATURE).exp();
            }
            let best = (0..classes).max_by(|a, b| f64::total_cmp(&votes[*a], &votes[*b])).unwrap_or(0);
            right += usize::from(best == test.labels[start + column] as usize);
        }
    }
    right as f64 / test.labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Normals, Seed, Stream};

    /// Clusters around `classes` centres on a circle of this radius in the first two of `dim` coordinates.
    fn clusters(count: usize, dim: usize, classes: usize, radius: f64, seed: u64) -> Labelled {
        let mut normals = Normals::new(Seed { seed, repeat: 0 }.generator(Stream::Data, 0));
        let labels: Vec<u32> = (0..count).map(|index| (index % classes) as u32).collect();
        let features = Matrix::from_fn(dim, count, |row, column| {
            let angle = std::f64::consts::TAU * f64::from(labels[column]) / classes as f64;
            let centre = match row {
                0 => radius * angle.cos(),
                1 => radius * angle.sin(),
                _ => 0.0,
            };
            centre + normals.draw()
        });
        Labelled { features, labels }
    }

    #[test]
    fn classes_far_apart_are_told_apart_and_labels_of_chance_are_not() {
        let (train, test) = (clusters(400, 5, 4, 20.0, 1), clusters(400, 5, 4, 20.0, 2));
        assert_eq!(linear_accuracy(&train, &test, 4).unwrap(), 1.0);
        assert_eq!(neighbour_accuracy(&train, &test, 4, 5), 1.0);
        let (train, test) = (clusters(400, 5, 4, 0.0, 1), clusters(400, 5, 4, 0.0, 2));
        // Five standard deviations of 400 guesses at 1/4.
        let spread = 5.0 * (0.25f64 * 0.75 / 400.0).sqrt();
        for accuracy in [linear_accuracy(&train, &test, 4).unwrap(), neighbour_accuracy(&train, &test, 4, 5)]
        {
            assert!((accuracy - 0.25).abs() < spread, "{accuracy}");
        }
    }

    /// Two normal classes at distance 2 r: the best classifier is right with the probability Φ(r).
    #[test]
    fn the_linear_classifier_is_as_good_as_the_best_one() {
        let (train, test) = (clusters(20_000, 2, 2, 1.0, 3), clusters(20_000, 2, 2, 1.0, 4));
        let best = 0.841_344_746;
        // Four standard deviations of the test, and the loss of 20,000 training samples, which is of the order d / n.
        let spread = 4.0 * (best * (1.0 - best) / 20_000f64).sqrt() + 2.0 / 20_000f64.sqrt() * 0.1;
        let accuracy = linear_accuracy(&train, &test, 2).unwrap();
        assert!((accuracy - best).abs() < spread, "{accuracy}");
    }

    #[test]
    fn coordinates_that_do_not_vary_change_nothing_and_neither_do_scales() {
        let (mut train, mut test) = (clusters(300, 4, 3, 1.5, 5), clusters(300, 4, 3, 1.5, 6));
        let before = linear_accuracy(&train, &test, 3).unwrap();
        for labelled in [&mut train, &mut test] {
            labelled.features = labelled.features.clone().insert_row(4, 7.0);
            labelled.features.row_mut(0).scale_mut(1e-6);
        }
        assert_eq!(linear_accuracy(&train, &test, 3).unwrap(), before);
        assert!(before > 0.5 && before < 1.0, "{before}");
    }

    #[test]
    fn only_the_coordinates_that_are_asked_for_are_seen() {
        let (train, test) = (clusters(400, 4, 2, 20.0, 7), clusters(400, 4, 2, 20.0, 8));
        assert_eq!(linear_accuracy(&train.first(1), &test.first(1), 2).unwrap(), 1.0);
        let behind = |labelled: &Labelled| Labelled {
            features: labelled.features.rows(2, 2).into_owned(),
            labels: labelled.labels.clone(),
        };
        assert!(linear_accuracy(&behind(&train), &behind(&test), 2).unwrap() < 0.7);
    }
}
