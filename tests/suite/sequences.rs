//! Sequences: what a sample gives does not depend on the batch it came in, on how the batch was cut, or on how
//! many steps were taken at once. Equal means equal to the last bit.

use crate::numbers::seeded_numbers;
use chainrule::{
    Activation, BatchShape, Gate, Layer, Mode, Scalar,
    activation::{Relu, Sigmoid, Tanh},
    layer::{
        ActivationLayer, BranchScale, Dropout, DropoutKey, LastStep, LayerNorm, Linear, MeanOverSteps, PRelu, Residual,
        RmsNorm, Sequential, initialize,
    },
    recurrent::{
        Cell, CellBackward, CellForward, CellSizes, Elman, Gru, GruVariant, Lstm, Mgu, Operand, Product, Recurrent,
        Reversed,
    },
    scalar, to_f64,
    workspace::Workspace,
};
use proptest::prelude::*;

/// Fails unless the two agree to the last bit.
#[track_caller]
fn same_bits<T: Scalar>(what: &str, found: &[T], expected: &[T]) {
    let bits = |values: &[T]| values.iter().map(|&v| to_f64(v).to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(found), bits(expected), "{what}: {found:?} is not {expected:?}");
}

/// The samples `samples` of time-major rows.
fn part<T: Copy>(shape: BatchShape<'_>, width: usize, values: &[T], samples: core::ops::Range<usize>) -> Vec<T> {
    assert_eq!(values.len(), shape.rows() * width);
    let mut out = Vec::new();
    for step in 0..shape.steps {
        for sample in samples.clone().filter(|&sample| shape.length(sample) > step) {
            out.extend_from_slice(&values[shape.row(step, sample) * width..][..width]);
        }
    }
    out
}

/// The samples `samples` of a state that consists of slabs \[batch, width\].
fn state_part<T: Copy>(slabs: &[usize], batch: usize, state: &[T], samples: core::ops::Range<usize>) -> Vec<T> {
    assert_eq!(state.len(), batch * slabs.iter().sum::<usize>());
    let (mut out, mut rest) = (Vec::new(), state);
    for &width in slabs {
        let (slab, others) = rest.split_at(batch * width);
        out.extend_from_slice(&slab[samples.start * width..samples.end * width]);
        rest = others;
    }
    out
}

/// Everything of a pass there and back.
struct Run<T> {
    y: Vec<T>,
    end: Vec<T>,
    dx: Vec<T>,
    d_start: Vec<T>,
    dw: Vec<T>,
}

/// What goes into a pass.
#[derive(Clone, Copy)]
struct Given<'a, T> {
    w: &'a [T],
    x: &'a [T],
    start: &'a [T],
    dy: &'a [T],
    d_end: &'a [T],
    first_sample: usize,
}

fn run<T: Scalar>(network: &dyn Layer<T>, shape: BatchShape<'_>, given: Given<'_, T>) -> Run<T> {
    let mut workspace = Workspace::new(network, BatchShape::sequences(shape.batch, shape.steps)).unwrap();
    workspace.compute_input_gradient(true);
    workspace.compute_state_gradient(true);
    workspace.set_dropout_key(DropoutKey::new(7, 3).from_sample(given.first_sample));
    if !given.start.is_empty() {
        workspace.set_state(given.start).unwrap();
    }
    let output = workspace.forward(given.w, given.x, shape).unwrap();
    let y = output.y.to_vec();
    output.dy.copy_from_slice(given.dy);
    workspace.final_state_gradient_mut().copy_from_slice(given.d_end);
    workspace.backward(given.w).unwrap();
    Run {
        y,
        end: workspace.final_state().to_vec(),
        dx: workspace.input_gradient().to_vec(),
        d_start: workspace.state_gradient().to_vec(),
        dw: workspace.gradient().to_vec(),
    }
}

