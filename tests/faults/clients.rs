//! The clients: they ask the servers over HTTP, and write down what they saw.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_revocation::Demand;

use crate::{
    fleet::Fleet,
    history::{
        Answer, Check, History, Moment, Outcome, Refresh, RefusedLogin, Revocation, Scope, Token,
    },
};

/// How long a client waits for a check. It needs no database, so no fault excuses a longer wait.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// How long a client waits for what needs the database.
pub(crate) const STORE_LIMIT: Duration = Duration::from_millis(1_000);

/// The users of the demonstration server: name, password, groups. The tests give alice hers.
pub(crate) const ALICE: User = User { name: "alice", password: "wonderland", group: "team" };
pub(crate) const BOB: User = User { name: "bob", password: "builder", group: "admin" };

#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    password: &'static str,
    pub(crate) group: &'static str,
}

/// All clients. A handle, cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) fleet: Arc<Fleet>,
    http: Client,
    began: Instant,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen, and what is held.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) history: History,
    pairs: Vec<Pair>,
    /// The tokens that are checked all the time.
    pub(crate) watched: Vec<usize>,
    /// How many revocations were counted.
    pub(crate) judged: usize,
}

#[derive(Clone)]
struct Pair {
    access: String,
    refresh: String,
}

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    Stored,
    Unknown,
    /// The layer refused the caller: nothing was asked of the store.
    NotAsked,
}

impl Clients {
    pub(crate) fn new(fleet: Fleet) -> Self {
        let http = Client::builder().user_agent("faults").build().unwrap();
        Self { fleet: Arc::new(fleet), http, began: Instant::now(), seen: Arc::default() }
    }

