//! The rules of other tools, with their published thresholds, on the quantities that these tools record.

use crate::Verdict;
use chainrule::{
    Blocks, GradientMonitor, Role,
    diagnosis::Cause,
    monitor::{Event, Factor, Link},
};

/// The symptom that a rule of another tool reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    Vanishing,
    Exploding,
    Dead,
    Saturated,
    PoorWeights,
    Rate,
    Unchanged,
}

impl Symptom {
    /// Whether the symptom counts as right for `cause`.
    pub fn is_right_for(self, cause: Cause) -> bool {
        use Cause::*;
        match self {
            Symptom::Vanishing => matches!(
                cause,
                SaturatingActivation
                    | SmallWeights
                    | Bottleneck
                    | VanishingRecurrence
                    | ClosedForgetGate
                    | ClipThresholdTooLow
                    | DeadUnits
                    | LargeWeights
            ),
            Symptom::Exploding => {
                matches!(
                    cause,
                    LargeWeights
                        | ExplodingRecurrence
                        | Cliff
                        | LearningRateTooHigh
                        | Overflow
                        | NotANumber
                        | UnscaledInput
                )
            }
            Symptom::Dead => cause == DeadUnits,
            Symptom::Saturated => matches!(cause, LargeWeights | UnscaledInput | SaturatingActivation),
            Symptom::PoorWeights => {
                matches!(cause, SmallWeights | LargeWeights | ConstantWeights | DuplicatedUnits | Bottleneck | Overflow)
            }
            Symptom::Rate => matches!(cause, LearningRateTooHigh | ClipThresholdTooLow | Cliff | FrozenBlock),
            Symptom::Unchanged => cause == FrozenBlock,
        }
    }
}

/// The tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Threshold,
    SageMaker,
    AutoTrainer,
    DeepDiagnosis,
}

impl Tool {
    pub const ALL: [Tool; 4] = [Tool::Threshold, Tool::SageMaker, Tool::AutoTrainer, Tool::DeepDiagnosis];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Threshold => "plain 1e-7 threshold",
            Tool::SageMaker => "SageMaker Debugger",
            Tool::AutoTrainer => "AUTOTRAINER",
            Tool::DeepDiagnosis => "DeepDiagnosis",
        }
    }
}

/// One tool's rules as a monitor.
#[derive(Clone, Debug)]
pub struct Peer {
    tool: Tool,
    step: usize,
    said: Option<(Symptom, String, usize)>,
    /// AUTOTRAINER's report, made only if the accuracy is low.
    held: Option<(Symptom, String, usize)>,
    unchanged: Vec<usize>,
    variances: Vec<f64>,
    losses: Vec<f64>,
}

fn mean_abs(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(x.abs())).sum::<f64>() / x.len().max(1) as f64
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn share(x: &[f32], is: impl Fn(f32) -> bool) -> f64 {
    x.iter().filter(|&&x| is(x)).count() as f64 / x.len().max(1) as f64
}

impl Peer {
    pub fn new(tool: Tool) -> Self {
        let (unchanged, variances, losses) = (Vec::new(), Vec::new(), Vec::new());
        Peer { tool, step: 0, said: None, held: None, unchanged, variances, losses }
    }

    fn say(&mut self, symptom: Symptom, name: &str) {
        if self.said.is_none() {
            let layer = name.split('.').next().unwrap_or("").to_string();
            self.said = Some((symptom, layer, self.step));
        }
    }

    /// AUTOTRAINER reports only where the accuracy is below 0.6.
    pub fn verdict(mut self, level: f64) -> Verdict {
        if self.tool == Tool::AutoTrainer && level < 0.6 {
            self.said = self.held.take();
        }
        match self.said {
            Some((symptom, layer, step)) => {
                let layers = vec![[layer.clone(), layer]];
                Verdict { symptom: Some(symptom), layers, step, ..Verdict::faulty() }
            }
            None => Verdict::default(),
        }
    }
}

impl GradientMonitor<f32> for Peer {
    fn begin_pass(&mut self) {
        self.step += 1;
        self.variances.clear();
    }

