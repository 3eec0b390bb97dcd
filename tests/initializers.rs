//! First values: the same bits everywhere, the right distribution, orthogonality, spectra.

use chainrule::{
    Error, Role,
    initializer::{
        ByGate, Constant, Fan, Glorot, He, Identity, Initializer, LeCun, Normal, Orthogonal, Shape, Sparse,
        TruncatedNormal, Uniform, Zeros, generator,
    },
    layer::{Linear, initialize},
    recurrent::{Lstm, Recurrent},
};

fn fill(initializer: &dyn Initializer, rows: usize, columns: usize, seed: u64) -> Vec<f64> {
    let mut values = vec![f64::NAN; rows * columns];
    initializer.fill(Shape::new(rows, columns, Role::Weight), &mut generator(seed), &mut values).unwrap();
    values
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// FNV-1a of the bits: one number for all of them.
fn fingerprint(values: &[f64]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// From a program of its own (Python: xoshiro256++ seeded by SplitMix64, 53 bits, double arithmetic).
#[test]
fn golden_bits_of_uniform_values() {
    let uniform = fill(&Uniform { low: -1.0, high: 1.0 }, 1, 4, 42);
    let golden = [0x3fe4_1d93_53d1_1d9a, 0xbfd7_30df_45d4_4868, 0x3fee_f81f_3ec3_093a, 0x3fd9_becf_b006_6c18];
    assert_eq!(bits(&uniform), golden);
    let glorot = fill(&Glorot::uniform(), 3, 4, 42);
    let golden = [
        0x3fe2_9f94_9bb7_b0cc,
        0xbfd5_7879_bf45_8572,
        0x3fec_ac03_c691_5d32,
        0x3fd7_d5e7_d28d_96e4,
        0x3fe1_6410_1b7f_0654,
        0x3fc4_e155_9f42_ebb8,
        0xbfe6_32e4_833b_b5ab,
        0x3fc8_ea41_c11b_c888,
        0xbfe1_5188_300b_d275,
        0x3fe9_ad48_f002_1f5a,
        0x3fbc_390f_9ac9_7160,
        0x3fe4_bd79_a6f9_04a4,
    ];
    assert_eq!(bits(&glorot), golden);
    let he = fill(&He::uniform(), 3, 4, 7);
    assert_eq!(
        bits(&he)[..4],
        [0xbff1_6d1e_1dfd_d990, 0xbfe9_b365_384b_dc34, 0x3fe1_0dee_3222_714a, 0xbfc6_d27e_bfa6_70a0]
    );
}

/// Box and Muller's transform of the same uniform values, in 50-digit arithmetic (mpmath).
#[test]
fn normal_values_are_the_true_ones_to_an_ulp_or_two() {
    let normal = fill(&Normal { mean: 0.0, std: 1.0 }, 1, 6, 42);
    let golden = [
        -0.768_993_053_821_005_9,
        1.666_118_458_714_200_2,
        -0.868_446_107_470_245_2,
        -2.739_151_155_664_305,
        -1.510_974_983_000_670_2,
        -0.933_760_043_093_551_9,
    ];
    for (found, golden) in normal.iter().zip(golden) {
        assert!((found / golden - 1.0).abs() < 1e-15, "{found} is not {golden}");
    }
}

/// All others pinned as they are: the bits of a seed must not change, on any platform, with or without std.
#[test]
fn golden_fingerprints() {
    let by_gate = ByGate::new(Zeros).gate("forget", Constant(1.0));
    let found: [(&str, u64); 9] = [
        ("normal", fingerprint(&fill(&Normal { mean: 0.5, std: 2.0 }, 8, 8, 1))),
        ("truncated", fingerprint(&fill(&TruncatedNormal::new(0.0, 1.0), 8, 8, 1))),
        ("glorot normal", fingerprint(&fill(&Glorot::normal(), 8, 5, 1))),
        ("he normal", fingerprint(&fill(&He::normal(), 8, 5, 1))),
        ("lecun truncated", fingerprint(&fill(&LeCun::normal().truncated(), 8, 5, 1))),
        ("orthogonal", fingerprint(&fill(&Orthogonal { gain: 1.0 }, 8, 5, 1))),
        ("identity", fingerprint(&fill(&Identity { scale: 0.5 }, 3, 4, 1))),
        ("sparse", fingerprint(&fill(&Sparse::spectral_radius(1.1), 20, 20, 1))),
        ("by gate", fingerprint(&fill(&by_gate, 3, 1, 1))),
    ];
    assert_eq!(found, GOLDEN);
}

const GOLDEN: [(&str, u64); 9] = [
    ("normal", 0x261ca01e9d2675d1),
    ("truncated", 0xcc871926534cd221),
    ("glorot normal", 0x2334b3bb0101da11),
    ("he normal", 0x472ad6c3f68394b3),
    ("lecun truncated", 0xd30e088e5b539a67),
    ("orthogonal", 0xc87756404f90da22),
    ("identity", 0x47b9ba8278a27148),
    ("sparse", 0xc48a253cbe601abd),
    ("by gate", 0x81d23fd7003c2305),
];

/// A network's weights in f32 and f64 come from the same draws.
#[test]
fn one_draw_for_every_scalar() {
    let layer = Recurrent::new(3, 4, Lstm);
    let (wide, narrow): (Vec<f64>, Vec<f32>) = (initialize(&layer, 5).unwrap(), initialize(&layer, 5).unwrap());
    assert!(wide.iter().zip(&narrow).all(|(&wide, &narrow)| wide as f32 == narrow));
    let biases = &wide[wide.len() - 16..];
    assert_eq!(biases, [[0.0; 4], [1.0; 4], [0.0; 4], [0.0; 4]].concat());
}

/// |z| at which a test of a mean or variance fails: a chance of 1e-10 a test, 1e-6 for 10,000 seeds.
const SIGNIFICANT: f64 = 6.5;

/// Standard scores of the mean and the variance, for independent entries of a distribution with that kurtosis.
fn scores(values: &[f64], mean: f64, variance: f64, kurtosis: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let found = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    ((found - mean) / (variance / n).sqrt(), (square / variance - 1.0) / ((kurtosis - 1.0) / n).sqrt())
}

#[test]
fn means_and_variances_are_the_declared_ones() {
    // The kurtosis of a normal cut at ±2 is (3 − 2·(8 + 6)·φ(2)/(2Φ(2) − 1))/σ⁴ = 2.3655…; 2.4 is above it.
    let (uniform, normal, cut) = (1.8, 3.0, 2.4);
    let cases: Vec<(&str, Box<dyn Initializer>, f64)> = vec![
        ("uniform", Box::new(Uniform { low: -0.5, high: 1.5 }), uniform),
        ("normal", Box::new(Normal { mean: 0.25, std: 3.0 }), normal),
        ("truncated", Box::new(TruncatedNormal::new(0.0, 2.0)), cut),
        ("glorot uniform", Box::new(Glorot::uniform()), uniform),
        ("glorot normal", Box::new(Glorot::normal()), normal),
        ("he uniform", Box::new(He::uniform()), uniform),
        ("he normal, fan out", Box::new(He::normal().fan(Fan::Out)), normal),
        ("lecun normal", Box::new(LeCun::normal()), normal),
        ("lecun truncated", Box::new(LeCun::normal().truncated()), cut),
    ];
    for (name, initializer, kurtosis) in cases {
        let shape = Shape::new(250, 400, Role::Weight);
        let variance = initializer.variance(shape).unwrap();
        let mean = match name {
            "uniform" => 0.5,
            "normal" => 0.25,
            _ => 0.0,
        };
        for seed in 0..20 {
            let values = fill(&*initializer, 250, 400, seed);
            let (m, v) = scores(&values, mean, variance, kurtosis);
            assert!(m.abs() < SIGNIFICANT && v.abs() < SIGNIFICANT, "{name}, seed {seed}: {m}, {v}");
        }
        // Power: with a million values a variance 2 % off is seen.
        let many: Vec<f64> = (0..10).flat_map(|seed| fill(&*initializer, 250, 400, seed)).collect();
        let (_, off) = scores(&many, mean, variance * 1.02, kurtosis);
        assert!(off.abs() > SIGNIFICANT, "{name}: 2 % off scores only {off}");
    }
}

#[test]
fn ranges_hold() {
    assert!(fill(&Uniform { low: -0.5, high: 1.5 }, 100, 100, 1).iter().all(|v| (-0.5..=1.5).contains(v)));
    assert!(fill(&TruncatedNormal::new(1.0, 2.0), 100, 100, 1).iter().all(|v| (-3.0..=5.0).contains(v)));
    // PyTorch's figures for 30 inputs and 20 outputs (tests/reference/init_gains.json).
    let within = |initializer: &dyn Initializer, bound: f64| {
        let most = fill(initializer, 20, 30, 3).iter().fold(0.0f64, |most, v| most.max(v.abs()));
        assert!(most <= bound && most > 0.98 * bound, "{most} for {bound}");
    };
    within(&Glorot::uniform(), 0.346_410_161_513_775_46);
    within(&He::uniform(), 0.447_213_595_499_958);
    let shape = Shape::new(20, 30, Role::Weight);
    let std = |initializer: &dyn Initializer| initializer.variance(shape).unwrap().sqrt();
    assert!((std(&Glorot::normal()) - 0.2).abs() < 1e-15);
    assert!((std(&He::normal()) - 0.258_198_889_747_161_1).abs() < 1e-15);
    assert!((std(&LeCun::normal()) - 0.182_574_185_835_055_36).abs() < 1e-15);
}

#[test]
fn orthogonal_rows_or_columns_are_orthonormal() {
    for (rows, columns, gain) in [(16, 16, 1.0), (5, 12, 2.0), (12, 5, 0.5), (1, 7, 1.0), (7, 1, 3.0)] {
        for seed in 0..20 {
            let q = fill(&Orthogonal { gain }, rows, columns, seed);
            let entry = |i: usize, k: usize| if rows <= columns { q[i * columns + k] } else { q[k * columns + i] };
            let (few, many) = (rows.min(columns), rows.max(columns));
            for i in 0..few {
                for j in 0..few {
                    let dot: f64 = (0..many).map(|k| entry(i, k) * entry(j, k)).sum();
                    let expected = if i == j { gain * gain } else { 0.0 };
                    assert!((dot - expected).abs() < 1e-12 * gain * gain, "{rows} × {columns}: {i}, {j}: {dot}");
                }
            }
        }
    }
    // Uniform over orthogonal matrices: the trace has mean 0 and variance 1 (Diaconis & Shahshahani 1994).
    let traces: Vec<f64> = (0..2000)
        .map(|seed| {
            let q = fill(&Orthogonal { gain: 1.0 }, 4, 4, seed);
            (0..4).map(|i| q[i * 5]).sum()
        })
        .collect();
    let (mean, variance) = scores(&traces, 0.0, 1.0, 3.0);
    assert!(mean.abs() < SIGNIFICANT && variance.abs() < SIGNIFICANT, "{mean}, {variance}");
}

#[test]
fn identity_and_sparse() {
    let identity = fill(&Identity { scale: 0.5 }, 2, 3, 1);
    assert_eq!(identity, [0.5, 0.0, 0.0, 0.0, 0.5, 0.0]);
    for seed in 0..10 {
        let sparse = fill(&Sparse::std(0.1), 30, 40, seed);
        assert!(sparse.chunks(40).all(|row| row.iter().filter(|v| **v != 0.0).count() == 15));
        let few = fill(&Sparse::std(0.1), 3, 4, seed);
        assert!(few.iter().all(|v| *v != 0.0));
    }
}

/// The spectral radius by another road: ‖Aⁿ‖^(1/n), with n = 2¹⁴ by repeated squaring; off by a factor of
/// at most the condition of the eigenvectors to the power 1/n.
fn radius(a: &[f64], n: usize) -> f64 {
    let (mut power, mut log) = (a.to_vec(), 0.0);
    for squarings in 0..14 {
        let norm = power.iter().map(|v| v * v).sum::<f64>().sqrt();
        power.iter_mut().for_each(|v| *v /= norm);
        log += norm.ln() / f64::from(1 << squarings);
        let mut next = vec![0.0; n * n];
        for i in 0..n {
            for k in 0..n {
                for j in 0..n {
                    next[i * n + j] += power[i * n + k] * power[k * n + j];
                }
            }
        }
        power = next;
    }
    let norm = power.iter().map(|v| v * v).sum::<f64>().sqrt();
    (log + norm.ln() / f64::from(1 << 14)).exp()
}

#[test]
fn sparse_has_the_spectral_radius_it_was_set() {
    let rotation = [0.6, -0.8, 0.8, 0.6].map(|v: f64| 2.0 * v);
    assert!((radius(&rotation, 2) - 2.0).abs() < 1e-3);
    for seed in 0..5 {
        let a = fill(&Sparse::spectral_radius(1.1), 40, 40, seed);
        assert!((radius(&a, 40) - 1.1).abs() < 2e-3, "seed {seed}: {}", radius(&a, 40));
    }
}

#[test]
fn bad_parameters_are_typed_errors() {
    let refused = |initializer: &dyn Initializer, rows: usize, columns: usize| {
        let mut values = vec![0.0; rows * columns];
        let found = initializer.fill(Shape::new(rows, columns, Role::Weight), &mut generator(1), &mut values);
        assert!(matches!(found, Err(Error::Parameter { .. })), "{initializer:?}: {found:?}");
    };
    refused(&Uniform { low: 1.0, high: -1.0 }, 2, 2);
    refused(&Uniform { low: f64::NAN, high: 1.0 }, 2, 2);
    refused(&Normal { mean: 0.0, std: -1.0 }, 2, 2);
    refused(&TruncatedNormal::new(0.0, f64::INFINITY), 2, 2);
    refused(&Glorot::uniform().gain(f64::NAN), 2, 2);
    refused(&Orthogonal { gain: f64::INFINITY }, 2, 2);
    refused(&Constant(f64::NAN), 2, 2);
    refused(&Sparse::spectral_radius(1.0), 2, 3);
    refused(&Sparse::std(1.0).non_zeros(0), 2, 3);
    let mut short = [0.0; 3];
    let shape = Shape::new(2, 2, Role::Weight);
    assert!(matches!(Zeros.fill(shape, &mut generator(1), &mut short), Err(Error::Length { .. })));
    let network = Linear::new(2, 2).weights(Normal { mean: 0.0, std: -1.0 });
    assert!(matches!(initialize::<f32>(&network, 1), Err(Error::Parameter { .. })));
}
