//! The largest curvature of the loss, compared with the learning rate of a run.

use super::{
    Diagnosis,
    figures::{count, number},
};
use crate::{
    error::{Error, require},
    scalar::Scalar,
    theory::Hessian,
};
use alloc::{format, string::String};

/// The largest number of samples over which a Hessian is computed; more are an error. A product of the Hessian and a
/// vector takes the time of about three passes over these samples.
const SAMPLES: usize = 64;

/// The largest number of products of the Hessian and a vector: about 30 give three digits of the largest eigenvalue.
const PRODUCTS: usize = 30;

/// The largest curvature of the loss, with the learning rate and the momentum of the run. The curvature limits the
/// rate.
#[derive(Clone, Debug)]
pub(super) struct Curvature {
    /// λ, the largest eigenvalue of the Hessian.
    pub largest: f64,
    pub rate: f64,
    pub momentum: f64,
    pub samples: usize,
    pub is_exact: bool,
}

impl Curvature {
    /// Returns the learning rate η over the largest stable rate, which is 2 (1 + β)/λ for a momentum β. Without
    /// momentum the result is ηλ/2. `None` unless λ is above 0 and finite.
    pub fn of_edge(&self) -> Option<f64> {
        let known = self.largest > 0.0 && self.largest.is_finite();
        known.then(|| self.rate * self.largest / (2.0 * (1.0 + self.momentum)))
    }

    /// Returns the fraction of the way to the minimum, along the direction of largest curvature, that `steps` updates
    /// cover: `1 − exp(−ηλ steps/(1 − β))`, with the rate η and the momentum β. `None` unless λ is above 0 and
    /// finite.
    pub fn covered(&self, steps: u64) -> Option<f64> {
        let each = self.rate * self.largest / (1.0 - self.momentum);
        self.of_edge().map(|_| -libm::expm1(-each * steps as f64))
    }

    /// Returns, as a phrase, the largest curvature λ and the learning rate as a multiple of the largest stable rate.
    pub fn sentence(&self) -> String {
        let by = if self.is_exact { "" } else { ", by differences of gradients" };
        let (samples, largest) = (count(self.samples, "sample"), number(self.largest));
        let measured = format!("the largest curvature of the loss on {samples}, λ, is {largest}{by}");
        match self.of_edge() {
            Some(_) if self.momentum == 0.0 => {
                format!("{measured}, and ηλ/2 is {}", number(0.5 * self.rate * self.largest))
            }
            Some(edge) => format!("{measured}, and ηλ/(2 + 2β) is {}", number(edge)),
            None => format!("{measured}: no rate is too large for it"),
        }
    }
}

impl Diagnosis<'_> {
    /// Adds the largest curvature λ of the loss, from at most 30 products with its Hessian. The rate of gradient
    /// descent is then judged by the edge of stability 2/λ instead of the size of updates. If
    /// [`transform`](Self::transform) adds an optimizer that scales each gradient, the rate is still judged by the
    /// size of updates.
    ///
    /// `rate` is the learning rate η of gradient descent, and `momentum` its momentum β, or 0. Descent with
    /// momentum is stable up to a rate of 2 (1 + β)/λ. The updates of an optimizer that scales each gradient, such
    /// as Adam, have no such limit.
    ///
    /// Full-batch training drives ηλ/2 up to 1 and keeps it there (Cohen et al. 2021), so a rate at the edge is no
    /// fault. A rate is a fault if it is [clearly above](super::Thresholds::edge) the edge and the loss climbs or
    /// does not fall. A rate is too low if the loss stands still, and all updates together cover
    /// [only a small part](super::Thresholds::covered) of the way to the minimum along the direction of largest
    /// curvature.
    ///
    /// The products are computed by passes on dual numbers or, for a network with a custom part, by differences of
    /// gradients. This call makes these passes; they do not count among those of
    /// [`interventions`](Self::interventions). Buffers of the run, such as running means, are not changed, and all
    /// products have the same dropout masks.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a Hessian of more than 64 samples, a rate below 0 or not finite, a momentum outside
    /// [0, 1), and a network without parameters. The errors of [`Hessian::times`].
    ///
    /// # Panics
    /// As [`Workspace::forward`](crate::workspace::Workspace::forward).
    pub fn curvature<T: Scalar>(self, hessian: &mut Hessian<'_, T>, rate: f64, momentum: f64) -> Result<Self, Error> {
        let samples = hessian.samples();
        require(samples <= SAMPLES, "the samples of a Hessian", "at most 64", samples as f64)?;
        require(rate >= 0.0 && rate.is_finite(), "the rate", "at least 0 and finite", rate)?;
        require((0.0..1.0).contains(&momentum), "the momentum", "from 0 to below 1", momentum)?;
        let (largest, is_exact) = (hessian.largest_eigenvalue(PRODUCTS)?, hessian.is_exact());
        Ok(Diagnosis { curvature: Some(Curvature { largest, rate, momentum, samples, is_exact }), ..self })
    }
}
