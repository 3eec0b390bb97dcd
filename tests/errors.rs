//! Bad input of the public interface: a typed error that says what was expected and what came.

use chainrule::{
    Block, Blocks, Error, Extent, Layer, Role,
    activation::{Celu, Elu, HardTanh, LeakyRelu, Softplus, Swish, Tanh},
    data::{Batch, Data},
    layer::{BranchScale, Dropout, LayerNorm, Linear, PRelu, Pointwise, Residual, Sequential, initialize},
    loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanSquared, SmoothL1, Target, accuracy, softmax},
    recurrent::{Bidirectional, Elman, Lstm, Recurrent},
    tape::Tape,
    trainer::{Observers, Settings, Trainer},
    transform::{
        Adagrad, Adam, AdamW, BlockRates, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Guard, Optimizer,
        Outcome, Penalty, Plateau, RmsProp, Schedule, Sgd, WeightAverage,
    },
};

/// Asserts the variant, and that the text holds each of `words`.
macro_rules! refused {
    ($result:expr, $variant:pat, $($word:expr),+) => {{
        let error = $result.map(|_| ()).unwrap_err();
        assert!(matches!(error, $variant), "{error:?}");
        let text = error.to_string();
        $(assert!(text.contains($word), "{text:?} does not say {:?}", $word);)+
    }};
}

fn lstm_tape() -> (Tape<f64, Recurrent<Lstm>>, Vec<f64>) {
    let layer = Recurrent::new(2, 3, Lstm);
    let w = initialize(&layer, 1).unwrap();
    (Tape::new(layer, Extent::sequences(4, 5)).unwrap(), w)
}

#[test]
fn widths() {
    let mut network = Sequential::<f32>::new(4);
    network.push(Linear::new(4, 3)).unwrap();
    refused!(network.push(Linear::new(5, 2)), Error::WidthMismatch { expected: 5, found: 3, .. }, "layer 1", "5", "3");
    refused!(network.push(Linear::new(3, 0)), Error::Parameter { .. }, "width", "at least 1", "0");
    refused!(Residual::<f32>::new(Linear::new(4, 3)), Error::WidthMismatch { expected: 4, found: 3, .. }, "skip");
    let steps_lost = Sequential::<f32>::input(4).last_step().build().unwrap();
    refused!(Residual::new(steps_lost), Error::Order { .. }, "residual", "steps");
    let cell = || Elman::new(Tanh);
    let both = Bidirectional::new::<f32>(Recurrent::new(2, 3, cell()), Recurrent::new(4, 3, cell()));
    refused!(both, Error::WidthMismatch { expected: 2, found: 4, .. }, "backward");
    refused!(Sequential::<f32>::input(4).build(), Error::Empty { .. }, "network");
    let wrong = Sequential::<f32>::input(4).linear(3).layer(Linear::new(9, 9)).linear(2).build();
    refused!(wrong, Error::WidthMismatch { expected: 9, found: 3, .. }, "layer 1");
    refused!(Sequential::<f32>::input(4).dropout(1.0).build(), Error::Parameter { .. }, "dropout", "below 1", "1");
    refused!(Tape::<f32, _>::new(Linear::new(0, 3), Extent::batch(1)), Error::Parameter { .. }, "width");
    refused!(Tape::<f32, _>::new(Recurrent::new(2, 0, Lstm), Extent::batch(1)), Error::Parameter { .. }, "width");
}

#[test]
fn extents() {
    let (mut tape, w) = lstm_tape();
    let x = [0.0; 64];
    refused!(tape.forward(&w, &[], Extent::batch(0)), Error::EmptyBatch, "no samples");
    refused!(tape.forward(&w, &[], Extent::sequences(2, 0)), Error::NoSteps { .. }, "no steps");
    refused!(tape.forward(&w, &[], Extent::ragged(&[])), Error::EmptyBatch, "no samples");
    refused!(tape.forward(&w, &x[..6], Extent::ragged(&[3, 0])), Error::NoSteps { sample: 1 }, "sample 1");
    let unsorted = tape.forward(&w, &x[..10], Extent::ragged(&[2, 3]));
    refused!(unsorted, Error::LengthsNotDescending { sample: 1, length: 3, before: 2 }, "longest first");
    let large = tape.forward(&w, &x[..20], Extent::sequences(5, 2));
    refused!(large, Error::BeyondCapacity { batch: 5, max_batch: 4, .. }, "5 samples", "4 of 5");
    let long = tape.infer(&w, &x[..12], Extent::sequences(1, 6));
    refused!(long, Error::BeyondCapacity { steps: 6, max_steps: 5, .. }, "6 steps");
    refused!(Tape::<f32, _>::new(Linear::new(2, 2), Extent::batch(0)), Error::EmptyBatch, "no samples");
}

