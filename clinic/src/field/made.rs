//! Data that a generator makes, whose best level is known by how it is made.

use super::data::{Data, Targets, unit};
use chainrule::random::{Normals, below, generator, shuffle, uniform};

/// The bits of a seed that data depends on. The others number the trainings of one draw.
const BITS: u32 = 48;

/// The part of a seed that data depends on.
pub fn of_data(seed: u64) -> u64 {
    seed & ((1 << BITS) - 1)
}

/// The seed of a training of the same draw: other first weights.
pub fn of_training(seed: u64, training: u64) -> u64 {
    seed | training << BITS
}

/// Independent random numbers of a seed's data.
pub struct Draws {
    next: Box<dyn FnMut(usize) -> f64>,
}

impl Draws {
    pub fn new(seed: u64) -> Self {
        let (mut rng, mut normals) = (generator(of_data(seed) ^ 0xDA7A), Normals::new());
        let next = move |end: usize| match end {
            0 => normals.next(&mut rng),
            1 => uniform(&mut rng),
            end => below(&mut rng, end) as f64,
        };
        Draws { next: Box::new(next) }
    }

    pub fn normal(&mut self) -> f64 {
        (self.next)(0)
    }

    pub fn uniform(&mut self) -> f64 {
        (self.next)(1)
    }

    /// A whole number below `end`, at least 2.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next)(end) as usize
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal() as f32).collect()
    }

    /// Student's t with two degrees of freedom.
    fn heavy(&mut self) -> f64 {
        let chi = -2.0 * (1.0 - self.uniform()).ln();
        self.normal() / (chi / 2.0).sqrt()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The two sides of a plane through 0, each label exchanged with a probability: the best accuracy is 1 less that.
pub fn sides(samples: usize, width: usize, exchanged: f64, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (plane, x) = (draws.normals(width), draws.normals(samples * width));
    let y = x.chunks(width).map(|row| usize::from((dot(row, &plane) > 0.0) != (draws.uniform() < exchanged))).collect();
    Data::new(x, Targets::Classes(y), width, 1)
}

/// A smooth function of a few directions, of variance about 1, without noise.
pub fn surface(samples: usize, width: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let planes: Vec<Vec<f32>> = (0..3).map(|_| draws.normals(width)).collect();
    let (x, root) = (draws.normals(samples * width), (width as f32).sqrt());
    let y = x.chunks(width).map(|row| planes.iter().map(|plane| (1.5 * dot(row, plane) / root).tanh()).sum()).collect();
    Data::new(x, Targets::Values(1, unit(1, y)), width, 1)
}

impl Data {
    /// Targets plus normal noise of this standard deviation.
    pub fn noisy(mut self, deviation: f64, seed: u64) -> Self {
        let mut draws = Draws::new(seed ^ 0xA0);
        if let Targets::Values(_, y) = &mut self.y {
            y.iter_mut().for_each(|y| *y += (deviation * draws.normal()) as f32);
        }
        self
    }

    /// Targets plus noise of infinite variance: t of two degrees of freedom times a factor.
    pub fn heavy_tailed(mut self, by: f64, seed: u64) -> Self {
        let mut draws = Draws::new(seed ^ 0xA1);
        if let Targets::Values(_, y) = &mut self.y {
            y.iter_mut().for_each(|y| *y += (by * draws.heavy()) as f32);
        }
        self
    }

    /// Half of the targets plus much noise, and the weights 1 and 1/36 that say so.
    pub fn of_two_qualities(mut self, seed: u64) -> Self {
        let mut draws = Draws::new(seed ^ 0xA2);
        let Targets::Values(_, y) = &mut self.y else { return self };
        let bad: Vec<bool> = y.iter().map(|_| draws.uniform() < 0.5).collect();
        y.iter_mut().zip(&bad).filter(|(_, bad)| **bad).for_each(|(y, _)| *y += (3.0 * draws.normal()) as f32);
        self.weights = Some(bad.iter().map(|&bad| if bad { 1.0 / 36.0 } else { 1.0 }).collect());
        self
    }

    /// Counts of a Poisson distribution whose rate is the exponential of half of the target.
    pub fn counted(mut self, seed: u64) -> Self {
        let mut draws = Draws::new(seed ^ 0xA3);
        let mut count = |rate: f64| {
            let (mut count, mut left) = (0.0, (-rate).exp());
            let (mut sum, u) = (left, draws.uniform());
            while sum < u && count < 100.0 {
                count += 1.0;
                left *= rate / count;
                sum += left;
            }
            count as f32
        };
        if let Targets::Values(_, y) = &mut self.y {
            y.iter_mut().for_each(|y| *y = count((0.8 * f64::from(*y) + 1.0).exp()));
        }
        self
    }

    /// The samples in the order of the size of their targets.
    pub fn smallest_targets_first(self) -> Self {
        let Targets::Values(_, y) = self.y.clone() else { return self };
        self.by(|sample| y[sample].abs())
    }

    /// The class of a sequence as the target of each of its steps.
    pub fn told_at_each_step(self) -> Self {
        let Targets::Classes(classes) = &self.y else { return self };
        let y = classes.iter().flat_map(|&class| std::iter::repeat_n(class, self.steps)).collect();
        Data { y: Targets::Classes(y), ..self }
    }
}

/// Tokens, each followed by its successor with probability 0.7, otherwise by any: the best accuracy is just above
/// 0.7. One index an input, or one column a token.
pub fn bigrams(tokens: usize, one_hot: bool, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let mut next: Vec<usize> = (0..tokens).collect();
    shuffle(&mut next, of_data(seed), 7);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..2048 {
        let token = draws.below(tokens);
        match one_hot {
            true => x.extend((0..tokens).map(|column| f32::from(u8::from(column == token)))),
            false => x.push(token as f32),
        }
        y.push(if draws.uniform() < 0.7 { next[token] } else { draws.below(tokens) });
    }
    let width = if one_hot { tokens } else { 1 };
    Data { has_indices: !one_hot, ..Data::new(x, Targets::Classes(y), width, 1) }
}

/// Six rows in ten are empty; the others have three columns at 1. The target is the sum of a number for each column.
pub fn sparse(width: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (of_column, mut x, mut y) = (draws.normals(width), vec![0.0; 1500 * width], Vec::new());
    for row in x.chunks_mut(width) {
        let words = if draws.uniform() < 0.6 { 0 } else { 3 };
        (0..words).for_each(|_| row[draws.below(width)] = 1.0);
        y.push(dot(row, &of_column));
    }
    Data::new(x, Targets::Values(1, unit(1, y)), width, 1)
}

/// Two classes of sequences that differ by the mean of their steps, which have noise that decays slowly.
pub fn levels(steps: usize, width: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (direction, mut x, mut y) = (draws.normals(width), Vec::new(), Vec::new());
    for sample in 0..320 {
        let (class, mut noise) = (sample % 2, vec![0.0; width]);
        for _ in 0..steps {
            for (noise, direction) in noise.iter_mut().zip(&direction) {
                *noise = 0.7 * *noise + 0.7 * draws.normal() as f32;
                x.push(*noise + (class as f32 - 0.5) * direction);
            }
        }
        y.push(class);
    }
    Data::new(x, Targets::Classes(y), width, steps)
}

/// Sequences of 5 to 40 steps, the longest first, whose class is the sign that most of their steps have.
pub fn ragged(seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let mut lengths: Vec<usize> = (0..400).map(|_| 5 + draws.below(36)).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for &steps in &lengths {
        let class = draws.below(2);
        let shift = 1.4 * class as f64 - 0.7;
        x.extend((0..2 * steps).map(|_| (draws.normal() + shift) as f32));
        y.push(class);
    }
    Data { lengths: Some(lengths), ..Data::new(x, Targets::Classes(y), 2, 40) }
}

/// The mean of all steps, times √steps: each step counts as much as the last.
pub fn sums(steps: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let x = draws.normals(512 * steps);
    let y = x.chunks(steps).map(|row| row.iter().sum::<f32>() / (steps as f32).sqrt()).collect();
    Data::new(x, Targets::Values(1, y), 1, steps)
}

/// The adding problem: the sum of the two marked numbers of a sequence.
pub fn adding(steps: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        let marks = [draws.below(steps / 2), steps / 2 + draws.below(steps - steps / 2)];
        let mut sum = 0.0;
        for step in 0..steps {
            let number = draws.uniform() as f32;
            let mark = f32::from(u8::from(marks.contains(&step)));
            sum += number * mark;
            x.extend([number, mark]);
        }
        y.push(sum);
    }
    Data::new(x, Targets::Values(1, unit(1, y)), 2, steps)
}

