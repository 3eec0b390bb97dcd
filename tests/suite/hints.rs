//! Hints of a layer inside others: each wrapper passes on what holds for the whole, and keeps its word to the layer.

use chainrule::{
    BatchShape, Block, Error, Layer, Role,
    activation::Tanh,
    layer::{
        Backward, BatchNorm, Dims, Embedding, Forward, GatedLinear, Hints, LayerNorm, Linear, PRelu, Residual,
        Sequential,
    },
    recurrent::{Bidirectional, CheckpointInterval, Checkpointed, Lstm, Recurrent, Reversed},
    workspace::Workspace,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// `y = w ⊙ x` of two values, with any hints; it notes what it finds in `dw` where it may overwrite, else a NaN.
#[derive(Clone, Debug)]
struct Hinted {
    hints: Hints,
    later: bool,
    found: Arc<AtomicU64>,
}

impl Hinted {
    fn new(hints: Hints) -> Self {
        Hinted { hints, later: false, found: Arc::default() }
    }
}

impl Layer<f64> for Hinted {
    fn dims(&self) -> Dims {
        Dims::new(2, 2, 2)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("gain", 0, [2, 1], Role::Gain));
    }
    fn hints(&self) -> Hints {
        self.hints
    }
    fn reads_later_steps(&self) -> bool {
        self.later
    }
    fn forward(&self, w: &[f64], pass: Forward<'_, f64>) {
        pass.y.iter_mut().zip(pass.x).enumerate().for_each(|(i, (y, x))| *y = w[i % 2] * x);
    }
    fn backward(&self, w: &[f64], pass: Backward<'_, f64>) {
        let found = if pass.overwrite_dw { pass.dw[0] } else { f64::NAN };
        self.found.store(found.to_bits(), Relaxed);
        if pass.overwrite_dw {
            pass.dw.fill(0.0);
        }
        (0..pass.dy.len()).for_each(|i| pass.dw[i % 2] += pass.x[i] * pass.dy[i]);
        let dx = pass.dx.unwrap_or_default().iter_mut();
        dx.zip(pass.dy).enumerate().for_each(|(i, (dx, dy))| *dx = w[i % 2] * dy);
    }
}

type Whole = Box<dyn Layer<f64>>;

/// Each hint by itself.
fn each() -> [Hints; 6] {
    let none = Hints::NONE;
    [
        none.ignores_x(),
        none.ignores_y(),
        none.saved_per_row(),
        none.overwrites_dw(),
        none.accepts_short_dy(),
        none.dx_zero_before_last_step(),
    ]
}

/// A layer among others.
type Wrap = fn(Hinted) -> Result<Whole, Error>;

fn chain(layers: Vec<Hinted>) -> Result<Whole, Error> {
    let mut network = Sequential::new(2);
    layers.into_iter().try_for_each(|layer| network.push(layer))?;
    Ok(Box::new(network))
}

/// Each wrapper, with the hints that it passes on, and those that it always has.
fn wrappers() -> Vec<(&'static str, Wrap, Hints, Hints)> {
    let none = Hints::NONE;
    let all = none.ignores_x().ignores_y().saved_per_row().overwrites_dw();
    let all = all.accepts_short_dy().dx_zero_before_last_step();
    let both = none.ignores_x().ignores_y();
    vec![
        ("reference", |layer| Ok(Box::new(&*Box::leak(Box::new(layer)))), all, none),
        ("Box", |layer| Ok(Box::new(Box::new(layer))), all, none),
        ("Arc", |layer| Ok(Box::new(Arc::new(layer))), all, none),
        ("Sequential of one", |layer| chain(vec![layer]), all, none.overwrites_dw()),
        (
            "first of a Sequential",
            |layer| chain(vec![layer, Hinted::new(Hints::NONE)]),
            none.ignores_x().dx_zero_before_last_step(),
            none.overwrites_dw(),
        ),
        (
            "last of a Sequential",
            |layer| chain(vec![Hinted::new(Hints::NONE), layer]),
            none.ignores_y().accepts_short_dy(),
            none.overwrites_dw(),
        ),
        // x goes to the branch as well; y and dx are sums.
        ("Residual", |layer| Ok(Box::new(Residual::new(layer)?)), none.ignores_x(), none.ignores_y().overwrites_dw()),
        // It keeps the rows that its layer sees.
        ("Reversed", |layer| Ok(Box::new(Reversed::new::<f64>(layer)?)), none.overwrites_dw(), both),
        (
            "Bidirectional",
            |layer| Ok(Box::new(Bidirectional::new::<f64>(layer.clone(), layer)?)),
            none,
            none.ignores_y().overwrites_dw(),
        ),
    ]
}

