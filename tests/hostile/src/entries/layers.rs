//! Layers, networks, descriptions, and direct passes through them.

use super::{Known, drive, drive_node, entry};
use crate::{
    Entry,
    case::{Case, Fault, Taste, Verdict, ensure},
    liars::{LIES, Liar, LyingCell},
};
use chainrule::{
    BatchShape, GradientMonitor, Layer, Scalar,
    activation::{Relu, Sigmoid, Tanh},
    layer::{
        ActivationLayer, Backward, BatchNorm, BranchScale, Context, Dims, Dropout, DualLayer, Embedding, Forward,
        GatedLinear, GroupNorm, LastStep, LayerNorm, LayerSpec, Linear, LogSoftmax, MeanOverSteps, MemorySizes, Merge,
        Mode, PRelu, Parallel, PartSizes, Parts, Residual, RmsNorm, RowMap, Sequential, Softmax, Structure, initialize,
    },
    monitor::Factor,
    network::summary,
    recurrent::{
        Bidirectional, CellKind, CheckpointInterval, Checkpointed, Elman, Gru, GruVariant, Lstm, Mgu, Operand, Product,
        Recurrent, Reversed, StateNoise, StepBounds,
    },
};

/// Outputs that add up inputs and parameters, whatever their numbers.
#[derive(Debug)]
struct Sums(Dims);

impl RowMap for Sums {
    fn dims(&self) -> Dims {
        self.0
    }
    fn row<T: Scalar>(&self, w: &[T], x: &[T], y: &mut [T]) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = w.iter().skip(i).chain(x.iter().skip(i)).fold(T::zero(), |sum, &value| sum + value);
        }
    }
}

/// A chain of two parts, or the sum of their outputs.
#[derive(Debug)]
struct Both<T: Scalar> {
    parts: Parts<T, 2>,
    is_chain: bool,
    /// Values of a buffer that the backward pass asks for.
    buffer: usize,
}

