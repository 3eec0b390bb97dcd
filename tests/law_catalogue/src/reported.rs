//! Transforms that report rates, factors and averages, skip steps, or depend on the parameters, and mistakes in them.

use crate::{Entry, Verdict};
use chainrule::{
    Blocks, Error, Scalar, scalar,
    testing::{Law, Transforms, transform_laws},
    to_f64,
    transform::{GradientTransform, Outcome, Stage, Update},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    Settable,
    Exponentiated,
    LayerRatio,
    SlowWeights,
    EveryFourth,
    Guarded,
    DecoupledDecay,
    CoupledDecay,
    MeanOfWeights,
    MeanAsResult,
    NormClip,
    NoRateAtFirst,
    // Wrong.
    EveryFourthOfFrozen,
    SkipsAll,
    SkipsFinite,
    SkipsInSingle,
    SkipsBySteps,
    GrowsDecoupled,
    GrowsCoupled,
    GrowsLittle,
    RateOfAnother,
    RateUnread,
    RateReportedOnce,
    AverageTooShort,
    AverageFromZero,
    AverageBeyond,
    ResultOfGradients,
    FactorInverted,
    FactorOfTheStepBefore,
    NormBefore,
    ScheduleOneLate,
    ScheduleOfOne,
    PanicsAtFirst,
    RefusesLate,
    PanicsInLearningRate,
    PanicsInResult,
}

use Kind::*;

#[derive(Clone, Debug)]
struct Built {
    kind: Kind,
    rate: f64,
    shown: f64,
    steps: u64,
    factor: f64,
    norm: f64,
}

impl Built {
    fn new(kind: Kind) -> Self {
        Built { kind, rate: 0.01, shown: 0.01, steps: 0, factor: 1.0, norm: 0.0 }
    }

    fn is_clip(&self) -> bool {
        matches!(self.kind, NormClip | FactorInverted | FactorOfTheStepBefore | NormBefore)
    }

    fn is_schedule(&self) -> bool {
        matches!(self.kind, ScheduleOneLate | ScheduleOfOne)
    }

    fn averages(&self) -> bool {
        matches!(
            self.kind,
            MeanOfWeights | MeanAsResult | AverageTooShort | AverageFromZero | AverageBeyond | ResultOfGradients
        )
    }
}

fn length<T: Scalar>(g: &[T]) -> f64 {
    g.iter().map(|&g| to_f64(g) * to_f64(g)).sum::<f64>().sqrt()
}

impl<T: Scalar> GradientTransform<T> for Built {
    fn stage(&self) -> Stage {
        match self.kind {
            SkipsFinite | Guarded => Stage::SkipNonFinite,
            _ if self.is_clip() => Stage::Clip,
            _ if self.is_schedule() => Stage::Schedule,
            _ => Stage::Optimizer,
        }
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        2 * blocks.parameters()
    }

