//! Transforms: optimizers by formulas, clips, schedules, and mistakes in them.

use crate::{Entry, Verdict};
use chainrule::{
    Blocks, Error, Role, Scalar,
    random::{Normals, generator},
    scalar,
    testing::{Formula, Law, Transforms, transform_laws},
    to_f64,
    transform::{GradientTransform, Outcome, Stage, Update},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right optimizers.
    Descent,
    Momentum,
    Nesterov,
    Adam,
    AdaBelief,
    Yogi,
    Nadam,
    Lion,
    SignDescent,
    Rprop,
    Adadelta,
    Adamax,
    DecoupledDecay,
    Normalized,
    LayerWise,
    Langevin,
    Lookahead,
    WarmedUp,
    CyclicRate,
    RateByMetric,
    // Right others.
    Centralized,
    BlockClip,
    SoftClip,
    ValueClip,
    Staircase,
    Decay,
    // Wrong.
    Climbs,
    ClimbsLater,
    ClimbsByRole,
    NothingBeyondSixtyFour,
    TailOfEightLeftOut,
    GainLeftOut,
    RecurrentForgotten,
    StateResetAtHundred,
    StepCountedInEightBits,
    CorrectionEndsAtFiveHundred,
    SingleEpsilonLarge,
    SingleDecayRounded,
    MetricNotANumberKept,
    MetricPanics,
    MetricOutsideState,
    MetricTurnsUp,
    ClipAboveTenOff,
    ClipOnlyFirstBlock,
    ScheduleNegativeLate,
    ScheduleNotANumberAtFiveHundred,
    DecaysSwapped,
    MomentumTwice,
    NoCorrection,
    EpsilonInRoot,
    NesterovForgotten,
    DecayOfTheWrongSign,
    DecayCoupled,
    CorrectionOneLate,
    StateShared,
    StateSharedAtTheEnd,
    SquareOfTheMean,
    FirstStepDoubled,
    ThousandthOff,
    RateHalvedByRole,
    SmallGradientsDropped,
    LargeGradientsDropped,
    FrozenMoves,
    StepsInStruct,
    MomentumInStruct,
    UnitOfZero,
    RefusesNotANumber,
    NormInSingle,
    PanicsAtManySteps,
    AbsoluteGradient,
    ZeroThenNothing,
}

use Kind::*;

#[derive(Clone, Debug)]
struct Built {
    kind: Kind,
    metric: f64,
    steps: u64,
    kept: Vec<f64>,
}

/// The memory of a parameter, as values of the state.
const SLOTS: usize = 3;
const RATE: f64 = 0.01;

