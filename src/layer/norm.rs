//! Normalization of each row: LayerNorm, RMSNorm and GroupNorm.

use super::{
    AddsByShard, Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode,
    list::{Fact, ListedLayer, fact},
    norm_statistics::initialize_affine,
    row_norm::RowNorm,
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, require},
    scalar::Scalar,
};
use alloc::{vec, vec::Vec};
use rand_core::Rng;

impl LayerNorm {
    /// Creates the norm for rows of `width` values, with ε = 1e-5 and a learned gain and bias.
    pub fn new(width: usize) -> Self {
        LayerNorm { width, epsilon: 1e-5, affine: true }
    }

    fn norm(&self) -> RowNorm {
        let LayerNorm { width, epsilon, affine } = *self;
        RowNorm { width, groups: 1, epsilon, affine, centred: true }
    }
}

impl RmsNorm {
    /// Creates the norm for rows of `width` values, with ε = 1e-6 and a learned gain.
    pub fn new(width: usize) -> Self {
        RmsNorm { width, epsilon: 1e-6, affine: true }
    }

    fn norm(&self) -> RowNorm {
        let RmsNorm { width, epsilon, affine } = *self;
        RowNorm { width, groups: 1, epsilon, affine, centred: false }
    }
}

impl GroupNorm {
    /// Creates the norm for rows of `width` values in `groups` groups, with ε = 1e-5 and a learned gain and bias.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `groups` is at least 1 and divides `width`.
    pub fn new(width: usize, groups: usize) -> Result<Self, Error> {
        let norm = GroupNorm { width, groups, epsilon: 1e-5, affine: true };
        norm.check().map(|()| norm)
    }

    /// Returns a norm for rows of `width` values with the smallest number of groups, from 2 on, that have at least 2
    /// values each; with one group if there is no such number.
    #[cfg(feature = "proptest")]
    fn of_width(width: usize) -> Self {
        let groups = (2..=width / 2).find(|groups| width.is_multiple_of(*groups)).unwrap_or(1);
        GroupNorm { width, groups, epsilon: 1e-5, affine: true }
    }

    /// Returns the number of values in a group.
    pub(crate) fn size(&self) -> usize {
        self.norm().size()
    }

    fn norm(&self) -> RowNorm {
        let GroupNorm { width, groups, epsilon, affine } = *self;
        RowNorm { width, groups, epsilon, affine, centred: true }
    }
}

/// Refuses an ε, the number added to a mean square in a norm, that is not a positive normal number.
pub(super) fn check_epsilon(epsilon: f64) -> Result<(), Error> {
    require(epsilon > 0.0 && epsilon.is_normal(), "epsilon of a norm", "a positive normal number", epsilon)
}

