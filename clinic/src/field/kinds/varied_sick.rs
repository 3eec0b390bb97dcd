//! Sick kinds whose data and widths vary with the seed. Many slow a training and do not stop it.

use super::*;

/// The targets of `data` between the bounds of an activation at the outputs: its inputs, from `low` to `high`.
fn reproduced(data: Data, low: f32, high: f32) -> Data {
    let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
    let y = data.x.iter().map(|x| middle + half * (0.5 * x).clamp(-1.0, 1.0)).collect();
    Data { y: Targets::Values(data.width, y), ..data }
}

/// Three layers of rectifiers or another activation, a table, and a change of one block.
fn loaded(case: Result<Case, Error>, sick: bool, block: &str, by: impl Fn(&mut f32)) -> Result<Case, Error> {
    let mut case = case?;
    if sick {
        change(&mut case, block, by)?;
    }
    Ok(case)
}

/// Biases of ±`size`, in turn.
fn signs(size: f32) -> impl Fn(&mut f32) {
    let sign = std::cell::Cell::new(size);
    move |bias| *bias = sign.replace(-sign.get())
}

pub const KINDS: &[Kind] = &[
    sick("output biases of ±20 before a sigmoid", &[LargeWeights, DeadUnits], |t, s, sick| {
        let mut dice = Dice::new(s, 40);
        let (data, hidden) = (reproduced(dice.table(t), 0.1, 0.9), dice.of(&[24, 32, 48]));
        let net = Sequential::input(data.width).linear(hidden).activation(Tanh).linear(data.width).activation(Sigmoid);
        loaded(case(net.build(), data, Adam(3e-3), s), sick, "2.bias", signs(20.0))
    })
    .at(&[2, 3]),
    sick("output biases of ±20 before a tanh", &[LargeWeights, DeadUnits], |t, s, sick| {
        let mut dice = Dice::new(s, 41);
        let (data, hidden) = (reproduced(dice.table(t), -0.8, 0.8), dice.of(&[24, 32, 48]));
        let net = Sequential::input(data.width).linear(hidden).activation(Relu).linear(data.width).activation(Tanh);
        loaded(case(net.build(), data, Momentum(0.02), s), sick, "2.bias", signs(20.0))
    })
    .at(&[2, 3]),
    sick("biases of 50 before a ReLU", &[LargeWeights, CollapsedRepresentation], |t, s, sick| {
        let mut dice = Dice::new(s, 42);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 3, data.outputs()), Relu, He::normal());
        loaded(case(net, data, Sgd(0.05), s), sick, "2.bias", |bias| *bias = 50.0)
    })
    .at(&[2]),
    sick("biases of 50 before a GELU, Adam", &[LargeWeights, CollapsedRepresentation], |t, s, sick| {
        let mut dice = Dice::new(s, 43);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Gelu, He::normal());
        loaded(case(net, data, Adam(1e-3), s), sick, "2.bias", |bias| *bias = 50.0)
    })
    .at(&[2]),
    sick("first weights × 100 before a GELU, described", &[LargeWeights], |t, s, sick| {
        let mut dice = Dice::new(s, 44);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let gain = std::f64::consts::SQRT_2 * if sick { 100.0 } else { 1.0 };
        let first = Linear::new(data.width, hidden).weights(He::normal().gain(gain));
        let net = Sequential::input(data.width).layer(first).activation(Gelu);
        let net = net.layer(Linear::new(hidden, hidden).weights(He::normal())).activation(Gelu);
        case(net.linear(data.outputs()).build(), data, Sgd(0.05), s)
    })
    .at(&[0]),
    sick("first weights × 100 before a SiLU, loaded", &[LargeWeights], |t, s, sick| {
        let mut dice = Dice::new(s, 45);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Swish::SILU, He::normal());
        loaded(case(net, data, Adam(1e-3), s), sick, "0.weight", |w| *w *= 100.0)
    })
    .at(&[0]),
    sick("a table of 1e-3, SGD", &[SmallWeights], |_, s, sick| {
        let mut dice = Dice::new(s, 46);
        let (tokens, width, hidden) = (dice.of(&[16, 24]), dice.of(&[12, 16, 24]), dice.of(&[24, 32]));
        let table = Embedding::new(tokens, width).weights(Normal { mean: 0.0, std: if sick { 1e-3 } else { 1.0 } });
        let net = Sequential::input(1).layer(table).linear(hidden).activation(Tanh).linear(tokens).build();
        case(net, made::bigrams(tokens, false, s), Sgd(0.1), s)
    })
    .at(&[0]),
    sick("sorted sequences, an output at each step", &[UnmixedBatches], |t, s, sick| {
        let mut dice = Dice::new(s, 47);
        let (data, hidden) = (t.digit_rows(), dice.of(&[20, 24, 32]));
        let data = if sick { data.sorted() } else { data }.told_at_each_step();
        let net = Sequential::input(8).recurrent(hidden, Gru::new()).linear(10).build();
        let made = case(net, data, dice.of(&[Momentum(0.05), Adam(5e-3)]), s);
        spanning(with(made, |recipe| recipe.in_order = true), 7)
    }),
    sick("dropout of 0.9", &[DropoutTooHeavy], |t, s, sick| {
        let mut dice = Dice::new(s, 48);
        let (data, hidden, rate) = (dice.table(t), dice.of(&[24, 32]), if sick { 0.9 } else { 0.1 });
        let net = Sequential::input(data.width).linear(hidden).activation(Relu).layer(Dropout::new(hidden, rate)?);
        let net = net.linear(hidden).activation(Relu).layer(Dropout::new(hidden, rate)?);
        case(net.linear(data.outputs()).build(), data, Adam(3e-3), s)
    })
    .at(&[2, 5]),
    sick("weight decay of 5", &[DecayTooStrong], |t, s, sick| {
        let mut dice = Dice::new(s, 49);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Relu, He::normal());
        with(case(net, data, AdamW(3e-3), s), |recipe| recipe.decay = sick.then_some(5.0))
    }),
    sick("decay of one matrix", &[DecayTooStrong], |t, s, sick| {
        let mut dice = Dice::new(s, 50);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Tanh, LeCun::normal());
        with(case(net, data, Sgd(0.05), s), |recipe| recipe.decays = sick.then_some(("2", 1.0)))
    })
    .at(&[2]),
    sick("a rate × 0.01", &[LearningRateTooLow], |t, s, sick| {
        let mut dice = Dice::new(s, 51);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Tanh, LeCun::normal());
        with(case(net, data, Sgd(0.1), s), |recipe| recipe.rate = if sick { 0.01 } else { 1.0 })
    }),
    sick("a rate × 0.03, Adam", &[LearningRateTooLow], |t, s, sick| {
        let mut dice = Dice::new(s, 52);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Relu, He::normal());
        let (rate, low) = (dice.of(&[2e-3, 4e-3]), dice.of(&[0.01, 0.03]));
        with(case(net, data, Adam(rate), s), |recipe| recipe.rate = if sick { low } else { 1.0 })
    }),
    sick("a rate × 0.02, GRU", &[LearningRateTooLow], |t, s, sick| {
        let mut dice = Dice::new(s, 53);
        let made =
            case(last_step(Recurrent::new(8, dice.of(&[20, 32]), Gru::new()), 10), t.digit_rows(), Adam(5e-3), s);
        spanning(with(made, |recipe| recipe.rate = if sick { 0.02 } else { 1.0 }), 7)
    }),
    sick("a clip of 0.01", &[ClipThresholdTooLow], |t, s, sick| {
        let mut dice = Dice::new(s, 54);
        let (data, hidden, norm) = (dice.table(t), dice.of(&[24, 32, 48]), dice.of(&[0.01, 0.02]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Relu, He::normal());
        with(case(net, data, Sgd(0.05), s), |recipe| recipe.clip = Some(if sick { norm } else { 1.0 }))
    }),
    sick("a clip of 0.01, LSTM", &[ClipThresholdTooLow], |t, s, sick| {
        let mut dice = Dice::new(s, 55);
        let net = last_step(Recurrent::new(8, dice.of(&[20, 32]), Lstm::new()), 10);
        let made = case(net, t.digit_rows(), Momentum(0.1), s);
        spanning(with(made, |recipe| recipe.clip = Some(if sick { 0.01 } else { 1.0 })), 7)
    }),
    sick("a schedule that ends at a tenth", &[LearningRateTooLow], |t, s, sick| {
        let mut dice = Dice::new(s, 56);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, hidden, 2, data.outputs()), Relu, He::normal());
        let ends = if sick { 30 } else { 300 };
        with(case(net, data, dice.of(&[Sgd(0.03), Adam(1e-3)]), s), |recipe| recipe.ends = Some(ends))
    }),
    sick("a gated linear layer with a shut gate", &[ClosedInputGate, ClosedOutputGate, Bottleneck], |t, s, sick| {
        let mut dice = Dice::new(s, 57);
        let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        let bias = ByGate::new(Zeros).gate("gate", Constant(if sick { -8.0 } else { 0.0 }));
        let gated = GatedLinear::new(hidden, hidden, Sigmoid).bias(bias);
        let net = Sequential::input(data.width).linear(hidden).activation(Tanh).layer(gated);
        case(net.linear(data.outputs()).build(), data, dice.of(&[Sgd(0.1), Adam(2e-3)]), s)
    })
    .at(&[2]),
    sick("gates of an LSTM × 8, loaded", &[LargeWeights, ExplodingRecurrence], |t, s, sick| {
        let mut dice = Dice::new(s, 58);
        let (hidden, optimizer) = (dice.of(&[20, 24, 32]), dice.of(&[Adam(3e-3), Momentum(0.1)]));
        let made = case(last_step(Recurrent::new(8, hidden, Lstm::new()), 10), t.digit_rows(), optimizer, s);
        let made = loaded(made, sick, "0.weight", |w| *w *= 8.0);
        spanning(loaded(made, sick, "0.recurrent", |w| *w *= 8.0), 7)
    })
    .at(&[0]),
];
