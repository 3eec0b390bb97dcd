//! `Arc` for all targets: from `alloc` if the target has atomic pointers, otherwise from `portable-atomic-util`.

#[cfg(all(target_has_atomic = "ptr", not(chainrule_portable_arc)))]
pub(crate) use alloc::sync::Arc;
#[cfg(any(not(target_has_atomic = "ptr"), chainrule_portable_arc))]
pub(crate) use portable_atomic_util::Arc;
