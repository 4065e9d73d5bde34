//! How a successor is told.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL},
};

use super::Renewed;
use crate::telemetry;

/// Whether a response is one that a successor may go with: no error, in HTTP's terms and, as far as
/// its head tells, in gRPC's.
pub(super) fn is_success<B>(response: &Response<B>) -> bool {
    let status = response.status();
    let grpc = response.headers().get("grpc-status");
    !status.is_client_error() && !status.is_server_error() && grpc.is_none_or(|code| code == "0")
}

/// Writes `renewed` into `headers`, under `name`: readable to scripts of other origins that CORS lets
/// in, and kept by no cache.
pub(super) fn hand_out(headers: &mut HeaderMap, name: &HeaderName, renewed: &Renewed) {
    let mut value = match HeaderValue::try_from(renewed.as_str()) {
        Ok(value) => value,
        // Compact tokens are ASCII; this one was made by somebody else's `Renew`.
        Err(unfit) => return telemetry::successor_unfit(&unfit),
    };
    value.set_sensitive(true);
    headers.insert(name, value);
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from(name.clone()));
    keep_out_of_caches(headers);
}

/// Has no cache keep the response: it holds somebody's token now.
pub(in crate::layer) fn keep_out_of_caches(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What is addressed to the caches of a CDN outranks that there (RFC 9213 §2.2).
    let targeted: Vec<HeaderName> =
        headers.keys().filter(|name| is_for_a_cdn(name.as_str())).cloned().collect();
    for name in targeted {
        headers.remove(name);
    }
}

fn is_for_a_cdn(name: &str) -> bool {
    name == "surrogate-control" || name.ends_with("cdn-cache-control")
}
