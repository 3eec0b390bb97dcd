//! Depth: a 20-layer sigmoid network on the digits, the effect of larger weights, and fixes.

use crate::{
    data::Table,
    pictures::{Curve, draw},
    progress,
};
use chainrule::{
    Activation, BatchShape,
    activation::{Relu, Selu, Sigmoid, Tanh},
    dataset::Dataset,
    initializer::{Glorot, He, Initializer, LeCun},
    layer::{ActivationLayer, LayerNorm, Linear, Mode, Residual, Sequential, initialize},
    loss::{CrossEntropy, Loss, Target},
    monitor::{Factor, GradientBudget},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::Adam,
    workspace::Workspace,
};
use std::{
    error::Error,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

const DEPTH: usize = 20;
const WIDTH: usize = 64;
const SEED: u64 = 1;

/// The structure of the hidden layers.
#[derive(Clone, Copy)]
enum Wiring {
    Plain,
    Normed,
    Skips,
}

/// Twenty layers of weights: 19 hidden layers and the output layer.
fn network<A: Activation + Clone, I: Initializer + Clone + 'static>(
    activation: A,
    initializer: I,
    wiring: Wiring,
) -> Result<Sequential<f32>, chainrule::Error> {
    let linear = |inputs, outputs| Linear::new(inputs, outputs).weights(initializer.clone());
    let mut network = Sequential::new(64);
    for layer in 0..DEPTH - 1 {
        let mut block = Sequential::new(network.width());
        block.push(linear(network.width(), WIDTH))?;
        if matches!(wiring, Wiring::Normed) {
            block.push(LayerNorm::new(WIDTH))?;
        }
        block.push(ActivationLayer::new(WIDTH, activation.clone()))?;
        match wiring {
            Wiring::Skips if layer > 0 => network.push(Residual::new(block)?)?,
            _ => network.append(block)?,
        }
    }
    network.push(linear(WIDTH, 10))?;
    Ok(network)
}

/// The budget of one pass over a batch, with the current weights.
fn budget(network: &Sequential<f32>, w: &[f32], train: &Table) -> Result<GradientBudget, chainrule::Error> {
    let (rows, mut budget) = (128.min(train.labels.len()), GradientBudget::new());
    let mut workspace = Workspace::new(network, BatchShape::batch(rows))?;
    let x = &train.inputs[..rows * train.width];
    let output = workspace.forward_with(w, x, BatchShape::batch(rows), Mode::Evaluate, &mut budget)?;
    CrossEntropy::new().evaluate(10, output.y, Target::Classes(&train.labels[..rows]), None, output.dy)?;
    workspace.backward_with(w, &mut budget)?;
    Ok(budget)
}

/// The results of a training.
struct Trained {
    accuracy: f64,
    losses: Vec<f64>,
}

fn fit(
    task: &str,
    network: &Sequential<f32>,
    train: &Table,
    test: &Table,
    epochs: usize,
) -> Result<Trained, chainrule::Error> {
    let settings = TrainConfig { batch_size: 32, epochs, seed: SEED, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, CrossEntropy::new(), Adam::new(1e-3), settings)?;
    let data = |table: &Table| (table.inputs.clone(), table.labels.clone());
    let ((x, labels), (x_test, labels_test)) = (data(train), data(test));
    let train = Dataset::rows(64, &x, Target::Classes(&labels))?;
    let test = Dataset::rows(64, &x_test, Target::Classes(&labels_test))?;
    let bar = progress::bar(task, epochs);
    let epochs = trainer.fit_with(
        &train,
        FitOptions::new().on_epoch(|_| {
            progress::advance(&bar);
            ControlFlow::Continue(())
        }),
    )?;
    let accuracy = trainer.evaluate(&test)?.accuracy.unwrap_or(0.0);
    Ok(Trained { accuracy, losses: epochs.iter().map(|epoch| epoch.loss).collect() })
}

/// ‖gradient‖ before each weight product, from input to loss.
fn by_layer(budget: &GradientBudget) -> Vec<f64> {
    let weights = |link: &&_| matches!(link, chainrule::monitor::LinkBudget { factor: Factor::Weights, .. });
    let mut norms: Vec<f64> = budget.links().iter().filter(weights).map(|link| link.norm_in.norm).collect();
    norms.extend(budget.links().last().map(|link| link.norm_out.norm));
    norms.reverse();
    norms
}