/// Cuts a batch at `cuts`: each part must give what it gives within the whole.
fn cuts_change_nothing<T: Scalar>(
    network: &dyn Layer<T>,
    slabs: &[usize],
    shape: BatchShape<'_>,
    cuts: &[usize],
    seed: u64,
) {
    let dims = network.dims();
    let mut w = initialize::<T>(network, seed).unwrap();
    w.iter_mut().zip(seeded_numbers::<T>(seed + 1, dims.parameters)).for_each(|(w, more)| *w += more * scalar(0.1));
    let after = network.output_shape(shape);
    let states = shape.batch * slabs.iter().sum::<usize>();
    let x = seeded_numbers::<T>(seed + 2, shape.rows() * dims.input);
    let start = seeded_numbers::<T>(seed + 3, states);
    let dy = seeded_numbers::<T>(seed + 4, after.rows() * dims.output);
    let d_end = seeded_numbers::<T>(seed + 5, states);
    let given = Given { w: &w, x: &x, start: &start, dy: &dy, d_end: &d_end, first_sample: 0 };
    let whole = run(network, shape, given);
    let (mut first, mut ends) = (0, cuts.to_vec());
    ends.push(shape.batch);
    for end in ends {
        let samples = first..end;
        let lengths = shape.lengths.map(|lengths| &lengths[samples.clone()]);
        let own = lengths.map_or(BatchShape::sequences(samples.len(), shape.steps), BatchShape::ragged);
        // One sample alone is an even batch.
        let own = if samples.len() == 1 { BatchShape::sequences(1, own.steps) } else { own };
        let given = Given {
            w: &w,
            x: &part(shape, dims.input, &x, samples.clone()),
            start: &state_part(slabs, shape.batch, &start, samples.clone()),
            dy: &part(after, dims.output, &dy, samples.clone()),
            d_end: &state_part(slabs, shape.batch, &d_end, samples.clone()),
            first_sample: samples.start,
        };
        let alone = run(network, own, given);
        same_bits("y", &part(after, dims.output, &whole.y, samples.clone()), &alone.y);
        same_bits("dx", &part(shape, dims.input, &whole.dx, samples.clone()), &alone.dx);
        same_bits("final state", &state_part(slabs, shape.batch, &whole.end, samples.clone()), &alone.end);
        same_bits("state gradient", &state_part(slabs, shape.batch, &whole.d_start, samples), &alone.d_start);
        first = end;
    }
}

const INPUTS: usize = 3;

