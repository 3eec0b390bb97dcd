//! A thousand plain tanh layers, trained on the digits.

use crate::{classifier, data::Table};
use chainrule::{
    dataset::Dataset,
    initializer::{Initializer, LeCun, Orthogonal, Zeros},
    loss::{CrossEntropy, Target},
    theory::{InputStatistics, Prediction},
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};
use std::error::Error;

const WIDTH: usize = 64;

/// Trains with weights that are orthogonal, so that singular values stay alike however many are multiplied (Pennington,
/// Schoenholz & Ganguli 2017), and as long beside independent ones of the same variance.
pub fn report(train: &Table, test: &Table, short: bool) -> Result<(), Box<dyn Error>> {
    let (depth, epochs) = if short { (20, 1) } else { (1000, 20) };
    println!("\n## 7. {depth} plain tanh layers of {WIDTH} on the digits: no skips, no norms\n");
    println!("{:<28} {:>10} {:>14} {:>10} {:>16}", "weights", "predicted", "epochs", "loss", "held-out digits");
    let orthogonal = Orthogonal { gain: 1.0 }.kind();
    for (name, weights) in [("orthogonal, σw² = 1", orthogonal), ("LeCun, σw² = 1", LeCun::normal().kind())] {
        let network = classifier([WIDTH, depth], &weights, &Zeros.kind())?;
        let predicted =
            Prediction::of(&network, InputStatistics::of_rows(&train.inputs)?)?.decades().unwrap_or(f64::NAN);
        let settings = TrainConfig { batch_size: 32, epochs, seed: 1, threads: 2, ..TrainConfig::default() };
        let mut trainer = Trainer::new(&network, CrossEntropy::new(), Adam::new(1e-5), settings)?;
        let data = Dataset::rows(WIDTH, &train.inputs, Target::Classes(&train.labels))?;
        let epochs = trainer.fit(&data)?;
        let held_out = Dataset::rows(WIDTH, &test.inputs, Target::Classes(&test.labels))?;
        let accuracy = trainer.evaluate(&held_out)?.accuracy.unwrap_or(0.0);
        println!(
            "{name:<28} {predicted:>+10.2} {:>14} {:>10.3} {:>14.1} %",
            epochs.len(),
            epochs.last().map_or(f64::NAN, |last| last.loss),
            100.0 * accuracy
        );
    }
    Ok(())
}
