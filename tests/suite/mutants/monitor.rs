//! Wrong monitors.

use super::{all_caught, caught};
use chainrule::{
    GradientMonitor, Scalar,
    monitor::{Event, Link},
    testing::{Law, monitor_laws},
    to_f64,
};
use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    PanicsAtNan,
    PanicsAtNoSteps,
    PanicsWithoutAPass,
    PanicsWithoutBlocks,
    ComparesNan,
    CountsAllOfItsKind,
    DebugTextMoves,
    RemembersOthers,
}

static OTHERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LAST: Cell<f64> = const { Cell::new(0.0) };
}

/// The largest gradient, and where.
#[derive(Debug)]
struct Wrong {
    fault: Fault,
    largest: f64,
    passes: u64,
    seen: u64,
}

impl<T: Scalar> GradientMonitor<T> for Wrong {
    fn begin_pass(&mut self) {
        self.passes += 1;
        if self.fault == Fault::CountsAllOfItsKind {
            self.seen = OTHERS.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        match self.fault {
            Fault::PanicsAtNan => assert!(!dx.iter().any(|dx| dx.is_nan())),
            Fault::PanicsAtNoSteps => self.seen += at.step.map_or(0, |step| 1 / (4 - step as u64).max(1)),
            Fault::PanicsWithoutAPass => self.seen = 100 / self.passes,
            Fault::ComparesNan => {
                let mut sizes: Vec<T> = dy.to_vec();
                sizes.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
                self.largest = sizes.last().map_or(0.0, |&size| to_f64(size));
            }
            _ => self.largest = dx.iter().fold(self.largest, |largest, &dx| largest.max(to_f64(dx).abs())),
        }
        if self.fault == Fault::RemembersOthers {
            self.largest = self.largest.max(LAST.get());
            LAST.set(LAST.get() + 1.0);
        }
        if self.fault == Fault::PanicsAtNoSteps {
            // The mean over no values.
            self.seen += 1 / dx.len() as u64;
        }
    }

    fn event(&mut self, event: &Event<'_, T>) {
        let Event::Gradient { blocks, .. } = event else { return };
        if self.fault == Fault::PanicsWithoutBlocks {
            self.seen = blocks.iter().last().expect("a block").range.end as u64;
        }
        if self.fault == Fault::DebugTextMoves {
            self.seen = OTHERS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn mutants_of_monitors() {
    let make = |fault| move || Wrong { fault, largest: 0.0, passes: 0, seen: 0 };
    monitor_laws(make(Fault::None), 0).expect("without a mistake there is nothing to accuse");
    let all = [
        (Fault::PanicsAtNan, Law::SurvivesAnything),
        (Fault::PanicsAtNoSteps, Law::SurvivesAnything),
        (Fault::PanicsWithoutAPass, Law::SurvivesAnything),
        (Fault::PanicsWithoutBlocks, Law::SurvivesAnything),
        (Fault::ComparesNan, Law::SurvivesAnything),
        (Fault::CountsAllOfItsKind, Law::Composes),
        (Fault::DebugTextMoves, Law::Composes),
        (Fault::RemembersOthers, Law::Composes),
    ];
    all_caught("monitors", all.map(|(fault, law)| caught(&format!("{fault:?}"), law, monitor_laws(make(fault), 0))));
}
