//! Every bad input of the public API is refused with a typed error that says what was expected and what came.

use chainrule::{
    BatchShape, Blocks, DataRule, Error, Layer, Scalar,
    activation::Tanh,
    dataset::{Batch, Dataset},
    layer::{
        BranchScale, Dropout, GroupNorm, LayerNorm, Linear, Merge, Mode, PRelu, Parallel, Residual, Sequential,
        initialize,
    },
    loss::{
        BinaryCrossEntropy, CosineDistance, CrossEntropy, DualLoss, Focal, GaussianNll, Huber, KlDivergence, Loss,
        MeanSquaredError, MultiMargin, NegativeLogLikelihood, Pinball, PoissonNll, RowLoss, SmoothL1, Target,
    },
    metrics::accuracy,
    recurrent::{Bidirectional, Elman, Lstm, Recurrent},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Lion, Muon,
        NAdam, Optimizer, Outcome, ParameterGroups, Penalty, RAdam, ReduceOnPlateau, RmsProp, Schedule,
        ScheduleFreeAdamW, Sgd, SkipNonFinite, WeightAverage,
    },
    workspace::Workspace,
};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Fails unless `result` is an error of that variant whose text holds all of `words`.
macro_rules! refuses {
    ($result:expr, $variant:pat, [$($word:expr),+]) => {{
        let error = $result.err().expect(stringify!($result));
        let text = error.to_string();
        assert!(matches!(error, $variant), "{}: {error:?}", stringify!($result));
        $(assert!(text.contains($word), "{}: {text:?} does not say {:?}", stringify!($result), $word);)+
    }};
}

fn linear() -> (Linear, Blocks) {
    let layer = Linear::new(2, 2);
    let blocks = Blocks::collect(|visit| Layer::<f64>::blocks(&layer, visit));
    (layer, blocks)
}

fn optimizer(transform: impl GradientTransform<f64>) -> Result<(), Error> {
    Optimizer::new(transform, &linear().1, &[0.0; 6]).map(|_| ())
}

/// A network without layers is named where it stands.
#[test]
fn empty_networks_have_their_places() {
    let input = || Sequential::<f64>::input(4);
    refuses!(input().build(), Error::Empty { .. }, ["the network is empty"]);
    refuses!(
        input().linear(4).residual(|b| b).build(),
        Error::InvalidLayer { .. },
        ["layer 1.branch: it has no layers"]
    );
    refuses!(
        input().parallel(Merge::Sum, |all| all.branch(|b| b.linear(2)).branch(|b| b)).build(),
        Error::InvalidLayer { .. },
        ["layer 0.1: it has no layers", "add at least 1"]
    );
    refuses!(input().residual(|b| b.residual(|b| b)).build(), Error::InvalidLayer { .. }, ["layer 0.branch.0.branch:"]);
}

/// At most 17 digits, with a power of ten far from 1.
#[test]
fn numbers_in_messages_are_short() {
    let text = |rate| optimizer(Adam::new(rate)).unwrap_err().to_string();
    assert!(text(-1e300).ends_with("found -1e300"), "{}", text(-1e300));
    assert!(text(-1.25e-320).len() < 100, "{}", text(-1.25e-320));
    assert!(text(-0.1).ends_with("found -0.1") && text(-0.0625).ends_with("found -0.0625"));
    assert!(text(-123_456_789.5).ends_with("found -123456789.5"));
    assert!(text(NAN).ends_with("found NaN") && text(-INF).ends_with("found -inf"));
}

#[test]
fn widths() {
    let mut network = Sequential::<f64>::new(3);
    network.push(Linear::new(3, 4)).unwrap();
    refuses!(
        network.push(Linear::new(5, 2)),
        Error::WidthMismatch { expected: 5, found: 4, .. },
        ["layer 0 outputs 4 values, but layer 1 expects 5", "equal"]
    );
    refuses!(network.push(Linear::new(4, 0)), Error::Parameter { .. }, ["width", "at least 1", "0"]);
    refuses!(
        Residual::<f64>::new(Linear::new(3, 4)),
        Error::WidthMismatch { expected: 3, found: 4, .. },
        ["skip", "3", "4"]
    );
    let pooled = Sequential::<f64>::input(3).last_step().build().unwrap();
    refuses!(Residual::<f64>::new(pooled), Error::IncompatibleLayer { .. }, ["residual", "keeps the steps"]);
    let scaled = Residual::<f64>::new(Linear::new(3, 3)).unwrap();
    refuses!(scaled.scale(BranchScale::Fixed(NAN)), Error::Parameter { .. }, ["scale", "finite", "NaN"]);
    refuses!(
        Bidirectional::new::<f64>(Recurrent::new(3, 2, Lstm::new()), Recurrent::new(4, 2, Lstm::new())),
        Error::WidthMismatch { expected: 3, found: 4, .. },
        ["backward", "3", "4"]
    );
    let built = Sequential::<f64>::input(3).linear(4).layer(Linear::new(5, 2)).linear(7).build();
    refuses!(built, Error::WidthMismatch { expected: 5, found: 4, .. }, ["layer 1", "5", "4"]);
    refuses!(Sequential::<f64>::input(3).linear(0).build(), Error::Parameter { .. }, ["width", "at least 1"]);
    refuses!(Sequential::<f64>::input(0).linear(2).build(), Error::Parameter { .. }, ["width", "at least 1"]);
    refuses!(Sequential::<f64>::input(3).build(), Error::Empty { .. }, ["network is empty"]);
    let branch = Sequential::<f64>::input(3).residual(|branch| branch.linear(4)).build();
    refuses!(branch, Error::WidthMismatch { expected: 3, found: 4, .. }, ["skip"]);
    let inside = Sequential::<f64>::input(3).residual(|branch| branch.linear(4).layer(Linear::new(5, 3))).build();
    refuses!(
        inside,
        Error::WidthMismatch { expected: 5, found: 4, .. },
        ["layer 0.branch.0 outputs 4 values, but layer 0.branch.1 expects 5"]
    );
    let first = Sequential::<f64>::input(3).layer(Linear::new(2, 2)).build();
    refuses!(first, Error::WidthMismatch { .. }, ["the input has 3 values, but layer 0 expects 2"]);
    let branches = |merge| {
        let branches: Vec<Box<dyn Layer<f64>>> = vec![Box::new(Linear::new(3, 4)), Box::new(Linear::new(3, 5))];
        Parallel::new(merge, branches)
    };
    refuses!(
        branches(Merge::Sum),
        Error::WidthMismatch { expected: 4, found: 5, .. },
        ["branch 1 outputs 5 values, but the sum of the branches expects 4"]
    );
    assert!(branches(Merge::Concatenate).is_ok());
    refuses!(Sequential::<f64>::input(3).recurrent(0, Lstm::new()).build(), Error::Parameter { .. }, ["at least 1"]);
    refuses!(
        Workspace::<f64, _>::new(Linear::new(0, 2), BatchShape::batch(1)),
        Error::Parameter { .. },
        ["width", "0"]
    );
    refuses!(
        Workspace::<f64, _>::new(Linear::new(2, 0), BatchShape::batch(1)),
        Error::Parameter { .. },
        ["width", "0"]
    );
}

