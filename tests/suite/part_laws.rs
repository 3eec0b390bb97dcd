//! Every initializer, loss, transform and monitor keeps its laws, by the macros that users have.

use chainrule::{
    Error, Gate, Role,
    activation::{Gelu, Tanh},
    initializer::*,
    initializer_laws,
    loss::*,
    loss_laws,
    monitor::{Every, GradientBudget, Statistics},
    monitor_laws,
    rand_core::Rng,
    testing::{Law, Losses, Transforms, initializer_laws, loss_laws, monitor_laws, transform_laws},
    transform::*,
    transform_laws,
};

initializer_laws!(zeros, Zeros);
initializer_laws!(constant, Constant(-0.3));
initializer_laws!(identity, Identity { scale: -0.5 });
initializer_laws!(uniform, Uniform { low: -0.5, high: 2.0 });
initializer_laws!(normal, Normal { mean: 3.0, std: 0.1 });
initializer_laws!(truncated_normal, TruncatedNormal::new(0.5, 2.0));
initializer_laws!(truncated_in_the_tail, TruncatedNormal::new(0.0, 1.0).between(3.0, 4.0));
initializer_laws!(glorot, Glorot::uniform());
initializer_laws!(glorot_normal, Glorot::normal());
initializer_laws!(he, He::normal());
initializer_laws!(he_uniform, He::uniform());
initializer_laws!(lecun_truncated, LeCun::normal().truncated());
initializer_laws!(orthogonal, Orthogonal { gain: 1.5 });
initializer_laws!(sparse, Sparse::std(0.3));
initializer_laws!(by_gate, ByGate::new(He::normal()).gate("forget", Constant(1.0)));
initializer_laws!(as_data, He::normal().kind());
initializer_laws!(critical, CriticalGain::new(&Gelu).unwrap());
initializer_laws!(critical_orthogonal, CriticalGain::new(&Tanh).unwrap().orthogonal());
initializer_laws!(chrono, Chrono { span: 50 });
initializer_laws!(chrono_forget, OfGate(Gate::carrying_state("forget"), Chrono { span: 50 }));
initializer_laws!(chrono_input, OfGate(Gate::new("input"), Chrono { span: 3 }));

/// Every block as one of that gate.
#[derive(Debug)]
struct OfGate(Gate, Chrono);

impl Initializer for OfGate {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.1.fill(shape.gate(self.0), rng, values)
    }
    fn variance(&self, shape: Shape) -> Option<f64> {
        self.1.variance(shape.gate(self.0))
    }
    fn mean(&self, shape: Shape) -> Option<f64> {
        self.1.mean(shape.gate(self.0))
    }
    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        self.1.range(shape.gate(self.0))
    }
}

loss_laws!(mean_squared, MeanSquaredError::new());
loss_laws!(sum_squared, MeanSquaredError::new().reduction(Reduction::Sum));
loss_laws!(mean_absolute, MeanAbsoluteError::new());
loss_laws!(huber, Huber::new(0.7).unwrap());
loss_laws!(smooth_l1, SmoothL1::new(0.7).unwrap());
loss_laws!(cross_entropy, CrossEntropy::new());
loss_laws!(cross_entropy_sum, CrossEntropy::new().reduction(Reduction::Sum));
loss_laws!(cross_entropy_smoothed, CrossEntropy::new().label_smoothing(0.2).unwrap());
loss_laws!(
    cross_entropy_weighted,
    CrossEntropy::new().class_weights(&[0.5, 2.0, 1.5]).unwrap().label_smoothing(0.2).unwrap()
);
loss_laws!(cross_entropy_ignoring, CrossEntropy::new().class_weights(&[0.5, 2.0, 1.5]).unwrap().ignore_class(1));
loss_laws!(binary_cross_entropy_weighted, BinaryCrossEntropy::new().positive_weights(&[2.0, 0.5, 1.0]).unwrap());
loss_laws!(binary_cross_entropy, BinaryCrossEntropy::new());
loss_laws!(pinball, Pinball::new(0.9).unwrap());
loss_laws!(poisson, PoissonNll::new());
loss_laws!(poisson_full, PoissonNll::new().full().reduction(Reduction::Sum));
loss_laws!(gaussian, GaussianNll::new());
loss_laws!(gaussian_full, GaussianNll::new().full().epsilon(0.0).unwrap().reduction(Reduction::Sum));
loss_laws!(focal, Focal::new(2.0).unwrap());
loss_laws!(focal_weighted, Focal::new(0.5).unwrap().alpha(0.25).unwrap().reduction(Reduction::Sum));
loss_laws!(cosine_distance, CosineDistance::new());
loss_laws!(multi_margin, MultiMargin::new());
loss_laws!(multi_margin_squared, MultiMargin::new().margin(0.5).unwrap().squared());
loss_laws!(kl_divergence, KlDivergence::new());
loss_laws!(negative_log_likelihood, NegativeLogLikelihood::new());
loss_laws!(
    negative_log_likelihood_weighted,
    NegativeLogLikelihood::new().class_weights(&[0.5, 2.0, 1.5]).unwrap().ignore_class(1)
);
loss_laws!(
    multi_margin_weighted,
    MultiMargin::new().class_weights(&[0.5, 2.0, 0.0]).unwrap().reduction(Reduction::Sum)
);
loss_laws!(hinge, Hinge::new());
loss_laws!(weighted_hinge, ValueWeights::new(Hinge::new()));
loss_laws!(binary_cross_entropy_sum, BinaryCrossEntropy::new().reduction(Reduction::Sum));
loss_laws!(weighted_squares, ValueWeights::new(MeanSquaredError::new()));
// Targets of zero have weights of zero: a mean refuses them, and a sum of nothing is 0, whatever the outputs.
loss_laws!(weighted_huber, ValueWeights::new(Huber::new(0.7).unwrap()));
loss_laws!(weighted_poisson, ValueWeights::new(PoissonNll::new()));
loss_laws!(
    weighted_binary_cross_entropy,
    ValueWeights::new(BinaryCrossEntropy::new().positive_weights(&[3.0]).unwrap())
);

