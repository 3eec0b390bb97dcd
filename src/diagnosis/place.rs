//! The place of a fault over depth: the ranges of layers that have it.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt;
use num_traits::Float;

/// Consecutive layers that have the same fault: a single layer, or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LayerRange {
    /// The path of the first layer of the range, in the order of the forward pass.
    pub first: String,
    /// The path of the last layer of the range; for a single layer, the path of that layer.
    pub last: String,
}

impl LayerRange {
    /// Returns the range of one layer, as a list of one; empty for an empty path.
    pub(super) fn single(layer: &str) -> Vec<LayerRange> {
        let range = || LayerRange { first: layer.into(), last: layer.into() };
        if layer.is_empty() { Vec::new() } else { Vec::from([range()]) }
    }

    /// Returns the ranges of the layers that have a fault. `layers` are the paths of all layers in order, each with
    /// whether it has the fault; neighbours that have it are one range.
    pub(super) fn runs<'a>(layers: impl Iterator<Item = (&'a str, bool)>) -> Vec<LayerRange> {
        let (mut found, mut before): (Vec<LayerRange>, _) = (Vec::new(), false);
        for (layer, has_fault) in layers {
            match found.last_mut().filter(|range| has_fault && (before || range.last == layer)) {
                Some(range) => range.last = layer.into(),
                None if has_fault => found.extend(LayerRange::single(layer)),
                None => {}
            }
            before = has_fault;
        }
        found
    }

    /// Returns a list with one range, from the first to the last of the paths `layers`; an empty list without layers.
    pub(super) fn over(layers: &[String]) -> Vec<LayerRange> {
        let ends = layers.first().zip(layers.last());
        ends.map(|(first, last)| LayerRange { first: first.clone(), last: last.clone() }).into_iter().collect()
    }
}

/// Writes `4` or `2 to 78`.
impl fmt::Display for LayerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => f.write_str(&self.first),
            false => write!(f, "{} to {}", self.first, self.last),
        }
    }
}

/// Returns the ranges as text: `layer 4`, `layers 2 to 78`, `layers 2 to 8 and 30`; empty for no range.
pub(super) fn place(layers: &[LayerRange]) -> String {
    let Some((last, others)) = layers.split_last() else { return String::new() };
    let one = others.is_empty() && last.first == last.last;
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    let and = if others.is_empty() { "" } else { " and " };
    format!("{} {}{and}{last}", if one { "layer" } else { "layers" }, others.join(", "))
}

/// One layer on the main path, or one residual block, with its part of the decades (log10) by which the gradient's
/// norm changes from loss to first weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Station {
    pub layer: String,
    pub decades: f64,
}

impl Station {
    pub fn new(layer: &str, decades: f64) -> Self {
        Station { layer: layer.into(), decades }
    }
}

/// The layers that are reported for a fault must together cause at least this fraction of the change of the
/// gradient's norm, in decades (log10), by all layers.
pub(super) const MOST: f64 = 0.7;

/// The smallest standard deviation that is assumed for the noise of a layer's decades (log10 change of the gradient's
/// norm): the last digit of a report's table.
const DIGIT: f64 = 0.01;

/// Returns the ranges of `stations`, layers with their decades (log10 change of the gradient's norm), that have the
/// fault, in the order of the forward pass.
///
/// The sequence is divided into parts in which the decades differ by noise alone: the piecewise constant sequence of
/// the highest likelihood. Each additional part must raise twice the log-likelihood by 3 ln n, with n the number of
/// layers, for its start, its end and its mean (Schwarz 1978). The parts of the largest means that together have
/// [`MOST`] of the decades have the fault. So does each further part whose mean is nearer to the mean of those parts
/// than to 0. Neighbouring layers with the fault are one range.
pub(super) fn stretches(stations: &[Station]) -> Vec<LayerRange> {
    // A layer that makes the gradient 0 has all of the fault.
    let ends = |station: &Station| station.decades.is_infinite();
    let all: Vec<f64> = match stations.iter().any(ends) {
        true => stations.iter().map(|station| f64::from(u8::from(ends(station)))).collect(),
        false => stations.iter().map(|station| station.decades).collect(),
    };
    let total: f64 = all.iter().sum();
    if all.is_empty() || total == 0.0 || total.is_nan() {
        return Vec::new();
    }
    let parts = parts(&all);
    let mean = |part: &[usize; 2]| all[part[0]..part[1]].iter().sum::<f64>() / (part[1] - part[0]) as f64 / total;
    let mut worst: Vec<usize> = (0..parts.len()).collect();
    worst.sort_by(|&a, &b| mean(&parts[b]).total_cmp(&mean(&parts[a])));
    let (mut share, mut count, mut named) = (0.0, 0.0, vec![false; all.len()]);
    for part in worst {
        let ([from, to], mean) = (parts[part], mean(&parts[part]));
        if share >= MOST && mean * count < 0.5 * share {
            break;
        }
        (share, count) = (share + mean * (to - from) as f64, count + (to - from) as f64);
        named[from..to].fill(true);
    }
    let mut found: Vec<LayerRange> = Vec::new();
    for (place, station) in stations.iter().enumerate().filter(|(place, _)| named[*place]) {
        match found.last_mut() {
            Some(range) if place > 0 && named[place - 1] => range.last.clone_from(&station.layer),
            _ => found.extend(LayerRange::single(&station.layer)),
        }
    }
    found
}

