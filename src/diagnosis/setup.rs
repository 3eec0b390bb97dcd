//! The setup of a run as text: its loss, and its transforms with their rates.

use crate::{
    block::Blocks,
    loss::Loss,
    scalar::Scalar,
    transform::{GradientTransform, TransformSpec},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// The settings that are told: how far and in which direction an update goes.
const TOLD: [&str; 6] = ["rate", "momentum", "decay", "norm", "limit", "factor"];

/// Returns the name of the loss's type.
pub(super) fn loss_name<T: Scalar>(loss: &dyn Loss<T>) -> String {
    let text = format!("{loss:?}");
    let name = text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next();
    name.unwrap_or_default().to_string()
}

/// Returns the transforms of a chain, each with the settings that are told.
pub(super) fn transforms<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized), blocks: &Blocks) -> String {
    let acts = |spec: &TransformSpec| spec.kind != "SkipNonFinite";
    let words = |spec: TransformSpec| {
        let is_zero = |value: &str| value.parse() == Ok(0.0);
        let told = spec.settings.iter().filter(|(name, value)| TOLD.contains(&&**name) && !is_zero(value));
        let told: Vec<String> = told.map(|(name, value)| format!("{name} {}", value.replace('-', "−"))).collect();
        if told.is_empty() { spec.kind } else { format!("{} ({})", spec.kind, told.join(", ")) }
    };
    chain.spec(blocks).into_iter().filter(acts).map(words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        loss::{CrossEntropy, Huber},
        transform::{ClipNorm, Sgd, SkipNonFinite},
    };

    #[test]
    fn setup_names_loss_optimizer_and_rate() {
        let chain = (SkipNonFinite::new(), ClipNorm::new(1.0), Sgd::new(1e-5).momentum(0.9));
        let text = transforms::<f32>(&chain, &Blocks::default());
        assert_eq!(text, "ClipNorm (norm 1.0), Sgd (rate 1e−5, momentum 0.9)");
        assert_eq!(loss_name::<f32>(&CrossEntropy::new()), "CrossEntropy");
        assert_eq!(loss_name::<f32>(&Huber::new(1.0).unwrap()), "Huber");
    }
}
