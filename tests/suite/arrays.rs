//! Data sets from arrays: any view of the same numbers gives the same data set.

use chainrule::{
    DataRule, Error,
    dataset::{ArrayTarget, Batch, Dataset},
    loss::Target,
    ndarray::{Array, Array1, Array2, Array3, ArrayD, Axis, Ix1, IxDyn, array, s},
    proptest::prelude::*,
};

/// The value at each place of an array, by its indices alone.
fn value(at: [usize; 3]) -> f64 {
    (at[0] * 10_000 + at[1] * 100 + at[2]) as f64
}

/// An array of `shape` whose axes are stored in the order `axes`, every `gap`-th element of a larger one, some axes
/// reversed. A view of it need not be contiguous, and has `value` at each place.
fn stored(shape: [usize; 3], axes: [usize; 3], reversed: [bool; 3], gap: usize) -> Array3<f64> {
    let mut inverse = [0; 3];
    axes.into_iter().enumerate().for_each(|(to, from)| inverse[from] = to);
    let wide = axes.map(|axis| gap * shape[axis]);
    let mut all = Array3::from_elem(wide, f64::NAN);
    for (place, slot) in all.indexed_iter_mut() {
        let at: [usize; 3] = core::array::from_fn(|axis| [place.0, place.1, place.2][inverse[axis]]);
        if at.iter().all(|at| at % gap == 0) {
            let turned = core::array::from_fn(|axis| {
                let at = at[axis] / gap;
                if reversed[axis] { shape[axis] - 1 - at } else { at }
            });
            *slot = value(turned);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn views_of_any_layout_give_the_same_data(
        shape in [1_usize..5, 1..5, 1..5],
        axes in prop::sample::select(vec![[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]),
        reversed in any::<[bool; 3]>(),
        gap in 1_usize..3,
    ) {
        let [samples, steps, width] = shape;
        let all = stored(shape, axes, reversed, gap);
        let mut view = all.view();
        for axis in 0..3 {
            view.slice_axis_inplace(Axis(axis), chainrule::ndarray::Slice::new(0, None, gap as isize));
        }
        let mut inverse = [0; 3];
        axes.into_iter().enumerate().for_each(|(to, from)| inverse[from] = to);
        let mut view = view.permuted_axes(inverse);
        (0..3).filter(|&axis| reversed[axis]).for_each(|axis| view.invert_axis(Axis(axis)));
        prop_assert_eq!(view.dim(), (samples, steps, width));

        let mut by_hand = Vec::new();
        for sample in 0..samples {
            for step in 0..steps {
                by_hand.extend((0..width).map(|column| value([sample, step, column])));
            }
        }
        let classes: Vec<usize> = (0..samples).collect();
        let labels = Array1::from(classes.clone());
        let expected = Dataset::sequences(width, steps, &by_hand, Target::Classes(&classes)).unwrap();
        let found = Dataset::from_array(view, ArrayTarget::classes(labels.view())).unwrap();
        prop_assert_eq!(found.inputs(), expected.inputs());
        prop_assert_eq!(found.targets(), expected.targets());
        prop_assert_eq!((found.samples(), found.steps(), found.width()), (samples, steps, width));
        // The same view as targets: a row of values for each step.
        let found = Dataset::from_array(view, ArrayTarget::values(view)).unwrap();
        prop_assert_eq!(found.targets(), Some(Target::Values(&by_hand[..])));
        // One step of it: an array of two axes.
        let rows = Dataset::from_array(view.index_axis(Axis(1), 0), None).unwrap();
        let first: Vec<f64> = by_hand.chunks(steps * width).flat_map(|sample| sample[..width].to_vec()).collect();
        prop_assert_eq!(rows.inputs(), &first[..]);
        prop_assert_eq!((rows.samples(), rows.steps(), rows.width()), (samples, 1, width));
    }
}

#[test]
fn contiguous_views_are_borrowed() {
    let (x, labels) = (Array2::<f32>::zeros((3, 2)), array![0_usize, 1, 0]);
    let data = Dataset::from_array(x.view(), ArrayTarget::classes(labels.view())).unwrap();
    assert!(core::ptr::eq(data.inputs().as_ptr(), x.as_ptr()));
    let Some(Target::Classes(classes)) = data.targets() else { panic!("{data:?}") };
    assert!(core::ptr::eq(classes.as_ptr(), labels.as_ptr()));
    let part = x.slice(s![1.., ..]);
    assert!(core::ptr::eq(Dataset::from_array(part, None).unwrap().inputs().as_ptr(), part.as_ptr()));
}

fn refused_with(x: &Array3<f64>, targets: ArrayTarget<'_, f64>) -> Error {
    Dataset::from_array(x.view(), targets).unwrap_err()
}

#[test]
fn arrays_of_other_shapes_are_refused() {
    let x = Array3::<f64>::zeros((2, 3, 4));
    let classes = |shape: &[usize]| ArrayD::<usize>::zeros(IxDyn(shape));
    let values = |shape: &[usize]| ArrayD::<f64>::zeros(IxDyn(shape));
    let length = |axis, expected, found| Error::from(DataRule::ArrayLength { axis, expected, found });
    assert_eq!(refused_with(&x, ArrayTarget::classes(classes(&[3]).view())), length("samples", 2, 3));
    assert_eq!(refused_with(&x, ArrayTarget::classes(classes(&[2, 4]).view())), length("steps", 3, 4));
    assert_eq!(refused_with(&x, ArrayTarget::values(values(&[4, 2]).view())), length("samples", 2, 4));
    assert_eq!(refused_with(&x, ArrayTarget::values(values(&[2, 2, 1]).view())), length("steps", 3, 2));
    for bad in [&[][..], &[2, 3, 1, 1]] {
        let axes = |error| matches!(error, Error::InvalidData(DataRule::ArrayAxes { found, .. }) if found == bad.len());
        assert!(axes(refused_with(&x, ArrayTarget::classes(classes(bad).view()))));
        assert!(axes(refused_with(&x, ArrayTarget::values(values(bad).view()))));
        assert!(axes(Dataset::from_array(values(bad).view(), None).unwrap_err()));
    }
    let line: Array<f64, Ix1> = array![1.0, 2.0];
    let text = Dataset::from_array(line.view(), None).unwrap_err().to_string();
    assert!(text.contains("the inputs have 1 axes") && text.contains("[samples, width]"), "{text}");
    assert_eq!(Dataset::from_array(values(&[0, 4]).view(), None).unwrap_err(), Error::EmptyBatch);
    assert!(matches!(Dataset::from_array(values(&[4, 0]).view(), None), Err(Error::Empty { .. })));
    let bad = array![[1.0, 2.0], [3.0, f64::NAN]];
    let error = Dataset::from_array(bad.t(), None).unwrap_err();
    assert!(matches!(error, Error::DataValue { sample: 1, column: Some(1), .. }), "{error}");
    // A row of values a sample stays that, where its number would also allow one a step.
    let six = values(&[2, 6]);
    let data = Dataset::from_array(x.view(), ArrayTarget::values(six.view())).unwrap();
    let mut batch = Batch::new(&data, 2);
    batch.gather(&data, &[0, 1], false).unwrap();
    assert!(matches!(batch.gather(&data, &[0, 1], true), Err(Error::InvalidData(DataRule::TargetRows { .. }))));
    // And values of each step stay that, also in a part of the data.
    let each = values(&[2, 3, 2]);
    let data = Dataset::from_array(x.view(), ArrayTarget::values(each.view())).unwrap();
    for data in [data.select(&[1, 0]).unwrap(), data] {
        batch.gather(&data, &[0, 1], true).unwrap();
        assert!(matches!(batch.gather(&data, &[0, 1], false), Err(Error::InvalidData(DataRule::TargetRows { .. }))));
    }
}

/// The error about a value names the row that the axes of its array give it: two outputs of a sample are no two
/// steps.
#[test]
fn value_of_an_array_that_is_not_finite_is_named_by_its_axes() {
    let x = Array3::<f64>::zeros((3, 2, 1));
    let mut of_samples = Array2::zeros((3, 2));
    of_samples[[1, 1]] = f64::NAN;
    let mut of_steps = Array3::zeros((3, 2, 1));
    of_steps[[1, 1, 0]] = f64::NAN;
    let named = |targets: ArrayTarget<'_, f64>| match Dataset::from_array(x.view(), targets).unwrap_err() {
        Error::DataValue { what: "a target", sample, step, column, .. } => (sample, step, column),
        error => panic!("{error}"),
    };
    assert_eq!(named(ArrayTarget::values(of_samples.view())), (1, None, Some(1)));
    assert_eq!(named(ArrayTarget::values(of_steps.view())), (1, Some(1), Some(0)));
    of_samples[[1, 1]] = 0.0;
    let data = Dataset::from_array(x.view(), ArrayTarget::values(of_samples.view())).unwrap();
    assert!(format!("{data:?}").contains("per sample"), "{data:?}");
}
