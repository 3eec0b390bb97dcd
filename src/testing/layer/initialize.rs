//! The laws of initial values of parameters.

use super::Suite;
use crate::{
    block::{Block, Role},
    layer::Layer,
    random::generator,
    scalar::{Scalar, to_f64},
    testing::{Law, caught, law::beyond},
};
use alloc::{format, string::String, vec, vec::Vec};

/// The allowed difference between initial values in `f32` and in `f64`, as a fraction of the largest value. It leaves
/// room for a matrix decomposition in `f32`. Values from different random numbers differ by far more.
const ALLOWED: f64 = 1e-3;

/// The number of seeds whose initial values are compared.
const DRAWS: u64 = 8;

/// Returns the initial values of the parameters for a seed, converted to `f64`, or the text of the error or panic.
fn initial<T: Scalar>(layer: &dyn Layer<T>, seed: u64) -> Result<Vec<f64>, String> {
    let mut w = vec![T::zero(); layer.dims().parameters];
    caught(|| layer.initialize(&mut w, &mut generator(seed)))?.map_err(|error| format!("{error}"))?;
    Ok(w.into_iter().map(to_f64).collect())
}

impl Suite<'_, '_> {
    /// Tests that initial values are finite, a function of the seed to the bit, and the same in both scalars to
    /// rounding.
    #[inline]
    pub(super) fn initializes(&mut self) {
        let (single, double) = (self.layers.single, self.layers.double);
        let mut drawn = Vec::new();
        for seed in (0..DRAWS).map(|by| self.seed.wrapping_add(by)) {
            // A panic or an error is noted by `draw`.
            let Ok(w) = initial(double, seed) else { return };
            let (Ok(again), Ok(short)) = (initial(double, seed), initial(single, seed)) else { return };
            let size = w.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            for (i, &value) in w.iter().enumerate() {
                let (law, expected, found) = if !value.is_finite() {
                    (Law::Extremes, String::from("a number"), value)
                } else if value.to_bits() != again[i].to_bits() {
                    (Law::Seeded, format!("{value:?} again"), again[i])
                } else if beyond((value - short[i]).abs(), ALLOWED * size) {
                    (Law::Precision, format!("{value:?} as in f64"), short[i])
                } else {
                    continue;
                };
                let place = format!("{}initialize with seed {seed}: w[{i}]", self.label);
                return self.trial.breaks(law, place, expected, format!("{found:?}"), "");
            }
            drawn.push(w);
        }
        self.random_blocks(&drawn);
    }

    /// Tests the initial values of blocks of weights; `drawn` holds the initial values of all parameters for each of
    /// [`DRAWS`] seeds. Values that look random must differ from seed to seed, and no two rows of random numbers may
    /// be equal.
    #[inline]
    fn random_blocks(&mut self, drawn: &[Vec<f64>]) {
        let weights = self.blocks.iter().filter(|block| matches!(block.role, Role::Weight | Role::Recurrent));
        for Block { name, range, shape: [rows, columns], .. } in weights {
            let of = |w: &Vec<f64>| w[range.clone()].to_vec();
            let Some(first) = drawn.first().map(of) else { return };
            let place = format!("{}initialize: block `{name}`", self.label);
            let same = drawn.iter().all(|w| of(w) == first);
            if same && *rows > 1 && *columns > 1 && scattered(&first) && zigzags(&first) {
                let (expected, found) = ("other values for another seed", "the same bits for each");
                return self.trial.breaks(Law::Seeded, place, expected, found, "");
            }
            if same || *columns < 2 {
                continue;
            }
            // Values from a small set can make short rows equal by chance, but not the same rows in all draws.
            let copies = |&(i, j): &(usize, usize)| {
                drawn.iter().all(|w| {
                    let row = |i: usize| &w[range.clone()][i * columns..][..*columns];
                    row(i) == row(j) && scattered(row(i))
                })
            };
            // In blocks of more than 64 rows, only neighbouring rows are compared.
            let far = if *rows > 64 { 2 } else { *rows };
            let mut pairs = (0..*rows).flat_map(|i| (i + 1..(i + far).min(*rows)).map(move |j| (i, j)));
            if let Some((i, j)) = pairs.find(copies) {
                let found = format!("rows {i} and {j} are equal");
                return self.trial.breaks(Law::Distinct, place, "rows that differ", found, "");
            }
        }
    }
}

/// Whether at least half of the inner values are larger, or smaller, than both of their neighbours, as among random
/// numbers. Ramps and slow waves of a formula are not like that.
#[inline]
fn zigzags(values: &[f64]) -> bool {
    let turns = values.windows(3).filter(|three| (three[0] < three[1]) != (three[1] < three[2])).count();
    2 * turns + 2 >= values.len()
}

/// Whether values look random: none is 0, and at least nine in ten magnitudes differ. Identities, constants, signs and
/// transforms such as the cosine transform do not.
#[inline]
fn scattered(values: &[f64]) -> bool {
    let mut sizes: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let zero = sizes.first().is_none_or(|&least| least == 0.0);
    sizes.dedup();
    !zero && 10 * sizes.len() >= 9 * values.len()
}
