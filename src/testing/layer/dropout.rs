//! The law that dropout masks are a function of the dropout key: seed, training step, sample and place of the layer.

use super::{Asked, Given, Suite};
use crate::{
    batch_shape::BatchShape,
    layer::{DropoutKey, Layer, Mode, Samples},
    scalar::Scalar,
    testing::Law,
};
use alloc::{format, string::String, vec::Vec};

/// The number of seeds to try: with one, masks of few values can be equal by chance.
const SEEDS: u64 = 8;

/// The fraction of pairs of rows with different outputs, above which a layer is tested for equal masks. If 15 % of the
/// pairs differ, the 128 rows of the passes of two keys are equal by chance once in 10⁹ cases.
const FREQUENT: f64 = 0.15;

/// The fraction of such pairs above which pairs of samples are compared. The 64 pairs of all seeds are then equal by
/// chance once in 10¹⁰ cases.
const OFTEN: f64 = 0.3;

/// The distance, among the rows of all passes, between two rows whose outputs are compared.
const APART: usize = 37;

/// The values that decide a dropout mask, in the order of the argument `at` of [`key`].
const PARTS: [&str; 4] = ["seed", "step", "first sample", "place of the layer"];

/// Far values of the parts of a key, each as the index in [`PARTS`] and the number that is added.
const FAR: [(usize, u64); 4] = [(0, 1 << 32), (1, 1 << 16), (2, 1 << 8), (2, 1 << 16)];