#[test]
fn slices_and_order() {
    let (mut tape, w) = lstm_tape();
    let (x, extent) = ([0.0; 8], Extent::sequences(4, 1));
    let short = tape.forward(&w[1..], &x, extent);
    refused!(short, Error::Length { what: "parameters", expected: 72, found: 71 }, "parameters", "72", "71");
    refused!(tape.forward(&w, &x[1..], extent), Error::Length { what: "input", expected: 8, found: 7 }, "input");
    refused!(tape.backward(&w), Error::Order { .. }, "backward", "forward");
    tape.forward(&w, &x, extent).unwrap();
    refused!(tape.backward(&w[1..]), Error::Length { what: "parameters", .. }, "parameters");
    tape.backward(&w).unwrap();
    refused!(tape.accumulate(&w), Error::Order { .. }, "backward", "forward");
    tape.infer(&w, &x, extent).unwrap();
    refused!(tape.backward(&w), Error::Order { .. }, "backward", "forward");
    refused!(tape.set_state(&[0.0; 7]), Error::Length { what: "state", .. }, "state", "7");
    refused!(tape.set_state(&[0.0; 30]), Error::Length { what: "state", .. }, "state", "30");
    tape.set_state(&[0.0; 12]).unwrap();
    refused!(tape.forward(&w, &x, extent), Error::Length { what: "state", expected: 24, found: 12 }, "24", "12");
    refused!(tape.freeze("weigh"), Error::NoBlock { .. }, "weigh");
    refused!(tape.blocks().get("nothing"), Error::NoBlock { .. }, "nothing");
    let mut small = Tape::<f64, _>::for_inference(Linear::new(2, 1), Extent::batch(1)).unwrap();
    refused!(small.forward(&[0.0; 3], &[0.0; 2], Extent::batch(1)), Error::Order { .. }, "Tape::new");
}

#[test]
fn losses() {
    let mut dy = [0.0; 4];
    let y = [0.0; 4];
    let mut evaluate = |loss: &dyn Loss<f64>, width: usize, target: Target<'_, f64>, weights: Option<&[f64]>| {
        loss.evaluate(width, &y, target, weights, &mut dy)
    };
    let (squared, entropy, binary) = (MeanSquared::new(), CrossEntropy::new(), BinaryCrossEntropy::new());
    let label = evaluate(&entropy, 2, Target::Classes(&[0, 2]), None);
    refused!(label, Error::Label { row: 1, label: 2, classes: 2 }, "row 1", "class 2", "0 to 1");
    refused!(
        evaluate(&entropy, 2, Target::Classes(&[0]), None),
        Error::Length { expected: 2, found: 1, .. },
        "targets"
    );
    refused!(evaluate(&squared, 2, Target::Classes(&[0, 1]), None), Error::TargetKind { .. }, "MeanSquared", "classes");
    refused!(evaluate(&binary, 2, Target::Classes(&[0, 1]), None), Error::TargetKind { .. }, "values", "classes");
    refused!(
        evaluate(&squared, 2, Target::Values(&[0.0; 3]), None),
        Error::Length { expected: 4, found: 3, .. },
        "targets"
    );
    refused!(evaluate(&squared, 3, Target::Values(&[0.0; 4]), None), Error::Length { .. }, "output");
    refused!(evaluate(&squared, 0, Target::Values(&[0.0; 4]), None), Error::Empty { .. }, "output");
    let nan = [0.0, f64::NAN, 0.0, 0.0];
    refused!(
        evaluate(&squared, 2, Target::Values(&nan), None),
        Error::NonFinite { index: 1, .. },
        "targets",
        "1",
        "NaN"
    );
    refused!(evaluate(&entropy, 2, Target::Values(&nan), None), Error::NonFinite { .. }, "targets");
    let zeros = [0.0; 4];
    let values = Target::Values(&zeros);
    refused!(evaluate(&squared, 2, values, Some(&[1.0])), Error::Length { expected: 2, found: 1, .. }, "row weights");
    refused!(evaluate(&squared, 2, values, Some(&[1.0, f64::NAN])), Error::NonFinite { .. }, "row weights");
    refused!(
        evaluate(&squared, 2, values, Some(&[0.0, 0.0])),
        Error::Parameter { .. },
        "sum of the row weights",
        "positive"
    );
    let ignoring = CrossEntropy::new().ignore_class(1);
    refused!(evaluate(&ignoring, 2, Target::Classes(&[1, 1]), None), Error::Parameter { .. }, "positive", "0");
    let weighted = CrossEntropy::new().class_weights(&[1.0, 1.0, 1.0]).unwrap();
    refused!(
        evaluate(&weighted, 2, Target::Classes(&[0, 1]), None),
        Error::Length { expected: 2, found: 3, .. },
        "class"
    );
    let weighted = BinaryCrossEntropy::new().positive_weights(&[1.0, 1.0, 1.0]).unwrap();
    refused!(evaluate(&weighted, 2, values, None), Error::Length { expected: 2, found: 3, .. }, "positive weights");

    refused!(CrossEntropy::new().label_smoothing(1.5), Error::Parameter { .. }, "smoothing", "1.5");
    refused!(CrossEntropy::new().class_weights(&[1.0, -1.0]), Error::Parameter { .. }, "class weight", "-1");
    refused!(CrossEntropy::new().class_weights(&[]), Error::Empty { .. }, "class weights");
    refused!(BinaryCrossEntropy::new().positive_weights(&[f64::NAN]), Error::Parameter { .. }, "NaN");
    refused!(Huber::new(0.0), Error::Parameter { .. }, "Huber", "positive");
    refused!(SmoothL1::new(f64::NAN), Error::Parameter { .. }, "beta", "NaN");
    refused!(softmax(2, &y, &mut [0.0; 3]), Error::Length { .. }, "4", "3");
    refused!(accuracy(2, &y, &[0, 5]), Error::Label { row: 1, label: 5, classes: 2 }, "5");
}

