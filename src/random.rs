//! Random numbers with the same bits on every platform, with and without `std`.
//!
//! All arithmetic is in `f64`, in a fixed order and without fused multiply-adds. The elementary functions are those
//! of the `libm` crate.

use core::f64::consts::TAU;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator of the crate: xoshiro256++, with the state derived from `seed` by SplitMix64 (Blackman and Vigna
/// 2021).
///
/// A seed gives the same random bits in every release of this crate.
pub fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// A draw from the uniform distribution on \[0, 1): the top 53 bits of one 64-bit word of `rng`, times 2⁻⁵³.
pub fn uniform(rng: &mut dyn Rng) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 53) as f64;
    (rng.next_u64() >> 11) as f64 * STEP
}

/// A draw from the uniform distribution on the integers 0, …, `end` − 1; 0 if `end` is 0.
///
/// All integers are equally likely, by multiplication and rejection (Lemire 2019, "Fast random integer generation in an
/// interval").
pub fn below(rng: &mut dyn Rng, end: usize) -> usize {
    let end = end as u64;
    if end == 0 {
        return 0;
    }
    let rejected = end.wrapping_neg() % end;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(end);
        if product as u64 >= rejected {
            return (product >> 64) as usize;
        }
    }
}

/// Independent standard normal numbers, computed in pairs from two uniform numbers u and v (Box and Muller 1958):
/// √(−2 ln(1 − u)) · (cos 2πv, sin 2πv).
///
/// The largest possible magnitude is √(106 ln 2) ≈ 8.572.
#[derive(Debug, Default)]
pub struct Normals {
    spare: Option<f64>,
}

impl Normals {
    /// Creates a source of standard normal numbers. It computes two numbers at a time, and stores the second for the
    /// next call of [`next`](Self::next).
    pub const fn new() -> Self {
        Normals { spare: None }
    }

    /// Returns the next draw from the normal distribution of mean 0 and variance 1.
    pub fn next(&mut self, rng: &mut dyn Rng) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - uniform(rng)));
        let angle = TAU * uniform(rng);
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

/// Shuffles `order` (Fisher and Yates). The permutation depends only on the length, `seed` and `epoch`, so a resumed
/// run repeats it.
///
/// ```
/// use chainrule::random::shuffle;
/// let (mut first, mut again): (Vec<usize>, Vec<usize>) = ((0..10).collect(), (0..10).collect());
/// shuffle(&mut first, 7, 0);
/// shuffle(&mut again, 7, 0);
/// assert_eq!(first, again); // the same seed and epoch
/// shuffle(&mut again, 7, 1);
/// assert_ne!(first, again);
/// ```
pub fn shuffle(order: &mut [usize], seed: u64, epoch: u64) {
    let mut rng = generator(seed ^ epoch.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for i in (1..order.len()).rev() {
        let j = below(&mut rng, i + 1);
        order.swap(i, j);
    }
}
