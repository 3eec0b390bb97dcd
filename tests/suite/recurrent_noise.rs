//! Recurrent dropout and zoneout: the laws, the formulas, and the same masks in every kind of pass.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    Activation, BatchShape, Error, Gate, Layer, Mode, Scalar,
    activation::{Identity, Tanh},
    checkpoint::{Checkpoint, Values},
    diagnosis::check_parameters,
    initializer::Constant,
    layer::{DropoutKey, LayerSpec, Sequential, initialize},
    layer_laws,
    recurrent::{
        Cell, CellBackward, CellForward, CheckpointInterval, Elman, Gru, GruVariant, Lstm, Operand, Product, Recurrent,
        StateNoise,
    },
    workspace::Workspace,
};

fn before() -> Gru {
    Gru::new().variant(GruVariant::ResetBefore)
}

/// The outputs of a pass from the state `state`.
fn outputs(layer: &dyn Layer<f64>, w: &[f64], shape: BatchShape<'_>, x: &[f64], state: f64, mode: Mode) -> Vec<f64> {
    let mut workspace = Workspace::new(layer, shape).unwrap();
    let states = layer.memory(BatchShape::batch(1), Mode::Infer).state * shape.batch;
    workspace.set_state(&vec![state; states]).unwrap();
    workspace.set_dropout_key(DropoutKey::new(3, 5));
    workspace.forward_with(w, x, shape, mode, &mut ()).unwrap().y.to_vec()
}

/// With U = 1 and nothing else, h_t = mᵗ: the mask is one of 0 and 1/(1 − rate), and the same at all steps.
#[test]
fn recurrent_dropout_has_one_mask_for_all_steps() {
    let (samples, units, rate) = (200, 3, 0.3);
    let layer = Recurrent::new(1, units, Elman::new(Identity)).without_bias();
    let layer = layer.weights(Constant(0.0)).recurrent(Constant(0.0)).recurrent_dropout(rate).unwrap();
    let mut w = initialize::<f64>(&layer, 1).unwrap();
    (0..units).for_each(|unit| w[units + unit * units + unit] = 1.0);
    let shape = BatchShape::sequences(samples, 4);
    let x = vec![0.0; shape.rows()];
    let y = outputs(&layer, &w, shape, &x, 1.0, Mode::Train);
    let first = &y[..samples * units];
    let keep = 1.0 / (1.0 - rate);
    assert!(first.iter().all(|&m| m == 0.0 || m == keep));
    let dropped = first.iter().filter(|&&m| m == 0.0).count() as f64 / first.len() as f64;
    // Four standard deviations of 600 draws.
    assert!((dropped - rate).abs() < 4.0 * (rate * (1.0 - rate) / 600.0).sqrt(), "{dropped}");
    for (step, y) in y.chunks(samples * units).enumerate() {
        assert!(y.iter().zip(first).all(|(y, m)| (y - m.powi(step as i32 + 1)).abs() < 1e-12));
    }
    assert!(first.chunks(units).any(|row| row != &first[..units]));
    let evaluated = outputs(&layer, &w, shape, &x, 1.0, Mode::Evaluate);
    assert!(evaluated.iter().all(|&h| h == 1.0));
}

/// With h̃_t = x_t a unit is x_t or h_{t−1} in training, and the expectation of both otherwise.
#[test]
fn zoneout_keeps_units_or_takes_the_expectation() {
    let (samples, units, rate) = (100, 2, 0.25);
    let layer = Recurrent::new(1, units, Elman::new(Identity)).without_bias().weights(Constant(1.0));
    let layer = layer.recurrent(Constant(0.0)).zoneout(rate, 0.0).unwrap();
    let w = initialize::<f64>(&layer, 1).unwrap();
    let shape = BatchShape::sequences(samples, 5);
    let x: Vec<f64> = seeded_numbers(1, shape.rows());
    let trained = outputs(&layer, &w, shape, &x, 0.5, Mode::Train);
    let evaluated = outputs(&layer, &w, shape, &x, 0.5, Mode::Evaluate);
    let mut workspace = Workspace::for_inference(&layer, shape).unwrap();
    workspace.set_state(&vec![0.5; samples * units]).unwrap();
    let inferred = workspace.infer(&w, &x, shape).unwrap();
    let mut kept = 0;
    for (i, &h) in trained.iter().enumerate() {
        let (new, width) = (x[i / units], samples * units);
        let previous = |y: &[f64]| if i < width { 0.5 } else { y[i - width] };
        assert!(h == new || h == previous(&trained), "{i}");
        kept += usize::from(h != new);
        let expected = rate * previous(&evaluated) + (1.0 - rate) * new;
        assert!((evaluated[i] - expected).abs() < 1e-15);
    }
    assert_eq!(bits(&evaluated), bits(inferred));
    let share = kept as f64 / trained.len() as f64;
    assert!((share - rate).abs() < 4.0 * (rate * (1.0 - rate) / 1000.0).sqrt(), "{share}");
}

/// `h = tanh(U₂ tanh(U₁ tanh(z₀) + z₁) + z₂)`: three stages, two of which write an operand.
#[derive(Clone, Debug)]
struct Thrice;

