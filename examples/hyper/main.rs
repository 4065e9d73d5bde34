//! Plain hyper: the layer around the routes that need a caller, and none around the login.
//!
//! `cargo run --example hyper`, and in another terminal:
//!
//! ```console
//! $ TOKEN=$(curl -s -X POST 127.0.0.1:3000/login)
//! $ curl 127.0.0.1:3000/me -H "Authorization: Bearer $TOKEN"
//! $ curl -X POST 127.0.0.1:3000/logout -H "Authorization: Bearer $TOKEN"
//! ```

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible, env, error::Error, fmt::Display, net::Ipv4Addr, path::Path, time::Duration,
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, Revocation,
    RevocationLayer, Scope, SqliteStore, SyncHandle, Verified, Verifier, layer::ResponseBody,
};

type Text = Full<Bytes>;
/// The login's own answers, or those that went through the layer.
type Body = Either<Text, ResponseBody<Text>>;
type Answer = Result<Response<Text>, Box<dyn Error + Send + Sync>>;

#[derive(Clone)]
struct App {
    issuer: Issuer<SqliteStore>,
    verifier: Verifier,
}

/// Where it can serve, its copy of the revocations is loaded. Dropping the handle stops the sync.
async fn app(data: &Path) -> Result<(App, SyncHandle), Box<dyn Error>> {
    let keys = KeyRing::open(data.join("keys"), Algorithm::ES256)?;
    let store = SqliteStore::open(data.join("hyper.db")).await?;
    let epochs = Epochs::new();
    let sync = Follower::new(store.clone(), epochs.clone()).start()?;
    let issuer = Issuer::builder(store, keys)
        .issuer("http://127.0.0.1:3000")
        .audience("hyper")
        .client_id("curl")
        .build()?;
    let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;
    epochs.ready().await;
    Ok((App { issuer, verifier }, sync))
}

/// Everything but the login is behind the layer, paths that do not exist too.
fn service(
    app: App,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let public = app.clone();
    let layer = RevocationLayer::new(app.verifier.clone());
    let protected = layer.layer(service_fn(move |request| protected(app.clone(), request)));
    service_fn(move |request: Request<Incoming>| {
        let (public, protected) = (public.clone(), protected.clone());
        async move {
            if (request.method(), request.uri().path()) == (&Method::POST, "/login") {
                Ok(login(&public).await.unwrap_or_else(failed).map(Either::Left))
            } else {
                Ok(protected.oneshot(request).await?.map(Either::Right))
            }
        }
    })
}

async fn protected(app: App, request: Request<Incoming>) -> Result<Response<Text>, Infallible> {
    let Some(caller) = request.extensions().get::<Verified>() else {
        return Ok(failed("RevocationLayer is missing"));
    };
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/me") => answer(StatusCode::OK, caller.subject()),
        (&Method::POST, "/logout") => logout(&app, caller).await.unwrap_or_else(failed),
        _ => answer(StatusCode::NOT_FOUND, ""),
    })
}

/// Whoever asks is alice. A real service checks a password, after it has taken the ticket.
async fn login(app: &App) -> Answer {
    let ticket = app.issuer.ticket().await?;
    let tokens = app.issuer.login(ticket, Grant::new(Id::new("alice")?)).await?;
    Ok(answer(StatusCode::OK, tokens.access().as_str()))
}

/// Ends the caller's session, and waits a little until this instance knows.
async fn logout(app: &App, caller: &Verified) -> Answer {
    let session = Scope::session(caller.session().unwrap_or_default())?;
    let receipt = app.issuer.store().revoke(Revocation::new(session, Demand::Login)).await?;
    let known = app.verifier.epochs().wait_for(&receipt);
    time::timeout(Duration::from_secs(1), known).await.ok();
    Ok(answer(StatusCode::NO_CONTENT, ""))
}

fn failed(error: impl Display) -> Response<Text> {
    eprintln!("{error}");
    answer(StatusCode::SERVICE_UNAVAILABLE, "")
}

fn answer(status: StatusCode, body: &str) -> Response<Text> {
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = status;
    response
}

async fn serve(listener: TcpListener, app: App) -> Result<(), Box<dyn Error>> {
    let service = TowerToHyperService::new(service(app));
    loop {
        let (stream, _) = listener.accept().await?;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()); // ends connections that never finish their headers
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").as_deref().unwrap_or("3000").parse()?;
    let data = env::var_os("DATA_DIR").unwrap_or_else(|| "data".into());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let (app, _sync) = app(data.as_ref()).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app).await
}
