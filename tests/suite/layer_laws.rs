//! Every layer, every cell and whole networks keep their laws, by the macros that users have.

use chainrule::{
    activation::{Elu, Gelu, Identity, Relu, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh},
    cell_laws,
    layer::{
        ActivationLayer, BatchNorm, BranchScale, Dropout, GatedLinear, GroupNorm, LastStep, LayerNorm, Linear,
        LogSoftmax, MeanOverSteps, PRelu, Residual, RmsNorm, Sequential, Softmax,
    },
    layer_laws,
    recurrent::{Bidirectional, Elman, Gru, GruVariant, Lstm, Mgu, Recurrent, Reversed},
    testing::{Evidence, Law, Layers, cell_laws, layer_laws},
};

layer_laws!(linear_of_one, Linear::new(1, 1));
layer_laws!(linear, Linear::new(3, 2));
layer_laws!(linear_without_bias, Linear::new(5, 4).without_bias());
layer_laws!(pointwise, ActivationLayer::new(3, Gelu));
layer_laws!(prelu, PRelu::new(3));
layer_laws!(prelu_per_unit, PRelu::new(3).per_unit());
layer_laws!(layer_norm_of_two, LayerNorm::new(2));
layer_laws!(layer_norm_plain, LayerNorm::new(4).without_affine());
layer_laws!(group_norm, GroupNorm::new(6, 2).unwrap());
layer_laws!(group_norm_plain, GroupNorm::new(6, 3).unwrap().without_affine());
layer_laws!(batch_norm, BatchNorm::new(3));
layer_laws!(batch_norm_plain, BatchNorm::new(17).without_affine());
layer_laws!(
    batch_norm_in_a_network,
    Sequential::input(3)
        .linear(4)
        .batch_norm()
        .relu()
        .residual(|branch| branch.linear(4).batch_norm())
        .build()
        .unwrap()
);
layer_laws!(rms_norm_of_one, RmsNorm::new(1));
layer_laws!(rms_norm_plain, RmsNorm::new(4).without_affine());
layer_laws!(dropout, Dropout::new(4, 0.3).unwrap());
layer_laws!(no_dropout, Dropout::new(4, 0.0).unwrap());
layer_laws!(gated_linear, GatedLinear::new(3, 2, Swish::default()));
layer_laws!(gated_linear_without_bias, GatedLinear::new(2, 5, Sigmoid).without_bias());
layer_laws!(softmax, Softmax::new(4));
layer_laws!(softmax_of_one, Softmax::new(1));
layer_laws!(log_softmax, LogSoftmax::new(4));
layer_laws!(log_softmax_of_one, LogSoftmax::new(1));
layer_laws!(last_step, LastStep::new(3));
layer_laws!(mean_over_steps, MeanOverSteps::new(3));
layer_laws!(residual, Residual::new(Linear::new(3, 3)).unwrap());
layer_laws!(residual_learned, Residual::new(Linear::new(3, 3)).unwrap().scale(BranchScale::Learned(0.0)).unwrap());
layer_laws!(residual_fixed, Residual::new(Linear::new(3, 3)).unwrap().scale(BranchScale::Fixed(0.5)).unwrap());
layer_laws!(lstm_with_recurrent_dropout, Recurrent::new(3, 4, Lstm::new()).recurrent_dropout(0.4).unwrap());
layer_laws!(
    gru_with_recurrent_dropout,
    Recurrent::new(2, 5, Gru::new().variant(GruVariant::ResetBefore)).recurrent_dropout(0.3).unwrap()
);
layer_laws!(lstm_with_zoneout, Recurrent::new(3, 4, Lstm::new()).zoneout(0.3, 0.5).unwrap());
layer_laws!(gru_with_both, Recurrent::new(2, 3, Gru::new()).recurrent_dropout(0.2).unwrap().zoneout(0.4, 0.0).unwrap());
layer_laws!(
    elman_with_both,
    Recurrent::new(2, 3, Elman::new(Tanh)).without_bias().recurrent_dropout(0.5).unwrap().zoneout(0.9, 0.0).unwrap()
);
layer_laws!(reversed, Reversed::new::<f64>(Recurrent::new(3, 4, Lstm::new())).unwrap());
layer_laws!(
    bidirectional,
    Bidirectional::new::<f64>(Recurrent::new(3, 4, Lstm::new()), Recurrent::new(3, 2, Gru::new())).unwrap()
);
layer_laws!(behind_pointers, std::sync::Arc::new(Linear::new(2, 2)));
layer_laws!(
    feedforward,
    Sequential::input(3)
        .linear(17)
        .activation(Relu)
        .linear(9)
        .activation(Softplus::new(1.0).unwrap())
        .linear(2)
        .build()
        .unwrap()
);
layer_laws!(
    stacked,
    Sequential::input(3).recurrent(5, Lstm::new()).recurrent(4, Gru::new()).linear(2).build().unwrap()
);

