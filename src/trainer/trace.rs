//! Tracing spans and events of a run, for the crate `tracing`; empty functions without the feature `tracing`.

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

    /// Whether a `tracing` subscriber receives the debug event of each update.
    pub(crate) fn takes_steps() -> bool {
        enabled!(target: TARGET, Level::DEBUG)
    }

    pub(crate) fn step(step: &Step) {
        let &Step { step: number, epoch, loss, applied, learning_rate, .. } = step;
        let &Step { gradient_norm, clipped_norm, samples, seconds, communication, spike, .. } = step;
        debug!(
            target: TARGET, step = number, epoch, loss, applied, learning_rate, gradient_norm, clipped_norm, samples,
            seconds, samples_per_second = step.samples_per_second(),
            bytes_sent = communication.map(|communication| communication.sent),
            bytes_received = communication.map(|communication| communication.received),
            communication_seconds = communication.map(|communication| communication.seconds),
            spike = spike.map(tracing::field::display), "step"
        );
    }

    pub(crate) fn epoch(epoch: &Epoch) {
        let &Epoch { epoch: number, loss, validation, steps, skipped, learning_rate, .. } = epoch;
        let &Epoch { gradient_norm, clipped_norm, samples, seconds, .. } = epoch;
        let validation_loss = validation.map(|validation| validation.loss);
        let accuracy = validation.and_then(|validation| validation.accuracy);
        info!(
            target: TARGET, epoch = number, loss, validation_loss, accuracy, steps, skipped, learning_rate,
            gradient_norm, clipped_norm, samples, seconds, samples_per_second = epoch.samples_per_second(), "epoch"
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
