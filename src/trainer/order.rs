//! The order of the samples of an epoch.

use super::TrainConfig;
use crate::{error::Error, random::shuffle, size::grow};
use alloc::vec::Vec;
use core::ops::Range;

/// The number of samples in a chunk (a range of samples whose order is computed at once) if the samples are not
/// shuffled.
const IN_ORDER: usize = 1 << 16;

/// The order of the samples of an epoch, shuffled or not. It is computed for one chunk, a range of consecutive
/// samples, at a time.
#[derive(Debug, Default)]
pub(super) struct Order {
    samples: usize,
    /// The number of samples in a chunk, a range of consecutive samples whose order is computed at once.
    chunk: usize,
    /// The seed of the shuffle; `None` without a shuffle.
    seed: Option<u64>,
    epoch: u64,
    /// The indices of the chunks (ranges of consecutive samples) in shuffled order; empty if the samples are not
    /// shuffled.
    chunks: Vec<usize>,
    /// The number of chunks (ranges of consecutive samples) of this epoch from which updates have started to take
    /// samples.
    begun: usize,
    /// The sample indices of the current chunk (a range of consecutive samples), in the order in which updates take
    /// them.
    within: Vec<usize>,
    /// The number of samples of the current chunk (a range of consecutive samples) that updates have taken.
    taken: usize,
    /// The indices of the samples of the last update that [`next`](Self::next) returned.
    group: Vec<usize>,
}

impl Order {
    /// Begins an epoch over `samples` samples. The number of the epoch, `epoch`, counted from 0, and the seed in the
    /// settings determine the shuffle.
    pub(super) fn begin(&mut self, samples: usize, settings: &TrainConfig, epoch: u64) -> Result<(), Error> {
        self.samples = samples;
        let chunk = if settings.shuffle { settings.shuffle_block.unwrap_or(samples) } else { IN_ORDER };
        self.chunk = chunk.min(samples);
        self.seed = settings.shuffle.then_some(settings.seed);
        (self.epoch, self.begun, self.taken) = (epoch, 0, 0);
        self.within.clear();
        self.chunks.clear();
        if let Some(seed) = self.seed {
            let count = samples.div_ceil(self.chunk);
            grow("the order of the chunks", &mut self.chunks, count)?;
            self.chunks.extend(0..count);
            shuffle(&mut self.chunks, !seed, epoch);
        }
        Ok(())
    }

    /// Returns the indices of the samples of the next update, at most `size`; `None` at the end of the epoch.
    pub(super) fn next(&mut self, size: usize) -> Result<Option<&[usize]>, Error> {
        self.group.clear();
        grow("the samples of an update", &mut self.group, size.min(self.samples))?;
        while self.group.len() < size {
            if self.taken == self.within.len() && !self.begin_chunk()? {
                break;
            }
            let end = self.within.len().min(self.taken.saturating_add(size - self.group.len()));
            self.group.extend_from_slice(&self.within[self.taken..end]);
            self.taken = end;
        }
        Ok(if self.group.is_empty() { None } else { Some(&self.group) })
    }

    /// Computes the order of the samples of the next chunk, a range of consecutive samples. Returns `false` if there
    /// is no further chunk.
    fn begin_chunk(&mut self) -> Result<bool, Error> {
        let next = match self.seed {
            Some(_) => self.chunks.get(self.begun).copied(),
            None => Some(self.begun).filter(|&chunk| chunk < self.samples.div_ceil(self.chunk)),
        };
        let Some(chunk) = next else { return Ok(false) };
        let first = chunk * self.chunk;
        let samples: Range<usize> = first..self.samples.min(first + self.chunk);
        self.within.clear();
        grow("the order of the samples", &mut self.within, samples.len())?;
        self.within.extend(samples);
        if let Some(seed) = self.seed {
            let seed = seed.wrapping_add((chunk as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            shuffle(&mut self.within, seed, self.epoch);
        }
        (self.begun, self.taken) = (self.begun + 1, 0);
        Ok(true)
    }
}
