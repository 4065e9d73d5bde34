//! The ready-made OAuth routes, over sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::{
    future::{Ready, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, Method, StatusCode,
    header::{
        ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, USER_AGENT,
        WWW_AUTHENTICATE,
    },
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use oauth2::TokenResponse;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower_revocation::{
    Algorithm, AnyStore, Demand, Grant, Id, Issuer, KeyRing, Rejection, Scope,
    clock::Clock,
    error::Error,
    routes::TokenEndpoint,
    session::TokenPair,
    store::{Device, Session},
    token::SigningKey,
};

use common::instance::{Instance, START, grant};

const FORM: &str = "application/x-www-form-urlencoded";

/// More than the grace time of a spent refresh token.
const PAST_GRACE: Duration = Duration::from_secs(11);

// ---- what a refresh answers ----

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_answers_the_next_pair_as_rfc_6749_says() {
    let server = Server::start().await;
    let first = server.login().await;
    let reply = server.refresh(first.refresh().as_str()).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
    assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
    assert_eq!(reply.headers[PRAGMA], "no-cache");
    let mut members: Vec<&String> = reply.json.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!(reply.json["token_type"], "Bearer");
    assert_eq!(reply.json["expires_in"], 900);
    assert_eq!(reply.json["scope"], "read write");
    assert_ne!(reply.json["refresh_token"], first.refresh().as_str());
    let verified = server.instance.check(reply.access()).unwrap();
    assert_eq!(verified.session(), Some(first.access().session().as_str()));
    assert_eq!(verified.groups().collect::<Vec<_>>(), ["staff"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_refreshes_and_understands_a_refusal() {
    let server = Server::start().await;
    let http = Client::new();
    // What the library wants of a client, by the one we have.
    let send = |request: oauth2::HttpRequest| {
        let http = http.clone();
        async move {
            let answer = http.execute(request.try_into()?).await?;
            let mut response = oauth2::http::Response::builder().status(answer.status());
            *response.headers_mut().unwrap() = answer.headers().clone();
            let body = answer.bytes().await?.to_vec();
            Ok::<_, reqwest::Error>(response.body(body).unwrap())
        }
    };
    for auth_type in [oauth2::AuthType::RequestBody, oauth2::AuthType::BasicAuth] {
        let client = oauth2::basic::BasicClient::new(oauth2::ClientId::new("tests".to_owned()))
            .set_auth_type(auth_type.clone())
            .set_token_uri(oauth2::TokenUrl::new(server.url.clone()).unwrap());
        let refresh = async |token: &str| {
            let token = oauth2::RefreshToken::new(token.to_owned());
            client.exchange_refresh_token(&token).request_async(&send).await
        };
        let first = server.login().await;
        let next = refresh(first.refresh().as_str()).await.unwrap();
        assert!(server.instance.check(next.access_token().secret()).is_ok());
        assert_eq!(next.expires_in(), Some(Duration::from_secs(900)));
        assert!(refresh(next.refresh_token().unwrap().secret()).await.is_ok());
        let refused = refresh("rt1-nonsense").await.unwrap_err();
        let oauth2::RequestTokenError::ServerResponse(told) = refused else { panic!("{refused}") };
        assert_eq!(*told.error(), oauth2::basic::BasicErrorResponseType::InvalidGrant);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_hyper_serves_it_too() {
    let server = Server::start().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = server.endpoint();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(endpoint.clone());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let token = server.login().await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.refresh().as_str())];
    let request = server.client.post(format!("http://{address}/any/path?query=1")).form(&form);
    let reply = Reply::to(request).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    assert!(server.instance.check(reply.access()).is_ok());
    // Whole and with a known length, so that the connection stays usable.
    assert_eq!(reply.headers["content-length"], reply.text.len().to_string().as_str());
    for chunked in [false, true] {
        let reply = large(address, 1 << 20, chunked).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_learns_where_it_is_refreshed() {
    let server = Server::start().await;
    let token = server.login().await;
    assert_eq!(server.session(&token).await.unwrap().device, Device::new());

    let form = [("grant_type", "refresh_token"), ("refresh_token", token.refresh().as_str())];
    let reply = Reply::to(server.post().header(USER_AGENT, "phone/1").form(&form)).await;
    let device = Device::new().with_user_agent("phone/1").with_ip([127, 0, 0, 1].into());
    assert_eq!(server.session(&token).await.unwrap().device, device);

    // What the claims say themselves is left alone.
    server.account(|user| Ok(Grant::new(user).device(Device::new().with_label("mine"))));
    let reply = server.refresh_with(reply.refresh(), USER_AGENT.as_str(), "phone/2").await;
    assert_eq!(server.session(&token).await.unwrap().device, device.clone().with_label("mine"));

    // Without an address and a user agent the session keeps those it had.
    server.account(|user| Ok(Grant::new(user)));
    let address = serve(TokenEndpoint::new(server.instance.issuer.clone(), async |user| {
        Ok(Grant::new(user))
    }))
    .await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", reply.refresh())];
    let request = server.client.post(format!("http://{address}/oauth/token")).form(&form);
    let reply = Reply::to(request).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    assert_eq!(server.session(&token).await.unwrap().device, device.with_label("mine"));
}

// ---- what is no request for a token ----

#[tokio::test(flavor = "multi_thread")]
async fn any_method_but_post_is_405_and_told_which_is_allowed() {
    let server = Server::start().await;
    let token = server.login().await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.refresh().as_str())];
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "BREW"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = server.client.request(method.clone(), &server.url).form(&form);
        let reply = Reply::to(request).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.headers[ALLOW], "POST", "{method}");
        if method != Method::HEAD {
            reply.refused(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "{method}");
        }
    }
    server.untouched(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b78_another_content_type_is_an_invalid_request() {
    let server = Server::start().await;
    let token = server.login().await;
    let body = format!("grant_type=refresh_token&refresh_token={}", token.refresh().as_str());
    for types in [
        vec![],
        vec![""],
        vec!["application/json"],
        vec!["text/plain"],
        vec!["multipart/form-data; boundary=x"],
        vec!["application/x-www-form-urlencodedx"],
        vec!["application/json; x=application/x-www-form-urlencoded"],
        vec![FORM, FORM],
        vec![FORM, "application/json"],
    ] {
        let mut request = server.post().body(body.clone());
        for value in &types {
            request = request.header(CONTENT_TYPE, *value);
        }
        let reply = Reply::to(request).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_request", &format!("{types:?}"));
    }
    server.untouched(&token).await;
    let mut body = body;
    for value in
        ["APPLICATION/X-WWW-Form-Urlencoded", "application/x-www-form-urlencoded;charset=UTF-8"]
    {
        let reply = Reply::to(server.post().header(CONTENT_TYPE, value).body(body)).await;
        assert_eq!(reply.status, StatusCode::OK, "{value}: {}", reply.text);
        body = format!("grant_type=refresh_token&refresh_token={}", reply.refresh());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b78_a_parameter_that_stands_twice_is_an_invalid_request() {
    let server = Server::start().await;
    let token = server.login().await;
    let good = format!("grant_type=refresh_token&refresh_token={}", token.refresh().as_str());
    for more in [
        "grant_type=refresh_token",
        "grant_type=password",
        "refresh_token=x",
        "refresh%5Ftoken=x",
        "refresh_token=",
        "client_id=tests&client_id=tests",
        "scope=read&scope=write",
        "scope=&scope=read",
        "unknown=1&unknown=2",
        "unknown&unknown",
    ] {
        for form in [format!("{good}&{more}"), format!("{more}&{good}")] {
            let reply = server.post_form(&form).await;
            reply.refused(StatusCode::BAD_REQUEST, "invalid_request", &form);
        }
    }
    server.untouched(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_missing_or_has_no_value_is_told_by_its_code() {
    let server = Server::start().await;
    let token = server.login().await;
    let token_is = format!("refresh_token={}", token.refresh().as_str());
    for (form, error) in [
        (String::new(), "invalid_request"),
        ("grant_type=".to_owned(), "invalid_request"),
        (token_is.clone(), "invalid_request"),
        (format!("grant_type&{token_is}"), "invalid_request"),
        (format!("Grant_Type=refresh_token&{token_is}"), "invalid_request"),
        (format!("grant_type=password&{token_is}"), "unsupported_grant_type"),
        (format!("grant_type=Refresh_Token&{token_is}"), "unsupported_grant_type"),
        (format!("grant_type=refresh_token%20&{token_is}"), "unsupported_grant_type"),
        ("grant_type=authorization_code&code=x".to_owned(), "unsupported_grant_type"),
        ("grant_type=refresh_token".to_owned(), "invalid_request"),
        ("grant_type=refresh_token&refresh_token=".to_owned(), "invalid_request"),
        ("\u{0}\u{1}&=&&;%%%zz=%ff".to_owned(), "invalid_request"),
    ] {
        let reply = server.post_form(&form).await;
        reply.refused(StatusCode::BAD_REQUEST, error, &form);
    }
    server.untouched(&token).await;
    // The form alone counts, not the query; and what is unknown or empty says nothing.
    let body = format!("grant_type=refresh_token&{token_is}&scope=&client_id=&code=x&=y&z");
    let request = server.client.post(format!("{}?grant_type=password", server.url));
    let reply = Reply::to(request.header(CONTENT_TYPE, FORM).body(body)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn b78_a_body_over_16_kib_is_refused_and_the_client_hears_it() {
    let server = Server::start().await;
    let token = server.login().await;
    let form = |length: usize| {
        let form = format!("grant_type=refresh_token&refresh_token={}", token.refresh().as_str());
        let filling = length - form.len() - "&x=".len();
        format!("{form}&x={}", "x".repeat(filling))
    };
    for length in [16 * 1024 + 1, 100_000, 1 << 20, 2 << 20] {
        let reply = server.post_form(&form(length)).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_request", &length.to_string());
    }
    server.untouched(&token).await;
    // Whatever is in it, and however it is sent. Often, as a reset would be a race.
    for _ in 0..10 {
        for chunked in [false, true] {
            let reply = large(server.address, 1 << 20, chunked).await;
            assert!(reply.starts_with("HTTP/1.1 400 "), "chunked: {chunked}: {reply}");
            assert!(reply.contains("the body is too large"), "chunked: {chunked}: {reply}");
        }
    }
    // A method or a type that is refused has a body too.
    let put = server.client.put(&server.url).body("x".repeat(1 << 20));
    assert_eq!(Reply::to(put).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let json = server.post().header(CONTENT_TYPE, "application/json").body("1".repeat(1 << 20));
    Reply::to(json).await.refused(StatusCode::BAD_REQUEST, "invalid_request", "json");

    let reply = server.post_form(&form(16 * 1024)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_spends_nothing() {
    let server = Server::start().await;
    let token = server.login().await;
    let form = format!("grant_type=refresh_token&refresh_token={}", token.refresh().as_str());
    let head = format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\n");
    for broken in [
        format!("{head}content-length: {}\r\n\r\n{form}", form.len() + 1),
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{form}\r\n", form.len()),
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{form}\r\nzz\r\n", form.len()),
    ] {
        let reply = exchange(server.address, broken.as_bytes()).await;
        assert!(!reply.contains(" 200 "), "{reply}");
    }
    server.untouched(&token).await;
}

// ---- which client ----

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_names_itself_is_the_issuers_or_refused() {
    let server = Server::start().await;
    let mut token = server.login().await.refresh().as_str().to_owned();
    let basic = |plain: &str| format!("Basic {}", STANDARD.encode(plain));
    let (ok, bad, unauthorized) =
        (StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED);
    for (headers, form, status, error) in [
        (vec![], "client_id=tests", ok, ""),
        (vec![], "client_secret=", ok, ""),
        (vec![], "client_id=other", bad, "invalid_grant"),
        (vec![], "client_id=Tests", bad, "invalid_grant"),
        (vec![], "client_id=tests&client_secret=x", unauthorized, "invalid_client"),
        (vec![basic("tests:")], "", ok, ""),
        (vec![basic("tests:")], "client_id=tests", ok, ""),
        (vec![basic("t%65sts:").replace("Basic", "bASIC")], "", ok, ""),
        (vec![basic("tests:")], "client_id=other", bad, "invalid_request"),
        (vec![basic("other:")], "client_id=tests", bad, "invalid_request"),
        (vec![basic("tests:")], "client_secret=x", bad, "invalid_request"),
        (vec![basic("tests:x")], "", unauthorized, "invalid_client"),
        (vec![basic("tests:%20")], "", unauthorized, "invalid_client"),
        (vec![basic("other:")], "", unauthorized, "invalid_client"),
        (vec![basic("other:")], "client_id=other", unauthorized, "invalid_client"),
        (vec![basic(":")], "", unauthorized, "invalid_client"),
        (vec![basic("tests")], "", unauthorized, "invalid_client"),
        (vec!["Basic".to_owned()], "", unauthorized, "invalid_client"),
        (vec!["Basic %%%".to_owned()], "", unauthorized, "invalid_client"),
        (vec![String::new()], "", unauthorized, "invalid_client"),
        (vec!["Bearer x".to_owned()], "", unauthorized, "invalid_client"),
        (vec![basic("tests:"), basic("tests:")], "", unauthorized, "invalid_client"),
        (vec!["Bearer x".to_owned(), basic("tests:")], "", unauthorized, "invalid_client"),
    ] {
        let body = format!("grant_type=refresh_token&refresh_token={token}&{form}");
        let mut request = server.post().header(CONTENT_TYPE, FORM).body(body);
        for value in &headers {
            request = request.header(AUTHORIZATION, value);
        }
        let reply = Reply::to(request).await;
        let case = format!("{headers:?} {form}: {}", reply.text);
        assert_eq!(reply.status, status, "{case}");
        if status == ok {
            token = reply.refresh().to_owned();
            continue;
        }
        reply.refused(status, error, &case);
        let challenge = reply.headers.get(WWW_AUTHENTICATE);
        assert_eq!(challenge.is_some(), status == unauthorized, "{case}");
        if let Some(challenge) = challenge {
            assert!(challenge.to_str().unwrap().starts_with("Basic realm=\""), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b77_another_clients_token_is_refused() {
    let server = Server::start().await;
    let (clock, _hand) = Clock::manual(START);
    let keys =
        KeyRing::open_with(server.data.path().join("keys"), Algorithm::EdDSA, clock).unwrap();
    let other = issuer(&server.instance.store, keys, "other");
    let token = login(&other).await;
    let reply = server.refresh(token.refresh().as_str()).await;
    reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", "without an id");
    for id in ["tests", "other"] {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.refresh().as_str()),
            ("client_id", id),
        ];
        let reply = Reply::to(server.post().form(&form)).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", id);
    }
    // Its own client still has it.
    assert!(
        other.refresh(token.refresh().as_str(), async |user| Ok(Grant::new(user))).await.is_ok()
    );
}

// ---- scope ----

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_narrows_the_access_token_and_the_next_one_is_whole_again() {
    let server = Server::start().await;
    let token = server.login().await;
    let mut refresh = token.refresh().as_str().to_owned();
    for (asked, granted) in [
        ("&scope=write", "write"),
        ("&scope=write+read", "read write"),
        ("&scope=read%20read", "read"),
        ("&scope=", "read write"),
        ("", "read write"),
    ] {
        let form = format!("grant_type=refresh_token&refresh_token={refresh}{asked}");
        let reply = server.post_form(&form).await;
        assert_eq!(reply.status, StatusCode::OK, "{asked}: {}", reply.text);
        assert_eq!(reply.json["scope"], granted, "{asked}");
        let verified = server.instance.check(reply.access()).unwrap();
        assert_eq!(verified.permissions().collect::<Vec<_>>().join(" "), granted, "{asked}");
        refresh = reply.refresh().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_was_not_granted_is_refused_and_the_token_not_spent() {
    let server = Server::start().await;
    let token = server.login().await;
    for scope in ["admin", "read+admin", "Read", "read++write", "+read", "read%09write", "%ff"] {
        let refresh = token.refresh().as_str();
        let form = format!("grant_type=refresh_token&refresh_token={refresh}&scope={scope}");
        let reply = server.post_form(&form).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_scope", scope);
    }
    server.untouched(&token).await;
    // A forged token is told as such, whatever scope it asks for.
    let form = "grant_type=refresh_token&refresh_token=forged&scope=admin";
    let reply = server.post_form(form).await;
    reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", form);
}

// ---- what becomes of the session ----

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_account_is_final_and_one_that_cannot_be_read_is_not() {
    let server = Server::start().await;
    let token = server.login().await;
    server.account(|_| Err(Error::account_unavailable("the directory is down")));
    let reply = server.refresh(token.refresh().as_str()).await;
    reply.unavailable();
    assert!(!reply.text.contains("directory"), "{}", reply.text);
    // Claims of somebody else are the service's mistake.
    server.account(|_| Ok(grant("bob", &[])));
    server.refresh(token.refresh().as_str()).await.unavailable();

    server.account(|_| Err(Error::account_refused("suspended for owing 7.50")));
    let reply = server.refresh(token.refresh().as_str()).await;
    reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", "refused");
    assert_eq!(reply.json["error_description"], "the account was refused");
    assert!(!reply.text.contains("owing"), "{}", reply.text);
    server.untouched(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_503_and_the_session_goes_on() {
    let server = Server::start().await;
    let token = server.login().await;
    let options = SqliteConnectOptions::new().filename(server.data.path().join("test.db"));
    let mut other = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    server.refresh(token.refresh().as_str()).await.unavailable();
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let reply = server.refresh(token.refresh().as_str()).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_loses_nothing() {
    let server = Server::start().await;
    let mut token = server.login().await.refresh().as_str().to_owned();
    for wait in 0..30 {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request(&form).as_bytes()).await.unwrap();
        // At another moment of the refresh each time.
        for _ in 0..wait * 20 {
            tokio::task::yield_now().await;
        }
        drop(stream);
        let reply = server.refresh(&token).await;
        assert_eq!(reply.status, StatusCode::OK, "{wait}: {}", reply.text);
        token = reply.refresh().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b76_the_previous_token_gets_the_same_successor() {
    let server = Server::start().await;
    let first = server.login().await;
    let reply = server.refresh(first.refresh().as_str()).await;
    let again = server.refresh(first.refresh().as_str()).await;
    assert_eq!(reply.refresh(), again.refresh());
    // Also long after, as long as the successor is unused: the answer was lost.
    server.instance.clock.advance(PAST_GRACE);
    let late = server.refresh(first.refresh().as_str()).await;
    assert_eq!(reply.refresh(), late.refresh());
    assert_eq!(server.refresh(late.refresh()).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn b76_an_older_token_is_a_theft_and_the_session_dies() {
    let server = Server::start().await;
    let (first, bystander) = (server.login().await, server.login().await);
    let second = server.refresh(first.refresh().as_str()).await;
    let third = server.refresh(second.refresh()).await;
    assert_eq!(third.status, StatusCode::OK, "{}", third.text);
    server.instance.clock.advance(PAST_GRACE);

    let reply = server.refresh(first.refresh().as_str()).await;
    reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", "the thief, or the owner");
    assert_eq!(reply.json["error_description"], "the refresh token was used before");
    for token in [second.refresh(), third.refresh(), first.refresh().as_str()] {
        let reply = server.refresh(token).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", "what is left of the session");
    }
    assert_eq!(server.session(&first).await, None);
    let refused = async {
        while !matches!(server.instance.check(third.access()), Err(Rejection::Revoked(_))) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), refused).await.unwrap();
    server.untouched(&bystander).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b79_after_a_revocation_that_demands_a_login_the_session_has_ended() {
    let server = Server::start().await;
    for scope in [Scope::user("alice").unwrap(), Scope::group("staff").unwrap(), Scope::Everyone] {
        let token = server.login().await;
        server.instance.revoke(scope.clone(), Demand::Login).await;
        let reply = server.refresh(token.refresh().as_str()).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", &format!("{scope:?}"));
        assert_eq!(reply.json["error_description"], "the session has ended", "{scope:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b79_after_a_revocation_that_demands_a_refresh_the_new_claims_come() {
    let server = Server::start().await;
    for scope in [Scope::user("alice").unwrap(), Scope::group("staff").unwrap(), Scope::Everyone] {
        server.account(ordinary);
        let token = server.login().await;
        server.account(|user| {
            Ok(Grant::new(user).groups([Id::new("guests").unwrap()]).permissions("read"))
        });
        let receipt = server.instance.revoke(scope.clone(), Demand::Refresh).await;
        let reply = server.refresh(token.refresh().as_str()).await;
        assert_eq!(reply.status, StatusCode::OK, "{scope:?}: {}", reply.text);
        assert_eq!(reply.json["scope"], "read", "{scope:?}");
        server.instance.epochs.wait_for(&receipt).await;
        let verified = server.instance.check(reply.access()).unwrap();
        assert_eq!(verified.groups().collect::<Vec<_>>(), ["guests"], "{scope:?}");
        let old = server.instance.check(token.access().as_str());
        assert!(matches!(old, Err(Rejection::Revoked(_))), "{scope:?}: {old:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b80_a_damaged_or_forged_token_is_refused_and_harms_nobody() {
    let server = Server::start().await;
    let token = server.login().await;
    let genuine = token.refresh().as_str();
    let mut forged: Vec<String> =
        (1..genuine.len()).map(|length| genuine[..length].to_owned()).collect();
    for index in 0..genuine.len() {
        let mut bytes = genuine.as_bytes().to_vec();
        bytes[index] ^= 1 << (index % 7);
        forged.push(String::from_utf8(bytes).unwrap());
    }
    // The top bit of a byte: no UTF-8 any more.
    let head = "grant_type=refresh_token&refresh_token=";
    let reply = server.post_form(&format!("{head}%f2{}", &genuine[1..])).await;
    reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", "not UTF-8");

    let versions = ["rt2-", "rt0-", "rt11-", "RT1-", "1-", "-", ""];
    forged.extend(versions.map(|version| genuine.replacen("rt1-", version, 1)));
    forged.extend(["x", "é", ".", "..", "\u{0}", " "].map(str::to_owned));
    forged.extend([format!("{genuine} "), format!("{genuine}="), format!("{genuine}.{genuine}")]);
    forged.push(genuine.repeat(100)[..10_000].to_owned());
    forged.push(token.access().as_str().to_owned());
    // Sealed with a key that this server has never seen.
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
    let stranger = issuer(&server.instance.store, keys, "tests");
    forged.push(login(&stranger).await.refresh().as_str().to_owned());

    for text in forged {
        assert_ne!(text, genuine);
        let reply = server.refresh(&text).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_grant", &text);
        assert_eq!(reply.json["error_description"], "the refresh token is not valid", "{text}");
    }
    server.untouched(&token).await;
}

// ---- the server ----

type Account = fn(Id) -> Result<Grant, Error>;

/// The endpoint in axum, on an instance of its own.
struct Server {
    instance: Instance,
    data: TempDir,
    account: Arc<Mutex<Account>>,
    address: SocketAddr,
    url: String,
    client: Client,
}

fn ordinary(user: Id) -> Result<Grant, Error> {
    Ok(Grant::new(user).groups([Id::new("staff")?]).permissions("read write"))
}

impl Server {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let instance = Instance::start(data.path()).await;
        let account = Arc::new(Mutex::new(ordinary as Account));
        let address = serve(endpoint(&instance.issuer, account.clone())).await;
        let url = format!("http://{address}/oauth/token");
        let client = Client::builder().no_proxy().build().unwrap();
        Self { instance, data, account, address, url, client }
    }

    fn endpoint(&self) -> TokenEndpoint<AnyStore, Claims> {
        endpoint(&self.instance.issuer, self.account.clone())
    }

    /// What is said of an account from now on.
    fn account(&self, account: Account) {
        *self.account.lock().unwrap() = account;
    }

    /// A session, and then a second that passes.
    async fn login(&self) -> TokenPair {
        let tokens = login(&self.instance.issuer).await;
        self.instance.clock.advance(Duration::from_secs(1));
        tokens
    }

    async fn session(&self, token: &TokenPair) -> Option<Session> {
        self.instance.issuer.session(token.access().session()).await.unwrap()
    }

    fn post(&self) -> RequestBuilder {
        self.client.post(&self.url)
    }

    async fn post_form(&self, form: &str) -> Reply {
        Reply::to(self.post().header(CONTENT_TYPE, FORM).body(form.to_owned())).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        Reply::to(self.post().form(&form)).await
    }

    async fn refresh_with(&self, token: &str, name: &str, value: &str) -> Reply {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        Reply::to(self.post().header(name, value).form(&form)).await
    }

    /// Nothing was spent: the store has not seen a refresh of this first token, which works.
    async fn untouched(&self, token: &TokenPair) {
        let session = self.session(token).await.unwrap();
        assert_eq!(session.last_refresh_at, session.created_at);
        assert_eq!(session.device, Device::new());
        self.account(ordinary);
        let reply = self.refresh(token.refresh().as_str()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    }
}

type Claims = Box<dyn Fn(Id) -> Ready<Result<Grant, Error>> + Send + Sync>;

fn endpoint(
    issuer: &Issuer<AnyStore>,
    account: Arc<Mutex<Account>>,
) -> TokenEndpoint<AnyStore, Claims> {
    let claims: Claims = Box::new(move |user| ready(account.lock().unwrap()(user)));
    TokenEndpoint::new(issuer.clone(), claims).client_ip(|extensions| {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(peer.ip())
    })
}

/// Serves `endpoint` by axum.
async fn serve<C, F>(endpoint: TokenEndpoint<AnyStore, C>) -> SocketAddr
where
    C: Fn(Id) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Grant, Error>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route_service("/oauth/token", endpoint);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

fn issuer(store: &AnyStore, keys: KeyRing, client_id: &str) -> Issuer<AnyStore> {
    Issuer::builder(store.clone(), keys)
        .issuer("https://login.test")
        .audience("test")
        .client_id(client_id)
        .build()
        .unwrap()
}

async fn login(issuer: &Issuer<AnyStore>) -> TokenPair {
    let ticket = issuer.ticket().await.unwrap();
    issuer.login(ticket, ordinary(Id::new("alice").unwrap()).unwrap()).await.unwrap()
}

// ---- replies ----

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    /// Null if the text is none.
    json: Value,
}

impl Reply {
    async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, json }
    }

    fn access(&self) -> &str {
        self.json["access_token"].as_str().unwrap()
    }

    fn refresh(&self) -> &str {
        self.json["refresh_token"].as_str().unwrap()
    }

    /// It is an error of RFC 6749 §5.2.
    fn refused(&self, status: StatusCode, error: &str, case: &str) {
        assert_eq!(self.status, status, "{case}: {}", self.text);
        assert_eq!(self.json["error"], error, "{case}: {}", self.text);
        assert_eq!(self.headers[CONTENT_TYPE], "application/json", "{case}");
        assert_eq!(self.headers[CACHE_CONTROL], "no-store", "{case}");
        assert_eq!(self.headers[PRAGMA], "no-cache", "{case}");
        assert!(!self.headers.contains_key(RETRY_AFTER), "{case}");
        let described = self.json["error_description"].as_str().unwrap();
        let allowed = |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        assert!(!described.is_empty() && described.bytes().all(allowed), "{case}: {described}");
        assert_eq!(self.json.as_object().unwrap().len(), 2, "{case}: {}", self.text);
    }

    /// It says nothing about the token.
    fn unavailable(&self) {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{}", self.text);
        assert_eq!(self.headers[RETRY_AFTER], "1");
        assert_eq!(self.headers[CACHE_CONTROL], "no-store");
        assert_eq!(self.text, r#"{"error":"temporarily_unavailable"}"#);
    }
}

// ---- bytes ----

fn request(form: &str) -> String {
    let length = form.len();
    format!(
        "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\n\
         content-length: {length}\r\n\r\n{form}"
    )
}

/// Sends `bytes` and nothing after them; the reply, as far as it comes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    // The server may hang up without a word: then there is no reply.
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut reply)).await.unwrap();
    String::from_utf8(reply).unwrap()
}

/// Sends a body of `length` bytes from end to end before it reads, as simple clients do.
async fn large(address: SocketAddr, length: usize, chunked: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let framing = if chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {length}")
    };
    let head = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: {FORM}\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = "a".repeat(8192);
    for _ in 0..length / part.len() {
        if chunked {
            stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await.unwrap();
        } else {
            stream.write_all(part.as_bytes()).await.unwrap();
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
    let mut reply = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut reply)).await.unwrap().unwrap();
    reply
}
