//! The one clock of the crate.
//!
//! All code takes a [`Reading`] as an argument or reads a [`Clock`] once, at the edge. A reading
//! holds both clocks of the machine: the monotonic one stands still while a virtual machine
//! sleeps, the wall clock can be set. What must not be fooled (freshness) takes the worse of both.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Both clocks of the machine, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since an arbitrary start; never runs backwards, stands still while the machine sleeps.
    pub monotonic: Duration,
    /// Since 1970; can be set forward and back.
    pub wall: Duration,
}

impl Reading {
    /// How long ago `earlier` was, by whichever clock says longer; 584 years at most.
    #[inline]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos().since(earlier.nanos()))
    }

    /// The same, for whoever calculates at each request.
    #[inline]
    pub(crate) fn nanos(self) -> Nanos {
        Nanos { monotonic: as_nanos(self.monotonic), wall: as_nanos(self.wall) }
    }

    /// The reading of `by` ago; `None` if the monotonic clock did not run for so long, and an age
    /// counted from there would be too short.
    pub(crate) fn checked_sub(self, by: Duration) -> Option<Self> {
        let monotonic = self.monotonic.checked_sub(by)?;
        Some(Self { monotonic, wall: self.wall.saturating_sub(by) })
    }
}

/// A [`Reading`] in whole nanoseconds, up to the year 2554.
#[derive(Clone, Copy)]
pub(crate) struct Nanos {
    pub(crate) monotonic: u64,
    pub(crate) wall: u64,
}

impl Nanos {
    /// See [`Reading::since`].
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        let wall = self.wall.saturating_sub(earlier.wall);
        if cfg!(plant = "suspend_unnoticed") { monotonic } else { monotonic.max(wall) }
    }
}

/// The system's clock, or one that a test drives by hand.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<Manual>),
    Simulated(Arc<dyn Fn() -> Reading + Send + Sync>),
}

struct Manual {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until its [`ManualClock`] moves it, started at `wall` since 1970.
    pub fn manual(wall: Duration) -> (Self, ManualClock) {
        let manual = Arc::new(Manual {
            monotonic: AtomicU64::new(0),
            wall: AtomicU64::new(as_micros(wall)),
        });
        (Self(Source::Manual(manual.clone())), ManualClock(manual))
    }

    /// A clock of a simulation, which says what `read` says.
    pub fn simulated(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Source::Simulated(Arc::new(read)))
    }

    /// Reads both clocks.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    pub fn now(&self) -> Reading {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Source::System => {
                let start = *START;
                Reading {
                    monotonic: start.elapsed(),
                    // A clock before 1970 reads as 1970; the monotonic one goes on all the same.
                    wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
                }
            }
            Source::Manual(manual) => Reading {
                // Relaxed: tests move the clock and read it on one thread, or join in between.
                monotonic: Duration::from_micros(manual.monotonic.load(Ordering::Relaxed)),
                wall: Duration::from_micros(manual.wall.load(Ordering::Relaxed)),
            },
            Source::Simulated(read) => read(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::System => "Clock(system)",
            Source::Manual(_) => "Clock(manual)",
            Source::Simulated(_) => "Clock(simulated)",
        })
    }
}

/// The hand on a manual clock.
#[derive(Clone)]
pub struct ManualClock(Arc<Manual>);

impl ManualClock {
    /// Time passes.
    pub fn advance(&self, by: Duration) {
        self.0.monotonic.fetch_add(as_micros(by), Ordering::Relaxed);
        self.0.wall.fetch_add(as_micros(by), Ordering::Relaxed);
    }

    /// The machine sleeps: only the wall clock moves.
    pub fn suspend(&self, by: Duration) {
        self.0.wall.fetch_add(as_micros(by), Ordering::Relaxed);
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&self, wall: Duration) {
        self.0.wall.store(as_micros(wall), Ordering::Relaxed);
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").finish_non_exhaustive()
    }
}

/// Whole seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Whole microseconds, saturating: 584,000 years.
pub(crate) fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whole nanoseconds, saturating: 584 years.
#[inline]
pub(crate) fn as_nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}
