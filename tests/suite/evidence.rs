//! What a run shows: tasks whose noise leaves little to learn, slow runs and noisy losses, each beside the sick run
//! that it must not hide.

use crate::{
    harmless::{WIDTH, above_a_note, checked, run, run_with},
    numbers::normals,
};
use chainrule::{
    BatchShape, Error,
    activation::{Relu, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Cause, Diagnosis, Report, Severity},
    initializer::Normal,
    layer::{Dropout, LayerNorm, Linear, Sequential, initialize},
    loss::{CosineDistance, CrossEntropy, GaussianNll, Loss, MeanSquaredError, Target},
    monitor::Statistics,
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, AdamW, GradientTransform, ParameterGroups, PerGroup, Schedule, Sgd},
};

const SAMPLES: usize = 2048;

fn inputs() -> Vec<f32> {
    normals(SAMPLES * WIDTH, 11)
}

/// The sign of the first column, of which a third is exchanged.
fn noisy_signs(x: &[f32]) -> Vec<usize> {
    let noise: Vec<f32> = normals(SAMPLES, 12);
    let exchanged = |noise: &f32| *noise < -0.43;
    x.chunks(WIDTH).zip(&noise).map(|(row, noise)| usize::from((row[0] > 0.0) != exchanged(noise))).collect()
}

/// The first column times `signal`, and noise of variance 1.
fn noisy_values(x: &[f32], signal: f32) -> Vec<f32> {
    let noise: Vec<f32> = normals(SAMPLES, 13);
    x.chunks(WIDTH).zip(&noise).map(|(row, noise)| signal * row[0] + noise).collect()
}

fn tanh(outputs: usize) -> Result<Sequential<f32>, Error> {
    Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(outputs).build()
}

/// Of labels of which a third is wrong, the best loss is 0.64, and that of constant outputs 0.69: a schedule that
/// ends there has done its work. One that ends after five steps of a hundredth of the rate has not.
#[test]
fn schedule_may_end_at_the_noise_of_the_labels() -> Result<(), Error> {
    let x = inputs();
    let y = noisy_signs(&x);
    let (data, network, loss) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, tanh(2)?, CrossEntropy::new());
    let report = |rate, steps| {
        let chain = (Adam::new(rate), Schedule::polynomial(steps, 1.0));
        run(&network, &data, &loss, chain, 150, |_, _| {})
    };
    let [healthy, sick] = [report(3e-3, 140)?, report(3e-5, 5)?];
    assert!(healthy.is_healthy(), "{healthy}");
    assert!(above_a_note(&sick, Cause::LearningRateTooLow), "{sick}");
    Ok(())
}

/// Of a weak dependence the best weights are small. Decay that leaves them is none that is too strong.
#[test]
fn decay_to_a_small_optimum_is_not_too_strong() -> Result<(), Error> {
    let x = inputs();
    let (network, loss) = (tanh(1)?, MeanSquaredError::new());
    let report = |signal, decay| {
        let y = noisy_values(&x, signal);
        let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
        run(&network, &data, &loss, AdamW::new(3e-3, decay), 300, |_, _| {})
    };
    let [healthy, sick] = [report(0.3, 2.0)?, report(1.0, 60.0)?];
    assert!(healthy.is_healthy(), "{healthy}");
    assert!(above_a_note(&sick, Cause::DecayTooStrong), "{sick}");
    Ok(())
}

/// Masks of one half cost a slow run little; such of 0.98 keep it from learning.
#[test]
fn dropout_is_not_the_fault_of_a_slow_run() -> Result<(), Error> {
    let x = inputs();
    let signs: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] + row[1] > 0.0)).collect();
    let weak = noisy_signs(&x);
    let network = |rate| {
        let first = Sequential::<f32>::input(WIDTH).linear(64).activation(Relu).layer(Dropout::new(64, rate)?);
        first.linear(2).build()
    };
    let accused = |rate, y: &[usize], step, steps| -> Result<bool, Error> {
        let data = Dataset::rows(WIDTH, &x, Target::Classes(y))?;
        let report = run(&network(rate)?, &data, &CrossEntropy::new(), Sgd::new(step), steps, |_, _| {})?;
        Ok(above_a_note(&report, Cause::DropoutTooHeavy))
    };
    for steps in [30, 60, 100] {
        assert!(!accused(0.5, &signs, 0.01, steps)?, "{steps}");
        assert!(!accused(0.5, &weak, 0.05, steps)?, "{steps}");
    }
    assert!(accused(0.98, &signs, 0.01, 30)?);
    Ok(())
}