impl Cell for Thrice {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("first"), Gate::new("second"), Gate::new("third")] }
    }
    fn products(&self) -> Vec<Product> {
        let of = |stage, operand| Product { gates: stage..stage + 1, stage, operand, keep_separate: false };
        vec![of(0, Operand::Hidden), of(1, Operand::StageOutput), of(2, Operand::StageOutput)]
    }
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>) {
        let z = &unit.z[stage * unit.h.len()..];
        let to = if stage == 2 { unit.h } else { unit.operand };
        to.iter_mut().zip(z).for_each(|(to, &z)| *to = Tanh.value(z));
    }
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        let from = if stage == 2 { unit.d_h } else { unit.d_operand };
        let z = &mut unit.z[stage * unit.h.len()..];
        z.iter_mut().zip(from).for_each(|(z, &d)| *z = d * Tanh.derivative(*z, Tanh.value(*z)));
    }
}

layer_laws!(three_stages_with_recurrent_dropout, Recurrent::new(2, 3, Thrice).recurrent_dropout(0.4).unwrap());

/// With U = 3 alone the Jacobian of k steps is 3ᵏ. A mask makes it (3/(1 − rate))ᵏ at most, and zoneout
/// √(1 + 9)ᵏ.
#[test]
fn bounds_over_time_have_the_factor_of_their_noise() {
    let layer = || Recurrent::new(1, 1, Elman::new(Identity)).without_bias();
    for (layer, factor) in [
        (layer(), 3.0f64),
        (layer().recurrent_dropout(0.75).unwrap(), 12.0),
        (layer().zoneout(0.25, 0.0).unwrap(), 10f64.sqrt()),
    ] {
        let bounds = Layer::<f64>::state_gain_bounds(&layer, &[0.5, 3.0], BatchShape::sequences(1, 4)).unwrap();
        assert_eq!(bounds.len(), 5);
        for (k, bound) in bounds.into_iter().enumerate() {
            let expected = factor.powi(k as i32);
            assert!((bound / expected - 1.0).abs() < 1e-12 && bound >= expected.next_down(), "{layer:?}, {k}: {bound}");
        }
    }
}

#[test]
fn noise_is_none_if_all_rates_are_zero() {
    let none = StateNoise::default();
    assert!(none.is_none());
    for noise in [
        StateNoise { dropout: 0.1, ..none },
        StateNoise { zoneout_hidden: 0.1, ..none },
        StateNoise { zoneout_cell: 0.1, ..none },
    ] {
        assert!(!noise.is_none(), "{noise:?}");
    }
}

/// y, dw and dx of a training pass.
fn pass(layer: &dyn Layer<f64>, shape: BatchShape<'_>, threads: usize) -> [Vec<u64>; 3] {
    let w = initialize::<f64>(layer, 7).unwrap();
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.set_threads(threads).unwrap();
    workspace.compute_input_gradient(true);
    workspace.set_dropout_key(DropoutKey::new(3, 5));
    let output = workspace.forward(&w, &seeded_numbers(1, shape.rows() * 3), shape).unwrap();
    let y = bits(output.y);
    let dy: Vec<f64> = seeded_numbers(2, output.y.len());
    output.dy.copy_from_slice(&dy);
    let dw = bits(workspace.backward(&w).unwrap());
    [y, dw, bits(workspace.input_gradient())]
}

/// Segments compute masks again, and threads change no bit.
#[test]
fn noise_of_a_state_is_replayed_in_segments_and_threads() {
    let noisy = |b: chainrule::network::Builder<f64>| {
        b.recurrent_with(5, Lstm::new(), |layer| layer.recurrent_dropout(0.3)?.zoneout(0.2, 0.1)).recurrent_with(
            5,
            before(),
            |layer| layer.recurrent_dropout(0.5)?.zoneout(0.3, 0.0),
        )
    };
    let ragged: Vec<usize> = (0..120).map(|i| 23 - i / 9 - i % 9 / 8).collect();
    let full = noisy(Sequential::input(3)).build().unwrap();
    let cut = Sequential::input(3).checkpointed(CheckpointInterval::Steps(3), noisy).build().unwrap();
    for shape in [BatchShape::sequences(130, 17), BatchShape::ragged(&ragged)] {
        let expected = pass(&full, shape, 1);
        assert!(pass(&full, shape, 2) == expected);
        assert!(pass(&cut, shape, 1) == expected);
    }
}

