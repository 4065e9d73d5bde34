//! What has really happened: the simulation sees the moment at which the database executes something,
//! which nobody in the fleet does.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tower_revocation::{
    Demand, Id, Scope,
    cutoff::{Stamp, StoreTime},
    store::{Mint, Minted},
};

/// A moment: milliseconds from the start, and a number that orders what happens within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) order: u64,
    pub(crate) at: u64,
}

/// A revocation, from the call on.
#[derive(Clone, Debug)]
pub(crate) struct Revoked {
    pub(crate) scope: Scope,
    pub(crate) demand: Demand,
    pub(crate) spared: Option<Id>,
    pub(crate) called: Moment,
    /// When it was sealed, and with what cut-off.
    pub(crate) sealed: Option<(Moment, StoreTime)>,
    /// When the receipt was there.
    pub(crate) returned: Option<Moment>,
    /// When it was said to be enforced everywhere.
    pub(crate) enforced: Option<Moment>,
    /// The database was put back to before it.
    pub(crate) forgotten: bool,
    /// Sealed by a database that had gone back and not been advanced yet: its cut-off need not be
    /// above all stamps.
    pub(crate) behind: bool,
}

/// An access token that somebody holds.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Everyone's too.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) stamp: Stamp,
    pub(crate) expires_at: u64,
    /// When what it says was read.
    pub(crate) read: u64,
    /// Minted by a database that had gone back: its stamp need not be above all cut-offs.
    pub(crate) behind: bool,
}

/// A session, as the database knows it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: Id,
    pub(crate) began: Duration,
    pub(crate) refreshed_at: Duration,
    /// Those of its last token.
    pub(crate) groups: Vec<Id>,
    pub(crate) last_stamp: Stamp,
    /// By which revocation.
    pub(crate) ended: Option<usize>,
}

/// The database's part of the facts, which goes back with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) sessions: BTreeMap<Id, Session>,
    pub(crate) newest: StoreTime,
}

#[derive(Default)]
pub(crate) struct Facts {
    orders: u64,
    pub(crate) revocations: Vec<Revoked>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) remembered: Remembered,
    /// The highest cut-off there ever was.
    pub(crate) high: StoreTime,
    /// When the database was put back.
    pub(crate) went_back: Vec<Moment>,
    /// Sessions in the order of their logins: their names in the history.
    pub(crate) names: Vec<Id>,
    /// The session and stamp of each token that was minted by a database that had gone back.
    minted_behind: Vec<(Id, Stamp)>,
}

/// The claims that the simulation reads in a token.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    sid: String,
    jti: String,
    rvs: u64,
    exp: u64,
    groups: Vec<String>,
    read: u64,
}

impl Facts {
    pub(crate) fn moment(&mut self, at: u64) -> Moment {
        self.orders += 1;
        Moment { order: self.orders, at }
    }

    // ---- what the database does ----

    pub(crate) fn called(
        &mut self,
        scope: Scope,
        demand: Demand,
        spared: Option<Id>,
        at: u64,
    ) -> usize {
        let called = self.moment(at);
        self.revocations.push(Revoked {
            scope,
            demand,
            spared,
            called,
            sealed: None,
            returned: None,
            enforced: None,
            forgotten: false,
            behind: false,
        });
        self.revocations.len() - 1
    }

    pub(crate) fn sealed(&mut self, index: usize, cut_off: StoreTime, at: u64) {
        let sealed_at = self.moment(at);
        let revocation = &mut self.revocations[index];
        revocation.sealed = Some((sealed_at, cut_off));
        revocation.behind = cut_off <= self.high;
        self.high = self.high.max(cut_off);
        self.remembered.newest = self.remembered.newest.max(cut_off);
        let revocation = &self.revocations[index];
        if revocation.demand == Demand::Refresh {
            return;
        }
        for (sid, session) in &mut self.remembered.sessions {
            if session.ended.is_none()
                && session.is_in(&revocation.scope, sid)
                && session.last_stamp.as_micros() <= cut_off.as_micros()
            {
                if revocation.spared.as_ref() == Some(sid) {
                    session.last_stamp = Stamp::after(cut_off);
                } else {
                    session.ended = Some(index);
                }
            }
        }
    }