/// The hints of one of two.
fn and(a: Hints, b: Hints) -> Hints {
    let mut both = Hints::NONE;
    both.ignores_x = a.ignores_x && b.ignores_x;
    both.ignores_y = a.ignores_y && b.ignores_y;
    both.saved_per_row = a.saved_per_row && b.saved_per_row;
    both.overwrites_dw = a.overwrites_dw && b.overwrites_dw;
    both.accepts_short_dy = a.accepts_short_dy && b.accepts_short_dy;
    both.dx_zero_before_last_step = a.dx_zero_before_last_step && b.dx_zero_before_last_step;
    both
}

fn or(a: Hints, b: Hints) -> Hints {
    let mut either = a;
    either.ignores_x |= b.ignores_x;
    either.ignores_y |= b.ignores_y;
    either.saved_per_row |= b.saved_per_row;
    either.overwrites_dw |= b.overwrites_dw;
    either.accepts_short_dy |= b.accepts_short_dy;
    either.dx_zero_before_last_step |= b.dx_zero_before_last_step;
    either
}

#[test]
fn wrapper_passes_on_every_hint_that_holds_for_the_whole() {
    for (name, wrap, passes, always) in wrappers() {
        for hints in each().into_iter().chain([Hints::NONE]) {
            let whole = wrap(Hinted::new(hints)).unwrap();
            assert_eq!(whole.hints(), or(and(hints, passes), always), "{name}: {hints:?}");
        }
    }
}

#[test]
fn wrapper_says_that_a_layer_inside_reads_later_steps() {
    for (name, wrap, ..) in wrappers() {
        for later in [false, true] {
            let whole = wrap(Hinted { later, ..Hinted::new(Hints::NONE) }).unwrap();
            // Those that read from the end do so in any case.
            let expected = later || ["Reversed", "Bidirectional"].contains(&name);
            assert_eq!(whole.reads_later_steps(), expected, "{name}");
        }
    }
}

/// Found by this test: a residual branch and both directions cleared `dw`, which the layer inside overwrites.
#[test]
fn gradient_of_a_layer_that_overwrites_is_not_cleared_in_any_wrapper() {
    let shape = BatchShape::sequences(2, 3);
    let (w, x) = ([0.5; 4], [1.0; 12]);
    for (name, wrap, ..) in wrappers() {
        for overwrites in [false, true] {
            let hints = if overwrites { Hints::NONE.overwrites_dw() } else { Hints::NONE };
            let layer = Hinted::new(hints);
            let mut workspace = Workspace::new(wrap(layer.clone()).unwrap(), shape).unwrap();
            let w = &w[..workspace.blocks().iter().map(|block| block.range.len()).sum()];
            let mut gradients = [1.0, 1.0].map(|dy| {
                workspace.forward(w, &x, shape).unwrap().dy.fill(dy);
                workspace.backward(w).unwrap().to_vec()
            });
            assert_eq!(gradients[0], gradients[1], "{name}: the same gradient twice");
            let found = f64::from_bits(layer.found.load(Relaxed));
            assert_eq!(!found.is_nan(), overwrites, "{name}");
            // The gradient of the pass before lies there.
            assert!(!overwrites || gradients[0].contains(&found) && found != 0.0, "{name}: {found} was there");
            gradients[0].clear();
        }
    }
}

/// What the backward pass of each layer of the crate reads, by its equation: not more is kept for it.
#[test]
fn layer_of_the_crate_promises_what_its_equation_allows() {
    let none = Hints::NONE;
    let (by_x, linear) = (none.ignores_y(), none.ignores_y().saved_per_row().overwrites_dw());
    let lstm = || Box::new(Recurrent::new(2, 3, Lstm::new())) as Whole;
    let checkpointed = Checkpointed::new(CheckpointInterval::SquareRoot, vec![lstm()]).unwrap();
    let table: [(Whole, Hints); 8] = [
        (Box::new(Linear::new(2, 3)), linear),
        (Box::new(GatedLinear::new(2, 3, Tanh)), linear),
        (Box::new(BatchNorm::new(2)), by_x),
        (Box::new(LayerNorm::new(2)), by_x),
        (Box::new(PRelu::new(2)), by_x.saved_per_row()),
        (Box::new(Embedding::new(2, 3)), by_x.saved_per_row()),
        (Box::new(checkpointed), by_x),
        // One of a user's own promises nothing.
        (Box::new(Unsaid), none),
    ];
    for (layer, hints) in table {
        assert_eq!(layer.hints(), hints, "{layer:?}");
    }
    assert_eq!(Unsaid.state_gain_bounds(&[], BatchShape::sequences(1, 3)), None);
}

/// A layer that overrides no optional method.
#[derive(Debug)]
struct Unsaid;

impl Layer<f64> for Unsaid {
    fn dims(&self) -> Dims {
        Dims::new(1, 1, 0)
    }
    fn forward(&self, _w: &[f64], pass: Forward<'_, f64>) {
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _w: &[f64], pass: Backward<'_, f64>) {
        pass.dx.unwrap_or_default().copy_from_slice(pass.dy);
    }
}
