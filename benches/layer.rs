//! A request through the layer, whole, beside what it is instead of.
//!
//! - `inner`: the service alone, which does nothing. The request is built, so that is in all.
//! - `layer`: the same behind the layer, to which the token is known: a new one is `verify`'s.
//! - `bare`: the same behind nothing but `jsonwebtoken::decode` of the bearer token.
//! - `sqlite`: one primary-key query per request through an `sqlx` pool, no token at all: what
//!   asking a database costs when it is in the process and its file in the cache.

mod common;

use std::{cell::RefCell, convert::Infallible, future, rc::Rc};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Empty;
use jsonwebtoken::Algorithm as Jwa;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tower::{Layer, Service, service_fn};
use tower_revocation::{
    RevocationLayer,
    cutoff::StoreTime,
    token::{Algorithm, CryptoBackend},
};

use common::Sample;

/// How many users the database knows.
const USERS: i64 = 10_000;

fn layer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let epochs = common::loaded(StoreTime::ZERO);
    let mut group = criterion.benchmark_group("layer");
    for (algorithm, jwa) in [(Algorithm::HS256, Jwa::HS256), (Algorithm::ES256, Jwa::ES256)] {
        let sample = Sample::new(algorithm, jwa);
        let header = HeaderValue::try_from(format!("Bearer {}", sample.token))
            .expect("a token can stand in a header");
        let layer = RevocationLayer::new(sample.verifier(CryptoBackend::AwsLc, &epochs));
        let service = Rc::new(RefCell::new(layer.layer(service_fn(inner))));
        group.bench_function(BenchmarkId::new("layer", algorithm), |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let answer = service.borrow_mut().call(request(&header));
                async move {
                    let response = answer.await.expect("it is infallible");
                    assert!(response.status().is_success());
                }
            });
        });
        group.bench_function(BenchmarkId::new("bare", algorithm), |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let request = request(&header);
                let token = request.headers()[AUTHORIZATION]
                    .to_str()
                    .ok()
                    .and_then(|value| value.strip_prefix("Bearer "))
                    .expect("the request has a token");
                sample.decode(token);
                async move { inner(request).await.expect("it is infallible") }
            });
        });
        group.bench_function(BenchmarkId::new("inner", algorithm), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| async { inner(request(&header)).await.expect("it is infallible") });
        });
    }

    let directory = tempfile::tempdir().expect("there is room for a database");
    let pool = runtime
        .block_on(users(&directory.path().join("users.db")))
        .expect("the database can be made");
    let mut user = 0;
    group.bench_function("sqlite", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            user = (user + 7919) % USERS;
            let asked = format!("user-{user}");
            let pool = &pool;
            async move {
                sqlx::query_scalar::<_, i64>("SELECT revoked_before FROM users WHERE id = ?")
                    .bind(asked)
                    .fetch_one(pool)
                    .await
                    .expect("the user is in the table")
            }
        });
    });
    group.finish();
    runtime.block_on(pool.close());
}

fn inner(_: Request<Empty<Bytes>>) -> future::Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    future::ready(Ok(Response::new(Empty::new())))
}

fn request(authorization: &HeaderValue) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    request
}

/// A database with the cut-off of each user, as a service without this crate would keep it.
async fn users(path: &std::path::Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY, revoked_before INTEGER) WITHOUT ROWID")
        .execute(&pool)
        .await?;
    let mut transaction = pool.begin().await?;
    for user in 0..USERS {
        sqlx::query("INSERT INTO users VALUES (?, 0)")
            .bind(format!("user-{user}"))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(pool)
}

criterion_group! { name = benches; config = common::short(); targets = layer }
criterion_main!(benches);
