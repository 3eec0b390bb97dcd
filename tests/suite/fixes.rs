//! The budget that a fix promises is the budget of the fixed network.

use crate::fixtures::normal;
use chainrule::{
    BatchShape, Error, Layer,
    activation::{ActivationKind, HardShrink, Identity, Relu, Sigmoid, Tanh, Threshold},
    dataset::Standardize,
    diagnosis::{
        Cause, Change, Diagnosis, Finding, Fix, FixContext, first_check,
        fix::{FixStrategy, Lsuv, NormalizeLayers, strategies, survivors, transplant},
        suggest_fixes,
    },
    initializer::{self, Constant, He, Normal, Zeros},
    layer::{
        ActivationLayer, BranchScale, Embedding, LastStep, LayerNorm, LayerSpec, Linear, Merge, Mode, Residual,
        Sequential, initialize,
    },
    monitor::{Factor, GradientMonitor, Link},
    network::{Builder, summary},
    recurrent::{Elman, Lstm, Recurrent},
    theory::InputStatistics,
    workspace::Workspace,
};

const WIDTH: usize = 64;

fn plain(depth: usize, activation: impl chainrule::Activation + Copy, gain: f64) -> Sequential<f32> {
    let mut network = Sequential::new(WIDTH);
    for _ in 0..depth {
        network.push(Linear::new(WIDTH, WIDTH).weights(He::normal().gain(gain)).bias(Zeros)).unwrap();
        network.push(ActivationLayer::new(WIDTH, activation)).unwrap();
    }
    network.push(Linear::new(WIDTH, 10)).unwrap();
    network
}

fn finding(network: &Sequential<f32>) -> Finding {
    Diagnosis::new(network, InputStatistics::new(1.0).unwrap()).unwrap().report().root().unwrap().clone()
}

/// Decades to the first weights as measured, on average over some nets.
fn measured(network: &LayerSpec) -> f64 {
    let network = network.build::<f32>().unwrap();
    let x = normal(64 * WIDTH, 5);
    let check = |seed| first_check(&network, &x, BatchShape::batch(64), None, seed).unwrap().decades[0].unwrap();
    (0..6).map(check).sum::<f64>() / 6.0
}

fn fixes(network: &Sequential<f32>) -> (Finding, Vec<Fix>) {
    let (finding, described) = (finding(network), network.spec());
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0).unwrap(), &finding)).unwrap();
    (finding, fixes)
}

#[test]
fn promises_are_kept() {
    for (network, cause) in [
        (plain(10, Sigmoid, 1.0), Cause::SaturatingActivation),
        (plain(10, Relu, 0.5), Cause::SmallWeights),
        (plain(10, Relu, 3.0), Cause::LargeWeights),
    ] {
        let (finding, fixes) = fixes(&network);
        assert_eq!(finding.cause, cause);
        assert!(fixes[0].is_enough() && fixes[0].after.is_some(), "{}", fixes[0]);
        let mut tried = 0;
        for fix in &fixes {
            let (Change::Network(after), Some(promise)) = (&fix.change, fix.after) else { continue };
            let seen = measured(after);
            assert!((seen - promise).abs() < 0.35 + 0.1 * promise.abs(), "{cause}, {fix}: measured {seen:+.2}");
            tried += 1;
        }
        assert!(tried >= 3, "{cause}: {tried}");
    }
}

#[test]
fn causes_that_a_change_can_remove_have_a_fix() {
    for cause in Cause::ALL {
        let fixable = strategies().iter().any(|strategy| strategy.applies_to(cause));
        use Cause::*;
        let without = matches!(cause, Underflow | SensitiveMemory | NoInformation | NoCauseFound);
        assert!(fixable != without, "{cause}");
    }
}

/// The variance of what each product with weights gives.
#[derive(Default)]
struct Variances(Vec<f64>);

