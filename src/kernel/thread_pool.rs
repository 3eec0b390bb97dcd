//! Threads that share the loops of a pass.
//!
//! A part of a loop is what it is whoever runs it: the results are the same bits for any number of threads. Between two
//! loops of a step the threads stay awake, since waking one costs as much as a small product; between steps they sleep.

use core::{marker::PhantomData, ops::Range};
#[cfg(feature = "std")]
pub(crate) use threads::Team;

/// There are no threads without the standard library.
#[cfg(not(feature = "std"))]
pub(crate) enum Team {}

#[cfg(not(feature = "std"))]
impl Team {
    pub fn during<R>(&mut self, _pass: impl FnOnce() -> R) -> R {
        match *self {}
    }
}

/// Runs `pass` with the team, if there is one.
pub(crate) fn during<R>(team: Option<&mut Team>, pass: impl FnOnce() -> R) -> R {
    match team {
        Some(team) => team.during(pass),
        None => pass(),
    }
}

/// Runs `pass` with the team that is at a place of `owner`, and puts it back there, however the pass ends.
pub(crate) fn lend<O, R>(
    owner: &mut O,
    place: impl Fn(&mut O) -> &mut Option<Team>,
    pass: impl FnOnce(&mut O) -> R,
) -> R {
    struct Lent<'a, O, P: Fn(&mut O) -> &mut Option<Team>> {
        team: Option<Team>,
        owner: &'a mut O,
        place: P,
    }

    impl<O, P: Fn(&mut O) -> &mut Option<Team>> Drop for Lent<'_, O, P> {
        fn drop(&mut self) {
            *(self.place)(self.owner) = self.team.take();
        }
    }

    let mut lent = Lent { team: place(owner).take(), owner, place };
    let Lent { team, owner, .. } = &mut lent;
    during(team.as_mut(), || pass(owner))
}

/// How many threads the pass on this thread has.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "std")]
    return threads::count();
    #[cfg(not(feature = "std"))]
    1
}

/// Runs `part(i)` for each i below `count`, on the threads of the pass.
pub(crate) fn each(count: usize, part: &(dyn Fn(usize) + Sync)) {
    #[cfg(feature = "std")]
    if count > 1 {
        return threads::each(count, part);
    }
    (0..count).for_each(part);
}

/// Into how many parts to cut a loop over `units` that takes `nanoseconds` in all: `each` for a thread, as long as a part is
/// worth the time it takes to hand it over.
///
/// With several, who is held up by others on the machine leaves the rest to who is not.
pub(crate) fn parts(units: usize, nanoseconds: usize, each: usize) -> usize {
    let worth = (nanoseconds / WORTH).min(units);
    // What is short never asks for the threads: in a tiny network that would cost more than the loop.
    match if worth > 1 { threads() } else { 1 } {
        1 => 1,
        threads => (each * threads).min(worth),
    }
}

/// Parts of a loop for each thread.
pub(crate) const PARTS: usize = 4;

/// The least time of a part, in nanoseconds: ten times what handing it to a thread that is awake takes.
const WORTH: usize = 10_000;

/// Runs a loop over `units` that takes `nanoseconds` in all, cut at multiples of `grain`.
#[inline(always)]
pub(crate) fn divide(units: usize, grain: usize, nanoseconds: usize, run: impl Fn(Range<usize>) + Sync) {
    // As in `parts`, before anything is called.
    if nanoseconds < 2 * WORTH { run(0..units) } else { share(units, grain, nanoseconds, &run) }
}

fn share(units: usize, grain: usize, nanoseconds: usize, run: &(dyn Fn(Range<usize>) + Sync)) {
    let count = parts(units.div_ceil(grain), nanoseconds, PARTS);
    if count == 1 {
        return run(0..units);
    }
    each(count, &|i| {
        let own = part(i, count, units, grain);
        if !own.is_empty() {
            run(own);
        }
    });
}

