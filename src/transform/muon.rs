//! Muon.

use super::{
    AdamW, GradientTransform, Outcome, TransformSpec, Update, check_amount, check_decay, check_own_rate,
    each_parameter::update_each,
    own_applied, own_rate,
    wide::{range_of, state_of_parameters},
};
use crate::{
    block::{Block, Blocks, Role},
    error::{Error, require},
    kernel::{
        gemm::{Epilogue, Matrix, gemm_nn, gemm_nt, packed_b_len},
        reduce::norm,
    },
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
    size::{filled, saturating_product, saturating_sum},
};
use alloc::{vec, vec::Vec};
use core::{fmt, ops::Range};

/// The coefficients a, b, c of the Newton–Schulz iteration `X ← a X + (b A + c A²) X`, `A = X Xᵀ`.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// The number of Newton–Schulz iterations.
const STEPS: usize = 5;
/// The lower limit of the Frobenius norm by which a matrix is divided before the Newton–Schulz iterations.
const LEAST_NORM: f64 = 1e-7;

/// Muon: momentum with all singular values brought close to 1 for matrices; [`AdamW`] for all other blocks.
///
/// With learning rate η, momentum μ and decay λ: `m ← μ m + (1 − μ) g`, `u = μ m + (1 − μ) g` (Nesterov),
/// `w ← w − η √max(1, rows/columns) O(u) − η λ w`. `O(u)` comes from `X = u/‖u‖_F` by five Newton–Schulz iterations:
/// `X ← a X + (b A + c A²) X` with `A = X Xᵀ` and a, b, c = 3.4445, −4.7750, 2.0315. They map singular values of at
/// least 0.05 to values of about 0.7 to 1.2.
///
/// Matrices are the blocks of role [`Role::Weight`] and [`Role::Recurrent`]; each gate of a cell is a separate
/// matrix. Tables of embeddings ([`Block::table`]) do not count as matrices: AdamW updates them. The products are
/// computed in `f64`. Source: Jordan et al. 2024; rate adjustment and defaults as in PyTorch.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{AdamW, Muon, Optimizer}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(Muon::new(0.1, AdamW::new(0.1, 0.0)).decay(0.0), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [3.0], &mut ())?; // a gradient of 3
/// let x = |x: f64| 3.4445 * x - 4.775 * x.powi(3) + 2.0315 * x.powi(5); // a matrix of one value
/// assert!((w[0] - (1.0 - 0.1 * x(x(x(x(x(1.0))))))).abs() < 1e-9);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Muon {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rate: f64,
    /// The learning rate given to `new`. AdamW updates the other blocks at `rate/made` times its own rate; if `made`
    /// is 0, at its own rate.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    made: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    momentum: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
    nesterov: bool,
    others: AdamW,
    #[cfg_attr(feature = "serde", serde(skip))]
    scratch: Scratch,
}

/// Scratch memory for the matrix products of the Newton–Schulz iterations, and the blocks for which it was allocated.
/// It is not a setting, so any two instances compare as equal.
#[derive(Clone, Default)]
struct Scratch {
    values: Vec<f64>,
    blocks: Blocks,
}

/// Writes the number of values of the scratch memory, not the values.
impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.values.len())
    }
}

impl PartialEq for Scratch {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Muon {
    /// Creates Muon with the learning rate η, momentum 0.95 and decay 0.1 for matrices, and `others` for other blocks.
    pub fn new(rate: f64, others: AdamW) -> Self {
        Muon { rate, made: rate, momentum: 0.95, decay: 0.1, nesterov: true, others, scratch: Scratch::default() }
    }

    /// Sets the momentum μ, at least 0 and below 1. The default is 0.95.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Muon { momentum, ..self }
    }

    /// Sets the weight decay λ of the matrices: an update also subtracts `rate · λ · w`. It must not be negative; the
    /// default is 0.1.
    #[must_use]
    pub fn decay(self, decay: f64) -> Self {
        Muon { decay, ..self }
    }

    /// Orthogonalizes the momentum m itself, instead of Nesterov's `μ m + (1 − μ) g`.
    #[must_use]
    pub fn without_nesterov(self) -> Self {
        Muon { nesterov: false, ..self }
    }
}

fn is_matrix(block: &Block<'_>) -> bool {
    matches!(block.role, Role::Weight | Role::Recurrent) && !block.table
}

/// Returns the matrices of a block, one for each gate, as ranges among all parameters, and the numbers of rows and of
/// columns, which are the same for all of them.
fn matrices_of(block: &Block<'_>) -> (impl Iterator<Item = Range<usize>> + use<>, [usize; 2]) {
    let (gates, start) = (block.gates.len().max(1), block.range.start);
    let shape = [block.shape[0] / gates, block.shape[1]];
    let size = shape[0] * shape[1];
    ((0..gates).map(move |gate| start + gate * size..start + (gate + 1) * size), shape)
}

/// Returns three lengths for [`orthogonalize`] of a matrix X with `rows ≤ columns`: the number of values of X, of
/// `A = X Xᵀ`, and of a factor that is packed for a matrix product.
fn scratch_len([rows, columns]: [usize; 2]) -> [usize; 3] {
    let packed = [[rows, columns], [rows, rows], [columns, rows]].map(|[n, k]| packed_b_len::<f64>(n, k));
    let [matrix, square] = [[rows, columns], [rows, rows]].map(|size| saturating_product(&size));
    [matrix, square, packed.into_iter().max().unwrap_or(0)]
}

