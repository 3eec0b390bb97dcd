//! Wrong transforms.

use super::{all_caught, caught};
use chainrule::{
    Blocks, Error, Scalar, scalar,
    testing::{Law, Transforms, transform_laws},
    to_f64,
    transform::{GradientTransform, InPlace, Member, Outcome, Update},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Clips,
    ClipsBlocksApart,
    ClipIncreasesSmallNorm,
    ClipToHalf,
    ClipReverses,
    ClipOfTheFirstHalf,
    Descends,
    CounterOfItsOwn,
    MomentumOfItsOwn,
    RandomStep,
    MovesFrozen,
    DecaysAtRest,
    DividesByZero,
    StateTooShort,
    PanicsAtNan,
    RefusesUsualBlocks,
    Schedules,
    ScheduleBelowZero,
    ScheduleInfinite,
    SchedulePerBlock,
    CalledPlain,
    CalledElementwise,
}

/// A clip at length 1, momentum, or a falling rate.
#[derive(Clone, Debug)]
struct Wrong<T> {
    fault: Fault,
    calls: u64,
    velocity: Vec<T>,
}

impl<T: Scalar> Wrong<T> {
    fn new(fault: Fault) -> Self {
        Wrong { fault, calls: 0, velocity: Vec::new() }
    }
}

impl<T: Scalar> GradientTransform<T> for Wrong<T> {
    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
        if self.fault == Fault::RefusesUsualBlocks {
            blocks.get("nowhere")?;
        }
        Ok(())
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        blocks.parameters() - (self.fault == Fault::StateTooShort) as usize
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        use Fault::*;
        let Update { blocks, w, gradient: g, state, step, .. } = update;
        let length = g.iter().map(|&g| to_f64(g).powi(2)).sum::<f64>().sqrt();
        let (shorter, calls) = (scalar::<T>(1.0 / length.max(1.0)), self.calls);
        self.calls += 1;
        match self.fault {
            Clips => g.iter_mut().for_each(|g| *g *= shorter),
            ClipsBlocksApart => {
                for g in g.chunks_mut(6) {
                    let length = g.iter().map(|&g| to_f64(g).powi(2)).sum::<f64>().sqrt();
                    g.iter_mut().for_each(|g| *g *= scalar(1.0 / length.max(1.0)));
                }
            }
            ClipIncreasesSmallNorm => g.iter_mut().for_each(|g| *g *= scalar(1.0 / length)),
            ClipToHalf => g.iter_mut().for_each(|g| *g *= shorter * scalar(if length > 0.4 { 0.5 } else { 1.0 })),
            ClipReverses => g.iter_mut().for_each(|g| *g *= if length > 1.0 { -shorter } else { shorter }),
            ClipOfTheFirstHalf => g[..8].iter_mut().for_each(|g| *g *= shorter),
            Schedules | ScheduleBelowZero | ScheduleInfinite | SchedulePerBlock => {
                let rate = match self.fault {
                    ScheduleBelowZero => 1.0 - step as f64 / 200.0,
                    ScheduleInfinite => (100.0 - step as f64).recip().abs(),
                    _ => 1.0 / (1.0 + step as f64),
                };
                let other = if self.fault == SchedulePerBlock { 0.5 } else { 1.0 };
                g.iter_mut().enumerate().for_each(|(i, g)| *g *= scalar(rate * if i < 9 { 1.0 } else { other }));
            }
            _ => {
                assert!(self.fault != PanicsAtNan || !length.is_nan());
                self.velocity.resize(g.len(), T::zero());
                for i in 0..g.len() {
                    let frozen = blocks.at(i).is_some_and(|block| block.frozen);
                    if frozen && self.fault != MovesFrozen {
                        continue;
                    }
                    let velocity = if self.fault == MomentumOfItsOwn { &mut self.velocity[i] } else { &mut state[i] };
                    *velocity = scalar::<T>(0.9) * *velocity + g[i];
                    g[i] = -*velocity * scalar(0.1);
                    match self.fault {
                        CounterOfItsOwn => g[i] *= scalar(1.0 / (1.0 + calls as f64)),
                        RandomStep => g[i] *= scalar(1.0 + f64::from(std::process::id() % 7) + fresh()),
                        MovesFrozen | DecaysAtRest => g[i] -= scalar::<T>(0.01) * w[i],
                        DividesByZero => g[i] = g[i] / g[i].abs(),
                        _ => {}
                    }
                }
            }
        }
        Ok(Outcome::Apply)
    }

    fn members(&self, visit: &mut dyn FnMut(Member)) {
        let in_place = match self.fault {
            Fault::CalledPlain => InPlace::Plain(0.1),
            Fault::CalledElementwise => InPlace::Elementwise,
            _ => InPlace::No,
        };
        visit(Member { in_place, ..Member::of::<Self>(self.stage()) });
    }
}

/// Another number each time.
fn fresh() -> f64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    1e-3 * CALLS.fetch_add(1, Ordering::Relaxed) as f64
}

#[test]
fn mutants_of_transforms() {
    use Fault::*;
    const CLIP: [Law; 3] = [Law::ReducesNorm, Law::KeepsDirection, Law::Idempotent];
    let verdict = |fault: Fault, promises: &[Law]| {
        let (single, double) = (
            move || -> Box<dyn GradientTransform<f32>> { Box::new(Wrong::new(fault)) },
            move || -> Box<dyn GradientTransform<f64>> { Box::new(Wrong::new(fault)) },
        );
        transform_laws(Transforms { single: &single, double: &double, like: None }, promises, 0)
    };
    for (fault, promises) in [(Clips, &CLIP[..]), (Descends, &[Law::RestsAtZero]), (Schedules, &[Law::Scales])] {
        verdict(fault, promises).expect("without a mistake there is nothing to accuse");
    }
    let all: [(Fault, &[Law], Law); 19] = [
        (ClipsBlocksApart, &CLIP, Law::KeepsDirection),
        (ClipIncreasesSmallNorm, &CLIP, Law::ReducesNorm),
        (ClipToHalf, &CLIP, Law::Idempotent),
        (ClipReverses, &CLIP, Law::KeepsDirection),
        (ClipOfTheFirstHalf, &CLIP, Law::KeepsDirection),
        (CounterOfItsOwn, &[], Law::Resumes),
        (MomentumOfItsOwn, &[], Law::Resumes),
        (RandomStep, &[], Law::Repeatable),
        (MovesFrozen, &[], Law::FrozenBlocks),
        (DecaysAtRest, &[Law::RestsAtZero], Law::RestsAtZero),
        (DividesByZero, &[Law::RestsAtZero], Law::Extremes),
        (StateTooShort, &[], Law::NoPanic),
        (PanicsAtNan, &[], Law::SurvivesAnything),
        (RefusesUsualBlocks, &[], Law::Refuses),
        (ScheduleBelowZero, &[Law::Scales], Law::Scales),
        (ScheduleInfinite, &[Law::Scales], Law::Extremes),
        (SchedulePerBlock, &[Law::Scales], Law::Scales),
        (CalledPlain, &[], Law::Descends),
        (CalledElementwise, &[], Law::Descends),
    ];
    all_caught(
        "transforms",
        all.map(|(fault, promises, law)| caught(&format!("{fault:?}"), law, verdict(fault, promises))),
    );
}