    fn init_state(&self, _: &Blocks, w: &[T], state: &mut [T]) {
        assert!(self.kind != PanicsAtFirst, "no state");
        if matches!(self.kind, SlowWeights) || (self.averages() && self.kind != AverageFromZero) {
            state[..w.len()].copy_from_slice(w);
        }
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, w, gradient: g, state, step, .. } = update;
        let (kind, rate, count) = (self.kind, scalar::<T>(self.rate), g.len());
        let single = T::epsilon() > scalar(1e-10);
        let finite = g.iter().all(|g| g.is_finite());
        self.steps += 1;
        if kind == RefusesLate && step == 700 {
            return Err(Error::Empty { what: "the rest" });
        }
        let skips = match kind {
            SkipsAll => finite,
            SkipsFinite => finite,
            Guarded => !finite,
            SkipsInSingle => single && step % 3 == 1,
            SkipsBySteps => self.steps % 5 == 0,
            _ => false,
        };
        if skips {
            if kind == SkipsAll {
                g.iter_mut().for_each(|g| *g = -rate * *g);
            }
            return Ok(Outcome::Skip);
        }
        if matches!(kind, EveryFourth | EveryFourthOfFrozen) {
            // The state holds the sum of four gradients.
            state.iter_mut().zip(&*g).for_each(|(sum, &g)| *sum = *sum + g);
            if step % 4 != 3 {
                return Ok(Outcome::Skip);
            }
            g.copy_from_slice(&state[..count]);
            state.fill(T::zero());
            // A block that was frozen since the first of the four.
            let frozen = blocks.iter().filter(|block| block.frozen && kind == EveryFourth);
            frozen.for_each(|block| g[block.range.clone()].fill(T::zero()));
        }
        if self.is_clip() {
            let before = length(g);
            let factor = (1.0 / before).min(1.0);
            g.iter_mut().for_each(|g| *g = *g * scalar(factor));
            self.norm = if kind == NormBefore { before } else { before * factor };
            let last = std::mem::replace(&mut self.shown, factor);
            self.factor = match kind {
                FactorInverted => before.max(1.0),
                FactorOfTheStepBefore => last,
                _ => factor,
            };
            return Ok(Outcome::Apply);
        }
        if self.is_schedule() {
            let factor = scalar::<T>(1.0 / (1.0 + step as f64));
            g.iter_mut().for_each(|g| *g = *g * factor);
            return Ok(Outcome::Apply);
        }
        if matches!(kind, Guarded | SkipsFinite) {
            return Ok(Outcome::Apply);
        }
        for block in blocks.iter().filter(|block| !block.frozen) {
            let range = block.range.clone();
            let ratio = scalar::<T>(length(&w[range.clone()]) / length(&g[range.clone()]).max(1e-12));
            for i in range {
                let decay = rate * scalar(0.1) * w[i];
                g[i] = match kind {
                    Exponentiated => {
                        let sign = w[i].signum();
                        w[i] * (num_exp::<T>(-to_f64(rate) * to_f64(g[i]).clamp(-50.0, 50.0) * to_f64(sign)) - T::one())
                    }
                    LayerRatio => -rate * ratio * g[i],
                    SlowWeights => {
                        // The state holds the slow weights; every fifth step returns halfway to them.
                        let fast = w[i] - rate * g[i];
                        if step % 5 == 4 {
                            state[i] = state[i] + scalar::<T>(0.5) * (fast - state[i]);
                            state[i] - w[i]
                        } else {
                            -rate * g[i]
                        }
                    }
                    DecoupledDecay => -rate * g[i] - decay,
                    GrowsDecoupled => -rate * g[i] + decay,
                    GrowsLittle => -rate * g[i] + scalar::<T>(0.01) * decay,
                    CoupledDecay | GrowsCoupled => {
                        let sign = scalar::<T>(if kind == CoupledDecay { 0.1 } else { -0.1 });
                        state[i] = scalar::<T>(0.9) * state[i] + (g[i] + sign * w[i]);
                        -rate * state[i]
                    }
                    RateOfAnother | RateUnread => -scalar::<T>(0.01) * g[i],
                    NoRateAtFirst if step < 10 => T::zero(),
                    _ => -rate * g[i],
                };
                if self.averages() {
                    let new = w[i] + g[i];
                    let part = scalar::<T>(if kind == AverageBeyond { 1.5 } else { 0.1 });
                    let new = if kind == ResultOfGradients { g[i] } else { new };
                    state[i] = state[i] + part * (new - state[i]);
                }
            }
        }
        Ok(Outcome::Apply)
    }

    fn clip_factor(&self) -> Option<f64> {
        self.is_clip().then_some(self.factor)
    }

    fn clipped_norm(&self) -> Option<f64> {
        self.is_clip().then_some(self.norm)
    }

    fn begin_at(&self, _: &Blocks, w: &[T], state: &mut [T]) {
        if self.averages() {
            state[..w.len()].copy_from_slice(w);
        }
    }

    fn averaged_weights<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        let count = blocks.parameters() - usize::from(self.kind == AverageTooShort);
        (self.averages() && self.kind != ResultOfGradients).then(|| &state[..count])
    }

    fn result<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        assert!(self.kind != PanicsInResult, "no result");
        matches!(self.kind, MeanAsResult | ResultOfGradients).then(|| &state[..blocks.parameters()])
    }

    fn learning_rate(&self, _: &Blocks, _: &[T], step: u64) -> Option<f64> {
        match self.kind {
            Settable => Some(self.rate),
            PanicsInLearningRate => panic!("no rate"),
            RateReportedOnce => Some(0.01),
            ScheduleOneLate => Some(1.0 / (2.0 + step as f64)),
            ScheduleOfOne => Some(1.0),
            _ => None,
        }
    }

    fn rate_mut(&mut self) -> Option<&mut f64> {
        match self.kind {
            Settable | RateUnread | RateReportedOnce | PanicsInLearningRate | LayerRatio | DecoupledDecay => {
                Some(&mut self.rate)
            }
            RateOfAnother => Some(&mut self.shown),
            _ => None,
        }
    }
}

