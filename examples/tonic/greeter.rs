//! `greeter.proto` in Rust, by hand: what tonic-prost-build makes of it, as far as the example needs
//! it, so that nobody has to install protoc.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::BoxStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

#[derive(Clone, PartialEq, prost::Message)]
pub struct LoginRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LoginReply {
    #[prost(string, tag = "1")]
    pub access_token: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloRequest {
    #[prost(string, tag = "1")]
    pub greeting: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloReply {
    #[prost(string, tag = "1")]
    pub text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GoodbyeRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GoodbyeReply {}

#[tonic::async_trait]
pub trait Door: Send + Sync + 'static {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginReply>, Status>;
}

pub type HelloStream = BoxStream<'static, Result<HelloReply, Status>>;

#[tonic::async_trait]
pub trait Greeter: Send + Sync + 'static {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status>;

    async fn hello_again(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloStream>, Status>;

    async fn goodbye(
        &self,
        request: Request<GoodbyeRequest>,
    ) -> Result<Response<GoodbyeReply>, Status>;
}

pub struct DoorServer<T>(Arc<T>);

pub struct GreeterServer<T>(Arc<T>);

impl<T> DoorServer<T> {
    pub fn new(inner: T) -> Self {
        Self(Arc::new(inner))
    }
}

impl<T> GreeterServer<T> {
    pub fn new(inner: T) -> Self {
        Self(Arc::new(inner))
    }
}

impl<T> NamedService for DoorServer<T> {
    const NAME: &'static str = "example.Door";
}

impl<T> NamedService for GreeterServer<T> {
    const NAME: &'static str = "example.Greeter";
}

impl<T: Door> Service<http::Request<Body>> for DoorServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/example.Door/Login" => {
                    let method = service_fn(|request| inner.login(request));
                    Grpc::new(ProstCodec::default()).unary(method, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

impl<T: Greeter> Service<http::Request<Body>> for GreeterServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/example.Greeter/Hello" => {
                    let method = service_fn(|request| inner.hello(request));
                    Grpc::new(ProstCodec::default()).unary(method, request).await
                }
                "/example.Greeter/HelloAgain" => {
                    let method = service_fn(|request| inner.hello_again(request));
                    Grpc::new(ProstCodec::default()).server_streaming(method, request).await
                }
                "/example.Greeter/Goodbye" => {
                    let method = service_fn(|request| inner.goodbye(request));
                    Grpc::new(ProstCodec::default()).unary(method, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

// By hand, as a derive would ask for the same of `T`.
impl<T> Clone for DoorServer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for GreeterServer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
