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
    /// The norm of the sums of magnitudes: rounding of a gradient of cancelling terms is relative to the terms.
    pub scale: f64,
}

/// Propagates its own gradient from link to link. It takes z from the forward events, the weights from the caller, and
/// from the backward events only the order of the links. It copies the links that it does not recompute (gated cells,
/// pooling).
pub struct Witness<'a> {
    pub blocks: &'a Blocks,
    pub w: &'a [f64],
    /// The gradient at the current link of the backward pass; first that of the output.
    pub g: Vec<f64>,
    /// The sums of the magnitudes of the terms of each value of `g`.
    pub magnitudes: Vec<f64>,
    /// z of each activation over depth, and of each step of each Elman cell.
    z: HashMap<(String, Option<usize>), (String, Vec<f64>)>,
    skips: Vec<[Vec<f64>; 2]>,
    /// The largest difference over depth between a gradient in an event and the witness's own, relative to the
    /// magnitudes of its terms.
    pub worst: f64,
    pub depth: Vec<Expected>,
    pub time: Vec<Expected>,
    /// Layers with gated cells, whose links over time are not recomputed.
    pub gated: Vec<String>,
    /// The number of recomputed activations and weights. If it is 0, the test proves nothing.
    pub recomputed: [usize; 2],
}

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.abs()).collect()
}

/// The sums of two gradients, and those of their magnitudes.
fn sums([a, m]: [&[f64]; 2], [b, n]: [&[f64]; 2]) -> [Vec<f64>; 2] {
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect();
    [sum(a, b), sum(m, n)]
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
            magnitudes: magnitudes(g),
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

    /// Wᵀ d for each row d, and |W|ᵀ m for its magnitudes m.
    fn transposed(&self, name: &str, [d, m]: [&[f64]; 2]) -> [Vec<f64>; 2] {
        let (w, block) = self.block(name);
        let [outputs, inputs] = block.shape;
        let product = |d: &[f64], weight: fn(f64) -> f64| {
            let row = |d: &[f64], i: usize| (0..outputs).map(|o| weight(w[o * inputs + i]) * d[o]).sum::<f64>();
            d.chunks(outputs).flat_map(|d| (0..inputs).map(move |i| row(d, i))).collect()
        };
        [product(d, |w| w), product(m, f64::abs)]
    }

    /// φ′(z) ∘ g. The rounding of φ′ is relative to 1, so the magnitudes stay.
    fn through_activation(&self, name: &str, step: Option<usize>, g: &[f64]) -> Vec<f64> {
        let (activation, z) = &self.z[&(name.to_string(), step)];
        assert_eq!(z.len(), g.len());
        z.iter().zip(g).map(|(&z, g)| slope(activation, z) * g).collect()
    }

    /// Backpropagation through time of an Elman cell: the pre-activation gradients δ of all rows.
    fn through_time(&mut self, layer: &str, at: &Link<'_>) -> [Vec<f64>; 2] {
        let hidden = self.block(&format!("{layer}.recurrent")).1.shape[1];
        let mut state = [vec![0.0; at.shape.batch * hidden], vec![0.0; at.shape.batch * hidden]];
        let mut deltas = [vec![0.0; self.g.len()], vec![0.0; self.g.len()]];
        for t in (0..at.shape.steps).rev() {
            let rows = at.shape.step(t);
            let active = rows.len() * hidden;
            let row = rows.start * hidden;
            let came = norm(&state[0]);
            let dh = sums([&state[0][..active], &state[1][..active]], [&self.g[row..], &self.magnitudes[row..]]);
            let delta = self.through_activation(&format!("{layer}.activation"), Some(t), &dh[0]);
            deltas[0][row..][..active].copy_from_slice(&delta);
            deltas[1][row..][..active].copy_from_slice(&dh[1]);
            let past = self.transposed(&format!("{layer}.recurrent"), [&delta, &dh[1]]);
            let scale = norm(&dh[1]).max(norm(&past[1]));
            let mut expect = |part: &str, factor, before, after| {
                let name = format!("{layer}.{part}");
                self.time.push(Expected { name, factor, step: Some(t), before, after, scale });
            };
            expect("addition", Factor::Addition, came, norm(&dh[0]));
            expect("activation", Factor::Activation, norm(&dh[0]), norm(&delta));
            if t > 0 {
                expect("recurrent", Factor::Weights, norm(&delta), norm(&past[0]));
            }
            for (state, past) in state.iter_mut().zip(&past) {
                state[..active].copy_from_slice(past);
            }
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
        let own = [self.g.as_slice(), &self.magnitudes];
        let copied = || [dx.to_vec(), magnitudes(dx)];
        let [next, terms] = match at.factor {
            Factor::Activation => {
                self.recomputed[0] += 1;
                [self.through_activation(at.name, None, &self.g), self.magnitudes.clone()]
            }
            Factor::Weights if at.name.ends_with(".scale") => {
                // The scale of a residual branch. A learned scale is a block; the effect of a fixed one is taken from
                // the event.
                self.skips.push(own.map(<[f64]>::to_vec));
                match self.blocks.get(at.name) {
                    Ok(_) => {
                        let scale = self.block(at.name).0[0];
                        let times = |values: &[f64], scale: f64| values.iter().map(|v| v * scale).collect();
                        [times(&self.g, scale), times(&self.magnitudes, scale.abs())]
                    }
                    Err(_) => copied(),
                }
            }
            Factor::Weights => {
                self.recomputed[1] += 1;
                let layer = at.name.strip_suffix(".input").unwrap_or(at.name);
                self.transposed(&format!("{layer}.weight"), own)
            }
            Factor::Addition => {
                let [skip, terms] = self.skips.pop().unwrap();
                sums(own, [&skip, &terms])
            }
            Factor::Other if self.z.contains_key(&(format!("{}.activation", at.name), Some(0))) => {
                let [gates, hidden] = self.block(&recurrent).1.shape;
                if gates == hidden {
                    self.through_time(at.name, at)
                } else {
                    self.gated.push(at.name.into());
                    copied()
                }
            }
            _ => copied(),
        };
        assert_eq!(next.len(), dx.len(), "{at:?}");
        let apart = |a: &[f64], b: &[f64], terms: &[f64]| {
            let largest = terms.iter().fold(1e-300f64, |largest, &v| largest.max(v));
            a.iter().zip(b).fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs())) / largest
        };
        self.worst = self.worst.max(apart(&next, dx, &terms)).max(apart(&self.g, dy, &self.magnitudes));
        let scale = norm(&self.magnitudes).max(norm(&terms));
        let after = norm(&next);
        self.depth.push(Expected { name: at.name.into(), factor: at.factor, step: None, before, after, scale });
        self.magnitudes = terms;
        self.g = next;
    }
}
