//! The hash of a network's parameters after 20 updates or more: `--ranks 4 --threads 2 --case 0 --bits 32 --seed 7`
//! starts four processes by `mpiexec`, in `f32`; `--bits 64` in `f64`. It is the same for any number of ranks and
//! threads. `mpi/test` compares them.

use chainrule::{
    Scalar,
    activation::{Relu, Tanh},
    dataset::Dataset,
    distributed::{Communicator, DataParallel},
    layer::Sequential,
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    recurrent::{CheckpointInterval, Gru, Lstm},
    scalar,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm, SkipNonFinite},
};
use chainrule_mpi::Mpi;
use std::{env, error::Error, process::Command};

/// Name, network, loss, data, samples of a batch and batches of an update, and whether messages travel beside the pass.
type Case<T> = (&'static str, Sequential<T>, Box<dyn Loss<T>>, Dataset<'static, T>, [usize; 2], bool);

fn case<T: Scalar>(number: usize, seed: u64) -> Result<Case<T>, chainrule::Error> {
    let values = |count, stream| values::<T>(count, 8 * seed + stream);
    let squares = || Box::new(MeanSquaredError::new());
    let rows = |samples: usize, width: usize| {
        let (x, y) = (values(samples * width, 1), values(samples * 2, 2));
        Dataset::rows(width, &x, Target::Values(&y)).map(Dataset::into_owned)
    };
    let lengths: Vec<usize> = (0..16).map(|i| 1 + i * 5 % 7).collect();
    let steps: usize = lengths.iter().sum();
    Ok(match number {
        0 => {
            let network = Sequential::input(2).recurrent(5, Lstm::new()).dropout(0.2).last_step().linear(3).build()?;
            let classes: Vec<usize> = (0..16).map(|i| i % 3).collect();
            let data = Dataset::ragged(2, &lengths, &values(2 * steps, 3), Target::Classes(&classes))?.into_owned();
            ("ragged LSTM, dropout", network, Box::new(CrossEntropy::new()), data, [7, 1], false)
        }
        1 => {
            let network = Sequential::input(2).recurrent(4, Gru::new()).linear(2).build()?;
            let weights: Vec<T> = (0..steps).map(|i| scalar(f64::from(u8::from(i % 5 > 1)))).collect();
            let (x, y) = (values(2 * steps, 4), values(2 * steps, 5));
            let data = Dataset::ragged(2, &lengths, &x, Target::Values(&y))?;
            let data = data.row_weights(&weights)?.into_owned();
            ("ragged GRU, accumulated, masked steps", network, squares(), data, [5, 2], false)
        }
        2 => {
            let network = Sequential::input(3).linear(6).batch_norm().activation(Tanh).linear(2).build()?;
            ("batch norm", network, squares(), rows(44, 3)?, [24, 1], false)
        }
        3 => {
            let network = Sequential::input(8).linear(300).activation(Relu).linear(300).activation(Relu).linear(2);
            ("messages beside the pass", network.build()?, squares(), rows(64, 8)?, [32, 1], true)
        }
        4 => {
            // Its products are divided between threads: 2 million multiplications in each shard.
            let network = Sequential::input(64).linear(256).activation(Tanh).dropout(0.1).linear(2).build()?;
            ("wide, many rows", network, squares(), rows(1024, 64)?, [1024, 1], false)
        }
        5 => {
            let layers = Sequential::input(2).checkpointed(CheckpointInterval::Bytes(20_000), |b| b.lstm(4).gru(4));
            let network = layers.bidirectional(3, Gru::new()).lstm(4).last_step().linear(2).build()?;
            let (x, y) = (values(2 * 9 * 28, 6), values(2 * 28, 7));
            let data = Dataset::sequences(2, 9, &x, Target::Values(&y))?.into_owned();
            ("stacked, checkpointed, both directions", network, squares(), data, [12, 1], false)
        }
        6 => {
            // Large enough that threads divide its steps and its products.
            let network = Sequential::input(64).lstm(128).last_step().linear(2).build()?;
            let (x, y) = (values(64 * 20 * 64, 6), values(2 * 64, 7));
            let data = Dataset::sequences(64, 20, &x, Target::Values(&y))?.into_owned();
            ("wide LSTM", network, squares(), data, [64, 1], false)
        }
        _ => {
            let network =
                Sequential::input(3).linear(8).activation(Tanh).dropout(0.3).layer_norm().linear(2).build()?;
            let weights: Vec<T> = (0..30).map(|i| scalar(if i % 4 == 0 { 0.0 } else { 1.0 })).collect();
            (
                "dropout, masked samples",
                network,
                squares(),
                rows(30, 3)?.row_weights(&weights)?.into_owned(),
                [12, 1],
                false,
            )
        }
    })
}

