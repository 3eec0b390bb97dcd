//! What the suites say of ten wrong parts: the text of the docs is that of these runs.
//!
//! `CHAINRULE_WRITE=1 cargo test --all-features law_messages` writes it anew.

use chainrule::{
    Activation, Bounds, Error, Layer, Scalar,
    activation::{Gelu, Tanh},
    layer::{Backward, Dims, Forward, Sequential},
    loss::{Loss, MeanSquaredError, Reduction, Target},
    math,
    monitor::Factor,
    scalar,
    testing::{
        Evidence, Formula, Layers, Losses, Transforms, Violations, activation_laws, layer_laws, loss_laws,
        transform_laws,
    },
    to_f64,
    transform::Sgd,
};
use std::{fmt::Write as _, sync::Mutex};

/// Activations of one line each: φ, φ′ and its bounds.
macro_rules! activations {
    ($($name:ident: |$z:ident| $value:expr, |$at:ident, $y:ident| $derivative:expr, $bounds:expr;)+) => {$(
        #[derive(Clone, Debug)]
        struct $name;
        impl Activation for $name {
            fn value<T: Scalar>(&self, $z: T) -> T {
                $value
            }
            fn derivative<T: Scalar>(&self, $at: T, $y: T) -> T {
                let _ = ($at, $y);
                $derivative
            }
            fn derivative_bounds(&self) -> Option<Bounds> {
                let (inf, sup) = $bounds;
                Some(Bounds::new(inf, sup))
            }
        }
    )+};
}

activations! {
    ThroughDouble: |z| scalar(to_f64(z).tanh()), |z, y| Tanh.derivative(z, y), (0.0, 1.0);
    ZeroTimesInfinity: |z| math::sigmoid(z), |z, y| (-z).exp() * y * y, (0.0, 0.25);
    TanhFromY: |z| math::tanh(z), |z, y| T::one() - y * y, (0.0, 1.0);
    KinkUndeclared: |z| if z.is_nan() { z } else { z.max(T::zero()) },
        |z, y| if z.is_nan() { z } else if z > T::zero() { T::one() } else { T::zero() }, (0.0, 1.0);
    BoundTooLow: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (-0.128904146, 1.128903);
}

/// `y = s x` with a mistake.
#[derive(Debug)]
enum Twice {
    /// `dx = dy` where it is `2 dy`.
    GradientOfOne,
    /// Twice the input of the forward pass before.
    Remembers(Mutex<f64>),
    /// An index beyond the row.
    Panics,
}

impl<T: Scalar> Layer<T> for Twice {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 0)
    }
    fn forward(&self, _: &[T], pass: Forward<'_, T>) {
        let mut first = pass.x[0];
        if let Twice::Remembers(before) = self {
            let mut before = before.lock().unwrap();
            first = scalar(core::mem::replace(&mut *before, to_f64(first)));
        }
        pass.y.iter_mut().zip(pass.x).for_each(|(y, &x)| *y = x + x);
        pass.y[0] = first + first;
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, _: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        for (i, dx) in dx.iter_mut().enumerate() {
            *dx = match self {
                Twice::GradientOfOne => pass.dy[i],
                Twice::Panics => pass.dy[i + 1],
                Twice::Remembers(_) => pass.dy[i] + pass.dy[i],
            };
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

/// The mean of squares: over all values, and in the gradient over rows.
#[derive(Debug)]
struct PerRow;

impl<T: Scalar> Loss<T> for PerRow {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let value = MeanSquaredError::new().evaluate(width, y, target, row_weights, dy)?;
        dy.iter_mut().for_each(|dy| *dy *= scalar(width as f64));
        Ok(value)
    }
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

type Verdict = Result<Evidence, Violations>;

fn layer(make: impl Fn() -> Twice) -> Verdict {
    layer_laws(Layers { single: &make(), double: &make(), dual: &make() }, 0)
}

fn network<T: Scalar>() -> Sequential<T> {
    Sequential::input(3).linear(2).layer(Twice::GradientOfOne).activation(Tanh).build().unwrap()
}

fn formula(g: f64, m: &mut [f64; 4], _step: u64, _w: f64) -> f64 {
    m[0] = 0.9 * m[0] + g;
    -0.1 * (g + 0.9 * m[0])
}

fn cases() -> [(&'static str, Verdict); 10] {
    let networks = Layers { single: &network::<f32>(), double: &network::<f64>(), dual: &network() };
    let losses = Losses { single: &PerRow, double: &PerRow, dual: &PerRow };
    let transforms = Transforms {
        single: &|| Box::new(Sgd::new(0.1).momentum(0.9)),
        double: &|| Box::new(Sgd::new(0.1).momentum(0.9)),
        like: Some(&formula as Formula<'_>),
    };
    [
        ("A layer that keeps a value from pass to pass", layer(|| Twice::Remembers(Mutex::new(0.0)))),
        ("A layer that panics", layer(|| Twice::Panics)),
        ("An activation computed through `f64`", activation_laws(&ThroughDouble, 0)),
        ("A derivative that is 0 · ∞ far out", activation_laws(&ZeroTimesInfinity, 0)),
        ("A network with a wrong `dx` in the middle", layer_laws(networks, 0)),
        ("A derivative that is 0 where it is small", activation_laws(&TanhFromY, 0)),
        ("A kink that is not declared", activation_laws(&KinkUndeclared, 0)),
        ("A bound that is too low by a millionth", activation_laws(&BoundTooLow, 0)),
        ("A loss whose gradient is divided by another count", loss_laws(losses, 0)),
        ("An optimizer without the Nesterov step of its formula", transform_laws(transforms, &[], 0)),
    ]
}

#[test]
fn messages_in_the_docs_are_those_of_the_suites() {
    let mut page = String::from("# Ten messages\n\nThe first cause is named, once, with the smallest input found.\n");
    for (title, verdict) in cases() {
        let violations = verdict.expect_err(title);
        write!(page, "\n{title}:\n\n```text\n{violations}\n```\n").unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/messages.md");
    if std::env::var("CHAINRULE_WRITE").is_ok() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page);
}
