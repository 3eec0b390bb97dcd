//! Registry of custom layers, cells, activations and initializers by name, to build networks from layer
//! specifications.

use super::build::Unroll;
use crate::{
    activation::{Activation, ActivationKind, ActivationVisitor},
    block::nearest,
    cell::{ActivationDispatch, CellVisitor},
    error::{Error, RegistryRule},
    initializer::{Initializer, InitializerKind},
    layer::{ActivationLayer, Dims, Kind, Layer, LayerSpec},
    recurrent::{Cell, CellKind},
    scalar::Scalar,
    type_name::without_paths,
};
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::fmt;

/// A registered function that builds a custom part of a network. Its arguments are of type `A`, such as the dims of a
/// layer, and the settings of the part as text; `P` is the type of the part.
type Build<A, P> = Box<dyn Fn(A, &str) -> Result<P, Error> + Send + Sync>;

/// The layer to build around a custom activation: none, an activation layer for rows of the given width, or a
/// recurrent layer with the given cell and other settings.
enum Around<'a, T> {
    None,
    ActivationLayer(usize),
    Cell(&'a CellKind, Unroll<T>),
}

/// (activation as data, the layer built around it); the layer is `None` if only the activation is built.
type Placed<T> = (ActivationKind, Option<Box<dyn Layer<T>>>);

/// (recurrent cell as data, the recurrent layer built with it).
type Unrolled<T> = (CellKind, Box<dyn Layer<T>>);

/// A registered function that builds an activation from its settings, together with the layer around it. It is a
/// trait, since a closure cannot be generic over the lifetime in [`Around`].
trait Place<T: Scalar>: Send + Sync {
    fn place(&self, settings: &str, around: Around<'_, T>) -> Result<Placed<T>, Error>;
}

struct PlaceBy<F>(F);

impl<T: Scalar, A: Activation, F: Fn(&str) -> Result<A, Error> + Send + Sync> Place<T> for PlaceBy<F> {
    fn place(&self, settings: &str, around: Around<'_, T>) -> Result<Placed<T>, Error> {
        let activation = (self.0)(settings)?;
        let kind = activation.kind();
        let layer: Option<Box<dyn Layer<T>>> = match around {
            Around::None => None,
            Around::ActivationLayer(width) => Some(Box::new(ActivationLayer::new(width, activation))),
            Around::Cell(cell, unroll) => cell.visit(&Fixed(activation), unroll),
        };
        Ok((kind, layer))
    }
}

/// An [`ActivationDispatch`] that builds a cell with the given activation `A`, whatever activation the cell's data
/// names.
struct Fixed<A>(A);

impl<A: Activation> ActivationDispatch for Fixed<A> {
    fn visit<V: ActivationVisitor>(&self, _: &ActivationKind, visitor: V) -> Option<V::Output> {
        Some(visitor.visit(self.0.cloned()))
    }
}

/// A registry of custom layers, cells, activations and initializers, each registered under the name by which it is
/// saved: by default the name of its type without the module path. It builds saved networks and models that contain
/// such parts, by [`LayerSpec::build_with`] and, with the feature `safetensors`,
/// [`Model::from_bytes_registered`](crate::model::Model::from_bytes_registered).
///
/// A file holds the name and the settings of each part: JSON or any other text, by default the `Debug` text. The
/// registered function builds the part from these settings. A part that is built with other settings than those in
/// the file causes an error.
///
/// ```
/// use chainrule::{Activation, Layer, Scalar, layer::Sequential, network::Registry, scalar};
/// #[derive(Clone, Debug)]
/// struct Scaled(f64);
/// impl Activation for Scaled {
///     fn value<T: Scalar>(&self, z: T) -> T { z * scalar(self.0) }
///     fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T { scalar(self.0) }
///     fn settings(&self) -> String { self.0.to_string() }
/// }
/// let saved = Sequential::<f32>::input(2).linear(3).activation(Scaled(0.5)).build()?.spec();
/// let read = |settings: &str| settings.parse().map(Scaled).map_err(chainrule::Error::settings);
/// let network = saved.build_with(&Registry::<f32>::new().activation("Scaled", read))?;
/// assert_eq!(network.spec(), saved);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Registry<T: Scalar> {
    layers: BTreeMap<String, Build<Dims, Box<dyn Layer<T>>>>,
    cells: BTreeMap<String, Build<Unroll<T>, Unrolled<T>>>,
    activations: BTreeMap<String, Box<dyn Place<T>>>,
    initializers: BTreeMap<String, Build<(), InitializerKind>>,
    /// (kind, name) of the first part whose name was registered twice, the kind being `layer`, `cell` and so on;
    /// `None` if all names are unique.
    twice: Option<(&'static str, String)>,
}

impl<T: Scalar> Registry<T> {
    /// Creates a registry without custom parts.
    pub fn new() -> Self {
        let (layers, cells, activations, initializers) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Registry { layers, cells, activations, initializers, twice: None }
    }