/// Defines the norm `$name` with its settings. `$size` are its width and number of groups; `$of_width` creates a norm
/// for rows of a given width, as an example.
macro_rules! norm {
    ($(#[$doc:meta])+ $name:ident { $($size:ident),+; epsilon, affine }, $of_width:expr) => {
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name {
            $(pub(crate) $size: usize,)+
            #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
            pub(crate) epsilon: f64,
            affine: bool,
        }

        impl $name {
            /// Sets ε, which is added to the mean square.
            ///
            /// # Errors
            /// [`Error::Parameter`] unless `epsilon` is a positive normal number.
            pub fn epsilon(self, epsilon: f64) -> Result<Self, Error> {
                let changed = $name { epsilon, ..self };
                changed.check().map(|()| changed)
            }

            /// Removes the learned gain, and the bias if there is one.
            #[must_use]
            pub fn without_affine(self) -> Self {
                $name { affine: false, ..self }
            }
        }

        impl ListedLayer for $name {
            fn facts(&self) -> Vec<Fact> {
                vec![$(fact(stringify!($size), self.$size),)+ fact("epsilon", self.epsilon), fact("affine", self.affine)]
            }

            fn check(&self) -> Result<(), Error> {
                check_epsilon(self.epsilon)?;
                let RowNorm { width, groups, .. } = self.norm();
                let divides = groups > 0 && width.is_multiple_of(groups);
                require(divides, "the number of groups of a norm", "a divisor of the width", groups as f64)
            }

            #[cfg(feature = "proptest")]
            fn examples(width: usize) -> Vec<Self> {
                let of = |epsilon, affine| $name { epsilon, affine, ..$of_width(width) };
                vec![of(1e-5, true), of(1e-5, false), of(0.1, true)]
            }
        }

        impl<T: Scalar> Layer<T> for $name {
            crate::layer::own_box!($name);

            fn dims(&self) -> Dims {
                Dims::new(self.width, self.width, self.norm().parameters())
            }

            fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
                MemorySizes::new(if mode.saves() { self.norm().saved::<T>(shape.rows()) } else { 0 }, 0, 0)
            }

            fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
                initialize_affine(w, if self.affine { self.width } else { 0 });
                Ok(())
            }

            fn hints(&self) -> Hints {
                Hints::NONE.ignores_y()
            }

            fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
                if self.affine {
                    visit(Block::new("gain", 0, [self.width, 1], Role::Gain));
                    if self.norm().centred {
                        visit(Block::new("bias", self.width, [self.width, 1], Role::Bias));
                    }
                }
            }

            /// Returns an upper bound on `max |γ|/√ε`, a bound on the 2-norm of the Jacobian, with γ the gains. A row
            /// of equal values (zeros for RmsNorm) attains it where all gains are equal.
            ///
            /// For a group of n values, u = (x − μ)/σ and σ² = mean((x − μ)²) + ε,
            /// `∂y/∂x = diag(γ) (I − 11ᵀ/n − uuᵀ/n)/σ`; without centring, no 11ᵀ/n. As ‖u‖² < n and u is orthogonal
            /// to 1, the matrix in parentheses has eigenvalues 0 and 1 and one between, and σ ≥ √ε. A centred group
            /// of one value is always 0.
            fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
                Some(self.norm().gain_bound(w).get())
            }

            fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
                AddsByShard(shape.steps == 1)
            }

            fn spec(&self) -> LayerSpec {
                LayerSpec::$name(self.clone())
            }

            fn forward(&self, w: &[T], pass: Forward<'_, T>) {
                pass.check(stringify!($name), self, w);
                self.norm().forward(w, pass);
            }

            fn backward(&self, w: &[T], pass: Backward<'_, T>) {
                pass.check(stringify!($name), self, w);
                self.norm().backward(w, pass);
            }
        }
    };
}

norm! {
    /// Each row shifted to mean 0 and scaled to variance 1: `y = γ ⊙ (x − μ)/√(σ² + ε) + β`.
    ///
    /// σ² is the mean of (x − μ)². Source: Ba, Kiros & Hinton 2016, eq. 4; ε = 1e-5 as in PyTorch.
    ///
    /// # Shapes
    /// x, y: \[rows, width\]; blocks `gain` and `bias`, both \[width, 1\], unless left out.
    LayerNorm { width; epsilon, affine }, LayerNorm::new
}

norm! {
    /// Each row scaled to root mean square 1: `y = γ ⊙ x/√(mean(x²) + ε)`.
    ///
    /// Source: Zhang & Sennrich 2019, eq. 4; ε = 1e-6. PyTorch's `nn.RMSNorm` without `eps` has the machine epsilon of
    /// the format instead.
    ///
    /// # Shapes
    /// x, y: \[rows, width\]; block `gain` \[width, 1\], unless left out.
    RmsNorm { width; epsilon, affine }, RmsNorm::new
}

norm! {
    /// Each group of consecutive values of a row shifted to mean 0 and scaled to variance 1:
    /// `y_i = γ_i (x_i − μ_g)/√(σ_g² + ε) + β_i` for the values i of group g.
    ///
    /// σ_g² is the mean of (x_i − μ_g)² over the group. One group is a [`LayerNorm`]. The time steps of a sequence
    /// are normalized separately, unlike the positions of a channel in PyTorch. Source: Wu & He 2018, eq. 7; ε =
    /// 1e-5 as in PyTorch.
    ///
    /// # Shapes
    /// x, y: \[rows, width\], each row groups × (width / groups); blocks `gain` and `bias`, both \[width, 1\], unless
    /// left out.
    GroupNorm { width, groups; epsilon, affine }, GroupNorm::of_width
}
