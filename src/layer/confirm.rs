//! What the layer asks of a store while the copy in memory is stale.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use super::questions::{Questions, Store};
use crate::{
    cutoff::{CutOff, StoreTime},
    error::{ConfigError, Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
};

/// Who can be asked about one token: every [`EpochStore`](crate::store::EpochStore) is.
///
/// A wrong answer costs: a cut-off that is missing, or a snapshot older than the question,
/// *accepts revoked tokens*; one that covers nobody, or a clock that is ahead, *logs people out*.
/// Who does not know says so with an error, and the request is answered 503.
pub trait Confirm: Send + Sync + 'static {
    /// What is held against the tokens in `scopes` and in `Everyone`, in one snapshot of the truth
    /// that is taken after the call.
    ///
    /// # Errors
    ///
    /// Whatever keeps the answer from being known: the database does not answer, or is a replica.
    fn confirm(&self, scopes: &[Scope]) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// Whether `session` is one of `user`'s and alive, by the guard and by `lifetimes`, in a snapshot
    /// that is taken after the call: for layers that
    /// [check sessions](super::RevocationLayer::check_sessions).
    ///
    /// A wrong *yes* accepts a session that has ended.
    ///
    /// # Errors
    ///
    /// Whatever keeps the answer from being known. Unless it is implemented: that it is not.
    fn lives(
        &self,
        session: &Id,
        user: &Id,
        lifetimes: Lifetimes,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let _ = (session, user, lifetimes);
        std::future::ready(Err(Error::new(ErrorKind::Store, "it knows no sessions")))
    }
}

/// What a store holds against a token. See [`Confirm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Joins the cut-offs of all the scopes, everyone's, and the floor that purging left.
    pub cut_off: CutOff,
    /// The store's clock, since 1970.
    pub clock: Duration,
    /// The highest cut-off that the store ever issued.
    pub newest: StoreTime,
}

/// Asks a store about tokens, for
/// [`confirm_while_stale`](super::RevocationLayer::confirm_while_stale),
/// [`confirm_doubtful`](super::RevocationLayer::confirm_doubtful) and
/// [`check_sessions`](super::RevocationLayer::check_sessions).
///
/// Cheap to clone. All clones, and so all layers that have one, share the limit and the questions:
///
/// - **Capped.** So many tokens are asked about at once, 64 by default. A request with one more is
///   refused with 503 at once: while a store hangs, a queue would only make more of them wait.
/// - **Limited in time.** A store that has not answered after 2 seconds, by default, is late: 503
///   for those that wait for this answer, and for those that wait for the next one about the token.
/// - **Coalesced.** At each moment there is at most one question under way about a token. Requests
///   that arrive meanwhile wait for the next one, which is sent when that is answered, and share
///   it: however many there are, they cost one question each time the store has answered.
/// - **Never older than the request.** A request joins only a question that was not sent yet. So
///   the snapshot it is judged by was taken after it arrived, and holds every revocation that had
///   returned by then.
///
/// A question belongs to no request. It goes on if a client goes away, and the others that wait for
/// it get their answer.
///
/// Needs a tokio runtime with its timer enabled; outside of one, every request that would ask is
/// refused.
#[derive(Clone)]
pub struct Confirmations {
    pub(super) questions: Arc<Questions>,
}

impl Confirmations {
    /// Asks `store`, with the default settings.
    pub fn new(store: impl Confirm) -> Self {
        Self::builder(store).with_checked_settings()
    }

    /// Asks `store`, with other settings.
    pub fn builder(store: impl Confirm) -> ConfirmationsBuilder {
        ConfirmationsBuilder {
            store: Box::new(store),
            at_most: 64,
            time_limit: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for Confirmations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmations")
            .field("at_most", &self.questions.at_most())
            .field("time_limit", &self.questions.time_limit())
            .finish_non_exhaustive()
    }
}

/// The settings of [`Confirmations`].
pub struct ConfirmationsBuilder {
    store: Box<dyn Store>,
    at_most: usize,
    time_limit: Duration,
}

impl ConfirmationsBuilder {
    /// About how many tokens the store is asked at once; 64 by default.
    #[must_use]
    pub fn at_most(mut self, tokens: usize) -> Self {
        self.at_most = tokens;
        self
    }

    /// How long the store may take to answer; 2 seconds by default.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Checks the settings. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if no token may be asked about, [`ConfigError::Duration`] if the
    /// time limit is zero or over a minute.
    pub fn build(self) -> Result<Confirmations, ConfigError> {
        let refuse = |problem| {
            Err(ConfigError::Duration { field: "time_limit", value: self.time_limit, problem })
        };
        if self.at_most == 0 {
            return Err(ConfigError::Missing { field: "at_most" });
        }
        if self.time_limit.is_zero() {
            return refuse("is zero");
        }
        if self.time_limit > Duration::from_secs(60) {
            return refuse("is over a minute");
        }
        Ok(self.with_checked_settings())
    }

    fn with_checked_settings(self) -> Confirmations {
        let Self { store, at_most, time_limit } = self;
        Confirmations { questions: Arc::new(Questions::new(store, at_most, time_limit)) }
    }
}

impl fmt::Debug for ConfirmationsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmationsBuilder")
            .field("at_most", &self.at_most)
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}
