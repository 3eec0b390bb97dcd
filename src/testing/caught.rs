//! Converts panics in the code under test to violations.

use alloc::string::String;

/// Returns the result of `body`, or `a panic: ` with the message of its panic, which is not printed.
#[cfg(feature = "std")]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    use std::{cell::Cell, panic, sync::Once};
    std::thread_local!(static CAUGHT: Cell<usize> = const { Cell::new(0) });
    static HOOK: Once = Once::new();
    // A violation reports the panic: the message of each would hide it.
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(alloc::boxed::Box::new(move |info| {
            if CAUGHT.get() == 0 {
                print(info);
            }
        }));
    });
    CAUGHT.set(CAUGHT.get() + 1);
    let result = panic::catch_unwind(panic::AssertUnwindSafe(body));
    CAUGHT.set(CAUGHT.get() - 1);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        alloc::format!("a panic: {}", text.unwrap_or("without a text"))
    })
}

/// Returns the result of `body`; without `std` a panic is not caught.
#[cfg(not(feature = "std"))]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    Ok(body())
}
