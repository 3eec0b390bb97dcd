//! The traits of the crate `approx`, which compare two values to a tolerance, for dual numbers, bounds and shares.

use super::Dual;
use crate::{activation::Bounds, monitor::Shares, scalar::Scalar};
use approx::{AbsDiffEq, RelativeEq, UlpsEq};

/// Implements the traits `AbsDiffEq`, `RelativeEq` and `UlpsEq` of the crate `approx` for a type: two values are equal
/// if each of the listed fields is, to the given tolerance.
macro_rules! fields {
    ([$($scalar:ident)?] $type:ty, $number:ty: $first:ident $($field:ident)+) => {
        impl $(<$scalar: Scalar + AbsDiffEq<Epsilon: Clone>>)? AbsDiffEq for $type {
            type Epsilon = <$number as AbsDiffEq>::Epsilon;
            fn default_epsilon() -> Self::Epsilon {
                <$number>::default_epsilon()
            }
            fn abs_diff_eq(&self, other: &Self, epsilon: Self::Epsilon) -> bool {
                self.$first.abs_diff_eq(&other.$first, epsilon.clone())
                    $(&& self.$field.abs_diff_eq(&other.$field, epsilon.clone()))+
            }
        }
        impl $(<$scalar: Scalar + RelativeEq<Epsilon: Clone>>)? RelativeEq for $type {
            fn default_max_relative() -> Self::Epsilon {
                <$number>::default_max_relative()
            }
            fn relative_eq(&self, other: &Self, epsilon: Self::Epsilon, max_relative: Self::Epsilon) -> bool {
                self.$first.relative_eq(&other.$first, epsilon.clone(), max_relative.clone())
                    $(&& self.$field.relative_eq(&other.$field, epsilon.clone(), max_relative.clone()))+
            }
        }
        impl $(<$scalar: Scalar + UlpsEq<Epsilon: Clone>>)? UlpsEq for $type {
            fn default_max_ulps() -> u32 {
                <$number>::default_max_ulps()
            }
            fn ulps_eq(&self, other: &Self, epsilon: Self::Epsilon, max_ulps: u32) -> bool {
                self.$first.ulps_eq(&other.$first, epsilon.clone(), max_ulps)
                    $(&& self.$field.ulps_eq(&other.$field, epsilon.clone(), max_ulps))+
            }
        }
    };
}

fields!([T] Dual<T>, T: value tangent);
fields!([] Bounds, f64: inf sup);
fields!([] Shares, f64: weights activation addition other);
