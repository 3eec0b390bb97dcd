//! Draws a report as an SVG picture: a bar for each link (factor of the chain rule).

use super::{Report, report::ReportRow};
use alloc::{format, string::String, vec::Vec};
use plotters::prelude::*;

/// The height of the row of one link (factor of the chain rule), in pixels.
const ROW: i32 = 18;
/// The width of the column with the names of the links, in pixels.
const NAMES: i32 = 220;
/// The width of the column with the bars of the links (factors of the chain rule), in pixels.
const BARS: i32 = 520;
/// The number of rows at the top of the picture, for the finding and the legend.
const HEAD: i32 = 3;

impl Report {
    /// Returns a picture, as SVG, of the root finding and of the change of the gradient's norm in decades (log10).
    /// Each link (factor of the chain rule) on the main path from loss to input has a bar. Measured decades are
    /// filled, predicted ones outlined.
    ///
    /// # Errors
    /// The text of the plotting crate's error, if it cannot draw.
    pub fn to_svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| format!("{error}"))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), std::boxed::Box<dyn core::error::Error + '_>> {
        let path: Vec<&ReportRow> = self.rows.iter().filter(|row| row.on_main_path).collect();
        let size = (NAMES + BARS + 20, ROW * (path.len() as i32 + HEAD + 1));
        let area = SVGBackend::with_string(svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
        let fail = |error: DrawingAreaErrorKind<_>| format!("{error}");
        area.fill(&WHITE).map_err(fail)?;
        let style = ("sans-serif", 13).into_font();
        let title = match self.root() {
            Some(root) if root.layers.is_empty() => format!("{}: {}", root.severity, root.cause),
            Some(root) => format!("{}: {} in {}", root.severity, root.cause, root.place()),
            None => String::from("nothing wrong"),
        };
        let write = |text: &str, x: i32, row: i32| {
            area.draw(&Text::new(String::from(text), (x, ROW * row + 3), style.clone())).map_err(fail)
        };
        write(&title, 8, 0)?;
        write("decades of each link, from loss to input: measured (filled), predicted (outlined)", 8, 1)?;
        let finite = |decades: Option<f64>| decades.filter(|decades| decades.is_finite()).unwrap_or(0.0);
        let most =
            path.iter().flat_map(|row| [row.measured, row.predicted]).map(|d| finite(d).abs()).fold(0.1, f64::max);
        let middle = NAMES + BARS / 2;
        let end = |decades: f64| middle + (decades / most * f64::from(BARS / 2)) as i32;
        for (i, row) in path.iter().enumerate() {
            let (top, place) = (ROW * (i as i32 + HEAD), i as i32 + HEAD);
            write(&format!("{}  {}", row.name, row.kind), 8, place)?;
            let (measured, predicted) = (finite(row.measured), finite(row.predicted));
            let colour = if measured < 0.0 { RGBColor(31, 95, 160) } else { RGBColor(190, 75, 40) };
            let bar = |decades| [(end(f64::min(decades, 0.0)), top + 3), (end(f64::max(decades, 0.0)), top + ROW - 3)];
            area.draw(&Rectangle::new(bar(measured), colour.filled())).map_err(fail)?;
            area.draw(&Rectangle::new(bar(predicted), BLACK)).map_err(fail)?;
        }
        let axis = [(middle, ROW * HEAD), (middle, ROW * (path.len() as i32 + HEAD))];
        area.draw(&PathElement::new(axis, BLACK)).map_err(fail)?;
        area.present().map_err(fail)?;
        Ok(())
    }
}