/// Runs this part; returns the names of its pictures.
pub fn report(train: &Table, test: &Table, pictures: &Path, short: bool) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let (brief, long) = if short { (1, 8) } else { (8, 40) };
    println!("## 1. A sigmoid network of {DEPTH} layers on the digits\n");
    println!("{} digits to train on, {} to test on; chance is 10 %.\n", train.labels.len(), test.labels.len());
    let sick = network(Sigmoid, Glorot::uniform(), Wiring::Plain)?;
    let sick_budget = budget(&sick, &initialize(&sick, SEED)?, train)?;
    println!("{sick_budget}");
    let shares = sick_budget.shares();
    println!(
        "\nThe gradient of the first layer is 10^{:.1} of the loss's: {:.1} decades from φ′, which sigmoid keeps at or\n\
         below ¼ in each of {} layers (at most {:.1} in all), {:+.1} from the weights.",
        shares.total(),
        shares.activation,
        DEPTH - 1,
        (DEPTH - 1) as f64 * 0.25f64.log10(),
        shares.weights,
    );
    let trained = fit("sigmoid", &sick, train, test, brief)?;
    println!("Trained for {brief} epochs (Adam, rate 1e-3): test accuracy {:.1} %.", 100.0 * trained.accuracy);
    let sick_losses = trained.losses;

    println!("\nThe same network with larger weights:\n");
    println!("{:>8} {:>14} {:>10} {:>9} {:>14}", "gain", "weights' share", "φ′'s share", "sum", "test accuracy");
    let mut sums = Vec::new();
    for gain in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0] {
        let larger = network(Sigmoid, Glorot::uniform().gain(gain), Wiring::Plain)?;
        let shares = budget(&larger, &initialize(&larger, SEED)?, train)?.shares();
        let accuracy = fit(&format!("sigmoid × {gain}"), &larger, train, test, brief)?.accuracy;
        sums.push((gain, shares, accuracy));
        println!(
            "{gain:>8} {:>+14.1} {:>+10.1} {:>+9.1} {:>12.1} %",
            shares.weights,
            shares.activation,
            shares.total(),
            100.0 * accuracy
        );
    }
    if let (Some((_, first, _)), Some((gain, last, _))) = (sums.first(), sums.last()) {
        println!(
            "\nWeights {gain} times as large give {:+.1} decades and take {:+.1} by saturating the sigmoids: what one\n\
             factor wins, the other loses.",
            last.weights - first.weights,
            last.activation - first.activation
        );
    }
    if let Some(best) = (0..sums.len()).max_by(|&a, &b| sums[a].2.total_cmp(&sums[b].2)) {
        let beside = [best.checked_sub(1), Some(best + 1)].into_iter().flatten().filter_map(|i| sums.get(i));
        let beside: Vec<String> = beside.map(|(gain, _, found)| format!("{gain}: {:.1} %", 100.0 * found)).collect();
        println!(
            "The best gain is {}, where the two come nearest to cancelling: {:.1} %. Beside it: {}. That is a knife's edge,\n\
             reached with most units saturated: no fix.",
            sums[best].0,
            100.0 * sums[best].2,
            beside.join(", ")
        );
    }

    println!("\n## 2. What helps\n");
    let fixes: Vec<(&str, Sequential<f32>)> = vec![
        ("sigmoid, Glorot (as above)", network(Sigmoid, Glorot::uniform(), Wiring::Plain)?),
        ("tanh, Glorot", network(Tanh, Glorot::uniform(), Wiring::Plain)?),
        ("SELU, LeCun", network(Selu, LeCun::normal(), Wiring::Plain)?),
        ("ReLU, He", network(Relu, He::normal(), Wiring::Plain)?),
        ("sigmoid, LayerNorm", network(Sigmoid, Glorot::uniform(), Wiring::Normed)?),
        ("sigmoid, skips", network(Sigmoid, Glorot::uniform(), Wiring::Skips)?),
    ];
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>14}",
        "fix", "weights", "φ′", "added", "other", "sum", "test accuracy"
    );
    let mut best: Option<(&str, &Sequential<f32>, f64)> = None;
    for (name, fixed) in &fixes {
        let shares = budget(fixed, &initialize(fixed, SEED)?, train)?.shares();
        let accuracy = fit(name, fixed, train, test, brief)?.accuracy;
        println!(
            "{name:<28} {:>+9.1} {:>+9.1} {:>+9.1} {:>+9.1} {:>+9.1} {:>12.1} %",
            shares.weights,
            shares.activation,
            shares.addition,
            shares.other,
            shares.total(),
            100.0 * accuracy
        );
        if best.is_none_or(|(_, _, most)| accuracy > most) {
            best = Some((name, fixed, accuracy));
        }
    }
    let Some((name, fixed, _)) = best else { return Ok(Vec::new()) };
    println!("\nThe best of them, {name}, again from its first weights:\n");
    let fixed_budget = budget(fixed, &initialize(fixed, SEED)?, train)?;
    println!("{fixed_budget}");
    let trained = fit(name, fixed, train, test, long)?;
    println!("\nTrained for {long} epochs: test accuracy {:.1} %.", 100.0 * trained.accuracy);

    let gradients = pictures.join("gradient-by-layer.svg");
    let norms = [Curve::log10("sigmoid, Glorot", by_layer(&sick_budget)), Curve::log10(name, by_layer(&fixed_budget))];
    draw(&gradients, "Gradient by layer, before training", "layer, from the input", "log10 ‖gradient‖", &norms)?;
    let losses = pictures.join("loss.svg");
    let curves = [Curve::of("sigmoid, Glorot", sick_losses), Curve::of(name, trained.losses)];
    draw(&losses, "Training loss", "epoch", "cross-entropy", &curves)?;
    Ok(vec![gradients, losses])
}
