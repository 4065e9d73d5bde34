//! The service itself.

use std::{error::Error as StdError, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRequest, Request, State},
    http::{HeaderName, StatusCode, header},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, Revocation,
    RevocationLayer, Scope, SqliteStore, Verified, Verifier,
    cutoff::Receipt,
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::ScopeKind,
    session::TokenPair,
};

use crate::{background::Background, config::Config, fault::Fault, metrics, users};

/// How far clocks may differ in `exp`, `nbf` and `iat`.
const LEEWAY: Duration = Duration::from_millis(500);

/// How long a revocation waits to be seen by this very instance before it is answered.
const LOCAL_WAIT: Duration = Duration::from_secs(1);

/// How often a login whose claims went stale under way starts over.
const LOGIN_ATTEMPTS: usize = 5;

#[derive(Clone)]
struct App {
    issuer: Issuer<SqliteStore>,
    epochs: Epochs,
}

/// The routes, and the work that keeps them honest.
pub async fn app(config: &Config) -> Result<(Router, Background), Box<dyn StdError>> {
    // Tokens live whole seconds.
    let access = Duration::from_secs_f64(config.access_ttl.as_secs_f64().ceil());
    let lifetimes = Lifetimes::new(access, config.max_ttl.max(access), LEEWAY)?;
    let epochs =
        Epochs::builder().lifetimes(lifetimes).max_staleness(config.max_staleness).build()?;
    let keys = KeyRing::open(config.data_dir.join("keys"), Algorithm::ES256)?;
    let store = SqliteStore::open(config.data_dir.join("server.db")).await?;
    let sync = Follower::new(store.clone(), epochs.clone()).poll_interval(config.poll).start()?;
    let issuer = Issuer::builder(store.clone(), keys)
        .issuer(&config.issuer)
        .audience(&config.audience)
        .client_id("demo")
        .lifetimes(lifetimes)
        .access_lifetime(config.access_ttl)
        .build()?;
    let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;

    let background = Background::start(sync, issuer.clone(), verifier.clone());
    let routes = Router::new()
        .route("/me", get(me))
        .route("/logout", post(logout))
        .route("/logout/everywhere", post(logout_everywhere))
        .route("/admin/revoke", post(revoke))
        .route_layer(RevocationLayer::new(verifier).realm("demo")?)
        .route("/login", post(login))
        .with_state(App { issuer, epochs: epochs.clone() })
        .merge(metrics::routes(epochs, store)?);
    Ok((routes, background))
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
    #[serde(default, rename = "label")]
    _label: Option<String>,
}

async fn login(
    State(app): State<App>,
    request: Request,
) -> Result<([(HeaderName, &'static str); 1], Json<Value>), Fault> {
    let Credentials { username, password, .. } = json_or_form(request).await?;
    let token = app.login(&username, &password).await?;
    let answer = json!({
        "access_token": token.access().as_str(),
        "token_type": "Bearer",
        "expires_in": token.access().expires_in().as_secs(),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)))
}

async fn me(caller: Verified) -> Json<Value> {
    Json(json!({
        "sub": caller.subject(),
        "sid": caller.session(),
        "groups": caller.groups().collect::<Vec<_>>(),
        "iat": caller.issued_at(),
        "exp": caller.expires_at(),
        "auth_time": caller.auth_time(),
    }))
}

async fn logout(State(app): State<App>, caller: Verified) -> Result<StatusCode, Fault> {
    let sid = caller.session().unwrap_or_default();
    app.revoke(Scope::session(sid).map_err(Error::from)?, Demand::Login).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout_everywhere(State(app): State<App>, caller: Verified) -> Result<StatusCode, Fault> {
    app.revoke(Scope::user(caller.subject()).map_err(Error::from)?, Demand::Login).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Order {
    scope: String,
    #[serde(default)]
    subject: String,
    demand: String,
}

async fn revoke(
    State(app): State<App>,
    caller: Verified,
    body: Request,
) -> Result<Json<Value>, Fault> {
    if !caller.groups().any(|group| group == users::ADMIN) {
        return Err(Fault::NotAdmin);
    }
    let Json(order) = Json::<Order>::from_request(body, &())
        .await
        .map_err(|problem| Fault::Malformed(problem.body_text()))?;
    let malformed = |problem: &dyn StdError| Fault::Malformed(problem.to_string());
    let kind: ScopeKind = order.scope.parse().map_err(|problem| malformed(&problem))?;
    let demand: Demand = order.demand.parse().map_err(|problem| malformed(&problem))?;
    let scope = Scope::new(kind, &order.subject)
        .map_err(|problem| Fault::Malformed(format!("the subject {problem}")))?;
    let receipt = app.revoke(scope, demand).await?;
    let revoked_before = receipt.revoked_before().as_micros();
    // Cut-offs are unique and rise in the order of commits: they are the sequence, too.
    Ok(Json(json!({ "revoked_before": revoked_before, "seq": revoked_before })))
}

impl App {
    async fn login(&self, username: &str, password: &str) -> Result<TokenPair, Fault> {
        let mut attempt = 1;
        loop {
            // Before the password is read: a revocation after this refuses the login.
            let ticket = self.issuer.ticket().await?;
            let groups = users::authenticate(username, password).ok_or(Fault::WrongPassword)?;
            let user = Id::new(username).map_err(Error::from)?;
            let token = self.issuer.login(ticket, Grant::new(user).groups(groups)).await;
            match token.as_ref().map_err(Error::kind) {
                Err(ErrorKind::RevokedMeanwhile(Demand::Refresh)) if attempt < LOGIN_ATTEMPTS => {
                    attempt += 1;
                }
                _ => return Ok(token?),
            }
        }
    }

    /// Revokes, and waits a little until this instance enforces it; others follow by themselves.
    async fn revoke(&self, scope: Scope, demand: Demand) -> Result<Receipt, Fault> {
        let receipt = self.issuer.store().revoke(Revocation::new(scope, demand)).await?;
        if tokio::time::timeout(LOCAL_WAIT, self.epochs.wait_for(&receipt)).await.is_err() {
            tracing::warn!("stored, and not enforced here yet: is the sync stuck?");
        }
        Ok(receipt)
    }
}

/// A body as JSON or as a form, whichever its content type says.
async fn json_or_form<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Fault> {
    let form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if form {
        let body = axum::Form::from_request(request, &()).await;
        body.map(|axum::Form(value)| value).map_err(|problem| Fault::Malformed(problem.body_text()))
    } else {
        let body = Json::from_request(request, &()).await;
        body.map(|Json(value)| value).map_err(|problem| Fault::Malformed(problem.body_text()))
    }
}
