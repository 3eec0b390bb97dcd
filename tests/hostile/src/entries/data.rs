//! Data and batches.

use super::entry;
use crate::{
    Entry,
    case::{Case, Fault, Taste, Verdict, ensure},
};
use chainrule::{
    dataset::{
        ArrayTarget, Batch, Dataset, FileDataset, FileTargets, FileTensor, Standardize, Windows, encode_labels,
        mask_lengths, one_hot, unpad,
    },
    loss::Target,
    ndarray::ArrayD,
};

pub fn entries() -> Vec<Entry> {
    vec![
        entry(8, &["dataset::Dataset::rows", "dataset::Batch::new", "dataset::Batch::gather"], &[], |c| {
            let (width, samples) = (c.width(), c.few());
            let inputs: Vec<f32> = c.slice(width.saturating_mul(samples));
            let targets = targets(c, samples);
            let data = Dataset::rows(width, &inputs, targets.target())?;
            ensure(data.samples() as u128 * width as u128 == inputs.len() as u128, || {
                format!("{} samples of width {width} in {}", data.samples(), inputs.len())
            })?;
            targets.check()?;
            ensure(inputs.iter().all(|x| x.is_finite()), || "an input that is not finite is accepted".into())?;
            gathered(c, &data)
        }),
        entry(
            4,
            &["dataset::Dataset::from_array", "dataset::ArrayTarget::classes", "dataset::ArrayTarget::values"],
            &[],
            |c| {
                let array = |c: &mut Case| {
                    let shape: Vec<usize> = (0..c.below(5)).map(|_| c.below(4)).collect();
                    let values: Vec<f32> = c.values(shape.iter().product(), Taste::Mild);
                    ArrayD::from_shape_vec(shape, values).map_err(|error| Fault::Refused(error.to_string()))
                };
                let (inputs, values) = (array(c)?, array(c)?);
                let classes = values.map(|_| 1_usize);
                // Reversed axes are not in standard layout.
                let (inputs, values) = if c.flag() { (inputs.t(), values.t()) } else { (inputs.view(), values.view()) };
                let targets = match c.below(3) {
                    0 => None,
                    1 => Some(ArrayTarget::classes(if c.flag() { classes.t() } else { classes.view() })),
                    _ => Some(ArrayTarget::values(values)),
                };
                let data = Dataset::from_array(inputs.clone(), targets)?;
                ensure(data.inputs().iter().eq(inputs.iter()), || format!("{inputs:?} {data:?}"))?;
                ensure(data.samples() == inputs.shape()[0], || format!("{data:?}"))?;
                gathered(c, &data)
            },
        ),
        entry(8, &["dataset::Dataset::sequences"], &[], |c| {
            let (width, steps, samples) = (c.width(), c.width(), c.few());
            let inputs: Vec<f64> = c.slice(width.saturating_mul(samples).saturating_mul(steps));
            let rows = samples.saturating_mul(steps);
            let n = if c.flag() { samples } else { rows };
            let targets = targets(c, n);
            let data = Dataset::sequences(width, steps, &inputs, targets.target())?;
            let truth = data.samples() as u128 * width as u128 * steps as u128;
            ensure(truth == inputs.len() as u128, || {
                format!("{} samples of {steps} × {width} in {}", data.samples(), inputs.len())
            })?;
            targets.check()?;
            ensure(inputs.iter().all(|x| x.is_finite()), || "an input that is not finite is accepted".into())?;
            gathered(c, &data)
        }),
        entry(8, &["dataset::Dataset::ragged"], &[], |c| {
            let width = c.width();
            let lengths: Vec<usize> = (0..c.few()).map(|_| if c.once_in(8) { c.size() } else { c.few() }).collect();
            let rows: u128 = lengths.iter().map(|&length| length as u128).sum();
            let right = rows.saturating_mul(width as u128).min(1 << 16) as usize;
            let inputs: Vec<f32> = c.slice(right);
            let n = if c.flag() { lengths.len() } else { rows.min(1 << 16) as usize };
            let targets = targets(c, n);
            let data = Dataset::ragged(width, &lengths, &inputs, targets.target())?;
            ensure(rows * width as u128 == inputs.len() as u128 && width > 0, || {
                format!("{rows} rows of {width} in {}", inputs.len())
            })?;
            targets.check()?;
            ensure(inputs.iter().all(|x| x.is_finite()), || "an input that is not finite is accepted".into())?;
            gathered(c, &data)
        }),
        entry(
            8,
            &[
                "dataset::FileTensor::npy",
                "dataset::FileTensor::safetensors",
                "dataset::FileDataset::new",
                "dataset::FileDataset::row_weights",
                "dataset::FileTargets {}",
            ],
            &[],
            |c| {
                let folder = tempfile::tempdir().map_err(|error| Fault::Refused(error.to_string()))?;
                let path = folder.path().join("data");
                let (samples, steps, width) = (c.few(), c.few(), c.few());
                let values = [samples, steps, width].iter().product::<usize>();
                let shape = if c.once_in(3) { [c.size(), steps, width] } else { [samples, steps, width] };
                let descr = c.of(&["<f4", "<f4", "<f4", "<f8", "<i8", ">f4", "", "|u1", "<f18446744073709551615"]);
                let mut bytes = match c.flag() {
                    true => {
                        let [a, b, d] = shape;
                        let order = if c.once_in(6) { "True" } else { "False" };
                        let header =
                            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({a}, {b}, {d}), }}\n");
                        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
                        bytes.extend((header.len() as u16).to_le_bytes());
                        bytes.extend(header.as_bytes());
                        bytes
                    }
                    false => {
                        let end = if c.once_in(4) { c.size() } else { 4 * values };
                        let dtype = c.of(&["F32", "F32", "F64", "BF16", "U8", "F0", "F"]);
                        let tensor = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [0, end] });
                        let header = serde_json::json!({ "x": tensor }).to_string();
                        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
                        bytes.extend(header.as_bytes());
                        bytes
                    }
                };
                bytes.extend(c.slice::<f32>(values).iter().flat_map(|value| value.to_le_bytes()));
                for _ in 0..if c.once_in(3) { 1 + c.few() } else { 0 } {
                    let at = c.below(bytes.len());
                    bytes[at] ^= 1 << c.below(8);
                }
                bytes.truncate(if c.once_in(4) { c.below(bytes.len() + 1) } else { bytes.len() });
                std::fs::write(&path, &bytes).map_err(|error| Fault::Refused(error.to_string()))?;
                let read = |npy: bool| match npy {
                    true => FileTensor::<f32>::npy(&path),
                    false => FileTensor::<f32>::safetensors(&path, "x"),
                };
                let npy = bytes.starts_with(b"\x93");
                let (inputs, targets) = (read(npy)?, read(npy)?);
                let _ = format!("{inputs:?} {:?}", read(!npy));
                let samples = inputs.shape()[0];
                let mut data = FileDataset::new(inputs, FileTargets::Values(targets))?;
                if c.once_in(4) {
                    data = data.row_weights(read(npy)?)?;
                }
                let _ = format!("{data:?}");
                ensure(data.samples() == samples && samples > 0, || format!("{samples} samples"))?;
                let mut batch = Batch::new(&data, 4);
                let chosen: Vec<usize> = (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.few() }).collect();
                batch.gather(&data, &chosen, c.flag())?;
                ensure(batch.x().iter().all(|x| x.is_finite()), || "an input that is not finite is accepted".into())
            },
        ),
        entry(4, &["dataset::Dataset::row_weights"], &[], |c| {
            let inputs = [0.5_f32; 12];
            let classes = [0, 1, 0, 1];
            let data = Dataset::sequences(1, 3, &inputs, Target::Classes(&classes))?;
            let n = c.of(&[0_usize, 1, 3, 4, 5, 12]);
            let taste = c.taste();
            let weights = c.values::<f32>(n, taste);
            let data = data.row_weights(&weights)?;
            gathered(c, &data)
        }),
        entry(4, &["dataset::Dataset::from_rows", "dataset::Dataset::from_sequences"], &[], |c| {
            let (width, samples) = (c.width(), c.few());
            let rows: Vec<Vec<f32>> = (0..samples).map(|_| c.slice(width.saturating_mul(2))).collect();
            let targets = targets(c, samples);
            let data = if c.flag() {
                Dataset::from_rows(&rows, targets.target())?
            } else {
                Dataset::from_sequences(width, &rows, targets.target())?
            };
            ensure(data.samples() == samples && data.inputs() == rows.concat(), || format!("{data:?} of {rows:?}"))?;
            gathered(c, &data)
        }),
        entry(
            6,
            &[
                "dataset::Dataset::select",
                "dataset::Dataset::split",
                "dataset::Dataset::split_in_order",
                "dataset::Dataset::split_by_class",
                "dataset::Dataset::fold",
            ],
            &[],
            |c| {
                let lengths: Vec<usize> = (0..1 + c.few()).map(|_| 1 + c.below(3)).collect();
                let rows: usize = lengths.iter().sum();
                let inputs: Vec<f32> = c.values(rows, Taste::Mild);
                let count = if c.flag() { rows } else { lengths.len() };
                let targets = targets(c, count);
                let data = if c.flag() {
                    Dataset::ragged(1, &lengths, &inputs, targets.target())?
                } else {
                    Dataset::rows(1, &inputs, targets.target())?
                };
                let data = if c.once_in(4) { data.one_target_a_sample()? } else { data };
                let (share, seed) = (c.about(0.5), c.word());
                let (first, second) = match c.below(5) {
                    0 => data.split(share, seed)?,
                    1 => data.split_in_order(share)?,
                    2 => data.split_by_class(share, seed)?,
                    3 => data.fold(if c.flag() { 2 } else { c.size() }, c.few(), seed)?,
                    _ => {
                        let some = |c: &mut Case| -> Vec<usize> {
                            (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.few() }).collect()
                        };
                        let chosen = some(c);
                        let part = data.select(&chosen)?;
                        ensure(part.samples() == chosen.len(), || format!("{part:?} of {chosen:?}"))?;
                        return gathered(c, &part);
                    }
                };
                ensure(first.samples() + second.samples() == data.samples(), || format!("{first:?} {second:?}"))?;
                gathered(c, &first)?;
                gathered(c, &second)
            },
        ),
        entry(1, &["dataset::Dataset::length"], &["there is no sample"], |c| {
            let data = Dataset::rows(1, &[0.0_f32; 3], None)?;
            let sample = c.size();
            let length = data.length(sample);
            ensure(length == 1 && sample < 3, || format!("{length} steps of sample {sample}"))
        }),
        entry(
            4,
            &[
                "dataset::Windows::new",
                "dataset::Windows::stride",
                "dataset::Windows::ahead",
                "dataset::Windows::target_columns",
                "dataset::Windows::of",
            ],
            &[],
            |c| {
                let odd = |c: &mut Case| if c.once_in(4) { c.size() } else { 1 + c.below(3) };
                let width = c.width();
                let mut windows = Windows::new(odd(c)).stride(odd(c)).ahead(odd(c));
                if c.flag() {
                    windows = windows.every_step();
                }
                if c.once_in(3) {
                    windows = windows.target_columns(c.few()..c.size());
                }
                let series = c.slice::<f32>(width.saturating_mul(6));
                let data = windows.of(width, &series)?;
                ensure(data.inputs().iter().all(|x| series.contains(x)), || format!("{data:?}"))?;
                gathered(c, &data)
            },
        ),
        entry(1, &["dataset::encode_labels"], &[], |c| {
            let labels: Vec<String> = (0..c.few()).map(|_| format!("{}", c.size())).collect();
            let (classes, names) = encode_labels(&labels);
            let same = classes.iter().zip(&labels).all(|(&class, label)| names[class] == *label);
            ensure(same && classes.len() == labels.len(), || format!("{classes:?} of {names:?}"))
        }),
        entry(3, &["dataset::mask_lengths", "dataset::unpad", "dataset::one_hot"], &[], |c| {
            let steps = if c.once_in(4) { c.size() } else { c.few() };
            if c.flag() {
                let labels: Vec<usize> = (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.few() }).collect();
                let rows = one_hot::<f32>(steps, &labels)?;
                return ensure(rows.iter().sum::<f32>() == labels.len() as f32, || format!("{rows:?}"));
            }
            let mask: Vec<bool> = (0..c.length(steps.min(64) * 2)).map(|_| !c.once_in(4)).collect();
            let masked = mask_lengths(steps, &mask);
            let lengths = match masked {
                Ok(lengths) if c.flag() => lengths,
                _ => (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.few() }).collect(),
            };
            let values = c.slice::<f32>(steps.min(64).saturating_mul(lengths.len()).saturating_mul(2));
            let kept = unpad(steps, &lengths, &values)?;
            ensure(kept.len() <= values.len(), || format!("{} of {}", kept.len(), values.len()))
        }),
        entry(
            4,
            &[
                "dataset::Standardize::of",
                "dataset::Standardize::apply",
                "dataset::Standardize::invert",
                "dataset::Standardize::from_columns",
                "dataset::Standardize::fit",
                "dataset::Standardize::fit_targets",
                "dataset::Standardize::inputs",
                "dataset::Standardize::targets",
            ],
            &[],
            |c| {
                let width = c.width();
                let scale = if c.flag() {
                    Standardize::of(width, &c.slice::<f32>(width.saturating_mul(3)))?
                } else {
                    Standardize::from_columns((0..c.few()).map(|_| [c.real(), c.real().abs()]).collect())?
                };
                let inputs = c.values::<f32>(6, Taste::Mild);
                let targets = targets(c, 3);
                if let Ok(data) = Dataset::rows(2, &inputs, targets.target()) {
                    let scaled = [scale.inputs(&data), scale.targets(&data)];
                    for data in scaled.into_iter().flatten() {
                        ensure(data.inputs().iter().all(|x| x.is_finite()), || "a scaled input is not finite".into())?;
                    }
                    Standardize::fit(&data)?.inputs(&data)?;
                    let _ = Standardize::fit_targets(c.width(), &data).map(|scale| scale.width());
                }
                let mut other = c.slice::<f32>(width.saturating_mul(2));
                let taken = if c.flag() { scale.apply(&mut other) } else { scale.invert(&mut other) };
                ensure(taken.is_err() || scale.width() == 0 || other.len().is_multiple_of(scale.width()), || {
                    format!("{} values of width {}", other.len(), scale.width())
                })?;
                Ok(taken?)
            },
        ),
    ]
}

