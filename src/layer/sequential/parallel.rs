//! Spans of layers of a [`Sequential`] that run in parallel: each thread takes some samples through all layers of a
//! span.
//!
//! A layer of a deep narrow network takes too little time to be divided among threads. Its samples are independent,
//! so threads need not synchronize before the end of a span of such layers. The backward pass keeps the gradients
//! between all layers of the span. Then one thread computes dW of a whole layer, with the same bits as without
//! threads.

use super::Sequential;
use crate::layer::{Backward, Context, Forward, InPlaceStep, Layer, Mode, Parameters, TrainableMask};
use crate::{
    batch_shape::BatchShape,
    kernel::{
        gemm::MULTIPLICATIONS_PER_NANOSECOND,
        parallel::part_count,
        prefetch::request,
        row_chain::{ChainBuffers, ChainStep, Direction, GRAIN, Widths, parallel_chain, parallel_segments},
        thread_pool::threads,
    },
    scalar::Scalar,
};
use core::ops::Range;

/// The largest number of parameters of a layer in a span (layers through which each thread takes some of the samples).
/// Each thread packs the weights for itself, which for a larger layer takes longer than a synchronization.
pub(super) const SMALL: usize = 1 << 15;

/// The room, in values, for the gradients between the layers of a span (layers through which each thread takes some of
/// the samples). In the backward pass a span has no more layers than fit. It is 256 KiB of `f32`, half of a level-2
/// cache.
const KEPT: usize = 1 << 16;

/// A range of layers, and the number of parts into which their samples are divided among threads.
pub(super) struct ParallelSpan {
    pub(super) layers: Range<usize>,
    parts: usize,
}

impl<T: Scalar> Sequential<T> {
    /// Returns the layers of `runs[i]`, a range of layers that can be in spans (layers through which each thread takes
    /// some samples). The last layer of the network is left out, since it writes the network's output.
    fn run(&self, i: usize) -> Range<usize> {
        self.runs[i].start..self.runs[i].end.min(self.layers.len() - 1)
    }

    /// Returns the consecutive layers around layer `i` that can be in spans (layers through which each thread takes
    /// some of the samples); `None` if layer `i` cannot be in a span.
    fn run_of(&self, i: usize) -> Option<Range<usize>> {
        let first = self.runs.partition_point(|run| run.end <= i);
        (first < self.runs.len()).then(|| self.run(first)).filter(|run| run.contains(&i))
    }

    /// Returns the number of parts into which `rows` rows should be divided among threads for the layers `layers`; 1
    /// if the layers take too little time to be divided.
    fn parts(&self, layers: Range<usize>, rows: usize) -> usize {
        // An elementwise value costs about as much as eight multiplications of a product.
        let columns = self.columns[layers.end] - self.columns[layers.start];
        let parameters = self.starts[layers.end] - self.starts[layers.start];
        let work = rows.saturating_mul(parameters.saturating_add(columns.saturating_mul(8)));
        // One part per thread, since each packs the weights for itself.
        part_count(rows.div_ceil(GRAIN), work / MULTIPLICATIONS_PER_NANOSECOND, 1)
    }

    /// Returns the scratch, in values, for spans (layers through which each thread takes some of the samples) in a pass
    /// over up to `rows` rows in `mode`, in addition to that of the layers. It holds the gradients between the layers
    /// of a span, and for each part of the samples the largest scratch of any layer plus a discarded weight gradient. 0
    /// without spans.
    fn room(&self, rows: usize, mode: Mode) -> usize {
        let parts = (0..self.runs.len()).map(|i| self.parts(self.run(i), rows)).max().unwrap_or(1);
        if parts == 1 {
            return 0;
        }
        let share = |i: usize| {
            let memory = self.layers[i].layer.memory(BatchShape::batch(rows), mode);
            // There is no memory for values that are not saved row by row.
            let by_row = memory.saved == self.saved(i..i + 1, rows) && memory.state == 0;
            by_row.then(|| memory.scratch.saturating_add(self.parameters(i).len()))
        };
        let mut layers = (0..self.runs.len()).flat_map(|i| self.run(i));
        let neediest = layers.try_fold(0, |most: usize, i| share(i).map(|share| most.max(share)));
        neediest.map_or(0, |neediest| parts.saturating_mul(neediest).saturating_add(KEPT))
    }

    /// Whether a pass over `shape` in `mode` with `scratch` values of scratch has spans, ranges of layers through
    /// which each thread takes some samples. It has if the pass has one time step, some layers take enough time to
    /// be divided among threads, and the scratch was sized for the threads.
    pub(super) fn has_parallel_spans(&self, shape: BatchShape<'_>, mode: Mode, scratch: usize) -> bool {
        shape.steps == 1 && threads() > 1 && (1..=scratch).contains(&self.room(shape.batch, mode))
    }

