//! Laws of the rows of a batch: samples in a different order, a batch that runs in several parts, and single samples.

use super::{Asked, Given, Suite, unequal};
use crate::{
    batch_shape::BatchShape,
    layer::{DropoutKey, Layer, Mode, Samples, StateLayout},
    scalar::{Scalar, to_f64},
    testing::{
        Law,
        law::{differ, number},
    },
};
use alloc::{format, vec, vec::Vec};

/// The number of time steps of the sequences whose first time steps are also run alone.
const LONG: usize = 12;
/// The numbers of first time steps that are also run alone, without the rest of the sequence.
const FIRST: [usize; 7] = [1, 2, 4, 5, 6, 8, 11];

impl Suite<'_, '_> {
    /// Tests the laws of rows, dropout masks and time steps, in this order. Once one of the first two is broken, the
    /// later laws are not tested: they would fail for the same reason.
    #[inline]
    pub(super) fn rows_and_steps(&mut self, shapes: &[BatchShape<'_>]) {
        self.split(self.layers.single, "f32");
        self.split(self.layers.double, "f64");
        if self.trial.broken(Law::Split) {
            return;
        }
        self.dropout_key();
        if self.trial.broken(Law::DropoutKey) {
            return;
        }
        self.rows(self.layers.single, "f32", shapes);
        self.rows(self.layers.double, "f64", shapes);
        if self.trial.broken(Law::Split) {
            return;
        }
        self.causal(self.layers.single, "f32");
        self.causal(self.layers.double, "f64");
        self.stepped(self.layers.single, "f32");
        self.stepped(self.layers.double, "f64");
    }

    /// Tests that a batch that runs in several parts gives the same bits, in evaluation without dropout. The scalar
    /// type is called `name`. A layer that couples the samples in every mode is not tested.
    pub(super) fn split<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        if layer.samples() == Samples::Coupled {
            return;
        }
        for (shape, groups) in parts() {
            let asked = Asked { mode: Mode::Evaluate, dropout: DropoutKey::off(), ..Asked::new(shape) };
            self.rows_of(Law::Split, layer, name, &asked, &groups);
        }
    }

    /// Tests the laws of layers with independent samples, in the scalar type called `name`. A layer whose samples are
    /// coupled in training alone is tested in evaluation, one with always coupled samples not at all. `shapes` are
    /// batch shapes in addition to those of the suite.
    pub(super) fn rows<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, shapes: &[BatchShape<'_>]) {
        if layer.samples() == Samples::Coupled {
            return;
        }
        let ragged = BatchShape { batch: 4, steps: 4, lengths: Some(&[4, 3, 3, 1]) };
        let two = vec![vec![1, 0]];
        let alone: Vec<Vec<usize>> = (0..4).map(|sample| vec![sample]).collect();
        let split = parts().map(|(shape, groups)| (Law::Split, shape, groups));
        let others = [
            (Law::Permutation, BatchShape::batch(2), two.clone()),
            (Law::Permutation, BatchShape::batch(4), vec![vec![3, 1, 0, 2]]),
            (Law::Permutation, BatchShape::sequences(2, 3), two),
            (Law::Ragged, BatchShape { batch: 2, steps: 2, lengths: Some(&[2, 1]) }, alone[..2].to_vec()),
            (Law::Ragged, ragged, alone),
        ];
        let own = shapes.iter().filter(|shape| shape.batch > 1).flat_map(|&shape| groups(shape));
        for (law, shape, groups) in split.into_iter().chain(others).chain(own) {
            if self.trial.broken(Law::Split) {
                return;
            }
            // A dropout mask depends on the position of its sample, so reordered samples run without dropout.
            let evaluates = law == Law::Permutation || layer.samples() == Samples::CoupledInTraining;
            let mode = if evaluates { Mode::Evaluate } else { Mode::Train };
            self.rows_of(law, layer, name, &Asked { mode, ..Asked::new(shape) }, &groups);
        }
        if self.trial.broken(Law::Split) {
            return;
        }
        self.ragged_states(layer, name, ragged);
    }