/// A network by name, with the slabs of its state.
type Case<T> = (&'static str, Box<dyn Layer<T>>, Vec<usize>);

/// Every kind of recurrent network.
fn recurrent_networks<T: Scalar>(h: usize) -> Vec<Case<T>> {
    let before = Gru::new().variant(GruVariant::ResetBefore);
    let after = Gru::new().variant(GruVariant::ResetAfter);
    let input = || Sequential::<T>::input(INPUTS);
    let stacked = input().recurrent(h, Lstm::new()).recurrent(h + 1, before).linear(2);
    let both = input().bidirectional(h, Lstm::new()).bidirectional(2, after);
    vec![
        ("elman", Box::new(Recurrent::new(INPUTS, h, Elman::new(Tanh))), vec![h]),
        ("elman of relu", Box::new(Recurrent::new(INPUTS, h, Elman::new(Relu)).without_bias()), vec![h]),
        ("lstm", Box::new(Recurrent::new(INPUTS, h, Lstm::new())), vec![h, h]),
        ("gru, reset after", Box::new(Recurrent::new(INPUTS, h, after)), vec![h]),
        ("gru, reset before", Box::new(Recurrent::new(INPUTS, h, before)), vec![h]),
        ("mgu", Box::new(Recurrent::new(INPUTS, h, OwnMgu)), vec![h]),
        ("reversed lstm", Box::new(Reversed::new::<f64>(Recurrent::new(INPUTS, h, Lstm::new())).unwrap()), vec![h, h]),
        ("bidirectional lstm, twice", Box::new(both.build().unwrap()), vec![h, h, h, h, 2, 2]),
        ("stacked", Box::new(stacked.build().unwrap()), vec![h, h, h + 1]),
        ("last step", Box::new(input().recurrent(h, after).last_step().linear(2).build().unwrap()), vec![h]),
        ("mean over steps", Box::new(input().recurrent(h, Lstm::new()).mean_over_steps().build().unwrap()), vec![h, h]),
        (
            "last step of both directions",
            Box::new(input().bidirectional(h, Elman::new(Tanh)).last_step().build().unwrap()),
            vec![h, h],
        ),
        (
            "dropout between, a residual around",
            Box::new(
                input()
                    .recurrent(h, Lstm::new())
                    .dropout(0.4)
                    .residual(|branch| branch.recurrent(h, before).layer_norm().dropout(0.3))
                    .build()
                    .unwrap(),
            ),
            vec![h, h, h],
        ),
    ]
}

/// Every layer without state.
fn feedforward<T: Scalar>(width: usize) -> Sequential<T> {
    let branch = Sequential::<T>::input(width).linear(width).rms_norm().activation(Tanh).dropout(0.3).build().unwrap();
    let learned = Residual::new(branch).unwrap().scale(BranchScale::Learned(0.7)).unwrap();
    Sequential::<T>::input(INPUTS)
        .linear(width)
        .layer_norm()
        .dropout(0.5)
        .prelu()
        .layer(PRelu::new(width).per_unit())
        .layer(learned)
        .residual(|branch| branch.linear(width).activation(Sigmoid))
        .linear(2)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ragged_batch_has_the_bits_of_its_single_sequences(
        mut lengths in prop::collection::vec(1usize..7, 1..7), hidden in 1usize..10, seed in 0u64..1000,
    ) {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let singles: Vec<usize> = (1..lengths.len()).collect();
        for (name, network, slabs) in recurrent_networks::<f64>(hidden) {
            println!("{name} in f64");
            cuts_change_nothing(&*network, &slabs, BatchShape::ragged(&lengths), &singles, seed);
        }
        for (name, network, slabs) in recurrent_networks::<f32>(hidden) {
            println!("{name} in f32");
            cuts_change_nothing(&*network, &slabs, BatchShape::ragged(&lengths), &singles, seed);
        }
    }

    #[test]
    fn cutting_a_batch_changes_nothing(
        batch in 2usize..12, steps in 1usize..4, at in 0.0f64..1.0, width in 1usize..10, seed in 0u64..1000,
    ) {
        let cut = [1 + (at * (batch - 1) as f64) as usize];
        let shape = BatchShape::sequences(batch, steps);
        cuts_change_nothing::<f64>(&feedforward(width), &[], shape, &cut, seed);
        cuts_change_nothing::<f32>(&feedforward(width), &[], shape, &cut, seed);
        for (name, network, slabs) in recurrent_networks::<f32>(width) {
            println!("{name}");
            cuts_change_nothing(&*network, &slabs, shape, &cut, seed);
        }
        for (name, network, slabs) in recurrent_networks::<f64>(width) {
            println!("{name}");
            cuts_change_nothing(&*network, &slabs, shape, &cut, seed);
        }
    }

    #[test]
    fn cutting_a_ragged_batch_changes_nothing(
        mut lengths in prop::collection::vec(1usize..6, 2..7), at in 0.0f64..1.0, hidden in 1usize..10, seed in 0u64..1000,
    ) {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let cut = [1 + (at * (lengths.len() - 1) as f64) as usize];
        for (_, network, slabs) in recurrent_networks::<f64>(hidden) {
            cuts_change_nothing(&*network, &slabs, BatchShape::ragged(&lengths), &cut, seed);
        }
    }

    #[test]
    fn steps_at_once_are_steps_by_hand(batch in 1usize..5, steps in 1usize..7, hidden in 1usize..12, seed in 0u64..1000) {
        stepped::<f64>(batch, steps, hidden, seed);
        stepped::<f32>(batch, steps, hidden, seed);
    }

    #[test]
    fn inference_gives_the_bits_of_evaluation(
        mut lengths in prop::collection::vec(1usize..6, 1..6), width in 1usize..12, seed in 0u64..1000,
    ) {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        infers::<f64>(&lengths, width, seed);
        infers::<f32>(&lengths, width, seed);
    }
}

/// T steps at once give the bits of T passes of one step, with the state carried over, and so do windows in between.
fn stepped<T: Scalar>(batch: usize, steps: usize, hidden: usize, seed: u64) {
    let causal =
        |name: &str| !["reversed", "bidirectional", "both", "last", "mean", "dropout"].iter().any(|n| name.contains(n));
    for (name, network, slabs) in recurrent_networks::<T>(hidden).into_iter().filter(|(name, ..)| causal(name)) {
        let (dims, shape) = (network.dims(), BatchShape::sequences(batch, steps));
        let w = initialize::<T>(&*network, seed).unwrap();
        let x = seeded_numbers::<T>(seed + 1, shape.rows() * dims.input);
        let start = seeded_numbers::<T>(seed + 2, batch * slabs.iter().sum::<usize>());
        let mut workspace = Workspace::new(&*network, shape).unwrap();
        workspace.set_state(&start).unwrap();
        let once = workspace.forward(&w, &x, shape).unwrap().y.to_vec();
        let end = workspace.final_state().to_vec();
        for window in 1..=steps {
            for infer in [false, true] {
                let mut by_hand = Vec::new();
                workspace.set_state(&start).unwrap();
                for x in x.chunks(window * batch * dims.input) {
                    let shape = BatchShape::sequences(batch, x.len() / batch / dims.input);
                    let y = if infer {
                        workspace.infer(&w, x, shape)
                    } else {
                        workspace.forward(&w, x, shape).map(|out| out.y)
                    };
                    by_hand.extend_from_slice(y.unwrap());
                    workspace.carry_state();
                }
                same_bits(name, &by_hand, &once);
                same_bits(name, workspace.final_state(), &end);
            }
        }
    }
}

fn infers<T: Scalar>(lengths: &[usize], width: usize, seed: u64) {
    let mut networks = recurrent_networks::<T>(width);
    networks.push(("feedforward", Box::new(feedforward(width)), vec![]));
    networks.push(("linear", Box::new(Linear::new(INPUTS, width).without_bias()), vec![]));
    networks.push(("pointwise", Box::new(ActivationLayer::new(INPUTS, Tanh)), vec![]));
    networks.push(("prelu", Box::new(PRelu::new(INPUTS)), vec![]));
    networks.push(("layer norm", Box::new(LayerNorm::new(INPUTS)), vec![]));
    networks.push(("rms norm", Box::new(RmsNorm::new(INPUTS).without_affine()), vec![]));
    networks.push(("dropout", Box::new(Dropout::new(INPUTS, 0.5).unwrap()), vec![]));
    networks.push(("last step", Box::new(LastStep::new(INPUTS)), vec![]));
    networks.push(("mean over steps", Box::new(MeanOverSteps::new(INPUTS)), vec![]));
    networks.push(("reversed pool", Box::new(Reversed::new::<f64>(LastStep::new(INPUTS)).unwrap()), vec![]));
    networks.push(("nothing", Box::new(Sequential::new(INPUTS)), vec![]));
    for (name, network, slabs) in networks {
        let shape = BatchShape::ragged(lengths);
        let w = initialize::<T>(&*network, seed).unwrap();
        let x = seeded_numbers::<T>(seed + 1, shape.rows() * INPUTS);
        let start = seeded_numbers::<T>(seed + 2, lengths.len() * slabs.iter().sum::<usize>());
        let capacity = BatchShape::sequences(shape.batch, shape.steps);
        let mut workspace = Workspace::new(&*network, capacity).unwrap();
        let mut small = Workspace::for_inference(&*network, capacity).unwrap();
        for with_state in [false, !slabs.is_empty()] {
            if with_state {
                workspace.set_state(&start).unwrap();
                small.set_state(&start).unwrap();
            }
            let expected = workspace.forward_with(&w, &x, shape, Mode::Evaluate, &mut ()).unwrap().y.to_vec();
            let end = workspace.final_state().to_vec();
            same_bits(name, workspace.infer(&w, &x, shape).unwrap(), &expected);
            same_bits(name, workspace.final_state(), &end);
            same_bits(name, small.infer(&w, &x, shape).unwrap(), &expected);
            same_bits(name, small.final_state(), &end);
        }
    }
}

/// No gradient goes from one window to the one before, and none stays behind for the one after.
#[test]
fn no_gradient_leaks_between_windows() {
    for (name, network, slabs) in recurrent_networks::<f64>(4) {
        let (dims, shape) = (network.dims(), BatchShape::sequences(2, 3));
        let states = 2 * slabs.iter().sum::<usize>();
        let outs = network.output_shape(shape).rows() * dims.output;
        let w = initialize::<f64>(&*network, 1).unwrap();
        let start = seeded_numbers::<f64>(2, states);
        let [x1, x2] = [3, 4].map(|seed| seeded_numbers::<f64>(seed, 6 * INPUTS));
        let [dy1, dy2] = [5, 6].map(|seed| seeded_numbers::<f64>(seed, outs));
        let [d_end, nothing] = [seeded_numbers::<f64>(7, states), vec![0.0; states]];
        // Each window by itself.
        let given = Given { w: &w, x: &x1, start: &start, dy: &dy1, d_end: &d_end, first_sample: 0 };
        let first = run(&*network, shape, given);
        let second = run(&*network, shape, Given { x: &x2, start: &first.end, dy: &dy2, d_end: &nothing, ..given });
        // Both on one workspace, carried over.
        let mut workspace = Workspace::new(&*network, shape).unwrap();
        workspace.set_dropout_key(DropoutKey::new(7, 3));
        workspace.compute_input_gradient(true);
        workspace.compute_state_gradient(true);
        workspace.set_state(&start).unwrap();
        workspace.forward(&w, &x1, shape).unwrap().dy.copy_from_slice(&dy1);
        workspace.final_state_gradient_mut().copy_from_slice(&d_end);
        workspace.backward(&w).unwrap();
        same_bits(name, workspace.gradient(), &first.dw);
        workspace.carry_state();
        workspace.forward(&w, &x2, shape).unwrap().dy.copy_from_slice(&dy2);
        same_bits(name, workspace.gradient(), &first.dw);
        workspace.backward(&w).unwrap();
        same_bits(name, workspace.gradient(), &second.dw);
        same_bits(name, workspace.input_gradient(), &second.dx);
        same_bits(name, workspace.state_gradient(), &second.d_start);
        // Window 2's own gradient is no function of what window 1 was told about its end.
        let mut other = Workspace::new(&*network, shape).unwrap();
        other.set_dropout_key(DropoutKey::new(7, 3));
        other.set_state(&start).unwrap();
        other.forward(&w, &x1, shape).unwrap();
        other.carry_state();
        other.forward(&w, &x2, shape).unwrap().dy.copy_from_slice(&dy2);
        other.backward(&w).unwrap();
        same_bits(name, other.gradient(), &second.dw);
    }
}

/// Of a smaller batch more steps are one product: what a workspace was made for leaves room for that.
#[test]
fn batch_below_the_capacity_has_the_same_bits() {
    const INPUTS: usize = 300;
    let network = Sequential::<f64>::input(INPUTS).recurrent(2, Lstm::new()).build().unwrap();
    let w = initialize(&network, 1).unwrap();
    let shape = BatchShape::sequences(128, 4);
    let x = seeded_numbers::<f64>(2, shape.rows() * INPUTS);
    let gradient = |capacity: usize| {
        let mut workspace = Workspace::new(&network, BatchShape::sequences(capacity, 4)).unwrap();
        let output = workspace.forward(&w, &x, shape).unwrap();
        output.dy.copy_from_slice(output.y);
        workspace.backward(&w).unwrap().to_vec()
    };
    for capacity in [129, 130, 200, 257] {
        assert_eq!(gradient(capacity), gradient(128), "made for {capacity}");
    }
}

/// A minimal gated unit: `f = σ(W_f x + U_f h + b_f)`, `h̃ = tanh(W x + U (f ⊙ h) + b)`, `h' = (1 − f) ⊙ h + f ⊙ h̃`.
///
/// A user's own cell, of the public parts alone. Source: Zhou et al. 2016.
#[derive(Clone, Debug)]
struct OwnMgu;

impl Cell for OwnMgu {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("forget"), Gate::new("candidate")] }
    }

    fn products(&self) -> Vec<Product> {
        vec![
            Product { gates: 0..1, stage: 0, operand: Operand::Hidden, keep_separate: false },
            Product { gates: 1..2, stage: 1, operand: Operand::StageOutput, keep_separate: false },
        ]
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 0, between_stages: 1 }
    }

    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let f = Sigmoid.value(unit.z[j]);
            if stage == 0 {
                unit.operand[j] = f * unit.h_prev[j];
            } else {
                unit.h[j] = (T::one() - f) * unit.h_prev[j] + f * Tanh.value(unit.z[n + j]);
            }
        }
    }

    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let f = Sigmoid.value(unit.z[j]);
            if stage == 1 {
                let candidate = Tanh.value(unit.z[n + j]);
                unit.between_stages[j] = unit.d_h[j] * (candidate - unit.h_prev[j]);
                unit.d_h_prev[j] += unit.d_h[j] * (T::one() - f);
                unit.z[n + j] = unit.d_h[j] * f * Tanh.derivative(unit.z[n + j], candidate);
            } else {
                unit.d_h_prev[j] += unit.d_operand[j] * f;
                let d_f = unit.between_stages[j] + unit.d_operand[j] * unit.h_prev[j];
                unit.z[j] = d_f * Sigmoid.derivative(unit.z[j], f);
            }
        }
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// `Σ_j m[row, j] v_j`.
fn product(m: &[f64], row: usize, v: &[f64]) -> f64 {
    (0..v.len()).map(|j| m[row * v.len() + j] * v[j]).sum()
}

