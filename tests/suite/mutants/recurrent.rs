//! Wrong recurrent layers: a plain Elman layer in loops, with one mistake each in what it does with time.
#![allow(clippy::needless_range_loop, reason = "the equations have indices")]

use super::{all_caught, caught};
use chainrule::{
    BatchShape, Block, Error, Layer, Mode, Role, Scalar,
    layer::{Backward, Dims, Forward, MemorySizes},
    monitor::Factor,
    rand_core::Rng,
    scalar,
    testing::{Law, Layers, layer_laws},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    RecurrentNotTransposed,
    StateGradientLost,
    StateGradientCutEveryOtherStep,
    EndGradientIgnored,
    StartGradientMissing,
    StartStateForgottenBackward,
    OffByOneStep,
    LastLossOnly,
    DerivativeOfTheStepBefore,
    BiasOfTheFirstStep,
    StateOfTheFirstSample,
    LeakAcrossWindows,
    StartStateIgnored,
    EndStateNotWritten,
    PaddingCounts,
    PaddedRows,
    LongestDecides,
}

const IN: usize = 2;
const HIDDEN: usize = 3;
const BIAS: usize = HIDDEN * (IN + HIDDEN);

/// `h_t = tanh(W x_t + U h_{t−1} + b)`.
#[derive(Debug)]
struct Plain(Fault);

impl Plain {
    fn is(&self, fault: Fault) -> bool {
        self.0 == fault
    }

    fn row(&self, shape: BatchShape<'_>, step: usize, sample: usize) -> usize {
        if self.is(Fault::PaddedRows) { step * shape.batch + sample } else { shape.row(step, sample) }
    }
}

impl<T: Scalar> Layer<T> for Plain {
    fn dims(&self) -> Dims {
        Dims::new(IN, HIDDEN, BIAS + HIDDEN)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let _ = mode;
        MemorySizes::new(0, 2 * HIDDEN * shape.batch, HIDDEN)
    }

    fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        w.iter_mut().enumerate().for_each(|(i, w)| *w = scalar(0.4 - 0.17 * (i % 5) as f64));
        Ok(())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [HIDDEN, IN], Role::Weight));
        visit(Block::new("recurrent", HIDDEN * IN, [HIDDEN, HIDDEN], Role::Recurrent));
        visit(Block::new("bias", BIAS, [HIDDEN, 1], Role::Bias));
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (shape, h) = (pass.ctx.shape, pass.scratch);
        let given = match self.0 {
            Fault::StartStateIgnored => None,
            // What the window before left there, wherever it came from.
            Fault::LeakAcrossWindows => Some(&*pass.state.final_state)
                .filter(|_| pass.state.initial_state.is_none())
                .or(pass.state.initial_state),
            _ => pass.state.initial_state,
        };
        for (i, h) in h.iter_mut().take(HIDDEN * shape.batch).enumerate() {
            *h = given.map_or(T::zero(), |given| given[i]);
        }
        for step in 0..shape.steps {
            for sample in 0..shape.batch {
                let runs = step < shape.length(sample);
                if !runs && !self.is(Fault::PaddingCounts) {
                    continue;
                }
                let before: Vec<T> = (0..HIDDEN)
                    .map(|j| h[if self.is(Fault::StateOfTheFirstSample) { j } else { sample * HIDDEN + j }])
                    .collect();
                for j in 0..HIDDEN {
                    let mut z = w[BIAS + j];
                    if runs {
                        let row = self.row(shape, step, sample);
                        (0..IN).for_each(|i| z += w[j * IN + i] * pass.x[row * IN + i]);
                    }
                    (0..HIDDEN).for_each(|k| z += w[HIDDEN * IN + j * HIDDEN + k] * before[k]);
                    let value = z.tanh();
                    h[sample * HIDDEN + j] = value;
                    if runs {
                        pass.y[self.row(shape, step, sample) * HIDDEN + j] = value;
                    }
                }
            }
        }
        for sample in 0..shape.batch {
            let ended = shape.length(sample) < shape.steps;
            if self.is(Fault::EndStateNotWritten) {
                continue;
            }
            for j in sample * HIDDEN..(sample + 1) * HIDDEN {
                pass.state.final_state[j] = if self.is(Fault::LongestDecides) && ended { T::zero() } else { h[j] };
            }
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        let shape = pass.ctx.shape;
        let u = |j: usize, k: usize| HIDDEN * IN + j * HIDDEN + k;
        for sample in 0..shape.batch {
            let mut dh = [T::zero(); HIDDEN];
            if let (Some(end), false) = (pass.state.d_final_state, self.is(Fault::EndGradientIgnored)) {
                dh.copy_from_slice(&end[sample * HIDDEN..][..HIDDEN]);
            }
            let length = shape.length(sample);
            for step in (0..length).rev() {
                let row = self.row(shape, step, sample);
                let state = |step: Option<usize>, j: usize| match step {
                    Some(step) => pass.y[self.row(shape, step, sample) * HIDDEN + j],
                    None if self.is(Fault::StartStateForgottenBackward) => T::zero(),
                    None => pass.state.initial_state.map_or(T::zero(), |state| state[sample * HIDDEN + j]),
                };
                let mut delta = [T::zero(); HIDDEN];
                for j in 0..HIDDEN {
                    let loss = !self.is(Fault::LastLossOnly) || step + 1 == length;
                    let g = dh[j] + if loss { pass.dy[row * HIDDEN + j] } else { T::zero() };
                    let before = self.is(Fault::DerivativeOfTheStepBefore);
                    let h = state(if before { step.checked_sub(1) } else { Some(step) }, j);
                    delta[j] = g * (T::one() - h * h);
                }
                for j in 0..HIDDEN {
                    for i in 0..IN {
                        pass.dw[j * IN + i] += delta[j] * pass.x[row * IN + i];
                    }
                    for k in 0..HIDDEN {
                        let of = if self.is(Fault::OffByOneStep) { Some(step) } else { step.checked_sub(1) };
                        pass.dw[u(j, k)] += delta[j] * state(of, k);
                    }
                    if !self.is(Fault::BiasOfTheFirstStep) || step == 0 {
                        pass.dw[BIAS + j] += delta[j];
                    }
                }
                if let Some(dx) = pass.dx.as_deref_mut() {
                    for i in 0..IN {
                        dx[row * IN + i] = (0..HIDDEN).fold(T::zero(), |sum, j| sum + w[j * IN + i] * delta[j]);
                    }
                }
                let cut = self.is(Fault::StateGradientLost)
                    || (self.is(Fault::StateGradientCutEveryOtherStep) && step % 2 == 1);
                for k in 0..HIDDEN {
                    let transposed = |j| if self.is(Fault::RecurrentNotTransposed) { w[u(k, j)] } else { w[u(j, k)] };
                    let sum = (0..HIDDEN).fold(T::zero(), |sum, j| sum + transposed(j) * delta[j]);
                    dh[k] = if cut { T::zero() } else { sum };
                }
            }
            if let Some(start) = pass.state.d_initial_state.as_deref_mut() {
                let missing = self.is(Fault::StartGradientMissing);
                let dh = if missing { [T::zero(); HIDDEN] } else { dh };
                start[sample * HIDDEN..][..HIDDEN].copy_from_slice(&dh);
            }
        }
        if let Some(dx) = pass.dx {
            pass.ctx.report_backward(Factor::Other, pass.dy, dx);
        }
    }
}

#[test]
fn mutants_of_recurrent_layers() {
    layer_laws(Layers::of(&Plain(Fault::None)), 0).expect("without a mistake there is nothing to accuse");
    let all = [
        (Fault::RecurrentNotTransposed, Law::Adjoint),
        (Fault::StateGradientLost, Law::Adjoint),
        (Fault::StateGradientCutEveryOtherStep, Law::Adjoint),
        (Fault::EndGradientIgnored, Law::Adjoint),
        (Fault::StartGradientMissing, Law::Adjoint),
        (Fault::StartStateForgottenBackward, Law::Adjoint),
        (Fault::OffByOneStep, Law::Adjoint),
        (Fault::LastLossOnly, Law::Adjoint),
        (Fault::DerivativeOfTheStepBefore, Law::Adjoint),
        (Fault::BiasOfTheFirstStep, Law::Adjoint),
        (Fault::StateOfTheFirstSample, Law::Split),
        (Fault::LeakAcrossWindows, Law::Overwrites),
        (Fault::StartStateIgnored, Law::Adjoint),
        (Fault::EndStateNotWritten, Law::Overwrites),
        (Fault::PaddingCounts, Law::Ragged),
        (Fault::LongestDecides, Law::Ragged),
        (Fault::PaddedRows, Law::NoPanic),
    ];
    all_caught(
        "recurrent layers",
        all.map(|(fault, law)| caught(&format!("{fault:?}"), law, layer_laws(Layers::of(&Plain(fault)), 0))),
    );
}
