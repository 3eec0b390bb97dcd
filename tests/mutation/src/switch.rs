//! Which mutant is on, and which were reached.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::{env, format, fs, string::String};

/// Notes what is reached.
const RECORDS: u32 = u32::MAX;
const MOST: usize = 1 << 16;
static ON: AtomicU32 = AtomicU32::new(0);
static REACHED: [AtomicU8; MOST] = [const { AtomicU8::new(0) }; MOST];

/// Whether the mutant of a number is on.
#[inline(always)]
pub fn on(id: u32) -> bool {
    let on = ON.load(Relaxed);
    on == id || (on == RECORDS && reached(id))
}

#[cold]
#[inline(never)]
fn reached(id: u32) -> bool {
    REACHED[id as usize].store(1, Relaxed);
    false
}

extern "C" fn begin() {
    let on = env::var("MUTATION").ok().and_then(|id| id.parse().ok());
    let records = env::var("MUTATION_RECORD").is_ok();
    ON.store(if records { RECORDS } else { on.unwrap_or(0) }, Relaxed);
}

extern "C" fn end() {
    if let Ok(path) = env::var("MUTATION_RECORD") {
        let ids = (0..MOST).filter(|&id| REACHED[id].load(Relaxed) == 1).map(|id| format!("{id}\n"));
        let _ = fs::write(path, ids.collect::<String>());
    }
}

#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;
