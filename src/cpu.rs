//! The CPU level: the instruction set that kernels use.

use crate::error::Error;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// A set of CPU instructions that kernels are compiled for.
///
/// At one level, a computation gives the same bits on every machine. Levels differ in rounding, since those above
/// [`Plain`](Self::Plain) compute `a · b + c` as one fused operation. [`Plain`](Self::Plain) exists on every target
/// and uses only operations that IEEE 754 rounds correctly.
///
/// The level is fixed once per process: by [`fix`](Self::fix), or else by the environment variable `CHAINRULE_LEVEL`
/// (`plain`, `avx2` or `avx512`). Without either it is the highest available level.
///
/// ```
/// use chainrule::CpuLevel;
/// assert!(CpuLevel::available().contains(&CpuLevel::current()?));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CpuLevel {
    /// The instructions that the target guarantees.
    Plain,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, DQ, VL and BW, with AVX2 and FMA.
    Avx512,
}

/// Writes the name of the level, as in `CHAINRULE_LEVEL`.
impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CpuLevel::Plain => "plain",
            CpuLevel::Avx2 => "avx2",
            CpuLevel::Avx512 => "avx512",
        })
    }
}

impl CpuLevel {
    const ALL: [CpuLevel; 3] = [CpuLevel::Plain, CpuLevel::Avx2, CpuLevel::Avx512];

    /// Returns the levels that this machine has, lowest first. Without the feature `std`, this is
    /// [`Plain`](Self::Plain) alone.
    pub fn available() -> Vec<CpuLevel> {
        let best = best();
        Self::ALL.into_iter().filter(|level| *level <= best).collect()
    }

    /// The level at which the kernels of this process run. If no level is fixed yet, the call fixes it.
    ///
    /// # Errors
    /// [`Error::CpuLevel`] if `CHAINRULE_LEVEL` names an unknown level, or one that this machine does not have.
    pub fn current() -> Result<CpuLevel, Error> {
        let (level, asked) = fixed();
        match asked {
            Some(asked) => Err(refused(asked)),
            None => Ok(level),
        }
    }

    /// Fixes the level of this process. Call it before the first workspace is created, since creating one fixes the
    /// level too.
    ///
    /// # Errors
    /// [`Error::CpuLevel`] if this machine does not have the level, or another level is already fixed.
    pub fn fix(self) -> Result<(), Error> {
        if self > best() {
            return Err(refused(self.to_string()));
        }
        let level = fix(self);
        if level == self {
            return Ok(());
        }
        let reason = format!("this process already runs at {level}; fix the level before the first workspace is made");
        Err(Error::CpuLevel { level: self.to_string(), reason })
    }
}

fn refused(level: String) -> Error {
    let available: Vec<String> = CpuLevel::available().iter().map(ToString::to_string).collect();
    Error::CpuLevel { level, reason: format!("this machine has {}; choose one of these", available.join(", ")) }
}

/// Returns the highest level that this machine has: [`CpuLevel::Plain`] without the feature `std`, and on targets other
/// than x86-64.
fn best() -> CpuLevel {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    {
        use std::is_x86_feature_detected as has;
        if has!("avx2") && has!("fma") {
            let wide = has!("avx512f") && has!("avx512dq") && has!("avx512vl") && has!("avx512bw");
            return if wide { CpuLevel::Avx512 } else { CpuLevel::Avx2 };
        }
    }
    CpuLevel::Plain
}

#[cfg(feature = "std")]
mod process {
    use super::{CpuLevel, best};
    use std::{string::String, sync::OnceLock};

    /// The level fixed for the process. The second value is the content of `CHAINRULE_LEVEL` if this is not the name
    /// of a level that this machine has, otherwise `None`.
    static LEVEL: OnceLock<(CpuLevel, Option<String>)> = OnceLock::new();

    fn asked() -> (CpuLevel, Option<String>) {
        let Some(asked) = std::env::var_os("CHAINRULE_LEVEL") else { return (best(), None) };
        let found = CpuLevel::ALL.into_iter().find(|level| std::format!("{level}").as_str() == asked);
        match found.filter(|level| *level <= best()) {
            Some(level) => (level, None),
            None => (best(), Some(asked.to_string_lossy().into_owned())),
        }
    }

    pub(super) fn fixed() -> (CpuLevel, Option<String>) {
        LEVEL.get_or_init(asked).clone()
    }

    pub(super) fn fix(level: CpuLevel) -> CpuLevel {
        LEVEL.get_or_init(|| (level, None)).0
    }
}
#[cfg(feature = "std")]
use process::{fix, fixed};

#[cfg(not(feature = "std"))]
fn fixed() -> (CpuLevel, Option<String>) {
    (CpuLevel::Plain, None)
}

#[cfg(not(feature = "std"))]
fn fix(_: CpuLevel) -> CpuLevel {
    CpuLevel::Plain
}

/// Returns the level at which kernels run. If the variable `CHAINRULE_LEVEL` is invalid, this is the highest available
/// level, and `Workspace::new` returns the error.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
pub(crate) fn level() -> CpuLevel {
    fixed().0
}
