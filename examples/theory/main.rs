//! Theory beside practice: predictions of gradients before training, and measurements.
//!
//! `cargo run --release --example theory` takes two minutes on two cores, `-- --short` some seconds; `-- --full` adds
//! networks of width 256, and takes ten minutes. `-- --pictures DIR` sets the folder of its two pictures.

mod cliff;
#[allow(dead_code)] // not every example reads every file
#[path = "../data/mod.rs"]
mod data;
mod depths;
mod thousand;

use chainrule::{
    Activation, BatchShape, Error, Layer, Role,
    activation::*,
    dataset::Standardize,
    initializer::*,
    layer::{ActivationLayer, Linear, Mode, Sequential, initialize},
    monitor::{Factor, GradientBudget, GradientMonitor, Link},
    random::{self, generator},
    theory::{InputStatistics, LyapunovSpectrum, Prediction, SingleInput},
    workspace::Workspace,
};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Instant};

const SEEDS: u64 = 20;
/// Rows of the batch that is compared with the wide limit.
const BATCH: usize = 64;
/// Random networks that are compared with one input's prediction.
const WALKS: usize = 400;

fn normals(count: usize, seed: u64) -> Vec<f32> {
    let (mut rng, mut source) = (generator(seed), random::Normals::new());
    (0..count).map(|_| source.next(&mut rng) as f32).collect()
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// Layers of weights, each with its activation.
fn plain(
    [width, depth]: [usize; 2],
    activation: &(impl Activation + Clone),
    weights: &InitializerKind,
    bias: &InitializerKind,
) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(width);
    for _ in 0..depth {
        network.push(Linear::new(width, width).weights(weights.clone()).bias(bias.clone()))?;
        network.push(ActivationLayer::new(width, activation.clone()))?;
    }
    Ok(network)
}

/// Such a network for the digits, with an output layer for ten classes.
fn classifier(
    [width, depth]: [usize; 2],
    weights: &InitializerKind,
    bias: &InitializerKind,
) -> Result<Sequential<f32>, Error> {
    let mut network = plain([width, depth], &Tanh, weights, bias)?;
    network.push(Linear::new(width, 10).weights(LeCun::normal()).bias(Zeros))?;
    Ok(network)
}

/// A forward and a backward pass of a network, with a random gradient at its output.
fn pass(
    workspace: &mut Workspace<f32, &Sequential<f32>>,
    network: &Sequential<f32>,
    x: &[f32],
    seed: u64,
    monitor: &mut dyn GradientMonitor<f32>,
) -> Result<(), Error> {
    let w: Vec<f32> = initialize(network, 1000 + seed)?;
    let rows = BatchShape::batch(x.len() / network.dims().input);
    let output = workspace.forward_with(&w, x, rows, Mode::Train, monitor)?;
    output.dy.copy_from_slice(&normals(output.dy.len(), 5000 + seed));
    workspace.backward_with(&w, monitor)?;
    Ok(())
}

/// log10 of the input gradient's norm over the output gradient's, for several networks on the rows `x`.
fn measured(network: &Sequential<f32>, x: &[f32], seeds: u64) -> Result<Vec<f64>, Error> {
    let mut workspace = Workspace::new(network, BatchShape::batch(x.len() / network.dims().input))?;
    workspace.compute_input_gradient(true);
    let mut budget = GradientBudget::new();
    let of_net = |seed| {
        pass(&mut workspace, network, x, seed, &mut budget)?;
        Ok(budget.shares().total())
    };
    (0..seeds).map(of_net).collect()
}

/// Numbers of comparisons made, and of those beyond the tolerance.
#[derive(Default)]
struct Tally([[usize; 2]; 2]);

/// One activation with three initializations: the wide limit beside a batch, finite width beside one input.
fn compare(activation: impl Activation + Clone, size: [usize; 2], tally: &mut Tally) -> Result<(), Error> {
    let zeros = Zeros.kind();
    let third = match CriticalGain::new(&activation) {
        Ok(gain) => ("critical", gain.kind(), gain.kind()),
        Err(_) => ("uniform", Uniform::within(0.2).kind(), zeros.clone()),
    };
    let first = [("He", He::normal().kind(), zeros.clone()), ("Glorot", Glorot::normal().kind(), zeros)];
    for (name, weights, bias) in first.into_iter().chain([third]) {
        let network = plain(size, &activation, &weights, &bias)?;
        let x = normals(BATCH * size[0], 7);
        let of_batch = Prediction::of(&network, InputStatistics::of_rows(&x)?)?;
        let one = &x[..size[0]];
        let Some(of_one) = SingleInput::of(&network, InputStatistics::of_rows(one)?, WALKS)? else { continue };
        print!("{:<10} {name:<9} {:>5} {:>5}", AnyActivation::name(&activation), size[0], size[1]);
        let predicted = [of_batch.decades().unwrap_or(f64::NAN), of_one.mean()];
        for (kind, (predicted, rows)) in predicted.into_iter().zip([&x[..], one]).enumerate() {
            let (mean, deviation) = mean_and_deviation(&measured(&network, rows, SEEDS)?);
            let allowed = (3.0 * deviation / (SEEDS as f64).sqrt()).max(0.002 * size[1] as f64);
            let outside = (mean - predicted).abs() > allowed;
            tally.0[kind][0] += 1;
            tally.0[kind][1] += usize::from(outside);
            let mark = if outside { '*' } else { ' ' };
            print!("  {predicted:>8.3} {mean:>8.3} {allowed:>7.3}{mark}");
            if kind == 1 {
                print!(" {:>6.3} {deviation:>6.3}", of_one.standard_deviation());
            }
        }
        match of_batch.trainable_depth() {
            Some(depth) if depth < 1e6 => println!(" {depth:>7.0}"),
            Some(_) => println!(" {:>7}", "∞"),
            None => println!(" {:>7}", "–"),
        }
    }
    Ok(())
}

