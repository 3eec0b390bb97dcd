//! Monitors.

use super::{entry, layers::json};
use crate::{
    Entry,
    case::{Case, Verdict, ensure},
};
use chainrule::{
    BatchShape, Blocks, Gate, GradientMonitor, Layer,
    layer::{LinkPath, Sequential},
    monitor::{Event, Every, Factor, GradientBudget, NormStats, Recorder, RunRecord, Shares, Statistics, TensorBoard},
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Tells a monitor events in any order, of any size.
fn tell<M: GradientMonitor<f32>>(c: &mut Case, monitor: &mut M) -> Verdict {
    let names = ["0".to_string(), c.text(), "2".to_string()];
    let network = Sequential::<f32>::input(2).linear(2).build()?;
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let activation = c.activation();
    for _ in 0..c.few() {
        let rows = c.rows();
        let shape = if c.flag() { BatchShape::batch(2) } else { rows.shape() };
        let factor = c.of(&[Factor::Weights, Factor::Activation, Factor::Addition, Factor::Other]);
        let place = if c.once_in(6) { c.size() } else { c.below(3) };
        let mut link = LinkPath::new(&names).part(place).link(factor, shape);
        if c.flag() {
            link = link.at_step(if c.once_in(3) { c.size() } else { c.few() });
        }
        if c.flag() {
            link = link.gate(Gate::new("forget"));
        }
        if c.flag() {
            link = link.activation(activation.as_any());
        }
        let (n, m) = (c.few(), c.few());
        let (a, b) = (c.slice::<f32>(n * 2), c.slice::<f32>(m * 2));
        match c.below(8) {
            0 => monitor.begin_pass(),
            1 => monitor.forward(&link, &a, &b),
            2 | 3 => monitor.backward(&link, &a, &b),
            4 => monitor.event(&Event::Loss(c.real())),
            5 => monitor.event(&Event::Clip(c.real())),
            6 => monitor.event(&Event::NextPart),
            _ => {
                let (w, dw) = (c.slice::<f32>(6), c.slice::<f32>(6));
                monitor.event(&match c.flag() {
                    true => Event::Gradient { blocks: &blocks, w: &w, dw: &dw },
                    false => Event::Update { blocks: &blocks, w: &w, update: &dw },
                });
            }
        }
    }
    Ok(())
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            5,
            &[
                "monitor::Statistics::new",
                "monitor::Statistics: GradientMonitor",
                "monitor::GradientMonitor::forward",
                "monitor::GradientMonitor::backward",
                "monitor::GradientMonitor::event",
                "monitor::Event {}",
            ],
            &["out of range for slice"],
            |c| {
                let mut seen = Statistics::new();
                tell(c, &mut seen)?;
                let _ = format!("{seen:?} {:?} {:?}", seen.links().len(), seen.run());
                Ok(())
            },
        ),
        entry(
            5,
            &[
                "monitor::GradientBudget::new",
                "monitor::GradientBudget::state_gradients",
                "monitor::GradientBudget::steps_of",
                "monitor::GradientBudget: GradientMonitor",
                "monitor::Shares::of",
            ],
            &["out of range for slice"],
            |c| {
                let mut budget = GradientBudget::new();
                tell(c, &mut budget)?;
                let name = c.text();
                let _ = (
                    budget.state_gradients(&name),
                    budget.steps_of(&name).count(),
                    budget.recurrent_layers(),
                    Shares::of(budget.links()).total(),
                );
                let _ = format!("{budget:?} {budget}");
                Ok(())
            },
        ),
        entry(
            3,
            &[
                "monitor::Recorder::new",
                "monitor::Recorder: GradientMonitor",
                "monitor::RunRecord::read",
                "monitor::RunRecord::to_html",
            ],
            &["out of range for slice"],
            |c| {
                let mut recorder = Recorder::new(Vec::new());
                tell(c, &mut recorder)?;
                let written = recorder.finish();
                let mut text = String::from_utf8(written.unwrap_or_default()).unwrap_or_default();
                for line in text.lines() {
                    ensure(serde_json::from_str::<serde_json::Value>(line).is_ok(), || format!("no JSON: {line}"))?;
                }
                if c.once_in(3) {
                    text += &c.text();
                    text += "\n";
                }
                let page = RunRecord::read(text.as_bytes())?.to_html(None);
                ensure(page.ends_with("</html>\n"), || format!("the page ends in {:?}", page.chars().next_back()))
            },
        ),
        entry(
            3,
            &[
                "monitor::TensorBoard::new",
                "monitor::TensorBoard::histograms_every",
                "monitor::TensorBoard::scalar",
                "monitor::TensorBoard::histogram",
                "monitor::TensorBoard::histograms",
                "monitor::TensorBoard::text",
                "monitor::TensorBoard: GradientMonitor",
            ],
            &[],
            |c| {
                let mut board = TensorBoard::new(Vec::new()).histograms_every(if c.flag() { 1 } else { c.word() });
                tell(c, &mut board)?;
                let (tag, text, n) = (c.text(), c.text(), c.few());
                board.histograms(c.word());
                board.scalar(&tag, c.word(), c.real());
                board.histogram(&tag, c.word(), &c.slice::<f64>(n));
                board.text(&tag, c.word(), &text);
                let file = board.finish()?;
                // The length of each record leads to the next one, and the last to the end.
                let mut rest = &file[..];
                while let Some((length, after)) = rest.split_first_chunk::<8>() {
                    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
                    ensure(after.len() >= length.saturating_add(8), || format!("a record of {length} bytes is cut"))?;
                    rest = &after[length + 8..];
                }
                ensure(rest.is_empty(), || "bytes after the last record".into())
            },
        ),
        entry(2, &["monitor::TensorBoard::create"], &[], |c| {
            static CALLS: AtomicUsize = AtomicUsize::new(0);
            let (process, call) = (std::process::id(), CALLS.fetch_add(1, Relaxed));
            let folder = std::env::temp_dir().join(format!("hostile-board-{process}-{call}"));
            // The name of a folder below the temporary one, or one that the system refuses.
            let name: String = c.text().chars().filter(|c| !matches!(c, '/' | '\\' | '.')).collect();
            let made = TensorBoard::create(folder.join(&name));
            let file = folder.join("file");
            let _ = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, "no folder"));
            let refused = TensorBoard::create(&file).is_err();
            let _ = std::fs::remove_dir_all(&folder);
            ensure(refused, || "a folder that is a file".into())?;
            made?.finish().map(|_| ()).map_err(Into::into)
        }),
        entry(3, &["monitor::Every", "monitor::Every: GradientMonitor"], &["out of range for slice"], |c| {
            let mut every = Every(c.word(), GradientBudget::new());
            tell(c, &mut every)
        }),
        entry(2, &["monitor::NormStats::of"], &[], |c| {
            let n = c.few();
            let values = c.slice::<f64>(n);
            let stats = NormStats::of(&values);
            let _ = format!("{stats:?}");
            Ok(())
        }),
        entry(1, &["monitor::Factor: Deserialize", "Role: Deserialize", "loss::Reduction: Deserialize"], &[], |c| {
            match c.below(3) {
                0 => json(c, &Factor::Weights),
                1 => json(c, &chainrule::Role::Weight),
                _ => json(c, &chainrule::loss::Reduction::Sum),
            }
        }),
    ]
}