/// Found by this test: both directions must give the same rows, and neither may be of width 0.
#[test]
fn two_directions_that_do_not_fit() {
    let pooled = Sequential::<f64>::input(3).recurrent(2, Lstm::new()).last_step().build().unwrap();
    let even = Recurrent::new(3, 2, Lstm::new());
    refuses!(
        Bidirectional::new::<f64>(even.clone(), pooled),
        Error::IncompatibleLayer { .. },
        ["bidirectional", "same rows"]
    );
    refuses!(
        Bidirectional::new::<f64>(Recurrent::new(3, 0, Lstm::new()), even),
        Error::Parameter { .. },
        ["width", "0"]
    );
}

#[test]
fn parameters_of_layers() {
    for rate in [1.0, 1.5, -0.1, NAN, INF] {
        refuses!(Dropout::new(3, rate), Error::Parameter { .. }, ["dropout rate", "below 1", &rate.to_string()]);
    }
    refuses!(Sequential::<f64>::input(3).dropout(1.0).build(), Error::Parameter { .. }, ["dropout rate", "1"]);
    refuses!(LayerNorm::new(3).epsilon(0.0), Error::Parameter { .. }, ["epsilon", "positive"]);
    refuses!(GroupNorm::new(6, 4), Error::Parameter { .. }, ["number of groups", "divisor of the width", "4"]);
    refuses!(Sequential::<f64>::input(6).group_norm(0).build(), Error::Parameter { .. }, ["groups", "0"]);
    refuses!(PRelu::new(3).initial(NAN), Error::Parameter { .. }, ["slope", "finite", "NaN"]);
}

#[test]
fn batch_shapes() {
    let (layer, _) = linear();
    let mut workspace = Workspace::new(&layer, BatchShape::sequences(2, 3)).unwrap();
    let (w, x) = ([0.0; 6], [0.0; 64]);
    refuses!(Workspace::<f64, _>::new(&layer, BatchShape::batch(0)), Error::EmptyBatch, ["no samples", "at least 1"]);
    refuses!(
        Workspace::<f64, _>::new(&layer, BatchShape::sequences(2, 0)),
        Error::NoSteps { sample: 0 },
        ["sample 0", "1"]
    );
    refuses!(workspace.infer(&w, &[], BatchShape::sequences(0, 0)), Error::EmptyBatch, ["no samples"]);
    refuses!(workspace.forward(&w, &[], BatchShape::batch(0)), Error::EmptyBatch, ["no samples"]);
    refuses!(workspace.forward(&w, &[], BatchShape::ragged(&[])), Error::EmptyBatch, ["no samples"]);
    refuses!(workspace.forward(&w, &[], BatchShape::sequences(2, 0)), Error::NoSteps { .. }, ["no steps"]);
    refuses!(workspace.forward(&w, &x[..4], BatchShape::ragged(&[2, 0])), Error::NoSteps { sample: 1 }, ["sample 1"]);
    refuses!(
        workspace.infer(&w, &x[..6], BatchShape::ragged(&[1, 2])),
        Error::LengthsNotDescending { sample: 1, length: 2, before: 1 },
        ["sample 1 has 2", "one of 1", "longest first"]
    );
    refuses!(
        workspace.forward(&w, &x[..6], BatchShape::batch(3)),
        Error::BeyondCapacity { batch: 3, steps: 1, max_batch: 2, max_steps: 3 },
        ["3 samples of up to 1", "holds 2 of 3", "largest pass"]
    );
    refuses!(
        workspace.infer(&w, &x[..8], BatchShape::sequences(1, 4)),
        Error::BeyondCapacity { .. },
        ["1 samples of up to 4"]
    );
    // Found by this test: a shape whose fields were changed.
    let mut torn = BatchShape::ragged(&[2, 1]);
    torn.batch = 1;
    refuses!(workspace.forward(&w, &x[..6], torn), Error::Length { .. }, ["lengths", "expected 1", "found 2"]);
    let mut torn = BatchShape::ragged(&[2, 1]);
    torn.steps = 1;
    refuses!(workspace.forward(&w, &x[..6], torn), Error::Length { .. }, ["steps", "expected 2", "found 1"]);
}

#[test]
fn slices_of_the_wrong_length_and_calls_out_of_order() {
    let (layer, blocks) = linear();
    let mut workspace = Workspace::new(&layer, BatchShape::batch(2)).unwrap();
    let w = [0.0; 6];
    refuses!(workspace.backward(&w), Error::InvalidState { .. }, ["needs a forward pass", "`Workspace::forward`"]);
    refuses!(
        workspace.forward(&w[1..], &[0.0; 4], BatchShape::batch(2)),
        Error::Length { .. },
        ["parameters", "6", "5", "`layer::initialize`"]
    );
    refuses!(
        workspace.forward(&w, &[0.0; 3], BatchShape::batch(2)),
        Error::Length { .. },
        ["input", "expected 4", "found 3"]
    );
    workspace.forward(&w, &[0.0; 4], BatchShape::batch(2)).unwrap();
    refuses!(workspace.backward(&w[1..]), Error::Length { .. }, ["parameters", "6", "5"]);
    workspace.backward(&w).unwrap();
    refuses!(workspace.backward(&w), Error::InvalidState { .. }, ["backward", "needs a forward pass"]);
    refuses!(workspace.accumulate(&w), Error::InvalidState { .. }, ["backward"]);
    workspace.forward(&w, &[0.0; 4], BatchShape::batch(2)).unwrap();
    workspace.infer(&w, &[0.0; 4], BatchShape::batch(2)).unwrap();
    refuses!(workspace.backward(&w), Error::InvalidState { .. }, ["backward"]);
    let (x, w) = ([0.5, -1.0, 2.0, 0.25], [1.0, -2.0, 3.0, 0.5, 0.25, -0.75]);
    let given = workspace.forward(&w, &x, BatchShape::batch(2)).unwrap().y.to_vec();
    workspace.input_mut(BatchShape::batch(2)).unwrap().copy_from_slice(&x);
    refuses!(workspace.backward(&w), Error::InvalidState { .. }, ["backward"]);
    refuses!(workspace.input_mut(BatchShape::batch(3)), Error::BeyondCapacity { .. }, ["3"]);
    assert_eq!(workspace.forward_filled(&w, BatchShape::batch(2), Mode::Train, &mut ()).unwrap().y, given);
    workspace.backward(&w).unwrap();
    refuses!(workspace.set_state(&[0.0]), Error::Length { .. }, ["state", "expected 0", "found 1"]);
    let mut small = Workspace::for_inference(&layer, BatchShape::batch(2)).unwrap();
    refuses!(small.forward(&w, &[0.0; 4], BatchShape::batch(2)), Error::InvalidState { .. }, ["Workspace::new"]);
    refuses!(small.input_mut(BatchShape::batch(2)), Error::InvalidState { .. }, ["Workspace::new"]);
    refuses!(
        small.forward_filled(&w, BatchShape::batch(2), Mode::Train, &mut ()),
        Error::InvalidState { .. },
        ["Workspace::new"]
    );

    let recurrent = Recurrent::new(1, 2, Lstm::new());
    let w: Vec<f64> = initialize(&recurrent, 0).unwrap();
    let mut workspace = Workspace::new(&recurrent, BatchShape::batch(2)).unwrap();
    for wrong in [0, 3, 12] {
        refuses!(
            workspace.set_state(&vec![0.0; wrong]),
            Error::Length { .. },
            ["state", "expected 8", &wrong.to_string()]
        );
    }
    workspace.set_state(&[0.0; 4]).unwrap();
    refuses!(workspace.forward(&w, &[0.0; 2], BatchShape::batch(2)), Error::Length { .. }, ["state", "8", "4"]);

    refuses!(Optimizer::new(Sgd::new(0.1), &blocks, &[0.0; 5]), Error::Length { .. }, ["parameters", "6", "5"]);
    let mut optimizer = Optimizer::new(Adam::new(0.1), &blocks, &[0.0; 6]).unwrap();
    refuses!(optimizer.step(&blocks, &mut [0.0; 5], &mut [0.0; 5], &mut ()), Error::Length { .. }, ["parameters"]);
    refuses!(
        optimizer.step(&blocks, &mut [0.0; 6], &mut [0.0; 5], &mut ()),
        Error::Length { .. },
        ["the gradient of the parameters", "one value for each parameter"]
    );
    refuses!(optimizer.restore(&[0.0; 11], 1), Error::Length { .. }, ["optimizer state", "12", "11"]);
}

