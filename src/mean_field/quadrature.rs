//! Expectations over normal variables: adaptive Gauss–Kronrod quadrature on panels split at the kinks of an
//! activation.

use alloc::{vec, vec::Vec};
use core::cell::Cell;

/// Non-negative nodes of the 21-point Kronrod rule on \[−1, 1\], in decreasing order. `NODES[1]`, `[3]`, … are the
/// positive nodes of the 10-point Gauss–Legendre rule (QUADPACK, routine qk21; Piessens et al. 1983).
const NODES: [f64; 11] = [
    0.995_657_163_025_808_1,
    0.973_906_528_517_171_7,
    0.930_157_491_355_708_2,
    0.865_063_366_688_984_5,
    0.780_817_726_586_416_9,
    0.679_409_568_299_024_4,
    0.562_757_134_668_604_7,
    0.433_395_394_129_247_2,
    0.294_392_862_701_460_2,
    0.148_874_338_981_631_2,
    0.0,
];
/// Weights of the Kronrod rule at [`NODES`]. The weight of node 0 is halved, because it is evaluated as both +0 and
/// −0.
const KRONROD: [f64; 11] = [
    0.011_694_638_867_371_874,
    0.032_558_162_307_964_725,
    0.054_755_896_574_351_995,
    0.075_039_674_810_919_96,
    0.093_125_454_583_697_6,
    0.109_387_158_802_297_64,
    0.123_491_976_262_065_84,
    0.134_709_217_311_473_34,
    0.142_775_938_577_060_09,
    0.147_739_104_901_338_49,
    0.5 * 0.149_445_554_002_916_9,
];
/// Weights of the Gauss rule at `NODES[1]`, `[3]`, ….
const GAUSS: [f64; 5] = [
    0.066_671_344_308_688_14,
    0.149_451_349_150_580_6,
    0.219_086_362_515_982_04,
    0.269_266_719_309_996_35,
    0.295_524_224_714_752_87,
];

/// Integrals over a standard normal variable z run from minus this number to this number. Beyond it, `e^(−z²/2)` is
/// below the smallest normal `f64`.
const REACH: f64 = 38.0;
/// Panel edges that resolve the normal density, in standard deviations from its mean; each is used with both signs.
const DENSITY: [f64; 5] = [3.0, 6.0, 10.0, 18.0, REACH];
/// A panel is bisected while its error estimate exceeds this fraction of the integral of |f| over all panels, with f
/// the integrand.
const TOLERANCE: f64 = 1e-13;
/// Maximum number of bisections of a panel, after which its value is taken as it is. This number of bisections
/// resolves a jump of φ′ that the activation does not declare as a kink.
const HALVINGS: u32 = 40;
/// Maximum number of panels of one integral; once it is reached, no panel is bisected. The limit bounds the time to a
/// millisecond for a function that oscillates without end.
const PANELS: usize = 4096;
/// Maximum number of panels of the outer and of each inner integral of a double integral. Once an inner integral has
/// not converged with this number of panels, each later inner integral gets at most an eighth of it.
const PANELS_OF_PAIR: usize = 512;
/// Ratio of the distances of consecutive panel edges from a kink.
const GRADING: f64 = 8.0;
/// Distance of the first panel edge from a kink, in pre-activation units. Activations bend on a scale of 1 or somewhat
/// less.
const FINEST: f64 = 1.0 / 64.0;

/// Returns `E f₀ f₁` for factors `f(u, z) = [f₀, f₁]`, u = √q z, z standard normal. `kinks` are values of u
/// at which the integral is split.
///
/// Each factor is multiplied by `e^(−z²/4)` before the two are multiplied, to avoid overflow of their product.
pub(super) fn expectation(q: f64, kinks: &[f64], f: impl Fn(f64, f64) -> [f64; 2]) -> f64 {
    let root = libm::sqrt(q);
    let mut panels = Panels::new();
    panels.around(0.0, FINEST / root);
    for kink in kinks {
        panels.around(kink / root, FINEST / root);
    }
    panels.integrate(PANELS, |z| f(root * z, z)).0
}

/// Returns `E f(u₁) f(u₂)` for u₁ and u₂ normal with mean 0, variance q and correlation c: u₁ = √q z₁,
/// u₂ = √q (c z₁ + √(1 − c²) z₂), z₁ and z₂ standard normal. The integrals are split at `kinks`, where
/// f has a kink or a jump.
pub(super) fn expectation_of_pair(q: f64, c: f64, kinks: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let (root, s) = (libm::sqrt(q), libm::sqrt((1.0 - c) * (1.0 + c)));
    if s == 0.0 {
        let mirrored: Vec<f64> = kinks.iter().flat_map(|kink| [*kink, c * kink]).collect();
        return expectation(q, &mirrored, |u, _| [f(u), f(c * u)]);
    }
    // If one inner integral does not converge, the others get fewer panels: with all panels they would take minutes.
    let converges = Cell::new(true);
    let inner = |z1: f64| {
        let mut panels = Panels::new();
        for kink in kinks.iter().chain(&[0.0]) {
            panels.around((kink / root - c * z1) / s, FINEST / (root * s));
        }
        let most = if converges.get() { PANELS_OF_PAIR } else { PANELS_OF_PAIR / 8 };
        let (value, converged) = panels.integrate(most, |z2| [f(root * (c * z1 + s * z2)), 1.0]);
        converges.set(converges.get() && converged);
        value
    };
    let mut panels = Panels::new();
    for kink in kinks.iter().chain(&[0.0]) {
        panels.around(kink / root, FINEST / root);
        // The inner integral is a function of z₁ with the same kinks, smoothed over a width s/c.
        panels.around(kink / (c * root), 0.25 * s / c.abs());
    }
    panels.integrate(PANELS_OF_PAIR, |z1| [f(root * z1), inner(z1)]).0
}