#[test]
fn layers_and_activations() {
    for rate in [-0.1, 1.0, f64::NAN] {
        refused!(Dropout::new(3, rate), Error::Parameter { .. }, "dropout rate", "at least 0 and below 1");
    }
    refused!(LayerNorm::new(3).epsilon(0.0), Error::Parameter { .. }, "epsilon", "positive");
    refused!(PRelu::new(3).initial(f64::INFINITY), Error::Parameter { .. }, "slope", "finite", "inf");
    let branch = Residual::<f32>::new(Pointwise::new(2, Tanh)).unwrap();
    refused!(branch.scale(BranchScale::Fixed(f64::NAN)), Error::Parameter { .. }, "scale", "finite");
    refused!(LeakyRelu::new(f64::NAN), Error::Parameter { .. }, "finite");
    refused!(Elu::new(-1.0), Error::Parameter { .. }, "-1");
    refused!(Celu::new(0.0), Error::Parameter { .. }, "0");
    refused!(Softplus::new(-2.0), Error::Parameter { .. }, "-2");
    refused!(Swish::new(f64::INFINITY), Error::Parameter { .. }, "inf");
    refused!(HardTanh::new(1.0, -1.0), Error::Parameter { .. }, "-1");
}

fn blocks() -> Blocks {
    Blocks::collect(|visit| {
        visit(Block::new("0.weight", 0, [2, 2], Role::Weight));
        visit(Block::new("0.bias", 4, [2, 1], Role::Bias));
    })
}

