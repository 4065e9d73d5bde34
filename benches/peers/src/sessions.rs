//! Sessions on the server: a cookie names one, a store in memory holds it.
//!
//! This answers the same question as our layer, who calls and whether they still may, for one process.

use std::{collections::HashMap, convert::Infallible, hint::black_box, io, rc::Rc, sync::Arc};

use axum::{body::Body, response::Response};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, UserId};
use http::{
    Request,
    header::{COOKIE, SET_COOKIE},
};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt, service_fn};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tower_sessions_014 as of_axum_login;

use crate::{
    fixture::{self, Requests, subject},
    inner, ours,
    report::{Bar, Report},
    rounds::{self, Contender},
};

/// How many are logged in.
const USERS: usize = 1_000;

pub(crate) fn run(runtime: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    let requests = Requests::bearing(&fixture::tokens(Algorithm::RS256, 1));
    let mut contenders = [
        tower_sessions(runtime),
        axum_login(runtime),
        ours::least(runtime, &requests),
        ours::warm(runtime),
    ];
    let costs = rounds::compare(&mut contenders);
    let [sessions @ .., _, ours] = &costs[..] else { unreachable!("ours is the last") };
    report.costs("one hot session", ours, &costs[..costs.len() - 1]);
    for session in sessions {
        let what = format!("{}, in memory", session.name);
        report.bar(Bar::at_least(format!("{what} / ours"), session.times(ours), 14.0));
        report.draw(&what, None, session.median());
    }
    Ok(())
}

/// The session alone, with the user in it.
fn tower_sessions(runtime: &Rc<Runtime>) -> Contender {
    let store = MemoryStore::default();
    let shared = Arc::new(store.clone());
    let sessions = runtime.block_on(async {
        let mut sessions = Vec::new();
        for number in 0..USERS {
            let session = Session::new(None, shared.clone(), None);
            session.insert(KEY, User::numbered(number)).await.expect("it is JSON");
            session.save().await.expect("memory has room");
            sessions.push(session.id().expect("it was saved"));
        }
        sessions
    });
    let layered = SessionManagerLayer::new(store).layer(service_fn(tower_sessions_handler));
    let requests = Requests::with(COOKIE, sessions.iter().take(1).map(|id| format!("id={id}")));
    Contender::new("tower-sessions", runtime, &requests, layered, inner::bare())
}

async fn tower_sessions_handler(request: Request<Body>) -> Result<Response, Infallible> {
    let session: &Session = request.extensions().get().expect("the layer has put it there");
    let user: Option<User> = session.get(KEY).await.expect("memory answers");
    black_box(&user.expect("somebody is logged in").id);
    inner::answer()
}

/// The session, and who that is by the service's own table, which is a map here.
fn axum_login(runtime: &Rc<Runtime>) -> Contender {
    let users = (0..USERS).map(|number| (subject(number), User::numbered(number)));
    let users = Users(Arc::new(users.collect()));
    let sessions = of_axum_login::SessionManagerLayer::new(of_axum_login::MemoryStore::default());
    let layer = AuthManagerLayerBuilder::new(users, sessions).build();
    let cookies = runtime.block_on(async {
        let mut cookies = Vec::new();
        for number in 0..USERS {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(User::numbered(number));
            let login = layer.layer(service_fn(axum_login_login));
            let answer = login.oneshot(request).await.expect("it is infallible");
            let cookie = answer.headers()[SET_COOKIE].to_str().expect("cookies are text");
            cookies.push(cookie.split(';').next().unwrap_or_default().to_owned());
        }
        cookies
    });
    let layered = layer.layer(service_fn(axum_login_handler));
    let requests = Requests::with(COOKIE, cookies.into_iter().take(1));
    Contender::new("axum-login", runtime, &requests, layered, inner::bare())
}

async fn axum_login_login(mut request: Request<Body>) -> Result<Response, Infallible> {
    let user: User = request.extensions_mut().remove().expect("it was put there");
    let mut session: AuthSession<Users> =
        request.extensions_mut().remove().expect("the layer has put it there");
    session.login(&user).await.expect("memory has room");
    inner::answer()
}

async fn axum_login_handler(request: Request<Body>) -> Result<Response, Infallible> {
    let session: &AuthSession<Users> =
        request.extensions().get().expect("the layer has put it there");
    black_box(&session.user.as_ref().expect("somebody is logged in").id);
    inner::answer()
}

/// Where the session has the user.
const KEY: &str = "user";

#[derive(Clone, Debug, Deserialize, Serialize)]
struct User {
    id: String,
    groups: Vec<String>,
    password_hash: String,
}

impl User {
    fn numbered(number: usize) -> Self {
        Self {
            id: subject(number),
            groups: vec!["staff".to_owned()],
            password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        }
    }
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.id.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password_hash.as_bytes()
    }
}

#[derive(Clone, Debug)]
struct Users(Arc<HashMap<String, User>>);

impl AuthnBackend for Users {
    type User = User;
    type Credentials = String;
    type Error = Infallible;

    async fn authenticate(&self, name: String) -> Result<Option<User>, Infallible> {
        self.get_user(&name).await
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
}
