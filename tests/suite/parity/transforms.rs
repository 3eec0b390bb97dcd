//! Clipping, optimizers and schedules against PyTorch, and optimizers against the equations of their papers.

use super::reference::{cases, error, name, number, rounded, values, widened};
use chainrule::{
    Block, Blocks, Role, Scalar, scalar,
    transform::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, ClipNorm, ClipValue, GradientTransform, Lion, Muon, NAdam, Optimizer,
        Penalty, PerGroup, RAdam, RmsProp, Schedule, ScheduleFreeAdamW, Sgd, Update,
    },
};
use serde_json::Value;

fn one_block(len: usize) -> Blocks {
    Blocks::collect(|visit| visit(Block::new("weight", 0, [len, 1], Role::Weight)))
}

fn clip<T: Scalar>(case: &Value) -> f64 {
    let flat = |key: &str| -> Vec<f64> { case[key].as_array().unwrap().iter().flat_map(values).collect() };
    let mut gradient = rounded::<T>(&flat("grads_in"));
    let blocks = one_block(gradient.len());
    let w = gradient.clone();
    let mut apply = |transform: &mut dyn GradientTransform<T>| {
        transform.validate(&blocks).unwrap();
        transform.update(Update::new(&blocks, &w, &mut gradient, &mut [], 0)).unwrap();
    };
    let mut worst = 0.0f64;
    if case["kind"] == "norm" {
        let mut transform = ClipNorm::new(number(&case["max_norm"])).p(number(&case["p"])).epsilon(1e-6);
        apply(&mut transform);
        worst = error(&[transform.norm().unwrap()], &[number(&case["total_norm"])]);
    } else {
        apply(&mut ClipValue::new(number(&case["clip_value"])));
    }
    worst.max(error(&widened(&gradient), &flat("grads_out")))
}

#[test]
fn clipping_agrees_with_pytorch() {
    let (mut worst, mut single, cases) = (0.0f64, 0.0f64, cases("clip"));
    assert_eq!(cases.len(), 23);
    for case in &cases {
        let (in64, in32) = (clip::<f64>(case), clip::<f32>(case));
        assert!(in64 <= 1e-12, "{}: {in64:e}", name(case));
        assert!(in32 <= 4.0 * f32::EPSILON as f64, "{}: {in32:e}", name(case));
        (worst, single) = (worst.max(in64), single.max(in32));
    }
    println!("clip: worst {worst:.2e} in f64, {single:.2e} in f32");
}

/// The transform of a case.
fn optimizer<T: Scalar>(case: &Value) -> Box<dyn GradientTransform<T>> {
    let options = &case["options"];
    let get = |key: &str| options[key].as_f64();
    let rate = get("lr").unwrap();
    let l2 = Penalty::l2(get("weight_decay").unwrap_or(0.0));
    let adam = |mut adam: Adam| {
        if let Some(betas) = options["betas"].as_array() {
            adam = adam.betas(number(&betas[0]), number(&betas[1]));
        }
        if let Some(epsilon) = get("eps") {
            adam = adam.epsilon(epsilon);
        }
        if options["amsgrad"] == true { adam.amsgrad() } else { adam }
    };
    match case["optimizer"].as_str().unwrap() {
        "SGD" => {
            let mut sgd =
                Sgd::new(rate).momentum(get("momentum").unwrap_or(0.0)).dampening(get("dampening").unwrap_or(0.0));
            if options["nesterov"] == true {
                sgd = sgd.nesterov();
            }
            Box::new((l2, sgd))
        }
        "Adam" => Box::new((l2, adam(Adam::new(rate)))),
        "AdamW" => Box::new(AdamW::new(rate, get("weight_decay").unwrap_or(0.01)).adam(adam)),
        "RMSprop" => {
            let mut rmsprop = RmsProp::new(rate)
                .alpha(get("alpha").unwrap_or(0.99))
                .epsilon(get("eps").unwrap_or(1e-8))
                .momentum(get("momentum").unwrap_or(0.0));
            if options["centered"] == true {
                rmsprop = rmsprop.centred();
            }
            Box::new((l2, rmsprop))
        }
        "Adagrad" => Box::new((
            l2,
            Adagrad::new(rate)
                .rate_decay(get("lr_decay").unwrap_or(0.0))
                .initial(get("initial_accumulator_value").unwrap_or(0.0)),
        )),
        "Adadelta" => Box::new((l2, Adadelta::new(rate).rho(get("rho").unwrap_or(0.9)))),
        "Adamax" => Box::new((l2, Adamax::new(rate))),
        "NAdam" => Box::new((l2, NAdam::new(rate))),
        "RAdam" => Box::new((l2, RAdam::new(rate))),
        other => panic!("no optimizer {other}"),
    }
}

