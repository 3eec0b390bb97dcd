//! The place of a fault over depth: as long as the fault that was planted.

use crate::numbers::seeded_numbers;
use chainrule::{
    Activation, BatchShape, Blocks, Error, Layer,
    activation::{Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Cause, Diagnosis, Finding, Report, check_parameters},
    initializer::{CriticalGain, He, Initializer, LeCun},
    layer::{ActivationLayer, Linear, Sequential, initialize},
    loss::{CrossEntropy, Target},
    monitor::Statistics,
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
};

const WIDTH: usize = 48;
const DEPTH: usize = 40;
const ROWS: usize = 64;

/// 40 hidden layers, and an output layer.
fn network<A, I>(activation: A, weights: I) -> Result<Sequential<f32>, Error>
where
    A: Activation + Copy,
    I: Initializer + Copy + 'static,
{
    let mut network = Sequential::new(WIDTH);
    for _ in 0..DEPTH {
        network.push(Linear::new(WIDTH, WIDTH).weights(weights))?;
        network.push(ActivationLayer::new(WIDTH, activation))?;
    }
    network.push(Linear::new(WIDTH, 4))?;
    Ok(network)
}

/// The initial parameters, with the weights of some hidden layers times a factor.
fn scaled(network: &Sequential<f32>, seed: u64, factor: impl Fn(usize) -> f32) -> Result<Vec<f32>, Error> {
    let mut w = initialize(network, seed)?;
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    for layer in 0..DEPTH {
        let weights = &mut w[blocks.get(&format!("{}.weight", 2 * layer))?.range.clone()];
        weights.iter_mut().for_each(|w| *w *= factor(layer));
    }
    Ok(w)
}

fn inputs() -> Vec<f32> {
    seeded_numbers(3, ROWS * WIDTH).into_iter().map(|x: f32| 1.7 * x).collect()
}

fn check(network: &Sequential<f32>, w: &[f32]) -> Result<Report, Error> {
    check_parameters(network, w, &inputs(), BatchShape::batch(ROWS), None)
}

/// The report of some steps without interventions.
fn watched(network: &Sequential<f32>, w: &[f32]) -> Result<Report, Error> {
    let (x, classes) = (inputs(), (0..ROWS).map(|row| row % 4).collect::<Vec<_>>());
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&classes))?;
    let mut trainer = Trainer::new(network, CrossEntropy::new(), Sgd::new(1e-30), TrainConfig::default())?;
    trainer.parameters_mut().copy_from_slice(w);
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
    for _ in 0..3 {
        trainer.step(&data, &mut batch, &(0..32).collect::<Vec<_>>(), &mut seen)?;
    }
    Ok(Diagnosis::new(network, InputStatistics::of_rows(&x)?)?.statistics(&seen).report())
}

fn root(report: &Report) -> &Finding {
    report.root().unwrap_or_else(|| panic!("nothing found: {report}"))
}

/// First and last index of the layers of the root finding, which are one range.
fn range(report: &Report) -> [usize; 2] {
    let [range] = &root(report).layers[..] else { panic!("{report}") };
    [&range.first, &range.last].map(|layer| layer.parse().unwrap_or_else(|_| panic!("{report}")))
}

#[test]
fn weights_that_are_small_in_all_layers_are_placed_in_all_layers() -> Result<(), Error> {
    let described = network(Relu, He::normal().gain(0.5))?;
    let forecast = Diagnosis::new(&described, InputStatistics::new(1.0)?)?.report();
    assert_eq!((root(&forecast).cause, range(&forecast)), (Cause::SmallWeights, [2, 78]), "{forecast}");
    let sound = network(Relu, He::normal())?;
    for seed in 0..8 {
        let report = check(&described, &initialize(&described, seed)?)?;
        assert_eq!((root(&report).cause, range(&report)), (Cause::SmallWeights, [2, 78]), "{report}");
        let w = scaled(&sound, seed, |_| 0.5)?;
        for report in [check(&sound, &w)?, watched(&sound, &w)?] {
            assert_eq!(root(&report).cause, Cause::SmallWeights, "{report}");
            let [first, last] = range(&report);
            assert!(first <= 4 && last >= 76, "{report}");
        }
    }
    Ok(())
}