    /// The database minted for a session that begins or goes on.
    pub(crate) fn minted(&mut self, mint: &Mint, minted: &Minted) {
        if minted.stamp.as_micros() <= self.high.as_micros() {
            self.minted_behind.push((mint.sid.clone(), minted.stamp));
        }
        if !self.names.contains(&mint.sid) {
            self.names.push(mint.sid.clone());
        }
        let now = minted.issued_at;
        let session = self.remembered.sessions.entry(mint.sid.clone()).or_insert_with(|| Session {
            user: mint.user.clone(),
            began: now,
            refreshed_at: now,
            groups: Vec::new(),
            last_stamp: minted.stamp,
            ended: None,
        });
        // An answer that is given again does not move the idle limit.
        if minted.counted_at == now {
            session.refreshed_at = session.refreshed_at.max(now);
        }
        session.groups.clone_from(&mint.groups);
        session.last_stamp = session.last_stamp.max(minted.stamp);
    }

    /// The database was put back to what it was at `taken`, when it remembered that.
    pub(crate) fn go_back(&mut self, remembered: Remembered, taken: Moment, at: u64) {
        let now = self.moment(at);
        self.went_back.push(now);
        self.remembered = remembered;
        for revocation in &mut self.revocations {
            revocation.forgotten |= revocation.sealed.is_some_and(|(sealed, _)| sealed > taken);
        }
    }

    // ---- what clients get ----

    /// Reads a token that a client got. Returns its place.
    pub(crate) fn token(&mut self, text: &str) -> usize {
        let payload = text.split('.').nth(1).expect("a token has three segments");
        let payload = URL_SAFE_NO_PAD.decode(payload).expect("it is base64url");
        let claims: Claims = serde_json::from_slice(&payload).expect("the issuer wrote them");
        let id = |text: &str| Id::new(text).expect("the issuer checks identifiers");
        let (user, session) = (id(&claims.sub), id(&claims.sid));
        let mut scopes = vec![
            Scope::Everyone,
            Scope::User(user),
            Scope::Session(session.clone()),
            Scope::Token(id(&claims.jti)),
        ];
        scopes.extend(claims.groups.iter().map(|group| Scope::Group(id(group))));
        let stamp = Stamp::from_micros(claims.rvs);
        let behind = self.minted_behind.contains(&(session.clone(), stamp));
        self.tokens.push(Token {
            text: text.to_owned(),
            scopes,
            stamp,
            expires_at: claims.exp,
            read: claims.read,
            behind,
        });
        self.tokens.len() - 1
    }

    /// What the history calls a scope: ids are random.
    pub(crate) fn name(&self, scope: &Scope) -> String {
        match scope {
            Scope::Session(sid) => format!("session {}", self.session_name(sid)),
            Scope::Token(_) => {
                let token = self.tokens.iter().position(|token| token.scopes.contains(scope));
                format!("token {}", token.map_or(-1, |token| token as i64))
            }
            named => format!("{} {}", named.kind(), named.subject()),
        }
    }

    pub(crate) fn session_name(&self, sid: &Id) -> i64 {
        self.names.iter().position(|name| name == sid).map_or(-1, |name| name as i64)
    }
}

impl Session {
    /// Whether `scope` covers it, by the groups of its last token.
    pub(crate) fn is_in(&self, scope: &Scope, sid: &Id) -> bool {
        match scope {
            Scope::Everyone => true,
            Scope::Group(group) => self.groups.contains(group),
            Scope::User(user) => self.user == *user,
            Scope::Session(session) => session == sid,
            _ => false,
        }
    }
}

impl Revoked {
    /// Whether it covers `token`, beyond doubt: the token's stamp says so, or what it says was read
    /// before the call.
    pub(crate) fn must_cover(&self, token: &Token) -> bool {
        let Some((_, cut_off)) = self.sealed else { return false };
        let stamped = token.stamp.as_micros() <= cut_off.as_micros();
        let older = token.read < self.called.order && !self.behind;
        token.scopes.contains(&self.scope) && (stamped || older)
    }

    /// Whether it may be held against `token`.
    pub(crate) fn can_cover(&self, token: &Token) -> bool {
        self.sealed.is_some_and(|(_, cut_off)| {
            token.scopes.contains(&self.scope) && token.stamp.as_micros() <= cut_off.as_micros()
        })
    }
}
