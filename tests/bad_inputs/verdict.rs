//! The epochs' word on a good token: revoked, stale, not loaded, or let through.

use std::time::Duration;

use tower_revocation::{
    Rejection, Verifier,
    cutoff::{CutOff, Demand, Revoked, StoreTime},
    epochs::Epochs,
    scope::{Scope, ScopeKind},
    token::Algorithm,
    verify::IssuerRules,
};

use crate::support::*;

const IAT: u64 = (NOW - 10) * 1_000_000;

fn usual() -> IssuerRules {
    rules(Algorithm::EdDSA)
}

fn on(epochs: &Epochs, rules: IssuerRules) -> Verifier {
    Verifier::builder(epochs.clone()).issuer(rules).build().unwrap()
}

fn revoke(epochs: &Epochs, scope: &Scope, at: u64, demand: Demand) {
    let at = StoreTime::from_micros(at);
    epochs.raise(scope, CutOff::at(at, demand));
}

fn scopes(prefix: &str) -> Vec<Scope> {
    vec![
        Scope::Everyone,
        Scope::user(&format!("{prefix}alice")).unwrap(),
        Scope::session(&format!("{prefix}s1")).unwrap(),
        Scope::token(&format!("{prefix}t1")).unwrap(),
        Scope::group(&format!("{prefix}admins")).unwrap(),
        Scope::group(&format!("{prefix}tenant-7")).unwrap(),
    ]
}

#[test]
fn every_scope_of_a_token_revokes_it() {
    for prefix in ["", "id:"] {
        for scope in scopes(prefix) {
            for demand in [Demand::Refresh, Demand::Login] {
                let (epochs, _) = epochs();
                let verifier = on(&epochs, usual().subject_prefix(prefix));
                // The stamp of a foreign token is the start of its second.
                revoke(&epochs, &scope, IAT - 1, demand);
                assert_eq!(check(&verifier, good(&payload())).err(), None, "{scope:?}");
                revoke(&epochs, &scope, IAT, demand);
                let expected = Revoked {
                    demand,
                    scope: Some(scope.kind()),
                    revoked_before: StoreTime::from_micros(IAT),
                };
                let refused = check(&verifier, good(&payload())).err();
                assert_eq!(refused, Some(Rejection::Revoked(expected)), "{scope:?}");
            }
        }
    }
}

#[test]
fn namesakes_of_another_issuer_stay() {
    let (epochs, _) = epochs();
    let verifier = on(&epochs, usual().subject_prefix("id:"));
    for scope in scopes("").into_iter().chain(scopes("other:")) {
        if scope != Scope::Everyone {
            revoke(&epochs, &scope, IAT + 1, Demand::Login);
        }
    }
    assert_eq!(check(&verifier, good(&payload())).err(), None);
}

#[test]
fn the_scopes_of_the_proof_are_those_that_revoke_it() {
    let (epochs, _) = epochs();
    let verified = check(&on(&epochs, usual().subject_prefix("id:")), good(&payload())).unwrap();
    let mut expected = scopes("id:");
    expected.retain(|scope| scope.kind() != ScopeKind::Everyone);
    assert_eq!(verified.scopes(), expected);
}

#[test]
fn our_own_tokens_are_judged_by_rvs_alone() {
    let (epochs, _) = epochs();
    let verifier = on(&epochs, usual().store_time());
    let user = Scope::user("alice").unwrap();
    revoke(&epochs, &user, 5_000, Demand::Login);
    let refused = |rvs: u64| check(&verifier, good(&payload().set("rvs", rvs))).err();
    assert!(matches!(refused(0), Some(Rejection::Revoked(_))));
    assert!(matches!(refused(5_000), Some(Rejection::Revoked(_))));
    assert_eq!(refused(5_001), None);
    // Minted after a revocation that has not arrived here: no error.
    assert_eq!(refused(IAT * 2), None);
}

#[test]
fn a_skew_moves_the_stamp_back() {
    let (epochs, _) = epochs();
    let skewed = on(&epochs, usual().issue_skew(Duration::from_secs(2)));
    revoke(&epochs, &Scope::Everyone, IAT - 2_000_000, Demand::Login);
    assert!(matches!(check(&skewed, good(&payload())), Err(Rejection::Revoked(_))));
    assert_eq!(check(&on(&epochs, usual()), good(&payload())).err(), None);
}

#[test]
fn nothing_is_said_before_the_first_load() {
    let (epochs, _) = unloaded();
    let verifier = on(&epochs, usual());
    assert_eq!(check(&verifier, good(&payload())).err(), Some(Rejection::NotLoaded));
    // What needs no epochs is said all the same.
    let forged = format!("{}x", good(&payload()));
    assert!(matches!(check(&verifier, forged), Err(Rejection::Malformed(_))));
    load(&epochs);
    assert_eq!(check(&verifier, good(&payload())).err(), None);
}

#[test]
fn a_stale_copy_says_ask_again_even_of_a_revoked_token() {
    let (epochs, hand) = epochs();
    let verifier = on(&epochs, usual());
    revoke(&epochs, &Scope::Everyone, IAT, Demand::Login);
    hand.advance(Duration::from_secs(10));
    assert!(matches!(check(&verifier, good(&payload())), Err(Rejection::Revoked(_))));
    hand.advance(Duration::from_millis(1));
    let stale = Rejection::Stale { age: Duration::from_millis(10_001) };
    assert_eq!(check(&verifier, good(&payload())).err(), Some(stale));
    assert!(stale.is_unavailable());
    load(&epochs);
    assert!(matches!(check(&verifier, good(&payload())), Err(Rejection::Revoked(_))));
}

#[test]
fn a_stale_copy_says_ask_again_even_of_an_expired_token() {
    let (epochs, hand) = epochs();
    let verifier = on(&epochs, usual());
    hand.advance(Duration::from_secs(605));
    let stale = Rejection::Stale { age: Duration::from_secs(605) };
    assert_eq!(check(&verifier, good(&payload())).err(), Some(stale));
    load(&epochs);
    assert_eq!(check(&verifier, good(&payload())).err(), Some(Rejection::Expired));
}

#[test]
fn a_token_minted_while_this_machine_slept_is_not_from_the_future() {
    let (epochs, hand) = epochs();
    let verifier = on(&epochs, usual());
    let minted_meanwhile = good(&payload().set("iat", NOW + 8).set("exp", NOW + 600));
    // By the wall clock it is a fresh copy, eight seconds old; the monotonic one stood still.
    hand.suspend(Duration::from_secs(8));
    assert!(check(&verifier, minted_meanwhile).is_ok());
}

#[test]
fn a_suspended_machine_is_stale() {
    let (epochs, hand) = epochs();
    hand.suspend(Duration::from_secs(11));
    let refused = check(&on(&epochs, usual()), good(&payload())).err();
    assert_eq!(refused, Some(Rejection::Stale { age: Duration::from_secs(11) }));
}
