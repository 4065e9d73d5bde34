//! Random histories of a store, aimed at the limits of its decisions.

use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use tower_revocation::{
    Demand,
    store::{OverLimit, SameDevice, SessionLimit},
};

use crate::harness::GRACE;

pub(crate) const TICK: Duration = Duration::from_micros(1);

/// A second longer than the other, as when a fleet is being reconfigured.
pub(crate) const LONGER_GRACE: Duration = Duration::from_secs(11);

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Login {
        slot: usize,
        user: usize,
        groups: usize,
        ticket: Asked,
        limit: Option<SessionLimit>,
    },
    Refresh {
        slot: usize,
        counter: i64,
        grace: Duration,
        at: At,
        who: Who,
    },
    /// More refreshes within one grace time than are remembered, then two that are at the limit.
    Burst {
        slot: usize,
    },
    /// Refreshes while the clock is ahead, and after it was put right.
    Zigzag {
        slot: usize,
        steps: Vec<Step>,
    },
    Reissue {
        slot: usize,
        at: At,
        who: Who,
    },
    /// The access token so many back is presented, as if its stamp were by so much another.
    Renew {
        slot: usize,
        back: usize,
        lift: i64,
        same: SameDevice,
        /// Which of [`DEVICES`] is seen.
        seen: usize,
        revoke: bool,
        at: At,
        who: Who,
    },
    /// An access token without a session.
    Issue {
        user: usize,
        groups: usize,
        ticket: Asked,
    },
    Revoke(Vec<Asks>),
    Request {
        asks: Asks,
        committed: bool,
        sealed: bool,
    },
    /// Asks for the receipt of a request that was left pending.
    Seal,
    Clear(Over),
    Clock(At),
    Purge,
    Sessions(Filter),
    Load,
    Poll,
    /// Raises `newest` by so much.
    Advance(u64),
}

/// The clock goes forward or back, and the token so far back is presented.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) half_graces: i32,
    pub(crate) counter: i64,
}

/// Which ticket a mint is asked with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    Fresh,
    /// The highest known to a copy in memory, so many revocations ago.
    Old(usize),
    Ahead(u64),
}

/// As whom a session goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) ticket: Asked,
    pub(crate) groups: usize,
    pub(crate) stranger: bool,
}

/// Where the clock is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Now,
    Later(Duration),
    /// So many ticks around the end of a limit of the session.
    Around {
        slot: usize,
        limit: Limit,
        ticks: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The grace time of the counter that is this far from the current one.
    Grace(i64),
    Idle,
    Life,
    /// Until cut-offs of now are purged: those that demand a refresh, and those for a login.
    Reissues,
    Logins,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    pub(crate) over: Over,
    pub(crate) demand: Demand,
    pub(crate) sparing: Option<usize>,
    pub(crate) asked: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    Everyone,
    User(usize),
    Group(usize),
    Session(usize),
    /// The last access token of the session.
    Token(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter {
    Session(usize),
    User(usize),
    /// Refreshed within so many ticks less or more than since the session's last refresh.
    Around {
        slot: usize,
        ticks: u32,
    },
}

pub(crate) const SLOTS: usize = 3;
pub(crate) const USERS: [&str; 2] = ["alice", "bob"];
pub(crate) const GROUPS: [&[&str]; 4] = [&[], &["staff"], &["admins"], &["admins", "staff"]];

/// Address and user agent.
pub(crate) const DEVICES: [(Option<[u8; 4]>, Option<&str>); 4] = [
    (None, None),
    (Some([192, 0, 2, 1]), Some("phone")),
    (Some([192, 0, 2, 2]), Some("phone")),
    (Some([192, 0, 2, 1]), Some("laptop")),
];

pub(crate) fn slot() -> impl Strategy<Value = usize> {
    0..SLOTS
}

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        8 => Just(Asked::Fresh),
        3 => (0..4_usize).prop_map(Asked::Old),
        1 => (1..=2_u64).prop_map(Asked::Ahead),
    ]
}

pub(crate) fn who() -> impl Strategy<Value = Who> {
    (asked(), 0..GROUPS.len(), prop::bool::weighted(0.05))
        .prop_map(|(ticket, groups, stranger)| Who { ticket, groups, stranger })
}

pub(crate) fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        6 => (-4..0_i64).prop_map(Limit::Grace),
        2 => Just(Limit::Idle),
        1 => Just(Limit::Life),
        1 => Just(Limit::Reissues),
        1 => Just(Limit::Logins),
    ]
}

/// Mostly about `slot`, so that the limit is that of the session which is asked for.
pub(crate) fn at(slot: usize) -> impl Strategy<Value = At> {
    let later = prop_oneof![Just(TICK), Just(TICK * 1_000_000), Just(GRACE / 2), Just(GRACE)];
    prop_oneof![
        5 => Just(At::Now),
        3 => later.prop_map(At::Later),
        4 => (limit(), 0..3_u32).prop_map(move |(limit, ticks)| At::Around { slot, limit, ticks }),
    ]
}

