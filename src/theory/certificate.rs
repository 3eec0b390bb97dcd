//! What no gradient of a network exceeds, from its weights alone.

use crate::linalg::Upper;
use crate::{
    batch_shape::BatchShape,
    error::{Error, require_length},
    layer::Layer,
    network::summary,
    recurrent::MOST_BOUNDED_STEPS,
    scalar::Scalar,
    size::at_most,
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::fmt;
use num_traits::Float;

/// An upper bound on what one link of a network does to the length of a gradient.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkBound {
    /// The link's name: `2`, `3.branch.0`.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// On `‖∂y/∂x‖₂`, where the layer states one.
    pub bound: Option<f64>,
}

/// Upper bounds on the gradient through the state of one recurrent layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Horizon {
    /// The layer's name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// On `‖∂s_t/∂s_{t−k}‖₂` for k = 0, 1, …, steps, where the layer states them; s is (h, c) for an LSTM.
    pub bounds: Option<Vec<f64>>,
}

impl Horizon {
    /// The least N such that over more than N steps the gradient is certain to shrink below `threshold`.
    ///
    /// `None` where the bounds do not say so within the steps of the certificate, or there are none.
    pub fn vanishes_beyond(&self, threshold: f64) -> Option<usize> {
        let bounds = self.bounds.as_ref()?;
        let below = |bound: &f64| *bound < threshold;
        let last = bounds.iter().rposition(|bound| !below(bound)).unwrap_or(0);
        (last + 1 < bounds.len()).then_some(last)
    }
}

/// What no gradient of a network exceeds: `‖∂L/∂x‖ ≤ Π_l b_l · ‖∂L/∂y‖`, for every input and every loss.
///
/// The factors b_l are the layers' own [`gain_bound`](Layer::gain_bound)s: ‖W‖₂ from above, sup |φ′| and so on. A
/// product far below 1 is a proof that the gradient vanishes on its way to the input; a product above 1 proves
/// nothing but that the gradient explodes no further than that. Over time it is the same: the bounds on
/// `‖∂s_t/∂s_{t−k}‖₂` of a [`Horizon`] fall with k where vanishing is certain (Pascanu, Mikolov & Bengio 2013, §2.2:
/// `‖U‖₂ < 1/γ`).
///
/// It holds in exact arithmetic, with weights as they are now, in any mode, from a state of zero, for one sample with
/// all its steps and for a whole batch. What a pass rounds comes on top: some ε for each of its operations.
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
/// println!("{certificate}"); // a bound for each layer, and what follows: "certain to vanish: …"
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
    /// The threshold of vanishing that print uses: a gradient shorter by four decades.
    pub const VANISHED: f64 = 1e-4;

    /// The certificate of `network` with the parameters `w`, for passes over `shape`.
    ///
    /// # Errors
    /// The errors of [`BatchShape::check`]; [`Error::TooLarge`] for more than 2²² steps, of which the bounds over time
    /// are a table; [`Error::Length`] where `w` does not have the network's parameters.
    pub fn new<T: Scalar>(network: &(impl Layer<T> + ?Sized), w: &[T], shape: BatchShape<'_>) -> Result<Self, Error> {
        shape.check()?;
        at_most("the steps of a certificate", shape.steps, MOST_BOUNDED_STEPS)?;
        require_length("parameters", network.dims().parameters, w.len())?;
        let kinds: BTreeMap<_, _> = summary(network).rows.into_iter().map(|row| (row.path, row.kind)).collect();
        let kind = |name: &str| kinds.get(name).cloned().unwrap_or_default();
        let (mut links, mut horizons) = (Vec::new(), Vec::new());
        network.gain_bounds(w, shape, "", &mut |name, bound| {
            links.push(LinkBound { name: name.into(), kind: kind(name), bound });
        });
        network.state_bounds(w, shape, "", &mut |name, bounds| {
            horizons.push(Horizon { name: name.into(), kind: kind(name), bounds: bounds.map(Vec::from) });
        });
        Ok(Certificate { links, horizons })
    }

    /// The bound of each link, from input to output.
    pub fn links(&self) -> &[LinkBound] {
        &self.links
    }

    /// What holds over time, for each recurrent layer.
    pub fn horizons(&self) -> &[Horizon] {
        &self.horizons
    }

    /// The links without a bound: with any of them nothing is certain.
    pub fn missing(&self) -> impl Iterator<Item = &LinkBound> {
        self.links.iter().filter(|link| link.bound.is_none())
    }

    /// The product of all bounds, `‖∂L/∂x‖/‖∂L/∂y‖` at most: infinite or tiny where it lies beyond the range of `f64`.
    /// `None` where a link has none.
    pub fn bound(&self) -> Option<f64> {
        self.product(1.0).map(Product::value)
    }

    /// The same in decades, `log10` of it, which no depth can bring out of range; −∞ where no gradient passes at all.
    pub fn decades(&self) -> Option<f64> {
        self.product(1.0).map(Product::decades)
    }

    /// The most that `‖∂L/∂x‖` can be where `‖∂L/∂y‖` is `output_gradient`; `None` where a link has no bound.
    pub fn gradient_bound(&self, output_gradient: f64) -> Option<f64> {
        self.product(output_gradient).map(Product::value)
    }

    /// Whether the gradient is certain to shrink below `threshold` times itself between output and input; `None`
    /// where a link has no bound. `Some(false)` is no proof of the contrary.
    pub fn vanishes(&self, threshold: f64) -> Option<bool> {
        Some(self.decades()? < libm::log10(threshold).next_down())
    }

    fn product(&self, start: f64) -> Option<Product> {
        let start = Product { mantissa: Upper::ONE, exponent: 0 }.times(Upper::of(start));
        self.links.iter().try_fold(start, |product, link| Some(product.times(Upper::of(link.bound?))))
    }
}

