//! Whoever reads the whole database learns nothing to log in with.

use std::{collections::HashSet, fs};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    common::place::{Place, PlainSql},
    fleet::{Server, claims},
};

/// Every value in every table, as text.
async fn dumped(database: &mut PlainSql) -> HashSet<String> {
    let tables = match database {
        PlainSql::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'table'",
        PlainSql::Postgres(_) => {
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"
        }
        PlainSql::MySql(_) => {
            "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
        }
    };
    let tables = database.texts(tables).await;
    let mut values = HashSet::new();
    for table in &tables {
        let columns = match database {
            PlainSql::Sqlite(_) => format!("SELECT name FROM pragma_table_info('{table}')"),
            PlainSql::Postgres(_) => format!(
                "SELECT column_name::text FROM information_schema.columns \
                 WHERE table_name = '{table}'"
            ),
            PlainSql::MySql(_) => format!(
                "SELECT CONVERT(column_name USING utf8mb4) FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND table_name = '{table}'"
            ),
        };
        for column in database.texts(&columns).await {
            // Bytes that are no text, of checksums for instance, in hexadecimal.
            let texts = match database {
                PlainSql::Sqlite(_) => format!(
                    "SELECT iif(typeof(\"{column}\") = 'blob', hex(\"{column}\"), \
                            CAST(\"{column}\" AS TEXT)) \
                     FROM \"{table}\" WHERE \"{column}\" IS NOT NULL"
                ),
                PlainSql::Postgres(_) => format!(
                    "SELECT \"{column}\"::text FROM \"{table}\" WHERE \"{column}\" IS NOT NULL"
                ),
                PlainSql::MySql(_) => format!(
                    "SELECT coalesce(CONVERT(`{column}` USING utf8mb4), HEX(`{column}`)) \
                     FROM `{table}` WHERE `{column}` IS NOT NULL"
                ),
            };
            values.extend(database.texts(&texts).await);
        }
    }
    assert!(tables.len() >= 6, "{tables:?}");
    values
}

#[tokio::test]
async fn c12_a_dump_of_the_database_lets_nobody_mint_or_replay_anything() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let (first, bob) = (server.alice_on("phone").await, server.bob_on("office").await);
    let second = server.renewed(&first.refresh).await;
    server.revoke(&bob.access, "group", "nobody", "login").await;

    let mut database = PlainSql::connect(data.path(), "server.db").await;
    let values = dumped(&mut database).await;
    // The dump is of the right database, and no token, nor a signature of one, is in its files.
    assert!(values.contains(&first.sid()) && values.contains("alice"), "{values:?}");
    let mut bytes = Vec::new();
    for file in ["server.db", "server.db-wal"] {
        bytes.extend(fs::read(data.path().join(file)).unwrap_or_default());
    }
    if !matches!(database, PlainSql::Sqlite(_)) {
        // The files are the server's.
        bytes.extend(values.iter().flat_map(|value| value.bytes().chain([b'\n'])));
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(&first.sid()));
    for token in [&first.access, &first.refresh, &second.access, &second.refresh, &bob.refresh] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!text.contains(signature) && !text.contains(token.as_str()));
        let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(!bytes.windows(raw.len()).any(|window| window == raw));
    }
    for entry in fs::read_dir(data.path().join("keys")).unwrap() {
        let key = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in key.lines().filter(|line| line.len() > 20 && !line.starts_with("---")) {
            assert!(!text.contains(line), "a key is in the database");
        }
    }

    // Who has the secrets of the folder can forge; so what follows is no straw man.
    let secret = fs::read_dir(data.path().join("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "secret"))
        .unwrap();
    let secret = URL_SAFE_NO_PAD.decode(fs::read_to_string(secret).unwrap().trim()).unwrap();
    let (_, genuine) = forged(&secret, &bob.access, &bob.refresh);
    assert_eq!(genuine, bob.refresh);

    // To replay: every value as a token. To mint: every value as a secret.
    let refused = async |access: &str, refresh: &str| {
        // Those that could be no token at all are malformed.
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST];
        assert!(refusals.contains(&server.me(access).await), "{access}");
        let (status, answer) = server.refresh(refresh).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refresh}");
        assert!(["invalid_grant", "invalid_request"].contains(&answer["error"].as_str().unwrap()));
    };
    assert!(values.len() > 20, "{values:?}");
    for value in &values {
        let header_safe: String = value.chars().filter(char::is_ascii_graphic).collect();
        refused(&header_safe, value).await;
        let mut padded = value.clone().into_bytes();
        padded.resize(padded.len().max(32), 0);
        let decoded = URL_SAFE_NO_PAD.decode(value).unwrap_or_default();
        for secret in [value.as_bytes(), &padded, &decoded] {
            let (access, refresh) = forged(secret, &second.access, &second.refresh);
            refused(&access, &refresh).await;
        }
    }
    // The genuine ones are none the worse.
    server.assert_alive(&second).await;
    server.assert_alive(&bob).await;
}

/// The tokens of somebody who knows their form and every id, and signs with `secret`.
fn forged(secret: &[u8], access: &str, refresh: &str) -> (String, String) {
    let mac = |message: &[u8]| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        let provider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
        let signer = (provider.signer_factory)(&jsonwebtoken::Algorithm::HS256, &key).unwrap();
        URL_SAFE_NO_PAD.encode(signer.try_sign(message).unwrap())
    };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let genuine = URL_SAFE_NO_PAD.decode(access.split('.').next().unwrap()).unwrap();
    let kid = serde_json::from_slice::<Value>(&genuine).unwrap()["kid"].clone();
    let header = json!({ "typ": "at+jwt", "alg": "HS256", "kid": kid });
    let mut payload = claims(access);
    payload["jti"] = json!("forged");
    let message = format!("{}.{}", part(&header), part(&payload));
    let access = format!("{message}.{}", mac(message.as_bytes()));

    let (head, _) = refresh.rsplit_once('.').unwrap();
    let mut covered = b"tower-revocation refresh token".to_vec();
    for part in ["rt1", "http://127.0.0.1:3000", "demo", head.strip_prefix("rt1-").unwrap()] {
        covered.extend((part.len() as u64).to_be_bytes());
        covered.extend(part.as_bytes());
    }
    (access, format!("{head}.{}", mac(&covered)))
}
