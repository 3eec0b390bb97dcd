//! Sizes computed without overflow, and allocation that returns errors instead of aborting.
//!
//! Constructors of layers accept all sizes; `push`, `build`, `initialize` and `Workspace::new` check them. A size
//! that a layer reports is `usize::MAX` if it overflows; those checks refuse this value.

use crate::error::Error;
use alloc::{string::ToString, vec::Vec};
use core::fmt::Display;

/// The largest number of bytes of one allocation, and so an upper bound on the number of its values.
pub(crate) const MOST: usize = isize::MAX as usize;

/// The product of `factors`: 0 if a factor is 0, otherwise [`usize::MAX`] if it overflows.
pub(crate) const fn saturating_product(factors: &[usize]) -> usize {
    let (mut product, mut i, mut zero) = (1usize, 0, false);
    while i < factors.len() {
        product = product.saturating_mul(factors[i]);
        zero |= factors[i] == 0;
        i += 1;
    }
    if zero { 0 } else { product }
}

/// The sum of `terms`; [`usize::MAX`] if it overflows.
pub(crate) fn saturating_sum(terms: impl IntoIterator<Item = usize>) -> usize {
    terms.into_iter().fold(0, usize::saturating_add)
}

/// Returns the product of `factors`, which counts values. `what` names these values in an error.
///
/// # Errors
/// [`Error::TooLarge`] if the product exceeds [`MOST`].
pub(crate) fn product(what: impl Display, factors: &[usize]) -> Result<usize, Error> {
    match saturating_product(factors) {
        product if product <= MOST => Ok(product),
        _ => Err(too_large(what, factors, MOST)),
    }
}

/// Returns the product of `factors`, a number of values of type `T`. `what` names the values in an error.
///
/// # Errors
/// [`Error::TooLarge`] if the values take more than [`MOST`] bytes.
pub(crate) fn room<T>(what: impl Display, factors: &[usize]) -> Result<usize, Error> {
    let limit = MOST / size_of::<T>().max(1);
    match saturating_product(factors) {
        product if product <= limit => Ok(product),
        _ => Err(too_large(what, factors, limit)),
    }
}

/// Returns the sum of `terms`, a number of values. `what` names the values in an error.
///
/// # Errors
/// [`Error::TooLarge`] if the sum exceeds [`MOST`].
pub(crate) fn sum(what: impl Display, terms: impl IntoIterator<Item = usize>) -> Result<usize, Error> {
    at_most(what, saturating_sum(terms), MOST)
}

/// Returns `size` if it is at most `limit`. `what` names the counted values in an error.
///
/// # Errors
/// [`Error::TooLarge`] if `size` exceeds `limit`.
pub(crate) fn at_most(what: impl Display, size: usize, limit: usize) -> Result<usize, Error> {
    if size <= limit { Ok(size) } else { Err(too_large(what, &[size], limit)) }
}

/// An empty vector with capacity for `len` values. `what` names the vector in an error.
///
/// # Errors
/// [`Error::TooLarge`] if the allocation fails.
pub(crate) fn reserve<T>(what: impl Display, len: usize) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    grow(what, &mut values, len)?;
    Ok(values)
}

/// A vector of `len` copies of `value`. `what` names the vector in an error.
///
/// # Errors
/// [`Error::TooLarge`] if the allocation fails.
pub(crate) fn filled<T: Clone>(what: impl Display, len: usize, value: T) -> Result<Vec<T>, Error> {
    let mut values = reserve(what, len)?;
    values.resize(len, value);
    Ok(values)
}

/// Reserves capacity for `more` values in addition to those in `values`. `what` names the vector in an error.
///
/// # Errors
/// [`Error::TooLarge`] if the allocation fails.
#[inline]
pub(crate) fn grow<T>(what: impl Display, values: &mut Vec<T>, more: usize) -> Result<(), Error> {
    if more <= values.capacity() - values.len() {
        return Ok(());
    }
    values.try_reserve_exact(more).map_err(|_| too_large(what, &[more], MOST / size_of::<T>().max(1)))
}

#[cold]
fn too_large(what: impl Display, factors: &[usize], limit: usize) -> Error {
    Error::TooLarge { what: what.to_string(), factors: factors.into(), limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_beyond_memory_is_an_error_with_its_factors() {
        const MAX: usize = usize::MAX;
        for factors in [&[2, MAX][..], &[MAX / 2, 2, 2], &[1 << (usize::BITS / 2); 2], &[MAX], &[MOST + 1, 1]] {
            let Err(Error::TooLarge { factors: found, .. }) = product("x", factors) else { panic!("{factors:?}") };
            assert_eq!(found, factors);
        }
        assert_eq!(product("x", &[MAX, MAX, 0]), Ok(0));
        assert_eq!(product("x", &[MOST, 1]), Ok(MOST));
        assert_eq!(product("x", &[]), Ok(1));
        assert!(sum("x", [MOST, 1]).is_err() && sum("x", [MAX, MAX]).is_err());
        assert_eq!(sum("x", [MOST - 1, 1]), Ok(MOST));
    }

    #[test]
    fn allocation_beyond_memory_is_an_error() {
        assert!(filled("x", MOST, 0u8).is_err());
        assert!(filled("x", usize::MAX, 0u64).is_err());
        assert_eq!(filled("x", 2, 7), Ok([7, 7].into()));
        let error = reserve::<u64>("the parameters", usize::MAX).unwrap_err().to_string();
        assert!(error.starts_with("the parameters: ") && error.contains("smaller"), "{error}");
    }
}