fn optimize<T: Scalar>(case: &Value) -> f64 {
    let mut w = rounded::<T>(&values(&case["x0"]));
    let blocks = one_block(w.len());
    let mut optimizer = Optimizer::new(optimizer::<T>(case), &blocks, &w).unwrap();
    let sign = if case["options"]["maximize"] == true { -1.0 } else { 1.0 };
    let (a, b) = (rounded::<T>(&values(&case["A"])), rounded::<T>(&values(&case["b"])));
    let n = w.len();
    let mut worst = 0.0f64;
    for expected in case["x_after_step"].as_array().unwrap() {
        // The gradient of ½ xᵀAx − bᵀx at the x of the tested optimizer.
        let mut gradient: Vec<T> = (0..n)
            .map(|i| ((0..n).fold(T::zero(), |sum, j| sum + a[i * n + j] * w[j]) - b[i]) * scalar(sign))
            .collect();
        optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
        worst = worst.max(error(&widened(&w), &values(expected)));
    }
    worst
}

#[test]
fn optimizers_agree_with_pytorch() {
    let (mut worst, mut single, cases) = (0.0f64, 0.0f64, cases("optimizers"));
    assert_eq!(cases.len(), 26);
    for case in &cases {
        let (in64, in32) = (optimize::<f64>(case), optimize::<f32>(case));
        println!("{:30} f64 {in64:.1e}  f32 {:.1} ε", name(case), in32 / f32::EPSILON as f64);
        assert!(in64 <= 1e-12, "{}: {in64:e}", name(case));
        // AMSGrad divides by a value that was rounded ten times; the errors of the others are below 2 ε.
        assert!(in32 <= 8.0 * f32::EPSILON as f64, "{}: {in32:e}", name(case));
        (worst, single) = (worst.max(in64), single.max(in32));
    }
    println!("optimizers: worst {worst:.2e} in f64, {single:.2e} in f32");
}

/// The optimizer of a case of `optimizers_by_equations`, and its parameters: a matrix, or a vector of weights, then
/// biases.
fn of_paper(case: &Value) -> (Box<dyn GradientTransform<f64>>, Blocks) {
    let (options, n) = (&case["options"], values(&case["x0"]).len());
    let get = |key: &str| number(&options[key]);
    let betas = || [0, 1].map(|i| number(&options["betas"][i]));
    let transform: Box<dyn GradientTransform<f64>> = match case["optimizer"].as_str().unwrap() {
        "Lion" => {
            let [first, second] = betas();
            Box::new(Lion::new(get("lr")).betas(first, second).decay(get("weight_decay")))
        }
        "ScheduleFreeAdamW" => {
            let [first, second] = betas();
            let free = ScheduleFreeAdamW::new(get("lr"), get("weight_decay")).warm_up(get("warm_up") as u64);
            Box::new(free.betas(first, second).epsilon(get("eps")))
        }
        "Muon" => {
            let muon = Muon::new(get("lr"), AdamW::new(get("adam_lr"), 0.0));
            let muon = muon.momentum(get("momentum")).decay(get("weight_decay"));
            Box::new(if options["nesterov"] == true { muon } else { muon.without_nesterov() })
        }
        other => panic!("no optimizer {other}"),
    };
    let [rows, columns] = match options["matrix"].as_array() {
        Some(shape) => [0, 1].map(|i| number(&shape[i]) as usize),
        None => [n, 1],
    };
    let blocks = Blocks::collect(|visit| {
        visit(Block::new("weight", 0, [rows, columns], Role::Weight));
        if rows * columns < n {
            visit(Block::new("bias", rows * columns, [n - rows * columns, 1], Role::Bias));
        }
    });
    (transform, blocks)
}

#[test]
fn optimizers_without_pytorch_agree_with_the_equations_of_their_papers() {
    let (mut worst, cases) = (0.0f64, cases("optimizers_by_equations"));
    assert_eq!(cases.len(), 7);
    for case in &cases {
        let (transform, blocks) = of_paper(case);
        let (a, b, mut w) = (values(&case["A"]), values(&case["b"]), values(&case["x0"]));
        let (n, mut optimizer) = (w.len(), Optimizer::new(transform, &blocks, &w).unwrap());
        let [parameters, results] = ["x_after_step", "result_after_step"].map(|key| case[key].as_array().unwrap());
        for (parameters, results) in parameters.iter().zip(results) {
            let mut gradient: Vec<f64> =
                (0..n).map(|i| (0..n).map(|j| a[i * n + j] * w[j]).sum::<f64>() - b[i]).collect();
            optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
            let result = optimizer.result(&blocks).unwrap_or(&w);
            let this = error(&w, &values(parameters)).max(error(result, &values(results)));
            assert!(this <= 1e-12, "{}: {this:e}", name(case));
            worst = worst.max(this);
        }
    }
    println!("optimizers of papers: worst {worst:.2e}");
}

