//! The laws of gain bounds, of outputs and of states.

use super::{Asked, Given, Inputs, Suite, USUAL, adjoint::at_rest};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::{Mode, Samples},
    testing::{
        Law,
        law::{beyond, listed},
    },
};
use alloc::{format, vec, vec::Vec};

/// The number of iterations of the power method.
const ITERATIONS: usize = 12;
/// The allowed relative excess over a bound, for rounding.
const ROUNDING: f64 = 1e-9;

/// The factors on parameters (first) and inputs (second) at which bounds on gains are tested.
const SIZES: [[f64; 2]; 6] = [[1.0, 1.0], [0.01, 1.0], [10.0, 1.0], [1.0, 30.0], [1.0, 1e4], [1.0, 0.01]];

/// The number of time steps of a short sequence at which bounds on the gain of outputs are tested.
const SHORT: usize = 5;

/// The largest number of parameters of a layer whose bound on outputs is also tested at inputs from −8 to 8.
const FEW: usize = 1000;

/// The number of time steps of the longest sequence at which bounds on gains are tested.
const LONG: usize = 12;

/// The windows of a sequence in which bounds on states are tested: their first steps, and their numbers of steps.
const WINDOWS: [[usize; 2]; 10] = [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [4, 1], [3, 2], [2, 3], [6, 6], [0, LONG]];

impl Suite<'_, '_> {
    /// Draws random values for a pass without an initial state, with the parameters multiplied by `weights` and the
    /// inputs by `inputs`.
    #[inline]
    fn sized(&mut self, shape: BatchShape<'_>, [weights, inputs]: [f64; 2], stream: u64) -> Option<Given<f64>> {
        self.inputs = Inputs { size: inputs, ..USUAL };
        let given = self.draw(shape, stream);
        self.inputs = USUAL;
        let mut given = given?;
        given.w.iter_mut().for_each(|w| *w *= weights);
        self.admit_parameters(&mut given.w);
        Some(given)
    }

    /// Tests the stated bound on ‖J‖, the spectral norm of J = ∂y/∂x: `‖Jᵀ c‖ ≤ bound · ‖c‖`, for
    /// directions c from 12 steps of power iteration with `J Jᵀ`. Coupled samples are tested in a batch of 4.
    #[inline]
    pub(super) fn gain_bound(&mut self) {
        let coupled = (self.layers.double.samples() != Samples::Independent).then_some(BatchShape::batch(4));
        if self.gain_along(BatchShape::batch(1)).is_none() {
            return;
        }
        let shapes = [BatchShape::batch(1), BatchShape::sequences(1, SHORT), BatchShape::sequences(1, LONG)];
        for shape in shapes.into_iter().chain(coupled) {
            for mode in [Mode::Train, Mode::Evaluate] {
                let sizes = if mode == Mode::Train { &SIZES[..] } else { &SIZES[..1] };
                for &sizes in sizes {
                    if self.gain_at(shape, mode, sizes).is_none() {
                        return;
                    }
                }
            }
        }
        self.gain_aligned();
    }

    /// Tests the stated bound on the gain, the spectral norm of ∂y/∂x, at parameters that are all positive, and small
    /// inputs. The gain of a product or sum of positive matrices is near the product or sum of their gains. So a
    /// bound that omits a term is exceeded.
    #[inline]
    fn gain_aligned(&mut self) -> Option<()> {
        let shape = BatchShape::batch(1);
        for weights in [1.0, 0.1] {
            let sizes = [weights, 0.01];
            let mut given = self.sized(shape, sizes, 5)?;
            given.w.iter_mut().for_each(|w| *w = w.abs());
            self.admit_parameters(&mut given.w);
            let Some(bound) = self.bound(&given, shape) else { continue };
            given.dy.fill(1.0);
            // Parameters that must be negative, for example under a root, give results that are not finite: they are
            // not tested.
            let results = self.pass(self.layers.double, "f64", &given, &Asked::new(shape))?;
            if !(bound.is_finite() && results.y.iter().chain(&results.dx).all(|value| value.is_finite())) {
                continue;
            }
            self.gain_of(shape, Mode::Train, sizes, given, (bound, ITERATIONS))?;
        }
        Some(())
    }

    /// Tests the stated bound on the gain, the spectral norm of ∂y/∂x, at inputs that all have one value: −8 to 8 in
    /// steps of 1/8, where the derivative of an activation has its extremes.
    #[inline]
    fn gain_along(&mut self, shape: BatchShape<'_>) -> Option<()> {
        let usual = self.sized(shape, SIZES[0], 5)?;
        let Some(bound) = self.bound(&usual, shape).filter(|_| usual.w.len() <= FEW) else { return Some(()) };
        for place in -64..=64 {
            let mut given = usual.clone();
            given.x.fill(f64::from(place) / 8.0);
            self.admit(&mut given.x);
            self.gain_of(shape, Mode::Train, SIZES[0], given, (bound, 2))?;
        }
        Some(())
    }

    /// Tests the stated bound on the gain, the spectral norm of ∂y/∂x, at random parameters and inputs multiplied by
    /// the two `sizes`. `None` if the bound is exceeded, or if a pass fails.
    #[inline]
    fn gain_at(&mut self, shape: BatchShape<'_>, mode: Mode, sizes: [f64; 2]) -> Option<()> {
        let given = self.sized(shape, sizes, 5)?;
        let Some(bound) = self.bound(&given, shape) else { return Some(()) };
        self.gain_of(shape, mode, sizes, given, (bound, ITERATIONS))
    }

