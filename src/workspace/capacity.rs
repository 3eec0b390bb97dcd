//! Capacities: the largest passes for which a workspace has memory.

use super::{Memory, forward::Pass};
use crate::{
    batch_shape::BatchShape,
    error::Error,
    kernel::{
        aligned::Aligned,
        thread_pool::{install, threads},
    },
    layer::{Layer, MemorySizes, Mode},
    scalar::Scalar,
    size::{reserve, room},
};
#[cfg(feature = "std")]
use crate::{error::require, kernel::thread_pool::ThreadPool};
use alloc::vec::Vec;

/// The largest number of threads that [`Workspace::set_threads`](super::Workspace::set_threads) accepts.
#[cfg(feature = "std")]
const THREADS: usize = 4096;

/// The largest pass for which a workspace has memory: its number of samples, of time steps of the longest sample, and
/// of rows (the time steps of all samples together).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Capacity {
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) rows: usize,
}

impl Capacity {
    /// Returns the smallest capacity within which a pass over `shape` lies.
    pub(super) fn of(shape: &BatchShape<'_>) -> Self {
        Capacity { batch: shape.batch, steps: shape.steps, rows: shape.rows() }
    }

    /// Whether memory for passes within this capacity is enough for all passes within the capacity `other`.
    pub(super) fn holds(&self, other: Self) -> bool {
        other.batch <= self.batch && other.steps <= self.steps && other.rows <= self.rows
    }

    /// Returns the lengths, in time steps, of the samples of the largest pass within this capacity. In it, as many
    /// samples as possible have `steps` time steps, and the rest at least 1; `None` if each sample has `steps` time
    /// steps.
    pub(super) fn lengths(&self) -> Result<Option<Vec<usize>>, Error> {
        let Capacity { batch, steps, rows } = *self;
        if rows >= batch.saturating_mul(steps) {
            return Ok(None);
        }
        let (mut lengths, mut left) = (reserve("the lengths of a pass", batch)?, rows.saturating_sub(batch));
        for _ in 0..batch {
            let more = left.min(steps - 1);
            lengths.push(1 + more);
            left -= more;
        }
        Ok(Some(lengths))
    }

    /// Returns the shape of the largest pass within this capacity. `lengths`, the result of
    /// [`lengths`](Self::lengths), are the numbers of time steps of its samples.
    pub(super) fn shape<'a>(&self, lengths: Option<&'a [usize]>) -> BatchShape<'a> {
        lengths.map_or(BatchShape::sequences(self.batch, self.steps), BatchShape::ragged)
    }
}

impl<T: Scalar> Memory<T> {
    /// Allocates the missing memory for passes within `capacity`, and if `trains` is set also for their backward
    /// passes. Input and output of the last pass are lost. On an error nothing changes.
    pub(super) fn make_room(&mut self, network: &dyn Layer<T>, capacity: Capacity, trains: bool) -> Result<(), Error> {
        let (lengths, dims) = (capacity.lengths()?, self.dims);
        let shape = capacity.shape(lengths.as_deref());
        shape.check()?;
        let after = network.output_shape(shape);
        let ([infer, train], threads) = self.memory_sizes(network, shape, trains);
        // All sizes must fit `usize`, even those that inference does not allocate, since a pass computes with them.
        let ins = room::<T>("the input of a pass (rows × width)", &[capacity.rows, dims.input])?;
        let outs = room::<T>("the output of a pass (rows × width)", &[after.rows(), dims.output])?;
        let states = room::<T>("the state of a pass (values of a sample × samples)", &[infer.state, capacity.batch])?;
        let (of_state, of_training) = ("the state of a pass", |values: usize| if trains { values } else { 0 });
        let most = self.capacities.iter().map(|capacity| capacity.batch).fold(capacity.batch, usize::max);
        let mut state = reserve(of_state, states.max(self.state.len()))?;
        state.extend_from_slice(&self.state);
        if !self.starts_from_state {
            state.resize(states.max(state.len()), T::zero());
        }
        let [lengths, of_segment] = [(); 2].map(|()| reserve("the lengths of a pass", most));
        let (lengths, of_segment) = (lengths?, of_segment?);
        let dx_values = if self.wants_input { of_training(ins) } else { 0 };
        let Memory { x, y, dy, dx, saved, scratch, state_end, d_state, d_state_end, .. } = &mut *self;
        let mut buffers = [
            (x, "the input of a pass", of_training(ins)),
            (y, "the output of a pass", outs),
            (dy, "the gradient of an output", of_training(outs)),
            (dx, "the gradient of an input", dx_values),
            (saved, "the values kept for a backward pass", train.saved),
            (scratch, "the scratch of a pass", infer.scratch.max(train.scratch)),
            (state_end, of_state, states),
            (d_state, of_state, of_training(states)),
            (d_state_end, of_state, of_training(states)),
        ]
        .map(|(buffer, what, len)| {
            let larger = (buffer.len() < len).then(|| Aligned::zeros(what, len)).transpose();
            (buffer, larger)
        });
        // No field changes before all allocations have succeeded.
        if let Some(error) = buffers.iter_mut().find_map(|(_, larger)| larger.as_mut().err()) {
            return Err(error.clone());
        }
        for (buffer, larger) in buffers {
            if let Ok(Some(larger)) = larger {
                *buffer = larger;
            }
        }
        (self.lengths, self.buffers.lengths, self.state) = (lengths, of_segment, state);
        self.capacities.retain(|other| !capacity.holds(*other));
        self.capacities.push(capacity);
        self.state_values = infer.state;
        (self.last, self.ready, self.scratch_threads) = (Pass::NONE, false, threads);
        Ok(())
    }