/// The update of one parameter in `f64`: gradient, memory, steps before, the parameter.
fn formula(kind: Kind, g: f64, m: &mut [f64; 4], t: u64, w: f64) -> f64 {
    let n = t as f64 + 1.0;
    let adam = |m: &mut [f64; 4], b1: f64, b2: f64, n: f64, epsilon: f64| {
        m[0] = b1 * m[0] + (1.0 - b1) * g;
        m[1] = b2 * m[1] + (1.0 - b2) * g * g;
        -RATE * (m[0] / (1.0 - b1.powf(n))) / ((m[1] / (1.0 - b2.powf(n))).sqrt() + epsilon)
    };
    match kind {
        Momentum | StateShared | StateSharedAtTheEnd => {
            m[0] = 0.9 * m[0] + g;
            -RATE * m[0]
        }
        Nesterov => {
            m[0] = 0.9 * m[0] + g;
            -RATE * (g + 0.9 * m[0])
        }
        NesterovForgotten | MomentumTwice => {
            m[0] = if kind == MomentumTwice { 0.81 } else { 0.9 } * m[0] + g;
            -RATE * m[0]
        }
        Adam | SingleEpsilonLarge => adam(m, 0.9, 0.999, n, 1e-3),
        DecaysSwapped => adam(m, 0.999, 0.9, n, 1e-3),
        CorrectionOneLate => adam(m, 0.9, 0.999, n + 1.0, 1e-3),
        StepCountedInEightBits => adam(m, 0.9, 0.999, (n as u64 % 256) as f64 + 0.5, 1e-3),
        CorrectionEndsAtFiveHundred => adam(m, 0.9, 0.999, if n < 500.0 { n } else { 1e9 }, 1e-3),
        NoCorrection => adam(m, 0.9, 0.999, 1e9, 1e-3),
        StateResetAtHundred => {
            if t % 100 == 0 {
                *m = [0.0; 4];
            }
            adam(m, 0.9, 0.999, n, 1e-3)
        }
        EpsilonInRoot => {
            m[0] = 0.9 * m[0] + 0.1 * g;
            m[1] = 0.999 * m[1] + 0.001 * g * g;
            -RATE * (m[0] / (1.0 - 0.9f64.powf(n))) / (m[1] / (1.0 - 0.999f64.powf(n)) + 1e-3).sqrt()
        }
        SquareOfTheMean => {
            m[0] = 0.9 * m[0] + 0.1 * g;
            m[1] = 0.999 * m[1] + 0.001 * m[0] * m[0];
            -RATE * (m[0] / (1.0 - 0.9f64.powf(n))) / ((m[1] / (1.0 - 0.999f64.powf(n))).sqrt() + 1e-3)
        }
        AdaBelief => {
            m[0] = 0.9 * m[0] + 0.1 * g;
            m[1] = 0.999 * m[1] + 0.001 * (g - m[0]).powi(2) + 1e-8;
            -RATE * (m[0] / (1.0 - 0.9f64.powf(n))) / ((m[1] / (1.0 - 0.999f64.powf(n))).sqrt() + 1e-3)
        }
        Yogi => {
            m[0] = 0.9 * m[0] + 0.1 * g;
            m[1] -= 0.001 * (m[1] - g * g).signum() * g * g;
            -RATE * m[0] / (m[1].abs().sqrt() + 1e-2)
        }
        Nadam => {
            m[0] = 0.9 * m[0] + 0.1 * g;
            m[1] = 0.999 * m[1] + 0.001 * g * g;
            let (b1, b2) = (1.0 - 0.9f64.powf(n), 1.0 - 0.999f64.powf(n));
            -RATE * (0.9 * m[0] / b1 + 0.1 * g / b1) / ((m[1] / b2).sqrt() + 1e-3)
        }
        Lion => {
            let direction = 0.9 * m[0] + 0.1 * g;
            m[0] = 0.99 * m[0] + 0.01 * g;
            if direction == 0.0 { 0.0 } else { -RATE * direction.signum() }
        }
        SignDescent => {
            if g == 0.0 {
                0.0
            } else {
                -RATE * g.signum()
            }
        }
        Rprop => {
            // The size of the step, and the gradient before.
            let same = g * m[1];
            m[0] = if m[0] == 0.0 {
                RATE
            } else if same > 0.0 {
                (m[0] * 1.2).min(1.0)
            } else if same < 0.0 {
                (m[0] * 0.5).max(1e-6)
            } else {
                m[0]
            };
            m[1] = g;
            if g == 0.0 { 0.0 } else { -m[0] * g.signum() }
        }
        Adadelta => {
            m[0] = 0.9 * m[0] + 0.1 * g * g;
            let update = -((m[1] + 1e-6).sqrt() / (m[0] + 1e-6).sqrt()) * g;
            m[1] = 0.9 * m[1] + 0.1 * update * update;
            update
        }
        Adamax => {
            m[0] = 0.9 * m[0] + 0.1 * g;
            m[1] = (0.999 * m[1]).max(g.abs());
            -RATE / (1.0 - 0.9f64.powf(n)) * m[0] / (m[1] + 1e-8)
        }
        DecoupledDecay | FrozenMoves => adam(m, 0.9, 0.999, n, 1e-3) - RATE * 0.1 * w,
        DecayOfTheWrongSign => adam(m, 0.9, 0.999, n, 1e-3) + RATE * 0.1 * w,
        DecayCoupled => -RATE * (g + 0.1 * w) * 1.0,
        WarmedUp => -RATE * (n - 1.0).min(50.0) / 50.0 * g,
        CyclicRate => -RATE * (1.0 + (n * 0.1).sin()) * g,
        Climbs => RATE * g,
        ClimbsLater => {
            if t < 60 {
                -RATE * g
            } else {
                RATE * g
            }
        }
        FirstStepDoubled => {
            if t == 0 {
                -2.0 * RATE * g
            } else {
                -RATE * g
            }
        }
        ThousandthOff => {
            if t == 999 {
                -1.01 * RATE * g
            } else {
                -RATE * g
            }
        }
        SmallGradientsDropped => {
            if g.abs() < 1e-3 {
                0.0
            } else {
                -RATE * g
            }
        }
        LargeGradientsDropped => {
            if g.abs() > 50.0 {
                0.0
            } else {
                -RATE * g
            }
        }
        Decay => g + 0.1 * w,
        ValueClip => g.clamp(-1.0, 1.0),
        Staircase => g * 0.5f64.powi((t / 100).min(60) as i32),
        ScheduleNegativeLate => {
            if t < 700 {
                g
            } else {
                -1e-3 * g
            }
        }
        ScheduleNotANumberAtFiveHundred => {
            if t == 500 {
                f64::NAN
            } else {
                g
            }
        }
        _ => -RATE * g,
    }
}

