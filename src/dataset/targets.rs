//! The targets of a data set: none, classes or values, borrowed or owned.

use crate::loss::Target;
use alloc::borrow::Cow;

/// The targets of a data set, borrowed or owned: none, class labels, or values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Targets<'a, T: Clone> {
    None,
    Classes(Cow<'a, [usize]>),
    Values(Cow<'a, [T]>),
}

/// The kind of the targets of a data set, without their values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    None,
    Classes,
    Values,
}

impl<'a, T: Clone> From<Option<Target<'a, T>>> for Targets<'a, T> {
    fn from(targets: Option<Target<'a, T>>) -> Self {
        match targets {
            None => Targets::None,
            Some(Target::Classes(classes)) => Targets::Classes(Cow::Borrowed(classes)),
            Some(Target::Values(values)) => Targets::Values(Cow::Borrowed(values)),
        }
    }
}

impl<T: Clone> Targets<'_, T> {
    pub fn target(&self) -> Option<Target<'_, T>> {
        match self {
            Targets::None => None,
            Targets::Classes(classes) => Some(Target::Classes(classes)),
            Targets::Values(values) => Some(Target::Values(values)),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Targets::None => Kind::None,
            Targets::Classes(_) => Kind::Classes,
            Targets::Values(_) => Kind::Values,
        }
    }

    pub fn into_owned(self) -> Targets<'static, T> {
        match self {
            Targets::None => Targets::None,
            Targets::Classes(classes) => Targets::Classes(Cow::Owned(classes.into_owned())),
            Targets::Values(values) => Targets::Values(Cow::Owned(values.into_owned())),
        }
    }
}