/// One step of a cell in plain loops: from W, U, b, x and h.
type Step = fn(&[f64], &[f64], &[f64], &[f64], &[f64]) -> Vec<f64>;

fn gru_reset_before(w: &[f64], u: &[f64], b: &[f64], x: &[f64], h: &[f64]) -> Vec<f64> {
    let n = h.len();
    let gate = |row: usize| sigmoid(product(w, row, x) + product(u, row, h) + b[row]);
    let kept: Vec<f64> = (0..n).map(|j| gate(j) * h[j]).collect();
    let step = |j: usize| {
        let (z, row) = (gate(n + j), 2 * n + j);
        (1.0 - z) * (product(w, row, x) + product(u, row, &kept) + b[row]).tanh() + z * h[j]
    };
    (0..n).map(step).collect()
}

fn minimal_gated(w: &[f64], u: &[f64], b: &[f64], x: &[f64], h: &[f64]) -> Vec<f64> {
    let n = h.len();
    let f: Vec<f64> = (0..n).map(|row| sigmoid(product(w, row, x) + product(u, row, h) + b[row])).collect();
    let kept: Vec<f64> = (0..n).map(|j| f[j] * h[j]).collect();
    let candidate = |row: usize| (product(w, row, x) + product(u, row, &kept) + b[row]).tanh();
    (0..n).map(|j| (1.0 - f[j]) * h[j] + f[j] * candidate(n + j)).collect()
}

