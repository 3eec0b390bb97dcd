//! Data-parallel training: several ranks, each with a copy of the network, compute the gradient of different samples
//! of every batch.
//!
//! Floating-point addition is not associative, so the result of a sum over ranks depends on how the terms are
//! divided. Here each batch is divided into a fixed number of shards, whatever the number of ranks. The gradients
//! within each shard are summed, and these sums are added along one binary tree:
//!
//! ```text
//! g = ((g₀ + g₁) + (g₂ + g₃)) + ((g₄ + g₅) + (g₆ + g₇))
//! ```
//!
//! A rank has consecutive shards, and adds the subtrees that lie within them. The rest of the tree is added between
//! ranks. So any number of ranks and threads gives the same bits, after any number of updates.
//!
//! One pass processes the largest subtree of the rank's shards that has at most `batch_size` samples. Within it only
//! sums over rows, such as the gradient of the parameters, are computed shard by shard. Each shard has a pass of its
//! own instead:
//! - in a network with a layer of your own, [`BatchNorm`](crate::layer::BatchNorm),
//!   [`Embedding`](crate::layer::Embedding), [`GatedLinear`](crate::layer::GatedLinear),
//!   [`Bidirectional`](crate::recurrent::Bidirectional) or [`Checkpointed`](crate::recurrent::Checkpointed);
//! - for sequences of unequal length, with a target for each time step, or with a layer, other than a recurrent one,
//!   that has parameters and runs at each time step;
//! - if a shard has total weight 0, for example because it has no samples.
//!
//! ```
//! use chainrule::{Error, dataset::Dataset, distributed::{DataParallel, Local}, layer::Sequential};
//! use chainrule::{loss::{MeanSquaredError, Target}, trainer::{TrainConfig, Trainer}, transform::Adam};
//! let train = |rank: Local<f64>| -> Result<Vec<f64>, Error> {
//!     let (x, y) = ([0.1, 0.9, 0.4, 0.7, 0.2, 0.8], [0.3, 0.5, 0.6]);
//!     let data = Dataset::rows(2, &x, Target::Values(&y))?;
//!     let network = Sequential::input(2).linear(1).build()?;
//!     let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.01), TrainConfig::default())?;
//!     trainer.set_data_parallel(DataParallel::new(rank))?;
//!     trainer.fit(&data)?;
//!     Ok(trainer.parameters().to_vec())
//! };
//! let run = |ranks: usize| -> Result<Vec<f64>, Error> {
//!     let group = Local::new(ranks)?;
//!     std::thread::scope(|scope| {
//!         let ranks: Vec<_> = group.into_iter().map(|rank| scope.spawn(|| train(rank))).collect();
//!         ranks.into_iter().map(|rank| rank.join().unwrap()).next().unwrap()
//!     })
//! };
//! assert_eq!(run(1)?, run(2)?);
//! # Ok::<(), Error>(())
//! ```
//!
//! | property | here |
//! | --- | --- |
//! | the update, if no layer couples samples | that of the whole batch, `Σ w ∇ℓ / Σ w` |
//! | the update of PyTorch, if set | the [mean of means](DataParallel::mean_of_means) |
//! | clipping, `SkipNonFinite`, schedule, average | after the sum over ranks, the same on each rank |
//! | data | all ranks hold the same data set, and each runs its own shards |
//! | data in files | a rank reads inputs, targets and weights only of its own shards; the sizes are compared |
//! | validation, evaluation, prediction | each rank computes all of it; the loss of a validation must be equal |
//! | monitors, `forward` and `backward` of each factor of the chain rule | for the shards of this rank |
//! | monitors, [events](crate::monitor::Event) | the same on all ranks, except for `NextPart` and seconds |
//! | a [spike](crate::trainer::Step::spike) of the gradient | all ranks name the rank, and if known the sample |
//! | a value that is not finite | all ranks name the rank, and the sample if a single one has it |
//! | messages during the backward pass | with [`overlap`](DataParallel::overlap); otherwise after the pass |
//! | bytes and time between ranks | in the record of each update: [`Step::communication`](crate::trainer::Step) |
//! | samples that a layer couples ([`BatchNorm`](crate::layer::BatchNorm)) | statistics within each shard |
//! | buffers, such as running statistics | changed by the mean change over shards, weighted by samples |
//! | checkpoints | all ranks have the same state: one saves, all load; the number of ranks may change |

mod agreement;
mod channel;
mod data_parallel;
#[cfg(feature = "std")]
mod local;
mod reduce;
mod report;
mod shard_sums;

pub(crate) use agreement::Fingerprint;
pub use data_parallel::DataParallel;
#[cfg(feature = "std")]
pub use local::Local;
pub(crate) use report::{Report, Requests};

use crate::{
    arc::Arc,
    error::{Error, require},
};
use core::fmt::Debug;

