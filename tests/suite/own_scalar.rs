//! A float type of a user's own trains as the type that it wraps.

use chainrule::{
    BatchShape, Scalar,
    activation::Tanh,
    layer::Sequential,
    loss::{CrossEntropy, Loss, Target},
    recurrent::Lstm,
    scalar, to_f64,
    transform::{AdamW, ClipNorm, Optimizer, Schedule, SkipNonFinite},
    workspace::Workspace,
};

mod own {
    //! A float of one's own: an `f64` in a coat.
    use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};
    use std::{num::FpCategory, ops::*};

    #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
    pub struct Own(pub f64);

    macro_rules! operators {
        ($($trait:ident $method:ident $assign:ident $assigned:ident;)+) => {$(
            impl $trait for Own {
                type Output = Own;
                fn $method(self, other: Own) -> Own { Own($trait::$method(self.0, other.0)) }
            }
            impl $assign for Own {
                fn $assigned(&mut self, other: Own) { $assign::$assigned(&mut self.0, other.0) }
            }
        )+};
    }
    operators! {
        Add add AddAssign add_assign; Sub sub SubAssign sub_assign; Mul mul MulAssign mul_assign;
        Div div DivAssign div_assign; Rem rem RemAssign rem_assign;
    }
    impl chainrule::Scalar for Own {}
    impl Neg for Own {
        type Output = Own;
        fn neg(self) -> Own {
            Own(-self.0)
        }
    }
    impl Zero for Own {
        fn zero() -> Self {
            Own(0.0)
        }
        fn is_zero(&self) -> bool {
            self.0 == 0.0
        }
    }
    impl One for Own {
        fn one() -> Self {
            Own(1.0)
        }
    }
    impl Num for Own {
        type FromStrRadixErr = <f64 as Num>::FromStrRadixErr;
        fn from_str_radix(text: &str, radix: u32) -> Result<Self, Self::FromStrRadixErr> {
            <f64 as Num>::from_str_radix(text, radix).map(Own)
        }
    }
    impl ToPrimitive for Own {
        fn to_i64(&self) -> Option<i64> {
            self.0.to_i64()
        }
        fn to_u64(&self) -> Option<u64> {
            self.0.to_u64()
        }
        fn to_f64(&self) -> Option<f64> {
            Some(self.0)
        }
    }
    impl NumCast for Own {
        fn from<N: ToPrimitive>(n: N) -> Option<Self> {
            n.to_f64().map(Own)
        }
    }
    macro_rules! float {
        (constants: $($constant:ident)+; tests: $($test:ident)+; unary: $($unary:ident)+; binary: $($binary:ident)+) => {
            impl Float for Own {
                $(fn $constant() -> Self { Own(<f64 as Float>::$constant()) })+
                $(fn $test(self) -> bool { Float::$test(self.0) })+
                $(fn $unary(self) -> Self { Own(Float::$unary(self.0)) })+
                $(fn $binary(self, other: Self) -> Self { Own(Float::$binary(self.0, other.0)) })+
                fn classify(self) -> FpCategory { self.0.classify() }
                fn powi(self, n: i32) -> Self { Own(self.0.powi(n)) }
                fn mul_add(self, a: Self, b: Self) -> Self { Own(self.0.mul_add(a.0, b.0)) }
                fn abs_sub(self, other: Self) -> Self { Own((self.0 - other.0).max(0.0)) }
                fn sin_cos(self) -> (Self, Self) { (self.sin(), self.cos()) }
                fn integer_decode(self) -> (u64, i16, i8) { Float::integer_decode(self.0) }
            }
        };
    }
    float! {
        constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
        tests: is_nan is_infinite is_finite is_normal is_sign_positive is_sign_negative;
        unary: floor ceil round trunc fract abs signum recip sqrt exp exp2 ln log2 log10 cbrt sin cos tan asin acos atan
            exp_m1 ln_1p sinh cosh tanh asinh acosh atanh;
        binary: powf log max min hypot atan2
    }
}

/// Five steps of a generic network, and the parameters after them.
fn trained<T: Scalar>() -> Vec<f64> {
    let network =
        Sequential::<T>::input(2).linear(5).layer_norm().activation(Tanh).recurrent(4, Lstm::new()).last_step();
    let network = network.dropout(0.2).linear(3).build().unwrap();
    let mut w: Vec<T> = chainrule::layer::initialize(&network, 3).unwrap();
    let lengths = [3, 2, 2, 1];
    let shape = BatchShape::ragged(&lengths);
    let x: Vec<T> = (0..shape.rows() * 2).map(|i| scalar((i as f64 * 0.7).sin())).collect();
    let mut workspace = Workspace::new(&network, BatchShape::sequences(4, 3)).unwrap();
    let transform = (SkipNonFinite::new(), ClipNorm::new(0.5), AdamW::new(0.01, 0.1), Schedule::cosine(10, 0.0));
    let mut optimizer = Optimizer::new(transform, workspace.blocks(), &w).unwrap();
    let mut out = Vec::new();
    for _ in 0..5 {
        let output = workspace.forward(&w, &x, shape).unwrap();
        let target = Target::Classes(&[0, 1, 2, 0]);
        out.push(to_f64(CrossEntropy::new().evaluate(3, output.y, target, None, output.dy).unwrap()));
        workspace.backward(&w).unwrap();
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, &mut ()).unwrap();
    }
    out.extend(w.iter().map(|&w| to_f64(w)));
    out
}

#[test]
fn own_float_around_f64_trains_as_f64() {
    let (own, plain) = (trained::<own::Own>(), trained::<f64>());
    assert_eq!(own.len(), plain.len());
    for (i, (own, plain)) in own.iter().zip(&plain).enumerate() {
        assert!((own - plain).abs() <= 1e-12 * plain.abs().max(1.0), "{i}: {own} is not {plain}");
    }
}
