//! Ten everyday jobs as a new user would do them, from the documents alone: each is one short file.

mod activation;
mod csv_classifier;
mod f16_and_threads;
mod initializer_loss_transform_monitor;
mod layer_cell_composite;
mod policy_gradient;
mod pytorch;
mod sick_network;
mod streaming_lstm;
mod weights_and_ragged_masks;

/// Lines of code: neither blank nor comments.
fn lines_of(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[test]
fn jobs_have_45_lines_on_average() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jobs");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let jobs: Vec<_> = files.filter(|path| !path.ends_with("main.rs")).collect();
    let lines: usize = jobs.iter().map(|path| lines_of(&std::fs::read_to_string(path).unwrap())).sum();
    assert_eq!(jobs.len(), 10);
    assert!(lines <= 450, "{lines} lines");
}
