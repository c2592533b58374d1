//! `dopri5`: the 5(4) pair of Dormand and Prince.

use super::method::{Control, Dense, Estimate, Method};

/// The 5(4) pair of Dormand and Prince with its fourth-order dense output: six evaluations a step, none for dense output.
///
/// Sources: J. R. Dormand and P. J. Prince, "A family of embedded Runge-Kutta formulae", Journal of Computational and Applied
/// Mathematics 6 (1980) 19-26; dense output of Shampine (1986) in the form of Hairer, Nørsett and Wanner, II.6.
pub static DOPRI5: Method = Method {
    name: "dopri5",
    order: 5,
    c: &[0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0],
    a: &[
        &[],
        &[0.2],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    estimate: Estimate::Single {
        weights: &[
            71.0 / 57600.0,
            0.0,
            -71.0 / 16695.0,
            71.0 / 1920.0,
            -17253.0 / 339200.0,
            22.0 / 525.0,
            -1.0 / 40.0,
        ],
    },
    dense: Dense {
        order: 4,
        c: &[],
        a: &[],
        d: &[&[
            -12715105075.0 / 11282082432.0,
            0.0,
            87487479700.0 / 32700410799.0,
            -10690763975.0 / 1880347072.0,
            701980252875.0 / 199316789632.0,
            -1453857185.0 / 822651844.0,
            69997945.0 / 29380423.0,
        ]],
    },
    control: Control { exponent: 0.2, beta: 0.04, safety: 0.9, shrink: 0.2, grow: 10.0 },
    stability_interval: 3.3066,
};

#[cfg(test)]
mod tests {
    use super::super::order_conditions::check_method;
    use super::*;

    #[test]
    fn dopri5_satisfies_every_order_condition_and_no_perturbed_coefficient_does() {
        check_method(&DOPRI5, &[4]);
    }
}
