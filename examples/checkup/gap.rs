//! Time: digits read pixel by pixel, then blank steps before the output.

use crate::{
    data::Table,
    pictures::{Curve, draw},
    progress,
};
use chainrule::{
    BatchShape,
    activation::{Relu, Tanh},
    dataset::Dataset,
    initializer::{ByGate, Constant, Glorot, Identity, Orthogonal, Zeros},
    layer::{Mode, Sequential, initialize},
    loss::{CrossEntropy, Loss, Target},
    monitor::{Factor, GradientBudget, Shares},
    recurrent::{Elman, Gru, Lstm, Recurrent},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, GradientTransform},
    workspace::Workspace,
};
use std::{
    error::Error,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

const PIXELS: usize = 64;
const GAP: usize = 100;
const STEPS: usize = PIXELS + GAP;
const HIDDEN: usize = 32;
const SEED: u64 = 3;
const RATES: [f64; 3] = [0.003, 0.01, 0.03];
/// Steps over which the gates hold the state at first: σ(4) a step leaves e⁻¹ after 55 steps.
const OPEN: f64 = 4.0;

/// One kind of recurrent layer, and whether its gradient is clipped at a global norm of 1.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Large { clipped: bool },
    Small,
    Orthogonal,
    Identity,
    Lstm,
    Gru,
}

const KINDS: [Kind; 7] = [
    Kind::Large { clipped: false },
    Kind::Large { clipped: true },
    Kind::Small,
    Kind::Orthogonal,
    Kind::Identity,
    Kind::Lstm,
    Kind::Gru,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Large { clipped: false } => "tanh, large weights, no clipping",
            Kind::Large { clipped: true } => "tanh, large weights",
            Kind::Small => "tanh, small weights",
            Kind::Orthogonal => "tanh, orthogonal",
            Kind::Identity => "ReLU, identity (IRNN)",
            Kind::Lstm => "LSTM, forget bias 4, input −4",
            Kind::Gru => "GRU, update bias 4",
        }
    }

    fn network(self) -> Result<Sequential<f32>, chainrule::Error> {
        let tanh = || Recurrent::new(1, HIDDEN, Elman::new(Tanh));
        let open = |gate| ByGate::new(Zeros).gate(gate, Constant(OPEN)).gate("input", Constant(-OPEN));
        let mut network = Sequential::new(1);
        match self {
            // With Glorot the spectral radius is near the gain.
            Kind::Large { .. } => network.push(tanh().recurrent(Glorot::normal().gain(2.0))),
            Kind::Small => network.push(tanh().recurrent(Glorot::normal().gain(0.5))),
            Kind::Orthogonal => network.push(tanh().recurrent(Orthogonal::default())),
            Kind::Identity => network.push(Recurrent::new(1, HIDDEN, Elman::new(Relu)).recurrent(Identity::default())),
            Kind::Lstm => network.push(Recurrent::new(1, HIDDEN, Lstm::new()).bias(open("forget"))),
            Kind::Gru => network.push(Recurrent::new(1, HIDDEN, Gru::new()).bias(open("update"))),
        }?;
        network.push(chainrule::layer::LastStep::new(HIDDEN))?;
        network.push(chainrule::layer::Linear::new(HIDDEN, 10))?;
        Ok(network)
    }

    fn transform(self, rate: f64) -> Box<dyn GradientTransform<f32>> {
        match self {
            Kind::Large { clipped: false } => Box::new(Adam::new(rate)),
            _ => Box::new((ClipNorm::new(1.0), Adam::new(rate))),
        }
    }
}

/// Each digit as 64 pixels, one a step, then blank steps.
fn sequences(table: &Table) -> Vec<f32> {
    table.inputs.chunks(PIXELS).flat_map(|pixels| pixels.iter().copied().chain([0.0; GAP])).collect()
}

