//! Kinds whose fault no cause names.

use super::*;

pub const KINDS: &[Kind] = &[
    outside("labels without information", |t, s, sick| {
        let data = if sick { t.wine().shuffled_labels(s) } else { t.wine() };
        case(stack(&deep(13, 16, 1, 3), Tanh, LeCun::normal()), data, Sgd(0.05), s)
    }),
    outside("six labels in ten exchanged", |t, s, sick| {
        let data = if sick { t.digits().noisy_labels(6, s) } else { t.digits() };
        case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Adam(1e-3), s)
    }),
    outside("two hidden units", |t, s, sick| {
        let width = if sick { 2 } else { 48 };
        case(stack(&[64, width, 10], Tanh, LeCun::normal()), t.digits(), Adam(3e-3), s)
    }),
    outside("a linear network on a product", |t, s, sick| {
        let data = t.diabetes().product_of([2, 8]);
        let net = match sick {
            true => stack(&deep(10, 24, 2, 1), chainrule::activation::Identity, LeCun::normal()),
            false => stack(&deep(10, 24, 2, 1), Tanh, LeCun::normal()),
        };
        case(net, data, Adam(3e-3), s)
    }),
    outside("class numbers as values", |t, s, sick| match sick {
        true => case(stack(&deep(64, 32, 2, 1), Relu, He::normal()), t.digits().classes_as_values(), Adam(1e-3), s),
        false => case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s),
    }),
    outside("targets of the sample before", |t, s, sick| {
        let data = if sick { t.diabetes().shifted_targets() } else { t.diabetes() };
        case(stack(&deep(10, 24, 2, 1), Relu, He::normal()), data, Adam(1e-3), s)
    }),
    outside("updates up the gradient", |t, s, sick| {
        let made = case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), t.wine(), Sgd(0.05), s);
        with(made, |recipe| recipe.climbs = sick)
    }),
    outside("updates up the gradient, Adam", |t, s, sick| {
        let made = case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s);
        with(made, |recipe| recipe.climbs = sick)
    }),
    outside("columns of other samples", |t, s, sick| {
        let data = if sick { t.wine().exchanged_columns(s, |column| column % 4 != 0) } else { t.wine() };
        case(stack(&deep(13, 24, 2, 3), Tanh, LeCun::normal()), data, Sgd(0.05), s)
    }),
    outside("a class is missing", |t, s, sick| {
        let data = t.digits().only(usize::MAX, |class| !sick || class > 2);
        judged(case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), data, Adam(1e-3), s), t.digits())
    }),
    outside("forty samples", |t, s, sick| {
        let data = t.digits().only(if sick { 40 } else { usize::MAX }, |_| true);
        judged(case(stack(&deep(64, 64, 2, 10), Gelu, He::normal()), data, Adam(1e-3), s), t.digits())
    }),
    outside("judged at another scale", |t, s, sick| {
        let made = case(stack(&deep(30, 32, 2, 2), Tanh, LeCun::normal()), t.cancer(), Sgd(0.05), s);
        judged(made, if sick { t.cancer_raw() } else { t.cancer() })
    }),
    outside("judged by exchanged labels", |t, s, sick| {
        let data = if sick { t.digits().exchanged_labels() } else { t.digits() };
        judged(case(stack(&deep(64, 32, 2, 10), Relu, He::normal()), t.digits(), Adam(1e-3), s), data)
    }),
    outside("the last steps are missing", |t, s, sick| {
        let data = if sick { t.sunspots(16).without_last_steps(12) } else { t.sunspots(16) };
        spanning(case(last_step(Recurrent::new(1, 20, Gru::new()), 1), data, Adam(5e-3), s), 3)
    }),
];