transform_laws!(nothing, ());
transform_laws!(sgd, Sgd::new(0.1), [RestsAtZero]);
transform_laws!(nesterov, Sgd::new(0.1).momentum(0.9).nesterov(), [RestsAtZero]);
transform_laws!(adam, Adam::new(0.1), [RestsAtZero]);
transform_laws!(amsgrad, Adam::new(0.1).amsgrad(), [RestsAtZero]);
transform_laws!(adamw, AdamW::new(0.1, 0.1));
transform_laws!(rms_prop, RmsProp::new(0.1).momentum(0.5).centred(), [RestsAtZero]);
transform_laws!(adagrad, Adagrad::new(0.1), [RestsAtZero]);
transform_laws!(adadelta, Adadelta::new(1.0), [RestsAtZero]);
transform_laws!(adamax, Adamax::new(0.1), [RestsAtZero]);
transform_laws!(nadam, NAdam::new(0.1), [RestsAtZero]);
transform_laws!(radam, RAdam::new(0.1), [RestsAtZero]);
transform_laws!(lion, Lion::new(0.1), [RestsAtZero]);
transform_laws!(lion_with_decay, Lion::new(0.1).decay(0.01));
transform_laws!(muon, Muon::new(0.1, AdamW::new(0.1, 0.0)).decay(0.0), [RestsAtZero]);
transform_laws!(muon_with_decay, Muon::new(0.1, AdamW::new(0.1, 0.0)).without_nesterov());
transform_laws!(schedule_free, ScheduleFreeAdamW::new(0.1, 0.0), [RestsAtZero]);
transform_laws!(
    schedule_free_with_decay,
    ScheduleFreeAdamW::new(0.1, 0.5).warm_up(2).roles(&[Role::Weight, Role::Recurrent, Role::Bias, Role::Gain]),
    like: |g, m, t, w| {
        // z, x, v and Σγ² of algorithm 1.
        (m[0], m[1]) = if t == 0 { (w, w) } else { (m[0], m[1]) };
        let gamma = 0.1 * (1.0 - 0.999f64.powi(t as i32 + 1)).sqrt() * ((t as f64 + 1.0) / 2.0).min(1.0);
        m[2] = 0.999 * m[2] + 0.001 * g * g;
        m[0] -= gamma * (g / (m[2].sqrt() + 1e-8) + 0.5 * w);
        m[3] += gamma * gamma;
        let c = gamma * gamma / m[3];
        m[1] = (1.0 - c) * m[1] + c * m[0];
        0.1 * m[0] + 0.9 * m[1] - w
    }
);
transform_laws!(clip_value, ClipValue::new(1.0), [ReducesNorm, Idempotent]);
transform_laws!(clip_norm, ClipNorm::new(1.0), [ReducesNorm, KeepsDirection, Idempotent]);
transform_laws!(clip_three_norm, ClipNorm::new(1.0).p(3.0), [ReducesNorm, KeepsDirection, Idempotent]);
transform_laws!(clip_largest, ClipNorm::new(1.0).p(f64::INFINITY), [ReducesNorm, KeepsDirection, Idempotent]);
transform_laws!(clip_block_norm, ClipBlockNorm::new(1.0), [ReducesNorm, Idempotent]);
transform_laws!(penalty, Penalty::elastic_net(0.1, 0.1));
transform_laws!(constant_rate, Schedule::constant(0.5), [Scales]);
transform_laws!(step, Schedule::step(10, 0.5), [Scales]);
transform_laws!(cosine, Schedule::cosine(100, 0.1), [Scales]);
transform_laws!(restarts, Schedule::cosine_with_restarts(10, 2, 0.0), [Scales]);
transform_laws!(warm_up, Schedule::warm_up(0.0, 50), [Scales]);
transform_laws!(one_cycle, Schedule::one_cycle(0.1, 100), [Scales]);
transform_laws!(joined, Schedule::warm_up(0.0, 50).then(50, Schedule::cyclic(0.1, 1.0, 5, 5).per_epoch(2)), [Scales]);
transform_laws!(plateau, ReduceOnPlateau::new(0.5, 3), [Scales]);
transform_laws!(block_rates, ParameterGroups::new().rate("0", 3.0).rate("2.bias", 0.5));
transform_laws!(role_rates, ParameterGroups::new().rate(Role::Bias, 3.0).rate("0", 0.5));
transform_laws!(
    optimizer_per_group,
    PerGroup::new(AdamW::new(0.1, 0.0))
        .group("0", (ClipNorm::new(1.0), Sgd::new(0.1)))
        .group(Role::Bias, Adam::new(0.2)),
    [RestsAtZero]
);
transform_laws!(average, WeightAverage::new(0.9));
transform_laws!(average_with_warm_up, WeightAverage::new(0.9).warm_up());
transform_laws!(average_without_bias, WeightAverage::new(0.9).debias().as_result());
transform_laws!(guard, SkipNonFinite::new());
transform_laws!(
    chain,
    (SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(0.1), Schedule::step(2, 0.5), WeightAverage::new(0.9)),
    [RestsAtZero]
);