/// A product of upper bounds that no number of factors brings out of range: `mantissa · 2^exponent`.
#[derive(Clone, Copy)]
struct Product {
    mantissa: Upper,
    exponent: i64,
}

impl Product {
    fn times(self, factor: Upper) -> Self {
        // Fractions in [½, 1): their product neither overflows nor underflows.
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
                // Three roundings of numbers no larger than this, and a logarithm good to one unit in the last place.
                let exponent = self.exponent as f64 * core::f64::consts::LOG10_2;
                let decades = libm::log10(mantissa.get()) + exponent;
                decades + 4.0 * f64::EPSILON * (1.0 + Float::abs(exponent))
            }
        }
    }
}

/// Two figures of `10^decades`, of any size, rounded up or down but for 1e-9 of it: 0.25 stays 0.25.
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

/// A row per link, from output to input, with the product so far; then what follows over depth, and over time.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |text: fn(&LinkBound) -> &str| self.links.iter().map(|link| text(link).chars().count()).max();
        let name = widest(|link| &link.name).unwrap_or(0).max("layer".len());
        let kind = widest(|link| &link.kind).unwrap_or(0).max("kind".len());
        writeln!(f, "the most by which each layer can lengthen a gradient, from output to input")?;
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
                write!(f, "vanishing is not certain: at the input the gradient is at most {most} times as long")?;
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

/// One sentence.
impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over time, {}: ", title(&self.name, &self.kind))?;
        let Some(bounds) = &self.bounds else { return write!(f, "no certificate: it states no bound") };
        let steps = bounds.len().saturating_sub(1);
        match (self.vanishes_beyond(Certificate::VANISHED), bounds.last()) {
            (Some(within), _) => write!(f, "certain to vanish over more than {within} of {steps} steps"),
            (None, Some(&last)) if last < f64::INFINITY => {
                let most = figures(libm::log10(last), Float::ceil);
                write!(f, "vanishing is not certain: after {steps} steps the gradient is at most {most} times as long")
            }
            _ => write!(f, "vanishing is not certain: after {steps} steps the gradient has no bound"),
        }
    }
}

/// `layer 3 (Linear)`.
fn title(name: &str, kind: &str) -> String {
    match (name.is_empty(), kind.is_empty()) {
        (true, true) => "the network".into(),
        (true, false) => kind.into(),
        (false, true) => format!("layer {name}"),
        (false, false) => format!("layer {name} ({kind})"),
    }
}
