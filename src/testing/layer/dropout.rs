//! The key of dropout masks.

use super::{Asked, Given, Suite};
use crate::{
    batch_shape::BatchShape,
    layer::{DropoutKey, Mode, Samples},
    testing::Law,
};
use alloc::{format, vec::Vec};

/// The number of seeds to try: with one, masks of few values can be equal by chance.
const SEEDS: u64 = 8;

impl Suite<'_, '_> {
    /// Tests that dropout masks differ by seed, step, sample and place of the layer, and that evaluation has none.
    #[inline]
    pub(super) fn dropout_key(&mut self) {
        let (layer, shape) = (self.layers.double, BatchShape::sequences(16, 2));
        if layer.samples() != Samples::Independent {
            return;
        }
        let Some(given) = self.draw(shape, 9) else { return };
        // All rows are equal, so that outputs differ by their masks alone.
        let width = layer.dims().input;
        let x = given.x[..width].repeat(shape.rows());
        let given = Given { x, state: None, d_state: None, ..given };
        let key = |seed: u64| DropoutKey::new(seed, 1);
        let usual = Asked { backward: false, ..Asked::new(shape) };
        let mut outputs = |asked: &dyn Fn(u64) -> Asked<'static>| -> Option<Vec<Vec<f64>>> {
            (0..SEEDS).map(|seed| self.pass(layer, "f64", &given, &asked(seed)).map(|results| results.y)).collect()
        };
        let Some(plain) = outputs(&|seed| Asked { dropout: key(seed), ..usual }) else { return };
        let off = |seed| Asked { dropout: key(seed), mode: Mode::Evaluate, ..usual };
        let Some(evaluated) = outputs(&off) else { return };
        let noisy = |outputs: &[Vec<f64>]| outputs.iter().any(|y| *y != outputs[0]);
        if plain == evaluated && !noisy(&plain) {
            return;
        }
        let step = |seed| Asked { dropout: DropoutKey::new(seed, 2), ..usual };
        let sample = |seed| Asked { dropout: key(seed).from_sample(1000), ..usual };
        let place = |seed| Asked { dropout: key(seed), place: 3, ..usual };
        let all: [(&str, &dyn Fn(u64) -> Asked<'static>); 3] =
            [("step", &step), ("first sample", &sample), ("place of the layer", &place)];
        let found: Vec<_> = all.iter().map_while(|(what, asked)| Some((*what, outputs(asked)?))).collect();
        let mut wrong = Vec::new();
        for (what, others) in found {
            if others == plain {
                wrong.push((what, "masks of its own", "those of another"));
            }
        }
        if noisy(&evaluated) {
            wrong.push(("pass of evaluation", "no mask", "outputs that depend on the seed"));
        } else if !noisy(&plain) {
            wrong.push(("seed", "masks of its own", "those of another"));
        }
        let after = layer.output_shape(shape);
        // Of the last step: noise of a state has nothing to act on before.
        let row = |y: &[f64], sample: usize| {
            y[after.row(after.steps - 1, sample) * layer.dims().output..][..layer.dims().output].to_vec()
        };
        let shared = |y: &Vec<f64>| (1..shape.batch).all(|sample| row(y, sample) == row(y, 0));
        if plain.iter().all(shared) {
            wrong.push(("sample of a batch", "masks of its own", "those of another"));
        }
        if let Some((what, expected, found)) = wrong.first() {
            let place = format!("{}, each {what}", self.at("f64", shape));
            self.trial.breaks(Law::DropoutKey, place, *expected, *found, "");
        }
    }
}
