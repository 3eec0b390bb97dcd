//! Wrong layers: copies of the affine map in plain loops, each with one mistake.

use super::{all_caught, caught};
use chainrule::{
    BatchShape, Block, Error, Layer, Mode, Role, Scalar,
    activation::{Activation, Tanh},
    layer::{Backward, Dims, Forward, Hints, MemorySizes, Samples},
    monitor::Factor,
    rand_core::Rng,
    scalar,
    testing::{Law, Layers, layer_laws},
    to_f64,
};
use std::{
    any::TypeId,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    InputGradientSign,
    WeightGradientSign,
    WeightGradientHalved,
    WeightGradientMeanOverRows,
    WeightGradientWithoutLastRow,
    BiasUnused,
    BiasLeftOutForward,
    BiasGradientMissing,
    BiasGradientOfFirstRow,
    OneElementWrong,
    SlightlyWrong,
    TransposeForgotten,
    WeightGradientAssigned,
    BiasGradientAssigned,
    InputGradientAdded,
    FreshAddedTo,
    OutputAdded,
    ScratchRead,
    SavedRead,
    TooLittleScratch,
    BlocksOverlap,
    BlocksLeaveAGap,
    NameTwice,
    ShapeWrong,
    ParametersMiscounted,
    BatchMeanSubtracted,
    FirstRowSpecial,
    MaskByRow,
    MemoryShrinks,
    StateByBatch,
    CallsCounted,
    WatchedDiffers,
    InferenceDiffers,
    WeightGradientOnlyWithInputGradient,
    FrozenStopsTheRest,
    GainBoundTooLow,
    GainBoundOfTheRow,
    DoubleRoundedToSingle,
    RemainderLeftOut,
    DerivativeAtOutput,
    DerivativeForgotten,
    Initialization,
    IgnoredInputRead,
    SavesByColumn,
    SavesMoreThanRows,
    IgnoredOutputReadInEvaluation,
    FirstStepsSaidToBeZero,
    ZerosSaidToBeSkipped,
    RowsTakenForOthers,
    NextStepRead,
}

/// `y = tanh?(W x + b)`, square where that matters.
#[derive(Debug)]
struct Affine {
    inputs: usize,
    outputs: usize,
    fault: Fault,
    calls: AtomicU64,
}

/// A number of its own for each call.
fn mask(seed: u64, row: usize) -> bool {
    (seed.wrapping_mul(0x9E37_79B9).wrapping_add(row as u64)).wrapping_mul(0x85EB_CA6B) >> 13 & 1 == 0
}

impl Affine {
    fn new(fault: Fault) -> Self {
        let (inputs, outputs) = match fault {
            Fault::GainBoundTooLow => (3, 1),
            _ => (3, 3),
        };
        Affine { inputs, outputs, fault, calls: AtomicU64::new(0) }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn pointwise(&self) -> bool {
        self.is(Fault::DerivativeAtOutput) || self.is(Fault::DerivativeForgotten)
    }
}

impl<T: Scalar> Layer<T> for Affine {
    fn dims(&self) -> Dims {
        let more = self.is(Fault::ParametersMiscounted) as usize;
        Dims::new(self.inputs, self.outputs, self.outputs * (self.inputs + 1) + more)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let scratch = match self.fault {
            Fault::MemoryShrinks => 100 / shape.batch,
            Fault::TooLittleScratch => shape.rows() * self.outputs - 1,
            _ => shape.rows() * self.outputs,
        };
        let state = if self.is(Fault::StateByBatch) { shape.steps } else { 0 };
        let more = if self.is(Fault::SavesMoreThanRows) { 8 } else { 0 };
        MemorySizes::new(if mode.saves() { shape.rows() * self.outputs + more } else { 0 }, scratch, state)
    }

    fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        let end = w.len() + self.is(Fault::Initialization) as usize;
        w[..end].iter_mut().enumerate().for_each(|(i, w)| *w = scalar(0.5 - 0.13 * i as f64));
        Ok(())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        let weights = self.inputs * self.outputs;
        let start = match self.fault {
            Fault::BlocksOverlap => weights - 1,
            Fault::BlocksLeaveAGap => weights + 1,
            _ => weights,
        };
        let mut weight = Block::new("weight", 0, [self.outputs, self.inputs], Role::Weight);
        if self.is(Fault::ShapeWrong) {
            weight.shape = [self.outputs, self.inputs + 1];
        }
        visit(weight);
        let name = if self.is(Fault::NameTwice) { "weight" } else { "bias" };
        visit(Block::new(name, start, [self.outputs, 1], Role::Bias));
    }

    fn samples(&self) -> Samples {
        Samples::Independent
    }

    fn hints(&self) -> Hints {
        let none = Hints::NONE;
        match self.fault {
            Fault::IgnoredInputRead => none.ignores_x(),
            Fault::IgnoredOutputReadInEvaluation => none.ignores_y(),
            Fault::SavesByColumn | Fault::SavesMoreThanRows => none.saved_per_row(),
            Fault::FreshAddedTo => none.overwrites_dw(),
            Fault::ZerosSaidToBeSkipped | Fault::RowsTakenForOthers => none.accepts_short_dy(),
            Fault::FirstStepsSaidToBeZero => none.dx_zero_before_last_step(),
            _ => none,
        }
    }

    fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        let square = |w: &[T]| w.iter().map(|&w| to_f64(w).powi(2)).sum::<f64>();
        match self.fault {
            // Of one row the norm is exact; 1 % below it is no bound.
            Fault::GainBoundTooLow => Some(0.99 * square(&w[..self.inputs]).sqrt()),
            Fault::GainBoundOfTheRow => Some(square(&w[..self.inputs]).sqrt()),
            _ => None,
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (weight, bias) = w.split_at(self.inputs * self.outputs);
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let rows = pass.ctx.shape.rows();
        let mut mean = T::zero();
        if self.is(Fault::BatchMeanSubtracted) {
            mean = pass.x.iter().fold(T::zero(), |sum, &x| sum + x) / scalar(rows as f64);
        }
        for (row, (x, y)) in pass.x.chunks(self.inputs).zip(pass.y.chunks_mut(self.outputs)).enumerate() {
            // A kernel whose last rows are done elsewhere, and are not.
            let generic = TypeId::of::<T>() != TypeId::of::<f64>();
            if self.is(Fault::RemainderLeftOut) && !generic && rows > 8 && row >= rows - rows % 8 {
                y.fill(T::zero());
                continue;
            }
            for (o, y) in y.iter_mut().enumerate() {
                let bias = match self.fault {
                    Fault::BiasUnused | Fault::BiasLeftOutForward => T::zero(),
                    _ => bias[o],
                };
                let mut sum = x.iter().zip(&weight[o * self.inputs..]).fold(bias, |sum, (&x, &w)| sum + (x - mean) * w);
                pass.scratch[row * self.outputs + o] += if self.is(Fault::ScratchRead) { sum } else { T::zero() };
                match self.fault {
                    Fault::ScratchRead => sum = pass.scratch[row * self.outputs + o],
                    Fault::FirstRowSpecial if row == 0 => sum += sum,
                    Fault::NextStepRead if row + pass.ctx.shape.batch < rows => {
                        sum += pass.x[(row + pass.ctx.shape.batch) * self.inputs];
                    }
                    Fault::MaskByRow if pass.ctx.mode == Mode::Train && mask(pass.ctx.dropout.seed, row) => {
                        sum = T::zero()
                    }
                    Fault::CallsCounted => sum += scalar(calls as f64),
                    Fault::WatchedDiffers if pass.ctx.monitor.is_active() => sum += sum,
                    Fault::InferenceDiffers if pass.ctx.mode == Mode::Infer => sum += sum,
                    Fault::DoubleRoundedToSingle if !generic => sum = scalar(f64::from(to_f64(sum) as f32)),
                    Fault::OutputAdded => sum += *y,
                    _ => {}
                }
                if pass.ctx.mode.saves() && !self.is(Fault::SavedRead) {
                    let at = if self.is(Fault::SavesByColumn) { o * rows + row } else { row * self.outputs + o };
                    pass.saved[at] = sum;
                }
                *y = if self.pointwise() { Tanh.value(sum) } else { sum };
            }
        }
        pass.ctx.report_forward(Factor::Weights, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        let mut dy = pass.dy.to_vec();
        let mut pass = pass.reborrow();
        if self.is(Fault::RowsTakenForOthers) {
            // The zeros come last, not first.
            dy.resize(pass.ctx.shape.rows() * self.outputs, T::zero());
            pass.dy = &dy;
        }
        let weights = self.inputs * self.outputs;
        let (d_weight, d_bias) = pass.dw.split_at_mut(weights);
        let rows = pass.ctx.shape.rows();
        let wanted = pass.dx.is_some() || !self.is(Fault::WeightGradientOnlyWithInputGradient);
        let mut train = [0, 1].map(|block| pass.trainable.block(block));
        if self.is(Fault::FrozenStopsTheRest) {
            train = [train[0] && train[1]; 2];
        }
        if self.is(Fault::WeightGradientAssigned) {
            d_weight.fill(T::zero());
        }
        if self.is(Fault::BiasGradientAssigned) {
            d_bias.fill(T::zero());
        }
        for row in 0..rows {
            for o in 0..self.outputs {
                let at = row * self.outputs + o;
                let (x, mut dy) = (&pass.x[row * self.inputs..][..self.inputs], pass.dy[at]);
                match self.fault {
                    Fault::DerivativeAtOutput => dy *= Tanh.derivative(pass.y[at], Tanh.value(pass.y[at])),
                    Fault::MaskByRow if pass.ctx.mode == Mode::Train && mask(pass.ctx.dropout.seed, row) => {
                        dy = T::zero()
                    }
                    Fault::FirstRowSpecial if row == 0 => dy += dy,
                    Fault::IgnoredOutputReadInEvaluation if pass.ctx.mode == Mode::Evaluate => {
                        dy += T::zero() * pass.y[at]
                    }
                    Fault::SavedRead => dy += T::zero() * pass.saved[at],
                    _ => {}
                }
                let last = self.is(Fault::WeightGradientWithoutLastRow) && row + 1 == rows && rows > 1;
                if train[0] && wanted && !last {
                    for (i, &x) in x.iter().enumerate() {
                        let term = match self.fault {
                            Fault::WeightGradientSign => -(dy * x),
                            Fault::WeightGradientHalved => dy * x * scalar(0.5),
                            Fault::WeightGradientMeanOverRows => dy * x / scalar(rows as f64),
                            Fault::OneElementWrong if o == 1 && i == 2 => T::zero(),
                            _ => dy * x,
                        };
                        d_weight[o * self.inputs + i] += term;
                    }
                }
                let skipped = match self.fault {
                    Fault::BiasUnused | Fault::BiasGradientMissing => true,
                    Fault::BiasGradientOfFirstRow => row > 0,
                    _ => !train[1],
                };
                if !skipped {
                    d_bias[o] += dy;
                }
            }
            if let Some(dx) = pass.dx.as_deref_mut() {
                for i in 0..self.inputs {
                    let term = |o: usize| {
                        let at =
                            if self.is(Fault::TransposeForgotten) { i * self.inputs + o } else { o * self.inputs + i };
                        w[at] * pass.dy[row * self.outputs + o]
                    };
                    let sum = (0..self.outputs).fold(T::zero(), |sum, o| sum + term(o));
                    let dx = &mut dx[row * self.inputs + i];
                    *dx = match self.fault {
                        Fault::InputGradientSign => -sum,
                        Fault::SavesByColumn => sum + (pass.saved[row] - pass.y[row * self.outputs]),
                        Fault::InputGradientAdded => *dx + sum,
                        Fault::SlightlyWrong => sum * scalar(1.0 + 1e-9),
                        Fault::FirstRowSpecial if row == 0 => sum + sum,
                        _ => sum,
                    };
                }
            }
        }
        if let Some(dx) = pass.dx {
            pass.ctx.report_backward(Factor::Weights, pass.dy, dx);
        }
    }
}

#[test]
fn mutants_of_layers() {
    let sound = Affine::new(Fault::None);
    layer_laws(Layers::of(&sound), 0).expect("without a mistake there is nothing to accuse");
    let all = [
        (Fault::InputGradientSign, Law::Adjoint),
        (Fault::WeightGradientSign, Law::Adjoint),
        (Fault::WeightGradientHalved, Law::Adjoint),
        (Fault::WeightGradientMeanOverRows, Law::Adjoint),
        (Fault::WeightGradientWithoutLastRow, Law::Adjoint),
        (Fault::BiasUnused, Law::BlocksMatter),
        (Fault::BiasLeftOutForward, Law::Adjoint),
        (Fault::BiasGradientMissing, Law::Adjoint),
        (Fault::BiasGradientOfFirstRow, Law::Adjoint),
        (Fault::OneElementWrong, Law::Adjoint),
        (Fault::SlightlyWrong, Law::Adjoint),
        (Fault::TransposeForgotten, Law::Adjoint),
        (Fault::WeightGradientAssigned, Law::Accumulates),
        (Fault::BiasGradientAssigned, Law::Accumulates),
        (Fault::InputGradientAdded, Law::Overwrites),
        (Fault::FreshAddedTo, Law::Overwrites),
        (Fault::OutputAdded, Law::Overwrites),
        (Fault::ScratchRead, Law::ReadsOnlyWritten),
        (Fault::SavedRead, Law::ReadsOnlyWritten),
        (Fault::TooLittleScratch, Law::NoPanic),
        (Fault::Initialization, Law::NoPanic),
        (Fault::BlocksOverlap, Law::BlocksTile),
        (Fault::BlocksLeaveAGap, Law::BlocksTile),
        (Fault::NameTwice, Law::BlocksTile),
        (Fault::ShapeWrong, Law::BlocksTile),
        (Fault::ParametersMiscounted, Law::BlocksTile),
        (Fault::BatchMeanSubtracted, Law::Split),
        (Fault::FirstRowSpecial, Law::Split),
        (Fault::MaskByRow, Law::DropoutKey),
        (Fault::MemoryShrinks, Law::MemoryGrows),
        (Fault::StateByBatch, Law::MemoryGrows),
        (Fault::CallsCounted, Law::Repeatable),
        (Fault::WatchedDiffers, Law::Repeatable),
        (Fault::InferenceDiffers, Law::ModesAgree),
        (Fault::WeightGradientOnlyWithInputGradient, Law::OptionalGradients),
        (Fault::FrozenStopsTheRest, Law::FrozenBlocks),
        (Fault::GainBoundTooLow, Law::GainBound),
        (Fault::GainBoundOfTheRow, Law::GainBound),
        (Fault::DoubleRoundedToSingle, Law::GenericBody),
        (Fault::RemainderLeftOut, Law::GenericBody),
        (Fault::DerivativeAtOutput, Law::Adjoint),
        (Fault::DerivativeForgotten, Law::Adjoint),
        (Fault::IgnoredInputRead, Law::IgnoredRows),
        (Fault::SavesByColumn, Law::SavedPerRow),
        (Fault::SavesMoreThanRows, Law::SavedPerRow),
        (Fault::IgnoredOutputReadInEvaluation, Law::IgnoredRows),
        (Fault::FirstStepsSaidToBeZero, Law::ShortGradients),
        (Fault::ZerosSaidToBeSkipped, Law::ShortGradients),
        (Fault::RowsTakenForOthers, Law::ShortGradients),
        (Fault::NextStepRead, Law::Causal),
    ];
    all_caught(
        "layers",
        all.map(|(fault, law)| caught(&format!("{fault:?}"), law, layer_laws(Layers::of(&Affine::new(fault)), 0))),
    );
}
