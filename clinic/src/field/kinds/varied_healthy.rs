//! Healthy kinds whose data, widths and depth vary with the seed. Most look like a fault in one number: labels with
//! much noise, rates of 0 on purpose, inputs that a norm makes sound.

use super::*;

/// Weights of layers before rectifiers.
const HE: VarianceScaling = He::normal();

/// A stack behind a table of rows of small numbers.
fn token_network(vocabulary: usize, width: usize, bound: f64) -> Net {
    let table = Embedding::new(vocabulary, width).weights(Uniform::within(bound));
    Sequential::input(1).layer(table).linear(2 * width).activation(Tanh).linear(vocabulary).build()
}

/// A network that was trained on the digits modulo 5, its output layer new, for all digits.
fn fine_tuned(t: &Tables, s: u64, optimizer: Optimizer, groups: &'static [(&'static str, f64)]) -> Result<Case, Error> {
    let mut dice = Dice::new(s, 1);
    let width = dice.of(&[64, 96, 128]);
    let net = stack(&[64, width, width, 10], Relu, HE)?;
    let mut before = t.digits();
    if let Targets::Classes(classes) = &mut before.y {
        classes.iter_mut().for_each(|class| *class %= 5);
    }
    let w = pretrained(&net, &before, "4", s)?;
    let made = with(case(Ok(net), t.digits(), optimizer, s), |recipe| recipe.groups = groups)?;
    Ok(Case { w, ..made })
}

