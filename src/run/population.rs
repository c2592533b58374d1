//! The flow on infinitely many samples: connects the population limit to dynamics and observation.

use crate::dynamics::JacobianField;
use crate::encoder::{Network, Output};
use crate::gradient::GivenXFlow;
use crate::loss::Evaluation;
use crate::matrix::Matrix;
use crate::observe::Landscape;
use crate::theory::Population;
use std::cell::Cell;

/// A population loss of a network's end-to-end matrix.
#[derive(Debug)]
pub(super) struct PopulationLandscape {
    pub(super) network: Network,
    pub(super) population: Population,
}

impl Landscape for PopulationLandscape {
    fn network(&self) -> &Network {
        &self.network
    }

    fn value(&mut self, parameters: &[f64]) -> Evaluation {
        let w = self.network.end_to_end(parameters, Output::Embedding);
        Evaluation { loss: self.population.loss(&w), shorter_than_floor: 0 }
    }

    fn x_matrix(&mut self, parameters: &[f64]) -> (Matrix, Evaluation) {
        let evaluation = self.value(parameters);
        (self.population.x(&self.network.end_to_end(parameters, Output::Embedding)), evaluation)
    }

    /// Twice the mean squared length of views, as for a batch.
    fn x_terms(&self) -> f64 {
        2.0 * self.population.views().pooled().trace()
    }

    fn embeddings(&self) -> &[f64] {
        &[]
    }

    fn per_sample(&self, _samples: f64) -> f64 {
        1.0
    }
}

/// Ẇ_l = -∂L/∂W_l of a population loss, with its Jacobian.
pub(super) struct PopulationField<'a> {
    given: GivenXFlow,
    network: &'a Network,
    population: Population,
    clock: &'a Cell<f64>,
}

impl<'a> PopulationField<'a> {
    pub(super) fn new(network: &'a Network, population: Population, clock: &'a Cell<f64>) -> Self {
        PopulationField { given: GivenXFlow::new(network), network, population, clock }
    }
}

impl JacobianField for PopulationField<'_> {
    fn evaluate(&mut self, time: f64, theta: &[f64], out: &mut [f64]) {
        self.clock.set(time);
        let population = &mut self.population;
        self.given.derivative_by(theta, |w, image| population.times_x(w, image), out);
    }

    fn jacobian(&mut self, _time: f64, theta: &[f64], out: &mut [f64]) {
        let layers: Vec<Matrix> = self
            .network
            .dense_layers()
            .map(|(_, shape, offset)| Network::weights(shape, offset, theta))
            .collect();
        let total = self.network.end_to_end(theta, Output::Embedding);
        let mut times_x = Matrix::zeros(total.nrows(), total.ncols());
        self.population.times_x(&total, times_x.as_mut_slice());
        match self.population.curvature(&total) {
            Some(curvature) => curvature.of_layers(&layers, &times_x, out),
            None => out.fill(f64::NAN),
        }
    }
}