cell_laws!(elman_relu, Elman::new(Relu));
cell_laws!(elman_identity, Elman::new(Identity));
cell_laws!(elman_softsign, Elman::new(Softsign));

/// The bar of the crate's own layers: rounding, and no more. Among thousands of draws are some whose gradient cancels
/// in itself, in which rounding is all that is left: there the laws must hold, and the worst is printed.
fn exact(verdict: Result<Evidence, chainrule::testing::Violations>) -> [f64; 2] {
    let evidence = verdict.unwrap_or_else(|violations| panic!("{violations}"));
    let worst = ["f64", "f32"].map(|scalar| evidence.worst(Law::Adjoint, scalar).expect("a measured adjoint"));
    let cancels = std::env::var("CHAINRULE_SEEDS").is_ok();
    assert!(cancels || (worst[0] <= 1e-13 && worst[1] <= 1e-5), "{evidence}");
    worst
}

/// `CHAINRULE_SEEDS` seeds, from `CHAINRULE_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let first = chainrule::testing::seed();
    let count = std::env::var("CHAINRULE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(2);
    first..first + count
}

macro_rules! exact {
    ($($name:ident: $layer:expr,)+) => {
        #[test]
        fn adjoints_of_layers_are_exact() {
            let mut worst = [0.0f64; 2];
            for seed in seeds() {
                $({
                    let layers = Layers { single: &$layer, double: &$layer, dual: &$layer };
                    let found = exact(layer_laws(layers, seed));
                    worst = [worst[0].max(found[0]), worst[1].max(found[1])];
                })+
            }
            println!("worst adjoint of a layer, {} seeds: f64 {:.1e}, f32 {:.1e}", seeds().count(), worst[0], worst[1]);
        }
    };
}

exact! {
    linear: Linear::new(35, 33),
    narrow: Linear::new(1, 5),
    wide: Linear::new(130, 3),
    pointwise: ActivationLayer::new(5, Swish::SILU),
    prelu: PRelu::new(3).per_unit(),
    layer_norm: LayerNorm::new(5),
    rms_norm: RmsNorm::new(5),
    group_norm: GroupNorm::new(15, 3).unwrap(),
    dropout: Dropout::new(4, 0.5).unwrap(),
    last_step: LastStep::new(3),
    mean_over_steps: MeanOverSteps::new(3),
    residual: Residual::new(Linear::new(3, 3)).unwrap().scale(BranchScale::Learned(0.0)).unwrap(),
    recurrent: Recurrent::new(3, 4, Lstm::new()).without_bias(),
    reversed: Reversed::new::<f64>(Recurrent::new(3, 4, Gru::new())).unwrap(),
    // Twenty sigmoids: the first layer's gradient is a millionth of a millionth, and right in all its digits.
    deep: {
        let mut network = Sequential::input(4);
        for _ in 0..20 {
            network = network.linear(6).activation(Sigmoid);
        }
        network.linear(1).build().unwrap()
    },
    deep_scaled: {
        let mut network = Sequential::input(4);
        for _ in 0..10 {
            network = network.linear(6).activation(Selu).linear(7).activation(Elu::default());
        }
        network.linear(3).build().unwrap()
    },
    mixed: Sequential::input(3).linear(8).layer(LayerNorm::new(8)).activation(Tanh)
        .layer(Residual::new(Linear::new(8, 8)).unwrap()).layer(Dropout::new(8, 0.2).unwrap())
        .recurrent(5, Lstm::new()).recurrent(4, Gru::new().variant(GruVariant::ResetBefore)).layer(LastStep::new(4)).linear(2)
        .build().unwrap(),
}

#[test]
fn adjoints_of_cells_are_exact() {
    let mut worst = [0.0f64; 2];
    for seed in seeds() {
        for found in [
            exact(cell_laws(&Elman::new(Tanh), seed)),
            exact(cell_laws(&Lstm::new(), seed)),
            exact(cell_laws(&Gru::new().variant(GruVariant::ResetAfter), seed)),
            exact(cell_laws(&Gru::new().variant(GruVariant::ResetBefore), seed)),
            exact(cell_laws(&Mgu::new(), seed)),
        ] {
            worst = [worst[0].max(found[0]), worst[1].max(found[1])];
        }
    }
    println!("worst adjoint of a cell, {} seeds: f64 {:.1e}, f32 {:.1e}", seeds().count(), worst[0], worst[1]);
}

/// Columns and rows in every remainder of the kernels' tiles.
#[test]
fn linear_at_every_remainder() {
    for width in 1..=40 {
        for linear in [Linear::new(width, 41 - width), Linear::new(3, width), Linear::new(width, 3)] {
            exact(layer_laws(Layers::of(&linear), width as u64));
        }
    }
}