    /// Tests that each sequence of a ragged batch, with given states and gradients of states, gives the bits that it
    /// gives alone, in the scalar type called `name`. If the layout of the state is not known, one of several must
    /// fit. In each, the state of a sample is cut into equal pieces, and the batch holds one piece after the other,
    /// each for all samples. A composite without a known layout is not tested.
    fn ragged_states<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str, shape: BatchShape<'_>) {
        let Some(given) = self.draw(shape, 4) else { return };
        let (Some(state), Some(d_state)) = (&given.state, &given.d_state) else { return };
        let each = state.len() / shape.batch;
        let layouts = match StateLayout::of(layer) {
            Ok(layout) => vec![layout],
            // A layer with inner layers may order their states in any way.
            Err(_) if layer.structure().parts().next().is_some() => return,
            Err(_) => {
                let equal = (1..=each).filter(|parts| each.is_multiple_of(*parts));
                equal.map(|parts| StateLayout::pieces(&vec![each / parts; parts])).collect()
            }
        };
        let coupled = layer.samples() != Samples::Independent;
        let asked = Asked { mode: if coupled { Mode::Evaluate } else { Mode::Train }, ..Asked::new(shape) };
        let Some(whole) = self.pass(layer, name, &given, &asked) else { return };
        let (dims, after, mut wrong) = (layer.dims(), layer.output_shape(shape), Vec::new());
        let gradients = !self.trial.broken(Law::Adjoint);
        for layout in &layouts {
            let mut first = None;
            for sample in 0..shape.batch {
                let own = Given {
                    x: select(shape, &[sample], dims.input, &given.x),
                    dy: select(after, &[sample], dims.output, &given.dy),
                    state: Some(layout.of_sample(state, sample)),
                    d_state: Some(layout.of_sample(d_state, sample)),
                    ..given.clone()
                };
                let alone = BatchShape::sequences(1, shape.length(sample));
                let asked = Asked { shape: alone, dropout: asked.dropout.from_sample(sample), ..asked };
                let Some(found) = self.pass(layer, name, &own, &asked) else { return };
                for (what, expected, found) in [
                    ("y", select(after, &[sample], dims.output, &whole.y), &found.y),
                    ("dx", select(shape, &[sample], dims.input, &whole.dx), &found.dx),
                    ("final_state", layout.of_sample(&whole.state, sample), &found.state),
                    ("d_initial_state", layout.of_sample(&whole.d_state, sample), &found.d_state),
                ] {
                    let counts = first.is_none() && (gradients || !what.starts_with('d'));
                    if let Some(i) = unequal(&expected, found).filter(|_| counts) {
                        let value = |values: &[T]| values.get(i).map_or("nothing".into(), |value| format!("{value:?}"));
                        first = Some((format!("sample {sample} alone: {what}[{i}]"), value(&expected), value(found)));
                    }
                }
            }
            let Some(first) = first else { return };
            wrong.push(first);
        }
        if let Some((what, expected, found)) = wrong.into_iter().next() {
            let place = format!("{}, with states, {what}", self.at(name, shape));
            self.trial.breaks(Law::Ragged, place, expected, found, "");
        }
    }

    /// Tests that outputs depend on no later time step: passes of the first time steps alone are compared with the
    /// same time steps of the whole pass. The scalar type is called `name`.
    pub(super) fn causal<T: Scalar>(&mut self, layer: &dyn Layer<T>, name: &str) {
        let shape = BatchShape::sequences(2, LONG);
        if layer.reads_later_steps() {
            return;
        }
        let after = layer.output_shape(shape);
        // A layer may give one step for several, or several for one; one that gives a fixed number of them, or the
        // last ones, is not tested.
        let in_proportion = |steps: usize| {
            let part = layer.output_shape(BatchShape::sequences(shape.batch, steps));
            part.steps > 0 && part.steps * shape.steps == after.steps * steps
        };
        let firsts = || FIRST.into_iter().filter(|&steps| in_proportion(steps));
        if after.lengths.is_some() || after.batch != shape.batch || firsts().next().is_none() {
            return;
        }
        let Some(given) = self.draw(shape, 6) else { return };
        // Coupled samples may depend on all time steps, except in inference.
        let training = (layer.samples() == Samples::Independent).then_some(Mode::Train);
        for mode in training.into_iter().chain([Mode::Infer]) {
            let asked = Asked { mode, backward: false, ..Asked::new(shape) };
            let Some(whole) = self.pass(layer, name, &given, &asked) else { return };
            for steps in firsts() {
                let part = BatchShape::sequences(shape.batch, steps);
                let x = given.x[..part.rows() * layer.dims().input].to_vec();
                let (given, asked) = (Given { x, ..given.clone() }, Asked { shape: part, ..asked });
                let Some(found) = self.pass(layer, name, &given, &asked) else { return };
                let expected = &whole.y[..found.y.len().min(whole.y.len())];
                if let Some(i) = unequal(expected, &found.y) {
                    let place = format!("{}, the first {steps} alone: y[{i}]", self.at(name, shape));
                    let (expected, found) = (format!("{:?}", expected[i]), format!("{:?}", found.y[i]));
                    self.trial.breaks(Law::Causal, place, expected, found, "");
                }
            }
        }
    }

    /// Compares the pass of each of `groups`, lists of sample indices, with the same samples in the pass of the whole
    /// batch, with the settings `asked`: outputs, gradients and final states. A difference is a violation of `law` in
    /// the scalar type called `name`.
    fn rows_of<T: Scalar>(
        &mut self,
        law: Law,
        layer: &dyn Layer<T>,
        name: &str,
        asked: &Asked<'_>,
        groups: &[Vec<usize>],
    ) {
        let shape = asked.shape;
        let Some(given) = self.draw(shape, 4) else { return };
        let given = Given { state: None, d_state: None, ..given };
        let Some(whole) = self.pass(layer, name, &given, asked) else { return };
        let (dims, after) = (layer.dims(), layer.output_shape(shape));
        // A wrong gradient is reported as a violation of the adjoint law instead.
        let gradients = !self.trial.broken(Law::Adjoint);
        let (mut ends, mut dw) = (Vec::new(), vec![0.0; whole.dw.len()]);
        for samples in groups {
            let lengths: Vec<usize> = samples.iter().map(|&sample| shape.length(sample)).collect();
            let part = BatchShape::sequences(samples.len(), lengths[0]);
            let given = Given {
                x: select(shape, samples, dims.input, &given.x),
                dy: select(after, samples, dims.output, &given.dy),
                ..given.clone()
            };
            let dropout = if law == Law::Permutation { asked.dropout } else { asked.dropout.from_sample(samples[0]) };
            let Some(found) = self.pass(layer, name, &given, &Asked { shape: part, dropout, ..*asked }) else { return };
            for (what, expected, found) in [
                ("y", select(after, samples, dims.output, &whole.y), &found.y),
                ("dx", select(shape, samples, dims.input, &whole.dx), &found.dx),
            ] {
                if let Some(i) = unequal(&expected, found).filter(|_| what == "y" || gradients) {
                    let place = format!("{}, samples {samples:?}: {what}[{i}]", self.at(name, shape));
                    self.trial.breaks(law, place, format!("{:?}", expected[i]), format!("{:?}", found[i]), "");
                }
            }
            ends.extend_from_slice(&found.state);
            dw.iter_mut().zip(&found.dw).for_each(|(sum, &dw)| *sum += to_f64(dw));
        }
        // The sum of dw over the groups has the same terms as dw of the whole batch, in a different order.
        let size = whole.dw.iter().fold(0.0, |most: f64, &dw| most.max(to_f64(dw).abs()));
        let allowed = 1e4 * to_f64(T::epsilon()) * size;
        let off = (0..dw.len()).find(|&i| differ(to_f64(whole.dw[i]), dw[i], allowed));
        if let (Law::Split, Some(i), true) = (law, off, gradients) {
            let place = format!("{}, in parts {groups:?}: the sum of dw[{i}]", self.at(name, shape));
            self.trial.breaks(law, place, format!("{:?}", whole.dw[i]), number(dw[i]), "");
        }
        // The layout of a state is unknown, so its values are compared in sorted order.
        let (whole, ends) = (sorted(whole.state), sorted(ends));
        if let Some(i) = unequal(&whole, &ends) {
            let place = format!("{}: final_state, value {i} by size", self.at(name, shape));
            let found = ends.get(i).map_or_else(|| "nothing".into(), |end| format!("{end:?}"));
            self.trial.breaks(law, place, format!("{:?}", whole.get(i)), found, "");
        }
    }
}

