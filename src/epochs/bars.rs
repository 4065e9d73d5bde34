//! A copy in buckets, with a store to ask, against an exact one: the same answers, in fixed memory
//! and for few questions. Time is a number.

use std::{collections::HashMap, mem::size_of, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Epochs, Synced, Verdict};
use crate::{
    clock::Clock,
    cutoff::{CutOff, Demand, Stamp, StoreTime},
    scope::Scope,
};

const USERS: u32 = 10_000_000;
const BUCKETS: u32 = 4_096;

/// The life of an access token, in seconds.
const LIFE: u64 = 15 * 60;

/// A copy in buckets, and an exact one that is the store as well.
struct World {
    buckets: Epochs,
    exact: Epochs,
    newest: StoreTime,
}

/// What became of a request.
#[derive(Debug, PartialEq)]
struct Outcome {
    accepted: bool,
    asked: bool,
}

#[derive(Clone)]
struct Token {
    scopes: Vec<Scope>,
    stamp: Stamp,
}

impl World {
    fn new(buckets: u32) -> Self {
        let (clock, _) = Clock::manual(Duration::from_secs(1_800_000_000));
        let settings = Epochs::builder().clock(clock);
        let exact = settings.clone().build().expect("the defaults are fine");
        let buckets = settings.buckets(buckets).build().expect("so many are fine");
        let mut world = Self { buckets, exact, newest: StoreTime::ZERO };
        world.revoke(&Scope::user("the first of all").expect("an identifier"), 1_800_000_000);
        world
    }

    /// At the second `now`; both copies learn of it at once.
    fn revoke(&mut self, scope: &Scope, now: u64) {
        let next = self.newest.next().expect("store time is long");
        self.newest = next.max(StoreTime::from_micros(now * 1_000_000));
        let cut_off = CutOff::at(self.newest, Demand::Login);
        for epochs in [&self.buckets, &self.exact] {
            epochs.raise(scope, cut_off);
            let at = epochs.clock().now();
            let (store_clock, head) = (at.wall, self.newest);
            epochs.synced(Synced { asked_at: at, answered_at: at, store_clock, head });
        }
    }

    fn mint(&self, scopes: Vec<Scope>) -> Token {
        Token { scopes, stamp: Stamp::after(self.newest) }
    }

    /// A request, as a layer with `confirm_doubtful` handles it.
    fn request(&self, token: &Token) -> Outcome {
        let refs = || token.scopes.iter().map(Scope::as_ref);
        match self.buckets.verdict_in(refs(), token.stamp) {
            Verdict::Good => Outcome { accepted: true, asked: false },
            Verdict::Revoked(_) => Outcome { accepted: false, asked: false },
            Verdict::Doubtful => {
                let accepted = self.stands(token);
                if accepted {
                    self.buckets.confirmed(refs(), token.stamp, self.newest);
                }
                Outcome { accepted, asked: true }
            }
        }
    }

    /// What an exact copy says, and the store.
    fn stands(&self, token: &Token) -> bool {
        self.exact.verdict(&token.scopes, token.stamp) == Verdict::Good
    }
}

fn user(number: u32) -> Scope {
    Scope::user(&format!("user-{number}")).expect("an identifier")
}

fn session(number: u32) -> Scope {
    Scope::session(&format!("session-{number}")).expect("an identifier")
}

fn scopes_of(number: u32) -> Vec<Scope> {
    let token = Scope::token(&format!("token-{number}")).expect("an identifier");
    vec![user(number), session(number), token]
}

#[test]
fn a_million_random_checks_agree_with_an_exact_copy() {
    let mut random = StdRng::seed_from_u64(1);
    // Crowded and roomy; the tokens are few, so that many of them are revoked.
    for (buckets, tokens) in [(1, 50), (16, 200), (BUCKETS, 2_000)] {
        let mut world = World::new(buckets);
        let mut all: Vec<Token> = (0..tokens).map(|user| world.mint(scopes_of(user))).collect();
        let (mut refused, mut asked) = (0, 0);
        for step in 0..334_000 {
            let at = random.random_range(0..all.len());
            match random.random_range(0..100) {
                0 => {
                    let scopes = &all[at].scopes;
                    world.revoke(&scopes[random.random_range(0..scopes.len())], 0);
                }
                1..4 => all[at] = world.mint(all[at].scopes.clone()),
                _ => {}
            }
            let outcome = world.request(&all[at]);
            assert_eq!(outcome.accepted, world.stands(&all[at]), "{buckets} {step}");
            refused += u32::from(!outcome.accepted);
            asked += u32::from(outcome.asked);
        }
        // It was tried.
        assert!(refused > 10_000 && asked > 10_000 && refused < 330_000, "{refused} {asked}");
    }
}

/// Tokens that live for a quarter of an hour and are used every few seconds, over an hour with one
/// logout a second among ten million users. Returns questions and requests.
fn an_hour(watched: u32, adopts: bool) -> (u32, u32) {
    let mut random = StdRng::seed_from_u64(2);
    let mut world = World::new(BUCKETS);
    let begin = 1_800_000_000;
    let mut tokens: Vec<(Token, u64)> =
        (0..watched).map(|user| (world.mint(scopes_of(user)), begin)).collect();
    // For each token since it was minted: questions, and logouts that fell into its buckets.
    let mut questions: HashMap<u32, u32> = HashMap::new();
    let mut logouts: HashMap<u32, u32> = HashMap::new();
    let (mut asked, mut requests) = (0, 0);
    for now in begin..begin + 3_600 {
        let gone = session(random.random_range(watched..USERS));
        let same = |scope: &Scope| world.buckets.cut_off(scope);
        let before: Vec<Vec<CutOff>> =
            tokens.iter().map(|(token, _)| token.scopes.iter().map(same).collect()).collect();
        world.revoke(&gone, now);
        for (number, (token, _)) in (0..).zip(&tokens) {
            let after = token.scopes.iter().map(|scope| world.buckets.cut_off(scope));
            let hit = after.zip(&before[number as usize]).any(|(after, before)| after != *before);
            *logouts.entry(number).or_default() += u32::from(hit);
        }
        for (number, (token, minted)) in (0..).zip(&mut tokens) {
            if now >= *minted + LIFE {
                (*token, *minted) = (world.mint(token.scopes.clone()), now);
                questions.remove(&number);
                logouts.remove(&number);
            }
            if random.random_range(0..3) > 0 {
                continue;
            }
            let outcome = world.request(token);
            requests += 1;
            assert!(outcome.accepted, "nobody of them was revoked");
            if outcome.asked {
                asked += 1;
                *questions.entry(number).or_default() += 1;
                if adopts {
                    token.stamp = Stamp::after(world.newest);
                }
            }
            let questions = questions.get(&number).copied().unwrap_or_default();
            assert!(questions <= logouts.get(&number).copied().unwrap_or_default());
        }
    }
    (asked, requests)
}

#[test]
fn a_token_is_asked_about_at_most_once_for_each_logout_in_its_buckets() {
    for adopts in [false, true] {
        let (asked, requests) = an_hour(100, adopts);
        // A logout hits one of a token's three buckets once in 1,365: 3,600 logouts, 100 tokens.
        assert!((100..400).contains(&asked), "{asked} of {requests}");
        assert!(requests > 100_000);
    }
}

#[test]
fn buckets_take_under_a_mebibyte_whoever_is_revoked() {
    let copy = super::buckets::Buckets::bytes(BUCKETS);
    assert!(copy + size_of::<Epochs>() < 1 << 20, "{copy}");
    // As the documentation says.
    assert!(copy <= 208 * BUCKETS as usize + 512, "{copy}");
}
