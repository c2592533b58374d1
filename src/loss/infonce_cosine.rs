//! InfoNCE of unit vectors across the two views: N x N logits, the matching pair as label.

use super::directed::Queries;
use super::infonce_dot::directed;
use super::mutual::Sums;
use super::tile::{LARGEST_LOGIT, OwnProducts, Pairs};
use super::vectors::Instructions;
use super::{Evaluation, InfonceDot, REDUCTION, TEMPERATURE, Workspace, dot};
use crate::real::Real;
use crate::settings::{Constant, Key, Kind, Presence, ValueType};

pub(super) const KIND: Kind = Kind {
    name: "infonce-cosine",
    keys: &[
        TEMPERATURE,
        Key {
            name: "symmetric",
            value: ValueType::Flag,
            presence: Presence::Default(Constant::Flag(true)),
            about: "The mean of both directions instead of first view against second only",
        },
        REDUCTION,
    ],
    about: "Cross-entropy of the logits u_i·u'_j / τ of unit vectors u = z/|z| across the two views (not NT-Xent's 2N - 1 negatives)",
    source: "Chen et al. 2020 (SimCLR), with the negatives of Jing et al. 2022",
};

/// An embedding shorter than this is divided by this instead of its norm, as the usual frameworks do.
pub const NORM_FLOOR: f64 = 1e-12;

/// Logits u_i·u'_j / τ of unit vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfonceCosine {
    /// τ.
    pub temperature: f64,
    /// Whether the loss is the mean of both directions.
    pub symmetric: bool,
}

/// The Euclidean norm of a vector, safe from overflow and underflow.
pub fn norm(z: &[f64]) -> f64 {
    let largest = z.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return if z.iter().any(|value| value.is_nan()) { f64::NAN } else { largest };
    }
    largest * z.iter().map(|value| (value / largest) * (value / largest)).sum::<f64>().sqrt()
}

