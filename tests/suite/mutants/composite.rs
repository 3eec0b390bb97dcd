//! Wrong layers of layers: the sum of two, each with one mistake in what it states of its parts.

use super::{all_caught, caught};
use chainrule::{
    BatchShape, Layer, Mode, Scalar,
    activation::Tanh,
    layer::{Backward, Context, Dims, Forward, Linear, MemorySizes, PartSizes, Sequential, Structure},
    monitor::Factor,
    testing::{Dual, Law, Layers, layer_laws},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    SecondSilent,
    SecondSilentBackward,
    SecondUnderTheNamesOfTheFirst,
    LinkBeyondTheLast,
    SecondBranchLeftOut,
    PartsOfTheWrongSize,
}

/// `y = W x + b + tanh(V x + c)`. The second part saves values; neither reads y.
#[derive(Debug)]
struct Sum<T: Scalar> {
    first: Linear,
    second: Sequential<T>,
    sizes: PartSizes,
    fault: Fault,
}

impl<T: Scalar> Sum<T> {
    fn new(fault: Fault) -> Self {
        let first = Linear::new(3, 2);
        let second = Sequential::input(3).linear(2).activation(Tanh).build().unwrap();
        let sizes = PartSizes::of::<T>(&first);
        Sum { first, second, sizes, fault }
    }

    /// Where the links of the second part are said to begin.
    fn second_link(&self) -> usize {
        match self.fault {
            Fault::SecondUnderTheNamesOfTheFirst => 1,
            Fault::LinkBeyondTheLast => 2 + self.sizes.links,
            _ => 1 + self.sizes.links,
        }
    }
}

impl<T: Scalar> Layer<T> for Sum<T> {
    fn dims(&self) -> Dims {
        Dims::new(3, 2, self.sizes.parameters + self.second.dims().parameters)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let [f, g] = [Layer::<T>::memory(&self.first, shape, mode), self.second.memory(shape, mode)];
        MemorySizes::new(g.saved, f.scratch.max(g.scratch) + 3 * shape.rows(), 0)
    }

    fn structure(&self) -> Structure<'_, T> {
        let whole = Structure::branches().part("first", &self.first);
        match self.fault {
            Fault::SecondBranchLeftOut => whole,
            Fault::PartsOfTheWrongSize => whole.own_parameters(1).part("second", &self.second),
            _ => whole.part("second", &self.second),
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, saved, scratch, mut ctx, .. } = pass;
        let (f_w, g_w) = w.split_at(self.sizes.parameters);
        let (spare, scratch) = scratch.split_at_mut(3 * ctx.shape.rows());
        let g_y = &mut spare[..y.len()];
        self.first.forward(f_w, Forward::new(x, y, &mut [], scratch, ctx.branch(1)));
        let mut silent = ();
        let quiet = Context::new(ctx.shape, ctx.mode, &mut silent);
        let ctx_of_second = if self.fault == Fault::SecondSilent { quiet } else { ctx.branch(self.second_link()) };
        self.second.forward(g_w, Forward::new(x, g_y, saved, scratch, ctx_of_second));
        y.iter_mut().zip(&*g_y).for_each(|(y, &g)| *y += g);
        ctx.report_forward(Factor::Other, x, y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, mut dx, dw, saved, scratch, trainable, mut ctx, .. } = pass;
        let (f_w, g_w) = w.split_at(self.sizes.parameters);
        let (f_dw, g_dw) = dw.split_at_mut(self.sizes.parameters);
        let (spare, scratch) = scratch.split_at_mut(3 * ctx.shape.rows());
        let mut f = Backward::new(x, &[], dy, dx.as_deref_mut(), f_dw, &mut [], scratch, ctx.branch(1));
        f.trainable = trainable;
        self.first.backward(f_w, f);
        let mut silent = ();
        let quiet = Context::new(ctx.shape, ctx.mode, &mut silent);
        let is_quiet = [Fault::SecondSilent, Fault::SecondSilentBackward].contains(&self.fault);
        let ctx_of_second = if is_quiet { quiet } else { ctx.branch(self.second_link()) };
        let g_dx = dx.is_some().then_some(&mut *spare);
        let mut g = Backward::new(x, &[], dy, g_dx, g_dw, saved, scratch, ctx_of_second);
        g.trainable = trainable.part(self.sizes.blocks);
        self.second.backward(g_w, g);
        let Some(dx) = dx else { return };
        dx.iter_mut().zip(&*spare).for_each(|(dx, &g)| *dx += g);
        ctx.report_backward(Factor::Other, dy, dx);
    }
}

#[test]
fn mutants_of_composites() {
    let laws = |fault| {
        let (single, double, dual) = (Sum::<f32>::new(fault), Sum::<f64>::new(fault), Sum::<Dual<f64>>::new(fault));
        layer_laws(Layers { single: &single, double: &double, dual: &dual }, 0)
    };
    laws(Fault::None).expect("without a mistake there is nothing to accuse");
    let all = [
        (Fault::SecondSilent, Law::ReportsLinks),
        (Fault::SecondSilentBackward, Law::ReportsLinks),
        (Fault::SecondUnderTheNamesOfTheFirst, Law::ReportsLinks),
        (Fault::LinkBeyondTheLast, Law::ReportsLinks),
        (Fault::SecondBranchLeftOut, Law::BlocksTile),
        (Fault::PartsOfTheWrongSize, Law::BlocksTile),
    ];
    all_caught("composites", all.map(|(fault, law)| caught(&format!("{fault:?}"), law, laws(fault))));
}
