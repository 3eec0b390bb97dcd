//! Cloning of values of a known type, as a supertrait of traits that also exist as trait objects.

/// Cloning as a trait of this crate. Every type with `Clone` implements it.
///
/// With `Clone` itself as a supertrait, the compiler would reject `Box<dyn Activation>` with a message of its own,
/// not with the one of [`Activation`](super::Activation), which names the remedy.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cloned, as activations and cells must",
    note = "add `#[derive(Clone)]` to the type; a generic one has a bound such as `A: Activation + Clone`"
)]
pub trait Cloned {
    /// Returns a clone of the value.
    fn cloned(&self) -> Self
    where
        Self: Sized;
}

impl<T: Clone> Cloned for T {
    fn cloned(&self) -> Self {
        self.clone()
    }
}
