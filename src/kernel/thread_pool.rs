//! The thread pool of a pass.
//!
//! Between two loops of a pass the threads spin, since waking one costs as much as a small matrix product. Without a
//! pass they sleep after some tenths of a millisecond.

#[cfg(feature = "std")]
pub(crate) use threads::ThreadPool;

/// A pool that cannot be constructed: without the standard library there are no threads.
#[cfg(not(feature = "std"))]
pub(crate) enum ThreadPool {}

#[cfg(not(feature = "std"))]
impl ThreadPool {
    pub fn install<R>(&mut self, _pass: impl FnOnce() -> R) -> R {
        match *self {}
    }
}

/// Runs `pass` on `pool`, or on this thread alone if there is none.
///
/// It is inlined, so that the captures of `pass`, such as the slices of a layer's pass, are built where they are
/// used. A copy would read them in wider words than they were written, which stalls until the writes are complete.
#[inline(always)]
pub(crate) fn install<R>(pool: Option<&mut ThreadPool>, pass: impl FnOnce() -> R) -> R {
    match pool {
        Some(pool) => pool.install(pass),
        None => pass(),
    }
}

/// Runs `pass` with `owner`, on the pool in its field `pool_of`, or on this thread alone if that is `None`. During the
/// call the field is `None`: see [`lend`].
pub(crate) fn install_from<O, R>(
    owner: &mut O,
    pool_of: impl Fn(&mut O) -> &mut Option<ThreadPool>,
    pass: impl FnOnce(&mut O) -> R,
) -> R {
    if pool_of(owner).is_none() {
        return pass(owner);
    }
    lend(owner, pool_of, |owner, pool| install(pool.as_mut(), || pass(owner)))
}

/// Calls `body` with `owner` and the value in its field `field_of`. During the call the field is `None`; afterwards it
/// holds the value again, even if `body` panics.
pub(crate) fn lend<O, V, R>(
    owner: &mut O,
    field_of: impl Fn(&mut O) -> &mut Option<V>,
    body: impl FnOnce(&mut O, &mut Option<V>) -> R,
) -> R {
    struct Lent<'a, O, V, F: Fn(&mut O) -> &mut Option<V>> {
        value: Option<V>,
        owner: &'a mut O,
        field_of: F,
    }

    impl<O, V, F: Fn(&mut O) -> &mut Option<V>> Drop for Lent<'_, O, V, F> {
        fn drop(&mut self) {
            *(self.field_of)(self.owner) = self.value.take();
        }
    }

    let mut lent = Lent { value: field_of(owner).take(), owner, field_of };
    let Lent { value, owner, .. } = &mut lent;
    body(owner, value)
}

/// Returns the number of threads of the pass that runs on this thread; 1 without a pool.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "std")]
    return threads::count();
    #[cfg(not(feature = "std"))]
    1
}

/// Runs `part(i)` for each i below `count`, on the pool of the pass that runs on this thread, or on this thread alone
/// if there is none. Returns when all calls have ended.
pub(super) fn run_parts(count: usize, part: &(dyn Fn(usize) + Sync)) {
    #[cfg(feature = "std")]
    threads::run_parts(count, part);
    #[cfg(not(feature = "std"))]
    (0..count).for_each(part);
}

