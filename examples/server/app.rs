//! The service: how its parts are put together.

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
    routing::{delete, get, post, put},
};
use tower_revocation::{
    Algorithm, AnyStore, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, Revocation,
    RevocationLayer, Verifier,
    cutoff::Receipt,
    error::Error,
    layer::{Confirmations, Renewal},
    lifetimes::Lifetimes,
    routes::TokenEndpoint,
    session::TokenPair,
    store::Requested,
};

use crate::{
    account, admin,
    background::Background,
    config::Config,
    database::Database,
    extract::{Caller, client_ip},
    fault::{Failure, Fault},
    fleet,
    login::login,
    metrics,
    passwords::Passwords,
    sessions,
    users::{self, Users},
};

/// How far clocks may differ in `exp`, `nbf` and `iat`.
const LEEWAY: Duration = Duration::from_millis(500);

/// How long a revocation waits to be seen by this very instance before it is answered.
const LOCAL_WAIT: Duration = Duration::from_secs(1);

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    pub issuer: Issuer<AnyStore>,
    pub epochs: Epochs,
    pub users: Users,
}

/// The routes, and the work that keeps them honest.
pub async fn app(config: &Config) -> Result<(Router, Background), Failure> {
    let lifetimes =
        Lifetimes::new(config.access_ttl, config.max_ttl, LEEWAY)?.with_idle(config.idle_ttl)?;
    let mut epochs = Epochs::builder().lifetimes(lifetimes).max_staleness(config.max_staleness);
    if let Some(buckets) = config.buckets {
        epochs = epochs.buckets(buckets);
    }
    let epochs = epochs.build()?;
    let keys = KeyRing::open(config.data_dir.join("keys"), Algorithm::ES256)?.renews_expired();
    let store = AnyStore::open(&config.database_url).await?;
    let sync = Follower::new(store.clone(), epochs.clone())
        .poll_interval(config.poll)
        .in_fleet(Id::new(&config.address.to_string())?)
        .start()?;
    let mut issuer = Issuer::builder(store.clone(), keys)
        .issuer(&config.issuer)
        .audience(&config.audience)
        .client_id("demo")
        .epochs(epochs.clone())
        .on_reuse(|reuse| {
            let ip = reuse.presented_by.ip();
            tracing::warn!(user = %reuse.user, ?ip, "somebody has a copy of a refresh token");
        });
    if let Some((most, over)) = config.max_sessions {
        issuer = issuer.max_sessions(most, over);
    }
    let issuer = issuer.build()?;
    let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;

    let background = Background::start(sync, issuer.clone(), verifier.clone());
    let database = Database::open(&config.database_url).await?;
    let users = Users::open(database, Passwords::new()).await?;
    let app = App { issuer, epochs: epochs.clone(), users };
    let claims = {
        let app = app.clone();
        move |user| app.clone().claims(user)
    };
    let renewal = Renewal::builder(app.issuer.renewing(claims.clone()))
        .client_ip(|_, extensions| client_ip(extensions))
        .build()?;
    let token = TokenEndpoint::new(app.issuer.clone(), claims).client_ip(client_ip);
    // Asked about what a copy in buckets is in doubt about; an exact one never is.
    let layer = RevocationLayer::new(verifier)
        .realm("demo")?
        .renew(renewal)?
        .confirm_doubtful(Confirmations::new(store.clone()));
    let administration = Router::new()
        .route("/admin/revoke", post(admin::revoke))
        .route("/admin/instances", get(fleet::instances))
        .route("/admin/online", get(admin::online))
        .route("/admin/users/{name}/groups", put(admin::set_groups))
        .route("/admin/users/{name}/suspend", post(admin::suspend))
        .route("/admin/users/{name}/reinstate", post(admin::reinstate))
        .route("/admin/users/{name}/sessions", get(admin::sessions))
        .route_layer(layer.clone().require_group(Id::new(users::ADMIN)?));
    let transfers = Router::new()
        .route("/transfer", get(account::transfer))
        .route_layer(layer.clone().max_auth_age(config.recent_login)?);
    let routes = Router::new()
        .route("/me", get(account::me))
        .route("/password", post(account::change_password))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/logout", post(sessions::logout))
        .route("/logout/others", post(sessions::logout_others))
        .route("/logout/everywhere", post(sessions::logout_everywhere))
        .route_layer(layer)
        .merge(administration)
        .merge(transfers)
        // Whatever stands below is open to all.
        .route("/login", post(login))
        .route_service("/oauth/token", token)
        .layer(map_response(no_store))
        .with_state(app)
        .merge(metrics::routes(epochs, store)?);
    Ok((routes, background))
}

/// What is told about people is for nobody's cache.
async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl App {
    /// What the tokens of `user` say, as of now. By value, for closures that outlive a borrow.
    pub async fn claims(self, user: Id) -> Result<Grant, Error> {
        match self.users.find(user.as_str()).await {
            Ok(Some(user)) if !user.suspended => Ok(user.grant()),
            Ok(Some(_)) => Err(Error::account_refused("it is suspended")),
            Ok(None) => Err(Error::account_refused("it is unknown")),
            Err(cause) => Err(Error::account_unavailable(cause)),
        }
    }

    /// New tokens for a caller whose old ones have just been revoked, and who was spared.
    pub async fn reissue(&self, caller: Caller) -> Result<TokenPair, Fault> {
        let claims = |user| self.clone().claims(user);
        Ok(self.issuer.reissue(caller.user, caller.session, claims).await?)
    }

    /// Revokes, and waits a little until this instance enforces it; others follow by themselves.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Receipt, Fault> {
        let receipt = self.issuer.store().revoke(revocation).await?;
        self.enforced(&receipt).await;
        Ok(receipt)
    }

    /// The same for a revocation in a transaction that has committed.
    pub async fn seal(&self, requested: Requested<AnyStore>) -> Result<(), Fault> {
        self.enforced(&requested.sealed().await?).await;
        Ok(())
    }

    async fn enforced(&self, receipt: &Receipt) {
        if tokio::time::timeout(LOCAL_WAIT, self.epochs.wait_for(receipt)).await.is_err() {
            tracing::warn!("stored, and not enforced here yet: is the sync stuck?");
        }
    }
}
