//! The number formats of the values in model and checkpoint files.

use super::refused;
use crate::{
    error::Error,
    scalar::{Scalar, to_f64},
};
use alloc::vec::Vec;

/// The number format of the values in a model, checkpoint or state dict file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// IEEE 754 binary64, the format of `f64`: 64 bits.
    F64,
    /// IEEE 754 binary32, the format of `f32`: 32 bits.
    F32,
    /// IEEE 754 binary16: 16 bits, a significand of 11 binary digits, values up to 65504.
    F16,
    /// bfloat16: 16 bits, a significand of 8 binary digits, about the range of `f32`.
    Bf16,
}

impl Precision {
    /// Returns the number format that has the size and the precision of the scalar type `T`.
    ///
    /// # Errors
    /// [`Error::CheckpointValue`] for a scalar type whose size or precision is that of none of these formats.
    pub fn of<T: Scalar>() -> Result<Self, Error> {
        match (size_of::<T>(), to_f64(T::epsilon())) {
            (8, e) if e == f64::EPSILON => Ok(Precision::F64),
            (4, e) if e == f64::from(f32::EPSILON) => Ok(Precision::F32),
            (2, e) if e == Small::F16.epsilon() => Ok(Precision::F16),
            (2, e) if e == Small::BF16.epsilon() => Ok(Precision::Bf16),
            _ => Err(refused("the scalar type", "f64, f32, f16 or bf16", core::any::type_name::<T>())),
        }
    }

    /// Returns (the name of the format in safetensors, the size of a number in bytes).
    pub(crate) const fn dtype(self) -> (&'static str, usize) {
        match self {
            Precision::F64 => ("F64", 8),
            Precision::F32 => ("F32", 4),
            Precision::F16 => ("F16", 2),
            Precision::Bf16 => ("BF16", 2),
        }
    }

    /// Returns the number format with the safetensors name `name`; `None` if it is not one of these formats.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::F64, Self::F32, Self::F16, Self::Bf16].into_iter().find(|precision| precision.dtype().0 == name)
    }

    /// Appends `x`, rounded to the nearest number of the format, to `bytes`, little-endian. For a format narrower
    /// than `f64` it returns `None` if the number that it has appended is NaN or infinite, for example after an
    /// overflow.
    pub(crate) fn write(self, bytes: &mut Vec<u8>, x: f64) -> Option<()> {
        let first = bytes.len();
        match self {
            Precision::F64 => bytes.extend(x.to_le_bytes()),
            Precision::F32 => bytes.extend((x as f32).to_le_bytes()),
            Precision::F16 => bytes.extend(Small::F16.bits(x).to_le_bytes()),
            Precision::Bf16 => bytes.extend(Small::BF16.bits(x).to_le_bytes()),
        }
        (self == Precision::F64 || self.read(&bytes[first..]).is_finite()).then_some(())
    }

    /// Decodes a number of this format from `bytes`, little-endian. [`dtype`](Self::dtype) states how many bytes it
    /// has.
    pub(crate) fn read(self, bytes: &[u8]) -> f64 {
        let word = bytes.iter().rev().fold(0, |word: u64, &byte| word << 8 | u64::from(byte));
        match self {
            Precision::F64 => f64::from_bits(word),
            Precision::F32 => f64::from(f32::from_bits(word as u32)),
            Precision::F16 => Small::F16.value(word as u16),
            Precision::Bf16 => Small::BF16.value(word as u16),
        }
    }
}

/// A 16-bit binary floating-point format: sign, exponent and fraction.
#[derive(Clone, Copy)]
struct Small {
    /// The number of bits of the fraction in the format.
    digits: i32,
    /// The exponent e of the smallest normal number of the format, `2^e`.
    least: i32,
}

impl Small {
    const F16: Small = Small { digits: 10, least: -14 };
    const BF16: Small = Small { digits: 7, least: -126 };

    /// Returns the distance from 1 to the next larger number of the format.
    fn epsilon(self) -> f64 {
        power(-self.digits)
    }

    /// Returns the bits that represent infinity in the format: all exponent bits set.
    fn infinity(self) -> u16 {
        0x7FFF >> self.digits << self.digits
    }

    /// Returns the bits of the number of the format that is nearest to `x`, with ties to even. For NaN all fraction
    /// bits are set.
    fn bits(self, x: f64) -> u16 {
        if x.is_nan() {
            return 0x7FFF;
        }
        let exponent = ((x.abs().to_bits() >> 52) as i32 - 1023).max(self.least);
        // The magnitude in multiples of the spacing of adjacent numbers. If rounding carries out of the fraction, the
        // exponent increases by 1, as it should.
        let whole = libm::rint(x.abs() / power(exponent.min(1023) - self.digits));
        let bits = whole + f64::from(exponent - self.least) * power(self.digits);
        let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
        bits.min(f64::from(self.infinity())) as u16 | sign
    }

    /// Returns the number that these bits represent in the format.
    fn value(self, bits: u16) -> f64 {
        let (field, fraction) = (i32::from((bits & 0x7FFF) >> self.digits), f64::from(bits & ((1 << self.digits) - 1)));
        let magnitude = if bits & 0x7FFF >= self.infinity() {
            if fraction > 0.0 { f64::NAN } else { f64::INFINITY }
        } else if field == 0 {
            fraction * power(self.least - self.digits)
        } else {
            (fraction + power(self.digits)) * power(self.least + field - 1 - self.digits)
        };
        if bits & 0x8000 != 0 { -magnitude } else { magnitude }
    }
}

/// Returns `2^exponent`, for an exponent from −1022 to 1023.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}
