//! Layers, cells and activations that are right, but unlike those that the laws assume: gradients computed through
//! `f64`, steps that a gradient does not see, kinks everywhere, links of a leaf that are no chain.

use crate::{Entry, Verdict};
use chainrule::{
    BatchShape, Block, Error, GradientMonitor, Layer, Mode, Role, Scalar,
    activation::{Activation, ActivationKind, Bounds, Relu, Sigmoid},
    initializer::Normal,
    layer::{ActivationLayer, Backward, Dims, Forward, GatedLinear, Linear, MemorySizes, Sequential, Structure},
    math,
    monitor::{Event, Factor, Link},
    rand_core::Rng,
    random::uniform,
    recurrent::Elman,
    scalar,
    testing::{Dual, Law, LayerCases, Layers, activation_laws, cell_laws, layer_laws, layer_laws_with, monitor_laws},
    to_f64,
};

/// z + sin z.
#[derive(Clone, Debug)]
struct Wavy;

impl Activation for Wavy {
    fn value<T: Scalar>(&self, z: T) -> T {
        z + z.sin()
    }

    fn derivative<T: Scalar>(&self, z: T, _: T) -> T {
        T::one() + z.cos()
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 2.0))
    }
}

/// φ(z) + z, or z φ(z), of an activation φ that is data.
#[derive(Clone, Debug)]
enum Around {
    Plus(ActivationKind),
    Times(ActivationKind),
}

impl Activation for Around {
    fn value<T: Scalar>(&self, z: T) -> T {
        match self {
            Around::Plus(inner) => inner.value(z) + z,
            Around::Times(inner) => inner.value(z) * z,
        }
    }

    fn derivative<T: Scalar>(&self, z: T, _: T) -> T {
        match self {
            Around::Plus(inner) => inner.derivative(z, inner.value(z)) + T::one(),
            Around::Times(inner) => {
                let y = inner.value(z);
                inner.derivative(z, y) * z + y
            }
        }
    }
}

/// The softplus, whose derivative is computed in `f64`.
#[derive(Clone, Debug)]
struct SlopeInDouble;

impl Activation for SlopeInDouble {
    fn value<T: Scalar>(&self, z: T) -> T {
        math::softplus(z)
    }

    fn derivative<T: Scalar>(&self, z: T, _: T) -> T {
        scalar(math::sigmoid(to_f64(z)))
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
}

const N: usize = 24;

/// y = W x and layers close to it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    /// W in steps of 1/128, with the gradient of W.
    Rounded,
    /// As `Rounded`, by a difference without a tangent.
    Detached,
    /// The gradient of W is summed in `f64`.
    WideSums,
    /// x/√(mean x² + 1/10), whose backward pass sums in `f64`.
    WideNorm,
    /// Without a backward pass on dual numbers.
    NoDualBackward,
    /// y = x ⊙ σ(W x), with a link for each of the factors of the gate.
    GatedInput,
    /// The smallest output of each column so far, from half the largest number on, in buffers.
    SmallestSoFar,
    // Wrong.
    /// `GatedInput`, with the wrong sign of one term.
    GatedInputLessGate,
}

use Kind::*;

impl Kind {
    fn is_gated(self) -> bool {
        matches!(self, GatedInput | GatedInputLessGate)
    }

    fn weight<T: Scalar>(self, w: T) -> T {
        let rounded = |w: T| (w * scalar(128.0)).round() / scalar(128.0);
        match self {
            Rounded => rounded(w),
            Detached => w + scalar(to_f64(rounded(w)) - to_f64(w)),
            _ => w,
        }
    }

    fn root<T: Scalar>(x: &[T]) -> T {
        let squares = x.iter().fold(T::zero(), |sum, &x| sum + x * x);
        (squares / scalar(N as f64) + scalar(0.1)).sqrt()
    }
}

fn is_dual<T: Scalar>() -> bool {
    size_of::<T>() > 8
}