impl GradientMonitor<f32> for Variances {
    fn forward(&mut self, at: &Link<'_>, _x: &[f32], y: &[f32]) {
        if at.factor == Factor::Weights {
            let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / y.len() as f64;
            self.0.push(y.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / y.len() as f64);
        }
    }
}

#[test]
fn lsuv_gives_every_hidden_layer_variance_one() -> Result<(), Error> {
    for (network, what) in [(plain(8, Relu, 0.1), "small"), (plain(8, Tanh, 5.0), "large")] {
        let (mut w, x) = (initialize(&network, 3)?, normal(128 * WIDTH, 5));
        let rescaled = Lsuv::default().apply(&network, &mut w, &x, BatchShape::batch(128))?;
        assert_eq!(rescaled, 8);
        let (mut workspace, mut seen) = (Workspace::new(&network, BatchShape::batch(128))?, Variances::default());
        workspace.forward_with(&w, &x, BatchShape::batch(128), Mode::Evaluate, &mut seen)?;
        assert!(seen.0[..8].iter().all(|variance| (variance - 1.0).abs() <= 0.1), "{what}: {:?}", seen.0);
    }
    // A tolerance that rounding does not reach ends where the variance comes no nearer to 1.
    let (network, x) = (plain(2, Tanh, 0.1), normal(4 * WIDTH, 5));
    let exact = Lsuv { tolerance: 0.0, trials: usize::MAX };
    assert_eq!(exact.apply(&network, &mut initialize(&network, 3)?, &x, BatchShape::batch(4))?, 2);
    let nan = Lsuv { tolerance: f64::NAN, ..exact };
    let refused = nan.apply(&network, &mut initialize(&network, 3)?, &x, BatchShape::batch(4));
    assert!(matches!(refused, Err(Error::Parameter { .. })), "{refused:?}");
    let silent = plain(2, Tanh, 0.0);
    let mut w = initialize(&silent, 0)?;
    let refused = Lsuv::default().apply(&silent, &mut w, &normal(4 * WIDTH, 5), BatchShape::batch(4));
    assert!(matches!(refused, Err(Error::Parameter { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn surviving_parameters_are_carried_to_the_bit() -> Result<(), Error> {
    let network = plain(3, Sigmoid, 1.0);
    let before = network.spec();
    let w = initialize(&network, 9)?;
    let (_, fixes) = fixes_of_depth(&network)?;
    for fix in fixes {
        let Change::Network(after) = fix.change else { continue };
        let fixed = after.build::<f32>()?;
        let (found, mut new) = (survivors(&before, &after)?, initialize(&fixed, 1)?);
        transplant(&found, &w, &mut new)?;
        for survivor in &found {
            assert_eq!(w[survivor.before.clone()], new[survivor.after.clone()], "{}", survivor.name);
        }
        // A layer whose initializer was exchanged is drawn anew; others live on.
        let kept: usize = found.iter().map(|survivor| survivor.after.len()).sum();
        match fix.name {
            "layer normalization" => assert_eq!(kept, w.len()),
            "residual branches" => assert_eq!(kept, w.len()),
            _ => assert!(kept < w.len(), "{}", fix.name),
        }
    }
    assert!(transplant(&survivors(&before, &before)?, &w, &mut [0.0; 3]).is_err());
    Ok(())
}

#[test]
fn transplant_of_changed_ranges_is_an_error_or_carries_nothing() -> Result<(), Error> {
    let description = plain(1, Tanh, 1.0).spec();
    let mut kept = survivors(&description, &description)?;
    kept.truncate(1);
    let (old, mut new) = ([1.0, 2.0, 3.0, 4.0], [0.0; 4]);
    (kept[0].before, kept[0].after) = (0..3, 1..3);
    assert!(matches!(transplant(&kept, &old, &mut new), Err(Error::Length { .. })));
    (kept[0].before, kept[0].after) = (old.len() - 1..1, 2..2);
    transplant(&kept, &old, &mut new)?;
    assert_eq!(new, [0.0; 4]);
    Ok(())
}

/// A learned scale is its residual's own block, and lies between blocks of the branch's neighbours. Skips change no
/// weights: all that was trained lives on, and what the fixed network measures stands beside the promise.
#[test]
fn fix_applied_in_one_call_keeps_survivors() -> Result<(), Error> {
    let network = plain(10, Relu, 0.5);
    let (w, described) = (initialize(&network, 1)?, Layer::<f32>::spec(&network));
    let (_, fixes) = fixes(&network);
    let named = |name| fixes.iter().find(|fix| fix.name == name).expect(name);
    let skips = named("residual branches");
    let fixed = skips.apply(&described, &w, 2)?.expect("a change of the network");
    assert!(fixed.parameters == w, "what was trained lives on");
    assert_eq!(fixed.survivors.iter().map(|survivor| survivor.after.len()).sum::<usize>(), w.len());
    let [measured, promised] = fixed.check(&normal(64 * WIDTH, 5), BatchShape::batch(64), None)?.decades;
    assert!((promised.unwrap() - skips.after.unwrap()).abs() < 1e-12, "{promised:?}");
    assert!((measured.unwrap_or(f64::NAN) - promised.unwrap_or(f64::NAN)).abs() < 0.2, "{measured:?} {promised:?}");

    let with = |change| {
        let mut fix = skips.clone();
        fix.change = change;
        fix
    };
    let fixed = with(Change::Redraw).apply(&described, &w, 2)?.expect("a change of the network");
    assert!(fixed.survivors.is_empty() && fixed.parameters == initialize(&network, 2)?);
    assert!(with(Change::LearningRate(0.1)).apply(&described, &w, 2)?.is_none());
    assert!(matches!(skips.apply(&described, &w[1..], 2), Err(Error::Length { .. })));
    Ok(())
}

#[test]
fn learned_scale_survives_with_its_branch() -> Result<(), Error> {
    let mut branch = Sequential::new(WIDTH);
    branch.push(Linear::new(WIDTH, WIDTH))?;
    let mut before = Sequential::<f32>::new(WIDTH);
    before.push(Linear::new(WIDTH, WIDTH).weights(He::normal()))?;
    before.push(Residual::new(branch)?.scale(BranchScale::Learned(0.25))?)?;
    let mut after = before.spec();
    let LayerSpec::Sequential { layers, .. } = &mut after else { panic!("a sequence") };
    layers.remove(0);
    let found = survivors(&before.spec(), &after)?;
    let names: Vec<_> = found.iter().map(|survivor| &*survivor.name).collect();
    assert_eq!(names, ["0.scale", "0.branch.0.weight", "0.branch.0.bias"]);
    let first = WIDTH * WIDTH + WIDTH;
    assert!(found.iter().all(|survivor| survivor.before.start == survivor.after.start + first), "{found:?}");
    Ok(())
}

/// A norm goes before an activation wherever it is, once.
#[test]
fn norms_reach_into_branches() -> Result<(), Error> {
    let mut branch = Sequential::new(WIDTH);
    branch.push(Linear::new(WIDTH, WIDTH))?;
    branch.push(ActivationLayer::new(WIDTH, Tanh))?;
    let mut network = Sequential::<f32>::new(WIDTH);
    network.push(Residual::new(branch)?)?;
    let (described, finding) = (network.spec(), finding(&plain(10, Tanh, 0.1)));
    let context = FixContext::new(&described, InputStatistics::new(1.0)?, &finding);
    let fix = NormalizeLayers.propose(&context)?.unwrap();
    let Change::Network(after) = fix.change else { panic!("{}", fix) };
    let text = format!("{}", summary(&*after.build::<f32>()?));
    assert_eq!(text.matches("LayerNorm").count(), 1, "{text}");
    assert!(NormalizeLayers.propose(&FixContext::new(&after, InputStatistics::new(1.0)?, &finding))?.is_none());
    Ok(())
}

fn fixes_of_depth(network: &Sequential<f32>) -> Result<(LayerSpec, Vec<Fix>), Error> {
    let described = network.spec();
    let mut finding = finding(&plain(10, Sigmoid, 1.0));
    finding.layers.truncate(0);
    finding.layer.clear();
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    Ok((described, fixes))
}

#[test]
fn fixes_over_time_cover_the_span() -> Result<(), Error> {
    let mut network = Sequential::<f32>::new(1);
    network
        .push(Recurrent::new(1, 16, Elman::new(Tanh)).recurrent(chainrule::initializer::Orthogonal { gain: 0.5 }))?;
    network.push(LastStep::new(16))?;
    network.push(Linear::new(16, 1))?;
    let x = normal(8 * 60, 5);
    let shape = BatchShape::sequences(8, 60);
    let check = |network: &dyn Layer<f32>| first_check(network, &x, shape, Some(40), 1);
    let report = check(&network)?;
    let (described, finding) = (network.spec(), report.root().unwrap());
    assert_eq!(finding.cause, Cause::VanishingRecurrence);
    let context = FixContext::new(&described, InputStatistics::new(1.0)?.steps(60)?, finding).span(40);
    let fixes = suggest_fixes(&context)?;
    let Change::Network(after) = &fixes[0].change else { panic!("{}", fixes[0]) };
    let fixed = after.build::<f32>()?;
    // The plain recurrence lost 12 decades or more; what is left is told by the gates.
    let left = check(&fixed)?.root().and_then(|root| root.decades).unwrap_or(0.0);
    assert!(finding.decades.unwrap() < -12.0 && left > -4.0, "{left}");
    let lstm = Sequential::<f32>::input(1).recurrent(8, Lstm::new()).linear(1).build()?.spec();
    let mut shut = finding.clone();
    shut.cause = Cause::ClosedForgetGate;
    let forget = suggest_fixes(&FixContext::new(&lstm, InputStatistics::new(1.0)?.steps(60)?, &shut).span(40))?;
    assert_eq!(forget[0].name, "biases of the gates");
    Ok(())
}

/// What was there from the start is fixed by other first values; a fault that training brought would return.
#[test]
fn explosion_from_training_is_clipped() -> Result<(), Error> {
    let mut network = Sequential::<f32>::new(1);
    network.push(
        Recurrent::new(1, 16, Elman::new(Identity)).recurrent(chainrule::initializer::Orthogonal { gain: 1.5 }),
    )?;
    network.push(LastStep::new(16))?;
    network.push(Linear::new(16, 1))?;
    let report = first_check(&network, &normal(8 * 60, 5), BatchShape::sequences(8, 60), None, 1)?;
    let (described, mut finding) = (network.spec(), report.root().unwrap().clone());
    assert_eq!((finding.cause, finding.since), (Cause::ExplodingRecurrence, Some(0)));
    for (since, name) in [(Some(0), "orthogonal recurrence"), (Some(40), "clipping at the typical norm")] {
        finding.since = since;
        let context = FixContext::new(&described, InputStatistics::new(1.0)?.steps(60)?, &finding).typical_norm(0.3);
        assert_eq!(suggest_fixes(&context)?[0].name, name);
    }
    Ok(())
}

#[test]
fn standardized_columns_have_mean_zero_and_variance_one() -> Result<(), Error> {
    let mut rows: Vec<f64> = normal(300, 5)
        .iter()
        .enumerate()
        .map(|(i, &x)| [3.0, 1e4, 7.0][i % 3] + [0.1, 1e3, 0.0][i % 3] * f64::from(x))
        .collect();
    let scale = Standardize::of(3, &rows)?;
    scale.apply(&mut rows)?;
    assert!(scale.apply(&mut [0.0; 4]).is_err() && Standardize::default().apply(&mut [0.0]).is_err());
    for (column, variance) in [(0, 1.0), (1, 1.0), (2, 0.0)] {
        let values: Vec<f64> = rows.iter().skip(column).step_by(3).copied().collect();
        let mean = values.iter().sum::<f64>() / 100.0;
        let square = values.iter().map(|x| x * x).sum::<f64>() / 100.0;
        assert!(mean.abs() < 1e-9 && (square - variance).abs() < 1e-9, "{column}: {mean} {square}");
    }
    assert!(Standardize::of(3, &[1.0; 4]).is_err() && Standardize::of(1, &[f64::NAN]).is_err());
    assert!(Standardize::of::<f32>(0, &[]).is_err() && Standardize::of::<f32>(2, &[]).is_err());
    Ok(())
}

/// Shaped rectifiers leave inputs a correlation of 0.9; skip connections leave them less, and come first.
#[test]
fn collapsed_representation_gets_skip_connections_first() -> Result<(), Error> {
    let network = plain(45, Relu, core::f64::consts::SQRT_2);
    let described = Layer::<f32>::spec(&network);
    let mut finding = finding(&plain(10, Sigmoid, 1.0));
    finding.cause = Cause::CollapsedRepresentation;
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    let names: Vec<&str> = fixes.iter().map(|fix| fix.name).collect();
    assert_eq!(names, ["residual branches", "another activation"]);
    Ok(())
}

/// A finding or a fix of another network is an error: it names other layers, or replaces another description.
#[test]
fn fix_of_another_network_is_refused() -> Result<(), Error> {
    let (deep, small) = (plain(10, Sigmoid, 1.0), plain(1, Sigmoid, 1.0));
    let (finding, fixes) = fixes(&deep);
    let described = Layer::<f32>::spec(&small);
    let context = FixContext::new(&described, InputStatistics::new(1.0)?, &finding);
    let refused = suggest_fixes(&context);
    assert!(matches!(refused, Err(Error::InvalidState { what: "a finding", .. })), "{refused:?}");
    let w = initialize(&small, 1)?;
    for fix in &fixes {
        let refused = fix.apply(&described, &w, 1);
        assert!(matches!(refused, Err(Error::InvalidState { what: "a fix", .. })), "{refused:?}");
        assert!(fix.apply(&Layer::<f32>::spec(&deep), &initialize(&deep, 1)?, 1).is_ok());
    }
    Ok(())
}

/// A finding of units of one layer that are off.
fn dead(network: &Sequential<f32>, layer: &str, since: Option<u64>) -> Finding {
    let mut dead = finding(&plain(10, Sigmoid, 1.0));
    (dead.cause, dead.since, dead.layer) = (Cause::DeadUnits, since, layer.into());
    (dead.decades, dead.predicted, dead.intervention) = (None, None, None);
    dead.layers.truncate(1);
    (dead.layers[0].first, dead.layers[0].last) = (layer.into(), layer.into());
    assert!(Layer::<f32>::spec(network).widths().0 == WIDTH);
    dead
}

/// Biases of −20 that the description draws would come back with any draw from it.
#[test]
fn faulty_biases_of_the_description_are_drawn_as_zero() -> Result<(), Error> {
    let mut network = Sequential::<f32>::new(WIDTH);
    network.push(Linear::new(WIDTH, WIDTH).weights(He::normal()))?;
    network.push(ActivationLayer::new(WIDTH, Relu))?;
    network.push(Linear::new(WIDTH, 32).weights(He::normal()).bias(Constant(-20.0)))?;
    network.push(ActivationLayer::new(32, Relu))?;
    network.push(Linear::new(32, 10))?;
    let (described, w) = (network.spec(), initialize(&network, 1)?);
    let finding = dead(&network, "3", Some(0));
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    assert_eq!(fixes[0].name, "parameters drawn again");
    let at = WIDTH * WIDTH + WIDTH + WIDTH * 32;
    assert_eq!(w[at..at + 32], [-20.0; 32]);
    for fix in &fixes {
        let Change::Network(_) = fix.change else { continue };
        let fixed = fix.apply(&described, &w, 2)?.expect("a change of the network");
        assert!(fixed.parameters.iter().all(|value| *value > -10.0), "{fix}");
    }
    let redrawn = fixes[0].apply(&described, &w, 2)?.expect("a change of the network").parameters;
    assert_eq!(redrawn[at..at + 32], [0.0; 32]);
    assert_eq!(redrawn[..WIDTH * WIDTH], w[..WIDTH * WIDTH], "the layer before keeps what it has learned");
    Ok(())
}

/// Dead units get another activation where they are, and healthy layers keep theirs.
#[test]
fn activation_of_the_accused_layer_alone_is_exchanged() -> Result<(), Error> {
    let mut network = Sequential::<f32>::new(WIDTH);
    for _ in 0..2 {
        network.push(Linear::new(WIDTH, WIDTH).weights(He::normal()))?;
        network.push(ActivationLayer::new(WIDTH, Relu))?;
    }
    network.push(Linear::new(WIDTH, WIDTH).weights(He::normal()))?;
    network.push(ActivationLayer::new(WIDTH, Threshold::new(6.0, 0.0)?))?;
    network.push(Linear::new(WIDTH, 10))?;
    let (described, finding) = (network.spec(), dead(&network, "5", Some(9)));
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    let fix = fixes.iter().find(|fix| fix.name == "another activation").expect("a leaky rectifier");
    let Change::Network(LayerSpec::Sequential { layers, .. }) = &fix.change else { panic!("{fix}") };
    let names = layers.iter().filter_map(|layer| match layer {
        LayerSpec::ActivationLayer { activation, .. } => Some(ActivationKind::name(activation)),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["Relu", "Relu", "LeakyRelu"]);
    Ok(())
}

/// Units that a shrinkage holds at 0 in one layer are held there in every layer that has it.
#[test]
fn activation_at_fault_is_exchanged_wherever_it_stands() -> Result<(), Error> {
    let network = plain(3, HardShrink::new(4.0)?, 1.0);
    let (described, finding) = (network.spec(), dead(&network, "5", Some(0)));
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    let fix = fixes.iter().find(|fix| fix.name == "another activation").expect("another activation");
    let Change::Network(after) = &fix.change else { panic!("{fix}") };
    assert!(!format!("{after:?}").contains("HardShrink"), "{fix}");
    Ok(())
}

/// A draw as described brings back what the description has faulty: the rows of a table, the ε of a norm.
#[test]
fn faulty_tables_and_norms_of_the_description_are_drawn_as_usual() -> Result<(), Error> {
    let table = Embedding::new(30, 8).weights(Normal { mean: 0.0, std: 300.0 });
    let network = Sequential::<f32>::input(1).layer(table).linear(8).build()?;
    let mut finding = dead(&plain(1, Tanh, 1.0), "0", Some(0));
    (finding.cause, finding.decades, finding.predicted) = (Cause::LargeWeights, Some(2.5), Some(0.0));
    let first = |network: &Sequential<f32>, finding: &Finding| -> Result<Fix, Error> {
        let described = network.spec();
        Ok(suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, finding))?.swap_remove(0))
    };
    let fix = first(&network, &finding)?;
    let Change::Network(LayerSpec::Sequential { layers, .. }) = &fix.change else { panic!("{fix}") };
    let sound = Sequential::<f32>::input(1).embedding(30, 8).linear(8).build()?.spec();
    let LayerSpec::Sequential { layers: usual, .. } = &sound else { panic!("a sequence") };
    assert_eq!(layers[0], usual[0], "{fix}");
    let norm = |epsilon| LayerNorm::new(WIDTH).epsilon(epsilon);
    let network = Sequential::<f32>::input(WIDTH).layer(norm(1e6)?).linear(8).build()?;
    (finding.cause, finding.decades, finding.fix) = (Cause::Bottleneck, Some(-3.0), "a smaller ε of this norm".into());
    let fix = first(&network, &finding)?;
    let Change::Network(LayerSpec::Sequential { layers, .. }) = &fix.change else { panic!("{fix}") };
    assert_eq!(layers[0], LayerSpec::LayerNorm(norm(1e-5)?), "{fix}");
    Ok(())
}

/// Half of a rotated state is below 0, where a rectifier cuts it off: its matrix that keeps a state is the identity.
#[test]
fn recurrent_rectifiers_get_the_identity() -> Result<(), Error> {
    let mut finding = dead(&plain(1, Relu, 1.0), "0", Some(0));
    finding.cause = Cause::ExplodingRecurrence;
    let matrix = |cell: Elman<Relu>| -> Result<String, Error> {
        let layer = Recurrent::new(4, 8, cell).recurrent(initializer::Identity::new(1.4));
        let described = Sequential::<f32>::input(4).layer(layer).linear(2).build()?.spec();
        let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
        let fix = fixes.iter().find(|fix| fix.name == "orthogonal recurrence").expect("other matrices");
        Ok(format!("{:?}", fix.change))
    };
    assert!(matrix(Elman::new(Relu))?.contains("Identity { scale: 1.0 }"));
    Ok(())
}

/// The last weights of each head fit targets of the old scale.
#[test]
fn standardized_targets_draw_every_head_again() -> Result<(), Error> {
    let head = |all: Builder<f32>| all.linear(8).tanh().linear(1);
    let network = Sequential::<f32>::input(WIDTH).linear(8);
    let network = network.parallel(Merge::Concatenate, |all| all.branch(head).branch(head)).build()?;
    let (described, mut finding) = (network.spec(), dead(&plain(1, Tanh, 1.0), "", Some(0)));
    finding.cause = Cause::UnscaledTarget;
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    assert_eq!(fixes[0].accused, ["1.0.2", "1.1.2"], "{fixes:?}");
    Ok(())
}

/// Whatever rule found it, a rate that is too low has a fix, and none that changes nothing; a low clip has one without
/// its norm; a high rate has a ladder down.
#[test]
fn rates_and_clips_have_fixes_that_change_something() -> Result<(), Error> {
    let network = plain(2, Tanh, 1.0);
    let (described, mut finding) = (network.spec(), dead(&network, "1", None));
    finding.cause = Cause::LearningRateTooLow;
    for (decades, count) in [(None, 5), (Some(-1.6), 2), (Some(-8.0), 5), (Some(f64::NEG_INFINITY), 0)] {
        finding.decades = decades;
        let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
        let factors = fixes.iter().map(|fix| match fix.change {
            Change::LearningRate(factor) => factor,
            _ => f64::NAN,
        });
        assert!(fixes.len() == count && factors.clone().all(|factor| factor > 1.7), "{decades:?} {fixes:?}");
    }
    finding.cause = Cause::LearningRateTooHigh;
    for (decades, momentum, expected) in [
        (None, 0.0, [-2.0, -1.0, -3.0]),
        (Some(0.5), 0.9, [-2.0, -3.0, -4.0]),
        // Ten times as many gradients add up to a step.
        (Some(0.5), 0.99, [-3.0, -4.0, -5.0]),
    ] {
        finding.decades = decades;
        let context = FixContext::new(&described, InputStatistics::new(1.0)?, &finding).momentum(momentum);
        let factors = suggest_fixes(&context)?.into_iter().filter_map(|fix| match fix.change {
            Change::LearningRate(factor) => Some((10.0 * factor.log10()).round() / 10.0),
            _ => None,
        });
        assert_eq!(factors.collect::<Vec<_>>(), expected, "{decades:?} {momentum}");
    }
    finding.cause = Cause::ClipThresholdTooLow;
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    assert_eq!(fixes.iter().map(|fix| &fix.change).collect::<Vec<_>>(), [&Change::FitClip]);
    Ok(())
}
