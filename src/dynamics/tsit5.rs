//! `tsit5`: the 5(4) pair of Tsitouras.

use super::method::{Control, Dense, Estimate, Method};

/// The 5(4) pair of Tsitouras with its free fourth-order interpolant: six evaluations a step, none for dense output.
///
/// Its principal error coefficients are smaller than those of [`DOPRI5`](super::DOPRI5) at the same cost, which makes it the
/// default.
///
/// Source: Ch. Tsitouras, "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption", Computers &
/// Mathematics with Applications 62 (2011) 770-775; coefficients rounded from those he published with 80 digits. The row of
/// `d` holds the coefficients of `x^4` of his interpolant, which determine it (see [`Dense`]).
pub static TSIT5: Method = Method {
    name: "tsit5",
    order: 5,
    c: &[0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0],
    a: &[
        &[],
        &[0.161],
        &[-0.008480655492356989, 0.335480655492357],
        &[2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        &[5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        &[5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
        &[
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ],
    ],
    estimate: Estimate::Single {
        weights: &[
            0.0017800110522257714,
            0.0008164344596567469,
            -0.007880878010261995,
            0.1447110071732629,
            -0.5823571654525552,
            0.45808210592918697,
            -0.015151515151515152,
        ],
    },
    dense: Dense {
        order: 4,
        c: &[],
        a: &[],
        d: &[&[
            -1.0530884977290216,
            0.1017,
            2.490627285651253,
            -16.548102889244902,
            47.37952196281928,
            -34.87065786149661,
            2.5,
        ]],
    },
    control: Control { exponent: 0.2, beta: 0.04, safety: 0.9, shrink: 0.2, grow: 10.0 },
    stability_interval: 3.5068,
};

#[cfg(test)]
mod tests {
    use super::super::order_conditions::check_method;
    use super::*;

    #[test]
    fn tsit5_satisfies_every_order_condition_and_no_perturbed_coefficient_does() {
        check_method(&TSIT5, &[4]);
    }

    #[test]
    fn the_correction_row_reproduces_the_published_factored_interpolant() {
        // Tsitouras' own form of the weight of the fourth stage.
        for x in [0.1, 0.37, 0.8] {
            let published: f64 =
                -16.548102889244902 * (x - 1.2171292729553325) * (x - 0.6162040603780009) * x * x;
            let ours = super::super::order_conditions::dense_weights(&TSIT5, x)[3];
            assert!((published - ours).abs() < 1e-13, "{published} {ours}");
        }
    }
}
