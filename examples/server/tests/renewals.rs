use super::*;

/// Tokens live whole seconds, so this waits for a few of them, and for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_past_half_its_life_or_expired_is_answered_with_its_successor() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.access_ttl = Duration::from_secs(2);
    let server = Server::start_with(&config).await;
    let (_, tokens) = server.log_in("alice", "wonderland", "").await;
    let token = tokens["access_token"].as_str().unwrap().to_owned();
    let ask = async |token: &str| {
        let answer = server.request(Method::GET, "/me", token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "cache-control"), "no-store");
        Some(header(&answer, "x-jwt").to_owned()).filter(|next| !next.is_empty())
    };
    let next = async |token: &str| {
        for _ in 0..200 {
            if let Some(next) = ask(token).await {
                return next;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it was never renewed");
    };
    let second = next(&token).await;
    let third = next(&second).await;
    // All of them are the same session's, and the first has expired by then.
    assert_eq!(server.labels("/sessions", &third).await, ["-*"]);
    assert!(ask(&token).await.is_some());
    // A logout ends what they are renewed from.
    let logout = server.request(Method::POST, "/logout", &token).send().await.unwrap();
    assert_eq!(logout.status(), StatusCode::NO_CONTENT);
    assert!(!logout.headers().contains_key("x-jwt"));
    for token in [&token, &second, &third] {
        assert_eq!(server.me(token).await, StatusCode::UNAUTHORIZED);
    }
}
