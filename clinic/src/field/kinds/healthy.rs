//! Healthy kinds: recipes that reach their level.

use super::*;

pub const KINDS: &[Kind] = &[
    healthy("iris, tanh", |t, s, _| case(stack(&[4, 16, 3], Tanh, LeCun::normal()), t.iris(), Sgd(0.1), s)),
    healthy("iris, pyramid", |t, s, _| case(stack(&[4, 64, 32, 16, 3], Relu, He::normal()), t.iris(), Adam(3e-3), s)),
    healthy("iris, mixed activations", |t, s, _| {
        let net = Sequential::input(4).linear(20).activation(Relu).linear(16).activation(Tanh).linear(12);
        case(net.activation(Gelu).linear(3).build(), t.iris(), Adam(5e-3), s)
    }),
    healthy("wine, gelu", |t, s, _| case(stack(&deep(13, 48, 3, 3), Gelu, He::normal()), t.wine(), Adam(2e-3), s)),
    healthy("wine, sigmoid", |t, s, _| case(stack(&[13, 24, 3], Sigmoid, Glorot::uniform()), t.wine(), Adam(1e-2), s)),
    healthy("wine, softsign", |t, s, _| {
        case(stack(&deep(13, 24, 3, 3), Softsign, LeCun::normal()), t.wine(), Momentum(0.05), s)
    }),
    healthy("cancer, relu", |t, s, _| {
        case(stack(&deep(30, 32, 5, 2), Relu, He::normal()), t.cancer(), Momentum(0.01), s)
    }),
    healthy("cancer, norms", |t, s, _| case(normed(30, 32, 4, 2), t.cancer(), Adam(1e-3), s)),
    healthy("cancer, zero output layer", |t, s, _| {
        let net = Sequential::input(30).linear(40).activation(Elu::new(1.0)?).linear(40).activation(Elu::new(1.0)?);
        case(net.layer(Linear::new(40, 2).weights(Zeros)).build(), t.cancer(), Adam(3e-3), s)
    }),
    healthy("cancer, logistic regression", |t, s, _| {
        case(stack(&[30, 2], Tanh, Glorot::uniform()), t.cancer(), Sgd(0.1), s)
    }),
    healthy("diabetes, swish", |t, s, _| {
        case(stack(&deep(10, 32, 3, 1), Swish::SILU, He::normal()), t.diabetes(), AdamW(1e-3), s)
    }),
    healthy("diabetes, prelu", |t, s, _| {
        let net = Sequential::input(10).linear(32).prelu().linear(32).prelu().linear(1);
        case(net.build(), t.diabetes(), RmsProp(1e-3), s)
    }),
    healthy("digits, not centred", |t, s, _| {
        case(stack(&[64, 96, 48, 10], Relu, He::normal()), t.digits_from_zero(1.0), Sgd(0.1), s)
    }),
    healthy("digits, norm first", |t, s, _| {
        let net = Sequential::input(64).layer(RmsNorm::new(64)).linear(64).activation(Relu).linear(64).activation(Relu);
        case(net.linear(10).build(), t.digits_from_zero(16.0), Adam(2e-3), s)
    }),
    healthy("digits, first weights scaled down", |t, s, _| {
        let first = Linear::new(64, 64).weights(He::normal().gain(0.1));
        let net = Sequential::input(64).layer(first).activation(Relu).linear(10);
        case(net.build(), t.digits_from_zero(16.0), Adam(1e-3), s)
    }),
    healthy("digits, dropout", |t, s, _| {
        let net = Sequential::input(64).linear(96).activation(Relu).layer(Dropout::new(96, 0.5)?).linear(96);
        case(net.activation(Relu).layer(Dropout::new(96, 0.5)?).linear(10).build(), t.digits(), Adam(2e-3), s)
    }),
    healthy("digits, zero branches", |t, s, _| {
        let mut net = Sequential::<f32>::input(64).linear(32);
        for _ in 0..6 {
            net = net.residual(|branch| {
                let last = Linear::new(32, 32).weights(Zeros);
                branch.layer(LayerNorm::new(32)).linear(32).activation(Gelu).layer(last)
            });
        }
        case(net.layer_norm().linear(10).build(), t.digits(), Adam(2e-3), s)
    }),
    healthy("digits, ReZero", |t, s, _| {
        case(residual(64, 32, 8, BranchScale::Learned(0.0), false, 10), t.digits(), Adam(2e-3), s)
    }),
    healthy("digits, scaled residual", |t, s, _| {
        case(residual(64, 32, 10, BranchScale::Fixed(0.316), false, 10), t.digits(), Momentum(0.01), s)
    }),
    healthy("digits, pre-norm residual", |t, s, _| {
        case(residual(64, 32, 12, BranchScale::Fixed(1.0), true, 10), t.digits(), Adam(1e-3), s)
    }),
    healthy("digits, autoencoder", |t, s, _| {
        case(stack(&[64, 32, 8, 32, 64], Tanh, LeCun::normal()), t.autoencoded(), Adam(3e-3), s)
    }),
    healthy("digits, deep critical tanh", |t, s, _| {
        case(stack(&deep(64, 48, 20, 10), Tanh, CriticalGain::new(&Tanh)?), t.digits(), Sgd(0.02), s)
    }),
    healthy("digits, selu", |t, s, _| {
        case(stack(&deep(64, 48, 8, 10), Selu, LeCun::normal()), t.digits(), Momentum(0.005), s)
    }),
    healthy("digits, wide", |t, s, _| case(stack(&[64, 256, 10], Relu, He::normal()), t.digits(), Sgd(0.05), s)),
    healthy("digits, warm start", |t, s, _| {
        let net = stack(&deep(64, 64, 2, 10), Tanh, LeCun::normal());
        with(case(net, t.digits(), Adam(3e-3), s), |recipe| recipe.before = 300)
    }),
    healthy("sunspots, GRU", |t, s, _| {
        spanning(case(last_step(Recurrent::new(1, 24, Gru::new()), 1), t.sunspots(16), Adam(5e-3), s), 3)
    }),
    healthy("sunspots, Elman", |t, s, _| {
        let layer = Recurrent::new(1, 24, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.9 });
        spanning(case(last_step(layer, 1), t.sunspots(12), Adam(3e-3), s), 3)
    }),
    healthy("sunspots, stacked LSTM", |t, s, _| {
        let net = Sequential::input(1).recurrent(16, Lstm::new()).recurrent(16, Lstm::new()).last_step().linear(1);
        spanning(case(net.build(), t.sunspots(16), Adam(5e-3), s), 3)
    }),
    healthy("sunspots, bidirectional", |t, s, _| {
        let net = Sequential::input(1).bidirectional(12, Gru::new()).mean_over_steps().linear(1);
        spanning(case(net.build(), t.sunspots(12), Adam(5e-3), s), 3)
    }),
    healthy("digits by row, LSTM", |t, s, _| {
        spanning(case(last_step(Recurrent::new(8, 32, Lstm::new()), 10), t.digit_rows(), Adam(5e-3), s), 7)
    }),
    healthy("digits by row, identity recurrence", |t, s, _| {
        let layer = Recurrent::new(8, 32, Elman::new(Relu)).recurrent(Identity { scale: 1.0 });
        let made = case(last_step(layer, 10), t.digit_rows(), Adam(2e-3), s);
        spanning(with(made, |recipe| recipe.clip = Some(1.0)), 7)
    }),
    healthy("digits, weight decay of 1", |t, s, _| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), AdamW(3e-3), s);
        with(made, |recipe| recipe.decay = Some(1.0))
    }),
    healthy("wine, L2 penalty of 1e-2", |t, s, _| {
        let made = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.1), s);
        with(made, |recipe| recipe.decay = Some(1e-2))
    }),
    healthy("digits, dropout of 0.7", |t, s, _| {
        let net = Sequential::input(64).linear(128).activation(Relu).layer(Dropout::new(128, 0.7)?).linear(10);
        case(net.build(), t.digits(), Adam(3e-3), s)
    }),
    healthy("digits, in their own order", |t, s, _| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Sgd(0.1), s);
        with(made, |recipe| recipe.in_order = true)
    }),
    healthy("sunspots, in their own order", |t, s, _| {
        let net = last_step(Recurrent::new(1, 16, Gru::new()), 1);
        let made = case(net, t.sunspots(16), Adam(5e-3), s);
        spanning(with(made, |recipe| recipe.in_order = true), 3)
    }),
    healthy("pixels, sigmoid outputs", |t, s, _| {
        let net = Sequential::input(64).linear(32).activation(Tanh).linear(64).activation(Sigmoid);
        case(net.build(), t.autoencoded_from_zero(), Adam(5e-3), s)
    }),
    healthy("wine, a sample × 10", |t, s, _| {
        case(stack(&deep(13, 24, 2, 3), Relu, He::normal()), t.wine().wild(17, 10.0, None), Adam(2e-3), s)
    }),
    healthy("digits, relu of 14 layers", |t, s, _| {
        case(stack(&deep(64, 64, 14, 10), Relu, He::normal()), t.digits(), Adam(5e-4), s)
    }),
    healthy("cancer, tanh outputs", |t, s, _| {
        let net = Sequential::input(30).linear(24).activation(Relu).linear(30).activation(Tanh);
        let cancer = t.cancer();
        let y = crate::field::data::Targets::Values(30, cancer.x.iter().map(|x| 0.8 * x.clamp(-1.0, 1.0)).collect());
        case(net.build(), Data { y, ..cancer }, Adam(3e-3), s)
    }),
    healthy("digits by row, dropout before an LSTM", |t, s, _| {
        let net = Sequential::input(8).layer(Dropout::new(8, 0.3)?).recurrent(32, Lstm::new()).last_step().linear(10);
        spanning(case(net.build(), t.digit_rows(), Adam(5e-3), s), 7)
    }),
    healthy("digits, warm-up of 200 steps", |t, s, _| {
        let made = case(stack(&deep(64, 48, 2, 10), Relu, He::normal()), t.digits(), Adam(2e-3), s);
        with(made, |recipe| recipe.warms_up = Some(200))
    }),
    healthy("wine, four settings of two columns", |t, s, _| {
        // The signs of two columns alone: 4 different inputs.
        let mut data = t.wine();
        data.x = data.x.chunks(13).flat_map(|row| [row[6].signum(), row[9].signum()]).collect();
        data.width = 2;
        case(stack(&deep(2, 16, 2, 3), Tanh, LeCun::normal()), data, Sgd(0.1), s)
    }),
    healthy("diabetes, small targets", |t, s, _| {
        let net = Sequential::input(10).linear(24).activation(Tanh).layer(Linear::new(24, 1).weights(Zeros));
        case(net.build(), t.diabetes().targets_scaled(0.1), Adam(3e-3), s)
    }),
    healthy("digits, two tanh units between rectifiers", |t, s, _| {
        let net = Sequential::input(64).layer(Linear::new(64, 40).weights(He::normal())).activation(Relu);
        let net = net.layer(Linear::new(40, 3).weights(He::normal())).activation(Tanh);
        let net = net.layer(Linear::new(3, 40).weights(He::normal())).activation(Relu).linear(10);
        case(net.build(), t.digits(), Adam(5e-3), s)
    }),
    healthy("digits, as they are", |t, s, _| {
        case(stack(&[64, 56, 40, 10], Relu, He::normal()), t.digits_from_zero(14.0), Adam(1e-3), s)
    }),
];
