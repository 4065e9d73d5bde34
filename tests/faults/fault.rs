//! The faults, and how they are produced and healed.

use std::time::Duration;

use crate::{
    history::{Down, Moment},
    proxy::{Mode, Way},
    world::World,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Delay,
    BlackHole,
    Reset,
    Close,
    Refuse,
    HalfClose,
    Throttle,
    KillServer,
    KillDatabase,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::Delay,
        Self::BlackHole,
        Self::Reset,
        Self::Close,
        Self::Refuse,
        Self::HalfClose,
        Self::Throttle,
        Self::KillServer,
        Self::KillDatabase,
    ];

    /// As the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::BlackHole => "black hole",
            Self::Reset => "RST",
            Self::Close => "FIN",
            Self::Refuse => "refuse",
            Self::HalfClose => "half-close",
            Self::Throttle => "throttle",
            Self::KillServer => "kill -9, a server",
            Self::KillDatabase => "kill -9, the database",
        }
    }

    /// What the proxies do; faults that have two forms take turns.
    fn mode(self, round: usize) -> Option<Mode> {
        let first = round.is_multiple_of(2);
        let one_of = |one, other| Some(if first { one } else { other });
        match self {
            // Slow, and too slow to stay fresh.
            Self::Delay => one_of(
                Mode::Delay(Duration::from_millis(300)),
                Mode::Delay(Duration::from_millis(30)),
            ),
            Self::BlackHole => Some(Mode::BlackHole),
            Self::Reset => Some(Mode::Reset),
            Self::Close => Some(Mode::Close),
            Self::Refuse => Some(Mode::Refuse),
            Self::HalfClose => {
                one_of(Mode::HalfClose(Way::ToClient), Mode::HalfClose(Way::ToDatabase))
            }
            Self::Throttle => one_of(Mode::Throttle(200), Mode::Throttle(5_000)),
            Self::KillServer | Self::KillDatabase => None,
        }
    }
}

/// A fault that lasts.
pub(crate) struct Lasting {
    fault: Fault,
    /// The servers that it hits.
    pub(crate) hit: Vec<usize>,
    from: Moment,
}

impl World {
    /// Produces `fault` at the servers `hit`: of those that are killed, at the first alone.
    pub(crate) async fn produce(&self, fault: Fault, hit: &[usize], round: usize) -> Lasting {
        let mut hit = hit.to_vec();
        let from = self.clients.now();
        match (fault, fault.mode(round)) {
            (_, Some(mode)) => self.clients.fleet.set(&hit, mode),
            (Fault::KillServer, None) => {
                hit.truncate(1);
                self.clients.fleet.kill(hit[0]).await;
            }
            (_, None) => self.kill_database().await,
        }
        Lasting { fault, hit, from }
    }

    /// Ends it: connections pass, what was killed is up and ready.
    pub(crate) async fn heal(&self, lasting: Lasting) {
        match lasting.fault {
            Fault::KillServer => {
                let instance = lasting.hit[0];
                self.clients.fleet.start_again(instance).await;
                let (from, until) = (lasting.from, self.clients.now());
                self.clients.seen().history.down.push(Down { instance, from, until });
            }
            Fault::KillDatabase => self.start_database_again().await,
            _ => self.clients.fleet.set(&lasting.hit, Mode::Pass),
        }
    }
}
