//! Files are replaced whole, keep what they are, and leave nothing behind.

use chainrule::{
    Error,
    checkpoint::{Checkpoint, Values},
    layer::{Linear, Sequential},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

fn network() -> Linear {
    Linear::new(2, 1)
}

fn checkpoint(value: f64) -> Checkpoint<f64> {
    Checkpoint::new(vec![value; 3])
}

fn load(path: &Path) -> Result<f64, Error> {
    Checkpoint::<f64>::load(&network(), path, Values::Finite).map(|found| found.parameters[0])
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn save_removes_partial_files_of_dead_writers_and_spares_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let partial = |digits: &str| directory.path().join(format!(".chainrule-{digits}.partial"));
    let (dead, living, foreign) = (partial("0123456789abcdef"), partial("00000000000000ff"), partial("notes"));
    for file in [&dead, &living, &foreign] {
        fs::write(file, b"half").unwrap();
    }
    let writer = File::open(&living).unwrap();
    writer.lock().unwrap();
    checkpoint(1.0).save(&network(), &path).unwrap();
    assert!(!dead.exists() && living.exists() && foreign.exists());
    drop(writer);
    // A process that another test starts has a copy of the lock until its program begins.
    for _ in 0..200 {
        checkpoint(2.0).save(&network(), &path).unwrap();
        if !living.exists() {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    assert!(!living.exists() && foreign.exists());
    assert_eq!(load(&path), Ok(2.0));
}

#[test]
fn save_concurrently_leaves_a_whole_file_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..25 {
                    checkpoint(f64::from(writer)).save(&network(), path).unwrap();
                    let found = load(path).unwrap();
                    assert!((0..4).any(|writer| found == f64::from(writer)));
                }
            });
        }
    });
    assert_eq!(names(directory.path()), ["run"]);
}

#[test]
fn save_under_a_name_of_250_bytes_works() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x".repeat(250));
    checkpoint(1.0).save(&network(), &path).unwrap();
    assert_eq!(load(&path), Ok(1.0));
}

#[cfg(unix)]
#[test]
fn save_through_a_link_keeps_the_link() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("elsewhere");
    fs::create_dir(&target).unwrap();
    let link = directory.path().join("latest");
    let second = directory.path().join("second");
    symlink("elsewhere/run", &link).unwrap();
    symlink(&link, &second).unwrap();
    // First through links to a file that is not there yet, then to one that is.
    for value in [1.0, 2.0] {
        checkpoint(value).save(&network(), &second).unwrap();
        assert!(
            fs::symlink_metadata(&link).unwrap().is_symlink() && fs::symlink_metadata(&second).unwrap().is_symlink()
        );
        assert_eq!((load(&link), load(&target.join("run"))), (Ok(value), Ok(value)));
        assert_eq!((names(directory.path()).len(), names(&target).len()), (3, 1));
    }
    let circle = directory.path().join("circle");
    symlink(&circle, &circle).unwrap();
    assert!(matches!(checkpoint(1.0).save(&network(), &circle), Err(Error::File { .. })));
}

#[cfg(unix)]
#[test]
fn save_keeps_the_permissions_of_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    for mode in [0o600, 0o640, 0o604, 0o444] {
        checkpoint(1.0).save(&network(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        checkpoint(2.0).save(&network(), &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[cfg(unix)]
#[test]
fn save_and_load_of_no_regular_file_refused() {
    let null = Path::new("/dev/null");
    assert!(matches!(checkpoint(1.0).save(&network(), null), Err(Error::File { .. })));
    assert!(matches!(load(null), Err(Error::File { .. })));
    for path in ["", "..", "/"] {
        assert!(matches!(checkpoint(1.0).save(&network(), path), Err(Error::File { .. })), "{path}");
    }
}

/// The folder that a child process saves in.
const FOLDER: &str = "CHAINRULE_SAVE_LOOP";

fn large() -> Sequential<f64> {
    Sequential::input(100).linear(100).linear(100).build().unwrap()
}

fn large_checkpoint(value: f64) -> Checkpoint<f64> {
    Checkpoint::new(vec![value; 2 * 100 * 101])
}

/// The child of the next test: saves without end. In the process of the suite it has no folder, and nothing to do.
#[test]
fn save_loop_until_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let path = Path::new(&folder).join("run");
    for i in 0_u64.. {
        large_checkpoint((i % 2) as f64).save(&large(), &path).unwrap();
    }
}

/// 30 kills; as many as `CHAINRULE_KILLS` says where it is set.
#[test]
fn save_loop_killed_leaves_a_whole_file_and_nothing_after_the_next_save() {
    let kills: u32 = std::env::var("CHAINRULE_KILLS").map_or(30, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("run");
    let (mut left, mut old) = (0, 0);
    for kill in 0..kills {
        let _ = fs::remove_file(&path);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "checkpoint::file::save_loop_until_killed"])
            .env(FOLDER, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the child saves nothing");
            sleep(Duration::from_micros(200));
        }
        // Times that meet all parts of a save: a fixed sequence spread over 10 ms.
        sleep(Duration::from_micros(u64::from(kill) * 6_180 % 10_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = Checkpoint::<f64>::load(&large(), &path, Values::Finite).unwrap();
        let value = found.parameters[0];
        assert!(value == 0.0 || value == 1.0);
        assert!(found.parameters.iter().all(|&other| other == value), "half of one save, half of another");
        left += u32::from(names(directory.path()).len() > 1);
        old += u32::from(value == 0.0);
        large_checkpoint(5.0).save(&large(), &path).unwrap();
        assert_eq!(names(directory.path()), ["run"], "after kill {kill}");
    }
    eprintln!(
        "{kills} kills: {left} left a partial file, all removed by the next save; {old} ended with the first value"
    );
}
