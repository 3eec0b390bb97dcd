//! Further seeds of a trial in which no fix helped clearly.

use super::{Change, Fix, Trial, TrialOutcome, TrialReport, starts::Starts};
use crate::{error::Error, layer::LayerSpec, scalar::Scalar};
use alloc::vec::Vec;

impl<T: Scalar> Trial<'_, T> {
    /// Trains fixes that lower the loss, but not clearly, from further seeds, until one helps clearly. The fix of the
    /// lowest loss is trained first. These trainings use the steps that the examination of a [fixed
    /// network](Trial::behind) has left. The network without a fix is trained from the same seeds.
    pub(super) fn add_seeds(
        &self,
        network: &LayerSpec,
        w: &[T],
        fixes: &[Fix],
        report: &mut TrialReport,
    ) -> Result<(), Error> {
        let this = Trial { steps: report.baseline.curve.len(), context: None, ..*self };
        let (starts, left_out) = (self.starts(&*network.build::<T>()?, w)?, self.left_out(network, w, fixes));
        while report.best().is_none() {
            let without = report.baseline.spread()[0];
            let is_open = |it: &&mut TrialOutcome| (it.losses.len() as u64) < self.seeds && it.spread()[1] < without;
            let open = report.outcomes.iter_mut().filter(is_open);
            let Some(lowest) = open.min_by(|a, b| a.median().total_cmp(&b.median())) else { break };
            let seed = lowest.losses.len() as u64;
            let is_new = report.baseline.losses.len() as u64 == seed;
            let steps = this.steps * (1 + usize::from(is_new));
            if report.steps.saturating_add(steps) > self.limit {
                break;
            }
            if is_new {
                let unchanged = |_: u64| this.as_it_is(network, &starts.today).map(|it| Some(this.begun(it, false)));
                this.adds(&mut report.baseline, seed, &left_out, &unchanged)?;
            }
            if !this.tries_again(&starts, lowest, seed, &left_out, (network, fixes))? {
                break;
            }
            report.steps += steps;
        }
        report.rank();
        Ok(())
    }

    /// Returns the samples that some fix leaves out: they do not count in any loss.
    pub(super) fn left_out(&self, network: &LayerSpec, w: &[T], fixes: &[Fix]) -> Vec<usize> {
        let of = |fix| match self.fitted(network, w, fix).ok()?.into_owned().change {
            Change::LeaveOut(samples) => Some(samples),
            _ => None,
        };
        let leave = fixes.iter().filter(|fix| matches!(fix.change, Change::LeaveOut(_) | Change::FitLeaveOut));
        leave.filter_map(of).flatten().collect()
    }

    /// Trains the network with the fix of `outcome` from a further seed, and adds the loss to `outcome`. The training
    /// starts from the parameters from which the fix had its better training. Returns whether the fix could be tried.
    pub(super) fn tries_again(
        &self,
        starts: &Starts<'_, T>,
        outcome: &mut TrialOutcome,
        seed: u64,
        left_out: &[usize],
        (network, fixes): (&LayerSpec, &[Fix]),
    ) -> Result<bool, Error> {
        let Some(fix) = outcome.fix.map(|fix| &fixes[fix]) else { return Ok(false) };
        match starts.second(network, fix)?.filter(|_| outcome.from_beginning) {
            Some((fix, first)) => self.tries(&fix, outcome, seed, left_out, (network, first)),
            None => self.tries(fix, outcome, seed, left_out, (network, &starts.today)),
        }
    }
}