impl<T: Scalar> Layer<T> for Both<T> {
    fn dims(&self) -> Dims {
        self.parts.dims()
    }
    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.parts.output_shape(shape)
    }
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.parts.memory(shape, mode)
    }
    fn structure(&self) -> Structure<'_, T> {
        self.parts.structure()
    }
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.parts.gain_bounds(w, shape).map(|[f, g]| if self.is_chain { f * g } else { f + g }.next_up())
    }
    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (mut pass, [f, g]) = self.parts.forward(w, pass);
        let f = f.run(pass.x, &mut pass);
        let g = g.run(if self.is_chain { f } else { pass.x }, &mut pass);
        if !self.is_chain {
            pass.y.iter_mut().zip(f.iter().zip(g)).for_each(|(y, (&f, &g))| *y = f + g);
            pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
        }
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (mut pass, [f, g]) = self.parts.backward(w, pass);
        pass.buffer(self.buffer).fill(T::nan());
        if self.is_chain {
            let dz = g.run(f.y, pass.dy, &mut pass);
            f.run(pass.x, dz, &mut pass);
            return;
        }
        let (f, g) = (f.run(pass.x, pass.dy, &mut pass), g.run(pass.x, pass.dy, &mut pass));
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(f.iter().zip(g)).for_each(|(dx, (&f, &g))| *dx = f + g);
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            12,
            &["layer::Linear::new", "layer::Linear::weights", "layer::Linear::bias", "layer::Linear: Layer"],
            &[],
            |c| {
                let mut layer = Linear::new(c.size(), c.size());
                if c.flag() {
                    layer = layer.weights(c.initializer());
                }
                if c.flag() {
                    layer = layer.bias(c.initializer());
                } else if c.flag() {
                    layer = layer.without_bias();
                }
                known::<f64>(c, Box::new(layer))
            },
        ),
        entry(6, &["layer::ActivationLayer::new", "layer::ActivationLayer: Layer"], &[], |c| {
            let width = c.size();
            match c.below(3) {
                0 => known::<f32>(c, Box::new(ActivationLayer::new(width, Tanh))),
                1 => known::<f64>(c, Box::new(ActivationLayer::new(width, Relu))),
                _ => known::<f32>(c, Box::new(ActivationLayer::new(width, Sigmoid))),
            }
        }),
        entry(
            5,
            &[
                "layer::DualLayer {}",
                "layer::DualLayer: Layer",
                "layer::RowMap::row",
                "layer::RowMap::blocks",
                "layer::RowMap::initialize",
            ],
            &[],
            |c| {
                let map = Sums(Dims::new(c.size(), c.size(), c.size()));
                if c.flag() {
                    known::<f32>(c, Box::new(DualLayer(map)))
                } else {
                    known::<f64>(c, Box::new(DualLayer(map)))
                }
            },
        ),
        entry(5, &["layer::PRelu::new", "layer::PRelu::initial", "layer::PRelu: Layer"], &[], |c| {
            let slope = c.about(0.25);
            let layer = PRelu::new(c.size()).initial(slope);
            ensure(layer.is_err() || slope.is_finite(), || format!("a slope of {slope:e}"))?;
            let layer = layer?;
            let other = c.flag();
            known::<f32>(c, if other { Box::new(layer.per_unit()) } else { Box::new(layer) })
        }),
        entry(6, &["layer::LayerNorm::new", "layer::LayerNorm::epsilon", "layer::LayerNorm: Layer"], &[], |c| {
            let epsilon = c.about(1e-5);
            let layer = LayerNorm::new(c.size()).epsilon(epsilon);
            ensure(layer.is_err() || epsilon.is_normal() && epsilon > 0.0, || format!("ε = {epsilon:e}"))?;
            let layer = layer?;
            let other = c.flag();
            known::<f32>(c, if other { Box::new(layer.without_affine()) } else { Box::new(layer) })
        }),
        entry(6, &["layer::RmsNorm::new", "layer::RmsNorm::epsilon", "layer::RmsNorm: Layer"], &[], |c| {
            let epsilon = c.about(1e-5);
            let layer = RmsNorm::new(c.size()).epsilon(epsilon);
            ensure(layer.is_err() || epsilon.is_normal() && epsilon > 0.0, || format!("ε = {epsilon:e}"))?;
            let layer = layer?;
            let other = c.flag();
            known::<f64>(c, if other { Box::new(layer.without_affine()) } else { Box::new(layer) })
        }),
        entry(
            5,
            &[
                "layer::GroupNorm::new",
                "layer::GroupNorm::epsilon",
                "layer::GroupNorm: Layer",
                "layer::GroupNorm: Deserialize",
                "network::Builder::group_norm",
            ],
            &[],
            |c| {
                let (width, groups, epsilon) = (c.size(), c.size(), c.about(1e-5));
                let divides = groups > 0 && width.is_multiple_of(groups);
                if c.flag() {
                    let text = format!(
                        "{{\"GroupNorm\":{{\"width\":{width},\"groups\":{groups},\"epsilon\":1e-5,\"affine\":true}}}}"
                    );
                    let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                    let built = read.build::<f32>();
                    ensure(built.is_err() || divides, || format!("{groups} groups of {width} values"))?;
                    return drive::<f32>(c, built?, None);
                }
                if c.flag() {
                    let network = Sequential::<f64>::input(width).group_norm(groups).build()?;
                    return drive::<f64>(c, Box::new(network), None);
                }
                let layer = GroupNorm::new(width, groups);
                ensure(layer.is_err() || divides, || format!("{groups} groups of {width} values"))?;
                let layer = layer?.epsilon(epsilon);
                ensure(layer.is_err() || epsilon.is_normal() && epsilon > 0.0, || format!("ε = {epsilon:e}"))?;
                let layer = layer?;
                let layer = if c.flag() { layer.without_affine() } else { layer };
                drive::<f32>(c, Box::new(layer), None)
            },
        ),
        entry(
            6,
            &[
                "layer::BatchNorm::new",
                "layer::BatchNorm::epsilon",
                "layer::BatchNorm::momentum",
                "layer::BatchNorm: Layer",
                "layer::BatchNorm: Deserialize",
            ],
            &[],
            |c| {
                let (width, epsilon, momentum) = (c.size(), c.about(1e-5), c.about(0.1));
                let valid = epsilon.is_normal() && epsilon > 0.0 && (0.0..=1.0).contains(&momentum);
                if c.flag() {
                    let node = c.width();
                    let text = format!(
                        "{{\"BatchNorm\":{{\"width\":{node},\"epsilon\":1e-5,\"momentum\":{momentum:?},\
                         \"affine\":true}}}}"
                    );
                    let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                    let built = read.build::<f32>();
                    ensure(built.is_err() || (0.0..=1.0).contains(&momentum), || format!("momentum {momentum:e}"))?;
                    return drive::<f32>(c, built?, None);
                }
                if c.flag() {
                    let network = Sequential::<f64>::input(width).batch_norm().build()?;
                    return drive::<f64>(c, Box::new(network), None);
                }
                let layer = BatchNorm::new(width).epsilon(epsilon).and_then(|layer| layer.momentum(momentum));
                ensure(layer.is_err() || valid, || format!("ε = {epsilon:e}, momentum {momentum:e}"))?;
                let layer = layer?;
                let layer = if c.flag() { layer.without_affine() } else { layer };
                drive::<f32>(c, Box::new(layer), None)
            },
        ),
        entry(
            6,
            &[
                "layer::Embedding::new",
                "layer::Embedding::columns",
                "layer::Embedding::padding",
                "layer::Embedding::weights",
                "layer::Embedding: Layer",
                "layer::Embedding: Deserialize",
                "network::Builder::embedding",
            ],
            &[],
            |c| {
                let (vocabulary, dimension, columns) = (c.size(), c.size(), c.size());
                if c.flag() {
                    let builder = Sequential::<f32>::input(c.width()).embedding(c.width(), c.width());
                    let network = builder.layer(Linear::new(c.width(), 2)).build()?;
                    return drive::<f32>(c, Box::new(network), None);
                }
                if c.flag() {
                    let node = serde_json::to_string(&Layer::<f64>::spec(&Embedding::new(5, 2).padding(1)?));
                    let text = corrupt(c, node.unwrap_or_default());
                    let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                    return drive::<f64>(c, read.build()?, None);
                }
                let mut layer = Embedding::new(vocabulary, dimension).columns(columns).weights(c.initializer());
                if c.flag() {
                    let padding = c.size();
                    let padded = layer.padding(padding);
                    ensure(padded.is_err() || padding < vocabulary, || format!("{padding} of {vocabulary}"))?;
                    layer = padded?;
                }
                drive::<f64>(c, Box::new(layer), None)
            },
        ),
        entry(
            6,
            &[
                "layer::Parallel::new",
                "layer::Parallel: Layer",
                "layer::Merge: Deserialize",
                "network::Builder::parallel",
                "network::Builder::bidirectional_summary",
                "network::Builder::locked_dropout",
                "network::Branches::branch",
            ],
            &[],
            |c| {
                let (width, merge) = (c.width(), c.of(&[Merge::Concatenate, Merge::Sum]));
                if c.flag() {
                    let (a, b, rate) = (c.width(), c.width(), c.real());
                    let network = Sequential::<f64>::input(width)
                        .parallel(merge, |all| all.branch(|x| x.linear(a)).branch(|x| x.locked_dropout(rate).lstm(b)))
                        .bidirectional_summary(b, Gru::new())
                        .build()?;
                    return drive::<f64>(c, Box::new(network), None);
                }
                let branches = (0..c.few()).map(|_| c.node(width, 1)).collect::<Vec<_>>();
                let node = LayerSpec::Parallel { branches, merge };
                if c.once_in(3) {
                    let text = corrupt(c, serde_json::to_string(&node).unwrap_or_default());
                    let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                    return drive::<f32>(c, read.build()?, None);
                }
                let LayerSpec::Parallel { branches, .. } = &node else { return Ok(()) };
                let built = branches.iter().map(LayerSpec::build::<f32>).collect::<Result<Vec<_>, _>>()?;
                let whole = Parallel::new(merge, built)?;
                drive::<f32>(c, Box::new(whole), None)
            },
        ),
        entry(
            6,
            &[
                "recurrent::Checkpointed::new",
                "recurrent::Checkpointed::within",
                "recurrent::Checkpointed: Layer",
                "recurrent::CheckpointInterval {}",
                "recurrent::CheckpointInterval: Deserialize",
                "network::Builder::checkpointed",
            ],
            &[],
            |c| {
                let interval = match c.flag() {
                    true => CheckpointInterval::SquareRoot,
                    false if c.flag() => CheckpointInterval::Bytes(c.size()),
                    false => CheckpointInterval::Steps(c.size()),
                };
                let (width, hidden, rate) = (c.width(), c.width(), c.real());
                if c.flag() {
                    let last = c.flag();
                    let network = Sequential::<f64>::input(width)
                        .checkpointed(interval, |b| {
                            let stack = b.recurrent(hidden, Lstm::new()).dropout(rate).recurrent(hidden, Gru::new());
                            if last { stack.last_step() } else { stack }
                        })
                        .build()?;
                    return drive::<f64>(c, Box::new(network), None);
                }
                let layers = (0..c.few()).map(|_| c.node(width, 1)).collect::<Vec<_>>();
                let node = LayerSpec::Checkpointed { interval, layers };
                if c.flag() {
                    let text = corrupt(c, serde_json::to_string(&node).unwrap_or_default());
                    let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                    return drive::<f32>(c, read.build()?, None);
                }
                let one: Box<dyn chainrule::Layer<f32>> = Box::new(Recurrent::new(width, hidden, Lstm::new()));
                let whole = Checkpointed::new(interval, vec![one])?;
                let (shape, bytes) = (BatchShape::sequences(c.size(), c.size()), c.size());
                drive::<f32>(c, Box::new(whole.within(bytes, shape)?), None)
            },
        ),
        entry(
            6,
            &[
                "recurrent::Recurrent::recurrent_dropout",
                "recurrent::Recurrent::zoneout",
                "recurrent::StateNoise {}",
                "network::Builder::recurrent_with",
            ],
            &[],
            |c| {
                let [dropout, hidden, cell] = [(); 3].map(|()| c.about(0.3));
                let (inputs, units, other) = (c.width(), c.width(), c.flag());
                let set = |rates: [f64; 3]| rates.iter().all(|rate| (0.0..1.0).contains(rate));
                if other {
                    let layer = Recurrent::new(inputs, units, Lstm::new()).recurrent_dropout(dropout)?;
                    let layer = layer.zoneout(hidden, cell)?;
                    ensure(set([dropout, hidden, cell]), || format!("{dropout:e} {hidden:e} {cell:e}"))?;
                    return drive::<f64>(c, Box::new(layer), None);
                }
                let network = Sequential::<f32>::input(inputs)
                    .recurrent_with(units, Gru::new().variant(GruVariant::ResetBefore), |layer| {
                        layer.recurrent_dropout(dropout)?.zoneout(hidden, cell)
                    })
                    .build()?;
                drive::<f32>(c, Box::new(network), None)
            },
        ),
        entry(4, &["recurrent::StateNoise: Deserialize"], &[], |c| {
            let (dropout, zoneout_hidden, zoneout_cell) = (c.about(0.1), c.about(0.2), c.about(0.3));
            json::<StateNoise>(c, &StateNoise { dropout, zoneout_hidden, zoneout_cell })
        }),
        entry(5, &["layer::Dropout::new", "layer::Dropout: Layer"], &[], |c| {
            let rate = c.real();
            let layer = Dropout::new(c.size(), rate);
            ensure(layer.is_err() || (0.0..1.0).contains(&rate), || format!("a rate of {rate:e}"))?;
            known::<f32>(c, Box::new(layer?))
        }),
        entry(4, &["layer::LastStep::new"], &[], |c| {
            let n = c.size();
            known::<f32>(c, Box::new(LastStep::new(n)))
        }),
        entry(4, &["layer::MeanOverSteps::new"], &[], |c| {
            let n = c.size();
            known::<f64>(c, Box::new(MeanOverSteps::new(n)))
        }),
        entry(
            6,
            &["layer::Residual::new", "layer::Residual::scale", "layer::BranchScale {}", "layer::Residual: Layer"],
            &[],
            |c| {
                let width = c.width();
                let node = c.sequence(width, 1);
                let value = c.real();
                let scale = if c.flag() { BranchScale::Fixed(value) } else { BranchScale::Learned(value) };
                let layer = Residual::<f64>::new(node.build::<f64>()?)?.scale(scale);
                ensure(layer.is_err() || value.is_finite(), || format!("a scale of {value:e}"))?;
                known::<f64>(c, Box::new(layer?))
            },
        ),
        entry(
            12,
            &[
                "layer::Sequential::new",
                "layer::Sequential::push",
                "layer::Sequential::push_boxed",
                "layer::Sequential::append",
                "layer::Sequential: Layer",
            ],
            &[],
            |c| {
                let width = c.width();
                let mut network = Sequential::<f32>::new(width);
                for _ in 0..c.few() {
                    let node = c.node(network.width(), 1);
                    let layer = node.build::<f32>()?;
                    if c.flag() { network.push_boxed(layer)? } else { network.push(layer)? }
                }
                let before = network.width();
                let mut other = Sequential::<f32>::new(if c.once_in(4) { c.size() } else { before });
                if c.flag() {
                    other.push(Linear::new(other.width(), c.width()))?;
                }
                let width = other.width();
                let empty = other.is_empty();
                network.append(other)?;
                ensure(empty || network.width() == width, || format!("{} for {width}", network.width()))?;
                known::<f32>(c, Box::new(network))
            },
        ),
        entry(
            10,
            &[
                "layer::Sequential::input",
                "network::Builder::linear",
                "network::Builder::activation",
                "network::Builder::dropout",
                "network::Builder::layer",
                "network::Builder::recurrent",
                "network::Builder::lstm",
                "network::Builder::gru",
                "network::Builder::bidirectional",
                "network::Builder::residual",
            ],
            &[],
            |c| {
                let mut builder = Sequential::<f64>::input(c.width());
                for _ in 0..c.few() {
                    builder = match c.below(13) {
                        0 | 1 => builder.linear(c.width()),
                        2 => builder.activation(Tanh),
                        11 => builder.lstm(c.width()).relu(),
                        12 => builder.gru(c.width()).tanh(),
                        3 => builder.prelu().layer_norm(),
                        4 => builder.rms_norm(),
                        5 => builder.dropout(c.real()),
                        6 => {
                            let n = c.width();
                            builder.residual(|branch| branch.linear(n).activation(Relu).linear(n))
                        }
                        7 => builder.recurrent(c.width(), Lstm::new()),
                        8 => builder.bidirectional(c.width(), Gru::new()),
                        9 => builder.last_step(),
                        _ => {
                            let n = c.size();
                            builder.mean_over_steps().layer(Linear::new(n, 2))
                        }
                    };
                    let _ = builder.width();
                }
                let network = builder.build()?;
                known::<f64>(c, Box::new(network))
            },
        ),
        entry(
            4,
            &[
                "layer::GatedLinear::new",
                "layer::GatedLinear::weights",
                "layer::GatedLinear::bias",
                "layer::GatedLinear: Layer",
                "layer::GatedLinear: Deserialize",
                "network::Builder::gated_linear",
            ],
            &[],
            |c| {
                let (inputs, outputs, width) = (c.size(), c.size(), c.width());
                let mut layer = GatedLinear::new(inputs, outputs, Sigmoid);
                if c.flag() {
                    layer = layer.weights(c.initializer()).bias(c.initializer());
                } else if c.flag() {
                    layer = layer.without_bias();
                }
                if c.flag() {
                    let text = serde_json::to_string(&Layer::<f32>::spec(&layer)).unwrap_or_default();
                    let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                    return drive::<f32>(c, read.build()?, None);
                }
                if c.flag() {
                    let network = Sequential::<f64>::input(width).gated_linear(outputs, Relu).build()?;
                    return drive::<f64>(c, Box::new(network), None);
                }
                drive::<f64>(c, Box::new(layer), None)
            },
        ),
        entry(3, &["layer::Softmax::new", "layer::Softmax: Layer", "layer::Softmax: Deserialize"], &[], |c| {
            let (width, size) = (c.width(), c.size());
            let text = format!("{{\"Softmax\":{{\"width\":{size}}}}}");
            if c.flag() {
                let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                return drive::<f32>(c, read.build()?, None);
            }
            if c.flag() {
                return drive::<f64>(c, Box::new(Sequential::<f64>::input(width).softmax().build()?), None);
            }
            drive::<f64>(c, Box::new(Softmax::new(size)), None)
        }),
        entry(3, &["layer::LogSoftmax::new", "layer::LogSoftmax: Layer", "layer::LogSoftmax: Deserialize"], &[], |c| {
            let (width, size) = (c.width(), c.size());
            let text = format!("{{\"LogSoftmax\":{{\"width\":{size}}}}}");
            if c.flag() {
                let read = serde_json::from_str::<LayerSpec>(&text).map_err(|_| Fault::Refused("JSON".into()))?;
                return drive::<f32>(c, read.build()?, None);
            }
            if c.flag() {
                return drive::<f64>(c, Box::new(Sequential::<f64>::input(width).log_softmax().build()?), None);
            }
            drive::<f64>(c, Box::new(LogSoftmax::new(size)), None)
        }),
        entry(24, &["layer::LayerSpec {}", "recurrent::CellKind {}"], &[], |c| {
            let input = c.width();
            let node = c.sequence(input, 3);
            if c.flag() { drive_node::<f32>(c, &node, input) } else { drive_node::<f64>(c, &node, input) }
        }),
        entry(4, &["layer::LayerSpec::build"], &[], |c| {
            // Deep nesting.
            let depth = c.of(&[10_usize, 40, 1000, 5_000, 100_000]);
            let kind = c.below(5);
            let mut node = LayerSpec::LastStep(LastStep::new(2));
            for _ in 0..depth {
                node = match kind {
                    0 => LayerSpec::Sequential { input: 2, layers: vec![node] },
                    1 => LayerSpec::Residual { branch: Box::new(node), scale: BranchScale::Fixed(1.0) },
                    2 => LayerSpec::Reversed(Box::new(node)),
                    3 => LayerSpec::Bidirectional {
                        forward: Box::new(node),
                        backward: Box::new(LayerSpec::LastStep(LastStep::new(2))),
                    },
                    _ => LayerSpec::Sequential { input: 2, layers: vec![LayerSpec::Reversed(Box::new(node))] },
                };
            }
            let built = node.build::<f32>();
            match c.below(4) {
                0 => {
                    let _ = node.clone();
                }
                1 => {
                    let _ = format!("{node:?}");
                }
                2 => {
                    let same = &node;
                    let _ = node == *same;
                }
                _ => {
                    let _ = serde_json::to_string(&node);
                }
            }
            let network = built?;
            let _ = (network.spec(), format!("{:?}", summary(&*network)));
            Ok(())
        }),
        entry(
            6,
            &[
                "recurrent::Recurrent::new",
                "recurrent::Recurrent::weights",
                "recurrent::Recurrent::recurrent",
                "recurrent::Recurrent::bias",
                "recurrent::Recurrent: Layer",
                "recurrent::Lstm::new",
                "recurrent::Lstm: Cell",
            ],
            &[],
            |c| {
                let mut layer = Recurrent::new(c.size(), c.size(), Lstm::new());
                if c.flag() {
                    layer = layer.weights(c.initializer()).recurrent(c.initializer());
                }
                if c.flag() {
                    layer = layer.bias(c.initializer());
                } else if c.flag() {
                    layer = layer.without_bias();
                }
                known::<f32>(c, Box::new(layer))
            },
        ),
        entry(5, &["recurrent::Gru::new", "recurrent::Gru::variant", "recurrent::Gru: Cell"], &[], |c| {
            let reset = c.of(&[GruVariant::ResetAfter, GruVariant::ResetBefore]);
            let layer = Recurrent::new(c.width(), c.width(), Gru::new().variant(reset));
            known::<f64>(c, Box::new(layer))
        }),
        entry(4, &["recurrent::Mgu::new", "recurrent::Mgu: Cell"], &[], |c| {
            let layer = Recurrent::new(c.width(), c.width(), Mgu::new());
            known::<f64>(c, Box::new(layer))
        }),
        entry(4, &["recurrent::Elman::new", "recurrent::Elman: Cell"], &[], |c| {
            let layer = Recurrent::new(c.width(), c.width(), Elman::new(Relu));
            known::<f32>(c, Box::new(layer))
        }),
        entry(4, &["recurrent::Reversed::new", "recurrent::Reversed: Layer"], &[], |c| {
            let width = c.width();
            let mut layer = c.node(width, 1).build::<f64>()?;
            let depth = if c.once_in(10) { c.of(&[2_usize, 127, 128, 100_000]) } else { 1 };
            for _ in 0..depth {
                layer = Box::new(Reversed::new::<f64>(layer)?);
            }
            ensure(depth < 129, || format!("{depth} levels"))?;
            known::<f64>(c, layer)
        }),
        entry(5, &["recurrent::Bidirectional::new", "recurrent::Bidirectional: Layer"], &[], |c| {
            let width = c.width();
            let (one, other) = (c.node(width, 1).build::<f64>()?, c.node(width, 1).build::<f64>()?);
            known::<f64>(c, Box::new(Bidirectional::new::<f64>(one, other)?))
        }),
        // A lie that only a pass can see ends in a panic that names the law.
        entry(
            20,
            &[
                "recurrent::Product {}",
                "recurrent::StepBounds {}",
                "recurrent::CellSizes {}",
                "recurrent::Cell::forward",
                "recurrent::Cell::backward",
                "recurrent::Cell::activation",
                "recurrent::Cell::step_bounds",
            ],
            &["must ", "a cell that breaks a rule"],
            |c| {
                let _ = Product {
                    gates: c.size()..c.size(),
                    stage: c.size(),
                    operand: Operand::StageOutput,
                    keep_separate: c.flag(),
                };
                let _ = StepBounds { state: [[c.real(); 2]; 2], input: [c.real(); 2] };
                let cell = LyingCell::new(c);
                let layer = Recurrent::new(c.width(), c.width(), cell);
                embedded::<f64>(c, Box::new(layer))
            },
        ),
        entry(
            30,
            &[
                "layer::Layer::forward",
                "layer::Layer::blocks",
                "layer::Layer::structure",
                "layer::Layer::memory",
                "layer::Layer::initialize_buffers",
                "layer::Layer::output_shape",
                "layer::Layer::hints",
                "layer::Layer::reads_later_steps",
                "layer::Layer::initialize",
                "layer::Layer::gain_bound",
                "layer::Layer::state_gain_bounds",
            ],
            &["must ", "a Sequential: ", "the network: ", "liars.rs"],
            |c| {
                let lie = c.of(LIES);
                let width = 1 + c.below(4);
                let liar = Liar::new(width, lie, c);
                embedded::<f32>(c, Box::new(liar))
            },
        ),
        entry(
            4,
            &[
                "layer::Structure::chain",
                "layer::Structure::branches",
                "layer::Structure::links",
                "layer::Structure::own_parameters",
                "layer::Structure::part",
                "layer::Structure::link_names",
                "layer::PartSizes::of",
            ],
            &[],
            |c| {
                let parts = [c.node(2, 2), c.node(2, 2)].map(|node| node.build::<f32>());
                let [Ok(first), Ok(second)] = parts else { return Ok(()) };
                let whole = if c.flag() { Structure::chain() } else { Structure::branches() };
                let names = ["", "a", "a.b"];
                let whole = whole.links(&names[..c.below(4)]).own_parameters(c.size());
                let whole = whole.part(c.of(&names), &*first).part(c.of(&names), &*second);
                let _ = format!("{:?} {:?} {:?}", whole.kind(), whole.link_names(c.of(&names)), PartSizes::of(&*first));
                let _ = whole.parts().map(|(name, _, range)| name.len().saturating_add(range.len())).max();
                Ok(())
            },
        ),
        entry(
            12,
            &[
                "layer::Parts::chain",
                "layer::Parts::branches",
                "layer::Parts::output_shape",
                "layer::Parts::memory",
                "layer::Parts::gain_bounds",
                "layer::Parts::forward",
                "layer::Parts::backward",
                "layer::ForwardPart::run",
                "layer::BackwardPart::run",
                "layer::BackwardParts::buffer",
            ],
            &["must ", "a Sequential: ", "the network: ", "liars.rs"],
            |c| {
                let (width, is_chain) = (c.width(), c.flag());
                let f = c.node(width, 1).build::<f32>()?;
                let next = if is_chain { f.dims().output } else { width };
                let g: Box<dyn Layer<f32>> = match c.once_in(4) {
                    true => Box::new(Liar::new(1 + c.below(4), c.of(LIES), c)),
                    false => c.node(next, 1).build::<f32>()?,
                };
                let parts = [("f", f), ("g", g)];
                let parts = if is_chain { Parts::chain(parts)? } else { Parts::branches(parts)?.equal_widths()? };
                let buffer = if c.once_in(8) { c.size() } else { 0 };
                embedded::<f32>(c, Box::new(Both { parts, is_chain, buffer }))
            },
        ),
        entry(
            16,
            &[
                "layer::Layer::backward",
                "layer::Forward::new",
                "layer::Backward::new",
                "layer::Context::new",
                "layer::Context::part",
                "layer::Context::report_activation",
                "layer::Context::report_activation_gradient",
                "layer::Context::report_backward",
                "layer::Context::report_forward",
                "layer::Context::branch",
            ],
            &["must "],
            |c| {
                let width = c.width();
                let node = c.node(width, 2);
                let layer = node.build::<f64>()?;
                direct(c, &*layer)
            },
        ),
        entry(4, &["layer::initialize", "network::summary"], &[], |c| {
            let width = c.size();
            let layer = c.node(width, 2).build::<f32>()?;
            let _ = format!("{:?}", summary(&*layer));
            let w = initialize(&*layer, c.word())?;
            ensure(w.iter().all(|w: &f32| w.is_finite()), || "initial weights are not finite".into())
        }),
        entry(
            12,
            &[
                "layer::LayerSpec: Deserialize",
                "layer::LastStep: Deserialize",
                "layer::MeanOverSteps: Deserialize",
                "recurrent::CellKind: Deserialize",
                "recurrent::GruVariant: Deserialize",
                "layer::BranchScale: Deserialize",
                "recurrent::Gru: Deserialize",
                "recurrent::Lstm: Deserialize",
                "recurrent::Mgu: Deserialize",
            ],
            &[],
            |c| {
                let width = c.width();
                let node = c.sequence(width, 2);
                let mut text = serde_json::to_string(&node).unwrap_or_default();
                if c.flag() {
                    text = corrupt(c, text);
                }
                let Ok(read) = serde_json::from_str::<LayerSpec>(&text) else {
                    return Err(Fault::Refused("JSON".into()));
                };
                let input = match &read {
                    LayerSpec::Sequential { input, .. } => *input,
                    _ => return Ok(()),
                };
                drive_node::<f64>(c, &read, input)
            },
        ),
        entry(2, &["layer::Dims: Deserialize"], &[], |c| {
            json::<chainrule::layer::Dims>(c, &chainrule::layer::Dims::new(1, 2, 3))
        }),
    ]
}