pub struct Targets<T> {
    classes: Option<Vec<usize>>,
    values: Vec<T>,
}

impl<T: chainrule::Scalar> Targets<T> {
    pub fn target(&self) -> Target<'_, T> {
        match &self.classes {
            Some(classes) => Target::Classes(classes),
            None => Target::Values(&self.values),
        }
    }

    fn check(&self) -> Verdict {
        let finite = self.classes.is_some() || self.values.iter().all(|x| x.is_finite());
        ensure(finite, || "a target that is not finite is accepted".into())
    }
}

pub fn targets<T: chainrule::Scalar>(c: &mut Case, rows: usize) -> Targets<T> {
    if c.flag() {
        let classes = (0..c.length(rows)).map(|_| if c.once_in(6) { c.size() } else { c.below(2) }).collect();
        return Targets { classes: Some(classes), values: Vec::new() };
    }
    let width = c.of(&[1_usize, 2, 3]);
    Targets { classes: None, values: c.slice(rows.saturating_mul(width)) }
}

fn gathered<T: chainrule::Scalar>(c: &mut Case, data: &Dataset<'_, T>) -> Verdict {
    let room = if c.flag() { c.size() } else { c.few() };
    let mut batch = Batch::new(data, room);
    for _ in 0..2 {
        let samples: Vec<usize> = (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.few() }).collect();
        let known = samples.iter().all(|&sample| sample < data.samples());
        let per_step = c.flag();
        let done = batch.gather(data, &samples, per_step);
        ensure(done.is_err() || known, || format!("{samples:?} of {}", data.samples()))?;
        if done.is_ok() {
            let rows = batch.shape().rows();
            ensure(batch.x().len() == rows * data.width(), || "an input of another size".into())?;
            let _ = (batch.target(), batch.row_weights().map(<[T]>::len), batch.samples().len());
        }
    }
    let _ = format!("{batch:?} {data:?}");
    Ok(())
}