#[test]
fn transforms() {
    let refuse = |mut transform: Box<dyn GradientTransform<f64>>, words: &[&str]| {
        let error = transform.prepare(&blocks()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Parameter { .. }), "{error:?}");
        assert!(words.iter().all(|word| text.contains(word)), "{text:?} does not say {words:?}");
    };
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        refuse(Box::new(Sgd::new(bad)), &["learning rate", "not negative"]);
        refuse(Box::new(Adam::new(bad)), &["learning rate"]);
        refuse(Box::new(AdamW::new(bad, 0.1)), &["learning rate"]);
        refuse(Box::new(RmsProp::new(bad)), &["learning rate"]);
        refuse(Box::new(Adagrad::new(bad)), &["learning rate"]);
        refuse(Box::new(Penalty::l1(bad)), &["L1"]);
        refuse(Box::new(Penalty::l2(bad)), &["L2"]);
        refuse(Box::new(AdamW::new(0.1, bad)), &["decay"]);
        refuse(Box::new(Adam::new(0.1).epsilon(bad)), &["epsilon"]);
        refuse(Box::new(RmsProp::new(0.1).epsilon(bad)), &["epsilon"]);
        refuse(Box::new(Adagrad::new(0.1).rate_decay(bad)), &["decay"]);
        refuse(Box::new(Adagrad::new(0.1).initial(bad)), &["initial"]);
        refuse(Box::new(BlockRates::new().rate("0", bad)), &["rate of a block"]);
        refuse(Box::new(Schedule::constant(bad)), &["rate"]);
        refuse(Box::new(Schedule::exponential(bad)), &["rate"]);
    }
    for bad in [1.0, -0.1, f64::NAN] {
        refuse(Box::new(Sgd::new(0.1).momentum(bad)), &["momentum", "below 1"]);
        refuse(Box::new(Adam::new(0.1).betas(bad, 0.9)), &["first beta"]);
        refuse(Box::new(Adam::new(0.1).betas(0.9, bad)), &["second beta"]);
        refuse(Box::new(RmsProp::new(0.1).alpha(bad)), &["alpha"]);
        refuse(Box::new(WeightAverage::new(bad)), &["decay"]);
        refuse(Box::new(Plateau::new(bad, 3)), &["factor of a plateau"]);
        refuse(Box::new(Plateau::new(0.5, 3).threshold(bad)), &["threshold"]);
    }
    for bad in [0.0, -1.0, f64::NAN] {
        refuse(Box::new(ClipNorm::new(bad)), &["norm to clip at", "positive"]);
        refuse(Box::new(ClipBlockNorm::new(bad)), &["norm to clip at", "positive"]);
        refuse(Box::new(ClipValue::new(bad)), &["limit", "positive"]);
        refuse(Box::new(ClipNorm::new(1.0).p(bad)), &["p of a norm", "positive"]);
    }
    refuse(Box::new(ClipNorm::new(1.0).epsilon(-1.0)), &["epsilon"]);
    refuse(Box::new(Sgd::new(0.1).nesterov()), &["Nesterov"]);
    refuse(Box::new(Sgd::new(0.1).momentum(0.9).dampening(0.1).nesterov()), &["dampening"]);
    refuse(Box::new(Guard::new().limit(0)), &["guard", "at least 1"]);
    refuse(Box::new(Schedule::step(0, 0.5)), &["steps", "at least 1"]);
    refuse(Box::new(Schedule::cosine(0, 0.0)), &["steps"]);
    refuse(Box::new(Schedule::cosine_with_restarts(3, 0, 0.0)), &["restart"]);
    refuse(Box::new(Schedule::warm_up(-0.5, 3)), &["rate"]);
    refuse(Box::new(Schedule::one_cycle(1.0, 3)), &["one cycle", "at least 4"]);
    let mut unknown = BlockRates::new().rate("7", 0.1);
    refused!(GradientTransform::<f64>::prepare(&mut unknown, &blocks()), Error::NoBlock { .. }, "7");
    // A schedule of one's own is checked where its values come.
    let mut w = [0.0; 6];
    let mut falling = Optimizer::new((Sgd::new(0.1), Schedule::custom(|_| -1.0)), &blocks(), &w).unwrap();
    refused!(falling.step(&blocks(), &mut w, &mut [1.0; 6], &mut ()), Error::Parameter { .. }, "-1");
    refused!(falling.step(&blocks(), &mut w, &mut [1.0; 5], &mut ()), Error::Length { .. }, "gradient", "6", "5");
    refused!(falling.restore(&[1.0], 3), Error::Length { .. }, "state");
}

#[test]
fn a_guard_gives_up_naming_the_block() {
    let mut w = [1.0; 6];
    let mut guarded = Optimizer::new((Guard::new().limit(3), Sgd::new(0.1)), &blocks(), &w).unwrap();
    let bad = || [0.0, 0.0, 0.0, 0.0, f64::NAN, 0.0];
    for _ in 0..2 {
        assert_eq!(guarded.step(&blocks(), &mut w, &mut bad(), &mut ()), Ok(Outcome::Skip));
    }
    assert_eq!(guarded.step(&blocks(), &mut w, &mut [0.0; 6], &mut ()), Ok(Outcome::Apply));
    for _ in 0..2 {
        assert_eq!(guarded.step(&blocks(), &mut w, &mut bad(), &mut ()), Ok(Outcome::Skip));
    }
    let last = guarded.step(&blocks(), &mut w, &mut bad(), &mut ());
    refused!(last, Error::NonFiniteGradient { steps: 3, .. }, "3 steps in a row", "0.bias");
    assert_eq!(w, [1.0; 6]);
    assert_eq!((guarded.steps(), guarded.transform().0.skipped()), (1, 5));
}