    /// Registers a type of custom layers that is saved as `name`. `build` creates a layer from the dims and settings
    /// of its [`Layer::spec`].
    #[must_use]
    pub fn layer<L: Layer<T> + 'static>(
        mut self,
        name: &str,
        build: impl Fn(Dims, &str) -> Result<L, Error> + Send + Sync + 'static,
    ) -> Self {
        let build = move |dims, settings: &str| Ok(Box::new(build(dims, settings)?) as Box<dyn Layer<T>>);
        self.note("layer", name, |own| own.layers.insert(name.into(), Box::new(build)).is_some());
        self
    }

    /// Registers a type of custom cells that is saved as `name`. `build` creates a cell from the settings of its
    /// [`Cell::kind`].
    #[must_use]
    pub fn cell<C: Cell>(
        mut self,
        name: &str,
        build: impl Fn(&str) -> Result<C, Error> + Send + Sync + 'static,
    ) -> Self {
        let build = move |unroll: Unroll<T>, settings: &str| {
            let cell = build(settings)?;
            Ok((cell.kind(), unroll.visit(cell)))
        };
        self.note("cell", name, |own| own.cells.insert(name.into(), Box::new(build)).is_some());
        self
    }

    /// Registers a type of custom activations that is saved as `name`. `build` creates an activation from its
    /// [`Activation::settings`].
    #[must_use]
    pub fn activation<A: Activation>(
        mut self,
        name: &str,
        build: impl Fn(&str) -> Result<A, Error> + Send + Sync + 'static,
    ) -> Self {
        self.note("activation", name, |own| own.activations.insert(name.into(), Box::new(PlaceBy(build))).is_some());
        self
    }

    /// Registers a type of custom initializers that is saved as `name`. `build` creates an initializer from its
    /// [`Initializer::settings`].
    #[must_use]
    pub fn initializer<I: Initializer + 'static>(
        mut self,
        name: &str,
        build: impl Fn(&str) -> Result<I, Error> + Send + Sync + 'static,
    ) -> Self {
        let build = move |(), settings: &str| build(settings).map(Initializer::kind);
        self.note("initializer", name, |own| own.initializers.insert(name.into(), Box::new(build)).is_some());
        self
    }

    /// Calls `insert`, which registers the part `name` and returns whether this name was registered before. Stores
    /// the first name that was registered twice, with `part`, the kind of the part, such as `layer`.
    fn note(&mut self, part: &'static str, name: &str, insert: impl FnOnce(&mut Self) -> bool) {
        if insert(self) && self.twice.is_none() {
            self.twice = Some((part, name.into()));
        }
    }

    /// Returns [`Error::Registered`] if two parts of one kind, such as two layers, were registered under the same
    /// name.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.twice {
            Some((part, name)) => {
                Err(Error::Registered { part, name: name.clone(), rule: Box::new(RegistryRule::Twice) })
            }
            None => Ok(()),
        }
    }

    /// Replaces `kind`, a custom activation or initializer of the layer at `path` of which only name and settings are
    /// known, by one that the registry builds; [`Error::Registered`] if it cannot. Activations and initializers of
    /// this crate are left as they are.
    pub(super) fn exchange(&self, path: &str, kind: Kind<'_>) -> Result<(), Error> {
        match kind {
            Kind::Activation(kind) => {
                if let ActivationKind::Custom(_) = kind {
                    *kind = self.place(path, kind, Around::None)?.0;
                }
            }
            Kind::Initializer(kind) => {
                if let InitializerKind::Custom(own) = &*kind {
                    let wanted = Wanted { part: "initializer", path, name: own.name(), settings: &own.settings() };
                    let built = wanted.build(wanted.find(&self.initializers)?, ())?;
                    wanted.same("name", wanted.name, built.name())?;
                    wanted.same("settings", wanted.settings, &built.settings())?;
                    *kind = built;
                }
            }
        }
        Ok(())
    }

    fn place(&self, path: &str, kind: &ActivationKind, around: Around<'_, T>) -> Result<Placed<T>, Error> {
        let own = kind.as_any();
        let wanted = Wanted { part: "activation", path, name: own.saved_name(), settings: &own.saved_settings() };
        let place = wanted.find(&self.activations)?;
        let (built, layer) = place.place(wanted.settings, around).map_err(|reason| wanted.failed(reason))?;
        wanted.same("name", wanted.name, built.as_any().saved_name())?;
        wanted.same("settings", wanted.settings, &built.as_any().saved_settings())?;
        Ok((built, layer))
    }

    /// Builds the activation layer, of `width` values per row, of a custom `activation` at `path`.
    /// [`Error::Registered`] if the registry cannot build the activation.
    pub(super) fn activation_layer(
        &self,
        path: &str,
        activation: &ActivationKind,
        width: usize,
    ) -> Result<Box<dyn Layer<T>>, Error> {
        let (_, layer) = self.place(path, activation, Around::ActivationLayer(width))?;
        layer.ok_or_else(|| Error::CustomPart { path: path.into(), kind: activation.as_any().saved_name().into() })
    }

    /// Builds the recurrent layer, at `path`, of a custom `cell`, or of a cell with a custom activation. `unroll` has
    /// the other settings of the layer. [`Error::Registered`] if the registry cannot build the cell or activation.
    pub(super) fn recurrent(&self, path: &str, cell: &CellKind, unroll: Unroll<T>) -> Result<Box<dyn Layer<T>>, Error> {
        let CellKind::Custom { name, settings } = cell else {
            let mut around = cell.clone();
            let opaque = || Error::CustomPart { path: path.into(), kind: cell.to_string() };
            let activation = around.activation_mut().ok_or_else(opaque)?;
            return self.place(path, activation, Around::Cell(cell, unroll))?.1.ok_or_else(opaque);
        };
        let wanted = Wanted { part: "cell", path, name, settings };
        let (kind, layer) = wanted.build(wanted.find(&self.cells)?, unroll)?;
        match &kind {
            CellKind::Custom { name, settings } => {
                wanted.same("name", &without_paths(wanted.name), &without_paths(name))?;
                wanted.same("settings", wanted.settings, settings)?;
            }
            listed => wanted.same("name", wanted.name, &listed.to_string())?,
        }
        Ok(layer)
    }

    /// Builds the custom layer registered as `name` from the `dims` and `settings` of its layer specification, for
    /// the path `path` in the network. [`Error::Registered`] if no layer has this name, it cannot be built, or the
    /// built layer differs in dims, name or settings.
    pub(super) fn layer_of(
        &self,
        path: &str,
        name: &str,
        dims: Dims,
        settings: &str,
    ) -> Result<Box<dyn Layer<T>>, Error> {
        let wanted = Wanted { part: "layer", path, name, settings };
        let layer = wanted.build(wanted.find(&self.layers)?, dims)?;
        wanted.same("dims", &format!("{dims:?}"), &format!("{:?}", layer.dims()))?;
        match &layer.spec() {
            LayerSpec::Custom { kind, settings, .. } => {
                wanted.same("name", &without_paths(name), &without_paths(kind))?;
                wanted.same("settings", wanted.settings, settings)?;
            }
            other => wanted.same("name", name, &other.title())?,
        }
        Ok(layer)
    }
}

