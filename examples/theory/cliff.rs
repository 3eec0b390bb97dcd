//! The cliff of Pascanu, Mikolov & Bengio 2013, Fig. 6, with clipped and unclipped descent.

use chainrule::{
    BatchShape,
    activation::{Activation, Sigmoid},
    layer::Sequential,
    recurrent::{Elman, Recurrent},
    transform::{ClipNorm, GradientTransform, Optimizer, Sgd},
    workspace::Workspace,
};
use plotters::prelude::*;
use std::{error::Error, path::Path};

const STEPS: usize = 50;
const GOAL: f64 = 0.7;
const RATE: f64 = 0.3;
const START: [f64; 2] = [6.0, -2.6];
/// The ranges of w and b in the picture.
const W: [f64; 2] = [3.0, 7.0];
const B: [f64; 2] = [-3.5, -1.0];

/// The recurrence `x_t = w σ(x_{t−1}) + b` of one unit from x_0 = 0.5 over 50 steps, as h_t = σ(x_t).
struct Unit {
    workspace: Workspace<f64, Sequential<f64>>,
}

impl Unit {
    fn new() -> Result<Self, chainrule::Error> {
        let mut network = Sequential::new(1);
        network.push(Recurrent::new(1, 1, Elman::new(Sigmoid)))?;
        let mut workspace = Workspace::new(network, BatchShape::sequences(1, STEPS))?;
        workspace.set_state(&[Sigmoid.value(0.5)])?;
        Ok(Unit { workspace })
    }

    /// `E = (σ(x_50) − 0.7)²`, with its gradient on the workspace. The input weight is 0.
    fn error(&mut self, [w, b]: [f64; 2]) -> Result<f64, chainrule::Error> {
        let parameters = [0.0, w, b];
        let output = self.workspace.forward(&parameters, &[0.0; STEPS], BatchShape::sequences(1, STEPS))?;
        let off = output.y[STEPS - 1] - GOAL;
        output.dy.fill(0.0);
        output.dy[STEPS - 1] = 2.0 * off;
        self.workspace.backward(&parameters)?;
        Ok(off * off)
    }
}

struct Descent {
    path: Vec<(f64, f64)>,
    error: f64,
    longest: f64,
}

fn descend(unit: &mut Unit, transform: impl GradientTransform<f64>) -> Result<Descent, chainrule::Error> {
    let mut at = [0.0, START[0], START[1]];
    let mut optimizer = Optimizer::new(transform, unit.workspace.blocks(), &at)?;
    let mut descent = Descent { path: Vec::new(), error: 0.0, longest: 0.0 };
    for _ in 0..300 {
        descent.path.push((at[1], at[2]));
        unit.error([at[1], at[2]])?;
        let (blocks, gradient) = unit.workspace.blocks_and_gradient();
        descent.longest = descent.longest.max(gradient.iter().map(|g| g * g).sum::<f64>().sqrt());
        optimizer.step(blocks, &mut at, gradient, &mut ())?;
    }
    descent.path.push((at[1], at[2]));
    descent.error = unit.error([at[1], at[2]])?;
    Ok(descent)
}

/// Descends with and without clipping, and draws the surface with both paths.
pub fn report(picture: &Path) -> Result<(), Box<dyn Error>> {
    println!("\n## 5. The cliff: E = (σ(x_50) − 0.7)², x_t = w σ(x_(t−1)) + b, steps of {RATE} from w = 6, b = −2.6\n");
    let mut unit = Unit::new()?;
    let free = descend(&mut unit, Sgd::new(RATE))?;
    let clipped = descend(&mut unit, (ClipNorm::new(1.0), Sgd::new(RATE)))?;
    println!("{:<16} {:>14} {:>10} {:>18}", "", "longest ‖g‖", "E at last", "(w, b) at last");
    for (name, Descent { path, error, longest }) in [("unclipped", &free), ("clipped at 1", &clipped)] {
        let (w, b) = path.last().copied().unwrap_or_default();
        println!("{name:<16} {longest:>14.1} {error:>10.5} {:>18}", format!("({w:.2}, {b:.2})"));
    }
    draw(picture, &mut unit, &free, &clipped)?;
    println!("\ndrawn: {}", picture.display());
    Ok(())
}

fn draw(picture: &Path, unit: &mut Unit, free: &Descent, clipped: &Descent) -> Result<(), Box<dyn Error>> {
    const CELLS: usize = 100;
    let area = SVGBackend::new(picture, (820, 620)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("The cliff: dark is a large error. Red: unclipped. Blue: clipped at norm 1.", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(W[0]..W[1], B[0]..B[1])?;
    chart.configure_mesh().disable_mesh().x_desc("w").y_desc("b").draw()?;
    let step = [(W[1] - W[0]) / CELLS as f64, (B[1] - B[0]) / CELLS as f64];
    for cell in 0..CELLS * CELLS {
        let (w, b) = (W[0] + step[0] * (cell % CELLS) as f64, B[0] + step[1] * (cell / CELLS) as f64);
        let error = unit.error([w + step[0] / 2.0, b + step[1] / 2.0])?;
        let shade = 255 - (240.0 * (error / 0.5).sqrt().min(1.0)) as u8;
        let corners = [(w, b), (w + step[0], b + step[1])];
        chart.draw_series([Rectangle::new(corners, RGBColor(shade, shade, shade).filled())])?;
    }
    let inside = |&&(w, b): &&(f64, f64)| (W[0]..W[1]).contains(&w) && (B[0]..B[1]).contains(&b);
    for (descent, colour) in [(free, RGBColor(214, 39, 40)), (clipped, RGBColor(31, 119, 180))] {
        // The path until it leaves the picture.
        let path: Vec<_> = descent.path.iter().take_while(inside).copied().collect();
        chart.draw_series(LineSeries::new(path.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(path.iter().map(|&at| Circle::new(at, 2, colour.filled())))?;
    }
    area.present()?;
    Ok(())
}