pub(crate) fn refresh() -> impl Strategy<Value = Operation> {
    let counter = prop_oneof![
        8 => Just(0), 3 => Just(-1), 3 => Just(-2), 2 => Just(-3), 1 => Just(-4), 1 => 1..=2_i64
    ];
    let grace = prop_oneof![8 => Just(GRACE), 1 => Just(LONGER_GRACE), 1 => Just(Duration::ZERO)];
    slot().prop_flat_map(move |slot| {
        // A token that is presented at the end of its own grace time.
        let on_time = (-4..-1_i64, 0..3_u32, who()).prop_map(move |(counter, ticks, who)| {
            let at = At::Around { slot, limit: Limit::Grace(counter), ticks };
            Operation::Refresh { slot, counter, grace: GRACE, at, who }
        });
        let any = (counter.clone(), grace.clone(), at(slot), who()).prop_map(
            move |(counter, grace, at, who)| Operation::Refresh { slot, counter, grace, at, who },
        );
        prop_oneof![1 => on_time, 5 => any]
    })
}

pub(crate) fn renew() -> impl Strategy<Value = Operation> {
    let lift = prop_oneof![12 => Just(0), 1 => Just(-1_i64), 1 => Just(1), 1 => Just(2)];
    let back = prop_oneof![6 => Just(0_usize), 3 => Just(1), 1 => Just(2)];
    let same = prop_oneof![
        3 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true)),
        1 => Just((true, true)),
    ];
    (slot(), back, lift, same, 0..DEVICES.len(), prop::bool::weighted(0.2)).prop_flat_map(
        |(slot, back, lift, (ip, user_agent), seen, revoke)| {
            let same = SameDevice { ip, user_agent };
            (at(slot), who()).prop_map(move |(at, who)| Operation::Renew {
                slot,
                back,
                lift,
                same,
                seen,
                revoke,
                at,
                who,
            })
        },
    )
}

pub(crate) fn limit_of_sessions() -> impl Strategy<Value = Option<SessionLimit>> {
    let over = prop_oneof![2 => Just(OverLimit::EndOldest), 1 => Just(OverLimit::RefuseLogin)];
    let limit = (1..4_u32, over).prop_map(|(sessions, over)| SessionLimit {
        sessions: NonZeroU32::new(sessions).unwrap(),
        over,
    });
    prop::option::of(limit)
}

pub(crate) fn over() -> impl Strategy<Value = Over> {
    prop_oneof![
        1 => Just(Over::Everyone),
        3 => (0..USERS.len()).prop_map(Over::User),
        4 => (0..2_usize).prop_map(Over::Group),
        3 => slot().prop_map(Over::Session),
        2 => slot().prop_map(Over::Token),
    ]
}

pub(crate) fn asks() -> impl Strategy<Value = Asks> {
    let demand = prop_oneof![Just(Demand::Refresh), Just(Demand::Login)];
    (over(), demand, prop::option::of(slot()), any::<bool>())
        .prop_map(|(over, demand, sparing, asked)| Asks { asked, over, demand, sparing })
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    let filter = prop_oneof![
        slot().prop_map(Filter::Session),
        (0..USERS.len()).prop_map(Filter::User),
        (slot(), 0..3_u32).prop_map(|(slot, ticks)| Filter::Around { slot, ticks }),
    ];
    prop_oneof![
        24 => refresh(),
        1 => slot().prop_map(|slot| Operation::Burst { slot }),
        2 => (slot(), prop::collection::vec(step(), 2..10)).prop_map(|(slot, steps)| Operation::Zigzag { slot, steps }),
        6 => (slot(), 0..USERS.len(), 0..GROUPS.len(), asked(), limit_of_sessions()).prop_map(
            |(slot, user, groups, ticket, limit)| {
                Operation::Login { slot, user, groups, ticket, limit }
            },
        ),
        3 => slot().prop_flat_map(|slot| {
            (at(slot), who()).prop_map(move |(at, who)| Operation::Reissue { slot, at, who })
        }),
        12 => renew(),
        2 => (0..USERS.len(), 0..GROUPS.len(), asked()).prop_map(
            |(user, groups, ticket)| Operation::Issue { user, groups, ticket },
        ),
        4 => prop::collection::vec(asks(), 1..3).prop_map(Operation::Revoke),
        4 => (asks(), prop::bool::weighted(0.8), any::<bool>()).prop_map(
            |(asks, committed, sealed)| Operation::Request { asks, committed, sealed },
        ),
        1 => Just(Operation::Seal),
        1 => over().prop_map(Operation::Clear),
        2 => slot().prop_flat_map(at).prop_map(Operation::Clock),
        2 => Just(Operation::Purge),
        3 => filter.prop_map(Operation::Sessions),
        1 => Just(Operation::Load),
        1 => Just(Operation::Poll),
        1 => (0..3_u64).prop_map(Operation::Advance),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let counter = prop_oneof![6 => Just(0), 1 => -4..0_i64];
    (-3..4_i32, counter).prop_map(|(half_graces, counter)| Step { half_graces, counter })
}