fn gains(short: bool, full: bool) -> Result<(), Error> {
    println!("## 1. Predicted and measured: decades from output to input, {SEEDS} nets\n");
    println!(
        "A batch of {BATCH} normal rows beside the wide limit (mean field), one row beside the walk of finite width. Allowed\n\
         is the larger of 3 standard errors and 0.02 decades per 10 layers; * is outside. 6ξ: trainable depth.\n"
    );
    println!("{:<32}  {:^26}  {:^40}", "", "batch", "one input");
    let columns = format!("{:>8} {:>8} {:>8}", "predict.", "measured", "allowed ");
    println!(
        "{:<10} {:<9} {:>5} {:>5}  {columns}  {columns} {:>6} {:>6} {:>7}",
        "activation", "weights", "width", "depth", "± pre.", "± mea.", "6ξ"
    );
    let widths: &[usize] = if full { &[64, 256] } else { &[64] };
    let depths: &[usize] = if short { &[10] } else { &[10, 30, 50] };
    let sizes = widths.iter().flat_map(|&width| depths.iter().map(move |&depth| [width, depth]));
    let mut tally = Tally::default();
    for size in sizes {
        compare(Tanh, size, &mut tally)?;
        compare(Sigmoid, size, &mut tally)?;
        compare(Relu, size, &mut tally)?;
        compare(LeakyRelu::default(), size, &mut tally)?;
        compare(Selu, size, &mut tally)?;
        compare(Gelu, size, &mut tally)?;
        compare(Swish::default(), size, &mut tally)?;
        compare(Softsign, size, &mut tally)?;
        compare(Erf, size, &mut tally)?;
        compare(Softplus::default(), size, &mut tally)?;
    }
    let [[batches, off], [inputs, off_one]] = tally.0;
    println!("\noutside: {off} of {batches} batches, {off_one} of {inputs} single inputs");
    println!(
        "Most batches outside are of Gelu, Swish and Softplus, where a departure of the variance grows with depth: rows part,\n\
         and the few longest gradients make a batch's length, which no series in 1/width reaches. The others are narrow and\n\
         deep: the wide limit leaves out that the mean of a logarithm is below the logarithm of the mean, by half its variance\n\
         over nets. One input is drawn exactly; at 3 standard errors of {SEEDS} nets one row of a hundred is outside by chance."
    );
    Ok(())
}

/// Hanin & Nica 2018: over nets, ln‖Ju‖² of one input is about N(−β/2, β).
fn lottery(short: bool) -> Result<(), Error> {
    println!("\n## 2. The lottery: one input's gradient over nets of width 32\n");
    println!(
        "{:<18} {:>5} {:>6}  {:>8} {:>8}  {:>8} {:>8}  {:>15} {:>9}",
        "", "depth", "β", "mean", "measured", "±", "measured", "below −1 decade", "measured"
    );
    let (nets, depths): (_, &[usize]) = if short { (50, &[5, 10]) } else { (1000, &[5, 10, 20, 40]) };
    for &depth in depths {
        let relu = plain([32, depth], &Relu, &He::normal().kind(), &Zeros.kind())?;
        let linear = plain([32, depth], &Identity, &LeCun::normal().kind(), &Zeros.kind())?;
        for (name, network) in [("ReLU, He", relu), ("linear, LeCun", linear)] {
            let x = normals(32, 3);
            let inputs = InputStatistics::of_rows(&x)?;
            let prediction = Prediction::of(&network, inputs)?;
            let Some(walk) = SingleInput::of(&network, inputs, 2000)? else { continue };
            let found = measured(&network, &x, nets)?;
            let (mean, deviation) = mean_and_deviation(&found);
            let below = found.iter().filter(|decades| **decades < -1.0).count() as f64 / found.len() as f64;
            println!(
                "{name:<18} {depth:>5} {:>6.2}  {:>8.3} {mean:>8.3}  {:>8.3} {deviation:>8.3}  {:>14.1}% {:>8.1}%",
                prediction.beta(),
                prediction.decades().unwrap_or(f64::NAN) - prediction.beta() / 4.0 / std::f64::consts::LN_10,
                prediction.standard_deviation(),
                100.0 * walk.below(-1.0),
                100.0 * below
            );
        }
    }
    Ok(())
}