#[test]
fn losses() {
    let ce = CrossEntropy::new();
    let y = [0.0; 4];
    let dy = &mut [0.0; 4];
    let classes = Target::Classes(&[0, 1]);
    refuses!(
        ce.evaluate(2, &y, Target::Classes(&[0, 2]), None, dy),
        Error::ClassOutOfRange { row: 1, label: 2, classes: 2 },
        ["row 1", "class 2", "2 classes", "0 to 1", "correct the label"]
    );
    refuses!(accuracy(2, &y, &[0, 5]), Error::ClassOutOfRange { row: 1, label: 5, classes: 2 }, ["class 5", "0 to 1"]);
    refuses!(ce.evaluate(2, &y, Target::Classes(&[0]), None, dy), Error::Length { .. }, ["targets", "2", "1"]);
    refuses!(ce.evaluate(0, &y, classes, None, dy), Error::Empty { .. }, ["output is empty"]);
    refuses!(ce.evaluate(3, &y, Target::Classes(&[0]), None, dy), Error::Length { .. }, ["output", "3", "4"]);
    refuses!(ce.evaluate(2, &y, classes, None, &mut dy[1..]), Error::Length { .. }, ["gradient of the output"]);
    refuses!(ce.evaluate(2, &y, classes, Some(&[1.0]), dy), Error::Length { .. }, ["row weights", "2", "1"]);
    refuses!(ce.evaluate(2, &y, classes, Some(&[2.0, -1.0]), dy), Error::Parameter { .. }, ["row weight", "0", "-1"]);
    refuses!(
        ce.evaluate(2, &y, classes, Some(&[1.0, NAN]), dy),
        Error::NonFinite { index: 1, .. },
        ["row weights", "NaN"]
    );
    refuses!(ce.evaluate(2, &y, classes, Some(&[0.0, 0.0]), dy), Error::Parameter { .. }, ["sum", "positive", "0"]);
    let ignoring = CrossEntropy::new().ignore_class(1);
    refuses!(ignoring.evaluate(2, &y, Target::Classes(&[1, 1]), None, dy), Error::Parameter { .. }, ["sum", "0"]);
    let weighted = CrossEntropy::new().class_weights(&[1.0, 2.0, 3.0]).unwrap();
    refuses!(weighted.evaluate(2, &y, classes, None, dy), Error::Length { .. }, ["class weights", "2", "3"]);
    for bad in [-1.0, NAN, INF] {
        let text = bad.to_string();
        refuses!(CrossEntropy::new().class_weights(&[1.0, bad]), Error::Parameter { .. }, ["class weight", &text]);
        refuses!(
            BinaryCrossEntropy::new().positive_weights(&[bad]),
            Error::Parameter { .. },
            ["positive weight", &text]
        );
    }
    refuses!(CrossEntropy::new().class_weights(&[]), Error::Empty { .. }, ["class weights"]);
    refuses!(BinaryCrossEntropy::new().positive_weights(&[]), Error::Empty { .. }, ["positive weights"]);
    let bce = BinaryCrossEntropy::new().positive_weights(&[1.0, 2.0, 3.0]).unwrap();
    refuses!(bce.evaluate(2, &y, Target::Values(&y), None, dy), Error::Length { .. }, ["positive weights", "2", "3"]);
    for bad in [-0.1, 1.1, NAN] {
        let text = bad.to_string();
        refuses!(
            CrossEntropy::new().label_smoothing(bad),
            Error::Parameter { .. },
            ["smoothing", "between 0 and 1", &text]
        );
    }
    for bad in [0.0, -1.0, NAN, INF] {
        refuses!(Huber::new(bad), Error::Parameter { .. }, ["the delta of Huber", "positive", &bad.to_string()]);
        refuses!(SmoothL1::new(bad), Error::Parameter { .. }, ["the beta of SmoothL1", "positive", &bad.to_string()]);
    }
    for bad in [0.0, -1.0, 1.0, 2.0, NAN, INF] {
        refuses!(Pinball::new(bad), Error::Parameter { .. }, ["quantile", "above 0 and below 1", &bad.to_string()]);
    }
    for bad in [0.0, -1.0, NAN, INF] {
        refuses!(MultiMargin::new().margin(bad), Error::Parameter { .. }, ["margin", "positive", &bad.to_string()]);
    }
    for bad in [-1.0, NAN, INF] {
        refuses!(Focal::new(bad), Error::Parameter { .. }, ["exponent", "not negative", &bad.to_string()]);
    }
    for loss in [&PoissonNll::new() as &dyn Loss<f64>, &KlDivergence::new()] {
        let negative = Target::Values(&[0.5, -0.25]);
        refuses!(loss.evaluate(2, &y[..2], negative, None, &mut dy[..2]), Error::Parameter { .. }, ["-0.25"]);
    }
    let all: [(&dyn Loss<f64>, &str); 9] = [
        (&MeanSquaredError::new(), "MeanSquaredError"),
        (&BinaryCrossEntropy::new(), "BinaryCrossEntropy"),
        (&Huber::new(1.0).unwrap(), "Huber"),
        (&SmoothL1::new(1.0).unwrap(), "SmoothL1"),
        (&Pinball::new(0.5).unwrap(), "Pinball"),
        (&Focal::new(2.0).unwrap(), "Focal"),
        (&PoissonNll::new(), "PoissonNll"),
        (&CosineDistance::new(), "CosineDistance"),
        (&KlDivergence::new(), "KlDivergence"),
    ];
    for (loss, name) in all {
        refuses!(
            loss.evaluate(2, &y, classes, None, dy),
            Error::TargetKind { .. },
            [name, "classes", "`Target::Values`"]
        );
        refuses!(loss.evaluate(2, &y, Target::Values(&y[1..]), None, dy), Error::Length { .. }, ["targets", "4", "3"]);
        // Found by this test: the place is one of the whole slice, not of its row.
        for (bad, text) in [(NAN, "NaN"), (INF, "inf")] {
            let target = [0.5, 0.5, 0.5, bad];
            refuses!(
                loss.evaluate(2, &y, Target::Values(&target), None, dy),
                Error::NonFinite { index: 3, .. },
                ["targets", "value 3", text]
            );
        }
    }
    // Two means, and two variances in a row.
    let (means, target) = (Target::Values(&[0.5, 0.5, 0.5, NAN]), [0.5, 0.5, NAN, 0.5]);
    refuses!(
        GaussianNll::new().evaluate(4, &[0.5; 8], means, None, &mut [0.0; 8]),
        Error::NonFinite { index: 3, .. },
        ["targets", "value 3", "NaN"]
    );
    refuses!(
        ce.evaluate(2, &y, Target::Values(&target), None, dy),
        Error::NonFinite { index: 2, .. },
        ["targets", "NaN"]
    );
}