/// All outputs of plain loops over samples and steps, time-major, and the final state.
fn plain(
    step: Step,
    gates: usize,
    shape: BatchShape<'_>,
    n: usize,
    w: &[f64],
    x: &[f64],
    start: &[f64],
) -> [Vec<f64>; 2] {
    let (weight, rest) = w.split_at(gates * n * INPUTS);
    let (recurrent, bias) = rest.split_at(gates * n * n);
    let (mut y, mut end) = (vec![0.0; shape.rows() * n], start.to_vec());
    for sample in 0..shape.batch {
        let mut h = start[sample * n..][..n].to_vec();
        for t in 0..shape.length(sample) {
            let row = shape.row(t, sample);
            h = step(weight, recurrent, bias, &x[row * INPUTS..][..INPUTS], &h);
            y[row * n..][..n].copy_from_slice(&h);
        }
        end[sample * n..][..n].copy_from_slice(&h);
    }
    [y, end]
}

/// A cell against plain loops: outputs and states to 1e-13, and every gradient, entry by entry, against a central
/// difference of the loops.
fn against_plain_loops(cell: impl Cell + Clone, gates: usize, step: Step) {
    let lengths = [4, 4, 2, 1];
    for (n, shape) in [(3, BatchShape::ragged(&lengths)), (5, BatchShape::sequences(2, 3))] {
        let layer = Recurrent::new(INPUTS, n, cell.clone());
        assert_eq!(Layer::<f64>::dims(&layer).parameters, gates * n * (INPUTS + n + 1));
        let w = seeded_numbers::<f64>(11, gates * n * (INPUTS + n + 1));
        let x = seeded_numbers::<f64>(12, shape.rows() * INPUTS);
        let start = seeded_numbers::<f64>(13, shape.batch * n);
        let dy = seeded_numbers::<f64>(14, shape.rows() * n);
        let d_end = seeded_numbers::<f64>(15, shape.batch * n);
        let given = Given { w: &w, x: &x, start: &start, dy: &dy, d_end: &d_end, first_sample: 0 };
        let found = run(&layer, shape, given);
        let [y, end] = plain(step, gates, shape, n, &w, &x, &start);
        let close = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-13);
        assert!(close(&found.y, &y) && close(&found.end, &end));
        let loss = |w: &[f64], x: &[f64], start: &[f64]| {
            let [y, end] = plain(step, gates, shape, n, w, x, start);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(&y, &dy) + dot(&end, &d_end)
        };
        let eps = 1e-6;
        let difference = |values: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let (mut more, mut less) = (values.to_vec(), values.to_vec());
            (more[i], less[i]) = (values[i] + eps, values[i] - eps);
            (loss(&more) - loss(&less)) / (2.0 * eps)
        };
        let check = |what: &str, gradient: &[f64], values: &[f64], loss: &dyn Fn(&[f64]) -> f64| {
            assert_eq!(gradient.len(), values.len());
            for (i, &found) in gradient.iter().enumerate() {
                let expected = difference(values, i, loss);
                assert!((found - expected).abs() < 1e-7, "{what} {i}: {found} is not {expected}");
            }
            // All entries at once, along one direction.
            let direction = seeded_numbers::<f64>(16, values.len());
            let moved = |by: f64| values.iter().zip(&direction).map(|(v, d)| v + by * d).collect::<Vec<_>>();
            let expected = (loss(&moved(eps)) - loss(&moved(-eps))) / (2.0 * eps);
            let found: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{what}: {found} is not {expected}");
        };
        check("parameter", &found.dw, &w, &|w| loss(w, &x, &start));
        check("input", &found.dx, &x, &|x| loss(&w, x, &start));
        check("state", &found.d_start, &start, &|start| loss(&w, &x, start));
    }
}

#[test]
fn gru_with_the_reset_before_the_product() {
    against_plain_loops(Gru::new().variant(GruVariant::ResetBefore), 3, gru_reset_before);
}

#[test]
fn mgu_agrees_with_plain_loops() {
    against_plain_loops(Mgu::new(), 2, minimal_gated);
}

#[test]
fn custom_cell_agrees_with_plain_loops() {
    against_plain_loops(OwnMgu, 2, minimal_gated);
    let blocks = chainrule::Blocks::collect(|visit| Layer::<f64>::blocks(&Recurrent::new(INPUTS, 4, OwnMgu), visit));
    let names: Vec<_> = blocks.iter().map(|block| (block.name.as_ref(), block.shape)).collect();
    assert_eq!(names, [("weight", [8, 3]), ("recurrent", [8, 4]), ("bias", [8, 1])]);
    assert_eq!(blocks.get("recurrent").unwrap().gates, OwnMgu.gates());
}
