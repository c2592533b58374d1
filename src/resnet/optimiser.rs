//! SGD with momentum and LARS, and the rate over training.

use super::architecture::Parameter;
use crate::settings::Settings;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// How weights move along their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimiser {
    /// Learning rate after the warm-up.
    pub rate: f64,
    /// μ: v ← μ v + g, w ← w - rate v.
    pub momentum: f64,
    /// Of weights only: g ← g + decay w.
    pub weight_decay: f64,
    /// Of LARS: g ← trust |w| / |g| g for weights, once they are decayed; none for SGD.
    pub trust: Option<f64>,
}

impl Optimiser {
    /// Reads the table `optimiser`.
    pub fn from_settings(settings: &Settings) -> Optimiser {
        Optimiser {
            rate: settings.number("rate"),
            momentum: settings.number("momentum"),
            weight_decay: settings.number("weight_decay"),
            trust: (settings.kind() == "lars").then(|| settings.number("trust")),
        }
    }

    /// Moves a parameter and its velocity by a step at `rate`, along its gradient.
    pub fn step<B: Backend>(
        &self,
        parameter: &Parameter,
        rate: f64,
        gradient: Tensor<B, 1>,
        value: &mut Tensor<B, 1>,
        velocity: &mut Tensor<B, 1>,
    ) {
        let mut gradient = gradient;
        if parameter.role.is_weight() {
            if self.weight_decay > 0.0 {
                gradient = gradient + value.clone().mul_scalar(self.weight_decay);
            }
            if let Some(trust) = self.trust {
                let (of_value, of_gradient) = (norm(value.clone()), norm(gradient.clone()));
                // Where either is 0 there is no ratio, and the gradient stays as it is.
                let is_zero = (of_value.clone() * of_gradient.clone()).equal_elem(0.0);
                let ratio = (of_value / of_gradient).mul_scalar(trust).mask_fill(is_zero, 1.0);
                gradient = gradient * ratio;
            }
        }
        *velocity = velocity.clone().mul_scalar(self.momentum) + gradient;
        *value = value.clone() - velocity.clone().mul_scalar(rate);
    }
}

/// Euclidean norm, as a tensor of one number, so that no device has to be waited for.
fn norm<B: Backend>(values: Tensor<B, 1>) -> Tensor<B, 1> {
    (values.clone() * values).sum().sqrt()
}

/// The part of the full rate in a step, counted from 0: linear over the warm-up, then half a cosine to 0.
pub fn schedule(step: u64, warmup: u64, steps: u64) -> f64 {
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::super::architecture::Role;
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    fn tensor(values: &[f32]) -> Tensor<Flex, 1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Default::default())
    }

    fn values(tensor: &Tensor<Flex, 1>) -> Vec<f32> {
        tensor.to_data().to_vec().unwrap()
    }

    fn parameter(role: Role) -> Parameter {
        Parameter { name: String::new(), shape: vec![2], role }
    }

    /// Two steps of (3, 4), of length 5, with the gradient (0, 2): by hand.
    fn two_steps(optimiser: Optimiser, role: Role) -> (Vec<f32>, Vec<f32>) {
        let (mut value, mut velocity) = (tensor(&[3.0, 4.0]), tensor(&[0.0, 0.0]));
        for _ in 0..2 {
            optimiser.step(&parameter(role), 0.5, tensor(&[0.0, 2.0]), &mut value, &mut velocity);
        }
        (values(&value), values(&velocity))
    }

    #[test]
    fn sgd_steps_are_those_computed_by_hand() {
        let sgd = Optimiser { rate: 0.5, momentum: 0.5, weight_decay: 0.1, trust: None };
        // Decayed gradients (0.3, 2.4), and from (2.85, 2.8) on (0.285, 2.28); velocities (0.3, 2.4) and (0.435, 3.48).
        let (value, velocity) = two_steps(sgd, Role::Linear);
        for (found, expected) in value.iter().chain(&velocity).zip([2.6325, 1.06, 0.435, 3.48]) {
            assert!((found - expected).abs() < 1e-5, "{value:?} {velocity:?}");
        }
        // Norms are not decayed: velocities (0, 2) and (0, 3).
        assert_eq!(two_steps(sgd, Role::Scale), (vec![3.0, 1.5], vec![0.0, 3.0]));
    }

    #[test]
    fn lars_steps_are_those_computed_by_hand_and_norms_are_not_adapted() {
        let lars = Optimiser { rate: 0.5, momentum: 0.5, weight_decay: 0.0, trust: Some(0.1) };
        // |w| = 5 and |g| = 2: the step is 0.1 x 5 / 2 x (0, 2) = (0, 0.5). From (3, 3.75), of length 4.80234, it is (0, 0.480234);
        // the velocity 0.25 + 0.480234.
        let (value, velocity) = two_steps(lars, Role::Convolution);
        let expected = [3.0, 3.75 - 0.5 * 0.730_234, 0.0, 0.730_234];
        for (found, expected) in value.iter().chain(&velocity).zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{value:?} {velocity:?}");
        }
        assert_eq!(two_steps(lars, Role::Scale), (vec![3.0, 1.5], vec![0.0, 3.0]));
    }

    #[test]
    fn lars_takes_the_gradient_as_it_is_where_weights_or_gradients_are_0() {
        let lars = Optimiser { rate: 1.0, momentum: 0.0, weight_decay: 0.0, trust: Some(0.1) };
        let (mut value, mut velocity) = (tensor(&[0.0, 0.0]), tensor(&[0.0, 0.0]));
        lars.step(&parameter(Role::Linear), 1.0, tensor(&[1.0, -2.0]), &mut value, &mut velocity);
        assert_eq!(values(&value), [-1.0, 2.0]);
        lars.step(&parameter(Role::Linear), 1.0, tensor(&[0.0, 0.0]), &mut value, &mut velocity);
        assert_eq!(values(&value), [-1.0, 2.0]);
    }

    #[test]
    fn the_rate_rises_to_its_full_value_and_falls_along_half_a_cosine() {
        let rates: Vec<f64> = (0..12).map(|step| schedule(step, 4, 12)).collect();
        assert_eq!(rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!((rates[8] - 0.5).abs() < 1e-15);
        assert!(rates.windows(2).skip(4).all(|pair| pair[1] < pair[0]) && rates[11] > 0.0);
        assert_eq!(schedule(0, 0, 1), 1.0);
    }
}
