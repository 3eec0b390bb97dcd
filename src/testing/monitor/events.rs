//! Artificial events for monitors: of each kind, with many links (factors of the chain rule), time steps and slice
//! lengths.

use crate::{
    activation::{Relu, Tanh},
    batch_shape::BatchShape,
    block::{Block, Blocks, Gate, Role},
    layer::LinkPath,
    monitor::{Event, Factor, GradientMonitor, Link},
    scalar::{Scalar, scalar},
    trainer::{Communication, Epoch, Evaluation, Spike, Step},
};
use alloc::{format, string::String, vec, vec::Vec};

/// The number of passes that a monitor receives, and the largest number of links and of time steps of a pass.
const MANY: usize = 1000;
const FACTORS: [Factor; 4] = [Factor::Weights, Factor::Activation, Factor::Addition, Factor::Other];
/// Gates of the crate's cells, and one of a custom cell.
const GATES: [Gate; 3] = [Gate::carrying_state("forget"), Gate::new("reset"), Gate::new("ζ")];
/// Lengths of the slices in events, used in turn.
const LENGTHS: [usize; 6] = [6, 1, 33, 1025, 2, 128];

/// Names of links (factors of the chain rule): of layers, of layers in nested branches, and of custom layers.
fn names() -> Vec<String> {
    let name = |i: usize| match i % 5 {
        0 => format!("{i}"),
        1 => format!("{i}.residual.branch.{i}"),
        2 => format!("stem.block {i}.recurrent"),
        3 => format!("{i}.0.1.residual.2.branch.0.3.forward.1.input"),
        _ => String::from("φ"),
    };
    (0..MANY).map(name).collect()
}

/// Blocks of every role, with gates and without.
fn blocks() -> Blocks {
    Blocks::collect(|visit| {
        visit(Block::new("0.weight", 0, [4, 3], Role::Weight).gates(&GATES[..2]));
        visit(Block::new("0.recurrent", 12, [4, 2], Role::Recurrent).gates(&GATES[..2]));
        visit(Block::new("0.bias", 20, [4, 1], Role::Bias));
        visit(Block::new("φ.branch.1.gain", 24, [1, 1], Role::Gain));
    })
}

fn values<T: Scalar>(length: usize) -> Vec<T> {
    (0..length).map(|i| scalar(0.25 * (i % 7) as f64 - 0.5)).collect()
}

/// Calls `visit` twice for each number i below `count`, in increasing order. The first link (factor of the chain
/// rule) has the index i, and a kind and batch shape that vary with i. The second has the index 7 and the time step
/// i.
fn links<'a>(names: &'a [String], count: usize, visit: &mut dyn FnMut(usize, &Link<'a>)) {
    let at = LinkPath::new(names);
    for i in 0..count {
        let factor = FACTORS[i % FACTORS.len()];
        let link = at.part(i).link(factor, BatchShape::sequences(1 + i % 3, 1 + i % 4));
        let link =
            if factor == Factor::Activation { link.activation(if i % 3 == 0 { &Relu } else { &Tanh }) } else { link };
        match i % 3 {
            0 => visit(i, &link),
            1 => visit(i, &at.part(i).branch().link(factor, BatchShape::batch(2))),
            _ => visit(i, &link.at_step(i).gate(GATES[i % 9 / 3])),
        }
        visit(i, &at.part(7).link(factor, BatchShape::sequences(2, MANY)).at_step(i));
    }
}

/// Sends events as networks, optimizers and trainers do. The events of a pass are sent only if the monitor is active.
pub(super) fn usual<T: Scalar>(monitor: &mut dyn GradientMonitor<T>) {
    let (names, blocks) = (names(), blocks());
    let slices = LENGTHS.map(values::<T>);
    let w = values::<T>(blocks.parameters());
    let pass = |monitor: &mut dyn GradientMonitor<T>, i: usize, first: bool| {
        if !first {
            monitor.event(&Event::NextPart);
        }
        monitor.begin_pass();
        if !monitor.is_active() {
            return;
        }
        let mut last = Vec::new();
        // Most passes report a few links; one reports [`MANY`].
        links(&names, if i == 400 { MANY } else { 3 }, &mut |j, link| {
            let slice = &slices[j % slices.len()];
            monitor.forward(link, slice, slice);
            last.push((j, *link));
        });
        monitor.event(&Event::Rows { of_update: [1.0, 0.25][i % 2], effective: [1.0, 0.5, 0.1][i % 3] });
        for (j, link) in last.iter().rev() {
            let slice = &slices[j % slices.len()];
            monitor.backward(link, slice, slice);
        }
        monitor.event(&Event::Loss([1.0, 1e-9, 2.5, 1e9, 0.0, -3.0][i % 6]));
        monitor.event(&Event::Clip([1.0, 0.5, 1e-9][i % 3]));
        monitor.event(&Event::Gradient { blocks: &blocks, w: &w, dw: &w });
        monitor.event(&Event::Update { blocks: &blocks, w: &w, update: &w });
        monitor.event(&Event::Step(&varied_step(i as u64)));
    };
    for i in 0..MANY {
        pass(monitor, i, i % 5 != 3);
        if i % 100 == 99 {
            monitor.event(&Event::Epoch(&varied_epoch(i as u64)));
        }
    }
}

