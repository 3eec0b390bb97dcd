//! Data sets: parts of them, splits, folds, windows, scales, padding.

use chainrule::{
    DataRule, Error,
    dataset::{Batch, Dataset, Standardize, Windows, mask_lengths, one_hot, unpad},
    loss::Target,
    metrics::predicted_classes,
    random::{below, generator},
};

fn counting(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64).collect()
}

fn classes_of(data: &Dataset<'_, f64>) -> Vec<usize> {
    match data.targets() {
        Some(Target::Classes(classes)) => classes.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Data whose sample s has the inputs 100 s, 100 s + 1, …, the class s % 3 and, a step, the value −input.
fn sequences(lengths: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let x = lengths.iter().enumerate().flat_map(|(s, &length)| (0..length).map(move |t| (100 * s + t) as f64));
    let x: Vec<f64> = x.collect();
    let y = x.iter().map(|x| -x).collect();
    (x, y)
}

#[test]
fn select_any_samples_takes_inputs_targets_and_weights_along() {
    let lengths = [2, 1, 3, 2];
    let (x, y) = sequences(&lengths);
    let weights: Vec<f64> = x.iter().map(|x| x + 1.0).collect();
    let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let part = data.select(&[2, 0, 2]).unwrap();
    assert_eq!(part.inputs(), [200.0, 201.0, 202.0, 0.0, 1.0, 200.0, 201.0, 202.0]);
    assert_eq!(part.targets(), Some(Target::Values(&[-200.0, -201.0, -202.0, 0.0, -1.0, -200.0, -201.0, -202.0])));
    assert_eq!((part.samples(), part.length(0), part.length(1)), (3, 3, 2));
    let mut batch = Batch::new(&part, 3);
    batch.gather(&part, &[1], true).unwrap();
    assert_eq!((batch.x(), batch.row_weights()), (&[0.0, 1.0][..], Some(&[1.0, 2.0][..])));
    // One target a sample.
    let (wide, labels) = (counting(4 * 2 * 3), [4, 5, 6, 7]);
    let data = Dataset::sequences(3, 2, &wide, Target::Classes(&labels)).unwrap();
    let part = data.select(&[3, 1]).unwrap();
    assert_eq!((part.inputs(), classes_of(&part)), (&[&wide[18..], &wide[6..12]].concat()[..], vec![7, 5]));
    assert_eq!(data.select(&[0, 1, 2, 3]).unwrap(), data);
    assert_eq!(data.select(&[]), Err(Error::EmptyBatch));
    assert_eq!(data.select(&[0, 4]), Err(Error::Sample { sample: 4, samples: 4 }));
}

/// Six values are two a sample of three samples, or one a step of six: by default one a step.
#[test]
fn targets_of_two_readings_are_one_a_step_unless_told_otherwise() {
    let (lengths, x, y) = ([1, 2, 3], counting(6), counting(6));
    let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap();
    let mut batch = Batch::new(&data, 3);
    batch.gather(&data, &[0, 1, 2], true).unwrap();
    let refused = batch.gather(&data, &[0, 1, 2], false);
    assert_eq!(refused, Err(DataRule::TargetRows { per_step: false }.into()));
    assert!(refused.unwrap_err().to_string().contains("one_target_a_sample"));
    assert_eq!(data.select(&[1]).unwrap().targets(), Some(Target::Values(&[1.0, 2.0])));
    let data = data.one_target_a_sample().unwrap();
    batch.gather(&data, &[0, 2], false).unwrap();
    assert_eq!(batch.target(), Target::Values(&[4.0, 5.0, 0.0, 1.0]));
    assert_eq!(data.select(&[1]).unwrap().targets(), Some(Target::Values(&[2.0, 3.0])));
    let odd = Dataset::ragged(1, &[1, 2], &x[..3], Target::Values(&y[..3])).unwrap();
    assert!(matches!(odd.one_target_a_sample(), Err(Error::Length { .. })));
}

#[test]
fn split_any_share_gives_each_sample_to_one_part() {
    for samples in 2..40_usize {
        let x = counting(samples);
        let labels: Vec<usize> = (0..samples).map(|i| i * i % 7 % 3 * 1000).collect();
        let data = Dataset::rows(1, &x, Target::Classes(&labels)).unwrap();
        for share in [0.1, 0.5, 0.8] {
            let first = (share * samples as f64).round() as usize;
            let parts = [data.split(share, 3), data.split_in_order(share), data.split_by_class(share, 3)];
            for (way, parts) in parts.into_iter().enumerate() {
                if first == 0 || first == samples {
                    assert_eq!(parts, Err(Error::Empty { what: "one part of the split" }), "{samples} {share} {way}");
                    continue;
                }
                let (train, test) = parts.unwrap();
                assert_eq!((train.samples(), test.samples()), (first, samples - first), "{share} {way}");
                let mut all = [train.inputs(), test.inputs()].concat();
                if way == 1 {
                    assert_eq!(all, x);
                }
                for part in [&train, &test] {
                    let classes = classes_of(part);
                    assert!(part.inputs().iter().zip(&classes).all(|(&x, &class)| labels[x as usize] == class));
                }
                if way == 2 {
                    for class in [0, 1000, 2000] {
                        let count = |labels: &[usize]| labels.iter().filter(|&&label| label == class).count();
                        let (quota, found) = (share * count(&labels) as f64, count(&classes_of(&train)));
                        assert!((found as f64 - quota).abs() < 1.0, "{found} of {quota} of class {class}");
                    }
                }
                all.sort_by(f64::total_cmp);
                assert_eq!(all, x);
            }
        }
    }
    let x = counting(10);
    let data = Dataset::rows(1, &x, None).unwrap();
    assert_eq!(data.split(0.5, 1), data.split(0.5, 1));
    assert_ne!(data.split(0.5, 1), data.split(0.5, 2));
    for share in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(matches!(data.split(share, 1), Err(Error::Parameter { .. })));
    }
    assert!(matches!(data.split_by_class(0.5, 1), Err(Error::TargetKind { found: "no targets", .. })));
}

#[test]
fn fold_each_sample_is_tested_once() {
    for samples in 2..12 {
        let x = counting(samples);
        let data = Dataset::rows(1, &x, None).unwrap();
        for folds in 2..=samples {
            let mut tested = Vec::new();
            for fold in 0..folds {
                let (train, test) = data.fold(folds, fold, 7).unwrap();
                assert!((samples / folds..=samples.div_ceil(folds)).contains(&test.samples()));
                let mut all = [train.inputs(), test.inputs()].concat();
                all.sort_by(f64::total_cmp);
                assert_eq!(all, x);
                tested.extend_from_slice(test.inputs());
            }
            tested.sort_by(f64::total_cmp);
            assert_eq!(tested, x);
        }
        assert!(matches!(data.fold(1, 0, 7), Err(Error::Parameter { .. })));
        assert!(matches!(data.fold(samples + 1, 0, 7), Err(Error::Parameter { .. })));
        assert!(matches!(data.fold(2, 2, 7), Err(Error::Parameter { .. })));
    }
}

#[test]
fn value_of_a_series_that_is_not_finite_is_named_by_its_row() {
    let mut series: Vec<f64> = (0..40).map(f64::from).collect(); // 20 rows of 2
    series[10 * 2 + 1] = f64::NAN;
    let named = |windows: Windows, row: usize| match windows.of(2, &series) {
        Err(Error::InvalidData(DataRule::RowValue { row: found, column: 1, .. })) => assert_eq!(found, row),
        other => panic!("{other:?}"),
    };
    named(Windows::new(4), 10);
    named(Windows::new(4).stride(3), 10);
    // The target of the first window: its row 3 + 7.
    named(Windows::new(4).ahead(7).stride(20), 10);
    named(Windows::new(4).ahead(9).stride(20).every_step().target_columns(1..2), 10);
    // A row that no window reads may hold anything.
    assert!(Windows::new(4).stride(20).of(2, &series).is_ok());
}

#[test]
fn windows_every_setting_equals_the_definition() {
    let mut rng = generator(5);
    for _ in 0..200 {
        let (width, rows) = (1 + below(&mut rng, 3), 1 + below(&mut rng, 12));
        let (steps, stride, ahead) = (1 + below(&mut rng, 4), 1 + below(&mut rng, 3), below(&mut rng, 3));
        let (column, every) = (below(&mut rng, width), below(&mut rng, 2) == 1);
        let series = counting(rows * width);
        let windows = Windows::new(steps).stride(stride).ahead(ahead).target_columns(column..width);
        let windows = if every { windows.every_step() } else { windows };
        let (mut x, mut y, mut start) = (Vec::new(), Vec::new(), 0);
        while start + steps + ahead <= rows {
            for step in start..start + steps {
                x.extend_from_slice(&series[step * width..][..width]);
                if every || step == start + steps - 1 {
                    y.extend_from_slice(&series[(step + ahead) * width + column..][..width - column]);
                }
            }
            start += stride;
        }
        match windows.of(width, &series) {
            Ok(data) => {
                assert_eq!((data.inputs(), data.targets(), data.steps()), (&x[..], Some(Target::Values(&y)), steps));
            }
            Err(error) => {
                assert_eq!(error, DataRule::SeriesTooShort { rows, needed: steps + ahead }.into());
                assert!(x.is_empty());
            }
        }
    }
    let series = counting(6);
    for (windows, width) in [
        (Windows::new(0), 1),
        (Windows::new(1).stride(0), 1),
        (Windows::new(1).target_columns(1..3), 2),
        (Windows::new(1), 0),
    ] {
        assert!(matches!(windows.of(width, &series), Err(Error::Parameter { .. })), "{windows:?}");
    }
    let text = Windows::new(2).of(4, &series).unwrap_err().to_string();
    assert_eq!(text, "the series: 6 values are not a multiple of width 4; complete the last row, or correct the sizes");
    assert!(matches!(Windows::new(usize::MAX).of(1, &series), Err(Error::InvalidData(_))));
}

#[test]
fn standardize_inverted_gives_the_values_back() {
    let x: Vec<f64> =
        (0..30).map(|i| [1e6, 3.0, 0.25][i % 3] + f64::from(i as u32 * 7 % 11) * [1e3, 0.0, 1.0][i % 3]).collect();
    let y: Vec<f64> = (0..20).map(|i| f64::from(i * 3 % 7)).collect();
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let scale = Standardize::fit(&data).unwrap();
    let scaled = scale.inputs(&data).unwrap();
    assert_eq!((scaled.targets(), scale.width()), (data.targets(), 3));
    let mut back = scaled.inputs().to_vec();
    scale.invert(&mut back).unwrap();
    for (back, x) in back.iter().zip(&x) {
        assert!((back - x).abs() <= 1e-15 * x.abs(), "{back} {x}");
    }
    let of_targets = Standardize::fit_targets(2, &data).unwrap();
    let scaled = of_targets.targets(&data).unwrap();
    let Some(Target::Values(values)) = scaled.targets() else { panic!() };
    let mean = values.iter().sum::<f64>() / 20.0;
    assert!(mean.abs() < 1e-15 && scaled.inputs() == data.inputs());
    assert!(matches!(Standardize::of(2, &x[..2]).unwrap().inputs(&data), Err(Error::Length { .. })));
    let labels = Dataset::rows(30, &x, Target::Classes(&[1])).unwrap();
    assert!(matches!(Standardize::fit_targets(1, &labels), Err(Error::TargetKind { found: "classes", .. })));
    assert!(matches!(Standardize::from_columns(vec![[0.0, -1.0]]), Err(Error::Parameter { .. })));
    assert!(matches!(Standardize::from_columns(vec![[f64::NAN, 1.0]]), Err(Error::NonFinite { .. })));
    assert!(matches!(Standardize::from_columns(vec![]), Err(Error::Empty { .. })));
}

/// Mean and deviation are within the range of the values, so they exist where the distances of values overflow.
#[test]
fn standardize_of_the_largest_numbers_scales_with_them() {
    let columns = |x: &[f64]| Standardize::of(2, x).unwrap().columns().to_vec();
    let small: Vec<f64> = [1.7, 0.1, -1.7, 0.3, 1.0, 0.2].into();
    let large: Vec<f64> = small.chunks(2).flat_map(|row| [row[0] * 1e308, row[1]]).collect();
    let (small, large) = (columns(&small), columns(&large));
    for i in 0..2 {
        assert!((large[0][i] / 1e308 - small[0][i]).abs() < 1e-15, "{large:?} {small:?}");
    }
    assert_eq!(large[1], small[1]);
    assert_eq!(columns(&[f64::MAX, 0.0, -f64::MAX, 0.0]), [[0.0, f64::MAX], [0.0, 0.0]]);
    let x = [1.7e308_f64, -1.7e308, 1e308];
    let scale = Standardize::of(1, &x).unwrap();
    let mut scaled = x;
    scale.apply(&mut scaled).unwrap();
    assert!(scaled.iter().all(|x| x.abs() < 2.0), "{scaled:?}");
    scale.invert(&mut scaled).unwrap();
    assert!(scaled.iter().zip(x).all(|(found, x)| (found / x - 1.0).abs() < 1e-14), "{scaled:?}");
    assert_eq!(columns(&[f64::MAX, 0.0, f64::MAX, 0.0])[0], [f64::MAX, 0.0]);
}

/// However often a value occurs, its column is constant; values whose squares underflow are not.
#[test]
fn standardize_of_equal_values_is_zero_and_of_tiny_ones_is_not() {
    for value in [1.0, 0.1, 22.5] {
        let mut rows = vec![value; 100_000];
        let scale = Standardize::of(1, &rows).unwrap();
        assert_eq!(scale.columns(), [[value, 0.0]]);
        scale.apply(&mut rows).unwrap();
        assert!(rows.iter().all(|x| *x == 0.0));
    }
    let mut tiny = [1e-170, -1e-170];
    Standardize::of(1, &tiny).unwrap().apply(&mut tiny).unwrap();
    assert_eq!(tiny, [1.0, -1.0]);
}

#[test]
fn standardize_of_masked_targets_reads_those_that_count() {
    let (x, mut y) = (counting(6), vec![1.0, 3.0, -999.0, 5.0, 7.0, -999.0]);
    let weights = [1.0, 1.0, 0.0, 2.0, 1.0, 0.0];
    let masked = |y: &[f64]| {
        let data = Dataset::sequences(1, 3, &x, Target::Values(y)).unwrap().row_weights(&weights).unwrap();
        Standardize::fit_targets(1, &data).unwrap()
    };
    let expected = Standardize::of(1, &[1.0, 3.0, 5.0, 5.0, 7.0]).unwrap();
    for (found, expected) in masked(&y).columns()[0].iter().zip(expected.columns()[0]) {
        assert!((found - expected).abs() <= 1e-15 * expected, "{found} {expected}");
    }
    y[2] = 1e9;
    assert_eq!(masked(&y), masked(&[1.0, 3.0, 0.0, 5.0, 7.0, 0.0]));
    let none = Dataset::rows(1, &x, Target::Values(&y)).unwrap().row_weights(&[0.0; 6]).unwrap();
    assert!(matches!(Standardize::fit_targets(1, &none), Err(Error::Parameter { .. })));
}

/// Weights have the rows of the targets, in training and here.
#[test]
fn standardize_of_targets_refuses_weights_of_other_rows() {
    let (x, y) = (counting(6), [1.0, 5.0, 7.0]);
    let data = Dataset::ragged(1, &[1, 2], &x[..3], Target::Values(&y)).unwrap();
    let per_sample = data.row_weights(&[1.0, 0.0]).unwrap();
    let refused = Standardize::fit_targets(1, &per_sample).unwrap_err();
    assert_eq!(refused, Error::Length { what: "row weights", expected: 3, found: 2 });
    let data = Dataset::sequences(1, 2, &x, Target::Values(&y)).unwrap();
    let per_step = data.clone().row_weights(&[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]).unwrap();
    let refused = Standardize::fit_targets(1, &per_step).unwrap_err();
    assert_eq!(refused, Error::Length { what: "row weights", expected: 3, found: 6 });
    let mut batch = Batch::new(&per_step, 3);
    assert_eq!(batch.gather(&per_step, &[0, 1, 2], false).unwrap_err(), refused);
    let scale = Standardize::fit_targets(1, &data.row_weights(&[1.0, 0.0, 1.0]).unwrap()).unwrap();
    assert_eq!(scale.columns(), [[4.0, 3.0]]);
}

/// A window has one target row or one for each step, whatever the number of its columns.
#[test]
fn windows_declare_their_targets_as_one_a_sample_or_one_a_step() {
    let series = counting(24);
    for every_step in [false, true] {
        // The 2 columns of one row are as many values as the 2 steps.
        let windows = if every_step { Windows::new(2).every_step() } else { Windows::new(2) };
        let data = windows.of(2, &series).unwrap();
        let part = data.select(&[0, 3]).unwrap();
        for data in [&data, &part] {
            for per_step in [false, true] {
                let gathered = Batch::new(data, 2).gather(data, &[0, 1], per_step);
                assert_eq!(gathered.is_ok(), per_step == every_step, "{every_step}: {gathered:?}");
            }
            let text = if every_step { "target values per step: 2" } else { "target values per sample: 2" };
            assert!(format!("{data:?}").contains(text), "{data:?}");
            assert_eq!(Standardize::fit_targets(2, data).unwrap().width(), 2);
            assert!(matches!(
                Standardize::fit_targets(if every_step { 4 } else { 1 }, data),
                Err(Error::Length { .. })
            ));
        }
    }
}

#[test]
fn scaled_value_beyond_the_format_is_an_error() {
    let scale = Standardize::from_columns(vec![[2e5, 1.0], [0.0, 1e39]]).unwrap();
    let refused = |error: Error, at: [usize; 2]| {
        let DataRule::ScaledValue { row, column, .. } = (match &error {
            Error::InvalidData(rule) => rule,
            other => panic!("{other}"),
        }) else {
            panic!("{error}")
        };
        assert_eq!([*row, *column], at);
    };
    refused(scale.invert(&mut [0.0_f32, 0.0, 1.0, 1.0]).unwrap_err(), [1, 1]);
    let deep = Standardize::from_columns(vec![[0.0, 1e-30]]).unwrap();
    refused(deep.inputs(&Dataset::rows(1, &[0.0_f32, 1e10], None).unwrap()).unwrap_err(), [1, 0]);
    let text = scale.apply(&mut [1.0; 7]).unwrap_err().to_string();
    assert!(text.contains("7 values are not a multiple of width 2"), "{text}");
}

/// 3 targets a sample of 4 samples with 11 steps: samples of 1 and 2 steps have as many targets as two a step.
#[test]
fn part_of_data_with_targets_per_sample_keeps_them() {
    let (lengths, x, y) = ([1, 2, 4, 4], counting(11), counting(12));
    let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap();
    for chosen in [vec![0, 1], vec![0], vec![1, 2], vec![0, 1, 2, 3]] {
        let part = data.select(&chosen).unwrap();
        let mut batch = Batch::new(&part, chosen.len());
        batch.gather(&part, &[0], false).unwrap_or_else(|error| panic!("{chosen:?}: {error}"));
        assert_eq!(batch.target(), Target::Values(&y[3 * chosen[0]..][..3]));
    }
}

#[test]
fn mask_with_padding_first_has_a_hole() {
    let rule = DataRule::MaskHole { sample: 0, step: 1 };
    assert_eq!(mask_lengths(3, &[false, true, true]), Err(rule.into()));
    assert_eq!(mask_lengths(2, &[true, true, false, false]), Err(Error::NoSteps { sample: 1 }));
}

#[test]
fn padded_sequences_equal_those_without_padding() {
    let lengths = [2, 4, 1];
    let (x, y) = sequences(&lengths);
    let (mut padded, mut mask, mut row) = (Vec::new(), Vec::new(), 0);
    for &length in &lengths {
        // NaN in the padding is not read.
        padded.extend((0..4).flat_map(|t| if t < length { [x[row + t], y[row + t]] } else { [f64::NAN; 2] }));
        mask.extend((0..4).map(|t| t < length));
        row += length;
    }
    assert_eq!(mask_lengths(4, &mask).unwrap(), lengths);
    let expected: Vec<f64> = x.iter().zip(&y).flat_map(|(&x, &y)| [x, y]).collect();
    assert_eq!(unpad(4, &lengths, &padded).unwrap(), expected);
    let hole = mask_lengths(3, &[true, true, false, true, false, true]).unwrap_err();
    assert_eq!(hole, DataRule::MaskHole { sample: 1, step: 2 }.into());
    assert_eq!(mask_lengths(2, &[true, true, false, false]), Err(Error::NoSteps { sample: 1 }));
    assert!(matches!(mask_lengths(2, &[true; 3]), Err(Error::InvalidData(DataRule::NotMultiple { .. }))));
    assert!(matches!(mask_lengths(0, &[]), Err(Error::Empty { .. })));
    let long = unpad(2, &[1, 3], &x[..4]).unwrap_err();
    assert_eq!(long, DataRule::PaddedLength { sample: 1, length: 3, steps: 2 }.into());
    assert!(matches!(unpad(2, &[1, 2], &x[..6]), Err(Error::Length { .. })));
    assert_eq!(unpad::<f64>(2, &[], &[]), Err(Error::EmptyBatch));
}

#[test]
fn nested_samples_equal_flat_ones() {
    let rows = [vec![1.0, 2.0], vec![3.0, 4.0]];
    let flat = [1.0, 2.0, 3.0, 4.0];
    let labels = Target::Classes(&[0, 1]);
    assert_eq!(Dataset::from_rows(&rows, labels), Dataset::rows(2, &flat, labels));
    assert_eq!(Dataset::from_rows(&[[1.0, 2.0], [3.0, 4.0]], labels), Dataset::rows(2, &flat, labels));
    let sequences = [vec![1.0], vec![2.0, 3.0, 4.0]];
    let lengths = [1, 3];
    assert_eq!(Dataset::from_sequences(1, &sequences, labels), Dataset::ragged(1, &lengths, &flat, labels));
    let narrow = Dataset::from_rows(&[vec![1.0, 2.0], vec![3.0]], labels).unwrap_err();
    assert_eq!(narrow.to_string(), "row 1 has 1 values, but row 0 has 2; all rows must have the same width");
    let odd = Dataset::from_sequences(2, &[vec![1.0, 2.0], vec![3.0]], labels).unwrap_err();
    assert_eq!(
        odd.to_string(),
        "sample 1: 1 values are not a multiple of width 2; complete the last row, or correct the sizes"
    );
    assert!(matches!(Dataset::<f64>::from_rows::<Vec<f64>>(&[], None), Err(Error::EmptyBatch)));
    assert!(matches!(Dataset::from_rows(&[Vec::<f64>::new()], None), Err(Error::Empty { .. })));
    assert!(matches!(Dataset::from_sequences(1, &[vec![1.0], vec![]], None), Err(Error::NoSteps { sample: 1 })));
    let nan = Dataset::from_rows(&[[1.0, 2.0], [3.0, f64::NAN]], None).unwrap_err();
    assert!(nan.to_string().starts_with("an input of sample 1, column 1 must be finite"), "{nan}");
}

#[test]
fn one_hot_rows_give_their_labels_back() {
    let labels = [2, 0, 1, 2];
    let rows = one_hot::<f32>(3, &labels).unwrap();
    assert_eq!(rows[..6], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    assert_eq!(predicted_classes(3, &rows).unwrap(), labels);
    assert!(matches!(one_hot::<f32>(2, &labels), Err(Error::ClassOutOfRange { row: 0, label: 2, classes: 2 })));
    assert!(matches!(one_hot::<f32>(usize::MAX, &labels), Err(Error::TooLarge { .. })));
}

#[test]
fn debug_of_data_is_its_shape() {
    let x = counting(12);
    let data = Dataset::sequences(2, 3, &x, Target::Classes(&[1, 0])).unwrap();
    let text = "Dataset { samples: 2, steps: 3, width: 2, classes: 2, row_weights: false }";
    assert_eq!(format!("{data:?}"), text);
}

/// A batch keeps no rows of a data set whose lengths were replaced in the same memory.
#[test]
fn batch_reads_the_lengths_of_the_data_at_hand() {
    let (x, y) = sequences(&[2, 1, 2]);
    let mut lengths = vec![2, 1, 2];
    let mut batch = {
        let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap();
        let mut batch = Batch::new(&data, 3);
        batch.gather(&data, &[0, 1, 2], true).unwrap();
        assert_eq!(batch.x(), [0.0, 200.0, 100.0, 1.0, 201.0]);
        batch
    };
    lengths.copy_from_slice(&[1, 2, 2]);
    let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap();
    batch.gather(&data, &[0, 1, 2], true).unwrap();
    // The samples are 0; 1, 100; 200, 201, and the longest come first.
    assert_eq!((batch.samples(), batch.x()), (&[1, 2, 0][..], &[1.0, 200.0, 0.0, 100.0, 201.0][..]));
    assert_eq!(batch.target(), Target::Values(&[-1.0, -200.0, 0.0, -100.0, -201.0]));
    // Other lengths of the same sizes, too; other sizes are refused.
    let turned = Dataset::ragged(1, &[2, 2, 1], &x, Target::Values(&y)).unwrap();
    batch.gather(&turned, &[2], true).unwrap();
    assert_eq!(batch.x(), [201.0]);
    let fewer = Dataset::ragged(1, &[2, 3], &x, Target::Values(&y)).unwrap();
    assert!(matches!(batch.gather(&fewer, &[0], true), Err(Error::InvalidState { .. })));
}

#[test]
fn standardization_of_targets_takes_their_width_alone() {
    let (x, y) = (counting(6), counting(6));
    let fits = |width: usize, data: &Dataset<'_, f64>| {
        let scale = Standardize::from_columns(vec![[0.0, 1.0]; width]).unwrap();
        let fitted = Standardize::fit_targets(width, data);
        assert_eq!(fitted.is_ok(), scale.targets(data).is_ok(), "width {width}: {fitted:?}");
        match fitted {
            Ok(scale) => assert_eq!(scale.width(), width),
            Err(error) => assert!(matches!(error, Error::Length { found, .. } if found == width), "{error}"),
        }
        scale.targets(data).is_ok()
    };
    let widths = |data: &Dataset<'_, f64>| (1..=6).filter(|&width| fits(width, data)).collect::<Vec<_>>();
    // Two samples of three target columns, six of one.
    assert_eq!(widths(&Dataset::rows(3, &x, Target::Values(&y)).unwrap()), [3]);
    assert_eq!(widths(&Dataset::rows(1, &x, Target::Values(&y)).unwrap()), [1]);
    // Two sequences of three steps: one column a step, or three a sample.
    assert_eq!(widths(&Dataset::sequences(1, 3, &x, Target::Values(&y)).unwrap()), [1, 3]);
    assert_eq!(widths(&Dataset::sequences(1, 3, &x, Target::Values(&y[..4])).unwrap()), [2]);
    let ragged = Dataset::ragged(1, &[1, 2], &x[..3], Target::Values(&y)).unwrap();
    assert_eq!(widths(&ragged), [2]);
    assert_eq!(widths(&ragged.one_target_a_sample().unwrap_or_else(|error| panic!("{error}"))), [3]);
}
