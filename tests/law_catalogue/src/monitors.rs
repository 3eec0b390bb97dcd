//! Monitors: what they keep, and what stops or confuses them.

use crate::{Entry, Verdict};
use chainrule::{
    GradientMonitor, Scalar,
    monitor::{Event, Factor, Link},
    testing::{Law, monitor_laws},
    to_f64,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    CountsEvents,
    LargestByName,
    LastLossAndClip,
    EveryThirdPass,
    OnlyActivations,
    NormsOfBlocks,
    OnlyTheFirstPass,
    Silent,
    // Wrong.
    StepInEightBits,
    StepsInAnArray,
    IndexInAnArray,
    NameParsed,
    NameOfTwoParts,
    LossMustFall,
    LossMustBeNumber,
    LossCountedByAll,
    ClipMustNotBeZero,
    ClipMustBeNumber,
    PartsMustFollowPasses,
    PartsCountedByAll,
    UpdateNeedsGradient,
    BackwardNeedsForward,
    LengthsMustStay,
    GateMustBeKnown,
    AdditionMustBeActive,
    MainPathAlways,

    SortsByComparison,
    StepUnwrapped,
    ActivationUnwrapped,
    FirstValueTaken,
    LargestMustBePositive,
    FiniteUpdateNeeded,
    PassesInEightBits,
    OtherMonitorsEvents,
    ActiveByTurns,
    StopNeedsTwoLosses,
    /// Right: it stops a run after its first epoch.
    StopsSoon,
}

#[derive(Debug)]
struct Watch {
    kind: Kind,
    count: u64,
    passes: u64,
    largest: BTreeMap<String, f64>,
    steps: [u64; 128],
    losses: Vec<f64>,
    length: usize,
    seen: bool,
}

static EVENTS: AtomicU64 = AtomicU64::new(0);

use Kind::*;

impl Watch {
    fn new(kind: Kind) -> Self {
        Watch {
            kind,
            count: 0,
            passes: 0,
            largest: BTreeMap::new(),
            steps: [0; 128],
            losses: Vec::new(),
            length: 0,
            seen: false,
        }
    }