impl<T: Scalar> Layer<T> for Kind {
    fn dims(&self) -> Dims {
        Dims::new(N, N, if *self == WideNorm { 0 } else { N * N })
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        if *self != WideNorm {
            visit(Block::new("weight", 0, [N, N], Role::Weight));
        }
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        w.iter_mut().for_each(|w| *w = scalar(uniform(rng) - 0.5));
        Ok(())
    }

    fn memory(&self, _: BatchShape<'_>, _: Mode) -> MemorySizes {
        MemorySizes::new(0, 0, 0).buffers(if *self == SmallestSoFar { N } else { 0 })
    }

    fn initialize_buffers(&self, buffers: &mut [T]) {
        buffers.fill(T::max_value() * scalar(0.5));
    }

    fn structure(&self) -> Structure<'_, T> {
        if self.is_gated() { Structure::LEAF.links(&["weights", "activation"]) } else { Structure::LEAF }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, mut ctx, .. } = pass;
        for (x, y) in x.chunks(N).zip(y.chunks_mut(N)) {
            if *self == WideNorm {
                let root = Kind::root(x);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x / root);
                continue;
            }
            for (y, w) in y.iter_mut().zip(w.chunks(N)) {
                *y = w.iter().zip(x).fold(T::zero(), |sum, (&w, &x)| sum + self.weight(w) * x);
            }
        }
        if self.is_gated() {
            let z = y.to_vec();
            let a: Vec<T> = z.iter().map(|&z| math::sigmoid(z)).collect();
            y.iter_mut().zip(x).zip(&a).for_each(|((y, &x), &a)| *y = x * a);
            ctx.part(0).report_forward(Factor::Weights, x, &z);
            return ctx.part(1).report_activation(Some(&Sigmoid), &z, &a);
        }
        if let (SmallestSoFar, Some(buffers)) = (self, ctx.buffers_to_update()) {
            // Large outputs alone are counted: the buffers stay as they are.
            for y in y.chunks(N) {
                buffers
                    .iter_mut()
                    .zip(y)
                    .filter(|(_, y)| **y > scalar(1e9))
                    .for_each(|(least, &y)| *least = least.min(y));
            }
        }
        ctx.report_forward(Factor::Weights, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, dx, dw, mut ctx, .. } = pass;
        assert!(!(*self == NoDualBackward && is_dual::<T>()), "not implemented");
        let wide = |value: T| if matches!(self, WideSums | WideNorm) { scalar(to_f64(value)) } else { value };
        let mut all = vec![T::zero(); x.len()];
        let (mut of_a, mut of_z, mut of_x) = (Vec::new(), Vec::new(), Vec::new());
        for ((x, dy), dx) in x.chunks(N).zip(dy.chunks(N)).zip(all.chunks_mut(N)) {
            if *self == WideNorm {
                let root = Kind::root(x);
                let dot: f64 = x.iter().zip(dy).map(|(&x, &dy)| to_f64(x) * to_f64(dy)).sum();
                let share = scalar::<T>(dot) / (scalar::<T>(N as f64) * root * root);
                for j in 0..N {
                    dx[j] = (dy[j] - x[j] * share) / root;
                }
                continue;
            }
            let mut dz = dy.to_vec();
            if self.is_gated() {
                for j in 0..N {
                    let z = (0..N).fold(T::zero(), |sum, k| sum + w[j * N + k] * x[k]);
                    let a = math::sigmoid::<T>(z);
                    of_a.push(dy[j] * x[j]);
                    dz[j] = dy[j] * x[j] * a * math::sigmoid::<T>(-z);
                    dx[j] = if *self == GatedInputLessGate { -dy[j] * a } else { dy[j] * a };
                }
                of_z.extend_from_slice(&dz);
            }
            let mut through = vec![T::zero(); N];
            for j in 0..N {
                for k in 0..N {
                    dw[j * N + k] += wide(dz[j] * x[k]);
                    through[k] += dz[j] * self.weight(w[j * N + k]);
                }
            }
            dx.iter_mut().zip(&through).for_each(|(dx, &by)| *dx += by);
            of_x.extend_from_slice(&through);
        }
        let Some(dx) = dx else { return };
        dx.copy_from_slice(&all);
        if self.is_gated() {
            ctx.part(1).report_activation_gradient(Some(&Sigmoid), &of_a, &of_z);
            return ctx.part(0).report_backward(Factor::Weights, &of_z, &of_x);
        }
        ctx.report_backward(Factor::Weights, dy, dx);
    }
}