/// Newman 1986: λ_i of products of random matrices, from the digamma function.
fn newman(short: bool) -> Result<(), Error> {
    const N: usize = 32;
    let nets = if short { 1 } else { 20 };
    println!("\n## 3. Newman's exponents: products of {N} × {N} matrices of N(0, 1/{N}) entries\n");
    println!("{:<5} {:>9} {:>9} {:>9}", "", "theory", "measured", "±");
    let mut found: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for seed in 0..nets {
        let (mut rng, mut jacobian) = (generator(seed), vec![0.0; N * N]);
        let mut spectrum = LyapunovSpectrum::new(N, N)?;
        for step in 0..440 {
            if step == 40 {
                spectrum.settle();
            }
            let entries = Normal { mean: 0.0, std: (1.0 / N as f64).sqrt() };
            entries.fill(Shape::new(N, N, Role::Recurrent), &mut rng, &mut jacobian)?;
            spectrum.push(&jacobian)?;
        }
        for (i, exponent) in spectrum.exponents().into_iter().enumerate() {
            found.entry(i).or_default().push(exponent);
        }
    }
    for (i, theory) in [(0, -0.01579), (15, -0.34625), (31, -2.36805)] {
        let (mean, deviation) = mean_and_deviation(&found[&i]);
        println!("λ_{:<3} {theory:>9.5} {mean:>9.5} {:>9.5}", i + 1, deviation / (nets as f64).sqrt());
    }
    Ok(())
}

/// Standard deviations of each activation's output, and of the gradient with respect to its input.
#[derive(Default)]
struct PerLayer {
    activations: Vec<f64>,
    gradients: Vec<f64>,
}

fn root_mean_square(values: &[f32]) -> f64 {
    (values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

impl GradientMonitor<f32> for PerLayer {
    fn forward(&mut self, at: &Link<'_>, _x: &[f32], y: &[f32]) {
        if at.factor == Factor::Activation {
            self.activations.push(root_mean_square(y));
        }
    }
    fn backward(&mut self, at: &Link<'_>, _dy: &[f32], dx: &[f32]) {
        if at.factor == Factor::Activation {
            self.gradients.insert(0, root_mean_square(dx));
        }
    }
}

/// Glorot & Bengio 2010, Fig. 6–7: five tanh layers under 1/√n and under their own initialization.
fn glorot(short: bool) -> Result<(), Error> {
    let width = if short { 100 } else { 1000 };
    println!("\n## 4. Glorot & Bengio 2010, Fig. 6 and 7: five tanh layers of {width}\n");
    println!("{:<34} {:>8} {:>8} {:>8} {:>8} {:>8}", "standard deviation at layer", 1, 2, 3, 4, 5);
    let standard = LeCun::uniform().gain(1.0 / 3f64.sqrt()).kind();
    for (name, weights) in [("standard, 1/√n", standard), ("Glorot", Glorot::uniform().kind())] {
        let network = plain([width, 5], &Tanh, &weights, &Zeros.kind())?;
        let mut workspace = Workspace::new(&network, BatchShape::batch(32))?;
        let mut seen = PerLayer::default();
        pass(&mut workspace, &network, &normals(32 * width, 2), 1, &mut seen)?;
        for (what, row) in [("activations", &seen.activations), ("gradients", &seen.gradients)] {
            print!("{:<34}", format!("{name}: {what}"));
            row.iter().for_each(|value| print!(" {value:>8.4}"));
            println!();
        }
    }
    println!(
        "\nUnder 1/√n both shrink at each layer, on their way; under Glorot the gradient stays, activations nearly."
    );
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let (mut short, mut full, mut pictures) = (false, false, PathBuf::from("pictures"));
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => short = true,
            "--full" => full = true,
            "--pictures" => pictures = words.next().ok_or("--pictures needs a folder")?.into(),
            _ => return Err(format!("{word}: expected --short, --full or --pictures DIR").into()),
        }
    }
    std::fs::create_dir_all(&pictures).map_err(|error| format!("{}: {error}", pictures.display()))?;
    let (mut train, mut test) = data::digits()?.split(1);
    let columns = Standardize::of(train.width, &train.inputs)?;
    columns.apply(&mut train.inputs)?;
    columns.apply(&mut test.inputs)?;
    gains(short, full)?;
    lottery(short)?;
    newman(short)?;
    glorot(short)?;
    cliff::report(&pictures.join("cliff.svg"))?;
    depths::report(&train, &pictures.join("trainable-depth.svg"), short)?;
    thousand::report(&train, &test, short)?;
    println!("\nDone in {:.0} s.", start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("theory: {error}");
            ExitCode::FAILURE
        }
    }
}
