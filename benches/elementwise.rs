//! Throughput of each activation and its derivative on a row that stays in the cache:
//! `cargo bench --bench elementwise`.
//!
//! Throughput counts values. The two activations `of a user` are defined here: tanh from [`math`](chainrule::math),
//! which should be as fast as the built-in one, and tanh from the methods of the scalar, which is not vectorized.

use chainrule::{
    Activation, BatchShape, Bounds, Scalar, activation,
    layer::{ActivationLayer, Layer, Mode},
    math, scalar,
    workspace::Workspace,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const VALUES: usize = 4096;

#[derive(Clone, Debug)]
struct WithMath;

impl Activation for WithMath {
    fn value<T: Scalar>(&self, z: T) -> T {
        math::tanh(z)
    }
    fn derivative<T: Scalar>(&self, _z: T, y: T) -> T {
        T::one() - y * y
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
}

#[derive(Clone, Debug)]
struct WithMethods;

impl Activation for WithMethods {
    fn value<T: Scalar>(&self, z: T) -> T {
        z.tanh()
    }
    fn derivative<T: Scalar>(&self, _z: T, y: T) -> T {
        T::one() - y * y
    }
}

fn one<T: Scalar>(criterion: &mut Criterion, scalar_name: &str, name: &str, activation: impl Activation) {
    let mut group = criterion.benchmark_group(format!("activation/{scalar_name}"));
    group.throughput(Throughput::Elements(VALUES as u64));
    let network = ActivationLayer::new(VALUES, activation);
    let x: Vec<T> = (0..VALUES).map(|i| scalar(i as f64 / VALUES as f64 * 12.0 - 6.0)).collect();
    let shape = BatchShape::batch(1);
    let mut workspace = Workspace::new(&network as &dyn Layer<T>, shape).expect("a workspace");
    workspace.compute_input_gradient(true);
    group.bench_function(BenchmarkId::new("value", name), |bench| {
        bench.iter(|| workspace.infer(&[], &x, shape).expect("a pass").len())
    });
    group.bench_function(BenchmarkId::new("value and derivative", name), |bench| {
        bench.iter(|| {
            let output = workspace.forward_with(&[], &x, shape, Mode::Train, &mut ()).expect("a pass");
            output.dy.fill(T::one());
            workspace.backward(&[]).expect("a pass");
            workspace.input_gradient().len()
        })
    });
}

fn activations<T: Scalar>(criterion: &mut Criterion, name: &str) {
    macro_rules! each {
        ($($activation:expr),+ $(,)?) => {
            $(one::<T>(criterion, name, stringify!($activation), $activation);)+
        };
    }
    use activation::*;
    each!(
        Identity,
        Sigmoid,
        Tanh,
        Relu,
        LeakyRelu::default(),
        Relu6,
        Elu::default(),
        Celu::default(),
        Selu,
        Gelu,
        GeluTanh,
        Swish::default(),
        Mish,
        Softplus::default(),
        Softsign,
        LogSigmoid,
        HardTanh::default(),
        HardSigmoid,
        HardSwish,
        Erf,
        HardShrink::default(),
        SoftShrink::default(),
        TanhShrink,
        Threshold::new(0.0, 0.0).unwrap(),
    );
    one::<T>(criterion, name, "of a user, with math::tanh", WithMath);
    one::<T>(criterion, name, "of a user, with Float::tanh", WithMethods);
}

fn all(criterion: &mut Criterion) {
    activations::<f32>(criterion, "f32");
    activations::<f64>(criterion, "f64");
}

criterion_group!(benches, all);
criterion_main!(benches);
