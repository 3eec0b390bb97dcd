//! Subsets of a data set: chosen samples, splits into two parts, and folds for cross-validation.

use super::{Dataset, targets::Targets};
use crate::{
    error::{Error, require},
    loss::Target,
    random::shuffle,
    scalar::Scalar,
    size::{grow, reserve},
};
use alloc::{borrow::Cow, vec, vec::Vec};
use core::ops::Range;

impl<T: Scalar> Dataset<'_, T> {
    /// Returns a data set with copies of the samples with the indices `chosen`, in the given order, with their
    /// targets and row weights. A sample may be chosen more than once.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] if `chosen` is empty; [`Error::Sample`] for a sample that the data does not have;
    /// [`Error::TooLarge`] if memory cannot hold the copies.
    pub fn select(&self, chosen: &[usize]) -> Result<Dataset<'static, T>, Error> {
        if chosen.is_empty() {
            return Err(Error::EmptyBatch);
        }
        if let Some(&sample) = chosen.iter().find(|&&sample| sample >= self.samples) {
            return Err(Error::Sample { sample, samples: self.samples });
        }
        let per_step = self.layout().targets_per_step();
        let inputs = Cow::Owned(self.chosen(chosen, &self.inputs, true)?);
        let targets = match self.targets() {
            None => Targets::None,
            Some(Target::Classes(all)) => Targets::Classes(Cow::Owned(self.chosen(chosen, all, per_step)?)),
            Some(Target::Values(all)) => Targets::Values(Cow::Owned(self.chosen(chosen, all, per_step)?)),
        };
        let weights = self.row_weights.as_deref().map(|all| {
            let owned = self.chosen(chosen, all, all.len() == self.rows)?;
            Ok::<_, Error>(Cow::Owned(owned))
        });
        let lengths: Vec<usize> = chosen.iter().map(|&sample| self.length_of(sample)).collect();
        let mut part = match self.lengths {
            None => Dataset::equal(self.width, self.steps, inputs, targets, self.per_sample)?,
            Some(_) => Dataset::unequal(self.width, Cow::Owned(lengths), inputs, targets)?,
        };
        part.row_weights = weights.transpose()?;
        // For these samples the number of targets may by chance look like one row per time step; this declares one
        // per sample.
        let by_chance = !per_step && part.layout().targets_per_step();
        part.per_sample = self.per_sample.or(by_chance.then_some(true));
        Ok(part)
    }

    /// Copies the rows of the samples with the indices `chosen` from `values`, which has one row for each time step
    /// if `per_step`, otherwise one for each sample.
    fn chosen<X: Copy>(&self, chosen: &[usize], values: &[X], per_step: bool) -> Result<Vec<X>, Error> {
        let width = values.len() / if per_step { self.rows } else { self.samples };
        let rows = |sample: usize| -> Range<usize> {
            let first = self.starts.get(sample).copied().unwrap_or(sample * self.steps);
            if per_step { first..first + self.length_of(sample) } else { sample..sample + 1 }
        };
        let mut all = Vec::new();
        for &sample in chosen {
            let Range { start, end } = rows(sample);
            grow("the chosen samples", &mut all, (end - start) * width)?;
            all.extend_from_slice(&values[start * width..end * width]);
        }
        Ok(all)
    }

    /// Returns the indices of all samples in a random order, which depends only on `seed` and the number of samples.
    fn shuffled(&self, seed: u64) -> Result<Vec<usize>, Error> {
        let mut order = self.in_order()?;
        shuffle(&mut order, seed, 0);
        Ok(order)
    }

    fn in_order(&self) -> Result<Vec<usize>, Error> {
        let mut order = reserve("the order of the samples", self.samples)?;
        order.extend(0..self.samples);
        Ok(order)
    }

    /// Splits the data at random. The first part has the fraction `share` of the samples, rounded to the nearest
    /// number, and the second part the rest. The choice depends only on `seed` and the number of samples.
    ///
    /// ```
    /// use chainrule::dataset::Dataset;
    /// let x: Vec<f32> = (0..10).map(|i| i as f32).collect();
    /// let (train, test) = Dataset::rows(1, &x, None)?.split(0.8, 1)?;
    /// assert_eq!((train.samples(), test.samples()), (8, 2));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 < `share` < 1; [`Error::Empty`] if a part would have no samples.
    /// [`Error::TooLarge`] if memory cannot hold the parts.
    pub fn split(&self, share: f64, seed: u64) -> Result<(Dataset<'static, T>, Dataset<'static, T>), Error> {
        self.cut(share, &self.shuffled(seed)?)
    }

    /// Splits the data in order: the first part has the first fraction `share` of the samples, and the second part
    /// the rest. Use it for samples in the order of time, if the last samples are to be predicted.
    ///
    /// # Errors
    /// The errors of [`split`](Self::split).
    pub fn split_in_order(&self, share: f64) -> Result<(Dataset<'static, T>, Dataset<'static, T>), Error> {
        self.cut(share, &self.in_order()?)
    }

    /// Splits the data at random, so that the first part has the fraction `share` of each class (a stratified split).
    ///
    /// Of a class of n samples, `share · n` are in the first part, rounded down or up by the method of largest
    /// remainders. In total the first part has as many samples as with [`split`](Self::split).
    ///
    /// # Errors
    /// The errors of [`split`](Self::split); [`Error::TargetKind`] unless there is one class per sample.
    pub fn split_by_class(&self, share: f64, seed: u64) -> Result<(Dataset<'static, T>, Dataset<'static, T>), Error> {
        let classes = match self.targets() {
            Some(Target::Classes(classes)) if classes.len() == self.samples => classes,
            other => {
                let found = match other {
                    None => "no targets",
                    Some(Target::Classes(_)) => "a class for each step",
                    Some(Target::Values(_)) => "values",
                };
                let (loss, expected) = ("a split by class", "one class a sample");
                return Err(Error::TargetKind { loss, expected, found });
            }
        };
        let first = self.first_part(share)?;
        // Labels may be any numbers, so they are sorted, not counted.
        let mut order = self.shuffled(seed)?;
        let mut by_class = order.clone();
        by_class.sort_by_key(|&sample| classes[sample]);
        let mut groups: Vec<(f64, usize, &[usize])> = Vec::new();
        for group in by_class.chunk_by(|&a, &b| classes[a] == classes[b]) {
            let quota = share * group.len() as f64;
            let whole = libm::floor(quota);
            groups.push((quota - whole, whole as usize, group));
        }
        let missing = first.saturating_sub(groups.iter().map(|(_, whole, _)| whole).sum());
        groups.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut in_first = vec![false; self.samples];
        for (i, &(remainder, whole, group)) in groups.iter().enumerate() {
            let taken = whole + usize::from(i < missing && remainder > 0.0);
            group.iter().take(taken).for_each(|&sample| in_first[sample] = true);
        }
        // A stable sort keeps the shuffled order within both parts.
        order.sort_by_key(|&sample| !in_first[sample]);
        let first = in_first.iter().filter(|&&first| first).count();
        Ok((self.part(&order[..first])?, self.part(&order[first..])?))
    }

    /// Splits the data for cross-validation: fold `fold` of `folds` is the part for testing, and all other folds are
    /// the part for training, returned first. Folds are random, but the same in every call with the same `seed`. Each
    /// sample is in one fold, and the sizes of two folds differ by at most 1.
    ///
    /// # Errors
    /// [`Error::Parameter`] for fewer than 2 `folds`, more folds than samples, or a `fold` that is not below `folds`;
    /// [`Error::TooLarge`] if memory cannot hold the parts.
    pub fn fold(
        &self,
        folds: usize,
        fold: usize,
        seed: u64,
    ) -> Result<(Dataset<'static, T>, Dataset<'static, T>), Error> {
        require(
            (2..=self.samples).contains(&folds),
            "the number of folds",
            "2 to the number of samples",
            folds as f64,
        )?;
        require(fold < folds, "the fold", "below the number of folds", fold as f64)?;
        let order = self.shuffled(seed)?;
        // The first folds have one sample more if the number of samples is not a multiple of `folds`.
        let (each, more) = (self.samples / folds, self.samples % folds);
        let begin = |fold: usize| fold * each + fold.min(more);
        let (start, end) = (begin(fold), begin(fold + 1));
        let others = [&order[..start], &order[end..]].concat();
        Ok((self.select(&others)?, self.select(&order[start..end])?))
    }

    /// Returns the number of samples in the first part of a split: the fraction `share` of all samples, rounded to
    /// the nearest number. Returns an error unless 0 < `share` < 1.
    fn first_part(&self, share: f64) -> Result<usize, Error> {
        require(share > 0.0 && share < 1.0, "the share of a split", "between 0 and 1", share)?;
        Ok(libm::round(share * self.samples as f64) as usize)
    }

    fn cut(&self, share: f64, order: &[usize]) -> Result<(Dataset<'static, T>, Dataset<'static, T>), Error> {
        let (first, second) = order.split_at(self.first_part(share)?);
        Ok((self.part(first)?, self.part(second)?))
    }

    fn part(&self, chosen: &[usize]) -> Result<Dataset<'static, T>, Error> {
        if chosen.is_empty() { Err(Error::Empty { what: "one part of the split" }) } else { self.select(chosen) }
    }
}
