//! Laws 3 and 4 over two real processes on one file, in ten thousand random interleavings.

use std::{path::Path, process::Stdio, time::Duration};

use rand::RngExt;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};
use tower_revocation::{
    Demand, Rejection, Scope,
    cutoff::{Receipt, Stamp, StoreTime, revoked},
    error::ErrorKind,
};

use crate::common::{
    instance::{Instance, START},
    place::Place,
};

const ROUNDS: usize = 10_000;

/// Where the second process finds the data; without it, it is not wanted.
const DATA: &str = "TOWER_REVOCATION_SECOND_PROCESS";

/// One of both processes, asked in words.
enum Process {
    This(Box<Instance>),
    Other(Box<Mutex<Other>>),
}

struct Other {
    _child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn ask(&self, words: &str) -> String {
        match self {
            Self::This(instance) => answer(instance, words).await,
            Self::Other(other) => {
                let mut other = other.lock().await;
                other.ask.write_all(format!("{words}\n").as_bytes()).await.unwrap();
                loop {
                    let line = other.answers.next_line().await.unwrap().expect("it died");
                    // The test harness talks, too.
                    if let Some(answer) = line.strip_prefix("=> ") {
                        return answer.to_owned();
                    }
                }
            }
        }
    }

    /// The token and its stamp, or `None` for a login that a revocation refused under way.
    async fn login(&self, user: &str, group: &str) -> Option<(String, Stamp)> {
        let answer = self.ask(&format!("login {user} {group}")).await;
        let (stamp, token) = answer.split_once(' ')?;
        Some((token.to_owned(), Stamp::from_micros(stamp.parse().unwrap())))
    }

    async fn revoke(&self, kind: &str, subject: &str, demand: &str) -> StoreTime {
        let answer = self.ask(&format!("revoke {kind} {subject} {demand}")).await;
        StoreTime::from_micros(answer.parse().unwrap())
    }

    async fn check(&self, token: &str) -> String {
        self.ask(&format!("check {token}")).await
    }
}

async fn answer(instance: &Instance, words: &str) -> String {
    match words.split(' ').collect::<Vec<_>>()[..] {
        ["login", user, group] => match instance.login(user, &[group]).await {
            Ok(token) => format!("{} {}", token.stamp(), token.as_str()),
            Err(error) => match error.kind() {
                ErrorKind::RevokedMeanwhile(_) => "refused".to_owned(),
                kind => panic!("{kind:?}: {error:?}"),
            },
        },
        ["revoke", kind, subject, demand] => {
            let scope = Scope::new(kind.parse().unwrap(), subject).unwrap();
            let receipt = instance.revoke(scope, demand.parse().unwrap()).await;
            receipt.revoked_before().to_string()
        }
        ["check", token] => match instance.check(token) {
            Ok(_) => "accepted".to_owned(),
            Err(Rejection::Revoked(revoked)) => revoked.demand.to_string(),
            Err(rejection) => rejection.reason().to_owned(),
        },
        ["wait", cut_off] => {
            let cut_off = StoreTime::from_micros(cut_off.parse().unwrap());
            instance.epochs.wait_for(&Receipt::new(cut_off)).await;
            "applied".to_owned()
        }
        // Within the leeway of `iat`, and far beyond the microseconds of store time.
        ["clock", millis] => {
            instance.clock.set_wall(START + Duration::from_millis(millis.parse().unwrap()));
            "set".to_owned()
        }
        _ => panic!("{words:?}"),
    }
}

async fn second(data: &Path) -> Process {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "processes::second_process", "--nocapture"])
        .env(DATA, data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ask = child.stdin.take().unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap()).lines();
    Process::Other(Box::new(Mutex::new(Other { _child: child, ask, answers })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a first process; run with `cargo test --test laws`, which starts it"]
async fn second_process() {
    // Somebody runs all ignored tests: there is nothing to do here without the first process.
    let Some(data) = std::env::var_os(DATA) else { return };
    let instance = Instance::start(data.as_ref()).await;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(words) = lines.next_line().await.unwrap() {
        println!("=> {}", answer(&instance, &words).await);
    }
}

/// A round's tokens, to be judged again when both processes have applied everything.
struct Round {
    cut_off: StoreTime,
    demand: Demand,
    before: (String, Stamp),
    during: Option<(String, Stamp)>,
    after: (String, Stamp),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_l4_ten_thousand_interleavings_over_two_processes_are_all_right() {
    // Forty thousand durable commits.
    let data = Place::fast().await;
    let this = Process::This(Box::new(Instance::start(data.path()).await));
    let both = [this, second(data.path()).await];
    let mut rounds = Vec::with_capacity(ROUNDS);
    for number in 0..ROUNDS {
        let any = || &both[rand::rng().random_range(0..2)];
        if number % 10 == 0 {
            let millis = rand::rng().random_range(0..4_000);
            any().ask(&format!("clock {millis}")).await;
        }
        let (user, group) = (format!("user-{number}"), format!("group-{number}"));
        let (kind, subject) = if rand::random() { ("user", &user) } else { ("group", &group) };
        let demand = if rand::random() { Demand::Login } else { Demand::Refresh };

        let before = any().login(&user, &group).await.expect("nothing was revoked yet");
        let (revoker, minter) = (any(), any());
        let revoke = revoker.revoke(kind, subject, demand.as_str());
        let login = minter.login(&user, &group);
        // Polled in a random order; in two processes they truly overlap.
        let (cut_off, during) = if rand::random() {
            tokio::join!(revoke, login)
        } else {
            let (login, revoke) = tokio::join!(login, revoke);
            (revoke, login)
        };
        let after = any().login(&user, &group).await.expect("the revocation is over");
        for process in &both {
            assert_eq!(process.check(&after.0).await, "accepted", "round {number}");
        }
        rounds.push(Round { cut_off, demand, before, during, after });
    }

    let newest = rounds.iter().map(|round| round.cut_off).max().unwrap();
    for process in &both {
        process.ask(&format!("wait {}", newest.as_micros())).await;
    }
    let mut overlapped = 0;
    for (number, round) in rounds.iter().enumerate() {
        assert!(revoked(round.before.1, round.cut_off), "round {number}");
        assert!(!revoked(round.after.1, round.cut_off), "round {number}");
        overlapped += usize::from(round.during.is_none());
        for process in &both {
            let demand = round.demand.as_str();
            assert_eq!(process.check(&round.before.0).await, demand, "round {number}");
            assert_eq!(process.check(&round.after.0).await, "accepted", "round {number}");
            if let Some((token, stamp)) = &round.during {
                let wanted = if revoked(*stamp, round.cut_off) { demand } else { "accepted" };
                assert_eq!(process.check(token).await, wanted, "round {number}");
            }
        }
    }
    assert!(overlapped > 0, "no login was ever in flight during its revocation");
}
