//! What the losses of this crate have in common.

/// Defines the method `evaluate` of the loss `$name` of this crate. It calls the method `$name` of the scalar, which
/// [`compiled`](crate::compiled) lists, so that this crate compiles the loss for `f32` and `f64`.
macro_rules! own_evaluate {
    ($name:ident) => {
        fn evaluate(
            &self,
            width: usize,
            y: &[T],
            target: $crate::loss::Target<'_, T>,
            row_weights: Option<&[T]>,
            dy: &mut [T],
        ) -> Result<T, Error> {
            T::$name(self, width, y, target, row_weights, dy)
        }
    };
}
pub(super) use own_evaluate;

/// Defines the method `reduction` of `$loss`, which sets how the losses of its `$what`, such as rows, are reduced to
/// one.
macro_rules! reduction_setter {
    ($loss:ident, $what:literal) => {
        impl $loss {
            #[doc = concat!("Sets how the losses of the ", $what, " are reduced to one; the default is the mean.")]
            #[must_use]
            pub fn reduction(mut self, reduction: $crate::loss::Reduction) -> Self {
                self.reduction = reduction;
                self
            }
        }
    };
}
pub(super) use reduction_setter;
