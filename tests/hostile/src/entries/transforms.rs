//! Transforms and optimizers.

use super::{entry, layers::json};
use crate::{
    Entry,
    case::{Case, Taste, Verdict, ensure},
};
use chainrule::{
    Blocks, Layer, Role, Scalar,
    layer::Sequential,
    monitor::Statistics,
    to_f64,
    transform::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Lion, Muon,
        NAdam, Optimizer, Outcome, ParameterGroups, Penalty, PerGroup, RAdam, ReduceOnPlateau, RmsProp, Schedule,
        ScheduleFreeAdamW, Sgd, SkipNonFinite, TransformSpec, Unordered, Update, WeightAverage,
    },
};

/// The blocks of a small network, some perhaps frozen, and the number of its parameters.
fn blocks(c: &mut Case) -> Result<Blocks, chainrule::Error> {
    let network = Sequential::<f32>::input(2).linear(3).layer_norm().linear(1).build()?;
    let mut blocks = Blocks::collect(|visit| network.blocks(visit));
    if c.once_in(4) {
        blocks.freeze(c.of(&["0", "1.bias", "2.weight", ""]))?;
    }
    Ok(blocks)
}

fn stepped<G: GradientTransform<f32> + GradientTransform<f64> + GradientTransform<half::f16> + Clone>(
    c: &mut Case,
    transform: G,
    legal: bool,
) -> Verdict {
    if c.once_in(4) {
        return steps::<half::f16, G>(c, transform, legal);
    }
    if c.flag() { steps::<f32, G>(c, transform, legal) } else { steps::<f64, G>(c, transform, legal) }
}

fn steps<T: Scalar, G: GradientTransform<T>>(c: &mut Case, transform: G, legal: bool) -> Verdict {
    let blocks = blocks(c)?;
    let n = blocks.parameters();
    let _ = format!("{transform:?}");
    let mut w = if c.once_in(6) { c.slice::<T>(n) } else { c.values::<T>(n, Taste::Mild) };
    let made = Optimizer::new(transform, &blocks, &w);
    ensure(made.is_err() || legal, || {
        format!("{:?} is accepted", made.as_ref().map(|o| format!("{:?}", o.transform())))
    })?;
    ensure(made.is_err() || w.len() == n, || format!("{} parameters for {n}", w.len()))?;
    let mut optimizer = made?;
    if c.once_in(4) {
        let state = c.slice::<T>(optimizer.state().len());
        let _ = optimizer.restore(&state, c.word());
    }
    let mild = w.iter().all(|w| w.abs() <= T::one());
    for _ in 0..3 {
        let mut g = if c.flag() { c.values::<T>(n, Taste::Mild) } else { c.slice::<T>(n) };
        let (calm, before) = (mild && g.iter().all(|g| g.abs() <= T::one()), w.clone());
        let _ = calm;
        let done = if c.flag() {
            optimizer.step(&blocks, &mut w, &mut g, &mut Statistics::new())
        } else {
            optimizer.step(&blocks, &mut w, &mut g, &mut ())
        };
        match done {
            Ok(Outcome::Skip) => ensure(bits(&w) == bits(&before), || "a skipped step changed the parameters".into())?,
            Ok(Outcome::Apply) => {}
            Err(_) => ensure(bits(&w) == bits(&before), || "an error changed the parameters".into())?,
        }
        for block in blocks.iter().filter(|block| block.frozen) {
            let same = bits(&w[block.range.clone()]) == bits(&before[block.range.clone()]);
            ensure(same, || format!("the frozen block {} moved", block.name))?;
        }
        optimizer.on_metric(&blocks, c.real())?;
    }
    let _ = (optimizer.averaged_weights(&blocks).map(<[T]>::len), optimizer.result(&blocks).map(<[T]>::len));
    let _ = (optimizer.steps(), format!("{optimizer:?}"));
    Ok(())
}

/// The bits of the values, those of −0 as of 0: a frozen block adds an update of 0.
fn bits<T: Scalar>(values: &[T]) -> Vec<u64> {
    values.iter().map(|value| (to_f64(*value) + 0.0).to_bits()).collect()
}

