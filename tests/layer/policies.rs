//! What a route asks of a token that is good.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::Empty;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_revocation::{
    Id,
    cutoff::StoreTime,
    epochs::Synced,
    error::ConfigError,
    layer::RevocationLayer,
    token::{Algorithm, KeySet, VerifyingKey},
    verify::{IssuerRules, Verifier},
};

use crate::{
    Picky,
    asking::{OK, Stale, UNAUTHORIZED, UNAVAILABLE, told},
    gate::{Gate, NOW, token_saying},
    problem,
};

const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn layer() -> RevocationLayer {
    RevocationLayer::new(Gate::open().verifier)
}

fn group(name: &str) -> Id {
    Id::new(name).unwrap()
}

/// The status, the challenge, and the problem, `Null` where the service answered.
async fn answer(layer: &RevocationLayer, claims: &Value) -> (StatusCode, String, Value) {
    let picky = Picky::default();
    let request = Request::get("/")
        .header(AUTHORIZATION, format!("Bearer {}", token_saying(claims)))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = layer.layer(picky.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    // Law 9.
    assert_eq!(picky.calls.load(Ordering::SeqCst), usize::from(status == OK));
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map_or("", |value| value.to_str().unwrap()).to_owned();
    let problem = if status == OK { Value::Null } else { problem(response).await };
    (status, challenge, problem)
}

/// `ok`, or the kind of the problem.
async fn kind(layer: &RevocationLayer, claims: Value) -> String {
    let (_, _, problem) = answer(layer, &claims).await;
    problem["type"].as_str().map_or("ok", |kind| kind.rsplit(':').next().unwrap()).to_owned()
}

// ---- permissions ----

#[tokio::test]
async fn a_missing_permission_is_forbidden_and_the_challenge_names_what_is_needed() {
    let layer = layer().require_permission("read").unwrap().require_permission("write").unwrap();
    let (status, challenge, problem) = answer(&layer, &json!({ "scope": "read" })).await;
    assert_eq!(status, FORBIDDEN);
    assert_eq!(
        challenge,
        "Bearer realm=\"api\", error=\"insufficient_scope\", error_description=\"the token does \
         not hold the permissions that this needs\", scope=\"read write\""
    );
    assert_eq!(problem["type"], "urn:tower-revocation:problem:insufficient-scope");
    assert_eq!(problem["status"], 403);
    // Neither a refresh nor a login helps.
    assert_eq!(problem.get("demand"), None);
}

#[tokio::test]
async fn all_permissions_are_needed_and_each_is_a_whole_word() {
    let layer = layer().require_permission("read").unwrap().require_permission("a:b").unwrap();
    for (scope, verdict) in [
        (json!("read a:b"), "ok"),
        (json!("write a:b openid read"), "ok"),
        (json!("read"), "insufficient-scope"),
        (json!("a:b"), "insufficient-scope"),
        (json!("reader a:b"), "insufficient-scope"),
        (json!("rea a:b"), "insufficient-scope"),
        (json!("READ a:b"), "insufficient-scope"),
        (json!("read,a:b"), "insufficient-scope"),
        (json!(""), "insufficient-scope"),
        // No string: not a token as it should be.
        (json!(["read", "a:b"]), "claim"),
    ] {
        assert_eq!(kind(&layer, json!({ "scope": scope })).await, verdict, "{scope}");
    }
    assert_eq!(kind(&layer, json!({})).await, "insufficient-scope");
}

#[test]
fn a_permission_that_could_leave_its_quotes_is_refused() {
    for bad in ["", " ", "a b", "a\"", "a\\", "a\tb", "a\nb", "\u{7f}", "é"] {
        for error in [
            layer().require_permission(bad).unwrap_err(),
            layer().require_acr(["fine", bad]).unwrap_err(),
        ] {
            assert!(matches!(&error, ConfigError::Word { word, .. } if word == bad), "{error}");
        }
    }
    assert!(layer().require_permission("https://api.example/read!#[]~").is_ok());
}

// ---- groups ----

#[tokio::test]
async fn a_missing_group_is_forbidden_and_the_challenge_names_no_scope() {
    let layer = layer().require_group(group("admin"));
    let (status, challenge, problem) = answer(&layer, &json!({ "groups": ["staff"] })).await;
    assert_eq!(status, FORBIDDEN);
    assert_eq!(
        challenge,
        "Bearer realm=\"api\", error=\"insufficient_scope\", \
         error_description=\"this is for other groups than the token's\""
    );
    assert_eq!(problem["type"], "urn:tower-revocation:problem:not-in-group");
    assert_eq!(problem.get("demand"), None);
}

#[tokio::test]
async fn all_groups_are_needed_and_of_any_groups_one() {
    let one = layer().require_group(group("admin"));
    let both = one.clone().require_group(group("staff"));
    let any = layer().require_any_group([group("admin"), group("staff")]).unwrap();
    for (groups, verdicts) in [
        (json!([]), [false, false, false]),
        (json!(["admin"]), [true, false, true]),
        (json!(["staff"]), [false, false, true]),
        (json!(["x", "staff", "admin"]), [true, true, true]),
        (json!(["Admin", "administrators", "adm"]), [false, false, false]),
    ] {
        for (layer, fits) in [&one, &both, &any].into_iter().zip(verdicts) {
            let verdict = if fits { "ok" } else { "not-in-group" };
            assert_eq!(kind(layer, json!({ "groups": groups })).await, verdict, "{groups}");
        }
    }
    // The names of a user, a session and a token are no groups.
    let others = layer().require_any_group([group("alice"), group("s1"), group("t1")]).unwrap();
    assert_eq!(kind(&others, json!({})).await, "not-in-group");
}

#[test]
fn any_of_no_groups_and_of_no_contexts_is_a_mistake() {
    let error = layer().require_any_group([]).unwrap_err();
    assert!(matches!(error, ConfigError::Missing { field: "require_any_group" }), "{error}");
    let error = layer().require_acr([""; 0]).unwrap_err();
    assert!(matches!(error, ConfigError::Missing { field: "require_acr" }), "{error}");
}

#[tokio::test]
async fn one_issuers_group_is_not_anothers() {
    let gate = Gate::open();
    let key = VerifyingKey::hmac(Algorithm::HS256, &[7; 32]).unwrap();
    let rules = IssuerRules::new("https://issuer.test", KeySet::new([key]).unwrap());
    let rules = rules.audience("api").subject_prefix("guests:");
    let verifier = Verifier::builder(gate.epochs).issuer(rules).build().unwrap();
    let layer = RevocationLayer::new(verifier);
    let admin = || json!({ "groups": ["admin"] });
    assert_eq!(kind(&layer.clone().require_group(group("admin")), admin()).await, "not-in-group");
    assert_eq!(kind(&layer.require_group(group("guests:admin")), admin()).await, "ok");
}

// ---- stepping up ----

#[tokio::test]
async fn a_login_too_long_ago_is_to_be_done_again() {
    let layer = layer().max_auth_age(FIVE_MINUTES).unwrap();
    let (status, challenge, problem) = answer(&layer, &json!({ "auth_time": NOW - 301 })).await;
    assert_eq!(status, UNAUTHORIZED);
    assert_eq!(
        challenge,
        "Bearer realm=\"api\", error=\"insufficient_user_authentication\", \
         error_description=\"the user has to log in again: the last login is too long ago for \
         this\", max_age=\"300\""
    );
    assert_eq!(problem["type"], "urn:tower-revocation:problem:authentication-too-old");
    assert_eq!(problem["status"], 401);
    assert_eq!(problem["demand"], "login");
}

#[tokio::test]
async fn the_age_of_a_login_is_exact_and_no_leeway_adds_to_it() {
    let layer = layer().max_auth_age(FIVE_MINUTES).unwrap();
    for (auth_time, verdict) in [
        (NOW, "ok"),
        (NOW - 300, "ok"),
        (NOW - 301, "authentication-too-old"),
        (0, "authentication-too-old"),
        // From a clock that is ahead by the leeway, and from the future.
        (NOW + 5, "ok"),
        (NOW + 6, "authentication-too-old"),
        (253_402_300_799, "authentication-too-old"),
    ] {
        let claims = json!({ "auth_time": auth_time });
        assert_eq!(kind(&layer, claims).await, verdict, "{auth_time}");
    }
    // Nobody knows when.
    assert_eq!(kind(&layer, json!({})).await, "authentication-too-old");
    assert_eq!(kind(&layer, json!({ "oat": NOW })).await, "authentication-too-old");
    assert_eq!(kind(&layer, json!({ "auth_time": "1800000000" })).await, "claim");
}

#[tokio::test]
async fn where_the_stores_clock_is_not_known_exactly_the_latest_counts() {
    let gate = Gate::open();
    let layer = RevocationLayer::new(gate.verifier.clone()).max_auth_age(FIVE_MINUTES).unwrap();
    let asked_at = gate.epochs.clock().now();
    gate.clock.advance(Duration::from_secs(4));
    // A poll that took four seconds: the clock it tells may be that old.
    gate.epochs.synced(Synced {
        asked_at,
        answered_at: gate.epochs.clock().now(),
        store_clock: Duration::from_secs(NOW),
        head: StoreTime::ZERO,
    });
    let verdict = async |age| kind(&layer, json!({ "auth_time": NOW - age })).await;
    assert_eq!(verdict(296).await, "ok");
    assert_eq!(verdict(297).await, "authentication-too-old");
}

#[test]
fn a_login_under_a_second_old_is_nobodys() {
    let error = layer().max_auth_age(Duration::from_millis(999)).unwrap_err();
    assert!(matches!(error, ConfigError::Duration { field: "max_auth_age", .. }), "{error}");
    assert!(layer().max_auth_age(Duration::from_secs(1)).is_ok());
}

#[tokio::test]
async fn another_kind_of_login_is_asked_for_by_name() {
    let layer = layer().require_acr(["phr", "mfa"]).unwrap();
    let (status, challenge, problem) = answer(&layer, &json!({ "acr": "pwd" })).await;
    assert_eq!(status, UNAUTHORIZED);
    assert_eq!(
        challenge,
        "Bearer realm=\"api\", error=\"insufficient_user_authentication\", \
         error_description=\"the user has to log in again: this needs another kind of login\", \
         acr_values=\"phr mfa\""
    );
    assert_eq!(problem["type"], "urn:tower-revocation:problem:authentication-context");
    assert_eq!(problem["demand"], "login");

    for (claims, verdict) in [
        (json!({ "acr": "mfa" }), "ok"),
        (json!({ "acr": "phr" }), "ok"),
        (json!({ "acr": "MFA" }), "authentication-context"),
        (json!({ "acr": "phr mfa" }), "authentication-context"),
        (json!({ "acr": "" }), "authentication-context"),
        (json!({}), "authentication-context"),
        (json!({ "acr": 2 }), "claim"),
        (json!({ "acr": ["mfa"] }), "claim"),
    ] {
        assert_eq!(kind(&layer, claims.clone()).await, verdict, "{claims}");
    }
}

#[tokio::test]
async fn one_login_is_enough_for_all_that_is_asked_of_it() {
    let layer = layer().require_acr(["mfa"]).unwrap().max_auth_age(FIVE_MINUTES).unwrap();
    for claims in [
        json!({ "auth_time": NOW - 301, "acr": "mfa" }),
        json!({ "auth_time": NOW, "acr": "pwd" }),
        json!({}),
    ] {
        let (status, challenge, _) = answer(&layer, &claims).await;
        assert_eq!(status, UNAUTHORIZED);
        assert!(challenge.ends_with(", max_age=\"300\", acr_values=\"mfa\""), "{challenge}");
    }
    assert_eq!(kind(&layer, json!({ "auth_time": NOW, "acr": "mfa" })).await, "ok");
}

// ---- together ----

#[tokio::test]
async fn what_no_login_cures_is_told_before_a_login_is_asked_for() {
    let layer = layer()
        .max_auth_age(FIVE_MINUTES)
        .unwrap()
        .require_acr(["mfa"])
        .unwrap()
        .require_group(group("admin"))
        .require_permission("pay")
        .unwrap();
    for (claims, verdict) in [
        (json!({}), "insufficient-scope"),
        (json!({ "scope": "pay" }), "not-in-group"),
        (json!({ "scope": "pay", "groups": ["admin"] }), "authentication-context"),
        (json!({ "scope": "pay", "groups": ["admin"], "acr": "mfa" }), "authentication-too-old"),
        (json!({ "scope": "pay", "groups": ["admin"], "acr": "mfa", "auth_time": NOW }), "ok"),
    ] {
        assert_eq!(kind(&layer, claims).await, verdict);
    }
}

#[tokio::test]
async fn each_clone_of_a_layer_asks_for_what_it_was_told() {
    let plain = layer();
    let strict = plain.clone().require_permission("write").unwrap();
    let stricter = strict.clone().require_group(group("admin"));
    let claims = || json!({ "scope": "write" });
    assert_eq!(kind(&plain, json!({})).await, "ok");
    assert_eq!(kind(&strict, json!({})).await, "insufficient-scope");
    assert_eq!(kind(&strict, claims()).await, "ok");
    assert_eq!(kind(&stricter, claims()).await, "not-in-group");
}

#[tokio::test]
async fn a_bad_token_is_told_so_whatever_the_route_asks_for() {
    let layer = layer().require_permission("write").unwrap();
    let expired = json!({ "exp": NOW - 5, "scope": "write" });
    assert_eq!(kind(&layer, expired).await, "expired");
    assert_eq!(kind(&layer, json!({ "aud": "other" })).await, "audience");
}

#[tokio::test]
async fn an_optional_route_asks_of_the_tokens_that_are_there() {
    let layer = layer().optional().require_permission("read").unwrap();
    assert_eq!(kind(&layer, json!({ "scope": "read" })).await, "ok");
    assert_eq!(kind(&layer, json!({})).await, "insufficient-scope");
    let picky = Picky::default();
    let stranger = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let response = layer.layer(picky.clone()).oneshot(stranger).await.unwrap();
    assert_eq!((response.status(), picky.calls.load(Ordering::SeqCst)), (OK, 1));
}

#[tokio::test]
async fn grpc_clients_are_told_in_their_own_codes() {
    for (layer, code, reason, demand) in [
        (layer().require_permission("a").unwrap(), "7", "insufficient_scope", None),
        (layer().require_group(group("a")), "7", "not_in_group", None),
        (
            layer().max_auth_age(FIVE_MINUTES).unwrap(),
            "16",
            "authentication_too_old",
            Some("login"),
        ),
        (layer().require_acr(["a"]).unwrap(), "16", "authentication_context", Some("login")),
    ] {
        let request = crate::with_token().header(CONTENT_TYPE, "application/grpc");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = layer.layer(Picky::default()).oneshot(request).await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["grpc-status"], code);
        assert_eq!(headers["revocation-reason"], reason);
        assert_eq!(headers.get("revocation-demand").map(|it| it.to_str().unwrap()), demand);
        assert!(headers.contains_key(WWW_AUTHENTICATE));
    }
}

