//! Batch shapes, blocks, activations, initializers.

use super::{
    entry,
    layers::{corrupt, json},
};
use crate::{
    Entry,
    case::{Case, Fault, Verdict, ensure},
};
use chainrule::{
    Block, Blocks, Gate, Role,
    activation::{self, Activation, AnyActivation, Bounds},
    initializer::{self, Initializer, InitializerKind, Shape},
    layer::{Dims, DropoutKey, Hints, LinkPath, MemorySizes, Samples, TrainableMask},
    monitor::Factor,
    random,
};

pub fn entries() -> Vec<Entry> {
    vec![
        entry(4, &["BatchShape::batch", "BatchShape::sequences", "BatchShape::ragged"], &[], |c| {
            let rows = c.rows();
            let shape = rows.shape();
            let checked = shape.check();
            ensure(checked.is_err() || rows.truth().is_some(), || format!("{rows:?} is accepted"))?;
            checked?;
            let truth = rows.truth().unwrap_or(0);
            ensure(shape.rows() as u128 == truth, || format!("{rows:?} has {} rows, not {truth}", shape.rows()))
        }),
        entry(3, &["BatchShape::step", "BatchShape::active"], &[], |c| {
            let rows = c.rows();
            let shape = rows.shape();
            shape.check()?;
            let step = c.size();
            let (range, active) = (shape.step(step), shape.active(step));
            ensure(active <= rows.batch && range.len() == active, || {
                format!("step {step} of {rows:?}: {range:?}, {active}")
            })?;
            ensure(active == 0 || range.end as u128 <= rows.truth().unwrap_or(0), || {
                format!("{step} of {rows:?}: {range:?}")
            })
        }),
        entry(2, &["BatchShape::row", "BatchShape::length"], &[], |c| {
            let rows = c.rows();
            let shape = rows.shape();
            shape.check()?;
            let (step, sample) = (c.size(), c.size());
            let _ = (shape.row(step, sample), shape.length(sample), shape.collapsed());
            Ok(())
        }),
        entry(
            4,
            &[
                "activation::Erf: Deserialize",
                "activation::Gelu: Deserialize",
                "activation::GeluTanh: Deserialize",
                "activation::HardSigmoid: Deserialize",
                "activation::HardSwish: Deserialize",
                "activation::Identity: Deserialize",
                "activation::LogSigmoid: Deserialize",
                "activation::Mish: Deserialize",
                "activation::Relu6: Deserialize",
                "activation::Relu: Deserialize",
                "activation::Selu: Deserialize",
                "activation::Sigmoid: Deserialize",
                "activation::Softsign: Deserialize",
                "activation::Tanh: Deserialize",
                "activation::TanhShrink: Deserialize",
            ],
            &[],
            |c| {
                let kind = c.activation();
                json(c, &kind)
            },
        ),
        entry(
            6,
            &[
                "initializer::ByGate: Deserialize",
                "initializer::Chrono: Deserialize",
                "initializer::Constant: Deserialize",
                "initializer::CriticalGain: Deserialize",
                "initializer::Distribution: Deserialize",
                "initializer::Fan: Deserialize",
                "initializer::Identity: Deserialize",
                "initializer::Normal: Deserialize",
                "initializer::Orthogonal: Deserialize",
                "initializer::Sparse: Deserialize",
                "initializer::SparseScale: Deserialize",
                "initializer::TruncatedNormal: Deserialize",
                "initializer::Uniform: Deserialize",
                "initializer::VarianceScaling: Deserialize",
                "initializer::Zeros: Deserialize",
            ],
            &[],
            |c| {
                let text = serde_json::to_string(&c.initializer()).unwrap_or_default();
                let text = corrupt(c, text);
                let read = serde_json::from_str::<InitializerKind>(&text);
                let kind = read.map_err(|error| Fault::Refused(error.to_string()))?;
                json(c, &kind)?;
                filled(c, kind, true)
            },
        ),
        entry(2, &["Block::new"], &[], |c| {
            let (start, shape) = (c.size(), [c.size(), c.size()]);
            let block = Block::new("w", start, shape, Role::Weight);
            let truth = start as u128 + shape[0] as u128 * shape[1] as u128;
            let right = truth > usize::MAX as u128 || (block.range.start, block.range.end as u128) == (start, truth);
            ensure(right, || format!("{start}, {shape:?}: {:?}", block.range))?;
            let _ = format!("{block:?}");
            blocks(c, vec![block])
        }),
        entry(2, &["Block::within", "Block::gates", "Gate::new", "Gate::carrying_state"], &[], |c| {
            let (start, offset, prefix) = (c.size(), c.size(), c.text());
            let block = Block::new("w", start, [c.size(), c.size()], Role::Bias)
                .gates(const { &[Gate::new("a"), Gate::carrying_state("b"), Gate::new("c")] });
            let block = if c.flag() { block.table() } else { block };
            let within = block.within(&prefix, offset);
            blocks(c, vec![within])
        }),
        entry(
            3,
            &["Blocks::collect", "Blocks::get", "Blocks::at", "Blocks::under", "Blocks::freeze", "Blocks::unfreeze"],
            &[],
            |c| {
                let list = (0..c.few())
                    .map(|_| {
                        let mut block = Block::new("w", c.few(), [c.few(), c.few()], Role::Weight);
                        if c.once_in(4) {
                            block.range = c.size()..c.size();
                        }
                        let (prefix, offset) = (c.text(), c.few());
                        block.within(&prefix, offset)
                    })
                    .collect();
                blocks(c, list)
            },
        ),
        entry(4, &["activation::Elu::new", "activation::Elu: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::Elu::new(a), a.is_finite())
        }),
        entry(4, &["activation::Celu::new", "activation::Celu: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::Celu::new(a), a.is_finite())
        }),
        entry(4, &["activation::LeakyRelu::new", "activation::LeakyRelu: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::LeakyRelu::new(a), a.is_finite())
        }),
        entry(4, &["activation::HardTanh::new", "activation::HardTanh: Activation"], &[], |c| {
            let (a, b) = (c.real(), c.real());
            activated(c, activation::HardTanh::new(a, b), a.is_finite() && b.is_finite() && a < b)
        }),
        entry(4, &["activation::Softplus::new", "activation::Softplus: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::Softplus::new(a), a.is_finite() && a > 0.0)
        }),
        entry(4, &["activation::Swish::new", "activation::Swish: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::Swish::new(a), a.is_finite())
        }),
        entry(4, &["activation::HardShrink::new", "activation::HardShrink: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::HardShrink::new(a), a.is_finite() && a >= 0.0)
        }),
        entry(4, &["activation::SoftShrink::new", "activation::SoftShrink: Activation"], &[], |c| {
            let a = c.real();
            activated(c, activation::SoftShrink::new(a), a.is_finite() && a >= 0.0)
        }),
        entry(4, &["activation::Threshold::new", "activation::Threshold: Activation"], &[], |c| {
            let (a, b) = (c.real(), c.real());
            activated(c, activation::Threshold::new(a, b), a.is_finite() && b.is_finite())
        }),
        entry(4, &["activation::ActivationKind: Activation"], &[], |c| {
            let kind = c.activation();
            activated(c, Ok(kind), true)
        }),
        entry(
            8,
            &[
                "activation::Activation::value",
                "activation::Activation::derivative",
                "activation::Relu: Activation",
                "activation::Relu6: Activation",
                "activation::Selu: Activation",
                "activation::Gelu: Activation",
                "activation::GeluTanh: Activation",
                "activation::Mish: Activation",
                "activation::Sigmoid: Activation",
                "activation::Tanh: Activation",
                "activation::TanhShrink: Activation",
                "activation::Softsign: Activation",
                "activation::LogSigmoid: Activation",
                "activation::HardSigmoid: Activation",
                "activation::HardSwish: Activation",
                "activation::Erf: Activation",
                "activation::Identity: Activation",
                "activation::AnyActivation::value_at",
                "activation::AnyActivation::derivative_at",
            ],
            &[],
            |c| {
                use activation as a;
                match c.below(15) {
                    0 => activated(c, Ok(a::Relu), true),
                    1 => activated(c, Ok(a::Relu6), true),
                    2 => activated(c, Ok(a::Selu), true),
                    3 => activated(c, Ok(a::Gelu), true),
                    4 => activated(c, Ok(a::GeluTanh), true),
                    5 => activated(c, Ok(a::Mish), true),
                    6 => activated(c, Ok(a::Sigmoid), true),
                    7 => activated(c, Ok(a::Tanh), true),
                    8 => activated(c, Ok(a::Softsign), true),
                    9 => activated(c, Ok(a::LogSigmoid), true),
                    10 => activated(c, Ok(a::HardSigmoid), true),
                    11 => activated(c, Ok(a::HardSwish), true),
                    12 => activated(c, Ok(a::Erf), true),
                    13 => activated(c, Ok(a::TanhShrink), true),
                    _ => activated(c, Ok(a::Identity), true),
                }
            },
        ),
        entry(1, &["activation::Bounds::new", "activation::Bounds::contains", "activation::Bounds {}"], &[], |c| {
            let (bounds, d) = (Bounds::new(c.real(), c.real()), c.real());
            let _ = format!("{bounds:?}");
            let inside = bounds.inf <= d && d <= bounds.sup;
            ensure(!inside || bounds.contains(d), || format!("{d:e} is not in {bounds:?}"))?;
            ensure(!d.is_nan() || !bounds.contains(d), || format!("NaN is in {bounds:?}"))
        }),
        entry(3, &["initializer::Constant {}", "initializer::Constant: Initializer"], &[], |c| {
            let v = c.real();
            filled(c, initializer::Constant(v), v.is_finite())
        }),
        entry(
            3,
            &["initializer::Identity {}", "initializer::Identity::new", "initializer::Identity: Initializer"],
            &[],
            |c| {
                let v = c.real();
                filled(c, initializer::Identity::new(v), v.is_finite())
            },
        ),
        entry(
            3,
            &["initializer::Orthogonal {}", "initializer::Orthogonal::new", "initializer::Orthogonal: Initializer"],
            &[],
            |c| {
                let v = c.real();
                filled(c, initializer::Orthogonal::new(v), v.is_finite())
            },
        ),
        entry(
            3,
            &["initializer::Uniform {}", "initializer::Uniform::new", "initializer::Uniform: Initializer"],
            &[],
            |c| {
                let (low, high) = (c.real(), c.real());
                filled(c, initializer::Uniform::new(low, high), low.is_finite() && high.is_finite() && low <= high)
            },
        ),
        entry(3, &["initializer::Uniform::within"], &[], |c| {
            let v = c.real();
            filled(c, initializer::Uniform::within(v), v.is_finite())
        }),
        entry(
            3,
            &["initializer::Normal {}", "initializer::Normal::new", "initializer::Normal: Initializer"],
            &[],
            |c| {
                let (mean, std) = (c.real(), c.real());
                filled(c, initializer::Normal::new(mean, std), mean.is_finite() && std.is_finite() && std >= 0.0)
            },
        ),
        entry(
            3,
            &[
                "initializer::TruncatedNormal::new",
                "initializer::TruncatedNormal::between",
                "initializer::TruncatedNormal {}",
                "initializer::TruncatedNormal: Initializer",
            ],
            &[],
            |c| {
                let (mean, std, low, high) = (c.real(), c.real(), c.real(), c.real());
                let legal =
                    mean.is_finite() && std.is_finite() && std >= 0.0 && !low.is_nan() && !high.is_nan() && low <= high;
                filled(c, initializer::TruncatedNormal::new(mean, std).between(low, high), legal)
            },
        ),
        entry(
            2,
            &[
                "initializer::Sparse::std",
                "initializer::Sparse::non_zeros",
                "initializer::Sparse {}",
                "initializer::SparseScale {}",
                "initializer::Sparse: Initializer",
            ],
            &[],
            |c| {
                let std = c.real();
                let sparse = initializer::Sparse::std(std).non_zeros(c.size());
                filled(c, sparse, std.is_finite() && std >= 0.0)
            },
        ),
        entry(2, &["initializer::Sparse::spectral_radius"], &[], |c| {
            let radius = c.real();
            let sparse = initializer::Sparse::spectral_radius(radius).non_zeros(c.size());
            filled(c, sparse, radius.is_finite() && radius >= 0.0)
        }),
        entry(
            2,
            &["initializer::Chrono {}", "initializer::Chrono::new", "initializer::Chrono: Initializer"],
            &[],
            |c| {
                let span = c.size();
                filled(c, initializer::Chrono::new(span), span >= 2)
            },
        ),
        entry(
            3,
            &[
                "initializer::VarianceScaling {}",
                "initializer::VarianceScaling::gain",
                "initializer::VarianceScaling::fan",
                "initializer::VarianceScaling: Initializer",
                "initializer::Glorot::normal",
                "initializer::Glorot::uniform",
                "initializer::He::normal",
                "initializer::He::uniform",
                "initializer::LeCun::normal",
                "initializer::LeCun::uniform",
            ],
            &[],
            |c| {
                use initializer::{Fan, Glorot, He, LeCun};
                let all = [
                    Glorot::normal(),
                    Glorot::uniform(),
                    He::normal(),
                    He::uniform(),
                    LeCun::normal(),
                    LeCun::uniform(),
                ];
                let gain = c.real();
                let scaling = c.of(&all).gain(gain).fan(c.of(&[Fan::In, Fan::Out, Fan::Average]));
                filled(c, scaling, gain.is_finite())
            },
        ),
        entry(
            2,
            &[
                "initializer::ByGate::new",
                "initializer::ByGate::gate",
                "initializer::ByGate::chosen",
                "initializer::ByGate: Initializer",
            ],
            &[],
            |c| {
                let value = c.real();
                let by_gate =
                    initializer::ByGate::new(initializer::Zeros).gate(&c.text(), initializer::Constant(value));
                let _ = by_gate.chosen(Shape::new(c.size(), c.size(), Role::Bias).gate(Gate::carrying_state("forget")));
                filled(c, by_gate, true)
            },
        ),
        entry(
            2,
            &[
                "initializer::CriticalGain::new",
                "initializer::CriticalGain {}",
                "initializer::CriticalGain: Initializer",
            ],
            &[],
            |c| {
                let activation = c.activation();
                let critical = initializer::CriticalGain::new(activation.as_any())?;
                filled(c, critical, true)
            },
        ),
        entry(
            3,
            &[
                "initializer::Initializer::fill",
                "initializer::Initializer::fill_gates",
                "initializer::Initializer::mean",
                "initializer::Initializer::variance",
                "initializer::Initializer::range",
                "initializer::Initializer::orthogonal_gain",
                "initializer::Zeros: Initializer",
                "initializer::Shape::new",
                "initializer::Shape::gate",
            ],
            &[],
            |c| {
                let kind = c.initializer();
                filled(c, kind, true)
            },
        ),
        entry(
            1,
            &["random::below", "random::uniform", "random::generator", "random::Normals::new", "random::Normals::next"],
            &[],
            |c| {
                let end = c.size();
                let mut rng = random::generator(c.word());
                let below = random::below(&mut rng, end);
                ensure(below < end || (below, end) == (0, 0), || format!("{below} below {end}"))?;
                let uniform = random::uniform(&mut rng);
                ensure((0.0..1.0).contains(&uniform), || format!("uniform {uniform}"))?;
                let mut normals = random::Normals::new();
                let normal = normals.next(&mut rng);
                ensure(normal.is_finite(), || format!("normal {normal}"))
            },
        ),
        entry(
            1,
            &[
                "layer::Dims::new",
                "layer::Dims {}",
                "layer::MemorySizes::new",
                "layer::MemorySizes::buffers",
                "layer::Hints::ignores_x",
                "layer::Hints::ignores_y",
                "layer::Hints::saved_per_row",
                "layer::Hints::overwrites_dw",
                "layer::Hints::accepts_short_dy",
                "layer::Hints::dx_zero_before_last_step",
                "layer::Samples::and",
                "layer::DropoutKey::new",
                "layer::DropoutKey::from_sample",
                "layer::DropoutKey::off",
            ],
            &[],
            |c| {
                let dims = Dims::new(c.size(), c.size(), c.size());
                let memory = MemorySizes::new(c.size(), c.size(), c.size()).buffers(c.size());
                let key = DropoutKey::new(c.word(), c.word()).from_sample(c.size());
                let dropout = [key, DropoutKey::off().from_sample(c.size())];
                let both = Samples::Independent.and(Samples::Coupled);
                let hints = Hints::NONE.ignores_x().ignores_y().saved_per_row().overwrites_dw();
                let hints = hints.accepts_short_dy().dx_zero_before_last_step();
                let _ = format!("{dims:?} {memory:?} {dropout:?} {both:?} {hints:?}");
                Ok(())
            },
        ),
        entry(
            1,
            &[
                "layer::LinkPath::new",
                "layer::LinkPath::part",
                "layer::LinkPath::link",
                "monitor::Link::at_step",
                "monitor::Link::gate",
                "monitor::Link::activation",
            ],
            &[],
            |c| {
                let names = [c.text(), c.text()];
                let place = LinkPath::new(&names).part(c.size()).branch().part(c.size());
                let activation = c.activation();
                let rows = c.rows();
                let link = place
                    .link(Factor::Weights, rows.shape())
                    .at_step(c.size())
                    .gate(Gate::new("g"))
                    .activation(activation.as_any());
                let _ = format!("{link:?} {}", place.index());
                Ok(())
            },
        ),
        entry(
            1,
            &[
                "layer::TrainableMask::new",
                "layer::TrainableMask::block",
                "layer::TrainableMask::any",
                "layer::TrainableMask::part",
            ],
            &[],
            |c| {
                let flags = [false, true, false];
                let trainable = TrainableMask::new(&flags).part(c.size()).part(c.size());
                let _ = trainable.block(c.size());
                // `any` goes through all of them.
                let _ = trainable.any(c.size().min(1 << 20));
                Ok(())
            },
        ),
    ]
}

