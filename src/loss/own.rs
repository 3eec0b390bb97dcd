//! What the losses of this crate have in common.

/// Defines the method `evaluate` of a loss of this crate: the entry of [`compiled`](crate::compiled) of the same name.
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

/// The setter of the reduction of a loss, which is over its `$what`, such as rows.
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
