//! Serialization of `f64` in all formats, for fields with `#[serde(with = "crate::number")]`.
//!
//! Text formats such as JSON have no NaN and no infinities. There, they become the strings `"NaN"`, `"inf"` and
//! `"-inf"`.

use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The serialized form of one `f64`: a number, or a string for NaN and infinities in a text format.
pub(crate) struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() || !serializer.is_human_readable() => serializer.serialize_f64(x),
            x if x.is_nan() => serializer.serialize_str("NaN"),
            x => serializer.serialize_str(if x > 0.0 { "inf" } else { "-inf" }),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
            }
            fn visit_f64<E>(self, x: f64) -> Result<Number, E> {
                Ok(Number(x))
            }
            fn visit_i64<E>(self, x: i64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }
            fn visit_u64<E>(self, x: u64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                match text {
                    "NaN" => Ok(Number(f64::NAN)),
                    "inf" => Ok(Number(f64::INFINITY)),
                    "-inf" => Ok(Number(f64::NEG_INFINITY)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Visitor)
        } else {
            f64::deserialize(deserializer).map(Number)
        }
    }
}

/// A type whose numbers are `f64`, such as `f64` itself, a vector or an array, and its serialized form `Data`.
pub(crate) trait Numbers: Sized {
    type Data: Serialize + for<'de> Deserialize<'de>;
    fn data(&self) -> Self::Data;
    fn of(data: Self::Data) -> Self;
}

impl Numbers for f64 {
    type Data = Number;
    fn data(&self) -> Number {
        Number(*self)
    }
    fn of(data: Number) -> f64 {
        data.0
    }
}

impl<N: Numbers> Numbers for Option<N> {
    type Data = Option<N::Data>;
    fn data(&self) -> Self::Data {
        self.as_ref().map(N::data)
    }
    fn of(data: Self::Data) -> Self {
        data.map(N::of)
    }
}

impl<N: Numbers> Numbers for Vec<N> {
    type Data = Vec<N::Data>;
    fn data(&self) -> Self::Data {
        self.iter().map(N::data).collect()
    }
    fn of(data: Self::Data) -> Self {
        data.into_iter().map(N::of).collect()
    }
}

macro_rules! arrays {
    ($($length:literal)+) => {$(
        impl<N: Numbers> Numbers for [N; $length] {
            type Data = [N::Data; $length];
            fn data(&self) -> Self::Data {
                self.each_ref().map(N::data)
            }
            fn of(data: Self::Data) -> Self {
                data.map(N::of)
            }
        }
    )+};
}
arrays! { 2 3 }

pub(crate) fn serialize<N: Numbers, S: Serializer>(numbers: &N, serializer: S) -> Result<S::Ok, S::Error> {
    numbers.data().serialize(serializer)
}

pub(crate) fn deserialize<'de, N: Numbers, D: Deserializer<'de>>(deserializer: D) -> Result<N, D::Error> {
    N::Data::deserialize(deserializer).map(N::of)
}
