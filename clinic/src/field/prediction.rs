//! Predictions against the first step: `clinic --prediction --cases 40`.

use super::{
    data::{Data, Tables},
    dataset,
    kinds::BATCH,
    usual_loss,
};
use crate::share;
use chainrule::{
    Activation, Error, Layer,
    activation::{Elu, Gelu, LeakyRelu, Relu, Selu, Sigmoid, Softplus, Swish, Tanh},
    dataset::Batch,
    initializer::{CriticalGain, Glorot, He, Initializer, LeCun, Orthogonal, Zeros},
    layer::{Linear, Mode, Sequential, initialize},
    monitor::Statistics,
    recurrent::{Elman, Gru, Lstm, Recurrent},
    theory::{InputStatistics, Prediction},
    workspace::Workspace,
};

type Net = Result<Sequential<f32>, Error>;

/// An architecture with its data.
struct Kind {
    name: &'static str,
    data: fn(&Tables) -> Data,
    network: fn() -> Net,
}

const fn kind(name: &'static str, data: fn(&Tables) -> Data, network: fn() -> Net) -> Kind {
    Kind { name, data, network }
}

fn stack(
    width: usize,
    depth: usize,
    activation: impl Activation + Copy,
    weights: impl Initializer + Copy + 'static,
) -> Net {
    let mut builder = Sequential::<f32>::input(64);
    for _ in 0..depth {
        let inputs = builder.width();
        builder = builder.layer(Linear::new(inputs, width).weights(weights)).activation(activation);
    }
    builder.linear(10).build()
}

fn residual(blocks: usize, scale: f64, norm: bool, last: impl Initializer + Copy + 'static) -> Net {
    let mut builder = Sequential::<f32>::input(64).linear(48);
    for _ in 0..blocks {
        let mut branch = Sequential::<f32>::input(48);
        if norm {
            branch = branch.layer_norm();
        }
        let branch = branch.layer(Linear::new(48, 48).weights(He::normal())).activation(Relu);
        let branch = branch.layer(Linear::new(48, 48).weights(last)).build()?;
        let scale = chainrule::layer::BranchScale::Fixed(scale);
        builder = builder.layer(chainrule::layer::Residual::new(branch)?.scale(scale)?);
    }
    builder.linear(10).build()
}

fn autoencoder(activation: impl Activation + Copy, weights: impl Initializer + Copy + 'static) -> Net {
    let mut builder = Sequential::<f32>::input(64);
    for width in [48, 24, 8, 24, 48] {
        let inputs = builder.width();
        builder = builder.layer(Linear::new(inputs, width).weights(weights)).activation(activation);
    }
    builder.linear(64).build()
}

fn wild(t: &Tables) -> Data {
    let mut data = t.digits();
    data.x.chunks_mut(64).for_each(|row| row[20] *= 1e4);
    data
}

fn digits(t: &Tables) -> Data {
    t.digits()
}

fn rows(t: &Tables) -> Data {
    t.digit_rows()
}

fn series(t: &Tables) -> Data {
    t.sunspots(40)
}

const KINDS: &[Kind] = &[
    kind("tanh, 6 layers", digits, || stack(64, 6, Tanh, LeCun::normal())),
    kind("tanh, critical, 30 layers", digits, || stack(64, 30, Tanh, CriticalGain::new(&Tanh)?)),
    kind("ReLU, 6 layers", digits, || stack(64, 6, Relu, He::normal())),
    kind("ReLU, 40 layers", digits, || stack(64, 40, Relu, He::normal())),
    kind("ReLU, 70 layers", digits, || stack(48, 70, Relu, He::normal())),
    kind("leaky ReLU, 20 layers", digits, || stack(64, 20, LeakyRelu::new(0.2)?, He::normal())),
    kind("sigmoid, 9 layers", digits, || stack(48, 9, Sigmoid, Glorot::uniform())),
    kind("GELU, 8 layers", digits, || stack(64, 8, Gelu, He::normal())),
    kind("softplus, 12 layers", digits, || stack(48, 12, Softplus::new(1.0)?, Glorot::uniform())),
    kind("SELU, 16 layers", digits, || stack(64, 16, Selu, LeCun::normal())),
    kind("mixed activations", digits, || {
        let net = Sequential::input(64).linear(64).activation(Relu).linear(48).activation(Tanh).linear(48);
        let net = net.activation(Gelu).linear(32).activation(Elu::new(1.0)?).linear(32).activation(Sigmoid);
        net.linear(24).activation(Swish::SILU).linear(10).build()
    }),
    kind("gated linear, 4 layers", digits, || {
        let net = Sequential::input(64).gated_linear(48, Sigmoid).gated_linear(48, Gelu).gated_linear(48, Swish::SILU);
        net.gated_linear(48, Sigmoid).linear(10).build()
    }),
    kind("bare residual, 10 blocks", digits, || residual(10, 1.0, false, LeCun::normal())),
    kind("bare residual, 30 blocks", digits, || residual(30, 1.0, false, LeCun::normal())),
    kind("scaled residual, 20 blocks", digits, || residual(20, 0.22, false, LeCun::normal())),
    kind("residual with norms, 12 blocks", digits, || residual(12, 1.0, true, LeCun::normal())),
    kind("zero branches, 8 blocks", digits, || residual(8, 1.0, true, Zeros)),
    kind("autoencoder, tanh", |t| t.autoencoded(), || autoencoder(Tanh, LeCun::normal())),
    kind("autoencoder, ReLU", |t| t.autoencoded(), || autoencoder(Relu, He::normal())),
    kind("layer norm, ReLU, 8 layers", digits, || {
        let net = (0..8).fold(Sequential::input(64), |net, _| net.linear(48).layer_norm().activation(Relu));
        net.linear(10).build()
    }),
    kind("RMS norm, GELU, 6 layers", digits, || {
        let net = (0..6).fold(Sequential::input(64), |net, _| net.linear(48).rms_norm().activation(Gelu));
        net.linear(10).build()
    }),
    kind("batch norm, ReLU, 6 layers", digits, || {
        let net = (0..6).fold(Sequential::input(64), |net, _| net.linear(48).batch_norm().activation(Relu));
        net.linear(10).build()
    }),
    kind("batch norm, tanh, 12 layers", digits, || {
        let net = (0..12).fold(Sequential::input(64), |net, _| net.linear(48).batch_norm().activation(Tanh));
        net.linear(10).build()
    }),
    kind("dropout, ReLU", digits, || {
        let net = Sequential::input(64).linear(96).relu().dropout(0.5).linear(96).relu().dropout(0.5);
        net.linear(10).build()
    }),
    kind("one wild column, tanh", wild, || stack(48, 3, Tanh, LeCun::normal())),
    kind("one wild column, ReLU", wild, || stack(48, 3, Relu, He::normal())),
    kind("LSTM", rows, || Sequential::input(8).recurrent(32, Lstm::new()).last_step().linear(10).build()),
    kind("GRU", rows, || Sequential::input(8).recurrent(32, Gru::new()).last_step().linear(10).build()),
    kind("Elman, orthogonal", rows, || {
        let layer = Recurrent::new(8, 32, Elman::new(Tanh)).recurrent(Orthogonal { gain: 1.0 });
        Sequential::input(8).linear(8).layer(layer).last_step().linear(10).build()
    }),
    kind("two LSTMs, a series", series, || {
        let net = Sequential::input(1).linear(16).recurrent(16, Lstm::new()).recurrent(16, Lstm::new());
        net.last_step().linear(1).build()
    }),
    kind("GRU both ways, mean over steps", rows, || {
        Sequential::input(8).linear(16).bidirectional(16, Gru::new()).mean_over_steps().linear(10).build()
    }),
    kind("GRU both ways, last states", series, || {
        Sequential::input(1).linear(8).bidirectional_summary(16, Gru::new()).linear(1).build()
    }),
];

