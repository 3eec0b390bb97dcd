//! Mistakes beyond the sizes, modes, steps and inputs at which the laws were tested before, and right parts close to
//! them: layers.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Block, Error, Layer, Mode, Role, Scalar,
    activation::Tanh,
    layer::{Backward, Dims, DropoutKey, Forward, Hints, LayerSpec, MemorySizes, Samples, Structure},
    monitor::Factor,
    rand_core::Rng,
    random::{generator, uniform},
    scalar,
    testing::{Dual, Law, LayerCases, Layers, layer_laws_with},
    to_f64,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `y = w ⊙ x`, or another map, and its mistake. `Tail` is from the row [`TAIL`] on, `Many` a batch with such rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    Scaled,
    /// Values saved for each row, one row after the other.
    SavedByRow,
    /// In inference the product is computed in another order.
    InferredOtherwise,
    Masked,
    Counted,
    Averaged,
    Halved,
    Rectified,
    TwoLinks,
    /// Its backward pass on dual numbers panics.
    DualPanics,
    /// Its backward pass on dual numbers computes in `f64`.
    DualWithoutTangent,
    // Wrong.
    TailAddsDx,
    TailAddsY,
    ManyAssignDw,
    ManyReadScratch,
    ManyHalveDwWithoutDx,
    ManyAddWhereOverwritten,
    SavedInTiles,
    ManyWatchedHalved,
    SoftmaxInferredWithoutMaximum,
    LargeCutInEvaluation,
    TailInferredHalved,
    DualHalved,
    CountsItsAnswers,
    RectifiedToldAsTanh,
    TwoLinksOtherEnd,
    SampleOfOneByte,
    StepOfTwoBytes,
    SeedOfFourBytes,
    FiveSamplesMixed,
    InferredStateRounded,
    AveragedInSingle,
    HalvedLooksAhead,
    BoundedTooLittleFromSix,
}

use Kind::*;

const WIDTH: usize = 3;
const TAIL: usize = 12;

static ANSWERS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct Beyond(Kind);

/// The counter of `CountsItsAnswers` is a part of the text.
impl std::fmt::Debug for Beyond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = if self.0 == CountsItsAnswers { ANSWERS.fetch_add(1, Relaxed) } else { 0 };
        write!(f, "Beyond({:?}, {count})", self.0)
    }
}

fn is_single<T: Scalar>() -> bool {
    size_of::<T>() == 4
}

fn is_dual<T: Scalar>() -> bool {
    size_of::<T>() > 8
}

impl Beyond {
    fn is_recurrent(self) -> bool {
        matches!(self.0, InferredStateRounded | BoundedTooLittleFromSix)
    }

    fn is_masked(self) -> bool {
        matches!(self.0, Masked | SampleOfOneByte | StepOfTwoBytes | SeedOfFourBytes)
    }

    fn halves(self) -> bool {
        matches!(self.0, Halved | HalvedLooksAhead)
    }

    fn has_weights(self) -> bool {
        !self.is_recurrent()
            && !self.is_masked()
            && !self.halves()
            && !matches!(self.0, SoftmaxInferredWithoutMaximum | Rectified | RectifiedToldAsTanh | Averaged)
            && self.0 != AveragedInSingle
    }

    /// The place of a value that is saved for the backward pass.
    fn place(self, rows: usize, row: usize, column: usize) -> usize {
        if self.0 == SavedByRow {
            return row * WIDTH + column;
        }
        let (tile, within) = (row / 8, row % 8);
        tile * 8 * WIDTH + column * (rows - 8 * tile).min(8) + within
    }

