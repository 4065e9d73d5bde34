//! Layers that verify a token on each request.
//!
//! Each with its fastest back end: aws-lc, and ring below `jwt-authorizer`, whose `jsonwebtoken` 9
//! has no other. Each puts the claims where handlers find them.

use std::{convert::Infallible, hint::black_box, io, rc::Rc, sync::Arc};

use axum::{body::Body, handler::Handler, http::StatusCode, response::Response};
use axum_jwt_auth::{Decoder, LocalDecoder};
use http::{HeaderMap, Request, header::AUTHORIZATION};
use jsonwebtoken::Algorithm;
use jsonwebtoken_9::TokenData;
use jsonwebtoken_10 as ten;
use jwt_authorizer::{IntoLayer, JwtAuthorizer};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer, tenant::TenantConfiguration, validation::ClaimsValidationSpec,
};

use crate::{
    fixture::{self, AUDIENCE, Claims, EC, ISSUER, RSA, Requests, SECRET},
    inner, ours,
    report::{Bar, Report},
    rounds::{self, Contender, Costs},
};

/// The algorithms, and how many times as much as ours the fastest peer is to cost: on one hot token,
/// and on many.
const BARS: [(Algorithm, f64, f64); 3] = [
    (Algorithm::HS256, 25.0, 8.0),
    (Algorithm::RS256, 140.0, 30.0),
    (Algorithm::ES256, 330.0, 90.0),
];

/// One token, again and again.
pub(crate) fn hot(runtime: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    let epochs = ours::epochs(1_000);
    for (algorithm, bar, _) in BARS {
        let what = format!("{algorithm:?}, one hot token");
        let requests = Requests::bearing(&fixture::tokens(algorithm, 1));
        let ours = [ours::contender(runtime, algorithm, &epochs, &requests)];
        let ([ours], peers) = compare(runtime, algorithm, &requests, ours, &what, report);
        fastest(&what, &ours, &peers, bar, report);
        for costs in peers.iter().chain([&ours]) {
            report.draw(costs.name, Some(algorithm), costs.median());
        }
    }
    Ok(())
}

/// Many tokens in random order, of users who are not among many that were logged out.
pub(crate) fn many(runtime: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    let [quiet, changing] = [(); 2].map(|()| ours::epochs(1_000_000));
    for (algorithm, _, bar) in BARS {
        let what = format!("{algorithm:?}, 10,000 tokens, 1 M cut-offs");
        let requests = Requests::bearing(&fixture::tokens(algorithm, 10_000));
        let ours = [
            ours::contender(runtime, algorithm, &quiet, &requests),
            ours::after_a_revocation(runtime, algorithm, &changing, &requests),
        ];
        let (ours, peers) = compare(runtime, algorithm, &requests, ours, &what, report);
        let rows = ["10,000 tokens, 1 M cut-offs", "10,000, after a revocation"];
        for ((ours, when), row) in ours.iter().zip(["", ", after a revocation"]).zip(rows) {
            fastest(&format!("{what}{when}"), ours, &peers, bar, report);
            report.draw(&format!("{}, {row}", ours::NAME), Some(algorithm), ours.median());
        }
    }
    Ok(())
}

/// What ours cost, and what the others do.
fn compare<const OURS: usize>(
    runtime: &Rc<Runtime>,
    algorithm: Algorithm,
    requests: &Requests,
    ours: [Contender; OURS],
    what: &str,
    report: &mut Report,
) -> ([Costs; OURS], Vec<Costs>) {
    let mut contenders: Vec<Contender> = ours.into();
    contenders.extend(peers(runtime, algorithm, requests));
    let mut costs = rounds::compare(&mut contenders).into_iter();
    let ours = std::array::from_fn(|_| costs.next().expect("ours are the first"));
    let peers: Vec<Costs> = costs.collect();
    for ours in &ours {
        report.costs(what, ours, &peers);
    }
    (ours, peers)
}

/// Whom one would have to beat.
fn fastest(what: &str, ours: &Costs, peers: &[Costs], bar: f64, report: &mut Report) {
    let fastest = peers.iter().min_by(|this, that| this.median().total_cmp(&that.median()));
    let fastest = fastest.expect("there are peers");
    report.bar(Bar::at_least(format!("{what}: {} / ours", fastest.name), fastest.times(ours), bar));
}

fn peers(runtime: &Rc<Runtime>, algorithm: Algorithm, requests: &Requests) -> Vec<Contender> {
    vec![
        tower_http(runtime, algorithm, requests),
        authorizer(runtime, algorithm, requests),
        resource_server(runtime, algorithm, requests),
        axum_jwt_auth(runtime, algorithm, requests),
    ]
}

