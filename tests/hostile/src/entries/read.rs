//! Values that were read from a file without their constructors, in every format, and replaced parts of a trainer.

use super::{drive, drive_node, entry, layers::corrupt, layers::json};
use crate::{
    Entry,
    case::{Case, Fault, Taste, Verdict, ensure, number},
};
use chainrule::{
    BatchShape, Block, Blocks, Error, Layer, Role, Scalar,
    dataset::{Batch, Dataset},
    layer::{BatchNorm, Dropout, Embedding, GroupNorm, LayerNorm, LayerSpec, PRelu, RmsNorm, Sequential},
    loss::{
        BinaryCrossEntropy, CosineDistance, CrossEntropy, Focal, GaussianNll, Hinge, Huber, KlDivergence, Loss,
        MeanSquaredError, MultiMargin, NegativeLogLikelihood, Pinball, PoissonNll, Reduction, SmoothL1, Target,
        ValueWeights,
    },
    scalar, to_f64,
    trainer::{Epoch, FitOptions, TrainConfig, Trainer, Truncation},
    transform::{Adam, GradientTransform, Optimizer, Sgd, WeightAverage},
    workspace::Workspace,
};
use half::f16;
use serde::de::DeserializeOwned;
use serde_json::{Value, json as object};
use std::ops::ControlFlow;

/// A layer of every format that is read as it is.
trait Read: Layer<f32> + Layer<f64> + Layer<f16> + DeserializeOwned + Clone + 'static {}
impl<L: Layer<f32> + Layer<f64> + Layer<f16> + DeserializeOwned + Clone + 'static> Read for L {}

fn parsed<X: DeserializeOwned>(value: Value) -> Result<X, Fault> {
    serde_json::from_value(value).map_err(|error| Fault::Refused(error.to_string()))
}

/// Reads a layer, whose settings are `valid` or not, and brings it into a network by one of the ways.
fn read_layer<L: Read>(c: &mut Case, value: Value, valid: bool) -> Verdict {
    let layer: L = parsed(value)?;
    fn ways<T: Scalar, L: Layer<T> + Clone + 'static>(c: &mut Case, layer: L, valid: bool) -> Verdict {
        let made = match c.below(3) {
            0 => Workspace::<T, _>::new(&layer, BatchShape::batch(2)).map(drop),
            1 => Sequential::<T>::new(layer.dims().input).push(layer.clone()),
            _ => chainrule::layer::initialize::<T>(&layer, 1).map(drop),
        };
        ensure(made.is_err() || valid, || format!("{layer:?} is accepted"))?;
        drive::<T>(c, Box::new(layer), None)
    }
    match c.below(3) {
        0 => ways::<f32, L>(c, layer, valid),
        1 => ways::<f64, L>(c, layer, valid),
        _ => ways::<f16, L>(c, layer, valid),
    }
}

/// Reads a layer with hostile settings.
fn any_layer(c: &mut Case) -> Verdict {
    let (width, real) = (c.width(), c.real());
    let (x, positive) = (number(real), real.is_normal() && real > 0.0);
    match c.below(7) {
        0 => read_layer::<PRelu>(
            c,
            object!({ "width": width, "per_unit": true, "initial": x }),
            real.is_finite() && width > 0,
        ),
        1 => read_layer::<LayerNorm>(c, object!({ "width": width, "epsilon": x, "affine": true }), positive),
        2 => read_layer::<RmsNorm>(c, object!({ "width": width, "epsilon": x, "affine": false }), positive),
        3 => {
            let groups = c.size();
            let valid = groups > 0 && width.is_multiple_of(groups);
            let value = object!({ "width": width, "groups": groups, "epsilon": 1e-5, "affine": true });
            read_layer::<GroupNorm>(c, value, valid)
        }
        4 => {
            let value = object!({ "width": width, "epsilon": 1e-5, "momentum": x, "affine": true });
            read_layer::<BatchNorm>(c, value, (0.0..=1.0).contains(&real))
        }
        5 => {
            let value = object!({ "width": width, "rate": x, "locked": c.flag() });
            read_layer::<Dropout>(c, value, (0.0..1.0).contains(&real))
        }
        _ => {
            let (vocabulary, padding) = (c.few(), c.size());
            let weights = object!({ "Constant": 1.0 });
            let value = object!({
                "columns": width, "vocabulary": vocabulary, "dimension": 2, "padding": padding, "weights": weights
            });
            read_layer::<Embedding>(c, value, padding < vocabulary)
        }
    }
}

