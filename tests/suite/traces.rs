//! Spans and events for the crate `tracing`, collected by a subscriber and compared with the records of the run.

use chainrule::{
    activation::Sigmoid,
    dataset::Dataset,
    diagnosis::{Diagnosis, Severity},
    layer::Sequential,
    loss::{CrossEntropy, Target},
    theory::InputStatistics,
    trainer::{Epoch, FitOptions, Step, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, Schedule},
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::ControlFlow,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::with_default,
};

/// Fields by name, numbers as their shortest decimal form.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Fields {
    fn with(self, name: &'static str, value: impl Debug) -> Self {
        self.with_some(name, Some(value))
    }

    /// A field without a value is left out.
    fn with_some(mut self, name: &'static str, value: Option<impl Debug>) -> Self {
        self.0.extend(value.map(|value| (name, format!("{value:?}"))));
        self
    }
}

/// The name of an open span or the level of an event, its target and its fields.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Enter(&'static str, Level, Fields),
    Exit(&'static str),
    Event(&'static str, Level, Fields),
}

struct Collector {
    finest: Level,
    ids: AtomicU64,
    spans: Mutex<Vec<(&'static str, Level, Fields)>>,
    seen: Mutex<Vec<Seen>>,
}

impl Collector {
    /// What `work` gives, and what a subscriber up to the level `finest` sees of it.
    fn watch<R>(finest: Level, work: impl FnOnce() -> R) -> (R, Vec<Seen>) {
        static COLLECTORS: Mutex<()> = Mutex::new(());
        let _alone = COLLECTORS.lock();
        let ids = AtomicU64::new(1);
        let collector = std::sync::Arc::new(Collector { finest, ids, spans: Mutex::default(), seen: Mutex::default() });
        let result = with_default(collector.clone(), work);
        let seen = collector.seen.lock().unwrap().clone();
        (result, seen)
    }

    fn span(&self, id: &Id) -> (&'static str, Level, Fields) {
        self.spans.lock().unwrap()[id.into_u64() as usize - 1].clone()
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("chainrule::") && *metadata.level() <= self.finest
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let metadata = span.metadata();
        self.spans.lock().unwrap().push((metadata.name(), *metadata.level(), fields));
        Id::from_u64(self.ids.fetch_add(1, Relaxed))
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        self.seen.lock().unwrap().push(Seen::Event(metadata.target(), *metadata.level(), fields));
    }
    fn enter(&self, span: &Id) {
        let (name, level, fields) = self.span(span);
        self.seen.lock().unwrap().push(Seen::Enter(name, level, fields));
    }
    fn exit(&self, span: &Id) {
        self.seen.lock().unwrap().push(Seen::Exit(self.span(span).0));
    }
}

const X: [f32; 6] = [0.0, 1.0, -1.0, 2.0, 0.5, -2.0];
const CLASSES: [usize; 6] = [0, 1, 0, 1, 1, 0];

type Chain = (ClipNorm, Adam, Schedule);

fn trainer() -> Trainer<f32, Sequential<f32>, CrossEntropy, Chain> {
    let network = Sequential::<f32>::input(1).linear(4).tanh().linear(2).build().unwrap();
    let settings = TrainConfig { batch_size: 2, epochs: 2, ..TrainConfig::default() };
    let chain = (ClipNorm::new(0.3), Adam::new(0.05), Schedule::cosine(6, 0.1));
    Trainer::new(network, CrossEntropy::new(), chain, settings).unwrap()
}

#[test]
fn events_of_a_run_equal_its_records() {
    let data = Dataset::rows(1, &X, Target::Classes(&CLASSES)).unwrap();
    let (mut steps, mut run) = (Vec::new(), trainer());
    let mut on_step = |step: &Step| {
        steps.push(*step);
        ControlFlow::Continue(())
    };
    let options = FitOptions::new().validation(&data).on_step(&mut on_step);
    let (epochs, seen) = Collector::watch(Level::DEBUG, || run.fit_with(&data, options).unwrap());

    let number = |name, value: u64| Fields::default().with(name, value);
    let mut expected = Vec::new();
    let mut steps = steps.iter();
    for epoch in &epochs {
        expected.push(Seen::Enter("epoch", Level::INFO, number("epoch", epoch.epoch as u64)));
        for step in steps.by_ref().take(3) {
            expected.push(Seen::Enter("step", Level::DEBUG, Fields::default()));
            let &Step {
                step, epoch, loss, applied, learning_rate, gradient_norm, clipped_norm, samples, seconds, ..
            } = step;
            assert!(learning_rate.is_some() && clipped_norm.is_some());
            let per_second = seconds.map(|seconds| samples as f64 / seconds);
            let fields = number("step", step)
                .with("epoch", epoch)
                .with("loss", loss)
                .with("applied", applied)
                .with_some("learning_rate", learning_rate)
                .with("gradient_norm", gradient_norm)
                .with_some("clipped_norm", clipped_norm)
                .with("samples", samples)
                .with_some("seconds", seconds)
                .with_some("samples_per_second", per_second)
                .with("message", format_args!("step"));
            expected.push(Seen::Event("chainrule::trainer", Level::DEBUG, fields));
            expected.push(Seen::Exit("step"));
        }
        let &Epoch { epoch, loss, validation, steps, skipped, learning_rate, gradient_norm, samples, seconds, .. } =
            epoch;
        let clipped_norm = epochs[epoch - 1].clipped_norm;
        assert!(gradient_norm > clipped_norm && clipped_norm.is_some());
        let validation = validation.unwrap();
        let fields = number("epoch", epoch as u64)
            .with("loss", loss)
            .with("validation_loss", validation.loss)
            .with_some("accuracy", validation.accuracy)
            .with("steps", steps)
            .with("skipped", skipped)
            .with_some("learning_rate", learning_rate)
            .with_some("gradient_norm", gradient_norm)
            .with_some("clipped_norm", clipped_norm)
            .with("samples", samples)
            .with_some("seconds", seconds)
            .with_some("samples_per_second", seconds.map(|seconds| samples as f64 / seconds))
            .with("message", format_args!("epoch"));
        expected.push(Seen::Event("chainrule::trainer", Level::INFO, fields));
        expected.push(Seen::Exit("epoch"));
    }
    assert_eq!(seen, expected);

    // A subscriber changes no bit, at any level, and a coarse one gets no steps.
    let mut plain = trainer();
    assert_eq!(plain.fit_with(&data, FitOptions::new().validation(&data)).unwrap(), epochs);
    assert_eq!(plain.parameters(), run.parameters());
    for (finest, count) in [(Level::INFO, 6), (Level::DEBUG, 24), (Level::ERROR, 0)] {
        let mut run = trainer();
        let (_, seen) = Collector::watch(finest, || run.fit(&data).unwrap());
        assert_eq!((seen.len(), plain.parameters()), (count, run.parameters()));
    }
}

#[test]
fn findings_of_a_report_are_events() {
    let mut builder = Sequential::<f32>::input(16);
    for _ in 0..12 {
        builder = builder.linear(16).activation(Sigmoid);
    }
    let network = builder.linear(2).build().unwrap();
    let (report, seen) = Collector::watch(Level::INFO, || {
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0).unwrap()).unwrap();
        diagnosis.report()
    });
    assert!(!report.findings.is_empty());
    let expected = report.findings.iter().map(|finding| {
        let level = match finding.severity {
            Severity::Critical => Level::ERROR,
            Severity::Warning => Level::WARN,
            _ => Level::INFO,
        };
        let fields = Fields::default()
            .with("cause", format_args!("{}", finding.cause))
            .with("layer", finding.layer.as_str())
            .with("place", finding.place().as_str())
            .with_some("since", finding.since)
            .with_some("decades", finding.decades)
            .with_some("predicted", finding.predicted)
            .with("is_proof", finding.is_proof)
            .with_some("behind", finding.behind)
            .with("message", format_args!("{}", finding.text));
        Seen::Event("chainrule::diagnosis", level, fields)
    });
    assert_eq!(seen, expected.collect::<Vec<_>>());
}