    fn link<T: Scalar>(&mut self, at: &Link<'_>, values: &[T]) {
        self.count += 1;
        let step = at.step.unwrap_or(0);
        match self.kind {
            LargestByName => {
                let most = self.largest.entry(at.name.to_owned()).or_default();
                *most = values.iter().fold(*most, |most, &value| most.max(to_f64(value).abs()));
            }
            OnlyActivations if at.factor != Factor::Activation => self.count -= 1,
            StepInEightBits => self.count += u64::from(u8::try_from(step).expect("few steps")),
            StepsInAnArray => self.steps[step] += 1,
            IndexInAnArray => self.steps[at.index * 8] += 1,
            NameParsed => {
                let first = at.name.split('.').next().unwrap_or_default();
                self.count += first.parse::<u64>().expect("a number first");
            }
            NameOfTwoParts => {
                self.count += at.name.splitn(2, '.').nth(1).map_or(1, |rest| {
                    rest.len() as u64 / 4u64.checked_sub(rest.matches('.').count() as u64).expect("few parts")
                })
            }
            LengthsMustStay => {
                assert!(self.length == 0 || values.is_empty() || values.len() <= 64 * self.length);
                self.length = values.len();
            }
            GateMustBeKnown => {
                let known = ["input", "forget", "candidate", "output"];
                assert!(at.gate.is_none_or(|gate| known.contains(&gate.name)));
            }
            AdditionMustBeActive if at.factor == Factor::Addition => assert!(at.activation.is_none()),
            MainPathAlways => assert!(at.on_main_path || at.name.contains("residual") || at.name.contains("branch")),
            SortsByComparison => {
                let mut values: Vec<f64> = values.iter().map(|&value| to_f64(value)).collect();
                values.sort_by(|a, b| a.partial_cmp(b).unwrap());
            }
            StepUnwrapped => self.count += at.step.unwrap() as u64,
            ActivationUnwrapped if at.factor == Factor::Activation => {
                self.count += at.activation.unwrap().name().len() as u64;
            }
            FirstValueTaken => self.count += u64::from(values[0].is_zero()),
            LargestMustBePositive => {
                let most = values.iter().fold(0.0, |most: f64, &value| most.max(to_f64(value).abs()));
                assert!(most > 0.0);
            }
            OtherMonitorsEvents => self.count = EVENTS.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl<T: Scalar> GradientMonitor<T> for Watch {
    fn begin_pass(&mut self) {
        self.passes += 1;
        if self.kind == PassesInEightBits {
            assert!(self.passes < 256);
        }
    }

    fn is_active(&self) -> bool {
        match self.kind {
            Silent => false,
            EveryThirdPass => self.passes % 3 == 1,
            OnlyTheFirstPass => self.passes <= 1,
            ActiveByTurns => EVENTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
            _ => true,
        }
    }

    fn should_stop(&self) -> bool {
        match self.kind {
            // The loss must fall by less than a thousandth.
            StopNeedsTwoLosses => self.losses[self.losses.len() - 1] > 0.999 * self.losses[self.losses.len() - 2],
            StopsSoon => self.passes > 2,
            _ => false,
        }
    }

    fn forward(&mut self, at: &Link<'_>, _: &[T], y: &[T]) {
        self.seen = true;
        self.link(at, y);
    }

    fn backward(&mut self, at: &Link<'_>, _: &[T], dx: &[T]) {
        assert!(self.kind != BackwardNeedsForward || self.seen);
        self.link(at, dx);
    }

    fn event(&mut self, event: &Event<'_, T>) {
        match (self.kind, *event) {
            (PartsMustFollowPasses, Event::NextPart) => assert!(self.passes > 0 && self.count > 0),
            (PartsCountedByAll, Event::NextPart) => self.passes = EVENTS.fetch_add(1, Ordering::Relaxed),
            (LastLossAndClip, Event::Loss(loss)) => self.losses = vec![loss],
            (LossMustFall, Event::Loss(loss)) => {
                assert!(self.losses.last().is_none_or(|&last| !(loss > 1e3 * last.abs() + 1e3)));
                self.losses.push(loss);
            }
            (StopNeedsTwoLosses, Event::Loss(loss)) => self.losses.push(loss),
            (LossMustBeNumber, Event::Loss(loss)) => assert!(loss.is_finite()),
            (LossCountedByAll, Event::Loss(_)) => self.count = EVENTS.fetch_add(1, Ordering::Relaxed),
            (ClipMustNotBeZero, Event::Clip(factor)) => self.count += 10 / (factor * 10.0) as u64,
            (ClipMustBeNumber, Event::Clip(factor)) => assert!((0.0..=1.0).contains(&factor)),
            (NormsOfBlocks, Event::Gradient { blocks, dw, .. }) => {
                for block in blocks {
                    let size = dw[block.range.clone()].iter().map(|&dw| to_f64(dw).powi(2)).sum::<f64>();
                    self.largest.insert(block.name.to_string(), size);
                }
            }
            (UpdateNeedsGradient, Event::Gradient { w, .. }) => self.length = w.len(),
            (UpdateNeedsGradient, Event::Update { w, .. }) => assert_eq!(self.length, w.len()),
            (FiniteUpdateNeeded, Event::Update { update, .. }) => {
                assert!(update.iter().all(|update| !update.is_infinite()));
            }
            _ => {}
        }
    }
}

pub fn entries() -> Vec<Entry> {
    let judge = |kind| -> Box<dyn Fn(u64) -> Verdict> { Box::new(move |seed| monitor_laws(|| Watch::new(kind), seed)) };
    let mut all = Vec::new();
    for kind in [
        CountsEvents,
        LargestByName,
        LastLossAndClip,
        EveryThirdPass,
        OnlyActivations,
        NormsOfBlocks,
        OnlyTheFirstPass,
        Silent,
        StopsSoon,
    ] {
        all.push(Entry::right(format!("monitor/{kind:?}"), judge(kind)));
    }
    for kind in [
        StepInEightBits,
        StepsInAnArray,
        IndexInAnArray,
        NameParsed,
        NameOfTwoParts,
        LossMustFall,
        LossMustBeNumber,
        ClipMustNotBeZero,
        ClipMustBeNumber,
        PartsMustFollowPasses,
        UpdateNeedsGradient,
        BackwardNeedsForward,
        LengthsMustStay,
        GateMustBeKnown,
        AdditionMustBeActive,
        MainPathAlways,
        SortsByComparison,
        StepUnwrapped,
        ActivationUnwrapped,
        FirstValueTaken,
        LargestMustBePositive,
        FiniteUpdateNeeded,
        PassesInEightBits,
        StopNeedsTwoLosses,
    ] {
        all.push(Entry::wrong(format!("monitor/{kind:?}"), Law::SurvivesAnything, judge(kind)));
    }
    for kind in [LossCountedByAll, PartsCountedByAll, OtherMonitorsEvents, ActiveByTurns] {
        all.push(Entry::wrong(format!("monitor/{kind:?}"), Law::Composes, judge(kind)));
    }
    all
}
