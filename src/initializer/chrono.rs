//! Chrono initialization: gate biases for memory over a given number of time steps.

use super::{Initializer, InitializerKind, Shape};
use crate::{
    block::Gate,
    error::{Error, require},
    random::uniform,
};
use rand_core::Rng;

/// Chrono initialization: the units of an LSTM or a GRU forget after 2 to `span` time steps, uniformly distributed.
///
/// b_f ~ ln U\[1, span − 1\], b_i = −b_f (Tallec & Ollivier 2018, "Can recurrent neural networks warp time?").
///
/// A unit whose gate has the value σ(b) keeps its state for about 1 + eᵇ time steps. The gates that [carry the
/// state](Gate::carries_state) have the bias b_f. The gate `input` has the bias b_i of the same unit. The biases of
/// the other gates, and blocks without gates, are 0. Within [`ByGate`](super::ByGate), the gates are drawn
/// independently.
///
/// ```
/// use chainrule::{initializer::Chrono, recurrent::{Lstm, Recurrent}};
/// let layer = Recurrent::new(8, 32, Lstm::new()).bias(Chrono::new(200));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Chrono {
    /// The longest dependency of the task, in time steps; at least 2.
    pub span: usize,
}

impl Chrono {
    /// Creates the initializer for dependencies of up to `span` time steps.
    pub const fn new(span: usize) -> Self {
        Chrono { span }
    }
}

/// The effect of a gate on the state: it multiplies the former state (`Keeps`), it is the gate `input` (`Admits`), or
/// neither.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Keeps,
    Admits,
    Other,
}

fn part(gate: Option<Gate>) -> Part {
    match gate {
        Some(Gate { carries_state: true, .. }) => Part::Keeps,
        Some(Gate { name: "input", .. }) => Part::Admits,
        _ => Part::Other,
    }
}

impl Chrono {
    /// Returns span − 1, the upper end of the uniform distribution. [`Error::Parameter`] for a span below 2.
    fn last(&self) -> Result<f64, Error> {
        require(self.span >= 2, "chrono initializer: span", "at least 2", self.span as f64)?;
        Ok(self.span as f64 - 1.0)
    }

    /// Returns E x and E x² of x = ln U\[1, span − 1\]; `None` for a span below 2.
    fn moments(&self) -> Option<[f64; 2]> {
        let m = self.last().ok()?;
        if m == 1.0 {
            return Some([0.0, 0.0]);
        }
        let ln = libm::log(m);
        Some([(m * ln - m + 1.0) / (m - 1.0), (m * ln * ln - 2.0 * m * ln + 2.0 * m - 2.0) / (m - 1.0)])
    }
}

impl Initializer for Chrono {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let last = self.last()?;
        shape.holds(values)?;
        let mut keep = || libm::log((1.0 + (last - 1.0) * uniform(rng)).min(last));
        match part(shape.gate) {
            Part::Keeps => values.fill_with(keep),
            Part::Admits => values.fill_with(|| -keep()),
            Part::Other => values.fill(0.0),
        }
        Ok(())
    }

    /// Fills each gate by [`fill`](Self::fill), except for the gate `input` of a cell with a gate that carries the
    /// state: its biases are those of the carrying gate, negated.
    fn fill_gates(&self, shape: Shape, gates: &[Gate], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        Shape { rows: shape.rows.saturating_mul(gates.len()), ..shape }.holds(values)?;
        let size = shape.rows.saturating_mul(shape.columns);
        let does = |wanted: Part| move |gate: &Gate| part(Some(*gate)) == wanted;
        let kept = gates.iter().position(does(Part::Keeps));
        for (i, &gate) in gates.iter().enumerate() {
            match kept {
                Some(_) if does(Part::Admits)(&gate) => {}
                _ => self.fill(shape.gate(gate), rng, &mut values[i * size..][..size])?,
            }
        }
        if let Some((kept, i)) = kept.zip(gates.iter().position(does(Part::Admits))) {
            for unit in 0..size {
                values[i * size + unit] = -values[kept * size + unit];
            }
        }
        Ok(())
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        let [mean, square] = self.moments()?;
        Some(if part(shape.gate) == Part::Other { 0.0 } else { square - mean * mean })
    }

    fn mean(&self, shape: Shape) -> Option<f64> {
        let [mean, _] = self.moments()?;
        Some(match part(shape.gate) {
            Part::Keeps => mean,
            Part::Admits => -mean,
            Part::Other => 0.0,
        })
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        let most = libm::log(self.last().ok()?);
        Some(match part(shape.gate) {
            Part::Keeps => [0.0, most],
            Part::Admits => [-most, 0.0],
            Part::Other => [0.0, 0.0],
        })
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Chrono(self)
    }
}
