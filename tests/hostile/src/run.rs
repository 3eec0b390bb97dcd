//! Calls in child processes: what panics, aborts, hangs or takes too much memory is told by the parent.

use crate::{Entry, case::Case, case::Fault};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

/// How calls are run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub seed: u64,
    /// Seconds that one call may take, by the wall clock.
    pub seconds: u32,
    /// Address space of a child, in bytes; `None` under sanitizers, which have limits of their own.
    pub memory: Option<u64>,
    /// Whether arguments are printed.
    pub shown: bool,
}

/// What calls of one entry came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub calls: u64,
    pub right: u64,
    pub refused: u64,
    /// Panics that the documentation announces.
    pub announced: u64,
    pub panics: u64,
    pub aborts: u64,
    pub hangs: u64,
    pub wrong: u64,
    /// Calls that went wrong: index, kind, text.
    pub bad: Vec<(u64, &'static str, String)>,
}

impl Tally {
    pub fn is_clean(&self) -> bool {
        self.panics + self.aborts + self.hangs + self.wrong == 0
    }

    pub fn add(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.right += other.right;
        self.refused += other.refused;
        self.announced += other.announced;
        self.panics += other.panics;
        self.aborts += other.aborts;
        self.hangs += other.hangs;
        self.wrong += other.wrong;
    }
}

/// Memory that parent and child share: the call under way, counts, and a log of bad calls.
#[repr(C)]
struct Shared {
    current: AtomicU64,
    right: AtomicU64,
    refused: AtomicU64,
    announced: AtomicU64,
    /// Bytes of the log that are written.
    written: AtomicU64,
    log: [u8; LOG],
}

const LOG: usize = 1 << 20;
/// One message is cut to this many bytes.
const MESSAGE: usize = 400;

fn share() -> &'static mut Shared {
    // SAFETY: a fresh anonymous mapping of the size of `Shared`. Its zeros are a value of it. It is never unmapped.
    unsafe {
        let size = size_of::<Shared>();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0);
        assert!(at != libc::MAP_FAILED, "no memory to share with the children");
        &mut *at.cast::<Shared>()
    }
}

/// The runner: one shared mapping, one file for what children print.
pub struct Runner {
    shared: &'static mut Shared,
    printed: File,
    limits: Limits,
}

impl Runner {
    pub fn new(limits: Limits) -> Self {
        let printed = tempfile::tempfile().expect("a temporary file");
        Runner { shared: share(), printed, limits }
    }

    /// Runs the calls `from..to` of an entry.
    pub fn run(&mut self, entry: &Entry, from: u64, to: u64) -> Tally {
        let mut tally = Tally { calls: to - from, ..Tally::default() };
        let mut next = from;
        while next < to {
            let end = (next + 100).min(to);
            let status = self.child(entry, next, end, self.limits.seconds);
            self.collect(&mut tally);
            match status {
                Ended::Well => next = end,
                bad => {
                    // A loaded machine is no fault of a call: it gets another, longer try by itself. If it then ends
                    // well, the calls before it get one too: what they left may be the fault.
                    let at = self.shared.current.load(SeqCst);
                    let seconds =
                        if matches!(bad, Ended::Hung) { self.limits.seconds * 6 } else { self.limits.seconds };
                    let mut again = self.child(entry, at, at + 1, seconds);
                    self.collect(&mut tally);
                    if at > next && matches!(again, Ended::Well) {
                        again = self.child(entry, next, at + 1, seconds);
                        self.collect(&mut tally);
                    }
                    match again {
                        Ended::Well => {}
                        Ended::Hung => {
                            tally.hangs += 1;
                            tally.bad.push((at, "hang", String::new()));
                        }
                        Ended::Badly(text) => {
                            tally.aborts += 1;
                            tally.bad.push((at, "abort", text));
                        }
                    }
                    next = at + 1;
                }
            }
        }
        tally
    }

