//! Reads the JSON lines of a recorder back as a run.

use super::{
    BudgetHistory, Factor,
    progress::{Epoch, Step},
};
#[cfg(doc)]
use super::{Event, Recorder};
use crate::error::Error;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use serde::Deserialize;
use std::{collections::HashMap, io::BufRead};

/// A run as a [`Recorder`] wrote it: its updates, its epochs, and its budget, the decades (powers of ten) by which each
/// link of the chain rule changes the norm of the gradient.
///
/// If an update has several passes (an accumulated gradient, or several shards of a rank), its norms are those over
/// all of them. A loop without a [`Trainer`](crate::trainer::Trainer) has no records of updates; its passes are
/// numbered from 1.
///
/// [`to_html`](Self::to_html) draws the run as an HTML page.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
/// use chainrule::{monitor::{Recorder, RunRecord}, trainer::{FitOptions, TrainConfig, Trainer}, transform::Adam};
///
/// let network = Sequential::<f32>::input(1).linear(8).tanh().linear(1).build()?;
/// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), TrainConfig::default())?;
/// let mut lines = Recorder::new(Vec::new()); // in practice a buffered file
/// let epochs = trainer.fit_with(&data, FitOptions::new().monitor(&mut lines))?;
///
/// let run = RunRecord::read(&lines.finish().unwrap()[..])?;
/// assert_eq!(run.epochs(), epochs);
/// assert_eq!(run.budget().numbers.len(), run.steps().len());
/// std::fs::write(std::env::temp_dir().join("chainrule-run.html"), run.to_html(None)).unwrap();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct RunRecord {
    steps: Vec<Step>,
    epochs: Vec<Epoch>,
    budget: BudgetHistory,
}

/// Writes the numbers of updates and epochs and the last record of each, and a summary of the [`BudgetHistory`].
impl fmt::Debug for RunRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut run = f.debug_struct("RunRecord");
        run.field("steps", &self.steps.len()).field("last_step", &self.steps.last());
        run.field("epochs", &self.epochs.len()).field("last_epoch", &self.epochs.last());
        run.field("budget", &self.budget).finish()
    }
}

/// The contents of one JSON line: a factor of the chain rule in the backward pass, an update, or an epoch.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Backward(LinkLine),
    Step(Step),
    Epoch(Epoch),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct LinkLine {
    pass: u64,
    #[serde(default)]
    same_update: bool,
    #[serde(default)]
    on_main_path: bool,
    name: String,
    factor: Factor,
    /// The time step, for a factor of the chain rule between time steps of a recurrent layer; otherwise `None`.
    step: Option<u64>,
    before: Norm,
    after: Norm,
}

#[derive(Clone, Copy, Deserialize)]
struct Norm {
    #[serde(with = "crate::number")]
    norm: f64,
}

/// The links (factors of the chain rule) of the main path in the current update. Each has the norms of the gradient
/// before and after it, over all its lines in the update.
#[derive(Default)]
struct Update {
    pass: u64,
    /// For each link of the run, by its name and factor, its index in the links of the [`BudgetHistory`].
    places: HashMap<(String, Factor), usize>,
    /// The links of the update, in the order in which they were reported. Each has its index in the
    /// [`BudgetHistory`], and the norms of the gradient before and after it.
    links: Vec<(usize, [f64; 2])>,
    /// For each link of the [`BudgetHistory`], its index in `links`, the links of the current update; `None` if the
    /// update does not have it.
    within: Vec<Option<usize>>,
}

impl Update {
    /// Moves the links of the current update to `budget`, as one pass with the number `number`.
    fn end(&mut self, number: u64, budget: &mut BudgetHistory) {
        for (place, norms) in self.links.drain(..) {
            budget.push_at(place, number, norms);
            self.within[place] = None;
        }
        budget.end();
    }

    fn add(&mut self, line: LinkLine, budget: &mut BudgetHistory) {
        let LinkLine { pass, same_update, name, factor, before, after, .. } = line;
        if pass != self.pass && !same_update {
            self.end(self.pass, budget);
        }
        self.pass = pass;
        let norms = [before.norm, after.norm];
        let place = *self.places.entry((name, factor)).or_insert_with_key(|(name, factor)| {
            self.within.push(None);
            budget.append(name.clone(), *factor, Vec::new())
        });
        match self.within[place] {
            Some(at) => self.links[at].1 = [0, 1].map(|i| libm::hypot(self.links[at].1[i], norms[i])),
            None => {
                self.within[place] = Some(self.links.len());
                self.links.push((place, norms));
            }
        }
    }
}

impl RunRecord {
    /// Reads the lines of a [`Recorder`]. A last line that is cut short is left out: the run may still be writing it.
    ///
    /// # Errors
    /// [`Error::File`] with the number of the line, from 1, if reading fails or if the line is not one that a recorder
    /// writes.
    pub fn read(mut lines: impl BufRead) -> Result<Self, Error> {
        let (mut run, mut update, mut line) = (RunRecord::default(), Update::default(), Vec::new());
        for number in 1_u64.. {
            line.clear();
            let refuse = |reason: String| Error::File { path: format!("the records, line {number}"), reason };
            if lines.read_until(b'\n', &mut line).map_err(|error| refuse(error.to_string()))? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(Line::Backward(link)) if link.on_main_path && link.step.is_none() => {
                    update.add(link, &mut run.budget)
                }
                Ok(Line::Step(step)) => {
                    update.end(step.step, &mut run.budget);
                    run.steps.push(step);
                }
                Ok(Line::Epoch(epoch)) => run.epochs.push(epoch),
                Ok(_) => {}
                Err(_) if line.last() != Some(&b'\n') => break,
                Err(error) => return Err(refuse(error.to_string())),
            }
        }
        update.end(update.pass, &mut run.budget);
        Ok(run)
    }

    /// Returns the records of the updates, which the recorder received as [`Event::Step`].
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the records of the epochs, which the recorder received as [`Event::Epoch`].
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Returns the decades (powers of ten) by which each link (factor of the chain rule) of the main path changes the
    /// norm of the gradient, over the updates.
    pub fn budget(&self) -> &BudgetHistory {
        &self.budget
    }
}