/// Replaces `x`, a row-major matrix, by the result of five Newton–Schulz iterations from `x/‖x‖_F`. `rows` must not
/// exceed `columns`. `scratch` has room for a matrix of this size, two of size `rows` × `rows`, and a packed factor:
/// see [`scratch_len`].
fn orthogonalize(x: &mut [f64], [rows, columns]: [usize; 2], scratch: &mut [f64]) {
    let [matrix, square, _] = scratch_len([rows, columns]);
    let (next, rest) = scratch.split_at_mut(matrix);
    let (gram, rest) = rest.split_at_mut(square);
    let (polynomial, packed) = rest.split_at_mut(square);
    let length = norm(x).max(LEAST_NORM);
    x.iter_mut().for_each(|x| *x /= length);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..STEPS {
        // A = X Xᵀ, then b A + c A², then X ← a X + (b A + c A²) X.
        gemm_nt(Matrix::new(x, columns), x, [rows, rows, columns], gram, Epilogue::Overwrite, packed);
        gemm_nn(Matrix::new(gram, rows), gram, [rows, rows, rows], polynomial, packed);
        polynomial.iter_mut().zip(&*gram).for_each(|(p, &gram)| *p = b * gram + c * *p);
        gemm_nn(Matrix::new(polynomial, rows), x, [rows, rows, columns], next, packed);
        x.iter_mut().zip(&*next).for_each(|(x, &next)| *x = a * *x + next);
    }
}

impl Muon {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        update.blocks.check_layout("an update of blocks other than those of `Muon`", &self.scratch.blocks)?;
        let trained = update.trained();
        let Update { blocks, w, gradient, state, step, start, recorded, clip } = update;
        let n = gradient.len();
        let mut momentum = Wide::new(&mut state[..slots::<T>() * n], n);
        let (mu, fresh) = (self.momentum, 1.0 - self.momentum);
        for (block, _) in trained.filter(|(block, _)| is_matrix(block)) {
            let (matrices, [rows, columns]) = matrices_of(block);
            let (low, high) = (rows.min(columns), rows.max(columns));
            let (x, scratch) = self.scratch.values.split_at_mut(rows * columns);
            // If it has more rows than columns, the matrix is transposed for `orthogonalize`.
            let place = |i: usize| if rows > columns { i % columns * rows + i / columns } else { i };
            let rate = -self.rate * libm::sqrt((rows as f64 / columns.max(1) as f64).max(1.0));
            for range in matrices {
                for (i, at) in range.clone().enumerate() {
                    let g = to_f64(gradient[at]);
                    let m = mu * momentum.get(at) + fresh * g;
                    momentum.set(at, m);
                    x[place(i)] = if self.nesterov { mu * m + fresh * g } else { m };
                }
                orthogonalize(x, [low, high], scratch);
                for (i, at) in range.enumerate() {
                    let decayed = if self.decay == 0.0 { 0.0 } else { self.rate * self.decay * to_f64(w[at]) };
                    gradient[at] = scalar(rate * x[place(i)] - decayed);
                }
            }
        }
        let factor = if self.rate == self.made { 1.0 } else { self.rate / self.made };
        let factor = if factor.is_finite() { factor } else { 1.0 };
        let (wide, rule) = (self.others.whole_rule::<f64>(factor, step), self.others.whole_rule::<T>(factor, step));
        let others = |block: &Block| if is_matrix(block) { None } else { Some(self.others.decays(block)) };
        let update = Update { blocks, w, gradient, state, step, start, recorded, clip };
        update_each(update, [false, true], others, wide, rule);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Muon {
    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_decay("the momentum of Muon", self.momentum)?;
        check_amount::<T>("the weight decay of Muon", self.decay)?;
        GradientTransform::<T>::validate(&mut self.others, blocks)?;
        require(!self.others.is_amsgrad(), "AMSGrad of the other blocks of Muon", "off", 1.0)?;
        let needs = blocks.iter().filter(|block| is_matrix(block)).map(|block| {
            let [rows, columns] = matrices_of(block).1;
            let [matrix, square, packed] = scratch_len([rows.min(columns), rows.max(columns)]);
            saturating_sum([matrix, matrix, square, square, packed])
        });
        let values = filled("the scratch of Muon", needs.max().unwrap_or(0), 0.0)?;
        self.scratch = Scratch { values, blocks: blocks.clone() };
        Ok(())
    }

    own_applied!(Optimizer);

    /// The length of the state, two values for each parameter: all m, the averages of gradients, then all v, AdamW's
    /// averages of squared gradients. For a matrix m is the momentum, and v is not used. In `f16` and `bf16` the
    /// state holds m and √v, each as three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(2, blocks)
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::Muon(self, update)
    }

    own_rate!(self => self.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Muon", GradientTransform::<T>::state_len(self, blocks)).layout("m, v");
        let spec = spec.non_negative(range_of::<T>(1, blocks));
        let spec = spec.setting("rate", self.rate).setting("momentum", self.momentum).setting("decay", self.decay);
        vec![spec.setting("nesterov", self.nesterov).setting("others", &self.others)]
    }
}
