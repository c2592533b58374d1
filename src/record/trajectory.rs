//! What was measured along a run: named arrays whose first axis is the recorded time.

use std::collections::BTreeMap;

/// One named array, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Shape of one row; empty for a scalar.
    pub row_shape: Vec<usize>,
    /// Rows one after the other, each row-major.
    pub values: Vec<f64>,
}

impl Column {
    /// The row at the recorded time of this index.
    pub fn row(&self, index: usize) -> &[f64] {
        let length: usize = self.row_shape.iter().product();
        &self.values[index * length..(index + 1) * length]
    }
}

/// What was measured along a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trajectory {
    /// Recorded times; ascending.
    pub time: Vec<f64>,
    /// Accepted steps (flow) or steps (gd, sgd) at each recorded time.
    pub step: Vec<u64>,
    /// The measurements, by name.
    pub columns: BTreeMap<String, Column>,
    /// Arrays without a time axis, by name: shape and values, row-major.
    pub constants: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Trajectory {
    /// Starts the record of a new time; every column then gets one row by [`Trajectory::put`].
    pub fn begin(&mut self, time: f64, step: u64) {
        self.time.push(time);
        self.step.push(step);
    }

    /// Adds the row of the current time to the column of this name.
    pub fn put(&mut self, name: &str, row_shape: &[usize], row: &[f64]) {
        debug_assert_eq!(row_shape.iter().product::<usize>(), row.len(), "{name}");
        if let Some(column) = self.columns.get_mut(name) {
            column.values.extend_from_slice(row);
        } else {
            let column = Column { row_shape: row_shape.to_vec(), values: row.to_vec() };
            self.columns.insert(name.to_string(), column);
        }
    }

    /// Adds the number of the current time to the column of this name.
    pub fn put_number(&mut self, name: &str, value: f64) {
        self.put(name, &[], &[value]);
    }

    /// The last row of the column of this name.
    pub fn last(&self, name: &str) -> Option<&[f64]> {
        let last = self.time.len().checked_sub(1)?;
        self.columns.get(name).map(|column| column.row(last))
    }
}

