//! Spans and events of a run for the crate `tracing`; nothing without the feature.

use super::{Epoch, Step};

#[cfg(feature = "tracing")]
mod subscribed {
    use super::{Epoch, Step};
    use tracing::{Level, debug, debug_span, enabled, info, info_span, span::EnteredSpan};

    const TARGET: &str = "chainrule::trainer";

    pub(crate) type Span = EnteredSpan;

    pub(crate) fn epoch_span(epoch: usize) -> Span {
        info_span!(target: TARGET, "epoch", epoch).entered()
    }

    pub(crate) fn step_span() -> Span {
        debug_span!(target: TARGET, "step").entered()
    }

    /// Whether a subscriber takes the event of each update.
    pub(crate) fn takes_steps() -> bool {
        enabled!(target: TARGET, Level::DEBUG)
    }

    pub(crate) fn step(step: &Step) {
        let &Step { step, epoch, loss, applied, learning_rate, gradient_norm, clipped_norm, samples, seconds } = step;
        debug!(
            target: TARGET, step, epoch, loss, applied, learning_rate, gradient_norm, clipped_norm, samples, seconds,
            "step"
        );
    }

    pub(crate) fn epoch(epoch: &Epoch) {
        let &Epoch { epoch, loss, validation, steps, skipped, learning_rate, samples, seconds } = epoch;
        let validation_loss = validation.map(|validation| validation.loss);
        let accuracy = validation.and_then(|validation| validation.accuracy);
        info!(
            target: TARGET, epoch, loss, validation_loss, accuracy, steps, skipped, learning_rate, samples, seconds,
            "epoch"
        );
    }
}

#[cfg(not(feature = "tracing"))]
mod subscribed {
    use super::{Epoch, Step};

    pub(crate) struct Span;

    pub(crate) fn epoch_span(_epoch: usize) -> Span {
        Span
    }

    pub(crate) fn step_span() -> Span {
        Span
    }

    pub(crate) fn takes_steps() -> bool {
        false
    }

    pub(crate) fn step(_step: &Step) {}

    pub(crate) fn epoch(_epoch: &Epoch) {}
}

pub(super) use subscribed::*;