    /// The factor of each value by its mask.
    fn mask<T: Scalar>(self, shape: BatchShape<'_>, key: DropoutKey, at: [usize; 2], place: usize) -> T {
        let (row, column) = (at[0], at[1]);
        let (mut seed, mut step) = (key.seed, key.step);
        let places = (0..shape.steps).flat_map(|time| (0..shape.batch).map(move |sample| (time, sample)));
        let mut places = places.filter(|&(time, sample)| time < shape.length(sample));
        let (time, sample) = places.nth(row).expect("a row of the batch");
        let mut sample = key.first_sample + sample as u64;
        match self.0 {
            SampleOfOneByte => sample &= 0xFF,
            StepOfTwoBytes => step = (step as u16).into(),
            SeedOfFourBytes => seed = (seed as u32).into(),
            _ => {}
        }
        let parts = [seed, step, sample, column as u64, time as u64, place as u64];
        let mixed = parts.into_iter().fold(0x9E37_79B9_7F4A_7C15u64, |mixed, part| {
            let mixed = (mixed ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed ^ (mixed >> 31)
        });
        if uniform(&mut generator(mixed)) < 0.5 { T::zero() } else { scalar(2.0) }
    }
}

impl<T: Scalar> Layer<T> for Beyond {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, WIDTH, if self.has_weights() { WIDTH } else { 0 })
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        if self.has_weights() {
            visit(Block::new("gain", 0, [WIDTH, 1], Role::Gain));
        }
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        w.iter_mut().for_each(|w| *w = scalar(0.5 + uniform(rng)));
        Ok(())
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let saves = matches!(self.0, SavedByRow | SavedInTiles) && mode != Mode::Infer;
        let state = if self.is_recurrent() { WIDTH } else { 0 };
        let scratch = usize::from(self.0 == ManyReadScratch);
        let sizes = MemorySizes::new(if saves { shape.rows() * WIDTH } else { 0 }, scratch, state);
        if matches!(self.0, Averaged | AveragedInSingle) { sizes.buffers(WIDTH) } else { sizes }
    }

    fn hints(&self) -> Hints {
        match self.0 {
            SavedByRow | SavedInTiles => Hints::NONE.saved_per_row().ignores_x(),
            ManyAddWhereOverwritten => Hints::NONE.overwrites_dw(),
            _ => Hints::NONE,
        }
    }

    fn structure(&self) -> Structure<'_, T> {
        match self.0 {
            TwoLinks | TwoLinksOtherEnd => Structure::LEAF.links(&["", "sign"]),
            _ => Structure::LEAF,
        }
    }

    fn samples(&self) -> Samples {
        // Rows of unequal lengths are not told apart.
        if self.halves() { Samples::Coupled } else { Samples::Independent }
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        // Of two steps each, as far as there are any.
        if self.halves() { BatchShape::sequences(shape.batch, (shape.steps / 2).max(1)) } else { shape }
    }

    fn state_gain_bounds(&self, _: &[T], shape: BatchShape<'_>) -> Option<Vec<f64>> {
        let bound = |k: usize| 0.5f64.powi(k as i32) * if k > 5 { 0.5 } else { 1.0 };
        (self.0 == BoundedTooLittleFromSix).then(|| (0..=shape.steps).map(bound).collect())
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Custom { kind: "Beyond".into(), dims: Layer::<T>::dims(self), settings: format!("{self:?}") }
    }

    fn forward(&self, w: &[T], mut pass: Forward<'_, T>) {
        let (kind, mode, shape) = (self.0, pass.ctx.mode, pass.ctx.shape);
        let rows = pass.x.len() / WIDTH;
        let many = rows > TAIL;
        if self.is_recurrent() {
            return self.unroll(pass);
        }
        if self.halves() {
            let batch = shape.batch;
            for (k, y) in pass.y.chunks_mut(batch * WIDTH).enumerate() {
                for (i, y) in y.iter_mut().enumerate() {
                    let at = |step: usize| pass.x.get(step * batch * WIDTH + i).copied().unwrap_or(T::zero());
                    let other = if kind == HalvedLooksAhead { 2 * k + 2 } else { 2 * k + 1 };
                    *y = at(2 * k) + if other < shape.steps { at(other) } else { T::zero() };
                }
            }
            return pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
        }
        let mean: Vec<T> = {
            let count = scalar::<T>(rows as f64);
            (0..WIDTH)
                .map(|j| pass.x.iter().skip(j).step_by(WIDTH).fold(T::zero(), |sum, &x| sum + x) / count)
                .collect()
        };
        if let (Averaged | AveragedInSingle, Some(buffers)) = (kind, pass.ctx.buffers_to_update()) {
            // A tenth of the mean; in `f32` all of it.
            let share = scalar::<T>(if kind == AveragedInSingle && is_single::<T>() { 1.0 } else { 0.1 });
            buffers.iter_mut().zip(&mean).for_each(|(kept, &mean)| *kept += share * (mean - *kept));
        }
        for row in 0..rows {
            let x = &pass.x[row * WIDTH..][..WIDTH];
            for j in 0..WIDTH {
                let i = row * WIDTH + j;
                let plain = if self.has_weights() { w[j] * x[j] } else { x[j] };
                let y = match kind {
                    InferredOtherwise if mode == Mode::Infer => (x[j] + x[j]) * w[j] * scalar(0.5),
                    SoftmaxInferredWithoutMaximum => {
                        let most = x.iter().fold(T::neg_infinity(), |most, &x| most.max(x));
                        let most = if mode == Mode::Infer { T::zero() } else { most };
                        let total = x.iter().fold(T::zero(), |sum, &x| sum + (x - most).exp());
                        (x[j] - most).exp() / total
                    }
                    TailAddsY if row >= TAIL => pass.y[i] + plain,
                    ManyReadScratch if many => plain + pass.scratch[0],
                    TailInferredHalved if row >= TAIL && mode == Mode::Infer => plain * scalar(0.5),
                    FiveSamplesMixed if shape.batch == 5 => plain + pass.x[(i + WIDTH) % pass.x.len()],
                    Rectified | RectifiedToldAsTanh => x[j].max(T::zero()),
                    TwoLinks | TwoLinksOtherEnd => -plain,
                    _ if self.is_masked() && pass.ctx.draws_masks() => {
                        x[j] * self.mask(shape, pass.ctx.dropout, [row, j], pass.ctx.path.index())
                    }
                    _ => plain,
                };
                pass.y[i] = y;
                if matches!(kind, SavedByRow | SavedInTiles) && mode != Mode::Infer {
                    pass.saved[self.place(rows, row, j)] = x[j];
                }
            }
        }
        match kind {
            RectifiedToldAsTanh => pass.ctx.report_activation(Some(&Tanh), pass.x, pass.y),
            Rectified => pass.ctx.report_activation(Some(&chainrule::activation::Relu), pass.x, pass.y),
            TwoLinks | TwoLinksOtherEnd => {
                let between: Vec<T> = pass.y.iter().map(|&y| -y).collect();
                pass.ctx.part(0).report_forward(Factor::Weights, pass.x, &between);
                let end = if kind == TwoLinksOtherEnd { &between[..] } else { &*pass.y };
                pass.ctx.part(1).report_forward(Factor::Other, &between, end);
            }
            _ => pass.ctx.report_forward(Factor::Other, pass.x, pass.y),
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (kind, mode, shape) = (self.0, pass.ctx.mode, pass.ctx.shape);
        if self.is_recurrent() {
            return self.unroll_back(pass);
        }
        let Backward { x, y, dy, dx, dw, saved, overwrite_dw, mut ctx, .. } = pass;
        assert!(!(kind == DualPanics && is_dual::<T>()), "no gradient of dual numbers");
        if self.halves() {
            let Some(dx) = dx else { return };
            let batch = shape.batch;
            dx.fill(T::zero());
            for (k, dy) in dy.chunks(batch * WIDTH).enumerate() {
                for (i, &dy) in dy.iter().enumerate() {
                    let other = if kind == HalvedLooksAhead { 2 * k + 2 } else { 2 * k + 1 };
                    for step in [2 * k, other].into_iter().filter(|&step| step < shape.steps) {
                        if let Some(dx) = dx.get_mut(step * batch * WIDTH + i) {
                            *dx += dy;
                        }
                    }
                }
            }
            return ctx.report_backward(Factor::Other, dy, dx);
        }
        let rows = dy.len() / WIDTH;
        let (many, watched, wanted) = (rows > TAIL, ctx.monitor.is_active(), dx.is_some());
        let mut own = vec![T::zero(); dy.len()];
        let dx: &mut [T] = match dx {
            Some(dx) => dx,
            None => &mut own,
        };
        let (mut sums, half) = (vec![T::zero(); dw.len()], scalar::<T>(0.5));
        for row in 0..rows {
            for j in 0..WIDTH {
                let i = row * WIDTH + j;
                let x_here = match kind {
                    SavedByRow | SavedInTiles => saved[self.place(rows, row, j)],
                    _ => x[i],
                };
                let factor = match kind {
                    Rectified | RectifiedToldAsTanh => {
                        if x[i] > T::zero() {
                            T::one()
                        } else {
                            T::zero()
                        }
                    }
                    TwoLinks | TwoLinksOtherEnd => -w[j],
                    _ if self.is_masked() && ctx.draws_masks() => {
                        self.mask(shape, ctx.dropout, [row, j], ctx.path.index())
                    }
                    _ if self.has_weights() => w[j],
                    _ => T::one(),
                };
                let mut slope = dy[i] * factor;
                if kind == SoftmaxInferredWithoutMaximum {
                    let of = row * WIDTH..(row + 1) * WIDTH;
                    let dot = y[of.clone()].iter().zip(&dy[of]).fold(T::zero(), |sum, (&y, &dy)| sum + y * dy);
                    slope = y[i] * (dy[i] - dot);
                }
                dx[i] = match kind {
                    TailAddsDx if row >= TAIL => dx[i] + slope,
                    ManyWatchedHalved if many && watched && row == TAIL => slope * half,
                    LargeCutInEvaluation if mode == Mode::Evaluate && x[i].abs() > scalar(10.0) => T::zero(),
                    DualHalved if is_dual::<T>() => slope * half,
                    DualWithoutTangent => scalar(to_f64(slope)),
                    FiveSamplesMixed if shape.batch == 5 => {
                        let before = (i + dy.len() - WIDTH) % dy.len();
                        slope + dy[before]
                    }
                    _ => slope,
                };
                if let Some(sum) = sums.get_mut(j) {
                    let sign = if matches!(kind, TwoLinks | TwoLinksOtherEnd) { -T::one() } else { T::one() };
                    *sum += sign * dy[i] * x_here;
                }
            }
        }
        for (dw, sum) in dw.iter_mut().zip(sums) {
            let overwrites = kind == ManyAddWhereOverwritten && overwrite_dw && !many;
            let sum = if kind == ManyHalveDwWithoutDx && many && !wanted { sum * half } else { sum };
            let sum = if kind == DualWithoutTangent { scalar(to_f64(sum)) } else { sum };
            *dw = if (kind == ManyAssignDw && many) || overwrites { sum } else { *dw + sum };
        }
        match kind {
            Rectified => ctx.report_activation_gradient(Some(&chainrule::activation::Relu), dy, dx),
            RectifiedToldAsTanh => ctx.report_activation_gradient(Some(&Tanh), dy, dx),
            TwoLinks | TwoLinksOtherEnd => {
                let between: Vec<T> = dy.iter().map(|&dy| -dy).collect();
                ctx.part(1).report_backward(Factor::Other, dy, &between);
                ctx.part(0).report_backward(Factor::Weights, &between, dx);
            }
            _ => ctx.report_backward(Factor::Other, dy, dx),
        }
    }
}

