//! A custom monitor that recomputes the gradient with plain loops.

use chainrule::{
    Block, Blocks, GradientMonitor,
    monitor::{Factor, Link},
};
use std::collections::HashMap;

/// The expected gradient norms before and after one link.
#[derive(Clone, Debug)]
pub struct Expected {
    pub name: String,
    pub factor: Factor,
    pub step: Option<usize>,
    pub before: f64,
    pub after: f64,
}

/// Propagates its own gradient from link to link. It takes z from the forward events, the weights from the caller, and
/// from the backward events only the order of the links. It copies the links that it does not recompute (gated cells,
/// pooling).
pub struct Witness<'a> {
    pub blocks: &'a Blocks,
    pub w: &'a [f64],
    /// The gradient at the current link of the backward pass; first that of the output.
    pub g: Vec<f64>,
    /// z of each activation over depth, and of each step of each Elman cell.
    z: HashMap<(String, Option<usize>), (String, Vec<f64>)>,
    skips: Vec<Vec<f64>>,
    /// The largest difference over depth between a gradient in an event and the witness's own.
    pub worst: f64,
    pub depth: Vec<Expected>,
    pub time: Vec<Expected>,
    /// Layers with gated cells, whose links over time are not recomputed.
    pub gated: Vec<String>,
    /// The number of recomputed activations and weights. If it is 0, the test proves nothing.
    pub recomputed: [usize; 2],
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// φ′(z) from its textbook formula.
fn slope(name: &str, z: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-z).exp());
    match name {
        "Tanh" => 1.0 / z.cosh().powi(2),
        "Sigmoid" => sigmoid * (1.0 - sigmoid),
        "Relu" => f64::from(z > 0.0),
        "Gelu" => {
            let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            0.5 * libm::erfc(-z / std::f64::consts::SQRT_2) + z * density
        }
        other => panic!("no slope of {other}"),
    }
}

impl<'a> Witness<'a> {
    pub fn new(blocks: &'a Blocks, w: &'a [f64], g: &[f64]) -> Self {
        Witness {
            blocks,
            w,
            g: g.to_vec(),
            z: HashMap::new(),
            skips: Vec::new(),
            worst: 0.0,
            depth: Vec::new(),
            time: Vec::new(),
            gated: Vec::new(),
            recomputed: [0; 2],
        }
    }

    fn block(&self, name: &str) -> (&'a [f64], &'a Block<'static>) {
        let block = self.blocks.get(name).unwrap();
        (&self.w[block.range.clone()], block)
    }

    /// Wᵀ d for each row d.
    fn transposed(&self, name: &str, d: &[f64]) -> Vec<f64> {
        let (w, block) = self.block(name);
        let [outputs, inputs] = block.shape;
        let mut dx = Vec::new();
        for d in d.chunks(outputs) {
            dx.extend((0..inputs).map(|i| (0..outputs).map(|o| w[o * inputs + i] * d[o]).sum::<f64>()));
        }
        dx
    }

    fn through_activation(&self, name: &str, step: Option<usize>, g: &[f64]) -> Vec<f64> {
        let (activation, z) = &self.z[&(name.to_string(), step)];
        assert_eq!(z.len(), g.len());
        z.iter().zip(g).map(|(&z, g)| slope(activation, z) * g).collect()
    }

    /// Backpropagation through time of an Elman cell: the pre-activation gradients δ of all rows.
    fn through_time(&mut self, layer: &str, at: &Link<'_>) -> Vec<f64> {
        let hidden = self.block(&format!("{layer}.recurrent")).1.shape[1];
        let mut state = vec![0.0; at.shape.batch * hidden];
        let mut deltas = vec![0.0; self.g.len()];
        for t in (0..at.shape.steps).rev() {
            let rows = at.shape.step(t);
            let active = rows.len() * hidden;
            let row = rows.start * hidden;
            let came = norm(&state);
            let dh: Vec<f64> = state[..active].iter().zip(&self.g[row..]).map(|(state, loss)| state + loss).collect();
            let delta = self.through_activation(&format!("{layer}.activation"), Some(t), &dh);
            deltas[row..][..active].copy_from_slice(&delta);
            let past = self.transposed(&format!("{layer}.recurrent"), &delta);
            let mut expect = |part: &str, factor, before, after| {
                let name = format!("{layer}.{part}");
                self.time.push(Expected { name, factor, step: Some(t), before, after });
            };
            expect("addition", Factor::Addition, came, norm(&dh));
            expect("activation", Factor::Activation, norm(&dh), norm(&delta));
            if t > 0 {
                expect("recurrent", Factor::Weights, norm(&delta), norm(&past));
            }
            state[..active].copy_from_slice(&past);
        }
        deltas
    }
}

impl GradientMonitor<f64> for Witness<'_> {
    fn forward(&mut self, at: &Link<'_>, z: &[f64], _y: &[f64]) {
        if let Some(activation) = at.activation {
            self.z.insert((at.name.into(), at.step), (activation.name().into(), z.to_vec()));
        }
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[f64], dx: &[f64]) {
        if at.step.is_some() {
            return;
        }
        let before = norm(&self.g);
        let recurrent = format!("{}.recurrent", at.name);
        let next = match at.factor {
            Factor::Activation => {
                self.recomputed[0] += 1;
                self.through_activation(at.name, None, &self.g)
            }
            Factor::Weights if at.name.ends_with(".scale") => {
                // The scale of a residual branch. A learned scale is a block; the effect of a fixed one is taken from
                // the event.
                self.skips.push(self.g.clone());
                match self.blocks.get(at.name) {
                    Ok(_) => self.g.iter().map(|g| g * self.block(at.name).0[0]).collect(),
                    Err(_) => dx.to_vec(),
                }
            }
            Factor::Weights => {
                self.recomputed[1] += 1;
                let layer = at.name.strip_suffix(".input").unwrap_or(at.name);
                self.transposed(&format!("{layer}.weight"), &self.g)
            }
            Factor::Addition => {
                let skip = self.skips.pop().unwrap();
                self.g.iter().zip(skip).map(|(branch, skip)| branch + skip).collect()
            }
            Factor::Other if self.z.contains_key(&(format!("{}.activation", at.name), Some(0))) => {
                let [gates, hidden] = self.block(&recurrent).1.shape;
                if gates == hidden {
                    self.through_time(at.name, at)
                } else {
                    self.gated.push(at.name.into());
                    dx.to_vec()
                }
            }
            _ => dx.to_vec(),
        };
        assert_eq!(next.len(), dx.len(), "{at:?}");
        let largest = next.iter().fold(1e-300f64, |largest, v| largest.max(v.abs()));
        let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
        self.worst = self.worst.max(apart(&next, dx) / largest);
        let largest = self.g.iter().fold(1e-300f64, |largest, v| largest.max(v.abs()));
        self.worst = self.worst.max(apart(&self.g, dy) / largest);
        self.depth.push(Expected { name: at.name.into(), factor: at.factor, step: None, before, after: norm(&next) });
        self.g = next;
    }
}