/// The decades that a prediction may be off.
const NEAR: f64 = 0.3;

/// The decades from loss to first weights in the first step.
fn measured(network: &Sequential<f32>, data: &Data, seed: u64) -> Result<f64, Error> {
    let (w, samples) = (initialize(network, seed)?, dataset(data)?);
    let mut batch = Batch::new(&samples, BATCH);
    let chosen: Vec<usize> = (0..BATCH).map(|i| (i * 41 + 7 * seed as usize) % samples.samples()).collect();
    batch.gather(&samples, &chosen, false)?;
    let (mut workspace, mut seen) = (Workspace::new(network, batch.shape())?, Statistics::new());
    let output = workspace.forward_with(&w, batch.x(), batch.shape(), Mode::Train, &mut seen)?;
    let (width, y) = (Layer::<f32>::dims(network).output, output.y.to_vec());
    usual_loss(data).evaluate(width, &y, batch.target(), batch.row_weights(), output.dy)?;
    workspace.backward_with(&w, &mut seen)?;
    Ok(seen.run().decades().last())
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Prints, for each architecture whose name contains `only`, how far `nets` networks are from their prediction.
pub fn run(seed: u64, nets: u64, only: &str) -> Result<(), Box<dyn std::error::Error>> {
    let tables = Tables::read()?;
    println!(
        "{:<32} {:>9} {:>7} {:>22} {:>14}  verdict",
        "architecture", "predicted", "±", "off: 5, 50, 95 %", "within 0.3"
    );
    let (mut good, mut said, mut all) = (0, 0, 0);
    for kind in KINDS.iter().filter(|kind| kind.name.contains(only)) {
        let (data, network) = ((kind.data)(&tables), (kind.network)()?);
        let inputs = InputStatistics::of_samples(data.width, &data.x)?.steps(data.steps)?;
        let prediction = Prediction::of(&network, inputs)?;
        let predicted = prediction.decades_to_first_weights().unwrap_or(f64::NAN);
        let mut off = Vec::new();
        for net in 0..nets {
            off.push(measured(&network, &data, seed + net)? - predicted);
        }
        off.sort_by(f64::total_cmp);
        let near = off.iter().filter(|off| off.abs() <= NEAR).count();
        let spread = prediction.standard_deviation();
        let verdict = match near as f64 >= 0.95 * off.len() as f64 {
            true => "near",
            false if 2.0 * spread > NEAR => "said",
            false => "FAR",
        };
        (good, said, all) = (good + usize::from(verdict == "near"), said + usize::from(verdict == "said"), all + 1);
        let [low, middle, high] = [0.05, 0.5, 0.95].map(|share| quantile(&off, share));
        println!(
            "{:<32} {predicted:>9.2} {:>7.2} {:>22} {:>14}  {verdict}",
            kind.name,
            2.0 * spread,
            format!("{low:+.2} {middle:+.2} {high:+.2}"),
            share(near, off.len()).split(" [").next().unwrap_or_default()
        );
    }
    println!("\n{all} architectures, {nets} networks each: near {good}, said to be uncertain {said}");
    Ok(())
}
