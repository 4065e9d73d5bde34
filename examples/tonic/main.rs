//! tonic: one service behind the layer, the login and the health service outside of it.
//!
//! `cargo run --example tonic`, and with grpcurl in another terminal:
//!
//! ```console
//! $ grpcurl -plaintext -proto examples/tonic/greeter.proto 127.0.0.1:3000 example.Door/Login
//! $ grpcurl -plaintext -proto examples/tonic/greeter.proto -H "Authorization: Bearer …" \
//!     -d '{"greeting":"Hello"}' 127.0.0.1:3000 example.Greeter/HelloAgain
//! ```

mod greeter;
#[cfg(test)]
mod tests;

use std::{env, error::Error, net::Ipv4Addr, path::Path, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, time};
use tonic::{
    Request, Response, Status,
    service::LayerExt,
    transport::{
        Server,
        server::{Router, TcpIncoming},
    },
};
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, Revocation,
    RevocationLayer, Scope, SqliteStore, SyncHandle, Verified, Verifier,
};

use crate::greeter::{
    Door, DoorServer, GoodbyeReply, GoodbyeRequest, Greeter, GreeterServer, HelloReply,
    HelloRequest, HelloStream, LoginReply, LoginRequest,
};

#[derive(Clone)]
struct App {
    issuer: Issuer<SqliteStore>,
    epochs: Epochs,
}

/// Where it can serve, its copy of the revocations is loaded. Dropping the handle stops the sync.
async fn app(data: &Path) -> Result<(Router, SyncHandle), Box<dyn Error>> {
    let keys = KeyRing::open(data.join("keys"), Algorithm::ES256)?;
    let store = SqliteStore::open(data.join("tonic.db")).await?;
    let epochs = Epochs::new();
    let sync = Follower::new(store.clone(), epochs.clone()).start()?;
    let issuer = Issuer::builder(store, keys)
        .issuer("http://127.0.0.1:3000")
        .audience("tonic")
        .client_id("grpcurl")
        .build()?;
    let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;
    epochs.ready().await;

    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<GreeterServer<App>>().await;
    let app = App { issuer, epochs };
    // `Server::layer` would put it around all services. `named_layer` puts it around one, and
    // keeps the name by which tonic routes.
    let greeter = RevocationLayer::new(verifier).named_layer(GreeterServer::new(app.clone()));
    let router = Server::builder()
        .add_service(health)
        .add_service(DoorServer::new(app))
        .add_service(greeter);
    Ok((router, sync))
}

#[tonic::async_trait]
impl Door for App {
    /// Whoever asks is alice. A real service checks a password, after it has taken the ticket.
    async fn login(&self, _: Request<LoginRequest>) -> Result<Response<LoginReply>, Status> {
        let ticket = self.issuer.ticket().await.map_err(failed)?;
        let alice = Grant::new(Id::new("alice").map_err(failed)?);
        let tokens = self.issuer.login(ticket, alice).await.map_err(failed)?;
        Ok(Response::new(LoginReply { access_token: tokens.access().as_str().to_owned() }))
    }
}

#[tonic::async_trait]
impl Greeter for App {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let name = caller(&request)?.subject();
        let text = format!("{}, {name}!", request.get_ref().greeting);
        Ok(Response::new(HelloReply { text }))
    }

    /// The token was checked when the request arrived, and is not while the answers stream on.
    async fn hello_again(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloStream>, Status> {
        let name = caller(&request)?.subject().to_owned();
        let HelloRequest { greeting } = request.into_inner();
        let replies = stream::iter(1..=3)
            .map(move |time| Ok(HelloReply { text: format!("{greeting} {time}, {name}!") }));
        Ok(Response::new(replies.boxed()))
    }

    /// Ends the caller's session, and waits a little until this instance knows.
    async fn goodbye(
        &self,
        request: Request<GoodbyeRequest>,
    ) -> Result<Response<GoodbyeReply>, Status> {
        let session = caller(&request)?.session().unwrap_or_default();
        let revocation = Revocation::new(Scope::session(session).map_err(failed)?, Demand::Login);
        let receipt = self.issuer.store().revoke(revocation).await.map_err(failed)?;
        time::timeout(Duration::from_secs(1), self.epochs.wait_for(&receipt)).await.ok();
        Ok(Response::new(GoodbyeReply {}))
    }
}

/// The layer puts it there; without the layer, that is the service's mistake, not the client's.
fn caller<T>(request: &Request<T>) -> Result<&Verified, Status> {
    let missing = || Status::internal("RevocationLayer is missing");
    request.extensions().get::<Verified>().ok_or_else(missing)
}

fn failed(error: impl Error) -> Status {
    eprintln!("{error}");
    Status::unavailable("the store does not answer")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").as_deref().unwrap_or("3000").parse()?;
    let data = env::var_os("DATA_DIR").unwrap_or_else(|| "data".into());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let (app, _sync) = app(data.as_ref()).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(app.serve_with_incoming(TcpIncoming::from(listener)).await?)
}
