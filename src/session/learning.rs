//! Reading the secrets anew because a token names one that is unknown here. Anybody can invent
//! names, so how often that happens must not depend on how often it is asked for.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};

use crate::{
    clock::{Clock, Reading},
    error::{ConfigError, Error, ErrorKind},
};

/// The shortest time between two readings.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a request waits for one. Files may lie on a network share.
const LIMIT: Duration = Duration::from_secs(5);

/// One reading at a time, and a pause after each.
#[derive(Default)]
pub(super) struct Learning {
    /// Held by the reading that is under way.
    last: Arc<Mutex<Option<Learnt>>>,
}

/// A reading that has ended.
#[derive(Clone, Copy)]
struct Learnt {
    began_at: Reading,
    ended_at: Reading,
    went_well: bool,
}

impl Learning {
    /// Runs `read`, unless that has just been done, or is begun while this waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Keys`] if it has failed or takes too long: then nothing is known.
    pub(super) async fn learn(
        &self,
        clock: &Clock,
        read: impl FnOnce() -> Result<(), ConfigError> + Send + 'static,
    ) -> Result<(), Error> {
        let learnt = timeout(LIMIT, self.learnt(clock, read)).await;
        learnt.map_err(|late| Error::new(ErrorKind::Keys, late))?
    }

    async fn learnt(
        &self,
        clock: &Clock,
        read: impl FnOnce() -> Result<(), ConfigError> + Send + 'static,
    ) -> Result<(), Error> {
        let asked_at = clock.now();
        let mut last = self.last.clone().lock_owned().await;
        if let Some(learnt) = *last {
            let is_later = learnt.began_at.monotonic >= asked_at.monotonic;
            if is_later || clock.now().since(learnt.ended_at) < PAUSE {
                return if learnt.went_well { Ok(()) } else { Err(ErrorKind::Keys.into()) };
            }
        }
        let clock = clock.clone();
        // A task of its own, which holds the lock: though all who asked go away, the next one
        // does not read beside it, and hears how it went.
        let reading = tokio::spawn(async move {
            let began_at = clock.now();
            let read = spawn_blocking(read).await;
            let went_well = matches!(read, Ok(Ok(())));
            *last = Some(Learnt { began_at, ended_at: clock.now(), went_well });
            read
        });
        let ended = |cause| Error::new(ErrorKind::TaskEnded, cause);
        let read = reading.await.map_err(ended)?.map_err(ended)?;
        read.map_err(|cause| Error::new(ErrorKind::Keys, cause))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        pin::pin,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        task::Poll,
    };

    use super::*;

    type Gate = Arc<AtomicBool>;

    /// A counted reading that waits until the gate is opened.
    fn slow(
        reads: &Arc<AtomicUsize>,
        gate: &Gate,
    ) -> impl FnOnce() -> Result<(), ConfigError> + Send + use<> {
        let (reads, gate) = (reads.clone(), gate.clone());
        move || {
            reads.fetch_add(1, Ordering::SeqCst);
            while !gate.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Ok(())
        }
    }

    async fn polled_once(future: impl Future) {
        let mut future = pin!(future);
        let _ = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_goes_away_has_nobody_read_beside() {
        let (clock, _hand) = Clock::manual(Duration::from_secs(1_800_000_000));
        let (learning, reads, gate) = (Learning::default(), Arc::default(), Gate::default());
        for _ in 0..200 {
            polled_once(learning.learn(&clock, slow(&reads, &gate))).await;
        }
        gate.store(true, Ordering::SeqCst);
        learning.learn(&clock, slow(&reads, &gate)).await.unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_for_a_slow_reading_does_not_read_again() {
        let (clock, hand) = Clock::manual(Duration::from_secs(1_800_000_000));
        let (learning, reads, gate) = (Learning::default(), Arc::default(), Gate::default());
        let both = async {
            let learn = || learning.learn(&clock, slow(&reads, &gate));
            tokio::join!(learn(), learn(), async {
                while reads.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
                hand.advance(PAUSE * 2);
                gate.store(true, Ordering::SeqCst);
            })
        };
        let (one, other, ()) = both.await;
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        hand.advance(PAUSE);
        learning.learn(&clock, slow(&reads, &gate)).await.unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_reading_that_panics_counts_and_is_no_answer() {
        let (clock, hand) = Clock::manual(Duration::from_secs(1_800_000_000));
        let learning = Learning::default();
        let kind = |result: Result<(), Error>| result.unwrap_err().kind();
        assert_eq!(kind(learning.learn(&clock, || panic!("files")).await), ErrorKind::TaskEnded);
        assert_eq!(kind(learning.learn(&clock, || Ok(())).await), ErrorKind::Keys);
        hand.advance(PAUSE);
        assert!(learning.learn(&clock, || Ok(())).await.is_ok());
    }
}
