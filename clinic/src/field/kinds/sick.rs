//! Kinds with one fault that a cause names.

use super::*;

pub const KINDS: &[Kind] = &[
    sick("inputs of 1e-3", &[UnscaledInput], |t, s, sick| {
        let data = t.iris().scaled(if sick { 1e-3 } else { 1.0 });
        case(stack(&[4, 24, 3], Tanh, LeCun::normal()), data, Sgd(0.1), s)
    })
    .at(&[0]),
    sick("raw table", &[UnscaledInput], |t, s, sick| {
        let data = if sick { t.cancer_raw() } else { t.cancer() };
        case(stack(&deep(30, 32, 3, 2), Tanh, LeCun::normal()), data, Momentum(0.01), s)
    })
    .at(&[0]),
    sick("targets as they are", &[UnscaledTarget], |t, s, sick| {
        let data = if sick { t.diabetes_raw(1.0) } else { t.diabetes() };
        case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(1e-3), s)
    }),
    sick("targets of 1e6", &[UnscaledTarget], |t, s, sick| {
        let data = if sick { t.diabetes_raw(1e4) } else { t.diabetes() };
        case(stack(&deep(10, 24, 2, 1), Tanh, LeCun::normal()), data, Adam(3e-3), s)
    }),
    sick("gain 0.2", &[SmallWeights], |t, s, sick| {
        let gain = if sick { 0.28 } else { std::f64::consts::SQRT_2 };
        case(stack(&deep(13, 40, 10, 3), Relu, He::normal().gain(gain)), t.wine(), Adam(1e-3), s)
    }),
    sick("gain 5", &[LargeWeights], |t, s, sick| {
        let gain = if sick { 5.0 } else { 1.1 };
        case(stack(&deep(13, 40, 6, 3), Tanh, LeCun::normal().gain(gain)), t.wine(), Sgd(0.05), s)
    }),
    sick("sigmoid, 9 layers", &[SaturatingActivation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 40, 9, 10), Sigmoid, Glorot::uniform()),
            false => stack(&deep(64, 40, 9, 10), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.digits(), Adam(1e-3), s)
    }),
    sick("hard sigmoid, 8 layers", &[SaturatingActivation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(30, 32, 8, 2), HardSigmoid, Glorot::uniform()),
            false => stack(&deep(30, 32, 8, 2), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.cancer(), Sgd(0.05), s)
    }),
    sick("softplus, 14 layers", &[SaturatingActivation, CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 40, 14, 10), Softplus::new(1.0)?, Glorot::uniform()),
            false => stack(&deep(64, 40, 14, 10), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.digits(), Adam(1e-3), s)
    }),
    sick("a loaded layer × 50", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(30, 48, 4, 2), Tanh, LeCun::normal()), t.cancer(), Sgd(0.05), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 50.0)?;
        }
        Ok(case)
    })
    .at(&[4]),
    sick("a loaded layer × 0.01", &[Bottleneck, SmallWeights], |t, s, sick| {
        let mut case = case(stack(&deep(13, 32, 6, 3), Relu, He::normal()), t.wine(), Sgd(0.05), s)?;
        if sick {
            change(&mut case, "6.weight", |w| *w *= 0.01)?;
        }
        Ok(case)
    })
    .at(&[6]),
    sick("output layer × 100", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(64, 48, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 100.0)?;
        }
        Ok(case)
    })
    .at(&[4]),
    sick("zero weights", &[ConstantWeights], |t, s, sick| {
        let mut case = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.1), s)?;
        for block in ["0.weight", "2.weight", "4.weight"].into_iter().filter(|_| sick) {
            change(&mut case, block, |w| *w = 0.0)?;
        }
        Ok(case)
    })
    .at(&[0, 2, 4]),
    sick("constant weights", &[ConstantWeights], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 24, 2, 10), Relu, Constant(0.05)),
            false => stack(&deep(64, 24, 2, 10), Relu, He::normal()),
        };
        case(net, t.digits(), Sgd(0.1), s)
    })
    .at(&[0, 2, 4]),
    sick("a dead layer", &[DeadUnits], |t, s, sick| {
        let mut case = case(stack(&deep(64, 32, 4, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.bias", |w| *w = -25.0)?;
        }
        Ok(case)
    })
    .at(&[4, 5]),
    sick("norm of gain 0", &[Bottleneck, ConstantWeights], |t, s, sick| {
        let mut case = case(normed(64, 32, 3, 10), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.gain", |w| *w = 0.0)?;
        }
        Ok(case)
    })
    .at(&[4]),
    sick("branches × 2", &[LoudBranches], |t, s, sick| {
        let scale = BranchScale::Fixed(if sick { 2.0 } else { 0.25 });
        case(residual(64, 24, 16, scale, false, 10), t.digits(), Adam(1e-3), s)
    }),
    sick("30 bare residual blocks", &[LoudBranches], |t, s, sick| {
        let scale = BranchScale::Fixed(if sick { 1.0 } else { 0.18 });
        case(residual(30, 24, 30, scale, false, 2), t.cancer(), Sgd(0.02), s)
    }),
    sick("ReLU, 45 layers", &[CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 32, 45, 10), Relu, He::normal()),
            false => residual(64, 32, 22, BranchScale::Fixed(0.21), false, 10),
        };
        case(net, t.digits(), Adam(1e-3), s)
    }),
    sick("rate × 1e-4", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 1e-5 } else { 0.1 };
        case(stack(&[4, 32, 3], Relu, He::normal()), t.iris(), Sgd(rate), s)
    }),
    sick("rate × 300", &[LearningRateTooHigh, DeadUnits, Overflow], |t, s, sick| {
        let rate = if sick { 3.0 } else { 0.01 };
        case(stack(&deep(13, 32, 3, 3), Relu, He::normal()), t.wine(), Momentum(rate), s)
    }),
    sick("clip of 1e-4", &[ClipThresholdTooLow], |t, s, sick| {
        let made = case(stack(&deep(30, 32, 2, 2), Relu, He::normal()), t.cancer(), Sgd(0.05), s);
        with(made, |recipe| recipe.clip = Some(if sick { 1e-4 } else { 1.0 }))
    }),
    sick("a block of rate 0", &[FrozenBlock], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 3, 10), Gelu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| recipe.still = sick.then_some("4.weight"))
    })
    .at(&[4]),
    sick("a block at a millionth of the rate", &[FrozenBlock], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 3, 10), Gelu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| (recipe.still, recipe.held_at) = (sick.then_some("4.weight"), 1e-6))
    })
    .at(&[4]),
    sick("a clip of values of 1e-6", &[ClipThresholdTooLow], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Tanh, LeCun::normal()), t.digits(), Sgd(0.1), s);
        with(made, |recipe| (recipe.clip, recipe.clips_values) = (sick.then_some(1e-6), true))
    }),
    sick("first weights × 100", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(30, 32, 2, 2), Relu, He::normal()), t.cancer(), Sgd(0.05), s)?;
        if sick {
            change(&mut case, "0.weight", |w| *w *= 100.0)?;
        }
        Ok(case)
    })
    .at(&[0]),
    sick("most units held off by biases", &[DeadUnits], |t, s, sick| {
        let mut case = case(stack(&deep(64, 32, 3, 10), Relu, He::normal()), t.digits(), Sgd(0.05), s)?;
        if sick {
            let unit = std::cell::Cell::new(0);
            let hold = |w: &mut f32| *w = if unit.replace(unit.get() + 1) < 2 { *w } else { -30.0 };
            change(&mut case, "4.bias", hold)?;
        }
        Ok(case)
    })
    .at(&[5]),
    sick("small weights in one of two towers", &[SmallWeights, Bottleneck], |t, s, sick| {
        let tower = |gain: f64| {
            move |mut tower: chainrule::network::Builder<f32>| {
                for _ in 0..6 {
                    let weights = LeCun::normal().gain(gain);
                    tower = tower.layer(Linear::new(32, 32).weights(weights)).activation(Tanh);
                }
                tower
            }
        };
        let first = Sequential::<f32>::input(64).linear(32).activation(Tanh);
        let towers = first.parallel(chainrule::layer::Merge::Concatenate, |all| {
            all.branch(tower(1.0)).branch(tower(if sick { 0.2 } else { 1.0 }))
        });
        case(towers.linear(10).build(), t.digits(), Sgd(0.05), s)
    })
    .at(&[2]),
    sick("a GRU that never updates", &[ClosedInputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("update", Constant(if sick { 8.0 } else { 0.0 }));
        let layer = Recurrent::new(1, 20, Gru::new()).bias(bias);
        spanning(case(last_step(layer, 1), t.sunspots(16), Adam(3e-3), s), 3)
    })
    .at(&[0]),
    sick("input gate shut", &[ClosedInputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("forget", Constant(1.0));
        let bias = bias.gate("input", Constant(if sick { -8.0 } else { 0.0 }));
        spanning(case(last_step(Recurrent::new(1, 20, Lstm::new()).bias(bias), 1), t.sunspots(16), Adam(3e-3), s), 3)
    })
    .at(&[0]),
    sick("output gate shut", &[ClosedOutputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("output", Constant(if sick { -8.0 } else { 0.0 }));
        spanning(case(last_step(Recurrent::new(8, 24, Lstm::new()).bias(bias), 10), t.digit_rows(), Adam(3e-3), s), 7)
    })
    .at(&[0]),
    sick("forget gate shut", &[ClosedForgetGate], |t, s, sick| {
        let layer = match sick {
            true => Recurrent::new(2, 24, Lstm::new()).bias(ByGate::new(Zeros).gate("forget", Constant(-5.0))),
            false => Recurrent::new(2, 24, Lstm::new()).bias(Chrono { span: 30 }),
        };
        spanning(case(last_step(layer, 2), t.remembered(31), Adam(1e-2), s), 30)
    })
    .at(&[0]),
    sick("tanh recurrence of gain 0.4", &[VanishingRecurrence], |t, s, sick| {
        let net = match sick {
            true => last_step(Recurrent::new(2, 24, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.4 }), 2),
            false => last_step(Recurrent::new(2, 24, Lstm::new()).bias(Chrono { span: 25 }), 2),
        };
        spanning(case(net, t.remembered(26), Adam(1e-2), s), 25)
    })
    .at(&[0]),
    sick("tanh recurrence of gain 2.5", &[ExplodingRecurrence], |t, s, sick| {
        let gain = if sick { 2.5 } else { 0.9 };
        let layer = Recurrent::new(1, 24, Elman::new(Tanh)).recurrent(Orthogonal { gain });
        spanning(case(last_step(layer, 1), t.sunspots(24), Adam(3e-3), s), 23)
    })
    .at(&[0]),
    sick("weights beyond the format", &[Overflow], |t, s, sick| {
        let mut case = case(stack(&deep(30, 32, 3, 2), Relu, He::normal()), t.cancer(), Sgd(0.05), s)?;
        for block in ["2.weight", "4.weight"].into_iter().filter(|_| sick) {
            change(&mut case, block, |w| *w *= 1e25)?;
        }
        Ok(case)
    })
    .at(&[2, 4]),
    sick("schedule of 8 steps", &[LearningRateTooLow], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| recipe.ends = sick.then_some(8))
    }),
    sick("Adam's rate × 1e-3", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 1e-5 } else { 1e-2 };
        case(stack(&deep(30, 24, 2, 2), Relu, LeCun::normal()), t.cancer(), Adam(rate), s)
    }),
    sick("targets of 1e-4", &[UnscaledTarget], |t, s, sick| {
        let data = t.diabetes().targets_scaled(if sick { 1e-4 } else { 1.0 });
        case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(5e-3), s)
    }),
    sick("a loaded layer × 50 before a rectifier", &[LargeWeights], |t, s, sick| {
        let mut case = case(stack(&deep(64, 48, 3, 10), Relu, He::normal()), t.digits(), Sgd(0.02), s)?;
        if sick {
            change(&mut case, "2.weight", |w| *w *= 50.0)?;
        }
        Ok(case)
    })
    .at(&[2]),
    sick("two different rows", &[BadData], |t, s, sick| {
        let data = if sick { t.digits().repeated(2) } else { t.digits() };
        case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Adam(1e-3), s)
    })
    .incurable(),
    sick("dropout of 0.95", &[DropoutTooHeavy], |t, s, sick| {
        let rate = if sick { 0.95 } else { 0.1 };
        let net = Sequential::input(64).linear(48).activation(Relu).layer(Dropout::new(48, rate)?).linear(48);
        case(net.activation(Relu).layer(Dropout::new(48, rate)?).linear(10).build(), t.digits(), Adam(2e-3), s)
    })
    .at(&[2, 5]),
    sick("dropout of 0.98 before an LSTM", &[DropoutTooHeavy], |t, s, sick| {
        let net = Sequential::input(8).layer(Dropout::new(8, if sick { 0.98 } else { 0.1 })?);
        let net = net.recurrent(24, Lstm::new()).last_step().linear(10).build();
        spanning(case(net, t.digit_rows(), Adam(5e-3), s), 7)
    })
    .at(&[0]),
    sick("sorted samples", &[UnmixedBatches], |t, s, sick| {
        let data = if sick { t.digits().sorted() } else { t.digits() };
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Sgd(0.05), s);
        with(made, |recipe| recipe.in_order = true)
    }),
    sick("sorted table", &[UnmixedBatches], |t, s, sick| {
        let data = if sick { t.cancer().sorted() } else { t.cancer() };
        let made = case(stack(&deep(30, 24, 2, 2), Tanh, LeCun::normal()), data, Adam(5e-3), s);
        with(made, |recipe| recipe.in_order = true)
    }),
    sick("weight decay of 30", &[DecayTooStrong], |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), AdamW(3e-3), s);
        with(made, |recipe| recipe.decay = sick.then_some(30.0))
    }),
    sick("L2 penalty of 1", &[DecayTooStrong], |t, s, sick| {
        let made = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.05), s);
        with(made, |recipe| recipe.decay = sick.then_some(1.0))
    }),
    sick("softmax before a cross-entropy", &[SquashedOutputs], |t, s, sick| {
        let net = Sequential::input(64).linear(32).activation(Relu).linear(10);
        let net = if sick { net.layer(Softmax::new(10)) } else { net };
        case(net.build(), t.digits(), Adam(1e-3), s)
    })
    .at(&[3]),
    sick("sigmoid before a squared error", &[SquashedOutputs], |t, s, sick| {
        let net = Sequential::input(10).linear(24).activation(Tanh).linear(1);
        let net = if sick { net.activation(Sigmoid) } else { net };
        case(net.build(), t.diabetes(), Adam(3e-3), s)
    })
    .at(&[3]),
    sick("a sample × 1e5", &[BadData], |t, s, sick| {
        let data = if sick { t.wine().wild(17, 1e5, None) } else { t.wine() };
        judged(case(stack(&deep(13, 24, 2, 3), Relu, He::normal()), data, Sgd(0.05), s), t.wine())
    }),
    sick("a target of 1e5", &[BadData], |t, s, sick| {
        let data = if sick { t.diabetes().wild(40, 1.0, Some(1e5)) } else { t.diabetes() };
        judged(case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(3e-3), s), t.diabetes())
    }),
    sick("ReLU, 60 layers, table", &[CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(13, 24, 60, 3), Relu, He::normal()),
            false => residual(13, 24, 30, BranchScale::Fixed(0.18), false, 3),
        };
        case(net, t.wine(), Adam(1e-3), s)
    }),
    sick("softplus, 20 layers, table", &[SaturatingActivation, CollapsedRepresentation], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(30, 32, 20, 2), Softplus::new(1.0)?, He::normal()),
            false => stack(&deep(30, 32, 20, 2), Tanh, CriticalGain::new(&Tanh)?),
        };
        case(net, t.cancer(), Adam(1e-3), s)
    }),
    sick("Adam's rate × 1e-4", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 3e-7 } else { 3e-3 };
        case(stack(&deep(64, 48, 2, 10), Gelu, He::normal()), t.digits(), Adam(rate), s)
    }),
    sick("output gate shut, series", &[ClosedOutputGate], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("output", Constant(if sick { -7.0 } else { 0.0 }));
        spanning(case(last_step(Recurrent::new(1, 20, Lstm::new()).bias(bias), 1), t.sunspots(16), Adam(3e-3), s), 3)
    })
    .at(&[0]),
    sick("weight decay of 20, LSTM", &[DecayTooStrong], |t, s, sick| {
        let made = case(last_step(Recurrent::new(8, 24, Lstm::new()), 10), t.digit_rows(), AdamW(5e-3), s);
        spanning(with(made, |recipe| recipe.decay = sick.then_some(20.0)), 7)
    }),
    sick("sigmoid before a cross-entropy", &[SquashedOutputs], |t, s, sick| {
        let net = Sequential::input(13).linear(24).activation(Tanh).linear(3);
        let net = if sick { net.activation(Sigmoid) } else { net };
        case(net.build(), t.wine(), Adam(3e-3), s)
    })
    .at(&[3]),
    sick("sorted sequences", &[UnmixedBatches], |t, s, sick| {
        let data = if sick { t.digit_rows().sorted() } else { t.digit_rows() };
        let made = case(last_step(Recurrent::new(8, 32, Gru::new()), 10), data, Adam(5e-3), s);
        spanning(with(made, |recipe| recipe.in_order = true), 7)
    }),
    sick("a rate × 1.05 each step", &[LearningRateTooHigh], |t, s, sick| {
        let made = case(stack(&deep(64, 40, 2, 10), Relu, He::normal()), t.digits(), Momentum(0.01), s);
        with(made, |recipe| recipe.ramps = sick.then_some(1.05))
    }),
    sick("a rate × 1.06 each step, Adam", &[LearningRateTooHigh], |t, s, sick| {
        let made = case(stack(&deep(13, 24, 3, 3), Swish::SILU, He::normal()), t.wine(), Adam(2e-3), s);
        with(made, |recipe| recipe.ramps = sick.then_some(1.06))
    }),
    sick("momentum at a rate × 1e-4", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 5e-6 } else { 0.05 };
        case(stack(&deep(30, 24, 2, 2), Tanh, LeCun::normal()), t.cancer(), Momentum(rate), s)
    }),
    sick("momentum at a rate × 1e-4, LSTM", &[LearningRateTooLow], |t, s, sick| {
        let rate = if sick { 2e-5 } else { 0.2 };
        let net = last_step(Recurrent::new(8, 20, Lstm::new()), 10);
        spanning(case(net, t.digit_rows(), Momentum(rate), s), 7)
    }),
    sick("targets of mean 500", &[UnscaledTarget], |t, s, sick| {
        let data = t.diabetes().targets_moved(if sick { 500.0 } else { 0.0 });
        case(stack(&deep(10, 32, 2, 1), Tanh, LeCun::normal()), data, Adam(3e-3), s)
    }),
    sick("a gated layer × 60", &[LargeWeights], |t, s, sick| {
        let net = Sequential::input(64).gated_linear(32, Sigmoid).gated_linear(32, Sigmoid).linear(10);
        let mut case = case(net.build(), t.digits(), Momentum(0.02), s)?;
        if sick {
            change(&mut case, "1.weight", |w| *w *= 60.0)?;
        }
        Ok(case)
    })
    .at(&[1]),
    sick("input weights of a GRU × 100", &[LargeWeights], |t, s, sick| {
        let mut case = case(last_step(Recurrent::new(8, 24, Gru::new()), 10), t.digit_rows(), Adam(3e-3), s)?;
        if sick {
            change(&mut case, "0.weight", |w| *w *= 100.0)?;
        }
        spanning(Ok(case), 7)
    })
    .at(&[0]),
];