#[test]
fn one_bad_layer_of_forty_is_that_layer() -> Result<(), Error> {
    let sound = network(Relu, He::normal())?;
    for (seed, bad) in [(0, 7), (1, 20), (2, 33), (3, 1)] {
        for (factor, cause) in [(1e-4, Cause::Bottleneck), (1e4, Cause::LargeWeights)] {
            let w = scaled(&sound, seed, |layer| if layer == bad { factor } else { 1.0 })?;
            let report = check(&sound, &w)?;
            assert_eq!((root(&report).cause, range(&report)), (cause, [2 * bad; 2]), "{report}");
            assert!(root(&report).place() == format!("layer {}", 2 * bad), "{report}");
        }
    }
    Ok(())
}

#[test]
fn block_of_bad_layers_is_that_block() -> Result<(), Error> {
    let sound = network(Relu, He::normal())?;
    for (seed, [first, last]) in [(0, [10, 18]), (1, [3, 11]), (2, [28, 38]), (3, [14, 31])] {
        for factor in [0.05, 0.25, 3.0] {
            let w = scaled(&sound, seed, |layer| if (first..=last).contains(&layer) { factor } else { 1.0 })?;
            for (report, measured) in [(check(&sound, &w)?, true), (watched(&sound, &w)?, false)] {
                let found = range(&report);
                let near = found[0].abs_diff(2 * first) <= 2 && found[1].abs_diff(2 * last) <= 2;
                assert!(near, "{factor} {first} {last}: {report}");
                let told = format!("the weights of layers {} to {}", found[0], found[1]);
                assert!(!measured || root(&report).because.contains(&told), "{report}");
            }
        }
    }
    Ok(())
}

#[test]
fn activation_that_saturates_everywhere_is_placed_everywhere() -> Result<(), Error> {
    let network = network(Sigmoid, LeCun::normal())?;
    let forecast = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.report();
    for report in [forecast, check(&network, &initialize(&network, 1)?)?] {
        assert_eq!((root(&report).cause, range(&report)), (Cause::SaturatingActivation, [1, 79]), "{report}");
        assert!(report.to_string().contains("saturating activation in layers 1 to 79: "), "{report}");
        assert!(report.to_html().contains("saturating activation, layers 1 to 79"));
    }
    Ok(())
}

#[test]
fn units_that_saturate_in_all_layers_are_one_range() -> Result<(), Error> {
    let critical = CriticalGain::new(&Tanh)?;
    let sound = network(Tanh, critical)?;
    let report = check(&sound, &scaled(&sound, 1, |_| 6.0)?)?;
    let [first, last] = range(&report);
    assert!(root(&report).cause == Cause::LargeWeights && first <= 2 && last >= 78, "{report}");
    let one = check(&sound, &scaled(&sound, 1, |layer| if layer == 12 { 50.0 } else { 1.0 })?)?;
    assert_eq!((root(&one).cause, range(&one)), (Cause::LargeWeights, [25, 25]), "{one}");
    let zero = check(&sound, &scaled(&sound, 1, |_| 0.0)?)?;
    assert_eq!((root(&zero).cause, range(&zero)), (Cause::ConstantWeights, [0, 78]), "{zero}");
    let equal = scaled(&sound, 1, |_| 0.0)?.iter().map(|_| 0.03).collect::<Vec<f32>>();
    let report = watched(&sound, &equal)?;
    assert_eq!((root(&report).cause, root(&report).layer.as_str()), (Cause::ConstantWeights, "0"), "{report}");
    Ok(())
}

#[test]
fn words_are_explained_in_the_long_form_alone() -> Result<(), Error> {
    let network = network(Sigmoid, LeCun::normal())?;
    let report = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.report();
    let [short, long] = [format!("{report}"), format!("{report:#}")];
    assert!(!short.contains("\nwords\n") && long.contains("\nwords\n  decades: "), "{long}");
    let (before, after) = long.split_once("\nwords\n").unwrap();
    let table = after.split_once("\n\n").unwrap().1;
    assert_eq!(short, format!("{before}\n\n{table}"));
    Ok(())
}

#[cfg(feature = "serde")]
#[test]
fn ranges_are_part_of_the_json() -> Result<(), Error> {
    let network = network(Relu, He::normal().gain(0.5))?;
    let report = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.report();
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    let range = &json["findings"][0]["layers"][0];
    assert_eq!((range["first"].as_str(), range["last"].as_str()), (Some("2"), Some("78")), "{json}");
    Ok(())
}
