//! The setup of a run as text: its loss, and its gradient transforms (clipping, optimizer, schedule) with their
//! rates.

use crate::{
    block::Blocks,
    loss::Loss,
    monitor::BlockStatistics,
    scalar::Scalar,
    transform::{GradientTransform, TransformSpec},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// The names of the settings that the text of a transform includes: those that determine the norm and the direction
/// of an update.
const TOLD: [&str; 6] = ["rate", "momentum", "decay", "norm", "limit", "factor"];

/// Returns the name of the loss's type.
pub(super) fn loss_name<T: Scalar>(loss: &dyn Loss<T>) -> String {
    let text = format!("{loss:?}");
    let name = text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next();
    name.unwrap_or_default().to_string()
}

/// Returns, as text, the gradient transforms of `chain`, each with those of its settings that are not 0 and that
/// [`TOLD`] names: `Sgd (rate 0.1)`. Schedules and group rates are included. `blocks` are the parameter blocks of the
/// network.
pub(super) fn transforms<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized), blocks: &Blocks) -> String {
    let acts = |spec: &TransformSpec| spec.kind != "SkipNonFinite";
    let words = |spec: TransformSpec| {
        let is_zero = |value: &str| value.parse() == Ok(0.0);
        let told = spec.settings.iter().filter_map(|(name, value)| match &**name {
            "settings" => Some(fields(value)),
            "rates" => Some(pairs(value)),
            name if TOLD.contains(&name) && !is_zero(value) => Some(format!("{name} {}", minus(value))),
            _ => None,
        });
        let told = told.filter(|told| !told.is_empty()).collect::<Vec<_>>().join(", ");
        match spec.kind.strip_suffix(')') {
            _ if told.is_empty() => spec.kind,
            Some(kind) => format!("{kind}: {told})"),
            None => format!("{} ({told})", spec.kind),
        }
    };
    chain.spec(blocks).into_iter().filter(acts).map(words).collect::<Vec<_>>().join(", ")
}

/// Returns the largest ε that an optimizer in `chain`, the gradient transforms of a run, adds to the size of a
/// gradient: of Adam and its variants, RMSprop and Adagrad. `None` without such an optimizer.
pub(super) fn epsilon<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized), blocks: &Blocks) -> Option<f64> {
    let divides = |spec: &&TransformSpec| ["Adam", "RmsProp", "Adagrad"].iter().any(|kind| spec.kind.contains(kind));
    let specs = chain.spec(blocks);
    let settings = specs.iter().filter(divides).flat_map(|spec| &spec.settings);
    settings.filter(|(name, _)| name == "epsilon").filter_map(|(_, value)| value.parse().ok()).reduce(f64::max)
}

/// Returns the largest momentum of an optimizer in `chain`, the gradient transforms of a run, whose velocity adds up
/// gradients; 0 without such an optimizer. A moving average of gradients, as in Adam, lengthens no update.
pub(super) fn momentum<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized), blocks: &Blocks) -> f64 {
    let adds = |spec: &&TransformSpec| ["Sgd", "RmsProp"].iter().any(|kind| spec.kind.contains(kind));
    let specs = chain.spec(blocks);
    let settings = specs.iter().filter(adds).flat_map(|spec| &spec.settings);
    let values = settings.filter(|(name, _)| name == "momentum").filter_map(|(_, value)| value.parse().ok());
    values.fold(0.0, f64::max)
}

/// Whether the updates by `chain`, the gradient transforms of a run, are proportional to the gradients: its only
/// optimizers are gradient descent, with or without momentum. `None` for a chain with an optimizer of another crate,
/// or without an optimizer.
pub(super) fn is_proportional<T: Scalar>(
    chain: &(impl GradientTransform<T> + ?Sized),
    blocks: &Blocks,
) -> Option<bool> {
    let specs = chain.spec(blocks);
    // The kind of `PerGroup (Adam of "0")` is `Adam`.
    let kind = |spec: &TransformSpec| match spec.kind.strip_prefix("PerGroup (") {
        Some(of) => of.split_once(" of ").map_or_else(String::new, |(kind, _)| kind.into()),
        None => spec.kind.clone(),
    };
    let mut found = None;
    for kind in specs.iter().map(kind) {
        found = match &*kind {
            "Sgd" => Some(found.unwrap_or(true)),
            kind if DIVIDING.contains(&kind) => Some(false),
            kind if LINEAR.iter().any(|it| kind.starts_with(it)) => found,
            _ => return None,
        };
    }
    found
}

