//! The resident memory of this process, as the system reports it.

/// Returns the peak of resident memory in bytes; `None` where the system does not report it.
pub fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024.0 * kilobytes)
}

/// Prints the peak of resident memory above that of `before`, and panics if it is above `most` bytes.
pub fn check(before: Option<f64>, most: f64) {
    let Some((before, after)) = before.zip(peak()) else {
        println!("the system does not report resident memory");
        return;
    };
    let [start, growth, bar] = [before, after - before, most].map(|bytes| bytes / 1e6);
    println!("peak of resident memory: {start:.1} MB before, {growth:.1} MB more, of at most {bar:.1} MB");
    assert!(after - before <= most, "more resident memory than the bar");
}