    pub(crate) fn reserve(&mut self, network: &dyn Layer<T>, capacity: Capacity) -> Result<(), Error> {
        if self.capacities.iter().any(|other| other.holds(capacity)) {
            return Ok(());
        }
        let trains = self.check_saves().is_ok();
        self.make_room(network, capacity, trains)
    }

    /// Returns (\[memory sizes for inference, memory sizes for training\], threads) of `network` for a pass over
    /// `shape`. The sizes for training are zeros unless `trains` is set. `threads` is the number of threads for which
    /// the sizes are computed.
    fn memory_sizes(
        &mut self,
        network: &dyn Layer<T>,
        shape: BatchShape<'_>,
        trains: bool,
    ) -> ([MemorySizes; 2], usize) {
        install(self.pool.as_mut(), || {
            let train = if trains { network.memory(shape, Mode::Train) } else { MemorySizes::default() };
            ([network.memory(shape, Mode::Infer), train], threads())
        })
    }

    #[cfg(feature = "std")]
    pub(super) fn set_threads(&mut self, network: &dyn Layer<T>, threads: usize) -> Result<(), Error> {
        require(threads > 0, "the number of threads", "at least 1", threads as f64)?;
        crate::size::at_most("the number of threads", threads, THREADS)?;
        let pool = (threads > 1).then(|| ThreadPool::new(threads)).transpose();
        let pool = pool.map_err(|error| Error::Threads { threads, reason: alloc::format!("{error}") })?;
        // The scratch depends on the number of threads: consecutive small layers run in each thread on its own
        // samples.
        let before = core::mem::replace(&mut self.pool, pool);
        let scratch = self.scratch_of_all(network).inspect_err(|_| self.pool = before)?;
        (self.scratch, self.scratch_threads) = scratch;
        Ok(())
    }

    /// Allocates scratch memory for all passes within the capacities of the workspace. Returns (the memory, the
    /// number of threads for which it suffices).
    #[cfg(feature = "std")]
    fn scratch_of_all(&mut self, network: &dyn Layer<T>) -> Result<(Aligned<T>, usize), Error> {
        let (trains, mut largest, mut most) = (self.check_saves().is_ok(), 0, 1);
        for i in 0..self.capacities.len() {
            let lengths = self.capacities[i].lengths()?;
            let shape = self.capacities[i].shape(lengths.as_deref());
            let ([infer, train], threads) = self.memory_sizes(network, shape, trains);
            (largest, most) = (largest.max(infer.scratch).max(train.scratch), threads);
        }
        Ok((Aligned::zeros("the scratch of a pass", largest)?, most))
    }
}
