//! The level of the CPU is fixed once a process, so each of these tests runs one of its own.
#![cfg(feature = "std")]

#[path = "wasm/src/run.rs"]
mod run;

use chainrule::{BatchShape, CpuLevel, Error, activation::Tanh, layer::ActivationLayer, workspace::Workspace};
use std::process::Command;

/// Set in the processes that run one test.
const CHILD: &str = "CHAINRULE_LEVEL_CHILD";

/// What a test of this file prints where `CHAINRULE_LEVEL` is `level`.
fn printed(test: &str, level: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env_remove("CHAINRULE_LEVEL").env(CHILD, "1");
    command.envs(level.map(|level| ("CHAINRULE_LEVEL", level)));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn prints_bits() {
    println!("{} {:#x}", CpuLevel::current().unwrap(), run::bits());
}

#[test]
fn prints_workspace() {
    println!("{:?}", Workspace::<f32, _>::new(ActivationLayer::new(1, Tanh), BatchShape::batch(1)).map(|_| ()));
}

/// It fixes the level of its process, so it does nothing in the one that the other tests share.
#[test]
fn fixes_plain() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    CpuLevel::Plain.fix().unwrap();
    assert_eq!(CpuLevel::current(), Ok(CpuLevel::Plain));
    CpuLevel::Plain.fix().unwrap();
    for other in CpuLevel::available().into_iter().skip(1) {
        assert!(matches!(other.fix(), Err(Error::CpuLevel { .. })));
    }
    println!("{:#x}", run::bits());
}

#[test]
fn training_at_level_plain_gives_the_recorded_bits() {
    let expected = format!("{:#x}", run::PLAIN);
    let found = printed("prints_bits", Some("plain"));
    assert!(found.contains(&format!("plain {expected}")), "{found} for {expected}");
    // A setting in the program goes before the environment.
    let found = printed("fixes_plain", Some("avx2"));
    assert!(found.contains(&expected), "{found} for {expected}");
}

#[test]
fn available_levels_can_be_chosen_and_the_highest_is_the_default() {
    let levels = CpuLevel::available();
    for level in &levels {
        let found = printed("prints_bits", Some(&level.to_string()));
        assert!(found.contains(&format!("{level} 0x")), "{found}");
    }
    let highest = levels.last().unwrap();
    assert!(printed("prints_bits", None).contains(&format!("{highest} 0x")));
}

#[test]
fn level_that_is_unknown_or_missing_is_an_error_of_the_workspace() {
    for level in ["", "AVX2", "sse9", "plain "] {
        let found = printed("prints_workspace", Some(level));
        assert!(found.contains(&format!("Err(CpuLevel {{ level: {level:?}")), "{found}");
    }
    let all = ["plain", "avx2", "avx512"];
    for level in all.into_iter().filter(|name| !CpuLevel::available().iter().any(|level| level.to_string() == *name)) {
        assert!(printed("prints_workspace", Some(level)).contains("Err(CpuLevel"));
    }
    assert!(printed("prints_workspace", Some("plain")).contains("Ok(())"));
}