/// The optimizers whose updates hardly change, or do not change, if all gradients are multiplied by one factor.
const DIVIDING: [&str; 11] = [
    "Adam",
    "AdamW",
    "NAdam",
    "RAdam",
    "Adamax",
    "Adagrad",
    "Adadelta",
    "RmsProp",
    "Lion",
    "Muon",
    "ScheduleFreeAdamW",
];

/// The beginnings of the names of transforms that are no optimizers, for example `Clip` for `ClipNorm`.
const LINEAR: [&str; 7] =
    ["Clip", "Penalty", "SkipNonFinite", "Schedule (", "ParameterGroups", "ReduceOnPlateau", "WeightAverage"];

/// The learning rate of a group of parameter blocks, relative to that of the blocks in no group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupRate {
    /// The name of the group: a prefix of block names, written in quotes, or a role.
    group: String,
    /// The learning rate of the group over that of the other blocks. NaN if the group has another kind of optimizer:
    /// learning rates of different optimizers cannot be compared.
    pub(super) rate: f64,
    /// Whether the group owns its blocks, as a group of [`PerGroup`](crate::transform::PerGroup) does: a block then
    /// has the rate of the first group that holds it. Otherwise the rates of all groups that hold a block are
    /// multiplied.
    pub(super) owns: bool,
}

impl GroupRate {
    /// Whether the block belongs to the group.
    pub(super) fn holds(&self, block: &BlockStatistics) -> bool {
        let under = |prefix: &str| {
            block.name().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match self.group.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(name) => name.is_empty() || under(name),
            None => self.group == format!("{:?}", block.role()),
        }
    }
}

/// Returns the learning rates of the groups of parameter blocks in `chain`, the gradient transforms of a run. They
/// are the factors of [`ParameterGroups`](crate::transform::ParameterGroups), and the rates of a
/// [`PerGroup`](crate::transform::PerGroup) divided by the rate of the blocks without a group.
pub(super) fn group_rates<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized), blocks: &Blocks) -> Vec<GroupRate> {
    let specs = chain.spec(blocks);
    let setting = |spec: &TransformSpec, wanted: &str| {
        spec.settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.to_string())
    };
    let mut found = Vec::new();
    for rates in specs.iter().filter(|spec| spec.kind == "ParameterGroups").filter_map(|spec| setting(spec, "rates")) {
        found.extend(each_pair(&rates).filter_map(|(group, rate)| {
            let group = group.trim_start_matches("Under(").trim_start_matches("Role(").trim_end_matches(')').into();
            Some(GroupRate { group, rate: rate.parse().ok()?, owns: false })
        }));
    }
    // The optimizer, the group and the rate of `PerGroup (Sgd of "0")`.
    let of_group = |spec: &TransformSpec| {
        let (kind, group) = spec.kind.strip_prefix("PerGroup (")?.strip_suffix(')')?.split_once(" of ")?;
        Some((String::from(kind), String::from(group), setting(spec, "rate")?.parse::<f64>().ok()?))
    };
    let (others, groups): (Vec<_>, Vec<_>) =
        specs.iter().filter_map(of_group).partition(|(_, group, _)| group == "others");
    found.extend(groups.into_iter().map(|(kind, group, rate)| {
        let rate = match others.first() {
            Some((usual, _, _)) if *usual != kind => f64::NAN,
            Some((_, _, usual)) if *usual > 0.0 => rate / usual,
            _ => rate,
        };
        GroupRate { group, rate, owns: true }
    }));
    found
}

fn minus(value: &str) -> String {
    value.replace('-', "−")
}

