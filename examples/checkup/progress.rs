//! Progress on standard error: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::io::{Write, stderr};

/// A bar for a task of `of` parts. It disappears when it is dropped.
pub fn bar(task: &str, of: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos} of {len}").expect("the template is valid");
    let bar = ProgressBar::new(of as u64).with_style(style).with_prefix(task.to_string());
    bar.with_finish(ProgressFinish::AndClear)
}

/// Counts one part more. Where standard error is no terminal, the bar is hidden, and each quarter is a line.
pub fn advance(bar: &ProgressBar) {
    bar.inc(1);
    let (done, of) = (bar.position(), bar.length().unwrap_or(0));
    if bar.is_hidden() && (done == of || done.is_multiple_of(of.div_ceil(4).max(1))) {
        // A failed write to standard error is no reason to stop.
        let _ = writeln!(stderr(), "{}: {done} of {of}", bar.prefix());
    }
}
