//! Compares the kernels of `f32` and `f64` with the generic loops that dual numbers run, and `f32` with `f64`.

use super::{
    Asked, EXTENTS, Given, Results, Suite,
    adjoint::{Part, widened},
    run,
};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::Mode,
    testing::{Dual, Law, law::beyond},
};
use alloc::{format, string::String, vec::Vec};
use num_traits::Float;

/// The names of the scalars, each with the allowed relative error of the output of its kernels, compared with the
/// output of the generic loops that dual numbers run.
const GENERIC: [(&str, f64); 2] = [("f64", 1e-11), ("f32", 1e-3)];

/// Batch sizes at and around the widths of registers and tiles, for kernels with separate code for remainders.
const REMAINDERS: [usize; 18] = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 31, 32, 33, 64, 1025];

/// The largest batch size at which the laws of memory are not tested here: up to it, the tests at the batch shapes of
/// `EXTENTS` are enough.
const FEW: usize = 11;

/// Batch shapes of many rows. Their halves end within tiles of 4, 8 and 16 rows.
const MANY: [BatchShape<'static>; 3] = [BatchShape::batch(19), BatchShape::batch(35), BatchShape::sequences(5, 7)];

/// The number of parameters times rows beyond which a batch size of [`REMAINDERS`] is left out. The kernels are the
/// same at every size.
const LARGE: usize = 200_000;

/// The fraction of a usual gradient in `f32` below which a gradient consists of rounding errors.
const SMALL: f64 = 1e-5;

impl Suite<'_, '_> {
    /// Tests the outputs of the `f32` and `f64` kernels against generic loops, and their gradients against dual
    /// numbers, at batch sizes that leave every remainder of the kernels' tiles. With many rows, tests the laws of
    /// memory and those that compare passes in one scalar, too.
    #[inline]
    pub(super) fn remainders(&mut self) {
        let parameters = self.layers.double.dims().parameters;
        for batch in REMAINDERS {
            let shape = BatchShape::batch(batch);
            if parameters * batch > LARGE || self.trial.broken(Law::GenericBody) {
                continue;
            }
            if batch > FEW {
                self.many_rows(self.layers.single, "f32", shape);
                self.many_rows(self.layers.double, "f64", shape);
                if self.stopped() {
                    return;
                }
            }
            let Some((given, results)) = self.generic(Asked::new(shape), 3) else { return };
            self.single_rows(shape, &results);
            self.adjoint_of(Part::Everything, &given, &Asked::new(shape), &results);
        }
        for shape in MANY.into_iter().filter(|shape| parameters * shape.rows() <= LARGE) {
            self.one_scalar(self.layers.single, "f32", shape);
            self.one_scalar(self.layers.double, "f64", shape);
            if self.stopped() {
                return;
            }
        }
    }

    /// Tests outputs and final states of the kernels against generic loops over several time steps, in training and
    /// evaluation.
    #[inline]
    pub(super) fn generic_bodies(&mut self) {
        for mode in [Mode::Train, Mode::Evaluate] {
            for shape in EXTENTS {
                if self.trial.broken(Law::GenericBody) || self.generic(Asked { mode, ..Asked::new(shape) }, 3).is_none()
                {
                    return;
                }
            }
        }
    }

    /// Compares outputs and final states of a pass in `f64` and `f32` with those of the generic loops that dual
    /// numbers run. Returns the values given to the pass, and its results in `f64` (first) and `f32` (second). `None`
    /// if a pass fails.
    #[inline]
    fn generic(&mut self, asked: Asked<'_>, stream: u64) -> Option<(Given<f64>, [Results<f64>; 2])> {
        let given = self.draw(asked.shape, stream)?;
        let double = self.pass(self.layers.double, "f64", &given, &asked)?;
        let single = self.pass(self.layers.single, "f32", &given, &asked)?;
        let lifted = given.map(Dual::constant);
        let generic = run(self.layers.dual, &lifted, &Asked { backward: false, ..asked }).ok()?;
        let values = |dual: &[Dual<f64>]| dual.iter().map(|dual| dual.value).collect::<Vec<f64>>();
        let (y, state) = (values(&generic.y), values(&generic.state));
        let results = [double, widened(&single)];
        for (&(name, allowed), results) in GENERIC.iter().zip(&results) {
            for (what, found, generic) in [("y", &results.y, &y), ("final_state", &results.state, &state)] {
                let difference: Vec<f64> = found.iter().zip(generic).map(|(found, generic)| found - generic).collect();
                let error = norm(&difference) / (norm(generic) + f64::MIN_POSITIVE);
                if !self.trial.measures(Law::GenericBody, name, error, allowed) {
                    let off = |i: &usize, j: &usize| difference[*i].abs().total_cmp(&difference[*j].abs());
                    let i = (0..difference.len()).max_by(off).unwrap_or(0);
                    let place = format!("{} ({:?}): {what}[{i}]", self.at(name, asked.shape), asked.mode);
                    let (expected, found) = (format!("{:e}", generic[i]), format!("{:e}", found[i]));
                    self.trial.breaks(Law::GenericBody, place, expected, found, "");
                }
            }
        }
        Some((given, results))
    }

    /// Tests dw and each row of dx in `f32` against `f64`, in the `results` of a pass of `shape` in `f64` and `f32`.
    /// Rows are compared one by one, since the sum over all of them would hide an error in one. A difference counts if
    /// it also appears in two other draws: in a single draw it may be a kink.
    #[inline]
    fn single_rows(&mut self, shape: BatchShape<'_>, results: &[Results<f64>; 2]) {
        let (width, outputs) = (self.layers.double.dims().input.max(1), self.layers.double.dims().output.max(1));
        // Gradients of outputs are normal numbers, so a smaller gradient of an input row may be made of rounding
        // errors.
        let floor = SMALL * self.gain * Float::sqrt(outputs as f64);
        let Some((what, row)) = single_off(results, width, floor, |_| true) else { return };
        for stream in [11, 12] {
            let Some((_, again)) = self.generic(Asked::new(shape), stream) else { return };
            if single_off(&again, width, floor, |other| other == (what, row)).is_none() {
                return;
            }
        }
        let of = |results: &Results<f64>| {
            if what == "dw" { norm(&results.dw) } else { norm(&results.dx[row * width..][..width]) }
        };
        let place = format!(
            "{}: {what}{}",
            self.at("f32", shape),
            if what == "dx" { format!(" of row {row}") } else { String::new() }
        );
        let [expected, found] = [of(&results[0]), of(&results[1])].map(|norm| format!("a norm of {norm:e}"));
        self.trial.breaks(Law::Adjoint, place, format!("{expected}, as in f64"), found, "");
    }
}

/// Returns the first gradient, dw or a row of dx, whose values in `f64` and `f32` differ by more than a hundredth of
/// its norm plus `floor` for each row. The result is its name and the index of the row, 0 for dw. Rows of dx have
/// `width` values. Only gradients that `counts` accepts are compared.
#[inline]
fn single_off(
    [double, single]: &[Results<f64>; 2],
    width: usize,
    floor: f64,
    counts: impl Fn((&'static str, usize)) -> bool,
) -> Option<(&'static str, usize)> {
    const ALLOWED: f64 = 1e-2;
    let off = |a: &[f64], b: &[f64], floor: f64| {
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        beyond(norm(&difference), ALLOWED * norm(a) + floor + 1e-35)
    };
    let count = double.dx.len() / width;
    if counts(("dw", 0)) && off(&double.dw, &single.dw, floor * count as f64) {
        return Some(("dw", 0));
    }
    // Gradients that are much smaller than those of other rows consist of rounding errors.
    let least = floor + 1e-4 * norm(&double.dx) / Float::sqrt(count.max(1) as f64);
    let mut rows = double.dx.chunks(width).zip(single.dx.chunks(width)).enumerate();
    rows.find(|(row, (a, b))| counts(("dx", *row)) && off(a, b, least)).map(|(row, _)| ("dx", row))
}
