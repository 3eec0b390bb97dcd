//! The list of activations. Each activation of this crate has a file in this folder and an entry here.

/// Calls the macro `$each!` with the list of this crate's activations.
///
/// An entry names a file and its types. A type with parameters also has, in brackets, a range for each parameter of
/// `new`, from which the random networks of tests draw. Lists of parameters that tests try follow in parentheses.
macro_rules! activations {
    ($each:ident) => {
        $each! {
            identity: Identity;
            saturating: Sigmoid, Tanh, Softsign, Erf;
            rectified: Relu, Relu6, LeakyRelu [-2.0..=2.0] (0.01) (0.0) (1.0) (2.5) (-0.5) (0.999);
            exponential: Selu, Elu [0.0..=3.0] (1.0) (0.0) (0.5) (3.0), Celu [0.1..=3.0] (1.0) (0.5) (3.0) (0.01);
            gelu: Gelu, GeluTanh;
            swish: Mish, Swish [-3.0..=3.0] (1.0) (0.0) (0.3) (4.0) (-2.0) (50.0);
            softplus: LogSigmoid, Softplus [0.1..=3.0] (1.0) (0.2) (2.0) (50.0);
            hard: HardSigmoid, HardSwish, HardTanh [-2.0..=0.5, 0.6..=3.5] (-1.0, 1.0) (-0.25, 3.0) (0.1, 0.3);
            shrink: HardShrink [0.0..=2.0] (0.5) (0.0) (3.0), SoftShrink [0.0..=2.0] (0.5) (0.0) (3.0);
            tanh_shrink: TanhShrink;
            threshold: Threshold [-2.0..=2.0, -2.0..=2.0] (0.1, 20.0) (0.0, 0.0) (-1.0, -2.0);
        }
    };
}
pub(crate) use activations;
