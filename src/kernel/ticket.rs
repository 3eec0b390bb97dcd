//! A shared 64-bit counter: an `AtomicU64`, or a mutex on targets without 64-bit atomics, such as armv5te and mips.

#[cfg(all(target_has_atomic = "64", not(chainrule_portable_arc)))]
pub(super) use std::sync::atomic::AtomicU64 as Ticket;

#[cfg(not(all(target_has_atomic = "64", not(chainrule_portable_arc))))]
pub(super) use locked::Ticket;

#[cfg(not(all(target_has_atomic = "64", not(chainrule_portable_arc))))]
mod locked {
    use std::sync::{Mutex, PoisonError, atomic::Ordering};

    /// A number behind a mutex, with those operations of an `AtomicU64` that the thread pool calls.
    pub struct Ticket(Mutex<u64>);

    impl Ticket {
        pub fn new(value: u64) -> Self {
            Ticket(Mutex::new(value))
        }

        /// Replaces the value x by `change(x)`, and returns x.
        fn update(&self, change: impl FnOnce(u64) -> u64) -> u64 {
            let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = *value;
            *value = change(before);
            before
        }

        pub fn load(&self, _: Ordering) -> u64 {
            self.update(|value| value)
        }

        pub fn store(&self, value: u64, _: Ordering) {
            self.update(|_| value);
        }

        pub fn fetch_or(&self, bits: u64, _: Ordering) -> u64 {
            self.update(|value| value | bits)
        }

        pub fn compare_exchange_weak(&self, expected: u64, new: u64, _: Ordering, _: Ordering) -> Result<u64, u64> {
            let before = self.update(|value| if value == expected { new } else { value });
            if before == expected { Ok(before) } else { Err(before) }
        }
    }
}
