//! Kinds whose labels carry no information, beside a setting that is sound with labels that do. To name the setting
//! is wrong.

use super::*;

/// A network for a table, its labels shuffled if sick, and the optimizer, all drawn by the seed.
fn without_information(t: &Tables, s: u64, sick: bool, dropout: Option<f64>) -> Result<Case, Error> {
    let mut dice = Dice::new(s, 59);
    let (data, hidden) = (dice.table(t), dice.of(&[24, 32, 48]));
    let data = if sick { data.shuffled_labels(s) } else { data };
    let mut net = Sequential::input(data.width).linear(hidden).activation(Relu);
    if let Some(rate) = dropout {
        net = net.layer(Dropout::new(hidden, rate)?);
    }
    case(net.linear(data.outputs()).build(), data, dice.of(&[Sgd(0.05), Adam(2e-3)]), s)
}

pub const KINDS: &[Kind] = &[
    outside("no information, dropout", |t, s, sick| without_information(t, s, sick, Some(0.4))),
    outside("no information, decay", |t, s, sick| {
        with(without_information(t, s, sick, None), |recipe| recipe.decay = Some(5e-3))
    }),
    outside("no information, a schedule to 0", |t, s, sick| {
        with(without_information(t, s, sick, None), |recipe| recipe.ends = Some(200))
    }),
];