impl InfonceCosine {
    pub(super) fn combine(
        &self,
        embeddings: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        factor: f64,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Evaluation {
        let mut units = std::mem::take(&mut workspace.embeddings);
        let mut scaled = std::mem::take(&mut workspace.payload);
        let mut norms = std::mem::take(&mut workspace.norms);
        let mut gradient = std::mem::take(&mut workspace.gradient);
        norms.clear();
        norms.extend(embeddings.chunks_exact(dim).map(norm));
        let divide = |columns: &[f64], dim: usize, out: &mut Vec<f64>| {
            out.clear();
            out.extend(columns.chunks_exact(dim).zip(&norms).flat_map(|(column, norm)| {
                // A norm beyond the range of numbers would make finite embeddings vanish.
                let divisor = if norm.is_infinite() { f64::NAN } else { norm.max(NORM_FLOOR) };
                column.iter().map(move |value| value / divisor)
            }));
        };
        divide(embeddings, dim, &mut units);
        gradient.resize(units.len(), 0.0);
        let loss = self.of_units(&units, dim, None, factor, workspace, &mut gradient);
        if let Some((columns, p)) = payload {
            divide(columns, p, &mut scaled);
            self.of_units(&units, dim, Some((&scaled, p)), factor, workspace, out);
        } else {
            out.copy_from_slice(&gradient);
        }
        // Through u = z/|z|: the part along u is taken out, the rest divided by |z|.
        let columns = if payload.is_some() { &scaled } else { &units };
        let payload_dim = payload.map_or(dim, |(_, p)| p);
        let mut shorter_than_floor = 0;
        for (i, &norm) in norms.iter().enumerate() {
            let column = i * payload_dim..(i + 1) * payload_dim;
            let along = if norm < NORM_FLOOR {
                shorter_than_floor += 1;
                0.0
            } else {
                dot(&units[i * dim..(i + 1) * dim], &gradient[i * dim..(i + 1) * dim])
            };
            for (value, own) in out[column.clone()].iter_mut().zip(&columns[column]) {
                *value = (*value - along * own) / norm.max(NORM_FLOOR);
            }
        }
        workspace.embeddings = units;
        workspace.payload = scaled;
        workspace.norms = norms;
        workspace.gradient = gradient;
        Evaluation { loss, shorter_than_floor }
    }

    /// The loss as a function of the unit vectors; writes `factor` times its combinations with respect to them.
    fn of_units(
        &self,
        units: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        factor: f64,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> f64 {
        if self.symmetric
            && let Some(instructions) = Instructions::detect(dim.max(payload.map_or(0, |(_, p)| p)))
            && let Some(loss) =
                self.both_directions(instructions, units, dim, payload, factor, workspace, out)
        {
            return loss;
        }
        let (first, second) = units.split_at(units.len() / 2);
        let forth = Queries {
            dim,
            payload_dim: payload.map_or(dim, |(_, p)| p),
            queries: first,
            keys: second,
            scale: 1.0 / self.temperature,
            payloads: payload.map(|(columns, _)| columns.split_at(columns.len() / 2)),
        };
        let half = out.len() / 2;
        let (of_first, of_second) = out.split_at_mut(half);
        if !self.symmetric {
            return directed(&forth, factor, workspace, of_first, of_second);
        }
        let forth_loss = directed(&forth, 0.5 * factor, workspace, of_first, of_second);
        let mut back_sums = std::mem::take(&mut workspace.back);
        back_sums.resize(out.len(), 0.0);
        let (back_first, back_second) = back_sums.split_at_mut(half);
        let payloads = forth.payloads.map(|(first, second)| (second, first));
        let back = Queries { queries: second, keys: first, payloads, ..forth };
        let back_loss = directed(&back, 0.5 * factor, workspace, back_second, back_first);
        out.iter_mut().zip(&back_sums).for_each(|(value, other)| *value += other);
        workspace.back = back_sums;
        0.5 * (forth_loss + back_loss)
    }

    /// Both directions at once, which share their exponentials; nothing where logits may be too large for this.
    #[allow(clippy::too_many_arguments)] // those of `of_units`, and the instructions
    fn both_directions(
        &self,
        instructions: Instructions,
        units: &[f64],
        dim: usize,
        payload: Option<(&[f64], usize)>,
        factor: f64,
        workspace: &mut Workspace,
        out: &mut [f64],
    ) -> Option<f64> {
        let inverse = 1.0 / self.temperature;
        // A unit vector may be longer than 1 by rounding.
        if inverse * std::f64::consts::LOG2_E > 0.99 * LARGEST_LOGIT {
            return None;
        }
        let Workspace { mutual, sides: (rows, columns), own_products, softmax, negative_weight, .. } =
            workspace;
        let (first, second) = units.split_at(units.len() / 2);
        let count = first.len() / dim;
        let p = payload.map_or(dim, |(_, p)| p);
        let payloads = payload.map(|(payload, _)| payload.split_at(payload.len() / 2));
        // All of the scale goes to the rows, so that what columns are summed from carries it.
        let scale = inverse * std::f64::consts::LOG2_E;
        rows.load(dim, first, scale, payloads.map(|(first, _)| (first, p)));
        columns.load(dim, second, 1.0, payloads.map(|(_, second)| (second, p)));
        instructions.run(OwnProducts {
            sides: (rows.points(), columns.points()),
            factor: std::f64::consts::LN_2,
            products: own_products,
        });
        mutual.kernel_sums(instructions, (rows, columns), Pairs::Ordered, Sums::Both);
        let mut loss = 0.0;
        negative_weight.clear();
        negative_weight.resize(count, 0.0);
        for (side, sums) in [(&mut *rows, mutual.row_weights()), (&mut *columns, mutual.column_weights())] {
            loss += softmax.compute(sums, own_products.points());
            negative_weight
                .iter_mut()
                .zip(&softmax.negative_weights)
                .for_each(|(sum, weight)| *sum += weight);
            side.set_normalisers(&softmax.normalisers);
        }
        mutual.weighted_sums(instructions, (rows, columns), Pairs::Ordered);
        // Each positive pair counts in both directions, and each direction half.
        let (own_first, own_second) = payloads.unwrap_or((first, second));
        let (out_first, out_second) = out.split_at_mut(count * p);
        let half = 0.5 * factor * inverse;
        mutual.write_rows(half, out_first);
        mutual.write_columns(if payload.is_some() { half } else { half / scale }, out_second);
        for (out, own) in [(out_first, own_second), (out_second, own_first)] {
            for ((out, own), weight) in
                out.chunks_exact_mut(p).zip(own.chunks_exact(p)).zip(&*negative_weight)
            {
                out.iter_mut().zip(own).for_each(|(out, own)| *out -= half * weight * own);
            }
        }
        Some(0.5 * loss)
    }

    pub(super) fn reference<R: Real>(&self, first: &[Vec<R>], second: &[Vec<R>]) -> R {
        let unit = |z: &Vec<R>| -> Vec<R> {
            let square = z.iter().fold(R::from(0.0), |sum, value| sum + value.clone() * value.clone());
            let norm =
                if square.value() < NORM_FLOOR * NORM_FLOOR { R::from(NORM_FLOOR) } else { square.sqrt() };
            z.iter().map(|value| value.clone() / norm.clone()).collect()
        };
        let first: Vec<Vec<R>> = first.iter().map(unit).collect();
        let second: Vec<Vec<R>> = second.iter().map(unit).collect();
        let dot_product = InfonceDot { temperature: self.temperature };
        let forth = dot_product.reference(&first, &second);
        if self.symmetric { (forth + dot_product.reference(&second, &first)) * R::from(0.5) } else { forth }
    }
}
