//! The batch shapes and the magnitudes of the values of random passes.

use crate::{batch_shape::BatchShape, layer::Mode};

/// Batch shapes in increasing order: the first that fails is the smallest example.
pub(super) const EXTENTS: [BatchShape<'static>; 5] = [
    BatchShape::batch(1),
    BatchShape::batch(2),
    BatchShape::sequences(1, 2),
    BatchShape::sequences(2, 3),
    BatchShape { batch: 4, steps: 4, lengths: Some(&[4, 3, 3, 1]) },
];

/// The magnitudes of the inputs, states and gradients of random passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Inputs {
    /// The factor on the inputs, which are normal numbers.
    pub(super) size: f64,
    /// Whether all input values of a row are equal.
    pub(super) alike: bool,
    /// Whether each input has its own random factor, log-uniform from 0.01 to 10⁴.
    pub(super) mixed: bool,
    /// The factor on the initial state; `None` for a pass without an initial state.
    pub(super) state: Option<f64>,
    /// The factor on the parameters.
    pub(super) parameters: f64,
    /// Whether the pass starts from buffers, such as running means, that earlier training passes have updated.
    pub(super) later: bool,
    /// The factor on the gradients of output and final state.
    pub(super) gradient: f64,
    /// Whether dropout is switched off by its key, in training.
    pub(super) off: bool,
}

pub(super) const USUAL: Inputs = Inputs {
    size: 1.0,
    alike: false,
    mixed: false,
    state: Some(1.0),
    parameters: 1.0,
    later: false,
    gradient: 1.0,
    off: false,
};

/// Magnitudes, batch shapes and modes at which the adjoint law is tested in addition to the usual ones.
pub(super) const UNUSUAL: [(Inputs, BatchShape<'static>, Mode); 21] = [
    (Inputs { gradient: 1e-4, ..USUAL }, BatchShape::batch(2), Mode::Train),
    (Inputs { gradient: 1e4, ..USUAL }, BatchShape::batch(2), Mode::Train),
    (Inputs { off: true, ..USUAL }, BatchShape::batch(16), Mode::Train),
    (USUAL, BatchShape::sequences(2, 12), Mode::Train),
    (Inputs { state: None, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { state: Some(0.0), ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { size: 0.0, ..USUAL }, BatchShape::batch(2), Mode::Train),
    (Inputs { size: 30.0, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { size: 1e4, ..USUAL }, BatchShape::batch(3), Mode::Train),
    (Inputs { alike: true, ..USUAL }, BatchShape::batch(3), Mode::Train),
    (Inputs { mixed: true, ..USUAL }, BatchShape::batch(16), Mode::Train),
    (Inputs { state: Some(30.0), ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { parameters: -1.0, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { parameters: 0.01, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { parameters: 10.0, ..USUAL }, BatchShape::sequences(2, 3), Mode::Train),
    (Inputs { later: true, ..USUAL }, BatchShape::batch(4), Mode::Train),
    (Inputs { later: true, ..USUAL }, BatchShape::batch(4), Mode::Evaluate),
    (Inputs { size: 30.0, ..USUAL }, BatchShape::sequences(2, 3), Mode::Evaluate),
    (Inputs { size: 1e4, ..USUAL }, BatchShape::batch(3), Mode::Evaluate),
    (Inputs { alike: true, ..USUAL }, BatchShape::batch(3), Mode::Evaluate),
    (Inputs { mixed: true, ..USUAL }, BatchShape::batch(16), Mode::Evaluate),
];
