//! The service's own claims.

use std::any::Any;

use serde::de::DeserializeOwned;

use super::{NoClaims, Rejection};
use crate::token::Payload;

/// Reads them from the payload, unless there are none to read.
pub(super) fn claims<C: DeserializeOwned + 'static>(payload: &Payload<'_>) -> Result<C, Rejection> {
    let mut none: Option<C> = None;
    // Any payload holds `NoClaims`: it would be read once more for nothing.
    if let Some(none) = (&mut none as &mut dyn Any).downcast_mut() {
        *none = Some(NoClaims {});
    }
    match none {
        Some(none) => Ok(none),
        None => serde_json::from_str(payload.text()).map_err(|_| Rejection::CustomClaims),
    }
}
