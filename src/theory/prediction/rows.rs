//! The prediction for a batch whose rows have different norms.

use super::{PredictedLink, Prediction, PredictionSource};
use crate::monitor::Shares;
use alloc::vec::Vec;

/// All rows of a batch are predicted together if their largest mean square is at most this factor times the least.
const ALIKE: f64 = 2.0;

/// Whether the largest of the mean squares `rows`, which are in increasing order, is more than [`ALIKE`] times the
/// least. False if the least is 0.
pub(super) fn differ(rows: &[f64]) -> bool {
    matches!((rows.first(), rows.last()), (Some(least), Some(most)) if *least > 0.0 && *most > ALIKE * least)
}

/// Returns log10 of the mean of 10ᵈ over the numbers d.
fn mean_power(decades: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = decades.clone().fold(f64::NEG_INFINITY, f64::max);
    let (sum, count) = decades.fold((0.0, 0.0), |(sum, count), d| (sum + libm::exp10(d - most), count + 1.0));
    most + libm::log10(sum / count)
}

impl Prediction {
    /// Returns the prediction for a batch whose rows have different norms, from `rows`, the predictions for rows of
    /// each norm. Only the decades are computed from `rows`; all other fields are those of `self`, the prediction for
    /// rows of equal norm.
    ///
    /// The squared norm of a batch's gradient is the sum of the squared norms of its rows. If the norm for row r
    /// changes by c_r decades (powers of ten) down to some layer, the squared norm for the batch is multiplied by the
    /// mean of `10^(2 c_r)` over r.
    ///
    /// `None` if a link (factor of the chain rule) makes the gradient of a row zero, or has no formula.
    pub(super) fn of_different_rows(self, rows: &[Prediction]) -> Option<Self> {
        let formula =
            |link: &PredictedLink| link.source == PredictionSource::Theory && link.decades.is_some_and(f64::is_finite);
        if !rows.iter().all(|row| row.links.len() == self.links.len() && row.links.iter().all(formula)) {
            return None;
        }
        let (mut before, mut shares) = (Vec::from_iter(rows.iter().map(|_| 0.0)), Shares::default());
        let mut links = self.links.clone();
        for (i, link) in links.iter_mut().enumerate() {
            let of = |row: &Prediction| row.links[i].decades.unwrap_or(f64::NAN);
            let after: Vec<f64> = before.iter().zip(rows).map(|(before, row)| before + of(row)).collect();
            let [start, end] = [&before, &after].map(|all| 0.5 * mean_power(all.iter().map(|d| 2.0 * d)));
            link.decades = Some(end - start);
            if link.on_main_path {
                shares = super::signal::sum(shares, super::signal::share(link.factor, end - start));
                before = after;
            }
        }
        Some(Prediction { links, shares: Some(shares), ..self })
    }
}