/// The budget over time of one batch, with the initial weights.
fn budget(kind: Kind, inputs: &[f32], labels: &[usize]) -> Result<GradientBudget, chainrule::Error> {
    let (network, batch) = (kind.network()?, 32);
    let w = initialize(&network, SEED)?;
    let shape = BatchShape::sequences(batch, STEPS);
    let mut workspace = Workspace::new(&network, shape)?;
    let mut budget = GradientBudget::new();
    let data = Dataset::sequences(1, STEPS, inputs, Target::Classes(labels))?;
    let mut rows = chainrule::dataset::Batch::new(&data, batch);
    rows.gather(&data, &(0..batch).collect::<Vec<_>>(), false)?;
    let output = workspace.forward_with(&w, rows.x(), shape, Mode::Evaluate, &mut budget)?;
    CrossEntropy::new().evaluate(10, output.y, rows.target(), None, output.dy)?;
    workspace.backward_with(&w, &mut budget)?;
    Ok(budget)
}

/// The result of training at one learning rate.
#[derive(Clone)]
struct Run {
    accuracy: f64,
    losses: Vec<f64>,
}

fn fit(
    kind: Kind,
    rate: f64,
    train: &Dataset<'_, f32>,
    test: &Dataset<'_, f32>,
    epochs: usize,
) -> Result<Run, chainrule::Error> {
    let settings = TrainConfig { batch_size: 32, epochs, seed: SEED, ..TrainConfig::default() };
    let network = kind.network()?;
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), kind.transform(rate), settings)?;
    let mut losses = Vec::new();
    let mut note = |epoch: &chainrule::trainer::Epoch| {
        losses.push(epoch.loss);
        if epoch.loss.is_finite() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match trainer.fit_with(train, FitOptions::new().on_epoch(&mut note)) {
        Err(chainrule::Error::NonFiniteParameters { .. }) => losses.push(f64::NAN),
        other => drop(other?),
    }
    let accuracy = trainer.evaluate(test)?.accuracy.unwrap_or(0.0);
    Ok(Run { accuracy, losses })
}

/// Trains all kinds at all learning rates, one network each, on two threads.
fn fit_all(train: &Dataset<'_, f32>, test: &Dataset<'_, f32>, epochs: usize) -> Result<Vec<Run>, chainrule::Error> {
    let jobs: Vec<(Kind, f64)> = KINDS.iter().rev().flat_map(|&kind| RATES.map(|rate| (kind, rate))).collect();
    let (next, bar) = (AtomicUsize::new(0), progress::bar("pixel by pixel", jobs.len()));
    let results: Mutex<Vec<Option<Result<Run, chainrule::Error>>>> = Mutex::new(vec![None; jobs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(kind, rate)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = fit(kind, rate, train, test, epochs);
                    progress::advance(&bar);
                    let place = jobs.iter().position(|job| *job == (kind, rate)).unwrap_or(0);
                    if let Ok(mut results) = results.lock() {
                        results[place] = Some(run);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_default();
    let mut runs: Vec<Run> = results.into_iter().flatten().collect::<Result<_, _>>()?;
    // The slowest kinds ran first; the table lists them last.
    let mut in_order = Vec::new();
    while runs.len() >= RATES.len() {
        in_order.extend(runs.split_off(runs.len() - RATES.len()));
    }
    Ok(in_order)
}

/// Runs this part; returns the names of its pictures.
pub fn report(train: &Table, test: &Table, pictures: &Path, short: bool) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let epochs = if short { 1 } else { 20 };
    println!("\n## 3. Each digit as {PIXELS} pixels, one a step, and {GAP} blank steps before the answer\n");
    let (x, x_test) = (sequences(train), sequences(test));
    println!("The gradient over time, before training: decades per 100 steps back, and where they come from.\n");
    println!("{:<34} {:>9} {:>9} {:>9} {:>26}", "", "weights", "φ′, gates", "sum", "‖dL/d(h, c)‖ first, last step");
    let mut by_step = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Large { clipped: false }) {
        let budget = budget(kind, &x, &train.labels)?;
        let norms = budget.state_gradients("0");
        // As far back as the gradient is not zero, which it may become in f32.
        let live = norms.iter().rposition(|&norm| norm == 0.0).map_or(0, |zero| zero + 1);
        let links = budget.steps_of("0").filter(|link| link.factor != Factor::Addition);
        let shares = Shares::of(links.filter(|link| link.step.is_some_and(|step| step > live)));
        let per = 100.0 / (STEPS - 1 - live).max(1) as f64;
        println!(
            "{:<34} {:>+9.2} {:>+9.2} {:>+9.2} {:>15.1e}, {:.1e}{}",
            kind.name(),
            shares.weights * per,
            shares.activation * per,
            shares.total() * per,
            norms.first().unwrap_or(&0.0),
            norms.last().unwrap_or(&0.0),
            if live > 0 { format!("; exactly 0 before step {live}") } else { String::new() }
        );
        by_step.push(Curve::log10(kind.name(), norms));
    }
    println!(
        "\nTraining: {HIDDEN} units, Adam, gradient clipped at a global norm of 1 unless told otherwise, {epochs} epochs,\n\
         the same three rates for all.\n"
    );
    let classes = |table: &'_ Table| table.labels.clone();
    let (labels, labels_test) = (classes(train), classes(test));
    let train = Dataset::sequences(1, STEPS, &x, Target::Classes(&labels))?;
    let test = Dataset::sequences(1, STEPS, &x_test, Target::Classes(&labels_test))?;
    let runs = fit_all(&train, &test, epochs)?;
    let rates = RATES.map(|rate| format!("rate {rate}"));
    println!("{:<34} {:>11} {:>11} {:>11}   best: test accuracy, training loss", "", rates[0], rates[1], rates[2]);
    let mut best: Vec<(Kind, Run)> = Vec::new();
    for (kind, runs) in KINDS.into_iter().zip(runs.chunks(RATES.len())) {
        print!("{:<34}", kind.name());
        runs.iter().for_each(|run| print!(" {:>9.1} %", 100.0 * run.accuracy));
        if let Some(run) = runs.iter().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy)) {
            println!("   {:.1} %, {:.3}", 100.0 * run.accuracy, run.losses.last().unwrap_or(&f64::NAN));
            best.push((kind, run.clone()));
        }
    }
    verdict(&best);
    let gradients = pictures.join("gradient-by-step.svg");
    draw(&gradients, "Gradient by time step, before training", "step", "log10 ‖dL/d(h, c)‖", &by_step)?;
    let losses = pictures.join("loss-by-cell.svg");
    let curves: Vec<Curve> = best
        .into_iter()
        .map(|(kind, run)| Curve::of(kind.name(), run.losses))
        .filter(|c| !c.points.is_empty())
        .collect();
    draw(&losses, "Training loss, best rate of each", "epoch", "cross-entropy", &curves)?;
    Ok(vec![gradients, losses])
}