#[cfg(feature = "std")]
mod threads {
    use std::{
        any::Any,
        boxed::Box,
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*},
        },
        thread::{self, JoinHandle},
        vec::Vec,
    };

    use crate::kernel::ticket::Ticket;

    /// The function that the threads of a pool run: `part(i)` for each i below `count` of the [`JobSlot`].
    struct Job<'a> {
        part: &'a (dyn Fn(usize) + Sync),
    }

    /// The current job of a pool, a loop divided into parts, and the state of its parts. Each idle thread takes the
    /// next part, so a thread that wakes late does not delay the others.
    struct JobSlot {
        /// The number of the job in the upper 32 bits, and in the lower 32 the next part to take.
        ticket: Ticket,
        job: AtomicPtr<Job<'static>>,
        count: AtomicUsize,
        finished: AtomicUsize,
        asleep: Vec<AtomicBool>,
        /// Whether `panic` holds the payload of a panic in a part of the job.
        panicked: AtomicBool,
        panic: Mutex<Option<Payload>>,
        closed: AtomicBool,
    }

    const NEXT: u64 = u32::MAX as u64;

    /// The payload of a panic. The pool never drops a payload: its `Drop` is user code and can panic.
    type Payload = Box<dyn Any + Send>;

    /// A pool of the thread that owns it and of worker threads, which wait for jobs.
    pub(crate) struct ThreadPool {
        slot: Arc<JobSlot>,
        workers: Vec<JoinHandle<()>>,
    }

    std::thread_local! {
        static CURRENT: Cell<*const ThreadPool> = const { Cell::new(core::ptr::null()) };
    }

    /// The number of polls of a worker for the next job before it sleeps: some tenths of a millisecond.
    const POLLS_BEFORE_SLEEP: usize = 20_000;

    impl ThreadPool {
        /// Creates a pool of `threads` threads, including its owner; 0 counts as 1. Returns the error of the operating
        /// system if it cannot start a thread.
        pub fn new(threads: usize) -> std::io::Result<Self> {
            let others = threads.saturating_sub(1);
            let slot = Arc::new(JobSlot {
                ticket: Ticket::new(0),
                job: AtomicPtr::new(core::ptr::null_mut()),
                count: AtomicUsize::new(0),
                finished: AtomicUsize::new(0),
                asleep: (0..others).map(|_| AtomicBool::new(false)).collect(),
                panicked: AtomicBool::new(false),
                panic: Mutex::new(None),
                closed: AtomicBool::new(false),
            });
            let mut pool = ThreadPool { slot, workers: Vec::with_capacity(others) };
            for i in 0..others {
                let slot = Arc::clone(&pool.slot);
                pool.workers.push(thread::Builder::new().name("chainrule".into()).spawn(move || slot.work(i))?);
            }
            Ok(pool)
        }

        /// The number of threads, including the thread that owns the pool.
        pub fn threads(&self) -> usize {
            self.workers.len() + 1
        }

        /// Runs `pass`; its loops on this thread run on the pool. The owner of the pool runs parts of each loop, and
        /// waits for its end.
        pub fn install<R>(&mut self, pass: impl FnOnce() -> R) -> R {
            let _restore = RestoreCurrent(CURRENT.replace(self));
            pass()
        }

        /// Publishes the next job, of `count` parts, and wakes the workers that sleep.
        fn publish(&self, job: *mut Job<'static>, count: usize) {
            assert!((count as u64) < NEXT, "a job must have fewer parts than a ticket can count");
            // All parts of the previous job are finished. A thread that still holds the ticket of that job can take no
            // part, since none is left. A thread that reads the new count also reads the ticket closed here.
            let before = self.slot.ticket.fetch_or(NEXT, SeqCst);
            self.slot.job.store(job, Relaxed);
            self.slot.count.store(count, Release);
            self.slot.finished.store(0, Relaxed);
            self.slot.ticket.store(((before >> 32) + 1) << 32, SeqCst);
            for (asleep, worker) in self.slot.asleep.iter().zip(&self.workers) {
                if asleep.load(SeqCst) {
                    worker.thread().unpark();
                }
            }
        }

        fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
            let job = Job { part };
            // A loop within a part runs on the thread of that part alone.
            let _restore = RestoreCurrent(CURRENT.replace(core::ptr::null()));
            self.publish((&raw const job).cast_mut().cast(), count);
            let wait = WaitForParts(&self.slot, count);
            self.slot.run_parts();
            drop(wait);
            if self.slot.panicked.swap(false, Relaxed)
                && let Some(payload) = self.slot.panic().take()
            {
                resume_unwind(payload);
            }
        }
    }

    impl Drop for ThreadPool {
        fn drop(&mut self) {
            self.slot.closed.store(true, Relaxed);
            // A job without parts replaces the last one, whose function no longer exists. A worker that has just
            // finished a part of the last job still looks for more parts.
            self.publish(core::ptr::null_mut(), 0);
            for worker in self.workers.drain(..) {
                let _ = worker.join();
            }
        }
    }

    /// Restores the previous value of `CURRENT`, the pool of the pass on this thread, on drop.
    struct RestoreCurrent(*const ThreadPool);

    impl Drop for RestoreCurrent {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }

    /// Waits on drop until every part of the slot's job is finished; the second field is their number.
    struct WaitForParts<'a>(&'a JobSlot, usize);

    impl Drop for WaitForParts<'_> {
        fn drop(&mut self) {
            let mut polls = 0;
            while self.0.finished.load(Acquire) < self.1 {
                polls += 1;
                pause(polls);
            }
        }
    }

    /// Spins once, or yields if `polls`, the number of calls so far, is a multiple of 1000: the machine may have fewer
    /// cores than threads.
    fn pause(polls: usize) {
        if polls.is_multiple_of(1000) { thread::yield_now() } else { core::hint::spin_loop() }
    }

    /// Counts a part as finished on drop, also after a panic.
    struct CountFinished<'a>(&'a AtomicUsize);

    impl Drop for CountFinished<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Release);
        }
    }

    impl JobSlot {
        /// Locks the slot for the payload of the first panic in the current job. It holds `None` if no part panicked.
        fn panic(&self) -> MutexGuard<'_, Option<Payload>> {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Runs parts of the current job until none is left. The payload of the first panic is kept. The owner resumes
        /// the panic when all parts are finished.
        fn run_parts(&self) {
            loop {
                let ticket = self.ticket.load(Acquire);
                let (part, count) = ((ticket & NEXT) as usize, self.count.load(Acquire));
                if part >= count {
                    return;
                }
                if self.ticket.compare_exchange_weak(ticket, ticket + 1, AcqRel, Relaxed).is_err() {
                    continue;
                }
                let _count = CountFinished(&self.finished);
                // SAFETY: the exchange above found the job still current, and took a part of it that no other thread
                // has. `ThreadPool::run` keeps the job on its stack, by `WaitForParts`, until `finished` counts this
                // part too.
                let job = unsafe { &*self.job.load(Relaxed) };
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (job.part)(part))) {
                    let mut first = self.panic();
                    match *first {
                        None => *first = Some(payload),
                        Some(_) => core::mem::forget(payload),
                    }
                    self.panicked.store(true, Relaxed);
                }
            }
        }

        /// Runs worker `i`: it takes part in each job until the pool closes.
        fn work(&self, i: usize) {
            let mut turn = 0;
            loop {
                let mut polls = 0;
                while self.ticket.load(Acquire) >> 32 == turn {
                    polls += 1;
                    if polls < POLLS_BEFORE_SLEEP {
                        pause(polls);
                        continue;
                    }
                    self.asleep[i].store(true, SeqCst);
                    // Either this load sees a job published just now, or `publish` sees this worker asleep.
                    while self.ticket.load(SeqCst) >> 32 == turn {
                        thread::park();
                    }
                    self.asleep[i].store(false, SeqCst);
                }
                // In this order: a pool that closes after the load of `closed` publishes a later turn.
                turn = self.ticket.load(Acquire) >> 32;
                if self.closed.load(Relaxed) {
                    return;
                }
                self.run_parts();
            }
        }
    }

    /// Calls `with` with the pool of the pass that runs on this thread, if there is one.
    fn current<R>(with: impl FnOnce(Option<&ThreadPool>) -> R) -> R {
        // SAFETY: the pointer is null, or `install` has set it on this thread from a `&mut ThreadPool`. `install` holds
        // this reference until `RestoreCurrent` replaces the pointer, which happens after `with` returns.
        with(unsafe { CURRENT.get().as_ref() })
    }

    pub(super) fn count() -> usize {
        current(|pool| pool.map_or(1, ThreadPool::threads))
    }

    pub(super) fn run_parts(count: usize, part: &(dyn Fn(usize) + Sync)) {
        current(|pool| match pool {
            Some(pool) => pool.run(count, part),
            None => (0..count).for_each(part),
        });
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{super::parallel::parallel_for, *};
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::panic::AssertUnwindSafe;

    #[test]
    fn pool_after_a_panic_in_a_part_panics_once_and_runs_the_next_job() {
        let mut pool = ThreadPool::new(3).unwrap();
        for bad in 0..3 {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| parallel_for(3, &|i| assert_ne!(i, bad)));
            }));
            assert!(result.is_err());
            assert_eq!(threads(), 1);
            pool.install(|| parallel_for(3, &|_| ()));
        }
    }

    /// Without the empty job that `drop` publishes, a worker can read the last job after its owner is freed: this
    /// test crashes.
    #[test]
    fn pool_dropped_after_a_job_runs_no_further_part() {
        let ran = AtomicUsize::new(0);
        const POOLS: usize = 3000;
        const PARTS: usize = 12;
        for _ in 0..POOLS {
            let mut pool = ThreadPool::new(5).unwrap();
            pool.install(|| parallel_for(PARTS, &|_| _ = ran.fetch_add(1, Relaxed)));
        }
        assert_eq!(ran.into_inner(), PARTS * POOLS);
    }

    #[test]
    fn worker_asleep_wakes_for_the_next_job() {
        let mut pool = ThreadPool::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let count = AtomicUsize::new(0);
            pool.install(|| parallel_for(2, &|_| _ = count.fetch_add(1, Relaxed)));
            assert_eq!(count.into_inner(), 2);
        }
    }
}
