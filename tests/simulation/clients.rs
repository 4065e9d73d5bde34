//! What clients do, and what they make of the answers.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tower_revocation::{
    Demand, EpochStore, Id, Revocation, Scope,
    cutoff::Receipt,
    error::{Error, ErrorKind},
    session::TokenPair,
    store::Enforcement,
};

use crate::{
    coverage::Operation,
    facts::Facts,
    instance::{Instance, grant},
    laws::{self, Law, Violation},
    plan::{End, lifetimes},
    world::World,
};

/// Somebody with a session.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) user: Id,
    pub(crate) session: Id,
    /// The places of their access tokens among the facts, newest last.
    pub(crate) tokens: Vec<usize>,
    /// Their refresh tokens, newest last.
    refresh: Vec<String>,
    /// A refresh is under way. One that was given up may still be.
    busy: bool,
    gave_up: bool,
}

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a login starts over.
const ATTEMPTS: usize = 3;

pub(crate) async fn login(instance: Arc<Instance>, user: Id, think: u64) {
    let Instance { world, number, boot, issuer, .. } = &*instance;
    let _underway = world.begin(Operation::Login, *number);
    let think = Duration::from_millis(think);
    let attempt = async || {
        world.running(*number, *boot).await;
        let ticket = issuer.ticket().await?;
        sleep(think / 2).await;
        let grant = grant(world.clone(), *number, *boot, user.clone(), think / 2).await?;
        issuer.login(ticket, grant).await
    };
    let all = async {
        for _ in 1..ATTEMPTS {
            match attempt().await {
                Err(error) if error.kind() == ErrorKind::RevokedMeanwhile(Demand::Refresh) => {}
                done => return done,
            }
        }
        attempt().await
    };
    let done = timeout(PATIENCE, all).await;
    match done {
        Ok(Ok(pair)) => {
            let token = received(world, pair.access().as_str());
            let client = Client {
                user,
                session: pair.access().session().clone(),
                tokens: vec![token],
                refresh: vec![pair.refresh().as_str().to_owned()],
                busy: false,
                gave_up: false,
            };
            world.note(|_| format!("login of {} at {number}: token {token}", client.user.as_str()));
            world.inner().clients.push(client);
        }
        other => {
            world.note(|_| format!("login of {} at {number}: {}", user.as_str(), told(&other)))
        }
    }
}

/// With the current refresh token, or for a thief with one from before.
pub(crate) async fn refresh(instance: Arc<Instance>, client: usize, back: usize, think: u64) {
    let Instance { world, number, boot, issuer, .. } = &*instance;
    let Some((refresh_token, is_clients)) = begin_refresh(world, client, back) else { return };
    let _underway = world.begin(Operation::Refresh, *number);
    let mut attempt = Attempt { world, client: is_clients.then_some(client) };
    let think = Duration::from_millis(think);
    let work = async {
        world.running(*number, *boot).await;
        let claims = |user| grant(world.clone(), *number, *boot, user, think);
        issuer.refresh(&refresh_token, claims).await
    };
    let done = timeout(PATIENCE, work).await;
    if done.is_ok() {
        attempt.ended();
    }
    if let Ok(Ok(pair)) = &done {
        got(world, client, pair, Some(&refresh_token).filter(|_| is_clients));
    }
    world.note(|_| format!("refresh of client {client} at {number}, {back} back: {}", told(&done)));
    if let Ok(Err(error)) = &done
        && let ErrorKind::RefreshTokenReused(_) = error.kind()
        && is_clients
    {
        let inner = world.inner();
        let excused = inner.clients[client].gave_up || !inner.facts.went_back.is_empty();
        drop(inner);
        if !excused {
            let story = format!("client {client} presented its current token, and is a thief");
            world.hold(Err(Violation { law: Law::FalseLogout, story }));
        }
    }
}

/// The refresh token to present, and whether it is the client itself that does.
fn begin_refresh(world: &World, client: usize, back: usize) -> Option<(String, bool)> {
    let client = &mut world.inner().clients[client];
    let current = client.refresh.len() - 1;
    let presented = client.refresh[current - back.min(current)].clone();
    if back > 0 && current > 0 {
        return Some((presented, false));
    }
    if client.busy {
        return None;
    }
    client.busy = true;
    Some((presented, true))
}

/// A refresh by a client itself. It was given up if this is dropped before it has ended.
struct Attempt<'w> {
    world: &'w World,
    client: Option<usize>,
}

impl Attempt<'_> {
    fn ended(&mut self) {
        if let Some(client) = self.client.take() {
            self.world.inner().clients[client].busy = false;
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let client = &mut self.world.inner().clients[client];
            (client.busy, client.gave_up) = (false, true);
        }
    }
}