/// Batch shapes, each with lists of samples: the parts in which the batch also runs.
fn parts() -> [(BatchShape<'static>, Vec<Vec<usize>>); 3] {
    let parts = vec![vec![0, 1, 2], vec![3, 4, 5, 6]];
    [
        (BatchShape::batch(2), vec![vec![0], vec![1]]),
        (BatchShape::batch(7), parts.clone()),
        (BatchShape::sequences(7, 3), parts),
    ]
}

/// Returns the laws of rows to test at the batch shape `shape`, each with groups of sample indices; each group is run
/// as a batch of its own. Samples of one length are grouped into two halves, and in reversed order; up to 8 samples
/// of different lengths run singly.
fn groups(shape: BatchShape<'_>) -> Vec<(Law, BatchShape<'_>, Vec<Vec<usize>>)> {
    /// The largest number of samples that run alone.
    const ALONE: usize = 8;
    let batch = shape.batch;
    if (1..batch).all(|sample| shape.length(sample) == shape.length(0)) {
        let halves = vec![(0..batch / 2).collect(), (batch / 2..batch).collect()];
        return vec![(Law::Split, shape, halves), (Law::Permutation, shape, vec![(0..batch).rev().collect()])];
    }
    // The groups make up the batch: a final state is compared as a whole.
    if batch > ALONE { Vec::new() } else { vec![(Law::Ragged, shape, (0..batch).map(|sample| vec![sample]).collect())] }
}

fn sorted<T: Scalar>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable_by(|a, b| to_f64(*a).total_cmp(&to_f64(*b)));
    values
}

/// Returns the rows of `samples` among `values`, which are time-major rows of `width` values in a batch of `shape`.
fn select<T: Copy>(shape: BatchShape<'_>, samples: &[usize], width: usize, values: &[T]) -> Vec<T> {
    let mut selected = Vec::new();
    for step in 0..shape.steps {
        for &sample in samples.iter().filter(|&&sample| step < shape.length(sample)) {
            selected.extend_from_slice(&values[shape.row(step, sample) * width..][..width]);
        }
    }
    selected
}