/// Returns the record of update number `i`. Some records lack optional values: a learning rate, norms, seconds. Some
/// updates are skipped, and some are those of several ranks.
fn varied_step(i: u64) -> Step {
    let all = step(i, 0.5);
    let communication = Communication { sent: 4096, received: 2048, seconds: 0.25, ..Communication::default() };
    Step {
        applied: i % 7 != 5,
        learning_rate: all.learning_rate.filter(|_| i % 3 != 1),
        clipped_norm: all.clipped_norm.filter(|_| i.is_multiple_of(2)),
        seconds: all.seconds.filter(|_| i % 5 != 2),
        communication: (i % 4 == 3).then_some(communication),
        ..all
    }
}

/// Returns the record of an epoch of `i` updates. Some records lack optional values: validation, accuracy, a learning
/// rate, norms, seconds.
fn varied_epoch(i: u64) -> Epoch {
    let (turn, all) = (i / 100, epoch(i, 0.5));
    let validation = all.validation.filter(|_| turn % 3 != 1);
    Epoch {
        skipped: turn % 2,
        validation: validation
            .map(|found| Evaluation { accuracy: found.accuracy.filter(|_| turn.is_multiple_of(2)), ..found }),
        learning_rate: all.learning_rate.filter(|_| turn % 4 != 2),
        gradient_norm: all.gradient_norm.filter(|_| turn % 5 != 3),
        clipped_norm: all.clipped_norm.filter(|_| turn % 2 == 1),
        seconds: all.seconds.filter(|_| turn % 3 != 2),
        ..all
    }
}

/// Returns the record of optimizer step number `step`, whose loss, norms, learning rate and seconds are all `number`.
fn step(step: u64, number: f64) -> Step {
    let some = Some(number);
    Step {
        step,
        epoch: 1,
        loss: number,
        applied: true,
        learning_rate: some,
        gradient_norm: number,
        clipped_norm: some,
        samples: 3,
        seconds: some,
        communication: None,
        spike: (step % 2 == 1).then(|| Spike::non_finite(1, 2, Some(3))),
    }
}

/// Returns the record of an epoch of `steps` updates, whose losses, accuracy, norms, learning rate and seconds are all
/// `number`.
fn epoch(steps: u64, number: f64) -> Epoch {
    let validation = Some(Evaluation { loss: number, accuracy: Some(number) });
    let some = Some(number);
    Epoch {
        epoch: 1,
        loss: number,
        validation,
        steps,
        skipped: 0,
        learning_rate: some,
        gradient_norm: some,
        clipped_norm: some,
        samples: 3,
        seconds: some,
    }
}

/// Sends events that no network of the crate sends: in any order, with empty slices, NaN and infinity.
pub(super) fn strange<T: Scalar>(monitor: &mut dyn GradientMonitor<T>) {
    let (names, known) = (names(), blocks());
    let none = Blocks::default();
    let usual = values(known.parameters());
    monitor.event(&Event::Update { blocks: &known, w: &usual, update: &usual });
    monitor.event(&Event::NextPart);
    let numbers = [T::nan(), T::infinity(), T::neg_infinity(), T::zero(), T::max_value(), T::min_positive_value()];
    for slice in [&[][..], &numbers] {
        for factor in FACTORS {
            let link = LinkPath::new(&names).link(factor, BatchShape::batch(1));
            for link in [link, link.at_step(3), link.gate(Gate::new("gate")), link.activation(&Tanh)] {
                monitor.backward(&link, slice, slice);
                monitor.forward(&link, slice, slice);
            }
        }
        monitor.event(&Event::Gradient { blocks: &none, w: slice, dw: slice });
        monitor.event(&Event::Update { blocks: &none, w: slice, update: slice });
        monitor.begin_pass();
    }
    for number in numbers {
        let strange = vec![number; known.parameters()];
        monitor.event(&Event::Gradient { blocks: &known, w: &strange, dw: &strange });
        monitor.event(&Event::Update { blocks: &known, w: &strange, update: &strange });
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MAX, f64::MIN_POSITIVE] {
        monitor.event(&Event::Loss(number));
        monitor.event(&Event::Clip(number));
        monitor.event(&Event::Rows { of_update: number, effective: number });
        monitor.event(&Event::Step(&step(u64::MAX, number)));
        monitor.event(&Event::Epoch(&epoch(u64::MAX, number)));
        monitor.begin_pass();
    }
}
