//! `Debug` of what holds many numbers: its shape, at any size in a few lines.

use chainrule::{
    BatchShape, Blocks, GradientMonitor, Layer, Role, Scalar,
    checkpoint::Checkpoint,
    dataset::{Batch, Dataset},
    distributed::DataParallel,
    layer::{Context, Linear, Merge, Parallel, Residual, Sequential, initialize},
    loss::{MeanSquaredError, Rows, Target},
    model::{Model, ModuleNames, StateDict, export_state_dict},
    monitor::{Event, Link, RunRecord, Statistics},
    recurrent::{
        Bidirectional, Cell, CellBackward, CellForward, CellSizes, CheckpointInterval, Checkpointed, Lstm, Recurrent,
        Reversed,
    },
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, AdamW, Muon, Optimizer, PerGroup, Sgd, Update},
    workspace::Workspace,
};
use std::fmt::Debug;

/// A value that none of the sizes has, and that every slice below holds.
const MARK: f64 = 0.123_456_789;

/// Fails unless the text is short, has all `words`, and holds no value of a slice.
fn reads(what: &impl Debug, words: &[&str]) {
    let text = format!("{what:?}");
    assert!(text.len() < 1000, "{} bytes: {text}", text.len());
    words.iter().for_each(|words| assert!(text.contains(words), "{words} in {text}"));
    assert!(!text.contains("0.12345"), "{text}");
}

#[test]
fn debug_of_large_objects_is_their_shape() {
    let x = vec![MARK; 3 * 700];
    let data = Dataset::rows(3, &x, Target::Values(&x[..700])).unwrap();
    let mut batch = Batch::new(&data, 500);
    batch.gather(&data, &(0..500).collect::<Vec<_>>(), false).unwrap();
    reads(&batch, &["Batch", "samples: 500", "steps: 1", "width: 3", "Values"]);
    reads(&FitOptions::new().validation(&data), &["FitOptions", "samples: 700", "monitor: false", "on_step: false"]);

    let network = Sequential::<f64>::input(3).linear(1).build().unwrap();
    let mut w: Vec<f64> = initialize(&network, 1).unwrap();
    w.fill(MARK);
    let state = export_state_dict(&network, &w, &[], &ModuleNames::new()).unwrap();
    reads(&state, &["\"0.weight\": [1, 3]", "\"0.bias\": [1]"]);
    reads(state.get("0.weight").unwrap(), &["Tensor[1, 3]"]);
    assert_eq!(format!("{:?}", StateDict::new()), "{}");
    reads(&Checkpoint::new(w.clone()), &["Checkpoint", "parameters: 4"]);
    reads(&DataParallel::<f64>::new(()).shards(4), &["DataParallel", "ranks: 1", "shards: 4"]);
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let (mut gradient, mut kept) = (w.clone(), [MARK; 8]);
    reads(&Update::new(&blocks, &w, &mut gradient, &mut kept, 7), &["blocks: 2", "values: 4", "state: 8", "step: 7"]);
    let groups = PerGroup::<f64>::new(Sgd::new(0.5)).group(Role::Bias, Muon::new(0.25, AdamW::new(0.125, 0.0)));
    let mut optimizer = Optimizer::new(groups, &blocks, &w).unwrap();
    optimizer.step(&blocks, &mut w.clone(), &mut [MARK; 4], &mut ()).unwrap();
    reads(optimizer.transform(), &["PerGroup", "others", "Bias", "rate: 0.25"]);
    reads(&Event::Gradient { blocks: &blocks, w: &w, dw: &w }, &["Gradient", "blocks: 2", "values: 4"]);
    reads(
        &Context::<f64>::new(BatchShape::batch(9), chainrule::Mode::Train, &mut ()),
        &["Train", "9", "monitored: false"],
    );
}

#[test]
fn debug_of_slices_is_their_length() {
    let (y, classes) = (vec![MARK; 600], vec![7; 300]);
    reads(&Target::Values(&y[..]), &["Values(600)"]);
    reads(&Target::<f64>::Classes(&classes), &["Classes(300)"]);
    let mut dy = y.clone();
    let rows = Rows::new(2, &y, Target::Classes(&classes), Some(&y[..300]), &mut dy).unwrap();
    reads(&rows, &["Rows", "rows: 300", "width: 2", "Classes(300)", "weights: Some(300)"]);

    let network = Sequential::<f64>::input(3).recurrent(40, Noted(Lstm::new())).linear(1).build().unwrap();
    let w = vec![MARK; Layer::<f64>::dims(&network).parameters];
    let mut workspace = Workspace::new(&network, BatchShape::sequences(2, 5)).unwrap();
    let output = workspace.forward(&w, &[MARK; 30], BatchShape::sequences(2, 5)).unwrap();
    reads(&output, &["Output", "y: 10", "dy: 10", "steps: 5"]);
    workspace.backward(&w).unwrap();
    let model = Model::new(network, w).unwrap();
    reads(&model.stream().unwrap(), &["Stream", "Noted", "stages: 1"]);
}