/// Reads a loss, whose settings are `valid` or not, and evaluates it in every format.
fn read_loss<C>(c: &mut Case, value: Value, valid: bool) -> Verdict
where
    C: Loss<f32> + Loss<f64> + Loss<f16> + DeserializeOwned,
{
    let loss: C = parsed(value)?;
    fn evaluated<T: Scalar, C: Loss<T>>(c: &mut Case, loss: C, valid: bool) -> Verdict {
        let y = c.values::<T>(4, Taste::Mild);
        let values: Vec<T> = (0..loss.target_width(2) * 2).map(|i| scalar(0.25 * (i + 1) as f64 % 1.0)).collect();
        for target in [Target::Values(&values[..]), Target::Classes(&[0, 1])] {
            let mut dy = vec![T::zero(); 4];
            let done = loss.evaluate(2, &y, target, None, &mut dy);
            ensure(done.is_err() || valid, || format!("{loss:?} is evaluated: {done:?}"))?;
        }
        let network = Sequential::<T>::input(1).linear(2).build()?;
        let text = format!("{loss:?}");
        let made = Trainer::new(network, loss, Sgd::new(0.1), TrainConfig::default()).map(drop);
        ensure(made.is_err() || valid, || format!("a trainer of {text}"))?;
        Ok(made?)
    }
    match c.below(3) {
        0 => evaluated::<f32, C>(c, loss, valid),
        1 => evaluated::<f64, C>(c, loss, valid),
        _ => evaluated::<f16, C>(c, loss, valid),
    }
}

/// Reads a loss with hostile settings.
fn any_loss(c: &mut Case) -> Verdict {
    let (a, b) = (c.real(), c.real());
    let (x, y, reduction) = (number(a), number(b), Reduction::Mean);
    let amount = |x: f64| x >= 0.0 && x.is_finite();
    match c.below(9) {
        0 => read_loss::<Pinball>(c, object!({ "quantile": x, "reduction": reduction }), a > 0.0 && a < 1.0),
        1 => read_loss::<Huber>(c, object!({ "delta": x, "reduction": reduction }), a > 0.0 && a.is_finite()),
        2 => read_loss::<SmoothL1>(c, object!({ "beta": x, "reduction": reduction }), a > 0.0 && a.is_finite()),
        3 => {
            let value = object!({ "smoothing": x, "weights": [y, 1.0], "ignored": null, "reduction": reduction });
            read_loss::<CrossEntropy>(c, value, (0.0..=1.0).contains(&a) && amount(b))
        }
        4 => {
            let value = object!({ "positive": [x, y], "reduction": reduction });
            read_loss::<BinaryCrossEntropy>(c, value, amount(a) && amount(b))
        }
        5 => {
            let value = object!({ "gamma": x, "alpha": y, "reduction": reduction });
            let valid = amount(a) && (0.0..=1.0).contains(&b);
            if c.flag() {
                read_loss::<Focal>(c, value, valid)
            } else {
                read_loss::<ValueWeights<Focal>>(c, value, valid)
            }
        }
        6 => {
            let value = object!({ "margin": x, "squared": c.flag(), "weights": [y, y], "reduction": reduction });
            read_loss::<MultiMargin>(c, value, a > 0.0 && a.is_finite() && amount(b))
        }
        7 => {
            let value = object!({ "weights": [x, y], "ignored": c.below(3), "reduction": reduction });
            read_loss::<NegativeLogLikelihood>(c, value, amount(a) && amount(b))
        }
        _ => {
            let value = object!({ "full": c.flag(), "epsilon": x, "reduction": reduction });
            read_loss::<GaussianNll>(c, value, amount(a))
        }
    }
}