    pub(crate) fn now(&self) -> Moment {
        self.began.elapsed()
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session: its token, if there is one.
    pub(crate) async fn login(&self, instance: usize, user: User) -> Option<usize> {
        let url = format!("{}/login", self.fleet.base(instance));
        let credentials = json!({ "username": user.name, "password": user.password });
        let called = self.now();
        let answer = answered(self.http.post(url).json(&credentials), STORE_LIMIT).await;
        let returned = self.now();
        match answer {
            (Answer::Accepted, body) => Some(self.minted(&body, called, returned)),
            (Answer::Unavailable | Answer::Nothing, _) => None,
            (answer, _) => {
                let (user, groups) = (user.name.to_owned(), vec![user.group.to_owned()]);
                let login = RefusedLogin { user, groups, called, returned, answer };
                self.seen().history.refused_logins.push(login);
                None
            }
        }
    }

    /// The next token of the session of `token`, if there is one.
    pub(crate) async fn refresh(&self, instance: usize, token: usize) -> Option<usize> {
        let url = format!("{}/oauth/token", self.fleet.base(instance));
        let refresh = self.seen().pairs[token].refresh.clone();
        let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh)];
        let called = self.now();
        let (answer, body) = answered(self.http.post(url).form(&form), STORE_LIMIT).await;
        let returned = self.now();
        let next = (answer == Answer::Accepted).then(|| self.minted(&body, called, returned));
        let refresh = Refresh { token, called, returned, answer };
        self.seen().history.refreshes.push(refresh);
        next
    }

    /// Whether the last refresh after `token` was refused.
    pub(crate) fn is_over(&self, token: usize) -> bool {
        let seen = self.seen();
        let last = seen.history.refreshes.iter().rev().find(|refresh| refresh.token == token);
        last.is_some_and(|refresh| matches!(refresh.answer, Answer::Refused(_)))
    }

    /// What `instance` says to a request with `token`.
    pub(crate) async fn check(&self, instance: usize, token: usize) -> Answer {
        let url = format!("{}/me", self.fleet.base(instance));
        let access = self.seen().pairs[token].access.clone();
        let called = self.now();
        let request = self.http.get(url).bearer_auth(access);
        let (answer, _) = answered(request, CHECK_LIMIT).await;
        let returned = self.now();
        let check = Check { token, instance, called, returned, answer: answer.clone() };
        self.seen().history.checks.push(check);
        answer
    }

    /// Revokes at `instance`, as the administrator whose token is `admin`.
    pub(crate) async fn revoke(
        &self,
        instance: usize,
        admin: usize,
        scope: &Scope,
        demand: Demand,
    ) -> Revoked {
        let url = format!("{}/admin/revoke", self.fleet.base(instance));
        let access = self.seen().pairs[admin].access.clone();
        let (kind, subject) = scope.words();
        let order = json!({ "scope": kind, "subject": subject, "demand": demand.as_str() });
        let called = self.now();
        let request = self.http.post(url).bearer_auth(access).json(&order);
        let (answer, body) = answered(request, STORE_LIMIT).await;
        let returned = self.now();
        let outcome = match answer {
            Answer::Accepted => Outcome::Stored(body["revoked_before"].as_u64().unwrap()),
            // The layer's own problems: no more than a check of the administrator's token.
            _ if told(&body, "type").starts_with("urn:tower-revocation:problem:") => {
                let check = Check { token: admin, instance, called, returned, answer };
                self.seen().history.checks.push(check);
                return Revoked::NotAsked;
            }
            _ => Outcome::Unknown(None),
        };
        let scope = scope.clone();
        let revocation = Revocation { scope, demand, called, returned, outcome };
        self.seen().history.revocations.push(revocation);
        if let Outcome::Stored(_) = outcome { Revoked::Stored } else { Revoked::Unknown }
    }

    /// Puts alice into her group. Before anything is recorded.
    pub(crate) async fn give_alice_her_group(&self) {
        let admin = self.login(0, BOB).await.expect("bob logs in");
        let access = self.seen().pairs[admin].access.clone();
        let url = format!("{}/admin/users/alice/groups", self.fleet.base(0));
        let groups = self.http.put(url).bearer_auth(access).json(&[ALICE.group]);
        assert_eq!(groups.send().await.unwrap().status(), StatusCode::NO_CONTENT);
        *self.seen() = Seen::default();
    }

    /// Keeps the tokens of an answer.
    fn minted(&self, body: &Value, called: Moment, returned: Moment) -> usize {
        let access = told(body, "access_token").to_owned();
        let refresh = told(body, "refresh_token").to_owned();
        let payload = access.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let groups = claims["groups"].as_array().into_iter().flatten();
        let token = Token {
            user: told(&claims, "sub").to_owned(),
            session: told(&claims, "sid").to_owned(),
            groups: groups.map(|group| group.as_str().unwrap().to_owned()).collect(),
            stamp: claims["rvs"].as_u64().unwrap(),
            called,
            returned,
        };
        let mut seen = self.seen();
        seen.pairs.push(Pair { access, refresh });
        seen.history.tokens.push(token);
        seen.pairs.len() - 1
    }
}

/// What an answer means, and its body.
async fn answered(request: RequestBuilder, limit: Duration) -> (Answer, Value) {
    let Ok(response) = request.timeout(limit).send().await else {
        return (Answer::Nothing, Value::Null);
    };
    let status = response.status();
    // Cut short: the status alone is no answer.
    let Ok(text) = response.text().await else { return (Answer::Nothing, Value::Null) };
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let refused = || {
        let reason = [told(&body, "type"), told(&body, "error")].concat();
        Answer::Refused(reason)
    };
    let answer = match status {
        StatusCode::OK => Answer::Accepted,
        StatusCode::UNAUTHORIZED => refused(),
        StatusCode::BAD_REQUEST if body["error"] == "invalid_grant" => refused(),
        StatusCode::SERVICE_UNAVAILABLE => Answer::Unavailable,
        strange => Answer::Strange(strange.as_u16(), text),
    };
    (answer, body)
}

fn told<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member].as_str().unwrap_or_default()
}
