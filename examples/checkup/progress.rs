//! Progress on standard error: one line that changes on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write, stderr};

/// Shows the progress of a task.
pub fn show(task: &str, done: usize, of: usize) {
    let mut out = stderr().lock();
    // A failed write to standard error is no reason to stop.
    let _ = if out.is_terminal() {
        let end = if done == of { "\r\x1b[K" } else { "" };
        write!(out, "\r\x1b[K{task}: {done} of {of}{end}").and_then(|()| out.flush())
    } else if done == of || done.is_multiple_of(of.div_ceil(4).max(1)) {
        writeln!(out, "{task}: {done} of {of}")
    } else {
        Ok(())
    };
}
