//! When tokens are renewed, and how that is told.

use std::{fmt, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, Request, Response, header::USER_AGENT};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::{
    Joined, Presenter, Renew, Renewable, Renewed,
    attempts::{Attempts, Key},
    due::{self, Life, Thresholds},
    hand_out,
    renew::DynRenew,
};
use crate::{clock::Clock, error::ConfigError, lifetimes::Lifetimes, verify::Verified};

/// The header that a successor is returned in.
const HEADER: HeaderName = HeaderName::from_static("x-jwt");

/// In characters, which are bytes: a header that is text is ASCII.
const LONGEST_USER_AGENT: usize = 512;

/// Renews tokens on the way, for [`RevocationLayer::renew`](crate::layer::RevocationLayer::renew).
///
/// A token that is due is answered as ever, and its successor comes with the answer in the header
/// `X-JWT`. One that has expired, but whose session is within its idle and absolute limits, is
/// renewed first; the inner service sees the successor's claims. So a client that does no more than
/// keep the newest token it has seen stays logged in for as long as its session lives.
///
/// - **Due.** From half of its life on, by default: see [`RenewalBuilder`]. A token of a session that
///   has no room for another one of that length is left to lapse.
/// - **Once.** However many requests carry a token, it is renewed once, and all of them get the same
///   successor, until that is due itself. The memory of it is [bounded](RenewalBuilder::remembered),
///   and each instance has its own: behind a load balancer, one that does not know of it mints another
///   one. All of them are good.
/// - **After the answer.** A token that is still valid is renewed when the inner service has answered,
///   so what the request has revoked, by a logout for instance, is not renewed. With an answer that
///   sends the client elsewhere only a cookie is renewed: whoever follows does not see its headers.
///   Nothing is handed out with an error (4xx, 5xx, a `grpc-status` but 0 in the head), nor where the header is there
///   already.
/// - **Never in the way.** If the renewal of a valid token fails, the request is answered without it,
///   and `tower_revocation_renewals_total{outcome="failed"}` says so. The next one is tried a second
///   later. An expired token gets 503 then, and keeps its chance.
/// - **Exact.** What is renewed is judged by the store, in one statement: the token's own stamp by the
///   exact cut-offs of its user, session, groups and id, and the session by the guard. A token that was
///   revoked is never renewed, nor one that has been [unused](crate::lifetimes::Lifetimes::idle) for too long,
///   whatever its session has seen since.
///
/// An expired token is worth something until the idle limit: treat it as a refresh token.
/// [`require_same_ip`](RenewalBuilder::require_same_ip) narrows down from where.
///
/// Cheap to clone. All clones, and so all layers that have one, share the memory and the limit. Needs
/// a tokio runtime with its timer enabled.
#[derive(Clone)]
pub struct Renewal {
    shared: Arc<Shared>,
}

struct Shared {
    attempts: Arc<Attempts>,
    thresholds: Thresholds,
    header: HeaderName,
    client_ip: Option<Arc<ClientIp>>,
    same_ip: bool,
    same_user_agent: bool,
    revokes: bool,
}

type ClientIp = dyn Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync;

impl Renewal {
    /// Renews with `renew` from half of a token's life on, with the other defaults.
    pub fn new(renew: impl Renew) -> Self {
        Self::builder(renew).with_checked_settings()
    }

    /// Renews with `renew`, with other settings.
    pub fn builder(renew: impl Renew) -> RenewalBuilder {
        RenewalBuilder {
            renew: Box::new(renew),
            thresholds: Thresholds::default(),
            header: HEADER,
            client_ip: None,
            same_ip: false,
            same_user_agent: false,
            revokes: false,
            at_most: 64,
            time_limit: Duration::from_secs(2),
            remembered: 4_096,
        }
    }

    /// Whether the settings make sense for tokens and sessions of these lifetimes.
    pub(in crate::layer) fn check(&self, lifetimes: Lifetimes) -> Result<(), ConfigError> {
        let Thresholds { age, interval, .. } = self.shared.thresholds;
        for (field, value) in [("at_most_every", interval), ("after_age", age.unwrap_or_default())]
        {
            if value > lifetimes.access() {
                let problem = "is over the longest life of an access token";
                return Err(ConfigError::Duration { field, value, problem });
            }
        }
        Ok(())
    }

