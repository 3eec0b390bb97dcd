//! Gradients that become 0, printed tables, and monitored passes with unchanged results.

use chainrule::{
    BatchShape, GradientMonitor, Layer,
    activation::{Relu, Tanh},
    layer::{BranchScale, Mode, Residual, Sequential, initialize},
    monitor::{Event, Every, Factor, GradientBudget, Link},
    recurrent::{Gru, Lstm},
    workspace::Workspace,
};

fn watch(
    network: &impl Layer<f64>,
    w: &[f64],
    shape: BatchShape<'_>,
    monitor: &mut dyn GradientMonitor<f64>,
) -> Vec<f64> {
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    let x: Vec<f64> = (0..shape.rows() * network.dims().input).map(|i| (i as f64 * 0.7).sin()).collect();
    let output = workspace.forward_with(w, &x, shape, Mode::Train, monitor).unwrap();
    output.dy.iter_mut().enumerate().for_each(|(i, dy)| *dy = 1.0 + (i as f64).cos());
    let y = output.y.to_vec();
    workspace.backward_with(w, monitor).unwrap();
    [&y, workspace.gradient(), workspace.input_gradient()].concat()
}

#[test]
fn budget_of_dead_units_is_minus_infinity() {
    let network = Sequential::<f64>::input(3).linear(4).activation(Relu).linear(2).build().unwrap();
    let mut w = initialize::<f64>(&network, 1).unwrap();
    w[12..16].fill(-100.0);
    let mut budget = GradientBudget::new();
    watch(&network, &w, BatchShape::batch(2), &mut budget);
    let shares = budget.shares();
    assert_eq!((shares.total(), shares.activation), (f64::NEG_INFINITY, f64::NEG_INFINITY));
    assert!(shares.weights.is_finite() && shares.addition == 0.0 && shares.other == 0.0, "{shares:?}");
    let ends: Vec<_> = budget.links().iter().filter(|link| link.decades() == f64::NEG_INFINITY).collect();
    assert_eq!((ends.len(), ends[0].name.as_str(), ends[0].factor), (1, "1", Factor::Activation));
    assert_eq!((ends[0].norm_out.zeros, ends[0].norm_out.values), (8, 8));
    assert_eq!(budget.links()[2].decades(), 0.0, "none came, none went");
    assert!(budget.to_string().contains("−∞"), "{budget}");
}

#[test]
fn budget_of_a_branch_scaled_by_zero_is_finite() {
    for scale in [BranchScale::Fixed(0.0), BranchScale::Learned(0.0)] {
        let branch = Sequential::<f64>::input(4).linear(4).activation(Tanh).build().unwrap();
        let residual = Residual::new(branch).unwrap().scale(scale).unwrap();
        let network = Sequential::<f64>::input(3).linear(4).layer(residual).linear(2).build().unwrap();
        let w = initialize::<f64>(&network, 1).unwrap();
        let mut budget = GradientBudget::new();
        watch(&network, &w, BatchShape::batch(2), &mut budget);
        let shares = budget.shares();
        let table = budget.to_string();
        let sum = table.lines().find(|line| line.starts_with("sum")).unwrap();
        assert!(shares.total().is_finite() && !sum.contains('∞'), "{table}");
        assert!(table.lines().any(|line| line.starts_with("1.scale") && line.contains("−∞")), "{table}");
        // The skip carries the whole gradient: the addition has 0 decades.
        assert!(shares.addition.abs() < 1e-15 && shares.activation == 0.0, "{shares:?}");
        let links = budget.links();
        let total = (links.last().unwrap().norm_out.norm / links[0].norm_in.norm).log10();
        assert!((shares.total() - total).abs() < 1e-14);
        assert_eq!(links.iter().filter(|link| link.norm_out.norm == 0.0).count(), 3, "the scale and its branch");
    }
}

#[test]
fn budget_of_a_gradient_that_is_not_finite_reports_it() {
    let network = Sequential::<f64>::input(3).linear(4).activation(Tanh).linear(2).build().unwrap();
    let mut w = initialize::<f64>(&network, 1).unwrap();
    let last = w.len() - 3;
    w[last] = f64::INFINITY;
    let mut budget = GradientBudget::new();
    watch(&network, &w, BatchShape::batch(1), &mut budget);
    assert!(budget.links()[0].norm_out.non_finite > 0);
    assert!(!format!("{budget}").is_empty());
}

