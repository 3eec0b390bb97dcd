//! Workspaces over legal networks, all other arguments hostile.

use super::{Known, drive, drive_node, entry};
use crate::{
    Entry,
    case::{Case, Taste, Verdict, ensure},
};
use chainrule::{
    BatchShape, Layer,
    layer::{DropoutKey, Mode, initialize},
    monitor::{GradientBudget, Statistics},
    workspace::Workspace,
};

fn network(c: &mut Case) -> Result<Box<dyn Layer<f32>>, chainrule::Error> {
    c.legal(3, 2).build()
}

/// A workspace with room for 4 samples of 5 steps, and parameters.
fn ready(c: &mut Case) -> Result<(Workspace<f32, Box<dyn Layer<f32>>>, Vec<f32>), chainrule::Error> {
    let network = network(c)?;
    let w = initialize(&*network, c.next())?;
    let mut workspace = Workspace::new(network, BatchShape::sequences(4, 5))?;
    if c.once_in(3) {
        workspace.set_threads(3)?;
    }
    Ok((workspace, w))
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(20, &["workspace::Workspace::new"], &[], |c| {
            let node = c.legal(3, 2);
            drive_node::<f64>(c, &node, 3)
        }),
        entry(10, &["workspace::Workspace::for_inference"], &[], |c| {
            let network = network(c)?;
            let rows = c.rows();
            let w = initialize(&*network, 1)?;
            let mut workspace = Workspace::for_inference(&*network, rows.shape())?;
            let inputs = rows.truth().map_or(3, |rows| rows.saturating_mul(3).min(1 << 16) as usize);
            let x = c.slice::<f32>(inputs);
            let mild = x.iter().all(|x| x.abs() <= 1.0);
            let y = workspace.infer(&w, &x, rows.shape())?;
            ensure(!mild || y.iter().all(|y| y.is_finite()), || "the output is not finite".into())
        }),
        entry(12, &["workspace::Workspace::forward", "workspace::Workspace::backward"], &[], |c| {
            let (mut workspace, w) = ready(c)?;
            let rows = c.rows();
            let inputs = rows.truth().map_or(3, |rows| rows.saturating_mul(3).min(1 << 16) as usize);
            let (x, w) = (c.slice::<f32>(inputs), if c.once_in(3) { c.slice(w.len()) } else { w });
            let output = workspace.forward(&w, &x, rows.shape())?;
            ensure(Some(output.y.len() as u128) <= rows.truth().map(|rows| rows.saturating_mul(2)), || {
                "too many rows".into()
            })?;
            let taste = c.taste();
            let dy = c.values::<f32>(output.dy.len(), taste);
            output.dy.copy_from_slice(&dy);
            let other = if c.flag() { w } else { c.slice(w.len()) };
            workspace.backward(&other)?;
            // A second one needs a forward pass of its own.
            ensure(workspace.backward(&other).is_err(), || "two backward passes for one forward pass".into())
        }),
        entry(8, &["workspace::Workspace::forward_with", "workspace::Workspace::backward_with"], &[], |c| {
            let (mut workspace, w) = ready(c)?;
            let rows = c.rows();
            let x = c.slice::<f32>(rows.truth().map_or(3, |rows| rows.saturating_mul(3).min(1 << 16) as usize));
            let mode = c.of(&[Mode::Train, Mode::Evaluate, Mode::Infer]);
            let w = if c.flag() { w } else { c.slice(w.len()) };
            let (mut seen, mut budget) = (Statistics::new(), GradientBudget::new());
            let output = workspace.forward_with(&w, &x, rows.shape(), mode, &mut (&mut seen, &mut budget))?;
            let taste = c.taste();
            let dy = c.values::<f32>(output.dy.len(), taste);
            output.dy.copy_from_slice(&dy);
            workspace.backward_with(&w, &mut (&mut seen, &mut budget))?;
            let _ = format!("{seen:?} {budget:?} {:?}", budget.shares());
            Ok(())
        }),
        entry(6, &["workspace::Workspace::input_mut", "workspace::Workspace::forward_filled"], &[], |c| {
            let (mut workspace, w) = ready(c)?;
            let (rows, other) = (c.rows(), c.rows());
            let taste = c.taste();
            let input = workspace.input_mut(rows.shape())?;
            let values = c.values::<f32>(input.len(), taste);
            input.copy_from_slice(&values);
            ensure(workspace.backward(&w).is_err(), || "a backward pass without a forward pass".into())?;
            let shape = if c.flag() { rows.shape() } else { other.shape() };
            workspace.forward_filled(&w, shape, Mode::Train, &mut ())?;
            workspace.backward(&w)?;
            Ok(())
        }),
        entry(6, &["workspace::Workspace::infer"], &[], |c| {
            let (mut workspace, w) = ready(c)?;
            let rows = c.rows();
            let x = c.slice::<f32>(rows.truth().map_or(3, |rows| rows.saturating_mul(3).min(1 << 16) as usize));
            let w = if c.flag() { w } else { c.slice(w.len()) };
            workspace.infer(&w, &x, rows.shape())?;
            ensure(workspace.backward(&w).is_err(), || "a backward pass after infer".into())
        }),
        entry(
            6,
            &[
                "workspace::Workspace::accumulate",
                "workspace::Workspace::accumulate_with",
                "workspace::Workspace::descend",
            ],
            &[],
            |c| {
                let (mut workspace, w) = ready(c)?;
                let mut w = w;
                for _ in 0..3 {
                    let x = c.values::<f32>(12, Taste::Mild);
                    workspace.forward(&w, &x, BatchShape::batch(4))?.dy.fill(0.5);
                    match c.below(3) {
                        0 => {
                            workspace.accumulate(&w)?;
                        }
                        1 => {
                            let other = c.slice::<f32>(w.len());
                            workspace.accumulate_with(&other, &mut Statistics::new())?;
                        }
                        _ => {
                            let (rate, before) = (c.real() as f32, w.clone());
                            let done = workspace.descend(&mut w, rate);
                            ensure(done.is_err() || rate.is_finite() && rate >= 0.0, || format!("a rate of {rate:e}"))?;
                            // Earlier steps may have made them NaN.
                            let same = w.iter().zip(&before).all(|(a, b)| a.to_bits() == b.to_bits());
                            ensure(done.is_ok() || same, || "an error changed the parameters".into())?;
                            done?;
                        }
                    }
                }
                let _ = (workspace.gradient().len(), workspace.gradient_mut().len());
                Ok(())
            },
        ),
        entry(4, &["workspace::Workspace::freeze", "workspace::Workspace::unfreeze"], &[], |c| {
            let (mut workspace, mut w) = ready(c)?;
            let name = c.text();
            let known = workspace.blocks().under(&name).is_ok();
            ensure(workspace.freeze(&name).is_ok() == known, || format!("{name:?}"))?;
            if c.flag() {
                let name = c.text();
                workspace.unfreeze(&name)?;
            }
            let x = c.values::<f32>(12, Taste::Mild);
            workspace.forward(&w, &x, BatchShape::batch(4))?.dy.fill(0.5);
            if c.flag() {
                workspace.descend(&mut w, 0.1)?;
            } else {
                workspace.backward(&w)?;
            }
            Ok(())
        }),
        entry(5, &["workspace::Workspace::set_threads"], &[], |c| {
            let (mut workspace, w) = ready(c)?;
            let threads = c.size();
            let done = workspace.set_threads(threads);
            ensure(done.is_err() || (1..=4096).contains(&threads), || format!("{threads} threads"))?;
            // An error leaves a workspace that can be used.
            let x = c.values::<f32>(12, Taste::Mild);
            workspace.forward(&w, &x, BatchShape::batch(4))?;
            workspace.backward(&w)?;
            Ok(done?)
        }),
        entry(
            6,
            &[
                "workspace::Workspace::set_state",
                "workspace::Workspace::set_buffers",
                "workspace::Workspace::compute_state_gradient",
                "workspace::Workspace::compute_input_gradient",
                "workspace::Workspace::set_dropout_key",
            ],
            &[],
            |c| {
                let (mut workspace, w) = ready(c)?;
                workspace.compute_input_gradient(c.flag());
                workspace.compute_state_gradient(c.flag());
                workspace.set_dropout_key(DropoutKey::new(c.word(), c.word()).from_sample(c.size()));
                let state = {
                    let n = c.of(&[0_usize, 1, 3, 6, 12, 24, 25, 1000]);
                    let taste = c.taste();
                    c.values::<f32>(n, taste)
                };
                if workspace.set_state(&state).is_ok() {
                    ensure(workspace.state().len() == state.len(), || "another state".into())?;
                }
                ensure(workspace.set_buffers(&state).is_ok() == state.is_empty(), || "buffers of no layer".into())?;
                for batch in [c.few(), 4, 2] {
                    let x = c.values::<f32>(batch * 3 * 2, Taste::Mild);
                    if workspace.forward(&w, &x, BatchShape::sequences(batch, 2)).is_ok() {
                        let _ = workspace.final_state_gradient_mut().len();
                        workspace.backward(&w)?;
                        let _ = (workspace.input_gradient().len(), workspace.state_gradient().len());
                    }
                    if c.flag() {
                        workspace.carry_state()
                    } else if c.flag() {
                        workspace.clear_state()
                    }
                }
                Ok(())
            },
        ),
    ]
}

const _: fn(&mut Case, Box<dyn Layer<f32>>, Option<Known>) -> Verdict = drive::<f32>;
