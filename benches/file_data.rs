//! Memory of an epoch over data that does not fit: samples of 1,024 values in a file.
//!
//! `cargo bench --bench file_data -- [GIGABYTES]` writes a sparse file of zeros, and trains one epoch of a linear map
//! on it, shuffled in blocks of 4,096 samples. It prints the time and the peak of resident memory, and fails if that is
//! above 200 MB.

mod memory;

use chainrule::{
    Error,
    dataset::{FileDataset, FileTargets, FileTensor},
    layer::Sequential,
    loss::MeanSquaredError,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
};
use std::{
    fs::File,
    io::{Result, Write},
    path::{Path, PathBuf},
    time::Instant,
};

const WIDTH: u64 = 1024;

/// A file of numpy's format with zeros of `f32`.
fn zeros(path: &Path, [samples, width]: [u64; 2]) -> Result<PathBuf> {
    let mut file = File::create(path)?;
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({samples}, {width}), }}\n");
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.set_len(10 + header.len() as u64 + 4 * samples * width)?;
    Ok(path.into())
}

fn train(folder: &Path, samples: u64) -> std::result::Result<(), Error> {
    let make = |name: &str, width| zeros(&folder.join(name), [samples, width]).expect("a file");
    let inputs = FileTensor::<f32>::npy(make("x.npy", WIDTH))?;
    let data = FileDataset::new(inputs, FileTargets::Values(FileTensor::npy(make("y.npy", 1))?))?;
    let network = Sequential::input(WIDTH as usize).linear(1).build()?;
    let settings = TrainConfig { batch_size: 256, epochs: 1, shuffle_block: Some(4096), ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.01), settings)?;
    let start = Instant::now();
    let epochs = trainer.fit(&data)?;
    println!("{} updates of 256 samples: {:.2} s", epochs[0].steps, start.elapsed().as_secs_f64());
    Ok(())
}

fn main() {
    let gigabytes = std::env::args().find_map(|word| word.parse::<u64>().ok()).unwrap_or(4);
    let folder = std::env::temp_dir().join(format!("chainrule-file-data-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let done = train(&folder, gigabytes * 1_000_000_000 / (4 * WIDTH));
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
    done.expect("an epoch");
    memory::check(Some(0.0), 200e6);
}