    fn forward(&mut self, at: &Link<'_>, x: &[f32], y: &[f32]) {
        let name = at.activation.map_or("", |activation| activation.name());
        if at.factor != Factor::Activation {
            return;
        }
        match self.tool {
            Tool::SageMaker => {
                let outside = match name {
                    "Tanh" => share(x, |z| z.abs() > 9.4999),
                    "Sigmoid" => share(x, |z| !(-23.0..17.0).contains(&z)),
                    _ => 0.0,
                };
                if outside > 0.5 {
                    self.say(Symptom::Saturated, at.name);
                }
                if name == "Relu" && at.step.is_none() {
                    let width = y.len() / at.shape.rows().max(1);
                    let off =
                        (0..width).filter(|&unit| y.iter().skip(unit).step_by(width.max(1)).all(|&y| y <= 0.0)).count();
                    if 2 * off > width {
                        self.say(Symptom::Dead, at.name);
                    }
                }
                if at.step.is_none() {
                    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
                    self.variances.push(x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64);
                }
            }
            Tool::DeepDiagnosis => {
                if share(y, |y| y <= 0.0) >= 0.7 {
                    self.say(Symptom::Dead, at.name);
                }
                if matches!(name, "Tanh" | "Sigmoid") && share(x, |z| z.abs() > 5.0) > 0.5 {
                    self.say(Symptom::Saturated, at.name);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &Event<'_, f32>) {
        match *event {
            Event::Loss(loss) => self.loss(loss),
            Event::Gradient { blocks, w, dw } => self.gradient(blocks, w, dw),
            Event::Update { blocks, w, update } => self.update(blocks, w, update),
            _ => {}
        }
    }
}

impl Peer {
    fn loss(&mut self, loss: f64) {
        self.losses.push(loss);
        if self.tool == Tool::AutoTrainer && (loss.is_nan() || loss > 1e3) {
            self.held = self.held.take().or(Some((Symptom::Exploding, String::new(), self.step)));
        }
    }

    fn gradient(&mut self, blocks: &Blocks, w: &[f32], dw: &[f32]) {
        let weights: Vec<_> = blocks.iter().filter(|block| block.role != Role::Bias && !block.frozen).collect();
        for block in &weights {
            let (w, dw) = (&w[block.range.clone()], &dw[block.range.clone()]);
            let (mean, broken) = (mean_abs(dw), dw.iter().chain(w).any(|x| !x.is_finite()));
            match self.tool {
                Tool::Threshold | Tool::SageMaker => {
                    if broken || self.tool == Tool::Threshold && mean > 1e3 {
                        self.say(Symptom::Exploding, &block.name);
                    }
                    if mean < 1e-7 {
                        self.say(Symptom::Vanishing, &block.name);
                    }
                }
                Tool::DeepDiagnosis => {
                    if broken || mean == 0.0 {
                        self.say(Symptom::Exploding, &block.name);
                    }
                    let average = w.iter().map(|&w| f64::from(w)).sum::<f64>() / w.len() as f64;
                    let variance = w.iter().map(|&w| (f64::from(w) - average).powi(2)).sum::<f64>() / w.len() as f64;
                    if !(1e-5..=10.0).contains(&variance) {
                        self.say(Symptom::PoorWeights, &block.name);
                    }
                }
                Tool::AutoTrainer => {}
            }
        }
        if self.tool == Tool::SageMaker && self.step <= 10 {
            let most = self.variances.iter().copied().fold(0.0, f64::max);
            let least = self.variances.iter().copied().fold(f64::INFINITY, f64::min);
            let recent = self.losses.iter().rev().take(5);
            let flat = recent.clone().count() == 5 && {
                let (low, high) =
                    recent.fold((f64::INFINITY, 0.0f64), |(low, high), &loss| (low.min(loss), high.max(loss)));
                high - low < 0.01 * high
            };
            if most > 10.0 * least && flat {
                self.say(Symptom::PoorWeights, "");
            }
        }
        // Checked every three epochs, here about 75 batches.
        if self.tool == Tool::AutoTrainer && self.step.is_multiple_of(75) && self.held.is_none() {
            let (Some(first), Some(last)) = (weights.first(), weights.last()) else { return };
            let [of_first, of_last] = [first, last].map(|block| norm(&dw[block.range.clone()]));
            let ratio = of_first / of_last;
            let symptom = if share(dw, |g| g == 0.0) >= 0.7 {
                Some(Symptom::Dead)
            } else if ratio > 70.0 || dw.iter().any(|g| g.is_nan()) {
                Some(Symptom::Exploding)
            } else if ratio < 1e-3 && of_first < 1e-4 {
                Some(Symptom::Vanishing)
            } else {
                None
            };
            let layer = first.name.split('.').next().unwrap_or("").to_string();
            self.held = symptom.map(|symptom| (symptom, layer, self.step));
        }
    }

    fn update(&mut self, blocks: &Blocks, w: &[f32], update: &[f32]) {
        self.unchanged.resize(blocks.len(), 0);
        for (i, block) in blocks.iter().enumerate().filter(|(_, block)| block.role != Role::Bias && !block.frozen) {
            let (w, update) = (&w[block.range.clone()], &update[block.range.clone()]);
            let ratio = norm(update) / norm(w);
            match self.tool {
                Tool::DeepDiagnosis => {
                    if mean_abs(update) < 1e-7 {
                        self.say(Symptom::Vanishing, &block.name);
                    } else if !(1e-5..=0.1).contains(&ratio) {
                        self.say(Symptom::Rate, &block.name);
                    }
                }
                Tool::SageMaker => {
                    let same = w.iter().zip(update).all(|(w, u)| u.abs() <= 1e-8 + 1e-5 * w.abs());
                    self.unchanged[i] = if same { self.unchanged[i] + 1 } else { 0 };
                    if self.unchanged[i] >= 3 {
                        self.say(Symptom::Unchanged, &block.name);
                    }
                    if !(1e-8..=10.0).contains(&ratio) {
                        self.say(Symptom::Rate, &block.name);
                    }
                }
                _ => {}
            }
        }
    }
}
