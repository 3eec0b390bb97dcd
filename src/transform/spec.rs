//! Descriptions of gradient transforms as data.

use crate::type_name::without_paths;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt::Debug, ops::Range};

/// A gradient transform as data: its kind, the layout of its state, and its settings.
///
/// A checkpoint has one for each transform of a chain. Kind, layout and length of the state (10 values below) must
/// agree when the checkpoint is loaded. Settings may differ; the differences are returned.
///
/// ```
/// use chainrule::transform::TransformSpec;
/// let spec = TransformSpec::new("Momentum", 10).layout("m").setting("rate", 0.1);
/// assert_eq!(spec.title(), "Momentum { m }");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransformSpec {
    /// Name of the transform.
    pub kind: String,
    /// Names of the sections of the state, in order, such as `m, v`; empty if they have no names.
    pub layout: String,
    /// The number of values of state.
    pub state_len: usize,
    /// Whether the state may hold ±∞. If not, loading a checkpoint that has ±∞ there returns an error, unless it is
    /// loaded with `checkpoint::Values::Any`.
    pub infinite_state: bool,
    /// Ranges of the state whose values cannot be below 0, such as averages of squared gradients. Loading a
    /// checkpoint with a negative value there returns an error, unless it is loaded with `checkpoint::Values::Any`.
    pub non_negative: Vec<Range<usize>>,
    /// Names and values of the settings.
    pub settings: Vec<(String, String)>,
}

impl TransformSpec {
    /// Creates the description of a transform named `kind` with `state_len` values of state, all finite, and no
    /// settings.
    pub fn new(kind: &str, state_len: usize) -> Self {
        let (layout, non_negative, settings) = Default::default();
        TransformSpec { kind: kind.into(), layout, state_len, infinite_state: false, non_negative, settings }
    }

    /// Creates the description of a transform that does not implement [`spec`](super::GradientTransform::spec). Its
    /// kind is the name of the type, without paths; its state may hold ±∞.
    pub(crate) fn unstated(type_name: &str, state_len: usize) -> Self {
        Self::new(&without_paths(type_name), state_len).infinite_state()
    }

    /// Sets the names of the sections of the state, in order, such as `m, v`.
    #[must_use]
    pub fn layout(self, layout: &str) -> Self {
        TransformSpec { layout: layout.into(), ..self }
    }

    /// Allows ±∞ in the state.
    #[must_use]
    pub fn infinite_state(self) -> Self {
        TransformSpec { infinite_state: true, ..self }
    }

    /// States that the values of the state in `range` cannot be below 0.
    #[must_use]
    pub fn non_negative(mut self, range: Range<usize>) -> Self {
        self.non_negative.push(range);
        self
    }

    /// Adds a setting, recorded as its `Debug` text.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Debug) -> Self {
        self.settings.push((name.into(), format!("{value:?}")));
        self
    }

    /// Returns kind and layout, for example `RmsProp { v, momentum }`; only the kind if the layout is empty.
    pub fn title(&self) -> String {
        match self.layout.is_empty() {
            true => self.kind.to_string(),
            false => format!("{} {{ {} }}", self.kind, self.layout),
        }
    }
}
