//! The embedding: rows of a table, chosen by index.

use super::{
    Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode,
    list::{Fact, Kind, ListedLayer, fact},
    occurrences::Occurrences,
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, require},
    initializer::{Initializer, InitializerKind, Normal, Shape, fill_gates},
    monitor::Factor,
    scalar::{Scalar, to_f64},
    size::saturating_product,
};
use alloc::{vec, vec::Vec};
use rand_core::Rng;

/// A table of vectors, one for each index: `y = (E[x_1], …, E[x_k])` for the k indices of a row.
///
/// An index is a whole number in the scalar type, from 0 to vocabulary − 1. A workspace, a trainer and a model refuse
/// other values by [`DataRule::Index`](crate::DataRule::Index), with sample and column. Indices that a custom layer
/// passes on are not known before the pass, which panics for a value that is no valid index. Backward: `dE[i] = Σ
/// dy_c` over the rows and columns c with x_c = i, so the gradient of an index that does not occur in the batch is 0.
/// The gradient of the indices is 0: they are not weights. Values are initialized as standard normal numbers, as in
/// PyTorch.
///
/// ```
/// use chainrule::{BatchShape, layer::{Sequential, initialize}, workspace::Workspace};
/// // A sequence of words, each one of 1000, as one vector of 16 values.
/// let network = Sequential::<f32>::input(1).embedding(1000, 16).lstm(8).last_step().build()?;
/// let w = initialize(&network, 1)?;
/// let mut workspace = Workspace::new(&network, BatchShape::sequences(1, 3))?;
/// assert_eq!(workspace.infer(&w, &[17.0, 3.0, 999.0], BatchShape::sequences(1, 3))?.len(), 8);
/// assert!(workspace.infer(&w, &[17.0, 3.5, 999.0], BatchShape::sequences(1, 3)).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, columns\]; y: \[rows, columns · dimension\]; block `weight` \[vocabulary, dimension\].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Embedding {
    columns: usize,
    pub(super) vocabulary: usize,
    dimension: usize,
    padding: Option<usize>,
    pub(crate) weights: InitializerKind,
}

impl Embedding {
    /// Creates a table of `vocabulary` vectors of `dimension` values, for rows of one index. Values are initialized as
    /// standard normal numbers, and there is no padding index.
    pub fn new(vocabulary: usize, dimension: usize) -> Self {
        let weights = Normal { mean: 0.0, std: 1.0 }.kind();
        Embedding { columns: 1, vocabulary, dimension, padding: None, weights }
    }

    /// Sets the number of indices per input row; all of them use the same table. The default is 1.
    #[must_use]
    pub fn columns(self, columns: usize) -> Self {
        Embedding { columns, ..self }
    }

    /// Sets an index whose vector is initialized to 0 and has no gradient.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `index` is below the vocabulary.
    pub fn padding(self, index: usize) -> Result<Self, Error> {
        let changed = Embedding { padding: Some(index), ..self };
        changed.check().map(|()| changed)
    }

    /// Sets the initializer of the table, whose fan-in is the dimension.
    #[must_use]
    pub fn weights(self, initializer: impl Initializer + 'static) -> Self {
        Embedding { weights: initializer.kind(), ..self }
    }

    /// Returns mean and variance of the initial values of the table, without those of a padding index. `None` unless
    /// the initializer states both.
    pub(crate) fn moments(&self) -> Option<(f64, f64)> {
        let shape = Shape::new(self.vocabulary, self.dimension, Role::Weight);
        self.weights.mean(shape).zip(self.weights.variance(shape))
    }

    /// Returns the input value `x` as an index into the table. Panics unless it is a whole number below the
    /// vocabulary.
    fn index<T: Scalar>(&self, x: T) -> usize {
        index(x, self.vocabulary).unwrap_or_else(|| {
            let (last, found) = (self.vocabulary - 1, to_f64(x));
            panic!("`x` of Embedding must hold whole numbers from 0 to {last}, found {found}")
        })
    }
}

/// Returns the input value `x` as an index into an embedding's table; `None` unless it is whole, at least 0 and below
/// `vocabulary`.
pub(super) fn index<T: Scalar>(x: T, vocabulary: usize) -> Option<usize> {
    let x = to_f64(x);
    let index = x as usize;
    (index as f64 == x && index < vocabulary).then_some(index)
}

impl ListedLayer for Embedding {
    fn facts(&self) -> Vec<Fact> {
        vec![
            fact("columns", self.columns),
            fact("vocabulary", self.vocabulary),
            fact("dimension", self.dimension),
            fact("padding", self.padding),
        ]
    }

    fn check(&self) -> Result<(), Error> {
        require(self.vocabulary > 0, "the vocabulary of an embedding", "at least 1", 0.0)?;
        let below = self.padding.is_none_or(|padding| padding < self.vocabulary);
        let found = self.padding.unwrap_or(0) as f64;
        require(below, "the padding index of an embedding", "below the vocabulary", found)
    }

    fn kinds_mut(&mut self) -> Vec<Kind<'_>> {
        vec![Kind::Initializer(&mut self.weights)]
    }
}

impl<T: Scalar> Layer<T> for Embedding {
    crate::layer::own_box!(Embedding);

    fn dims(&self) -> Dims {
        let output = self.columns.saturating_mul(self.dimension);
        Dims::new(self.columns, output, saturating_product(&[self.vocabulary, self.dimension]))
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let places = saturating_product(&[shape.rows(), self.columns]);
        let scratch = if mode.saves() { Occurrences::<T>::scratch(self.vocabulary, places) } else { 0 };
        MemorySizes::new(0, scratch, 0)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        fill_gates(&self.weights, self.vocabulary, self.dimension, Role::Weight, &[], rng, w)?;
        if let Some(padding) = self.padding {
            w[padding * self.dimension..][..self.dimension].fill(T::zero());
        }
        Ok(())
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y().saved_per_row()
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [self.vocabulary, self.dimension], Role::Weight).table());
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Embedding(self.clone())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("Embedding", self, w);
        for (&x, y) in pass.x.iter().zip(pass.y.chunks_mut(self.dimension)) {
            y.copy_from_slice(&w[self.index(x) * self.dimension..][..self.dimension]);
        }
        pass.ctx.report_forward(Factor::Weights, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        pass.check("Embedding", self, w);
        if pass.trainable.block(0) {
            let at = pass.x.iter().map(|&x| self.index(x));
            let occurrences = Occurrences::new(pass.scratch, self.vocabulary, at.clone());
            for (place, index) in at.enumerate() {
                if occurrences.is_first(place, index) && self.padding != Some(index) {
                    let dw = &mut pass.dw[index * self.dimension..][..self.dimension];
                    occurrences.add_rows(index, pass.dy, dw);
                }
            }
        }
        let Some(dx) = pass.dx else { return };
        dx.fill(T::zero());
        pass.ctx.report_backward(Factor::Weights, pass.dy, dx);
    }
}
