//! Changes to a schedule: stretching it in time, starting it later, or making its factor constant.

use super::Schedule;

impl Schedule {
    /// Stretches the schedule in time by the factor `times`: at update t it has the factor that it had at
    /// `⌊t/times⌋`.
    pub(crate) fn stretch(&mut self, times: u64) {
        *self = self.clone().per_epoch(times);
    }

    /// Moves the schedule forward: at update t, counted from 0, it has the factor that it had at `step + t`. A
    /// schedule that an optimizer refuses stays as it is, so that the optimizer still refuses it.
    pub(crate) fn advance(&mut self, step: u64) {
        if step > 0 && self.varies() && self.check::<f64>().is_ok() {
            let whole = self.clone();
            *self = Schedule::custom(move |later| whole.factor(later.saturating_add(step)));
        }
    }

    /// Replaces the schedule by the constant factor 1 if its factor may change. A schedule with one constant factor
    /// stays as it is, since that factor is part of the optimizer's own learning rate.
    pub(crate) fn hold(&mut self) {
        if self.varies() {
            *self = Schedule::constant(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec::Vec};

    /// Returns one schedule from each constructor, and some composed by [`Schedule::then`] and
    /// [`Schedule::per_epoch`].
    fn all() -> Vec<Schedule> {
        Vec::from([
            Schedule::constant(0.3),
            Schedule::step(7, 0.5),
            Schedule::multi_step(&[3, 20], 0.1),
            Schedule::exponential(1.05),
            Schedule::cosine(30, 0.1),
            Schedule::cosine_with_restarts(9, 2, 0.0),
            Schedule::linear(2.0, 0.5, 25),
            Schedule::warm_up(0.0, 40),
            Schedule::polynomial(50, 2.0),
            Schedule::one_cycle(200.0, 60),
            Schedule::cyclic_with_decay(0.1, 1.0, 5, 8, 0.5),
            Schedule::custom(|step| 1.0 / (1.0 + step as f64)),
            Schedule::warm_up(0.0, 10).then(10, Schedule::cosine(50, 0.0)).then(40, Schedule::constant(0.2)),
            Schedule::step(2, 0.5).per_epoch(8),
            Schedule::warm_up(0.0, 12).then(12, Schedule::cosine(5, 0.0).per_epoch(9)),
        ])
    }

    #[test]
    fn schedule_moved_forward_has_the_later_factors() {
        for schedule in all() {
            for step in [0, 1, 11, 12, 39, 64, u64::MAX - 3] {
                let mut moved = schedule.clone();
                moved.advance(step);
                for later in 0..80 {
                    let expected = schedule.factor(step.saturating_add(later));
                    assert_eq!(moved.factor(later).to_bits(), expected.to_bits(), "{schedule:?} at {step} + {later}");
                }
                // Moved twice, it is moved by the sum.
                moved.advance(5);
                assert_eq!(moved.factor(2).to_bits(), schedule.factor(step.saturating_add(7)).to_bits());
            }
        }
    }

    #[test]
    fn held_schedule_keeps_only_a_constant_factor() {
        for mut schedule in all() {
            let constant = if schedule.varies() { 1.0 } else { 0.3 };
            schedule.hold();
            assert!([0, 1, 50, 1000].iter().all(|&step| schedule.factor(step) == constant), "{schedule:?}");
        }
        // Two constants that follow one another vary.
        assert!(Schedule::constant(1.0).then(5, Schedule::constant(0.0)).varies());
    }

    /// Chains and wrappers pass on all their schedules.
    #[test]
    fn schedules_of_a_chain_are_all_visited() {
        use crate::transform::{GradientTransform, PerGroup, Sgd, Unordered};
        let of_group = (Sgd::new(0.1), Schedule::cosine(9, 0.0));
        let groups = PerGroup::<f64>::new((Sgd::new(0.1), Schedule::constant(0.5))).group("1", of_group);
        let mut chain: Box<dyn GradientTransform<f64>> =
            Box::new(Unordered((groups, (Schedule::step(3, 0.1), Schedule::warm_up(0.0, 4)))));
        let mut found = Vec::new();
        chain.schedules(&mut |schedule| {
            schedule.advance(2);
            found.push(schedule.factor(0));
        });
        let expected = [Schedule::constant(0.5), Schedule::cosine(9, 0.0), Schedule::step(3, 0.1)];
        let mut expected: Vec<f64> = expected.iter().map(|it| it.factor(2)).collect();
        expected.push(0.5);
        assert_eq!(found, expected);
    }

    #[test]
    fn refused_schedule_stays_refused_where_it_is_moved() {
        let mut refused = Schedule::warm_up(0.0, 0);
        refused.advance(3);
        assert!(refused.check::<f64>().is_err());
    }
}
