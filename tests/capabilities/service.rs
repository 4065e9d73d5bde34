//! Small services of the tests' own, over HTTP on a loopback socket.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use reqwest::{Client, Response};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_revocation::{RevocationLayer, Verified, Verifier};

pub(crate) struct Service {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, serving }
    }

    /// `/me`, which answers with issuer and subject, behind `verifier`.
    pub(crate) async fn protected_by(verifier: Verifier) -> Self {
        Self::behind(RevocationLayer::new(verifier)).await
    }

    /// The same, behind `layer`.
    pub(crate) async fn behind(layer: RevocationLayer) -> Self {
        let me = async |caller: Verified| format!("{} {}", caller.issuer(), caller.subject());
        Self::start(Router::new().route("/me", get(me)).route_layer(layer)).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn me(&self, token: &str) -> Response {
        Client::new().get(self.url("/me")).bearer_auth(token).send().await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