/// The connection of one rank with the other ranks of its group. It transfers values of type `T`.
///
/// All ranks must make the same calls in the same order. After a call that returned an error the group can no longer
/// be used.
///
/// ```
/// use chainrule::{Error, RankRule, distributed::Communicator};
/// use std::sync::{Mutex, mpsc::{Receiver, Sender, channel}};
/// use std::time::Duration;
/// /// One of two ranks, connected by channels.
/// #[derive(Debug)]
/// struct Pair {
///     rank: usize,
///     to: Sender<Vec<f32>>,
///     from: Mutex<Receiver<Vec<f32>>>,
/// }
/// impl Communicator<f32> for Pair {
///     fn rank(&self) -> usize {
///         self.rank
///     }
///     fn size(&self) -> usize {
///         2
///     }
///     fn exchange(&self, peer: usize, send: &[f32], receive: &mut [f32]) -> Result<(), Error> {
///         let ended = || Error::from(RankRule::Ended { rank: peer, panicked: false });
///         self.to.send(send.to_vec()).map_err(|_| ended())?;
///         let from = self.from.lock().map_err(|_| ended())?;
///         let message = from.recv_timeout(Duration::from_secs(10)).map_err(|_| ended())?;
///         if message.len() != receive.len() {
///             let (expected, found) = (receive.len(), message.len());
///             return Err(RankRule::Message { rank: peer, expected, found }.into());
///         }
///         receive.copy_from_slice(&message);
///         Ok(())
///     }
/// }
/// let ((to_1, at_1), (to_0, at_0)) = (channel(), channel());
/// let pair = [Pair { rank: 0, to: to_1, from: at_0.into() }, Pair { rank: 1, to: to_0, from: at_1.into() }];
/// let [zero, one] = std::thread::scope(|scope| {
///     pair.map(|rank| scope.spawn(move || {
///         let mut values = [rank.rank as f32];
///         rank.broadcast(1, &mut values).map(|()| values[0]) // a default method, by `exchange`
///     }))
///     .map(|rank| rank.join().unwrap())
/// });
/// assert_eq!((zero?, one?), (1.0, 1.0));
/// # Ok::<(), Error>(())
/// ```
///
/// # Required
/// | method | result |
/// | --- | --- |
/// | `rank` | the number of this rank, from 0 |
/// | `size` | the number of ranks |
/// | `exchange` | sends values to one rank and receives values from it |
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `broadcast` | a binomial tree of exchanges | the communication library has a faster one |
/// | `barrier` | a tree of exchanges without values, and back | the communication library has a faster one |
///
/// `()` is the group of one rank. An `Arc` of a rank is that rank: its clones can serve one trainer after the other.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection between ranks",
    label = "not a communicator",
    note = "`distributed::Local` connects threads, `()` is a single rank"
)]
pub trait Communicator<T>: Debug + Send + Sync {
    /// Returns the number of this rank, from 0 and below [`size`](Self::size).
    fn rank(&self) -> usize;

    /// Returns the number of ranks in the group, at least 1.
    fn size(&self) -> usize;

    /// Sends `send` to rank `peer`, and fills `receive` with the message from that rank, which must call `exchange`
    /// with this rank. Either slice may be empty.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `peer` that is this rank or not in the group. [`RankRule::Ended`](crate::RankRule)
    /// if `peer` has ended; [`RankRule::Deadline`](crate::RankRule) if it does not answer in time;
    /// [`RankRule::Message`](crate::RankRule) if its message does not have the length of `receive`. An implementation
    /// must not wait without a deadline.
    fn exchange(&self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error>;

    /// Copies the `values` of rank `root` to the `values` of all other ranks, which have the same length.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `root` that is not in the group; the errors of [`exchange`](Self::exchange).
    fn broadcast(&self, root: usize, values: &mut [T]) -> Result<(), Error> {
        require(root < self.size(), "the root of a broadcast", "a rank of the group", root as f64)?;
        // Ranks are counted from the root. Rank r receives from the rank whose number is r without its lowest set
        // bit. Then it sends to r plus each power of two below that bit.
        let (size, own) = (self.size(), (self.rank() + self.size() - root) % self.size());
        let mut bit = 1;
        while bit < size && own & bit == 0 {
            bit *= 2;
        }
        if own > 0 {
            self.exchange((own - bit + root) % size, &[], values)?;
        }
        while bit > 1 {
            bit /= 2;
            if own + bit < size {
                self.exchange((own + bit + root) % size, values, &mut [])?;
            }
        }
        Ok(())
    }

    /// Waits for all ranks: returns once all ranks of the group have called it.
    ///
    /// # Errors
    /// The errors of [`exchange`](Self::exchange).
    fn barrier(&self) -> Result<(), Error> {
        let (rank, size) = (self.rank(), self.size());
        let mut bit = 1;
        while bit < size && rank & bit == 0 {
            if rank + bit < size {
                self.exchange(rank + bit, &[], &mut [])?;
            }
            bit *= 2;
        }
        if rank > 0 {
            self.exchange(rank - bit, &[], &mut [])?;
        }
        self.broadcast(0, &mut [])
    }
}

/// `()` is a communicator: the only rank of a group of one rank.
impl<T> Communicator<T> for () {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn exchange(&self, peer: usize, _send: &[T], _receive: &mut [T]) -> Result<(), Error> {
        Err(no_peer(peer))
    }
}

/// A communicator that several trainers share and use one after the other: for example that of an MPI job, unique in
/// its process.
impl<T, C: Communicator<T> + ?Sized> Communicator<T> for Arc<C> {
    fn rank(&self) -> usize {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn exchange(&self, peer: usize, send: &[T], receive: &mut [T]) -> Result<(), Error> {
        (**self).exchange(peer, send, receive)
    }

    fn broadcast(&self, root: usize, values: &mut [T]) -> Result<(), Error> {
        (**self).broadcast(root, values)
    }

    fn barrier(&self) -> Result<(), Error> {
        (**self).barrier()
    }
}

/// Returns [`Error::Parameter`] for an exchange with rank `peer`, which is not in the group or is the calling rank
/// itself.
fn no_peer(peer: usize) -> Error {
    Error::Parameter { what: "the rank of an exchange", expected: "another rank of the group", found: peer as f64 }
}
