//! One hostile call: a deterministic source of arguments, and what came of the call.

use chainrule::{
    BatchShape, Error, Scalar,
    activation::{self, Activation, ActivationKind},
    initializer::{self, InitializerKind},
    layer::{BranchScale, LastStep, LayerNorm, LayerSpec, Linear, MeanOverSteps},
    recurrent::{CellKind, Gru, GruVariant, Lstm, Mgu, StateNoise},
    scalar,
};
use serde_json::{Value, json};

/// Why a call did not end in a right result.
#[derive(Debug)]
pub enum Fault {
    /// A typed error: the right answer to a wrong argument.
    Refused(String),
    /// A result that must not be.
    Wrong(String),
}

/// The result of one call.
pub type Verdict = Result<(), Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Refused(format!("{error} ({error:?})"))
    }
}

/// Reports a result that must not be.
pub fn ensure(right: bool, what: impl FnOnce() -> String) -> Verdict {
    if right { Ok(()) } else { Err(Fault::Wrong(what())) }
}

/// A source of hostile arguments, the same for the same entry, index and seed.
pub struct Case {
    digits: u64,
    state: u64,
    shown: bool,
}

/// The inverse of an odd number modulo 2⁶⁴.
const fn inverse(odd: usize) -> usize {
    let mut x = odd;
    let mut i = 0;
    while i < 6 {
        x = x.wrapping_mul(2_usize.wrapping_sub(odd.wrapping_mul(x)));
        i += 1;
    }
    x
}

/// Sizes: small ones, and those whose sums and products wrap.
const SIZES: &[usize] = &[
    0,
    1,
    2,
    3,
    5,
    17,
    64,
    usize::MAX,
    usize::MAX - 1,
    usize::MAX - 7,
    usize::MAX / 2,
    usize::MAX / 2 + 1,
    usize::MAX / 2 + 2,
    usize::MAX / 4 + 1,
    usize::MAX / 8,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 1,
    1 << 40,
    (1 << 61) + 1,
    1 << 62,
    inverse(3).wrapping_mul(32768),
    inverse(3).wrapping_mul(9),
    inverse(5).wrapping_mul(64),
    inverse(7).wrapping_mul(14),
    inverse(9).wrapping_mul(36),
    usize::MAX / 3 + 1,
    usize::MAX / 5 + 1,
];

/// Floats: ordinary ones, edges, and those that are no number.
const REALS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-3,
    2.0,
    -0.1,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN,
    f64::MAX / 2.0,
    f64::MIN_POSITIVE,
    f64::MIN_POSITIVE / 4.0,
    5e-324,
    1e308,
    1e-308,
    f64::EPSILON,
    1.0 - f64::EPSILON,
    1.0 + f64::EPSILON,
    1e19,
    1e39,
    1e-39,
    1e-46,
];

const TEXTS: &[&str] = &[
    "",
    "0",
    "0.weight",
    "weight",
    ".",
    "..",
    "best",
    "carried",
    "optimizer.state",
    "__metadata__",
    "chainrule",
    "\0",
    "0.weight\n",
    "ä\u{301}",
    "../x",
    "forget",
    "18446744073709551616",
];

/// What the values of a slice are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    /// Between −1 and 1.
    Mild,
    /// Mostly mild, some of any size, NaN and ∞.
    Hostile,
}

/// A shape that owns its lengths; its fields may contradict each other.
#[derive(Debug, Clone)]
pub struct Rows {
    pub batch: usize,
    pub steps: usize,
    pub lengths: Option<Vec<usize>>,
}