/// What the formula should have been, of a kind that has one; its mistake is elsewhere.
fn intended(kind: Kind) -> Option<Kind> {
    Some(match kind {
        Descent | Momentum | Nesterov | Adam | AdaBelief | Nadam | Adadelta | Adamax | DecoupledDecay | WarmedUp
        | CyclicRate => kind,
        NothingBeyondSixtyFour
        | TailOfEightLeftOut
        | GainLeftOut
        | FirstStepDoubled
        | ThousandthOff
        | RateHalvedByRole
        | SmallGradientsDropped
        | LargeGradientsDropped
        | ZeroThenNothing
        | RecurrentForgotten => Descent,
        MomentumTwice | StateShared | StateSharedAtTheEnd => Momentum,
        NesterovForgotten => Nesterov,
        DecaysSwapped
        | CorrectionOneLate
        | StepCountedInEightBits
        | CorrectionEndsAtFiveHundred
        | NoCorrection
        | StateResetAtHundred
        | EpsilonInRoot
        | SquareOfTheMean => Adam,
        DecayOfTheWrongSign => DecoupledDecay,
        DecayCoupled => Descent,
        _ => return None,
    })
}

impl<T: Scalar> GradientTransform<T> for Built {
    fn stage(&self) -> Stage {
        match self.kind {
            Centralized
            | BlockClip
            | SoftClip
            | ValueClip
            | Staircase
            | Decay
            | ClipAboveTenOff
            | ClipOnlyFirstBlock
            | NormInSingle
            | ScheduleNegativeLate
            | ScheduleNotANumberAtFiveHundred => Stage::Unstated,
            _ => Stage::Optimizer,
        }
    }

    fn state_len(&self, blocks: &Blocks) -> usize {
        SLOTS * blocks.parameters() + 1
    }