fn num_exp<T: Scalar>(x: f64) -> T {
    scalar(x.exp())
}

fn judge(kind: Kind, promises: &'static [Law]) -> impl Fn(u64) -> Verdict {
    move |seed| {
        let single = move || -> Box<dyn GradientTransform<f32>> { Box::new(Built::new(kind)) };
        let double = move || -> Box<dyn GradientTransform<f64>> { Box::new(Built::new(kind)) };
        transform_laws(Transforms { single: &single, double: &double, like: None }, promises, seed)
    }
}

pub fn entries() -> Vec<Entry> {
    const CLIP: &[Law] = &[Law::ReducesNorm, Law::KeepsDirection, Law::Idempotent];
    let rights: [(Kind, &[Law]); 12] = [
        (Settable, &[Law::RestsAtZero]),
        (Exponentiated, &[]),
        (LayerRatio, &[Law::RestsAtZero]),
        (SlowWeights, &[]),
        (EveryFourth, &[Law::RestsAtZero]),
        (Guarded, &[]),
        (DecoupledDecay, &[]),
        (CoupledDecay, &[]),
        (MeanOfWeights, &[]),
        (MeanAsResult, &[]),
        (NormClip, CLIP),
        (NoRateAtFirst, &[Law::RestsAtZero]),
    ];
    let wrongs: [(Kind, &[Law], Law); 24] = [
        (EveryFourthOfFrozen, &[], Law::FrozenBlocks),
        (SkipsAll, &[], Law::Downhill),
        (SkipsFinite, &[], Law::Applies),
        (SkipsInSingle, &[], Law::Precision),
        (SkipsBySteps, &[], Law::Resumes),
        (GrowsDecoupled, &[], Law::Shrinks),
        (GrowsCoupled, &[], Law::Shrinks),
        (GrowsLittle, &[], Law::Shrinks),
        (RateOfAnother, &[], Law::TrueReports),
        (RateUnread, &[], Law::TrueReports),
        (RateReportedOnce, &[], Law::TrueReports),
        (AverageTooShort, &[], Law::TrueReports),
        (AverageFromZero, &[], Law::TrueReports),
        (AverageBeyond, &[], Law::TrueReports),
        (ResultOfGradients, &[], Law::TrueReports),
        (FactorInverted, CLIP, Law::TrueReports),
        (FactorOfTheStepBefore, CLIP, Law::TrueReports),
        (NormBefore, CLIP, Law::TrueReports),
        (ScheduleOneLate, &[Law::Scales], Law::TrueReports),
        (ScheduleOfOne, &[Law::Scales], Law::TrueReports),
        (PanicsAtFirst, &[], Law::NoPanic),
        (RefusesLate, &[], Law::Refuses),
        (PanicsInLearningRate, &[], Law::NoPanic),
        (PanicsInResult, &[], Law::NoPanic),
    ];
    let right = rights.into_iter().map(|(kind, of)| Entry::right(format!("reported/{kind:?}"), judge(kind, of)));
    let wrong =
        wrongs.into_iter().map(|(kind, of, law)| Entry::wrong(format!("reported/{kind:?}"), law, judge(kind, of)));
    right.chain(wrong).collect()
}
