//! The checker, on histories with one violation of each kind, and on clean ones that come close.
//!
//! Times are in milliseconds; the bound is 1000, that of the recovery 5000.

use std::time::Duration;

use tower_revocation::Demand;

use crate::{
    checker::{Bounds, Kind, judge},
    history::{
        Answer, Check, Down, History, Moment, Outcome, Recovery, Refresh, RefusedLogin, Revocation,
        Scope, Token,
    },
};

const BOUNDS: Bounds =
    Bounds { max_staleness: Duration::from_secs(1), recovery: Duration::from_secs(5) };

fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn alice() -> Scope {
    Scope::User("alice".to_owned())
}

fn refused() -> Answer {
    Answer::Refused("revoked".to_owned())
}

/// Alice's token 0, asked for at 100 and there at 110, with the stamp 7.
fn logged_in() -> History {
    History::default().token(100, 110, 7)
}

/// The same, and alice was revoked from 200 to 210, with the cut-off 8.
fn revoked() -> History {
    logged_in().revoked(alice(), Demand::Login, 200, 210, Outcome::Stored(8))
}

impl History {
    fn token(mut self, called: u64, returned: u64, stamp: u64) -> Self {
        self.tokens.push(Token {
            user: "alice".to_owned(),
            session: "s1".to_owned(),
            groups: vec!["team".to_owned()],
            stamp,
            called: at(called),
            returned: at(returned),
        });
        self
    }

    fn revoked(
        mut self,
        scope: Scope,
        demand: Demand,
        called: u64,
        returned: u64,
        outcome: Outcome,
    ) -> Self {
        let (called, returned) = (at(called), at(returned));
        self.revocations.push(Revocation { scope, demand, called, returned, outcome });
        self
    }

    /// A check of the token that came last, at instance 1.
    fn checked(mut self, called: u64, answer: Answer) -> Self {
        let token = self.tokens.len() - 1;
        let (called, returned) = (at(called), at(called + 5));
        self.checks.push(Check { token, instance: 1, called, returned, answer });
        self
    }

    fn refreshed(mut self, called: u64, answer: Answer) -> Self {
        let token = self.tokens.len() - 1;
        let (called, returned) = (at(called), at(called + 5));
        self.refreshes.push(Refresh { token, called, returned, answer });
        self
    }

    fn login_refused(mut self, called: u64, returned: u64) -> Self {
        self.refused_logins.push(RefusedLogin {
            user: "alice".to_owned(),
            groups: vec![],
            called: at(called),
            returned: at(returned),
            answer: refused(),
        });
        self
    }

    fn recovered(mut self, healed: u64, recovered: Option<u64>) -> Self {
        self.recoveries.push(Recovery { healed: at(healed), recovered: recovered.map(at) });
        self
    }

    fn down(mut self, instance: usize, from: u64, until: u64) -> Self {
        self.down.push(Down { instance, from: at(from), until: at(until) });
        self
    }

    #[track_caller]
    fn is_clean(&self) {
        let found = judge(self, BOUNDS);
        assert!(found.is_empty(), "{found:?}");
    }

    #[track_caller]
    fn has(&self, kind: Kind) {
        let found: Vec<Kind> = judge(self, BOUNDS).iter().map(|violation| violation.kind).collect();
        assert_eq!(found, [kind]);
    }
}

// ---- late acceptance ----

#[test]
fn a_revoked_token_may_be_accepted_for_the_bound_and_not_longer() {
    revoked().checked(150, Answer::Accepted).is_clean();
    revoked().checked(1_210, Answer::Accepted).is_clean();
    revoked().checked(1_211, Answer::Accepted).has(Kind::LateAcceptance);
    revoked().checked(1_211, refused()).is_clean();
    revoked().checked(1_211, Answer::Unavailable).is_clean();
}

#[test]
fn every_scope_covers_its_tokens_and_no_others() {
    for (scope, covers) in [
        (Scope::Everyone, true),
        (Scope::Group("team".to_owned()), true),
        (Scope::Group("admin".to_owned()), false),
        (alice(), true),
        (Scope::User("bob".to_owned()), false),
        (Scope::Session("s1".to_owned()), true),
        (Scope::Session("s2".to_owned()), false),
    ] {
        let history = logged_in().revoked(scope, Demand::Refresh, 200, 210, Outcome::Stored(8));
        let accepted = history.clone().checked(2_000, Answer::Accepted);
        let refused = history.checked(2_000, refused());
        if covers {
            accepted.has(Kind::LateAcceptance);
            refused.is_clean();
        } else {
            accepted.is_clean();
            refused.has(Kind::FalseRefusal);
        }
    }
}

#[test]
fn a_token_from_before_is_covered_whatever_its_stamp_says() {
    let mut history = revoked().checked(2_000, Answer::Accepted);
    history.tokens[0].stamp = 9;
    history.has(Kind::LateAcceptance);
}

#[test]
fn a_token_minted_during_the_revocation_goes_by_its_stamp() {
    let during = |stamp| {
        History::default().token(195, 205, stamp).revoked(
            alice(),
            Demand::Login,
            200,
            210,
            Outcome::Stored(8),
        )
    };
    during(8).checked(2_000, Answer::Accepted).has(Kind::LateAcceptance);
    during(8).checked(2_000, refused()).is_clean();
    during(9).checked(2_000, Answer::Accepted).is_clean();
    during(9).checked(2_000, refused()).has(Kind::FalseRefusal);
}