#[test]
fn transforms() {
    for bad in [-1.0, NAN, INF] {
        let text = bad.to_string();
        let words = ["learning rate", "finite and not negative", text.as_str()];
        let all: [Box<dyn GradientTransform<f64>>; 13] = [
            Box::new(Sgd::new(bad)),
            Box::new(Adam::new(bad)),
            Box::new(AdamW::new(bad, 0.0)),
            Box::new(RmsProp::new(bad)),
            Box::new(Adagrad::new(bad)),
            Box::new(Adadelta::new(bad)),
            Box::new(Adamax::new(bad)),
            Box::new(Lion::new(bad)),
            Box::new(Muon::new(bad, AdamW::new(0.1, 0.0))),
            Box::new(NAdam::new(bad)),
            Box::new(RAdam::new(bad)),
            Box::new(ScheduleFreeAdamW::new(bad, 0.0)),
            Box::new(Schedule::constant(bad)),
        ];
        for transform in all {
            refuses!(optimizer(transform), Error::Parameter { .. }, [words[0], words[1], words[2]]);
        }
        refuses!(optimizer(Adam::new(0.1).epsilon(bad)), Error::Parameter { .. }, ["epsilon of Adam", &text]);
        refuses!(optimizer(RmsProp::new(0.1).epsilon(bad)), Error::Parameter { .. }, ["epsilon of RMSprop", &text]);
        refuses!(optimizer(Adagrad::new(0.1).epsilon(bad)), Error::Parameter { .. }, ["epsilon of Adagrad", &text]);
        refuses!(optimizer(Adagrad::new(0.1).rate_decay(bad)), Error::Parameter { .. }, ["rate decay", &text]);
        refuses!(optimizer(Adagrad::new(0.1).initial(bad)), Error::Parameter { .. }, ["initial", &text]);
        refuses!(optimizer(AdamW::new(0.1, bad)), Error::Parameter { .. }, ["weight decay", &text]);
        refuses!(optimizer(Penalty::l1(bad)), Error::Parameter { .. }, ["L1", &text]);
        refuses!(optimizer(Penalty::l2(bad)), Error::Parameter { .. }, ["L2", &text]);
        refuses!(optimizer(ClipNorm::new(1.0).epsilon(bad)), Error::Parameter { .. }, ["epsilon of clipping", &text]);
        refuses!(
            optimizer(ParameterGroups::new().rate("bias", bad)),
            Error::Parameter { .. },
            ["rate of a block", &text]
        );
    }
    for bad in [0.0, -1.0, NAN] {
        let text = bad.to_string();
        refuses!(optimizer(ClipNorm::new(bad)), Error::Parameter { .. }, ["norm to clip at", "positive", &text]);
        refuses!(optimizer(ClipNorm::new(1.0).p(bad)), Error::Parameter { .. }, ["p of a norm", "positive", &text]);
        refuses!(optimizer(ClipBlockNorm::new(bad)), Error::Parameter { .. }, ["norm to clip at", "positive", &text]);
        refuses!(optimizer(ClipValue::new(bad)), Error::Parameter { .. }, ["limit", "positive", &text]);
    }
    for bad in [1.0, -0.1, NAN] {
        let text = bad.to_string();
        refuses!(optimizer(Sgd::new(0.1).momentum(bad)), Error::Parameter { .. }, ["momentum", "below 1", &text]);
        refuses!(optimizer(Sgd::new(0.1).dampening(bad)), Error::Parameter { .. }, ["dampening", "below 1", &text]);
        refuses!(optimizer(Adam::new(0.1).betas(bad, 0.9)), Error::Parameter { .. }, ["first beta", "below 1", &text]);
        refuses!(optimizer(Adam::new(0.1).betas(0.9, bad)), Error::Parameter { .. }, ["second beta", "below 1", &text]);
        refuses!(optimizer(RmsProp::new(0.1).alpha(bad)), Error::Parameter { .. }, ["alpha", "below 1", &text]);
        refuses!(optimizer(RmsProp::new(0.1).momentum(bad)), Error::Parameter { .. }, ["momentum", "below 1", &text]);
        refuses!(optimizer(WeightAverage::new(bad)), Error::Parameter { .. }, ["weight average", "below 1", &text]);
        refuses!(optimizer(ReduceOnPlateau::new(0.5, 1).threshold(bad)), Error::Parameter { .. }, ["threshold", &text]);
        refuses!(
            optimizer(ReduceOnPlateau::new(bad, 1)),
            Error::Parameter { .. },
            ["plateau", "above 0 and below 1", &text]
        );
    }
    refuses!(optimizer(ReduceOnPlateau::new(0.0, 1)), Error::Parameter { .. }, ["plateau", "0"]);
    refuses!(optimizer(ReduceOnPlateau::new(0.5, 1).least(-1.0)), Error::Parameter { .. }, ["-1"]);
    refuses!(optimizer(Sgd::new(0.1).nesterov()), Error::Parameter { .. }, ["Nesterov", "positive", "0"]);
    refuses!(
        optimizer(Sgd::new(0.1).momentum(0.9).dampening(0.5).nesterov()),
        Error::Parameter { .. },
        ["Nesterov", "0.5"]
    );
    for schedule in [
        Schedule::step(0, 0.5),
        Schedule::cosine(0, 0.0),
        Schedule::cosine_with_restarts(0, 2, 0.0),
        Schedule::cosine_with_restarts(5, 0, 0.0),
        Schedule::warm_up(0.0, 0),
        Schedule::polynomial(0, 1.0),
        Schedule::one_cycle(1.0, 0),
        Schedule::one_cycle(1.0, 3),
        Schedule::cyclic(0.0, 1.0, 0, 1),
        Schedule::cyclic(0.0, 1.0, 1, 0),
        Schedule::constant(1.0).per_epoch(0),
        Schedule::constant(1.0).then(5, Schedule::cosine(0, 0.0)),
    ] {
        refuses!(optimizer(schedule), Error::Parameter { .. }, ["at least", "found"]);
    }
    for bad in [-0.5, NAN, INF] {
        for schedule in [
            Schedule::step(2, bad),
            Schedule::multi_step(&[2], bad),
            Schedule::exponential(bad),
            Schedule::cosine(2, bad),
            Schedule::linear(bad, 1.0, 2),
            Schedule::linear(1.0, bad, 2),
            Schedule::polynomial(2, bad),
            Schedule::one_cycle(bad, 10),
            Schedule::cyclic(bad, 1.0, 2, 2),
            Schedule::cyclic(1.0, bad, 2, 2),
            Schedule::constant(1.0).then(3, Schedule::exponential(bad)).per_epoch(2),
        ] {
            refuses!(optimizer(schedule), Error::Parameter { .. }, ["not negative", &bad.to_string()]);
        }
        for (schedule, what) in [
            (Schedule::one_cycle_with(1.0, 10, bad, [2.0, 3.0]), "warm-up fraction"),
            (Schedule::one_cycle_with(1.0, 10, 0.5, [-1.0, 3.0]), "divisor"),
            (Schedule::one_cycle_with(1.0, 10, 0.5, [2.0, 0.0]), "divisor"),
            (Schedule::cyclic_with_decay(0.0, 1.0, 2, 2, bad), "decay of a cyclic"),
        ] {
            refuses!(optimizer(schedule), Error::Parameter { .. }, [what]);
        }
        let blocks = linear().1;
        let mut custom = Optimizer::new((Sgd::new(0.1), Schedule::custom(move |_| bad)), &blocks, &[0.0; 6]).unwrap();
        refuses!(
            custom.step(&blocks, &mut [0.0; 6], &mut [1.0; 6], &mut ()),
            Error::Parameter { .. },
            ["not negative", &bad.to_string()]
        );
    }
}

