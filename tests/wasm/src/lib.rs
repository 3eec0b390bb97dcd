//! The run whose bits are the same at level `plain` on x86-64 and on WebAssembly, for WebAssembly.

mod run;

/// 1 if the bits are those of x86-64, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn agrees() -> i32 {
    i32::from(run::bits() == run::PLAIN)
}

/// The bits.
#[unsafe(no_mangle)]
pub extern "C" fn bits() -> u64 {
    run::bits()
}
