//! What is done by the thousand, over every store.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{Connection, PgConnection, raw_sql};
use tower_revocation::{
    Demand,
    cutoff::{CutOff, StoreTime},
    lifetimes::Lifetimes,
    scope::{Id, MAX_ID_BYTES, Scope},
    store::{Audit, Entry, EpochStore, Revocation, Watch},
};

use crate::{
    harness::{Harness, newest, user},
    servers::Postgres,
};

contract! {
    a_load_tells_each_of_many_entries_as_it_was_revoked,
    a_load_tells_all_the_times_of_an_entry,
    purging_many_drops_all_that_is_outlived_and_nothing_else,
}

async fn a_load_tells_each_of_many_entries_as_it_was_revoked<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let mut revoked: BTreeMap<Scope, CutOff> = BTreeMap::new();
    // Nothing; exactly one page of those that load by the page; some pages and a half.
    for count in [0, 10_000, 25_000] {
        let revocations: Vec<Revocation> = (revoked.len()..count)
            .map(|number| {
                let demand = [Demand::Refresh, Demand::Login][number % 2];
                Revocation::new(odd_scope(number), demand)
            })
            .collect();
        if let Some(last) = revocations.len().checked_sub(1) {
            let receipt = harness.store().revoke_many(&revocations).await.unwrap();
            for (number, revocation) in revocations.iter().enumerate() {
                // The clock stands, so that they follow each other without a gap.
                let cut_off = receipt.revoked_before().as_micros() - (last - number) as u64;
                let cut_off = CutOff::at(StoreTime::from_micros(cut_off), revocation.demand());
                revoked.insert(revocation.scope().clone(), cut_off);
            }
        }
        assert_eq!(revoked.len(), count);
        let entries = watch.load().await.unwrap().entries;
        assert_eq!(entries.len(), count);
        let loaded: BTreeMap<Scope, CutOff> =
            entries.into_iter().map(|entry| (entry.scope, entry.cut_off)).collect();
        assert!(loaded == revoked, "{:?}", loaded.iter().zip(&revoked).find(|(a, b)| a != b));
    }
}

/// The scope of a number: all kinds in turn, with the subjects that SQL could stumble over.
fn odd_scope(number: usize) -> Scope {
    const ODD: [&str; 12] = [
        "user-",
        "%",
        "_",
        "\\",
        "'",
        "\"",
        "{1,2}",
        " ",
        "\u{e9}\u{4e2d}",
        "\u{1f600}",
        "\u{ffff}",
        "~",
    ];
    let subject = match number {
        0 => return Scope::Everyone,
        1..13 => ODD[number - 1].to_owned(),
        13 => "x".repeat(MAX_ID_BYTES),
        _ => format!("{}{number}{}", ODD[number % ODD.len()], ODD[number / 7 % ODD.len()]),
    };
    let kinds = [Scope::group, Scope::user, Scope::session, Scope::token];
    kinds[number % kinds.len()](&subject).unwrap()
}

async fn a_load_tells_all_the_times_of_an_entry<H: Harness>() {
    let harness = H::new().await;
    let audit = Audit::new(Id::new("bob").unwrap(), "by mistake");
    let cleared_at = harness.store().clear(&user("alice"), audit).await.unwrap().revoked_before();
    let revoke = async |demand| {
        let revocation = Revocation::new(user("alice"), demand);
        harness.store().revoke(revocation).await.unwrap().revoked_before()
    };
    let (login_before, reissue_before) =
        (revoke(Demand::Login).await, revoke(Demand::Refresh).await);
    let loaded = harness.store().watch().await.unwrap().load().await.unwrap().entries;
    let cut_off = CutOff { reissue_before, login_before };
    assert_eq!(loaded, [Entry { scope: user("alice"), cut_off, cleared_at }]);
}

async fn purging_many_drops_all_that_is_outlived_and_nothing_else<H: Harness>() {
    let harness = H::new().await;
    let lifetimes = Lifetimes::default();
    let many = |name: &str, demand| -> Vec<Revocation> {
        (0..2_500)
            .map(|number| Revocation::new(user(&format!("{name}-{number}")), demand))
            .collect()
    };
    // Some of them have a login that stays, in rows that are met in slices of their own.
    harness.store().revoke_many(&many("alice", Demand::Refresh)).await.unwrap();
    harness.store().revoke_many(&many("bob", Demand::Refresh)).await.unwrap();
    harness.store().revoke_many(&many("bob", Demand::Login)).await.unwrap();
    let highest = newest(&harness).await;
    harness.clock().advance(lifetimes.idle() + lifetimes.leeway() * 2 + Duration::from_secs(1));
    harness.store().revoke_many(&many("carol", Demand::Refresh)).await.unwrap();
    assert_eq!(harness.store().purge(lifetimes).await.unwrap(), 2_500);

    let loaded = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!(loaded.entries.len(), 5_000);
    for Entry { scope, cut_off, .. } in loaded.entries {
        let carol = scope.subject().starts_with("carol");
        assert_eq!(cut_off.reissue_before > StoreTime::ZERO, carol, "{scope:?}");
        assert_eq!(cut_off.login_before > StoreTime::ZERO, !carol, "{scope:?}");
    }
    // The highest that was dropped is the last refresh of bob's, not one of his logins.
    assert_eq!(loaded.floor.login_before, StoreTime::ZERO);
    assert_eq!(loaded.floor.reissue_before.as_micros() + 2_500, highest.as_micros());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_load_tells_everything_where_there_is_no_copy_to_be_had() {
    let harness = Postgres::new().await;
    harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    // Of a view there is none, as with what only speaks the protocol.
    let mut connection = PgConnection::connect_with(&harness.database.postgres()).await.unwrap();
    raw_sql("ALTER TABLE revocations RENAME TO t; CREATE VIEW revocations AS SELECT * FROM t")
        .execute(&mut connection)
        .await
        .unwrap();
    let mut watch = harness.store().watch().await.unwrap();
    for _ in 0..2 {
        let loaded = watch.load().await.unwrap();
        assert_eq!(loaded.entries.len(), 1);
        assert_eq!(loaded.entries[0].cut_off.login_before, loaded.head);
    }
}