    fn init_state(&self, _: &Blocks, _: &[T], state: &mut [T]) {
        if let Some(last) = state.last_mut() {
            *last = T::one();
        }
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, w, gradient: g, state, step, .. } = update;
        let kind = self.kind;
        let count = g.len();
        let single = T::epsilon() > scalar(1e-10);
        let length = |g: &[T]| g.iter().map(|&g| to_f64(g) * to_f64(g)).sum::<f64>().sqrt();
        let norm = length(g);
        let g_squares = g.iter().map(|&g| to_f64(g)).fold(0.0f32, |sum, g| sum + (g as f32) * (g as f32));
        let rate_of_all = if matches!(kind, RateByMetric | MetricNotANumberKept | MetricTurnsUp) {
            to_f64(state[SLOTS * count])
        } else {
            1.0
        };
        let (mut rng, mut normals) = (generator(step), Normals::new());
        self.steps += 1;
        self.kept.resize(count, 0.0);
        if kind == RefusesNotANumber {
            assert!(g.iter().all(|g| g.is_finite()), "a gradient that is not a number");
        }
        if kind == PanicsAtManySteps {
            assert!(step < 512, "no rate for this step");
        }
        for block in blocks.iter().filter(|block| !block.frozen || kind == FrozenMoves) {
            let range = block.range.clone();
            let own = length(&g[range.clone()]);
            let mean = g[range.clone()].iter().map(|&g| to_f64(g)).sum::<f64>() / range.len() as f64;
            for i in range {
                let before = to_f64(g[i]);
                // A formula of its own, or a factor of the gradient.
                let mut memory = [0.0; 4];
                let place = match kind {
                    StateShared => i % 40,
                    StateSharedAtTheEnd => i.min(78),
                    _ => i,
                };
                (0..SLOTS).for_each(|slot| memory[slot] = to_f64(state[slot * count + place]));
                let scaled = |factor: f64| before * factor;
                let after = match kind {
                    Normalized => {
                        if norm == 0.0 {
                            0.0
                        } else {
                            scaled(-RATE / norm)
                        }
                    }
                    LayerWise => {
                        if own == 0.0 {
                            0.0
                        } else {
                            scaled(-RATE * (1.0 + length(&w[block.range.clone()])) / own)
                        }
                    }
                    Langevin => scaled(-RATE) + 1e-4 * normals.next(&mut rng),
                    Lookahead => {
                        // Every fifth step goes half of the way back.
                        memory[0] += -RATE * before;
                        let back = if step % 5 == 4 { -0.5 * memory[0] } else { 0.0 };
                        if step % 5 == 4 {
                            memory[0] = 0.0;
                        }
                        scaled(-RATE) + back
                    }
                    RateByMetric | MetricNotANumberKept | MetricTurnsUp | MetricPanics => scaled(-RATE * rate_of_all),
                    MetricOutsideState => scaled(-RATE * (1.0 + self.metric)),
                    Centralized => before - mean,
                    BlockClip => scaled((1.0 / own).min(1.0)),
                    SoftClip => scaled(1.0 / (1.0 + norm)),
                    ClipAboveTenOff => scaled(if norm > 1e3 { 2.0 / norm } else { (1.0 / norm).min(1.0) }),
                    ClipOnlyFirstBlock => {
                        if i < 8 {
                            scaled((1.0 / norm).min(1.0))
                        } else {
                            before
                        }
                    }
                    ClimbsByRole => scaled(if block.role == Role::Weight { RATE } else { -0.1 * RATE }),
                    StepsInStruct => scaled(-RATE / (1.0 + 0.1 * self.steps as f64)),
                    MomentumInStruct => {
                        self.kept[i] = 0.9 * self.kept[i] + before;
                        -RATE * self.kept[i]
                    }
                    UnitOfZero => -RATE * before / before.abs(),
                    // The norm overflows, or vanishes, long before the gradient does.
                    NormInSingle => {
                        let square = g_squares;
                        scaled(f64::from((1.0f32 / square.sqrt()).min(1.0)))
                    }
                    AbsoluteGradient => scaled(-RATE).abs(),
                    ZeroThenNothing if before == 0.0 || memory[0] != 0.0 => {
                        memory[0] = 1.0;
                        0.0
                    }
                    NothingBeyondSixtyFour if i >= 64 => 0.0,
                    TailOfEightLeftOut if i >= count - 4 => 0.0,
                    GainLeftOut if block.role == Role::Gain => 0.0,
                    RecurrentForgotten if block.role == Role::Recurrent => before,
                    RateHalvedByRole if block.role == Role::Bias => scaled(-0.5 * RATE),
                    SingleEpsilonLarge if single => scaled(-RATE / (before.abs() + 0.05)),
                    SingleDecayRounded if single => scaled(-0.98 * RATE),
                    _ => formula(kind, before, &mut memory, step, to_f64(w[i])),
                };
                (0..SLOTS).for_each(|slot| state[slot * count + place] = scalar(memory[slot]));
                g[i] = scalar(after);
            }
        }
        Ok(Outcome::Apply)
    }

    fn on_metric(&mut self, _: &Blocks, metric: f64, state: &mut [T]) {
        self.metric = metric.clamp(-1.0, 1.0);
        if self.kind == MetricPanics {
            assert!(metric.is_finite());
        }
        let Some(rate) = state.last_mut() else { return };
        match self.kind {
            RateByMetric if metric > 1.0 => *rate = *rate * scalar(0.9),
            MetricNotANumberKept => *rate = scalar(1.0 / (1.0 + metric.abs())),
            MetricTurnsUp if metric > 1.0 => *rate = -rate.abs(),
            _ => {}
        }
    }
}

