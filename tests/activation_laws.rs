//! All activations keep the laws of activations.

use chainrule::{
    Activation,
    activation::*,
    testing::{Law, activation_laws},
};

/// Seeds to try: `CHAINRULE_SEEDS`, or three.
fn seeds() -> u64 {
    std::env::var("CHAINRULE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3)
}

/// Bounds never passed by more than 4 ulp and approached within 1e-6, at every seed; the worst of each law is printed.
fn lawful<A: Activation>(activation: A) {
    let laws = [Law::Derivative, Law::Precision, Law::BoundsHold, Law::BoundsTight, Law::Continuity, Law::Monotone];
    let mut worst = [[0.0f64; 2]; 6];
    let start = std::time::Instant::now();
    for seed in 0..seeds() {
        let evidence = activation_laws(&activation, seed).unwrap_or_else(|violations| panic!("{violations}"));
        for (law, worst) in laws.iter().zip(&mut worst) {
            for (scalar, worst) in ["f64", "f32"].iter().zip(worst) {
                *worst = worst.max(evidence.worst(*law, scalar).unwrap_or(0.0));
            }
        }
        for scalar in ["f64", "f32"] {
            assert!(evidence.worst(Law::BoundsHold, scalar).unwrap() <= 4.0);
        }
        assert!(evidence.worst(Law::BoundsTight, "f64").unwrap() <= 1e-6);
    }
    let each = start.elapsed() / seeds() as u32;
    print!("{activation:?}: {each:.1?} a seed");
    for (law, [double, single]) in laws.iter().zip(worst) {
        print!("; {law:?} {double:.1e} {single:.1e}");
    }
    println!();
}

macro_rules! lawful {
    ($($name:ident: $($activation:expr),+;)+) => {
        $(#[test] fn $name() { $(lawful($activation);)+ })+
    };
}

lawful! {
    identity: Identity;
    sigmoid: Sigmoid;
    tanh: Tanh;
    relu: Relu;
    relu6: Relu6;
    selu: Selu;
    gelu: Gelu;
    gelu_tanh: GeluTanh;
    mish: Mish;
    softsign: Softsign;
    log_sigmoid: LogSigmoid;
    hard_tanh: HardTanh::default(), HardTanh::new(-0.25, 3.0).unwrap(), HardTanh::new(0.1, 0.3).unwrap();
    hard_sigmoid: HardSigmoid;
    hard_swish: HardSwish;
    erf: Erf;
    leaky_relu: LeakyRelu::default(), LeakyRelu::new(0.0).unwrap(), LeakyRelu::new(1.0).unwrap(),
        LeakyRelu::new(2.5).unwrap(), LeakyRelu::new(-0.5).unwrap(), LeakyRelu::new(0.999).unwrap();
    elu: Elu::default(), Elu::new(0.0).unwrap(), Elu::new(0.5).unwrap(), Elu::new(3.0).unwrap();
    celu: Celu::default(), Celu::new(0.5).unwrap(), Celu::new(3.0).unwrap(), Celu::new(0.01).unwrap();
    swish: Swish::SILU, Swish::new(0.0).unwrap(), Swish::new(0.3).unwrap(), Swish::new(4.0).unwrap(),
        Swish::new(-2.0).unwrap(), Swish::new(50.0).unwrap();
    softplus: Softplus::default(), Softplus::new(0.2).unwrap(), Softplus::new(2.0).unwrap(), Softplus::new(50.0).unwrap();
}