/// Returns the settings of a pass whose key has the values `at` of [`PARTS`]; `off` draws no masks.
fn key(usual: Asked<'static>, at: [u64; 4], off: bool) -> Asked<'static> {
    let [seed, step, sample, place] = at;
    let dropout = DropoutKey { off, ..DropoutKey::new(seed, step).from_sample(sample as usize) };
    Asked { dropout, place: place as usize, ..usual }
}

impl Suite<'_, '_> {
    /// Tests, in both formats, that dropout masks differ by seed, training step, sample and place of the layer, and
    /// that evaluation and [`DropoutKey::off`] have none.
    #[inline]
    pub(super) fn dropout_key(&mut self) {
        self.masks(self.layers.double, "f64");
        self.masks(self.layers.single, "f32");
    }

    /// Tests the dropout masks of `layer` in the scalar type called `name`. A layer whose outputs do not depend on
    /// the dropout key has no masks.
    fn masks<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        let shape = BatchShape::sequences(16, 2);
        if layer.samples() != Samples::Independent {
            return;
        }
        let Some(given) = self.draw(shape, 9) else { return };
        // All rows are equal, so that outputs differ by their masks alone.
        let width = layer.dims().input;
        let x = given.x[..width].repeat(shape.rows());
        let given = Given { x, state: None, d_state: None, ..given };
        let usual = Asked { backward: false, ..Asked::new(shape) };
        let mut outputs = |asked: &dyn Fn(u64) -> Asked<'static>| -> Option<Vec<Vec<T>>> {
            (0..SEEDS).map(|seed| self.pass(layer, name, &given, &asked(seed)).map(|results| results.y)).collect()
        };
        // Seeds, steps, samples and places are even. So adding 1 to two of them shows a mask that depends only on
        // their sum or exclusive or.
        let at = |seed: u64, moved: &[usize]| {
            let mut at = [2 * seed, 2, 0, 0];
            moved.iter().for_each(|&part| at[part] += 1);
            at
        };
        let Some(plain) = outputs(&|seed| key(usual, at(seed, &[]), false)) else { return };
        let Some(evaluated) = outputs(&|seed| Asked { mode: Mode::Evaluate, ..key(usual, at(seed, &[]), false) })
        else {
            return;
        };
        let Some(off) = outputs(&|seed| key(usual, [2 * seed, seed, 16 * seed, seed % 4], true)) else { return };
        let alone: Option<Vec<_>> = (0..PARTS.len())
            .map(|part| {
                // The samples are moved by more than a batch, so that both batches share none.
                let by = if part == 2 { 1000 } else { 1 };
                let moved = |seed| {
                    let mut at = at(seed, &[]);
                    at[part] += by;
                    at
                };
                outputs(&|seed| key(usual, moved(seed), false))
            })
            .collect();
        let Some(alone) = alone else { return };
        let noisy = |outputs: &[Vec<T>]| outputs.iter().any(|y| *y != outputs[0]);
        let after = layer.output_shape(shape);
        // Rows of the last time step are compared: noise on a state has no effect in the first one.
        let row = |y: &[T], sample: usize| {
            y[after.row(after.steps - 1, sample) * layer.dims().output..][..layer.dims().output].to_vec()
        };
        let shared = |y: &Vec<T>| (1..shape.batch).all(|sample| row(y, sample) == row(y, 0));
        let masked = noisy(&plain)
            || noisy(&evaluated)
            || noisy(&off)
            || alone.iter().any(|others| *others != plain)
            || !plain.iter().chain(&off).all(shared);
        if !masked {
            return;
        }
        // If masks rarely have an effect, outputs are equal by chance and are not compared.
        let of_all = plain.iter().chain(alone.iter().flatten());
        let rows: Vec<Vec<T>> = of_all.flat_map(|y| (0..shape.batch).map(|sample| row(y, sample))).collect();
        let apart = (0..rows.len()).filter(|&i| rows[i] != rows[(i + APART) % rows.len()]).count();
        let frequent = apart as f64 > FREQUENT * rows.len() as f64;
        let mut wrong: Vec<(String, &str, &str)> = Vec::new();
        for (part, others) in PARTS.iter().zip(&alone).skip(1) {
            if frequent && *others == plain {
                wrong.push((format!("each {part}"), "masks of its own", "those of another"));
            }
        }
        if noisy(&evaluated) {
            wrong.push(("each pass of evaluation".into(), "no mask", "outputs that depend on the seed"));
        } else if frequent && !noisy(&plain) {
            wrong.push(("each seed".into(), "masks of its own", "those of another"));
        }
        if noisy(&off) || !off.iter().all(shared) {
            let found = "outputs that depend on the key";
            wrong.push(("each pass with `DropoutKey::off`".into(), "no mask", found));
        }
        if frequent && plain.iter().all(shared) {
            wrong.push(("each sample of a batch".into(), "masks of its own", "those of another"));
        }
        // A key that leaves out one bit of the sample gives pairs of samples the same masks.
        let own = plain.iter().filter(|y| !shared(y)).count() as u64;
        let often = apart as f64 > OFTEN * rows.len() as f64 && 2 * own > SEEDS;
        for apart in [1, 2, 4, 8].into_iter().filter(|_| often) {
            let pairs = |y: &Vec<T>| (0..shape.batch).all(|sample| row(y, sample) == row(y, sample ^ apart));
            if wrong.is_empty() && plain.iter().all(pairs) {
                let found = "those of another that differs by a power of 2";
                wrong.push(("each sample of a batch".into(), "masks of its own", found));
            }
        }
        // A key that is cut to fewer bits repeats at a power of 2.
        let far = if wrong.is_empty() && frequent { &FAR[..] } else { &[] };
        for &(part, by) in far {
            let far = |seed| {
                let mut at = at(seed, &[]);
                at[part] += by;
                at
            };
            let Some(others) = outputs(&|seed| key(usual, far(seed), false)) else { return };
            if others == plain {
                let found = "those of another that differs by a power of 2";
                wrong.push((format!("each {}", PARTS[part]), "masks of its own", found));
            }
        }
        if wrong.is_empty() && frequent {
            let mut moved = |parts: &[usize]| outputs(&|seed| key(usual, at(seed, parts), false));
            for (first, name_of_first) in PARTS.iter().enumerate() {
                for (second, name_of_second) in PARTS.iter().enumerate().skip(first + 1) {
                    let Some(one) = moved(&[first]) else { return };
                    let (Some(other), Some(both)) = (moved(&[second]), moved(&[first, second])) else { return };
                    if one == other || both == plain {
                        let parts = format!("each {name_of_first} with each {name_of_second}");
                        wrong.push((parts, "masks of their own", "those of others, as of a sum of the two"));
                    }
                }
            }
        }
        // If the layer changes the number of rows, what its inner layers report to a monitor cannot be compared row
        // by row.
        if wrong.is_empty()
            && after.rows() == shape.rows()
            && let Some(link) = self.link_of_one_mask(layer, name, &given, &|seed| key(usual, at(seed, &[]), false))
        {
            wrong.push((format!("each seed, in link {link}"), "masks of its own", "those of another"));
        }
        if let Some((what, expected, found)) = wrong.first() {
            let place = format!("{}, {what}", self.at(name, shape));
            self.trial.breaks(Law::DropoutKey, place, *expected, *found, "");
        }
    }

    /// Returns the index of a link (factor of the chain rule, such as an inner layer) that has the same masks for
    /// each of [`SEEDS`] seeds. For equal inputs in all samples, its outputs differ from sample to sample, but not
    /// from seed to seed. `asked` returns the settings of a pass for a seed.
    fn link_of_one_mask<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        asked: &dyn Fn(u64) -> Asked<'static>,
    ) -> Option<usize> {
        let samples = asked(0).shape.batch;
        let heard: Option<Vec<_>> = (0..SEEDS)
            .map(|seed| Some(self.pass(layer, name, given, &Asked { watched: true, ..asked(seed) })?.heard))
            .collect();
        let heard = heard?;
        // Rows of the last time step are compared. They are at the end.
        let alike = |values: &[T]| {
            let rows = values.chunks(values.len().div_ceil(asked(0).shape.rows()).max(1));
            let mut last = rows.rev().take(samples);
            last.next().is_some_and(|first| last.all(|row| row == first))
        };
        // Reports with a different number of rows, such as those after a mean over time steps, are not compared.
        let rows = asked(0).shape.rows();
        heard[0].iter().enumerate().find_map(|(i, first)| {
            let is_whole = first.values.iter().all(|values| values.len().is_multiple_of(rows));
            let fixed =
                is_whole && heard.iter().all(|of_seed| of_seed.get(i).is_some_and(|it| it.values == first.values));
            (fixed && alike(&first.values[0]) && !alike(&first.values[1])).then_some(first.link)
        })
    }
}
