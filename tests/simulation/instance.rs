//! An instance of a service: the crate's own parts, put together as a service does it.

use std::{convert::Infallible, future::Future, sync::Arc, sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use serde::Deserialize;
use tokio::task::AbortHandle;
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::{
    Algorithm, Epochs, Follower, Grant, Id, Issuer, KeyRing, RevocationLayer, SyncHandle, Verified,
    Verifier,
    epochs::Verdict,
    error::Error,
    layer::{Confirmations, Renewal},
    token::SigningKey,
};

use crate::{
    laws::Answerer,
    plan::{Setup, WhileStale, lifetimes},
    store::Remote,
    world::World,
};

/// An instance from one start to the next.
pub(crate) struct Instance {
    pub(crate) world: Arc<World>,
    pub(crate) number: usize,
    pub(crate) boot: u32,
    pub(crate) remote: Remote,
    pub(crate) epochs: Epochs,
    pub(crate) issuer: Issuer<Remote>,
    pub(crate) verifier: Verifier,
    layer: RevocationLayer<Read>,
}

/// One that runs. Dropping it is a crash.
pub(crate) struct Running {
    pub(crate) instance: Arc<Instance>,
    _sync: SyncHandle,
    /// What it does for clients.
    pub(crate) tasks: Vec<AbortHandle>,
    /// The revocations that it has known, each with its cut-off.
    pub(crate) known: Vec<(usize, u64)>,
}

/// When what a token says was read: a claim of the service's own.
#[derive(Deserialize)]
#[allow(dead_code, reason = "the facts read it in the token")]
pub(crate) struct Read {
    read: u64,
}

/// What a request was answered.
pub(crate) struct Answer {
    /// The token that the service saw; `None` if the request was refused.
    pub(crate) seen: Option<String>,
    /// Why it was refused.
    pub(crate) reason: String,
    pub(crate) successor: Option<String>,
}

/// One for all: it takes time to make, and no history depends on it.
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::new(SigningKey::generate(Algorithm::HS256).unwrap()).renews_expired()
});

impl Running {
    pub(crate) fn start(world: &Arc<World>, number: usize) -> Self {
        let boot = {
            let link = &mut world.inner().links[number];
            link.boots += 1;
            link.boot = Some(link.boots);
            link.boots
        };
        let setup = &world.setup;
        let remote = Remote { world: world.clone(), instance: number, boot };
        let mut epochs = Epochs::builder()
            .lifetimes(lifetimes())
            .max_staleness(Duration::from_millis(setup.max_staleness))
            .clock(world.machines[number].clock());
        if let Some(buckets) = setup.buckets[number] {
            epochs = epochs.buckets(buckets);
        }
        let epochs = epochs.build().unwrap();
        let issuer = Issuer::builder(remote.clone(), KEYS.clone())
            .issuer("https://login.test")
            .audience("test")
            .client_id("tests")
            .access_jitter(Duration::ZERO)
            .epochs(epochs.clone())
            .build()
            .unwrap();
        let verifier = Verifier::builder(epochs.clone())
            .issuer(issuer.rules().unwrap())
            // Room for all tokens of a history. To make the default of 32 MiB takes a fifth of the run.
            .token_cache_bytes(1 << 17)
            .build()
            .unwrap();
        let layer = layer(world, &remote, &issuer, &verifier, setup, number);
        let millis = Duration::from_millis;
        let sync = Follower::new(remote.clone(), epochs.clone())
            .in_fleet(Id::new(&format!("instance-{number}")).unwrap())
            .without_jitter()
            .poll_interval(millis(setup.poll))
            .query_timeout(millis(setup.query_timeout))
            .reload_interval(millis(setup.reload))
            .purge_interval(millis(setup.purge))
            .start()
            .unwrap();
        let world = world.clone();
        let instance = Instance { world, number, boot, remote, epochs, issuer, verifier, layer };
        Self { instance: Arc::new(instance), _sync: sync, tasks: Vec::new(), known: Vec::new() }
    }