/// Returns the standard deviation of the noise in `all`, the decades (log10 change of the gradient's norm) of
/// consecutive layers, at least [`DIGIT`]. It is computed from the median difference of neighbours, since most
/// neighbours have the same mean.
fn noise(all: &[f64]) -> f64 {
    let mut apart: Vec<f64> = all.windows(2).map(|pair| Float::abs(pair[1] - pair[0])).collect();
    apart.sort_unstable_by(f64::total_cmp);
    let median = apart.get(apart.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
    // The median of |N(0, 2σ²)| is 0.954 σ.
    f64::max(median / 0.954, DIGIT)
}

/// Divides `all`, the decades (log10 change of the gradient's norm) of consecutive layers, into parts of constant
/// mean, by the criterion of [`stretches`]. Each part is given by its start index and its end index, the end
/// excluded.
fn parts(all: &[f64]) -> Vec<[usize; 2]> {
    let (count, variance) = (all.len(), noise(all) * noise(all));
    let price = 3.0 * libm::log(count.max(2) as f64);
    let mut sums = vec![[0.0; 2]];
    for &value in all {
        let [sum, squares] = sums[sums.len() - 1];
        sums.push([sum + value, squares + value * value]);
    }
    let cost = |from: usize, to: usize| {
        let [sum, squares] = [0, 1].map(|i| sums[to][i] - sums[from][i]);
        f64::max(squares - sum * sum / (to - from) as f64, 0.0) / variance + price
    };
    // For each end index: the lowest cost of the values before it, and the start of the last part.
    let mut best = vec![(0.0, 0)];
    for to in 1..=count {
        let until = (0..to).map(|from| (best[from].0 + cost(from, to), from));
        best.extend(until.min_by(|a, b| a.0.total_cmp(&b.0)));
    }
    let (mut found, mut to) = (Vec::new(), count);
    while to > 0 {
        let from = best[to].1;
        found.push([from, to]);
        to = from;
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Normals, generator};

    /// Returns, as text, the ranges that are found in 40 layers with the decades (log10) of `fault` and normal noise
    /// of the standard deviation `noise`.
    fn found(noise: f64, seed: u64, fault: impl Fn(usize) -> f64) -> String {
        let (mut rng, mut normals) = (generator(seed), Normals::new());
        let station = |i: usize| Station::new(&i.to_string(), fault(i) + noise * normals.next(&mut rng));
        place(&stretches(&(0..40).map(station).collect::<Vec<_>>()))
    }

    /// Noise changes the range that is found for at most a tenth of the seeds.
    #[test]
    fn stretch_is_as_long_as_the_fault() {
        type Fault = fn(usize) -> f64;
        let faults: [(Fault, &str); 4] = [
            (|_| -0.5, "layers 0 to 39"),
            (|i| if i == 17 { 3.0 } else { 0.0 }, "layer 17"),
            (|i| if (10..19).contains(&i) { -0.8 } else { 0.0 }, "layers 10 to 18"),
            (|i| if i == 4 || i == 30 { -2.0 } else { 0.0 }, "layers 4 and 30"),
        ];
        for (fault, expected) in faults {
            assert_eq!(found(0.0, 0, fault), expected);
            let right = (0..50).filter(|&seed| found(0.1, seed, fault) == expected).count();
            assert!(right >= 45, "{expected}: {right}");
        }
        assert_eq!(found(0.0, 0, |i| if i > 36 { f64::NEG_INFINITY } else { -0.3 }), "layers 37 to 39");
        assert_eq!(found(0.0, 0, |_| 0.0), "");
    }
}
