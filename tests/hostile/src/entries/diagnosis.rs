//! Diagnosis and fixes.

use super::{entry, layers::json};
use crate::{
    Entry,
    case::{Case, Fault, Taste, ensure},
};
use chainrule::{
    BatchShape, Error, Layer,
    activation::Sigmoid,
    dataset::{Dataset, Standardize},
    diagnosis::{
        Alteration, Cause, Change, Diagnosis, FixContext, Report, Severity, Thresholds, Trial, check_parameters,
        expect_healthy, first_check,
        fix::{CriticalInitialization, Lsuv, shaped_slope, strategies, survivors, transplant},
        suggest_fixes,
    },
    initializer::Normal,
    layer::{LayerSpec, Linear, Sequential, initialize},
    loss::{MeanSquaredError, Target},
    monitor::Statistics,
    theory::{Hessian, InputStatistics},
    trainer::TrainConfig,
    transform::{GradientTransform, Sgd},
    workspace::Workspace,
};
use std::panic::catch_unwind;

/// A small network with saturated units, and the report on it.
fn report(c: &mut Case) -> Result<(LayerSpec, Report), Error> {
    let wide = Normal { mean: 0.0, std: 10.0 };
    let network = Sequential::<f64>::input(3)
        .layer(Linear::new(3, 2).weights(wide))
        .activation(Sigmoid)
        .layer(Linear::new(2, 2).weights(wide).without_bias());
    let network = if c.flag() { network.activation(Sigmoid).linear(2) } else { network }.build()?;
    let x = c.values::<f64>(12, Taste::Mild);
    let report = first_check(&network, &x, BatchShape::batch(4), Some(10), 1)?;
    Ok((Layer::<f64>::spec(&network), report))
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(6, &["diagnosis::first_check"], &[], |c| {
            let network = c.legal(3, 2).build::<f32>()?;
            let (rows, taste) = (c.rows(), c.taste());
            let n = c.length(rows.truth().map_or(3, |rows| rows.saturating_mul(3).min(1 << 12) as usize));
            let x = c.values::<f32>(n, taste);
            let span = c.flag().then(|| c.size());
            let report = first_check(&*network, &x, rows.shape(), span, c.word())?;
            ensure(rows.truth() == Some(x.len() as u128 / 3), || format!("{rows:?}"))?;
            let _ = (format!("{report}"), report.to_json().is_ok(), report.to_svg().is_ok(), report.shares());
            let _ = report.to_html();
            Ok(())
        }),
        entry(
            3,
            &["diagnosis::check_parameters", "diagnosis::Diagnosis::interventions", "diagnosis::Alteration {}"],
            &[],
            |c| {
                let _ = format!("{}", Alteration::Both(vec![Alteration::CriticalLayer(c.text())]));
                let network = c.legal(3, 2).build::<f32>()?;
                let (rows, w, x) = (c.rows(), c.slice::<f32>(network.dims().parameters), c.slice::<f32>(12));
                if c.flag() {
                    let report = check_parameters(&*network, &w, &x, rows.shape(), c.flag().then(|| c.size()))?;
                    let _ = format!("{report}");
                    return Ok(());
                }
                let diagnosis = Diagnosis::new(&*network, InputStatistics::new(1.0)?)?;
                let _ = format!("{}", diagnosis.interventions(&w, &x, rows.shape())?.report());
                Ok(())
            },
        ),
        entry(0, &["diagnosis::expect_healthy"], &[], |c| {
            // It panics with the report, and only where the report is not healthy.
            let (_, report) = report(c)?;
            let (healthy, text) = (report.is_healthy(), format!("{report}"));
            let done = catch_unwind(|| expect_healthy(Ok(report)));
            let panic = done.err().map(|payload| crate::panic_text(&*payload));
            ensure(panic == (!healthy).then_some(text), || format!("healthy: {healthy}, but {panic:?}"))
        }),
        entry(
            4,
            &[
                "diagnosis::Diagnosis::new",
                "diagnosis::Diagnosis::parameters",
                "diagnosis::Diagnosis::span",
                "diagnosis::Diagnosis::statistics",
                "diagnosis::Diagnosis::thresholds",
                "diagnosis::Diagnosis::transform",
                "diagnosis::Report::following",
            ],
            &[],
            |c| {
                let node = c.legal(3, 2);
                let network = node.build::<f64>()?;
                let w: Vec<f64> = initialize(&*network, 1)?;
                let mut seen = Statistics::new();
                let mut workspace = Workspace::new(&*network, BatchShape::sequences(2, 2))?;
                for _ in 0..c.few() {
                    let taste = c.taste();
                    let (x, w) = (
                        c.values::<f64>(12, taste),
                        if c.once_in(3) { c.values(w.len(), Taste::Hostile) } else { w.clone() },
                    );
                    let output = workspace.forward_with(
                        &w,
                        &x,
                        BatchShape::sequences(2, 2),
                        chainrule::Mode::Train,
                        &mut seen,
                    )?;
                    output.dy.fill(c.real());
                    workspace.backward_with(&w, &mut seen)?;
                }
                let rows = c.rows();
                let other = c.slice::<f64>(w.len());
                let mut thresholds = Thresholds::default();
                thresholds.vanishing = [c.real(), c.real()];
                thresholds.dead = [c.real(), c.real()];
                let diagnosis = Diagnosis::new(&*network, InputStatistics::new(c.about(1.0))?)?;
                let diagnosis =
                    if c.flag() { diagnosis.parameters(&*network, &other, rows.shape())? } else { diagnosis };
                let diagnosis = diagnosis.span(c.size()).statistics(&seen).thresholds(thresholds);
                let diagnosis = diagnosis.transform::<f64>(&Sgd::new(c.real()));
                let report = diagnosis.report();
                let again = report.clone().following(&report);
                let _ = (format!("{again} {again:?}"), again.to_json().is_ok(), again.to_svg().is_ok());
                Ok(())
            },
        ),
        entry(3, &["diagnosis::Diagnosis::task"], &[], |c| {
            let network = c.legal(3, 2).build::<f32>()?;
            let (w, x, y) = (c.slice::<f32>(network.dims().parameters), c.slice::<f32>(12), c.slice::<f32>(8));
            let data = Dataset::rows(3, &x, Target::Values(&y))?;
            let diagnosis = Diagnosis::new(&*network, InputStatistics::new(1.0)?)?;
            let _ = format!("{}", diagnosis.task(&w, &data, &MeanSquaredError::new())?.report());
            Ok(())
        }),
        entry(2, &["diagnosis::Diagnosis::curvature"], &[], |c| {
            let network = c.legal(3, 2).build::<f64>()?;
            let (rows, w, x) = (c.rows(), c.slice::<f64>(network.dims().parameters), c.slice::<f64>(12));
            let (t, loss) = (c.slice::<f64>(8), MeanSquaredError::new());
            let mut hessian = Hessian::new(&network, &w, &x, rows.shape(), &loss, Target::Values(&t))?;
            let diagnosis = Diagnosis::new(&*network, InputStatistics::new(1.0)?)?;
            let _ = format!("{}", diagnosis.curvature(&mut hessian, c.real(), c.real())?.report());
            Ok(())
        }),
        entry(3, &["diagnosis::fix::shaped_slope"], &[], |c| {
            let slope = shaped_slope(c.size());
            ensure((0.0..1.0).contains(&slope), || format!("{slope}"))
        }),
        entry(2, &["diagnosis::Diagnosis::trajectory"], &[], |c| {
            let node = c.legal(3, 2);
            let network = node.build::<f64>()?;
            let (w, x) = (c.slice::<f64>(network.dims().parameters), c.slice::<f64>(12));
            let diagnosis = Diagnosis::new(&*network, InputStatistics::new(1.0)?)?.trajectory(&*network, &w, &x)?;
            let _ = format!("{}", diagnosis.report());
            Ok(())
        }),
        entry(
            0,
            &[
                "diagnosis::fix::FixContext::new",
                "diagnosis::fix::FixContext::columns",
                "diagnosis::fix::FixContext::targets",
                "diagnosis::fix::FixContext::span",
                "diagnosis::fix::FixContext::thresholds",
                "diagnosis::fix::FixContext::typical_norm",
                "diagnosis::fix::FixContext::momentum",
                "diagnosis::fix::FixContext::statistics",
                "diagnosis::fix::suggest_fixes",
                "diagnosis::fix::FixStrategy::propose",
                "diagnosis::fix::FixStrategy::applies_to",
                "diagnosis::fix::Fix::apply",
                "diagnosis::fix::FixedNetwork::check",
                "diagnosis::fix::Change {}",
                "diagnosis::fix::CriticalInitialization {}",
            ],
            &[],
            |c| {
                let (node, report) = report(c)?;
                let Some(finding) = report.findings.first() else { return Ok(()) };
                let other = c.legal(3, 2);
                let described = if c.once_in(3) { &other } else { &node };
                let rows = c.values::<f64>(12, Taste::Mild);
                let mut context =
                    FixContext::new(described, InputStatistics::new(1.0)?, finding).typical_norm(c.real());
                if c.flag() {
                    context = context.span(c.of(&[0_usize, 1, 100, 10_000]));
                }
                if c.flag() {
                    context = context.columns(Standardize::of(3, &rows)?).targets(Standardize::of(2, &rows)?);
                }
                if c.flag() {
                    context = context.thresholds(Thresholds::default());
                }
                let none = Statistics::new();
                if c.flag() {
                    context = context.statistics(&none).momentum(c.real());
                }
                let mut all = strategies();
                all.push(Box::new(CriticalInitialization { orthogonal: c.flag() }));
                let chosen = c.below(2 * all.len());
                let fixes = match all.get(chosen) {
                    Some(strategy) => {
                        let _ = strategy.applies_to(CAUSE);
                        strategy.propose(&context)?.into_iter().collect()
                    }
                    None => suggest_fixes(&context)?,
                };
                for fix in &fixes {
                    let w: Vec<f64> = initialize(&*described.build::<f64>()?, 1)?;
                    let w = if c.once_in(3) { c.slice(w.len()) } else { w };
                    if let Some(fixed) = fix.apply::<f64>(described, &w, c.word())? {
                        let shape = c.rows();
                        let _ = fixed.check(&rows, shape.shape(), None);
                    }
                    let _ = (format!("{fix:?}"), matches!(fix.change, Change::Network(_)));
                }
                Ok(())
            },
        ),
        entry(
            0,
            &[
                "diagnosis::fix::Trial::new",
                "diagnosis::fix::Trial::steps",
                "diagnosis::fix::Trial::seeds",
                "diagnosis::fix::Trial::batch_size",
                "diagnosis::fix::Trial::settings",
                "diagnosis::fix::Trial::first_parameters",
                "diagnosis::fix::Trial::behind",
                "diagnosis::Report::tried",
                "diagnosis::fix::Trial::run",
                "diagnosis::fix::Trial::apply",
                "diagnosis::fix::Trial::apply_best",
                "diagnosis::fix::FixedRun::standardized",
                "diagnosis::fix::Fix::trial",
                "diagnosis::fix::FixedNetwork::trainer",
            ],
            &[],
            |c| {
                let (node, report) = report(c)?;
                let Some(finding) = report.findings.first() else { return Ok(()) };
                let (x, y) = (c.values::<f64>(12, Taste::Mild), c.values::<f64>(8, Taste::Mild));
                let context = FixContext::new(&node, InputStatistics::new(1.0)?, finding).typical_norm(1.0);
                let context = context.columns(Standardize::of(3, &x)?).targets(Standardize::of(2, &y)?);
                let fixes = suggest_fixes(&context)?;
                let w: Vec<f64> = initialize(&*node.build::<f64>()?, 1)?;
                let w = if c.once_in(3) { c.slice(w.len()) } else { w };
                let (data, loss) = (Dataset::rows(3, &x, Target::Values(&y))?, MeanSquaredError::new());
                let rate = c.about(0.1);
                let transform = || -> Box<dyn GradientTransform<f64>> { Box::new(Sgd::new(rate)) };
                let settings = |_: &Change| Some(transform());
                let mut trial = Trial::new(&data, &loss, &transform, c.few()).steps(c.few(), c.size());
                let first = c.slice::<f64>(w.len());
                if c.flag() {
                    trial = trial.first_parameters(&first);
                }
                if c.flag() {
                    trial = trial.seeds(c.few() as u64).batch_size(c.size());
                }
                if c.flag() {
                    trial = trial.settings(&settings).in_order();
                }
                let mut patient = Thresholds::default();
                patient.patience = c.word();
                let strange = context.clone().thresholds(patient).span(c.size());
                if c.flag() {
                    trial = trial.behind(if c.flag() { &context } else { &strange });
                }
                if let Some(fix) = fixes.first() {
                    let _ = format!("{}", fix.trial(&node, &w, &trial)?);
                    let config = TrainConfig { batch_size: c.size(), epochs: c.below(2), ..TrainConfig::default() };
                    if let Some(mut run) = trial.apply_best(&context, &w, config)?.run {
                        run.trainer.fit(&run.data)?;
                    }
                    let mut open = context.clone();
                    (open.columns, open.targets) = (None, None);
                    for fix in suggest_fixes(&open)? {
                        let run = trial.apply(&node, &w, &fix, config)?;
                        ensure(run.standardized(&data)?.samples() == 4, || format!("{fix} changes other data"))?;
                    }
                    if let Some(fixed) = fix.apply(&node, &w, c.word())? {
                        let config = TrainConfig { batch_size: c.size(), epochs: 1, ..TrainConfig::default() };
                        fixed.trainer(MeanSquaredError::new(), Sgd::new(rate), config)?.fit(&data)?;
                    }
                }
                let tried = trial.run(&node, &w, &fixes)?;
                let _ = (format!("{:?}", tried.best()), format!("{}", report.clone().tried(tried)));
                Ok(())
            },
        ),
        entry(3, &["diagnosis::fix::Lsuv {}", "diagnosis::fix::Lsuv::apply"], &[], |c| {
            let node = c.legal(3, 2);
            let network = node.build::<f32>()?;
            let mut w = c.slice::<f32>(network.dims().parameters);
            let lsuv = Lsuv { tolerance: c.real(), trials: if c.once_in(3) { c.size() } else { c.few() } };
            let (rows, x) = (c.rows(), c.slice::<f32>(12));
            lsuv.apply(&*network, &mut w, &x, if c.flag() { BatchShape::batch(4) } else { rows.shape() })?;
            Ok(())
        }),
        entry(3, &["diagnosis::fix::survivors", "diagnosis::fix::transplant"], &[], |c| {
            let (before, after) = (c.legal(3, 2), c.sequence(3, 2));
            let mut kept = survivors(&before, &after)?;
            for survivor in &mut kept {
                if c.once_in(4) {
                    survivor.before = c.size()..c.size();
                }
                if c.once_in(4) {
                    survivor.after = c.size()..c.size();
                }
            }
            let (a, mut b) = (c.slice::<f32>(20), c.slice::<f32>(20));
            transplant(&kept, &a, &mut b)?;
            Ok(())
        }),
        entry(
            2,
            &[
                "diagnosis::Cause: Deserialize",
                "diagnosis::Severity: Deserialize",
                "diagnosis::Thresholds: Deserialize",
                "diagnosis::fix::Lsuv: Deserialize",
                "dataset::Standardize: Deserialize",
            ],
            &[],
            |c| match c.below(4) {
                0 => json(c, &CAUSE),
                1 => json(c, &Severity::Note),
                2 => json(c, &Lsuv::default()),
                _ => {
                    let rows = c.values::<f64>(12, Taste::Mild);
                    json(c, &Standardize::of(3, &rows)?)?;
                    json(c, &Thresholds::default())
                }
            },
        ),
    ]
}

const CAUSE: Cause = Cause::SmallWeights;

const _: fn(Fault) = drop;
