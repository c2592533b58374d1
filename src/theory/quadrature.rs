//! Adaptive Gauss-Kronrod quadrature of smooth functions of one variable.

/// Nodes of the 15-point Kronrod rule on [0, 1] of the half interval, from the outermost to the centre, with the weights
/// of the rule and of the 7-point Gauss rule inside it (Piessens et al., QUADPACK, 1983).
const RULE: [(f64, f64, f64); 8] = [
    (0.991_455_371_120_812_6, 0.022_935_322_010_529_224, 0.0),
    (0.949_107_912_342_758_5, 0.063_092_092_629_978_56, 0.129_484_966_168_869_7),
    (0.864_864_423_359_769_1, 0.104_790_010_322_250_19, 0.0),
    (0.741_531_185_599_394_4, 0.140_653_259_715_525_92, 0.279_705_391_489_276_64),
    (0.586_087_235_467_691_1, 0.169_004_726_639_267_9, 0.0),
    (0.405_845_151_377_397_2, 0.190_350_578_064_785_42, 0.381_830_050_505_118_9),
    (0.207_784_955_007_898_47, 0.204_432_940_075_298_89, 0.0),
    (0.0, 0.209_482_141_084_727_82, 0.417_959_183_673_469_4),
];

/// Halvings of an interval before its estimate is taken as it is: 2⁻⁴⁰ of the whole.
const DEEPEST: u32 = 40;

/// Relative error of an interval below which an estimate that halving does not improve is taken for rounding of f.
const NOISE: f64 = 1e-8;

/// ∫ f over [a, b], with an error of about `tolerance` relative to the sum of the absolute parts.
///
/// The function must be finite on the open interval; an endpoint is never evaluated. Cost: 15 evaluations an interval.
pub(super) fn integral(f: &impl Fn(f64) -> f64, a: f64, b: f64, tolerance: f64) -> f64 {
    let (whole, error) = rule(f, a, b);
    refine(f, a, b, whole, error, tolerance * whole.abs(), tolerance, 0)
}

#[allow(clippy::too_many_arguments)] // one level of a recursion: an interval, its estimate, and the two tolerances
fn refine(
    f: &impl Fn(f64) -> f64,
    a: f64,
    b: f64,
    whole: f64,
    error: f64,
    absolute: f64,
    relative: f64,
    depth: u32,
) -> f64 {
    // Neither a share of the first estimate, which may be far off, nor of the part itself alone ends the recursion too early.
    let good = error <= absolute.max(relative * whole.abs());
    if good || error.is_nan() || depth == DEEPEST {
        return whole;
    }
    let middle = 0.5 * (a + b);
    let (left, left_error) = rule(f, a, middle);
    let (right, right_error) = rule(f, middle, b);
    // A smooth function gains digits with each halving; one that is known to a few digits less than asked for does not.
    if left_error + right_error > 0.25 * error && error < NOISE * whole.abs() {
        return left + right;
    }
    let absolute = 0.5 * absolute.min(relative * (left.abs() + right.abs()));
    refine(f, a, middle, left, left_error, absolute, relative, depth + 1)
        + refine(f, middle, b, right, right_error, absolute, relative, depth + 1)
}

/// The Kronrod estimate and its distance from the Gauss estimate.
fn rule(f: &impl Fn(f64) -> f64, a: f64, b: f64) -> (f64, f64) {
    let (centre, half) = (0.5 * (a + b), 0.5 * (b - a));
    let (mut kronrod, mut gauss) = (0.0, 0.0);
    for (node, fine, coarse) in RULE {
        let sum = if node == 0.0 { f(centre) } else { f(centre - half * node) + f(centre + half * node) };
        kronrod += fine * sum;
        gauss += coarse * sum;
    }
    (half * kronrod, (half * (kronrod - gauss)).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_up_to_degree_22_are_exact_and_higher_ones_of_one_interval_are_not() {
        for degree in [0, 1, 7, 12, 22] {
            let (value, _) = rule(&|x: f64| x.powi(degree), 0.0, 2.0);
            let exact = 2.0f64.powi(degree + 1) / f64::from(degree + 1);
            assert!((value / exact - 1.0).abs() < 1e-14, "degree {degree}");
        }
        let (value, error) = rule(&|x: f64| x.powi(40), -1.0, 1.0);
        assert!((value - 2.0 / 41.0).abs() > 1e-9 && error > 1e-9);
    }

    #[test]
    fn peaks_and_long_intervals_are_resolved() {
        let peak = |x: f64| 1e-4 / (x * x + 1e-8);
        let exact = 2.0 * (1e4f64).atan();
        assert!((integral(&peak, -1.0, 1.0, 1e-12) / exact - 1.0).abs() < 1e-11);
        let growth = |x: f64| x.exp();
        assert!(
            (integral(&growth, -30.0, 5.0, 1e-13) / (5.0f64.exp() - (-30.0f64).exp()) - 1.0).abs() < 1e-12
        );
        assert_eq!(integral(&growth, 1.0, 1.0, 1e-12), 0.0);
    }

    #[test]
    fn a_coarse_tolerance_gives_a_coarse_value() {
        let peak = |x: f64| 1e-4 / (x * x + 1e-8);
        let coarse = integral(&peak, -1.0, 1.1, 0.5);
        assert!((coarse - ((1.1e4f64).atan() + (1e4f64).atan())).abs() > 1e-9);
    }
}
