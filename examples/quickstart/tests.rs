use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

async fn send(app: &Router, method: &str, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_kills_the_token_and_a_login_brings_a_good_one() {
    let data = tempfile::tempdir().unwrap();
    let (app, _sync) = app(data.path()).await.unwrap();
    let login = async || {
        let answer = send(&app, "POST", "/login", None).await;
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    // The first load and the revocation take milliseconds to arrive.
    let until = async |token: &str, wanted: StatusCode| {
        let answered = async {
            while send(&app, "GET", "/me", Some(token)).await.status() != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), answered).await.unwrap();
    };
    let token = login().await;
    until(&token, StatusCode::OK).await;
    assert_eq!(send(&app, "GET", "/me", None).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, "POST", "/logout", Some(&token)).await.status(), StatusCode::OK);
    until(&token, StatusCode::UNAUTHORIZED).await;
    let token = login().await;
    assert_eq!(send(&app, "GET", "/me", Some(&token)).await.status(), StatusCode::OK);
}