#[test]
fn gradients_not_finite_in_a_row_are_an_error() {
    let network = Sequential::<f64>::input(1).linear(1).linear(1).build().unwrap();
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    refuses!(optimizer(SkipNonFinite::new().limit(0)), Error::Parameter { .. }, ["guard", "at least 1", "0"]);
    let mut guarded = Optimizer::new((SkipNonFinite::new().limit(3), Sgd::new(1.0)), &blocks, &[0.0; 4]).unwrap();
    let mut w = [0.0; 4];
    let mut step = |bad: f64| guarded.step(&blocks, &mut w, &mut [0.0, 1.0, bad, 0.0], &mut ());
    assert_eq!(step(NAN), Ok(Outcome::Skip));
    assert_eq!(step(INF), Ok(Outcome::Skip));
    // A good one in between begins the count anew.
    assert_eq!(step(1.0), Ok(Outcome::Apply));
    assert_eq!((step(NAN), step(NAN)), (Ok(Outcome::Skip), Ok(Outcome::Skip)));
    refuses!(
        step(-INF),
        Error::NonFiniteGradient { steps: 3, .. },
        ["3 steps", "1.weight", "learning rate", "ClipNorm"]
    );
    assert_eq!(w, [0.0, -1.0, -1.0, 0.0]);
}

#[test]
fn blocks_that_do_not_exist() {
    let network = Sequential::<f64>::input(2).linear(2).activation(Tanh).linear(1).build().unwrap();
    let mut workspace = Workspace::new(&network, BatchShape::batch(1)).unwrap();
    for name in ["3", "0.weights", "weight", "0.", "00"] {
        refuses!(workspace.freeze(name), Error::UnknownBlock { .. }, ["no block", name]);
        refuses!(workspace.unfreeze(name), Error::UnknownBlock { .. }, ["no block", name]);
        refuses!(workspace.blocks().get(name), Error::UnknownBlock { .. }, ["no block", name]);
        let rates = ParameterGroups::new().rate(name, 0.5);
        refuses!(Optimizer::new(rates, workspace.blocks(), &[0.0; 9]), Error::UnknownBlock { .. }, ["no block", name]);
    }
    refuses!(workspace.blocks().get("0"), Error::UnknownBlock { .. }, ["\"0\""]);
}