#[test]
fn data_and_trainer() {
    let classes = Target::Classes(&[0, 1]);
    refused!(Data::<f32>::rows(2, &[], Target::Classes(&[])), Error::Length { .. }, "inputs");
    refused!(Data::<f32>::rows(0, &[], classes), Error::Empty { .. }, "sample");
    refused!(Data::rows(2, &[0f32; 5], classes), Error::Length { expected: 4, found: 5, .. }, "whole samples", "5");
    refused!(Data::rows(2, &[0f32; 6], classes), Error::Length { expected: 3, found: 2, .. }, "targets", "3", "2");
    refused!(Data::ragged(1, &[2, 0], &[0f32; 2], classes), Error::NoSteps { sample: 1 }, "sample 1");
    refused!(Data::ragged(1, &[2, 1], &[0f32; 2], classes), Error::Length { expected: 3, found: 2, .. }, "inputs");
    refused!(Data::<f32>::ragged(1, &[], &[], Target::Classes(&[])), Error::EmptyBatch, "no samples");
    let data = Data::rows(2, &[0f32; 4], classes).unwrap();
    refused!(data.row_weights(&[1.0; 3]), Error::Length { expected: 2, found: 3, .. }, "row weights");

    let x = [0f32; 8];
    let per_sample = Data::sequences(1, 4, &x, classes).unwrap();
    let mut batch = Batch::new(&per_sample, 2);
    refused!(batch.gather(&per_sample, &[0, 1], true), Error::Length { expected: 8, found: 2, .. }, "targets");

    refused!(batch.gather(&per_sample, &[0, 2], false), Error::Sample { sample: 2, samples: 2 }, "sample 2", "0 to 1");

    let make = |settings: Settings| Trainer::new(Linear::new(2, 2), CrossEntropy::new(), Sgd::new(0.1), settings);
    refused!(make(Settings { batch: 0, ..Settings::default() }), Error::Parameter { .. }, "batch", "at least 1");
    refused!(make(Settings { accumulate: 0, ..Settings::default() }), Error::Parameter { .. }, "accumulate");
    refused!(make(Settings { patience: Some(0), ..Settings::default() }), Error::Parameter { .. }, "patience");
    let mut waiting = make(Settings { patience: Some(2), ..Settings::default() }).unwrap();
    refused!(waiting.fit(&data), Error::Order { .. }, "early stopping", "validation data");
    let mut trainer = make(Settings::default()).unwrap();
    refused!(trainer.fit(&per_sample), Error::Length { expected: 8, found: 2, .. }, "targets");
    let pairs = [0f32; 16];
    let per_step = Data::sequences(2, 4, &pairs, Target::Classes(&[0; 8])).unwrap();
    refused!(trainer.fit(&per_step), Error::BeyondCapacity { .. }, "4 steps");
    let wide = Data::rows(4, &x, classes).unwrap();
    refused!(trainer.fit(&wide), Error::Length { what: "input", .. }, "input");
    let labels = Data::rows(2, &[0f32; 4], Target::Classes(&[0, 9])).unwrap();
    refused!(trainer.fit_with(&labels, Observers::new()), Error::Label { label: 9, classes: 2, .. }, "9");
    refused!(trainer.block("bia"), Error::NoBlock { .. }, "bia");
    let negative =
        Trainer::<f32, _, _, _>::new(Linear::new(2, 2), CrossEntropy::new(), Sgd::new(-0.1), Settings::default());
    refused!(negative, Error::Parameter { .. }, "learning rate", "-0.1");
}

#[test]
fn descriptions_that_cannot_be_built() {
    #[derive(Clone, Debug)]
    struct Cube;
    impl chainrule::Activation for Cube {
        fn value<T: chainrule::Scalar>(&self, z: T) -> T {
            z * z * z
        }
        fn derivative<T: chainrule::Scalar>(&self, z: T, _y: T) -> T {
            (z + z + z) * z
        }
    }
    let network = Sequential::<f32>::input(2).residual(|branch| branch.linear(2).activation(Cube)).build().unwrap();
    refused!(network.describe().build::<f64>(), Error::Opaque { .. }, "0.branch.1", "Cube", "your own");
}