/// A client, or a thief, has got a pair for the refresh token it presented.
fn got(world: &World, client: usize, pair: &TokenPair, presented: Option<&String>) {
    let token = received(world, pair.access().as_str());
    let client = &mut world.inner().clients[client];
    if presented.is_some_and(|presented| client.refresh.last() == Some(presented)) {
        client.refresh.push(pair.refresh().as_str().to_owned());
    }
    client.tokens.push(token);
}

/// Somebody has got an access token.
fn received(world: &World, text: &str) -> usize {
    let (token, held) = {
        let facts = &mut world.inner().facts;
        let token = facts.token(text);
        (token, laws::received(facts, &facts.tokens[token]))
    };
    world.hold(held);
    token
}

/// A request with an access token.
pub(crate) async fn request(instance: Arc<Instance>, client: usize, token: usize) {
    let Instance { world, number, boot, .. } = &*instance;
    let _underway = world.begin(Operation::Check, *number);
    world.running(*number, *boot).await;
    let called = world.moment();
    let bound = instance.request_bound();
    let text = world.inner().facts.tokens[token].text.clone();
    let Ok(answer) = timeout(PATIENCE, instance.request(&text)).await else {
        world.note(|_| format!("request with token {token} at {number}: no answer"));
        return;
    };
    let by = instance.answerer(bound);
    let successor = answer.successor.map(|successor| {
        let known = world.inner().facts.tokens.iter().position(|token| token.text == successor);
        known.unwrap_or_else(|| received(world, &successor))
    });
    if let Some(successor) = successor
        && !world.inner().clients[client].tokens.contains(&successor)
    {
        world.inner().clients[client].tokens.push(successor);
    }
    world.note(|_| {
        let accepted = if answer.seen.is_some() { "accepted" } else { &answer.reason };
        format!("request with token {token} at {number}: {accepted}, {successor:?}")
    });
    let held = {
        let facts = &world.inner().facts;
        match &answer.seen {
            Some(seen) => {
                let seen = facts.tokens.iter().find(|token| {
                    token
                        .scopes
                        .iter()
                        .any(|it| matches!(it, Scope::Token(id) if id.as_str() == seen))
                });
                seen.map_or(Ok(()), |seen| laws::accepted(facts, seen, called, by))
            }
            None => refused(world, facts, token, &answer.reason, *number),
        }
    };
    world.hold(held);
}

/// Whether an instance may refuse `token` for `reason`.
pub(crate) fn refused(
    world: &World,
    facts: &Facts,
    token: usize,
    reason: &str,
    instance: usize,
) -> laws::Held {
    let token = &facts.tokens[token];
    let range = world.database.range();
    let latest = world.latest();
    match reason {
        // A successor may be in other groups, and is judged as well.
        "revoked" if latest >= Duration::from_secs(token.expires_at) => Ok(()),
        // It does not know whose the revocations were that the database has forgotten.
        "revoked" if world.setup.buckets[instance].is_some() && !facts.went_back.is_empty() => {
            Ok(())
        }
        "revoked" => laws::revoked(facts, token, instance, range),
        "expired" => laws::expired(token, instance, latest, lifetimes().leeway()),
        "issued_in_future" if range > Duration::ZERO => Ok(()),
        "issued_in_future" if world.machines[instance].blind() > Duration::ZERO => Ok(()),
        // Where the store has said so, that was held against the laws.
        "session_ended" | "stale" | "unconfirmed" | "not_loaded" | "not_renewed" | "doubtful" => {
            Ok(())
        }
        _ => Err(Violation {
            law: Law::NotUnavailable,
            story: format!("instance {instance} says {reason}"),
        }),
    }
}

pub(crate) async fn revoke(
    instance: Arc<Instance>,
    scope: Scope,
    demand: Demand,
    waits: Option<u64>,
) {
    let Instance { world, number, boot, remote, .. } = &*instance;
    let underway = world.begin(Operation::Revocation, *number);
    world.running(*number, *boot).await;
    let revocation = Revocation::new(scope.clone(), demand);
    let done = timeout(PATIENCE, remote.revoke_noted(revocation)).await;
    world.note(|facts| {
        format!("revocation of {} ({demand}) at {number}: {}", facts.name(&scope), told(&done))
    });
    drop(underway);
    if let (Ok(Ok((index, receipt))), Some(waits)) = (done, waits) {
        enforced_everywhere(&instance, index, receipt, waits).await;
    }
}

