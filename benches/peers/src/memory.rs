//! What a cached token takes, and what a warm request allocates: counted, not timed.

use std::{collections::HashMap, io, rc::Rc, sync::Arc};

use axum::body::Body;
use http::{Extensions, Request};
use jsonwebtoken::Algorithm;
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revocation::{NoClaims, RevocationLayer, Verified};

use crate::{
    counting,
    fixture::{self, Claims, Requests},
    inner, ours,
    report::{Bar, Report},
};

/// So many tokens tell what one takes.
const TOKENS: usize = 10_000;

/// So many requests tell what one allocates.
const REQUESTS: usize = 1_000;

pub(crate) fn run(runtime: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    tokens(report);
    requests(runtime, report);
    Ok(())
}

/// Ours beside the map that one writes oneself: the token, and its claims to hand out.
fn tokens(report: &mut Report) {
    let tokens = fixture::tokens(Algorithm::RS256, TOKENS);
    let (key, checks) =
        (fixture::decoding_key(Algorithm::RS256), fixture::validation(Algorithm::RS256));
    let epochs = ours::epochs(0);
    let verified = |tokens: &[String]| {
        let verifier = ours::verifier(Algorithm::RS256, &epochs);
        for token in tokens {
            verifier.verify::<NoClaims>(token.as_bytes()).expect("the token is good");
        }
        verifier
    };
    // What the first token brings with it is not of the others.
    verified(&tokens[..1]);
    let ours = counting::bytes(|| verified(&tokens)) - counting::bytes(|| verified(&tokens[..1]));
    let map = counting::bytes(|| {
        let mut map: HashMap<Box<[u8]>, Arc<Claims>> = HashMap::new();
        for token in &tokens {
            let decoded = jsonwebtoken::decode(token, &key, &checks).expect("the token is good");
            map.insert(token.as_bytes().into(), Arc::new(decoded.claims));
        }
        map
    });
    let each = |bytes: isize| bytes as f64 / TOKENS as f64;
    report.say(&format!(
        "a cached token of {} bytes: {:.0} bytes; boxed key and Arc of owned claims in a map: {:.0}",
        tokens[0].len(),
        each(ours),
        each(map),
    ));
    let what = "memory of a cached token / of boxed key + Arc of owned claims";
    if each(ours) < tokens[0].len() as f64 / 20.0 {
        report.missing(what, "the verifier has kept no token");
    } else {
        report.bar(Bar::at_most(what, each(ours) / each(map), 0.75));
    }
}

fn requests(runtime: &Rc<Runtime>, report: &mut Report) {
    let epochs = ours::epochs(1_000);
    let requests = Requests::bearing(&fixture::tokens(Algorithm::RS256, 1));
    let layer = RevocationLayer::new(ours::verifier(Algorithm::RS256, &epochs));
    let layered = layer.layer(service_fn(async |request: Request<Body>| {
        let caller: &Verified = request.extensions().get().expect("the layer has put it there");
        std::hint::black_box(caller.subject());
        inner::answer()
    }));
    let layered = per_request(runtime, &requests, layered);
    let bare = per_request(runtime, &requests, inner::bare());
    let extensions = counting::allocations(|| {
        let mut extensions = Extensions::new();
        extensions.insert(std::hint::black_box([0_usize; 2]));
    });
    report.say(&format!(
        "allocations of a warm request: {layered:.2}, without the layer {bare:.2}; \
         of one insertion into http::Extensions: {extensions}"
    ));
    let besides = layered - bare - extensions as f64;
    report.bar(Bar::at_most("allocations of a warm request, less http::Extensions", besides, 0.0));
}

fn per_request<S>(runtime: &Runtime, requests: &Requests, mut service: S) -> f64
where
    S: Service<Request<Body>, Error: std::fmt::Debug>,
{
    let mut requests = requests.clone();
    let mut send = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                let service = service.ready().await.expect("it is always ready");
                service.call(requests.next()).await.expect("it always answers");
            }
        });
    };
    send(1);
    counting::allocations(|| send(REQUESTS)) as f64 / REQUESTS as f64
}