/// The edges of the panels into which an integral over z is split.
struct Panels {
    edges: Vec<f64>,
}

impl Panels {
    fn new() -> Self {
        Panels { edges: DENSITY.iter().flat_map(|&edge| [-edge, edge]).collect() }
    }

    /// Adds edges at `centre` and on both sides of it, at the distances `scale`, 8 `scale`, 64 `scale`, … that are
    /// below 3, the first of [`DENSITY`].
    fn around(&mut self, centre: f64, scale: f64) {
        self.edges.push(centre);
        let mut distance = scale;
        while distance > 0.0 && distance < DENSITY[0] {
            self.edges.extend([centre - distance, centre + distance]);
            distance *= GRADING;
        }
    }

    /// Returns the edges in \[−`REACH`, `REACH`\], in increasing order, without duplicates.
    fn sorted(mut self) -> Vec<f64> {
        self.edges.retain(|edge| edge.abs() <= REACH);
        self.edges.sort_unstable_by(f64::total_cmp);
        self.edges.dedup();
        self.edges
    }

    /// Returns `∫ f₀(z) f₁(z) e^(−z²/2)/√(2π) dz` over the edges, by bisection of each panel. Bisection ends if the
    /// error of the panel is within the tolerance, after [`HALVINGS`] bisections, or at `most` panels in all. Also
    /// returns whether `most` panels were enough.
    fn integrate(self, most: usize, f: impl Fn(f64) -> [f64; 2]) -> (f64, bool) {
        let weighted = |z: f64| {
            let half_density = libm::exp(-0.25 * z * z);
            let [a, b] = f(z);
            (a * half_density) * (b * half_density)
        };
        let first: Vec<Panel> =
            self.sorted().windows(2).map(|pair| Panel::new(pair[0], pair[1], 0, &weighted)).collect();
        let tolerance = TOLERANCE * first.iter().map(|panel| panel.magnitude).sum::<f64>();
        let (mut sum, mut made, mut enough) = (0.0, first.len(), true);
        let mut open = vec![];
        for panel in first {
            open.push(panel);
            while let Some(panel) = open.pop() {
                let middle = 0.5 * (panel.from + panel.to);
                // Bisection does not help an integral that is NaN or infinite.
                let coarse = panel.error > tolerance && panel.error.is_finite();
                if !coarse || panel.halvings == HALVINGS || made >= most {
                    enough &= !coarse || panel.halvings == HALVINGS;
                    sum += panel.value;
                    continue;
                }
                made += 2;
                for (from, to) in [(panel.from, middle), (middle, panel.to)] {
                    open.push(Panel::new(from, to, panel.halvings + 1, &weighted));
                }
            }
        }
        (sum * crate::math::FRAC_1_SQRT_2PI, enough)
    }
}

/// One panel of an integral: the integral of f over `from..to` (`value`), that of |f| (`magnitude`) and an error
/// estimate.
struct Panel {
    from: f64,
    to: f64,
    halvings: u32,
    value: f64,
    magnitude: f64,
    error: f64,
}

impl Panel {
    /// Applies the Kronrod rule to `f` on `from..to`, a panel that `halvings` bisections have made. The error is `r
    /// min(1, (200 |K − G|/r)^1.5)` (QUADPACK). K and G are the results of the Kronrod and the Gauss rule, and r is
    /// the integral of |f − mean of f|.
    fn new(from: f64, to: f64, halvings: u32, f: &impl Fn(f64) -> f64) -> Self {
        let (centre, half) = (0.5 * (from + to), 0.5 * (to - from));
        let pairs: [[f64; 2]; 11] = NODES.map(|node| [f(centre - half * node), f(centre + half * node)]);
        let rule = |value: &dyn Fn(f64) -> f64| {
            pairs.iter().zip(KRONROD).map(|([a, b], weight)| weight * (value(*a) + value(*b))).sum::<f64>()
        };
        let kronrod = rule(&|f| f);
        let gauss: f64 = pairs.iter().skip(1).step_by(2).zip(GAUSS).map(|([a, b], weight)| weight * (a + b)).sum();
        let variation = rule(&|f| (f - 0.5 * kronrod).abs());
        let difference = (kronrod - gauss).abs();
        let error = if variation == 0.0 || difference == 0.0 {
            difference
        } else {
            variation * libm::pow(200.0 * difference / variation, 1.5).min(1.0)
        };
        let magnitude = half * rule(&f64::abs);
        Panel { from, to, halvings, value: half * kronrod, magnitude, error: half * error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error estimate is 0 up to degree 19, where both rules are exact. A wrong digit in any constant fails the
    /// test.
    #[test]
    fn kronrod_rule_up_to_degree_31_is_exact() {
        for degree in 0..=31 {
            let panel = Panel::new(-1.0, 1.0, 0, &|x: f64| x.powi(degree));
            let expected = if degree % 2 == 0 { 2.0 / f64::from(degree + 1) } else { 0.0 };
            assert!((panel.value - expected).abs() < 4e-16, "degree {degree}: {}", panel.value);
            assert!(degree > 19 || panel.error < 1e-18, "degree {degree}: error {:e}", panel.error);
        }
    }
}
