//! Attacks on renewals, against the real parts.

use std::time::Duration;

use axum::http::StatusCode;
use tower_revocation::{
    EpochStore, Id, RevocationLayer,
    layer::{Renewal, RenewalBuilder},
    lifetimes::Lifetimes,
};

use crate::{
    common::{
        instance::{Instance, grant},
        place::Place,
    },
    devices::Devices,
};

fn renewal(instance: &Instance) -> RenewalBuilder {
    let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
    Renewal::builder(instance.issuer.renewing(claims))
}

async fn renewing(place: &Place) -> Devices {
    Devices::start_layered(
        place.path(),
        Lifetimes::default(),
        |instance, layer: RevocationLayer| layer.renew(renewal(instance).build().unwrap()).unwrap(),
    )
    .await
}

#[tokio::test]
async fn attack_a_token_without_a_session_costs_no_statement_though_it_is_old() {
    let place = Place::new().await;
    let devices = renewing(&place).await;
    let issuer = &devices.instance.issuer;
    let ticket = issuer.ticket().await.unwrap();
    let token = issuer.issue(ticket, grant("alice", &[])).await.unwrap();
    devices.pass(Duration::from_secs(8 * 60));
    let before = devices.instance.store.statements().session;
    for _ in 0..30 {
        devices.pass(Duration::from_secs(2));
        assert_eq!(devices.ask(token.as_str(), &[]).await.status(), StatusCode::OK);
    }
    let sent = devices.instance.store.statements().session - before;
    assert!(sent <= 2, "{sent} statements for thirty requests with a token that is trusted");
}