/// A custom part of a network (layer, cell, activation or initializer) that a registry is to build.
struct Wanted<'a> {
    /// The kind of the custom part, as text: `layer`, `cell`, `activation` or `initializer`.
    part: &'static str,
    /// The path of the layer to which the custom part belongs; empty for the whole network.
    path: &'a str,
    /// The name by which the custom part was saved.
    name: &'a str,
    /// The settings with which the custom part was saved, as text.
    settings: &'a str,
}

impl Wanted<'_> {
    fn error(&self, rule: RegistryRule) -> Error {
        Error::Registered { part: self.part, name: without_paths(self.name), rule: Box::new(rule) }
    }

    fn place(&self) -> String {
        if self.path.is_empty() { "the network".into() } else { format!("layer {}", self.path) }
    }

    fn failed(&self, reason: Error) -> Error {
        self.error(RegistryRule::Build { path: self.place(), reason: Box::new(reason) })
    }

    /// Returns the entry of `parts`, keyed by registered name, for this part's name with or without the module path
    /// of its type. Without such an entry, the error lists similar names.
    fn find<'r, P>(&self, parts: &'r BTreeMap<String, P>) -> Result<&'r P, Error> {
        let found = parts.get(self.name).or_else(|| parts.get(&without_paths(self.name)));
        found.ok_or_else(|| {
            let near = nearest(&without_paths(self.name), parts.keys().map(String::as_str));
            let nearest = near.into_iter().map(ToString::to_string).collect();
            self.error(RegistryRule::Unknown { path: self.place(), nearest })
        })
    }

    fn build<A, P>(&self, build: &Build<A, P>, argument: A) -> Result<P, Error> {
        build(argument, self.settings).map_err(|reason| self.failed(reason))
    }

    /// Returns [`Error::Registered`] if a property of the built part differs from that of the saved part. `what` is
    /// the name of the property, such as `settings`. Its value, as text, is `expected` in the layer specification,
    /// and `found` in the built part.
    fn same(&self, what: &'static str, expected: &str, found: &str) -> Result<(), Error> {
        if expected == found {
            return Ok(());
        }
        let (expected, found) = (expected.into(), found.into());
        Err(self.error(RegistryRule::Differs { path: self.place(), what, expected, found }))
    }
}

impl<T: Scalar> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the names of the registered layers, cells, activations and initializers.
impl<T: Scalar> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("layers", &self.layers.keys())
            .field("cells", &self.cells.keys())
            .field("activations", &self.activations.keys())
            .field("initializers", &self.initializers.keys())
            .finish()
    }
}
