//! A monitor that writes its events as JSON lines.

use super::{Event, Factor, GradientMonitor, Link, NormStats};
use crate::{block::Blocks, scalar::Scalar};
use serde::Serialize;
use std::io::{self, Write};

/// Writes events as one JSON object per line: links (factors of the chain rule) in the forward and the backward pass,
/// blocks with their gradient, updates, and the records of updates and epochs. Loss and clipping are in the records of
/// updates.
///
/// Each line has `pass` and `event`: `forward` and `backward` of a link, `gradient` and `update` of a parameter
/// block, `step` and `epoch` with the fields of [`Step`](crate::trainer::Step) and [`Epoch`](crate::trainer::Epoch).
/// A link that is reported in parts ([`Link::parts_before`]) has a line for each. `on_main_path`
/// ([`Link::on_main_path`]) and `same_update` are written if they are true. `same_update` marks a pass that adds to
/// the gradient of the pass before. A slice is written as `{norm, zeros, non_finite, values}`, under the names
/// `before` and `after`: x and y, ∂L/∂y and ∂L/∂x, w and ∂L/∂w, or w and its update. A number that is not
/// finite is `"NaN"`, `"inf"` or `"-inf"`. After the first failure nothing more is written; [`finish`](Self::finish)
/// returns the error.
///
/// [`RunRecord`](super::RunRecord) reads the lines, and draws the run as an HTML page.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}, monitor::Recorder};
/// use chainrule::{trainer::{FitOptions, TrainConfig, Trainer}, transform::Sgd};
/// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
/// let network = Sequential::<f64>::input(1).linear(1).build()?;
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default())?;
/// let mut lines = Recorder::new(Vec::new()); // in practice `BufWriter::new(File::create("run.jsonl")?)`
/// trainer.fit_with(&data, FitOptions::new().monitor(&mut lines))?;
/// let text = String::from_utf8(lines.finish().unwrap()).unwrap();
/// assert!(text.lines().any(|line| line.contains(r#""event":"step""#)));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorder<W: Write> {
    writer: W,
    pass: u64,
    /// Whether the current pass belongs to the same update as the pass before, whose gradient it adds to.
    same_update: bool,
    /// Whether the next pass belongs to the same update as the current one.
    next_part: bool,
    failed: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'a> {
    pass: u64,
    event: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    same_update: bool,
    name: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    on_main_path: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<Factor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<&'a str>,
    before: NormStats,
    after: NormStats,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The line of an update or an epoch, with the fields of its record.
#[derive(Serialize)]
struct Record<'a, R> {
    pass: u64,
    event: &'static str,
    #[serde(flatten)]
    record: &'a R,
}

impl<W: Write> Recorder<W> {
    /// Creates a recorder that writes to `writer`, which should be buffered.
    pub fn new(writer: W) -> Self {
        Recorder { writer, pass: 0, same_update: false, next_part: false, failed: None }
    }

    /// Flushes all lines, and returns the writer.
    ///
    /// # Errors
    /// The first error of the writer, of an earlier event or of the flush.
    pub fn finish(mut self) -> io::Result<W> {
        match self.failed {
            Some(error) => Err(error),
            None => self.writer.flush().map(|()| self.writer),
        }
    }

    fn write(&mut self, line: &impl Serialize) {
        if self.failed.is_none() {
            let written = serde_json::to_writer(&mut self.writer, line).map_err(io::Error::from);
            self.failed = written.and_then(|()| self.writer.write_all(b"\n")).err();
        }
    }

    fn link<T: Scalar>(&mut self, event: &'static str, at: &Link<'_>, before: &[T], after: &[T]) {
        self.write(&Line {
            pass: self.pass,
            event,
            same_update: self.same_update,
            name: at.name,
            on_main_path: at.on_main_path,
            factor: Some(at.factor),
            step: at.step,
            gate: at.gate.map(|gate| gate.name),
            before: NormStats::of(before),
            after: NormStats::of(after),
        });
    }

    fn each_block<T: Scalar>(&mut self, event: &'static str, blocks: &Blocks, before: &[T], after: &[T]) {
        for block in blocks {
            let (before, after) =
                (NormStats::of(&before[block.range.clone()]), NormStats::of(&after[block.range.clone()]));
            self.write(&Line {
                pass: self.pass,
                event,
                same_update: self.same_update,
                name: &block.name,
                on_main_path: false,
                factor: None,
                step: None,
                gate: None,
                before,
                after,
            });
        }
    }
}

impl<T: Scalar, W: Write> GradientMonitor<T> for Recorder<W> {
    fn begin_pass(&mut self) {
        self.pass += 1;
        self.same_update = core::mem::take(&mut self.next_part);
    }
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.link("forward", at, x, y);
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.link("backward", at, dy, dx);
    }
    fn event(&mut self, event: &Event<'_, T>) {
        match *event {
            Event::NextPart => self.next_part = true,
            Event::Gradient { blocks, w, dw } => self.each_block("gradient", blocks, w, dw),
            Event::Update { blocks, w, update } => self.each_block("update", blocks, w, update),
            Event::Step(record) => self.write(&Record { pass: self.pass, event: "step", record }),
            Event::Epoch(record) => self.write(&Record { pass: self.pass, event: "epoch", record }),
            _ => {}
        }
    }
}
