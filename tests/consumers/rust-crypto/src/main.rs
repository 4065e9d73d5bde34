//! A service on the pure Rust back end alone, and without a database: it makes its keys, mints
//! tokens, verifies them, revokes, and sees the token refused and its successor accepted.

use std::error::Error;

use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, NoClaims,
    Rejection, Revocation, Scope, Verifier,
    store::MemoryStore,
    token::{CryptoBackend, SigningKey},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    assert_eq!(CryptoBackend::ALL, [CryptoBackend::RustCrypto]);
    for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        live(algorithm).await.map_err(|problem| format!("{algorithm}: {problem}"))?;
        println!("{algorithm}: minted, verified, revoked, refused, minted again");
    }
    Ok(())
}

async fn live(algorithm: Algorithm) -> Result<(), Box<dyn Error>> {
    let epochs = Epochs::new();
    let store = MemoryStore::new();
    let _sync = Follower::new(store.clone(), epochs.clone()).start()?;
    let issuer = Issuer::builder(store, KeyRing::new(SigningKey::generate(algorithm)?))
        .issuer("https://issuer.example")
        .audience("api")
        .client_id("web")
        .build()?;
    let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;
    epochs.ready().await;

    let token = login(&issuer).await?;
    let verified = verifier.verify::<NoClaims>(token.as_bytes())?;
    assert_eq!(verified.subject(), "alice");
    let forged = format!("{}{}", &token[..token.len() - 8], "AAAAAAAA");
    let refused = verifier.verify::<NoClaims>(forged.as_bytes());
    assert!(matches!(refused, Err(Rejection::Signature)), "{refused:?}");

    let everywhere = Revocation::new(Scope::user("alice")?, Demand::Login);
    let receipt = issuer.store().revoke(everywhere).await?;
    epochs.wait_for(&receipt).await;
    let refused = verifier.verify::<NoClaims>(token.as_bytes());
    assert!(matches!(refused, Err(Rejection::Revoked(_))), "{refused:?}");
    let again = login(&issuer).await?;
    verifier.verify::<NoClaims>(again.as_bytes())?;
    Ok(())
}

async fn login(issuer: &Issuer<MemoryStore>) -> Result<String, Box<dyn Error>> {
    let ticket = issuer.ticket().await?;
    let tokens = issuer.login(ticket, Grant::new(Id::new("alice")?)).await?;
    Ok(tokens.access().as_str().to_owned())
}
