//! Groups of blocks: rates of their own, and an optimizer for each.

use crate::fixtures::roles as blocks;
use chainrule::{
    Block, Blocks, Error, Role,
    monitor::Statistics,
    transform::{
        Adam, AdamW, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Muon, NAdam, Optimizer, Outcome,
        ParameterGroups, Penalty, PerGroup, RAdam, ReduceOnPlateau, Schedule, ScheduleFreeAdamW, Sgd, SkipNonFinite,
        Unordered, Update, WeightAverage,
    },
};

const START: [f64; 6] = [1.0, -2.0, 0.5, 3.0, 0.25, -1.0];

fn gradient(t: usize) -> [f64; 6] {
    core::array::from_fn(|i| ((t * (i + 2)) as f64).sin() - 0.2)
}

#[test]
fn rates_by_role_and_by_name_multiply() {
    let rates = ParameterGroups::new().rate(Role::Bias, 0.5).rate("a", 4.0).rate(Role::Gain, 0.0);
    let (blocks, mut w) = (blocks(), [0.0; 6]);
    let mut optimizer = Optimizer::new((Sgd::new(1.0), rates), &blocks, &w).unwrap();
    optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
    assert_eq!(w, [-4.0, -4.0, -4.0, -4.0, -2.0, 0.0]);
}

/// Groups inside groups of too many levels are an error; dropping and printing them needs a bounded stack.
#[test]
fn groups_inside_groups_have_a_limit() {
    let nested = |levels| (0..levels).fold(PerGroup::<f64>::new(Sgd::new(0.1)), |inner, _| PerGroup::new(inner));
    assert!(Optimizer::new(nested(15), &blocks(), &START).is_ok());
    for levels in [16, 17, 100_000] {
        let chain = nested(levels);
        assert!(format!("{chain:?}").contains("TooDeep"));
        let error = Optimizer::new(chain, &blocks(), &START).unwrap_err();
        assert!(matches!(error, Error::InvalidState { .. }) && error.to_string().contains("16 levels"), "{error}");
    }
}

