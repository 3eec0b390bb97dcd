//! Strategies that draw optimizers, and chains of transforms around them.

use super::numbers::hundredths;
use crate::{
    scalar::Scalar,
    transform::{
        Adagrad, Adam, AdamW, ClipNorm, ClipValue, GradientTransform, RmsProp, Schedule, Sgd, SkipNonFinite,
        WeightAverage,
    },
};
use alloc::boxed::Box;
use proptest::{
    prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy},
};

type Boxed<T> = Box<dyn GradientTransform<T>>;

/// Some optimizers of the crate, at rates from 0.01 to 1: gradient descent (plain, with momentum, Nesterov), Adam,
/// AMSGrad, AdamW, RMSProp and Adagrad. A failure shrinks to plain gradient descent.
pub fn optimizers<T: Scalar>() -> BoxedStrategy<Box<dyn GradientTransform<T>>> {
    let rate = || hundredths(1, 100);
    prop_oneof![
        rate().prop_map(|rate| Box::new(Sgd::new(rate)) as Boxed<T>),
        (rate(), hundredths(0, 99)).prop_map(|(rate, beta)| Box::new(Sgd::new(rate).momentum(beta)) as Boxed<T>),
        rate().prop_map(|rate| Box::new(Sgd::new(rate).momentum(0.9).nesterov()) as Boxed<T>),
        rate().prop_map(|rate| Box::new(Adam::new(rate)) as Boxed<T>),
        rate().prop_map(|rate| Box::new(Adam::new(rate).amsgrad()) as Boxed<T>),
        (rate(), hundredths(0, 50)).prop_map(|(rate, decay)| Box::new(AdamW::new(rate, decay)) as Boxed<T>),
        rate().prop_map(|rate| Box::new(RmsProp::new(rate).momentum(0.5).centred()) as Boxed<T>),
        rate().prop_map(|rate| Box::new(Adagrad::new(rate)) as Boxed<T>),
    ]
    .boxed()
}

/// Chains: an optimizer with or without `SkipNonFinite`, a clip, a schedule and an average. A failure shrinks to the
/// optimizer.
pub fn transforms<T: Scalar>() -> BoxedStrategy<Box<dyn GradientTransform<T>>> {
    chains_around(optimizers())
}

/// Chains around a custom optimizer, each with or without `SkipNonFinite`, a clip, a schedule and an average.
///
/// ```
/// use chainrule::{proptest::prelude::*, testing::strategies::chains_around, transform::{GradientTransform, Sgd}};
/// let own = (1..9u8).prop_map(|rate| Box::new(Sgd::new(f64::from(rate))) as Box<dyn GradientTransform<f32>>);
/// let chains = chains_around(own);
/// ```
pub fn chains_around<T: Scalar>(
    optimizer: impl Strategy<Value = Box<dyn GradientTransform<T>>> + 'static,
) -> BoxedStrategy<Box<dyn GradientTransform<T>>> {
    let nothing = || Just(()).prop_map(|()| Box::new(()) as Boxed<T>);
    let guard = prop_oneof![nothing(), Just(()).prop_map(|()| Box::new(SkipNonFinite::new()) as Boxed<T>)];
    let clip = prop_oneof![
        nothing(),
        hundredths(10, 500).prop_map(|most| Box::new(ClipNorm::new(most)) as Boxed<T>),
        hundredths(10, 500).prop_map(|most| Box::new(ClipValue::new(most)) as Boxed<T>),
    ];
    let schedule = prop_oneof![
        nothing(),
        hundredths(0, 200).prop_map(|rate| Box::new(Schedule::constant(rate)) as Boxed<T>),
        (1..50u64).prop_map(|steps| Box::new(Schedule::warm_up(0.0, steps)) as Boxed<T>),
        (1..50u64, hundredths(0, 100)).prop_map(|(steps, least)| Box::new(Schedule::cosine(steps, least)) as Boxed<T>),
    ];
    let average =
        prop_oneof![nothing(), hundredths(0, 99).prop_map(|decay| Box::new(WeightAverage::new(decay)) as Boxed<T>)];
    (guard, clip, optimizer, schedule, average)
        .prop_map(|(guard, clip, optimizer, schedule, average)| {
            Box::new((guard, clip, optimizer, schedule, average)) as Boxed<T>
        })
        .boxed()
}