/// A first step is long beside small weights, whatever its rate: that they grow is no harm. Steps that are long
/// beside usual weights, with a loss that does not fall, are.
#[test]
fn small_weights_may_grow_by_long_steps() -> Result<(), Error> {
    let x = inputs();
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let small = || Normal::new(0.0, 0.01);
    let network = Sequential::<f32>::input(WIDTH).layer(Linear::new(WIDTH, 32).weights(small())).activation(Tanh);
    let network = network.layer(Linear::new(32, 2).weights(small())).build()?;
    for steps in [3, 5, 8, 12, 40] {
        let report = run(&network, &data, &CrossEntropy::new(), Adam::new(5e-3), steps, |_, _| {})?;
        assert!(!above_a_note(&report, Cause::LearningRateTooHigh), "{steps}: {report}");
    }
    let report = run(&tanh(2)?, &data, &CrossEntropy::new(), Adam::new(3.0), 60, |_, _| {})?;
    assert!(above_a_note(&report, Cause::LearningRateTooHigh), "{report}");
    Ok(())
}

/// First layers that do not move may be kept on purpose, as those of a trained network; one between others hardly.
#[test]
fn first_layers_may_be_kept() -> Result<(), Error> {
    let x = inputs();
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(64).activation(Tanh).linear(64).activation(Tanh).linear(2);
    let network = network.build()?;
    let report = |held: &str, steps| {
        let chain = (Adam::new(3e-3), ParameterGroups::new().rate(held, 0.0));
        run(&network, &data, &CrossEntropy::new(), chain, steps, |_, _| {})
    };
    for steps in [5, 20, 100] {
        let report = report("0", steps)?;
        assert!(report.is_healthy() && report.findings.iter().any(|it| it.cause == Cause::FrozenBlock), "{report}");
    }
    let report = report("2", 5)?;
    assert!(above_a_note(&report, Cause::FrozenBlock), "{report}");
    Ok(())
}

/// A norm over the batch subtracts what all rows have in common, one over a row does not.
#[test]
fn batch_norm_subtracts_an_offset_of_the_inputs() -> Result<(), Error> {
    let x: Vec<f32> = normals::<f32>(64 * WIDTH, 11).iter().map(|x| 100.0 + x).collect();
    let first = || Sequential::<f32>::input(WIDTH).linear(32);
    let networks = [first().batch_norm(), first().layer(LayerNorm::new(32))];
    let [of_batch, of_row] = networks.map(|first| first.activation(Relu).linear(2).build());
    let [of_batch, of_row] = [of_batch?, of_row?].map(|network| checked(&network, &x, BatchShape::batch(64)));
    let (of_batch, of_row) = (of_batch?, of_row?);
    assert!(of_batch.is_healthy(), "{of_batch}");
    assert!(above_a_note(&of_row, Cause::UnscaledInput), "{of_row}");
    Ok(())
}

/// A rectifier passes the size of its inputs to the norm after it, which divides by it; a tanh saturates before.
#[test]
fn norm_behind_a_rectifier_divides_by_the_size_of_inputs() -> Result<(), Error> {
    let x: Vec<f32> = normals::<f32>(64 * WIDTH, 11).iter().map(|x| 100.0 * x).collect();
    let first = || Sequential::<f32>::input(WIDTH).linear(32);
    let networks = [first().activation(Relu).batch_norm(), first().prelu().layer(LayerNorm::new(32))];
    for network in networks {
        let report = checked(&network.linear(2).build()?, &x, BatchShape::batch(64))?;
        assert!(report.is_healthy(), "{report}");
    }
    let network = first().activation(Tanh).layer(LayerNorm::new(32)).linear(2).build()?;
    let report = checked(&network, &x, BatchShape::batch(64))?;
    assert!(!report.is_healthy(), "{report}");
    Ok(())
}

/// Looks at a run after each fifth step, from the tenth on, and calls `seen` with its report.
fn looks(
    data: &Dataset<'_, f32>,
    loss: &dyn Loss<f32>,
    network: &Sequential<f32>,
    transform: impl GradientTransform<f32>,
    [batch, steps]: [usize; 2],
    mut seen: impl FnMut(&Report),
) -> Result<(), Error> {
    let mut trainer = Trainer::new(network, loss, transform, TrainConfig::default())?;
    let (mut statistics, mut rows) = (Statistics::new(), Batch::new(data, batch));
    for step in 0..steps {
        let samples: Vec<usize> = (0..batch).map(|i| (step * batch + i) % data.samples()).collect();
        if trainer.step(data, &mut rows, &samples, &mut statistics).is_err() {
            break;
        }
        if step >= 10 && step % 5 == 0 {
            let diagnosis = Diagnosis::new(network, InputStatistics::of_rows(data.inputs())?)?;
            seen(&diagnosis.task(trainer.parameters(), data, loss)?.statistics(&statistics).report());
        }
    }
    Ok(())
}