monitor_laws!(no_monitor, ());
monitor_laws!(budget, GradientBudget::new());
monitor_laws!(statistics, Statistics::new());
monitor_laws!(every_other, Every(2, GradientBudget::new()));
monitor_laws!(two, (GradientBudget::new(), Some(GradientBudget::new())));
#[cfg(feature = "serde")]
monitor_laws!(recorder, chainrule::monitor::Recorder::new(std::io::sink()));
#[cfg(feature = "tensorboard")]
monitor_laws!(tensorboard, chainrule::monitor::TensorBoard::new(std::io::sink()));

/// No right implementation is accused: `CHAINRULE_SEEDS` seeds, or one.
#[test]
fn right_part_at_any_seed_is_not_accused() {
    let seeds = std::env::var("CHAINRULE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    for seed in 1000..1000 + seeds {
        for verdict in [
            initializer_laws(&Normal { mean: 3.0, std: 0.1 }, seed),
            initializer_laws(&He::uniform(), seed),
            initializer_laws(&TruncatedNormal::new(0.0, 1.0).between(3.0, 4.0), seed),
            initializer_laws(&Sparse::std(0.3), seed),
        ] {
            verdict.unwrap_or_else(|violations| panic!("{violations}"));
        }
        macro_rules! losses {
            ($($loss:expr),+) => {
                [$(loss_laws(Losses { single: &$loss, double: &$loss, dual: &$loss }, seed)),+]
            };
        }
        macro_rules! transforms {
            ($($transform:expr, [$($law:ident),*]);+) => {
                [$(transform_laws(
                    Transforms { single: &|| Box::new($transform), double: &|| Box::new($transform), like: None },
                    &[$(Law::$law),*],
                    seed,
                )),+]
            };
        }
        for verdict in losses![
            MeanSquaredError::new(),
            MeanAbsoluteError::new(),
            Huber::new(0.7).unwrap(),
            CrossEntropy::new(),
            CrossEntropy::new().label_smoothing(0.2).unwrap(),
            BinaryCrossEntropy::new()
        ] {
            verdict.unwrap_or_else(|violations| panic!("{violations}"));
        }
        for verdict in transforms![
            ClipNorm::new(1.0), [ReducesNorm, KeepsDirection, Idempotent];
            ClipNorm::new(1.0).p(3.0), [ReducesNorm, KeepsDirection, Idempotent];
            ClipBlockNorm::new(1.0), [ReducesNorm, Idempotent];
            Adam::new(0.1).amsgrad(), [RestsAtZero];
            RmsProp::new(0.1).momentum(0.5).centred(), [RestsAtZero];
            Schedule::one_cycle(0.1, 100), [Scales]
        ] {
            verdict.unwrap_or_else(|violations| panic!("{violations}"));
        }
        monitor_laws(GradientBudget::new, seed).unwrap_or_else(|violations| panic!("{violations}"));
    }
    println!("{seeds} seeds, none accused");
}
