use std::{net::SocketAddr, path::Path, time::Duration};

use super::{background::Background, *};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

async fn start(data: &Path) -> (SocketAddr, Background) {
    let config = Config {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data.to_owned(),
        issuer: "http://127.0.0.1:3000".to_owned(),
        audience: "demo".to_owned(),
        access_ttl: Duration::from_secs(900),
        max_ttl: Duration::from_secs(86_400),
        max_staleness: Duration::from_secs(10),
        poll: Duration::from_secs(1),
    };
    let listener = TcpListener::bind(config.address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (app, background) = app(&config).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let ready = async {
        while Client::new().get(format!("http://{address}/readyz")).send().await.unwrap().status()
            != StatusCode::OK
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap();
    (address, background)
}

async fn login(address: SocketAddr, username: &str, password: &str) -> String {
    let answer = Client::new()
        .post(format!("http://{address}/login"))
        .form(&[("username", username), ("password", password)])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 900);
    body["access_token"].as_str().unwrap().to_owned()
}

async fn call(address: SocketAddr, method: &str, path: &str, token: &str) -> (StatusCode, Value) {
    let request = Client::new().request(method.parse().unwrap(), format!("http://{address}{path}"));
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_user_is_refused_at_once_and_the_other_is_not() {
    let data = tempfile::tempdir().unwrap();
    let (address, _background) = start(data.path()).await;
    let alice = login(address, "alice", "wonderland").await;
    let bob = login(address, "bob", "builder").await;
    let (status, me) = call(address, "GET", "/me", &bob).await;
    assert_eq!((status, &me["sub"]), (StatusCode::OK, &json!("bob")));
    assert_eq!(me["groups"], json!(["admin"]));

    let order = json!({ "scope": "user", "subject": "alice", "demand": "login" });
    let answer = Client::new()
        .post(format!("http://{address}/admin/revoke"))
        .bearer_auth(&bob)
        .json(&order)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let receipt: Value = answer.json().await.unwrap();
    assert_eq!(receipt["revoked_before"], receipt["seq"]);

    let (status, problem) = call(address, "GET", "/me", &alice).await;
    assert_eq!((status, &problem["demand"]), (StatusCode::UNAUTHORIZED, &json!("login")));
    assert_eq!(call(address, "GET", "/me", &bob).await.0, StatusCode::OK);
    let again = login(address, "alice", "wonderland").await;
    assert_eq!(call(address, "GET", "/me", &again).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_one_session_and_everywhere_ends_all() {
    let data = tempfile::tempdir().unwrap();
    let (address, _background) = start(data.path()).await;
    let phone = login(address, "alice", "wonderland").await;
    let laptop = login(address, "alice", "wonderland").await;
    let desktop = login(address, "alice", "wonderland").await;
    let logout = call(address, "POST", "/logout", &phone).await;
    assert_eq!(logout.0, StatusCode::NO_CONTENT);
    assert_eq!(call(address, "GET", "/me", &phone).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(call(address, "GET", "/me", &laptop).await.0, StatusCode::OK);
    let everywhere = call(address, "POST", "/logout/everywhere", &laptop).await;
    assert_eq!(everywhere.0, StatusCode::NO_CONTENT);
    for token in [&laptop, &desktop] {
        assert_eq!(call(address, "GET", "/me", token).await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let data = tempfile::tempdir().unwrap();
    let (address, _background) = start(data.path()).await;
    let client = Client::new();
    let url = |path: &str| format!("http://{address}{path}");
    let wrong = json!({ "username": "alice", "password": "guess" });
    let answer = client.post(url("/login")).json(&wrong).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"demo\"");
    for body in ["", "{", "{}", "[]", "{\"username\":1,\"password\":2}"] {
        let request = client.post(url("/login")).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body:?}");
    }
    let alice = login(address, "alice", "wonderland").await;
    let bob = login(address, "bob", "builder").await;
    for (token, order, status) in [
        (&alice, json!({ "scope": "everyone", "demand": "login" }), StatusCode::FORBIDDEN),
        (&bob, json!({ "scope": "planet", "demand": "login" }), StatusCode::BAD_REQUEST),
        (&bob, json!({ "scope": "user", "demand": "login" }), StatusCode::BAD_REQUEST),
        (
            &bob,
            json!({ "scope": "everyone", "subject": "alice", "demand": "login" }),
            StatusCode::BAD_REQUEST,
        ),
        (&bob, json!({ "scope": "user", "subject": "a", "demand": "x" }), StatusCode::BAD_REQUEST),
    ] {
        let request = client.post(url("/admin/revoke")).bearer_auth(token).json(&order);
        assert_eq!(request.send().await.unwrap().status(), status, "{order}");
    }
    assert_eq!(call(address, "GET", "/me", "nonsense").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_answer_without_a_token_and_count_no_statement_per_request() {
    let data = tempfile::tempdir().unwrap();
    let (address, background) = start(data.path()).await;
    let alice = login(address, "alice", "wonderland").await;
    for _ in 0..100 {
        assert_eq!(call(address, "GET", "/me", &alice).await.0, StatusCode::OK);
    }
    let text = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(text("/healthz").await.0, StatusCode::OK);
    let (status, metrics) = text("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "tower_revocation_store_statements_total{path=\"request\"} 0",
        "tower_revocation_store_statements_total{path=\"sync\"}",
        "tower_revocation_freshness_age_seconds",
        "tower_revocation_accepted_total",
    ] {
        assert!(metrics.contains(line), "{line} is missing from:\n{metrics}");
    }
    drop(background);
}
