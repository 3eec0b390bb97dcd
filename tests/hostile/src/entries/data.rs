//! Data and batches.

use super::entry;
use crate::{
    Entry,
    case::{Case, Verdict, ensure},
};
use chainrule::{
    dataset::{Batch, Dataset},
    loss::Target,
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
