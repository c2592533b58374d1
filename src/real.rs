//! Arithmetic that referees are written in: one definition of a loss serves floating point, dual numbers and
//! extended precision.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A field with the elementary functions that the losses need.
pub trait Real:
    Clone
    + From<f64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The exponential.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The value rounded to double precision, for comparisons.
    fn value(&self) -> f64;
}

impl Real for f64 {
    fn exp(self) -> Self {
        f64::exp(self)
    }
    fn ln(self) -> Self {
        f64::ln(self)
    }
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    fn value(&self) -> f64 {
        *self
    }
}

/// A dual number a + b ε with ε² = 0: the value of a function and its derivative in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Dual<R> {
    /// The value.
    pub value: R,
    /// The derivative.
    pub derivative: R,
}

impl<R: Real> From<f64> for Dual<R> {
    fn from(value: f64) -> Self {
        Dual { value: R::from(value), derivative: R::from(0.0) }
    }
}

impl<R: Real> Add for Dual<R> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Dual { value: self.value + other.value, derivative: self.derivative + other.derivative }
    }
}

impl<R: Real> Sub for Dual<R> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Dual { value: self.value - other.value, derivative: self.derivative - other.derivative }
    }
}

impl<R: Real> Neg for Dual<R> {
    type Output = Self;
    fn neg(self) -> Self {
        Dual { value: -self.value, derivative: -self.derivative }
    }
}

impl<R: Real> Mul for Dual<R> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Dual {
            derivative: self.derivative * other.value.clone() + self.value.clone() * other.derivative,
            value: self.value * other.value,
        }
    }
}

impl<R: Real> Div for Dual<R> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value.clone();
        Dual { derivative: (self.derivative - value.clone() * other.derivative) / other.value, value }
    }
}

impl<R: Real> Real for Dual<R> {
    fn exp(self) -> Self {
        let value = self.value.exp();
        Dual { derivative: self.derivative * value.clone(), value }
    }
    fn ln(self) -> Self {
        Dual { derivative: self.derivative / self.value.clone(), value: self.value.ln() }
    }
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        Dual { derivative: self.derivative / (value.clone() + value.clone()), value }
    }
    fn value(&self) -> f64 {
        self.value.value()
    }
}
