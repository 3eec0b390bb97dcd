//! Kinds with two faults.

use super::*;

pub const KINDS: &[Kind] = &[
    two("raw table and gain 0.2", &[UnscaledInput, SmallWeights], |t, s, sick| {
        let (data, gain) = if sick { (t.cancer_raw(), 0.28) } else { (t.cancer(), std::f64::consts::SQRT_2) };
        case(stack(&deep(30, 32, 8, 2), Relu, He::normal().gain(gain)), data, Adam(1e-3), s)
    }),
    two("raw table and a block of rate 0", &[UnscaledInput, FrozenBlock], |t, s, sick| {
        let data = if sick { t.cancer_raw() } else { t.cancer() };
        let made = case(stack(&deep(30, 32, 3, 2), Tanh, LeCun::normal()), data, Momentum(0.01), s);
        with(made, |recipe| recipe.still = sick.then_some("2.weight"))
    }),
    two("a dead layer and a clip of 1e-4", &[DeadUnits, ClipThresholdTooLow], |t, s, sick| {
        let mut case = case(stack(&deep(64, 32, 3, 10), Relu, He::normal()), t.digits(), Sgd(0.1), s)?;
        if sick {
            change(&mut case, "4.bias", |w| *w = -25.0)?;
        }
        with(Ok(case), |recipe| recipe.clip = Some(if sick { 1e-4 } else { 1.0 }))
    }),
    two("targets of 150 and sigmoid, 8 layers", &[UnscaledTarget, SaturatingActivation], |t, s, sick| {
        let (net, data) = match sick {
            true => (stack(&deep(10, 24, 8, 1), Sigmoid, Glorot::uniform()), t.diabetes_raw(1.0)),
            false => (stack(&deep(10, 24, 8, 1), Tanh, CriticalGain::new(&Tanh)?), t.diabetes()),
        };
        case(net, data, Adam(1e-3), s)
    }),
    two("output layer × 100 and a block of rate 0", &[LargeWeights, FrozenBlock], |t, s, sick| {
        let mut case = case(stack(&deep(64, 48, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 100.0)?;
        }
        with(Ok(case), |recipe| recipe.still = sick.then_some("0.weight"))
    }),
    two("input gate shut and targets of 1e3", &[ClosedInputGate, UnscaledTarget], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("input", Constant(if sick { -8.0 } else { 0.0 }));
        let data = t.sunspots(16).targets_scaled(if sick { 1e3 } else { 1.0 });
        spanning(case(last_step(Recurrent::new(1, 20, Lstm::new()).bias(bias), 1), data, Adam(3e-3), s), 3)
    }),
    two("branches × 2 and a rate × 1e-4", &[LoudBranches, LearningRateTooLow], |t, s, sick| {
        let (scale, rate) = if sick { (2.0, 1e-7) } else { (0.25, 1e-3) };
        case(residual(64, 24, 16, BranchScale::Fixed(scale), false, 10), t.digits(), Adam(rate), s)
    }),
    two("constant weights and inputs of 1e-3", &[ConstantWeights, UnscaledInput], |t, s, sick| {
        let net = match sick {
            true => stack(&deep(64, 24, 2, 10), Tanh, Constant(0.05)),
            false => stack(&deep(64, 24, 2, 10), Tanh, LeCun::normal()),
        };
        case(net, t.digits().scaled(if sick { 1e-3 } else { 1.0 }), Sgd(0.1), s)
    }),
    two("a loaded layer × 50 and a rate × 1e-4", &[LargeWeights, LearningRateTooLow], |t, s, sick| {
        let net = stack(&deep(30, 48, 4, 2), Tanh, LeCun::normal());
        let mut case = case(net, t.cancer(), Sgd(if sick { 5e-6 } else { 0.05 }), s)?;
        if sick {
            change(&mut case, "4.weight", |w| *w *= 50.0)?;
        }
        Ok(case)
    }),
    two("output gate shut and inputs of 1e-3", &[ClosedOutputGate, UnscaledInput], |t, s, sick| {
        let bias = ByGate::new(Zeros).gate("output", Constant(if sick { -8.0 } else { 0.0 }));
        let data = t.digit_rows().scaled(if sick { 1e-3 } else { 1.0 });
        spanning(case(last_step(Recurrent::new(8, 24, Lstm::new()).bias(bias), 10), data, Adam(3e-3), s), 7)
    }),
];
