//! An event for each finding of a report, for the crate `tracing`.

use super::{Finding, Severity};
use tracing::{error, info, warn};

const TARGET: &str = "chainrule::diagnosis";

/// Sends a finding as an event: a critical one at the level `error`, a warning at `warn`, a note at `info`.
pub(super) fn finding(finding: &Finding) {
    let place = finding.place();
    let Finding { cause, severity, layer, since, decades, predicted, text, is_proof, behind, .. } = finding;
    macro_rules! send {
        ($level:ident) => {
            $level!(
                target: TARGET, cause = %cause, layer = layer.as_str(), place, since = *since, decades = *decades,
                predicted = *predicted, is_proof = *is_proof, behind, "{text}"
            )
        };
    }
    match severity {
        Severity::Critical => send!(error),
        Severity::Warning => send!(warn),
        Severity::Note => send!(info),
    }
}