#[test]
fn budget_printed_names_every_layer() {
    let mut budget = GradientBudget::new();
    assert_eq!(budget.to_string(), "no backward pass was watched");
    let network = Sequential::<f64>::input(3)
        .recurrent(4, Lstm::new())
        .recurrent(5, Gru::new())
        .layer_norm()
        .residual(|branch| branch.linear(5).activation(Tanh))
        .last_step()
        .linear(2)
        .build()
        .unwrap();
    let w = initialize::<f64>(&network, 1).unwrap();
    watch(&network, &w, BatchShape::sequences(2, 30), &mut budget);
    assert_eq!(budget.recurrent_layers(), ["1", "0"]);
    let table = budget.to_string();
    for name in ["0.input", "1.input", "3.branch.0", "5", "0 over time", "1 over time", "sum", "2.", "29…"] {
        assert!(table.lines().any(|line| line.starts_with(name)), "{name}\n{table}");
    }
    assert!(table.lines().all(|line| line.trim_end().chars().count() < 120), "{table}");
}

/// A monitor that counts passes and records events.
#[derive(Default, Clone, PartialEq, Debug)]
struct Log {
    passes: usize,
    events: Vec<String>,
}

impl GradientMonitor<f64> for Log {
    fn begin_pass(&mut self) {
        self.passes += 1;
    }
    fn forward(&mut self, at: &Link<'_>, x: &[f64], y: &[f64]) {
        self.events.push(format!("forward {at:?} {x:?} {y:?}"));
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[f64], dx: &[f64]) {
        self.events.push(format!("backward {at:?} {dy:?} {dx:?}"));
    }
    fn event(&mut self, event: &Event<'_, f64>) {
        if let Event::Gradient { w, dw, .. } = event {
            self.events.push(format!("gradient {w:?} {dw:?}"));
        }
    }
}

fn network() -> Sequential<f64> {
    let network = Sequential::<f64>::input(3).recurrent(4, Gru::new()).layer_norm();
    let network = network.residual(|branch| branch.linear(4).activation(Tanh)).bidirectional(2, Lstm::new());
    network.dropout(0.3).prelu().mean_over_steps().linear(2).build().unwrap()
}

#[test]
fn adapter_every_monitors_one_pass_in_n() {
    let network = network();
    let w = initialize::<f64>(&network, 1).unwrap();
    let pass = |monitor: &mut dyn GradientMonitor<f64>| watch(&network, &w, BatchShape::sequences(2, 3), monitor);
    let mut once = Log::default();
    pass(&mut once);
    let (mut third, mut never) = (Every(3, Log::default()), Every(0, Log::default()));
    for n in 0..8 {
        pass(&mut third);
        pass(&mut never);
        assert_eq!(third.monitor.passes, n / 3 + 1);
        assert_eq!(third.monitor.events.len(), (n / 3 + 1) * once.events.len());
    }
    assert_eq!(never.monitor, Log::default());
    assert_eq!(third.monitor.events[..once.events.len()], once.events);
}

#[test]
fn monitors_combined_get_the_events_of_a_single_one() {
    let network = network();
    let w = initialize::<f64>(&network, 1).unwrap();
    let pass = |monitor: &mut dyn GradientMonitor<f64>| watch(&network, &w, BatchShape::sequences(2, 3), monitor);
    let mut alone = Log::default();
    pass(&mut alone);
    assert!(alone.events.iter().any(|event| event.starts_with("backward")));
    let mut two = (Log::default(), Every(2, Log::default()));
    pass(&mut two);
    assert_eq!((&two.0, &two.1.monitor), (&alone, &alone));
    pass(&mut two);
    assert_eq!(two.0.events.len(), 2 * alone.events.len());
    assert_eq!(two.1.monitor, alone, "not due, though its neighbour is active");
    let mut three = (Log::default(), (), (Some(Log::default()), None::<Log>));
    pass(&mut three);
    assert_eq!((&three.0, three.2.0.as_ref()), (&alone, Some(&alone)));
    let mut many = vec![Log::default(), Log::default()];
    pass(&mut many);
    assert_eq!(many, [alone.clone(), alone.clone()]);
    let mut behind = Log::default();
    pass(&mut (&mut behind, ()));
    assert_eq!(behind, alone);
}

#[test]
fn monitored_pass_gives_the_same_bits() {
    let network = network();
    let w = initialize::<f64>(&network, 1).unwrap();
    for shape in [BatchShape::sequences(3, 4), BatchShape::ragged(&[5, 2, 1])] {
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        let unseen = bits(watch(&network, &w, shape, &mut ()));
        let seen = bits(watch(&network, &w, shape, &mut (GradientBudget::new(), Log::default())));
        assert_eq!(unseen, seen);
    }
}
