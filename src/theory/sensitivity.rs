//! The sensitivity of each unit's state to the parameter that carries the state from time step to time step.

use crate::{
    batch_shape::BatchShape,
    block::{Blocks, Role},
    error::{Error, require_length},
    layer::{Dims, Layer, LayerSpec, check_depth},
    scalar::{Scalar, scalar, to_f64},
    testing::Dual,
    workspace::Workspace,
};
use alloc::{boxed::Box, vec::Vec};
use num_traits::Float;

/// The root mean square of a unit's state, and of its derivative with respect to the unit's own parameter, along a
/// sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct UnitSensitivity {
    /// The root mean square of the unit's state h over the time steps.
    pub state: f64,
    /// The root mean square of ∂h/∂θ over the time steps. θ is the unit's diagonal entry of the recurrent weights
    /// U, or its bias of the gate that carries the state.
    pub sensitivity: f64,
    /// The root mean square of the layer's input over the time steps.
    pub input: f64,
}

impl UnitSensitivity {
    /// Returns log10 of the [`sensitivity`](Self::sensitivity) divided by the gain of the state, which is
    /// [`state`](Self::state) divided by [`input`](Self::input).
    pub fn decades(&self) -> f64 {
        libm::log10(self.sensitivity * self.input / self.state)
    }
}

/// Computes the sensitivity of each unit of a recurrent layer to its own parameter, along one sequence `x` from a zero
/// state. A unit's own parameter is its diagonal entry of the recurrent weights, or its bias of the gate that carries
/// the state.
///
/// For a linear unit `h_t = λ h_{t−1} + x_t` with white input of variance 1, `E h² = 1/(1 − λ²)`, but
/// `E (∂h/∂λ)² = (1 + λ²)/(1 − λ²)³`: as λ approaches 1, the gradient grows far faster than the state.
/// This is the curse of memory (Zucchet & Orvieto 2024). An input scaled by √(1 − λ²) keeps the state bounded.
///
/// The function runs one forward pass on [`Dual`] numbers for each unit. It returns `None` for a custom layer, for
/// one that is not recurrent, and for one without such a parameter.
///
/// # Shapes
/// w: the layer's parameters; x: \[steps, input\].
///
/// # Errors
/// [`Error::Length`] where `x` is empty or does not fill whole rows, or `w` does not have the layer's parameters.
/// [`Error::InvalidLayer`] for layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep. The errors of
/// [`Workspace::new`].
///
/// # Panics
/// Where [`Workspace::forward`] panics.
///
/// ```
/// use chainrule::{activation::Identity, recurrent::{Elman, Recurrent}, theory::unit_sensitivities};
/// let layer = Recurrent::new(1, 1, Elman::new(Identity)).without_bias();
/// // The response to an impulse: its squares add up to what white input has on average.
/// let mut impulse = vec![0.0; 400];
/// impulse[0] = 1.0;
/// let unit = unit_sensitivities::<f64>(&layer, &[1.0, 0.9], &impulse)?.unwrap()[0];
/// assert!((unit.sensitivity.powi(2) * 400.0 - 263.887).abs() < 1e-3);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn unit_sensitivities<T: Scalar>(
    layer: &(impl Layer<T> + ?Sized),
    w: &[T],
    x: &[T],
) -> Result<Option<Vec<UnitSensitivity>>, Error> {
    check_depth(&layer)?;
    let spec = layer.spec();
    if !matches!(spec, LayerSpec::Recurrent { .. }) {
        return Ok(None);
    }
    let Dims { input, output, parameters } = layer.dims();
    require_length("parameters", parameters, w.len())?;
    let steps = x.len() / input.max(1);
    require_length("the inputs of a sequence", steps.max(1).saturating_mul(input.max(1)), x.len())?;
    let network: Box<dyn Layer<Dual<f64>>> = match spec.build() {
        Ok(network) => network,
        Err(Error::CustomPart { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let Some(own) = own_parameters(&blocks, output) else { return Ok(None) };
    let dual = |values: &[T]| values.iter().map(|&value| scalar(to_f64(value))).collect::<Vec<Dual<f64>>>();
    let (mut w, x, shape) = (dual(w), dual(x), BatchShape::sequences(1, steps));
    let mut workspace = Workspace::for_inference(&network, shape)?;
    let size = Float::sqrt(x.iter().map(|x: &Dual<f64>| x.value * x.value).sum::<f64>() / x.len().max(1) as f64);
    let mut found = Vec::new();
    for (unit, &parameter) in own.iter().enumerate() {
        w[parameter].tangent = 1.0;
        let y = workspace.infer(&w, &x, shape)?;
        let mean_square = |part: fn(&Dual<f64>) -> f64| {
            let squares = y.iter().skip(unit).step_by(output.max(1)).map(|h| part(h) * part(h));
            Float::sqrt(squares.sum::<f64>() / steps as f64)
        };
        let (state, sensitivity) = (mean_square(|h| h.value), mean_square(|h| h.tangent));
        found.push(UnitSensitivity { state, sensitivity, input: size });
        w[parameter].tangent = 0.0;
    }
    Ok(Some(found))
}

/// Returns for each of `units` units the index of its own parameter: its diagonal entry of the recurrent weights or, in
/// a cell with several gates, its bias of the gate that carries the state. `None` if the layer has no such parameters.
fn own_parameters(blocks: &Blocks, units: usize) -> Option<Vec<usize>> {
    let recurrent = blocks.iter().find(|block| block.role == Role::Recurrent)?;
    if recurrent.gates.len() <= 1 {
        return Some((0..units).map(|unit| recurrent.range.start + unit * units + unit).collect());
    }
    let bias = blocks.iter().find(|block| block.role == Role::Bias)?;
    let gate = bias.gates.iter().position(|gate| gate.carries_state)?;
    Some((0..units).map(|unit| bias.range.start + gate * units + unit).collect())
}