pub const KINDS: &[Kind] = &[
    healthy("weak labels, a schedule to 0", |_, s, _| {
        let mut dice = Dice::new(s, 2);
        let (width, hidden, depth) = (dice.of(&[6, 10, 20]), dice.of(&[16, 32]), dice.of(&[1, 2]));
        let net = stack(&deep(width, hidden, depth, 2), Tanh, LeCun::normal());
        let made = case(net, made::sides(2000, width, 0.35, s), dice.of(&[Adam(2e-3), Sgd(0.1)]), s);
        with(made, |recipe| recipe.ends = Some(STEPS as u64))
    })
    .reaching(0.6),
    healthy("weak labels, dropout of 0.5", |_, s, _| {
        let mut dice = Dice::new(s, 3);
        let (width, hidden) = (dice.of(&[6, 10, 20]), dice.of(&[48, 64, 96]));
        let net = Sequential::input(width).layer(Linear::new(width, hidden).weights(HE)).activation(Relu);
        let net = net.layer(Dropout::new(hidden, 0.5)?).linear(2);
        case(net.build(), made::sides(2000, width, 0.35, s), Adam(2e-3), s)
    })
    .reaching(0.6),
    healthy("slow SGD, dropout of 0.5", |t, s, _| {
        let mut dice = Dice::new(s, 4);
        let (hidden, rate) = (dice.of(&[64, 96, 128]), dice.of(&[0.01, 0.02]));
        let net = Sequential::input(64).layer(Linear::new(64, hidden).weights(HE)).activation(Relu);
        let net = net.layer(Dropout::new(hidden, 0.5)?).layer(Linear::new(hidden, hidden).weights(HE));
        case(net.activation(Relu).layer(Dropout::new(hidden, 0.5)?).linear(10).build(), t.digits(), Sgd(rate), s)
    })
    .reaching(0.5),
    healthy("weak signal, L2 on purpose", |_, s, _| {
        let mut dice = Dice::new(s, 5);
        let (width, hidden) = (dice.of(&[5, 8, 12]), dice.of(&[16, 32]));
        let net = stack(&[width, hidden, 1], Tanh, LeCun::normal());
        let made = case(net, made::surface(2000, width, s).noisy(2.5, s), Sgd(0.05), s);
        with(made, |recipe| recipe.decay = Some(1e-2))
    })
    .reaching(0.05),
    healthy("fine-tuning, two layers at rate 0", |t, s, _| fine_tuned(t, s, Adam(3e-3), &[("0", 0.0), ("2", 0.0)]))
        .reaching(0.8),
    healthy("fine-tuning, the first layer at rate 0", |t, s, _| fine_tuned(t, s, Sgd(0.05), &[("0", 0.0)]))
        .reaching(0.8),
    healthy("fine-tuning, two layers at 0.01 of the rate", |t, s, _| {
        fine_tuned(t, s, Adam(3e-3), &[("0", 0.01), ("2", 0.01)])
    })
    .reaching(0.8),
    healthy("RMSprop of 0.01", |t, s, _| {
        let mut dice = Dice::new(s, 6);
        let (data, hidden) = (dice.table(t), dice.of(&[16, 24, 32]));
        let net = stack(&deep(data.width, hidden, dice.of(&[1, 2]), data.outputs()), Relu, HE);
        case(net, data, RmsProp(0.01), s)
    })
    .reaching(0.9),
    healthy("Adagrad of 0.1", |t, s, _| {
        let mut dice = Dice::new(s, 7);
        let (data, hidden) = (dice.table(t), dice.of(&[16, 24, 32]));
        let net = stack(&deep(data.width, hidden, dice.of(&[1, 2]), data.outputs()), Tanh, LeCun::normal());
        case(net, data, Adagrad(0.1), s)
    })
    .reaching(0.9),
    healthy("weights of 0.02, Adam of 1e-2", |t, s, _| {
        let mut dice = Dice::new(s, 8);
        let (data, hidden, depth) = (dice.table(t), dice.of(&[32, 48, 64]), dice.of(&[1, 2]));
        let weights = Normal { mean: 0.0, std: 0.02 };
        let widths = deep(data.width, hidden, depth, data.outputs());
        let net = if dice.of(&[true, false]) { stack(&widths, Relu, weights) } else { stack(&widths, Gelu, weights) };
        case(net, data, Adam(1e-2), s)
    })
    .reaching(0.9),
    healthy("a table of ±0.05, Adam of 1e-2", |_, s, _| {
        let mut dice = Dice::new(s, 9);
        let (tokens, width) = (dice.of(&[20, 30, 40]), dice.of(&[12, 16, 24]));
        case(token_network(tokens, width, 0.05), made::bigrams(tokens, false, s), Adam(1e-2), s)
    })
    .reaching(0.6),
    healthy("heavy tails, squared error", |_, s, _| {
        let mut dice = Dice::new(s, 10);
        let (width, hidden) = (dice.of(&[4, 6, 8]), dice.of(&[24, 32]));
        let (data, net) = (made::surface(1500, width, s), stack(&[width, hidden, 1], Tanh, LeCun::normal()));
        judged(case(net, data.clone().heavy_tailed(0.4, s), Adam(3e-3), s), data)
    })
    .reaching(0.4),
    healthy("heavy tails, Huber", |_, s, _| {
        let mut dice = Dice::new(s, 11);
        let (width, hidden, delta) = (dice.of(&[4, 6, 8]), dice.of(&[24, 32]), dice.of(&[0.5, 1.0]));
        let (data, net) = (made::surface(1500, width, s), stack(&[width, hidden, hidden, 1], Relu, HE));
        let made = judged(case(net, data.clone().heavy_tailed(0.5, s), Adam(3e-3), s), data);
        with(made, |recipe| recipe.loss = Objective::Huber(delta))
    })
    .reaching(0.5),
    healthy("batches of one sample", |t, s, _| {
        let mut dice = Dice::new(s, 12);
        let (data, hidden) = (if dice.of(&[true, false]) { t.iris() } else { t.wine() }, dice.of(&[12, 16, 24]));
        let made = case(stack(&[data.width, hidden, 3], Tanh, LeCun::normal()), data, Sgd(0.02), s);
        with(made, |recipe| (recipe.batch, recipe.steps) = (1, 900))
    })
    .reaching(0.9),
    healthy("inputs of 290 ± 10, batch norm", |t, s, _| {
        let mut dice = Dice::new(s, 13);
        let (mut data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
        data.x.iter_mut().for_each(|x| *x = 290.0 + 10.0 * *x);
        let net = Sequential::input(data.width).linear(hidden).batch_norm().activation(Relu);
        let net = net.linear(hidden).batch_norm().activation(Relu).linear(data.outputs());
        let made = case(net.build(), data, dice.of(&[Adam(1e-3), Adam(3e-3)]), s);
        with(made, |recipe| recipe.ends = Some(STEPS as u64))
    })
    .reaching(0.85),
    healthy("inputs of 100, layer norm", |t, s, _| {
        let mut dice = Dice::new(s, 14);
        let (data, hidden) = (dice.table(t).scaled(100.0), dice.of(&[24, 32, 48]));
        let net = Sequential::input(data.width).linear(hidden).activation(Relu).layer_norm();
        case(net.linear(hidden).activation(Relu).linear(data.outputs()).build(), data, Adam(3e-3), s)
    })
    .reaching(0.85),
    healthy("next token, one column each", |_, s, _| {
        let mut dice = Dice::new(s, 15);
        let (tokens, hidden) = (dice.of(&[24, 32, 48]), dice.of(&[24, 32, 48]));
        case(stack(&[tokens, hidden, tokens], Tanh, Glorot::uniform()), made::bigrams(tokens, true, s), Adam(1e-2), s)
    })
    .reaching(0.6),
    healthy("six rows in ten empty", |_, s, _| {
        let mut dice = Dice::new(s, 16);
        let (width, hidden) = (dice.of(&[30, 40, 60]), dice.of(&[24, 32, 48]));
        case(stack(&deep(width, hidden, dice.of(&[1, 2]), 1), Relu, HE), made::sparse(width, s), Adam(5e-3), s)
    })
    .reaching(0.7),
    healthy("13 to 16 bare residual blocks, Adam", |t, s, _| {
        let mut dice = Dice::new(s, 17);
        let (data, width, blocks) = (dice.table(t), dice.of(&[24, 32]), dice.of(&[13, 14, 15, 16]));
        let net = residual(data.width, width, blocks, BranchScale::Fixed(1.0), false, data.outputs());
        with(case(net, data, Adam(1e-3), s), |recipe| recipe.steps = 1000)
    })
    .reaching(0.85),
    healthy("six gated linear layers", |t, s, _| {
        let mut dice = Dice::new(s, 18);
        let (data, width) = (dice.table(t), dice.of(&[32, 48, 64]));
        let mut net = Sequential::input(data.width);
        for _ in 0..6 {
            net = net.gated_linear(width, Sigmoid);
        }
        case(net.linear(data.outputs()).build(), data, Adam(5e-3), s)
    })
    .reaching(0.85),
    healthy("four sigmoid layers, Adam", |t, s, _| {
        let mut dice = Dice::new(s, 19);
        let (data, width) = (dice.table(t), dice.of(&[32, 48, 64]));
        case(stack(&deep(data.width, width, 4, data.outputs()), Sigmoid, Glorot::uniform()), data, Adam(1e-2), s)
    })
    .reaching(0.85),
    healthy("two LSTMs, the mean of 100 steps", |_, s, _| {
        let mut dice = Dice::new(s, 20);
        let (steps, hidden, width) = (dice.of(&[100, 110, 120]), dice.of(&[8, 12]), dice.of(&[2, 3]));
        let net = Sequential::input(width).recurrent(hidden, Lstm::new()).recurrent(hidden, Lstm::new());
        let net = net.mean_over_steps().linear(2).build();
        spanning(case(net, made::levels(steps, width, s), Adam(5e-3), s), 3)
    })
    .reaching(0.85),
    healthy("loaded He weights, described as Glorot", |t, s, _| {
        let mut dice = Dice::new(s, 21);
        let (data, width, depth) = (dice.table(t), dice.of(&[32, 48, 64]), dice.of(&[6, 8, 10]));
        let widths = deep(data.width, width, depth, data.outputs());
        let w = initialize(&stack(&widths, Relu, HE)?, s)?;
        Ok(Case { w, ..case(stack(&widths, Relu, Glorot::uniform()), data, Adam(1e-3), s)? })
    })
    .reaching(0.85),
    healthy("a resumed tanh run", |t, s, _| {
        let mut dice = Dice::new(s, 22);
        let (data, width, before) = (dice.table(t), dice.of(&[24, 32, 48]), dice.of(&[400, 600]));
        let net = stack(&deep(data.width, width, dice.of(&[2, 3]), data.outputs()), Tanh, LeCun::normal());
        with(case(net, data, dice.of(&[Sgd(0.1), Momentum(0.02)]), s), |recipe| recipe.before = before)
    })
    .reaching(0.9),
    healthy("inputs of norm 1, slow", |_, s, _| {
        let mut dice = Dice::new(s, 23);
        let (width, classes, hidden) = (dice.of(&[48, 64, 96]), dice.of(&[3, 4, 5]), dice.of(&[32, 48]));
        let net = stack(&[width, hidden, classes], Relu, HE);
        case(net, made::embedded(width, classes, s), Sgd(0.1), s)
    })
    .reaching(0.7),
    healthy("parity of three signs, long", |_, s, _| {
        let mut dice = Dice::new(s, 24);
        let (width, hidden) = (dice.of(&[6, 8, 10]), dice.of(&[48, 64, 96]));
        let made = case(stack(&[width, hidden, 2], Relu, HE), made::parity(width, s), Sgd(0.1), s);
        with(made, |recipe| recipe.steps = 3000)
    })
    .reaching(0.95),
    healthy("adding two marked numbers, long", |_, s, _| {
        let mut dice = Dice::new(s, 25);
        let (steps, hidden) = (dice.of(&[16, 20, 24]), dice.of(&[16, 24]));
        let made = case(last_step(Recurrent::new(2, hidden, Gru::new()), 1), made::adding(steps, s), Adam(5e-3), s);
        spanning(with(made, |recipe| recipe.steps = 1500), steps - 1)
    })
    .reaching(0.9),
    healthy("warm restarts of 40 steps", |t, s, _| {
        let mut dice = Dice::new(s, 26);
        let (data, width) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, width, dice.of(&[2, 3]), data.outputs()), Relu, HE);
        with(case(net, data, dice.of(&[Sgd(0.1), Adam(3e-3)]), s), |recipe| recipe.restarts = Some(40))
    })
    .reaching(0.85),
    healthy("small targets first", |_, s, _| {
        let mut dice = Dice::new(s, 27);
        let (width, hidden) = (dice.of(&[4, 6, 8]), dice.of(&[24, 32]));
        let data = made::surface(1200, width, s).noisy(0.3, s).smallest_targets_first();
        let made = case(stack(&deep(width, hidden, 2, 1), Tanh, LeCun::normal()), data, Adam(5e-3), s);
        with(made, |recipe| recipe.grows = true)
    })
    .reaching(0.6),
    healthy("identity recurrence of 100 steps, clipped", |_, s, _| {
        let mut dice = Dice::new(s, 28);
        let (steps, hidden) = (dice.of(&[100, 110, 120]), dice.of(&[24, 32]));
        let layer = Recurrent::new(1, hidden, Elman::new(Relu)).weights(Normal { mean: 0.0, std: 0.1 });
        let net = last_step(layer.recurrent(Identity { scale: 1.0 }), 1);
        let made = case(net, made::sums(steps, s), Adam(1e-3), s);
        spanning(with(made, |recipe| recipe.clip = Some(1.0)), steps - 1)
    })
    .reaching(0.6),
    healthy("label smoothing of 0.1", |t, s, _| {
        let mut dice = Dice::new(s, 29);
        let (data, width) = (dice.table(t), dice.of(&[24, 32, 48]));
        let net = stack(&deep(data.width, width, dice.of(&[1, 2, 3]), data.outputs()), Gelu, HE);
        with(case(net, data, Adam(3e-3), s), |recipe| recipe.loss = Objective::Smoothed(0.1))
    })
    .reaching(0.9),
    healthy("four batches an update", |t, s, _| {
        let mut dice = Dice::new(s, 30);
        let (data, width, batch) = (dice.table(t), dice.of(&[24, 32, 48]), dice.of(&[4, 8, 16]));
        let net = stack(&deep(data.width, width, 2, data.outputs()), Relu, HE);
        with(case(net, data, dice.of(&[Sgd(0.1), Adam(2e-3)]), s), |recipe| {
            (recipe.batch, recipe.accumulates) = (batch, 4);
        })
    })
    .reaching(0.85),
    healthy("a moving average of the parameters", |t, s, _| {
        let mut dice = Dice::new(s, 31);
        let (data, width, decay) = (dice.table(t), dice.of(&[24, 32, 48]), dice.of(&[0.9, 0.98]));
        let net = stack(&deep(data.width, width, 2, data.outputs()), Swish::SILU, HE);
        with(case(net, data, Adam(3e-3), s), |recipe| recipe.average = Some(decay))
    })
    .reaching(0.9),
    healthy("Poisson counts", |_, s, _| {
        let mut dice = Dice::new(s, 32);
        let (width, hidden) = (dice.of(&[4, 6, 8]), dice.of(&[24, 32]));
        let data = made::surface(1500, width, s).counted(s);
        let made = case(stack(&deep(width, hidden, dice.of(&[1, 2]), 1), Tanh, LeCun::normal()), data, Adam(5e-3), s);
        with(made, |recipe| recipe.loss = Objective::Poisson)
    })
    .reaching(0.4),
    healthy("a very wide first layer", |t, s, _| {
        let mut dice = Dice::new(s, 33);
        let (data, wide, narrow) = (dice.table(t), dice.of(&[512, 768, 1024]), dice.of(&[8, 12, 16]));
        let net = stack(&[data.width, wide, narrow, data.outputs()], Relu, HE);
        case(net, data, Adam(1e-3), s)
    })
    .reaching(0.85),
    healthy("frozen first layers", |t, s, _| {
        let mut dice = Dice::new(s, 34);
        let (data, width) = (dice.table(t), dice.of(&[96, 128, 160]));
        let frozen = dice.of::<&'static [&'static str]>(&[&["0"], &["0", "2"]]);
        let net = stack(&deep(data.width, width, 2, data.outputs()), Relu, HE);
        with(case(net, data, Adam(3e-3), s), |recipe| recipe.frozen = frozen)
    })
    .reaching(0.85),
    healthy("exclusive or of four rows", |_, s, _| {
        let mut dice = Dice::new(s, 35);
        let (hidden, optimizer) = (dice.of(&[8, 12, 16]), dice.of(&[Adam(2e-2), Sgd(0.3)]));
        case(stack(&[2, hidden, 2], Tanh, LeCun::normal()), made::exclusive_or(), optimizer, s)
    })
    .reaching(0.99),
    healthy("cosine distance", |_, s, _| {
        let mut dice = Dice::new(s, 36);
        let (width, outputs, hidden) = (dice.of(&[6, 8, 12]), dice.of(&[8, 16]), dice.of(&[32, 48]));
        let net = stack(&[width, hidden, outputs], Tanh, LeCun::normal());
        let made = case(net, made::directions(width, outputs, s), Adam(3e-3), s);
        with(made, |recipe| recipe.loss = Objective::Cosine)
    })
    .reaching(0.85),
    healthy("weights of samples", |_, s, _| {
        let mut dice = Dice::new(s, 37);
        let (width, hidden) = (dice.of(&[4, 6, 8]), dice.of(&[24, 32]));
        let data = made::surface(1500, width, s);
        let made = case(stack(&deep(width, hidden, 2, 1), Relu, HE), data.clone().of_two_qualities(s), Adam(3e-3), s);
        judged(made, data)
    })
    .reaching(0.6),
    healthy("sequences of 5 to 40 steps", |_, s, _| {
        let mut dice = Dice::new(s, 38);
        let hidden = dice.of(&[12, 16, 24]);
        let net = match dice.of(&[true, false]) {
            true => last_step(Recurrent::new(2, hidden, Gru::new()), 2),
            false => last_step(Recurrent::new(2, hidden, Lstm::new()), 2),
        };
        spanning(case(net, made::ragged(s), Adam(5e-3), s), 5)
    })
    .reaching(0.85),
    healthy("a class of 2 %", |_, s, _| {
        let mut dice = Dice::new(s, 39);
        let (width, hidden) = (dice.of(&[6, 8, 12]), dice.of(&[16, 32]));
        let made = case(stack(&[width, hidden, 2], Relu, HE), made::rare(0.02, width, s), Adam(5e-3), s);
        judged(made, made::rare(0.5, width, s))
    })
    .reaching(0.7),
];
