//! Reading the form of a POST request.

use std::{collections::HashMap, error::Error as StdError, pin::pin};

use bytes::{Buf, BufMut};
use http::{HeaderMap, Method, Request, header::CONTENT_TYPE, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;

use super::answer::Refusal;
use crate::telemetry;

/// The longest form that is looked at, in bytes. A refresh token has 4 KiB at most.
const MAX_FORM: usize = 16 * 1024;

/// The longest body that is received, in bytes. What is over [`MAX_FORM`] of it is thrown away: a
/// server that closes a connection with bytes unread resets it, and the client, which still sends,
/// might never see why it was refused.
const MAX_RECEIVED: usize = 2 * 1024 * 1024;

/// The parameters of a form, each of which stands there once.
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Receives a request, judges it and reads its form.
    pub(super) async fn read<B>(request: Request<B>) -> Result<(Parts, Self), Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        // First of all, whatever the answer will be: see `MAX_RECEIVED`.
        let body = receive(body).await;
        if head.method != Method::POST {
            return Err(Refusal::Method);
        }
        if !is_form(&head.headers) {
            let problem = "the content type must be application/x-www-form-urlencoded";
            return Err(Refusal::InvalidRequest(problem));
        }
        Ok((head, Self::parse(&body?)?))
    }

    /// RFC 6749 §3.2: a parameter that stands twice is refused, be it known or not. What is no
    /// UTF-8 becomes U+FFFD, which no valid value holds.
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Refusal::InvalidRequest("a parameter stands twice"));
            }
        }
        Ok(Self(parameters))
    }

    /// The value of `name`. One without a value counts as omitted (§3.2).
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }
}

/// The whole body, of which no more than [`MAX_FORM`] is ever held.
async fn receive<B>(body: B) -> Result<Vec<u8>, Refusal>
where
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut body = pin!(body);
    let (mut form, mut received) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            telemetry::body_failed(&*error.into());
            Refusal::InvalidRequest("the body ends too early")
        })?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        received = received.saturating_add(data.remaining());
        if received > MAX_RECEIVED {
            break;
        }
        if received <= MAX_FORM {
            form.put(data);
        }
    }
    if received > MAX_FORM {
        return Err(Refusal::InvalidRequest("the body is too large"));
    }
    Ok(form)
}

/// Whether the one content type is that of a form. Its parameters say nothing: the bytes are UTF-8
/// by RFC 6749, appendix B.
fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_parameter_stands_once_or_not_at_all() {
        let mut form = Form::parse(b"a=1&b=&c&&d=x+y%2B%3D&=7&e=%ff").unwrap();
        for (name, value) in [
            ("a", Some("1")),
            ("a", None),
            ("b", None),
            ("c", None),
            ("d", Some("x y+=")),
            ("e", Some("\u{fffd}")),
            ("f", None),
        ] {
            assert_eq!(form.take(name).as_deref(), value, "{name}");
        }
        for twice in ["a=1&a=1", "a=1&%61=2", "a=&a=1", "a&b&a", "a=1;a=2&a=3&a=4", "=1&=2"] {
            assert!(Form::parse(twice.as_bytes()).is_err(), "{twice}");
        }
    }

    #[test]
    fn a_content_type_is_compared_without_case_and_parameters() {
        let form = "application/x-www-form-urlencoded";
        for (types, is) in [
            (vec![form.to_owned()], true),
            (vec![form.to_uppercase()], true),
            (vec![format!("{form};charset=UTF-8")], true),
            (vec![format!("{form} ; charset=\"x;y\"")], true),
            (vec![], false),
            (vec![String::new()], false),
            (vec![format!("{form}x")], false),
            (vec![format!("{form}, {form}")], false),
            (vec!["application/json".to_owned()], false),
            (vec!["multipart/form-data; boundary=x".to_owned()], false),
            (vec![form.to_owned(), form.to_owned()], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &types {
                headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(is_form(&headers), is, "{types:?}");
        }
    }
}
