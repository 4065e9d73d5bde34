use std::str::FromStr;

use futures_util::TryStreamExt;
use http::uri::PathAndQuery;
use tonic::{
    Code,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;

use super::*;

struct Client {
    channel: Channel,
    _sync: SyncHandle,
    _data: tempfile::TempDir,
}

impl Client {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (app, sync) = app(data.path()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(app.serve_with_incoming(TcpIncoming::from(listener)));
        let endpoint = Endpoint::from_str(&format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { channel, _sync: sync, _data: data }
    }

    async fn grpc(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        grpc
    }

    async fn unary<Q, A>(&self, path: &'static str, request: Request<Q>) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        self.grpc().await.unary(request, path, codec).await.map(Response::into_inner)
    }

    async fn login(&self) -> String {
        let request = Request::new(LoginRequest {});
        let reply: LoginReply = self.unary("/example.Door/Login", request).await.unwrap();
        reply.access_token
    }

    async fn hello(&self, token: Option<&str>) -> Result<String, Status> {
        let request = with(token, HelloRequest { greeting: "Hello".to_owned() });
        let reply: HelloReply = self.unary("/example.Greeter/Hello", request).await?;
        Ok(reply.text)
    }

    async fn hello_again(&self, token: Option<&str>) -> Result<Vec<String>, Status> {
        let path = PathAndQuery::from_static("/example.Greeter/HelloAgain");
        let request = with(token, HelloRequest { greeting: "Hello".to_owned() });
        let codec = ProstCodec::<HelloRequest, HelloReply>::default();
        let replies = self.grpc().await.server_streaming(request, path, codec).await?.into_inner();
        replies.map_ok(|reply| reply.text).try_collect().await
    }
}

fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn metadata<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.metadata().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_greeted_once_and_by_a_stream() {
    let client = Client::start().await;
    let token = client.login().await;
    assert_eq!(client.hello(Some(&token)).await.unwrap(), "Hello, alice!");
    assert_eq!(
        client.hello_again(Some(&token)).await.unwrap(),
        ["Hello 1, alice!", "Hello 2, alice!", "Hello 3, alice!"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_every_method_is_refused() {
    let client = Client::start().await;
    let hello = client.hello(None).await.unwrap_err();
    let stream = client.hello_again(None).await.unwrap_err();
    let nowhere = client
        .unary::<_, HelloReply>("/example.Greeter/Nowhere", Request::new(HelloRequest::default()));
    for status in [hello, stream, nowhere.await.unwrap_err()] {
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(metadata(&status, "www-authenticate"), Some("Bearer realm=\"api\""));
        assert_eq!(metadata(&status, "revocation-reason"), Some("missing"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_goodbye_the_token_is_refused_and_a_new_login_is_not() {
    let client = Client::start().await;
    let (phone, laptop) = (client.login().await, client.login().await);
    let goodbye = with(Some(&phone), GoodbyeRequest {});
    let _: GoodbyeReply = client.unary("/example.Greeter/Goodbye", goodbye).await.unwrap();

    let hello = client.hello(Some(&phone)).await.unwrap_err();
    let stream = client.hello_again(Some(&phone)).await.unwrap_err();
    for status in [hello, stream] {
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(metadata(&status, "revocation-reason"), Some("revoked"));
        assert_eq!(metadata(&status, "revocation-demand"), Some("login"));
    }
    client.hello(Some(&laptop)).await.unwrap();
    client.hello(Some(&client.login().await)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_service_asks_for_no_token() {
    let client = Client::start().await;
    let mut health = HealthClient::new(client.channel.clone());
    for service in ["", "example.Greeter"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = health.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
}
