//! The connection of a rank with the other ranks; it counts the bytes and the time of messages.

use super::Communicator;
use crate::{clock::Clock, error::Error, monitor::progress::Communication};
use alloc::boxed::Box;

/// A communicator, the connection of a rank with the other ranks, that counts the bytes and the time of its messages.
#[derive(Debug)]
pub(super) struct Channel<T> {
    ranks: Box<dyn Communicator<T>>,
    /// \[number of this rank, counted from 0; number of ranks\], as the communicator reported them to `new`.
    place: [usize; 2],
    counted: Communication,
}

impl<T> Channel<T> {
    pub(super) fn new(ranks: impl Communicator<T> + 'static) -> Self {
        let place = [ranks.rank(), ranks.size()];
        Channel { ranks: Box::new(ranks), place, counted: Communication::default() }
    }

    pub(super) fn rank(&self) -> usize {
        self.place[0]
    }

    pub(super) fn size(&self) -> usize {
        self.place[1]
    }

    /// Calls [`Communicator::exchange`], and counts the bytes and the time of the message.
    pub(super) fn exchange(&mut self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error> {
        self.count(size_of_val(send), size_of_val(receive), |ranks| ranks.exchange(peer, send, receive))
    }

    /// Calls [`Communicator::broadcast`], and counts the bytes and the time of the message.
    pub(super) fn broadcast(&mut self, root: usize, values: &mut [T]) -> Result<(), Error> {
        let bytes = size_of_val(values);
        let [sent, received] = if root == self.rank() { [bytes, 0] } else { [0, bytes] };
        self.count(sent, received, |ranks| ranks.broadcast(root, values))
    }

    /// Returns the number of bytes and the seconds of all messages since the last call of this method.
    pub(super) fn take_counts(&mut self) -> Communication {
        core::mem::take(&mut self.counted)
    }

    /// Runs `call`, which sends and receives messages, and returns its result. Adds its time, and the bytes `sent`
    /// and `received`, to the counts.
    fn count<R>(&mut self, sent: usize, received: usize, call: impl FnOnce(&dyn Communicator<T>) -> R) -> R {
        let start = Clock::now();
        let result = call(&*self.ranks);
        self.counted.sent += sent as u64;
        self.counted.received += received as u64;
        self.counted.seconds += start.map_or(0.0, Clock::seconds);
        result
    }
}
