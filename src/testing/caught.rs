//! Converts panics in the code under test to violations.

use super::{Evidence, Law, Violations, law::Trial};
use alloc::{format, string::String, vec::Vec};

/// Runs a suite, which notes its findings in `trial`, and returns the verdict. A panic that the suite does not catch
/// itself is noted as a violation of [`Law::NoPanic`].
pub(super) fn judged(mut trial: Trial, suite: impl FnOnce(&mut Trial)) -> Result<Evidence, Violations> {
    if let Err(panic) = caught(|| suite(&mut trial)) {
        trial.breaks(Law::NoPanic, "a method beside the passes", "an answer", panic, "");
    }
    trial.verdict()
}

/// Drops the result of a method that is called only to see whether it panics.
pub(super) fn ignored<T>(_: T) {}

/// Runs `suite`, and tests that the descriptive methods of an implementation give the same results in two consecutive
/// calls, both before the suite and after it. `told` calls these methods, and returns the name and the result of
/// each. Results before and after the suite may differ, as those of a counter do.
pub(super) fn steady(
    trial: &mut Trial,
    told: &dyn Fn() -> Vec<(&'static str, String)>,
    suite: impl FnOnce(&mut Trial),
) {
    let before = [caught(told), caught(told)];
    suite(trial);
    for pair in [before, [caught(told), caught(told)]] {
        let [Ok(first), Ok(second)] = pair else { return };
        if let Some(((name, a), (_, b))) = first.iter().zip(&second).find(|(a, b)| a != b) {
            trial.breaks(Law::Repeatable, format!("{name}(), twice"), a.as_str(), b.as_str(), "");
        }
    }
}

/// Calls the methods that describe an implementation; `questions` has the name of each and a closure that calls it.
/// Returns whether none panics. The first panic is noted as a violation, at the place `label` plus the method's name.
pub(super) fn answers(trial: &mut Trial, label: &str, questions: &[(&str, &dyn Fn())]) -> bool {
    for (name, ask) in questions {
        if let Err(panic) = caught(ask) {
            trial.breaks(Law::NoPanic, format!("{label}{name}()"), "an answer", panic, "");
            return false;
        }
    }
    true
}

/// Returns the result of `body`, or `a panic: ` with the message of its panic, which is not printed.
#[cfg(feature = "std")]
pub(super) fn caught<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    use std::{cell::Cell, panic, sync::Once};
    std::thread_local!(static CAUGHT: Cell<usize> = const { Cell::new(0) });
    static HOOK: Once = Once::new();
    // The report of a violation states the panic. Printed messages of all caught panics would bury it.
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