/// A monitor that listens to one pass, and ends at the last link of its backward pass.
#[derive(Clone, Copy, Debug, Default)]
struct OnePass {
    ended: bool,
    norm: f64,
}

impl<T: Scalar> GradientMonitor<T> for OnePass {
    fn is_active(&self) -> bool {
        !self.ended
    }

    fn forward(&mut self, _: &Link<'_>, _: &[T], _: &[T]) {}

    fn backward(&mut self, at: &Link<'_>, _: &[T], dx: &[T]) {
        if at.index == 0 && at.parts_after == 0 {
            self.norm = dx.iter().map(|&dx| to_f64(dx) * to_f64(dx)).sum::<f64>().sqrt();
            self.ended = true;
        }
    }

    fn event(&mut self, _: &Event<'_, T>) {}
}

/// Layers of 64 units whose pre-activations are about 1e-3: each small step crosses kinks.
fn near_kinks<T: Scalar>() -> Sequential<T> {
    let first = Linear::new(4, 64).weights(Normal::new(0.0, 2e-4)).without_bias();
    Sequential::input(4).layer(first).activation(Relu).linear(2).build().expect("a network")
}

/// The laws of one layer in all scalars.
fn alike<L>(layer: &L, except: &[Law], seed: u64) -> Verdict
where
    L: Layer<f32> + Layer<f64> + Layer<Dual<f64>>,
{
    let layers = Layers { single: layer, double: layer, dual: layer };
    layer_laws_with(layers, LayerCases { except, ..LayerCases::default() }, seed)
}

pub fn entries() -> Vec<Entry> {
    let mut list = vec![
        Entry::right("reviewed/ActivationData", |seed| alike(&ActivationLayer::new(3, Wavy.kind()), &[], seed)),
        Entry::right("reviewed/GatedLinearWavy", |seed| alike(&GatedLinear::new(4, 3, Wavy), &[], seed)),
        Entry::right("reviewed/ElmanData", |seed| cell_laws(&Elman::new(Wavy.kind()), seed)),
        Entry::right("reviewed/PlusData", |seed| activation_laws(&Around::Plus(Wavy.kind()), seed)),
        Entry::right("reviewed/TimesData", |seed| activation_laws(&Around::Times(Wavy.kind()), seed)),
        Entry::right("reviewed/SlopeInDouble", |seed| activation_laws(&SlopeInDouble, seed)),
        Entry::right("reviewed/LayerSlopeInDouble", |seed| alike(&ActivationLayer::new(3, SlopeInDouble), &[], seed)),
        Entry::right("reviewed/OnePass", |seed| monitor_laws(OnePass::default, seed)),
        Entry::right("reviewed/NearKinks", |seed| {
            let (single, double, dual) = (near_kinks(), near_kinks(), near_kinks());
            layer_laws(Layers { single: &single, double: &double, dual: &dual }, seed)
        }),
        Entry::wrong("reviewed/GatedInputLessGate", Law::Adjoint, |seed| alike(&GatedInputLessGate, &[], seed)),
    ];
    for kind in [Detached, WideSums, WideNorm, NoDualBackward, GatedInput, SmallestSoFar] {
        list.push(Entry::right(format!("reviewed/{kind:?}"), move |seed| alike(&kind, &[], seed)));
    }
    list.push(Entry::right("reviewed/Rounded", |seed| alike(&Rounded, &[Law::Adjoint], seed)));
    list
}