/// Uniform values from −1 to 1: SplitMix64 on a counter.
fn values<T: Scalar>(count: usize, stream: u64) -> Vec<T> {
    let value = |i: u64| {
        let mut z = stream.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / 8_388_608.0 - 1.0
    };
    (1..=count as u64).map(|i| scalar(value(i))).collect()
}

fn train<T: Scalar>(number: usize, threads: usize, expected: usize, seed: u64) -> Result<(), Box<dyn Error>>
where
    Mpi: Communicator<T>,
{
    let rank = Mpi::new().ok_or("MPI cannot be initialized")?;
    let (name, network, loss, data, [batch_size, accumulation_steps], overlap) = case::<T>(number, seed)?;
    let updates = data.samples().div_ceil(batch_size * accumulation_steps);
    let epochs = 20_usize.div_ceil(updates);
    let settings = TrainConfig { batch_size, accumulation_steps, epochs, threads, seed, ..TrainConfig::default() };
    let transform = (SkipNonFinite::new(), ClipNorm::new(0.5), Adam::new(1e-2));
    let mut trainer = Trainer::new(network, loss, transform, settings)?;
    let parallel = DataParallel::<T>::new(rank);
    let (own, ranks) = (parallel.rank(), parallel.ranks());
    if ranks != expected {
        let reason = "`mpiexec` and the MPI library do not match";
        return Err(format!("one of {ranks} ranks instead of {expected}: {reason}").into());
    }
    trainer.set_data_parallel(if overlap { parallel.overlap() } else { parallel })?;
    trainer.fit(&data)?;
    if own == 0 {
        let bits = |w: &T| w.to_f64().unwrap_or(f64::NAN).to_bits();
        let mix = |hash: u64, w: &T| (hash ^ bits(w)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
        let hash = trainer.parameters().iter().chain(trainer.workspace().buffers()).fold(0xCBF2_9CE4_8422_2325, mix);
        let bits = 8 * size_of::<T>();
        println!("{ranks} ranks, {threads} threads, {bits} bits: {name}: hash {hash:016x}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = |name: &str| -> Result<u64, Box<dyn Error>> {
        let at = words.iter().position(|word| word == name).ok_or_else(|| format!("expected {name} and a number"))?;
        Ok(words.get(at + 1).ok_or_else(|| format!("{name} needs a number"))?.parse()?)
    };
    if words.first().is_some_and(|word| word == "--rank") {
        let train = if number("--bits")? == 32 { train::<f32> } else { train::<f64> };
        let [case, threads, ranks] = [number("--case")?, number("--threads")?, number("--ranks")?];
        return train(case as usize, threads as usize, ranks as usize, number("--seed")?);
    }
    let mut ranks = Command::new("mpiexec");
    ranks.args(["-n", &number("--ranks")?.to_string()]).arg(env::current_exe()?).arg("--rank").args(&words);
    let status = ranks.status().map_err(|error| format!("mpiexec: {error}; install mpich"))?;
    std::process::exit(status.code().unwrap_or(1));
}
