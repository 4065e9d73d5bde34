//! Tokens that nobody has seen before, beside what bare `jsonwebtoken` takes for them, which checks less.

use std::{hint::black_box, io, rc::Rc};

use jsonwebtoken::Algorithm;
use tokio::runtime::Runtime;
use tower_revocation::NoClaims;

use crate::{
    fixture::{self, Claims},
    ours,
    report::{Bar, Report},
    rounds::{self, Contender},
};

/// The algorithms, and how much of `jsonwebtoken::decode` a token may cost.
const BARS: [(Algorithm, f64); 4] = [
    (Algorithm::HS256, 0.60),
    (Algorithm::RS256, 0.90),
    (Algorithm::ES256, 1.00),
    (Algorithm::EdDSA, 1.00),
];

/// Different ones in turn, as the work on a signature depends a little on its bits.
const TOKENS: usize = 64;

pub(crate) fn run(_: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    let epochs = ours::epochs(1_000);
    for (algorithm, bar) in BARS {
        let tokens: Rc<[String]> = fixture::tokens(algorithm, TOKENS).into();
        let verifier = ours::forgetful(algorithm, &epochs);
        let ours = Contender::calling(ours::NAME, tokens.clone(), move |token| {
            black_box(verifier.verify::<NoClaims>(token.as_bytes()).expect("the token is good"));
        });
        let (key, checks) = (fixture::decoding_key(algorithm), fixture::validation(algorithm));
        let bare = Contender::calling("jsonwebtoken::decode", tokens, move |token| {
            let decoded = jsonwebtoken::decode::<Claims>(token, &key, &checks);
            black_box(decoded.expect("the token is good"));
        });
        let [ours, bare] =
            rounds::compare(&mut [ours, bare]).try_into().expect("two were compared");
        let what = format!("{algorithm:?}, a new token");
        report.costs(&what, &ours, std::slice::from_ref(&bare));
        report.bar(Bar::at_most(format!("{what}: ours / {}", bare.name), ours.times(&bare), bar));
    }
    Ok(())
}