/// Waits until a revocation, by its place among the facts, is enforced everywhere.
async fn enforced_everywhere(instance: &Instance, index: usize, receipt: Receipt, waits: u64) {
    let Instance { world, number, remote, .. } = instance;
    let _underway = world.begin(Operation::Receipt, *number);
    let done = receipt.enforced_everywhere(remote, Duration::from_millis(waits)).await;
    if done.as_ref().is_ok_and(Enforcement::is_everywhere) {
        world.enforced(index);
    }
    world.note(|facts| {
        let told = match &done {
            Ok(enforcement) if enforcement.is_everywhere() => "everywhere".to_owned(),
            Ok(enforcement) => format!("not by {}", enforcement.unacknowledged().count()),
            Err(error) => format!("{:?}", error.kind()),
        };
        format!("that of {} is enforced: {told}", facts.name(&facts.revocations[index].scope))
    });
}

/// A revocation in a transaction that is open for some time.
pub(crate) async fn transaction(
    instance: Arc<Instance>,
    scope: Scope,
    demand: Demand,
    open: u64,
    end: End,
    waits: Option<u64>,
) {
    let Instance { world, number, boot, remote, .. } = &*instance;
    let underway = world.begin(Operation::Transaction, *number);
    world.running(*number, *boot).await;
    let revocation = Revocation::new(scope.clone(), demand);
    sleep(Duration::from_millis(open)).await;
    world.running(*number, *boot).await;
    let (called, mut index) = (scope.clone(), None);
    let requested = remote.call(
        |store| async move {
            let mut transaction = store.begin();
            let requested = store.revoke_in(&mut transaction, revocation).await?;
            if end != End::RolledBack {
                transaction.commit();
            }
            Ok(requested)
        },
        |world, requested| {
            if requested.is_ok() && end != End::RolledBack {
                let called = world.call(&called, demand, None);
                world.requested(called);
                index = Some(called);
            }
        },
    );
    let done = timeout(PATIENCE, requested).await;
    world.note(|facts| {
        format!(
            "transaction on {} ({demand}, {end:?}) at {number}: {}",
            facts.name(&scope),
            told(&done)
        )
    });
    if let (Ok(Ok(requested)), Some(index), End::Sealed) = (done, index, end) {
        let generation = world.generation();
        let sealed = remote.call(|_| async move { requested.sealed().await }, |_, _| {});
        let done = timeout(PATIENCE, sealed).await;
        world.note(|facts| format!("sealing that of {}: {}", facts.name(&scope), told(&done)));
        drop(underway);
        // By the database that it was requested in.
        if let (Ok(Ok(receipt)), true) = (done, world.generation() == generation) {
            world.returned(index);
            if let Some(waits) = waits {
                enforced_everywhere(&instance, index, receipt, waits).await;
            }
        }
    }
}

/// "All others but me": the session is spared, and gets its next pair.
pub(crate) async fn others(instance: Arc<Instance>, client: usize) {
    let Instance { world, number, boot, remote, issuer, .. } = &*instance;
    let (user, session, presented) = {
        let client = &mut world.inner().clients[client];
        if client.busy {
            return;
        }
        client.busy = true;
        let presented = client.refresh.last().cloned();
        (client.user.clone(), client.session.clone(), presented)
    };
    let _underway = world.begin(Operation::Others, *number);
    let mut attempt = Attempt { world, client: Some(client) };
    world.running(*number, *boot).await;
    let revocation =
        Revocation::new(Scope::User(user.clone()), Demand::Login).asked_by(session.clone());
    let work = async {
        remote.revoke(revocation).await?;
        let claims = |user| grant(world.clone(), *number, *boot, user, Duration::ZERO);
        issuer.reissue(user, session, claims).await
    };
    let done = timeout(PATIENCE, work).await;
    if done.is_ok() {
        attempt.ended();
    }
    if let Ok(Ok(pair)) = &done {
        got(world, client, pair, presented.as_ref());
    }
    world.note(|_| format!("all others but client {client} at {number}: {}", told(&done)));
}

pub(crate) async fn purge(instance: Arc<Instance>) {
    let Instance { world, number, boot, remote, .. } = &*instance;
    world.running(*number, *boot).await;
    let done = timeout(PATIENCE, remote.purge(lifetimes())).await;
    world.note(|_| format!("purge at {number}: {}", told(&done)));
}

/// What the history says of an outcome; no more than is the same each time.
fn told<T, E>(done: &Result<Result<T, Error>, E>) -> String {
    match done {
        Ok(Ok(_)) => "done".to_owned(),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::RefreshTokenReused(_) => "reused".to_owned(),
            kind => format!("{kind:?}"),
        },
        Err(_) => "no answer".to_owned(),
    }
}
