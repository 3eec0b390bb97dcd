//! Checks that return an error.

use super::{DataRule, Error};

/// Returns [`Error::Parameter`] for the value `found` of the hyper-parameter `what` unless `valid`. `expected` is its
/// range in words.
pub(crate) fn require(valid: bool, what: &'static str, expected: &'static str, found: f64) -> Result<(), Error> {
    if valid { Ok(()) } else { Err(Error::Parameter { what, expected, found }) }
}

/// Returns an error unless `found`, the number of values of `what`, is a positive multiple of `size`, the size of a row
/// or sample. It is [`Error::Empty`] for 0 values, otherwise [`DataRule::NotMultiple`], in which `unit` names `size`.
pub(crate) fn require_multiple(what: &'static str, found: usize, unit: &'static str, size: usize) -> Result<(), Error> {
    match found {
        0 => Err(Error::Empty { what }),
        _ if found.is_multiple_of(size) => Ok(()),
        _ => Err(DataRule::NotMultiple { what: what.into(), found, unit, size }.into()),
    }
}

/// Returns [`Error::Length`] for the slice `what` unless its length `found` is `expected`.
pub(crate) fn require_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
