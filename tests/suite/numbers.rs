//! Numbers that tests feed to networks: of a fixed sequence, the same in every run.

use chainrule::{
    Scalar,
    random::{Normals, generator},
    scalar,
};

/// Numbers in [−1, 1).
pub fn numbers<T: Scalar>(count: usize) -> Vec<T> {
    let number = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    (1..=count as u64).map(|i| scalar(number(i))).collect()
}

/// Numbers in [−1, 1), a function of seed and place (splitmix64).
pub fn seeded_numbers<T: Scalar>(seed: u64, count: usize) -> Vec<T> {
    let number = |i: usize| {
        let mut z = (seed << 20).wrapping_add(i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        scalar(((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    };
    (0..count).map(number).collect()
}

/// Standard normal numbers.
pub fn normals<T: Scalar>(count: usize, seed: u64) -> Vec<T> {
    let (mut rng, mut normals) = (generator(seed), Normals::new());
    (0..count).map(|_| scalar(normals.next(&mut rng))).collect()
}

/// The bits of numbers, in which also NaN and −0 compare.
pub fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}
