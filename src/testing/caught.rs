//! Panics in the code under test, as findings.

use alloc::string::String;

/// What `body` returns, or the text of its panic. Without `std` a panic goes on.
#[cfg(feature = "std")]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        alloc::format!("a panic: {}", text.unwrap_or("without a text"))
    })
}

/// What `body` returns.
#[cfg(not(feature = "std"))]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    Ok(body())
}