    /// Does something for a client, which ends with the instance.
    pub(crate) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(work).abort_handle());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.instance.world.inner().links[self.instance.number].boot = None;
    }
}

fn layer(
    world: &Arc<World>,
    remote: &Remote,
    issuer: &Issuer<Remote>,
    verifier: &Verifier,
    setup: &Setup,
    number: usize,
) -> RevocationLayer<Read> {
    let (shared, boot) = (world.clone(), remote.boot);
    let claims = move |user| grant(shared.clone(), number, boot, user, Duration::ZERO);
    let confirmations = Confirmations::new(remote.clone());
    let layer = RevocationLayer::new(verifier.clone())
        .claims::<Read>()
        .confirm_doubtful(confirmations.clone())
        .renew(Renewal::new(issuer.renewing(claims)))
        .unwrap()
        .on_rejection(|refusal| {
            let mut response = refusal.to_response();
            let reason = HeaderValue::from_static(refusal.rejection().reason());
            response.headers_mut().insert("x-refused", reason);
            response
        });
    match setup.stale[number] {
        WhileStale::Refuse => layer,
        WhileStale::Confirm => layer.confirm_while_stale(confirmations),
        WhileStale::Trust { extra } => {
            layer.dangerous_trust_while_stale(Duration::from_millis(extra)).unwrap()
        }
    }
}

/// Reads what a token is to say about `user`, and takes so long to get it.
pub(crate) async fn grant(
    world: Arc<World>,
    instance: usize,
    boot: u32,
    user: Id,
    takes: Duration,
) -> Result<Grant, Error> {
    world.running(instance, boot).await;
    let (read, groups) = {
        let read = world.moment();
        (read.order, world.inner().groups_of(&user))
    };
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
    Grant::new(user).groups(groups).claim("read", read)
}

impl Instance {
    /// A request with `token`, through the layer.
    pub(crate) async fn request(&self, token: &str) -> Answer {
        let inner = service_fn(async |request: Request<()>| {
            let verified = request.extensions().get::<Verified<Read>>().expect("the layer's proof");
            let id = HeaderValue::from_str(verified.token_id().unwrap_or_default()).unwrap();
            let mut response = Response::new(Full::<Bytes>::default());
            response.headers_mut().insert("x-token", id);
            Ok::<_, Infallible>(response)
        });
        let request =
            Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let response = self.layer.layer(inner).oneshot(request).await.unwrap();
        let header =
            |name| response.headers().get(name).map(|value| value.to_str().unwrap().into());
        Answer {
            seen: header("x-token"),
            reason: header("x-refused").unwrap_or_default(),
            successor: header("x-jwt"),
        }
    }

    /// How long after a revocation returned this instance may accept what that covers, by its copy
    /// alone.
    pub(crate) fn bound(&self) -> Duration {
        Duration::from_millis(self.world.setup.max_staleness)
            + self.world.machines[self.number].blind()
    }

    /// The same for a request through the layer.
    pub(crate) fn request_bound(&self) -> Duration {
        self.bound()
            + match self.world.setup.stale[self.number] {
                WhileStale::Trust { extra } => Duration::from_millis(extra),
                _ => Duration::ZERO,
            }
    }

    /// What is known of it when it has answered, and may accept what was revoked for `bound`.
    pub(crate) fn answerer(&self, bound: Duration) -> Answerer {
        let blind = self.world.machines[self.number].blind();
        Answerer { instance: self.number, loaded: self.is_loaded(), bound, blind }
    }

    fn is_loaded(&self) -> bool {
        self.world.inner().links[self.number].loaded == Some(self.boot)
    }

    /// Whether the copy takes a token with this stamp, in this scope, for good.
    pub(crate) fn lets_pass(&self, scopes: &[tower_revocation::Scope], stamp: u64) -> bool {
        let stamp = tower_revocation::cutoff::Stamp::from_micros(stamp);
        self.epochs.verdict(scopes, stamp) == Verdict::Good
    }
}