/// An optimizer of blocks that may overlap or leave gaps: descent at rate 1 subtracts the gradient once.
fn any_blocks(c: &mut Case) -> Verdict {
    let ranges: Vec<std::ops::Range<usize>> = (0..1 + c.below(3))
        .map(|_| {
            let start = if c.once_in(6) { c.size() } else { 2 * c.below(4) };
            start..if c.once_in(6) { c.size() } else { start.saturating_add(2 * c.below(3)) }
        })
        .collect();
    let names: Vec<String> = (0..ranges.len()).map(|i| if c.once_in(6) { c.text() } else { i.to_string() }).collect();
    let blocks = Blocks::collect(|visit| {
        for (name, range) in names.iter().zip(&ranges) {
            let mut block = Block::new(name, range.start, [range.len(), 1], Role::Weight);
            block.range = range.clone();
            visit(block);
        }
    });
    let tiled = ranges.iter().try_fold(0, |end, range| (range.start == end && range.end >= end).then_some(range.end));
    let parameters = blocks.parameters().min(64);
    let mut w = vec![0.5_f32; parameters];
    let made = Optimizer::new(Sgd::new(1.0), &blocks, &w);
    ensure(made.is_err() || tiled == Some(parameters), || format!("{ranges:?} are accepted"))?;
    let mut optimizer = made?;
    optimizer.step(&blocks, &mut w, &mut vec![0.25; parameters], &mut ())?;
    ensure(w.iter().all(|&w| w == 0.25), || format!("{ranges:?}: {w:?}"))
}

type Any = Trainer<f32, Box<dyn Layer<f32>>, MeanSquaredError, Box<dyn GradientTransform<f32>>>;

/// A trainer whose run a callback ended after its first epoch, with the best values kept.
fn begun(c: &mut Case, data: &Dataset<'_, f32>) -> Result<Any, Error> {
    let network = c.legal(3, 2).build()?;
    let truncation = c.once_in(4).then(|| Truncation::new(1 + c.below(2)));
    let settings = TrainConfig { batch_size: 2, epochs: 3, patience: Some(2), truncation, ..TrainConfig::default() };
    let mut run = Trainer::new(network, MeanSquaredError::new(), chain(c), settings)?;
    let mut end = |_: &Epoch| ControlFlow::Break(());
    run.fit_with(data, FitOptions::new().validation(data).on_epoch(&mut end))?;
    Ok(run)
}

fn chain(c: &mut Case) -> Box<dyn GradientTransform<f32>> {
    match c.below(3) {
        0 => Box::new(Sgd::new(0.1)),
        1 => Box::new((Adam::new(0.01), WeightAverage::new(0.9))),
        _ => Box::new((Adam::new(0.01), WeightAverage::new(0.9).as_result())),
    }
}

/// Replaces the workspace or the optimizer of a trainer, and calls everything that reads them.
fn replaced(c: &mut Case) -> Verdict {
    let values = c.values::<f32>(16, Taste::Mild);
    let data = Dataset::rows(3, &[0.5; 24], Target::Values(&values))?;
    let (mut run, mut other) = (begun(c, &data)?, begun(c, &data)?);
    let (own, network) = (run.workspace().blocks().clone(), run.network().spec());
    if c.flag() {
        std::mem::swap(run.workspace_mut(), other.workspace_mut());
    }
    if c.flag() {
        *run.optimizer_mut() = Optimizer::new(chain(c), other.workspace().blocks(), other.parameters())?;
    } else if c.flag() {
        std::mem::swap(run.optimizer_mut(), other.optimizer_mut());
    }
    let fits = run.workspace().blocks().parameters() == run.parameters().len();
    let names: Vec<String> = run.workspace().blocks().iter().map(|block| block.name.to_string()).collect();
    for name in &names {
        let _ = run.block(name).map(<[f32]>::len);
    }
    let _ = (run.averaged_parameters().map(<[f32]>::len), run.result().len(), run.checkpoint(), run.to_bytes().is_ok());
    let _ = run.step(&data, &mut Batch::new(&data, 2), &[0, 1], &mut ());
    let _ = (run.predict(&data).is_ok(), run.evaluate(&data).is_ok(), run.model().is_ok());
    let fitted = run.fit_with(&data, FitOptions::new().validation(&data));
    ensure(fitted.is_err() || fits, || format!("{network:?} trains with {:?}, made for {own:?}", run.workspace()))?;
    let epochs = fitted?;
    ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))?;
    let best = epochs.iter().filter_map(|epoch| epoch.validation).fold(f64::INFINITY, |best, v| best.min(v.loss));
    let now = run.evaluate(&data)?.loss;
    ensure(now <= best, || format!("a loss of {now} after {epochs:?}"))?;
    // A run of its own values can be saved.
    run.to_bytes()?;
    Ok(())
}