/// Drives a layer of the crate, by what its own description says of it.
fn known<T: Scalar>(c: &mut Case, layer: Box<dyn Layer<T>>) -> Verdict {
    let node = layer.spec();
    let input = match &node {
        LayerSpec::Sequential { input, .. } => *input,
        _ => layer.dims().input,
    };
    let described = Known::of(&node, input);
    if c.flag() {
        // Inside a network, whose constructor sees it first.
        let mut network = Sequential::<T>::new(input);
        network.push_boxed(layer)?;
        return drive(c, Box::new(network), Some(described));
    }
    drive(c, layer, Some(described))
}

/// Drives a layer that may lie alone, in a network, in a residual or between recurrent layers.
fn embedded<T: Scalar>(c: &mut Case, layer: Box<dyn Layer<T>>) -> Verdict {
    let dims = layer.dims();
    match c.below(5) {
        0 => drive(c, layer, None),
        1 => drive(c, Box::new(Residual::<T>::new(layer)?), None),
        2 => {
            let mut network = Sequential::<T>::new(dims.input);
            network.push(Linear::new(dims.input, dims.input))?;
            network.push_boxed(layer)?;
            network.push(Recurrent::new(dims.output, 3, Elman::new(Tanh)))?;
            drive(c, Box::new(network), None)
        }
        3 => drive(c, Box::new(Bidirectional::new::<T>(layer, Recurrent::new(dims.input, 2, Lstm::new()))?), None),
        _ => {
            let mut network = Sequential::<T>::new(dims.input);
            network.push_boxed(layer)?;
            network.push(ActivationLayer::new(dims.output, Tanh))?;
            network.push(LastStep::new(dims.output))?;
            drive(c, Box::new(network), None)
        }
    }
}

