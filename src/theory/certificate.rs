//! Upper bounds on the gradients of a network, from its weights alone.

use crate::linalg::Upper;
use crate::{
    batch_shape::BatchShape,
    error::{Error, require_length},
    layer::{Layer, check_depth, gain_bounds, state_bounds},
    network::summary,
    recurrent::MOST_BOUNDED_STEPS,
    scalar::Scalar,
    size::at_most,
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::fmt;
use num_traits::Float;

/// An upper bound on the factor by which one link, a factor of the chain rule such as a layer, multiplies the norm of a
/// gradient.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkBound {
    /// The path of the link (a factor of the chain rule, such as a layer) in the network: `2`, `3.branch.0`.
    pub name: String,
    /// The kind of the layer whose factor this bounds, such as `Linear`.
    pub kind: String,
    /// Upper bound on `‖∂y/∂x‖₂`, x the input and y the output of the link (such as a layer); `None` if its
    /// layer states no bound.
    pub bound: Option<f64>,
}

/// Upper bounds on the gradient through the state of one recurrent layer, over k = 0, 1, … time steps.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Horizon {
    /// The path of the recurrent layer.
    pub name: String,
    /// The kind of the recurrent layer, such as `Recurrent Lstm`.
    pub kind: String,
    /// Upper bounds on `‖∂s_t/∂s_{t−k}‖₂`, s_t the state after time step t, for k = 0, 1, … up to the sequence
    /// length of the certificate; `None` if the layer states none. For an LSTM, s is (h, c).
    pub bounds: Option<Vec<f64>>,
}

impl Horizon {
    /// Returns the smallest N such that, over more than N time steps of the backward pass, the norm of a state
    /// gradient is certain to fall below `threshold` times its first value.
    ///
    /// `None` if there are no bounds, or if the bounds prove no such N within the sequence length of the certificate.
    pub fn vanishes_beyond(&self, threshold: f64) -> Option<usize> {
        let bounds = self.bounds.as_ref()?;
        let below = |bound: &f64| *bound < threshold;
        let last = bounds.iter().rposition(|bound| !below(bound)).unwrap_or(0);
        (last + 1 < bounds.len()).then_some(last)
    }
}

/// An upper bound on the input gradient, `‖∂L/∂x‖ ≤ Π_l b_l · ‖∂L/∂y‖`, for every input and every
/// loss.
///
/// The factors b_l are the [`gain_bound`](Layer::gain_bound)s of the layers: an upper bound on ‖W‖₂, sup |φ′|
/// and so on. A product far below 1 proves that the gradient vanishes between output and input. A product above 1
/// proves only that the gradient grows by no larger factor.
///
/// Where an [`Embedding`](crate::layer::Embedding) reads the input, x is the output of the embedding: indices have no
/// gradient.
///
/// Over time, the bounds on `‖∂s_t/∂s_{t−k}‖₂` of a [`Horizon`] decrease with k if vanishing is certain
/// (Pascanu, Mikolov & Bengio 2013, §2.2: `‖U‖₂ < 1/γ`).
///
/// The bound holds in exact arithmetic, for the given weights, in any mode, from a zero initial state. It holds for
/// one sample with all its time steps and for a whole batch. Rounding adds a relative error of a few machine epsilons
/// for each operation of a pass.
///
/// ```
/// use chainrule::{BatchShape, activation::Sigmoid, layer::{Sequential, initialize}, theory::Certificate};
/// let mut builder = Sequential::<f64>::input(8);
/// for _ in 0..20 {
///     builder = builder.linear(8).activation(Sigmoid);
/// }
/// let network = builder.build()?;
/// let w = initialize(&network, 1)?;
/// let certificate = Certificate::new(&network, &w, BatchShape::batch(1))?;
/// println!("{certificate}"); // a bound for each layer, then the conclusion: "certain to vanish: …"
/// assert_eq!(certificate.vanishes(Certificate::VANISHED), Some(true));
/// assert!(certificate.gradient_bound(1.0) < Some(1e-6));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    links: Vec<LinkBound>,
    horizons: Vec<Horizon>,
}

impl Certificate {
    /// The factor on a gradient's norm below which the printed certificate calls the gradient vanished.
    pub const VANISHED: f64 = 1e-4;

