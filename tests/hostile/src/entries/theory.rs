//! What is said of a gradient before it is measured.

use super::entry;
use crate::{
    Entry,
    case::{Taste, ensure},
    liars::{LIES, Liar},
};
use chainrule::{
    Layer,
    layer::{DropoutKey, initialize},
    linalg::{eigenvalues, spectral_norm_bound, spectral_radius},
    loss::{MeanSquaredError, Target},
    mean_field::{CriticalPoint, MeanField, backward_gain, critical_weight_variance, forward_gain},
    recurrent::{Lstm, Recurrent},
    theory::{
        Certificate, Hessian, InputStatistics, LyapunovSpectrum, Prediction, SingleInput, lyapunov_spectrum,
        state_jacobian, unit_sensitivities,
    },
};

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            1,
            &[
                "mean_field::MeanField::new",
                "mean_field::MeanField::variance_map",
                "mean_field::MeanField::chi",
                "mean_field::MeanField::correlation_map",
                "mean_field::MeanField::decades",
                "mean_field::MeanField::layers",
                "mean_field::MeanField::lottery",
            ],
            &[],
            |c| {
                let (activation, a, b) = (c.activation(), c.real(), c.real());
                let legal = |x: f64| x.is_finite() && x >= 0.0;
                let made = MeanField::new(activation.as_any(), a, b);
                ensure(made.is_err() || legal(a) && legal(b), || format!("variances {a:e}, {b:e}"))?;
                let field = made?;
                let q = c.real();
                ensure(field.variance_map(q).is_err() || legal(q), || format!("a variance of {q:e}"))?;
                let depth = c.of(&[0_usize, 1, 10, 100, 1000, usize::MAX]);
                let widths = [c.width(), c.width()];
                match c.below(6) {
                    0 => drop(field.correlation_map(q, c.real())),
                    1 => drop(field.decades(q, depth)),
                    2 => drop(field.layers(q).map(|layers| layers.take(5).count())),
                    3 => drop(field.lottery(q, &widths)),
                    4 => drop((field.chi(q), field.depth_scales())),
                    _ => drop(format!("{field:?}")),
                }
                Ok(())
            },
        ),
        entry(
            1,
            &[
                "mean_field::CriticalPoint::at",
                "mean_field::CriticalPoint::all",
                "mean_field::critical_weight_variance",
                "mean_field::forward_gain",
                "mean_field::backward_gain",
            ],
            &[],
            |c| {
                let (activation, q) = (c.activation(), c.real());
                let activation = activation.as_any();
                match c.below(5) {
                    0 => drop(CriticalPoint::at(activation, q)?),
                    1 => drop(CriticalPoint::all(activation, q)?),
                    2 => drop(critical_weight_variance(activation, q)?),
                    3 => drop(forward_gain(activation, q)?),
                    _ => drop(backward_gain(activation, q)?),
                }
                ensure(q.is_finite() && q >= 0.0, || format!("a variance of {q:e}"))
            },
        ),
        entry(
            4,
            &[
                "theory::InputStatistics::new",
                "theory::InputStatistics::of_rows",
                "theory::InputStatistics::of_samples",
                "theory::InputStatistics::steps",
                "theory::Prediction::of_node",
            ],
            &[],
            |c| {
                let x = c.real();
                let n = c.few();
                let values = c.slice::<f32>(n);
                let inputs = match c.few() % 3 {
                    0 => InputStatistics::new(x)?,
                    1 => InputStatistics::of_rows(&values)?,
                    _ => InputStatistics::of_samples(c.size(), &values)?,
                };
                let steps = if c.once_in(3) { c.of(&[1 << 12, usize::MAX, usize::MAX / 2, 1 << 40]) } else { c.few() };
                let made = inputs.steps(steps);
                ensure(made.is_err() || steps > 0, || "0 steps".into())?;
                let inputs = made?;
                let node = c.legal(3, 2);
                let prediction = Prediction::of_node(&node, inputs)?;
                let _ = format!("{prediction:?} {prediction}");
                Ok(())
            },
        ),
        entry(
            2,
            &[
                "theory::Hessian::new",
                "theory::Hessian::dropout_key",
                "theory::Hessian::times",
                "theory::Hessian::largest_eigenvalue",
            ],
            &[],
            |c| {
                let network = c.legal(3, 2).build::<f64>()?;
                let (rows, w, x) = (c.rows(), c.slice::<f64>(network.dims().parameters), c.slice::<f64>(12));
                let (t, loss) = (c.slice::<f64>(8), MeanSquaredError::new());
                let hessian = Hessian::new(&network, &w, &x, rows.shape(), &loss, Target::Values(&t))?;
                let mut hessian = hessian.dropout_key(DropoutKey::new(c.word(), c.word()));
                let v = c.slice::<f64>(w.len());
                hessian.times(&v)?;
                hessian.largest_eigenvalue(c.few())?;
                Ok(())
            },
        ),
        entry(4, &["theory::Prediction::of", "theory::Prediction::link"], &[], |c| {
            let width = c.width();
            let node = c.sequence(width, 2);
            let network = node.build::<f32>()?;
            let prediction = Prediction::of(&*network, InputStatistics::new(1.0)?)?;
            let _ = (prediction.link(&c.text()).is_some(), format!("{prediction}"));
            Ok(())
        }),
        entry(
            2,
            &["theory::SingleInput::of", "theory::SingleInput::of_node", "theory::SingleInput::below"],
            &[],
            |c| {
                let node = c.legal(3, 2);
                let nets = c.of(&[0_usize, 1, 3, 10]);
                let one = if c.flag() {
                    SingleInput::of_node(&node, InputStatistics::new(1.0)?, nets)?
                } else {
                    SingleInput::of(&*node.build::<f64>()?, InputStatistics::new(1.0)?, nets)?
                };
                if let Some(one) = one {
                    let share = one.below(c.real());
                    ensure(share.is_nan() || (0.0..=1.0).contains(&share), || format!("a share of {share}"))?;
                }
                Ok(())
            },
        ),
        entry(
            5,
            &[
                "theory::Certificate::new",
                "theory::Certificate::gradient_bound",
                "theory::Certificate::vanishes",
                "theory::Horizon::vanishes_beyond",
            ],
            &[],
            |c| {
                if c.once_in(3) {
                    let lie = c.of(LIES);
                    let (liar, rows) = (Liar::new(2, lie, c), c.rows());
                    let certificate = Certificate::new::<f64>(&liar, &[1.0, 1.0], rows.shape())?;
                    let _ = format!("{certificate:?}");
                    return Ok(());
                }
                let node = c.legal(3, 2);
                let network = node.build::<f64>()?;
                let w = if c.flag() { initialize(&*network, 1)? } else { c.slice(network.dims().parameters) };
                let rows = c.rows();
                let certificate = Certificate::new(&*network, &w, rows.shape())?;
                ensure(rows.truth().is_some() && w.len() == network.dims().parameters, || {
                    format!("{rows:?}, {} parameters", w.len())
                })?;
                let x = c.real();
                let _ = (
                    certificate.gradient_bound(x),
                    certificate.vanishes(x),
                    certificate.bound(),
                    certificate.decades(),
                );
                for horizon in certificate.horizons() {
                    let _ = horizon.vanishes_beyond(x);
                }
                let _ = format!("{certificate:?} {certificate}");
                Ok(())
            },
        ),
        entry(4, &["linalg::eigenvalues", "linalg::spectral_radius"], &[], |c| {
            let n = c.width();
            let values = c.slice::<f64>(n.saturating_mul(n));
            let found = eigenvalues(&values, n)?;
            ensure(values.len() as u128 == n as u128 * n as u128, || format!("{n} × {n} in {} values", values.len()))?;
            ensure(found.is_none_or(|found| found.len() == n), || "another number of them".into())?;
            spectral_radius(&values, n)?;
            Ok(())
        }),
        entry(3, &["linalg::spectral_norm_bound"], &[], |c| {
            let (rows, columns) = (c.width(), c.width());
            let values = c.slice::<f32>(rows.saturating_mul(columns));
            let bound = spectral_norm_bound(&values, rows, columns);
            ensure(bound.is_nan() || bound >= 0.0, || format!("a bound of {bound:e}"))
        }),
        entry(3, &["theory::LyapunovSpectrum::new", "theory::LyapunovSpectrum::push"], &[], |c| {
            let (size, count) = (c.width(), c.width());
            let made = LyapunovSpectrum::new(size, count);
            ensure(made.is_err() || count <= size && size > 0, || format!("{count} of {size}"))?;
            let mut spectrum = made?;
            for _ in 0..3 {
                let jacobian = c.slice::<f64>(size.saturating_mul(size));
                let done = spectrum.push(&jacobian);
                ensure(done.is_err() || jacobian.iter().all(|x| x.is_finite()), || {
                    "a Jacobian that is not finite".into()
                })?;
                if c.once_in(3) {
                    spectrum.settle();
                }
            }
            let _ = format!("{spectrum:?}");
            Ok(())
        }),
        entry(2, &["theory::unit_sensitivities"], &[], |c| {
            let layer = Recurrent::new(2, 3, Lstm::new());
            let (w, x) = (c.slice::<f64>(Layer::<f64>::dims(&layer).parameters), c.slice::<f64>(8));
            let _ = unit_sensitivities(&layer, &w, &x)?;
            Ok(())
        }),
        entry(3, &["theory::lyapunov_spectrum", "theory::state_jacobian"], &[], |c| {
            let layer = Recurrent::new(2, 2, Lstm::new());
            let w: Vec<f64> = if c.flag() {
                initialize(&layer, 1)?
            } else {
                let n = chainrule::Layer::<f64>::dims(&layer).parameters;
                c.slice(n)
            };
            let x = c.slice::<f64>(12);
            let n = c.length(4);
            let state = c.values::<f64>(n, Taste::Mild);
            if c.flag() {
                lyapunov_spectrum(&layer, &w, &x, c.size(), c.size())?;
            } else {
                state_jacobian(&layer, &w, &x[..x.len().min(2)], &state)?;
            }
            Ok(())
        }),
    ]
}