fn tower_http(runtime: &Rc<Runtime>, algorithm: Algorithm, requests: &Requests) -> Contender {
    let layer = ValidateRequestHeaderLayer::custom(validate(algorithm));
    let layered = layer.layer(service_fn(read::<Claims>));
    Contender::new("tower-http + jsonwebtoken", runtime, requests, layered, inner::bare())
}

/// What a user of `tower-http` writes for it.
#[allow(clippy::result_large_err, reason = "`tower-http` wants a whole response")]
pub(crate) fn validate(
    algorithm: Algorithm,
) -> impl FnMut(&mut Request<Body>) -> Result<(), Response> + Clone {
    let key = Arc::new(fixture::decoding_key(algorithm));
    let validation = Arc::new(fixture::validation(algorithm));
    move |request| {
        let claims = bearer(request.headers())
            .and_then(|token| jsonwebtoken::decode::<Claims>(token, &key, &validation).ok())
            .ok_or_else(refused)?
            .claims;
        request.extensions_mut().insert(claims);
        Ok(())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn authorizer(runtime: &Rc<Runtime>, algorithm: Algorithm, requests: &Requests) -> Contender {
    let builder: JwtAuthorizer<Claims> = match algorithm {
        Algorithm::RS256 => JwtAuthorizer::from_rsa_pem_text(RSA),
        Algorithm::ES256 => JwtAuthorizer::from_ec_pem_text(EC),
        _ => JwtAuthorizer::from_secret(SECRET),
    };
    let validation = jwt_authorizer::Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    let authorizer = runtime
        .block_on(builder.validation(validation).build())
        .expect("the keys of the tests are keys");
    // It answers refusals itself, with a body of an axum before ours.
    struct Answer(Response);
    impl From<jwt_authorizer::AuthError> for Answer {
        fn from(_: jwt_authorizer::AuthError) -> Self {
            Self(refused())
        }
    }
    let layered = authorizer
        .into_layer()
        .layer(service_fn(async |request| read::<TokenData<Claims>>(request).await.map(Answer)))
        .map_response(|answer: Answer| answer.0);
    Contender::new("jwt-authorizer", runtime, requests, layered, inner::bare())
}

fn resource_server(runtime: &Rc<Runtime>, algorithm: Algorithm, requests: &Requests) -> Contender {
    let checks = ClaimsValidationSpec::new().exp(true).iss(ISSUER).aud(&vec![AUDIENCE.to_owned()]);
    // A set of keys at hand: discovery would tell it the same set, once.
    let tenant = TenantConfiguration::static_builder(fixture::jwks(algorithm))
        .claims_validation(checks)
        .allowed_algorithms(&[algorithm])
        .build()
        .expect("the set is one");
    let server = runtime
        .block_on(OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build())
        .expect("a set at hand needs no discovery");
    let layered = server.into_layer::<Body>().layer(service_fn(read::<Claims>));
    Contender::new("tower-oauth2-resource-server", runtime, requests, layered, inner::bare())
}

/// An extractor and no layer: so a handler that has it beside a handler that has not.
fn axum_jwt_auth(runtime: &Rc<Runtime>, algorithm: Algorithm, requests: &Requests) -> Contender {
    let (jwa, key) = match algorithm {
        Algorithm::RS256 => (ten::Algorithm::RS256, ten::DecodingKey::from_rsa_pem(RSA.as_bytes())),
        Algorithm::ES256 => (ten::Algorithm::ES256, ten::DecodingKey::from_ec_pem(EC.as_bytes())),
        _ => (ten::Algorithm::HS256, Ok(ten::DecodingKey::from_secret(SECRET.as_bytes()))),
    };
    let mut validation = ten::Validation::new(jwa);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let keys = vec![key.expect("the keys of the tests are keys")];
    let decoder: Decoder<Claims> =
        Arc::new(LocalDecoder::new(keys, validation).expect("it is complete"));
    let extracting = async |caller: axum_jwt_auth::Claims<Claims>| {
        black_box(&caller.claims.sub);
        StatusCode::OK
    };
    let plain = async || StatusCode::OK;
    Contender::new(
        "axum-jwt-auth",
        runtime,
        requests,
        extracting.with_state(decoder),
        plain.with_state(()),
    )
}

/// `jsonwebtoken` 10 is compiled with both back ends, and must be told.
pub(crate) fn choose_aws_lc() {
    let installed = ten::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    installed.expect("nobody has chosen before");
}

/// The handler: reads who calls from among the extensions.
async fn read<C: Caller>(request: Request<Body>) -> Result<Response, Infallible> {
    let caller: &C = request.extensions().get().expect("the layer has put it there");
    black_box(caller.subject());
    inner::answer()
}

trait Caller: Send + Sync + 'static {
    fn subject(&self) -> &str;
}

impl Caller for Claims {
    fn subject(&self) -> &str {
        &self.sub
    }
}

impl Caller for TokenData<Claims> {
    fn subject(&self) -> &str {
        &self.claims.sub
    }
}

fn refused() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}
