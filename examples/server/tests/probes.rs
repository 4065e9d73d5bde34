use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_answer_without_a_token_and_count_no_statement_per_request() {
    let (server, _data) = Server::start().await;
    let alice = server.alice("").await;
    for _ in 0..100 {
        assert_eq!(server.me(&alice.access).await, StatusCode::OK);
    }
    let text = async |path: &str| {
        let answer = server.request(Method::GET, path, "").send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(text("/healthz").await.0, StatusCode::OK);
    let (status, metrics) = text("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "tower_revocation_store_statements_total{path=\"request\"} 0",
        "tower_revocation_store_statements_total{path=\"sync\"}",
        "tower_revocation_freshness_age_seconds",
        "tower_revocation_accepted_total",
    ] {
        assert!(metrics.contains(line), "{line} is missing from:\n{metrics}");
    }
}
