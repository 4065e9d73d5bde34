//! Machines: what their clocks say, and whether they run.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tower_revocation::clock::{Clock, Reading};

/// Where the wall clocks of all machines begin.
pub(crate) const START: Duration = Duration::from_secs(1_800_000_000);

/// How a machine comes to stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspension {
    /// The virtual machine sleeps: its monotonic clock stands still, the wall clock goes on.
    Sleep,
    /// The process is stopped: both clocks go on.
    Stop,
}

/// One machine. While it stands still, nothing on it reads a clock or gets an answer; what the
/// runtime does on it all the same has happened just before.
pub(crate) struct Machine {
    start: Instant,
    state: Mutex<State>,
    resumed: Notify,
}

#[derive(Default)]
struct State {
    /// By how much the wall clock was set, in microseconds.
    stepped: i64,
    stepped_back: u64,
    lowest: i64,
    highest: i64,
    /// How long it has slept.
    slept: Duration,
    suspended: Option<(Suspension, Duration)>,
}

thread_local! {
    /// What other threads do while one that reads a clock is interrupted.
    static INTERRUPTION: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Runs `work`; each time that it reads a clock, `others` is run in between.
pub(crate) fn interrupted<T>(others: Box<dyn FnMut()>, work: impl FnOnce() -> T) -> T {
    INTERRUPTION.set(Some(others));
    let done = work();
    INTERRUPTION.set(None);
    done
}

impl Machine {
    /// Inside the runtime, whose time it follows.
    pub(crate) fn new(start: Instant) -> Arc<Self> {
        Arc::new(Self { start, state: Mutex::default(), resumed: Notify::new() })
    }

    pub(crate) fn clock(self: &Arc<Self>) -> Clock {
        let machine = self.clone();
        Clock::simulated(move || {
            let reading = machine.reading();
            // Not while it runs: what others do reads clocks, too.
            if let Some(mut others) = INTERRUPTION.take() {
                others();
                INTERRUPTION.set(Some(others));
            }
            reading
        })
    }

    pub(crate) fn reading(&self) -> Reading {
        let elapsed = Instant::now().duration_since(self.start);
        let state = self.state();
        let now = state.suspended.map_or(elapsed, |(_, since)| since);
        let wall = START + now;
        let step = Duration::from_micros(state.stepped.unsigned_abs());
        Reading {
            monotonic: now - state.slept,
            wall: if state.stepped < 0 { wall - step } else { wall + step },
        }
    }

    /// Sets the wall clock by so many microseconds.
    pub(crate) fn step(&self, by: i64) {
        let mut state = self.state();
        state.stepped += by;
        state.stepped_back += by.min(0).unsigned_abs();
        state.lowest = state.lowest.min(state.stepped);
        state.highest = state.highest.max(state.stepped);
    }

    pub(crate) fn stepped(&self) -> i64 {
        self.state().stepped
    }

    /// By how much its wall clock has been ahead at most.
    pub(crate) fn furthest_ahead(&self) -> Duration {
        Duration::from_micros(self.state().highest.unsigned_abs())
    }

    /// How far apart the settings of its wall clock have been so far.
    pub(crate) fn range(&self) -> Duration {
        let state = self.state();
        Duration::from_micros(state.highest.abs_diff(state.lowest))
    }

    /// By how much an age that is measured here may be too short: a sleep is not seen by the one
    /// clock, and by the other not if that was set back as well.
    pub(crate) fn blind(&self) -> Duration {
        let state = self.state();
        Duration::from_micros(state.stepped_back).min(state.slept)
    }

    pub(crate) fn suspend(&self, how: Suspension) {
        let elapsed = Instant::now().duration_since(self.start);
        self.state().suspended.get_or_insert((how, elapsed));
    }

    pub(crate) fn resume(&self) {
        let elapsed = Instant::now().duration_since(self.start);
        let mut state = self.state();
        if let Some((Suspension::Sleep, since)) = state.suspended {
            state.slept += elapsed - since;
        }
        state.suspended = None;
        drop(state);
        self.resumed.notify_waiters();
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.state().suspended.is_some()
    }

    /// Waits while it stands still.
    pub(crate) async fn running(&self) {
        while self.is_suspended() {
            self.resumed.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