    /// Returns the scratch, in values, for spans (layers through which each thread takes some samples) of a pass
    /// over one time step of `shape`: passes of several time steps have no spans. It is in addition to the scratch
    /// of the layers; 0 if `mode` does not save.
    pub(super) fn parallel_scratch(&self, shape: BatchShape<'_>, mode: Mode) -> usize {
        if mode.saves() { self.room(shape.batch, mode) } else { 0 }
    }

    /// Returns the longest span (layers through which each thread takes some of the samples) that begins with layer
    /// `i` and whose output is kept for the backward pass, for a forward pass over `rows` rows. `None` if there is
    /// no such span, or it takes too little time to be divided among threads.
    pub(super) fn span_from(&self, i: usize, rows: usize) -> Option<ParallelSpan> {
        let end = (i + 1..self.run_of(i)?.end + 1).rfind(|&end| self.kept[end + 1] > self.kept[end])?;
        let layers = i..end;
        let parts = self.parts(layers.clone(), rows);
        (parts > 1).then_some(ParallelSpan { layers, parts })
    }

    /// Returns the longest span (layers through which each thread takes some of the samples) for a backward pass over
    /// `rows` rows. It ends with the last of the layers `layers` and begins within them, and its gradients between
    /// layers fit in [`KEPT`] values. `None` if there is no such span, or it takes too little time to be divided
    /// among threads.
    pub(super) fn span_before(&self, layers: Range<usize>, rows: usize) -> Option<ParallelSpan> {
        let end = layers.end;
        let run = self.run_of(end - 1)?;
        // As many layers as the memory for the gradients between them allows.
        let column = self.columns[end].saturating_sub(KEPT / rows.max(1));
        let start = self.columns[..end].partition_point(|&before| before < column).max(run.start).max(layers.start);
        let parts = self.parts(start..end, rows);
        // Threads divide dW by whole layers. A layer with half of all parameters is better divided on its own.
        let all = self.starts[end] - self.starts[start];
        let even = || (start..end).all(|i| parts * self.parameters(i).len() <= all);
        (parts > 1 && even()).then_some(ParallelSpan { layers: start..end, parts })
    }

    /// Runs the forward pass of a span with the network's parameters `w`, without a monitor. The slices of `pass` are
    /// those of the span alone. `pass.y` receives those outputs of its layers that the backward pass reads, in order;
    /// other outputs use the buffers `passing`.
    pub(super) fn forward_parallel(&self, w: &[T], span: &ParallelSpan, passing: [&mut [T]; 2], pass: Forward<'_, T>) {
        let Forward { x, y, saved, scratch, ctx: Context { shape, mode, dropout, path, .. }, .. } = pass;
        let (Range { start, end }, far) = (span.layers.clone(), self.is_far());
        let (size, made) = ([span.parts, shape.rows()], ChainBuffers { stored: y, temporary: passing, saved });
        parallel_chain(size, self.widths(start..end), Direction::Forward, x, made, scratch, |k, step| {
            let (i, mut no_monitor, ChainStep { rows: own, input: x, output: y, saved, scratch }) =
                (start + k - 1, (), step);
            let link = &self.layers[i];
            if far && self.multiplies(i) {
                let above = self.above(i);
                request([&w[self.starts[above.start]..self.starts[above.end]], &[], &[]]);
            }
            let (dropout, path) = (dropout.later(own.start), path.part(link.first_link));
            let ctx = Context::new(BatchShape::batch(own.len()), mode, &mut no_monitor);
            let pass = Forward::new(x, y, saved, scratch, Context { dropout, path, ..ctx });
            link.layer.forward(&w[self.parameters(i)], pass);
        });
    }

