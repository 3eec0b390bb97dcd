//! The initial values of the parameters.

use super::{
    Layer,
    check::{check_depth, check_settings},
};
use crate::{
    block::Blocks,
    error::Error,
    random::generator,
    scalar::{Scalar, to_f64},
    size::{filled, room},
};
use alloc::{borrow::Cow, vec::Vec};

/// Returns the initial values of all parameters of `layer`. A seed gives the same bits on every platform.
///
/// ```
/// use chainrule::layer::{Linear, initialize};
/// let w: Vec<f64> = initialize(&Linear::new(3, 2), 7)?;
/// let (weights, biases) = w.split_at(3 * 2);
/// assert!(weights.iter().all(|w| w.abs() <= (6.0_f64 / (3.0 + 2.0)).sqrt()) && biases == [0.0; 2]); // Glorot
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidLayer`] for a setting outside its range, and for layers nested more than
/// [`MAX_DEPTH`](super::MAX_DEPTH) deep. [`Error::InitialValue`] for a value that is not finite in `T`.
/// [`Error::TooLarge`] for more parameters than memory can hold. The errors of the layer's initializers.
pub fn initialize<T: Scalar>(layer: &(impl Layer<T> + ?Sized), seed: u64) -> Result<Vec<T>, Error> {
    T::initialize(layer.as_layer(), seed)
}

/// Returns the initial values of the parameters, as [`initialize`] does, for a trait object.
pub(crate) fn initialize_dyn<T: Scalar>(layer: &dyn Layer<T>, seed: u64) -> Result<Vec<T>, Error> {
    check_depth(layer)?;
    check_settings(layer, "")?;
    let parameters = room::<T>("the parameters of the network", &[layer.dims().parameters])?;
    let mut w = filled("the parameters of the network", parameters, T::zero())?;
    let (initialized, index) = (layer.initialize(&mut w, &mut generator(seed)), non_finite(&w));
    let Some(index) = index else { return initialized.map(|()| w) };
    let found = match initialized {
        Err(Error::NonFinite { found, .. }) => found,
        Err(other) => return Err(other),
        Ok(()) => to_f64(w[index]),
    };
    let blocks = Blocks::collect(|visit| layer.blocks(visit));
    let (block, first) =
        blocks.at(index).map_or_else(Default::default, |block| (block.name.clone(), block.range.start));
    Err(Error::InitialValue { block: block.into_owned(), index: index - first, found })
}

/// Returns the parameters `w`; if one of them is NaN or infinite, the initial values of the seed 0 instead, because
/// a network with such parameters can be neither measured nor trained. A `w` of the wrong length is returned as it
/// is. The errors are those of [`initialize`].
pub(crate) fn finite_or_initial<'w, T: Scalar>(layer: &dyn Layer<T>, w: &'w [T]) -> Result<Cow<'w, [T]>, Error> {
    match non_finite(w) {
        Some(_) if w.len() == layer.dims().parameters => initialize_dyn(layer, 0).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(w)),
    }
}

fn non_finite<T: Scalar>(w: &[T]) -> Option<usize> {
    w.iter().position(|w| !w.is_finite())
}
