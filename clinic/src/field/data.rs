//! Real tables, images and series as rows and sequences.

use super::made::of_data;
use crate::data::Table;
use chainrule::{dataset::Standardize, loss::Target, random::shuffle};

/// The targets of all samples.
#[derive(Clone, Debug)]
pub enum Targets {
    Classes(Vec<usize>),
    Values(usize, Vec<f32>),
}

/// Samples of one data set.
#[derive(Clone, Debug)]
pub struct Data {
    pub x: Vec<f32>,
    pub y: Targets,
    pub width: usize,
    /// The steps of the longest sample.
    pub steps: usize,
    /// The steps of each sample, the longest first, where they differ.
    pub lengths: Option<Vec<usize>>,
    /// The weight of each sample in the loss.
    pub weights: Option<Vec<f32>>,
    /// Whether inputs are indices of rows of a table.
    pub has_indices: bool,
}

impl Data {
    /// Sequences of equal lengths.
    pub fn new(x: Vec<f32>, y: Targets, width: usize, steps: usize) -> Self {
        Data { x, y, width, steps, lengths: None, weights: None, has_indices: false }
    }

    pub fn samples(&self) -> usize {
        self.lengths.as_ref().map_or(self.x.len() / (self.width * self.steps), Vec::len)
    }

    /// Whether there is a target for each step.
    pub fn is_per_step(&self) -> bool {
        match &self.y {
            Targets::Classes(classes) => classes.len() > self.samples(),
            Targets::Values(width, values) => values.len() / width > self.samples(),
        }
    }

    /// The number of classes, or of target values in a row.
    pub fn outputs(&self) -> usize {
        match &self.y {
            Targets::Classes(classes) => classes.iter().max().map_or(0, |class| class + 1),
            Targets::Values(width, _) => *width,
        }
    }

    /// The samples in this order, with their targets.
    pub fn in_order(self, order: &[usize]) -> Self {
        let count = self.samples();
        let each = |values: &[f32]| -> Vec<f32> {
            let length = values.len() / count;
            order.iter().flat_map(|&sample| values[sample * length..][..length].iter().copied()).collect()
        };
        let y = match &self.y {
            Targets::Classes(classes) => Targets::Classes(order.iter().map(|&sample| classes[sample]).collect()),
            Targets::Values(width, y) => Targets::Values(*width, each(y)),
        };
        Data { x: each(&self.x), y, weights: self.weights.as_deref().map(each), ..self }
    }

    /// The samples in the order of a number.
    pub fn by(self, number: impl Fn(usize) -> f32) -> Self {
        let mut order: Vec<usize> = (0..self.samples()).collect();
        order.sort_by(|&a, &b| number(a).total_cmp(&number(b)));
        self.in_order(&order)
    }