/// One hard batch is no divergence: the mean of five losses of heavy-tailed targets often is half above that of
/// constant outputs. A loss that climbs stays there.
#[test]
fn hard_batches_are_no_divergence() -> Result<(), Error> {
    let x = inputs();
    let (a, b): (Vec<f32>, Vec<f32>) = (normals(SAMPLES, 14), normals(SAMPLES, 15));
    // Two degrees of freedom: the variance has no end.
    let (c, signal) = (normals::<f32>(SAMPLES, 16), x.chunks(WIDTH));
    let tail = |at: usize| a[at] / (0.5 * (b[at] * b[at] + c[at] * c[at])).sqrt();
    let y: Vec<f32> = signal.enumerate().map(|(at, row)| row[0] + 0.3 * tail(at)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let (network, loss) = (tanh(1)?, MeanSquaredError::new());
    for batch in [1, 8] {
        looks(&data, &loss, &network, Sgd::new(0.002), [batch, 120], |report| {
            let climbs = report.findings.iter().any(|it| it.severity > Severity::Note && it.text.contains("climbs"));
            assert!(!climbs, "{batch}: {report}");
        })?;
    }
    let mut sick = 0;
    looks(&data, &loss, &network, Sgd::new(3.0), [8, 60], |report| sick += usize::from(!report.is_healthy()))?;
    assert!(sick > 0);
    Ok(())
}

/// Each of a few categories has its own mix of classes: no function of them tells the classes apart, which is no
/// fault of the data. One category for all samples is.
#[test]
fn few_categories_may_have_more_classes() -> Result<(), Error> {
    let noise: Vec<f32> = normals(SAMPLES, 17);
    for categories in [3, 1] {
        let category = |sample: usize| sample % 3;
        let columns = |sample: usize| [0, 1, 2].map(|it| f32::from(u8::from(it == category(sample) % categories)));
        let x: Vec<f32> = (0..SAMPLES).flat_map(columns).collect();
        let class = |at: usize| (1.5 * (category(at) as f32 - 1.0) + noise[at] + 2.5).clamp(0.0, 4.0) as usize;
        let y: Vec<usize> = (0..SAMPLES).map(class).collect();
        let data = Dataset::rows(3, &x, Target::Classes(&y))?;
        let network = Sequential::<f32>::input(3).linear(16).activation(Tanh).linear(5).build()?;
        let (w, inputs) = (initialize(&network, 1)?, InputStatistics::of_rows(&x)?);
        let report = Diagnosis::new(&network, inputs)?.task(&w, &data, &CrossEntropy::new())?.report();
        assert_eq!(above_a_note(&report, Cause::BadData), categories == 1, "{report}");
    }
    Ok(())
}

/// Empty rows are a part of a sparse table. One full row in place of most others is not.
#[test]
fn empty_rows_are_part_of_a_sparse_table() -> Result<(), Error> {
    let fresh = inputs();
    let y: Vec<usize> = fresh.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect();
    for (value, expected) in [(0.0, false), (0.4, true)] {
        let row = |at: usize| if at % 5 < 3 { vec![value; WIDTH] } else { fresh[at * WIDTH..][..WIDTH].to_vec() };
        let x: Vec<f32> = (0..SAMPLES).flat_map(row).collect();
        let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
        let report = run(&tanh(2)?, &data, &CrossEntropy::new(), Adam::new(3e-3), 30, |_, _| {})?;
        assert_eq!(above_a_note(&report, Cause::BadData), expected, "{report}");
    }
    Ok(())
}

/// The loss of constant outputs is known for a loss without a gradient at outputs of 0, so what a run learns is seen.
#[test]
fn cosine_distance_has_a_best_constant() -> Result<(), Error> {
    let x = inputs();
    let y: Vec<f32> = x.chunks(WIDTH).flat_map(|row| [row[0] + row[1], row[2] - row[0]]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let (network, loss) = (tanh(2)?, CosineDistance::new());
    let report = |rate| run(&network, &data, &loss, Adam::new(rate), 150, |_, _| {});
    let [healthy, sick] = [report(3e-3)?, report(1e-8)?];
    assert!(healthy.is_healthy(), "{healthy}");
    assert!(above_a_note(&sick, Cause::LearningRateTooLow), "{sick}");
    Ok(())
}

/// Labels that do not depend on the inputs explain that nothing is learned: no dropout, decay or schedule is accused.
#[test]
fn labels_without_information_explain_what_is_not_learned() -> Result<(), Error> {
    let x = inputs();
    let y: Vec<usize> = normals::<f32>(SAMPLES, 18).iter().map(|it| usize::from(*it > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(64).activation(Relu).layer(Dropout::new(64, 0.5)?).linear(2);
    let network = network.build()?;
    let chain = (AdamW::new(3e-3, 1.0), Schedule::polynomial(100, 1.0));
    let report = run(&network, &data, &CrossEntropy::new(), chain, 120, |_, _| {})?;
    assert!(report.is_healthy(), "{report}");
    assert!(report.findings.iter().any(|it| it.cause == Cause::NoInformation), "{report}");
    Ok(())
}

/// The rate of warm restarts is low at the end of each cycle, and rises again.
#[test]
fn end_of_a_cycle_is_no_end_of_the_schedule() -> Result<(), Error> {
    let x = inputs();
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let (network, loss) = (tanh(2)?, CrossEntropy::new());
    let restarts = || Schedule::cosine_with_restarts(40, 2, 0.0);
    type Chain = Box<dyn GradientTransform<f32>>;
    let alone = |schedule: Schedule| Box::new((Sgd::new(0.002), schedule)) as Chain;
    let groups = |schedule: Schedule| {
        let part = || (Sgd::new(0.002), schedule.clone());
        Box::new(PerGroup::new(part()).group("0", part())) as Chain
    };
    // Restarts that another schedule follows have ended where it begins.
    let ends = || restarts().then(30, Schedule::constant(0.0));
    let chains: [(&dyn Fn() -> Chain, bool); 6] = [
        (&|| alone(restarts()), false),
        (&|| groups(restarts()), false),
        (&|| groups(Schedule::warm_up(0.0, 2).then(2, restarts())), false),
        (&|| alone(Schedule::cosine(40, 0.0)), true),
        (&|| alone(ends()), true),
        (&|| groups(ends()), true),
    ];
    for (chain, expected) in chains {
        let told = chain();
        let report = run_with(&network, &data, &loss, chain(), 39, |_, _| {}, |it| it.transform::<f32>(&*told))?;
        let is_told =
            report.findings.iter().any(|it| it.severity > Severity::Note && it.text.contains("schedule ended"));
        assert_eq!(is_told, expected, "{report}");
    }
    Ok(())
}

/// A loss with an additive constant, such as a Gaussian likelihood, shows what was learned of noisy targets, too.
#[test]
fn likelihood_of_noisy_targets_shows_what_was_learned() -> Result<(), Error> {
    let x = inputs();
    let y = noisy_values(&x, 0.5);
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let chain = (Adam::new(5e-3), Schedule::polynomial(140, 1.0));
    let report = run(&tanh(2)?, &data, &GaussianNll::new(), chain, 150, |_, _| {})?;
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

/// A diagnosis takes any number of samples, also one more than those that are compared at once: a norm over the batch
/// refuses a batch of one row.
#[test]
fn batch_norm_is_judged_on_any_number_of_samples() -> Result<(), Error> {
    let (x, loss) = (inputs(), CrossEntropy::new());
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect();
    let network = Sequential::<f32>::input(WIDTH).linear(16).batch_norm().activation(Relu).linear(2).build()?;
    let w = initialize(&network, 0)?;
    for samples in [256, 257, 258, 513, 769, 1025, 2048] {
        let data = Dataset::rows(WIDTH, &x[..samples * WIDTH], Target::Classes(&y[..samples]))?;
        Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.task(&w, &data, &loss)?;
    }
    Ok(())
}

/// Samples of an ignored class do not count: labels of which a third is wrong are learned beside them, too.
#[test]
fn ignored_class_hides_nothing_that_was_learned() -> Result<(), Error> {
    let x = inputs();
    let mut y = noisy_signs(&x);
    y.iter_mut().step_by(3).for_each(|y| *y = 2);
    let (data, network) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, tanh(3)?);
    let (loss, chain) = (CrossEntropy::new().ignore_class(2), (Adam::new(3e-3), Schedule::polynomial(140, 1.0)));
    let report = run(&network, &data, &loss, chain, 150, |_, _| {})?;
    assert!(report.is_healthy(), "{report}");
    Ok(())
}