    /// Computes the certificate of `network` with the parameters `w`, for passes over batches of `shape`.
    ///
    /// # Errors
    /// The errors of [`BatchShape::check`]. [`Error::TooLarge`] for more than 2²² time steps, since the bounds over
    /// time are a table with an entry for each step. [`Error::Length`] if `w` does not have the network's number of
    /// parameters. [`Error::InvalidLayer`] for layers nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
    pub fn new<T: Scalar>(network: &(impl Layer<T> + ?Sized), w: &[T], shape: BatchShape<'_>) -> Result<Self, Error> {
        shape.check()?;
        check_depth(&network)?;
        at_most("the steps of a certificate", shape.steps, MOST_BOUNDED_STEPS)?;
        require_length("parameters", network.dims().parameters, w.len())?;
        let kinds: BTreeMap<_, _> = summary(network).rows.into_iter().map(|row| (row.path, row.kind)).collect();
        let kind = |name: &str| kinds.get(name).cloned().unwrap_or_default();
        let (mut links, mut horizons) = (Vec::new(), Vec::new());
        gain_bounds(&network, w, shape, "", &mut |name, bound| {
            links.push(LinkBound { name: name.into(), kind: kind(name), bound });
        });
        state_bounds(&network, w, shape, "", &mut |name, bounds| {
            horizons.push(Horizon { name: name.into(), kind: kind(name), bounds: bounds.map(Vec::from) });
        });
        Ok(Certificate { links, horizons })
    }

    /// Returns the bound of each link (a factor of the chain rule, such as a layer), from input to output.
    pub fn links(&self) -> &[LinkBound] {
        &self.links
    }

    /// Returns the upper bounds on gradients over time steps, one entry for each recurrent layer.
    pub fn horizons(&self) -> &[Horizon] {
        &self.horizons
    }

    /// Returns the links (factors of the chain rule) whose layer states no bound. If there is one, the certificate
    /// proves nothing about the gradient from output to input.
    pub fn missing(&self) -> impl Iterator<Item = &LinkBound> {
        self.links.iter().filter(|link| link.bound.is_none())
    }

    /// Returns the product of the bounds of all links, an upper bound on `‖∂L/∂x‖/‖∂L/∂y‖`. Here x is
    /// the input and y the output of the network, and L any loss. `None` if a link (factor of the chain rule)
    /// has no bound.
    ///
    /// If the product is beyond the range of `f64`, the result is ∞ or the smallest positive number.
    pub fn bound(&self) -> Option<f64> {
        self.product(1.0).map(Product::value)
    }

    /// Returns `log10` of [`bound`](Self::bound), which does not overflow or underflow at any depth. −∞ if no
    /// gradient reaches the input; `None` if a link (factor of the chain rule) has no bound.
    pub fn decades(&self) -> Option<f64> {
        self.product(1.0).map(Product::decades)
    }

    /// Returns an upper bound on the norm of the input gradient, `‖∂L/∂x‖`, if that of the output gradient,
    /// `‖∂L/∂y‖`, is `output_gradient`. `None` if a link (factor of the chain rule) has no bound.
    pub fn gradient_bound(&self, output_gradient: f64) -> Option<f64> {
        self.product(output_gradient).map(Product::value)
    }

    /// Whether the norm of the gradient is certain to shrink by a factor below `threshold` between output and input.
    ///
    /// `None` if a link (factor of the chain rule) has no bound. `Some(false)` proves nothing.
    pub fn vanishes(&self, threshold: f64) -> Option<bool> {
        Some(self.decades()? < libm::log10(threshold).next_down())
    }

    fn product(&self, start: f64) -> Option<Product> {
        let start = Product { mantissa: Upper::ONE, exponent: 0 }.times(Upper::of(start));
        self.links.iter().try_fold(start, |product, link| Some(product.times(Upper::of(link.bound?))))
    }
}

/// A product of upper bounds, `mantissa · 2^exponent`, that neither overflows nor underflows.
#[derive(Clone, Copy)]
struct Product {
    mantissa: Upper,
    exponent: i64,
}

impl Product {
    fn times(self, factor: Upper) -> Self {
        // Both fractions are in [½, 1): their product neither overflows nor underflows.
        let (fraction, exponent) = libm::frexp(factor.get());
        let (mantissa, carry) = libm::frexp((self.mantissa * Upper::of(fraction)).get());
        let exponent = if factor.get().is_finite() { i64::from(exponent) } else { 0 };
        Product { mantissa: Upper::of(mantissa), exponent: self.exponent + exponent + i64::from(carry) }
    }

    fn value(self) -> f64 {
        self.mantissa.scaled(self.exponent.clamp(-4000, 4000) as i32).get()
    }

    fn decades(self) -> f64 {
        match self.mantissa {
            Upper::ZERO => f64::NEG_INFINITY,
            mantissa => {
                // The sum is rounded up by an allowance for three roundings of numbers up to 1 + |exponent|, and for
                // a logarithm with an error of one unit in the last place.
                let exponent = self.exponent as f64 * core::f64::consts::LOG10_2;
                let decades = libm::log10(mantissa.get()) + exponent;
                decades + 4.0 * f64::EPSILON * (1.0 + Float::abs(exponent))
            }
        }
    }
}