/// The error of a schedule's rates at the steps of a case.
fn rates_error(schedule: &Schedule, case: &Value) -> f64 {
    let base = number(&case["base_lr"]);
    let rates: Vec<f64> = case["lr_at_step"].as_array().unwrap().iter().map(number).collect();
    let found: Vec<f64> = (0..rates.len() as u64).map(|step| base * schedule.factor(step)).collect();
    error(&found, &rates)
}

#[test]
fn schedules_agree_with_pytorch() {
    let (mut worst, cases) = (0.0f64, cases("schedulers"));
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let base = number(&case["base_lr"]);
        let schedule = match name(case) {
            "step_3_0.5" => Schedule::step(3, 0.5),
            "multistep_2_5_9_0.1" => Schedule::multi_step(&[2, 5, 9], 0.1),
            "exponential_0.9" => Schedule::exponential(0.9),
            "cosine_T10_min0.01" => Schedule::cosine(10, 0.01 / base),
            "cosine_warm_restarts_T5_mult2" => Schedule::cosine_with_restarts(5, 2, 0.0),
            "linear_0.25_to_1_4" => Schedule::warm_up(0.25, 4),
            "polynomial_12_p2" => Schedule::polynomial(12, 2.0),
            "onecycle_max1_total16" => Schedule::one_cycle(1.0 / base, 16),
            other => panic!("no schedule for {other}"),
        };
        let this = rates_error(&schedule, case);
        assert!(this <= 1e-12, "{}: {this:e}", name(case));
        worst = worst.max(this);
    }
    println!("schedules: worst {worst:.2e}");
}

#[test]
fn joined_epoch_one_cycle_and_cyclic_schedules_agree_with_pytorch() {
    let cases = cases("transforms");
    let rates: Vec<&Value> = cases.iter().filter(|case| case["lr_at_step"].is_array()).collect();
    assert_eq!(rates.len(), 6);
    for case in rates {
        let base = number(&case["base_lr"]);
        let schedule = match name(case) {
            "joined" => Schedule::warm_up(0.25, 4).then(4, Schedule::cosine(10, 0.0)).then(14, Schedule::step(2, 0.5)),
            "epochs of 3" => Schedule::cosine(6, 0.1 / base).per_epoch(3),
            "one cycle 0.25" => Schedule::one_cycle_with(1.0 / base, 20, 0.25, [10.0, 100.0]),
            "one cycle 1" => Schedule::one_cycle_with(1.0 / base, 20, 1.0, [10.0, 100.0]),
            "cyclic" => Schedule::cyclic(0.1 / base, 0.7 / base, 3, 5),
            "cyclic halved" => Schedule::cyclic_with_decay(0.1 / base, 0.7 / base, 3, 5, 0.5),
            other => panic!("no schedule for {other}"),
        };
        let this = rates_error(&schedule, case);
        assert!(this <= 1e-12, "{}: {this:e}", name(case));
    }
}

/// A rate, a decay, β and a clip of each group.
#[test]
fn groups_agree_with_pytorch() {
    let cases = cases("transforms");
    let case = cases.iter().find(|case| name(case) == "groups").unwrap();
    let list = |key: &str| case[key].as_array().unwrap().iter().map(number).collect::<Vec<f64>>();
    let (a, b, mut w) = (list("A"), list("b"), list("x0"));
    let blocks = Blocks::collect(|visit| {
        visit(Block::new("0.weight", 0, [2, 1], Role::Weight));
        visit(Block::new("1.weight", 2, [2, 1], Role::Weight));
        visit(Block::new("2.recurrent", 4, [2, 1], Role::Recurrent));
    });
    let second = (ClipNorm::new(0.5).epsilon(1e-6), AdamW::new(0.01, 0.0).adam(|adam| adam.betas(0.5, 0.9)));
    let transform = PerGroup::new(AdamW::new(0.05, 0.1))
        .group("0", AdamW::new(0.1, 0.3).adam(|adam| adam.betas(0.9, 0.99)))
        .group("1", second);
    let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
    for expected in case["x_after_step"].as_array().unwrap() {
        let mut gradient: Vec<f64> = (0..6).map(|i| (0..6).map(|j| a[i * 6 + j] * w[j]).sum::<f64>() - b[i]).collect();
        optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
        let this = error(&w, &expected.as_array().unwrap().iter().map(number).collect::<Vec<f64>>());
        assert!(this <= 1e-12, "{this:e}");
    }
}
