//! Layers and cells of a user's own that lie about themselves.

use crate::case::Case;
use chainrule::{
    BatchShape, Block, Error, Gate, Role, Scalar,
    layer::{Backward, Dims, Forward, Hints, Layer, MemorySizes, Mode, Samples, Structure},
    rand_core::Rng,
    recurrent::{Cell, CellBackward, CellForward, CellSizes, Operand, Product},
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a layer lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    None,
    BlocksOverlap,
    BlocksLeaveGaps,
    BlockBackwards,
    BlockTwice,
    BlockBeyond,
    NoBlocks,
    HugeBlock,
    DimsChange,
    NeedsChange,
    ShapeChanges,
    ShapeHuge,
    ShapeUnsorted,
    ShapeEmpty,
    ShapeHalved,
    ShapeCut,
    HugeNeeds,
    MemoryShrinks,
    NoPlaces,
    ManyPlaces,
    PlacesChange,
    IgnoresRows,
    SavesByRow,
    ZeroRows,
    SkipsZeroRows,
    Overwrites,
    StepsChange,
    PanicsForward,
    PanicsBackward,
    PanicsBadly,
    InitializeFails,
    WritesNaN,
    GainBound,
    StateBounds,
}

use Lie::*;

pub const LIES: &[Lie] = &[
    None,
    BlocksOverlap,
    BlocksLeaveGaps,
    BlockBackwards,
    BlockTwice,
    BlockBeyond,
    NoBlocks,
    HugeBlock,
    DimsChange,
    NeedsChange,
    ShapeChanges,
    ShapeHuge,
    ShapeUnsorted,
    ShapeEmpty,
    ShapeHalved,
    ShapeCut,
    HugeNeeds,
    MemoryShrinks,
    NoPlaces,
    ManyPlaces,
    PlacesChange,
    IgnoresRows,
    SavesByRow,
    ZeroRows,
    SkipsZeroRows,
    Overwrites,
    StepsChange,
    PanicsForward,
    PanicsBackward,
    PanicsBadly,
    InitializeFails,
    WritesNaN,
    GainBound,
    StateBounds,
];

impl Lie {
    /// Whether a pass may end in the layer's own panic.
    pub fn panics(self) -> bool {
        matches!(self, PanicsForward | PanicsBackward | PanicsBadly)
    }
}

/// y = x ⊙ w, with some lie.
#[derive(Debug)]
pub struct Liar {
    width: usize,
    lie: Lie,
    asked: AtomicUsize,
    size: usize,
}

impl Liar {
    pub fn new(width: usize, lie: Lie, c: &mut Case) -> Self {
        Liar { width, lie, asked: AtomicUsize::new(c.few()), size: c.size() }
    }

    fn turn(&self) -> usize {
        self.asked.fetch_add(1, SeqCst)
    }
}

/// A payload whose drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the liar's payload panics when dropped");
        }
    }
}

const UNSORTED: &[usize] = &[1, 3, 2];

impl<T: Scalar> Layer<T> for Liar {
    fn dims(&self) -> Dims {
        let width = self.width;
        if self.lie == DimsChange && self.turn() % 3 == 2 {
            return Dims::new(width + 1, self.size, self.size);
        }
        Dims::new(width, width, width)
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        match self.lie {
            ShapeChanges if self.turn() % 2 == 1 => shape.collapsed(),
            ShapeHuge => BatchShape::sequences(shape.batch, self.size),
            ShapeUnsorted => BatchShape::ragged(UNSORTED),
            ShapeEmpty => BatchShape::batch(0),
            ShapeHalved => BatchShape::sequences(shape.batch, shape.steps.div_ceil(2)),
            ShapeCut => BatchShape::sequences(shape.batch, shape.steps.min(2)),
            _ => shape,
        }
    }

    fn memory(&self, shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        match self.lie {
            NeedsChange => MemorySizes::new(self.turn() * 7, self.turn() * 11, 0).buffers(self.turn() * 5),
            HugeNeeds => MemorySizes::new(self.size, self.size, self.size).buffers(self.size),
            MemoryShrinks => MemorySizes::new(64 / shape.batch.max(1), 64 / shape.batch.max(1), 0),
            SavesByRow => MemorySizes::new(3, 0, 0),
            StateBounds => MemorySizes::new(0, 0, 2),
            _ => MemorySizes::default().buffers(self.size % 2),
        }
    }

    fn initialize_buffers(&self, buffers: &mut [T]) {
        buffers.fill(T::nan());
    }

    fn initialize(&self, w: &mut [T], _: &mut dyn Rng) -> Result<(), Error> {
        if self.lie == InitializeFails {
            return Err(Error::EmptyBatch);
        }
        w.fill(T::one());
        Ok(())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        let width = self.width;
        let mut block = Block::new("w", 0, [width, 1], Role::Gain);
        match self.lie {
            BlocksOverlap => {
                visit(block.clone());
                visit(Block::new("v", 0, [width, 1], Role::Weight));
            }
            BlocksLeaveGaps => visit(Block::new("w", 1, [width.saturating_sub(1), 1], Role::Gain)),
            BlockBackwards => {
                #[allow(clippy::reversed_empty_ranges)]
                let backwards = 2..1;
                block.range = backwards;
                visit(block);
            }
            BlockTwice => {
                visit(Block::new("w", 0, [1, 1], Role::Gain));
                visit(Block::new("w", 1, [width.saturating_sub(1), 1], Role::Gain));
            }
            BlockBeyond => {
                block.range = 0..width + 9;
                visit(block);
            }
            HugeBlock => {
                block.range = 0..self.size;
                block.shape = [self.size, self.size];
                visit(block);
            }
            NoBlocks => {}
            _ => visit(block),
        }
    }

