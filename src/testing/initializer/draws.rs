//! Finds out whether an initializer draws random numbers.

use crate::{
    initializer::{Initializer, Shape},
    random::generator,
    testing::caught,
};
use alloc::vec;
use core::convert::Infallible;
use rand_core::{Rng, TryRng};

/// A random generator that notes whether it was used.
struct Counted<R> {
    inner: R,
    used: bool,
}

impl<R: Rng> TryRng for Counted<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.used = true;
        Ok(self.inner.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.used = true;
        Ok(self.inner.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.used = true;
        self.inner.fill_bytes(bytes);
        Ok(())
    }
}

/// Whether the values of a block are random: by the stated variance or, if none is stated, because they are drawn.
pub(super) fn is_random(initializer: &dyn Initializer, shape: Shape) -> bool {
    if let Some(variance) = initializer.variance(shape) {
        return variance != 0.0;
    }
    let mut rng = Counted { inner: generator(0), used: false };
    let mut values = vec![0.0; shape.rows * shape.columns];
    matches!(caught(|| initializer.fill(shape, &mut rng, &mut values)), Ok(Ok(()))) && rng.used
}