/// The parity of the first three of `width` signs.
pub fn parity(width: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let x: Vec<f32> = (0..1024 * width).map(|_| 2.0 * draws.below(2) as f32 - 1.0).collect();
    let y = x.chunks(width).map(|row| usize::from(row[0] * row[1] * row[2] > 0.0)).collect();
    Data::new(x, Targets::Classes(y), width, 1)
}

/// All rows of the exclusive or.
pub fn exclusive_or() -> Data {
    Data::new(vec![-1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0], Targets::Classes(vec![0, 1, 1, 0]), 2, 1)
}

/// Vectors of norm 1 around the centre of each class.
pub fn embedded(width: usize, classes: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (centres, mut x, mut y) = (draws.normals(classes * width), Vec::new(), Vec::new());
    for _ in 0..1200 {
        let class = draws.below(classes);
        let row: Vec<f32> = centres[class * width..][..width].iter().map(|c| c + 1.5 * draws.normal() as f32).collect();
        let norm = dot(&row, &row).sqrt();
        x.extend(row.iter().map(|x| x / norm));
        y.push(class);
    }
    Data::new(x, Targets::Classes(y), width, 1)
}

/// Directions that depend on the inputs.
pub fn directions(width: usize, outputs: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (matrix, x) = (draws.normals(width * outputs), draws.normals(1000 * width));
    let y = x.chunks(width).flat_map(|row| matrix.chunks(width).map(move |of| dot(row, of).tanh())).collect();
    Data::new(x, Targets::Values(outputs, y), width, 1)
}

/// A share of positive samples, moved from the others along all columns.
pub fn rare(share: f64, width: usize, seed: u64) -> Data {
    let mut draws = Draws::new(seed);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        let class = usize::from(draws.uniform() < share);
        x.extend((0..width).map(|_| (draws.normal() + 1.2 * class as f64) as f32));
        y.push(class);
    }
    Data::new(x, Targets::Classes(y), width, 1)
}
