//! Clocks. They need the standard library, and exist on every platform but wasm32 without an operating system.

pub(crate) use system::Clock;
#[cfg(feature = "tensorboard")]
pub(crate) use system::wall_time;

#[cfg(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown"))))]
mod system {
    use std::time::Instant;

    /// A moment from which time is measured.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Clock(Instant);

    impl Clock {
        /// Returns the current moment; `None` on a platform without a clock.
        pub(crate) fn now() -> Option<Self> {
            Some(Clock(Instant::now()))
        }

        /// Returns the seconds that have passed since this moment.
        pub(crate) fn seconds(self) -> f64 {
            self.0.elapsed().as_secs_f64()
        }
    }

    /// The seconds since the beginning of 1970 (UTC); 0 without a clock.
    #[cfg(feature = "tensorboard")]
    pub(crate) fn wall_time() -> f64 {
        std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64())
    }
}

#[cfg(not(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown")))))]
mod system {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Clock;

    impl Clock {
        pub(crate) fn now() -> Option<Self> {
            None
        }

        pub(crate) fn seconds(self) -> f64 {
            0.0
        }
    }

    #[cfg(feature = "tensorboard")]
    pub(crate) fn wall_time() -> f64 {
        0.0
    }
}
