//! What refused clients of gRPC are told.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use tonic::{
    Code,
    transport::{Endpoint, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::{cutoff::Demand, layer::RevocationLayer};

use crate::{
    gate::{Gate, good_token},
    hello, revoke, with_token,
};

#[tokio::test]
async fn grpc_is_refused_with_trailers_only() {
    let fresh = Gate::open();
    let revoked = Gate::open();
    revoke(&revoked, Demand::Refresh);
    let two = with_token().header(AUTHORIZATION, "Bearer a");
    for (gate, request, code, reason, demand) in [
        (&fresh, Request::get("/"), "16", "missing", Some("login")),
        (&fresh, two, "3", "multiple_tokens", Some("login")),
        (&revoked, with_token(), "16", "revoked", Some("refresh")),
        (&Gate::not_loaded(), with_token(), "14", "not_loaded", None),
    ] {
        let request = request.header(CONTENT_TYPE, "application/grpc+proto");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let service = RevocationLayer::new(gate.verifier.clone()).layer(service_fn(hello));
        let response = service.oneshot(request).await.unwrap();

        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "application/grpc");
        assert_eq!(headers["grpc-status"], code);
        assert!(!headers["grpc-message"].is_empty());
        assert_eq!(headers["revocation-reason"], reason);
        assert_eq!(headers.get("revocation-demand").map(|it| it.to_str().unwrap()), demand);
        let unavailable = code == "14";
        assert_eq!(headers.contains_key(RETRY_AFTER), unavailable);
        assert_eq!(headers.contains_key("grpc-retry-pushback-ms"), unavailable);
        assert_eq!(headers.contains_key(WWW_AUTHENTICATE), !unavailable);

        let mut body = response.into_body();
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_tonic_client_understands_the_refusal() {
    let gate = Gate::open();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .layer(RevocationLayer::new(gate.verifier.clone()))
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let request = |token: Option<String>| {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    };

    let status = client.check(request(None)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "no access token was presented");
    assert_eq!(status.metadata().get("www-authenticate").unwrap(), "Bearer realm=\"api\"");

    client.check(request(Some(good_token()))).await.unwrap();

    revoke(&gate, Demand::Refresh);
    let status = client.check(request(Some(good_token()))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.metadata().get("revocation-reason").unwrap(), "revoked");
    assert_eq!(status.metadata().get("revocation-demand").unwrap(), "refresh");

    gate.clock.advance(Duration::from_secs(11));
    let status = client.check(request(Some(good_token()))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("revocation-demand"), None);
}
