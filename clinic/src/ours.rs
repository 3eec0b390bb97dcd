//! Diagnosis of a case by chainrule, and its first fix applied as proposed.

use crate::{
    Verdict,
    cases::Case,
    run::{Outcomes, train},
};
use chainrule::{
    BatchShape, Error, Layer,
    dataset::Standardize,
    diagnosis::{Change, Diagnosis, FixContext, Report, Severity, suggest_fixes},
    layer::{Sequential, initialize},
    monitor::Statistics,
    theory::InputStatistics,
};

/// Steps at which the report is read.
const LOOKS: [usize; 10] = [1, 2, 3, 5, 10, 20, 40, 70, 100, 150];

fn diagnose<'a>(case: &Case) -> Result<Diagnosis<'a>, Error> {
    let finite: Vec<f32> = case.x.iter().copied().filter(|x| x.is_finite()).collect();
    let inputs = InputStatistics::of_rows(&finite)?.steps(case.sequence)?;
    Ok(Diagnosis::new(&case.network, inputs)?.span(case.span))
}

/// The first verdict on a case, the report it comes from, and the typical gradient norm.
pub fn examine(case: &Case) -> Result<(Verdict, Report, f64), Error> {
    let shape = BatchShape::sequences(1, case.sequence);
    let before = diagnose(case)?.parameters(&case.network, &case.w, shape)?;
    let before = match case.sequence {
        1 => before,
        steps => before.trajectory(&case.network, &case.w, &case.x[..steps * case.width])?,
    };
    let before = before.report();
    if let Some(root) = before.root() {
        return Ok((Verdict::of(root, 0), before, f64::NAN));
    }
    let (mut seen, mut found) = (Statistics::new(), None);
    train(case, &mut seen, |seen, step| {
        if LOOKS.contains(&step) {
            let report = match diagnose(case) {
                Ok(diagnosis) => diagnosis.statistics(seen).report(),
                Err(_) => return true,
            };
            if let Some(root) = report.root() {
                found = Some((Verdict::of(root, step), report));
                return true;
            }
        }
        false
    })?;
    let norm = seen.run().typical_norm();
    match found {
        Some((verdict, report)) => Ok((verdict, report, norm)),
        None => Ok((Verdict::default(), before, norm)),
    }
}

/// Applies the first fix to the case, and trains it.
pub fn fix_first(case: &mut Case, report: &Report, norm: f64) -> Result<Option<Outcomes>, Error> {
    let Some(finding) = report.root() else { return Ok(None) };
    let described = case.network.spec();
    let inputs = InputStatistics::of_rows(&case.x)?.steps(case.sequence)?;
    let mut context = FixContext::new(&described, inputs, finding).span(case.span);
    context.columns = Some(Standardize::of(case.width, &case.x)?);
    if finding.severity == Severity::Note {
        return Ok(None);
    }
    if norm.is_finite() && norm > 0.0 {
        context = context.typical_norm(norm);
    }
    let fixes = suggest_fixes(&context)?;
    let Some(first) = fixes.first() else { return Ok(None) };
    match &first.change {
        Change::Network(spec) => {
            let mut fixed = Sequential::new(case.width);
            fixed.push(spec.build::<f32>()?)?;
            case.w = initialize(&fixed, case.seed)?;
            case.network = fixed;
        }
        Change::Lsuv(lsuv) => {
            let rows = 64.min(case.y.samples());
            let x = &case.x[..rows * case.width * case.sequence];
            lsuv.apply(&case.network, &mut case.w, x, BatchShape::sequences(rows, case.sequence))?;
        }
        Change::RedrawLayers(_) => {
            if let Some(fixed) = first.apply::<f32>(&described, &case.w, case.seed)? {
                case.w = fixed.parameters;
            }
        }
        Change::Redraw => case.w = initialize(&case.network, case.seed)?,
        Change::ClipNorm(norm) => case.recipe.clip = Some(*norm),
        Change::LearningRate(factor) => case.recipe.rate *= factor,
        Change::Standardize(columns) => columns.apply(&mut case.x)?,
        Change::TrainBlock(_) => case.recipe.still = None,
        _ => return Ok(None),
    }
    train(case, &mut (), |_, _| false).map(Some)
}