/// Formats `10^decades` in scientific notation with two significant digits; infinite decades give `∞` or `0`.
/// `round` is `floor` or `ceil`, the direction of rounding. A value within a relative 1e-9 of a number with two
/// digits becomes that number: 0.25 gives `2.5e-1`.
fn figures(decades: f64, round: fn(f64) -> f64) -> String {
    if !decades.is_finite() {
        return String::from(if decades > 0.0 { "∞" } else { "0" });
    }
    let exponent = Float::floor(decades);
    let tenths = libm::exp10(decades - exponent) * 10.0;
    let nearest = Float::round(tenths);
    let tenths = if Float::abs(tenths - nearest) < 1e-8 { nearest } else { round(tenths) };
    if tenths >= 100.0 { format!("1.0e{}", exponent + 1.0) } else { format!("{:.1}e{exponent}", tenths / 10.0) }
}

/// Writes a row for each link (factor of the chain rule), from output to input, with its bound and the product so
/// far. Then it writes whether a gradient is certain to vanish, from output to input and, for each recurrent layer,
/// over time steps.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |text: fn(&LinkBound) -> &str| self.links.iter().map(|link| text(link).chars().count()).max();
        let name = widest(|link| &link.name).unwrap_or(0).max("layer".len());
        let kind = widest(|link| &link.kind).unwrap_or(0).max("kind".len());
        writeln!(f, "upper bounds on the factor of each layer on the norm of a gradient, from output to input")?;
        writeln!(f, "{:<name$}  {:<kind$}  {:>9}  {:>9}", "layer", "kind", "at most", "so far")?;
        let mut product = Some(Product { mantissa: Upper::ONE, exponent: 0 });
        for link in self.links.iter().rev() {
            product = product.zip(link.bound).map(|(product, bound)| product.times(Upper::of(bound)));
            let bound = link.bound.map_or(String::from("unknown"), |bound| figures(libm::log10(bound), Float::ceil));
            let so_far = product.map_or(String::new(), |product| figures(product.decades(), Float::ceil));
            let row = format!("{:<name$}  {:<kind$}  {bound:>9}  {so_far:>9}", link.name, link.kind);
            writeln!(f, "{}", row.trim_end())?;
        }
        match (self.decades(), self.missing().next()) {
            (Some(f64::NEG_INFINITY), _) => write!(f, "certain to vanish: no gradient reaches the input")?,
            (Some(decades), _) if self.vanishes(Self::VANISHED) == Some(true) => {
                let shrinks = figures(-decades, Float::floor);
                write!(f, "certain to vanish: the gradient shrinks at least {shrinks}-fold from output to input")?;
            }
            (Some(f64::INFINITY), _) => write!(f, "vanishing is not certain: the gradient has no bound")?,
            (Some(decades), _) => {
                let most = figures(decades, Float::ceil);
                write!(f, "vanishing is not certain: the gradient's norm is multiplied by at most {most}")?;
            }
            (None, missing) => {
                write!(
                    f,
                    "no certificate: {} states no bound",
                    missing.map_or(String::new(), |link| title(&link.name, &link.kind))
                )?;
            }
        }
        for horizon in &self.horizons {
            write!(f, "\n{horizon}")?;
        }
        Ok(())
    }
}

/// Writes one line: the number of time steps beyond which the gradient is certain to fall below
/// [`Certificate::VANISHED`] times its norm, or that this is not certain.
impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over time, {}: ", title(&self.name, &self.kind))?;
        let Some(bounds) = &self.bounds else { return write!(f, "no certificate: it states no bound") };
        let steps = bounds.len().saturating_sub(1);
        match (self.vanishes_beyond(Certificate::VANISHED), bounds.last()) {
            (Some(within), _) => write!(f, "certain to vanish over more than {within} of {steps} steps"),
            (None, Some(&last)) if last < f64::INFINITY => {
                let most = figures(libm::log10(last), Float::ceil);
                write!(
                    f,
                    "vanishing is not certain: after {steps} steps the gradient's norm is multiplied by at most {most}"
                )
            }
            _ => write!(f, "vanishing is not certain: after {steps} steps the gradient has no bound"),
        }
    }
}

/// Returns the name of a layer for a sentence, such as `layer 3 (Linear)`. Without a `name` it is the kind; without
/// both it is `the network`.
fn title(name: &str, kind: &str) -> String {
    match (name.is_empty(), kind.is_empty()) {
        (true, true) => "the network".into(),
        (true, false) => kind.into(),
        (false, true) => format!("layer {name}"),
        (false, false) => format!("layer {name} ({kind})"),
    }
}
