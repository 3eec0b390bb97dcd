//! Finds the smallest example of a wrong gradient, and its wrong element.

use super::{
    Asked, Given, Suite,
    adjoint::{ADJOINT, Comparison, Direction, Part, at_rest, dot, widened},
    run,
};
use crate::testing::{
    Law,
    law::{listed, number},
};
use alloc::{format, vec::Vec};

impl Suite<'_, '_> {
    /// Simplifies the input of a wrong gradient of `part`, finds its element with the largest error, and notes it as a
    /// violation. `scalar` is 0 for `f64` and 1 for `f32`; `all` is the comparison that failed.
    #[inline]
    pub(super) fn accuse(
        &mut self,
        part: Part,
        given: &Given<f64>,
        asked: &Asked<'_>,
        scalar: usize,
        all: &Comparison,
    ) {
        const LOOKED_AT: usize = 512;
        let mut given = given.clone();
        if given.x.len() <= 64 {
            for i in 0..given.x.len() {
                for simple in [0.0, 1.0, libm::round(given.x[i]), libm::round(given.x[i] * 8.0) / 8.0] {
                    let before = core::mem::replace(&mut given.x[i], (self.admit)(simple));
                    if self.fails(Direction { part, stream: 0 }, &given, asked, scalar) {
                        break;
                    }
                    given.x[i] = before;
                }
            }
        }
        let results = [
            run(self.layers.double, &given, asked).ok(),
            run(self.layers.single, &given.map(|value| value as f32), asked).ok().as_ref().map(widened),
        ];
        let (name, seed) = (ADJOINT[scalar].0, self.seed);
        let mut place = self.at(name, asked.shape);
        let (mut expected, mut found) = (all.expected, all.found);
        if let Some(results) = &results[scalar] {
            let (text, shape, gradient) = self.part(part, results);
            let gradient = gradient.to_vec();
            place = format!("{place}: {text}");
            let truth: Vec<f64> = (0..gradient.len().min(LOOKED_AT))
                .filter_map(|i| {
                    let direction = self.unit(part, i, &given);
                    self.along(&given, &direction, asked).map(|(expected, _)| expected)
                })
                .collect();
            let worst = (0..truth.len()).max_by(|&a, &b| {
                let off = |i: usize| (gradient[i] - truth[i]).abs();
                off(a).total_cmp(&off(b))
            });
            if let Some(worst) = worst {
                let (row, column) = (worst / shape[1].max(1), worst % shape[1].max(1));
                if let Part::Block(i) = part {
                    let block = self.block(i);
                    let rows = (shape[0] / block.gates.len().max(1)).max(1);
                    place.extend(block.gates.get(row / rows).map(|gate| format!(", gate `{gate}`")));
                }
                place = format!("{place}, element [{row}, {column}] of {shape:?}");
                (expected, found) = (truth[worst], gradient[worst]);
                let direction = self.unit(part, worst, &given);
                if expected == 0.0 && self.rises_by(found, &given, &direction, asked) {
                    place.push_str(": the output carries no tangent");
                    let expected = format!("{}, by dual numbers: outputs computed in their own scalar", number(found));
                    let input = format!("x = {}; parameters of seed {seed}", listed(&given.x));
                    return self.trial.breaks(Law::Adjoint, place, expected, "0, as through f64", input);
                }
            }
        }
        let expected = format!("{}, by dual numbers through forward", number(expected));
        let found = format!("{}, by backward{}", number(found), hint(all));
        let input = format!("x = {}; parameters of seed {seed}", listed(&given.x));
        self.trial.breaks(Law::Adjoint, place, expected, found, input);
    }

    /// Whether ⟨c, (y, final state)⟩ rises along `direction` by `slope` times the distance, to within half of that, c
    /// being the gradient of the results in `given`.
    #[inline]
    fn rises_by(&self, slope: f64, given: &Given<f64>, direction: &Given<f64>, asked: &Asked<'_>) -> bool {
        let by = libm::exp2(-20.0);
        let moved = |values: &[f64], v: &[f64], by: f64| values.iter().zip(v).map(|(x, v)| x + by * v).collect();
        let at = |by: f64| {
            let state = given.state.as_ref().zip(direction.state.as_ref());
            let state = state.map(|(state, v)| moved(state, v, by));
            let (w, x) = (moved(&given.w, &direction.w, by), moved(&given.x, &direction.x, by));
            let given = Given { w, x, state, ..given.clone() };
            let results = run(self.layers.double, &given, &Asked { backward: false, ..*asked }).ok()?;
            Some(dot(&given.dy, &results.y) + dot(given.d_state.as_deref().unwrap_or(&[]), &results.state))
        };
        let rise = at(by).zip(at(-by)).map_or(f64::NAN, |(after, before)| after - before);
        slope != 0.0 && (rise - 2.0 * by * slope).abs() <= (by * slope).abs()
    }

    /// Returns the direction in which only element `i` of `part` changes, at rate 1.
    #[inline]
    fn unit(&self, part: Part, i: usize, given: &Given<f64>) -> Given<f64> {
        let mut direction = at_rest(given);
        match part {
            Part::Everything => {}
            Part::Input | Part::Shift => direction.x[i] = 1.0,
            Part::State => direction.state.iter_mut().for_each(|state| state[i] = 1.0),
            Part::Block(block) => {
                direction.w[self.block(block).range.start + i] = 1.0;
            }
        }
        direction
    }
}

/// Returns the likely mistake in words if `found / expected` is −1, 0, 2 or ½, else an empty text.
#[inline]
fn hint(comparison: &Comparison) -> &'static str {
    let ratio = comparison.found / comparison.expected;
    let near = |value: f64| (ratio - value).abs() < 1e-6;
    match () {
        () if near(-1.0) => ": the sign",
        () if near(0.0) => ": it is missing",
        () if near(2.0) => ": counted twice",
        () if near(0.5) => ": half of it",
        () => "",
    }
}