/// A pass by hand with slices of about the right length, past every check of a workspace.
fn direct(c: &mut Case, layer: &dyn Layer<f64>) -> Verdict {
    let dims = layer.dims();
    let rows = c.rows();
    let shape = rows.shape();
    shape.check()?;
    let memory = layer.memory(shape, Mode::Train);
    let out = layer.output_shape(shape);
    let (ins, outs) = (shape.rows().wrapping_mul(dims.input), out.rows().wrapping_mul(dims.output));
    let room = |c: &mut Case, right: usize| {
        let n = c.length(right);
        c.values::<f64>(n, Taste::Mild)
    };
    let (w, x, mut y) = (room(c, dims.parameters), room(c, ins), room(c, outs));
    let (mut saved, mut scratch, mut watcher) = (room(c, memory.saved), room(c, memory.scratch), Watcher(c.flag()));
    let mut final_state = room(c, memory.state.wrapping_mul(shape.batch));
    let ctx = Context::new(shape, Mode::Train, &mut watcher);
    let mut pass = Forward::new(&x, &mut y, &mut saved, &mut scratch, ctx);
    pass.state.final_state = &mut final_state;
    layer.forward(&w, pass);
    let (dy, mut dx, mut dw) = (room(c, outs), room(c, ins), room(c, dims.parameters));
    let wanted = c.flag().then_some(&mut dx[..]);
    let mut watcher = Watcher(c.flag());
    let mut ctx = Context::new(shape, Mode::Train, &mut watcher);
    let ctx = if c.flag() { ctx.branch(c.size()) } else { ctx.part(c.size()) };
    let pass = Backward::new(&x, &y, &dy, wanted, &mut dw, &mut saved, &mut scratch, ctx);
    layer.backward(&w, pass);
    Ok(())
}

