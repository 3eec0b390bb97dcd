//! A monitor that writes a run as a TensorBoard event file.

mod histogram;
mod proto;
mod record;

use super::{
    Event, Factor, GradientMonitor, Link,
    progress::{Epoch, Step},
};
use crate::{clock::wall_time, error::Error, scalar::Scalar};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use histogram::Histogram;
use proto::Encoder;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writes a run as a TensorBoard event file: scalars of each update and epoch, histograms of the gradient at each link
/// (factor of the chain rule), and text.
///
/// | tag | at | value |
/// | --- | --- | --- |
/// | `update/loss`, `update/learning_rate` | each update | [`Step`] |
/// | `update/gradient_norm`, `update/clipped_norm` | each update | before any transform, and after clipping |
/// | `update/samples_per_second` | each update | [`Step::samples_per_second`] |
/// | `update/bytes_sent`, `update/bytes_received` | each update on ranks | [`Step::communication`] |
/// | `update/communication_seconds` | each update on ranks | [`Step::communication`] |
/// | `gradient/FACTOR/LINK` | [`histograms_every`](Self::histograms_every) | a histogram of ∂L/∂x, all rows |
/// | `non_finite/gradient/FACTOR/LINK` | as the histogram | its values that are NaN or infinite, if any |
/// | `epoch/loss`, `validation/loss`, `validation/accuracy` | each epoch | [`Epoch`] |
/// | `epoch/learning_rate`, `epoch/gradient_norm`, `epoch/clipped_norm` | each epoch | [`Epoch`], where known |
/// | `epoch/samples_per_second` | each epoch | [`Epoch::samples_per_second`] |
///
/// Numbers are rounded to `f32`, the format of the file. Pass the monitor to [`FitOptions::monitor`], alone or with
/// others. In a custom loop, call [`scalar`](Self::scalar) and [`histograms`](Self::histograms). After the first passes
/// it does not allocate. After the first failure nothing more is written, and the run continues:
/// [`finish`](Self::finish) returns the error.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
/// use chainrule::{monitor::TensorBoard, transform::Sgd};
/// use chainrule::trainer::{FitOptions, TrainConfig, Trainer};
///
/// let logs = std::env::temp_dir().join("chainrule-logs");
/// let mut board = TensorBoard::create(logs.join("first"))?.histograms_every(100);
/// let network = Sequential::<f32>::input(1).linear(8).tanh().linear(1).build()?;
/// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default())?;
/// trainer.fit_with(&data, FitOptions::new().monitor(&mut board))?;
/// board.text("remark", 10, "three points on a line");
/// board.finish()?; // then: tensorboard --logdir logs
/// # std::fs::remove_dir_all(logs).unwrap();
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// [`FitOptions::monitor`]: crate::trainer::FitOptions::monitor
pub struct TensorBoard<W: Write = BufWriter<File>> {
    writer: W,
    /// The path of the file, for error messages.
    path: String,
    failed: Option<io::Error>,
    encoder: Encoder,
    /// The number of updates from one set of histograms to the next; 0 for no histograms.
    every: u64,
    updates: u64,
    /// Whether the next pass belongs to the same update as the last one.
    same_update: bool,
    links: Vec<LinkHistogram>,
    /// The index in `links` at which the search for the next link starts.
    next: usize,
}

/// The histogram of the gradient with respect to the input of one link (factor of the chain rule, such as a layer),
/// over the passes of one update.
struct LinkHistogram {
    name: String,
    factor: Factor,
    tag: String,
    /// The tag of the scalar that counts the values of the gradient that are not finite.
    tag_of_non_finite: String,
    histogram: Histogram,
}