    /// Returns the finite bound on the gain, the spectral norm of ∂y/∂x, that the layer states for the parameters of
    /// `given`; `None` if it states none.
    #[inline]
    fn bound(&self, given: &Given<f64>, shape: BatchShape<'_>) -> Option<f64> {
        self.layers.double.gain_bound(&given.w, shape).filter(|bound| *bound != f64::INFINITY)
    }

    /// Tests the stated `bound` on the gain, the spectral norm of ∂y/∂x, at the parameters and the input of `given`,
    /// by `iterations` steps of power iteration.
    #[inline]
    fn gain_of(
        &mut self,
        shape: BatchShape<'_>,
        mode: Mode,
        sizes: [f64; 2],
        given: Given<f64>,
        (bound, iterations): (f64, usize),
    ) -> Option<()> {
        let mut given = Given { state: None, d_state: None, ..given };
        let asked = Asked { mode, ..Asked::new(shape) };
        for _ in 0..iterations {
            // ‖Jᵀ‖ = ‖J‖, and the backward pass applies Jᵀ.
            let results = self.pass(self.layers.double, "f64", &given, &asked)?;
            let gain = norm(&results.dx) / norm(&given.dy).max(f64::MIN_POSITIVE);
            if beyond(gain, bound * (1.0 + ROUNDING)) {
                let place = format!("{} ({mode:?})", self.at("f64", shape));
                let (seed, [weights, _]) = (self.seed, sizes);
                let input = format!("x = {}; parameters of seed {seed}, times {weights}", listed(&given.x));
                let expected = format!("at most {bound:e}, the stated bound");
                self.trial.breaks(Law::GainBound, place, expected, format!("{gain:e}"), input);
                return None;
            }
            let direction = Given { x: results.dx, ..at_rest(&given) };
            let [image, _] = self.image(&given, &direction, &asked)?;
            let length = norm(&image);
            if length == 0.0 {
                break;
            }
            given.dy = image.iter().map(|value| value / length).collect();
        }
        Some(())
    }

    /// Tests the stated bounds on ‖∂s_t/∂s_{t−k}‖, s_t being the state after time step t of one sequence, for
    /// windows of k time steps, by power iteration as in [`gain_bound`](Self::gain_bound).
    #[inline]
    pub(super) fn state_gain_bounds(&mut self) {
        let (layer, whole) = (self.layers.double, BatchShape::sequences(1, LONG));
        if layer.reads_later_steps() || layer.output_shape(whole) != whole {
            return;
        }
        for sizes in SIZES {
            let Some(given) = self.sized(whole, sizes, 8).filter(|given| given.state.is_some()) else { return };
            let Some(bounds) = layer.state_gain_bounds(&given.w, whole) else { continue };
            if bounds.len() != LONG + 1 {
                let place = format!("{}state_gain_bounds, {LONG} steps", self.label);
                let (expected, found) = (format!("{} bounds, for k from 0", LONG + 1), format!("{}", bounds.len()));
                return self.trial.breaks(Law::GainBound, place, expected, found, "");
            }
            for [start, steps] in WINDOWS {
                if self.state_gain_at(&given, [start, steps], bounds[steps], sizes).is_none() {
                    return;
                }
            }
        }
    }

    /// Tests the `bound` on the gain of the state over a window of a sequence, given as its first time step and its
    /// number of time steps. `None` if it is exceeded, or if a pass fails. `weights` and `inputs` are the factors by
    /// which the parameters and inputs in `given` were multiplied, for the message.
    #[inline]
    fn state_gain_at(
        &mut self,
        given: &Given<f64>,
        [start, steps]: [usize; 2],
        bound: f64,
        [weights, inputs]: [f64; 2],
    ) -> Option<()> {
        let layer = self.layers.double;
        let (dims, shape) = (layer.dims(), BatchShape::sequences(1, steps));
        let rows = |first: usize, count: usize| given.x[first * dims.input..][..count * dims.input].to_vec();
        let first = Given { x: rows(0, start), state: None, d_state: None, ..given.clone() };
        let count = given.state.as_ref().map_or(0, Vec::len);
        let state = if start == 0 {
            vec![0.0; count]
        } else {
            let asked = Asked { backward: false, ..Asked::new(BatchShape::sequences(1, start)) };
            self.pass(layer, "f64", &first, &asked)?.state
        };
        let dy = vec![0.0; steps * dims.output];
        let mut window = Given { x: rows(start, steps), state: Some(state), dy, ..given.clone() };
        for _ in 0..ITERATIONS {
            let results = self.pass(layer, "f64", &window, &Asked::new(shape))?;
            let length = norm(window.d_state.as_deref().unwrap_or(&[]));
            let gain = norm(&results.d_state) / length.max(f64::MIN_POSITIVE);
            if bound != f64::INFINITY && beyond(gain, bound * (1.0 + ROUNDING)) {
                let end = start + steps;
                let place = format!("{}f64: the state after step {end} by that after step {start}", self.label);
                let input = format!("x × {inputs}; parameters of seed {}, times {weights}", self.seed);
                let expected = format!("at most {bound:e}, the stated bound for k = {steps}");
                self.trial.breaks(Law::GainBound, place, expected, format!("{gain:e}"), input);
                return None;
            }
            let direction = Given { state: Some(results.d_state), ..at_rest(&window) };
            let [_, image] = self.image(&window, &direction, &Asked::new(shape))?;
            let length = norm(&image);
            if length == 0.0 {
                break;
            }
            window.d_state = Some(image.iter().map(|value| value / length).collect());
        }
        Some(())
    }
}
