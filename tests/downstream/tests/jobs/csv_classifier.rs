//! From a CSV file to a saved classifier that predicts new rows.

use chainrule::dataset::{Dataset, Standardize, encode_labels};
use chainrule::loss::{CrossEntropy, Target};
use chainrule::trainer::{FitOptions, TrainConfig, Trainer};
use chainrule::{layer::Sequential, metrics::ConfusionMatrix, model::Model, transform::Adam};
use std::{error::Error, fmt::Write};

#[test]
fn classifier_of_a_csv_file_predicts_new_rows() -> Result<(), Box<dyn Error>> {
    let mut text = String::from("width,height,kind\n");
    for i in 0..150 {
        let (kind, t) = (i % 3, i as f32);
        let (width, height) = (20.0 + 15.0 * kind as f32 + 4.0 * (2.4 * t).sin(), 5.0 + (1.7 * t).cos());
        writeln!(text, "{width},{height},{}", ["small", "middle", "large"][kind])?;
    }
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().ok_or("no header")?.split(',').collect();
    let (mut x, mut labels) = (Vec::<f32>::new(), Vec::new());
    for line in lines {
        let (numbers, label) = line.rsplit_once(',').ok_or("no label")?;
        labels.push(label);
        for field in numbers.split(',') {
            x.push(field.parse()?);
        }
    }
    let (columns, (classes, names)) = (header.len() - 1, encode_labels(&labels));
    let (rest, test) = Dataset::rows(columns, &x, Target::Classes(&classes))?.split_by_class(0.8, 1)?;
    let (train, validation) = rest.split_by_class(0.8, 2)?;
    let scale = Standardize::fit(&train)?;

    let network = Sequential::<f32>::input(columns).linear(16).relu().linear(names.len()).build()?;
    let settings = TrainConfig { epochs: 60, patience: Some(10), ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, CrossEntropy::new(), Adam::new(0.02), settings)?;
    let validation = scale.inputs(&validation)?;
    trainer.fit_with(&scale.inputs(&train)?, FitOptions::new().validation(&validation))?;
    let model = trainer.into_model()?.scale_inputs(scale)?.name_columns(&header[..columns])?.name_classes(&names)?;
    let Some(Target::Classes(truth)) = test.targets() else { return Err("no classes".into()) };
    let matrix = ConfusionMatrix::new(names.len(), truth, &model.predict_classes(&test)?)?;
    assert!(matrix.accuracy() > 0.9, "{matrix}");

    let path = std::env::temp_dir().join("downstream-csv.safetensors");
    model.save(&path)?;
    let model = Model::<f32>::load(&path)?;
    std::fs::remove_file(path)?;
    let class = model.predict_classes(&Dataset::rows(model.columns().len(), &[50.0, 5.0], None)?)?[0];
    assert_eq!(model.classes()[class], "large");
    Ok(())
}
