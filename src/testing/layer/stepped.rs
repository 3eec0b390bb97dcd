//! Compares one pass of a layer with a state over a sequence with passes over windows of the sequence.

use super::{Asked, Given, Results, Suite, unequal};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::{DropoutKey, Layer, Mode, Samples},
    scalar::{Scalar, to_f64},
    testing::{Law, law::beyond},
};
use alloc::{format, vec, vec::Vec};

/// The number of sequences of a batch.
const SAMPLES: usize = 3;
/// The number of time steps of the sequences.
const STEPS: usize = 5;
/// The lengths, in time steps, of the consecutive windows into which the sequences are cut: one list for each test.
const CUTS: [&[usize]; 2] = [&[1, 1, 1, 1, 1], &[2, 3]];

/// Returns the rows of a range of time steps, each of which has [`SAMPLES`] rows of `width` values.
fn rows(steps: core::ops::Range<usize>, width: usize, values: &[f64]) -> Vec<f64> {
    values[steps.start * SAMPLES * width..steps.end * SAMPLES * width].to_vec()
}

impl Suite<'_, '_> {
    /// Tests that passes over windows of a sequence give the results of one pass, in the scalar type called `name`.
    /// The state is carried from window to window, and its gradient back. Dropout is off, since its masks may differ
    /// from window to window. Layers with independent samples are tested in training, too.
    pub(super) fn stepped<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        let shape = BatchShape::sequences(SAMPLES, STEPS);
        if layer.reads_later_steps() || layer.output_shape(shape) != shape {
            return;
        }
        let Some(given) = self.draw(shape, 6).filter(|given| given.state.is_some()) else { return };
        let training = (layer.samples() == Samples::Independent).then_some(Mode::Train);
        for mode in [Mode::Evaluate, Mode::Infer].into_iter().chain(training) {
            let asked = Asked { mode, dropout: DropoutKey::off(), ..Asked::new(shape) };
            let Some(whole) = self.pass(layer, name, &given, &asked) else { return };
            for cuts in CUTS {
                if self.windows(layer, name, &given, &asked, &whole, cuts).is_none() {
                    return;
                }
            }
        }
    }

    /// Compares passes over consecutive windows, whose numbers of time steps are `cuts`, with `whole`, the results of
    /// one pass; differences are violations. `None` if a pass fails or an output differs.
    fn windows<T: Scalar>(
        &mut self,
        layer: &dyn Layer<T>,
        name: &str,
        given: &Given<f64>,
        asked: &Asked<'_>,
        whole: &Results<T>,
        cuts: &[usize],
    ) -> Option<()> {
        let dims = layer.dims();
        let wide = |values: &[T]| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
        let place = |suite: &Self, what: &str| {
            format!("{}{name} ({:?}), {SAMPLES} samples in windows of {cuts:?} steps: {what}", suite.label, asked.mode)
        };
        let starts = cuts.iter().scan(0, |next, steps| Some(core::mem::replace(next, *next + steps)));
        let windows: Vec<_> = starts.zip(cuts).map(|(start, steps)| start..start + steps).collect();
        let part = |window: &core::ops::Range<usize>, state, d_state| Given {
            x: rows(window.clone(), dims.input, &given.x),
            dy: rows(window.clone(), dims.output, &given.dy),
            state,
            d_state,
            ..given.clone()
        };
        let of = |steps: usize| Asked { shape: BatchShape::sequences(SAMPLES, steps), ..*asked };

        let (mut states, mut y, mut end) = (Vec::new(), Vec::new(), given.state.clone());
        for window in &windows {
            let given = part(window, end.clone(), given.d_state.clone());
            let results = self.pass(layer, name, &given, &Asked { backward: false, ..of(window.len()) })?;
            y.extend_from_slice(&results.y);
            states.push(end.replace(wide(&results.state)));
        }
        for (what, whole, parts) in
            [("y", wide(&whole.y), wide(&y)), ("final_state", wide(&whole.state), end.unwrap_or_default())]
        {
            if let Some(i) = unequal(&whole, &parts) {
                let (place, part) = (place(self, &format!("{what}[{i}]")), parts.get(i));
                self.trial.breaks(Law::Stepped, place, format!("{:?}", whole.get(i)), format!("{part:?}"), "");
                return None;
            }
        }

        if self.trial.broken(Law::Adjoint) || !asked.mode.saves() {
            return Some(());
        }
        let (mut dx, mut dw, mut terms) = (vec![0.0; given.x.len()], vec![0.0; given.w.len()], 0.0);
        let mut d_state = given.d_state.clone();
        for (window, state) in windows.iter().zip(states).rev() {
            let results = self.pass(layer, name, &part(window, state, d_state.take()), &of(window.len()))?;
            dx[window.start * SAMPLES * dims.input..][..results.dx.len()].copy_from_slice(&wide(&results.dx));
            dw.iter_mut().zip(&results.dw).for_each(|(sum, &dw)| *sum += to_f64(dw));
            terms += norm(&wide(&results.dw));
            d_state = Some(wide(&results.d_state));
        }
        // Sums over time in another order: equal to rounding of their terms.
        let allowed = 1e4 * to_f64(T::epsilon());
        let d_state = d_state.unwrap_or_default();
        for (what, whole, parts, terms) in [
            ("dx", &whole.dx, &dx, 0.0),
            ("dw", &whole.dw, &dw, terms),
            ("d_initial_state", &whole.d_state, &d_state, 0.0),
        ] {
            let whole = wide(whole);
            let difference: Vec<f64> = whole.iter().zip(parts).map(|(whole, part)| whole - part).collect();
            let (size, error) = (norm(&whole), norm(&difference));
            if beyond(error, allowed * size.max(terms)) {
                let expected = format!("the gradient of the whole, of norm {size:e}");
                self.trial.breaks(Law::Stepped, place(self, what), expected, format!("one that is {error:e} away"), "");
            }
        }
        Some(())
    }
}