    pub fn targets(&self) -> Target<'_, f32> {
        match &self.y {
            Targets::Classes(classes) => Target::Classes(classes),
            Targets::Values(_, values) => Target::Values(values),
        }
    }

    pub fn scaled(mut self, by: f32) -> Self {
        self.x.iter_mut().for_each(|x| *x *= by);
        self
    }

    pub fn targets_scaled(mut self, by: f32) -> Self {
        if let Targets::Values(_, values) = &mut self.y {
            values.iter_mut().for_each(|y| *y *= by);
        }
        self
    }

    /// The samples in the order of their classes.
    pub fn sorted(self) -> Self {
        let Targets::Classes(classes) = self.y.clone() else { return self };
        self.by(|sample| classes[sample] as f32)
    }

    /// One sample with its inputs times a factor, or with targets of this value.
    pub fn wild(mut self, sample: usize, inputs: f32, targets: Option<f32>) -> Self {
        let values = self.width * self.steps;
        self.x[sample * values..][..values].iter_mut().for_each(|x| *x *= inputs);
        if let (Targets::Values(width, y), Some(value)) = (&mut self.y, targets) {
            y[sample * *width..][..*width].fill(value);
        }
        self
    }

    /// The classes of so many samples in ten exchanged among them.
    pub fn noisy_labels(mut self, tenths: usize, seed: u64) -> Self {
        if let Targets::Classes(classes) = &mut self.y {
            let chosen: Vec<usize> = (0..classes.len()).filter(|i| i % 10 < tenths).collect();
            let mut order = chosen.clone();
            shuffle(&mut order, of_data(seed), 0);
            let old = classes.clone();
            chosen.iter().zip(&order).for_each(|(&to, &from)| classes[to] = old[from]);
        }
        self
    }

    /// The samples whose class `keeps` accepts, or of values those of a number below `most`.
    pub fn only(self, most: usize, keeps: impl Fn(usize) -> bool) -> Self {
        let values = self.width * self.steps;
        let count = self.x.len() / values;
        let class = |sample: usize| match &self.y {
            Targets::Classes(classes) => classes[sample],
            Targets::Values(..) => 0,
        };
        let kept: Vec<usize> = (0..count).filter(|&sample| keeps(class(sample))).take(most).collect();
        let x = kept.iter().flat_map(|&sample| self.x[sample * values..][..values].iter().copied()).collect();
        let y = match &self.y {
            Targets::Classes(_) => Targets::Classes(kept.iter().map(|&sample| class(sample)).collect()),
            Targets::Values(width, y) => {
                let of = |sample: usize| y[sample * width..][..*width].iter().copied();
                Targets::Values(*width, kept.iter().flat_map(|&sample| of(sample)).collect())
            }
        };
        Data { x, y, ..self }
    }

    /// Adds a number to the targets that are values.
    pub fn targets_moved(mut self, by: f32) -> Self {
        if let Targets::Values(_, y) = &mut self.y {
            y.iter_mut().for_each(|y| *y += by);
        }
        self
    }

    /// The targets of each sample are those of the one before.
    pub fn shifted_targets(mut self) -> Self {
        match &mut self.y {
            Targets::Classes(classes) => classes.rotate_right(1),
            Targets::Values(width, y) => y.rotate_right(*width),
        }
        self
    }

    /// The numbers of the classes, exchanged pairwise: 0 is 1, and 1 is 0.
    pub fn exchanged_labels(mut self) -> Self {
        if let Targets::Classes(classes) = &mut self.y {
            classes.iter_mut().for_each(|class| *class ^= 1);
        }
        self
    }

    /// The numbers of the classes as values of mean 0 and variance 1.
    pub fn classes_as_values(self) -> Self {
        let Targets::Classes(classes) = &self.y else { return self };
        let y = Targets::Values(1, unit(1, classes.iter().map(|&class| class as f32).collect()));
        Data { y, ..self }
    }

    /// The product of two columns as the target, of mean 0 and variance 1.
    pub fn product_of(self, columns: [usize; 2]) -> Self {
        let y = self.x.chunks(self.width).map(|row| row[columns[0]] * row[columns[1]]).collect();
        Data { y: Targets::Values(1, unit(1, y)), ..self }
    }

    /// The columns that `is` accepts replaced by those of other samples.
    pub fn exchanged_columns(mut self, seed: u64, is: impl Fn(usize) -> bool) -> Self {
        let (width, count) = (self.width, self.x.len() / self.width);
        let old = self.x.clone();
        for column in (0..width).filter(|&column| is(column)) {
            let mut order: Vec<usize> = (0..count).collect();
            shuffle(&mut order, of_data(seed), column as u64);
            order.iter().enumerate().for_each(|(row, &from)| self.x[row * width + column] = old[from * width + column]);
        }
        self
    }

    /// The last steps of each sequence at 0.
    pub fn without_last_steps(mut self, steps: usize) -> Self {
        let (length, rest) = (self.width * self.steps, self.width * steps);
        self.x.chunks_mut(length).for_each(|sample| sample[length - rest..].fill(0.0));
        self
    }

    /// All inputs those of the first `count` samples, in turn.
    pub fn repeated(mut self, count: usize) -> Self {
        let values = self.width * self.steps;
        let first = self.x[..count * values].to_vec();
        self.x.chunks_mut(count * values).for_each(|part| part.copy_from_slice(&first[..part.len()]));
        self
    }

    pub fn shuffled_labels(mut self, seed: u64) -> Self {
        if let Targets::Classes(classes) = &mut self.y {
            let mut order: Vec<usize> = (0..classes.len()).collect();
            shuffle(&mut order, of_data(seed), 0);
            *classes = order.iter().map(|&i| classes[i]).collect();
        }
        self
    }
}

/// A table of numbers, its last column the class or the target.
struct Raw {
    width: usize,
    x: Vec<f32>,
    last: Vec<f32>,
}

impl Raw {
    fn of(text: &str) -> Self {
        let (mut raw, seed) = (Raw { width: 0, x: Vec::new(), last: Vec::new() }, 1);
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            rows.push(line.split(',').map(|value| value.parse().expect("a number")).collect());
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        shuffle(&mut order, seed, 0);
        for &i in &order {
            let (last, row) = rows[i].split_last().expect("a row");
            raw.width = row.len();
            raw.x.extend_from_slice(row);
            raw.last.push(*last);
        }
        raw
    }

