//! The requirements of a network's layers on a batch beyond its sizes.

use super::{Layer, LayerSpec, Mode, StructureKind, embedding::index};
use crate::{
    batch_shape::BatchShape,
    error::{DataRule, Error, LayerRule, require},
    scalar::{Scalar, to_f64},
};

/// The requirements of a network's layers on a batch: at least two rows for batch normalization in training, and
/// indices within the vocabulary of an embedding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InputRules {
    /// Whether a layer normalizes over the rows of a batch, and so refuses a training pass with one row.
    over_rows: bool,
    /// The smallest vocabulary of the embeddings whose indices are the inputs of the network; `None` without such an
    /// embedding.
    vocabulary: Option<usize>,
}

/// The source of the values that a layer receives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The network's input.
    Input,
    /// The output of a layer of this crate, which is not made of indices.
    Layers,
    /// The output of a custom layer. It may be indices, so an embedding may follow.
    Custom,
}

impl InputRules {
    /// Collects the requirements of `network`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a vocabulary of 0, or one with indices that `T` does not represent;
    /// [`Error::InvalidLayer`] for an embedding whose indices another layer computes.
    pub(crate) fn of<T: Scalar>(network: &dyn Layer<T>) -> Result<Self, Error> {
        let mut rules = InputRules::default();
        rules.add(network, "", Source::Input)?;
        Ok(rules)
    }

    /// Whether the inputs of the network are indices for an embedding.
    pub(crate) fn takes_indices(&self) -> bool {
        self.vocabulary.is_some()
    }

    /// Adds the requirements of `layer`, at `path`, and of the layers inside it. `source` states where the layer's
    /// input comes from. Returns the source of the layer's output.
    fn add<T: Scalar>(&mut self, layer: &dyn Layer<T>, path: &str, source: Source) -> Result<Source, Error> {
        let structure = layer.structure();
        if structure.parts().next().is_none() {
            return match layer.spec() {
                LayerSpec::BatchNorm(_) => {
                    self.over_rows = true;
                    Ok(Source::Layers)
                }
                LayerSpec::Embedding(ref embedding) => {
                    self.embed::<T>(embedding.vocabulary, path, source).map(|()| Source::Layers)
                }
                LayerSpec::LastStep(_) => Ok(source),
                LayerSpec::Custom { .. } => Ok(Source::Custom),
                _ => Ok(Source::Layers),
            };
        }
        let (mut last, width, is_chain) = (source, layer.dims().input, structure.kind() == StructureKind::Chain);
        for (name, part, _) in structure.parts() {
            // A custom layer may divide its input among its parts: for a part of another width the source is
            // unknown.
            let own = if is_chain { last } else { source };
            let own = if own == Source::Input && part.dims().input != width { Source::Custom } else { own };
            last = self.add(part, &structure.below(path, name), own)?;
        }
        Ok(if is_chain { last } else { Source::Layers })
    }

    fn embed<T: Scalar>(&mut self, vocabulary: usize, path: &str, source: Source) -> Result<(), Error> {
        // Whole numbers up to 2/ε are exact, with ε the machine epsilon of `T`.
        let exact = vocabulary.saturating_sub(1) as f64 <= 2.0 / to_f64(T::epsilon());
        let what = "the vocabulary of an embedding";
        require(vocabulary > 0, what, "at least 1", 0.0)?;
        require(exact, what, "so small that the number format represents each index", vocabulary as f64)?;
        match source {
            Source::Input => self.vocabulary = Some(self.vocabulary.unwrap_or(vocabulary).min(vocabulary)),
            Source::Layers => return Err(LayerRule::ComputedIndices.at(path)),
            Source::Custom => {}
        }
        Ok(())
    }

    /// Returns the vocabulary if the inputs of the network must be indices; `None` if any values are allowed.
    pub(crate) fn vocabulary(self) -> Option<usize> {
        self.vocabulary
    }

    /// Returns the position in `x`, the input of a pass, of the first value that is not a valid index. `None` if all
    /// are valid, or any values are allowed.
    pub(crate) fn first_wrong<T: Scalar>(self, x: &[T]) -> Option<usize> {
        let vocabulary = self.vocabulary?;
        x.iter().position(|&x| index(x, vocabulary).is_none())
    }

    /// Refuses an input `x` of a pass over `shape`, in rows of `width` values, that has an invalid index for an
    /// embedding. The error names sample, time step and column. Without an embedding any values are allowed.
    pub(crate) fn check_indices<T: Scalar>(self, x: &[T], shape: BatchShape<'_>, width: usize) -> Result<(), Error> {
        let Some(at) = self.first_wrong(x) else { return Ok(()) };
        let (mut sample, mut step) = (at / width.max(1), 0);
        while sample >= shape.active(step) {
            sample -= shape.active(step);
            step += 1;
        }
        let (step, column) = ((shape.steps > 1).then_some(step), at % width.max(1));
        Err(DataRule::Index { sample, step, column, vocabulary: self.vocabulary.unwrap_or(0), found: to_f64(x[at]) }
            .into())
    }

    /// Refuses a pass over `shape` in which a layer of `network` would normalize over one row. Only a pass in
    /// [`Mode::Train`] is refused.
    pub(crate) fn check_rows<T: Scalar>(
        self,
        network: &dyn Layer<T>,
        shape: BatchShape<'_>,
        mode: Mode,
    ) -> Result<(), Error> {
        // A sample has at least one row in each layer.
        let may_fail = self.over_rows && mode == Mode::Train && shape.batch == 1;
        if may_fail { check_rows(network, shape, "") } else { Ok(()) }
    }
}

fn check_rows<T: Scalar>(layer: &dyn Layer<T>, shape: BatchShape<'_>, path: &str) -> Result<(), Error> {
    let structure = layer.structure();
    if structure.parts().next().is_none() && shape.rows() < 2 && matches!(layer.spec(), LayerSpec::BatchNorm(_)) {
        return Err(LayerRule::TooFewRows { found: shape.rows() }.at(path));
    }
    structure.each(shape, |part, rows| check_rows(part.layer, rows, &structure.below(path, &part.name)))
}
