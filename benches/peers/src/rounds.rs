//! Interleaved rounds, and what they come to.
//!
//! In each round every contender has a turn, in random order, with its layer and without, one
//! right after the other. What it costs is the difference, and how two compare is the median of the
//! ratios of all rounds: whatever else runs on the machine meanwhile slows both sides of a ratio.

use std::{fmt::Debug, future::poll_fn, rc::Rc, time::Duration};

use axum::{body::Body, response::Response};
use http::Request;
use rand::{RngExt, seq::SliceRandom};
use tokio::{runtime::Runtime, time::Instant};
use tower::Service;

use crate::fixture::Requests;

/// Something that a request can be sent through, and the same without the layer.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    layered: Timed,
    bare: Timed,
    /// The requests of a turn.
    turn: usize,
    /// What happens before each turn.
    before: Box<dyn FnMut()>,
}

/// Sends so many requests.
type Timed = Box<dyn FnMut(usize) -> Duration>;

impl Contender {
    /// Sends each of the requests once, and finds how many fill a turn.
    pub(crate) fn new<L, B, A>(
        name: &'static str,
        runtime: &Rc<Runtime>,
        requests: &Requests,
        layered: L,
        bare: B,
    ) -> Self
    where
        L: Service<Request<Body>, Response = Response<A>, Error: Debug> + 'static,
        B: Service<Request<Body>, Response = Response, Error: Debug> + 'static,
    {
        let mut layered = timed(runtime, requests.clone(), layered);
        // Twice as many, as it begins somewhere: so each is among them.
        layered(2 * requests.len());
        let mut turn = 1;
        while layered(turn) < TURN {
            turn *= 2;
        }
        let bare = timed(runtime, requests.clone(), bare);
        Self { name, layered, bare, turn, before: Box::new(|| ()) }
    }

    /// Calls something with one token after the other.
    pub(crate) fn calling(
        name: &'static str,
        tokens: Rc<[String]>,
        call: impl Fn(&str) + 'static,
    ) -> Self {
        let mut layered: Timed = Box::new(move |times| {
            let first = rand::rng().random_range(0..tokens.len());
            let began = Instant::now();
            tokens.iter().cycle().skip(first).take(times).for_each(|token| call(token));
            began.elapsed()
        });
        let mut turn = 1;
        while layered(turn) < TURN {
            turn *= 2;
        }
        Self { name, layered, bare: Box::new(|_| Duration::ZERO), turn, before: Box::new(|| ()) }
    }

    /// The same, and something happens before each turn.
    pub(crate) fn after(mut self, name: &'static str, event: impl FnMut() + 'static) -> Self {
        self.name = name;
        self.before = Box::new(event);
        self
    }

    /// In nanoseconds, for one request.
    fn take_turn(&mut self) -> f64 {
        (self.before)();
        let (layered, bare) = if rand::rng().random() {
            let layered = (self.layered)(self.turn);
            (layered, (self.bare)(self.turn))
        } else {
            let bare = (self.bare)(self.turn);
            ((self.layered)(self.turn), bare)
        };
        (layered.as_nanos() as f64 - bare.as_nanos() as f64) / self.turn as f64
    }
}

fn timed<S, A>(runtime: &Rc<Runtime>, mut requests: Requests, mut service: S) -> Timed
where
    S: Service<Request<Body>, Response = Response<A>, Error: Debug> + 'static,
{
    let runtime = runtime.clone();
    Box::new(move |times| {
        requests.wander();
        runtime.block_on(async {
            // Whoever had the last turn has filled the processor's caches.
            let lead = times / 8;
            let mut began = Instant::now();
            for number in 0..lead + times {
                if number == lead {
                    began = Instant::now();
                }
                poll_fn(|context| service.poll_ready(context)).await.expect("it is always ready");
                let answer = service.call(requests.next()).await.expect("it always answers");
                assert!(answer.status().is_success(), "refused with {}", answer.status());
            }
            began.elapsed()
        })
    })
}

/// What a contender's layer costs a request, in nanoseconds, round by round.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) name: &'static str,
    rounds: Vec<f64>,
}

impl Costs {
    pub(crate) fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    /// How many times as much as `other`, in the middle of all rounds.
    pub(crate) fn times(&self, other: &Costs) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(this, that)| this / that).collect())
    }
}

/// The costs in the order of the contenders.
pub(crate) fn compare(contenders: &mut [Contender]) -> Vec<Costs> {
    let mut costs: Vec<Costs> =
        contenders.iter().map(|it| Costs { name: it.name, rounds: Vec::new() }).collect();
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for _ in 0..ROUNDS {
        order.shuffle(&mut rand::rng());
        for &which in &order {
            costs[which].rounds.push(contenders[which].take_turn());
        }
    }
    costs
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of so many the median is told.
const ROUNDS: usize = 301;

/// Shorter than the system lets a thread run when others want to: few turns are interrupted, and the
/// median knows nothing of those.
const TURN: Duration = Duration::from_micros(300);
