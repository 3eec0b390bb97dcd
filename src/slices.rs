//! Helpers for the slices of a pass, with panics that name a slice of a wrong length.

/// Panics unless a slice of a pass has `expected` values; `found` is its length. `what` names the slice in the panic
/// message.
#[inline]
#[track_caller]
pub(crate) fn hold(what: &str, expected: usize, found: usize) {
    if expected != found {
        broken(what, expected, found);
    }
}

#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn broken(what: &str, expected: usize, found: usize) -> ! {
    panic!("{what} must have {expected} values, found {found}: a layer must give the same answers in every pass");
}

/// Cuts the first `count` values off `values` and returns them. Panics if there are fewer, with `what` as their name.
#[inline]
#[track_caller]
pub(crate) fn cut<'s, T>(what: &str, values: &mut &'s mut [T], count: usize) -> &'s mut [T] {
    let found = values.len();
    values.split_off_mut(..count).unwrap_or_else(|| broken(what, count, found))
}

/// Cuts the last `count` values off `values` and returns them. Panics if there are fewer, with `what` as their name.
#[inline]
#[track_caller]
pub(crate) fn cut_end<'s, T>(what: &str, values: &mut &'s mut [T], count: usize) -> &'s mut [T] {
    let found = values.len();
    let start = found.checked_sub(count).unwrap_or_else(|| broken(what, count, found));
    values.split_off_mut(start..).unwrap_or_default()
}

/// Cuts the first `count` values off a shared slice and returns them. Panics, with `what` as their name, if there are
/// fewer.
#[inline]
#[track_caller]
pub(crate) fn cut_shared<'s, T>(what: &str, values: &mut &'s [T], count: usize) -> &'s [T] {
    let found = values.len();
    values.split_off(..count).unwrap_or_else(|| broken(what, count, found))
}

/// Cuts the last `count` values off a shared slice and returns them. Panics, with `what` as their name, if there are
/// fewer.
#[inline]
#[track_caller]
pub(crate) fn cut_end_shared<'s, T>(what: &str, values: &mut &'s [T], count: usize) -> &'s [T] {
    let found = values.len();
    let start = found.checked_sub(count).unwrap_or_else(|| broken(what, count, found));
    values.split_off(start..).unwrap_or_default()
}
