//! Ranks of `chainrule` that are processes of an MPI job.
//!
//! ```no_run
//! use chainrule::distributed::DataParallel;
//! use chainrule_mpi::Mpi;
//! let rank = Mpi::new().expect("MPI is initialized once a process");
//! let parallel = DataParallel::<f32>::new(rank); // for `Trainer::set_data_parallel`
//! ```

use chainrule::{Error, RankRule, distributed::Communicator};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use mpi::{
    Count, Threading,
    environment::Universe,
    request::{Request, Scope},
    topology::SimpleCommunicator,
    traits::{Communicator as _, Destination as _, Equivalence, Source as _},
};
use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// This process as a rank of its MPI job.
///
/// It transfers `f32`, `f64`, `half::f16` and `half::bf16`, and each scalar of your own that is a [`Message`].
///
/// An exchange begins with the lengths of both messages, in messages that MPI buffers. A rank that does not send its
/// own before the [deadline](Self::deadline), or a wrong one, is an error. A peer that falls silent in the middle of a
/// message aborts the job at the deadline.
///
/// Dropping the rank tells the others, whose exchanges with it then fail at once with [`RankRule::Ended`], as those of
/// threads do. It waits until all have dropped theirs, for at most the deadline in all, and then aborts the job: the
/// deadline also covers the work of a rank after the training. So a rank that returns an error ends the job, and its
/// own `main` reports the cause. Dropping after another error of an exchange, or in a panic, aborts the job with status
/// 1: `MPI_Finalize` would wait for ranks that are gone.
pub struct Mpi {
    universe: Universe,
    world: SimpleCommunicator,
    deadline: Duration,
    /// The first error of an exchange.
    failed: OnceLock<Error>,
}

/// The tags of the two messages of an exchange.
const LENGTH: i32 = 1;
const VALUES: i32 = 2;

/// The length that a rank sends when it is dropped. No message is so long.
const ENDED: u64 = u64::MAX;

/// Questions for a message before the thread sleeps between them, and for how long it sleeps.
const SPINS: u64 = 1 << 10;
const PAUSE: Duration = Duration::from_micros(20);

impl Mpi {
    /// Initializes MPI. `None` if it was before, or if the library does not allow calls from several threads.
    ///
    /// The deadline is 60 s.
    pub fn new() -> Option<Self> {
        let (universe, threading) = mpi::initialize_with_threading(Threading::Multiple)?;
        let world = universe.world();
        let rank = Mpi { universe, world, deadline: Duration::from_secs(60), failed: OnceLock::new() };
        (threading == Threading::Multiple).then_some(rank)
    }

    /// Sets the time that a call waits for another rank. It must be longer than the ranks can differ in the time of a
    /// step.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Ends all processes of the job with status 1.
    fn abort(&self, reason: impl fmt::Display) -> ! {
        // One write, so that lines of ranks that print at once stay whole.
        let line = format!("rank {} aborts the job: {reason}\n", self.world.rank());
        eprint!("{line}");
        // A launcher may drop what a process wrote just before it ends the job.
        std::thread::sleep(Duration::from_millis(200));
        self.world.abort(1)
    }

    /// Calls `poll` until it returns a value or the deadline has passed since `start`; at least once.
    fn wait<R>(&self, peer: usize, start: Instant, mut poll: impl FnMut() -> Option<R>) -> Result<R, RankRule> {
        for turn in 0_u64.. {
            if let Some(found) = poll() {
                return Ok(found);
            }
            if start.elapsed() > self.deadline {
                break;
            }
            // A rank with a core of its own answers soon. Ranks that share one must leave it to the others.
            if turn > SPINS {
                std::thread::sleep(PAUSE);
            }
        }
        Err(RankRule::Deadline { rank: peer, seconds: self.deadline.as_secs_f64() })
    }

    /// Completes a request, or aborts the job at the deadline after `start`: memory in the hands of MPI cannot be given
    /// back.
    fn complete<'a, D: ?Sized, S: Scope<'a>>(&self, peer: usize, start: Instant, request: Request<'a, D, S>) {
        let mut pending = Some(request);
        let done = self.wait(peer, start, || {
            pending = pending.take()?.test().err();
            pending.is_none().then_some(())
        });
        if let Err(error) = done {
            self.abort(error);
        }
    }

    /// Returns the next length that `peer` has sent, if it has arrived.
    fn poll_length(&self, peer: usize) -> Option<u64> {
        let (length, _) = self.world.process_at_rank(peer as i32).immediate_matched_probe_with_tag(LENGTH)?;
        let mut found = 0_u64;
        length.matched_receive_into(&mut found);
        Some(found)
    }

