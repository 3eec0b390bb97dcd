//! Laws that compare passes of a layer with each other: initial content of memory, optional gradients, frozen blocks,
//! hints.

use super::{Asked, Given, Results, Suite, run, unequal};
use crate::{
    batch_shape::BatchShape,
    layer::{Layer, Mode, Samples},
    scalar::{Scalar, scalar, to_f64},
    testing::{
        Law,
        law::{beyond, differ},
    },
};
use alloc::{format, string::String, vec, vec::Vec};

/// Returns the first index at which two results differ; `None` if they are equal. 0 and −0 count as equal, since a
/// sum with 0 loses the sign of −0. All NaN count as equal.
fn unlike<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
}

/// A pass in one scalar: its layer, input values, settings and results, with which other passes are compared.
#[derive(Clone, Copy)]
struct Usual<'a, T> {
    layer: &'a dyn Layer<T>,
    /// The name of the scalar.
    name: &'a str,
    given: &'a Given<f64>,
    usual: &'a Asked<'a>,
    plain: &'a Results<T>,
}

impl Suite<'_, '_> {
    /// Tests that the content of memory before a pass has no influence, and that the gradient of the parameters is
    /// added to the old content of `dw`. Messages call the scalar type `name`.
    pub(super) fn own_memory<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, shape: BatchShape<'_>) {
        let Some(given) = self.draw(shape, 2) else { return };
        let usual = Asked::new(shape);
        let Some(plain) = self.pass(layer, name, &given, &usual) else { return };
        self.memory(layer, name, &given, &usual);
        if given.state.is_some() {
            self.memory(layer, name, &Given { state: None, d_state: None, ..given.clone() }, &usual);
        }
        if !self.stopped() {
            self.accumulates(Usual { layer, name, given: &given, usual: &usual, plain: &plain });
        }
    }

    /// Tests the laws that compare passes in one scalar, called `name`, with each other: a monitor, hints, gradient
    /// descent in the pass, modes, optional gradients, frozen blocks.
    pub(super) fn one_scalar<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, shape: BatchShape<'_>) {
        let Some(given) = self.draw(shape, 2) else { return };
        let usual = Asked::new(shape);
        let Some(plain) = self.pass(layer, name, &given, &usual) else { return };

        let Some(watched) = self.pass(layer, name, &given, &Asked { watched: true, ..usual }) else { return };
        self.agree(Law::Repeatable, format!("{}, with a monitor", self.at(name, shape)), &plain, &watched);
        let of = Usual { layer, name, given: &given, usual: &usual, plain: &plain };
        self.memory_left_out(of);
        self.optional_gradients(of);
        // Gradient descent inside the pass also leaves out optional gradients.
        if !self.trial.broken(Law::OptionalGradients) {
            self.descends(of);
        }
        self.short_gradients(of);
        self.modes_agree(layer, name, &given, &usual);
        self.frozen_blocks(of);
    }

    /// Tests that the content of `saved`, `scratch` and the slices for results before a pass in the scalar type
    /// called `name` has no influence.
    fn memory<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, given: &Given<f64>, usual: &Asked<'_>) {
        let Some(plain) = self.pass(layer, name, given, usual) else { return };
        // NaN is detected if it is multiplied, 7.25 if it is compared.
        for garbage in [f64::NAN, 7.25] {
            for (law, asked) in [
                (Law::ReadsOnlyWritten, Asked { garbage, ..*usual }),
                (Law::Overwrites, Asked { leftover: garbage, ..*usual }),
            ] {
                let Some(other) = self.pass(layer, name, given, &asked) else { return };
                let place = format!("{}, where memory held {garbage}", self.at(name, usual.shape));
                if !self.agree(law, place, &plain, &other) {
                    return;
                }
            }
        }
    }

    /// Tests the laws of [`own_memory`](Self::own_memory) with fewer passes, for batches of many rows.
    pub(super) fn many_rows<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, shape: BatchShape<'_>) {
        let Some(given) = self.draw(shape, 3) else { return };
        let usual = Asked::new(shape);
        let Some(plain) = self.pass(layer, name, &given, &usual) else { return };
        let dirty = Asked { garbage: f64::NAN, leftover: f64::NAN, ..usual };
        let Some(other) = self.pass(layer, name, &given, &dirty) else { return };
        if plain.named().into_iter().zip(other.named()).any(|((_, a), (_, b))| unequal(a, b).is_some()) {
            self.memory(layer, name, &given, &usual);
        }
        if !self.stopped() {
            self.accumulates(Usual { layer, name, given: &given, usual: &usual, plain: &plain });
        }
    }

    fn accumulates<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual, plain } = of;
        const BEFORE: f64 = 3.0;
        for gradient in [f64::NAN, BEFORE].into_iter().filter(|_| layer.hints().overwrites_dw) {
            let Some(overwritten) = self.pass(layer, name, given, &Asked { gradient, overwrite_dw: true, ..*usual })
            else {
                return;
            };
            if let Some(i) = unlike(&plain.dw, &overwritten.dw) {
                let place = format!("{}: dw[{i}], overwritten", self.at(name, usual.shape));
                let found = format!("{:?}, where memory held {gradient}", overwritten.dw[i]);
                self.trial.breaks(Law::Overwrites, place, format!("{:?}", plain.dw[i]), found, "");
                return;
            }
        }
        let Some(added) = self.pass(layer, name, given, &Asked { gradient: BEFORE, ..*usual }) else { return };
        let tolerance = 64.0 * to_f64(T::epsilon()) * (1.0 + usual.shape.rows() as f64);
        for (i, (&alone, &added)) in plain.dw.iter().zip(&added.dw).enumerate() {
            let (alone, added) = (to_f64(alone), to_f64(added));
            let off = (added - (alone + BEFORE)).abs();
            if beyond(off, tolerance * (alone.abs() + BEFORE) * 4.0) {
                let block = self.blocks.at(i).map_or_else(String::new, |block| format!("block `{}`, ", block.name));
                let place = format!("{}: {block}dw[{i}], which held {BEFORE}", self.at(name, usual.shape));
                let expected = format!("{BEFORE} + {alone:e}");
                self.trial.breaks(Law::Accumulates, place, expected, format!("{added:e}"), "");
                return;
            }
        }
    }

    fn memory_left_out<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual, plain } = of;
        let evaluated = Asked { mode: Mode::Evaluate, ..*usual };
        let Some(plainly_evaluated) = self.pass(layer, name, given, &evaluated) else { return };
        for (asked, results) in
            [(*usual, plain), (Asked { watched: true, ..*usual }, plain), (evaluated, &plainly_evaluated)]
        {
            let asked = Asked { withheld: true, ..asked };
            self.left_out(Law::IgnoredRows, Usual { usual: &asked, plain: results, ..of });
        }
        let shape = usual.shape;
        if !layer.hints().saved_per_row {
            return;
        }
        for mode in [Mode::Train, Mode::Evaluate] {
            let [all, one] = [shape, BatchShape::batch(1)].map(|shape| layer.memory(shape, mode).saved);
            if all != shape.rows() * one {
                let (expected, found) = (format!("{} × {one} values saved", shape.rows()), format!("{all}"));
                self.trial.breaks(Law::SavedPerRow, self.at(name, shape), expected, found, "");
            }
        }
        let apart = layer.samples() == Samples::Independent && given.state.is_none();
        if apart && shape.steps == 1 && shape.batch > 1 {
            let divided = Asked { divided: true, withheld: self.may_withhold(), ..*usual };
            // The sums over rows in dw run in a different order, so dw is compared separately.
            let rows_alone = Results { dw: Vec::new(), ..plain.clone() };
            self.left_out(Law::SavedPerRow, Usual { usual: &divided, plain: &rows_alone, ..of });
            self.sums_of_parts(Usual { usual: &divided, ..of });
        }
    }

    /// Tests that the parameter gradients of two backward passes, one for each half of the rows, add up to that of
    /// all rows. `of.usual` has the settings of the divided pass, and `of.plain` the results for all rows.
    fn sums_of_parts<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual: divided, plain } = of;
        let Some(parts) = self.pass(layer, name, given, divided) else { return };
        // If the terms of a gradient cancel, only their rounding errors remain.
        let values = plain.dw.iter().map(|&dw| to_f64(dw)).chain(given.dy.iter().copied());
        let size = values.fold(0.0, |most: f64, value| most.max(value.abs()));
        let allowed = 1e3 * to_f64(T::epsilon()) * size;
        let pairs = || plain.dw.iter().zip(&parts.dw).map(|(&all, &parts)| (to_f64(all), to_f64(parts)));
        if let Some((i, (all, parts))) = pairs().enumerate().find(|(_, (all, parts))| differ(*all, *parts, allowed)) {
            let place = format!("{}: dw[{i}], of the rows in two parts", self.at(name, divided.shape));
            self.trial.breaks(Law::SavedPerRow, place, format!("{all:e}"), format!("{parts:e}"), "");
        }
    }

    fn short_gradients<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual, plain } = of;
        let dims = layer.dims();
        let zero_rows = layer.hints().zero_rows(usual.shape);
        let (zeros, rest) = plain.dx.split_at(zero_rows * dims.input);
        if let Some(i) = zeros.iter().position(|zero| !zero.is_zero()) {
            let place = format!("{}: dx[{i}], of {zero_rows} rows of zeros", self.at(name, usual.shape));
            self.trial.breaks(Law::ShortGradients, place, "0", format!("{:?}", zeros[i]), "");
        }
        if zero_rows > 0 {
            let without = Results { dx: rest.to_vec(), ..plain.clone() };
            let asked = Asked { missing: [zero_rows, 0], leftover: 3.0, ..*usual };
            self.left_out(Law::ShortGradients, Usual { usual: &asked, plain: &without, ..of });
        }
        let all = layer.output_shape(usual.shape).rows();
        for missing in [1, all / 2, all].into_iter().filter(|_| layer.hints().accepts_short_dy) {
            let mut given = given.clone();
            given.dy[..missing * dims.output].fill(0.0);
            let Some(plain) = self.pass(layer, name, &given, usual) else { return };
            for watched in [false, true] {
                let asked = Asked { missing: [0, missing], watched, ..*usual };
                self.left_out(Law::ShortGradients, Usual { given: &given, usual: &asked, plain: &plain, ..of });
            }
        }
    }

    /// Tests that a pass with the settings `of.usual`, such as omitted rows, gives the results `of.plain`. Results that
    /// are empty in `of.plain` are not compared.
    fn left_out<T: Scalar>(&mut self, law: Law, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual: asked, plain } = of;
        let place = |suite: &Self, what: &str| format!("{} ({:?}): {what}", suite.at(name, asked.shape), asked.mode);
        match run(layer, &given.map(scalar), asked) {
            Err(found) => self.trial.breaks(law, place(self, "backward"), "a pass back", found, ""),
            Ok(other) => {
                for ((what, a), (_, b)) in plain.named().into_iter().zip(other.named()) {
                    if let Some(i) = unlike(a, b) {
                        let place = place(self, &format!("{what}[{i}]"));
                        return self.trial.breaks(law, place, format!("{:?}", a[i]), format!("{:?}", b[i]), "");
                    }
                }
            }
        }
    }

    fn descends<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual, plain } = of;
        const RATE: f64 = 0.75;
        let step = |(&w, &dw): (&f64, &T)| scalar::<T>(w) + -scalar::<T>(RATE) * dw;
        let stepped = Results { dw: given.w.iter().zip(&plain.dw).map(step).collect(), ..plain.clone() };
        // The first layer of a network computes no dx, and may be given empty slices for rows that it does not read.
        for (gradient, optional, withheld) in [(f64::NAN, true, false), (3.0, true, true), (3.0, false, true)] {
            let withheld = withheld && self.may_withhold();
            let asked = Asked { descends: Some(RATE), gradient, optional: [optional; 2], withheld, ..*usual };
            let Some(found) = self.pass(layer, name, given, &asked) else { return };
            for ((what, a), (_, b)) in stepped.named().into_iter().zip(found.named()) {
                if let Some(i) = unlike(a, b) {
                    let what = if what == "dw" { "w" } else { what };
                    let place = format!("{}: {what}[{i}], after a step", self.at(name, usual.shape));
                    self.trial.breaks(Law::Descends, place, format!("{:?}", a[i]), format!("{:?}", b[i]), "");
                    return;
                }
            }
        }
    }

    /// Whether passes may withhold the rows that the layer's hints say it does not read. False once the layer was seen
    /// to read them, and if [`Law::IgnoredRows`] is left out of the tests.
    fn may_withhold(&self) -> bool {
        !self.trial.broken(Law::IgnoredRows) && !self.trial.excepts(Law::IgnoredRows)
    }

    fn optional_gradients<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual, plain } = of;
        for optional in [[false, false], [false, true], [true, false]] {
            let Some(without) = self.pass(layer, name, given, &Asked { optional, ..*usual }) else { return };
            let mut expected = plain.clone();
            if !optional[0] {
                expected.dx.clear();
            }
            if !optional[1] {
                expected.d_state.clear();
            }
            let left_out = ["dx", "d_initial_state"].into_iter().zip(optional).filter(|(_, wanted)| !wanted);
            let left_out: Vec<&str> = left_out.map(|(what, _)| what).collect();
            let place = format!("{}, {left_out:?} not wanted", self.at(name, usual.shape));
            self.agree(Law::OptionalGradients, place, &expected, &without);
        }
        // `None` for the state or its gradient means zero.
        if let (Some(state), Some(d_state)) = (&given.state, &given.d_state) {
            let zeros = |values: &Vec<f64>| Some(vec![0.0; values.len()]);
            let given = |state, d_state| Given { state, d_state, ..given.clone() };
            for (what, zero, none) in [
                ("no state and no gradient of it", given(zeros(state), zeros(d_state)), given(None, None)),
                ("no state", given(zeros(state), Some(d_state.clone())), given(None, Some(d_state.clone()))),
                (
                    "no gradient of the state",
                    given(Some(state.clone()), zeros(d_state)),
                    given(Some(state.clone()), None),
                ),
            ] {
                let Some(zero) = self.pass(layer, name, &zero, usual) else { return };
                let Some(none) = self.pass(layer, name, &none, usual) else { return };
                let place = format!("{}, {what} instead of zero", self.at(name, usual.shape));
                self.agree(Law::AbsentState, place, &zero, &none);
            }
        }
    }

    fn frozen_blocks<T: Scalar>(&mut self, of: Usual<'_, T>) {
        let Usual { layer, name, given, usual, plain } = of;
        const ALONE: usize = 8;
        let count = self.blocks.len();
        // Each block is frozen in one of up to 8 passes, so with more than 8 blocks several are frozen at once. In
        // one more pass all blocks are frozen.
        let some = (0..count.min(ALONE)).map(|frozen| (0..count).map(|i| i % ALONE != frozen).collect());
        for flags in some.chain((count > 1).then(|| vec![false; count])) {
            let flags: Vec<bool> = flags;
            let Some(other) = self.pass(layer, name, given, &Asked { trainable: &flags, ..*usual }) else { return };
            // Gradients of frozen blocks may be computed or not.
            let mut expected = plain.clone();
            for (block, _) in self.blocks.iter().zip(&flags).filter(|(_, trainable)| !**trainable) {
                expected.dw[block.range.clone()].copy_from_slice(&other.dw[block.range.clone()]);
            }
            let names = self.blocks.iter().zip(&flags).filter(|(_, trainable)| !**trainable);
            let names: Vec<&str> = names.map(|(block, _)| &*block.name).collect();
            self.agree(
                Law::FrozenBlocks,
                format!("{}, {names:?} frozen", self.at(name, usual.shape)),
                &expected,
                &other,
            );
        }
    }

    /// Whether two passes have the same bits. The first difference is noted as a violation of `law` at `place`.
    pub(super) fn agree<T: Scalar>(&mut self, law: Law, place: String, a: &Results<T>, b: &Results<T>) -> bool {
        let mut pairs = a.named().into_iter().zip(b.named());
        let differs = pairs.find_map(|((what, a), (_, b))| unequal(a, b).map(|i| (what, i)));
        if let Some((what, i)) = differs {
            self.trial.breaks(law, format!("{place}: {what}[{i}]"), a.value(what, i), b.value(what, i), "");
        }
        differs.is_none()
    }
}
