//! Ranks that are threads of one process.

use super::{Communicator, no_peer};
use crate::{
    clock::Clock,
    error::{Error, RankRule, require},
    size::grow,
};
use alloc::{sync::Arc, vec::Vec};
use core::{fmt, time::Duration};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One rank of a group of threads in one process.
///
/// Dropping a rank, also in a panic, ends its part in the group: calls of other ranks that need it then return an
/// error. A call that waits longer than the [deadline](Self::deadline) also returns an error.
pub struct Local<T> {
    rank: usize,
    group: Arc<Group<T>>,
    deadline: Duration,
}

/// The channels between the ranks of a group. The channel from rank a to rank b has the index `a · size + b` in
/// `links`, with `size` the number of ranks.
struct Group<T> {
    size: usize,
    links: Vec<Link<T>>,
}

/// A channel from one rank to another, which holds at most one message.
struct Link<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// The values of the message in the channel. Their memory is reused from message to message.
    values: Vec<T>,
    is_full: bool,
    /// The error for the other rank after the sender or the receiver of this channel has ended; `None` while both
    /// run.
    ended: Option<RankRule>,
}

/// The largest number of ranks in a group of threads.
const MOST: usize = 256;

impl<T> Local<T> {
    /// Creates a group of `size` ranks, one for each thread, and returns them in the order of their numbers. A call
    /// that waits for another rank fails after 60 s, unless [`deadline`](Self::deadline) sets another time.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `size` is from 1 to 256.
    pub fn new(size: usize) -> Result<Vec<Self>, Error> {
        require((1..=MOST).contains(&size), "the number of ranks", "from 1 to 256", size as f64)?;
        let link = || Link {
            state: Mutex::new(State { values: Vec::new(), is_full: false, ended: None }),
            changed: Condvar::new(),
        };
        let group = Arc::new(Group { size, links: (0..size * size).map(|_| link()).collect() });
        let rank = |rank| Local { rank, group: group.clone(), deadline: Duration::from_secs(60) };
        Ok((0..size).map(rank).collect())
    }

    /// Sets the time after which a call that waits for another rank returns an error. It must exceed the largest
    /// difference between the times that two ranks take for an update.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        // `Local` implements `Drop`, so its fields cannot be moved out.
        let mut rank = self;
        rank.deadline = deadline;
        rank
    }

    fn link(&self, from: usize, to: usize) -> &Link<T> {
        &self.group.links[from * self.group.size + to]
    }

    /// Waits until the channel `link` holds a message, if `full`, or holds none, if not. Returns the locked state of
    /// the channel. Returns an error if a rank of the channel has ended or the deadline has passed. `peer` is the
    /// number of the other rank.
    fn wait<'a>(&self, link: &'a Link<T>, full: bool, peer: usize) -> Result<MutexGuard<'a, State<T>>, Error> {
        let start = Clock::now();
        let mut state = link.lock();
        loop {
            if state.is_full == full {
                return Ok(state);
            }
            if let Some(ended) = &state.ended {
                return Err(ended.clone().into());
            }
            // Without a clock there is no deadline.
            let waited = start.map_or(Duration::ZERO, |start| Duration::from_secs_f64(start.seconds()));
            let left = self.deadline.saturating_sub(waited);
            if left.is_zero() {
                return Err(RankRule::Deadline { rank: peer, seconds: self.deadline.as_secs_f64() }.into());
            }
            let waited = link.changed.wait_timeout(state, left.min(Duration::from_secs(3600)));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Local<T> {
    /// Removes this rank from the group, and notifies the other ranks. They still receive messages that it has sent
    /// before.
    fn end(&self) {
        let ended = RankRule::Ended { rank: self.rank, panicked: std::thread::panicking() };
        for peer in (0..self.group.size).filter(|&peer| peer != self.rank) {
            for link in [self.link(self.rank, peer), self.link(peer, self.rank)] {
                link.lock().ended.get_or_insert(ended.clone());
                link.changed.notify_all();
            }
        }
    }
}

impl<T> Link<T> {
    /// Locks the state of the channel. No code panics between two changes of the state, so a poisoned lock protects a
    /// consistent state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Copy + Send> Communicator<T> for Local<T> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.group.size
    }

    /// Implements [`Communicator::exchange`]. After an error, except for an invalid `peer`, this rank has left the
    /// group. All further calls of this rank, and those of ranks that wait for it, then return errors. Otherwise the
    /// next exchange could read a message of the failed one.
    fn exchange(&self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error> {
        if peer == self.rank || peer >= self.group.size {
            return Err(no_peer(peer));
        }
        self.exchange_messages(peer, send, receive).inspect_err(|_| self.end())
    }
}

impl<T: Copy> Local<T> {
    fn exchange_messages(&self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error> {
        let link = self.link(self.rank, peer);
        let mut state = self.wait(link, false, peer)?;
        if let Some(ended) = &state.ended {
            return Err(ended.clone().into());
        }
        state.values.clear();
        grow("a message between ranks", &mut state.values, send.len())?;
        state.values.extend_from_slice(send);
        state.is_full = true;
        drop(state);
        link.changed.notify_all();
        let link = self.link(peer, self.rank);
        let mut state = self.wait(link, true, peer)?;
        let found = state.values.len();
        if found != receive.len() {
            return Err(RankRule::Message { rank: peer, expected: receive.len(), found }.into());
        }
        receive.copy_from_slice(&state.values);
        state.is_full = false;
        drop(state);
        link.changed.notify_all();
        Ok(())
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Local");
        shown.field("rank", &self.rank).field("size", &self.group.size).field("deadline", &self.deadline);
        shown.finish_non_exhaustive()
    }
}
