use crate::scalar::Scalar;

/// How a matrix product a b is combined with the values c that are already in the result.
#[derive(Clone, Copy)]
pub(crate) enum Epilogue<'a, T> {
    /// The product replaces the result: `c = a b`.
    Overwrite,
    /// The product plus a bias for each column replaces the result: `c = a b + bias`.
    Bias(&'a [T]),
    /// The product is added to the result: `c = c + a b`.
    Accumulate,
    /// The product times this factor is added to the result: `c = c + factor · a b`.
    AddScaled(T),
}

impl<T: Scalar> Epilogue<'_, T> {
    /// Returns the new value of an element in column `j`, from its value `present` and the product's element `product`.
    #[inline(always)]
    pub(super) fn apply(&self, present: T, product: T, j: usize) -> T {
        match self {
            Epilogue::Overwrite => product,
            Epilogue::Bias(bias) => product + bias[j],
            Epilogue::Accumulate => present + product,
            Epilogue::AddScaled(factor) => present + *factor * product,
        }
    }
}