impl TensorBoard {
    /// Creates a monitor that writes to a new event file in the folder `run`. The folder is created if it does not
    /// exist.
    ///
    /// TensorBoard shows each folder with an event file as one run. The file is flushed after each epoch.
    ///
    /// # Errors
    /// [`Error::File`] where the system cannot create the folder or the file.
    pub fn create(run: impl AsRef<Path>) -> Result<Self, Error> {
        let run = run.as_ref();
        let failed =
            |path: &Path, error: io::Error| Error::File { path: path.display().to_string(), reason: error.to_string() };
        fs::create_dir_all(run).map_err(|error| failed(run, error))?;
        let (seconds, mut number) = (wall_time() as u64, 0_u64);
        loop {
            // TensorBoard reads files in the order of their names, and only files whose names contain "tfevents".
            let path = run.join(format!("events.out.tfevents.{seconds:010}.chainrule.{number:04}"));
            match File::create_new(&path) {
                Ok(file) => return Ok(Self::named(BufWriter::new(file), path.display().to_string())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }
}

impl<W: Write> TensorBoard<W> {
    /// Creates a monitor that writes an event file to `writer`, which should be buffered.
    pub fn new(writer: W) -> Self {
        Self::named(writer, "the event file".to_string())
    }

    fn named(writer: W, path: String) -> Self {
        let mut board = TensorBoard {
            writer,
            path,
            failed: None,
            encoder: Encoder::new(),
            every: 100,
            updates: 0,
            same_update: false,
            links: Vec::new(),
            next: 0,
        };
        board.failed = record::write(&mut board.writer, board.encoder.version(wall_time())).err();
        board
    }

    /// Writes histograms in the first of every `n` updates. The default is 100; with 0 no histograms are written.
    ///
    /// The monitor is also active in the other updates: recurrent layers run on one thread, and parameters are not
    /// updated inside the backward pass. [`Every`](struct@super::Every) around the monitor also leaves out the scalars;
    /// the other updates then run as without a monitor.
    #[must_use]
    pub fn histograms_every(self, n: u64) -> Self {
        TensorBoard { every: n, ..self }
    }

    /// Writes `value`, rounded to `f32`, as the scalar `tag` at `step`, usually the number of updates.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) {
        self.encoder.scalar(tag, value);
        self.write(step);
    }

    /// Writes a histogram of the finite `values` under `tag` at `step`, usually the number of updates; and the number
    /// of NaN and infinite values, if any, as the scalar `non_finite/TAG`.
    pub fn histogram<T: Scalar>(&mut self, tag: &str, step: u64, values: &[T]) {
        let mut histogram = Histogram::new();
        histogram.add(values);
        encode(&mut self.encoder, [tag, &non_finite(tag)], &histogram);
        self.write(step);
    }

    /// Writes `text` as displayed, such as a report or a [`GradientBudget`](super::GradientBudget), under `tag` at
    /// `step`, usually the number of updates.
    ///
    /// The text plugin shows it in a fixed font: each line is indented, which makes it a block of code in Markdown.
    pub fn text(&mut self, tag: &str, step: u64, text: impl fmt::Display) {
        let lines: String = format!("{text}").lines().map(|line| format!("    {line}\n")).collect();
        self.encoder.text(tag, &lines);
        self.write(step);
    }

    /// Writes the histogram of the gradient at each link (factor of the chain rule) in the current update, if this
    /// update has histograms. `step` is usually the number of updates. [`Event::Step`] of a trainer does the same; a
    /// custom loop calls it after the backward pass.
    pub fn histograms(&mut self, step: u64) {
        for i in 0..self.links.len() {
            let LinkHistogram { tag, tag_of_non_finite, histogram, .. } = &mut self.links[i];
            encode(&mut self.encoder, [tag, tag_of_non_finite], histogram);
            histogram.clear();
            self.write(step);
        }
    }

    /// Flushes all events, and returns the writer.
    ///
    /// # Errors
    /// [`Error::File`] for the first failure of the writer, at an earlier event or now.
    pub fn finish(mut self) -> Result<W, Error> {
        self.flush();
        match self.failed {
            Some(error) => Err(Error::File { path: self.path, reason: error.to_string() }),
            None => Ok(self.writer),
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.writer.flush().err();
        }
    }

    /// Writes the values that were encoded since the last event as one event at `step`. Writes nothing if there are
    /// none, or after a failure.
    fn write(&mut self, step: u64) {
        let event = self.encoder.event(wall_time(), step);
        if let (None, Some(event)) = (&self.failed, event) {
            self.failed = record::write(&mut self.writer, event).err();
        }
    }

    /// Adds the numbers that are not `None` to the next event, each under its tag.
    fn scalars<const N: usize>(&mut self, scalars: [(&str, Option<f64>); N]) {
        for (tag, value) in scalars {
            if let Some(value) = value {
                self.encoder.scalar(tag, value);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.encoder.scalar("update/loss", step.loss);
        self.encoder.scalar("update/gradient_norm", step.gradient_norm);
        self.scalars([
            ("update/learning_rate", step.learning_rate),
            ("update/clipped_norm", step.clipped_norm),
            ("update/samples_per_second", step.samples_per_second()),
            ("update/bytes_sent", step.communication.map(|communication| communication.sent as f64)),
            ("update/bytes_received", step.communication.map(|communication| communication.received as f64)),
            ("update/communication_seconds", step.communication.map(|communication| communication.seconds)),
        ]);
        self.write(step.step);
        self.histograms(step.step);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.encoder.scalar("epoch/loss", epoch.loss);
        self.scalars([
            ("epoch/learning_rate", epoch.learning_rate),
            ("epoch/gradient_norm", epoch.gradient_norm),
            ("epoch/clipped_norm", epoch.clipped_norm),
            ("epoch/samples_per_second", epoch.samples_per_second()),
            ("validation/loss", epoch.validation.map(|validation| validation.loss)),
            ("validation/accuracy", epoch.validation.and_then(|validation| validation.accuracy)),
        ]);
        self.write(epoch.steps);
        self.flush();
    }

    /// Whether the current update has histograms: it is the first of `every` updates. Never if `every` is 0.
    fn due(&self) -> bool {
        self.updates.checked_sub(1).and_then(|before| before.checked_rem(self.every)) == Some(0)
    }
}

fn encode(encoder: &mut Encoder, [tag, tag_of_non_finite]: [&str; 2], histogram: &Histogram) {
    if histogram.values > 0 {
        encoder.histogram(tag, histogram);
    }
    if histogram.non_finite > 0 {
        encoder.scalar(tag_of_non_finite, histogram.non_finite as f64);
    }
}

fn non_finite(tag: &str) -> String {
    format!("non_finite/{tag}")
}

/// Returns the name of a factor as it appears in tags: `weights`, `activation`, `addition` or `other`.
fn word(factor: Factor) -> &'static str {
    match factor {
        Factor::Weights => "weights",
        Factor::Activation => "activation",
        Factor::Addition => "addition",
        Factor::Other => "other",
    }
}

/// Writes the settings and the progress, without the writer.
impl<W: Write> fmt::Debug for TensorBoard<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorBoard")
            .field("path", &self.path)
            .field("failed", &self.failed)
            .field("histograms_every", &self.every)
            .field("updates", &self.updates)
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

impl<T: Scalar, W: Write> GradientMonitor<T> for TensorBoard<W> {
    fn begin_pass(&mut self) {
        self.next = 0;
        if !core::mem::take(&mut self.same_update) {
            self.updates += 1;
            // Drops histograms that were not written, since the update ended in an error or a custom loop did not
            // write them.
            self.links.iter_mut().for_each(|link| link.histogram.clear());
        }
    }

    fn backward(&mut self, at: &Link<'_>, _dy: &[T], dx: &[T]) {
        if !self.due() {
            return;
        }
        let count = self.links.len();
        let is = |link: &LinkHistogram| link.factor == at.factor && link.name == at.name;
        let start = self.next.min(count);
        let found = (start..count).chain(0..start).find(|&i| is(&self.links[i]));
        let place = found.unwrap_or_else(|| {
            let tag = format!("gradient/{}/{}", word(at.factor), at.name);
            self.links.push(LinkHistogram {
                name: at.name.to_string(),
                factor: at.factor,
                tag_of_non_finite: non_finite(&tag),
                tag,
                histogram: Histogram::new(),
            });
            count
        });
        self.links[place].histogram.add(dx);
        self.next = place + 1;
    }

    fn event(&mut self, event: &Event<'_, T>) {
        match *event {
            Event::NextPart => self.same_update = true,
            Event::Step(step) => self.step(step),
            Event::Epoch(epoch) => self.epoch(epoch),
            _ => {}
        }
    }
}