    /// Returns prefix sums over the layers `layers`, in values per row. `all`: widths of their inputs and of the last
    /// output. `stored`: the same widths, counting only activations that are kept for the backward pass. `saved`: the
    /// values that the layers themselves save.
    fn widths(&self, layers: Range<usize>) -> Widths<'_> {
        let Range { start, end } = layers;
        Widths {
            all: &self.columns[start..end + 2],
            stored: &self.kept[start..end + 2],
            saved: &self.saved[start..end + 1],
        }
    }

    /// Runs the backward pass of a span with the network's parameters `w`, without a monitor. The slices of `pass` are
    /// those of the span alone; `inner` has the kept inputs of all its layers except the first, whose input is
    /// `pass.x`.
    ///
    /// With plain gradient descent in place the parameters of the span are updated. Otherwise their gradient is written
    /// to `pass.dw`: added, or overwritten if `pass.overwrite_dw` is set.
    pub(super) fn backward_parallel(
        &self,
        w: &mut Parameters<'_, T>,
        span: &ParallelSpan,
        inner: &[T],
        pass: Backward<'_, T>,
    ) {
        let Backward { x, y, dy, dx, dw, saved, scratch, overwrite_dw, trainable, ctx, .. } = pass;
        let Context { shape, mode, dropout, path, .. } = ctx;
        let (Range { start, end }, parts, count) = (span.layers.clone(), span.parts, shape.rows());
        // A range of the input rows of layer i, if they are kept.
        let before = |i: usize, rows: &Range<usize>| {
            let all = match i {
                i if i == start => x,
                i if i == end => y,
                i => &inner[self.kept(start + 1..i, count)..],
            };
            let width = self.kept[i + 1] - self.kept[i];
            &all[rows.start * width..rows.end * width]
        };
        let (kept, scratch) = scratch.split_at_mut(KEPT);
        // The gradient of the first layer's input may not be requested.
        let lowest = if dx.is_some() { start } else { start + 1 };
        let (widths, weights, far) = (self.widths(lowest..end), w.read(), self.is_far());
        let widths = Widths { stored: widths.all, ..widths };
        let saved = &mut saved[self.saved(start..lowest, count)..];
        let made = ChainBuffers { stored: &mut *kept, temporary: [&mut [], &mut []], saved };
        parallel_chain([parts, count], widths, Direction::Backward, dy, made, scratch, |k, step| {
            let ChainStep { rows: own, input: dy, output: dx, saved, scratch } = step;
            let (i, mut no_monitor) = (lowest + k, ());
            let link = &self.layers[i];
            if far && self.multiplies(i) {
                request([&weights[self.starts[self.below(i).start]..self.starts[i]], &[], &[]]);
            }
            let (unwanted, scratch) = scratch.split_at_mut(self.parameters(i).len());
            let (rows, x, y) = (BatchShape::batch(own.len()), before(i, &own), before(i + 1, &own));
            let (dropout, path) = (dropout.later(own.start), path.part(link.first_link));
            let overwrite_dw = link.kept.hints.overwrites_dw;
            if !overwrite_dw {
                unwanted.fill(T::zero());
            }
            let ctx = Context { dropout, path, ..Context::new(rows, mode, &mut no_monitor) };
            let pass = Backward::new(x, y, dy, Some(dx), unwanted, saved, scratch, ctx);
            let pass = Backward { overwrite_dw, trainable: TrainableMask::NONE, ..pass };
            link.layer.backward(&weights[self.parameters(i)], pass);
        });
        // The gradient with respect to the input of layer i.
        let kept = |i: usize| &kept[self.values(i + 1..end, count)..][..self.values(i..i + 1, count)];
        if let Some(dx) = dx {
            dx.copy_from_slice(kept(start));
        }
        let (all, starts) = (0..count, &self.starts[start..end + 1]);
        let run = |i: usize, w: Parameters<'_, T>, dw: &mut [T], scratch: &mut [T]| {
            if dw.is_empty() {
                return;
            }
            let (link, mut no_monitor) = (&self.layers[i], ());
            let (x, y, dy) = (before(i, &all), before(i + 1, &all), if i + 1 == end { dy } else { kept(i + 1) });
            let (trainable, path) = (trainable.part(link.first_block), path.part(link.first_link));
            let ctx = Context { dropout, path, ..Context::new(shape, mode, &mut no_monitor) };
            let pass = Backward::new(x, y, dy, None, dw, &mut [], scratch, ctx);
            w.backward(&link.layer, Backward { overwrite_dw, trainable, ..pass });
        };
        match (w.plain_rate(), w) {
            // Each thread updates the parameters of its own layers.
            (Some(rate), Parameters::Update(w, _)) => {
                let w = &mut w[self.starts[start]..self.starts[end]];
                parallel_segments(parts, starts, w, scratch, |k, w, scratch| {
                    let (dw, scratch) = scratch.split_at_mut(w.len());
                    run(start + k, Parameters::Update(w, InPlaceStep::plain(rate)), dw, scratch);
                });
            }
            (_, w) => {
                let w = w.read();
                parallel_segments(parts, starts, dw, scratch, |k, dw, scratch| {
                    run(start + k, Parameters::Stay(&w[self.parameters(start + k)]), dw, scratch);
                });
            }
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::{
        activation::Tanh,
        kernel::thread_pool::ThreadPool,
        layer::{ActivationLayer, Linear},
    };

    #[test]
    fn needs_grow_with_batch_and_steps_with_threads_too() {
        let mut network = Sequential::<f32>::new(40);
        for _ in 0..30 {
            network.push(Linear::new(40, 40)).unwrap();
            network.push(ActivationLayer::new(40, Tanh)).unwrap();
        }
        let scratch = |shape| network.memory(shape, Mode::Train).scratch;
        let alone = scratch(BatchShape::batch(300));
        ThreadPool::new(3).unwrap().install(|| {
            for batch in 1..300 {
                assert!(scratch(BatchShape::batch(batch)) <= scratch(BatchShape::batch(batch + 1)), "{batch}");
                assert!(scratch(BatchShape::batch(batch)) <= scratch(BatchShape::sequences(batch, 2)), "{batch}");
            }
            assert!(scratch(BatchShape::batch(300)) > alone + KEPT, "there are spans");
        });
    }
}
