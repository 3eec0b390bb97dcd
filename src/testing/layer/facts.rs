//! Laws of the descriptive methods: blocks and memory sizes.

use super::{Suite, described};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    layer::{Layer, Mode},
    testing::{Law, answers, ignored, law::Trial},
};
use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;

/// Whether the methods that describe a layer give answers. A panic is noted as a violation, with the method's name.
#[inline]
pub(super) fn describes(layer: &dyn Layer<f64>, trial: &mut Trial) -> bool {
    let (shape, modes) = (BatchShape::sequences(1, 2), [Mode::Train, Mode::Evaluate, Mode::Infer]);
    let w = || vec![0.5; layer.dims().parameters];
    answers(
        trial,
        "",
        &[
            ("dims", &|| ignored(layer.dims())),
            ("blocks", &|| layer.blocks(&mut |_| {})),
            ("memory", &|| modes.into_iter().for_each(|mode| ignored(layer.memory(shape, mode)))),
            ("output_shape", &|| ignored(layer.output_shape(shape))),
            ("structure", &|| ignored(layer.structure())),
            ("samples", &|| ignored(layer.samples())),
            ("reads_later_steps", &|| ignored(layer.reads_later_steps())),
            ("hints", &|| ignored(layer.hints())),
            ("gain_bound", &|| ignored(layer.gain_bound(&w(), shape))),
            ("state_gain_bounds", &|| ignored(layer.state_gain_bounds(&w(), shape))),
            ("spec", &|| ignored(layer.spec())),
        ],
    )
}

/// Text up to a number of bytes. It refuses more, which ends the `Debug` text of a large table early.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const LONGEST: usize = 1 << 16;
        self.0.push_str(text);
        if self.0.len() > LONGEST { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Returns, for each method that describes a layer as data, its name and its result as text. A long text
/// is cut.
pub(super) fn told(layer: &dyn Layer<f64>) -> Vec<(&'static str, String)> {
    let mut spec = Short(String::new());
    // A cut text is enough.
    let _ = fmt::write(&mut spec, format_args!("{:?}", layer.spec()));
    vec![("spec", spec.0), ("dims", format!("{:?}", layer.dims()))]
}

impl Suite<'_, '_> {
    #[inline]
    pub(super) fn blocks_tile(&mut self) {
        let mut next = 0;
        let mut names: Vec<&str> = Vec::new();
        let mut wrong = None;
        for block in &self.blocks {
            let Block { name, range, shape, gates, .. } = block;
            let holds = [
                (range.start == next, format!("a start at {next}"), format!("{range:?}")),
                (range.len() == shape[0] * shape[1], format!("{shape:?} values"), format!("{range:?}")),
                (!name.is_empty(), "a name".into(), "none".into()),
                (!names.contains(&&**name), "a name of its own".into(), format!("{name:?} again")),
                (
                    gates.is_empty() || shape[0] % gates.len() == 0,
                    "as many rows for each gate".into(),
                    format!("{shape:?}"),
                ),
            ];
            if let Some((_, expected, found)) = holds.into_iter().find(|(holds, ..)| !holds) {
                wrong = wrong.or(Some((format!("{}block `{name}`", self.label), expected, found)));
            }
            names.push(name);
            next = range.end;
        }
        for parameters in [
            self.layers.double.dims().parameters,
            self.layers.single.dims().parameters,
            self.layers.dual.dims().parameters,
        ] {
            if parameters != next {
                let place = format!("{}the end of the last block", self.label);
                wrong = wrong.or(Some((place, format!("{parameters} parameters, as in dims()"), format!("{next}"))));
            }
        }
        if let Some((place, expected, found)) = wrong {
            self.trial.breaks(Law::BlocksTile, place, expected, found, "");
        }
    }

    #[inline]
    pub(super) fn needs_grow(&mut self) {
        let layer = self.layers.double;
        for mode in [Mode::Train, Mode::Evaluate, Mode::Infer] {
            for (batch, steps) in [(1, 1), (1, 3), (2, 1), (3, 4), (8, 5)] {
                let shape = BatchShape::sequences(batch, steps);
                let memory = layer.memory(shape, mode);
                let trained = layer.memory(shape, Mode::Train);
                if memory.state != trained.state || (mode == Mode::Infer && memory.saved > 0) {
                    let place = format!("{}{mode:?}, {}", self.label, described(shape));
                    let expected = "the state of each mode, and nothing saved in Infer";
                    let found = format!("{memory:?}, and in Train {trained:?}");
                    self.trial.breaks(Law::MemoryGrows, place, expected, found, "");
                }
                for larger in [BatchShape::sequences(batch + 1, steps), BatchShape::sequences(batch, steps + 1)] {
                    let more = layer.memory(larger, mode);
                    let holds =
                        more.saved >= memory.saved && more.scratch >= memory.scratch && more.state == memory.state;
                    if !holds {
                        let place = format!("{}{mode:?}, {} after {}", self.label, described(larger), described(shape));
                        let expected = format!("at least {memory:?}, and the same state");
                        self.trial.breaks(Law::MemoryGrows, place, expected, format!("{more:?}"), "");
                    }
                }
            }
        }
    }

    #[inline]
    pub(super) fn blocks_matter(&mut self) {
        for (block, matters) in self.blocks.iter().zip(&self.matters) {
            // A cell need not use the recurrent weights of every gate.
            let silent = match block.role {
                Role::Recurrent => matters.iter().all(|matters| !matters).then_some(0),
                _ => matters.iter().position(|matters| !matters),
            };
            if let Some(gate) = silent {
                let gate = block.gates.get(gate).map_or_else(String::new, |gate| format!(", gate `{gate}`"));
                let place = format!("{}block `{}`{gate}", self.label, block.name);
                let expected = "a gradient for some input";
                self.trial.breaks(Law::BlocksMatter, place, expected, "0 for all that were tried", "");
            }
        }
    }
}
