//! The generic code that this crate compiles for `f32` and `f64`, so that dependent crates need not compile it.
//!
//! Rust compiles generic code in the crate that names its concrete types. The functions listed here are hidden
//! methods of [`Scalar`](crate::Scalar) without type parameters. The implementations for `f32` and `f64` define them,
//! so this crate compiles them with all generic code that they call. For another scalar they are compiled in the
//! crate that uses it.
//!
//! Each method has the name of a type or function of the list, and calls its generic code.
//!
//! | list | code |
//! | --- | --- |
//! | `boxed`, `leaf_layers`, `cells` | a layer as a trait object, so that its methods are compiled here |
//! | `losses`, `transforms` | the evaluation of a loss, the update of a transform |
//! | `functions` | the passes of a workspace, the loop of a trainer |
//!
//! The list names items of all modules, whatever their level in the architecture. Only this file may do so.

pub(crate) use crate::{
    batch_shape::BatchShape,
    block::Blocks,
    dataset::{Batch, ChosenRows, ChosenTargets, Dataset, Source},
    error::Error,
    layer::{
        ActivationLayer, Backward, Forward, InPlaceStep, Layer, LayerSpec, MemorySizes, Mode, Sequential, Structure,
    },
    loss::Rows,
    monitor::GradientMonitor,
    network::Registry,
    trainer::{EachBatch, Epoch, Evaluation, FitOptions, Run},
    transform::{GradientTransform, InPlace, Outcome, Update},
    workspace::{Capacity, Given, Memory, Output, StepWindows, Workspace},
};
pub(crate) use alloc::{boxed::Box, vec::Vec};

/// The recurrent layer of the cell `C`.
pub(crate) type RecurrentLayer<C> = crate::recurrent::Recurrent<C>;
/// The Elman recurrent layer with the activation `A`.
pub(crate) type ElmanLayer<A> = crate::recurrent::Recurrent<crate::cell::Elman<A>>;