#[test]
fn a_revocation_of_unknown_outcome_obliges_nobody() {
    let history = logged_in().revoked(alice(), Demand::Login, 200, 210, Outcome::Unknown(None));
    history.clone().checked(9_000, Answer::Accepted).is_clean();
    history.checked(9_000, refused()).is_clean();
}

#[test]
fn the_second_of_two_revocations_is_judged_too() {
    let history = revoked().token(220, 230, 9);
    let history = history.revoked(alice(), Demand::Login, 300, 310, Outcome::Stored(10));
    history.clone().checked(1_310, Answer::Accepted).is_clean();
    history.checked(1_311, Answer::Accepted).has(Kind::LateAcceptance);
}

#[test]
fn a_session_that_has_to_log_in_is_not_renewed_any_more() {
    revoked().refreshed(205, Answer::Accepted).is_clean();
    revoked().refreshed(211, Answer::Accepted).has(Kind::LateAcceptance);
    logged_in()
        .revoked(alice(), Demand::Refresh, 200, 210, Outcome::Stored(8))
        .refreshed(211, Answer::Accepted)
        .is_clean();
}

// ---- false refusal ----

#[test]
fn nobody_is_refused_without_a_revocation() {
    logged_in().checked(150, Answer::Accepted).is_clean();
    logged_in().checked(150, refused()).has(Kind::FalseRefusal);
    logged_in().refreshed(150, refused()).has(Kind::FalseRefusal);
    logged_in().login_refused(150, 160).has(Kind::FalseRefusal);
}

#[test]
fn nobody_is_refused_before_the_revocation_was_called() {
    revoked().checked(194, refused()).has(Kind::FalseRefusal);
    revoked().checked(195, refused()).is_clean();
}

#[test]
fn who_logged_in_after_the_revocation_is_not_refused() {
    let again = |stamp| revoked().token(211, 220, stamp);
    again(9).checked(230, Answer::Accepted).is_clean();
    again(9).checked(230, refused()).has(Kind::FalseRefusal);
    // A stamp that is too low excuses nothing, and what it leads to is reported as well.
    again(8).checked(230, refused()).has(Kind::FalseRefusal);
    again(9).refreshed(230, refused()).has(Kind::FalseRefusal);
}

#[test]
fn a_revocation_of_unknown_outcome_covers_until_it_is_settled() {
    let unknown = |settled| {
        let mut history =
            logged_in().revoked(alice(), Demand::Login, 200, 210, Outcome::Unknown(None));
        if let Some(settled) = settled {
            history.settle(at(209), at(299));
            history.settle(at(210), at(settled));
        }
        history.token(300, 310, 9)
    };
    unknown(None).checked(9_000, refused()).is_clean();
    unknown(Some(300)).checked(9_000, refused()).is_clean();
    unknown(Some(299)).checked(9_000, refused()).has(Kind::FalseRefusal);
}

#[test]
fn a_login_may_be_refused_that_crosses_a_revocation_to_log_in() {
    revoked().login_refused(150, 205).is_clean();
    revoked().login_refused(205, 300).is_clean();
    revoked().login_refused(211, 300).has(Kind::FalseRefusal);
    revoked().login_refused(150, 199).has(Kind::FalseRefusal);
    logged_in()
        .revoked(alice(), Demand::Refresh, 200, 210, Outcome::Stored(8))
        .login_refused(150, 205)
        .has(Kind::FalseRefusal);
}

#[test]
fn a_session_that_may_refresh_is_not_ended() {
    logged_in()
        .revoked(alice(), Demand::Refresh, 200, 210, Outcome::Stored(8))
        .refreshed(300, refused())
        .has(Kind::FalseRefusal);
    revoked().refreshed(300, refused()).is_clean();
    logged_in().refreshed(300, Answer::Unavailable).is_clean();
    logged_in().refreshed(300, Answer::Nothing).is_clean();
}

// ---- answers that are never right ----

#[test]
fn strange_answers_are_found() {
    let strange = || Answer::Strange(500, String::new());
    logged_in().checked(150, strange()).has(Kind::StrangeAnswer);
    logged_in().refreshed(150, strange()).has(Kind::StrangeAnswer);
    let mut history = logged_in().login_refused(150, 160);
    history.refused_logins[0].answer = strange();
    history.has(Kind::StrangeAnswer);
}

#[test]
fn a_server_that_is_up_answers() {
    logged_in().checked(150, Answer::Nothing).has(Kind::NoAnswer);
    logged_in().down(0, 100, 200).checked(150, Answer::Nothing).has(Kind::NoAnswer);
    logged_in().down(1, 100, 149).checked(150, Answer::Nothing).has(Kind::NoAnswer);
    logged_in().down(1, 155, 200).checked(150, Answer::Nothing).is_clean();
}

// ---- liveness ----

#[test]
fn all_is_well_soon_after_a_fault() {
    logged_in().recovered(1_000, Some(6_000)).is_clean();
    logged_in().recovered(1_000, Some(6_001)).has(Kind::NoRecovery);
    logged_in().recovered(1_000, None).has(Kind::NoRecovery);
}

#[test]
fn what_was_judged_is_forgotten_and_what_covers_is_not() {
    let mut history = logged_in()
        .down(1, 0, 10)
        .checked(150, refused())
        .refreshed(150, refused())
        .login_refused(150, 160)
        .recovered(100, None)
        .revoked(alice(), Demand::Login, 200, 210, Outcome::Stored(8));
    assert_eq!(judge(&history, BOUNDS).len(), 4);
    history.forget_the_judged();
    history.is_clean();
    history.checked(2_000, Answer::Accepted).has(Kind::LateAcceptance);
}
