//! axum: claims of the service's own, open and protected routes side by side, one that is both, a
//! route for a group, refusals in the service's own words, and refreshing by a ready-made route.
//!
//! `cargo run --example axum`, and in another terminal:
//!
//! ```console
//! $ curl -s 127.0.0.1:3000/login -d username=bob -d password=builder    # {"access_token":"…", …}
//! $ curl 127.0.0.1:3000/me -H "Authorization: Bearer …"
//! $ curl 127.0.0.1:3000/staff -H "Authorization: Bearer …"
//! $ curl 127.0.0.1:3000/hello
//! $ curl -s 127.0.0.1:3000/oauth/token -d grant_type=refresh_token -d refresh_token=…
//! ```

#[cfg(test)]
mod tests;

use std::{env, error::Error, net::Ipv4Addr, path::Path, time::Duration};

use axum::{
    Form, Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderValue, Response, StatusCode, header},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time};
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, Revocation,
    RevocationLayer, Scope, SqliteStore, SyncHandle, Verified, Verifier, layer::Refusal,
    routes::TokenEndpoint, session::TokenPair,
};

/// The claims that this service adds to its tokens.
#[derive(Deserialize, Serialize)]
struct Own {
    plan: String,
}

/// Named at the layer and in the handlers: with two different types, handlers answer 500.
type Caller = Verified<Own>;

#[derive(Clone)]
struct App {
    issuer: Issuer<SqliteStore>,
    epochs: Epochs,
}

/// Where it can serve, its copy of the revocations is loaded. Dropping the handle stops the sync.
async fn app(data: &Path) -> Result<(Router, SyncHandle), Box<dyn Error>> {
    let keys = KeyRing::open(data.join("keys"), Algorithm::ES256)?;
    let store = SqliteStore::open(data.join("axum.db")).await?;
    let epochs = Epochs::new();
    let sync = Follower::new(store.clone(), epochs.clone()).start()?;
    let issuer = Issuer::builder(store, keys)
        .issuer("http://127.0.0.1:3000")
        .audience("axum")
        .client_id("curl")
        .epochs(epochs.clone())
        .build()?;
    let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;
    epochs.ready().await;
    let layer = RevocationLayer::new(verifier).claims::<Own>().on_rejection(refuse);
    let app = Router::new()
        .route("/me", get(me))
        .route("/staff", get(staff))
        .route("/logout", post(logout))
        .route_layer(layer.clone())
        // Their own policy: with a token or without, but not with a bad one.
        .merge(Router::new().route("/hello", get(hello)).route_layer(layer.optional()))
        // Outside of the layer.
        .route("/login", post(login))
        .route_service("/oauth/token", TokenEndpoint::new(issuer.clone(), claims))
        .with_state(App { issuer, epochs });
    Ok((app, sync))
}

async fn hello(caller: Option<Caller>) -> String {
    format!("Hello, {}!", caller.as_ref().map_or("stranger", |caller| caller.subject()))
}

async fn me(caller: Caller) -> Json<Value> {
    Json(json!({ "user": caller.subject(), "plan": caller.claims().plan }))
}

async fn staff(caller: Caller) -> Result<&'static str, StatusCode> {
    let is_staff = caller.groups().any(|group| group == "staff");
    is_staff.then_some("the back office").ok_or(StatusCode::FORBIDDEN)
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

async fn login(
    State(app): State<App>,
    Form(credentials): Form<Credentials>,
) -> Result<TokenPair, StatusCode> {
    // Before the password is read: a revocation after this refuses the login.
    let ticket = app.issuer.ticket().await.map_err(failed)?;
    // A real service has a table and hashed passwords.
    let passwords = [("alice", "wonderland"), ("bob", "builder")];
    if !passwords.contains(&(&credentials.username, &credentials.password)) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let user = Id::new(&credentials.username).map_err(failed)?;
    let grant = claims(user).await.map_err(failed)?;
    app.issuer.login(ticket, grant).await.map_err(failed)
}

/// What a token of `user` is to say, read anew at each refresh.
async fn claims(user: Id) -> Result<Grant, tower_revocation::error::Error> {
    let (plan, group) = match user.as_str() {
        "bob" => ("pro", Some(Id::new("staff")?)),
        _ => ("free", None),
    };
    Grant::new(user).groups(group).claim("plan", plan)
}

/// Ends the caller's session, and waits a little until this instance knows.
async fn logout(State(app): State<App>, caller: Caller) -> Result<StatusCode, StatusCode> {
    let session = Scope::session(caller.session().unwrap_or_default()).map_err(failed)?;
    let revocation = Revocation::new(session, Demand::Login);
    let receipt = app.issuer.store().revoke(revocation).await.map_err(failed)?;
    time::timeout(Duration::from_secs(1), app.epochs.wait_for(&receipt)).await.ok();
    Ok(StatusCode::NO_CONTENT)
}

/// The default answer with another body: its status, challenge and `Retry-After` stay.
fn refuse(refusal: &Refusal<'_>) -> Response<Bytes> {
    let mut response = refusal.to_response();
    if !refusal.is_grpc() {
        let rejection = refusal.rejection();
        let demand = rejection.demand().map(|demand| demand.as_str());
        let body = json!({ "error": rejection.reason(), "then": demand });
        *response.body_mut() = body.to_string().into();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    response
}

fn failed(error: impl Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::SERVICE_UNAVAILABLE
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").as_deref().unwrap_or("3000").parse()?;
    let data = env::var_os("DATA_DIR").unwrap_or_else(|| "data".into());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let (app, _sync) = app(data.as_ref()).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
