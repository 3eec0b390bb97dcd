use crate::scalar::Scalar;

/// How a product is combined with the values already in the result.
#[derive(Clone, Copy)]
pub(crate) enum Epilogue<'a, T> {
    /// `c = a b`.
    Overwrite,
    /// `c = a b + bias`, with a bias for each column.
    Bias(&'a [T]),
    /// `c = c + a b`.
    Accumulate,
    /// `c = c + factor · a b`.
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