fn blocks(c: &mut Case, list: Vec<Block<'static>>) -> Verdict {
    let mut blocks = Blocks::collect(|visit| list.into_iter().for_each(visit));
    let name = c.text();
    let _ = (blocks.parameters(), blocks.len(), blocks.is_empty(), blocks.at(c.size()), format!("{blocks:?}"));
    let _ = (blocks.get(&name).is_ok(), blocks.under(&name));
    let _ = (blocks.freeze(&name), blocks.unfreeze(&name));
    let again = blocks.clone();
    ensure(again == blocks, || "a copy differs".into())
}

fn activated<A: Activation>(c: &mut Case, made: Result<A, chainrule::Error>, legal: bool) -> Verdict {
    ensure(legal || made.is_err(), || "a parameter outside its range is accepted".into())?;
    let activation = made?;
    let _ = (
        activation.kinks(),
        activation.jumps(),
        activation.is_odd(),
        format!("{activation:?} {:?}", activation.kind()),
    );
    let bounds = activation.derivative_bounds();
    for _ in 0..4 {
        let z = c.real();
        let y = activation.value(z);
        let d = activation.derivative(z, y);
        let (single, at) = (activation.value(z as f32), (&activation as &dyn AnyActivation).value_at(z));
        ensure(z.is_nan() || !y.is_nan(), || format!("{activation:?}({z:e}) is NaN"))?;
        ensure(z.is_nan() || !single.is_nan(), || format!("{activation:?}({:e}_f32) is NaN", z as f32))?;
        ensure(!z.is_nan() || y.is_nan(), || format!("{activation:?}(NaN) is {y:e}"))?;
        ensure(z.is_nan() || !d.is_nan(), || format!("{activation:?}′({z:e}) is NaN"))?;
        ensure(at.to_bits() == y.to_bits() || at.is_nan() && y.is_nan(), || {
            format!("{activation:?} behind a pointer: {at:e}, {y:e}")
        })?;
        if let Some(bounds) = bounds.filter(|_| z.is_finite()) {
            let slack = 1e-9 * (1.0 + bounds.sup.abs());
            ensure(d >= bounds.inf - slack && d <= bounds.sup + slack, || {
                format!("{activation:?}′({z:e}) = {d:e}, {bounds:?}")
            })?;
        }
    }
    Ok(())
}

