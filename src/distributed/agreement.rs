//! Texts that ranks (trainers that train one network together) exchange: descriptions of their runs, which are
//! compared, and reports of errors.

#[cfg(doc)]
use super::Communicator;
use super::channel::Channel;
use crate::{
    error::{Error, RankRule},
    scalar::{Scalar, scalar, to_f64},
    size::{at_most, filled},
};
use alloc::{format, string::String, vec::Vec};
use core::fmt::Display;

/// The description of a training run by which ranks (trainers that train one network together) compare their runs. It
/// has one line of text for each setting or array, with its name and its value or the hash of its values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// Adds a line with `name` and `value`. An error message shows both, so `value` must be one line of text.
    pub(crate) fn add(&mut self, name: &str, value: impl Display) {
        self.0 += &format!("{name}\t{value}\n");
    }

    /// Adds a line with `name` and the hash of `values`, each given as 64 bits.
    pub(crate) fn add_hash(&mut self, name: &str, values: impl IntoIterator<Item = u64>) {
        self.0 += &format!("{name}\thash {:016x}\n", hash(values));
    }

    /// Adds a line with `name` and the hash of the numbers `values`, converted to `f64`.
    pub(crate) fn add_numbers<T: Scalar>(&mut self, name: &str, values: &[T]) {
        self.add_hash(name, values.iter().map(|&value| to_f64(value).to_bits()));
    }

    /// Adds a line with `name` and the hash of the text `value`, which may be long.
    pub(crate) fn add_text(&mut self, name: &str, value: &str) {
        self.add_hash(name, value.bytes().map(u64::from));
    }

    /// Compares `own`, the description of this rank, with those of all other ranks. All ranks must call it.
    ///
    /// # Errors
    /// [`RankRule::Differs`] for the first rank whose description is not that of rank 0, with the first line that
    /// differs; the errors of [`gather_results`].
    pub(super) fn compare<T: Scalar>(own: Result<Self, Error>, ranks: &mut Channel<T>) -> Result<(), Error> {
        let runs = gather_results(ranks, own.map(|run| run.0))?;
        for (rank, run) in runs.iter().enumerate().skip(1) {
            let (mut own, mut first) = (run.lines(), runs[0].lines());
            loop {
                let (found, expected) = match (own.next(), first.next()) {
                    (None, None) => break,
                    (found, expected) => (found.unwrap_or_default(), expected.unwrap_or_default()),
                };
                if found != expected {
                    let split = |line| str::split_once(line, '\t').unwrap_or_default();
                    let ((what, expected), (_, found)) = (split(expected), split(found));
                    let [what, expected, found] = [what, expected, found].map(String::from);
                    return Err(RankRule::Differs { what, rank, expected, found }.into());
                }
            }
        }
        Ok(())
    }
}

/// Returns a hash of `values`: FNV-1a (Fowler, Noll & Vo) on words of 64 bits, with a rotation after each word.
pub(super) fn hash(values: impl IntoIterator<Item = u64>) -> u64 {
    let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
    values.into_iter().fold(0xCBF2_9CE4_8422_2325, mix)
}

/// The first character of a text between ranks that reports an error.
const FAILED: char = '!';

/// Exchanges the texts `own` of all ranks, and returns them in the order of the ranks if no rank failed. All ranks
/// must call it.
///
/// # Errors
/// The error of this rank; [`RankRule::Failed`] with the error of the first rank that failed; the errors of
/// [`Communicator::exchange`].
pub(super) fn gather_results<T: Scalar>(
    ranks: &mut Channel<T>,
    own: Result<String, Error>,
) -> Result<Vec<String>, Error> {
    let texts = match &own {
        Ok(text) => gather(ranks, text),
        Err(error) => gather(ranks, &format!("{FAILED}{error}")),
    };
    // If both failed, the error of this rank is returned, since it is closer to the cause than that of the exchange.
    let texts = own.and(texts)?;
    let failed = texts.iter().enumerate().find_map(|(rank, text)| Some((rank, text.strip_prefix(FAILED)?)));
    match failed {
        Some((rank, reason)) => Err(RankRule::Failed { rank, reason: reason.into() }.into()),
        None => Ok(texts),
    }
}

/// The largest length of a text that ranks exchange, in bytes.
const LONGEST: usize = 1 << 20;

/// Sends the text `own` of this rank to all ranks, and returns the texts of all ranks in the order of the ranks. All
/// ranks must call it, and all get [`Error::TooLarge`] if any text is longer than 1 MiB. Each byte is sent as one
/// value of type `T`, since every scalar type holds it exactly.
pub(super) fn gather<T: Scalar>(ranks: &mut Channel<T>, own: &str) -> Result<Vec<String>, Error> {
    let value = |byte: u8| scalar::<T>(f64::from(byte));
    let byte = |value: &T| to_f64(*value) as u8;
    let mut texts = Vec::new();
    for root in 0..ranks.size() {
        let mut length = (own.len() as u64).to_le_bytes().map(value);
        ranks.broadcast(root, &mut length)?;
        let length = u64::from_le_bytes(core::array::from_fn(|i| byte(&length[i])));
        let length = at_most("a text between ranks", usize::try_from(length).unwrap_or(usize::MAX), LONGEST)?;
        let mut text = filled("a text between ranks", length, T::zero())?;
        if root == ranks.rank() {
            text.iter_mut().zip(own.bytes()).for_each(|(to, byte)| *to = value(byte));
        }
        ranks.broadcast(root, &mut text)?;
        let bytes: Vec<u8> = text.iter().map(byte).collect();
        texts.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(texts)
}