/// The chain of a group does what it does to a network of that group alone, to the bit.
#[test]
fn group_is_a_network_of_its_own() {
    let whole = blocks();
    let weights = Blocks::collect(|visit| {
        visit(Block::new("a.weight", 0, [1, 2], Role::Weight));
        visit(Block::new("a.recurrent", 2, [1, 2], Role::Recurrent));
    });
    let one = |name| Blocks::collect(move |visit| visit(Block::new(name, 0, [1, 1], Role::Bias)));
    let clipped = || (ClipNorm::new(0.5), AdamW::new(0.1, 0.2).adam(|adam| adam.betas(0.8, 0.9)));
    let rest = || (RAdam::new(0.05), Schedule::cosine(7, 0.1));
    let plateau = || (Sgd::new(0.3).momentum(0.5), ReduceOnPlateau::new(0.5, 0));
    // The bias belongs to the first group that holds it.
    let groups = PerGroup::new(rest()).group(Role::Bias, plateau()).group("a", clipped());
    let mut w = START;
    let mut all = Optimizer::new(groups, &whole, &w).unwrap();
    type Alone = (Optimizer<f64, Box<dyn GradientTransform<f64>>>, Blocks, [usize; 2]);
    let mut alone: [Alone; 3] = [
        (Optimizer::new(Box::new(clipped()) as Box<_>, &weights, &START[..4]).unwrap(), weights, [0, 4]),
        (Optimizer::new(Box::new(plateau()) as Box<_>, &one("a.bias"), &START[4..5]).unwrap(), one("a.bias"), [4, 5]),
        (Optimizer::new(Box::new(rest()) as Box<_>, &one("b.gain"), &START[5..]).unwrap(), one("b.gain"), [5, 6]),
    ];
    let mut expected = START;
    for t in 0..12 {
        all.step(&whole, &mut w, &mut gradient(t), &mut ()).unwrap();
        all.on_metric(&whole, 1.0).unwrap();
        for (optimizer, blocks, [from, to]) in &mut alone {
            optimizer.step(blocks, &mut expected[*from..*to], &mut gradient(t)[*from..*to], &mut ()).unwrap();
            optimizer.on_metric(blocks, 1.0).unwrap();
        }
        assert_eq!(w, expected, "{t}");
    }
    assert_eq!(all.learning_rate(&whole), alone[2].0.learning_rate(&alone[2].1));
    let kinds: Vec<String> = all.spec(&whole).into_iter().map(|spec| spec.kind).collect();
    let expected = [
        "PerGroup (RAdam of others)",
        "PerGroup (Schedule (cosine) of others)",
        "PerGroup (Sgd of Bias)",
        "PerGroup (ReduceOnPlateau of Bias)",
        "PerGroup (ClipNorm of \"a\")",
        "PerGroup (AdamW of \"a\")",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn frozen_block_of_a_group_stays() {
    let mut blocks = blocks();
    let mut w = START;
    let groups = PerGroup::new(AdamW::new(0.1, 0.1)).group("a", (ClipBlockNorm::new(1.0), Adam::new(0.1)));
    let mut optimizer = Optimizer::new(groups, &blocks, &w).unwrap();
    blocks.freeze("a.recurrent").unwrap();
    for t in 0..3 {
        optimizer.step(&blocks, &mut w, &mut gradient(t), &mut Statistics::new()).unwrap();
    }
    assert_eq!(w[2..4], START[2..4]);
    blocks.unfreeze("a").unwrap();
    blocks.freeze("b").unwrap();
    let before = w;
    optimizer.step(&blocks, &mut w, &mut gradient(3), &mut ()).unwrap();
    assert!((0..5).all(|i| w[i] != before[i]) && w[5] == before[5]);
}

/// An optimizer that skips every step.
#[derive(Debug)]
struct Skips;

impl GradientTransform<f64> for Skips {
    fn stage(&self) -> chainrule::transform::Stage {
        chainrule::transform::Stage::Optimizer
    }
    fn update(&mut self, _: Update<'_, f64>) -> Result<Outcome, Error> {
        Ok(Outcome::Skip)
    }
}

#[test]
fn update_that_one_group_skips_is_skipped() {
    let (blocks, mut w) = (blocks(), START);
    let mut optimizer = Optimizer::new(PerGroup::new(Sgd::new(0.1)).group("a", Skips), &blocks, &w).unwrap();
    assert_eq!(optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()), Ok(Outcome::Skip));
    assert_eq!((w, optimizer.steps()), (START, 0));
}

/// Skips the updates of even number, which it counts itself, before its optimizer or after it.
#[derive(Debug)]
struct EverySecond(u64);

impl GradientTransform<f64> for EverySecond {
    fn update(&mut self, _: Update<'_, f64>) -> Result<Outcome, Error> {
        self.0 += 1;
        Ok(if self.0.is_multiple_of(2) { Outcome::Skip } else { Outcome::Apply })
    }
}

/// The run is that without the skipped updates, to the bit: no group has moved its averages by one of them.
#[test]
fn update_that_one_group_skips_leaves_the_states_of_the_others() {
    let (blocks, mut w, mut expected) = (blocks(), START, START);
    let groups = |skips: bool| {
        let last: Box<dyn GradientTransform<f64>> =
            if skips { Box::new((EverySecond(0), Adam::new(0.1))) } else { Box::new(Adam::new(0.1)) };
        let first = PerGroup::new(AdamW::new(0.1, 0.01)).group(Role::Bias, Sgd::new(0.1).momentum(0.9));
        first.group("a.weight", last).group("a", RAdam::new(0.1))
    };
    let mut run = Optimizer::new(groups(true), &blocks, &w).unwrap();
    let mut plain = Optimizer::new(groups(false), &blocks, &w).unwrap();
    for t in 0..8 {
        let outcome = run.step(&blocks, &mut w, &mut gradient(t), &mut ()).unwrap();
        assert_eq!(outcome == Outcome::Skip, t % 2 == 1);
        if outcome == Outcome::Apply {
            plain.step(&blocks, &mut expected, &mut gradient(t), &mut ()).unwrap();
        }
        assert_eq!((w, run.state(), run.steps()), (expected, plain.state(), plain.steps()), "update {t}");
    }
}

/// Skips the updates of even number, and counts the skipped ones in its state, as a guard does.
#[derive(Debug)]
struct CountsSkips(u64);

impl GradientTransform<f64> for CountsSkips {
    fn state_len(&self, _: &Blocks) -> usize {
        1
    }
    fn update(&mut self, update: Update<'_, f64>) -> Result<Outcome, Error> {
        self.0 += 1;
        let skips = self.0.is_multiple_of(2);
        update.state[0] += if skips { 1.0 } else { 0.0 };
        Ok(if skips { Outcome::Skip } else { Outcome::Apply })
    }
}

/// The states before that of the chain that skips are restored; its own has what it noted of the skipped update.
#[test]
fn chain_that_skips_keeps_its_own_state() {
    let (blocks, mut w) = (blocks(), START);
    let counts = || (CountsSkips(0), Sgd::new(0.1));
    let groups = PerGroup::new(Sgd::new(0.1).momentum(0.5)).group("a.weight", counts());
    let mut optimizer = Optimizer::new(groups.group("a", Skips), &blocks, &w).unwrap();
    // The last chain skips each update that the counting one applies.
    for (t, count) in [0.0, 1.0, 1.0, 2.0].into_iter().enumerate() {
        let skipped = optimizer.step(&blocks, &mut w, &mut gradient(t), &mut ());
        assert_eq!((skipped, optimizer.state()), (Ok(Outcome::Skip), &[0.0, count][..]), "update {t}");
    }
}

/// States are copied before an update only for the chains that may skip one: those with a guard, or with a transform of
/// another crate.
#[test]
fn own_transforms_other_than_a_guard_never_skip() {
    let may_skip = |chain: &dyn GradientTransform<f64>| {
        let mut found = false;
        chain.members(&mut |member| found |= member.may_skip);
        found
    };
    let nested = PerGroup::new(ScheduleFreeAdamW::new(0.1, 0.0)).group("a", (ClipNorm::new(1.0), NAdam::new(0.1)));
    let own: [&dyn GradientTransform<f64>; 5] = [
        &(ClipBlockNorm::new(1.0), ClipValue::new(1.0), Muon::new(0.1, AdamW::new(0.1, 0.0)), WeightAverage::new(0.5)),
        &(Penalty::l2(0.1), Sgd::new(0.1), Schedule::cosine(7, 0.1), ReduceOnPlateau::new(0.5, 0)),
        &(Unordered((RAdam::new(0.1), ParameterGroups::new()))),
        &(Box::new(Adam::new(0.1)) as Box<dyn GradientTransform<f64>>),
        &nested,
    ];
    assert!(own.iter().all(|chain| !may_skip(*chain)));
    assert!(may_skip(&(SkipNonFinite::new(), Sgd::new(0.1))) && may_skip(&(Sgd::new(0.1), EverySecond(0))));
    assert!(may_skip(&PerGroup::new(Sgd::new(0.1)).group("a", Skips)));
}

#[test]
fn group_that_cannot_be_is_an_error() {
    let blocks = blocks();
    let made = |groups: PerGroup<f64>| Optimizer::new(groups, &blocks, &START).map(|_| ());
    let plain = || PerGroup::new(Sgd::new(0.1));
    assert!(matches!(made(plain().group("c", Sgd::new(0.1))), Err(Error::UnknownBlock { .. })));
    assert!(matches!(made(plain().group("a", Sgd::new(-0.1))), Err(Error::Parameter { .. })));
    assert!(matches!(made(plain().group("a", ClipNorm::new(1.0))), Err(Error::Optimizers { found: 0, .. })));
    assert!(matches!(made(plain().group("a", (Sgd::new(0.1), ClipNorm::new(1.0)))), Err(Error::ChainOrder { .. })));
    for chain in [
        Box::new((SkipNonFinite::new(), Sgd::new(0.1))) as Box<dyn GradientTransform<f64>>,
        Box::new((Sgd::new(0.1), WeightAverage::new(0.9))),
    ] {
        assert!(matches!(made(plain().group(Role::Bias, chain)), Err(Error::InvalidState { .. })));
    }
    // A role may be without blocks; a name whose blocks belong to earlier groups is a mistake.
    let taken = || plain().group("a", Sgd::new(0.1));
    assert_eq!(made(taken().group(Role::Bias, AdamW::new(0.1, 0.1))), Ok(()));
    let hidden = taken().group("a.bias", (ClipNorm::new(1.0), Adam::new(0.1)));
    assert!(matches!(made(hidden), Err(Error::Parameter { .. })));
    // Other blocks, with as many parameters: no state of another length tells them apart.
    let mut optimizer = Optimizer::new(plain().group("a", Sgd::new(0.2)), &blocks, &START).unwrap();
    let other = Blocks::collect(|visit| visit(Block::new("c", 0, [2, 3], Role::Weight)));
    let stepped = optimizer.step(&other, &mut START.clone(), &mut [1.0; 6], &mut ());
    assert!(matches!(stepped, Err(Error::InvalidState { .. })));
    let mut rates = Optimizer::new((Sgd::new(0.1), ParameterGroups::new().rate("b", 2.0)), &blocks, &START).unwrap();
    let fewer = Blocks::collect(|visit| visit(Block::new("c", 0, [1, 3], Role::Weight)));
    rates.step(&fewer, &mut [0.0; 3], &mut [1.0; 3], &mut ()).unwrap();
}
