//! Handwritten digits on several ranks: `--ranks 4 --seed 1` starts four processes by `mpiexec` and prints the accuracy
//! on samples that training has not seen, and a hash of the parameters. Both are the same for any number of ranks.
//!
//! `--deadline S` sets the deadline in seconds, and `--save PATH` lets rank 0 save a checkpoint after each epoch, from
//! which a run continues.

use chainrule::{
    activation::Relu,
    dataset::Dataset,
    distributed::DataParallel,
    layer::Sequential,
    loss::{CrossEntropy, Target},
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
};
use chainrule_mpi::Mpi;
use flate2::read::GzDecoder;
use std::{env, error::Error, fs::File, io::Read as _, path::Path, process::Command, time::Duration};

/// Images and labels.
type Digits = (Vec<f32>, Vec<usize>);

/// The digits to train on, and every fifth for the accuracy.
fn digits() -> Result<[Digits; 2], Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/digits.csv.gz");
    let (mut text, mut found) = (String::new(), [Digits::default(), Digits::default()]);
    GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
    for (i, line) in text.lines().enumerate() {
        let (pixels, class) = line.rsplit_once(',').ok_or("a line without a label")?;
        let (x, classes) = &mut found[usize::from(i % 5 == 0)];
        for pixel in pixels.split(',') {
            x.push(pixel.parse::<f32>()? / 16.0);
        }
        classes.push(class.parse()?);
    }
    Ok(found)
}

struct Arguments {
    ranks: usize,
    seed: u64,
    epochs: usize,
    deadline: u64,
    save: Option<String>,
    /// Whether this is a process that `mpiexec` started.
    is_rank: bool,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut found = Arguments { ranks: 2, seed: 1, epochs: 20, deadline: 60, save: None, is_rank: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--rank" {
            found.is_rank = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--ranks" => found.ranks = value.parse()?,
            "--seed" => found.seed = value.parse()?,
            "--epochs" => found.epochs = value.parse()?,
            "--deadline" => found.deadline = value.parse()?,
            "--save" => found.save = Some(value),
            _ => return Err(format!("expected --ranks, --seed, --epochs, --deadline or --save, found {word}").into()),
        }
    }
    Ok(found)
}

/// The error of a process that has `found` ranks, of which `mpiexec` started `expected`.
fn alone(found: usize, expected: usize) -> Box<dyn Error> {
    format!("one of {found} ranks instead of {expected}: `mpiexec` and the MPI library do not match").into()
}

fn train(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let rank = Mpi::new().ok_or("MPI cannot be initialized")?.deadline(Duration::from_secs(arguments.deadline));
    let [train, test] = digits()?;
    let data = Dataset::rows(64, &train.0, Target::Classes(&train.1))?;
    let unseen = Dataset::rows(64, &test.0, Target::Classes(&test.1))?;
    let network = Sequential::<f32>::input(64).linear(96).activation(Relu).dropout(0.2).linear(10).build()?;
    let settings = TrainConfig { epochs: 1, seed: arguments.seed, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, CrossEntropy::new(), (ClipNorm::new(1.0), Adam::new(2e-3)), settings)?;
    let parallel = DataParallel::new(rank);
    let (own, ranks) = (parallel.rank(), parallel.ranks());
    if ranks != arguments.ranks {
        return Err(alone(ranks, arguments.ranks));
    }
    trainer.set_data_parallel(parallel)?;
    if let Some(path) = arguments.save.as_ref().filter(|path| Path::new(path).exists()) {
        let differences = trainer.load(path)?;
        differences.iter().for_each(|difference| eprintln!("{difference}"));
    }
    // `fit` trains for one epoch at a time, so that the file is that of a whole run.
    while trainer.optimizer().steps() < (arguments.epochs * data.samples().div_ceil(settings.batch_size)) as u64 {
        trainer.fit(&data)?;
        if let (0, Some(path)) = (own, &arguments.save) {
            trainer.save(path)?;
        }
    }
    let accuracy = trainer.evaluate(&unseen)?.accuracy.unwrap_or(0.0);
    if own == 0 {
        let mix = |hash: u64, w: &f32| (hash ^ u64::from(w.to_bits())).wrapping_mul(0x0000_0100_0000_01B3);
        let hash = trainer.parameters().iter().fold(0xCBF2_9CE4_8422_2325, mix);
        println!("{ranks} ranks: accuracy {:.1} %, hash {hash:016x}", 100.0 * accuracy);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    if arguments.is_rank {
        return train(&arguments);
    }
    let mut ranks = Command::new("mpiexec");
    ranks.args(["-n", &arguments.ranks.to_string()]).arg(env::current_exe()?).arg("--rank").args(env::args().skip(1));
    let status = ranks.status().map_err(|error| format!("mpiexec: {error}; install mpich"))?;
    std::process::exit(status.code().unwrap_or(1));
}