/// Returns the fields of a value's `Debug` text without the name of its type: for example `steps 9, least 0.1` for
/// `Cosine { steps: 9, least: 0.1, restart: None }`, and `0.1` for `Constant(0.1)`. Fields with the value `None` are
/// left out.
fn fields(value: &str) -> String {
    let inner = |[open, close]: [char; 2]| Some(&value[value.find(open)? + 1..value.rfind(close)?]);
    let text = inner(['{', '}']).or_else(|| inner(['(', ')'])).unwrap_or(value);
    // A list in brackets is not split at its commas.
    let mut all: Vec<String> = Vec::new();
    for part in text.trim().split(", ") {
        match all.last_mut().filter(|last| last.contains('[') && !last.contains(']')) {
            Some(list) => *list = format!("{list}, {part}"),
            None => all.push(part.into()),
        }
    }
    let has_value = |field: &&String| !field.ends_with(": None");
    let plain = |field: &String| minus(&field.replace("Some(", "").replace(')', "").replace(": ", " "));
    all.iter().filter(has_value).map(plain).collect::<Vec<_>>().join(", ")
}

/// Returns the pairs of a list of groups and values: for example `0 0.1, Bias 0.0` for
/// `[(Under("0"), 0.1), (Role(Bias), 0.0)]`.
fn pairs(value: &str) -> String {
    let words = |(group, value): (&str, &str)| {
        let group = group.trim_start_matches("Under(").trim_start_matches("Role(").trim_end_matches(')');
        format!("{} {}", group.trim_matches('"'), minus(value))
    };
    each_pair(value).map(words).collect::<Vec<_>>().join(", ")
}

/// Returns the pairs of a list as text: for example `Under("0")` and `0.1` for `[(Under("0"), 0.1)]`.
fn each_pair(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = value.trim_start_matches('[').trim_end_matches(']').split("), (");
    pairs.filter_map(|pair| pair.trim_matches(['(', ')']).rsplit_once(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        block::Role,
        loss::{CrossEntropy, Huber},
        transform::{ClipNorm, ParameterGroups, Schedule, Sgd, SkipNonFinite},
    };

    #[test]
    fn setup_names_loss_optimizer_and_rate() {
        let chain = (SkipNonFinite::new(), ClipNorm::new(1.0), Sgd::new(1e-5).momentum(0.9));
        let text = transforms::<f32>(&chain, &Blocks::default());
        assert_eq!(text, "ClipNorm (norm 1.0), Sgd (rate 1e−5, momentum 0.9)");
        assert_eq!(loss_name::<f32>(&CrossEntropy::new()), "CrossEntropy");
        assert_eq!(loss_name::<f32>(&Huber::new(1.0).unwrap()), "Huber");
    }

    #[test]
    fn setup_names_the_rates_of_schedules_and_groups() {
        let groups = ParameterGroups::new().rate("0.my-block", 1e-3).rate(Role::Bias, 0.0);
        for (schedule, told) in [
            (Schedule::constant(0.1), "constant: 0.1"),
            (Schedule::step(7, 0.5), "step: every 7, factor 0.5"),
            (Schedule::multi_step(&[3, 9], 0.1), "multi-step: at [3, 9], factor 0.1"),
            (Schedule::cosine(9, 1e-6), "cosine: steps 9, least 1e−6"),
            (Schedule::cosine_with_restarts(9, 2, 0.0), "cosine with restarts: steps 9, least 0.0, restart 2"),
            (Schedule::polynomial(300, 1.0), "polynomial: steps 300, power 1.0"),
        ] {
            let text = transforms::<f32>(&(Sgd::new(0.1), schedule, groups.clone()), &Blocks::default());
            let groups = "ParameterGroups (0.my-block 0.001, Bias 0.0)";
            assert_eq!(text, format!("Sgd (rate 0.1), Schedule ({told}), {groups}"));
        }
        let custom = Schedule::custom(|step| if step > 9 { 0.1 } else { 1.0 });
        assert_eq!(transforms::<f32>(&custom, &Blocks::default()), "Schedule (custom: a function of the step)");
        assert_eq!(transforms::<f32>(&ParameterGroups::new(), &Blocks::default()), "ParameterGroups");
    }
}
