//! Every truncation and every change of one byte is an error or gives equal data.

use super::Run;
use chainrule::{
    Error,
    layer::{Sequential, initialize},
    loss::MeanSquaredError,
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};

fn run() -> Run<Adam> {
    let network = Sequential::<f64>::input(1).linear(1).build().unwrap();
    Trainer::new(network, MeanSquaredError::new(), Adam::new(1e-2), TrainConfig { seed: 1, ..TrainConfig::default() })
        .unwrap()
}

fn typed(error: &Error) -> bool {
    matches!(
        error,
        Error::CheckpointFormat { .. }
            | Error::CheckpointVersion { .. }
            | Error::FileKind { .. }
            | Error::Checkpoint { .. }
            | Error::CheckpointValue { .. }
    )
}

#[test]
fn load_truncated_bytes_refused() {
    let bytes = run().to_bytes().unwrap();
    for length in 0..bytes.len() {
        let error = run().load_bytes(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::CheckpointFormat { .. }), "{length}: {error}");
    }
}

/// One bit changed, all bits changed, and each kind of character that JSON knows; all 256 values where
/// `CHAINRULE_ALL_BYTES` is set.
#[test]
fn load_one_byte_changed_refused_or_equal() {
    let bytes = run().to_bytes().unwrap();
    let (mut target, whole) = (run(), run());
    let (mut equal, all) = (0, std::env::var_os("CHAINRULE_ALL_BYTES").is_some());
    for place in 0..bytes.len() {
        let some = [bytes[place] ^ 1, bytes[place] ^ 0x80, !bytes[place], 0, 0xFF, b' ', b'"', b'{', b'9', b'\\'];
        let values = if all { (0..=255).collect() } else { some.to_vec() };
        for to in values {
            let mut changed = bytes.clone();
            changed[place] = to;
            match target.load_bytes(&changed) {
                Ok(differences) => {
                    assert_eq!(target.checkpoint(), whole.checkpoint(), "byte {place} set to {to}");
                    assert!(differences.is_empty(), "{differences}");
                    equal += usize::from(to != bytes[place]);
                }
                Err(error) => assert!(typed(&error), "byte {place} set to {to}: {error}"),
            }
        }
    }
    // Only the spaces that pad the header may change unseen, to other white space.
    assert!(equal < 64, "{equal} changes were not seen");
}

/// A file by hand: the header's length, the header, the values.
fn file(length: u64, header: &str, values: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], header.as_bytes(), values].concat()
}

#[test]
fn load_hostile_headers_refused() {
    let of = |header: &str| file(header.len() as u64, header, &[0; 16]);
    let tensor = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"a":{{"dtype":"F64","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    let cases = [
        file(u64::MAX, "{}", &[]),
        file(u64::MAX - 7, "{}", &[]),
        file(1 << 40, "{}", &[]),
        of(""),
        of("[]"),
        of("{"),
        of(r#"{"a":1}"#),
        of(r#"{"a":{}}"#),
        of(&"[".repeat(100_000)),
        of(&tensor("[2]", 0, u64::MAX)),
        of(&tensor("[2]", 16, 0)),
        of(&tensor("[2]", 8, 24)),
        of(&tensor("[18446744073709551615,2]", 0, 16)),
        of(&tensor("[-1]", 0, 16)),
        of(r#"{"__metadata__":{"chainrule":2}}"#),
        of(r#"{"__metadata__":{},"__metadata__":{}}"#),
    ];
    for (i, case) in cases.iter().enumerate() {
        let error = run().load_bytes(case).unwrap_err();
        assert!(typed(&error), "case {i}: {error}");
    }
}

#[test]
fn to_bytes_twice_gives_equal_bytes() {
    let mut run = run();
    run.parameters_mut()
        .copy_from_slice(&initialize::<f64>(&Sequential::input(1).linear(1).build().unwrap(), 7).unwrap());
    assert_eq!(run.to_bytes().unwrap(), run.to_bytes().unwrap());
}