    /// Adds what the child wrote down.
    fn collect(&mut self, tally: &mut Tally) {
        let shared = &mut *self.shared;
        tally.right += shared.right.swap(0, SeqCst);
        tally.refused += shared.refused.swap(0, SeqCst);
        tally.announced += shared.announced.swap(0, SeqCst);
        let written = shared.written.swap(0, SeqCst) as usize;
        let text = String::from_utf8_lossy(&shared.log[..written.min(LOG)]).into_owned();
        for line in text.split('\x1e').filter(|line| !line.is_empty()) {
            let mut parts = line.splitn(3, '\x1f');
            let (Some(index), Some(kind), Some(message)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let kind = if kind == "panic" { "panic" } else { "wrong accept" };
            if kind == "panic" {
                tally.panics += 1
            } else {
                tally.wrong += 1
            }
            tally.bad.push((index.parse().unwrap_or(0), kind, message.into()));
        }
    }

    fn child(&mut self, entry: &Entry, from: u64, to: u64, seconds: u32) -> Ended {
        self.shared.current.store(from, SeqCst);
        self.printed.set_len(0).and_then(|()| self.printed.seek(SeekFrom::Start(0))).expect("the file of the child");
        let fd = self.printed.as_raw_fd();
        // SAFETY: this process has one thread, so that the child may do anything.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "no child process");
        if pid == 0 {
            // SAFETY: plain system calls on descriptors and limits of the child alone.
            unsafe {
                if !self.limits.shown {
                    libc::dup2(fd, 1);
                    libc::dup2(fd, 2);
                }
                libc::setpgid(0, 0);
                let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::setrlimit(libc::RLIMIT_CORE, &none);
                if let Some(bytes) = self.limits.memory {
                    let most = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
                    libc::setrlimit(libc::RLIMIT_AS, &most);
                }
            }
            for index in from..to {
                self.shared.current.store(index, SeqCst);
                // SAFETY: the signal ends the child, which is what a hang is told by.
                unsafe { libc::alarm(seconds) };
                self.call(entry, index);
            }
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            if signal == libc::SIGALRM {
                return Ended::Hung;
            }
            return Ended::Badly(format!("signal {signal}: {}", self.tail()));
        }
        match libc::WEXITSTATUS(status) {
            0 => Ended::Well,
            code => Ended::Badly(format!("exit {code}: {}", self.tail())),
        }
    }

    /// The end of what the child printed.
    fn tail(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.printed.seek(SeekFrom::Start(0)).and_then(|_| self.printed.read_to_end(&mut bytes));
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let told = |line: &&str| {
            ["ERROR:", "memory allocation of", "overflowed its stack"].iter().any(|text| line.contains(text))
        };
        let kept = lines.iter().rposition(told).unwrap_or(lines.len().saturating_sub(3));
        lines[kept..].iter().take(12).copied().collect::<Vec<_>>().join(" / ")
    }

    /// One call, in the child.
    fn call(&mut self, entry: &Entry, index: u64) {
        let mut case = Case::new(entry.names[0], index, self.limits.seed, self.limits.shown);
        let done = catch_unwind(AssertUnwindSafe(|| (entry.run)(&mut case)));
        match done {
            Ok(Ok(())) => {
                self.shared.right.fetch_add(1, SeqCst);
            }
            Ok(Err(Fault::Refused(text))) => {
                if self.limits.shown {
                    println!("  refused: {text}");
                }
                self.shared.refused.fetch_add(1, SeqCst);
            }
            Ok(Err(Fault::Wrong(text))) => self.log(index, "wrong", &text),
            Err(payload) => {
                let text = crate::panic_text(&*payload);
                // The payload's drop may panic, too.
                std::mem::forget(payload);
                let text = format!("{text} at {}", crate::last_panic_place());
                if entry.laws.iter().any(|law| text.contains(law)) {
                    self.shared.announced.fetch_add(1, SeqCst);
                } else {
                    self.log(index, "panic", &text);
                }
            }
        }
    }

    fn log(&mut self, index: u64, kind: &str, text: &str) {
        let text: String = text.replace(['\n', '\x1e', '\x1f'], " ");
        let mut end = text.len().min(MESSAGE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = format!("{index}\x1f{kind}\x1f{}\x1e", &text[..end]);
        let at = self.shared.written.load(SeqCst) as usize;
        if at + line.len() <= LOG {
            self.shared.log[at..at + line.len()].copy_from_slice(line.as_bytes());
            self.shared.written.store((at + line.len()) as u64, SeqCst);
        }
    }
}

enum Ended {
    Well,
    Hung,
    Badly(String),
}
