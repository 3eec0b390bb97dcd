//! The law that passes do not depend on earlier passes.

use super::{Asked, Given, Results, Suite};
#[cfg(feature = "std")]
use super::{run, unequal};
#[cfg(feature = "std")]
use crate::scalar::scalar;
use crate::{
    batch_shape::BatchShape,
    layer::{Layer, Mode},
    scalar::Scalar,
    testing::Law,
};
use alloc::format;

impl Suite<'_, '_> {
    /// Tests that a pass in the scalar type called `name` gives the same bits after a pass of another input, and with
    /// a forward pass of another input before its backward pass. Evaluation and inference must give the same bits
    /// before and after the first training pass.
    pub(super) fn repeatable<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        for shape in [BatchShape::batch(1), BatchShape::sequences(2, 3)] {
            let (Some(given), Some(other)) = (self.draw(shape, 6), self.draw(BatchShape::batch(2), 7)) else { return };
            let usual = Asked::new(shape);
            // Evaluation and inference run before the first pass in training, which must not change their results.
            let quiet = [Mode::Evaluate, Mode::Infer].map(|mode| Asked { mode, backward: false, ..usual });
            let [Some(evaluated), Some(inferred)] = quiet.map(|asked| self.pass(layer, name, &given, &asked)) else {
                return;
            };
            let Some(plain) = self.pass(layer, name, &given, &usual) else { return };
            let Some(_) = self.pass(layer, name, &other, &Asked::new(BatchShape::batch(2))) else { return };
            for between in [false, true] {
                let Some(again) = self.pass(layer, name, &given, &Asked { between, ..usual }) else { return };
                let how = if between { "after another forward pass before backward" } else { "repeated" };
                if !self.agree(Law::Repeatable, format!("{}, {how}", self.at(name, shape)), &plain, &again) {
                    return;
                }
            }
            for (asked, before) in quiet.iter().zip([&evaluated, &inferred]) {
                let Some(after) = self.pass(layer, name, &given, asked) else { return };
                let place = format!("{} ({:?}), after a pass in training", self.at(name, shape), asked.mode);
                if !self.agree(Law::Repeatable, place, before, &after) {
                    return;
                }
            }
            self.threads(layer, name, &given, &plain, &usual);
            self.buffers(layer, name, &given, &usual);
        }
    }

    /// Tests that the buffers of a layer after a forward pass of training are finite, and have the same bits if the
    /// same pass runs again from the initial buffers.
    fn buffers<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, given: &Given<f64>, usual: &Asked<'_>) {
        let asked = Asked { updates: true, backward: false, ..*usual };
        let Some(first) = self.pass(layer, name, given, &asked) else { return };
        let Some(again) = self.pass(layer, name, given, &asked) else { return };
        for (i, (a, b)) in first.buffers.iter().zip(&again.buffers).enumerate() {
            let place = format!("{}, after an update: buffer [{i}]", self.at(name, usual.shape));
            if !a.is_finite() {
                return self.trial.breaks(Law::Extremes, place, "a finite number", format!("{a:?}"), "");
            } else if a != b {
                return self.trial.breaks(Law::Repeatable, place, format!("{a:?}"), format!("{b:?}"), "");
            }
        }
    }

    /// Tests that passes that run in two threads at the same time give the bits of `plain`, a pass alone. Where no
    /// thread can be started, nothing is tested.
    #[cfg(feature = "std")]
    fn threads<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        plain: &Results<T>,
        asked: &Asked<'_>,
    ) {
        /// The number of passes of each thread.
        const PASSES: usize = 24;
        let reversed = Given { x: given.x.iter().rev().copied().collect(), ..given.clone() };
        let Some(other) = self.pass(layer, name, &reversed, asked) else { return };
        let ready = std::sync::Barrier::new(2);
        let all = |given: &Given<f64>, expected: &Results<T>| {
            ready.wait();
            let mut passes = (0..PASSES).map(|_| run(layer, &given.map(scalar), asked));
            passes.find_map(|found| {
                let found = match found {
                    Ok(found) => found,
                    Err(text) => return Some(("the pass".into(), ["results".into(), text])),
                };
                let mut pairs = expected.named().into_iter().zip(found.named());
                pairs.find_map(|((what, a), (_, b))| {
                    let at = |i: usize| [expected.value(what, i), found.value(what, i)];
                    unequal(a, b).map(|i| (format!("{what}[{i}]"), at(i)))
                })
            })
        };
        let found = std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().spawn_scoped(scope, || all(&reversed, &other)).ok()?;
            let own = all(given, plain);
            own.or(beside.join().ok().flatten())
        });
        if let Some((what, [expected, found])) = found {
            let place = format!("{}, from two threads: {what}", self.at(name, asked.shape));
            self.trial.breaks(Law::Repeatable, place, expected, found, "");
        }
    }

    /// Tests nothing: without `std` there are no threads.
    #[cfg(not(feature = "std"))]
    fn threads<T: Scalar>(&mut self, _: &dyn Layer<T>, _: &str, _: &Given<f64>, _: &Results<T>, _: &Asked<'_>) {}
}