impl Rows {
    pub fn shape(&self) -> BatchShape<'_> {
        let mut shape = BatchShape::sequences(self.batch, self.steps);
        shape.lengths = self.lengths.as_deref();
        shape
    }

    /// The number of rows, exact; `None` where the fields contradict each other or there are none.
    pub fn truth(&self) -> Option<u128> {
        match &self.lengths {
            None if self.batch > 0 && self.steps > 0 => Some(self.batch as u128 * self.steps as u128),
            None => None,
            Some(lengths) => {
                let right = lengths.len() == self.batch
                    && lengths.first() == Some(&self.steps)
                    && lengths.windows(2).all(|pair| pair[0] >= pair[1])
                    && !lengths.contains(&0);
                right.then(|| lengths.iter().map(|&length| length as u128).sum())
            }
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Case {
    pub fn new(entry: &str, index: u64, seed: u64, shown: bool) -> Self {
        let name = entry
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Case { digits: index, state: mix(name ^ mix(seed).wrapping_add(index)), shown }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    fn show(&self, what: &str, value: impl std::fmt::Debug) {
        if self.shown {
            let text: String = format!("{value:?}").chars().take(200).collect();
            println!("  {what}: {text}");
        }
    }

    /// A place below `end`: the first draws of a call enumerate, the later ones are random.
    pub fn below(&mut self, end: usize) -> usize {
        if self.digits > 0 {
            let digit = (self.digits % end as u64) as usize;
            self.digits /= end as u64;
            return digit;
        }
        (self.next() % end as u64) as usize
    }

    pub fn of<X: Clone + std::fmt::Debug>(&mut self, pool: &[X]) -> X {
        let i = self.below(pool.len());
        self.show("choice", &pool[i]);
        pool[i].clone()
    }

    /// True once in `n` draws; it does not count as an argument.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub fn flag(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// A hostile size.
    pub fn size(&mut self) -> usize {
        self.of(SIZES)
    }

    /// A small number, perhaps 0.
    pub fn few(&mut self) -> usize {
        let n = (self.next() % 7) as usize;
        self.show("few", n);
        n
    }

    /// Mostly a legal small width, at times a hostile size.
    pub fn width(&mut self) -> usize {
        if self.once_in(6) {
            return self.size();
        }
        let n = 1 + (self.next() % 6) as usize;
        self.show("width", n);
        n
    }

    /// Mostly `right`, at times another length.
    pub fn length(&mut self, right: usize) -> usize {
        let right = right.min(1 << 16);
        let n = match self.next() % 12 {
            0 => 0,
            1 => right.saturating_sub(1),
            2 => right + 1,
            3 => right * 2,
            _ => right,
        };
        self.show("length", n);
        n
    }

    /// A hostile float.
    pub fn real(&mut self) -> f64 {
        self.of(REALS)
    }

    /// Mostly `right`, at times a hostile float.
    pub fn about(&mut self, right: f64) -> f64 {
        if self.once_in(3) { self.real() } else { right }
    }

    pub fn word(&mut self) -> u64 {
        self.of(&[0, 1, 2, 3, 10, u64::MAX, u64::MAX - 1, u64::MAX / 2, 1 << 63, 1 << 32, 1 << 53, (1 << 53) + 1])
    }

    pub fn text(&mut self) -> String {
        if self.once_in(12) {
            let n = self.of(&[255_usize, 4096, 100_000]);
            return "x".repeat(n);
        }
        self.of(TEXTS).to_string()
    }

    pub fn taste(&mut self) -> Taste {
        if self.flag() { Taste::Mild } else { Taste::Hostile }
    }

    /// `n` values, at most 2¹⁷ of them.
    pub fn values<T: Scalar>(&mut self, n: usize, taste: Taste) -> Vec<T> {
        let n = n.min(1 << 17);
        let values = (0..n).map(|_| {
            let mild = (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            match taste {
                Taste::Hostile if self.next().is_multiple_of(4) => {
                    let i = (self.next() % REALS.len() as u64) as usize;
                    scalar::<T>(REALS[i])
                }
                _ => scalar::<T>(mild),
            }
        });
        let values: Vec<T> = values.collect();
        self.show("values", (taste, values.len()));
        values
    }

    /// Values of about the right length and of any taste.
    pub fn slice<T: Scalar>(&mut self, right: usize) -> Vec<T> {
        let (n, taste) = (self.length(right), self.taste());
        self.values(n, taste)
    }

    /// Mostly a small legal shape; at times a hostile one, its fields perhaps contradicting each other.
    pub fn rows(&mut self) -> Rows {
        let small = |c: &mut Self| 1 + (c.next() % 5) as usize;
        let rows = match self.next() % 10 {
            0..4 => Rows { batch: small(self), steps: 1, lengths: None },
            4 => Rows { batch: small(self), steps: small(self), lengths: None },
            5 => {
                let mut lengths: Vec<usize> = (0..small(self)).map(|_| small(self)).collect();
                lengths.sort_unstable_by(|a, b| b.cmp(a));
                Rows { batch: lengths.len(), steps: lengths[0], lengths: Some(lengths) }
            }
            6 => Rows { batch: self.size(), steps: 1, lengths: None },
            7 => Rows { batch: self.size(), steps: self.size(), lengths: None },
            8 => {
                let lengths: Vec<usize> = (0..self.few()).map(|_| self.size()).collect();
                Rows { batch: lengths.len(), steps: lengths.first().copied().unwrap_or(0), lengths: Some(lengths) }
            }
            _ => {
                let lengths: Vec<usize> = (0..self.few()).map(|_| self.few()).collect();
                Rows { batch: self.few(), steps: self.few(), lengths: Some(lengths) }
            }
        };
        self.show("rows", &rows);
        rows
    }

    /// An activation of the crate, its parameters hostile where it has some.
    pub fn activation(&mut self) -> ActivationKind {
        use activation as a;
        let own = |made: Result<ActivationKind, Error>| made.unwrap_or(ActivationKind::Tanh(a::Tanh));
        match self.next() % 15 {
            0 => a::Relu.kind(),
            1 => a::Sigmoid.kind(),
            2 => own(a::Elu::new(self.real()).map(|a| a.kind())),
            3 => own(a::LeakyRelu::new(self.real()).map(|a| a.kind())),
            4 => own(a::HardTanh::new(self.real(), self.real()).map(|a| a.kind())),
            5 => own(a::Softplus::new(self.real()).map(|a| a.kind())),
            6 => own(a::Swish::new(self.real()).map(|a| a.kind())),
            7 => a::Gelu.kind(),
            8 => a::Mish.kind(),
            9 => a::Softsign.kind(),
            10 => a::Identity.kind(),
            11 => own(a::HardShrink::new(self.real()).map(|a| a.kind())),
            12 => own(a::SoftShrink::new(self.real()).map(|a| a.kind())),
            13 => own(a::Threshold::new(self.real(), self.real()).map(|a| a.kind())),
            _ => a::Tanh.kind(),
        }
    }

    /// An initializer of the crate; its parameters are hostile at times.
    pub fn initializer(&mut self) -> InitializerKind {
        use initializer::{self as i, Initializer};
        match self.next() % 16 {
            0 => i::Zeros.kind(),
            1 => i::Constant(self.about(0.5)).kind(),
            2 => i::Uniform { low: self.about(-1.0), high: self.about(1.0) }.kind(),
            3 => i::Normal { mean: self.about(0.0), std: self.about(1.0) }.kind(),
            4 => i::TruncatedNormal::new(self.about(0.0), self.about(1.0))
                .between(self.about(-2.0), self.about(2.0))
                .kind(),
            5 => i::Orthogonal { gain: self.about(1.0) }.kind(),
            6 => i::Identity { scale: self.about(1.0) }.kind(),
            7 => i::Sparse::std(self.about(0.1)).non_zeros(self.size()).kind(),
            8 => i::Sparse::spectral_radius(self.about(0.9)).kind(),
            9 => i::Chrono { span: self.size() }.kind(),
            10 => i::VarianceScaling { gain: self.about(1.0), fan: i::Fan::In, distribution: i::Distribution::Normal }
                .kind(),
            11 => i::ByGate::new(i::Zeros).gate(&self.text(), i::Constant(self.real())).kind(),
            12 => i::CriticalGain::new(self.activation().as_any()).map_or(i::Zeros.kind(), |critical| critical.kind()),
            _ => i::Glorot::uniform().kind(),
        }
    }

    pub fn cell(&mut self) -> CellKind {
        match self.next() % 5 {
            4 => CellKind::Mgu(Mgu::new()),
            0 => CellKind::Lstm(Lstm::new()),
            1 => CellKind::Gru(Gru::new()),
            2 => CellKind::Gru(Gru::new().variant(GruVariant::ResetBefore)),
            _ => CellKind::Elman(self.activation()),
        }
    }

    /// A description of a layer that takes `input` values, mostly one that can be built.
    pub fn node(&mut self, input: usize, depth: usize) -> LayerSpec {
        let input = if self.once_in(30) { self.size() } else { input };
        let deep = if depth == 0 { 9 } else { 15 };
        match self.next() % deep {
            0 | 1 => {
                let layer = Linear::new(input, self.width()).weights(self.initializer());
                LayerSpec::Linear(if self.flag() { layer.bias(self.initializer()) } else { layer.without_bias() })
            }
            2 => LayerSpec::ActivationLayer { width: input, activation: self.activation() },
            3 => {
                let initial = number(self.about(0.25));
                read("PRelu", json!({ "width": input, "per_unit": self.flag(), "initial": initial }))
            }
            4 => {
                let epsilon = number(self.about(1e-5));
                read("LayerNorm", json!({ "width": input, "epsilon": epsilon, "affine": self.flag() }))
            }
            5 => {
                let epsilon = number(self.about(1e-5));
                read("RmsNorm", json!({ "width": input, "epsilon": epsilon, "affine": self.flag() }))
            }
            6 => read("Dropout", json!({ "width": input, "rate": number(self.about(0.5)) })),
            7 => LayerSpec::Recurrent {
                cell: self.cell(),
                inputs: input,
                hidden: self.width(),
                weights: self.initializer(),
                recurrent: self.initializer(),
                bias: self.flag().then(|| self.initializer()),
                noise: self.noise(),
            },
            8 => {
                if self.flag() {
                    LayerSpec::LastStep(LastStep::new(input))
                } else {
                    LayerSpec::MeanOverSteps(MeanOverSteps::new(input))
                }
            }
            9 => LayerSpec::Reversed(Box::new(self.node(input, depth - 1))),
            10 => LayerSpec::Bidirectional {
                forward: Box::new(self.node(input, depth - 1)),
                backward: Box::new(self.node(input, depth - 1)),
            },
            11 => {
                let scale = self.about(1.0);
                let scale = if self.flag() { BranchScale::Fixed(scale) } else { BranchScale::Learned(scale) };
                LayerSpec::Residual { branch: Box::new(self.sequence(input, depth - 1)), scale }
            }
            _ => self.sequence(input, depth - 1),
        }
    }

    /// Some layers one after the other.
    pub fn sequence(&mut self, input: usize, depth: usize) -> LayerSpec {
        let mut width = input;
        let layers = (0..self.few())
            .map(|_| {
                let node = self.node(width, depth);
                width = output(&node).unwrap_or(width);
                node
            })
            .collect();
        LayerSpec::Sequential { input, layers }
    }

    /// Mostly no noise, at times rates that may be hostile.
    fn noise(&mut self) -> StateNoise {
        if !self.once_in(4) {
            return StateNoise::default();
        }
        let [dropout, zoneout_hidden, zoneout_cell] = [(); 3].map(|()| self.about(0.3));
        StateNoise { dropout, zoneout_hidden, zoneout_cell }
    }

    /// A small network that can be built, trained and run: for calls whose other arguments are hostile.
    pub fn legal(&mut self, input: usize, output: usize) -> LayerSpec {
        let linear = |inputs, outputs| LayerSpec::Linear(Linear::new(inputs, outputs));
        let recurrent = |cell| LayerSpec::Recurrent {
            cell,
            inputs: input,
            hidden: 3,
            weights: initializer::Initializer::kind(initializer::Glorot::uniform()),
            recurrent: initializer::Initializer::kind(initializer::Orthogonal { gain: 1.0 }),
            bias: None,
            noise: StateNoise::default(),
        };
        let layers = match self.next() % 5 {
            0 => vec![linear(input, output)],
            1 => vec![
                linear(input, 4),
                LayerSpec::ActivationLayer { width: 4, activation: activation::Tanh.kind() },
                LayerSpec::LayerNorm(LayerNorm::new(4)),
                linear(4, output),
            ],
            2 => vec![recurrent(CellKind::Lstm(Lstm::new())), LayerSpec::LastStep(LastStep::new(3)), linear(3, output)],
            3 => vec![recurrent(CellKind::Gru(Gru::new())), linear(3, output)],
            _ => vec![
                linear(input, 4),
                LayerSpec::Residual {
                    branch: Box::new(LayerSpec::Sequential {
                        input: 4,
                        layers: vec![
                            LayerSpec::ActivationLayer { width: 4, activation: activation::Relu.kind() },
                            linear(4, 4),
                        ],
                    }),
                    scale: BranchScale::Learned(0.5),
                },
                read("Dropout", json!({ "width": 4, "rate": 0.5 })),
                linear(4, output),
            ],
        };
        LayerSpec::Sequential { input, layers }
    }
}

/// A layer read from JSON, so that its settings can be those that constructors refuse.
fn read(kind: &str, settings: Value) -> LayerSpec {
    serde_json::from_value(json!({ kind: settings })).unwrap_or_else(|error| panic!("{kind} in JSON: {error}"))
}

/// A number as JSON has it.
pub fn number(value: f64) -> Value {
    match value {
        value if value.is_finite() => json!(value),
        value if value.is_nan() => json!("NaN"),
        value => json!(if value > 0.0 { "inf" } else { "-inf" }),
    }
}

/// The width of the rows that a described layer gives.
pub fn output(node: &LayerSpec) -> Option<usize> {
    match node {
        LayerSpec::Sequential { input, layers } => layers.last().map_or(Some(*input), output),
        LayerSpec::Reversed(layer) => output(layer),
        LayerSpec::Bidirectional { forward, backward } => output(forward)?.checked_add(output(backward)?),
        LayerSpec::Residual { branch, .. } => output(branch),
        LayerSpec::Custom { dims, .. } => Some(dims.output),
        leaf => Some(leaf.widths().1),
    }
}

/// The number of parameters of a described layer, exact.
pub fn parameters(node: &LayerSpec) -> u128 {
    match node {
        LayerSpec::Linear(_) | LayerSpec::PRelu(_) | LayerSpec::LayerNorm(_) | LayerSpec::RmsNorm(_) => {
            let text = serde_json::to_value(node).unwrap_or_default();
            let Some((kind, fields)) = text.as_object().and_then(|all| all.iter().next()) else { return 0 };
            let size = |name: &str| fields[name].as_u64().map_or(0, u128::from);
            match kind.as_str() {
                "Linear" => size("outputs") * (size("inputs") + u128::from(!fields["bias"].is_null())),
                "PRelu" if fields["per_unit"] == false => 1,
                "PRelu" => size("width"),
                kind => size("width") * if fields["affine"] == false { 0 } else { 1 + u128::from(kind == "LayerNorm") },
            }
        }
        LayerSpec::Residual { branch, scale } => {
            parameters(branch).saturating_add(u128::from(matches!(scale, BranchScale::Learned(_))))
        }
        LayerSpec::Sequential { layers, .. } => layers.iter().map(parameters).fold(0, u128::saturating_add),
        LayerSpec::Reversed(layer) => parameters(layer),
        LayerSpec::Custom { dims, .. } => dims.parameters as u128,
        LayerSpec::Bidirectional { forward, backward } => parameters(forward).saturating_add(parameters(backward)),
        LayerSpec::Recurrent { cell, inputs, hidden, bias, .. } => {
            let gates = cell.gates().map_or(1, <[_]>::len) as u128;
            let apart = u128::from(*cell == CellKind::Gru(Gru::new()));
            let columns = (*inputs as u128).saturating_add(*hidden as u128);
            let biases = if bias.is_some() { gates + apart } else { 0 };
            (gates * *hidden as u128).saturating_mul(columns).saturating_add(biases * *hidden as u128)
        }
        _ => 0,
    }
}
