//! What a Runge-Kutta method is: a tableau, an error estimate and a dense output, all of them data.

use super::{DOP853, DOPRI5, TSIT5};

/// An explicit Runge-Kutta method with an embedded error estimate and dense output, as constant data.
///
/// The last of its stages is the derivative at the new point ("first same as last"), so that the last row of `a` holds the
/// weights of the solution and an accepted step costs one evaluation less than there are stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The name under which experiment files ask for it.
    pub name: &'static str,
    /// Order of the solution that is carried on.
    pub order: u32,
    /// Nodes: stage `i` is evaluated at `t + c[i] h`. The first is 0, the last 1.
    pub c: &'static [f64],
    /// Row `i` has `i` entries: stage `i` is evaluated at `y + h sum_j a[i][j] k_j`.
    pub a: &'static [&'static [f64]],
    /// How the error of a step is estimated.
    pub estimate: Estimate,
    /// How values inside a step are found.
    pub dense: Dense,
    /// How the next step size follows from the estimate.
    pub control: Control,
    /// The stability function is at most 1 in magnitude from minus this number to 0, and more just beyond: `h |lambda|` at which a
    /// decaying mode `lambda` begins to limit the step.
    pub stability_interval: f64,
}

/// Error estimate of a step of size `h` from its stages `k`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimate {
    /// `h |sum_j e_j k_j|`: the difference of two embedded solutions.
    Single {
        /// Weights `e`, one a stage.
        weights: &'static [f64],
    },
    /// `h n5^2 / sqrt(n5^2 + n3^2 / 100)`, where `n5` and `n3` are the norms of a fifth- and a third-order estimate: the
    /// combination behaves as `h^8`, and the third-order part keeps it from vanishing by accident (Hairer, Nørsett and
    /// Wanner, II.10, after equation 10.16).
    Combined {
        /// Weights of the fifth-order estimate, one a stage.
        fifth: &'static [f64],
        /// Weights of the third-order estimate, one a stage.
        third: &'static [f64],
    },
}

/// Dense output: with `x` from 0 to 1 in the step, `z = 1 - x`, `F0 = y1 - y0`, `F1 = h k_first - F0`,
/// `F2 = F0 - h k_last - F1` and `F_{3+r} = h sum_j d[r][j] k_j`, the value is
/// `y0 + x (F0 + z (F1 + x (F2 + z (F3 + x (F4 + ...)))))`.
///
/// This is the form of Hairer, Nørsett and Wanner (II.6 and II.10): a cubic Hermite interpolant and corrections that vanish with
/// their first derivative at both ends. So values and slopes at the ends of a step are those of the trajectory, by
/// construction. Every continuously differentiable interpolant can be written in this way; that of `tsit5` is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dense {
    /// Order of the interpolant: its local error is of order `order + 1` in `h`.
    pub order: u32,
    /// Nodes of the stages that only dense output needs.
    pub c: &'static [f64],
    /// Their rows, as in [`Method::a`], continuing the numbering of the stages.
    pub a: &'static [&'static [f64]],
    /// Correction weights: one entry for each stage, extra ones included.
    pub d: &'static [&'static [f64]],
}

/// Step control of Hairer, Nørsett and Wanner, II.4 and IV.2: after an accepted step with error `e` (1 is the tolerance) and
/// previous error `e'`, the step is multiplied by `safety e^-exponent e'^beta`, limited to `[shrink, grow]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// Exponent of the present error.
    pub exponent: f64,
    /// Exponent of the previous error where stability is suspected to limit the step: the PI part, against oscillation.
    pub beta: f64,
    /// Factor that keeps the next step on the accepted side.
    pub safety: f64,
    /// The smallest factor.
    pub shrink: f64,
    /// The largest factor.
    pub grow: f64,
}

impl Method {
    /// The method of this name: `tsit5`, `dopri5` or `dop853`.
    pub fn named(name: &str) -> Option<&'static Method> {
        Self::all().into_iter().find(|method| method.name == name)
    }

    /// Every method.
    pub fn all() -> [&'static Method; 3] {
        [&TSIT5, &DOPRI5, &DOP853]
    }

    /// Number of stages of a step, the derivative at the new point included.
    pub fn stages(&self) -> usize {
        self.c.len()
    }

    /// Number of further stages in a step in which a recording time lies.
    pub fn dense_stages(&self) -> usize {
        self.dense.c.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_name_and_no_other_is() {
        for method in Method::all() {
            assert!(std::ptr::eq(Method::named(method.name).unwrap(), method));
        }
        assert!(Method::named("euler").is_none());
    }

    #[test]
    fn every_table_has_the_shape_that_its_number_of_stages_asks_for() {
        for method in Method::all() {
            let (stages, all) = (method.stages(), method.stages() + method.dense_stages());
            assert_eq!(method.a.len(), stages);
            assert_eq!(method.dense.a.len(), method.dense_stages());
            for (i, row) in method.a.iter().chain(method.dense.a).enumerate() {
                assert_eq!(row.len(), i, "{}: row {i}", method.name);
            }
            let estimates: &[&[f64]] = match &method.estimate {
                Estimate::Single { weights } => &[weights],
                Estimate::Combined { fifth, third } => &[fifth, third],
            };
            assert!(estimates.iter().all(|row| row.len() == stages));
            assert!(method.dense.d.iter().all(|row| row.len() == all));
            assert_eq!((method.c[0], method.c[stages - 1]), (0.0, 1.0));
            // To the bit: the probe for the first step size is taken for this stage.
            assert_eq!(method.a[1], [method.c[1]]);
        }
    }
}