    fn structure(&self) -> Structure<'_, T> {
        const MANY: [&str; 9] = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
        Structure::LEAF.links(match self.lie {
            NoPlaces => &[],
            ManyPlaces => &MANY,
            PlacesChange => &MANY[..self.turn() % 4],
            _ => &[""],
        })
    }

    fn hints(&self) -> Hints {
        let none = Hints::NONE;
        match self.lie {
            IgnoresRows => none.ignores_x().ignores_y(),
            SavesByRow | NeedsChange => none.saved_per_row(),
            ZeroRows => none.dx_zero_before_last_step(),
            SkipsZeroRows => none.accepts_short_dy(),
            Overwrites => none.overwrites_dw(),
            _ => none,
        }
    }

    fn reads_later_steps(&self) -> bool {
        self.lie == StepsChange && self.turn() % 2 == 1
    }

    fn samples(&self) -> Samples {
        Samples::Independent
    }

    fn gain_bound(&self, _: &[T], _: BatchShape<'_>) -> Option<f64> {
        (self.lie == GainBound).then_some([f64::NAN, -1.0, f64::INFINITY, 0.0][self.turn() % 4])
    }

    fn state_gain_bounds(&self, _: &[T], _: BatchShape<'_>) -> Option<Vec<f64>> {
        match (self.lie, self.turn() % 3) {
            (StateBounds, 0) => Some(Vec::new()),
            (StateBounds, 1) => Some(vec![f64::NAN, -1.0]),
            (StateBounds, _) => Some(vec![1.0; 3]),
            _ => Option::None,
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        match self.lie {
            PanicsForward => panic!("the liar panics in forward"),
            PanicsBadly => std::panic::panic_any(Bomb),
            _ => {}
        }
        for (i, (y, x)) in pass.y.iter_mut().zip(pass.x).enumerate() {
            let w = if w.is_empty() { T::one() } else { w[i % w.len()] };
            *y = if self.lie == WritesNaN { T::nan() } else { *x * w };
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        match self.lie {
            PanicsBackward => panic!("the liar panics in backward"),
            PanicsBadly => std::panic::panic_any(Bomb),
            _ => {}
        }
        if let Some(dx) = pass.dx {
            for (i, (dx, dy)) in dx.iter_mut().zip(pass.dy).enumerate() {
                let w = if w.is_empty() { T::one() } else { w[i % w.len()] };
                *dx = *dy * w;
            }
        }
        let width = pass.dw.len().max(1);
        for (i, (x, dy)) in pass.x.iter().zip(pass.dy).enumerate() {
            if let Some(dw) = pass.dw.get_mut(i % width) {
                *dw += *x * *dy;
            }
        }
    }
}

/// A cell whose gates and products lie.
#[derive(Clone, Copy, Debug)]
pub struct LyingCell {
    kind: usize,
    cell_state: usize,
    between_stages: usize,
}

macro_rules! products {
    ($([$($gates:expr, $stage:expr, $operand:ident, $separate:expr);*]),* $(,)?) => {
        &[$(&[$(Product { gates: $gates, stage: $stage, operand: Operand::$operand, keep_separate: $separate }),*]),*]
    };
}

#[allow(clippy::reversed_empty_ranges)]
static PRODUCTS: &[&[Product]] = products![
    [0..1, 0, Hidden, false],
    [],
    [0..2, 0, Hidden, false],
    [0..1, 0, StageOutput, false],
    [0..1, usize::MAX - 1, Hidden, false],
    [0..1, usize::MAX, Hidden, false],
    [2..1, 0, Hidden, false],
    [1..2, 0, Hidden, true; 0..1, 0, Hidden, true],
    [0..1, 0, Hidden, true; 0..1, 0, Hidden, true],
    [0..1, 1, StageOutput, false],
    [0..1, 1, StageOutput, true; 1..2, 0, Hidden, false],
    [0..1, 3, StageOutput, false],
    [0..usize::MAX, 0, Hidden, false],
    [usize::MAX..usize::MAX, 0, Hidden, true],
    [0..0, 0, Hidden, false],
    [0..1, 1_000_000, StageOutput, false],
];

static GATES: &[&[Gate]] = &[
    &[Gate::new("a")],
    &[],
    &[Gate::new("a"), Gate::carrying_state("b")],
    &[Gate::new("a"), Gate::new("a")],
    &[Gate::carrying_state("forget")],
];

impl LyingCell {
    pub fn new(c: &mut Case) -> Self {
        let kind = c.below(PRODUCTS.len() * GATES.len());
        let sizes = [0, 0, 0, 1, 2, usize::MAX, usize::MAX / 2];
        LyingCell { kind, cell_state: c.of(&sizes), between_stages: c.of(&sizes) }
    }
}

impl Cell for LyingCell {
    fn gates(&self) -> &'static [Gate] {
        GATES[self.kind / PRODUCTS.len()]
    }

    fn products(&self) -> Vec<Product> {
        PRODUCTS[self.kind % PRODUCTS.len()].to_vec()
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: self.cell_state, between_stages: self.between_stages }
    }

    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        unit.h.iter_mut().zip(unit.z.iter()).for_each(|(h, z)| *h = z.tanh());
        unit.operand.iter_mut().zip(unit.h_prev).for_each(|(operand, h)| *operand = *h);
        unit.cell_state.iter_mut().zip(unit.cell_state_prev).for_each(|(next, memory)| *next = *memory);
    }

    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        unit.z.iter_mut().zip(unit.d_h_prev).for_each(|(z, d)| *z = *d);
    }
}
