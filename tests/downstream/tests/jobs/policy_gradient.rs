//! REINFORCE by a loop of one's own: the gradient at the outputs is that of the policy.

use chainrule::{
    BatchShape, Error,
    layer::{Sequential, initialize},
    loss::softmax,
    transform::{Adam, Optimizer},
    workspace::Workspace,
};

/// The best action is that of the sign of the state; an action is drawn from the policy by a fixed sequence.
#[test]
fn policy_learns_the_better_action() -> Result<(), Error> {
    let policy = Sequential::<f64>::input(1).linear(8).tanh().linear(2).build()?;
    let mut w = initialize(&policy, 1)?;
    let mut workspace = Workspace::new(&policy, BatchShape::batch(1))?;
    let mut optimizer = Optimizer::new(Adam::new(0.01), workspace.blocks(), &w)?;
    let (mut p, mut rewards) = ([0.0; 2], Vec::new());
    for i in 0..1000 {
        let state = (f64::from(i) * 2.4).sin();
        let output = workspace.forward(&w, &[state], BatchShape::batch(1))?;
        softmax(2, output.y, &mut p)?;
        let action = usize::from((f64::from(i) * 0.618).fract() < p[1]);
        let reward = if (action == 1) == (state > 0.0) { 1.0 } else { 0.0 };
        rewards.push(reward);
        for (k, (dy, p)) in output.dy.iter_mut().zip(p).enumerate() {
            *dy = (reward - 0.5) * (p - if k == action { 1.0 } else { 0.0 });
        }
        workspace.backward(&w)?;
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, &mut ())?;
    }
    let mean = |rewards: &[f64]| rewards.iter().sum::<f64>() / rewards.len() as f64;
    assert!(mean(&rewards[800..]) > 0.9, "{} after {}", mean(&rewards[800..]), mean(&rewards[..100]));
    Ok(())
}
