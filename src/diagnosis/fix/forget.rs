//! Gates that begin open for as long as the task asks for.

use super::{Cause, Effort, Patient, Remedy, Treatment, gates::span, rewrite};
use crate::{
    error::Error,
    initializer::{Chrono, Initializer},
    layer::{CellKind, Node},
};
use alloc::format;

/// Biases of gates drawn by [`Chrono`] for the task's span (Tallec & Ollivier 2018).
#[derive(Clone, Copy, Debug, Default)]
pub struct ForgetBias;

impl Remedy for ForgetBias {
    fn name(&self) -> &'static str {
        "biases of the gates"
    }

    fn cures(&self, cause: Cause) -> bool {
        matches!(cause, Cause::ShutForgetGate | Cause::VanishingRecurrence)
    }

    fn treat(&self, patient: &Patient<'_>) -> Result<Option<Treatment>, Error> {
        let span = span(patient);
        let open = rewrite(patient.network, &mut |leaf, _| match leaf {
            Node::Recurrent { cell: CellKind::Lstm | CellKind::Gru(_), bias: Some(bias), .. } => {
                *bias = Chrono { span }.kind();
                true
            }
            _ => false,
        });
        let Some(after) = open else { return Ok(None) };
        let why = format!("gates that begin open for 2 to {span} steps, evenly spread over the units");
        patient
            .network_becomes(self.name(), Effort::Initialization, after, why)
            .map(|treatment| Some(treatment.preferred()))
    }
}
