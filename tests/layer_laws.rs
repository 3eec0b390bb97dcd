//! Every layer, and whole networks, keep their laws.

use chainrule::{
    activation::{Gelu, Relu, Sigmoid, Tanh},
    layer::{
        BranchScale, Dropout, LastStep, LayerNorm, Linear, MeanOverSteps, PRelu, Pointwise, Residual, RmsNorm,
        Sequential,
    },
    layer_laws,
    recurrent::{Elman, Gru, Lstm, Recurrent, Reversed},
};

layer_laws!(linear, Linear::new(3, 2));
layer_laws!(linear_of_one, Linear::new(1, 1));
layer_laws!(linear_without_bias, Linear::new(5, 4).without_bias());
layer_laws!(linear_of_many_widths, Linear::new(35, 33));
layer_laws!(pointwise, Pointwise::new(3, Gelu));
layer_laws!(prelu, PRelu::new(3));
layer_laws!(prelu_per_unit, PRelu::new(3).per_unit());
layer_laws!(layer_norm, LayerNorm::new(5));
layer_laws!(layer_norm_of_two, LayerNorm::new(2));
layer_laws!(rms_norm, RmsNorm::new(5));
layer_laws!(dropout, Dropout::new(4, 0.3).unwrap());
layer_laws!(last_step, LastStep::new(3));
layer_laws!(mean_over_steps, MeanOverSteps::new(3));
layer_laws!(residual, Residual::new(Linear::new(3, 3)).unwrap());
layer_laws!(residual_scaled, Residual::new(Linear::new(3, 3)).unwrap().scale(BranchScale::Learned(0.0)).unwrap());
layer_laws!(elman, Recurrent::new(3, 4, Elman::new(Tanh)));
layer_laws!(lstm, Recurrent::new(3, 4, Lstm));
layer_laws!(gru, Recurrent::new(3, 4, Gru::default()));
layer_laws!(reversed, Reversed::new(Recurrent::new(3, 4, Lstm)));
layer_laws!(
    mlp,
    Sequential::input(3).linear(17).activation(Relu).linear(9).activation(Sigmoid).linear(2).build().unwrap()
);
layer_laws!(deep_sigmoid, {
    let mut builder = Sequential::input(4);
    for _ in 0..20 {
        builder = builder.linear(6).activation(Sigmoid);
    }
    builder.linear(1).build().unwrap()
});
layer_laws!(stacked, Sequential::input(3).recurrent(5, Lstm).recurrent(4, Gru::default()).linear(2).build().unwrap());
use chainrule::cell_laws;
cell_laws!(elman_cell, Elman::new(Tanh));
cell_laws!(elman_relu_cell, Elman::new(Relu));
cell_laws!(lstm_cell, Lstm);
cell_laws!(gru_cell, Gru::default());
cell_laws!(gru_before_cell, Gru::new(chainrule::layer::Reset::BeforeProduct));