impl Beyond {
    /// `s_t = s_{t−1}/2 + x_t`, which is also the output.
    fn unroll<T: Scalar>(self, pass: Forward<'_, T>) {
        let (batch, steps) = (pass.ctx.shape.batch, pass.ctx.shape.steps);
        let shape = pass.ctx.shape;
        let state = pass.state.final_state;
        match pass.state.initial_state {
            Some(first) => state.copy_from_slice(first),
            None => state.fill(T::zero()),
        }
        for step in 0..steps {
            for sample in (0..batch).filter(|&sample| step < shape.length(sample)) {
                let row = shape.row(step, sample);
                for j in 0..WIDTH {
                    let kept = &mut state[sample * WIDTH + j];
                    *kept = *kept * scalar(0.5) + pass.x[row * WIDTH + j];
                    pass.y[row * WIDTH + j] = *kept;
                }
            }
        }
        if self.0 == InferredStateRounded && pass.ctx.mode == Mode::Infer {
            state.iter_mut().for_each(|kept| *kept = scalar((to_f64(*kept) * 1e13).round() / 1e13));
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn unroll_back<T: Scalar>(self, pass: Backward<'_, T>) {
        let shape = pass.ctx.shape;
        let mut carried = vec![T::zero(); shape.batch * WIDTH];
        if let Some(last) = pass.state.d_final_state {
            carried.copy_from_slice(last);
        }
        let mut own = vec![T::zero(); pass.dy.len()];
        let dx: &mut [T] = match pass.dx {
            Some(dx) => dx,
            None => &mut own,
        };
        for step in (0..shape.steps).rev() {
            for sample in (0..shape.batch).filter(|&sample| step < shape.length(sample)) {
                let row = shape.row(step, sample);
                for j in 0..WIDTH {
                    let kept = &mut carried[sample * WIDTH + j];
                    let slope = *kept + pass.dy[row * WIDTH + j];
                    dx[row * WIDTH + j] = slope;
                    *kept = slope * scalar(0.5);
                }
            }
        }
        if let Some(first) = pass.state.d_initial_state {
            first.copy_from_slice(&carried);
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

pub fn entries() -> Vec<Entry> {
    let judge = |kind: Kind| {
        move |seed| -> Verdict {
            let layer = Beyond(kind);
            let shapes: &[BatchShape<'_>] =
                if kind == FiveSamplesMixed { &[BatchShape::batch(5), BatchShape::sequences(5, 3)] } else { &[] };
            let layers = Layers { single: &layer, double: &layer, dual: &layer as &dyn Layer<Dual<f64>> };
            layer_laws_with(layers, LayerCases { shapes, ..LayerCases::default() }, seed)
        }
    };
    let right = [
        Scaled,
        SavedByRow,
        InferredOtherwise,
        Masked,
        Counted,
        Averaged,
        Halved,
        Rectified,
        TwoLinks,
        DualPanics,
        DualWithoutTangent,
    ];
    let wrong = [
        (TailAddsDx, Law::Overwrites),
        (TailAddsY, Law::Overwrites),
        (ManyAssignDw, Law::Accumulates),
        (ManyReadScratch, Law::ReadsOnlyWritten),
        (ManyHalveDwWithoutDx, Law::OptionalGradients),
        (ManyAddWhereOverwritten, Law::Overwrites),
        (SavedInTiles, Law::SavedPerRow),
        (ManyWatchedHalved, Law::Repeatable),
        (SoftmaxInferredWithoutMaximum, Law::ModesAgree),
        (LargeCutInEvaluation, Law::Adjoint),
        (TailInferredHalved, Law::ModesAgree),
        (DualHalved, Law::GenericBody),
        (CountsItsAnswers, Law::Repeatable),
        (RectifiedToldAsTanh, Law::ReportsLinks),
        (TwoLinksOtherEnd, Law::ReportsLinks),
        (SampleOfOneByte, Law::DropoutKey),
        (StepOfTwoBytes, Law::DropoutKey),
        (SeedOfFourBytes, Law::DropoutKey),
        (FiveSamplesMixed, Law::Split),
        (InferredStateRounded, Law::Stepped),
        (AveragedInSingle, Law::Precision),
        (HalvedLooksAhead, Law::Causal),
        (BoundedTooLittleFromSix, Law::GainBound),
    ];
    let mut list: Vec<Entry> =
        right.into_iter().map(|kind| Entry::right(format!("beyond/{kind:?}"), judge(kind))).collect();
    list.extend(wrong.into_iter().map(|(kind, law)| Entry::wrong(format!("beyond/{kind:?}"), law, judge(kind))));
    list
}
