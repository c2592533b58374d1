//! How long a collapse of small modes by implicit regularisation lasts: asymptotic laws for small starts.

/// The time until a mode that starts at singular value `start` ≪ 1 recovers, to leading order, for `depth` balanced layers and
/// the rate `initial_rate` = f(0) > 0.
///
/// One layer: ln(1/s0)/f(0). L ≥ 2: s0^{-2(L-1)/L} / (2 (L-1) f(0)). The level that counts as recovered enters only at the
/// next order; [`super::Mode::time`] is exact.
pub fn lifetime(depth: usize, start: f64, initial_rate: f64) -> f64 {
    let others = depth as f64 - 1.0;
    if depth == 1 {
        -start.ln() / initial_rate
    } else {
        start.powf(-2.0 * others / (others + 1.0)) / (2.0 * others * initial_rate)
    }
}

/// The same for two layers whose squared singular values differ by `imbalance` ≫ `start`: ln(C/s0)/(C f(0)).
pub fn imbalanced_lifetime(start: f64, imbalance: f64, initial_rate: f64) -> f64 {
    (imbalance / start).ln() / (imbalance * initial_rate)
}