// ---- while the copy is stale ----

#[tokio::test]
async fn a_token_that_the_store_has_confirmed_still_has_to_fit_the_route() {
    let mut stale = Stale::new();
    stale.layer = stale.layer.clone().require_permission("read").unwrap();
    for (scope, expected) in
        [("read", told(OK, "alice")), ("write", told(FORBIDDEN, "insufficient-scope"))]
    {
        let client = stale.ask(&token_saying(&json!({ "scope": scope })));
        stale.question().await.nothing_against_it();
        assert_eq!(client.told().await, expected);
    }
}

#[tokio::test]
async fn the_age_of_a_confirmed_login_is_told_by_the_store() {
    let mut stale = Stale::new();
    stale.layer = stale.layer.clone().max_auth_age(FIVE_MINUTES).unwrap();
    // Whatever this machine's clock says. The store's is at `NOW + 11`.
    stale.gate.clock.advance(Duration::from_secs(9_999));
    for (auth_time, expected) in
        [(NOW - 289, told(OK, "alice")), (NOW - 290, told(UNAUTHORIZED, "authentication-too-old"))]
    {
        let client = stale.ask(&token_saying(&json!({ "auth_time": auth_time })));
        stale.question().await.nothing_against_it();
        assert_eq!(client.told().await, expected);
    }
    let unknown = stale.ask(&token_saying(&json!({ "auth_time": NOW })));
    drop(stale.question().await);
    assert_eq!(unknown.told().await, told(UNAVAILABLE, "unconfirmed"));
}

#[tokio::test]
async fn a_token_that_a_stale_copy_lets_through_still_has_to_fit_the_route() {
    let gate = Gate::open();
    let layer = RevocationLayer::new(gate.verifier.clone())
        .dangerous_trust_while_stale(Duration::from_secs(60))
        .unwrap();
    gate.clock.advance(Duration::from_secs(11));
    let fit = layer.clone().require_permission("read").unwrap();
    assert_eq!(kind(&fit, json!({ "scope": "read" })).await, "ok");
    assert_eq!(kind(&fit, json!({})).await, "insufficient-scope");
    let recent = layer.max_auth_age(FIVE_MINUTES).unwrap();
    assert_eq!(kind(&recent, json!({ "auth_time": NOW - 289 })).await, "ok");
    assert_eq!(kind(&recent, json!({ "auth_time": NOW - 290 })).await, "authentication-too-old");
}