/// What the arrays of `record.npz` hold: name (with `*` for a layer or a spectrum), shape, meaning and unit.
pub const ARRAYS: &[(&str, &str, &str)] = &[
    ("time", "T", "training time; under gd and sgd, rate times step"),
    ("step", "T", "steps taken so far (accepted ones of a flow)"),
    ("loss", "T", "the loss, with the reduction of the plan (nats)"),
    ("sigma_w*", "T x rank", "singular values of layer W*, descending"),
    ("sigma_p*", "T x rank", "singular values of the projector's layer P*, descending"),
    ("sigma_end_to_end", "T x rank", "singular values of the linear map from x to z, descending"),
    (
        "sigma_embedding",
        "T x d",
        "singular values of C, the covariance of the embeddings z (Eq. 1), descending",
    ),
    ("sigma_representation", "T x d", "the same of the representations r, where there is a projector"),
    (
        "floor_*",
        "T",
        "numerical floor of the spectrum of this name, from rounding and tolerance of all steps: nothing below it is a value",
    ),
    ("eig_x", "T x d", "eigenvalues of X (G = -W X), ascending; with the reduction of the plan"),
    (
        "alignment_*",
        "T x d x d",
        "V_{l+1}ᵀ U_l of adjacent layers; signs chosen so that its diagonal is not negative",
    ),
    (
        "alignment_score_*",
        "T",
        "part of the common directions that lies in blocks of equal singular values: 1 is perfect alignment",
    ),
    (
        "alignment_resolved_*",
        "T",
        "part of the directions whose singular vectors the floors let be known to one part in a hundred",
    ),
    ("imbalance_*", "T x d x d", "W_l W_lᵀ - W_{l+1}ᵀ W_{l+1} of adjacent layers (Eq. 10's sign)"),
    ("effective_rank_*", "T", "exponential of the entropy of σ/Σσ (Roy and Vetterli 2007)"),
    ("stable_rank_*", "T", "Σσ² / max σ² (Rudelson and Vershynin 2007)"),
    ("participation_ratio_*", "T", "(Σσ)² / Σσ²"),
    ("numerical_rank_*", "T", "number of singular values above the floor"),
    (
        "view_distance",
        "T",
        "mean |u - u'|² of normalised positive pairs, the alignment loss of Wang and Isola 2020",
    ),
    (
        "uniformity",
        "T",
        "log mean exp(-2 |u_i - u_j|²) over i ≠ j, normalised first views (Wang and Isola 2020)",
    ),
    (
        "sigma_augmented",
        "T x rank",
        "singular values of the end-to-end matrix on the directions that carry noise, descending",
    ),
    ("sigma_along_bias", "T", "|Wᵀ b| / |b| for the bias b of the last layer and the end-to-end matrix W"),
    ("bias_norm", "T", "|b|"),
    (
        "theory_end_to_end",
        "T x rank",
        "exact solution for sigma_end_to_end: in the population limit where the flow falls into modes, or under a given X",
    ),
    ("theory_augmented", "T x rank", "the same for sigma_augmented"),
    ("theory_limit", "d", "singular values of the end-to-end matrix at the minimum of the population loss"),
    ("theory_limit_augmented", "rank", "the same on the directions that carry noise"),
    (
        "theory_rank",
        "scalar",
        "rank of the limit of one layer under Eq. 2: generalised eigenvalues of (Σ_δ, Σ_v) below 2",
    ),
    (
        "lifetime",
        "rank",
        "time at which each value of sigma_end_to_end first reaches half of its limit in the population; NaN where it does not",
    ),
    ("lifetime_resolution", "rank", "distance of the two recordings around that time, relative to it"),
    ("theory_lifetime", "rank", "the same time by quadrature of the mode's equation"),
    ("theory_lifetime_law", "rank", "its leading order for small starts: s0^(-2(L-1)/L) / (2 (L-1) χ(0))"),
    ("population_loss", "T", "the population loss L∞ at the same weights (nats a sample, without log N)"),
    ("population_loss_distance", "T", "|L/N - log N - L∞|"),
    ("population_x_distance", "T", "|X/N - X∞| / |X∞| in the Frobenius norm"),
    ("population_pair_weight", "T", "g, the limit of N times the mean weight α_ii of a sample's own pair"),
    (
        "population_samples",
        "T",
        "samples that a batch needs at least for the limit to describe it: max(g, h)",
    ),
    ("pair_weight", "T", "N times the mean weight α_ii of a sample's own pair in the batch (Eq. 2)"),
    (
        "separable",
        "scalar",
        "1 where the batch is separable, 0 where it is not, NaN where that is not decided",
    ),
    ("margin_lower", "scalar", "lower bound of the batch's largest margin over M of unit trace"),
    ("margin_upper", "scalar", "upper bound of it"),
    (
        "sigma_gradient_*",
        "T x rank",
        "of a real network, singular values of the gradient of the loss at the representation, a row a picture, or at what enters the last \
         residual block, a row a pixel; descending",
    ),
    (
        "eig_x_pairs",
        "T x d",
        "of a real network, eigenvalues of 2 Cov(r) - E (r' - r)(r' - r)ᵀ over representations of augmented pairs, ascending: X a sample \
         for a linear map of r that is still small",
    ),
    (
        "theory_rank_pairs",
        "T",
        "of a real network, number of positive ones among them: the rank that linear theory predicts under Eq. 2",
    ),
    (
        "probe_accuracy",
        "T",
        "of a real network, part of the test pictures that a linear classifier on representations gets right",
    ),
    (
        "probe_accuracy_first",
        "T x probes",
        "the same on the first coordinates alone, as many as `observe.first` says",
    ),
    ("neighbour_accuracy", "T", "the same of the nearest neighbours among the training pictures"),
    ("pca_directions", "d x k", "principal directions of a file's samples, one a column"),
    ("pca_variances", "k", "variance along each direction"),
    ("pca_retained", "scalar", "part of the variance that the directions hold"),
];

/// The entry of [`ARRAYS`] that an array of this name belongs to: one that is called so, or else whose `*` stands for
/// the rest of the name.
pub fn declared_array(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let fits = |pattern: &str| {
        pattern.split_once('*').is_some_and(|(before, after)| {
            name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
    };
    // Of two patterns the longer one says more: alignment_score_* is not one of alignment_*.
    let patterns = ARRAYS.iter().filter(|(pattern, ..)| fits(pattern));
    let exact = ARRAYS.iter().find(|(pattern, ..)| *pattern == name && !pattern.contains('*'));
    exact.or_else(|| patterns.max_by_key(|(pattern, ..)| pattern.len()))
}

/// Whether an array of this declared shape has a row for each recorded time.
pub fn follows_time(shape: &str) -> bool {
    shape.split(' ').next() == Some("T")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_found_by_name_and_by_the_longest_pattern() {
        let pattern = |name: &str| declared_array(name).map(|(pattern, ..)| *pattern);
        assert_eq!(pattern("loss"), Some("loss"));
        assert_eq!(pattern("sigma_w12"), Some("sigma_w*"));
        assert_eq!(pattern("alignment_1_2"), Some("alignment_*"));
        assert_eq!(pattern("alignment_score_1_2"), Some("alignment_score_*"));
        for unknown in ["sigma", "sigma_w", "sigma_", "losses", ""] {
            assert_eq!(pattern(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn only_shapes_that_start_with_t_follow_time() {
        assert!(follows_time("T") && follows_time("T x rank"));
        assert!(!follows_time("scalar") && !follows_time("d x T"));
    }
}