#[test]
fn data_and_batches() {
    let x = [0.0; 12];
    let classes = Target::<f64>::Classes(&[0, 1, 0]);
    refuses!(Dataset::rows(0, &x, classes), Error::Empty { .. }, ["sample is empty"]);
    refuses!(Dataset::sequences(4, 0, &x, classes), Error::Empty { .. }, ["sample is empty"]);
    refuses!(Dataset::rows(4, &[], classes), Error::Empty { .. }, ["inputs is empty"]);
    refuses!(
        Dataset::rows(5, &x, classes),
        Error::InvalidData(DataRule::NotMultiple { .. }),
        ["inputs", "12 values", "multiple of width 5", "correct the sizes"]
    );
    refuses!(
        Dataset::sequences(5, 2, &x, classes),
        Error::InvalidData(DataRule::NotMultiple { .. }),
        ["multiple of width × steps = 10"]
    );
    refuses!(Dataset::rows(3, &x, classes), Error::Length { .. }, ["targets", "4", "3"]);
    refuses!(Dataset::rows(4, &x, Target::Values(&x[..4])), Error::Length { .. }, ["targets", "3", "4"]);
    refuses!(Dataset::rows(4, &x, Target::Values(&[])), Error::Length { .. }, ["targets", "3", "0"]);
    refuses!(Dataset::ragged(4, &[2, 0, 1], &x, classes), Error::NoSteps { sample: 1 }, ["sample 1"]);
    refuses!(Dataset::ragged(4, &[2, 2], &x, classes), Error::Length { .. }, ["inputs", "16", "12"]);
    refuses!(Dataset::<f64>::ragged(4, &[], &[], classes), Error::EmptyBatch, ["no samples"]);
    let data = Dataset::rows(4, &x, classes).unwrap();
    refuses!(data.clone().row_weights(&[1.0]), Error::Length { .. }, ["row weights", "3", "1"]);
    // One target a sample, where the output has one a step.
    let sequences = Dataset::sequences(2, 2, &x, classes).unwrap();
    let mut batch = Batch::new(&sequences, 2);
    batch.gather(&sequences, &[0, 1], false).unwrap();
    refuses!(
        batch.gather(&sequences, &[0, 1], true),
        Error::InvalidData(DataRule::TargetRows { .. }),
        ["one target a sample", "last_step()"]
    );
    let per_step = Dataset::sequences(2, 2, &x, Target::Classes(&[0; 6])).unwrap();
    refuses!(
        batch.gather(&per_step, &[0, 1], false),
        Error::InvalidData(DataRule::TargetRows { .. }),
        ["one output a sample", "last_step()"]
    );
    let weighted = per_step.clone().row_weights(&[1.0; 3]).unwrap();
    refuses!(batch.gather(&weighted, &[0, 1], true), Error::Length { .. }, ["row weights", "6", "3"]);
    refuses!(batch.gather(&per_step, &[0, 3], true), Error::Sample { sample: 3, samples: 3 }, ["sample 3", "0 to 2"]);
    let others = Dataset::sequences(2, 3, &x, Target::Classes(&[0; 2])).unwrap();
    refuses!(batch.gather(&others, &[0], false), Error::InvalidState { .. }, ["other data", "Batch::new"]);
}

/// The softmax of one output is 1 whatever the output, so a loss that compares outputs has nothing to learn from.
#[test]
fn losses_over_classes_with_one_output() {
    #[derive(Debug)]
    struct Margin;
    impl RowLoss for Margin {
        fn row<T: Scalar>(&self, y: &[T], _target: Target<'_, T>) -> T {
            y[0]
        }
        fn takes_classes(&self) -> bool {
            true
        }
    }
    let of_classes: [(Box<dyn Loss<f64>>, &str); 6] = [
        (Box::new(CrossEntropy::new()), "BinaryCrossEntropy"),
        (Box::new(KlDivergence::new()), "BinaryCrossEntropy"),
        (Box::new(NegativeLogLikelihood::new()), "BinaryCrossEntropy"),
        (Box::new(MultiMargin::new()), "BinaryCrossEntropy"),
        (Box::new(DualLoss::new(Margin)), "BinaryCrossEntropy"),
        (Box::new(CosineDistance::new()), "MeanSquaredError"),
    ];
    let trainer = |width, loss: &dyn Loss<f64>| {
        let network = Sequential::<f64>::input(2).linear(width).build()?;
        Trainer::new(network, loss, Sgd::new(0.1), TrainConfig::default()).map(|_| ())
    };
    for (loss, remedy) in of_classes {
        for target in [Target::Classes(&[0, 0]), Target::Values(&[1.0, 1.0])] {
            let found = loss.evaluate(1, &[0.5, 2.0], target, None, &mut [0.0; 2]);
            refuses!(found, Error::IncompatibleLayer { .. }, ["at least 2 outputs", remedy]);
        }
        assert_eq!(trainer(2, &*loss), Ok(()), "{loss:?}");
        refuses!(trainer(1, &*loss), Error::IncompatibleLayer { .. }, ["at least 2 outputs", remedy]);
    }
    let of_values: [Box<dyn Loss<f64>>; 4] = [
        Box::new(BinaryCrossEntropy::new()),
        Box::new(Focal::new(2.0).unwrap()),
        Box::new(PoissonNll::new()),
        Box::new(MeanSquaredError::new()),
    ];
    for loss in of_values {
        assert_eq!(trainer(1, &*loss), Ok(()), "{loss:?}");
    }
    // Settings for another number of outputs are found there, too.
    let weighted = CrossEntropy::new().class_weights(&[1.0, 2.0, 3.0]).unwrap();
    refuses!(trainer(2, &weighted), Error::Length { .. }, ["class weights", "2", "3"]);
    refuses!(trainer(3, &GaussianNll::new()), Error::Parameter { .. }, ["GaussianNll", "even"]);
}

/// Returns the error of a fit with early bad data; fails if an update was made before it.
fn refused_at_start<C: Loss<f64>>(loss: C, data: &Dataset<'_, f64>, validation: &Dataset<'_, f64>) -> Error {
    let network = Sequential::<f64>::input(data.width()).linear(3).build().unwrap();
    let settings = TrainConfig { batch_size: 2, shuffle: false, epochs: 1, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, loss, Sgd::new(0.1), settings).unwrap();
    let before = trainer.parameters().to_vec();
    let error = trainer.fit_with(data, FitOptions::new().validation(validation)).unwrap_err();
    assert_eq!(trainer.parameters(), before, "{error}: found after an update");
    error
}

#[test]
fn bad_data_is_refused_before_the_first_update() {
    let x: Vec<f64> = (0..14).map(f64::from).collect();
    let rows = |labels: &[usize]| Dataset::rows(2, &x, Target::Classes(labels)).map(Dataset::into_owned).unwrap();
    let right = rows(&[0, 1, 2, 0, 1, 2, 0]);
    let ce = CrossEntropy::new;
    // The last label alone is wrong.
    let wrong = rows(&[0, 1, 2, 0, 1, 2, 3]);
    let label = DataRule::LabelOutOfRange { sample: 6, step: None, label: 3, classes: 3 };
    assert_eq!(refused_at_start(ce(), &wrong, &right), label.clone().into());
    let found = refused_at_start(ce(), &right, &wrong);
    assert_eq!(found, DataRule::Validation { reason: Box::new(label.into()) }.into());
    let text = found.to_string();
    assert!(text.starts_with("in the validation data: sample 6 has class 3"), "{text}");
    // The width, the kind and the range of the validation data.
    let wide = Dataset::rows(7, &x, Target::Classes(&[0, 1])).unwrap();
    let reason = Box::new(Error::from(DataRule::Width { expected: 2, found: 7 }));
    assert_eq!(refused_at_start(ce(), &right, &wide), DataRule::Validation { reason }.into());
    let values = |bad: f64| {
        let mut targets = vec![0.25; 21];
        targets[20] = bad;
        Dataset::rows(2, &x, Target::Values(&targets)).map(Dataset::into_owned).unwrap()
    };
    let reason = |error| match error {
        Error::InvalidData(DataRule::Validation { reason }) => *reason,
        error => error,
    };
    let kind = reason(refused_at_start(MultiMargin::new(), &right, &values(0.25)));
    assert!(matches!(kind, Error::TargetKind { .. }), "{kind:?}");
    let bce = BinaryCrossEntropy::new;
    let range = Error::Parameter { what: "a target of BinaryCrossEntropy", expected: "between 0 and 1", found: 2.0 };
    let range = Error::from(DataRule::Target { sample: 6, step: None, reason: Box::new(range) });
    assert_eq!(reason(refused_at_start(bce(), &values(1.0), &values(2.0))), range);
    assert_eq!(refused_at_start(bce(), &values(2.0), &values(1.0)), range);
    // Data without targets.
    let blank = Dataset::rows(2, &x, None).unwrap();
    let none = reason(refused_at_start(ce(), &right, &blank));
    assert!(matches!(none, Error::InvalidState { .. }), "{none:?}");
}