fn filled(c: &mut Case, initializer: impl Initializer + 'static, legal: bool) -> Verdict {
    let small = !c.once_in(3);
    let (rows, columns) = if small { (c.few(), c.few()) } else { (c.size(), c.size()) };
    let role = c.of(&[Role::Weight, Role::Recurrent, Role::Bias, Role::Gain]);
    let mut shape = Shape::new(rows, columns, role);
    const KEEPS: Gate = Gate::carrying_state("forget");
    const ADMITS: Gate = Gate::new("input");
    const GATES: [&[Gate]; 4] = [&[KEEPS, ADMITS], &[], &[Gate::new("a"), Gate::new("b"), Gate::new("c")], &[ADMITS]];
    let gates = GATES[c.below(4)];
    if c.flag() {
        shape = shape.gate(KEEPS);
    }
    let _ = (
        initializer.mean(shape),
        initializer.variance(shape),
        initializer.range(shape),
        initializer.orthogonal_gain(shape),
    );
    let mut rng = random::generator(c.word());
    let right = (rows as u128 * columns as u128).min(1 << 40) as usize;
    let n = c.length(right);
    let mut values = vec![f64::NAN; n];
    let done = initializer.fill(shape, &mut rng, &mut values);
    ensure(done.is_err() || n as u128 == rows as u128 * columns as u128, || {
        format!("{rows} × {columns} in {n} values")
    })?;
    ensure(done.is_err() || legal || n == 0, || format!("{initializer:?} is accepted"))?;
    ensure(done.is_err() || values.iter().all(|value| value.is_finite()), || {
        format!("{initializer:?} fills with {:?}", values.iter().find(|value| !value.is_finite()))
    })?;
    if done.is_ok()
        && let Some([low, high]) = initializer.range(shape)
    {
        ensure(values.iter().all(|value| (low..=high).contains(value)), || {
            format!("{initializer:?} leaves its range")
        })?;
    }
    let mut stacked = vec![f64::NAN; right.min(1 << 16).saturating_mul(gates.len())];
    let by_gates = initializer.fill_gates(shape, gates, &mut rng, &mut stacked);
    ensure(by_gates.is_err() || stacked.iter().all(|value| value.is_finite()), || format!("{initializer:?} by gates"))?;
    let _ = format!("{:?}", initializer.kind());
    Ok(done?)
}