/// A cell that writes what it receives.
#[derive(Clone, Debug)]
struct Noted(Lstm);

impl Cell for Noted {
    fn gates(&self) -> &'static [chainrule::Gate] {
        self.0.gates()
    }
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>) {
        reads(&unit, &["CellForward", "z: 160", "h_prev: 40", "cell_state: 40"]);
        self.0.forward(stage, unit);
    }
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        reads(&unit, &["CellBackward", "z: 160", "d_h: 40", "d_cell_state: 40"]);
        self.0.backward(stage, unit);
    }
    fn sizes(&self) -> CellSizes {
        self.0.sizes()
    }
}

/// A container is its parts, without the private cache of their answers.
#[test]
fn debug_of_layers_with_parts_is_their_summary() {
    let one = || Sequential::<f64>::input(4).lstm(4).build().unwrap();
    let parallel = Parallel::new(Merge::Sum, vec![Box::new(one()), Box::new(Linear::new(4, 4))]).unwrap();
    let both = Bidirectional::new::<f64>(one(), Linear::new(4, 4)).unwrap();
    let checkpointed =
        Checkpointed::<f64>::new(CheckpointInterval::Steps(2), vec![Box::new(Recurrent::new(4, 4, Lstm::new()))]);
    let residual = Residual::new(one()).unwrap();
    let all: [&dyn Debug; 5] =
        [&parallel, &residual, &both, &Reversed::new::<f64>(one()).unwrap(), &checkpointed.unwrap()];
    for layer in all {
        let text = format!("{layer:?}");
        assert!(text.contains("Lstm") && !text.contains("Answers") && !text.contains("kept"), "{text}");
    }
    for (layer, parameters) in [(&parallel as &dyn Debug, 144 + 20), (&residual, 144)] {
        let text = format!("{layer:?}");
        assert!(text.contains(&parameters.to_string()), "{text}");
    }
}

/// A layer and a monitor see passes and events; their texts are written in a run.
#[derive(Debug)]
struct Written(Linear);

impl Layer<f64> for Written {
    fn dims(&self) -> chainrule::layer::Dims {
        Layer::<f64>::dims(&self.0)
    }
    fn blocks(&self, visit: &mut dyn FnMut(chainrule::Block<'_>)) {
        Layer::<f64>::blocks(&self.0, visit);
    }
    fn memory(&self, shape: BatchShape<'_>, mode: chainrule::Mode) -> chainrule::layer::MemorySizes {
        Layer::<f64>::memory(&self.0, shape, mode)
    }
    fn forward(&self, w: &[f64], pass: chainrule::layer::Forward<'_, f64>) {
        reads(&pass, &["Forward", "x: 12", "y: 4", "Context"]);
        self.0.forward(w, pass);
    }
    fn backward(&self, w: &[f64], pass: chainrule::layer::Backward<'_, f64>) {
        reads(&pass, &["Backward", "dy: 4", "dw: 4", "Context"]);
        self.0.backward(w, pass);
    }
}

#[derive(Default)]
struct Events(Vec<String>);

impl GradientMonitor<f64> for Events {
    fn backward(&mut self, at: &Link<'_>, _dy: &[f64], _dx: &[f64]) {
        reads(at, &["Link"]);
    }
    fn event(&mut self, event: &Event<'_, f64>) {
        let text = format!("{event:?}");
        self.0.push(text.split([' ', '(']).next().unwrap().into());
    }
}

#[test]
fn debug_of_a_run_is_its_summary() {
    let x: Vec<f64> = (0..12).map(|i| f64::from(i) / 7.0).collect();
    let data = Dataset::rows(3, &x, Target::Values(&x[..4])).unwrap();
    let settings = TrainConfig { batch_size: 4, epochs: 90, ..TrainConfig::default() };
    let mut trainer =
        Trainer::new(Written(Linear::new(3, 1)), MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
    let (mut events, mut statistics) = (Events::default(), Statistics::new());
    let mut lines = chainrule::monitor::Recorder::new(Vec::new());
    let mut monitors = (&mut events, &mut statistics, &mut lines);
    trainer.fit_with(&data, FitOptions::new().monitor(&mut monitors)).unwrap();
    for kind in ["Gradient", "Loss", "Update", "Step", "Epoch"] {
        assert!(events.0.iter().any(|event| event == kind), "{kind} in {:?}", events.0.first());
    }
    let text = format!("{statistics:?}");
    assert!(
        text.len() < 2000 && text.contains("links: 1") && text.contains("passes: "),
        "{} bytes: {text}",
        text.len()
    );
    let run = RunRecord::read(&lines.finish().unwrap()[..]).unwrap();
    let text = format!("{run:?}");
    assert!(
        text.len() < 2000 && text.contains("steps: 90") && text.contains("epochs: 90"),
        "{} bytes: {text}",
        text.len()
    );
}
