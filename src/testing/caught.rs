//! Panics in the code under test become violations.

use alloc::string::String;

/// The result of `body`, or the text of its panic. Without `std` a panic is not caught.
#[cfg(feature = "std")]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        alloc::format!("a panic: {}", text.unwrap_or("without a text"))
    })
}

/// The result of `body`.
#[cfg(not(feature = "std"))]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    Ok(body())
}