/// Data with another number of target values a row than the loss takes, whatever the size of a batch.
#[test]
fn target_width_that_does_not_fit_the_network_is_named() {
    let x: Vec<f64> = (0..100).map(f64::from).collect();
    let y = vec![0.5; 200];
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let right = Dataset::rows(1, &x, Target::Values(&x)).unwrap();
    let network = Sequential::<f64>::input(1).linear(1).build().unwrap();
    let settings = TrainConfig { batch_size: 32, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
    let rule = DataRule::TargetWidth { expected: 1, found: 2, per_step: false };
    let fit = trainer.fit(&data);
    refuses!(fit, Error::InvalidData(_), ["2 target values a sample", "loss takes 1", "last layer"]);
    assert_eq!(trainer.fit(&data).unwrap_err(), rule.clone().into());
    assert_eq!(trainer.evaluate(&data).unwrap_err(), rule.clone().into());
    let mut batch = Batch::new(&data, 32);
    assert_eq!(trainer.step(&data, &mut batch, &[0, 5, 7], &mut ()).unwrap_err(), rule.clone().into());
    let validated = trainer.fit_with(&right, FitOptions::new().validation(&data)).unwrap_err();
    assert_eq!(validated, DataRule::Validation { reason: Box::new(rule.into()) }.into());
    // 5 steps of 2 outputs, of which the loss takes 1 mean and 1 variance: 1 target value a step.
    let network = Sequential::<f64>::input(1).lstm(2).build().unwrap();
    let mut trainer = Trainer::new(network, GaussianNll::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let steps = Dataset::sequences(1, 5, &x, Target::Values(&y)).unwrap();
    let rule = DataRule::TargetWidth { expected: 1, found: 2, per_step: true };
    assert_eq!(trainer.fit(&steps).unwrap_err(), rule.into());
    // A single row of fewer targets than outputs has a weight too: the update is refused, not skipped.
    let network = Sequential::<f64>::input(1).linear(3).build().unwrap();
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let rule = DataRule::TargetWidth { expected: 3, found: 2, per_step: false };
    let one = trainer.step(&data, &mut Batch::new(&data, 1), &[0], &mut ());
    assert_eq!(one.unwrap_err(), rule.into());
    // The kind of the targets is judged first.
    let network = Sequential::<f64>::input(1).linear(3).build().unwrap();
    let mut trainer = Trainer::new(network, MultiMargin::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    refuses!(trainer.fit(&data), Error::TargetKind { .. }, ["classes", "values"]);
}

/// What the loss does not read is no error: a masked row and an ignored class.
#[test]
fn labels_that_do_not_count_are_not_refused() {
    let x = [0.0; 6];
    let data = Dataset::rows(2, &x, Target::Classes(&[0, 9, 1])).unwrap();
    let masked = data.clone().row_weights(&[1.0, 0.0, 1e-300]).unwrap();
    let trained = |loss: CrossEntropy, data: &Dataset<'_, f64>| {
        let network = Sequential::<f64>::input(2).linear(2).build().unwrap();
        let mut trainer = Trainer::new(network, loss, Sgd::new(0.1), TrainConfig::default()).unwrap();
        trainer.fit_with(data, FitOptions::new().validation(data)).map(|_| ())
    };
    assert_eq!(trained(CrossEntropy::new(), &masked), Ok(()));
    assert_eq!(trained(CrossEntropy::new().ignore_class(9), &data), Ok(()));
    assert!(trained(CrossEntropy::new(), &data).is_err());
}

/// Also of sequences of unequal length, in the order of which a batch differs from the data.
#[test]
fn bad_target_of_a_sequence_is_named() {
    let lengths = [2, 4, 1];
    let (x, mut y) = ([0.5; 7], [1.0; 7]);
    y[4] = -0.5;
    let weights = [1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0];
    y[3] = -7.0; // masked
    let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let network = || Sequential::<f64>::input(1).lstm(2).linear(1).build().unwrap();
    for loss in [&PoissonNll::new() as &dyn Loss<f64>, &BinaryCrossEntropy::new()] {
        let mut trainer = Trainer::new(network(), loss, Sgd::new(0.1), TrainConfig::default()).unwrap();
        let error = trainer.fit(&data).unwrap_err();
        let rule = matches!(&error, Error::InvalidData(DataRule::Target { sample: 1, step: Some(2), .. }));
        assert!(rule, "{error}");
        assert!(error.to_string().starts_with("the target of sample 1, step 2: "), "{error}");
    }
}

/// In sequences of unequal length the error names sample and step, also beyond the rows that are checked at once.
#[test]
fn bad_label_of_a_long_sequence_is_named() {
    let lengths = [3, 2500, 1];
    let rows: usize = lengths.iter().sum();
    let mut labels = vec![0; rows];
    labels[3 + 2222] = 5;
    let x = vec![0.5; rows];
    let right = Dataset::ragged(1, &lengths, &x, Target::Classes(&vec![0; rows])).map(Dataset::into_owned).unwrap();
    let wrong = Dataset::ragged(1, &lengths, &x, Target::Classes(&labels)).unwrap();
    let label = DataRule::LabelOutOfRange { sample: 1, step: Some(2222), label: 5, classes: 3 };
    assert_eq!(refused_at_start(CrossEntropy::new(), &wrong, &right), label.clone().into());
    let reason = Box::new(Error::from(label));
    assert_eq!(refused_at_start(CrossEntropy::new(), &right, &wrong), DataRule::Validation { reason }.into());
}

#[test]
fn settings() {
    let new = |settings: TrainConfig| {
        let network = Recurrent::new(2, 2, Elman::new(Tanh));
        Trainer::new(network, CrossEntropy::new(), Sgd::new(0.1), settings).map(|_: Trainer<f64, _, _, _>| ())
    };
    let base = TrainConfig::default();
    refuses!(new(TrainConfig { batch_size: 0, ..base }), Error::Parameter { .. }, ["batch_size", "at least 1", "0"]);
    refuses!(
        new(TrainConfig { accumulation_steps: 0, ..base }),
        Error::Parameter { .. },
        ["accumulation_steps", "at least 1", "0"]
    );
    refuses!(new(TrainConfig { patience: Some(0), ..base }), Error::Parameter { .. }, ["patience", "at least 1", "0"]);
    let early = TrainConfig { patience: Some(1), ..base };
    let mut trainer = Trainer::new(Linear::new(2, 2), CrossEntropy::new(), Sgd::new(0.1), early).unwrap();
    let data = Dataset::rows(2, &[0.0; 4], Target::Classes(&[0, 1])).unwrap();
    refuses!(
        trainer.fit(&data),
        Error::InvalidState { .. },
        ["early stopping", "`TrainConfig::patience`", "`FitOptions::validation`"]
    );
    refuses!(trainer.block("wieght"), Error::UnknownBlock { .. }, ["wieght", "nearest names are weight, bias"]);
    let mut trainer = Trainer::new(Linear::new(2, 2), CrossEntropy::new(), Sgd::new(0.1), base).unwrap();
    let wide = Dataset::rows(4, &[0.0; 4], Target::Classes(&[0])).unwrap();
    refuses!(
        trainer.fit(&wide),
        Error::InvalidData(DataRule::Width { .. }),
        ["rows of 4", "takes 2", "Sequential::input(4)"]
    );
    refuses!(trainer.predict(&wide), Error::InvalidData(DataRule::Width { .. }), ["rows of 4"]);
    let blank = Dataset::rows(2, &[0.0; 4], None).unwrap();
    refuses!(trainer.fit(&blank), Error::InvalidState { .. }, ["needs targets", "Target::Classes"]);
    refuses!(trainer.evaluate(&blank), Error::InvalidState { .. }, ["needs targets"]);
    refuses!(trainer.predict_into(&blank, &mut [0.0; 3]), Error::Length { .. }, ["buffer", "4", "3"]);
    let labels = Dataset::rows(2, &[0.0; 4], Target::Classes(&[0, 2])).unwrap();
    refuses!(
        trainer.fit(&labels),
        Error::InvalidData(DataRule::LabelOutOfRange { sample: 1, .. }),
        ["sample 1 has class 2", "0 to 1"]
    );
    refuses!(trainer.evaluate(&labels), Error::InvalidData(DataRule::LabelOutOfRange { label: 2, .. }), ["class 2"]);
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
    refuses!(network.spec().build::<f64>(), Error::CustomPart { .. }, ["0.branch.1", "Cube", "custom"]);
}

/// Words that begin the remedy of a message, after its last semicolon.
const REMEDIES: &[&str] = &[
    "add",
    "all",
    "another",
    "ask",
    "build",
    "choose",
    "clip",
    "complete",
    "convert",
    "correct",
    "cut",
    "divide",
    "end",
    "give",
    "leave",
    "let",
    "lower",
    "make",
    "map",
    "narrow",
    "pad",
    "predict",
    "put",
    "read",
    "register",
    "set",
    "shorten",
    "sort",
    "start",
    "state",
    "take",
    "train",
    "use",
    "widen",
    "write",
    "checkpoint",
    "enlarge",
];

/// Messages without a remedy of their own, each with the reason.
const NO_REMEDY: &[(&str, &str)] = &[
    ("Error::InvalidLayer", "the rule has it"),
    ("Error::InvalidData", "the rule has it"),
    ("Error::Ranks", "the rule has it"),
    ("Error::Registered", "the rule has it"),
    ("Error::Parameter", "the allowed range is the remedy"),
    ("Error::EmptyBatch", "the allowed number is the remedy"),
    ("Error::NoSteps", "the allowed number is the remedy"),
    ("Error::InvalidState", "`needs` is the remedy"),
    ("Error::IncompatibleLayer", "`needs` is the remedy"),
    ("Error::UndefinedMetric", "the reason has it"),
    ("Error::FileKind", "its field `remedy` is the remedy"),
    ("Error::CpuLevel", "the reason has it"),
    ("Error::Optimizers", "what the chain needs is the remedy"),
    ("Error::File", "the words of the operating system"),
    ("DataRule::FileFormat", "the reason has it"),
    ("DataRule::Validation", "the reason has it"),
    ("RegistryRule::Build", "the reason has it"),
    ("RankRule::Ended", "the cause is an error of another rank"),
    ("RankRule::Failed", "the error of another rank has it"),
];

/// The messages of the error types: `Type::Variant`, and the text of its attribute `#[error(..)]`.
fn messages(source: &str) -> Vec<(String, String)> {
    let (mut found, mut rest, mut kind) = (Vec::new(), source, "");
    while let Some(at) = rest.find("#[error(") {
        if let Some(declared) = rest[..at].rfind("pub enum ") {
            kind = rest[declared + 9..].split_whitespace().next().unwrap();
        }
        rest = &rest[at + 8..];
        let end = rest.find(")]\n").unwrap();
        let variant: String =
            rest[end + 3..].trim_start().chars().take_while(|letter| letter.is_alphanumeric()).collect();
        found.push((format!("{kind}::{variant}"), rest[..end].to_string()));
        rest = &rest[end..];
    }
    found
}

/// The whole kind: no message of an error that a caller can cause ends without saying what to do. A rule of layers and
/// cells may instead state what must hold.
#[test]
fn messages_state_a_remedy() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error");
    let remedies = std::fs::read_to_string(folder.join("message.rs")).unwrap();
    let (mut faults, mut count, mut unused) = (Vec::new(), 0, NO_REMEDY.to_vec());
    for file in ["mod", "data_rule", "layer_rule", "rank_rule", "registry_rule"] {
        let source = std::fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap();
        for (variant, text) in messages(&source) {
            count += 1;
            let by_function = remedies.match_indices("pub(super) fn ").any(|(at, word)| {
                let name = remedies[at + word.len()..].split('(').next().unwrap();
                name.ends_with("_remedy") && text.contains(&format!("{name}("))
            }) || text.contains("target_rows(");
            let clause = text.rsplit("; ").next().filter(|_| text.contains("; ")).unwrap_or("");
            let first = clause.split([' ', '(', '\\', '\n']).find(|word| !word.is_empty()).unwrap_or("");
            let rule = file == "layer_rule" && text.contains("must");
            let excepted = unused.iter().position(|(name, _)| *name == variant);
            match (by_function || REMEDIES.contains(&first) || rule, excepted) {
                (true, None) => {}
                (false, Some(at)) => drop(unused.remove(at)),
                (true, Some(_)) => faults.push(format!("{variant} needs no exception")),
                (false, None) => faults.push(format!("{variant}: {text}")),
            }
        }
    }
    faults.extend(unused.iter().map(|(name, _)| format!("{name} is excepted, but is no message")));
    assert!(count > 80, "{count} messages");
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}
