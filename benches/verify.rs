//! Checking a token for the first time: by the verifier, and by `jsonwebtoken::decode` alone.
//!
//! Both check signature, issuer, audience and expiry of the same token in the same process, and
//! give the claims back. The verifier also does what that function leaves out, and asks the epochs.
//! `ours` and `bare` use aws-lc, `rust-crypto` is the verifier on the other library.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jsonwebtoken::Algorithm as Jwa;
use tower_revocation::{NoClaims, cutoff::StoreTime, token::Algorithm, token::CryptoBackend};

use common::Sample;

fn verify(criterion: &mut Criterion) {
    let epochs = common::loaded(StoreTime::ZERO);
    let mut group = criterion.benchmark_group("verify");
    for (algorithm, jwa) in [
        (Algorithm::HS256, Jwa::HS256),
        (Algorithm::RS256, Jwa::RS256),
        (Algorithm::PS256, Jwa::PS256),
        (Algorithm::ES256, Jwa::ES256),
        (Algorithm::ES384, Jwa::ES384),
        (Algorithm::EdDSA, Jwa::EdDSA),
    ] {
        let sample = Sample::new(algorithm, jwa);
        for (name, backend) in
            [("ours", CryptoBackend::AwsLc), ("rust-crypto", CryptoBackend::RustCrypto)]
        {
            let verifier = sample.cold_verifier(backend, &epochs);
            let token = sample.token.as_bytes();
            group.bench_function(BenchmarkId::new(name, algorithm), |bencher| {
                bencher.iter(|| {
                    verifier.verify::<NoClaims>(black_box(token)).expect("the token is good")
                });
            });
        }
        group.bench_function(BenchmarkId::new("bare", algorithm), |bencher| {
            bencher.iter(|| sample.decode(black_box(&sample.token)));
        });
    }
}

criterion_group! { name = benches; config = common::short(); targets = verify }
criterion_main!(benches);
