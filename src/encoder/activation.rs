//! Activations between layers.

/// What stands between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// max(0, h); its derivative at 0 is taken as 0, as the usual frameworks do.
    Relu,
    /// The hyperbolic tangent: smooth, for flows at tight tolerances.
    Tanh,
}

impl Activation {
    /// The activation an experiment file names.
    pub(super) fn named(name: &str) -> Activation {
        match name {
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            _ => Activation::Linear,
        }
    }

    /// Replaces each value by its activation.
    pub(crate) fn apply(self, values: &mut [f64]) {
        match self {
            Activation::Linear => {}
            Activation::Relu => relu(values),
            Activation::Tanh => values.iter_mut().for_each(|value| *value = value.tanh()),
        }
    }

    /// Multiplies each gradient by the activation's derivative, given the activation's output.
    pub(crate) fn pull_back(self, outputs: &[f64], gradients: &mut [f64]) {
        match self {
            Activation::Linear => {}
            Activation::Relu => pull_back_relu(outputs, gradients),
            Activation::Tanh => {
                for (gradient, output) in gradients.iter_mut().zip(outputs) {
                    *gradient *= 1.0 - output * output;
                }
            }
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn relu(values: &mut [f64]) {
    for value in values {
        // Written so that a NaN stays one.
        *value = if *value < 0.0 { 0.0 } else { *value };
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn pull_back_relu(outputs: &[f64], gradients: &mut [f64]) {
    for (gradient, output) in gradients.iter_mut().zip(outputs) {
        *gradient = if *output > 0.0 { *gradient } else { 0.0 };
    }
}