    /// Tells all other ranks that this one has ended, and receives the lengths that they still send until they have
    /// ended too, since MPI needs a receiver for each message. It waits for all of them together, for at most the
    /// deadline. The end of rank `ended` was received before.
    fn close(&self, ended: Option<usize>) {
        let own = self.world.rank() as usize;
        let peers = (0..self.world.size() as usize).filter(|&peer| peer != own);
        let mut left: Vec<usize> = peers.collect();
        mpi::request::scope(|scope| {
            let to = |&peer: &usize| self.world.process_at_rank(peer as i32);
            let send = |peer: &usize| (*peer, to(peer).immediate_send_with_tag(scope, &ENDED, LENGTH));
            let mut sent: Vec<_> = left.iter().map(send).collect();
            left.retain(|&peer| Some(peer) != ended);
            let all_ended = self.wait(own, Instant::now(), || {
                sent = sent.drain(..).filter_map(|(peer, request)| Some((peer, request.test().err()?))).collect();
                left.retain(|&peer| self.poll_length(peer) != Some(ENDED));
                (left.is_empty() && sent.is_empty()).then_some(())
            });
            // `MPI_Finalize` would wait for them, also if they are gone.
            if all_ended.is_err() {
                // A rank whose end has come may still not have received that of this one.
                left.extend(sent.iter().map(|(peer, _)| *peer));
                left.sort_unstable();
                left.dedup();
                self.abort(format_args!("it has ended, but not the ranks {left:?} within {:?}", self.deadline));
            }
        });
    }

    fn exchange<T: Equivalence>(&self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error> {
        if peer >= self.world.size() as usize || peer == self.world.rank() as usize {
            let (what, expected) = ("the rank of an exchange", "another rank of the group");
            return Err(Error::Parameter { what, expected, found: peer as f64 });
        }
        if send.len().max(receive.len()) > Count::MAX as usize {
            let (what, factors) = ("a message over MPI".into(), vec![send.len().max(receive.len())]);
            return Err(Error::TooLarge { what, factors, limit: Count::MAX as usize });
        }
        let other = self.world.process_at_rank(peer as i32);
        // STEP 1: the lengths, in bytes: ranks may differ in the type of their values.
        let (own, start) = (size_of_val(send) as u64, Instant::now());
        let found = mpi::request::scope(|scope| {
            let sent = other.immediate_send_with_tag(scope, &own, LENGTH);
            let found = self.wait(peer, start, || self.poll_length(peer));
            // MPI buffers a message of one value, so that it is sent already. A connection that does not take it leads
            // to a rank that stands still.
            self.complete(peer, start, sent);
            found
        })?;
        if found == ENDED {
            return Err(RankRule::Ended { rank: peer, panicked: false }.into());
        }
        if found != size_of_val(receive) as u64 {
            let (expected, found) = (receive.len(), (found as usize).div_ceil(size_of::<T>()));
            return Err(RankRule::Message { rank: peer, expected, found }.into());
        }
        // STEP 2: the values, both ways at once.
        mpi::request::scope(|scope| {
            let received = other.immediate_receive_into_with_tag(scope, receive, VALUES);
            let sent = other.immediate_send_with_tag(scope, send, VALUES);
            let start = Instant::now();
            self.complete(peer, start, received);
            self.complete(peer, start, sent);
        });
        Ok(())
    }
}

/// A number that MPI transfers as values of a type of its own.
///
/// Implement it for a scalar of your own: `Sent` is the type itself if it is [`Equivalence`], otherwise its bits.
pub trait Message: Sized {
    /// The values that are sent.
    type Sent: Equivalence;

    /// Returns `values` as they are sent.
    fn sent(values: &[Self]) -> &[Self::Sent];

    /// Returns `values` as memory for values that are received.
    fn received(values: &mut [Self]) -> &mut [Self::Sent];
}

macro_rules! message {
    ($number:ty, $bits:ty, $values:ident, $sent:expr, $received:expr) => {
        impl Message for $number {
            type Sent = $bits;

            fn sent($values: &[Self]) -> &[$bits] {
                $sent
            }

            fn received($values: &mut [Self]) -> &mut [$bits] {
                $received
            }
        }
    };
}

message!(f32, f32, values, values, values);
message!(f64, f64, values, values, values);
message!(f16, u16, values, values.reinterpret_cast(), values.reinterpret_cast_mut());
message!(bf16, u16, values, values.reinterpret_cast(), values.reinterpret_cast_mut());

impl<T: Message> Communicator<T> for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(&self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error> {
        // A message may be left from which a later exchange would take wrong values.
        if let Some(error) = self.failed.get() {
            return Err(error.clone());
        }
        Mpi::exchange(self, peer, T::sent(send), T::received(receive)).inspect_err(|error| {
            let _ = self.failed.set(error.clone());
        })
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort("it panicked");
        }
        match self.failed.get() {
            None => self.close(None),
            Some(Error::Ranks(RankRule::Ended { rank, .. })) => self.close(Some(*rank)),
            Some(error) => self.abort(error),
        }
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mpi");
        shown.field("rank", &self.world.rank()).field("size", &self.world.size()).field("deadline", &self.deadline);
        shown.field("buffer", &self.universe.buffer_size()).finish_non_exhaustive()
    }
}