/// Part `i` of `count` of `units`, cut at multiples of `grain`.
pub(crate) fn part(i: usize, count: usize, units: usize, grain: usize) -> Range<usize> {
    let grains = units.div_ceil(grain);
    // `grains · i / count` without the product, which can wrap: cuts never fall from part to part.
    let (each, rest) = (grains / count, grains % count);
    let cut = |i: usize| (each * i + rest * i / count).saturating_mul(grain).min(units);
    cut(i)..cut(i + 1)
}

/// A mutable slice that several threads write, each at places of its own.
pub(crate) struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]`, which can be sent where `T` can.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: by reference it gives out mutable values, as sending them would, by `take` alone, which keeps them apart.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(data: &'a mut [T]) -> Self {
        Shared { data: data.as_mut_ptr(), len: data.len(), borrowed: PhantomData }
    }

    /// No values.
    pub(super) const EMPTY: Self =
        Shared { data: core::ptr::NonNull::dangling().as_ptr(), len: 0, borrowed: PhantomData };

    /// The same slice once more.
    pub(super) fn again(&self) -> Self {
        Shared { ..*self }
    }

    /// The address of value `i`, for values that do not follow one another.
    pub fn at(&self, i: usize) -> *mut T {
        assert!(i < self.len, "a thread's values must lie within the slice that is shared");
        self.data.wrapping_add(i)
    }

    /// The values of `range`.
    ///
    /// # Safety
    /// As long as the result is used, no other reference to any of these values is.
    pub unsafe fn take(&self, range: Range<usize>) -> &'a mut [T] {
        let within = range.start <= range.end && range.end <= self.len;
        assert!(within, "a thread's values must lie within the slice that is shared");
        // SAFETY: the range lies within the slice, as asserted above, which is borrowed for 'a; the rest is the contract of
        // this function.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }
}

#[cfg(feature = "std")]
mod threads {
    use std::{
        any::Any,
        boxed::Box,
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::{
            Arc, Mutex, PoisonError,
            atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*},
        },
        thread::{self, JoinHandle},
        vec::Vec,
    };

    /// What the threads of a team are to run: `part(i)` for each i below the desk's `count`.
    struct Job<'a> {
        part: &'a (dyn Fn(usize) + Sync),
    }

    /// Where a team finds its work. Who is free takes the next part: a thread that is slow to wake holds nobody up.
    struct Desk {
        /// The number of the job, and in the lower half the next part of it that nobody has taken.
        ticket: AtomicU64,
        job: AtomicPtr<Job<'static>>,
        count: AtomicUsize,
        finished: AtomicUsize,
        asleep: Vec<AtomicBool>,
        /// Whether `panic` holds what a part of the job panicked with.
        panicked: AtomicBool,
        panic: Mutex<Option<Panic>>,
        closed: AtomicBool,
    }

    const NEXT: u64 = u32::MAX as u64;

    /// What a panic carries. It is never dropped here: its `Drop` is the user's, and can panic.
    type Panic = Box<dyn Any + Send>;

    /// Some threads beside the one that owns the team.
    pub(crate) struct Team {
        desk: Arc<Desk>,
        workers: Vec<JoinHandle<()>>,
    }

    std::thread_local! {
        static CURRENT: Cell<*const Team> = const { Cell::new(core::ptr::null()) };
    }

    /// How often a worker looks for the next job before it sleeps: some tenths of a millisecond.
    const LOOKS: usize = 20_000;

    impl Team {
        /// A team of `threads`, its owner counted.
        pub fn new(threads: usize) -> std::io::Result<Self> {
            let others = threads.saturating_sub(1);
            let desk = Arc::new(Desk {
                ticket: AtomicU64::new(0),
                job: AtomicPtr::new(core::ptr::null_mut()),
                count: AtomicUsize::new(0),
                finished: AtomicUsize::new(0),
                asleep: (0..others).map(|_| AtomicBool::new(false)).collect(),
                panicked: AtomicBool::new(false),
                panic: Mutex::new(None),
                closed: AtomicBool::new(false),
            });
            let mut team = Team { desk, workers: Vec::with_capacity(others) };
            for i in 0..others {
                let desk = Arc::clone(&team.desk);
                team.workers.push(thread::Builder::new().name("chainrule".into()).spawn(move || desk.work(i))?);
            }
            Ok(team)
        }

        /// How many threads it has, its owner counted.
        pub fn threads(&self) -> usize {
            self.workers.len() + 1
        }

        /// Runs `pass`, whose loops on this thread are shared with the team. A team has one owner, who waits for it.
        pub fn during<R>(&mut self, pass: impl FnOnce() -> R) -> R {
            let _back = Back(CURRENT.replace(self));
            pass()
        }

        /// Opens the next job, of `count` parts, and wakes who sleeps.
        fn open(&self, job: *mut Job<'static>, count: usize) {
            assert!((count as u64) < NEXT, "a job must have fewer parts than a ticket can count");
            // All parts of the job before are finished; who still holds a ticket of it can do nothing with it once no
            // part is left, which whoever sees the new count sees too.
            let before = self.desk.ticket.fetch_or(NEXT, SeqCst);
            self.desk.job.store(job, Relaxed);
            self.desk.count.store(count, Release);
            self.desk.finished.store(0, Relaxed);
            self.desk.ticket.store(((before >> 32) + 1) << 32, SeqCst);
            for (asleep, worker) in self.desk.asleep.iter().zip(&self.workers) {
                if asleep.load(SeqCst) {
                    worker.thread().unpark();
                }
            }
        }

        fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
            let job = Job { part };
            // Within a part nobody asks the team for more.
            let _back = Back(CURRENT.replace(core::ptr::null()));
            self.open((&raw const job).cast_mut().cast(), count);
            let finish = Finish(&self.desk, count);
            self.desk.take_parts();
            drop(finish);
            if self.desk.panicked.swap(false, Relaxed)
                && let Some(panic) = self.desk.panic().take()
            {
                resume_unwind(panic);
            }
        }
    }

    impl Drop for Team {
        fn drop(&mut self) {
            self.desk.closed.store(true, Relaxed);
            // Of no parts: the last job is gone, and a worker that has just finished its part of it is still looking for more.
            self.open(core::ptr::null_mut(), 0);
            for worker in self.workers.drain(..) {
                let _ = worker.join();
            }
        }
    }

    /// Puts the team back that was there.
    struct Back(*const Team);

    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }

    /// Waits until every part is finished.
    struct Finish<'a>(&'a Desk, usize);

    impl Drop for Finish<'_> {
        fn drop(&mut self) {
            let mut looks = 0;
            while self.0.finished.load(Acquire) < self.1 {
                looks += 1;
                pause(looks);
            }
        }
    }

    /// A short rest; a longer one now and then, for others to run on a machine that has too few cores.
    fn pause(looks: usize) {
        if looks.is_multiple_of(1000) { thread::yield_now() } else { core::hint::spin_loop() }
    }

    /// Counts a part as finished, however it ends.
    struct Count<'a>(&'a AtomicUsize);

    impl Drop for Count<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Release);
        }
    }

    impl Desk {
        /// What the first part that panicked did so with.
        fn panic(&self) -> std::sync::MutexGuard<'_, Option<Panic>> {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Takes parts of the job that is open until none is left. The first panic in one is kept, for the owner to resume
        /// when all are finished.
        fn take_parts(&self) {
            loop {
                let ticket = self.ticket.load(Acquire);
                let (part, count) = ((ticket & NEXT) as usize, self.count.load(Acquire));
                if part >= count {
                    return;
                }
                if self.ticket.compare_exchange_weak(ticket, ticket + 1, AcqRel, Relaxed).is_err() {
                    continue;
                }
                let _count = Count(&self.finished);
                // SAFETY: the exchange above found the job still open, and took a part of it that no other thread has. `run`
                // keeps the job on its stack, by `Finish`, until `finished` has counted this part too.
                let job = unsafe { &*self.job.load(Relaxed) };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (job.part)(part))) {
                    let mut first = self.panic();
                    match *first {
                        None => *first = Some(panic),
                        Some(_) => core::mem::forget(panic),
                    }
                    self.panicked.store(true, Relaxed);
                }
            }
        }

        fn work(&self, i: usize) {
            let mut turn = 0;
            loop {
                let mut looks = 0;
                while self.ticket.load(Acquire) >> 32 == turn {
                    looks += 1;
                    if looks < LOOKS {
                        pause(looks);
                        continue;
                    }
                    self.asleep[i].store(true, SeqCst);
                    // A job that came just now is seen here, or its owner sees this worker asleep.
                    while self.ticket.load(SeqCst) >> 32 == turn {
                        thread::park();
                    }
                    self.asleep[i].store(false, SeqCst);
                }
                // In this order: a team that closes after the question has a turn that is still to come.
                turn = self.ticket.load(Acquire) >> 32;
                if self.closed.load(Relaxed) {
                    return;
                }
                self.take_parts();
            }
        }
    }

    /// Calls `with` with the team of the pass on this thread.
    fn current<R>(with: impl FnOnce(Option<&Team>) -> R) -> R {
        // SAFETY: the pointer is null, or `during` has set it on this thread from a `&mut Team` that it holds until `Back` has
        // put another in its place, which `with` cannot outlast.
        with(unsafe { CURRENT.get().as_ref() })
    }

    pub(super) fn count() -> usize {
        current(|team| team.map_or(1, Team::threads))
    }

    pub(super) fn each(count: usize, part: &(dyn Fn(usize) + Sync)) {
        current(|team| match team {
            Some(team) => team.run(count, part),
            None => (0..count).for_each(part),
        });
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::{panic::AssertUnwindSafe, vec};

    #[test]
    fn every_part_runs_once() {
        for threads in 1..5 {
            let mut team = Team::new(threads).unwrap();
            for count in 0..40 {
                let mut seen = vec![0u32; count * 3];
                let shared = Shared::new(&mut seen);
                // SAFETY: parts have places of their own.
                team.during(|| {
                    each(count, &|i| unsafe { shared.take(i * 3..i * 3 + 3) }.iter_mut().for_each(|n| *n += 1))
                });
                assert!(seen.iter().all(|&n| n == 1), "{threads} threads, {count} parts");
            }
        }
    }

    #[test]
    fn parts_tile_what_they_are_of() {
        for (units, grain) in [(0, 8), (1, 8), (37, 8), (64, 16), (5, 1)] {
            for count in 1..6 {
                let mut next = 0;
                for i in 0..count {
                    let part = part(i, count, units, grain);
                    assert_eq!((part.start, part.start.is_multiple_of(grain) || part.start == units), (next, true));
                    next = part.end;
                }
                assert_eq!(next, units);
            }
        }
    }

    #[test]
    fn a_panic_in_a_part_is_a_panic_of_the_pass_and_the_team_goes_on() {
        let mut team = Team::new(3).unwrap();
        for bad in 0..3 {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                team.during(|| each(3, &|i| assert_ne!(i, bad)));
            }));
            assert!(result.is_err());
            assert_eq!(threads(), 1);
            team.during(|| each(3, &|_| ()));
        }
    }

    /// Seen to fail by a crash: a worker that looked for more found the last job open again, and its owner gone.
    #[test]
    fn a_team_that_goes_runs_nothing_more() {
        let ran = core::sync::atomic::AtomicUsize::new(0);
        const TEAMS: usize = 3000;
        const PARTS: usize = 12;
        for _ in 0..TEAMS {
            let mut team = Team::new(5).unwrap();
            team.during(|| each(PARTS, &|_| _ = ran.fetch_add(1, core::sync::atomic::Ordering::Relaxed)));
        }
        assert_eq!(ran.into_inner(), PARTS * TEAMS);
    }

    #[test]
    fn a_worker_that_slept_wakes() {
        let mut team = Team::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let count = core::sync::atomic::AtomicUsize::new(0);
            team.during(|| each(2, &|_| _ = count.fetch_add(1, core::sync::atomic::Ordering::Relaxed)));
            assert_eq!(count.into_inner(), 2);
        }
    }
}
