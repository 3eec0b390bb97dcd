//! Functions that check a condition and return an [`Error`] if it does not hold.

use super::{DataRule, Error};

/// Returns [`Error::Parameter`] unless `valid`. `what` is the name of the checked argument, `found` its value, and
/// `expected` its allowed range in words.
pub(crate) fn require(valid: bool, what: &'static str, expected: &'static str, found: f64) -> Result<(), Error> {
    if valid { Ok(()) } else { Err(Error::Parameter { what, expected, found }) }
}

/// Returns an error unless `found`, the number of values of the slice named `what`, is a positive multiple of `size`,
/// the number of values of a row or sample. It is [`Error::Empty`] for 0 values, otherwise [`DataRule::NotMultiple`],
/// in which `unit` names `size`.
pub(crate) fn require_multiple(what: &'static str, found: usize, unit: &'static str, size: usize) -> Result<(), Error> {
    match found {
        0 => Err(Error::Empty { what }),
        _ if found.is_multiple_of(size) => Ok(()),
        _ => Err(DataRule::NotMultiple { what: what.into(), found, unit, size }.into()),
    }
}

/// Returns [`Error::Length`] unless `found`, the length of the slice named `what`, is `expected`.
pub(crate) fn require_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