    fn classes(&self, standardized: bool) -> Data {
        let y = Targets::Classes(self.last.iter().map(|&class| class as usize).collect());
        let x = if standardized { unit(self.width, self.x.clone()) } else { self.x.clone() };
        Data::new(x, y, self.width, 1)
    }
}

pub fn unit(width: usize, mut x: Vec<f32>) -> Vec<f32> {
    let columns = Standardize::of(width, &x).expect("finite rows");
    columns.apply(&mut x).expect("whole rows");
    x
}

/// All data sets.
pub struct Tables {
    iris: Raw,
    wine: Raw,
    cancer: Raw,
    diabetes: Raw,
    digits: Table,
    sunspots: Vec<f32>,
}

impl Tables {
    pub fn read() -> Result<Self, Box<dyn std::error::Error>> {
        let sunspots = crate::data::sunspots()?.iter().map(|&number| number as f32).collect();
        Ok(Tables {
            iris: Raw::of(include_str!("../../data/iris.csv")),
            wine: Raw::of(include_str!("../../data/wine.csv")),
            cancer: Raw::of(include_str!("../../data/breast-cancer.csv")),
            diabetes: Raw::of(include_str!("../../data/diabetes.csv")),
            digits: crate::data::digits()?,
            sunspots: unit(1, sunspots),
        })
    }

    pub fn iris(&self) -> Data {
        self.iris.classes(true)
    }
    pub fn wine(&self) -> Data {
        self.wine.classes(true)
    }
    pub fn cancer(&self) -> Data {
        self.cancer.classes(true)
    }
    pub fn cancer_raw(&self) -> Data {
        self.cancer.classes(false)
    }

    /// Targets of mean 0 and variance 1.
    pub fn diabetes(&self) -> Data {
        let x = unit(self.diabetes.width, self.diabetes.x.clone());
        Data::new(x, Targets::Values(1, unit(1, self.diabetes.last.clone())), self.diabetes.width, 1)
    }

    /// Targets as they are, times a factor.
    pub fn diabetes_raw(&self, by: f32) -> Data {
        let y = self.diabetes.last.iter().map(|y| by * y).collect();
        Data { y: Targets::Values(1, y), ..self.diabetes() }
    }

    /// Pixels of mean 0 and variance 1 together.
    pub fn digits(&self) -> Data {
        Data { x: unit(1, self.digits.inputs.clone()), ..self.digits_from_zero(1.0) }
    }

    /// Pixels from 0 to `most`.
    pub fn digits_from_zero(&self, most: f32) -> Data {
        let x = self.digits.inputs.iter().map(|x| most * x).collect();
        Data::new(x, Targets::Classes(self.digits.labels.clone()), 64, 1)
    }

    pub fn autoencoded(&self) -> Data {
        let data = self.digits();
        Data { y: Targets::Values(64, data.x.clone()), ..data }
    }

    /// Pixels from 0 to 1, and the same as targets.
    pub fn autoencoded_from_zero(&self) -> Data {
        let data = self.digits_from_zero(1.0 / 16.0);
        Data { y: Targets::Values(64, data.x.clone()), ..data }
    }

    /// Eight steps of a row of eight pixels.
    pub fn digit_rows(&self) -> Data {
        Data { width: 8, steps: 8, ..self.digits() }
    }

    /// Windows of a series, each with the number that follows.
    pub fn sunspots(&self, steps: usize) -> Data {
        let starts = (0..self.sunspots.len() - steps).step_by(5);
        let x = starts.clone().flat_map(|start| self.sunspots[start..][..steps].to_vec()).collect();
        let y = starts.map(|start| self.sunspots[start + steps]).collect();
        Data::new(x, Targets::Values(1, y), 1, steps)
    }

    /// Sequences whose class is in their first step, beside a window of the series.
    pub fn remembered(&self, steps: usize) -> Data {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for sample in 0..512 {
            let class = (sample * 7 + sample / 3) % 2;
            y.push(class);
            for step in 0..steps {
                let told = if step == 0 { 3.0 * class as f32 - 1.5 } else { 0.0 };
                x.extend([told, 0.5 * self.sunspots[(sample * 5 + step) % self.sunspots.len()]]);
            }
        }
        Data::new(x, Targets::Classes(y), 2, steps)
    }
}
