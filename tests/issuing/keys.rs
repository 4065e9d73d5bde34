//! The key ring: files, rotation, damage.

use std::{path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tower_revocation::{
    Algorithm, KeyRing, Rejection,
    clock::{Clock, ManualClock},
    error::{ConfigError, KeyProblem},
    lifetimes::Lifetimes,
};

use crate::{
    common::instance::{Instance, START},
    part,
};

fn ring(directory: &Path) -> (KeyRing, ManualClock) {
    let (clock, hand) = Clock::manual(START);
    (KeyRing::open_with(directory, Algorithm::ES256, clock).unwrap(), hand)
}

fn files(directory: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn key_files(directory: &Path) -> Vec<std::path::PathBuf> {
    files(directory, "pem")
}

fn secret_files(directory: &Path) -> Vec<std::path::PathBuf> {
    files(directory, "secret")
}

#[test]
fn processes_that_start_at_once_make_one_key_and_one_secret() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("keys");
    let rings: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| KeyRing::open(&directory, Algorithm::ES256).unwrap()))
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!((key_files(&directory).len(), secret_files(&directory).len()), (1, 1));
    let kid = rings[0].signing_key().kid().to_owned();
    assert!(rings.iter().all(|ring| ring.signing_key().kid() == kid));
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("keys");
    let _ring = ring(&directory);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in key_files(&directory).into_iter().chain(secret_files(&directory)) {
        assert_eq!(mode(&file), 0o600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_holds_no_key() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    instance.login("alice", &[]).await.unwrap();
    let pem = std::fs::read_to_string(&key_files(&data.path().join("keys"))[0]).unwrap();
    let key = pem.lines().nth(1).unwrap();
    let secret = std::fs::read_to_string(&secret_files(&data.path().join("keys"))[0]).unwrap();
    let raw = URL_SAFE_NO_PAD.decode(secret.trim_end()).unwrap();
    for file in ["test.db", "test.db-wal"] {
        let bytes = std::fs::read(data.path().join(file)).unwrap();
        for secret in [key.as_bytes(), secret.trim_end().as_bytes(), &raw] {
            assert!(!bytes.windows(secret.len()).any(|text| text == secret));
        }
        assert!(!bytes.windows(11).any(|text| text == b"PRIVATE KEY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_refuses_no_live_token_on_any_instance() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (Instance::start(data.path()).await, Instance::start(data.path()).await);
    let instances = [&one, &other];
    let reload = || {
        for instance in instances {
            instance.issuer.keys().reload().unwrap();
            let keys = instance.issuer.keys().key_set(Lifetimes::default()).unwrap();
            instance.verifier.replace_keys("https://login.test", keys).unwrap();
        }
    };
    let pass = async |seconds| {
        for instance in instances {
            instance.clock.advance(Duration::from_secs(seconds));
            // The copy is that much older, until the next poll.
            let fresh = async {
                while !instance.epochs.freshness(instance.epochs.clock().now()).is_fresh() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), fresh).await.unwrap();
        }
    };
    let kid = |token: &str| part(token, 0)["kid"].clone();

    let old = one.login("alice", &[]).await.unwrap();
    one.issuer.keys().rotate(Algorithm::EdDSA).unwrap();
    // Published, not signing: the other instance has not reloaded, and accepts what is minted.
    pass(59).await;
    let meanwhile = one.login("alice", &[]).await.unwrap();
    assert_eq!(kid(meanwhile.as_str()), kid(old.as_str()));
    assert!(other.check(meanwhile.as_str()).is_ok());

    reload();
    // One second for the new key's being made after the old, if only by name.
    pass(2).await;
    let new = one.login("alice", &[]).await.unwrap();
    assert_ne!(kid(new.as_str()), kid(old.as_str()));
    for instance in instances {
        for token in [&old, &meanwhile, &new] {
            assert!(instance.check(token.as_str()).is_ok());
        }
    }

    // Once its last token has expired, the old key verifies nothing any more.
    pass(Lifetimes::default().access().as_secs() + 60).await;
    reload();
    for instance in instances {
        assert_eq!(instance.check(old.as_str()).unwrap_err(), Rejection::UnknownKey);
        let keys = instance.issuer.keys().key_set(Lifetimes::default()).unwrap();
        let published: Value = serde_json::from_str(&keys.to_jwks()).unwrap();
        assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_damaged_or_misnamed_key_is_refused_and_the_ring_stays_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("keys");
    let (ring, _) = ring(&directory);
    let kid = ring.signing_key().kid().to_owned();
    for (name, content) in [
        (
            "1800000000.ES256.abc.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ),
        ("1800000000.ES256.abc.pem", ""),
        ("mine.pem", ""),
        ("1800000000.XX256.abc.pem", ""),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        assert!(ring.reload().is_err(), "{name}");
        assert_eq!(ring.signing_key().kid(), kid);
        std::fs::remove_file(path).unwrap();
    }
    std::fs::remove_file(&key_files(&directory)[0]).unwrap();
    assert!(matches!(ring.reload(), Err(ConfigError::KeyDirectory { .. })));
    assert_eq!(ring.signing_key().kid(), kid);
}

#[test]
fn a_directory_of_keys_alone_gets_a_secret_and_keeps_its_key() {
    let data = tempfile::tempdir().unwrap();
    let kid = ring(data.path()).0.signing_key().kid().to_owned();
    for secret in secret_files(data.path()) {
        std::fs::remove_file(secret).unwrap();
    }
    let (again, _) = ring(data.path());
    assert_eq!(again.signing_key().kid(), kid);
    assert_eq!((key_files(data.path()).len(), secret_files(data.path()).len()), (1, 1));
    // The other half alone is completed as well.
    std::fs::remove_file(&key_files(data.path())[0]).unwrap();
    assert_ne!(ring(data.path()).0.signing_key().kid(), kid);
    assert_eq!((key_files(data.path()).len(), secret_files(data.path()).len()), (1, 1));
}

#[test]
fn a_rotation_of_secrets_adds_one_and_leaves_the_keys_alone() {
    let data = tempfile::tempdir().unwrap();
    let (ring, _) = ring(data.path());
    let before = secret_files(data.path());
    // Twice in one second: the later still counts as the later.
    ring.rotate_refresh().unwrap();
    ring.rotate_refresh().unwrap();
    let after = secret_files(data.path());
    assert!(before.iter().all(|file| after.contains(file)));
    let mut made_at: Vec<String> = after
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().into())
        .collect();
    made_at.sort();
    assert_eq!(made_at, ["1800000000", "1800000001", "1800000002"]);
    assert_eq!(key_files(data.path()).len(), 1);
}

#[test]
fn a_damaged_or_misnamed_secret_is_refused_and_named() {
    let data = tempfile::tempdir().unwrap();
    let (ring, _) = ring(data.path());
    let good = secret_files(data.path()).remove(0);
    let text = std::fs::read_to_string(&good).unwrap();
    let shown = format!("{ring:?}");
    let kid = good.file_name().unwrap().to_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let secret = text.trim_end();
    let another = if secret.starts_with('A') { "B" } else { "A" };
    for content in [
        String::new(),
        "\n".to_owned(),
        secret.to_owned(),
        format!("{text}\n"),
        format!("{secret}=\n"),
        format!(" {text}"),
        format!("{}\n", &secret[..40]),
        format!("{secret}AAAA\n"),
        // One letter is another: a secret as good as any, but not the one of that name.
        format!("{another}{}\n", &secret[1..]),
    ] {
        std::fs::write(&good, &content).unwrap();
        let reopened = KeyRing::open(data.path(), Algorithm::ES256).map(drop);
        for refused in [ring.reload(), ring.rotate_refresh(), reopened] {
            let Err(ConfigError::Key { kid: named, problem }) = refused else {
                panic!("{content:?}: {refused:?}")
            };
            assert_eq!((named, problem), (kid.clone(), KeyProblem::Malformed), "{content:?}");
        }
        assert_eq!(format!("{ring:?}"), shown);
    }
    assert_eq!(secret_files(data.path()).len(), 1, "nothing is made beside a damaged one");
    std::fs::write(&good, &text).unwrap();
    ring.reload().unwrap();

    for name in ["mine.secret", "now.abc.secret", "1800000000.HS256.abc.secret", ".secret.secret"] {
        let path = data.path().join(name);
        std::fs::write(&path, &text).unwrap();
        let refused = ring.reload();
        let Err(ConfigError::KeyDirectory { source, .. }) = refused else {
            panic!("{name}: {refused:?}")
        };
        assert!(source.to_string().contains(name), "{source}");
        std::fs::remove_file(path).unwrap();
    }
    for name in ["1800000000.abc.secret.draft", "README", "secret", ".secret"] {
        std::fs::write(data.path().join(name), "x").unwrap();
        ring.reload().unwrap();
    }
    std::fs::remove_file(good).unwrap();
    assert!(matches!(ring.reload(), Err(ConfigError::KeyDirectory { .. })));
    assert_eq!(format!("{ring:?}"), shown);
}

#[test]
fn debug_shows_no_key() {
    let (ring, _) = ring(&tempfile::tempdir().unwrap().path().join("keys"));
    let pem = ring.signing_key().to_pem().unwrap();
    let secret = pem.lines().nth(1).unwrap();
    assert!(!format!("{ring:?} {:?}", ring.signing_key()).contains(&secret[..16]));
}