#[test]
fn noise_of_a_state_is_part_of_the_description() {
    let noise = |layer: Recurrent<Lstm>| layer.recurrent_dropout(0.25)?.zoneout(0.05, 0.1);
    let network = Sequential::<f64>::input(2).recurrent_with(3, Lstm::new(), noise).build().unwrap();
    let spec = network.spec();
    let built = spec.build::<f64>().unwrap();
    assert_eq!(built.spec(), spec);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<LayerSpec>(&text).unwrap(), spec);
    let shown = format!("{network:?}");
    assert!(shown.contains("recurrent dropout 0.25") && shown.contains("zoneout of the cell 0.1"), "{shown}");

    // A checkpoint may have other rates, which it names.
    let plain = Sequential::<f64>::input(2).lstm(3).build().unwrap();
    let bytes = Checkpoint::new(initialize::<f64>(&plain, 1).unwrap()).to_bytes(&plain).unwrap();
    Checkpoint::<f64>::from_bytes(&network, &bytes, Values::Finite).unwrap();

    for rate in [-0.1, 1.0, f64::NAN] {
        let layer = || Recurrent::new(2, 3, Lstm::new());
        assert!(matches!(layer().recurrent_dropout(rate), Err(Error::Parameter { .. })));
        assert!(matches!(layer().zoneout(0.0, rate), Err(Error::Parameter { .. })));
        // A GRU has no cell state.
        assert!(matches!(Recurrent::new(2, 3, Gru::new()).zoneout(0.0, 0.1), Err(Error::Parameter { .. })));
        let mut spec = Layer::<f64>::spec(&layer());
        let LayerSpec::Recurrent { noise, .. } = &mut spec else { unreachable!() };
        *noise = StateNoise { zoneout_hidden: rate, ..*noise };
        assert!(matches!(spec.build::<f64>(), Err(Error::Parameter { .. })));
    }
}

/// y, dw and dx of a pass with the key `key`.
fn keyed(network: &dyn Layer<f64>, w: &[f64], mode: Mode, key: DropoutKey) -> [Vec<u64>; 3] {
    let shape = BatchShape::sequences(6, 5);
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    workspace.set_dropout_key(key);
    let output = workspace.forward_with(w, &seeded_numbers(1, shape.rows() * 3), shape, mode, &mut ()).unwrap();
    let y = bits(output.y);
    let dy: Vec<f64> = seeded_numbers(2, output.y.len());
    output.dy.copy_from_slice(&dy);
    let dw = bits(workspace.backward(w).unwrap());
    [y, dw, bits(workspace.input_gradient())]
}

/// A key that is off disables dropout and takes the mean of zoneout, with the statistics of the batch.
#[test]
fn pass_without_masks_takes_means_and_the_statistics_of_the_batch() -> Result<(), Error> {
    let network = |rates: [f64; 3], norm: bool| {
        let [dropped, masked, zoned] = rates;
        let noisy = Sequential::<f64>::input(3)
            .recurrent_with(6, Lstm::new(), |layer| layer.recurrent_dropout(masked)?.zoneout(zoned, zoned))
            .dropout(dropped);
        let noisy = if norm { noisy.batch_norm() } else { noisy };
        noisy.checkpointed(CheckpointInterval::Steps(2), |b| {
            b.recurrent_with(4, before(), |layer| layer.zoneout(zoned, 0.0)).dropout(dropped)
        })
    };
    let usual = DropoutKey::new(3, 5);
    for rates in [[0.6, 0.3, 0.4], [0.0, 0.0, 0.4], [0.9, 0.0, 0.0]] {
        let noisy = network(rates, false).build()?;
        let w = initialize::<f64>(&noisy, 7)?;
        let evaluated = keyed(&noisy, &w, Mode::Evaluate, usual);
        assert!(keyed(&noisy, &w, Mode::Train, DropoutKey::off()) == evaluated);
        assert!(keyed(&noisy, &w, Mode::Train, usual) != evaluated);
        // With a norm over the batch, the mask alone is off. Zoneout stays, as it is in an evaluation.
        let [normed, without] = [network(rates, true).build()?, network([0.0, 0.0, rates[2]], true).build()?];
        let w = initialize::<f64>(&normed, 7)?;
        let quiet = keyed(&normed, &w, Mode::Train, DropoutKey::off());
        assert!(quiet == keyed(&without, &w, Mode::Train, DropoutKey::off()));
        assert!(quiet != keyed(&network([0.0; 3], true).build()?, &w, Mode::Train, usual) || rates[2] == 0.0);
        assert!(quiet != keyed(&normed, &w, Mode::Evaluate, usual));
    }
    Ok(())
}

/// An examination draws the masks of a run, always the same ones. A mask of rate p multiplies the mean square of the
/// gradient by 1/(1 − p): half a decade of its norm for 0.9.
#[test]
fn examination_draws_the_same_masks_each_time() -> Result<(), Error> {
    let network = |rate: f64| {
        let layers = Sequential::<f32>::input(12).linear(32).batch_norm().activation(Tanh).dropout(rate);
        layers.linear(32).activation(Tanh).dropout(rate).linear(3).build()
    };
    let (noisy, plain) = (network(0.9)?, network(0.0)?);
    let (w, x): (Vec<f32>, Vec<f32>) = (initialize(&noisy, 1)?, seeded_numbers(1, 64 * 12));
    let check = |network| check_parameters(network, &w, &x, BatchShape::batch(64), None);
    let (noisy, again, plain) = (check(&noisy)?, check(&noisy)?, check(&plain)?);
    assert_eq!(noisy.decades[0], again.decades[0]);
    let apart = noisy.decades[0].unwrap() - plain.decades[0].unwrap();
    assert!((apart - 2.0 * 0.5).abs() < 0.3, "{apart}: {noisy} {plain}");
    Ok(())
}