fn amount(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

/// An ε that a format can hold: one of f64 at least.
fn small(x: f64) -> bool {
    amount(x) && (x == 0.0 || x.is_normal())
}

fn decay(x: f64) -> bool {
    (0.0..1.0).contains(&x)
}

/// A schedule beside plain descent.
fn scheduled(c: &mut Case, schedule: Schedule) -> Verdict {
    let at: Vec<f64> = (0..4).map(|_| schedule.factor(c.word())).collect();
    let text = format!("{schedule:?}");
    let accepted = steps::<f32, _>(c, (Sgd::new(0.1), schedule.clone()), true);
    if accepted.is_ok() {
        // A factor above 1 overflows at a late step, which is an error there.
        ensure(!at.iter().any(|x| x.is_nan()), || format!("{text}: factors {at:?}"))?;
    }
    accepted
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            5,
            &[
                "transform::Sgd::new",
                "transform::Sgd::momentum",
                "transform::Sgd::dampening",
                "transform::Sgd: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, momentum, dampening) = (c.real(), c.about(0.9), c.about(0.0));
                let sgd = Sgd::new(rate).momentum(momentum).dampening(dampening);
                let sgd = if c.once_in(4) { sgd.nesterov() } else { sgd };
                stepped(c, sgd, amount(rate) && amount(momentum) && amount(dampening))
            },
        ),
        entry(
            6,
            &[
                "transform::Adam::new",
                "transform::Adam::betas",
                "transform::Adam::epsilon",
                "transform::Adam: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, one, two, epsilon) = (c.real(), c.about(0.9), c.about(0.999), c.about(1e-8));
                let adam = Adam::new(rate).betas(one, two).epsilon(epsilon);
                let adam = if c.flag() { adam.amsgrad() } else { adam };
                stepped(c, adam, amount(rate) && decay(one) && decay(two) && small(epsilon))
            },
        ),
        entry(
            5,
            &[
                "transform::AdamW::new",
                "transform::AdamW::adam",
                "transform::AdamW::roles",
                "transform::AdamW: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, by, epsilon) = (c.real(), c.real(), c.about(1e-8));
                let roles = [Role::Weight, Role::Bias];
                let adam = AdamW::new(rate, by).adam(|adam| adam.epsilon(epsilon)).roles(&roles[..c.below(3)]);
                stepped(c, adam, amount(rate) && amount(by) && small(epsilon))
            },
        ),
        entry(
            5,
            &[
                "transform::RmsProp::new",
                "transform::RmsProp::alpha",
                "transform::RmsProp::epsilon",
                "transform::RmsProp::momentum",
                "transform::RmsProp: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, alpha, epsilon, momentum) = (c.real(), c.about(0.99), c.about(1e-8), c.about(0.0));
                let rms = RmsProp::new(rate).alpha(alpha).epsilon(epsilon).momentum(momentum);
                let rms = if c.flag() { rms.centred() } else { rms };
                stepped(c, rms, amount(rate) && small(epsilon) && amount(momentum) && (0.0..=1.0).contains(&alpha))
            },
        ),
        entry(
            4,
            &[
                "transform::Adagrad::new",
                "transform::Adagrad::epsilon",
                "transform::Adagrad::initial",
                "transform::Adagrad::rate_decay",
                "transform::Adagrad: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, epsilon, initial, by) = (c.real(), c.about(1e-10), c.about(0.0), c.about(0.0));
                stepped(
                    c,
                    Adagrad::new(rate).epsilon(epsilon).initial(initial).rate_decay(by),
                    small(epsilon) && [rate, initial, by].iter().all(|&x| amount(x)),
                )
            },
        ),
        entry(
            5,
            &[
                "transform::NAdam::new",
                "transform::NAdam::betas",
                "transform::NAdam::epsilon",
                "transform::NAdam::momentum_decay",
                "transform::NAdam: GradientTransform",
                "transform::RAdam::new",
                "transform::RAdam::betas",
                "transform::RAdam::epsilon",
                "transform::RAdam: GradientTransform",
                "transform::Adamax::new",
                "transform::Adamax::betas",
                "transform::Adamax::epsilon",
                "transform::Adamax: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, one, two, epsilon, by) =
                    (c.real(), c.about(0.9), c.about(0.999), c.about(1e-8), c.about(0.004));
                let legal = amount(rate) && decay(one) && decay(two) && small(epsilon);
                match c.below(3) {
                    0 => {
                        let nadam = NAdam::new(rate).betas(one, two).epsilon(epsilon).momentum_decay(by);
                        stepped(c, nadam, legal && amount(by))
                    }
                    1 => stepped(c, RAdam::new(rate).betas(one, two).epsilon(epsilon), legal),
                    _ => stepped(c, Adamax::new(rate).betas(one, two).epsilon(epsilon), legal),
                }
            },
        ),
        entry(
            4,
            &[
                "transform::ScheduleFreeAdamW::new",
                "transform::ScheduleFreeAdamW::betas",
                "transform::ScheduleFreeAdamW::epsilon",
                "transform::ScheduleFreeAdamW::warm_up",
                "transform::ScheduleFreeAdamW::roles",
                "transform::ScheduleFreeAdamW: GradientTransform",
                "transform::Optimizer::result",
                "transform::GradientTransform::result",
            ],
            &[],
            |c| {
                let (rate, one, two, epsilon, by) =
                    (c.real(), c.about(0.9), c.about(0.999), c.about(1e-8), c.about(0.1));
                let legal = amount(rate) && decay(one) && decay(two) && small(epsilon) && amount(by);
                let roles = [Role::Weight, Role::Bias];
                let transform = ScheduleFreeAdamW::new(rate, by).betas(one, two).epsilon(epsilon);
                let transform = transform.warm_up(c.word()).roles(&roles[..c.below(3)]);
                stepped(c, transform, legal)
            },
        ),
        entry(
            4,
            &[
                "transform::Adadelta::new",
                "transform::Adadelta::rho",
                "transform::Adadelta::epsilon",
                "transform::Adadelta: GradientTransform",
                "transform::Lion::new",
                "transform::Lion::betas",
                "transform::Lion::decay",
                "transform::Lion::roles",
                "transform::Lion: GradientTransform",
                "transform::Muon::new",
                "transform::Muon::momentum",
                "transform::Muon::decay",
                "transform::Muon: GradientTransform",
            ],
            &[],
            |c| {
                let (rate, one, two, epsilon, by) =
                    (c.real(), c.about(0.9), c.about(0.99), c.about(1e-6), c.about(0.1));
                let roles = [Role::Weight, Role::Bias];
                match c.below(3) {
                    0 => {
                        let adadelta = Adadelta::new(rate).rho(one).epsilon(epsilon);
                        stepped(c, adadelta, amount(rate) && decay(one) && small(epsilon))
                    }
                    1 => {
                        let lion = Lion::new(rate).betas(one, two).decay(by).roles(&roles[..c.below(3)]);
                        stepped(c, lion, amount(rate) && decay(one) && decay(two) && amount(by))
                    }
                    _ => {
                        let muon = Muon::new(rate, AdamW::new(epsilon, two)).momentum(one).decay(by);
                        let muon = if c.flag() { muon.without_nesterov() } else { muon };
                        let legal = amount(rate) && decay(one) && amount(by) && amount(epsilon) && amount(two);
                        stepped(c, muon, legal)
                    }
                }
            },
        ),
        entry(
            3,
            &[
                "transform::ClipNorm::new",
                "transform::ClipNorm::p",
                "transform::ClipNorm::epsilon",
                "transform::ClipNorm: GradientTransform",
            ],
            &[],
            |c| {
                let (most, p, epsilon) = (c.real(), c.about(2.0), c.about(1e-6));
                let clip = ClipNorm::new(most).p(p).epsilon(epsilon);
                stepped(c, (clip, Sgd::new(0.1)), most > 0.0 && p > 0.0 && amount(epsilon))
            },
        ),
        entry(2, &["transform::ClipBlockNorm::new", "transform::ClipBlockNorm: GradientTransform"], &[], |c| {
            let m = c.real();
            stepped(c, (ClipBlockNorm::new(m), Sgd::new(0.1)), m > 0.0)
        }),
        entry(2, &["transform::ClipValue::new", "transform::ClipValue: GradientTransform"], &[], |c| {
            let m = c.real();
            stepped(c, (ClipValue::new(m), Sgd::new(0.1)), m > 0.0)
        }),
        entry(
            2,
            &[
                "transform::SkipNonFinite::new",
                "transform::SkipNonFinite::limit",
                "transform::SkipNonFinite: GradientTransform",
            ],
            &[],
            |c| {
                let limit = c.word();
                stepped(c, (SkipNonFinite::new().limit(limit), Adam::new(0.1)), true)
            },
        ),
        entry(
            4,
            &[
                "transform::Penalty::l1",
                "transform::Penalty::l2",
                "transform::Penalty::elastic_net",
                "transform::Penalty::roles",
                "transform::Penalty: GradientTransform",
            ],
            &[],
            |c| {
                let (a, b) = (c.real(), c.real());
                let roles = [Role::Weight, Role::Recurrent];
                let (penalty, legal) = match c.below(3) {
                    0 => (Penalty::l1(a), amount(a)),
                    1 => (Penalty::l2(a), amount(a)),
                    _ => (Penalty::elastic_net(a, b), amount(a) && amount(b)),
                };
                let penalty = penalty.roles(&roles[..c.below(3)]);
                stepped(c, (penalty, Sgd::new(0.1)), legal)
            },
        ),
        entry(
            3,
            &[
                "transform::ParameterGroups::new",
                "transform::ParameterGroups::rate",
                "transform::ParameterGroups: GradientTransform",
                "transform::Group: From",
                "transform::Group {}",
            ],
            &[],
            |c| {
                let (name, factor) = (c.text(), c.real());
                let rates = ParameterGroups::new();
                let rates = if c.flag() { rates.rate(&name, factor) } else { rates.rate(Role::Gain, factor) };
                stepped(c, (Sgd::new(0.1), rates.rate("0", 0.5)), amount(factor))
            },
        ),
        entry(
            6,
            &["transform::PerGroup::new", "transform::PerGroup::group", "transform::PerGroup: GradientTransform"],
            &[],
            |c| {
                let (rate, most, name) = (c.real(), c.real(), c.text());
                let name = if c.flag() { c.of(&["0", "1.bias", "2", ""]) } else { &name };
                let groups = PerGroup::new(Adam::new(rate)).group(Role::Gain, AdamW::new(0.1, 0.1));
                let groups = groups.group(name, (ClipNorm::new(most), Sgd::new(0.1)));
                let groups = if c.once_in(4) { groups.group("2", ClipNorm::new(1.0)) } else { groups };
                steps::<f64, _>(c, (groups, Schedule::constant(0.5)), amount(rate) && most > 0.0)
            },
        ),
        entry(
            4,
            &[
                "transform::ReduceOnPlateau::new",
                "transform::ReduceOnPlateau::threshold",
                "transform::ReduceOnPlateau::cooldown",
                "transform::ReduceOnPlateau::least",
                "transform::ReduceOnPlateau: GradientTransform",
            ],
            &[],
            |c| {
                let (factor, threshold, least) = (c.real(), c.about(1e-4), c.about(0.0));
                let plateau =
                    ReduceOnPlateau::new(factor, c.word()).threshold(threshold).cooldown(c.word()).least(least);
                stepped(c, (Sgd::new(0.1), plateau), amount(threshold) && amount(least) && (0.0..1.0).contains(&factor))
            },
        ),
        entry(3, &["transform::WeightAverage::new", "transform::WeightAverage: GradientTransform"], &[], |c| {
            let (d, start) = (c.real(), c.below(3));
            let average = WeightAverage::new(d);
            let average = match start {
                0 => average,
                1 => average.warm_up(),
                _ => average.debias(),
            };
            let average = if c.flag() { average.as_result() } else { average };
            stepped(c, (Sgd::new(0.1), average), decay(d))
        }),
        entry(
            6,
            &[
                "transform::Schedule::constant",
                "transform::Schedule::cosine",
                "transform::Schedule::cosine_with_restarts",
                "transform::Schedule::custom",
                "transform::Schedule::cyclic",
                "transform::Schedule::cyclic_with_decay",
                "transform::Schedule::exponential",
                "transform::Schedule::factor",
                "transform::Schedule::linear",
                "transform::Schedule::multi_step",
                "transform::Schedule::one_cycle",
                "transform::Schedule::one_cycle_with",
                "transform::Schedule::per_epoch",
                "transform::Schedule::polynomial",
                "transform::Schedule::step",
                "transform::Schedule::then",
                "transform::Schedule::warm_up",
                "transform::Schedule: GradientTransform",
            ],
            &[],
            |c| {
                let (a, b, n, m) = (c.real(), c.real(), c.word(), c.word());
                let schedule = match c.below(15) {
                    0 => Schedule::constant(a),
                    1 => Schedule::cosine(n, a),
                    2 => Schedule::cosine_with_restarts(n, m, a),
                    3 => Schedule::exponential(a),
                    4 => Schedule::linear(a, b, n),
                    5 => Schedule::multi_step(&[n, m], a),
                    6 => Schedule::one_cycle(a, n),
                    7 => Schedule::polynomial(n, a),
                    8 => Schedule::step(n, a),
                    9 => Schedule::warm_up(a, n),
                    10 => Schedule::cyclic(a, b, n, m),
                    11 => Schedule::cyclic_with_decay(a, 0.5, n, m, b),
                    12 => Schedule::one_cycle_with(1.0, n, a, [b, c.about(1e4)]),
                    13 => Schedule::constant(a).then(n, Schedule::cosine(m, b)).per_epoch(c.word()),
                    _ => return steps::<f32, _>(c, (Sgd::new(0.1), Schedule::custom(move |_| a)), true),
                };
                scheduled(c, schedule)
            },
        ),
        entry(
            4,
            &[
                "transform::Optimizer::restore",
                "transform::Optimizer::on_metric",
                "transform::Optimizer::averaged_weights",
            ],
            &[],
            |c| {
                let transform = (
                    SkipNonFinite::new(),
                    ClipNorm::new(1.0),
                    Adam::new(0.01),
                    Schedule::constant(1.0),
                    WeightAverage::new(0.9),
                );
                steps::<f64, _>(c, transform, true)
            },
        ),
        entry(3, &["transform::Optimizer::set_learning_rate"], &[], |c| {
            let (blocks, rate) = (blocks(c)?, c.real());
            let mut w = c.values::<f32>(19, Taste::Mild);
            let chain: Box<dyn GradientTransform<f32>> = match c.below(3) {
                0 => Box::new((ClipNorm::new(1.0), Sgd::new(0.1))),
                1 => Box::new(Muon::new(c.real(), AdamW::new(0.1, 0.1))),
                _ => Box::new(PerGroup::new(Lion::new(0.1)).group("0", Adam::new(0.1))),
            };
            let mut optimizer = Optimizer::new(chain, &blocks, &w)?;
            let set = optimizer.set_learning_rate(rate);
            ensure(set.is_err() || amount(rate), || format!("a rate of {rate} is accepted"))?;
            optimizer.step(&blocks, &mut w, &mut c.values::<f32>(19, Taste::Mild), &mut ())?;
            let _ = optimizer.transform().clipped_norm();
            Ok(set?)
        }),
        entry(3, &["transform::Optimizer::step"], &[], |c| {
            // Blocks other than those the optimizer was made for.
            let mut optimizer = Optimizer::new(Adam::new(0.1), &blocks(c)?, &[0.5_f32; 19]);
            let other = Sequential::<f32>::input(c.below(4) + 1).linear(c.below(5) + 1).build()?;
            let other = Blocks::collect(|visit| other.blocks(visit));
            let n = other.parameters();
            if let Ok(optimizer) = &mut optimizer {
                let done = optimizer.step(&other, &mut vec![0.5; n], &mut vec![0.5; n], &mut ());
                let told = optimizer.on_metric(&other, 1.0);
                ensure(done.is_ok() == (n == 19), || format!("{n} parameters for 19: {done:?}"))?;
                ensure(told.is_ok() == (n == 19), || format!("{n} parameters for 19: {told:?}"))?;
                let _ = optimizer.averaged_weights(&other);
                done?;
            }
            Ok(())
        }),
        entry(
            4,
            &[
                "transform::Update::new",
                "transform::GradientTransform::update",
                "transform::GradientTransform::learning_rate",
                "transform::Optimizer::learning_rate",
                "transform::GradientTransform::state_len",
                "transform::GradientTransform::on_metric",
                "transform::GradientTransform::validate",
                "transform::GradientTransform::init_state",
                "transform::GradientTransform::begin_at",
                "transform::GradientTransform::averaged_weights",
            ],
            &["out of range", "mid > len", "different lengths", "must "],
            |c| {
                let blocks = blocks(c)?;
                let mut transform = (Adam::new(0.1), WeightAverage::new(0.5));
                GradientTransform::<f32>::validate(&mut transform, &blocks)?;
                let (n, needs) = (blocks.parameters(), GradientTransform::<f32>::state_len(&transform, &blocks));
                let (w, mut g, mut state) = (c.slice::<f32>(n), c.slice::<f32>(n), c.slice::<f32>(needs));
                transform.init_state(&blocks, &w, &mut state);
                transform.begin_at(&blocks, &w, &mut state);
                transform.on_metric(&blocks, c.real(), &mut state);
                let _ = transform.averaged_weights(&blocks, &state).map(<[f32]>::len);
                let _ = transform.learning_rate(&blocks, &state, c.word());
                transform.update(Update::new(&blocks, &w, &mut g, &mut state, c.word()))?;
                Ok(())
            },
        ),
        entry(
            3,
            &["transform::Unordered {}", "transform::GradientTransform::spec", "transform::Optimizer::spec"],
            &[],
            |c| {
                // Out of order on purpose; without `Unordered` it is refused.
                let (rate, decay) = (c.real(), c.real());
                let chain = (WeightAverage::new(decay), Adam::new(rate), SkipNonFinite::new());
                let (blocks, w) = (blocks(c)?, c.values::<f32>(19, Taste::Mild));
                let made = Optimizer::new(chain.clone(), &blocks, &w);
                if let Ok(optimizer) = &made {
                    let _ = format!("{:?} {:?}", optimizer.spec(&blocks), optimizer.learning_rate(&blocks));
                }
                stepped(c, Unordered(chain), amount(rate) && (0.0..1.0).contains(&decay))
            },
        ),
        entry(
            1,
            &[
                "transform::TransformSpec::new",
                "transform::TransformSpec::layout",
                "transform::TransformSpec::non_negative",
                "transform::TransformSpec::setting",
            ],
            &[],
            |c| {
                let spec = TransformSpec::new(&c.text(), c.size()).layout(&c.text()).setting(&c.text(), c.real());
                let spec = spec.non_negative(c.size()..c.size());
                let _ = format!("{spec:?}");
                Ok(())
            },
        ),
        entry(
            6,
            &[
                "transform::Unordered: Deserialize",
                "transform::Sgd: Deserialize",
                "transform::Adam: Deserialize",
                "transform::AdamW: Deserialize",
                "transform::RmsProp: Deserialize",
                "transform::Adagrad: Deserialize",
                "transform::Adadelta: Deserialize",
                "transform::Adamax: Deserialize",
                "transform::NAdam: Deserialize",
                "transform::RAdam: Deserialize",
                "transform::Lion: Deserialize",
                "transform::Muon: Deserialize",
                "transform::ScheduleFreeAdamW: Deserialize",
                "transform::ClipNorm: Deserialize",
                "transform::ClipBlockNorm: Deserialize",
                "transform::ClipValue: Deserialize",
                "transform::SkipNonFinite: Deserialize",
                "transform::Penalty: Deserialize",
                "transform::ReduceOnPlateau: Deserialize",
                "transform::WeightAverage: Deserialize",
            ],
            &[],
            |c| match c.below(20) {
                0 => json(c, &Sgd::new(0.1)),
                1 => json(c, &Adam::new(0.1)),
                2 => json(c, &AdamW::new(0.1, 0.2)),
                3 => json(c, &RmsProp::new(0.1)),
                4 => json(c, &Adagrad::new(0.1)),
                5 => json(c, &ClipNorm::new(0.1)),
                6 => json(c, &ClipBlockNorm::new(0.1)),
                7 => json(c, &ClipValue::new(0.1)),
                8 => json(c, &SkipNonFinite::new()),
                9 => json(c, &Penalty::l2(0.1)),
                10 => json(c, &ReduceOnPlateau::new(0.1, 3)),
                12 => json(c, &Adadelta::new(0.1)),
                13 => json(c, &Adamax::new(0.1)),
                14 => json(c, &NAdam::new(0.1)),
                15 => json(c, &RAdam::new(0.1)),
                16 => json(c, &Lion::new(0.1)),
                17 => json(c, &Muon::new(0.1, AdamW::new(0.1, 0.0))),
                18 => json(c, &ScheduleFreeAdamW::new(0.1, 0.1)),
                11 => json(c, &Unordered((SkipNonFinite::new(), Sgd::new(0.1)))),
                _ => json(c, &WeightAverage::new(0.1)),
            },
        ),
    ]
}