struct Watcher(bool);

impl GradientMonitor<f64> for Watcher {
    fn is_active(&self) -> bool {
        self.0
    }
}

/// One change to a text: a byte, a cut, a number that is too large.
pub fn corrupt(c: &mut Case, text: String) -> String {
    let mut bytes = text.into_bytes();
    if bytes.is_empty() {
        return String::new();
    }
    match c.below(5) {
        0 => {
            let at = (c.next() % bytes.len() as u64) as usize;
            bytes[at] = c.of(b"0123456789{}[],:\"-enull");
        }
        1 => bytes.truncate((c.next() % bytes.len() as u64) as usize),
        _ => {
            // A digit becomes a hostile number.
            let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let at = digits[(c.next() % digits.len() as u64) as usize];
                let number = if c.flag() { c.size().to_string() } else { format!("{:e}", c.real()) };
                bytes.splice(at..=at, number.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a corrupted description of `value`, and what was read once more.
pub fn json<X: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug>(c: &mut Case, value: &X) -> Verdict {
    let text = serde_json::to_string(value).unwrap_or_default();
    let text = if c.once_in(4) { text } else { corrupt(c, text) };
    let Ok(read) = serde_json::from_str::<X>(&text) else { return Err(Fault::Refused("JSON".into())) };
    let _ = format!("{read:?}");
    let again = serde_json::to_string(&read);
    let again = again.ok().and_then(|text| serde_json::from_str::<X>(&text).ok().map(|x| format!("{x:?}")));
    ensure(again == Some(format!("{read:?}")), || format!("{text}: read as {read:?}, then as {again:?}"))
}

const _: fn(BatchShape<'_>, CellKind) = |_, _| {};