/// Trains a network in a format of 16 bits.
fn in_half(c: &mut Case) -> Verdict {
    let network = c.legal(3, 2).build::<f16>()?;
    let taste = c.taste();
    let (x, targets) = (c.values::<f16>(24, taste), c.values::<f16>(16, taste));
    let data = Dataset::rows(3, &x, Target::Values(&targets))?;
    let reduction = c.of(&[Reduction::Mean, Reduction::Sum]);
    let settings = TrainConfig { batch_size: 1 + c.below(8), epochs: 2, ..TrainConfig::default() };
    let loss = MeanSquaredError::new().reduction(reduction);
    let mut run = Trainer::new(network, loss, Adam::new(c.about(0.01)), settings)?;
    let before = run.evaluate(&data)?.loss;
    let y = run.predict(&data)?;
    let truth: f64 = y.iter().zip(&targets).map(|(&y, &t)| (to_f64(y) - to_f64(t)).powi(2)).sum();
    let truth = if reduction == Reduction::Mean { truth / targets.len() as f64 } else { truth };
    let right = (before - truth).abs() <= 1e-9 * truth || !truth.is_finite() && !before.is_finite();
    ensure(right, || format!("a loss of {before} for {truth}"))?;
    let epochs = run.fit(&data)?;
    ensure(run.parameters().iter().all(|w| w.is_finite()), || "the weights are not finite".into())?;
    ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            8,
            &[
                "layer::Dropout: Deserialize",
                "layer::LayerNorm: Deserialize",
                "layer::PRelu: Deserialize",
                "layer::RmsNorm: Deserialize",
            ],
            &[],
            any_layer,
        ),
        entry(
            6,
            &[
                "loss::CrossEntropy: Deserialize",
                "loss::BinaryCrossEntropy: Deserialize",
                "loss::Focal: Deserialize",
                "loss::GaussianNll: Deserialize",
                "loss::MultiMargin: Deserialize",
                "loss::NegativeLogLikelihood: Deserialize",
                "loss::ValueWeights: Deserialize",
            ],
            &[],
            any_loss,
        ),
        entry(
            1,
            &[
                "loss::CosineDistance: Deserialize",
                "loss::Hinge: Deserialize",
                "loss::KlDivergence: Deserialize",
                "loss::PoissonNll: Deserialize",
            ],
            &[],
            |c| match c.below(4) {
                0 => json(c, &CosineDistance::new()),
                1 => json(c, &KlDivergence::new()),
                2 => json(c, &Hinge::new()),
                _ => json(c, &PoissonNll::new()),
            },
        ),
        entry(4, &["transform::Optimizer::new"], &[], any_blocks),
        entry(4, &["trainer::Trainer::block"], &[], replaced),
        entry(4, &["layer::Linear: Deserialize"], &[], |c| {
            if c.flag() {
                return in_half(c);
            }
            let width = c.width();
            let node = c.sequence(width, 2);
            let mut text = serde_json::to_string(&node).unwrap_or_default();
            if c.flag() {
                text = corrupt(c, text);
            }
            let read: LayerSpec = serde_json::from_str(&text).map_err(|_| Fault::Refused("JSON".into()))?;
            match &read {
                LayerSpec::Sequential { input, .. } => drive_node::<f16>(c, &read, *input),
                _ => Ok(()),
            }
        }),
    ]
}
