//! Very deep networks need no deeper stack.

use chainrule::{
    BatchShape, Layer,
    activation::Tanh,
    initializer::Orthogonal,
    layer::{ActivationLayer, Linear, Mode, Residual, Sequential, initialize},
    monitor::GradientBudget,
    theory::Certificate,
    workspace::Workspace,
};

/// The default stack size of a test thread.
const STACK: usize = 2 << 20;

#[test]
fn network_of_3000_layers_builds_trains_and_drops_on_a_default_stack() {
    let run = || {
        let mut network = Sequential::<f32>::new(8);
        for layer in 0..3000 {
            network.push(Linear::new(8, 8).weights(Orthogonal::default())).unwrap();
            network.push(ActivationLayer::new(8, Tanh)).unwrap();
            if layer % 100 == 0 {
                let mut branch = Sequential::new(8);
                branch.push(Linear::new(8, 8)).unwrap();
                network.push(Residual::new(branch).unwrap()).unwrap();
            }
        }
        let w = initialize(&network, 1).unwrap();
        let mut workspace = Workspace::new(network, BatchShape::batch(4)).unwrap();
        let mut budget = GradientBudget::new();
        let output = workspace.forward_with(&w, &[0.5; 32], BatchShape::batch(4), Mode::Train, &mut budget).unwrap();
        output.dy.fill(1.0);
        workspace.backward_with(&w, &mut budget).unwrap();
        assert!(budget.links().len() > 6000);
        assert!(budget.shares().total().is_finite());
        assert!(budget.to_string().lines().count() > 3000);
        let certificate = Certificate::new(workspace.network(), &w, BatchShape::batch(4)).unwrap();
        assert!(certificate.decades().unwrap().is_finite() && certificate.links().len() == 6030);
        assert!(certificate.to_string().lines().count() > 6030);
        let again = workspace.network().spec().build::<f64>().unwrap();
        assert_eq!(again.spec(), workspace.network().spec());
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}
