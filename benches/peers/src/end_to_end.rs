//! Whole servers on loopback, each with another way to find out who calls, under the same load.
//!
//! One thread serves, one generates load; PostgreSQL takes what it takes of either.

use std::{env, io, net::Ipv4Addr, rc::Rc, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use http_body_util::BodyExt;
use jsonwebtoken::Algorithm;
use rand::seq::SliceRandom;
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower::util::MapResponseLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_revocation::{RevocationLayer, Verified};

use crate::{
    fixture::{self, Claims, subject},
    jwt,
    load::Load,
    ours, queries,
    report::{Bar, Report},
    rounds::median,
};

const TOKENS: usize = 1_000;
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 41;
const SLICE: Duration = Duration::from_millis(250);

/// A server, and how many requests a second it answered, round by round.
struct Server {
    name: &'static str,
    load: Load,
    rates: Vec<f64>,
}

pub(crate) fn run(_: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    let serving = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tokens = fixture::tokens(Algorithm::RS256, TOKENS);
    let requests: Arc<[Vec<u8>]> = tokens.iter().map(|token| request(token)).collect();
    let mut servers = Vec::new();
    for (name, app) in apps(&serving, report) {
        let listener = serving.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener.local_addr()?.port();
        serving.spawn(async { axum::serve(listener, app).await });
        let load = Load::open(port, CONNECTIONS, &requests)?;
        servers.push(Server { name, load, rates: Vec::new() });
    }
    for _ in 0..ROUNDS {
        servers.shuffle(&mut rand::rng());
        for server in &mut servers {
            server.rates.push(server.load.run(SLICE)?);
        }
    }
    conclude(&mut servers, report);
    Ok(())
}

fn conclude(servers: &mut [Server], report: &mut Report) {
    let place = |name| [OURS, PLAIN, IDLE, BARE, QUERY].iter().position(|other| *other == name);
    servers.sort_unstable_by_key(|server| place(server.name));
    for server in &*servers {
        let rate = median(server.rates.clone());
        report.say(&format!("{:<38}{rate:>8.0} requests a second", server.name));
    }
    let ours = servers.iter().find(|server| server.name == OURS).expect("ours is always there");
    for (name, bar) in BARS {
        let Some(other) = servers.iter().find(|server| server.name == name) else { continue };
        let ratios = ours.rates.iter().zip(&other.rates).map(|(this, that)| this / that);
        report.bar(Bar::at_least(
            format!("requests per second: ours / {name}"),
            median(ratios.collect()),
            bar,
        ));
    }
}

const PLAIN: &str = "no layer";
const OURS: &str = "our layer";
const BARE: &str = "jsonwebtoken";
const QUERY: &str = "jsonwebtoken + a query to PostgreSQL";

/// How many times as many requests a second as with these.
const BARS: [(&str, f64); 3] = [(PLAIN, 0.9), (BARE, 4.0), (QUERY, 10.0)];

/// No bar: what axum takes for any layer at all.
const IDLE: &str = "a layer that does nothing";

fn apps(serving: &Runtime, report: &mut Report) -> Vec<(&'static str, Router)> {
    let plain = Router::new().route("/me", get(async || subject(0)));
    let layer = RevocationLayer::new(ours::verifier(Algorithm::RS256, &ours::epochs(1_000)));
    let layered = Router::new()
        .route("/me", get(async |caller: Verified| caller.subject().to_owned()))
        .layer(layer);
    let validate = ValidateRequestHeaderLayer::custom(jwt::validate(Algorithm::RS256));
    let bare = Router::new().route("/me", get(who)).layer(validate.clone());
    let idle = plain.clone().layer(MapResponseLayer::new(|response: Response| {
        // As ours does, and any that answers in the place of the service.
        response.map(|body| body.map_err(axum::Error::new))
    }));
    let mut apps = vec![(PLAIN, plain), (OURS, layered), (BARE, bare), (IDLE, idle)];
    match env::var("POSTGRES_URL") {
        Ok(url) => {
            let pool = serving
                .block_on(queries::postgres_users(&url, false))
                .expect("PostgreSQL is there");
            let asking = Router::new()
                .route("/me", get(who))
                .layer(middleware::from_fn_with_state(pool, ask))
                .layer(validate);
            apps.push((QUERY, asking));
        }
        Err(_) => {
            report.absent(&format!("requests per second: ours / {QUERY}"), "POSTGRES_URL");
        }
    }
    apps
}

async fn who(request: Request) -> String {
    caller(&request).sub.clone()
}

async fn ask(State(pool): State<PgPool>, request: Request, next: Next) -> Response {
    assert_eq!(queries::revoked_before(&pool, &caller(&request).sub).await, 1);
    next.run(request).await
}

fn caller(request: &Request) -> &Claims {
    request.extensions().get().expect("the layer has put it there")
}

fn request(token: &str) -> Vec<u8> {
    format!("GET /me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into()
}