fn judge(kind: Kind, promises: &'static [Law]) -> impl Fn(u64) -> Verdict {
    move |seed| {
        let (single, double) = (
            move || -> Box<dyn GradientTransform<f32>> {
                Box::new(Built { kind, metric: 0.0, steps: 0, kept: Vec::new() })
            },
            move || -> Box<dyn GradientTransform<f64>> {
                Box::new(Built { kind, metric: 0.0, steps: 0, kept: Vec::new() })
            },
        );
        let intended = intended(kind)
            .map(|intended| move |g: f64, m: &mut [f64; 4], t: u64, w: f64| formula(intended, g, m, t, w));
        let like = intended.as_ref().map(|formula| formula as Formula<'_>);
        transform_laws(Transforms { single: &single, double: &double, like }, promises, seed)
    }
}

pub fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for kind in [
        Descent,
        Momentum,
        Nesterov,
        Adam,
        AdaBelief,
        Yogi,
        Nadam,
        Lion,
        SignDescent,
        Rprop,
        Adadelta,
        Adamax,
        Normalized,
        LayerWise,
        Lookahead,
        WarmedUp,
        CyclicRate,
        RateByMetric,
    ] {
        all.push(Entry::right(format!("transform/{kind:?}"), judge(kind, &[Law::RestsAtZero])));
    }
    for kind in [DecoupledDecay, Langevin, Centralized, Decay] {
        all.push(Entry::right(format!("transform/{kind:?}"), judge(kind, &[])));
    }
    const CLIP: &[Law] = &[Law::ReducesNorm, Law::KeepsDirection, Law::Idempotent];
    all.push(Entry::right("transform/BlockClip", judge(BlockClip, &[Law::ReducesNorm, Law::Idempotent])));
    all.push(Entry::right("transform/SoftClip", judge(SoftClip, &[Law::ReducesNorm, Law::KeepsDirection])));
    all.push(Entry::right("transform/ValueClip", judge(ValueClip, &[Law::ReducesNorm, Law::Idempotent])));
    all.push(Entry::right("transform/Staircase", judge(Staircase, &[Law::Scales])));
    for (kind, promises, law) in [
        (Climbs, &[][..], Law::Downhill),
        (ClimbsLater, &[], Law::Downhill),
        (ClimbsByRole, &[], Law::Downhill),
        (NothingBeyondSixtyFour, &[], Law::Formula),
        (TailOfEightLeftOut, &[], Law::Formula),
        (GainLeftOut, &[], Law::Formula),
        (RecurrentForgotten, &[], Law::Formula),
        (StateResetAtHundred, &[], Law::Formula),
        (StepCountedInEightBits, &[], Law::Formula),
        (CorrectionEndsAtFiveHundred, &[], Law::Formula),
        (SingleEpsilonLarge, &[], Law::Precision),
        (SingleDecayRounded, &[], Law::Precision),
        (MetricNotANumberKept, &[], Law::SurvivesAnything),
        (MetricPanics, &[], Law::SurvivesAnything),
        (MetricOutsideState, &[], Law::Resumes),
        (MetricTurnsUp, &[], Law::Downhill),
        (ClipAboveTenOff, CLIP, Law::Idempotent),
        (ClipOnlyFirstBlock, CLIP, Law::KeepsDirection),
        (ScheduleNegativeLate, &[Law::Scales], Law::Scales),
        (ScheduleNotANumberAtFiveHundred, &[Law::Scales], Law::Extremes),
        (DecaysSwapped, &[], Law::Formula),
        (MomentumTwice, &[], Law::Formula),
        (NoCorrection, &[], Law::Formula),
        (EpsilonInRoot, &[], Law::Formula),
        (NesterovForgotten, &[], Law::Formula),
        (DecayOfTheWrongSign, &[], Law::Formula),
        (DecayCoupled, &[], Law::Formula),
        (CorrectionOneLate, &[], Law::Formula),
        (StateShared, &[], Law::Formula),
        (StateSharedAtTheEnd, &[], Law::Formula),
        (SquareOfTheMean, &[], Law::Formula),
        (FirstStepDoubled, &[], Law::Formula),
        (ThousandthOff, &[], Law::Formula),
        (RateHalvedByRole, &[], Law::Formula),
        (SmallGradientsDropped, &[], Law::Formula),
        (LargeGradientsDropped, &[], Law::Formula),
        (FrozenMoves, &[], Law::FrozenBlocks),
        (StepsInStruct, &[], Law::Resumes),
        (MomentumInStruct, &[], Law::Resumes),
        (UnitOfZero, &[Law::RestsAtZero], Law::Extremes),
        (RefusesNotANumber, &[], Law::SurvivesAnything),
        (NormInSingle, CLIP, Law::KeepsDirection),
        (PanicsAtManySteps, &[], Law::NoPanic),
        (AbsoluteGradient, &[], Law::Downhill),
        (ZeroThenNothing, &[], Law::Formula),
    ] {
        all.push(Entry::wrong(format!("transform/{kind:?}"), law, judge(kind, promises)));
    }
    all
}
