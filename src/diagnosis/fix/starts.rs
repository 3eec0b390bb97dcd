//! The parameters from which the trainings of a trial start: the current ones, and the first ones of the run.

use super::{Change, Fix, Trial};
use crate::{
    block::Blocks,
    error::{Error, require_length},
    layer::{Layer, LayerSpec, initialize},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{borrow::Cow, vec::Vec};
use core::ops::Range;

/// The parameters from which the trainings of a trial start: the current ones, or the first ones of the run.
pub(super) struct Starts<'w, T: Scalar> {
    /// The current parameters. If one of them is not finite, a copy of the first parameters of the run.
    pub(super) today: Cow<'w, [T]>,
    /// The first parameters of the run, or new values from the initializers if they are not known. A block with a
    /// value that is not finite has new values, too.
    began: Vec<T>,
    /// Whether the run has changed the parameters: they differ from the first parameters of the run or, if these are
    /// not known, cannot be drawn by the initializers. False if one of them is not finite.
    is_trained: bool,
    /// Whether the run is known to have begun from parameters that its initializers do not draw, such as loaded ones.
    is_loaded: bool,
    is_known: bool,
}

impl<T: Scalar> Trial<'_, T> {
    /// Returns the parameters from which trainings of the network with the parameters `w` start.
    pub(super) fn starts<'w>(&self, network: &dyn Layer<T>, w: &'w [T]) -> Result<Starts<'w, T>, Error> {
        let mut began = initialize(network, 0)?;
        if let Some(first) = self.first_parameters {
            require_length("first parameters", began.len(), first.len())?;
            for block in Blocks::collect(|visit| network.blocks(visit)).iter() {
                let first = &first[block.range.clone()];
                if first.iter().all(|value| value.is_finite()) {
                    began[block.range.clone()].iter_mut().zip(first).for_each(|(to, &value)| *to = scalar(value));
                }
            }
        }
        let is_known = self.first_parameters.is_some();
        let is_loaded = is_known && !is_initial(network, &began)?;
        if !w.iter().all(|w| w.is_finite()) {
            return Ok(Starts { today: Cow::Owned(began.clone()), began, is_trained: false, is_loaded, is_known });
        }
        let is_trained = if is_known { w != &began[..] } else { !is_initial(network, w)? };
        Ok(Starts { today: Cow::Borrowed(w), began, is_trained, is_loaded, is_known })
    }
}

impl<T: Scalar> Starts<'_, T> {
    /// Whether the run has changed the parameters since it began.
    pub(super) fn is_trained(&self) -> bool {
        self.is_trained
    }

    /// Returns the first parameters of the run, or new values from the initializers if they are not known, and a
    /// phrase that names which of the two it is.
    pub(super) fn beginning(&self) -> (&[T], &'static str) {
        (&self.began, if self.is_known { "where the run began" } else { "initial values" })
    }

    /// Whether a fix draws most parameters of the network anew.
    pub(super) fn is_restart(&self, network: &LayerSpec, fix: &Fix) -> Result<bool, Error> {
        let fixed = fix.apply::<T>(network, &self.today, 0)?;
        Ok(fixed.is_some_and(|fixed| {
            let kept: usize = fixed.survivors.iter().map(|survivor| survivor.after.len()).sum();
            2 * kept < fixed.parameters.len()
        }))
    }

    /// Returns the fix for a training from the first parameters of the run, and these parameters. `None` if the run
    /// has not moved the parameters, or has made one NaN or infinite. A fix that draws most parameters again is
    /// returned only if overly large updates alone have ruined parameters that were loaded. Any other fix is returned
    /// unless it changes only rates, clipping or the schedule.
    ///
    /// Parameters that overly large updates alone have ruined were sound at the start of the run. If the first
    /// parameters of the run are known, the returned fix does not draw the ruined ones again.
    pub(super) fn second<'f>(&self, network: &LayerSpec, fix: &'f Fix) -> Result<Option<Second<'f, '_, T>>, Error> {
        if !self.is_trained {
            return Ok(None);
        }
        let is_rate = matches!(
            fix.change,
            Change::LearningRate(_)
                | Change::HoldRate(_)
                | Change::ClipNorm(_)
                | Change::FitClip
                | Change::LongerSchedule { .. }
                | Change::TrainBlock(_)
        );
        let differs = match self.is_restart(network, fix)? {
            true => fix.spoiled && self.is_loaded,
            false => !is_rate,
        };
        let fix = match fix.spoiled && self.is_known {
            true => Cow::Owned(Fix { accused: Vec::new(), ..fix.clone() }),
            false => Cow::Borrowed(fix),
        };
        Ok(differs.then_some((fix, &self.began[..])))
    }
}

/// A fix for a training from the first parameters of the run, and these parameters.
type Second<'f, 's, T> = (Cow<'f, Fix>, &'s [T]);

/// Whether `w` may be initial values of the network. Blocks that the initializers set to 0 are 0. The norm of each
/// other block differs from that of one draw by at most a tenth, or by at most four standard errors.
fn is_initial<T: Scalar>(network: &dyn Layer<T>, w: &[T]) -> Result<bool, Error> {
    let drawn = initialize(network, 0)?;
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let norm = |values: &[T]| libm::sqrt(values.iter().map(|&w| to_f64(w) * to_f64(w)).sum::<f64>());
    let is_drawn = |range: &Range<usize>| {
        let [found, drawn] = [w, &drawn[..]].map(|values| norm(&values[range.clone()]));
        // The size of n values has a relative standard error of 1/√(2n) from draw to draw.
        let spread = f64::max(0.1, 4.0 / libm::sqrt(2.0 * range.len().max(1) as f64));
        (found - drawn).abs() <= spread * drawn
    };
    Ok(blocks.iter().all(|block| is_drawn(&block.range)))
}