/// Calls the macro `$then` with the list of all types and functions that this crate compiles for `f32` and `f64`.
macro_rules! compiled {
    ($then:ident) => {
        $then! {
            boxed {
                Residual: crate::layer::Residual<Self>;
                Parallel: crate::layer::Parallel<Self>;
                Sequential: Sequential<Self>;
                Checkpointed: crate::recurrent::Checkpointed<Self>;
                ElmanTanh: ElmanLayer<crate::activation::Tanh>;
                ElmanRelu: ElmanLayer<crate::activation::Relu>;
            }
            activations { Sigmoid Tanh Relu LeakyRelu Elu Gelu Swish }
            losses {
                MeanSquaredError MeanAbsoluteError Huber SmoothL1 Pinball CosineDistance PoissonNll CrossEntropy
                BinaryCrossEntropy Focal GaussianNll Hinge KlDivergence NegativeLogLikelihood MultiMargin
            }
            transforms {
                Adadelta Adagrad Adam AdamW Adamax WeightAverage ClipValue ClipNorm ClipBlockNorm Lion Muon NAdam
                ParameterGroups Penalty RAdam RmsProp Schedule ReduceOnPlateau ScheduleFreeAdamW Sgd SkipNonFinite
            }
            functions {
                fn initialize(layer: &dyn Layer<Self>, seed: u64) -> Result<Vec<Self>, Error>
                    = crate::layer::initialize_dyn;
                fn layer_build(
                    spec: &LayerSpec, registry: Option<&Registry<Self>>,
                ) -> Result<Box<dyn Layer<Self>>, Error> = LayerSpec::build_typed;
                fn dataset_inputs(data: &Dataset<'_, Self>, rows: &ChosenRows<'_>, x: &mut [Self]) -> Result<(), Error>
                    = Dataset::copy_inputs;
                fn dataset_targets(
                    data: &Dataset<'_, Self>, rows: &ChosenRows<'_>, per_step: bool, to: ChosenTargets<'_, Self>,
                ) -> Result<(), Error> = Dataset::copy_targets;
                fn sequential_push(
                    network: &mut Sequential<Self>, layer: Box<dyn Layer<Self>>, own: bool,
                ) -> Result<(), Error> = Sequential::push_made;
                fn sequential_unsize['m](workspace: &'m mut Workspace<Self, Sequential<Self>>)
                    -> &'m mut Workspace<Self, dyn Layer<Self> + 'm> = Sequential::unsize_of;
                fn sequential_memory(network: &Sequential<Self>, shape: BatchShape<'_>, mode: Mode) -> MemorySizes
                    = Sequential::memory_of;
                fn sequential_structure(network: &Sequential<Self>) -> Structure<'_, Self> = Sequential::structure_of;
                fn sequential_spec(network: &Sequential<Self>) -> LayerSpec = Sequential::spec_of;
                fn sequential_forward(network: &Sequential<Self>, w: &[Self], pass: Forward<'_, Self>)
                    = Sequential::forward_of;
                fn sequential_backward(network: &Sequential<Self>, w: &[Self], pass: Backward<'_, Self>)
                    = Sequential::backward_of;
                fn sequential_backward_in_place(
                    network: &Sequential<Self>, w: &mut [Self], step: InPlaceStep<'_, Self>, pass: Backward<'_, Self>,
                ) = Sequential::backward_in_place_of;
                fn workspace_memory(network: &dyn Layer<Self>, capacity: BatchShape<'_>, mode: Mode)
                    -> Result<Memory<Self>, Error> = Memory::new;
                fn workspace_reserve(
                    memory: &mut Memory<Self>, network: &dyn Layer<Self>, capacity: Capacity,
                ) -> Result<(), Error> = Memory::reserve;
                fn workspace_forward['m](
                    memory: &'m mut Memory<Self>, network: &dyn Layer<Self>, w: &[Self], x: Option<&[Self]>,
                    shape: BatchShape<'_>, mode: Mode, monitor: &mut dyn GradientMonitor<Self>,
                ) -> Result<Output<'m, Self>, Error> = Memory::forward;
                fn workspace_infer['m](
                    memory: &'m mut Memory<Self>, network: &dyn Layer<Self>, w: &[Self], x: Option<&[Self]>,
                    shape: BatchShape<'_>,
                ) -> Result<&'m [Self], Error> = Memory::infer;
                fn workspace_backward(
                    memory: &mut Memory<Self>, network: &dyn Layer<Self>, w: Given<'_, Self>, begins: bool,
                    monitor: &mut dyn GradientMonitor<Self>,
                ) -> Result<(), Error> = Memory::run_backward;
                fn workspace_descend(
                    memory: &mut Memory<Self>, network: &dyn Layer<Self>, w: &mut [Self], rate: Self,
                ) -> Result<(), Error> = Memory::descend;
                fn workspace_predict(
                    workspace: &mut Workspace<Self, dyn Layer<Self> + '_>, windows: &mut Option<StepWindows<Self>>,
                    w: &[Self], data: &dyn Source<Self>,
                ) -> Result<Vec<Self>, Error> = crate::workspace::predict;
                fn workspace_predict_into(
                    workspace: &mut Workspace<Self, dyn Layer<Self> + '_>, windows: &mut Option<StepWindows<Self>>,
                    w: &[Self], data: &dyn Source<Self>, y: &mut [Self],
                ) -> Result<(), Error> = crate::workspace::predict_into;
                fn optimizer_state(
                    transform: &mut dyn GradientTransform<Self>, blocks: &Blocks, w: &[Self],
                ) -> Result<(Vec<Self>, bool, InPlace), Error> = crate::transform::initial_state;
                fn trainer_step(
                    run: &mut Run<'_, Self>, data: &dyn Source<Self>, batch: &mut Batch<Self>, samples: &[usize],
                    monitor: &mut dyn GradientMonitor<Self>,
                ) -> Result<(f64, Outcome), Error> = Run::step;
                fn trainer_fit(run: &mut Run<'_, Self>, data: &dyn Source<Self>, options: FitOptions<'_, Self>)
                    -> Result<Vec<Epoch>, Error> = Run::fit;
                fn trainer_evaluate(run: &mut Run<'_, Self>, name: &'static str, data: &dyn Source<Self>)
                    -> Result<Evaluation, Error> = Run::evaluate;
                fn trainer_each_batch(
                    run: &mut Run<'_, Self>, data: &dyn Source<Self>, visit: &mut EachBatch<'_, Self>,
                ) -> Result<(), Error> = Run::each_batch;
            }
        }
    };
}
pub(crate) use compiled;

/// Defines the hidden methods of [`Scalar`](crate::Scalar), one for each entry of the list in the macro `compiled`.
macro_rules! methods {
    (
        boxed { $($layer:ident: $layer_type:ty;)* }
        activations { $($activation:ident)* }
        losses { $($loss:ident)* }
        transforms { $($transform:ident)* }
        functions {
            $(fn $function:ident$([$lifetime:lifetime])?($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
                = $generic:path;)*
        }
    ) => {
        $(
            #[doc(hidden)]
            #[inline(never)]
            fn $layer(layer: $layer_type) -> Box<dyn Layer<Self>> {
                Box::new(layer)
            }
        )*
        $(
            #[doc(hidden)]
            #[inline(never)]
            fn $activation(
                layer: ActivationLayer<crate::activation::$activation>,
            ) -> Box<dyn Layer<Self>> {
                Box::new(layer)
            }
        )*
        $(
            #[doc(hidden)]
            fn $loss(
                loss: &crate::loss::$loss,
                rows: Rows<'_, Self>,
            ) -> Result<(Self, f64), Error> {
                loss.evaluate_generic(rows)
            }
        )*
        $(
            #[doc(hidden)]
            fn $transform(
                transform: &mut crate::transform::$transform,
                update: Update<'_, Self>,
            ) -> Result<Outcome, Error> {
                transform.update_generic(update)
            }
        )*
        $(
            #[doc(hidden)]
            #[allow(clippy::too_many_arguments, private_interfaces)]
            fn $function$(<$lifetime>)?($($argument: $type),*) $(-> $result)? {
                $generic($($argument),*)
            }
        )*
    };
}
pub(crate) use methods;

/// Defines hidden methods of [`Scalar`](crate::Scalar) that box a layer as a trait object: one for each type in the
/// list of the macro `leaf_layers`, the layers that contain no other layers.
macro_rules! boxed_layers {
    ($($file:ident: $($name:ident),+;)*) => {
        $($(
            #[doc(hidden)]
            #[inline(never)]
            fn $name(layer: crate::layer::$name) -> Box<dyn Layer<Self>> {
                Box::new(layer)
            }
        )+)*
    };
}
pub(crate) use boxed_layers;

/// Defines hidden methods of [`Scalar`](crate::Scalar) that box a recurrent layer as a trait object: one for each
/// cell in the list of the macro `cells` that has no activation as a type parameter.
macro_rules! boxed_cells {
    (
        with_activation { $($_file:ident: $_name:ident;)* }
        plain { $($file:ident: $name:ident [$($_made:expr),*];)* }
    ) => {
        $(
            #[doc(hidden)]
            #[inline(never)]
            fn $name(layer: RecurrentLayer<crate::cell::$name>) -> Box<dyn Layer<Self>> {
                Box::new(layer)
            }
        )*
    };
}
pub(crate) use boxed_cells;

/// Defines all hidden methods of [`Scalar`](crate::Scalar).
macro_rules! hidden_methods {
    () => {
        compiled!(methods);
        crate::layer::leaf_layers!(boxed_layers);
        crate::cell::cells!(boxed_cells);
    };
}
pub(crate) use hidden_methods;