    /// Counts a request with a good token, and says what there is to renew after it. `now` is the
    /// store's clock, since 1970.
    pub(in crate::layer) fn due<C, B>(
        &self,
        token: &Verified<C>,
        request: &Request<B>,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> Option<Box<Renewable>> {
        let Shared { thresholds, attempts, .. } = &*self.shared;
        if !token.is_renewable() {
            return None;
        }
        let counted = match thresholds.requests {
            Some(_) => Some(self.renewable(token, request)?),
            None => None,
        };
        let requests = counted.as_ref().map_or(0, |token| attempts.count(&Key::of(token)));
        let life = life(token, now);
        if !thresholds.reached(life, requests) || !has_room(token, lifetimes, now) {
            return None;
        }
        counted.or_else(|| self.renewable(token, request)).map(Box::new)
    }

    /// What there is to renew of a token that has expired. `now` is the store's clock, since 1970.
    pub(in crate::layer) fn revivable<C, B>(
        &self,
        token: &Verified<C>,
        request: &Request<B>,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> Option<Box<Renewable>> {
        if due::is_idle(Duration::from_secs(token.issued_at()), lifetimes, now)
            || !has_room(token, lifetimes, now)
        {
            return None;
        }
        self.renewable(token, request).map(Box::new)
    }

    fn renewable<C, B>(&self, token: &Verified<C>, request: &Request<B>) -> Option<Renewable> {
        let Shared { client_ip, same_ip, same_user_agent, revokes, .. } = &*self.shared;
        let mut renewable = Renewable::new(token)?;
        let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        renewable.presenter = Presenter {
            ip: client_ip
                .as_ref()
                .and_then(|client_ip| client_ip(request.headers(), request.extensions())),
            user_agent: user_agent.map(kept),
        };
        renewable.same_ip = *same_ip;
        renewable.same_user_agent = *same_user_agent;
        renewable.revokes = *revokes;
        Some(renewable)
    }

    pub(in crate::layer) fn join(&self, token: &Renewable, clock: &Clock) -> Joined {
        self.shared.attempts.join(token, clock)
    }

    pub(in crate::layer) fn forget(&self, token: &Renewable, renewed: &Arc<Renewed>) {
        self.shared.attempts.forget(token, renewed);
    }

    /// Whether a successor may go with this response.
    pub(in crate::layer) fn goes_with<B>(&self, response: &Response<B>) -> bool {
        hand_out::is_success(response) && !response.headers().contains_key(&self.shared.header)
    }

    /// Writes a successor into a response.
    pub(in crate::layer) fn hand_out<B>(&self, renewed: &Renewed, response: &mut Response<B>) {
        hand_out::hand_out(response.headers_mut(), &self.shared.header, renewed);
    }
}

/// Of a user agent, what a store keeps of one (`MAX_DEVICE_TEXT`): so many bytes without control
/// characters. It is remembered with each renewal, and clients write headers of any length.
fn kept(user_agent: &str) -> String {
    user_agent
        .chars()
        .filter(|character| !character.is_control())
        .take(LONGEST_USER_AGENT)
        .collect()
}

fn life<C>(token: &Verified<C>, now: Duration) -> Life {
    Life {
        age: now.saturating_sub(Duration::from_secs(token.issued_at())),
        length: Duration::from_secs(token.expires_at().saturating_sub(token.issued_at())),
    }
}

fn has_room<C>(token: &Verified<C>, lifetimes: Lifetimes, now: Duration) -> bool {
    let Some(logged_in_at) = token.logged_in_at() else { return false };
    due::has_room(Duration::from_secs(logged_in_at), life(token, now).length, lifetimes, now)
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal")
            .field("thresholds", &self.shared.thresholds)
            .field("header", &self.shared.header)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Renewal`].
///
/// A token is due by [its age](RenewalBuilder::after_age), [the share of its
/// life](RenewalBuilder::after_share) that is over, or [how often it was
/// presented](RenewalBuilder::after_requests), whichever comes first of those that are set. If none
/// is, by half of its life.
pub struct RenewalBuilder {
    renew: Box<dyn DynRenew>,
    thresholds: Thresholds,
    header: HeaderName,
    client_ip: Option<Arc<ClientIp>>,
    same_ip: bool,
    same_user_agent: bool,
    revokes: bool,
    at_most: usize,
    time_limit: Duration,
    remembered: usize,
}

impl RenewalBuilder {
    /// Due when it is this old.
    #[must_use]
    pub fn after_age(mut self, age: Duration) -> Self {
        self.thresholds.age = Some(age);
        self
    }

    /// Due when so many percent of its life are over.
    #[must_use]
    pub fn after_share(mut self, percent: u32) -> Self {
        self.thresholds.share = Some(percent);
        self
    }

    /// Due when it was presented so often to this instance. The count of a token that was
    /// [forgotten](RenewalBuilder::remembered) begins anew.
    #[must_use]
    pub fn after_requests(mut self, requests: NonZeroU32) -> Self {
        self.thresholds.requests = Some(requests);
        self
    }

    /// Not due as long as it is younger than this, whatever else says so: once a day, for instance.
    #[must_use]
    pub fn at_most_every(mut self, interval: Duration) -> Self {
        self.thresholds.interval = interval;
        self
    }

    /// Revokes the token that is renewed, in the same transaction, if it is still valid. (One that has
    /// expired is renewed before anybody knows whether its successor can be handed out.)
    ///
    /// Requests that carry it meanwhile, from other tabs, are refused with the demand to refresh; and
    /// so is a client that has lost the answer with the successor. Those need a refresh token.
    #[must_use]
    pub fn revoke_previous(mut self) -> Self {
        self.revokes = true;
        self
    }

    /// The header that the successor is returned in; `X-JWT` by default.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = name;
        self
    }

    /// How to tell a client's address from a request's headers and extensions. Behind a proxy, read
    /// the header that the proxy writes, and no other: clients write the rest themselves.
    #[must_use]
    pub fn client_ip(
        mut self,
        client_ip: impl Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client_ip = Some(Arc::new(client_ip));
        self
    }

    /// Renews only for the address that the session was logged in or refreshed from last. An
    /// address that is not known is another one. Needs [`client_ip`](RenewalBuilder::client_ip).
    #[must_use]
    pub fn require_same_ip(mut self) -> Self {
        self.same_ip = true;
        self
    }

    /// Renews only for the user agent that the session was logged in or refreshed with last.
    /// One that is not known is another one.
    #[must_use]
    pub fn require_same_user_agent(mut self) -> Self {
        self.same_user_agent = true;
        self
    }

    /// How many tokens are renewed at once; 64 by default.
    #[must_use]
    pub fn at_most(mut self, tokens: usize) -> Self {
        self.at_most = tokens;
        self
    }

    /// How long a renewal may take, and so by how much the answer to a request may be late; 2 seconds
    /// by default.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How many tokens are remembered, with their successors and counts; 4,096 by default. Each takes
    /// about the size of a token.
    #[must_use]
    pub fn remembered(mut self, tokens: usize) -> Self {
        self.remembered = tokens;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if the age is zero, or the time limit is zero or over a minute;
    /// [`ConfigError::Number`] if the share is not between 1 and 99 percent; [`ConfigError::Missing`]
    /// if no token may be renewed or remembered, or if the address has to be the same and nothing tells
    /// it.
    pub fn build(self) -> Result<Renewal, ConfigError> {
        let Thresholds { age, share, .. } = self.thresholds;
        if age == Some(Duration::ZERO) {
            let (field, problem) = ("after_age", "is zero");
            return Err(ConfigError::Duration { field, value: Duration::ZERO, problem });
        }
        if let Some(value) = share.filter(|percent| !(1..100).contains(percent)) {
            let (field, problem) = ("after_share", "is not between 1 and 99 percent");
            return Err(ConfigError::Number { field, value: value.into(), problem });
        }
        for (field, count) in [("at_most", self.at_most), ("remembered", self.remembered)] {
            if count == 0 {
                return Err(ConfigError::Missing { field });
            }
        }
        if self.at_most > Semaphore::MAX_PERMITS {
            let (field, value) = ("at_most", self.at_most as u64);
            return Err(ConfigError::Number { field, value, problem: "is over all bounds" });
        }
        if self.same_ip && self.client_ip.is_none() {
            return Err(ConfigError::Missing { field: "client_ip" });
        }
        let refuse = |problem| {
            Err(ConfigError::Duration { field: "time_limit", value: self.time_limit, problem })
        };
        if self.time_limit.is_zero() {
            return refuse("is zero");
        }
        if self.time_limit > Duration::from_secs(60) {
            return refuse("is over a minute");
        }
        Ok(self.with_checked_settings())
    }

    fn with_checked_settings(self) -> Renewal {
        let mut thresholds = self.thresholds;
        if !thresholds.are_set() {
            thresholds.share = Some(50);
        }
        let attempts = Arc::new(Attempts {
            renew: self.renew,
            time_limit: self.time_limit,
            thresholds,
            room: Arc::new(Semaphore::new(self.at_most)),
            recent: Cache::new(self.remembered),
        });
        Renewal {
            shared: Arc::new(Shared {
                attempts,
                thresholds,
                header: self.header,
                client_ip: self.client_ip,
                same_ip: self.same_ip,
                same_user_agent: self.same_user_agent,
                revokes: self.revokes,
            }),
        }
    }
}

impl fmt::Debug for RenewalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewalBuilder")
            .field("thresholds", &self.thresholds)
            .field("header", &self.header)
            .field("at_most", &self.at_most)
            .field("time_limit", &self.time_limit)
            .field("remembered", &self.remembered)
            .finish_non_exhaustive()
    }
}