/// Prints the conclusions.
fn verdict(best: &[(Kind, Run)]) {
    let of = |wanted: &[Kind]| -> (f64, &'static str, f64) {
        let runs = best.iter().filter(|(kind, _)| wanted.contains(kind));
        let best = runs.max_by(|a, b| a.1.accuracy.total_cmp(&b.1.accuracy));
        let loss = |run: &Run| run.losses.last().copied().unwrap_or(f64::NAN);
        best.map_or((0.0, "", f64::NAN), |(kind, run)| (run.accuracy, kind.name(), loss(run)))
    };
    let plain = of(&[Kind::Large { clipped: false }, Kind::Large { clipped: true }, Kind::Small]);
    let gated = of(&[Kind::Lstm, Kind::Gru]);
    let (clipped, free) = (of(&[Kind::Large { clipped: true }]), of(&[Kind::Large { clipped: false }]));
    println!(
        "\nWith a gap of {GAP}: the plain RNN reaches {:.1} % ({}), a gated cell {:.1} % ({}).",
        100.0 * plain.0,
        plain.1,
        100.0 * gated.0,
        gated.1
    );
    println!(
        "Clipping the exploding gradient: loss {:.3} and {:.1} % with, loss {:.3} and {:.1} % without. It bounds the\n\
         step; it does not bring the direction back.",
        clipped.2,
        100.0 * clipped.0,
        free.2,
        100.0 * free.0
    );
    for kind in [Kind::Orthogonal, Kind::Identity] {
        let (accuracy, name, _) = of(&[kind]);
        let verdict = if accuracy > 2.0 * plain.0.max(0.1) { "rescues" } else { "does not rescue" };
        println!("{name}: {:.1} %; it {verdict} the plain RNN here.", 100.0 * accuracy);
    }
}
