//! Bodies, as they come and as they go.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::layer::{ResponseBody, RevocationLayer};

use crate::{gate::Gate, with_token};

/// No `Default`, an error type of its own, and frames one by one.
struct Odd(VecDeque<Result<Frame<Bytes>, OddError>>);

#[derive(Debug, PartialEq)]
struct OddError;

impl Body for Odd {
    type Data = Bytes;
    type Error = OddError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OddError>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(3);
        hint.set_upper(17);
        hint
    }
}

async fn odd(_: Request<()>) -> Result<Response<Odd>, Infallible> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "6".parse().unwrap());
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"abc"))),
        Ok(Frame::data(Bytes::from_static(b"def"))),
        Ok(Frame::trailers(trailers)),
        Err(OddError),
    ];
    Ok(Response::new(Odd(frames.into())))
}

#[tokio::test]
async fn passes_a_streaming_body_on_as_it_is() {
    let service = RevocationLayer::new(Gate::open().verifier).layer(service_fn(odd));
    let response = service.oneshot(with_token().body(()).unwrap()).await.unwrap();
    let mut body: ResponseBody<Odd> = response.into_body();

    assert!(!body.is_end_stream());
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (3, Some(17)));
    for data in ["abc", "def"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), data);
    }
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "6");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), OddError);
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_one_whole_frame_of_known_length() {
    let service = RevocationLayer::new(Gate::open().verifier).layer(service_fn(odd));
    let response = service.oneshot(Request::new(())).await.unwrap();
    let mut body = response.into_body();

    let length = body.size_hint().exact().unwrap();
    assert!(!body.is_end_stream());
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame.len() as u64, length);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}
